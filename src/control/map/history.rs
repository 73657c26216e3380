//! The maps of a configuration file that were served, each a document in a directory, as etcd keeps them where it has the map.
//!
//! Whoever serves a map keeps it, under the next epoch where it is another one than the last. Several routers may share the directory: a
//! document is put there whole or not at all, and never in the place of another one.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::config::document::{Change, Head, databases_of, head_of, with_head};
use crate::control::etcd::KEPT;
use crate::control::map::copy;
use crate::control::map::utc;

/// What somebody is about to put into the file, so that it is known who it was when it is served.
const ANNOUNCED: &str = "announced.json";
/// Others may put their maps there at the same time.
const TRIES: u32 = 16;

/// The directory.
#[derive(Clone, Debug)]
pub struct History {
    directory: PathBuf,
}

/// A map that is kept.
#[derive(Clone, Debug)]
pub struct KeptMap {
    pub head: Head,
    pub text: String,
    pub since: SystemTime,
}

impl History {
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
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

    /// The latest map that can be read.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn latest(&self) -> io::Result<Option<KeptMap>> {
        for epoch in self.epochs()? {
            // Another router may just have removed it.
            let Some(text) = self.past(epoch)? else { continue };
            if let Some(head) = head_of(&text).filter(|head| head.epoch == Some(epoch)) {
                let since = fs::metadata(self.path(epoch)).and_then(|file| file.modified());
                return Ok(Some(KeptMap { head, text, since: since.unwrap_or_else(|_| SystemTime::now()) }));
            }
        }
        Ok(None)
    }

    /// The document that is made of a change of the file is to bear these words.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn announce(&self, change: &Change, databases: &str) -> io::Result<()> {
        self.make_directory()?;
        copy::replace(&self.directory.join(ANNOUNCED), &with_head(change, databases))
    }

    /// A map, a document without epoch, is served: it is the last one that is kept, or the next one. `by`: who is thought to have
    /// changed it, where nobody has said so.
    ///
    /// # Errors
    /// Those of the file system, and a text that is no document.
    pub fn keep(&self, map: &str, by: &str) -> io::Result<KeptMap> {
        let databases = databases_of(map).ok_or_else(|| io::Error::other("the map has no databases"))?;
        self.make_directory()?;
        for _ in 0..TRIES {
            let latest = self.latest()?;
            if let Some(latest) = latest.filter(|latest| databases_of(&latest.text) == Some(databases)) {
                return Ok(latest);
            }
            // Also behind what cannot be read.
            let epoch = self.epochs()?.first().map_or(1, |last| last.saturating_add(1));
            let (by, reason) = self.announced(databases).unwrap_or_else(|| (by.to_owned(), String::new()));
            let now = SystemTime::now();
            let change = Change { epoch, at: utc(now), by, reason };
            let text = with_head(&change, databases);
            if self.put(epoch, &text)? {
                let _ = fs::remove_file(self.directory.join(ANNOUNCED));
                self.forget(epoch)?;
                let head = head_of(&text).ok_or_else(|| io::Error::other("the map has no databases"))?;
                return Ok(KeptMap { head, text, since: now });
            }
        }
        Err(io::Error::other("other routers put their maps there all the time"))
    }

    /// Who has said that these databases come next, and why.
    fn announced(&self, databases: &str) -> Option<(String, String)> {
        let text = fs::read_to_string(self.directory.join(ANNOUNCED)).ok()?;
        let head = head_of(&text)?;
        (databases_of(&text)? == databases).then_some((head.changed_by, head.reason))
    }

    fn make_directory(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)
    }

    /// False: somebody else was faster.
    fn put(&self, epoch: u64, text: &str) -> io::Result<bool> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let beside = self.directory.join(format!("next-{}-{nth}", std::process::id()));
        let linked = copy::replace(&beside, text).and_then(|()| fs::hard_link(&beside, self.path(epoch)));
        let _ = fs::remove_file(&beside);
        match linked {
            Ok(()) => fs::File::open(&self.directory)?.sync_all().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn forget(&self, latest: u64) -> io::Result<()> {
        for old in self.epochs()?.into_iter().filter(|epoch| epoch.saturating_add(KEPT) <= latest) {
            match fs::remove_file(self.path(old)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
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
        let history = History::new(&place.0);
        assert!(history.epochs().unwrap().is_empty() && history.latest().unwrap().is_none());
        for (n, epoch) in [(1, 1), (1, 1), (2, 2), (1, 3), (1, 3)] {
            let kept = history.keep(&map(n), "the file").unwrap();
            assert_eq!((kept.head.epoch, &*kept.head.changed_by), (Some(epoch), "the file"));
        }
        assert_eq!(history.epochs().unwrap(), [3, 2, 1]);
        // One that somebody has announced bears his words; another one does not.
        let change = Change { epoch: 0, at: String::new(), by: "ada".to_owned(), reason: "back".to_owned() };
        history.announce(&change, databases_of(&map(2)).unwrap()).unwrap();
        assert_eq!(history.keep(&map(5), "x").unwrap().head.changed_by, "x");
        history.announce(&change, databases_of(&map(2)).unwrap()).unwrap();
        let kept = history.keep(&map(2), "x").unwrap();
        assert_eq!((kept.head.epoch, &*kept.head.changed_by, &*kept.head.reason), (Some(5), "ada", "back"));
        // What cannot be read is passed over, and keeps its number.
        fs::write(history.path(6), "{").unwrap();
        assert_eq!(history.latest().unwrap().unwrap().head.epoch, Some(5));
        assert_eq!(history.keep(&map(7), "x").unwrap().head.epoch, Some(7));
        assert_eq!(fs::read_dir(&place.0).unwrap().count(), 7);
        assert!(history.keep("{}", "x").is_err());
    }

    #[test]
    fn old_maps_are_forgotten_and_routers_that_share_the_place_do_not_meet() {
        let place = Place::new("many");
        let history = History::new(&place.0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..10).for_each(|n| drop(history.keep(&map(n), "x").unwrap())));
            }
        });
        let shared = history.epochs().unwrap();
        assert!((10..=20).contains(&shared.len()), "{shared:?}");
        assert!(shared.windows(2).all(|pair| pair[0] == pair[1] + 1), "{shared:?}");
        for n in 100..100 + KEPT as usize + 3 {
            history.keep(&map(n), "x").unwrap();
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
        assert!(History::new(&place.0).keep(&map(1), "x").is_err());
        fs::remove_file(&place.0).unwrap();
    }
}
