//! The list of routers where the map stands in a file: a directory beside the maps that were served, in which each router has a file that
//! it writes again and again. One that was not written for as long as its router said is of nobody, and is removed by whoever sees it.
//!
//! Whoever may write there could have cancel requests sent to himself, as whoever may write in etcd. So the directory must be the router's
//! own, or root's, and others may not write in it; what is of another user is not read.
//!
//! Ages are told by the clock of the file system alone: machines that share it need not agree on the time.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::backend::servers::ServerBook;
use crate::backend::timelines::Lineage;
use crate::control::map::copy;
use crate::control::map::registry::{Entry, Shared};
use crate::control::timelines;

/// Between two looks at the others, however long a place lasts.
const LOOK: Duration = Duration::from_secs(3);
/// As the others write there for one that is gone, too.
const ROOT: u32 = 0;

/// Where routers that share the maps of a file are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    directory: PathBuf,
}

/// What a router writes.
#[derive(Serialize, Deserialize)]
struct Listed {
    ttl_ms: u64,
    router: Entry,
}

impl Listing {
    /// `maps`: where the maps are kept.
    pub fn new(maps: &Path) -> Self {
        Self { directory: maps.join("routers") }
    }

    fn file(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    /// What any of them has heard of.
    fn timelines(&self) -> PathBuf {
        self.directory.join("timelines")
    }

    /// The router is there, for so long. When that was, as the file system has it.
    fn announce(&self, entry: &Entry, ttl: Duration) -> io::Result<SystemTime> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        self.check()?;
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let text = serde_json::to_string(&Listed { ttl_ms, router: entry.clone() }).map_err(io::Error::other)?;
        let path = self.file(&entry.id);
        copy::replace_for_now(&path, &text)?;
        fs::metadata(&path)?.modified()
    }

    /// Whether what stands there can be believed.
    fn check(&self) -> io::Result<()> {
        let directory = fs::metadata(&self.directory)?;
        if is_of(&directory, rustix::process::geteuid().as_raw()) {
            return Ok(());
        }
        let (mode, user) = (directory.mode() & 0o7777, directory.uid());
        Err(io::Error::other(format!(
            "{} belongs to user {user} with mode {mode:o}: the routers in it are only believed where it is this router's user's, or root's, and others \
             cannot write there",
            self.directory.display()
        )))
    }

    /// The router is gone.
    fn leave(&self, id: &str) -> io::Result<()> {
        fs::remove_file(self.file(id))
    }

    /// The routers that are there. `sweep`: those that are not are removed.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn routers(&self, now: SystemTime, sweep: bool) -> io::Result<Vec<Entry>> {
        let owner = match fs::metadata(&self.directory) {
            Ok(directory) => directory.uid(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut routers = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // A link leads to what somebody else has written. And they come and go.
            let Ok(file) = fs::symlink_metadata(&path) else { continue };
            if !file.is_file() || !is_of(&file, owner) {
                continue;
            }
            let written = file.modified()?;
            let age = now.duration_since(written).unwrap_or_else(|ahead| ahead.duration());
            // Somebody was killed while he wrote it.
            if sweep && name.starts_with('.') && name.contains(".json.") && age > UNREAD {
                let _ = fs::remove_file(&path);
            }
            let Some(id) = name.strip_suffix(".json").filter(|id| !id.starts_with('.')) else { continue };
            let listed = fs::read_to_string(&path).ok();
            let listed = listed.and_then(|text| serde_json::from_str::<Listed>(&text).ok());
            let ttl = listed.as_ref().map_or(UNREAD, |listed| Duration::from_millis(listed.ttl_ms));
            if age <= ttl {
                // Nobody speaks for another one.
                routers.extend(listed.map(|listed| listed.router).filter(|router| router.id == id));
            } else if sweep && age > ttl.saturating_mul(2) {
                let _ = fs::remove_file(&path);
            }
        }
        Ok(routers)
    }

    /// What routers have heard of timelines; nothing where nobody has told, or others may write there.
    pub fn heard(&self) -> BTreeMap<Lineage, u32> {
        self.check().and_then(|()| timelines::read(&self.timelines())).unwrap_or_default()
    }

    /// Learns what others have heard of, and tells them of what they have not.
    fn exchange_timelines(&self, servers: &ServerBook) -> io::Result<()> {
        let told = match timelines::read(&self.timelines()) {
            Ok(told) => told,
            // Written anew below.
            Err(error) if error.kind() == io::ErrorKind::Other => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        servers.learn(told.clone());
        let own = servers.timelines.all();
        let is_news = own.iter().any(|(lineage, timeline)| told.get(lineage).is_none_or(|known| known < timeline));
        if is_news { timelines::add(own, &self.timelines()) } else { Ok(()) }
    }

    /// One round: what others read of this router, and what it reads of them.
    fn meet(&self, entry: &Entry, ttl: Duration, servers: &ServerBook) -> io::Result<Vec<Entry>> {
        let now = self.announce(entry, ttl)?;
        self.exchange_timelines(servers)?;
        self.routers(now, true)
    }
}

/// What cannot be read stays for so long: a router of another version may have written it.
const UNREAD: Duration = Duration::from_secs(3600);

/// Whether only this user, or root, can have written it.
fn is_of(file: &Metadata, user: u32) -> bool {
    (file.uid() == user || file.uid() == ROOT) && file.mode() & 0o022 == 0
}

/// Where a router is listed now, and for how long each time; `None`: nowhere.
pub type Place = Box<dyn Fn() -> Option<(Listing, Duration)> + Send + Sync>;

/// Keeps a router in the list until `stop` resolves, whatever the disk does, and tells of the others that are there.
pub async fn register(place: Place, mut entry: Entry, shared: Shared, stop: impl Future<Output = ()>) {
    let (mut epochs, mut rises) = (shared.state.epochs(), shared.servers.timelines.rises());
    let mut listed: Option<Listing> = None;
    let mut is_told = false;
    tokio::pin!(stop);
    loop {
        let now = place();
        let here = now.as_ref().map(|(listing, _)| listing);
        if let Some(before) = listed.take_if(|before| Some(&*before) != here) {
            leave(before, &entry.id).await;
        }
        entry.epoch = *epochs.borrow_and_update();
        rises.mark_unchanged();
        let mut pause = LOOK;
        if let Some((listing, ttl)) = now {
            pause = pause.min(ttl / 3);
            listed = Some(listing.clone());
            let (entry, servers) = (entry.clone(), Arc::clone(&shared.servers));
            let meeting = tokio::task::spawn_blocking(move || listing.meet(&entry, ttl, &servers));
            // A disk that hangs holds nobody up, who stops least of all.
            let met = tokio::select! {
                biased;
                () = &mut stop => break,
                met = meeting => met.map_err(io::Error::other).and_then(|met| met),
            };
            match &met {
                Ok(routers) => {
                    routers.iter().for_each(|router| (shared.hear)(router));
                    if is_told {
                        tracing::info!("this router is in the list of routers again");
                    }
                }
                Err(error) if !is_told => {
                    tracing::warn!(%error, "this router is not in the list of routers in history_directory: cancel requests that reach other routers do not find it, and it does not know them");
                }
                Err(_) => {}
            }
            is_told = met.is_err();
        }
        tokio::select! {
            biased;
            () = &mut stop => break,
            // Their senders live as long as this.
            Ok(()) = epochs.changed() => {}
            Ok(()) = rises.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    if let Some(listing) = listed {
        leave(listing, &entry.id).await;
    }
}

/// One that stays is of nobody, a little later.
async fn leave(listing: Listing, id: &str) {
    let id = id.to_owned();
    let _ = tokio::task::spawn_blocking(move || listing.leave(&id)).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::backend::timelines::Timelines;

    fn router(id: &str) -> Entry {
        let text = format!(
            "{{\"id\": \"{id}\", \"host\": \"h\", \"pid\": 1, \"listen\": [], \"version\": \"0\", \"started\": \"\", \"epoch\": 3}}"
        );
        Entry::read(&text).unwrap()
    }

    fn ids(listing: &Listing, now: SystemTime, sweep: bool) -> Vec<String> {
        let mut ids: Vec<String> = listing.routers(now, sweep).unwrap().into_iter().map(|router| router.id).collect();
        ids.sort();
        ids
    }

    #[test]
    fn routers_are_there_for_as_long_as_they_said_and_nobody_speaks_for_another_one() {
        let maps = std::env::temp_dir().join(format!("pgloom-listing-{}", std::process::id()));
        let listing = Listing::new(&maps);
        let (short, long) = (Duration::from_secs(2), Duration::from_secs(60));
        assert!(listing.routers(SystemTime::now(), true).unwrap().is_empty() && !maps.exists());
        let now = listing.announce(&router("a"), short).unwrap();
        listing.announce(&router("b"), long).unwrap();
        assert_eq!(fs::metadata(&listing.directory).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(listing.file("a")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(ids(&listing, now, true), ["a", "b"]);
        // A place that has just ended is not taken away from one that comes back.
        assert_eq!(ids(&listing, now + Duration::from_secs(3), true), ["b"]);
        assert_eq!(ids(&listing, now, false), ["a", "b"]);
        assert_eq!(ids(&listing, now + Duration::from_secs(5), false), ["b"]);
        assert!(listing.file("a").exists());
        assert_eq!(ids(&listing, now + Duration::from_secs(5), true), ["b"]);
        assert!(!listing.file("a").exists());
        // Files under another's name, of others, of no router, and links.
        fs::copy(listing.file("b"), listing.file("c")).unwrap();
        fs::copy(listing.file("b"), listing.file("d")).unwrap();
        fs::set_permissions(listing.file("d"), fs::Permissions::from_mode(0o622)).unwrap();
        fs::write(listing.file("e"), "{").unwrap();
        symlink(listing.file("b"), listing.file("f")).unwrap();
        fs::create_dir(listing.file("g")).unwrap();
        assert_eq!(ids(&listing, SystemTime::now(), true), ["b"]);
        listing.leave("b").unwrap();
        assert!(ids(&listing, SystemTime::now(), true).is_empty());
        // Timelines are told by one and known to the next one.
        let reached = Lineage { shard: "d/s".into(), system: 7 };
        let book = |known: BTreeMap<Lineage, u32>| ServerBook::new(Timelines::new(known));
        listing.exchange_timelines(&book(BTreeMap::from([(reached.clone(), 3)]))).unwrap();
        listing.exchange_timelines(&book(BTreeMap::from([(reached.clone(), 2)]))).unwrap();
        assert_eq!(listing.heard(), BTreeMap::from([(reached, 3)]));
        // Nobody is listed where others may write, nor is anything believed that stands there.
        fs::set_permissions(&listing.directory, fs::Permissions::from_mode(0o777)).unwrap();
        let error = listing.announce(&router("a"), short).unwrap_err().to_string();
        assert!(error.contains("mode 777") && !listing.file("a").exists(), "{error}");
        assert!(listing.heard().is_empty());
        fs::remove_dir_all(&maps).unwrap();
    }
}
