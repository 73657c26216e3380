//! An etcd of one test's own, of one or three members, which it may kill, freeze, empty and start again.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use etcd_client::{Client, ConnectOptions};
use rustix::process::{Pid, Signal, kill_process};

use super::cluster::{data_root, free_port};
use super::pipe::Pipe;

/// Stopped and removed with the value.
pub struct EtcdCluster {
    pub dir: PathBuf,
    members: Vec<Member>,
    /// Certificate, key and authority of the members; with them they speak TLS with their clients.
    tls: Option<Tls>,
    /// Further arguments of all members.
    more: Vec<String>,
}

pub struct Tls {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
    /// Whether clients must show a certificate of the authority.
    pub mutual: bool,
}

struct Member {
    port: u16,
    peer_port: u16,
    /// The way on which the other members come to it, where it can be cut.
    way: Option<Pipe>,
    child: Option<Child>,
    /// Of a new cluster after each time that all were emptied.
    token: u32,
}

impl Member {
    /// Where the others find it.
    fn known_port(&self) -> u16 {
        self.way.as_ref().map_or(self.peer_port, |way| way.port)
    }
}

impl EtcdCluster {
    pub fn start(members: usize) -> Self {
        Self::start_with(members, None)
    }

    pub fn start_with(members: usize, tls: Option<Tls>) -> Self {
        Self::start_more(members, tls, &[])
    }

    /// With further arguments.
    pub fn start_more(members: usize, tls: Option<Tls>, more: &[&str]) -> Self {
        Self::start_on(members, tls, more, |_| None)
    }

    /// The ways between the members can be cut ([`Self::part`]).
    pub fn start_parted(members: usize) -> Self {
        Self::start_on(members, None, &[], |port| Some(Pipe::start(port)))
    }

    fn start_on(members: usize, tls: Option<Tls>, more: &[&str], way: impl Fn(u16) -> Option<Pipe>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = PathBuf::from(format!("{}/pgloom-etcd-{}-{number}", data_root(), std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let member = |_| {
            let peer_port = free_port();
            Member { port: free_port(), peer_port, way: way(peer_port), child: None, token: 0 }
        };
        let more = more.iter().map(|argument| (*argument).to_owned()).collect();
        let mut cluster = Self { dir, members: (0..members).map(member).collect(), tls, more };
        cluster.start_all();
        cluster
    }

    /// All that are down, and waits until the cluster answers.
    pub fn start_all(&mut self) {
        for member in 0..self.members.len() {
            self.start_member(member);
        }
        if self.tls.is_none() {
            self.wait_for_leader();
        }
    }

    pub fn wait_for_leader(&self) {
        let start = Instant::now();
        while self.tried(async |mut client| client.get("any", None).await.map(drop)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(30), "etcd gives no answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn start_member(&mut self, number: usize) {
        if self.members[number].child.is_some() {
            return;
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let all = self.members.iter().enumerate();
        let all: Vec<_> = all.map(|(i, member)| format!("m{i}=http://127.0.0.1:{}", member.known_port())).collect();
        let member = &self.members[number];
        let (client, peer) =
            (format!("{scheme}://127.0.0.1:{}", member.port), format!("http://127.0.0.1:{}", member.peer_port));
        let known = format!("http://127.0.0.1:{}", member.known_port());
        let log = File::create(self.dir.join(format!("m{number}.log"))).unwrap();
        // Gone with the thread that starts it, also where that is killed.
        let mut etcd = Command::new("setpriv");
        etcd.args(["--pdeathsig", "KILL", "etcd", "--name", &format!("m{number}"), "--data-dir"]);
        etcd.arg(self.dir.join(format!("m{number}")));
        etcd.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        etcd.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &known]);
        etcd.args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"]);
        etcd.args(["--initial-cluster-token", &format!("t{}", member.token)]);
        etcd.args(["--heartbeat-interval", "50", "--election-timeout", "500", "--logger", "zap"]);
        etcd.args(&self.more);
        if let Some(tls) = &self.tls {
            etcd.arg("--cert-file").arg(&tls.cert).arg("--key-file").arg(&tls.key);
            if tls.mutual {
                etcd.arg("--client-cert-auth").arg("--trusted-ca-file").arg(&tls.ca);
            }
        }
        let child = etcd.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.members[number].child = Some(child.expect("etcd is not installed (make setup)"));
    }

    pub fn port(&self, member: usize) -> u16 {
        self.members[member].port
    }

    /// As a list in TOML.
    pub fn endpoints(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let ports: Vec<u16> = self.members.iter().map(|member| member.port).collect();
        endpoints(scheme, &ports)
    }

    /// As a machine that loses its power.
    pub fn kill(&mut self, member: usize) {
        if let Some(mut child) = self.members[member].child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn kill_all(&mut self) {
        (0..self.members.len()).for_each(|member| self.kill(member));
    }

    /// All of them are begun anew: there is nothing in the cluster, and its revisions begin at one.
    pub fn empty(&mut self) {
        self.kill_all();
        for number in 0..self.members.len() {
            let _ = fs::remove_dir_all(self.dir.join(format!("m{number}")));
            self.members[number].token += 1;
        }
        self.start_all();
    }

    /// It does not move, and its connections stay open.
    pub fn freeze(&self, member: usize) {
        self.signal(member, Signal::STOP);
    }

    pub fn thaw(&self, member: usize) {
        self.signal(member, Signal::CONT);
    }

    /// The others hear nothing of this one, nor it of them. Clients reach all.
    pub fn part(&self, member: usize) {
        let listed = self.ask(async |mut client| client.member_list().await);
        let name = format!("m{member}");
        let known = listed.members().iter().find(|listed| listed.name() == name).expect("it is a member");
        // Each request of one member to another says of whom it is.
        let sign = format!("X-Server-From: {:x}\r\n", known.id());
        for (number, other) in self.members.iter().enumerate() {
            let way = other.way.as_ref().expect("started by start_parted");
            if number == member { way.cut() } else { way.cut_off(&sign) }
        }
    }

    /// All hear each other again.
    pub fn join(&self) {
        self.members.iter().filter_map(|member| member.way.as_ref()).for_each(Pipe::mend);
    }

    /// Whether this one, asked alone, knows of a leader.
    pub fn leads(&self, member: usize) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let endpoint = [format!("http://127.0.0.1:{}", self.members[member].port)];
        runtime.block_on(async {
            let status = Client::connect(&endpoint, None).await.unwrap().status().await;
            status.is_ok_and(|status| status.leader() != 0)
        })
    }

    fn signal(&self, member: usize, signal: Signal) {
        let child = self.members[member].child.as_ref().expect("the member runs");
        kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Asks the cluster something, past pgloom.
    pub fn ask<T>(&self, what: impl AsyncFnOnce(Client) -> Result<T, etcd_client::Error>) -> T {
        self.tried(what).unwrap()
    }

    pub fn tried<T>(
        &self,
        what: impl AsyncFnOnce(Client) -> Result<T, etcd_client::Error>,
    ) -> Result<T, etcd_client::Error> {
        self.tried_as(None, what)
    }

    pub fn tried_as<T>(
        &self,
        login: Option<(&str, &str)>,
        what: impl AsyncFnOnce(Client) -> Result<T, etcd_client::Error>,
    ) -> Result<T, etcd_client::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let endpoints: Vec<String> =
            self.members.iter().map(|member| format!("http://127.0.0.1:{}", member.port)).collect();
        let mut options =
            ConnectOptions::new().with_timeout(Duration::from_secs(2)).with_connect_timeout(Duration::from_secs(1));
        if let Some((user, password)) = login {
            options = options.with_user(user, password).with_auto_token_refresh(true);
        }
        runtime.block_on(async { what(Client::connect(&endpoints, Some(options)).await?).await })
    }
}

/// A list in TOML.
pub fn endpoints(scheme: &str, ports: &[u16]) -> String {
    let all: Vec<_> = ports.iter().map(|port| format!("\"{scheme}://127.0.0.1:{port}\"")).collect();
    format!("[{}]", all.join(", "))
}

impl Drop for EtcdCluster {
    fn drop(&mut self) {
        self.kill_all();
        if std::thread::panicking() {
            for number in 0..self.members.len() {
                let log = fs::read_to_string(self.dir.join(format!("m{number}.log"))).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let tail = &lines[lines.len().saturating_sub(5)..];
                eprintln!("--- end of the log of etcd m{number} ---\n{}", tail.join("\n"));
            }
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
