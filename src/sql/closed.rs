//! Queries within an UPDATE or DELETE that look at nothing around them: one Postgres asks them once.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

use sqlparser::ast::{
    GroupByExpr, Query, Select, SelectItem, SetExpr, TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};

use crate::sql::matches::unique_columns;
use crate::sql::model::{Collected, Columns, Spread, TableUse};
use crate::sql::names::{Relation, folded};
use crate::sql::splice::Source;
use crate::sql::supplying::Supplying;
use crate::sql::words::{text_of, tokens};

/// A query within the statement that is asked once.
pub(crate) struct Closed {
    pub ordinal: usize,
    pub query: *const Query,
    /// Between its parentheses.
    pub bytes: Range<usize>,
    pub columns: Columns,
    /// It is the source of a MERGE whose rows are sorted.
    pub source: bool,
}

/// Where what is changed lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lies {
    /// On the home shard, which has the unsharded tables.
    Home,
    /// On every shard.
    Everywhere,
    /// On each shard another part.
    Apart,
}

impl Supplying<'_> {
    /// The outermost queries that can be asked once, and the FROM items inside of them.
    /// `changing`: queries that change data and are asked once too.
    pub fn closed(
        &self,
        source: &Source<'_>,
        lies: Lies,
        changing: &HashSet<*const Query>,
    ) -> (Vec<Closed>, HashSet<*const TableFactor>) {
        let mut find = FindClosed {
            of: self,
            source,
            lies,
            changing,
            next: 0,
            depth: 0,
            within: None,
            sorted: false,
            found: Vec::new(),
            inside: HashSet::new(),
        };
        let _ = self.parsed.tree.visit(&mut find);
        (find.found, find.inside)
    }

    /// What a query gives, where it can be asked by itself.
    fn closed_columns(&self, query: &Query, lies: Lies, sorted: bool) -> Option<Columns> {
        let home = lies == Lies::Home;
        let mut scratch = self.model();
        scratch.unresolved = Some(Vec::new());
        scratch.collected = Some(Box::new(Collected::default()));
        let rows = scratch.query(query, None, None, &None).ok()?;
        let collected = scratch.collected.as_deref()?;
        let elsewhere = |table: &TableUse| match &table.relation {
            Relation::Sharded { .. } => true,
            Relation::Unsharded { table, place } => table.is_some() && !(home && place.is_home(&self.of.scope)),
            Relation::Reference { .. } | Relation::View { .. } | Relation::System => false,
        };
        let unknown = |table: &TableUse| matches!(&table.relation, Relation::Unsharded { table: None, .. });
        // Of what every shard has nothing is sent, but where each could make something else of it.
        let reads = sorted
            || collected.tables.iter().any(elsewhere)
            || collected.views.iter().any(|(_, _, sharded)| *sharded)
            || !home
                && (!matches!(rows.spread, Spread::Same) || scratch.uses.volatile.is_some() || self.of.draws.takes())
            // The rows of a group can lie in another order on each shard.
            || lies == Lies::Everywhere && unique_columns(query, &self.of.scope).is_some();
        // A name that is none of a table may be one of a WITH around it, or of a column around it; or of a column of its own output, where
        // it orders or groups.
        let mut bare = query.clone();
        let _ = VisitMut::visit(&mut bare, &mut Unordered);
        let mut again = self.model();
        again.unresolved = Some(Vec::new());
        again.query(&bare, None, None, &None).ok()?;
        let aliases = aliases(query);
        let named = again.unresolved.is_some_and(|names| names.is_empty())
            && scratch.unresolved.take()?.iter().all(|name| aliases.contains(name));
        if !reads || collected.tables.iter().any(unknown) || !named || scratch.uses.writing_cte {
            return None;
        }
        let mut columns = rows.columns;
        let twice = |at: usize| columns.list[..at].iter().any(|before| before.name == columns.list[at].name);
        if !columns.complete || columns.list.is_empty() || (0..columns.list.len()).any(twice) {
            return None;
        }
        columns.list.iter_mut().for_each(|column| column.node = None);
        Some(columns)
    }
}

struct FindClosed<'f, 'a> {
    of: &'f Supplying<'a>,
    source: &'f Source<'f>,
    lies: Lies,
    changing: &'f HashSet<*const Query>,
    next: usize,
    depth: usize,
    /// How deep the query is that the visit is inside of and that is asked once.
    within: Option<usize>,
    /// The next query is the source of a MERGE whose rows are sorted.
    sorted: bool,
    found: Vec<Closed>,
    inside: HashSet<*const TableFactor>,
}

impl Visitor for FindClosed<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let ordinal = self.next;
        self.next += 1;
        self.depth += 1;
        if self.within.is_some() {
            return ControlFlow::Continue(());
        }
        if self.changing.contains(&std::ptr::from_ref(query)) {
            self.within = Some(self.depth);
            return ControlFlow::Continue(());
        }
        let sorted = std::mem::take(&mut self.sorted);
        let bytes = match &*query.body {
            SetExpr::Select(select) if query.with.is_none() => {
                self.source.parenthesised(select.select_token.0.span.start)
            }
            _ if sorted => source_of_merge(self.source.text),
            _ => None,
        };
        if let Some(bytes) = bytes
            && let Some(columns) = self.of.closed_columns(query, self.lies, sorted)
        {
            self.within = Some(self.depth);
            self.found.push(Closed { ordinal, query, bytes, columns, source: sorted });
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        if self.within == Some(self.depth) {
            self.within = None;
        }
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if self.within.is_some() {
            self.inside.insert(factor);
        }
        self.sorted = self.of.sorts(factor);
        ControlFlow::Continue(())
    }
}

/// What stands between the parentheses behind USING.
fn source_of_merge(text: &str) -> Option<Range<usize>> {
    let tokens = tokens(text, true)?;
    let mut depth = 0usize;
    let mut merges = false;
    let mut open = None;
    for (at, token) in tokens.iter().enumerate() {
        let word = text_of(text, token);
        if token.is(b'(') {
            depth += 1;
        } else if token.is(b')') {
            depth = depth.checked_sub(1)?;
            if let Some(open) = open.filter(|_| depth == 0) {
                return Some(open..token.start);
            }
        } else if depth == 0 && word.eq_ignore_ascii_case("merge") {
            merges = true;
        } else if depth == 0 && merges && word.eq_ignore_ascii_case("using") && open.is_none() {
            open = Some(tokens.get(at + 1).filter(|next| next.is(b'('))?.end);
        }
    }
    None
}

/// Leaves out where names can be those of output columns.
struct Unordered;

impl VisitorMut for Unordered {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        query.order_by = None;
        if let SetExpr::Select(select) = &mut *query.body {
            select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
        }
        ControlFlow::Continue(())
    }
}

/// The names that a query gives to what it returns, at any level.
fn aliases(query: &Query) -> HashSet<String> {
    struct Aliases(HashSet<String>);
    impl Visitor for Aliases {
        type Break = ();
        fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
            for item in &select.projection {
                if let SelectItem::ExprWithAlias { alias, .. } = item {
                    self.0.insert(folded(alias).into_owned());
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut aliases = Aliases(HashSet::new());
    let _ = query.visit(&mut aliases);
    aliases.0
}
