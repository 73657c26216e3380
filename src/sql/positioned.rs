//! UPDATE and DELETE ... WHERE CURRENT OF cursor: the row is on the shard that has the cursor.

use std::ops::Range;

use crate::fault::Fault;
use crate::sql::Access;
use crate::sql::analyze::{Analyzer, Verdict, analyze};
use crate::sql::outcome::{Many, Outcome, Routed, Why};
use crate::sql::template::{Scan, scan};
use crate::sql::utility::cursor::Cursor;

/// The cursor that the statement names, and where `CURRENT OF cursor` stands.
pub(crate) fn position(text: &str) -> Option<(Box<str>, Range<usize>)> {
    let mut cursor = Cursor::new(text);
    while !cursor.at_end() {
        if cursor.is_punct(b'(') {
            cursor.skip_group().then_some(())?;
            continue;
        }
        let behind_where = cursor.accept("where");
        let start = cursor.position();
        if behind_where && cursor.accept_all(&["current", "of"]) {
            let name = cursor.name()?;
            return Some((name, start..cursor.last_end()));
        }
        if !behind_where {
            cursor.take()?;
        }
    }
    None
}

impl Analyzer<'_> {
    /// What may be changed so is what the same statement may change in every row.
    pub(crate) fn positioned(&self) -> Verdict {
        let Some((_, place)) = position(self.text) else { return self.not_understood("WHERE CURRENT OF") };
        let (Some(before), Some(after)) = (self.text.get(..place.start), self.text.get(place.end..)) else {
            return self.not_understood("WHERE CURRENT OF");
        };
        let every = format!("{before}true{after}");
        let mut scanned = Scan::default();
        if scan(&every, self.scope.standard_strings, &mut scanned).is_err() {
            return self.not_understood("WHERE CURRENT OF");
        }
        let analysis = analyze(&every, &scanned, &self.scope);
        let reads_time = analysis.reads_time.as_deref().cloned().unwrap_or_default();
        let outcome = match analysis.outcome {
            // Values of sequences are asked of the shard itself, if it knows them.
            Outcome::Draw(draw) => draw.as_written.clone(),
            outcome => outcome,
        };
        match outcome {
            // Where each shard could do it for its own rows, the one that has the cursor can.
            Outcome::Routed(routed)
                if routed.also.is_empty()
                    && routed.key_change.is_none()
                    && matches!(routed.many, Ok(Many::Scatter(_))) =>
            {
                Verdict { reads_time, ..Verdict::new(Outcome::Home(Why::Cursor), Access::Write) }
            }
            Outcome::Home(_) => {
                Verdict { pin: analysis.pin, reads_time, ..Verdict::new(Outcome::Home(Why::Cursor), Access::Write) }
            }
            // The table is nowhere else: see [`of_another_shard`].
            Outcome::Shard(shard, why) => {
                Verdict { pin: analysis.pin, reads_time, ..Verdict::new(Outcome::Shard(shard, why), Access::Write) }
            }
            Outcome::Routed(Routed { many: Err(fault), .. }) => Verdict::refuse(fault),
            Outcome::Refuse(fault) => Verdict::refuse(fault),
            Outcome::Routed(_)
            | Outcome::Any(_)
            | Outcome::Broadcast(_)
            | Outcome::Parts(..)
            | Outcome::Each(..)
            | Outcome::CreateAs(_)
            | Outcome::Stamp(_)
            | Outcome::CopyIn(_)
            | Outcome::Insert(_)
            | Outcome::Deliver(_)
            | Outcome::Supply(_)
            | Outcome::Draw(_) => Verdict::refuse(Fault::unsupported(
                "WHERE CURRENT OF is not supported here",
                "the statement changes or reads rows beside those of the shard that has the cursor",
                "Name the row by its primary key.",
            )),
        }
    }
}

/// The refusal where the cursor's rows have been put together from several shards.
pub(crate) fn of_many_shards(cursor: &str) -> Fault {
    Fault::unsupported(
        "WHERE CURRENT OF a cursor over several shards is not supported",
        format!("the rows of cursor \"{cursor}\" are copies, on another connection than the tables"),
        "Name the row by its primary key, or give the sharding key one value in the cursor's query.",
    )
}

/// The refusal where the table is on another shard than the cursor, which therefore has none of its rows.
pub(crate) fn of_another_shard(cursor: &str) -> Fault {
    Fault::unsupported(
        "WHERE CURRENT OF a cursor on another shard is not supported",
        format!("cursor \"{cursor}\" is not on the shard of the table"),
        "Name the row by its primary key.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_is_found_outside_of_parentheses() {
        let found =
            |text: &str| position(text).map(|(name, place)| (name, text.get(place).unwrap_or_default().to_owned()));
        let at = |name: &str, text: &str| Some((name.into(), text.to_owned()));
        assert_eq!(found("UPDATE t SET a = 1 WHERE CURRENT OF c"), at("c", "CURRENT OF c"));
        assert_eq!(found("delete from t where current of \"C d\" RETURNING a"), at("C d", "current of \"C d\""));
        for text in [
            "UPDATE t SET a = (SELECT b FROM u WHERE current) WHERE a = 1",
            "DELETE FROM t WHERE current = 1",
            "UPDATE t SET a = 'WHERE CURRENT OF c'",
            "DELETE FROM t WHERE a IN (SELECT 1 WHERE CURRENT OF c)",
            "DELETE FROM t",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
