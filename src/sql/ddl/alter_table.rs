//! ALTER TABLE, action by action: what holds across shards, what would tear rows from their places, what shards would do differently.

use sqlparser::ast::{CharacterLength, DataType};

use crate::catalog::Table;
use crate::fault::Fault;
use crate::ids::QualifiedName;
use crate::sql::constraints;
use crate::sql::ddl::elements::{column, constraint, starts_constraint};
use crate::sql::ddl::fills;
use crate::sql::ddl::places::{Belongs, Kind, Name, Where};
use crate::sql::ddl::{Definition, check_bounds, unsupported};
use crate::sql::families::lie_alike;
use crate::sql::names::{Relation, resolve};
use crate::sql::outcome::OneByOne;
use crate::sql::parse_data_type;
use crate::sql::stamp::{Stamp, Stamped};
use crate::sql::words::Words;
use crate::types::oid;

/// What a declared length is larger by in the catalog.
const VARHDRSZ: i32 = 4;

impl Definition<'_, '_> {
    pub(super) fn alter_table(&mut self) -> Result<Belongs, Fault> {
        if self.words.is(0, "all") && self.words.is(1, "in") {
            // Whatever lies in a tablespace, on each shard.
            return Ok(Belongs::EVERYWHERE);
        }
        self.words.take_all(&["if", "exists"]);
        self.words.take("only");
        let start = self.words.at;
        let Some(name) = self.words.name() else { return self.unknown() };
        self.words.take_operator("*");
        let scope = &self.of.scope;
        let relation = resolve(scope, name.0.as_deref(), &name.1);
        if !relation.is_distributed() {
            self.check_new_name(&name)?;
            let actions = self.words.cut_at_commas();
            self.check_family(&relation, &name.1, &actions)?;
            self.words.at = start;
            if let Some(kind) = self.other_kind(&relation, &name) {
                return if kind == Kind::Sequence { self.alter_sequence() } else { self.of_kind(kind) };
            }
            let belongs = self.alter_relation(Kind::Relation)?;
            if let Belongs::To(Where::One(place)) = &belongs {
                self.of.check_alone(place)?;
            }
            self.check_references()?;
            return Ok(belongs);
        }
        let actions = self.words.cut_at_commas();
        self.check_family(&relation, &name.1, &actions)?;
        let mut stamps = Vec::new();
        for action in &actions {
            self.check_action(&relation, &name, action, &mut stamps)?;
        }
        if let (false, Some(table)) = (stamps.is_empty(), self.full_name(&name)) {
            return Ok(Belongs::Stamp(Stamped { text: self.text.into(), table, stamps }));
        }
        Ok(self.detach_concurrently(&relation, &actions).unwrap_or(Belongs::EVERYWHERE))
    }

    /// ALTER TABLE is also a word for sequences and indexes.
    fn other_kind(&self, relation: &Relation, (schema, name): &Name) -> Option<Kind> {
        use crate::catalog::RelationKind;
        match relation {
            Relation::Unsharded { table: Some(table), .. } => {
                (table.kind == RelationKind::Sequence).then_some(Kind::Sequence)
            }
            Relation::Unsharded { table: None, .. } => {
                let indexes = &self.of.scope.catalog.indexes;
                let has = |schema: &str| indexes.contains_key(&QualifiedName::new(schema, name.as_str()));
                let known = match schema {
                    Some(schema) => has(schema),
                    None => self.of.scope.search_path.iter().any(|schema| has(schema)),
                };
                known.then_some(Kind::Index)
            }
            Relation::Sharded { .. } | Relation::Reference { .. } | Relation::View { .. } | Relation::System => None,
        }
    }

    /// RENAME TO and SET SCHEMA, which stand here, must not lead to a name that the configuration places.
    pub(super) fn check_new_name(&self, name: &Name) -> Result<(), Fault> {
        let words = &self.words;
        let Some(old) = self.full_name(name) else { return Ok(()) };
        let new = match (words.is(0, "rename") && words.is(1, "to"), words.is(0, "set") && words.is(1, "schema")) {
            (true, _) => words.name_at(2).map(|new| QualifiedName::new(old.schema.clone(), new)),
            (false, true) => words.name_at(2).map(|schema| QualifiedName::new(schema, old.name.clone())),
            (false, false) => None,
        };
        match new {
            Some(new) if self.of.scope.topology.rule(&new).is_some() => Err(unsupported(
                format!("giving something the name {new}"),
                "the configuration places a table of this name, and what gets the name lies otherwise",
            )
            .hint("Create the table under this name, and copy the rows.")),
            Some(_) | None => Ok(()),
        }
    }

    /// What an action does to a distributed table. `stamps`: columns that are filled with a time.
    fn check_action(
        &self,
        relation: &Relation,
        name: &Name,
        action: &Words<'_>,
        stamps: &mut Vec<Stamp>,
    ) -> Result<(), Fault> {
        let scope = &self.of.scope;
        let mut words = action.part(0..action.len());
        let (full, key): (&QualifiedName, &[Box<str>]) = match relation {
            Relation::Sharded { name, key, .. } => (name, key),
            Relation::Reference { name, .. } => (name, &[]),
            Relation::View { .. } | Relation::Unsharded { .. } | Relation::System => return Ok(()),
        };
        let in_key = |column: Option<String>| column.filter(|column| key.iter().any(|of| **of == **column));
        let keeps_key = |column: Option<String>| match in_key(column) {
            None => Ok(()),
            Some(column) => Err(unsupported(
                format!("changing sharding-key column \"{column}\" of table \"{}\"", full.name),
                "rows are placed by it",
            )
            .hint("Make a table with the other key, and copy the rows.")),
        };
        if words.take("add") {
            if starts_constraint(&words) {
                let unreadable = || constraints::unreadable(&full.name);
                return constraints::check_constraint(scope, relation, &constraint(&mut words).ok_or_else(unreadable)?);
            }
            words.take("column");
            let if_not_exists = words.take_all(&["if", "not", "exists"]);
            let Some(added) = column(words) else { return Err(constraints::unreadable(&full.name)) };
            constraints::check_column(scope, relation, &added)?;
            stamps.extend(fills::check_added(scope, relation, &full.name, &added, if_not_exists)?);
            return Ok(());
        }
        if words.take("drop") {
            if words.take("constraint") {
                return Ok(());
            }
            words.take("column");
            words.take_all(&["if", "exists"]);
            self.keeps_unique(full, words.name_at(0), "dropping")?;
            return keeps_key(words.name_at(0));
        }
        if words.take("alter") {
            if words.take("constraint") {
                return Ok(());
            }
            words.take("column");
            let column = words.name_at(0);
            words.at += 1;
            if words.is(0, "type") || words.take_all(&["set", "data"]) {
                keeps_key(column.clone())?;
                let ty = words.part(words.at..words.at + words.len());
                if !relation.table().is_some_and(|table| keeps_texts(table, column.as_deref(), ty)) {
                    self.keeps_unique(full, column, "changing the type of")?;
                }
                words.skip_to(&["using"]);
                let using = words.take("using").then(|| words.rest());
                return using.map_or(Ok(()), |using| fills::check_using(scope, relation, &full.name, using));
            }
            if let (true, Some(column)) = (words.take_all(&["set", "default"]), column) {
                let ty = relation.table().and_then(|table| Some(table.column(&column)?.1.type_oid));
                let is_text = ty.is_some_and(|ty| [oid::TEXT, oid::VARCHAR, oid::BPCHAR].contains(&ty));
                return fills::check_default(scope, &full.name, &column, is_text, words.rest());
            }
            return Ok(());
        }
        if words.take("rename") {
            if words.is(0, "to") {
                return self.check_renamed(full, name);
            }
            if words.take("constraint") {
                return Ok(());
            }
            words.take("column");
            self.keeps_unique(full, words.name_at(0), "renaming")?;
            return keeps_key(words.name_at(0));
        }
        if words.is(0, "set") && words.is(1, "schema") {
            return self.check_renamed(full, name);
        }
        const SAME: [&str; 17] = [
            "validate", "enable", "disable", "force", "no", "not", "of", "cluster", "replica", "owner", "set", "reset",
            "attach", "detach", "inherit", "depends", "merge",
        ];
        match SAME.iter().any(|verb| words.is(0, verb)) {
            true => Ok(()),
            false => Err(unsupported(
                format!("this form of ALTER TABLE of distributed table \"{}\"", full.name),
                "the router does not know what it does on each shard",
            )),
        }
    }

    /// The triggers that note a table's unique values name its columns: without one of them every write of the table would fail.
    fn keeps_unique(&self, table: &QualifiedName, column: Option<String>, verb: &str) -> Result<(), Fault> {
        let Some(column) = column else { return Ok(()) };
        let uniques = &self.of.scope.topology.uniques;
        match uniques.iter().find(|rule| rule.table == *table && rule.columns.iter().any(|of| **of == *column)) {
            None => Ok(()),
            Some(rule) => Err(unsupported(
                format!("{verb} column \"{column}\" of table \"{}\"", table.name),
                format!("the configuration has it under uniques: {} is unique over all shards", rule.scope()),
            )
            .hint(
                "Take the rule out of the configuration of every router and start them anew, then drop the table's triggers whose names \
                 begin with pgloom_unique_, which name the column; after that it is one like others.",
            )),
        }
    }

    /// A table that the configuration knows by its name keeps it; a partition of one has any name that is free.
    fn check_renamed(&self, full: &QualifiedName, name: &Name) -> Result<(), Fault> {
        if self.of.scope.topology.rule(full).is_some() {
            return Err(unsupported(
                format!("renaming distributed table \"{}\"", full.name),
                "the configuration knows it by its name",
            )
            .hint("Create a table under the other name, which the configuration then must have, and copy the rows."));
        }
        self.check_new_name(name)?;
        self.check_stays(&Where::Everywhere)
    }

    /// Partitions and children that come and go: what holds rows of a table lies as that one does, and still does when it has left.
    fn check_family(&self, relation: &Relation, name: &str, actions: &[Words<'_>]) -> Result<(), Fault> {
        let scope = &self.of.scope;
        let other = |words: &Words<'_>, ahead: usize| {
            let mut words = words.part(ahead..words.len());
            words.name().map(|(schema, name)| (resolve(scope, schema.as_deref(), &name), name))
        };
        for words in actions {
            let joins = words.is(0, "attach") && words.is(1, "partition");
            let child = words.is(0, "inherit");
            if joins && relation.is_distributed() {
                check_bounds(self.of, words.rest())?;
            }
            if joins || child {
                let Some((of, other)) = other(words, if joins { 2 } else { 1 }) else { continue };
                // What is on no shard is for Postgres to miss.
                let missing = matches!(of, Relation::Unsharded { table: None, .. }) && !of.is_distributed();
                if lie_alike(relation, &of) || missing && is_unknown(scope, &other) {
                    continue;
                }
                let (verb, table, to) =
                    if joins { ("attaching", &*other, name) } else { ("inheriting by", name, &*other) };
                return Err(unsupported(
                    format!("{verb} table \"{table}\" {} table \"{to}\"", if joins { "to" } else { "from" }),
                    "its rows lie otherwise than those of the other table",
                )
                .hint(
                    "CREATE TABLE ... PARTITION OF makes one that lies where it must; or let the configuration say of both the same.",
                ));
            }
            let leaves = words.is(0, "detach") && words.is(1, "partition") && !words.has("finalize");
            let no_child = words.is(0, "no") && words.is(1, "inherit");
            if relation.is_distributed() && (leaves || no_child) {
                let left = match leaves {
                    true => other(words, 2).map(|(relation, _)| relation),
                    false => Some(relation.clone()),
                };
                self.check_leaves(left)?;
            }
        }
        Ok(())
    }

    /// A table that leaves its parent must have a rule of its own: else it would count as one of the home shard, with rows on all.
    fn check_leaves(&self, left: Option<Relation>) -> Result<(), Fault> {
        let (Some(Relation::Sharded { name, .. }) | Some(Relation::Reference { name, .. })) = left else {
            return Ok(());
        };
        if self.of.scope.topology.rule(&name).is_some() {
            return Ok(());
        }
        Err(unsupported(
            format!("detaching a partition or ending the inheritance of table \"{}\"", name.name),
            "it is known as distributed by its parent alone, and would count as a table of the home shard while every shard has rows of it",
        )
        .hint("Name it in the configuration, with the rule of its parent; or drop it."))
    }

    /// DETACH PARTITION ... CONCURRENTLY cannot run in a transaction.
    fn detach_concurrently(&self, relation: &Relation, actions: &[Words<'_>]) -> Option<Belongs> {
        let [words] = actions else { return None };
        if !(words.is(0, "detach") && words.is(1, "partition") && words.has("concurrently")) {
            return None;
        }
        let (Relation::Sharded { name: parent, .. } | Relation::Reference { name: parent, .. }) = relation else {
            return None;
        };
        let (schema, name) = words.part(2..words.len()).name()?;
        let child = resolve(&self.of.scope, schema.as_deref(), &name);
        let (Relation::Sharded { name: child, .. } | Relation::Reference { name: child, .. }) = child else {
            return None;
        };
        Some(Belongs::OneByOne(OneByOne {
            detached: Some((parent.clone(), child)),
            in_block: false,
            remedy: "Remove the cause and run the command again, which skips the shards that have detached it; where it was interrupted, ALTER TABLE ... DETACH PARTITION ... FINALIZE on that shard ends it.",
            ..OneByOne::again("ALTER TABLE ... DETACH PARTITION CONCURRENTLY")
        }))
    }
}

/// Whether no catalog and no configuration has a table of this name in any schema.
fn is_unknown(scope: &crate::sql::NameScope<'_>, name: &str) -> bool {
    !scope.catalog.tables.keys().chain(scope.topology.tables.keys()).any(|known| *known.name == *name)
}

/// Whether values keep their texts, by which they are registered as unique, when their column gets the type that stands here.
fn keeps_texts(table: &Table, column: Option<&str>, mut words: Words<'_>) -> bool {
    words.take("data");
    words.take("type");
    let start = words.at;
    words.skip_to(&["using", "collate"]);
    if !words.is_done() {
        return false;
    }
    let (Some(ty), Some((_, column))) =
        (parse_data_type(words.part(start..words.at).rest()), column.and_then(|column| table.column(column)))
    else {
        return false;
    };
    let is_text = [oid::TEXT, oid::VARCHAR].contains(&column.type_oid);
    let is_integer = [oid::INT2, oid::INT4, oid::INT8].contains(&column.type_oid);
    match ty {
        DataType::SmallInt(None) | DataType::Int(None) | DataType::Integer(None) | DataType::BigInt(None) => is_integer,
        DataType::Int2(None) | DataType::Int4(None) | DataType::Int8(None) => is_integer,
        DataType::Text => is_text || is_integer,
        // A shorter one cuts blanks off.
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            match length {
                None => is_text || is_integer,
                Some(CharacterLength::IntegerLength { length, unit: None }) => {
                    let own = u64::try_from(column.typmod - VARHDRSZ).ok();
                    column.type_oid == oid::VARCHAR && own.is_some_and(|own| own <= length)
                }
                Some(CharacterLength::IntegerLength { .. } | CharacterLength::Max) => false,
            }
        }
        _ => false,
    }
}
