//! What an UPDATE or DELETE is supplied with: queries that look at nothing around them are asked once, and of the tables that are left those
//! whose rows lie elsewhere are brought together. With these as tables that every shard has, the rules of a scatter say whether each
//! shard alone changes the rows that one Postgres would change there.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast::{Query, SetExpr, Statement, TableFactor};

use crate::fault::Fault;
use crate::ids::{DistributionId, QualifiedName};
use crate::sql::analyze::Analyzer;
use crate::sql::closed::{Closed, Lies};
use crate::sql::finish::{Parsed, query_ordinals};
use crate::sql::keys::{KeyExpr, KeyGroup};
use crate::sql::matches::{made_in_from, several_match};
use crate::sql::model::{Collected, LevelId, Model, Obstacle, RefId, Spread, Stop, Supplied, TableUse};
use crate::sql::names::Relation;
use crate::sql::outcome::PullText;
use crate::sql::percall::check_calls;
use crate::sql::pulls::add;
use crate::sql::returned::{Beside, Returned, modifying_with, returned};
use crate::sql::shape::check_places;
use crate::sql::splice::Source;
use crate::sql::supply::{SOURCE, Supplies, Supply, SupplyPlace, SupplyRows, SupplyTarget, SupplyText};
use crate::sql::views::ordinals;
use crate::sql::{pieces, rewrite};

/// A statement that changes rows and cannot run as it is.
pub(crate) struct Supplying<'a> {
    pub of: &'a Analyzer<'a>,
    pub parsed: &'a Parsed<'a>,
    pub reason: &'a Fault,
    pub sorted: Sorted,
}

/// Which rows of what a statement reads must be on which shard.
pub(crate) enum Sorted {
    /// Every shard has the same.
    Any,
    /// Those of a sharded table count on the shard where they lie.
    Lies(RefId),
    /// The rows of a MERGE's source go to the shards of their keys.
    By {
        source: *const TableFactor,
        /// The source's columns that are the key, by their places.
        columns: Vec<usize>,
        not_null: Vec<bool>,
        distribution: DistributionId,
        table: QualifiedName,
    },
}

/// What a walk over the statement tells of the table that it changes.
pub(crate) struct Walked {
    pub relation: Relation,
    pub level: LevelId,
    /// Its place among the model's references, where it is sharded.
    pub reference: Option<RefId>,
    /// How its rows lie, joined with those of the other tables of its level.
    pub spread: Spread,
}

impl Supplying<'_> {
    /// The supplies, or in words why there are none. `walk`: over the statement.
    pub fn supply<'m>(&'m self, walk: impl Fn(&mut Model<'m>) -> Result<Walked, Stop>) -> Result<Supply, String> {
        let source = self.parsed.source(self.of);
        let ordinals = ordinals(self.parsed.tree);
        let changes = self.changes(&source, Beside::default())?;
        // As it is.
        let mut model = self.model();
        model.collected = Some(Box::new(Collected::default()));
        model.supplied.queries = self.queries_of(&changes).map(|(query, of)| (query, of.columns.clone())).collect();
        let walked = walk(&mut model).map_err(said)?;
        if model.uses.writing_cte {
            return Err("WITH contains a statement that changes data".to_owned());
        }
        let is_foreign = |relation: &Relation| matches!(relation, Relation::Unsharded { place, .. } if !place.is_home(&self.of.scope));
        let read = model.collected.as_deref().map_or(&[][..], |collected| &collected.tables);
        if is_foreign(&walked.relation) || read.iter().any(|table| is_foreign(&table.relation)) {
            return Err("it reads a table that the home shard does not have".to_owned());
        }
        let changing = self.queries_of(&changes).map(|(query, _)| query).collect();
        let lies = match walked.relation {
            Relation::Unsharded { .. } => Lies::Home,
            Relation::Reference { .. } => Lies::Everywhere,
            Relation::Sharded { .. } | Relation::View { .. } | Relation::System => Lies::Apart,
        };
        let (closed, inside) = self.closed(&source, lies, &changing);
        let chosen = self.choose(&model, &walked, &inside)?;
        if !changes.is_empty() {
            self.check_changes(&source, &model, &walked, &chosen, &inside)?;
        }
        // With what is sent along as something that every shard has.
        let mut with = self.model();
        with.collected = Some(Box::default());
        with.supplied = Supplied {
            factors: chosen.iter().map(|table| table.factor).collect(),
            queries: closed.iter().map(|closed| (closed.query, closed.columns.clone())).collect(),
        };
        with.supplied.queries.extend(model.supplied.queries.clone());
        let changed = walk(&mut with).map_err(said)?;
        let target = self.target(&model, &with, &walked, &changed)?;
        let moment = with.uses.clock.is_some() && !matches!(target, SupplyTarget::Home);
        if chosen.is_empty() && closed.is_empty() && changes.is_empty() && !moment {
            // What it reads lies where it is.
            return Err(String::new());
        }
        let mut pulls = Vec::new();
        let (mut names, mut expanded) = self.pull_tables(&model, &source, &ordinals, &chosen, &mut pulls)?;
        let mut supplies = Vec::new();
        let mut place = self.place(&model, &walked, &chosen, &closed)?;
        if let Sorted::By { source, .. } = &self.sorted
            && let Some(name) = ordinals.get(source).and_then(|ordinal| names.get_mut(ordinal))
        {
            // Others may read the same pull, and get all of it.
            let pulled = std::mem::replace(name, SOURCE.to_owned());
            let at = pulls.iter().position(|pull: &PullText| pull.name == pulled).unwrap_or_default();
            supplies.push(SupplyText { name: SOURCE.to_owned(), rows: SupplyRows::Pull(at), place: place.take() });
        }
        for (at, pull) in pulls.iter().enumerate().filter(|(_, pull)| names.values().any(|name| *name == pull.name)) {
            supplies.push(SupplyText { name: pull.name.clone(), rows: SupplyRows::Pull(at), place: None });
        }
        let (mut queries, mut views) = (HashMap::new(), Vec::new());
        for (at, closed) in closed.iter().enumerate() {
            let name = if closed.source { SOURCE.to_owned() } else { format!("pgloom_query_{}", at + 1) };
            let rows = match self.claimed(closed, &source)? {
                // They would be looked for when WITH has made its changes.
                Some(_) if !changes.is_empty() => return Err("it locks rows beside what WITH changes".to_owned()),
                Some((claim, groups)) => SupplyRows::Claim { claim: Arc::new(claim), groups },
                None => SupplyRows::Query(self.ask_once(closed, at, &source, &mut pulls, &mut views)?),
            };
            queries.insert(closed.ordinal, (name.clone(), closed.bytes.clone()));
            let place = if closed.source { place.take() } else { None };
            supplies.push(SupplyText { name, rows, place });
        }
        let of_changes = self.supply_changes(&changes, &mut pulls, &mut queries, &mut supplies)?;
        let (statement, with) = self.statement(&source, &names, &queries, &mut expanded, moment)?;
        let clock = model.uses.clock.clone();
        let finish = self.finish((pulls, of_changes), clock, views);
        let parameters = self.of.parameters;
        Ok(Supply { finish, supplies, statement, with, moment, target, parameters })
    }

    /// What of its WITH changes data: that is done once, and the rows that it returns are sent along.
    fn changes(&self, source: &Source<'_>, beside: Beside<'_>) -> Result<Vec<Returned>, String> {
        let Some(with) = modifying_with(self.parsed.tree) else { return Ok(Vec::new()) };
        let prints = pieces::can_have_holes(source.text)
            && rewrite::is_faithful_in_parts(self.parsed.tree, source.text, self.of.scope.standard_strings);
        if !prints {
            return Err("its text cannot be rewritten with certainty".to_owned());
        }
        Ok(returned(self.of, self.parsed, source, with, beside)?)
    }

    fn queries_of<'c>(&self, changes: &'c [Returned]) -> impl Iterator<Item = (*const Query, &'c Returned)> {
        let with = modifying_with(self.parsed.tree).map_or(&[][..], |with| &with.cte_tables);
        changes.iter().filter_map(|of| Some((std::ptr::from_ref(&*with.get(of.at)?.query), of)))
    }

    /// When the shards run the statement, WITH has made its changes, of which one Postgres shows it nothing but what they return.
    fn check_changes(
        &self,
        source: &Source<'_>,
        model: &Model<'_>,
        walked: &Walked,
        chosen: &[&TableUse],
        inside: &HashSet<*const TableFactor>,
    ) -> Result<(), String> {
        let collected = model.collected.as_deref();
        let stays = |factor: &*const TableFactor| !inside.contains(factor);
        if let Some((_, view, _)) = collected.and_then(|of| of.views.iter().find(|(factor, ..)| stays(factor))) {
            return Err(format!("it reads view \"{}\" beside what WITH changes", view.name.name));
        }
        let sent = |table: &&TableUse| chosen.iter().any(|chosen| chosen.factor == table.factor);
        let tables = collected.map_or(&[][..], |collected| &collected.tables);
        let here = tables.iter().filter(|table| stays(&table.factor) && !sent(table));
        let read: Vec<QualifiedName> = here.filter_map(|table| Some(table.relation.table()?.name.clone())).collect();
        let written = walked.relation.table().map(|table| &table.name);
        let written = Some(written.ok_or("the changed table is not in the catalog")?);
        self.changes(source, Beside { written, read: &read }).map(drop)
    }

    /// The pulls of what changes data, behind all that only reads, and what is sent along of them; what they themselves are sent.
    fn supply_changes(
        &self,
        changes: &[Returned],
        pulls: &mut Vec<PullText>,
        queries: &mut HashMap<usize, (String, Range<usize>)>,
        supplies: &mut Vec<SupplyText>,
    ) -> Result<Supplies, String> {
        let mut of_changes = Vec::new();
        let ordinals = query_ordinals(self.parsed.tree);
        let last = pulls.iter().map(|pull| pull.stage + 1).max().unwrap_or(0);
        for (query, of) in self.queries_of(changes) {
            let ordinal = ordinals.get(&query).ok_or("a query of it cannot be found in its text with certainty")?;
            let at = add(pulls, PullText { stage: last, ..of.pull.clone() });
            let name = pulls.get(at).map_or_else(String::new, |pull| pull.name.clone());
            queries.insert(*ordinal, (name.clone(), of.bytes.clone()));
            supplies.push(SupplyText { name, rows: SupplyRows::Pull(at), place: None });
            of_changes.extend(of.supply.clone().map(|supply| (at, supply)));
        }
        Ok(of_changes)
    }

    /// Where the rows of a MERGE's source go. It is something that is sent along.
    fn place(
        &self,
        model: &Model<'_>,
        walked: &Walked,
        chosen: &[&TableUse],
        closed: &[Closed],
    ) -> Result<Option<SupplyPlace>, String> {
        let Sorted::By { source, columns, not_null, distribution, table, .. } = &self.sorted else { return Ok(None) };
        let names: Vec<Box<str>> = match (closed.iter().find(|closed| closed.source), chosen) {
            (Some(closed), _) => closed.columns.list.iter().map(|column| column.name.clone()).collect(),
            (None, chosen) => {
                let of = chosen.iter().find(|table| table.factor == *source).and_then(|of| of.relation.table());
                let of = of.ok_or("its source is neither a table nor a query that can be asked by itself")?;
                of.columns.iter().map(|column| column.name.clone()).collect()
            }
        };
        let key = columns.iter().zip(not_null).map(|(at, not_null)| Some((names.get(*at)?.clone(), *not_null)));
        let key = key.collect::<Option<_>>().ok_or("its source's columns are not known")?;
        let name = walked.reference.and_then(|id| model.refs.get(id)).map(|reference| reference.name.clone());
        let name = name.ok_or("the changed table is not sharded")?;
        Ok(Some(SupplyPlace { distribution: *distribution, name, table: table.clone(), key }))
    }

    pub fn model(&self) -> Model<'_> {
        Model::new(self.of.scope, self.parsed.literals(self.of), self.of.used.clone())
    }

    /// The tables that are sent along.
    fn choose<'c>(
        &self,
        model: &'c Model<'_>,
        walked: &Walked,
        inside: &HashSet<*const TableFactor>,
    ) -> Result<Vec<&'c TableUse>, String> {
        let collected = model.collected.as_deref();
        let sharded_view = |(factor, _, sharded): &&(*const TableFactor, Arc<crate::catalog::Table>, bool)| {
            *sharded && !inside.contains(factor)
        };
        if let Some((_, view, _)) = collected.and_then(|collected| collected.views.iter().find(sharded_view)) {
            return Err(format!("it reads view \"{}\" beside the rows that it changes", view.name.name));
        }
        let tables = collected.map_or(&[][..], |collected| &collected.tables);
        let home = matches!(walked.relation, Relation::Unsharded { .. });
        let mut chosen = Vec::new();
        for table in tables.iter().filter(|table| !inside.contains(&table.factor)) {
            let leaf = &model.leaves[table.leaf].name;
            match &table.relation {
                Relation::Reference { table: Some(_), .. } if self.sorts(table.factor) => chosen.push(table),
                Relation::Reference { .. } => {}
                Relation::Sharded { table: Some(_), .. } if self.sorts(table.factor) => chosen.push(table),
                Relation::Sharded { table: Some(_), .. } if self.stays(model, walked, table) => {}
                Relation::Sharded { table: Some(_), .. } => chosen.push(table),
                Relation::Unsharded { .. } | Relation::System if home => {}
                Relation::Unsharded { table: Some(_), .. } => chosen.push(table),
                Relation::Unsharded { table: None, .. } | Relation::Sharded { table: None, .. } => {
                    return Err(format!("table \"{leaf}\" is not in the catalog"));
                }
                Relation::System => return Err("it reads the catalog".to_owned()),
                Relation::View { .. } => return Err(format!("it reads view \"{leaf}\"")),
            }
        }
        Ok(chosen)
    }

    /// Whether every shard has the rows of a table that matter for its own rows of the changed one.
    fn stays(&self, model: &Model<'_>, walked: &Walked, table: &TableUse) -> bool {
        let Some(target) = walked.reference else { return false };
        let in_with = model.collected.as_deref().is_some_and(|collected| {
            collected.parts.iter().any(|part| {
                part.leaf.is_some_and(|leaf| collected.ctes.contains(&leaf)) && part.leaves.contains(&table.leaf)
            })
        });
        let reference = (0..model.refs.len()).find(|id| model.refs[*id].leaf == table.leaf);
        !in_with
            && reference.is_some_and(|id| {
                let lies = |of| id == of || model.follows(id, of);
                model.follows(id, target) || matches!(self.sorted, Sorted::Lies(of) if lies(of))
            })
    }

    /// Whether it is the source of a MERGE whose rows are sorted.
    pub fn sorts(&self, factor: *const TableFactor) -> bool {
        matches!(&self.sorted, Sorted::By { source, .. } if *source == factor)
    }

    /// On which shards the statement runs then; or why each of them would not change what one Postgres changes.
    fn target(
        &self,
        model: &Model<'_>,
        with: &Model<'_>,
        walked: &Walked,
        changed: &Walked,
    ) -> Result<SupplyTarget, String> {
        if let Some(name) = &with.uses.unsafe_function {
            return Err(format!("function {name}() is not known to be safe"));
        }
        match &walked.relation {
            Relation::Unsharded { .. } => return Ok(SupplyTarget::Home),
            Relation::Sharded { .. } | Relation::Reference { .. } => {}
            Relation::View { .. } | Relation::System => return Err("it changes a view or the catalog".to_owned()),
        }
        self.check(model, with, walked, changed)?;
        Ok(match (walked.reference, &self.sorted) {
            (Some(reference), Sorted::Any) => SupplyTarget::Sharded(Arc::new(model.group_of(reference))),
            // What has no match is on the shards of the source.
            (Some(_), Sorted::Lies(of)) => SupplyTarget::Sharded(Arc::new(model.group_of(*of))),
            (Some(reference), Sorted::By { .. }) => {
                SupplyTarget::Sharded(Arc::new(KeyGroup { expr: KeyExpr::Any, ..model.group_of(reference) }))
            }
            (None, _) => SupplyTarget::Everywhere,
        })
    }

    /// The time is sent along.
    fn check(&self, model: &Model<'_>, with: &Model<'_>, walked: &Walked, changed: &Walked) -> Result<(), String> {
        check_places(with, &changed.spread)?;
        match (&walked.relation, &changed.spread) {
            (Relation::Reference { .. }, _) => {
                if let Some(name) = &with.uses.volatile {
                    return Err(format!("function {name}() can give another value on each shard"));
                }
                let several_rows = is_update(self.parsed.tree) && !self.of.once;
                // Of what is sent along it is seen as it is written.
                let is_sent = |query: &Query| with.supplied.queries.contains_key(&std::ptr::from_ref(query));
                let made = made_in_from(self.parsed.tree, &self.of.scope, is_sent);
                let other = several_match(with, changed.level, &[]).filter(|_| several_rows);
                if let Some(other) = other.and_then(|_| several_match(model, walked.level, &made)) {
                    return Err(several(&other));
                }
                if !with.refs.is_empty() {
                    return Err("it reads a sharded table".to_owned());
                }
                Ok(())
            }
            (_, Spread::Same) => Err("the changed table is not sharded".to_owned()),
            _ => Ok(check_calls(self.of, self.parsed.tree, with)?),
        }
    }
}

pub(crate) fn several(table: &str) -> String {
    format!("more than one row of \"{table}\" could match one that is changed, and each shard could take another")
}

pub(crate) fn is_update(tree: &Statement) -> bool {
    match tree {
        Statement::Update(_) => true,
        Statement::Query(query) => matches!(&*query.body, SetExpr::Update(_)),
        _ => false,
    }
}

pub(crate) fn said(stop: Stop) -> String {
    match stop {
        Stop::Refuse(fault) => fault.message.to_string(),
        Stop::NotUnderstood(what) => format!("the router does not understand {what}"),
    }
}

/// The same as the refusal of a statement.
pub(crate) fn refused(before: &Fault, why: &str) -> Fault {
    let detail = before.detail.as_deref().unwrap_or(&before.message);
    match why.is_empty() || detail.ends_with(why) {
        true => before.clone(),
        false => before.clone().detail(format!("{detail}; and {why}")),
    }
}

impl From<Obstacle> for String {
    fn from(obstacle: Obstacle) -> Self {
        obstacle.detail.into_owned()
    }
}
