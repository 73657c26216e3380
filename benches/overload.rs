//! What is left of the throughput when four times as much is asked as can be served: goodput, the answers a second that come within their
//! deadline, at one and at four times the load, with lines bounded by time, by count and not at all, by turns in one run.
//!
//! The load is open: each client has its schedule, and who is late does not slow the others down. What can be served is set by the shards:
//! a statement holds its connection for a fixed time. `PGLOOM_BENCH_SECONDS`, `PGLOOM_BENCH_ROUNDS`: how long each row is
//! measured, and how often.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::raw::message as m;
use support::{Raw, SHARDS, Sharded};

/// For each shard.
const POOL: usize = 2;
/// That a statement holds its connection; and where it takes three times as long as was thought when the line was given its bound.
const WORK: Duration = Duration::from_millis(20);
const SLOW: Duration = Duration::from_millis(60);
/// From the moment when a statement is due to its answer.
const DEADLINE: Duration = Duration::from_millis(500);
/// Enough of them that none has to wait for its own last answer where all come in time.
const CLIENTS: usize = 400;
/// At four times the load so much of the peak must be left.
const LEAST: f64 = 0.9;

/// What became of the statements that were due.
#[derive(Default)]
struct Outcome {
    due: AtomicU64,
    good: AtomicU64,
    late: AtomicU64,
    refused: AtomicU64,
    /// Its client was still waiting for the last one.
    unasked: AtomicU64,
}

impl Outcome {
    fn add(&self, more: &Self) {
        for (own, more) in self.counts().into_iter().zip(more.counts()) {
            own.fetch_add(more.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    fn counts(&self) -> [&AtomicU64; 5] {
        [&self.due, &self.good, &self.late, &self.refused, &self.unasked]
    }
}

fn load(world: &Sharded, work: Duration, rate: f64, length: Duration) -> Outcome {
    let outcome = Outcome::default();
    let period = Duration::from_secs_f64(CLIENTS as f64 / rate);
    // All are there before the first statement is due.
    let clients: Vec<Raw> = (0..CLIENTS).map(|_| world.connect()).collect();
    let begin = Instant::now() + Duration::from_millis(200);
    std::thread::scope(|scope| {
        for (nth, raw) in clients.into_iter().enumerate() {
            let outcome = &outcome;
            let id = world.id(nth % SHARDS, 0);
            let builder = std::thread::Builder::new().stack_size(128 << 10);
            builder
                .spawn_scoped(scope, move || {
                    let sql = format!("SELECT n, pg_sleep({}) FROM items WHERE id = {id}", work.as_secs_f64());
                    client(
                        raw,
                        &sql,
                        begin + period.mul_f64(nth as f64 / CLIENTS as f64),
                        period,
                        begin + length,
                        outcome,
                    )
                })
                .unwrap();
        }
    });
    outcome
}

fn client(mut raw: Raw, sql: &str, mut due: Instant, period: Duration, end: Instant, outcome: &Outcome) {
    let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
    while due < end {
        count(&outcome.due);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        raw.send(&m::query(sql)).unwrap();
        let messages = raw.read_to_ready().unwrap();
        let error =
            messages.iter().find(|message| message.tag == b'E').map(|message| message.report().code().to_owned());
        match error.as_deref() {
            None if due.elapsed() <= DEADLINE => count(&outcome.good),
            None => count(&outcome.late),
            Some("53300") => count(&outcome.refused),
            Some(other) => panic!("SQLSTATE {other}"),
        };
        due += period;
        while due < Instant::now() && due < end {
            count(&outcome.due);
            count(&outcome.unasked);
            due += period;
        }
    }
}

/// How the line at each pool is bounded.
const BY_COUNT: &str = "pool_queue_size = 25";
/// Who would wait for longer, as the line moves, is refused at once.
const BY_TIME: &str = "query_wait_timeout = \"250ms\"";
const UNBOUNDED: &str = "pool_queue_size = 0";

/// One row of the table: its name, the bound, what a statement takes, and the load as a multiple of what can be served.
struct Row(&'static str, &'static str, Duration, f64);

/// What is measured, in this order in each round.
const ROWS: [Row; 9] = [
    Row("by time", BY_TIME, WORK, 0.9),
    Row("by time", BY_TIME, WORK, 1.0),
    Row("by time", BY_TIME, WORK, 4.0),
    Row("by count", BY_COUNT, WORK, 1.0),
    Row("by count", BY_COUNT, WORK, 4.0),
    Row("unbounded", UNBOUNDED, WORK, 4.0),
    Row("by time, slow", BY_TIME, SLOW, 1.0),
    Row("by time, slow", BY_TIME, SLOW, 4.0),
    Row("by count, slow", BY_COUNT, SLOW, 4.0),
];

fn main() {
    let number =
        |name: &str, default: f64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seconds, rounds) = (number("PGLOOM_BENCH_SECONDS", 5.0), number("PGLOOM_BENCH_ROUNDS", 3.0));
    let length = Duration::from_secs_f64(seconds);
    let capacity = |work: Duration| (SHARDS * POOL) as f64 / work.as_secs_f64();
    let common = format!(
        "default_pool_size = {POOL}\nmax_client_conn = 1000\nlog_connections = false\nlog_disconnections = false\n"
    );
    let world = Sharded::create("goodput", &format!("{common}{UNBOUNDED}"));
    let text = world.router.config_text();
    println!(
        "{SHARDS} shards with {POOL} connections, {WORK:?} a statement: at most {:.0}/s; slow, {SLOW:?}: {:.0}/s; a deadline of {DEADLINE:?}; \
         {rounds} rounds of {seconds} s",
        capacity(WORK),
        capacity(SLOW)
    );
    let totals: [Outcome; ROWS.len()] = Default::default();
    let mut now = UNBOUNDED;
    for _ in 0..rounds as usize {
        for (Row(_, bound, work, times), total) in ROWS.iter().zip(&totals) {
            if *bound != now {
                assert_eq!(world.router.reload(&text.replace(UNBOUNDED, bound)), "applied");
                now = bound;
            }
            total.add(&load(&world, *work, capacity(*work) * times, length));
        }
    }
    println!(
        "{:<20} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "line bounded", "offered/s", "good/s", "late/s", "refused/s", "unasked/s", "of peak"
    );
    let rate = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64 / (seconds * rounds);
    let goods: Vec<f64> = totals.iter().map(|total| rate(&total.good)).collect();
    let peak = |work: Duration| {
        let at_most_once = ROWS.iter().zip(&goods).filter(|(row, _)| row.2 == work && row.3 <= 1.0);
        at_most_once.map(|(_, good)| *good).fold(0.0, f64::max)
    };
    let mut left: f64 = 1.0;
    for ((Row(name, bound, work, times), total), good) in ROWS.iter().zip(&totals).zip(&goods) {
        let share = good / peak(*work);
        if *bound == BY_TIME && *times > 1.0 {
            left = left.min(share);
        }
        println!(
            "{:<20} {:>9.0} {good:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>8.0}%",
            format!("{name}, {times}x"),
            rate(&total.due),
            rate(&total.late),
            rate(&total.refused),
            rate(&total.unasked),
            share * 100.0
        );
    }
    println!(
        "goodput at four times the load: {:.0}% of the peak at least (at least {:.0}% is asked)",
        left * 100.0,
        LEAST * 100.0
    );
    if left < LEAST {
        std::process::exit(1);
    }
}
