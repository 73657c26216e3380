//! Five real Postgres servers (four shards and one oracle), started by the first test that needs them and shared by all.
//!
//! Files: `target/test-clusters.start` is locked while servers start; every test process holds a shared lock on
//! `target/test-clusters.users` for its life. `scripts/test-clusters watch`, started with the servers, stops them and removes
//! their directory when nobody held that lock for a while; `scripts/test-clusters stop` does so at once.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::raw::Raw;

/// Shards among the shared servers.
pub const SHARD_SERVERS: usize = 4;

/// One running Postgres. Superuser `postgres`, trust on 127.0.0.1 but for the roles listed at [`Cluster`].
#[derive(Clone, Debug)]
pub struct Server {
    pub name: String,
    pub port: u16,
    pub data: PathBuf,
    /// Directory of its unix socket.
    pub sockets: PathBuf,
}

impl Server {
    /// A superuser's connection to `database`.
    pub fn connect(&self, database: &str) -> Raw {
        Raw::connect(self.port, "postgres", database).unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// The server's own log, which the test may quote.
    pub fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }
}

/// The shared servers. On each of them exist, beside the superuser `postgres`, the roles
/// `scram_user`, `md5_user` and `plain_user` (each authenticates that way, password `secret`),
/// `tls_user` (trust, but only over TLS) and `app` (trust, no superuser); and `scram_group`, whose members authenticate by SCRAM.
/// Their certificate (`localhost`, `127.0.0.1`) is signed by [`Cluster::ca`].
/// Default collation C.UTF-8, which is not Postgres's `C`; `max_connections` 200, `max_prepared_transactions` 64.
#[derive(Debug)]
pub struct Cluster {
    pub shards: Vec<Server>,
    pub oracle: Server,
    pub dir: PathBuf,
    _users: File,
}

impl Cluster {
    /// The servers, started now if they don't run yet.
    pub fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(attach)
    }

    /// The certificate (PEM) of the authority that signed the servers' certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("tls/ca.crt")
    }
}

fn attach() -> Cluster {
    let target = manifest().join("target");
    fs::create_dir_all(&target).unwrap();
    let users = open(&target.join("test-clusters.users"));
    users.lock_shared().unwrap();
    let start = open(&target.join("test-clusters.start"));
    start.lock().unwrap();
    let dir = directory();
    let servers = match running(&dir) {
        Some(servers) => servers,
        None => start_all(&dir, &target),
    };
    start.unlock().unwrap();
    let mut shards = servers;
    let oracle = shards.pop().unwrap();
    Cluster { shards, oracle, dir, _users: users }
}

fn manifest() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).unwrap()
}

/// Short, because a unix socket's path has at most 107 bytes, and outside of the checkout, which user `postgres` may not read.
fn directory() -> PathBuf {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in manifest().to_string_lossy().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    PathBuf::from(format!("{}/pgloom-test-{:08x}-{}", data_root(), hash as u32, own_uid()))
}

/// Where servers of tests have their data: in memory where there is plenty of it. On a disk most of the CPU time of all tests goes into the files
/// of databases that come and go. By what the machine has in all, so that every process says the same.
pub fn data_root() -> &'static str {
    static ROOT: OnceLock<bool> = OnceLock::new();
    let in_memory = || {
        const GIB_IN_KIB: u64 = 1 << 20;
        let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
        let memory: u64 = total.and_then(|kib| kib.trim().parse().ok()).unwrap_or(0);
        let df = Command::new("df").args(["-k", "--output=fstype,size", "/dev/shm"]).output();
        let df = df.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
        let mut words = df.lines().nth(1).unwrap_or_default().split_whitespace();
        let is_memory = words.next() == Some("tmpfs");
        let room: u64 = words.next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        is_memory && room >= 8 * GIB_IN_KIB && memory >= 15 * GIB_IN_KIB
    };
    if *ROOT.get_or_init(in_memory) { "/dev/shm" } else { "/tmp" }
}

fn own_uid() -> u32 {
    fs::metadata("/proc/self").map(|m| m.uid()).unwrap_or(0)
}

/// A port that nothing listens on now, below the range from which the kernel takes ports of outgoing connections.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
        let mixed =
            (std::process::id().wrapping_mul(7919)).wrapping_add(step.wrapping_mul(104_729)).wrapping_add(nanos);
        let port = 10_000 + (mixed % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The directory of initdb and postgres: `PGLOOM_PG_BIN`, else Debian's newest, else the PATH.
pub fn postgres_bin() -> PathBuf {
    let mut candidates: Vec<PathBuf> = std::env::var_os("PGLOOM_PG_BIN").map(PathBuf::from).into_iter().collect();
    let mut debian: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some((e.file_name().to_str()?.parse().ok()?, e.path().join("bin"))))
        .collect();
    debian.sort();
    candidates.extend(debian.into_iter().rev().map(|(_, path)| path));
    candidates.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    candidates
        .into_iter()
        .find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists())
        .expect("no Postgres found; install it (make setup) or set PGLOOM_PG_BIN to the directory of initdb")
}

/// A command that runs as a user that Postgres accepts: `postgres` when we are root.
pub fn as_postgres(program: impl AsRef<Path>) -> Command {
    let program = program.as_ref();
    let mut command = if own_uid() == 0 {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program).env("HOME", "/tmp");
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/tmp").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

fn run(mut command: Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?} failed\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The servers of the state file, if every one of them answers.
fn running(dir: &Path) -> Option<Vec<Server>> {
    let state = fs::read_to_string(dir.join("state")).ok()?;
    let servers: Vec<Server> = state
        .lines()
        .filter_map(|line| {
            let (name, port) = line.split_once(' ')?;
            Some(server(dir, name, port.parse().ok()?))
        })
        .collect();
    let alive = |s: &Server| Raw::connect(s.port, "postgres", "postgres").is_ok();
    (servers.len() == SHARD_SERVERS + 1 && servers.iter().all(alive)).then_some(servers)
}

fn server(dir: &Path, name: &str, port: u16) -> Server {
    Server { name: name.to_owned(), port, data: dir.join(name), sockets: dir.to_path_buf() }
}

fn start_all(dir: &Path, target: &Path) -> Vec<Server> {
    let script = manifest().join("scripts/test-clusters");
    let mut clear = Command::new(&script);
    clear.arg("clear").arg(dir);
    run(clear);

    let bin = postgres_bin();
    let mut mkdir = as_postgres("/bin/mkdir");
    mkdir.args(["-m", "755"]).arg(dir);
    run(mkdir);
    // One initdb and four copies: an initdb costs a second of CPU.
    let first = server(dir, "shard0", free_port());
    let mut initdb = as_postgres(bin.join("initdb"));
    initdb.arg("-D").arg(&first.data);
    initdb.args(["-U", "postgres", "-N", "-E", "UTF8", "--locale=C.UTF-8", "--auth=trust"]);
    run(initdb);
    make_certificates(dir);
    let mut servers = vec![first];
    for name in ["shard1", "shard2", "shard3", "oracle"] {
        let copy = server(dir, name, free_port());
        let mut cp = as_postgres("/bin/cp");
        cp.arg("-a").arg(&servers[0].data).arg(&copy.data);
        run(cp);
        servers.push(copy);
    }
    std::thread::scope(|scope| {
        for server in &servers {
            scope.spawn(|| start_one(server, &bin));
        }
    });
    let state: String = servers.iter().map(|s| format!("{} {}\n", s.name, s.port)).collect();
    fs::write(dir.join("state"), state).unwrap();
    fs::write(target.join("test-clusters.dir"), dir.as_os_str().as_encoded_bytes()).unwrap();
    // In a session of its own: it outlives this process, and Ctrl-C in the terminal doesn't reach it.
    let status = Command::new("setsid")
        .arg("--fork")
        .arg(&script)
        .arg("watch")
        .arg(dir)
        .env("PGLOOM_PG_BIN", &bin)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("setsid starts the watcher of the test clusters");
    assert!(status.success());
    servers
}

fn start_one(server: &Server, bin: &Path) {
    let conf = format!(
        "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n\
         shared_buffers = 16MB\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n\
         max_connections = 200\nmax_prepared_transactions = 64\nmax_wal_size = 256MB\nwal_level = logical\n\
         ssl = on\nssl_cert_file = '../tls/server.crt'\nssl_key_file = '../tls/server.key'\n\
         autovacuum = off\njit = off\nlog_line_prefix = '%m [%p] %u@%d '\nlog_min_error_statement = error\n\
         timezone = 'UTC'\nlog_timezone = 'UTC'\ncluster_name = '{}'\n",
        server.port,
        server.sockets.display(),
        server.name
    );
    // Appended and written as root: the owner of the files stays.
    append(&server.data.join("postgresql.conf"), &conf);
    fs::write(
        server.data.join("pg_hba.conf"),
        "local all all trust\n\
         host all plain_user 127.0.0.1/32 password\n\
         host all md5_user 127.0.0.1/32 md5\n\
         host all scram_user 127.0.0.1/32 scram-sha-256\n\
         host all +scram_group 127.0.0.1/32 scram-sha-256\n\
         hostssl all tls_user 127.0.0.1/32 trust\n\
         host all tls_user 127.0.0.1/32 reject\n\
         host all all 127.0.0.1/32 trust\n\
         host replication all 127.0.0.1/32 trust\n",
    )
    .unwrap();
    let mut start = as_postgres(bin.join("pg_ctl"));
    start.args(["start", "-w", "-t", "60", "-s", "-D"]).arg(&server.data).arg("-l").arg(server.log());
    start.stdout(Stdio::null()).stderr(Stdio::null());
    let status = start.status().expect("pg_ctl starts");
    if !status.success() {
        panic!("{} does not start:\n{}", server.name, fs::read_to_string(server.log()).unwrap_or_default());
    }
    let mut admin = server.connect("postgres");
    admin.must(
        "SET password_encryption = 'md5'; CREATE ROLE md5_user LOGIN PASSWORD 'secret'; \
         SET password_encryption = 'scram-sha-256'; CREATE ROLE scram_user LOGIN PASSWORD 'secret'; \
         CREATE ROLE plain_user LOGIN PASSWORD 'secret'; CREATE ROLE tls_user LOGIN; CREATE ROLE app LOGIN; CREATE ROLE scram_group; \
         GRANT pg_read_all_data, pg_write_all_data TO md5_user, scram_user, plain_user, tls_user, app",
    );
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// An authority and a server certificate, new for each start.
fn make_certificates(dir: &Path) {
    let owner = fs::metadata(dir).unwrap();
    let tls = dir.join("tls");
    fs::create_dir(&tls).unwrap();
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "pgloom test authority");
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    for (name, text) in [("ca.crt", ca_pem), ("server.crt", certificate.pem()), ("server.key", key.serialize_pem())] {
        let path = tls.join(name);
        fs::write(&path, text).unwrap();
        let mode = if name == "server.key" { 0o600 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        std::os::unix::fs::chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
}
