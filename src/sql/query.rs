//! Query levels: WITH, SELECT, set operations, VALUES; how the rows of each lie on the shards and which of their columns are
//! columns of tables.

use std::ops::ControlFlow;
use std::rc::Rc;

use sqlparser::ast::{
    CastKind, Cte, Distinct, Expr, Function, GroupByExpr, LimitClause, NamedWindowExpr, OrderBy, OrderByKind, Query,
    Select, SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Value as Literal, Visit, Visitor,
    WildcardAdditionalOptions, WindowSpec, With,
};

use crate::catalog::Table;
use crate::sql::colnames::output_name;
use crate::sql::exprs::{At, CteScope, Ctes};
use crate::sql::facts::{conjuncts, type_oid, unnest};
use crate::sql::failing::is_empty;
use crate::sql::from::{JoinTree, rename};
use crate::sql::functions::FunctionClass;
use crate::sql::infer::type_of;
use crate::sql::model::{
    Column, Columns, LeafId, LevelId, Model, NodeId, Obstacle, PartOf, RefId, Spread, Stop, Window,
};
use crate::sql::names::{folded, parts};
use crate::sql::sets::Expanding;
use crate::sql::spelling::MORE_COLUMNS;
use crate::types::oid;

/// The rows of a query below the top.
#[derive(Debug)]
pub(crate) struct Rows {
    pub columns: Columns,
    /// How they lie, with what the query does to them.
    pub spread: Spread,
    /// How the rows that it reads lie, for each SELECT in it: where these are tied to the row that asks, the shape is no matter.
    pub bases: Vec<Spread>,
    /// They come in an order of their own.
    pub ordered: bool,
}

impl Rows {
    /// Rows that no SELECT of the statement makes.
    pub fn new(columns: Columns, spread: Spread) -> Self {
        Self { columns, bases: vec![spread.clone()], spread, ordered: false }
    }
}

/// One SELECT, walked.
#[derive(Debug)]
pub(crate) struct SelectLevel {
    pub level: LevelId,
    /// How the joined and filtered rows lie.
    pub base: Spread,
    pub columns: Columns,
}

/// A CTE that a name means, with what its own body can see.
pub(crate) struct FoundCte<'q> {
    cte: &'q Cte,
    inside: Ctes<'q>,
}

impl FoundCte<'_> {
    fn recursive(&self) -> bool {
        self.inside.as_ref().is_some_and(|scope| scope.recursive)
    }
}

impl Model<'_> {
    /// A query below the top of the statement. `leaf_of`: the FROM item that it is.
    pub fn query<'q>(
        &mut self,
        query: &'q Query,
        outer: Option<LevelId>,
        leaf_of: Option<LeafId>,
        ctes: &Ctes<'q>,
    ) -> Result<Rows, Stop> {
        if let Some(columns) = self.supplied.queries.get(&std::ptr::from_ref(query)) {
            return Ok(Rows::new(columns.clone(), Spread::Same));
        }
        check_clauses(query)?;
        let ctes = self.with(query.with.as_ref(), ctes)?;
        self.uses.locking |= !query.locks.is_empty();
        let first = self.levels.len();
        let mut rows = match &*query.body {
            SetExpr::Select(select) => self.subselect(query, select, outer, leaf_of, &ctes)?,
            _ => self.unlimited(query, outer, leaf_of, &ctes)?,
        };
        if is_limited(query) && !matches!(*query.body, SetExpr::Select(_)) {
            unnode(&mut rows.columns);
            rows.spread = tangle(rows.spread, "LIMIT in a subquery");
            if rows.bases.iter().all(|base| matches!(base, Spread::Same)) {
                rows.bases.push(rows.spread.clone());
            }
        }
        if let (Some(leaf), true) = (leaf_of, rows.ordered) {
            self.ordered.insert(leaf);
        }
        // LIMIT names no column of the query itself.
        if is_empty(query) {
            self.need_not(first);
        }
        let at = At { level: self.add_level(outer, leaf_of), ctes: ctes.clone(), vary: false };
        self.walk_limit(&at, query)?;
        self.unused_ctes(query.with.as_ref(), &ctes)?;
        Ok(rows)
    }

    /// A query that is no SELECT, as if it had no LIMIT.
    fn unlimited<'q>(
        &mut self,
        query: &'q Query,
        outer: Option<LevelId>,
        leaf_of: Option<LeafId>,
        ctes: &Ctes<'q>,
    ) -> Result<Rows, Stop> {
        let first = self.levels.len();
        let mut rows = self.set_expr(&query.body, outer, leaf_of, ctes)?;
        let of_arms = self.levels.get(first..).unwrap_or_default();
        if query.order_by.is_some() && of_arms.iter().any(|level| !level.names.is_empty()) {
            self.note_number("ORDER BY names of the catalog".to_owned());
        }
        self.order_behind(query, outer, leaf_of)?;
        self.note_locks_behind(query);
        rows.ordered |= query.order_by.is_some();
        Ok(rows)
    }

    /// ORDER BY of a set operation names output columns only. Behind VALUES and a SELECT in parentheses it may say anything, of columns that
    /// are not found from here.
    fn order_behind(&mut self, query: &Query, outer: Option<LevelId>, leaf_of: Option<LeafId>) -> Result<(), Stop> {
        let Some(OrderByKind::Expressions(items)) = query.order_by.as_ref().map(|order| &order.kind) else {
            return Ok(());
        };
        if matches!(*query.body, SetExpr::SetOperation { .. }) {
            return Ok(());
        }
        let mut calls = Calls::default();
        let _ = items.visit(&mut calls);
        let stop = Stop::NotUnderstood("this ORDER BY behind VALUES or parentheses");
        if calls.queries {
            return Err(stop);
        }
        if calls.functions.is_empty() {
            return Ok(());
        }
        let level = self.add_level(outer, leaf_of);
        for call in &calls.functions {
            if call.over.is_some() || !matches!(self.note_function(level, call)?, FunctionClass::Pure) {
                return Err(stop);
            }
        }
        Ok(())
    }

    /// The statement itself, where it is no SELECT, as if it had no LIMIT; whether its rows come in an order that its own ORDER BY does not
    /// say.
    pub fn top<'q>(&mut self, query: &'q Query, ctes: &Ctes<'q>) -> Result<(Rows, bool), Stop> {
        let mut rows = self.unlimited(query, None, None, ctes)?;
        let ordered = std::mem::take(&mut rows.ordered) && query.order_by.is_none();
        let at = At { level: self.add_level(None, None), ctes: ctes.clone(), vary: false };
        self.walk_limit(&at, query)?;
        self.unused_ctes(query.with.as_ref(), ctes)?;
        Ok((rows, ordered))
    }

    pub fn set_expr<'q>(
        &mut self,
        body: &'q SetExpr,
        outer: Option<LevelId>,
        leaf_of: Option<LeafId>,
        ctes: &Ctes<'q>,
    ) -> Result<Rows, Stop> {
        match body {
            SetExpr::Query(query) => self.query(query, outer, leaf_of, ctes),
            SetExpr::Select(select) => {
                let level = self.select(select, outer, leaf_of, ctes)?;
                let ordered = self.passes_order(select, level.level);
                Ok(Rows { ordered, ..self.rows_of(select, level, false, outer) })
            }
            SetExpr::SetOperation { .. } => self.set_operation(body, outer, leaf_of, ctes),
            SetExpr::Values(values) => {
                let level = self.add_level(outer, leaf_of);
                let at = At { level, ctes: ctes.clone(), vary: false };
                for row in &values.rows {
                    row.content.iter().for_each(|cell| self.note_bare_moment(cell));
                    self.walk_all(&at, &row.content)?;
                }
                let width = values.rows.first().map_or(0, |row| row.content.len());
                let column = |i: usize| Column { name: format!("column{}", i + 1).into(), ty: None, node: None };
                let mut columns = Columns { list: (0..width).map(column).collect(), complete: true };
                if let Some(leaf) = leaf_of {
                    self.note_values(level, leaf, values, &mut columns);
                }
                Ok(Rows::new(columns, Spread::Same))
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(Stop::NotUnderstood("a data-modifying statement in this place"))
            }
            SetExpr::Table(_) => Err(Stop::NotUnderstood("TABLE")),
        }
    }

    fn subselect<'q>(
        &mut self,
        query: &'q Query,
        select: &'q Select,
        outer: Option<LevelId>,
        leaf_of: Option<LeafId>,
        ctes: &Ctes<'q>,
    ) -> Result<Rows, Stop> {
        let level = self.select(select, outer, leaf_of, ctes)?;
        self.note_locks(query, level.level);
        let at = At { level: level.level, ctes: ctes.clone(), vary: false };
        self.walk_order_by(&at, query.order_by.as_ref())?;
        let ordered = query.order_by.is_some() || self.passes_order(select, level.level);
        let of = level.level;
        let mut rows = self.rows_of(select, level, is_limited(query), outer);
        if let Some(leaf) = leaf_of {
            self.note_constants(of, leaf, select, &mut rows.columns);
        }
        Ok(Rows { ordered, ..rows })
    }

    /// Whether the rows of a SELECT come in the order of those of a subquery in FROM. SQL does not say so; Postgres does it.
    pub fn passes_order(&self, select: &Select, level: LevelId) -> bool {
        let of_level = &self.levels[level];
        let ordered = matches!(of_level.leaves[..], [leaf] if self.ordered.contains(&leaf));
        ordered && !is_grouped(select) && !of_level.aggregates && !is_distinct(select)
    }

    /// WITH: the CTEs that the query sees. One that changes data or is never used is walked here, the others where they are used.
    pub fn with<'q>(&mut self, with: Option<&'q With>, ctes: &Ctes<'q>) -> Result<Ctes<'q>, Stop> {
        let Some(with) = with else { return Ok(ctes.clone()) };
        let list = &with.cte_tables[..];
        for (i, cte) in list.iter().enumerate() {
            if cte.from.is_some() {
                return Err(Stop::NotUnderstood("this form of WITH"));
            }
            let visible = if with.recursive { list.len() } else { i };
            if self.changes_data(&cte.query) {
                let inside = Some(Rc::new(CteScope { parent: ctes.clone(), list, visible, recursive: with.recursive }));
                self.modifying_cte(cte, &inside)?;
            }
        }
        Ok(Some(Rc::new(CteScope { parent: ctes.clone(), list, visible: list.len(), recursive: with.recursive })))
    }

    /// After the query below a WITH: CTEs that nothing referred to are walked too, for the tables that they name.
    pub fn unused_ctes<'q>(&mut self, with: Option<&'q With>, ctes: &Ctes<'q>) -> Result<(), Stop> {
        let (Some(with), Some(scope)) = (with, ctes) else { return Ok(()) };
        for (i, cte) in with.cte_tables.iter().enumerate() {
            if !self.referenced.contains(&std::ptr::from_ref(cte)) && !self.changes_data(&cte.query) {
                let visible = if with.recursive { with.cte_tables.len() } else { i };
                let (parent, list) = (scope.parent.clone(), scope.list);
                let inside = Some(Rc::new(CteScope { parent, list, visible, recursive: with.recursive }));
                self.expanding.push(Expanding::new(cte, with.recursive));
                let first = self.levels.len();
                let rows = self.query(&cte.query, None, None, &inside);
                self.need_not(first);
                self.expanding.pop();
                if let Spread::Parted { .. } | Spread::Tangled(_) = rows?.spread {
                    self.hinder(Obstacle::new(format!("WITH query \"{}\" is not used", folded(&cte.alias.name))));
                }
            }
        }
        Ok(())
    }

    /// Whether a query of a WITH changes data here: not where its rows are supplied.
    fn changes_data(&self, query: &Query) -> bool {
        is_modifying(query) && !self.supplied.queries.contains_key(&std::ptr::from_ref(query))
    }

    pub fn find_cte<'q>(&self, name: &str, ctes: &Ctes<'q>) -> Option<FoundCte<'q>> {
        let mut at = ctes.as_ref();
        while let Some(scope) = at {
            let visible = scope.list.get(..scope.visible).unwrap_or_default();
            if let Some(position) = visible.iter().position(|cte| folded(&cte.alias.name) == name) {
                let inside = CteScope {
                    parent: scope.parent.clone(),
                    list: scope.list,
                    visible: if scope.recursive { scope.list.len() } else { position },
                    recursive: scope.recursive,
                };
                return Some(FoundCte { cte: &scope.list[position], inside: Some(Rc::new(inside)) });
            }
            at = scope.parent.as_ref();
        }
        None
    }

    /// The rows of a CTE at one place where it is used. Each use is walked anew, because conditions there hold for that use only.
    pub fn expand_cte<'q>(&mut self, found: &FoundCte<'q>, leaf: LeafId) -> Result<Rows, Stop> {
        let cte = found.cte;
        let key = std::ptr::from_ref(cte);
        self.referenced.insert(key);
        if self.changes_data(&cte.query) {
            let mut rows = self.use_modified(key, leaf);
            rename(&mut rows.columns, Some(&cte.alias));
            return Ok(rows);
        }
        if let Some(rows) = self.own_rows(key, leaf) {
            return Ok(rows);
        }
        self.expanding.push(Expanding::new(cte, found.recursive()));
        let of = PartOf::Query(std::ptr::from_ref(&*cte.query));
        let rows = self.part(of, Some(leaf), |model| model.query(&cte.query, None, Some(leaf), &found.inside));
        self.expanding.pop();
        let mut rows = rows?;
        rename(&mut rows.columns, Some(&cte.alias));
        // SEARCH and CYCLE add columns behind those of the query.
        if cte.alias.columns.last().is_some_and(|column| column.name.value == MORE_COLUMNS) {
            rows.columns = Columns::default();
        }
        Ok(rows)
    }

    /// The rows of a view: those of its definition, under the names that the catalog has for its columns.
    pub fn expand_view(&mut self, view: &Table, leaf: LeafId) -> Result<Rows, Stop> {
        const DEEPEST: usize = 32;
        let Some(definition) = &view.definition else { return Err(Stop::NotUnderstood("a view without definition")) };
        if self.view_depth >= DEEPEST {
            return Err(Stop::NotUnderstood("views nested more than 32 deep"));
        }
        let query = super::parse_query(definition).ok_or(Stop::NotUnderstood("the definition of a view"))?;
        self.view_depth += 1;
        let rows = self.query(&query, None, Some(leaf), &None);
        self.view_depth -= 1;
        let mut rows = rows?;
        if rows.columns.list.len() == view.columns.len() && rows.columns.complete {
            for (column, known) in rows.columns.list.iter_mut().zip(&view.columns) {
                column.name = known.name.clone();
            }
        } else {
            rows.columns = Columns::default();
        }
        Ok(rows)
    }

    /// Walks one SELECT.
    pub fn select<'q>(
        &mut self,
        select: &'q Select,
        outer: Option<LevelId>,
        leaf_of: Option<LeafId>,
        ctes: &Ctes<'q>,
    ) -> Result<SelectLevel, Stop> {
        check_select(select)?;
        let level = self.add_level(outer, leaf_of);
        let tree = self.from_list(level, &select.from, ctes)?;
        let at = At { level, ctes: ctes.clone(), vary: false };
        if let Some(condition) = &select.selection {
            self.walk(&At { vary: true, ..at.clone() }, condition)?;
        }
        let tree = tree.map(|tree| self.reduced(level, tree, select.selection.as_ref()));
        if let Some(condition) = &select.selection {
            let leaves = self.levels[level].leaves.clone();
            self.add_condition(level, condition, &leaves);
            self.collect_filter(level, condition, || tree.as_ref().map_or_else(Vec::new, JoinTree::preserved));
        }
        let base = tree.as_ref().map_or(Spread::Same, |tree| self.spread_of(tree));
        if let Some(Distinct::On(exprs)) = &select.distinct {
            self.walk_all(&at, exprs)?;
        }
        let place = (outer.is_some(), leaf_of.is_some());
        for (position, item) in select.projection.iter().enumerate() {
            match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    let name = match item {
                        SelectItem::ExprWithAlias { alias, .. } => folded(alias).into_owned(),
                        _ => output_name(expr),
                    };
                    self.note_output(level, place, position, &name, expr);
                    self.note_bare_moment(expr);
                    self.walk(&at, expr)?;
                }
                SelectItem::Wildcard(options) => {
                    self.levels[level].wildcard = true;
                    check_wildcard(options)?;
                }
                SelectItem::QualifiedWildcard(kind, options) => {
                    check_wildcard(options)?;
                    if let SelectItemQualifiedWildcardKind::Expr(expr) = kind {
                        self.walk(&at, expr)?;
                    }
                }
                SelectItem::ExprWithAliases { .. } => return Err(Stop::NotUnderstood("several aliases")),
            }
        }
        match &select.group_by {
            GroupByExpr::All(_) => return Err(Stop::NotUnderstood("GROUP BY ALL")),
            GroupByExpr::Expressions(exprs, modifiers) => {
                self.levels[level].grouping_sets |= !modifiers.is_empty();
                exprs.iter().for_each(|expr| self.tell_name(level, expr));
                self.walk_all(&at, exprs)?;
            }
        }
        self.walk_all(&at, select.having.as_ref())?;
        if let Some(having) = select.having.as_ref().filter(|_| self.collected.is_some()) {
            // What asks nothing of aggregates Postgres asks of the rows.
            let of_rows = |part: &&Expr| !self.levels[level].grouping_sets && !self.may_aggregate(level, part);
            let parts: Vec<&Expr> = conjuncts(having).into_iter().filter(of_rows).collect();
            for part in parts {
                self.collect_filter(level, part, || tree.as_ref().map_or_else(Vec::new, JoinTree::preserved));
            }
        }
        for window in &select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = &window.1 {
                self.walk_window(&at, spec)?;
                let partition = self.partition_of(level, spec);
                self.levels[level].named_windows.push((folded(&window.0).into(), partition));
            }
        }
        if self.collected.is_some() && self.view_depth == 0 {
            let nodes = self.grouped_nodes(level, select);
            if let Some(collected) = self.collected.as_mut().filter(|_| !nodes.is_empty()) {
                collected.groups.push((level, nodes));
            }
        }
        let columns = self.output(level, &select.projection);
        if columns.list.len() > select.projection.len() {
            let names = columns
                .list
                .iter()
                .enumerate()
                .filter(|(_, column)| column.ty.is_some_and(|ty| oid::is_name_of_catalog(ty.oid)));
            self.levels[level].names.extend(names.map(|(at, column)| (at, column.name.clone())));
        }
        Ok(SelectLevel { level, base, columns })
    }

    pub fn walk_order_by<'q>(&mut self, at: &At<'q>, order_by: Option<&'q OrderBy>) -> Result<(), Stop> {
        match order_by {
            None => Ok(()),
            Some(OrderBy { kind: OrderByKind::Expressions(items), interpolate: None }) => self.walk_order(at, items),
            Some(_) => Err(Stop::NotUnderstood("this form of ORDER BY")),
        }
    }

    pub fn walk_limit<'q>(&mut self, at: &At<'q>, query: &'q Query) -> Result<(), Stop> {
        match &query.limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                self.walk_all(at, limit.iter().chain(offset.as_ref().map(|offset| &offset.value)))?;
            }
            Some(_) => return Err(Stop::NotUnderstood("this form of LIMIT")),
        }
        self.walk_all(at, query.fetch.iter().filter_map(|fetch| fetch.quantity.as_ref()))
    }

    /// The output columns of a SELECT; not complete where `*` stands for columns that are not known.
    pub fn output(&self, level: LevelId, items: &[SelectItem]) -> Columns {
        let mut columns = Columns { list: Vec::new(), complete: true };
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expr) => columns.list.push(self.output_column(level, expr, None)),
                SelectItem::ExprWithAlias { expr, alias } => {
                    columns.list.push(self.output_column(level, expr, Some(folded(alias).into())));
                }
                SelectItem::Wildcard(_) => {
                    let of = &self.levels[level];
                    if !of.merged.is_empty() || of.unknown_merge {
                        columns.complete = false;
                    }
                    for leaf in &of.leaves {
                        columns.complete &= self.leaves[*leaf].columns.complete;
                        columns.list.extend(self.leaves[*leaf].columns.list.iter().cloned());
                    }
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let leaf = parts(name).and_then(|(schema, table)| {
                        self.levels[level].leaves.iter().map(|leaf| &self.leaves[*leaf]).find(|leaf| {
                            *leaf.name == *table && (schema.is_none() || leaf.schema.as_deref() == schema.as_deref())
                        })
                    });
                    match leaf {
                        Some(leaf) => {
                            columns.complete &= leaf.columns.complete;
                            columns.list.extend(leaf.columns.list.iter().cloned());
                        }
                        None => columns.complete = false,
                    }
                }
                _ => columns.complete = false,
            }
        }
        columns
    }

    fn output_column(&self, level: LevelId, expr: &Expr, alias: Option<Box<str>>) -> Column {
        let name = alias.unwrap_or_else(|| output_name(expr).into());
        let column = match unnest(expr) {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => self.as_column(level, unnest(expr)),
            _ => None,
        };
        let ty = type_of(self, level, expr);
        Column { name, ty, node: column.and_then(|found| found.column.node) }
    }

    /// What a SELECT below the top gives.
    fn rows_of(&self, select: &Select, of: SelectLevel, limited: bool, outer: Option<LevelId>) -> Rows {
        let level = &self.levels[of.level];
        let grouped = is_grouped(select) || level.aggregates;
        let distinct_on = matches!(select.distinct, Some(Distinct::On(_)));
        let group_nodes = self.group_nodes(of.level, select);
        let mut columns = of.columns;
        let on_nodes = self.distinct_on_nodes(of.level, select, &columns);
        // A condition on an output column is one on the table's column only where the query would let it through.
        if limited || level.grouping_sets {
            unnode(&mut columns);
        } else {
            let partitions: Vec<&[NodeId]> =
                level.windows.iter().map(|window| self.partition(of.level, window)).collect();
            let passes = |node: &NodeId| {
                (!grouped || group_nodes.contains(node))
                    && (!distinct_on || on_nodes.contains(node))
                    && partitions.iter().all(|nodes| nodes.contains(node))
            };
            for column in &mut columns.list {
                column.node = column.node.filter(passes);
            }
        }
        let spread = match of.base.clone() {
            Spread::Same if level.leaves.is_empty() => Spread::Same,
            Spread::Same if limited => Spread::Tangled(Obstacle::new("LIMIT in a subquery")),
            Spread::Same if distinct_on => Spread::Tangled(Obstacle::new("DISTINCT ON in a subquery")),
            Spread::Same if !level.windows.is_empty() => {
                Spread::Tangled(Obstacle::new("a window function in a subquery"))
            }
            Spread::Same if level.order_sensitive => {
                Spread::Tangled(Obstacle::new("an aggregate that depends on the order of its input in a subquery"))
            }
            Spread::Parted { refs, .. } if self.follows_outer(&refs, outer) => {
                Spread::Parted { refs, anchors: Vec::new() }
            }
            Spread::Parted { .. } if limited => Spread::Tangled(Obstacle::new("LIMIT in a subquery")),
            Spread::Parted { refs, anchors } => {
                let mut kept = anchors;
                if distinct_on {
                    kept.retain(|anchor| self.has_key(&on_nodes, *anchor));
                    if kept.is_empty() {
                        let why = Obstacle::new("DISTINCT ON in a subquery");
                        return Rows { columns, spread: Spread::Tangled(why), bases: vec![of.base], ordered: false };
                    }
                }
                if !level.windows.is_empty() {
                    kept.retain(|anchor| self.windows_have_key(of.level, *anchor));
                }
                if grouped {
                    kept.retain(|anchor| !level.grouping_sets && self.has_key(&group_nodes, *anchor));
                }
                if is_distinct(select) && !distinct_on {
                    let nodes: Vec<NodeId> = columns.list.iter().filter_map(|column| column.node).collect();
                    kept.retain(|anchor| self.has_key(&nodes, *anchor));
                }
                let shaped = !level.windows.is_empty() || grouped || is_distinct(select);
                if kept.is_empty() && shaped {
                    Spread::Tangled(Obstacle::new(
                        "a subquery groups, numbers or deduplicates rows of several shards, not by their sharding key",
                    ))
                } else {
                    Spread::Parted { refs, anchors: kept }
                }
            }
            spread => spread,
        };
        // A tie to the row around it makes up for any shape, but rows that every shard has are tied to none.
        let base = if let Spread::Same = of.base { spread.clone() } else { of.base };
        Rows { columns, spread, bases: vec![base], ordered: false }
    }

    /// Whether every column of the reference's key is among these, or equal to one of them.
    pub fn has_key(&self, nodes: &[NodeId], reference: RefId) -> bool {
        self.refs[reference].key.iter().all(|key| {
            nodes.contains(key)
                || nodes.iter().any(|node| self.reach(*key).contains(node) && self.reach(*node).contains(key))
        })
    }

    /// The columns of tables that GROUP BY names.
    pub fn group_nodes(&self, level: LevelId, select: &Select) -> Vec<NodeId> {
        let GroupByExpr::Expressions(exprs, _) = &select.group_by else { return Vec::new() };
        let node = |expr: &Expr| self.as_plain_column(level, self.grouped_expr(level, select, expr)?);
        exprs.iter().filter_map(node).collect()
    }

    /// The same, and those in grouping sets.
    fn grouped_nodes(&self, level: LevelId, select: &Select) -> Vec<NodeId> {
        let GroupByExpr::Expressions(exprs, _) = &select.group_by else { return Vec::new() };
        let mut nodes = self.group_nodes(level, select);
        let mut sets: Vec<&Expr> = exprs.iter().collect();
        while let Some(expr) = sets.pop() {
            match expr {
                Expr::GroupingSets(all) | Expr::Cube(all) | Expr::Rollup(all) => sets.extend(all.iter().flatten()),
                Expr::Tuple(members) => sets.extend(members),
                expr => {
                    nodes.extend(self.grouped_expr(level, select, expr).and_then(|e| self.as_plain_column(level, e)))
                }
            }
        }
        nodes
    }

    /// The node of a bare column name of this very level.
    fn as_plain_column(&self, level: LevelId, expr: &Expr) -> Option<NodeId> {
        match unnest(expr) {
            expr @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {
                let found = self.as_column(level, expr)?;
                self.levels[level].leaves.contains(&found.leaf).then_some(found.column.node?)
            }
            // To its own type: to Postgres that is the column itself.
            Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } => {
                let of = self.as_column(level, expr)?.column.ty?.oid;
                (type_oid(data_type) == Some(of)).then(|| self.as_plain_column(level, expr)).flatten()
            }
            _ => None,
        }
    }

    /// The expression that an item of GROUP BY stands for: an ordinal or output name is that of the select list.
    pub fn grouped_expr<'q>(&self, level: LevelId, select: &'q Select, expr: &'q Expr) -> Option<&'q Expr> {
        match unnest(expr) {
            Expr::Value(value) => match &value.value {
                Literal::Number(digits, _) => item_expr(select, digits.parse::<usize>().ok()?.checked_sub(1)?),
                _ => None,
            },
            Expr::Identifier(name) => {
                // A column of the FROM list goes before an output name.
                if self.find_column(level, std::slice::from_ref(name)).is_some() {
                    return Some(expr);
                }
                let of_level = &self.levels[level];
                let known = of_level.leaves.iter().all(|leaf| self.leaves[*leaf].columns.complete);
                let mut named = select.projection.iter().filter_map(|item| match item {
                    SelectItem::ExprWithAlias { expr, alias } if folded(alias) == folded(name) => Some(expr),
                    _ => None,
                });
                match named.next() {
                    Some(aliased) => known.then_some(aliased),
                    None => Some(expr),
                }
            }
            _ => Some(expr),
        }
    }

    /// The columns that a window is partitioned by. One that builds on another window counts as partitioned by none.
    pub fn partition_of(&self, level: LevelId, spec: &WindowSpec) -> Vec<NodeId> {
        match spec.window_name {
            Some(_) => Vec::new(),
            None => spec.partition_by.iter().filter_map(|expr| self.as_plain_column(level, expr)).collect(),
        }
    }

    /// The columns that a use of a window is partitioned by.
    fn partition<'m>(&'m self, level: LevelId, window: &'m Window) -> &'m [NodeId] {
        match window {
            Window::Partitioned(nodes) => nodes,
            Window::Named(name) => {
                let named = self.levels[level].named_windows.iter().find(|(of, _)| of == name);
                named.map_or(&[], |(_, nodes)| nodes)
            }
        }
    }

    /// The columns of tables that DISTINCT ON names. An output name goes before a column of the FROM list.
    fn distinct_on_nodes(&self, level: LevelId, select: &Select, columns: &Columns) -> Vec<NodeId> {
        let Some(Distinct::On(exprs)) = &select.distinct else { return Vec::new() };
        let node = |expr: &Expr| match unnest(expr) {
            Expr::Identifier(name) if columns.complete => {
                let mut named = columns.list.iter().filter(|column| *column.name == *folded(name));
                match (named.next(), named.next()) {
                    (Some(column), None) => column.node,
                    (None, _) => self.as_plain_column(level, expr),
                    (Some(_), Some(_)) => None,
                }
            }
            Expr::CompoundIdentifier(_) => self.as_plain_column(level, expr),
            _ => None,
        };
        exprs.iter().filter_map(node).collect()
    }

    /// Whether every window of a level is partitioned by the reference's key.
    pub fn windows_have_key(&self, level: LevelId, reference: RefId) -> bool {
        let windows = &self.levels[level].windows;
        windows.iter().all(|window| self.has_key(self.partition(level, window), reference))
    }
}

/// The expression of the n-th item of a select list without `*`.
pub(crate) fn item_expr(select: &Select, position: usize) -> Option<&Expr> {
    let plain = |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. });
    if !select.projection.iter().take(position + 1).all(plain) {
        return None;
    }
    match select.projection.get(position)? {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

pub(crate) fn is_grouped(select: &Select) -> bool {
    let by = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(exprs, modifiers) => !exprs.is_empty() || !modifiers.is_empty(),
    };
    by || select.having.is_some()
}

/// SELECT DISTINCT; SELECT ALL is none.
pub(crate) fn is_distinct(select: &Select) -> bool {
    !matches!(select.distinct, None | Some(Distinct::All))
}

pub(crate) fn is_limited(query: &Query) -> bool {
    query.limit_clause.is_some() || query.fetch.is_some()
}

pub(crate) fn is_modifying(query: &Query) -> bool {
    matches!(&*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
}

fn unnode(columns: &mut Columns) {
    columns.list.iter_mut().for_each(|column| column.node = None);
}

fn tangle(spread: Spread, what: &'static str) -> Spread {
    match spread {
        Spread::Tangled(why) => Spread::Tangled(why),
        _ => Spread::Tangled(Obstacle::new(what)),
    }
}

pub(crate) fn check_clauses(query: &Query) -> Result<(), Stop> {
    if query.for_clause.is_some()
        || query.settings.is_some()
        || query.format_clause.is_some()
        || !query.pipe_operators.is_empty()
    {
        return Err(Stop::NotUnderstood("a clause that Postgres does not have"));
    }
    Ok(())
}

fn check_select(select: &Select) -> Result<(), Stop> {
    let foreign = !select.optimizer_hints.is_empty()
        || select.select_modifiers.is_some()
        || select.top.is_some()
        || select.exclude.is_some()
        || !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.qualify.is_some()
        || select.value_table_mode.is_some()
        || select.flavor != SelectFlavor::Standard;
    if foreign {
        return Err(Stop::NotUnderstood("a clause that Postgres does not have"));
    }
    if select.into.is_some() {
        return Err(Stop::NotUnderstood("SELECT INTO"));
    }
    Ok(())
}

fn check_wildcard(options: &WildcardAdditionalOptions) -> Result<(), Stop> {
    let plain = options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none();
    if plain { Ok(()) } else { Err(Stop::NotUnderstood("this form of *")) }
}

/// What is called in an expression, and whether a query stands there.
#[derive(Default)]
struct Calls {
    functions: Vec<Function>,
    queries: bool,
}

impl Visitor for Calls {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries = true;
        ControlFlow::Break(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            self.functions.push(function.clone());
        }
        ControlFlow::Continue(())
    }
}
