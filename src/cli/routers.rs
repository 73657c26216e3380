//! `pgloom routers`: the routers that share a map, and which epoch each serves.

use std::process::ExitCode;

use crate::cli::failed::{Failed, carry_out};
use crate::cli::out::{complain, say};
use crate::cli::topology::{Place, place};
use crate::cli::{ConfigArg, FOUND_WRONG};
use crate::config::Document;
use crate::control::etcd::Connection;
use crate::control::map::registry::Entry;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 all serve the map that is in etcd, or, of a map in the configuration file, the one that was served last; 1 one does not; \
    2 the call, etcd or history_directory cannot be used."
)]
pub struct RoutersArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &RoutersArgs) -> ExitCode {
    carry_out(list(args))
}

/// Those that are there.
struct Found {
    /// Of the map that they are to serve.
    epoch: Option<u64>,
    routers: Vec<Entry>,
    unread: usize,
    /// Which map that is.
    whose: &'static str,
}

async fn in_etcd(connection: &mut Connection) -> Result<Found, Failed> {
    let map = connection.look().await?.map;
    let epoch = map.and_then(|stored| Document::parse("the map", &stored.text.ok()?).ok()?.epoch);
    let texts = connection.routers().await?;
    let routers: Vec<Entry> = texts.iter().filter_map(|text| Entry::read(text)).collect();
    Ok(Found { epoch, unread: texts.len() - routers.len(), routers, whose: "that of etcd" })
}

async fn list(args: &RoutersArgs) -> Result<ExitCode, Failed> {
    let Found { epoch, mut routers, unread, whose } = match place(&args.config).await? {
        Place::Etcd(mut connection) => in_etcd(&mut connection).await?,
        Place::File(file) => {
            let (epoch, routers) = file.routers()?;
            Found { epoch, routers, unread: 0, whose: "the map that was served last" }
        }
    };
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
            let behind = if router.epoch == epoch { String::new() } else { format!("  not {whose}") };
            say!(
                "{id:<17} {host:<20} {pid:>8} {:<22} {version:<9} {started:<20} {served:>7}{behind}",
                listen.join(",")
            );
        }
    }
    if unread > 0 {
        complain!("pgloom: {unread} routers of another version are not shown");
    }
    let all = routers.iter().all(|router| router.epoch == epoch);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
}
