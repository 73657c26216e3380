//! What is measured: the router's memory, files and CPU time; how long each client waited.

use std::fs;
use std::time::Duration;

use super::support::Router;

/// The router at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// In KiB.
    pub resident: u64,
    pub descriptors: usize,
    /// Seconds of CPU time so far.
    pub cpu: f64,
}

impl Sample {
    pub fn take(router: &Router) -> Self {
        let pid = router.pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let (serving, others) = router.worked();
        Self {
            resident: resident.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
            cpu: serving + others,
        }
    }
}

/// What so many of a hundred are not above; of nothing: 0.
pub fn percentile<T: Copy + Ord + Default>(sorted: &[T], percent: f64) -> T {
    let at = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

/// Waits of all clients in phases of one kind, each client's by itself.
#[derive(Debug)]
pub struct Waits {
    pub statements: usize,
    pub median_of_all: Duration,
    /// The p99 of the client in the middle, of the one behind which one of a thousand are, and of the slowest.
    pub median_client: Duration,
    pub late_client: Duration,
    pub slowest_client: Duration,
}

impl Waits {
    /// Of each client the microseconds that it waited for each answer.
    pub fn of(clients: impl Iterator<Item = Vec<u32>>) -> Self {
        let (mut all, mut each) = (Vec::new(), Vec::new());
        for mut waits in clients.filter(|waits| !waits.is_empty()) {
            waits.sort_unstable();
            each.push(percentile(&waits, 99.0));
            all.extend(waits);
        }
        all.sort_unstable();
        each.sort_unstable();
        let micros = |micros: u32| Duration::from_micros(micros.into());
        Self {
            statements: all.len(),
            median_of_all: micros(percentile(&all, 50.0)),
            median_client: micros(percentile(&each, 50.0)),
            late_client: micros(percentile(&each, 99.9)),
            slowest_client: micros(each.last().copied().unwrap_or_default()),
        }
    }

    /// How many times as long as the client in the middle the slowest waits.
    pub fn ratio(&self) -> f64 {
        self.slowest_client.as_secs_f64() / self.median_client.as_secs_f64().max(1e-6)
    }
}
