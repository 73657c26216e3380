//! Constraints that cannot hold across shards: unique ones without the sharding key, foreign keys to rows that lie elsewhere.

use sqlparser::ast::DataType;

use crate::fault::Fault;
use crate::ids::{DistributionId, Oid, QualifiedName};
use crate::sql::NameScope;
use crate::sql::ddl::elements::{ColumnElement, Constraint, Element, Foreign, PRIMARY_KEY};
use crate::sql::ddl::fills::check_default;
use crate::sql::facts::type_oid;
use crate::sql::model::family;
use crate::sql::names::{Relation, parts, resolve};
use crate::types::{KeyType, oid};

/// The elements of a new distributed table. `whole`: no other table and no type adds columns.
pub(crate) fn check_elements(
    scope: &NameScope<'_>,
    relation: &Relation,
    elements: &[Element],
    whole: bool,
) -> Result<(), Fault> {
    if let (Relation::Sharded { name, distribution, key, .. }, true) = (relation, whole) {
        check_key(scope, name, *distribution, key, elements)?;
    }
    for element in elements {
        match element {
            Element::Column(column) => check_column(scope, relation, column)?,
            Element::Constraint(constraint) => check_constraint(scope, relation, constraint)?,
            Element::Like { table, indexes } => {
                let (schema, name) = table;
                let source = resolve(scope, schema.as_deref(), name);
                if !is_nowhere(scope, &source, name) {
                    check_like(relation, &source, name, *indexes)?;
                }
            }
        }
    }
    Ok(())
}

/// Whether the foreign key points to this table.
fn is_of(foreign: &Foreign, name: &QualifiedName) -> bool {
    let (schema, target) = &foreign.table;
    **target == *name.name && schema.as_deref().is_none_or(|schema| *schema == *name.schema)
}

/// What foreign keys of a new table mean that point to itself and name no columns: its primary key, which stands beside them.
pub(crate) fn name_own_key(relation: &Relation, elements: &mut [Element]) {
    let (Relation::Sharded { name, .. } | Relation::Reference { name, .. }) = relation else { return };
    fn constraints(element: &mut Element) -> &mut [Constraint] {
        match element {
            Element::Column(column) => &mut column.constraints,
            Element::Constraint(constraint) => std::slice::from_mut(constraint),
            Element::Like { .. } => &mut [],
        }
    }
    let primary = elements.iter_mut().flat_map(constraints).find_map(|constraint| match constraint {
        Constraint::Unique { what, columns } if *what == PRIMARY_KEY => Some(columns.clone()),
        Constraint::Unique { .. } | Constraint::Exclude { .. } | Constraint::Foreign(_) | Constraint::Own => None,
    });
    let Some(primary) = primary else { return };
    for constraint in elements.iter_mut().flat_map(constraints) {
        if let Constraint::Foreign(foreign) = constraint
            && foreign.referred.is_empty()
            && is_of(foreign, name)
        {
            foreign.referred.clone_from(&primary);
        }
    }
}

/// A new table has its sharding key, in the type by which rows are placed.
fn check_key(
    scope: &NameScope<'_>,
    name: &QualifiedName,
    distribution: DistributionId,
    key: &[Box<str>],
    elements: &[Element],
) -> Result<(), Fault> {
    let key_types = &scope.topology.distribution(distribution).key_types;
    for (column, asked) in key.iter().zip(key_types) {
        let given = elements.iter().find_map(|element| match element {
            Element::Column(of) if *of.name == **column => Some(
                (!of.type_text.is_empty())
                    .then(|| (of.type_text.clone(), of.ty.as_ref().and_then(|ty| base_oid(scope, ty)))),
            ),
            Element::Like { table: (schema, name), .. } => {
                let relation = resolve(scope, schema.as_deref(), name);
                let Some(table) = relation.table() else {
                    if is_nowhere(scope, &relation, name) {
                        return Some(None);
                    }
                    return Some(match is_key_of_type(scope, &relation, column, *asked) {
                        true => None,
                        false => Some((format!("unknown (table \"{name}\" has just been made)"), None)),
                    });
                };
                table.column(column).map(|(_, of)| {
                    Some((format!("OID {}", of.type_oid), Some(scope.catalog.customs.base_of(of.type_oid))))
                })
            }
            Element::Column(_) | Element::Constraint(_) => None,
        });
        let Some(given) = given else {
            let what = format!("table \"{}\" without its sharding-key column \"{column}\"", name.name);
            return Err(if scope.topology.from_sql.contains(name) {
                refuse(
                    what,
                    "pgloom.distribute() has sharded a table of this name by it, and its rule outlives the table",
                )
                .hint(format!("SELECT {} forgets the rule.", undistribute(name)))
            } else {
                refuse(what, "the configuration says that the table is sharded by it")
            });
        };
        // Of a type that is not known, equal values could have other bytes.
        if let Some((ty, given)) = given
            && given.is_none_or(|given| family(asked.oid()) != family(given))
        {
            let fault = refuse(
                format!("column \"{column}\" of type {ty} as the sharding key of table \"{}\"", name.name),
                "the distribution's key is of another type, and rows would be placed by other bytes",
            );
            return Err(match scope.topology.from_sql.contains(name) {
                true => fault.hint(format!("SELECT {} forgets the rule.", undistribute(name))),
                false => fault,
            });
        }
    }
    Ok(())
}

/// Whether there is no such relation at all, which any Postgres says.
fn is_nowhere(scope: &NameScope<'_>, relation: &Relation, name: &str) -> bool {
    let own = scope.temporary.is_some() || scope.is_own_relation(name);
    matches!(relation, Relation::Unsharded { table: None, .. })
        && !own
        && !scope.defines
        && scope.catalog.unread.is_empty()
}

/// Of a table that is not in the catalog yet its own key's types are known alone: they were looked at when it was made.
fn is_key_of_type(scope: &NameScope<'_>, relation: &Relation, column: &str, asked: KeyType) -> bool {
    let Relation::Sharded { distribution, key, .. } = relation else { return false };
    let key_types = &scope.topology.distribution(*distribution).key_types;
    key.iter().zip(key_types).any(|(name, ty)| **name == *column && family(ty.oid()) == family(asked.oid()))
}

/// The type by whose values a column of this one is placed, whatever it says of their length; `None`: none is known.
fn base_oid(scope: &NameScope<'_>, ty: &DataType) -> Option<Oid> {
    let plain = match ty {
        DataType::Varchar(_) | DataType::CharVarying(_) | DataType::CharacterVarying(_) => DataType::Varchar(None),
        DataType::Char(_) | DataType::Character(_) => return Some(oid::BPCHAR),
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => return Some(oid::NUMERIC),
        DataType::Timestamp(_, zone) => DataType::Timestamp(None, *zone),
        DataType::Custom(name, modifiers) => {
            let (schema, name) = parts(name)?;
            if schema.as_deref() != Some("pg_catalog") {
                let mut made = scope.catalog.customs.bases.iter().filter(|of| *of.name == *name).map(|of| of.base);
                if let Some(base) = made.next() {
                    return made.all(|other| family(other) == family(base)).then_some(base);
                }
            }
            // A type of the user's that is none of these.
            if scope.catalog.customs.types.iter().any(|made| **made == *name) {
                return None;
            }
            return match &*name.to_ascii_lowercase() {
                "serial" | "serial4" => Some(oid::INT4),
                "bigserial" | "serial8" => Some(oid::INT8),
                "smallserial" | "serial2" => Some(oid::INT2),
                "bpchar" if !modifiers.is_empty() => Some(oid::BPCHAR),
                _ => type_oid(ty),
            };
        }
        other => other.clone(),
    };
    type_oid(&plain)
}

/// A table that has been made of a query has its sharding key.
pub(crate) fn check_made(scope: &NameScope<'_>, relation: &Relation) -> Result<(), Fault> {
    match relation {
        Relation::Sharded { name, distribution, key, table: Some(_) } => {
            let like = Element::Like { table: (Some(name.schema.to_string()), name.name.to_string()), indexes: false };
            check_key(scope, name, *distribution, key, &[like])
        }
        Relation::Sharded { .. }
        | Relation::Reference { .. }
        | Relation::View { .. }
        | Relation::Unsharded { .. }
        | Relation::System => Ok(()),
    }
}

/// The constraints that stand at a column.
pub(crate) fn check_column(scope: &NameScope<'_>, relation: &Relation, column: &ColumnElement) -> Result<(), Fault> {
    if let (Relation::Sharded { name, .. } | Relation::Reference { name, .. }, Some(default)) =
        (relation, &column.default)
    {
        check_default(scope, &name.name, &column.name, column.is_text(), default)?;
    }
    column.constraints.iter().try_for_each(|constraint| check_constraint(scope, relation, constraint))
}

pub(crate) fn check_constraint(
    scope: &NameScope<'_>,
    relation: &Relation,
    constraint: &Constraint,
) -> Result<(), Fault> {
    match (relation, constraint) {
        (Relation::Sharded { name, key, .. }, Constraint::Unique { what, columns }) => {
            check_unique(name, key, columns, what)
        }
        (Relation::Sharded { name, key, .. }, Constraint::Exclude { columns }) => {
            check_unique(name, key, columns, "an exclusion constraint")
        }
        (Relation::Sharded { .. } | Relation::Reference { .. }, Constraint::Foreign(foreign)) => {
            check_foreign(scope, relation, foreign)
        }
        (
            Relation::Sharded { .. }
            | Relation::Reference { .. }
            | Relation::View { .. }
            | Relation::Unsharded { .. }
            | Relation::System,
            Constraint::Unique { .. } | Constraint::Exclude { .. } | Constraint::Foreign(_) | Constraint::Own,
        ) => Ok(()),
    }
}

/// Unique columns must hold the sharding key, so that equal rows meet on one shard.
pub(crate) fn check_unique(
    name: &QualifiedName,
    key: &[Box<str>],
    columns: &[String],
    what: &str,
) -> Result<(), Fault> {
    match key.iter().find(|column| !columns.iter().any(|of| **of == ***column)) {
        None => Ok(()),
        Some(column) => Err(refuse(
            format!("{what} on sharded table \"{}\" without its sharding key", name.name),
            format!("column \"{column}\" is not among its columns, so each shard would check its own rows only"),
        )),
    }
}

/// What LIKE copies must be on every shard, and its unique indexes must hold the new table's key.
fn check_like(relation: &Relation, source: &Relation, of: &str, indexes: bool) -> Result<(), Fault> {
    let name = match relation {
        Relation::Sharded { name, .. } | Relation::Reference { name, .. } => &name.name,
        Relation::View { .. } | Relation::Unsharded { .. } | Relation::System => return Ok(()),
    };
    if !source.is_distributed() {
        return Err(refuse(
            format!("a distributed table \"{name}\" LIKE table \"{of}\""),
            "that table is on one shard alone, and the others cannot look at it",
        )
        .hint("Write the columns out."));
    }
    let same_key = matches!(
        (relation, source),
        (Relation::Sharded { key, .. }, Relation::Sharded { key: other, .. }) if key == other
    );
    match relation {
        Relation::Sharded { .. } if indexes && !same_key => Err(refuse(
            format!("a sharded table \"{name}\" LIKE table \"{of}\" INCLUDING INDEXES"),
            "that table is not sharded by the same columns, so its unique indexes need not hold the sharding key",
        )
        .hint("Write EXCLUDING INDEXES, and make the indexes one by one.")),
        Relation::Sharded { .. }
        | Relation::Reference { .. }
        | Relation::View { .. }
        | Relation::Unsharded { .. }
        | Relation::System => Ok(()),
    }
}

fn check_foreign(scope: &NameScope<'_>, relation: &Relation, foreign: &Foreign) -> Result<(), Fault> {
    let (name, own, key): (&QualifiedName, Option<DistributionId>, &[Box<str>]) = match relation {
        Relation::Sharded { name, distribution, key, .. } => (name, Some(*distribution), key),
        Relation::Reference { name, .. } => (name, None, &[]),
        Relation::View { .. } | Relation::Unsharded { .. } | Relation::System => return Ok(()),
    };
    let (schema, target) = &foreign.table;
    let same_table = is_of(foreign, name);
    let other = if same_table { relation.clone() } else { resolve(scope, schema.as_deref(), target) };
    let kind = if own.is_none() { "reference" } else { "sharded" };
    let refused = |detail: &str| {
        Err(refuse(
            format!("a foreign key from {kind} table \"{}\" to table \"{target}\"", name.name),
            detail.to_owned(),
        ))
    };
    let in_key = |columns: &[String]| columns.iter().any(|column| key.iter().any(|of| **of == **column));
    if in_key(&foreign.set) {
        return refused("it would set the sharding key, by which rows are placed");
    }
    match &other {
        Relation::Reference { .. } if foreign.follows && in_key(&foreign.columns) => {
            refused("it would change the sharding key, by which rows are placed")
        }
        Relation::Reference { .. } => Ok(()),
        Relation::Sharded { .. } if own.is_none() => refused("each shard has only some of the rows that it refers to"),
        Relation::Sharded { distribution, key: other_key, .. } if own == Some(*distribution) => {
            match referred(scope, &other, foreign, same_table) {
                None => refused("name the columns that it refers to"),
                Some(columns) if is_tied(key, other_key, &foreign.columns, &columns) => Ok(()),
                Some(_) => refused("it does not tie the sharding keys of the two to each other"),
            }
        }
        Relation::Sharded { .. } => refused("the two are not co-located"),
        Relation::View { .. } | Relation::Unsharded { .. } | Relation::System => {
            refused("that table is on the home shard alone")
        }
    }
}

/// The columns that a foreign key refers to: those of the primary key, where it names none.
fn referred(scope: &NameScope<'_>, other: &Relation, foreign: &Foreign, same_table: bool) -> Option<Vec<String>> {
    if !foreign.referred.is_empty() {
        return Some(foreign.referred.clone());
    }
    let known = match other {
        Relation::Sharded { name, .. } if same_table => scope.catalog.table(name).map(|table| &**table),
        _ => other.table(),
    };
    let table = known?;
    let unique = table.unique_keys.first()?;
    unique.iter().map(|at| Some(table.columns.get(*at)?.name.to_string())).collect()
}

/// Whether each column of the key refers to that column of the other key at which it stands.
fn is_tied(key: &[Box<str>], other_key: &[Box<str>], columns: &[String], referred: &[String]) -> bool {
    let at = |list: &[String], column: &str| list.iter().position(|of| of == column);
    key.iter().zip(other_key).all(|(own, other)| {
        let place = at(columns, own);
        place.is_some() && place == at(referred, other)
    })
}

/// Elements that cannot be read may hold a constraint that would have to be looked at.
pub(crate) fn unreadable(name: &str) -> Fault {
    refuse(
        format!("this form of the definition of distributed table \"{name}\""),
        "the router cannot read it, and so cannot tell that its constraints hold across shards",
    )
}

/// The call that takes a rule back which `pgloom.distribute()` has made.
fn undistribute(table: &QualifiedName) -> String {
    format!("pgloom.undistribute('{}')", table.to_string().replace('\'', "''"))
}

fn refuse(what: impl std::fmt::Display, detail: impl Into<String>) -> Fault {
    Fault::unsupported(
        format!("{what} is not supported"),
        detail.into(),
        "Unique constraints must contain the sharding key; foreign keys must tie co-located tables by it, or refer to reference tables.",
    )
}
