//! The texts of a supply: what brings the rows together that are sent along, and the statement that reads them.

use std::collections::HashMap;
use std::ops::Range;

use sqlparser::ast::{Statement, TableFactor, VisitMut};

use crate::ids::QualifiedName;
use crate::sql::clock::{Calls, Clock};
use crate::sql::closed::Closed;
use crate::sql::finish::{Rewriting, Unmerged, Variant, check_names, forms};
use crate::sql::model::{Model, TableUse};
use crate::sql::outcome::{Finish, FinishText, PullText};
use crate::sql::pieces::Pieces;
use crate::sql::pulls::{Mentions, append, share};
use crate::sql::replace::Replace;
use crate::sql::splice::{Edit, Source};
use crate::sql::supply::Supplies;
use crate::sql::supplying::Supplying;
use crate::sql::views::Expanded;
use crate::sql::words::{text_of, tokens};
use crate::sql::{parse, pieces, rewrite};

impl Supplying<'_> {
    /// The pulls of whole tables: their names by the ordinals of what they stand for.
    pub fn pull_tables(
        &self,
        model: &Model<'_>,
        source: &Source<'_>,
        ordinals: &HashMap<*const TableFactor, usize>,
        chosen: &[&TableUse],
        pulls: &mut Vec<PullText>,
    ) -> Result<(HashMap<usize, String>, Expanded), String> {
        let prints = pieces::can_have_holes(source.text)
            && rewrite::is_faithful_in_parts(self.parsed.tree, source.text, self.of.scope.standard_strings);
        check_names(model).map_err(|why| format!("it has {}; give one of them an alias", why.detail))?;
        let mentions = Mentions::of(self.parsed.tree, source.text);
        if mentions.temporary > 0 {
            return Err("it names the schema of temporary tables".to_owned());
        }
        let forms = forms(self.parsed.tree);
        let rewriting = Rewriting {
            model,
            source,
            tree: self.parsed.tree.clone(),
            around: &[],
            ordinals: ordinals.clone(),
            expanded: Expanded::default(),
            prints,
            variant: Variant::InTransaction,
            returned: &[],
        };
        let mut names = HashMap::new();
        let mut expanded = Expanded::default();
        for table in chosen {
            let Some(ordinal) = ordinals.get(&table.factor) else { continue };
            if names.contains_key(ordinal) {
                continue;
            }
            // A table in a WITH query is one place of the text, however often the query is used.
            let uses: Vec<&TableUse> = chosen.iter().copied().filter(|other| other.factor == table.factor).collect();
            let leaf = &model.leaves[table.leaf].name;
            if mentions.returns_row(leaf) {
                return Err(format!(
                    "it returns whole rows of \"{leaf}\" by their type, and its rows come from elsewhere"
                ));
            }
            let form = forms.get(*ordinal).copied().unwrap_or_default();
            let pull = rewriting.pull(&uses, form, &mentions, &[]).map_err(|why| why.detail.into_owned())?;
            if let Some(table) = &pull.table {
                expanded.names.insert((table.schema.clone(), table.name.clone()));
            }
            let at = share(pulls, pull);
            names.insert(*ordinal, pulls.get(at).map_or_else(String::new, |pull| pull.name.clone()));
        }
        Ok((names, expanded))
    }

    /// A query with inputs in the place of its tables; its pulls are added to the others.
    pub fn ask_once(
        &self,
        closed: &Closed,
        at: usize,
        source: &Source<'_>,
        pulls: &mut Vec<PullText>,
        views: &mut Vec<(QualifiedName, bool)>,
    ) -> Result<Pieces, String> {
        let unread = || "a query of it cannot be found in its text with certainty".to_owned();
        let text = source.text.get(closed.bytes.clone()).ok_or_else(unread)?;
        let tree = parse(text).ok_or_else(unread)?;
        let parsed = self.parsed.within(&tree, closed.bytes.clone()).ok_or_else(unread)?;
        let unmerged = Unmerged { of: self.of, parsed: &parsed, reason: self.reason, written: None };
        let filled = unmerged.filled(&tree, Vec::new()).map_err(|why| why.detail.into_owned())?;
        views.extend(filled.views.iter().cloned());
        Ok(append(pulls, filled, &format!("_q{}", at + 1)))
    }

    /// The statement as each shard gets it, behind its own WITH; and whether it has one, and a recursive one.
    pub fn statement(
        &self,
        source: &Source<'_>,
        names: &HashMap<usize, String>,
        queries: &HashMap<usize, (String, Range<usize>)>,
        expanded: &mut Expanded,
        moment: bool,
    ) -> Result<(Pieces, Option<bool>), String> {
        let names: HashMap<usize, &str> = names.iter().map(|(ordinal, name)| (*ordinal, &**name)).collect();
        let bytes: Vec<Range<usize>> = queries.values().map(|(_, bytes)| bytes.clone()).collect();
        let places = queries.iter().map(|(ordinal, (_, bytes))| (*ordinal, bytes.clone())).collect();
        let queries: HashMap<usize, &str> = queries.iter().map(|(ordinal, (name, _))| (*ordinal, &**name)).collect();
        let mut replace = Replace {
            schema: None,
            source,
            names: &names,
            queries: &queries,
            finishing: &HashMap::new(),
            arms: &HashMap::new(),
            places: Some(places),
            expanded,
            next: 0,
            next_query: 0,
            next_select: 0,
            behind: Vec::new(),
            behind_arms: Vec::new(),
            edits: Vec::new(),
            complete: true,
            clock: Clock { scope: self.of.scope, calls: if moment { Calls::Moment } else { Calls::Kept } },
            own_clock: false,
            clock_in_from: false,
        };
        let mut tree = self.parsed.tree.clone();
        let _ = VisitMut::visit(&mut tree, &mut replace);
        let Replace { mut edits, complete, clock_in_from, clock, .. } = replace;
        // What is left of a change would be made once more.
        let replaced = |bytes: &Range<usize>| edits.iter().any(|edit| edit.bytes == *bytes);
        let complete = complete && bytes.iter().all(replaced);
        if clock_in_from || clock.has_more_than_moment(self.parsed.tree) {
            return Err("it reads the clock in a way that is not sent along".to_owned());
        }
        let lost = || "the names of its tables cannot be found again in its text with certainty".to_owned();
        let with = match self.parsed.tree {
            Statement::Query(query) => query.with.as_ref(),
            _ => None,
        };
        if let Some(with) = with {
            edits.push(Edit { bytes: with_words(source.text, with.recursive).ok_or_else(lost)?, text: String::new() });
        }
        let statement = complete.then(|| source.splice(edits)).flatten().ok_or_else(lost)?;
        Ok((statement, with.map(|with| with.recursive)))
    }

    /// `views`: whose definitions stand in the place of their names in what is pulled.
    pub fn finish(
        &self,
        (pulls, supplies): (Vec<PullText>, Supplies),
        clock: Option<Box<str>>,
        views: Vec<(QualifiedName, bool)>,
    ) -> Finish {
        let mut nothing = Pieces::default();
        nothing.push("SET LOCAL pgloom.supplies = 'here'");
        let text = FinishText {
            below: Vec::new(),
            pulls,
            sql: nothing,
            reads_home: None,
            pulls_all: true,
            clock,
            own_clock: false,
            foreign: false,
            limit: None,
            depot: None,
            views,
            supplies,
        };
        Finish {
            by_views: None,
            reason: self.reason.detail.as_deref().unwrap_or(&self.reason.message).into(),
            in_transaction: Ok(text.clone()),
            alone: text,
            elsewhere: Err("it puts together what a write reads".into()),
            copy: false,
            cursor: None,
            draws: false,
        }
    }
}

/// The bytes of WITH, and of RECURSIVE behind it, at the beginning of a statement.
fn with_words(text: &str, recursive: bool) -> Option<Range<usize>> {
    let tokens = tokens(text, true)?;
    let is =
        |at: usize, word: &str| tokens.get(at).is_some_and(|token| text_of(text, token).eq_ignore_ascii_case(word));
    let last = if recursive { 1 } else { 0 };
    let whole = is(0, "with") && (!recursive || is(1, "recursive"));
    whole.then_some(tokens.first()?.start..tokens.get(last)?.end)
}
