//! Why a statement runs on several shards and what would make it run on one, for EXPLAIN (ROUTE) and `pgloom explain`.

use crate::ids::ShardSet;
use crate::plan::explain::shard_name;
use crate::plan::{Inputs, Plan, PlanKind, View, route};
use crate::sql::NameScope;
use crate::sql::advice::{Note, examine};
use crate::sql::template::Scan;

/// The reasons; none for a statement that runs on one shard or must run on all. `scan` is the scan of the text of `inputs`.
pub fn advice(plan: &Plan, inputs: &Inputs<'_>, scan: &Scan, scope: &NameScope<'_>, view: &View<'_>) -> Vec<Note> {
    match &plan.kind {
        PlanKind::Scatter { .. }
        | PlanKind::Claim(_)
        | PlanKind::Locked(_)
        | PlanKind::Finish(_)
        | PlanKind::Refuse(_) => {}
        PlanKind::Explain(explain) => return advice(&explain.plan, inputs, scan, scope, view),
        PlanKind::Single(_)
        | PlanKind::Any
        | PlanKind::Broadcast(_)
        | PlanKind::Each(_)
        | PlanKind::CreateAs(_)
        | PlanKind::Stamp(_)
        | PlanKind::Split { .. }
        | PlanKind::Deliver(_)
        | PlanKind::Supply(_)
        | PlanKind::CopyIn(_)
        | PlanKind::Lookup(_)
        | PlanKind::Draw(_) => return Vec::new(),
    }
    let examination = examine(inputs.text, scan, scope);
    let mut notes: Vec<Note> = Vec::new();
    let mut settled: Vec<(&str, ShardSet)> = Vec::new();
    for table in &examination.tables {
        let name = &table.name;
        let key = &table.group.name.columns;
        let reach = route::reach(&table.group, inputs, view.topology);
        if reach.shards.is_empty() {
            continue;
        }
        if reach.shards.single().is_some() {
            settled.push((name, reach.shards));
            continue;
        }
        if table.tied {
            continue;
        }
        let shards: Vec<&str> = reach.shards.iter().map(|shard| shard_name(shard, view)).collect();
        let found = match &table.join {
            _ if reach.unsure => vec![Note {
                because: format!(
                    "a value that {name}.{key} is compared with cannot be read with certainty as {}",
                    types(table, view)
                ),
                remedy: "write the value in the plain form of the column's type".to_owned(),
            }],
            _ if !table.notes.is_empty() => table.notes.clone(),
            Some(join) if reach.open => vec![join.clone()],
            _ if reach.open => vec![Note {
                because: format!("no condition on {name}.{key}"),
                remedy: format!("give {name}.{key} a value in WHERE{}", or_unique(&table.group.name.table, view)),
            }],
            _ => vec![Note {
                because: format!("the values of {name}.{key} lie on {}", shards.join(", ")),
                remedy: format!("ask for one value of {key} at a time"),
            }],
        };
        notes.extend(found.into_iter().filter(|note| !notes.contains(note)).collect::<Vec<_>>());
    }
    if let [(first, here), others @ ..] = &settled[..]
        && let Some((other, there)) = others.iter().find(|(_, shards)| shards != here)
    {
        let on = |shards: &ShardSet| shards.single().map_or("?", |shard| shard_name(shard, view)).to_owned();
        notes.push(Note {
            because: format!("the key of {first} lies on {}, that of {other} on {}", on(here), on(there)),
            remedy: "ask for rows of one key at a time".to_owned(),
        });
    }
    if let (Some(home), false) = (&examination.home, examination.tables.is_empty()) {
        notes.push(Note {
            because: format!("{home}, lies on {} alone", shard_name(view.topology.home, view)),
            remedy: "make it a reference table, if it changes rarely".to_owned(),
        });
    }
    notes
}

/// Columns by whose values the registry finds the row.
fn or_unique(table: &str, view: &View<'_>) -> String {
    let rules = view.topology.uniques.iter().filter(|rule| *rule.table.name == *table);
    rules
        .map(|rule| format!(", or its unique ({}), by which the registry finds the shard", rule.columns.join(", ")))
        .collect()
}

fn types(table: &crate::sql::advice::Examined, view: &View<'_>) -> String {
    let types = &view.topology.distribution(table.group.distribution).key_types;
    types.iter().map(|of| of.name()).collect::<Vec<_>>().join(", ")
}

/// The reasons as lines below a plan.
pub fn lines(notes: &[Note]) -> Vec<String> {
    notes
        .iter()
        .flat_map(|note| [format!("Not one shard: {}", note.because), format!("  Remedy: {}", note.remedy)])
        .collect()
}
