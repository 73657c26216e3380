//! UPDATE and DELETE: on the shards that their conditions allow. Rows whose sharding key changes are moved.

use std::sync::Arc;

use sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Statement, TableFactor, TableWithJoins, Update,
    UpdateTableFromKind, With,
};

use crate::catalog::{Sets, Table};
use crate::fault::Fault;
use crate::sql::analyze::{Analyzer, routed_by_values};
use crate::sql::defaults::{check_assigned, written_clock_default};
use crate::sql::exprs::{At, Ctes};
use crate::sql::finish::Parsed;
use crate::sql::from::{JoinTree, is_only, only};
use crate::sql::implicit::{self, check_written};
use crate::sql::insert::{assigned, is_default, refuse_reference, walk_assignments, walk_returning, write_reference};
use crate::sql::keys::{KeyExpr, Operand, Value};
use crate::sql::left_out::{refuse_sequence_defaults, set_from_sequences};
use crate::sql::matches::several_match;
use crate::sql::model::{LevelId, Model, Obstacle, Spread, Stop};
use crate::sql::moving::{Moving, alias_of};
use crate::sql::moving_from::Unjoined;
use crate::sql::moving_supply::printed;
use crate::sql::names::{Relation, parts};
use crate::sql::outcome::{KeyChange, Many, Outcome, Routed, Scatter};
use crate::sql::percall::check_calls;
use crate::sql::shape::{check_clock, check_places, check_scatter};
use crate::sql::supply::Supply;
use crate::sql::supplying::{self, Sorted, Supplying, Walked, is_update, said, several};
use crate::sql::through::{Written, is_through_view, written};

/// The table that a statement changes.
#[derive(Clone)]
pub(crate) struct Changed {
    pub relation: Relation,
    pub level: LevelId,
    pub tree: JoinTree,
    /// Its place among the model's references, where it is sharded.
    pub reference: Option<usize>,
    /// It is changed through a view of which a shard cannot tell by a row alone whether it shows that.
    pub apart: Option<Obstacle>,
}

impl Analyzer<'_> {
    pub(crate) fn update<'q>(
        &self,
        model: &mut Model<'_>,
        parsed: &Parsed<'_>,
        update: &'q Update,
        ctes: &Ctes<'q>,
        with: Option<&'q With>,
    ) -> Result<Outcome, Stop> {
        let changed = match walk_update(model, update, ctes) {
            Err(Stop::Refuse(fault)) if with.is_none() => {
                return self.defaults_once(model, parsed, update).ok_or(Stop::Refuse(fault));
            }
            changed => changed?,
        };
        model.unused_ctes(with, ctes)?;
        let change = self.key_change(model, parsed, update, with, &changed);
        let copies = copies_of(model, &changed, with);
        let sharded = match &changed.relation {
            Relation::Sharded { table: Some(table), key, .. } if with.is_none() && changed.apart.is_none() => {
                Some((Arc::clone(table), key.clone()))
            }
            _ => None,
        };
        let outcome = self
            .change_outcome(model, parsed, with, changed, Sorted::Any, |model, ctes| walk_update(model, update, ctes));
        let outcome = match (outcome, sharded) {
            (
                Ok(Outcome::Routed(Routed { many: Err(reason), groups, also, key_change, found_by })),
                Some((table, key)),
            ) => {
                let supply = self.with_clock_defaults(parsed, update, &table, &reason).or_else(|| {
                    let plain = change.is_none() && model.uses.home_function && !is_through_view(Some(&table));
                    let once = plain.then(|| self.update_once(model, parsed, update, &table, Some(&key)))??;
                    if let Outcome::Supply(supply) = once { Some(supply) } else { None }
                });
                let many = supply.map(Many::Supply).ok_or(reason);
                Ok(Outcome::Routed(Routed { many, groups, also, key_change, found_by }))
            }
            (outcome, _) => outcome,
        };
        let once = |table: &Arc<Table>| self.update_once(model, parsed, update, table, None);
        let outcome = match outcome {
            Err(Stop::Refuse(fault)) => copies.as_ref().and_then(once).ok_or(Stop::Refuse(fault)),
            other => other,
        }?;
        Ok(match outcome {
            Outcome::Routed(routed) => Outcome::Routed(Routed { key_change: change.map(Box::new), ..routed }),
            other => other,
        })
    }

    pub(crate) fn delete<'q>(
        &self,
        model: &mut Model<'_>,
        parsed: &Parsed<'_>,
        delete: &'q Delete,
        ctes: &Ctes<'q>,
        with: Option<&'q With>,
    ) -> Result<Outcome, Stop> {
        let changed = walk_delete(model, delete, ctes)?;
        model.unused_ctes(with, ctes)?;
        let copies = copies_of(model, &changed, with);
        let outcome = self
            .change_outcome(model, parsed, with, changed, Sorted::Any, |model, ctes| walk_delete(model, delete, ctes));
        let once = |table: &Arc<Table>| self.delete_once(model, parsed, delete, table);
        match outcome {
            Err(Stop::Refuse(fault)) => copies.as_ref().and_then(once).ok_or(Stop::Refuse(fault)),
            other => other,
        }
    }

    /// `walk`: over the statement, as `changed` was made.
    pub fn change_outcome<'q>(
        &self,
        model: &Model<'_>,
        parsed: &Parsed<'_>,
        with: Option<&'q With>,
        changed: Changed,
        sorted: Sorted,
        walk: impl Fn(&mut Model<'_>, &Ctes<'q>) -> Result<Changed, Stop>,
    ) -> Result<Outcome, Stop> {
        let supplied = |reason: &Fault| match &changed.apart {
            // What is sent along does not come to where the view's condition is checked.
            Some(apart) => Err(supplying::refused(reason, &apart.detail)),
            None => self.supplied(parsed, with, reason, sorted, &walk),
        };
        match changed.relation {
            Relation::Reference { name, .. } if changed.apart.is_some() => {
                let why = changed.apart.map_or_else(String::new, |apart| apart.detail.into_owned());
                Err(refuse_reference(&name.name, why).into())
            }
            Relation::Reference { name, .. } => match same_everywhere(model, &name.name, &changed.tree) {
                Err(Stop::Refuse(reason)) => Ok(Outcome::Supply(supplied(&reason)?)),
                done @ Ok(_) if is_update(parsed.tree) && !matches!(changed.tree, JoinTree::Leaf(_)) => {
                    let mut again = Model::new(self.scope, parsed.literals(self), self.used.clone());
                    again.collected = Some(Box::default());
                    let ctes = again.with(with, &None)?;
                    let changed = walk(&mut again, &ctes)?;
                    match several_match(&again, changed.level, &[]) {
                        // Rows of groups are put together once: what they are made of can lie in another order on each shard.
                        Some(other) => {
                            let reason = refuse_reference(&name.name, several(&other));
                            Ok(Outcome::Supply(supplied(&reason)?))
                        }
                        None => done,
                    }
                }
                done => done,
            },
            Relation::Sharded { .. } | Relation::Unsharded { .. } | Relation::System => {
                let copies = model.uses.cte_writes_copies.is_some();
                if model.refs.is_empty() && !copies {
                    return Ok(self.unsharded_outcome(model));
                }
                let many = match on_many(self, model, parsed.tree, &changed.tree) {
                    // Shards that have none of its rows must make that change too.
                    Ok(_) if copies => Err(Obstacle::new("WITH changes a reference table, which is on every shard")),
                    many => many,
                };
                let many = many.map_err(Obstacle::fault);
                Ok(routed_by_values(model, many.or_else(|reason| supplied(&reason).map(Many::Supply))))
            }
            Relation::View { .. } => Err(Stop::NotUnderstood("a change through a view")),
        }
    }

    /// Of a change that names no sharded table: it runs where the tables are, if that is one shard.
    pub fn unsharded_outcome(&self, model: &Model<'_>) -> Outcome {
        let many = check_scatter(model, &Spread::Same).and(Err(Obstacle::new("no sharded table")));
        self.read_outcome(model, many.map_err(Obstacle::fault))
    }

    /// What is sent along so that the statement can run; or `reason`, with what stands in its way.
    pub fn supplied<'q>(
        &self,
        parsed: &Parsed<'_>,
        with: Option<&'q With>,
        reason: &Fault,
        sorted: Sorted,
        walk: impl Fn(&mut Model<'_>, &Ctes<'q>) -> Result<Changed, Stop>,
    ) -> Result<Arc<Supply>, Fault> {
        self.supply_of(parsed, with, reason, sorted, walk).map_err(|why| supplying::refused(reason, &why))
    }

    /// The same, or what stands in its way, in words.
    pub fn supply_of<'q>(
        &self,
        parsed: &Parsed<'_>,
        with: Option<&'q With>,
        reason: &Fault,
        sorted: Sorted,
        walk: impl Fn(&mut Model<'_>, &Ctes<'q>) -> Result<Changed, Stop>,
    ) -> Result<Arc<Supply>, String> {
        let walk = |model: &mut Model<'_>| {
            let ctes = model.with(with, &None)?;
            let changed = walk(model, &ctes)?;
            model.unused_ctes(with, &ctes)?;
            let spread = model.spread_of(&changed.tree);
            Ok(Walked { relation: changed.relation, level: changed.level, reference: changed.reference, spread })
        };
        let supplying = Supplying { of: self, parsed, reason, sorted };
        supplying.supply(walk).map(Arc::new)
    }

    /// What is sent along where SET gives columns defaults that read the clock: the statement with these defaults written into it reads the
    /// client's time.
    fn with_clock_defaults(
        &self,
        parsed: &Parsed<'_>,
        update: &Update,
        table: &Table,
        reason: &Fault,
    ) -> Option<Arc<Supply>> {
        let mut written = update.clone();
        let mut found = false;
        for assignment in &mut written.assignments {
            let names: Vec<String> = assigned(std::slice::from_ref(assignment)).collect();
            let values: Vec<&mut Expr> = match &mut assignment.value {
                Expr::Tuple(members) => members.iter_mut().collect(),
                value => vec![value],
            };
            for (name, value) in names.iter().zip(values).filter(|(_, value)| is_default(value)) {
                let (_, column) = table.column(name)?;
                if let Some(default) = written_clock_default(&self.scope, column) {
                    (*value, found) = (default, true);
                }
            }
        }
        if !found {
            return None;
        }
        let (tree, other) = printed(self, parsed, &Statement::Update(written))?;
        let parsed = Parsed { tree: &tree, bytes: parsed.bytes.clone(), other: Some(other) };
        let Statement::Update(update) = &tree else { return None };
        self.supply_of(&parsed, None, reason, Sorted::Any, |model, ctes| walk_update(model, update, ctes)).ok()
    }

    /// What becomes of rows whose key an UPDATE sets.
    fn key_change(
        &self,
        model: &Model<'_>,
        parsed: &Parsed<'_>,
        update: &Update,
        with: Option<&With>,
        changed: &Changed,
    ) -> Option<KeyChange> {
        let (Relation::Sharded { name, table, distribution, key }, Some(reference)) =
            (&changed.relation, changed.reference)
        else {
            return None;
        };
        let set = set_keys(model, update, key, reference, changed.level);
        let column = set.iter().position(|set| !matches!(set, SetKey::Kept))?;
        let refused = key_change(&key[column]);
        let refuse = |why: String| {
            let before = refused.detail.as_deref().unwrap_or_default();
            Err(refused.clone().detail(format!("{before}; and {why}")))
        };
        let group = model.group_of(reference);
        let moved = match table {
            None => refuse("the table is not in the catalog".to_owned()),
            Some(table) if is_through_view(Some(table)) => refuse("the row would be moved through a view".to_owned()),
            Some(table) => {
                let (distribution, group) = (*distribution, group.clone());
                let place = (changed.level, model.refs[reference].leaf);
                let mut scratch = Model::new(self.scope, parsed.literals(self), self.used.clone());
                let ctes = scratch.with(with, &None).and_then(|ctes| {
                    walk_update(&mut scratch, update, &ctes)?;
                    Ok(ctes)
                });
                let unjoined = ctes.map_err(said).and_then(|ctes| {
                    let alias = alias_of(update)?;
                    Unjoined::of(model, place, &alias, update, (&mut scratch, &ctes))
                });
                let moved = unjoined.and_then(|unjoined| {
                    let moving = Moving { of: self, parsed, unjoined, with, name, table, distribution, key, group };
                    let supply = moving.supply(&refused)?;
                    moving.delivery(&refused, supply)
                });
                moved.map(Arc::new).or_else(refuse)
            }
        };
        let new_key = set.into_iter().enumerate().map(|(position, set)| match set {
            SetKey::Kept => asked_value(&group.expr, u8::try_from(position).ok()?),
            SetKey::To(value) => value,
        });
        let typmod =
            |key: &Box<str>| table.as_ref().and_then(|table| table.column(key)).map_or(-1, |(_, column)| column.typmod);
        Some(KeyChange { new_key: new_key.collect(), typmods: key.iter().map(typmod).collect(), moved })
    }
}

/// The reference table that is changed by values which each shard would make differently.
fn copies_of(model: &Model<'_>, changed: &Changed, with: Option<&With>) -> Option<Arc<Table>> {
    match &changed.relation {
        Relation::Reference { table: Some(table), .. }
            if (model.uses.volatile.is_some() || model.uses.home_function) && with.is_none() =>
        {
            (!is_through_view(Some(table))).then(|| Arc::clone(table))
        }
        Relation::Reference { .. }
        | Relation::Sharded { .. }
        | Relation::Unsharded { .. }
        | Relation::View { .. }
        | Relation::System => None,
    }
}

/// A change of a reference table that joins the same rows to it on every shard, whatever order they lie in there.
fn same_everywhere(model: &Model<'_>, table: &str, tree: &JoinTree) -> Result<Outcome, Stop> {
    let done = write_reference(model, table)?;
    match model.spread_of(tree) {
        Spread::Tangled(why) => Err(why.fault().into()),
        _ => Ok(done),
    }
}

/// How a change runs on several shards.
pub(crate) fn on_many(
    of: &Analyzer<'_>,
    model: &Model<'_>,
    statement: &Statement,
    tree: &JoinTree,
) -> Result<Many, Obstacle> {
    let spread = model.spread_of(tree);
    check_places(model, &spread)?;
    check_calls(of, statement, model)?;
    check_clock(model)?;
    match spread {
        // Every shard would change the rows of a table that lies elsewhere.
        Spread::Same => Err(Obstacle::new("the changed table is not sharded")),
        Spread::Parted { .. } | Spread::Tangled(_) => Ok(Many::Scatter(Scatter::concat())),
    }
}

pub(crate) fn walk_update<'q>(model: &mut Model<'_>, update: &'q Update, ctes: &Ctes<'q>) -> Result<Changed, Stop> {
    if update.or.is_some() || update.limit.is_some() || !update.order_by.is_empty() || update.output.is_some() {
        return Err(Stop::NotUnderstood("this form of UPDATE"));
    }
    let mut changed = target(model, alone(&update.table)?)?;
    let more: &[TableWithJoins] = match &update.from {
        None => &[],
        Some(UpdateTableFromKind::AfterSet(from)) => from,
        Some(UpdateTableFromKind::BeforeSet(_)) => return Err(Stop::NotUnderstood("this form of UPDATE")),
    };
    changed = join(model, changed, more, ctes)?;
    let at = At { level: changed.level, ctes: ctes.clone(), vary: true };
    condition(model, &at, &changed.tree, update.selection.as_ref())?;
    if let Relation::Sharded { table: Some(table), .. } | Relation::Reference { table: Some(table), .. } =
        &changed.relation
    {
        refuse_sequence_defaults(table, &update.assignments)?;
    }
    if let Relation::Unsharded { table: Some(table), .. } = &changed.relation {
        model.uses.takes.extend(set_from_sequences(table, &update.assignments));
    }
    walk_assignments(model, &at, &update.assignments)?;
    check_assigned(model, &changed.relation, &update.assignments)?;
    walk_returning(model, &at, update.returning.as_deref())?;
    Ok(changed)
}

pub(crate) fn walk_delete<'q>(model: &mut Model<'_>, delete: &'q Delete, ctes: &Ctes<'q>) -> Result<Changed, Stop> {
    let foreign =
        !delete.tables.is_empty() || delete.limit.is_some() || !delete.order_by.is_empty() || delete.output.is_some();
    let from = match &delete.from {
        FromTable::WithFromKeyword(from) if !foreign => from,
        _ => return Err(Stop::NotUnderstood("this form of DELETE")),
    };
    let [table] = &from[..] else { return Err(Stop::NotUnderstood("this form of DELETE")) };
    let changed = target(model, alone(table)?)?;
    let changed = join(model, changed, delete.using.as_deref().unwrap_or_default(), ctes)?;
    let at = At { level: changed.level, ctes: ctes.clone(), vary: true };
    condition(model, &at, &changed.tree, delete.selection.as_ref())?;
    walk_returning(model, &at, delete.returning.as_deref())?;
    Ok(changed)
}

fn alone(table: &TableWithJoins) -> Result<&TableFactor, Stop> {
    if table.joins.is_empty() { Ok(&table.relation) } else { Err(Stop::NotUnderstood("this form of table")) }
}

/// The changed table as the first leaf of the statement's level. A CTE of its name does not hide it.
pub(crate) fn target(model: &mut Model<'_>, table: &TableFactor) -> Result<Changed, Stop> {
    let TableFactor::Table { name, alias, args: None, sample: None, .. } = table else {
        return Err(Stop::NotUnderstood("this form of table"));
    };
    let only = if is_only(name) { Some(only(alias.as_ref())?) } else { None };
    let alias = alias.as_ref().filter(|_| only.is_none());
    let (schema, table_name) =
        parts(only.as_ref().unwrap_or(name)).ok_or(Stop::NotUnderstood("this form of table name"))?;
    let named = model.relation(schema.as_deref(), &table_name)?;
    let Written { relation, apart, .. } = written(&model.scope, named.clone())?;
    check_written(&model.scope, &relation)?;
    model.uses.note_sets(match relation {
        // An UPDATE of it is a SET.
        Relation::System if table_name == "pg_settings" => Sets::Lasting,
        _ => implicit::sets(&model.scope, &relation, true),
    });
    // Their triggers run on that server, and can take values of its sequences.
    model.uses.takes_any |= matches!(&relation, Relation::Unsharded { table: Some(table), .. } if table.has_triggers);
    let level = model.add_level(None, None);
    let before = model.refs.len();
    // It is no FROM item that something else could be put in the place of.
    model.factor = None;
    // The rows of a view are those of its definition, under its conditions.
    let tree = model.relation_leaf(level, schema, &table_name, named, alias)?;
    let reference = (model.refs.len() > before).then_some(before);
    Ok(Changed { relation, level, tree, reference, apart })
}

fn join<'q>(
    model: &mut Model<'_>,
    changed: Changed,
    more: &'q [TableWithJoins],
    ctes: &Ctes<'q>,
) -> Result<Changed, Stop> {
    let Some(more) = model.from_list(changed.level, more, ctes)? else { return Ok(changed) };
    let tree = JoinTree::Inner(Box::new(changed.tree), Box::new(more));
    Ok(Changed { tree, ..changed })
}

fn condition<'q>(model: &mut Model<'_>, at: &At<'q>, tree: &JoinTree, selection: Option<&'q Expr>) -> Result<(), Stop> {
    let Some(selection) = selection else { return Ok(()) };
    model.walk(at, selection)?;
    let leaves = model.levels[at.level].leaves.clone();
    model.add_condition(at.level, selection, &leaves);
    model.collect_filter(at.level, selection, || tree.preserved());
    Ok(())
}

pub(crate) fn key_change(column: &str) -> Fault {
    Fault::unsupported(
        format!("changing the sharding key \"{column}\" is not supported"),
        "the row would have to move to another shard",
        "Delete the row and insert it anew, in one transaction.",
    )
}

/// What an UPDATE does to one column of the key.
enum SetKey {
    /// Nothing, or `SET k = k`.
    Kept,
    /// The value that it has then, where it is one that can be read.
    To(Option<Value>),
}

/// The same for each column of the key.
fn set_keys(model: &Model<'_>, update: &Update, key: &[Box<str>], reference: usize, level: LevelId) -> Vec<SetKey> {
    let set = |(position, column): (usize, &Box<str>)| {
        let of = |assignment: &&Assignment| assigned(std::slice::from_ref(*assignment)).any(|name| name == **column);
        match update.assignments.iter().find(of) {
            None => SetKey::Kept,
            Some(Assignment { target: AssignmentTarget::ColumnName(_), value }) => {
                match is_same_column(model, reference, position, level, value) {
                    true => SetKey::Kept,
                    false => SetKey::To(model.as_value(value).filter(|_| !is_default(value))),
                }
            }
            Some(_) => SetKey::To(None),
        }
    };
    key.iter().enumerate().map(set).collect()
}

/// `SET k = k`
fn is_same_column(model: &Model<'_>, reference: usize, position: usize, level: LevelId, value: &Expr) -> bool {
    let of = &model.refs[reference];
    match value {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
            model.as_column(level, value).and_then(|found| found.column.node) == of.key.get(position).copied()
        }
        _ => false,
    }
}

/// The one value that a key column has in every row that the conditions allow.
fn asked_value(expr: &KeyExpr, position: u8) -> Option<Value> {
    match expr {
        KeyExpr::Equal { column, operand: Operand::One(value) } if *column == position => Some(value.clone()),
        KeyExpr::All(parts) => parts.iter().find_map(|part| asked_value(part, position)),
        _ => None,
    }
}
