//! `Knocking`: those who have connected and have not logged in yet. There may be so many; where one more comes, another one has to go: of the
//! network that has most of them the one that has been there longest.
//!
//! So a flood of sockets that say nothing keeps nobody out: who logs in has done so long before it is the oldest, and who comes from
//! another network than the flood is never the one to go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// An address; of IPv6 the first 64 bits, which are one customer's.
pub fn network(from: IpAddr) -> u128 {
    match from.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() & !u128::from(u64::MAX),
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Knocking(Mutex<Door>);

#[derive(Debug, Default)]
struct Door {
    last: u64,
    count: usize,
    by_network: HashMap<u128, BTreeMap<u64, oneshot::Sender<()>>>,
    /// How many each network has.
    crowds: BTreeSet<(usize, u128)>,
}

/// One that knocks, for as long as the value lives.
#[derive(Debug)]
pub struct Knock {
    of: Arc<Knocking>,
    network: u128,
    ticket: u64,
    sent_away: oneshot::Receiver<()>,
}

impl Knocking {
    /// One more, where there may be so many; another one is sent away for it if need be.
    pub fn enter(self: &Arc<Self>, from: IpAddr, most: usize) -> Knock {
        let (sender, sent_away) = oneshot::channel();
        let network = network(from);
        let mut door = self.door();
        while door.count >= most.max(1) && door.send_one_away() {}
        door.last += 1;
        let ticket = door.last;
        door.put(network, ticket, sender);
        Knock { of: Arc::clone(self), network, ticket, sent_away }
    }

    /// How many there are now.
    pub fn count(&self) -> usize {
        self.door().count
    }

    fn door(&self) -> MutexGuard<'_, Door> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    fn put(&mut self, network: u128, ticket: u64, sender: oneshot::Sender<()>) {
        let of_network = self.by_network.entry(network).or_default();
        self.crowds.remove(&(of_network.len(), network));
        of_network.insert(ticket, sender);
        self.crowds.insert((of_network.len(), network));
        self.count += 1;
    }

    /// Dropping its sender is what tells it. False: nobody is there.
    fn send_one_away(&mut self) -> bool {
        let Some((_, network)) = self.crowds.last().copied() else { return false };
        let oldest = self.by_network.get(&network).and_then(|all| all.keys().next().copied());
        oldest.is_some_and(|ticket| self.take(network, ticket))
    }

    fn take(&mut self, network: u128, ticket: u64) -> bool {
        let Some(of_network) = self.by_network.get_mut(&network) else { return false };
        let before = of_network.len();
        if of_network.remove(&ticket).is_none() {
            return false;
        }
        self.count -= 1;
        self.crowds.remove(&(before, network));
        match of_network.len() {
            0 => drop(self.by_network.remove(&network)),
            left => drop(self.crowds.insert((left, network))),
        }
        true
    }
}

impl Knock {
    /// Done when it has to go for another one.
    pub async fn sent_away(&mut self) {
        // Nothing is ever sent.
        let _ = (&mut self.sent_away).await;
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        self.of.door().take(self.network, self.ticket);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::FutureExt;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_away(knock: &mut Knock) -> bool {
        knock.sent_away().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_of_those_who_have_most_goes() {
        let door = Arc::new(Knocking::default());
        let mut quiet = door.enter(ip("10.0.0.1"), 3);
        let mut flood: Vec<Knock> = (0..5).map(|_| door.enter(ip("10.0.0.2"), 3)).collect();
        assert_eq!(door.count(), 3);
        assert!(!is_away(&mut quiet), "it is older than all, and alone of its address");
        assert_eq!(flood.iter_mut().map(is_away).collect::<Vec<_>>(), [true, true, true, false, false]);
        // What is away already is not counted when it goes.
        flood.drain(..3);
        assert_eq!(door.count(), 3);
        flood.clear();
        let mut more = [door.enter(ip("10.0.0.2"), 3), door.enter(ip("10.0.0.3"), 3)];
        assert!(!is_away(&mut quiet) && !more.iter_mut().any(is_away));
        drop((quiet, more));
        let left = door.door();
        assert!(left.count == 0 && left.by_network.is_empty() && left.crowds.is_empty());
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one() {
        let door = Arc::new(Knocking::default());
        let mut other = door.enter(ip("2001:db8:0:1::1"), 3);
        let mut flood: Vec<Knock> = (0..9).map(|n| door.enter(ip(&format!("2001:db8::{n}")), 3)).collect();
        assert!(!is_away(&mut other) && is_away(&mut flood[6]) && !is_away(&mut flood[7]));
    }

    #[test]
    fn a_limit_that_is_lowered_sends_all_away_who_are_too_many() {
        let door = Arc::new(Knocking::default());
        let mut all: Vec<Knock> = (0..9).map(|_| door.enter(ip("10.0.0.1"), 100)).collect();
        all.push(door.enter(ip("10.0.0.1"), 2));
        assert_eq!((door.count(), all.iter_mut().filter_map(|knock| is_away(knock).then_some(())).count()), (2, 8));
    }
}
