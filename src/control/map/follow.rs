//! The map in etcd, followed: the first one at the start, and every later one as soon as it is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use ring::rand::{SecureRandom, SystemRandom};

use crate::config::document::Head;
use crate::config::{ConfigErrors, Document, Draft, Settings};
use crate::control::etcd::{Connection, Etcd, Heard, StoreError, Stored};
use crate::control::map::keeper::Keeper;
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
    /// Keeps what is served on disk.
    keeper: Keeper,
    /// Since when no member can be followed, and that was told.
    lost: Option<Instant>,
}

impl Follower {
    pub fn new(etcd: Etcd, state: Arc<MapState>) -> Self {
        let member = (random() * etcd.settings().endpoints.len() as f64) as usize;
        let keeper = Keeper::new(Arc::clone(&state));
        Self { etcd, watcher: Watcher::new(member), state, current: false, keeper, lost: None }
    }

    /// Who keeps what is served on disk.
    pub fn keeper(&self) -> Keeper {
        self.keeper.clone()
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
                Ok((document, text, revision, endpoint)) => {
                    let settings = draft.settings(Some(&document))?;
                    self.took(&document.head(), &text, revision, &endpoint);
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

    /// The document, its text and revision, and who has it.
    async fn try_first(&mut self) -> Result<(Document, String, i64, Box<str>), String> {
        let mut connection = self.etcd.connect(self.watcher.member()).await.map_err(|StoreError(error)| error)?;
        let look = connection.look().await.map_err(|StoreError(error)| error)?;
        let Some(stored) = look.map else {
            return Err(format!(
                "{}: there is no {}; make one with pgloom topology init",
                connection.endpoint,
                self.name()
            ));
        };
        let text = stored.text.map_err(|unreadable| format!("{}: {unreadable}", self.name()))?;
        let document = self.read(&text)?;
        Ok((document, text, stored.revision, connection.endpoint.clone()))
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
        let settings = self.etcd.settings();
        let path = &settings.copy_file;
        let kept = match copy::read(path, &settings.prefix) {
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
        self.lost = Some(Instant::now());
        self.keeper.found(path.clone());
        let (path, epoch) = (path.display().to_string(), document.epoch.unwrap_or_default());
        tracing::warn!(file = %path, epoch, age_seconds = age.as_secs(), "etcd gives no map: serving the copy on disk");
        self.watcher.took(epoch, &kept.text);
        self.state.update(|status| {
            status.source = "copy";
            status.place = path.into();
            describe(status, &document.head());
            // Confirmed when it was written, as far as this clock goes back.
            status.confirmed = Instant::now().checked_sub(age);
        });
        Some(document)
    }

    /// Follows the map for ever.
    pub async fn run(mut self, taker: Arc<dyn Taker>) {
        loop {
            let Err(StoreError(error)) = self.follow(&*taker).await else { continue };
            let pause = self.watcher.failed(random());
            self.fell_away(&error);
            tokio::select! {
                biased;
                () = self.etcd.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// A member cannot be followed. That none of them can is told once.
    fn fell_away(&mut self, error: &str) {
        self.state.update(|status| status.problem = Some(error.into()));
        let members = self.etcd.settings().endpoints.len();
        if self.lost.is_some() || !self.watcher.has_failed_with(members) {
            tracing::debug!(%error, "the map cannot be followed");
            return;
        }
        self.lost = Some(Instant::now());
        let (epoch, stale) = (self.state.status().epoch, self.state.stale().as_secs());
        tracing::warn!(%error, epoch, stale_seconds = stale, "etcd is lost: the map that is known is served on");
    }

    /// With one member, for as long as it answers, or until there is another way to etcd.
    async fn follow(&mut self, taker: &dyn Taker) -> Result<(), StoreError> {
        let mut connection = self.etcd.connect(self.watcher.member()).await?;
        let mut seen = self.look(&mut connection, taker).await?;
        let mut watch = connection.watch(seen.0 + 1).await?;
        self.watcher.answered();
        match self.lost.take() {
            Some(since) => {
                let (endpoint, lost) = (&connection.endpoint, since.elapsed().as_secs());
                tracing::info!(%endpoint, revision = seen.0, lost_seconds = lost, "etcd is back: following the map");
            }
            None => {
                tracing::info!(endpoint = %connection.endpoint, revision = seen.0, "following the map in etcd");
            }
        }
        loop {
            let check_interval = self.etcd.settings().check_interval;
            let heard = tokio::select! {
                biased;
                // Not in the middle of anything: no map is half in force.
                () = self.etcd.changed() => return Ok(()),
                heard = tokio::time::timeout(check_interval, watch.next()) => heard,
            };
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
                    // What could not be served, or kept, may be by now.
                    !same || !self.current || self.keeper.problem().is_some()
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
                if let Some(Ok(text)) = look.map.as_ref().map(|stored| &stored.text) {
                    self.keep(text);
                }
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
        let read = match &stored.text {
            Ok(text) => self.read_aside(text).await.map(|document| (document, text)),
            Err(unreadable) => Err(format!("{}: {unreadable}", self.name())),
        };
        let taken = match read {
            Ok((document, text)) => {
                let head = document.head();
                taker.take(document).await.map(|()| (head, text))
            }
            Err(why) => Err(NotTaken::Wrong(why)),
        };
        match taken {
            Ok((head, text)) => {
                tracing::info!(epoch = head.epoch, by = %head.changed_by, reason = %head.reason, "serving a new map");
                self.took(&head, text, stored.revision, endpoint);
            }
            Err(NotTaken::Wrong(why)) => {
                self.watcher.rejected(stored);
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

    fn took(&mut self, head: &Head, text: &str, revision: i64, endpoint: &str) {
        self.watcher.took(head.epoch.unwrap_or_default(), text);
        self.current = true;
        self.keeper.forget();
        self.keep(text);
        self.state.update(|status| {
            status.source = "etcd";
            status.place = endpoint.into();
            status.revision = Some(revision);
            status.confirmed = Some(Instant::now());
            status.problem = self.keeper.problem();
            describe(status, head);
        });
    }

    /// The map that is served is kept on disk, where the settings of now say.
    fn keep(&self, text: &str) {
        let settings = self.etcd.settings();
        self.keeper.keep(&settings.copy_file, &settings.prefix, text);
    }

    fn confirm(&self, connection: &Connection) {
        self.state.update(|status| {
            status.confirmed = Some(Instant::now());
            status.place = connection.endpoint.clone();
            status.problem = self.keeper.problem();
        });
    }

    fn name(&self) -> String {
        format!("{}/map", self.etcd.settings().prefix)
    }
}

fn describe(status: &mut super::MapStatus, document: &Head) {
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
