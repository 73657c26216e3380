//! Transfers between accounts on different shards while shards and routers are killed, frozen and restarted at random moments:
//! the sum is constant, what was acknowledged is there, nothing is half done, nothing stays prepared.
//!
//! `PGLOOM_CHAOS_ROUNDS`: how many rounds of faults (3); `PGLOOM_CHAOS_SEED`: the seed of the faults (the clock).

#![allow(clippy::unwrap_used)]

#[path = "chaos/bank.rs"]
mod bank;
mod support;

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bank::{ACCOUNTS, BALANCE, Desk, NAME, SCHEMA, Told, audit};
use support::{Lone, Random, Raw, Router, eventually};

const SHARDS: usize = 3;
const CLIENTS: u64 = 32;
const FAULTS: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Fault {
    KillShard,
    FreezeShard,
    RestartShard,
    KillRouter,
    FreezeRouter,
    RestartRouter,
}

const ALL: [Fault; 6] = [
    Fault::KillShard,
    Fault::FreezeShard,
    Fault::RestartShard,
    Fault::KillRouter,
    Fault::FreezeRouter,
    Fault::RestartRouter,
];

struct World {
    shards: Vec<Lone>,
    routers: Vec<Router>,
    config: String,
}

impl World {
    fn create() -> Self {
        let shards: Vec<Lone> = std::thread::scope(|scope| {
            let made: Vec<_> = (0..SHARDS).map(|_| scope.spawn(shard)).collect();
            made.into_iter().map(|shard| shard.join().unwrap()).collect()
        });
        let config = config(&shards);
        let routers: Vec<Router> = (0..2).map(|_| Router::start(&config)).collect();
        let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
        routers[0].connect(NAME).must(&format!("INSERT INTO accounts VALUES {}", rows.join(", ")));
        Self { shards, routers, config }
    }

    fn harm(&mut self, fault: Fault, random: &mut Random, desk: &Desk) {
        let pause = Duration::from_millis(100 + random.below(1500) as u64);
        let (shard, router) = (random.below(SHARDS), random.below(2));
        match fault {
            Fault::KillShard => {
                self.shards[shard].kill();
                std::thread::sleep(pause);
                self.shards[shard].start();
            }
            Fault::FreezeShard => {
                self.shards[shard].freeze();
                std::thread::sleep(pause);
                self.shards[shard].thaw();
            }
            Fault::RestartShard => {
                self.shards[shard].stop();
                self.shards[shard].start();
            }
            Fault::KillRouter => {
                self.routers[router].signal("KILL");
                std::thread::sleep(pause);
                self.replace(router, desk);
            }
            Fault::FreezeRouter => {
                self.routers[router].signal("STOP");
                std::thread::sleep(pause);
                self.routers[router].signal("CONT");
            }
            Fault::RestartRouter => {
                self.routers[router].signal("TERM");
                std::thread::sleep(pause);
                self.replace(router, desk);
            }
        }
    }

    fn replace(&mut self, at: usize, desk: &Desk) {
        self.routers[at] = Router::start(&self.config);
        desk.routers[at].store(self.routers[at].port, Ordering::Relaxed);
    }

    fn prepared(&self) -> Vec<String> {
        self.shards.iter().flat_map(|shard| shard.connect(NAME).values("SELECT gid FROM pg_prepared_xacts")).collect()
    }
}

fn shard() -> Lone {
    let shard = Lone::create();
    shard.configure("max_prepared_transactions = 100\nmax_connections = 200\ndeadlock_timeout = '200ms'");
    shard.start();
    shard.connect("postgres").must(&format!("CREATE DATABASE {NAME}"));
    shard.connect(NAME).must(SCHEMA);
    shard
}

fn config(shards: &[Lone]) -> String {
    let mut out = "[general]\nport = {port}\nmetrics_listen = \"127.0.0.1:{http_port}\"\nauth_type = \"trust\"\n\
                   two_phase_grace = \"1s\"\ndefault_pool_size = 20\n[[users]]\nname = \"postgres\"\n"
        .to_owned();
    let _ = writeln!(out, "[databases.{NAME}]");
    for (index, shard) in shards.iter().enumerate() {
        let port = shard.port;
        let _ = writeln!(out, "[[databases.{NAME}.shards]]\nname = \"s{index}\"\nhost = \"127.0.0.1\"\nport = {port}");
    }
    let _ = writeln!(out, "[[databases.{NAME}.distributions]]\nname = \"key\"\nkey_types = [\"int4\"]");
    for (table, column) in [("accounts", "id"), ("entries", "account")] {
        let _ = writeln!(
            out,
            "[[databases.{NAME}.tables]]\nname = \"{table}\"\ndistribution = \"key\"\ncolumns = [\"{column}\"]"
        );
    }
    out
}

fn number(variable: &str, otherwise: impl FnOnce() -> u64) -> u64 {
    std::env::var(variable).map_or_else(|_| otherwise(), |text| text.parse().unwrap())
}

#[test]
fn money_is_neither_made_nor_lost() {
    let rounds = number("PGLOOM_CHAOS_ROUNDS", || 3);
    let clock = || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let seed = number("PGLOOM_CHAOS_SEED", clock);
    println!("PGLOOM_CHAOS_SEED={seed}");
    let mut random = Random::new(seed);
    let mut world = World::create();
    let mut told: HashMap<u64, Told> = HashMap::new();
    let desk = Desk::default();
    for round in 1..=rounds {
        desk.stop.store(false, Ordering::Relaxed);
        for (at, router) in world.routers.iter().enumerate() {
            desk.routers[at].store(router.port, Ordering::Relaxed);
        }
        let seeds: Vec<u64> = (0..CLIENTS).map(|_| random.next()).collect();
        let heard: Vec<Vec<(u64, Told)>> = std::thread::scope(|scope| {
            let desk = &desk;
            let clients: Vec<_> = seeds.into_iter().map(|seed| scope.spawn(move || desk.client(seed))).collect();
            let before = desk.done();
            for _ in 0..FAULTS {
                std::thread::sleep(Duration::from_millis(200 + random.below(1000) as u64));
                let fault = ALL[random.below(ALL.len())];
                println!("round {round}: {fault:?}");
                world.harm(fault, &mut random, desk);
            }
            let since = desk.done();
            println!("round {round}: {} transfers under faults", since - before);
            eventually(60, "transfers go on when all is well again", || desk.done() > since + 10 * CLIENTS);
            desk.stop.store(true, Ordering::Relaxed);
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        let count = |of: Told| heard.iter().flatten().filter(|(_, told)| *told == of).count();
        println!(
            "round {round}: {} done, {} not done, {} unknown",
            count(Told::Done),
            count(Told::NotDone),
            count(Told::Nothing)
        );
        told.extend(heard.into_iter().flatten());
        eventually(30, "nothing stays prepared", || world.prepared().is_empty());
        audit(&world.shards, &told);
    }
    // The routers' own view is that of the shards.
    let mut through: Vec<Raw> = world.routers.iter().map(|router| router.connect(NAME)).collect();
    for raw in &mut through {
        assert_eq!(raw.value("SELECT sum(balance) FROM accounts"), (ACCOUNTS as i64 * BALANCE).to_string());
    }
}
