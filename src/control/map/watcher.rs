//! PURE. Which of the documents that are found in the store is to be served, and when the store is asked again.
//!
//! Nothing that is found, or not found, ever takes away the map that is known: only a valid document of a later epoch does.

use std::time::Duration;

use crate::control::etcd::Stored;

/// Before the store is asked again, at first.
const SHORTEST: Duration = Duration::from_millis(50);
/// However often it has failed.
const LONGEST: Duration = Duration::from_secs(3);

/// What is known of the map, and of the way to it.
#[derive(Clone, Debug, Default)]
pub struct Watcher {
    known: Option<Known>,
    /// What was not taken, so that it is not looked at again and again.
    rejected: Option<u64>,
    failures: u32,
    member: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    epoch: u64,
    hash: u64,
}

/// What to do about what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The map that is served.
    Same,
    /// There is none. What is known is served on.
    Gone,
    /// That it is no good has been told.
    StillBad,
    /// Read it, and tell `judge`.
    Another(&'a Stored),
}

impl Watcher {
    /// Begins with this member of the store.
    pub fn new(member: usize) -> Self {
        Self { member, ..Self::default() }
    }

    pub fn member(&self) -> usize {
        self.member
    }

    /// The store answers, and is listened to.
    pub fn answered(&mut self) {
        self.failures = 0;
    }

    /// Whether none of so many members has answered, one after the other.
    pub fn has_failed_with(&self, members: usize) -> bool {
        self.failures as usize >= members
    }

    /// What stands in the store.
    pub fn found<'a>(&mut self, map: Option<&'a Stored>) -> Found<'a> {
        let Some(stored) = map else { return Found::Gone };
        let hash = mark(stored);
        if self.known.is_some_and(|known| known.hash == hash) {
            return Found::Same;
        }
        if self.rejected == Some(hash) {
            return Found::StillBad;
        }
        Found::Another(stored)
    }

    /// Whether a valid document of this epoch may be served.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, epoch: Option<u64>) -> Result<u64, String> {
        let epoch = epoch.ok_or("it has no epoch")?;
        match self.known {
            Some(known) if epoch == known.epoch => {
                Err(format!("it has epoch {epoch} like the map that is served, and is another one"))
            }
            Some(known) if epoch < known.epoch => {
                Err(format!("it has epoch {epoch}, and epoch {} is served; a rollback makes a new epoch", known.epoch))
            }
            Some(_) | None => Ok(epoch),
        }
    }

    /// It is served now.
    pub fn took(&mut self, epoch: u64, text: &str) {
        self.known = Some(Known { epoch, hash: hash(text) });
        self.rejected = None;
    }

    /// It is not, for whatever reason.
    pub fn rejected(&mut self, stored: &Stored) {
        self.rejected = Some(mark(stored));
    }

    /// It could not be served for now: the next look tries it again.
    pub fn postponed(&mut self) {
        self.rejected = None;
    }

    /// The store has not answered, or has broken off: the next member is asked, after this time. `random` is a number from 0 to 1, so
    /// that many routers do not come back as one.
    pub fn failed(&mut self, random: f64) -> Duration {
        self.member = self.member.wrapping_add(1);
        let doubled = SHORTEST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        doubled.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

/// What is no text is another one for another reason, too: its parts may be there the next time.
fn mark(stored: &Stored) -> u64 {
    match &stored.text {
        Ok(text) => hash(text),
        Err(unreadable) => hash_of(&[&unreadable.value, unreadable.why.as_bytes()]),
    }
}

fn hash(text: &str) -> u64 {
    // A copy on disk has no line end behind it.
    hash_of(&[text.trim().as_bytes()])
}

/// Tells texts of one store from each other, not against somebody who writes into it.
fn hash_of(parts: &[&[u8]]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = foldhash::quality::FixedState::default().build_hasher();
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::etcd::Unreadable;

    fn stored(text: &str) -> Stored {
        Stored { text: Ok(text.to_owned()), revision: 1 }
    }

    fn serving(epoch: u64, text: &str) -> Watcher {
        let mut watcher = Watcher::new(0);
        watcher.took(epoch, text);
        watcher
    }

    #[test]
    fn what_is_not_there_and_what_is_bad_leave_the_known_map() {
        let mut watcher = serving(3, "three");
        assert_eq!(watcher.found(None), Found::Gone);
        assert_eq!(watcher.found(Some(&stored("three\n"))), Found::Same);
        let bad = stored("bad");
        assert_eq!(watcher.found(Some(&bad)), Found::Another(&bad));
        watcher.rejected(&bad);
        assert_eq!(watcher.found(Some(&bad)), Found::StillBad);
        assert_eq!(watcher.found(Some(&stored("three"))), Found::Same);
        watcher.postponed();
        assert_eq!(watcher.found(Some(&bad)), Found::Another(&bad));
    }

    #[test]
    fn what_is_no_text_is_told_once_for_each_reason() {
        let mut watcher = serving(3, "three");
        let no_text = |why: &str| {
            let unreadable = Unreadable { value: b"three".to_vec(), why: why.to_owned() };
            Stored { text: Err(unreadable), revision: 2 }
        };
        let (one, other) = (no_text("a part is not there"), no_text("it is not UTF-8"));
        assert_eq!(watcher.found(Some(&one)), Found::Another(&one));
        watcher.rejected(&one);
        assert_eq!(watcher.found(Some(&one)), Found::StillBad);
        assert_eq!(watcher.found(Some(&other)), Found::Another(&other));
        assert_eq!(watcher.found(Some(&stored("three"))), Found::Same);
    }

    #[test]
    fn only_a_later_epoch_is_served() {
        let watcher = serving(3, "three");
        assert_eq!(watcher.judge(Some(4)), Ok(4));
        assert_eq!(watcher.judge(Some(9)), Ok(9));
        assert!(watcher.judge(Some(3)).is_err_and(|why| why.contains("is another one")));
        assert!(watcher.judge(Some(2)).is_err_and(|why| why.contains("a rollback makes a new epoch")));
        assert!(watcher.judge(None).is_err());
        assert_eq!(Watcher::new(0).judge(Some(1)), Ok(1));
    }

    #[test]
    fn failures_go_round_the_members_and_wait_longer() {
        let mut watcher = Watcher::new(2);
        let waits: Vec<_> = (0..12).map(|_| watcher.failed(1.0)).collect();
        assert_eq!(watcher.member(), 14);
        assert_eq!((waits[0], waits[1], waits[11]), (SHORTEST, SHORTEST * 2, LONGEST));
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(watcher.failed(0.0), LONGEST / 2);
        // Who answers and breaks off again has not been listened to.
        watcher.found(None);
        assert!(watcher.has_failed_with(13) && !watcher.has_failed_with(14));
        assert_eq!(watcher.failed(1.0), LONGEST);
        watcher.answered();
        assert!(!watcher.has_failed_with(1));
        assert_eq!(watcher.failed(1.0), SHORTEST);
    }
}
