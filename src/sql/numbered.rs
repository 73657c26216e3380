//! What gives numbers (OIDs) of one server's catalog: `tableoid`, and names that are looked up there and told as numbers. Each shard has
//! others, and a client knows those of the home shard.

use sqlparser::ast::{AccessExpr, BinaryOperator, DataType, Expr, Function, Ident, SelectItem, Value as Literal};

use crate::catalog::numbers::Made;
use crate::ids::{Oid, QualifiedName};
use crate::sql::NameScope;
use crate::sql::colnames::NO_NAME;
use crate::sql::facts::{plain_args, unnest};
use crate::sql::functions::{FunctionClass, builtin, is_users, reads_server};
use crate::sql::infer::{self, type_of};
use crate::sql::model::{ColumnType, Columns, LevelId, Model};
use crate::sql::names::folded;
use crate::sql::words::Words;
use crate::types::oid;

const TABLE: &str = "tableoid";

/// Of a statement, which numbers of the server that runs it it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    pub made: Made,
    /// What in it is a number, or is compared with one that the server did not give itself.
    pub gives: Option<Box<str>>,
    /// What it has looked up by a name that is written: relations and types of the home shard which another shard need not have.
    pub names: Vec<QualifiedName>,
}

impl Numbering {
    /// Whether the server that runs a part of the statement may answer otherwise than the home shard.
    pub fn hangs_on_server(&self) -> bool {
        self.gives.is_some() || !self.names.is_empty()
    }
}

impl Model<'_> {
    /// Before the parts of `expr` are walked: which of them are told by name, or only compared with one another. Whether `expr` is one of those.
    pub fn note_numbers(&mut self, level: LevelId, expr: &Expr) -> bool {
        if let Expr::Nested(_) = expr {
            return false;
        }
        let told = self.told_numbers.remove(&std::ptr::from_ref(expr));
        if !told && self.is_name(level, expr) {
            self.note_number(expr.to_string());
        }
        match expr {
            Expr::BinaryOp { left, right, op: BinaryOperator::Eq | BinaryOperator::NotEq }
            | Expr::AnyOp { left, right, compare_op: BinaryOperator::Eq | BinaryOperator::NotEq, .. }
            | Expr::AllOp { left, right, compare_op: BinaryOperator::Eq | BinaryOperator::NotEq }
            | Expr::IsDistinctFrom(left, right)
            | Expr::IsNotDistinctFrom(left, right) => self.note_compared_numbers(level, &[left, right]),
            Expr::InList { expr, list, .. } => {
                self.note_compared_numbers(level, &std::iter::once(&**expr).chain(list).collect::<Vec<_>>());
            }
            Expr::BinaryOp { left, right, op: BinaryOperator::StringConcat } => {
                for (side, other) in [(left, right), (right, left)] {
                    if self.is_name(level, side) && type_of(self, level, other).is_some_and(|ty| infer::is_text(ty.oid))
                    {
                        self.tell(side);
                    }
                }
            }
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => self.tell(inner),
            Expr::Cast { expr: inner, data_type, .. } if names_of_catalog(data_type) => self.note_named(level, inner),
            Expr::Cast { expr: inner, data_type, .. } if is_text(data_type) => self.tell_name(level, inner),
            Expr::TypedString(typed) if names_of_catalog(&typed.data_type) => {
                let number = says_number(&typed.value.value).then(|| expr.to_string());
                number.into_iter().for_each(|number| self.note_number(number));
                self.note_looked_up(&typed.value.value);
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                if let Some(operand) = operand {
                    let compared = conditions.iter().map(|when| &when.condition);
                    self.note_compared_numbers(level, &std::iter::once(&**operand).chain(compared).collect::<Vec<_>>());
                }
                let results = conditions.iter().map(|when| &when.result).chain(else_result.as_deref());
                self.tell_if_all(level, &results.collect::<Vec<_>>());
            }
            Expr::Array(array) => self.tell_if_all(level, &array.elem.iter().collect::<Vec<_>>()),
            Expr::Tuple(members) => members.iter().for_each(|member| self.tell_name(level, member)),
            Expr::CompoundFieldAccess { root, .. } => self.tell_name(level, root),
            Expr::Function(function) => self.note_numbers_of_call(level, expr, function),
            Expr::Identifier(name) => self.note_table_number(level, expr, std::slice::from_ref(name), told),
            Expr::CompoundIdentifier(names) => self.note_table_number(level, expr, names, told),
            _ => {}
        }
        told
    }

    fn note_numbers_of_call(&mut self, level: LevelId, expr: &Expr, function: &Function) {
        let name = function_name(function);
        let Some(args) = plain_args(function).filter(|args| !args.is_empty()) else { return };
        if is_type_of_names(&name) {
            args.iter().for_each(|arg| self.note_named(level, arg));
        } else if reads_server(&name) {
            let takes_numbers = takes_numbers(&name);
            for arg in &args {
                match takes_numbers {
                    true => self.look_up(arg),
                    false => self.tell(arg),
                }
            }
            if takes_numbers && args.iter().any(|arg| !self.is_own(level, arg) && !is_plain(arg)) {
                self.note_number(expr.to_string());
            }
        }
        // Whatever users' functions make of them.
        let has_names = args.iter().any(|arg| self.is_name(level, arg)) && !is_users(&self.scope, &name);
        if !has_names || is_type_of_names(&name) || reads_server(&name) {
            return;
        }
        if PASSED.contains(&&*name) {
            self.tell_if_all(level, &args);
        } else if matches!(&*name, "lag" | "lead") && args.len() == 3 {
            // Where there is no such row, the last one is the value.
            let values = [args[0], args[2]];
            match values.iter().all(|value| self.is_own(level, value)) {
                true => self.tell_if_all(level, &values),
                false => self.note_number(expr.to_string()),
            }
        } else if matches!(&*name, "lag" | "lead" | "nth_value") {
            self.tell_if_all(level, &args[..1]);
        } else if TELLING.contains(&&*name)
            || matches!(builtin(&name), FunctionClass::Home(_) | FunctionClass::Sequence(_))
        {
            args.iter().for_each(|arg| self.tell(arg));
        }
    }

    /// What is no column may be the whole row of a table.
    pub fn note_row(&mut self, level: LevelId, names: &[Ident]) {
        let rows = self.uses.numbering.made.rows || self.find_column(level, names).is_none();
        self.uses.numbering.made.rows = rows;
    }

    /// Rows are put in the order of the numbers.
    pub fn note_ordered_number(&mut self, level: LevelId, expr: &Expr) {
        let outputs = &self.levels[level].names;
        let by_output = match unnest(expr) {
            Expr::Value(literal) => match &literal.value {
                Literal::Number(place, _) => outputs.iter().any(|(at, _)| place.parse() == Ok(at + 1)),
                _ => false,
            },
            Expr::Identifier(name) => outputs.iter().any(|(_, output)| **output == *folded(name)),
            _ => false,
        };
        if by_output {
            self.note_number(expr.to_string());
        }
    }

    /// The columns that a SELECT gives are told to the client, where it is the statement itself; else they are of a type that is known.
    pub fn note_output(&mut self, level: LevelId, (outer, below): (bool, bool), at: usize, name: &str, expr: &Expr) {
        if !self.is_name(level, expr) {
            return;
        }
        let is_known = || type_of(self, level, expr).is_some_and(|ty| oid::is_name_of_catalog(ty.oid));
        if !outer && !below && self.set_arms == 0 || (below || !outer) && is_known() {
            self.tell(expr);
        }
        self.levels[level].names.push((at, name.into()));
    }

    /// What a statement in WITH returns is read around it, and its types are not known there.
    pub fn note_returned_below(&mut self, level: LevelId, items: Option<&[SelectItem]>) {
        for item in items.unwrap_or_default() {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
                && self.is_name(level, expr)
            {
                self.note_number(expr.to_string());
            }
        }
    }

    /// A value is stored in a column of this type.
    pub fn note_stored(&mut self, level: LevelId, expr: &Expr, column: Option<Oid>) {
        match column {
            Some(of) if oid::is_name_of_catalog(of) => match self.is_own(level, expr) {
                true => self.look_up(expr),
                false => self.note_number(expr.to_string()),
            },
            Some(of) if infer::is_text(of) => self.tell_name(level, expr),
            _ => {}
        }
    }

    /// The values of a query are stored in columns of these types.
    pub fn note_stored_columns(&mut self, columns: &Columns, types: impl Iterator<Item = Option<Oid>>) {
        let is_name = |ty: Option<Oid>| ty.is_some_and(oid::is_name_of_catalog);
        let mut given = columns.list.iter();
        for (at, stored) in types.enumerate() {
            let given = given.next().filter(|_| columns.complete);
            let ty = given.and_then(|column| column.ty).map(|ty| ty.oid);
            let text = stored.is_some_and(infer::is_text);
            if is_name(stored) && !is_name(ty) || is_name(ty) && !is_name(stored) && !text {
                let name = given.map(|column| &*column.name).filter(|name| *name != NO_NAME);
                self.note_number(name.map_or_else(|| format!("column {} of the query", at + 1), str::to_owned));
            }
        }
    }

    pub fn note_number(&mut self, what: String) {
        self.uses.numbering.gives.get_or_insert_with(|| what.into());
    }

    /// It is no number by itself, nor may a literal be another one.
    fn tell(&mut self, expr: &Expr) {
        self.told_numbers.insert(std::ptr::from_ref(unnest(expr)));
    }

    /// The same of what is a name; its literals may vary.
    pub fn tell_name(&mut self, level: LevelId, expr: &Expr) {
        if self.is_name(level, expr) {
            self.tell(expr);
        }
    }

    /// The same of what is read as a name. One that is written is looked for where the statement runs.
    fn look_up(&mut self, expr: &Expr) {
        self.tell(expr);
        if let Expr::Value(literal) = unnest(expr) {
            self.note_looked_up(&literal.value);
        }
    }

    fn note_looked_up(&mut self, literal: &Literal) {
        let (Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text)) = literal else { return };
        let members = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let names: Vec<&str> = match members {
            Some(members) => members.split(',').map(|name| name.trim().trim_matches('"')).collect(),
            None => vec![&**text],
        };
        for name in names {
            let found = at_home(&self.scope, name);
            let homes_alone = |name: &QualifiedName| !self.is_on_all(name);
            if let Some(name) = found.filter(homes_alone) {
                self.note_name(name);
            }
        }
    }

    /// A type is named, which is to be there where the statement runs.
    pub fn note_named_type(&mut self, schema: Option<&str>, name: &str) {
        let known = &self.scope.catalog.numbered.types;
        let found = |name: &QualifiedName| known.contains_key(name);
        let found = match schema {
            Some(schema) => Some(QualifiedName::new(schema, name)).filter(found),
            None => self.scope.search_path.iter().map(|schema| QualifiedName::new(&**schema, name)).find(found),
        };
        // Where nothing is known of a shard it says itself that there is no such type.
        let lacks = |name: &QualifiedName| self.scope.catalog.others.iter().any(|(_, of)| !of.types.contains_key(name));
        if let Some(name) = found.filter(lacks) {
            self.note_name(name);
        }
    }

    fn note_name(&mut self, name: QualifiedName) {
        self.by_path = true;
        if !self.uses.numbering.names.contains(&name) {
            self.uses.numbering.names.push(name);
        }
    }

    fn is_on_all(&self, name: &QualifiedName) -> bool {
        let NameScope { catalog, topology, .. } = self.scope;
        topology.all_shards().iter().all(|shard| shard == topology.home || catalog.has_on(shard, name))
    }

    fn tell_if_all(&mut self, level: LevelId, exprs: &[&Expr]) {
        if exprs.iter().any(|expr| self.is_name(level, expr)) && exprs.iter().all(|expr| self.is_own(level, expr)) {
            exprs.iter().for_each(|expr| self.look_up(expr));
        }
    }

    /// It is read as a name: what is none may be a number.
    fn note_named(&mut self, level: LevelId, expr: &Expr) {
        match unnest(expr) {
            Expr::Array(array) => array.elem.iter().for_each(|elem| self.note_named(level, elem)),
            _ if self.is_own(level, expr) || self.is_table_number(level, expr) => self.look_up(expr),
            _ => self.note_number(format!("the name of number {expr}")),
        }
    }

    fn note_table_number(&mut self, level: LevelId, expr: &Expr, names: &[Ident], told: bool) {
        if !told && self.is_table_number(level, expr) {
            self.note_number(names.last().map_or(TABLE.to_owned(), |name| folded(name).into_owned()));
        }
    }

    fn note_compared_numbers(&mut self, level: LevelId, all: &[&Expr]) {
        if let [one, other] = all
            && let (Expr::Tuple(ones), Expr::Tuple(others)) = (unnest(one), unnest(other))
            && ones.len() == others.len()
        {
            ones.iter().zip(others).for_each(|(one, other)| self.note_compared_numbers(level, &[one, other]));
            all.iter().for_each(|tuple| self.tell(tuple));
            return;
        }
        let is_number = |expr: &Expr| self.is_name(level, expr) || self.is_table_number(level, expr);
        let Some(number) = all.iter().find(|expr| is_number(expr)) else { return };
        let with_name = all.iter().any(|expr| self.is_name(level, expr));
        let own = |expr: &Expr| self.is_table_number(level, expr) || with_name && self.is_own(level, expr);
        let is_row = |expr: &Expr| match unnest(expr) {
            Expr::Tuple(_) => true,
            Expr::Function(function) => function_name(function) == "row",
            _ => false,
        };
        match all.iter().all(|expr| own(expr) && !is_row(expr)) {
            true => all.iter().for_each(|expr| self.look_up(expr)),
            false => self.note_number(number.to_string()),
        }
    }

    /// A name, as a value of `regclass` and its like or as one is written.
    fn is_own(&self, level: LevelId, expr: &Expr) -> bool {
        match unnest(expr) {
            Expr::Value(literal) => match &literal.value {
                Literal::SingleQuotedString(_) | Literal::EscapedStringLiteral(_) => !says_number(&literal.value),
                // What Postgres itself has made has the same numbers everywhere.
                Literal::Number(..) => !says_number(&literal.value),
                Literal::Null => true,
                _ => false,
            },
            expr => self.is_name(level, expr),
        }
    }

    /// A value of `regclass` or its like, an array of such, or a row with one.
    fn is_name(&self, level: LevelId, expr: &Expr) -> bool {
        let is_name = |expr: &Expr| self.is_name(level, expr);
        let of_catalog = |ty: ColumnType| oid::is_name_of_catalog(ty.oid);
        match unnest(expr) {
            Expr::Cast { data_type, .. } => names_of_catalog(data_type),
            Expr::TypedString(typed) => names_of_catalog(&typed.data_type),
            Expr::Identifier(name) => {
                let found = self.find_column(level, std::slice::from_ref(name));
                found.and_then(|found| found.column.ty).is_some_and(of_catalog)
            }
            Expr::CompoundIdentifier(names) => {
                self.find_column(level, names).and_then(|found| found.column.ty).is_some_and(of_catalog)
            }
            Expr::Case { conditions, else_result, .. } => {
                conditions.iter().map(|when| &when.result).chain(else_result.as_deref()).any(is_name)
            }
            Expr::Array(array) => array.elem.iter().any(is_name),
            Expr::Tuple(members) => members.iter().any(is_name),
            Expr::CompoundFieldAccess { root, access_chain } => match access_chain.last() {
                Some(AccessExpr::Dot(Expr::Identifier(name))) => {
                    let columns = self.leaves.iter().flat_map(|leaf| &leaf.columns.list);
                    columns.filter(|column| *column.name == *folded(name)).any(|of| of.ty.is_some_and(of_catalog))
                }
                _ => is_name(root),
            },
            Expr::Function(function) => {
                let name = function_name(function);
                let passes = || name == "row" || PASSED.contains(&&*name) || KEPT.contains(&&*name);
                looks_up(&name)
                    || is_type_of_names(&name)
                    || passes() && plain_args(function).unwrap_or_default().into_iter().any(is_name)
            }
            _ => false,
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

/// Functions whose value is one of their arguments, or has them in it.
const PASSED: [&str; 9] = [
    "coalesce",
    "nullif",
    "array_agg",
    "any_value",
    "array_append",
    "array_prepend",
    "array_cat",
    "array_remove",
    "unnest",
];

/// The same, chosen by the order of numbers, or beside arguments that are none.
const KEPT: [&str; 10] =
    ["min", "max", "greatest", "least", "lag", "lead", "nth_value", "first_value", "last_value", "mode"];

/// Functions that print what they are given, or do not look at it.
const TELLING: [&str; 26] = [
    "array_length",
    "array_ndims",
    "array_to_json",
    "array_to_string",
    "cardinality",
    "concat",
    "concat_ws",
    "count",
    "first_value",
    "format",
    "json_agg",
    "json_build_array",
    "json_build_object",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_object_agg",
    "last_value",
    "num_nonnulls",
    "num_nulls",
    "pg_typeof",
    "quote_literal",
    "row",
    "to_json",
    "to_jsonb",
];

/// What a text names of the relations and types that users have made on the home shard, if it is not on every shard by the configuration. An
/// index is where its table is.
fn at_home(scope: &NameScope<'_>, text: &str) -> Option<QualifiedName> {
    let mut words = Words::new(text, true)?;
    let parts = words.parts().filter(|_| words.is_done() || words.is_punct(b'['))?;
    let (catalog, known) = (scope.catalog, &scope.catalog.numbered);
    let found = |name: QualifiedName| match catalog.indexes.get(&name) {
        Some(table) => Some(table.clone()),
        None => (known.tables.contains_key(&name) || known.types.contains_key(&name)).then_some(name),
    };
    let name = match &parts[..] {
        [name] => scope.search_path.iter().find_map(|schema| found(QualifiedName::new(&**schema, name.as_str())))?,
        [.., schema, name] => found(QualifiedName::new(schema.as_str(), name.as_str()))?,
        [] => return None,
    };
    (scope.topology.rule(&name).is_none() && scope.topology.place_of_schema(&name.schema).is_none()).then_some(name)
}

/// The first number of what a database's initdb, or users, make.
const FIRST_OWN: u64 = 10_000;

/// Whether a literal is a number of something that has another one on each server, or has such numbers in it.
fn says_number(literal: &Literal) -> bool {
    let is_own = |digits: &str| {
        !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && digits.parse().is_ok_and(|n: u64| n >= FIRST_OWN)
    };
    match literal {
        Literal::Number(digits, _) => is_own(digits) || digits.parse::<u64>().is_err(),
        Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text) => {
            text.split(|c: char| matches!(c, '{' | '}' | ',' | '"' | '-' | '+') || c.is_whitespace()).any(is_own)
        }
        _ => true,
    }
}

/// Functions that look into the catalog by numbers that they are given.
fn takes_numbers(name: &str) -> bool {
    const OTHERS: [&str; 8] = [
        "pg_encoding_to_char",
        "pg_char_to_encoding",
        "pg_size_pretty",
        "pg_size_bytes",
        "pg_typeof",
        "pg_column_size",
        "pg_column_compression",
        "pg_collation_for",
    ];
    const PREFIXES: [&str; 20] = [
        "current_",
        "txid_",
        "inet_",
        "version",
        "get",
        "row_security",
        "pg_sleep",
        "pg_input_",
        "pg_wal_",
        "pg_lsn",
        "pg_snapshot_",
        "pg_visible_in_",
        "pg_xact_",
        "pg_current_",
        "pg_advisory_",
        "pg_try_advisory_",
        "pg_notify",
        "pg_cancel_",
        "pg_terminate_",
        "pg_backend_",
    ];
    !OTHERS.contains(&name) && !PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// What cannot be a number of the catalog.
fn is_plain(expr: &Expr) -> bool {
    match unnest(expr) {
        Expr::Value(literal) => matches!(literal.value, Literal::Boolean(_)),
        Expr::Identifier(name) => is_user(&folded(name)),
        Expr::Function(function) => is_user(&function_name(function)),
        _ => false,
    }
}

fn is_user(name: &str) -> bool {
    matches!(
        name,
        "current_user"
            | "session_user"
            | "current_role"
            | "user"
            | "current_database"
            | "current_catalog"
            | "current_schema"
    )
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

/// Functions that return `regclass` or its like.
pub(crate) fn looks_up(name: &str) -> bool {
    name.starts_with("to_reg") || name == "pg_typeof"
}

fn function_name(function: &Function) -> String {
    let last = function.name.0.last().and_then(|part| part.as_ident());
    last.map_or(String::new(), |name| folded(name).into_owned())
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
