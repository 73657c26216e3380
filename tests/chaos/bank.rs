//! A bank whose accounts lie on several shards, and its clients: each transfer is one transaction, and each client notes what it was told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::raw::Reply;
use crate::support::{Lone, Random, Raw};

pub const NAME: &str = "bank";
pub const ACCOUNTS: u64 = 200;
pub const BALANCE: i64 = 1000;
/// Longer than any outage that is made here.
const PATIENCE: Duration = Duration::from_secs(30);

/// An entry lies beside its account.
pub const SCHEMA: &str = "CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0)); \
     CREATE TABLE entries (account int, transfer bigint, amount bigint NOT NULL, PRIMARY KEY (account, transfer))";

/// What a client knows of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Done,
    NotDone,
    /// The connection was lost, or nobody could tell.
    Nothing,
}

/// What all clients share.
#[derive(Default)]
pub struct Desk {
    pub stop: AtomicBool,
    /// Where the routers listen; they come back on other ports.
    pub routers: [AtomicU16; 2],
    next: AtomicU64,
    done: AtomicU64,
    /// How often each error was told, by its code; `lost`: the connection ended without one.
    pub errors: Mutex<BTreeMap<String, u64>>,
}

impl Desk {
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Makes transfers until it is told to stop; what it was told of each.
    pub fn client(&self, seed: u64) -> Vec<(u64, Told)> {
        let mut random = Random::new(seed);
        let mut told = Vec::new();
        let mut connection: Option<Raw> = None;
        while !self.stop.load(Ordering::Relaxed) {
            let Some(raw) = &mut connection else {
                connection = self.connect(&mut random);
                continue;
            };
            let transfer = self.next.fetch_add(1, Ordering::Relaxed);
            let (answer, lost, code) = make(raw, transfer, &mut random);
            if let Some(code) = code {
                *self.errors.lock().unwrap().entry(code).or_default() += 1;
            }
            if answer == Told::Done {
                self.done.fetch_add(1, Ordering::Relaxed);
            }
            told.push((transfer, answer));
            if lost {
                connection = None;
            }
        }
        told
    }

    fn connect(&self, random: &mut Random) -> Option<Raw> {
        let port = self.routers[random.below(2)].load(Ordering::Relaxed);
        let raw = Raw::connect(port, "postgres", NAME).ok();
        match raw {
            Some(mut raw) => {
                raw.set_patience(PATIENCE);
                Some(raw)
            }
            None => {
                std::thread::sleep(Duration::from_millis(20));
                None
            }
        }
    }
}

/// One transfer; true: the connection is of no use any more. Also the error that it has met.
fn make(raw: &mut Raw, transfer: u64, random: &mut Random) -> (Told, bool, Option<String>) {
    let from = random.below(ACCOUNTS as usize);
    let to = (from + 1 + random.below(ACCOUNTS as usize - 1)) % ACCOUNTS as usize;
    let amount = 1 + random.below(20);
    let post = |account: usize, amount: i64| {
        format!(
            "UPDATE accounts SET balance = balance + {amount} WHERE id = {account}; \
             INSERT INTO entries VALUES ({account}, {transfer}, {amount})"
        )
    };
    let mut parts = [post(from, -(amount as i64)), post(to, amount as i64)];
    // Not always in one order: there are deadlocks, too.
    if random.below(4) != 0 && from > to {
        parts.reverse();
    }
    let whole = random.below(3) == 0;
    let steps: Vec<String> = match whole {
        // One message: its end is its COMMIT.
        true => vec![parts.join("; ")],
        false => ["BEGIN".to_owned()].into_iter().chain(parts).chain(["COMMIT".to_owned()]).collect(),
    };
    let last = steps.len() - 1;
    for (at, step) in steps.iter().enumerate() {
        let reply = raw.simple(step);
        let lost = reply.status == 0;
        let code = reply.code();
        if code.is_empty() && !lost && !rolled_back(&reply) {
            continue;
        }
        let told = match at == last && is_uncertain(code, lost) {
            true => Told::Nothing,
            false => Told::NotDone,
        };
        let met = if code.is_empty() { "lost" } else { code }.to_owned();
        // A failed block ends.
        let lost = lost || reply.status != b'I' && raw.simple("ROLLBACK").status != b'I';
        return (told, lost, Some(met));
    }
    (Told::Done, false, None)
}

/// A COMMIT that says ROLLBACK has committed nothing.
fn rolled_back(reply: &Reply) -> bool {
    reply.answers.last().and_then(|answer| answer.tag.as_deref()) == Some("ROLLBACK")
}

/// Whether an error of a COMMIT leaves open what has become of the transaction.
fn is_uncertain(code: &str, lost: bool) -> bool {
    lost || code.starts_with("08") || code.starts_with("57P")
}

/// Holds what the shards have against what the clients were told.
pub fn audit<'a>(shards: impl IntoIterator<Item = &'a Lone>, told: &HashMap<u64, Told>) {
    let mut entries: HashMap<u64, Vec<i64>> = HashMap::new();
    let mut total = 0;
    for shard in shards {
        let mut raw = shard.connect(NAME);
        let odd = raw.values(&format!(
            "SELECT a.id FROM accounts a WHERE a.balance <> {BALANCE} + \
             (SELECT coalesce(sum(e.amount), 0) FROM entries e WHERE e.account = a.id)"
        ));
        assert_eq!(odd, Vec::<String>::new(), "accounts that are not the sum of their entries");
        total += raw.value("SELECT coalesce(sum(balance), 0) FROM accounts").parse::<i64>().unwrap();
        for row in raw.values("SELECT transfer || ' ' || amount FROM entries") {
            let (transfer, amount) = row.split_once(' ').unwrap();
            entries.entry(transfer.parse().unwrap()).or_default().push(amount.parse().unwrap());
        }
    }
    assert_eq!(total, ACCOUNTS as i64 * BALANCE, "money was made or lost");
    for (transfer, amounts) in &entries {
        assert!(amounts.len() == 2 && amounts[0] == -amounts[1], "transfer {transfer} is half done: {amounts:?}");
        assert_ne!(
            told.get(transfer),
            Some(&Told::NotDone),
            "transfer {transfer} is done, and its client was told otherwise"
        );
    }
    for transfer in told.iter().filter(|(_, told)| **told == Told::Done).map(|(transfer, _)| transfer) {
        assert!(entries.contains_key(transfer), "transfer {transfer} was acknowledged, and is not there");
    }
}
