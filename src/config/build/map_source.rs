//! [topology], and the document of the shard map that it leads to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::build::Build;
use crate::config::document::{Document, Placed};
use crate::config::error::did_you_mean;
use crate::config::file::{self, General, MapFrom, Placement};
use crate::config::section::Setting;
use crate::config::units::MapSource;
use crate::config::{EtcdSettings, MapSettings, TlsIdentity};

/// Of the place of a router in the list.
const LEAST_TTL: Duration = Duration::from_secs(2);

impl Build<'_> {
    pub(super) fn map_source(&mut self, section: &MapFrom) -> Option<MapSettings> {
        match section.source.value {
            MapSource::File => {
                if !section.endpoints.value.is_empty() {
                    let message = "endpoints are not used, the source is \"file\"; set source = \"etcd\"";
                    self.warn(&section.endpoints.origin, message);
                }
                if !section.users_file.value.as_os_str().is_empty() {
                    let message = "users_file is not used, the source is \"file\"; set source = \"etcd\"";
                    self.warn(&section.users_file.origin, message);
                }
                let history = self.history(section.history_directory.as_ref());
                self.at_least("router_ttl", &section.router_ttl, LEAST_TTL);
                let (room, router_ttl) = (section.history_size.value.0, section.router_ttl.value);
                Some(MapSettings::File { history, room, router_ttl })
            }
            MapSource::Etcd => self.etcd(section).map(|etcd| MapSettings::Etcd(Box::new(etcd))),
        }
    }

    /// The directory that the settings name, or one beside the file; nothing that is no file has a past.
    fn history(&self, said: Option<&Setting<PathBuf>>) -> Option<PathBuf> {
        match said {
            Some(said) if said.value.as_os_str().is_empty() => None,
            Some(said) => Some(self.directory.join(&said.value)),
            None => {
                let mut beside = self.path?.as_os_str().to_owned();
                beside.push(".maps");
                Some(beside.into())
            }
        }
    }

    fn etcd(&mut self, section: &MapFrom) -> Option<EtcdSettings> {
        let endpoints = &section.endpoints;
        if endpoints.value.is_empty() {
            let message = "source = \"etcd\" needs endpoints, such as [\"http://10.0.0.1:2379\"]; name every member of the cluster";
            self.fail(&section.source.origin, message);
        }
        for endpoint in &endpoints.value {
            if !is_endpoint(endpoint) {
                let message =
                    format!("`{endpoint}` is no endpoint; write http://host:port, or https://host:port with TLS");
                self.fail(&endpoints.origin, message);
            }
        }
        let tls = endpoints.value.iter().filter(|endpoint| endpoint.starts_with("https://")).count();
        if tls > 0 && tls < endpoints.value.len() {
            self.fail(&endpoints.origin, "some endpoints are https and some are http; use TLS with all or with none");
        }
        let ca_file = self.readable(&section.tls_ca_file, "tls_ca_file");
        let identity = self.etcd_identity(&section.tls_cert_file, &section.tls_key_file);
        if tls == 0 && (ca_file.is_some() || identity.is_some()) {
            self.fail(
                &endpoints.origin,
                "tls_ca_file and tls_cert_file are not used, the endpoints are http; write https",
            );
        }
        let password = self.secret("password", section.password.as_ref(), section.password_file.as_ref());
        let user = Some(section.user.value.as_str()).filter(|user| !user.is_empty());
        if user.is_some() != password.is_some() {
            self.fail(&section.user.origin, "etcd takes a user together with a password; give both or none");
        }
        let prefix = section.prefix.value.trim_end_matches('/');
        if !prefix.starts_with('/') || prefix.contains("//") {
            let message = format!("`{}` is no prefix; write it like \"/pgloom\"", section.prefix.value);
            self.fail(&section.prefix.origin, message);
        }
        for (key, setting, least) in [
            ("request_timeout", &section.request_timeout, Duration::from_millis(100)),
            ("check_interval", &section.check_interval, Duration::from_millis(100)),
            ("router_ttl", &section.router_ttl, LEAST_TTL),
        ] {
            self.at_least(key, setting, least);
        }
        Some(EtcdSettings {
            endpoints: endpoints.value.iter().map(|endpoint| endpoint.as_str().into()).collect(),
            tls: tls > 0,
            ca_file,
            identity,
            login: user.zip(password).map(|(user, password)| (user.into(), password)),
            prefix: prefix.into(),
            request_timeout: section.request_timeout.value,
            check_interval: section.check_interval.value,
            router_ttl: section.router_ttl.value,
            // Not among the files that the configuration is read from: the router itself writes it.
            copy_file: self.directory.join(&section.copy_file.value),
            start_timeout: section.start_timeout.value,
            room: section.history_size.value.0,
            users_file: shares_users(section).then(|| self.directory.join(&section.users_file.value)),
        })
    }

    /// The router writes it: nothing else may stand there.
    pub(super) fn check_users_file(&mut self, section: &MapFrom, general: &General) {
        if !shares_users(section) {
            return;
        }
        let own = self.directory.join(&section.users_file.value);
        let others = [
            ("auth_file", &general.auth_file.value),
            ("copy_file", &section.copy_file.value),
            ("timelines_file", &general.timelines_file.value),
            ("auth_mock_key_file", &general.auth_mock_key_file.value),
        ];
        let taken = others
            .into_iter()
            .find(|(_, path)| !path.as_os_str().is_empty() && self.directory.join(path) == own)
            .map(|(key, _)| key)
            .or((self.path == Some(own.as_path())).then_some("the configuration"));
        if let Some(taken) = taken {
            let message = format!(
                "users_file is the file of {taken}, and the router would write over it; give it a file of its own"
            );
            self.fail(&section.users_file.origin, message);
        }
    }

    fn at_least(&mut self, key: &str, setting: &Setting<Duration>, least: Duration) {
        if setting.value < least {
            self.fail(&setting.origin, format!("{key} is less than {least:?}, which nobody can keep up with"));
        }
    }

    fn etcd_identity(&mut self, cert: &Setting<PathBuf>, key: &Setting<PathBuf>) -> Option<TlsIdentity> {
        let cert_file = self.readable(cert, "tls_cert_file");
        let key_file = self.readable(key, "tls_key_file");
        if cert_file.is_some() != key_file.is_some() {
            self.fail(&cert.origin, "tls_cert_file and tls_key_file go together; give both");
        }
        Some(TlsIdentity { cert_file: cert_file?, key_file: key_file? })
    }

    /// A database whose shards stand in the map's document.
    pub(super) fn placed_elsewhere(
        &mut self,
        name: &str,
        section: &file::Database,
        map: Option<&Document>,
    ) -> Option<Placed> {
        let Some(map) = map else {
            self.fail(&section.origin, "the shards of this database stand in etcd, which was not read");
            return None;
        };
        let placed = map.databases.iter().find(|placed| &*placed.name == name);
        if placed.is_none() {
            let near = did_you_mean(name, map.databases.iter().map(|placed| &*placed.name));
            let message = format!(
                "{} places no database `{name}`{near}; add it there with pgloom topology apply, or remove it here",
                map.source
            );
            self.fail(&section.origin, message);
        }
        placed.cloned()
    }

    pub(super) fn placed(&mut self, name: &str, placement: &Placement) -> Option<Placed> {
        let topology = self.topology(name, placement);
        let uniques = self.uniques(placement, topology.as_ref());
        let mut topology = topology?;
        topology.uniques = uniques.iter().cloned().map(Arc::new).collect();
        Some(Placed { name: name.into(), topology: Arc::new(topology), uniques })
    }

    pub(super) fn document(&mut self, map: &file::Map) -> Document {
        let mut databases = Vec::new();
        for (name, placement) in &map.databases.value.0 {
            databases.extend(self.placed(name, &placement.value));
        }
        let text = |setting: &Setting<String>| setting.value.as_str().into();
        Document {
            source: Arc::clone(&self.file),
            epoch: map.epoch.as_ref().map(|epoch| epoch.value),
            changed_at: text(&map.changed_at),
            changed_by: text(&map.changed_by),
            reason: text(&map.reason),
            databases,
            warnings: Vec::new(),
        }
    }
}

/// Whether users stand where the map does.
pub(super) fn shares_users(section: &MapFrom) -> bool {
    section.source.value == MapSource::Etcd && !section.users_file.value.as_os_str().is_empty()
}

/// `http://host:port`, also with a name or an IPv6 address, without a path.
fn is_endpoint(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else { return false };
    is_address(rest)
}

/// `host:port`, of which the host may be a name.
pub(super) fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let valid = match bracketed {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(named),
    };
    valid && port.parse::<u16>().is_ok_and(|port| port != 0)
}
