//! How the configuration is read while the router runs: anew from its file, or as it was read last with some settings changed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use crate::config::{ConfigError, ConfigErrors, Document, Draft, MapSettings, Origin, Settings};
use crate::control::map::history::{History, KeptMap};

/// Settings of `[general]` that somebody has given other values in the console.
pub(super) type Said = BTreeMap<String, String>;

/// What stands in etcd of users, as auth_file would say it; `None`: nothing was told yet.
pub(super) type SharedUsers = Arc<ArcSwapOption<String>>;

/// Where it is read.
pub struct Reading {
    path: PathBuf,
    /// What is in force.
    last: Mutex<Draft>,
    /// What was good when it was read last, and may not be in force yet.
    next: Mutex<Option<Draft>>,
    /// The map that is in force, where it does not stand in the file.
    map: Option<Arc<ArcSwapOption<Document>>>,
    /// The users in etcd that are in force.
    users: SharedUsers,
    /// With what the router began, where the map in the file was wrong.
    instead: Option<Instead>,
}

/// An earlier map of the file, in the place of one that is wrong.
pub struct Instead {
    pub kept: KeptMap,
    /// What is wrong with the file.
    pub why: String,
}

impl Reading {
    /// A file that places everything itself; `draft` is what was read of it.
    pub fn of_file(path: PathBuf, draft: Draft, instead: Option<Instead>) -> Self {
        Self {
            path,
            last: Mutex::new(draft),
            next: Mutex::default(),
            map: None,
            users: SharedUsers::default(),
            instead,
        }
    }

    /// One beside a map.
    pub(super) fn beside(path: PathBuf, draft: Draft, map: Arc<ArcSwapOption<Document>>, users: SharedUsers) -> Self {
        Self { path, last: Mutex::new(draft), next: Mutex::default(), map: Some(map), users, instead: None }
    }

    /// The file in which the map stands; `None`: it stands elsewhere.
    pub(super) fn map_file(&self) -> Option<&Path> {
        self.map.is_none().then_some(&self.path)
    }

    /// What the router began with in the place of the file's map.
    pub(super) fn instead(&self) -> Option<&Instead> {
        self.instead.as_ref()
    }

    /// What was read last is in force.
    pub(super) fn took(&self) {
        if let Some(next) = self.next.lock().unwrap_or_else(PoisonError::into_inner).take() {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = next;
        }
    }

    /// Keeps the map of the file that is in force. `None`: it stands elsewhere, or is kept nowhere.
    pub(super) fn keep(&self) -> Option<io::Result<KeptMap>> {
        let draft = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match draft.map_source() {
            Ok(MapSettings::File { history: Some(directory), room, .. }) => {
                let map = draft.map_text().map_err(io::Error::other);
                Some(map.and_then(|map| {
                    History::new(&directory, &self.path).keep(&map, &self.path.display().to_string(), room)
                }))
            }
            Ok(MapSettings::File { history: None, .. } | MapSettings::Etcd(_)) | Err(_) => None,
        }
    }

    /// The file as it is now.
    pub(super) fn anew(&self) -> Result<Settings, ConfigErrors> {
        let draft = Draft::load(&self.path)?;
        let settings = self.settings(&draft)?;
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(draft);
        Ok(settings)
    }

    /// The file as it was when it came in force.
    pub(super) fn with(&self, said: &Said) -> Result<Settings, ConfigErrors> {
        let draft = self.last.lock().unwrap_or_else(PoisonError::into_inner).with_said(said);
        self.settings(&draft)
    }

    /// The file as it was when it came in force, with other users in etcd.
    pub(super) fn with_users(&self, said: &Said, users: &str) -> Result<Settings, ConfigErrors> {
        let draft = self.last.lock().unwrap_or_else(PoisonError::into_inner).with_said(said);
        self.settings_of(&draft.with_users(users))
    }

    /// Those are in force.
    pub(super) fn took_users(&self, users: String) {
        self.users.store(Some(Arc::new(users)));
    }

    fn settings(&self, draft: &Draft) -> Result<Settings, ConfigErrors> {
        match self.users.load_full() {
            Some(users) => self.settings_of(&draft.with_users(&users)),
            None => self.settings_of(draft),
        }
    }

    fn settings_of(&self, draft: &Draft) -> Result<Settings, ConfigErrors> {
        let is_elsewhere = !matches!(draft.map_source()?, MapSettings::File { .. });
        if is_elsewhere != self.map.is_some() {
            let message = "source in [topology] cannot change while the router runs: it takes effect at the next start, and until then this \
                 configuration cannot be used";
            let (file, message) = (self.path.display().to_string().into(), message.to_owned());
            return Err(ConfigErrors(vec![ConfigError { file, origin: Origin::Default, message }]));
        }
        draft.settings(self.map.as_ref().and_then(|map| map.load_full()).as_deref())
    }
}
