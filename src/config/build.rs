//! file -> `Settings`: what the single values mean together. Every error is collected.

mod auth;
mod general;
mod map_source;
mod topology;
mod users;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::document::Document;
use crate::config::error::{ConfigError, ConfigErrors, Origin, did_you_mean};
use crate::config::file::{self, File, General};
use crate::config::section::{Need, Reader, Section, Setting};
use crate::config::{
    AT_START, CombineServer, CombineSettings, Database, Early, KeySettings, MapSettings, PoolSettings, ReadPreference,
    Settings, Shown, TwoPhaseCommit, UniqueRule,
};
use crate::ids::QualifiedName;
use crate::topology::{TableRule, Topology};

/// Environment variables of ours that are no settings.
const OTHER_VARIABLES: [&str; 2] = ["PGLOOM_CONFIG", "PGLOOM_LOG"];

/// The text of pgloom.toml and what it depends on.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// Where it was read from; `None`: it is no file.
    pub path: Option<PathBuf>,
    pub file: String,
    pub text: String,
    pub directory: PathBuf,
    pub environment: HashMap<String, String>,
    /// Settings of `[general]` that the console has given other values, by key.
    pub console: HashMap<String, String>,
    /// What stands in etcd of users, as auth_file would say it.
    pub users: Option<String>,
}

impl Source {
    fn reader(&self) -> Reader {
        Reader::with_console(&self.file, &self.text, self.environment.clone(), self.console.clone())
    }
}

/// `map`: the document of the shard map, where the file says that it is elsewhere.
pub(super) fn settings(source: &Source, map: Option<&Document>) -> Result<Settings, ConfigErrors> {
    let strangers = unknown_variables(&source.environment);
    let mut reader = source.reader();
    let read = File::read(&source.text, &mut reader);
    let said = std::mem::take(&mut reader.said);
    let mut build = Build::of(reader, source);
    for (name, remedy) in strangers {
        build.warn(&Origin::Environment(name), format!("no setting of [general] has this name{remedy}"));
    }
    let settings = read.and_then(|file| build.all(file, map));
    let (mut settings, warnings) = build.finish(settings)?;
    settings.files.splice(0..0, source.path.clone());
    Ok(Settings { warnings, shown: shown(&said), ..settings })
}

/// What does not depend on the map.
pub(super) fn early(source: &Source) -> Result<Early, ConfigErrors> {
    let mut reader = source.reader();
    let read = File::read(&source.text, &mut reader);
    let mut build = Build::of(reader, source);
    let early = read.and_then(|file| {
        let general = build.general(&file.general?)?;
        let map = build.map_source(&file.topology?)?;
        Some(Early { map, log: general.log, workers: general.listen.workers })
    });
    build.finish(early).map(|(early, _)| early)
}

/// `[topology]` alone.
pub(super) fn map_settings(source: &Source) -> Result<MapSettings, ConfigErrors> {
    let mut reader = source.reader();
    let read = File::read(&source.text, &mut reader);
    let mut build = Build::of(reader, source);
    let settings = read.and_then(|file| build.map_source(&file.topology?));
    build.finish(settings).map(|(settings, _)| settings)
}

/// A document of the shard map: its head, and the databases that it places.
pub(super) fn document(name: &str, text: &str) -> Result<Document, ConfigErrors> {
    let mut reader = Reader::new(name, text, HashMap::new());
    let read = file::Map::read(text, &mut reader);
    let mut build = Build::new(reader, Path::new(""));
    let document = read.map(|map| build.document(&map));
    let (document, warnings) = build.finish(document)?;
    Ok(Document { warnings, ..document })
}

/// A database's or a user's own: `Some(None)`: it has none.
pub(super) fn login_timeout(own: Option<&Setting<Duration>>) -> Option<Option<Duration>> {
    own.map(|own| Some(own.value).filter(|own| !own.is_zero()))
}

/// What [general] says, and the defaults of what it does not say.
fn shown(said: &[(&'static str, String)]) -> Vec<Shown> {
    let keys = General::KEYS.iter().filter(|key| !key.secret);
    // A test says that every key has a default.
    let shown = keys.filter_map(|key| {
        let Need::Default(default) = key.need else { return None };
        let value = said.iter().find(|(name, _)| *name == key.name).map_or(default, |(_, value)| value);
        let changeable = !AT_START.contains(&key.name);
        Some(Shown { key: key.name, value: value.to_owned(), default, changeable })
    });
    shown.collect()
}

fn unknown_variables(environment: &HashMap<String, String>) -> Vec<(String, String)> {
    let known: Vec<String> =
        General::KEYS.iter().map(|key| format!("PGLOOM_{}", key.name.to_ascii_uppercase())).collect();
    let unknown = environment.keys().filter(|name| !known.contains(name) && !OTHER_VARIABLES.contains(&name.as_str()));
    unknown.map(|name| (name.clone(), did_you_mean(name, known.iter().map(String::as_str)))).collect()
}

/// One validation: where we are and what was found.
struct Build<'a> {
    file: Arc<str>,
    directory: &'a Path,
    errors: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
    /// Those that it names.
    files: Vec<PathBuf>,
    /// Where it was read from.
    path: Option<&'a Path>,
    /// Users that stand in etcd.
    shared_users: Option<&'a str>,
}

impl<'a> Build<'a> {
    fn new(reader: Reader, directory: &'a Path) -> Self {
        Self {
            file: reader.file,
            directory,
            errors: reader.errors,
            warnings: Vec::new(),
            files: Vec::new(),
            path: None,
            shared_users: None,
        }
    }

    fn of(reader: Reader, source: &'a Source) -> Self {
        let (path, shared_users) = (source.path.as_deref(), source.users.as_deref());
        Self { path, shared_users, ..Self::new(reader, &source.directory) }
    }

    /// What was built with the warnings, where there was no error.
    fn finish<T>(mut self, built: Option<T>) -> Result<(T, Vec<ConfigError>), ConfigErrors> {
        self.errors.sort();
        self.errors.dedup();
        self.warnings.sort();
        match built {
            Some(built) if self.errors.is_empty() => Ok((built, self.warnings)),
            _ => Err(ConfigErrors(self.errors)),
        }
    }

    fn fail(&mut self, origin: &Origin, message: impl Into<String>) {
        self.errors.push(ConfigError { file: Arc::clone(&self.file), origin: origin.clone(), message: message.into() });
    }

    fn warn(&mut self, origin: &Origin, message: impl Into<String>) {
        self.warnings.push(ConfigError {
            file: Arc::clone(&self.file),
            origin: origin.clone(),
            message: message.into(),
        });
    }

    fn all(&mut self, read: File, map: Option<&Document>) -> Option<Settings> {
        let shares_users = read.topology.as_ref().is_some_and(map_source::shares_users);
        self.shared_users = shares_users.then(|| self.shared_users.unwrap_or_default());
        let users = read.users.as_deref().map(|users| self.users(users, &read.database_names, read.general.as_ref()));
        if read.database_names.is_empty() {
            self.fail(&Origin::Default, "no database; add [databases.NAME] with its [[databases.NAME.shards]]");
        }
        let general = read.general.as_ref().map(|general| (general, self.general(general)));
        let combine = read.combine.as_ref().and_then(|combine| self.combine(combine));
        let map_source = read.topology.as_ref().and_then(|topology| self.map_source(topology));
        let mut databases = Vec::new();
        for file::NamedDatabase { name, settings: section, placement } in &read.databases {
            self.fits("database", name, &section.origin);
            let placed = match placement {
                Some(placement) => self.placed(name, placement),
                None => self.placed_elsewhere(name, section, map),
            };
            let pool = general.as_ref().and_then(|(general, _)| self.pool(general, section));
            let read_preference = section.read_preference.as_ref().map(|wanted| wanted.value);
            let read_preference =
                read_preference.or_else(|| general.as_ref().map(|(general, _)| general.read_preference.value));
            let of_general = general.as_ref().map(|(general, _)| &general.key_max_rate);
            let at_once = general.as_ref().map_or(0, |(general, _)| general.key_max_concurrent.value);
            let at_once = section.key_max_concurrent.as_ref().map_or(at_once, |own| own.value);
            let rate = section.key_max_rate.as_ref().or(of_general);
            let keys = KeySettings {
                rate: rate.and_then(|rate| std::num::NonZeroU32::new(rate.value)),
                at_once: std::num::NonZeroU32::new(at_once),
            };
            let most = general.as_ref().map_or(0, |(general, _)| general.max_db_client_connections.value);
            let max_clients = section.max_db_client_connections.as_ref().map_or(most, |own| own.value);
            let router = self.router(name, section, users.as_deref().unwrap_or_default());
            let asks = read.general.as_ref().is_some_and(|general| !general.auth_query.value.trim().is_empty());
            if asks && section.router_user.is_none() {
                let message =
                    format!("database `{name}` needs a router_user: auth_query asks its home shard as that one");
                self.fail(&section.origin, message);
            }
            let safe_functions = self.safe_functions(section);
            if section.two_phase_commit.value == TwoPhaseCommit::BestEffort {
                let message = "two_phase_commit = \"best_effort\": transactions over several shards are not atomic";
                self.warn(&section.two_phase_commit.origin, message);
            }
            let (Some(placed), Some(pool)) = (placed, pool) else { continue };
            self.check_uniques(section, &placed.uniques);
            databases.push(Database {
                name: name.as_str().into(),
                topology: placed.topology,
                keys,
                server_connect: self.connect_timeout(section.server_connect_timeout.as_ref()),
                server_login: login_timeout(section.server_login_timeout.as_ref()),
                max_clients: std::num::NonZeroU32::new(max_clients),
                pool,
                times: general::time_wishes([
                    section.query_timeout.as_ref(),
                    section.scatter_timeout.as_ref(),
                    section.transaction_timeout.as_ref(),
                    section.idle_transaction_timeout.as_ref(),
                    section.client_idle_timeout.as_ref(),
                    section.query_wait_timeout.as_ref(),
                    section.client_write_timeout.as_ref(),
                    section.cancel_grace.as_ref(),
                    section.failover_timeout.as_ref(),
                    section.key_wait_timeout.as_ref(),
                    section.server_connect_timeout.as_ref(),
                    section.server_login_timeout.as_ref(),
                    section.log_slow_statements.as_ref(),
                ]),
                router,
                two_phase_commit: section.two_phase_commit.value,
                read_preference: read_preference.unwrap_or(ReadPreference::Primary),
                safe_functions,
                uniques: placed.uniques,
            });
        }
        let console = match (&read.general, &users) {
            (Some(general), Some(users)) => Some(self.console(general, users)),
            _ => None,
        };
        if let (Some(topology), Some(general)) = (&read.topology, &read.general) {
            self.check_users_file(topology, general);
        }
        let (written, parts) = general?;
        let parts = parts?;
        Some(Settings {
            files: std::mem::take(&mut self.files),
            listen: parts.listen,
            timeouts: parts.timeouts,
            limits: parts.limits,
            breakers: parts.breakers,
            combine: combine?,
            map: map_source?,
            allow_moves: read.topology.as_ref().is_some_and(|topology| topology.allow_moves.value),
            epoch: map.and_then(|map| map.epoch),
            auth: parts.auth,
            client_tls: parts.client_tls,
            server_tls: parts.server_tls,
            peer_tls: parts.peer_tls,
            metrics: parts.metrics,
            log: parts.log,
            console: console?,
            // The router itself writes it.
            timelines_file: self.directory.join(&written.timelines_file.value),
            shown: Vec::new(),
            users: users?,
            databases,
            warnings: Vec::new(),
        })
    }

    /// A database's or a user's own.
    fn connect_timeout(&mut self, own: Option<&Setting<Duration>>) -> Option<Duration> {
        let own = own?;
        if own.value.is_zero() {
            let message = "server_connect_timeout = 0 would wait for ever; give it a time, such as \"5s\"";
            self.fail(&own.origin, message);
        }
        Some(own.value)
    }

    fn combine(&mut self, combine: &file::Combine) -> Option<CombineSettings> {
        if combine.max_rows.value == 0 {
            self.fail(&combine.max_rows.origin, "wrong value `0`: no statement could pull a row");
        }
        let max_bytes = self.size("max_bytes", &combine.max_bytes, 64 << 10, 1 << 50);
        Some(CombineSettings {
            max_rows: combine.max_rows.value,
            max_bytes: max_bytes? as u64,
            pool_size: self.not_zero(&combine.pool_size, "a pool needs at least one connection")?,
            servers: self.combine_servers(&combine.servers.value),
        })
    }

    fn combine_servers(&mut self, sections: &[file::CombineServer]) -> Vec<CombineServer> {
        let mut servers: Vec<CombineServer> = Vec::new();
        for section in sections {
            self.check_server(&section.host, section.port.value, &section.port.origin);
            let server = CombineServer {
                host: section.host.value.as_str().into(),
                port: section.port.value,
                dbname: section.dbname.as_ref().map(|dbname| dbname.value.as_str().into()),
            };
            if servers.contains(&server) {
                let message = format!("[combine] names the server {}:{} twice; keep one", server.host, server.port);
                self.fail(&section.origin, message);
            }
            servers.push(server);
        }
        servers
    }

    fn pool(&mut self, general: &General, database: &file::Database) -> Option<PoolSettings> {
        let size = database.pool_size.as_ref().unwrap_or(&general.default_pool_size);
        let min_size = database.min_pool_size.as_ref().unwrap_or(&general.min_pool_size);
        if min_size.value > size.value && size.value > 0 {
            let at = if min_size.origin == Origin::Default { &size.origin } else { &min_size.origin };
            let message =
                format!("min_pool_size {} is more than the pool's size {}; lower it", min_size.value, size.value);
            self.fail(at, message);
        }
        Some(PoolSettings {
            mode: database.pool_mode.as_ref().unwrap_or(&general.pool_mode).value,
            size: self.not_zero(size, "a pool needs at least one connection")?,
            min_size: min_size.value,
        })
    }

    fn not_zero(&mut self, setting: &Setting<u32>, why: &str) -> Option<std::num::NonZeroU32> {
        let number = std::num::NonZeroU32::new(setting.value);
        if number.is_none() {
            self.fail(&setting.origin, format!("wrong value `0`: {why}"));
        }
        number
    }

    fn check_uniques(&mut self, database: &file::Database, uniques: &[UniqueRule]) {
        let two_phase = &database.two_phase_commit;
        if !uniques.is_empty() && two_phase.value != TwoPhaseCommit::On {
            let message = "values that are unique over all shards need two_phase_commit = \"on\": they are registered on other shards than their rows";
            self.fail(&two_phase.origin, message);
        }
    }

    fn uniques(&mut self, placement: &file::Placement, topology: Option<&Topology>) -> Vec<UniqueRule> {
        let mut rules: Vec<UniqueRule> = Vec::new();
        for section in &placement.uniques.value {
            let Some(table) = section.table.value.qualified("public") else { continue };
            if topology.is_some_and(|topology| !matches!(topology.rule(&table), Some(TableRule::Sharded { .. }))) {
                let message =
                    format!("{table} is no sharded table of this database; over one shard a unique index does it");
                self.fail(&section.table.origin, message);
            }
            let columns: Vec<Box<str>> =
                section.columns.value.iter().filter_map(|name| name.single().map(Into::into)).collect();
            if columns.is_empty() || columns.len() != section.columns.value.len() {
                self.fail(&section.columns.origin, "write the names of the columns that are unique together");
                continue;
            }
            let name = match &section.name {
                Some(name) => name.value.as_str().into(),
                None => format!("{}_{}_key", table.name, columns.join("_")).into(),
            };
            let rule = UniqueRule { table, columns, name };
            if rules.iter().any(|other| other.scope() == rule.scope()) {
                self.fail(&section.origin, format!("{} is unique twice; keep one", rule.scope()));
            }
            rules.push(rule);
        }
        rules
    }

    fn safe_functions(&mut self, database: &file::Database) -> Vec<QualifiedName> {
        database.safe_functions.value.iter().filter_map(|name| name.qualified("public")).collect()
    }

    /// The path as given, relative ones from the config file's directory; `None` for an empty one.
    fn path(&mut self, path: &Path) -> Option<PathBuf> {
        let path = (!path.as_os_str().is_empty()).then(|| self.directory.join(path))?;
        self.files.push(path.clone());
        Some(path)
    }

    /// Like [`Self::path`]; the file must be readable.
    fn readable(&mut self, setting: &Setting<PathBuf>, key: &str) -> Option<PathBuf> {
        let path = self.path(&setting.value)?;
        if let Err(e) = std::fs::File::open(&path) {
            self.fail(&setting.origin, format!("{key}: cannot read {}: {e}", path.display()));
        }
        Some(path)
    }
}
