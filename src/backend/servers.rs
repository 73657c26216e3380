//! `ShardServers`: the servers of one shard as all of the router sees them: who is the primary now, which replicas may be read, and
//! who waits for that to change. Nobody in here asks a server anything; `control::servers` does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::backend::Backend;
use crate::backend::breakers::{Breakers, ServerBreaker};
use crate::backend::cancel::CancelHandle;
use crate::backend::cluster::ServerPool;
use crate::backend::hedge::Hedges;
use crate::backend::roles::{Fact, Heard, Lsn, Role, Roles, Stint};
use crate::backend::timelines::{FIRST, Lineage, Mark, Timelines, server_path, shard_path};
use crate::fault::{Blame, Fault, SqlState};
use crate::topology::{Server, Shard};

/// What a server says of its part in its cluster. Without operators and names that a search path could lead elsewhere. What a standby
/// receives is seen with the rights of pg_monitor alone; its control file knows a new timeline later.
const WHO: &str = "SELECT r.standby, s.system_identifier, \
     CASE WHEN r.standby THEN NULL ELSE pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END, \
     CASE WHEN r.standby THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_insert_lsn() END, \
     c.timeline_id, v.min_recovery_end_timeline, (SELECT pg_catalog.max(w.received_tli) FROM pg_catalog.pg_stat_wal_receiver w) \
     FROM (SELECT pg_catalog.pg_is_in_recovery() AS standby) r, pg_catalog.pg_control_system() s, \
     pg_catalog.pg_control_checkpoint() c, pg_catalog.pg_control_recovery() v";

/// Asks a server for its part in its cluster.
///
/// # Errors
/// The loss of the connection, the server's refusal, or an answer that cannot be read.
pub async fn who(server: &mut Backend) -> Result<Fact, Fault> {
    let rows = server.query(WHO).await?;
    rows.first().and_then(|row| fact(row)).ok_or_else(|| {
        Fault::new(SqlState::UNABLE_TO_CONNECT, format!("server {} does not tell its role", server.address))
            .detail("its answer could not be read")
            .blame(Blame::Server)
    })
}

fn fact(row: &[Option<String>]) -> Option<Fact> {
    let text = |at: usize| row.get(at)?.as_deref();
    let in_recovery = text(0)? == "t";
    // Signed in SQL.
    let system = u64::from_ne_bytes(text(1)?.parse::<i64>().ok()?.to_ne_bytes());
    let timeline = match in_recovery {
        true => (4..7).filter_map(|at| text(at)?.parse().ok()).max()?,
        false => u32::from_str_radix(text(2)?.get(..8)?, 16).ok()?,
    };
    let lsn = match text(3) {
        Some(lsn) => Lsn::parse(lsn)?,
        // A standby that has replayed nothing yet.
        None if in_recovery => Lsn(0),
        None => return None,
    };
    Some(Fact { system, timeline, in_recovery, lsn })
}

/// The shards of one database.
#[derive(Debug, Default)]
struct KnownShards {
    by_servers: HashMap<Vec<Server>, Arc<ShardServers>>,
    /// The list in which each server was called for last.
    last: HashMap<(String, String), Arc<ShardServers>>,
}

/// What makes two servers of a database the same one: the address, and the database there.
fn placed(server: &Server) -> (String, String) {
    (server.address(), server.dbname.to_string())
}

/// Those of all shards that the router knows, by database and servers: another map of the same servers finds the same ones.
#[derive(Debug, Default)]
pub struct ServerBook {
    known: Mutex<HashMap<Arc<str>, KnownShards>>,
    pub timelines: Arc<Timelines>,
    /// Other routers are still to be asked for the timelines that they know.
    unasked: watch::Sender<bool>,
}

impl ServerBook {
    pub fn new(timelines: Timelines) -> Self {
        Self { timelines: Arc::new(timelines), ..Self::default() }
    }

    /// Nobody is asked for its role before [`Self::have_asked`], so that no old primary is taken for the one of now.
    pub fn ask_others_first(&self) {
        self.unasked.send_replace(true);
    }

    /// What other routers know is known, as far as they have answered.
    pub fn have_asked(&self) {
        self.unasked.send_replace(false);
    }

    /// Resolves when servers may be asked for their roles.
    pub async fn others_were_asked(&self) {
        // Its sender lives as long as `self`.
        let _ = self.unasked.subscribe().wait_for(|unasked| !unasked).await;
    }

    /// The servers of a shard. Lists that have servers in common are of one shard: each knows what the others have heard, whoever calls
    /// for which of them in turn. Who has which part is known of each by asking alone.
    pub fn of(&self, database: &Arc<str>, shard: &Shard, breakers: &Breakers) -> Arc<ShardServers> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(Arc::clone(database)).or_default();
        let found = known.by_servers.get(&shard.servers).map(Arc::clone);
        let same = |one: &Server, other: &Server| one.address() == other.address() && one.dbname == other.dbname;
        let is_here = |server: &Server| shard.servers.iter().any(|own| same(own, server));
        // Of those lists that its servers were in last, the one that has most of them.
        let last = shard.servers.iter().filter_map(|server| known.last.get(&placed(server)));
        let others = last.filter(|last| found.as_ref().is_none_or(|found| !Arc::ptr_eq(found, last)));
        let before = others.max_by_key(|last| {
            let shared = last.members.iter().filter(|member| is_here(&member.server)).count();
            (shared, last.called().0 == shard.name)
        });
        let heard = before.map(|before| {
            let place = |at: usize| before.members.iter().position(|one| same(&one.server, &shard.servers[at]));
            before.roles().of_others(shard.servers.len(), place)
        });
        let servers = match (found, heard) {
            (Some(found), heard) => {
                found.be_called(database, &shard.name);
                let Some(heard) = heard else { return found };
                found.roles().learn(&heard);
                found
            }
            (None, heard) => {
                let roles = heard.unwrap_or_else(|| Roles::new(shard.servers.len()));
                Arc::new(ShardServers::new(database, shard, breakers, roles, Arc::clone(&self.timelines)))
            }
        };
        known.by_servers.insert(shard.servers.clone(), Arc::clone(&servers));
        known.last.extend(shard.servers.iter().map(|server| (placed(server), Arc::clone(&servers))));
        servers
    }

    /// Lists of several servers with connections to a primary of theirs: also those that are in the configuration no more.
    pub fn in_use(&self, database: &str) -> Vec<Arc<ShardServers>> {
        let all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of = all.get(database).into_iter().flat_map(|known| known.by_servers.values());
        let has_some = |servers: &&Arc<ShardServers>| servers.made().iter().any(|(_, made)| made.strong_count() > 0);
        of.filter(|servers| !servers.is_lone()).filter(has_some).map(Arc::clone).collect()
    }

    /// Other routers have heard of these timelines.
    pub fn learn(&self, reached: impl IntoIterator<Item = (Lineage, u32)>) {
        let known = self.timelines.all();
        let is_news = reached.into_iter().fold(false, |is_news, (lineage, timeline)| {
            let before = known.get(&lineage).copied();
            self.timelines.hear(std::slice::from_ref(&lineage), timeline) > before.unwrap_or(FIRST) || is_news
        });
        self.doubt_if(is_news);
    }

    /// The same, as routers tell each other.
    pub fn learn_marked(&self, told: impl IntoIterator<Item = (Mark, u32)>) {
        let is_news = self.timelines.learn(told);
        self.doubt_if(is_news);
    }

    /// Where a timeline is news, every server is asked at once: the primary may be an old one.
    fn doubt_if(&self, is_news: bool) {
        if is_news {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.values().flat_map(|known| known.by_servers.values()).for_each(|servers| servers.doubt());
        }
    }
}

#[derive(Debug)]
pub struct ShardServers {
    pub shard: Arc<str>,
    /// The name that the shard has now, and the same among those of all databases.
    called: Mutex<(Arc<str>, Arc<str>)>,
    members: Vec<Member>,
    /// The stint of the primary and its place, in one word: what each checkout looks at. 0: nobody is the primary.
    primary: AtomicU64,
    roles: Mutex<Roles>,
    timelines: Arc<Timelines>,
    /// The connections that were made to the primary, each with the word of its stint.
    made: Mutex<Vec<(u64, Weak<CancelHandle>)>>,
    /// Raised with each change of a role.
    changes: watch::Sender<u64>,
    /// Raised when somebody has met a server that is not what it was.
    doubts: watch::Sender<u64>,
    hedges: Hedges,
}

/// One server.
#[derive(Debug)]
pub struct Member {
    pub server: Server,
    pub address: Arc<str>,
    /// What is at its address: see [`server_path`].
    path: Arc<str>,
    pub breaker: Arc<ServerBreaker>,
    /// Its stint as a replica. 0: it is none.
    replica: AtomicU64,
    /// Microseconds that it takes to answer, smoothed. 0: not measured yet.
    latency: AtomicU64,
}

/// What a replica must have, to be read.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// All that was written so long ago.
    pub longest: Option<Duration>,
    /// All but so many bytes.
    pub bytes: Option<u64>,
    /// All that was written by then.
    pub since: Instant,
}

/// The lower, the sooner an answer is to be expected of a server: by the time that it takes, how many ask it already, and its weight.
pub fn score(member: &Member, pool: &ServerPool) -> f64 {
    // Microseconds of a network, below which servers do not differ.
    let latency = member.latency.load(Ordering::Relaxed) as f64 + 200.0;
    let asked = pool.counts.active.load(Ordering::Relaxed) as f64 + pool.waiting() as f64 + 1.0;
    latency * asked / f64::from(member.server.weight.max(1))
}

/// A server as SHOW, metrics and the console tell of it.
#[derive(Clone, Debug)]
pub struct ServerReport {
    pub server: Server,
    pub role: Role,
    /// It did not answer the last time.
    pub silent: bool,
    pub timeline: Option<u32>,
    pub lag_bytes: Option<u64>,
    pub lag: Option<Duration>,
    pub latency: Option<Duration>,
    pub breaker: Arc<ServerBreaker>,
}

/// The place of a server is kept in the upper bits of the word.
const PLACE: u32 = 48;

fn word(at: usize, stint: Stint) -> u64 {
    (at as u64) << PLACE | stint
}

/// The place that a stint's word names.
pub fn place_of(word: u64) -> usize {
    (word >> PLACE) as usize
}

impl ShardServers {
    fn new(database: &str, shard: &Shard, breakers: &Breakers, roles: Roles, timelines: Arc<Timelines>) -> Self {
        let member = |server: &Server| Member {
            server: server.clone(),
            address: server.address().into(),
            path: server_path(&server.address()),
            breaker: breakers.of(server),
            replica: AtomicU64::new(0),
            latency: AtomicU64::new(0),
        };
        Self {
            shard: Arc::clone(&shard.name),
            called: Mutex::new((Arc::clone(&shard.name), shard_path(database, &shard.name))),
            members: shard.servers.iter().map(member).collect(),
            primary: AtomicU64::new(0),
            roles: Mutex::new(roles),
            timelines,
            made: Mutex::default(),
            changes: watch::Sender::new(0),
            doubts: watch::Sender::new(0),
            hedges: Hedges::default(),
        }
    }

    fn called(&self) -> MutexGuard<'_, (Arc<str>, Arc<str>)> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All by which a cluster of these servers is known: whatever other databases, or an earlier name, have to do with one of them has
    /// heard of the same cluster.
    fn lineages(&self, system: u64) -> Vec<Lineage> {
        let named = Arc::clone(&self.called().1);
        let servers = self.members.iter().map(|member| Arc::clone(&member.path));
        std::iter::once(named).chain(servers).map(|shard| Lineage { shard, system }).collect()
    }

    /// The shard of these servers has this name.
    fn be_called(&self, database: &str, name: &Arc<str>) {
        let mut called = self.called();
        if called.0 != *name {
            *called = (Arc::clone(name), shard_path(database, name));
        }
    }

    /// The reads of its replicas that are sent to a second server.
    pub fn hedges(&self) -> &Hedges {
        &self.hedges
    }

    /// A shard with one server is never asked who it is: statements go there, and what it says is the answer.
    pub fn is_lone(&self) -> bool {
        self.members.len() == 1
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    fn roles(&self) -> MutexGuard<'_, Roles> {
        self.roles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The word of the primary's stint; 0 where nobody is, and where nobody is asked.
    pub fn primary_word(&self) -> u64 {
        self.primary.load(Ordering::Acquire)
    }

    /// The word of a server's stint as a replica; 0 where it is none.
    pub fn replica_word(&self, at: usize) -> u64 {
        self.members.get(at).map_or(0, |member| member.replica.load(Ordering::Acquire))
    }

    /// The server that takes writes.
    pub fn primary(&self) -> Option<&Member> {
        match self.primary_word() {
            _ if self.is_lone() => self.members.first(),
            0 => None,
            word => self.members.get(place_of(word)),
        }
    }

    /// What came of asking a server at that moment.
    pub fn hear(&self, at: usize, asked: Instant, heard: Heard) {
        let mut roles = self.roles();
        if let Heard::Said(fact) = heard {
            // What was heard of it while it had another name is not forgotten.
            let heard = fact.timeline.max(roles.known(fact.system));
            roles.know(fact.system, self.timelines.hear(&self.lineages(fact.system), heard));
        }
        let before = roles.primary();
        let stints: Vec<Stint> = roles.seats().iter().map(|seat| seat.stint).collect();
        if !roles.note(at, asked, heard) {
            return;
        }
        for (at, (member, seat)) in self.members.iter().zip(roles.seats()).enumerate() {
            let word = if seat.role == Role::Replica { word(at, seat.stint) } else { 0 };
            member.replica.store(word, Ordering::Release);
            if seat.stint != stints[at] {
                tracing::info!(shard = %self.shard, server = %member.address, role = seat.role.label(), why = seat.role.reason(), "role of a server");
            }
        }
        let primary = roles.primary();
        let new = primary.map_or(0, |at| word(at, roles.seats()[at].stint));
        self.primary.store(new, Ordering::Release);
        if primary != before {
            match primary {
                Some(at) => tracing::warn!(shard = %self.shard, server = %self.members[at].address, "new primary"),
                None => tracing::warn!(shard = %self.shard, "no primary"),
            }
        }
        drop(roles);
        self.supersede(new);
        self.changes.send_modify(|count| *count += 1);
    }

    /// A connection was made to the primary of this stint. Behind this call it is to be looked whether that is still the one.
    pub fn note_made(&self, word: u64, made: &Arc<CancelHandle>) {
        let mut all = self.made();
        if all.len() == all.capacity() {
            all.retain(|(_, one)| one.strong_count() > 0);
        }
        all.push((word, Arc::downgrade(made)));
    }

    /// Nobody waits any more for those who were the primary, nor believes them: another one need not have what they do.
    fn supersede(&self, word: u64) {
        let mut all = self.made();
        for (_, one) in all.extract_if(.., |(of, _)| *of != word) {
            if let Some(handle) = one.upgrade() {
                handle.supersede();
            }
        }
    }

    fn made(&self) -> MutexGuard<'_, Vec<(u64, Weak<CancelHandle>)>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a server took to answer.
    pub fn took(&self, at: usize, latency: Duration) {
        let Some(member) = self.members.get(at) else { return };
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, 1 << 40);
        let before = member.latency.load(Ordering::Relaxed);
        let smoothed = if before == 0 { micros } else { (before * 3 + micros).div_ceil(4) };
        member.latency.store(smoothed, Ordering::Relaxed);
    }

    /// A server is not what it was: it is to be asked at once.
    pub fn doubt(&self) {
        if !self.is_lone() {
            self.doubts.send_modify(|count| *count += 1);
        }
    }

    pub fn doubts(&self) -> watch::Receiver<u64> {
        self.doubts.subscribe()
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The replicas that have what is needed.
    pub fn readable(&self, needs: &Freshness, now: Instant) -> Vec<(usize, &Member)> {
        let roles = self.roles();
        let has = |at: usize| {
            let seat = &roles.seats()[at];
            let fresh = seat.fresh_as_of.filter(|_| seat.role == Role::Replica && !seat.silent);
            let young = |fresh: &Instant| {
                let lag = now.saturating_duration_since(*fresh);
                *fresh >= needs.since && needs.longest.is_none_or(|longest| lag <= longest)
            };
            let near = || needs.bytes.is_none_or(|most| roles.lag_bytes(at).is_some_and(|bytes| bytes <= most));
            fresh.is_some_and(|fresh| young(&fresh)) && near()
        };
        let members = self.members.iter().enumerate();
        members.filter(|(at, member)| has(*at) && member.breaker.is_closed()).collect()
    }

    /// Whether the primary answered when it was asked last.
    pub fn has_answering_primary(&self) -> bool {
        let roles = self.roles();
        roles.primary().is_some_and(|at| !roles.seats()[at].silent)
    }

    pub fn report(&self) -> Vec<ServerReport> {
        let (roles, now) = (self.roles(), Instant::now());
        let report = |(at, member): (usize, &Member)| {
            let seat = &roles.seats()[at];
            let latency = member.latency.load(Ordering::Relaxed);
            ServerReport {
                server: member.server.clone(),
                role: seat.role,
                silent: seat.silent,
                timeline: seat.fact.map(|fact| fact.timeline),
                lag_bytes: roles.lag_bytes(at),
                lag: roles.lag(at, now),
                latency: (latency > 0).then(|| Duration::from_micros(latency)),
                breaker: Arc::clone(&member.breaker),
            }
        };
        self.members.iter().enumerate().map(report).collect()
    }

    /// Why nobody gets a connection to the primary.
    pub fn no_primary(&self) -> Fault {
        let roles = self.roles();
        let told =
            self.members.iter().zip(roles.seats()).map(|(member, seat)| match (seat.role.reason(), seat.silent) {
                (_, true) => format!("{} does not answer", member.address),
                (Some(reason), false) => format!("{}: {reason}", member.address),
                (None, false) => format!("{} is {}", member.address, seat.role.label()),
            });
        Fault::new(SqlState::CANNOT_CONNECT_NOW, format!("shard \"{}\" has no primary", self.shard))
            .detail(told.collect::<Vec<_>>().join("; "))
            .hint("Retry shortly: a replica may be about to be promoted.")
            .blame(Blame::Server)
    }

    /// A server is no replica any more.
    pub fn no_replica(&self, at: usize) -> Fault {
        let address = self.members.get(at).map(|member| &*member.address).unwrap_or_default();
        Fault::new(SqlState::CANNOT_CONNECT_NOW, format!("shard server {address} is not a replica"))
            .hint("Retry shortly.")
            .blame(Blame::Server)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::backend::breaker::BreakerLimits;

    fn row(values: &[&str]) -> Vec<Option<String>> {
        values.iter().map(|value| (!value.is_empty()).then(|| (*value).to_owned())).collect()
    }

    #[test]
    fn what_servers_say_is_read_and_what_makes_no_sense_is_not() {
        let primary = row(&["f", "-5", "0000000200000000000000A1", "0/A1000060", "1", "0", ""]);
        let expected = Fact { system: u64::MAX - 4, timeline: 2, in_recovery: false, lsn: Lsn(0xA100_0060) };
        assert_eq!(fact(&primary), Some(expected));
        let standby = row(&["t", "7", "", "0/10", "1", "0", "3"]);
        assert_eq!(fact(&standby), Some(Fact { system: 7, timeline: 3, in_recovery: true, lsn: Lsn(16) }));
        for wrong in
            [row(&["f", "7", "", "0/10", "1", "0", ""]), row(&["f", "x", "00000001", "0/1", "1", "0", ""]), row(&["t"])]
        {
            assert_eq!(fact(&wrong), None);
        }
    }

    #[test]
    fn words_follow_the_roles() {
        let breakers = Breakers::new(BreakerLimits::default());
        let servers = vec![Server::new("a", 1, "d"), Server::new("b", 2, "d")];
        let shard = Shard { name: "s".into(), servers };
        let book = ServerBook::default();
        let database: Arc<str> = "d".into();
        let servers = book.of(&database, &shard, &breakers);
        assert!(Arc::ptr_eq(&servers, &book.of(&database, &shard, &breakers)) && !servers.is_lone());
        assert!(
            servers.primary().is_none()
                && servers.no_primary().detail.as_deref().unwrap().contains("a:1 does not answer")
        );
        let said = |in_recovery, timeline| Heard::Said(Fact { system: 1, timeline, in_recovery, lsn: Lsn(5) });
        servers.hear(0, Instant::now(), said(false, 1));
        servers.hear(1, Instant::now(), said(true, 1));
        let first = servers.primary_word();
        assert_eq!((place_of(first), servers.replica_word(0)), (0, 0));
        assert_ne!(servers.replica_word(1), 0);
        servers.hear(1, Instant::now(), said(false, 2));
        assert_eq!((place_of(servers.primary_word()), servers.replica_word(1)), (1, 0));
        assert_eq!(&*servers.primary().unwrap().address, "b:2");
        assert_eq!(servers.report()[0].role.label(), "fenced");
    }
    #[test]
    fn a_shard_that_gets_another_name_keeps_what_is_known_of_its_cluster() {
        let (breakers, book, database) = (Breakers::new(BreakerLimits::default()), ServerBook::default(), "d".into());
        let servers = vec![Server::new("a", 1, "d"), Server::new("b", 2, "d")];
        let named = |name: &str| Shard { name: name.into(), servers: servers.clone() };
        let said = |timeline| Heard::Said(Fact { system: 7, timeline, in_recovery: false, lsn: Lsn(5) });
        let (old, other) = (book.of(&database, &named("s"), &breakers), "e".into());
        old.hear(0, Instant::now(), said(1));
        old.hear(1, Instant::now(), said(2));
        let new = book.of(&database, &named("t"), &breakers);
        assert!(Arc::ptr_eq(&old, &new));
        // The new primary is silent.
        new.hear(1, Instant::now(), Heard::Silence);
        new.hear(0, Instant::now(), said(1));
        assert_eq!(new.report()[0].role.label(), "fenced");
        let names: Vec<String> = book.timelines.all().keys().map(ToString::to_string).collect();
        assert_eq!(names, ["%server/a:1/7", "%server/b:2/7", "d/s/7", "d/t/7"]);
        // Another database of the same servers, or the same one under another name, has the same cluster.
        let role = |book: &ServerBook, database: &Arc<str>, shard: &Shard| {
            let servers = book.of(database, shard, &breakers);
            servers.hear(1, Instant::now(), Heard::Silence);
            servers.hear(0, Instant::now(), said(1));
            servers.report()[0].role.label()
        };
        assert_eq!(role(&book, &other, &named("t")), "fenced");
        // Also where one of the two is another machine by now, and the database at the servers has another name.
        let moved = Shard { name: "x".into(), servers: vec![Server::new("a", 1, "e"), Server::new("c", 3, "e")] };
        assert_eq!(role(&book, &other, &moved), "fenced");
        // After a restart with other names, and to a router that has heard it from another one.
        let again = ServerBook::new(Timelines::new(book.timelines.all()));
        assert_eq!(role(&again, &other, &named("t")), "fenced");
        let told = ServerBook::default();
        told.learn_marked(book.timelines.marked());
        assert_eq!(role(&told, &other, &named("t")), "fenced");
        // Copies of the directory, which became other shards, are elsewhere.
        let copies = Shard { name: "y".into(), servers: vec![Server::new("a", 2, "d"), Server::new("b", 1, "d")] };
        assert_eq!(role(&book, &database, &copies), "primary");
        assert_eq!(role(&again, &other, &copies), "primary");
    }

    #[test]
    fn a_list_that_comes_back_knows_what_was_heard_while_it_was_out_of_use() {
        let (breakers, book, database) = (Breakers::new(BreakerLimits::default()), ServerBook::default(), "d".into());
        let of = |names: &[&str]| {
            let servers = names.iter().map(|name| Server::new(name, 1, "d")).collect();
            book.of(&database, &Shard { name: "s".into(), servers }, &breakers)
        };
        let said = |in_recovery, lsn| Heard::Said(Fact { system: 7, timeline: 1, in_recovery, lsn: Lsn(lsn) });
        let roles = |servers: &ShardServers| servers.report().iter().map(|one| one.role.label()).collect::<Vec<_>>();
        let two = of(&["a", "b"]);
        two.hear(0, Instant::now(), said(false, 100));
        two.hear(1, Instant::now(), said(true, 100));
        assert_eq!(roles(&two), ["primary", "replica"]);
        let three = of(&["c", "b", "a"]);
        three.hear(0, Instant::now(), Heard::Silence);
        three.hear(2, Instant::now(), said(false, 300));
        three.hear(1, Instant::now(), said(true, 100));
        assert_eq!(roles(&three), ["unknown", "replica", "primary"]);
        assert_eq!(place_of(three.primary_word()), 2);
        // The primary is gone, and the replica lacks what it has written.
        for lists in [1, 2] {
            let back = of(&["a", "b"]);
            assert!(Arc::ptr_eq(&back, &two), "{lists}");
            back.hear(0, Instant::now(), Heard::Silence);
            back.hear(1, Instant::now(), said(false, 200));
            assert_eq!(roles(&back)[1], "fenced", "{lists}");
            // Nothing is forgotten of the other list either.
            let other = of(&["c", "b", "a"]);
            assert!(Arc::ptr_eq(&other, &three));
            other.hear(1, Instant::now(), said(false, 400));
            assert_eq!(roles(&other)[1], "fenced");
        }
    }
}
