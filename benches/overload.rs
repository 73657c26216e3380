//! What is left of the throughput when four times as much is asked as can be served: goodput, the answers a second that come within their
//! deadline, at one and at four times the load, with a bounded line and without one, side by side in one run.
//!
//! The load is open: each client has its schedule, and who is late does not slow the others down. What can be served is set by the shards:
//! a statement holds its connection for a fixed time. `PGLOOM_BENCH_SECONDS`: how long each row is measured.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::raw::message as m;
use support::{Raw, SHARDS, Sharded};

/// For each shard.
const POOL: usize = 2;
/// That a statement holds its connection.
const WORK: Duration = Duration::from_millis(20);
/// From the moment when a statement is due to its answer.
const DEADLINE: Duration = Duration::from_millis(500);
/// Enough of them that none has to wait for its own last answer where all come in time.
const CLIENTS: usize = 400;
/// Clients that may wait for each shard's pool, where the line is bounded: they take half of the deadline.
const QUEUE: usize = 25;
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

fn load(world: &Sharded, rate: f64, length: Duration) -> Outcome {
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
                    client(
                        raw,
                        id,
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

fn client(mut raw: Raw, id: i32, mut due: Instant, period: Duration, end: Instant, outcome: &Outcome) {
    let sql = format!("SELECT n, pg_sleep({}) FROM items WHERE id = {id}", WORK.as_secs_f64());
    let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
    while due < end {
        count(&outcome.due);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        raw.send(&m::query(&sql)).unwrap();
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

fn main() {
    let seconds = std::env::var("PGLOOM_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(15.0);
    let length = Duration::from_secs_f64(seconds);
    let capacity = (SHARDS * POOL) as f64 / WORK.as_secs_f64();
    let common = format!(
        "default_pool_size = {POOL}\nmax_client_conn = 1000\nlog_connections = false\nlog_disconnections = false\n"
    );
    let bounded = Sharded::create("goodput", &format!("{common}pool_queue_size = {QUEUE}"));
    println!(
        "{SHARDS} shards with {POOL} connections, {WORK:?} a statement: at most {capacity:.0}/s; a deadline of {DEADLINE:?}; {seconds} s each"
    );
    println!(
        "{:<22} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "offered/s", "good/s", "late/s", "refused/s", "unasked/s", "of peak"
    );
    let mut peak: f64 = 0.0;
    let mut row = |world: &Sharded, name: &str, times: f64| {
        let outcome = load(world, capacity * times, length);
        let rate = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64 / seconds;
        let good = rate(&outcome.good);
        peak = peak.max(if times <= 1.0 { good } else { 0.0 });
        println!(
            "{:<22} {:>9.0} {good:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>8.0}%",
            format!("{name}, {times}x"),
            rate(&outcome.due),
            rate(&outcome.late),
            rate(&outcome.refused),
            rate(&outcome.unasked),
            good / peak * 100.0
        );
        good / peak
    };
    row(&bounded, "bounded line", 0.9);
    row(&bounded, "bounded line", 1.0);
    let left = row(&bounded, "bounded line", 4.0);
    let text = bounded.router.config_text();
    assert_eq!(
        bounded.router.reload(&text.replace(&format!("pool_queue_size = {QUEUE}"), "pool_queue_size = 0")),
        "applied"
    );
    row(&bounded, "unbounded line", 4.0);
    println!(
        "goodput at four times the load: {:.0}% of the peak (at least {:.0}% is asked)",
        left * 100.0,
        LEAST * 100.0
    );
    if left < LEAST {
        std::process::exit(1);
    }
}
