//! `CombineServers`: the Postgres servers beside the shards that finish statements. Which of them may do that, which answer, and
//! which one is the next.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::combine::TypedColumn;
use crate::topology::Server;

/// How long a server that could not be reached is left alone.
const SKIP: Duration = Duration::from_secs(5);
/// How often the log tells that statements which a server was to finish go elsewhere. The metrics count all of them.
const WARN: Duration = Duration::from_secs(60);

/// Queries whose columns are remembered at most.
const MAX_DESCRIBED: usize = 1024;

/// What is known of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fitness {
    /// It has not been looked at since the start, or since a connection to it was lost.
    #[default]
    Unknown,
    /// It may not finish statements, because of these differences from the home shard.
    Unfit(Vec<String>),
    /// What it finishes is what the home shard would have made of it.
    Fit {
        /// Names in pg_catalog of the collations that it has as the home shard has them, sorted.
        collations: Vec<Box<str>>,
        /// The run and configuration that was looked at: see [`INCARNATION`].
        incarnation: Box<str>,
    },
}

/// Asks a server since when it runs and has its configuration. Who meets another one has met a server that nobody has looked at.
pub const INCARNATION: &str = "SELECT pg_catalog.pg_postmaster_start_time()::pg_catalog.text || ' ' || pg_catalog.pg_conf_load_time()::pg_catalog.text";

#[derive(Debug)]
struct CombineServer {
    server: Server,
    address: Arc<str>,
    state: Mutex<State>,
    /// Statements that it is finishing now, for all users.
    running: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    fitness: Fitness,
    /// It could not be reached a moment ago.
    skipped_until: Option<Instant>,
    /// When the log was last told of it.
    warned: Option<Instant>,
}

impl CombineServer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_finish(&self, needs: &[Box<str>], now: Instant) -> bool {
        let state = self.state();
        let Fitness::Fit { collations, .. } = &state.fitness else { return false };
        state.skipped_until.is_none_or(|until| until <= now)
            && needs.iter().all(|name| collations.binary_search(name).is_ok())
    }
}

/// Those of one logical database. May be none.
#[derive(Debug, Default)]
pub struct CombineServers {
    servers: Vec<CombineServer>,
    /// Whose turn it is among those that have as much to do.
    turn: AtomicUsize,
    /// The columns of queries that shards run whole, as the home shard has told them.
    columns: Mutex<HashMap<Box<str>, Described>>,
}

#[derive(Debug)]
struct Described {
    query: Box<str>,
    generation: u64,
    columns: Vec<TypedColumn>,
}

impl CombineServers {
    pub fn new(servers: Vec<Server>) -> Arc<Self> {
        let servers = servers.into_iter().map(|server| CombineServer {
            address: format!("{}:{}", server.host, server.port).into(),
            server,
            state: Mutex::default(),
            running: AtomicUsize::new(0),
        });
        Arc::new(Self { servers: servers.collect(), turn: AtomicUsize::new(0), columns: Mutex::default() })
    }

    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    pub fn len(&self) -> usize {
        self.servers.len()
    }

    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().map(|server| &server.server)
    }

    /// `host:port` of each.
    pub fn addresses(&self) -> Vec<&str> {
        self.servers.iter().map(|server| &*server.address).collect()
    }

    pub fn address(&self, at: usize) -> &Arc<str> {
        &self.servers[at].address
    }

    /// The one that is to finish a statement which needs these collations: of those that may and answer, the one that finishes the
    /// fewest. `crowded`: the user has no connection left to it. `without`: tried already.
    pub fn choose(
        &self,
        needs: &[Box<str>],
        crowded: impl Fn(usize) -> bool,
        without: &[usize],
        now: Instant,
    ) -> Option<usize> {
        let count = self.servers.len();
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % count.max(1);
        (0..count)
            .map(|step| (first + step) % count)
            .filter(|at| !without.contains(at) && self.servers[*at].may_finish(needs, now))
            // The first of equal ones.
            .min_by_key(|at| (crowded(*at), self.servers[*at].running.load(Ordering::Relaxed)))
    }

    /// Those that may finish a statement which needs these collations.
    pub fn able(&self, needs: &[Box<str>], now: Instant) -> Vec<&str> {
        let able = self.servers.iter().filter(|server| server.may_finish(needs, now));
        able.map(|server| &*server.address).collect()
    }

    /// The columns of the input of this name, made of this query, if they are known under this catalog.
    pub fn columns(&self, name: &str, query: &str, generation: u64) -> Option<Vec<TypedColumn>> {
        let known = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(name).filter(|of| *of.query == *query && of.generation == generation)?;
        Some(found.columns.clone())
    }

    pub fn note_columns(&self, name: &str, query: &str, generation: u64, columns: &[TypedColumn]) {
        let mut known = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_DESCRIBED {
            known.clear();
        }
        known.insert(name.into(), Described { query: query.into(), generation, columns: columns.to_vec() });
    }

    /// A statement goes to a server. It is counted there as long as the value lives.
    pub fn enter(self: &Arc<Self>, at: usize) -> Running {
        self.servers[at].running.fetch_add(1, Ordering::Relaxed);
        Running { servers: Arc::clone(self), at }
    }

    pub fn fitness(&self, at: usize) -> Fitness {
        self.servers[at].state().fitness.clone()
    }

    /// What a look at the server has shown; it can be reached.
    pub fn note(&self, at: usize, fitness: Fitness) {
        let mut state = self.servers[at].state();
        state.fitness = fitness;
        state.skipped_until = None;
    }

    /// It could not be reached: others are asked for a while.
    pub fn skip(&self, at: usize, now: Instant) {
        self.servers[at].state().skipped_until = Some(now + SKIP);
    }

    /// Whether the log is to be told that a statement goes elsewhere.
    pub fn may_warn(&self, at: usize, now: Instant) -> bool {
        let mut state = self.servers[at].state();
        let due = state.warned.is_none_or(|warned| now.duration_since(warned) >= WARN);
        if due {
            state.warned = Some(now);
        }
        due
    }

    /// A connection to it was lost: nobody knows what answers there next. It is looked at before it is used again.
    pub fn doubt(&self, at: usize) {
        self.servers[at].state().fitness = Fitness::Unknown;
    }
}

/// A statement that a server finishes.
#[derive(Debug)]
pub struct Running {
    servers: Arc<CombineServers>,
    /// Which of them.
    pub at: usize,
}

impl Running {
    /// See [`CombineServers::doubt`].
    pub fn doubt(&self) {
        self.servers.doubt(self.at);
    }

    /// Whether this is what was looked at.
    pub fn is_known(&self, seen: &str) -> bool {
        let fitness = &self.servers.servers[self.at].state().fitness;
        matches!(fitness, Fitness::Fit { incarnation, .. } if **incarnation == *seen)
    }

    pub fn address(&self) -> &Arc<str> {
        self.servers.address(self.at)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.servers.servers[self.at].running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(count: u16) -> Arc<CombineServers> {
        let server = |at| Server::new("h", 5432 + at, "combine");
        let servers = CombineServers::new((0..count).map(server).collect());
        for at in 0..usize::from(count) {
            servers.note(at, Fitness::Fit { collations: vec!["C".into(), "POSIX".into()], incarnation: "1".into() });
        }
        servers
    }

    fn choose(servers: &CombineServers) -> Option<usize> {
        servers.choose(&[], |_| false, &[], Instant::now())
    }

    #[test]
    fn statements_go_to_whom_has_the_fewest_and_in_turn_where_all_have_as_many() {
        let servers = servers(3);
        let idle: Vec<_> = (0..3).filter_map(|_| choose(&servers)).collect();
        assert_eq!(idle, [0, 1, 2]);
        let busy = [servers.enter(0), servers.enter(0), servers.enter(1), servers.enter(2), servers.enter(2)];
        assert_eq!([choose(&servers), choose(&servers), choose(&servers)], [Some(1); 3]);
        // Where this user would have to wait is only where he has to.
        assert_eq!(servers.choose(&[], |at| at == 1, &[], Instant::now()), Some(0));
        drop(busy);
        assert!(choose(&servers).is_some());
    }

    #[test]
    fn only_those_that_are_known_to_be_fit_are_asked() {
        let servers = servers(2);
        servers.doubt(0);
        assert_eq!([choose(&servers), choose(&servers)], [Some(1); 2]);
        servers.note(1, Fitness::Unfit(vec!["encoding".into()]));
        assert_eq!(choose(&servers), None);
        assert_eq!(super::CombineServers::default().choose(&[], |_| false, &[], Instant::now()), None);
    }

    #[test]
    fn a_server_must_have_the_collations_of_the_statement() {
        let servers = servers(1);
        let choose = |name: &str| servers.choose(&[name.into()], |_| false, &[], Instant::now());
        assert_eq!((choose("C"), choose("de-x-icu")), (Some(0), None));
    }

    #[test]
    fn one_that_did_not_answer_is_skipped_for_a_while() {
        let servers = servers(2);
        let now = Instant::now();
        servers.skip(0, now);
        let at = |now| servers.choose(&[], |_| false, &[1], now);
        assert_eq!((at(now), at(now + SKIP)), (None, Some(0)));
    }
}
