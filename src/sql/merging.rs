//! MERGE. Its source is joined with the table that it changes, and rows of the source without a match can become rows of the table: so
//! each of them must be where the rows are that it could match, and nowhere else.

use sqlparser::ast::{
    Expr, Merge, MergeAction, MergeClause, MergeClauseKind, MergeInsertExpr, MergeInsertKind, MergeUpdateKind, With,
};

use crate::catalog::{ColumnDefault, Table};
use crate::fault::Fault;
use crate::sql::analyze::{Analyzer, routed};
use crate::sql::block_time::default_with_clock;
use crate::sql::defaults::{check_assigned, reads_clock};
use crate::sql::exprs::{At, Ctes};
use crate::sql::finish::Parsed;
use crate::sql::from::JoinTree;
use crate::sql::implicit::check_defaults;
use crate::sql::insert::{assigned, is_default, walk_assignments, write_reference};
use crate::sql::keys::Operand;
use crate::sql::left_out::{refuse_sequences, refuse_varying_defaults, sequence_of, set_from_sequences};
use crate::sql::merge_keys::{Keyed, Origin};
use crate::sql::model::{Cond, Fact, Model, NodeId, Obstacle, Spread, Stop};
use crate::sql::modify::{Changed, key_change, target};
use crate::sql::names::{Relation, parts};
use crate::sql::outcome::{Many, Outcome, Routed};
use crate::sql::stored::type_of_place;
use crate::sql::supplying::Sorted;
use crate::sql::through::is_through_view;
use crate::sql::words;

impl Analyzer<'_> {
    pub(crate) fn merge<'q>(
        &self,
        model: &mut Model<'_>,
        parsed: &Parsed<'_>,
        merge: &'q Merge,
        ctes: &Ctes<'q>,
        with: Option<&'q With>,
    ) -> Result<Outcome, Stop> {
        check_form(merge)?;
        if with.is_none()
            && let Some(outcome) = self.merge_with_values(model, parsed, merge)
        {
            return Ok(outcome);
        }
        let changed = walk_merge(model, merge, ctes, false)?;
        model.unused_ctes(with, ctes)?;
        check_update_keys(model, merge, &changed)?;
        let walk = |model: &mut Model<'_>, ctes: &Ctes<'q>, met: bool| walk_merge(model, merge, ctes, met);
        let inserted = inserted(merge);
        let (Relation::Sharded { name, table, distribution, key }, Some(reference)) =
            (&changed.relation, changed.reference)
        else {
            return self
                .merge_elsewhere(model, parsed, with, &changed, &inserted, |model, ctes| walk(model, ctes, false));
        };
        if inserted.is_empty() {
            return self
                .change_outcome(model, parsed, with, changed, Sorted::Any, |model, ctes| walk(model, ctes, false));
        }
        let refuse = |why: String| -> Fault { no_origin(&name.name, why) };
        let Some(table) = table else { return Err(refuse("the table is not in the catalog".to_owned()).into()) };
        let clock = check_omitted(model, table, &inserted)?;
        let overrides = words::identifiers(self.text, self.scope.standard_strings)
            .is_none_or(|words| words.iter().any(|word| *word == "overriding"));
        if overrides && table.columns.iter().any(|column| matches!(column.default, ColumnDefault::Sequence(_))) {
            return Err(Stop::NotUnderstood("OVERRIDING in MERGE"));
        }
        let leaves = &model.levels[changed.level].leaves;
        let ([leaf, source], nodes) = (&leaves[..], model.refs[reference].key.clone()) else {
            return Err(Stop::NotUnderstood("this form of source in MERGE"));
        };
        let (distribution, leaf, source) = (*distribution, *leaf, *source);
        let keyed = Keyed { name, table, distribution, key, nodes, leaf, source, merge };
        let columns = match keyed.origin(model, &inserted).map_err(refuse)? {
            Origin::Lies(of) => {
                let done =
                    self.change_outcome(model, parsed, with, changed.clone(), Sorted::Lies(of), |model, ctes| {
                        walk(model, ctes, false)
                    });
                let refused = match (done, &clock) {
                    // Each shard would fill in a time of its own.
                    (Ok(Outcome::Routed(routed @ Routed { many: Ok(Many::Supply(_)), .. })), Some(fault)) => {
                        return Ok(Outcome::Routed(Routed { many: Err(fault.clone()), ..routed }));
                    }
                    (Ok(Outcome::Routed(routed @ Routed { many: Err(_), .. })), None) => routed,
                    (done, _) => return done,
                };
                // The source reads other rows too: it is put together, and sorted by its own columns.
                let sorted = keyed.columns(model, &inserted).ok().map(|columns| keyed.sorted(columns));
                let supplied = sorted.map(|sorted| {
                    self.supplied(parsed, with, &keyed.unplaced(), sorted, |model, ctes| walk(model, ctes, true))
                });
                return Ok(Outcome::Routed(match supplied {
                    Some(Ok(supply)) => Routed { many: Ok(Many::Supply(supply)), ..refused },
                    Some(Err(_)) | None => refused,
                }));
            }
            Origin::Columns(columns) => columns,
        };
        let sorted = keyed.sorted(columns.clone());
        let values = keyed.constants(model, &columns);
        let supplied = self.supplied(parsed, with, &keyed.unplaced(), sorted, |model, ctes| walk(model, ctes, true));
        match values {
            Some(values) => {
                for (node, value) in keyed.nodes.iter().zip(values) {
                    let cond = Cond::Equal { node: *node, leaf, operand: Operand::One(value) };
                    model.facts.push(Fact { cond, leaves: vec![leaf] });
                }
                Ok(routed(model, supplied.map(Many::Supply)))
            }
            // Each shard would fill in a time of its own.
            None => match clock {
                Some(fault) => Err(fault.into()),
                None => Ok(Outcome::Supply(supplied?)),
            },
        }
    }

    /// Into a table that every shard has, or that only the home shard has.
    fn merge_elsewhere<'q>(
        &self,
        model: &Model<'_>,
        parsed: &Parsed<'_>,
        with: Option<&'q With>,
        changed: &Changed,
        inserted: &[&MergeInsertExpr],
        walk: impl Fn(&mut Model<'_>, &Ctes<'q>) -> Result<Changed, Stop>,
    ) -> Result<Outcome, Stop> {
        match &changed.relation {
            Relation::Reference { name, table } => {
                if let Some(table) = table {
                    for insert in inserted {
                        refuse_varying_defaults(&model.scope, table, &omitted(table, insert))?;
                    }
                }
                let refused = match (write_reference(model, &name.name), model.spread_of(&changed.tree)) {
                    (Err(Stop::Refuse(fault)), _) => fault,
                    (Ok(_), Spread::Tangled(why)) => why.fault(),
                    (done, _) => return done,
                };
                Ok(Outcome::Supply(self.supplied(parsed, with, &refused, Sorted::Any, walk)?))
            }
            Relation::Sharded { .. } | Relation::Unsharded { .. } | Relation::System if model.refs.is_empty() => {
                Ok(self.unsharded_outcome(model))
            }
            Relation::Sharded { .. } | Relation::Unsharded { .. } | Relation::System => {
                let refused = Obstacle::new("MERGE of rows of several shards").fault();
                Ok(routed(model, self.supplied(parsed, with, &refused, Sorted::Any, walk).map(Many::Supply)))
            }
            Relation::View { .. } => Err(Stop::NotUnderstood("a change through a view")),
        }
    }
}

/// `met`: the source has only rows of the shard that has the statement.
pub(crate) fn walk_merge<'q>(
    model: &mut Model<'_>,
    merge: &'q Merge,
    ctes: &Ctes<'q>,
    met: bool,
) -> Result<Changed, Stop> {
    let changed = target(model, &merge.table)?;
    if is_through_view(changed.relation.table()) {
        return Err(Stop::NotUnderstood("MERGE into a view"));
    }
    let level = changed.level;
    let source = model.factor(level, &merge.source, ctes)?;
    let kept = !inserted(merge).is_empty();
    let restricted = if kept { changed.tree.leaves() } else { model.levels[level].leaves.clone() };
    let (left, right) = (Box::new(source), Box::new(changed.tree));
    let tree = if kept && !met { JoinTree::Left(left, right) } else { JoinTree::Inner(left, right) };
    let at = At { level, ctes: ctes.clone(), vary: true };
    model.walk(&at, &merge.on)?;
    model.add_condition(level, &merge.on, &restricted);
    if !kept {
        model.collect_filter(level, &merge.on, || restricted.clone());
    }
    for clause in &merge.clauses {
        model.walk_all(&at, clause.predicate.as_ref())?;
        match &clause.action {
            MergeAction::Insert(insert) => {
                if let Some(table) = changed.relation.table() {
                    let omitted = omitted(table, insert);
                    check_defaults(&model.scope, &changed.relation, &omitted)?;
                    if let Relation::Unsharded { .. } = changed.relation {
                        model.uses.takes.extend(omitted.iter().filter_map(|at| sequence_of(&table.columns[*at])));
                    }
                }
                for (place, value) in rows(insert).into_iter().flat_map(|row| row.iter().enumerate()) {
                    if !is_default(value) {
                        model.note_stored(level, value, type_of_place(&changed.relation, insert, place));
                        model.walk(&at, value)?;
                    }
                }
            }
            MergeAction::Update(update) => {
                let MergeUpdateKind::Set(assignments) = &update.kind else { continue };
                if let Relation::Unsharded { table: Some(table), .. } = &changed.relation {
                    model.uses.takes.extend(set_from_sequences(table, assignments));
                }
                walk_assignments(model, &at, assignments)?;
                check_assigned(model, &changed.relation, assignments)?;
            }
            MergeAction::Delete { .. } | MergeAction::DoNothing { .. } => {}
        }
    }
    Ok(Changed { tree, ..changed })
}

/// Forms of other databases and of newer Postgres.
fn check_form(merge: &Merge) -> Result<(), Stop> {
    if !merge.into {
        return Err(Stop::NotUnderstood("this form of MERGE"));
    }
    if merge.output.is_some() {
        return Err(Stop::NotUnderstood("RETURNING of MERGE"));
    }
    for clause in &merge.clauses {
        match clause.clause_kind {
            MergeClauseKind::Matched | MergeClauseKind::NotMatched | MergeClauseKind::NotMatchedByTarget => {}
            MergeClauseKind::NotMatchedBySource => return Err(Stop::NotUnderstood("WHEN NOT MATCHED BY SOURCE")),
        }
        let foreign = match &clause.action {
            MergeAction::Insert(insert) => insert.insert_predicate.is_some() || rows(insert).len() != 1,
            MergeAction::Update(update) => {
                update.update_predicate.is_some()
                    || update.delete_predicate.is_some()
                    || !matches!(update.kind, MergeUpdateKind::Set(_))
            }
            MergeAction::Delete { .. } | MergeAction::DoNothing { .. } => false,
        };
        if foreign {
            return Err(Stop::NotUnderstood("this form of MERGE"));
        }
    }
    Ok(())
}

fn inserted(merge: &Merge) -> Vec<&MergeInsertExpr> {
    fn insert(clause: &MergeClause) -> Option<&MergeInsertExpr> {
        match &clause.action {
            MergeAction::Insert(insert) => Some(insert),
            MergeAction::Update(_) | MergeAction::Delete { .. } | MergeAction::DoNothing { .. } => None,
        }
    }
    merge.clauses.iter().filter_map(insert).collect()
}

/// The rows of an INSERT's VALUES. Postgres allows one.
fn rows(insert: &MergeInsertExpr) -> Vec<&Vec<Expr>> {
    match &insert.kind {
        MergeInsertKind::Values(values) => values.rows.iter().map(|row| &row.content).collect(),
        MergeInsertKind::Row | MergeInsertKind::Wildcard => Vec::new(),
    }
}

/// The value that an INSERT gives to a column; `None` where it leaves it to the default.
pub(crate) fn value_of<'i>(table: &Table, insert: &'i MergeInsertExpr, column: &str) -> Option<&'i Expr> {
    let place = match insert.columns.is_empty() {
        true => table.columns.iter().position(|known| &*known.name == column),
        false => insert
            .columns
            .iter()
            .position(|name| parts(name).is_some_and(|(schema, name)| schema.is_none() && name == column)),
    };
    rows(insert).first()?.get(place?).filter(|value| !is_default(value))
}

/// The positions of the columns that are left to their defaults.
pub(crate) fn omitted(table: &Table, insert: &MergeInsertExpr) -> Vec<usize> {
    let left = |at: &usize| {
        let column = table.columns.get(*at);
        column.is_some_and(|column| !column.generated && value_of(table, insert, &column.name).is_none())
    };
    (0..table.columns.len()).filter(left).collect()
}

/// What is wrong with a default that new rows get on several shards: that it reads the clock.
fn check_omitted(model: &mut Model<'_>, table: &Table, inserted: &[&MergeInsertExpr]) -> Result<Option<Fault>, Fault> {
    let mut clock = None;
    for insert in inserted {
        let omitted = omitted(table, insert);
        refuse_sequences(table, &omitted)?;
        if let Some((column, _)) = omitted.iter().find_map(|at| default_with_clock(&model.scope, table, *at)) {
            model.uses.reads_time.hide(format!("the default of column \"{column}\" in the rows of a MERGE"));
        }
        let columns = omitted.iter().filter_map(|at| table.columns.get(*at));
        if let Some(column) = columns.into_iter().find(|column| reads_clock(&model.scope, column)) {
            let detail =
                format!("the default of column \"{}\" reads the clock, which differs between shards", column.name);
            let obstacle = Obstacle::new(detail).hint("Send the time as a parameter or a literal.");
            clock = Some(obstacle.clone().fault());
            model.hinder(obstacle);
        }
    }
    Ok(clock)
}

/// SET of the key is allowed where it says what ON says.
fn check_update_keys(model: &Model<'_>, merge: &Merge, changed: &Changed) -> Result<(), Stop> {
    let (Relation::Sharded { key, .. }, Some(reference)) = (&changed.relation, changed.reference) else {
        return Ok(());
    };
    let nodes = &model.refs[reference].key;
    for clause in &merge.clauses {
        let MergeAction::Update(update) = &clause.action else { continue };
        let MergeUpdateKind::Set(assignments) = &update.kind else { continue };
        for assignment in assignments {
            let mut names = assigned(std::slice::from_ref(assignment));
            let Some(column) = names.find_map(|name| key.iter().position(|key| **key == *name)) else { continue };
            let node = model.as_column(changed.level, &assignment.value).and_then(|found| found.column.node);
            let same = |node: NodeId| nodes.get(column).is_some_and(|key| model.reach(*key).contains(&node));
            if !node.is_some_and(same) {
                return Err(key_change(&key[column]).into());
            }
        }
    }
    Ok(())
}

pub(crate) fn no_origin(table: &str, why: String) -> Fault {
    Fault::unsupported(
        format!("this MERGE into sharded table \"{table}\" is not supported"),
        why,
        "Compare each column of the sharding key with a column of the source in ON, and insert that column.",
    )
}
