//! A Postgres of one test's own, which it may kill.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::cluster::{as_postgres, data_root, free_port, postgres_bin};
use super::raw::Raw;

/// Stopped and removed with the value. Superuser `postgres`, trust on 127.0.0.1.
#[derive(Debug)]
pub struct Lone {
    pub port: u16,
    pub dir: PathBuf,
}

impl Lone {
    /// Made, not started.
    pub fn create() -> Self {
        Self::create_with(&["--locale=C.UTF-8"])
    }

    /// With these options of initdb.
    pub fn create_with(options: &[&str]) -> Self {
        let port = free_port();
        let lone =
            Self { port, dir: PathBuf::from(format!("{}/pgloom-lone-{}-{port}", data_root(), std::process::id())) };
        let mut initdb = as_postgres(postgres_bin().join("initdb"));
        initdb.arg("-D").arg(&lone.dir).args(["-U", "postgres", "-N", "-E", "UTF8", "--auth=trust"]);
        initdb.args(options);
        assert!(initdb.stdout(Stdio::null()).status().unwrap().success());
        let conf = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nfsync = off\nshared_buffers = 16MB\n\
             max_prepared_transactions = 16\nautovacuum = off\n"
        );
        let path = lone.dir.join("postgresql.auto.conf");
        fs::write(path, conf).unwrap();
        lone
    }

    /// A standby of this one, which runs: made, not started.
    pub fn standby(&self) -> Self {
        let port = free_port();
        let standby =
            Self { port, dir: PathBuf::from(format!("{}/pgloom-lone-{}-{port}", data_root(), std::process::id())) };
        let mut copy = as_postgres(postgres_bin().join("pg_basebackup"));
        copy.args(["-h", "127.0.0.1", "-U", "postgres", "-c", "fast", "-X", "stream", "-R", "-p"]);
        copy.arg(self.port.to_string()).arg("-D").arg(&standby.dir);
        assert!(copy.status().unwrap().success());
        standby.configure(&format!("port = {port}"));
        standby
    }

    /// Stopped in order before, it follows another one from its next start on.
    pub fn follow(&self, other: &Self) {
        self.configure(&format!("primary_conninfo = 'host=127.0.0.1 user=postgres port={}'", other.port));
        fs::write(self.dir.join("standby.signal"), "").unwrap();
    }

    /// Stopped in order before, a standby is a server of its own from its next start on, and on the timeline of its primary: as somebody
    /// does it who knows no better.
    pub fn forget_primary(&self) {
        fs::remove_file(self.dir.join("standby.signal")).unwrap();
    }

    /// From a standby to a primary on a new timeline.
    pub fn promote(&self) {
        assert_eq!(self.connect("postgres").value("SELECT pg_promote()"), "t");
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn start(&self) {
        let mut start = as_postgres(postgres_bin().join("pg_ctl"));
        start.args(["start", "-w", "-t", "60", "-s", "-D"]).arg(&self.dir).arg("-l").arg(self.dir.join("log"));
        let status = start.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{}", fs::read_to_string(self.dir.join("log")).unwrap_or_default());
    }

    /// One more line of its configuration, for its next start.
    pub fn configure(&self, line: &str) {
        let path = self.dir.join("postgresql.auto.conf");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{text}{line}\n")).unwrap();
    }

    /// In order.
    pub fn stop(&self) {
        let mut stop = as_postgres(postgres_bin().join("pg_ctl"));
        stop.args(["stop", "-w", "-s", "-m", "fast", "-D"]).arg(&self.dir);
        assert!(stop.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    }

    /// No process of it moves, and its connections stay open.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// The postmaster first: it starts no more children then.
    fn signal(&self, signal: Signal) -> Vec<String> {
        let pid = fs::read_to_string(self.dir.join("postmaster.pid")).unwrap_or_default();
        let Some(pid) = pid.lines().next() else { return Vec::new() };
        send(pid, signal);
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let all = std::iter::once(pid).chain(children.split_whitespace());
        all.clone().skip(1).for_each(|child| send(child, signal));
        all.map(str::to_owned).collect()
    }

    /// As a machine that loses its power: no process of it says good-bye.
    pub fn kill(&self) {
        // Stopped first: the children of a postmaster that is gone cannot be found any more.
        let all = self.signal(Signal::STOP);
        all.iter().for_each(|pid| send(pid, Signal::KILL));
        // Until the last one is gone the shared memory is in use, and no other postmaster starts.
        let runs = |pid: &String| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|state| !state.is_empty() && !state.starts_with(['Z', 'X']))
        };
        while all.iter().any(runs) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // Where nobody reaps orphans, the number of a dead postmaster still counts as one that runs.
        let _ = fs::remove_file(self.dir.join("postmaster.pid"));
    }

    pub fn connect(&self, database: &str) -> Raw {
        Raw::connect(self.port, "postgres", database).unwrap()
    }
}

fn send(pid: &str, signal: Signal) {
    if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

impl Drop for Lone {
    fn drop(&mut self) {
        let mut stop = as_postgres(postgres_bin().join("pg_ctl"));
        stop.args(["stop", "-w", "-s", "-m", "immediate", "-D"]).arg(&self.dir);
        let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
