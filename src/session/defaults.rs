//! Settings that the client has not set itself: what its connections begin with, and how they print values.

use std::sync::Arc;

use crate::backend::cluster::ServerCheckout;
use crate::backend::defaults::Defaults;
use crate::backend::settings::{self, SessionSettings};
use crate::fault::{Fault, SqlState};
use crate::session::Session;
use crate::session::scope::is_off;
use crate::sql::utility;
use crate::types::compare::TextStyle;

impl Session {
    pub(super) fn begin_with(&mut self, defaults: Arc<Defaults>) {
        self.client.parameters.begin_with(&defaults.parameters);
        self.defaults = defaults;
        self.adopt(Arc::clone(&self.settings));
    }

    /// Logins begin with other settings now: new connections have them, and so has this session, as it holds none.
    pub(super) fn follow_defaults(&mut self) {
        let Some(fresh) = self.pools.defaults.get() else { return };
        for (name, value) in &fresh.parameters {
            let own = self.settings.get(&name.to_ascii_lowercase()).is_some();
            if !own && self.client.parameters.get(name).is_some() {
                self.client.parameters.note(name, value);
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
        let date_style = self.client.parameters.get("DateStyle").unwrap_or_default();
        let effective = self.tx.with_locals(&self.settings);
        let digits = self.value_in(&effective, "extra_float_digits");
        let output = self.value_in(&effective, "bytea_output");
        TextStyle {
            iso_dates: date_style.starts_with("ISO"),
            exact_floats: digits.is_some_and(|digits| digits.trim().parse::<i32>().is_ok_and(|digits| digits >= 1)),
            hex_bytea: output.is_some_and(|output| output.eq_ignore_ascii_case("hex")),
        }
    }

    /// The setting that keeps a server's text of some value from being read as that very value by another server of this session,
    /// and what it would have to be; `None`: texts are exact.
    ///
    /// What writes a text has the settings of this moment; what reads it may have those from before the transaction, as the inputs of a
    /// combine connection do.
    pub(super) fn inexact_text(&self) -> Option<(&'static str, &'static str)> {
        let style = self.text_style();
        if !style.iso_dates {
            return Some(("DateStyle", "ISO"));
        }
        if !style.exact_floats {
            return Some(("extra_float_digits", "1"));
        }
        let now = self.tx.with_locals(&self.settings);
        let before = self.tx.settings_before().unwrap_or(&self.settings);
        for settings in [&*now, before] {
            let is =
                |name: &str, fits: fn(&str) -> bool| self.value_in(settings, name).is_some_and(|value| fits(&value));
            // Off, what is printed for a NULL in an array is read as the text "NULL".
            if !is("array_nulls", |value| !is_off(value)) {
                return Some(("array_nulls", "on"));
            }
            // As a document, not every value is read that there is.
            if !is("xmloption", |value| value.eq_ignore_ascii_case("content")) {
                return Some(("xmloption", "content"));
            }
            // One sign for all that follows it: read by the rules of the other styles it is that of the first field alone.
            if !is("intervalstyle", |value| !value.eq_ignore_ascii_case("sql_standard")) {
                return Some(("IntervalStyle", "postgres"));
            }
        }
        // Money is read by the rules under which it was printed.
        let money = |settings: &SessionSettings| self.value_in(settings, "lc_monetary");
        (money(&now) != money(before)).then_some(("lc_monetary", "what it was before the transaction"))
    }

    /// What a setting of those that logins tell is under these settings.
    pub(super) fn value_in(&self, settings: &SessionSettings, name: &str) -> Option<Box<str>> {
        match settings.get(name) {
            Some(value) => settings::whole_text(value).map(Into::into).or_else(|| utility::plain_value(value)),
            None => self.defaults.get(name).map(Into::into),
        }
    }
}
