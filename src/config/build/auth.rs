//! How clients prove who they are: the methods, and the files that they need.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::build::Build;
use crate::config::build::users::{Stored, stored};
use crate::config::error::Origin;
use crate::config::file::General;
use crate::config::hba::{Hba, HbaMethod, LineError};
use crate::config::ident::IdentMaps;
use crate::config::section::Setting;
use crate::config::units::{AuthType, SslMode};
use crate::config::userlist::{self, Listed};
use crate::config::{AuthQuerySettings, AuthSettings, FailureSettings};

/// What is longer, or more, is a slip.
const LONGEST: Duration = Duration::from_secs(86_400);
const MOST: u32 = 100_000;
/// What auth_query has told counts no longer, and is waited for no longer.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);
/// Bytes of one of these files; it is none if it is longer.
const LARGEST: u64 = 4 << 20;
/// Errors of one file that are told.
const MOST_ERRORS: usize = 20;

/// A plain file, not a pipe or device that never ends.
fn read_small(path: &Path) -> std::io::Result<String> {
    let what = std::fs::metadata(path)?;
    if !what.is_file() || what.len() > LARGEST {
        return Err(std::io::Error::other(format!("it is no plain file of at most {LARGEST} bytes")));
    }
    std::fs::read_to_string(path)
}

impl Build<'_> {
    pub(super) fn auth(&mut self, general: &General) -> Option<AuthSettings> {
        let auth_type = &general.auth_type;
        let reachable = general.host.value.iter().any(|ip| !ip.is_loopback());
        if auth_type.value == AuthType::Trust && reachable {
            let message = "auth_type = \"trust\" asks nobody for a password, and host is reachable from other machines; use scram-sha-256";
            self.warn(&auth_type.origin, message);
        }
        let file = self.lines_of(&general.auth_hba_file, "auth_hba_file", Hba::parse);
        let idents = self.lines_of(&general.auth_ident_file, "auth_ident_file", IdentMaps::parse);
        let hba = match (auth_type.value, file) {
            (AuthType::Hba, Some(hba)) => Some(hba),
            (AuthType::Hba, None) => {
                if general.auth_hba_file.value.as_os_str().is_empty() {
                    self.fail(&auth_type.origin, "auth_type = \"hba\" needs auth_hba_file");
                }
                return None;
            }
            (other, file) => {
                if file.is_some() {
                    let message =
                        format!("auth_hba_file is not used, auth_type is \"{}\"; set it to \"hba\"", other.word());
                    self.warn(&general.auth_hba_file.origin, message);
                }
                (other == AuthType::Cert).then(Hba::by_certificates)
            }
        };
        if let Some(hba) = &hba {
            self.check_entries(general, hba, idents.as_ref(), reachable);
        }
        Some(AuthSettings {
            mock_key_file: Some(&general.auth_mock_key_file.value)
                .filter(|path| !path.as_os_str().is_empty())
                .map(|path| self.directory.join(path)),
            auth_type: auth_type.value,
            hba: hba.map(Arc::new),
            idents: Arc::new(idents.unwrap_or_default()),
            failures: self.failures(general),
            query: self.auth_query(general),
        })
    }

    /// What entries need beside their file.
    fn check_entries(&mut self, general: &General, hba: &Hba, idents: Option<&IdentMaps>, reachable: bool) {
        let tls = &general.client_tls_sslmode;
        let origin = match general.auth_type.value {
            AuthType::Hba => &general.auth_hba_file.origin,
            AuthType::Cert | AuthType::Trust | AuthType::Md5 | AuthType::ScramSha256 => &general.auth_type.origin,
        };
        let authorities = !general.client_tls_ca_file.value.as_os_str().is_empty();
        if hba.wants_certificates() && (tls.value == SslMode::Disable || !authorities) {
            let message = "client certificates need client_tls_sslmode, at least \"prefer\", and client_tls_ca_file, the authorities that sign them";
            self.fail(origin, message);
        }
        if tls.value == SslMode::Disable && hba.entries().iter().any(|entry| entry.needs_tls()) {
            self.warn(origin, "entries of the type hostssl fit nobody, client_tls_sslmode is \"disable\"");
        }
        for entry in hba.entries() {
            let (line, file) = (entry.line, general.auth_hba_file.value.display());
            if let Some(map) = entry.map.as_deref().filter(|map| !idents.is_some_and(|idents| idents.has(map))) {
                self.fail(origin, format!("auth_hba_file {file} line {line}: auth_ident_file has no map `{map}`"));
            }
            if entry.method == HbaMethod::Trust && entry.trusts_strangers() && reachable {
                let message = format!(
                    "auth_hba_file {file} line {line}: trust asks nobody for a password, and host is reachable from other machines"
                );
                self.warn(origin, message);
            }
        }
    }

    fn auth_query(&mut self, general: &General) -> Option<AuthQuerySettings> {
        let (query, ttl, timeout) = (&general.auth_query, &general.auth_query_ttl, &general.auth_query_timeout);
        let text: Option<Arc<str>> = match query.value.trim() {
            "" => return None,
            "on" => None,
            text => Some(text.into()),
        };
        if matches!(general.auth_type.value, AuthType::Trust | AuthType::Cert) {
            let message =
                "auth_query asks for passwords, and auth_type asks clients for none; use scram-sha-256, md5 or hba";
            self.fail(&query.origin, message);
        }
        if text.as_ref().is_some_and(|text| !text.contains("$1")) {
            self.fail(&query.origin, "auth_query has no $1, the name of the user; give a query for one user, or `on`");
        }
        if ttl.value > LONGEST_ANSWER {
            self.fail(&ttl.origin, "auth_query_ttl can be 60 s at most: passwords that were changed would count on");
        }
        if timeout.value.is_zero() || timeout.value > LONGEST_ANSWER {
            self.fail(&timeout.origin, "auth_query_timeout is to be between 1 ms and 60 s");
        }
        Some(AuthQuerySettings { text, ttl: ttl.value, timeout: timeout.value })
    }

    fn failures(&mut self, general: &General) -> Option<FailureSettings> {
        let limit = std::num::NonZeroU32::new(general.auth_failure_limit.value)?;
        let interval = general.auth_failure_interval.value;
        if interval.is_zero() {
            let message = "auth_failure_interval = 0 would let all fail; to have no limit set auth_failure_limit = 0";
            self.fail(&general.auth_failure_interval.origin, message);
            return None;
        }
        if interval > LONGEST || limit.get() > MOST {
            let message = "auth_failure_limit can be 100000 at most, and auth_failure_interval one day; to have no limit set auth_failure_limit = 0";
            self.fail(&general.auth_failure_limit.origin, message);
            return None;
        }
        Some(FailureSettings { limit, interval })
    }

    /// The users of auth_file.
    pub(super) fn listed(&mut self, general: &General) -> Vec<Listed> {
        self.lines_of(&general.auth_file, "auth_file", userlist::parse).unwrap_or_default()
    }

    /// Those that stand in etcd, each with a SCRAM verifier: who reads them there can log in as none of them. `None`: the file says that
    /// there are none.
    pub(super) fn shared(&mut self, others: &[Listed]) -> Option<Vec<Listed>> {
        let text = self.shared_users?;
        let mut wrong = |line: u32, what: &str| {
            self.fail(&Origin::Default, format!("users in etcd, line {line}: {what}"));
        };
        let listed = match userlist::parse(text) {
            Ok(listed) => listed,
            Err(errors) => {
                errors.iter().take(MOST_ERRORS).for_each(|(line, error)| wrong(*line, error));
                return None;
            }
        };
        let form = |listed: &Listed| listed.password.as_ref().map(stored);
        for user in &listed {
            let Listed { name, line, .. } = user;
            match form(user) {
                Some(Stored::Scram) => {}
                Some(Stored::Broken) => {
                    wrong(*line, &format!("the password of user `{name}` begins as a SCRAM verifier and is none"));
                }
                Some(Stored::Clear | Stored::Md5) | None => {
                    wrong(*line, &format!("user `{name}` has no SCRAM verifier, and nothing else may stand there"));
                }
            }
            if others.iter().any(|other| other.name == *name) {
                wrong(*line, &format!("user `{name}` is in auth_file, too; keep one"));
            }
        }
        // Of the others it was told here what is wrong with them.
        let usable = listed.into_iter().filter(|listed| form(listed) == Some(Stored::Scram));
        Some(usable.map(|listed| Listed { whose: "the users in etcd", ..listed }).collect())
    }

    /// What a file says, line by line. `None`: there is none, or it was told what is wrong with it.
    fn lines_of<T>(
        &mut self,
        setting: &Setting<PathBuf>,
        key: &str,
        parse: impl Fn(&str) -> Result<T, Vec<LineError>>,
    ) -> Option<T> {
        let path = self.path(&setting.value)?;
        let text = match read_small(&path) {
            Ok(text) => text,
            Err(e) => {
                self.fail(&setting.origin, format!("{key}: cannot read {}: {e}", path.display()));
                return None;
            }
        };
        match parse(&text) {
            Ok(parsed) => Some(parsed),
            Err(errors) => {
                for (line, error) in errors.into_iter().take(MOST_ERRORS) {
                    self.fail(&setting.origin, format!("{key} {} line {line}: {error}", setting.value.display()));
                }
                None
            }
        }
    }
}
