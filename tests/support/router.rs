//! One `pgloom serve` process on a free port, ended with the value.

use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::cluster::free_port;
use super::raw::Raw;

/// How long a router may take to its first answer.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long a line of the log may be under way.
const LOGGED: Duration = Duration::from_millis(50);
/// Lines of the log that a failed test prints.
const TAIL_LINES: usize = 60;

/// A running router. Dropped: ended by its process id; when the test panics, the end of its log is printed.
#[derive(Debug)]
pub struct Router {
    pub port: u16,
    /// Port of `/metrics`, `/healthz`, `/readyz`.
    pub http_port: u16,
    pub config: PathBuf,
    pub log: PathBuf,
    child: Child,
}

impl Router {
    /// Starts `pgloom serve` with this config, in which `{port}` and `{http_port}` stand for free ports.
    /// Returns when the port accepts connections and `/readyz` (where the config names `{http_port}`) says yes.
    pub fn start(config: &str) -> Self {
        let mut router = Self::start_with(config, &[]);
        if config.contains("{http_port}") {
            router.wait_until_ready();
        }
        router
    }

    /// Like `start`, with environment variables, and without waiting for `/readyz`.
    pub fn start_with(config: &str, environment: &[(&str, &str)]) -> Self {
        let mut router = Self::spawn(config, environment, free_port(), free_port(), None);
        router.wait_for("listening port", |router| Raw::open(router.port).is_ok());
        router
    }

    /// Like `start`, without waiting for anything: see `wait_until_ready`.
    pub fn launch(config: &str) -> Self {
        Self::spawn(config, &[], free_port(), free_port(), None)
    }

    /// Like `start_with`, with its standard error in a pipe that nobody reads.
    pub fn start_unread(config: &str, environment: &[(&str, &str)]) -> Self {
        let mut router = Self::spawn_to(Some(Stdio::piped()), config, environment, free_port(), free_port(), None);
        router.wait_for("listening port", |router| Raw::open(router.port).is_ok());
        router
    }

    /// Like `start`, with another file in the place of `/etc/hosts`, which may be written anew while it runs.
    pub fn start_with_hosts(config: &str, hosts: &Path) -> Self {
        let mut router = Self::spawn(config, &[], free_port(), free_port(), Some(hosts));
        router.wait_until_ready();
        router
    }

    /// For yes from `/readyz`.
    pub fn wait_until_ready(&mut self) {
        self.wait_for("yes from /readyz", |router| router.http("/readyz").0 == 200);
    }

    fn spawn(config: &str, environment: &[(&str, &str)], port: u16, http_port: u16, hosts: Option<&Path>) -> Self {
        Self::spawn_to(None, config, environment, port, http_port, hosts)
    }

    /// `stderr`: where the log goes, where that is not its file.
    fn spawn_to(
        stderr: Option<Stdio>,
        config: &str,
        environment: &[(&str, &str)],
        port: u16,
        http_port: u16,
        hosts: Option<&Path>,
    ) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("router-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(dir).unwrap();
        let (path, log) = (dir.join(format!("{name}.toml")), dir.join(format!("{name}.log")));
        let text = config.replace("{port}", &port.to_string()).replace("{http_port}", &http_port.to_string());
        fs::write(&path, text).unwrap();
        let output = File::create(&log).unwrap();
        let child = own_names(hosts)
            .arg("serve")
            .arg("--config")
            .arg(&path)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(stderr.unwrap_or_else(|| output.into()))
            .spawn()
            .unwrap();
        Self { port, http_port, config: path, log, child }
    }

    /// Another process with the same configuration on the same ports, which share them (`so_reuseport`). Returns when it takes clients in.
    pub fn start_beside(&self) -> Self {
        let mut second = Self::spawn(&self.config_text(), &[], self.port, self.http_port, None);
        second.wait_for("clients", |router| router.log_text().contains("accepting clients"));
        second
    }

    fn wait_for(&mut self, what: &str, reached: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !reached(self) {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("pgloom serve ended with {status}");
            }
            assert!(start.elapsed() < START_LIMIT, "pgloom serve: no {what} after {START_LIMIT:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A connection through the router as `postgres`.
    pub fn connect(&self, database: &str) -> Raw {
        Raw::connect(self.port, "postgres", database).unwrap_or_else(|e| panic!("through the router: {e}"))
    }

    /// Process id, for signals and `/proc`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Seconds that the thread which serves has worked, and all others: of a machine that has more to do than this it tells the same.
    pub fn worked(&self) -> (f64, f64) {
        let pid = self.pid();
        let seconds = |path: String| {
            let stat = fs::read_to_string(path).unwrap();
            let fields = stat.rsplit_once(") ").unwrap().1;
            let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum::<u64>();
            ticks as f64 / 100.0
        };
        let (own, all) = (seconds(format!("/proc/{pid}/task/{pid}/stat")), seconds(format!("/proc/{pid}/stat")));
        (own, all - own)
    }

    /// From now on [`Self::most_memory`] is counted anew.
    pub fn forget_most_memory(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").unwrap();
    }

    /// The most memory that it has had, in bytes.
    pub fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Sends a signal (`TERM`, `HUP`, ...).
    pub fn signal(&self, name: &str) {
        let signal = match name {
            "TERM" => Signal::TERM,
            "INT" => Signal::INT,
            "HUP" => Signal::HUP,
            "KILL" => Signal::KILL,
            "QUIT" => Signal::QUIT,
            "USR1" => Signal::USR1,
            "USR2" => Signal::USR2,
            "STOP" => Signal::STOP,
            "CONT" => Signal::CONT,
            other => panic!("which signal is {other}?"),
        };
        kill_process(Pid::from_raw(self.pid().cast_signed()).unwrap(), signal).unwrap();
    }

    /// The configuration as it is now.
    pub fn config_text(&self) -> String {
        fs::read_to_string(&self.config).unwrap()
    }

    /// Puts another file in the configuration's place, by a rename. Tells nobody.
    pub fn replace_config(&self, text: &str) {
        let new = self.config.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &self.config).unwrap();
    }

    /// Replaces the configuration and has it read again. What came of it: `applied`, `unchanged` or `rejected`.
    pub fn reload(&self, text: &str) -> String {
        let before = self.reloads();
        self.replace_config(text);
        self.signal("HUP");
        self.next_reload(&before)
    }

    /// What came of the next reload behind these.
    pub fn next_reload(&self, before: &[(String, u64)]) -> String {
        let start = Instant::now();
        loop {
            let count = |all: &[(String, u64)], result: &str| {
                all.iter().find(|(known, _)| known == result).map_or(0, |(_, count)| *count)
            };
            let now = self.reloads();
            if let Some((result, _)) = now.iter().find(|(result, n)| *n > count(before, result)) {
                return result.clone();
            }
            assert!(start.elapsed() < Duration::from_secs(60), "the configuration was not read again");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How often each thing came of a reload.
    pub fn reloads(&self) -> Vec<(String, u64)> {
        let text = self.http("/metrics").1;
        let lines = text.lines().filter_map(|line| line.strip_prefix("pgloom_config_reloads_total{result=\""));
        lines
            .map(|line| line.split_once("\"} ").map(|(result, n)| (result.to_owned(), n.parse().unwrap())).unwrap())
            .collect()
    }

    /// Waits for the end of the process; `None` if it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<std::process::ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if start.elapsed() > limit {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Status and body of `GET path` on the HTTP port; 0 when nobody answers.
    pub fn http(&self, path: &str) -> (u16, String) {
        use std::io::{Read, Write};
        let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", self.http_port)) else {
            return (0, String::new());
        };
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let _ = write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        let status = text.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status, body.to_owned())
    }

    /// All that the router logged so far. A thread of its own writes it: what has just happened is given a moment.
    pub fn log_text(&self) -> String {
        std::thread::sleep(LOGGED);
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// The program, where `hosts` is given in a mount namespace of its own (unshare(1), of util-linux): for root, or where users may have such.
fn own_names(hosts: Option<&Path>) -> Command {
    // `PGLOOM_TEST_BIN`: another build of it, for what is to be measured and not only seen.
    let pgloom = std::env::var_os("PGLOOM_TEST_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_pgloom").into());
    let Some(hosts) = hosts else { return Command::new(pgloom) };
    let mut unshare = Command::new("unshare");
    unshare.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let mount = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
    unshare.args(["sh", "-c", mount]).arg(hosts).arg(pgloom);
    unshare
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let text = self.log_text();
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
            eprintln!("--- end of the router's log ({}) ---\n{}", self.log.display(), tail.join("\n"));
        } else {
            let _ = fs::remove_file(&self.log);
            let _ = fs::remove_file(&self.config);
        }
        // The maps that it served, by default.
        let mut maps = self.config.clone().into_os_string();
        maps.push(".maps");
        let _ = fs::remove_dir_all(maps);
    }
}
