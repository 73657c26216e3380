//! Set operations and recursive queries: how the rows that come of several queries lie on the shards, and what their columns are.
//!
//! A column of the whole is a node of its own. A row of an arm matters only together with a row of the whole that has its values, so
//! what is asked of the whole is asked of every arm. Where every arm has its sharding key in the same columns, equal rows are on one
//! shard: each makes its part of the whole, which then counts as a table of the distribution.

use std::sync::Arc;

use sqlparser::ast::{
    Cte, Expr, OrderBy, OrderByExpr, OrderByKind, Query, SetExpr, SetOperator, SetQuantifier, TableAlias,
    Value as Literal,
};

use crate::ids::DistributionId;
use crate::sql::combine::{Assumed, Combine, Gather};
use crate::sql::exprs::Ctes;
use crate::sql::facts::unnest;
use crate::sql::from::rename;
use crate::sql::keys::KeyName;
use crate::sql::limit::{read_limit, set_limit};
use crate::sql::model::{
    Column, ColumnType, Columns, Leaf, LeafId, LevelId, Model, NodeId, Obstacle, PartOf, RefId, Reference, RowsOf,
    Spread, Stop, family,
};
use crate::sql::names::folded;
use crate::sql::outcome::{Scatter, ScatterSql};
use crate::sql::query::Rows;
use crate::sql::shape::{
    Printer, Sorted, check_scatter, has_order, is_ordered_text, merged, not_ordered, sorted, unknown_columns,
};
use crate::sql::spelling::MORE_COLUMNS;
use crate::types::Collation;

/// Why the shards do not make it.
pub(crate) const SET: &str = "a set operation over rows of several shards";

/// How a query is put to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// It is the first.
    First,
    UnionAll,
    Union,
    Intersect,
    Except,
    /// What Postgres does not have.
    Unknown,
}

impl How {
    fn of(operator: SetOperator, quantifier: SetQuantifier) -> Self {
        let all = match quantifier {
            SetQuantifier::All => true,
            SetQuantifier::Distinct | SetQuantifier::None => false,
            SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName => return Self::Unknown,
        };
        match operator {
            SetOperator::Union if all => Self::UnionAll,
            SetOperator::Union => Self::Union,
            SetOperator::Intersect => Self::Intersect,
            SetOperator::Except => Self::Except,
            SetOperator::Minus => Self::Unknown,
        }
    }
}

struct Arm {
    how: How,
    rows: Rows,
}

impl Arm {
    /// The node of a column, where the columns are known.
    fn node(&self, at: usize) -> Option<NodeId> {
        self.column(at)?.node
    }

    fn column(&self, at: usize) -> Option<&Column> {
        self.rows.columns.list.get(at).filter(|_| self.rows.columns.complete)
    }
}

/// Where the rows of the arms so far lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// Every shard has all of them.
    Everywhere,
    /// Each shard has its part, and equal ones are on one shard.
    ByKey,
    /// Each shard has its part.
    Apart,
}

/// The columns that hold the sharding key of all arms.
struct CommonKey {
    distribution: DistributionId,
    name: Arc<KeyName>,
    /// Their places, in the order of the key.
    places: Vec<usize>,
}

/// A query of WITH that the walk is inside of.
pub(crate) struct Expanding {
    pub cte: *const Cte,
    /// What can name the query itself.
    body: Option<*const SetExpr>,
    alias: TableAlias,
    /// What it is made of without naming itself, when that has been walked.
    base: Option<(Columns, Spread)>,
    /// The rows that it names by its own name, where it does.
    own: Option<Own>,
}

/// Rows of a query that it makes others of.
struct Own {
    nodes: Vec<Option<NodeId>>,
    /// The columns that hold the sharding key; none: no columns do.
    places: Vec<usize>,
}

impl Expanding {
    pub fn new(cte: &Cte, recursive: bool) -> Self {
        // Postgres reads nothing into parentheses around the whole.
        let mut body = &*cte.query.body;
        while let SetExpr::Query(inner) = body
            && inner.with.is_none()
            && inner.order_by.is_none()
            && inner.limit_clause.is_none()
            && inner.fetch.is_none()
            && inner.locks.is_empty()
        {
            body = &inner.body;
        }
        let body = recursive.then(|| std::ptr::from_ref(body));
        Self { cte, body, alias: cte.alias.clone(), base: None, own: None }
    }
}

impl Model<'_> {
    /// Walks a set operation.
    pub fn set_operation<'q>(
        &mut self,
        body: &'q SetExpr,
        outer: Option<LevelId>,
        leaf_of: Option<LeafId>,
        ctes: &Ctes<'q>,
    ) -> Result<Rows, Stop> {
        // The left side of a chain is a loop: a UNION of a thousand arms nests a thousand deep.
        let mut open = Vec::new();
        let mut at = body;
        while let SetExpr::SetOperation { left, right, op, set_quantifier } = at {
            open.push((How::of(*op, *set_quantifier), &**right));
            at = left;
        }
        let recursive = self.expanding.iter().rposition(|of| of.body.is_some_and(|of| std::ptr::eq(of, body)));
        self.set_arms += 1;
        let first = self.arm(at, outer, leaf_of, ctes)?;
        let mut types: Vec<Option<ColumnType>> = first.columns.list.iter().map(|column| column.ty).collect();
        let mut arms = vec![Arm { how: How::First, rows: first }];
        while let Some((how, query)) = open.pop() {
            // The last of them alone can name the whole.
            let base = match recursive.filter(|_| open.is_empty()) {
                Some(at) => Some((at, self.base(at, std::mem::take(&mut arms), outer, leaf_of)?)),
                None => None,
            };
            let rows = self.arm(query, outer, leaf_of, ctes)?;
            self.note_stored_columns(&rows.columns, types.iter().map(|ty| ty.map(|ty| ty.oid)));
            // Arms of different types meet in a third one, by rules that are not modelled.
            for (at, ty) in types.iter_mut().enumerate() {
                let other = rows.columns.list.get(at).filter(|_| rows.columns.complete).and_then(|column| column.ty);
                *ty = ty.filter(|ty| other == Some(*ty));
            }
            let arm = Arm { how, rows };
            if let Some((at, base)) = base {
                self.set_arms -= 1;
                return match self.expanding.get_mut(at).and_then(|of| of.own.take()) {
                    Some(own) => self.recursion(base, arm, &own, outer, leaf_of),
                    None => self.together(vec![base, arm], outer, leaf_of),
                };
            }
            arms.push(arm);
        }
        self.set_arms -= 1;
        self.together(arms, outer, leaf_of)
    }

    fn arm<'q>(
        &mut self,
        body: &'q SetExpr,
        outer: Option<LevelId>,
        leaf_of: Option<LeafId>,
        ctes: &Ctes<'q>,
    ) -> Result<Rows, Stop> {
        let of = match body {
            SetExpr::Select(select) => PartOf::Arm(std::ptr::from_ref(&**select)),
            SetExpr::Query(query) => PartOf::Query(std::ptr::from_ref(&**query)),
            _ => return self.set_expr(body, outer, leaf_of, ctes),
        };
        self.part(of, None, |model| model.set_expr(body, outer, leaf_of, ctes))
    }

    /// What a recursive query is made of first.
    fn base(
        &mut self,
        at: usize,
        mut arms: Vec<Arm>,
        outer: Option<LevelId>,
        leaf_of: Option<LeafId>,
    ) -> Result<Arm, Stop> {
        let rows = match (arms.pop(), arms.is_empty()) {
            (Some(only), true) => only.rows,
            (last, _) => {
                arms.extend(last);
                self.together(arms, outer, leaf_of)?
            }
        };
        if let Some(of) = self.expanding.get_mut(at) {
            of.base = Some((rows.columns.clone(), rows.spread.clone()));
        }
        Ok(Arm { how: How::First, rows })
    }

    /// The rows that a recursive query names by its own name: some that it has made before. `None`: it is not being walked.
    pub fn own_rows(&mut self, cte: *const Cte, leaf: LeafId) -> Option<Rows> {
        let at = self.expanding.iter().rposition(|of| of.cte == cte)?;
        let (alias, base) = (self.expanding[at].alias.clone(), self.expanding[at].base.clone());
        let Some((mut columns, spread)) = base else {
            let why = Obstacle::new("a recursive query of this form");
            return Some(Rows::new(Columns::default(), Spread::Tangled(why)));
        };
        // SEARCH and CYCLE add columns behind those of the query.
        if alias.columns.last().is_some_and(|column| column.name.value == MORE_COLUMNS) {
            columns = Columns::default();
        }
        let key = self.common_key(&[(&columns, &spread)], |_| true);
        let mut nodes = Vec::new();
        for column in &mut columns.list {
            column.node = column.node.map(|node| {
                let (ty, typmod) = (self.nodes[node].ty, self.nodes[node].typmod);
                self.add_made_node(leaf, ty, typmod)
            });
            nodes.push(column.node);
        }
        let places = key.as_ref().map(|key| key.places.clone()).unwrap_or_default();
        let spread = match (spread, key) {
            (Spread::Parted { .. }, Some(key)) => self.lies_by_key(leaf, key, &nodes),
            (Spread::Parted { .. }, None) => Spread::APART,
            // What it is put to is tangled as a whole.
            (Spread::Same | Spread::Tangled(_), _) => Spread::Same,
        };
        self.expanding[at].own = Some(Own { nodes, places });
        rename(&mut columns, Some(&alias));
        Some(Rows::new(columns, spread))
    }

    /// A query that names its own rows. A column that it passes on as it is has in every row the value that it has in the first row
    /// that this one comes of.
    fn recursion(
        &mut self,
        base: Arm,
        next: Arm,
        own: &Own,
        outer: Option<LevelId>,
        leaf_of: Option<LeafId>,
    ) -> Result<Rows, Stop> {
        let passed = own.nodes.iter().enumerate().map(|(at, own)| {
            let ((first, own), next) = base.node(at).zip(*own).zip(next.node(at))?;
            (self.comparable(first, next) && self.are_equal(own, next)).then_some(own)
        });
        let passed: Vec<Option<NodeId>> = passed.collect();
        let (of_base, of_next) = ((&base.rows.columns, &base.rows.spread), (&next.rows.columns, &next.rows.spread));
        let is_passed = |at: usize| own.places.contains(&at) && passed.get(at).is_some_and(Option::is_some);
        let key = self.common_key(&[of_base, of_next], is_passed).filter(|key| key.places == own.places);
        let unions = matches!(next.how, How::Union | How::UnionAll);
        let lie = match (of_base.1, of_next.1) {
            (Spread::Tangled(why), _) | (_, Spread::Tangled(why)) => Err(why.clone()),
            (Spread::Same, Spread::Same) => Ok(Lie::Everywhere),
            (Spread::Parted { .. }, Spread::Parted { .. }) if unions && key.is_some() => Ok(Lie::ByKey),
            // Its rows are joined with nothing but what every shard has.
            (Spread::Parted { .. }, Spread::Parted { refs, .. })
                if next.how == How::UnionAll && own.places.is_empty() && refs.is_empty() =>
            {
                Ok(Lie::Apart)
            }
            _ => Err(Obstacle::new(SET)),
        };
        let united: Vec<Option<ColumnType>> =
            (0..passed.len()).map(|at| passed[at].and_then(|_| self.united(&[&base, &next], at))).collect();
        let mut columns = base.rows.columns.clone();
        columns.list.iter_mut().for_each(|column| column.node = None);
        let leaf = self.whole(&mut columns, &united, &[&base, &next], outer, leaf_of)?;
        for (at, column) in columns.list.iter().enumerate() {
            let (Some(whole), Some(Some(own))) = (column.node, passed.get(at)) else { continue };
            self.edges
                .extend(base.node(at).into_iter().flat_map(|first| [(first, whole), (whole, first), (*own, first)]));
            self.edges.extend(next.node(at).map(|next| (next, whole)));
            self.edges.push((*own, whole));
        }
        let bases = base.rows.bases.into_iter().chain(next.rows.bases).collect();
        let spread = self.spread_of_sets(lie, key, leaf, &columns);
        Ok(Rows { columns, spread, bases, ordered: base.rows.ordered })
    }

    /// The rows of several queries that do not name the whole.
    fn together(&mut self, mut arms: Vec<Arm>, outer: Option<LevelId>, leaf_of: Option<LeafId>) -> Result<Rows, Stop> {
        let of_arms: Vec<(&Columns, &Spread)> = arms.iter().map(|arm| (&arm.rows.columns, &arm.rows.spread)).collect();
        let width = of_arms.first().map_or(0, |(columns, _)| columns.list.len());
        let all: Vec<&Arm> = arms.iter().collect();
        // What is said of the whole says nothing of rows that an arm makes of all its rows together.
        let tangled = arms.iter().any(|arm| matches!(arm.rows.spread, Spread::Tangled(_)));
        let united: Vec<Option<ColumnType>> = (0..width).map(|at| self.united(&all, at).filter(|_| !tangled)).collect();
        let key = self.common_key(&of_arms, |at| united.get(at).is_some_and(Option::is_some));
        let beside = self.beside_outer(&arms, outer);
        let lie = lie(&arms, key.is_some());
        let Some(first) = arms.first() else { return Ok(Rows::new(Columns::default(), Spread::Same)) };
        let mut columns = first.rows.columns.clone();
        for (at, column) in columns.list.iter_mut().enumerate() {
            column.node = None;
            for arm in arms.iter().skip(1) {
                let other = arm.column(at).and_then(|column| column.ty);
                column.ty = column.ty.filter(|ty| other == Some(*ty));
            }
        }
        let leaf = self.whole(&mut columns, &united, &all, outer, leaf_of)?;
        // Each row of the whole is one of these arms too.
        let mut within = vec![0];
        for (at, arm) in arms.iter().enumerate().skip(1) {
            match arm.how {
                How::Intersect => within.push(at),
                How::Except => {}
                How::First | How::Union | How::UnionAll | How::Unknown => within.clear(),
            }
        }
        for (place, column) in columns.list.iter().enumerate() {
            let Some(whole) = column.node else { continue };
            for (at, arm) in arms.iter().enumerate() {
                let Some(node) = arm.node(place) else { continue };
                self.edges.push((node, whole));
                if within.contains(&at) {
                    self.edges.push((whole, node));
                }
            }
        }
        let spread = match beside {
            Some(spread) => spread,
            None => self.spread_of_sets(lie, key, leaf, &columns),
        };
        let ordered = arms.iter().any(|arm| arm.rows.ordered);
        let bases = arms.iter_mut().flat_map(|arm| std::mem::take(&mut arm.rows.bases)).collect();
        Ok(Rows { columns, spread, bases, ordered })
    }

    /// Where each arm with rows of shards is asked for one row around it, which has its key, or every shard has it.
    fn beside_outer(&self, arms: &[Arm], outer: Option<LevelId>) -> Option<Spread> {
        let mut all = Vec::new();
        for arm in arms {
            match &arm.rows.spread {
                Spread::Same => {}
                Spread::Parted { refs, .. } if self.follows_outer(refs, outer) => all.extend(refs.iter().copied()),
                Spread::Parted { .. } | Spread::Tangled(_) => return None,
            }
        }
        (!all.is_empty()).then_some(Spread::Parted { refs: all, anchors: Vec::new() })
    }

    fn spread_of_sets(
        &mut self,
        lie: Result<Lie, Obstacle>,
        key: Option<CommonKey>,
        leaf: Option<LeafId>,
        columns: &Columns,
    ) -> Spread {
        let nodes: Vec<Option<NodeId>> = columns.list.iter().map(|column| column.node).collect();
        match (lie, key, leaf) {
            (Err(why), ..) => Spread::Tangled(why),
            (Ok(Lie::Everywhere), ..) => Spread::Same,
            (Ok(Lie::ByKey), Some(key), Some(leaf)) => self.lies_by_key(leaf, key, &nodes),
            (Ok(Lie::ByKey), ..) => Spread::Tangled(Obstacle::new(SET)),
            (Ok(Lie::Apart), ..) => Spread::APART,
        }
    }

    /// The rows count as those of a table.
    fn lies_by_key(&mut self, leaf: LeafId, key: CommonKey, nodes: &[Option<NodeId>]) -> Spread {
        let CommonKey { distribution, name, places } = key;
        let key: Option<Vec<NodeId>> = places.iter().map(|at| nodes.get(*at).copied().flatten()).collect();
        let Some(key) = key else { return Spread::Tangled(Obstacle::new(SET)) };
        self.refs.push(Reference { leaf, distribution, name, key, of: RowsOf::Queries, uniques: Vec::new() });
        let id = self.refs.len() - 1;
        Spread::Parted { refs: vec![id], anchors: vec![id] }
    }

    /// Gives the columns nodes, of a leaf that stands for the whole.
    fn whole(
        &mut self,
        columns: &mut Columns,
        united: &[Option<ColumnType>],
        arms: &[&Arm],
        outer: Option<LevelId>,
        leaf_of: Option<LeafId>,
    ) -> Result<Option<LeafId>, Stop> {
        if !united.iter().any(Option::is_some) {
            return Ok(None);
        }
        let level = self.add_level(outer, leaf_of);
        let leaf = Leaf { level, name: "".into(), schema: None, columns: Columns::default(), spread: Spread::Same };
        let leaf = self.add_leaf(leaf)?;
        for (at, column) in columns.list.iter_mut().enumerate() {
            let Some(Some(ty)) = united.get(at) else { continue };
            // A length or precision is kept only where all have it.
            let mut typmods = arms.iter().map(|arm| arm.node(at).map_or(-1, |node| self.nodes[node].typmod));
            let first = typmods.next().unwrap_or(-1);
            let kept = column.ty == Some(*ty) && typmods.all(|typmod| typmod == first);
            let typmod = if kept { first } else { -1 };
            column.node = Some(self.add_made_node(leaf, *ty, typmod));
        }
        Ok(Some(leaf))
    }

    /// The type of a column of the whole, where some arm has a column of a table in its place and all have values of one kind: whose
    /// equality is that of their canonical bytes.
    fn united(&self, arms: &[&Arm], at: usize) -> Option<ColumnType> {
        let mut whole: Option<ColumnType> = None;
        let mut found = false;
        for arm in arms {
            let column = arm.column(at)?;
            found |= column.node.is_some();
            let ty = column.node.map(|node| self.nodes[node].ty).or(column.ty)?;
            if !ty.collation.equality_is_bytes() {
                return None;
            }
            whole = Some(match whole {
                None => ty,
                Some(before) if before == ty => ty,
                Some(before) if family(before.oid) == family(ty.oid) => ColumnType {
                    oid: family(ty.oid),
                    collation: match before.collation == ty.collation {
                        true => ty.collation,
                        false => Collation::Deterministic,
                    },
                },
                Some(_) => return None,
            });
        }
        whole.filter(|_| found)
    }

    /// Where all rows of shards have their key: in columns that `may` hold it.
    fn common_key(&self, arms: &[(&Columns, &Spread)], may: impl Fn(usize) -> bool) -> Option<CommonKey> {
        let mut parted = arms.iter().filter_map(|(columns, spread)| match spread {
            Spread::Parted { anchors, .. } => Some((*columns, anchors)),
            Spread::Same | Spread::Tangled(_) => None,
        });
        let (columns, anchors) = parted.next()?;
        let others: Vec<(&Columns, &Vec<RefId>)> = parted.collect();
        anchors.iter().find_map(|anchor| {
            let Reference { distribution, name, .. } = &self.refs[*anchor];
            let mut places = self.key_places(*anchor, columns, &may)?;
            for (columns, anchors) in &others {
                let same = anchors.iter().filter(|anchor| self.refs[**anchor].distribution == *distribution);
                places = same.filter_map(|anchor| self.key_places(*anchor, columns, &may)).find_map(|of| {
                    let both = places.iter().zip(&of).map(|(places, of)| {
                        let both: Vec<usize> = places.iter().copied().filter(|at| of.contains(at)).collect();
                        (!both.is_empty()).then_some(both)
                    });
                    both.collect::<Option<Vec<_>>>()
                })?;
            }
            let places = places.iter().filter_map(|places| places.first().copied()).collect();
            Some(CommonKey { distribution: *distribution, name: Arc::clone(name), places })
        })
    }

    /// The columns that hold each column of a reference's key.
    fn key_places(&self, id: RefId, columns: &Columns, may: impl Fn(usize) -> bool) -> Option<Vec<Vec<usize>>> {
        let nodes = || columns.list.iter().enumerate().filter(|(at, _)| columns.complete && may(*at));
        let places = self.refs[id].key.iter().map(|key| {
            let is = |same: &dyn Fn(NodeId) -> bool| -> Vec<usize> {
                nodes().filter(|(_, column)| column.node.is_some_and(same)).map(|(at, _)| at).collect()
            };
            let mut found = is(&|node| node == *key);
            if found.is_empty() {
                found = is(&|node| self.are_equal(node, *key));
            }
            (!found.is_empty()).then_some(found)
        });
        places.collect()
    }
}

/// How the rows of a set operation lie.
fn lie(arms: &[Arm], has_key: bool) -> Result<Lie, Obstacle> {
    let mut whole = Lie::Everywhere;
    for arm in arms {
        let next = match &arm.rows.spread {
            Spread::Same => Lie::Everywhere,
            Spread::Parted { .. } if has_key => Lie::ByKey,
            Spread::Parted { .. } => Lie::Apart,
            Spread::Tangled(why) => return Err(why.clone()),
        };
        whole = match (arm.how, whole, next) {
            (How::First, _, next) => next,
            (How::Unknown, ..) => return Err(Obstacle::new(SET)),
            (_, Lie::Everywhere, Lie::Everywhere) => Lie::Everywhere,
            (_, Lie::ByKey, Lie::ByKey) => Lie::ByKey,
            (How::UnionAll, Lie::Apart, Lie::Apart) => Lie::Apart,
            // Each row of a shard meets all that every shard has.
            (How::Intersect | How::Except, Lie::ByKey, Lie::Everywhere)
            | (How::Intersect, Lie::Everywhere, Lie::ByKey) => Lie::ByKey,
            _ => return Err(Obstacle::new(SET)),
        };
    }
    Ok(whole)
}

/// The merge of a query that is a set operation, or why there is none. `own_order`: its rows come in an order that it does not say.
pub(crate) fn scatter(
    model: &Model<'_>,
    query: &Query,
    (rows, own_order): &(Rows, bool),
    printer: &Printer<'_>,
) -> Result<Scatter, Obstacle> {
    check_scatter(model, &rows.spread)?;
    if !matches!((&rows.spread, &*query.body), (Spread::Parted { .. }, SetExpr::SetOperation { .. })) {
        return Err(Obstacle::new(SET));
    }
    if *own_order {
        return Err(Obstacle::new("the order of a query in a set operation, over rows of several shards"));
    }
    let limit = read_limit(query)?;
    let columns = &rows.columns;
    let keys = order(query, columns)?;
    let types: Vec<Option<ColumnType>> = columns.list.iter().map(|column| column.ty).collect();
    let assumed = match keys.is_empty() {
        true => Assumed::default(),
        false => Assumed {
            texts: (0..types.len()).filter(|at| types[*at].is_some_and(is_ordered_text)).collect(),
            names: match model.levels.iter().any(|level| level.wildcard) {
                true => columns.list.iter().map(|column| column.node.map(|_| column.name.clone())).collect(),
                false => Vec::new(),
            },
        },
    };
    let gather = match keys.is_empty() {
        true => Gather::Concat,
        false => Gather::MergeSort(keys.into_iter().map(Sorted::key).collect()),
    };
    let sql = match limit {
        Some(limit) if limit.offset.is_some() => printer.print_query(|query| {
            set_limit(query, Some(limit));
            true
        })?,
        _ => ScatterSql::AsWritten,
    };
    Ok(merged(sql, Combine { gather, steps: Vec::new(), hidden: 0, assumed }, limit, &types))
}

/// The columns by which a set operation is ordered: it can name no others.
fn order(query: &Query, columns: &Columns) -> Result<Vec<Sorted>, Obstacle> {
    let items = match &query.order_by {
        None => return Ok(Vec::new()),
        Some(OrderBy { kind: OrderByKind::Expressions(items), .. }) => items,
        Some(_) => return Err(Obstacle::new("this form of ORDER BY")),
    };
    if !columns.complete {
        return Err(unknown_columns());
    }
    let key = |item: &OrderByExpr| {
        let at = match unnest(&item.expr) {
            Expr::Value(value) => match &value.value {
                Literal::Number(digits, _) => digits.parse::<usize>().ok().and_then(|n| n.checked_sub(1)),
                _ => None,
            },
            Expr::Identifier(name) => {
                let mut named = (0..columns.list.len()).filter(|at| *columns.list[*at].name == *folded(name));
                named.next().filter(|_| named.next().is_none())
            }
            _ => None,
        };
        let column = at.filter(|at| *at < columns.list.len());
        let column = column.ok_or_else(|| Obstacle::new("ORDER BY that names no column of the set operation"))?;
        match columns.list[column].ty {
            Some(ty) if has_order(ty) => sorted(column, &item.options),
            _ => Err(not_ordered(&item.expr)),
        }
    };
    items.iter().map(key).collect()
}
