//! `pgloom topology get|validate|diff|history`: what only reads.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{Failed, MapFile, Place, changes, document_of, is_config, place, print_changes, text_of};
use crate::cli::out::{self, say};
use crate::cli::{ConfigArg, FOUND_WRONG};
use crate::config::{Document, Draft, MapSettings};
use crate::control::etcd::Unreadable;

#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// An earlier map that is still kept
    #[arg(long)]
    epoch: Option<u64>,
}

pub(super) async fn get(args: &GetArgs) -> Result<ExitCode, Failed> {
    let mut place = place(&args.config).await?;
    let text = match (args.epoch, &mut place) {
        (Some(epoch), place) => place.past(epoch).await?.ok_or_else(|| gone(epoch))?,
        (None, Place::File(file)) => Ok(file.latest()?),
        (None, Place::Etcd(connection)) => match connection.look().await?.map {
            Some(stored) => stored.text,
            None => return Err(Failed::unusable("there is no map in etcd; make one with pgloom topology init")),
        },
    };
    // Also where it is not valid: who is to correct it must see it.
    match text {
        Ok(text) => {
            out::bytes(text.as_bytes());
            Ok(ExitCode::SUCCESS)
        }
        Err(Unreadable { value, why }) => {
            out::bytes(&value);
            Err(Failed::refused(format!("this is no map: {why}")))
        }
    }
}

fn gone(epoch: u64) -> Failed {
    Failed::unusable(format!("epoch {epoch} is not kept; pgloom topology history lists those that are"))
}

/// The text of an epoch that is wanted.
pub(super) fn readable(epoch: u64, found: Option<Result<String, Unreadable>>) -> Result<String, Failed> {
    let text = found.ok_or_else(|| gone(epoch))?;
    text.map_err(|unreadable| Failed::unusable(format!("epoch {epoch} cannot be used: {unreadable}")))
}

#[derive(Debug, clap::Args)]
pub(super) struct ValidateArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The map, JSON, or a configuration file (.toml) that has the databases with their shards; - for standard input. Without it: the
    /// configuration file
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn validate(args: &ValidateArgs) -> Result<ExitCode, Failed> {
    let file = args.file.as_ref().unwrap_or(&args.config.config);
    // With the lines of the file, where it has more than a map.
    if is_config(file) {
        let draft = Draft::load(file)?;
        if let MapSettings::Etcd(_) = draft.map_source()? {
            let message = "has no map, which stands in etcd; give it a name that ends in .json if it is one";
            return Err(Failed::unusable(format!("{} {message}", file.display())));
        }
        draft.settings(None).map_err(|errors| Failed::refused(errors.to_string()))?;
    }
    let text = text_of(file)?;
    match Document::parse(&file.display().to_string(), &text) {
        Ok(document) => {
            document.warnings.iter().for_each(|warning| say!("warning: {warning}"));
            for placed in &document.databases {
                let topology = &placed.topology;
                say!(
                    "{}: {} shards, {} distributions, {} tables",
                    placed.name,
                    topology.shards.len(),
                    topology.distributions.len(),
                    topology.tables.len()
                );
            }
            say!("{}: the map is valid", file.display());
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
    let old = place(&args.config).await?.in_force().await?;
    let Some(old) = old.document else { return Err(Failed::unusable("there is no map to compare with")) };
    let changes = changes(&old, &new);
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

impl Entry {
    fn read(epoch: u64, text: Result<String, Unreadable>) -> Self {
        let text = match text {
            Ok(text) => text,
            Err(Unreadable { why, .. }) => {
                let (changed_at, changed_by) = (String::new(), String::new());
                return Self { epoch, changed_at, changed_by, reason: format!("cannot be used: {why}") };
            }
        };
        // What an earlier version has allowed is history all the same.
        let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let word = |key: &str| said.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        Self { epoch, changed_at: word("changed_at"), changed_by: word("changed_by"), reason: word("reason") }
    }
}

pub(super) async fn history(args: &HistoryArgs) -> Result<ExitCode, Failed> {
    let mut place = place(&args.config).await?;
    let mut entries = Vec::new();
    for epoch in place.epochs().await?.into_iter().take(args.limit) {
        let Some(text) = place.past(epoch).await? else { continue };
        entries.push(Entry::read(epoch, text));
    }
    if args.json {
        print_json(&entries);
        return Ok(ExitCode::SUCCESS);
    }
    say!("{:>8}  {:<20}  {:<24}  reason", "epoch", "changed at", "by");
    for Entry { epoch, changed_at, changed_by, reason } in &entries {
        say!("{epoch:>8}  {changed_at:<20}  {changed_by:<24}  {}", reason.lines().next().unwrap_or_default());
    }
    Ok(ExitCode::SUCCESS)
}

fn print_json(value: &impl Serialize) {
    // Strings and numbers: they always serialise.
    say!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
}
