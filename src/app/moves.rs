//! A map that stands in the file, read again: whether it would look for rows elsewhere than they are. (One in etcd is compared where it is
//! changed, by `pgloom topology`.)

use crate::app::live::Change;
use crate::backend::cluster::Database;
use crate::config::Settings;
use crate::control::rows::occupied;
use crate::topology::Moved;
use crate::topology::diff::differences;

/// True: some tables are placed elsewhere that have no rows, and must not have any when that is in force.
///
/// # Errors
/// Why the new map is not to be in force.
pub(super) async fn check(settings: &Settings, changes: &[Change]) -> Result<bool, Vec<String>> {
    let mut relies_on_none = false;
    let mut wrong = Vec::new();
    for change in changes {
        let Change::Another(before, next) = change else { continue };
        let rows = match before.topology_of(next).moved_since(&before.cluster.load().topology) {
            Moved::Tables(tables) if tables.is_empty() => continue,
            Moved::Tables(tables) => occupied(before, &tables).await,
            Moved::Everything => {
                vec!["rows belong elsewhere, also those of tables that the map does not name".to_owned()]
            }
        };
        if rows.is_empty() {
            relies_on_none = true;
            continue;
        }
        let mut told = moves(before, next);
        told.iter()
            .for_each(|moves| tracing::warn!(database = %before.name, allowed = settings.allow_moves, "{moves}"));
        told.extend(rows);
        wrong.extend(told.into_iter().map(|what| format!("database {}: {what}", before.name)));
    }
    if wrong.is_empty() || settings.allow_moves {
        return Ok(relies_on_none && !settings.allow_moves);
    }
    wrong.push(
        "a map does not move rows: move them, and say allow_moves = true in [topology] where they are where the new map looks for them"
            .to_owned(),
    );
    Err(wrong)
}

fn moves(before: &Database, next: &Database) -> Vec<String> {
    let all = differences(&before.configured, &next.configured);
    all.iter().filter(|difference| difference.moves.is_some()).map(ToString::to_string).collect()
}
