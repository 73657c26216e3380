//! What is another in a new configuration than in the one before, in words for an operator.

use crate::config::{Database, EtcdSettings, MapSettings, Settings};
use crate::control::live::Applied;

/// The parts that differ. Files that changed under the same names are not in the settings: `certificates` tells of those.
pub(super) fn between(old: &Settings, new: &Settings, certificates: &[&str]) -> Applied {
    let mut changed: Vec<String> = certificates.iter().map(|what| (*what).to_owned()).collect();
    let mut differs = |what: &str, differs: bool| {
        if differs && !changed.iter().any(|known| known == what) {
            changed.push(what.to_owned());
        }
    };
    differs("addresses", old.listen.addresses != new.listen.addresses);
    differs("peers", old.listen.peers != new.listen.peers);
    differs("keep-alive", old.listen.keepalive != new.listen.keepalive);
    differs("time-outs", old.timeouts != new.timeouts);
    differs("limits", old.limits != new.limits);
    differs("breakers", old.breakers != new.breakers);
    differs("combine", old.combine != new.combine);
    differs("authentication", old.auth != new.auth);
    differs("client TLS", old.client_tls != new.client_tls);
    differs("server TLS", old.server_tls != new.server_tls);
    differs("metrics", old.metrics != new.metrics);
    let told = |settings: &Settings| {
        (settings.log.level, settings.log.connections, settings.log.disconnections, settings.log.statements)
    };
    differs("log", told(old) != told(new));
    differs("users", old.users != new.users);
    differs("topology", way_to_map(old, new).0 || old.allow_moves != new.allow_moves);
    differs("epoch of the map", old.epoch != new.epoch);
    differs("console", old.console != new.console);
    for database in &new.databases {
        let known = old.database(&database.name);
        differs(&format!("database {}", database.name), known.is_none_or(|known| known != database));
    }
    let is_gone = |database: &&Database| new.database(&database.name).is_none();
    changed.extend(old.databases.iter().filter(is_gone).map(|gone| format!("database {} (removed)", gone.name)));
    Applied { changed, later: later(old, new) }
}

/// What a running process cannot change: [`crate::config::AT_START`].
fn later(old: &Settings, new: &Settings) -> Vec<String> {
    let mut later = Vec::new();
    if old.listen.advertise != new.listen.advertise {
        later.push("advertise".to_owned());
    }
    if old.listen.workers != new.listen.workers {
        later.push("workers".to_owned());
    }
    if old.log.format != new.log.format {
        later.push("log_format".to_owned());
    }
    if way_to_map(old, new).1 {
        later.push("prefix of [topology]".to_owned());
    }
    if old.auth.mock_key_file != new.auth.mock_key_file {
        later.push("auth_mock_key_file".to_owned());
    }
    // A socket that is open shares its port or does not.
    if old.listen.reuse_port != new.listen.reuse_port {
        later.push("so_reuseport".to_owned());
    }
    later
}

/// Whether [topology] has another way to the map; whether it leads to another map, which a running router does not follow.
fn way_to_map(old: &Settings, new: &Settings) -> (bool, bool) {
    match (&old.map, &new.map) {
        (MapSettings::Etcd(old), MapSettings::Etcd(new)) => {
            let elsewhere = EtcdSettings { prefix: old.prefix.clone(), ..(**new).clone() };
            (**old != elsewhere, old.prefix != new.prefix)
        }
        (MapSettings::File { .. }, MapSettings::File { .. }) => (old.map != new.map, false),
        // Another source is rejected where the file is read.
        (MapSettings::File { .. } | MapSettings::Etcd(_), _) => (false, false),
    }
}
