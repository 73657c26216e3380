//! Statements that are not walked as a tree: what their words name, and where that leads them.

use std::collections::HashSet;

use crate::catalog::source::hidden;
use crate::catalog::{Operator, RelationKind, Sets, code};
use crate::fault::{Fault, SqlState};
use crate::sql::analyze::{Analyzer, PinReason, Verdict, unsafe_function};
use crate::sql::called::is_unsafe;
use crate::sql::functions::{FunctionClass, builtin, placed_with};
use crate::sql::implicit::check_named;
use crate::sql::lexer::{Token, TokenKind, with_escapes};
use crate::sql::names::{
    Place, Relation, distributed_names, makes_temporary, names_of_copies, resolve, sharded_names, with_derived,
};
use crate::sql::operators::uncalled;
use crate::sql::outcome::Outcome;
use crate::sql::template::{Scan, scan, string_value};
use crate::sql::utility::StatementKind;
use crate::sql::{NameScope, utility, words};
use crate::topology::Closed;

/// A function of the router's own, which is on every shard: it takes a lock.
const OWN: &str = "unique_id";
/// Words of statements that write, or lock rows.
const WRITING: [&str; 6] = ["insert", "update", "delete", "merge", "share", "truncate"];

impl Analyzer<'_> {
    /// DO and CALL: code that the router cannot see into.
    pub fn code(&self) -> Verdict {
        let named = match self.scope.topology.tables.is_empty() {
            true => None,
            false => self.distributed_name(true),
        };
        if let Some(name) = named {
            return Verdict::refuse(Fault::unsupported(
                "code that names a distributed table is not supported",
                format!("\"{name}\" is sharded or a reference table, and the code would run on the home shard alone"),
                "Send the statements of the code one by one.",
            ));
        }
        if let Some(name) = self.unsafe_call() {
            return Verdict::refuse(unsafe_function(&name));
        }
        if let Err(fault) = self.check_calls() {
            return Verdict::refuse(fault);
        }
        if let Some(what) = self.hidden_in_code() {
            return Verdict::refuse(Fault::unsupported(
                format!("code that runs {what} is not supported"),
                "the code would run on the home shard alone, and what its text does not say, or what every shard needs, would be done there",
                "Send the statements of the code one by one.",
            ));
        }
        match self.named_place(true) {
            Ok(place) => {
                let changes = code::sets(self.text).and(self.called_sets());
                let pin = if changes.changes_settings() { PinReason::Setting } else { PinReason::Code };
                Verdict { pin: Some(pin), takes_any: true, ..Verdict::at(&place, &self.scope) }
            }
            Err(fault) => Verdict::refuse(fault),
        }
    }

    /// What the text of a DO does not say, or what concerns every shard.
    fn hidden_in_code(&self) -> Option<Box<str>> {
        if self.scope.topology.is_all_home() {
            return None;
        }
        let Some(words) = words::identifiers(self.text, self.scope.standard_strings) else {
            return Some("what cannot be read".into());
        };
        if words.first().is_none_or(|word| **word != *"do") {
            return None;
        }
        let mut languages = words.iter().skip_while(|word| **word != *"language");
        let written = languages.next().is_some();
        match languages.next() {
            Some(language) if **language != *"plpgsql" => {
                return Some(format!("statements in language {language}").into());
            }
            // In quotes.
            None if written => {
                let mut texts = self.scan.slots.iter().filter_map(|slot| string_value(self.text, slot));
                if !texts.any(|text| *text == *"plpgsql") {
                    return Some("statements in another language".into());
                }
            }
            Some(_) | None => {}
        }
        self.scan.slots.iter().find_map(|slot| match string_value(self.text, slot) {
            Some(body) => hidden(&body),
            None => Some("what cannot be read".into()),
        })
    }

    /// A function or procedure of users that the code calls, and that could read or write distributed tables.
    fn unsafe_call(&self) -> Option<String> {
        let catalog = &self.scope.catalog;
        if self.scope.topology.is_all_home() {
            return None;
        }
        let lower = self.text.to_lowercase();
        let words: HashSet<&str> = lower
            .split(|c: char| !c.is_alphanumeric() && c != '_' && c != '$')
            .filter(|word| !word.is_empty())
            .collect();
        // In whatever case and quotes; names that are more than a word stand there as they are.
        let is_named = |name: &str| {
            let name = name.to_lowercase();
            let is_word = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$');
            if is_word { words.contains(&*name) } else { lower.contains(&name) }
        };
        let placed = catalog.placed.values().flat_map(|schema| &schema.functions);
        let mut found = catalog.functions.iter().chain(placed).filter(|(_, function)| is_unsafe(function));
        let called = found.find(|(name, _)| is_named(name)).map(|(name, _)| name.to_string());
        called.or_else(|| {
            let mut uncalled = self.uncalled().into_iter();
            uncalled.find(|of| is_unsafe(&of.function)).map(|of| of.name.to_string())
        })
    }

    /// What may run where nobody calls it, in the text and in the strings that it has.
    fn uncalled(&self) -> Vec<Operator> {
        let of = |text: &str, standard| {
            words::tokens(text, standard).map(|tokens| uncalled(&self.scope, text, &tokens)).unwrap_or_default()
        };
        let strings = self.scan.slots.iter().filter_map(|slot| string_value(self.text, slot));
        let inner: Vec<Operator> = strings.flat_map(|string| of(&string, true)).collect();
        of(self.text, self.scope.standard_strings).into_iter().chain(inner).collect()
    }

    /// The first distributed table that the text names, if any. `in_strings`: also inside string literals.
    pub fn distributed_name(&self, in_strings: bool) -> Option<Box<str>> {
        self.first_name(&distributed_names(&self.scope), in_strings)
    }

    fn first_name(&self, names: &HashSet<Box<str>>, in_strings: bool) -> Option<Box<str>> {
        if names.is_empty() {
            return None;
        }
        self.find_name(names, self.text, self.scope.standard_strings).or_else(|| {
            let literals = in_strings.then_some(&self.scan.slots)?;
            literals.iter().find_map(|slot| {
                let text = string_value(self.text, slot)?;
                self.find_name(names, &text, true)
            })
        })
    }

    /// Why the statement must wait: it names a table of which nobody may say where its rows are, or what is made of it.
    pub fn closed(&self, kind: &StatementKind) -> Option<Fault> {
        let closed = &self.scope.topology.closed;
        // What the router answers itself touches no table. What a PREPARE prepares is looked at when it is executed.
        if closed.is_empty() || is_about_session(kind) {
            return None;
        }
        let names = with_derived(&self.scope, closed.keys().map(|name| name.name.clone()).collect());
        let in_strings = matches!(kind, StatementKind::Code);
        let name = self.first_name(&names, in_strings)?;
        let why = closed.iter().find(|(table, _)| table.name == name).map_or(&Closed::Moving, |(_, why)| why);
        Some(match why {
            Closed::Moving => {
                Fault::new(SqlState::LOCK_NOT_AVAILABLE, format!("table \"{name}\" is being moved between shards"))
                    .hint("Try again when it is done.")
            }
            Closed::Unknown(why) => {
                Fault::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("table \"{name}\" has no place"))
                    .detail(why.clone())
                    .hint("Correct the configuration; \"pgloom check\" tells what is wrong.")
            }
        })
    }

    /// The first table that the text names and whose rows are not all on one shard. Reference tables are whole there too, but only
    /// for statements that read: one that can write counts as naming them.
    pub fn elsewhere_name(&self) -> Option<Box<str>> {
        let text = self.text;
        let reads = words::identifiers(text, self.scope.standard_strings)
            .is_some_and(|found| !found.iter().any(|word| WRITING.contains(&&**word)));
        match reads {
            true => self.find_name(&sharded_names(&self.scope), text, self.scope.standard_strings),
            false => self.distributed_name(false),
        }
    }

    /// That the tables which the text names set off no code that sees more than one shard; what that code sets.
    fn check_code(&self) -> Result<Sets, Fault> {
        let names = words::identifiers(self.text, self.scope.standard_strings).unwrap_or_default();
        let writes = names.iter().any(|name| WRITING.contains(&&**name));
        check_named(&self.scope, &names, writes)
    }

    /// A statement that the router cannot follow: that of one shard, unless it names a distributed table.
    pub fn not_understood(&self, what: &str) -> Verdict {
        if let Some(name) = self.elsewhere_name() {
            return Verdict::refuse(Fault::unsupported(
                "statement is not supported",
                format!(
                    "the router does not understand {what}, and the statement names \"{name}\", which is distributed"
                ),
                "Write the statement in a plainer form, or send it to the shards directly.",
            ));
        }
        let sets = match self.check_calls().and_then(|()| self.check_code()) {
            Ok(sets) => sets.and(self.called_sets()),
            Err(fault) => return Verdict::refuse(fault),
        };
        match self.named_place(false) {
            Ok(place) => {
                let temporary = self.may_make_temporary().then_some(PinReason::TemporaryTable);
                let pin = PinReason::of(code::leaves(self.text).and(sets)).or(temporary);
                Verdict { pin, ..Verdict::at(&place, &self.scope) }
            }
            Err(fault) => Verdict::refuse(fault),
        }
    }

    /// What the functions set whose names the text has.
    fn called_sets(&self) -> Sets {
        let catalog = &self.scope.catalog;
        let lower = self.text.to_ascii_lowercase();
        let words = lower.split(|c: char| !c.is_alphanumeric() && c != '_');
        let found = words.flat_map(|word| {
            let placed = catalog.placed.values().filter_map(move |schema| schema.functions.get(word));
            let runs_sql = matches!(builtin(word), FunctionClass::RunsSql).then_some(Sets::Lasting);
            catalog.functions.get(word).into_iter().chain(placed).map(|function| function.sets).chain(runs_sql)
        });
        let uncalled = self.uncalled().into_iter().map(|of| of.function.sets);
        Sets::of_all(found.chain(uncalled))
    }

    /// What may stay behind of the query that REFRESH runs: locks, where something is called that takes them, or nobody knows.
    fn refreshed_sets(&self) -> Sets {
        let catalog = &self.scope.catalog;
        let placed = catalog.placed.values().flat_map(|schema| &schema.functions);
        let of_users = catalog.functions.iter().chain(placed).filter(|(name, _)| ***name != *OWN);
        let unseen = catalog.operators.values().chain(catalog.casts.iter().map(|cast| &cast.function));
        let mut functions = of_users.map(|(_, function)| function).chain(unseen.map(|of| &of.function));
        // Also what operators, casts and indexes call is not in the text.
        if functions.any(|function| function.sets != Sets::Nothing) {
            return Sets::Locks;
        }
        let is_view = |kind: RelationKind| matches!(kind, RelationKind::View | RelationKind::MaterializedView);
        let mut texts = vec![self.text];
        let mut seen = HashSet::new();
        while let Some(text) = texts.pop() {
            let Some(words) = words::identifiers(text, self.scope.standard_strings) else { return Sets::Locks };
            if code::leaves(text) != Sets::Nothing
                || words.iter().any(|word| **word == *OWN || matches!(builtin(word), FunctionClass::RunsSql))
            {
                return Sets::Locks;
            }
            let named = |name: &str| words.iter().any(|word| **word == *name);
            for view in catalog.tables.values().filter(|table| is_view(table.kind) && named(&table.name.name)) {
                if seen.insert(&view.name) {
                    let Some(definition) = view.definition.as_deref() else { return Sets::Locks };
                    texts.push(definition);
                }
            }
        }
        if seen.is_empty() { Sets::Locks } else { Sets::Nothing }
    }

    /// Whether the statement may make something temporary: a SELECT INTO, or a CREATE in EXPLAIN, by its words.
    fn may_make_temporary(&self) -> bool {
        let makes = |word: &String| matches!(&**word, "into" | "create");
        let words = || words::identifiers(self.text, self.scope.standard_strings);
        utility::creates_temporary(self.text)
            || makes_temporary(&self.scope) && words().is_none_or(|words| words.iter().any(makes))
    }

    /// A definition that computes values when it is made, and may change settings by that.
    pub fn defined(&self, verdict: Verdict) -> Verdict {
        if let Err(fault) = self.check_defined_calls()
            && !matches!(verdict.outcome, Outcome::Refuse(_) | Outcome::CreateAs(_))
        {
            return Verdict::refuse(fault);
        }
        // Its query is not in the text. Postgres undoes what that sets, and not the locks that it takes.
        let refreshes = words::identifiers(self.text, self.scope.standard_strings)
            .is_some_and(|words| words.first().is_some_and(|word| word == "refresh"));
        if refreshes && matches!(verdict.outcome, Outcome::Home(_) | Outcome::Shard(..)) {
            return Verdict { pin: PinReason::of(self.refreshed_sets()), ..verdict };
        }
        let sets = code::leaves(self.text).and(self.called_sets());
        if sets == Sets::Nothing || !self.computes() {
            return verdict;
        }
        match verdict.outcome {
            Outcome::Home(_) | Outcome::Shard(..) => Verdict { pin: PinReason::of(sets), ..verdict },
            Outcome::Refuse(_) => verdict,
            Outcome::Any(_)
            | Outcome::Routed(_)
            | Outcome::Broadcast(_)
            | Outcome::Parts(..)
            | Outcome::Each(..)
            | Outcome::CopyIn(_)
            | Outcome::CreateAs(_)
            | Outcome::Insert(_)
            | Outcome::Draw(_)
            | Outcome::Deliver(_)
            | Outcome::Supply(_)
            | Outcome::Stamp(_) => Verdict::refuse(Fault::unsupported(
                "a definition that changes settings or takes locks is not supported across shards",
                "what it computes calls set_config() or pg_advisory_lock(), or a function that does, on each shard alone",
                "Use SET, or SELECT set_config() with literals or parameters, in a statement of its own, and so for locks.",
            )),
        }
    }

    /// CREATE TABLE AS, CREATE MATERIALIZED VIEW, SELECT INTO, ALTER TABLE: other definitions compute nothing when they are made, or have
    /// their settings undone by Postgres.
    fn computes(&self) -> bool {
        let words = words::identifiers(self.text, self.scope.standard_strings).unwrap_or_default();
        let has = |wanted: &str| words.iter().any(|word| **word == *wanted);
        match words.first().map(|word| &**word) {
            Some("create") => {
                words.iter().skip(1).take(4).any(|word| matches!(&**word, "table" | "materialized")) && has("as")
            }
            Some("alter") => has("table") || has("domain"),
            Some("select" | "with") => has("into"),
            Some(_) | None => false,
        }
    }

    /// A text that cannot even be cut into tokens.
    pub fn unreadable(&self) -> Verdict {
        let texts = self.texts();
        let mut names = distributed_names(&self.scope);
        names.extend(self.scope.catalog.placed.keys().cloned());
        let has = |has: fn(&str, &str) -> bool| {
            names.iter().find(|name| {
                let name = name.to_lowercase();
                texts.iter().any(|text| has(text, &name))
            })
        };
        // Any word that it is a part of may be it: the letter of an escape can stand before it.
        let named = has(has_word).or_else(|| has(|text, name| text.contains(name)));
        match named {
            // Postgres has its own words for what it cannot read.
            None => {
                Verdict { pin: PinReason::of(code::leaves(self.text)), ..Verdict::at(&self.scope.base(), &self.scope) }
            }
            Some(name) => Verdict::refuse(Fault::unsupported(
                "statement is not supported",
                format!("its literals cannot be read with certainty, and it names \"{name}\", which is distributed"),
                "Turn standard_conforming_strings on, and write numbers and names apart.",
            )),
        }
    }

    /// The text and what its strings say as strings with escapes, all in small letters.
    fn texts(&self) -> Vec<String> {
        let mut texts = vec![self.text.to_lowercase()];
        let mut scanned = Scan::default();
        if let Some(other) = with_escapes(self.text)
            && scan(&other, true, &mut scanned).is_ok()
        {
            texts.extend(scanned.slots.iter().filter_map(|slot| Some(string_value(&other, slot)?.to_lowercase())));
        }
        texts
    }

    /// The first sharded table that the text names.
    pub fn sharded_name(&self) -> Option<Box<str>> {
        self.find_name(&sharded_names(&self.scope), self.text, self.scope.standard_strings)
    }

    /// The placed schema that the text names by its name, if it names one: several of different shards are refused.
    pub fn named_schema(&self) -> Result<Option<Place>, Fault> {
        let named = self.named(By::Schemas);
        match named.places.is_empty() {
            true => Ok(None),
            false => named.place(&self.scope).map(Some),
        }
    }

    /// That all tables which the text names are on the shard where something is made of them.
    pub fn check_alone(&self, place: &Place) -> Result<(), Fault> {
        let mut named = self.named(By::Tables);
        named.places.retain(|other| other.shard != place.shard);
        if place.shard == self.scope.topology.home {
            named.home = None;
        }
        let what = match (named.places.first(), named.home) {
            (Some(other), _) => format!("schema \"{}\"", other.schema.clone().unwrap_or_default()),
            (None, Some(table)) => format!("table \"{table}\""),
            (None, None) => return Ok(()),
        };
        Err(Fault::unsupported(
            "a definition over several shards is not supported",
            format!("{what} is on another shard than what is defined"),
            "Name tables of one shard: pins place schemas together, and reference tables are on every shard.",
        ))
    }

    /// Whether the home shard has, with or without its rows, all that the text names.
    pub fn is_known_at_home(&self) -> bool {
        self.named_place(false).is_ok_and(|place| place.shard == self.scope.topology.home)
    }

    fn named(&self, by: By) -> Named {
        let mut named = Named::default();
        if self.scope.topology.places_schemas() {
            named.read(&self.scope, self.text, self.scope.standard_strings, by);
        }
        named
    }

    /// The one shard that has all the undistributed things that the text names.
    pub fn named_place(&self, in_strings: bool) -> Result<Place, Fault> {
        let scope = &self.scope;
        if !scope.topology.places_schemas() {
            return Ok(Place::home(scope));
        }
        let mut named = self.named(By::AnyName);
        for slot in in_strings.then_some(&self.scan.slots).into_iter().flatten() {
            if let Some(text) = string_value(self.text, slot) {
                named.read(scope, &text, true, By::AnyName);
            }
        }
        named.place(scope)
    }

    /// Whether a definition has who writes a reference table wait: one of that table, or of what belongs to it.
    pub fn stops_writers_of_copies(&self) -> bool {
        /// Who only reads a table's definition stops nobody.
        const READS: [&str; 4] = ["view", "materialized", "function", "procedure"];
        let words = words::identifiers(self.text, self.scope.standard_strings).unwrap_or_default();
        let reads = match words.first().map(|word| &**word) {
            Some("comment" | "grant" | "revoke" | "security") => true,
            Some("create") => words.iter().skip(1).take(3).any(|word| READS.contains(&&**word)),
            Some(_) | None => false,
        };
        !reads && self.find_name(&names_of_copies(&self.scope), self.text, self.scope.standard_strings).is_some()
    }

    /// The first of the names in the text; a text that cannot be read counts as naming any of them.
    pub fn find_name(&self, names: &HashSet<Box<str>>, text: &str, standard_strings: bool) -> Option<Box<str>> {
        let Some(chains) = chains(text, standard_strings) else {
            let lower = text.to_lowercase();
            return names.iter().find(|name| lower.contains(&name.to_lowercase())).cloned();
        };
        let of_chain = |chain: Chain| {
            // A table of a placed schema may be called as a distributed one is.
            let skipped = match (placed_schema(&self.scope, &chain), placed(&self.scope, &chain)) {
                (Some(_), _) => chain.parts.len(),
                (None, Some(_)) => 1,
                (None, None) => 0,
            };
            let is_bare = chain.parts.len() == 1;
            let found = chain.parts.into_iter().skip(skipped).find(|name| names.contains(&**name));
            if let (true, Some(name)) = (is_bare, &found) {
                self.scope.note_hiding(name);
            }
            found
        };
        chains.into_iter().find_map(of_chain).map(Into::into)
    }
}

/// A name of one or more parts, as a text has it.
struct Chain {
    parts: Vec<String>,
    /// The keyword before it makes it a table.
    is_table: bool,
    /// A parenthesis follows.
    is_call: bool,
}

/// Every name and keyword of a text. `None` where one of them cannot be read.
fn chains(text: &str, standard_strings: bool) -> Option<Vec<Chain>> {
    const BEFORE_TABLES: [&str; 11] =
        ["from", "join", "into", "update", "using", "table", "only", "references", "like", "of", "on"];
    let tokens = words::tokens(text, standard_strings)?;
    let is_name = |token: &Token| matches!(token.kind, TokenKind::Word | TokenKind::Quoted);
    let mut chains = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if token.kind == TokenKind::UnicodeQuoted {
            return None;
        }
        if !is_name(token) {
            at += 1;
            continue;
        }
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let is_word = |token: &Token, word: &str| words::text_of(text, token).eq_ignore_ascii_case(word);
        let inherits = at >= 2 && is_word(&tokens[at - 2], "inherits");
        let is_table = before.is_some_and(|before| {
            BEFORE_TABLES.iter().any(|keyword| is_word(before, keyword)) || before.is(b'(') && inherits
        });
        let mut parts = vec![words::name_of(text, token)?];
        at += 1;
        while tokens.get(at).is_some_and(|dot| dot.is(b'.')) && tokens.get(at + 1).is_some_and(is_name) {
            parts.push(words::name_of(text, &tokens[at + 1])?);
            at += 2;
        }
        chains.push(Chain { parts, is_table, is_call: tokens.get(at).is_some_and(|next| next.is(b'(')) });
    }
    Some(chains)
}

/// The placed schema that qualifies a name.
fn placed_schema<'c>(scope: &NameScope<'_>, chain: &'c Chain) -> Option<&'c str> {
    let (_, qualifiers) = chain.parts.split_last()?;
    qualifiers.iter().map(|part| &**part).find(|part| scope.topology.place_of_schema(part).is_some())
}

/// Where a name leads to a placed schema: it is one, is qualified by one, or is found in one of the search path.
fn placed(scope: &NameScope<'_>, chain: &Chain) -> Option<Place> {
    let first = chain.parts.first()?;
    if let Some(schema) = placed_schema(scope, chain) {
        return scope.place_of_schema(schema);
    }
    if let ([name], true) = (&chain.parts[..], scope.catalog.placed.contains_key(&**first)) {
        return scope.place_of_schema(name);
    }
    scope.placed_path().next()?;
    let of_path = match resolve(scope, None, first) {
        Relation::Unsharded { table: Some(_), place } => Some(place),
        Relation::View { name, .. } => Some(scope.place_of(&name.schema)),
        Relation::Sharded { .. } | Relation::Reference { .. } | Relation::Unsharded { .. } | Relation::System => None,
    };
    let of_function = || {
        let schema = chain.is_call.then(|| placed_with(scope, None, first).first().copied()).flatten()?;
        scope.place_of_schema(schema)
    };
    let of_type = || {
        let has = |schema: &&str| scope.catalog.placed.get(*schema).is_some_and(|s| s.types.contains(&**first));
        scope.placed_path().find(has).and_then(|schema| scope.place_of_schema(schema))
    };
    of_path.filter(|place| place.schema.is_some()).or_else(of_function).or_else(of_type)
}

/// Which names count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    AnyName,
    /// Those that stand where tables stand, and those that name a placed schema.
    Tables,
    /// Those that name a placed schema.
    Schemas,
}

/// What lies on single shards, by the first name that leads there.
#[derive(Default)]
struct Named {
    places: Vec<Place>,
    /// A table of the home shard.
    home: Option<Box<str>>,
}

impl Named {
    fn read(&mut self, scope: &NameScope<'_>, text: &str, standard_strings: bool, by: By) {
        // What cannot be read will not be read by Postgres either, or is a name in a form that nobody uses.
        for chain in chains(text, standard_strings).unwrap_or_default() {
            let counts = match by {
                By::AnyName => true,
                By::Tables => chain.is_table || placed_schema(scope, &chain).is_some(),
                By::Schemas => placed_schema(scope, &chain).is_some(),
            };
            if let Some(place) = placed(scope, &chain).filter(|_| counts) {
                if !self.places.iter().any(|known| known.shard == place.shard) {
                    self.places.push(place);
                }
                continue;
            }
            let (schema, name) = match &chain.parts[..] {
                [name] => (None, name),
                [.., schema, name] => (Some(&**schema), name),
                [] => continue,
            };
            if chain.is_table
                && let Relation::Unsharded { table: Some(_), place } = resolve(scope, schema, name)
                && place.is_home(scope)
            {
                self.home.get_or_insert_with(|| name.as_str().into());
            }
        }
    }

    fn place(self, scope: &NameScope<'_>) -> Result<Place, Fault> {
        let refuse = |detail: String| {
            Fault::unsupported(
                "statement is not supported across shards",
                detail,
                "Name tables of one shard: pins place schemas together, and reference tables are on every shard.",
            )
        };
        let name = |place: &Place| place.schema.clone().unwrap_or_default();
        match (&self.places[..], &self.home) {
            ([], Some(_)) => Ok(Place::home(scope)),
            ([], None) => Ok(scope.unknown()),
            ([place], Some(table)) if place.shard != scope.topology.home => {
                Err(refuse(format!("table \"{table}\" is on another shard than schema \"{}\"", name(place))))
            }
            ([place], _) => Ok(place.clone()),
            ([first, second, ..], _) => {
                Err(refuse(format!("schema \"{}\" is on another shard than schema \"{}\"", name(first), name(second))))
            }
        }
    }
}

/// Statements that touch no table, or that are looked at again when the statement inside runs.
pub(crate) fn is_about_session(kind: &StatementKind) -> bool {
    match kind {
        StatementKind::Query
        | StatementKind::Insert
        | StatementKind::Update
        | StatementKind::Delete
        | StatementKind::Positioned(_)
        | StatementKind::Merge
        | StatementKind::Copy(_)
        | StatementKind::Explain { .. }
        | StatementKind::Declare { .. }
        | StatementKind::Ddl
        | StatementKind::Maintenance
        | StatementKind::Lock
        | StatementKind::Code
        | StatementKind::Other => false,
        StatementKind::Empty
        | StatementKind::Transaction(_)
        | StatementKind::Set(_)
        | StatementKind::SetConfig(_)
        | StatementKind::Placement(_)
        | StatementKind::Show(_)
        | StatementKind::ShowRouter(_)
        | StatementKind::ExplainRoute { .. }
        | StatementKind::Prepare(_)
        | StatementKind::Execute(_)
        | StatementKind::AroundExecute(_)
        | StatementKind::Deallocate(_)
        | StatementKind::Fetch(_)
        | StatementKind::CloseCursor(_)
        | StatementKind::Listen
        | StatementKind::Unlisten
        | StatementKind::Notify
        | StatementKind::Discard(_)
        | StatementKind::Unclear => true,
    }
}

/// Whether a name stands in a text, and not as a part of another word.
fn has_word(text: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    text.match_indices(name).any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let behind = text.get(at + name.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_word) && !behind.is_some_and(is_word)
    })
}
