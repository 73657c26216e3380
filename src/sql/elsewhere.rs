//! Whether a statement that a Postgres finishes means the same on a server that has nothing but inputs: no tables, functions, types,
//! operators or collations of users. Where that is not certain, it is finished on the home shard.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{DataType, Expr, Statement, Visit, Visitor};

use crate::catalog::Catalog;
use crate::ids::{Oid, QualifiedName};
use crate::sql::lexer::TokenKind;
use crate::sql::model::Model;
use crate::sql::names::parts;
use crate::sql::outcome::PullText;
use crate::sql::words;

/// OIDs below are written down in Postgres's source: they mean the same on every server (`FirstGenbkiObjectId`).
const FIRST_GENERATED_OID: Oid = 10_000;

/// What looks at schemas, or at the configuration of text search, which users may have changed.
const OF_SERVER: [&str; 12] = [
    "current_schema",
    "current_schemas",
    "to_tsvector",
    "json_to_tsvector",
    "jsonb_to_tsvector",
    "to_tsquery",
    "plainto_tsquery",
    "phraseto_tsquery",
    "websearch_to_tsquery",
    "ts_headline",
    "ts_lexize",
    "get_current_ts_config",
];

/// Operators that expressions use without naming them (IN, BETWEEN, LIKE, SIMILAR TO, NULLIF ...).
const UNNAMED: [&str; 11] = ["=", "<>", "<", "<=", ">", ">=", "~~", "!~~", "~~*", "!~~*", "~"];

/// The collations that a server must have to finish the statement, or why none but the home shard may.
pub(crate) type Needs = Result<Vec<Box<str>>, Arc<str>>;

/// What a statement needs. `text`: the client's; `tree`: with the definitions of views in it.
pub(crate) fn needs(model: &Model<'_>, tree: &Statement, text: &str, pulls: &[PullText]) -> Needs {
    let catalog = model.scope.catalog;
    let uses = &model.uses;
    if let Some(name) = [&uses.user_function, &uses.server, &uses.runs_sql].into_iter().flatten().next() {
        return Err(format!("it uses {name}").into());
    }
    if uses.system.is_some() {
        return Err("it reads the catalog".into());
    }
    let mut collations = of_columns(catalog, pulls)?;
    let mut words = Words::default();
    words.check(catalog, text, model.scope.standard_strings)?;
    words.check(catalog, &tree.to_string(), true)?;
    let of_columns = collations.len();
    let mut found = Found { collations: &mut collations, types: HashSet::new(), other: None };
    let _ = tree.visit(&mut found);
    let Found { types, other, .. } = found;
    if let Some(other) = other {
        return Err(format!("it uses collation {other}").into());
    }
    if pulls.iter().any(|pull| pull.table.is_none()) {
        words.check_queries(catalog, collations.len() > of_columns)?;
    }
    // A table's name is that of its row type as well.
    if let Some(table) = catalog.tables.keys().find(|table| types.contains(&*table.name)) {
        return Err(format!("it uses the row type of table {table}").into());
    }
    collations.sort();
    collations.dedup();
    Ok(collations)
}

/// What the inputs themselves need.
pub(crate) fn of_columns(catalog: &Catalog, pulls: &[PullText]) -> Needs {
    let mut collations = Vec::new();
    // What the columns of queries are, the home shard tells when it is asked.
    for pull in pulls {
        let Some(of) = &pull.table else { continue };
        let table = catalog.table(of);
        for (name, type_oid, _) in &pull.columns {
            if *type_oid >= FIRST_GENERATED_OID {
                return Err(of_users_type(of, name));
            }
            let column = table.and_then(|table| table.column(name)).map(|(_, column)| column);
            match column.map(|column| column.collation_name.as_deref()) {
                Some(None) => {}
                Some(Some("")) | None => {
                    return Err(format!("the collation of column {of}.{name} was made by users").into());
                }
                Some(Some(collation)) => collations.push(collation.into()),
            }
        }
        if pull.binary != Some(true) {
            return Err(format!("table {of} has columns that hold numbers of one server's catalog").into());
        }
    }
    Ok(collations)
}

fn of_users_type(table: &QualifiedName, column: &str) -> Arc<str> {
    format!("the type of column {table}.{column} is none that every server has").into()
}

/// The words of a statement.
#[derive(Default)]
struct Words {
    names: HashSet<String>,
    /// `*`, which may name every column.
    star: bool,
}

impl Words {
    /// Names and operators, wherever they stand: one that only looks like one costs nothing but the way to the home shard.
    fn check(&mut self, catalog: &Catalog, text: &str, standard_strings: bool) -> Result<(), Arc<str>> {
        let customs = &catalog.customs;
        if customs.casts {
            return Err("casts or conversions between built-in types have been made".into());
        }
        if let Some(operator) = customs.operators.iter().find(|name| UNNAMED.contains(&&***name)) {
            return Err(format!("an operator {operator} over built-in types has been made").into());
        }
        let unreadable = || "its text cannot be read with certainty".into();
        for token in words::tokens(text, standard_strings).ok_or_else(unreadable)? {
            match token.kind {
                TokenKind::Word | TokenKind::Quoted => {
                    let name = words::name_of(text, &token).ok_or_else(unreadable)?;
                    if OF_SERVER.contains(&&*name) {
                        return Err(format!("it uses {name}").into());
                    }
                    if customs.types.iter().any(|made| **made == *name) {
                        return Err(format!("it names {name}, a type that users have made").into());
                    }
                    self.names.insert(name);
                }
                TokenKind::UnicodeQuoted => return Err(unreadable()),
                TokenKind::Operator => {
                    let name = words::text_of(text, &token);
                    if name == "@@" || customs.operators.iter().any(|made| **made == *name) {
                        return Err(format!("it uses operator {name}").into());
                    }
                    self.star |= name == "*";
                }
                TokenKind::Literal(_) | TokenKind::Parameter | TokenKind::Punct(_) => {}
            }
        }
        Ok(())
    }

    /// What queries that the shards run whole can return: types that every server has, and texts in no collation but the database's,
    /// since nobody tells in which one an expression is.
    fn check_queries(&self, catalog: &Catalog, collates: bool) -> Result<(), Arc<str>> {
        if collates {
            return Err("it has a collation of its own in what the shards make".into());
        }
        for table in catalog.tables.values().filter(|table| self.names.contains(&*table.name.name)) {
            for column in table.columns.iter().filter(|column| self.star || self.names.contains(&*column.name)) {
                if column.type_oid >= FIRST_GENERATED_OID {
                    return Err(of_users_type(&table.name, &column.name));
                }
                if column.collation_name.is_some() {
                    return Err(format!("column {}.{} has a collation of its own", table.name, column.name).into());
                }
            }
        }
        Ok(())
    }
}

struct Found<'a> {
    /// Of COLLATE clauses.
    collations: &'a mut Vec<Box<str>>,
    /// Every name in a type that is written down.
    types: HashSet<String>,
    /// A collation that is not Postgres's own.
    other: Option<String>,
}

impl Found<'_> {
    fn note_type(&mut self, data_type: &DataType) {
        self.types.extend(words::identifiers(&data_type.to_string(), true).into_iter().flatten());
    }
}

impl Visitor for Found<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Collate { collation, .. } => match parts(collation) {
                Some((schema, name)) if schema.as_deref().is_none_or(|schema| schema == "pg_catalog") => {
                    self.collations.push(name.into());
                }
                _ => self.other = Some(collation.to_string()),
            },
            Expr::Cast { data_type, .. } => self.note_type(data_type),
            Expr::TypedString(typed) => self.note_type(&typed.data_type),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
