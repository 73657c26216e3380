//! Statements in WITH that change data. One Postgres carries each of them out once and whole, whatever the rest asks of it, and nobody in the
//! statement sees what it did but through RETURNING. So does each shard with its own rows; what is returned lies where the changed
//! rows lie.

use std::sync::Arc;

use sqlparser::ast::{Cte, Insert, SelectItem, SetExpr, Statement, TableObject};

use crate::fault::Fault;
use crate::ids::DistributionId;
use crate::sql::conflicts::{check_conflict, conflict_assignments, walk_conflict};
use crate::sql::defaults::{check_assigned, reads_clock};
use crate::sql::exprs::{At, Ctes};
use crate::sql::from::JoinTree;
use crate::sql::implicit::{self, check_defaults, check_written};
use crate::sql::insert::{
    assigned, check_insert, check_view, column_list, stored_types, target_level, walk_returning, write_reference,
};
use crate::sql::insert_keys::{InsertSource, Keys, Target, keys_of, source};
use crate::sql::keys::{KeyName, RowKey};
use crate::sql::left_out::{
    check_sources, omitted, refuse_sequence_defaults, refuse_varying, refuse_varying_defaults, sequence_of,
};
use crate::sql::model::{Column, Columns, LeafId, LevelId, Model, NodeId, Obstacle, Reference, RowsOf, Spread, Stop};
use crate::sql::modify::{Changed, key_change, walk_delete, walk_update};
use crate::sql::names::{Relation, folded, parts};
use crate::sql::outcome::{InsertRows, Many, ManyRows, Outcome, Routed, Why};
use crate::sql::query::Rows;
use crate::sql::supplying;
use crate::sql::through::{Written, written};

/// What a statement in WITH returns.
#[derive(Clone, Debug)]
pub(crate) struct Modified {
    /// That has the changed table.
    pub level: LevelId,
    pub columns: Columns,
    /// Type modifiers of the columns, -1 where there is none or it is not known.
    typmods: Vec<i32>,
    /// Of rows of a sharded table: where its key is among the columns.
    key: Option<Key>,
}

#[derive(Clone, Debug)]
struct Key {
    distribution: DistributionId,
    name: Arc<KeyName>,
    places: Vec<Option<usize>>,
    /// The nodes of the table's own key.
    nodes: Vec<NodeId>,
}

/// Rows that a statement in WITH inserts, on the shard of these keys and no other.
#[derive(Clone, Debug)]
pub(crate) struct Fixed {
    distribution: DistributionId,
    name: Arc<KeyName>,
    rows: Vec<RowKey>,
    typmods: smallvec::SmallVec<[i32; 1]>,
}

impl Model<'_> {
    /// Walks a statement in WITH that changes data.
    pub fn modifying_cte<'q>(&mut self, cte: &'q Cte, ctes: &Ctes<'q>) -> Result<(), Stop> {
        self.uses.writing_cte = true;
        let query = &*cte.query;
        let ctes = self.with(query.with.as_ref(), ctes)?;
        let modified = match &*query.body {
            SetExpr::Update(Statement::Update(update)) => {
                let changed = walk_update(self, update, &ctes)?;
                if let (Relation::Sharded { key, .. }, Some(_)) = (&changed.relation, changed.reference)
                    && let Some(name) = assigned(&update.assignments).find(|name| key.iter().any(|k| **k == **name))
                {
                    return Err(key_change(&name).into());
                }
                self.note_returned_below(changed.level, update.returning.as_deref());
                self.changed_rows(&changed, update.returning.as_deref())?
            }
            SetExpr::Delete(Statement::Delete(delete)) => {
                let changed = walk_delete(self, delete, &ctes)?;
                self.note_returned_below(changed.level, delete.returning.as_deref());
                self.changed_rows(&changed, delete.returning.as_deref())?
            }
            SetExpr::Insert(Statement::Insert(insert)) => self.inserted_rows(insert, &ctes)?,
            SetExpr::Merge(_) => return Err(Stop::NotUnderstood("MERGE inside WITH")),
            _ => return Err(Stop::NotUnderstood("this form of WITH")),
        };
        self.unused_ctes(query.with.as_ref(), &ctes)?;
        self.modified.insert(std::ptr::from_ref(cte), modified);
        Ok(())
    }

    /// Of UPDATE and DELETE.
    fn changed_rows(&mut self, changed: &Changed, returning: Option<&[SelectItem]>) -> Result<Modified, Stop> {
        if let Relation::Reference { name, .. } = &changed.relation {
            // Which of several rows an UPDATE takes could be another on each shard.
            if changed.apart.is_some() || !matches!(changed.tree, JoinTree::Leaf(_)) {
                return Err(refuse_reference(&name.name).into());
            }
            self.uses.cte_writes_copies.get_or_insert_with(|| name.name.clone());
            return Ok(self.returned(changed.level, 0, returning, None));
        }
        self.uses.cte_writes_parts = true;
        match self.spread_of(&changed.tree) {
            Spread::Parted { .. } => {}
            Spread::Tangled(why) => self.hinder(why),
            Spread::Same => self.hinder(Obstacle::new("WITH changes a table that is not sharded")),
        }
        match (&changed.relation, changed.reference.and_then(|id| self.refs.get(id)).cloned()) {
            (Relation::Sharded { .. }, Some(of)) => {
                let key = Key { distribution: of.distribution, name: of.name, places: Vec::new(), nodes: of.key };
                Ok(self.returned(changed.level, of.leaf, returning, Some(key)))
            }
            _ => Ok(self.returned(changed.level, 0, returning, None)),
        }
    }

    fn inserted_rows<'q>(&mut self, insert: &'q Insert, ctes: &Ctes<'q>) -> Result<Modified, Stop> {
        check_insert(insert)?;
        let TableObject::TableName(name) = &insert.table else {
            return Err(Stop::NotUnderstood("this form of INSERT"));
        };
        let (schema, table_name) = parts(name).ok_or(Stop::NotUnderstood("this form of table name"))?;
        let named = self.relation(schema.as_deref(), &table_name)?;
        let Written { relation, hidden, apart } = written(&self.scope, named)?;
        check_written(&self.scope, &relation)?;
        self.uses.note_sets(implicit::sets(&self.scope, &relation, true));
        self.uses.random |= implicit::draws(&relation);
        let alias = insert.table_alias.as_ref().map(|alias| folded(&alias.alias).into_owned());
        let level = target_level(self, alias.unwrap_or(table_name.clone()), relation.table())?;
        let columns = column_list(insert)?;
        let source = source(self, insert, ctes, &stored_types(relation.table(), columns.as_deref()))?;
        if let Some(table) = relation.table() {
            check_defaults(&self.scope, &relation, &omitted(table, columns.as_deref(), &source))?;
            check_view(table, &hidden, apart)?;
        }
        let at = At { level, ctes: ctes.clone(), vary: true };
        walk_conflict(self, &at, insert)?;
        walk_returning(self, &at, insert.returning.as_deref())?;
        self.note_returned_below(level, insert.returning.as_deref());
        let returning = insert.returning.as_deref();
        self.uses.cte_writes_parts |= !matches!(relation, Relation::Reference { .. });
        match relation {
            Relation::Reference { name, table: Some(table) } => {
                if let InsertSource::Query(Spread::Tangled(why), _) = &source {
                    return Err(why.clone().fault().into());
                }
                refuse_varying_defaults(&self.scope, &table, &omitted(&table, columns.as_deref(), &source))?;
                refuse_varying(&self.scope, &table, &hidden)?;
                refuse_sequence_defaults(&table, conflict_assignments(insert))?;
                let relation = Relation::Reference { name: name.clone(), table: Some(table) };
                check_assigned(self, &relation, conflict_assignments(insert))?;
                self.uses.cte_writes_copies.get_or_insert_with(|| name.name.clone());
                Ok(self.returned(level, 0, returning, None))
            }
            Relation::Reference { name, table: None } => Err(refuse_reference(&name.name).into()),
            Relation::View { .. } => Err(Stop::NotUnderstood("INSERT into a view")),
            Relation::Unsharded { table, place } => {
                self.need_table(&table_name, &place);
                if let Some(table) = &table {
                    let left = omitted(table, columns.as_deref(), &source);
                    check_sources(&self.scope, table, &left, &place)?;
                    self.uses.takes_any |= table.has_triggers;
                    self.uses.takes.extend(left.iter().filter_map(|at| sequence_of(table.columns.get(*at)?)));
                }
                self.hinder(Obstacle::new("WITH changes a table that is not sharded"));
                Ok(self.returned(level, 0, returning, None))
            }
            Relation::System => Err(Stop::NotUnderstood("a change of a system table in WITH")),
            Relation::Sharded { name, table, distribution, key } => {
                let target = Target { name, table, distribution, key, hidden };
                check_conflict(&self.scope, insert, &target)?;
                self.check_conflict_defaults(insert, &target)?;
                let left = target.table.as_deref().map(|table| omitted(table, columns.as_deref(), &source));
                match keys_of(self, &target, columns, &source, true)? {
                    Keys::Rows(rows) => {
                        let (name, typmods) = (target.key_name(), target.typmods());
                        self.fixed.push(Fixed { distribution, name, rows, typmods });
                        self.hinder(Obstacle::new("WITH inserts rows of given keys, which each shard would insert"));
                    }
                    Keys::Lie(Spread::Parted { .. }) => {}
                    Keys::Lie(Spread::Tangled(why)) => self.hinder(why),
                    Keys::Lie(Spread::Same) => self.hinder(Obstacle::new("WITH inserts rows that every shard has")),
                }
                let clock = |table: &crate::catalog::Table, at: &usize| {
                    table.columns.get(*at).is_some_and(|column| reads_clock(&self.scope, column))
                };
                if let (Some(table), Some(left)) = (target.table.as_deref(), left)
                    && (left.iter().any(|at| clock(table, at))
                        || target.hidden.iter().any(|column| reads_clock(&self.scope, column)))
                {
                    self.uses.reads_time.hide("a default of rows that WITH inserts");
                    self.hinder(Obstacle::new("WITH inserts rows with defaults that read the clock"));
                }
                let leaf = self.levels[level].leaves.first().copied().unwrap_or_default();
                let node = |key: &Box<str>| {
                    let columns = &self.leaves[leaf].columns.list;
                    columns.iter().find(|column| column.name == *key).and_then(|column| column.node)
                };
                let nodes: Option<Vec<NodeId>> = target.key.iter().map(node).collect();
                let name = target.key_name();
                let key = nodes.map(|nodes| Key { distribution, name, places: Vec::new(), nodes });
                Ok(self.returned(level, leaf, returning, key))
            }
        }
    }

    fn check_conflict_defaults(&mut self, insert: &Insert, target: &Target) -> Result<(), Fault> {
        use sqlparser::ast::{OnConflict, OnConflictAction, OnInsert};
        let Some(OnInsert::OnConflict(OnConflict { action: OnConflictAction::DoUpdate(update), .. })) = &insert.on
        else {
            return Ok(());
        };
        let relation = Relation::Sharded {
            name: target.name.clone(),
            table: target.table.clone(),
            distribution: target.distribution,
            key: target.key.clone(),
        };
        check_assigned(self, &relation, &update.assignments)
    }

    /// What RETURNING makes of the rows. `leaf`: of the changed table.
    fn returned(&self, level: LevelId, leaf: LeafId, items: Option<&[SelectItem]>, key: Option<Key>) -> Modified {
        let mut columns = self.output(level, items.unwrap_or_default());
        let node = |column: &Column| column.node.and_then(|node| self.nodes.get(node));
        let typmods = columns.list.iter().map(|column| node(column).map_or(-1, |node| node.typmod)).collect();
        // A column that another equals in the old row has its own value in the new one.
        let is = |column: &Column, key: NodeId| {
            column
                .node
                .is_some_and(|node| node == key || (self.nodes[node].leaf != leaf && self.reach(key).contains(&node)))
        };
        let key = key.map(|key| {
            let place = |node: &NodeId| columns.list.iter().position(|column| is(column, *node));
            Key { places: key.nodes.iter().map(place).collect(), ..key }
        });
        columns.list.iter_mut().for_each(|column| column.node = None);
        Modified { level, columns, typmods, key }
    }

    /// The rows at one place where they are used. What is asked of them there holds for that use alone, not for what was changed.
    pub fn use_modified(&mut self, cte: *const Cte, leaf: LeafId) -> Rows {
        let Some(Modified { mut columns, typmods, key, .. }) = self.modified.get(&cte).cloned() else {
            return Rows { bases: Vec::new(), ..Rows::new(Columns::default(), Spread::Same) };
        };
        for (column, typmod) in columns.list.iter_mut().zip(typmods) {
            column.node = column.ty.map(|ty| self.add_node(leaf, ty, typmod));
        }
        let Some(Key { distribution, name, places, nodes }) = key else {
            return Rows::new(columns, Spread::Same);
        };
        let mut returned = true;
        let mut key = Vec::new();
        for (place, node) in places.iter().zip(nodes) {
            let found = place.and_then(|at| columns.list.get(at)).and_then(|column| column.node);
            returned &= found.is_some();
            let (ty, typmod) = (self.nodes[node].ty, self.nodes[node].typmod);
            key.push(found.unwrap_or_else(|| self.add_node(leaf, ty, typmod)));
        }
        self.refs.push(Reference { leaf, distribution, name, key, of: RowsOf::Change, uniques: Vec::new() });
        let id = self.refs.len() - 1;
        let anchors = if returned && columns.complete { vec![id] } else { Vec::new() };
        let spread = Spread::Parted { refs: vec![id], anchors };
        Rows::new(columns, spread)
    }
}

/// A statement whose WITH inserts rows of given keys runs on the shard of these; all else that it names must be there too.
pub(crate) fn with_fixed(model: &Model<'_>, outcome: Outcome) -> Outcome {
    let Some(first) = model.fixed.first() else { return outcome };
    let refused = || {
        Fault::unsupported(
            "statement is not supported across shards",
            "WITH inserts rows of given keys, and all of the statement must run on their shard",
            "Give all rows and conditions the same value of the sharding key, or insert the rows in a statement of their own.",
        )
    };
    let same = model.fixed.iter().all(|of| of.distribution == first.distribution && of.typmods == first.typmods);
    let mut rows: Vec<RowKey> = model.fixed.iter().flat_map(|of| of.rows.iter().cloned()).collect();
    let mut many = Err(refused());
    let (groups, also) = match outcome {
        Outcome::Routed(Routed { groups, also, key_change: None, many: around, .. }) => {
            // The rows are pulled then as they are inserted, whatever there is of them on each shard.
            many = match around {
                Ok(Many::Finish(finish)) => Ok(ManyRows::Finish(finish)),
                Ok(Many::Deliver(delivery)) => Ok(ManyRows::Deliver(delivery)),
                Ok(Many::Supply(supply)) => Ok(ManyRows::Supply(supply)),
                Ok(Many::Scatter(_) | Many::Claim(_) | Many::Locked(_) | Many::Fill(_)) => Err(refused()),
                Err(why) => Err(supplying::refused(&refused(), why.detail.as_deref().unwrap_or(&why.message))),
            };
            (groups, also)
        }
        Outcome::Insert(insert) if insert.distribution == first.distribution && insert.typmods == first.typmods => {
            rows.extend(insert.rows);
            if let Ok(ManyRows::Deliver(delivery)) = insert.many {
                many = Ok(ManyRows::Deliver(delivery));
            }
            (insert.groups, insert.also)
        }
        // Rows of other keys: what WITH inserts is pulled, wherever these are.
        Outcome::Insert(InsertRows { many: Ok(ManyRows::Deliver(delivery)), .. }) | Outcome::Deliver(delivery) => {
            return Outcome::Deliver(delivery);
        }
        Outcome::Supply(supply) => return Outcome::Supply(supply),
        Outcome::Home(_) | Outcome::Shard(..) | Outcome::Any(_) => (model.groups(), model.needs()),
        Outcome::Refuse(fault) => return Outcome::Refuse(fault),
        Outcome::Routed(_)
        | Outcome::Insert(_)
        | Outcome::Broadcast(_)
        | Outcome::Parts(..)
        | Outcome::Each(..)
        | Outcome::CreateAs(_)
        | Outcome::Stamp(_)
        | Outcome::CopyIn(_)
        | Outcome::Draw(_) => return Outcome::Refuse(refused()),
    };
    if !same {
        return Outcome::Refuse(refused());
    }
    let (distribution, name, typmods) = (first.distribution, first.name.clone(), first.typmods.clone());
    Outcome::Insert(InsertRows { distribution, name, rows, typmods, groups, also, many, uncertain: None })
}

/// Whether each shard makes the same of all that the statement changes, where that is of a reference table.
pub(crate) fn same_everywhere(model: &Model<'_>, table: &str) -> Result<Outcome, Fault> {
    if let Some(obstacle) = &model.obstacle {
        return Err(obstacle.clone().fault());
    }
    match write_reference(model, table) {
        Ok(outcome) if model.fixed.is_empty() && !model.uses.locking => Ok(outcome),
        Ok(_) => Err(refuse_reference(table)),
        Err(Stop::Refuse(fault)) => Err(fault),
        Err(Stop::NotUnderstood(_)) => Err(refuse_reference(table)),
    }
}

/// A statement whose WITH changes reference tables: every shard runs all of it, if each makes the same of it, and one answers. Else every
/// shard makes the changes, and the rest is made of the rows that one of them returns.
pub(crate) fn with_copies(model: &Model<'_>, outcome: Outcome) -> Outcome {
    let Some(table) = &model.uses.cte_writes_copies else { return outcome };
    let refused = |why: Fault| {
        let detail = why.detail.clone().unwrap_or_else(|| why.message.clone());
        Outcome::Refuse(refuse_reference(table).detail(detail))
    };
    match outcome {
        Outcome::Refuse(_) | Outcome::Broadcast(Why::Reference) => outcome,
        Outcome::Deliver(delivery) if delivery.finish.writes_copies() => Outcome::Deliver(delivery),
        Outcome::Supply(supply) if supply.finish.writes_copies() => Outcome::Supply(supply),
        Outcome::Routed(Routed { many: Ok(many), key_change: None, .. }) if many.writes_copies() => {
            // No shard has all of it, whatever its conditions say.
            let also = model.scope.topology.all_shards();
            Outcome::Routed(Routed {
                groups: model.groups(),
                also,
                key_change: None,
                found_by: Vec::new(),
                many: Ok(many),
            })
        }
        Outcome::Routed(Routed { many: Err(why), .. }) if !model.uses.writing => {
            same_everywhere(model, table).unwrap_or_else(|_| refused(why))
        }
        Outcome::Home(_) | Outcome::Shard(..) | Outcome::Any(_) | Outcome::Routed(_) if !model.uses.writing => {
            same_everywhere(model, table).unwrap_or_else(refused)
        }
        Outcome::Home(_)
        | Outcome::Shard(..)
        | Outcome::Any(_)
        | Outcome::Routed(_)
        | Outcome::Broadcast(_)
        | Outcome::Parts(..)
        | Outcome::Each(..)
        | Outcome::CreateAs(_)
        | Outcome::Stamp(_)
        | Outcome::CopyIn(_)
        | Outcome::Insert(_)
        | Outcome::Draw(_)
        | Outcome::Deliver(_)
        | Outcome::Supply(_) => Outcome::Refuse(refuse_reference(table)),
    }
}

fn refuse_reference(table: &str) -> Fault {
    Fault::unsupported(
        format!("writing to reference table \"{table}\" inside WITH is not supported"),
        "the write must reach every shard, and the statement around it runs on one",
        "Send the write as a statement of its own.",
    )
}
