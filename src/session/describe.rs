//! Describe: columns and parameters as one Postgres tells them, wherever the rows come from.

use crate::backend::inflight::{Audience, Owed};
use crate::exec::columns::{describe_with_formats, visible};
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::plan::combine::Combine;
use crate::session::control::is_local;
use crate::session::execute::cannot_be_run;
use crate::session::prepared::{ClientStatement, Place};
use crate::session::simple::aborted;
use crate::session::{Failure, Session};
use crate::sql::utility::StatementKind;
use crate::sql::utility::fetch::Fetch;
use crate::types::oid;
use crate::wire::frame::{Fields, Frame};
use crate::wire::{reply, request};
use bytes::BytesMut;
use std::sync::Arc;

/// What was told of a statement before it is known what it is now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Promised {
    Nothing,
    Parameters,
    /// No rows come back.
    All,
}

impl Session {
    pub(super) async fn describe(&mut self, frame: &Frame) -> Result<(), Failure> {
        let (what, name) = target(frame)?;
        match what {
            b'S' => {
                self.see_own_changes().await?;
                let mut statement = self.current_or_settle(name).await?;
                if statement.analysis.closed && self.wait_for_moves().await?
                    || self.see_temporaries(&statement.analysis).await?
                {
                    statement = self.current(name)?;
                }
                self.describe_statement(&statement).await
            }
            _ => self.describe_portal(name).await,
        }
    }

    pub(super) async fn describe_statement(&mut self, statement: &Arc<ClientStatement>) -> Result<(), Failure> {
        let kind = &statement.analysis.kind;
        if is_local(kind) || *kind == StatementKind::Empty {
            self.settle_parse().await?;
            let mut out = BytesMut::new();
            reply::parameter_description(&mut out, &local_parameters(statement))?;
            match self.local_columns(kind)? {
                Some(rows) => out.extend_from_slice(&rows.describe(&[])?),
                None => out.extend_from_slice(reply::NO_DATA),
            }
            self.answer(&out);
            return Ok(());
        }
        if let StatementKind::Execute(_) = kind {
            self.settle_parse().await?;
            let mut out = BytesMut::new();
            reply::parameter_description(&mut out, &statement.types)?;
            match self.columns_of_execute(statement).await? {
                Some(columns) => out.extend_from_slice(&describe_with_formats(&columns, &[])?),
                None => out.extend_from_slice(reply::NO_DATA),
            }
            self.answer(&out);
            return Ok(());
        }
        if self.own_portal(&statement.text, kind).is_some() {
            self.settle_parse().await?;
            let rows = self.description_on_portal(&statement.text, kind, &[]).await?;
            let mut out = BytesMut::new();
            reply::parameter_description(&mut out, &statement.types)?;
            out.extend_from_slice(&rows);
            self.answer(&out);
            return Ok(());
        }
        if let Some(plan) = self.foreign_plan(statement) {
            self.settle_parse().await?;
            let promised = self.answer_promised(statement)?;
            if promised == Promised::All {
                return Ok(());
            }
            let (parameters, rows) = self.describe_foreign(statement, &plan).await?;
            if promised == Promised::Nothing {
                self.answer(&parameters);
            }
            self.answer(&rows);
            return Ok(());
        }
        self.check_describes(statement)?;
        let parsing = self.parsing(statement).await?;
        let shard = self.shard_parsing(statement, &parsing).await?;
        let at = self.open_parsing(shard, self.servers_of_transaction(), statement, &parsing).await?;
        if let Some(name) = parsing.clone().filter(|name| !name.is_empty()) {
            let (parameters, rows) = self.learn_on(at, statement, name).await?;
            self.answer(&parameters);
            self.answer(&rows);
            return Ok(());
        }
        let promised = if parsing.is_none() { self.answer_promised(statement)? } else { Promised::Nothing };
        if promised == Promised::All {
            return Ok(());
        }
        if promised == Promised::Parameters {
            let def = self.known_on(at, statement, None).await?;
            let unknown = || Fault::new(SqlState::INTERNAL_ERROR, "a statement was not described");
            let (_, rows) = def.description().ok_or_else(unknown)?;
            self.answer(&rows);
            return Ok(());
        }
        let def = self.known_on(at, statement, parsing).await?;
        let server = &mut self.held[at].server;
        request::describe(&mut server.out, request::Target::Statement, def.name.as_bytes())?;
        server.inflight.push(Owed::DescribeStatement(Audience::Client));
        Ok(())
    }

    /// The part of a description that is told whatever has become of the statement: what is wrong with it now comes behind what stays.
    fn answer_promised(&mut self, statement: &ClientStatement) -> Result<Promised, Fault> {
        let Some(promise) = statement.promise().filter(|_| !statement.is_kept()) else { return Ok(Promised::Nothing) };
        let mut out = BytesMut::new();
        reply::parameter_description(&mut out, &promise.parameters)?;
        self.answer(&out);
        if promise.columns.is_some() {
            return Ok(Promised::Parameters);
        }
        self.answer(reply::NO_DATA);
        Ok(Promised::All)
    }

    /// What has columns is not described in a transaction that has failed, perhaps of something that no server knows of.
    fn check_describes(&self, statement: &ClientStatement) -> Result<(), Fault> {
        let has_columns = || Ok::<_, Fault>(statement.promised()?.is_some_and(|promise| promise.columns.is_some()));
        if self.tx.has_failed() && has_columns()? { Err(aborted()) } else { Ok(()) }
    }

    /// The shard of a cursor that was declared in SQL: to Postgres it is a portal like any other.
    pub(super) fn sql_cursor(&mut self, name: &[u8]) -> Option<ShardId> {
        if name.is_empty() || self.cursors.is_empty() || self.statements.find_portal(name).is_some() {
            return None;
        }
        self.cursors.get(std::str::from_utf8(name).ok()?).copied()
    }

    pub(super) async fn describe_portal(&mut self, name: &[u8]) -> Result<(), Failure> {
        if self.batch.pending_parse.is_some() {
            self.settle_parse().await?;
        }
        if let Some(shard) = self.sql_cursor(name) {
            let at = self.open(shard).await?;
            let server = &mut self.held[at].server;
            request::describe(&mut server.out, request::Target::Portal, name)?;
            server.inflight.push(Owed::DescribePortal(Audience::Client));
            return Ok(());
        }
        let portal = self.statements.portal(name)?;
        let statement = Arc::clone(&portal.statement);
        let formats = portal.formats.clone();
        let combine = match &portal.place {
            Place::Server(shard) => {
                let shard = *shard;
                self.check_describes(&statement)?;
                if self.tx.has_failed() && statement.promised()?.is_some() {
                    // Of no columns, and its server may have let it go.
                    self.answer(reply::NO_DATA);
                    return Ok(());
                }
                let at = self.open(shard).await?;
                self.check_unnamed(name, at)?;
                let server = &mut self.held[at].server;
                request::describe(&mut server.out, request::Target::Portal, name)?;
                server.inflight.push(Owed::DescribePortal(Audience::Client));
                return Ok(());
            }
            Place::Local(_) => {
                match self.local_columns(&statement.analysis.kind)? {
                    Some(rows) => {
                        let description = rows.describe(&formats)?;
                        self.answer(&description);
                    }
                    None => self.answer(reply::NO_DATA),
                }
                return Ok(());
            }
            Place::OfPortal(text) => {
                let text = Arc::clone(text);
                let description = self.description_on_portal(&text, &statement.analysis.kind, &formats).await?;
                self.answer(&description);
                return Ok(());
            }
            Place::Failed => return Err(cannot_be_run(name).into()),
            Place::Execute | Place::Router { .. } | Place::Running(_) | Place::Finishing(_) | Place::Finished => {
                Combine::CONCAT
            }
        };
        let columns = self.columns_of_execute(&statement).await?;
        match columns {
            Some(_) if self.tx.has_failed() => return Err(aborted().into()),
            Some(columns) => {
                let description = describe_with_formats(&visible(&combine, &columns), &formats)?;
                self.answer(&description);
            }
            None => self.answer(reply::NO_DATA),
        }
        Ok(())
    }

    /// What a FETCH, MOVE or CLOSE of another portal returns.
    async fn description_on_portal(
        &mut self,
        text: &str,
        kind: &StatementKind,
        formats: &[i16],
    ) -> Result<BytesMut, Failure> {
        let fetches = Fetch::parse(text).is_some_and(|fetch| !fetch.is_move);
        let columns = match self.own_portal(text, kind) {
            Some(portal) if fetches => self.columns_of_portal(&portal).await?,
            Some(_) | None => None,
        };
        match columns {
            Some(columns) => Ok(describe_with_formats(&columns, formats)?),
            None => Ok(BytesMut::from(reply::NO_DATA)),
        }
    }

    /// The result columns of a statement as one Postgres describes it, asked once and remembered.
    pub(super) async fn columns_of(
        &mut self,
        statement: &Arc<ClientStatement>,
    ) -> Result<Option<Vec<reply::Column>>, Failure> {
        let known = match self.foreign_plan(statement) {
            Some(plan) => Some(self.describe_foreign(statement, &plan).await?),
            None => statement.described(),
        };
        let description = match known {
            Some((_, rows)) => rows,
            None => {
                let shard = self.shard_for_describe(statement).await?;
                let at = self.open(shard).await?;
                let (_, (parameters, rows)) = self.describe_on(at, statement, None).await?;
                statement.set_described(parameters, rows.clone());
                rows
            }
        };
        Ok(crate::session::promise::columns(&description)?)
    }
}

/// The types of the parameters of what the router answers.
pub(super) fn local_parameters(statement: &ClientStatement) -> Vec<Oid> {
    let parameters = match &statement.analysis.kind {
        StatementKind::SetConfig(query) => &query.parameters[..],
        StatementKind::Placement(_) => &[],
        _ => return statement.types.to_vec(),
    };
    let declared = |index: usize| statement.types.get(index).copied().filter(|of| ![0, oid::UNKNOWN].contains(of));
    let own = |index: usize| parameters.get(index).copied().unwrap_or(oid::TEXT);
    let count = statement.types.len().max(usize::from(statement.analysis.parameters));
    (0..count).map(|index| declared(index).unwrap_or_else(|| own(index))).collect()
}

/// Kind and name in Describe and Close.
pub fn target(frame: &Frame) -> Result<(u8, &[u8]), Fault> {
    let mut fields = Fields::new(frame.body());
    let what = fields.u8()?;
    let name = fields.name()?;
    fields.end()?;
    if !matches!(what, b'S' | b'P') {
        let message = if frame.tag == b'D' { "DESCRIBE" } else { "CLOSE" };
        return Err(Fault::new(SqlState::PROTOCOL_VIOLATION, format!("invalid {message} message subtype {what}")));
    }
    Ok((what, name))
}
