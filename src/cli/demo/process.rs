//! The processes of a demo: the shards' Postgres servers and the router. They end when `Processes` stops them, and also when
//! this process dies without doing so: each was started under `setpriv --pdeathsig`.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use futures::future::{join_all, select_all};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{Client, NoTls};

use super::DATABASE;
use super::error::{DemoError, describe};
use super::place::{Address, EtcdPorts, Place};
use super::report::say;

/// For a server to come up; the disk may be slow and crash recovery may be due.
const START_LIMIT: Duration = Duration::from_secs(60);
/// For a process to end after it was asked to, before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// Lines of a log that an error quotes.
const TAIL_LINES: usize = 15;

/// Every process that the demo started and that may still run.
#[derive(Default)]
pub struct Processes {
    router: Option<Running>,
    shards: Vec<Running>,
}

struct Running {
    name: String,
    log: PathBuf,
    child: Child,
    /// What asks it to end in an orderly way, without waiting for its clients.
    stop_signal: Signal,
}

impl Processes {
    pub fn is_empty(&self) -> bool {
        self.router.is_none() && self.shards.is_empty()
    }

    /// Makes the shards that don't exist yet, starts all, and waits until each answers.
    pub async fn start_shards(&mut self, place: &Place) -> Result<(), DemoError> {
        say(format_args!("starting {} Postgres servers in {}", place.shards.len(), place.dir.display()));
        for made in join_all(place.shards.iter().map(|shard| initialize(place, shard))).await {
            made?;
        }
        for shard in &place.shards {
            let port = shard.port;
            let mut command = place.as_postgres_user("postgres");
            command.arg("-D").arg(place.data_dir(shard));
            for setting in [
                format!("port={port}"),
                "listen_addresses=127.0.0.1".into(),
                // The path of the directory may be too long for a unix socket.
                "unix_socket_directories=".into(),
                "max_prepared_transactions=100".into(),
                "shared_buffers=64MB".into(),
                "synchronous_commit=off".into(),
                "max_wal_size=1GB".into(),
                "cluster_name=".to_owned() + &shard.name,
            ] {
                command.arg("-c").arg(setting);
            }
            self.shards.push(Running::start(place, &shard.name, command, Signal::INT)?);
        }
        for (shard, running) in place.shards.iter().zip(&mut self.shards) {
            let client = running.wait_for(shard, "postgres", "postgres").await?;
            let sql = |source| DemoError::Sql { what: format!("{} can't be set up", shard.name), source };
            let known =
                client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&DATABASE]).await.map_err(sql)?;
            if known.is_none() {
                let role = format!("CREATE ROLE {DATABASE} LOGIN PASSWORD '{}'", place.password);
                client.batch_execute(&role).await.map_err(sql)?;
                // Last, so that its presence says that all is set up.
                client.batch_execute(&format!("CREATE DATABASE {DATABASE} OWNER {DATABASE}")).await.map_err(sql)?;
            }
        }
        Ok(())
    }

    /// Starts etcd and puts the first map into it, where it has none yet.
    pub async fn start_etcd(&mut self, place: &Place, ports: &EtcdPorts) -> Result<(), DemoError> {
        let mut etcd = Running::start(place, "etcd", place.etcd(ports), Signal::TERM)?;
        let done = etcd.take_map(place).await;
        // It is stopped with the others, whatever came of it.
        self.shards.push(etcd);
        done?;
        say(format_args!("etcd listens on 127.0.0.1:{}, and has the shard map", ports.client));
        Ok(())
    }

    /// Starts `pgloom serve` and waits until it lets a client in.
    pub async fn start_router(&mut self, place: &Place) -> Result<(), DemoError> {
        let mut command = own_program()?;
        command.arg("serve").arg("--config").arg(place.config_file());
        let router = self.router.insert(Running::start(place, "router", command, Signal::TERM)?);
        router.wait_for(&place.router, DATABASE, DATABASE).await?;
        say(format_args!("pgloom listens on 127.0.0.1:{}", place.router.port));
        Ok(())
    }

    /// Returns when the router ended by itself. A shard that ends is only told of: somebody may want to see what happens.
    pub async fn watch(&mut self) -> Result<(), DemoError> {
        let Some(router) = &mut self.router else { return Ok(()) };
        loop {
            if self.shards.is_empty() {
                let _ = router.child.wait().await;
                return Err(router.ended());
            }
            let shards = select_all(self.shards.iter_mut().map(|shard| Box::pin(shard.child.wait())));
            let gone = tokio::select! {
                _ = router.child.wait() => return Err(router.ended()),
                (_, index, _) = shards => index,
            };
            let gone = self.shards.remove(gone);
            say(format_args!("{} ended; its log is {}", gone.name, gone.log.display()));
        }
    }

    /// Ends the router, then the shards, and returns when all are gone.
    pub async fn stop(&mut self) {
        if let Some(router) = self.router.take() {
            router.stop().await;
        }
        join_all(self.shards.drain(..).map(Running::stop)).await;
    }
}

impl Running {
    fn start(place: &Place, name: &str, mut command: Command, stop_signal: Signal) -> Result<Self, DemoError> {
        use std::os::unix::process::CommandExt;
        let log = place.log_file(name);
        let io = |source| DemoError::Io { what: format!("{name} can't be started"), source };
        let output: File = OpenOptions::new().create(true).write(true).truncate(true).open(&log).map_err(io)?;
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(io)?).stderr(output);
        // In a process group of its own: Ctrl-C is for us, and we stop them in order.
        command.process_group(0);
        let child = tokio::process::Command::from(command).spawn().map_err(io)?;
        Ok(Self { name: name.to_owned(), log, child, stop_signal })
    }

    /// Tries to log in until it works or the process has ended.
    async fn wait_for(&mut self, address: &Address, user: &str, database: &str) -> Result<Client, DemoError> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let error = match log_in(address, user, database).await {
                Ok(client) => return Ok(client),
                Err(error) => error,
            };
            let ended = !matches!(self.child.try_wait(), Ok(None));
            // A login that is turned down stays so; one that comes too early does not.
            let refused = error.code().is_some_and(|code| code.code().starts_with("28") || code.code() == "3D000");
            if ended || refused || Instant::now() > deadline {
                let tail = format!("{}\n(last try: {})", tail(&self.log), describe(&error));
                return Err(DemoError::NotStarted { what: self.name.clone(), log: self.log.clone(), tail });
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Tries to put the first map into this etcd until it is there, or was before.
    async fn take_map(&mut self, place: &Place) -> Result<(), DemoError> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let mut init = own_program()?;
            init.args(["topology", "init", "--config"]).arg(place.config_file()).arg("--from").arg(place.map_file());
            let io = |source| DemoError::Io { what: "the map can't be made".into(), source };
            let output = tokio::process::Command::from(init).output().await.map_err(io)?;
            // 1: there is one already.
            if matches!(output.status.code(), Some(0 | 1)) {
                return Ok(());
            }
            if !matches!(self.child.try_wait(), Ok(None)) || Instant::now() > deadline {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                let tail = format!("{}\n(last try: {said})", tail(&self.log));
                return Err(DemoError::NotStarted { what: self.name.clone(), log: self.log.clone(), tail });
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn ended(&self) -> DemoError {
        DemoError::Ended { what: format!("the {}", self.name), log: self.log.clone(), tail: tail(&self.log) }
    }

    async fn stop(mut self) {
        let Some(pid) = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) else { return };
        // The standard library can only kill; a shard must be asked. The child is not reaped yet: its number is its own.
        let asked = kill_process(pid, self.stop_signal);
        if asked.is_ok() && timeout(STOP_LIMIT, self.child.wait()).await.is_ok() {
            return;
        }
        say(format_args!("{} does not end; killing it", self.name));
        let _ = self.child.kill().await;
    }
}

/// This program, which gets SIGTERM when this thread dies.
fn own_program() -> Result<Command, DemoError> {
    let io = |source| DemoError::Io { what: "this program is not found".into(), source };
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(std::env::current_exe().map_err(io)?);
    // They would go before the file that we wrote.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PGLOOM_")) {
        command.env_remove(name);
    }
    Ok(command)
}

/// Logs in as the user that the demo made for the application.
pub async fn connect(address: &Address) -> Result<Client, DemoError> {
    let what = || format!("no connection to {}", address.name);
    log_in(address, DATABASE, DATABASE).await.map_err(|source| DemoError::Sql { what: what(), source })
}

async fn log_in(address: &Address, user: &str, database: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(address.port).user(user).dbname(database).application_name("pgloom demo");
    config.connect_timeout(Duration::from_secs(5));
    if let Some(password) = &address.password {
        config.password(password);
    }
    let (client, connection) = config.connect(NoTls).await?;
    // It ends when the client is dropped; an error reaches the client's next call.
    tokio::spawn(connection);
    Ok(client)
}

/// Makes a shard's data directory under another name first, so that one that was interrupted isn't taken for whole.
async fn initialize(place: &Place, shard: &Address) -> Result<(), DemoError> {
    let data = place.data_dir(shard);
    if data.exists() {
        return Ok(());
    }
    let half = data.with_extension("new");
    let io = |source| DemoError::Io { what: format!("{} can't be made", data.display()), source };
    if half.exists() {
        fs::remove_dir_all(&half).map_err(io)?;
    }
    let mut initdb = place.as_postgres_user("initdb");
    initdb.arg("-D").arg(&half).arg("--pwfile").arg(place.password_file());
    // The C locale: its order of text is one that the router can merge by.
    initdb.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]);
    let output = tokio::process::Command::from(initdb).output().await.map_err(io)?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(DemoError::Command { command: "initdb".into(), output });
    }
    fs::rename(&half, &data).map_err(io)
}

fn tail(log: &std::path::Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default().join("\n")
}
