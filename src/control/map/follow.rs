//! The map in etcd, followed: the first one at the start, and every later one as soon as it is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use ring::rand::{SecureRandom, SystemRandom};

use crate::config::{ConfigErrors, Document, Draft, Settings};
use crate::control::etcd::{Connection, Etcd, Heard, StoreError, Stored};
use crate::control::map::watcher::{Found, Watcher};
use crate::control::map::{MapState, copy};

/// Puts a document in force.
pub trait Taker: Send + Sync {
    /// # Errors
    /// Why it stays as it was, and whether another time may do.
    fn take(&self, document: Document) -> BoxFuture<'_, Result<(), NotTaken>>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The document cannot be served by this router.
    Wrong(String),
    /// Somebody was in the way.
    Later(String),
}

/// One router's way to the map.
pub struct Follower {
    etcd: Etcd,
    watcher: Watcher,
    state: Arc<MapState>,
    /// Whether what was last found is what is served.
    current: bool,
}

impl Follower {
    /// # Errors
    /// A certificate cannot be read.
    pub fn new(etcd: Etcd, state: Arc<MapState>) -> Self {
        let member = (random() * etcd.settings().endpoints.len() as f64) as usize;
        Self { etcd, watcher: Watcher::new(member), state, current: false }
    }

    /// The document with which the router starts: that of etcd, or, where that cannot be had in time, the copy on disk. Without a copy
    /// it waits until there is a map.
    ///
    /// # Errors
    /// All that is wrong with the file beside the map, or that does not go with it.
    pub async fn first(&mut self, draft: &Draft) -> Result<(Document, Settings), ConfigErrors> {
        let deadline = Instant::now() + self.etcd.settings().start_timeout;
        let mut may_use_copy = true;
        loop {
            let problem = match self.try_first().await {
                Ok((document, stored, endpoint)) => {
                    let settings = draft.settings(Some(&document))?;
                    self.took(&document, &stored, &endpoint);
                    return Ok((document, settings));
                }
                Err(problem) => problem,
            };
            self.state.update(|status| status.problem = Some(problem.as_str().into()));
            tracing::warn!(error = %problem, "no map from etcd");
            // A map that is there and wrong does not become right by waiting.
            if may_use_copy && Instant::now() >= deadline {
                match self.from_copy() {
                    Some(document) => {
                        let settings = draft.settings(Some(&document))?;
                        return Ok((document, settings));
                    }
                    None => may_use_copy = false,
                }
            }
            tokio::time::sleep(self.watcher.failed(random()).max(Duration::from_millis(200))).await;
        }
    }

    async fn try_first(&mut self) -> Result<(Document, Stored, Box<str>), String> {
        let mut connection = self.etcd.connect(self.watcher.member()).await.map_err(|StoreError(error)| error)?;
        let look = connection.look().await.map_err(|StoreError(error)| error)?;
        let prefix = &self.etcd.settings().prefix;
        let Some(stored) = look.map else {
            return Err(format!(
                "{}: there is no {prefix}/map; make one with pgloom topology init",
                connection.endpoint
            ));
        };
        let document = self.read(&stored.text)?;
        Ok((document, stored, connection.endpoint.clone()))
    }

    /// A document that may be served.
    fn read(&self, text: &str) -> Result<Document, String> {
        let document = Document::parse(&self.name(), text).map_err(|errors| errors.to_string())?;
        self.watcher.judge(document.epoch).map(|_| document)
    }

    /// The same on another thread: clients are not to wait for a large one.
    async fn read_aside(&self, text: &str) -> Result<Document, String> {
        let (name, text) = (self.name(), text.to_owned());
        let read =
            tokio::task::spawn_blocking(move || Document::parse(&name, &text).map_err(|errors| errors.to_string()));
        let document = read.await.map_err(|error| error.to_string())??;
        self.watcher.judge(document.epoch).map(|_| document)
    }

    fn from_copy(&mut self) -> Option<Document> {
        let path = &self.etcd.settings().copy_file;
        let kept = match copy::read(path, &self.etcd.settings().prefix) {
            Ok(kept) => kept?,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "the copy of the map cannot be read");
                return None;
            }
        };
        let document = match self.read(&kept.text) {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "the copy of the map cannot be used");
                return None;
            }
        };
        let age = kept.since.elapsed().unwrap_or_default();
        let (path, epoch) = (path.display().to_string(), document.epoch.unwrap_or_default());
        tracing::warn!(file = %path, epoch, age_seconds = age.as_secs(), "etcd gives no map: serving the copy on disk");
        self.watcher.took(epoch, &kept.text);
        self.state.update(|status| {
            status.source = "copy";
            status.place = path.into();
            describe(status, &document);
            // Confirmed when it was written, as far as this clock goes back.
            status.confirmed = Instant::now().checked_sub(age);
        });
        Some(document)
    }

    /// Follows the map for ever.
    pub async fn run(mut self, taker: Arc<dyn Taker>) {
        loop {
            let Err(StoreError(error)) = self.follow(&*taker).await;
            self.state.update(|status| status.problem = Some(error.as_str().into()));
            tracing::debug!(%error, "the map cannot be followed");
            tokio::time::sleep(self.watcher.failed(random())).await;
        }
    }

    /// With one member, for as long as it answers.
    async fn follow(&mut self, taker: &dyn Taker) -> Result<std::convert::Infallible, StoreError> {
        let mut connection = self.etcd.connect(self.watcher.member()).await?;
        let mut seen = self.look(&mut connection, taker).await?;
        tracing::info!(endpoint = %connection.endpoint, revision = seen.0, "following the map in etcd");
        let mut watch = connection.watch(seen.0 + 1).await?;
        loop {
            let heard = tokio::time::timeout(self.etcd.settings().check_interval, watch.next()).await;
            let again = match heard {
                Ok(heard) => heard? == Heard::Change,
                // Silence may be that of a map which nobody changes, or of a member that nobody reaches.
                Err(_) => {
                    let (at, revision) = connection.revision().await?;
                    // A store that has gone back is another one: it was restored, or begun anew.
                    let same = revision == seen.1 && at >= seen.0;
                    if same && self.current {
                        self.confirm(&connection);
                    }
                    // What could not be served may be served by now.
                    !same || !self.current
                }
            };
            if again {
                seen = self.look(&mut connection, taker).await?;
                watch = connection.watch(seen.0 + 1).await?;
            }
        }
    }

    /// What is there now; the revisions of the store and of the map.
    async fn look(&mut self, connection: &mut Connection, taker: &dyn Taker) -> Result<(i64, Option<i64>), StoreError> {
        let look = connection.look().await?;
        let revision = look.map.as_ref().map(|stored| stored.revision);
        let found = self.watcher.found(look.map.as_ref());
        self.current = found == Found::Same;
        match found {
            Found::Same => {
                self.state.update(|status| {
                    status.source = "etcd";
                    status.place = connection.endpoint.clone();
                    status.revision = revision;
                });
                self.confirm(connection);
            }
            Found::Gone => {
                let problem = format!("{}: the map is gone, the last one is served on", connection.endpoint);
                if self.state.status().problem.as_deref() != Some(&problem) {
                    tracing::error!(error = %problem, "no map in etcd");
                }
                self.state.update(|status| status.problem = Some(problem.into()));
            }
            Found::StillBad => {}
            Found::Another(stored) => self.offer(stored, &connection.endpoint, taker).await,
        }
        Ok((look.at, revision))
    }

    async fn offer(&mut self, stored: &Stored, endpoint: &str, taker: &dyn Taker) {
        let taken = match self.read_aside(&stored.text).await {
            Ok(document) => taker.take(document.clone()).await.map(|()| document),
            Err(why) => Err(NotTaken::Wrong(why)),
        };
        match taken {
            Ok(document) => {
                tracing::info!(epoch = document.epoch, by = %document.changed_by, reason = %document.reason, "serving a new map");
                self.took(&document, stored, endpoint);
            }
            Err(NotTaken::Wrong(why)) => {
                self.watcher.rejected(&stored.text);
                self.not_taken(stored.revision, &why);
                self.state.update(|status| status.rejected += 1);
            }
            Err(NotTaken::Later(why)) => {
                self.watcher.postponed();
                self.not_taken(stored.revision, &why);
            }
        }
    }

    fn not_taken(&self, revision: i64, why: &str) {
        tracing::error!(revision, error = %why, "the map in etcd is not served, the one from before is");
        self.state.update(|status| status.problem = Some(format!("not served: {why}").into()));
    }

    fn took(&mut self, document: &Document, stored: &Stored, endpoint: &str) {
        self.watcher.took(document.epoch.unwrap_or_default(), &stored.text);
        self.current = true;
        let settings = self.etcd.settings();
        let kept = copy::write(&settings.copy_file, &settings.prefix, &stored.text);
        let problem = kept.err().map(|error| {
            let file = settings.copy_file.display().to_string();
            tracing::error!(%file, %error, "the map cannot be kept on disk: a start without etcd would have none");
            format!("the copy {file} cannot be written: {error}").into()
        });
        self.state.update(|status| {
            status.source = "etcd";
            status.place = endpoint.into();
            status.revision = Some(stored.revision);
            status.confirmed = Some(Instant::now());
            status.problem = problem;
            describe(status, document);
        });
    }

    fn confirm(&self, connection: &Connection) {
        self.state.update(|status| {
            status.confirmed = Some(Instant::now());
            status.place = connection.endpoint.clone();
            status.problem = None;
        });
    }

    fn name(&self) -> String {
        format!("{}/map", self.etcd.settings().prefix)
    }
}

fn describe(status: &mut super::MapStatus, document: &Document) {
    status.epoch = document.epoch;
    status.changed_at = (&*document.changed_at).into();
    status.changed_by = (&*document.changed_by).into();
    status.reason = (&*document.reason).into();
}

/// From 0 to 1.
pub(super) fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without a random number all routers wait for the same time: no harm that this could tell of.
    let _ = SystemRandom::new().fill(&mut bytes);
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}
