//! Utility statements, told apart by their leading keywords without a full parse.

mod copy;
pub(crate) mod cursor;
mod date_style;
pub mod encodings;
pub mod fetch;
mod modes;
mod placement;
mod prepared;
mod set;
mod set_config;

use crate::sql::lexer::TokenKind;
use crate::sql::positioned::position;
use crate::sql::utility::cursor::Cursor;
use modes::transaction_modes;

pub use cursor::{cut_name, fold_name};
pub use date_style::whole_date_style;
pub use modes::{Mode, Modes, modes};
pub use placement::{PlacementCall, PlacementQuery, Verb, placement_bound, placement_call};
pub use prepared::{Execution, execution, literal_arguments, prepared};
pub use set::{is_list, list_text, plain_value, search_path_setting, search_path_value, settings_of_definition};
pub use set_config::{ConfigCall, ConfigCalls, ConfigQuery, config_bound, config_calls, config_query, parse_bool};

/// What a statement is to the session: which of its own state it touches, whatever shards it goes to.
#[derive(Clone, Debug, PartialEq)]
pub enum StatementKind {
    /// Nothing but blanks and comments.
    Empty,
    /// SELECT, VALUES, TABLE, WITH: returns rows.
    Query,
    Insert,
    Update,
    Delete,
    /// UPDATE or DELETE ... WHERE CURRENT OF this cursor.
    Positioned(Box<str>),
    Merge,
    Copy(Box<CopyStatement>),
    Transaction(TransactionStatement),
    Set(SetStatement),
    /// A query of nothing but `set_config` with literals, and the names of its columns: a SET that returns a row.
    SetConfig(Box<ConfigQuery>),
    /// `SELECT pgloom.distribute(...)` and its like: changes where the rows of a table are.
    Placement(Box<PlacementQuery>),
    /// `SHOW name` of a Postgres setting (any server answers, after the session's settings are applied).
    Show(Box<str>),
    /// `SHOW pgloom.name`: answered by the router.
    ShowRouter(Box<str>),
    /// `EXPLAIN (ROUTE) stmt`: the bytes of the inner statement start at `.0`; `json` when FORMAT JSON.
    ExplainRoute {
        inner: usize,
        json: bool,
    },
    /// Any other EXPLAIN, of the statement that starts at the byte.
    Explain {
        inner: usize,
        options: ExplainOptions,
    },
    /// SQL-level PREPARE / EXECUTE / DEALLOCATE.
    Prepare(Box<str>),
    Execute(Box<str>),
    /// EXPLAIN EXECUTE, or CREATE TABLE AS EXECUTE, of this prepared statement.
    AroundExecute(Box<str>),
    /// `None`: ALL.
    Deallocate(Option<Box<str>>),
    /// `DECLARE cursor CURSOR [WITH HOLD] FOR query`: the query starts at byte `inner`.
    Declare {
        cursor: Box<str>,
        hold: bool,
        inner: usize,
    },
    /// FETCH or MOVE, of this cursor.
    Fetch(Box<str>),
    /// CLOSE; `None`: ALL.
    CloseCursor(Option<Box<str>>),
    Listen,
    Unlisten,
    Notify,
    /// DISCARD ALL | PLANS | SEQUENCES | TEMP
    Discard(DiscardTarget),
    /// CREATE, ALTER, DROP, GRANT, REVOKE, COMMENT, TRUNCATE, REINDEX, REFRESH, SECURITY LABEL, REASSIGN.
    Ddl,
    /// VACUUM, ANALYZE, CLUSTER, CHECKPOINT: maintenance, outside transaction blocks or not.
    Maintenance,
    /// LOCK TABLE
    Lock,
    /// DO, CALL, LOAD: code whose effect cannot be seen.
    Code,
    /// Begins like a statement that changes or reads the session's state, but goes on in no form known here: most often a
    /// syntax error. A server that took it would change state unseen: refused.
    Unclear,
    /// None of the above; sqlparser may know it.
    Other,
}

/// What the options of an EXPLAIN ask for, as far as the router must know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExplainOptions {
    pub analyze: bool,
    pub format: ExplainFormat,
    /// Where SUMMARY was said.
    pub summary: Option<bool>,
    /// TIMING OFF was said.
    pub untimed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExplainFormat {
    #[default]
    Text,
    Json,
    Yaml,
    Xml,
}

impl StatementKind {
    /// COPY FROM STDIN.
    pub fn asks_for_rows(&self) -> bool {
        match self {
            StatementKind::Copy(copy) => copy.direction == CopyDirection::From && copy.endpoint == CopyEndpoint::Client,
            _ => false,
        }
    }

    /// Whether places in the text are part of it: another text with the same template has them elsewhere.
    pub fn has_offsets(&self) -> bool {
        match self {
            StatementKind::Explain { .. } | StatementKind::ExplainRoute { .. } | StatementKind::Declare { .. } => true,
            StatementKind::Copy(copy) => copy.inner.is_some(),
            _ => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscardTarget {
    All,
    Plans,
    Sequences,
    Temp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionStatement {
    /// `BEGIN ...` / `START TRANSACTION ...`: the modes as written after the keyword(s), to be repeated on each shard.
    Begin {
        modes: Box<str>,
        start_transaction: bool,
    },
    /// COMMIT / END, with AND CHAIN or not.
    Commit {
        chain: bool,
    },
    /// ROLLBACK / ABORT
    Rollback {
        chain: bool,
    },
    Savepoint(Box<str>),
    RollbackTo(Box<str>),
    Release(Box<str>),
    /// PREPARE TRANSACTION / COMMIT PREPARED / ROLLBACK PREPARED of the client's own: refused.
    TwoPhase,
    /// SET CONSTRAINTS: what follows these words, as written. (SET TRANSACTION and SESSION CHARACTERISTICS are in [`SetStatement`].)
    SetConstraints(Box<str>),
}

/// SET and RESET. `value` is the SQL after `=`/`TO`, ready to be repeated (`SET name TO value`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetStatement {
    /// `SET [SESSION] name TO value`; name lower-cased (`TIME ZONE x` is name `timezone`, `ROLE x` is `role`,
    /// `SESSION AUTHORIZATION x` is `session_authorization`, `NAMES x` is `client_encoding`). DEFAULT is `Reset`.
    Session {
        name: Box<str>,
        value: Box<str>,
    },
    /// `SET LOCAL ...`: ends with the transaction.
    Local {
        name: Box<str>,
        value: Box<str>,
    },
    Reset(Box<str>),
    ResetAll,
    /// `SET [LOCAL] name FROM CURRENT`
    Current {
        name: Box<str>,
        local: bool,
    },
    /// `SET TRANSACTION modes` (text after the keywords): for the current transaction.
    Transaction(Box<str>),
    /// `SET TRANSACTION SNAPSHOT 'id'`: the id is of one server.
    TransactionSnapshot,
    /// A form that cannot be repeated, or a syntax error.
    Opaque,
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION modes`
    Characteristics(Box<str>),
    /// `SET pgloom.name TO value` / `RESET pgloom.name` (value None): for the router itself.
    Router {
        name: Box<str>,
        value: Option<Box<str>>,
        local: bool,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct CopyStatement {
    pub direction: CopyDirection,
    /// `None`: COPY (query) TO.
    pub table: Option<CopyTable>,
    /// Of COPY (query) TO: the query's first byte and the one after its last.
    pub inner: Option<(usize, usize)>,
    pub format: CopyFormat,
    pub endpoint: CopyEndpoint,
    /// COPY ... FROM ... WHERE present.
    pub filtered: bool,
    /// ENCODING, as written.
    pub encoding: Option<Box<str>>,
    /// An option is present that is not known here (or a backslash as quote); it could change what a row is.
    pub unknown_option: bool,
    /// The first option that no Postgres has: its name, and the byte at which it stands.
    pub no_option: Option<(Box<str>, usize)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyTable {
    /// As written, folded: one or two parts.
    pub schema: Option<Box<str>>,
    pub name: Box<str>,
    /// Empty: all columns that are not generated.
    pub columns: Vec<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyDirection {
    From,
    To,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyEndpoint {
    /// STDIN / STDOUT
    Client,
    File,
    Program,
}

/// Options that change where rows and fields end; the others are the servers' business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    Text {
        delimiter: u8,
        null: Box<str>,
        header: bool,
    },
    Csv {
        delimiter: u8,
        quote: u8,
        escape: u8,
        null: Box<str>,
        header: bool,
        force_not_null: Vec<Box<str>>,
        force_null: Vec<Box<str>>,
    },
    Binary,
}

/// Tells what the first statement of `text` is. Never fails: what is not recognised is [`StatementKind::Other`].
///
/// Plain strings are read with `standard_conforming_strings` on; [`super::template::scan`] has refused texts where this matters.
pub fn classify(text: &str) -> StatementKind {
    let mut cursor = Cursor::new(text);
    if cursor.at_end() {
        return StatementKind::Empty;
    }
    if cursor.is_punct(b'(') {
        while cursor.accept_punct(b'(') {}
        return match cursor.is_any(&["select", "values", "table", "with"]) {
            true => StatementKind::Query,
            false => StatementKind::Other,
        };
    }
    let Some(first) = cursor.word() else { return StatementKind::Other };
    cursor.take();
    let cursor = &mut cursor;
    match first.to_ascii_lowercase().as_str() {
        "select" => match (config_query(text), placement::placement_query(text)) {
            (Some(query), _) => StatementKind::SetConfig(Box::new(query)),
            (None, Some(query)) => StatementKind::Placement(Box::new(query)),
            (None, None) => StatementKind::Query,
        },
        "values" | "table" => StatementKind::Query,
        "with" => with(cursor),
        "insert" => StatementKind::Insert,
        "update" => position(text).map_or(StatementKind::Update, |(cursor, _)| StatementKind::Positioned(cursor)),
        "delete" => position(text).map_or(StatementKind::Delete, |(cursor, _)| StatementKind::Positioned(cursor)),
        "merge" => StatementKind::Merge,
        "copy" => copy::copy(cursor),
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" => {
            transaction(first, cursor).map_or(StatementKind::Unclear, StatementKind::Transaction)
        }
        "set" => set::set(cursor),
        "reset" => set::reset(cursor),
        "show" => set::show(cursor),
        "explain" => match (explain(cursor), execution(text)) {
            (Some(StatementKind::Explain { .. }), Some(found)) => StatementKind::AroundExecute(found.name),
            (kind, _) => kind.unwrap_or(StatementKind::Unclear),
        },
        "prepare" if cursor.is("transaction") => StatementKind::Transaction(TransactionStatement::TwoPhase),
        "prepare" => cursor.name().map_or(StatementKind::Unclear, StatementKind::Prepare),
        "execute" => cursor.own_name().map_or(StatementKind::Unclear, StatementKind::Execute),
        "deallocate" => {
            cursor.accept("prepare");
            one_or_all(cursor).map_or(StatementKind::Unclear, StatementKind::Deallocate)
        }
        "declare" => declare(cursor).unwrap_or(StatementKind::Unclear),
        "fetch" | "move" => fetch(cursor).map_or(StatementKind::Unclear, StatementKind::Fetch),
        "close" => one_or_all(cursor).map_or(StatementKind::Unclear, StatementKind::CloseCursor),
        "listen" => StatementKind::Listen,
        "unlisten" => StatementKind::Unlisten,
        "notify" => StatementKind::Notify,
        "discard" => discard(cursor).map_or(StatementKind::Unclear, StatementKind::Discard),
        "create" => execution(text).map_or(StatementKind::Ddl, |found| StatementKind::AroundExecute(found.name)),
        "alter" | "drop" | "grant" | "revoke" | "comment" | "truncate" | "reindex" | "refresh" | "security"
        | "reassign" | "import" => StatementKind::Ddl,
        "vacuum" | "analyze" | "analyse" | "cluster" | "checkpoint" => StatementKind::Maintenance,
        "lock" => StatementKind::Lock,
        "do" | "call" | "load" => StatementKind::Code,
        _ => StatementKind::Other,
    }
}

/// Behind the first word. `None`: not a form of Postgres's grammar.
fn transaction(first: &str, cursor: &mut Cursor<'_>) -> Option<TransactionStatement> {
    let first = first.to_ascii_lowercase();
    let work = |cursor: &mut Cursor<'_>| cursor.accept("work") || cursor.accept("transaction");
    let statement = match first.as_str() {
        "begin" | "start" => {
            let start_transaction = first == "start";
            if !work(cursor) && start_transaction {
                return None;
            }
            let modes = if cursor.at_end() { "" } else { transaction_modes(cursor)? };
            TransactionStatement::Begin { modes: modes.into(), start_transaction }
        }
        "commit" | "rollback" if cursor.is("prepared") => {
            cursor.take();
            cursor.string()?;
            TransactionStatement::TwoPhase
        }
        "commit" | "end" => {
            work(cursor);
            TransactionStatement::Commit { chain: chain(cursor)? }
        }
        "rollback" | "abort" => {
            work(cursor);
            if first == "rollback" && cursor.accept("to") {
                TransactionStatement::RollbackTo(savepoint(cursor)?)
            } else {
                TransactionStatement::Rollback { chain: chain(cursor)? }
            }
        }
        "savepoint" => TransactionStatement::Savepoint(cursor.name()?),
        "release" => TransactionStatement::Release(savepoint(cursor)?),
        _ => return None,
    };
    cursor.at_end().then_some(statement)
}

/// `[AND [NO] CHAIN]`
fn chain(cursor: &mut Cursor<'_>) -> Option<bool> {
    if !cursor.accept("and") {
        return Some(false);
    }
    let no = cursor.accept("no");
    cursor.accept("chain").then_some(!no)
}

/// `[SAVEPOINT] name`; SAVEPOINT alone is a name too.
fn savepoint(cursor: &mut Cursor<'_>) -> Option<Box<str>> {
    let mut ahead = cursor.clone();
    if ahead.accept("savepoint") && !ahead.at_end() {
        *cursor = ahead;
    }
    cursor.name()
}

/// `name | ALL`; a quoted "all" is a name.
fn one_or_all(cursor: &mut Cursor<'_>) -> Option<Option<Box<str>>> {
    let which = if cursor.accept("all") { None } else { Some(cursor.own_name()?) };
    cursor.at_end().then_some(which)
}

fn discard(cursor: &mut Cursor<'_>) -> Option<DiscardTarget> {
    let target = match cursor.name()?.as_ref() {
        "all" => DiscardTarget::All,
        "plans" => DiscardTarget::Plans,
        "sequences" => DiscardTarget::Sequences,
        "temp" | "temporary" => DiscardTarget::Temp,
        _ => return None,
    };
    cursor.at_end().then_some(target)
}

/// `name [options] CURSOR [WITH | WITHOUT HOLD] FOR query`
fn declare(cursor: &mut Cursor<'_>) -> Option<StatementKind> {
    let name = cursor.own_name()?;
    while cursor.is_any(&["binary", "asensitive", "insensitive", "no", "scroll"]) {
        cursor.take();
    }
    if !cursor.accept("cursor") {
        return None;
    }
    let hold = cursor.accept_all(&["with", "hold"]);
    if !hold {
        cursor.accept_all(&["without", "hold"]);
    }
    if !cursor.accept("for") || cursor.at_end() {
        return None;
    }
    Some(StatementKind::Declare { cursor: name, hold, inner: cursor.position() })
}

/// `[direction] [FROM | IN] cursor`: the cursor's name is the last token in every form.
fn fetch(cursor: &mut Cursor<'_>) -> Option<Box<str>> {
    let mut name = None;
    while !cursor.at_end() {
        name = cursor.own_name();
        if name.is_none() {
            cursor.take()?;
        }
    }
    name
}

/// Behind EXPLAIN.
fn explain(cursor: &mut Cursor<'_>) -> Option<StatementKind> {
    let (mut route, mut other) = (false, false);
    let mut options = ExplainOptions::default();
    let mut ahead = cursor.clone();
    ahead.take();
    if cursor.is_punct(b'(') && !ahead.is_punct(b'(') && !ahead.is_any(&["select", "values", "table", "with"]) {
        cursor.take();
        loop {
            let name = cursor.name()?;
            let value = match cursor.is_punct(b',') || cursor.is_punct(b')') {
                true => None,
                false => Some(option_value(cursor)?),
            };
            let on = !matches!(value.as_deref(), Some("false" | "off" | "0"));
            match &*name {
                "analyze" | "analyse" => options.analyze = on,
                "route" => route = on,
                "format" => match value.as_deref() {
                    Some("text") => options.format = ExplainFormat::Text,
                    Some("json") => options.format = ExplainFormat::Json,
                    Some("yaml") => options.format = ExplainFormat::Yaml,
                    Some("xml") => options.format = ExplainFormat::Xml,
                    _ => other = true,
                },
                "timing" => {
                    options.untimed = !on;
                    other = true;
                }
                "summary" => {
                    options.summary = Some(on);
                    other = true;
                }
                _ => other = true,
            }
            if cursor.accept_punct(b')') {
                break;
            }
            if !cursor.accept_punct(b',') {
                return None;
            }
        }
    } else {
        options.analyze = cursor.accept("analyze") || cursor.accept("analyse");
        cursor.accept("verbose");
    }
    let shown = matches!(options.format, ExplainFormat::Text | ExplainFormat::Json);
    if cursor.at_end() || route && (options.analyze || other || !shown) {
        return None;
    }
    let inner = cursor.position();
    let json = options.format == ExplainFormat::Json;
    Some(if route { StatementKind::ExplainRoute { inner, json } } else { StatementKind::Explain { inner, options } })
}

/// A word, string or number, lower-cased.
fn option_value(cursor: &mut Cursor<'_>) -> Option<String> {
    let token = cursor.peek()?;
    if let Some(text) = cursor.string() {
        return Some(text.to_ascii_lowercase());
    }
    if let Some(name) = cursor.name() {
        return Some(name.to_ascii_lowercase());
    }
    cursor.take();
    matches!(token.kind, TokenKind::Literal(_)).then(|| cursor.source(token).into())
}

/// Behind WITH: what the statement is that the common table expressions stand before.
fn with(cursor: &mut Cursor<'_>) -> StatementKind {
    main_verb(cursor).unwrap_or(StatementKind::Other)
}

fn main_verb(cursor: &mut Cursor<'_>) -> Option<StatementKind> {
    let mut ahead = cursor.clone();
    // RECURSIVE can be the first expression's name.
    if ahead.accept("recursive") && !ahead.is("as") && !ahead.is_punct(b'(') {
        *cursor = ahead;
    }
    loop {
        cursor.take()?;
        if cursor.is_punct(b'(') && !cursor.skip_group() {
            return None;
        }
        if !cursor.accept("as") {
            return None;
        }
        cursor.accept("not");
        cursor.accept("materialized");
        if !cursor.is_punct(b'(') || !cursor.skip_group() {
            return None;
        }
        if cursor.is("search") {
            skip_until(cursor, &["set"])?;
            cursor.take()?;
        }
        if cursor.is("cycle") {
            skip_until(cursor, &["using"])?;
            cursor.take()?;
        }
        if !cursor.accept_punct(b',') {
            break;
        }
    }
    if cursor.is_punct(b'(') {
        return Some(StatementKind::Query);
    }
    Some(match cursor.word()?.to_ascii_lowercase().as_str() {
        "select" | "values" | "table" => StatementKind::Query,
        "insert" => StatementKind::Insert,
        "update" => StatementKind::Update,
        "delete" => StatementKind::Delete,
        "merge" => StatementKind::Merge,
        _ => return None,
    })
}

/// Takes all up to and with one of the words.
fn skip_until(cursor: &mut Cursor<'_>, words: &[&str]) -> Option<()> {
    while !cursor.is_any(words) {
        cursor.take()?;
    }
    cursor.take().map(|_| ())
}

/// Whether the statement creates a temporary relation: a table, view or sequence, or SELECT INTO. True in doubt: a session
/// is then kept on its connection without need. Names in `search_path` are not looked at.
pub fn creates_temporary(text: &str) -> bool {
    let mut cursor = Cursor::new(text);
    if cursor.is("explain") {
        // With ANALYZE it runs.
        while !cursor.at_end() && !cursor.is_any(&["create", "select", "with", "insert", "merge"]) {
            cursor.take();
        }
    }
    let create = cursor.is("create");
    let insert = cursor.is_any(&["insert", "merge"]);
    // The two words before, the nearer one first.
    let mut before = ["", ""];
    let mut words = 0;
    while let Some(token) = cursor.take() {
        if token.is(b';') {
            break;
        }
        let word = match token.kind {
            TokenKind::Word => cursor.source(token),
            TokenKind::Quoted => cursor.source(token).trim_matches('"'),
            _ => "",
        };
        words += 1;
        let temporary = word.eq_ignore_ascii_case("temp") || word.eq_ignore_ascii_case("temporary");
        let schema = word.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("pg_temp"));
        // `CREATE [OR REPLACE] [LOCAL] TEMP ...`, `SELECT ... INTO [LOCAL] TEMP ...`
        let created = create && (schema || temporary && words <= 5);
        let selected = !insert && (schema || temporary) && before.iter().any(|word| word.eq_ignore_ascii_case("into"));
        if created || selected {
            return true;
        }
        before = [word, before[0]];
    }
    false
}

#[cfg(test)]
mod tests;
