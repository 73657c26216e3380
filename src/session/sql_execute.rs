//! EXECUTE in SQL, by itself, in EXPLAIN and in CREATE TABLE AS: planned as a Bind of the statement that it names. The home shard makes
//! values of arguments that are more than literals.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::backend::inflight::{Audience, Owed};
use crate::exec::forward::NO_POSITION;
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::plan::combine::Combine;
use crate::plan::{Access, Plan, PlanKind, ShardSql};
use crate::session::prepared::{ClientStatement, Place};
use crate::session::promise::{Description, parameter_types};
use crate::session::run::Ask;
use crate::session::sql_prepare::{is_query, unknown_types};
use crate::session::{Failure, Session};
use crate::sql::Analysis;
use crate::sql::outcome::Outcome;
use crate::sql::utility::cursor::Cursor;
use crate::sql::utility::{Execution, StatementKind, execution, literal_arguments};
use crate::types::oid;
use crate::wire::frame::BindView;
use crate::wire::reply::Column;
use crate::wire::{encode, request};

/// What an EXECUTE comes to.
pub(super) struct Call {
    pub statement: Arc<ClientStatement>,
    /// The body of a Bind message.
    pub bind: Bytes,
}

/// Whether the statement is an EXECUTE, or one around an EXECUTE.
pub(super) fn executes(kind: &StatementKind) -> bool {
    matches!(kind, StatementKind::Execute(_) | StatementKind::AroundExecute(_))
}

impl Session {
    /// EXECUTE in a simple Query. False: no server could read it either, and one says so in its words.
    pub(super) async fn run_execute(&mut self, text: &str) -> Result<bool, Failure> {
        let Some(found) = execution(text) else { return Ok(false) };
        let Call { statement, bind } = self.call(text, &found, &[]).await?;
        let plan = self.plan_bound(&statement, &BindView::read(&bind)?.parameters);
        self.note_plan(&plan);
        if is_finished(&plan) && statement.described().is_none() {
            let (parameters, rows) = self.description_of(&statement).await?;
            statement.set_described(parameters, rows);
        }
        let columns_added = self.columns_added_by(&plan);
        let ask = Ask::Bound { statement: &statement, bind: &bind, columns_added, describe: true };
        let offset = std::mem::replace(&mut self.offset, NO_POSITION);
        let done = match &plan.kind {
            PlanKind::Single(shard) => match self.at_cursor(&statement.analysis.kind, *shard).await {
                Ok(shard) => self.run_call(shard, plan.access, &statement.analysis, &ask).await,
                Err(failure) => Err(failure),
            },
            PlanKind::Any => self.run_call(self.any_shard(), plan.access, &statement.analysis, &ask).await,
            _ => self.run_multi(&plan, &statement.analysis, &ask).await,
        };
        self.offset = offset;
        let shard = if let PlanKind::Single(shard) = plan.kind { Some(shard) } else { None };
        self.note_definition(&statement.analysis, shard);
        done.map(|()| true)
    }

    async fn run_call(
        &mut self,
        shard: ShardId,
        access: Access,
        analysis: &Analysis,
        ask: &Ask<'_>,
    ) -> Result<(), Failure> {
        let at = self.enlist(shard).await?;
        self.held[at].note_pin(analysis.pin);
        self.run_parts(&[(shard, ShardSql::AsWritten)], &Combine::CONCAT, None, access, ask).await
    }

    /// The statement that an EXECUTE runs, put in the place of the EXECUTE where something stands around it, and its values.
    pub(super) async fn call(&mut self, text: &str, found: &Execution, formats: &[i16]) -> Result<Call, Failure> {
        let named = self.statement_named(&found.name)?;
        if self.has_other_literals(&named) {
            return Err(other_settings().into());
        }
        self.keep_promise_now(&named).await?;
        let types = self.argument_types(&named)?;
        let literals = match self.scope.standard_strings() {
            true => text.get(found.arguments.clone()).and_then(|arguments| literal_arguments(arguments, &types)),
            false => None,
        };
        let values = match literals {
            Some(values) => values,
            None => self.evaluate(text, found, &named, &types).await?,
        };
        let statement = match text.get(..found.whole.start).filter(|before| !before.trim().is_empty()) {
            Some(_) if found.creates && !is_query(&named) => {
                return Err(Fault::new(SqlState::WRONG_OBJECT_TYPE, "prepared statement is not a SELECT").into());
            }
            Some(before) => self.around(before, &named, text.get(found.whole.end..).unwrap_or_default())?,
            None => named,
        };
        Ok(Call { statement, bind: bind_body(&values, formats)? })
    }

    /// EXPLAIN or CREATE TABLE AS of the statement itself.
    fn around(
        &mut self,
        before: &str,
        named: &Arc<ClientStatement>,
        after: &str,
    ) -> Result<Arc<ClientStatement>, Failure> {
        if Cursor::new(after).accept_all(&["with", "no", "data"]) {
            // Its command tag is another than that of the same statement without EXECUTE.
            return Err(Fault::unsupported(
                "CREATE TABLE AS EXECUTE WITH NO DATA is not supported",
                "The statement stands in the place of the EXECUTE.",
                "Write the query itself, or LIMIT 0 in the prepared statement.",
            )
            .into());
        }
        let query = Cursor::new(&named.text).rest(0).unwrap_or_default();
        let text: Arc<str> = format!("{before}{query}\n{after}").into();
        self.scan_one(&text)?;
        let analysis = self.analysis(&text);
        Ok(self.client_statement(text, named.types.clone(), analysis))
    }

    /// The types of a statement's parameters as the shard that has its tables tells them.
    fn argument_types(&mut self, statement: &Arc<ClientStatement>) -> Result<Box<[Oid]>, Failure> {
        if let Some(types) = statement.arguments() {
            return Ok(types);
        }
        let unknown = || Fault::new(SqlState::INTERNAL_ERROR, "a statement was not described before it ran");
        let types = parameter_types(&statement.described().ok_or_else(unknown)?.0)?;
        statement.set_arguments(types.clone());
        Ok(types)
    }

    /// How a shard describes a statement with these types declared; `None`: it cannot.
    pub(super) async fn found_description(
        &mut self,
        shard: ShardId,
        query: &str,
        declared: &[Oid],
    ) -> Result<Option<Description>, Failure> {
        let at = self.enlist(shard).await?;
        let server = &mut self.held[at].server;
        request::parse(&mut server.out, b"", query.as_bytes(), declared)?;
        server.inflight.push(Owed::Parse(Audience::Router));
        request::describe(&mut server.out, request::Target::Statement, b"")?;
        server.inflight.push(Owed::DescribeStatement(Audience::Client));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Client));
        match crate::session::finish::description(server, &mut self.client, None).await {
            Ok(described) => Ok(described.ok()),
            Err(error) => Err(self.scatter_failure(error, false).await),
        }
    }

    /// The arguments are expressions: the home shard, or that of a schema whose functions they call, makes values of the parameters'
    /// types of them, as texts.
    async fn evaluate(
        &mut self,
        text: &str,
        found: &Execution,
        named: &ClientStatement,
        types: &[Oid],
    ) -> Result<Vec<Option<String>>, Failure> {
        if !types.is_empty() && !self.texts_are_exact() {
            return Err(Fault::unsupported(
                "EXECUTE with expressions as arguments is not supported under these settings",
                "Their values go as text, and as DateStyle and extra_float_digits are set, texts may lose digits or time zones.",
                "Set DateStyle to ISO and extra_float_digits to 1.",
            )
            .into());
        }
        let analysis = self.check_arguments(text.get(found.arguments.clone()).unwrap_or_default())?;
        let shard = match analysis.as_deref().map(|analysis| &analysis.outcome) {
            Some(Outcome::Shard(shard, _)) => *shard,
            _ => self.view.topology.home,
        };
        // Such a type has the number that the shard of the statement's tables knows.
        if types.iter().any(|of| *of >= oid::FIRST_NORMAL)
            && shard != self.shard_with_tables(&named.analysis.outcome)?
        {
            return Err(unknown_types().into());
        }
        self.leave_open().await?;
        let numbers: Vec<String> = (1..=types.len()).map(|n| format!("${n}")).collect();
        let query = format!("SELECT {}", numbers.join(", "));
        let name = found.name.as_bytes();
        let at = self.enlist(shard).await?;
        let held = &mut self.held[at];
        if let Some(analysis) = analysis {
            held.note_pin(analysis.pin);
            held.wrote |= analysis.access == Access::Write;
        }
        let server = &mut held.server;
        request::parse(&mut server.out, name, query.as_bytes(), types)?;
        server.inflight.push(Owed::Parse(Audience::Router));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Router));
        server.settle().await?;
        let values = server.query(text.get(found.whole.clone()).unwrap_or_default()).await;
        // Unlike DEALLOCATE, this is taken in a failed transaction.
        request::close(&mut server.out, request::Target::Statement, name)?;
        server.inflight.push(Owed::Close(Audience::Router));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Router));
        let closed = server.settle().await;
        server.broken |= closed.is_err();
        if !self.tx.is_open() {
            self.release_idle();
        }
        let before = text.get(..found.whole.start).map_or(0, |before| before.chars().count());
        let moved = self.offset.saturating_add(u32::try_from(before).unwrap_or(u32::MAX));
        Ok(values.map_err(|fault| fault.moved(moved))?.into_iter().next().unwrap_or_default())
    }

    /// Functions in the arguments are looked at as those of any statement.
    fn check_arguments(&mut self, arguments: &str) -> Result<Option<Arc<Analysis>>, Failure> {
        if arguments.trim().is_empty() {
            return Ok(None);
        }
        let query = format!("SELECT {arguments}");
        if !self.scan_one(&query)? {
            return Ok(None);
        }
        let analysis = self.analysis(&query);
        match &analysis.outcome {
            Outcome::Refuse(fault) => Err(fault.clone().into()),
            _ => Ok(Some(analysis)),
        }
    }

    /// Whether literals of the statement were read under settings that may have made other values of them.
    pub(super) fn has_other_literals(&self, statement: &ClientStatement) -> bool {
        use crate::sql::template::SlotKind;
        statement.meaning != self.meaning && statement.slots.iter().any(|slot| slot.kind != SlotKind::Integer)
    }

    /// The portal of an EXECUTE becomes that of the statement that it runs.
    pub(super) async fn expand_portal(&mut self, name: &[u8]) -> Result<(), Failure> {
        let portal = self.statements.portal(name)?;
        let (outer, formats) = (Arc::clone(&portal.statement), portal.formats.clone());
        let unread = || Fault::new(SqlState::INTERNAL_ERROR, "an EXECUTE that the server alone could read");
        let found = execution(&outer.text).ok_or_else(unread)?;
        let Call { statement, bind } = self.call(&outer.text, &found, &formats).await?;
        let plan = self.plan_bound(&statement, &BindView::read(&bind)?.parameters);
        let shard = match &plan.kind {
            PlanKind::Single(shard) => Some(self.at_cursor(&statement.analysis.kind, *shard).await?),
            PlanKind::Any => Some(self.batch.open.unwrap_or_else(|| self.any_shard())),
            PlanKind::Refuse(fault) => {
                self.note_plan(&plan);
                return Err(fault.clone().into());
            }
            _ => None,
        };
        let place = match shard {
            Some(shard) => {
                let (at, def) = self.bind_at(shard, &statement, &plan).await?;
                let server = &mut self.held[at].server;
                request::bind_raw(&mut server.out, name, def.name.as_bytes(), BindView::read(&bind)?.tail)?;
                server.inflight.push(Owed::Bind(Audience::Router));
                Place::Server(shard)
            }
            None => Place::Router { bind, plan: Box::new(plan) },
        };
        let portal = self.statements.portal(name)?;
        portal.statement = statement;
        portal.place = place;
        Ok(())
    }

    /// The columns that an EXECUTE will return, as far as that can be told before it runs.
    pub(super) async fn columns_of_execute(
        &mut self,
        outer: &Arc<ClientStatement>,
    ) -> Result<Option<Vec<Column>>, Failure> {
        let StatementKind::Execute(name) = &outer.analysis.kind else { return self.columns_of(outer).await };
        if self.statements.get(name.as_bytes()).is_err() {
            return Ok(None);
        }
        let statement = self.statement_named(name)?;
        self.columns_of(&statement).await
    }
}

pub(super) fn other_settings() -> Fault {
    Fault::unsupported(
        "the prepared statement was made under other settings",
        "A literal in it may mean something else under the settings that the session has now.",
        "Prepare the statement again.",
    )
}

/// Whether a Postgres finishes the statement, so that its description must be known.
fn is_finished(plan: &Plan) -> bool {
    match &plan.kind {
        PlanKind::Finish(_) => true,
        PlanKind::Explain(explain) => is_finished(&explain.plan),
        PlanKind::Refuse(_)
        | PlanKind::Single(_)
        | PlanKind::Any
        | PlanKind::Broadcast(_)
        | PlanKind::Scatter { .. }
        | PlanKind::Split { .. }
        | PlanKind::CopyIn(_) => false,
    }
}

/// The body of a Bind message of the unnamed portal and statement, with values in text.
fn bind_body(values: &[Option<String>], formats: &[i16]) -> Result<Bytes, Fault> {
    let mut bind = BytesMut::new();
    bind.put_slice(&[0, 0]);
    encode::count16(&mut bind, 0)?;
    encode::count16(&mut bind, values.len())?;
    for value in values {
        encode::value(&mut bind, value.as_deref().map(str::as_bytes))?;
    }
    encode::count16(&mut bind, formats.len())?;
    formats.iter().for_each(|format| bind.put_i16(*format));
    Ok(bind.freeze())
}

/// As Postgres checks it when a portal is bound.
pub(super) fn check_formats(formats: &[i16], columns: Option<&[Column]>) -> Result<(), Fault> {
    let columns = columns.map_or(0, <[Column]>::len);
    if formats.len() <= 1 || formats.len() == columns {
        return Ok(());
    }
    let message = format!("bind message has {} result formats but query has {columns} columns", formats.len());
    Err(Fault::new(SqlState::PROTOCOL_VIOLATION, message))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::session::bind::result_formats;

    #[test]
    fn a_bind_of_arguments_reads_back() {
        let bind = bind_body(&[Some("5".to_owned()), None], &[1, 0]).unwrap();
        let view = BindView::read(&bind).unwrap();
        assert_eq!(view.parameters.len(), 2);
        assert_eq!(view.parameters.get(0).unwrap().1, Some(&b"5"[..]));
        assert_eq!(view.parameters.get(1).unwrap().1, None);
        assert_eq!(result_formats(&bind).unwrap(), [1, 0]);
    }
}
