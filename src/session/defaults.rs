//! Settings that the client has not set itself: what its connections begin with, and how they print values.

use std::sync::Arc;

use crate::backend::cluster::ServerCheckout;
use crate::backend::defaults::Defaults;
use crate::backend::settings;
use crate::fault::{Fault, SqlState};
use crate::session::Session;
use crate::sql::utility;
use crate::types::compare::TextStyle;
use crate::wire::reply;

const APPLICATION_NAME: &str = "application_name";

impl Session {
    pub(super) fn begin_with(&mut self, defaults: Arc<Defaults>) {
        self.reported = self.parameters_told(&defaults.parameters);
        self.defaults = defaults;
        self.adopt(Arc::clone(&self.settings));
    }

    /// What the client is told of a server's parameters. Where it has no name of its own, the server has the router's.
    pub(super) fn parameters_told(&self, parameters: &[(Box<str>, Box<str>)]) -> Vec<(Box<str>, Box<str>)> {
        let named = self.tx.with_locals(&self.settings).get(APPLICATION_NAME).is_some();
        let told = |(name, value): &(Box<str>, Box<str>)| match **name == *APPLICATION_NAME && !named {
            true => (name.clone(), Box::default()),
            false => (name.clone(), value.clone()),
        };
        parameters.iter().map(told).collect()
    }

    /// Logins begin with other settings now: new connections have them, and so has this session, as it holds none.
    pub(super) fn follow_defaults(&mut self) {
        let Some(fresh) = self.pools.defaults.get() else { return };
        for (name, value) in &self.parameters_told(&fresh.parameters) {
            let own = self.settings.get(&name.to_ascii_lowercase()).is_some();
            let known = self.reported.iter_mut().find(|(n, old)| n == name && old != value && !own);
            if let Some((_, old)) = known {
                old.clone_from(value);
                let _ = reply::parameter_status(&mut self.client.out, name, value);
            }
        }
        self.defaults = fresh;
        self.adopt(Arc::clone(&self.settings));
    }

    /// Whether statements mean on this connection what they were routed for.
    pub(super) fn check_defaults(&self, server: &ServerCheckout) -> Result<(), Fault> {
        if Arc::ptr_eq(&server.defaults, &self.defaults) {
            return Ok(());
        }
        Err(Fault::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            "the settings that a connection begins with have changed on the servers",
        )
        .detail("This session has connections, or has planned its statement, with the settings from before.")
        .hint("Try again outside of a transaction, or connect again."))
    }

    /// How this session's servers print dates, floats and bytea.
    pub(super) fn text_style(&self) -> TextStyle {
        let date_style = self.reported.iter().find(|(name, _)| &**name == "DateStyle").map_or("", |(_, value)| value);
        let effective = self.tx.with_locals(&self.settings);
        let value = |name: &str| match effective.get(name) {
            Some(value) => settings::whole_text(value).map(Into::into).or_else(|| utility::plain_value(value)),
            None => self.defaults.get(name).map(Into::into),
        };
        let digits = value("extra_float_digits");
        TextStyle {
            iso_dates: date_style.starts_with("ISO"),
            exact_floats: digits.is_some_and(|digits| digits.trim().parse::<i32>().is_ok_and(|digits| digits >= 1)),
            hex_bytea: value("bytea_output").is_some_and(|output| output.eq_ignore_ascii_case("hex")),
        }
    }
}
