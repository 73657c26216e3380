//! `pgloom topology`: the shard map, which all routers share through etcd or which stands in a configuration file: made, read, compared
//! and changed.

mod change;
mod in_file;
mod read;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::ConfigArg;
use crate::cli::failed::{Failed, carry_out};
use crate::cli::out::{complain, say};
use crate::config::{Document, Draft, MapSettings};
use crate::control::etcd::{Connection, Etcd, Unreadable};
use crate::control::map::registry::Entry;
use crate::topology::diff::{Difference, differences};
use in_file::MapInFile;

#[derive(Debug, clap::Args)]
pub struct TopologyArgs {
    #[command(subcommand)]
    command: TopologyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TopologyCommand {
    /// Put the first map into etcd
    #[command(after_help = "Examples:\n  \
        pgloom topology init --config pgloom.toml --from old.toml     the databases of a file that had them all\n  \
        pgloom topology init --config pgloom.toml --from map.json\n\n\
        Exit status: 0 done, 1 there is a map already (and no --unless-there), 2 the call, the file or etcd cannot be used.")]
    Init(change::InitArgs),
    /// Print the map that is in force, or an earlier one
    #[command(
        after_help = "Example:\n  pgloom topology get > map.json; edit map.json; pgloom topology apply map.json\n\n\
        Exit status: 0 printed, 1 what is there is no text, or parts of it are missing: printed as it is, 2 the call or etcd cannot be used."
    )]
    Get(read::GetArgs),
    /// Check a map in a file, which may be a configuration file, without etcd
    #[command(after_help = "Exit status: 0 valid, 1 not valid, 2 it cannot be read.")]
    Validate(read::ValidateArgs),
    /// Tell what another map would change
    #[command(after_help = "Exit status: 0 nothing, 1 something, 2 the call, the file or etcd cannot be used.")]
    Diff(read::DiffArgs),
    /// Put another map in the place of the one in etcd, and all routers take it; or into the configuration file, from where they take it with RELOAD
    #[command(
        after_help = "A map says where rows are: it brings no row there. What would place keys that may have rows on another shard \
        is refused without --allow-moves; those rows are not found any more until they are moved.\n\n\
        Exit status: 0 done, 1 refused or overtaken by another change, 2 the call, the file or etcd cannot be used."
    )]
    Apply(change::ApplyArgs),
    /// List the maps that are kept
    History(read::HistoryArgs),
    /// Put an earlier map in force again, as a new epoch; where the map stands in the configuration file, into that, to be read by RELOAD
    #[command(
        after_help = "Exit status: 0 done, 1 refused or overtaken by another change, 2 the call or etcd cannot be used."
    )]
    Rollback(change::RollbackArgs),
}

pub fn run(args: &TopologyArgs) -> ExitCode {
    carry_out(async {
        match &args.command {
            TopologyCommand::Init(args) => change::init(args).await,
            TopologyCommand::Get(args) => read::get(args).await,
            TopologyCommand::Validate(args) => read::validate(args),
            TopologyCommand::Diff(args) => read::diff(args).await,
            TopologyCommand::Apply(args) => change::apply(args).await,
            TopologyCommand::History(args) => read::history(args).await,
            TopologyCommand::Rollback(args) => change::rollback(args).await,
        }
    })
}

/// Where the map is.
pub(super) enum Place {
    Etcd(Box<Connection>),
    File(Box<MapInFile>),
}

pub(super) async fn place(config: &ConfigArg) -> Result<Place, Failed> {
    let draft = Draft::load(&config.config)?;
    match draft.map_source()? {
        MapSettings::Etcd(settings) => Ok(Place::Etcd(Box::new(Etcd::new(&settings).any().await?))),
        MapSettings::File { history, .. } => Ok(Place::File(Box::new(MapInFile::new(&config.config, draft, history)?))),
    }
}

/// The etcd that the file names.
pub(super) async fn connect(config: &ConfigArg) -> Result<Connection, Failed> {
    match Draft::load(&config.config)?.map_source()? {
        MapSettings::Etcd(settings) => Ok(Etcd::new(&settings).any().await?),
        MapSettings::File { .. } => Err(Failed::unusable(format!(
            "{} keeps the map itself; set source = \"etcd\" and endpoints in [topology] to share it",
            config.config.display()
        ))),
    }
}

impl Place {
    async fn epochs(&mut self) -> Result<Vec<u64>, Failed> {
        match self {
            Self::Etcd(connection) => Ok(connection.epochs().await?),
            Self::File(file) => file.epochs(),
        }
    }

    async fn past(&mut self, epoch: u64) -> Result<Option<Result<String, Unreadable>>, Failed> {
        match self {
            Self::Etcd(connection) => Ok(connection.past(epoch).await?),
            Self::File(file) => file.past(epoch),
        }
    }

    async fn in_force(&mut self) -> Result<InForce, Failed> {
        match self {
            Self::Etcd(connection) => in_force(connection).await,
            Self::File(file) => file.in_force(),
        }
    }
}

/// The map that routers follow.
struct InForce {
    /// `None`: neither what is in etcd nor anything that is kept can be followed.
    document: Option<Document>,
    /// Of what is in etcd now.
    revision: i64,
    /// The epoch of the next one.
    next: u64,
    /// What is in etcd is another one, which no router follows: somebody else has put it there.
    astray: bool,
}

/// What is in etcd or, where that cannot be followed, the last one that could.
async fn in_force(connection: &mut Connection) -> Result<InForce, Failed> {
    let Some(stored) = connection.look().await?.map else {
        return Err(Failed::unusable("there is no map in etcd; make one with pgloom topology init"));
    };
    let revision = stored.revision;
    let epochs = connection.epochs().await?;
    let latest = epochs.first().copied().unwrap_or(0);
    // Routers may serve a later one than an etcd that was restored.
    let known = served_epochs(connection).await?.into_iter().chain([latest]).max().unwrap_or(latest);
    let why = match stored.text.map(|text| Document::parse("the map in etcd", &text)) {
        Ok(Ok(document)) if document.epoch.unwrap_or_default() >= latest => {
            let next = document.epoch.unwrap_or_default().max(known).saturating_add(1);
            return Ok(InForce { document: Some(document), revision, next, astray: false });
        }
        Ok(Ok(document)) => {
            let epoch = document.epoch.unwrap_or_default();
            format!("the map in etcd has epoch {epoch}, and there was epoch {latest} before")
        }
        Ok(Err(errors)) => errors.to_string(),
        Err(unreadable) => unreadable.to_string(),
    };
    complain!("warning: routers do not follow what is in etcd: {}", why.trim_end());
    let next = known.saturating_add(1);
    for epoch in &epochs {
        let Some(Ok(text)) = connection.past(*epoch).await? else { continue };
        if let Ok(document) = Document::parse(&format!("epoch {epoch}"), &text) {
            complain!("warning: epoch {epoch} is what the change is compared with");
            return Ok(InForce { document: Some(document), revision, next, astray: true });
        }
    }
    complain!("warning: nothing that is kept can be followed either");
    Ok(InForce { document: None, revision, next, astray: true })
}

/// What routers say that they serve.
async fn served_epochs(connection: &mut Connection) -> Result<Vec<u64>, Failed> {
    let routers = connection.routers().await?;
    Ok(routers.iter().filter_map(|text| Entry::read(text)?.epoch).collect())
}

fn is_config(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

/// A map from a file, or from standard input where it is called `-`; of a configuration file its databases, as a map.
fn text_of(path: &Path) -> Result<String, Failed> {
    if is_config(path) {
        return Ok(Draft::load(path)?.map_text()?);
    }
    let read = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|error| Failed::unusable(format!("{}: cannot be read: {error}", path.display())))
}

fn document_of(path: &Path, text: &str) -> Result<Document, Failed> {
    Ok(Document::parse(&path.display().to_string(), text)?)
}

/// What a new map changes, each with its database.
fn changes(old: &Document, new: &Document) -> Vec<(String, Difference)> {
    let mut found = Vec::new();
    for placed in &old.databases {
        let name = placed.name.to_string();
        match new.placed(&name) {
            Some(now) => {
                let all = differences(&placed.topology, &now.topology).into_iter();
                found.extend(all.map(|difference| (name.clone(), difference)));
            }
            None => found.push((
                name,
                Difference {
                    what: "the database is removed".to_owned(),
                    moves: Some(crate::topology::diff::Moved::Some),
                },
            )),
        }
    }
    for placed in new.databases.iter().filter(|placed| old.placed(&placed.name).is_none()) {
        found.push((
            placed.name.to_string(),
            Difference {
                what: format!("the database is added, on {} shards", placed.topology.shards.len()),
                moves: None,
            },
        ));
    }
    found
}

fn print_changes(changes: &[(String, Difference)]) {
    if changes.is_empty() {
        say!("nothing changes");
    }
    for (database, difference) in changes {
        say!("{database}: {difference}");
    }
}

/// A file with a map.
#[derive(Debug, clap::Args)]
struct MapFile {
    /// The map, JSON, or a configuration file (.toml) that has the databases with their shards; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}
