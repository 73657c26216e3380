//! Queries in FROM and WITH that the shards run whole: joins along the sharding key and groups by it, of which each shard makes its
//! part. One such query becomes one input, so that groups are pulled and not the rows that they are made of. Of others, in expressions
//! too, the shards make partial groups or first rows, and what stands in their place puts these together.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use sqlparser::ast::{
    Expr, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Statement, Value as Literal, Visit,
    Visitor,
};
use sqlparser::tokenizer::Span;

use crate::catalog::Table;
use crate::sql::colnames::output_name;
use crate::sql::facts::unnest;
use crate::sql::literals::Literals;
use crate::sql::model::{Collected, LeafId, LevelId, Model, NodeId, Part, RefId, Spread};
use crate::sql::names::{Relation, folded};
use crate::sql::outcome::PullText;
use crate::sql::pieces::Piece;
use crate::sql::query::{SelectLevel, is_distinct, is_grouped};
use crate::sql::regroup::{Below, Finishing, divide};
use crate::sql::splice::Source;
use crate::sql::whole::{can_be_stored, whole_query};
use crate::sql::{NameScope, views};

/// A query that becomes an input.
pub(crate) struct Inner {
    /// Where it stands among all queries of the statement.
    pub ordinal: usize,
    /// Without a name.
    pub pull: PullText,
    /// What its walks have added to the model, a range for each of its uses.
    leaves: Vec<Range<LeafId>>,
    /// What its columns are called that are columns of tables, where it is used once.
    pub columns: Vec<(NodeId, Box<str>)>,
    /// It stands for a view that is read by its name.
    pub by_name: bool,
    /// What is made of the input's rows, where they are not the query's.
    pub finishing: Option<Finishing>,
}

impl Inner {
    pub fn contains(&self, leaf: LeafId) -> bool {
        self.leaves.iter().any(|leaves| leaves.contains(&leaf))
    }

    pub fn leaves(&self) -> impl Iterator<Item = LeafId> + '_ {
        self.leaves.iter().cloned().flatten()
    }

    pub fn has_parameters(&self) -> bool {
        let pieces = self.pull.whole.iter().flat_map(|whole| &whole.0);
        pieces.into_iter().any(|piece| matches!(piece, Piece::Parameter(_)))
    }

    pub fn is_used_once(&self) -> bool {
        self.leaves.len() == 1
    }
}

/// The ORDER BY of a query as one of its rows, which have its columns: "" without one, `None` where it names anything else.
pub(crate) fn output_order(query: &Query) -> Option<String> {
    let items = match &query.order_by {
        None => return Some(String::new()),
        Some(OrderBy { kind: OrderByKind::Expressions(items), interpolate: None }) => items,
        Some(_) => return None,
    };
    let SetExpr::Select(select) = &*query.body else { return None };
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias).into_owned()),
        SelectItem::UnnamedExpr(expr) => Some(output_name(expr)),
        _ => None,
    };
    let names: Vec<String> = select.projection.iter().map(name).collect::<Option<_>>()?;
    let mut keys = Vec::new();
    for item in items {
        let at = match unnest(&item.expr) {
            Expr::Value(value) => match &value.value {
                Literal::Number(digits, _) => digits.parse::<usize>().ok()?.checked_sub(1)?,
                _ => return None,
            },
            Expr::Identifier(name) => {
                let mut named = (0..names.len()).filter(|at| names[*at] == *folded(name));
                named.next().filter(|_| named.next().is_none())?
            }
            expr => select.projection.iter().position(|item| match item {
                SelectItem::UnnamedExpr(of) | SelectItem::ExprWithAlias { expr: of, .. } => unnest(of) == expr,
                _ => false,
            })?,
        };
        let plain = at < names.len() && item.with_fill.is_none();
        keys.push(plain.then(|| OrderByExpr { expr: Expr::value(number(at + 1)), ..item.clone() }.to_string())?);
    }
    Some(format!(" ORDER BY {}", keys.join(", ")))
}

fn number(n: usize) -> Literal {
    Literal::Number(n.to_string(), false)
}

/// The outermost of them.
pub(crate) fn inner_queries(model: &Model<'_>, tree: &Statement, source: &Source<'_>) -> Vec<Inner> {
    let Some(collected) = model.collected.as_deref() else { return Vec::new() };
    let uses = &model.uses;
    // What asks for the server, the time or chance is not looked for part by part.
    let plain = uses.volatile.is_none()
        && !uses.moment
        && !uses.clock_in_view
        && uses.server.is_none()
        && uses.user_function.is_none()
        && uses.unknown_function.is_none()
        && uses.runs_sql.is_none()
        && uses.attribute.is_none()
        && uses.system_column.is_none()
        && uses.sample.is_none()
        && !uses.outer_aggregate
        && !uses.locking;
    if !plain || collected.parts.is_empty() {
        return Vec::new();
    }
    let mut by_query: HashMap<*const Query, Vec<&Part>> = HashMap::new();
    for part in &collected.parts {
        by_query.entry(part.query).or_default().push(part);
    }
    let mut find = Find { model, collected, source, by_query, next: 0, found: Vec::new() };
    let _ = tree.visit(&mut find);
    find.found
}

/// Whether each shard has all that its part of a view's rows is made of.
fn reads_shards_alone(scope: &NameScope<'_>, view: &Table) -> bool {
    let mut scratch = Model::new(*scope, Literals::new("", 0, &[]), HashMap::new());
    let level = scratch.add_level(None, None);
    let relation = Relation::View { name: view.name.clone(), table: Arc::new(view.clone()) };
    if scratch.relation_leaf(level, None, &view.name.name, relation, None).is_err() {
        return false;
    }
    let uses = &scratch.uses;
    uses.home.is_none() && uses.places.is_empty() && uses.system.is_none() && scratch.obstacle.is_none()
}

struct Closed<'m, 's> {
    model: &'m Model<'s>,
    level: LevelId,
    own: &'m [LeafId],
    queries: usize,
}

impl Visitor for Closed<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        if self.queries > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let names = match expr {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(names) => names,
            // What stands before the dots is not looked for.
            Expr::CompoundFieldAccess { .. } => return ControlFlow::Break(()),
            _ => return ControlFlow::Continue(()),
        };
        let own = self.model.find_column(self.level, names).is_some_and(|found| self.own.contains(&found.leaf));
        if own { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

struct Find<'m, 's> {
    model: &'m Model<'s>,
    collected: &'m Collected,
    source: &'m Source<'m>,
    by_query: HashMap<*const Query, Vec<&'m Part>>,
    next: usize,
    found: Vec<Inner>,
}

impl Visitor for Find<'_, '_> {
    type Break = ();
    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let ordinal = self.next;
        self.next += 1;
        if let Some(uses) = self.by_query.get(&std::ptr::from_ref(query))
            && let Some(inner) = self.inner(query, uses, ordinal)
        {
            self.found.push(inner);
        }
        ControlFlow::Continue(())
    }
}

impl Find<'_, '_> {
    fn inner(&self, query: &Query, uses: &[&Part], ordinal: usize) -> Option<Inner> {
        let SetExpr::Select(select) = &*query.body else { return None };
        let first = uses.first()?;
        let leaf = first.leaf.unwrap_or(first.leaves.start);
        if query.with.is_some() || self.found.iter().any(|outer| outer.contains(leaf)) {
            return None;
        }
        let whole = output_order(query).is_some() && uses.iter().all(|part| self.is_whole(part, select));
        let level = first.levels.start;
        if whole && uses.iter().any(|part| self.model.waits(part.levels.start, query)) {
            return None;
        }
        let place = select.select_token.0.span;
        if place != Span::empty() && self.source.parenthesised(place.start).is_none() {
            return None;
        }
        let by_name = views::is_by_name(select).is_some();
        let refs: Vec<RefId> = uses.iter().flat_map(|part| part.refs.clone()).collect();
        if !whole {
            let (asked, finishing) = self.divided(query, select, uses)?;
            let pull = whole_query(self.model, asked, &refs)?;
            let leaves = uses.iter().map(|part| part.leaves.clone()).collect();
            let columns = match uses {
                [only] => self.divided_columns(only, &finishing, &pull),
                _ => Vec::new(),
            };
            return Some(Inner { ordinal, pull, leaves, columns, by_name, finishing: Some(finishing) });
        }
        // What a view gives has types that a table can have.
        if !by_name && !select.projection.iter().all(|item| can_be_stored(self.model, level, item)) {
            return None;
        }
        let pull = whole_query(self.model, query.clone(), &refs)?;
        let columns = match uses {
            [only] => self.columns(only, select, &pull),
            _ => Vec::new(),
        };
        let leaves = uses.iter().map(|part| part.leaves.clone()).collect();
        Some(Inner { ordinal, pull, leaves, columns, by_name, finishing: None })
    }

    /// Whether the shards' rows of a query are together its rows, and fewer than those of its tables.
    fn is_whole(&self, part: &Part, select: &Select) -> bool {
        let model = self.model;
        let Some(level) = model.levels.get(part.levels.start) else { return false };
        // Those of a view that is read by its name, too: each shard would answer them from its own rows.
        if !self.is_tied(part) {
            return false;
        }
        if let Some(factor) = views::is_by_name(select) {
            let view = self.collected.views.iter().find(|(of, ..)| std::ptr::eq(*of, factor));
            return part.closed
                && matches!(part.spread, Spread::Parted { .. })
                && view.is_some_and(|(_, view, _)| reads_shards_alone(&model.scope, view));
        }
        let shapes = is_grouped(select) || level.aggregates || !level.windows.is_empty() || is_distinct(select);
        part.closed
            && part.leaf.is_some()
            && matches!(part.spread, Spread::Parted { .. })
            && (shapes || level.leaves.len() > 1)
            && self.reads_tables_alone(part)
    }

    /// Whether what a query reads is the statement's own tables that shards have, and nothing that stands for other queries.
    fn reads_tables_alone(&self, part: &Part) -> bool {
        let model = self.model;
        let tables = self.collected.tables.iter().filter(|used| part.leaves.contains(&used.leaf));
        let distributed: Vec<LeafId> =
            tables.clone().filter(|used| used.relation.is_distributed()).map(|used| used.leaf).collect();
        // Of a table that the statement does not name itself: a view reads it.
        let is_table = |leaf: LeafId| {
            let columns = &model.leaves[leaf].columns.list;
            let is_of_table = |node: NodeId| model.nodes[node].leaf == leaf && !model.nodes[node].made;
            columns.iter().any(|column| column.node.is_some_and(is_of_table))
        };
        tables.clone().all(|used| matches!(used.relation, Relation::Sharded { .. } | Relation::Reference { .. }))
            && part.leaves.clone().all(|leaf| !is_table(leaf) || distributed.contains(&leaf))
            && !self.collected.ctes.iter().any(|leaf| part.leaves.contains(leaf))
    }

    /// Whether each shard's answers to the subqueries of a query are those of all.
    fn is_tied(&self, part: &Part) -> bool {
        let model = self.model;
        model.subqueries.get(part.subqueries.clone()).is_some_and(|subqueries| {
            subqueries.iter().all(|(spread, level)| match spread {
                Spread::Same => true,
                Spread::Parted { refs, .. } => model.follows_outer(refs, Some(*level)),
                Spread::Tangled(_) => false,
            })
        })
    }

    /// What the shards make of a query whose rows are not theirs together, and what is made of that. It must be the same at each of its uses.
    fn divided(&self, query: &Query, select: &Select, uses: &[&Part]) -> Option<(Query, Finishing)> {
        let model = self.model;
        if views::is_by_name(select).is_some() {
            return None;
        }
        let mut found: Option<(Query, Finishing)> = None;
        for part in uses {
            let [base] = &part.bases[..] else { return None };
            let level = part.levels.start;
            let closed = part.closed || self.is_closed(query, level);
            if !closed || !self.is_tied(part) || !self.reads_tables_alone(part) {
                return None;
            }
            let of = SelectLevel { level, base: base.clone(), columns: model.output(level, &select.projection) };
            let divided = divide(model, query, select, &of, Below::Query)?;
            if model.waits(level, &divided.0) {
                return None;
            }
            match &found {
                Some((asked, _)) if *asked != divided.0 => return None,
                _ => found = Some(divided),
            }
        }
        found
    }

    /// Whether a query without queries inside names nothing but the columns of its own tables.
    fn is_closed(&self, query: &Query, level: LevelId) -> bool {
        let Some(of) = self.model.levels.get(level) else { return false };
        query.visit(&mut Closed { model: self.model, level, own: &of.leaves, queries: 0 }).is_continue()
    }

    /// The columns that the shards' parts of a query have as they are: conditions on them choose among its groups or distinct rows.
    fn divided_columns(&self, part: &Part, finishing: &Finishing, pull: &PullText) -> Vec<(NodeId, Box<str>)> {
        let Some(leaf) = part.leaf else { return Vec::new() };
        let columns = self.model.leaves[leaf].columns.list.iter().enumerate();
        let named = columns.filter_map(|(at, column)| {
            let name = finishing.input_column(at)?;
            let name = pull.columns.iter().find(|(known, _, _)| **known == *name).map(|(known, _, _)| known.clone());
            Some((column.node?, name?))
        });
        named.collect()
    }

    fn columns(&self, part: &Part, select: &Select, pull: &PullText) -> Vec<(NodeId, Box<str>)> {
        let Some(leaf) = part.leaf else { return Vec::new() };
        let columns = &self.model.leaves[leaf].columns.list;
        let plain = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
        if columns.len() != select.projection.len() || !select.projection.iter().all(plain) {
            return Vec::new();
        }
        let named = columns.iter().zip(&pull.columns);
        named.filter_map(|(column, (name, _, _))| Some((column.node?, name.clone()))).collect()
    }
}
