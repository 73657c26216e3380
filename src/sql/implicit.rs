//! Code of users that runs, unasked, where rows are read or written: it sees the tables of one shard. What that would make wrong is refused.

use crate::catalog::effects::{Act, Deed, Effects, SET_CONFIG};
use crate::catalog::{Catalog, ColumnDefault, Sets, code};
use crate::fault::Fault;
use crate::ids::QualifiedName;
use crate::sql::NameScope;
use crate::sql::functions::{self, FunctionClass};
use crate::sql::names::{Place, Relation, is_system_schema, known, resolve};
use crate::sql::stored::check_numbers;
use crate::topology::Topology;

/// Where the code runs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// On the shard of a row, which the values of these columns have found.
    Sharded(Vec<Box<str>>),
    /// On every shard, to the same effect.
    Reference,
    /// On this one alone.
    One(Place),
}

/// That writing rows of a table sets off no code that would do something else than on one Postgres.
pub(crate) fn check_written(scope: &NameScope<'_>, relation: &Relation) -> Result<(), Fault> {
    check(scope, relation, "writing to", |effects| &effects.writes)
}

/// The same of reading them, where row security decides which ones there are.
pub(crate) fn check_read(scope: &NameScope<'_>, relation: &Relation) -> Result<(), Fault> {
    check(scope, relation, "reading", |effects| &effects.reads)
}

/// The same of the defaults of some columns, by their places.
pub(crate) fn check_defaults(scope: &NameScope<'_>, relation: &Relation, columns: &[usize]) -> Result<(), Fault> {
    check_numbers(scope, relation, columns)?;
    let Some((effects, host)) = code_of(scope, relation) else { return Ok(()) };
    let Some(table) = relation.table() else { return Ok(()) };
    let named = |name: &str| table.column(name).is_some_and(|(at, _)| columns.contains(&at));
    for (column, deeds) in effects.defaults.iter().filter(|(column, _)| named(column)) {
        if let Some((deed, what)) = first_wrong(scope, &host, deeds) {
            return Err(Fault::unsupported(
                format!("the default of column \"{column}\" of table \"{}\" is not supported", table.name.name),
                told(deed, &what),
                format!("Give the column a value in the statement. {}", hint(deed)),
            ));
        }
    }
    Ok(())
}

/// What the code of a table changes of the session's settings where rows are read, or written, with whatever defaults.
pub(crate) fn sets(scope: &NameScope<'_>, relation: &Relation, writes: bool) -> Sets {
    let Some(effects) = relation.table().and_then(|table| table.effects.as_deref()) else { return Sets::Nothing };
    let defaults = effects.defaults.iter().flat_map(|(_, deeds)| deeds);
    let written = effects.writes.iter().chain(defaults).filter(|_| writes);
    let calls = |deed: &&Deed| match &deed.act {
        Act::Sets => true,
        Act::Calls(name) => **name == *SET_CONFIG || code::is_session_lock(name),
        Act::Reads(_) | Act::Writes(_) | Act::Varies | Act::Unread(_) | Act::Assigns(_) => false,
    };
    let by = |deed: &Deed| match (&deed.function, &deed.act) {
        (Some(function), _) => function_sets(scope.catalog, function),
        (None, Act::Calls(name)) if code::is_session_lock(name) => Sets::Locks,
        (None, _) => Sets::Lasting,
    };
    Sets::of_all(effects.reads.iter().chain(written).filter(calls).map(by))
}

/// Whether a default of the table, or code that is tied to it, may give numbers that `setseed` decides.
pub(crate) fn draws(relation: &Relation) -> bool {
    let Some(table) = relation.table() else { return false };
    let by_default = table.columns.iter().any(|column| match &column.default {
        ColumnDefault::Expression(text) => functions::names_random(text),
        ColumnDefault::None | ColumnDefault::Sequence(_) => false,
    });
    let deeds = table
        .effects
        .iter()
        .flat_map(|effects| effects.writes.iter().chain(effects.defaults.iter().flat_map(|(_, deeds)| deeds)));
    by_default
        || deeds.map(|deed| &deed.act).any(|act| match act {
            Act::Calls(name) => functions::is_random(name),
            Act::Varies | Act::Sets => true,
            Act::Reads(_) | Act::Writes(_) | Act::Unread(_) | Act::Assigns(_) => false,
        })
}

fn function_sets(catalog: &Catalog, function: &QualifiedName) -> Sets {
    let placed = catalog.placed.get(&function.schema).and_then(|schema| schema.functions.get(&function.name));
    placed.or_else(|| catalog.functions.get(&function.name)).map_or(Sets::Lasting, |function| function.sets)
}

/// The same of a statement that is not walked as a tree, by the names that it has: with what it changes of the settings.
pub(crate) fn check_named(scope: &NameScope<'_>, names: &[String], writes: bool) -> Result<Sets, Fault> {
    let mut changed = Sets::Nothing;
    for table in scope.catalog.tables.values().filter(|table| table.effects.is_some()) {
        if names.iter().any(|name| **name == *table.name.name) {
            let relation = resolve(scope, Some(&table.name.schema), &table.name.name);
            check_read(scope, &relation)?;
            changed = changed.and(sets(scope, &relation, writes));
            if writes {
                check_written(scope, &relation)?;
                let all: Vec<usize> = (0..table.columns.len()).collect();
                check_defaults(scope, &relation, &all)?;
            }
        }
    }
    Ok(changed)
}

/// What is refused of the tables of a catalog because of their code; in order of their names.
pub fn refused_by_code(catalog: &Catalog, topology: &Topology) -> Vec<Fault> {
    let scope = NameScope {
        catalog,
        topology,
        search_path: &[],
        standard_strings: true,
        changes: &[],
        defines: false,
        temporary: None,
        temporaries: None,
        own: None,
        fingerprint: 0,
        unknown: None,
    };
    let mut names: Vec<&QualifiedName> =
        catalog.tables.values().filter(|table| table.effects.is_some()).map(|table| &table.name).collect();
    names.sort_unstable_by_key(|name| name.to_string());
    let of_table = |name: &QualifiedName| {
        let relation = resolve(&scope, Some(&name.schema), &name.name);
        let all: Vec<usize> = (0..relation.table().map_or(0, |table| table.columns.len())).collect();
        [check_read(&scope, &relation), check_written(&scope, &relation), check_defaults(&scope, &relation, &all)]
    };
    names.into_iter().flat_map(of_table).filter_map(Result::err).collect()
}

fn check(
    scope: &NameScope<'_>,
    relation: &Relation,
    verb: &str,
    of: impl Fn(&Effects) -> &Vec<Deed>,
) -> Result<(), Fault> {
    let Some((effects, host)) = code_of(scope, relation) else { return Ok(()) };
    let Some((deed, what)) = first_wrong(scope, &host, of(effects)) else { return Ok(()) };
    let name = relation.table().map_or("", |table| &*table.name.name);
    Err(Fault::unsupported(format!("{verb} table \"{name}\" is not supported"), told(deed, &what), hint(deed)))
}

/// What the table's code does, and where it runs.
fn code_of<'r>(scope: &NameScope<'_>, relation: &'r Relation) -> Option<(&'r Effects, Host)> {
    let effects = relation.table()?.effects.as_deref()?;
    if scope.topology.is_all_home() {
        return None;
    }
    let host = match relation {
        Relation::Sharded { key, .. } => Host::Sharded(key.clone()),
        Relation::Reference { .. } => Host::Reference,
        Relation::View { name, .. } => Host::One(scope.place_of(&name.schema)),
        Relation::Unsharded { place, .. } => Host::One(place.clone()),
        Relation::System => return None,
    };
    Some((effects, host))
}

fn first_wrong<'d>(scope: &NameScope<'_>, host: &Host, deeds: &'d [Deed]) -> Option<(&'d Deed, String)> {
    deeds.iter().find_map(|deed| Some((deed, wrong(scope, host, deed)?)))
}

fn told(deed: &Deed, what: &str) -> String {
    match &deed.function {
        Some(function) if !deed.root.contains(&format!("function {}()", function.name)) => {
            format!("{} calls {}(), which {what}", deed.root, function.name)
        }
        Some(_) | None => format!("{} {what}", deed.root),
    }
}

fn hint(deed: &Deed) -> String {
    match &deed.function {
        Some(function) if matches!(deed.act, Act::Assigns(_)) => format!(
            "Give the sharding key its value in the statement. If the function never changes one that is there, declare it in the database's \
             section of the configuration: safe_functions = [\"{function}\"]."
        ),
        Some(function) => format!(
            "If the function touches nothing but rows with the same sharding key, and does the same wherever it runs, declare it in the \
             database's section of the configuration: safe_functions = [\"{function}\"]."
        ),
        None => "Let it use the row's own columns and reference tables; or put what it reads into a function, and declare that in the \
                 database's section of the configuration (safe_functions) if it may run on any shard."
            .to_owned(),
    }
}

/// What is wrong with doing this there.
fn wrong(scope: &NameScope<'_>, host: &Host, deed: &Deed) -> Option<String> {
    match &deed.act {
        Act::Reads(name) => named(scope, host, name, false),
        Act::Writes(name) => named(scope, host, name, true),
        Act::Calls(name) => called(scope, host, name, deed.kept),
        Act::Sets => None,
        Act::Varies => varies(host, deed.kept).then(|| "is not immutable: the copies of a row could differ".to_owned()),
        Act::Assigns(column) => assigned(host, column.as_deref()),
        Act::Unread(what) => Some(format!("runs {what}, which can read and write tables that lie on several shards")),
    }
}

/// The row lies by then where its key was before.
fn assigned(host: &Host, column: Option<&str>) -> Option<String> {
    let Host::Sharded(key) = host else { return None };
    match column {
        Some(column) => key.iter().any(|of| **of == *column).then(|| {
            format!("gives column \"{column}\" of the sharding key a value when the row has been sent to its shard")
        }),
        None => Some("puts another row in the place of the one that has been sent to its shard".to_owned()),
    }
}

fn varies(host: &Host, kept: bool) -> bool {
    kept && *host == Host::Reference
}

fn named(scope: &NameScope<'_>, host: &Host, name: &QualifiedName, written: bool) -> Option<String> {
    if is_system_schema(&name.schema) {
        let alone = matches!(host, Host::One(_));
        return (!alone).then(|| format!("reads \"{}\", which tells of one server", name.name));
    }
    match known(scope, name)? {
        Relation::Sharded { .. } => Some(format!("names \"{}\", of which each shard has a part", name.name)),
        Relation::Reference { .. } if written => {
            Some(format!("writes \"{}\", of which each shard has a copy", name.name))
        }
        Relation::Unsharded { place, .. } => match host {
            Host::One(one) if one.shard == place.shard => None,
            Host::Sharded(_) | Host::Reference | Host::One(_) => {
                let shard = &scope.topology.shard(place.shard).name;
                Some(format!("names \"{}\", which lies on {shard} alone", name.name))
            }
        },
        Relation::Reference { .. } | Relation::View { .. } | Relation::System => None,
    }
}

fn called(scope: &NameScope<'_>, host: &Host, name: &str, kept: bool) -> Option<String> {
    let (alone, home) = match host {
        Host::One(place) => (true, place.shard == scope.topology.home),
        Host::Sharded(_) | Host::Reference => (false, false),
    };
    let differs =
        || format!("calls {name}(), which says something else on each shard: the copies of a row would differ");
    match functions::builtin(name) {
        FunctionClass::Clock | FunctionClass::Volatile => varies(host, kept).then(differs),
        FunctionClass::Server if alone || is_same_on_servers(name) => None,
        FunctionClass::Server => Some(format!("calls {name}(), which tells of one server")),
        FunctionClass::Home(_) if home => None,
        FunctionClass::Home(_) => Some(format!("calls {name}(), which works on one shard alone")),
        FunctionClass::Sequence(_) if alone => None,
        FunctionClass::Sequence(_) => Some(format!("calls {name}(), and each shard has sequences of its own")),
        FunctionClass::RunsSql => Some(format!("calls {name}(), which can read tables that lie on several shards")),
        FunctionClass::Pure
        | FunctionClass::Aggregate
        | FunctionClass::Window
        | FunctionClass::User(_)
        | FunctionClass::UserAggregate(_)
        | FunctionClass::Unknown => None,
    }
}

/// Functions of the server that say the same on every shard: settings are the session's, roles and tables are alike.
fn is_same_on_servers(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "current_setting",
        "current_database",
        "current_catalog",
        "getdatabaseencoding",
        "getpgusername",
        "pg_has_role",
        "pg_trigger_depth",
        "row_security_active",
    ];
    name.starts_with("has_") || NAMES.contains(&name)
}
