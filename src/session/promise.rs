//! PURE. What a prepared statement has promised: the columns of its result and the types of its parameters, as they were when it was
//! made. Postgres plans it anew when tables change, but keeps to these.

use bytes::Bytes;

use crate::fault::{Fault, SqlState};
use crate::ids::Oid;
use crate::types::oid;
use crate::wire::frame::{Fields, HEADER};
use crate::wire::reply::Column;
use crate::wire::row::read_row_description;

/// ParameterDescription and RowDescription (or NoData) of a statement, whole.
pub type Description = (Bytes, Bytes);

#[derive(Clone, Debug)]
pub struct Promise {
    pub parameters: Box<[Oid]>,
    /// `None`: no rows come back.
    pub columns: Option<Vec<Column>>,
    /// Of the catalog under which it was made.
    pub generation: u64,
    /// What the names of its statement meant then.
    pub names: u64,
}

impl Promise {
    pub fn new(description: &Description, generation: u64, names: u64) -> Result<Self, Fault> {
        let (parameters, rows) = description;
        Ok(Self { parameters: parameter_types(parameters)?, columns: columns(rows)?, generation, names })
    }

    /// # Errors
    /// `0A000` as Postgres says it, when these columns are others. `names`: what the names of the statement mean now.
    pub fn check(&self, columns: Option<&[Column]>, names: u64) -> Result<(), Fault> {
        let same = |a: &Column, b: &Column| {
            // A type that users made has another number on each server; that of another schema is another type.
            let users = a.type_oid >= oid::FIRST_NORMAL && b.type_oid >= oid::FIRST_NORMAL;
            let types = if users { names == self.names } else { a.type_oid == b.type_oid };
            a.name == b.name && types && a.typmod == b.typmod
        };
        let kept = match (self.columns.as_deref(), columns) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => {
                ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b))
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        if kept { Ok(()) } else { Err(changed()) }
    }

    /// # Errors
    /// `0A000` where the parameters' own types may be those of a schema that its names no longer lead to.
    pub fn check_parameters(&self, names: u64) -> Result<(), Fault> {
        if names == self.names || self.parameters.iter().all(|of| *of < oid::FIRST_NORMAL) {
            return Ok(());
        }
        Err(Fault::unsupported(
            "the prepared statement was made under another search_path",
            "Its parameters have user-defined types, which may be of a schema that it does not name any more.",
            "Prepare the statement again.",
        ))
    }
}

pub fn changed() -> Fault {
    // pgjdbc knows it by the routine, and prepares the statement again.
    Fault::new(SqlState::FEATURE_NOT_SUPPORTED, "cached plan must not change result type")
        .about(b'R', "RevalidateCachedQuery")
}

/// The columns in a RowDescription; `None` for NoData.
pub fn columns(rows: &Bytes) -> Result<Option<Vec<Column>>, Fault> {
    match rows.first() {
        Some(b'T') => read_row_description(rows.get(HEADER..).unwrap_or_default()).map(Some),
        _ => Ok(None),
    }
}

/// The types in a ParameterDescription.
pub fn parameter_types(frame: &Bytes) -> Result<Box<[Oid]>, Fault> {
    let mut fields = Fields::new(frame.get(HEADER..).unwrap_or_default());
    Ok((0..fields.count()?).map(|_| fields.u32()).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::reply;
    use bytes::BytesMut;

    fn described(columns: Option<&[(&str, Oid, i32)]>) -> Description {
        let mut parameters = BytesMut::new();
        reply::parameter_description(&mut parameters, &[23, 25]).unwrap();
        let rows = match columns {
            None => Bytes::from_static(reply::NO_DATA),
            Some(columns) => {
                let mut out = BytesMut::new();
                let columns: Vec<Column> = columns
                    .iter()
                    .map(|(name, of, typmod)| Column { typmod: *typmod, ..Column::text(*name, *of, -1) })
                    .collect();
                reply::row_description(&mut out, &columns).unwrap();
                out.freeze()
            }
        };
        (parameters.freeze(), rows)
    }

    #[test]
    fn drivers_know_by_the_routine_that_a_statement_can_be_prepared_again() {
        let fault = changed();
        assert_eq!(
            (fault.code, &*fault.message),
            (SqlState::FEATURE_NOT_SUPPORTED, "cached plan must not change result type")
        );
        assert_eq!(fault.about, [(b'R', "RevalidateCachedQuery".into())]);
    }

    fn keeps(a: Option<&[(&str, Oid, i32)]>, b: Option<&[(&str, Oid, i32)]>) -> bool {
        keeps_as(a, b, 1)
    }

    fn keeps_as(a: Option<&[(&str, Oid, i32)]>, b: Option<&[(&str, Oid, i32)]>, names: u64) -> bool {
        let promise = Promise::new(&described(a), 1, 1).unwrap();
        assert_eq!(*promise.parameters, [23, 25]);
        promise.check(columns(&described(b).1).unwrap().as_deref(), names).is_ok()
    }

    #[test]
    fn names_types_and_modifiers_are_promised() {
        let one: Option<&[(&str, Oid, i32)]> = Some(&[("a", 23, -1), ("b", 1043, 14)]);
        assert!(keeps(one, one));
        assert!(keeps(None, None));
        for other in [
            None,
            Some(&[("a", 23, -1)][..]),
            Some(&[("a", 23, -1), ("b", 1043, 14), ("c", 23, -1)]),
            Some(&[("a", 20, -1), ("b", 1043, 14)]),
            Some(&[("a", 23, -1), ("b", 1043, 24)]),
            Some(&[("x", 23, -1), ("b", 1043, 14)]),
        ] {
            assert!(!keeps(one, other), "{other:?}");
            assert!(!keeps(other, one), "{other:?}");
        }
        let (one, other): (Option<&[_]>, Option<&[_]>) = (Some(&[("a", 17_000, -1)]), Some(&[("a", 18_000, -1)]));
        assert!(keeps(one, other), "on another server");
        // Even with one number: each server counts by itself.
        assert!(!keeps_as(one, other, 2) && !keeps_as(one, one, 2), "in another schema");
        let plain: Option<&[_]> = Some(&[("a", 23, -1)]);
        assert!(keeps_as(plain, plain, 2));
    }

    #[test]
    fn parameters_of_user_defined_types_stay_in_their_schema() {
        let of = |types: &[Oid]| {
            let mut parameters = BytesMut::new();
            reply::parameter_description(&mut parameters, types).unwrap();
            Promise::new(&(parameters.freeze(), Bytes::from_static(reply::NO_DATA)), 1, 1).unwrap()
        };
        assert!(of(&[23]).check_parameters(2).is_ok() && of(&[17_000]).check_parameters(1).is_ok());
        assert!(of(&[23, 17_000]).check_parameters(2).is_err());
    }
}
