//! A Bind too large to be held: routed by the values at its head, the rest passed on to its shard as it comes.

use std::cell::Cell;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use crate::backend::inflight::{Audience, Owed};
use crate::config::limits::Limit;
use crate::exec::copy::pass_frame;
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::plan::{Parameters, Plan, PlanKind};
use crate::session::prepared::{BoundValues, ClientStatement, Place, Portal};
use crate::session::replica::Servers;
use crate::session::{Failure, Session, Stop};
use crate::types::Format;
use crate::wire::encode;
use crate::wire::frame::{BindHead, Frame, HEADER, Malformed};

/// The values that have come, and whether one was asked for that has not.
struct Known<'a> {
    bound: BoundValues<'a>,
    missed: Cell<bool>,
}

impl Parameters for Known<'_> {
    fn get(&self, index: usize) -> Option<(Oid, Format, Option<&[u8]>)> {
        let found = self.bound.get(index);
        self.missed.set(self.missed.get() || found.is_none());
        found
    }
}

impl Session {
    /// `frame` is the head of a Bind whose rest is still to come. When the values in it tell one shard, the message is passed on to
    /// it; `None`. Otherwise more is read, in the end all of it: the whole frame, to be treated as any other.
    pub(super) async fn bind_large(&mut self, frame: &Frame) -> Result<Option<Frame>, Failure> {
        let mut head = BytesMut::from(&frame.bytes[..]);
        loop {
            match self.route_head(&head)? {
                Some((statement, plan, shard)) => {
                    self.pass_bind(&head, &statement, &plan, shard).await?;
                    return Ok(None);
                }
                None if self.client.rest() == 0 => {
                    return Ok(Some(Frame { tag: frame.tag, bytes: head.freeze() }));
                }
                // A value that decides has not come: as much again.
                None => {
                    let more = head.len();
                    self.client.more(&mut head, more).await.map_err(|_| Failure::Stop(Stop::Gone))?;
                }
            }
        }
    }

    /// The one shard that the values at the head of a Bind tell. Statements for which it is not as simple are left to the whole Bind.
    fn route_head(&self, head: &[u8]) -> Result<Option<(Arc<ClientStatement>, Plan, ShardId)>, Failure> {
        let view = match BindHead::read(head.get(HEADER..).unwrap_or_default()) {
            Ok(view) => view,
            Err(Malformed::Length) => return Ok(None),
            Err(malformed) => return Err(malformed.into()),
        };
        let statement = Arc::clone(self.statements.get(view.statement)?);
        let current = self.is_current(&statement) && !self.tx.has_failed();
        if !current || view.count != statement.types.len().max(usize::from(statement.analysis.parameters)) {
            return Ok(None);
        }
        let known =
            Known { bound: BoundValues { statement: &statement, values: &view.parameters }, missed: Cell::new(false) };
        let plan = self.plan_values(&statement, &known);
        let shard = match &plan.kind {
            PlanKind::Single(shard) if !known.missed.get() => *shard,
            _ => return Ok(None),
        };
        Ok(Some((statement, plan, shard)))
    }

    async fn pass_bind(
        &mut self,
        head: &[u8],
        statement: &Arc<ClientStatement>,
        plan: &Plan,
        shard: ShardId,
    ) -> Result<(), Failure> {
        let view = BindHead::read(head.get(HEADER..).unwrap_or_default())?;
        if let Err(fault) = self.take_hint(&statement.text) {
            // A Parse before it was good all the same.
            self.settle_parse().await?;
            return Err(fault.into());
        }
        if let Err(failure) = self.keep_pace().await {
            self.settle_parse().await?;
            return Err(failure);
        }
        if view.portal.is_empty() {
            self.take_portal(b"").await?;
        }
        self.check_new_portal(view.portal).await?;
        let (at, def) = self.bind_at(shard, statement, plan).await?;
        // While the message goes by nobody reads what the server says, so it must owe nothing.
        self.rest_replies(at).await?;
        let after_names = view.tail.len() + self.client.rest();
        let body = view.portal.len() + 1 + def.name.len() + 1 + after_names;
        let out = &mut self.held[at].server.out;
        encode::header(out, b'B', body)?;
        encode::cstring(out, view.portal)?;
        encode::cstring(out, def.name.as_bytes())?;
        out.put_slice(view.tail);
        let limit = self.times.get(Limit::IdleTransaction);
        let held = &mut self.held[at];
        if let Err(broken) = pass_frame(&mut held.server, &mut self.client, limit).await {
            return Err(self.break_held(at, broken));
        }
        self.held[at].server.inflight.push(Owed::Bind(Audience::Client));
        let portal = Portal::new(Arc::clone(statement), Vec::new(), Place::Server(shard));
        Ok(self.put_portal(view.portal, portal)?)
    }

    /// What the server owes so far is answered.
    async fn rest_replies(&mut self, at: usize) -> Result<(), Failure> {
        self.drain_open().await?;
        if self.held[at].server.inflight.is_empty() {
            return Ok(());
        }
        Err(Fault::new(SqlState::INTERNAL_ERROR, "a server still owes replies").into())
    }

    /// The connection on which a portal of the statement is made, with the statement known on it.
    pub(super) async fn bind_at(
        &mut self,
        shard: ShardId,
        statement: &Arc<ClientStatement>,
        plan: &Plan,
    ) -> Result<(usize, Arc<crate::backend::prepared::StatementDef>), Failure> {
        self.begin_registering(plan).await?;
        let parsing = self.parsing(statement).await?;
        let servers = self.servers_for(&statement.analysis)?;
        if servers == Servers::Primaries {
            self.leave_replica().await?;
        }
        let at = self.open_parsing(shard, servers, statement, &parsing).await?;
        let def = self.known_on(at, statement, parsing).await?;
        self.note_plan(plan);
        let held = &mut self.held[at];
        held.note_access(plan.access);
        held.note_pin(statement.analysis.pin);
        self.note_code(at, &statement.analysis, &statement.text);
        self.mark_bound();
        Ok((at, def))
    }
}
