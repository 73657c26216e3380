//! Defaults of columns, where a Postgres evaluates them for rows that it puts together before they are written.

use std::ops::ControlFlow;

use sqlparser::ast::{Assignment, Expr, Visit, VisitMut, Visitor, VisitorMut};
use sqlparser::tokenizer::Span;

use crate::catalog::{Column, ColumnDefault, Identity};
use crate::fault::Fault;
use crate::ids::QualifiedName;
use crate::sql::NameScope;
use crate::sql::block_time::default_with_clock;
use crate::sql::clock::{Calls, Clock};
use crate::sql::exprs::At;
use crate::sql::implicit::check_defaults;
use crate::sql::insert::{assigned, is_default};
use crate::sql::left_out::{refuse_sequences, refuse_varying_defaults};
use crate::sql::literals::Literals;
use crate::sql::model::{Model, Obstacle, Uses};
use crate::sql::names::Relation;
use crate::sql::pulls::quoted;
use crate::sql::rewrite::is_faithful_in_parts;
use crate::sql::sequences::fill::expression_pieces;
use crate::sql::sequences::{Piece, Take};
use crate::sql::words::identifiers;

/// A default as the connection evaluates it that puts the rows together.
pub(crate) struct Evaluated {
    pub sql: String,
    /// A function in it that reads the clock.
    pub clock: Option<Box<str>>,
    /// The sequences that it takes values of, in order.
    pub takes: Vec<QualifiedName>,
}

/// What an expression without columns depends on; `None` where it cannot be read, or reads a sharded table.
pub(crate) fn uses_of(scope: &NameScope<'_>, text: &str) -> Option<Uses> {
    let expr = super::parse_expr(text)?;
    let literals = Literals::new("", 0, &[]);
    let mut scratch = Model::new(*scope, literals, Default::default());
    let level = scratch.add_level(None, None);
    scratch.walk(&At { level, ctes: None, vary: false }, &expr).ok()?;
    scratch.refs.is_empty().then_some(scratch.uses)
}

/// Whether a column's default reads the clock, which each shard would read at a moment of its own.
pub(crate) fn reads_clock(scope: &NameScope<'_>, column: &Column) -> bool {
    match &column.default {
        ColumnDefault::Expression(text) => uses_of(scope, text).is_none_or(|uses| uses.clock.is_some()),
        ColumnDefault::None | ColumnDefault::Sequence(_) => false,
    }
}

/// The default of a column for a connection to the home shard under the client's settings. `Ok(None)`: it has none. `Err`: it could
/// mean something else there than in the table, or leaves something behind in the session.
pub(crate) fn evaluated(scope: &NameScope<'_>, column: &Column) -> Result<Option<Evaluated>, ()> {
    let text = match &column.default {
        ColumnDefault::None => return Ok(None),
        ColumnDefault::Sequence(default) => return Ok(Some(next_value(scope, &default.sequence)?)),
        ColumnDefault::Expression(text) => match expression_pieces(text)? {
            Some(pieces) if pieces.iter().any(|piece| matches!(piece, Piece::Take { take: Take::Next(_), .. })) => {
                return Ok(Some(with_next_values(scope, column, &pieces)?));
            }
            Some(_) | None => text,
        },
    };
    evaluated_text(scope, text)
}

/// A default that reads the clock, as an expression in parentheses which means the same in a statement of the client. Its literals are none of
/// the statement's.
pub(crate) fn written_clock_default(scope: &NameScope<'_>, column: &Column) -> Option<Expr> {
    let ColumnDefault::Expression(text) = &column.default else { return None };
    let read = evaluated_text(scope, text).ok().flatten()?;
    read.clock.filter(|_| read.takes.is_empty())?;
    unplaced(text)
}

/// The same of a default that takes values of sequences of the home shard or gives another value at each call. Not of an identity column,
/// which needs no right to its sequence.
pub(crate) fn written_default(scope: &NameScope<'_>, column: &Column) -> Option<Expr> {
    evaluated(scope, column).ok()??;
    match &column.default {
        ColumnDefault::None => None,
        ColumnDefault::Sequence(default) if default.identity != Identity::No => None,
        ColumnDefault::Sequence(default) => {
            let sequence = format!("{}.{}", quoted(&default.sequence.schema), quoted(&default.sequence.name));
            // How a backslash is read depends on a setting.
            let sequence = Some(sequence).filter(|name| !name.contains('\\'))?;
            unplaced(&format!("pg_catalog.nextval('{}')", sequence.replace('\'', "''")))
        }
        ColumnDefault::Expression(text) => unplaced(text),
    }
}

/// An expression in parentheses whose literals are none of a statement's.
fn unplaced(text: &str) -> Option<Expr> {
    struct Unplaced;
    impl VisitorMut for Unplaced {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            match expr {
                Expr::Value(value) => value.span = Span::empty(),
                Expr::TypedString(typed) => typed.value.span = Span::empty(),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut expr = super::parse_expr(text)?;
    let _ = VisitMut::visit(&mut expr, &mut Unplaced);
    Some(Expr::Nested(Box::new(expr)))
}

/// A value of a sequence of the home shard.
fn next_value(scope: &NameScope<'_>, sequence: &QualifiedName) -> Result<Evaluated, ()> {
    if scope.place_of(&sequence.schema).shard != scope.topology.home {
        return Err(());
    }
    let name = format!("{}.{}", quoted(&sequence.schema), quoted(&sequence.name));
    // Read alike whatever standard_conforming_strings is.
    let name = format!("E'{}'", name.replace('\\', "\\\\").replace('\'', "''"));
    // By its name as a text: a default with the sequence itself would stand in the way of its DROP.
    let sql = format!("pg_catalog.nextval({name}::pg_catalog.text::pg_catalog.regclass)");
    Ok(Evaluated { sql, clock: None, takes: vec![sequence.clone()] })
}

/// An expression with values of sequences in it.
fn with_next_values(scope: &NameScope<'_>, column: &Column, pieces: &[Piece]) -> Result<Evaluated, ()> {
    let (mut sql, mut with_zeros, mut takes) = (String::new(), String::new(), Vec::new());
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                sql.push_str(text);
                with_zeros.push_str(text);
            }
            Piece::Take { take: Take::Next(sequence), .. } => {
                let value = next_value(scope, sequence)?;
                sql.push_str(&value.sql);
                with_zeros.push_str("0::bigint");
                takes.extend(value.takes);
            }
            Piece::Take { .. } => return Err(()),
        }
    }
    let rest = Column { default: ColumnDefault::Expression(with_zeros.into()), ..column.clone() };
    match evaluated(scope, &rest)? {
        Some(Evaluated { clock: None, .. }) => Ok(Evaluated { sql, clock: None, takes }),
        _ => Err(()),
    }
}

fn evaluated_text(scope: &NameScope<'_>, text: &str) -> Result<Option<Evaluated>, ()> {
    let uses = uses_of(scope, text).ok_or(())?;
    let foreign = uses.one_shard().is_some()
        || [&uses.server, &uses.unknown_function, &uses.unsafe_function, &uses.user_function, &uses.runs_sql]
            .into_iter()
            .any(Option::is_some);
    // The catalog prints a type without its schema where the catalog's reader needs none; the client may.
    let types = &scope.catalog.customs.types;
    let names = identifiers(text, true).ok_or(())?;
    if foreign || names.iter().any(|name| types.iter().any(|made| **made == *name)) {
        return Err(());
    }
    if uses.clock.is_none() {
        return Ok(Some(Evaluated { sql: text.to_owned(), clock: None, takes: Vec::new() }));
    }
    let whole = format!("SELECT {text}");
    let tree = super::parse(&whole).filter(|tree| is_faithful_in_parts(tree, &whole, true)).ok_or(())?;
    let mut expr = super::parse_expr(text).filter(|expr| tree.to_string() == format!("SELECT {expr}")).ok_or(())?;
    let _ = VisitMut::visit(&mut expr, &mut OwnClock(Clock { scope: *scope, calls: Calls::OfTransaction }));
    Ok(Some(Evaluated { sql: expr.to_string(), clock: uses.clock, takes: Vec::new() }))
}

/// What each shard would make of the defaults that SET gives to columns of a distributed table.
pub(crate) fn check_assigned(
    model: &mut Model<'_>,
    relation: &Relation,
    assignments: &[Assignment],
) -> Result<(), Fault> {
    let to_defaults = assignments.iter().filter(|assignment| assignment.visit(&mut FindDefault).is_break());
    let names: Vec<String> = to_defaults.flat_map(|assignment| assigned(std::slice::from_ref(assignment))).collect();
    let Some(table) = relation.table() else { return Ok(()) };
    let columns: Vec<usize> =
        names.iter().filter_map(|name| table.columns.iter().position(|column| *column.name == **name)).collect();
    check_defaults(&model.scope, relation, &columns)?;
    let late = columns.iter().filter_map(|at| default_with_clock(&model.scope, table, *at));
    model.uses.reads_time.sets.extend(late.map(|(name, default)| (name.into(), default.into())));
    if !relation.is_distributed() {
        return Ok(());
    }
    if let Relation::Reference { .. } = relation {
        return refuse_varying_defaults(&model.scope, table, &columns);
    }
    refuse_sequences(table, &columns)?;
    let columns = columns.iter().filter_map(|at| table.columns.get(*at));
    if let Some(column) = columns.into_iter().find(|column| reads_clock(&model.scope, column)) {
        let detail = format!("the default of column \"{}\" reads the clock, which differs between shards", column.name);
        model.hinder(Obstacle::new(detail).hint("Send the time as a parameter or a literal."));
    }
    Ok(())
}

struct FindDefault;

impl Visitor for FindDefault {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if is_default(expr) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

struct OwnClock<'a>(Clock<'a>);

impl VisitorMut for OwnClock<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            let _ = self.0.replace(function);
        }
        ControlFlow::Continue(())
    }
}
