//! `Population`: how many clients there are of each user and of each database, which may have limits.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::fault::{Blame, Fault, SqlState};
use crate::server::knocking::network;

/// Clients at one time; those without an entry have no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientLimits {
    pub users: HashMap<Box<str>, usize>,
    pub databases: HashMap<Box<str>, usize>,
    /// Of each address, of IPv6 of each /64; `None`: no limit.
    pub address: Option<usize>,
}

/// Under whichever configuration.
#[derive(Debug, Default)]
pub struct Population(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    users: HashMap<Box<str>, usize>,
    databases: HashMap<Box<str>, usize>,
    networks: HashMap<u128, usize>,
}

/// One client, which is counted as long as the value lives.
#[derive(Debug)]
pub struct Present {
    of: Arc<Population>,
    user: Box<str>,
    database: Box<str>,
    network: Option<u128>,
}

impl Population {
    /// `from`: nobody's where the client has gone already.
    ///
    /// # Errors
    /// `53300`, as Postgres says it for `CONNECTION LIMIT` of a role or a database.
    pub fn enter(
        self: &Arc<Self>,
        user: &str,
        database: &str,
        from: Option<IpAddr>,
        limits: &ClientLimits,
    ) -> Result<Present, Fault> {
        let network = from.map(network);
        let mut counts = self.counts();
        let of_network = network.and_then(|network| counts.networks.get(&network).copied()).unwrap_or(0);
        if limits.address.is_some_and(|most| network.is_some() && of_network >= most) {
            return Err(Fault::new(SqlState::TOO_MANY_CONNECTIONS, "too many connections from this address")
                .detail(format!("It has {of_network} of them."))
                .hint("Close connections, use a pool of them, or raise max_client_conn_per_address.")
                .blame(Blame::Router)
                .fatal());
        }
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
            if let Some(network) = network {
                *counts.networks.entry(network).or_default() += 1;
            }
            return Ok(Present { of: Arc::clone(self), user: user.into(), database: database.into(), network });
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
        if let Some(network) = &self.network {
            leave(&mut counts.networks, network);
        }
    }
}

/// Names that nobody has any more are not kept.
fn leave<K: Borrow<Q> + Eq + Hash, Q: Eq + Hash + ?Sized>(counts: &mut HashMap<K, usize>, name: &Q) {
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
        let mut present: Vec<_> = (0..2).map(|_| population.enter("ann", "shop", None, &limits).unwrap()).collect();
        let fault = population.enter("ann", "other", None, &limits).unwrap_err();
        assert_eq!(
            (&*fault.message, fault.code),
            ("too many connections for role \"ann\"", SqlState::TOO_MANY_CONNECTIONS)
        );
        present.push(population.enter("bob", "shop", None, &limits).unwrap());
        let fault = population.enter("bob", "shop", None, &limits).unwrap_err();
        assert_eq!(&*fault.message, "too many connections for database \"shop\"");
        assert!(population.enter("bob", "other", None, &limits).is_ok());
        present.clear();
        assert!(population.counts().users.is_empty() && population.counts().databases.is_empty());
        assert!(population.enter("ann", "other", None, &limits).is_ok());
    }

    #[test]
    fn each_address_has_its_own_limit() {
        let population = Arc::new(Population::default());
        let limits = ClientLimits { address: Some(2), ..ClientLimits::default() };
        let enter = |from: &str, user: &str| population.enter(user, "shop", Some(from.parse().unwrap()), &limits);
        let mut present = vec![enter("10.0.0.1", "ann").unwrap(), enter("::ffff:10.0.0.1", "bob").unwrap()];
        let fault = enter("10.0.0.1", "carl").unwrap_err();
        assert_eq!(
            (&*fault.message, fault.code),
            ("too many connections from this address", SqlState::TOO_MANY_CONNECTIONS)
        );
        // Who was refused counts for nothing.
        assert!(!population.counts().users.contains_key("carl"));
        present.extend([enter("10.0.0.2", "carl").unwrap(), enter("2001:db8::1", "ann").unwrap()]);
        present.push(enter("2001:db8::2", "ann").unwrap());
        assert!(enter("2001:db8::3", "ann").is_err() && enter("2001:db8:0:1::1", "ann").is_ok());
        drop(present.remove(0));
        assert!(enter("10.0.0.1", "carl").is_ok());
        present.clear();
        assert!(population.counts().networks.is_empty());
        assert!(population.enter("ann", "shop", None, &ClientLimits { address: Some(0), ..limits.clone() }).is_ok());
    }
}
