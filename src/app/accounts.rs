//! Who may prove to be whom, made of the configuration; and how those are met who are nobody.

use std::collections::HashMap;
use std::sync::Arc;

use super::{StartError, passed};
use crate::backend::passed::KeyRing;
use crate::config::{self, AuthType, Settings};
use crate::server::handshake::{Account, AuthMethod};
use crate::wire::auth::{MockKey, Verifier};

/// By name.
pub(super) type Accounts = HashMap<Box<str>, Account>;

/// `before`: those of the configuration of before. A password that is the same has what was derived of it.
pub(super) fn accounts(settings: &Settings, keys: &KeyRing, before: Option<&Accounts>) -> Result<Accounts, StartError> {
    let account = |user: &config::User| {
        let passed = user.server.verifier.as_ref().and_then(|verifier| passed(verifier, keys));
        let known = before.and_then(|before| before.get(&*user.name)?.verifier.as_ref());
        let known = known.filter(|known| known.password().is_some() && known.password() == user.password.as_ref());
        let verifier = match (&user.password, known) {
            (None, _) => None,
            (Some(_), Some(known)) => Some(Arc::clone(known)),
            (Some(password), None) => {
                let text = String::from_utf8_lossy(password.reveal());
                let parsed = Verifier::parse(&text)
                    .map_err(|source| StartError::Password { user: user.name.to_string(), source })?;
                Some(Arc::new(parsed))
            }
        };
        Ok((user.name.as_ref().into(), Account { method: method(settings.auth.auth_type), verifier, passed }))
    };
    settings.users.iter().map(account).collect()
}

/// Derives what SCRAM checks passwords in clear text by, beside the clients: else the first login of a user took longer than one of a user
/// who does not exist, and anybody could tell.
pub(super) fn derive_beside(accounts: &Accounts, mock: &Arc<MockKey>) {
    let plain = accounts.iter().filter_map(|(user, account)| {
        let by_scram = account.method == AuthMethod::ScramSha256;
        let verifier = account.verifier.as_ref().filter(|verifier| by_scram && verifier.password().is_some())?;
        Some((user.clone(), Arc::clone(verifier)))
    });
    let (plain, mock): (Vec<_>, _) = (plain.collect(), Arc::clone(mock));
    if plain.is_empty() {
        return;
    }
    let derive = move || {
        for (user, verifier) in &plain {
            let _ = verifier.scram(&mock, user);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("verifiers".to_owned()).spawn(derive) {
        tracing::warn!(%error, "verifiers are derived when they are needed");
    }
}

/// How many SCRAM iterations strangers are asked for. Where the home shard's users may come in, most users are none of the configuration:
/// strangers are like those, with the iterations that Postgres takes by itself.
pub(super) fn mock_among(settings: &Settings, accounts: &Accounts, before: &MockKey) -> MockKey {
    let known = accounts.values().filter(|_| settings.auth.query.is_none());
    before.among(known.filter_map(|account| account.verifier.as_deref()))
}

pub(super) fn method(auth_type: AuthType) -> AuthMethod {
    match auth_type {
        AuthType::Trust => AuthMethod::Trust,
        AuthType::Md5 => AuthMethod::Md5,
        // With entries of a file these say how.
        AuthType::ScramSha256 | AuthType::Hba => AuthMethod::ScramSha256,
        AuthType::Cert => AuthMethod::Cert,
    }
}

/// What those are asked for who are nobody, where the method is md5: what most users are.
pub(super) fn stranger_method(settings: &Settings) -> AuthMethod {
    match settings.auth.auth_type {
        // Most of those whom the home shard knows have what Postgres makes by itself.
        AuthType::Md5 | AuthType::Hba if settings.auth.query.is_some() => AuthMethod::ScramSha256,
        AuthType::Md5 | AuthType::Hba => {
            let by_scram = settings.users.iter().filter(|user| {
                let stored = user.password.as_ref().map(|password| password.reveal());
                stored.is_some_and(|stored| stored.starts_with(b"SCRAM-SHA-256$"))
            });
            match 2 * by_scram.count() > settings.users.len() {
                true => AuthMethod::ScramSha256,
                false => AuthMethod::Md5,
            }
        }
        other @ (AuthType::Trust | AuthType::ScramSha256 | AuthType::Cert) => method(other),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;

    const STORED: &str = "SCRAM-SHA-256$4096:c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn settings(auth_type: &str, passwords: &[&str]) -> Settings {
        let user = |(n, password)| format!("[[users]]\nname = 'u{n}'\npassword = '{password}'\n");
        let users: String = passwords.iter().enumerate().map(user).collect();
        let text = format!(
            "[general]\nauth_type = '{auth_type}'\n{users}[databases.d]\n[[databases.d.shards]]\nname = 's'\nhost = 'h'\n"
        );
        Settings::parse("pgloom.toml", &text, Path::new(""), HashMap::new()).unwrap()
    }

    #[test]
    fn what_was_derived_of_a_password_is_kept_while_it_is_the_same() {
        let keys = KeyRing::default();
        let of = |passwords: &[&str], before: Option<&Accounts>| {
            accounts(&settings("scram-sha-256", passwords), &keys, before).unwrap()
        };
        let first = of(&["a", "b", STORED], None);
        let second = of(&["a", "other", STORED], Some(&first));
        let same =
            |user: &str| Arc::ptr_eq(first[user].verifier.as_ref().unwrap(), second[user].verifier.as_ref().unwrap());
        assert!(same("u0") && !same("u1"));
        assert_eq!(second["u1"].verifier.as_ref().unwrap().password(), Some(&crate::secret::Secret::new("other")));
        assert!(first["u2"].passed.is_some() && first["u0"].passed.is_none());
    }

    /// The iterations that some strangers are asked for, each of them.
    fn asked(text: &str) -> Vec<u32> {
        let settings = Settings::parse("pgloom.toml", text, Path::new(""), HashMap::new()).unwrap();
        let accounts = accounts(&settings, &KeyRing::default(), None).unwrap();
        let mock = mock_among(&settings, &accounts, &MockKey::new(&crate::secret::Secret::new("key")));
        let mut asked: Vec<u32> = (0..50).map(|n| mock.iterations(&format!("stranger{n}")).get()).collect();
        asked.dedup();
        asked
    }

    #[test]
    fn strangers_are_like_those_whom_auth_query_finds() {
        let users = format!("[[users]]\nname = 'u'\npassword = '{}'\n", STORED.replace("4096", "15000"));
        let rest = "[databases.d]\nrouter_user = 'r'\n[[databases.d.shards]]\nname = 's'\nhost = 'h'\n";
        let text = |query: &str| format!("[general]\nauth_type = 'scram-sha-256'\n{query}{users}{rest}");
        assert_eq!(asked(&text("")), [15000]);
        assert_eq!(asked(&text("auth_query = 'on'\n")), [4096]);
    }

    #[test]
    fn strangers_are_asked_for_what_most_users_are() {
        let method = |auth_type: &str, passwords: &[&str]| stranger_method(&settings(auth_type, passwords));
        assert_eq!(method("md5", &["a", STORED, STORED]), AuthMethod::ScramSha256);
        assert_eq!(method("md5", &["a", STORED]), AuthMethod::Md5);
        assert_eq!(method("scram-sha-256", &["a"]), AuthMethod::ScramSha256);
    }
}
