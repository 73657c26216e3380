//! `Change`: what the transaction that a statement stands in has made and dropped; the catalog knows nothing of it yet.

use crate::ids::QualifiedName;

/// One name, as it is from here on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    Made(QualifiedName),
    Dropped(QualifiedName),
    SchemaMade(Box<str>),
    /// With all that is in it.
    SchemaDropped(Box<str>),
}

/// Whether a relation of this name is there by what was done; `None`: nothing was done to it.
pub(crate) fn relation(changes: &[Change], name: &QualifiedName) -> Option<bool> {
    changes.iter().rev().find_map(|change| match change {
        Change::Made(made) if made == name => Some(true),
        Change::Dropped(dropped) if dropped == name => Some(false),
        Change::SchemaDropped(schema) if *schema == name.schema => Some(false),
        Change::Made(_) | Change::Dropped(_) | Change::SchemaMade(_) | Change::SchemaDropped(_) => None,
    })
}

/// The same of a schema.
pub(crate) fn schema(changes: &[Change], name: &str) -> Option<bool> {
    changes.iter().rev().find_map(|change| match change {
        Change::SchemaMade(made) if **made == *name => Some(true),
        Change::SchemaDropped(dropped) if **dropped == *name => Some(false),
        Change::Made(_) | Change::Dropped(_) | Change::SchemaMade(_) | Change::SchemaDropped(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_change_counts() {
        let name = QualifiedName::new("s", "t");
        let changes = [
            Change::SchemaMade("s".into()),
            Change::Made(name.clone()),
            Change::SchemaDropped("s".into()),
            Change::SchemaMade("s".into()),
        ];
        assert_eq!(relation(&changes[..2], &name), Some(true));
        assert_eq!(relation(&changes, &name), Some(false));
        assert_eq!(relation(&changes, &QualifiedName::new("s", "u")), Some(false));
        assert_eq!(relation(&changes, &QualifiedName::new("r", "t")), None);
        assert_eq!(
            [schema(&changes[..3], "s"), schema(&changes, "s"), schema(&changes, "r")],
            [Some(false), Some(true), None]
        );
    }
}
