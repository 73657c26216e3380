//! Views over sharded tables, put as derived tables in the place of their names.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use sqlparser::ast::{
    Ident, Query, Select, Statement, TableAlias, TableAliasColumnDef, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Tokenizer};

use crate::catalog::Table;
use crate::ids::QualifiedName;
use crate::sql::MAX_DEPTH;
use crate::sql::model::Obstacle;
use crate::sql::pulls::quoted;
use crate::sql::rewrite;
use crate::sql::splice::is_placed;

/// The FROM items of a statement in the order of a visit, by their address: what is found in a tree is found in its clone.
pub(crate) fn ordinals(tree: &Statement) -> HashMap<*const TableFactor, usize> {
    struct Count(HashMap<*const TableFactor, usize>);
    impl Visitor for Count {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            let next = self.0.len();
            self.0.insert(std::ptr::from_ref(factor), next);
            ControlFlow::Continue(())
        }
    }
    let mut count = Count(HashMap::new());
    let _ = tree.visit(&mut count);
    count.0
}

/// What has become of the views that a statement names.
#[derive(Default)]
pub(crate) struct Expanded {
    /// Schema and name of each: columns can no longer be qualified by them.
    pub names: HashSet<(Box<str>, Box<str>)>,
    /// Each view, and whether the client's own text names it.
    pub views: Vec<(QualifiedName, bool)>,
    /// Those that the client's own text names, by where it does: the first and the last part of the name, and whether it gives an
    /// alias. The alias of the derived table has the first part's span.
    pub placed: HashMap<Span, (Ident, Ident, bool)>,
}

/// How the rows of a view are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Viewed {
    /// By what it is made of.
    ByDefinition,
    /// By its name: whoever reads it needs no rights on what it is made of.
    ByName,
}

/// The alias of a view that is read by its name.
const BY_NAME: &str = "pgloom_view";

/// The view that is all that a query reads, by its name.
pub(crate) fn is_by_name(select: &Select) -> Option<&TableFactor> {
    let [item] = &select.from[..] else { return None };
    let factor = &item.relation;
    let TableFactor::Table { alias: Some(alias), .. } = factor else { return None };
    (item.joins.is_empty() && select.selection.is_none() && is_ours(&alias.name)).then_some(factor)
}

/// Whether it is the router's own name, which stands nowhere in the client's text.
fn is_ours(alias: &Ident) -> bool {
    alias.value == BY_NAME && !is_placed(alias)
}

/// All such views of a statement.
pub(crate) fn by_name(tree: &Statement) -> HashSet<*const TableFactor> {
    struct Named(HashSet<*const TableFactor>);
    impl Visitor for Named {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            if let TableFactor::Table { alias: Some(alias), .. } = factor
                && is_ours(&alias.name)
            {
                self.0.insert(std::ptr::from_ref(factor));
            }
            ControlFlow::Continue(())
        }
    }
    let mut named = Named(HashSet::new());
    let _ = tree.visit(&mut named);
    named.0
}

/// Replaces the FROM items at these ordinals by the definitions of the views that they name.
pub(crate) fn expand(
    tree: &mut Statement,
    views: &HashMap<usize, (std::sync::Arc<Table>, Viewed)>,
    expanded: &mut Expanded,
) -> Result<(), Obstacle> {
    struct Expand<'a> {
        views: &'a HashMap<usize, (std::sync::Arc<Table>, Viewed)>,
        next: usize,
        /// The ordinals of the FROM items that the visit is inside of.
        inside: Vec<usize>,
        placed: &'a mut HashMap<Span, (Ident, Ident, bool)>,
    }
    impl VisitorMut for Expand<'_> {
        type Break = Obstacle;
        fn pre_visit_table_factor(&mut self, _: &mut TableFactor) -> ControlFlow<Obstacle> {
            self.inside.push(self.next);
            self.next += 1;
            ControlFlow::Continue(())
        }
        // On the way out, so that what is put in is not counted.
        fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Obstacle> {
            let Some((view, viewed)) = self.inside.pop().and_then(|ordinal| self.views.get(&ordinal)) else {
                return ControlFlow::Continue(());
            };
            match derived(factor, view, *viewed, self.placed) {
                Ok(derived) => {
                    *factor = derived;
                    ControlFlow::Continue(())
                }
                Err(obstacle) => ControlFlow::Break(obstacle),
            }
        }
    }
    let is_first = expanded.views.is_empty();
    let mut in_order: Vec<_> = views.iter().collect();
    in_order.sort_unstable_by_key(|(ordinal, _)| **ordinal);
    for (_, (view, viewed)) in in_order {
        if *viewed == Viewed::ByName {
            expanded.names.insert((view.name.schema.clone(), view.name.name.clone()));
        } else if expanded.names.insert((view.name.schema.clone(), view.name.name.clone())) {
            expanded.views.push((view.name.clone(), is_first));
        }
    }
    let mut expand = Expand { views, next: 0, inside: Vec::new(), placed: &mut expanded.placed };
    match tree.visit(&mut expand) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(obstacle) => Err(obstacle),
    }
}

/// The view as a derived table with the view's column names, or those that the alias gives.
fn derived(
    factor: &TableFactor,
    view: &Table,
    viewed: Viewed,
    placed: &mut HashMap<Span, (Ident, Ident, bool)>,
) -> Result<TableFactor, Obstacle> {
    let unclear = || Obstacle::new(format!("the definition of view \"{}\" cannot be put in its place", view.name.name));
    let TableFactor::Table { name: written, alias, args: None, .. } = factor else { return Err(unclear()) };
    let parts: Option<Vec<&Ident>> = written.0.iter().map(|part| part.as_ident()).collect();
    let (Some(first), Some(last)) = (parts.as_ref().and_then(|p| p.first()), parts.as_ref().and_then(|p| p.last()))
    else {
        return Err(unclear());
    };
    // What the view's owner may see would become what the caller may see.
    if view.has_triggers {
        return Err(Obstacle::new(format!("view \"{}\" has rules, or reads tables with row security", view.name.name)));
    }
    let subquery = match viewed {
        Viewed::ByDefinition => view.definition.as_deref().and_then(unplaced),
        Viewed::ByName => unplaced(&by_its_name(view)),
    };
    let subquery = subquery.ok_or_else(unclear)?;
    let mut columns: Vec<Ident> = view.columns.iter().map(|column| Ident::with_quote('"', &*column.name)).collect();
    let given = alias.iter().flat_map(|alias| &alias.columns);
    for (column, given) in columns.iter_mut().zip(given) {
        *column = given.name.clone();
    }
    let mut name = match alias {
        Some(alias) => alias.name.clone(),
        None => Ident::with_quote('"', &*view.name.name),
    };
    name.span = first.span;
    if is_placed(first) {
        placed.insert(first.span, ((*first).clone(), (*last).clone(), alias.is_some()));
    }
    let columns = columns.into_iter().map(|name| TableAliasColumnDef { name, data_type: None }).collect();
    let alias = Some(TableAlias { explicit: true, name, columns, at: None });
    Ok(TableFactor::Derived { lateral: false, subquery, alias, sample: None })
}

fn by_its_name(view: &Table) -> String {
    let columns: Vec<String> = view.columns.iter().map(|column| quoted(&column.name)).collect();
    let QualifiedName { schema, name } = &view.name;
    format!("SELECT {} FROM {}.{} AS {BY_NAME}", columns.join(", "), quoted(schema), quoted(name))
}

/// The query of a view. Its literals have no place in the client's text, and so are never taken for slots of it.
fn unplaced(text: &str) -> Option<Box<Query>> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize().ok()?;
    let mut parser = Parser::new(&PostgreSqlDialect {}).with_recursion_limit(MAX_DEPTH).with_tokens(tokens);
    let statement = parser.parse_statement().ok()?;
    if super::is_misread(&statement) || !rewrite::is_faithful(&statement, text, true) {
        return None;
    }
    match statement {
        Statement::Query(query) => Some(query),
        _ => None,
    }
}
