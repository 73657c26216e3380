#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn turns(sizes: &[usize]) -> Turns {
    let mut turns = Turns::default();
    for size in sizes {
        turns.add(*size, usize::MAX);
    }
    turns
}

#[track_caller]
fn waits(entry: Entry) -> Ticket {
    match entry {
        Entry::Waits(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_statement_holds_no_pool_while_it_waits_for_another() {
    let mut turns = turns(&[1, 1]);
    // A transaction holds pool 1; a statement wants both.
    assert_eq!(turns.enter(&[1], &[]), Entry::Admitted);
    let both = waits(turns.enter(&[0, 1], &[]));
    assert!(!turns.is_missing(both, 0) && turns.is_missing(both, 1));
    // The transaction goes on to pool 0, which the statement would have kept from it.
    assert_eq!(turns.enter(&[0], &[1]), Entry::Admitted);
    assert!(turns.is_missing(both, 0));
    assert_eq!(turns.give_back(0), None);
    assert_eq!(turns.give_back(1), Some(both));
    assert_eq!((turns.waiting(0), turns.waiting(1)), (0, 0));
}

#[test]
fn a_line_is_not_longer_than_its_limit() {
    let mut turns = Turns::default();
    turns.add(1, 2);
    turns.add(1, 0);
    assert_eq!(turns.enter(&[0], &[]), Entry::Admitted);
    let first = waits(turns.enter(&[0], &[]));
    let second = waits(turns.enter(&[0], &[]));
    assert_eq!(turns.enter(&[0], &[]), Entry::Crowded(0));
    // Nothing is kept of who was told so; a free connection needs no line.
    assert_eq!(turns.enter(&[0, 1], &[]), Entry::Crowded(0));
    assert_eq!(turns.enter(&[1], &[]), Entry::Admitted);
    assert_eq!(turns.enter(&[1], &[]), Entry::Crowded(1));
    // Who holds connections may wait: others may wait for what it holds.
    let holder = waits(turns.enter(&[0], &[1]));
    assert_eq!(turns.give_back(0), Some(holder));
    assert_eq!(turns.give_back(0), Some(first));
    assert_eq!(turns.give_back(0), Some(second));
    assert_eq!((turns.give_back(0), turns.waiting(0)), (None, 0));
}

#[test]
fn nobody_overtakes_whom_it_would_delay() {
    let mut turns = turns(&[2, 1]);
    assert_eq!(turns.enter(&[1], &[]), Entry::Admitted);
    let both = waits(turns.enter(&[0, 1], &[]));
    // One connection of pool 0 is claimed, the other is free.
    assert_eq!(turns.enter(&[0], &[]), Entry::Admitted);
    let late = waits(turns.enter(&[0], &[]));
    assert_eq!(turns.waiting(0), 1);
    assert_eq!(turns.give_back(1), Some(both));
    assert_eq!(turns.give_back(0), Some(late));
}

#[test]
fn who_leaves_the_line_lets_the_next_one_in() {
    let mut turns = turns(&[1, 1]);
    assert_eq!(turns.enter(&[1], &[]), Entry::Admitted);
    let first = waits(turns.enter(&[0, 1], &[]));
    let second = waits(turns.enter(&[0], &[]));
    assert_eq!(turns.leave(first).unwrap().as_slice(), [second]);
    // It is no longer there to be taken out: it has been let in.
    assert!(turns.leave(second).is_none());
    assert_eq!((turns.give_back(0), turns.give_back(1)), (None, None));
    assert_eq!(turns.enter(&[0, 1], &[]), Entry::Admitted);
}

#[test]
fn transactions_that_would_wait_in_a_circle_are_told() {
    let mut turns = turns(&[1, 1, 1]);
    for place in 0..3 {
        assert_eq!(turns.enter(&[place], &[]), Entry::Admitted);
    }
    let first = waits(turns.enter(&[1], &[0]));
    let second = waits(turns.enter(&[2], &[1]));
    assert_eq!(turns.enter(&[0], &[2]), Entry::Circle);
    // It fails, and by that gives back what it holds.
    assert_eq!(turns.give_back(2), Some(second));
    assert_eq!(turns.give_back(1), Some(first));
}

#[test]
fn as_long_as_one_holder_can_go_on_there_is_no_circle() {
    let mut turns = turns(&[2, 1]);
    assert_eq!(turns.enter(&[0], &[]), Entry::Admitted);
    assert_eq!(turns.enter(&[0], &[]), Entry::Admitted);
    assert_eq!(turns.enter(&[1], &[]), Entry::Admitted);
    let up = waits(turns.enter(&[1], &[0]));
    // The other connection of pool 0 is with somebody who does not wait.
    let down = waits(turns.enter(&[0], &[1]));
    assert_eq!(turns.give_back(0), Some(down));
    assert_eq!(turns.give_back(1), Some(up));
}

#[test]
fn who_has_the_whole_pool_does_not_wait_for_itself() {
    let mut turns = turns(&[1]);
    assert_eq!(turns.enter(&[0], &[]), Entry::Admitted);
    assert_eq!(turns.enter(&[0], &[0]), Entry::Alone(0));
}

/// What one client does: each step wants pools, and keeps them until its last step is done.
type Script = Vec<Vec<Place>>;

#[derive(Debug, Default)]
struct Client {
    script: Script,
    at: usize,
    holds: Vec<Place>,
    waits: Option<Ticket>,
}

impl Client {
    fn is_done(&self) -> bool {
        self.at == self.script.len() && self.waits.is_none() && self.holds.is_empty()
    }
}

struct World {
    turns: Turns,
    clients: Vec<Client>,
    circles: usize,
}

impl World {
    fn step(&mut self, who: usize) {
        let client = &mut self.clients[who];
        match client.script.get(client.at) {
            None => self.finish(who),
            Some(wants) => {
                let wants: Vec<Place> = wants.iter().copied().filter(|place| !client.holds.contains(place)).collect();
                match self.turns.enter(&wants, &client.holds) {
                    Entry::Admitted => {
                        client.holds.extend(wants);
                        client.at += 1;
                    }
                    Entry::Waits(ticket) => client.waits = Some(ticket),
                    // It fails.
                    Entry::Crowded(place) => {
                        let pool = &self.turns.pools[place];
                        assert!(client.holds.is_empty() && pool.line.len() - pool.free >= pool.queue, "{pool:?}");
                        client.at = client.script.len();
                    }
                    Entry::Alone(place) => panic!("{place} is not held: {client:?}"),
                    Entry::Circle => {
                        assert!(!client.holds.is_empty(), "only who holds something can close a circle");
                        self.circles += 1;
                        client.at = client.script.len();
                        self.finish(who);
                    }
                }
            }
        }
        if self.clients[who].at == self.clients[who].script.len() {
            self.finish(who);
        }
    }

    fn finish(&mut self, who: usize) {
        for place in std::mem::take(&mut self.clients[who].holds) {
            let admitted = self.turns.give_back(place);
            self.admit(admitted);
        }
    }

    fn admit(&mut self, admitted: impl IntoIterator<Item = Ticket>) {
        for ticket in admitted {
            let client = self.clients.iter_mut().find(|client| client.waits == Some(ticket)).unwrap();
            client.waits = None;
            for place in &client.script[client.at] {
                if !client.holds.contains(place) {
                    client.holds.push(*place);
                }
            }
            client.at += 1;
        }
    }

    fn give_up(&mut self, who: usize) {
        if let Some(ticket) = self.clients[who].waits.take() {
            let admitted = self.turns.leave(ticket).unwrap();
            self.clients[who].at = self.clients[who].script.len();
            self.admit(admitted);
            self.finish(who);
        }
    }

    fn check(&self) {
        for (place, pool) in self.turns.pools.iter().enumerate() {
            let held = self.clients.iter().flat_map(|client| &client.holds).filter(|held| **held == place).count();
            assert_eq!(pool.free + held, pool.size, "connections of pool {place}");
        }
        for pool in &self.turns.pools {
            assert!(pool.line.len() <= pool.size.saturating_add(pool.queue), "{pool:?}");
        }
        for newcomer in self.turns.seats.iter().filter(|waiter| waiter.holds.is_empty()) {
            let missing = newcomer.wants.iter().filter(|place| self.turns.is_missing(newcomer.ticket, **place)).count();
            assert_eq!(missing, newcomer.missing);
            assert!(missing > 0, "one with all its claims still waits");
        }
        assert_eq!(
            self.turns.waiting_holders().count(),
            self.turns.seats.iter().filter(|waiter| !waiter.holds.is_empty()).count()
        );
        for holder in self.turns.waiting_holders() {
            assert!(holder.wants.iter().any(|place| self.turns.pools[*place].free == 0), "{holder:?}");
        }
    }
}

proptest! {
    /// Whoever does what in whatever order: when everybody who can go on has, nobody waits.
    #[test]
    fn nobody_waits_for_ever(
        sizes in proptest::collection::vec(1usize..3, 3),
        queue in proptest::sample::select(vec![0, 1, 3, usize::MAX]),
        scripts in proptest::collection::vec(
            proptest::collection::vec(proptest::sample::subsequence(vec![0, 1, 2], 1..=3), 1..4), 2..9),
        order in proptest::collection::vec((any::<proptest::sample::Index>(), 0u8..12), 0..80),
    ) {
        let single = scripts.iter().all(|script| script.len() == 1);
        let clients = scripts.into_iter().map(|script| Client { script, ..Client::default() }).collect();
        let mut turns = turns(&sizes);
        turns.pools.iter_mut().for_each(|pool| pool.queue = queue);
        let mut world = World { turns, clients, circles: 0 };
        let turns_of = |world: &World| -> Vec<usize> {
            let able = |client: &Client| client.waits.is_none() && !client.is_done();
            (0..world.clients.len()).filter(|who| able(&world.clients[*who])).collect()
        };
        for (index, what) in order {
            if what == 0 {
                world.give_up(index.index(world.clients.len()));
            } else if let able = turns_of(&world) && !able.is_empty() {
                world.step(able[index.index(able.len())]);
            }
            world.check();
        }
        while let Some(who) = turns_of(&world).pop() {
            world.step(who);
            world.check();
        }
        for client in &world.clients {
            prop_assert!(client.is_done(), "{client:?} waits for ever");
        }
        prop_assert!(!single || world.circles == 0, "statements of their own never close a circle");
    }
}

#[test]
fn a_pool_that_grows_lets_in_who_waits() {
    let mut turns = turns(&[1]);
    assert_eq!(turns.enter(&[0], &[]), Entry::Admitted);
    let (first, second) = (waits(turns.enter(&[0], &[])), waits(turns.enter(&[0], &[])));
    assert_eq!(turns.resize(0, 3, usize::MAX).as_slice(), [first, second]);
    assert!(turns.is_full(0));
}

#[test]
fn a_pool_that_shrinks_lends_less_as_connections_come_back() {
    let mut turns = turns(&[3, 1]);
    assert_eq!(turns.enter(&[1], &[]), Entry::Admitted);
    (0..2).for_each(|_| assert_eq!(turns.enter(&[0], &[]), Entry::Admitted));
    // It has a claim on the last connection of pool 0, which it loses.
    let both = waits(turns.enter(&[0, 1], &[]));
    assert!(turns.resize(0, 1, usize::MAX).is_empty());
    assert!(turns.is_missing(both, 0));
    assert_eq!(turns.give_back(1), None);
    assert_eq!((turns.give_back(0), turns.is_full(0)), (None, true));
    // What was too much is gone: this one is lent again.
    assert_eq!(turns.give_back(0), Some(both));
    // And half of what was to be given up is wanted again.
    assert!(turns.resize(0, 0, usize::MAX).is_empty() && turns.resize(0, 2, usize::MAX).is_empty());
    assert_eq!(turns.enter(&[0], &[]), Entry::Admitted);
    assert!(turns.is_full(0));
}

#[test]
fn the_place_of_a_pool_that_is_gone_is_used_again() {
    let mut turns = turns(&[1, 1]);
    turns.remove(0);
    assert_eq!((turns.add(2, usize::MAX), turns.add(1, usize::MAX)), (0, 2));
    (0..2).for_each(|_| assert_eq!(turns.enter(&[0], &[]), Entry::Admitted));
}

#[test]
fn who_would_not_wait_takes_no_connection_that_another_has_a_claim_on() {
    let mut turns = turns(&[2, 1]);
    assert!(turns.enter_free(0) && turns.enter_free(0) && !turns.enter_free(0));
    let first = waits(turns.enter(&[0, 1], &[]));
    // Pool 1 is free, and the first of its line has a claim.
    assert!(!turns.enter_free(1) && !turns.enter_free(7));
    assert_eq!(turns.give_back(0), Some(first));
    assert_eq!(turns.give_back(0), None);
    assert!(turns.enter_free(0) && !turns.enter_free(0));
}
