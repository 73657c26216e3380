//! Tier 2: a statement made ready for a Postgres that finishes it. Every table whose rows lie on several shards becomes an input,
//! a temporary table that a pull fills; all else of the statement stays as the client wrote it.

use std::collections::{HashMap, HashSet};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use sqlparser::ast::{Query, Statement, TableFactor, Visit, VisitMut, Visitor};

use crate::fault::Fault;
use crate::ids::{QualifiedName, ShardId};
use crate::sql::analyze::Analyzer;
use crate::sql::clock::{Calls, Clock};
use crate::sql::drawing::Drawing;
use crate::sql::elsewhere::{self, Needs};
use crate::sql::failing::most_rows;
use crate::sql::functions::is_users;
use crate::sql::inner::{InnerPlace, inner_queries};
use crate::sql::keyed::{HomeTable, Known, stage};
use crate::sql::keys::KeyExpr;
use crate::sql::literals::Literals;
use crate::sql::locking::locks_copies;
use crate::sql::model::{Collected, Model, NodeId, Obstacle, Stop, TableUse};
use crate::sql::names::{Relation, is_temporary_schema, parts};
use crate::sql::numbered::is_type_of_names;
use crate::sql::outcome::{ByViews, Cursor, Elsewhere, Finish, FinishText, PullSource, PullText};
use crate::sql::partners::{Place, partners};
use crate::sql::pieces::can_have_holes;
use crate::sql::pulls::{Mentions, Scan, add, share};
use crate::sql::pushdown::{Scanned, filters};
use crate::sql::replace::Replace;
use crate::sql::returned::{Beside, Returned, modifying_with, returned};
use crate::sql::sampling::{Sample, other_sample, unknown_sample};
use crate::sql::shape::{called_as_attribute, says_now};
use crate::sql::spelling::{Other, reads_only};
use crate::sql::splice::{Edit, Source};
use crate::sql::supply::Supplies;
use crate::sql::temporary::is_temporary;
use crate::sql::top::top;
use crate::sql::views::{Expanded, Viewed};
use crate::sql::{rewrite, views};

/// A statement as it was parsed.
pub(crate) struct Parsed<'a> {
    pub tree: &'a Statement,
    /// Where it stands in the client's text.
    pub bytes: Range<usize>,
    /// The other text that says the same, where that was parsed.
    pub other: Option<Other>,
}

impl Parsed<'_> {
    /// The literals of the tree that are slots.
    pub fn literals(&self, of: &Analyzer<'_>) -> Literals {
        let literals = match &self.other {
            Some(other) => Literals::new(&other.text, 0, &other.slots),
            None => Literals::new(of.text, self.bytes.start, &of.scan.slots),
        };
        let literals = literals.telling(&of.told);
        if of.scan.fixed { literals.fixed() } else { literals }
    }

    /// The text that the tree was read from, up to what was read otherwise in it.
    pub fn text<'s>(&'s self, of: &'s Analyzer<'_>) -> &'s str {
        match &self.other {
            Some(other) => &other.text,
            None => of.text.get(self.bytes.clone()).unwrap_or_default(),
        }
    }

    /// A part of it, as a statement of its own: `bytes` of its text.
    pub fn within<'t>(&self, tree: &'t Statement, bytes: Range<usize>) -> Option<Parsed<'t>> {
        Some(match &self.other {
            Some(other) => Parsed { tree, bytes: self.bytes.clone(), other: Some(other.part(bytes)?) },
            None => Parsed { tree, bytes: self.bytes.start + bytes.start..self.bytes.start + bytes.end, other: None },
        })
    }

    pub fn source<'s>(&'s self, of: &'s Analyzer<'_>) -> Source<'s> {
        let text = self.text(of);
        match &self.other {
            Some(_) if of.scan.fixed => Source { text, base: 0, slots: &[] },
            None if of.scan.fixed => Source { text, base: self.bytes.start, slots: &[] },
            Some(other) => Source { text, base: 0, slots: &other.slots },
            None => Source { text, base: self.bytes.start, slots: &of.scan.slots },
        }
    }
}

/// A statement that cannot be answered by one shard or merged by the router, and why.
pub(crate) struct Unmerged<'a> {
    pub of: &'a Analyzer<'a>,
    pub parsed: &'a Parsed<'a>,
    pub reason: &'a Fault,
    /// The table that the statement changes, where it is an INSERT.
    pub written: Option<&'a QualifiedName>,
}

impl Unmerged<'_> {
    /// The finishing of it, or why there is none.
    pub fn finish(&self) -> Result<Finish, Fault> {
        let source = self.parsed.source(self.of);
        // A pull's conditions are printed.
        let prints = can_have_holes(source.text)
            && rewrite::is_faithful_in_parts(self.parsed.tree, source.text, self.of.scope.standard_strings);
        let reason = self.reason.detail.as_deref().unwrap_or(&self.reason.message);
        let text = |variant| self.text(self.parsed.tree, &[], &source, prints, variant);
        if modifying_with(self.parsed.tree).is_some() {
            let (text, _) = text(Variant::InTransaction).map_err(Obstacle::fault)?;
            if text.foreign {
                return Err(Obstacle::new("it reads a table that the home shard does not have").fault());
            }
            return Ok(Finish {
                reason: reason.into(),
                in_transaction: Ok(text.clone()),
                alone: text,
                elsewhere: Err("its WITH changes data".into()),
                copy: false,
                cursor: None,
                by_views: None,
                draws: self.of.draws.takes(),
            });
        }
        let in_transaction = text(Variant::InTransaction)
            .map(|(text, _)| text)
            .map_err(|why| why.hint("Run the statement outside of a transaction.").fault());
        let (alone, needs) = text(Variant::Alone).map_err(Obstacle::fault)?;
        // Where it reads no table but by pulls, it is for every server the same.
        let elsewhere = match alone.pulls_all {
            true => needs.map(|collations| Elsewhere { text: None, collations: collations.into() }),
            false => match text(Variant::Elsewhere) {
                Ok((text, needs)) => {
                    needs.map(|collations| Elsewhere { text: Some(text), collations: collations.into() })
                }
                Err(obstacle) => Err((*obstacle.detail).into()),
            },
        };
        let by_views = match &in_transaction {
            Ok(in_transaction) if !alone.views.is_empty() && !alone.foreign => {
                self.by_views(&source, prints, in_transaction.below.clone()).map(Arc::new)
            }
            _ => None,
        };
        let draws = self.of.draws.takes();
        let elsewhere = if draws { Err("it takes values of sequences".into()) } else { elsewhere };
        Ok(Finish {
            reason: reason.into(),
            alone,
            in_transaction,
            elsewhere,
            copy: false,
            cursor: None,
            by_views,
            draws,
        })
    }

    /// The same for clients who may read the views, but not what is below them: the shards are asked for the rows of each view by its name.
    fn by_views(&self, source: &Source<'_>, prints: bool, below: Vec<QualifiedName>) -> Option<ByViews> {
        let text = |variant| {
            let text = self.text_of(self.parsed.tree, &[], source, prints, variant, Viewed::ByName);
            text.ok().map(|(text, _)| text).filter(|text| text.views.is_empty())
        };
        Some(ByViews { alone: text(Variant::Alone)?, in_transaction: text(Variant::InTransaction), below })
    }

    /// The text of a statement around `query`, whose rows it uses on the connection that finishes it. `around`: what is changed beside the
    /// query in the statement's own text.
    pub fn filled(&self, query: &Statement, around: Vec<Edit>) -> Result<FinishText, Obstacle> {
        let source = self.parsed.source(self.of);
        let prints = can_have_holes(source.text)
            && rewrite::is_faithful_in_parts(self.parsed.tree, source.text, self.of.scope.standard_strings);
        self.text(query, &around, &source, prints, Variant::InTransaction).map(|(text, _)| text)
    }

    /// The finishing of parts that the shards have made.
    pub fn by_parts(&self, model: &Model<'_>, text: FinishText) -> Finish {
        let reason = self.reason.detail.as_deref().unwrap_or(&self.reason.message).into();
        let source = self.parsed.source(self.of);
        let elsewhere = elsewhere::needs(model, self.parsed.tree, source.text, &text.pulls)
            .map(|collations| Elsewhere { text: None, collations: collations.into() });
        Finish {
            reason,
            in_transaction: Ok(text.clone()),
            alone: text,
            elsewhere,
            copy: false,
            cursor: None,
            by_views: None,
            draws: self.of.draws.takes(),
        }
    }

    fn text(
        &self,
        tree: &Statement,
        around: &[Edit],
        source: &Source<'_>,
        prints: bool,
        variant: Variant,
    ) -> Result<(FinishText, Needs), Obstacle> {
        self.text_of(tree, around, source, prints, variant, Viewed::ByDefinition)
    }

    fn text_of(
        &self,
        tree: &Statement,
        around: &[Edit],
        source: &Source<'_>,
        prints: bool,
        variant: Variant,
        viewed: Viewed,
    ) -> Result<(FinishText, Needs), Obstacle> {
        let mut tree = tree.clone();
        let mut expanded = Expanded::default();
        let returned = match modifying_with(&tree) {
            None => Vec::new(),
            Some(_) if !prints || variant != Variant::InTransaction => {
                return Err(Obstacle::new("its text cannot be rewritten with certainty"));
            }
            Some(with) => {
                let beside = Beside { written: self.written, ..Beside::default() };
                returned(self.of, self.parsed, source, with, beside)?
            }
        };
        // Each round expands the views that the last one's definitions name.
        const DEEPEST: usize = 32;
        for _ in 0..DEEPEST {
            let model = self.walk(&tree, &returned)?;
            let ordinals = views::ordinals(&tree);
            let collected = model.collected.as_deref().map_or(&[][..], |collected| &collected.views);
            let by_name = views::by_name(&tree);
            let found = collected
                .iter()
                .filter(|(factor, _, sharded)| (*sharded || variant.pulls_all()) && !by_name.contains(factor));
            let viewed = |sharded: bool| if sharded { viewed } else { Viewed::ByDefinition };
            let found = found
                .filter_map(|(factor, view, sharded)| Some((*ordinals.get(factor)?, (view.clone(), viewed(*sharded)))));
            let views: HashMap<usize, _> = found.collect();
            if views.is_empty() {
                check_uses(&model, variant, self.of.draws.takes())?;
                let returned = &returned;
                return Rewriting {
                    model: &model,
                    source,
                    tree,
                    around,
                    ordinals,
                    expanded,
                    prints,
                    variant,
                    returned,
                }
                .text();
            }
            views::expand(&mut tree, &views, &mut expanded)?;
        }
        Err(Obstacle::new("views nested more than 32 deep"))
    }

    /// `returned`: what of its WITH is carried out by itself.
    fn walk(&self, tree: &Statement, returned: &[Returned]) -> Result<Model<'_>, Obstacle> {
        let literals = self.parsed.literals(self.of);
        let mut model = Model::new(self.of.scope, literals, self.of.used.clone());
        let all_rows = self.of.draws == Drawing::ByAnyRow;
        model.collected = Some(Box::new(Collected { all_rows, ..Collected::default() }));
        let Statement::Query(query) = tree else { return Err(Obstacle::new("a statement that is no query")) };
        let ctes = query.with.as_ref().map_or(&[][..], |with| &with.cte_tables);
        let supplied =
            returned.iter().filter_map(|of| Some((std::ptr::from_ref(&*ctes.get(of.at)?.query), of.columns.clone())));
        model.supplied.queries = supplied.collect();
        match model.query(query, None, None, &None) {
            Ok(_) => Ok(model),
            Err(Stop::NotUnderstood(what)) => Err(Obstacle::new(format!("the router does not understand {what}"))),
            Err(Stop::Refuse(fault)) => Err(Obstacle::new(fault.message.clone())),
        }
    }
}

/// Which of a statement's texts is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// On the home shard, outside of a transaction: what that has is read there.
    Alone,
    /// The client is in a transaction: every table is pulled through its connections, and the time is that of the transaction.
    InTransaction,
    /// On a server that has no tables, outside of a transaction.
    Elsewhere,
}

impl Variant {
    fn pulls_all(self) -> bool {
        self != Self::Alone
    }
}

/// What a Postgres beside the shards must not or cannot do.
/// `draws`: the functions with effects in it are calls of `nextval`.
fn check_uses(model: &Model<'_>, variant: Variant, draws: bool) -> Result<(), Obstacle> {
    let uses = &model.uses;
    let function = |name: &str, why: &str| Err(Obstacle::new(format!("function {name}() {why}")));
    if uses.writing || uses.writing_cte {
        return Err(Obstacle::new("WITH contains a statement that changes data"));
    }
    if uses.locking {
        return Err(locks_copies());
    }
    if uses.sample == Some(Sample::Unknown) {
        return Err(unknown_sample());
    }
    if uses.sample_repeats {
        return Err(other_sample());
    }
    if let Some(column) = &uses.system_column {
        return Err(Obstacle::new(format!("system column \"{column}\"")));
    }
    if let Some(name) = &uses.stored {
        return function(name, "tells how a value is stored, and rows that are put together are stored anew");
    }
    if let Some(name) = &uses.unknown_function {
        return function(name, "is not known to the router");
    }
    if let Some(name) = uses.attribute.as_deref().filter(|name| is_users(&model.scope, name)) {
        return Err(called_as_attribute(name));
    }
    if uses.home_function && !draws || uses.pin.is_some() {
        let what = uses.home.as_deref().unwrap_or("a function with effects");
        let obstacle = Obstacle::new(format!("{what} beside rows of several shards"));
        return Err(match what {
            "function nextval()" => obstacle.hint(
                "Call it in a select list, in ORDER BY or in HAVING, by the literal name of the sequence, or take the values first: SELECT nextval(...) FROM generate_series(1, n).",
            ),
            _ => obstacle,
        });
    }
    if let Some(name) = &uses.server
        && !is_same_at_home(name)
    {
        return Err(Obstacle::new(format!("{name} depends on the server that runs it")));
    }
    if let (Some(name), Some(_)) = (&uses.user_function, &uses.volatile) {
        return function(name, "may have effects");
    }
    if let Some(name) = &uses.placed_name {
        return Err(Obstacle::new(format!("\"{name}\", which is of one schema, beside rows of several shards")));
    }
    if variant.pulls_all() && uses.system.is_some() {
        return Err(Obstacle::new("a catalog relation beside rows of several shards"));
    }
    Ok(())
}

/// Stands for `current_setting` of what clients alone set: the session's settings are on the connection that finishes.
pub(crate) const SESSION_SETTING: &str = "current_setting() of a setting of the session";

/// What says the same at home as on one Postgres that has everything.
pub(crate) fn is_same_at_home(name: &str) -> bool {
    const NAMES: [&str; 13] = [
        SESSION_SETTING,
        "current_database",
        "current_catalog",
        "version",
        "getdatabaseencoding",
        "format_type",
        "col_description",
        "obj_description",
        "shobj_description",
        "pg_table_is_visible",
        "pg_type_is_visible",
        "pg_get_userbyid",
        "pg_encoding_to_char",
    ];
    NAMES.contains(&name) || name.starts_with("has_") || is_type_of_names(name)
}

pub(crate) struct Rewriting<'m> {
    pub model: &'m Model<'m>,
    pub source: &'m Source<'m>,
    /// With views expanded.
    pub tree: Statement,
    /// What is changed in the text beside the tree.
    pub around: &'m [Edit],
    pub ordinals: HashMap<*const TableFactor, usize>,
    pub expanded: Expanded,
    /// Whether what is printed of the tree is what the client wrote.
    pub prints: bool,
    pub variant: Variant,
    /// What of its WITH is carried out by itself.
    pub returned: &'m [Returned],
}

impl Rewriting<'_> {
    fn text(mut self) -> Result<(FinishText, Needs), Obstacle> {
        let limit = match &self.tree {
            Statement::Query(query) => most_rows(query),
            _ => None,
        };
        let mentions = Mentions::of(&self.tree, self.source.text);
        let forms = forms(&self.tree);
        let collected = self.model.collected.as_deref();
        let tables: &[TableUse] = collected.map_or(&[], |collected| &collected.tables);
        // A table in a WITH query is one place of the text, however often the query is used.
        let mut places: Vec<(usize, Vec<&TableUse>)> = Vec::new();
        let home = self.model.scope.topology.home;
        let is_foreign =
            |table: &TableUse| matches!(&table.relation, Relation::Unsharded { place, .. } if place.shard != home);
        let foreign = tables.iter().any(is_foreign);
        // A shard has other numbers than the one that finishes it.
        let mut inner = match self.prints && !self.model.uses.numbering.hangs_on_server() {
            true => inner_queries(self.model, &self.tree, self.source),
            false => Vec::new(),
        };
        // What only the finishing statement describes has its parameters described by it too.
        inner.retain(|inner| !(foreign && inner.has_parameters()));
        let by_name = views::by_name(&self.tree);
        // A view that would be left is the home shard's alone.
        if inner.iter().filter(|inner| inner.by_name).count() != by_name.len() {
            return Err(Obstacle::new("a view whose rows are not those of the shards together"));
        }
        let home_views = collected.iter().flat_map(|collected| &collected.views);
        let home_views = home_views.filter(|(factor, ..)| !by_name.contains(factor));
        let mut reads_home = home_views.map(|(_, view, _)| view.name.name.clone()).next();
        let mut pulls_all = reads_home.is_none();
        // Only what names one of the session's own tables is changed to its rows.
        let temporary = tables.iter().filter(|table| table.relation.is_temporary());
        let ordinals = temporary.filter_map(|table| self.ordinals.get(&table.factor).copied());
        let named = |at: &usize| forms.get(*at).is_some_and(|form| form.temporary);
        if mentions.temporary != ordinals.filter(named).collect::<HashSet<_>>().len() {
            return Err(Obstacle::new("a temporary table beside rows of several shards"));
        }
        for table in tables.iter().filter(|table| !inner.iter().any(|inner| inner.contains(table.leaf))) {
            let Some(ordinal) = self.ordinals.get(&table.factor) else { continue };
            match &table.relation {
                Relation::System => continue,
                Relation::Unsharded { .. } if is_foreign(table) || table.relation.is_temporary() => {}
                Relation::Unsharded { .. } | Relation::Reference { .. } if !self.variant.pulls_all() => {
                    pulls_all = false;
                    if let Relation::Unsharded { table: known, .. } = &table.relation {
                        let known = known.as_ref().map(|table| table.name.name.clone());
                        reads_home.get_or_insert_with(|| known.unwrap_or(self.model.leaves[table.leaf].name.clone()));
                    }
                    continue;
                }
                _ => {}
            }
            match places.iter_mut().find(|(of, _)| of == ordinal) {
                Some((_, uses)) => uses.push(table),
                None => places.push((*ordinal, vec![table])),
            }
        }
        check_names(self.model)?;
        let mut pulls = Vec::new();
        let mut inputs = HashMap::new();
        let mut known = Known::default();
        let on_shards = match self.prints {
            true => on_shards(self.model, &self.ordinals, &forms),
            false => Vec::new(),
        };
        for (ordinal, uses) in places {
            let form = forms.get(ordinal).copied().unwrap_or_default();
            let pull = self.pull(&uses, form, &mentions, &on_shards)?;
            if let Some(table) = &pull.table {
                self.expanded.names.insert((table.schema.clone(), table.name.clone()));
            }
            let before = pulls.len();
            let at = share(&mut pulls, pull);
            if at == before && uses.len() == 1 {
                known.single.insert(at);
            } else {
                known.single.remove(&at);
            }
            for used in &uses {
                known.pulls.insert(used.leaf, at);
                let columns = named_columns(self.model, used, &pulls[at]);
                known.columns.extend(columns.map(|(node, name)| ((at, node), name)));
            }
            inputs.insert(ordinal, at);
        }
        let mut of_queries = HashMap::new();
        let (mut finishing, mut arms) = (HashMap::new(), HashMap::new());
        for query in inner {
            let before = pulls.len();
            let at = share(&mut pulls, query.pull.clone());
            if at == before && query.is_used_once() {
                known.single.insert(at);
            } else {
                known.single.remove(&at);
            }
            known.pulls.extend(query.leaves().map(|leaf| (leaf, at)));
            known.columns.extend(query.columns.iter().map(|(node, name)| ((at, *node), name.clone())));
            let left = match query.finishing {
                Some(left) => Some(left.over(&pulls[at].name, self.model).ok_or_else(not_found)?),
                None => None,
            };
            match query.place {
                InnerPlace::Query(ordinal) => {
                    of_queries.insert(ordinal, at);
                    finishing.extend(left.map(|left| (ordinal, left)));
                }
                InnerPlace::Arm(ordinal) => arms.extend(left.map(|left| (ordinal, left))),
            }
        }
        if self.prints && !self.variant.pulls_all() {
            known.home = home_tables(tables, home, &self.ordinals, &forms);
        }
        stage(self.model, &mut pulls, &known);
        let (places, supplies) = self.pull_returned(&mut pulls, &mut of_queries)?;
        let names: HashMap<usize, &str> =
            inputs.iter().filter_map(|(ordinal, at)| Some((*ordinal, &*pulls.get(*at)?.name))).collect();
        let queries: HashMap<usize, &str> =
            of_queries.iter().filter_map(|(ordinal, at)| Some((*ordinal, &*pulls.get(*at)?.name))).collect();
        let mut replace = Replace {
            places: Some(places),
            schema: Some("pg_temp"),
            source: self.source,
            names: &names,
            queries: &queries,
            finishing: &finishing,
            arms: &arms,
            expanded: &self.expanded,
            next: 0,
            next_query: 0,
            next_select: 0,
            behind: Vec::new(),
            behind_arms: Vec::new(),
            edits: Vec::new(),
            complete: true,
            clock: Clock {
                scope: self.model.scope,
                calls: match self.variant {
                    Variant::InTransaction => Calls::OfTransaction,
                    Variant::Alone | Variant::Elsewhere => Calls::OfStatement,
                },
            },
            own_clock: false,
            clock_in_from: false,
        };
        let needs = elsewhere::needs(self.model, &self.tree, self.source.text, &pulls);
        let mut tree = self.tree;
        let _ = VisitMut::visit(&mut tree, &mut replace);
        let Replace { mut edits, complete, own_clock, clock_in_from, .. } = replace;
        // What is left of a change would be made once more.
        let replaced = |of: &Returned| edits.iter().any(|edit| edit.bytes == of.bytes);
        let complete = complete && self.returned.iter().all(replaced);
        edits.extend_from_slice(self.around);
        if let (true, Some(name)) = (clock_in_from, &self.model.uses.clock) {
            return Err(Obstacle::new(format!("function {name}() in FROM")).hint("Call it in the select list."));
        }
        if self.model.uses.moment && matches!(self.variant, Variant::InTransaction) {
            return Err(says_now());
        }
        let sql = complete.then(|| self.source.splice(edits)).flatten().ok_or_else(not_found)?;
        let clock = self.model.uses.clock.clone();
        let views = self.expanded.views;
        let named = tables.iter().filter_map(|table| Some(table.relation.table()?.name.clone()));
        let below = if views.is_empty() { Vec::new() } else { named.collect() };
        Ok((
            FinishText {
                pulls,
                sql,
                reads_home,
                pulls_all,
                clock,
                own_clock,
                foreign,
                limit,
                depot: None,
                views,
                below,
                supplies,
            },
            needs,
        ))
    }

    /// Adds the pulls of what changes data, behind all that only reads; where they stand in the text, by the ordinals of their queries.
    fn pull_returned(
        &self,
        pulls: &mut Vec<PullText>,
        of_queries: &mut HashMap<usize, usize>,
    ) -> Result<(HashMap<usize, Range<usize>>, Supplies), Obstacle> {
        let (mut places, mut supplies) = (HashMap::new(), Vec::new());
        let Some(with) = modifying_with(&self.tree) else { return Ok((places, supplies)) };
        let ordinals = query_ordinals(&self.tree);
        let last = pulls.iter().map(|pull| pull.stage + 1).max().unwrap_or(0);
        for of in self.returned {
            let query = with.cte_tables.get(of.at).map(|cte| std::ptr::from_ref(&*cte.query));
            let ordinal = query.and_then(|query| ordinals.get(&query)).ok_or_else(not_found)?;
            // Each is a change of its own, whatever it says.
            let at = add(pulls, PullText { stage: last, ..of.pull.clone() });
            of_queries.insert(*ordinal, at);
            places.insert(*ordinal, of.bytes.clone());
            supplies.extend(of.supply.clone().map(|supply| (at, supply)));
        }
        Ok((places, supplies))
    }

    /// What fills the input of a table at one place.
    pub fn pull(
        &self,
        uses: &[&TableUse],
        form: Form,
        mentions: &Mentions,
        on_shards: &[Place<'_>],
    ) -> Result<PullText, Obstacle> {
        let unknown = |name: &str| {
            Obstacle::new(format!("table \"{name}\" is not in the catalog"))
                .hint("If it is a temporary table, read what the statement needs of it first.")
        };
        let Some(first) = uses.first() else { return Err(unknown("")) };
        let leaf_name = &self.model.leaves[first.leaf].name;
        let (name, table, key) = match &first.relation {
            Relation::Sharded { name, table: Some(table), key, .. } => (name, table, &key[..]),
            Relation::Reference { name, table: Some(table) } => (name, table, &[][..]),
            Relation::Unsharded { table: Some(table), .. } => (&table.name, table, &[][..]),
            _ => return Err(unknown(leaf_name)),
        };
        let source = match &first.relation {
            Relation::Sharded { .. } => {
                let mut groups = Vec::new();
                for table in uses {
                    let of_leaf = |id: &usize| self.model.refs[*id].leaf == table.leaf;
                    for id in (0..self.model.refs.len()).filter(of_leaf) {
                        let mut group = self.model.group_of(id);
                        if self.model.needs_all_rows() {
                            group.expr = KeyExpr::Any;
                        }
                        if !groups.contains(&group) {
                            groups.push(group);
                        }
                    }
                }
                PullSource::Sharded(groups)
            }
            Relation::Reference { .. } => PullSource::Reference,
            Relation::Unsharded { place, .. } => PullSource::One(place.shard),
            Relation::View { .. } | Relation::System => PullSource::One(self.model.scope.topology.home),
        };
        let Form { only, renamed, temporary: _ } = form;
        let columns: Vec<&str> = table.columns.iter().map(|column| &*column.name).collect();
        let scanned = Scanned { leaf: first.leaf, columns: &columns, qualifier: None };
        let mut filters = if self.prints { filters(self.model, scanned) } else { Vec::new() };
        let top = match (self.prints && !self.model.uses.numbering.hangs_on_server(), &self.tree) {
            // The first rows of a sample are not a sample of the first rows.
            (true, Statement::Query(query)) if self.model.uses.sample.is_none() => {
                top(self.model, query, first, &columns)
            }
            _ => None,
        };
        if let Some(place) = on_shards.iter().find(|place| place.leaf == first.leaf)
            && matches!(source, PullSource::Sharded(_))
        {
            filters.extend(partners(self.model, on_shards, place));
        }
        let scan = Scan { model: self.model, leaf: first.leaf, name, table, only, renamed, mentions };
        scan.check()?;
        scan.pull(source, key, filters, top)
    }
}

/// The tables that the shards can look into beside the one that they are asked for. What is in a WITH query that is used several
/// times is joined with other rows in each use, and is left out.
fn on_shards<'m>(
    model: &'m Model<'_>,
    ordinals: &HashMap<*const TableFactor, usize>,
    forms: &[Form],
) -> Vec<Place<'m>> {
    let tables = model.collected.as_deref().map_or(&[][..], |collected| &collected.tables);
    let mut found = Vec::new();
    for used in tables {
        let (name, table, everywhere) = match &used.relation {
            Relation::Sharded { name, table: Some(table), .. } => (name, table, false),
            Relation::Reference { name, table: Some(table) } => (name, table, true),
            _ => continue,
        };
        let uses = tables.iter().filter(|other| std::ptr::eq(other.factor, used.factor)).count();
        let Some(form) = ordinals.get(&used.factor).and_then(|ordinal| forms.get(*ordinal)) else { continue };
        if uses == 1 {
            let columns = table.columns.iter().map(|column| &*column.name).collect();
            found.push(Place { leaf: used.leaf, name, only: form.only, everywhere, columns });
        }
    }
    found
}

/// The columns of a table that a pull brings, and what it calls them.
fn named_columns<'m>(
    model: &'m Model<'_>,
    used: &'m TableUse,
    pull: &'m PullText,
) -> impl Iterator<Item = (NodeId, Box<str>)> + 'm {
    let table = match &used.relation {
        Relation::Sharded { table, .. } | Relation::Reference { table, .. } | Relation::Unsharded { table, .. } => {
            table.as_deref()
        }
        Relation::View { .. } | Relation::System => None,
    };
    let names = table.map_or(&[][..], |table| &table.columns).iter().map(|column| &column.name);
    let nodes = model.leaves[used.leaf].columns.list.iter().map(|column| column.node);
    let pulled = |name: &Box<str>| pull.columns.iter().any(|(column, _, _)| column == name);
    nodes.zip(names).filter_map(move |(node, name)| Some((node.filter(|_| pulled(name))?, name.clone())))
}

/// The tables that the connection which finishes the statement, one to this shard, reads itself.
fn home_tables<'m>(
    tables: &'m [TableUse],
    shard: ShardId,
    ordinals: &HashMap<*const TableFactor, usize>,
    forms: &[Form],
) -> Vec<HomeTable<'m>> {
    let home = |used: &'m TableUse| match &used.relation {
        Relation::Unsharded { table: Some(table), place } if place.shard == shard && !is_temporary(table) => {
            let only = forms.get(*ordinals.get(&used.factor)?)?.only;
            Some(HomeTable { leaf: used.leaf, name: &table.name, table, only })
        }
        _ => None,
    };
    tables.iter().filter_map(home).collect()
}

/// Tables of two schemas can have one name in one FROM list; their inputs cannot.
pub(crate) fn check_names(model: &Model<'_>) -> Result<(), Obstacle> {
    for level in &model.levels {
        let mut names = HashMap::new();
        for leaf in level.leaves.iter().map(|leaf| &model.leaves[*leaf]) {
            // Where both are of one schema, Postgres itself has said no.
            let before = names.insert(&leaf.name, &leaf.schema);
            if before.is_some_and(|schema| *schema != leaf.schema) && !leaf.name.is_empty() {
                return Err(Obstacle::new(format!("two tables called \"{}\" in one FROM list", leaf.name))
                    .hint("Give one of them an alias."));
            }
        }
    }
    Ok(())
}

/// How a FROM item names its table.
#[derive(Clone, Copy, Default)]
pub(crate) struct Form {
    only: bool,
    /// Its alias has a column list.
    renamed: bool,
    /// It is named in the schema of temporary tables.
    temporary: bool,
}

fn not_found() -> Obstacle {
    Obstacle::new("the names of its tables cannot be found again in its text with certainty")
}

/// The queries of a statement in the order of a visit, by their address.
pub(crate) fn query_ordinals(tree: &Statement) -> HashMap<*const Query, usize> {
    struct Count(HashMap<*const Query, usize>);
    impl Visitor for Count {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let next = self.0.len();
            self.0.insert(std::ptr::from_ref(query), next);
            ControlFlow::Continue(())
        }
    }
    let mut count = Count(HashMap::new());
    let _ = tree.visit(&mut count);
    count.0
}

/// The forms of all FROM items, by their ordinals.
pub(crate) fn forms(tree: &Statement) -> Vec<Form> {
    struct Forms(Vec<Form>);
    impl Visitor for Forms {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            self.0.push(match factor {
                TableFactor::Table { name, alias, .. } => Form {
                    temporary: parts(name).and_then(|of| of.0).is_some_and(|schema| is_temporary_schema(&schema)),
                    only: reads_only(factor),
                    renamed: alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()),
                },
                _ => Form::default(),
            });
            ControlFlow::Continue(())
        }
    }
    let mut forms = Forms(Vec::new());
    let _ = tree.visit(&mut forms);
    forms.0
}

/// A COPY TO STDOUT around a query that is finished.
pub(crate) fn copied(finish: &Finish, before: &str, after: &str) -> Arc<Finish> {
    Arc::new(Finish { copy: true, ..wrapped(finish, before, after) })
}

/// A DECLARE CURSOR before a query that is finished.
pub(crate) fn declared(finish: &Finish, cursor: &str, before: &str, hold: bool) -> Arc<Finish> {
    let cursor = Some(Cursor { name: cursor.into(), query: before.len(), hold });
    Arc::new(Finish { cursor, ..wrapped(finish, before, "") })
}

fn wrapped(finish: &Finish, before: &str, after: &str) -> Finish {
    let wrap = |text: &FinishText| {
        let mut text = text.clone();
        text.sql.prepend(before);
        text.sql.push(after);
        text
    };
    Finish {
        alone: wrap(&finish.alone),
        in_transaction: finish.in_transaction.as_ref().map(wrap).map_err(Clone::clone),
        elsewhere: finish.elsewhere.clone().map(|of| Elsewhere { text: of.text.as_ref().map(wrap), ..of }),
        by_views: finish.by_views.as_ref().map(|by| {
            let (alone, in_transaction) = (wrap(&by.alone), by.in_transaction.as_ref().map(wrap));
            Arc::new(ByViews { alone, in_transaction, below: by.below.clone() })
        }),
        ..finish.clone()
    }
}
