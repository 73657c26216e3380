#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

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

/// Transaction `n` is process `n` on every shard.
fn everywhere(count: u32, shards: u16) -> Owners {
    let each = (0..count).flat_map(|n| (0..shards).map(move |shard| (process(shard, n), transaction(n))));
    Owners { processes: each.collect(), prepared: HashMap::new() }
}

fn victims(waits: &[Wait], owners: &Owners) -> Vec<u32> {
    deadlocks(waits, owners).iter().map(|deadlock| deadlock.victim.client).collect()
}

#[test]
fn two_that_wait_for_each_other_on_two_shards_are_a_circle() {
    let owners = everywhere(9, 3);
    assert_eq!(victims(&[wait(0, 1, 2)], &owners), Vec::<u32>::new());
    assert_eq!(victims(&[wait(0, 1, 2), wait(1, 2, 1)], &owners), [2], "the youngest");
    assert_eq!(victims(&[wait(0, 1, 2), wait(1, 2, 3), wait(2, 3, 1)], &owners), [3]);
    let two = [wait(0, 1, 2), wait(1, 2, 1), wait(0, 5, 4), wait(1, 4, 5)];
    assert_eq!(victims(&two, &owners), [5, 2], "one for each circle");
    // Who waits for somebody in a circle is in none.
    let tail = [wait(0, 8, 1), wait(0, 1, 2), wait(1, 2, 1)];
    assert_eq!(victims(&tail, &owners), [2]);
}

#[test]
fn a_circle_goes_through_processes_that_nobody_knows() {
    // 50 is on shard 0 alone: a session past the routers.
    let waits = [wait(0, 1, 50), wait(0, 50, 2), wait(1, 2, 1)];
    let found = deadlocks(&waits, &everywhere(9, 2));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].victim, transaction(2));
    assert_eq!(found[0].circle, [waits[2].clone(), waits[0].clone(), waits[1].clone()]);
}

#[test]
fn a_circle_within_one_shard_is_left_to_it() {
    let owners = everywhere(9, 2);
    assert_eq!(victims(&[wait(0, 1, 2), wait(0, 2, 1)], &owners), Vec::<u32>::new());
    // Until it has broken that one, it is in nobody's way.
    assert_eq!(victims(&[wait(0, 1, 2), wait(0, 2, 1), wait(1, 3, 2)], &owners), Vec::<u32>::new());
    // Two processes of one transaction on one shard: it does not wait for long.
    let mut two = Owners::default();
    two.processes.insert(process(0, 1), transaction(1));
    two.processes.insert(process(0, 2), transaction(1));
    assert_eq!(victims(&[wait(0, 1, 2)], &two), Vec::<u32>::new());
}

#[test]
fn what_is_prepared_belongs_to_who_commits_it() {
    let mut owners = everywhere(9, 2);
    let blocked = Wait { blocker: Blocker::Prepared("gid".into()), ..wait(0, 1, 0) };
    let waits = [blocked, wait(1, 2, 1)];
    assert_eq!(victims(&waits, &owners), Vec::<u32>::new());
    owners.prepared.insert("gid".into(), transaction(2));
    assert_eq!(victims(&waits, &owners), [2]);
}

/// Some transactions and strangers on some shards, and who waits for whom.
fn worlds() -> impl Strategy<Value = (Owners, Vec<Wait>)> {
    let waits = prop::collection::vec((0u16..3, 0u32..8, 0u32..8), 0..14);
    waits.prop_map(|waits| {
        let waits = waits.into_iter().filter(|(_, a, b)| a != b).map(|(shard, a, b)| wait(shard, a, b)).collect();
        // 6 and 7 are strangers.
        (everywhere(6, 3), waits)
    })
}

/// Who can be reached from whom, by brute force, over the waits that are not within circles of one shard.
fn is_in_a_circle(waits: &[Wait], owners: &Owners, gone: &[Transaction]) -> Vec<Transaction> {
    let name = |process: Process| match owners.processes.get(&process) {
        Some(transaction) => format!("t{}", transaction.client),
        None => format!("p{}/{}", process.shard, process.pid),
    };
    let reach = |edges: &BTreeSet<(String, String)>| {
        let mut closed = edges.clone();
        loop {
            let more: Vec<(String, String)> = closed
                .iter()
                .flat_map(|(a, b)| closed.iter().filter(move |(c, _)| b == c).map(move |(_, d)| (a.clone(), d.clone())))
                .collect();
            let before = closed.len();
            closed.extend(more);
            if closed.len() == before {
                return closed;
            }
        }
    };
    let end = |wait: &Wait| match wait.blocker {
        Blocker::Process(pid) => Process { pid, ..wait.waiter },
        Blocker::Prepared(_) => unreachable!("not in these worlds"),
    };
    let raw = |process: Process| format!("{}/{}", process.shard, process.pid);
    let local = reach(&waits.iter().map(|wait| (raw(wait.waiter), raw(end(wait)))).collect());
    let gone: Vec<String> = gone.iter().map(|transaction| format!("t{}", transaction.client)).collect();
    let edges = waits
        .iter()
        .filter(|wait| !local.contains(&(raw(wait.waiter), raw(wait.waiter))))
        .map(|wait| (name(wait.waiter), name(end(wait))))
        .filter(|(a, _)| !gone.contains(a));
    let closed = reach(&edges.collect());
    let known = owners.processes.values().collect::<BTreeSet<_>>().into_iter();
    known
        .filter(|transaction| {
            let name = format!("t{}", transaction.client);
            closed.contains(&(name.clone(), name))
        })
        .cloned()
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn there_is_a_victim_exactly_where_there_is_a_circle((owners, waits) in worlds()) {
        let found = deadlocks(&waits, &owners);
        let mut gone = Vec::new();
        for deadlock in &found {
            let in_circles = is_in_a_circle(&waits, &owners, &gone);
            prop_assert_eq!(in_circles.iter().max(), Some(&deadlock.victim), "the youngest of those in circles");
            gone.push(deadlock.victim.clone());
        }
        prop_assert_eq!(is_in_a_circle(&waits, &owners, &gone), vec![], "no circle is left");
    }

    #[test]
    fn the_circle_that_is_told_is_one((owners, waits) in worlds()) {
        let who = |process: Process| owners.processes.get(&process).cloned().ok_or(process);
        for Deadlock { victim, circle } in deadlocks(&waits, &owners) {
            prop_assert_eq!(who(circle[0].waiter), Ok(victim));
            for (at, wait) in circle.iter().enumerate() {
                prop_assert!(waits.contains(wait));
                let Blocker::Process(pid) = wait.blocker else { panic!("not in these worlds") };
                let next = &circle[(at + 1) % circle.len()];
                prop_assert_eq!(who(Process { pid, ..wait.waiter }), who(next.waiter));
            }
        }
    }

    #[test]
    fn every_router_finds_the_same((owners, waits) in worlds(), seed in any::<u64>()) {
        let mut shuffled = waits.clone();
        shuffled.sort_by_key(|wait| {
            use std::hash::BuildHasher;
            foldhash::fast::FixedState::with_seed(seed).hash_one(wait)
        });
        prop_assert_eq!(victims(&waits, &owners), victims(&shuffled, &owners));
    }
}
