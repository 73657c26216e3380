//! Statement -> `Analysis`: tables, access, keys, shape, volatility. Everything that does not depend on this call's values.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hasher;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;
use sqlparser::ast::{Expr, ObjectName, Query, Select, SetExpr, Statement};

use crate::catalog::Sets;
use crate::fault::{Fault, SqlState};
use crate::ids::QualifiedName;
use crate::sql::block_time::{self, ReadsTime};
use crate::sql::claim::claim;
use crate::sql::combine::Combine;
use crate::sql::create_as::{self, CreateAs};
use crate::sql::drawing::Drawing;
use crate::sql::escapes;
use crate::sql::exprs::{At, Ctes};
use crate::sql::facts::{as_select, parameter_index};
use crate::sql::finish::{self, Parsed, Unmerged};
use crate::sql::functions;
use crate::sql::lexer::{Token, TokenKind, with_escapes};
use crate::sql::locked::locked;
use crate::sql::model::{LevelId, Model, Obstacle, Stop, Uses};
use crate::sql::modifying::{same_everywhere, with_copies, with_fixed};
use crate::sql::names::{Place, creation_schema, folded, is_temporary_schema, makes_temporary, parts};
use crate::sql::numbered::Numbering;
use crate::sql::outcome::{Many, Outcome, Routed, Scatter, ScatterSql, Why};
use crate::sql::query::check_clauses;
use crate::sql::query::is_limited;
use crate::sql::regroup::regroup;
use crate::sql::sequences::{self, Draw, Form, SequenceUse};
use crate::sql::sets;
use crate::sql::shape::{self, Printer};
use crate::sql::spelling::{self, Read};
use crate::sql::supplying::refused;
use crate::sql::template::Scan;
use crate::sql::temporary;
use crate::sql::utility::{self, SetStatement, StatementKind, TransactionStatement};
use crate::sql::{Access, Change, NameScope, Unknown, copying, ddl, is_too_deep, on_deep_stack, ragged, words};
use crate::types::compare::TextStyle;

/// What is known of a statement before its parameters and literals are. Shared between sessions by the plan cache.
#[derive(Clone, Debug)]
pub struct Analysis {
    pub kind: StatementKind,
    pub access: Access,
    /// Session state that this statement leaves on the server connection.
    pub pin: Option<PinReason>,
    /// Number of `$n` parameters (the largest n).
    pub parameters: u16,
    /// Literals (positions in [`crate::sql::template::Scan::slots`], ascending) whose text may differ from call to call
    /// without changing anything here. The others are guards: the plan cache finds this only where their text is the same.
    pub free_slots: SmallVec<[u16; 8]>,
    /// What is to be done, up to the values.
    pub outcome: Outcome,
    /// What it does with sequences on its server; `None`: nothing.
    pub sequences: Option<Box<SequenceUse>>,
    /// It writes a distributed table that the catalog does not know, so that nothing is known of its defaults.
    pub unseen: bool,
    /// Relations that its names could mean and that nobody knows: there may be one that another router has made.
    pub unknown: Box<[QualifiedName]>,
    /// It needs other shards than the home shard, and a name in it can be one of the session's temporary tables: those must be looked at
    /// before it runs.
    pub beside_temporary: bool,
    /// A name in it can be one of the session's temporary things, which may call what others have made of the functions of before.
    pub may_be_temporary: bool,
    /// Relations and schemas that it makes or drops, where schemas are placed: names mean something else behind it.
    pub changes: Box<[Change]>,
    /// What its names mean, as a hash; `None`: whatever the search path says.
    pub resolved: Option<u64>,
    /// It is refused because it names a table whose rows are being moved.
    pub closed: bool,
    /// It may release all session-level advisory locks of its connection, the router's own too.
    pub unlocks: bool,
    /// It is a query that provably does nothing but read: asked again, it has done nothing twice.
    pub only_reads: bool,
    /// A replica that has come far enough answers it as the primary did at some moment before.
    pub on_replicas: bool,
    /// A server that only reads refuses it in its own words, and does nothing of it before.
    pub is_refused_read_only: bool,
    /// It reads the time of its transaction, which it is to be told where that began on another shard.
    pub reads_time: Option<Arc<ReadsTime>>,
    /// A definition, or a lock, of a reference table: nobody who writes such a table is half way then.
    pub takes_turn: bool,
    pub numbering: Numbering,
    /// It gives random numbers, which `setseed` decides where it was called.
    pub random: bool,
}

/// Why one server connection must stay with one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PinReason {
    TemporaryTable,
    AdvisoryLock,
    Listen,
    HoldCursor,
    /// set_config and its like: a setting that other connections do not have.
    Setting,
    /// One that ends with the transaction.
    LocalSetting,
    /// DO, CALL: code whose effect cannot be seen.
    Code,
    /// lastval/currval
    SequenceState,
    /// setseed: the random numbers that come.
    Seed,
}

impl PinReason {
    /// Of a statement that changes settings, or takes locks, where it runs.
    pub fn of(sets: Sets) -> Option<Self> {
        match sets {
            Sets::Nothing => None,
            Sets::Locally => Some(Self::LocalSetting),
            Sets::Locks => Some(Self::AdvisoryLock),
            Sets::Lasting => Some(Self::Setting),
        }
    }
}

/// What a part of the analysis found.
pub(crate) struct Verdict {
    pub outcome: Outcome,
    pub access: Access,
    pub pin: Option<PinReason>,
    pub free_slots: SmallVec<[u16; 8]>,
    /// See [`crate::sql::model::Uses`].
    pub takes: Vec<QualifiedName>,
    pub surely: bool,
    pub takes_any: bool,
    pub unseen: bool,
    pub changes: Vec<Change>,
    pub resolved: Option<u64>,
    /// What it uses does nothing but read.
    pub only_reads: bool,
    /// It writes or locks rows of tables by itself.
    pub touches_rows: bool,
    pub settled: bool,
    pub reads_time: ReadsTime,
    pub numbering: Numbering,
    pub random: bool,
}

impl Verdict {
    pub fn new(outcome: Outcome, access: Access) -> Self {
        Self {
            outcome,
            access,
            pin: None,
            free_slots: SmallVec::new(),
            changes: Vec::new(),
            resolved: None,
            takes: Vec::new(),
            surely: false,
            takes_any: false,
            unseen: false,
            only_reads: false,
            touches_rows: false,
            settled: false,
            reads_time: ReadsTime::default(),
            numbering: Numbering::default(),
            random: false,
        }
    }

    pub fn refuse(fault: Fault) -> Self {
        Self::new(Outcome::Refuse(fault), Access::Write)
    }

    /// To the home shard, as something that may write.
    pub fn home() -> Self {
        Self::new(Outcome::Home(Why::Unsharded), Access::Write)
    }

    /// To one shard, as something that may write.
    pub fn at(place: &Place, scope: &NameScope<'_>) -> Self {
        Self::new(outcome_at(place, scope, Why::Unsharded), Access::Write)
    }
}

/// What becomes of a query's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    Result,
    /// COPY TO sends them.
    Copied,
    /// A cursor gives them, in any direction.
    Cursor,
}

impl Rows {
    /// Whether the router merges them.
    fn are_merged(self, scatter: &Scatter) -> bool {
        match self {
            Self::Result => true,
            Self::Copied => is_concat(scatter),
            Self::Cursor => false,
        }
    }

    fn not_merged(self) -> &'static str {
        match self {
            Self::Result | Self::Copied => "the rows of a COPY are not merged by the router",
            Self::Cursor => "a cursor lives on one server",
        }
    }
}

/// Why what the router could merge is finished by a Postgres.
const PRINTED_OTHERWISE: &str = "the session's settings print values in a form that the router does not compare";

/// One statement being analyzed.
pub(crate) struct Analyzer<'s> {
    pub scope: NameScope<'s>,
    pub text: &'s str,
    pub scan: &'s Scan,
    /// How often each `$n` (n - 1) occurs.
    pub used: HashMap<u16, u32>,
    pub parameters: u16,
    /// The statement is one of the router's making, whose FROM has one row for each that it changes ([`crate::sql::once`]).
    pub once: bool,
    /// What is asked for once of it takes values of sequences, each by its whole name.
    pub draws: Drawing,
    /// The slots of literals whose values have shaped what becomes of the statement, in whichever walk over it.
    pub told: Rc<RefCell<BTreeSet<u16>>>,
}

/// Tells everything about the first statement of `text` that its values do not decide. Never fails: what cannot be understood
/// goes to the home shard when it names no sharded table, and is refused when it names one.
///
/// `scan` is the scan of the same text; where scanning failed its contents do not matter.
pub fn analyze(text: &str, scan: &Scan, scope: &NameScope<'_>) -> Analysis {
    let unknown = Unknown::default();
    let analysis = analyze_in(text, scan, &NameScope { unknown: Some(&unknown), ..*scope });
    let alone = matches!(analysis.outcome, Outcome::Home(_) | Outcome::Shard(..) | Outcome::Any(_));
    let Unknown { names, temporary, hidden } = unknown;
    // A definition that goes home because of what is known may be one of other things by now.
    let beside_temporary = temporary.get() && (!alone || analysis.kind == StatementKind::Ddl);
    let may_be_temporary = temporary.get() && analysis.access != Access::Read;
    let outcome = match hidden.into_inner() {
        Some(name) if !alone && !matches!(analysis.outcome, Outcome::Refuse(_)) => {
            Outcome::Refuse(temporary::hidden(&name))
        }
        _ => analysis.outcome,
    };
    let outcome = match &outcome {
        Outcome::Refuse(_) => outcome,
        _ if may_be_temporary => match own_unsafe_call(text, scope) {
            Some(function) => Outcome::Refuse(unsafe_function(function)),
            None => outcome,
        },
        _ => outcome,
    };
    let unknown = names.into_inner().into_iter().collect();
    Analysis { unknown, beside_temporary, may_be_temporary, outcome, ..analysis }
}

/// The function that a temporary thing of the session's runs which the statement names, where it is not known to be safe any more.
fn own_unsafe_call<'a>(text: &str, scope: &NameScope<'a>) -> Option<&'a str> {
    let own = scope.own.filter(|_| !scope.topology.is_all_home())?;
    let names = words::identifiers(text, scope.standard_strings)?;
    // Whoever drops it runs nothing.
    let drops = names.first().is_some_and(|first| first == "drop");
    own.unsafe_call(scope.catalog, &names).filter(|_| !drops)
}

pub(crate) fn analyze_in(text: &str, scan: &Scan, scope: &NameScope<'_>) -> Analysis {
    if let Some(analysis) = escapes::analyze(text, scope) {
        return analysis;
    }
    let mut kind = utility::classify(text);
    // The router itself reads these values.
    if matches!(kind, StatementKind::Set(_) | StatementKind::SetConfig(_))
        && !scope.standard_strings
        && memchr::memchr(b'\\', text.as_bytes()).is_some()
    {
        kind = match with_escapes(text) {
            Some(other) => utility::classify(&other),
            None => StatementKind::Set(SetStatement::Opaque),
        };
    }
    let empty = Scan::default();
    let tokens = words::tokens(text, scope.standard_strings);
    let ours = matches!(functions::classify(scope, None, "set_config"), functions::FunctionClass::Home(_));
    if matches!(kind, StatementKind::SetConfig(_)) && (tokens.is_none() || !ours) {
        kind = StatementKind::Query;
    }
    let scan = if tokens.is_some() { scan } else { &empty };
    let mut used: HashMap<u16, u32> = HashMap::new();
    for token in tokens.iter().flatten().filter(|token| token.kind == TokenKind::Parameter) {
        if let Some(index) = parameter_index(words::text_of(text, token)) {
            *used.entry(index).or_default() += 1;
        }
    }
    // Those of a PREPARE belong to the statement inside; its own message brings no values.
    let parameters = match kind {
        StatementKind::Prepare(_) => 0,
        _ => used.keys().max().map_or(0, |largest| largest + 1),
    };
    let analyzer = Analyzer {
        scope: *scope,
        text,
        scan,
        used,
        parameters,
        once: false,
        draws: Drawing::Nothing,
        told: Rc::default(),
    };
    let calls = has_time(&kind) && tokens.as_ref().is_some_and(|tokens| block_time::has_calls(text, tokens, scope));
    let unlocks = match kind {
        StatementKind::Code => text.to_ascii_lowercase().contains(UNLOCK),
        _ => tokens.iter().flatten().any(|token| {
            matches!(token.kind, TokenKind::Word | TokenKind::Quoted)
                && words::text_of(text, token).to_ascii_lowercase().contains(UNLOCK)
        }),
    };
    // That a server would keep, and nobody would go by. What is sought for may stand in any literal, so none is free.
    let own_config = match (&kind, &tokens) {
        (StatementKind::SetConfig(_) | StatementKind::Prepare(_), _) | (_, None) => None,
        (_, Some(tokens)) => ours.then(|| config_beside(text, tokens)).flatten(),
    };
    let closed = analyzer.closed(&kind);
    let (mut verdict, uses) = match tokens {
        Some(tokens) => {
            let verdict = match analyzer.check_families(&kind) {
                Ok(()) => on_deep_stack(text, &tokens, || analyzer.verdict(&kind))
                    .unwrap_or_else(|| analyzer.not_understood("a statement as long as this")),
                Err(fault) => Verdict::refuse(fault),
            };
            let uses = sequences::uses(text, &tokens, scope);
            let replaced = !uses.is_none() && draws(&kind) && sequences::calls_can_be_replaced(text, &tokens, scope);
            (if replaced { with_values(verdict) } else { verdict }, uses)
        }
        None => (analyzer.unreadable(), SequenceUse::default()),
    };
    let Verdict { only_reads, touches_rows, settled, ref mut reads_time, ref mut numbering, .. } = verdict;
    let (reads_time, numbering) = (std::mem::take(reads_time), std::mem::take(numbering));
    let Verdict {
        outcome,
        access,
        pin,
        mut free_slots,
        changes,
        resolved,
        takes,
        surely,
        takes_any,
        unseen,
        random,
        ..
    } = verdict;
    if own_config.is_some() {
        free_slots.clear();
    }
    let reads_time = (calls || has_time(&kind) && !reads_time.is_none()).then(|| Arc::new(reads_time));
    let mut uses = uses;
    uses.surely = if surely { takes.clone() } else { Vec::new() };
    uses.takes.extend(takes);
    uses.takes_any |= takes_any;
    let sequences = (!uses.is_none()).then(|| Box::new(uses));
    let changes = changes.into();
    let alone = matches!(outcome, Outcome::Home(_) | Outcome::Shard(..) | Outcome::Any(_) | Outcome::Refuse(_));
    let (is_closed, outcome) = match (closed, own_config.flatten()) {
        (Some(fault), _) => (true, Outcome::Refuse(fault)),
        (None, Some(name)) => (false, Outcome::Refuse(config_of_router(name))),
        (None, None) if unlocks && !alone => (false, Outcome::Refuse(unlocks_everywhere())),
        (None, None) => (false, outcome),
    };
    let closed = is_closed;
    let reads = match &outcome {
        Outcome::Routed(_) | Outcome::Home(_) | Outcome::Shard(..) | Outcome::Any(_) => kind == StatementKind::Query,
        Outcome::Refuse(_)
        | Outcome::Broadcast(_)
        | Outcome::Parts(..)
        | Outcome::Each(..)
        | Outcome::CopyIn(_)
        | Outcome::Stamp(_)
        | Outcome::CreateAs(_)
        | Outcome::Insert(_)
        | Outcome::Draw(_)
        | Outcome::Deliver(_)
        | Outcome::Supply(_) => false,
    };
    let only_reads = only_reads && reads && access == Access::Read && pin.is_none() && sequences.is_none() && !unlocks;
    let of_rows = matches!(
        kind,
        StatementKind::Query
            | StatementKind::Insert
            | StatementKind::Update
            | StatementKind::Delete
            | StatementKind::Merge
    );
    let runs_as_it_is = matches!(outcome, Outcome::Routed(_) | Outcome::Insert(_));
    let is_refused_read_only = touches_rows && of_rows && runs_as_it_is && !unlocks;
    let unknown = Box::default();
    let takes_turn = match &outcome {
        Outcome::Broadcast(Why::Ddl) | Outcome::Each(..) | Outcome::Stamp(_) => analyzer.stops_writers_of_copies(),
        Outcome::Broadcast(_)
        | Outcome::Routed(_)
        | Outcome::Home(_)
        | Outcome::Shard(..)
        | Outcome::Any(_)
        | Outcome::Refuse(_)
        | Outcome::Parts(..)
        | Outcome::CopyIn(_)
        | Outcome::CreateAs(_)
        | Outcome::Insert(_)
        | Outcome::Draw(_)
        | Outcome::Deliver(_)
        | Outcome::Supply(_) => false,
    };
    Analysis {
        kind,
        access,
        pin,
        parameters,
        free_slots,
        outcome,
        changes,
        resolved,
        sequences,
        unseen,
        closed,
        unlocks,
        unknown,
        beside_temporary: false,
        may_be_temporary: false,
        only_reads,
        on_replicas: only_reads && settled,
        is_refused_read_only,
        reads_time,
        takes_turn,
        numbering,
        random,
    }
}

/// The function that releases all session-level advisory locks, the router's own too.
const UNLOCK: &str = "advisory_unlock_all";

/// Where set_config() is called: the first setting of the router that a literal names, `None` within where there is none.
fn config_beside<'a>(text: &'a str, tokens: &[Token]) -> Option<Option<&'a str>> {
    let is_call = |at: usize, name: &str| {
        let opens = tokens.get(at + 1).is_some_and(|next| next.is(b'('));
        let word = tokens.get(at).map(|token| words::text_of(text, token)).unwrap_or_default();
        opens && word.trim_matches('"').eq_ignore_ascii_case(name)
    };
    (0..tokens.len()).find(|at| is_call(*at, "set_config"))?;
    let named = tokens.iter().enumerate().find_map(|(at, token)| {
        let TokenKind::Literal(_) = token.kind else { return None };
        let source = words::text_of(text, token);
        let name = match source.strip_prefix('$') {
            Some(tagged) => tagged.split_once('$')?.1.rsplit_once('$')?.0.rsplit_once('$')?.0,
            None => source.split_once('\'')?.1.strip_suffix('\'')?,
        };
        let name = name.trim_ascii();
        let is_ours = name.get(..PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX));
        let is_shown = at.checked_sub(2).is_some_and(|before| is_call(before, "current_setting"));
        (is_ours && !is_shown).then_some(name)
    });
    Some(named)
}

/// How the router's own settings begin.
const PREFIX: &str = "pgloom.";

/// A setting of the router in a query that is more than one call.
pub(crate) fn config_of_router(name: &str) -> Fault {
    Fault::unsupported(
        "set_config() of a setting of the router beside others is not supported",
        format!("\"{name}\" is known to no server."),
        "Set it in a statement of its own.",
    )
}

fn unlocks_everywhere() -> Fault {
    Fault::unsupported(
        "releasing advisory locks in a statement over several shards is not supported",
        "Advisory locks are the home shard's.",
        "Release them in a statement of its own.",
    )
}

/// Whether the router can take a statement's values of sequences before it sends it.
fn draws(kind: &StatementKind) -> bool {
    matches!(kind, StatementKind::Query | StatementKind::Insert | StatementKind::Update | StatementKind::Delete)
}

/// Whether the time of the transaction can be written into a statement of this kind.
fn has_time(kind: &StatementKind) -> bool {
    matches!(
        kind,
        StatementKind::Query
            | StatementKind::Insert
            | StatementKind::Update
            | StatementKind::Delete
            | StatementKind::Merge
            | StatementKind::Positioned(_)
            | StatementKind::Declare { .. }
            | StatementKind::Copy(_)
    )
}

/// The statement with the router's values in the place of functions.
fn with_values(verdict: Verdict) -> Verdict {
    if let Outcome::Draw(_) = verdict.outcome {
        return verdict;
    }
    let pin = verdict.pin.filter(|pin| *pin != PinReason::SequenceState);
    let draw = Draw { as_written: verdict.outcome, form: Form::Calls };
    Verdict { outcome: Outcome::Draw(Arc::new(draw)), pin, ..verdict }
}

impl Analyzer<'_> {
    fn whole(&self) -> Range<usize> {
        self.scan.start..self.scan.end.max(self.scan.start)
    }

    fn verdict(&self, kind: &StatementKind) -> Verdict {
        match kind {
            StatementKind::Query
            | StatementKind::Insert
            | StatementKind::Update
            | StatementKind::Delete
            | StatementKind::Merge
            | StatementKind::Other => self.statement(self.whole()),
            StatementKind::Positioned(_) => self.positioned(),
            StatementKind::Copy(copy) => copying::copy(self, copy),
            // What it does with the plan is the plan's matter.
            StatementKind::Explain { inner, .. } => self.statement(*inner..self.whole().end),
            StatementKind::Ddl => ddl::ddl(self),
            StatementKind::Maintenance => ddl::maintenance(self),
            StatementKind::Lock => ddl::lock(self),
            StatementKind::Code => self.code(),
            StatementKind::Declare { cursor, hold, inner } => self.declare(cursor, *inner, *hold),
            StatementKind::Listen => Verdict { pin: Some(PinReason::Listen), ..Verdict::home() },
            StatementKind::Show(_) => Verdict::new(Outcome::Home(Why::NoTable), Access::Read),
            StatementKind::Unclear => Verdict::refuse(
                Fault::new(SqlState::SYNTAX_ERROR, "syntax error, or a form of the statement that is not supported")
                    .detail("the router must know what the statement does to the session's state"),
            ),
            // Its arguments are read at each call.
            StatementKind::Execute(_) => {
                let slots = u16::try_from(self.scan.slots.len()).unwrap_or_default();
                Verdict { free_slots: (0..slots).collect(), ..Verdict::new(Outcome::Home(Why::NoTable), Access::Write) }
            }
            // What a cursor's query writes is noted where it is declared.
            StatementKind::Fetch(_) | StatementKind::CloseCursor(_) => {
                Verdict::new(Outcome::Home(Why::Cursor), Access::Read)
            }
            StatementKind::Transaction(TransactionStatement::TwoPhase) => {
                Verdict::refuse(two_phase_of_client(self.text))
            }
            StatementKind::Empty
            | StatementKind::Transaction(_)
            | StatementKind::Set(_)
            | StatementKind::SetConfig(_)
            | StatementKind::Placement(_)
            | StatementKind::ShowRouter(_)
            | StatementKind::ExplainRoute { .. }
            | StatementKind::Prepare(_)
            | StatementKind::AroundExecute(_)
            | StatementKind::Deallocate(_)
            | StatementKind::Unlisten
            | StatementKind::Notify
            | StatementKind::Discard(_) => Verdict::new(Outcome::Home(Why::NoTable), Access::Write),
        }
    }

    /// A query, INSERT, UPDATE or DELETE in these bytes.
    pub fn statement(&self, bytes: Range<usize>) -> Verdict {
        self.statement_of(bytes, Rows::Result)
    }

    /// The same, for rows that go elsewhere.
    pub fn statement_of(&self, bytes: Range<usize>, rows: Rows) -> Verdict {
        let Some(text) = self.text.get(bytes.clone()) else { return self.not_understood("the statement") };
        let Some(Read { tree, other }) = spelling::read(text, bytes.start, &self.scan.slots) else {
            return self.not_understood(match is_too_deep(text) {
                true => "queries and parentheses that nest as deep as these",
                false => "the syntax of the statement",
            });
        };
        if let Some(verdict) = ragged::verdict(self, &tree).or_else(|| self.select_into(&tree, text)) {
            return verdict;
        }
        let parsed = Parsed { tree: &tree, bytes, other };
        let literals = parsed.literals(self);
        let mut model = Model::new(self.scope, literals, self.used.clone());
        let walked = match &tree {
            Statement::Query(query) => self.query(&mut model, &parsed, query, rows),
            other => self.change(&mut model, &parsed, other, &None, None),
        };
        match walked {
            Ok(outcome) => self.finish(model, outcome),
            Err(Stop::Refuse(fault)) => Verdict::refuse(fault),
            Err(Stop::NotUnderstood(what)) => self.not_understood(what),
        }
    }

    /// SELECT INTO makes a table where all is that it reads, or is a CREATE TABLE AS.
    fn select_into(&self, tree: &Statement, text: &str) -> Option<Verdict> {
        let Statement::Query(query) = tree else { return None };
        let into = as_select(query)?.into.as_ref()?;
        if self.scope.topology.is_all_home() {
            return None;
        }
        if into.temporary {
            // What lies at home alone is that server's own affair.
            return self.elsewhere_name().and_then(|_| ddl::temporary_as(self, text));
        }
        let is_temporary = |schema: &Option<String>| match schema {
            Some(schema) => is_temporary_schema(schema),
            None => makes_temporary(&self.scope),
        };
        let [target] = &into.targets[..] else { return None };
        let (schema, name) = match target {
            Expr::Identifier(name) => (None, folded(name).into_owned()),
            Expr::CompoundIdentifier(names) => parts(&ObjectName::from(names.clone()))?,
            _ => return None,
        };
        if is_temporary(&schema) {
            return None;
        }
        let schema = schema.or_else(|| creation_schema(&self.scope).map(str::to_owned))?;
        let table = QualifiedName::new(schema.as_str(), name);
        let made = Change::Made(table.clone());
        let changes = if self.scope.topology.places_schemas() { vec![made] } else { Vec::new() };
        let place = self.scope.place_of(&schema);
        let distributed = create_as::is_distributed(&self.scope, &table);
        let verdict = self.not_understood("SELECT INTO");
        let refused = matches!(verdict.outcome, Outcome::Refuse(_));
        if (distributed || refused && place.is_home(&self.scope)) && self.is_known_at_home() {
            let create = CreateAs::of_select_into(text, table, distributed)?;
            return Some(Verdict { changes, ..Verdict::new(Outcome::CreateAs(Arc::new(create)), Access::Write) });
        }
        if distributed {
            return Some(Verdict::refuse(ddl::create::unknown_at_home(&table.name)));
        }
        Some(match self.check_alone(&place) {
            Err(fault) => Verdict::refuse(fault),
            Ok(()) if refused => verdict,
            Ok(()) => Verdict { changes, pin: verdict.pin, ..Verdict::at(&place, &self.scope) },
        })
    }

    fn finish(&self, model: Model<'_>, outcome: Outcome) -> Verdict {
        let outcome = match check_functions(&model, &outcome) {
            Some(fault) => Outcome::Refuse(fault),
            None => with_copies(&model, with_fixed(&model, outcome)),
        };
        let uses = &model.uses;
        let changes =
            matches!(&outcome, Outcome::Insert(_) | Outcome::Broadcast(_) | Outcome::Draw(_) | Outcome::Refuse(_));
        let writes = changes
            || uses.writing
            || uses.writing_cte
            || uses.home_changes
            || uses.unknown_function.is_some()
            || uses.unsafe_function.is_some()
            || (uses.user_function.is_some() && uses.volatile.is_some());
        // What a function locks, it locks beside tables of the home shard too.
        let locks = uses.locking || uses.home_function || uses.locks_by_function;
        let access = match (writes, locks) {
            (true, _) => Access::Write,
            (false, true) => Access::Lock,
            (false, false) => Access::Read,
        };
        let pin = uses.pin.filter(|_| !matches!(outcome, Outcome::Refuse(_)));
        let free_slots = model.literals.free_slots();
        let resolved = (!model.by_path).then(|| model.resolved.finish());
        // Code of the user's can do anything with sequences.
        let takes_any = model.uses.takes_any || (uses.user_function.is_some() && uses.volatile.is_some());
        let unseen = uses.unseen;
        let only_reads = !writes
            && !locks
            && uses.pin.is_none()
            && uses.system.is_none()
            && uses.server.is_none()
            && uses.volatile.is_none()
            && uses.runs_sql.is_none();
        let touches_rows = uses.writing || uses.locking;
        let settled = !uses.unsettled;
        let Uses { takes, surely, mut reads_time, moment, numbering, random, .. } = model.uses;
        reads_time.moment |= moment;
        let changes = Vec::new();
        Verdict {
            outcome,
            access,
            pin,
            free_slots,
            changes,
            resolved,
            takes,
            surely,
            takes_any,
            unseen,
            only_reads,
            touches_rows,
            settled,
            reads_time,
            numbering,
            random,
        }
    }

    fn query(&self, model: &mut Model<'_>, parsed: &Parsed<'_>, query: &Query, rows: Rows) -> Result<Outcome, Stop> {
        let text = parsed.text(self);
        check_clauses(query)?;
        if let (Some(with), Rows::Result) = (&query.with, rows)
            && let Some(outcome) = self.filled_in_with(parsed, with)?
        {
            model.by_path = true;
            return Ok(outcome);
        }
        let ctes = model.with(query.with.as_ref(), &None)?;
        model.uses.locking |= !query.locks.is_empty();
        if let SetExpr::Insert(statement)
        | SetExpr::Update(statement)
        | SetExpr::Delete(statement)
        | SetExpr::Merge(statement) = &*query.body
        {
            let outcome = self.change(model, parsed, statement, &ctes, query.with.as_ref())?;
            return Ok(outcome);
        }
        let (mut regrouped, mut top) = (None, None);
        let drawing;
        let many = match as_select(query) {
            Some(select) => {
                let level = model.select(select, None, None, &ctes)?;
                model.note_locks(query, level.level);
                let at = At { level: level.level, ctes: ctes.clone(), vary: false };
                model.walk_order_by(&at, query.order_by.as_ref())?;
                model.walk_limit(&at, query)?;
                model.unused_ctes(query.with.as_ref(), &ctes)?;
                top = Some((select, level.level));
                drawing = self.drawing(model, query, top);
                if model.uses.locking && is_limited(query) && rows == Rows::Result && !model.refs.is_empty() {
                    let claim = claim(self, model, parsed, query, &level);
                    let many = claim.map(|claim| Many::Claim(Arc::new(claim))).map_err(Obstacle::fault);
                    let many = many.or_else(|why| self.put_together(model, parsed, query, (select, level.level), why));
                    return Ok(self.read_outcome(model, many));
                }
                let many = shape::scatter(model, parsed.tree, text, query, &level, self.parameters);
                let many = draws_not(many, drawing.is_some());
                let merged =
                    many.as_ref().is_ok_and(|scatter| rows.are_merged(scatter) && scatter.style == TextStyle::NONE);
                if !merged && drawing.is_none() && !model.uses.writing_cte && !model.uses.numbering.hangs_on_server() {
                    regrouped = regroup(model, parsed.tree, text, query, &level);
                }
                many
            }
            None => {
                let rows = model.top(query, &ctes)?;
                let standard_strings = self.scope.standard_strings;
                let (statement, parameters) = (parsed.tree, self.parameters);
                let literals = &model.literals;
                let printer = Printer { statement, text, standard_strings, parameters, literals, clock: None };
                drawing = self.drawing(model, query, None);
                draws_not(sets::scatter(model, query, &rows, &printer).map_err(Obstacle::fault), drawing.is_some())
            }
        };
        let finish = |reason: Fault| {
            let of = drawing.as_ref().unwrap_or(self);
            let unmerged = Unmerged { of, parsed, reason: &reason, written: None };
            match regrouped {
                Some(text) => Ok(unmerged.by_parts(model, text)),
                None => unmerged.finish(),
            }
            .map(Arc::new)
        };
        let changes = model.uses.writing_cte;
        if let Some(table) = model.uses.cte_writes_copies.as_deref().filter(|_| rows == Rows::Result)
            && let Err(why) = same_everywhere(model, table)
        {
            let finished = finish(why.clone()).map(Many::Finish);
            let many = finished.map_err(|other| refused(&why, other.detail.as_deref().unwrap_or(&other.message)));
            return Ok(routed(model, many));
        }
        let many = match many {
            // Who has enough rows would stop the shards at their work.
            Ok(_) if changes && is_limited(query) => {
                Err(Obstacle::new("LIMIT of rows that WITH changes on several shards").fault())
            }
            other => other,
        };
        let many = match many {
            Ok(mut scatter) if rows.are_merged(&scatter) => {
                if scatter.style != TextStyle::NONE {
                    scatter.otherwise = finish(Obstacle::new(PRINTED_OTHERWISE).fault()).ok();
                }
                Ok(Many::Scatter(scatter))
            }
            Err(fault) if model.refs.is_empty() && model.needs().len() <= 1 && model.fixed.is_empty() => Err(fault),
            Err(fault) if model.uses.locks_copies => Err(fault.hint(
                "Lock the reference table's rows in a statement of their own, or the sharded table's alone: FOR UPDATE OF table.",
            )),
            Ok(_) if changes => Err(Obstacle::new(rows.not_merged()).fault()),
            Err(fault) if changes && rows != Rows::Result => {
                Err(refused(&fault, "WITH contains a statement that changes data"))
            }
            Err(fault) if changes => {
                let finished = finish(fault.clone()).map(Many::Finish);
                finished.map_err(|why| refused(&fault, why.detail.as_deref().unwrap_or(&why.message)))
            }
            other => {
                let merged = || Obstacle::new(rows.not_merged()).fault();
                finish(other.err().unwrap_or_else(merged)).map(Many::Finish)
            }
        };
        let many = match (many, top) {
            (Err(why), Some(top)) if rows == Rows::Result && !query.locks.is_empty() => {
                self.put_together(model, parsed, query, top, why)
            }
            (many, _) => many,
        };
        if !model.fixed.is_empty() && many.is_ok() {
            return Ok(routed(model, many));
        }
        Ok(self.read_outcome(model, many))
    }

    /// How rows are locked that no shard has by itself; `why` no shard does.
    fn put_together(
        &self,
        model: &Model<'_>,
        parsed: &Parsed<'_>,
        query: &Query,
        (select, level): (&Select, LevelId),
        why: Fault,
    ) -> Result<Many, Fault> {
        match locked(self, model, parsed, query, select, level) {
            Ok(locked) => Ok(Many::Locked(Arc::new(locked))),
            Err(fault) => Err(fault.unwrap_or(why)),
        }
    }

    /// Where a statement that changes nothing goes.
    pub fn read_outcome(&self, model: &Model<'_>, many: Result<Many, Fault>) -> Outcome {
        let uses = &model.uses;
        let needs = model.needs();
        if !model.refs.is_empty() || needs.len() > 1 {
            return routed_by_values(model, many);
        }
        if let Some(place) = uses.places.first() {
            return outcome_at(place, &self.scope, Why::Unsharded);
        }
        if uses.home.is_some() {
            let why = match (uses.home_function, uses.locks_copies) {
                (true, _) => Why::NoTable,
                // A lock on a row is one that all sessions meet.
                (false, true) => Why::Reference,
                (false, false) => Why::Unsharded,
            };
            return Outcome::Home(why);
        }
        let base = self.scope.base();
        if uses.system.is_some() {
            return outcome_at(&base, &self.scope, Why::Unsharded);
        }
        let local = uses.volatile.is_some()
            || uses.clock.is_some()
            || uses.server.is_some()
            || uses.unknown_function.is_some()
            || uses.user_function.is_some()
            || uses.locking
            || uses.writing_cte;
        match (uses.reference.is_some(), local) {
            (true, false) => Outcome::Any(Why::Reference),
            (true, true) => outcome_at(&base, &self.scope, Why::Reference),
            (false, false) if base.is_home(&self.scope) => Outcome::Any(Why::NoTable),
            // Types, operators and functions can be those of the schema.
            (false, _) => outcome_at(&base, &self.scope, Why::NoTable),
        }
    }

    pub fn change<'q>(
        &self,
        model: &mut Model<'_>,
        parsed: &Parsed<'_>,
        statement: &'q Statement,
        ctes: &Ctes<'q>,
        with: Option<&'q sqlparser::ast::With>,
    ) -> Result<Outcome, Stop> {
        model.uses.writing = true;
        match statement {
            Statement::Insert(insert) => self.insert(model, parsed, insert, ctes, with),
            Statement::Update(update) => self.update(model, parsed, update, ctes, with),
            Statement::Delete(delete) => self.delete(model, parsed, delete, ctes, with),
            Statement::Merge(merge) => self.merge(model, parsed, merge, ctes, with),
            _ => Err(Stop::NotUnderstood("this kind of statement")),
        }
    }

    /// A cursor lives on one server: where no single shard runs its query, on the one that finishes it.
    fn declare(&self, cursor: &str, inner: usize, hold: bool) -> Verdict {
        let mut verdict = self.statement_of(inner..self.whole().end, Rows::Cursor);
        // What changes data is no query.
        let refuse = || Obstacle::new("a cursor over a statement that is no query").fault();
        match &mut verdict.outcome {
            Outcome::Routed(routed) => {
                if let Some(change) = &mut routed.key_change {
                    change.moved = Err(refuse());
                }
                routed.found_by.clear();
                let many = std::mem::replace(&mut routed.many, Err(refuse()));
                routed.many = match (many, self.text.get(..inner)) {
                    (Ok(Many::Finish(finish)), Some(before)) => {
                        Ok(Many::Finish(finish::declared(&finish, cursor, before, hold)))
                    }
                    (Err(fault), _) => Err(fault),
                    (Ok(_), _) => Err(refuse()),
                };
            }
            // FETCH must find the shard again: not any, but one.
            Outcome::Any(why) => verdict.outcome = Outcome::Home(why.clone()),
            Outcome::Insert(_)
            | Outcome::Broadcast(_)
            | Outcome::Parts(..)
            | Outcome::Each(..)
            | Outcome::CreateAs(_)
            | Outcome::Stamp(_)
            | Outcome::CopyIn(_)
            | Outcome::Deliver(_)
            | Outcome::Supply(_)
            | Outcome::Draw(_) => verdict.outcome = Outcome::Refuse(refuse()),
            Outcome::Refuse(_) | Outcome::Home(_) | Outcome::Shard(..) => {}
        }
        if hold {
            verdict.pin = Some(PinReason::HoldCursor);
        }
        verdict
    }
}

/// A statement over sharded tables, or over what lies on several shards.
pub(crate) fn routed(model: &Model<'_>, many: Result<Many, Fault>) -> Outcome {
    let (groups, also) = (model.groups(), model.needs());
    Outcome::Routed(Routed { groups, also, key_change: None, found_by: Vec::new(), many })
}

/// The same, of a statement that also a row's unique values can lead to one shard.
pub(crate) fn routed_by_values(model: &Model<'_>, many: Result<Many, Fault>) -> Outcome {
    match routed(model, many) {
        Outcome::Routed(routed) => Outcome::Routed(Routed { found_by: model.found_by(), ..routed }),
        other => other,
    }
}

/// To one shard, as it is; `why` where that is not for a schema's sake.
pub(crate) fn outcome_at(place: &Place, scope: &NameScope<'_>, why: Why) -> Outcome {
    match &place.schema {
        Some(schema) => Outcome::Shard(place.shard, Why::Schema(schema.clone())),
        None if place.shard == scope.topology.home => Outcome::Home(why),
        None => Outcome::Shard(place.shard, why),
    }
}

/// Functions that could read or write distributed tables behind the router's back.
fn check_functions(model: &Model<'_>, outcome: &Outcome) -> Option<Fault> {
    if model.scope.topology.is_all_home() || matches!(outcome, Outcome::Refuse(_)) {
        return None;
    }
    if let Some(name) = &model.uses.runs_sql {
        return Some(Fault::unsupported(
            format!("function {name}() is not supported"),
            "it runs SQL or reads tables by name, where the router cannot see which",
            "Run the query itself.",
        ));
    }
    model.uses.unsafe_function.as_deref().map(unsafe_function)
}

/// PREPARE TRANSACTION, COMMIT PREPARED and ROLLBACK PREPARED of clients, in whatever protocol.
pub(crate) fn two_phase_of_client(text: &str) -> Fault {
    let statement = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    Fault::unsupported(
        "two-phase commit statements of clients are not supported",
        format!("pgloom runs two-phase commit itself; \"{statement}\" would meet only one shard."),
        "Use plain BEGIN and COMMIT: a transaction over several shards is committed atomically.",
    )
}

pub(crate) fn unsafe_function(name: &str) -> Fault {
    Fault::unsupported(
        format!("function {name}() is not known to be safe"),
        "a user-defined function could read or write distributed tables behind the router's back",
        format!(
            "If it does not, declare it in the database's section of the configuration: safe_functions = [\"{name}\"]."
        ),
    )
}

/// No shard has a sequence that the statement takes values of.
fn draws_not(many: Result<Scatter, Fault>, draws: bool) -> Result<Scatter, Fault> {
    if draws { many.and_then(|_| Err(Obstacle::new("nextval() over several shards").fault())) } else { many }
}

/// Whether the rows are those of every shard, one behind the other.
fn is_concat(scatter: &Scatter) -> bool {
    *scatter.combine == Combine::CONCAT && scatter.limit.is_none() && scatter.sql == ScatterSql::AsWritten
}
