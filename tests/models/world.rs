//! Shards, routers and what is on its way between them, for the model checker. The protocol itself is not here: every router and
//! resolver runs the real [`TwoPhase`].
//!
//! A request is on its way until it arrives; then it is carried out, answered, and what follows from the answer is on its way. An
//! answer that takes its time is the same to everybody else as a next request that does; one that is lost is a request that
//! arrives after its connection was cut.

use std::hash::{DefaultHasher, Hash, Hasher};

use pgloom::commit::two_phase::{Action, Event, Outcome, Reply, Request, TwoPhase};
use pgloom::ids::ShardId;

/// Each transaction writes on all of them.
pub const SHARDS: usize = 3;

/// What one transaction is on one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// `row`: with its decision row, on the anchor.
    Open {
        row: bool,
    },
    Prepared,
    Committed,
    RolledBack,
}

/// Somebody who runs the protocol: the router of a transaction, or a resolver at work on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub machine: TwoPhase,
    /// What is on its way to each shard and awaited.
    pub asked: [Option<Request>; SHARDS],
    /// Only with the wrong [`Rule::DecideLast`]: the COMMIT of the anchor that was put off.
    put_off: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    /// The client's router while it lives and is not done.
    pub router: Option<Process>,
    /// The connections of the client's transaction that are not broken.
    pub attached: [bool; SHARDS],
    pub parts: [Part; SHARDS],
    /// The row on the anchor that everybody sees.
    pub decision: Option<bool>,
    /// Requests that will be carried out, or not, with nobody left to hear of it; sorted.
    pub orphans: Vec<(usize, Request)>,
    /// What the client was told.
    pub told: Option<Outcome>,
}

/// The removal of old decision rows, by one router.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sweep {
    Waiting,
    /// `rows`: those of the snapshot, by transaction. `seen`: where something was prepared. `looked`: at these shards.
    Looking {
        rows: Option<Vec<bool>>,
        seen: Vec<bool>,
        looked: [bool; SHARDS],
    },
    Done,
}

/// How often things may still go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Faults {
    /// A connection breaks.
    pub cuts: u8,
    /// A shard dies and comes back.
    pub shard_crashes: u8,
    /// A router dies, with all its connections.
    pub router_crashes: u8,
    /// A shard refuses to prepare or to commit (a deferred constraint).
    pub refusals: u8,
    /// A client takes its COMMIT back, or a shard does not vouch for what it has prepared.
    pub withdrawals: u8,
}

/// The protocol, or one that is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    Right,
    /// The same, where the anchor's server remembers that the transaction was aborted.
    RightByNumber,
    /// Resolvers look for the decision row without a tombstone.
    NoFence,
    /// The anchor commits when all others have.
    DecideLast,
    /// The client is told when all have prepared.
    TellEarly,
    /// A COMMIT of the anchor that was not answered is taken for one that failed.
    LostIsFailed,
    /// A router takes a tombstone for a proof, though nothing was prepared any more.
    TrustTombstone,
    /// One that refuses to prepare is not waited for.
    IgnoreRefusal,
    /// Rows are forgotten by their age, whatever is prepared.
    ForgetByAge,
    /// Shards are asked what they have prepared before it is noted which rows there are.
    LookFirst,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub transactions: Vec<Transaction>,
    /// Each at rest, or at work on one transaction.
    pub resolvers: Vec<Option<(usize, Process)>>,
    pub sweep: Sweep,
    pub faults: Faults,
}

/// Who speaks to a shard about a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    Router(usize),
    Resolver(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A request arrives, is carried out and answered.
    Arrive(Who, usize),
    /// It arrives and is refused.
    Refuse(Who, usize),
    /// It arrives, is carried out, and is not wanted any more by then.
    Withdraw(Who, usize),
    /// The connection on which this process waits for this shard breaks; what it asked may still arrive.
    Cut(Who, usize),
    /// A connection of the client's transaction breaks while nothing is asked on it.
    CutIdle(usize, usize),
    /// A request of nobody arrives, or is lost with its connection.
    Orphan(usize, usize),
    LoseOrphan(usize, usize),
    /// A shard notices that the client of an open transaction is gone.
    Notice(usize, usize),
    /// A resolver that waits for an open anchor ends its connection.
    Terminate(usize),
    /// With what was on its way from routers carried out just before, or not.
    CrashShard(usize, bool),
    CrashRouter(Who),
    /// A resolver has found what a mask of shards has prepared of a transaction.
    Find(usize, usize, u8),
    SweepRemember,
    SweepLook(usize),
    SweepForget,
}

/// The anchor of a transaction: each has another one.
pub fn anchor(transaction: usize) -> usize {
    transaction % SHARDS
}

fn id(shard: usize) -> ShardId {
    ShardId(shard as u16)
}

impl Process {
    fn new(machine: TwoPhase) -> Self {
        Self { machine, asked: [None; SHARDS], put_off: false }
    }
}

impl Transaction {
    fn new() -> Self {
        Self {
            router: None,
            attached: [true; SHARDS],
            parts: [Part::Open { row: false }; SHARDS],
            decision: None,
            orphans: Vec::new(),
            told: None,
        }
    }

    /// What a shard does with a request; `None`: it has to wait.
    fn carry_out(&mut self, shard: usize, number: usize, request: Request) -> Option<Reply> {
        let part = self.parts[shard];
        let done = match (request, part) {
            (Request::Decide, Part::Open { .. }) if self.decision.is_some() => {
                self.parts[shard] = Part::RolledBack;
                Reply::Failed
            }
            (Request::Decide, Part::Open { .. }) => {
                self.parts[shard] = Part::Open { row: true };
                Reply::Done
            }
            (Request::Prepare, Part::Open { .. }) => {
                self.parts[shard] = Part::Prepared;
                Reply::Done
            }
            (Request::Commit, Part::Open { row }) => {
                self.parts[shard] = Part::Committed;
                self.decision = if row { Some(true) } else { self.decision };
                Reply::Done
            }
            (Request::RollBack, Part::Open { .. }) => {
                self.parts[shard] = Part::RolledBack;
                Reply::Done
            }
            (Request::Decide | Request::Prepare | Request::Commit | Request::RollBack, _) => Reply::Lost,
            (Request::Finish { commit, .. }, Part::Prepared) => {
                self.parts[shard] = if commit { Part::Committed } else { Part::RolledBack };
                Reply::Done
            }
            (Request::Finish { .. }, _) => Reply::Absent,
            // The primary key: an insert waits for the open transaction that has inserted the same.
            (Request::Fence, _) if self.parts[anchor(number)] == (Part::Open { row: true }) => return None,
            (Request::Fence, _) => {
                self.decision.get_or_insert(false);
                Reply::Done
            }
            (Request::Read, _) => Reply::Verdict { committed: self.decision == Some(true), proven: false },
        };
        Some(done)
    }

    pub fn prepared(&self) -> impl Iterator<Item = usize> + '_ {
        (0..SHARDS).filter(|shard| self.parts[*shard] == Part::Prepared)
    }
}

/// Whether a request has a connection of its own.
fn is_anew(request: Request) -> bool {
    matches!(request, Request::Fence | Request::Read | Request::Finish { anew: true, .. })
}

impl World {
    pub fn new(transactions: usize, resolvers: usize, sweep: bool, faults: Faults, rule: Rule) -> Self {
        let mut new = Self {
            transactions: (0..transactions).map(|_| Transaction::new()).collect(),
            resolvers: vec![None; resolvers],
            sweep: if sweep { Sweep::Waiting } else { Sweep::Done },
            faults,
        };
        for number in 0..transactions {
            let others: Vec<ShardId> = (0..SHARDS).filter(|shard| *shard != anchor(number)).map(id).collect();
            let (machine, actions) = TwoPhase::begin(id(anchor(number)), &others);
            new.transactions[number].router = Some(Process::new(machine));
            new.act(Who::Router(number), actions, rule);
        }
        new
    }

    fn process(&mut self, who: Who) -> Option<(usize, &mut Process)> {
        match who {
            Who::Router(number) => self.transactions[number].router.as_mut().map(|process| (number, process)),
            Who::Resolver(at) => self.resolvers[at].as_mut().map(|(number, process)| (*number, process)),
        }
    }

    /// Everybody at work, with the transaction.
    fn working(&self) -> Vec<(Who, usize, &Process)> {
        let routers = self.transactions.iter().enumerate();
        let routers = routers.filter_map(|(number, t)| Some((Who::Router(number), number, t.router.as_ref()?)));
        let resolvers = self.resolvers.iter().enumerate();
        let resolvers = resolvers.filter_map(|(at, work)| {
            let (number, process) = work.as_ref()?;
            Some((Who::Resolver(at), *number, process))
        });
        routers.chain(resolvers).collect()
    }

    /// Gives a process an answer.
    fn answer(&mut self, who: Who, event: Event, rule: Rule) {
        let Some((number, process)) = self.process(who) else { return };
        process.asked[event.shard.index()] = None;
        let machine = process.machine.clone();
        let reply = match (who, rule, event.request, event.reply) {
            (_, Rule::LostIsFailed, Request::Commit, Reply::Lost) => Reply::Failed,
            (Who::Router(_), Rule::TrustTombstone, Request::Read, Reply::Verdict { .. }) => {
                Reply::Verdict { committed: self.transactions[number].decision == Some(true), proven: true }
            }
            (Who::Router(_), Rule::RightByNumber, Request::Read, Reply::Verdict { .. }) => {
                let transaction = &self.transactions[number];
                let proven = transaction.parts[anchor(number)] == Part::RolledBack;
                Reply::Verdict { committed: transaction.decision == Some(true), proven }
            }
            (.., reply) => reply,
        };
        let (machine, actions) = machine.step(Event { reply, ..event });
        if let Some((_, process)) = self.process(who) {
            process.machine = machine;
        }
        self.act(who, actions, rule);
    }

    /// Puts what a process wants on its way.
    fn act(&mut self, who: Who, actions: Vec<Action>, rule: Rule) {
        for action in actions {
            match action {
                Action::Ask { shard, request } => {
                    if let Some(reply) = self.ask(who, shard.index(), request, rule) {
                        self.answer(who, Event { shard, request, reply }, rule);
                    }
                }
                Action::Conclude(outcome) => self.conclude(who, outcome),
            }
        }
    }

    /// `Some`: the answer is there at once.
    fn ask(&mut self, who: Who, shard: usize, request: Request, rule: Rule) -> Option<Reply> {
        let (number, process) = self.process(who)?;
        process.asked[shard] = Some(request);
        match (who, rule, request) {
            (Who::Router(_), Rule::DecideLast, Request::Commit) => {
                process.put_off = true;
                return Some(Reply::Done);
            }
            (Who::Router(_), Rule::TellEarly, Request::Commit) => {
                self.transactions[number].told = Some(Outcome::Committed { left: Vec::new() });
            }
            (Who::Resolver(_), Rule::NoFence, Request::Fence) => return Some(Reply::Done),
            _ => {}
        }
        // On a connection that is known to be broken nothing is sent.
        (!is_anew(request) && !self.transactions[number].attached[shard]).then_some(Reply::Lost)
    }

    fn conclude(&mut self, who: Who, outcome: Outcome) {
        match who {
            Who::Router(number) => {
                let transaction = &mut self.transactions[number];
                transaction.told = transaction.told.take().or(Some(outcome));
                if transaction.router.take().is_some_and(|process| process.put_off) {
                    transaction.orphans.push((anchor(number), Request::Commit));
                }
            }
            Who::Resolver(at) => self.resolvers[at] = None,
        }
    }

    /// All that can happen next.
    pub fn steps(&self, rule: Rule) -> Vec<Step> {
        let mut steps = self.progress(rule);
        steps.extend(self.accidents());
        steps
    }

    /// What happens by itself sooner or later.
    pub fn progress(&self, rule: Rule) -> Vec<Step> {
        let mut steps = Vec::new();
        for (who, number, process) in self.working() {
            for (shard, request) in process.asked.iter().enumerate() {
                let Some(request) = request else { continue };
                if self.transactions[number].clone().carry_out(shard, number, *request).is_some() {
                    steps.push(Step::Arrive(who, shard));
                } else {
                    steps.push(Step::Terminate(number));
                }
            }
        }
        for (number, transaction) in self.transactions.iter().enumerate() {
            for (at, (shard, request)) in transaction.orphans.iter().enumerate() {
                if transaction.clone().carry_out(*shard, number, *request).is_some() {
                    steps.push(Step::Orphan(number, at));
                }
                steps.push(Step::LoseOrphan(number, at));
            }
            let noticed = |shard: &usize| matches!(transaction.parts[*shard], Part::Open { .. });
            let gone = (0..SHARDS).filter(noticed).filter(|shard| !transaction.attached[*shard]);
            steps.extend(gone.map(|shard| Step::Notice(number, shard)));
            let prepared = transaction.prepared().fold(0u8, |mask, shard| mask | 1 << shard);
            if let Some(idle) = self.resolvers.iter().position(Option::is_none) {
                let masks = (1..1u8 << SHARDS).filter(|mask| mask & !prepared == 0);
                steps.extend(masks.map(|mask| Step::Find(idle, number, mask)));
            }
        }
        self.sweep_steps(rule, &mut steps);
        steps
    }

    /// What may go wrong now.
    fn accidents(&self) -> Vec<Step> {
        let faults = self.faults;
        let mut steps = Vec::new();
        for (who, _, process) in self.working() {
            for (shard, request) in process.asked.iter().enumerate() {
                let Some(request) = request else { continue };
                if matches!(request, Request::Prepare | Request::Commit) && faults.refusals > 0 {
                    steps.push(Step::Refuse(who, shard));
                }
                if matches!(request, Request::Decide | Request::Prepare) && faults.withdrawals > 0 {
                    steps.push(Step::Withdraw(who, shard));
                }
                if faults.cuts > 0 {
                    steps.push(Step::Cut(who, shard));
                }
            }
            if faults.router_crashes > 0 {
                steps.push(Step::CrashRouter(who));
            }
        }
        let routers = self.transactions.iter().enumerate();
        for (number, transaction) in routers.filter(|_| faults.cuts > 0) {
            let Some(router) = &transaction.router else { continue };
            let open = |shard: &usize| matches!(transaction.parts[*shard], Part::Open { .. });
            let idle = (0..SHARDS).filter(open).filter(|s| transaction.attached[*s] && router.asked[*s].is_none());
            steps.extend(idle.map(|shard| Step::CutIdle(number, shard)));
        }
        if faults.shard_crashes > 0 {
            let awaited =
                |shard: &usize| self.transactions.iter().flat_map(|t| &t.router).any(|r| r.asked[*shard].is_some());
            steps.extend((0..SHARDS).map(|shard| Step::CrashShard(shard, false)));
            steps.extend((0..SHARDS).filter(awaited).map(|shard| Step::CrashShard(shard, true)));
        }
        steps
    }

    fn sweep_steps(&self, rule: Rule, steps: &mut Vec<Step>) {
        match &self.sweep {
            Sweep::Waiting if rule == Rule::LookFirst => steps.push(Step::SweepLook(0)),
            Sweep::Waiting => steps.push(Step::SweepRemember),
            Sweep::Looking { rows, looked, .. } => {
                // One after the other, as the resolver does; the participants are alike.
                steps.extend(looked.iter().position(|looked| !looked).map(Step::SweepLook));
                let all = looked.iter().all(|looked| *looked);
                match rows {
                    None if all => steps.push(Step::SweepRemember),
                    None => {}
                    Some(_) if all || rule == Rule::ForgetByAge => steps.push(Step::SweepForget),
                    Some(_) => {}
                }
            }
            Sweep::Done => {}
        }
    }

    /// Does a step. Resolvers are alike: worlds that differ in their order alone are one.
    pub fn take(&mut self, step: Step, rule: Rule) {
        self.follow(step, rule);
        self.resolvers.sort_by_cached_key(|work| {
            let mut hasher = DefaultHasher::new();
            work.hash(&mut hasher);
            (work.is_none(), hasher.finish())
        });
    }

    fn follow(&mut self, step: Step, rule: Rule) {
        match step {
            Step::Arrive(who, shard) => self.arrive(who, shard, false, rule),
            Step::Withdraw(who, shard) => {
                self.faults.withdrawals -= 1;
                self.arrive(who, shard, true, rule);
            }
            Step::Refuse(who, shard) => {
                self.faults.refusals -= 1;
                let Some((number, process)) = self.process(who) else { return };
                if let Some(request) = process.asked[shard] {
                    self.transactions[number].parts[shard] = Part::RolledBack;
                    let reply = if rule == Rule::IgnoreRefusal { Reply::Done } else { Reply::Failed };
                    self.answer(who, Event { shard: id(shard), request, reply }, rule);
                }
            }
            Step::Cut(who, shard) => {
                self.faults.cuts -= 1;
                self.cut(who, shard, rule);
            }
            Step::CutIdle(number, shard) => {
                self.faults.cuts -= 1;
                self.transactions[number].attached[shard] = false;
            }
            Step::Orphan(number, at) => {
                let transaction = &mut self.transactions[number];
                let (shard, request) = transaction.orphans.remove(at);
                transaction.carry_out(shard, number, request);
            }
            Step::LoseOrphan(number, at) => {
                self.transactions[number].orphans.remove(at);
            }
            Step::Notice(number, shard) => self.transactions[number].parts[shard] = Part::RolledBack,
            Step::Terminate(number) => {
                let transaction = &mut self.transactions[number];
                transaction.parts[anchor(number)] = Part::RolledBack;
                transaction.attached[anchor(number)] = false;
            }
            Step::CrashShard(shard, behind) => self.crash_shard(shard, behind, rule),
            Step::CrashRouter(who) => self.crash_router(who),
            Step::Find(resolver, number, mask) => {
                let found: Vec<ShardId> = (0..SHARDS).filter(|shard| mask & 1 << shard != 0).map(id).collect();
                let (machine, actions) = TwoPhase::left_behind(id(anchor(number)), &found);
                self.resolvers[resolver] = Some((number, Process::new(machine)));
                self.act(Who::Resolver(resolver), actions, rule);
            }
            Step::SweepRemember | Step::SweepLook(_) | Step::SweepForget => self.sweep(step),
        }
    }

    fn arrive(&mut self, who: Who, shard: usize, withdrawn: bool, rule: Rule) {
        let Some((number, process)) = self.process(who) else { return };
        let Some(request) = process.asked[shard] else { return };
        if let Some(reply) = self.transactions[number].carry_out(shard, number, request) {
            let reply = if withdrawn && reply == Reply::Done { Reply::Unwanted } else { reply };
            self.answer(who, Event { shard: id(shard), request, reply }, rule);
        }
    }

    /// The process hears nothing any more; what it asked may still be carried out.
    fn cut(&mut self, who: Who, shard: usize, rule: Rule) {
        let Some((number, process)) = self.process(who) else { return };
        let Some(request) = process.asked[shard] else { return };
        let transaction = &mut self.transactions[number];
        transaction.attached[shard] &= is_anew(request);
        transaction.orphans.push((shard, request));
        transaction.orphans.sort();
        self.answer(who, Event { shard: id(shard), request, reply: Reply::Lost }, rule);
    }

    fn crash_shard(&mut self, shard: usize, behind: bool, rule: Rule) {
        self.faults.shard_crashes -= 1;
        for (number, transaction) in self.transactions.iter_mut().enumerate() {
            if let Some(request) = transaction.router.as_ref().and_then(|router| router.asked[shard]).filter(|_| behind)
            {
                transaction.carry_out(shard, number, request);
            }
            transaction.attached[shard] = false;
            transaction.orphans.retain(|(at, _)| *at != shard);
            if let Part::Open { .. } = transaction.parts[shard] {
                transaction.parts[shard] = Part::RolledBack;
            }
        }
        let everybody: Vec<Who> = self.working().into_iter().map(|(who, ..)| who).collect();
        for who in everybody {
            if let Some((_, process)) = self.process(who)
                && let Some(request) = process.asked[shard]
            {
                self.answer(who, Event { shard: id(shard), request, reply: Reply::Lost }, rule);
            }
        }
    }

    fn crash_router(&mut self, who: Who) {
        self.faults.router_crashes -= 1;
        let Some((number, process)) = self.process(who) else { return };
        let on_their_way: Vec<(usize, Request)> =
            process.asked.iter().enumerate().filter_map(|(shard, asked)| Some((shard, (*asked)?))).collect();
        let transaction = &mut self.transactions[number];
        transaction.orphans.extend(on_their_way);
        transaction.orphans.sort();
        match who {
            Who::Router(_) => {
                transaction.router = None;
                transaction.attached = [false; SHARDS];
            }
            Who::Resolver(at) => self.resolvers[at] = None,
        }
    }

    fn sweep(&mut self, step: Step) {
        let count = self.transactions.len();
        let now: Vec<bool> = self.transactions.iter().map(|t| t.decision.is_some()).collect();
        if self.sweep == Sweep::Waiting {
            self.sweep = Sweep::Looking { rows: None, seen: vec![false; count], looked: [false; SHARDS] };
        }
        let Sweep::Looking { rows, seen, looked } = &mut self.sweep else { return };
        match step {
            Step::SweepRemember => *rows = Some(now),
            Step::SweepLook(shard) => {
                looked[shard] = true;
                for (seen, transaction) in seen.iter_mut().zip(&self.transactions) {
                    *seen |= transaction.parts[shard] == Part::Prepared;
                }
            }
            _ => {
                let rows = rows.take().unwrap_or_default();
                for ((transaction, row), seen) in self.transactions.iter_mut().zip(rows).zip(seen) {
                    let tombstone = transaction.decision == Some(false);
                    if row && (tombstone || !*seen) {
                        transaction.decision = None;
                    }
                }
                self.sweep = Sweep::Done;
            }
        }
    }
}
