//! How one configuration follows another: made ready in full, way made for it, swapped.

use super::*;

/// How often the catalog is read once more because somebody has changed something meanwhile. Behind the change it is read in any case.
const READS: usize = 3;

/// A configuration that is ready to be the one of now.
struct Ready {
    settings: Settings,
    applied: Applied,
    certificates: Certificates,
    doorstep: Doorstep,
    databases: Vec<Change>,
    clients: Vec<Door>,
    watchers: Vec<Door>,
}

/// What becomes of a database.
pub(in crate::app) enum Change {
    Stays(Arc<Database>),
    New(Arc<Database>),
    /// The first one is replaced by the second.
    Another(Arc<Database>, Arc<Database>),
}

impl Change {
    fn database(&self) -> &Arc<Database> {
        match self {
            Self::Stays(database) | Self::New(database) | Self::Another(_, database) => database,
        }
    }
}

/// Keeps the work of others from what a new map places elsewhere. Dropped before it is done: everything is as before.
enum Way {
    Tables { before: Arc<Database>, turn: u64, done: bool },
    Everything { before: Arc<Database>, _hold: Hold },
}

impl Drop for Way {
    fn drop(&mut self) {
        if let Self::Tables { before, done: false, .. } = self {
            before.open_tables();
        }
    }
}

impl Way {
    async fn clear(&self) -> Result<(), String> {
        let (before, waited) = match self {
            Self::Tables { before, turn, .. } => (before, before.traffic().settle(*turn, Some(CLOSING)).await),
            Self::Everything { before, .. } => (before, before.traffic().come_to_rest(Some(CLOSING)).await),
        };
        waited.map_err(|working| late(before, working, CLOSING))
    }
}

fn late(before: &Database, working: usize, waited: Duration) -> String {
    let name = &before.name;
    format!(
        "database {name}: {working} transactions that began under the shard map of before have not ended within {waited:?}"
    )
}

impl Live {
    pub(super) async fn replace(&self, state: &mut State, settings: Settings) -> Result<Applied, Vec<String>> {
        let ready = match self.make_ready(state, settings) {
            Ok(Some(ready)) => ready,
            Ok(None) => return Ok(Applied::default()),
            Err(error) => return Err(vec![error.to_string()]),
        };
        let in_file = matches!(ready.settings.map, MapSettings::File { .. });
        let relies_on_none = in_file && moves::check(&ready.settings, &ready.databases).await?;
        let ways =
            self.make_way(&ready.databases).await.inspect_err(|_| self.is_late.store(true, Ordering::Release))?;
        // Where there were no rows somebody may have put some, before there was nobody who could.
        if relies_on_none {
            moves::check(&ready.settings, &ready.databases).await?;
        }
        self.swap(state, ready, ways).await
    }

    /// `None`: nothing is another.
    fn make_ready(&self, state: &State, settings: Settings) -> Result<Option<Ready>, StartError> {
        let certificates = Certificates::load(&settings, Some(&state.certificates))?;
        let renewed = certificates.differ_from(&state.certificates);
        let before = self.settings();
        if settings == *before && renewed.is_empty() {
            return Ok(None);
        }
        if let Some(rules) = trace_rules(&settings) {
            Tracer::check(&rules).map_err(StartError::Traces)?;
        }
        let front = self.front.load();
        // Another one could not open the tickets that clients bring back.
        let is_same_tls = certificates.clients_hash == state.certificates.clients_hash
            && settings.client_tls == before.client_tls
            && wants_certificates(&settings) == wants_certificates(&before);
        let tls = if is_same_tls { front.context.tls.clone() } else { client_tls(&settings)? };
        let access = server_access(&settings, Arc::clone(&certificates.servers), &self.known);
        let known = self.health.databases.load_full();
        let databases = settings.databases.iter().filter_map(|database| {
            let wanted = database_settings(&settings, database, &access)?;
            Some(match known.iter().find(|known| known.name == database.name) {
                None => Change::New(Database::new(Arc::clone(&database.name), wanted)),
                Some(known) if known.is_as(&wanted) => Change::Stays(Arc::clone(known)),
                Some(known) => Change::Another(Arc::clone(known), known.next(wanted)),
            })
        });
        Ok(Some(Ready {
            applied: words::between(&before, &settings, &renewed),
            doorstep: Doorstep {
                accounts: accounts(&settings, &self.known.keys, Some(&front.accounts))?,
                context: handshake_context(
                    &settings,
                    tls,
                    Arc::clone(&front.context.mock),
                    Arc::clone(&front.context.failures),
                ),
                population: Arc::clone(&front.population),
                router: Arc::clone(&front.router),
                peer_tls: peer_tls(&settings)?,
            },
            databases: databases.collect(),
            clients: self.clients.missing(&settings.listen.addresses, settings.listen.reuse_port)?,
            watchers: self.watchers.missing(settings.metrics.listen.as_slice(), settings.listen.reuse_port)?,
            certificates,
            settings,
        }))
    }

    /// Waits until nobody works under a map that places elsewhere what a new one places; whoever wants to begin with that waits too.
    async fn make_way(&self, changes: &[Change]) -> Result<Vec<Way>, Vec<String>> {
        let moved = |before: &Database, next| before.topology_of(next).moved_since(&before.cluster.load().topology);
        let nothing = |moved: &Moved| matches!(moved, Moved::Tables(tables) if tables.is_empty());
        let of_those = changes.iter().filter_map(|change| match change {
            Change::Another(before, next) => Some((before, next)),
            Change::New(_) | Change::Stays(_) => None,
        });
        let others: Vec<_> = of_those.filter(|(before, next)| !nothing(&moved(before, next))).collect();
        // Those who began long ago, and perhaps wait for their users, are waited for before anybody is made to wait.
        let ends = others
            .iter()
            .map(async |(before, _)| before.outlast(CLOSING).await.map_err(|working| late(before, working, CLOSING)));
        let late: Vec<String> = futures::future::join_all(ends).await.into_iter().filter_map(Result::err).collect();
        if !late.is_empty() {
            return Err(late);
        }
        let mut ways = Vec::new();
        for (before, next) in others {
            let before = Arc::clone(before);
            match moved(&before, next) {
                Moved::Tables(tables) if tables.is_empty() => {}
                Moved::Tables(tables) => {
                    let turn = before.close_tables(tables);
                    ways.push(Way::Tables { before, turn, done: false });
                }
                Moved::Everything => {
                    let hold = before.traffic().hold();
                    ways.push(Way::Everything { before, _hold: hold });
                }
            }
        }
        let cleared = futures::future::join_all(ways.iter().map(Way::clear)).await;
        let late: Vec<String> = cleared.into_iter().filter_map(Result::err).collect();
        if late.is_empty() { Ok(ways) } else { Err(late) }
    }

    async fn swap(&self, state: &mut State, ready: Ready, mut ways: Vec<Way>) -> Result<Applied, Vec<String>> {
        let mut read = Vec::new();
        futures::future::join_all(ready.databases.iter().map(ask_roles)).await;
        for change in &ready.databases {
            let Change::Another(before, next) = change else { continue };
            let moved =
                ways.iter().any(|way| matches!(way, Way::Everything { before: of, .. } if Arc::ptr_eq(of, before)));
            match read_catalog(before, next, moved).await {
                Ok(generation) => {
                    furnish(before, next, ready.settings.timeouts.deadlock.is_some()).await;
                    read.push((Arc::clone(before), Arc::clone(next), generation));
                }
                Err(fault) => return Err(vec![format!("database {}: {fault}", next.name)]),
            }
        }
        // From here on nothing fails.
        let Ready { settings, applied, certificates, doorstep, databases, clients, watchers } = ready;
        for (before, next, generation) in &read {
            hand_over(before, next, *generation).await;
        }
        for way in &mut ways {
            if let Way::Tables { done, .. } = way {
                *done = true;
            }
        }
        let front_before = self.front.load_full();
        let shared = Arc::clone(&front_before.shared);
        let all: Vec<_> = databases.iter().map(|change| Arc::clone(change.database())).collect();
        let counts = self.front.load().counts();
        self.look_up_names(settings.timeouts.dns);
        self.known.breakers.set_limits(breaker_limits(settings.breakers));
        self.known.quotas.set_limit(settings.limits.max_server_connections);
        shared.limits.store(Arc::new(session_limits(&settings)));
        shared.memory.set_limit(settings.limits.memory);
        set_fanout(&shared.fanout, &settings);
        shared.plans.set_limit(settings.limits.plan_cache_size);
        if let Err(error) = shared.tracer.configure(trace_rules(&settings)) {
            tracing::warn!("{error}");
        }
        if let Some(set) = self.log_level.get() {
            set(settings.log.level);
        }
        self.front.store(Arc::new(front(&settings, &all, Arc::clone(&shared), doorstep, counts)));
        let before = self.health.databases.load_full();
        self.health.follow(all.clone());
        for gone in before.iter().filter(|old| !all.iter().any(|database| database.name == old.name)) {
            gone.end();
            shared.metrics.forget_database(&gone.name);
            state.jobs.remove(&gone.name);
        }
        let same_timing = settings.timeouts == self.settings.load().timeouts;
        for change in &databases {
            if let (Change::Stays(_), true) = (change, same_timing) {
                continue;
            }
            let database = change.database();
            // What ran for the one before ends here.
            drop(state.jobs.insert(Arc::clone(&database.name), self.jobs_of(database, &settings)));
        }
        drop(ways);
        let front_now = self.front.load_full();
        // Out is also who had a password and has none: `pgloom users remove` of one that the configuration names.
        let has_lost_password = |user: &str| {
            let needs = |account: &Account| matches!(account.method, AuthMethod::ScramSha256 | AuthMethod::Md5);
            let had = front_before.accounts.get(user).is_some_and(|account| account.verifier.is_some());
            had && front_now.accounts.get(user).is_some_and(|account| account.verifier.is_none() && needs(account))
        };
        let stays = |database: &str, user: &str| {
            all.iter().any(|known| *known.name == *database && known.member(user).is_some()) && !has_lost_password(user)
        };
        shared.cancels.ask_those(Wish::Drain, |database, user| !stays(database, user));
        self.clients.add(clients);
        self.watchers.add(watchers);
        self.open();
        tokio::join!(
            self.clients.keep_those(&settings.listen.addresses),
            self.watchers.keep_those(settings.metrics.listen.as_slice())
        );
        self.lead(&settings, certificates.etcd_hash != state.certificates.etcd_hash);
        self.settings.store(Arc::new(settings));
        state.certificates = certificates;
        self.known.keys.sweep();
        Ok(applied)
    }

    /// Another way to the map is told to those who go it.
    fn lead(&self, settings: &Settings, renewed: bool) {
        let changed = renewed || settings.map != self.settings.load().map;
        if let (true, Some(ways), MapSettings::Etcd(etcd)) = (changed, self.ways.get(), &settings.map) {
            ways.change(etcd);
        }
    }
}

/// Of each list of servers that was not there before it is known who is the primary before anybody needs it: the list of before serves
/// meanwhile, also where a new server does not answer.
async fn ask_roles(change: &Change) {
    let (before, next) = match change {
        Change::Another(before, next) => (Some(before), next),
        // It may have been here before, with what was heard then.
        Change::New(next) => (None, next),
        Change::Stays(_) => return,
    };
    let known = |shard: &Shard| {
        before.is_some_and(|before| before.configured.shards.iter().any(|known| known.servers == shard.servers))
    };
    let lists = next.configured.shards.iter().filter(|shard| !known(shard)).map(|shard| next.servers(shard));
    let lists: Vec<_> = lists.filter(|servers| !servers.is_lone()).collect();
    futures::future::join_all(lists.iter().map(|servers| control::servers::ask_all(next, servers))).await;
}

/// Reads the catalog for the next configuration where that of before does not do: tables that it knows of may have been made past the
/// router, shards may be others, or other functions are declared safe. Returns the generation of the one of before at that moment.
async fn read_catalog(before: &Database, next: &Arc<Database>, moved: bool) -> Result<Option<u64>, Fault> {
    let places = before.cluster.load().catalog_known && next.configured.differs_in_keys_alone(&before.configured);
    if (places || before.configured == next.configured) && before.safe_functions == next.safe_functions {
        return Ok(None);
    }
    let generation = before.cluster.load().catalog.generation;
    match control::catalog::reload(next, false, None).await {
        Ok(()) => Ok(Some(generation)),
        // What is known of the tables is of other places.
        Err(fault) if moved => Err(fault),
        Err(fault) => {
            tracing::warn!(database = %next.name, error = %fault, "the catalog cannot be read; that of before is used");
            Ok(None)
        }
    }
}

/// Shards that were not there before get the tables of our own that they need, where they answer.
async fn furnish(before: &Database, next: &Database, looks_for_deadlocks: bool) {
    let known = |shard: &Shard| before.configured.shards.contains(shard);
    let fresh = next.configured.shards.iter().enumerate().filter(|(_, shard)| !known(shard));
    let probes = fresh.map(|(at, shard)| async move {
        if let Err(fault) = probe(next, ShardId(at as u16), &mut false, looks_for_deadlocks).await {
            tracing::warn!(database = %next.name, shard = %shard.name, error = %fault, "the new shard does not answer");
        }
    });
    futures::future::join_all(probes).await;
}

/// `read`: the generation that the catalog of before had when that of the next one was read.
async fn hand_over(before: &Database, next: &Arc<Database>, mut read: Option<u64>) {
    for _ in 0..READS {
        // While nobody reads the catalog for the configuration of before: its reader would tell nobody of what it has found.
        let reading = before.parts.lock().await;
        if read.is_none_or(|generation| generation == before.cluster.load().catalog.generation) {
            return before.hand_over(next);
        }
        drop(reading);
        read = read_catalog(before, next, false).await.unwrap_or(None);
    }
    let _reading = before.parts.lock().await;
    before.hand_over(next);
}
