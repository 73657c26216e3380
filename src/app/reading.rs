//! How the configuration is read while the router runs: anew from its file, or as it was read last with some settings changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use crate::config::{ConfigError, ConfigErrors, Document, Draft, MapSettings, Origin, Settings};

/// Settings of `[general]` that somebody has given other values in the console.
pub(super) type Said = BTreeMap<String, String>;

/// Where it is read.
pub struct Reading {
    path: PathBuf,
    /// What was good when it was read last.
    last: Mutex<Draft>,
    /// The map that is in force, where it does not stand in the file.
    map: Option<Arc<ArcSwapOption<Document>>>,
}

impl Reading {
    /// A file that places everything itself; `draft` is what was read of it.
    pub fn of_file(path: PathBuf, draft: Draft) -> Self {
        Self { path, last: Mutex::new(draft), map: None }
    }

    /// One beside a map.
    pub(super) fn beside(path: PathBuf, draft: Draft, map: Arc<ArcSwapOption<Document>>) -> Self {
        Self { path, last: Mutex::new(draft), map: Some(map) }
    }

    /// The file in which the map stands; `None`: it stands elsewhere.
    pub(super) fn map_file(&self) -> Option<&Path> {
        self.map.is_none().then_some(&self.path)
    }

    /// The file as it is now.
    pub(super) fn anew(&self) -> Result<Settings, ConfigErrors> {
        let draft = Draft::load(&self.path)?;
        let settings = self.settings(&draft)?;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = draft;
        Ok(settings)
    }

    /// The file as it was when it was read last.
    pub(super) fn with(&self, said: &Said) -> Result<Settings, ConfigErrors> {
        let draft = self.last.lock().unwrap_or_else(PoisonError::into_inner).with_said(said);
        self.settings(&draft)
    }

    fn settings(&self, draft: &Draft) -> Result<Settings, ConfigErrors> {
        let is_elsewhere = draft.map_source()? != MapSettings::File;
        if is_elsewhere != self.map.is_some() {
            let message = "source in [topology] cannot change while the router runs: it takes effect at the next start, and until then this \
                 configuration cannot be used";
            let (file, message) = (self.path.display().to_string().into(), message.to_owned());
            return Err(ConfigErrors(vec![ConfigError { file, origin: Origin::Default, message }]));
        }
        draft.settings(self.map.as_ref().and_then(|map| map.load_full()).as_deref())
    }
}
