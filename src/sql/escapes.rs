//! Statements with backslashes in plain strings, where `standard_conforming_strings` is off: a text that says the same without the
//! setting is analysed in their place. What is sent is the client's own text, to servers with the client's settings, or is made of the
//! other one, whose strings every server reads alike.

use crate::fault::Fault;
use crate::sql::NameScope;
use crate::sql::analyze::{Analysis, analyze_in};
use crate::sql::lexer::with_escapes;
use crate::sql::outcome::{InsertRows, Many, Outcome, Routed};
use crate::sql::template::{Scan, scan};
use crate::sql::utility::StatementKind;

/// The analysis of such a text; `None`: it is none, or has to be cut by its places.
pub(crate) fn analyze(text: &str, scope: &NameScope<'_>) -> Option<Analysis> {
    if scope.standard_strings || memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return None;
    }
    let other = with_escapes(text)?;
    let mut scanned = Scan::default();
    scan(&other, true, &mut scanned).ok().filter(|()| scanned.next_statement.is_none())?;
    // The literals of the client's text have other places: those of this one are part of the analysis.
    let scanned = Scan { fixed: true, ..scanned };
    let analysis = analyze_in(&other, &scanned, &NameScope { standard_strings: true, ..*scope });
    if !matches!(
        analysis.kind,
        StatementKind::Query
            | StatementKind::Insert
            | StatementKind::Update
            | StatementKind::Delete
            | StatementKind::Prepare(_)
    ) {
        return None;
    }
    let outcome = match analysis.outcome {
        Outcome::Routed(Routed { key_change: Some(_), .. })
        | Outcome::Parts(..)
        | Outcome::Each(..)
        | Outcome::CopyIn(_)
        | Outcome::Stamp(_)
        | Outcome::CreateAs(_)
        | Outcome::Draw(_)
        | Outcome::Deliver(_)
        | Outcome::Supply(_) => return None,
        Outcome::Routed(routed) => {
            let many = match routed.many {
                Ok(Many::Deliver(_) | Many::Supply(_) | Many::Claim(_) | Many::Locked(_) | Many::Fill(_)) => {
                    Err(not_cut())
                }
                many @ (Ok(Many::Scatter(_) | Many::Finish(_)) | Err(_)) => many,
            };
            Outcome::Routed(Routed { many, found_by: Vec::new(), ..routed })
        }
        Outcome::Insert(rows) => Outcome::Insert(InsertRows { many: Err(not_cut()), uncertain: None, ..rows }),
        outcome @ (Outcome::Refuse(_)
        | Outcome::Home(_)
        | Outcome::Shard(..)
        | Outcome::Any(_)
        | Outcome::Broadcast(_)) => outcome,
    };
    Some(Analysis { outcome, ..analysis })
}

fn not_cut() -> Fault {
    Fault::unsupported(
        "statement is not supported across shards",
        "its rows go to several shards one by one, and it has backslashes in plain strings under standard_conforming_strings = off",
        "Turn standard_conforming_strings on, or write such strings as E'...'.",
    )
}
