//! What can go wrong in a demo, in words for somebody who sees pgloom for the first time.

use std::path::PathBuf;

/// Why a demo can't go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("no Postgres of version 14 or newer is installed")]
    NoPostgres,
    #[error("etcd is not installed")]
    NoEtcd,
    #[error("port {port} on 127.0.0.1 is in use")]
    PortTaken { port: u16 },
    #[error("Postgres refuses to run as root, and there is no user {user:?} to run it as")]
    NoUser { user: &'static str },
    #[error("user {user:?}, who is to run Postgres, can't write to {}", dir.display())]
    NoRights { dir: PathBuf, user: &'static str },
    #[error("another demo runs in {}", dir.display())]
    InUse { dir: PathBuf },
    #[error("{} exists and was not made by `pgloom demo`", dir.display())]
    NotOurs { dir: PathBuf },
    #[error("{} holds a demo with {found}; this one is to have {wanted}", dir.display())]
    OtherShape { dir: PathBuf, found: String, wanted: String },
    #[error("{what}: {source}")]
    Io { what: String, source: std::io::Error },
    #[error("{command} failed: {output}")]
    Command { command: String, output: String },
    #[error("{what} did not start; the end of {}:\n{tail}", log.display())]
    NotStarted { what: String, log: PathBuf, tail: String },
    #[error("{what} ended by itself; the end of {}:\n{tail}", log.display())]
    Ended { what: String, log: PathBuf, tail: String },
    #[error("{what}: {}", describe(source))]
    Sql { what: String, source: tokio_postgres::Error },
    #[error("{sent} rows were sent to {table}, but the shards have {found}")]
    Misplaced { table: &'static str, sent: u64, found: u64 },
    #[error("wrong answer to {sql:?}: expected {expected}, got {got}")]
    Wrong { sql: &'static str, expected: String, got: String },
}

impl DemoError {
    /// The way out, where there is one to tell.
    pub fn hint(&self) -> Option<String> {
        match self {
            DemoError::NoPostgres => Some(
                "install it (Debian: apt-get install postgresql) or put its bin directory into PGLOOM_PG_BIN".into(),
            ),
            DemoError::NoEtcd => Some("install it (Debian: apt-get install etcd-server), or leave --etcd out".into()),
            DemoError::PortTaken { .. } => Some("name another one with --port".into()),
            DemoError::NoUser { .. } => {
                Some("install Postgres's package, which makes that user, or don't run as root".into())
            }
            DemoError::NoRights { .. } => {
                Some("name a directory that this user can enter, as in --dir /var/tmp/demo".into())
            }
            DemoError::InUse { .. } => Some("stop it, or name another directory with --dir".into()),
            DemoError::NotOurs { .. } => Some("name a new directory with --dir".into()),
            DemoError::OtherShape { dir, .. } => {
                Some(format!("name another directory with --dir, or remove {} first", dir.display()))
            }
            DemoError::Io { .. }
            | DemoError::Command { .. }
            | DemoError::NotStarted { .. }
            | DemoError::Ended { .. }
            | DemoError::Sql { .. }
            | DemoError::Misplaced { .. }
            | DemoError::Wrong { .. } => None,
        }
    }
}

/// The server's message with its SQLSTATE, DETAIL and HINT; tokio-postgres alone would print `db error`.
pub fn describe(error: &tokio_postgres::Error) -> String {
    let Some(db) = error.as_db_error() else { return error.to_string() };
    let mut text = format!("{} (SQLSTATE {})", db.message(), db.code().code());
    for (name, value) in [("DETAIL", db.detail()), ("HINT", db.hint())] {
        if let Some(value) = value {
            text.push_str(&format!("; {name}: {value}"));
        }
    }
    text
}
