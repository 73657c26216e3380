//! The columns of several servers' answers: whether they agree, what the merge must know of them, and which the client sees.

use bytes::BytesMut;

use crate::backend::Backend;
use crate::catalog::numbers::{Made, Numbers};
use crate::fault::{Fault, SqlState};
use crate::merge::ColumnInfo;
use crate::plan::combine::{Combine, Step};
use crate::types::{Collation, Format, oid};
use crate::wire::reply::{self, Column};

pub use crate::types::oid::FIRST_NORMAL as FIRST_NORMAL_OID;

pub(super) fn same_shape(ours: &[Column], theirs: &[Column]) -> bool {
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(a, b)| same_type(a, b) && a.format == b.format && a.name == b.name)
}

/// As text, values of a user-defined type look the same everywhere, though the type has an OID of its own on each server.
fn same_type(a: &Column, b: &Column) -> bool {
    a.type_oid == b.type_oid || (are_user_types(a, b) && a.format == 0)
}

pub(super) fn are_user_types(a: &Column, b: &Column) -> bool {
    a.type_oid >= FIRST_NORMAL_OID && b.type_oid >= FIRST_NORMAL_OID
}

/// Binary values of some user-defined types have OIDs inside, which mean another type on another server.
pub fn binary_user_type() -> Fault {
    Fault::unsupported(
        "binary results of a user-defined type are not supported across shards",
        "the type has another OID on each shard",
        "Ask for text format, or cast the column to text.",
    )
}

/// Whether a column comes in binary whose values can have numbers inside that mean something else on the home shard.
pub(super) fn has_numbers_inside(server: &Backend, columns: &[Column], made: Made) -> bool {
    let differs =
        |numbers: &Numbers| columns.iter().any(|c| c.format == 1 && numbers.differs_in_binary(c.type_oid, made));
    server.numbers.as_deref().is_some_and(differs)
}

pub(super) fn drift(one: &Backend, other: &Backend) -> Fault {
    Fault::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "the shards answer with different columns")
        .detail(format!("{} and {} differ in columns or types", one.address, other.address))
        .hint("Run the same DDL on every shard; pgloom check reports where they differ.")
}

/// What a client is told when tables were changed behind the router's back.
pub fn tables_have_changed() -> Fault {
    Fault::unsupported(
        "the tables are not what the router's catalog says",
        "they were changed on the shards, and the statement was planned for what they were",
        "Run the statement again: the catalog is being read anew.",
    )
}

pub(super) fn is_text(of: crate::ids::Oid) -> bool {
    matches!(of, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME)
}

pub(super) fn column_info(column: &Column) -> ColumnInfo {
    // Texts are compared only where the planner knows that their order is that of their bytes: see `Combine::fits`.
    let collation = if is_text(column.type_oid) { Collation::Bytes } else { Collation::None };
    ColumnInfo { type_oid: column.type_oid, format: Format::from_code(column.format).unwrap_or_default(), collation }
}

/// The columns that the client sees, of those that the shards return.
pub fn visible(combine: &Combine, columns: &[Column]) -> Vec<Column> {
    let mut shown: Vec<Column> = columns.to_vec();
    for step in &combine.steps {
        if let Step::Aggregate { outputs, .. } = step {
            shown = outputs
                .iter()
                .filter_map(|output| {
                    let mut column = shown.get(output.column)?.clone();
                    if let Some(type_oid) = output.fold.makes(column.type_oid) {
                        let typlen = if type_oid == oid::INT8 { 8 } else { -1 };
                        column = Column { table_oid: 0, attnum: 0, type_oid, typlen, typmod: -1, ..column };
                    }
                    Some(column)
                })
                .collect();
        }
    }
    shown.truncate(shown.len().saturating_sub(combine.hidden));
    shown
}

/// A RowDescription for `columns` with the result formats of a Bind message.
pub fn describe_with_formats(columns: &[Column], formats: &[i16]) -> Result<BytesMut, Fault> {
    let mut columns = columns.to_vec();
    for (at, column) in columns.iter_mut().enumerate() {
        column.format = match formats {
            [] => 0,
            [all] => *all,
            each => each.get(at).copied().unwrap_or(0),
        };
    }
    let mut out = BytesMut::new();
    reply::row_description(&mut out, &columns)?;
    Ok(out)
}
