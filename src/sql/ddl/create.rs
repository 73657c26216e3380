//! CREATE: where what is made belongs, and whether all that it is made of is there.

use crate::fault::Fault;
use crate::ids::QualifiedName;
use crate::sql::Change;
use crate::sql::constraints;
use crate::sql::create_as::CreateAs;
use crate::sql::ddl::elements::{elements, index_column};
use crate::sql::ddl::places::{Belongs, Kind, Name, Where, new_object, relation};
use crate::sql::ddl::{Definition, check_bounds, unsupported};
use crate::sql::families::lie_alike;
use crate::sql::homeward::names_home;
use crate::sql::names::{Place, Relation, creation_schema, resolve};
use crate::sql::outcome::{OneByOne, Outcome};
use crate::sql::parse;

impl Definition<'_, '_> {
    pub(super) fn create(&mut self) -> Result<Belongs, Fault> {
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
            self.check_unruled()?;
            return self.create_view();
        }
        if self.words.take_all(&["materialized", "view"]) {
            self.check_unruled()?;
            return self.create_materialized();
        }
        self.words.take("constraint");
        if self.words.take("trigger") {
            return self.create_trigger();
        }
        if self.words.take("policy") {
            return self.on_table();
        }
        if self.words.is(0, "rule") {
            return self.create_rule();
        }
        if self.words.take("statistics") {
            return match self.of.distributed_name(false).is_some() {
                true => Ok(Belongs::EVERYWHERE),
                false => self.of.named_place(false).map(Belongs::to),
            };
        }
        if self.words.take("foreign") {
            if !self.words.take("table") {
                return Ok(Belongs::EVERYWHERE);
            }
            self.check_unruled()?;
            self.words.take_all(&["if", "not", "exists"]);
            let after = self.words.at;
            self.words.name();
            if let Some((_, parent)) = self.parents().into_iter().find(|(parent, _)| parent.is_distributed()) {
                return Err(unsupported(
                    format!("a foreign table as a partition or child of distributed table \"{parent}\""),
                    "every shard would read the same rows of another server",
                ));
            }
            self.words.at = after;
            return match self.words.name() {
                Some(name) => self.made(&name).map(Belongs::to),
                None => self.unknown(),
            };
        }
        if self.words.take("schema") {
            return self.create_schema();
        }
        if self.words.take("sequence") {
            self.check_unruled()?;
            let may_exist = self.words.take_all(&["if", "not", "exists"]);
            let named_at = self.words.position();
            let Some(name) = self.words.name() else { return self.unknown() };
            let place = self.made(&name)?;
            self.words.skip_to(&["owned"]);
            // One that belongs to a column goes with its table.
            if self.words.take_all(&["owned", "by"])
                && let Some(parts) = self.words.parts()
                && let [.., table, _] = &parts[..]
            {
                let schema = parts.len().checked_sub(3).and_then(|at| parts.get(at)).cloned();
                return self.named(Kind::Relation, "CREATE SEQUENCE", &(schema, table.clone()));
            }
            return Ok(match place.schema.is_some() {
                true => Belongs::to(place),
                false if may_exist || self.of.scope.topology.is_all_home() => Belongs::EVERYWHERE,
                // One that came to belong to a plain table has gone with it, on the home shard alone.
                false => self.elsewhere_with("IF NOT EXISTS", named_at),
            });
        }
        if self.words.take("extension") {
            return self.create_extension();
        }
        // Once for each definition, which the home shard has whatever it is of.
        if self.words.is(0, "event") && self.words.is(1, "trigger") && !self.of.scope.topology.places_schemas() {
            return Ok(self.home());
        }
        if self.take_object().is_some() || self.words.take("operator") {
            let _ = self.words.take("class") || self.words.take("family");
            self.words.take_all(&["if", "not", "exists"]);
            // An operator's name is none, but the schema before it is.
            let schema = match self.words.parts() {
                Some(mut parts) if parts.len() > 1 => parts.drain(..parts.len() - 1).next_back(),
                _ => None,
            };
            return Ok(Belongs::To(new_object(&self.of.scope, schema.as_deref())));
        }
        self.everywhere()
    }

    /// Where a relation of this name is made, if it is not distributed.
    fn made(&mut self, (schema, name): &Name) -> Result<Place, Fault> {
        let schema = match schema.as_deref().or_else(|| creation_schema(&self.of.scope)) {
            Some(schema) => schema.to_owned(),
            None => return Ok(Place::home(&self.of.scope)),
        };
        self.change(Change::Made(QualifiedName::new(schema.as_str(), name.as_str())));
        Ok(self.of.scope.place_of(&schema))
    }

    /// What the topology says of a table that is about to be created.
    fn created(&self, (schema, name): &Name) -> Relation {
        let schema = schema.as_deref().or_else(|| creation_schema(&self.of.scope));
        match schema {
            Some(schema) => resolve(&self.of.scope, Some(schema), name),
            None => Relation::Unsharded { table: None, place: Place::home(&self.of.scope) },
        }
    }

    fn create_table(&mut self) -> Result<Belongs, Fault> {
        let Some(name) = self.words.name() else { return self.unknown() };
        let created = self.created(&name);
        let after = self.words.at;
        let parents = self.parents();
        self.words.at = after;
        let place = self.made(&name)?;
        let relation = match parents.iter().find(|(parent, _)| parent.is_distributed()) {
            Some((parent, _)) if !created.is_distributed() => self.like(parent, &name),
            _ => created,
        };
        if relation.is_distributed() && place.schema.is_some() {
            return Err(unsupported(
                format!("a distributed table in schema \"{}\"", place.schema.unwrap_or_default()),
                "the schema lies whole on one shard, and the distributed table does not",
            ));
        }
        self.check_parents(&relation, &name.1, &parents)?;
        if !relation.is_distributed() {
            if let Err(fault) = self.check_source(&place, &name.1) {
                return match place.is_home(&self.of.scope) && self.is_query() && self.of.is_known_at_home() {
                    true => self.create_as(&name, false),
                    false => Err(fault),
                };
            }
            self.of.check_alone(&place)?;
            self.check_references()?;
            return Ok(Belongs::to(place));
        }
        if self.is_query() {
            if !self.of.is_known_at_home() {
                return Err(unknown_at_home(&name.1));
            }
            return self.create_as(&name, true);
        }
        check_bounds(self.of, self.text)?;
        if self.words.is(0, "of") && matches!(relation, Relation::Sharded { .. }) {
            return Err(unsupported(
                format!("sharded table \"{}\" OF a type", name.1),
                "which type its sharding key would have is not known here",
            )
            .hint("Write the columns out."));
        }
        self.check_elements(&relation, &name.1)?;
        Ok(Belongs::EVERYWHERE)
    }

    /// CREATE TABLE AS: outside of parentheses the word stands in no other form.
    fn is_query(&self) -> bool {
        let mut words = self.words.part(self.words.at..self.words.at + self.words.len());
        words.skip_to(&["as"]);
        !words.is_done()
    }

    /// The words stand behind the name.
    fn create_as(&mut self, (schema, name): &Name, distributed: bool) -> Result<Belongs, Fault> {
        let schema = schema.as_deref().or_else(|| creation_schema(&self.of.scope)).unwrap_or("public");
        let table = QualifiedName::new(schema, name.as_str());
        match CreateAs::read(self.text, self.words, table, distributed) {
            Some(create) => Ok(Belongs::CreateAs(create)),
            None => self.unknown(),
        }
    }

    /// A table of this name that lies as its parent does.
    fn like(&self, parent: &Relation, (schema, name): &Name) -> Relation {
        let schema = schema.as_deref().or_else(|| creation_schema(&self.of.scope)).unwrap_or("public");
        let name = QualifiedName::new(schema, name.as_str());
        match parent {
            Relation::Sharded { distribution, key, .. } => {
                Relation::Sharded { name, table: None, distribution: *distribution, key: key.clone() }
            }
            Relation::Reference { .. } => Relation::Reference { name, table: None },
            Relation::View { .. } | Relation::Unsharded { .. } | Relation::System => parent.clone(),
        }
    }

    /// The tables that a new one is a partition or child of. The words stand behind its name.
    fn parents(&mut self) -> Vec<(Relation, String)> {
        let mut names = Vec::new();
        if self.words.take_all(&["partition", "of"]) {
            names.extend(self.words.name());
        } else {
            self.words.skip_to(&["inherits"]);
            self.words.take("inherits");
            names.extend(self.words.take_list().into_iter().flatten().filter_map(|mut words| words.name()));
        }
        let scope = &self.of.scope;
        names.into_iter().map(|(schema, name)| (resolve(scope, schema.as_deref(), &name), name)).collect()
    }

    /// What holds rows of another table lies as that one does.
    fn check_parents(&self, relation: &Relation, name: &str, parents: &[(Relation, String)]) -> Result<(), Fault> {
        let known = |parent: &Relation| !matches!(parent, Relation::Unsharded { table: None, .. });
        let other = parents.iter().find(|(parent, _)| known(parent) && !lie_alike(relation, parent));
        let Some((_, parent)) = other else { return Ok(()) };
        let kind = if self.words.is(0, "partition") { "partition" } else { "child" };
        Err(unsupported(
            format!("table \"{name}\" as a {kind} of table \"{parent}\""),
            "its rows would lie otherwise than those of the other table",
        )
        .hint("Let the configuration say the same of both."))
    }

    /// The columns and constraints of a distributed table; the words stand behind its name.
    fn check_elements(&mut self, relation: &Relation, name: &str) -> Result<(), Fault> {
        let partition = self.words.take_all(&["partition", "of"]);
        // A reference table's: it has no key.
        let typed = !partition && self.words.take("of");
        if partition || typed {
            self.words.name();
        }
        let list = self.words.take_list().unwrap_or_default();
        let list: Vec<_> = list.into_iter().filter(|words| !words.is_done()).collect();
        let mut elements = elements(list).ok_or_else(|| constraints::unreadable(name))?;
        constraints::name_own_key(relation, &mut elements);
        let whole = !partition && !typed && !self.words.has("inherits");
        constraints::check_elements(&self.of.scope, relation, &elements, whole)
    }

    /// CREATE TABLE AS: the rows must be where the table will be.
    fn check_source(&mut self, place: &Place, table: &str) -> Result<(), Fault> {
        let query =
            (self.words.has("select") || self.words.has("table") || self.words.has("values")) && self.words.has("as");
        if !query {
            return Ok(());
        }
        if !self.of.scope.topology.places_schemas() {
            return match self.of.elsewhere_name() {
                Some(name) => Err(unsupported(
                    "CREATE TABLE AS from distributed tables",
                    format!("\"{name}\" is sharded or a reference table"),
                )),
                None => Ok(()),
            };
        }
        let start = self.words.at;
        while !self.words.is_done() && !self.words.is(0, "as") {
            self.words.at += 1;
        }
        self.words.take("as");
        let query = self.of.scan.start + self.words.position();
        self.words.at = start;
        // `WITH [NO] DATA` is not the query's.
        let end = self.of.scan.start + self.words.before_with_data();
        self.check_rows(query..end, place, table)
    }

    /// That a query's rows are all on one shard.
    fn check_rows(&self, query: std::ops::Range<usize>, place: &Place, table: &str) -> Result<(), Fault> {
        let shard = match self.of.statement(query).outcome {
            Outcome::Shard(shard, _) => Some(shard),
            Outcome::Home(_) => Some(self.of.scope.topology.home),
            // Every shard has them.
            Outcome::Any(_) => None,
            Outcome::Refuse(fault) => return Err(fault),
            Outcome::Broadcast(_)
            | Outcome::Parts(..)
            | Outcome::Each(..)
            | Outcome::CreateAs(_)
            | Outcome::Stamp(_)
            | Outcome::CopyIn(_)
            | Outcome::Routed(_)
            | Outcome::Draw(_)
            | Outcome::Deliver(_)
            | Outcome::Supply(_)
            | Outcome::Insert(_) => {
                return Err(unsupported(
                    format!("CREATE TABLE AS for table \"{table}\" from these rows"),
                    "they are not all on the one shard on which the table will be",
                ));
            }
        };
        match shard.is_none_or(|shard| shard == place.shard) {
            true => Ok(()),
            false => Err(unsupported(
                format!("CREATE TABLE AS for table \"{table}\" from rows of another shard"),
                "the rows would have to move to the shard of the new table",
            )),
        }
    }

    /// A table of the home shard cannot refer to rows of other shards.
    pub(super) fn check_references(&mut self) -> Result<(), Fault> {
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

    /// What the configuration says is a distributed table must be one.
    fn check_unruled(&self) -> Result<(), Fault> {
        let mut words = self.words.part(self.words.at..self.words.at + self.words.len());
        words.take_all(&["if", "not", "exists"]);
        let Some(name) = words.name() else { return Ok(()) };
        match self.created(&name) {
            Relation::Sharded { name, .. } | Relation::Reference { name, .. }
                if self.of.scope.topology.rule(&name).is_some() =>
            {
                Err(unsupported(
                    format!("something of the name {name} that is no table"),
                    "the configuration places a table of this name",
                ))
            }
            Relation::Sharded { .. }
            | Relation::Reference { .. }
            | Relation::View { .. }
            | Relation::Unsharded { .. }
            | Relation::System => Ok(()),
        }
    }

    /// A trigger for each statement would fire on each shard that the statement reaches.
    fn create_trigger(&mut self) -> Result<Belongs, Fault> {
        let each_row = (0..self.words.len()).any(|at| {
            self.words.is(at, "for")
                && (self.words.is(at + 1, "row") || self.words.is(at + 1, "each") && self.words.is(at + 2, "row"))
        });
        let belongs = self.on_table()?;
        if each_row || belongs != Belongs::EVERYWHERE || self.of.scope.topology.shards.len() < 2 {
            return Ok(belongs);
        }
        Err(unsupported(
            "a trigger FOR EACH STATEMENT on a distributed table",
            "it would fire once on each shard that the statement reaches",
        )
        .hint("Write FOR EACH ROW."))
    }

    /// The commands of a rule would run on each shard, beside its part of the rows.
    fn create_rule(&mut self) -> Result<Belongs, Fault> {
        let start = self.words.at;
        self.words.skip_to(&["to"]);
        let belongs = self.on_table()?;
        self.words.at = start;
        if belongs != Belongs::EVERYWHERE {
            return self.unknown();
        }
        Err(unsupported(
            "a rule on a distributed table",
            "each shard would rewrite its part of a statement for itself, and the router would not know what it writes then",
        )
        .hint("Use a trigger FOR EACH ROW."))
    }

    /// A view is where the tables are that it reads.
    fn create_view(&mut self) -> Result<Belongs, Fault> {
        let Some(name) = self.words.name() else { return self.unknown() };
        let place = self.made(&name)?;
        if place.schema.is_some() {
            self.check_unsharded("a view")?;
            self.of.check_alone(&place)?;
            return Ok(Belongs::to(place));
        }
        self.of.check_alone(&place)?;
        // What reads a table of the home shard can be there alone; the router puts its definition in its place.
        self.words.skip_to(&["as"]);
        self.words.take("as");
        let rest = self.words.rest();
        let query = parse(self.words.before_check_option()).or_else(|| parse(rest)).or_else(|| parse(self.text));
        let at_home = query.is_some_and(|query| names_home(&self.of.scope, &query));
        Ok(if self.of.distributed_name(false).is_some() && !at_home { Belongs::EVERYWHERE } else { Belongs::to(place) })
    }

    fn create_materialized(&mut self) -> Result<Belongs, Fault> {
        self.words.take_all(&["if", "not", "exists"]);
        let Some(name) = self.words.name() else { return self.unknown() };
        let place = self.made(&name)?;
        if let Some(name) = self.of.sharded_name() {
            return Err(unsupported(
                "a materialized view of sharded tables",
                format!("\"{name}\" is sharded, and REFRESH would have to run the query over all shards"),
            )
            .hint(
                "CREATE TABLE ... AS puts such rows together once; fill it anew by TRUNCATE and INSERT ... SELECT.",
            ));
        }
        self.of.check_alone(&place)?;
        Ok(Belongs::to(place))
    }

    /// What lies on one shard must not be made of a table whose rows lie on several.
    fn check_unsharded(&self, what: &str) -> Result<(), Fault> {
        match self.of.sharded_name() {
            Some(name) => Err(unsupported(
                format!("{what} of sharded table \"{name}\" in a schema that is placed whole"),
                "its shard has only some of the rows",
            )),
            None => Ok(()),
        }
    }

    fn create_index(&mut self, unique: bool) -> Result<Belongs, Fault> {
        let concurrently = self.words.take("concurrently");
        let if_not_exists = self.words.take_all(&["if", "not", "exists"]);
        let index = if self.words.is(0, "on") { None } else { self.words.name() };
        if !self.words.take("on") {
            return self.unknown();
        }
        self.words.take("only");
        let Some((schema, name)) = self.words.name() else { return self.unknown() };
        let of = resolve(&self.of.scope, schema.as_deref(), &name);
        if !of.is_distributed() {
            return Ok(Belongs::To(relation(&self.of.scope, of)));
        }
        let table_schema = match &of {
            Relation::Sharded { name, .. } | Relation::Reference { name, .. } => name.schema.clone(),
            Relation::View { .. } | Relation::Unsharded { .. } | Relation::System => Box::default(),
        };
        if let (true, Relation::Sharded { name, key, .. }) = (unique, &of) {
            if self.words.take("using") {
                self.words.name();
            }
            let columns = self.words.take_list().unwrap_or_default();
            let columns: Vec<String> = columns.iter().filter_map(index_column).collect();
            constraints::check_unique(name, key, &columns, "a unique index")?;
        }
        if !concurrently {
            return Ok(Belongs::EVERYWHERE);
        }
        // An index is in the schema of its table.
        let index = index.filter(|_| if_not_exists).map(|(_, name)| QualifiedName::new(table_schema, name));
        Ok(Belongs::OneByOne(OneByOne {
            command: "CREATE INDEX CONCURRENTLY".into(),
            index,
            detached: None,
            in_block: false,
            parts: None,
            remedy: "DROP INDEX CONCURRENTLY IF EXISTS removes it from every shard, also where it is not valid; then run the command again.",
        }))
    }

    /// `[IF NOT EXISTS] [name] [AUTHORIZATION role] [definitions]`
    fn create_schema(&mut self) -> Result<Belongs, Fault> {
        self.words.take_all(&["if", "not", "exists"]);
        let mut name = None;
        if !self.words.is(0, "authorization") {
            name = self.words.name();
        }
        if self.words.take("authorization") {
            let current = ["current_user", "session_user", "current_role"].iter().any(|word| self.words.is(0, word));
            let role = self.words.name();
            if name.is_none() && current && self.of.scope.topology.places_schemas() {
                return Err(unsupported(
                    "CREATE SCHEMA without a name",
                    "the schema's name says on which shard it lies",
                ));
            }
            name = name.or(role);
        }
        let Some((_, schema)) = name else { return self.unknown() };
        let contents = self.words.has("create") && self.of.scope.place_of_schema(&schema).is_none();
        let head = self.text.get(..self.words.end_before()).unwrap_or_default();
        // A sequence of its own is made on every shard.
        let own_sequence =
            (0..self.words.len()).any(|at| self.words.is(at, "create") && self.words.is(at + 1, "sequence"));
        if contents && (!self.of.scope.topology.is_all_home() || own_sequence) {
            return Err(unsupported(
                "CREATE SCHEMA with the definitions of what is in it",
                "the schema is made on every shard, but not everything in it belongs on every shard",
            )
            .hint("Create the schema, and then what is in it one by one."));
        }
        self.change(Change::SchemaMade(schema.as_str().into()));
        let place = self.of.scope.place_of(&schema);
        while !self.words.is_done() {
            let made = ["table", "view", "sequence"].iter().any(|kind| self.words.is(1, kind));
            if self.words.take("create") && made {
                self.words.at += 1;
                if let Some((_, name)) = self.words.name() {
                    self.change(Change::Made(QualifiedName::new(schema.as_str(), name)));
                }
            } else {
                self.words.at += 1;
            }
        }
        if contents {
            // What is in it is not distributed.
            let home = self.of.scope.topology.home;
            let text = |shard| if shard == home { self.text } else { head };
            let shards = self.of.scope.topology.all_shards();
            return Ok(Belongs::Each(shards.iter().map(|shard| (shard, text(shard).to_owned())).collect()));
        }
        if place.schema.is_none() {
            return Ok(Belongs::EVERYWHERE);
        }
        self.of.check_alone(&place)?;
        Ok(Belongs::to(place))
    }

    /// An extension is one for the whole database.
    fn create_extension(&mut self) -> Result<Belongs, Fault> {
        let mut target = None;
        while !self.words.is_done() {
            if self.words.take("schema") {
                target = self.words.name();
            } else {
                self.words.at += 1;
            }
        }
        let schema = target.map(|(_, schema)| schema);
        match new_object(&self.of.scope, schema.as_deref()) {
            Where::Everywhere => Ok(Belongs::EVERYWHERE),
            Where::One(place) => Err(unsupported(
                format!("an extension in schema \"{}\"", place.schema.unwrap_or_default()),
                "the schema lies whole on one shard, and an extension is one for all schemas of a database",
            )
            .hint("Write CREATE EXTENSION ... SCHEMA public.")),
        }
    }

    /// ALTER ... of what is told by a list of one.
    pub(super) fn of_kind(&mut self, kind: Kind) -> Result<Belongs, Fault> {
        self.words.take_all(&["if", "exists"]);
        self.one(kind, "ALTER")
    }
}

/// A distributed table is made where everything can be read.
pub(crate) fn unknown_at_home(table: &str) -> Fault {
    unsupported(
        format!("making distributed table \"{table}\" of what lies in a placed schema"),
        "the home shard, which makes the table by the query, does not have it",
    )
    .hint("Create the table with its columns, and fill it by INSERT ... SELECT.")
}
