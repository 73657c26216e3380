//! `row.name` and `(value).name` where nothing has a column or field of that name: to Postgres a call of the function `name`. Aggregates can be
//! called so too (`t.count`), and functions that users have made for the rows of a table.

use sqlparser::ast::{AccessExpr, Expr, Ident};

use crate::sql::exprs::note;
use crate::sql::facts::unnest;
use crate::sql::functions::{FunctionClass, classify, returns_sets};
use crate::sql::infer::type_of;
use crate::sql::model::{Columns, LeafId, LevelId, Model, Stop};
use crate::sql::names::folded;
use crate::types::oid;

/// What is known of the thing that a name stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// It has nothing of this name.
    Others,
    /// It may have: a table whose columns are not all known.
    Unknown,
    /// It may have: of a type that users have made.
    Users,
    /// It may have.
    Anything,
}

impl Model<'_> {
    /// `qualifier.name`
    pub fn note_attribute(&mut self, level: LevelId, names: &[Ident]) -> Result<(), Stop> {
        let Some((name, qualifier)) = names.split_last().filter(|(_, qualifier)| !qualifier.is_empty()) else {
            return Ok(());
        };
        let name = folded(name);
        if let Some(leaf) = self.find_leaf(level, qualifier) {
            return self.note_attribute_of(level, leaf, &name);
        }
        // `excluded.name` and its like: columns as another table has them.
        let levels = std::iter::successors(Some(level), |level| self.levels[*level].outer);
        let mut leaves = levels.flat_map(|level| &self.levels[level].leaves).peekable();
        let others = leaves.peek().is_some() && leaves.all(|leaf| is_without(&self.leaves[*leaf].columns, &name));
        if others { self.note_call(level, &name, Of::Others) } else { Ok(()) }
    }

    /// `(root).name`, and further names behind it.
    pub fn note_accesses(&mut self, level: LevelId, root: &Expr, accesses: &[AccessExpr]) -> Result<(), Stop> {
        for (at, access) in accesses.iter().enumerate() {
            let AccessExpr::Dot(Expr::Identifier(name)) = access else { continue };
            let name = folded(name);
            if at > 0 {
                self.note_call(level, &name, Of::Anything)?;
                continue;
            }
            let leaf = match unnest(root) {
                Expr::Identifier(row) if self.find_column(level, std::slice::from_ref(row)).is_none() => {
                    self.find_leaf(level, std::slice::from_ref(row))
                }
                _ => None,
            };
            match (leaf, type_of(self, level, root).map(|ty| ty.oid)) {
                (Some(leaf), _) => self.note_attribute_of(level, leaf, &name)?,
                (None, Some(of)) if of < oid::FIRST_NORMAL => self.note_call(level, &name, Of::Others)?,
                (None, Some(_)) => self.note_call(level, &name, Of::Users)?,
                (None, None) => self.note_call(level, &name, Of::Anything)?,
            }
        }
        Ok(())
    }

    fn note_attribute_of(&mut self, level: LevelId, leaf: LeafId, name: &str) -> Result<(), Stop> {
        let columns = &self.leaves[leaf].columns;
        if columns.list.iter().any(|column| *column.name == *name) {
            return Ok(());
        }
        let of = if columns.complete { Of::Others } else { Of::Unknown };
        let outer = self.leaves[leaf].level != level;
        self.note_call(level, name, of)?;
        // An aggregate over rows of a query around this one is that query's.
        let aggregate = self.uses.attribute.is_some() && self.levels[level].aggregates;
        self.uses.outer_aggregate |= outer && aggregate;
        Ok(())
    }

    fn note_call(&mut self, level: LevelId, name: &str, of: Of) -> Result<(), Stop> {
        let class = classify(&self.scope, None, name);
        // Over rows of several shards each would have its own answer, and the rows that are put together are of another type.
        let differs = match class {
            FunctionClass::Unknown | FunctionClass::Window => return Ok(()),
            FunctionClass::Aggregate | FunctionClass::UserAggregate(_) | FunctionClass::User(_) => true,
            FunctionClass::Pure => returns_sets(name) && matches!(of, Of::Others | Of::Anything),
            FunctionClass::Clock
            | FunctionClass::Server
            | FunctionClass::Volatile
            | FunctionClass::Home(_)
            | FunctionClass::Sequence(_)
            | FunctionClass::RunsSql => of == Of::Anything,
        };
        if differs {
            note(&mut self.uses.attribute, name);
        }
        // A field is harmless, but code of users may do anything.
        let users = matches!(class, FunctionClass::User(_) | FunctionClass::UserAggregate(_));
        if of == Of::Others || users && of != Of::Unknown {
            self.note_class(None, name, &[])?;
        }
        if of != Of::Others {
            return Ok(());
        }
        if let FunctionClass::Aggregate | FunctionClass::UserAggregate(_) = class {
            let level = &mut self.levels[level];
            level.aggregates = true;
            level.order_sensitive = true;
        }
        Ok(())
    }
}

/// Whether all these columns are known, and none is called so.
fn is_without(columns: &Columns, name: &str) -> bool {
    columns.complete && !columns.list.iter().any(|column| *column.name == *name)
}
