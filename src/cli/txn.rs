//! `pgloom txn`: what two-phase commits have left prepared on the shards, and their end.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::app;
use crate::backend::cluster::Database;
use crate::cli::out::{complain, say};
use crate::cli::{ConfigArg, FOUND_WRONG, UNUSABLE, load, runtime};
use crate::config::parse_duration;
use crate::control::resolver::{Resolved, resolve};
use crate::control::transactions::{Listing, Prepared, list};

#[derive(Debug, clap::Args)]
pub struct TxnArgs {
    #[command(subcommand)]
    command: TxnCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TxnCommand {
    /// List what is prepared on every shard, and how it was decided
    #[command(
        after_help = "Exit status: 0 every shard answered, 1 one did not, 2 the call or the configuration cannot be used."
    )]
    List(ListArgs),
    /// Commit or roll back what is prepared, by its decision, as the routers themselves do
    #[command(
        after_help = "A transaction without decision is rolled back; a router that is still committing it is told so and tells its \
        client.\nExit status: 0 nothing is left, 1 something is, 2 the call or the configuration cannot be used."
    )]
    Resolve(ResolveArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The logical database; all of the file when left out
    #[arg(short, long)]
    database: Option<String>,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ResolveArgs {
    #[command(flatten)]
    common: ListArgs,
    /// Leave what is younger to its router. Default: two_phase_grace
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    older_than: Option<Duration>,
    /// Only this transaction, by its gid or that of one of its parts; all when left out
    gid: Option<String>,
}

pub fn run(args: &TxnArgs) -> ExitCode {
    let (TxnCommand::List(common) | TxnCommand::Resolve(ResolveArgs { common, .. })) = &args.command;
    match prepare(common) {
        Ok((databases, grace)) => match &args.command {
            TxnCommand::List(args) => run_list(&databases, args),
            TxnCommand::Resolve(args) => run_resolve(&databases, grace, args),
        },
        Err(code) => code,
    }
}

/// The databases that are meant, and the configured grace.
fn prepare(args: &ListArgs) -> Result<(Vec<Arc<Database>>, Duration), ExitCode> {
    let settings = load(&args.config.config)?;
    let mut databases = app::databases(&settings).map_err(|error| {
        complain!("pgloom: {error}");
        ExitCode::from(UNUSABLE)
    })?;
    databases.retain(|database| args.database.as_ref().is_none_or(|name| *database.name == **name));
    if databases.is_empty() {
        complain!("pgloom: no such database in {}", args.config.config.display());
        return Err(ExitCode::from(UNUSABLE));
    }
    Ok((databases, settings.timeouts.two_phase_grace))
}

fn run_list(databases: &[Arc<Database>], args: &ListArgs) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let mut found = Listing::default();
    runtime.block_on(async {
        for database in databases {
            let listing = list(database).await;
            found.prepared.extend(listing.prepared);
            found.failed.extend(listing.failed);
        }
    });
    if args.json {
        print_json(&found.prepared);
    } else {
        print_table(&found.prepared);
    }
    for (shard, fault) in &found.failed {
        complain!("pgloom: shard {shard} cannot be asked: {fault}");
    }
    if found.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) }
}

fn print_table(prepared: &[Prepared]) {
    if prepared.is_empty() {
        say!("nothing is prepared");
        return;
    }
    say!("{:<14} {:<14} {:<12} {:>9} {:<14} {:<11} gid", "database", "shard", "owner", "age", "anchor", "decision");
    for part in prepared {
        let age = format!("{:.1} s", part.age_seconds);
        let (database, shard, owner, anchor) = (&part.database, &part.shard, &part.owner, &part.anchor);
        let decision = part.decision.label();
        say!("{database:<14} {shard:<14} {owner:<12} {age:>9} {anchor:<14} {decision:<11} {}", part.gid);
    }
}

#[derive(Serialize)]
struct Done {
    database: String,
    committed: usize,
    rolled_back: usize,
    open: usize,
}

fn run_resolve(databases: &[Arc<Database>], grace: Duration, args: &ResolveArgs) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    // What cannot be finished is logged, with the reason.
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).without_time().with_target(false);
    log.with_max_level(tracing::Level::WARN).init();
    let grace = args.older_than.unwrap_or(grace);
    let mut all = Vec::new();
    runtime.block_on(async {
        for database in databases {
            let Resolved { committed, rolled_back, open, .. } = resolve(database, grace, args.gid.as_deref()).await;
            all.push(Done { database: database.name.to_string(), committed, rolled_back, open });
        }
    });
    if args.common.json {
        print_json(&all);
    } else {
        for Done { database, committed, rolled_back, open } in &all {
            say!("{database}: {committed} committed, {rolled_back} rolled back, {open} left");
        }
    }
    if all.iter().all(|done| done.open == 0) { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) }
}

fn print_json(value: &impl Serialize) {
    // Strings, numbers and words: they always serialise.
    say!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
}
