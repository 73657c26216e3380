//! The list of routers where the map stands in a file: a directory beside the maps that were served, in which each router has a file that
//! it writes again and again. One that was not written for as long as its router said is of nobody, and is removed by whoever sees it.
//!
//! Whoever may write there could have cancel requests sent to himself, as whoever may write in etcd. So the directory must be the router's
//! own, or root's, and others may not write in it; what is of another user, what others may have written into, and links are not read. What
//! somebody has opened to a group that is the router's own (as Kubernetes does with `fsGroup`, at each start) is closed again.
//!
//! Ages are told by the clock of the file system alone: machines that share it need not agree on the time.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
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
    /// `history_directory`.
    maps: PathBuf,
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
        Self { maps: maps.to_owned(), directory: maps.join("routers") }
    }

    fn file(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    /// What any of them has heard of.
    fn timelines(&self) -> PathBuf {
        self.directory.join(TIMELINES)
    }

    /// The router is there, for so long. When that was, as the file system has it.
    fn announce(&self, entry: &Entry, ttl: Duration) -> io::Result<SystemTime> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        self.close()?;
        self.check(own_user())?;
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let text = serde_json::to_string(&Listed { ttl_ms, router: entry.clone() }).map_err(io::Error::other)?;
        let path = self.file(&entry.id);
        copy::replace_for_now(&path, &text)?;
        fs::symlink_metadata(&path)?.modified()
    }

    /// The directory is for its owner alone, where that is this user.
    fn close(&self) -> io::Result<()> {
        let directory = fs::symlink_metadata(&self.directory)?;
        let is_open = directory.is_dir() && directory.uid() == own_user() && directory.mode() & 0o7777 != 0o700;
        if is_open { fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o700)) } else { Ok(()) }
    }

    /// Whether what stands there can be believed by this user.
    fn check(&self, user: u32) -> io::Result<()> {
        let directory = fs::symlink_metadata(&self.directory)?;
        if !directory.is_dir() {
            return Err(io::Error::other(format!(
                "{} is no directory: the routers are only believed where it is one, and no link",
                self.directory.display()
            )));
        }
        if !is_of(&directory, user) {
            return Err(open(&self.directory, &directory));
        }
        // Whoever writes in the one above can put another one in its place.
        let above = fs::metadata(&self.maps)?;
        let is_own = (above.uid() == user || above.uid() == ROOT) && above.mode() & 0o002 == 0;
        if !is_own || above.mode() & 0o020 != 0 && above.gid() != directory.gid() {
            return Err(open(&self.maps, &above));
        }
        Ok(())
    }

    /// Why the routers do not believe what stands there, as far as can be told by another user than theirs.
    pub fn doubt(&self) -> Option<String> {
        let directory = fs::symlink_metadata(&self.directory).ok()?;
        self.check(directory.uid()).err().map(|error| error.to_string())
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
        let owner = match fs::symlink_metadata(&self.directory) {
            Ok(directory) if directory.is_dir() => directory.uid(),
            Ok(_) => return Ok(Vec::new()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut routers = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // What is called otherwise somebody else has put there, for himself.
            let Some(name) = Name::of(name) else { continue };
            // A link leads to what somebody else has written. And they come and go.
            let Ok(file) = fs::symlink_metadata(&path) else { continue };
            if !file.is_file() {
                continue;
            }
            let written = file.modified()?;
            let age = now.duration_since(written).unwrap_or_else(|ahead| ahead.duration());
            let Name::Router(id) = name else {
                // Somebody was killed while he wrote it.
                if sweep && age > UNREAD {
                    let _ = fs::remove_file(&path);
                }
                continue;
            };
            // Others may have written it: it is of nobody, until its router writes it anew.
            let listed = is_of(&file, owner).then(|| fs::read_to_string(&path).ok()).flatten();
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
        let trusted = self.check(own_user()).is_ok_and(|()| self.may_read_timelines());
        if trusted { timelines::read(&self.timelines()).unwrap_or_default() } else { BTreeMap::new() }
    }

    /// Whether nobody else can have written them.
    fn may_read_timelines(&self) -> bool {
        fs::symlink_metadata(self.timelines()).is_ok_and(|file| file.is_file() && is_of(&file, own_user()))
    }

    /// Learns what others have heard of, and tells them of what they have not.
    fn exchange_timelines(&self, servers: &ServerBook) -> io::Result<()> {
        if !self.may_read_timelines() {
            // A link, or somebody else's: what is known here is written in its place.
            if let Err(error) = fs::remove_file(self.timelines())
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
        }
        let told = match timelines::read(&self.timelines()) {
            Ok(told) => told,
            // Written anew below.
            Err(error) if matches!(error.kind(), io::ErrorKind::Other | io::ErrorKind::InvalidData) => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        servers.learn(told.clone());
        let own = servers.timelines.all();
        let is_news = own.iter().any(|(lineage, timeline)| told.get(lineage).is_none_or(|known| known < timeline));
        if is_news { timelines::add(own, &self.timelines()) } else { Ok(()) }
    }

    /// One round: what others read of this router, and what it reads of them.
    fn meet(&self, entry: &Entry, ttl: Duration, servers: &ServerBook) -> io::Result<Met> {
        let now = self.announce(entry, ttl)?;
        let exchanged = self.exchange_timelines(servers);
        Ok(Met { routers: self.routers(now, true)?, exchanged })
    }
}

struct Met {
    routers: Vec<Entry>,
    exchanged: io::Result<()>,
}

/// What routers call their files.
enum Name<'a> {
    /// Of the router of this id.
    Router(&'a str),
    /// What stood beside one while it was written.
    Unfinished,
}

impl<'a> Name<'a> {
    fn of(name: &'a str) -> Option<Self> {
        if let Some(id) = name.strip_suffix(".json").filter(|id| is_unique(id)) {
            return Some(Self::Router(id));
        }
        let (of, label) = name.strip_prefix('.')?.rsplit_once('.')?;
        let is_ours = of == TIMELINES || of.strip_suffix(".json").is_some_and(is_unique);
        (is_ours && is_unique(label)).then_some(Self::Unfinished)
    }
}

/// As [`copy::unique`] makes them, and the names of routers are.
fn is_unique(label: &str) -> bool {
    label.len() == 16 && label.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

const TIMELINES: &str = "timelines";

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn open(path: &Path, of: &Metadata) -> io::Error {
    let (mode, user) = (of.mode() & 0o7777, of.uid());
    io::Error::other(format!(
        "{} belongs to user {user} with mode {mode:o}: the routers in it are only believed where it is this router's user's, or root's, and others \
         cannot write there",
        path.display()
    ))
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
pub async fn register(place: Place, mut entry: Entry, mut shared: Shared, stop: impl Future<Output = ()>) {
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
                Ok(Met { routers, exchanged }) => {
                    routers.iter().for_each(|router| (shared.hear)(router));
                    shared.note_exchange(exchanged);
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
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::backend::timelines::Timelines;

    fn router(id: &str) -> Entry {
        let text = format!(
            "{{\"id\": \"{id}\", \"host\": \"h\", \"pid\": 1, \"listen\": [], \"version\": \"0\", \"started\": \"\", \"epoch\": 3}}"
        );
        Entry::read(&text).unwrap()
    }

    /// The ids that are sixteen times one digit, by this.
    fn ids(listing: &Listing, now: SystemTime, sweep: bool) -> Vec<String> {
        let routers = listing.routers(now, sweep).unwrap();
        let mut ids: Vec<String> = routers.into_iter().map(|router| router.id[..1].to_owned()).collect();
        ids.sort();
        ids
    }

    fn id(digit: &str) -> String {
        digit.repeat(16)
    }

    #[test]
    fn routers_are_there_for_as_long_as_they_said_and_nobody_speaks_for_another_one() {
        let maps = std::env::temp_dir().join(format!("pgloom-listing-{}", std::process::id()));
        let listing = Listing::new(&maps);
        let (short, long) = (Duration::from_secs(2), Duration::from_secs(60));
        assert!(listing.routers(SystemTime::now(), true).unwrap().is_empty() && !maps.exists());
        let now = listing.announce(&router(&id("a")), short).unwrap();
        listing.announce(&router(&id("b")), long).unwrap();
        assert_eq!(fs::metadata(&listing.directory).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(listing.file(&id("a"))).unwrap().mode() & 0o777, 0o600);
        assert_eq!(ids(&listing, now, true), ["a", "b"]);
        // A place that has just ended is not taken away from one that comes back.
        assert_eq!(ids(&listing, now + Duration::from_secs(3), true), ["b"]);
        assert_eq!(ids(&listing, now, false), ["a", "b"]);
        assert_eq!(ids(&listing, now + Duration::from_secs(5), false), ["b"]);
        assert!(listing.file(&id("a")).exists());
        assert_eq!(ids(&listing, now + Duration::from_secs(5), true), ["b"]);
        assert!(!listing.file(&id("a")).exists());
        // Files under another's name, of others, of no router, and links.
        fs::copy(listing.file(&id("b")), listing.file(&id("c"))).unwrap();
        fs::copy(listing.file(&id("b")), listing.file(&id("d"))).unwrap();
        fs::set_permissions(listing.file(&id("d")), fs::Permissions::from_mode(0o622)).unwrap();
        fs::write(listing.file(&id("e")), "{").unwrap();
        symlink(listing.file(&id("b")), listing.file(&id("f"))).unwrap();
        fs::create_dir(listing.file(&id("0"))).unwrap();
        assert_eq!(ids(&listing, SystemTime::now(), true), ["b"]);
        // What was left unfinished, and a file that was opened to others, go when nobody can write them any more; nothing else does.
        let unfinished = [format!(".{}.json.{}", id("a"), id("1")), format!(".timelines.{}", id("2"))];
        let others = [".timelines.lock", "notes.json", ".notes.json.swp", "README", ".x.json.0123456789abcdef"];
        for name in unfinished.iter().map(String::as_str).chain(others) {
            fs::write(listing.directory.join(name), "{").unwrap();
        }
        let later = SystemTime::now() + UNREAD * 3;
        assert!(ids(&listing, later, false).is_empty() && listing.directory.join(&unfinished[0]).exists());
        assert!(ids(&listing, later, true).is_empty());
        let left = |name: &str| listing.directory.join(name).symlink_metadata().is_ok();
        assert!(!unfinished.iter().any(|name| left(name)) && others.iter().all(|name| left(name)));
        assert!(!listing.file(&id("d")).exists() && listing.file(&id("0")).is_dir());
        listing.announce(&router(&id("b")), long).unwrap();
        listing.leave(&id("b")).unwrap();
        assert!(ids(&listing, SystemTime::now(), true).is_empty());
        // Timelines are told by one and known to the next one.
        let reached = Lineage { shard: "d/s".into(), system: 7 };
        let book = |known: BTreeMap<Lineage, u32>| ServerBook::new(Timelines::new(known));
        listing.exchange_timelines(&book(BTreeMap::from([(reached.clone(), 3)]))).unwrap();
        listing.exchange_timelines(&book(BTreeMap::from([(reached.clone(), 2)]))).unwrap();
        assert_eq!(listing.heard(), BTreeMap::from([(reached, 3)]));
        // Those of which nobody knows who wrote them are not believed, and written anew; so is what is no text.
        let known = || book(BTreeMap::from([(Lineage { shard: "d/t".into(), system: 8 }, 4)]));
        let own = |listing: &Listing| listing.heard().keys().map(|lineage| lineage.system).collect::<Vec<_>>();
        fs::set_permissions(listing.timelines(), fs::Permissions::from_mode(0o660)).unwrap();
        assert!(listing.heard().is_empty());
        listing.exchange_timelines(&known()).unwrap();
        assert_eq!(own(&listing), [8]);
        fs::rename(listing.timelines(), maps.join("elsewhere")).unwrap();
        symlink(maps.join("elsewhere"), listing.timelines()).unwrap();
        assert!(listing.heard().is_empty());
        fs::remove_file(listing.timelines()).unwrap();
        fs::write(listing.timelines(), [0xff, 0xfe]).unwrap();
        fs::set_permissions(listing.timelines(), fs::Permissions::from_mode(0o600)).unwrap();
        let met = listing.meet(&router(&id("b")), long, &known()).unwrap();
        assert!(met.exchanged.is_ok() && met.routers.len() == 1);
        assert_eq!(own(&listing), [8]);
        // Where they cannot be exchanged the routers are known all the same.
        fs::remove_file(listing.timelines()).unwrap();
        fs::create_dir(listing.timelines()).unwrap();
        let met = listing.meet(&router(&id("b")), long, &known()).unwrap();
        assert!(met.exchanged.is_err() && met.routers.len() == 1);
        // What was opened to a group, as by Kubernetes, is closed again.
        fs::set_permissions(&listing.directory, fs::Permissions::from_mode(0o2770)).unwrap();
        fs::set_permissions(listing.file(&id("b")), fs::Permissions::from_mode(0o660)).unwrap();
        assert!(listing.doubt().is_some() && ids(&listing, SystemTime::now(), false).is_empty());
        listing.announce(&router(&id("b")), long).unwrap();
        assert_eq!(fs::metadata(&listing.directory).unwrap().mode() & 0o7777, 0o700);
        assert_eq!((listing.doubt(), ids(&listing, SystemTime::now(), false)), (None, vec!["b".to_owned()]));
        // Nobody is listed where others may put another directory in the place of this one, or have put a link.
        let open = |mode| fs::set_permissions(&maps, fs::Permissions::from_mode(mode)).unwrap();
        open(0o777);
        let error = listing.announce(&router(&id("a")), short).unwrap_err().to_string();
        assert!(error.contains("mode 777") && !listing.file(&id("a")).exists(), "{error}");
        assert!(listing.doubt().is_some_and(|doubt| doubt.contains("mode 777")));
        open(0o700);
        fs::rename(&listing.directory, maps.join("moved")).unwrap();
        symlink(maps.join("moved"), &listing.directory).unwrap();
        let error = listing.announce(&router(&id("a")), short).unwrap_err().to_string();
        assert!(error.contains("is no directory") && listing.routers(SystemTime::now(), true).unwrap().is_empty());
        assert!(listing.heard().is_empty());
        fs::remove_dir_all(&maps).unwrap();
    }
}
