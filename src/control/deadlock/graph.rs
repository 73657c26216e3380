//! PURE. Who waits for whom over all shards, the circles in it, and whom to cancel so that there is none.
//!
//! A transaction over shards is several server processes; where one of them waits, the whole waits. A circle within one shard, of
//! processes alone, is that Postgres's own business: it finds and breaks it. One that waits for itself is its session's, whose connection
//! to a Postgres that finishes statements does not wait for long.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::ids::ShardId;

/// A server process: what a lock is held or awaited by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process {
    pub shard: ShardId,
    pub pid: u32,
}

/// A transaction of some router's client. The greatest is the youngest; every router says so of the same ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transaction {
    /// When it began to hold server connections, in microseconds of the router's clock.
    pub began: u64,
    pub router: Box<str>,
    pub client: u32,
}

/// What a process waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Blocker {
    Process(u32),
    /// A prepared transaction of ours, by its name on the shard.
    Prepared(Box<str>),
}

/// One process waits for another one of its shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wait {
    pub waiter: Process,
    pub blocker: Blocker,
    /// When this wait began, in the server's words: two with the same beginning are one.
    pub since: Box<str>,
    /// `ShareLock on transaction 753`.
    pub lock: Box<str>,
}

/// Who is who.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    pub processes: HashMap<Process, Transaction>,
    pub prepared: HashMap<Box<str>, Transaction>,
}

/// A circle and the one whose end opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlock {
    pub victim: Transaction,
    /// In order: each waits for the next, the last for the first, which is the victim.
    pub circle: Vec<Wait>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    Transaction(Transaction),
    Process(Process),
}

/// From each node the waits that lead on, with where they lead.
pub type Graph = BTreeMap<Node, Vec<(Node, Wait)>>;

impl Owners {
    /// Whose process it is; itself, where nobody knows.
    pub fn node(&self, process: Process) -> Node {
        match self.processes.get(&process) {
            Some(transaction) => Node::Transaction(transaction.clone()),
            None => Node::Process(process),
        }
    }
}

/// Every deadlock over shards: none without a circle, and no circle is left when all victims are gone.
pub fn deadlocks(waits: &[Wait], owners: &Owners) -> Vec<Deadlock> {
    let mut graph = graph(waits, owners);
    let mut found = Vec::new();
    while let Some(deadlock) = youngest_in_a_circle(&graph) {
        graph.remove(&Node::Transaction(deadlock.victim.clone()));
        found.push(deadlock);
    }
    found
}

/// Who waits for whom, but for those whose circles a Postgres breaks by itself.
pub fn graph(waits: &[Wait], owners: &Owners) -> Graph {
    let own_business = local_circles(waits);
    let process = |process: Process| owners.node(process);
    let mut graph = Graph::new();
    for wait in waits.iter().filter(|wait| !own_business.contains(&wait.waiter)) {
        let blocker = match &wait.blocker {
            Blocker::Process(pid) => process(Process { shard: wait.waiter.shard, pid: *pid }),
            Blocker::Prepared(name) => match owners.prepared.get(name) {
                Some(transaction) => Node::Transaction(transaction.clone()),
                // Whoever ends it waits for nobody whom we could cancel.
                None => continue,
            },
        };
        let waiter = process(wait.waiter);
        if waiter != blocker {
            graph.entry(waiter).or_default().push((blocker, wait.clone()));
        }
    }
    for next in graph.values_mut() {
        next.sort_by(|a, b| (&a.0, a.1.waiter).cmp(&(&b.0, b.1.waiter)));
    }
    graph
}

/// Of all transactions that are in a circle the youngest, with its shortest circle.
fn youngest_in_a_circle(graph: &Graph) -> Option<Deadlock> {
    graph.keys().rev().find_map(|node| {
        let Node::Transaction(transaction) = node else { return None };
        let circle = circle_through(graph, node)?;
        Some(Deadlock { victim: transaction.clone(), circle })
    })
}

/// The shortest way from a node back to itself.
fn circle_through(graph: &Graph, start: &Node) -> Option<Vec<Wait>> {
    let mut came: BTreeMap<&Node, (&Node, &Wait)> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for (next, wait) in graph.get(node).into_iter().flatten() {
            if next == start {
                let mut circle = vec![wait.clone()];
                let mut at = node;
                while at != start {
                    let (before, wait) = came.get(at)?;
                    circle.push((*wait).clone());
                    at = before;
                }
                circle.reverse();
                return Some(circle);
            }
            if !came.contains_key(next) {
                came.insert(next, (node, wait));
                queue.push_back(next);
            }
        }
    }
    None
}

/// The processes that are in circles of processes, each of which is on one shard.
fn local_circles(waits: &[Wait]) -> BTreeSet<Process> {
    let mut graph: BTreeMap<Process, Vec<Process>> = BTreeMap::new();
    for wait in waits {
        if let Blocker::Process(pid) = wait.blocker {
            let blocker = Process { shard: wait.waiter.shard, pid };
            graph.entry(wait.waiter).or_default().push(blocker);
        }
    }
    let returns = |start: &Process| {
        let mut seen = BTreeSet::new();
        let mut queue = vec![*start];
        while let Some(process) = queue.pop() {
            for next in graph.get(&process).into_iter().flatten() {
                if next == start {
                    return true;
                }
                if seen.insert(*next) {
                    queue.push(*next);
                }
            }
        }
        false
    };
    graph.keys().filter(|process| returns(process)).copied().collect()
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
