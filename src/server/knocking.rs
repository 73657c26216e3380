//! `Knocking`: those who have connected and have not logged in yet. There may be so many. Where one more comes, one has to go who has not
//! said yet who it is: of the network that has most of these the one that has been there longest. Those who have sent a whole startup
//! packet go on: of them there may be so many as well, and where one more speaks, it is told so, unless others have more of them than its
//! own network: then the last one of the others goes.
//!
//! So a flood of sockets that say nothing keeps nobody out who speaks at once, a storm of those who all want to log in gets ahead, and who
//! comes from another network than the flood is never the one to go.

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
    silent: Crowd,
    spoken: Crowd,
}

/// Dropping it is what tells that one has to go.
type Bell = oneshot::Sender<()>;
/// By their tickets.
type Bells = BTreeMap<u64, Bell>;

/// By their networks.
#[derive(Debug, Default)]
struct Crowd {
    count: usize,
    by_network: HashMap<u128, Bells>,
    /// How many each network has.
    sizes: BTreeSet<(usize, u128)>,
}

/// One that knocks, for as long as the value lives.
#[derive(Debug)]
pub struct Knock {
    of: Arc<Knocking>,
    network: u128,
    ticket: u64,
    most: usize,
}

/// How one is told that it has to go for another one.
#[derive(Debug)]
pub struct SentAway(oneshot::Receiver<()>);

impl Knocking {
    /// One more, where there may be so many; another one is sent away for it if need be.
    pub fn enter(self: &Arc<Self>, from: IpAddr, most: usize) -> (Knock, SentAway) {
        let (sender, sent_away) = oneshot::channel();
        let (network, most) = (network(from), most.max(1));
        let mut door = self.door();
        // Also where all have spoken somebody must be able to: it may be a cancel request.
        let room = most.saturating_sub(door.spoken.count).max(most / 4).max(1);
        while door.silent.count >= room && door.silent.send_away(Bells::pop_first) {}
        door.last += 1;
        let ticket = door.last;
        door.silent.put(network, ticket, sender);
        (Knock { of: Arc::clone(self), network, ticket, most }, SentAway(sent_away))
    }

    /// How many there are now.
    pub fn count(&self) -> usize {
        let door = self.door();
        door.silent.count + door.spoken.count
    }

    fn door(&self) -> MutexGuard<'_, Door> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Crowd {
    fn put(&mut self, network: u128, ticket: u64, sender: Bell) {
        self.change(network, |all| all.insert(ticket, sender));
    }

    fn take(&mut self, network: u128, ticket: u64) -> Option<Bell> {
        self.change(network, |all| all.remove(&ticket))
    }

    fn size(&self, network: u128) -> usize {
        self.by_network.get(&network).map_or(0, Bells::len)
    }

    /// One of the largest network. False: nobody is there.
    fn send_away(&mut self, which: fn(&mut Bells) -> Option<(u64, Bell)>) -> bool {
        let Some((_, network)) = self.sizes.last().copied() else { return false };
        self.change(network, which).is_some()
    }

    fn change<T>(&mut self, network: u128, change: impl FnOnce(&mut Bells) -> T) -> T {
        let all = self.by_network.entry(network).or_default();
        let before = all.len();
        let done = change(all);
        let after = all.len();
        if after == 0 {
            self.by_network.remove(&network);
        }
        self.sizes.remove(&(before, network));
        if after > 0 {
            self.sizes.insert((after, network));
        }
        self.count = self.count + after - before;
        done
    }
}

impl Knock {
    /// It has said who it is. False: as many as may be are there who have.
    pub fn speak(&self) -> bool {
        let mut door = self.of.door();
        let largest = door.spoken.sizes.last().map_or(0, |(size, _)| *size);
        let may = door.spoken.count < self.most
            || (door.spoken.size(self.network) + 1 < largest && door.spoken.send_away(Bells::pop_last));
        if may && let Some(sender) = door.silent.take(self.network, self.ticket) {
            door.spoken.put(self.network, self.ticket, sender);
        }
        may
    }
}

impl SentAway {
    /// Done when it has to go for another one.
    pub async fn wait(&mut self) {
        // Nothing is ever sent.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        let mut door = self.of.door();
        let _ = door.silent.take(self.network, self.ticket);
        let _ = door.spoken.take(self.network, self.ticket);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::FutureExt;

    use super::*;

    type Comer = (Knock, SentAway);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_away((_, sent_away): &mut Comer) -> bool {
        sent_away.wait().now_or_never().is_some()
    }

    fn is_empty(door: &Knocking) -> bool {
        let left = door.door();
        let none = |crowd: &Crowd| crowd.count == 0 && crowd.by_network.is_empty() && crowd.sizes.is_empty();
        none(&left.silent) && none(&left.spoken)
    }

    #[test]
    fn the_oldest_of_those_who_have_most_goes() {
        let door = Arc::new(Knocking::default());
        let mut quiet = door.enter(ip("10.0.0.1"), 3);
        let mut flood: Vec<Comer> = (0..5).map(|_| door.enter(ip("10.0.0.2"), 3)).collect();
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
        assert!(is_empty(&door));
    }

    #[test]
    fn who_has_spoken_is_not_sent_away_for_those_who_say_nothing() {
        let door = Arc::new(Knocking::default());
        let mut speaks = door.enter(ip("10.0.0.1"), 4);
        assert!(speaks.0.speak());
        // Of the same address.
        let mut flood: Vec<Comer> = (0..100).map(|_| door.enter(ip("10.0.0.1"), 4)).collect();
        assert!(!is_away(&mut speaks) && door.count() == 4);
        assert_eq!(flood.iter_mut().filter_map(|one| is_away(one).then_some(())).count(), 97);
        // One that was sent away and speaks after all is nobody.
        assert!(flood[0].0.speak() && door.count() == 4);
        drop((speaks, flood));
        assert!(is_empty(&door));
    }

    #[test]
    fn where_all_have_spoken_the_newest_is_told_and_the_others_get_ahead() {
        let door = Arc::new(Knocking::default());
        let mut storm: Vec<Comer> = (0..8).map(|_| door.enter(ip("10.0.0.1"), 8)).collect();
        assert!(storm.iter().all(|one| one.0.speak()));
        for _ in 0..50 {
            let mut late = door.enter(ip("10.0.0.1"), 8);
            assert!(!late.0.speak() && !is_away(&mut late));
        }
        assert!(!storm.iter_mut().any(is_away));
        // Who comes from elsewhere takes the place of the last one.
        let mut other = door.enter(ip("10.0.0.2"), 8);
        assert!(other.0.speak() && !is_away(&mut other));
        assert_eq!(
            storm.iter_mut().map(is_away).collect::<Vec<_>>(),
            [false, false, false, false, false, false, false, true]
        );
        storm.remove(0);
        let next = door.enter(ip("10.0.0.1"), 8);
        assert!(next.0.speak(), "there is room again");
        drop((storm, other, next));
        assert!(is_empty(&door));
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one() {
        let door = Arc::new(Knocking::default());
        let mut other = door.enter(ip("2001:db8:0:1::1"), 3);
        let mut flood: Vec<Comer> = (0..9).map(|n| door.enter(ip(&format!("2001:db8::{n}")), 3)).collect();
        assert!(!is_away(&mut other) && is_away(&mut flood[6]) && !is_away(&mut flood[7]));
    }

    #[test]
    fn a_limit_that_is_lowered_sends_all_away_who_are_too_many() {
        let door = Arc::new(Knocking::default());
        let mut all: Vec<Comer> = (0..9).map(|_| door.enter(ip("10.0.0.1"), 100)).collect();
        all.push(door.enter(ip("10.0.0.1"), 2));
        assert_eq!((door.count(), all.iter_mut().filter_map(|knock| is_away(knock).then_some(())).count()), (2, 8));
    }
}
