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
    /// On so many shards no older mark is left.
    Looking(u8, usize),
    /// Its transaction holds the table and the rule.
    Moving(u8),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    stored: Rules,
    fences: [u8; SHARDS],
    rows: At,
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
    Touch(usize, usize),
    End(usize),
    Close,
    Raise,
    MoverLooks,
    Move,
    Commit,
    /// The mover is given up by others, or has died.
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
                    Connection::Ready(mark) => {
                        let Some(session) = router.session else { continue };
                        let good = mark <= session.rules.epoch || rule == Rule::AnyView;
                        if good && !session.uses[shard] {
                            steps.push(Step::Use(at, shard));
                        }
                        let leads = match session.rules.place {
                            Place::Open(At::Home) => shard == HOME,
                            Place::Open(At::Sharded) => true,
                            Place::Closed(..) => false,
                        };
                        // Its lock on the table is that of the transaction that moves the rows.
                        if session.uses[shard] && leads && !matches!(self.mover, Mover::Moving(_)) {
                            steps.push(Step::Touch(at, shard));
                        }
                    }
                }
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
        if let Mover::Looking(_, looked) = self.mover
            && looked == rule.fenced()
        {
            steps.push(Step::Move);
        }
        if matches!(self.stored.place, Place::Closed(..)) && !matches!(self.mover, Mover::Moving(_)) {
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
            Step::Touch(at, _) => {
                let session = self.routers[at].session.as_mut()?;
                session.touched = true;
                self.wrong |= session.rules.place != Place::Open(self.rows);
                self.followed |= session.rules.place == Place::Open(At::Sharded);
            }
            Step::End(at) => {
                let router = &mut self.routers[at];
                let uses = router.session.take()?.uses;
                for shard in (0..SHARDS).filter(|shard| uses[*shard]) {
                    if matches!(router.connections[shard], Connection::Ready(mark) if mark != router.rules.fence) {
                        router.connections[shard] = Connection::None;
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
                let (fence, shard) = match self.mover {
                    Mover::Raising(fence, _) => (fence, 0),
                    Mover::Looking(fence, looked) if looked < rule.fenced() => (fence, looked),
                    _ => return None,
                };
                let older = |connection: Connection| match connection {
                    Connection::Marked(mark) | Connection::Ready(mark) => mark < fence,
                    Connection::None | Connection::Seen(_) => false,
                };
                let held = self.routers.iter().any(|router| older(router.connections[shard]));
                if held && rule != Rule::NoWait {
                    return None;
                }
                self.mover = Mover::Looking(fence, shard + 1);
            }
            Step::Move => {
                let Mover::Looking(fence, _) = self.mover else { return None };
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
                self.rows = if self.rows == At::Home { At::Sharded } else { At::Home };
                self.stored = Rules { epoch: self.stored.epoch + 1, place: Place::Open(self.rows), ..self.stored };
                self.mover = Mover::Idle;
            }
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
    fn breaks(rule: Rule, changes: u8) {
        let found = HasDiscoveries::AllOf(BTreeSet::from([SAFE]));
        let checker = Fence { rule, routers: 2, changes }.checker().finish_when(found).spawn_bfs().join();
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
    Fence::breaks(Rule::NoWait, 1);
}

#[test]
fn the_checker_finds_connections_that_look_before_they_are_marked() {
    Fence::breaks(Rule::LookFirst, 1);
}

#[test]
fn the_checker_finds_sessions_on_connections_of_later_rules() {
    Fence::breaks(Rule::AnyView, 1);
}

#[test]
fn the_checker_finds_a_table_that_is_not_closed() {
    Fence::breaks(Rule::NeverClosed, 1);
}

#[test]
fn the_checker_finds_a_mover_that_goes_on_though_it_was_given_up() {
    Fence::breaks(Rule::NoToken, 1);
}

/// Rows that come back to the home shard leave others behind a shard without a fence.
#[test]
fn the_checker_finds_a_shard_without_a_fence() {
    Fence::breaks(Rule::HomeOnly, 2);
}
