//! The map that stands in the configuration file: its past is kept by the routers that serve it, and what is put into the file is in force
//! when they read it again.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use super::{Failed, InForce};
use crate::cli::out::say;
use crate::config::document::{Change, databases_of};
use crate::config::{Document, Draft};
use crate::control::etcd::Unreadable;
use crate::control::map::history::History;
use crate::control::map::{self, copy};

/// A configuration file with its map.
pub(super) struct MapInFile {
    path: PathBuf,
    draft: Draft,
    history: History,
}

impl MapInFile {
    /// # Errors
    /// The file says that its maps are kept nowhere.
    pub(super) fn new(path: &Path, draft: Draft, history: Option<PathBuf>) -> Result<Self, Failed> {
        let Some(directory) = history else {
            let message = "keeps no maps: history_directory in [topology] is empty";
            return Err(Failed::unusable(format!("{} {message}", path.display())));
        };
        Ok(Self { path: path.to_owned(), draft, history: History::new(&directory) })
    }

    fn told(&self, error: impl std::fmt::Display) -> Failed {
        Failed::unusable(format!("{}: {error}", self.history.directory().display()))
    }

    pub(super) fn epochs(&self) -> Result<Vec<u64>, Failed> {
        self.history.epochs().map_err(|error| self.told(error))
    }

    pub(super) fn past(&self, epoch: u64) -> Result<Option<Result<String, Unreadable>>, Failed> {
        self.history.past(epoch).map(|text| text.map(Ok)).map_err(|error| self.told(error))
    }

    /// That of the latest epoch, which routers serve.
    pub(super) fn latest(&self) -> Result<String, Failed> {
        let latest = self.history.latest().map_err(|error| self.told(error))?;
        let none = || self.told("no router has served a map of this file yet");
        latest.map(|kept| kept.text).ok_or_else(none)
    }

    pub(super) fn in_force(&self) -> Result<InForce, Failed> {
        let document = Document::parse("the map that was served last", &self.latest()?)?;
        let next = document.epoch.unwrap_or_default().saturating_add(1);
        Ok(InForce { document: Some(document), revision: 0, next, astray: false })
    }

    /// Whether the file has this map already, whoever serves it.
    pub(super) fn differs_from(&self, map: &str) -> Result<bool, Failed> {
        let now = self.draft.with_map(map).map_err(Failed::unusable)?.map_text()?;
        Ok(databases_of(&now) != databases_of(&self.draft.map_text()?))
    }

    /// Puts a map into the file, which is valid with it.
    pub(super) fn put(&self, map: &str, by: Option<&str>, reason: &str) -> Result<ExitCode, Failed> {
        let changed =
            self.draft.with_map(map).map_err(|error| Failed::refused(format!("{}: {error}", self.path.display())))?;
        changed.settings(None)?;
        let by = by.map_or_else(map::user_at_host, str::to_owned);
        // The epoch and the moment are those of the router that serves it.
        let change = Change { epoch: 0, at: map::utc(SystemTime::now()), by, reason: reason.to_owned() };
        let databases = changed.map_text()?;
        let databases = databases_of(&databases).unwrap_or_default();
        self.history.announce(&change, databases).map_err(|error| self.told(error))?;
        let written = || {
            // Behind a link lies the file.
            let path = std::fs::canonicalize(&self.path)?;
            let mode = std::fs::metadata(&path)?.permissions().mode();
            copy::replace_as(&path, changed.text(), mode)
        };
        written().map_err(|error| Failed::unusable(format!("{} cannot be written: {error}", self.path.display())))?;
        say!(
            "{} has the map: routers serve it when they read the file again (SIGHUP, RELOAD in the console, or autoreload)",
            self.path.display()
        );
        Ok(ExitCode::SUCCESS)
    }
}
