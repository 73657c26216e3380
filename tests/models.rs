//! The commit protocol model-checked: every order of messages, losses and crashes within bounds, with the state machine that the
//! router runs; and protocols that are wrong on purpose, in which the checker must find the fault.

#![allow(clippy::unwrap_used)]

#[path = "models/world.rs"]
mod world;

use std::collections::BTreeSet;

use pgloom::commit::two_phase::Outcome;
use stateright::{Checker, HasDiscoveries, Model, Property};

use world::{Faults, Part, Rule, SHARDS, Step, Transaction, World, anchor};

/// One question to the checker.
#[derive(Clone)]
struct Commit {
    transactions: usize,
    resolvers: usize,
    sweep: bool,
    faults: Faults,
    rule: Rule,
}

const ATOMIC: &str = "committed on all or on none";
const KEPT: &str = "an acknowledged commit is on every shard";
const FINAL: &str = "what was told to be rolled back stays so";
const FINISHED: &str = "at rest nothing is left prepared or open, and the client was answered";

impl Model for Commit {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.transactions, self.resolvers, self.sweep, self.faults, self.rule)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        steps.extend(world.steps(self.rule));
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        next.take(step, self.rule);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn each(world: &World, holds: impl Fn(usize, &Transaction) -> bool) -> bool {
            world.transactions.iter().enumerate().all(|(number, transaction)| holds(number, transaction))
        }
        fn some(world: &World, is: impl Fn(&Transaction) -> bool) -> bool {
            world.transactions.iter().any(is)
        }
        vec![
            Property::always(ATOMIC, |_, world| each(world, is_atomic)),
            Property::always(KEPT, |_, world| each(world, is_kept)),
            Property::always(FINAL, |_, world| each(world, |_, t| is_final(t))),
            Property::always(FINISHED, |model: &Commit, world: &World| {
                !world.progress(model.rule).is_empty() || each(world, |_, t| is_finished(t))
            }),
            // That the bounds leave room for what the properties are about.
            Property::sometimes("a commit is told", |_, w| {
                some(w, |t| matches!(t.told, Some(Outcome::Committed { .. })))
            }),
            Property::sometimes("a rollback is told", |_, w| {
                some(w, |t| matches!(t.told, Some(Outcome::RolledBack { .. })))
            }),
            Property::sometimes("a tombstone stands", |_, w| some(w, |t| t.decision == Some(false))),
        ]
    }
}

/// No part is committed while another is rolled back, or the anchor still open.
fn is_atomic(number: usize, transaction: &Transaction) -> bool {
    let any = |wanted: Part| transaction.parts.contains(&wanted);
    let undecided = matches!(transaction.parts[anchor(number)], Part::Open { .. } | Part::RolledBack);
    !(any(Part::Committed) && (any(Part::RolledBack) || undecided))
}

fn is_kept(number: usize, transaction: &Transaction) -> bool {
    let Some(Outcome::Committed { left }) = &transaction.told else { return true };
    transaction.parts[anchor(number)] == Part::Committed
        && (0..SHARDS).all(|shard| match transaction.parts[shard] {
            Part::Committed => true,
            Part::Prepared => left.iter().any(|left| left.index() == shard),
            Part::Open { .. } | Part::RolledBack => false,
        })
}

fn is_final(transaction: &Transaction) -> bool {
    !matches!(transaction.told, Some(Outcome::RolledBack { .. })) || !transaction.parts.contains(&Part::Committed)
}

fn is_finished(transaction: &Transaction) -> bool {
    let ended = |part: &Part| matches!(part, Part::Committed | Part::RolledBack);
    transaction.parts.iter().all(ended) && transaction.router.is_none()
}

const NONE: Faults = Faults { cuts: 0, shard_crashes: 0, router_crashes: 0, refusals: 0, withdrawals: 0 };

impl Commit {
    /// One transaction, one resolver, the right protocol.
    fn with(faults: Faults) -> Self {
        Self { transactions: 1, resolvers: 1, sweep: false, faults, rule: Rule::Right }
    }

    fn by(rule: Rule, faults: Faults) -> Self {
        Self { rule, ..Self::with(faults) }
    }

    /// Every state within the bounds is as it has to be.
    fn holds(self, label: &str) {
        let start = std::time::Instant::now();
        let checker = self.checker().threads(2).spawn_bfs().join();
        let (states, seconds) = (checker.unique_state_count(), start.elapsed().as_secs_f64());
        println!("{label}: {states} states, {seconds:.1} s");
        checker.assert_properties();
    }

    /// The checker finds a way to break `property`; it is printed.
    fn breaks(self, property: &'static str) {
        let rule = self.rule;
        let found = HasDiscoveries::AllOf(BTreeSet::from([property]));
        let checker = self.checker().finish_when(found).spawn_bfs().join();
        let Some(path) = checker.discovery(property) else {
            panic!("{rule:?}: no counterexample of \"{property}\" in {} states", checker.unique_state_count());
        };
        println!("{rule:?} breaks \"{property}\": {:?}", path.into_actions());
    }
}

#[test]
fn two_resolvers_at_once_with_a_cut_and_a_crashed_shard() {
    let faults = Faults { cuts: 1, shard_crashes: 1, ..NONE };
    Commit { resolvers: 2, ..Commit::with(faults) }.holds("2 resolvers, cut, shard crash");
}

#[test]
fn two_resolvers_at_once_with_a_cut_and_a_crashed_router() {
    let faults = Faults { cuts: 1, router_crashes: 1, ..NONE };
    Commit { resolvers: 2, ..Commit::with(faults) }.holds("2 resolvers, cut, router crash");
}

#[test]
fn two_resolvers_at_once_with_a_crashed_shard_and_a_crashed_router() {
    let faults = Faults { shard_crashes: 1, router_crashes: 1, ..NONE };
    Commit { resolvers: 2, ..Commit::with(faults) }.holds("2 resolvers, shard crash, router crash");
}

#[test]
fn two_resolvers_at_once_with_a_refusal_and_a_cut() {
    let faults = Faults { cuts: 1, refusals: 1, ..NONE };
    Commit { resolvers: 2, ..Commit::with(faults) }.holds("2 resolvers, refusal, cut");
}

#[test]
fn two_resolvers_at_once_with_a_commit_that_is_taken_back_and_a_cut() {
    let faults = Faults { withdrawals: 1, cuts: 1, ..NONE };
    Commit { resolvers: 2, ..Commit::with(faults) }.holds("2 resolvers, taken back, cut");
}

#[test]
fn a_commit_that_is_taken_back_with_a_cut_and_a_crashed_router() {
    let faults = Faults { withdrawals: 1, cuts: 1, router_crashes: 1, ..NONE };
    Commit::with(faults).holds("1 resolver, taken back, cut, router crash");
}

#[test]
fn a_commit_that_is_taken_back_on_two_shards_while_one_crashes() {
    let faults = Faults { withdrawals: 2, shard_crashes: 1, refusals: 1, ..NONE };
    Commit::with(faults).holds("1 resolver, taken back twice, shard crash, refusal");
}

#[test]
fn one_of_every_fault() {
    let faults = Faults { cuts: 1, shard_crashes: 1, router_crashes: 1, refusals: 1, withdrawals: 0 };
    Commit::with(faults).holds("1 resolver, every fault once");
}

#[test]
fn two_cuts_and_a_crashed_shard() {
    let faults = Faults { cuts: 2, shard_crashes: 1, ..NONE };
    Commit::with(faults).holds("1 resolver, 2 cuts, shard crash");
}

#[test]
fn a_shard_that_crashes_twice() {
    let faults = Faults { shard_crashes: 2, refusals: 1, ..NONE };
    Commit::with(faults).holds("1 resolver, 2 shard crashes, refusal");
}

#[test]
fn two_transactions_with_crossed_anchors() {
    let faults = Faults { shard_crashes: 1, ..NONE };
    Commit { transactions: 2, ..Commit::with(faults) }.holds("2 transactions, shard crash");
}

#[test]
fn decision_rows_are_forgotten_when_nobody_needs_them() {
    let faults = Faults { cuts: 1, router_crashes: 1, ..NONE };
    Commit { sweep: true, ..Commit::with(faults) }.holds("forgetting, cut, router crash");
}

#[test]
fn a_server_that_remembers_an_abort_is_believed() {
    let faults = Faults { cuts: 1, router_crashes: 1, ..NONE };
    Commit::by(Rule::RightByNumber, faults).holds("aborts remembered, cut, router crash");
    let faults = Faults { cuts: 1, ..NONE };
    Commit { sweep: true, ..Commit::by(Rule::RightByNumber, faults) }.holds("aborts remembered, forgetting, cut");
}

#[test]
fn decision_rows_are_forgotten_in_time_also_where_a_shard_crashes() {
    let faults = Faults { cuts: 1, shard_crashes: 1, ..NONE };
    Commit { sweep: true, ..Commit::with(faults) }.holds("forgetting, cut, shard crash");
}

#[test]
fn the_checker_finds_a_resolver_without_tombstone() {
    Commit::by(Rule::NoFence, NONE).breaks(ATOMIC);
}

#[test]
fn the_checker_finds_a_decision_behind_the_second_phase() {
    Commit::by(Rule::DecideLast, NONE).breaks(ATOMIC);
}

#[test]
fn the_checker_finds_an_answer_before_the_decision() {
    Commit::by(Rule::TellEarly, NONE).breaks(KEPT);
}

#[test]
fn the_checker_finds_a_lost_commit_that_is_told_as_a_failed_one() {
    let faults = Faults { cuts: 1, ..NONE };
    Commit::by(Rule::LostIsFailed, faults).breaks(FINAL);
    Commit::by(Rule::LostIsFailed, faults).breaks(ATOMIC);
}

#[test]
fn the_checker_finds_a_tombstone_that_is_believed_behind_a_forgotten_commit() {
    let faults = Faults { cuts: 1, ..NONE };
    Commit { sweep: true, ..Commit::by(Rule::TrustTombstone, faults) }.breaks(FINAL);
}

#[test]
fn the_checker_finds_a_refusal_that_is_not_heard() {
    Commit::by(Rule::IgnoreRefusal, Faults { refusals: 1, ..NONE }).breaks(ATOMIC);
}

#[test]
fn the_checker_finds_rows_that_are_forgotten_too_early() {
    let faults = Faults { router_crashes: 1, ..NONE };
    Commit { sweep: true, ..Commit::by(Rule::ForgetByAge, faults) }.breaks(ATOMIC);
    Commit { sweep: true, ..Commit::by(Rule::LookFirst, faults) }.breaks(ATOMIC);
}
