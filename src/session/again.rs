//! A statement over several shards that is a transaction by itself is run again where it falls victim to a deadlock: one Postgres locks rows
//! in one order where shards lock theirs at once. So is one that only reads, and whose servers broke. What was rolled back before the client
//! was told anything is as if it had never been.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::exec::client::OUT_HIGH;
use crate::fault::SqlState;
use crate::plan::{Access, Plan, PlanKind, Why};
use crate::session::prepared::{ClientStatement, Place};
use crate::session::replica::Servers;
use crate::session::run::Ask;
use crate::session::{Failure, Session};
use crate::sql::Analysis;
use crate::sql::utility::cursor::Cursor;

/// For how long statements on what has met a deadlock go to one shard after the other at once.
const CONTENDED: Duration = Duration::from_secs(60);
/// Two tables that share one are not in each other's way for long.
const GATES: usize = 64;
/// How many may run at a time behind one gate.
const ROOM: u32 = 1 << 20;
/// How long is waited at a gate. Who does not get in runs all the same.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long is waited before the first further run, before each later one twice as long: who was waited for takes the lock meanwhile. One
/// that comes at once can have it again before he is awake, and would meet the same deadlock.
const RESPITE: Duration = Duration::from_millis(20);

/// The tables, by the hash of their names, that have met deadlocks lately, and who writes them.
#[derive(Debug)]
pub struct Contended {
    gates: Box<[Gate]>,
    made: Instant,
}

/// Statements run here side by side. One that has met a deadlock runs alone, so that it does not meet the same again: it would lose each time
/// against those that hold a later shard and wait for the first.
#[derive(Debug)]
struct Gate {
    room: Semaphore,
    /// When a deadlock was met last, in milliseconds since the gates were made; 0: never.
    met: AtomicU64,
}

impl Default for Contended {
    fn default() -> Self {
        let gate = || Gate { room: Semaphore::new(ROOM as usize), met: AtomicU64::new(0) };
        Self { gates: (0..GATES).map(|_| gate()).collect(), made: Instant::now() }
    }
}

impl Contended {
    fn gate(&self, database: &str, written: &Written<'_>) -> &Gate {
        let mut hasher = DefaultHasher::new();
        (database, written).hash(&mut hasher);
        let at = usize::try_from(hasher.finish() % GATES as u64).unwrap_or_default();
        &self.gates[at]
    }

    fn moment(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.made).as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn is_hot(&self, gate: &Gate, now: Instant) -> bool {
        let met = gate.met.load(Ordering::Relaxed);
        met > 0 && u128::from(self.moment(now).saturating_sub(met)) < CONTENDED.as_millis()
    }

    fn note(&self, gate: &Gate, now: Instant) {
        gate.met.store(self.moment(now), Ordering::Relaxed);
    }
}

impl Gate {
    async fn enter(&self, room: u32) -> Option<SemaphorePermit<'_>> {
        tokio::time::timeout(PATIENCE, self.room.acquire_many(room)).await.ok()?.ok()
    }
}

/// What a statement writes.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Written<'a> {
    Table(Box<str>),
    /// Not said at its beginning.
    By(&'a str),
}

fn written(text: &str) -> Written<'_> {
    let mut cursor = Cursor::new(text);
    let begins = cursor.accept_all(&["insert", "into"])
        || cursor.accept_all(&["merge", "into"])
        || cursor.accept_all(&["delete", "from"])
        || cursor.accept("update");
    if begins {
        cursor.accept("only");
        if let Some(table) = cursor.qualified_name().and_then(|mut name| name.pop()) {
            return Written::Table(table);
        }
    }
    Written::By(text)
}

/// Bytes of an answer to a read that are kept back: Postgres itself sends its answers in pieces of this size.
const KEPT: usize = 8 * 1024;

/// Why a statement is run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Deadlock,
    /// A server broke. `on_replicas`: it may be one that lags.
    Server {
        on_replicas: bool,
    },
}

/// A read that may be run more than once.
enum Reading<'a> {
    Statement {
        plan: &'a Plan,
        analysis: &'a Arc<Analysis>,
        ask: &'a Ask<'a>,
    },
    /// The first Execute of a portal of the router's; `bind`: the Bind message's body.
    Portal {
        name: &'a [u8],
        statement: &'a Arc<ClientStatement>,
        bind: Bytes,
        plan: Box<Plan>,
        max_rows: i32,
    },
}

/// What a further run begins with.
struct Runs {
    cause: Cause,
    left: u32,
    /// The transaction was opened before the statement, and is opened again; or was the client's, and goes on.
    open: bool,
    changed_rows: bool,
    told_best_effort: bool,
}

impl Session {
    /// A plan that touches several shards, or none. The client gets rows and the command tag, but no ReadyForQuery.
    pub(super) async fn run_multi(
        &mut self,
        plan: &Plan,
        analysis: &Arc<Analysis>,
        ask: &Ask<'_>,
    ) -> Result<(), Failure> {
        let alone = self.tx.take_alone();
        match self.further_runs(plan, analysis, alone, self.is_fresh())? {
            Some(runs) if runs.cause == Cause::Deadlock => self.run_in_gates(plan, analysis, ask, runs).await,
            Some(runs) => self.read_again(Reading::Statement { plan, analysis, ask }, runs).await,
            None => self.run_followed(plan, analysis, ask).await,
        }
    }

    /// The first Execute of a portal that runs on several servers, with a row limit or without.
    pub(super) async fn execute_first(
        &mut self,
        name: &[u8],
        statement: &Arc<ClientStatement>,
        max_rows: i32,
    ) -> Result<(), Failure> {
        if let Place::Router { bind, plan } = &self.statements.portal(name)?.place
            && plan.access == Access::Read
        {
            let (bind, plan) = (bind.clone(), plan.clone());
            // Its Parse and its Describe may have begun the block on a server.
            let fresh = self.is_fresh() || self.tx.has_run_nothing();
            if let Some(runs) = self.further_runs(&plan, &statement.analysis, false, fresh)? {
                let reading = Reading::Portal { name, statement, bind, plan, max_rows };
                return self.read_again(reading, runs).await;
            }
        }
        self.execute_planned(name, statement, max_rows).await
    }

    /// Why, and how often, the statement may be run again. `alone`: it is a transaction by itself; `fresh`: nothing was before it in that.
    fn further_runs(
        &mut self,
        plan: &Plan,
        analysis: &Analysis,
        alone: bool,
        fresh: bool,
    ) -> Result<Option<Runs>, Failure> {
        // Portals that are suspended would end with what is rolled back, and what is pinned would stay. Of a portal all is run again, not
        // a part.
        if analysis.pin.is_some() || self.statements.has_running() || self.client.is_kept() {
            return Ok(None);
        }
        let (cause, left) = if alone && may_run_again(plan) {
            (Cause::Deadlock, self.limits.deadlock_retries)
        } else if plan.access == Access::Read && analysis.only_reads && fresh {
            let on_replicas = self.servers_for(analysis)? == Servers::Replicas;
            (Cause::Server { on_replicas }, 1)
        } else {
            return Ok(None);
        };
        let (changed_rows, told_best_effort) = (self.changed_rows, self.told_best_effort);
        let open = self.tx.is_open();
        Ok((left > 0).then_some(Runs { cause, left, open, changed_rows, told_best_effort }))
    }

    /// A read, which may be run again on other servers while nothing of its answer has been sent.
    async fn read_again(&mut self, reading: Reading<'_>, mut runs: Runs) -> Result<(), Failure> {
        self.client.keep(KEPT);
        let mut done = self.run_reading(&reading).await;
        while let Err(failure) = &done
            && self.is_cause(failure, runs.cause)
            && self.start_again(&mut runs).await
        {
            self.bring_back(&reading);
            done = self.run_reading(&reading).await;
        }
        self.client.release();
        done
    }

    async fn run_reading(&mut self, reading: &Reading<'_>) -> Result<(), Failure> {
        match reading {
            Reading::Statement { plan, analysis, ask } => self.run_followed(plan, analysis, ask).await,
            Reading::Portal { name, statement, max_rows, .. } => {
                Box::pin(self.execute_planned(name, statement, *max_rows)).await
            }
        }
    }

    /// The portal stands where it stood before its first Execute.
    fn bring_back(&mut self, reading: &Reading<'_>) {
        if let Reading::Portal { name, statement, bind, plan, .. } = reading
            && let Some(portal) = self.statements.find_portal(name)
        {
            portal.statement = Arc::clone(statement);
            portal.place = Place::Router { bind: bind.clone(), plan: plan.clone() };
            portal.position = None;
        }
    }

    async fn run_in_gates(
        &mut self,
        plan: &Plan,
        analysis: &Arc<Analysis>,
        ask: &Ask<'_>,
        mut runs: Runs,
    ) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let gate = shared.contended.gate(&self.database.name, &written(ask.statement().0));
        self.in_turn = shared.contended.is_hot(gate, Instant::now());
        let mut within = gate.enter(1).await;
        self.client.keep(OUT_HIGH);
        let mut respite = RESPITE;
        let done = loop {
            let done = self.run_followed(plan, analysis, ask).await;
            match &done {
                Err(failure) if self.is_cause(failure, runs.cause) => {}
                Ok(()) | Err(_) => break done,
            }
            shared.contended.note(gate, Instant::now());
            if !self.start_again(&mut runs).await {
                break done;
            }
            drop(within.take());
            if let Err(left) = self.pause(respite).await {
                break Err(left);
            }
            respite = respite.saturating_mul(2);
            within = gate.enter(ROOM).await;
            if runs.open {
                self.tx.begin_implicit(&self.settings);
            }
        };
        drop(within);
        self.in_turn = false;
        self.client.release();
        done
    }

    fn is_cause(&self, failure: &Failure, cause: Cause) -> bool {
        match cause {
            Cause::Deadlock => self.is_deadlock(failure),
            Cause::Server { on_replicas } => self.is_of_servers(failure, on_replicas),
        }
    }

    fn is_deadlock(&self, failure: &Failure) -> bool {
        match failure {
            Failure::Fault(fault) => fault.code == SqlState::DEADLOCK_DETECTED,
            Failure::Reported => self.client.kept_error() == Some(SqlState::DEADLOCK_DETECTED),
            Failure::Stop(_) => false,
        }
    }

    /// Whether the statement may be run once more: then everything is as it was before its first run.
    async fn start_again(&mut self, runs: &mut Runs) -> bool {
        if runs.left == 0 || !self.client.take_back() {
            return false;
        }
        runs.left -= 1;
        match (runs.cause, runs.open) {
            (Cause::Server { .. }, true) => self.leave_servers().await,
            (Cause::Server { .. } | Cause::Deadlock, _) if self.tx.is_open() => self.roll_back_quietly().await,
            (Cause::Server { .. } | Cause::Deadlock, _) => {}
        }
        // The rest of the request by which it was chosen as the victim.
        self.settle_cancels().await;
        self.changed_rows = runs.changed_rows;
        self.told_best_effort = runs.told_best_effort;
        match runs.cause {
            Cause::Deadlock => {
                self.in_turn = true;
                self.client.keep(OUT_HIGH);
                self.shared.metrics.retry("deadlock");
            }
            Cause::Server { .. } => {
                self.ask_primaries();
                self.client.keep(KEPT);
            }
        }
        true
    }
}

/// Not what reads, takes rows of the client's, or is committed in parts.
fn may_run_again(plan: &Plan) -> bool {
    plan.access != Access::Read
        && !matches!(plan.kind, PlanKind::CopyIn(_) | PlanKind::CreateAs(_))
        && !matches!(plan.why, Why::OneByOne(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_met_a_deadlock_is_known_for_a_while() {
        let (contended, start) = (Contended::default(), Instant::now());
        let gate = &contended.gates[0];
        assert!(!contended.is_hot(gate, start));
        contended.note(gate, start);
        assert!(contended.is_hot(gate, start) && !contended.is_hot(&contended.gates[1], start));
        assert!(!contended.is_hot(gate, start + CONTENDED));
    }

    #[test]
    fn statements_on_one_table_meet_at_one_gate() {
        let table = |name: &str| Written::Table(name.into());
        for text in [
            "INSERT INTO t VALUES (1), (2)",
            "update only public.T set a = 1",
            "DELETE FROM t",
            "MERGE INTO \"t\" USING s ON true WHEN MATCHED THEN DELETE",
        ] {
            assert_eq!(written(text), table("t"), "{text}");
        }
        assert_eq!(written("WITH x AS (SELECT 1) DELETE FROM t"), Written::By("WITH x AS (SELECT 1) DELETE FROM t"));
    }

    #[tokio::test]
    async fn who_runs_again_runs_alone() {
        let contended = Contended::default();
        let gate = contended.gate("d", &Written::By(""));
        let (one, other) = (gate.enter(1).await, gate.enter(1).await);
        assert!(one.is_some() && other.is_some());
        assert!(gate.enter(ROOM).await.is_none(), "not before the others are done, but not for ever");
        drop((one, other));
        let alone = gate.enter(ROOM).await;
        assert!(alone.is_some() && gate.enter(1).await.is_none());
    }
}
