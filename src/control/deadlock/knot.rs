//! PURE. Deadlocks that go through the queue of a pool: who waits there for a connection goes on when any of those who have one is done, so it is
//! stuck only where all of them are. Who waits for locks is stuck where one of those who hold them is.
//!
//! Nobody is stuck at first who waits for nobody; then nobody who waits for such only, and so on: whoever is left waits for ever.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::graph::{Graph, Node, Owners, Process, Transaction, Wait, graph};
use crate::ids::ShardId;

/// Somebody who holds connections waits for one more, of a pool that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    pub waiter: Transaction,
    /// When this wait began, in the words of its router.
    pub since: u64,
    pub shard: ShardId,
    /// All connections of the pool.
    pub lent: Vec<Process>,
}

/// A step of a circle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Lock(Wait),
    /// In the queue; and one of those who have what it waits for.
    Queue(Queued, Process),
}

/// Some who wait for each other for ever, and one whose end lets others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knot {
    pub victim: Transaction,
    /// In order: each waits for the next, the last for the first, which is the victim.
    pub circle: Vec<Step>,
    /// All that the victim waits for, directly or not: as long as this lasts, it is one.
    pub waits: Vec<Wait>,
    pub queued: Vec<Queued>,
}

/// Who waits for what.
struct Needs<'a> {
    /// Each of these holds a lock.
    locks: &'a Graph,
    /// Each of these waits for a connection of each of these pools.
    queues: BTreeMap<Node, Vec<&'a Queued>>,
    owners: &'a Owners,
}

/// Every deadlock in which somebody of `router` waits in a queue, where there is none of locks alone. A victim is of `router`, too.
pub fn knots(waits: &[Wait], queued: &[Queued], owners: &Owners, router: &str) -> Vec<Knot> {
    let locks = graph(waits, owners);
    let mut needs = Needs { locks: &locks, queues: BTreeMap::new(), owners };
    for one in queued {
        needs.queues.entry(Node::Transaction(one.waiter.clone())).or_default().push(one);
    }
    let (mut found, mut gone) = (Vec::new(), BTreeSet::new());
    loop {
        let stuck = needs.stuck(&gone);
        let Some(knot) = needs.choose(&stuck, &gone, router) else { return found };
        gone.insert(Node::Transaction(knot.victim.clone()));
        found.push(knot);
    }
}

impl Needs<'_> {
    /// Those who wait for ever when these are gone.
    fn stuck(&self, gone: &BTreeSet<Node>) -> BTreeSet<Node> {
        let waiting = self.locks.keys().chain(self.queues.keys()).filter(|node| !gone.contains(node));
        let mut stuck: BTreeSet<Node> = waiting.cloned().collect();
        loop {
            let free: Vec<Node> = stuck.iter().filter(|node| !self.waits_for(node, &stuck)).cloned().collect();
            if free.is_empty() {
                return stuck;
            }
            stuck.retain(|node| !free.contains(node));
        }
    }

    /// Whether `node` cannot go on before one of `stuck` does.
    fn waits_for(&self, node: &Node, stuck: &BTreeSet<Node>) -> bool {
        let locks = self.locks.get(node).into_iter().flatten();
        let queues = self.queues.get(node).into_iter().flatten();
        locks.into_iter().any(|(holder, _)| stuck.contains(holder))
            || queues.into_iter().any(|queued| queued.lent.iter().all(|process| stuck.contains(&self.owner(process))))
    }

    fn owner(&self, process: &Process) -> Node {
        self.owners.node(*process)
    }

    /// What keeps `node` from going on, and whom it waits for by that.
    fn steps(&self, node: &Node, stuck: &BTreeSet<Node>) -> Vec<(Node, Step)> {
        let locks = self.locks.get(node).into_iter().flatten();
        let mut steps: Vec<(Node, Step)> =
            locks.map(|(holder, wait)| (holder.clone(), Step::Lock(wait.clone()))).collect();
        for queued in self.queues.get(node).into_iter().flatten() {
            let holders = queued.lent.iter().map(|process| (self.owner(process), process));
            let holders: Vec<_> = holders.collect();
            if holders.iter().all(|(holder, _)| stuck.contains(holder)) {
                let each = holders.into_iter();
                steps.extend(each.map(|(holder, process)| (holder, Step::Queue((*queued).clone(), *process))));
            }
        }
        steps.retain(|(holder, _)| stuck.contains(holder));
        steps
    }

    /// The youngest of those in circles whose end lets somebody go on.
    fn choose(&self, stuck: &BTreeSet<Node>, gone: &BTreeSet<Node>, router: &str) -> Option<Knot> {
        let ours = stuck.iter().rev().filter_map(|node| match node {
            Node::Transaction(transaction) if *transaction.router == *router => Some((node, transaction)),
            Node::Transaction(_) | Node::Process(_) => None,
        });
        let mut in_circles = ours.filter_map(|(node, who)| Some((node, who, self.circle_through(node, stuck)?)));
        let frees = |node: &Node| {
            let mut without = gone.clone();
            without.insert(node.clone());
            self.stuck(&without).len() + 1 < stuck.len()
        };
        let mut youngest = None;
        let chosen = in_circles.find_map(|(node, victim, circle)| {
            let frees = frees(node);
            let candidate = (node, victim, circle);
            if frees {
                return Some(candidate);
            }
            youngest.get_or_insert(candidate);
            None
        });
        let (node, victim, circle) = chosen.or(youngest)?;
        let (waits, queued) = self.evidence(node, stuck);
        Some(Knot { victim: victim.clone(), circle, waits, queued })
    }

    /// The shortest way from a node back to itself.
    fn circle_through(&self, start: &Node, stuck: &BTreeSet<Node>) -> Option<Vec<Step>> {
        let mut came: BTreeMap<Node, (Node, Step)> = BTreeMap::new();
        let mut queue = VecDeque::from([start.clone()]);
        while let Some(node) = queue.pop_front() {
            for (next, step) in self.steps(&node, stuck) {
                if next == *start {
                    let (mut circle, mut at) = (vec![step], node);
                    while at != *start {
                        let (before, step) = came.remove(&at)?;
                        circle.push(step);
                        at = before;
                    }
                    circle.reverse();
                    return Some(circle);
                }
                if !came.contains_key(&next) {
                    came.insert(next.clone(), (node.clone(), step));
                    queue.push_back(next);
                }
            }
        }
        None
    }

    fn evidence(&self, start: &Node, stuck: &BTreeSet<Node>) -> (Vec<Wait>, Vec<Queued>) {
        let (mut waits, mut queued): (Vec<Wait>, Vec<Queued>) = (Vec::new(), Vec::new());
        let (mut seen, mut open) = (BTreeSet::from([start.clone()]), vec![start.clone()]);
        while let Some(node) = open.pop() {
            for (next, step) in self.steps(&node, stuck) {
                match step {
                    Step::Lock(wait) => waits.push(wait),
                    Step::Queue(one, _) if queued.contains(&one) => {}
                    Step::Queue(one, _) => queued.push(one),
                }
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        (waits, queued)
    }
}

#[cfg(test)]
#[path = "knot_tests.rs"]
mod tests;
