//! The map that stands in the configuration file: its past is kept by the routers that serve it, and what is put into the file is in force
//! when they read it again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use super::{Failed, InForce};
use crate::cli::out::{complain, say};
use crate::config::document::{Change, databases_of};
use crate::config::{Document, Draft};
use crate::control::etcd::Unreadable;
use crate::control::map::copy::Rights;
use crate::control::map::history::History;
use crate::control::map::listing::Listing;
use crate::control::map::registry::Entry;
use crate::control::map::{self, copy};

/// A configuration file with its map.
pub(in crate::cli) struct MapInFile {
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
        Ok(Self { path: path.to_owned(), draft, history: History::new(&directory, path) })
    }

    fn told(&self, error: impl std::fmt::Display) -> Failed {
        Failed::unusable(format!("{}: {error}", self.history.directory().display()))
    }

    pub(super) fn epochs(&self) -> Result<Vec<u64>, Failed> {
        self.history.epochs().map_err(|error| self.told(error))
    }

    pub(super) fn past(&self, epoch: u64) -> Result<Option<Result<String, Unreadable>>, Failed> {
        match self.history.past(epoch) {
            Ok(text) => Ok(text.map(Ok)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Ok(Some(Err(Unreadable { value: Vec::new(), why: error.to_string() })))
            }
            Err(error) => Err(self.told(error)),
        }
    }

    /// That which routers of this file serve.
    pub(super) fn latest(&self) -> Result<String, Failed> {
        let latest = self.history.last().map_err(|error| self.told(error))?;
        let none = || self.told("no router has served a map of this file yet");
        latest.map(|kept| kept.text).ok_or_else(none)
    }

    /// The epoch that routers of this file serve, and the routers that share its maps.
    pub(in crate::cli) fn routers(&self) -> Result<(Option<u64>, Vec<Entry>), Failed> {
        let last = self.history.last().map_err(|error| self.told(error))?;
        let listing = Listing::new(self.history.directory());
        if let Some(doubt) = listing.doubt() {
            complain!("pgloom: no router believes this list: {doubt}");
        }
        let routers = listing.routers(SystemTime::now(), false).map_err(|error| self.told(error))?;
        Ok((last.and_then(|last| last.head.epoch), routers))
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

    /// Whether the file has a map that could be served, and is neither what is served nor this one: nobody has read it yet.
    fn has_unserved(&self, databases: &str) -> Result<bool, Failed> {
        let (own, served) = (self.draft.map_text()?, self.latest()?);
        let (own, served) = (databases_of(&own), databases_of(&served));
        Ok(own != served && own != Some(databases) && self.draft.settings(None).is_ok())
    }

    /// Puts a map into the file, which is valid with it. `over_unserved`: also in the place of one that was not served yet.
    pub(super) fn put(
        &self,
        map: &str,
        by: Option<&str>,
        reason: &str,
        over_unserved: bool,
    ) -> Result<ExitCode, Failed> {
        let shown = self.path.display();
        let changed = self.draft.with_map(map).map_err(|error| Failed::refused(format!("{shown}: {error}")))?;
        changed.settings(None)?;
        let by = by.map_or_else(map::user_at_host, str::to_owned);
        // The epoch and the moment are those of the router that serves it.
        let change = Change { epoch: 0, at: map::utc(SystemTime::now()), by, reason: reason.to_owned() };
        let databases = changed.map_text()?;
        let databases = databases_of(&databases).unwrap_or_default();
        if !over_unserved && self.has_unserved(databases)? {
            return Err(Failed::refused(format!(
                "refused: {shown} has a map that no router serves yet, and it would be lost. Let the routers read it (SIGHUP, RELOAD in the console) \
                 and look at what comes of it, or run it again with --over-unserved"
            )));
        }
        let unwritten = |error: io::Error| Failed::unusable(format!("{shown} cannot be written: {error}"));
        // Behind a link lies the file.
        let path = fs::canonicalize(&self.path).map_err(unwritten)?;
        let _alone = copy::lock(&path).map_err(unwritten)?;
        if fs::read_to_string(&path).map_err(unwritten)? != self.draft.text() {
            return Err(Failed::refused(format!(
                "somebody else has changed {shown} meanwhile: look at it, and try again"
            )));
        }
        self.history.announce(&change, databases).map_err(|error| self.told(error))?;
        let rights = fs::metadata(&path).map(|file| Rights::of(&file));
        if let Err(error) = rights.and_then(|rights| copy::replace_as(&path, changed.text(), rights)) {
            self.history.take_back().map_err(|error| self.told(error))?;
            return Err(unwritten(error));
        }
        say!(
            "{shown} has the map: routers serve it when they read the file again (SIGHUP, RELOAD in the console, or autoreload)"
        );
        Ok(ExitCode::SUCCESS)
    }
}
