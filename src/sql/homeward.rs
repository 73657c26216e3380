//! Views that lie on the home shard alone, because something that they read does.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Cte, ObjectName, Query, Statement, Visit, Visitor};

use crate::catalog::Table;
use crate::sql::names::{Relation, folded, parts, resolve};
use crate::sql::{NameScope, parse};

/// Views within views that are followed.
const MAX_DEPTH: usize = 32;

/// Whether a view reads what the home shard alone has.
pub(crate) fn is_at_home(scope: &NameScope<'_>, view: &Table) -> bool {
    let parsed = view.definition.as_deref().and_then(parse);
    parsed.is_some_and(|definition| reads_home(scope, &definition, 0))
}

/// Whether a statement reads what the home shard alone has.
pub(crate) fn names_home(scope: &NameScope<'_>, statement: &Statement) -> bool {
    reads_home(scope, statement, 0)
}

fn reads_home(scope: &NameScope<'_>, statement: &Statement, depth: usize) -> bool {
    let mut names = Names::default();
    let _ = statement.visit(&mut names);
    names.relations.iter().filter_map(parts).any(|(schema, name)| {
        if schema.is_none() && names.queries.contains(&name) {
            return false;
        }
        match resolve(scope, schema.as_deref(), &name) {
            Relation::Unsharded { table, place } => table.is_some() && place.is_home(scope),
            Relation::View { table, .. } if depth < MAX_DEPTH => {
                let parsed = table.definition.as_deref().and_then(parse);
                parsed.is_some_and(|definition| reads_home(scope, &definition, depth + 1))
            }
            Relation::View { .. } | Relation::Sharded { .. } | Relation::Reference { .. } | Relation::System => false,
        }
    })
}

#[derive(Default)]
struct Names {
    relations: Vec<ObjectName>,
    /// Names of WITH queries.
    queries: HashSet<String>,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.relations.push(relation.clone());
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let name = |cte: &Cte| folded(&cte.alias.name).into_owned();
        self.queries.extend(query.with.iter().flat_map(|with| &with.cte_tables).map(name));
        ControlFlow::Continue(())
    }
}
