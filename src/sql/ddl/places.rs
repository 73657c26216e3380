//! Where what a definition names lies, and lists of names cut by shard.

use std::collections::HashMap;
use std::ops::Range;

use crate::fault::Fault;
use crate::ids::{QualifiedName, ShardId};
use crate::sql::NameScope;
use crate::sql::create_as::CreateAs;
use crate::sql::ddl::unsupported;
use crate::sql::functions::placed_with;
use crate::sql::homeward::is_at_home;
use crate::sql::names::{Place, Relation, creation_schema, distributed_names, is_temporary_schema, resolve};
use crate::sql::outcome::OneByOne;
use crate::sql::stamp::Stamped;
use crate::sql::words::Words;

/// A name with its schema, where it has one.
pub(crate) type Name = (Option<String>, String);

/// Where one thing lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    One(Place),
    Everywhere,
}

/// Where a statement goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Belongs {
    To(Where),
    /// Each of these shards gets a text of its own.
    Parts(Vec<(ShardId, String)>),
    /// Each of these shards gets a text of its own, to one effect.
    Each(Vec<(ShardId, String)>),
    /// A table made of rows that lie elsewhere.
    CreateAs(CreateAs),
    /// Everywhere, with values of the clock.
    Stamp(Stamped),
    /// Everywhere, but not in a transaction.
    OneByOne(OneByOne),
}

impl Belongs {
    pub const EVERYWHERE: Self = Self::To(Where::Everywhere);

    pub fn to(place: Place) -> Self {
        Self::To(Where::One(place))
    }
}

/// What the members of a list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Tables, views and the like.
    Relation,
    Sequence,
    Index,
    Statistics,
    Schema,
    /// Functions, collations and the like: every shard has those of schemas that are not placed.
    Object,
    /// A type or domain: the same, but for temporary ones.
    Type,
}

/// Where something lies that is there already.
pub(crate) fn existing(scope: &NameScope<'_>, kind: Kind, (schema, name): &Name) -> Result<Where, Fault> {
    let schema = schema.as_deref();
    if is_own(scope, kind, schema, name) {
        return Ok(Where::One(scope.unknown()));
    }
    Ok(match kind {
        Kind::Type => return object(scope, schema, name),
        Kind::Relation => relation(scope, resolve(scope, schema, name)),
        Kind::Sequence => match resolve(scope, schema, name) {
            Relation::Unsharded { place, .. } if place.schema.is_some() => Where::One(place),
            // That of a column is where its table is.
            Relation::Unsharded { table: Some(table), .. } if table.owner.is_some() => match &table.owner {
                Some(owner) => relation(scope, resolve(scope, Some(&owner.schema), &owner.name)),
                None => Where::Everywhere,
            },
            // CREATE SEQUENCE makes one on every shard.
            _ => Where::Everywhere,
        },
        Kind::Index => of_table(scope, &scope.catalog.indexes, schema, name),
        Kind::Statistics => of_table(scope, &scope.catalog.statistics, schema, name),
        Kind::Schema => scope.place_of_schema(name).map_or(Where::Everywhere, Where::One),
        Kind::Object => return object(scope, schema, name),
    })
}

/// Whether it is something temporary, which the session's own connection alone has.
fn is_own(scope: &NameScope<'_>, kind: Kind, schema: Option<&str>, name: &str) -> bool {
    if let Some(schema) = schema {
        return is_temporary_schema(schema);
    }
    match kind {
        Kind::Relation | Kind::Sequence | Kind::Index | Kind::Statistics => scope.is_own_relation(name),
        Kind::Type => scope.is_own_type(name),
        // Functions of that schema are never found without it.
        Kind::Object | Kind::Schema => false,
    }
}

pub(crate) fn relation(scope: &NameScope<'_>, relation: Relation) -> Where {
    match relation {
        Relation::Sharded { .. } | Relation::Reference { .. } => Where::Everywhere,
        Relation::View { name, table } => match scope.place_of_schema(&name.schema) {
            Some(place) => Where::One(place),
            None if is_at_home(scope, &table) => Where::One(Place::home(scope)),
            None if distributed_names(scope).contains(&name.name) => Where::Everywhere,
            None => Where::One(Place::home(scope)),
        },
        Relation::Unsharded { place, .. } => Where::One(place),
        Relation::System => Where::One(Place::home(scope)),
    }
}

/// The table that an index belongs to, where the catalog knows it.
pub(crate) fn table_of_index<'a>(scope: &NameScope<'a>, (schema, name): &Name) -> Option<&'a QualifiedName> {
    found(scope, &scope.catalog.indexes, schema.as_deref(), name)
}

fn found<'a>(
    scope: &NameScope<'_>,
    all: &'a HashMap<QualifiedName, QualifiedName>,
    schema: Option<&str>,
    name: &str,
) -> Option<&'a QualifiedName> {
    match schema {
        Some(schema) => all.get(&QualifiedName::new(schema, name)),
        None => scope.search_path.iter().find_map(|schema| all.get(&QualifiedName::new(schema.clone(), name))),
    }
}

/// An index is where its table is, and so are extended statistics. `all`: each with its table.
fn of_table(
    scope: &NameScope<'_>,
    all: &HashMap<QualifiedName, QualifiedName>,
    schema: Option<&str>,
    name: &str,
) -> Where {
    if let Some(table) = found(scope, all, schema, name) {
        return relation(scope, resolve(scope, Some(&table.schema), &table.name));
    }
    // Made a moment ago, if it is there at all.
    let place = match schema {
        Some(schema) => scope.place_of(schema),
        None => scope.unknown(),
    };
    match place.is_home(scope) && !scope.topology.is_all_home() {
        true => Where::Everywhere,
        false => Where::One(place),
    }
}

fn object(scope: &NameScope<'_>, schema: Option<&str>, name: &str) -> Result<Where, Fault> {
    if let Some(schema) = schema {
        return Ok(scope.place_of_schema(schema).map_or(Where::Everywhere, Where::One));
    }
    let typed = |schema: &&str| scope.catalog.placed.get(*schema).is_some_and(|placed| placed.types.contains(name));
    let placed = placed_with(scope, None, name).first().copied().or_else(|| scope.placed_path().find(typed));
    match placed {
        // Which of two functions is meant is told by their arguments.
        Some(schema) if scope.catalog.functions.contains_key(name) => Err(unsupported(
            format!("a definition of \"{name}\" without its schema"),
            format!(
                "there is one in schema \"{schema}\", which is placed whole, and one in a schema that every shard has"
            ),
        )),
        Some(schema) => Ok(Where::One(scope.place_of(schema))),
        None if scope.catalog.functions.contains_key(name) => Ok(Where::Everywhere),
        None => Ok(new_object(scope, None)),
    }
}

/// Where something is made that every shard has, unless its schema is placed.
pub(crate) fn new_object(scope: &NameScope<'_>, schema: Option<&str>) -> Where {
    let schema = schema.or_else(|| scope.topology.places_schemas().then(|| creation_schema(scope)).flatten());
    schema.and_then(|schema| scope.place_of_schema(schema)).map_or(Where::Everywhere, Where::One)
}

/// The members of a list that begins here and ends at one of the words, or the statement's end; where each lies, and its bytes.
pub(crate) struct Members {
    pub list: Vec<(Range<usize>, Name, Where)>,
    /// The bytes of the whole list.
    pub bytes: Range<usize>,
}

impl Members {
    pub fn read(
        scope: &NameScope<'_>,
        words: &mut Words<'_>,
        kind: Kind,
        ends: &[&str],
    ) -> Result<Option<Self>, Fault> {
        let mut list = Vec::new();
        let begin = words.position();
        loop {
            let start = words.position();
            words.take("only");
            let Some(name) = words.name() else { return Ok(None) };
            let lies = existing(scope, kind, &name)?;
            words.skip_to_comma(ends);
            list.push((start..words.end_before(), name, lies));
            if !words.take_punct(b',') {
                break;
            }
        }
        let end = list.last().map_or(begin, |(bytes, ..)| bytes.end);
        Ok(Some(Self { list, bytes: begin..end }))
    }

    /// All of them in one place, or each where it lies: `text` is the whole statement.
    pub fn belong(&self, scope: &NameScope<'_>, what: &str, text: &str) -> Result<Belongs, Fault> {
        let mut parts: Vec<(ShardId, Vec<&str>)> = Vec::new();
        let mut shared: Vec<&str> = Vec::new();
        for (bytes, _, lies) in &self.list {
            let member = text.get(bytes.clone()).unwrap_or_default();
            let Where::One(place) = lies else {
                shared.push(member);
                continue;
            };
            match parts.iter_mut().find(|(shard, _)| *shard == place.shard) {
                Some((_, members)) => members.push(member),
                None => parts.push((place.shard, vec![member])),
            }
        }
        let (Some(before), Some(after)) = (text.get(..self.bytes.start), text.get(self.bytes.end..)) else {
            return Err(unsupported(format!("{what} in this form"), "its names are not understood"));
        };
        let written = |members: &[&str]| format!("{before}{}{after}", members.join(", "));
        Ok(match (&self.list[..], shared.is_empty(), &parts[..]) {
            (_, false, []) => Belongs::EVERYWHERE,
            ([(_, _, lies), ..], true, [_]) => Belongs::To(lies.clone()),
            (_, true, parts) => {
                Belongs::Parts(parts.iter().map(|(shard, members)| (*shard, written(members))).collect())
            }
            // One shard has all of them, the others those that are everywhere.
            (_, false, [(one, _)]) => {
                let shards = scope.topology.all_shards();
                let part = |shard| (shard, if shard == *one { text.to_owned() } else { written(&shared) });
                Belongs::Each(shards.iter().map(part).collect())
            }
            (_, false, _) => {
                return Err(unsupported(
                    format!("{what} of distributed tables and others of several shards together"),
                    "the others are on different shards",
                ));
            }
        })
    }
}
