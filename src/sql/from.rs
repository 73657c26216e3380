//! FROM lists: which tables a level scans, how its joins tie their rows together.

use std::sync::Arc;

use sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, DataType, Expr, FunctionArg, FunctionArgExpr, Ident, Join, JoinConstraint,
    JoinOperator, ObjectName, SelectItem, TableAlias, TableFactor, TableWithJoins, WildcardAdditionalOptions,
    XmlTableColumnOption,
};

use crate::catalog::Table;
use crate::ids::{Oid, QualifiedName};
use crate::sql::exprs::{At, Ctes};
use crate::sql::facts::{conjuncts, unnest};
use crate::sql::implicit::{self, check_read};
use crate::sql::infer::type_of;
use crate::sql::keys::KeyName;
use crate::sql::model::{
    Column, ColumnType, Columns, Leaf, LeafId, LevelId, Merged, Model, NodeId, Obstacle, Part, PartOf, RefId,
    Reference, RowsOf, Spread, Stop, TableUse,
};
use crate::sql::names::{Place, Relation, check_connection_view, distributed_names, folded, parts, resolve};
use crate::sql::outer_joins::On;
use crate::sql::spelling::is_marked;
use crate::topology::UniqueRule;
use crate::types::oid;

/// How the leaves of a FROM list are joined.
#[derive(Clone, Debug)]
pub(crate) enum JoinTree {
    Leaf(LeafId),
    Inner(Box<JoinTree>, Box<JoinTree>),
    /// The left side is preserved.
    Left(Box<JoinTree>, Box<JoinTree>),
    Full(Box<JoinTree>, Box<JoinTree>),
}

impl JoinTree {
    pub fn leaves(&self) -> Vec<LeafId> {
        match self {
            JoinTree::Leaf(leaf) => vec![*leaf],
            JoinTree::Inner(l, r) | JoinTree::Left(l, r) | JoinTree::Full(l, r) => {
                let mut leaves = l.leaves();
                leaves.extend(r.leaves());
                leaves
            }
        }
    }

    /// The leaves whose rows no outer join of this tree null-extends: what must hold of the joined rows must hold of theirs.
    pub fn preserved(&self) -> Vec<LeafId> {
        match self {
            JoinTree::Leaf(leaf) => vec![*leaf],
            JoinTree::Inner(l, r) => [l.preserved(), r.preserved()].concat(),
            JoinTree::Left(l, _) => l.preserved(),
            JoinTree::Full(..) => Vec::new(),
        }
    }

    pub fn has_outer(&self) -> bool {
        match self {
            JoinTree::Leaf(_) => false,
            JoinTree::Inner(l, r) => l.has_outer() || r.has_outer(),
            JoinTree::Left(..) | JoinTree::Full(..) => true,
        }
    }

    /// The leaves that the ON condition of the topmost join restricts, each before it is joined.
    pub fn restricted(&self) -> Vec<LeafId> {
        match self {
            JoinTree::Left(_, r) => r.preserved(),
            other => other.preserved(),
        }
    }
}

impl Model<'_> {
    /// The FROM list of a level; `None` when it is empty.
    pub fn from_list<'q>(
        &mut self,
        level: LevelId,
        from: &'q [TableWithJoins],
        ctes: &Ctes<'q>,
    ) -> Result<Option<JoinTree>, Stop> {
        let mut tree = None;
        for item in from {
            let next = self.joined(level, item, ctes)?;
            tree = Some(match tree {
                None => next,
                Some(before) => JoinTree::Inner(Box::new(before), Box::new(next)),
            });
        }
        Ok(tree)
    }

    fn joined<'q>(&mut self, level: LevelId, item: &'q TableWithJoins, ctes: &Ctes<'q>) -> Result<JoinTree, Stop> {
        let mut tree = self.factor(level, &item.relation, ctes)?;
        for join in &item.joins {
            tree = self.join(level, tree, join, ctes)?;
        }
        Ok(tree)
    }

    fn join<'q>(&mut self, level: LevelId, left: JoinTree, join: &'q Join, ctes: &Ctes<'q>) -> Result<JoinTree, Stop> {
        if join.global {
            return Err(Stop::NotUnderstood("GLOBAL JOIN"));
        }
        let right = self.factor(level, &join.relation, ctes)?;
        let (of_left, of_right) = (left.leaves(), right.leaves());
        let both: Vec<LeafId> = of_left.iter().chain(&of_right).copied().collect();
        let (left, right) = (Box::new(left), Box::new(right));
        // Clause 1: the condition of an outer join restricts the side that it may null-extend, never the preserved one.
        let (constraint, restricted, tree) = match &join.join_operator {
            JoinOperator::Join(on) | JoinOperator::Inner(on) | JoinOperator::CrossJoin(on) => {
                (on, both, JoinTree::Inner(left, right))
            }
            JoinOperator::Left(on) | JoinOperator::LeftOuter(on) => (on, of_right.clone(), JoinTree::Left(left, right)),
            JoinOperator::Right(on) | JoinOperator::RightOuter(on) => {
                (on, of_left.clone(), JoinTree::Left(right, left))
            }
            JoinOperator::FullOuter(on) => {
                self.levels[level].full_join = true;
                (on, Vec::new(), JoinTree::Full(left, right))
            }
            _ => return Err(Stop::NotUnderstood("this kind of join")),
        };
        match constraint {
            JoinConstraint::None => {}
            JoinConstraint::On(condition) => {
                self.walk(&At { level, ctes: ctes.clone(), vary: true }, condition)?;
                self.add_condition(level, condition, &restricted);
                self.collect_filter(level, condition, || tree.restricted());
                self.note_join(level, &tree, || On::Condition(Box::new(condition.clone())));
            }
            JoinConstraint::Using(names) => {
                let mut pairs = Vec::new();
                for name in names {
                    let (None, name) = parts(name).ok_or(Stop::NotUnderstood("this form of USING"))? else {
                        return Err(Stop::NotUnderstood("this form of USING"));
                    };
                    pairs.extend(self.merge(level, &name, &of_left, &of_right, &restricted, &tree));
                }
                self.note_join(level, &tree, || On::Equal(pairs));
            }
            JoinConstraint::Natural => {
                self.levels[level].natural = true;
                match self.common_names(&of_left, &of_right) {
                    Some(names) => {
                        let merge = |name: &Box<str>| self.merge(level, name, &of_left, &of_right, &restricted, &tree);
                        let pairs = names.iter().filter_map(merge).collect();
                        self.note_join(level, &tree, || On::Equal(pairs));
                    }
                    None => self.levels[level].unknown_merge = true,
                }
            }
        }
        Ok(tree)
    }

    /// The column of this name among some leaves, or what an earlier USING made of it.
    fn side_column(&self, level: LevelId, leaves: &[LeafId], name: &str) -> Option<(LeafId, Column)> {
        let merged = self.levels[level]
            .merged
            .iter()
            .rev()
            .find(|m| &*m.name == name && m.stands_for.as_ref().is_none_or(|(leaf, _)| leaves.contains(leaf)));
        if let Some(merged) = merged {
            return merged.stands_for.clone();
        }
        let mut found = leaves.iter().flat_map(|leaf| {
            self.leaves[*leaf].columns.list.iter().filter(|c| &*c.name == name).map(|c| (*leaf, c.clone()))
        });
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// Makes one column of the two that USING names, and notes their equality; the two columns, where they are of tables.
    fn merge(
        &mut self,
        level: LevelId,
        name: &str,
        left: &[LeafId],
        right: &[LeafId],
        restricted: &[LeafId],
        tree: &JoinTree,
    ) -> Option<((LeafId, NodeId), (LeafId, NodeId))> {
        let (l, r) = (self.side_column(level, left, name), self.side_column(level, right, name));
        let types = match (&l, &r) {
            (Some((_, l)), Some((_, r))) => l.ty.zip(r.ty),
            _ => None,
        };
        let mut pair = None;
        if let (Some((l_leaf, l)), Some((r_leaf, r))) = (&l, &r)
            && let (Some(l), Some(r)) = (l.node, r.node)
        {
            self.add_equality((*l_leaf, l), (*r_leaf, r), restricted);
            pair = Some(((*l_leaf, l), (*r_leaf, r)));
        }
        // The merged column is the preserved side's; of a full join it is that of either.
        let stands_for = match tree {
            JoinTree::Full(..) => l.zip(r).and_then(|(l, r)| self.of_either(level, l, r)),
            JoinTree::Left(preserved, _) if right.iter().all(|leaf| preserved.leaves().contains(leaf)) => r,
            _ => l,
        };
        // Of two types it is of the one that both have in common.
        let stands_for = stands_for.map(|(leaf, column)| match types {
            Some((l, r)) if l.oid != r.oid => {
                let node = column.node.filter(|_| is_compared_alike(l.oid, r.oid));
                (leaf, Column { node, ty: None, ..column })
            }
            _ => (leaf, column),
        });
        let merged = &mut self.levels[level].merged;
        merged.retain(|m| &*m.name != name);
        merged.push(Merged { name: name.into(), stands_for });
        pair
    }

    /// The column that a full join makes of two: each row of either side matters only together with one that has its value in it.
    fn of_either(
        &mut self,
        level: LevelId,
        (leaf, left): (LeafId, Column),
        (_, right): (LeafId, Column),
    ) -> Option<(LeafId, Column)> {
        let (Some(l), Some(r)) = (left.node, right.node) else { return None };
        if !self.comparable(l, r) || self.nodes[l].ty != self.nodes[r].ty || self.scope.catalog.customs.compare() {
            return None;
        }
        let node = self.add_made_node(leaf, self.nodes[l].ty, -1);
        self.edges.extend([(l, node), (r, node)]);
        self.levels[level].full_columns.push(node);
        Some((leaf, Column { node: Some(node), ..left }))
    }

    fn common_names(&self, left: &[LeafId], right: &[LeafId]) -> Option<Vec<Box<str>>> {
        let names = |leaves: &[LeafId]| -> Option<Vec<Box<str>>> {
            let mut names = Vec::new();
            for leaf in leaves {
                let columns = &self.leaves[*leaf].columns;
                if !columns.complete {
                    return None;
                }
                names.extend(columns.list.iter().map(|c| c.name.clone()));
            }
            Some(names)
        };
        let right = names(right)?;
        let mut common = names(left)?;
        common.retain(|name| right.contains(name));
        common.dedup();
        Some(common)
    }

    pub fn factor<'q>(&mut self, level: LevelId, factor: &'q TableFactor, ctes: &Ctes<'q>) -> Result<JoinTree, Stop> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version: None,
                with_ordinality,
                partitions,
                json_path: None,
                sample,
                index_hints,
            } if (with_hints.is_empty() || is_marked(with_hints) && args.is_none() && !is_only(name))
                && partitions.is_empty()
                && index_hints.is_empty() =>
            {
                self.factor = Some(std::ptr::from_ref(factor));
                let tree = if is_only(name) {
                    let (table, None) = (only(alias.as_ref())?, args) else {
                        return Err(Stop::NotUnderstood("this form of ONLY"));
                    };
                    self.table(level, &table, None, ctes)
                } else {
                    match args {
                        Some(args) if args.settings.is_none() => {
                            self.function_leaf(level, name, &args.args, *with_ordinality, alias.as_ref(), ctes)
                        }
                        None if !with_ordinality => self.table(level, name, alias.as_ref(), ctes),
                        _ => Err(Stop::NotUnderstood("this form of table function")),
                    }
                }?;
                if let Some(sample) = sample {
                    self.note_sample(&At { level, ctes: ctes.clone(), vary: false }, &tree, sample)?;
                }
                Ok(tree)
            }
            TableFactor::Derived { lateral, subquery, alias, sample: None } => {
                let outer = if *lateral { Some(level) } else { self.levels[level].outer };
                self.correlated += usize::from(*lateral);
                let tree = self.derived(level, alias.as_ref(), None, |model, leaf| {
                    let of = PartOf::Query(std::ptr::from_ref(&**subquery));
                    model.part(of, Some(leaf), |model| model.query(subquery, outer, Some(leaf), ctes))
                });
                self.correlated -= usize::from(*lateral);
                tree
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                self.function_leaf(level, name, args, *with_ordinality, alias.as_ref(), ctes)
            }
            TableFactor::UNNEST {
                alias,
                array_exprs,
                with_offset: false,
                with_offset_alias: None,
                with_ordinality,
            } => {
                let at = At { level, ctes: ctes.clone(), vary: false };
                self.walk_all(&at, array_exprs)?;
                let tree = self.opaque_leaf(level, "unnest", alias.as_ref())?;
                if let (false, JoinTree::Leaf(leaf), true) = (with_ordinality, &tree, array_exprs.iter().all(is_array))
                {
                    self.name_unnested(*leaf, array_exprs.len(), alias.as_ref());
                }
                Ok(tree)
            }
            TableFactor::XmlTable { namespaces, row_expression, passing, columns, alias } => {
                let at = At { level, ctes: ctes.clone(), vary: false };
                self.walk_all(&at, namespaces.iter().map(|namespace| &namespace.uri))?;
                self.walk(&at, row_expression)?;
                self.walk_all(&at, passing.arguments.iter().map(|argument| &argument.expr))?;
                for column in columns {
                    if let XmlTableColumnOption::NamedInfo { r#type, path, default, .. } = &column.option {
                        self.walk_type(r#type)?;
                        self.walk_all(&at, path.iter().chain(default))?;
                    }
                }
                self.opaque_leaf(level, "xmltable", alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.joined(level, table_with_joins, ctes),
            // A name in it that is none of its own is one of this level or, past this level, of a query around it: not told apart.
            TableFactor::NestedJoin { table_with_joins, alias } if self.levels[level].outer.is_none() => {
                self.derived(level, alias.as_ref(), None, |model, leaf| {
                    let inner = model.add_level(Some(level), Some(leaf));
                    model.levels[inner].wildcard = true;
                    let tree = model.from_list(inner, std::slice::from_ref(table_with_joins), ctes)?;
                    let spread = tree.as_ref().map_or(Spread::Same, |tree| model.spread_of(tree));
                    let columns = model.output(inner, &[SelectItem::Wildcard(WildcardAdditionalOptions::default())]);
                    Ok(super::query::Rows::new(columns, spread))
                })
            }
            _ => Err(Stop::NotUnderstood("this form of FROM item")),
        }
    }

    fn function_leaf<'q>(
        &mut self,
        level: LevelId,
        name: &ObjectName,
        args: &'q [FunctionArg],
        numbered: bool,
        alias: Option<&TableAlias>,
        ctes: &Ctes<'q>,
    ) -> Result<JoinTree, Stop> {
        let at = At { level, ctes: ctes.clone(), vary: false };
        self.walk_table_function(&at, name, args)?;
        let function = parts(name).map(|(_, name)| name).unwrap_or_default();
        let tree = self.opaque_leaf(level, &function, alias)?;
        // A function that returns plain values makes one column, which has the name of the FROM item.
        if let (
            false,
            JoinTree::Leaf(leaf),
            "generate_series",
            [FunctionArg::Unnamed(FunctionArgExpr::Expr(first)), ..],
        ) = (numbered, &tree, &*function, args)
        {
            let column = Column { name: self.leaves[*leaf].name.clone(), ty: type_of(self, level, first), node: None };
            let columns = &mut self.leaves[*leaf].columns;
            *columns = Columns { list: vec![column], complete: true };
            rename(columns, alias);
        }
        Ok(tree)
    }

    /// One column for each array; a single one has the name of the FROM item.
    fn name_unnested(&mut self, leaf: LeafId, arrays: usize, alias: Option<&TableAlias>) {
        let name: Box<str> = if arrays == 1 { self.leaves[leaf].name.clone() } else { "unnest".into() };
        let columns = &mut self.leaves[leaf].columns;
        let list = (0..arrays).map(|_| Column { name: name.clone(), ty: None, node: None }).collect();
        *columns = Columns { list, complete: true };
        rename(columns, alias);
    }

    /// A FROM item whose columns are not known and whose rows every shard makes itself.
    fn opaque_leaf(&mut self, level: LevelId, name: &str, alias: Option<&TableAlias>) -> Result<JoinTree, Stop> {
        let name = alias.map_or(name.into(), |alias| folded(&alias.name).into_owned());
        self.check_alias(alias)?;
        let leaf = Leaf { level, name: name.into(), schema: None, columns: Columns::default(), spread: Spread::Same };
        Ok(JoinTree::Leaf(self.add_leaf(leaf)?))
    }

    fn check_alias(&self, alias: Option<&TableAlias>) -> Result<(), Stop> {
        match alias {
            Some(alias) if alias.at.is_some() => Err(Stop::NotUnderstood("this form of alias")),
            _ => Ok(()),
        }
    }

    /// A subquery, CTE or view as a FROM item.
    fn derived(
        &mut self,
        level: LevelId,
        alias: Option<&TableAlias>,
        name: Option<&str>,
        read: impl FnOnce(&mut Self, LeafId) -> Result<super::query::Rows, Stop>,
    ) -> Result<JoinTree, Stop> {
        self.check_alias(alias)?;
        let name = alias.map(|a| folded(&a.name).into_owned()).or(name.map(str::to_owned)).unwrap_or_default();
        let columns = Columns { list: Vec::new(), complete: true };
        let leaf = Leaf { level, name: name.into(), schema: None, columns, spread: Spread::Same };
        let id = self.add_leaf(leaf)?;
        let rows = read(self, id)?;
        let leaf = &mut self.leaves[id];
        leaf.columns = rows.columns;
        leaf.spread = rows.spread;
        rename(&mut leaf.columns, alias);
        Ok(JoinTree::Leaf(id))
    }

    /// Notes what the walk over a query adds. `leaf`: the FROM item that it is.
    pub fn part(
        &mut self,
        of: PartOf,
        leaf: Option<LeafId>,
        walk: impl FnOnce(&mut Self) -> Result<super::query::Rows, Stop>,
    ) -> Result<super::query::Rows, Stop> {
        let ends = |model: &Self| (model.levels.len(), model.leaves.len(), model.refs.len(), model.subqueries.len());
        let before = ends(self);
        let rows = walk(self)?;
        let after = ends(self);
        if let (0, Some(collected)) = (self.view_depth, &mut self.collected) {
            collected.parts.push(Part {
                of,
                columns: if leaf.is_none() { rows.columns.clone() } else { Columns::default() },
                closed: self.correlated == 0,
                spread: rows.spread.clone(),
                bases: rows.bases.clone(),
                leaf,
                levels: before.0..after.0,
                leaves: before.1..after.1,
                refs: before.2..after.2,
                subqueries: before.3..after.3,
            });
        }
        Ok(rows)
    }

    fn table<'q>(
        &mut self,
        level: LevelId,
        name: &ObjectName,
        alias: Option<&TableAlias>,
        ctes: &Ctes<'q>,
    ) -> Result<JoinTree, Stop> {
        let (schema, table) = parts(name).ok_or(Stop::NotUnderstood("this form of table name"))?;
        if schema.is_none()
            && let Some(found) = self.find_cte(&table, ctes)
        {
            self.factor = None;
            return self.derived(level, alias, Some(&table), |model, leaf| {
                model.collected.iter_mut().for_each(|collected| collected.ctes.push(leaf));
                model.expand_cte(&found, leaf)
            });
        }
        let relation = self.relation(schema.as_deref(), &table)?;
        self.relation_leaf(level, schema, &table, relation, alias)
    }

    /// What a table name stands for. In a view's definition names are qualified; one that is not cannot be told.
    pub fn relation(&mut self, schema: Option<&str>, table: &str) -> Result<Relation, Stop> {
        if self.view_depth > 0
            && schema.is_none()
            && distributed_names(&self.scope).contains(table)
            && !table.starts_with("pg_")
        {
            return Err(Stop::NotUnderstood("an unqualified name in a view"));
        }
        let relation = resolve(&self.scope, schema, table);
        if let Relation::System = relation {
            check_connection_view(table).map_err(Stop::Refuse)?;
        }
        self.note_resolved(table, &relation);
        Ok(relation)
    }

    /// Adds the leaf of a table, sharded or not, or expands the view.
    pub fn relation_leaf(
        &mut self,
        level: LevelId,
        schema: Option<String>,
        name: &str,
        relation: Relation,
        alias: Option<&TableAlias>,
    ) -> Result<JoinTree, Stop> {
        self.check_alias(alias)?;
        let factor = self.factor.take().filter(|_| self.view_depth == 0);
        if let Relation::View { table, .. } = &relation {
            let view = table.clone();
            let before = self.refs.len();
            let tree = self.derived(level, alias, Some(name), |model, leaf| model.expand_view(&view, leaf))?;
            let place = self.scope.place_of(&view.name.schema);
            let sharded = self.refs.len() > before || place.shard != self.scope.topology.home;
            // Also one that reads nothing is where it was made.
            if place.schema.is_some() || !sharded && !distributed_names(&self.scope).contains(&view.name.name) {
                self.need_table(name, &place);
            }
            if let (Some(collected), Some(factor)) = (&mut self.collected, factor) {
                collected.views.push((factor, view, sharded));
            }
            return Ok(tree);
        }
        check_read(&self.scope, &relation)?;
        self.uses.note_sets(implicit::sets(&self.scope, &relation, false));
        let (leaf_name, leaf_schema) = match alias {
            Some(alias) => (folded(&alias.name).into_owned(), None),
            None => (name.to_owned(), schema),
        };
        let leaf = Leaf {
            level,
            name: leaf_name.into(),
            schema: leaf_schema.map(Into::into),
            columns: Columns::default(),
            spread: Spread::Same,
        };
        let id = self.add_leaf(leaf)?;
        if let (Some(collected), Some(factor)) = (&mut self.collected, factor) {
            collected.tables.push(TableUse { factor, leaf: id, relation: relation.clone() });
        }
        if factor.is_some_and(|factor| self.supplied.factors.contains(&factor))
            && let Relation::Sharded { table, .. }
            | Relation::Reference { table, .. }
            | Relation::Unsharded { table, .. } = &relation
        {
            self.leaves[id].columns = self.columns_of(id, table.as_deref());
            rename(&mut self.leaves[id].columns, alias);
            return Ok(JoinTree::Leaf(id));
        }
        match relation {
            Relation::Sharded { name, table, distribution, key } => {
                let mut columns = self.columns_of(id, table.as_deref());
                let types = &self.scope.topology.distribution(distribution).key_types.clone();
                let mut nodes = Vec::with_capacity(key.len());
                for (position, column) in key.iter().enumerate() {
                    let known = columns.list.iter().find(|c| c.name == *column).and_then(|c| c.node);
                    let node = match known {
                        Some(node) => node,
                        // The catalog does not have the table (yet), but the topology names its key.
                        None => {
                            let Some(ty) = types.get(position) else {
                                return Err(Stop::NotUnderstood("a sharding key that does not fit its distribution"));
                            };
                            let ty = ColumnType::plain(ty.oid());
                            let node = self.add_node(id, ty, -1);
                            columns.list.push(Column { name: column.clone(), ty: Some(ty), node: Some(node) });
                            node
                        }
                    };
                    nodes.push(node);
                }
                let uniques = self.uniques_of(&name, &columns);
                let reference = Reference {
                    leaf: id,
                    distribution,
                    name: Arc::new(KeyName { table: name.name.clone(), columns: key.join(", ").into() }),
                    key: nodes,
                    of: RowsOf::Table,
                    uniques,
                };
                self.refs.push(reference);
                let id_of_ref = self.refs.len() - 1;
                self.leaves[id].columns = columns;
                self.leaves[id].spread = Spread::Parted { refs: vec![id_of_ref], anchors: vec![id_of_ref] };
            }
            Relation::Reference { name, table } => {
                self.leaves[id].columns = self.columns_of(id, table.as_deref());
                self.copies.push((id, name.name.clone()));
                self.uses.reference.get_or_insert(name.name);
            }
            Relation::Unsharded { table, place } => {
                self.leaves[id].columns = self.columns_of(id, table.as_deref());
                self.need_table(name, &place);
            }
            Relation::System => {
                self.uses.system.get_or_insert_with(|| name.into());
            }
            Relation::View { .. } => return Err(Stop::NotUnderstood("a view here")),
        }
        rename(&mut self.leaves[id].columns, alias);
        Ok(JoinTree::Leaf(id))
    }

    /// The statement reads or changes a table that lies on one shard alone.
    pub fn need_table(&mut self, name: &str, place: &Place) {
        match place.is_home(&self.scope) {
            true => {
                self.uses.home.get_or_insert_with(|| format!("table {name:?}, which is not distributed").into());
            }
            false => self.uses.need(place),
        }
    }

    pub fn columns_of(&mut self, leaf: LeafId, table: Option<&Table>) -> Columns {
        let Some(table) = table else { return Columns::default() };
        let column = |c: &crate::catalog::Column| {
            let ty = ColumnType::new(c.type_oid, c.collation);
            let node = self.add_node(leaf, ty, c.typmod);
            Column { name: c.name.clone(), ty: Some(ty), node: Some(node) }
        };
        Columns { list: table.columns.iter().map(column).collect(), complete: true }
    }

    /// The columns of a table that are unique over all shards, where all of them are known.
    fn uniques_of(&self, table: &QualifiedName, columns: &Columns) -> Vec<(Arc<UniqueRule>, Vec<NodeId>)> {
        let node = |name: &Box<str>| {
            let node = columns.list.iter().find(|column| column.name == *name)?.node?;
            self.nodes[node].ty.collation.equality_is_bytes().then_some(node)
        };
        let rules = self.scope.topology.uniques.iter().filter(|rule| rule.table == *table);
        let known = |rule: &Arc<UniqueRule>| {
            Some((Arc::clone(rule), rule.columns.iter().map(node).collect::<Option<Vec<_>>>()?))
        };
        rules.filter_map(known).collect()
    }

    /// How the rows of a join lie, once every condition of the level is known.
    pub fn spread_of(&self, tree: &JoinTree) -> Spread {
        match tree {
            JoinTree::Leaf(leaf) => self.leaves[*leaf].spread.clone(),
            JoinTree::Inner(l, r) => match (self.spread_of(l), self.spread_of(r)) {
                (Spread::Tangled(why), _) | (_, Spread::Tangled(why)) => Spread::Tangled(why),
                (Spread::Same, other) | (other, Spread::Same) => other,
                (
                    Spread::Parted { refs: mut l_refs, anchors: mut l_anchors },
                    Spread::Parted { refs: r_refs, anchors: r_anchors },
                ) => {
                    let tied =
                        l_refs.iter().any(|l| r_refs.iter().any(|r| self.follows(*l, *r) || self.follows(*r, *l)));
                    if !tied {
                        return Spread::Tangled(self.untied(&l_refs, &r_refs));
                    }
                    l_refs.extend(r_refs);
                    l_anchors.extend(r_anchors);
                    Spread::Parted { refs: l_refs, anchors: l_anchors }
                }
            },
            JoinTree::Left(l, r) => match (self.spread_of(l), self.spread_of(r)) {
                (Spread::Tangled(why), _) | (_, Spread::Tangled(why)) => Spread::Tangled(why),
                (left, Spread::Same) => left,
                // A row without a match on one shard may have one on another.
                (Spread::Same, Spread::Parted { .. }) => Spread::Tangled(Obstacle::new(
                    "an outer join preserves the rows of a table that every shard has, beside a sharded table",
                )),
                (Spread::Parted { refs: mut l_refs, anchors }, Spread::Parted { refs: r_refs, .. }) => {
                    if !r_refs.iter().any(|r| l_refs.iter().any(|l| self.follows(*r, *l))) {
                        return Spread::Tangled(self.untied(&l_refs, &r_refs));
                    }
                    l_refs.extend(r_refs);
                    Spread::Parted { refs: l_refs, anchors }
                }
            },
            JoinTree::Full(l, r) => match (self.spread_of(l), self.spread_of(r)) {
                (Spread::Same, Spread::Same) => Spread::Same,
                (Spread::Tangled(why), _) | (_, Spread::Tangled(why)) => Spread::Tangled(why),
                (
                    Spread::Parted { refs: mut l_refs, anchors: l_anchors },
                    Spread::Parted { refs: r_refs, anchors: r_anchors },
                ) if self.are_joined_by_key(tree, &l_anchors, &r_anchors) => {
                    l_refs.extend(r_refs);
                    // The key of either side can be missing.
                    Spread::Parted { refs: l_refs, anchors: Vec::new() }
                }
                _ => Spread::Tangled(Obstacle::new("a full join of sharded tables")),
            },
        }
    }

    /// Whether rows of the two sides of a full join meet only where they have the same key.
    fn are_joined_by_key(&self, tree: &JoinTree, left: &[RefId], right: &[RefId]) -> bool {
        let Some(level) = tree.leaves().first().map(|leaf| self.leaves[*leaf].level) else { return false };
        let pairs: Vec<(NodeId, NodeId)> = match self.join_on(level, tree) {
            None => return false,
            Some(On::Equal(pairs)) => pairs.iter().map(|((_, l), (_, r))| (*l, *r)).collect(),
            Some(On::Condition(_)) if self.scope.catalog.customs.compare() => return false,
            Some(On::Condition(condition)) => {
                let pair = |part: &Expr| match unnest(part) {
                    Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                        Some((self.as_node(level, left)?.1, self.as_node(level, right)?.1))
                    }
                    _ => None,
                };
                conjuncts(condition).into_iter().filter_map(pair).collect()
            }
        };
        let is_key = |(l, r): (NodeId, NodeId)| {
            let meet = |(a, b): &(NodeId, NodeId)| {
                self.comparable(*a, *b)
                    && (self.are_equal(*a, l) && self.are_equal(*b, r)
                        || self.are_equal(*b, l) && self.are_equal(*a, r))
            };
            pairs.iter().any(meet)
        };
        left.iter().any(|l| {
            right.iter().any(|r| {
                let (l, r) = (&self.refs[*l], &self.refs[*r]);
                l.distribution == r.distribution && l.key.iter().copied().zip(r.key.iter().copied()).all(is_key)
            })
        })
    }

    fn untied(&self, left: &[usize], right: &[usize]) -> Obstacle {
        let name = |refs: &[usize]| refs.first().map_or("", |r| &*self.refs[*r].name.table).to_owned();
        if left.is_empty() || right.is_empty() {
            return Obstacle::new("the rows of a set operation are not joined by a sharding key of all of its queries")
                .hint("Select the sharding key in the same place of every query, and join by it.");
        }
        Obstacle::new(format!("tables \"{}\" and \"{}\" are not joined by their sharding keys", name(left), name(right)))
            .hint("Join tables of one distribution by equality of all sharding-key columns, or make one of them a reference table.")
    }
}

/// `ONLY` is a keyword in Postgres; the parser takes it for a table of that name.
pub(crate) fn is_only(name: &ObjectName) -> bool {
    matches!(&name.0[..], [part] if part.as_ident().is_some_and(|i| i.quote_style.is_none() && i.value.eq_ignore_ascii_case("only")))
}

/// The table of `ONLY table`, which the parser takes for the alias of a table called ONLY.
pub(crate) fn only(alias: Option<&TableAlias>) -> Result<ObjectName, Stop> {
    match alias {
        Some(alias) if alias.columns.is_empty() && alias.at.is_none() => Ok(ObjectName::from(vec![alias.name.clone()])),
        _ => Err(Stop::NotUnderstood("this form of ONLY")),
    }
}

/// Whether it is an array of plain values, by a cast to a type of Postgres's own. (One of rows makes several columns.)
fn is_array(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_array(inner),
        Expr::Cast { data_type: DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)), .. } => {
            !matches!(**element, DataType::Custom(..) | DataType::Array(_))
        }
        _ => false,
    }
}

/// Gives the columns the names of an alias's column list.
pub(crate) fn rename(columns: &mut Columns, alias: Option<&TableAlias>) {
    let Some(alias) = alias else { return };
    rename_to(columns, alias.columns.iter().map(|c| &c.name));
}

pub(crate) fn rename_to<'a>(columns: &mut Columns, names: impl Iterator<Item = &'a Ident>) {
    for (i, name) in names.enumerate() {
        match columns.list.get_mut(i) {
            Some(column) if columns.complete => column.name = folded(name).into(),
            // Which columns the new names go to is not known, so neither old nor new ones mean anything.
            _ => {
                columns.list.clear();
                columns.complete = false;
                return;
            }
        }
    }
}

/// Whether a literal is read alike beside values of both types, as far as it can be one of both.
fn is_compared_alike(left: Oid, right: Oid) -> bool {
    let all = |of: &[Oid]| of.contains(&left) && of.contains(&right);
    all(&[oid::INT2, oid::INT4, oid::INT8]) || all(&[oid::TEXT, oid::VARCHAR])
}
