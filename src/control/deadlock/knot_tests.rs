#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use proptest::prelude::*;

use super::super::graph::Blocker;
use super::*;

fn process(shard: u16, pid: u32) -> Process {
    Process { shard: ShardId(shard), pid }
}

fn wait(shard: u16, waiter: u32, blocker: u32) -> Wait {
    Wait {
        waiter: process(shard, waiter),
        blocker: Blocker::Process(blocker),
        since: "1".into(),
        lock: "ShareLock on transaction 7".into(),
    }
}

fn transaction(number: u32) -> Transaction {
    Transaction { began: u64::from(number), router: "r".into(), client: number }
}

/// It waits for a connection to this shard, which these have.
fn queued(waiter: u32, shard: u16, lent: &[u32]) -> Queued {
    let lent = lent.iter().map(|pid| process(shard, *pid)).collect();
    Queued { waiter: transaction(waiter), since: 1, shard: ShardId(shard), lent }
}

/// Transaction `n` is process `n` on every shard.
fn everywhere(count: u32, shards: u16) -> Owners {
    let each = (0..count).flat_map(|n| (0..shards).map(move |shard| (process(shard, n), transaction(n))));
    Owners { processes: each.collect(), prepared: HashMap::new() }
}

fn victims(waits: &[Wait], queued: &[Queued]) -> Vec<u32> {
    knots(waits, queued, &everywhere(9, 3), "r").iter().map(|knot| knot.victim.client).collect()
}

#[test]
fn who_stands_in_a_queue_is_stuck_when_all_are_who_have_what_it_waits_for() {
    // 1 has a row on shard 0 that 2 and 3 wait for; they have all connections to shard 1.
    let both = [wait(0, 2, 1), wait(0, 3, 1)];
    assert_eq!(victims(&both, &[queued(1, 1, &[2, 3])]), [3], "the youngest");
    assert_eq!(victims(&both, &[queued(1, 1, &[2, 3, 4])]), Vec::<u32>::new(), "one of them goes on");
    assert_eq!(victims(&both[..1], &[queued(1, 1, &[2, 3])]), Vec::<u32>::new());
    // A stranger that has a connection goes on.
    assert_eq!(victims(&both, &[queued(1, 1, &[2, 3, 77])]), Vec::<u32>::new());
    assert_eq!(victims(&both, &[]), Vec::<u32>::new());
}

#[test]
fn what_stands_in_queues_behind_queues_is_found() {
    // 2 waits for a row of 1 and 3 for what 1 and 2 have.
    let found = knots(&[wait(0, 2, 1)], &[queued(1, 1, &[2, 3]), queued(3, 0, &[1, 2])], &everywhere(9, 2), "r");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].victim, transaction(3));
    assert_eq!(found[0].circle.len(), 2);
    assert_eq!((found[0].waits.len(), found[0].queued.len()), (1, 2));
}

#[test]
fn who_only_waits_for_those_in_a_circle_is_no_victim() {
    // 8 is the youngest, but its end helps nobody; nor does that of 7, for whom 8 waits.
    let waits = [wait(0, 2, 1), wait(0, 3, 1), wait(0, 7, 1), wait(1, 8, 7)];
    assert_eq!(victims(&waits, &[queued(1, 1, &[2, 3]), queued(6, 1, &[2, 3])]), [3]);
}

#[test]
fn victims_are_of_our_own_router() {
    let mut owners = everywhere(9, 3);
    let theirs = Transaction { router: "other".into(), ..transaction(3) };
    owners.processes.values_mut().filter(|owner| owner.client == 3).for_each(|owner| *owner = theirs.clone());
    let waits = [wait(0, 2, 1), wait(0, 3, 1)];
    let found = knots(&waits, &[queued(1, 1, &[2, 3])], &owners, "r");
    assert_eq!(found.iter().map(|knot| knot.victim.client).collect::<Vec<_>>(), [2]);
}

/// Some transactions and strangers on some shards, who waits for whom, and for what connections.
fn worlds() -> impl Strategy<Value = (Owners, Vec<Wait>, Vec<Queued>)> {
    let waits = prop::collection::vec((0u16..2, 0u32..6, 0u32..6), 0..8);
    let queues = prop::collection::vec((0u32..5, 0u16..2, prop::collection::btree_set(0u32..6, 1..4)), 0..4);
    (waits, queues).prop_map(|(waits, queues)| {
        let waits = waits.into_iter().filter(|(_, a, b)| a != b).map(|(shard, a, b)| wait(shard, a, b)).collect();
        let queues = queues
            .into_iter()
            .map(|(waiter, shard, lent)| queued(waiter, shard, &lent.into_iter().collect::<Vec<_>>()));
        // 5 is a stranger.
        (everywhere(5, 2), waits, queues.collect())
    })
}

/// The greatest set of which each waits for one of it, by trying all sets.
fn stuck(waits: &[Wait], queued: &[Queued], owners: &Owners, gone: &[Transaction]) -> BTreeSet<Node> {
    let locks = graph(waits, owners);
    let mut nodes: BTreeSet<Node> = locks.keys().cloned().collect();
    nodes.extend(queued.iter().map(|one| Node::Transaction(one.waiter.clone())));
    let nodes: Vec<Node> =
        nodes.into_iter().filter(|node| !gone.iter().any(|one| Node::Transaction(one.clone()) == *node)).collect();
    let blocked = |node: &Node, set: &BTreeSet<&Node>| {
        let by_lock = locks.get(node).is_some_and(|holders| holders.iter().any(|(holder, _)| set.contains(holder)));
        let by_queue = queued.iter().any(|one| {
            Node::Transaction(one.waiter.clone()) == *node
                && one.lent.iter().all(|process| set.contains(&owners.node(*process)))
        });
        by_lock || by_queue
    };
    let mut all = BTreeSet::new();
    for bits in 1u32..1 << nodes.len() {
        let set: BTreeSet<&Node> =
            nodes.iter().enumerate().filter(|(at, _)| bits & 1 << at != 0).map(|(_, node)| node).collect();
        if set.iter().all(|node| blocked(node, &set)) {
            all.extend(set.into_iter().cloned());
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn victims_are_taken_exactly_while_somebody_is_stuck((owners, waits, queues) in worlds()) {
        let mut gone: Vec<Transaction> = Vec::new();
        for knot in knots(&waits, &queues, &owners, "r") {
            let before = stuck(&waits, &queues, &owners, &gone);
            let victim = Node::Transaction(knot.victim.clone());
            prop_assert!(before.contains(&victim), "{:?} of {:?}", victim, before);
            gone.push(knot.victim);
        }
        prop_assert_eq!(stuck(&waits, &queues, &owners, &gone), BTreeSet::new());
    }

    #[test]
    fn the_circle_that_is_told_is_one((owners, waits, queues) in worlds()) {
        for knot in knots(&waits, &queues, &owners, "r") {
            let waiter = |step: &Step| match step {
                Step::Lock(wait) => owners.node(wait.waiter),
                Step::Queue(one, _) => Node::Transaction(one.waiter.clone()),
            };
            prop_assert_eq!(waiter(&knot.circle[0]), Node::Transaction(knot.victim.clone()));
            for (at, step) in knot.circle.iter().enumerate() {
                let holder = match step {
                    Step::Lock(wait) => {
                        prop_assert!(knot.waits.contains(wait));
                        let Blocker::Process(pid) = wait.blocker else { panic!("not in these worlds") };
                        Process { pid, ..wait.waiter }
                    }
                    Step::Queue(one, process) => {
                        prop_assert!(knot.queued.contains(one) && one.lent.contains(process));
                        *process
                    }
                };
                prop_assert_eq!(owners.node(holder), waiter(&knot.circle[(at + 1) % knot.circle.len()]));
            }
        }
    }

    #[test]
    fn a_victim_lets_somebody_go_on_where_any_would((owners, waits, queues) in worlds()) {
        let mut gone: Vec<Transaction> = Vec::new();
        for knot in knots(&waits, &queues, &owners, "r") {
            let before = stuck(&waits, &queues, &owners, &gone).len();
            let frees = |one: &Transaction| {
                let gone: Vec<_> = gone.iter().chain([one]).cloned().collect();
                stuck(&waits, &queues, &owners, &gone).len() + 1 < before
            };
            let circle: Vec<Transaction> = knot.circle.iter().filter_map(|step| match step {
                Step::Lock(wait) => owners.processes.get(&wait.waiter).cloned(),
                Step::Queue(one, _) => Some(one.waiter.clone()),
            }).collect();
            prop_assert!(frees(&knot.victim) || !circle.iter().any(frees));
            gone.push(knot.victim);
        }
    }
}
