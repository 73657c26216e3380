//! `pgloom demo`: real local Postgres shards, a router over them, sample data loaded through it, and a short tour.
//!
//! It starts the same `pgloom serve` that a user would, as a child, and owns every process that it starts: they end with it,
//! also when it is killed (the kernel signals them then).

mod data;
mod error;
mod place;
mod process;
mod report;
mod tour;

use std::num::{NonZeroU16, NonZeroU64};
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use data::Volume;
use error::DemoError;
use place::Place;
use process::Processes;
use report::{Placement, say};

use crate::cli::out::complain;

/// What the demo's database, its owner and its user through the router are called.
const DATABASE: &str = "shop";

/// Start local Postgres shards and pgloom over them, with sample data
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  pgloom demo                       4 shards, 200,000 rows, stays until Ctrl-C
  pgloom demo --shards 8 --port 7000
  pgloom demo --etcd                the shard map in etcd, for pgloom topology
  pgloom demo --exit                run the tour and end: exit code 0 if every answer was right")]
pub struct DemoArgs {
    /// Where the shards' data is kept; a second start over it reuses the data [default: .demo, or /var/tmp/pgloom-demo
    /// where user postgres can't enter the current directory]
    #[arg(long, value_name = "DIR", env = "PGLOOM_DEMO_DIR", hide_env = true)]
    dir: Option<PathBuf>,
    /// How many Postgres servers
    #[arg(long, default_value = "4", value_name = "N")]
    shards: NonZeroU16,
    /// Port of the router on 127.0.0.1; the shards take free ports after it
    #[arg(long, default_value = "6432", value_name = "PORT", env = "PGLOOM_PORT", hide_env = true)]
    port: NonZeroU16,
    /// Rows to load, in all tables together
    #[arg(long, default_value = "200000", value_name = "ROWS")]
    rows: NonZeroU64,
    /// Keep the shard map in an etcd, which is started too, instead of in the configuration file
    #[arg(long)]
    etcd: bool,
    /// End after the tour
    #[arg(long)]
    exit: bool,
}

/// Runs the command. Every error is printed in plain words, and nothing that was started is left.
pub fn run(args: &DemoArgs) -> ExitCode {
    // On this thread alone: the children are told of the death of the thread that made them.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain!("error: the demo can't start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(supervised(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain!("error: {error}");
            if let Some(hint) = error.hint() {
                complain!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The demo, ended by a signal at any point, with all processes stopped at the end.
async fn supervised(args: &DemoArgs) -> Result<(), DemoError> {
    let mut processes = Processes::default();
    let outcome = tokio::select! {
        outcome = demo(args, &mut processes) => outcome,
        stop = stop_signal() => stop,
    };
    if !processes.is_empty() {
        say("stopping the router and the shards");
    }
    processes.stop().await;
    outcome
}

async fn stop_signal() -> Result<(), DemoError> {
    let listen =
        |kind| signal(kind).map_err(|source| DemoError::Io { what: "signals can't be handled".into(), source });
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut hangup = listen(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
        _ = hangup.recv() => (),
    }
    Ok(())
}

async fn demo(args: &DemoArgs, processes: &mut Processes) -> Result<(), DemoError> {
    let volume = Volume::of(args.rows.get());
    let place = Place::claim(args.dir.as_deref(), args.shards, args.port, volume.total(), args.etcd)?;
    processes.start_shards(&place).await?;
    if let Some(etcd) = &place.etcd {
        processes.start_etcd(&place, etcd).await?;
    }
    processes.start_router(&place).await?;

    let client = process::connect(&place.router).await?;
    let fresh = !place.is_loaded();
    if fresh {
        data::load(&client, &volume).await?;
    } else {
        say(format_args!("the data of an earlier start is in {}: not loaded again", place.dir.display()));
    }
    let placement = Placement::read(&place).await?;
    placement.print();
    if fresh {
        // Whoever uses the demo may change its rows later; nobody has yet.
        data::verify(&volume, &placement)?;
        place.mark_loaded()?;
    }
    tour::run(&client, &placement).await?;
    if args.exit {
        return Ok(());
    }
    say("");
    say(format_args!("  psql -h 127.0.0.1 -p {} -U {DATABASE} {DATABASE}", place.router.port));
    say(format_args!("  curl http://127.0.0.1:{}/metrics", place.metrics_port));
    say(format_args!("  config: {}", place.config_file().display()));
    if place.etcd.is_some() {
        say(format_args!("  pgloom topology get --config {}", place.config_file().display()));
    }
    say("");
    say("Ctrl-C stops the router and the shards; the data stays for the next start.");
    processes.watch().await
}
