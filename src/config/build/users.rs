//! [[users]] and the router's own logins.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::build::general::time_wishes;
use crate::config::build::{Build, login_timeout};
use crate::config::error::{Origin, did_you_mean};
use crate::config::file::{self, General};
use crate::config::section::Setting;
use crate::config::units::AuthType;
use crate::config::userlist::Listed;
use crate::config::{ConsoleSettings, Login, TimeWishes, User};
use crate::secret::Secret;
use crate::wire::auth::ScramVerifier;
use crate::wire::startup::MAX_NAME;

/// The forms in which a password is stored (Postgres: `pg_authid.rolpassword`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Clear,
    Scram,
    Md5,
    /// What was to be a verifier, and is none.
    Broken,
}

pub(super) fn stored(password: &Secret) -> Stored {
    let bytes = password.reveal();
    let is_md5 = |hash: &[u8]| hash.len() == 32 && hash.iter().all(u8::is_ascii_hexdigit);
    if bytes.starts_with(b"SCRAM-SHA-256$") {
        // As it is read when the router takes it: what passes here cannot be refused there.
        let parsed = std::str::from_utf8(bytes).ok().and_then(ScramVerifier::parse);
        if parsed.is_some() { Stored::Scram } else { Stored::Broken }
    } else if bytes.strip_prefix(b"md5").is_some_and(is_md5) {
        Stored::Md5
    } else {
        Stored::Clear
    }
}

impl Build<'_> {
    /// `databases`: every name under [databases].
    pub(super) fn users(&mut self, users: &[file::User], databases: &[String], general: Option<&General>) -> Vec<User> {
        let mut listed = general.map(|general| self.listed(general)).unwrap_or_default();
        let shared = self.shared(&listed);
        let are_shared = self.shared_users.is_some();
        listed.extend(shared.into_iter().flatten());
        let asks = general.is_some_and(|general| !general.auth_query.value.trim().is_empty());
        if users.is_empty() && listed.is_empty() && !asks && !are_shared {
            self.fail(&Origin::Default, "no [[users]]; add at least one with a name and a password");
        }
        let auth_type = general.map(|general| general.auth_type.value);
        let most = general.map_or(0, |general| general.max_user_client_connections.value);
        let takes_hints = general.is_some_and(|general| general.read_preference_hints.value);
        let mut names = HashSet::new();
        let mut built = Vec::new();
        for user in users {
            let name = &user.name;
            if name.value.is_empty() {
                self.fail(&name.origin, "a user has an empty name; give it the one that clients send");
            }
            self.fits("user", &name.value, &name.origin);
            if !names.insert(name.value.as_str()) {
                self.fail(&name.origin, format!("user `{}` is named twice; keep one", name.value));
            }
            for unknown in user.databases.iter().flat_map(|list| &list.value).filter(|name| !databases.contains(name)) {
                let near = did_you_mean(unknown, databases.iter().map(String::as_str));
                let origin = user.databases.as_ref().map_or(&user.origin, |list| &list.origin);
                self.fail(origin, format!("user `{}` names the unknown database `{unknown}`{near}", name.value));
            }
            let place = listed.iter().position(|listed| *listed.name == *name.value);
            let listed = place.map(|place| listed.remove(place));
            built.extend(self.user(user, listed, auth_type, (most, takes_hints)));
        }
        let origin = general.map_or(&Origin::Default, |general| &general.auth_file.origin);
        for Listed { name, password, .. } in listed {
            if let Some(auth_type) = auth_type {
                self.check_password(&name, origin, false, password.as_ref(), auth_type);
            }
            let server = self.server_login(&name, &name, password.as_ref(), None, origin, true);
            built.push(User {
                name: name.into(),
                password,
                databases: None,
                max_clients: NonZeroU32::new(most),
                pool_size: None,
                pool_mode: None,
                times: TimeWishes::default(),
                server_connect: None,
                server_login: None,
                read_preference: None,
                takes_hints,
                server,
            });
        }
        built
    }

    /// A client's login gives no longer name: Postgres cuts it, and so does the router.
    pub(super) fn fits(&mut self, what: &str, name: &str, origin: &Origin) {
        if name.len() > MAX_NAME {
            let message = format!(
                "{what} `{name}` has a name of {} bytes, and logins are cut to {MAX_NAME} as in Postgres; give it what is left",
                name.len()
            );
            self.fail(origin, message);
        }
    }

    /// `listed`: the same user in auth_file, or in etcd.
    fn user(
        &mut self,
        user: &file::User,
        listed: Option<Listed>,
        auth_type: Option<AuthType>,
        (most, takes_hints): (u32, bool),
    ) -> Option<User> {
        let given = user.password.is_some() || user.password_file.is_some();
        if let Some(listed) = listed.as_ref().filter(|listed| given && listed.password.is_some()) {
            let message = format!(
                "user `{}` has a password here and in line {} of {}; keep one",
                user.name.value, listed.line, listed.whose
            );
            self.fail(&user.origin, message);
        }
        let password = self.secret("password", user.password.as_ref(), user.password_file.as_ref());
        let password = password.or_else(|| listed.and_then(|listed| listed.password));
        let server_password =
            self.secret("server_password", user.server_password.as_ref(), user.server_password_file.as_ref());
        if let Some(auth_type) = auth_type {
            self.check_password(&user.name.value, &user.origin, given, password.as_ref(), auth_type);
        }
        if server_password.as_ref().is_some_and(|password| stored(password) != Stored::Clear) {
            let message = format!(
                "the server_password of user `{}` is a verifier, with which nobody can log in; give it in clear text",
                user.name.value
            );
            self.fail(&user.origin, message);
        }
        // Who may connect to no database is for the console alone.
        let connects = user.databases.as_ref().is_none_or(|names| !names.value.is_empty());
        let server_user = &user.server_user.as_ref().unwrap_or(&user.name).value;
        let server = self.server_login(
            &user.name.value,
            server_user,
            password.as_ref(),
            server_password,
            &user.origin,
            connects,
        );
        let pool_size = match &user.pool_size {
            Some(size) => Some(self.not_zero(size, "a pool needs at least one connection")?),
            None => None,
        };
        Some(User {
            name: user.name.value.as_str().into(),
            password,
            databases: user.databases.as_ref().map(|list| list.value.iter().map(|name| name.as_str().into()).collect()),
            max_clients: NonZeroU32::new(user.max_user_client_connections.as_ref().map_or(most, |own| own.value)),
            pool_size,
            pool_mode: user.pool_mode.as_ref().map(|mode| mode.value),
            times: time_wishes([
                user.query_timeout.as_ref(),
                user.scatter_timeout.as_ref(),
                user.transaction_timeout.as_ref(),
                user.idle_transaction_timeout.as_ref(),
                user.client_idle_timeout.as_ref(),
                user.query_wait_timeout.as_ref(),
                user.client_write_timeout.as_ref(),
                user.cancel_grace.as_ref(),
                user.failover_timeout.as_ref(),
                user.key_wait_timeout.as_ref(),
                user.server_connect_timeout.as_ref(),
                user.server_login_timeout.as_ref(),
                user.log_slow_statements.as_ref(),
            ]),
            server_connect: self.connect_timeout(user.server_connect_timeout.as_ref()),
            server_login: login_timeout(user.server_login_timeout.as_ref()),
            read_preference: user.read_preference.as_ref().map(|wanted| wanted.value),
            takes_hints: user.read_preference_hints.as_ref().map_or(takes_hints, |own| own.value),
            server,
        })
    }

    /// Who may use the admin console.
    pub(super) fn console(&mut self, general: &General, users: &[User]) -> ConsoleSettings {
        let are_shared = self.shared_users.is_some();
        let mut known = |names: &Setting<Vec<String>>, key: &str| {
            let mut found: Vec<Arc<str>> = Vec::new();
            for name in &names.value {
                match users.iter().find(|user| *user.name == **name) {
                    Some(user) => found.push(Arc::clone(&user.name)),
                    None => {
                        let near = did_you_mean(name, users.iter().map(|user| &*user.name));
                        // Users of etcd come and go: who is removed there is out, whatever else names it.
                        if are_shared {
                            let message = format!(
                                "{key} names `{name}`, who is neither in [[users]] nor among the users in etcd: nobody has its rights{near}"
                            );
                            self.warn(&names.origin, message);
                        } else {
                            self.fail(&names.origin, format!("{key} names `{name}`, who is not in [[users]]{near}"));
                        }
                    }
                }
            }
            found
        };
        let (admins, stats) = (known(&general.admin_users, "admin_users"), known(&general.stats_users, "stats_users"));
        ConsoleSettings { admins, stats, plaintext: general.admin_plaintext.value }
    }

    /// As whom a user's connections log in to the servers, and by what.
    fn server_login(
        &mut self,
        name: &str,
        server_user: &str,
        password: Option<&Secret>,
        server_password: Option<Secret>,
        origin: &Origin,
        connects: bool,
    ) -> Login {
        let form = password.map(stored);
        if connects && server_password.is_none() && form == Some(Stored::Md5) {
            let message = format!(
                "user `{name}` has no server_password and its password is an md5 hash: it can log in only to shards that ask for no password"
            );
            self.warn(origin, message);
        }
        Login {
            user: server_user.into(),
            verifier: password.filter(|_| form == Some(Stored::Scram) && server_password.is_none()).cloned(),
            password: server_password.or_else(|| password.filter(|_| form == Some(Stored::Clear)).cloned()),
        }
    }

    /// `given`: the config has one, though it may not be usable, which was told.
    fn check_password(
        &mut self,
        name: &str,
        origin: &Origin,
        given: bool,
        password: Option<&Secret>,
        auth_type: AuthType,
    ) {
        if let Some(password) = password.filter(|password| password.reveal().starts_with(b"md5"))
            && stored(password) == Stored::Clear
        {
            let message = format!(
                "the password of user `{name}` begins with md5 and is no hash (32 hexadecimal digits behind it): it is taken for one in clear text"
            );
            self.warn(origin, message);
        }
        let word = auth_type.word();
        match (auth_type, password.map(stored)) {
            (_, Some(Stored::Broken)) => {
                let message = format!(
                    "the password of user `{name}` begins as a SCRAM verifier and is none; copy all of what pg_authid.rolpassword has: SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>"
                );
                self.fail(origin, message);
            }
            (AuthType::Trust | AuthType::Cert | AuthType::Hba, _) | (AuthType::Md5, Some(_)) => {}
            (AuthType::Md5 | AuthType::ScramSha256, None) if given => {}
            // Users of etcd come and go: where one is missing there, that one is out, and nobody else.
            (AuthType::Md5 | AuthType::ScramSha256, None) if self.shared_users.is_some() => {
                let message = format!(
                    "user `{name}` has no password here, and is not among the users in etcd: it cannot log in before `pgloom users set {name}`"
                );
                self.warn(origin, message);
            }
            (AuthType::Md5 | AuthType::ScramSha256, None) => {
                let message =
                    format!("user `{name}` has no password; add password or password_file, auth_type is \"{word}\"");
                self.fail(origin, message);
            }
            (AuthType::ScramSha256, Some(Stored::Md5)) => {
                let message = format!(
                    "user `{name}` has an md5 password, which SCRAM cannot check; store a SCRAM verifier or clear text, or set auth_type = \"md5\""
                );
                self.fail(origin, message);
            }
            (AuthType::ScramSha256, Some(Stored::Clear | Stored::Scram)) => {}
        }
    }

    /// The secret from the file or from the named file, whose last line end does not count.
    pub(super) fn secret(
        &mut self,
        key: &str,
        inline: Option<&Setting<Secret>>,
        path: Option<&Setting<PathBuf>>,
    ) -> Option<Secret> {
        if let (Some(_), Some(path)) = (inline, path) {
            self.fail(&path.origin, format!("{key} and {key}_file are both given; keep one"));
            return None;
        }
        let (origin, secret) = match (inline, path) {
            (Some(inline), _) => (&inline.origin, inline.value.clone()),
            (None, Some(path)) => (&path.origin, self.secret_file(key, path)?),
            (None, None) => return None,
        };
        if secret.is_empty() || secret.reveal().contains(&0) {
            self.fail(origin, format!("{key} is empty or has a zero byte; give another, or leave it out"));
            return None;
        }
        Some(secret)
    }

    fn secret_file(&mut self, key: &str, setting: &Setting<PathBuf>) -> Option<Secret> {
        let path = self.path(&setting.value)?;
        match std::fs::read(&path) {
            Ok(mut bytes) => {
                let line_end = bytes.iter().rev().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
                bytes.truncate(bytes.len() - line_end);
                Some(Secret::new(bytes))
            }
            Err(e) => {
                self.fail(&setting.origin, format!("{key}_file: cannot read {}: {e}", path.display()));
                None
            }
        }
    }

    /// Who reads the catalog of this database's shards.
    pub(super) fn router(&mut self, name: &str, database: &file::Database, users: &[User]) -> Option<Login> {
        let password =
            self.secret("router_password", database.router_password.as_ref(), database.router_password_file.as_ref());
        let Some(user) = &database.router_user else {
            if password.is_some() {
                self.fail(
                    &database.origin,
                    format!("database `{name}` has a router_password and no router_user; give both"),
                );
            }
            let able = |user: &&User| user.may_connect(name);
            let first = users.iter().filter(able).find(|user| user.server.password.is_some());
            let shown = || users.iter().filter(able).find(|user| user.server.verifier.is_some());
            let login = first.or_else(shown).or_else(|| users.iter().find(able)).map(|user| user.server.clone());
            if let Some(login) = login.as_ref().filter(|login| login.verifier.is_some()) {
                let message = format!(
                    "database `{name}` has no router_user: the router reads its catalog as `{}`, of whom it has a SCRAM verifier alone, so it waits for that user's first login",
                    login.user
                );
                self.warn(&database.origin, message);
            }
            if login.is_none() && !users.is_empty() {
                self.warn(&database.origin, format!("no user may connect to database `{name}`"));
            }
            return login;
        };
        let same = users.iter().find(|known| *known.server.user == user.value);
        let user: Arc<str> = user.value.as_str().into();
        let password = password.or_else(|| same.and_then(|known| known.server.password.clone()));
        let verifier = same.and_then(|known| known.server.verifier.clone()).filter(|_| password.is_none());
        Some(Login { user, password, verifier })
    }
}
