//! What gives numbers (OIDs) of one server's catalog: `tableoid`, and names that are looked up there and told as numbers. Each shard has
//! others, and a client knows those of the home shard.

use sqlparser::ast::{BinaryOperator, DataType, Expr, Function, Ident, Value as Literal};

use crate::sql::facts::{plain_args, unnest};
use crate::sql::model::{LevelId, Model};
use crate::sql::names::folded;

const TABLE: &str = "tableoid";

/// Of a statement, which numbers of the server that runs it it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    /// It makes values of `regclass` and its like: in text they are names, in binary numbers.
    pub names: bool,
    /// It may make values of tables' row types: in binary an array, or a record, of such has the numbers of the types inside.
    pub rows: bool,
    /// What in it is a number, or is compared with one that the server did not give itself.
    pub gives: Option<Box<str>>,
}

impl Model<'_> {
    /// Before the parts of `expr` are walked: which of them are only compared with one another, or told by name.
    pub fn note_numbers(&mut self, level: LevelId, expr: &Expr) {
        match expr {
            Expr::BinaryOp { left, right, op: BinaryOperator::Eq | BinaryOperator::NotEq }
            | Expr::IsDistinctFrom(left, right)
            | Expr::IsNotDistinctFrom(left, right) => self.note_compared_numbers(level, left, &[right]),
            Expr::InList { expr, list, .. } => {
                self.note_compared_numbers(level, expr, &list.iter().collect::<Vec<_>>())
            }
            Expr::BinaryOp { op: BinaryOperator::StringConcat, .. } => {}
            Expr::BinaryOp { left, right, .. } => {
                if let Some(name) = [left, right].into_iter().find(|side| is_name(side)) {
                    self.note_number(name.to_string());
                }
            }
            Expr::Cast { expr: inner, data_type, .. } if names_of_catalog(data_type) => self.note_told(level, inner),
            Expr::Cast { expr: inner, data_type, .. } if is_name(inner) && !is_text(data_type) => {
                self.note_number(expr.to_string());
            }
            Expr::Function(function) if is_extreme(function) => {
                for arg in plain_args(function).unwrap_or_default().into_iter().filter(|arg| is_name(arg)) {
                    self.note_number(arg.to_string());
                }
            }
            Expr::Identifier(name) => self.note_table_number(level, expr, std::slice::from_ref(name)),
            Expr::CompoundIdentifier(names) => self.note_table_number(level, expr, names),
            _ => {}
        }
    }

    /// What is no column may be the whole row of a table.
    pub fn note_row(&mut self, level: LevelId, names: &[Ident]) {
        let rows = self.uses.numbering.rows || self.find_column(level, names).is_none();
        self.uses.numbering.rows = rows;
    }

    /// Rows are put in the order of the numbers, or grouped by it.
    pub fn note_ordered_number(&mut self, level: LevelId, expr: &Expr) {
        if let Expr::Cast { expr: inner, .. } = unnest(expr)
            && is_name(unnest(expr))
            && self.is_table_number(level, inner)
        {
            self.note_number(expr.to_string());
        }
    }

    fn note_number(&mut self, what: String) {
        self.uses.numbering.gives.get_or_insert_with(|| what.into());
    }

    /// It is no number by itself.
    fn note_told(&mut self, level: LevelId, expr: &Expr) {
        if self.is_table_number(level, expr) {
            self.told_numbers.insert(std::ptr::from_ref(unnest(expr)));
        }
    }

    fn note_table_number(&mut self, level: LevelId, expr: &Expr, names: &[Ident]) {
        if !self.told_numbers.contains(&std::ptr::from_ref(expr)) && self.is_table_number(level, expr) {
            self.note_number(names.last().map_or(TABLE.to_owned(), |name| folded(name).into_owned()));
        }
    }

    fn note_compared_numbers(&mut self, level: LevelId, one: &Expr, others: &[&Expr]) {
        let all = || std::iter::once(one).chain(others.iter().copied());
        let is_number = |expr: &Expr| is_name(expr) || self.is_table_number(level, expr);
        let Some(number) = all().find(|expr| is_number(expr)) else { return };
        let own = |expr: &Expr| is_number(expr) || is_name(number) && is_text_literal(expr);
        if all().all(own) {
            let told: Vec<*const Expr> = all().map(|expr| std::ptr::from_ref(unnest(expr))).collect();
            self.told_numbers.extend(told);
        } else {
            self.note_number(number.to_string());
        }
    }

    fn is_table_number(&self, level: LevelId, expr: &Expr) -> bool {
        let names = match unnest(expr) {
            Expr::Identifier(name) => std::slice::from_ref(name),
            Expr::CompoundIdentifier(names) => &names[..],
            _ => return false,
        };
        names.last().is_some_and(|name| *folded(name) == *TABLE) && self.find_column(level, names).is_none()
    }
}

/// The types whose values are names in text, and in binary their numbers in the catalog of a server.
const TYPES_OF_NAMES: [&str; 12] = [
    "regclass",
    "regcollation",
    "regconfig",
    "regdatabase",
    "regdictionary",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
];

/// `regclass` and its like, and arrays of them.
pub(crate) fn names_of_catalog(data_type: &DataType) -> bool {
    is_type_of_names(&data_type.to_string())
}

/// The same of a type as it is written.
pub(crate) fn is_type_of_names(written: &str) -> bool {
    let name = written.to_ascii_lowercase().replace('"', "");
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    let name = name.strip_prefix('_').unwrap_or(name);
    let name = name.split_once('[').map_or(name, |(element, _)| element).trim_end();
    let name = name.strip_suffix(" array").unwrap_or(name);
    TYPES_OF_NAMES.contains(&name)
}

/// A value of `regclass` or its like.
fn is_name(expr: &Expr) -> bool {
    match unnest(expr) {
        Expr::Cast { data_type, .. } => names_of_catalog(data_type),
        Expr::TypedString(typed) => names_of_catalog(&typed.data_type),
        Expr::Function(function) => looks_up(&function_name(function)),
        _ => false,
    }
}

/// Functions that return `regclass` or its like.
pub(crate) fn looks_up(name: &str) -> bool {
    name.starts_with("to_reg") || name == "pg_typeof"
}

fn is_extreme(function: &Function) -> bool {
    matches!(&*function_name(function), "min" | "max")
}

fn function_name(function: &Function) -> String {
    let last = function.name.0.last().and_then(|part| part.as_ident());
    last.map_or(String::new(), |name| folded(name).into_owned())
}

fn is_text_literal(expr: &Expr) -> bool {
    let Expr::Value(literal) = unnest(expr) else { return false };
    matches!(literal.value, Literal::SingleQuotedString(_) | Literal::EscapedStringLiteral(_) | Literal::Null)
}

/// A type in which the names are told: text, or another one of their kind.
fn is_text(data_type: &DataType) -> bool {
    let name = data_type.to_string().to_ascii_lowercase();
    let name = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    names_of_catalog(data_type)
        || ["text", "varchar", "char", "name", "bpchar"].iter().any(|text| name.starts_with(text))
}

#[cfg(test)]
mod tests {
    use super::is_type_of_names;

    #[test]
    fn types_of_users_are_no_names_of_the_catalog() {
        let names =
            ["regclass", "REGTYPE", "pg_catalog.regproc", "regrole[]", "regclass[3][]", "_regclass", "\"regoper\""];
        for name in names {
            assert!(is_type_of_names(name), "{name}");
        }
        for name in ["region", "regions[]", "registration", "regime", "public.regclass", "reg", "regdatabases", "text"]
        {
            assert!(!is_type_of_names(name), "{name}");
        }
    }
}
