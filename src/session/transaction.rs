//! PURE. `Transaction`: what the client is in, folded over the shards it touched.

use std::borrow::Cow;
use std::sync::Arc;

use crate::backend::settings::SessionSettings;
use crate::commit::Gid;
use crate::ids::{ShardId, ShardSet};
use crate::sql::Change;
use crate::sql::utility::{Mode, Modes, StatementKind, classify, modes};
use crate::wire::reply::Status;

/// How far the client's transaction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum TxState {
    /// Every statement is its own transaction.
    #[default]
    None,
    /// Opened by us around a multi-statement query, a pipeline or a statement that writes on several shards; ends with it.
    Implicit,
    /// Between the client's BEGIN and its end.
    Block,
    /// A block in which something failed: only its end, or ROLLBACK TO, is taken.
    Failed,
}

/// The decision row of a transaction that has become read only: written when it still could be.
#[derive(Clone, Debug)]
pub struct Decided {
    pub gid: Gid,
    pub anchor: ShardId,
    /// How many savepoints there were: one that is gone back to takes the row with it.
    pub depth: usize,
}

#[derive(Debug, Default)]
pub struct Transaction {
    pub state: TxState,
    /// Modes of BEGIN, repeated on each shard that joins.
    modes: Box<str>,
    /// The shards that have a part of it.
    touched: ShardSet,
    /// A statement has run in it: those shards were not only asked what statements mean.
    has_run: bool,
    savepoints: Vec<Savepoint>,
    /// SET in all its forms, repeated on each shard that joins, in their order among savepoints: so every shard has the same history,
    /// and goes back to the same settings.
    replay: Vec<Replay>,
    /// The shard that it came to first: what ran there alone has read its clock.
    first: Option<ShardId>,
    /// The shard whose clock statements over several shards have read in this transaction.
    pub clock: Option<ShardId>,
    /// The time of the transaction, where it was asked for: a text that every server reads alike.
    pub time: Option<Arc<str>>,
    /// The session's settings when the transaction began: a rollback brings them back.
    settings: Option<Arc<SessionSettings>>,
    /// Around the statements of one simple Query: what the commands that need a block take for one, as in Postgres.
    around_message: bool,
    /// What SET LOCAL has set; the value DEFAULT for what it has reset.
    locals: SessionSettings,
    /// Names that it has made and dropped.
    changes: Vec<Change>,
    /// It has made or dropped something.
    defines: bool,
    /// Its modes are those of the transaction before it.
    follows_in_chain: bool,
    /// It was opened for the statement that is about to run: nothing is before it.
    is_alone: bool,
    /// Whether it reads from replicas; `None` until it has a part on some server.
    pub on_replicas: Option<bool>,
    /// It has read from replicas, and goes on on the primaries: its time is that of none of its connections.
    pub has_moved: bool,
    pub decided: Option<Decided>,
}

/// What the shards have done in it so far. Behind a savepoint that is gone back to, it is undone with all its locks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub wrote: ShardSet,
    pub locked: ShardSet,
    /// Have made a cursor WITH HOLD.
    pub hold: ShardSet,
}

#[derive(Debug)]
struct Savepoint {
    name: Box<str>,
    settings: Arc<SessionSettings>,
    parts: Parts,
    locals: SessionSettings,
    /// Length of `replay` just after the SAVEPOINT.
    replay: usize,
    changes: usize,
}

#[derive(Debug)]
enum Replay {
    Savepoint(Box<str>),
    Statement(Box<str>),
}

impl Transaction {
    pub fn is_open(&self) -> bool {
        self.state != TxState::None
    }

    /// Whether no shard has a part of it: there may be none open.
    pub fn is_untouched(&self) -> bool {
        self.touched.is_empty()
    }

    /// A statement runs in it, if there is one.
    pub fn note_run(&mut self) {
        self.has_run |= self.is_open();
    }

    /// Whether nothing has run in the client's block: its parts on the shards, if there are some, can be begun anew unseen.
    pub fn has_run_nothing(&self) -> bool {
        self.state == TxState::Block && !self.has_run
    }

    /// Its part on the only shard that it had touched, with its first statement, is gone: it is as if it had never been.
    pub fn forget_touched(&mut self) {
        self.touched = ShardSet::new();
        if self.has_moved {
            // It was on the replicas before, and has the time of then.
            return;
        }
        self.has_run = false;
        self.first = None;
        self.on_replicas = None;
        self.clock = None;
        self.time = None;
    }

    /// The same of all its parts, of which its first statement was one that failed.
    pub fn begin_anew(&mut self) {
        self.forget_touched();
        if self.state == TxState::Failed {
            self.state = TxState::Block;
        }
    }

    pub fn in_block(&self) -> bool {
        matches!(self.state, TxState::Block | TxState::Failed)
    }

    /// Whether a statement that counts in a block only has one: the client's, or that of a message of several statements.
    pub fn counts_as_block(&self) -> bool {
        self.in_block() || self.around_message
    }

    pub fn has_failed(&self) -> bool {
        self.state == TxState::Failed
    }

    pub fn status(&self) -> Status {
        match self.state {
            TxState::None | TxState::Implicit => Status::Idle,
            TxState::Block => Status::InTransaction,
            TxState::Failed => Status::Failed,
        }
    }

    /// BEGIN by the client. An implicit transaction becomes the block, with what was done in it.
    pub fn begin(&mut self, modes: &str, settings: &Arc<SessionSettings>) {
        if self.state == TxState::None {
            self.settings = Some(Arc::clone(settings));
        }
        self.state = TxState::Block;
        self.around_message = false;
        self.modes = modes.into();
        self.follows_in_chain = false;
    }

    /// The transaction that follows another one by AND CHAIN.
    pub fn begin_in_chain(&mut self, modes: &str, settings: &Arc<SessionSettings>) {
        self.begin(modes, settings);
        self.follows_in_chain = true;
    }

    pub fn begin_implicit(&mut self, settings: &Arc<SessionSettings>) {
        if self.state == TxState::None {
            self.state = TxState::Implicit;
            self.modes = Box::default();
            self.settings = Some(Arc::clone(settings));
        }
    }

    /// The same for a statement of a pipeline.
    pub fn begin_for_statement(&mut self, settings: &Arc<SessionSettings>) {
        self.is_alone = self.state == TxState::None;
        self.begin_implicit(settings);
    }

    /// Whether the statement that is about to run is, so far, all of its transaction. The next one is not.
    pub fn take_alone(&mut self) -> bool {
        std::mem::take(&mut self.is_alone) || self.state == TxState::None
    }

    /// Opens it around the statements of one simple Query.
    pub fn begin_message(&mut self, settings: &Arc<SessionSettings>) {
        self.begin_implicit(settings);
        self.around_message = true;
    }

    /// An error reached the client: a block waits for its end.
    pub fn fail(&mut self) {
        if self.state == TxState::Block {
            self.state = TxState::Failed;
        }
    }

    /// Whether servers that join it now may not write.
    pub fn may_be_read_only(&self) -> bool {
        modes(&self.modes).contains(&Mode::ReadOnly(true))
            || self.replay.iter().any(|item| matches!(item, Replay::Statement(text) if is_of_transaction(text)))
    }

    /// Whether nothing can be written in it, and a replica can take part in it.
    pub fn is_read_only(&self) -> bool {
        let modes = modes(&self.modes);
        let last = modes.iter().rfind(|mode| matches!(mode, Mode::ReadOnly(_)));
        let changed = self.replay.iter().any(|item| matches!(item, Replay::Statement(text) if is_of_transaction(text)));
        last == Some(&Mode::ReadOnly(true)) && !modes.contains(&Mode::Isolation("serializable")) && !changed
    }

    /// It has ended on replicas, and goes on on the primaries.
    pub fn leave_replicas(&mut self) {
        self.touched = ShardSet::new();
        self.on_replicas = Some(false);
        self.has_moved = true;
    }

    /// What it had there was let go, and is not missed when it commits.
    pub fn forget_part(&mut self, shard: ShardId) {
        self.touched.remove(shard);
    }

    /// The modes of the transaction that follows it by AND CHAIN, as far as statements in it have set them. As in Postgres, one that has
    /// failed has lost those that it set for itself, but not those that it has by AND CHAIN; what was set behind a savepoint is undone with it, and those from before it come back.
    pub fn chained(&self, commit: bool) -> Modes {
        let mut all = Modes::default();
        let first = self.savepoints.first();
        if self.has_failed() && first.is_none() {
            if self.follows_in_chain {
                modes(&self.modes).into_iter().for_each(|mode| all.add(mode));
            }
            return all;
        }
        let kept = match first {
            Some(first) if !commit || self.has_failed() => first.replay - 1,
            Some(_) | None => self.replay.len(),
        };
        modes(&self.modes).into_iter().for_each(|mode| all.add(mode));
        for item in self.replay.iter().take(kept) {
            if let Replay::Statement(text) = item
                && let StatementKind::Set(statement) = classify(text)
            {
                all.follow(&statement);
            }
        }
        all
    }

    /// Whether something was set in it that comes before what is to come.
    pub fn has_history(&self) -> bool {
        !self.replay.is_empty()
    }

    /// A shard has joined.
    pub fn touch(&mut self, shard: ShardId) {
        if !shard.is_combine() {
            self.first.get_or_insert(shard);
        }
        self.touched.insert(shard);
    }

    /// Its time, where that is of none of its connections.
    pub fn time_elsewhere(&self) -> Option<&Arc<str>> {
        self.time.as_ref().filter(|_| self.has_moved)
    }

    /// The shard whose time is that of the transaction, once it has a part on one.
    pub fn shard_of_time(&self) -> Option<ShardId> {
        self.clock.or(self.first)
    }

    pub fn touched(&self) -> &ShardSet {
        &self.touched
    }

    /// What a shard that joins now has to be told, in one simple Query.
    pub fn opening(&self) -> String {
        let mut sql = String::from("BEGIN");
        if !self.modes.is_empty() {
            sql.push(' ');
            sql.push_str(&self.modes);
        }
        for item in &self.replay {
            sql.push_str("; ");
            match item {
                Replay::Savepoint(name) => {
                    sql.push_str("SAVEPOINT ");
                    sql.push_str(&crate::backend::settings::quote_identifier(name));
                }
                Replay::Statement(text) => sql.push_str(text),
            }
        }
        if self.has_moved {
            // Its modes hold, as behind a first query.
            sql.push_str("; SELECT");
        }
        sql
    }

    /// How many savepoints there are.
    pub fn depth(&self) -> usize {
        self.savepoints.len()
    }

    /// SETs and savepoints in their order, for a connection beside the shards that lives as long as the transaction.
    pub fn history(&self) -> Vec<String> {
        let items = self.replay.iter().filter_map(|item| match item {
            Replay::Savepoint(name) => Some(format!("SAVEPOINT {}", crate::backend::settings::quote_identifier(name))),
            Replay::Statement(text) if !is_of_transaction(text) => Some(text.to_string()),
            Replay::Statement(_) => None,
        });
        items.collect()
    }

    /// The SETs of the transaction, in order; those of its modes and constraints are left out.
    pub fn settings_replay(&self) -> impl Iterator<Item = &str> {
        self.replay.iter().filter_map(|item| match item {
            Replay::Statement(text) if !is_of_transaction(text) => Some(&**text),
            Replay::Statement(_) | Replay::Savepoint(_) => None,
        })
    }

    pub fn savepoint(&mut self, name: &str, settings: &Arc<SessionSettings>, parts: Parts) {
        self.replay.push(Replay::Savepoint(name.into()));
        self.savepoints.push(Savepoint {
            name: name.into(),
            settings: Arc::clone(settings),
            parts,
            locals: self.locals.clone(),
            replay: self.replay.len(),
            changes: self.changes.len(),
        });
    }

    pub fn last_savepoint(&self) -> Option<&str> {
        self.savepoints.last().map(|savepoint| &*savepoint.name)
    }

    /// How many savepoints there were when this one was made, itself counted.
    pub fn depth_of(&self, name: &str) -> usize {
        self.savepoints.iter().rposition(|s| &*s.name == name).map_or(usize::MAX, |at| at + 1)
    }

    pub fn has_savepoint(&self, name: &str) -> bool {
        self.savepoints.iter().any(|s| &*s.name == name)
    }

    /// RELEASE: the savepoint and the later ones are gone, what was done stays.
    pub fn release(&mut self, name: &str) {
        if let Some(at) = self.savepoints.iter().rposition(|s| &*s.name == name) {
            // The shards that join later need no savepoint that can no longer be named, but keep the settings after it.
            for savepoint in self.savepoints.drain(at..).rev() {
                self.replay.remove(savepoint.replay - 1);
            }
            if let Some(decided) = &mut self.decided {
                decided.depth = decided.depth.min(at);
            }
        }
    }

    /// ROLLBACK TO: later savepoints are gone, this one stays; the settings as they were at it, and what the shards had done.
    pub fn rollback_to(&mut self, name: &str) -> Option<(Arc<SessionSettings>, Parts)> {
        let at = self.savepoints.iter().rposition(|s| &*s.name == name)?;
        self.savepoints.truncate(at + 1);
        self.replay.truncate(self.savepoints[at].replay);
        self.locals = self.savepoints[at].locals.clone();
        self.changes.truncate(self.savepoints[at].changes);
        self.decided.take_if(|decided| decided.depth > at);
        if self.state == TxState::Failed {
            self.state = TxState::Block;
        }
        Some((Arc::clone(&self.savepoints[at].settings), self.savepoints[at].parts.clone()))
    }

    /// A statement in it has made or dropped something.
    pub fn note_changes(&mut self, changes: &[Change]) {
        if self.is_open() {
            self.changes.extend_from_slice(changes);
            self.defines = true;
        }
    }

    /// Whether it may have made or dropped something, which the catalog does not know yet; also what was undone with a savepoint.
    pub fn defines(&self) -> bool {
        self.defines
    }

    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The session's settings at its beginning; `None` outside of a transaction.
    pub fn settings_before(&self) -> Option<&Arc<SessionSettings>> {
        self.settings.as_ref()
    }

    /// SET LOCAL; the value is SQL, or DEFAULT.
    pub fn set_local(&mut self, name: &str, value: &str) {
        self.locals.set(name, value);
    }

    /// A SET for the session has taken the place of a SET LOCAL.
    pub fn forget_local(&mut self, name: &str) {
        self.locals.remove(name);
    }

    pub fn forget_locals(&mut self) {
        self.locals = SessionSettings::default();
    }

    pub fn has_locals(&self) -> bool {
        !self.locals.is_empty()
    }

    /// The settings that statements meet now, those of the session being `settings`.
    pub fn with_locals<'a>(&self, settings: &'a SessionSettings) -> Cow<'a, SessionSettings> {
        let mut all = Cow::Borrowed(settings);
        for (name, value) in self.locals.iter() {
            match value {
                "DEFAULT" => all.to_mut().remove(name),
                value => all.to_mut().set(name, value),
            }
        }
        all
    }

    /// A SET that shards joining later must also run. It takes the place of one of the same setting with nothing but others between them.
    pub fn remember(&mut self, statement: &str) {
        if let Some(name) = plain_setting(statement) {
            let before = self.replay.iter().enumerate().rev().take(LOOKED_AT);
            let mut others = before.map_while(|(at, replay)| match replay {
                Replay::Statement(text) => plain_setting(text).map(|of| (at, of)),
                _ => None,
            });
            if let Some((at, _)) = others.find(|(_, of)| *of == name) {
                self.replay.remove(at);
            }
        }
        self.replay.push(Replay::Statement(statement.into()));
    }

    /// The end, either way. Returns the settings from before the transaction.
    pub fn end(&mut self) -> Option<Arc<SessionSettings>> {
        self.state = TxState::None;
        self.around_message = false;
        self.modes = Box::default();
        self.touched = ShardSet::new();
        self.has_run = false;
        self.savepoints.clear();
        self.replay.clear();
        self.changes.clear();
        self.defines = false;
        self.forget_locals();
        self.first = None;
        self.clock = None;
        self.time = None;
        self.on_replicas = None;
        self.has_moved = false;
        self.is_alone = false;
        self.decided = None;
        self.settings.take()
    }
}

/// How many are looked at for one of the same setting.
const LOOKED_AT: usize = 64;

/// The setting of a SET LOCAL as the router writes it, where it changes nobody's rights, and is not read by what others were.
fn plain_setting(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix("SET LOCAL ")?.split_once(" TO ")?;
    (!name.contains(' ') && !name.starts_with("transaction_") && name != "default_text_search_config").then_some(name)
}

/// SET TRANSACTION, SET CONSTRAINTS.
fn is_of_transaction(text: &str) -> bool {
    let second = text.split_ascii_whitespace().nth(1);
    second.is_some_and(|w| w.eq_ignore_ascii_case("transaction") || w.eq_ignore_ascii_case("constraints"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_shard_gets_modes_savepoints_and_local_settings_in_order() {
        let mut tx = Transaction::default();
        let settings = Arc::default();
        tx.begin("ISOLATION LEVEL SERIALIZABLE", &settings);
        tx.remember("SET LOCAL a TO 1");
        tx.savepoint("s", &settings, Parts::default());
        tx.remember("SET LOCAL a TO 2");
        assert_eq!(tx.opening(), "BEGIN ISOLATION LEVEL SERIALIZABLE; SET LOCAL a TO 1; SAVEPOINT s; SET LOCAL a TO 2");
        assert!(tx.rollback_to("s").is_some());
        assert_eq!(tx.opening(), "BEGIN ISOLATION LEVEL SERIALIZABLE; SET LOCAL a TO 1; SAVEPOINT s");
    }

    #[test]
    fn what_has_moved_from_replicas_keeps_its_time_and_its_modes() {
        let mut tx = Transaction::default();
        tx.begin("READ ONLY", &Arc::default());
        tx.touch(ShardId(1));
        assert_eq!((tx.opening(), tx.time_elsewhere()), ("BEGIN READ ONLY".to_owned(), None));
        tx.time = Some("then".into());
        tx.leave_replicas();
        // A primary that its first statement there had come to is gone.
        tx.touch(ShardId(0));
        tx.forget_touched();
        assert_eq!(tx.time_elsewhere().map(|time| &**time), Some("then"));
        assert_eq!(
            (tx.is_untouched(), tx.on_replicas, tx.opening()),
            (true, Some(false), "BEGIN READ ONLY; SELECT".to_owned())
        );
        tx.end();
        assert_eq!((tx.time_elsewhere(), tx.opening()), (None, "BEGIN".to_owned()));
    }

    #[test]
    fn what_is_set_again_is_remembered_once() {
        let mut tx = Transaction::default();
        let settings = Arc::default();
        tx.begin("", &settings);
        for sql in ["SET LOCAL a TO 1", "SET LOCAL b TO 1", "SET LOCAL a TO 2"] {
            tx.remember(sql);
        }
        assert_eq!(tx.opening(), "BEGIN; SET LOCAL b TO 1; SET LOCAL a TO 2");
        tx.savepoint("s", &settings, Parts::default());
        for sql in ["SET LOCAL a TO 3", "SET LOCAL ROLE x", "SET LOCAL a TO 4", "SET LOCAL a TO 5"] {
            tx.remember(sql);
        }
        let behind = "SAVEPOINT s; SET LOCAL a TO 3; SET LOCAL ROLE x; SET LOCAL a TO 5";
        assert_eq!(tx.opening(), format!("BEGIN; SET LOCAL b TO 1; SET LOCAL a TO 2; {behind}"));
    }

    #[test]
    fn modes_and_constraints_are_no_settings() {
        let mut tx = Transaction::default();
        tx.begin("", &Arc::default());
        for sql in ["SET TRANSACTION READ ONLY", "set constraints all deferred", "SET a TO 1"] {
            tx.remember(sql);
        }
        assert_eq!(tx.settings_replay().collect::<Vec<_>>(), ["SET a TO 1"]);
    }

    #[test]
    fn only_what_is_read_only_for_good_can_be_read_on_replicas() {
        for (modes, expected) in [
            ("", false),
            ("READ ONLY", true),
            ("isolation level repeatable read, read only", true),
            ("READ ONLY, READ WRITE", false),
            ("READ WRITE READ ONLY", true),
            ("read/**/only", true),
            ("ISOLATION LEVEL SERIALIZABLE, READ ONLY", false),
            ("ISOLATION LEVEL READ COMMITTED", false),
        ] {
            let mut tx = Transaction::default();
            tx.begin(modes, &Arc::default());
            assert_eq!(tx.is_read_only(), expected, "{modes}");
            tx.remember("SET TRANSACTION READ WRITE");
            assert!(!tx.is_read_only(), "{modes}");
        }
    }

    #[test]
    fn the_next_transaction_of_a_chain_has_the_modes_that_were_not_undone() {
        let opened = |modes: &str| {
            let mut tx = Transaction::default();
            tx.begin(modes, &Arc::default());
            tx
        };
        let mut tx = opened("isolation level repeatable read");
        tx.remember("SET TRANSACTION READ ONLY");
        assert_eq!(tx.chained(true).text(), "ISOLATION LEVEL REPEATABLE READ, READ ONLY");
        assert_eq!(tx.chained(false), tx.chained(true));
        tx.savepoint("a", &Arc::default(), Parts::default());
        tx.remember("SET LOCAL transaction_deferrable TO 'on'");
        assert_eq!(tx.chained(true).text(), "ISOLATION LEVEL REPEATABLE READ, READ ONLY, DEFERRABLE");
        assert_eq!(tx.chained(false).text(), "ISOLATION LEVEL REPEATABLE READ, READ ONLY");
        tx.fail();
        assert_eq!(tx.chained(true).text(), "ISOLATION LEVEL REPEATABLE READ, READ ONLY");
        let mut tx = opened("READ ONLY");
        tx.fail();
        assert_eq!(tx.chained(false).text(), "");
        // What it has of the one before it, it has not set itself.
        let mut tx = Transaction::default();
        tx.begin_in_chain("ISOLATION LEVEL SERIALIZABLE, READ ONLY", &Arc::default());
        tx.remember("SET TRANSACTION DEFERRABLE");
        tx.fail();
        assert_eq!(tx.chained(false).text(), "ISOLATION LEVEL SERIALIZABLE, READ ONLY");
    }

    #[test]
    fn release_forgets_the_name_and_keeps_what_followed() {
        let mut tx = Transaction::default();
        let settings = Arc::default();
        tx.begin("", &settings);
        tx.savepoint("a", &settings, Parts::default());
        tx.savepoint("b", &settings, Parts::default());
        tx.remember("SET LOCAL x TO 1");
        tx.release("a");
        assert!(!tx.has_savepoint("a") && !tx.has_savepoint("b"));
        assert_eq!(tx.opening(), "BEGIN; SET LOCAL x TO 1");
    }

    #[test]
    fn rollback_to_revives_a_failed_block() {
        let mut tx = Transaction::default();
        let settings = Arc::default();
        tx.begin("", &settings);
        tx.savepoint("a", &settings, Parts::default());
        tx.fail();
        assert!(tx.has_failed());
        assert!(tx.rollback_to("a").is_some());
        assert_eq!(tx.status(), Status::InTransaction);
    }

    #[test]
    fn what_was_made_is_undone_with_its_savepoint() {
        let mut tx = Transaction::default();
        let settings = Arc::default();
        let made = |name: &str| [Change::SchemaMade(name.into())];
        tx.note_changes(&made("outside"));
        tx.begin("", &settings);
        tx.note_changes(&made("a"));
        tx.savepoint("s", &settings, Parts::default());
        tx.note_changes(&made("b"));
        assert!(tx.rollback_to("s").is_some());
        assert_eq!((tx.changes(), tx.defines()), (&made("a")[..], true));
        tx.end();
        assert_eq!((tx.changes(), tx.defines()), (&[][..], false));
    }

    #[test]
    fn a_decision_row_is_undone_with_its_savepoint() {
        let decided =
            |depth| Some(Decided { gid: Gid::new("shop", "1-1".to_owned(), "s0"), anchor: ShardId(0), depth });
        let mut tx = Transaction::default();
        let settings = Arc::default();
        tx.begin("", &settings);
        tx.decided = decided(0);
        tx.savepoint("a", &settings, Parts::default());
        assert!(tx.rollback_to("a").is_some() && tx.decided.is_some());
        tx.decided = decided(1);
        tx.savepoint("b", &settings, Parts::default());
        assert!(tx.rollback_to("b").is_some() && tx.decided.is_some());
        tx.savepoint("c", &settings, Parts::default());
        tx.decided = decided(3);
        tx.release("b");
        assert_eq!(tx.decided.as_ref().map(|decided| decided.depth), Some(1));
        assert!(tx.rollback_to("a").is_some() && tx.decided.is_none());
        tx.decided = decided(1);
        tx.end();
        assert!(tx.decided.is_none());
    }

    #[test]
    fn an_error_in_an_implicit_transaction_leaves_no_block_behind() {
        let mut tx = Transaction::default();
        tx.begin_implicit(&Arc::default());
        tx.fail();
        assert_eq!(tx.status(), Status::Idle);
    }
}
