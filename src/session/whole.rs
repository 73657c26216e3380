//! What a SET makes of the session's settings: of those that a client may give in parts the whole, and what follows from another setting.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::connector::ServerConnector;
use crate::backend::settings::{self, SessionSettings};
use crate::exec::replies::watched;
use crate::fault::Fault;
use crate::session::set::check_setting;
use crate::session::{Failure, Session};
use crate::sql::utility::{self, ConfigCall};

const DATE_STYLE: &str = "datestyle";
const ENCODING: &str = "client_encoding";
const BUILT_IN: &str = "ISO, MDY";
/// Settings that a login can bring and no SET: they are of the connection (`PGC_BACKEND`).
const OF_CONNECTIONS: [&str; 6] = [
    "ignore_system_indexes",
    "jit_debugging_support",
    "jit_profiling_support",
    "log_connections",
    "log_disconnections",
    "post_auth_delay",
];

/// The number of a SET that makes the user another one: no other one in this process has it.
pub(super) fn next_taking() -> u64 {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    TAKEN.fetch_add(1, Ordering::Relaxed) + 1
}

/// The values of DateStyle that came with a client's login, in their order: each may be a part, which is put over those before it.
#[derive(Default)]
pub(super) struct DateStyles(Vec<Box<str>>);

impl DateStyles {
    /// A setting of the login.
    pub(super) fn note(&mut self, name: &str, value: &str) {
        if name == DATE_STYLE {
            self.0.push(value.into());
        }
    }

    /// The whole value over this one. `None`: there is none, or Postgres refuses it.
    fn over(&self, login: &str) -> Option<String> {
        let put = |current: Option<String>, text: &Box<str>| {
            utility::whole_date_style(text, current.as_deref().unwrap_or(login), login).map(Some)
        };
        self.0.iter().try_fold(None, put)?
    }

    /// Whether it is the same whatever was there before.
    fn is_whole(&self) -> bool {
        self.over("ISO, MDY") == self.over("SQL, DMY")
    }
}

impl Session {
    /// A value of SET, DEFAULT left out, as it is kept and sent: so that it means the same on a connection that had another one.
    /// `None`: Postgres refuses it.
    pub(super) fn whole_value<'v>(&self, name: &str, value: &'v str) -> Option<Cow<'v, str>> {
        if name != DATE_STYLE {
            return Some(Cow::Borrowed(value));
        }
        let whole = self.whole_date_style(&utility::list_text(value)?, &self.date_style())?;
        Some(Cow::Owned(settings::text_value(name, &whole)))
    }

    /// The same for the calls of a set_config, each after those before it; `None` as value: back to what the session began with. False
    /// beside them: they are as they were.
    pub(super) fn whole_calls(&self, calls: Vec<ConfigCall>) -> Option<(Vec<ConfigCall>, bool)> {
        let mut style = self.date_style();
        let mut changed = false;
        let mut whole = Vec::new();
        for call in calls {
            let of_startup = || self.startup.get(&call.name).and_then(plain_text);
            let mut value = call.value.clone().or_else(of_startup);
            if *call.name == *"session_authorization" && value.is_none() && self.startup.get("role").is_some() {
                // The server's role would be another one.
                return None;
            }
            if *call.name == *DATE_STYLE {
                style = match &value {
                    Some(text) => self.whole_date_style(text, &style)?,
                    None => self.date_style_at_login().to_owned(),
                };
                value = value.map(|_| style.as_str().into());
            }
            changed |= value != call.value;
            whole.push(ConfigCall { value, ..call });
        }
        Some((whole, changed))
    }

    fn whole_date_style(&self, text: &str, current: &str) -> Option<String> {
        let reset = self.startup.get(DATE_STYLE).and_then(plain_text);
        utility::whole_date_style(text, current, reset.as_deref().unwrap_or_else(|| self.date_style_at_login()))
    }

    /// What holds now.
    fn date_style(&self) -> String {
        let effective = self.tx.with_locals(&self.settings);
        let set = effective.get(DATE_STYLE).and_then(plain_text);
        set.map_or_else(|| self.date_style_at_login().to_owned(), String::from)
    }

    fn date_style_at_login(&self) -> &str {
        self.defaults.get(DATE_STYLE).unwrap_or(BUILT_IN)
    }

    /// The session begins: its own settings become whole. What is left out of a DateStyle is as in the servers' configuration files: as
    /// in Postgres, what comes with a login is read before what `ALTER ROLE` and `ALTER DATABASE` have for it, and hides that.
    pub(super) async fn complete_startup(&mut self, given: &DateStyles, home: &ServerConnector) -> Result<(), Failure> {
        let login = self.date_style_at_login();
        let whole = match given.over(login) {
            Some(whole) if !self.defaults.assigns_date_style || given.is_whole() => whole,
            // Only a login tells.
            Some(_) => watched(&mut self.client, home.date_style_with(&given.0)).await??,
            // None was given, or Postgres refuses it.
            None => return Ok(()),
        };
        let mut startup = (*self.startup).clone();
        startup.set(DATE_STYLE, &settings::text_value(DATE_STYLE, &whole));
        self.startup = self.shared.settings.share(startup);
        self.adopt(Arc::clone(&self.startup));
        Ok(())
    }

    /// What Postgres makes of a login in a way that connections which are there already cannot follow.
    pub(super) fn check_login(&self) -> Result<(), Fault> {
        if self.startup.get("session_authorization").is_some() {
            return Err(Fault::unsupported(
                "session_authorization in a login is not supported",
                "Postgres would begin with what ALTER ROLE ... SET says for that role.",
                "SET SESSION AUTHORIZATION after the login.",
            ));
        }
        self.check_encoding()
    }

    /// What is of a connection from its beginning a server would take for a SET that comes too late.
    pub(super) fn check_of_connections(&self) -> Result<(), Fault> {
        match OF_CONNECTIONS.into_iter().find(|name| self.startup.get(name).is_some()) {
            Some(name) => Err(Fault::unsupported(
                format!("{name} in a login is not supported"),
                "Postgres takes it for a connection that begins, and those to the servers are there already.",
                "Set it on the servers.",
            )),
            None => Ok(()),
        }
    }

    /// A client that names no encoding has the one that `ALTER ROLE` or `ALTER DATABASE` says; but its connections have UTF8.
    fn check_encoding(&self) -> Result<(), Fault> {
        match &self.defaults.client_encoding {
            Some(encoding) if self.startup.get(ENCODING).is_none() => check_setting(ENCODING, encoding),
            Some(_) | None => Ok(()),
        }
    }

    /// These settings with another value of one; `None`: the one that the session began with.
    pub(super) fn settings_with(&self, of: &SessionSettings, name: &str, value: Option<&str>) -> SessionSettings {
        let mut wanted = of.clone();
        let by = self.tx.with_locals(of).roles().filter(|_| value.is_some() && !settings::ROLES.contains(&name));
        let mut put = |name: &str, value: Option<&str>| match value {
            Some(value) => wanted.set_by(name, value, by.clone()),
            None => wanted.remove(name),
        };
        put(name, value.or_else(|| self.startup.get(name)));
        if name == "session_authorization" {
            // Its role ends with it.
            let none = self.has_role_at_login().then_some("none");
            put("role", if value.is_some() { none } else { self.startup.get("role") });
        }
        if settings::ROLES.contains(&name) {
            wanted.take_role(next_taking());
        }
        wanted
    }

    fn has_role_at_login(&self) -> bool {
        self.startup.get("role").is_some() || self.defaults.get("role").is_some_and(|role| role != "none")
    }

    /// A SET for the session takes the place of a SET LOCAL.
    pub(super) fn forget_local(&mut self, name: &str) {
        self.tx.forget_local(name);
        if name == "session_authorization" {
            self.tx.forget_local("role");
        }
    }

    /// The statement that brings a setting back to what the session began with.
    pub(super) fn reset_of(&self, name: &str) -> String {
        self.startup.get(name).map_or_else(|| settings::reset(name), |value| settings::assign(name, value))
    }
}

/// The setting's own text of a value that [`settings::text_value`] has made, or that a client wrote plainly.
fn plain_text(value: &str) -> Option<Box<str>> {
    settings::whole_text(value).map(Into::into).or_else(|| utility::plain_value(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_date_style_are_put_over_each_other() {
        for (given, over, whole) in [
            (&[][..], None, true),
            (&["ISO"], Some("ISO, YMD"), false),
            (&["DMY"], Some("German, DMY"), false),
            (&["SQL, MDY"], Some("SQL, MDY"), true),
            (&["German"], Some("German, DMY"), true),
            (&["german", "iso"], Some("ISO, DMY"), true),
            (&["dmy", "iso"], Some("ISO, DMY"), true),
            (&["iso", "default"], Some("German, YMD"), false),
            (&["iso, sql"], None, true),
        ] {
            let mut styles = DateStyles::default();
            given.iter().for_each(|text| styles.note("datestyle", text));
            assert_eq!(styles.over("German, YMD").as_deref(), over, "{given:?}");
            assert_eq!(styles.is_whole(), whole, "{given:?}");
        }
    }
}
