//! `Peers`: cancel requests for clients of other routers, which a load balancer, or a port that several processes share, brings here.
//!
//! A client's process id says which router it is of (`RouterNumber`). A request goes at most two ways: from the router that the client
//! has reached to one at another address, and there, where several processes share the address, to the one beside it that is meant. Each
//! step is known by the packet or by the socket it comes from, and none leads back, so nothing goes in circles; one request becomes one
//! (where two routers happen to have the same number, one for each). A number that nobody is known to have ends here. Only the router
//! whose client it is compares the secret.
//!
//! Routers that the configuration names are asked for the newest timelines of the shards' clusters as well: where the map is in a file, that is
//! how one that has seen nothing of a failover knows an old primary for what it is. They are asked, and tell nobody who has not: what is
//! believed comes from addresses that the configuration names.

mod beside;
mod directory;
mod passing;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;

use crate::admin::PeerView;
use crate::backend::login;
use crate::backend::servers::ServerBook;
use crate::backend::timelines::Mark;
use crate::fault::Fault;
use crate::ids::RouterNumber;
use crate::metrics::Metrics;
use crate::server::Front;
use crate::session::cancel::CancelRegistry;
use crate::tls::ServerTls;
use crate::topology::Server;
use crate::wire::startup::{CancelKey, Question};
use crate::wire::{request, told};
use beside::Beside;
use directory::Directory;
use passing::Passing;

/// Requests that may be on their way to other routers at one time; one more is dropped, as a network drops.
const MOST_UNDER_WAY: usize = 64;
/// For reaching another router.
const CONNECT: Duration = Duration::from_secs(2);
/// For all of it: it has its servers to ask.
const WHOLE: Duration = Duration::from_secs(8);
/// Of one name.
const MOST_ADDRESSES: usize = 64;
/// Between two questions to each of the routers that the configuration names.
const ASK: Duration = Duration::from_secs(5);

/// From whom a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    Client,
    /// At another address.
    Router,
    /// One that shares this one's port.
    Beside,
}

/// See the module.
pub struct Peers {
    cancels: Arc<CancelRegistry>,
    metrics: Arc<Metrics>,
    known: Mutex<Directory>,
    under_way: Semaphore,
    passing: Passing,
    beside: Beside,
    servers: Arc<ServerBook>,
}

impl Peers {
    /// This router takes a number that no other one has that shares its port.
    ///
    /// # Errors
    /// There are no random numbers.
    pub fn new(metrics: Arc<Metrics>, servers: Arc<ServerBook>, port: u16) -> Result<Self, ring::error::Unspecified> {
        let beside = Beside::claim(port, random_number)?;
        Ok(Self {
            cancels: Arc::new(CancelRegistry::new(beside.number())),
            metrics,
            known: Mutex::default(),
            under_way: Semaphore::new(MOST_UNDER_WAY),
            passing: Passing::default(),
            beside,
            servers,
        })
    }

    /// The clients of this router.
    pub fn cancels(&self) -> &Arc<CancelRegistry> {
        &self.cancels
    }

    pub fn number(&self) -> RouterNumber {
        self.cancels.number()
    }

    /// What other routers are told of the shards' timelines.
    pub fn timelines(&self) -> Vec<u8> {
        told::write(self.servers.timelines.marked().into_iter().map(|(Mark(mark), timeline)| (mark, timeline)))
    }

    /// A router with this number is at that address, as the list of routers says.
    pub fn hear(&self, number: u16, address: &str) {
        if let Some(number) = RouterNumber::new(number).filter(|number| *number != self.number()) {
            self.known().hear(number, address, Instant::now());
        }
    }

    /// Those that are known, for the console.
    pub fn views(&self) -> Vec<PeerView> {
        let view = |(number, address): (RouterNumber, _)| {
            let passing::Count { requests, connections } = self.passing.to(number);
            PeerView { number: number.get(), address, places: MOST_UNDER_WAY, requests, connections }
        };
        self.known().all(Instant::now()).into_iter().map(view).collect()
    }

    /// Deals with a request; done when the servers that work for its client have been asked, or nothing can be done.
    pub async fn cancel(&self, key: &CancelKey, came: Came, tls: &ServerTls) {
        let Some(number) = RouterNumber::of(key.pid) else { return };
        if number == self.number() {
            return self.cancels.cancel(key.pid, &key.secret).await;
        }
        if came == Came::Beside {
            return;
        }
        let Ok(_place) = self.under_way.try_acquire() else {
            self.metrics.passed_on("too_many");
            return;
        };
        let mut packet = BytesMut::new();
        if request::passed_on(&mut packet, key).is_err() {
            return;
        }
        // Not told from a secret that is wrong: in all of these cases the connection is closed, and that is all.
        let passed = tokio::time::timeout(WHOLE, self.pass_on(number, came, &packet, tls)).await;
        self.metrics.passed_on(passed.unwrap_or("failed"));
    }

    /// What became of it, for the metrics.
    async fn pass_on(&self, number: RouterNumber, came: Came, packet: &[u8], tls: &ServerTls) -> &'static str {
        if self.beside.pass_on(number, packet).await {
            return "beside";
        }
        let places = match came {
            Came::Client => self.known().places(number, Instant::now()),
            Came::Router | Came::Beside => Vec::new(),
        };
        if places.is_empty() {
            return "unknown";
        }
        let _counted = self.passing.begin(number, places.len());
        let sent = places.iter().map(|place| async move {
            let sent = say(place, tls, packet, 0).await;
            if let Err(fault) = &sent {
                tracing::warn!(router = %place, error = %fault.detail.as_deref().unwrap_or_default(), "a cancel request could not be passed on");
            }
            sent.is_ok()
        });
        match futures::future::join_all(sent).await.contains(&true) {
            true => "router",
            false => "failed",
        }
    }

    /// Deals with what those pass on that share the port, for ever.
    pub async fn serve_beside(self: Arc<Self>) {
        let peers = Arc::clone(&self);
        let cancel = move |key: CancelKey| {
            let peers = Arc::clone(&peers);
            // It is for this router, or for nobody.
            async move { peers.cancel(&key, Came::Beside, &ServerTls::disabled()).await }
        };
        self.beside.serve(cancel).await;
    }

    /// Asks the routers that the configuration names for their numbers and for what they know of timelines, again and again.
    pub async fn follow(self: Arc<Self>, fronts: Arc<ArcSwap<Front>>) {
        let mut silent: HashSet<Box<str>> = HashSet::new();
        let mut apart: HashSet<Box<str>> = HashSet::new();
        loop {
            let front = fronts.load_full();
            let addresses = futures::future::join_all(front.peers.iter().map(|peer| addresses_of(peer))).await;
            let addresses: Vec<Box<str>> = addresses.into_iter().flatten().collect();
            let tls = &front.peer_tls;
            let asked = addresses.iter().map(|peer| async move {
                let (number, timelines) = tokio::join!(ask_for_number(peer, tls), ask_for_timelines(peer, tls));
                (peer, number, timelines)
            });
            for (peer, number, timelines) in futures::future::join_all(asked).await {
                match timelines {
                    Ok(told) => {
                        self.servers.learn_marked(told);
                        apart.remove(peer);
                    }
                    Err(error) if apart.insert(peer.clone()) => {
                        tracing::warn!(router = %peer, error, "a router does not tell the shards' timelines: a primary that it knows for an old one may pass for the one of now");
                    }
                    Err(_) => {}
                }
                match number {
                    Ok(number) => {
                        self.hear(number.get(), peer);
                        silent.remove(peer);
                    }
                    Err(error) if silent.insert(peer.clone()) => {
                        tracing::warn!(router = %peer, error, "a router does not tell its number");
                    }
                    Err(_) => {}
                }
            }
            silent.retain(|known| addresses.contains(known));
            apart.retain(|known| addresses.contains(known));
            self.servers.have_asked();
            drop(front);
            tokio::time::sleep(ASK).await;
        }
    }

    fn known(&self) -> MutexGuard<'_, Directory> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random_number() -> Result<RouterNumber, ring::error::Unspecified> {
    loop {
        let mut bytes = [0; 2];
        SystemRandom::new().fill(&mut bytes)?;
        if let Some(number) = RouterNumber::new(u16::from_be_bytes(bytes) & RouterNumber::MOST) {
            return Ok(number);
        }
    }
}

async fn say(address: &str, tls: &ServerTls, what: &[u8], most: usize) -> Result<Vec<u8>, Fault> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // A port that is none is refused by the configuration; in the list of routers somebody else has written it.
    let server = Server::new(host, port.parse().unwrap_or_default(), "");
    login::deliver(&server, tls, CONNECT, what, most).await
}

/// All that a name leads to: behind one there may be many routers. Where nobody knows it, asking says so.
async fn addresses_of(peer: &str) -> Vec<Box<str>> {
    let found = tokio::time::timeout(CONNECT, tokio::net::lookup_host(peer)).await;
    let found: Vec<Box<str>> = match found {
        Ok(Ok(found)) => found.take(MOST_ADDRESSES).map(|address| address.to_string().into()).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    if found.is_empty() { vec![peer.into()] } else { found }
}

async fn ask(address: &str, tls: &ServerTls, question: Question, most: usize) -> Result<Vec<u8>, String> {
    let mut packet = BytesMut::new();
    let asked = async {
        request::ask(&mut packet, question)?;
        say(address, tls, &packet, most).await
    };
    match tokio::time::timeout(CONNECT * 2, asked).await {
        Ok(Ok(said)) => Ok(said),
        Ok(Err(fault)) => Err(fault.detail.as_deref().unwrap_or(&fault.message).to_owned()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// What a router of another version says, or somebody else.
fn unknown() -> String {
    "it does not answer as a pgloom of this version".to_owned()
}

async fn ask_for_number(address: &str, tls: &ServerTls) -> Result<RouterNumber, String> {
    let said = ask(address, tls, Question::Number, 64).await?;
    let number = <[u8; 4]>::try_from(&*said).ok().and_then(|said| u16::try_from(u32::from_be_bytes(said)).ok());
    number.and_then(RouterNumber::new).ok_or_else(unknown)
}

async fn ask_for_timelines(address: &str, tls: &ServerTls) -> Result<Vec<(Mark, u32)>, String> {
    let said = ask(address, tls, Question::Timelines, told::MOST_BYTES + 1).await?;
    let read = told::read(&said).ok_or_else(unknown)?;
    Ok(read.into_iter().map(|(mark, timeline)| (Mark(mark), timeline)).collect())
}
