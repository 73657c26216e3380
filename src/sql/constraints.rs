//! Constraints that cannot hold across shards: unique ones without the sharding key, foreign keys to rows that lie elsewhere.

use sqlparser::ast::{
    ColumnOption, CreateTable, Expr, ForeignKeyConstraint, Ident, IndexColumn, Statement, TableConstraint,
};

use crate::fault::Fault;
use crate::ids::{DistributionId, QualifiedName};
use crate::sql::facts::type_oid;
use crate::sql::insert::is_same_everywhere;
use crate::sql::model::family;
use crate::sql::names::{Relation, folded, parts, resolve};
use crate::sql::words::Words;
use crate::sql::{NameScope, parse};

/// CREATE TABLE of a distributed table.
pub(crate) fn check_table(scope: &NameScope<'_>, text: &str, relation: &Relation) -> Result<(), Fault> {
    let Relation::Sharded { name, distribution, key, .. } = relation else { return Ok(()) };
    let Some(Statement::CreateTable(table)) = parse(text) else {
        return check_words(text, name);
    };
    // A partition has the columns of its parent.
    if table.partition_of.is_none() && table.inherits.is_none() && table.like.is_none() {
        for (position, column) in key.iter().enumerate() {
            let Some(defined) = table.columns.iter().find(|of| *folded(&of.name) == **column) else {
                return Err(refuse(
                    format!("table \"{}\" without its sharding-key column \"{column}\"", name.name),
                    "the configuration says that the table is sharded by it",
                ));
            };
            let asked = scope.topology.distribution(*distribution).key_types.get(position).map(|ty| ty.oid());
            let given = type_oid(&defined.data_type);
            if let (Some(asked), Some(given)) = (asked, given)
                && family(asked) != family(given)
            {
                return Err(refuse(
                    format!(
                        "column \"{column}\" of type {} as the sharding key of table \"{}\"",
                        defined.data_type, name.name
                    ),
                    "the distribution's key is of another type, and rows would be placed by other bytes",
                ));
            }
        }
    }
    check_columns(scope, &table, name, *distribution, key)?;
    for constraint in &table.constraints {
        check_constraint(scope, constraint, name, *distribution, key)?;
    }
    Ok(())
}

fn check_columns(
    scope: &NameScope<'_>,
    table: &CreateTable,
    name: &QualifiedName,
    distribution: DistributionId,
    key: &[Box<str>],
) -> Result<(), Fault> {
    for column in &table.columns {
        let own = [folded(&column.name).into_owned()];
        for option in &column.options {
            match &option.option {
                ColumnOption::PrimaryKey(_) => check_unique(name, key, &own, "a primary key")?,
                ColumnOption::Unique(_) => check_unique(name, key, &own, "a unique constraint")?,
                ColumnOption::ForeignKey(foreign) => check_foreign(scope, foreign, &own, name, distribution, key)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn check_constraint(
    scope: &NameScope<'_>,
    constraint: &TableConstraint,
    name: &QualifiedName,
    distribution: DistributionId,
    key: &[Box<str>],
) -> Result<(), Fault> {
    match constraint {
        TableConstraint::PrimaryKey(of) => check_unique(name, key, &index_columns(&of.columns), "a primary key"),
        TableConstraint::Unique(of) => check_unique(name, key, &index_columns(&of.columns), "a unique constraint"),
        TableConstraint::ForeignKey(foreign) => {
            let columns: Vec<String> = foreign.columns.iter().map(ident).collect();
            check_foreign(scope, foreign, &columns, name, distribution, key)
        }
        TableConstraint::Check(_) => Ok(()),
        TableConstraint::Exclude(_) => Err(refuse(
            format!("an exclusion constraint on sharded table \"{}\"", name.name),
            "each shard would check its own rows only",
        )),
        // By an index that exists: it was checked when it was made.
        TableConstraint::PrimaryKeyUsingIndex(_) | TableConstraint::UniqueUsingIndex(_) => Ok(()),
        TableConstraint::Index(_) | TableConstraint::FulltextOrSpatial(_) => {
            Err(refuse("this form of constraint", "the router does not know it"))
        }
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

fn check_foreign(
    scope: &NameScope<'_>,
    foreign: &ForeignKeyConstraint,
    columns: &[String],
    name: &QualifiedName,
    distribution: DistributionId,
    key: &[Box<str>],
) -> Result<(), Fault> {
    let Some((schema, target)) = parts(&foreign.foreign_table) else {
        return Err(refuse("this form of foreign key", "the name of its table is not understood"));
    };
    let refused = |detail: &str| {
        Err(refuse(
            format!("a foreign key from sharded table \"{}\" to table \"{target}\"", name.name),
            detail.to_owned(),
        ))
    };
    let same_table = *target == *name.name && schema.as_deref().is_none_or(|schema| *schema == *name.schema);
    let target_key: Vec<Box<str>> = match resolve(scope, schema.as_deref(), &target) {
        Relation::Reference { .. } => return Ok(()),
        Relation::Sharded { distribution: other, key, .. } if other == distribution => key,
        Relation::Sharded { .. } => return refused("the two are not co-located"),
        _ if same_table => key.to_vec(),
        _ => return refused("that table is on the home shard alone"),
    };
    let referred: Vec<String> = match foreign.referred_columns.is_empty() {
        false => foreign.referred_columns.iter().map(ident).collect(),
        // The primary key of the other table, in its order.
        true => {
            let other = scope
                .catalog
                .table(&QualifiedName::new(schema.clone().unwrap_or_else(|| name.schema.to_string()), target.clone()));
            match other.and_then(|table| Some((table, table.unique_keys.first()?))) {
                Some((table, unique)) => {
                    unique.iter().filter_map(|i| Some(table.columns.get(*i)?.name.to_string())).collect()
                }
                None => return refused("name the columns that it refers to"),
            }
        }
    };
    let at = |list: &[String], column: &str| list.iter().position(|of| of == column);
    let tied = key.iter().zip(&target_key).all(|(own, other)| {
        let place = at(columns, own);
        place.is_some() && place == at(&referred, other)
    });
    if tied { Ok(()) } else { refused("it does not tie the sharding keys of the two to each other") }
}

/// ALTER TABLE of a distributed table; the words stand behind its name.
pub(crate) fn check_alter(
    scope: &NameScope<'_>,
    text: &str,
    words: &mut Words<'_>,
    relation: &Relation,
) -> Result<(), Fault> {
    let (name, key): (&QualifiedName, &[Box<str>]) = match relation {
        Relation::Sharded { name, key, .. } => (name, key),
        Relation::Reference { name, .. } => (name, &[]),
        _ => return Ok(()),
    };
    if words.is(0, "rename") && (words.is(1, "to") || words.is(1, "as")) || words.is(0, "set") && words.is(1, "schema")
    {
        return Err(refuse(
            format!("renaming distributed table \"{}\"", name.name),
            "the configuration knows it by its name",
        ));
    }
    check_key_columns(words, name, key)?;
    check_sequence_fill(words, name)?;
    check_detach(scope, words, name)?;
    let Relation::Sharded { distribution, .. } = relation else { return check_defaults(scope, text, words, name) };
    let adds = words.has("unique") || words.has("primary") || words.has("references") || words.has("exclude");
    if !adds {
        return Ok(());
    }
    let Some(Statement::AlterTable(alter)) = parse(text) else { return check_words(text, name) };
    for operation in &alter.operations {
        match operation {
            sqlparser::ast::AlterTableOperation::AddConstraint { constraint, .. } => {
                check_constraint(scope, constraint, name, *distribution, key)?;
            }
            sqlparser::ast::AlterTableOperation::AddColumn { column_def, .. } => {
                let own = [folded(&column_def.name).into_owned()];
                for option in &column_def.options {
                    match &option.option {
                        ColumnOption::PrimaryKey(_) => check_unique(name, key, &own, "a primary key")?,
                        ColumnOption::Unique(_) => check_unique(name, key, &own, "a unique constraint")?,
                        ColumnOption::ForeignKey(foreign) => {
                            check_foreign(scope, foreign, &own, name, *distribution, key)?;
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The rows that there are would get values of each shard's own sequence.
fn check_sequence_fill(words: &Words<'_>, name: &QualifiedName) -> Result<(), Fault> {
    const SERIAL: [&str; 6] = ["serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"];
    let adds_column = (0..words.len()).any(|at| words.is(at, "add") && !words.is(at + 1, "generated"));
    let fills = SERIAL.iter().any(|ty| words.has(ty))
        || words.has("nextval") && (adds_column || words.has("using"))
        || words.has("identity") && adds_column;
    match fills {
        false => Ok(()),
        true => Err(Fault::unsupported(
            format!("filling a column of distributed table \"{}\" from a sequence is not supported", name.name),
            "the rows that there are would get values of each shard's own sequence, and one value could be there twice",
            "Add the column without a default, give the rows their values, and then ALTER COLUMN ... SET DEFAULT nextval(...).",
        )),
    }
}

/// A new column of a reference table gets the same values on every shard.
fn check_defaults(scope: &NameScope<'_>, text: &str, words: &Words<'_>, name: &QualifiedName) -> Result<(), Fault> {
    let fills = words.has("add") && words.has("default") || words.has("using");
    if !fills {
        return Ok(());
    }
    let known = match parse(text) {
        Some(Statement::AlterTable(alter)) => alter.operations.iter().all(|operation| match operation {
            sqlparser::ast::AlterTableOperation::AddColumn { column_def, .. } => {
                column_def.options.iter().all(|option| match &option.option {
                    ColumnOption::Default(expr) => is_same_everywhere(scope, &expr.to_string()),
                    _ => true,
                })
            }
            _ => !words.has("using"),
        }),
        _ => false,
    };
    match known {
        true => Ok(()),
        false => Err(refuse(
            format!("filling a column of reference table \"{}\" by this expression", name.name),
            "each shard would evaluate it, perhaps to a value of its own",
        )),
    }
}

/// A partition that leaves its table would count as a table of the home shard, with rows on all.
fn check_detach(scope: &NameScope<'_>, words: &Words<'_>, name: &QualifiedName) -> Result<(), Fault> {
    let Some(at) = (0..words.len()).find(|at| words.is(*at, "detach")) else { return Ok(()) };
    let ruled = words.name_at(at + 2).is_some_and(|partition| {
        scope.topology.tables.keys().any(|known| *known.name == *partition && known.schema == name.schema)
    });
    match ruled {
        true => Ok(()),
        false => Err(refuse(
            format!("detaching a partition of distributed table \"{}\"", name.name),
            "the partition would no longer be known as distributed, while every shard has rows of it",
        )),
    }
}

/// The sharding key's columns stay as they are.
fn check_key_columns(words: &Words<'_>, name: &QualifiedName, key: &[Box<str>]) -> Result<(), Fault> {
    for at in 0..words.len() {
        let column = |ahead: usize| words.name_at(ahead).filter(|of| key.iter().any(|key| **key == **of));
        let start = ["drop", "rename", "alter"].iter().any(|verb| words.is(at, verb));
        if start {
            let mut next = at + 1;
            if words.is(next, "column") {
                next += 1;
            }
            if words.is(next, "if") {
                next += 2;
            }
            if let Some(column) = column(next) {
                let typed = words.is(next + 1, "type") || words.is(next + 1, "set") && words.is(next + 2, "data");
                if !words.is(at, "alter") || typed {
                    return Err(refuse(
                        format!("changing sharding-key column \"{column}\" of table \"{}\"", name.name),
                        "rows are placed by it",
                    ));
                }
            }
        }
    }
    Ok(())
}

/// For a text that the parser does not know: the words of constraints that would have to be checked.
fn check_words(text: &str, name: &QualifiedName) -> Result<(), Fault> {
    let found = Words::new(text, true)
        .and_then(|words| ["unique", "primary", "references", "exclude"].into_iter().find(|word| words.has(word)));
    match found {
        None => Ok(()),
        Some(word) => Err(refuse(
            format!("a constraint with {} on sharded table \"{}\" in this form", word.to_uppercase(), name.name),
            "the router cannot read the statement, and so cannot tell that the constraint holds across shards",
        )),
    }
}

fn index_columns(columns: &[IndexColumn]) -> Vec<String> {
    columns
        .iter()
        .filter_map(|column| match &column.column.expr {
            Expr::Identifier(name) => Some(folded(name).into_owned()),
            _ => None,
        })
        .collect()
}

fn ident(name: &Ident) -> String {
    folded(name).into_owned()
}

fn refuse(what: impl std::fmt::Display, detail: impl Into<String>) -> Fault {
    Fault::unsupported(
        format!("{what} is not supported"),
        detail.into(),
        "Unique constraints must contain the sharding key; foreign keys must tie co-located tables by it, or refer to reference tables.",
    )
}
