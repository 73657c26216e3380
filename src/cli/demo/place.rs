//! `Place`: the demo's directory: who may use it, which ports it serves, what was loaded into it, and its `pgloom.toml`.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::num::NonZeroU16;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::DATABASE;
use super::data::{REFERENCE, SHARDED};
use super::error::DemoError;

/// Grows with every change of the schema or the data, so that a directory of an older pgloom isn't taken for ours.
const SCHEMA_VERSION: u32 = 1;
/// The user of Debian's package, for when we are root.
const POSTGRES_USER: &str = "postgres";
/// Where the data goes when user postgres can't enter the current directory (a checkout under /root).
const FALLBACK: &str = "/var/tmp/pgloom-demo";

/// Somebody who listens on 127.0.0.1 and how to log in there.
#[derive(Clone, Debug)]
pub struct Address {
    pub name: String,
    pub port: u16,
    pub password: Option<String>,
}

/// Where etcd listens, on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EtcdPorts {
    pub client: u16,
    pub peer: u16,
}

/// A directory that this process alone uses, from `claim` until it is dropped.
#[derive(Debug)]
pub struct Place {
    pub dir: PathBuf,
    pub shards: Vec<Address>,
    pub router: Address,
    pub metrics_port: u16,
    /// Where the shard map is; `None`: in the configuration.
    pub etcd: Option<EtcdPorts>,
    /// The directory of initdb and postgres.
    pub postgres_bin: PathBuf,
    /// Superuser of every shard, and its password.
    pub password: String,
    shape: String,
    _lock: File,
}

impl Place {
    /// Finds or makes the directory and picks the ports. Starts nothing.
    pub fn claim(
        dir: Option<&Path>,
        shards: NonZeroU16,
        port: NonZeroU16,
        rows: u64,
        with_etcd: bool,
    ) -> Result<Self, DemoError> {
        let postgres_bin = postgres_bin().ok_or(DemoError::NoPostgres)?;
        if is_root() && !user_exists() {
            return Err(DemoError::NoUser { user: POSTGRES_USER });
        }
        if with_etcd && !has_etcd() {
            return Err(DemoError::NoEtcd);
        }
        let port = port.get();
        if !is_free(port) {
            return Err(DemoError::PortTaken { port });
        }
        let dir = directory(dir)?;
        let lock = lock(&dir)?;
        let map = if with_etcd { ", the map in etcd" } else { "" };
        let shape = format!("schema {SCHEMA_VERSION}, {shards} shards, {rows} rows{map}");
        let found = fs::read_to_string(dir.join("demo")).unwrap_or_default();
        if !found.is_empty() && found != shape {
            return Err(DemoError::OtherShape { dir, found, wanted: shape });
        }
        write_file(&dir.join("demo"), 0o644, &shape)?;
        let password = password(&dir)?;
        // The map in etcd has the ports of the first start.
        let known = if with_etcd { fs::read_to_string(dir.join("ports")).unwrap_or_default() } else { String::new() };
        let mut ports = Ports { next: port, known: known.split(' ').filter_map(|port| port.parse().ok()).collect() };
        let shards = (1..=shards.get())
            .map(|i| Ok(Address { name: format!("shard{i}"), port: ports.take()?, password: Some(password.clone()) }));
        let shards = shards.collect::<Result<Vec<_>, DemoError>>()?;
        let metrics_port = ports.take()?;
        let router = Address { name: "the router".into(), port, password: None };
        let whole = general(port, metrics_port, &password) + &placement(&shards);
        let etcd = match with_etcd {
            true => Some(EtcdPorts { client: ports.take()?, peer: ports.take()? }),
            false => None,
        };
        let place = Self { dir, shards, router, metrics_port, etcd, postgres_bin, password, shape, _lock: lock };
        match place.etcd {
            None => write_file(&place.config_file(), 0o600, &whole)?,
            Some(EtcdPorts { client, peer }) => {
                let shards = place.shards.iter().map(|shard| shard.port);
                let ports: Vec<String> =
                    shards.chain([metrics_port, client, peer]).map(|port| port.to_string()).collect();
                write_file(&place.dir.join("ports"), 0o644, &ports.join(" "))?;
                write_file(&place.map_file(), 0o600, &whole)?;
                let copy = place.dir.join("map.json");
                let map = map_source(client, &copy.display().to_string());
                write_file(&place.config_file(), 0o600, &(general(port, metrics_port, &place.password) + &map))?;
            }
        }
        Ok(place)
    }

    /// The configuration with the shard map in it, of which the first map in etcd is made.
    pub fn map_file(&self) -> PathBuf {
        self.dir.join("first.toml")
    }

    /// A command that runs as the user that may write to the directory, and gets SIGTERM when this thread dies.
    pub fn etcd(&self, ports: &EtcdPorts) -> Command {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let mut command = unprivileged(&["--pdeathsig", "TERM"]);
        command.args(["etcd", "--name", "demo", "--data-dir"]).arg(self.dir.join("etcd"));
        command.args(["--listen-client-urls", &url(ports.client), "--advertise-client-urls", &url(ports.client)]);
        command.args(["--listen-peer-urls", &url(ports.peer), "--initial-advertise-peer-urls", &url(ports.peer)]);
        command.args(["--initial-cluster", &format!("demo={}", url(ports.peer))]);
        command.current_dir(&self.dir);
        command
    }

    pub fn config_file(&self) -> PathBuf {
        self.dir.join("pgloom.toml")
    }

    /// Read by initdb, as the user that runs Postgres.
    pub fn password_file(&self) -> PathBuf {
        self.dir.join("password")
    }

    pub fn data_dir(&self, shard: &Address) -> PathBuf {
        self.dir.join(&shard.name)
    }

    pub fn log_file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    /// Whether an earlier start got to the end of the load.
    pub fn is_loaded(&self) -> bool {
        fs::read_to_string(self.dir.join("loaded")).is_ok_and(|shape| shape == self.shape)
    }

    pub fn mark_loaded(&self) -> Result<(), DemoError> {
        write_file(&self.dir.join("loaded"), 0o644, &self.shape)
    }

    /// A command that runs as the user that may run Postgres and gets SIGINT when this thread dies, which Postgres takes for
    /// a fast shutdown.
    pub fn as_postgres_user(&self, program: &str) -> Command {
        let mut command = unprivileged(&["--pdeathsig", "INT"]);
        command.arg(self.postgres_bin.join(program)).env("LC_ALL", "C").stdin(Stdio::null());
        // Postgres looks at its working directory, and may not be allowed into ours.
        command.current_dir(&self.dir);
        command
    }
}

/// The part of a `pgloom.toml` that a reader can learn from which says nothing of shards.
fn general(port: u16, metrics_port: u16, password: &str) -> String {
    format!(
        r#"# Written by `pgloom demo` at each start.

[general]
host = "127.0.0.1"
port = {port}
metrics_listen = "127.0.0.1:{metrics_port}"
# Only for a demo on this machine: who says that he is a known user is believed.
auth_type = "trust"
# The shards have no certificates.
server_tls_sslmode = "disable"

[[users]]
name = "{DATABASE}"
server_password = "{password}"

[databases.{DATABASE}]
"#
    )
}

/// Where the rows are.
fn placement(shards: &[Address]) -> String {
    let mut text = format!(
        r#"
[[databases.{DATABASE}.distributions]]
name = "tenant"
method = "hash"
key_types = ["int4"]
"#
    );
    // Writing to a String cannot fail.
    for shard in shards {
        let (name, port) = (&shard.name, shard.port);
        let _ =
            write!(text, "\n[[databases.{DATABASE}.shards]]\nname = \"{name}\"\nhost = \"127.0.0.1\"\nport = {port}\n");
    }
    for (table, column) in SHARDED {
        let _ = write!(
            text,
            "\n[[databases.{DATABASE}.tables]]\nname = \"{table}\"\ndistribution = \"tenant\"\ncolumns = [\"{column}\"]\n"
        );
    }
    let _ = write!(text, "\n[[databases.{DATABASE}.tables]]\nname = \"{REFERENCE}\"\nreference = true\n");
    text
}

/// That etcd knows where the rows are.
fn map_source(client: u16, copy: &str) -> String {
    format!(
        r#"
# The shards and tables are in etcd: pgloom topology get --config this file
[topology]
source = "etcd"
endpoints = ["http://127.0.0.1:{client}"]
copy_file = "{copy}"
"#
    )
}

fn has_etcd() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join("etcd").exists())
}

/// Runs something without root's rights: as user postgres when we are root, else as ourselves.
fn unprivileged(options: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args(["--reuid", POSTGRES_USER, "--regid", POSTGRES_USER, "--init-groups"]);
        command.env("HOME", "/tmp");
    }
    command.args(options).arg("--");
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn user_exists() -> bool {
    let known = Command::new("id").arg(POSTGRES_USER).stdout(Stdio::null()).stderr(Stdio::null()).status();
    known.is_ok_and(|status| status.success())
}

/// The newest Postgres that is at least 14: `PGLOOM_PG_BIN`, Debian's directories, the PATH.
fn postgres_bin() -> Option<PathBuf> {
    let named = std::env::var_os("PGLOOM_PG_BIN").map(PathBuf::from);
    let mut debian: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    debian.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    named
        .into_iter()
        .chain(debian.into_iter().rev().map(|(_, bin)| bin))
        .chain(std::env::split_paths(&path))
        .find(|bin| bin.join("initdb").exists() && major_version(bin).is_some_and(|major| major >= 14))
}

fn major_version(bin: &Path) -> Option<u32> {
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    // "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)"
    text.split(' ').nth(2)?.split(['.', 'b', 'r', '\n']).next()?.parse().ok()
}

/// The named directory, or the first default one that the Postgres user can write to. Made if it isn't there.
fn directory(named: Option<&Path>) -> Result<PathBuf, DemoError> {
    match named {
        Some(dir) => usable(dir),
        None => match usable(Path::new(".demo")) {
            Err(DemoError::NoRights { .. }) => usable(Path::new(FALLBACK)),
            other => other,
        },
    }
}

fn usable(dir: &Path) -> Result<PathBuf, DemoError> {
    let io = |source| DemoError::Io { what: format!("{} can't be used", dir.display()), source };
    let made = !dir.exists();
    if made {
        fs::create_dir_all(dir).map_err(io)?;
    }
    let dir = dir.canonicalize().map_err(io)?;
    let empty = fs::read_dir(&dir).map_err(io)?.next().is_none();
    if !empty && !dir.join("demo").exists() {
        return Err(DemoError::NotOurs { dir });
    }
    // Before it is given away: a directory that can't be entered is left as it was.
    let reachable = dir.parent().is_none_or(|parent| may("-x", parent));
    if reachable && empty {
        if is_root() {
            Command::new("chown").arg(POSTGRES_USER).arg(&dir).status().map_err(io)?;
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).map_err(io)?;
    }
    if reachable && may("-w", &dir) {
        return Ok(dir);
    }
    if made {
        // It would be in nobody's way, but the user did not ask for it.
        let _ = fs::remove_dir(&dir);
    }
    Err(DemoError::NoRights { dir, user: if is_root() { POSTGRES_USER } else { "yourself" } })
}

/// Whether the user that runs Postgres passes `test FLAG PATH`.
fn may(flag: &str, path: &Path) -> bool {
    unprivileged(&[]).args(["test", flag]).arg(path).status().is_ok_and(|status| status.success())
}

fn lock(dir: &Path) -> Result<File, DemoError> {
    let io = |source| DemoError::Io { what: format!("{} can't be locked", dir.display()), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("lock")).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(DemoError::InUse { dir: dir.to_path_buf() }),
        Err(fs::TryLockError::Error(source)) => Err(io(source)),
    }
}

/// One random password for the superuser of all shards of this directory: they listen on TCP, where every local user can knock.
fn password(dir: &Path) -> Result<String, DemoError> {
    let path = dir.join("password");
    let io = |source| DemoError::Io { what: format!("no password in {}", path.display()), source };
    match fs::read_to_string(&path) {
        Ok(password) if !password.is_empty() => return Ok(password),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(error)),
        Ok(_) | Err(_) => (),
    }
    let mut random = [0_u8; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).map_err(io)?;
    let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    write_file(&path, 0o600, &password)?;
    if is_root() {
        Command::new("chown").arg(POSTGRES_USER).arg(&path).status().map_err(io)?;
    }
    Ok(password)
}

fn write_file(path: &Path, mode: u32, text: &str) -> Result<(), DemoError> {
    let io = |source| DemoError::Io { what: format!("{} can't be written", path.display()), source };
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(path).map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Free ports, upwards from the router's.
struct Ports {
    next: u16,
    /// Those that it must be first, in this order.
    known: VecDeque<u16>,
}

impl Ports {
    fn take(&mut self) -> Result<u16, DemoError> {
        if let Some(port) = self.known.pop_front() {
            return if is_free(port) { Ok(port) } else { Err(DemoError::PortTaken { port }) };
        }
        loop {
            self.next = self.next.checked_add(1).ok_or(DemoError::PortTaken { port: u16::MAX })?;
            if is_free(self.next) {
                return Ok(self.next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::Settings;
    use std::collections::HashMap;

    #[test]
    fn the_config_that_the_demo_writes_is_valid_and_names_every_table() {
        let shard = |i: u16| Address { name: format!("shard{i}"), port: 7000 + i, password: None };
        let text = general(6432, 9930, "secret") + &placement(&[shard(1), shard(2), shard(3)]);
        let settings = Settings::parse("pgloom.toml", &text, Path::new("/tmp"), HashMap::new());
        let settings = settings.map_err(|errors| errors.to_string()).unwrap();
        let topology = &settings.database(DATABASE).unwrap().topology;
        assert_eq!((topology.shards.len(), topology.tables.len()), (3, SHARDED.len() + 1));
        assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    }
}
