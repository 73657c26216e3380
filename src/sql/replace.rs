//! Inputs in the place of tables: the edits of the client's text, and the same in the definitions of views.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, TableAlias, TableFactor, Visit, Visitor, VisitorMut,
};
use sqlparser::tokenizer::Span;

use crate::sql::clock::{Clock, Replaced, Replacement};
use crate::sql::from::is_only;
use crate::sql::inner::output_order;
use crate::sql::names::parts;
use crate::sql::parse_query;
use crate::sql::splice::{Edit, Source, is_placed};
use crate::sql::views::Expanded;

/// Puts inputs in the place of tables, and takes the schemas off the columns that were qualified by them: in the client's text by
/// edits, in the definitions of views by changing the tree.
pub(crate) struct Replace<'a> {
    /// That of the inputs.
    pub schema: Option<&'static str>,
    pub source: &'a Source<'a>,
    /// The inputs' names, by the ordinals of their FROM items.
    pub names: &'a HashMap<usize, &'a str>,
    /// Those that stand for whole queries, by the ordinals of these.
    pub queries: &'a HashMap<usize, &'a str>,
    /// What is made of the rows of such an input, where that is more than the rows themselves.
    pub finishing: &'a HashMap<usize, Query>,
    /// What stands in the place of queries in set operations, by the ordinals of their SELECTs.
    pub arms: &'a HashMap<usize, Query>,
    pub expanded: &'a Expanded,
    /// Where the text has these queries, if that is known already.
    pub places: Option<HashMap<usize, Range<usize>>>,
    pub next: usize,
    pub next_query: usize,
    pub next_select: usize,
    /// For each query that the visit is inside of and that an input stands for: the ordinals behind it.
    pub behind: Vec<Option<Counted>>,
    /// The same for each SELECT.
    pub behind_arms: Vec<Option<Counted>>,
    pub edits: Vec<Edit>,
    /// Every name was found where the tree says it is.
    pub complete: bool,
    pub clock: Clock<'a>,
    /// Some function that reads the clock was replaced.
    pub own_clock: bool,
    /// Such a function stands in FROM, where its name is that of a column.
    pub clock_in_from: bool,
}

impl Replace<'_> {
    /// Puts another text in the place of these names, where they are in the client's text.
    fn edit(&mut self, first: &Ident, last: &Ident, text: String) {
        if !is_placed(first) {
            return;
        }
        match self.source.range(first, last) {
            Some(bytes) => self.edits.push(Edit { bytes, text }),
            None => self.complete = false,
        }
    }

    /// `schema.table`, perhaps behind a database, shortened to `table` where it is replaced.
    fn shorten(&mut self, name: &mut ObjectName) {
        let known = match parts(name) {
            Some((Some(schema), table)) => self.expanded.names.contains(&(schema.into(), table.into())),
            _ => false,
        };
        if let (true, [first, .., last]) = (known, &name.0[..])
            && let (Some(first), Some(last)) = (first.as_ident().cloned(), last.as_ident().cloned())
        {
            self.edit(&first, &last, last.to_string());
            *name = ObjectName::from(vec![last]);
        }
    }

    /// The connection's own function in the place of one that reads the clock.
    fn replace_clock(&mut self, function: &mut Function) {
        let Some(Replaced { first, last, by }) = self.clock.replace(function) else { return };
        match by {
            Replacement::Name(text) => self.edit(&first, &last, text),
            Replacement::Value { .. } if !is_placed(&first) => self.complete = false,
            Replacement::Value { before, around } => match (self.source.call(&first, &last), around) {
                (Some((bytes, _)), None) => self.edits.push(Edit { bytes, text: before }),
                (Some((bytes, Some(argument))), Some((before, after))) => {
                    self.edits.push(Edit { bytes: bytes.start..argument.start, text: before });
                    self.edits.push(Edit { bytes: argument.end..bytes.end, text: after });
                }
                _ => self.complete = false,
            },
        }
        self.own_clock = true;
    }

    /// The ordinals behind what has all this `inside`. `counted`: what of that the visit has come to.
    fn behind(&self, inside: Counted, counted: Counted) -> Counted {
        Counted {
            items: self.next + inside.items - counted.items,
            queries: self.next_query + inside.queries - counted.queries,
            selects: self.next_select + inside.selects - counted.selects,
        }
    }

    /// The visit goes on behind what was replaced.
    fn go_on(&mut self, behind: Option<Counted>) {
        if let Some(Counted { items, queries, selects }) = behind {
            (self.next, self.next_query, self.next_select) = (items, queries, selects);
        }
    }

    /// `input` in the place of the table that a FROM item names.
    fn replace(&mut self, input: &str, name: &mut ObjectName, alias: &mut Option<TableAlias>) {
        let [.., last] = &name.0[..] else { return };
        let (Some(first), Some(last)) = (name.0.first().and_then(|part| part.as_ident()), last.as_ident()) else {
            return;
        };
        let (first, last) = (first.clone(), last.clone());
        let input: Vec<&str> = self.schema.into_iter().chain([input]).collect();
        let mut text = input.join(".");
        match alias {
            // What ONLY stands before is no alias.
            Some(table) if is_only(name) => {
                text.push_str(&format!(" AS {}", table.name));
                self.edit(&first, &table.name, text);
            }
            Some(_) => self.edit(&first, &last, text),
            None => {
                text.push_str(&format!(" AS {last}"));
                self.edit(&first, &last, text);
                *alias = Some(TableAlias { explicit: true, name: last, columns: Vec::new(), at: None });
            }
        }
        *name = ObjectName::from(input.into_iter().map(Ident::new).collect::<Vec<_>>());
    }
}

/// How many FROM items, queries and SELECTs there are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    items: usize,
    queries: usize,
    selects: usize,
}

impl Counted {
    fn of(part: &impl Visit) -> Self {
        let mut counted = Self::default();
        let _ = part.visit(&mut counted);
        counted
    }
}

impl Visitor for Counted {
    type Break = ();

    fn pre_visit_table_factor(&mut self, _: &TableFactor) -> ControlFlow<()> {
        self.items += 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, _: &Select) -> ControlFlow<()> {
        self.selects += 1;
        ControlFlow::Continue(())
    }
}

impl VisitorMut for Replace<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let input = self.queries.get(&self.next_query).copied();
        let finishing = self.finishing.get(&self.next_query);
        self.next_query += 1;
        let Some(input) = input else {
            self.behind.push(None);
            return ControlFlow::Continue(());
        };
        // The rows of the input come in no order.
        let order = output_order(query).unwrap_or_default();
        let text = match (self.schema, finishing) {
            (_, Some(finishing)) => finishing.to_string(),
            (Some(schema), None) => format!("SELECT * FROM {schema}.{input}{order}"),
            (None, None) => format!("SELECT * FROM {input}{order}"),
        };
        let inside = Counted::of(query);
        self.behind.push(Some(self.behind(inside, Counted { queries: 1, ..Counted::default() })));
        let other = finishing.cloned().map(Box::new).or_else(|| parse_query(&text));
        let Some(other) = other else {
            self.complete = false;
            return ControlFlow::Break(());
        };
        let known = self.places.as_ref().and_then(|places| places.get(&(self.next_query - 1)).cloned());
        match (known, &*query.body) {
            (Some(bytes), _) => self.edits.push(Edit { bytes, text }),
            (None, SetExpr::Select(select)) if select.select_token.0.span == Span::empty() => {}
            (None, SetExpr::Select(select)) => match self.source.parenthesised(select.select_token.0.span.start) {
                Some(bytes) => self.edits.push(Edit { bytes, text }),
                None => self.complete = false,
            },
            (None, _) => {
                self.complete = false;
                return ControlFlow::Break(());
            }
        }
        *query = *other;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        let behind = self.behind.pop().flatten();
        self.go_on(behind);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        // An input itself: what it stands for may have had no FROM item at all.
        if let (Some(Some(_)), _) | (_, Some(Some(_))) = (self.behind.last(), self.behind_arms.last()) {
            return ControlFlow::Continue(());
        }
        let input = self.names.get(&self.next).copied();
        self.next += 1;
        self.clock_in_from |= match &*factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                self.clock.replaced(name).is_some()
            }
            _ => false,
        };
        if let (Some(input), TableFactor::Table { name, alias, .. }) = (input, factor) {
            self.replace(input, name, alias);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        // By now the view's definition has its inputs.
        if let TableFactor::Derived { subquery, alias: Some(alias), .. } = factor
            && let Some((first, last, aliased)) = self.expanded.placed.get(&alias.name.span)
            && is_placed(&alias.name)
        {
            let own = if *aliased { String::new() } else { format!(" AS {last}") };
            self.edit(first, last, format!("({subquery}){own}"));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let ordinal = self.next_select;
        self.next_select += 1;
        if let Some(finishing) = self.arms.get(&ordinal) {
            let inside = Counted::of(select);
            self.behind_arms.push(Some(self.behind(inside, Counted { selects: 1, ..Counted::default() })));
            let SetExpr::Select(other) = &*finishing.body else {
                self.complete = false;
                return ControlFlow::Break(());
            };
            let start = select.select_token.0.span;
            if start != Span::empty() {
                match self.source.arm(start.start) {
                    Some(bytes) => self.edits.push(Edit { bytes, text: other.to_string() }),
                    None => self.complete = false,
                }
            }
            *select = (**other).clone();
            return ControlFlow::Continue(());
        }
        self.behind_arms.push(None);
        for item in &mut select.projection {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item {
                self.shorten(name);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<()> {
        let behind = self.behind_arms.pop().flatten();
        self.go_on(behind);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::CompoundIdentifier(names) if names.len() > 2 => {
                let column = names.pop();
                let mut table = ObjectName::from(std::mem::take(names));
                self.shorten(&mut table);
                names.extend(table.0.into_iter().filter_map(|part| part.as_ident().cloned()));
                names.extend(column);
            }
            Expr::QualifiedWildcard(name, _) => self.shorten(name),
            Expr::Function(function) => {
                self.replace_clock(function);
                if let FunctionArguments::List(list) = &mut function.args {
                    for arg in &mut list.args {
                        let (FunctionArg::Unnamed(arg)
                        | FunctionArg::Named { arg, .. }
                        | FunctionArg::ExprNamed { arg, .. }) = arg;
                        if let FunctionArgExpr::QualifiedWildcard(name) = arg {
                            self.shorten(name);
                        }
                    }
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
