//! PURE. `Roles`: which server of a shard is its primary, which are replicas of it and how far they have come, by what the servers said.
//!
//! It is told what was heard, and when it was asked. What it holds to:
//!
//! - Nobody is the primary before every server was asked once: one that is newer may be among those that have not answered yet.
//! - The newest timeline wins. What is behind it, by the word of whichever server of the shard, is never written to again.
//! - Two that take writes on the same timeline: nobody is the primary until one of them is gone. Positions in the log prove nothing
//!   there: each may have what the other lacks.
//! - Silence changes nobody's role. A primary that does not answer is the primary until another one has taken over: by a newer
//!   timeline, or on the same one (a disk that moved to another machine) at a position that is not behind.
//! - A server of another cluster, by its system identifier, has no role at all. Where every server has become one of the same other
//!   cluster (the shard was upgraded or restored), that is the shard's from then on.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A position in the write-ahead log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// Of a page of the log: its header, of the first page of a file a longer one.
const PAGE: u64 = 8192;
const HEADERS: [u64; 2] = [24, 40];

impl Lsn {
    /// As Postgres writes it: `16/B374D848`.
    pub fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let half = |text: &str| u32::from_str_radix(text, 16).ok().map(u64::from);
        Some(Self(half(high)? << 32 | half(low)?))
    }

    /// Where the last record ends, of a position at which the next one would begin: the header of a page stands between them, and who
    /// has replayed the last record has not come behind it.
    pub fn end_of_record(self) -> Self {
        let into = self.0 % PAGE;
        if HEADERS.contains(&into) { Self(self.0 - into) } else { self }
    }
}

/// What a server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Of its cluster: the same for a primary and its replicas.
    pub system: u64,
    pub timeline: u32,
    pub in_recovery: bool,
    /// How far it has written; in recovery, how far it has replayed.
    pub lsn: Lsn,
}

/// What came of asking a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Silence,
    Said(Fact),
}

/// What a server is to the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It has not been heard yet, or nobody knows yet what the shard's cluster is.
    Unknown,
    /// Writes go here.
    Primary,
    Replica,
    /// It takes writes, and must not get any.
    Fenced(Why),
    /// Of another cluster.
    Stranger,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Another server has a newer timeline.
    OldTimeline,
    /// Another server takes writes on the same timeline.
    Twin,
    /// It is on the primary's timeline, behind what the primary had written.
    Behind,
}

impl Role {
    pub fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Fenced(_) => "fenced",
            Self::Stranger => "stranger",
        }
    }

    /// What is to be told beside the label.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Unknown | Self::Primary | Self::Replica => None,
            Self::Fenced(Why::OldTimeline) => Some("it takes writes on an older timeline"),
            Self::Fenced(Why::Twin) => Some("two servers take writes on the same timeline"),
            Self::Fenced(Why::Behind) => Some("it takes writes behind what the primary had written"),
            Self::Stranger => Some("it belongs to another cluster, by its system identifier"),
        }
    }
}

/// The time that a server has had one role. Never given twice, to whichever server of whichever list; 0 is none.
pub type Stint = u64;

fn next_stint() -> Stint {
    static STINTS: AtomicU64 = AtomicU64::new(1);
    STINTS.fetch_add(1, Ordering::Relaxed)
}

/// One server of the shard.
#[derive(Clone, Debug)]
pub struct Seat {
    pub role: Role,
    pub stint: Stint,
    /// What it said last.
    pub fact: Option<Fact>,
    /// The last time that it was asked it did not answer.
    pub silent: bool,
    asked: Option<Instant>,
    /// It has everything that the primary had written by then.
    pub fresh_as_of: Option<Instant>,
    /// The timeline on which it was found behind what the primary had written. What it writes itself brings it no nearer to that.
    behind: Option<u32>,
}

/// Who was the primary last, on which timeline, and how far it has written.
#[derive(Clone, Copy, Debug)]
struct Last {
    seat: usize,
    timeline: u32,
    lsn: Lsn,
}

#[derive(Clone, Debug)]
pub struct Roles {
    seats: Vec<Seat>,
    /// The system identifier of the shard's cluster, from the first primary on.
    system: Option<u64>,
    /// The newest timeline that was heard of in that cluster.
    newest: u32,
    /// The same of any cluster, by whoever has told of it, here or before.
    known: BTreeMap<u64, u32>,
    primary: Option<usize>,
    last: Option<Last>,
    /// How far the primary was known to have written, and when it had been asked.
    samples: VecDeque<(Instant, Lsn)>,
}

/// How many positions of the primary are remembered: older ones lie further apart.
const SAMPLES: usize = 128;

impl Roles {
    pub fn new(servers: usize) -> Self {
        let seat = Seat {
            role: Role::Unknown,
            stint: 0,
            fact: None,
            silent: true,
            asked: None,
            fresh_as_of: None,
            behind: None,
        };
        let (known, samples) = (BTreeMap::new(), VecDeque::new());
        Self { seats: vec![seat; servers], system: None, newest: 0, known, primary: None, last: None, samples }
    }

    /// The roles of other servers of the same shard, which know as much of its cluster. `before`: the place that one of them has here. While
    /// the last primary is among them it is known how far it had written, and who is behind that. Who was asked `since` then keeps its part.
    pub fn of_others(&self, servers: usize, before: impl Fn(usize) -> Option<usize>, since: Instant) -> Self {
        let known = self.known.clone();
        let mut roles = Self { system: self.system, newest: self.newest, known, ..Self::new(servers) };
        let here = |seat: usize| (0..servers).find(|at| before(*at) == Some(seat));
        roles.last = self.last.and_then(|last| Some(Last { seat: here(last.seat)?, ..last }));
        for (at, seat) in roles.seats.iter_mut().enumerate() {
            let Some(known) = before(at).and_then(|before| self.seats.get(before)) else { continue };
            if known.asked.is_some_and(|asked| asked >= since) {
                *seat = known.clone();
            }
            seat.behind = known.behind.filter(|_| roles.last.is_some());
        }
        roles.primary = self.primary.and_then(here).filter(|at| roles.seats[*at].asked.is_some());
        match roles.primary {
            Some(_) => roles.samples.clone_from(&self.samples),
            None => roles.seats.iter_mut().for_each(|seat| seat.fresh_as_of = None),
        }
        roles
    }

    /// These are the roles of the same servers, at the same places, by another list of them: whichever list was asked later knows who has
    /// which part now. What either has heard of timelines, of how far the primary had written and who is behind that, is known still.
    pub fn catch_up(&mut self, other: Self) {
        let asked = |roles: &Self| roles.seats.iter().filter_map(|seat| seat.asked).max();
        let other = match asked(&other) > asked(self) {
            true => std::mem::replace(self, other),
            false => other,
        };
        for (&system, &timeline) in &other.known {
            let known = self.known.entry(system).or_default();
            *known = timeline.max(*known);
        }
        if self.system.is_none() || other.system != self.system {
            return;
        }
        self.newest = self.newest.max(other.newest);
        let far = |last: &Last| (last.timeline, last.lsn);
        if other.last.as_ref().map(far) > self.last.as_ref().map(far) {
            self.last = other.last;
        }
        for (seat, other) in self.seats.iter_mut().zip(&other.seats).filter(|_| self.last.is_some()) {
            seat.behind = seat.behind.max(other.behind);
        }
    }

    /// There is, or was, this timeline of a cluster.
    pub fn know(&mut self, system: u64, timeline: u32) {
        self.known.insert(system, timeline);
    }

    /// The newest timeline of a cluster that was heard of here; 0: none.
    pub fn known(&self, system: u64) -> u32 {
        let newest = if self.system == Some(system) { self.newest } else { 0 };
        self.known.get(&system).copied().unwrap_or(0).max(newest)
    }

    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// Where writes go.
    pub fn primary(&self) -> Option<usize> {
        self.primary
    }

    /// How far the primary had written when it was asked last.
    pub fn written(&self) -> Option<Lsn> {
        self.samples.back().map(|(_, lsn)| *lsn)
    }

    /// Bytes that a replica is behind.
    pub fn lag_bytes(&self, at: usize) -> Option<u64> {
        let replayed = self.seats.get(at)?.fact.filter(|_| self.seats[at].role == Role::Replica)?.lsn;
        Some(self.written()?.0.saturating_sub(replayed.0))
    }

    /// For how long a replica may have been behind: it has all that was written before.
    pub fn lag(&self, at: usize, now: Instant) -> Option<Duration> {
        let seat = self.seats.get(at).filter(|seat| seat.role == Role::Replica)?;
        seat.fresh_as_of.map(|fresh| now.saturating_duration_since(fresh))
    }

    /// A server was asked at this moment, and this came of it. Whether that changed a role.
    pub fn note(&mut self, at: usize, asked: Instant, heard: Heard) -> bool {
        let Some(seat) = self.seats.get_mut(at) else { return false };
        if seat.asked.is_some_and(|before| asked < before) {
            // Two asked, and the answer to the later question came first.
            return false;
        }
        seat.asked = Some(asked);
        seat.silent = heard == Heard::Silence;
        if let Heard::Said(fact) = heard {
            seat.fact = Some(fact);
        }
        let before: Vec<Role> = self.seats.iter().map(|seat| seat.role).collect();
        self.choose();
        self.assign();
        // It may have been chosen by what another one said.
        let primary = self.primary.and_then(|primary| Some((primary, self.seats[primary].fact?)));
        if let Some((primary, fact)) = primary {
            self.has_written(primary, &fact);
        }
        self.measure(at, asked, heard);
        self.seats.iter().zip(before).any(|(seat, role)| seat.role != role)
    }

    /// Who of those that take writes is the primary.
    fn choose(&mut self) {
        // Before everybody was asked nobody becomes the primary; one that was it in another list of them stays it.
        let all_were_asked = self.seats.iter().all(|seat| seat.asked.is_some());
        if !all_were_asked && self.primary.is_none() {
            return;
        }
        if all_were_asked
            && let Some(system) = self.system
            && let Some(other) = self.first_system()
            && other != system
        {
            (self.system, self.newest, self.primary, self.last) = (Some(other), 0, None, None);
            self.seats.iter_mut().for_each(|seat| seat.behind = None);
        }
        let Some(system) = self.system.or_else(|| self.first_system()) else { return };
        let own = |seat: &Seat| seat.fact.filter(|fact| fact.system == system);
        let known = self.known.get(&system).copied().unwrap_or(0);
        let heard = self.seats.iter().filter_map(own).map(|fact| fact.timeline).max().unwrap_or(0);
        self.newest = self.newest.max(known).max(heard);
        let newest = self.newest;
        let claims = |seat: &Seat| own(seat).filter(|fact| !fact.in_recovery && fact.timeline == newest);
        // One that has been silent since may be gone.
        let claimants: Vec<(usize, Fact)> = self
            .seats
            .iter()
            .enumerate()
            .filter(|(at, seat)| !seat.silent || self.primary == Some(*at))
            .filter_map(|(at, seat)| Some((at, claims(seat)?)))
            .collect();
        let chosen = match self.primary {
            // Silent, it stays, unless one is there that has all that it had.
            Some(primary) if claimants.iter().any(|(at, _)| *at == primary) && self.seats[primary].silent => {
                let written = self.seats[primary].fact.map_or(Lsn(0), |fact| fact.lsn);
                match claimants.iter().filter(|(at, _)| *at != primary).collect::<Vec<_>>()[..] {
                    [] => Some(primary),
                    [(at, fact)] if fact.lsn >= written && !self.is_behind(*at, fact) => Some(*at),
                    [_] => Some(primary),
                    _ => None,
                }
            }
            Some(_) | None => match claimants[..] {
                // Also where the primary that it is behind is gone.
                [(at, fact)] if !self.is_behind(at, &fact) => Some(at),
                _ => None,
            },
        };
        let chosen = chosen.filter(|chosen| all_were_asked || self.primary == Some(*chosen));
        // Where all that answer are behind what is known, they are fenced, not unknown.
        if chosen.is_some() || known > heard {
            self.system = Some(system);
        }
        if chosen != self.primary {
            self.samples.clear();
            self.seats.iter_mut().for_each(|seat| seat.fresh_as_of = None);
            self.primary = chosen;
        }
    }

    /// Whether a server lacks something that the last primary had written on this timeline.
    fn is_behind(&self, at: usize, fact: &Fact) -> bool {
        let of_other = |last: &Last| last.seat != at && last.timeline == fact.timeline && fact.lsn < last.lsn;
        self.seats[at].behind == Some(fact.timeline) || self.last.as_ref().is_some_and(of_other)
    }

    /// The cluster that this shard is, where nobody has said otherwise last.
    fn first_system(&self) -> Option<u64> {
        let mut systems = self.seats.iter().filter_map(|seat| seat.fact).map(|fact| fact.system);
        let first = systems.next()?;
        systems.all(|system| system == first).then_some(first)
    }

    fn assign(&mut self) {
        let twins = |seats: &[Seat], newest| {
            let claims = |seat: &&Seat| {
                !seat.silent && seat.fact.is_some_and(|fact| !fact.in_recovery && fact.timeline == newest)
            };
            seats.iter().filter(claims).count() > 1
        };
        let twins = self.primary.is_none() && twins(&self.seats, self.newest);
        for at in 0..self.seats.len() {
            let role = match (self.system, self.seats[at].fact) {
                _ if self.primary == Some(at) => Role::Primary,
                (None, _) | (_, None) => Role::Unknown,
                (Some(system), Some(fact)) if fact.system != system => Role::Stranger,
                (Some(_), Some(fact)) if fact.in_recovery => Role::Replica,
                (Some(_), Some(fact)) if fact.timeline < self.newest => Role::Fenced(Why::OldTimeline),
                (Some(_), Some(_)) if twins => Role::Fenced(Why::Twin),
                // It took writes when it was last heard, and nothing is known of it now.
                (Some(_), Some(_)) if self.seats[at].silent => Role::Unknown,
                (Some(_), Some(fact)) if self.primary.is_some() || self.is_behind(at, &fact) => {
                    Role::Fenced(Why::Behind)
                }
                // Others are still to be heard.
                (Some(_), Some(_)) => Role::Unknown,
            };
            self.seats[at].behind = match (role, self.seats[at].fact) {
                (Role::Fenced(Why::Behind), Some(fact)) => Some(fact.timeline),
                (_, Some(fact)) => self.seats[at].behind.filter(|behind| !fact.in_recovery && fact.timeline == *behind),
                // It has not been heard yet: what was known before still is.
                (_, None) => self.seats[at].behind,
            };
            if role != self.seats[at].role {
                self.seats[at].role = role;
                self.seats[at].stint = next_stint();
                self.seats[at].fresh_as_of = None;
            }
        }
    }

    /// Forgets the sample that stands closest between its neighbours, for its age: an old lag need not be known to the second.
    fn thin_out(&mut self, now: Instant) {
        if self.samples.len() <= SAMPLES {
            return;
        }
        let at = |place: usize| self.samples[place].0;
        let crowded = |place: &usize| {
            let gap = at(place + 1).saturating_duration_since(at(place - 1));
            gap.as_secs_f64() / now.saturating_duration_since(at(*place)).as_secs_f64().max(f64::MIN_POSITIVE)
        };
        let most = (1..self.samples.len() - 1).min_by(|one, other| crowded(one).total_cmp(&crowded(other)));
        most.and_then(|place| self.samples.remove(place));
    }

    /// The primary, or the one that was it last, has come so far.
    fn has_written(&mut self, at: usize, fact: &Fact) {
        let before = self.last.filter(|last| last.seat == at && last.timeline == fact.timeline);
        let lsn = fact.lsn.end_of_record().max(before.map_or(Lsn(0), |last| last.lsn));
        self.last = Some(Last { seat: at, timeline: fact.timeline, lsn });
    }

    /// How far the primary, or a replica, has come.
    fn measure(&mut self, at: usize, asked: Instant, heard: Heard) {
        let Heard::Said(fact) = heard else { return };
        if self.last.is_some_and(|last| last.seat == at && last.timeline == fact.timeline) {
            self.has_written(at, &fact);
        }
        if self.primary == Some(at) {
            self.samples.push_back((asked, fact.lsn.end_of_record()));
            self.thin_out(asked);
            return;
        }
        let timeline = self.primary.and_then(|primary| self.seats[primary].fact).map(|fact| fact.timeline);
        let seat = &mut self.seats[at];
        if seat.role == Role::Replica {
            // On another timeline the same position is another one.
            let follows = timeline == Some(fact.timeline);
            let passed = self.samples.iter().rev().find(|(_, written)| *written <= fact.lsn);
            seat.fresh_as_of = passed.filter(|_| follows).map(|(asked, _)| *asked);
        }
    }
}

#[cfg(test)]
#[path = "roles/tests.rs"]
mod tests;
