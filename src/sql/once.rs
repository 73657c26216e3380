//! UPDATE and DELETE of a reference table with functions that give another value at each call (`random()`, `nextval` in SET): what they
//! give is asked for once, row by row, and each shard changes its copy by that, row by row of the primary key. The same of an UPDATE that
//! gives rows of several shards values of sequences, of which there is one for all.

use std::ops::ControlFlow;
use std::rc::Rc;

use sqlparser::ast::{
    Assignment, AssignmentTarget, BinaryOperator, DataType, Delete, Expr, FromTable, Function, FunctionArg,
    FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query, SelectItem, TableFactor, TableWithJoins, Update,
    Value, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};

use crate::catalog::{ColumnDefault, Table};
use crate::sql::analyze::Analyzer;
use crate::sql::defaults::written_default;
use crate::sql::drawing::Drawing;
use crate::sql::finish::Parsed;
use crate::sql::from::is_only;
use crate::sql::functions::{FunctionClass, classify};
use crate::sql::insert::is_default;
use crate::sql::inserting::has_query;
use crate::sql::left_out::{is_same_everywhere, set_from_sequences, takes_from_sequence};
use crate::sql::model::Model;
use crate::sql::modify::walk_update;
use crate::sql::names::{Relation, folded, parts};
use crate::sql::outcome::{Many, Outcome, Routed};
use crate::sql::pulls::quoted;
use crate::sql::rewrite::is_faithful_in_parts;
use crate::sql::sequences::sequence_named;
use crate::sql::template::Scan;
use crate::sql::through::is_through_view;

/// What the rows are called that are asked for once.
const ROWS: &str = "pgloom_once";

impl Analyzer<'_> {
    /// The UPDATE with its values asked for once; `None`: it is not of that form. `key`: of a sharded table, which each shard changes by
    /// itself but for values of sequences.
    pub(crate) fn update_once(
        &self,
        model: &Model<'_>,
        parsed: &Parsed<'_>,
        update: &Update,
        table: &Table,
        key: Option<&[Box<str>]>,
    ) -> Option<Outcome> {
        if update.from.is_some() {
            return None;
        }
        let target = Target::of(&update.table, table, key.unwrap_or_default())?;
        let mut once = Once { of: self, draws: Draws::new(self), values: Vec::new(), at_once: key.is_none() };
        let mut set = each_assigned(&update.assignments)?;
        // Postgres makes them in the order of the table's columns (`rewriteTargetListIU`).
        set.sort_by_key(|(name, _)| parts(name).and_then(|(_, name)| table.column(&name)).map(|(at, _)| at));
        let set: Vec<String> = set
            .into_iter()
            .map(|(column, value)| Some(format!("{column} = {}", once.value(value)?)))
            .collect::<Option<_>>()?;
        let Once { draws, values, .. } = once;
        if draws.unread || Effects::in_all(self, update)? != draws.found || key.is_some() && draws.found == 0 {
            return None;
        }
        // A row that another transaction has changed meanwhile is looked at again, as one Postgres looks at it.
        let condition = update.selection.as_ref();
        let again = condition.filter(|condition| !has_query(*condition) && !self.varies(condition));
        if key.is_some() && again.is_none() && condition.is_some() {
            return None;
        }
        let rows = target.rows(values, condition);
        let again = again.map_or_else(String::new, |condition| format!(" AND ({condition})"));
        let (from, same, returning) = (&target.from, target.same(), target.returning(update.returning.as_deref())?);
        let text =
            format!("UPDATE {from} SET {} FROM ({rows}) AS {ROWS} WHERE {same}{again}{returning}", set.join(", "));
        self.asked_once(model, parsed, &text, draws.found > 0)
    }

    /// The same of an UPDATE that gives columns defaults which take values of sequences or, of a reference table, differ between shards.
    /// The model becomes that of the statement with these defaults in it.
    pub(crate) fn defaults_once(&self, model: &mut Model<'_>, parsed: &Parsed<'_>, update: &Update) -> Option<Outcome> {
        let TableFactor::Table { name, .. } = &update.table.relation else { return None };
        let (schema, name) = parts(name)?;
        let relation = model.relation(schema.as_deref(), &name).ok()?;
        let (table, key) = match &relation {
            Relation::Sharded { table: Some(table), key, .. } => (table, Some(&key[..])),
            Relation::Reference { table: Some(table), .. } => (table, None),
            _ => return None,
        };
        if is_through_view(Some(table)) {
            return None;
        }
        let written = self.with_defaults(update, table, key)?;
        let mut again = Model::new(model.scope, parsed.literals(self), self.used.clone());
        again.uses.writing = model.uses.writing;
        walk_update(&mut again, &written, &None).ok()?;
        again.uses.takes.extend(set_from_sequences(table, &update.assignments));
        let outcome = self.update_once(&again, parsed, &written, table, key)?;
        *model = again;
        Some(outcome)
    }

    /// The UPDATE with defaults written into it that the shards cannot evaluate each by itself; `None`: there are none, or they cannot be.
    fn with_defaults(&self, update: &Update, table: &Table, key: Option<&[Box<str>]>) -> Option<Update> {
        let mut found = false;
        let mut assignments = Vec::new();
        for (name, value) in each_assigned(&update.assignments)? {
            let mut value = value.clone();
            let (_, column) = table.column(&parts(name)?.1)?;
            if key.is_some_and(|key| key.contains(&column.name)) {
                return None;
            }
            let alike = |text: &str| is_same_everywhere(&self.scope, text);
            let apart = takes_from_sequence(column)
                || key.is_none() && matches!(&column.default, ColumnDefault::Expression(text) if !alike(text));
            if is_default(&value) && apart {
                value = written_default(&self.scope, column)?;
                found = true;
            }
            assignments.push(Assignment { target: AssignmentTarget::ColumnName(name.clone()), value });
        }
        found.then(|| Update { assignments, ..update.clone() })
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
        let target = Target::of(from, table, &[])?;
        let rows = target.rows(Vec::new(), delete.selection.as_ref());
        let (from, same, returning) = (&target.from, target.same(), target.returning(delete.returning.as_deref())?);
        let text = format!("DELETE FROM {from} USING ({rows}) AS {ROWS} WHERE {same}{returning}");
        self.asked_once(model, parsed, &text, false)
    }

    /// What becomes of the statement in this form. Its literals stay as they are.
    pub(crate) fn asked_once(
        &self,
        model: &Model<'_>,
        parsed: &Parsed<'_>,
        text: &str,
        draws: bool,
    ) -> Option<Outcome> {
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
            Outcome::Supply(supply)
            | Outcome::Routed(Routed { many: Ok(Many::Supply(supply)), key_change: None, .. }) => {
                model.literals.fix_all();
                Some(Outcome::Supply(supply))
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

/// The columns that SET names with what each is set to; `None`: some of them are set together.
fn each_assigned(assignments: &[Assignment]) -> Option<Vec<(&ObjectName, &Expr)>> {
    let mut each = Vec::new();
    for Assignment { target, value } in assignments {
        match (target, value) {
            (AssignmentTarget::ColumnName(column), value) => each.push((column, value)),
            (AssignmentTarget::Tuple(columns), Expr::Tuple(values)) if columns.len() == values.len() => {
                each.extend(columns.iter().zip(values));
            }
            (AssignmentTarget::Tuple(_), _) => return None,
        }
    }
    Some(each)
}

/// What is asked for once, beside the key of each row.
struct Once<'a, 's> {
    of: &'a Analyzer<'s>,
    draws: Draws<'a, 's>,
    values: Vec<String>,
    /// Where the calls cannot be taken out of an expression, all of it is made before the rows are changed.
    at_once: bool,
}

impl Once<'_, '_> {
    /// What a column is set to, with the calls that vary taken out: what is left is made of the row as it is when it is changed.
    fn value(&mut self, value: &Expr) -> Option<String> {
        if !self.of.varies(value) {
            return Some(value.to_string());
        }
        if value.visit(&mut Columns).is_continue() && !has_query(value) {
            return Some(self.ask(value.clone()));
        }
        // A value of a sequence that is not come to is not taken.
        let sometimes = Effects::in_all(self.of, value)? > 0 && value.visit(&mut Conditional).is_break();
        let mut rest = value.clone();
        let taken = match has_query(value) || sometimes {
            true => false,
            false => VisitMut::visit(&mut rest, &mut TakeOut(self)).is_continue(),
        };
        match (taken, self.at_once) {
            (true, _) => Some(rest.to_string()),
            (false, true) => Some(self.ask(value.clone())),
            (false, false) => None,
        }
    }

    fn ask(&mut self, mut value: Expr) -> String {
        let _ = VisitMut::visit(&mut value, &mut self.draws);
        let name = format!("pgloom_v{}", self.values.len());
        self.values.push(format!("{value} AS {name}"));
        format!("{ROWS}.{name}")
    }
}

/// Finds columns.
struct Columns;

impl Visitor for Columns {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => {
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Finds what may leave a part of an expression aside.
struct Conditional;

impl Visitor for Conditional {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let lazy = |function: &Function| {
            let name = parts(&function.name).map(|(_, name)| name);
            name.is_none_or(|name| matches!(&*name, "coalesce" | "nullif" | "greatest" | "least"))
        };
        match expr {
            Expr::Case { .. } => ControlFlow::Break(()),
            Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. } => ControlFlow::Break(()),
            Expr::Function(function) if lazy(function) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Puts what is asked for in the place of calls; breaks where one asks for more than itself.
struct TakeOut<'o, 'a, 's>(&'o mut Once<'a, 's>);

impl VisitorMut for TakeOut<'_, '_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let Expr::Function(function) = &*expr else { return ControlFlow::Continue(()) };
        if !Calls(self.0.of).is_one(function) {
            return ControlFlow::Continue(());
        }
        if Visit::visit(&*expr, &mut Columns).is_break() {
            return ControlFlow::Break(());
        }
        self.0.ask(expr.clone());
        let name = format!("pgloom_v{}", self.0.values.len() - 1);
        *expr = Expr::CompoundIdentifier([ROWS, &name].map(Ident::new).to_vec());
        ControlFlow::Continue(())
    }
}

struct Calls<'a, 's>(&'a Analyzer<'s>);

impl Visitor for Calls<'_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) if self.is_one(function) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

impl Calls<'_, '_> {
    fn is_one(&self, function: &Function) -> bool {
        let Some((schema, name)) = parts(&function.name) else { return false };
        let class = classify(&self.0.scope, schema.as_deref(), &name);
        class == FunctionClass::Volatile || matches!(class, FunctionClass::Sequence(_))
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
    /// `placed`: columns that say on which shard a row is, where what is unique is so on one shard.
    fn of(table: &TableWithJoins, known: &'t Table, placed: &[Box<str>]) -> Option<Self> {
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
        let mut key = known.firm_keys().find_map(key)?;
        for name in placed {
            let (_, column) = known.column(name).filter(|(_, column)| column.not_null)?;
            if !key.contains(&&*column.name) {
                key.push(&column.name);
            }
        }
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
