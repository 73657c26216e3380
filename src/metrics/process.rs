//! What the kernel tells of this process (`proc(5)`), under the names that every Prometheus client library uses.

use prometheus::{Counter, IntGauge};

use super::families::Families;

pub(super) struct Process {
    cpu_seconds: Counter,
    resident_bytes: IntGauge,
    open_fds: IntGauge,
}

impl Process {
    pub fn register(r: &mut Families) -> Self {
        Self {
            cpu_seconds: r.float_counter("process_cpu_seconds_total", "user and system time"),
            resident_bytes: r.gauge("process_resident_memory_bytes", "resident memory"),
            open_fds: r.gauge("process_open_fds", "open file descriptors"),
        }
    }

    /// Leaves the last values where `/proc` can't be read.
    pub fn refresh(&self) {
        // USER_HZ and the page size are what every Linux on x86-64 and arm64 with 4 KiB pages has.
        const TICKS_PER_SECOND: f64 = 100.0;
        if let Ok(stat) = std::fs::read_to_string("/proc/self/stat")
            && let Some((_, fields)) = stat.rsplit_once(") ")
        {
            // utime and stime: fields 14 and 15 of the line, 3 being the first after the name.
            let ticks: u64 = fields.split(' ').skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
            // The kernel's count never goes back, and this one never may.
            self.cpu_seconds.inc_by((ticks as f64 / TICKS_PER_SECOND - self.cpu_seconds.get()).max(0.0));
        }
        if let Ok(status) = std::fs::read_to_string("/proc/self/status")
            && let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))
            && let Some(kib) = line.trim().strip_suffix(" kB").and_then(|n| n.parse::<i64>().ok())
        {
            self.resident_bytes.set(kib.saturating_mul(1024));
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            self.open_fds.set(i64::try_from(entries.count()).unwrap_or(i64::MAX));
        }
    }
}
