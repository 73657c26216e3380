//! Pulls of one call that bring the same rows fill one input.
//!
//! A subquery that is written twice (in the select list and in GROUP BY, DISTINCT or ORDER BY) is one expression to Postgres only where
//! both name the same tables. Which pulls are the same depends on the call: their literals are holes.

use std::collections::HashMap;

use crate::plan::finish::{KeysFrom, Pull};
use crate::sql::pieces::{Piece, Pieces};

/// Leaves one pull of those that bring the same. Returns the names of the others, each with that of the one that stands for it.
pub(crate) fn share(pulls: &mut Vec<Pull>) -> HashMap<String, String> {
    let mut names: HashMap<String, String> = HashMap::new();
    // One that two pulls wait for can make these the same.
    while let Some((kept, gone)) = find_same(pulls) {
        let pull = pulls.remove(gone);
        let name = pulls[kept].name.clone();
        names.values_mut().filter(|of| **of == pull.name).for_each(|of| of.clone_from(&name));
        names.insert(pull.name, name);
        for keys in pulls.iter_mut().flat_map(|pull| &mut pull.keys) {
            if let KeysFrom::Input { pull, .. } = &mut keys.from {
                *pull = match *pull {
                    at if at == gone => kept,
                    at if at > gone => at - 1,
                    at => at,
                };
            }
        }
    }
    names
}

/// The text with those names in the place of the others.
pub(crate) fn rename(sql: &Pieces, names: &HashMap<String, String>) -> Pieces {
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => Piece::Text(renamed(text, names).into()),
        Piece::Slot(_) | Piece::Parameter(_) | Piece::Moment => piece.clone(),
    };
    Pieces(sql.0.iter().map(piece).collect())
}

fn renamed(text: &str, names: &HashMap<String, String>) -> String {
    const SCHEMA: &str = "pg_temp.";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(SCHEMA) {
        let (before, behind) = rest.split_at(at + SCHEMA.len());
        out.push_str(before);
        let end = behind.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(behind.len());
        let (name, behind) = behind.split_at(end);
        out.push_str(names.get(name).map_or(name, |name| name));
        rest = behind;
    }
    out + rest
}

fn find_same(pulls: &[Pull]) -> Option<(usize, usize)> {
    let pairs = (1..pulls.len()).flat_map(|second| (0..second).map(move |first| (first, second)));
    pairs.into_iter().find(|(first, second)| is_same(&pulls[*first], &pulls[*second]))
}

fn is_same(one: &Pull, other: &Pull) -> bool {
    // What changes data does so each time.
    !one.writes && *one == Pull { name: one.name.clone(), ..other.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardSet;
    use crate::plan::finish::{InputColumn, Keys, PullFrom};

    fn pull(name: &str, sql: &str, keys_from: Option<usize>) -> Pull {
        let keys = |pull| Keys {
            from: KeysFrom::Input { pull, column: "id".into() },
            column: "id".into(),
            array: 1007,
            routes: None,
        };
        Pull {
            name: name.to_owned(),
            label: "t".into(),
            table: None,
            columns: vec![InputColumn { name: "id".into(), type_oid: 23, typmod: -1 }],
            primary_key: Vec::new(),
            binary: Some(true),
            from: PullFrom::Shards(ShardSet::new()),
            sql: sql.to_owned(),
            parameters: Vec::new(),
            create: "SELECT id FROM t".to_owned(),
            typed: false,
            whole: false,
            filtered: true,
            keys: keys_from.map(keys).into_iter().collect(),
            stage: 0,
            writes: false,
            sent: Vec::new(),
            parts: Vec::new(),
            order: Vec::new(),
        }
    }

    fn names(pulls: &[Pull]) -> Vec<&str> {
        pulls.iter().map(|pull| &*pull.name).collect()
    }

    #[test]
    fn what_brings_the_same_is_pulled_once() {
        let mut pulls = vec![
            pull("a", "WHERE n = 1", None),
            pull("a_2", "WHERE n = 2", None),
            pull("a_3", "WHERE n = 1", None),
            pull("b", "", Some(0)),
            pull("b_2", "", Some(1)),
            pull("b_3", "", Some(2)),
        ];
        let gone = share(&mut pulls);
        assert_eq!(names(&pulls), ["a", "a_2", "b", "b_2"]);
        let sql = Pieces(vec![
            Piece::Text("SELECT pg_temp.a_3, pg_temp.a_2, 'pg_temp.'".into()),
            Piece::Slot(1),
            Piece::Text(" FROM pg_temp.b_3 b_3, pg_temp.b_2".into()),
        ]);
        let expected = Pieces(vec![
            Piece::Text("SELECT pg_temp.a, pg_temp.a_2, 'pg_temp.'".into()),
            Piece::Slot(1),
            Piece::Text(" FROM pg_temp.b b_3, pg_temp.b_2".into()),
        ]);
        assert_eq!(rename(&sql, &gone), expected);
    }

    #[test]
    fn what_changes_data_is_asked_each_time() {
        let writes = |name| Pull { writes: true, ..pull(name, "", None) };
        let mut pulls = vec![writes("a"), writes("a_2")];
        assert!(share(&mut pulls).is_empty());
        assert_eq!(names(&pulls), ["a", "a_2"]);
    }
}
