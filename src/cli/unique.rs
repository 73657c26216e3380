//! `pgloom unique`: makes what values need on the shards that are unique over all of them, and registers the rows that are there.

use std::process::ExitCode;

use crate::app;
use crate::cli::out::{complain, say};
use crate::cli::{ConfigArg, FOUND_WRONG, UNUSABLE, load, runtime};
use crate::control::uniques::{Registered, register};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Writes to sharded tables fail while it runs, and until it has succeeded. Run it again when shards were added, and when a \
        table was made anew.\nExit status: 0 all is registered, 1 some rows share a value, 2 the call or the configuration cannot be used."
)]
pub struct UniqueArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The logical database; all of the file when left out
    #[arg(short, long)]
    database: Option<String>,
}

pub fn run(args: &UniqueArgs) -> ExitCode {
    let settings = match load(&args.config.config) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let mut databases = match app::databases(&settings) {
        Ok(databases) => databases,
        Err(error) => {
            complain!("pgloom: {error}");
            return ExitCode::from(UNUSABLE);
        }
    };
    let wanted = |name: &str| args.database.as_ref().is_none_or(|wanted| *wanted == *name);
    databases.retain(|database| !database.uniques.is_empty() && wanted(&database.name));
    if databases.is_empty() {
        complain!("pgloom: no [[databases.NAME.uniques]] in {}", args.config.config.display());
        return ExitCode::from(UNUSABLE);
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let mut well = true;
    for database in &databases {
        match runtime.block_on(register(database)) {
            Ok(done) => done.iter().for_each(|registered| well &= tell(&database.name, registered)),
            Err(fault) => {
                complain!("pgloom: {}: {fault}", database.name);
                return ExitCode::from(UNUSABLE);
            }
        }
    }
    if well { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) }
}

/// True: the rule is in force.
fn tell(database: &str, registered: &Registered) -> bool {
    let Registered { scope, values, duplicates } = registered;
    if duplicates.is_empty() {
        say!("ok  {database}: {scope}: {values} values");
        return true;
    }
    say!("BAD {database}: {scope}: several rows have {}", duplicates.join(" ... "));
    say!("    Change all but one of them, then run this again: until then writes to sharded tables are refused.");
    false
}
