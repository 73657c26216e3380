//! `pgloom routers`: the routers that share a map, and which epoch each serves.

use std::process::ExitCode;

use crate::cli::out::{complain, say};
use crate::cli::topology::{Failed, connect};
use crate::cli::{ConfigArg, FOUND_WRONG, runtime};
use crate::config::Document;
use crate::control::map::registry::Entry;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 all serve the map that is in etcd, 1 one does not, 2 the call or etcd cannot be used."
)]
pub struct RoutersArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &RoutersArgs) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    runtime.block_on(list(args)).unwrap_or_else(Failed::tell)
}

async fn list(args: &RoutersArgs) -> Result<ExitCode, Failed> {
    let mut connection = connect(&args.config).await?;
    let map = connection.look().await?.map;
    let epoch = map.and_then(|stored| Document::parse("the map", &stored.text.ok()?).ok()?.epoch);
    let texts = connection.routers().await?;
    let mut routers: Vec<Entry> = texts.iter().filter_map(|text| Entry::read(text)).collect();
    routers.sort_by(|a, b| (&a.host, a.pid).cmp(&(&b.host, b.pid)));
    if args.json {
        say!("{}", serde_json::to_string_pretty(&routers).unwrap_or_default());
    } else {
        say!(
            "{:<17} {:<20} {:>8} {:<22} {:<9} {:<20} {:>7}",
            "id",
            "host",
            "pid",
            "listen",
            "version",
            "started",
            "epoch"
        );
        for router in &routers {
            let Entry { id, host, pid, listen, version, started, .. } = router;
            let served = router.epoch.map_or("-".to_owned(), |epoch| epoch.to_string());
            let behind = if router.epoch == epoch { "" } else { "  not that of etcd" };
            say!(
                "{id:<17} {host:<20} {pid:>8} {:<22} {version:<9} {started:<20} {served:>7}{behind}",
                listen.join(",")
            );
        }
    }
    if texts.len() > routers.len() {
        complain!("pgloom: {} routers of another version are not shown", texts.len() - routers.len());
    }
    let all = routers.iter().all(|router| router.epoch == epoch);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
}
