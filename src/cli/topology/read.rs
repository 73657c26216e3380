//! `pgloom topology get|validate|diff|history`: what only reads.

use std::process::ExitCode;

use serde::Serialize;

use super::{Failed, MapFile, changes, connect, document_of, in_force, print_changes, text_of};
use crate::cli::{ConfigArg, FOUND_WRONG};
use crate::config::Document;

#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// An earlier map that is still kept
    #[arg(long)]
    epoch: Option<u64>,
}

pub(super) async fn get(args: &GetArgs) -> Result<ExitCode, Failed> {
    let mut connection = connect(&args.config).await?;
    let text = match args.epoch {
        Some(epoch) => connection.past(epoch).await?.ok_or_else(|| gone(epoch))?,
        // Also where it is not valid: who is to correct it must see it.
        None => match connection.look().await?.map {
            Some(stored) => stored.text,
            None => return Err(Failed::unusable("there is no map in etcd; make one with pgloom topology init")),
        },
    };
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn gone(epoch: u64) -> Failed {
    Failed::unusable(format!("epoch {epoch} is not kept; pgloom topology history lists those that are"))
}

#[derive(Debug, clap::Args)]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    map: MapFile,
}

pub(super) fn validate(args: &ValidateArgs) -> Result<ExitCode, Failed> {
    let text = text_of(&args.map.file)?;
    match Document::parse(&args.map.file.display().to_string(), &text) {
        Ok(document) => {
            document.warnings.iter().for_each(|warning| println!("warning: {warning}"));
            for placed in &document.databases {
                let topology = &placed.topology;
                println!(
                    "{}: {} shards, {} distributions, {} tables",
                    placed.name,
                    topology.shards.len(),
                    topology.distributions.len(),
                    topology.tables.len()
                );
            }
            println!("{}: the map is valid", args.map.file.display());
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => Err(Failed::refused(errors.to_string())),
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    map: MapFile,
    /// Print the differences as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    database: String,
    what: String,
    moves: Option<String>,
}

pub(super) async fn diff(args: &DiffArgs) -> Result<ExitCode, Failed> {
    let new = document_of(&args.map.file, &text_of(&args.map.file)?)?;
    let mut connection = connect(&args.config).await?;
    let old = in_force(&mut connection).await?;
    let changes = changes(&old.document, &new);
    if args.json {
        let shown = changes.iter().map(|(database, difference)| Shown {
            database: database.clone(),
            what: difference.what.clone(),
            moves: difference.moves.as_ref().map(ToString::to_string),
        });
        print_json(&shown.collect::<Vec<_>>());
    } else {
        print_changes(&changes);
    }
    Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
}

#[derive(Debug, clap::Args)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// How many, the latest first
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Entry {
    epoch: u64,
    changed_at: String,
    changed_by: String,
    reason: String,
}

pub(super) async fn history(args: &HistoryArgs) -> Result<ExitCode, Failed> {
    let mut connection = connect(&args.config).await?;
    let mut entries = Vec::new();
    for epoch in connection.epochs().await?.into_iter().take(args.limit) {
        let Some(text) = connection.past(epoch).await? else { continue };
        // What an earlier version has allowed is history all the same.
        let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let word = |key: &str| said.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        let (changed_at, changed_by, reason) = (word("changed_at"), word("changed_by"), word("reason"));
        entries.push(Entry { epoch, changed_at, changed_by, reason });
    }
    if args.json {
        print_json(&entries);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:>8}  {:<20}  {:<24}  reason", "epoch", "changed at", "by");
    for Entry { epoch, changed_at, changed_by, reason } in &entries {
        println!("{epoch:>8}  {changed_at:<20}  {changed_by:<24}  {}", reason.lines().next().unwrap_or_default());
    }
    Ok(ExitCode::SUCCESS)
}

fn print_json(value: &impl Serialize) {
    // Strings and numbers: they always serialise.
    println!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
}
