//! UPDATE and DELETE: on the shards that their conditions allow; changes of the sharding key are refused.

use sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Query, SetExpr, Statement, TableFactor, TableWithJoins,
    Update, UpdateTableFromKind, With,
};

use crate::fault::Fault;
use crate::sql::analyze::{Analyzer, routed};
use crate::sql::exprs::{At, Ctes};
use crate::sql::from::{JoinTree, is_only, only};
use crate::sql::insert::{assigned, refuse_sequence_defaults, walk_assignments, walk_returning, write_reference};
use crate::sql::keys::{KeyExpr, Operand, Value};
use crate::sql::model::{LevelId, Model, Obstacle, Spread, Stop};
use crate::sql::names::{Relation, parts};
use crate::sql::outcome::{Many, Outcome, Routed, Scatter};
use crate::sql::shape::check_scatter;

/// The table that a statement changes.
struct Changed {
    relation: Relation,
    level: LevelId,
    tree: JoinTree,
    /// Its place among the model's references, where it is sharded.
    reference: Option<usize>,
}

impl Analyzer<'_> {
    pub(crate) fn update<'q>(
        &self,
        model: &mut Model<'_>,
        update: &'q Update,
        ctes: &Ctes<'q>,
        with: Option<&'q With>,
    ) -> Result<Outcome, Stop> {
        let changed = walk_update(model, update, ctes)?;
        model.unused_ctes(with, ctes)?;
        let unchanged = match (&changed.relation, changed.reference) {
            (Relation::Sharded { key, .. }, Some(reference)) => key_assignments(model, update, key, reference)?,
            _ => Vec::new(),
        };
        self.change_outcome(model, changed, unchanged)
    }

    pub(crate) fn delete<'q>(
        &self,
        model: &mut Model<'_>,
        delete: &'q Delete,
        ctes: &Ctes<'q>,
        with: Option<&'q With>,
    ) -> Result<Outcome, Stop> {
        let changed = walk_delete(model, delete, ctes)?;
        model.unused_ctes(with, ctes)?;
        self.change_outcome(model, changed, Vec::new())
    }

    fn change_outcome(
        &self,
        model: &Model<'_>,
        changed: Changed,
        unchanged: Vec<(u8, Value, Value)>,
    ) -> Result<Outcome, Stop> {
        match changed.relation {
            Relation::Reference { name, .. } => write_reference(model, &name.name),
            Relation::Sharded { .. } | Relation::Unsharded { .. } | Relation::System => {
                if model.refs.is_empty() {
                    let many = check_scatter(model, &Spread::Same).and(Err(Obstacle::new("no sharded table")));
                    return Ok(self.read_outcome(model, many.map_err(Obstacle::fault)));
                }
                let spread = model.spread_of(&changed.tree);
                let many = match (check_scatter(model, &spread), &spread) {
                    (Err(why), _) => Err(why.fault()),
                    // Every shard would change the rows of a table that lies elsewhere.
                    (Ok(()), Spread::Same) => Err(Obstacle::new("the changed table is not sharded").fault()),
                    (Ok(()), _) => Ok(Many::Scatter(Scatter::concat())),
                };
                Ok(match routed(model, many) {
                    Outcome::Routed(routed) => Outcome::Routed(Routed { unchanged, ..routed }),
                    other => other,
                })
            }
            Relation::View { .. } => Err(Stop::NotUnderstood("a change through a view")),
        }
    }
}

impl Model<'_> {
    /// UPDATE or DELETE inside WITH: only one shard can run the statement around it.
    pub(crate) fn modifying_cte<'q>(&mut self, query: &'q Query, ctes: &Ctes<'q>) -> Result<(), Stop> {
        let ctes = self.with(query.with.as_ref(), ctes)?;
        let changed = match &*query.body {
            SetExpr::Update(Statement::Update(update)) => {
                let changed = walk_update(self, update, &ctes)?;
                if let (Relation::Sharded { key, .. }, Some(_)) = (&changed.relation, changed.reference)
                    && let Some(name) = assigned(&update.assignments).find(|name| key.iter().any(|k| **k == **name))
                {
                    return Err(key_change(&name).into());
                }
                changed
            }
            SetExpr::Delete(Statement::Delete(delete)) => walk_delete(self, delete, &ctes)?,
            _ => return Err(Stop::NotUnderstood("INSERT or MERGE inside WITH")),
        };
        match changed.relation {
            Relation::Reference { name, .. } => Err(Fault::unsupported(
                format!("writing to reference table \"{}\" inside WITH is not supported", name.name),
                "the write must reach every shard, and the statement around it runs on one",
                "Send the write as a statement of its own.",
            )
            .into()),
            _ => self.unused_ctes(query.with.as_ref(), &ctes),
        }
    }
}

fn walk_update<'q>(model: &mut Model<'_>, update: &'q Update, ctes: &Ctes<'q>) -> Result<Changed, Stop> {
    if update.or.is_some() || update.limit.is_some() || !update.order_by.is_empty() || update.output.is_some() {
        return Err(Stop::NotUnderstood("this form of UPDATE"));
    }
    let mut changed = target(model, &update.table)?;
    let more: &[TableWithJoins] = match &update.from {
        None => &[],
        Some(UpdateTableFromKind::AfterSet(from)) => from,
        Some(UpdateTableFromKind::BeforeSet(_)) => return Err(Stop::NotUnderstood("this form of UPDATE")),
    };
    changed = join(model, changed, more, ctes)?;
    let at = At { level: changed.level, ctes: ctes.clone(), vary: true };
    condition(model, &at, update.selection.as_ref())?;
    if let Relation::Sharded { table: Some(table), .. } | Relation::Reference { table: Some(table), .. } =
        &changed.relation
    {
        refuse_sequence_defaults(table, &update.assignments)?;
    }
    walk_assignments(model, &at, &update.assignments)?;
    walk_returning(model, &at, update.returning.as_deref())?;
    Ok(changed)
}

fn walk_delete<'q>(model: &mut Model<'_>, delete: &'q Delete, ctes: &Ctes<'q>) -> Result<Changed, Stop> {
    let foreign =
        !delete.tables.is_empty() || delete.limit.is_some() || !delete.order_by.is_empty() || delete.output.is_some();
    let from = match &delete.from {
        FromTable::WithFromKeyword(from) if !foreign => from,
        _ => return Err(Stop::NotUnderstood("this form of DELETE")),
    };
    let [table] = &from[..] else { return Err(Stop::NotUnderstood("this form of DELETE")) };
    let changed = target(model, table)?;
    let changed = join(model, changed, delete.using.as_deref().unwrap_or_default(), ctes)?;
    let at = At { level: changed.level, ctes: ctes.clone(), vary: true };
    condition(model, &at, delete.selection.as_ref())?;
    walk_returning(model, &at, delete.returning.as_deref())?;
    Ok(changed)
}

/// The changed table as the first leaf of the statement's level. A CTE of its name does not hide it.
fn target(model: &mut Model<'_>, table: &TableWithJoins) -> Result<Changed, Stop> {
    let TableFactor::Table { name, alias, args: None, sample: None, .. } = &table.relation else {
        return Err(Stop::NotUnderstood("this form of table"));
    };
    if !table.joins.is_empty() {
        return Err(Stop::NotUnderstood("this form of table"));
    }
    let only = if is_only(name) { Some(only(alias.as_ref())?) } else { None };
    let alias = alias.as_ref().filter(|_| only.is_none());
    let (schema, table_name) =
        parts(only.as_ref().unwrap_or(name)).ok_or(Stop::NotUnderstood("this form of table name"))?;
    let relation = model.relation(schema.as_deref(), &table_name)?;
    if matches!(relation, Relation::View { .. }) {
        return Err(Stop::NotUnderstood("a change through a view"));
    }
    let level = model.add_level(None, None);
    let before = model.refs.len();
    let tree = model.relation_leaf(level, schema, &table_name, relation.clone(), alias)?;
    let reference = (model.refs.len() > before).then_some(before);
    Ok(Changed { relation, level, tree, reference })
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

fn condition<'q>(model: &mut Model<'_>, at: &At<'q>, selection: Option<&'q Expr>) -> Result<(), Stop> {
    let Some(selection) = selection else { return Ok(()) };
    model.walk(at, selection)?;
    let leaves = model.levels[at.level].leaves.clone();
    model.add_condition(at.level, selection, &leaves);
    model.collect_filter(at.level, selection, || leaves.clone());
    Ok(())
}

fn key_change(column: &str) -> Fault {
    Fault::unsupported(
        format!("changing the sharding key \"{column}\" is not supported"),
        "the row would have to move to another shard",
        "Delete the row and insert it anew, in one transaction.",
    )
}

/// SET of a key column: allowed where it is the value that WHERE asks for, which the values of the call will tell.
fn key_assignments(
    model: &Model<'_>,
    update: &Update,
    key: &[Box<str>],
    reference: usize,
) -> Result<Vec<(u8, Value, Value)>, Fault> {
    let is_key = |name: &str| key.iter().position(|column| **column == *name);
    let mut unchanged = Vec::new();
    for assignment in &update.assignments {
        let Some(name) = assigned(std::slice::from_ref(assignment)).find(|name| is_key(name).is_some()) else {
            continue;
        };
        let refuse = || key_change(&name);
        let Assignment { target: AssignmentTarget::ColumnName(_), value } = assignment else { return Err(refuse()) };
        let position = is_key(&name).and_then(|p| u8::try_from(p).ok()).ok_or_else(refuse)?;
        if is_same_column(model, reference, usize::from(position), value) {
            continue;
        }
        let set = model.as_value(value).ok_or_else(refuse)?;
        let asked = asked_value(&model.key_expr(reference), position).ok_or_else(refuse)?;
        unchanged.push((position, set, asked));
    }
    Ok(unchanged)
}

/// `SET k = k`
fn is_same_column(model: &Model<'_>, reference: usize, position: usize, value: &Expr) -> bool {
    let of = &model.refs[reference];
    let level = model.leaves[of.leaf].level;
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
