//! The commands, one file (or folder) each.

pub mod check;
pub mod demo;
pub mod explain;
mod failed;
mod log;
mod out;
pub mod routers;
pub mod serve;
pub mod topology;
pub mod txn;
pub mod unique;
pub mod users;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use out::complain;

use crate::app::shared_users;
use crate::config::{ConfigErrors, Document, Draft, MapSettings, Settings};
use crate::control::etcd::{Etcd, StoreError};
use crate::control::map::copy;

/// Exit code of a command that did what it was asked and found something wrong (`check`, `explain` of a refusal).
pub const FOUND_WRONG: u8 = 1;
/// Exit code of a configuration or call that cannot be used.
pub const UNUSABLE: u8 = 2;

#[derive(Debug, Parser)]
#[command(
    name = "pgloom",
    version,
    about = "A sharding query router that speaks the PostgreSQL wire protocol",
    after_help = "Examples:\n  \
        pgloom demo                              a router, four real shards and a loaded shop, on this machine\n  \
        pgloom check --config pgloom.toml        is the file right, do the shards answer, do they agree?\n  \
        pgloom serve --config pgloom.toml        run the router\n  \
        pgloom explain --config pgloom.toml \"SELECT * FROM orders WHERE tenant_id = 7\"\n  \
        pgloom txn list --config pgloom.toml     what commits over several shards have left prepared"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the router
    Serve(serve::ServeArgs),
    /// Check the configuration, the shards behind it, and that they agree with each other
    Check(check::CheckArgs),
    /// Tell where a statement would go, and why, without running it
    Explain(explain::ExplainArgs),
    /// List or finish what commits over several shards have left prepared
    Txn(txn::TxnArgs),
    /// Make, read, compare and change the shard map that routers share through etcd
    Topology(topology::TopologyArgs),
    /// List the routers that share a shard map, and the epoch that each serves
    Routers(routers::RoutersArgs),
    /// List, add and remove the users that routers share through etcd
    Users(users::UsersArgs),
    /// Register the values that are unique over all shards
    Unique(unique::UniqueArgs),
    /// Start real local shards and a router, load a sample shop, show what happens
    Demo(demo::DemoArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Txn(args) => txn::run(&args),
        Command::Topology(args) => topology::run(&args),
        Command::Routers(args) => routers::run(&args),
        Command::Users(args) => users::run(&args),
        Command::Unique(args) => unique::run(&args),
        Command::Demo(args) => demo::run(&args),
    }
}

/// The file that every command reads.
#[derive(Debug, clap::Args)]
pub struct ConfigArg {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", env = "PGLOOM_CONFIG", default_value = "pgloom.toml")]
    pub config: PathBuf,
}

/// Reads the settings, with the map where it stands in etcd, or tells on stderr what is wrong: every error with its line and its remedy.
fn load(path: &Path) -> Result<Settings, ExitCode> {
    let draft = Draft::load(path).map_err(unusable)?;
    let MapSettings::Etcd(etcd) = draft.map_source().map_err(unusable)? else {
        return draft.settings(None).map_err(unusable);
    };
    let failed = |error: &dyn std::fmt::Display| {
        complain!("pgloom: {error}");
        ExitCode::from(UNUSABLE)
    };
    let look = runtime()?.block_on(async {
        let mut connection = Etcd::new(&etcd).any().await?;
        let users = match &etcd.users_file {
            Some(_) => connection.users().await?.1,
            None => None,
        };
        Ok::<_, StoreError>((connection.look().await?, users.map(|users| users.text)))
    });
    let (look, users) = match look {
        Ok((look, users)) => (Ok(look), users),
        Err(error) => (Err(error), shared_users::kept(&etcd)),
    };
    let draft = users.map_or_else(|| draft.clone(), |users| draft.with_users(&users));
    let text = match look {
        Ok(look) => look
            .map
            .map(|stored| stored.text)
            .transpose()
            .map_err(|unreadable| failed(&format_args!("{}/map: {unreadable}", etcd.prefix)))?,
        Err(error) => {
            let kept = copy::read(&etcd.copy_file, &etcd.prefix).ok().flatten().ok_or_else(|| failed(&error))?;
            complain!("pgloom: warning: {error}; using the copy of the map, {}", etcd.copy_file.display());
            Some(kept.text)
        }
    };
    let text = text.ok_or_else(|| failed(&"there is no map in etcd; make one with pgloom topology init"))?;
    let document = Document::parse(&format!("{}/map", etcd.prefix), &text).map_err(unusable)?;
    draft.settings(Some(&document)).map_err(unusable)
}

fn unusable(errors: ConfigErrors) -> ExitCode {
    for error in &errors.0 {
        complain!("pgloom: {error}");
    }
    ExitCode::from(UNUSABLE)
}

/// A runtime for commands that end by themselves.
fn runtime() -> Result<tokio::runtime::Runtime, ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        complain!("pgloom: the runtime cannot be started: {error}");
        ExitCode::from(UNUSABLE)
    })
}
