//! DDL and maintenance: which shards a definition belongs on. Told by the leading words, for the parser knows only part of it.

mod alter;
mod alter_table;
pub(crate) mod create;
pub(crate) mod elements;
pub(crate) mod fills;
mod places;
mod servers;

use std::sync::Arc;

use crate::catalog::RelationKind;
use crate::fault::Fault;
use crate::ids::QualifiedName;
use crate::sql::analyze::{Analyzer, PinReason, Verdict, outcome_at};
use crate::sql::create_as::CreateAs;
use crate::sql::ddl::places::{Belongs, Kind, Members, Name, Where};
use crate::sql::functions::{FunctionClass, builtin};
use crate::sql::lexer::TokenKind;
use crate::sql::names::{Place, Relation, creation_schema, distributed_names, makes_temporary, resolve};
use crate::sql::outcome::{OneByOne, Outcome, Why};
use crate::sql::pushdown::reads_clock;
use crate::sql::words::{Words, name_of, text_of, tokens};
use crate::sql::{Access, Change, utility};

/// CREATE, ALTER, DROP, GRANT, REVOKE, COMMENT, TRUNCATE, REINDEX and their like.
pub(crate) fn ddl(of: &Analyzer<'_>) -> Verdict {
    of.defined(definition(of))
}

fn definition(of: &Analyzer<'_>) -> Verdict {
    let Some(text) = of.text.get(of.scan.start..of.scan.end) else { return of.not_understood("the statement") };
    let Some(mut words) = Words::new(text, of.scope.standard_strings) else {
        return of.not_understood("the statement");
    };
    if words.is(0, "create") && (utility::creates_temporary(of.text) || is_made_temporary(of, &words)) {
        return temporary(of, &mut words);
    }
    let verb = ["CREATE", "ALTER", "DROP"].into_iter().find(|verb| words.is(0, verb)).unwrap_or("GRANT");
    // It changes nothing that a statement could see, and read only transactions may have it: no shard has to wait for the others' word.
    let rebuilds = words.is(0, "reindex");
    let mut definition = Definition { verb, of, text, words: &mut words, changes: Vec::new() };
    let belongs = definition.belongs();
    let changes = std::mem::take(&mut definition.changes);
    let verdict = verdict(of, belongs, Why::Ddl);
    let access = if rebuilds { Access::Lock } else { verdict.access };
    Verdict { changes, access, ..verdict }
}

fn verdict(of: &Analyzer<'_>, belongs: Result<Belongs, Fault>, why: Why) -> Verdict {
    let outcome = match belongs {
        Ok(Belongs::To(Where::Everywhere)) => Outcome::Broadcast(Why::Ddl),
        Ok(Belongs::To(Where::One(place))) => outcome_at(&place, &of.scope, why),
        Ok(Belongs::Parts(parts)) => {
            let parts: Vec<_> = parts.into_iter().map(|(shard, text)| (shard, Arc::from(text))).collect();
            Outcome::Parts(parts.into(), Why::Ddl)
        }
        Ok(Belongs::Each(parts)) => {
            let parts: Vec<_> = parts.into_iter().map(|(shard, text)| (shard, Arc::from(text))).collect();
            Outcome::Each(parts.into(), Why::Ddl)
        }
        Ok(Belongs::Stamp(stamped)) => Outcome::Stamp(Arc::new(stamped)),
        Ok(Belongs::CreateAs(create)) => Outcome::CreateAs(Arc::new(create)),
        Ok(Belongs::OneByOne(steps)) => return one_by_one(steps),
        Err(fault) => return Verdict::refuse(fault),
    };
    Verdict::new(outcome, Access::Write)
}

fn one_by_one(steps: OneByOne) -> Verdict {
    Verdict::new(Outcome::Broadcast(Why::OneByOne(Arc::new(steps))), Access::Write)
}

impl OneByOne {
    const AGAIN: &'static str =
        "Remove the cause and run the command again: what is done already is done once more, or skipped.";

    fn again(command: impl Into<Box<str>>) -> Self {
        Self { command: command.into(), index: None, detached: None, remedy: Self::AGAIN, in_block: false, parts: None }
    }
}

/// A temporary relation lives in one session of one shard.
fn temporary(of: &Analyzer<'_>, words: &mut Words<'_>) -> Verdict {
    // Its name must not hide a distributed table, and what it is made of must be where it is.
    let distributed = distributed_names(&of.scope);
    let placed = |name: &str| {
        let of_name =
            |table: &&QualifiedName| *table.name == *name && of.scope.place_of_schema(&table.schema).is_some();
        of.scope.topology.places_schemas() && of.scope.catalog.tables.keys().any(|table| of_name(&table))
    };
    let created = created_temporary(words);
    let hides = created.as_ref().is_none_or(|name| distributed.contains(&**name));
    let named = if hides { of.distributed_name(false) } else { of.elsewhere_name() };
    let named = named.or_else(|| created.as_ref().filter(|name| placed(name)).map(|name| name.as_str().into()));
    if let (Some(_), false) = (&named, hides)
        && let Some(create) = temporary_as(of, of.text)
    {
        return create;
    }
    if let Some(name) = named {
        return Verdict::refuse(Fault::unsupported(
            "temporary relations over distributed tables are not supported",
            format!(
                "\"{name}\" is sharded or a reference table, and the temporary relation would be on one shard alone"
            ),
            "Give it a name of its own; CREATE UNLOGGED TABLE ... AS makes a table of rows that lie on several shards.",
        ));
    }
    // All temporary relations of a session are on one connection.
    let place = match (of.named_place(false), of.scope.temporary) {
        (Ok(place), Some(shard)) if place.shard != shard => Err(unsupported(
            "a temporary relation on another shard",
            "the session may have temporary relations already, and they can be on one shard only",
        )),
        (place, _) => place,
    };
    match place {
        Ok(place) => Verdict { pin: Some(PinReason::TemporaryTable), ..Verdict::at(&place, &of.scope) },
        Err(fault) => Verdict::refuse(fault),
    }
}

/// Whether what is made has no schema in its name, and the search path leads it to that of temporary relations.
fn is_made_temporary(of: &Analyzer<'_>, words: &Words<'_>) -> bool {
    const BEFORE: [&str; 4] = ["unlogged", "recursive", "materialized", "foreign"];
    const KINDS: [&str; 11] = [
        "table",
        "view",
        "sequence",
        "type",
        "domain",
        "function",
        "procedure",
        "aggregate",
        "collation",
        "conversion",
        "statistics",
    ];
    if !makes_temporary(&of.scope) {
        return false;
    }
    let mut words = words.part(0..words.len());
    words.take("create");
    words.take_all(&["or", "replace"]);
    for before in BEFORE {
        words.take(before);
    }
    let is_kind = KINDS.iter().any(|kind| words.take(kind));
    words.take_all(&["if", "not", "exists"]);
    is_kind && words.name().is_none_or(|(schema, _)| schema.is_none())
}

/// A temporary table of rows that lie elsewhere than the session's temporary tables.
pub(crate) fn temporary_as(of: &Analyzer<'_>, text: &str) -> Option<Verdict> {
    let home = of.scope.topology.home;
    let here = of.is_known_at_home() && of.scope.temporary.is_none_or(|shard| shard == home);
    let create = CreateAs::of_temporary(text, creation_schema(&of.scope)?).filter(|_| here)?;
    Some(Verdict::new(Outcome::CreateAs(Arc::new(create)), Access::Write))
}

/// The name in `CREATE [OR REPLACE] [LOCAL] TEMP [RECURSIVE] TABLE|VIEW|SEQUENCE [IF NOT EXISTS] name`.
fn created_temporary(words: &mut Words<'_>) -> Option<String> {
    words.take("create");
    words.take_all(&["or", "replace"]);
    let _ = words.take("local") || words.take("global");
    let _ = words.take("temp") || words.take("temporary") || words.take("unlogged");
    words.take("recursive");
    if !(words.take("table") || words.take("view") || words.take("sequence")) {
        return None;
    }
    words.take_all(&["if", "not", "exists"]);
    Some(words.name()?.1)
}

/// One statement, read word by word.
struct Definition<'w, 'a> {
    /// The first keyword.
    verb: &'static str,
    of: &'w Analyzer<'a>,
    text: &'w str,
    words: &'w mut Words<'a>,
    /// What is made and dropped by it, where schemas are placed.
    changes: Vec<Change>,
}

impl Definition<'_, '_> {
    fn belongs(&mut self) -> Result<Belongs, Fault> {
        if self.is_of_servers() {
            return self.on_servers();
        }
        if self.words.take("create") {
            return self.create();
        }
        if self.words.take("alter") {
            return self.alter();
        }
        if self.words.take("drop") {
            return self.drop();
        }
        if self.words.take("truncate") {
            self.words.take("table");
            return self.list(Kind::Relation, &["restart", "continue", "cascade", "restrict"], "TRUNCATE");
        }
        if self.words.take_all(&["comment", "on"]) {
            return self.comment();
        }
        if self.words.take("grant") || self.words.take("revoke") {
            return self.grant();
        }
        if self.words.take("reindex") {
            return self.reindex();
        }
        if self.words.take_all(&["refresh", "materialized", "view"]) {
            self.words.take("concurrently");
            return self.one(Kind::Relation, "REFRESH");
        }
        if self.words.take("import") {
            while !self.words.is_done() && !self.words.take("into") {
                self.words.at += 1;
            }
            return Ok(match self.words.name() {
                Some((_, schema)) => Belongs::to(self.of.scope.place_of(&schema)),
                None => Belongs::to(Place::home(&self.of.scope)),
            });
        }
        if self.words.take_all(&["security", "label"]) {
            return self.label();
        }
        Ok(Belongs::EVERYWHERE)
    }

    /// `... ON kind name IS ...`
    fn label(&mut self) -> Result<Belongs, Fault> {
        while !self.words.is_done() && !self.words.take("on") {
            self.words.at += 1;
        }
        self.comment()
    }

    /// Notes what the statement does to names.
    fn change(&mut self, change: Change) {
        if self.of.scope.topology.places_schemas() {
            self.changes.push(change);
        }
    }

    fn home(&self) -> Belongs {
        Belongs::to(Place::home(&self.of.scope))
    }

    /// Whatever has no name that matters here: every shard, unless the text names what is on one alone.
    fn everywhere(&mut self) -> Result<Belongs, Fault> {
        for what in ["database", "tablespace", "subscription", "system"] {
            if self.words.is(0, what) {
                return Err(unsupported(
                    format!("{} {} through the router", self.verb, what.to_uppercase()),
                    "it concerns one server, and a shard's database can have another name than the router's",
                ));
            }
        }
        match self.of.named_schema()? {
            Some(place) => Ok(Belongs::to(place)),
            None => Ok(Belongs::EVERYWHERE),
        }
    }

    /// A list of things, and the words that end it.
    fn list(&mut self, kind: Kind, ends: &[&str], what: &str) -> Result<Belongs, Fault> {
        match Members::read(&self.of.scope, self.words, kind, ends)? {
            Some(members) => members.belong(&self.of.scope, what, self.text),
            None => self.unknown(),
        }
    }

    /// The thing whose name stands here.
    fn one(&mut self, kind: Kind, what: &str) -> Result<Belongs, Fault> {
        match self.words.name() {
            Some(name) => self.named(kind, what, &name),
            None => self.unknown(),
        }
    }

    fn named(&self, kind: Kind, _what: &str, name: &Name) -> Result<Belongs, Fault> {
        places::existing(&self.of.scope, kind, name).map(Belongs::To)
    }

    /// `... name ON table`
    fn on_table(&mut self) -> Result<Belongs, Fault> {
        while !self.words.is_done() && !self.words.is(0, "on") && !self.words.is(0, "to") {
            self.words.at += 1;
        }
        self.words.at += 1;
        self.words.take("only");
        let belongs = self.one(Kind::Relation, "the definition")?;
        if let Belongs::To(Where::One(place)) = &belongs {
            self.of.check_alone(place)?;
        }
        Ok(belongs)
    }

    fn comment(&mut self) -> Result<Belongs, Fault> {
        if self.words.take("materialized") || self.words.take("foreign") {
            self.words.at += 1;
            return self.one(Kind::Relation, "COMMENT");
        }
        if self.words.take("table") || self.words.take("view") {
            return self.one(Kind::Relation, "COMMENT");
        }
        if self.words.is(0, "large") {
            return Ok(self.home());
        }
        if self.words.take("statistics") {
            return self.one(Kind::Statistics, "COMMENT");
        }
        if self.words.is(0, "constraint") {
            self.words.skip_to(&["on"]);
            if self.words.is(1, "domain") {
                return Ok(Belongs::EVERYWHERE);
            }
            return self.on_table();
        }
        if self.words.take("column") {
            let start = self.words.at;
            let parts = self.words.parts().unwrap_or_default();
            let name = match &parts[..] {
                [table, _] => (None, table.clone()),
                [.., schema, table, _] => (Some(schema.clone()), table.clone()),
                _ => {
                    self.words.at = start;
                    return self.unknown();
                }
            };
            return self.named(Kind::Relation, "COMMENT", &name);
        }
        for (word, kind) in [("index", Kind::Index), ("sequence", Kind::Sequence), ("schema", Kind::Schema)] {
            if self.words.take(word) {
                return self.one(kind, "COMMENT");
            }
        }
        if ["trigger", "policy", "rule"].iter().any(|kind| self.words.is(0, kind)) {
            return self.on_table();
        }
        if let Some(kind) = self.take_object() {
            return self.one(kind, "COMMENT");
        }
        self.everywhere()
    }

    /// Goes past the word for a kind of thing that every shard has, if one stands here.
    fn take_object(&mut self) -> Option<Kind> {
        const TEXT_SEARCH: [&str; 4] = ["configuration", "dictionary", "parser", "template"];
        if self.words.is(0, "text") && self.words.is(1, "search") {
            let kind = TEXT_SEARCH.iter().any(|kind| self.words.is(2, kind));
            self.words.at += if kind { 3 } else { 0 };
            return kind.then_some(Kind::Object);
        }
        if self.words.take("type") || self.words.take("domain") {
            return Some(Kind::Type);
        }
        const OBJECTS: [&str; 6] = ["function", "procedure", "routine", "aggregate", "collation", "conversion"];
        OBJECTS.iter().any(|object| self.words.take(object)).then_some(Kind::Object)
    }

    fn grant(&mut self) -> Result<Belongs, Fault> {
        const ENDS: [&str; 2] = ["to", "from"];
        while !self.words.is_done() && !self.words.is(0, "on") {
            self.words.at += 1;
        }
        if !self.words.take("on") {
            return Ok(Belongs::EVERYWHERE);
        }
        if self.words.take("all") {
            // TABLES IN SCHEMA and the like.
            while !self.words.is_done() && !self.words.take("schema") {
                self.words.at += 1;
            }
            return self.list(Kind::Schema, &ENDS, "GRANT");
        }
        for (word, kind) in [("schema", Kind::Schema), ("sequence", Kind::Sequence)] {
            if self.words.take(word) {
                return self.list(kind, &ENDS, "GRANT");
            }
        }
        if let Some(kind) = self.take_object() {
            return self.list(kind, &ENDS, "GRANT");
        }
        if self.words.is(0, "large") {
            return Ok(self.home());
        }
        let explicit = self.words.take("table");
        const OTHERS: [&str; 6] = ["database", "language", "foreign", "large", "tablespace", "parameter"];
        if !explicit && OTHERS.iter().any(|other| self.words.is(0, other)) {
            return self.everywhere();
        }
        self.list(Kind::Relation, &ENDS, "GRANT")
    }

    /// `REINDEX [(options)] INDEX | TABLE | SCHEMA | DATABASE | SYSTEM [CONCURRENTLY] name`
    fn reindex(&mut self) -> Result<Belongs, Fault> {
        let mut concurrently = self.words.has("concurrently");
        while self.words.take_punct(b'(') {
            while !self.words.is_done() && !self.words.take_punct(b')') {
                self.words.at += 1;
            }
        }
        let kinds = [("table", Kind::Relation), ("index", Kind::Index), ("schema", Kind::Schema)];
        let belongs = match kinds.into_iter().find(|(word, _)| self.words.take(word)) {
            Some((_, kind)) => {
                self.words.take("concurrently");
                let Some(name) = self.words.name() else { return self.unknown() };
                // Of many tables, or of partitions: each is done in a transaction of its own.
                concurrently |= match kind {
                    Kind::Schema => true,
                    Kind::Relation => self.is_partitioned(&name),
                    Kind::Index => places::table_of_index(&self.of.scope, &name).is_some_and(|table| {
                        self.is_partitioned(&(Some(table.schema.to_string()), table.name.to_string()))
                    }),
                    Kind::Sequence | Kind::Statistics | Kind::Object | Kind::Type => false,
                };
                self.named(kind, "REINDEX", &name)?
            }
            None if self.of.scope.topology.is_all_home() => self.home(),
            None => {
                concurrently = true;
                Belongs::EVERYWHERE
            }
        };
        Ok(match belongs {
            Belongs::To(Where::Everywhere) if concurrently => Belongs::OneByOne(OneByOne::again("REINDEX")),
            belongs => belongs,
        })
    }

    fn is_partitioned(&self, (schema, name): &Name) -> bool {
        match resolve(&self.of.scope, schema.as_deref(), name) {
            Relation::Sharded { table, .. } | Relation::Reference { table, .. } | Relation::Unsharded { table, .. } => {
                table.is_some_and(|table| table.kind == RelationKind::PartitionedTable)
            }
            Relation::View { .. } | Relation::System => false,
        }
    }

    /// A form that is not known here.
    fn unknown(&self) -> Result<Belongs, Fault> {
        match self.of.distributed_name(false) {
            None => self.of.named_place(false).map(Belongs::to),
            Some(name) => Err(unsupported(
                "this form of DDL on distributed tables",
                format!("it names \"{name}\", and the router does not know where the rest of it belongs"),
            )),
        }
    }
}

/// The functions or types that a definition is about, without their schemas: where it names what the home shard alone has, it goes there alone,
/// if no other shard has any of the names. A cast has none.
pub(crate) fn objects(text: &str, standard_strings: bool) -> Option<Vec<String>> {
    const KINDS: [&str; 6] = ["function", "procedure", "routine", "aggregate", "type", "domain"];
    let mut words = Words::new(text, standard_strings)?;
    let creates = words.take("create");
    if creates {
        words.take_all(&["or", "replace"]);
    } else if words.take("grant") || words.take("revoke") {
        words.skip_to(&["on"]);
        words.take("on");
    } else if !(words.take_all(&["comment", "on"]) || words.take("drop") || words.take("alter")) {
        return None;
    }
    if words.is(0, "cast") {
        return Some(Vec::new());
    }
    if !KINDS.iter().any(|kind| words.take(kind)) && !words.take_all(&["event", "trigger"]) {
        return None;
    }
    words.take_all(&["if", "exists"]);
    let mut names = Vec::new();
    loop {
        names.push(words.name()?.1);
        if words.is_punct(b'(') {
            words.take_list()?;
        }
        if !words.take_punct(b',') {
            return Some(names);
        }
    }
}

/// CREATE OR REPLACE
pub(crate) fn replaces(text: &str, standard_strings: bool) -> bool {
    Words::new(text, standard_strings).is_some_and(|mut words| words.take_all(&["create", "or", "replace"]))
}

/// Whether event triggers run with it.
pub(crate) fn fires_event_triggers(text: &str, standard_strings: bool) -> bool {
    Words::new(text, standard_strings).is_none_or(|words| !words.is(0, "truncate"))
}

/// Whether it makes a function or procedure, whose body Postgres looks at.
pub(crate) fn makes_routine(text: &str, standard_strings: bool) -> bool {
    let Some(mut words) = Words::new(text, standard_strings) else { return false };
    let create = words.take("create");
    words.take_all(&["or", "replace"]);
    create && (words.is(0, "function") || words.is(0, "procedure"))
}

/// That the bounds of a partition (`FOR VALUES ...`) are the same on every shard.
pub(super) fn check_bounds(of: &Analyzer<'_>, text: &str) -> Result<(), Fault> {
    let Some(tokens) = tokens(text, of.scope.standard_strings) else { return Ok(()) };
    let is =
        |at: usize, word: &str| tokens.get(at).is_some_and(|token| text_of(text, token).eq_ignore_ascii_case(word));
    let Some(from) = (0..tokens.len()).find(|at| is(*at, "for") && is(at + 1, "values")) else { return Ok(()) };
    let called = |at: usize| tokens.get(at + 1).is_some_and(|next| next.is(b'('));
    let varies = |at: &usize| match tokens.get(*at).map(|token| (token, token.kind)) {
        Some((token, TokenKind::Word | TokenKind::Quoted)) => name_of(text, token).is_some_and(|name| {
            let class = builtin(&name);
            let value =
                token.kind == TokenKind::Word && (name.starts_with("current_") || name.starts_with("localtime"));
            (value || called(*at))
                && matches!(class, FunctionClass::Clock | FunctionClass::Volatile | FunctionClass::Server)
        }),
        Some((_, TokenKind::UnicodeQuoted)) => called(*at),
        Some((token, TokenKind::Literal(_))) => reads_clock(text_of(text, token)),
        Some(_) | None => false,
    };
    let ends = |at: &usize| {
        is(*at, "partition") || is(*at, "with") && called(*at) || is(*at, "tablespace") || is(*at, "using")
    };
    let bounds = (from + 2..tokens.len()).take_while(|at| !ends(at));
    match bounds.into_iter().find(varies).and_then(|at| tokens.get(at)) {
        None => Ok(()),
        Some(token) => Err(unsupported(
            format!("{} in the bounds of a partition of a distributed table", text_of(text, token)),
            "each shard would have bounds of its own",
        )
        .hint("Write the values themselves.")),
    }
}

/// VACUUM, ANALYZE, CLUSTER, CHECKPOINT.
pub(crate) fn maintenance(of: &Analyzer<'_>) -> Verdict {
    let text = of.text.get(of.scan.start..of.scan.end).unwrap_or_default();
    let mut command = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_uppercase();
    if command == "ANALYSE" {
        command = "ANALYZE".into();
    }
    let Some(mut words) = Words::new(text, of.scope.standard_strings) else { return of.not_understood(&command) };
    words.at += 1;
    if words.is_punct(b'(') {
        words.take_list();
    }
    for option in ["full", "freeze", "verbose", "analyze", "analyse"] {
        words.take(option);
    }
    let names_none = words.is_done();
    if of.distributed_name(false).is_some() || names_none && !of.scope.topology.is_all_home() {
        let parts = match Members::read(&of.scope, &mut words, Kind::Relation, &["using"]) {
            Ok(Some(members)) => members.belong(&of.scope, &command, text),
            Ok(None) => Ok(Belongs::EVERYWHERE),
            Err(fault) => Err(fault),
        };
        let parts = match parts {
            Ok(Belongs::Parts(parts) | Belongs::Each(parts)) => {
                Some(parts.into_iter().map(|(shard, text)| (shard, Arc::from(text))).collect())
            }
            Ok(_) => None,
            Err(fault) => return Verdict::refuse(fault),
        };
        // Without a table it locks what databases of one server share: they would wait for each other.
        let topology = &of.scope.topology;
        let apart = !names_none || servers::one_of_each_server(topology).len() == topology.shards.len();
        let in_block = command == "ANALYZE" && apart || command == "CLUSTER" && !names_none;
        // It changes nothing that a statement could see, and read only transactions may have it.
        let access = if command == "ANALYZE" { Access::Lock } else { Access::Write };
        return Verdict { access, ..one_by_one(OneByOne { in_block, parts, ..OneByOne::again(command) }) };
    }
    match of.named_place(false) {
        Ok(place) => Verdict::at(&place, &of.scope),
        Err(fault) => Verdict::refuse(fault),
    }
}

/// LOCK TABLE
pub(crate) fn lock(of: &Analyzer<'_>) -> Verdict {
    let text = of.text.get(of.scan.start..of.scan.end).unwrap_or_default();
    let Some(mut words) = Words::new(text, of.scope.standard_strings) else { return of.not_understood("LOCK") };
    words.take("lock");
    words.take("table");
    match Members::read(&of.scope, &mut words, Kind::Relation, &["in", "nowait"]) {
        // Nothing of it is left when the transaction ends: read only ones may have it.
        Ok(Some(members)) => {
            Verdict { access: Access::Lock, ..verdict(of, members.belong(&of.scope, "LOCK", text), Why::Unsharded) }
        }
        Ok(None) => of.not_understood("LOCK"),
        Err(fault) => Verdict::refuse(fault),
    }
}

fn unsupported(what: impl std::fmt::Display, detail: impl Into<String>) -> Fault {
    Fault::unsupported(
        format!("{what} is not supported"),
        detail.into(),
        "Run the command on each shard directly where it is meant for one.",
    )
}

fn concurrent() -> Fault {
    Fault::unsupported(
        "CONCURRENTLY on distributed tables is not supported",
        "it cannot run in a transaction, so it cannot be atomic over the shards",
        "Run the command on each shard directly, or without CONCURRENTLY.",
    )
}
