//! The map in etcd in a running router: read before it starts, put in force whenever it changes, and told of in the list of routers. Where
//! it stands in a file, the list is in the directory of that file's maps.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::app::Router;
use crate::app::live::Live;
use crate::app::reading::{Reading, SharedUsers};
use crate::app::shared_users;
use crate::backend::timelines::Lineage;
use crate::config::{ConfigErrors, Document, Draft, EtcdSettings, MapSettings, Settings};
use crate::control::etcd::{StoreError, Ways};
use crate::control::map::MapState;
use crate::control::map::follow::{Follower, NotTaken, Taker};
use crate::control::map::keeper::Keeper;
use crate::control::map::listing::{self, Listing};
use crate::control::map::registry::{Entry, Hear, Shared, register};
use crate::secret::Secret;

/// How long a router that stops tries to take itself off the list, and to have the map on disk.
const LEAVING: Duration = Duration::from_secs(2);

/// The way to the map, for the life of a router.
pub struct SharedMap {
    ways: Arc<Ways>,
    follower: Follower,
    state: Arc<MapState>,
    documents: Documents,
    users: SharedUsers,
    /// Which timelines of the shards' clusters other routers have heard of.
    reached: BTreeMap<Lineage, u32>,
}

/// The document in force.
type Documents = Arc<ArcSwapOption<Document>>;

impl SharedMap {
    pub fn new(etcd: &EtcdSettings) -> Self {
        let state = MapState::new("etcd", &etcd.endpoints.join(","));
        let ways = Arc::new(Ways::new(etcd));
        let follower = Follower::new(ways.etcd(), Arc::clone(&state));
        Self {
            ways,
            follower,
            state,
            documents: Documents::default(),
            users: SharedUsers::default(),
            reached: BTreeMap::new(),
        }
    }

    /// The settings with which the router starts. Waits until there is a map.
    ///
    /// # Errors
    /// All that is wrong with the file beside the map.
    pub async fn settings(&mut self, draft: &Draft) -> Result<Settings, ConfigErrors> {
        let (document, settings) = self.first(draft).await?;
        self.documents.store(Some(Arc::new(document)));
        // Where etcd gives no map, the router's own file alone says which primaries are old.
        if self.state.status().source == "etcd" {
            self.ask_for_timelines().await;
        }
        Ok(settings)
    }

    /// The map with which the router starts, and the users that stand beside it: those of etcd, or, where they cannot be had or used, what
    /// was kept of them.
    async fn first(&mut self, draft: &Draft) -> Result<(Document, Settings), ConfigErrors> {
        let mut etcd = self.ways.etcd();
        let settings = etcd.settings();
        if settings.users_file.is_none() {
            return self.follower.first(draft).await;
        }
        let told = shared_users::in_etcd(&mut etcd).await;
        let all = [told.clone(), shared_users::kept(&settings)].into_iter().flatten();
        let mut wrong = None;
        for users in all {
            match self.follower.first(&draft.with_users(&users)).await {
                Ok(first) => {
                    if told.as_ref() != Some(&users) {
                        tracing::warn!("the users that were kept of etcd are in force");
                    }
                    self.users.store(Some(Arc::new(users)));
                    return Ok(first);
                }
                Err(errors) => {
                    errors.0.iter().for_each(|error| tracing::error!("{error}"));
                    wrong = Some(errors);
                }
            }
        }
        if let Some(errors) = wrong {
            return Err(errors);
        }
        // The map may be waited for; the users that the configuration needs come with it.
        let errors = match self.follower.first(draft).await {
            Ok(first) => return Ok(first),
            Err(errors) => errors,
        };
        let Some(users) = shared_users::in_etcd(&mut etcd).await else { return Err(errors) };
        let first = self.follower.first(&draft.with_users(&users)).await?;
        self.users.store(Some(Arc::new(users)));
        Ok(first)
    }

    /// Before a primary is chosen: it may be one that others know for an old one.
    async fn ask_for_timelines(&mut self) {
        let asked = async {
            let mut connection = self.ways.etcd().any().await?;
            connection.timelines().await
        };
        match asked.await {
            Ok(stored) => {
                self.reached = stored.iter().map(|(lineage, reached)| (lineage.clone(), reached.timeline)).collect()
            }
            Err(StoreError(error)) => {
                tracing::warn!(%error, "the shards' timelines that other routers have heard of cannot be read: an old primary may pass for the one of now");
            }
        }
    }

    /// The secret of which the salts of strangers are made, which all routers of this map share.
    ///
    /// # Errors
    /// etcd cannot be reached.
    pub async fn mock_key(&self, made: &Secret) -> Result<Secret, String> {
        // It could not be had a moment before, either.
        if self.state.status().source != "etcd" {
            return Err("etcd does not answer".to_owned());
        }
        let asked = async {
            let mut connection = self.ways.etcd().any().await?;
            connection.mock_key(made).await
        };
        asked.await.map_err(|StoreError(error)| error)
    }

    /// What is known beside the settings, and how the configuration is read again: its file, `draft` as it was read first, with the map
    /// that is in force. What it says of the way to etcd is told to those who go it.
    pub fn steer(&self, live: &Live, path: PathBuf, draft: Draft) {
        live.servers().learn(self.reached.clone());
        live.lead_by(Arc::clone(&self.ways));
        live.read_by(Reading::beside(path, draft, Arc::clone(&self.documents), Arc::clone(&self.users)));
    }

    /// Follows the map, and stays in the list of routers, until `stopping` says so.
    pub fn follow(self, router: &Router, stopping: watch::Receiver<bool>) -> Following {
        let live = router.live();
        let id = live.share_map(&self.state);
        let (entry, shared) = among_others(router, id, self.state);
        let listed = register(self.ways.etcd(), entry, shared, stopped(stopping.clone()));
        let users = self.users.load_full().map(|users| users.to_string());
        let users_keeper = shared_users::keeper();
        let users = shared_users::follow(self.ways.etcd(), Arc::clone(&live), users, users_keeper.clone());
        let taker = Arc::new(InForce { live, documents: self.documents });
        let (follower, stop) = (self.follower, stopped(stopping));
        let keeper = follower.keeper();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop => {}
                () = follower.run(taker) => {}
                () = users => {}
            }
        });
        Following { listed: tokio::spawn(listed), keepers: vec![keeper, users_keeper] }
    }
}

/// Where the map stands in a file: what other routers that share its maps have heard of is known from now on. Before a primary is chosen.
pub fn learn_of_others(live: &Live) {
    if let Some((listing, _)) = listed_at(&live.settings()) {
        live.servers().learn(listing.heard());
    }
}

/// Stays in the list of those routers until `stopping` says so.
pub fn stay_listed(router: &Router, stopping: watch::Receiver<bool>) -> Option<Following> {
    let live = router.live();
    let (id, state) = live.map_of_file()?;
    let (entry, shared) = among_others(router, id, state);
    let place = Box::new(move || listed_at(&live.settings()));
    let listed = listing::register(place, entry, shared, stopped(stopping));
    Some(Following { listed: tokio::spawn(listed), keepers: Vec::new() })
}

fn listed_at(settings: &Settings) -> Option<(Listing, Duration)> {
    match &settings.map {
        MapSettings::File { history, router_ttl, .. } => Some((Listing::new(history.as_deref()?), *router_ttl)),
        MapSettings::Etcd(_) => None,
    }
}

/// What a router says of itself, and what it makes of what others say.
fn among_others(router: &Router, id: String, state: Arc<MapState>) -> (Entry, Shared) {
    let live = router.live();
    let peers = live.router();
    let entry = Entry {
        id,
        host: crate::control::map::host(),
        pid: std::process::id(),
        listen: router.addresses().iter().map(ToString::to_string).collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: crate::control::map::utc(SystemTime::now()),
        epoch: None,
        number: Some(peers.number().get()),
        reached_at: reached_at(&live.settings().listen.advertise, &router.addresses()),
    };
    let hear: Hear = Box::new(move |router| {
        if let (Some(number), Some(address)) = (router.number, &router.reached_at) {
            peers.hear(number, address);
        }
    });
    (entry, Shared { state, servers: live.servers(), hear, apart: false })
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Where other routers find this one.
fn reached_at(advertise: &Option<Box<str>>, addresses: &[SocketAddr]) -> Option<String> {
    if let Some(own) = advertise {
        return Some(own.to_string());
    }
    let first = addresses.first()?;
    match first.ip().is_unspecified() {
        true => Some(format!("{}:{}", crate::control::map::host(), first.port())),
        false => Some(first.to_string()),
    }
}

/// What runs beside a router.
pub struct Following {
    listed: tokio::task::JoinHandle<()>,
    /// Of what is served from files of its own.
    keepers: Vec<Keeper>,
}

impl Following {
    /// The router is stopping, and was told so.
    pub async fn end(self) {
        let kept = futures::future::join_all(self.keepers.iter().map(|keeper| keeper.end(LEAVING)));
        let (_, kept) = tokio::join!(tokio::time::timeout(LEAVING, self.listed), kept);
        if kept.contains(&false) {
            tracing::warn!("the copy of what etcd has is not written within {LEAVING:?}: the one of before stays");
        }
    }
}

/// Puts documents in force.
struct InForce {
    live: Arc<Live>,
    documents: Documents,
}

impl Taker for InForce {
    fn take(&self, document: Document) -> BoxFuture<'_, Result<(), NotTaken>> {
        let documents = Arc::clone(&self.documents);
        Box::pin(async move {
            self.live.apply_map(document, move |document| documents.store(Some(Arc::new(document)))).await.map(drop)
        })
    }
}
