//! Functions that a text calls which is not walked as a tree: definitions that compute values when they are made, statements that the router
//! does not understand, and views that it cannot read.

use std::collections::HashSet;

use crate::catalog::{Catalog, RelationKind, UserFunction, Volatility};
use crate::fault::Fault;
use crate::ids::QualifiedName;
use crate::sql::analyze::{Analyzer, unsafe_function};
use crate::sql::lexer::{Token, TokenKind};
use crate::sql::names::is_temporary_schema;
use crate::sql::operators::uncalled;
use crate::sql::words::{Words, identifiers, name_of, tokens};
use crate::sql::{NameScope, utility};

/// Whether a function could read or write distributed tables behind the router's back.
pub(crate) fn is_unsafe(function: &UserFunction) -> bool {
    !function.declared_safe && function.volatility != Volatility::Immutable
}

/// Whether all functions of users that have this name leave distributed tables alone.
pub fn is_known_safe(catalog: &Catalog, name: &str) -> bool {
    catalog.functions.get(name).is_some_and(|function| !is_unsafe(function))
}

impl Analyzer<'_> {
    /// `0A000` where the statement, or the definition of a view that it names, calls a function that is not known to be safe.
    pub(crate) fn check_calls(&self) -> Result<(), Fault> {
        if self.scope.topology.is_all_home() {
            return Ok(());
        }
        match unsafe_call(&self.scope, self.text, self.scope.standard_strings, &mut HashSet::new()) {
            Some(name) => Err(unsafe_function(&name)),
            None => Ok(()),
        }
    }

    /// The same of a definition that calls something when it is made, and of what is temporary, which no catalog has afterwards.
    pub(crate) fn check_defined_calls(&self) -> Result<(), Fault> {
        let Some(words) = identifiers(self.text, self.scope.standard_strings) else { return self.check_calls() };
        let word = |at: usize| words.get(at).map_or("", |word| &**word);
        let has = |wanted: &str| words.iter().any(|word| **word == *wanted);
        let is_temporary = utility::creates_temporary(self.text) || words.iter().any(|word| is_temporary_schema(word));
        let calls = match (word(0), word(1)) {
            // Nobody calls it unseen.
            ("create", "function" | "procedure" | "aggregate" | "type" | "operator") => false,
            ("create", "or") if matches!(word(3), "function" | "procedure" | "aggregate") => false,
            ("create", _) if is_temporary => true,
            ("create", "cast" | "materialized" | "event") => true,
            ("create", "table" | "unlogged") => {
                let follows = |first: &str, next: &[&str]| {
                    words.windows(2).any(|pair| *pair[0] == *first && next.contains(&&*pair[1]))
                };
                follows("as", &["select", "with", "values", "table", "execute"]) || follows("partition", &["of"])
            }
            ("create", "trigger" | "constraint" | "rule") => !self.names_known_table(&words, &["on", "to"]),
            ("create", "or") if matches!(word(3), "trigger" | "rule") => !self.names_known_table(&words, &["on", "to"]),
            ("alter", "table") if has("set") && has("default") && !has("add") && !has("using") && !has("check") => {
                !self.names_known_table(&words, &["table"])
            }
            ("alter", "table" | "domain" | "materialized" | "foreign") => true,
            // Of a temporary table, which is in no catalog.
            ("create", "index" | "unique" | "policy") | ("alter", "policy") => self.is_of_temporary(),
            ("refresh", _) => true,
            _ => false,
        };
        match calls {
            // Whatever runs on every shard.
            true if word(1) == "event" && self.scope.topology.shards.len() > 1 => {
                match unsafe_call(&self.scope, self.text, self.scope.standard_strings, &mut HashSet::new()) {
                    Some(name) => Err(unsafe_function(&name)),
                    None => Ok(()),
                }
            }
            true => self.check_calls(),
            false => Ok(()),
        }
    }

    /// Whether the table behind ON is one of the session's own, or may be.
    fn is_of_temporary(&self) -> bool {
        let Some(mut words) = Words::new(self.text, self.scope.standard_strings) else { return true };
        words.skip_to(&["on"]);
        words.take("on");
        words.take("only");
        let Some((schema, name)) = words.name() else { return true };
        let tables = &self.scope.catalog.tables;
        match schema {
            Some(schema) => !tables.contains_key(&QualifiedName::new(schema, name)),
            None if self.scope.own.is_some() => true,
            None => !tables.keys().any(|table| *table.name == *name),
        }
    }

    /// Whether the catalog knows a table that is named behind one of these words: its code is looked at where it is written. One of the session's
    /// own goes before it.
    fn names_known_table(&self, words: &[String], behind: &[&str]) -> bool {
        let Some(at) = words.iter().position(|word| behind.contains(&&**word)) else { return false };
        let not_named = |word: &&String| !matches!(&***word, "if" | "exists" | "only");
        let known = |word: &String| {
            let of_name = |table: &QualifiedName| *table.name == **word;
            self.scope.catalog.tables.keys().any(of_name) && !self.scope.is_own_relation(word)
        };
        words.iter().skip(at + 1).filter(not_named).take(2).any(known)
    }
}

/// Whether it is the table of a CREATE INDEX, whose columns are in the parentheses.
fn is_indexed(text: &str, tokens: &[Token], at: usize) -> bool {
    let word = |token: &Token| name_of(text, token).unwrap_or_default();
    let before = match tokens.get(..at) {
        Some([before @ .., _, dot]) if dot.is(b'.') => before,
        Some(before) => before,
        None => return false,
    };
    let before = before.last().map(word);
    let is_index = tokens.get(1..3).is_some_and(|of| of.iter().any(|token| word(token) == "index"));
    is_index && before.is_some_and(|word| word == "on" || word == "only")
}

fn is_table_or_column(scope: &NameScope<'_>, name: &str) -> bool {
    let tables = &scope.catalog.tables;
    tables.values().any(|table| *table.name.name == *name || table.column(name).is_some())
}

/// The first such function of a text.
fn unsafe_call(
    scope: &NameScope<'_>,
    text: &str,
    standard_strings: bool,
    seen: &mut HashSet<QualifiedName>,
) -> Option<String> {
    let catalog = scope.catalog;
    let unsafe_named = |name: &str| {
        let placed = catalog.placed.values().filter_map(|schema| schema.functions.get(name));
        catalog.functions.get(name).into_iter().chain(placed).any(is_unsafe)
    };
    let unreadable = |token: &Token| token.kind == TokenKind::UnicodeQuoted;
    let Some(tokens) = tokens(text, standard_strings).filter(|tokens| !tokens.iter().any(unreadable)) else {
        // Whatever it says; the name can be written in escapes.
        if text.to_ascii_lowercase().contains("u&\"") {
            return catalog
                .functions
                .iter()
                .find(|(_, function)| is_unsafe(function))
                .map(|(name, _)| name.to_string());
        }
        let lower = text.to_lowercase();
        let mut all = catalog.functions.iter().filter(|(_, function)| is_unsafe(function));
        let called = all.find(|(name, _)| lower.contains(&name.to_lowercase())).map(|(name, _)| name.to_string());
        let mut uncalled = catalog.operators.values().chain(catalog.casts.iter().map(|cast| &cast.function));
        return called.or_else(|| uncalled.find(|of| is_unsafe(&of.function)).map(|of| of.name.to_string()));
    };
    if let Some(of) = uncalled(scope, text, &tokens).iter().find(|of| is_unsafe(&of.function)) {
        return Some(of.name.to_string());
    }
    let mut views = HashSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let Some(name) = name_of(text, token) else { continue };
        let is_called = tokens.get(at + 1).is_some_and(|next| next.is(b'(')) && !is_indexed(text, &tokens, at);
        let schema = at
            .checked_sub(2)
            .filter(|before| tokens.get(before + 1).is_some_and(|dot| dot.is(b'.')))
            .and_then(|before| name_of(text, tokens.get(before)?));
        // `t.f` and `(row).f` call f(t) where nothing else is called so.
        let is_attribute = at.checked_sub(1).and_then(|dot| tokens.get(dot)).is_some_and(|dot| dot.is(b'.'));
        if is_attribute && !is_called && unsafe_named(&name) && !is_table_or_column(scope, &name) {
            return Some(name);
        }
        if is_called && (unsafe_named(&name) || schema.is_some_and(|schema| is_temporary_schema(&schema))) {
            return Some(name);
        }
        if matches!(token.kind, TokenKind::Word | TokenKind::Quoted) {
            views.insert(name);
        }
    }
    let is_view = |kind: RelationKind| matches!(kind, RelationKind::View | RelationKind::MaterializedView);
    let of_views = catalog.tables.values().filter(|table| is_view(table.kind) && views.contains(&*table.name.name));
    for view in of_views {
        let Some(definition) = view.definition.as_deref().filter(|_| seen.insert(view.name.clone())) else { continue };
        if let Some(name) = unsafe_call(scope, definition, true, seen) {
            return Some(name);
        }
    }
    None
}
