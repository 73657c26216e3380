//! What a login begins with: settings of the servers' own configuration (`ALTER ROLE ... SET`) that the router has to know.
//!
//! Only a server can tell them, so each is asked after the login. What the home shard says holds for the whole database: a shard with
//! other settings would read a statement differently, or print its rows differently.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;

use crate::backend::Backend;
use crate::fault::Fault;

/// Settings of which a client may change each, and that decide what a statement means or how a value is printed.
const NAMES: [&str; 24] = [
    "application_name",
    "array_nulls",
    "backslash_quote",
    "bytea_output",
    "datestyle",
    "default_text_search_config",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "role",
    "row_security",
    "search_path",
    "standard_conforming_strings",
    "timezone",
    "timezone_abbreviations",
    "transform_null_equals",
    "xmlbinary",
    "xmloption",
];

/// Of what `ALTER ROLE` and `ALTER DATABASE ... SET` say for this login: whether DateStyle is in it, and the client_encoding. The more
/// special has its way, as in Postgres's `process_settings`.
const ASSIGNED: &str = "SELECT substr(given, strpos(given, '=') + 1) FROM pg_catalog.pg_db_role_setting s, unnest(s.setconfig) given \
     WHERE s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())) \
       AND s.setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user)) \
       AND lower(given) LIKE '{}=%' ORDER BY s.setrole = 0, s.setdatabase = 0 LIMIT 1";

/// The settings of a fresh login.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// In the order of [`NAMES`]; `None`: the server knows no such setting. Empty: nobody was asked.
    values: Vec<Option<Box<str>>>,
    /// What ParameterStatus said.
    pub parameters: Vec<(Box<str>, Box<str>)>,
    /// DateStyle is `ALTER ROLE`'s or `ALTER DATABASE`'s.
    pub assigns_date_style: bool,
    /// The client_encoding that one of them has set for clients that name none.
    pub client_encoding: Option<Box<str>>,
}

impl Defaults {
    /// Asks a connection on which nothing was set yet.
    ///
    /// # Errors
    /// The loss of the connection.
    pub async fn ask(server: &mut Backend) -> Result<Self, Fault> {
        let values: Vec<String> =
            NAMES.iter().map(|name| format!("pg_catalog.current_setting('{name}', true)")).collect();
        let assigned = |name| ASSIGNED.replace("{}", name);
        let (style, encoding) = (assigned("datestyle"), assigned("client_encoding"));
        let rows = server.query(&format!("SELECT {}, ({style}), ({encoding})", values.join(", "))).await?;
        let mut row = rows.into_iter().next().unwrap_or_default().into_iter().map(|value| value.map(Box::<str>::from));
        Ok(Self {
            values: row.by_ref().take(NAMES.len()).collect(),
            parameters: server.parameters.clone(),
            assigns_date_style: row.next().flatten().is_some(),
            client_encoding: row.next().flatten(),
        })
    }

    /// The setting's own text.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = NAMES.iter().position(|known| *known == name)?;
        self.values.get(at)?.as_deref()
    }

    /// The settings of `self` that are others in `theirs`.
    pub fn beyond<'a>(&'a self, theirs: &Self) -> Vec<(&'static str, &'a str)> {
        let known = NAMES.iter().filter_map(|name| Some((*name, self.get(name)?)));
        known.filter(|(name, value)| theirs.get(name) != Some(value)).collect()
    }
}

/// What the home shard told last, for all pools of one user.
#[derive(Debug, Default)]
pub struct HomeDefaults {
    told: ArcSwapOption<Defaults>,
    /// Where `told` is, for who has settings in its hand: it need not be borrowed for that.
    address: AtomicPtr<Defaults>,
    changing: Mutex<()>,
}

impl HomeDefaults {
    /// `None`: no login has been tried, or none was let in.
    pub fn get(&self) -> Option<Arc<Defaults>> {
        self.told.load_full()
    }

    pub fn is(&self, defaults: &Arc<Defaults>) -> bool {
        let known = self.address.load(Ordering::Acquire);
        known.is_null() || ptr::eq(known, Arc::as_ptr(defaults))
    }

    /// Equal settings keep their address, so that connections and sessions with them are known to be up to date.
    pub fn note(&self, fresh: Defaults) -> Arc<Defaults> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.told.load_full() {
            Some(known) if *known == fresh => known,
            Some(_) | None => {
                let fresh = Arc::new(fresh);
                // Kept from here on, so nothing else is ever at the address that is compared.
                self.told.store(Some(Arc::clone(&fresh)));
                self.address.store(Arc::as_ptr(&fresh).cast_mut(), Ordering::Release);
                fresh
            }
        }
    }
}
