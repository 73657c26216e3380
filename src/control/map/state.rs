//! What is known of the map at this moment, for SHOW, metrics and the list of routers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Told by whoever follows the map.
#[derive(Clone, Debug)]
pub struct MapStatus {
    /// `file`, `etcd` or `copy`: etcd was not reached since the start, or the file's map has been wrong since then.
    pub source: &'static str,
    /// The member that answers, or the file.
    pub place: Box<str>,
    pub epoch: Option<u64>,
    /// Of the map's last change in the store.
    pub revision: Option<i64>,
    pub changed_at: Box<str>,
    pub changed_by: Box<str>,
    pub reason: Box<str>,
    /// When the store has last said that this is the map.
    pub confirmed: Option<Instant>,
    /// Of a map in the file: since when another one was found there, which is not served.
    pub differs: Option<Instant>,
    /// What is in the way now: of the store, or of the document that it has.
    pub problem: Option<Box<str>>,
    /// Documents that were not taken.
    pub rejected: u64,
}

/// Shared by who follows the map and who tells of it.
#[derive(Debug)]
pub struct MapState {
    status: Mutex<MapStatus>,
    started: Instant,
    /// The map stands in a file: its epochs are of this router's directory.
    in_file: bool,
    epoch: watch::Sender<Option<u64>>,
}

impl MapState {
    pub fn new(source: &'static str, place: &str) -> Arc<Self> {
        let status = MapStatus {
            source,
            place: place.into(),
            epoch: None,
            revision: None,
            changed_at: "".into(),
            changed_by: "".into(),
            reason: "".into(),
            confirmed: None,
            differs: None,
            problem: None,
            rejected: 0,
        };
        Arc::new(Self {
            status: Mutex::new(status),
            started: Instant::now(),
            in_file: source == "file",
            epoch: watch::Sender::new(None),
        })
    }

    pub fn status(&self) -> MapStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn update(&self, change: impl FnOnce(&mut MapStatus)) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut status);
        let epoch = status.epoch;
        drop(status);
        self.epoch.send_if_modified(|known| std::mem::replace(known, epoch) != epoch);
    }

    /// That all routers of this map count alike.
    pub fn shared_epoch(&self) -> Option<u64> {
        self.status().epoch.filter(|_| !self.in_file)
    }

    /// Of a map in a file: that routers count alike which share its directory.
    pub fn file_epoch(&self) -> Option<u64> {
        self.status().epoch.filter(|_| self.in_file)
    }

    /// Whether another map than that of the store is served, or the store cannot be followed. A file whose maps cannot be kept is served.
    pub fn is_troubled(&self) -> bool {
        let status = self.status();
        match self.in_file {
            true => status.differs.is_some() || status.source == "copy",
            false => status.problem.is_some(),
        }
    }

    /// How long the store has not said that this is the map; of a file, how long it is known to have another one.
    pub fn stale(&self) -> Duration {
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        match status.source {
            "file" => status.differs.map_or(Duration::ZERO, |since| since.elapsed()),
            _ => status.confirmed.unwrap_or(self.started).elapsed(),
        }
    }

    /// Tells of each epoch that is served.
    pub fn epochs(&self) -> watch::Receiver<Option<u64>> {
        self.epoch.subscribe()
    }
}
