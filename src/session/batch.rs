//! The extended protocol: what lies between two Syncs. Messages are turned into requests to one server at a time, with the
//! replies in the client's order; a pipeline that meets several shards becomes a transaction over them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::backend::inflight::{Audience, Owed};
use crate::exec::forward::Seen;
use crate::fault::{Fault, SqlState};
use crate::ids::{ShardId, ShardSet};
use crate::session::held::Held;
use crate::session::prepared::ClientStatement;
use crate::session::replica::Servers;
use crate::session::retry::Kept;
use crate::session::transaction::TxState;
use crate::session::unanswered::Undo;
use crate::session::{Failure, Session, Stop};
use crate::sql::Analysis;
use crate::sql::outcome::Outcome;
use crate::sql::utility::StatementKind;
use crate::wire::frame::{self, Frame};
use crate::wire::request;

/// Bytes queued for a server in one batch before they are written though no Sync has come.
const BATCH_HIGH: usize = 64 * 1024;

/// How often a statement is planned anew because rows have moved before it was sent.
pub(super) const MOVES: u32 = 3;

/// The state of the batch that the client is in.
#[derive(Debug, Default)]
pub struct Batch {
    /// The shard whose connection has messages of this batch and no Sync behind them.
    pub(super) open: Option<ShardId>,
    /// The open server has bound or run something in this batch: its implicit transaction matters.
    pub(super) bound: bool,
    /// A Parse that no server has been asked about yet.
    pub(super) pending_parse: Option<(Box<[u8]>, Arc<ClientStatement>)>,
    /// Names whose Parse was sent to the open server for the client, in order, and not proven yet.
    pub(super) unproven: Vec<Box<[u8]>>,
    /// What was changed of the client's names behind messages that are not answered yet, in order.
    pub(super) changes: Vec<Undo>,
    /// After an error: everything is skipped until Sync.
    pub discarding: bool,
    /// Messages have come since the last Sync.
    pub(super) started: bool,
    /// Statements have run in it: until its transaction ends, with a Query that comes in its middle, what must be alone cannot run.
    pub(super) executed: bool,
    /// What was executed last asks for rows, which the client may send at once, or wait to be asked for.
    pub(super) asks_for_rows: bool,
    /// Some of them were queries: to Postgres their transaction has begun.
    pub(super) queried: bool,
    /// What ran in this transaction may have changed the catalog: it is read again at its end.
    pub reload: Reload,
    /// Shards on which DDL ran in the open transaction since their catalog was read as it sees it.
    pub unread: ShardSet,
    /// Its messages, while all of it can be sent again.
    pub(super) kept: Option<Kept>,
    /// Something ran that sets sequences.
    pub sets_sequences: bool,
    /// Bytes of the router's own answers that may not have been written yet.
    pub(super) answered: usize,
    /// Where it may have; nowhere: on every shard.
    pub touched: ShardSet,
}

/// How much is known of a change of the catalog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reload {
    #[default]
    No,
    /// Code of the user's ran: it may have changed anything, and mostly has not.
    Perhaps,
    /// DDL: plans on the servers may be stale even if the catalog shows no difference.
    Surely,
}

impl Reload {
    pub fn after(kind: &StatementKind) -> Self {
        match kind {
            StatementKind::Ddl => Self::Surely,
            StatementKind::Code => Self::Perhaps,
            _ => Self::No,
        }
    }
}

/// How long a client may take to read the error behind which it has sent what is no message.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Session {
    /// A statement has run that may have changed the catalog: on this shard alone, or wherever.
    pub(super) fn note_definition(&mut self, analysis: &Analysis, shard: Option<ShardId>) {
        if !analysis.only_reads {
            let there = |held: &&mut Held| shard.is_none_or(|shard| held.shard == shard);
            self.held.iter_mut().filter(there).for_each(|held| held.temporaries_seen = false);
        }
        let reload = match analysis.changes.is_empty() && !matches!(analysis.outcome, Outcome::CreateAs(_)) {
            true => Reload::after(&analysis.kind),
            false => Reload::Surely,
        };
        if reload == Reload::No {
            return;
        }
        self.tx.note_changes(&analysis.changes);
        if reload == Reload::Surely {
            self.note_unread(shard);
        }
        self.batch.note_reload(reload, shard);
    }

    /// The shard has another catalog than before, though the statement does not say so.
    pub(super) fn note_catalog_changed(&mut self, shard: ShardId) {
        self.batch.note_reload(Reload::Surely, Some(shard));
    }
}

impl std::ops::BitOrAssign for Reload {
    fn bitor_assign(&mut self, other: Self) {
        *self = (*self).max(other);
    }
}

impl Batch {
    fn note_reload(&mut self, reload: Reload, shard: Option<ShardId>) {
        let everywhere = self.reload != Reload::No && self.touched.is_empty();
        match shard {
            Some(shard) if !everywhere => self.touched.insert(shard),
            _ => self.touched = ShardSet::new(),
        }
        self.reload |= reload;
    }

    pub fn is_open(&self) -> bool {
        self.started
    }
}

impl Session {
    pub(super) async fn extended(&mut self, frame: Frame) -> Result<(), Stop> {
        if !self.batch.started {
            self.batch.started = true;
            self.offset = 0;
            self.start_clock();
            if let Err(failure) = self.begin_message().await {
                self.fail_batch(failure).await?;
                // What the batch is to be told, it has been told.
                if frame.tag != b'S' {
                    return Ok(());
                }
            }
            self.settle_sequences();
            self.batch.kept = self.is_fresh().then(Kept::default);
            self.client.mark();
        } else if let Some(failure) = self.take_telling() {
            self.fail_batch(failure).await?;
        }
        if matches!(frame.tag, b'S' | b'H') && !frame.body().is_empty() {
            let fault = Fault::new(SqlState::PROTOCOL_VIOLATION, "invalid message format");
            self.fail_batch(Failure::Fault(fault)).await?;
        }
        if frame.tag == b'S' {
            return self.sync().await;
        }
        if self.batch.discarding {
            return Ok(());
        }
        self.keep_frame(&frame);
        self.is_counted = false;
        let mut done = self.batch_frame(&frame).await;
        let mut moves = 0;
        // What was planned for another placement, and not sent, is planned anew.
        while let Err(failure) = &done
            && moves < MOVES
            && self.follows(failure)
        {
            moves += 1;
            done = self.batch_frame(&frame).await;
        }
        if let Err(failure) = &done
            && self.broke_unanswered(failure)
        {
            done = self.send_again().await;
        }
        self.note_kept(&frame);
        match done {
            Ok(()) if self.is_relaxed() => Ok(()),
            Ok(()) => self.relieve().await,
            Err(failure) => self.fail_batch(failure).await,
        }
    }

    async fn batch_frame(&mut self, frame: &Frame) -> Result<(), Failure> {
        match frame.tag {
            b'P' => self.parse(frame).await,
            b'B' => self.bind(frame).await,
            b'D' => self.describe(frame).await,
            b'E' => {
                let done = self.execute(frame).await;
                self.batch.executed = true;
                done?;
                if std::mem::take(&mut self.batch.asks_for_rows) { self.flush_batch().await } else { Ok(()) }
            }
            b'C' => self.close(frame).await,
            _ => {
                // Who has the answer to a Bind may change what it would see.
                let is_bound = !self.statements.bound(None).is_empty();
                if is_bound {
                    self.client.keep(BATCH_HIGH);
                    let begun = self.begin_bound(None).await;
                    self.client.release();
                    begun?;
                }
                self.flush_batch().await
            }
        }
    }

    /// Whether the open server can take more of this batch, and the client more answers, before anything is written.
    fn is_relaxed(&self) -> bool {
        self.batch.answered < BATCH_HIGH && self.open_at().is_none_or(|at| self.held[at].server.out.len() < BATCH_HIGH)
    }

    /// An error within a batch: told in its place, and the rest is skipped until Sync.
    pub(super) async fn fail_batch(&mut self, failure: Failure) -> Result<(), Stop> {
        self.batch.kept = None;
        match self.behind_parse(failure).await {
            Failure::Stop(stop) => return Err(stop),
            Failure::Reported => {}
            Failure::Fault(fault) => {
                // What came before must be answered before.
                match self.drain_open().await {
                    Ok(()) => {
                        self.tell(&fault);
                        self.undo_open().await;
                    }
                    Err(Failure::Stop(stop)) => return Err(stop),
                    // It failed before us: that is the error that the client gets.
                    Err(Failure::Reported) => {}
                    Err(Failure::Fault(earlier)) => {
                        self.tell(&earlier);
                        if !self.tx.is_open() {
                            self.drop_open();
                        }
                    }
                }
            }
        }
        self.undo_changes();
        if let Some((name, statement)) = self.batch.pending_parse.take() {
            self.statements.remove_this(&name, &statement);
        }
        self.batch.discarding = true;
        self.tx.fail();
        Ok(())
    }

    /// A message that cannot be read comes behind a Parse, which was good all the same, or has failed sooner.
    async fn behind_parse(&mut self, failure: Failure) -> Failure {
        let is_unread = matches!(
            &failure,
            Failure::Fault(fault)
                if matches!(fault.code, SqlState::PROTOCOL_VIOLATION | SqlState::CHARACTER_NOT_IN_REPERTOIRE)
        );
        if !is_unread || self.batch.pending_parse.is_none() {
            return failure;
        }
        match Box::pin(self.settle_parse()).await {
            Ok(()) => failure,
            Err(sooner) => sooner,
        }
    }

    /// The end by this fault: bytes that are no message come behind messages, which are answered first.
    pub(super) async fn end_behind(&mut self, fault: Fault) -> Stop {
        let lost = fault.code == SqlState::PROTOCOL_VIOLATION && frame::has_lost_step(&self.client.read);
        let mut failed = self.batch.discarding;
        if fault.code != SqlState::PROTOCOL_VIOLATION || failed && !lost {
            return Stop::Fatal(fault);
        }
        if !failed {
            if lost {
                self.client.keep(BATCH_HIGH);
            }
            let answered = match self.settle_parse().await {
                Ok(()) => self.drain_open().await,
                failed => failed,
            };
            self.client.release();
            failed = answered.is_err();
            self.batch.discarding |= failed;
            match answered {
                Err(Failure::Stop(sooner)) => return sooner,
                Err(Failure::Fault(earlier)) => self.tell(&earlier),
                Ok(()) | Err(Failure::Reported) => {}
            }
        }
        if lost {
            // Postgres tells its log alone. What it has not sent it takes back, but an error is sent with all that stands before it.
            tracing::info!(user = %self.user, database = %self.database.name, error = %fault, "connection is closed");
            if failed {
                let _ = tokio::time::timeout(LAST_WORDS, self.client.flush_last()).await;
            }
            return Stop::Gone;
        }
        Stop::Fatal(fault)
    }

    /// The open server knows of no error and would commit what came before: it must not. Its connection stays, with what the session
    /// has on it: temporary tables, locks, cursors.
    async fn undo_open(&mut self) {
        if self.tx.is_open() {
            return;
        }
        let Some(at) = self.open_at() else { return };
        let undone = if self.batch.bound && !self.held[at].shard.is_combine() {
            // By itself ROLLBACK would do, and the server would log a warning.
            self.held[at].server.query("BEGIN; ROLLBACK").await.is_ok()
        } else {
            !self.batch.bound && self.sync_open(Audience::Router).await.is_ok()
        };
        if undone {
            self.batch.open = None;
            self.batch.bound = false;
        } else {
            self.drop_open();
        }
    }

    /// The client has left in the middle of a pipeline: what came before a Sync that never comes is undone, as in Postgres. The server
    /// has not said that it is in a transaction, and after an error skips everything up to a Sync.
    pub(super) async fn abandon_batch(&mut self) {
        // One that waits for the rest of a message answers nothing.
        if self.open_at().is_some_and(|at| self.held[at].server.broken) {
            self.drop_open();
            return;
        }
        let end = async {
            match self.batch.discarding {
                true => drop(self.sync_open(Audience::Router).await),
                false => self.undo_open().await,
            }
        };
        if tokio::time::timeout(Duration::from_secs(5), end).await.is_err() {
            self.drop_open();
        }
    }

    /// Closes the open server's connection with its implicit transaction.
    pub(super) fn drop_open(&mut self) {
        if let Some(shard) = self.batch.open.take()
            && let Some(at) = self.held.position(shard)
        {
            self.held[at].server.broken = true;
            self.let_go(at);
        }
    }

    /// Bytes of our own at this place in the order of replies.
    pub(super) fn answer(&mut self, bytes: &[u8]) {
        self.batch.answered += bytes.len();
        if let Some(at) = self.open_at() {
            let inflight = &mut self.held[at].server.inflight;
            if !inflight.is_empty() {
                inflight.push(Owed::Local(Bytes::copy_from_slice(bytes)));
                return;
            }
        }
        self.client.answer(bytes);
    }

    pub(super) fn open_at(&self) -> Option<usize> {
        self.held.position(self.batch.open?)
    }

    /// The connection of `shard`, with whatever another shard has in this batch brought to its end first.
    pub(super) async fn open(&mut self, shard: ShardId) -> Result<usize, Failure> {
        self.open_on(shard, self.servers_of_transaction()).await
    }

    /// The same on servers of this kind, where it is not open yet.
    pub(super) async fn open_on(&mut self, shard: ShardId, servers: Servers) -> Result<usize, Failure> {
        if let Some(open) = self.batch.open {
            if open == shard
                && let Some(at) = self.held.position(shard)
                && self.held[at].is_marked()
            {
                return Ok(at);
            }
            self.leave_open().await?;
        }
        let at = self.enlist_on(shard, servers).await?;
        self.batch.open = Some(shard);
        Ok(at)
    }

    /// The same for a statement whose Parse, of this name, may wait for its answer: it goes on waiting where there is no connection.
    pub(super) async fn open_parsing(
        &mut self,
        shard: ShardId,
        servers: Servers,
        statement: &Arc<ClientStatement>,
        parsing: &Option<Box<[u8]>>,
    ) -> Result<usize, Failure> {
        let opened = self.open_on(shard, servers).await;
        if let (Err(_), Some(name)) = (&opened, parsing) {
            self.batch.pending_parse = Some((name.clone(), Arc::clone(statement)));
        }
        opened
    }

    /// Brings the open server to a rest without ending its transaction: a pipeline that goes on elsewhere is one transaction.
    pub(super) async fn leave_open(&mut self) -> Result<(), Failure> {
        let Some(at) = self.open_at() else {
            self.batch.open = None;
            return Ok(());
        };
        let apart = self.held[at].shard.is_combine() || self.held[at].is_replica();
        if !self.tx.is_open() && (apart || !self.batch.bound) {
            // It was only asked what statements are; or for rows that were put aside, which are in no transaction; or a replica has
            // read, by itself.
            self.sync_open(Audience::Router).await?;
            self.batch.open = None;
            self.batch.bound = false;
            self.release_idle();
            return Ok(());
        }
        if !self.tx.is_open() {
            // BEGIN behind statements of the same pipeline takes them into the block.
            self.batch.kept = None;
            let server = &mut self.held[at].server;
            request::parse(&mut server.out, b"", b"BEGIN", &[])?;
            server.inflight.push(Owed::Parse(Audience::Router));
            server.bind_own(&[0; 6])?;
            server.inflight.push(Owed::Bind(Audience::Router));
            request::execute(&mut server.out, b"", 0)?;
            server.inflight.push(Owed::Execute(Audience::Router));
            server.applied_before = Some(server.applied.clone());
            self.held[at].joined = true;
            self.tx.begin_implicit(&self.settings);
            self.tx.touch(self.held[at].shard);
        }
        self.sync_open(Audience::Router).await?;
        self.batch.open = None;
        self.batch.bound = false;
        Ok(())
    }

    /// Sync on the open server and everything up to its answer.
    pub(super) async fn sync_open(&mut self, ready: Audience) -> Result<Seen, Failure> {
        let Some(at) = self.open_at() else {
            return Ok(Seen::default());
        };
        self.put_sync(at, ready);
        self.pump_open(at).await
    }

    async fn pump_open(&mut self, at: usize) -> Result<Seen, Failure> {
        let seen = self.pump_held(at).await?;
        self.after_pump(seen)?;
        Ok(seen)
    }

    /// [`Self::sync_open`] of a batch that can be sent again while it has no answer.
    async fn sync_or_again(&mut self, at: usize, ready: Audience) -> Result<Result<Seen, Failure>, Stop> {
        self.put_sync(at, ready);
        match self.answers(at).await {
            Ok(true) => return Ok(self.pump_open(at).await),
            Ok(false) => {}
            Err(failure) => return Ok(Err(failure)),
        }
        match self.send_again().await {
            Ok(()) => Ok(self.sync_open(ready).await),
            Err(failure) => {
                self.fail_batch(failure).await?;
                Ok(self.sync_open(Audience::Router).await)
            }
        }
    }

    fn put_sync(&mut self, at: usize, ready: Audience) {
        let server = &mut self.held[at].server;
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(ready));
    }

    /// Everything that the open server owes so far, without a Sync.
    pub(super) async fn drain_open(&mut self) -> Result<(), Failure> {
        let Some(at) = self.open_at() else {
            return Ok(());
        };
        let server = &mut self.held[at].server;
        if server.inflight.is_empty() {
            return Ok(());
        }
        server.out.extend_from_slice(request::FLUSH);
        self.pump_open(at).await.map(drop)
    }

    fn after_pump(&mut self, seen: Seen) -> Result<(), Failure> {
        if seen.error {
            self.shared.metrics.error(seen.sqlstate(), "client");
            self.clock.failed = seen.sqlstate.map(SqlState);
            self.memory.failed();
            if seen.changed_plan {
                self.note_stale();
            }
            self.forget_unproven();
            return Err(Failure::Reported);
        }
        if let Some(at) = self.open_at() {
            self.held[at].server.inflight.take_parsed();
            self.settle_changes(at);
        }
        self.batch.unproven.clear();
        Ok(())
    }

    pub(super) async fn flush_batch(&mut self) -> Result<(), Failure> {
        self.settle_parse().await?;
        if let Some(at) = self.open_at()
            && self.may_send_again(at)
            && self.held[at].server.inflight.owes_ends()
        {
            self.held[at].server.out.extend_from_slice(request::FLUSH);
            if !self.answers(at).await? {
                self.send_again().await?;
            }
        }
        self.drain_open().await?;
        self.client.flush().await?;
        Ok(())
    }

    /// A long pipeline is carried on before its Sync comes: what is queued for the server is written, what it answers is passed on, and
    /// the client has to take what it was told.
    async fn relieve(&mut self) -> Result<(), Stop> {
        if let Err(failure) = self.drain_open().await {
            self.fail_batch(failure).await?;
        }
        if self.batch.answered >= BATCH_HIGH {
            self.batch.answered = 0;
            self.client.flush().await.map_err(|_| Stop::Gone)?;
        }
        Ok(())
    }

    /// A simple Query comes in the middle of a batch. What the batch has done is part of the Query's transaction, as in Postgres, which
    /// ends transactions at a Sync or at the end of a Query. False: the batch has failed, and the Query is skipped like the rest.
    pub(super) async fn leave_batch(&mut self) -> Result<bool, Stop> {
        if let Err(failure) = self.leave_for_query().await {
            self.fail_batch(failure).await?;
            return Ok(false);
        }
        self.batch.started = false;
        Ok(true)
    }

    async fn leave_for_query(&mut self) -> Result<(), Failure> {
        self.settle_parse().await?;
        // The one without a name ends with the Query.
        self.begin_bound(Some(b"")).await?;
        self.leave_open().await
    }

    /// Before the Sync of a batch within a block: what comes behind it may change what a portal sees that is bound only.
    async fn settle_bound(&mut self) -> Result<(), Failure> {
        self.settle_parse().await?;
        match self.tx.state {
            TxState::Block => self.begin_bound(None).await,
            TxState::None | TxState::Implicit | TxState::Failed => Ok(()),
        }
    }

    /// Outside of a transaction nothing is left of what a batch has made.
    pub(super) async fn forget_batch(&mut self) {
        if !self.tx.is_open() {
            self.close_all_runs(false).await;
            self.statements.clear_portals();
        }
    }

    async fn sync(&mut self) -> Result<(), Stop> {
        if !self.batch.discarding
            && let Err(failure) = self.settle_bound().await
        {
            self.fail_batch(failure).await?;
        }
        self.end_batch().await?;
        self.note_written();
        let flushed = self.client.flush().await.map_err(|_| Stop::Gone);
        if flushed.is_ok() {
            self.give_back_values().await;
        }
        self.end_request();
        flushed
    }

    /// The end of a batch: the open server gets its Sync, an implicit transaction its end, the client its ReadyForQuery.
    async fn end_batch(&mut self) -> Result<(), Stop> {
        let mut failed = self.batch.discarding;
        let implicit = self.tx.state == TxState::Implicit;
        // Within a block of one server its status is the client's; it may speak for itself, unless it does not know that the block has failed.
        let forward = !failed && !implicit && self.batch.open.is_some() && self.tx.state != TxState::Failed;
        let audience = if forward { Audience::Client } else { Audience::Router };
        let mut ready_sent = false;
        let synced = match self.open_at() {
            Some(at) if !failed && self.may_send_again(at) => self.sync_or_again(at, audience).await?,
            Some(_) | None => self.sync_open(audience).await,
        };
        // Sent again, it may have failed before its Sync.
        let forward = forward && !self.batch.discarding;
        failed |= self.batch.discarding;
        match synced {
            // COPY has begun behind this Sync: the server ignores it, and so does the client, who sends another after the data.
            Ok(seen) if seen.copying => return Ok(()),
            Ok(seen) => ready_sent = seen.ready,
            Err(Failure::Stop(stop)) => return Err(stop),
            Err(Failure::Fault(fault)) => {
                failed = true;
                self.tell(&fault);
                self.tx.fail();
            }
            Err(Failure::Reported) => {
                failed = true;
                self.tx.fail();
                // The error was on its way before the Sync: its ReadyForQuery has gone out if it was the client's.
                ready_sent = forward;
            }
        }
        // Before a connection is given back: one with a request on its way would be closed.
        self.settle_expired().await;
        if let Some(at) = self.open_at() {
            self.held[at].server.prove();
        }
        self.batch.open = None;
        self.batch.kept = None;
        self.batch.bound = false;
        self.batch.discarding = false;
        self.batch.started = false;
        self.batch.executed = false;
        self.batch.queried = false;
        self.batch.pending_parse = None;
        self.batch.answered = 0;
        self.batch.changes.clear();
        if failed {
            self.memory.failed();
            self.give_back_locks().await;
            self.report_joined();
        }
        if self.tx.state == TxState::Implicit {
            if failed {
                self.roll_back_quietly().await;
            } else if let Err(failure) = self.commit().await {
                self.fail_statement(failure).await?;
            }
        }
        if !self.tx.is_open() {
            self.forget_batch().await;
            self.release_idle();
            self.reload_catalog().await;
        }
        self.settle_sequences();
        if !ready_sent {
            self.ready_for_query();
        }
        Ok(())
    }
}
