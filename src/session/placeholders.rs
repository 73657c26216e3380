//! The custom settings that a session has named: as in Postgres each stays with it, empty where it has no value, and nobody else sees it.

use std::sync::Arc;

use crate::backend::settings::SessionSettings;
use crate::catalog::code;
use crate::catalog::placeholders::{Makes, Placeholders};
use crate::session::Session;
use crate::sql::Analysis;
use crate::sql::analyze::PinReason;
use crate::sql::utility::{self, SetStatement, StatementKind};

/// The custom setting that a SET or RESET names.
pub(super) fn named_by(statement: &SetStatement) -> Placeholders {
    match statement {
        SetStatement::Session { name, .. } | SetStatement::Local { name, .. } | SetStatement::Reset(name) => {
            Placeholders::of(name)
        }
        SetStatement::ResetAll
        | SetStatement::Current { .. }
        | SetStatement::Transaction(_)
        | SetStatement::Characteristics(_)
        | SetStatement::TransactionSnapshot
        | SetStatement::Opaque
        | SetStatement::Router { .. } => Placeholders::default(),
    }
}

impl Session {
    /// What may be on a connection of this session.
    pub(super) fn placeholders(&self) -> Placeholders {
        let mut all = self.settings.placeholders().clone();
        all.join(&self.making);
        all
    }

    /// A statement is about to make these wherever it runs. Afterwards `making` is to be emptied, whether it has or not.
    pub(super) fn begin_making(&mut self, names: Placeholders) {
        for held in self.held.iter_mut() {
            held.server.placeholders.join(&names);
        }
        self.making = names;
    }

    /// They have been made on every connection of the transaction.
    pub(super) fn note_made(&mut self, names: &Placeholders) {
        if self.settings.placeholders().hold(names) {
            return;
        }
        let wanted = self.shared.settings.share((*self.settings).clone().with(names));
        for held in self.held.iter_mut().filter(|held| held.joined) {
            if held.server.applied.as_ref().is_some_and(|applied| Arc::ptr_eq(applied, &self.settings)) {
                held.server.applied = Some(Arc::clone(&wanted));
            }
        }
        self.adopt(wanted);
    }

    /// A statement runs here that may make some: code that sets something until its transaction ends, or a definition.
    pub(super) fn note_code(&mut self, at: usize, analysis: &Analysis, text: &str) {
        if analysis.kind == StatementKind::Ddl {
            let names = utility::settings_of_definition(text);
            self.held[at].server.placeholders.join(&names);
            self.note_made(&names);
        }
        if analysis.pin != Some(PinReason::LocalSetting) {
            return;
        }
        match self.makes_of(text) {
            Makes::These(names) => {
                self.held[at].server.placeholders.join(&names);
                self.note_made(&names);
            }
            Makes::Unknown => self.held[at].server.spoiled = true,
        }
    }

    /// What a statement's own calls make, and those of the functions that it names. Where it has no calls and no such function, they
    /// are in code that runs unasked.
    fn makes_of(&self, text: &str) -> Makes {
        let functions = &self.view.catalog.functions;
        let sets = |word: &str| functions.get(word).is_some_and(|function| function.sets.changes_settings());
        let lower = text.to_ascii_lowercase();
        let own = code::makes(text);
        match code::calls_set_config(text) && !lower.split(|c: char| !c.is_alphanumeric() && c != '_').any(sets) {
            true => own,
            false => own.and(self.view.catalog.makes.clone()),
        }
    }

    /// Settings from before, with what was named since: no rollback takes that away.
    pub(super) fn with_placeholders(&self, before: &Arc<SessionSettings>) -> Arc<SessionSettings> {
        let named = self.settings.placeholders();
        match before.placeholders().hold(named) {
            true => Arc::clone(before),
            false => self.shared.settings.share((**before).clone().with(named)),
        }
    }

    /// What a connection has that comes into the transaction, or works beside it, before what was set in it.
    pub(super) fn settings_at_begin(&self) -> Arc<SessionSettings> {
        self.with_placeholders(self.tx.settings_before().unwrap_or(&self.settings))
    }
}
