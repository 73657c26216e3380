//! Queries in FROM and WITH that the shards run whole: joins along the sharding key and groups by it, of which each shard makes its
//! part. One such query becomes one input, so that groups are pulled and not the rows that they are made of. Of others, in expressions
//! and set operations too, the shards make partial groups or first rows, and what stands in their place puts these together.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use sqlparser::ast::{
    CteAsMaterialized, Expr, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Statement,
    Value as Literal, Visit, Visitor,
};
use sqlparser::tokenizer::Span;

use crate::catalog::Table;
use crate::sql::arms::{Arm, alone, arms};
use crate::sql::asked::{fails_otherwise, less_asked};
use crate::sql::colnames::output_name;
use crate::sql::facts::unnest;
use crate::sql::literals::Literals;
use crate::sql::model::{Collected, Columns, LeafId, LevelId, Model, NodeId, Part, PartOf, RefId, Spread};
use crate::sql::names::{Relation, folded};
use crate::sql::outcome::PullText;
use crate::sql::pieces::Piece;
use crate::sql::query::{SelectLevel, is_distinct, is_grouped, is_limited};
use crate::sql::regroup::{Below, Finishing, divide};
use crate::sql::splice::Source;
use crate::sql::whole::{can_be_stored, whole_query};
use crate::sql::{NameScope, views};

/// Where a query stands, in the order of a visit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum InnerPlace {
    /// Among all queries.
    Query(usize),
    /// Among all SELECTs: it stands in a set operation, without parentheses.
    Arm(usize),
}

/// A query that becomes an input.
pub(crate) struct Inner {
    /// Where it stands in the statement.
    pub place: InnerPlace,
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
        && !uses.locking
        && !collected.all_rows;
    if !plain || collected.parts.is_empty() {
        return Vec::new();
    }
    let mut parts: HashMap<PartOf, Vec<&Part>> = HashMap::new();
    for part in &collected.parts {
        parts.entry(part.of).or_default().push(part);
    }
    let arms = HashMap::new();
    let mut find = Find {
        tree,
        model,
        collected,
        source,
        parts,
        arms,
        limits: 0,
        materialized: Vec::new(),
        next: 0,
        next_select: 0,
        found: Vec::new(),
    };
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

/// Finds the name of a column of a query, or of its rows, outside of it.
struct Reads<'a> {
    within: *const Query,
    inside: bool,
    names: [Option<&'a str>; 2],
}

impl Visitor for Reads<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.inside |= std::ptr::eq(query, self.within);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.inside &= !std::ptr::eq(query, self.within);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let [_, rows] = self.names;
        let name = match expr {
            Expr::Identifier(name) => Some(name),
            // Behind the name of other rows it is a column of those.
            Expr::CompoundIdentifier(names) => match &names[..] {
                [.., of, name] => Some(name).filter(|_| rows.is_none_or(|rows| *folded(of) == *rows)),
                names => names.last(),
            },
            // What stands before the dots is not looked for.
            Expr::CompoundFieldAccess { .. } if !self.inside => return ControlFlow::Break(()),
            _ => None,
        };
        let found = name.filter(|_| !self.inside).is_some_and(|name| self.names.contains(&Some(&*folded(name))));
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let stars = |item: &SelectItem| matches!(item, SelectItem::QualifiedWildcard(..));
        let found = !self.inside && select.projection.iter().any(stars);
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

struct Find<'m, 's> {
    tree: &'m Statement,
    model: &'m Model<'s>,
    collected: &'m Collected,
    source: &'m Source<'m>,
    parts: HashMap<PartOf, Vec<&'m Part>>,
    /// Those that set operations put together.
    arms: HashMap<PartOf, Arm>,
    /// How many queries with a LIMIT are open.
    limits: usize,
    /// Queries of WITH that are AS MATERIALIZED: Postgres puts no condition below them.
    materialized: Vec<*const Query>,
    next: usize,
    next_select: usize,
    found: Vec<Inner>,
}

impl Visitor for Find<'_, '_> {
    type Break = ();
    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let ordinal = self.next;
        self.next += 1;
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        let materialized = ctes.filter(|cte| cte.materialized == Some(CteAsMaterialized::Materialized));
        self.materialized.extend(materialized.map(|cte| std::ptr::from_ref(&*cte.query)));
        let of = PartOf::Query(std::ptr::from_ref(query));
        if let Some(uses) = self.parts.get(&of) {
            let inner = match self.arms.get(&of) {
                Some(arm) => self.arm(query, arm, uses, InnerPlace::Query(ordinal)),
                None => self.inner(query, uses, ordinal),
            };
            self.found.extend(inner);
        }
        if let SetExpr::SetOperation { .. } = &*query.body {
            let columns = |of: PartOf| self.parts.get(&of).and_then(|uses| uses.first()).map(|part| &part.columns);
            for (of, arm) in arms(self.model, query, columns, self.limits > 0) {
                // A set operation in parentheses is part of the one around it.
                self.arms.entry(of).or_insert(arm);
            }
        }
        self.limits += usize::from(is_limited(query));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.limits -= usize::from(is_limited(query));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let ordinal = self.next_select;
        self.next_select += 1;
        let of = PartOf::Arm(std::ptr::from_ref(select));
        if let (Some(uses), Some(arm)) = (self.parts.get(&of), self.arms.get(&of)) {
            let inner = self.arm(&alone(select), arm, uses, InnerPlace::Arm(ordinal));
            self.found.extend(inner);
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
        if uses.iter().any(|part| self.computes_unread(query, select, part)) {
            return None;
        }
        let less = match self.materialized.contains(&std::ptr::from_ref(query)) {
            true => Cow::Borrowed(query),
            false => less_asked(self.model, query, uses)?,
        };
        let query = &*less;
        let by_name = views::is_by_name(select).is_some();
        let refs: Vec<RefId> = uses.iter().flat_map(|part| part.refs.clone()).collect();
        if !whole {
            let (asked, finishing) = self.divided(query, uses, Below::Query)?;
            let pull = whole_query(self.model, asked, &refs)?;
            let leaves = uses.iter().map(|part| part.leaves.clone()).collect();
            let columns = match uses {
                [Part { leaf: Some(leaf), .. }] => {
                    divided_columns(&self.model.leaves[*leaf].columns, &finishing, &pull)
                }
                _ => Vec::new(),
            };
            let place = InnerPlace::Query(ordinal);
            return Some(Inner { place, pull, leaves, columns, by_name, finishing: Some(finishing) });
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
        Some(Inner { place: InnerPlace::Query(ordinal), pull, leaves, columns, by_name, finishing: None })
    }

    /// A query in a set operation. In its place stands one that gives columns of the very same types, by the same names: what has no type of
    /// its own, because the other queries say what it is, stays there.
    fn arm(&self, query: &Query, arm: &Arm, uses: &[&Part], place: InnerPlace) -> Option<Inner> {
        let SetExpr::Select(select) = &*query.body else { return None };
        let first = uses.first()?;
        let contained = self.found.iter().any(|outer| outer.contains(first.leaves.start));
        if query.with.is_some() || first.leaves.is_empty() || contained || fails_otherwise(self.model, query, uses) {
            return None;
        }
        let start = select.select_token.0.span;
        let found = start == Span::empty()
            || match place {
                InnerPlace::Query(_) => self.source.parenthesised(start.start).is_some(),
                InnerPlace::Arm(_) => self.source.arm(start.start).is_some(),
            };
        if !found {
            return None;
        }
        let level = first.levels.start;
        let (needed, less) = arm.needed(self.model, query, level, &first.columns)?;
        let (asked, mut finishing) = self.divided(&needed, uses, Below::Arm)?;
        // A LIMIT, of the query or around it, may be reached before what fails.
        if (arm.may_stop || is_limited(query)) && self.model.may_fail(level, &asked) {
            return None;
        }
        if less {
            finishing.leave_out(query);
        }
        let pull = whole_query(self.model, asked, &uses.iter().flat_map(|part| part.refs.clone()).collect::<Vec<_>>())?;
        let leaves = uses.iter().map(|part| part.leaves.clone()).collect();
        let columns = match uses {
            [only] if !is_limited(&needed) => divided_columns(&only.columns, &finishing, &pull),
            _ => Vec::new(),
        };
        Some(Inner { place, pull, leaves, columns, by_name: false, finishing: Some(finishing) })
    }

    /// Whether a query in FROM gives what nothing reads, and what can fail: Postgres leaves it out then.
    fn computes_unread(&self, query: &Query, select: &Select, part: &Part) -> bool {
        let Some(leaf) = part.leaf.map(|leaf| &self.model.leaves[leaf]) else { return false };
        if is_distinct(select) || self.model.levels[leaf.level].wildcard {
            return false;
        }
        let unread = |(at, item): (usize, &SelectItem)| {
            let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return false };
            let name = leaf.columns.list.get(at).map(|column| &*column.name);
            let mut reads = Reads { within: query, inside: false, names: [name, Some(&leaf.name)] };
            self.model.may_fail(part.levels.start, expr) && self.tree.visit(&mut reads).is_continue()
        };
        select.projection.iter().enumerate().any(unread)
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
    fn divided(&self, query: &Query, uses: &[&Part], below: Below) -> Option<(Query, Finishing)> {
        let model = self.model;
        let SetExpr::Select(select) = &*query.body else { return None };
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
            let divided = divide(model, query, select, &of, below)?;
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

/// The columns that the shards' parts of a query have as they are: conditions on them choose among its groups or distinct rows.
fn divided_columns(columns: &Columns, finishing: &Finishing, pull: &PullText) -> Vec<(NodeId, Box<str>)> {
    let named = columns.list.iter().enumerate().filter_map(|(at, column)| {
        let name = finishing.input_column(at)?;
        let name = pull.columns.iter().find(|(known, _, _)| **known == *name).map(|(known, _, _)| known.clone());
        Some((column.node?, name?))
    });
    named.collect()
}
