//! Carries out what `TwoPhase` asks: on the connections of the client's transaction, and on the router's own where those are lost.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::Instant;

use crate::backend::Backend;
use crate::commit::decision::{self, decide};
use crate::commit::seal::Seal;
use crate::commit::two_phase::{Action, Event, Outcome, Reply, Request, TwoPhase};
use crate::commit::{CommitPlan, Gid};
use crate::config::TwoPhaseCommit;
use crate::control::errand::{Errands, finish_on};
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::ShardId;
use crate::metrics::Ended;
use crate::session::transaction::Decided;
use crate::session::undecided::{self, Patience, Stage};
use crate::session::{Failure, Session};
use crate::topology::Topology;
use crate::wire::reply::NoticeLevel;

static SEQUENCE: AtomicU64 = AtomicU64::new(0);

/// How long a client waits at most for the shards to answer again after a connection broke in its commit.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a part is ended anew that a cancel request has met before its end had begun.
const ATTEMPTS: usize = 20;

/// One commit: its name, and why it failed on which shard.
struct Run {
    gid: Gid,
    topology: Arc<Topology>,
    /// The anchor's row.
    decide: String,
    /// The number of its transaction, once the row is written.
    number: Option<u64>,
    faults: Vec<Failed>,
    /// Why it is to be rolled back, where its client or a limit wants that.
    told: Option<Fault>,
    /// Connections of the router's own, once they are needed, and how long they may be.
    errands: Option<(Errands, Instant)>,
}

fn unguessable() -> Result<[u8; 16], Fault> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| {
        Fault::new(SqlState::SYSTEM_ERROR, "the operating system gives no random numbers").blame(Blame::Router)
    })?;
    Ok(bytes)
}

struct Failed {
    shard: ShardId,
    fault: Fault,
    /// The connection is gone.
    lost: bool,
}

impl Run {
    fn name(&self, shard: ShardId) -> &str {
        self.topology.shards.get(shard.index()).map_or("?", |shard| &shard.name)
    }

    /// The statement of a request on the transaction's own connection.
    fn sql(&self, shard: ShardId, request: Request) -> String {
        match request {
            Request::Decide => self.decide.clone(),
            Request::Prepare => format!("PREPARE TRANSACTION '{}'", self.gid.on(self.name(shard))),
            Request::Commit => "COMMIT".to_owned(),
            Request::RollBack => "ROLLBACK".to_owned(),
            // The name alone: the verb follows from the request.
            Request::Finish { .. } => self.gid.on(self.name(shard)),
            Request::Fence | Request::Read => String::new(),
        }
    }

    fn note(&mut self, shard: ShardId, answer: Result<Answer, Fault>, lost: bool) -> Reply {
        match answer {
            Ok(Answer { reply, number }) => {
                self.number = self.number.or(number);
                reply
            }
            Err(fault) => {
                self.faults.push(Failed { shard, fault, lost });
                if lost { Reply::Lost } else { Reply::Failed }
            }
        }
    }
}

/// What a server said.
struct Answer {
    reply: Reply,
    /// The number of the anchor's transaction, behind its row.
    number: Option<u64>,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self { reply, number: None }
    }
}

impl Session {
    /// Anchor decides, others prepare, anchor commits, others commit: as [`TwoPhase`] says.
    pub(super) async fn commit_two_phase(&mut self, anchor: ShardId, others: &[ShardId]) -> Result<(), Fault> {
        let topology = Arc::clone(&self.view.topology);
        let (gid, decide) = match &self.tx.decided {
            Some(decided) if decided.anchor == anchor => (decided.gid.clone(), decision::DECIDED.to_owned()),
            Some(_) | None => {
                let (gid, seal) = self.new_gid(anchor)?;
                let decide = decide(&gid, &seal, others.iter().map(|shard| name_of(&topology, *shard)));
                (gid, decide)
            }
        };
        let mut run = Run { gid, topology, decide, number: None, faults: Vec::new(), told: None, errands: None };
        self.slot.note_commit(Some(run.gid.to_string()));
        let began = Instant::now();
        let slot = Arc::clone(&self.slot);
        let waiting = slot.wait();
        let outcome = self.run_two_phase(&mut run, anchor, others).await;
        drop(waiting);
        let ended = match &outcome {
            Outcome::Committed { .. } => Ended::Committed,
            Outcome::RolledBack { .. } => Ended::RolledBack,
            Outcome::Unknown => Ended::Unknown,
        };
        self.shared.metrics.two_phase(ended, began.elapsed());
        self.clock.note_part("two_phase", Some(began.into_std()), Vec::new());
        self.slot.note_commit(None);
        self.conclude(outcome, &run)
    }

    fn new_gid(&self, anchor: ShardId) -> Result<(Gid, Seal), Fault> {
        let sequence = SEQUENCE.fetch_add(1, Ordering::Relaxed);
        let seal = Seal::of(unguessable()?);
        let transaction = seal.transaction(&self.shared.router, sequence);
        Ok((Gid::new(&self.database.name, transaction, name_of(&self.view.topology, anchor)), seal))
    }

    /// The client's transaction is about to become read only, for good once it has seen anything: the row by which it is decided can
    /// only be written before. To the protocol it is a decision row like any other, a while before the first PREPARE.
    pub(super) async fn decide_before_read_only(&mut self) -> Result<(), Failure> {
        if !self.tx.is_open() || self.tx.decided.is_some() || self.database.two_phase_commit != TwoPhaseCommit::On {
            return Ok(());
        }
        // Those that have locks alone may have to be prepared, too.
        let CommitPlan::TwoPhase { anchor, .. } = self.commit_plan(true) else { return Ok(()) };
        self.park_runs().await?;
        let topology = Arc::clone(&self.view.topology);
        let (gid, seal) = self.new_gid(anchor)?;
        // Who else may take a lock in it by then is not known.
        let row = decision::row(&gid, &seal, topology.shards.iter().map(|shard| &*shard.name));
        let at = self.held_at(anchor)?;
        self.held[at].server.query(&row).await?;
        self.tx.decided = Some(Decided { gid, anchor, depth: self.tx.depth() });
        Ok(())
    }

    async fn run_two_phase(&mut self, run: &mut Run, anchor: ShardId, others: &[ShardId]) -> Outcome {
        let (mut machine, mut actions) = TwoPhase::begin(anchor, others);
        loop {
            let mut asks = Vec::new();
            for action in actions {
                match action {
                    Action::Ask { shard, request } => asks.push((shard, request)),
                    Action::Conclude(outcome) => return outcome,
                }
            }
            actions = Vec::new();
            for event in self.carry_out(run, asks).await {
                let (next, more) = machine.step(event);
                machine = next;
                actions.extend(more);
            }
        }
    }

    /// All at once where they go to different connections of the transaction; then those of the router's own.
    async fn carry_out(&mut self, run: &mut Run, asks: Vec<(ShardId, Request)>) -> Vec<Event> {
        let is_own =
            |request: &Request| matches!(request, Request::Fence | Request::Read | Request::Finish { anew: true, .. });
        let (own, held): (Vec<_>, Vec<_>) = asks.into_iter().partition(|(_, request)| is_own(request));
        let shards: Vec<ShardId> = held.iter().map(|(shard, _)| *shard).collect();
        let stage = Stage::of(held.iter().map(|(_, request)| *request));
        let slot = Arc::clone(&self.slot);
        let mut patience = Patience::new(stage, &mut self.client, &slot, &self.times, run.told.take());
        let servers = self.held.select(&shards);
        let known: Vec<ShardId> = servers.iter().map(|(shard, _)| *shard).collect();
        let mut working: Vec<_> = servers.iter().map(|(shard, server)| (*shard, Arc::clone(&server.cancel))).collect();
        let mut asked: FuturesUnordered<_> = servers
            .into_iter()
            .filter_map(|(shard, server)| {
                let (_, request) = held.iter().find(|(at, _)| *at == shard)?;
                let sql = run.sql(shard, *request);
                Some(async move {
                    let answer = ask_held(server, *request, &sql).await;
                    (shard, *request, answer, server.broken)
                })
            })
            .collect();
        let mut answers = Vec::new();
        let given_up = poll_fn(|cx| {
            while let Poll::Ready(answer) = asked.poll_next_unpin(cx) {
                match answer {
                    Some(answer) => {
                        working.retain(|(shard, _)| *shard != answer.0);
                        if let (_, _, Err(fault), false) = &answer {
                            patience.undo(fault);
                        }
                        answers.push(answer);
                    }
                    None => return Poll::Ready(None),
                }
            }
            patience.poll(cx, &working).map(Some)
        })
        .await;
        drop(asked);
        run.told = patience.settle(&working).await;
        let mut events = Vec::new();
        for (shard, request, answer, broken) in answers {
            let answer = answer.map_err(|fault| match &run.told {
                Some(told) if fault.code == SqlState::QUERY_CANCELED => told.clone(),
                Some(_) | None => fault,
            });
            let reply = match (request, run.note(shard, answer, broken)) {
                (Request::Decide | Request::Prepare, Reply::Done) if run.told.is_some() => Reply::Unwanted,
                (_, reply) => reply,
            };
            if reply == Reply::Unwanted {
                let fault = run.told.clone().unwrap_or_else(unreplicated);
                run.faults.push(Failed { shard, fault, lost: false });
            }
            events.push(Event { shard, request, reply });
        }
        for (shard, request) in held {
            let answered = events.iter().any(|event| event.shard == shard && event.request == request);
            if answered {
                continue;
            }
            if let (true, Some(fault)) = (known.contains(&shard), &given_up) {
                // It is in the middle of its answer.
                self.held.select(&[shard]).into_iter().for_each(|(_, server)| server.broken = true);
                run.faults.push(Failed { shard, fault: fault.clone(), lost: false });
            }
            events.push(Event { shard, request, reply: Reply::Lost });
        }
        for (shard, request) in own {
            let (errands, deadline) = run.errands.get_or_insert_with(|| {
                // Whoever is idle in this very transaction is ours, and we have given it up.
                let mut errands = Errands::new(&self.database, &self.view.topology, Duration::ZERO);
                errands.number = run.number;
                errands.login = Some(self.pools.pool(shard).connector.credentials.clone());
                (errands, Instant::now() + undecided::patience(&self.times, PATIENCE))
            });
            let reply = errands.run_until(*deadline, &run.gid, shard, request).await;
            events.push(Event { shard, request, reply });
        }
        events
    }

    /// What the client is told.
    fn conclude(&mut self, outcome: Outcome, run: &Run) -> Result<(), Fault> {
        match outcome {
            Outcome::Committed { left } => {
                if !left.is_empty() {
                    self.warn_of_left(&left, run);
                }
                Ok(())
            }
            Outcome::RolledBack { cause, left } => {
                if !left.is_empty() {
                    tracing::warn!(gid = %run.gid, shards = ?left, "rolled back; what may be prepared is left to the resolver");
                }
                Err(rolled_back(run.name(cause), run.faults.iter().find(|failed| failed.shard == cause)))
            }
            Outcome::Unknown => {
                let why = run.faults.last().map(|failed| failed.fault.to_string());
                Err(unknown_outcome(why.as_deref().unwrap_or("the shard that decides does not answer")))
            }
        }
    }

    /// Committed, but not yet to be seen everywhere.
    fn warn_of_left(&mut self, left: &[ShardId], run: &Run) {
        let names = left.iter().map(|shard| run.name(*shard)).collect::<Vec<_>>().join(", ");
        tracing::warn!(gid = %run.gid, shards = %names, "committed; the second phase is left to the resolver there");
        let warning = Fault::new(SqlState::WARNING, "the transaction is committed, but not yet visible on every shard")
            .detail(format!("No answer came from {names}; it is finished there as soon as they answer."));
        self.tell_notice(NoticeLevel::Warning, &warning);
    }
}

fn name_of(topology: &Topology, shard: ShardId) -> &str {
    topology.shards.get(shard.index()).map_or("", |shard| &shard.name)
}

/// One request on a connection of the transaction.
async fn ask_held(server: &mut Backend, request: Request, sql: &str) -> Result<Answer, Fault> {
    if server.broken {
        return Err(server.lost("the connection broke before"));
    }
    match request {
        Request::Decide => {
            let rows = server.query(sql).await?;
            let number = rows.into_iter().flatten().flatten().next().and_then(|number| number.parse().ok());
            Ok(Answer { reply: Reply::Done, number })
        }
        // A failed transaction answers with a rollback and no error.
        Request::Prepare => {
            let prepared = expect(&server.command(sql).await?, "PREPARE TRANSACTION")?;
            // With a failover it could be gone while the others are committed.
            Ok(server.take_unreplicated().map_or(prepared, |_| Reply::Unwanted.into()))
        }
        Request::Commit => expect(&server.command(sql).await?, "COMMIT"),
        Request::RollBack => server.query(sql).await.map(|_| Reply::Done.into()),
        // Refused where it was prepared under a role of the transaction's own (SET LOCAL ROLE): it is tried anew then.
        Request::Finish { commit, .. } => finish_held(server, sql, commit).await.map(Answer::from),
        Request::Fence | Request::Read => {
            Err(Fault::new(SqlState::INTERNAL_ERROR, "a request of the router's own was sent in a transaction"))
        }
    }
}

/// The end of a part on the connection that has prepared it, where cancel requests of before may still come.
async fn finish_held(server: &mut Backend, name: &str, commit: bool) -> Result<Reply, Fault> {
    let mut done = finish_on(server, name, commit).await;
    for _ in 1..ATTEMPTS {
        match &done {
            Err(fault) if fault.code == SqlState::QUERY_CANCELED && !server.broken => {
                done = finish_on(server, name, commit).await;
            }
            Ok(_) | Err(_) => break,
        }
    }
    if !commit {
        // Nobody waits for standbys to hear of what is undone.
        server.take_unreplicated();
    }
    done
}

/// Somebody has ended a server's wait for its standbys before the transaction was decided.
fn unreplicated() -> Fault {
    Fault::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
        .detail("A shard's wait for synchronous replication was ended before the transaction was decided.")
        .hint("It was rolled back on every shard, and can be repeated.")
}

fn expect(tag: &str, wanted: &str) -> Result<Answer, Fault> {
    if tag == wanted {
        return Ok(Reply::Done.into());
    }
    Err(Fault::new(SqlState::TRANSACTION_ROLLBACK, "the transaction has failed on a shard")
        .detail(format!("{wanted} was answered by {tag}")))
}

/// Nothing is committed, and nothing will be.
fn rolled_back(shard: &str, failed: Option<&Failed>) -> Fault {
    let lost = |detail: String| {
        Fault::new(SqlState::TRANSACTION_ROLLBACK, "the transaction was rolled back on every shard")
            .detail(detail)
            .hint("It can be repeated.")
            .blame(Blame::Server)
    };
    let Some(Failed { fault, lost: is_lost, .. }) = failed else {
        return lost(format!("The connection to shard {shard} was lost."));
    };
    if let Some(what) = fault.message.strip_prefix("cannot PREPARE a transaction that ") {
        return Fault::unsupported(
            "this transaction cannot be committed on several shards",
            format!(
                "On shard {shard} it {what}; of the shards that it writes on, one alone may have a part that does."
            ),
            "Do so in a transaction of its own, or in one that writes on no other shard.",
        );
    }
    match fault.code {
        _ if *is_lost => lost(format!("Shard {shard}: {fault}")),
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE if fault.message.contains("prepared transactions") => {
            Fault::unsupported(
                "a transaction that writes on several shards is not supported here",
                format!("Shard {shard}: {}.", fault.message),
                "Set max_prepared_transactions there to at least max_connections, or two_phase_commit = \"best_effort\".",
            )
        }
        SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_COLUMN | SqlState::INSUFFICIENT_PRIVILEGE => fault
            .clone()
            .hint("Cross-shard writes need the table pgloom.decision on every shard: run \"pgloom check\"."),
        _ => fault.clone(),
    }
}

/// `08007`: committed or not, and nobody can tell now.
pub(super) fn unknown_outcome(why: &str) -> Fault {
    Fault::new(SqlState::TRANSACTION_RESOLUTION_UNKNOWN, "the outcome of the transaction is unknown")
        .detail(why.to_owned())
        .hint("Read back what the transaction wrote before repeating it.")
        .blame(Blame::Server)
}
