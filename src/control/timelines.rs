//! Keeps on disk which timelines were heard of: see [`crate::backend::timelines`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::timelines::{Lineage, Timelines};
use crate::control::map::copy;

/// After a write that failed.
const AGAIN: Duration = Duration::from_secs(10);

/// What an earlier run has kept; nothing where there is no file.
///
/// # Errors
/// Those of the file system, and a file that was not written here.
pub fn read(path: &Path) -> io::Result<BTreeMap<Lineage, u32>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let all: BTreeMap<String, u32> = serde_json::from_str(&text).map_err(io::Error::other)?;
            let read = |(name, timeline): (String, u32)| Some((Lineage::parse(&name)?, timeline));
            all.into_iter().map(read).collect::<Option<_>>().ok_or_else(|| io::Error::other("it names no shards"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

/// Tells at the start that what is heard of could not be written.
pub fn check(path: &Path) {
    if let Err(error) = copy::check(path) {
        tracing::error!(file = %path.display(), %error, "the shards' timelines cannot be kept: a restart would not know which primaries are old; let the router write timelines_file");
    }
}

/// Writes each rise down, for ever.
pub async fn keep(timelines: Arc<Timelines>, path: PathBuf) {
    let mut rises = timelines.rises();
    // What other routers have told at the start is not there yet.
    let mut kept = read(&path).unwrap_or_default();
    loop {
        rises.mark_unchanged();
        let all = timelines.all();
        if all == kept {
            // Its sender lives as long as `timelines`.
            let _ = rises.changed().await;
            continue;
        }
        match write(all.clone(), path.clone()).await {
            Ok(()) => kept = all,
            Err(error) => {
                tracing::error!(file = %path.display(), %error, "the shards' timelines cannot be kept: a restart would not know which primaries are old");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Beside what other routers on this machine have written there. A file that nobody can read is written anew.
async fn write(all: BTreeMap<Lineage, u32>, path: PathBuf) -> io::Result<()> {
    tokio::task::spawn_blocking(move || add(all, &path)).await.map_err(io::Error::other)?
}

/// The same on this thread.
///
/// # Errors
/// Those of the file system.
pub fn add(mut all: BTreeMap<Lineage, u32>, path: &Path) -> io::Result<()> {
    // Of two who read and write it at once none may lose what the other one knows.
    let _alone = copy::lock(path)?;
    for (lineage, timeline) in read(path).unwrap_or_default() {
        let newest = all.entry(lineage).or_insert(timeline);
        *newest = timeline.max(*newest);
    }
    let named: BTreeMap<String, u32> = all.iter().map(|(lineage, newest)| (lineage.to_string(), *newest)).collect();
    copy::replace(path, &serde_json::to_string(&named).map_err(io::Error::other)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::backend::timelines::shard_path;

    #[tokio::test]
    async fn what_is_kept_is_read_and_what_is_no_such_file_is_told() {
        let path = std::env::temp_dir().join(format!("pgloom-timelines-{}.json", std::process::id()));
        assert!(read(&path).unwrap().is_empty());
        let of = |shard: &str, system| Lineage { shard: shard_path("d", shard), system };
        let known = BTreeMap::from([(of("s/0", u64::MAX), 2), (of("s1", 1), 9)]);
        write(known.clone(), path.clone()).await.unwrap();
        assert_eq!(read(&path).unwrap(), known);
        write(BTreeMap::from([(of("s1", 1), 8), (of("s2", 1), 2)]), path.clone()).await.unwrap();
        assert_eq!(
            read(&path).unwrap(),
            BTreeMap::from([(of("s/0", u64::MAX), 2), (of("s1", 1), 9), (of("s2", 1), 2)])
        );
        let at_once =
            (2..30).map(|n| tokio::spawn(write(BTreeMap::from([(of("many", u64::from(n)), n)]), path.clone())));
        for written in at_once.collect::<Vec<_>>() {
            written.await.unwrap().unwrap();
        }
        assert_eq!(read(&path).unwrap().len(), 31, "none is lost");
        std::fs::write(&path, "{\"1\": 2}").unwrap();
        assert!(read(&path).is_err());
        std::fs::write(&path, "{\"1\": ").unwrap();
        assert!(read(&path).is_err());
        std::fs::remove_file(&path).unwrap();
        let lock = std::env::temp_dir().join(format!(".pgloom-timelines-{}.json.lock", std::process::id()));
        std::fs::remove_file(lock).unwrap();
    }
}
