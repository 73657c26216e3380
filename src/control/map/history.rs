//! The maps of a configuration file that were served, each a document in a directory, as etcd keeps them where it has the map.
//!
//! Whoever serves a map keeps it, under the next epoch where it is another one than before. Several routers may share the directory: a
//! document is put there whole or not at all, and never in the place of another one. Each notes which epoch it serves, so that one whose
//! file is older than that of the others does not make an old map the latest by reading its file once more.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::digest::{SHA256, digest};

use crate::config::document::{Change, Head, databases_of, head_of, with_head};
use crate::control::etcd::KEPT;
use crate::control::map::copy::{self, Rights};
use crate::control::map::{host, utc};

/// What somebody is about to put into the file, so that it is known who it was when it is served.
const ANNOUNCED: &str = "announced.json";
/// Others may put their maps there at the same time.
const TRIES: u32 = 16;

/// What the routers of one file serve. The name goes on with a mark of the file.
const SERVED: &str = "served-";

/// The directory, as the routers of one configuration file see it.
#[derive(Clone, Debug)]
pub struct History {
    directory: PathBuf,
    /// The host and the file.
    of: String,
}

/// What a router notes.
#[derive(serde::Deserialize, serde::Serialize)]
struct Served {
    epoch: u64,
    of: String,
}

/// A map that is kept.
#[derive(Clone, Debug)]
pub struct KeptMap {
    pub head: Head,
    pub text: String,
    pub since: SystemTime,
    /// Why the next one may not be kept like this one.
    pub problem: Option<String>,
}

impl History {
    /// `file`: the configuration whose map is kept there.
    pub fn new(directory: &Path, file: &Path) -> Self {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        Self { directory: directory.to_owned(), of: format!("{}:{}", host(), file.display()) }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn served(&self) -> PathBuf {
        let digest = digest(&SHA256, self.of.as_bytes());
        let mark: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("{SERVED}{mark}.json"))
    }

    fn path(&self, epoch: u64) -> PathBuf {
        self.directory.join(format!("{epoch:020}.json"))
    }

    /// The epochs that are kept, the latest first; none where there is no directory.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn epochs(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut epochs = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let epoch = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse::<u64>().ok());
            epochs.extend(epoch.filter(|epoch| *epoch > 0));
        }
        epochs.sort_unstable_by(|a: &u64, b| b.cmp(a));
        Ok(epochs)
    }

    /// The text of an epoch that is still kept.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn past(&self, epoch: u64) -> io::Result<Option<String>> {
        match fs::read_to_string(self.path(epoch)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `None`: it is not there, or cannot be read.
    fn kept(&self, epoch: u64) -> io::Result<Option<KeptMap>> {
        let text = match self.past(epoch) {
            // Another router may just have removed it.
            Ok(None) => return Ok(None),
            Ok(Some(text)) => text,
            Err(error) if is_unreadable(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(head) = head_of(&text).filter(|head| head.epoch == Some(epoch)) else { return Ok(None) };
        let since = fs::metadata(self.path(epoch)).and_then(|file| file.modified());
        Ok(Some(KeptMap { head, text, since: since.unwrap_or_else(|_| SystemTime::now()), problem: None }))
    }

    /// The latest map that can be read, whoever served it.
    ///
    /// # Errors
    /// Those of the file system.
    fn latest(&self) -> io::Result<Option<KeptMap>> {
        for epoch in self.epochs()? {
            if let Some(kept) = self.kept(epoch)? {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    /// The map that routers of this file have served last; where none has noted one, the latest.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn last(&self) -> io::Result<Option<KeptMap>> {
        match self.noted() {
            Some(epoch) => self.kept(epoch)?.map_or_else(|| self.latest(), |kept| Ok(Some(kept))),
            None => self.latest(),
        }
    }

    /// What cannot be read is not known.
    fn noted(&self) -> Option<u64> {
        let text = fs::read_to_string(self.served()).ok()?;
        serde_json::from_str::<Served>(&text).ok().map(|served| served.epoch)
    }

    /// Routers of this file serve this epoch from now on.
    fn note(&self, epoch: u64) -> io::Result<()> {
        if self.noted() == Some(epoch) {
            return copy::check(&self.served());
        }
        let served = Served { epoch, of: self.of.clone() };
        copy::replace(&self.served(), &serde_json::to_string(&served).map_err(io::Error::other)?)
    }

    /// The document that is made of a change of the file is to bear these words.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn announce(&self, change: &Change, databases: &str) -> io::Result<()> {
        self.make_directory()?;
        // The router reads it, as whoever it runs.
        let directory = fs::metadata(&self.directory)?;
        let rights = Rights { mode: 0o600, owner: Some((directory.uid(), directory.gid())) };
        copy::replace_as(&self.directory.join(ANNOUNCED), &with_head(change, databases), rights)
    }

    /// What was announced does not come.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn take_back(&self) -> io::Result<()> {
        match fs::remove_file(self.directory.join(ANNOUNCED)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// A map, a document without epoch, is served: it is the last one that routers of this file have served, the latest, or the next one.
    /// `by`: who is thought to have changed it, where nobody has said so. `room`: bytes that all may take.
    ///
    /// # Errors
    /// Those of the file system, and a text that is no document.
    pub fn keep(&self, map: &str, by: &str, room: u64) -> io::Result<KeptMap> {
        let databases = databases_of(map).ok_or_else(|| io::Error::other("the map has no databases"))?;
        self.make_directory()?;
        for _ in 0..TRIES {
            let known = [self.last()?, self.latest()?];
            if let Some(kept) = known.into_iter().flatten().find(|kept| databases_of(&kept.text) == Some(databases)) {
                return Ok(self.noting(kept));
            }
            // Also behind what cannot be read.
            let epoch = self.epochs()?.first().map_or(1, |last| last.saturating_add(1));
            let (by, reason) = self.announced(databases).unwrap_or_else(|| (by.to_owned(), String::new()));
            let now = SystemTime::now();
            let change = Change { epoch, at: utc(now), by, reason };
            let text = with_head(&change, databases);
            if self.put(epoch, &text)? {
                let _ = self.take_back();
                let head = head_of(&text).ok_or_else(|| io::Error::other("the map has no databases"))?;
                let mut kept = self.noting(KeptMap { head, text, since: now, problem: None });
                if let Err(error) = self.forget(epoch, room) {
                    kept.problem.get_or_insert_with(|| format!("old ones cannot be removed: {error}"));
                }
                return Ok(kept);
            }
        }
        Err(io::Error::other("other routers put their maps there all the time"))
    }

    /// It is served, and kept already.
    fn noting(&self, mut kept: KeptMap) -> KeptMap {
        kept.problem = kept.head.epoch.and_then(|epoch| self.note(epoch).err()).map(|error| error.to_string());
        kept
    }

    /// Who has said that these databases come next, and why.
    fn announced(&self, databases: &str) -> Option<(String, String)> {
        let path = self.directory.join(ANNOUNCED);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "who has changed the map, and why, cannot be read");
                return None;
            }
        };
        let head = head_of(&text)?;
        (databases_of(&text)? == databases).then_some((head.changed_by, head.reason))
    }

    fn make_directory(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)
    }

    /// False: somebody else was faster.
    fn put(&self, epoch: u64, text: &str) -> io::Result<bool> {
        let beside = self.directory.join(format!("next-{}", copy::unique()?));
        let linked = copy::replace(&beside, text).and_then(|()| fs::hard_link(&beside, self.path(epoch)));
        let _ = fs::remove_file(&beside);
        match linked {
            Ok(()) => fs::File::open(&self.directory)?.sync_all().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The oldest ones go, and what routers have noted that have served none of the others for as long.
    fn forget(&self, latest: u64, room: u64) -> io::Result<()> {
        let epochs = self.epochs()?;
        let mut first = latest.saturating_sub(KEPT - 1);
        let mut left = room;
        for (at, epoch) in epochs.iter().enumerate().filter(|(_, epoch)| **epoch >= first) {
            let bytes = fs::metadata(self.path(*epoch)).map_or(0, |file| file.len());
            // There is always one to go back to.
            if bytes > left && at > 1 {
                first = epoch + 1;
                break;
            }
            left = left.saturating_sub(bytes);
        }
        let is_old = |epoch: u64| epoch < first;
        let mut old: Vec<PathBuf> =
            epochs.into_iter().filter(|epoch| is_old(*epoch)).map(|epoch| self.path(epoch)).collect();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(SERVED) && name.ends_with(".json")) {
                let served = fs::read_to_string(entry.path()).ok();
                let served = served.and_then(|text| serde_json::from_str::<Served>(&text).ok());
                old.extend(served.filter(|served| is_old(served.epoch)).map(|_| entry.path()));
            }
        }
        for path in old {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}

/// Of one file: the disk may have lost it, or it is another user's.
fn is_unreadable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(label: &str) -> Self {
            Self(std::env::temp_dir().join(format!("pgloom-history-{label}-{}", std::process::id())))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn map(n: usize) -> String {
        format!("{{\"format\": 1, \"databases\": {{\"d\": {{\"n\": {n}}}}}}}")
    }

    #[test]
    fn each_map_that_is_another_one_is_kept_once() {
        let place = Place::new("once");
        let history = History::new(&place.0, Path::new("a.toml"));
        assert!(history.epochs().unwrap().is_empty() && history.latest().unwrap().is_none());
        for (n, epoch) in [(1, 1), (1, 1), (2, 2), (1, 3), (1, 3)] {
            let kept = history.keep(&map(n), "the file", u64::MAX).unwrap();
            assert_eq!((kept.head.epoch, &*kept.head.changed_by), (Some(epoch), "the file"));
        }
        assert_eq!(history.epochs().unwrap(), [3, 2, 1]);
        // One that somebody has announced bears his words; another one does not.
        let change = Change { epoch: 0, at: String::new(), by: "ada".to_owned(), reason: "back".to_owned() };
        history.announce(&change, databases_of(&map(2)).unwrap()).unwrap();
        assert_eq!(history.keep(&map(5), "x", u64::MAX).unwrap().head.changed_by, "x");
        history.announce(&change, databases_of(&map(2)).unwrap()).unwrap();
        let kept = history.keep(&map(2), "x", u64::MAX).unwrap();
        assert_eq!((kept.head.epoch, &*kept.head.changed_by, &*kept.head.reason), (Some(5), "ada", "back"));
        // What cannot be read is passed over, and keeps its number.
        fs::write(history.path(6), "{").unwrap();
        assert_eq!(history.latest().unwrap().unwrap().head.epoch, Some(5));
        assert_eq!(history.keep(&map(7), "x", u64::MAX).unwrap().head.epoch, Some(7));
        fs::write(history.path(8), [0xff, 0xfe]).unwrap();
        assert_eq!(history.latest().unwrap().unwrap().head.epoch, Some(7));
        assert_eq!(history.keep(&map(9), "x", u64::MAX).unwrap().head.epoch, Some(9));
        assert_eq!(fs::read_dir(&place.0).unwrap().count(), 10, "with the note of what is served");
        assert!(history.keep("{}", "x", u64::MAX).is_err());
        // What was announced, and could not be written, is nobody's.
        history.announce(&change, databases_of(&map(2)).unwrap()).unwrap();
        history.take_back().unwrap();
        history.take_back().unwrap();
        assert_eq!(history.keep(&map(2), "x", u64::MAX).unwrap().head.changed_by, "x");
    }

    #[test]
    fn old_maps_are_forgotten_and_routers_that_share_the_place_do_not_meet() {
        let place = Place::new("many");
        let history = History::new(&place.0, Path::new("a.toml"));
        std::thread::scope(|scope| {
            for file in ["a.toml", "b.toml"] {
                let history = History::new(&place.0, Path::new(file));
                scope.spawn(move || (0..10).for_each(|n| drop(history.keep(&map(n), "x", u64::MAX).unwrap())));
            }
        });
        let shared = history.epochs().unwrap();
        assert!((10..=20).contains(&shared.len()), "{shared:?}");
        assert!(shared.windows(2).all(|pair| pair[0] == pair[1] + 1), "{shared:?}");
        for n in 100..100 + KEPT as usize + 3 {
            history.keep(&map(n), "x", u64::MAX).unwrap();
        }
        assert_eq!(history.epochs().unwrap().len() as u64, KEPT);
        for epoch in history.epochs().unwrap() {
            assert!(head_of(&history.past(epoch).unwrap().unwrap()).is_some());
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told() {
        let place = Place::new("none");
        fs::write(&place.0, "a file").unwrap();
        assert!(History::new(&place.0, Path::new("f")).keep(&map(1), "x", u64::MAX).is_err());
        fs::remove_file(&place.0).unwrap();
        // One that can be written no more, which has this map.
        let history = History::new(&place.0, Path::new("f"));
        assert!(history.keep(&map(1), "x", u64::MAX).unwrap().problem.is_none());
        fs::remove_file(history.served()).unwrap();
        fs::create_dir(history.served()).unwrap();
        let kept = history.keep(&map(1), "x", u64::MAX).unwrap();
        assert!(kept.head.epoch == Some(1) && kept.problem.is_some());
    }

    #[test]
    fn who_still_has_an_old_file_does_not_make_its_map_the_latest() {
        let place = Place::new("shared");
        let [one, other] = ["a.toml", "b.toml"].map(|file| History::new(&place.0, Path::new(file)));
        let epoch = |history: &History, n| history.keep(&map(n), "x", u64::MAX).unwrap().head.epoch.unwrap();
        assert_eq!([epoch(&one, 1), epoch(&other, 1), epoch(&one, 2)], [1, 1, 2]);
        // The other one reads its file again, for whatever reason.
        assert_eq!([epoch(&other, 1), epoch(&one, 2), epoch(&other, 1)], [1, 2, 1]);
        assert_eq!([&one, &other].map(|history| history.last().unwrap().unwrap().head.epoch), [Some(2), Some(1)]);
        assert_eq!(other.latest().unwrap().unwrap().head.epoch, Some(2));
        // It gets the new one, and its owner goes back, which is a change.
        assert_eq!([epoch(&other, 2), epoch(&other, 1), epoch(&one, 2), epoch(&one, 1)], [2, 3, 2, 3]);
        // One that is new begins with what is there.
        let third = History::new(&place.0, Path::new("c.toml"));
        assert_eq!(third.last().unwrap().unwrap().head.epoch, Some(3));
        // What nobody serves any more is forgotten with its epoch.
        (10..10 + KEPT as usize + 1).for_each(|n| assert!(epoch(&one, n) > 3));
        assert!(!other.served().exists() && one.served().exists());
    }

    #[test]
    fn the_oldest_maps_go_where_there_is_no_room_and_the_one_before_stays() {
        let place = Place::new("room");
        let history = History::new(&place.0, Path::new("a.toml"));
        for n in 1..=9 {
            history.keep(&map(n), "x", u64::MAX).unwrap();
        }
        let size = fs::metadata(history.path(9)).unwrap().len();
        for (n, room, kept) in [(10, 4 * size + size / 2, 4), (11, 2 * size + size / 2, 2), (12, 0, 2)] {
            history.keep(&map(n), "x", room).unwrap();
            let last: Vec<u64> = (0..kept).map(|before| n as u64 - before).collect();
            assert_eq!(history.epochs().unwrap(), last, "{room} bytes");
        }
    }
}
