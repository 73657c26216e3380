//! `AskedUsers`: users whom the configuration does not have, as the home shard told of them (`auth_query`). What was told counts for a
//! while, that there is no such user too; how somebody who has come in logs in at the servers is known for longer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::backend::connector::Credentials;
use crate::wire::auth::Verifier;

/// Users that are known at most. Beyond it those go first that there are not, then those who were asked for longest ago.
const MOST: usize = 10_000;
/// Names that are asked for at one time: strangers take no more connections of the home shard.
const AT_ONCE: usize = 4;

/// What a database asks with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthQuery {
    pub text: Arc<str>,
    /// How long its answer counts.
    pub ttl: Duration,
    /// How long it may take, with the wait for others.
    pub timeout: Duration,
}

/// Somebody whom the home shard knows.
#[derive(Clone, Debug)]
pub struct Asked {
    pub verifier: Arc<Verifier>,
    /// As whom its statements run.
    pub credentials: Credentials,
}

/// See the module.
#[derive(Debug)]
pub struct AskedUsers {
    table: Mutex<HashMap<Box<str>, Answer>>,
    places: Arc<Semaphore>,
}

#[derive(Debug)]
struct Answer {
    at: Instant,
    /// `None`: there is no such user, or it cannot log in.
    user: Option<Asked>,
}

impl Default for AskedUsers {
    fn default() -> Self {
        Self { table: Mutex::default(), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl AskedUsers {
    /// What was told of a user not longer ago than this; `None`: it is to be asked for.
    pub fn fresh(&self, user: &str, now: Instant, ttl: Duration) -> Option<Option<Asked>> {
        let table = self.table();
        let answer = table.get(user).filter(|answer| now.saturating_duration_since(answer.at) < ttl)?;
        Some(answer.user.clone())
    }

    /// How a user logs in at the servers, whenever that was told.
    pub fn credentials(&self, user: &str) -> Option<Credentials> {
        self.table().get(user)?.user.as_ref().map(|asked| asked.credentials.clone())
    }

    /// What the home shard has told. A password that is the same keeps what was derived of it.
    pub fn note(&self, user: &str, told: Option<Asked>, now: Instant) {
        let mut table = self.table();
        if table.get(user).is_some_and(|known| known.at > now) {
            // Who asked later was answered before.
            return;
        }
        if table.len() >= MOST && !table.contains_key(user) {
            make_room(&mut table);
        }
        table.insert(user.into(), Answer { at: now, user: told });
    }

    /// Waits until so few ask that one more may.
    pub async fn place(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Box<str>, Answer>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tenth goes at a time, so that a flood of names does not look through all of them for each.
fn make_room(table: &mut HashMap<Box<str>, Answer>) {
    let mut ages: Vec<(bool, Instant)> = table.values().map(|answer| (answer.user.is_some(), answer.at)).collect();
    ages.sort_unstable();
    let nobodies = ages.iter().filter(|(is_somebody, _)| !is_somebody).count();
    // Of those who are there none goes while there are names of nobody.
    let most = if nobodies == 0 { MOST / 10 } else { nobodies.min(MOST / 10) };
    if let Some(last) = ages.get(most.saturating_sub(1)).copied() {
        table.retain(|_, answer| (answer.user.is_some(), answer.at) > last);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn asked(password: &str) -> Asked {
        let credentials = Credentials { user: "u".to_owned(), password: None, passed: None };
        Asked { verifier: Arc::new(Verifier::parse(password).unwrap()), credentials }
    }

    #[test]
    fn what_was_told_counts_for_a_while() {
        let (users, now) = (AskedUsers::default(), Instant::now());
        assert!(users.fresh("u", now, TTL).is_none());
        users.note("u", Some(asked("secret")), now);
        users.note("nobody", None, now);
        let almost = now + TTL - Duration::from_millis(1);
        assert!(users.fresh("u", almost, TTL).unwrap().is_some());
        assert!(users.fresh("nobody", almost, TTL).unwrap().is_none());
        assert!(users.fresh("u", now + TTL, TTL).is_none() && users.fresh("nobody", now + TTL, TTL).is_none());
        assert!(users.credentials("u").is_some() && users.credentials("nobody").is_none());
        // Gone, or without the right to log in.
        users.note("u", None, now + TTL);
        assert!(users.fresh("u", now + TTL, TTL).unwrap().is_none() && users.credentials("u").is_none());
    }

    #[test]
    fn a_flood_of_names_takes_bounded_memory_and_forgets_nobody_who_is_there() {
        let (users, now) = (AskedUsers::default(), Instant::now());
        users.note("u", Some(asked("secret")), now);
        for n in 0..3 * MOST {
            users.note(&format!("stranger {n}"), None, now + Duration::from_millis(n as u64));
        }
        assert!(users.table().len() <= MOST);
        assert!(users.credentials("u").is_some());
    }

    #[test]
    fn nothing_of_a_password_is_printed() {
        let users = AskedUsers::default();
        users.note("u", Some(asked("hunter2")), Instant::now());
        assert!(!format!("{users:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn few_ask_at_one_time() {
        let users = AskedUsers::default();
        let mut places = Vec::new();
        for _ in 0..AT_ONCE {
            places.push(users.place().await.unwrap());
        }
        let one_more = tokio::time::timeout(Duration::from_millis(20), users.place()).await;
        assert!(one_more.is_err());
        places.pop();
        assert!(users.place().await.is_some());
    }
}
