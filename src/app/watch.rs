//! Looks at the files of the configuration now and then, and has them read again when they are others.
//!
//! Editors and Kubernetes put another file, or another directory, in a file's place; so names are looked up anew each time, through all links.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::app::live::Live;

/// A file that was written a moment ago may not be whole yet, or the next one is being written.
const CALM: Duration = Duration::from_millis(500);
/// While files are not watched, the setting that says so is.
const OFF: Duration = Duration::from_secs(2);

/// What tells one file, or one state of it, from another: device, inode, size, and when it was written, in nanoseconds. `None`: there is none.
type Stamp = Option<(u64, u64, u64, i128)>;

/// For ever.
pub(super) async fn follow(live: Arc<Live>) {
    let mut known = stamps(live.files()).await;
    loop {
        let every = live.settings().timeouts.autoreload;
        tokio::time::sleep(every.unwrap_or(OFF)).await;
        if every.is_none() {
            // What has changed meanwhile is read when somebody says so. Where that has switched this on, it may have changed again since.
            let now = stamps(live.files()).await;
            if live.settings().timeouts.autoreload.is_none() {
                known = now;
            }
            continue;
        }
        let mut now = stamps(live.files()).await;
        if now == known {
            continue;
        }
        loop {
            tokio::time::sleep(CALM).await;
            let later = stamps(live.files()).await;
            if std::mem::replace(&mut now, later) == now {
                break;
            }
        }
        tracing::info!("files of the configuration have changed: reading it again");
        // What came of it is told there; what was rejected is not tried again before it changes.
        let _ = live.reload_now().await;
        let files = live.files();
        // Files that only the new configuration names are as they are now; one that has changed since it was read is seen.
        known = match files.len() == now.len() {
            true => now,
            false => stamps(files).await,
        };
    }
}

async fn stamps(files: Vec<PathBuf>) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let found = std::fs::metadata(path).ok()?;
        let written = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
        Some((found.dev(), found.ino(), found.size(), written))
    };
    // A file system that hangs must not hold clients up.
    tokio::task::spawn_blocking(move || files.iter().map(stamp).collect()).await.unwrap_or_default()
}
