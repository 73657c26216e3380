//! UPDATE and DELETE of a reference table with functions that give another value at each call (`random()`, `nextval` in SET): what they
//! give is asked for once, row by row, and each shard changes its copy by that, row by row of the primary key.

use std::ops::ControlFlow;
use std::rc::Rc;

use sqlparser::ast::{
    Assignment, AssignmentTarget, DataType, Delete, Expr, FromTable, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, ObjectName, Query, SelectItem, TableFactor, TableWithJoins, Update, Value, ValueWithSpan,
    Visit, VisitMut, Visitor, VisitorMut,
};

use crate::catalog::Table;
use crate::sql::analyze::Analyzer;
use crate::sql::drawing::Drawing;
use crate::sql::finish::Parsed;
use crate::sql::from::is_only;
use crate::sql::functions::{FunctionClass, classify};
use crate::sql::model::Model;
use crate::sql::names::{folded, parts};
use crate::sql::outcome::Outcome;
use crate::sql::pulls::quoted;
use crate::sql::rewrite::is_faithful_in_parts;
use crate::sql::sequences::sequence_named;
use crate::sql::template::Scan;

/// What the rows are called that are asked for once.
const ROWS: &str = "pgloom_once";

impl Analyzer<'_> {
    /// The UPDATE with its values asked for once; `None`: it is not of that form.
    pub(crate) fn update_once(
        &self,
        model: &Model<'_>,
        parsed: &Parsed<'_>,
        update: &Update,
        table: &Table,
    ) -> Option<Outcome> {
        if update.from.is_some() {
            return None;
        }
        let target = Target::of(&update.table, table)?;
        let mut draws = Draws::new(self);
        let mut set = Vec::new();
        let mut values = Vec::new();
        for assignment in &update.assignments {
            let Assignment { target: AssignmentTarget::ColumnName(column), value } = assignment else { return None };
            if !self.varies(value) {
                set.push(assignment.to_string());
                continue;
            }
            let mut value = value.clone();
            let _ = VisitMut::visit(&mut value, &mut draws);
            let name = format!("pgloom_v{}", values.len());
            set.push(format!("{column} = {ROWS}.{name}"));
            values.push(format!("{value} AS {name}"));
        }
        if draws.unread || Effects::in_all(self, update)? != draws.found {
            return None;
        }
        let rows = target.rows(values, update.selection.as_ref());
        let (from, same, returning) = (&target.from, target.same(), target.returning(update.returning.as_deref())?);
        let text = format!("UPDATE {from} SET {} FROM ({rows}) AS {ROWS} WHERE {same}{returning}", set.join(", "));
        self.asked_once(model, parsed, &text, draws.found > 0)
    }

    /// The same of a DELETE.
    pub(crate) fn delete_once(
        &self,
        model: &Model<'_>,
        parsed: &Parsed<'_>,
        delete: &Delete,
        table: &Table,
    ) -> Option<Outcome> {
        let (FromTable::WithFromKeyword(from), None) = (&delete.from, &delete.using) else { return None };
        let [from] = &from[..] else { return None };
        if model.uses.home_function {
            return None;
        }
        let target = Target::of(from, table)?;
        let rows = target.rows(Vec::new(), delete.selection.as_ref());
        let (from, same, returning) = (&target.from, target.same(), target.returning(delete.returning.as_deref())?);
        let text = format!("DELETE FROM {from} USING ({rows}) AS {ROWS} WHERE {same}{returning}");
        self.asked_once(model, parsed, &text, false)
    }

    /// What becomes of the statement in this form. Its literals stay as they are.
    fn asked_once(&self, model: &Model<'_>, parsed: &Parsed<'_>, text: &str, draws: bool) -> Option<Outcome> {
        let whole = parsed.text(self);
        let prints = is_faithful_in_parts(parsed.tree, whole, self.scope.standard_strings);
        if self.once || model.uses.user_function.is_some() || !prints {
            return None;
        }
        let scan = Scan { end: text.len(), ..Scan::default() };
        let again = Analyzer {
            scope: self.scope,
            text,
            scan: &scan,
            used: self.used.clone(),
            parameters: self.parameters,
            once: true,
            draws: if draws { Drawing::ByRow } else { Drawing::Nothing },
            told: Rc::default(),
        };
        match again.statement(0..text.len()).outcome {
            supply @ Outcome::Supply(_) => {
                model.literals.fix_all();
                Some(supply)
            }
            Outcome::Refuse(_)
            | Outcome::Home(_)
            | Outcome::Shard(..)
            | Outcome::Any(_)
            | Outcome::Broadcast(_)
            | Outcome::Parts(..)
            | Outcome::Each(..)
            | Outcome::CreateAs(_)
            | Outcome::Stamp(_)
            | Outcome::CopyIn(_)
            | Outcome::Routed(_)
            | Outcome::Insert(_)
            | Outcome::Draw(_)
            | Outcome::Deliver(_) => None,
        }
    }

    /// Whether an expression calls a function that gives another value at each call, or one about sequences.
    fn varies(&self, expr: &Expr) -> bool {
        expr.visit(&mut Calls(self)).is_break()
    }
}

struct Calls<'a, 's>(&'a Analyzer<'s>);

impl Visitor for Calls<'_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let Some((schema, name)) = parts(&function.name) else { return ControlFlow::Continue(()) };
        let class = classify(&self.0.scope, schema.as_deref(), &name);
        match class == FunctionClass::Volatile || matches!(class, FunctionClass::Sequence(_)) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// Gives calls of `nextval` the whole names of their sequences: where they are made, the search path may be another one.
pub(crate) struct Draws<'a, 's> {
    of: &'a Analyzer<'s>,
    pub found: usize,
    /// There is one whose sequence is not certain to be one of the home shard.
    pub unread: bool,
}

impl<'a, 's> Draws<'a, 's> {
    pub fn new(of: &'a Analyzer<'s>) -> Self {
        Self { of, found: 0, unread: false }
    }
}

impl Draws<'_, '_> {
    fn sequence(&self, function: &Function) -> Option<String> {
        let FunctionArguments::List(list) = &function.args else { return None };
        let [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] = &list.args[..] else { return None };
        let plain = list.duplicate_treatment.is_none() && list.clauses.is_empty();
        let literal = match argument {
            Expr::Cast { expr, data_type: DataType::Regclass, format: None, .. } => &**expr,
            other => other,
        };
        let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(name), .. }) = literal else { return None };
        let scope = &self.of.scope;
        let sequence = sequence_named(scope, name).filter(|_| plain)?;
        let whole = format!("{}.{}", quoted(&sequence.schema), quoted(&sequence.name));
        let at_home = scope.place_of(&sequence.schema).shard == scope.topology.home;
        // How a backslash is read depends on a setting.
        (at_home && !whole.contains('\\')).then_some(whole)
    }
}

impl VisitorMut for Draws<'_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let Some((schema, name)) = parts(&function.name) else { return ControlFlow::Continue(()) };
        if name != "nextval"
            || !matches!(classify(&self.of.scope, schema.as_deref(), &name), FunctionClass::Sequence(_))
        {
            return ControlFlow::Continue(());
        }
        match (self.sequence(function), &mut function.args) {
            (Some(sequence), FunctionArguments::List(list)) => {
                self.found += 1;
                let name = Value::SingleQuotedString(sequence).with_empty_span();
                list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(name)))];
            }
            (_, _) => self.unread = true,
        }
        ControlFlow::Continue(())
    }
}

/// Counts calls of functions that have effects or work on one shard alone.
pub(crate) struct Effects<'a, 's> {
    of: &'a Analyzer<'s>,
    found: usize,
    /// Only those within queries count.
    in_queries: bool,
    depth: usize,
}

impl<'a, 's> Effects<'a, 's> {
    /// All of them; `None`: there is one in a FROM.
    pub fn in_all(of: &'a Analyzer<'s>, tree: &impl Visit) -> Option<usize> {
        let mut effects = Self { of, found: 0, in_queries: false, depth: 0 };
        tree.visit(&mut effects).is_continue().then_some(effects.found)
    }

    /// Those in queries within an expression.
    pub fn in_queries(of: &'a Analyzer<'s>, tree: &impl Visit) -> Option<usize> {
        let mut effects = Self { of, found: 0, in_queries: true, depth: 0 };
        tree.visit(&mut effects).is_continue().then_some(effects.found)
    }

    fn is_one(&self, name: &ObjectName) -> bool {
        let class = parts(name).map(|(schema, name)| classify(&self.of.scope, schema.as_deref(), &name));
        matches!(class, Some(FunctionClass::Sequence(_) | FunctionClass::Home(_)))
    }
}

impl Visitor for Effects<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let counts = !self.in_queries || self.depth > 0;
        let is_one = matches!(expr, Expr::Function(function) if self.is_one(&function.name));
        self.found += usize::from(counts && is_one);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. }
                if self.is_one(name) =>
            {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The table that is changed, as the statement names it.
struct Target<'t> {
    from: String,
    alias: String,
    key: Vec<&'t str>,
}

impl<'t> Target<'t> {
    fn of(table: &TableWithJoins, known: &'t Table) -> Option<Self> {
        let TableFactor::Table { name, alias, args: None, sample: None, .. } = &table.relation else { return None };
        let columns = alias.as_ref().is_some_and(|alias| !alias.columns.is_empty());
        if is_only(name) || columns || !table.joins.is_empty() {
            return None;
        }
        let last = |ident: &Ident| quoted(&folded(ident));
        let alias = match alias {
            Some(alias) => last(&alias.name),
            None => last(name.0.last()?.as_ident()?),
        };
        let column = |at: &usize| known.columns.get(*at).filter(|column| column.not_null).map(|column| &*column.name);
        let key = |unique: &Vec<usize>| unique.iter().map(column).collect::<Option<Vec<_>>>();
        let key = known.firm_keys().find_map(key)?;
        Some(Self { from: table.to_string(), alias, key })
    }

    /// The rows that are to be changed, by their keys, with `values`.
    fn rows(&self, values: Vec<String>, condition: Option<&Expr>) -> String {
        let key =
            self.key.iter().enumerate().map(|(at, name)| format!("{}.{} AS pgloom_k{at}", self.alias, quoted(name)));
        let list: Vec<String> = key.chain(values).collect();
        let condition = condition.map_or_else(String::new, |condition| format!(" WHERE {condition}"));
        format!("SELECT {} FROM {}{condition}", list.join(", "), self.from)
    }

    /// That a row is one of these.
    fn same(&self) -> String {
        let key = self.key.iter().enumerate();
        let same: Vec<String> =
            key.map(|(at, name)| format!("{}.{} = {ROWS}.pgloom_k{at}", self.alias, quoted(name))).collect();
        same.join(" AND ")
    }

    /// RETURNING of the table's own columns.
    fn returning(&self, items: Option<&[SelectItem]>) -> Option<String> {
        let Some(items) = items else { return Some(String::new()) };
        let item = |item: &SelectItem| match item {
            SelectItem::Wildcard(options) => options.to_string().is_empty().then(|| format!("{}.*", self.alias)),
            other => Some(other.to_string()),
        };
        let items: Vec<String> = items.iter().map(item).collect::<Option<_>>()?;
        Some(format!(" RETURNING {}", items.join(", ")))
    }
}
