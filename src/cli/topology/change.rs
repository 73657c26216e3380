//! `pgloom topology init|apply|rollback`: what changes the map, each by one compare-and-swap.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use super::read::readable;
use super::{
    Failed, InForce, MapFile, Place, changes, connect, document_of, place, print_changes, served_epochs, text_of,
};
use crate::cli::ConfigArg;
use crate::cli::out::say;
use crate::config::Document;
use crate::config::document::{Change, stamped};
use crate::control::etcd::{Connection, Swap};
use crate::control::map::{self, copy};
use crate::topology::diff::Difference;

/// What is written down with a change.
#[derive(Debug, clap::Args)]
struct Why {
    /// Why, for the history
    #[arg(short = 'm', long, default_value = "")]
    reason: String,
    /// Who, for the history. Default: user@host
    #[arg(long)]
    by: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The map (JSON), or a configuration file that has the databases with their shards (TOML)
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Where there is a map already, leave it and be content
    #[arg(long)]
    unless_there: bool,
    #[command(flatten)]
    why: Why,
}

pub(super) async fn init(args: &InitArgs) -> Result<ExitCode, Failed> {
    let mut text = text_of(&args.from)?;
    // Also the copy that a router keeps: what is left where etcd has lost all.
    if let Some(kept) = copy::map_of(&text) {
        text = kept;
    }
    let base = document_of(&args.from, &text)?.epoch;
    let mut connection = connect(&args.config).await?;
    if connection.look().await?.map.is_some() {
        if args.unless_there {
            say!("there is a map already; it stays as it is");
            return Ok(ExitCode::SUCCESS);
        }
        return Err(Failed::refused("there is a map already; change it with pgloom topology apply"));
    }
    // Routers that run may know later epochs than an etcd that was emptied.
    let served = served_epochs(&mut connection).await?;
    let known = connection.epochs().await?.into_iter().chain(served).chain(base).max();
    store(&mut connection, None, known.unwrap_or(0).saturating_add(1), &text, &args.why).await
}

#[derive(Debug, clap::Args)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    map: MapFile,
    #[command(flatten)]
    moves: Moves,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, clap::Args)]
struct Moves {
    /// Change it although keys would belong to other shards than those that have their rows
    #[arg(long)]
    allow_moves: bool,
    /// Where the map is in the file: also in the place of one there that no router serves yet
    #[arg(long)]
    over_unserved: bool,
    /// Tell what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn apply(args: &ApplyArgs) -> Result<ExitCode, Failed> {
    let text = text_of(&args.map.file)?;
    let new = document_of(&args.map.file, &text)?;
    let mut place = place(&args.config).await?;
    let old = place.in_force().await?;
    if let (Some(base), Some(epoch)) = (new.epoch, old.document.as_ref().and_then(|document| document.epoch))
        && base != epoch
    {
        return Err(Failed::refused(format!(
            "{} was made from epoch {base}, and the map has epoch {epoch} by now: get it again, or leave `epoch` out",
            args.map.file.display()
        )));
    }
    new.warnings.iter().for_each(|warning| say!("warning: {warning}"));
    if !place.permits(&text, &old, &new, &args.moves)? {
        return Ok(ExitCode::SUCCESS);
    }
    let connection = match &mut place {
        Place::Etcd(connection) => connection,
        Place::File(file) => {
            return file.put(&text, args.why.by.as_deref(), &args.why.reason, args.moves.over_unserved);
        }
    };
    let next = old.next.max(new.epoch.unwrap_or(0).saturating_add(1));
    store(connection, Some(old.revision), next, &text, &args.why).await
}

#[derive(Debug, clap::Args)]
pub(super) struct RollbackArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The epoch whose map is to be in force again
    epoch: u64,
    #[command(flatten)]
    moves: Moves,
    #[command(flatten)]
    why: Why,
}

pub(super) async fn rollback(args: &RollbackArgs) -> Result<ExitCode, Failed> {
    let mut place = place(&args.config).await?;
    let text = readable(args.epoch, place.past(args.epoch).await?)?;
    let new = Document::parse(&format!("epoch {}", args.epoch), &text)?;
    let old = place.in_force().await?;
    if !place.permits(&text, &old, &new, &args.moves)? {
        return Ok(ExitCode::SUCCESS);
    }
    let reason = match args.why.reason.as_str() {
        "" => format!("rollback to epoch {}", args.epoch),
        said => said.to_owned(),
    };
    let why = Why { reason, by: args.why.by.clone() };
    match &mut place {
        Place::Etcd(connection) => store(connection, Some(old.revision), old.next, &text, &why).await,
        Place::File(file) => file.put(&text, why.by.as_deref(), &why.reason, args.moves.over_unserved),
    }
}

impl Place {
    /// As [`permitted`]; a file that was changed, and is not served, is another one too.
    fn permits(&self, text: &str, old: &InForce, new: &Document, moves: &Moves) -> Result<bool, Failed> {
        let wanted = permitted(old, new, moves)?;
        match self {
            Self::Etcd(_) => Ok(wanted),
            Self::File(file) => Ok(!moves.dry_run && (wanted || file.differs_from(text)?)),
        }
    }
}

/// Tells the changes; whether they are to be made.
fn permitted(old: &InForce, new: &Document, moves: &Moves) -> Result<bool, Failed> {
    let Some(document) = &old.document else {
        return match moves.allow_moves {
            true => Ok(!moves.dry_run),
            false => Err(Failed::refused(
                "refused: there is no map to compare with, and where this one places rows they may not be. Where they are, run it again with \
                 --allow-moves",
            )),
        };
    };
    let changes = changes(document, new);
    print_changes(&changes);
    let moving = |(_, difference): &&(String, Difference)| difference.moves.is_some();
    if changes.iter().any(|change| moving(&change)) && !moves.allow_moves && !moves.dry_run {
        return Err(Failed::refused(
            "refused: keys that may have rows would belong to other shards (MOVES), and a map moves no rows. Where there are none, or they \
             were moved, run it again with --allow-moves",
        ));
    }
    Ok((old.astray || !changes.is_empty()) && !moves.dry_run)
}

async fn store(
    connection: &mut Connection,
    seen: Option<i64>,
    epoch: u64,
    text: &str,
    why: &Why,
) -> Result<ExitCode, Failed> {
    let by = why.by.clone().unwrap_or_else(map::user_at_host);
    let change = Change { epoch, at: map::utc(SystemTime::now()), by, reason: why.reason.clone() };
    let text = stamped(text, &change).ok_or_else(|| Failed::unusable("the map has no databases"))?;
    // What is written is what routers will read.
    Document::parse("the map", &text)?;
    let swapped = match connection.swap(seen, epoch, &text).await {
        Ok(swapped) => swapped,
        // Nobody knows whether it came through, but the store.
        Err(error) => match connection.look().await?.map {
            Some(now) if now.text.as_ref() == Ok(&text) => Swap::Done,
            _ => return Err(error.into()),
        },
    };
    match swapped {
        Swap::Done => {
            say!("epoch {epoch} is in force");
            Ok(ExitCode::SUCCESS)
        }
        Swap::Lost => Err(Failed::refused("somebody else has changed the map meanwhile: look at it, and try again")),
    }
}
