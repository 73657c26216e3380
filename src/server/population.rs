//! `Population`: how many clients there are of each user and of each database, which may have limits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fault::{Blame, Fault, SqlState};

/// Clients at one time; those without an entry have no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientLimits {
    pub users: HashMap<Box<str>, usize>,
    pub databases: HashMap<Box<str>, usize>,
}

/// Under whichever configuration.
#[derive(Debug, Default)]
pub struct Population(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    users: HashMap<Box<str>, usize>,
    databases: HashMap<Box<str>, usize>,
}

/// One client, which is counted as long as the value lives.
#[derive(Debug)]
pub struct Present {
    of: Arc<Population>,
    user: Box<str>,
    database: Box<str>,
}

impl Population {
    /// # Errors
    /// `53300`, as Postgres says it for `CONNECTION LIMIT` of a role or a database.
    pub fn enter(self: &Arc<Self>, user: &str, database: &str, limits: &ClientLimits) -> Result<Present, Fault> {
        let mut counts = self.counts();
        let is_full = |counts: &HashMap<Box<str>, usize>, limits: &HashMap<Box<str>, usize>, name: &str| {
            limits.get(name).is_some_and(|most| counts.get(name).copied().unwrap_or(0) >= *most)
        };
        let (what, name) = if is_full(&counts.databases, &limits.databases, database) {
            ("database", database)
        } else if is_full(&counts.users, &limits.users, user) {
            ("role", user)
        } else {
            *counts.users.entry(user.into()).or_default() += 1;
            *counts.databases.entry(database.into()).or_default() += 1;
            return Ok(Present { of: Arc::clone(self), user: user.into(), database: database.into() });
        };
        let message = format!("too many connections for {what} \"{name}\"");
        Err(Fault::new(SqlState::TOO_MANY_CONNECTIONS, message).blame(Blame::Router).fatal())
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut counts = self.of.counts();
        leave(&mut counts.users, &self.user);
        leave(&mut counts.databases, &self.database);
    }
}

/// Names that nobody has any more are not kept.
fn leave(counts: &mut HashMap<Box<str>, usize>, name: &str) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_user_and_each_database_has_its_own_limit() {
        let population = Arc::new(Population::default());
        let mut limits = ClientLimits::default();
        limits.users.insert("ann".into(), 2);
        limits.databases.insert("shop".into(), 3);
        let mut present: Vec<_> = (0..2).map(|_| population.enter("ann", "shop", &limits).unwrap()).collect();
        let fault = population.enter("ann", "other", &limits).unwrap_err();
        assert_eq!(
            (&*fault.message, fault.code),
            ("too many connections for role \"ann\"", SqlState::TOO_MANY_CONNECTIONS)
        );
        present.push(population.enter("bob", "shop", &limits).unwrap());
        let fault = population.enter("bob", "shop", &limits).unwrap_err();
        assert_eq!(&*fault.message, "too many connections for database \"shop\"");
        assert!(population.enter("bob", "other", &limits).is_ok());
        present.clear();
        assert!(population.counts().users.is_empty() && population.counts().databases.is_empty());
        assert!(population.enter("ann", "other", &limits).is_ok());
    }
}
