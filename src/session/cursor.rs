//! SQL cursors over several shards: the query is finished on a combine connection, which has the cursor until it is closed or the
//! transaction ends, and has the transaction's savepoints beside the shards.

use bytes::Bytes;

use crate::backend::Backend;
use crate::backend::inflight::{Audience, Owed};
use crate::backend::settings::quote_literal;
use crate::exec::client::Client;
use crate::exec::columns::FIRST_NORMAL_OID;
use crate::exec::finish::Copies;
use crate::exec::forward::without_position;
use crate::exec::replies::{Hears, ScatterError};
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;
use crate::plan::FinishPlan;
use crate::session::finish::{Halt, Original, PORTAL, description};
use crate::session::held::Finishing;
use crate::session::prepared::Place;
use crate::session::run::Ask;
use crate::session::{Failure, Session};
use crate::sql::utility::StatementKind;
use crate::wire::frame::HEADER;
use crate::wire::row::read_row_description;
use crate::wire::{reply, request};

/// The portal in which a finishing statement runs: a cursor is one by itself, and may have any name.
pub(super) fn portal_of(plan: &FinishPlan) -> &'static [u8] {
    if plan.cursor.is_some() { b"" } else { PORTAL }
}

impl Session {
    /// DECLARE of a cursor over several shards.
    pub(super) async fn declare_finish(
        &mut self,
        plan: &FinishPlan,
        ask: &Ask<'_>,
        original: Original,
    ) -> Result<(), Failure> {
        let Some(cursor) = &plan.cursor else { return Ok(()) };
        if !self.tx.counts_as_block() && !cursor.hold {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(Fault::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message).into());
        }
        self.check_new_cursor(&cursor.name).await?;
        let keeps = if cursor.hold { Some(self.pools.keep_combine()?) } else { None };
        let (slot, original) = self.begin_finish(plan, ask, original).await?;
        if let Err(failure) = self.guard(slot, plan, ask, &original).await {
            self.end_finish(slot).await;
            return Err(failure);
        }
        let at = self.held_at(slot)?;
        self.held[at].keeps = keeps;
        let server = &mut self.held[at].server;
        request::execute(&mut server.out, portal_of(plan), 0)?;
        server.inflight.push(Owed::Execute(Audience::Client));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Router));
        let pumped = self.pump_unplaced(at).await;
        let seen = pumped?;
        if seen.error {
            self.shared.metrics.error(seen.sqlstate(), "client");
            self.end_finish(slot).await;
            return Err(Failure::Reported);
        }
        self.held[at].server.origins = original.origins;
        self.held[at].finishing = Finishing::Cursor { depth: self.tx.depth(), hold: cursor.hold };
        self.cursors.insert(cursor.name.clone(), slot);
        if !self.tx.is_open()
            && let Err(failure) = self.keep_cursor(slot).await
        {
            self.end_finish(slot).await;
            return Err(failure);
        }
        Ok(())
    }

    /// `42P03` where the session has a cursor or portal of this name, wherever.
    async fn check_new_cursor(&mut self, name: &str) -> Result<(), Failure> {
        let portal = !name.is_empty() && self.statements.find_portal(name.as_bytes()).is_some();
        if portal || self.has_other_cursor(name, None).await? { Err(cursor_exists(name).into()) } else { Ok(()) }
    }

    /// The same for a portal of the protocol, before a server is told of it.
    pub(super) async fn check_new_portal(&mut self, name: &[u8]) -> Result<(), Failure> {
        if let Err(fault) = self.statements.check_new_portal(name) {
            self.settle_parse().await?;
            return Err(fault.into());
        }
        let name = match std::str::from_utf8(name) {
            Ok(name) if !self.cursors.is_empty() && self.cursors.contains_key(name) => name,
            _ => return Ok(()),
        };
        self.settle_parse().await?;
        if self.has_other_cursor(name, None).await? { Err(cursor_exists(name).into()) } else { Ok(()) }
    }

    /// Whether a cursor of this name is elsewhere than on `shard`, which knows its own.
    pub(super) async fn has_other_cursor(&mut self, name: &str, shard: Option<ShardId>) -> Result<bool, Failure> {
        match self.cursors.get(name).copied() {
            Some(other) if Some(other) != shard => self.has_cursor(other, name).await,
            _ => Ok(false),
        }
    }

    /// Whether this connection has a cursor of this name.
    pub(super) async fn has_cursor(&mut self, shard: ShardId, name: &str) -> Result<bool, Failure> {
        let Some(at) = self.held.position(shard) else { return Ok(false) };
        if shard.is_combine() {
            return Ok(true);
        }
        // Its answer is ours alone.
        self.leave_open().await?;
        self.park_runs().await?;
        let sql = format!("SELECT FROM pg_catalog.pg_cursors WHERE name = {}", quote_literal(name));
        Ok(!self.held[at].server.query(&sql).await?.is_empty())
    }

    /// Before a cursor is declared on a shard.
    pub(super) async fn check_cursor_of_shard(&mut self, kind: &StatementKind, shard: ShardId) -> Result<(), Failure> {
        let StatementKind::Declare { cursor, .. } = kind else { return Ok(()) };
        let portal = self.statements.portal(cursor.as_bytes());
        let portal = portal.is_ok_and(|portal| !matches!(portal.place, Place::Server(of) if of == shard));
        match portal || self.cursors.contains_key(cursor) && self.has_other_cursor(cursor, Some(shard)).await? {
            true => Err(cursor_exists(cursor).into()),
            false => Ok(()),
        }
    }

    /// After a CLOSE on `shard`: the connection of the cursor that it closed goes back.
    pub(super) async fn after_close(&mut self, kind: &StatementKind, shard: ShardId) -> Result<(), Failure> {
        let StatementKind::CloseCursor(Some(name)) = kind else { return Ok(()) };
        self.take_portal(name.as_bytes()).await?;
        if !shard.is_combine() {
            return Ok(());
        }
        if self.batch.open.is_some() {
            // Its answer is still to come.
            self.leave_open().await?;
        }
        self.end_finish(shard).await;
        Ok(())
    }

    /// Close of a cursor that was declared in SQL.
    pub(super) async fn close_cursor(&mut self, shard: ShardId, name: &[u8]) -> Result<(), Failure> {
        if let Ok(name) = std::str::from_utf8(name) {
            self.cursors.remove(name);
        }
        if self.held.position(shard).is_none() {
            self.answer(reply::CLOSE_COMPLETE);
            return Ok(());
        }
        let at = self.open(shard).await?;
        let server = &mut self.held[at].server;
        request::close(&mut server.out, request::Target::Portal, name)?;
        server.inflight.push(Owed::Close(Audience::Client));
        if shard.is_combine() {
            // Its answer is still to come.
            self.leave_open().await?;
            self.end_finish(shard).await;
        }
        Ok(())
    }

    /// The connections of cursors that were declared when there were at least so many savepoints.
    fn cursor_slots(&self, savepoints: usize) -> Vec<ShardId> {
        let deep = |finishing| matches!(finishing, Finishing::Cursor { depth, .. } if depth >= savepoints);
        self.held.iter().filter(|held| deep(held.finishing)).map(|held| held.shard).collect()
    }

    /// ROLLBACK TO the savepoint before which there were `depth` savepoints, itself counted: cursors and portals that were made behind
    /// it are gone.
    pub(super) async fn forget_cursors(&mut self, depth: usize) {
        let slots = self.cursor_slots(depth);
        self.end_all_finishes(&slots).await;
        for portal in self.statements.take_portals(depth) {
            self.close_place(portal.place).await;
        }
    }

    /// After RELEASE: what was declared behind the savepoint belongs to what is around it.
    pub(super) fn keep_cursors(&mut self) {
        let around = self.tx.depth();
        self.statements.keep_portals(around);
        for held in self.held.iter_mut() {
            if let Finishing::Cursor { depth, .. } = &mut held.finishing {
                *depth = (*depth).min(around);
            }
        }
    }
}

/// The columns of a cursor are described by the connection that has it: there must be none of an input's row type, which is not that of
/// its table.
pub(super) async fn check_cursor_columns(
    server: &mut Backend,
    client: &mut Client,
    query: &str,
    original: &Original,
    copies: &mut Copies,
) -> Result<(), Halt> {
    server.parse(b"", query.as_bytes(), &original.parameters)?;
    server.inflight.push(Owed::Parse(Audience::Router));
    request::describe(&mut server.out, request::Target::Statement, b"")?;
    server.inflight.push(Owed::DescribeStatement(Audience::Client));
    server.out.extend_from_slice(request::SYNC);
    server.inflight.push(Owed::Sync(Audience::Client));
    let rows: Bytes = match description(server, client, Hears::Nothing, Some(copies)).await? {
        Ok((_, rows)) => rows,
        Err(error) => return Err(ScatterError::Shard(without_position(&error)).into()),
    };
    if rows.first() != Some(&b'T') {
        return Ok(());
    }
    let columns = read_row_description(rows.get(HEADER..).unwrap_or_default())?;
    let users: Vec<String> =
        columns.iter().filter(|c| c.type_oid >= FIRST_NORMAL_OID).map(|c| c.type_oid.to_string()).collect();
    if users.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "SELECT FROM pg_catalog.pg_type WHERE oid IN ({}) AND typnamespace = pg_catalog.pg_my_temp_schema()",
        users.join(", ")
    );
    if server.query(&sql).await?.is_empty() {
        return Ok(());
    }
    Err(Fault::unsupported(
        "whole rows of a table in a cursor over several shards are not supported",
        "the rows are put together on another table, whose row type has another OID",
        "Select the columns.",
    )
    .into())
}

pub(super) fn cursor_exists(name: &str) -> Fault {
    Fault::new(SqlState::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists"))
}
