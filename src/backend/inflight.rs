//! PURE. `Inflight`: the queue of replies that one server owes, some for the client, some to be swallowed.

use std::collections::VecDeque;

use bytes::Bytes;

/// Who gets a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    Client,
    /// We asked on our own account (settings, BEGIN, a Parse the client already has an answer for).
    Router,
}

/// One reply that is owed, in the order of the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owed {
    /// A simple Query: everything up to and including ReadyForQuery. `ready`: who gets the ReadyForQuery itself.
    Query {
        audience: Audience,
        ready: Audience,
    },
    Parse(Audience),
    /// A Parse of ours of what the client has sent in another message: the notices of its text are the client's.
    ParseHeard,
    Bind(Audience),
    /// ParameterDescription, then RowDescription or NoData.
    DescribeStatement(Audience),
    /// The same of a statement that the client does not ask about: what the definition of this number returns.
    Learn(u64),
    /// RowDescription or NoData.
    DescribePortal(Audience),
    Execute(Audience),
    Close(Audience),
    Sync(Audience),
    /// Not owed by the server: bytes of ours that belong at this place in the order.
    Local(Bytes),
    /// The same, but before an error the client gets nothing of it.
    Head(Bytes),
    /// Nothing is owed: a message at this place in the order has changed something of ours, which lasts if all before it ends well.
    Change,
}

/// What to do with one frame from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Forward,
    Swallow,
    /// ReadyForQuery: the batch or query is over.
    Ready(Audience),
    /// ErrorResponse; `Audience::Router` when it answers a request of our own simple Query.
    Error(Audience),
    /// The server wants CopyData now.
    CopyIn,
    /// A frame that cannot stand here: the server is out of step.
    OutOfStep,
}

#[derive(Clone, Debug, Default)]
pub struct Inflight {
    owed: VecDeque<Owed>,
    /// An error was seen: the server skips to the next Sync, and so do the items.
    skipping: bool,
    /// ParseCompletes that went to the client since they were last counted.
    parsed: usize,
    /// Changes that have come to last since they were last counted.
    changes: usize,
    /// The last error answered a Parse of the client's.
    parse_failed: bool,
    /// The Execute that was answered last reached its row limit.
    suspended: bool,
}

impl Inflight {
    pub fn push(&mut self, owed: Owed) {
        // After an error the server answers nothing until Sync, and neither do we.
        if self.skipping && !matches!(owed, Owed::Sync(_)) {
            return;
        }
        self.owed.push_back(owed);
    }

    /// All that another one owes, behind what is owed here.
    pub fn append(&mut self, other: &Self) {
        self.owed.extend(other.owed.iter().cloned());
    }

    /// Whether it only owes answers to a request that changes nothing of its connection: no statement is made, none is closed.
    pub fn is_plain(&self) -> bool {
        let plain = |owed: &Owed| match owed {
            Owed::Query { audience, .. } => *audience == Audience::Client,
            Owed::Parse(_) | Owed::ParseHeard | Owed::Close(_) | Owed::Change => false,
            Owed::Bind(_)
            | Owed::DescribeStatement(_)
            | Owed::Learn(_)
            | Owed::DescribePortal(_)
            | Owed::Execute(_)
            | Owed::Sync(_)
            | Owed::Head(_)
            | Owed::Local(_) => true,
        };
        self.owed.iter().all(plain)
    }

    pub fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    pub fn len(&self) -> usize {
        self.owed.len()
    }

    /// How many ReadyForQuery are to come.
    pub fn readies(&self) -> usize {
        self.owed.iter().filter(|owed| matches!(owed, Owed::Query { .. } | Owed::Sync(_))).count()
    }

    /// How many simple Queries of our own are answered before anything else.
    pub fn own_queries(&self) -> usize {
        let own = |owed: &&Owed| matches!(owed, Owed::Query { audience: Audience::Router, .. });
        self.owed.iter().take_while(own).count()
    }

    /// Whether there will be more than the heads of answers, which do not tell how these end. Behind the Queries of our own: what they
    /// are answered is nobody's answer, and nothing may come behind it.
    pub fn owes_ends(&self) -> bool {
        let ends = |owed: &Owed| matches!(owed, Owed::Execute(_) | Owed::Query { .. } | Owed::Sync(_));
        self.owed.iter().skip(self.own_queries()).any(ends)
    }

    /// The definition that a frame of this kind, which comes next, tells of.
    pub fn learns(&self, tag: u8) -> Option<u64> {
        match self.owed.front() {
            Some(Owed::Learn(of)) if matches!(tag, b't' | b'T' | b'n') => Some(*of),
            _ => None,
        }
    }

    pub fn front(&self) -> Option<&Owed> {
        self.owed.front()
    }

    /// How many ParseCompletes went to the client since the last call.
    pub fn take_parsed(&mut self) -> usize {
        std::mem::take(&mut self.parsed)
    }

    /// How many changes have come to last since the last call.
    pub fn take_changes(&mut self) -> usize {
        std::mem::take(&mut self.changes)
    }

    /// Whether the last error answered a Parse of the client's.
    pub fn parse_failed(&self) -> bool {
        self.parse_failed
    }

    /// Whether the Execute that was answered last reached its row limit.
    pub fn is_suspended(&self) -> bool {
        self.suspended
    }

    /// Whether the server skips everything until the next Sync.
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// The bytes of our own that are next in order, removed; none at the place of a change.
    pub fn take_local(&mut self) -> Option<Bytes> {
        // Looked at before it is taken: nearly always it is something else, which stays.
        if !matches!(self.owed.front(), Some(Owed::Local(_) | Owed::Change)) {
            return None;
        }
        match self.owed.pop_front() {
            Some(Owed::Local(bytes)) => Some(bytes),
            _ => {
                self.changes += 1;
                Some(Bytes::new())
            }
        }
    }

    /// What goes to the client before the answer that begins with a frame of this kind.
    pub fn take_head(&mut self, tag: u8) -> Option<Bytes> {
        if !matches!(self.owed.front(), Some(Owed::Head(_))) || matches!(tag, b'E' | b'N' | b'S' | b'A') {
            return None;
        }
        match self.owed.pop_front() {
            Some(Owed::Head(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Removes the newest item if it is one that is not owed after all.
    pub fn remove_last_if(&mut self, which: impl Fn(&Owed) -> bool) -> bool {
        let found = self.owed.back().is_some_and(which);
        if found {
            self.owed.pop_back();
        }
        found
    }

    /// Whether a Sync or a simple Query is still unanswered.
    pub fn awaits_ready(&self) -> bool {
        self.owed.iter().any(|o| matches!(o, Owed::Sync(_) | Owed::Query { .. }))
    }

    /// Takes note of a frame from the server. ParameterStatus and notices follow the item in front; a notification is the client's
    /// whoever is answered when it comes.
    pub fn step(&mut self, tag: u8) -> Verdict {
        // Where nobody has asked for it, nobody gets it.
        drop(self.take_head(tag));
        match tag {
            b'D' | b'd' => self.data(),
            b'Z' => self.ready(),
            b'E' => self.error(),
            b'A' => Verdict::Forward,
            b'S' | b'N' => match self.owed.front() {
                Some(Owed::Query { audience: Audience::Router, .. }) => Verdict::Swallow,
                // The client's own message has its notices.
                Some(Owed::Parse(Audience::Router)) => Verdict::Swallow,
                _ => Verdict::Forward,
            },
            _ => self.reply(tag),
        }
    }

    fn data(&self) -> Verdict {
        match self.owed.front() {
            Some(Owed::Query { audience, .. } | Owed::Execute(audience)) => of(*audience),
            _ => Verdict::OutOfStep,
        }
    }

    fn ready(&mut self) -> Verdict {
        let audience = match self.owed.front() {
            Some(Owed::Query { ready, .. }) => *ready,
            Some(Owed::Sync(audience)) => *audience,
            _ => return Verdict::OutOfStep,
        };
        self.owed.pop_front();
        self.skipping = false;
        Verdict::Ready(audience)
    }

    fn error(&mut self) -> Verdict {
        self.parse_failed = self.owed.front() == Some(&Owed::Parse(Audience::Client));
        match self.owed.front() {
            // The query's own ReadyForQuery follows.
            Some(Owed::Query { audience, .. }) => Verdict::Error(*audience),
            Some(_) => {
                self.skipping = true;
                while let Some(front) = self.owed.front() {
                    if matches!(front, Owed::Sync(_)) {
                        break;
                    }
                    self.owed.pop_front();
                }
                Verdict::Error(Audience::Client)
            }
            None => Verdict::Error(Audience::Client),
        }
    }

    fn reply(&mut self, tag: u8) -> Verdict {
        let Some(front) = self.owed.front() else {
            return Verdict::OutOfStep;
        };
        let (audience, finished) = match (front, tag) {
            (Owed::Query { .. } | Owed::Execute(_), b'G' | b'W') => return Verdict::CopyIn,
            (Owed::Query { audience, .. }, b'T' | b'C' | b'I' | b'H' | b'c') => (*audience, false),
            (Owed::Parse(audience), b'1') => {
                self.parsed += usize::from(*audience == Audience::Client);
                (*audience, true)
            }
            (Owed::ParseHeard, b'1') => (Audience::Router, true),
            (Owed::Bind(audience), b'2') => (*audience, true),
            (Owed::Close(audience), b'3') => (*audience, true),
            (Owed::DescribeStatement(audience), b't') => (*audience, false),
            (Owed::DescribeStatement(audience) | Owed::DescribePortal(audience), b'T' | b'n') => (*audience, true),
            (Owed::Learn(_), b't') => (Audience::Router, false),
            (Owed::Learn(_), b'T' | b'n') => (Audience::Router, true),
            (Owed::Execute(audience), b'H' | b'c') => (*audience, false),
            (Owed::Execute(audience), b'C' | b's' | b'I') => {
                self.suspended = tag == b's';
                (*audience, true)
            }
            _ => return Verdict::OutOfStep,
        };
        if finished {
            self.owed.pop_front();
        }
        of(audience)
    }
}

fn of(audience: Audience) -> Verdict {
    match audience {
        Audience::Client => Verdict::Forward,
        Audience::Router => Verdict::Swallow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Audience::{Client, Router};

    fn queue(owed: impl IntoIterator<Item = Owed>) -> Inflight {
        let mut inflight = Inflight::default();
        owed.into_iter().for_each(|o| inflight.push(o));
        inflight
    }

    #[test]
    fn a_hidden_parse_is_swallowed_and_the_rest_forwarded() {
        use Verdict::{Forward, Ready, Swallow};
        let mut q = queue([Owed::Parse(Router), Owed::Bind(Client), Owed::Execute(Client), Owed::Sync(Client)]);
        let verdicts: Vec<Verdict> = b"12DDCZ".iter().map(|t| q.step(*t)).collect();
        assert_eq!(verdicts, [Swallow, Forward, Forward, Forward, Forward, Ready(Client)]);
        assert!(q.is_empty());
    }

    #[test]
    fn a_query_of_our_own_is_no_end_of_the_clients_answers() {
        let own = || Owed::Query { audience: Router, ready: Router };
        let local = || Owed::Local(Bytes::from_static(b"x"));
        assert!(!queue([own(), own(), local()]).owes_ends());
        assert!(!queue([own(), Owed::Parse(Client), local()]).owes_ends());
        assert!(queue([own(), local(), Owed::Execute(Client)]).owes_ends());
        assert!(queue([own(), Owed::Query { audience: Client, ready: Client }]).owes_ends());
    }

    #[test]
    fn a_notification_is_the_clients_while_the_router_is_answered() {
        let mut q = queue([Owed::Query { audience: Router, ready: Router }]);
        assert_eq!([q.step(b'N'), q.step(b'A')], [Verdict::Swallow, Verdict::Forward]);
    }

    #[test]
    fn an_error_skips_to_sync_and_local_bytes_with_it() {
        let mut q = queue([
            Owed::Bind(Client),
            Owed::Execute(Client),
            Owed::Local(Bytes::from_static(b"x")),
            Owed::Sync(Client),
        ]);
        assert_eq!(q.step(b'E'), Verdict::Error(Client));
        assert_eq!(q.front(), Some(&Owed::Sync(Client)));
        assert_eq!(q.step(b'Z'), Verdict::Ready(Client));
        assert!(!q.is_skipping());
    }

    #[test]
    fn a_change_lasts_when_all_before_it_has_ended_well() {
        let mut q = queue([Owed::Execute(Client), Owed::Change, Owed::Execute(Client), Owed::Change]);
        assert_eq!((q.step(b'C'), q.take_local()), (Verdict::Forward, Some(Bytes::new())));
        assert_eq!(q.step(b'E'), Verdict::Error(Client));
        assert_eq!((q.take_changes(), q.take_local(), q.parse_failed()), (1, None, false));
    }

    #[test]
    fn what_is_sent_after_an_error_is_owed_nothing_until_sync() {
        let mut q = queue([Owed::Bind(Client)]);
        assert_eq!(q.step(b'E'), Verdict::Error(Client));
        q.push(Owed::Bind(Client));
        assert!(q.is_empty());
        q.push(Owed::Sync(Client));
        assert_eq!(q.step(b'Z'), Verdict::Ready(Client));
    }

    #[test]
    fn a_reply_out_of_order_is_told() {
        assert_eq!(queue([Owed::Bind(Client)]).step(b'1'), Verdict::OutOfStep);
        assert_eq!(queue([]).step(b'D'), Verdict::OutOfStep);
    }
}
