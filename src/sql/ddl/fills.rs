//! What ALTER TABLE writes into the rows that there are: each shard evaluates it for its own.

use crate::catalog::Volatility;
use crate::fault::Fault;
use crate::sql::NameScope;
use crate::sql::ddl::elements::ColumnElement;
use crate::sql::ddl::unsupported;
use crate::sql::defaults::uses_of;
use crate::sql::exprs::SYSTEM_COLUMNS;
use crate::sql::left_out::is_same_everywhere;
use crate::sql::lexer::{Token, TokenKind};
use crate::sql::model::Uses;
use crate::sql::names::Relation;
use crate::sql::pushdown::reads_clock;
use crate::sql::stamp::Stamp;
use crate::sql::words::{Words, text_of, tokens};

const LATER: &str =
    "Add the column without a default, give the rows their values by UPDATE, and then ALTER COLUMN ... SET DEFAULT.";

/// The rows that there are get the default of a column that is added.
pub(super) fn check_added(
    scope: &NameScope<'_>,
    relation: &Relation,
    table: &str,
    column: &ColumnElement,
    if_not_exists: bool,
) -> Result<Option<Stamp>, Fault> {
    const SERIAL: [&str; 6] = ["serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"];
    let ty = column.ty.as_ref().map(|ty| ty.to_string().to_ascii_lowercase());
    let draws = |text: &str| Words::new(text, scope.standard_strings).is_none_or(|words| words.has("nextval"));
    let serial = ty.is_some_and(|ty| SERIAL.contains(&&*ty));
    if serial || column.identity || column.default.as_deref().is_some_and(draws) {
        return Err(from_sequence(table));
    }
    let Some(default) = &column.default else { return Ok(None) };
    if is_of_a_moment(scope, default) {
        return Ok(Some(Stamp {
            column: column.name.as_str().into(),
            ty: column.type_text.as_str().into(),
            default: column.default_bytes.clone(),
            if_not_exists,
        }));
    }
    check_default(scope, table, &column.name, column.is_text(), default)?;
    check_expression(scope, relation, table, default).map(|()| None)
}

/// Whether an expression has one value in a transaction, by the clock and nothing else.
fn is_of_a_moment(scope: &NameScope<'_>, text: &str) -> bool {
    uses_of(scope, text).is_some_and(|uses| {
        let others = [&uses.volatile, &uses.server, &uses.unknown_function, &uses.unsafe_function, &uses.user_function];
        uses.clock.is_some() && uses.one_shard().is_none() && others.into_iter().all(Option::is_none)
    })
}

/// Whether a text in an expression for a column, of texts or of something else, could be read as a moment (`'now'`), by each shard as one of its own.
pub(crate) fn has_moment_text(text: &str, is_text: bool, standard_strings: bool) -> bool {
    let Some(tokens) = tokens(text, standard_strings) else { return true };
    let cast = |token: &Token| text_of(text, token) == "::" || text_of(text, token).eq_ignore_ascii_case("cast");
    if is_text && !tokens.iter().any(cast) {
        return false;
    }
    tokens.iter().any(|token| matches!(token.kind, TokenKind::Literal(_)) && reads_clock(text_of(text, token)))
}

/// A default that is a constant is one of the moment at which it is defined.
pub(crate) fn check_default(
    scope: &NameScope<'_>,
    table: &str,
    column: &str,
    is_text: bool,
    default: &str,
) -> Result<(), Fault> {
    match has_moment_text(default, is_text, scope.standard_strings) {
        false => Ok(()),
        true => Err(unsupported(
            format!("this default of column \"{column}\" of distributed table \"{table}\""),
            "it has a text that is read as the moment at which it is defined, and each shard has a moment of its own",
        )
        .hint("Write now() or current_date for the time of each row, or the time itself.")),
    }
}

/// The rows that there are get what USING makes of them.
pub(super) fn check_using(scope: &NameScope<'_>, relation: &Relation, table: &str, using: &str) -> Result<(), Fault> {
    if Words::new(using, scope.standard_strings).is_none_or(|words| words.has("nextval")) {
        return Err(from_sequence(table));
    }
    if has_moment_text(using, false, scope.standard_strings) {
        return Err(differs(relation, table));
    }
    check_expression(scope, relation, table, using)
}

/// Each row of a sharded table lies on one shard: a value for each row may be anything. One value for all rows must be the same on all.
fn check_expression(scope: &NameScope<'_>, relation: &Relation, table: &str, text: &str) -> Result<(), Fault> {
    let is_copy = matches!(relation, Relation::Reference { .. });
    let uses = uses_of(scope, text);
    let same = match (is_copy, &uses) {
        (true, Some(uses)) => is_same_everywhere(scope, text) && uses.system_column.is_none(),
        (true, None) => is_same_everywhere(scope, text) && !names_system_column(scope, text),
        (false, Some(uses)) => differs_by_row_alone(scope, uses),
        (false, None) => false,
    };
    if same { Ok(()) } else { Err(differs(relation, table)) }
}

/// What each shard says of its own row: where it lies, and who has made it.
fn names_system_column(scope: &NameScope<'_>, text: &str) -> bool {
    let words = Words::new(text, scope.standard_strings);
    words.is_none_or(|words| SYSTEM_COLUMNS.iter().any(|name| words.has(name)))
}

fn differs(relation: &Relation, table: &str) -> Fault {
    let is_copy = matches!(relation, Relation::Reference { .. });
    let kind = if is_copy { "reference" } else { "sharded" };
    unsupported(
        format!("filling a column of {kind} table \"{table}\" by this expression"),
        "each shard would evaluate it, perhaps to a value of its own",
    )
    .hint(LATER)
}

fn differs_by_row_alone(scope: &NameScope<'_>, uses: &Uses) -> bool {
    // What a stable function says at its moment is one value for all rows.
    let stable = uses.user_function.as_ref().is_some_and(|name| {
        scope.catalog.functions.get(&**name).is_none_or(|function| function.volatility == Volatility::Stable)
    });
    !stable
        && uses.one_shard().is_none()
        && [&uses.clock, &uses.server, &uses.unknown_function, &uses.unsafe_function].into_iter().all(Option::is_none)
}

fn from_sequence(table: &str) -> Fault {
    Fault::unsupported(
        format!("filling a column of distributed table \"{table}\" from a sequence is not supported"),
        "the rows that there are would get values of each shard's own sequence, and one value could be there twice",
        LATER,
    )
}
