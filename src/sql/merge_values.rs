//! MERGE whose new rows take values of sequences: each row of its source gets one beside it. One that becomes a row of the table has
//! its own. So it takes one also for a row of the source that finds a match, as a sequence may that has numbers left out.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Merge, MergeAction, MergeInsertExpr, MergeInsertKind,
    ObjectName, TableFactor, Visit, Visitor,
};

use crate::catalog::Table;
use crate::ids::QualifiedName;
use crate::sql::analyze::Analyzer;
use crate::sql::defaults::written_default;
use crate::sql::finish::Parsed;
use crate::sql::insert::is_default;
use crate::sql::left_out::{sequence_of, takes_from_sequence};
use crate::sql::merging::{omitted, walk_merge};
use crate::sql::model::Model;
use crate::sql::names::{Relation, folded, parts};
use crate::sql::outcome::Outcome;
use crate::sql::pulls::quoted;
use crate::sql::through::is_through_view;

impl Analyzer<'_> {
    /// The MERGE with these values beside the rows of its source; `None`: it takes none, or is not of that form. The model becomes that of
    /// the statement.
    pub(crate) fn merge_with_values(
        &self,
        model: &mut Model<'_>,
        parsed: &Parsed<'_>,
        merge: &Merge,
    ) -> Option<Outcome> {
        let TableFactor::Table { name, .. } = &merge.table else { return None };
        let (schema, name) = parts(name)?;
        let relation = model.relation(schema.as_deref(), &name).ok()?;
        let (table, key) = match &relation {
            Relation::Sharded { table: Some(table), key, .. } => (table, &key[..]),
            Relation::Reference { table: Some(table), .. } => (table, &[][..]),
            _ => return None,
        };
        if is_through_view(Some(table)) {
            return None;
        }
        let source = source_name(&merge.source)?;
        // The values stand beside its own columns, which are no longer all of it.
        let mut whole = WholeRow(&source);
        if merge.on.visit(&mut whole).is_break()
            || merge.clauses.iter().any(|clause| clause.visit(&mut whole).is_break())
        {
            return None;
        }
        let mut taken = Taken { of: self, table, key, source: &source, columns: Vec::new() };
        let source = quoted(&source);
        let mut clauses = merge.clauses.clone();
        for clause in &mut clauses {
            if let MergeAction::Insert(insert) = &mut clause.action {
                taken.write(insert)?;
            }
        }
        if taken.columns.is_empty() {
            return None;
        }
        let mut again = Model::new(model.scope, parsed.literals(self), self.used.clone());
        again.uses.writing = model.uses.writing;
        walk_merge(&mut again, merge, &None, false).ok()?;
        let sequences = taken.columns.iter().filter_map(|column| sequence_of(table.column(&column.name)?.1));
        again.uses.takes.extend(sequences.collect::<Vec<QualifiedName>>());
        let values: Vec<String> = taken.columns.iter().map(|of| format!("{} AS {}", of.value, of.beside)).collect();
        let clauses: Vec<String> = clauses.iter().map(ToString::to_string).collect();
        let text = format!(
            "MERGE INTO {} USING (SELECT {source}.*, {} FROM {}) AS {source} ON {} {}",
            merge.table,
            values.join(", "),
            merge.source,
            merge.on,
            clauses.join(" ")
        );
        let outcome = self.asked_once(&again, parsed, &text, true)?;
        *model = again;
        Some(outcome)
    }
}

/// Finds what is a whole row of the relation of this name.
struct WholeRow<'a>(&'a str);

impl Visitor for WholeRow<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let is_row = |name: &Ident| *folded(name) == *self.0;
        let is_all = |arg: &FunctionArg| match arg {
            FunctionArg::Unnamed(arg) | FunctionArg::Named { arg, .. } | FunctionArg::ExprNamed { arg, .. } => {
                matches!(arg, FunctionArgExpr::QualifiedWildcard(_) | FunctionArgExpr::Wildcard)
            }
        };
        let whole = match expr {
            Expr::Identifier(name) => is_row(name),
            Expr::CompoundIdentifier(names) => names.last().is_some_and(is_row),
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => true,
            Expr::Function(function) => {
                matches!(&function.args, FunctionArguments::List(list) if list.args.iter().any(is_all))
            }
            _ => false,
        };
        if whole { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// The name by which ON and the clauses know the source.
fn source_name(source: &TableFactor) -> Option<String> {
    let alias = match source {
        TableFactor::Table { alias, .. } | TableFactor::Derived { alias, lateral: false, .. } => alias,
        _ => return None,
    };
    match (alias, source) {
        (Some(alias), _) => Some(folded(&alias.name).into_owned()),
        (None, TableFactor::Table { name, args: None, .. }) => Some(parts(name)?.1),
        (None, _) => None,
    }
}

/// A column of the table that takes its value from beside a row of the source.
struct Column {
    name: Box<str>,
    value: Expr,
    beside: String,
}

struct Taken<'a, 's> {
    of: &'a Analyzer<'s>,
    table: &'a Table,
    key: &'a [Box<str>],
    source: &'a str,
    columns: Vec<Column>,
}

impl Taken<'_, '_> {
    /// Gives the columns that an INSERT leaves to sequences their values.
    fn write(&mut self, insert: &mut MergeInsertExpr) -> Option<()> {
        let left: Vec<usize> = omitted(self.table, insert)
            .into_iter()
            .filter(|at| self.table.columns.get(*at).is_some_and(takes_from_sequence))
            .collect();
        let MergeInsertKind::Values(values) = &mut insert.kind else { return left.is_empty().then_some(()) };
        let [row] = &mut values.rows[..] else { return None };
        for at in left {
            let column = self.table.columns.get(at)?;
            // Where a row of such a key lies nobody knows before.
            if self.key.contains(&column.name) {
                return None;
            }
            let beside = self.beside(at)?;
            if insert.columns.is_empty() {
                let names = self.table.columns.iter().take(row.content.len());
                insert.columns = names.map(|column| named(&column.name)).collect();
            }
            let place =
                insert.columns.iter().position(|name| parts(name).is_some_and(|(_, name)| *name == *column.name));
            match place {
                Some(place) => *row.content.get_mut(place).filter(|value| is_default(value))? = beside,
                None => {
                    insert.columns.push(named(&column.name));
                    row.content.push(beside);
                }
            }
        }
        Some(())
    }

    /// The value beside the source's row for this column of the table.
    fn beside(&mut self, at: usize) -> Option<Expr> {
        let column = self.table.columns.get(at)?;
        let known = self.columns.iter().position(|of| of.name == column.name);
        let beside = match known.and_then(|known| self.columns.get(known)) {
            Some(known) => known.beside.clone(),
            None => {
                let value = written_default(&self.of.scope, column)?;
                let beside = format!("pgloom_v{}", self.columns.len());
                self.columns.push(Column { name: column.name.clone(), value, beside: beside.clone() });
                beside
            }
        };
        Some(Expr::CompoundIdentifier(vec![Ident::with_quote('"', self.source), Ident::new(beside)]))
    }
}

fn named(name: &str) -> ObjectName {
    ObjectName::from(vec![Ident::with_quote('"', name)])
}
