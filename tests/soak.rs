//! Thousands of clients over few server connections, by turns alone and beside clients that mean harm: every answer is right, nobody is
//! starved, and memory and files of the router do not grow.
//!
//! The tests run a short form, which asserts what does not depend on the machine's speed; `make soak` a long one, which tells figures.
//! `PGLOOM_SOAK_SECONDS` (18), `PGLOOM_SOAK_IDLE` (500), `PGLOOM_SOAK_ACTIVE` (100), `PGLOOM_SOAK_CONNECTIONS` to servers (16),
//! `PGLOOM_SOAK_RATE`: statements a second of all active clients (0: each asks again at once, and a statement takes 10 ms on its server),
//! `PGLOOM_SOAK_LOGINS`: connections a second of one abuser (200).

#![allow(clippy::unwrap_used)]

#[path = "soak/abusers.rs"]
mod abusers;
#[path = "soak/client.rs"]
mod client;
#[path = "soak/figures.rs"]
mod figures;
mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

use abusers::{Abusers, Deeds, Numbers};
use client::{Client, Door, only_number};
use figures::{Sample, Waits, percentile};
use support::raw::{Value, message as m};
use support::{SHARDS, Sharded};

/// Each is a time alone and a time beside the abusers.
const ROUNDS: usize = 3;
/// Clients that log in at one time, before it begins.
const TOGETHER: usize = 32;
/// Every so many statements of a client is a write.
const WRITES: u64 = 5;
/// What memory may still change by once everything has been done twice: KiB, and a part of what there is.
const FLAT: u64 = 12 * 1024;
const FLAT_PART: u64 = 20;
/// What else may be open: scrapes, connections of the router's own errands.
const FILES: usize = 8;

#[derive(Clone, Debug)]
struct Settings {
    seconds: u64,
    idle: usize,
    active: usize,
    connections: usize,
    rate: u64,
    abusers: Numbers,
}

impl Settings {
    fn from_environment() -> Self {
        let number = |name: &str, default: u64| {
            let text = std::env::var(format!("PGLOOM_SOAK_{name}")).unwrap_or_default();
            if text.is_empty() { default } else { text.parse().unwrap() }
        };
        let long = number("RATE", 0) > 0;
        Self {
            seconds: number("SECONDS", 18),
            idle: number("IDLE", 500) as usize,
            active: number("ACTIVE", 100) as usize,
            connections: number("CONNECTIONS", 4 * SHARDS as u64) as usize,
            rate: number("RATE", 0),
            abusers: Numbers {
                slow_readers: if long { 2 * SHARDS } else { SHARDS },
                half_senders: if long { 96 } else { 16 },
                connections_per_second: number("LOGINS", 200) as u32,
            },
        }
    }

    /// `None`: who has an answer asks again.
    fn period(&self) -> Option<Duration> {
        (self.rate > 0).then(|| Duration::from_secs_f64(self.active as f64 / self.rate as f64))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before anything is measured.
    WarmUp,
    Alone,
    Beside,
    Over,
}

/// What the clients of one run share.
struct Stage {
    settings: Settings,
    phase: Cell<Phase>,
    begin: Instant,
    wrong: RefCell<Vec<String>>,
}

/// A client with a row of its own, which nobody else writes.
struct Active {
    client: Client,
    id: i32,
    /// Bytes of its two statements.
    read: Vec<u8>,
    write: Vec<u8>,
    work: Work,
}

/// What came of its statements.
#[derive(Default)]
struct Work {
    written: i64,
    answered: u64,
    /// That were due before the last answer had come.
    missed: u64,
    alone: Vec<u32>,
    beside: Vec<u32>,
}

impl Active {
    /// Every other one prepares its statements, the others send their text each time.
    async fn connect(door: &Door, nth: usize, id: i32, pause: bool) -> Result<Self, String> {
        let mut client = door.connect(None).await?;
        let pause = if pause { ", pg_sleep(0.01)" } else { "" };
        let read = |key: &str| format!("SELECT n{pause} FROM items WHERE id = {key}");
        let write = |key: &str| format!("UPDATE items SET n = n + 1 WHERE id = {key} RETURNING n{pause}");
        let (read, write) = if nth.is_multiple_of(2) {
            let id = id.to_string();
            (m::query(&read(&id)), m::query(&write(&id)))
        } else {
            let prepare =
                [m::parse("read", &read("$1"), &[]), m::parse("write", &write("$1"), &[]), m::sync()].concat();
            if let Some(error) = client.ask(&prepare).await?.error {
                return Err(error.to_string());
            }
            let values = [Value::text(&id.to_string())];
            let run = |name| [m::bind("", name, &values, &[]), m::execute("", 0), m::sync()].concat();
            (run("read"), run("write"))
        };
        Ok(Self { client, id, read, write, work: Work::default() })
    }

    async fn run(mut self, nth: usize, stage: Rc<Stage>) -> Self {
        let period = stage.settings.period();
        let mut due = stage.begin + period.unwrap_or_default().mul_f64(nth as f64 / stage.settings.active as f64);
        for asked in nth as u64.. {
            if period.is_some() {
                sleep_until(due).await;
            }
            let phase = stage.phase.get();
            if phase == Phase::Over {
                break;
            }
            let start = Instant::now();
            if let Err(error) = self.ask(asked.is_multiple_of(WRITES)).await {
                stage.wrong.borrow_mut().push(format!("client {nth}, key {}: {error}", self.id));
                break;
            }
            let took = u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX);
            match phase {
                Phase::Alone => self.work.alone.push(took),
                Phase::Beside => self.work.beside.push(took),
                Phase::WarmUp | Phase::Over => {}
            }
            if phase != Phase::WarmUp {
                self.work.answered += 1;
            }
            if let Some(period) = period {
                due += period;
                while due < Instant::now() {
                    due += period;
                    self.work.missed += 1;
                }
            }
        }
        self
    }

    async fn ask(&mut self, write: bool) -> Result<(), String> {
        let reply = self.client.ask(if write { &self.write } else { &self.read }).await?;
        let expected = self.work.written + i64::from(write);
        let found = only_number(&reply)?;
        if found != expected {
            return Err(format!("{found} in the place of {expected}"));
        }
        self.work.written = expected;
        Ok(())
    }
}

/// So many new rows on each shard.
fn keys(world: &Sharded, count: usize) -> Vec<i32> {
    const FIRST: usize = 1_001;
    let each = count.div_ceil(SHARDS);
    let mut through = world.connect();
    // More than are needed: no shard has just a fourth of them.
    for chunk in (FIRST..FIRST + 2 * count + 400).collect::<Vec<_>>().chunks(1_000) {
        let rows: Vec<String> = chunk.iter().map(|id| format!("({id}, 0)")).collect();
        through.must(&format!("INSERT INTO items (id, n) VALUES {}", rows.join(", ")));
    }
    let on_shard = |shard| -> Vec<i32> {
        let sql = format!("SELECT id FROM items WHERE id >= {FIRST} ORDER BY id LIMIT {each}");
        world.db.shard(shard).values(&sql).iter().map(|id| id.parse().unwrap()).collect()
    };
    let shards: Vec<Vec<i32>> = (0..SHARDS).map(on_shard).collect();
    (0..count).map(|nth| shards[nth % SHARDS][nth / SHARDS]).collect()
}

/// The router in one phase.
#[derive(Clone, Copy, Debug)]
struct Seen {
    end: Sample,
    /// Of all samples. Statements that wait take memory, more or less of it from one moment to the next: what is never given back shows here.
    least_resident: u64,
    most_resident: u64,
}

/// What is known when it is over.
struct Outcome {
    active: Vec<Active>,
    deeds: Rc<Deeds>,
    wrong: Vec<String>,
    /// Before anybody came, when the idle ones were there, and when all had warmed up.
    empty: Sample,
    idle: Sample,
    warm: Sample,
    /// Each phase, alone and beside by turns.
    phases: Vec<Seen>,
}

async fn soak(settings: &Settings, world: &Sharded, keys: &[i32]) -> Outcome {
    let door = Door { port: world.router.port, database: world.db.name.clone() };
    let empty = Sample::take(&world.router);
    let idle_ask = |id: i32| m::query(&format!("SELECT id FROM items WHERE id = {id}"));
    let idle_key = |nth: usize| 1 + (nth % 60) as i32;
    let mut wrong = Vec::new();

    let arrivals = (0..settings.idle).map(|nth| {
        let (door, bytes) = (&door, idle_ask(idle_key(nth)));
        async move {
            let mut client = door.connect(None).await?;
            let found = only_number(&client.ask(&bytes).await?)?;
            if found == i64::from(idle_key(nth)) { Ok((nth, client)) } else { Err(format!("idle {nth}: {found}")) }
        }
    });
    let arrived: Vec<Result<(usize, Client), String>> =
        stream::iter(arrivals).buffer_unordered(TOGETHER).collect().await;
    let mut silent: Vec<(usize, Client)> = arrived.into_iter().map(Result::unwrap).collect();
    let idle = Sample::take(&world.router);

    let pause = settings.period().is_none();
    let arrivals = keys.iter().enumerate().map(|(nth, id)| Active::connect(&door, nth, *id, pause));
    let active: Vec<Result<Active, String>> = stream::iter(arrivals).buffered(TOGETHER).collect().await;
    let stage = Rc::new(Stage {
        settings: settings.clone(),
        phase: Cell::new(Phase::WarmUp),
        begin: Instant::now(),
        wrong: RefCell::default(),
    });
    let tasks: Vec<_> = active
        .into_iter()
        .enumerate()
        .map(|(nth, active)| spawn_local(active.unwrap().run(nth, stage.clone())))
        .collect();

    let length = Duration::from_secs(settings.seconds) / (2 * ROUNDS as u32);
    // Long enough that each has asked twice.
    sleep((2 * settings.period().unwrap_or_default()).max(Duration::from_secs(2))).await;
    let warm = Sample::take(&world.router);
    let deeds = Rc::new(Deeds::default());
    let mut phases = Vec::new();
    for round in 0..ROUNDS {
        for phase in [Phase::Alone, Phase::Beside] {
            stage.phase.set(phase);
            let harm =
                (phase == Phase::Beside).then(|| Abusers::start(&door, settings.abusers, &keys[..SHARDS], &deeds));
            phases.push(watch(&format!("round {} {phase:?}", round + 1), length, world, &deeds).await);
            drop(harm);
            // Their sockets are closed, and what they held is free.
            sleep(Duration::from_millis(500)).await;
        }
    }
    stage.phase.set(Phase::Over);
    let mut active = Vec::new();
    for task in tasks {
        active.push(task.await.unwrap());
    }
    wrong.extend(stage.wrong.borrow_mut().drain(..));
    for (nth, client) in &mut silent {
        match client.ask(&idle_ask(idle_key(*nth))).await.and_then(|reply| only_number(&reply)) {
            Ok(found) if found == i64::from(idle_key(*nth)) => {}
            other => wrong.push(format!("idle client {nth}: {other:?}")),
        }
    }
    Outcome { active, deeds, wrong, empty, idle, warm, phases }
}

/// Prints what the router takes, every few seconds, for so long.
async fn watch(name: &str, length: Duration, world: &Sharded, deeds: &Deeds) -> Seen {
    let end = Instant::now() + length;
    let every = (length / 10).clamp(Duration::from_secs(1), Duration::from_secs(10));
    let mut before = Sample::take(&world.router);
    let mut next = Instant::now();
    let (mut least_resident, mut most_resident) = (u64::MAX, 0);
    loop {
        next = (next + every).min(end);
        let came = deeds.came.get();
        let start = Instant::now();
        sleep_until(next).await;
        let sample = Sample::take(&world.router);
        let took = start.elapsed().as_secs_f64();
        println!(
            "{name}: {} kB resident, {} files, {:.0} % of a processor, {:.0} connections a second come and go",
            sample.resident,
            sample.descriptors,
            (sample.cpu - before.cpu) / took * 100.0,
            (deeds.came.get() - came) as f64 / took,
        );
        before = sample;
        (least_resident, most_resident) = (least_resident.min(sample.resident), most_resident.max(sample.resident));
        if next == end {
            return Seen { end: sample, least_resident, most_resident };
        }
    }
}

impl Outcome {
    fn print(&self, settings: &Settings) {
        let each = |more: u64, less: u64, count: usize| more.saturating_sub(less) as f64 / count.max(1) as f64;
        println!(
            "FIGURE | {} idle clients | {:.1} kB each ({} kB resident without them) |",
            settings.idle,
            each(self.idle.resident, self.empty.resident, settings.idle),
            self.empty.resident
        );
        println!(
            "FIGURE | {} active clients over {} server connections, warm | {:.1} kB each more | {} kB resident, {} files |",
            settings.active,
            settings.connections,
            each(self.warm.resident, self.idle.resident, settings.active),
            self.warm.resident,
            self.warm.descriptors
        );
        for (nth, Seen { end, least_resident, most_resident }) in self.phases.iter().enumerate() {
            let name = if nth.is_multiple_of(2) { "alone" } else { "beside abusers" };
            println!(
                "FIGURE | round {}, {name} | {least_resident} to {most_resident} kB | {} files at its end |",
                nth / 2 + 1,
                end.descriptors
            );
        }
        for (name, waits) in
            [("alone", self.waits(|work| &work.alone)), ("beside abusers", self.waits(|work| &work.beside))]
        {
            println!(
                "FIGURE | {name} | {} statements | median {:?} | p99 of the median client {:?} | of one in a thousand {:?} | of the slowest {:?} | ratio {:.2} |",
                waits.statements,
                waits.median_of_all,
                waits.median_client,
                waits.late_client,
                waits.slowest_client,
                waits.ratio()
            );
        }
        let counts = self.counts();
        let missed: u64 = self.active.iter().map(|active| active.work.missed).sum();
        println!(
            "FIGURE | statements of a client | least {} | median {} | most {} | not asked, the last one being under way: {missed} |",
            counts[0],
            percentile(&counts, 50.0),
            counts[counts.len() - 1]
        );
        println!(
            "FIGURE | abusers | {} connections came and went, {} could not be made, {} refused | {} half messages | {} bytes read slowly |",
            self.deeds.came.get(),
            self.deeds.not_made.get(),
            self.deeds.refused.borrow().len(),
            self.deeds.half_messages.get(),
            self.deeds.slow_bytes.get()
        );
    }

    fn waits(&self, which: impl Fn(&Work) -> &Vec<u32>) -> Waits {
        Waits::of(self.active.iter().map(|active| which(&active.work).clone()))
    }

    fn counts(&self) -> Vec<u64> {
        let mut counts: Vec<u64> = self.active.iter().map(|active| active.work.answered).collect();
        counts.sort_unstable();
        counts
    }

    fn check(&self, settings: &Settings, world: &Sharded) {
        assert!(self.wrong.is_empty(), "{} wrong: {:#?}", self.wrong.len(), &self.wrong[..self.wrong.len().min(10)]);
        // Every write that was answered is there, and no other.
        let mut on_servers = std::collections::HashMap::new();
        for shard in 0..SHARDS {
            for row in world.db.shard(shard).must("SELECT id, n FROM items").text().lines() {
                let (id, n) = row.split_once('|').unwrap();
                on_servers.insert(id.parse::<i32>().unwrap(), n.parse::<i64>().unwrap());
            }
        }
        for active in &self.active {
            assert_eq!(on_servers[&active.id], active.work.written, "row {}", active.id);
        }

        let counts = self.counts();
        let median = percentile(&counts, 50.0);
        assert!(counts[0] > median / 2, "one had {} answers where most had {median}", counts[0]);

        let [.., alone_before, beside_before, alone, beside] = self.phases[..] else { panic!("{ROUNDS} rounds") };
        for (name, before, now) in [("alone", alone_before, alone), ("beside abusers", beside_before, beside)] {
            let most = before.least_resident + FLAT + before.least_resident / FLAT_PART;
            assert!(now.least_resident <= most, "memory grows {name}: {before:?}, {now:?}");
        }
        let pools = settings.connections;
        assert!(
            alone.end.descriptors <= self.warm.descriptors + pools + FILES,
            "files grow: {:?}, {alone:?}",
            self.warm
        );

        let deeds = &self.deeds;
        assert!(deeds.came.get() > 0 && deeds.half_messages.get() > 0 && deeds.slow_bytes.get() > 0, "{deeds:?}");
        assert!(deeds.refused.borrow().is_empty(), "logins were refused: {:?}", deeds.refused.borrow().first());
    }
}

#[test]
fn neither_many_clients_nor_abusers_starve_anybody() {
    let settings = Settings::from_environment();
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let general = format!(
        "default_pool_size = {0}\nmin_pool_size = {0}\nmax_client_conn = {1}\nidle_transaction_timeout = \"1s\"\n\
         client_login_timeout = \"5s\"\nlog_connections = false\nlog_disconnections = false\nlog_level = \"warn\"\n",
        settings.connections / SHARDS,
        settings.idle + settings.active + 800
    );
    let world = Sharded::create("soak", &general);
    let keys = keys(&world, settings.active);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outcome = LocalSet::new().block_on(&runtime, soak(&settings, &world, &keys));
    outcome.print(&settings);
    outcome.check(&settings, &world);
}
