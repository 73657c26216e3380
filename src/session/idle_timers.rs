//! `idle_in_transaction_session_timeout` of a transaction over several servers. Each of them is idle while another one works, or while
//! the router does: there the router counts the time, from the client's last answer to its next message, and the servers do not.

use std::time::Duration;

use crate::session::Session;
use crate::session::held::{Finishing, Held};
use crate::wire::reply::Status;

const SETTING: &str = "idle_in_transaction_session_timeout";
/// What ends with the transaction, on a server that is not to count.
pub(super) const UNTIMED: &str = "SET LOCAL idle_in_transaction_session_timeout TO 0";

impl Held {
    /// Whether it is in the client's transaction, or in one beside it that is as long.
    fn is_in_transaction(&self) -> bool {
        self.joined || matches!(self.finishing, Finishing::Running | Finishing::Suspended | Finishing::Cursor { .. })
    }
}

impl Session {
    /// The client's limit; `None`: there is none.
    pub(super) fn idle_in_transaction(&self) -> Option<Duration> {
        let effective = self.tx.with_locals(&self.settings);
        milliseconds(&self.value_in(&effective, SETTING)?).filter(|limit| !limit.is_zero())
    }

    /// How long the router waits for the client in its block; `None`: the only server counts itself, or nobody does.
    pub(super) fn idle_limit(&self) -> Option<Duration> {
        if !self.tx.in_block() || !(self.is_spread(1) || self.held.iter().any(|held| held.untimed)) {
            return None;
        }
        self.idle_in_transaction()
    }

    /// Whether more servers than so many are in the transaction.
    fn is_spread(&self, most: usize) -> bool {
        self.held.len() > most && self.held.iter().filter(|held| held.is_in_transaction()).count() > most
    }

    /// What one more that joins is told behind its BEGIN.
    pub(super) fn joins_untimed(&self) -> bool {
        self.is_spread(0) && self.idle_in_transaction().is_some()
    }

    /// Another one has joined: those that were there do not count any more.
    pub(super) async fn stop_idle_timers(&mut self) {
        if !self.is_spread(1) || self.idle_in_transaction().is_none() {
            return;
        }
        // A finishing statement's transaction has begun so.
        let counts =
            |held: &&mut Held| held.is_in_transaction() && !held.untimed && held.finishing != Finishing::Running;
        for held in self.held.iter_mut().filter(counts) {
            held.untimed = true;
            // One that is not reached, or that has failed, is met by whoever asks it next.
            if held.server.broken || held.server.status == Status::Failed {
                continue;
            }
            match held.server.inflight.is_empty() {
                true => drop(held.server.query(UNTIMED).await),
                // What it is to do first is about to be sent.
                false => held.server.ask(UNTIMED),
            }
        }
    }

    /// A setting was changed, or has changed back: as the client's own it would count on every server.
    pub(super) async fn follow_idle_timers(&mut self) {
        self.held.iter_mut().for_each(|held| held.untimed = false);
        self.stop_idle_timers().await;
    }
}

/// A value of the setting, whose unit is a millisecond where it has none.
fn milliseconds(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "us" => 0.001,
        "" | "ms" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let millis: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(((millis * factor).round() / 1_000.0).max(0.0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read_as_postgres_reads_it() {
        for (text, millis) in [
            ("600", Some(600)),
            ("600ms", Some(600)),
            (" 1.5 s ", Some(1_500)),
            ("2min", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("1d", Some(86_400_000)),
            ("400us", Some(0)),
            ("0", Some(0)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(milliseconds(text), millis.map(Duration::from_millis), "{text}");
        }
    }
}
