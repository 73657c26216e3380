//! COPY: rows into a sharded table go by their key, rows out of it come from every shard.

use std::borrow::Cow;
use std::sync::Arc;

use crate::catalog::{Column, ColumnDefault, Table, Volatility};
use crate::fault::{Fault, SqlState};
use crate::ids::{DistributionId, QualifiedName, ShardSet};
use crate::sql::Access;
use crate::sql::analyze::{Analyzer, PinReason, Rows, Verdict};
use crate::sql::ddl::fills::has_moment_text;
use crate::sql::defaults::{evaluated, reads_clock, uses_of};
use crate::sql::elsewhere;
use crate::sql::finish::copied;
use crate::sql::functions::{FunctionClass, classify};
use crate::sql::implicit::{self, check_defaults, check_read, check_written};
use crate::sql::keys::{KeyExpr, KeyGroup, KeyName};
use crate::sql::left_out::{check_sources, from_sequence, refuse_varying_defaults, sequence_of};
use crate::sql::lexer::Token;
use crate::sql::names::{Relation, resolve};
use crate::sql::outcome::{
    CopyFill, CopyInPlan, Elsewhere, Finish, FinishText, Many, Outcome, PullSource, Routed, Scatter, StoredColumn, Why,
};
use crate::sql::pieces::Pieces;
use crate::sql::pulls::{quoted, share, whole_pull};
use crate::sql::sequences::check_source;
use crate::sql::utility::encodings::{FileEncoding, Named, is_ascii, named};
use crate::sql::utility::{CopyDirection, CopyEndpoint, CopyFormat, CopyStatement, CopyTable};
use crate::sql::words::{self, text_of, tokens};
use crate::types::{KeyType, oid};

pub(crate) fn copy(of: &Analyzer<'_>, copy: &CopyStatement) -> Verdict {
    let binary = copy.format == CopyFormat::Binary;
    let Some(table) = &copy.table else {
        let mut verdict = of_query(of, copy);
        if binary && verdict.numbering.made.names {
            verdict.numbering.gives.get_or_insert_with(|| "COPY of names of the catalog in binary".into());
        }
        return verdict;
    };
    let relation = resolve(&of.scope, table.schema.as_deref(), &table.name);
    // Read as a name, a number is one of the shard's; in binary a name is one.
    let named = |column: &&Column| {
        let copied = table.columns.is_empty() || table.columns.contains(&column.name);
        copied && oid::is_name_of_catalog(column.type_oid) && (binary || copy.direction == CopyDirection::From)
    };
    let column = relation.table().and_then(|known| known.columns.iter().find(named));
    let gives = column.map(|column| format!("COPY of column \"{}\"", column.name).into());
    let mut verdict = of_table(of, copy, table, relation);
    verdict.numbering.gives = gives;
    verdict
}

fn of_table(of: &Analyzer<'_>, copy: &CopyStatement, table: &CopyTable, relation: Relation) -> Verdict {
    if copy.endpoint != CopyEndpoint::Client && relation.is_distributed() {
        return Verdict::refuse(Fault::unsupported(
            "COPY of a distributed table with a file or program is not supported",
            "the file or program is on one server",
            "Use COPY FROM STDIN or COPY TO STDOUT.",
        ));
    }
    if let Err(fault) = check_code(of, copy.direction, &relation, table) {
        return Verdict::refuse(fault);
    }
    let pin = PinReason::of(implicit::sets(&of.scope, &relation, copy.direction == CopyDirection::From));
    match (copy.direction, relation) {
        (CopyDirection::From, Relation::Sharded { name, distribution, key, table: known }) => {
            let unseen = known.is_none();
            match copy_in(of, &name, distribution, &key, known.as_deref(), table, copy) {
                Ok(plan) => Verdict { unseen, ..Verdict::new(Outcome::CopyIn(Arc::new(plan)), Access::Write) },
                Err(fault) => Verdict { unseen, ..Verdict::refuse(fault) },
            }
        }
        (CopyDirection::From, Relation::Reference { name, table: known }) => {
            let unseen = known.is_none();
            match copy_everywhere(of, name, known.as_deref(), table, copy) {
                Ok(plan) => Verdict { unseen, ..Verdict::new(Outcome::CopyIn(Arc::new(plan)), Access::Write) },
                Err(fault) => Verdict { unseen, ..Verdict::refuse(fault) },
            }
        }
        (CopyDirection::To, Relation::Sharded { name, distribution, key, table: known }) => {
            let key_name = KeyName { table: name.name.clone(), columns: key.join(", ").into() };
            let group = KeyGroup { distribution, name: Arc::new(key_name), expr: KeyExpr::Any };
            let many = match concat(&copy.format) {
                Ok(scatter) => Ok(Many::Scatter(scatter)),
                Err(fault) => finished(of, &name, known.as_deref(), table, &group, &fault)
                    .map(|finish| Many::Finish(Arc::new(finish)))
                    .ok_or(fault),
            };
            let routed =
                Routed { groups: vec![group], also: ShardSet::new(), key_change: None, found_by: Vec::new(), many };
            Verdict::new(Outcome::Routed(routed), Access::Read)
        }
        (CopyDirection::To, Relation::Reference { .. }) => Verdict::new(Outcome::Any(Why::Reference), Access::Read),
        (CopyDirection::From, Relation::Unsharded { table: known, place }) => {
            let left_out = |known: &Arc<Table>| -> Vec<usize> {
                let columns = known.columns.iter().enumerate();
                columns.filter(|(_, column)| !table.columns.contains(&column.name)).map(|(at, _)| at).collect()
            };
            let known = known.filter(|_| !table.columns.is_empty());
            let omitted = known.as_ref().map(left_out).unwrap_or_default();
            let takes = known.iter().flat_map(|known| omitted.iter().filter_map(|at| sequence_of(&known.columns[*at])));
            let takes = takes.collect();
            match known.as_ref().map_or(Ok(()), |known| check_sources(&of.scope, known, &omitted, &place)) {
                Ok(()) => Verdict { takes, pin, ..Verdict::at(&place, &of.scope) },
                Err(fault) => Verdict::refuse(fault),
            }
        }
        (CopyDirection::To, Relation::Unsharded { place, .. }) => {
            Verdict { access: Access::Read, pin, ..Verdict::at(&place, &of.scope) }
        }
        (direction, Relation::System) => {
            let access = if direction == CopyDirection::From { Access::Write } else { Access::Read };
            Verdict { access, ..Verdict::at(&of.scope.base(), &of.scope) }
        }
        // It fails, and Postgres has the words for it.
        (direction, Relation::View { table: view, .. }) if direction == CopyDirection::To || !view.has_triggers => {
            Verdict { access: Access::Write, ..Verdict::at(&of.scope.base(), &of.scope) }
        }
        (_, Relation::View { .. }) => of.not_understood("COPY of a view with triggers"),
    }
}

/// What the rows set off where they are read or written.
fn check_code(
    of: &Analyzer<'_>,
    direction: CopyDirection,
    relation: &Relation,
    table: &CopyTable,
) -> Result<(), Fault> {
    if direction == CopyDirection::To {
        return check_read(&of.scope, relation);
    }
    check_written(&of.scope, relation)?;
    let columns = relation.table().map_or(&[][..], |known| &known.columns).iter().enumerate();
    let left_out = columns.filter(|(_, column)| !table.columns.is_empty() && !table.columns.contains(&column.name));
    let left_out: Vec<usize> = left_out.map(|(at, _)| at).collect();
    check_defaults(&of.scope, relation, &left_out)
}

/// The rows must be cut here exactly as the shards would cut them.
fn readable(of: &Analyzer<'_>, copy: &CopyStatement) -> Result<(), Fault> {
    if copy.encoding.as_deref().is_some_and(|encoding| named(encoding) == Named::Unknown) {
        return Err(Fault::unsupported(
            "COPY into a sharded table with this ENCODING is not supported",
            "pgloom does not know how the characters of this encoding are made",
            "Send the rows in UTF-8.",
        ));
    }
    if let Some((name, at)) = &copy.no_option {
        let fault = Fault::new(SqlState::SYNTAX_ERROR, format!("option \"{name}\" not recognized"));
        let before = of.text.get(..*at).map_or(0, |before| before.chars().count());
        return Err(fault.position(u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)));
    }
    if copy.unknown_option {
        return Err(Fault::unsupported(
            "COPY into a sharded table with this option is not supported",
            "an option that pgloom does not know, or a backslash as QUOTE, could change where rows end",
            "Leave the option out.",
        ));
    }
    Ok(())
}

/// The encoding of the rows, where they are text and that is not UTF-8. Binary texts are in the client's encoding whatever the COPY says.
fn encoding(copy: &CopyStatement) -> Option<FileEncoding> {
    match named(copy.encoding.as_deref()?) {
        Named::Other(encoding) if copy.format != CopyFormat::Binary => Some(encoding),
        Named::Other(_) | Named::Utf8 | Named::Unknown => None,
    }
}

fn copy_in(
    of: &Analyzer<'_>,
    name: &QualifiedName,
    distribution: DistributionId,
    key: &[Box<str>],
    known: Option<&crate::catalog::Table>,
    table: &CopyTable,
    copy: &CopyStatement,
) -> Result<CopyInPlan, Fault> {
    let refuse = |detail: String| {
        Fault::unsupported(
            format!("COPY into sharded table \"{}\" needs its sharding key", name.name),
            detail,
            format!("Name {} in the column list of the COPY.", key.join(", ")),
        )
    };
    readable(of, copy)?;
    let columns: Vec<&str> = match (&table.columns[..], known) {
        ([], Some(known)) => known.columns.iter().filter(|c| !c.generated).map(|c| &*c.name).collect(),
        ([], None) => return Err(refuse("the table's columns are not known".to_owned())),
        (columns, _) => columns.iter().map(|c| &**c).collect(),
    };
    let fill = fill(of, known, table, Some(key))?;
    let added: Vec<&str> = fill.iter().flat_map(CopyFill::names).collect();
    let known_column = |column: &Box<str>| known.and_then(|known| known.column(column)).map(|(_, column)| column);
    // Without a value of its own, or of its type, it is NULL in each row, and every shard refuses that.
    let is_refused = |column: &Column| {
        let plain = KeyType::from_oid(column.type_oid).is_some() && !column.generated;
        column.not_null && plain && column.default == ColumnDefault::None
    };
    let field = |column: &Box<str>| {
        // Values that the router adds stand behind those of the row.
        match columns.iter().chain(&added).position(|of| **of == **column) {
            Some(at) => Ok((at, column.clone())),
            None if known_column(column).is_some_and(is_refused) => Ok((CopyInPlan::ABSENT, column.clone())),
            None => Err(refuse(format!("column \"{column}\" is not among the columns of the COPY"))),
        }
    };
    Ok(CopyInPlan {
        distribution: Some(distribution),
        table: name.clone(),
        fields: columns.len(),
        key_fields: key.iter().map(field).collect::<Result<_, _>>()?,
        types: key.iter().map(|column| known_column(column).map(|column| column.type_oid)).collect(),
        typmods: key.iter().map(|column| known_column(column).map_or(-1, |column| column.typmod)).collect(),
        not_null: key.iter().map(|column| known_column(column).is_some_and(|column| column.not_null)).collect(),
        times: times(known, &columns, copy),
        format: copy.format.clone(),
        encoding: encoding(copy),
        unverified: unverified(copy),
        stored: if copy.filtered { Vec::new() } else { stored(known, &columns) },
        fill,
    })
}

/// The columns, and how values are stored in those that show them as they are read here.
fn stored(known: Option<&Table>, columns: &[&str]) -> Vec<StoredColumn> {
    let Some(known) = known.filter(|known| known.effects.is_none()) else { return Vec::new() };
    let type_of = |name: &str| {
        let (_, column) = known.column(name)?;
        let key_type = KeyType::from_oid(column.type_oid).filter(|of| {
            matches!(of, KeyType::Int2 | KeyType::Int4 | KeyType::Int8 | KeyType::Text | KeyType::Varchar)
        })?;
        Some((key_type, column.typmod))
    };
    columns.iter().map(|name| (Box::from(*name), type_of(name))).collect()
}

/// Whether bytes that make no characters are let in, as far as the statement says.
fn unverified(copy: &CopyStatement) -> Option<bool> {
    copy.encoding.as_deref().map(is_ascii)
}

/// The fields that a shard reads as times. Binary ones say no `now`.
fn times(known: Option<&Table>, columns: &[&str], copy: &CopyStatement) -> Vec<(usize, Box<str>)> {
    let is_time = |name: &str| {
        known.and_then(|known| known.column(name)).is_some_and(|(_, column)| oid::holds_time(column.type_oid))
    };
    let times = columns.iter().enumerate().filter(|(_, name)| copy.format != CopyFormat::Binary && is_time(name));
    times.map(|(at, name)| (at, Box::from(*name))).collect()
}

/// The columns that a COPY leaves out and that take values of sequences, or the time, or are part of the sharding key. `key`: `None` for a
/// table that every shard has, where also random uuids must be the same.
fn fill(
    of: &Analyzer<'_>,
    known: Option<&Table>,
    table: &CopyTable,
    key: Option<&[Box<str>]>,
) -> Result<Option<CopyFill>, Fault> {
    let (Some(known), [_, ..]) = (known, &table.columns[..]) else { return Ok(None) };
    let (mut columns, mut clocks, mut uuids) = (Vec::new(), Vec::new(), Vec::new());
    for column in known.columns.iter().filter(|column| !table.columns.contains(&column.name)) {
        match &column.default {
            ColumnDefault::Sequence(default) => {
                check_source(&of.scope, known, &column.name, &default.sequence, of.scope.topology.home)?;
                columns.push((column.name.clone(), column.type_oid, default.sequence.clone()));
            }
            ColumnDefault::Expression(text) if !column.generated && reads_clock(&of.scope, column) => {
                from_sequence(column, known)?;
                check_clock(of, known, column, text)?;
                clocks.push((column.name.clone(), text.clone()));
            }
            ColumnDefault::Expression(text)
                if !column.generated
                    && key.is_some_and(|key| key.contains(&column.name))
                    && is_one_value(of, column, text) =>
            {
                clocks.push((column.name.clone(), text.clone()));
            }
            ColumnDefault::Expression(_)
                if is_random_uuid(column) && key.is_none_or(|key| key.contains(&column.name)) =>
            {
                uuids.push(column.name.clone());
            }
            ColumnDefault::Expression(_) | ColumnDefault::None => from_sequence(column, known)?,
        }
    }
    let mut fill = CopyFill { text: Arc::default(), columns, clocks, uuids };
    let names: String = fill.names().map(|name| format!(", {}", quoted(name))).collect();
    if names.is_empty() {
        return Ok(None);
    }
    let lost = || {
        Fault::unsupported(
            "this form of COPY is not supported",
            "the router would add columns that take values of sequences or the time, and cannot tell where its column list ends",
            "Write the column list plainly.",
        )
    };
    let end = tokens(of.text, of.scope.standard_strings)
        .and_then(|tokens| tokens.into_iter().find(|token| token.is(b')')))
        .ok_or_else(lost)?;
    let (before, after) = of.text.split_at_checked(end.start).ok_or_else(lost)?;
    fill.text = format!("{before}{names}{after}").into();
    Ok(Some(fill))
}

/// Whether a column's default is a random uuid, which anybody can make.
fn is_random_uuid(column: &Column) -> bool {
    // The catalog is read without a path: so it is that of Postgres itself.
    let made = matches!(&column.default, ColumnDefault::Expression(text) if &**text == "gen_random_uuid()");
    made && !column.generated && column.type_oid == oid::UUID
}

/// Whether a default is one value for all rows, which a shard can tell beforehand.
fn is_one_value(of: &Analyzer<'_>, column: &Column, text: &str) -> bool {
    let varies = uses_of(&of.scope, text).is_none_or(|uses| uses.volatile.is_some());
    !varies && evaluated(&of.scope, column).is_ok()
}

fn check_clock(of: &Analyzer<'_>, table: &Table, column: &Column, text: &str) -> Result<(), Fault> {
    if is_one_value(of, column, text) {
        return Ok(());
    }
    Err(Fault::unsupported(
        format!("COPY that leaves out column \"{}\" of table \"{}\" is not supported", column.name, table.name.name),
        format!("its default is {text}, which each shard would make at a moment of its own"),
        "Give the column its values in the COPY.",
    ))
}

/// Into a reference table: no key is read, but what the rows leave out must be the same on every shard.
fn copy_everywhere(
    of: &Analyzer<'_>,
    name: QualifiedName,
    known: Option<&crate::catalog::Table>,
    table: &CopyTable,
    copy: &CopyStatement,
) -> Result<CopyInPlan, Fault> {
    if let (Some(known), [_, ..]) = (known, &table.columns[..]) {
        let from_sequence = |column: &crate::catalog::Column| matches!(column.default, ColumnDefault::Sequence(_));
        let left_out = |column: &crate::catalog::Column| {
            let clock = !column.generated && reads_clock(&of.scope, column);
            let added = from_sequence(column) || clock || is_random_uuid(column);
            !table.columns.iter().any(|of| **of == *column.name) && !added
        };
        let columns = known.columns.iter().enumerate();
        let omitted: Vec<usize> = columns.filter(|(_, column)| left_out(column)).map(|(at, _)| at).collect();
        refuse_varying_defaults(&of.scope, known, &omitted)?;
    }
    if copy.filtered {
        check_filter(of, &name)?;
    }
    let fill = fill(of, known, table, None)?;
    let columns: Vec<&str> = match (&table.columns[..], known) {
        ([], Some(known)) => known.columns.iter().filter(|c| !c.generated).map(|c| &*c.name).collect(),
        (columns, _) => columns.iter().map(|c| &**c).collect(),
    };
    let times = times(known, &columns, copy);
    if fill.is_some() || !times.is_empty() {
        readable(of, copy)?;
    }
    Ok(CopyInPlan {
        distribution: None,
        table: name,
        fields: table.columns.len(),
        key_fields: Vec::new(),
        types: Vec::new(),
        typmods: Vec::new(),
        not_null: Vec::new(),
        times,
        format: copy.format.clone(),
        encoding: encoding(copy),
        unverified: unverified(copy),
        stored: Vec::new(),
        fill,
    })
}

/// That each shard's WHERE lets the same rows in, by the names in it.
fn check_filter(of: &Analyzer<'_>, table: &QualifiedName) -> Result<(), Fault> {
    let words = words::identifiers(of.text, of.scope.standard_strings).unwrap_or_default();
    let varies = |word: &&String| match classify(&of.scope, None, word) {
        FunctionClass::Volatile
        | FunctionClass::Clock
        | FunctionClass::Server
        | FunctionClass::RunsSql
        | FunctionClass::Home(_)
        | FunctionClass::Sequence(_) => true,
        FunctionClass::User(function) | FunctionClass::UserAggregate(function) => {
            function.volatility != Volatility::Immutable
        }
        FunctionClass::Pure | FunctionClass::Aggregate | FunctionClass::Window | FunctionClass::Unknown => false,
    };
    // A text like `now` is read at another moment on each shard, a name as the number that the shard gave it.
    let moment = has_moment_text(of.text, false, of.scope.standard_strings).then(|| "a text like 'now'".to_owned());
    let named = |word: &&String| oid::of_name_of_catalog(word).is_some() || word.starts_with("to_reg");
    let filter = words.iter().skip_while(|word| **word != "where");
    match filter.clone().find(varies).or_else(|| filter.clone().find(named)).cloned().or(moment) {
        None => Ok(()),
        Some(name) => Err(Fault::unsupported(
            format!("this COPY into reference table \"{}\" is not supported", table.name),
            format!("{name} in its WHERE can give another value on each shard"),
            "Every shard must get the same rows: leave out what is not wanted before it is sent.",
        )),
    }
}

/// COPY of a table whose output must be made in one place: it is made of an input with the table's rows.
fn finished(
    of: &Analyzer<'_>,
    name: &QualifiedName,
    known: Option<&crate::catalog::Table>,
    table: &CopyTable,
    group: &KeyGroup,
    why: &Fault,
) -> Option<Finish> {
    // Of others Postgres copies nothing, or says so.
    let known = known.filter(|known| known.kind == crate::catalog::RelationKind::Table)?;
    let columns: Vec<&crate::catalog::Column> = match &table.columns[..] {
        [] => known.columns.iter().filter(|column| !column.generated).collect(),
        named => {
            let column = |name: &Box<str>| known.column(name).map(|(_, column)| column).filter(|c| !c.generated);
            named.iter().map(column).collect::<Option<_>>()?
        }
    };
    let twice =
        |at: usize| columns.get(..at).is_some_and(|before| before.iter().any(|other| other.name == columns[at].name));
    if columns.is_empty() || (0..columns.len()).any(twice) {
        return None;
    }
    let text = of.text.get(..of.scan.end)?;
    let tokens = tokens(text, of.scope.standard_strings)?;
    let to = tokens.iter().rposition(|token| text_of(text, token).eq_ignore_ascii_case("stdout"))?.checked_sub(1)?;
    let to = tokens.get(to).filter(|token| text_of(text, token).eq_ignore_ascii_case("to"))?;
    let mut pulls = Vec::new();
    share(&mut pulls, whole_pull(name, true, &columns, PullSource::Sharded(vec![group.clone()])));
    let list: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let input = &pulls.first()?.name;
    let mut sql = Pieces::default();
    let tail = tail_of(text, &tokens, text.get(to.start..)?, to.start)?;
    sql.push(&format!("COPY (SELECT {} FROM pg_temp.{input}) {tail}", list.join(", ")));
    let alone = FinishText {
        below: Vec::new(),
        pulls,
        sql,
        reads_home: None,
        pulls_all: true,
        clock: None,
        own_clock: false,
        foreign: false,
        limit: None,
        depot: None,
        views: Vec::new(),
        supplies: Vec::new(),
    };
    let reason = why.detail.as_deref().unwrap_or(&why.message).into();
    let elsewhere = elsewhere::of_columns(of.scope.catalog, &alone.pulls)
        .map(|collations| Elsewhere { text: None, collations: collations.into() });
    Some(Finish {
        by_views: None,
        reason,
        in_transaction: Ok(alone.clone()),
        alone,
        elsewhere,
        copy: true,
        cursor: None,
        draws: false,
    })
}

/// What follows the table, for COPY of a query: that has no place for the BINARY that old statements have before the table.
fn tail_of<'a>(text: &str, tokens: &[Token], tail: &'a str, start: usize) -> Option<Cow<'a, str>> {
    let word = |at: usize| tokens.get(at).map_or("", |token| text_of(text, token));
    let names_table = word(2).eq_ignore_ascii_case("to") || matches!(word(2), "(" | ".");
    if !word(1).eq_ignore_ascii_case("binary") || names_table {
        return Some(Cow::Borrowed(tail));
    }
    let options = tokens.iter().find(|token| token.start > start && text_of(text, token) == "(");
    Some(Cow::Owned(match options {
        Some(token) => {
            let (before, behind) = tail.split_at_checked(token.start + 1 - start)?;
            format!("{before}FORMAT binary, {behind}")
        }
        None => format!("{tail}\nBINARY"),
    }))
}

/// The outputs of several shards one behind the other, where that is a well-formed output.
fn concat(format: &CopyFormat) -> Result<Scatter, Fault> {
    let refuse = |detail: &'static str| {
        Fault::unsupported(
            "COPY TO over several shards is not supported in this form",
            detail,
            "Use text or CSV format without HEADER, or give the sharding key one value.",
        )
    };
    match format {
        CopyFormat::Text { header: false, .. } | CopyFormat::Csv { header: false, .. } => Ok(Scatter::concat()),
        CopyFormat::Text { .. } | CopyFormat::Csv { .. } => Err(refuse("each shard would send a header line")),
        CopyFormat::Binary => Err(refuse("each shard's output has a beginning and an end of its own")),
    }
}

/// COPY (query) TO: by the query.
fn of_query(of: &Analyzer<'_>, copy: &CopyStatement) -> Verdict {
    let Some(inner) = query_bytes(of) else { return of.not_understood("COPY of a query") };
    let mut verdict = of.statement_of(inner.clone(), Rows::Copied);
    let distributed = |outcome: &Outcome| {
        matches!(
            outcome,
            Outcome::Routed(_) | Outcome::Insert(_) | Outcome::Broadcast(_) | Outcome::Deliver(_) | Outcome::Supply(_)
        )
    };
    if copy.endpoint != CopyEndpoint::Client && distributed(&verdict.outcome) {
        return Verdict::refuse(Fault::unsupported(
            "COPY of distributed tables with a file or program is not supported",
            "the file or program is on one server",
            "Use COPY TO STDOUT.",
        ));
    }
    let merged = || {
        Fault::unsupported(
            "COPY of a query over several shards is not supported in this form",
            "only rows that need no merging can be copied from several shards",
            "Run the query itself, or give the sharding key one value in WHERE.",
        )
    };
    match &mut verdict.outcome {
        Outcome::Routed(routed) => {
            let whole = of.text.get(..of.scan.end).unwrap_or_default();
            if let Some(change) = &mut routed.key_change {
                change.moved = Err(merged());
            }
            routed.many = match std::mem::replace(&mut routed.many, Err(merged())) {
                Ok(Many::Scatter(_)) => concat(&copy.format).map(Many::Scatter),
                Ok(Many::Finish(finish)) => match (whole.get(..inner.start), whole.get(inner.end..)) {
                    (Some(before), Some(after)) => Ok(Many::Finish(copied(&finish, before, after))),
                    _ => Err(merged()),
                },
                Ok(Many::Deliver(_) | Many::Supply(_) | Many::Claim(_) | Many::Locked(_) | Many::Fill(_)) => {
                    Err(merged())
                }
                Err(fault) => Err(fault),
            };
        }
        Outcome::Insert(insert) => insert.many = Err(merged()),
        Outcome::Broadcast(_)
        | Outcome::Parts(..)
        | Outcome::Each(..)
        | Outcome::CreateAs(_)
        | Outcome::Stamp(_)
        | Outcome::CopyIn(_)
        | Outcome::Deliver(_)
        | Outcome::Supply(_)
        | Outcome::Draw(_) => verdict.outcome = Outcome::Refuse(merged()),
        Outcome::Refuse(_) | Outcome::Home(_) | Outcome::Shard(..) | Outcome::Any(_) => {}
    }
    verdict
}

/// The bytes between the parentheses of `COPY ( ... )`.
fn query_bytes(of: &Analyzer<'_>) -> Option<std::ops::Range<usize>> {
    let text = of.text.get(..of.scan.end)?;
    let mut depth = 0usize;
    let mut start = None;
    for token in tokens(text, of.scope.standard_strings)? {
        if token.is(b'(') {
            depth += 1;
            start.get_or_insert(token.end);
        } else if token.is(b')') {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(start?..token.start);
            }
        } else if start.is_none() && !text_of(text, &token).eq_ignore_ascii_case("copy") {
            return None;
        }
    }
    None
}
