//! The fence of placements model-checked: routers that hear late or never, sessions that go on, movers that die or are overtaken, in every
//! order within bounds; and protocols that are wrong on purpose, in which the checker must find the fault.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use stateright::{Checker, HasDiscoveries, Model, Property};

const HOME: usize = 0;
const SHARDS: usize = 2;

/// Where the rows of the only table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Home,
    Sharded,
    /// Moved where the home shard is concerned; the other one has not committed its part.
    Between,
}

/// What a rule says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Open(At),
    /// By the mover whose fence this is, and where it was before.
    Closed(u8, At),
}

/// The rules as the home shard has them, and as a router or session has last read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Rules {
    epoch: u8,
    fence: u8,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Connection {
    None,
    /// Only where it looks first: it has seen the fence, and is not marked yet.
    Seen(u8),
    /// It holds its lock.
    Marked(u8),
    /// It has seen that the fence is no higher.
    Ready(u8),
    /// It has the mark of a session whose rules are older than its own.
    Joining(u8),
    /// No rows had begun to move behind that.
    Joined(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Session {
    rules: Rules,
    uses: [bool; SHARDS],
    touched: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Router {
    rules: Rules,
    connections: [Connection; SHARDS],
    /// One transaction at a time.
    session: Option<Session>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Mover {
    Idle,
    /// The table is closed, and the fences of so many shards are raised.
    Raising(u8, usize),
    /// On so many shards no older mark is left, before or after it has said that it begins.
    Looking(u8, usize, bool),
    /// Its transaction holds the table and the rule.
    Moving(u8),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    stored: Rules,
    fences: [u8; SHARDS],
    rows: At,
    /// The fence of the last mover that said that it begins.
    moved: u8,
    routers: Vec<Router>,
    mover: Mover,
    /// How many changes may still begin.
    changes: u8,
    /// Somebody has acted on a placement that is over.
    wrong: bool,
    /// Somebody has acted on the second one.
    followed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Step {
    Learn(usize),
    Connect(usize, usize),
    Look(usize, usize),
    Begin(usize),
    Use(usize, usize),
    /// A session with older rules than a connection has puts its own mark there, and then asks whether rows have begun to move.
    Join(usize, usize),
    Ask(usize, usize),
    Touch(usize, usize),
    /// A session that has waited goes on under the rules of now, in the same transaction.
    Follow(usize),
    End(usize),
    Close,
    Raise,
    MoverLooks,
    /// The mover says that it begins.
    Say,
    Move,
    Commit,
    /// The other shard commits its part.
    Settle,
    /// The mover is given up by others, or has died, or is done.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Rule {
    Right,
    /// The mover does not wait for older marks.
    NoWait,
    /// Connections look at the fence before they are marked.
    LookFirst,
    /// Sessions use connections that were made under later rules than theirs.
    AnyView,
    /// The table stays open while its mover waits.
    NeverClosed,
    /// A mover that was given up goes on.
    NoToken,
    /// Only the home shard has a fence.
    HomeOnly,
    /// Sessions put older marks on connections and ask nobody.
    JoinUnasked,
    /// The mover says that it begins, and does not look once more.
    LookOnce,
    /// The rule is opened by the commit, before every shard has committed.
    OpensAtCommit,
}

impl Rule {
    fn fenced(self) -> usize {
        if self == Rule::HomeOnly { 1 } else { SHARDS }
    }
}

struct Fence {
    rule: Rule,
    routers: usize,
    changes: u8,
}

impl World {
    fn steps(&self, rule: Rule, steps: &mut Vec<Step>) {
        for (at, router) in self.routers.iter().enumerate() {
            if router.rules != self.stored {
                steps.push(Step::Learn(at));
            }
            for shard in 0..SHARDS {
                match router.connections[shard] {
                    Connection::None => steps.push(Step::Connect(at, shard)),
                    Connection::Seen(_) | Connection::Marked(_) => steps.push(Step::Look(at, shard)),
                    Connection::Joining(_) => steps.push(Step::Ask(at, shard)),
                    Connection::Ready(mark) | Connection::Joined(mark) => {
                        let Some(session) = router.session else { continue };
                        let good = mark <= session.rules.epoch || rule == Rule::AnyView;
                        if good && !session.uses[shard] {
                            steps.push(Step::Use(at, shard));
                        }
                        if !good && !session.uses[shard] {
                            steps.push(Step::Join(at, shard));
                        }
                        let leads = match session.rules.place {
                            Place::Open(At::Home) => shard == HOME,
                            Place::Open(At::Sharded) => true,
                            Place::Open(At::Between) | Place::Closed(..) => false,
                        };
                        // Its lock on the table is that of the transaction that moves the rows.
                        if session.uses[shard] && leads && !matches!(self.mover, Mover::Moving(_)) {
                            steps.push(Step::Touch(at, shard));
                        }
                    }
                }
            }
            if let Some(session) = router.session
                && matches!((session.rules.place, router.rules.place), (Place::Closed(..), Place::Open(_)))
            {
                steps.push(Step::Follow(at));
            }
            steps.push(if router.session.is_some() { Step::End(at) } else { Step::Begin(at) });
        }
        match self.mover {
            Mover::Idle if self.changes > 0 => steps.push(Step::Close),
            Mover::Idle => {}
            Mover::Raising(_, raised) if raised < rule.fenced() => steps.push(Step::Raise),
            Mover::Raising(..) | Mover::Looking(..) => steps.push(Step::MoverLooks),
            Mover::Moving(_) => steps.push(Step::Commit),
        }
        if let Mover::Looking(_, looked, said) = self.mover
            && looked == rule.fenced()
        {
            steps.push(if said { Step::Move } else { Step::Say });
        }
        if self.rows == At::Between {
            steps.push(Step::Settle);
        }
        // Not by anybody while a shard has not committed its part.
        let settled = self.rows != At::Between;
        if matches!(self.stored.place, Place::Closed(..)) && !matches!(self.mover, Mover::Moving(_)) && settled {
            steps.push(Step::Open);
        }
    }

    fn take(&mut self, step: Step, rule: Rule) -> Option<()> {
        match step {
            Step::Learn(at) => {
                let router = &mut self.routers[at];
                router.rules = self.stored;
                let uses = router.session.map_or([false; SHARDS], |session| session.uses);
                for (shard, connection) in router.connections.iter_mut().enumerate() {
                    if !uses[shard] && matches!(connection, Connection::Ready(mark) if *mark != router.rules.fence) {
                        *connection = Connection::None;
                    }
                }
            }
            Step::Connect(at, shard) => {
                let router = &mut self.routers[at];
                router.connections[shard] = match rule {
                    Rule::LookFirst if self.fences[shard] <= router.rules.fence => Connection::Seen(router.rules.fence),
                    Rule::LookFirst => return None,
                    _ => Connection::Marked(router.rules.fence),
                };
            }
            Step::Look(at, shard) => {
                let connection = &mut self.routers[at].connections[shard];
                *connection = match *connection {
                    Connection::Seen(mark) => Connection::Ready(mark),
                    Connection::Marked(mark) if self.fences[shard] <= mark => Connection::Ready(mark),
                    // It is made once more, behind the rules.
                    _ => Connection::None,
                };
            }
            Step::Begin(at) => {
                let router = &mut self.routers[at];
                router.session = Some(Session { rules: router.rules, uses: [false; SHARDS], touched: false });
            }
            Step::Use(at, shard) => self.routers[at].session.as_mut()?.uses[shard] = true,
            Step::Join(at, shard) => {
                let router = &mut self.routers[at];
                let epoch = router.session?.rules.epoch;
                router.connections[shard] = match rule {
                    Rule::JoinUnasked => Connection::Joined(epoch),
                    _ => Connection::Joining(epoch),
                };
            }
            Step::Ask(at, shard) => {
                let connection = &mut self.routers[at].connections[shard];
                *connection = match *connection {
                    Connection::Joining(epoch) if self.moved <= epoch => Connection::Joined(epoch),
                    _ => Connection::None,
                };
            }
            Step::Touch(at, _) => {
                let session = self.routers[at].session.as_mut()?;
                session.touched = true;
                self.wrong |= session.rules.place != Place::Open(self.rows);
                self.followed |= session.rules.place == Place::Open(At::Sharded);
            }
            Step::Follow(at) => {
                let rules = self.routers[at].rules;
                self.routers[at].session.as_mut()?.rules = rules;
            }
            Step::End(at) => {
                let router = &mut self.routers[at];
                let uses = router.session.take()?.uses;
                for shard in (0..SHARDS).filter(|shard| uses[*shard]) {
                    if matches!(router.connections[shard], Connection::Ready(mark) | Connection::Joined(mark) if mark != router.rules.fence)
                    {
                        router.connections[shard] = Connection::None;
                    }
                }
                for connection in &mut router.connections {
                    if matches!(connection, Connection::Joining(_) | Connection::Joined(_)) {
                        *connection = Connection::None;
                    }
                }
            }
            Step::Close => {
                self.changes -= 1;
                let fence = self.stored.epoch + 1;
                let Place::Open(before) = self.stored.place else { return None };
                let place = if rule == Rule::NeverClosed { Place::Open(before) } else { Place::Closed(fence, before) };
                self.stored = Rules { epoch: fence, fence, place };
                self.fences[HOME] = fence;
                self.mover = Mover::Raising(fence, 1);
            }
            Step::Raise => {
                let Mover::Raising(fence, raised) = self.mover else { return None };
                self.fences[raised] = fence;
                self.mover = Mover::Raising(fence, raised + 1);
            }
            Step::MoverLooks => {
                let (fence, shard, said) = match self.mover {
                    Mover::Raising(fence, _) => (fence, 0, false),
                    Mover::Looking(fence, looked, said) if looked < rule.fenced() => (fence, looked, said),
                    _ => return None,
                };
                let older = |connection: Connection| match connection {
                    Connection::Marked(mark)
                    | Connection::Ready(mark)
                    | Connection::Joining(mark)
                    | Connection::Joined(mark) => mark < fence,
                    Connection::None | Connection::Seen(_) => false,
                };
                let held = self.routers.iter().any(|router| older(router.connections[shard]));
                if held && rule != Rule::NoWait {
                    return None;
                }
                self.mover = Mover::Looking(fence, shard + 1, said);
            }
            Step::Say => {
                let Mover::Looking(fence, ..) = self.mover else { return None };
                self.moved = self.moved.max(fence);
                let looked = if rule == Rule::LookOnce { rule.fenced() } else { 0 };
                self.mover = Mover::Looking(fence, looked, true);
            }
            Step::Move => {
                let Mover::Looking(fence, ..) = self.mover else { return None };
                let touched = |router: &Router| router.session.is_some_and(|session| session.touched);
                if self.routers.iter().any(touched) {
                    return None;
                }
                // The row is not the mover's any more where somebody has opened it.
                let own = matches!(self.stored.place, Place::Closed(by, _) if by == fence);
                self.mover = match own || matches!(rule, Rule::NoToken | Rule::NeverClosed) {
                    true => Mover::Moving(fence),
                    false => Mover::Idle,
                };
            }
            Step::Commit => {
                let Mover::Moving(fence) = self.mover else { return None };
                // Rows that came home are there with the commit.
                let place = if self.rows == At::Home { At::Sharded } else { At::Home };
                self.rows = if place == At::Sharded { At::Between } else { At::Home };
                let place = match rule {
                    Rule::OpensAtCommit => Place::Open(place),
                    _ => Place::Closed(fence, place),
                };
                self.stored = Rules { epoch: self.stored.epoch + 1, place, ..self.stored };
                self.mover = Mover::Idle;
            }
            Step::Settle => self.rows = At::Sharded,
            Step::Open => {
                let Place::Closed(_, before) = self.stored.place else { return None };
                self.stored = Rules { epoch: self.stored.epoch + 1, place: Place::Open(before), ..self.stored };
            }
        }
        Some(())
    }
}

const SAFE: &str = "nobody acts on a placement that is over";

impl Model for Fence {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let rules = Rules { epoch: 0, fence: 0, place: Place::Open(At::Home) };
        let router = Router { rules, connections: [Connection::None; SHARDS], session: None };
        vec![World {
            stored: rules,
            fences: [0; SHARDS],
            rows: At::Home,
            moved: 0,
            routers: vec![router; self.routers],
            mover: Mover::Idle,
            changes: self.changes,
            wrong: false,
            followed: false,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if !world.wrong {
            world.steps(self.rule, steps);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        next.take(step, self.rule)?;
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAFE, |_, world: &World| !world.wrong),
            // That the bounds leave room for what the property is about.
            Property::sometimes("the rows have moved, and somebody follows", |_, world: &World| world.followed),
            Property::sometimes("a mover is given up", |_, world: &World| {
                matches!(world.mover, Mover::Looking(..)) && matches!(world.stored.place, Place::Open(_))
            }),
        ]
    }
}

impl Fence {
    fn holds(routers: usize, changes: u8) {
        let start = std::time::Instant::now();
        let checker = Fence { rule: Rule::Right, routers, changes }.checker().threads(2).spawn_bfs().join();
        let (states, seconds) = (checker.unique_state_count(), start.elapsed().as_secs_f64());
        println!("{routers} routers, {changes} changes: {states} states, {seconds:.1} s");
        checker.assert_properties();
    }

    /// The checker finds a way to break the promise; it is printed.
    fn breaks(rule: Rule, routers: usize, changes: u8) {
        let found = HasDiscoveries::AllOf(BTreeSet::from([SAFE]));
        let checker = Fence { rule, routers, changes }.checker().finish_when(found).spawn_bfs().join();
        let Some(path) = checker.discovery(SAFE) else {
            panic!("{rule:?}: no counterexample in {} states", checker.unique_state_count());
        };
        println!("{rule:?}: {:?}", path.into_actions());
    }
}

#[test]
fn nobody_acts_on_a_placement_that_is_over() {
    Fence::holds(2, 1);
}

#[test]
fn one_router_follows_there_and_back() {
    Fence::holds(1, 3);
}

#[test]
fn the_checker_finds_a_mover_that_does_not_wait() {
    Fence::breaks(Rule::NoWait, 2, 1);
}

#[test]
fn the_checker_finds_connections_that_look_before_they_are_marked() {
    Fence::breaks(Rule::LookFirst, 2, 1);
}

#[test]
fn the_checker_finds_sessions_on_connections_of_later_rules() {
    Fence::breaks(Rule::AnyView, 2, 1);
}

#[test]
fn the_checker_finds_sessions_that_join_without_asking() {
    Fence::breaks(Rule::JoinUnasked, 2, 1);
}

#[test]
fn the_checker_finds_a_mover_that_looks_only_once() {
    Fence::breaks(Rule::LookOnce, 2, 1);
}

#[test]
fn the_checker_finds_a_table_that_is_opened_by_the_commit() {
    Fence::breaks(Rule::OpensAtCommit, 2, 1);
}

#[test]
fn the_checker_finds_a_table_that_is_not_closed() {
    Fence::breaks(Rule::NeverClosed, 2, 1);
}

#[test]
fn the_checker_finds_a_mover_that_goes_on_though_it_was_given_up() {
    Fence::breaks(Rule::NoToken, 2, 1);
}

/// Rows that come back to the home shard leave others behind a shard without a fence.
#[test]
fn the_checker_finds_a_shard_without_a_fence() {
    Fence::breaks(Rule::HomeOnly, 1, 2);
}
