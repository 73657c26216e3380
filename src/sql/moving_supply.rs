//! The DELETE of the rows that an UPDATE of their sharding key moves: whether each shard finds its part of them by itself, and else what it
//! is sent along, as any DELETE is.

use std::sync::Arc;

use sqlparser::ast::{Delete, SetExpr, Statement, With};

use crate::fault::Fault;
use crate::sql::analyze::Analyzer;
use crate::sql::finish::Parsed;
use crate::sql::from::JoinTree;
use crate::sql::model::{Model, Stop};
use crate::sql::modify::{on_many, walk_delete};
use crate::sql::moving::Moving;
use crate::sql::parse;
use crate::sql::pieces::{Pieces, make_holes};
use crate::sql::spelling::Other;
use crate::sql::supply::Supply;
use crate::sql::supplying::{Sorted, said};

impl Moving<'_> {
    /// What the shards must be sent to find the rows; `None`: nothing.
    ///
    /// # Errors
    /// Why they cannot find them, in words.
    pub fn supply(&self, reason: &Fault) -> Result<Option<Arc<Supply>>, String> {
        let statement = self.delete_statement(&self.alias()?);
        let alone = self.check_alone(&statement);
        if let Err(why) = alone {
            let supplied = self.supply_of(&statement, reason);
            return supplied.map(Some).map_err(|other| if other.is_empty() { why } else { other });
        }
        Ok(None)
    }

    /// Whether each shard finds its part of the rows by itself.
    fn check_alone(&self, statement: &Statement) -> Result<(), String> {
        let (delete, with) = deleting(statement).ok_or_else(unclear)?;
        let mut model = Model::new(self.of.scope, self.parsed.literals(self.of), self.of.used.clone());
        let changed = walk(&mut model, delete, with).map_err(said)?;
        if model.uses.writing_cte {
            return Err("WITH contains a statement that changes data".to_owned());
        }
        on_many(self.of, &model, statement, &changed).map(drop).map_err(|why| why.detail.into_owned())
    }

    fn supply_of(&self, statement: &Statement, reason: &Fault) -> Result<Arc<Supply>, String> {
        let (tree, other) = printed(self.of, self.parsed, statement).ok_or_else(unclear)?;
        let parsed = Parsed { tree: &tree, bytes: self.parsed.bytes.clone(), other: Some(other) };
        let (delete, with) = deleting(&tree).ok_or_else(unclear)?;
        self.of.supply_of(&parsed, with, reason, Sorted::Any, |model, ctes| walk_delete(model, delete, ctes))
    }
}

/// A statement that is none of the client's text, as one with the client's literals at other places.
pub(crate) fn printed(of: &Analyzer<'_>, parsed: &Parsed<'_>, statement: &Statement) -> Option<(Statement, Other)> {
    let (text, slots) = match &parsed.other {
        Some(other) => (&*other.text, &other.slots[..]),
        None => (of.text, &of.scan.slots[..]),
    };
    let mut holes = statement.clone();
    make_holes(&mut holes, &parsed.literals(of), false);
    let other = Other::of(&Pieces::of(&holes.to_string())?, text, slots)?;
    Some((parse(&other.text)?, other))
}

fn walk(model: &mut Model<'_>, delete: &Delete, with: Option<&With>) -> Result<JoinTree, Stop> {
    let ctes = model.with(with, &None)?;
    let changed = walk_delete(model, delete, &ctes)?;
    model.unused_ctes(with, &ctes)?;
    Ok(changed.tree)
}

fn deleting(statement: &Statement) -> Option<(&Delete, Option<&With>)> {
    match statement {
        Statement::Delete(delete) => Some((delete, None)),
        Statement::Query(query) => match &*query.body {
            SetExpr::Delete(Statement::Delete(delete)) => Some((delete, query.with.as_ref())),
            _ => None,
        },
        _ => None,
    }
}

fn unclear() -> String {
    "its text cannot be rewritten with certainty".to_owned()
}
