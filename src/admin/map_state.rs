//! How sure the shard map is: where it comes from, which epoch it has, and when that was last confirmed.

use super::rows::{LocalColumn, LocalRows};
use super::{What, text};
use crate::control::map::MapState;

/// The columns of SHOW MAP before those that are told here.
const ENTRY: usize = 6;

/// One cell for each column behind those of an entry; without a state the map stands in the file.
pub(super) fn cells(state: Option<&MapState>) -> Vec<Option<String>> {
    let Some(state) = state else {
        let told = [text("file"), None, None, None, None, None, None, text("0.000"), text(0), None];
        return told.to_vec();
    };
    let status = state.status();
    let said = |what: &str| Some(what.to_owned()).filter(|what| !what.is_empty());
    vec![
        said(status.source),
        said(&status.place),
        status.epoch.map(|epoch| epoch.to_string()),
        status.revision.map(|revision| revision.to_string()),
        said(&status.changed_at),
        said(&status.changed_by),
        said(&status.reason),
        Some(format!("{:.3}", state.stale().as_secs_f64())),
        text(status.rejected),
        status.problem.map(Into::into),
    ]
}

/// Without the entries, in one row.
pub fn alone(state: Option<&MapState>) -> LocalRows {
    let fields = &What::Map.show().fields[ENTRY..];
    let columns = fields.iter().map(|field| LocalColumn { name: field.name.into(), kind: field.kind });
    LocalRows { columns: columns.collect(), rows: vec![cells(state)], tag: "SHOW".to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn there_is_a_cell_for_each_column() {
        let state = MapState::new("etcd", "http://a:2379");
        state.update(|status| (status.epoch, status.problem) = (Some(7), Some("slow".into())));
        for state in [None, Some(&*state)] {
            let rows = alone(state);
            assert_eq!(rows.rows[0].len(), rows.columns.len());
            let names: Vec<&str> = rows.columns.iter().map(|column| &*column.name).collect();
            assert_eq!((names[0], names[2], names[7], names[9]), ("source", "epoch", "stale_seconds", "problem"));
        }
        let told = cells(Some(&state));
        assert_eq!(
            (told[0].as_deref(), told[2].as_deref(), told[9].as_deref()),
            (Some("etcd"), Some("7"), Some("slow"))
        );
        assert_eq!(cells(None)[7].as_deref(), Some("0.000"));
    }
}
