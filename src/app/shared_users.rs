//! The users that stand in etcd, in a running router: read before it starts, and put in force as soon as they are others. Those that cannot
//! be, or are gone, leave the ones of before; these are kept on disk for a start without etcd.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

use crate::app::live::Live;
use crate::config::EtcdSettings;
use crate::control::etcd::{Connection, Etcd, Heard, StoreError};
use crate::control::map::copy;
use crate::control::map::keeper::Keeper;
use crate::secret::Secret;
use crate::wire::auth::scram::DEFAULT_ITERATIONS;
use crate::wire::auth::{ScramVerifier, Verifier};

/// Before another member is asked.
const PAUSE: Duration = Duration::from_secs(1);
/// Bytes of a salt, as in Postgres.
const SALT: usize = 16;

/// What etcd has; `None`: it cannot be asked, or nobody has put any there.
pub(super) async fn in_etcd(etcd: &mut Etcd) -> Option<String> {
    let limit = etcd.settings().start_timeout;
    let asked = async {
        let mut connection = etcd.any().await?;
        connection.users().await
    };
    let asked = tokio::time::timeout(limit, asked).await;
    match asked.unwrap_or_else(|_| Err(StoreError(format!("no answer within {limit:?}")))) {
        Ok((_, found)) => found.map(|users| users.text),
        Err(StoreError(error)) => {
            tracing::warn!(%error, "etcd does not tell the users");
            None
        }
    }
}

/// What was kept of the users below this prefix.
pub fn kept(settings: &EtcdSettings) -> Option<String> {
    let path = settings.users_file.as_deref()?;
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text.strip_prefix(&head(&settings.prefix))?.to_owned()),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                let file = path.display();
                tracing::warn!(%file, %error, "the users that were kept of etcd cannot be read");
            }
            None
        }
    }
}

/// A comment: whose users these are.
fn head(prefix: &str) -> String {
    format!("# users of {prefix} in etcd\n")
}

/// Who keeps them, for their owner alone.
pub(super) fn keeper() -> Keeper {
    Keeper::of("the users of etcd", None, |wanted| {
        copy::replace(&wanted.path, &format!("{}{}", head(&wanted.prefix), wanted.text.trim_end()))
    })
}

/// What may stand in etcd of a password, which may be such a thing already.
///
/// # Errors
/// It is a hash of another kind, or the system has no random numbers.
pub fn verifier_of(password: &Secret) -> Result<Secret, &'static str> {
    match std::str::from_utf8(password.reveal()).map(Verifier::parse) {
        Ok(Ok(Verifier::Scram(_))) => return Ok(password.clone()),
        Ok(Ok(Verifier::Md5(_))) => {
            return Err("of an md5 hash no SCRAM verifier can be made; give the password, or a SCRAM verifier");
        }
        Ok(Err(_)) => return Err("this is no SCRAM verifier"),
        Ok(Ok(Verifier::Plain(_))) | Err(_) => {}
    }
    let mut salt = [0; SALT];
    SystemRandom::new().fill(&mut salt).map_err(|_| "the system has no random numbers")?;
    Ok(ScramVerifier::generate(password.reveal(), &salt, DEFAULT_ITERATIONS).to_text())
}

/// One router's way to them.
struct Follower {
    live: Arc<Live>,
    /// What is in force.
    users: Option<String>,
    /// What could not be put in force, and why.
    rejected: Option<(String, Vec<String>)>,
    are_gone: bool,
    keeper: Keeper,
    /// So many times in a row they could not be read, of so many members.
    failures: usize,
    members: usize,
}

/// Follows them for ever. `users`: what the router began with.
pub(super) async fn follow(mut etcd: Etcd, live: Arc<Live>, users: Option<String>, keeper: Keeper) {
    let settings = etcd.settings();
    if let Some(file) = settings.users_file.clone().filter(|_| users.is_some() && kept(&settings) == users) {
        keeper.found(file);
    }
    let mut follower = Follower {
        live,
        users,
        rejected: None,
        are_gone: false,
        keeper,
        failures: 0,
        members: settings.endpoints.len(),
    };
    for member in 0.. {
        while let Ok(()) = follower.follow(&mut etcd, member).await {}
        tokio::select! {
            biased;
            () = etcd.changed() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

impl Follower {
    /// With one member, for as long as it answers, or until there is another way to etcd.
    async fn follow(&mut self, etcd: &mut Etcd, member: usize) -> Result<(), StoreError> {
        let settings = etcd.settings();
        let Some(file) = settings.users_file.clone() else {
            etcd.changed().await;
            return Ok(());
        };
        let followed = async {
            let mut connection = etcd.connect(member).await?;
            self.follow_with(&mut connection, etcd, &file).await
        };
        let followed: Result<(), StoreError> = followed.await;
        followed.inspect_err(|StoreError(error)| self.note_lost(error, settings.endpoints.len()))
    }

    async fn follow_with(
        &mut self,
        connection: &mut Connection,
        etcd: &mut Etcd,
        file: &Path,
    ) -> Result<(), StoreError> {
        loop {
            let (at, found) = connection.users().await?;
            self.note_back(connection);
            let revision = found.as_ref().map(|users| users.revision);
            match found {
                Some(users) => self.offer(users.text, &etcd.settings()).await,
                None => self.miss(connection),
            }
            let mut watch = connection.watch_users(at + 1).await?;
            loop {
                let settings = etcd.settings();
                let heard = tokio::select! {
                    biased;
                    () = etcd.changed() => return Ok(()),
                    heard = tokio::time::timeout(settings.check_interval, watch.next()) => heard,
                };
                match heard {
                    Ok(heard) => match heard? {
                        Heard::Change => break,
                        Heard::Progress => {}
                    },
                    // Silence may be that of a member that nobody reaches.
                    Err(_) => {
                        let (now, last) = connection.users_revision().await?;
                        if now < at || last != revision || self.is_to_look_again(file) {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// What was in the way, of users or of their copy, may not be any more.
    fn is_to_look_again(&self, file: &Path) -> bool {
        self.rejected.is_some() || self.keeper.problem().is_some() || !file.exists()
    }

    /// Told once, when every member has failed.
    fn note_lost(&mut self, error: &str, members: usize) {
        self.failures = self.failures.saturating_add(1);
        if self.failures == members {
            tracing::warn!(%error, "the users in etcd cannot be followed: those of before are in force");
        } else {
            tracing::debug!(%error, "the users in etcd cannot be followed");
        }
        self.members = members;
    }

    fn note_back(&mut self, connection: &Connection) {
        if std::mem::take(&mut self.failures) >= self.members {
            tracing::info!(endpoint = %connection.endpoint, "following the users in etcd again");
        }
    }

    async fn offer(&mut self, users: String, settings: &EtcdSettings) {
        self.are_gone = false;
        if self.users.as_ref() == Some(&users) {
            self.rejected = None;
            if !settings.users_file.as_ref().is_some_and(|file| file.exists()) {
                self.keeper.forget();
            }
            self.keep(settings, &users);
            return;
        }
        // What is wrong may be so because of a file, which nobody tells of.
        let known = self.rejected.take().filter(|(known, _)| *known == users).map(|(_, errors)| errors);
        if known.is_none() {
            tracing::info!("the users in etcd are others");
        }
        // What came of it is told there.
        match self.live.apply_users(users.clone(), known.as_deref()).await {
            Ok(_) => {
                self.keeper.forget();
                self.keep(settings, &users);
                self.users = Some(users);
            }
            Err(errors) => self.rejected = Some((users, errors)),
        }
    }

    fn keep(&self, settings: &EtcdSettings, users: &str) {
        if let Some(file) = &settings.users_file {
            self.keeper.keep(file, &settings.prefix, users);
        }
    }

    /// There are none, which says nothing: who wants nobody to come in leaves an empty text.
    fn miss(&mut self, connection: &Connection) {
        if self.users.is_some() && !std::mem::replace(&mut self.are_gone, true) {
            tracing::error!(endpoint = %connection.endpoint, "the users in etcd are gone: those of before are in force");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_of_one_prefix_and_for_its_owner_alone() {
        let directory = std::env::temp_dir().join(format!("pgloom-users-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("users");
        let keeper = keeper();
        keeper.keep(&path, "/a", "\"a\" \"b\"\n");
        assert!(keeper.end(Duration::from_secs(20)).await && keeper.problem().is_none());
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.strip_prefix(&head("/a")).unwrap(), "\"a\" \"b\"\n");
        assert!(text.strip_prefix(&head("/")).is_none());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
