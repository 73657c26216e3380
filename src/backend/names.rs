//! `Names`: the addresses that the names of servers have now. A name is looked up for each new connection; what is in here is for those
//! that were made before, which are closed when their address is no longer the name's.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

/// All names that connections were made by.
#[derive(Debug, Default)]
pub struct Names {
    known: Mutex<HashMap<Arc<str>, Arc<Name>>>,
    /// When they are looked up next; `None`: not again.
    due: Mutex<Option<Instant>>,
}

/// One name, and its addresses as they were found last.
#[derive(Debug, Default)]
pub struct Name(RwLock<HashSet<IpAddr>>);

impl Name {
    /// Whether an address is one of the name's.
    pub fn has(&self, address: IpAddr) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&address.to_canonical())
    }

    /// A connection has just been made by the name to this address.
    fn note(&self, address: IpAddr) {
        if !self.has(address) {
            self.0.write().unwrap_or_else(PoisonError::into_inner).insert(address.to_canonical());
        }
    }

    /// In order.
    fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> =
            self.0.read().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        addresses.sort_unstable();
        addresses
    }

    fn replace(&self, addresses: HashSet<IpAddr>) -> bool {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changes = *known != addresses;
        *known = addresses;
        changes
    }
}

impl Names {
    /// The name by which a connection to `address` was made; `None` for hosts that are addresses themselves, or directories.
    pub fn note(&self, host: &Arc<str>, address: IpAddr) -> Option<Arc<Name>> {
        if host.starts_with('/') || host.parse::<IpAddr>().is_ok() {
            return None;
        }
        let name = {
            let mut known = self.known();
            Arc::clone(known.entry(Arc::clone(host)).or_default())
        };
        name.note(address);
        Some(name)
    }

    /// Looks all names up again. One that cannot be looked up keeps the addresses that it had.
    pub async fn look_up(&self) {
        let known: Vec<(Arc<str>, Arc<Name>)> = {
            let known = self.known();
            known.iter().map(|(host, name)| (Arc::clone(host), Arc::clone(name))).collect()
        };
        for (host, name) in known {
            match tokio::net::lookup_host((&*host, 0)).await {
                Ok(found) => {
                    let addresses: HashSet<IpAddr> = found.map(|address| address.ip().to_canonical()).collect();
                    if !addresses.is_empty() && name.replace(addresses) {
                        tracing::info!(%host, "the name has other addresses now");
                    }
                }
                Err(error) => tracing::debug!(%host, %error, "the name cannot be looked up"),
            }
        }
    }

    /// They are to be looked up at this moment; `None`: not again.
    pub fn note_due(&self, moment: Option<Instant>) {
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = moment;
    }

    /// When they are looked up next.
    pub fn due(&self) -> Option<Instant> {
        *self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names in order, with their addresses.
    pub fn all(&self) -> BTreeMap<Arc<str>, Vec<IpAddr>> {
        self.known().iter().map(|(host, name)| (Arc::clone(host), name.addresses())).collect()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Name>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn an_address_that_the_name_has_no_more_is_known() {
        let names = Names::default();
        let (here, elsewhere) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 1]));
        for host in ["127.0.0.1", "::1", "/run/postgresql"] {
            assert!(names.note(&host.into(), here).is_none(), "{host}");
        }
        let name = names.note(&"localhost".into(), elsewhere).unwrap();
        assert!(name.has(elsewhere) && !name.has(here));
        // It may have moved just now: who has connected knows better than who looked before.
        assert!(names.note(&"localhost".into(), here).is_some_and(|same| Arc::ptr_eq(&same, &name)));
        assert!(name.has(here));
        names.look_up().await;
        assert!(name.has(here) && !name.has(elsewhere));
        // What cannot be looked up stays as it was.
        let gone = names.note(&"no-such-host.invalid".into(), elsewhere).unwrap();
        names.look_up().await;
        assert!(gone.has(elsewhere));
        // As the console shows them.
        let all: Vec<(Arc<str>, Vec<IpAddr>)> = names.all().into_iter().collect();
        assert_eq!((all.len(), &*all[0].0, &*all[1].0), (2, "localhost", "no-such-host.invalid"));
        assert!(all[0].1.contains(&here) && all[0].1.is_sorted() && all[1].1 == [elsewhere]);
        assert_eq!(names.due(), None);
        let soon = Instant::now();
        names.note_due(Some(soon));
        assert_eq!(names.due(), Some(soon));
    }
}
