//! The server connections that this client holds now: for its transaction, for a batch, or pinned.

use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::OwnedSemaphorePermit;

use crate::backend::Backend;
use crate::backend::cancel::CancelHandle;
use crate::backend::cluster::ServerCheckout;
use crate::backend::combiners::Running;
use crate::backend::connector::Aim;
use crate::backend::insist::was_cancelled;
use crate::backend::settings::SessionSettings;
use crate::backend::stats::Count;
use crate::backend::turns::Place;
use crate::catalog::numbers::Numbers;
use crate::exec::replies::outlived;
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;
use crate::plan::Access;
use crate::session::clock::Clock;
use crate::session::commit::lost_part;
use crate::session::idle_timers::UNTIMED;
use crate::session::lend::Fit;
use crate::session::memory::SequenceMemory;
use crate::session::placed::join_rules;
use crate::session::replica::Servers;
use crate::session::transaction::Parts;
use crate::session::{Failure, Session, Stop};
use crate::sql::Temporaries;
use crate::sql::analyze::PinReason;
use crate::topology::Topology;
use crate::wire::frame::Frame;
use crate::wire::reply::Status;

/// One server connection in this client's hands.
pub struct Held {
    pub shard: ShardId,
    pub server: ServerCheckout,
    /// BEGIN was sent: it takes part in the client's transaction.
    pub joined: bool,
    /// It has made a cursor WITH HOLD in this transaction, whose query runs when that is committed.
    pub holds: bool,
    /// How many had joined before it.
    pub joined_as: usize,
    /// It may have written in this transaction.
    pub wrote: bool,
    /// It may have written what other shards have not: not copies alone.
    pub wrote_apart: bool,
    /// It may have locked rows in it.
    pub locked: bool,
    /// Why it stays with the client after the transaction.
    pub pin: Option<PinReason>,
    /// It may have temporary tables of the client.
    pub temporary: bool,
    /// Those of them that are known, as they were when they were looked at last.
    pub temporaries: Temporaries,
    /// Nothing has run on it since that may have changed them.
    pub temporaries_seen: bool,
    /// The generation of the catalog under which the functions that they call were looked at last.
    pub temporaries_of: Option<u64>,
    /// `setseed` was called on it.
    pub seeded: bool,
    /// It may have settings that no other connection has, until the transaction ends.
    pub unseen_locally: bool,
    /// It may have settings that no other connection has.
    pub unseen: bool,
    /// It was asked for something that may change its settings, and perhaps has not told yet what they are.
    pub may_have_set: bool,
    pub finishing: Finishing,
    /// The home shard has a portal that keeps the tables which are read here.
    pub guarded: bool,
    /// It does not count how long the client is silent in this transaction.
    pub untimed: bool,
    /// The right to keep it beyond its transaction.
    pub keeps: Option<OwnedSemaphorePermit>,
    /// It is one to a server beside the shards.
    pub beside: Option<Running>,
}

/// Why no server connections were lent.
pub enum Unlent {
    Failure(Failure),
    /// The pool at this place could not connect.
    Connect(Place, Fault),
}

impl From<Unlent> for Failure {
    fn from(unlent: Unlent) -> Self {
        match unlent {
            Unlent::Failure(failure) => failure,
            Unlent::Connect(_, fault) => fault.into(),
        }
    }
}

/// Whether a connection is one on which Postgres finishes a statement. Such a one takes no part in the client's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finishing {
    No,
    Running,
    /// It waits for the next Execute of its portal.
    Suspended,
    /// It has a cursor, declared when there were so many savepoints; it shares them with the shards.
    Cursor {
        depth: usize,
        hold: bool,
    },
    /// It has a cursor that outlives its transaction. In the next ones it takes part as a shard does, for what is set in them.
    Held,
}

impl Held {
    /// A statement runs here that may do this.
    pub fn note_access(&mut self, access: Access) {
        match access {
            Access::Read => {}
            Access::Lock => self.locked = true,
            Access::Write => {
                self.note_rows(false);
                self.temporaries_seen = false;
            }
        }
    }

    /// Rows are written here. `copies`: every shard writes the same.
    pub fn note_rows(&mut self, copies: bool) {
        self.wrote = true;
        self.wrote_apart |= !copies;
    }

    /// A statement runs here that may leave something behind.
    pub fn note_pin(&mut self, pin: Option<PinReason>) {
        let Some(reason) = pin else { return };
        self.temporaries_seen = false;
        self.may_have_set |= matches!(reason, PinReason::Setting | PinReason::LocalSetting | PinReason::Code);
        self.temporary |= matches!(reason, PinReason::TemporaryTable | PinReason::Code | PinReason::Setting);
        match reason {
            PinReason::LocalSetting => self.unseen_locally = self.joined,
            PinReason::Setting => {
                self.unseen = true;
                self.pin = Some(reason);
            }
            reason => {
                self.holds |= reason == PinReason::HoldCursor;
                self.seeded |= reason == PinReason::Seed;
                self.pin.get_or_insert(reason);
            }
        }
    }

    /// A statement is to run here that may release the lock by which others see the connection.
    pub fn note_unlocks(&mut self, unlocks: bool) {
        self.server.is_marked &= !unlocks;
    }

    /// Whether others see it, where they are to.
    pub fn is_marked(&self) -> bool {
        self.server.is_marked || self.server.mark.is_none()
    }

    pub fn running(&self) -> Arc<CancelHandle> {
        Arc::clone(&self.server.cancel)
    }

    /// Whether it is a connection to a replica.
    pub fn is_replica(&self) -> bool {
        matches!(self.server.connector().aim, Aim::Replica(..))
    }

    /// Whether statements that need these servers can run on it.
    fn serves(&self, servers: Servers) -> bool {
        self.is_of_its_stint() && (servers == Servers::Replicas || !self.is_replica())
    }

    /// Whether its server is still what it was when the connection was made: the primary of its shard.
    pub fn is_of_its_stint(&self) -> bool {
        self.server.connector().is_of_its_stint(&self.server)
    }

    /// Whether neither a transaction nor a pin holds it.
    fn is_free(&self) -> bool {
        !self.joined && self.pin.is_none() && self.finishing == Finishing::No
    }

    fn is_busy(&self) -> bool {
        !self.server.inflight.is_empty() || self.server.streaming > 0
    }
}

#[derive(Default)]
pub struct HeldServers(SmallVec<[Held; 1]>, u8);

impl HeldServers {
    pub fn position(&self, shard: ShardId) -> Option<usize> {
        self.0.iter().position(|h| h.shard == shard)
    }

    /// What the connections have done in the client's transaction.
    pub fn parts(&self) -> Parts {
        let of =
            |did: fn(&Held) -> bool| self.0.iter().filter(|held| held.joined && did(held)).map(|h| h.shard).collect();
        Parts { wrote: of(|held| held.wrote), locked: of(|held| held.locked), hold: of(|held| held.holds) }
    }

    /// What they have done since is undone: who has nothing left needs no part in a commit over shards.
    pub fn go_back_to(&mut self, parts: &Parts) {
        for held in self.0.iter_mut().filter(|held| held.joined) {
            held.wrote &= parts.wrote.contains(held.shard);
            held.locked &= parts.locked.contains(held.shard);
            held.holds &= parts.hold.contains(held.shard);
        }
    }

    /// A number for one more combine connection. One that was used lately is not used again: a portal may still name it.
    pub fn next_combine(&mut self) -> Option<ShardId> {
        let free = (1..=u8::MAX).map(|step| self.1.wrapping_add(step)).find(|n| {
            let slot = ShardId::combine(*n);
            self.position(slot).is_none()
        })?;
        self.1 = free;
        Some(ShardId::combine(free))
    }

    pub fn push(&mut self, held: Held) -> usize {
        self.0.push(held);
        self.0.len() - 1
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.0.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.0.iter_mut()
    }

    pub fn get_mut(&mut self, at: usize) -> Option<&mut Held> {
        self.0.get_mut(at)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn remove(&mut self, at: usize) -> Held {
        self.0.swap_remove(at)
    }

    /// The connections of these shards, in that order, each borrowed on its own.
    pub fn servers(&mut self, shards: &[ShardId]) -> Vec<&mut Backend> {
        self.select(shards).into_iter().map(|(_, server)| server).collect()
    }

    /// As `servers`, each with its shard.
    pub fn select(&mut self, shards: &[ShardId]) -> Vec<(ShardId, &mut Backend)> {
        let mut found: Vec<(usize, &mut Backend)> = self
            .0
            .iter_mut()
            .filter_map(|h| {
                let at = shards.iter().position(|s| *s == h.shard)?;
                Some((at, &mut *h.server))
            })
            .collect();
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(at, server)| (shards[at], server)).collect()
    }

    /// Takes out those that are in the middle of a statement.
    pub fn drain_busy(&mut self) -> Vec<Held> {
        let (busy, idle): (Vec<_>, Vec<_>) = self.0.drain(..).partition(Held::is_busy);
        self.0.extend(idle);
        busy
    }

    pub fn drain(&mut self) -> Vec<Held> {
        self.0.drain(..).collect()
    }

    /// A message that a held server sends without being asked (notification, notice, farewell).
    pub fn poll_unasked(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, Fault>> {
        // A server in the middle of an answer (a suspended portal) is left alone: its rows wait for their Execute.
        // What a combine connection has to say is asked with the next Execute.
        for held in self.0.iter_mut().filter(|held| !held.is_busy() && held.finishing == Finishing::No) {
            loop {
                match held.server.cut() {
                    Ok(Some(frame)) => {
                        held.server.note(&frame);
                        return Poll::Ready(match frame.tag {
                            b'A' | b'N' | b'S' => Ok(frame),
                            b'E' => {
                                held.server.broken = true;
                                Err(crate::backend::server_fault(frame.body()))
                            }
                            tag => Err(held.server.out_of_step(tag)),
                        });
                    }
                    Ok(None) => match held.server.poll_progress(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault)),
                        Poll::Pending => break,
                    },
                    Err(fault) => return Poll::Ready(Err(fault)),
                }
            }
        }
        Poll::Pending
    }
}

impl Index<usize> for HeldServers {
    type Output = Held;

    fn index(&self, at: usize) -> &Held {
        &self.0[at]
    }
}

impl IndexMut<usize> for HeldServers {
    fn index_mut(&mut self, at: usize) -> &mut Held {
        &mut self.0[at]
    }
}

impl Session {
    /// A connection to this shard with the client's settings on it, in the client's transaction if there is one.
    /// BEGIN is queued, not awaited; the statement behind it goes when it is answered.
    pub(super) async fn enlist(&mut self, shard: ShardId) -> Result<usize, Failure> {
        self.enlist_on(shard, self.servers_of_transaction()).await
    }

    /// The same on servers of this kind.
    pub(super) async fn enlist_on(&mut self, shard: ShardId, servers: Servers) -> Result<usize, Failure> {
        self.check_unseen_settings(shard)?;
        let at = match self.held.position(shard) {
            // Under the settings that its statement began with.
            Some(at) if shard.is_combine() && self.held[at].finishing != Finishing::Held => return Ok(at),
            Some(at) if self.held[at].serves(servers) && self.held[at].joined => at,
            Some(at) if self.held[at].serves(servers) => {
                self.wait_for_shards(std::iter::once(shard)).await?;
                at
            }
            None if shard.is_combine() => return Err(lost_cursor().into()),
            stale => {
                if let Some(at) = stale {
                    self.give_up(at)?;
                }
                if shard.is_combine() {
                    return Err(lost_cursor().into());
                }
                self.hold_all(&[shard], servers).await?;
                self.held_at(shard)?
            }
        };
        if self.statements.has_running() {
            self.park_runs().await?;
        }
        if !self.is_well_marked(at) {
            self.keep_marked(at).await?;
        }
        if !self.held[at].joined {
            if !shard.is_combine() {
                self.held[at].server.numbers = self.numbers_for(shard);
            }
            let wanted = self.settings_at_begin();
            let put = self.put_settings_at(at, &wanted).await?;
            let lives = was_cancelled(&self.held[at].server, &put) && self.held[at].pin.is_some();
            if let Err(fault) = put {
                // What a session has on a connection outlives a statement that was cancelled.
                if !lives {
                    self.let_go(at);
                }
                // In a login the role was never there.
                return Err(if self.begins { fault } else { lost_role(fault) }.into());
            }
            if self.tx.is_open() || self.held[at].pin.is_some() {
                self.forget_values(at);
            }
            if self.tx.is_open() {
                if self.tx.touched().contains(shard) {
                    // What it did there is gone with its connection.
                    self.let_go(at);
                    return Err(lost_part(&self.shard_names(&[shard])).into());
                }
                self.tx.touch(shard);
                self.tx.on_replicas.get_or_insert(false);
                let untimed = self.joins_untimed();
                let mut opening = self.tx.opening();
                if untimed {
                    opening.push_str("; ");
                    opening.push_str(UNTIMED);
                }
                let joined_as = self.held.iter().filter(|held| held.joined).count();
                let held = &mut self.held[at];
                held.joined_as = joined_as;
                held.server.applied_before = Some(held.server.applied.replace(Arc::clone(&self.settings)));
                held.server.open(&opening);
                held.joined = true;
                held.wrote = false;
                held.wrote_apart = false;
                held.locked = false;
                held.holds = false;
                held.untimed = untimed;
                if untimed {
                    self.stop_idle_timers().await;
                }
            }
        }
        Ok(at)
    }

    /// Brings a connection of the session's to these settings; a client that is gone is not waited for.
    ///
    /// # Errors
    /// The client is gone, or to go. The fault of the server.
    pub(super) async fn put_settings_at(
        &mut self,
        at: usize,
        wanted: &Arc<SessionSettings>,
    ) -> Result<Result<(), Fault>, Failure> {
        let server = &mut self.held[at].server;
        let put = outlived(&mut self.client, Duration::ZERO, put_settings(server, wanted)).await;
        self.or_gone(at, put)
    }

    /// The same for a statement of the session's own, such as SAVEPOINT: its rows.
    ///
    /// # Errors
    /// As [`Self::put_settings_at`].
    pub(super) async fn ask_at(
        &mut self,
        at: usize,
        sql: &str,
    ) -> Result<Result<Vec<Vec<Option<String>>>, Fault>, Failure> {
        let asked = outlived(&mut self.client, Duration::ZERO, self.held[at].server.query(sql)).await;
        self.or_gone(at, asked)
    }

    fn or_gone<T>(&mut self, at: usize, done: Option<T>) -> Result<T, Failure> {
        done.ok_or_else(|| {
            // It is in the middle of it.
            let server = &mut self.held[at].server;
            server.broken |= !server.inflight.is_empty();
            Stop::Gone.into()
        })
    }

    /// How descriptions of a shard are changed for this client. Who works in a placed schema asks its shard for the catalog, and is told what
    /// that one answers by its own numbers; what other shards answer, by those of the home shard, and so are the types read that a Parse for
    /// another shard names. A connection has its numbers from when it joins the transaction: a search path that is set later changes none.
    pub(super) fn numbers_for(&self, shard: ShardId) -> Option<Arc<Numbers>> {
        let numbers = self.view.catalog.numbers_of(shard)?;
        let own = self.view.topology.places_schemas() && self.names().base().shard == shard;
        (!own).then(|| Arc::clone(numbers))
    }

    /// What other clients have taken of sequences there is nothing that this one may be told.
    fn forget_values(&mut self, at: usize) {
        let held = &mut self.held[at];
        if std::mem::take(&mut held.server.knows_values) {
            held.server.ask("DISCARD SEQUENCES");
        }
    }

    /// Connections out of all these pools at once, with regard to what the session holds already, on which statements mean what they were
    /// routed for.
    pub(super) async fn try_checkout(&mut self, places: &[Place]) -> Result<SmallVec<[ServerCheckout; 1]>, Unlent> {
        self.checkout_for(places, Fit::Session).await
    }

    async fn checkout_for(&mut self, places: &[Place], fit: Fit) -> Result<SmallVec<[ServerCheckout; 1]>, Unlent> {
        let mut lent = self.lend(places, fit).await?;
        let epoch = self.view.topology.epoch;
        for server in &mut lent {
            let fits = match self.check_defaults(server) {
                Ok(()) => join_rules(&self.database, epoch, server).await,
                differs => differs,
            };
            fits.map_err(|fault| Unlent::Failure(fault.into()))?;
        }
        Ok(lent)
    }

    pub(super) async fn checkout(&mut self, place: Place) -> Result<ServerCheckout, Failure> {
        self.checkout_one(place, Fit::Session).await
    }

    pub(super) async fn checkout_one(&mut self, place: Place, fit: Fit) -> Result<ServerCheckout, Failure> {
        let lent = self.checkout_for(&[place], fit).await?.pop();
        lent.ok_or_else(|| Fault::new(SqlState::INTERNAL_ERROR, "a pool has lent nothing").into())
    }

    /// Settings that were changed on one connection behind our back (set_config) are unknown to every other: a statement that
    /// needs another shard could mean something else there.
    pub(super) fn check_unseen_settings(&self, shard: ShardId) -> Result<(), Fault> {
        if !self.held.iter().any(|held| held.shard != shard && (held.unseen || held.unseen_locally)) {
            return Ok(());
        }
        Err(Fault::unsupported(
            "the session's settings are known to one shard only",
            "set_config(), or code that a statement has run, may have changed the session on one shard alone.",
            "Use SET, or SELECT set_config() with literals or parameters; to go on, end the transaction or connect again.",
        ))
    }

    /// Takes a connection into the client's hands.
    pub(super) fn hold(&mut self, shard: ShardId, mut server: ServerCheckout) -> usize {
        server.numbers = self.numbers_for(shard);
        server.origins = None;
        server.placeholders.join(&self.making);
        let replica = matches!(server.connector().aim, Aim::Replica(..));
        let pin = (self.session_mode && !replica).then_some(PinReason::Setting);
        let at = self.held.push(Held {
            shard,
            server,
            joined: false,
            holds: false,
            joined_as: 0,
            wrote: false,
            wrote_apart: false,
            locked: false,
            pin,
            temporary: false,
            temporaries: Temporaries::default(),
            temporaries_seen: false,
            temporaries_of: None,
            seeded: false,
            unseen_locally: false,
            unseen: false,
            may_have_set: false,
            finishing: Finishing::No,
            guarded: false,
            untimed: false,
            keeps: None,
            beside: None,
        });
        self.tally.add(Count::Assignments, 1);
        let now = match self.slot.statement() {
            0 => self.clock.started.map_or(1, |started| self.shared.cancels.moment(started)),
            moment => moment,
        };
        self.slot.add(self.held[at].running(), now);
        at
    }

    /// Lets one connection go, whatever the transaction: it is given back if it is clean, else closed.
    pub(super) fn let_go(&mut self, at: usize) {
        drop(self.take_away(at));
    }

    /// The same, with a connection that is not done yet.
    pub(super) fn take_away(&mut self, at: usize) -> ServerCheckout {
        let mut held = self.held.remove(at);
        part_with(&mut held, &mut self.clock, &self.view.topology, &mut self.memory);
        self.note_running();
        if let (true, Some(running)) = (held.server.lost, &held.beside) {
            running.doubt();
        }
        held.server
    }

    /// Asks for the values of sequences that only connections know which are about to be given back, when the client has had its answer.
    pub(super) async fn give_back_values(&mut self) {
        let waits = |held: &&Held| held.is_free() && self.memory.waits_on(held.shard);
        let shards: Vec<ShardId> = self.held.iter().filter(waits).map(|held| held.shard).collect();
        if shards.is_empty() {
            return;
        }
        for shard in shards {
            self.remember_values(shard).await;
        }
        self.release_idle();
        self.settle_sequences();
    }

    /// Gives back every connection that neither a transaction nor a pin holds, but for those that are to be asked first
    /// ([`Self::give_back_values`]).
    pub(super) fn release_idle(&mut self) {
        if self.held.is_empty() {
            return;
        }
        // None may stay behind on a connection that another client gets. They are told behind the answer that is still to come.
        self.client.hold_news();
        self.pass_news();
        // Nearly always all of them go, and then none is moved.
        if self.held.iter().all(|held| !held.server.broken && held.is_free() && !self.memory.waits_on(held.shard)) {
            let Self { held, clock, view, memory, .. } = self;
            for held in held.iter_mut() {
                part_with(held, clock, &view.topology, memory);
            }
            self.slot.clear();
            self.held.clear();
            return;
        }
        let mut at = 0;
        let mut released: SmallVec<[Held; 1]> = SmallVec::new();
        while at < self.held.len() {
            let held = &self.held[at];
            let gone = held.server.broken;
            if gone || (held.is_free() && !self.memory.waits_on(held.shard)) {
                let mut held = self.held.remove(at);
                part_with(&mut held, &mut self.clock, &self.view.topology, &mut self.memory);
                released.push(held);
            } else {
                at += 1;
            }
        }
        // Out of the cancel slot first: a cancel must never meet another client's statement.
        self.note_running();
        drop(released);
    }

    pub(super) fn note_running(&self) {
        if self.held.is_empty() {
            self.slot.clear();
        } else {
            self.slot.set(self.held.iter().map(Held::running));
        }
    }

    /// The session ends: transactions are rolled back, clean connections go home, pinned ones are closed.
    pub(super) async fn end_held(&mut self) {
        self.abandon_batch().await;
        for mut held in self.held.drain() {
            let pinned = held.pin.is_some() || held.finishing == Finishing::Held;
            if held.server.status != Status::Idle && !held.server.broken {
                let rolled_back =
                    tokio::time::timeout(std::time::Duration::from_secs(5), held.server.query("ROLLBACK")).await;
                if !matches!(rolled_back, Ok(Ok(_))) {
                    held.server.broken = true;
                }
                held.server.applied = held.server.applied_before.take().unwrap_or(None);
            }
            held.server.knows_values |= self.memory.leaves(held.shard) || held.shard.is_combine();
            if pinned {
                held.server.discard();
            }
        }
    }
}

/// A connection is not the session's any more.
fn part_with(held: &mut Held, clock: &mut Clock, topology: &Topology, memory: &mut SequenceMemory) {
    clock.note_work(held, topology);
    // What is made on a combine connection may have taken some.
    held.server.knows_values |= memory.leaves(held.shard) || held.shard.is_combine();
}

fn lost_cursor() -> Fault {
    Fault::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "the cursor cannot be run")
        .detail("the connection that had its rows is gone")
}

/// Brings a connection to the client's settings; nothing is sent when it has them.
pub async fn put_settings(server: &mut Backend, wanted: &Arc<SessionSettings>) -> Result<(), Fault> {
    if server.applied.as_ref().is_some_and(|applied| Arc::ptr_eq(applied, wanted)) {
        return Ok(());
    }
    let before = server.applied.take();
    server.placeholders.join(wanted.placeholders());
    if let Some(sql) = wanted.statements_from(before.as_deref()) {
        let requests = server.cancel.announced();
        let mut done = server.query(&sql).await.map(drop);
        if was_cancelled(server, &done) && server.status == Status::Idle && server.cancel.announced() == requests {
            // By the time limit of whoever had it before.
            done = server.insist(&sql).await;
        }
        if let (true, Some(whole)) = (before.is_some() && lacks_right(&done), wanted.statements_from(None)) {
            // Of what another client had the right to set: RESET ALL asks for none.
            done = server.query(&whole).await.map(drop);
        }
        done?;
    }
    server.applied = Some(Arc::clone(wanted));
    Ok(())
}

/// A role that the session has taken on was dropped: one Postgres goes on with its number.
fn lost_role(fault: Fault) -> Fault {
    match missing_role(&fault) {
        Some(role) => Fault::unsupported(
            "going on under a role that was dropped is not supported",
            format!("The session has taken on role \"{role}\", which does not exist any more."),
            "RESET ROLE goes back to the user who has logged in.",
        ),
        None => fault,
    }
}

/// The role that a server does not have, where that is why it refuses a setting.
pub(super) fn missing_role(fault: &Fault) -> Option<&str> {
    let code = matches!(fault.code, SqlState::INVALID_PARAMETER_VALUE | SqlState::UNDEFINED_OBJECT);
    fault.message.strip_prefix("role \"")?.strip_suffix("\" does not exist").filter(|_| code)
}

fn lacks_right<T>(done: &Result<T, Fault>) -> bool {
    matches!(done, Err(fault) if fault.code == SqlState::INSUFFICIENT_PRIVILEGE)
}
