//! `TwoPhase`: the commit protocol, (state, event) -> (state, actions); run by the session, by the resolver and by the model checker.
//!
//! The anchor writes its decision row in its own transaction; when that is answered, the others prepare; when all have, the
//! anchor commits, and with it the decision; then the others commit what they prepared. Whoever does not know how the anchor
//! ended (the session whose connection broke, or a resolver that finds something prepared) fences it: the row of the other
//! verdict under the same key waits for an open anchor, and behind it the row that is there is the truth.
//!
//! Why that is enough: something is prepared only after the anchor's row was written, so the fence cannot come before it; the
//! anchor commits only if every part was prepared, so a part that is found can still follow either verdict. A tombstone alone proves
//! no rollback, though: rows of commits that are over are forgotten, and a fence that comes later than that stands there as well. A
//! part that was still prepared proves it, or the anchor's server, where it knows that the transaction was aborted.

use crate::ids::ShardId;

/// What a shard is asked. Each is asked one thing at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    /// The anchor's decision row, in its own transaction.
    Decide,
    /// PREPARE TRANSACTION.
    Prepare,
    /// COMMIT of the anchor.
    Commit,
    /// ROLLBACK of a transaction that is not prepared.
    RollBack,
    /// COMMIT PREPARED or ROLLBACK PREPARED. `anew`: on a connection of the router's own, where the client's is of no use.
    Finish { commit: bool, anew: bool },
    /// On a connection of the router's own to the anchor: the tombstone.
    Fence,
    /// There, behind the fence: what the decision row says.
    Read,
}

/// How it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reply {
    Done,
    /// It was done, to [`Request::Decide`] or [`Request::Prepare`], and is to be undone: who wants the commit has taken that back, or the
    /// server does not vouch for what it has prepared.
    Unwanted,
    /// There is nothing prepared of that name: somebody else has finished it.
    Absent,
    /// The server refused. The transaction that it was asked in is aborted.
    Failed,
    /// No answer: it was done or will be, or neither.
    Lost,
    /// The answer to [`Request::Read`]. `proven`: by more than the row.
    Verdict {
        committed: bool,
        proven: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Ask {
        shard: ShardId,
        request: Request,
    },
    /// The last one: nothing follows.
    Conclude(Outcome),
}

/// An answer that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Event {
    pub shard: ShardId,
    pub request: Request,
    pub reply: Reply,
}

/// How it ended. `left`: shards on which a part may still be prepared, for a resolver to finish.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Committed {
        left: Vec<ShardId>,
    },
    /// `cause`: the shard whose answer is the reason.
    RolledBack {
        cause: ShardId,
        left: Vec<ShardId>,
    },
    /// The anchor could not be asked, or nothing proves what it says.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TwoPhase {
    anchor: ShardId,
    phase: Phase,
    /// The anchor is the first.
    parts: Vec<(ShardId, Part)>,
    /// There never was a client's connection to any part: each is finished on one of the router's own.
    anew: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Deciding,
    Preparing,
    Committing,
    Fencing,
    Reading,
    /// The verdict is known, the parts follow it.
    Ending(Verdict),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Verdict {
    Commit,
    /// `proven`: it is certain that the anchor did not commit.
    RollBack {
        cause: ShardId,
        proven: bool,
    },
}

/// What is known of one shard's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// In its transaction.
    Open,
    /// Asked, not answered.
    Asked,
    Prepared,
    /// That too, and it is to be rolled back.
    Unwanted,
    /// PREPARE was not answered: it may be prepared.
    Doubtful,
    /// PREPARE was refused: it is rolled back.
    Refused,
    /// Nothing of it is left.
    Ended,
    /// It could not be finished.
    Left,
}

impl TwoPhase {
    /// A transaction that is to be committed: `anchor` and `others` have written.
    pub fn begin(anchor: ShardId, others: &[ShardId]) -> (Self, Vec<Action>) {
        let parts = std::iter::once(&anchor).chain(others).map(|shard| (*shard, Part::Open)).collect();
        (Self { anchor, phase: Phase::Deciding, parts, anew: false }, vec![ask(anchor, Request::Decide)])
    }

    /// Parts that were found prepared and have nobody who ends them.
    pub fn left_behind(anchor: ShardId, found: &[ShardId]) -> (Self, Vec<Action>) {
        let parts = std::iter::once((anchor, Part::Ended)).chain(found.iter().map(|shard| (*shard, Part::Prepared)));
        (Self { anchor, phase: Phase::Fencing, parts: parts.collect(), anew: true }, vec![ask(anchor, Request::Fence)])
    }

    /// Takes an answer; what is to be done next. An answer that was not awaited changes nothing.
    pub fn step(mut self, event: Event) -> (Self, Vec<Action>) {
        let Event { shard, request, reply } = event;
        let of_anchor = shard == self.anchor;
        let actions = match (self.phase, request) {
            (Phase::Deciding, Request::Decide) if of_anchor => self.decided(reply),
            (Phase::Preparing, Request::Prepare) => self.prepared(shard, reply),
            (Phase::Committing, Request::Commit) if of_anchor => self.committed(reply),
            (Phase::Fencing, Request::Fence) if of_anchor => self.fenced(reply),
            (Phase::Reading, Request::Read) if of_anchor => self.read(reply),
            (Phase::Ending(_), Request::Finish { commit, anew }) => self.finished(shard, commit, anew, reply),
            (Phase::Ending(_), Request::RollBack) => self.set(shard, Part::Ended),
            (
                Phase::Deciding
                | Phase::Preparing
                | Phase::Committing
                | Phase::Fencing
                | Phase::Reading
                | Phase::Ending(_)
                | Phase::Over,
                Request::Decide
                | Request::Prepare
                | Request::Commit
                | Request::RollBack
                | Request::Finish { .. }
                | Request::Fence
                | Request::Read,
            ) => Vec::new(),
        };
        (self, actions)
    }

    fn decided(&mut self, reply: Reply) -> Vec<Action> {
        match reply {
            Reply::Done => {
                self.phase = Phase::Preparing;
                self.ask_others(Request::Prepare)
            }
            // Its transaction waits for its end.
            Reply::Failed | Reply::Unwanted => self.roll_back(self.anchor, true),
            Reply::Lost | Reply::Absent | Reply::Verdict { .. } => {
                self.put(self.anchor, Part::Ended);
                self.roll_back(self.anchor, true)
            }
        }
    }

    fn prepared(&mut self, shard: ShardId, reply: Reply) -> Vec<Action> {
        self.put(
            shard,
            match reply {
                Reply::Done => Part::Prepared,
                Reply::Unwanted => Part::Unwanted,
                Reply::Failed => Part::Refused,
                Reply::Lost | Reply::Absent | Reply::Verdict { .. } => Part::Doubtful,
            },
        );
        if self.parts.iter().any(|(_, part)| *part == Part::Asked) {
            return Vec::new();
        }
        let with = |wanted: Part| self.parts.iter().find(|(_, part)| *part == wanted).map(|(shard, _)| *shard);
        // What a server said tells the client more than that another one said nothing.
        match with(Part::Refused).or(with(Part::Unwanted)).or(with(Part::Doubtful)) {
            // COMMIT was not sent: whatever is prepared by now or later, the anchor's row is not there.
            Some(cause) => self.roll_back(cause, true),
            None => {
                self.phase = Phase::Committing;
                self.put(self.anchor, Part::Asked);
                vec![ask(self.anchor, Request::Commit)]
            }
        }
    }

    fn committed(&mut self, reply: Reply) -> Vec<Action> {
        self.put(self.anchor, Part::Ended);
        match reply {
            Reply::Done => self.commit(),
            Reply::Failed => self.roll_back(self.anchor, true),
            Reply::Lost | Reply::Absent | Reply::Unwanted | Reply::Verdict { .. } => {
                self.phase = Phase::Fencing;
                vec![ask(self.anchor, Request::Fence)]
            }
        }
    }

    fn fenced(&mut self, reply: Reply) -> Vec<Action> {
        match reply {
            Reply::Done => {
                self.phase = Phase::Reading;
                vec![ask(self.anchor, Request::Read)]
            }
            Reply::Absent | Reply::Failed | Reply::Lost | Reply::Unwanted | Reply::Verdict { .. } => self.give_up(),
        }
    }

    fn read(&mut self, reply: Reply) -> Vec<Action> {
        match reply {
            Reply::Verdict { committed: true, .. } => self.commit(),
            Reply::Verdict { committed: false, proven } => self.roll_back(self.anchor, proven),
            Reply::Done | Reply::Absent | Reply::Failed | Reply::Lost | Reply::Unwanted => self.give_up(),
        }
    }

    fn finished(&mut self, shard: ShardId, commit: bool, anew: bool, reply: Reply) -> Vec<Action> {
        match reply {
            Reply::Done => {
                if let Phase::Ending(Verdict::RollBack { proven, .. }) = &mut self.phase {
                    *proven = true;
                }
                self.set(shard, Part::Ended)
            }
            Reply::Absent => self.set(shard, Part::Ended),
            Reply::Failed | Reply::Lost | Reply::Unwanted | Reply::Verdict { .. } if anew => {
                self.set(shard, Part::Left)
            }
            Reply::Failed | Reply::Lost | Reply::Unwanted | Reply::Verdict { .. } => {
                vec![ask(shard, Request::Finish { commit, anew: true })]
            }
        }
    }

    /// The anchor has committed.
    fn commit(&mut self) -> Vec<Action> {
        self.phase = Phase::Ending(Verdict::Commit);
        self.ask_others(Request::Finish { commit: true, anew: self.anew })
    }

    /// The anchor will never commit: its COMMIT was not sent, was refused, or a tombstone stands behind it.
    fn roll_back(&mut self, cause: ShardId, proven: bool) -> Vec<Action> {
        self.phase = Phase::Ending(Verdict::RollBack { cause, proven });
        let mut actions = Vec::new();
        for (shard, part) in &mut self.parts {
            let request = match part {
                Part::Open => Request::RollBack,
                Part::Prepared | Part::Unwanted => Request::Finish { commit: false, anew: self.anew },
                Part::Doubtful => Request::Finish { commit: false, anew: true },
                Part::Refused | Part::Ended => {
                    *part = Part::Ended;
                    continue;
                }
                Part::Asked | Part::Left => continue,
            };
            *part = Part::Asked;
            actions.push(ask(*shard, request));
        }
        self.conclude_if_ended(actions)
    }

    fn give_up(&mut self) -> Vec<Action> {
        self.phase = Phase::Over;
        vec![Action::Conclude(Outcome::Unknown)]
    }

    /// A part has come to its end; with the last one all is over.
    fn set(&mut self, shard: ShardId, part: Part) -> Vec<Action> {
        self.put(shard, part);
        self.conclude_if_ended(Vec::new())
    }

    fn conclude_if_ended(&mut self, mut actions: Vec<Action>) -> Vec<Action> {
        if let Phase::Ending(verdict) = self.phase
            && self.parts.iter().all(|(_, part)| matches!(part, Part::Ended | Part::Left))
        {
            self.phase = Phase::Over;
            let left = self.parts.iter().filter(|(_, part)| *part == Part::Left).map(|(shard, _)| *shard).collect();
            actions.push(Action::Conclude(match verdict {
                Verdict::Commit => Outcome::Committed { left },
                Verdict::RollBack { cause, proven: true } => Outcome::RolledBack { cause, left },
                Verdict::RollBack { proven: false, .. } => Outcome::Unknown,
            }));
        }
        actions
    }

    /// Everybody but the anchor.
    fn ask_others(&mut self, request: Request) -> Vec<Action> {
        let asked = self.parts.iter_mut().skip(1).map(|(shard, part)| {
            *part = Part::Asked;
            ask(*shard, request)
        });
        asked.collect()
    }

    fn put(&mut self, shard: ShardId, new: Part) {
        if let Some((_, part)) = self.parts.iter_mut().find(|(s, _)| *s == shard) {
            *part = new;
        }
    }
}

fn ask(shard: ShardId, request: Request) -> Action {
    Action::Ask { shard, request }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ShardId = ShardId(4);
    const B: ShardId = ShardId(0);
    const C: ShardId = ShardId(2);
    const END: Request = Request::Finish { commit: true, anew: false };
    const UNDO: Request = Request::Finish { commit: false, anew: false };

    /// Feeds answers in order; what was asked and concluded on the way, in words.
    fn run((mut machine, mut actions): (TwoPhase, Vec<Action>), events: &[(ShardId, Request, Reply)]) -> Vec<Action> {
        for (shard, request, reply) in events {
            let (next, more) = machine.step(Event { shard: *shard, request: *request, reply: *reply });
            machine = next;
            actions.extend(more);
        }
        actions
    }

    #[test]
    fn the_anchor_decides_between_the_two_phases() {
        let actions = run(
            TwoPhase::begin(A, &[B, C]),
            &[
                (A, Request::Decide, Reply::Done),
                (C, Request::Prepare, Reply::Done),
                (B, Request::Prepare, Reply::Done),
                (A, Request::Commit, Reply::Done),
                (B, END, Reply::Done),
                (C, END, Reply::Done),
            ],
        );
        let expected = [
            ask(A, Request::Decide),
            ask(B, Request::Prepare),
            ask(C, Request::Prepare),
            ask(A, Request::Commit),
            ask(B, END),
            ask(C, END),
            Action::Conclude(Outcome::Committed { left: vec![] }),
        ];
        assert_eq!(actions, expected);
    }

    #[test]
    fn who_did_not_answer_prepare_is_undone_anew_and_blames_nobody_who_did() {
        let actions = run(
            TwoPhase::begin(A, &[B, C]),
            &[
                (A, Request::Decide, Reply::Done),
                (B, Request::Prepare, Reply::Lost),
                (C, Request::Prepare, Reply::Failed),
                (A, Request::RollBack, Reply::Done),
                (B, Request::Finish { commit: false, anew: true }, Reply::Lost),
            ],
        );
        let expected = [
            ask(A, Request::RollBack),
            ask(B, Request::Finish { commit: false, anew: true }),
            Action::Conclude(Outcome::RolledBack { cause: C, left: vec![B] }),
        ];
        assert_eq!(actions[3..], expected);
    }

    #[test]
    fn what_nobody_wants_any_more_is_undone_where_it_was_prepared() {
        let prepared = [(A, Request::Decide, Reply::Done), (B, Request::Prepare, Reply::Done)];
        let then = [(C, Request::Prepare, Reply::Unwanted), (A, Request::RollBack, Reply::Done)];
        let ends = [(B, UNDO, Reply::Done), (C, UNDO, Reply::Done)];
        let actions = run(TwoPhase::begin(A, &[B, C]), &[&prepared[..], &then, &ends].concat());
        let over = Action::Conclude(Outcome::RolledBack { cause: C, left: vec![] });
        assert_eq!(actions[3..], [ask(A, Request::RollBack), ask(B, UNDO), ask(C, UNDO), over]);
        let early = [(A, Request::Decide, Reply::Unwanted)];
        assert_eq!(run(TwoPhase::begin(A, &[B, C]), &early)[1..2], [ask(A, Request::RollBack)]);
    }

    #[test]
    fn a_lost_commit_is_asked_for_behind_a_fence() {
        let lost = [
            (A, Request::Decide, Reply::Done),
            (B, Request::Prepare, Reply::Done),
            (A, Request::Commit, Reply::Lost),
            (A, Request::Fence, Reply::Done),
        ];
        for (committed, request, outcome) in [
            (true, END, Outcome::Committed { left: vec![] }),
            (false, UNDO, Outcome::RolledBack { cause: A, left: vec![] }),
        ] {
            let then = [(A, Request::Read, Reply::Verdict { committed, proven: false }), (B, request, Reply::Done)];
            let actions = run(TwoPhase::begin(A, &[B]), &[&lost[..], &then].concat());
            let expected = [ask(A, Request::Fence), ask(A, Request::Read), ask(B, request), Action::Conclude(outcome)];
            assert_eq!(actions[3..], expected);
        }
        // Nothing was prepared any more: a commit that is over and forgotten looks the same.
        for (proven, outcome) in [(false, Outcome::Unknown), (true, Outcome::RolledBack { cause: A, left: vec![] })] {
            let verdict = Reply::Verdict { committed: false, proven };
            let then = [(A, Request::Read, verdict), (B, UNDO, Reply::Absent)];
            let late = run(TwoPhase::begin(A, &[B]), &[&lost[..], &then].concat());
            assert_eq!(late.last(), Some(&Action::Conclude(outcome)));
        }
        let silent = [&lost[..3], &[(A, Request::Fence, Reply::Lost)]].concat();
        assert_eq!(run(TwoPhase::begin(A, &[B]), &silent).last(), Some(&Action::Conclude(Outcome::Unknown)));
    }

    #[test]
    fn what_is_decided_is_told_though_a_shard_is_silent() {
        let again = Request::Finish { commit: true, anew: true };
        let actions = run(
            TwoPhase::begin(A, &[B, C]),
            &[
                (A, Request::Decide, Reply::Done),
                (B, Request::Prepare, Reply::Done),
                (C, Request::Prepare, Reply::Done),
                (A, Request::Commit, Reply::Done),
                (B, END, Reply::Lost),
                (C, END, Reply::Absent),
                (B, again, Reply::Lost),
            ],
        );
        assert_eq!(actions[6..], [ask(B, again), Action::Conclude(Outcome::Committed { left: vec![B] })]);
    }

    #[test]
    fn an_answer_that_nobody_awaits_changes_nothing() {
        let (machine, _) = TwoPhase::begin(A, &[B]);
        for (shard, request) in [(A, Request::Commit), (B, Request::Prepare), (B, Request::Decide), (A, Request::Read)]
        {
            let (after, actions) = machine.clone().step(Event { shard, request, reply: Reply::Done });
            assert_eq!((after, actions), (machine.clone(), vec![]));
        }
    }
}
