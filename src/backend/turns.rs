//! PURE. `Turns`: whose turn it is where a user's pools have fewer connections than are asked for, so that nobody waits in a circle.
//!
//! Who holds nothing (a newcomer) asks for all that its statement needs at once, and gets all or none: what it waits for is never
//! what others wait for. Newcomers stand in line at each pool that they want. The first of a line, as many as there are free
//! connections, have a claim on one; who has a claim at every pool that it wants gets them all. So nobody overtakes whom it would
//! delay, and a connection that a claim cannot use yet is still in the pool.
//!
//! A line may have a limit: who would make it longer is told at once, which is better than to wait for nothing.
//!
//! Who holds connections already (a transaction that goes on to more shards) is given what is free before all claims: others may
//! wait for what it holds. Among such a circle is possible, because applications choose the order in which a transaction meets its
//! shards. The one that would close it is told so instead of waiting.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::backend::seats::Seats;

/// Names a pool among those of one user.
pub type Place = usize;
pub type Places = SmallVec<[Place; 4]>;

/// Names one who waits; that of a later one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    number: u64,
    seat: usize,
}

impl Ticket {
    /// A small number that nobody else has who waits now.
    pub fn seat(self) -> usize {
        self.seat
    }
}

/// What comes of asking for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// They are the asker's.
    Admitted,
    Waits(Ticket),
    /// It asks a pool for more connections than there are: it has all of them itself.
    Alone(Place),
    /// Others wait for what it holds, and it would wait for what they hold.
    Circle,
    /// As many as may wait for this pool are waiting.
    Crowded(Place),
}

#[derive(Debug, Default)]
pub struct Turns {
    pools: Vec<Pool>,
    /// All who wait.
    seats: Seats<Waiter>,
    /// Those of them who hold something, in the order in which they came.
    holders: Vec<Ticket>,
    /// Places of pools that are gone.
    vacant: Vec<Place>,
    last: u64,
}

#[derive(Debug)]
struct Pool {
    size: usize,
    /// Connections that nobody has.
    free: usize,
    /// Connections that came to be too many while they were in use: what comes back is not lent again until these are gone.
    surplus: usize,
    /// The first `free` of them have a claim.
    line: VecDeque<Ticket>,
    /// Newcomers that may wait without a claim.
    queue: usize,
}

#[derive(Debug)]
struct Waiter {
    ticket: Ticket,
    wants: Places,
    /// Nothing: it is a newcomer.
    holds: Places,
    /// Pools where a newcomer has no claim.
    missing: usize,
}

impl Turns {
    /// One more pool, for which so many newcomers may wait.
    pub fn add(&mut self, size: usize, queue: usize) -> Place {
        let pool = Pool { size, free: size, surplus: 0, line: VecDeque::new(), queue };
        if let Some(place) = self.vacant.pop() {
            self.pools[place] = pool;
            return place;
        }
        self.pools.push(pool);
        self.pools.len() - 1
    }

    /// A pool of which nobody holds or wants a connection is gone.
    pub fn remove(&mut self, place: Place) {
        self.vacant.push(place);
    }

    /// A pool may have more connections, or fewer: what is in use stays in use. Returns who has been admitted by that.
    pub fn resize(&mut self, place: Place, size: usize, queue: usize) -> SmallVec<[Ticket; 4]> {
        let pool = &mut self.pools[place];
        pool.queue = queue;
        let before = std::mem::replace(&mut pool.size, size);
        let kept = pool.surplus.min(size.saturating_sub(before));
        pool.surplus -= kept;
        let more = size.saturating_sub(before) - kept;
        for _ in size..before {
            match self.pools[place].free {
                0 => self.pools[place].surplus += 1,
                _ => self.take_before_claims(place),
            }
        }
        (0..more).filter_map(|_| self.admit_one(place)).collect()
    }

    /// Somebody wants a connection of each of `wants`, which are different pools, and has some of `holds` already.
    pub fn enter(&mut self, wants: &[Place], holds: &[Place]) -> Entry {
        if holds.is_empty() { self.enter_newcomer(wants) } else { self.enter_holder(wants, holds) }
    }

    /// Takes a connection of this pool for a newcomer, if there is one that nobody has a claim on.
    pub fn enter_free(&mut self, place: Place) -> bool {
        let Some(pool) = self.pools.get_mut(place).filter(|pool| pool.free > pool.line.len()) else { return false };
        pool.free -= 1;
        true
    }

    fn enter_newcomer(&mut self, wants: &[Place]) -> Entry {
        if wants.iter().all(|place| self.pools[*place].free > self.pools[*place].line.len()) {
            wants.iter().for_each(|place| self.pools[*place].free -= 1);
            return Entry::Admitted;
        }
        let crowded = |pool: &Pool| pool.free <= pool.line.len() && pool.line.len() - pool.free >= pool.queue;
        if let Some(place) = wants.iter().find(|place| crowded(&self.pools[**place])) {
            return Entry::Crowded(*place);
        }
        let ticket = self.ticket();
        let mut missing = 0;
        for place in wants {
            let pool = &mut self.pools[*place];
            missing += usize::from(pool.line.len() >= pool.free);
            pool.line.push_back(ticket);
        }
        self.seats.put(Waiter { ticket, wants: SmallVec::from_slice(wants), holds: SmallVec::new(), missing });
        Entry::Waits(ticket)
    }

    fn enter_holder(&mut self, wants: &[Place], holds: &[Place]) -> Entry {
        if wants.iter().all(|place| self.pools[*place].free > 0) {
            wants.iter().for_each(|place| self.take_before_claims(*place));
            return Entry::Admitted;
        }
        let own = |place: Place| holds.iter().filter(|held| **held == place).count();
        if let Some(place) = wants.iter().find(|place| own(**place) >= self.pools[**place].size) {
            return Entry::Alone(*place);
        }
        let ticket = self.ticket();
        self.seats.put(Waiter { ticket, wants: wants.into(), holds: holds.into(), missing: 0 });
        self.holders.push(ticket);
        if self.is_stuck(ticket) {
            self.remove_waiter(ticket);
            return Entry::Circle;
        }
        Entry::Waits(ticket)
    }

    /// A connection is nobody's again. Returns who has been admitted by that.
    pub fn give_back(&mut self, place: Place) -> Option<Ticket> {
        let pool = &mut self.pools[place];
        if pool.surplus > 0 {
            pool.surplus -= 1;
            return None;
        }
        self.admit_one(place)
    }

    /// There is one more free connection.
    fn admit_one(&mut self, place: Place) -> Option<Ticket> {
        self.pools[place].free += 1;
        let pools = &self.pools;
        let next = self
            .waiting_holders()
            .find(|holder| holder.wants.contains(&place) && holder.wants.iter().all(|place| pools[*place].free > 0));
        let Some(ticket) = next.map(|holder| holder.ticket) else { return self.extend_claims(place) };
        let holder = self.remove_waiter(ticket)?;
        // The one that came back was not claimed by anybody yet.
        self.pools[place].free -= 1;
        holder.wants.iter().filter(|wanted| **wanted != place).for_each(|place| self.take_before_claims(*place));
        Some(ticket)
    }

    /// Somebody does not wait any longer. `None`: it has been admitted meanwhile; else who has been admitted by its leaving.
    pub fn leave(&mut self, ticket: Ticket) -> Option<SmallVec<[Ticket; 4]>> {
        let waiter = self.remove_waiter(ticket)?;
        let mut admitted = SmallVec::new();
        if !waiter.holds.is_empty() {
            return Some(admitted);
        }
        for place in waiter.wants {
            let pool = &mut self.pools[place];
            let Some(at) = pool.line.iter().position(|waits| *waits == ticket) else { continue };
            pool.line.remove(at);
            if at < pool.free {
                admitted.extend(self.extend_claims(place));
            }
        }
        Some(admitted)
    }

    /// Whether somebody who comes now would have to wait for a connection of this pool.
    pub fn is_full(&self, place: Place) -> bool {
        let pool = &self.pools[place];
        pool.free <= pool.line.len()
    }

    /// How many wait for a connection of this pool.
    pub fn waiting(&self, place: Place) -> usize {
        let pool = &self.pools[place];
        let holders = self.waiting_holders().filter(|holder| pool.free == 0 && holder.wants.contains(&place)).count();
        pool.line.len().saturating_sub(pool.free) + holders
    }

    /// The first of those who wait for a connection of this pool.
    pub fn first_waiting(&self, place: Place) -> Option<Ticket> {
        let pool = &self.pools[place];
        let holder = self.waiting_holders().find(|holder| pool.free == 0 && holder.wants.contains(&place));
        pool.line.get(pool.free).copied().into_iter().chain(holder.map(|holder| holder.ticket)).min()
    }

    /// Whether a pool has none for the one who waits with this ticket.
    pub fn is_missing(&self, ticket: Ticket, place: Place) -> bool {
        let pool = &self.pools[place];
        match self.waiter(ticket).is_some_and(|waiter| waiter.holds.is_empty()) {
            true => !pool.line.iter().take(pool.free).any(|claims| *claims == ticket),
            false => pool.free == 0,
        }
    }

    /// Of the next one who waits.
    fn ticket(&mut self) -> Ticket {
        self.last += 1;
        Ticket { number: self.last, seat: self.seats.next() }
    }

    /// The one who waits with this ticket, if it does still.
    fn waiter(&self, ticket: Ticket) -> Option<&Waiter> {
        self.seats.get(ticket.seat).filter(|waiter| waiter.ticket == ticket)
    }

    fn waiter_mut(&mut self, ticket: Ticket) -> Option<&mut Waiter> {
        self.seats.get_mut(ticket.seat).filter(|waiter| waiter.ticket == ticket)
    }

    fn remove_waiter(&mut self, ticket: Ticket) -> Option<Waiter> {
        self.waiter(ticket)?;
        let waiter = self.seats.take(ticket.seat)?;
        if !waiter.holds.is_empty() {
            self.holders.retain(|holder| *holder != ticket);
        }
        Some(waiter)
    }

    fn waiting_holders(&self) -> impl Iterator<Item = &Waiter> {
        self.holders.iter().filter_map(|ticket| self.waiter(*ticket))
    }

    /// One more of the line has a claim: somebody before it has gone, or a connection has come.
    fn extend_claims(&mut self, place: Place) -> Option<Ticket> {
        let pool = &self.pools[place];
        let ticket = *pool.line.get(pool.free.checked_sub(1)?)?;
        let newcomer = self.waiter_mut(ticket)?;
        newcomer.missing -= 1;
        if newcomer.missing > 0 {
            return None;
        }
        let newcomer = self.remove_waiter(ticket)?;
        for place in newcomer.wants {
            let pool = &mut self.pools[place];
            // It goes with its connection: the claims of the others stay.
            if let Some(at) = pool.line.iter().take(pool.free).position(|claims| *claims == ticket) {
                pool.line.remove(at);
                pool.free -= 1;
            }
        }
        Some(ticket)
    }

    /// Takes a free connection; the last claim on one is lost if there are not enough.
    fn take_before_claims(&mut self, place: Place) {
        let pool = &mut self.pools[place];
        pool.free -= 1;
        if let Some(last) = pool.line.get(pool.free).copied()
            && let Some(newcomer) = self.waiter_mut(last)
        {
            newcomer.missing += 1;
        }
    }

    /// Whether a holder can never be admitted, even if everybody who does not wait gives back all that it has: holders that could
    /// go on then give back theirs, until nobody more can.
    fn is_stuck(&self, ticket: Ticket) -> bool {
        let mut available: Vec<usize> = self.pools.iter().map(|pool| pool.size).collect();
        for place in self.waiting_holders().flat_map(|holder| &holder.holds) {
            available[*place] = available[*place].saturating_sub(1);
        }
        let mut stuck: Vec<&Waiter> = self.waiting_holders().collect();
        loop {
            let before = stuck.len();
            stuck.retain(|holder| {
                let goes_on = holder.wants.iter().all(|place| available[*place] > 0);
                if goes_on {
                    holder.holds.iter().for_each(|place| available[*place] += 1);
                }
                !goes_on
            });
            if stuck.len() == before {
                return stuck.iter().any(|holder| holder.ticket == ticket);
            }
        }
    }
}

#[cfg(test)]
#[path = "turns/tests.rs"]
mod tests;
