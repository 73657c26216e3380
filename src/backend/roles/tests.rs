#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

const SYSTEM: u64 = 7;

fn fact(timeline: u32, in_recovery: bool, lsn: u64) -> Fact {
    Fact { system: SYSTEM, timeline, in_recovery, lsn: Lsn(lsn) }
}

/// A shard whose servers are told about in turns of a second.
struct Shard {
    roles: Roles,
    now: Instant,
}

impl Shard {
    fn new(servers: usize) -> Self {
        Self { roles: Roles::new(servers), now: Instant::now() }
    }

    fn says(&mut self, at: usize, fact: Fact) -> &mut Self {
        self.hears(at, Heard::Said(fact))
    }

    fn silent(&mut self, at: usize) -> &mut Self {
        self.hears(at, Heard::Silence)
    }

    fn hears(&mut self, at: usize, heard: Heard) -> &mut Self {
        self.now += Duration::from_secs(1);
        self.roles.note(at, self.now, heard);
        self
    }

    fn labels(&self) -> Vec<&'static str> {
        self.roles.seats().iter().map(|seat| seat.role.label()).collect()
    }
}

#[test]
fn positions_are_read_as_postgres_writes_them() {
    assert_eq!(Lsn::parse("16/B374D848"), Some(Lsn(0x16_B374_D848)));
    for wrong in ["", "16", "16/", "/1", "1/123456789", "x/1", "1/2/3"] {
        assert_eq!(Lsn::parse(wrong), None, "{wrong}");
    }
    assert_eq!(Lsn(8192 + 24).end_of_record(), Lsn(8192));
    assert_eq!(Lsn(16_777_216 + 40).end_of_record(), Lsn(16_777_216));
    assert_eq!(Lsn(8192 + 25).end_of_record(), Lsn(8192 + 25));
}

#[test]
fn nobody_is_the_primary_before_everybody_was_asked() {
    let mut shard = Shard::new(3);
    shard.says(0, fact(1, false, 10)).says(1, fact(1, true, 10));
    assert_eq!(shard.labels(), ["unknown", "unknown", "unknown"]);
    shard.silent(2);
    assert_eq!(shard.labels(), ["primary", "replica", "unknown"]);
}

#[test]
fn a_promoted_replica_takes_over_and_the_old_primary_is_fenced_when_it_comes_back() {
    let mut shard = Shard::new(2);
    shard.says(0, fact(1, false, 100)).says(1, fact(1, true, 90));
    let stint = shard.roles.seats()[0].stint;
    shard.silent(0);
    assert_eq!(shard.labels(), ["primary", "replica"]);
    shard.says(1, fact(2, false, 91));
    assert_eq!(shard.labels(), ["fenced", "primary"]);
    shard.says(0, fact(1, false, 120));
    assert_eq!(shard.labels(), ["fenced", "primary"]);
    // Whatever becomes of the new one.
    shard.silent(1);
    assert_eq!(shard.labels(), ["fenced", "primary"]);
    shard.says(1, fact(2, true, 130));
    assert_eq!((shard.labels(), shard.roles.primary()), (vec!["fenced", "replica"], None));
    shard.says(0, fact(2, true, 130));
    assert_eq!(shard.labels(), ["replica", "replica"]);
    shard.says(0, fact(3, false, 131));
    assert_eq!(shard.labels(), ["primary", "replica"]);
    assert!(shard.roles.seats()[0].stint > stint);
}

#[test]
fn when_servers_are_added_the_newest_timeline_is_still_known() {
    let mut shard = Shard::new(2);
    shard.says(0, fact(3, false, 100)).says(1, fact(3, true, 100));
    let stint = shard.roles.seats()[0].stint;
    shard.roles = shard.roles.of_others(2, |_| None, shard.now);
    shard.says(0, fact(2, false, 900));
    assert_eq!(shard.roles.primary(), None);
    shard.says(1, fact(2, true, 900));
    assert_eq!((shard.labels(), shard.roles.primary()), (vec!["fenced", "replica"], None));
    shard.says(1, fact(4, false, 901));
    assert_eq!(shard.labels(), ["fenced", "primary"]);
    assert!(shard.roles.seats()[1].stint > stint);
}

#[test]
fn a_primary_that_an_earlier_run_knew_to_be_old_is_fenced_though_nobody_else_answers() {
    let mut shard = Shard::new(2);
    let said = fact(1, false, 100);
    shard.roles.know(said.system, 2);
    shard.says(0, said).silent(1);
    assert_eq!((shard.labels(), shard.roles.primary()), (vec!["fenced", "unknown"], None));
    shard.says(1, fact(2, false, 90));
    assert_eq!(shard.labels(), ["fenced", "primary"]);
}

#[test]
fn a_replica_that_knows_a_newer_timeline_fences_the_old_primary() {
    let mut shard = Shard::new(2);
    shard.says(0, fact(1, false, 100)).says(1, fact(1, true, 100)).says(1, fact(2, true, 100));
    assert_eq!((shard.labels(), shard.roles.primary()), (vec!["fenced", "replica"], None));
}

#[test]
fn of_two_on_one_timeline_nobody_is_written_until_one_is_gone() {
    let mut shard = Shard::new(2);
    shard.says(0, fact(1, false, 100)).says(1, fact(1, true, 100)).says(1, fact(1, false, 500));
    assert_eq!((shard.labels(), shard.roles.primary()), (vec!["fenced", "fenced"], None));
    assert_eq!(shard.roles.seats()[0].role, Role::Fenced(Why::Twin));
    shard.silent(1);
    assert_eq!(shard.labels(), ["primary", "unknown"]);
}

#[test]
fn one_that_lacks_what_the_primary_had_written_is_never_written_to_on_that_timeline() {
    let mut shard = Shard::new(2);
    shard.says(0, fact(1, false, 100)).says(1, fact(1, true, 100)).says(0, fact(1, false, 300));
    // It comes back before the other one's end is known.
    shard.says(1, fact(1, false, 200));
    assert_eq!(shard.labels(), ["fenced", "fenced"]);
    shard.silent(0);
    assert_eq!((shard.labels(), shard.roles.primary()), (vec!["unknown", "fenced"], None));
    // What it writes itself changes nothing.
    shard.says(1, fact(1, false, 900)).silent(0);
    assert_eq!(shard.roles.seats()[1].role, Role::Fenced(Why::Behind));
    shard.says(0, fact(1, false, 300));
    assert_eq!(shard.labels(), ["fenced", "fenced"]);
    shard.silent(1);
    assert_eq!(shard.labels(), ["primary", "unknown"]);
    shard.silent(0).says(1, fact(1, false, 1_000));
    assert_eq!(shard.labels(), ["primary", "fenced"]);
    // A cluster that is made anew begins on the same timeline.
    let mut anew = Shard { roles: shard.roles.clone(), now: shard.now };
    let of_other = |lsn| Fact { system: 77, ..fact(1, false, lsn) };
    anew.says(1, of_other(50)).says(0, Fact { in_recovery: true, ..of_other(50) });
    assert_eq!(anew.labels(), ["replica", "primary"]);
    // Promoted, it is another one.
    shard.says(1, fact(2, false, 1_100));
    assert_eq!(shard.labels(), ["fenced", "primary"]);
}

#[test]
fn who_is_behind_stays_so_when_servers_come_and_go_beside_it() {
    let mut shard = Shard::new(2);
    shard.says(0, fact(1, false, 300)).says(1, fact(1, true, 100)).says(0, fact(1, false, 300));
    // The list is changed before it is found behind, and behind that.
    for (found, last, label) in [(false, Some(0), "fenced"), (true, Some(0), "fenced"), (true, None, "primary")] {
        let mut before = Shard { roles: shard.roles.clone(), now: shard.now };
        if found {
            before.says(1, fact(1, false, 200)).silent(0);
            assert_eq!(before.labels(), ["unknown", "fenced"]);
        }
        // Another one in front; the last primary stays in the list, or is taken out of it.
        let place = move |at: usize| [None, Some(1), last].get(at).copied().flatten();
        let mut after = Shard { roles: before.roles.of_others(3, place, before.now), now: before.now };
        // What it writes itself changes nothing, where it was found.
        after.silent(0).silent(2).says(1, fact(1, false, if found { 400 } else { 200 }));
        assert_eq!(after.labels()[1], label, "{found} {last:?}");
    }
}

#[test]
fn when_servers_are_added_the_primary_stays_it_and_is_not_behind() {
    let mut before = Shard::new(2);
    before.says(0, fact(1, false, 100)).says(1, fact(1, true, 100));
    let place = |at: usize| [Some(0), Some(1)].get(at).copied().flatten();
    let after = |since| Shard { roles: before.roles.of_others(3, place, since), now: before.now };
    // It was asked long ago: who it is now is not known before everybody was asked.
    let mut late = after(before.now + Duration::from_millis(1));
    late.says(0, fact(1, false, 200));
    assert_eq!((late.labels(), late.roles.primary()), (vec!["unknown"; 3], None));
    late.says(2, fact(1, true, 50)).says(1, fact(1, true, 150));
    assert_eq!(late.labels(), ["primary", "replica", "replica"]);
    // It was asked just now.
    let mut soon = after(before.now - Duration::from_secs(2));
    assert_eq!((soon.labels(), soon.roles.primary()), (vec!["primary", "replica", "unknown"], Some(0)));
    assert_eq!(soon.roles.seats()[0].stint, before.roles.seats()[0].stint);
    soon.says(0, fact(1, false, 200)).says(1, fact(1, true, 150));
    assert_eq!(soon.labels(), ["primary", "replica", "unknown"]);
    // Another one takes its place before the new one was heard, which may know better.
    soon.says(1, fact(2, false, 210));
    assert_eq!((soon.labels(), soon.roles.primary()), (vec!["fenced", "unknown", "unknown"], None));
    soon.silent(2);
    assert_eq!(soon.labels(), ["fenced", "primary", "unknown"]);
}

#[test]
fn a_disk_that_moved_to_another_machine_is_followed_and_an_old_copy_of_it_is_not() {
    let mut shard = Shard::new(2);
    shard.says(0, fact(1, false, 100)).silent(1).silent(0).says(1, fact(1, false, 99));
    assert_eq!(shard.labels(), ["primary", "fenced"]);
    let mut shard = Shard::new(2);
    shard.says(0, fact(1, false, 100)).silent(1).silent(0).says(1, fact(1, false, 100));
    assert_eq!(shard.labels(), ["unknown", "primary"]);
}

#[test]
fn a_server_of_another_cluster_has_no_role() {
    let mut shard = Shard::new(2);
    let stranger = Fact { system: 8, ..fact(9, false, 1000) };
    shard.says(0, fact(1, false, 100)).says(1, stranger);
    assert_eq!(shard.labels(), ["unknown", "unknown"]);
    shard = Shard::new(2);
    shard.says(0, fact(1, false, 100)).silent(1).says(1, stranger);
    assert_eq!(shard.labels(), ["primary", "stranger"]);
    shard.silent(0);
    assert_eq!(shard.labels(), ["primary", "stranger"]);
}

#[test]
fn a_shard_that_was_made_anew_as_a_whole_is_followed() {
    let mut shard = Shard::new(2);
    let upgraded = |in_recovery| Fact { system: 8, ..fact(1, in_recovery, 5) };
    shard.says(0, fact(4, false, 100)).says(1, fact(4, true, 100)).says(0, upgraded(false));
    assert_eq!((shard.labels(), shard.roles.primary()), (vec!["stranger", "replica"], None));
    shard.says(1, upgraded(true));
    assert_eq!(shard.labels(), ["primary", "replica"]);
}

#[test]
fn a_replica_is_as_fresh_as_what_it_has_replayed() {
    let mut shard = Shard::new(2);
    shard.says(0, fact(1, false, 100)).says(1, fact(1, true, 100));
    let first = shard.now - Duration::from_secs(1);
    assert_eq!(shard.roles.lag(1, shard.now), None, "there was no primary to compare with");
    shard.says(0, fact(1, false, 100));
    let second = shard.now;
    shard.says(0, fact(1, false, 200)).says(1, fact(1, true, 150));
    assert_eq!(shard.roles.seats()[1].fresh_as_of, Some(second));
    assert!(second > first);
    assert_eq!(shard.roles.lag_bytes(1), Some(50));
    assert_eq!(shard.roles.lag(1, second + Duration::from_secs(9)), Some(Duration::from_secs(9)));
    // The primary is gone: the lag grows, and nothing says that the replica has more.
    shard.silent(0).says(1, fact(1, true, 200));
    assert_eq!(shard.roles.lag(1, shard.now), Some(Duration::from_secs(3)));
    // On another timeline a position says nothing.
    shard.says(1, fact(2, false, 210)).says(0, fact(1, true, 900));
    assert_eq!((shard.labels(), shard.roles.lag(0, shard.now)), (vec!["replica", "primary"], None));
}

#[test]
fn positions_of_long_ago_lie_apart_but_are_not_lost() {
    let mut shard = Shard::new(2);
    shard.silent(1);
    for lsn in 1..2000 {
        shard.says(0, fact(1, false, lsn));
    }
    assert!(shard.roles.samples.len() <= SAMPLES);
    shard.says(1, fact(1, true, 700));
    let lag = shard.roles.lag(1, shard.now).unwrap();
    assert!(lag >= Duration::from_secs(1299) && lag < Duration::from_secs(1400), "{lag:?}");
}

#[test]
fn an_answer_that_was_overtaken_changes_nothing() {
    let mut shard = Shard::new(2);
    shard.says(0, fact(1, false, 100)).says(1, fact(1, true, 100)).says(1, fact(2, false, 100));
    let early = shard.now - Duration::from_millis(500);
    assert!(!shard.roles.note(1, early, Heard::Said(fact(1, true, 100))));
    assert_eq!(shard.labels(), ["fenced", "primary"]);
}

fn heard() -> impl Strategy<Value = Heard> {
    prop_oneof![
        1 => Just(Heard::Silence),
        4 => (prop_oneof![9 => Just(SYSTEM), 1 => Just(8)], 1_u32..5, any::<bool>(), 0_u64..50)
            .prop_map(|(system, timeline, in_recovery, lsn)| Heard::Said(Fact { system, timeline, in_recovery, lsn: Lsn(lsn) })),
    ]
}

proptest! {
    #[test]
    fn whatever_is_heard_writes_go_to_the_newest_or_nowhere(events in prop::collection::vec((0_usize..3, heard()), 1..60)) {
        let mut shard = Shard::new(3);
        let mut newest = (0, None);
        let mut stints: Vec<(usize, Stint)> = Vec::new();
        for (at, heard) in events {
            let before = shard.roles.primary();
            shard.hears(at, heard);
            let roles = &shard.roles;
            let primaries = roles.seats().iter().filter(|seat| seat.role == Role::Primary).count();
            prop_assert_eq!(primaries, usize::from(roles.primary().is_some()));
            if let Some(system) = roles.system {
                let own = roles.seats().iter().filter_map(|seat| seat.fact).filter(|fact| fact.system == system);
                let before = if newest.1 == Some(system) { newest.0 } else { 0 };
                newest = (own.map(|fact| fact.timeline).fold(before, u32::max), Some(system));
            }
            let Some(primary) = roles.primary() else { continue };
            let seat = &roles.seats()[primary];
            let fact = seat.fact.unwrap();
            // It takes writes, is of the shard's cluster, and nobody was ever heard of a newer timeline.
            prop_assert!(!fact.in_recovery && Some(fact.system) == roles.system);
            prop_assert_eq!(fact.timeline, newest.0);
            // Silence alone replaces nobody by itself or another.
            if heard == Heard::Silence && before.is_some() {
                prop_assert_eq!(before, Some(primary));
            }
            // No other one that answers takes writes on the same timeline, unless the primary is silent and the other is behind.
            for (other, its) in roles.seats().iter().enumerate().filter(|(other, its)| *other != primary && !its.silent) {
                let its = its.fact.unwrap();
                let twin = Some(its.system) == roles.system && !its.in_recovery && its.timeline == newest.0;
                prop_assert!(!twin || seat.silent, "{other} and {primary}");
            }
            // A connection of an earlier stint is never one to the primary of now.
            match stints.last() {
                Some(last) if *last == (primary, seat.stint) => {}
                Some((_, last)) => {
                    prop_assert!(seat.stint > *last);
                    stints.push((primary, seat.stint));
                }
                None => stints.push((primary, seat.stint)),
            }
        }
    }
}
