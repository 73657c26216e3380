//! DDL and maintenance: which shards a definition belongs on. Told by the leading words, for the parser knows only part of it.

use std::sync::Arc;

use crate::catalog::RelationKind;
use crate::fault::Fault;
use crate::ids::QualifiedName;
use crate::sql::Access;
use crate::sql::analyze::{Analyzer, PinReason, Verdict};
use crate::sql::constraints;
use crate::sql::names::{Relation, creation_schema, distributed_names, resolve};
use crate::sql::outcome::{OneByOne, Outcome, Why};
use crate::sql::utility;
use crate::sql::words::Words;

type Name = (Option<String>, String);

/// CREATE, ALTER, DROP, GRANT, REVOKE, COMMENT, TRUNCATE, REINDEX and their like.
pub(crate) fn ddl(of: &Analyzer<'_>) -> Verdict {
    let Some(text) = of.text.get(of.scan.start..of.scan.end) else { return of.not_understood("the statement") };
    let Some(mut words) = Words::new(text, of.scope.standard_strings) else {
        return of.not_understood("the statement");
    };
    if utility::creates_temporary(of.text) && words.is(0, "create") {
        return temporary(of, &mut words);
    }
    let verb = ["CREATE", "ALTER", "DROP"].into_iter().find(|verb| words.is(0, verb)).unwrap_or("GRANT");
    let place = Definition { verb, of, text, words: &mut words }.place();
    match place {
        Ok(Place::Everywhere) => Verdict::new(Outcome::Broadcast(Why::Ddl), Access::Write),
        Ok(Place::OneByOne(steps)) => one_by_one(steps),
        Ok(Place::Home) => Verdict::new(Outcome::Home(Why::Ddl), Access::Write),
        Err(fault) => Verdict::refuse(fault),
    }
}

enum Place {
    Home,
    Everywhere,
    /// Everywhere, but not in a transaction.
    OneByOne(OneByOne),
}

fn one_by_one(steps: OneByOne) -> Verdict {
    Verdict::new(Outcome::Broadcast(Why::OneByOne(Arc::new(steps))), Access::Write)
}

impl OneByOne {
    const AGAIN: &'static str =
        "Remove the cause and run the command again: what is done already is done once more, or skipped.";

    fn again(command: impl Into<Box<str>>) -> Self {
        Self { command: command.into(), index: None, remedy: Self::AGAIN }
    }
}

/// A temporary relation lives in one session of the home shard.
fn temporary(of: &Analyzer<'_>, words: &mut Words<'_>) -> Verdict {
    // Its name must not hide a distributed table, and what it is made of must be on the home shard.
    let distributed = distributed_names(&of.scope);
    let hides = created_temporary(words).is_none_or(|name| distributed.contains(&*name));
    let named = if hides { of.distributed_name(false) } else { of.elsewhere_name() };
    match named {
        Some(name) => Verdict::refuse(Fault::unsupported(
            "temporary relations over distributed tables are not supported",
            format!(
                "\"{name}\" is sharded or a reference table, and the temporary relation would be on the home shard"
            ),
            "Give the temporary relation a name of its own, and fill it with rows that the client read.",
        )),
        None => Verdict { pin: Some(PinReason::TemporaryTable), ..Verdict::home() },
    }
}

/// The name in `CREATE [OR REPLACE] [LOCAL] TEMP [RECURSIVE] TABLE|VIEW|SEQUENCE [IF NOT EXISTS] name`.
fn created_temporary(words: &mut Words<'_>) -> Option<String> {
    words.take("create");
    words.take_all(&["or", "replace"]);
    let _ = words.take("local") || words.take("global");
    let _ = words.take("temp") || words.take("temporary");
    words.take("recursive");
    if !(words.take("table") || words.take("view") || words.take("sequence")) {
        return None;
    }
    words.take_all(&["if", "not", "exists"]);
    Some(words.name()?.1)
}

struct Definition<'w, 'a> {
    /// The first keyword.
    verb: &'static str,
    of: &'w Analyzer<'a>,
    text: &'w str,
    words: &'w mut Words<'a>,
}

impl Definition<'_, '_> {
    fn place(&mut self) -> Result<Place, Fault> {
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
            return self.of_tables("TRUNCATE");
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
        if self.words.take("refresh") || self.words.take("import") {
            return Ok(Place::Home);
        }
        Ok(Place::Everywhere)
    }

    fn create(&mut self) -> Result<Place, Fault> {
        self.words.take_all(&["or", "replace"]);
        self.words.take("unlogged");
        if self.words.take("table") {
            self.words.take_all(&["if", "not", "exists"]);
            return self.create_table();
        }
        let unique = self.words.take("unique");
        if self.words.take("index") {
            return self.create_index(unique);
        }
        self.words.take("recursive");
        if self.words.take("view") {
            // A view is where the tables are that it reads.
            return Ok(if self.of.distributed_name(false).is_some() { Place::Everywhere } else { Place::Home });
        }
        if self.words.take("materialized") {
            return match self.of.distributed_name(false) {
                Some(name) => Err(unsupported(
                    "a materialized view of distributed tables",
                    format!("\"{name}\" is sharded or a reference table"),
                )),
                None => Ok(Place::Home),
            };
        }
        self.words.take("constraint");
        if self.words.take("trigger") || self.words.take("policy") {
            return self.on_table();
        }
        if self.words.is(0, "rule") {
            return self.unknown();
        }
        if self.words.take("statistics") {
            return Ok(if self.of.distributed_name(false).is_some() { Place::Everywhere } else { Place::Home });
        }
        if self.words.take("foreign") {
            return Ok(if self.words.is(0, "table") { Place::Home } else { Place::Everywhere });
        }
        self.cluster_wide()
    }

    /// Databases and tablespaces belong to servers, not to the one database that the router shows.
    fn cluster_wide(&mut self) -> Result<Place, Fault> {
        for what in ["database", "tablespace", "subscription", "system"] {
            if self.words.is(0, what) {
                return Err(unsupported(
                    format!("{} {} through the router", self.verb, what.to_uppercase()),
                    "it concerns one server, and a shard's database can have another name than the router's",
                ));
            }
        }
        Ok(Place::Everywhere)
    }

    fn create_table(&mut self) -> Result<Place, Fault> {
        let Some(name) = self.words.name() else { return self.unknown() };
        let relation = self.created(&name);
        let after = self.words.at;
        let parent = self.parent();
        self.words.at = after;
        let relation = match parent {
            Some(parent) if !relation.is_distributed() => parent,
            _ => relation,
        };
        if !relation.is_distributed() {
            return self.create_plain();
        }
        if self.words.has("select") || self.words.has("execute") {
            return Err(unsupported(
                format!("CREATE TABLE AS for distributed table \"{}\"", name.1),
                "its rows would have to be spread over the shards",
            ));
        }
        constraints::check_table(&self.of.scope, self.text, &relation)?;
        Ok(Place::Everywhere)
    }

    /// A table that only the home shard will have.
    fn create_plain(&mut self) -> Result<Place, Fault> {
        if (self.words.has("select") || self.words.has("table"))
            && self.words.has("as")
            && let Some(name) = self.of.elsewhere_name()
        {
            return Err(unsupported(
                "CREATE TABLE AS from distributed tables",
                format!("\"{name}\" is sharded or a reference table"),
            ));
        }
        self.check_references()?;
        Ok(Place::Home)
    }

    /// A table of the home shard cannot refer to rows of other shards.
    fn check_references(&mut self) -> Result<(), Fault> {
        while !self.words.is_done() {
            if self.words.take("references") {
                if let Some((schema, name)) = self.words.name()
                    && let Relation::Sharded { name, .. } = resolve(&self.of.scope, schema.as_deref(), &name)
                {
                    return Err(unsupported(
                        format!("a foreign key to sharded table \"{}\"", name.name),
                        "the rows that it refers to are on other shards",
                    ));
                }
            } else {
                self.words.at += 1;
            }
        }
        Ok(())
    }

    /// The distributed table that a new one is a partition or child of.
    fn parent(&mut self) -> Option<Relation> {
        let of = if self.words.take_all(&["partition", "of"]) {
            self.words.name()
        } else {
            while !self.words.is_done() && !self.words.is(0, "inherits") {
                self.words.at += 1;
            }
            self.words.take("inherits");
            self.words.take_punct(b'(');
            self.words.name()
        };
        let (schema, name) = of?;
        Some(resolve(&self.of.scope, schema.as_deref(), &name)).filter(Relation::is_distributed)
    }

    /// What the topology says of a table that is about to be created.
    fn created(&self, (schema, name): &Name) -> Relation {
        let schema = schema.as_deref().or_else(|| creation_schema(&self.of.scope));
        match schema {
            Some(schema) => resolve(&self.of.scope, Some(schema), name),
            None => Relation::Unsharded { table: None },
        }
    }

    fn create_index(&mut self, unique: bool) -> Result<Place, Fault> {
        let concurrently = self.words.take("concurrently");
        let if_not_exists = self.words.take_all(&["if", "not", "exists"]);
        let index = if self.words.is(0, "on") { None } else { self.words.name() };
        if !self.words.take("on") {
            return self.unknown();
        }
        self.words.take("only");
        let Some((schema, name)) = self.words.name() else { return self.unknown() };
        let relation = resolve(&self.of.scope, schema.as_deref(), &name);
        if !relation.is_distributed() {
            return Ok(Place::Home);
        }
        let table_schema = match &relation {
            Relation::Sharded { name, .. } | Relation::Reference { name, .. } => name.schema.clone(),
            Relation::View { .. } | Relation::Unsharded { .. } | Relation::System => Box::default(),
        };
        if let (true, Relation::Sharded { name, key, .. }) = (unique, &relation) {
            if self.words.take("using") {
                self.words.name();
            }
            let columns = self.words.name_list().unwrap_or_default();
            constraints::check_unique(name, key, &columns, "a unique index")?;
        }
        if !concurrently {
            return Ok(Place::Everywhere);
        }
        // An index is in the schema of its table.
        let index = index.filter(|_| if_not_exists).map(|(_, name)| QualifiedName::new(table_schema, name));
        Ok(Place::OneByOne(OneByOne {
            command: "CREATE INDEX CONCURRENTLY".into(),
            index,
            remedy: "DROP INDEX CONCURRENTLY IF EXISTS removes it from every shard, also where it is not valid; then run the command again.",
        }))
    }

    /// `... name ON table`
    fn on_table(&mut self) -> Result<Place, Fault> {
        while !self.words.is_done() && !self.words.is(0, "on") && !self.words.is(0, "to") {
            self.words.at += 1;
        }
        self.words.at += 1;
        self.words.take("only");
        match self.words.name() {
            Some(name) => self.of_names("the definition", &[name]),
            None => self.unknown(),
        }
    }

    fn alter(&mut self) -> Result<Place, Fault> {
        if self.words.take("table") {
            self.words.take_all(&["if", "exists"]);
            if self.words.is(0, "all") {
                return self.unknown();
            }
            self.words.take("only");
            let Some(name) = self.words.name() else { return self.unknown() };
            let relation = resolve(&self.of.scope, name.0.as_deref(), &name.1);
            if relation.is_distributed() {
                if self.words.has("concurrently") {
                    return Err(concurrent());
                }
                constraints::check_alter(&self.of.scope, self.text, self.words, &relation)?;
                return Ok(Place::Everywhere);
            }
            self.check_references()?;
            return self.of_names("ALTER TABLE", &[name]);
        }
        self.words.take("materialized");
        if self.words.take("view") {
            self.words.take_all(&["if", "exists"]);
            return match self.words.name() {
                Some(name) => self.of_names("ALTER VIEW", &[name]),
                None => self.unknown(),
            };
        }
        if self.words.is(0, "trigger") || self.words.is(0, "policy") || self.words.is(0, "rule") {
            return self.on_table();
        }
        if self.words.take("foreign") && self.words.is(0, "table") {
            return Ok(Place::Home);
        }
        if self.words.is(0, "index") {
            return self.of_index();
        }
        if self.words.take("sequence") {
            return self.alter_sequence();
        }
        self.cluster_wide()
    }

    /// CREATE SEQUENCE makes one on every shard, but only the home shard's gives out values.
    fn alter_sequence(&mut self) -> Result<Place, Fault> {
        while !self.words.is_done() {
            if self.words.take_all(&["owned", "by"]) {
                let parts = self.words.parts().unwrap_or_default();
                return match &parts[..] {
                    [table, _] => self.of_names("ALTER SEQUENCE", &[(None, table.clone())]),
                    [.., schema, table, _] => self.of_names("ALTER SEQUENCE", &[(Some(schema.clone()), table.clone())]),
                    _ => Ok(Place::Home),
                };
            }
            if self.words.is(0, "rename") || self.words.is(0, "owner") || self.words.is(0, "schema") {
                return Ok(Place::Everywhere);
            }
            self.words.at += 1;
        }
        Ok(Place::Home)
    }

    fn drop(&mut self) -> Result<Place, Fault> {
        for (kind, what) in [("table", "DROP TABLE"), ("view", "DROP VIEW"), ("materialized", "DROP MATERIALIZED VIEW")]
        {
            if self.words.take(kind) {
                self.words.take("view");
                self.words.take_all(&["if", "exists"]);
                return self.of_tables(what);
            }
        }
        if self.words.is(0, "trigger") || self.words.is(0, "policy") || self.words.is(0, "rule") {
            return self.on_table();
        }
        if self.words.is(0, "index") {
            let concurrently = self.words.is(1, "concurrently");
            let remedy = "Run the command again with IF EXISTS, which skips the shards that have it no more.";
            return Ok(match self.of_index()? {
                Place::Everywhere if concurrently => {
                    Place::OneByOne(OneByOne { remedy, ..OneByOne::again("DROP INDEX CONCURRENTLY") })
                }
                place => place,
            });
        }
        if self.words.take("foreign") && self.words.is(0, "table") {
            return Ok(Place::Home);
        }
        self.cluster_wide()
    }

    /// `INDEX [CONCURRENTLY] [IF EXISTS] name, ...`: where their tables are. Of an index that is not known, everywhere, if any table is.
    fn of_index(&mut self) -> Result<Place, Fault> {
        let start = self.words.at;
        self.words.take("index");
        self.words.take("concurrently");
        self.words.take_all(&["if", "exists"]);
        let names = self.words.names();
        self.words.at = start;
        let tables: Option<Vec<Name>> = names.and_then(|names| names.iter().map(|name| self.table_of(name)).collect());
        match tables {
            Some(tables) => self.of_names("a command on indexes", &tables),
            None if self.of.scope.topology.tables.is_empty() => Ok(Place::Home),
            None => Ok(Place::Everywhere),
        }
    }

    /// The table of an index.
    fn table_of(&self, (schema, name): &Name) -> Option<Name> {
        let known = &self.of.scope.catalog.indexes;
        let table = match schema {
            Some(schema) => known.get(&QualifiedName::new(&**schema, &**name)),
            None => {
                let mut path = self.of.scope.search_path.iter();
                path.find_map(|schema| known.get(&QualifiedName::new(schema.clone(), &**name)))
            }
        }?;
        Some((Some(table.schema.to_string()), table.name.to_string()))
    }

    fn comment(&mut self) -> Result<Place, Fault> {
        if self.words.take("table") || self.words.take("view") {
            return match self.words.name() {
                Some(name) => self.of_names("COMMENT", &[name]),
                None => self.unknown(),
            };
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
            return self.of_names("COMMENT", &[name]);
        }
        if self.words.is(0, "index") {
            return self.of_index();
        }
        if self.words.is(0, "trigger") || self.words.is(0, "policy") || self.words.is(0, "constraint") {
            return self.on_table();
        }
        self.cluster_wide()
    }

    fn grant(&mut self) -> Result<Place, Fault> {
        while !self.words.is_done() && !self.words.is(0, "on") {
            self.words.at += 1;
        }
        if !self.words.take("on") {
            return Ok(Place::Everywhere);
        }
        let explicit = self.words.take("table");
        const OTHERS: [&str; 14] = [
            "all",
            "schema",
            "database",
            "function",
            "procedure",
            "routine",
            "sequence",
            "language",
            "type",
            "domain",
            "foreign",
            "large",
            "tablespace",
            "parameter",
        ];
        if !explicit && OTHERS.iter().any(|other| self.words.is(0, other)) {
            return self.cluster_wide();
        }
        self.of_tables("GRANT")
    }

    /// `REINDEX [(options)] INDEX | TABLE | SCHEMA | DATABASE | SYSTEM [CONCURRENTLY] name`
    fn reindex(&mut self) -> Result<Place, Fault> {
        let mut concurrently = self.words.has("concurrently");
        while self.words.take_punct(b'(') {
            while !self.words.is_done() && !self.words.take_punct(b')') {
                self.words.at += 1;
            }
        }
        let place = if self.words.take("table") {
            self.words.take("concurrently");
            let names = self.words.names();
            // Its partitions are done one by one.
            concurrently |= names.iter().flatten().any(|name| self.is_partitioned(name));
            match names {
                Some(names) => self.of_names("REINDEX", &names)?,
                None => self.unknown()?,
            }
        } else if self.words.is(0, "index") {
            self.of_index()?
        } else {
            // Of many tables: each in a transaction of its own.
            concurrently = true;
            if self.of.scope.topology.tables.is_empty() { Place::Home } else { Place::Everywhere }
        };
        Ok(match place {
            Place::Everywhere if concurrently => Place::OneByOne(OneByOne::again("REINDEX")),
            place => place,
        })
    }

    fn is_partitioned(&self, (schema, name): &Name) -> bool {
        match resolve(&self.of.scope, schema.as_deref(), name) {
            Relation::Sharded { table, .. } | Relation::Reference { table, .. } | Relation::Unsharded { table } => {
                table.is_some_and(|table| table.kind == RelationKind::PartitionedTable)
            }
            Relation::View { .. } | Relation::System => false,
        }
    }

    fn of_tables(&mut self, what: &str) -> Result<Place, Fault> {
        match self.words.names() {
            Some(names) => self.of_names(what, &names),
            None => self.unknown(),
        }
    }

    /// All of the tables everywhere, or all at home.
    fn of_names(&self, what: &str, names: &[Name]) -> Result<Place, Fault> {
        place_of(self.of, what, names)
    }

    /// A form that is not known here.
    fn unknown(&self) -> Result<Place, Fault> {
        match self.of.distributed_name(false) {
            None => Ok(Place::Home),
            Some(name) => Err(unsupported(
                "this form of DDL on distributed tables",
                format!("it names \"{name}\", and the router does not know where the rest of it belongs"),
            )),
        }
    }
}

/// Where tables are: everywhere or at home; some of each in one statement is refused.
fn place_of(of: &Analyzer<'_>, what: &str, names: &[Name]) -> Result<Place, Fault> {
    let views = distributed_names(&of.scope);
    let is_everywhere = |(schema, name): &Name| match resolve(&of.scope, schema.as_deref(), name) {
        Relation::Sharded { .. } | Relation::Reference { .. } => true,
        Relation::View { name, .. } => views.contains(&name.name),
        Relation::Unsharded { .. } | Relation::System => false,
    };
    let everywhere = names.iter().filter(|name| is_everywhere(name)).count();
    match everywhere {
        0 => Ok(Place::Home),
        n if n == names.len() => Ok(Place::Everywhere),
        _ => Err(unsupported(
            format!("{what} of distributed and other tables together"),
            "the others are on the home shard alone",
        )),
    }
}

/// VACUUM, ANALYZE, CLUSTER, CHECKPOINT.
pub(crate) fn maintenance(of: &Analyzer<'_>) -> Verdict {
    let text = of.text.get(of.scan.start..of.scan.end).unwrap_or_default();
    let command = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_uppercase();
    let everywhere = || one_by_one(OneByOne::again(command.clone()));
    match of.distributed_name(false) {
        Some(_) => everywhere(),
        None => {
            let words = of.text.get(of.scan.start..of.scan.end).and_then(|text| Words::new(text, true));
            let names_none = words.is_some_and(|words| words.len() == 1 || words.len() == 2 && words.is(1, "verbose"));
            let whole = names_none && !of.scope.topology.tables.is_empty();
            if whole { everywhere() } else { Verdict::new(Outcome::Home(Why::Unsharded), Access::Write) }
        }
    }
}

/// LOCK TABLE
pub(crate) fn lock(of: &Analyzer<'_>) -> Verdict {
    let text = of.text.get(of.scan.start..of.scan.end).unwrap_or_default();
    let Some(mut words) = Words::new(text, of.scope.standard_strings) else { return of.not_understood("LOCK") };
    words.take("lock");
    words.take("table");
    let Some(names) = words.names() else { return of.not_understood("LOCK") };
    match place_of(of, "LOCK", &names) {
        Ok(Place::Everywhere | Place::OneByOne(_)) => Verdict::new(Outcome::Broadcast(Why::Ddl), Access::Write),
        Ok(Place::Home) => Verdict::home(),
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
