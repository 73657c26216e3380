//! SET and RESET in all their forms: tried on a server, which has the word on what is valid, and then the session's own.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use crate::backend::settings::{self, SessionSettings};
use crate::catalog::placeholders::Placeholders;
use crate::config::limits::Limit;
use crate::fault::{Fault, SqlState};
use crate::session::deadlines::{check_limit, unknown_setting};
use crate::session::held::{Finishing, Held, missing_role};
use crate::session::local::LocalRows;
use crate::session::replica;
use crate::session::scope::{STANDARD_STRINGS, SearchScope, is_off};
use crate::session::{Failure, Session};
use crate::sql::utility::{self, Mode, SetStatement};

impl Session {
    pub(super) async fn set(&mut self, statement: &SetStatement) -> Result<LocalRows, Failure> {
        match statement {
            SetStatement::Session { name, value } => {
                check_one(name, value)?;
                check_setting(name, value)?;
                if &**name == READ_ONLY {
                    self.decide_before_read_only().await?;
                }
                let Some(value) = self.whole_value(name, value) else {
                    // No server takes it either, and one says so in its words.
                    return Ok(self.run_unclear(&settings::assign(name, value)).await?.unwrap_or_default());
                };
                self.forget_local(name);
                let wanted = self.settings_with(&self.settings, name, Some(&value));
                self.change_settings(wanted, &settings::assign(name, &value), false).await?;
                Ok(LocalRows::tag("SET"))
            }
            SetStatement::Reset(name) => {
                self.forget_local(name);
                let wanted = self.settings_with(&self.settings, name, None);
                let mut sql = self.reset_of(name);
                if let ("session_authorization", Some(role)) = (&**name, self.startup.get("role")) {
                    let _ = write!(sql, "; {}", settings::assign("role", role));
                }
                // Whether there is such a setting, a server says.
                self.change_settings(wanted, &sql, true).await?;
                Ok(LocalRows::tag("RESET"))
            }
            SetStatement::Current { name, local } => {
                let home = self.view.topology.home;
                self.check_unseen_settings(home)?;
                let now = self.tx.with_locals(&self.settings).get(name).map(str::to_owned);
                let (name, value) = (name.clone(), now.map(String::into_boxed_str));
                let statement = match (value, *local) {
                    (Some(value), false) => SetStatement::Session { name, value },
                    (Some(value), true) => SetStatement::Local { name, value },
                    // Nobody has set it: it is what it would be reset to.
                    (None, false) => SetStatement::Reset(name),
                    (None, true) => SetStatement::Local { name, value: "DEFAULT".into() },
                };
                Box::pin(self.set(&statement)).await?;
                Ok(LocalRows::tag("SET"))
            }
            SetStatement::ResetAll => {
                self.tx.forget_locals();
                let mut wanted = (*self.startup).clone().with(self.settings.placeholders());
                let mut sql = String::from("RESET ALL");
                for (name, value) in self.startup.others() {
                    let _ = write!(sql, "; {}", settings::assign(name, value));
                }
                // RESET ALL leaves roles alone.
                for name in settings::ROLES {
                    match self.settings.get(name) {
                        Some(value) => wanted.set(name, value),
                        None => wanted.remove(name),
                    }
                }
                wanted.take_role(self.settings.taking());
                self.change_settings(wanted, &sql, false).await?;
                Ok(LocalRows::tag("RESET"))
            }
            SetStatement::Local { name, value } => {
                self.warn_outside_of_block("SET LOCAL can only be used in transaction blocks");
                check_one(name, value)?;
                check_setting(name, value)?;
                if &**name == READ_ONLY {
                    self.decide_before_read_only().await?;
                }
                let value = match value.eq_ignore_ascii_case("default") {
                    true => self.startup.get(name).map_or(Cow::Borrowed(&**value), |value| value.to_owned().into()),
                    false => match self.whole_value(name, value) {
                        Some(value) => value,
                        None => return Ok(self.run_unclear(&settings::assign(name, value)).await?.unwrap_or_default()),
                    },
                };
                let sql = settings::assign_local(name, &value);
                self.set_in_transaction(&sql).await?;
                self.note_made(&Placeholders::of(name));
                let value = Some(&*value).filter(|value| !value.eq_ignore_ascii_case("default"));
                self.set_local(name, value);
                self.follow_idle_timers().await;
                self.report_joined();
                Ok(LocalRows::tag("SET"))
            }
            SetStatement::Transaction(modes) => {
                self.warn_outside_of_block("SET TRANSACTION can only be used in transaction blocks");
                self.set_modes(modes).await?;
                Ok(LocalRows::tag("SET"))
            }
            SetStatement::Characteristics(modes) => {
                let mut wanted = (*self.settings).clone();
                for mode in utility::modes(modes) {
                    let (name, value) = characteristic(mode);
                    wanted.set(name, &value);
                }
                let sql = format!("SET SESSION CHARACTERISTICS AS TRANSACTION {modes}");
                self.change_settings(wanted, &sql, false).await?;
                Ok(LocalRows::tag("SET"))
            }
            SetStatement::TransactionSnapshot | SetStatement::Opaque => {
                Err(Fault::new(SqlState::INTERNAL_ERROR, "an unclear SET reached the settings").into())
            }
            SetStatement::Router { name, value, local } => {
                // To a server they are settings like any other, without a meaning: so they end, and come back, with transactions and savepoints.
                let setting: Box<str> = format!("pgloom.{name}").into();
                value.iter().try_for_each(|value| check_one(&setting, value))?;
                if &*setting == replica::SETTING {
                    value.iter().try_for_each(|value| replica::check_preference(value))?;
                } else if Limit::named(name).is_none() {
                    return Err(unknown_setting(&setting).into());
                }
                let statement = match (value.clone(), *local) {
                    (Some(value), false) => SetStatement::Session { name: setting, value },
                    (None, false) => SetStatement::Reset(setting),
                    (value, true) => {
                        SetStatement::Local { name: setting, value: value.unwrap_or_else(|| "DEFAULT".into()) }
                    }
                };
                Box::pin(self.set(&statement)).await
            }
        }
    }

    /// The home shard joins the transaction: somebody must say whether what comes is valid.
    pub(super) async fn home_joins(&mut self) -> Result<(), Failure> {
        let at = self.enlist(self.view.topology.home).await?;
        self.held[at].server.settle().await?;
        Ok(())
    }

    pub(super) fn warn_outside_of_block(&mut self, message: &'static str) {
        if !self.tx.counts_as_block() {
            self.warn(SqlState::NO_ACTIVE_SQL_TRANSACTION, message);
        }
    }

    /// SET LOCAL and SET TRANSACTION: for the shards in the transaction now, and for those that join later. Outside of a block, too,
    /// they are in a transaction: it ends with the message, or at the Sync of the pipeline.
    pub(super) async fn set_in_transaction(&mut self, sql: &str) -> Result<(), Failure> {
        self.tx.begin_implicit(&self.settings);
        if !self.held.iter().any(|h| h.joined) {
            self.home_joins().await?;
            if self.batch.queried {
                // What has run in this pipeline was in no transaction of the shards', and yet came before.
                self.tell_joined("SELECT").await?;
            }
        }
        self.tell_joined(sql).await?;
        self.tx.remember(sql);
        Ok(())
    }

    /// New session settings: tried on a server, which has the word on what is valid, then the session's own. `always`: also where they
    /// are the old ones.
    pub(super) async fn change_settings(
        &mut self,
        wanted: SessionSettings,
        sql: &str,
        always: bool,
    ) -> Result<(), Failure> {
        let wanted = self.shared.settings.share(wanted);
        if self.tx.is_open() {
            if !self.held.iter().any(|h| h.joined) {
                self.home_joins().await?;
            }
            self.tell_joined(sql).await?;
            self.tx.remember(sql);
            for held in self.held.iter_mut().filter(|h| h.joined) {
                held.server.applied = Some(Arc::clone(&wanted));
            }
        } else {
            let home = self.view.topology.home;
            let at = match self.held.position(home) {
                Some(at) => at,
                None => {
                    let server = self.checkout(self.pools.pool(home).place()).await?;
                    self.hold(home, server)
                }
            };
            self.held[at].server.placeholders.join(wanted.placeholders());
            // Whether the user may be that one is asked each time, whoever the connection's user is just then.
            let taken = wanted.taking() != self.settings.taking();
            let ordered = taken || self.settings.has_roles() || self.settings.has_of_others();
            let own = Arc::clone(&self.settings);
            let done = match ordered || always && Arc::ptr_eq(&self.settings, &wanted) {
                // What it may set is the role's own matter, and the order of roles counts.
                true => match self.put_settings_at(at, &own).await? {
                    Ok(()) => {
                        let done = self.ask_at(at, sql).await?;
                        done.map(|_| self.held[at].server.applied = Some(Arc::clone(&wanted)))
                    }
                    // A role that was dropped is left all the same.
                    Err(fault) if missing_role(&fault).is_some() && !wanted.has_roles() => {
                        self.put_settings_at(at, &wanted).await?
                    }
                    failed => failed,
                },
                false => self.put_settings_at(at, &wanted).await?,
            };
            if let Err(fault) = done {
                self.release_idle();
                return Err(fault.into());
            }
            // Pinned connections follow at their next statement, as all others do.
        }
        let carrier = self.held.iter().position(|h| h.server.applied.as_ref().is_some_and(|a| Arc::ptr_eq(a, &wanted)));
        self.adopt(wanted);
        if let Some(at) = carrier {
            self.report_parameters(at);
        }
        match self.tx.is_open() {
            true => self.follow_idle_timers().await,
            false => self.release_idle(),
        }
        Ok(())
    }

    /// Makes these the session's settings, and names mean what they say.
    pub(super) fn adopt(&mut self, wanted: Arc<SessionSettings>) {
        let heard = self.heard_strings(&wanted);
        {
            let mut effective = self.tx.with_locals(&wanted);
            let scope = |values: &_| SearchScope::new(values, &self.defaults, &self.server_user, &self.database.name);
            self.scope = scope(&effective);
            if let Some(standard) = heard.filter(|heard| *heard != self.scope.standard_strings()) {
                effective.to_mut().set(STANDARD_STRINGS, if standard { "on" } else { "off" });
                self.scope = scope(&effective);
            }
            self.scope.heard = heard;
            self.meaning = effective.meaning(&self.defaults);
        }
        let others = !Arc::ptr_eq(&self.settings, &wanted);
        self.settings = wanted;
        if others {
            self.note_application();
        }
        self.follow_limits();
    }

    /// Before a text is read that has a backslash, or `&`: whatever code has set meanwhile, its strings are read as its server will do it.
    pub(super) async fn heed_strings(&mut self, text: &str) -> Result<(), Failure> {
        if memchr::memchr2(b'\\', b'&', text.as_bytes()).is_none() {
            return Ok(());
        }
        let is_asked = |held: &Held| !held.server.inflight.is_empty();
        if self.open_at().map(|at| &self.held[at]).is_some_and(|held| held.may_have_set && is_asked(held)) {
            // In the middle of a batch it has told nothing yet.
            self.settle_parse().await?;
            self.leave_open().await?;
        }
        self.held.iter_mut().filter(|held| !is_asked(held)).for_each(|held| held.may_have_set = false);
        if self.heard_strings(&self.settings) != self.scope.heard {
            self.adopt(Arc::clone(&self.settings));
        }
        Ok(())
    }

    /// What a server that the session holds tells of `standard_conforming_strings`, where it gets nothing else before its next statement.
    fn heard_strings(&self, settings: &SessionSettings) -> Option<bool> {
        let tells = |held: &Held| {
            let applied = held.server.applied.as_ref().and_then(|applied| applied.get(STANDARD_STRINGS));
            let follows = held.joined || held.pin.is_some() && applied == settings.get(STANDARD_STRINGS);
            let is_said = held.unseen || held.unseen_locally || held.server.inflight.is_empty();
            if !(follows && is_said) || held.finishing != Finishing::No {
                return None;
            }
            let told = held.server.parameters.iter().find(|(name, _)| &**name == STANDARD_STRINGS);
            told.map(|(_, value)| !is_off(value))
        };
        let unseen = self.held.iter().filter(|held| held.unseen || held.unseen_locally);
        unseen.chain(self.held.iter()).find_map(tells)
    }

    /// A setting has this value until the transaction ends; `None`: its default.
    pub(super) fn set_local(&mut self, name: &str, value: Option<&str>) {
        let default = |name: &str| self.startup.get(name).unwrap_or("DEFAULT").to_owned();
        let of_role =
            (name == "session_authorization").then(|| value.map_or_else(|| default("role"), |_| "none".into()));
        let value = value.map_or_else(|| default(name), str::to_owned);
        self.tx.set_local(name, &value);
        if let Some(role) = of_role {
            self.tx.set_local("role", &role);
        }
        self.adopt(Arc::clone(&self.settings));
    }

    /// The parameters that this server has are the session's: the client is told before its next ReadyForQuery.
    pub(super) fn report_parameters(&mut self, at: usize) {
        for (name, value) in &self.held[at].server.parameters {
            self.client.parameters.note(name, value);
        }
    }

    /// A setting has changed within the transaction: so it has on every server that takes part.
    pub(super) fn report_joined(&mut self) {
        let at = self.held.iter().position(|held| held.joined);
        if let Some(at) = at {
            self.report_parameters(at);
        }
    }
}

/// Those that the router sends in a form of their own, or keeps itself, are no lists: a server says so of all others.
fn check_one(name: &str, value: &str) -> Result<(), Fault> {
    let own = matches!(name, "timezone" | "role" | "session_authorization" | "client_encoding");
    if (own || name.starts_with("pgloom.")) && utility::is_list(value) {
        let message = format!("SET {name} takes only one argument");
        return Err(Fault::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    Ok(())
}

/// What no login may set: as in Postgres, where a login is read in a transaction that has a snapshot, which none of these may change.
pub(super) fn check_of_login(name: &str, value: &str) -> Result<(), Fault> {
    let text = settings::whole_text(value).unwrap_or(value).trim_matches('\'').to_ascii_lowercase();
    let what = match name {
        "transaction_isolation" if ["serializable", "repeatable read", "read uncommitted"].contains(&&*text) => {
            "SET TRANSACTION ISOLATION LEVEL"
        }
        "transaction_deferrable" if utility::parse_bool(&text).is_some() => "SET TRANSACTION [NOT] DEFERRABLE",
        _ => return Ok(()),
    };
    let message = format!("{what} must be called before any query");
    Err(Fault::new(SqlState::ACTIVE_SQL_TRANSACTION, message))
}

/// Settings that would break what the router relies on.
pub(super) fn check_setting(name: &str, value: &str) -> Result<(), Fault> {
    if name == replica::SETTING {
        return replica::check_preference(value);
    }
    check_reserved(name)?;
    let plain = value.trim().trim_matches('\'').to_ascii_lowercase().replace(['-', '_'], "");
    if name == "client_encoding" && !matches!(plain.as_str(), "utf8" | "unicode" | "sqlascii") {
        return Err(Fault::unsupported(
            format!("client_encoding {value} is not supported"),
            "pgloom reads statements as UTF-8 to find the sharding key.",
            "Set client_encoding to UTF8.",
        ));
    }
    if value.eq_ignore_ascii_case("default") { Ok(()) } else { check_limit(name, value) }
}

/// Postgres takes a name with the prefix of PL/pgSQL until that is loaded, which any statement may do, and no more then.
fn check_reserved(name: &str) -> Result<(), Fault> {
    const KNOWN: [&str; 5] =
        ["variable_conflict", "print_strict_params", "check_asserts", "extra_warnings", "extra_errors"];
    match name.split_once('.') {
        Some(("plpgsql", rest)) if !KNOWN.contains(&rest) => {
            let message = format!("invalid configuration parameter name \"{name}\"");
            Err(Fault::new(SqlState::INVALID_NAME, message).detail("\"plpgsql\" is a reserved prefix."))
        }
        Some(_) | None => Ok(()),
    }
}

/// One of SESSION CHARACTERISTICS as the setting that it is.
fn characteristic(mode: Mode) -> (&'static str, String) {
    let switch = |on: bool| if on { "on" } else { "off" }.to_owned();
    match mode {
        Mode::Isolation(level) => ("default_transaction_isolation", format!("'{level}'")),
        Mode::ReadOnly(on) => ("default_transaction_read_only", switch(on)),
        Mode::Deferrable(on) => ("default_transaction_deferrable", switch(on)),
    }
}

/// The setting that makes the transaction read only.
pub(super) const READ_ONLY: &str = "transaction_read_only";

/// Whether modes of a transaction make it one.
pub(super) fn is_read_only(modes: &str) -> bool {
    utility::modes(modes).contains(&Mode::ReadOnly(true))
}
