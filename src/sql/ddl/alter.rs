//! ALTER and DROP: where what is named lies, and that it stays there.

use crate::fault::Fault;
use crate::ids::QualifiedName;
use crate::sql::Change;
use crate::sql::ddl::places::{Belongs, Kind, Members, Name, Where, existing};
use crate::sql::ddl::{Definition, concurrent, unsupported};
use crate::sql::names::{Place, Relation, resolve};
use crate::sql::outcome::OneByOne;
use crate::sql::words::Words;
use crate::topology::TableRule;

/// `FirstNormalObjectId` (access/transam.h): types from here on are of users.
const FIRST_USER_TYPE: u32 = 16384;

impl Definition<'_, '_> {
    pub(super) fn alter(&mut self) -> Result<Belongs, Fault> {
        if self.words.take("table") {
            return self.alter_table();
        }
        self.words.take("materialized");
        if self.words.take("view") {
            return self.alter_relation(Kind::Relation);
        }
        if self.words.is(0, "trigger") || self.words.is(0, "policy") || self.words.is(0, "rule") {
            return self.on_table();
        }
        if self.words.take_all(&["foreign", "table"]) {
            return self.alter_relation(Kind::Relation);
        }
        if self.words.take("index") {
            return self.of_kind(Kind::Index);
        }
        if self.words.take("sequence") {
            return self.alter_sequence();
        }
        if self.words.take("schema") {
            return self.alter_schema();
        }
        if self.words.take_all(&["default", "privileges"]) {
            while !self.words.is_done() && !self.words.take_all(&["in", "schema"]) {
                self.words.at += 1;
            }
            return match self.words.is_done() {
                true => Ok(Belongs::EVERYWHERE),
                false => self.list(Kind::Schema, &["grant", "revoke", "for"], "ALTER DEFAULT PRIVILEGES"),
            };
        }
        if self.words.is(0, "large") {
            return Ok(self.home());
        }
        if self.words.take("statistics") {
            return self.of_kind(Kind::Statistics);
        }
        self.check_attributes()?;
        if let Some(kind) = self.take_object() {
            self.words.take_all(&["if", "exists"]);
            let Some(name) = self.words.name() else { return self.unknown() };
            let lies = existing(&self.of.scope, kind, &name)?;
            self.check_stays(&lies)?;
            return Ok(Belongs::To(lies));
        }
        self.everywhere()
    }

    /// What can be renamed, and put into another schema.
    pub(super) fn alter_relation(&mut self, kind: Kind) -> Result<Belongs, Fault> {
        self.words.take_all(&["if", "exists"]);
        let Some(name) = self.words.name() else { return self.unknown() };
        let lies = existing(&self.of.scope, kind, &name)?;
        self.check_new_name(&name)?;
        self.renamed(&name);
        self.check_stays(&lies)?;
        Ok(Belongs::To(lies))
    }

    /// Notes RENAME TO and SET SCHEMA, which stand here.
    fn renamed(&mut self, name: &Name) {
        let Some(old) = self.full_name(name) else { return };
        let new = match (self.words.is(0, "rename") && self.words.is(1, "to"), self.words.is(1, "schema")) {
            (true, _) => self.words.name_at(2).map(|new| QualifiedName::new(old.schema.clone(), new)),
            (false, true) => self.words.name_at(2).map(|new| QualifiedName::new(new, old.name.clone())),
            (false, false) => None,
        };
        if let Some(new) = new {
            self.change(Change::Dropped(old));
            self.change(Change::Made(new));
        }
    }

    /// A relation's own schema and name.
    pub(super) fn full_name(&self, (schema, name): &Name) -> Option<QualifiedName> {
        if let Some(schema) = schema {
            return Some(QualifiedName::new(schema.as_str(), name.as_str()));
        }
        match resolve(&self.of.scope, None, name) {
            Relation::Sharded { name, .. } | Relation::Reference { name, .. } | Relation::View { name, .. } => {
                Some(name)
            }
            Relation::Unsharded { table: Some(table), .. } => Some(table.name.clone()),
            Relation::Unsharded { place, .. } => Some(QualifiedName::new(place.schema?, name.as_str())),
            Relation::System => None,
        }
    }

    /// SET SCHEMA must not take a thing to another shard.
    pub(super) fn check_stays(&self, lies: &Where) -> Result<(), Fault> {
        let words = &self.words;
        let Some(at) = (0..words.len()).find(|at| words.is(*at, "set") && words.is(at + 1, "schema")) else {
            return Ok(());
        };
        let Some(schema) = words.name_at(at + 2) else { return Ok(()) };
        let target = self.of.scope.place_of_schema(&schema);
        let stays = match (lies, &target) {
            (Where::One(place), target) => {
                target.as_ref().map_or(place.schema.is_none(), |target| target.shard == place.shard)
            }
            (Where::Everywhere, target) => target.is_none(),
        };
        match stays {
            true => Ok(()),
            false => Err(unsupported(
                format!("moving something to schema \"{schema}\""),
                "the schema does not lie where it lies now, and it would have to move to other shards",
            )),
        }
    }

    /// CREATE SEQUENCE makes one on every shard, but only the home shard's gives out values; one of a placed schema is alone.
    pub(super) fn alter_sequence(&mut self) -> Result<Belongs, Fault> {
        self.words.take_all(&["if", "exists"]);
        let Some(name) = self.words.name() else { return self.unknown() };
        if let Where::One(place) = existing(&self.of.scope, Kind::Sequence, &name)? {
            self.renamed(&name);
            self.check_stays(&Where::One(place.clone()))?;
            return Ok(Belongs::to(place));
        }
        while !self.words.is_done() {
            if self.words.take_all(&["owned", "by"]) {
                let parts = self.words.parts().unwrap_or_default();
                return match &parts[..] {
                    [table, _] => self.named(Kind::Relation, "ALTER SEQUENCE", &(None, table.clone())),
                    [.., schema, table, _] => {
                        self.named(Kind::Relation, "ALTER SEQUENCE", &(Some(schema.clone()), table.clone()))
                    }
                    _ => Ok(self.home()),
                };
            }
            if self.words.is(0, "rename") || self.words.is(0, "owner") || self.words.is(0, "schema") {
                self.check_stays(&Where::Everywhere)?;
                return Ok(Belongs::EVERYWHERE);
            }
            self.words.at += 1;
        }
        Ok(self.home())
    }

    /// A schema that gets another name must stay on its shard.
    fn alter_schema(&mut self) -> Result<Belongs, Fault> {
        let Some((_, old)) = self.words.name() else { return self.unknown() };
        let place = self.of.scope.place_of_schema(&old);
        if !self.words.take_all(&["rename", "to"]) {
            return Ok(Belongs::To(place.map_or(Where::Everywhere, Where::One)));
        }
        let Some((_, new)) = self.words.name() else { return self.unknown() };
        let ruled = |schema: &str| self.of.scope.topology.tables.keys().find(|table| *table.schema == *schema);
        if let Some(table) = ruled(&old).or_else(|| ruled(&new)) {
            return Err(unsupported(
                format!("renaming schema \"{old}\" to \"{new}\""),
                format!("the configuration knows table {table} by the schema's name"),
            ));
        }
        let target = self.of.scope.place_of_schema(&new);
        let shard = |place: &Option<Place>| place.as_ref().map(|place| place.shard);
        if shard(&place) != shard(&target) {
            return Err(unsupported(
                format!("renaming schema \"{old}\" to \"{new}\""),
                "a schema's name says on which shard it lies, and that of the new name is another one",
            )
            .hint("Pin the new name to the shard of the old one in the configuration."));
        }
        if self.of.scope.topology.places_schemas() {
            let tables = self.of.scope.catalog.tables.keys().filter(|table| *table.schema == *old);
            let made: Vec<Change> =
                tables.map(|table| Change::Made(QualifiedName::new(new.as_str(), table.name.clone()))).collect();
            self.change(Change::SchemaDropped(old.into()));
            self.change(Change::SchemaMade(new.into()));
            self.changes.extend(made);
        }
        Ok(Belongs::To(place.map_or(Where::Everywhere, Where::One)))
    }

    pub(super) fn drop(&mut self) -> Result<Belongs, Fault> {
        const ENDS: [&str; 2] = ["cascade", "restrict"];
        if self.words.take("materialized") || self.words.is(0, "foreign") && self.words.is(1, "table") {
            self.words.take("foreign");
        }
        for (word, what) in [("table", "DROP TABLE"), ("view", "DROP VIEW")] {
            if self.words.take(word) {
                return self.drop_list(Kind::Relation, &ENDS, what);
            }
        }
        if self.words.is(0, "trigger") || self.words.is(0, "policy") || self.words.is(0, "rule") {
            return self.on_table();
        }
        if self.words.take("index") {
            if self.words.is(0, "concurrently") && !self.of.scope.topology.is_all_home() {
                return self.drop_index_concurrently();
            }
            return self.drop_list(Kind::Index, &ENDS, "DROP INDEX");
        }
        if self.words.take("sequence") {
            let belongs = self.drop_list(Kind::Sequence, &ENDS, "DROP SEQUENCE")?;
            return Ok(self.if_there(belongs, "sequence"));
        }
        for (word, kind, what) in
            [("statistics", Kind::Statistics, "DROP STATISTICS"), ("schema", Kind::Schema, "DROP SCHEMA")]
        {
            if self.words.take(word) {
                return self.drop_list(kind, &ENDS, what);
            }
        }
        self.check_dropped_type()?;
        let start = self.words.at;
        if let Some(kind) = self.take_object() {
            let written = self.words.text_of(start..self.words.at);
            let belongs = self.drop_list(kind, &ENDS, "DROP")?;
            return Ok(self.if_there(belongs, written));
        }
        self.everywhere()
    }

    /// ALTER TYPE ... ATTRIBUTE ... CASCADE changes the columns of the tables OF the type. Which these are the router does not know, but a
    /// sharding key among them, or a column that is unique over all shards, has the attribute's name.
    fn check_attributes(&self) -> Result<(), Fault> {
        let words = &self.words;
        if !words.is(0, "type") || !words.has("cascade") {
            return Ok(());
        }
        for at in (0..words.len()).filter(|at| words.is(*at, "attribute")) {
            let behind = if words.is(at + 1, "if") { at + 3 } else { at + 1 };
            let adds = at.checked_sub(1).is_some_and(|before| words.is(before, "add"));
            let Some(attribute) = words.name_at(behind).filter(|_| !adds) else { continue };
            let what =
                || format!("changing attribute \"{attribute}\" of a type, and of the tables that are made of it,");
            if let Some((table, _)) = self.keys().find(|(_, column)| ***column == *attribute) {
                return Err(unsupported(
                    what(),
                    format!("table \"{}\" has a sharding-key column of this name, by which its rows are placed", table.name),
                )
                .hint("Without CASCADE the attribute of a type of no table can be changed. Else make a table with the other key, and copy the rows."));
            }
            let uniques = &self.of.scope.topology.uniques;
            if let Some(rule) = uniques.iter().find(|rule| rule.columns.iter().any(|column| **column == *attribute)) {
                return Err(unsupported(
                    what(),
                    format!("the configuration has a column of this name under uniques: {} is unique over all shards", rule.scope()),
                )
                .hint("Without CASCADE the attribute of a type of no table can be changed. Else take the rule out of the configuration first."));
            }
        }
        Ok(())
    }

    /// DROP TYPE and DROP DOMAIN ... CASCADE drop the columns of the type.
    fn check_dropped_type(&self) -> Result<(), Fault> {
        let words = &self.words;
        if !(words.is(0, "type") || words.is(0, "domain")) || !words.has("cascade") {
            return Ok(());
        }
        let catalog = &self.of.scope.catalog;
        let of_user = |(table, column): &(&QualifiedName, &Box<str>)| {
            let column = catalog.table(table).and_then(|table| table.column(column));
            column.is_some_and(|(_, column)| column.type_oid >= FIRST_USER_TYPE)
        };
        match self.keys().find(of_user) {
            None => Ok(()),
            Some((table, column)) => Err(unsupported(
                "DROP TYPE or DROP DOMAIN ... CASCADE beside sharding keys of types that users made",
                format!(
                    "it could drop sharding-key column \"{column}\" of table \"{}\", by which its rows are placed",
                    table.name
                ),
            )
            .hint("Drop what depends on the type first, and then the type without CASCADE.")),
        }
    }

    /// The columns of all sharding keys, each with its table.
    fn keys(&self) -> impl Iterator<Item = (&QualifiedName, &Box<str>)> {
        self.of.scope.topology.tables.iter().flat_map(|(table, rule)| {
            let columns = match rule {
                TableRule::Sharded { columns, .. } => &columns[..],
                TableRule::Reference => &[],
            };
            columns.iter().map(move |column| (table, column))
        })
    }

    /// What the home shard alone has, from a time before the router, is dropped there: the others need not have it.
    fn if_there(&self, belongs: Belongs, kind: &str) -> Belongs {
        let topology = self.of.scope.topology;
        let Some(names) = behind_kind(self.text, kind, self.of.scope.standard_strings) else {
            return belongs;
        };
        if belongs != Belongs::EVERYWHERE || topology.shards.len() < 2 {
            return belongs;
        }
        self.elsewhere_with("IF EXISTS", names)
    }

    /// The home shard gets the statement as it is, the others one with these words at this byte.
    pub(super) fn elsewhere_with(&self, words: &str, at: usize) -> Belongs {
        let topology = self.of.scope.topology;
        let (before, after) = self.text.split_at(at);
        let part = |shard| match shard == topology.home {
            true => (shard, self.text.to_owned()),
            false => (shard, format!("{before} {words} {after}")),
        };
        Belongs::Each(topology.all_shards().iter().map(part).collect())
    }

    fn drop_list(&mut self, kind: Kind, ends: &[&str], what: &str) -> Result<Belongs, Fault> {
        self.words.take_all(&["if", "exists"]);
        let Some(members) = Members::read(&self.of.scope, self.words, kind, ends)? else { return self.unknown() };
        for (_, name, _) in &members.list {
            match kind {
                Kind::Schema => self.change(Change::SchemaDropped(name.1.as_str().into())),
                Kind::Relation | Kind::Sequence => {
                    if let Some(name) = self.full_name(name) {
                        self.change(Change::Dropped(name));
                    }
                }
                Kind::Index | Kind::Statistics | Kind::Object | Kind::Type => {}
            }
        }
        members.belong(&self.of.scope, what, self.text)
    }

    fn drop_index_concurrently(&mut self) -> Result<Belongs, Fault> {
        self.words.take("concurrently");
        match self.drop_list(Kind::Index, &["cascade", "restrict"], "DROP INDEX")? {
            Belongs::To(Where::Everywhere) => Ok(Belongs::OneByOne(OneByOne {
                in_block: false,
                remedy: "Run the command again with IF EXISTS, which skips the shards that have it no more.",
                ..OneByOne::again("DROP INDEX CONCURRENTLY")
            })),
            Belongs::To(Where::One(place)) => Ok(Belongs::to(place)),
            Belongs::Parts(_) | Belongs::Each(_) | Belongs::CreateAs(_) | Belongs::Stamp(_) | Belongs::OneByOne(_) => {
                Err(concurrent())
            }
        }
    }
}

/// Where the names of a DROP begin, behind the word or words for their kind; `None`: IF EXISTS stands there.
fn behind_kind(text: &str, kind: &str, standard_strings: bool) -> Option<usize> {
    let mut words = Words::new(text, standard_strings)?;
    words.take("drop");
    let kinds = Words::new(kind, true)?.len();
    words.at += kinds;
    (!words.is(0, "if")).then(|| words.position())
}
