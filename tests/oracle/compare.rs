//! Whether two replies are the same answer.

use std::collections::BTreeMap;

use crate::corpus::Order;
use crate::support::raw::{Answer, Reply, cell_text};

/// The first difference between what the oracle and the router said, in words; `None`: the same answer.
pub fn difference(oracle: &Reply, router: &Reply, order: &Order, superset: Option<&Reply>) -> Option<String> {
    if oracle.code() != router.code() {
        return Some(format!("SQLSTATE {:?} instead of {:?}", router.code(), oracle.code()));
    }
    if oracle.status != router.status {
        let (theirs, ours) = (char::from(oracle.status), char::from(router.status));
        return Some(format!("transaction status {ours:?} instead of {theirs:?}"));
    }
    let codes = |reply: &Reply| -> Vec<String> { reply.notices.iter().map(|n| n.code().to_owned()).collect() };
    if codes(oracle) != codes(router) {
        return Some(format!("notices {:?} instead of {:?}", codes(router), codes(oracle)));
    }
    // What a failing statement sent before its error depends on the plan.
    let (theirs, ours) = (finished(oracle), finished(router));
    if theirs.len() != ours.len() {
        return Some(format!("{} answers instead of {}", ours.len(), theirs.len()));
    }
    theirs.iter().zip(&ours).find_map(|(theirs, ours)| answer_difference(theirs, ours, order, superset))
}

fn finished(reply: &Reply) -> Vec<&Answer> {
    reply.answers.iter().filter(|a| a.tag.is_some()).collect()
}

fn answer_difference(oracle: &Answer, router: &Answer, order: &Order, superset: Option<&Reply>) -> Option<String> {
    if oracle.columns != router.columns {
        return Some(format!("columns {:?} instead of {:?}", router.columns, oracle.columns));
    }
    if oracle.tag != router.tag {
        return Some(format!("tag {:?} instead of {:?}", router.tag, oracle.tag));
    }
    if let Some(difference) = copy_difference(oracle, router, order) {
        return Some(difference);
    }
    if let (Order::SubsetOf(_), Some(superset)) = (order, superset) {
        let mut left = counts(superset.answers.iter().flat_map(|a| &a.rows));
        let stranger = router.rows.iter().find(|row| {
            let count = left.entry(row).or_default();
            *count -= 1;
            *count < 0
        });
        return match stranger {
            Some(row) => Some(format!("row {} is not possible", show(row))),
            None if router.rows.len() != oracle.rows.len() => {
                Some(format!("{} rows instead of {}", router.rows.len(), oracle.rows.len()))
            }
            None => None,
        };
    }
    if *order == Order::Exact {
        let at = (0..oracle.rows.len().max(router.rows.len())).find(|i| oracle.rows.get(*i) != router.rows.get(*i))?;
        let row = |answer: &Answer| answer.rows.get(at).map_or_else(|| "nothing".to_owned(), show);
        return Some(format!("row {} is {} instead of {}", at + 1, row(router), row(oracle)));
    }
    let mut balance = counts(oracle.rows.iter());
    for row in &router.rows {
        *balance.entry(row).or_default() -= 1;
    }
    let (row, count) = balance.into_iter().find(|(_, count)| *count != 0)?;
    Some(if count > 0 {
        format!("row {} is missing {count} times", show(row))
    } else {
        format!("row {} is there {} times too often", show(row), -count)
    })
}

type Row = Vec<Option<Vec<u8>>>;

fn counts<'a>(rows: impl Iterator<Item = &'a Row>) -> BTreeMap<&'a Row, i64> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(row).or_default() += 1;
    }
    counts
}

fn show(row: &Row) -> String {
    let text = row.iter().map(|c| cell_text(c.as_deref())).collect::<Vec<_>>().join("|");
    text.chars().take(300).collect()
}

fn copy_difference(oracle: &Answer, router: &Answer, order: &Order) -> Option<String> {
    if oracle.copied == router.copied {
        return None;
    }
    let (Some(theirs), Some(ours)) = (&oracle.copied, &router.copied) else {
        return Some("COPY data on one side only".to_owned());
    };
    let (mut theirs, mut ours) = (copy_rows(theirs), copy_rows(ours));
    if *order != Order::Exact {
        theirs.sort();
        ours.sort();
    }
    let at = (0..theirs.len().max(ours.len())).find(|i| theirs.get(*i) != ours.get(*i))?;
    let row = |rows: &[&[u8]]| rows.get(at).map_or_else(|| "nothing".to_owned(), |r| cell_text(Some(r)));
    Some(format!("copied row {} is {} instead of {}", at + 1, row(&ours), row(&theirs)))
}

/// Lines of text and CSV (the corpus copies no line breaks inside of values); tuples of binary.
fn copy_rows(data: &[u8]) -> Vec<&[u8]> {
    const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
    let Some(mut rest) = data.strip_prefix(SIGNATURE) else {
        return data.split_inclusive(|b| *b == b'\n').collect();
    };
    let mut rows = Vec::new();
    // Flags and the length of the extension area, which Postgres leaves empty.
    rest = &rest[8..];
    while let Some((fields, tuple)) = rest.split_first_chunk::<2>() {
        let mut length = 2;
        for _ in 0..i16::from_be_bytes(*fields).max(0) {
            let size = i32::from_be_bytes(tuple[length - 2..length + 2].try_into().unwrap());
            length += 4 + usize::try_from(size).unwrap_or(0);
        }
        rows.push(&rest[..length]);
        rest = &rest[length..];
    }
    rows
}
