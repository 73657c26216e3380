//! Traces: where the time of a statement went, as spans that a collector joins with those of the application that sent it.
//!
//! Off, which is the default, a statement pays one load of a pointer. On, most statements are not sampled and pay a look for a comment
//! and a draw; those that are keep their spans to themselves and hand them over when they are over, through a queue with a bound.

mod context;
mod export;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwapOption;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use context::{Context, of_comment};

/// Statements that wait for the collector; what comes beyond is dropped, and counted.
const QUEUE: usize = 4096;
/// A router that ends waits so long for the collector.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the configuration says.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The collector's OTLP endpoint, over gRPC: `http://host:4317`.
    pub endpoint: String,
    /// The part of those statements that is sampled whose application has not decided it.
    pub ratio: f64,
}

/// One for the whole router.
#[derive(Default)]
pub struct Tracer {
    on: ArcSwapOption<On>,
    state: AtomicU64,
}

struct On {
    rules: Rules,
    queue: mpsc::Sender<Finished>,
    dropped: Arc<AtomicU64>,
    task: std::sync::Mutex<Option<JoinHandle<()>>>,
}

/// A statement that is sampled.
#[derive(Debug)]
pub struct Trace {
    /// The application's span that sent it.
    pub parent: Option<Context>,
    /// Its own span.
    pub context: Context,
    began: Instant,
    spans: Vec<Span>,
}

/// A part of a statement.
#[derive(Debug)]
pub struct Span {
    pub name: &'static str,
    pub from: Instant,
    pub to: Instant,
    /// A request to somebody else.
    pub is_request: bool,
    pub attributes: Vec<(&'static str, Value)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Number(i64),
}

/// A statement that is over.
#[derive(Debug)]
pub struct Finished {
    trace: Trace,
    to: Instant,
    attributes: Vec<(&'static str, Value)>,
    /// Its SQLSTATE.
    error: Option<String>,
    /// The same moment by both clocks.
    now: (Instant, SystemTime),
    ids: Vec<[u8; 8]>,
}

impl Trace {
    pub fn push(&mut self, span: Span) {
        self.spans.push(span);
    }

    /// A part that began with the statement, or with the part before it.
    pub fn began(&self) -> Instant {
        self.began
    }
}

impl Tracer {
    pub fn is_on(&self) -> bool {
        self.on.load().is_some()
    }

    /// Follows the configuration; `None`: no traces.
    ///
    /// # Errors
    /// The endpoint is none.
    pub fn configure(&self, rules: Option<Rules>) -> Result<(), String> {
        let now = self.on.load_full();
        if now.as_ref().map(|on| &on.rules) == rules.as_ref() {
            return Ok(());
        }
        let Some(rules) = rules else {
            self.on.store(None);
            return Ok(());
        };
        let (queue, finished) = mpsc::channel(QUEUE);
        let dropped = Arc::<AtomicU64>::default();
        let exporter = export::connect(&rules.endpoint)?;
        let task = tokio::spawn(export::run(exporter, finished, Arc::clone(&dropped)));
        // What waits for the one before is still sent: its queue ends with it.
        self.on.store(Some(Arc::new(On { rules, queue, dropped, task: Some(task).into() })));
        Ok(())
    }

    /// # Errors
    /// The endpoint is none.
    pub fn check(rules: &Rules) -> Result<(), String> {
        export::connect(&rules.endpoint).map(drop)
    }

    /// The router ends: what is finished is sent, if that is quick.
    pub async fn end(&self) {
        let Some(on) = self.on.swap(None) else { return };
        let task = on.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        drop(on);
        if let Some(task) = task {
            let _ = tokio::time::timeout(FAREWELL, task).await;
        }
    }

    /// A statement that was read at `began`. `None`: it is not sampled.
    pub fn begin(&self, sql: &str, began: Instant) -> Option<Box<Trace>> {
        let on = self.on.load();
        let on = on.as_ref()?;
        let parent = of_comment(sql);
        let sampled = match &parent {
            Some(parent) => parent.sampled,
            None => on.rules.ratio >= 1.0 || (self.draw() >> 11) as f64 / ((1u64 << 53) as f64) < on.rules.ratio,
        };
        if !sampled {
            return None;
        }
        let trace = match &parent {
            Some(parent) => parent.trace,
            None => {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&self.draw().to_be_bytes());
                bytes[8..].copy_from_slice(&self.draw().max(1).to_be_bytes());
                bytes
            }
        };
        let context = Context { trace, span: self.span_id(), sampled: true };
        Some(Box::new(Trace { parent, context, began, spans: Vec::new() }))
    }

    /// It is over.
    pub fn finish(&self, trace: Trace, to: Instant, attributes: Vec<(&'static str, Value)>, error: Option<String>) {
        let on = self.on.load();
        let Some(on) = on.as_ref() else { return };
        let ids = trace.spans.iter().map(|_| self.span_id()).collect();
        let now = (Instant::now(), SystemTime::now());
        let finished = Finished { trace, to, attributes, error, now, ids };
        if on.queue.try_send(finished).is_err() {
            on.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn span_id(&self) -> [u8; 8] {
        self.draw().max(1).to_be_bytes()
    }

    /// The next number of a sequence that begins anywhere and repeats nothing (splitmix64).
    fn draw(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut state = self.state.fetch_add(STEP, Ordering::Relaxed);
        if state == 0 {
            let mut seed = [0; 8];
            // Where the system gives none, all routers count alike: a trace could be mixed up with another router's.
            let _ = SystemRandom::new().fill(&mut seed);
            state = u64::from_be_bytes(seed) | 1;
            self.state.store(state.wrapping_add(STEP), Ordering::Relaxed);
        }
        let mut mixed = state.wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_repeat() {
        let tracer = Tracer::default();
        let drawn: std::collections::HashSet<u64> = (0..10_000).map(|_| tracer.draw()).collect();
        assert_eq!(drawn.len(), 10_000);
    }

    #[test]
    fn what_is_off_samples_nothing() {
        let sql = "SELECT 1 /*traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/";
        assert!(Tracer::default().begin(sql, Instant::now()).is_none());
    }
}
