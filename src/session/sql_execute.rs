//! EXECUTE in SQL, by itself, in EXPLAIN and in CREATE TABLE AS: planned as a Bind of the statement that it names.

use std::sync::Arc;

use bytes::Bytes;

use crate::backend::inflight::{Audience, Owed};
use crate::exec::forward::NO_POSITION;
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;
use crate::metrics::Route;
use crate::plan::{Access, Plan, PlanKind};
use crate::session::control::is_local;
use crate::session::prepared::{ClientStatement, Place};
use crate::session::run::{Ask, How};
use crate::session::set_config;
use crate::session::sql_arguments::bind_body;
use crate::session::sql_prepare::is_query;
use crate::session::{Failure, Session};
use crate::sql::Analysis;
use crate::sql::template::{Slot, SlotKind};
use crate::sql::utility::cursor::Cursor;
use crate::sql::utility::{Execution, StatementKind, execution, literal_arguments};
use crate::wire::frame::BindView;
use crate::wire::reply::Column;
use crate::wire::request;

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
        let Call { mut statement, mut bind } = self.call(text, &found, &[]).await?;
        if statement.analysis.closed && self.wait_for_moves().await? {
            Call { statement, bind } = self.call(text, &found, &[]).await?;
        }
        if is_local(&statement.analysis.kind) {
            let text = set_config::local_text(&statement, &BindView::read(&bind)?.parameters)?;
            self.scan_one(&text)?;
            let rows = self.run_local(&text, &statement.analysis, true).await?.unwrap_or_default();
            self.note_route(Route::Local, 0);
            let description = rows.describe(&[])?;
            self.client.out.extend_from_slice(&description);
            rows.put_rows(&mut self.client.out, &[])?;
            return Ok(true);
        }
        self.check_sequences(&statement.analysis)?;
        let mut plan = self.plan_bound(&statement, &BindView::read(&bind)?.parameters);
        self.keep_pace().await?;
        if let PlanKind::Draw(draw) = &plan.kind {
            let draw = Arc::clone(draw);
            (statement, plan) = self.drawn_bound(&statement, &bind, &draw).await?;
        }
        let plan = self.look_up(plan).await?;
        self.note_plan(&plan);
        self.note_plan_sequences(&statement.analysis, &plan);
        if is_finished(&plan) && statement.described().is_none() {
            let (parameters, rows) = self.description_of(&statement).await?;
            statement.set_described(parameters, rows);
        }
        let columns_added = self.columns_added_by(&plan);
        let ask = Ask::Bound { statement: &statement, bind: &bind, columns_added, how: How::Described };
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
        self.note_definition(&statement.analysis, plan.one_shard());
        done.map(|()| true)
    }

    /// On one shard, as a statement that may be a transaction of ours.
    pub(super) async fn run_call(
        &mut self,
        shard: ShardId,
        access: Access,
        analysis: &Analysis,
        ask: &Ask<'_>,
    ) -> Result<(), Failure> {
        let at = self.enlist(shard).await?;
        self.held[at].note_pin(analysis.pin);
        self.note_code(at, analysis, ask.statement().0);
        self.held[at].note_unlocks(analysis.unlocks);
        self.run_for_itself(shard, access, analysis, ask).await
    }

    /// The statement that an EXECUTE runs, put in the place of the EXECUTE where something stands around it, and its values.
    pub(super) async fn call(&mut self, text: &str, found: &Execution, formats: &[i16]) -> Result<Call, Failure> {
        self.see_own_changes().await?;
        let mut named = self.statement_named(&found.name)?;
        if self.see_temporaries(&named.analysis).await? {
            named = self.statement_named(&found.name)?;
        }
        let read = Arc::clone(&named.text);
        self.heed_strings(&read).await?;
        // set_config takes texts, which mean the same under any settings.
        if !is_local(&named.analysis.kind) && self.has_other_literals(&named) {
            return Err(other_settings().into());
        }
        self.keep_promise_now(&named).await?;
        let types = self.argument_types(&named)?;
        let literals = match self.scope.standard_strings() {
            // What the home shard would print of them could be read as another value. All read what is written alike.
            true => text
                .get(found.arguments.clone())
                .and_then(|arguments| literal_arguments(arguments, &types, self.inexact_text().is_some())),
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
        let bind = bind_body(&values, formats)?;
        let told = self.with_moments(&statement, &bind).await?;
        Ok(Call { statement, bind: told.unwrap_or(bind) })
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

    /// Whether literals of the statement were read under settings that may have made other values of them.
    pub(super) fn has_other_literals(&self, statement: &ClientStatement) -> bool {
        let (then, now) = (statement.meaning, self.meaning);
        if then == now {
            return false;
        }
        // What `= NULL` is.
        if then.nulls != now.nulls && statement.text.to_ascii_lowercase().contains("null") {
            return true;
        }
        let whole = then.others != now.others || then.who != now.who && may_name_objects(&statement.text);
        let times = then.times != now.times;
        let text = |slot: &Slot| statement.text.get(slot.start as usize..slot.end as usize);
        statement.slots.iter().any(|slot| match slot.kind {
            SlotKind::Integer | SlotKind::Number => false,
            SlotKind::String | SlotKind::EscapeString | SlotKind::DollarString | SlotKind::Other => {
                whole || times && text(slot).is_none_or(may_be_time)
            }
        })
    }

    /// The portal of an EXECUTE becomes that of the statement that it runs.
    pub(super) async fn expand_portal(&mut self, name: &[u8]) -> Result<(), Failure> {
        let portal = self.statements.portal(name)?;
        let (outer, formats) = (Arc::clone(&portal.statement), portal.formats.clone());
        let unread = || Fault::new(SqlState::INTERNAL_ERROR, "an EXECUTE that the server alone could read");
        let found = execution(&outer.text).ok_or_else(unread)?;
        let Call { statement, bind } = self.call(&outer.text, &found, &formats).await?;
        if is_local(&statement.analysis.kind) {
            let text = set_config::local_text(&statement, &BindView::read(&bind)?.parameters)?;
            let portal = self.statements.portal(name)?;
            portal.place = Place::Local(text);
            portal.statement = statement;
            return Ok(());
        }
        self.check_sequences(&statement.analysis)?;
        let plan = self.plan_bound(&statement, &BindView::read(&bind)?.parameters);
        self.keep_pace().await?;
        let shard = match &plan.kind {
            PlanKind::Single(shard) if self.needs_time(*shard, &statement.analysis) => {
                self.check_binary(*shard, &statement, &bind).await?;
                None
            }
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
                self.check_binary(shard, &statement, &bind).await?;
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

/// Whether a literal may be a date, time or interval. Words alone are none, but for some.
fn may_be_time(literal: &str) -> bool {
    const WORDS: [&str; 7] = ["now", "today", "tomorrow", "yesterday", "epoch", "infinity", "allballs"];
    let lower = literal.to_ascii_lowercase();
    lower.bytes().any(|byte| byte.is_ascii_digit() || byte == b'\\') || WORDS.iter().any(|word| lower.contains(word))
}

/// Whether a literal may be the name of a table, function or type, which is looked for in the schemas that the role may use.
fn may_name_objects(text: &str) -> bool {
    const PARTS: [&str; 13] = [
        "regclass",
        "regcoll",
        "regconfig",
        "regdict",
        "regnamespace",
        "regoper",
        "regproc",
        "regrole",
        "regtype",
        "nextval",
        "currval",
        "setval",
        "pg_",
    ];
    let lower = text.to_ascii_lowercase();
    PARTS.iter().any(|part| lower.contains(part))
}

pub(super) fn other_settings() -> Fault {
    Fault::unsupported(
        "the prepared statement was made under other settings",
        "A literal in it may mean something else under the settings that the session has now.",
        "Prepare the statement again.",
    )
}

/// Whether a Postgres finishes the statement, so that its description must be known.
pub(super) fn is_finished(plan: &Plan) -> bool {
    match &plan.kind {
        PlanKind::Finish(_) | PlanKind::Deliver(_) | PlanKind::Supply(_) | PlanKind::Claim(_) | PlanKind::Locked(_) => {
            true
        }
        PlanKind::Explain(explain) => is_finished(&explain.plan),
        PlanKind::Refuse(_)
        | PlanKind::Single(_)
        | PlanKind::Any
        | PlanKind::Broadcast(_)
        | PlanKind::Each(_)
        | PlanKind::CreateAs(_)
        | PlanKind::Stamp(_)
        | PlanKind::Scatter { .. }
        | PlanKind::Split { .. }
        | PlanKind::CopyIn(_)
        | PlanKind::Lookup(_)
        | PlanKind::Draw(_) => false,
    }
}

/// As Postgres checks it when a portal is bound; what returns no rows has any formats.
pub(super) fn check_formats(formats: &[i16], columns: Option<usize>) -> Result<(), Fault> {
    let Some(columns) = columns else { return Ok(()) };
    if formats.len() <= 1 || formats.len() == columns {
        return Ok(());
    }
    let message = format!("bind message has {} result formats but query has {columns} columns", formats.len());
    Err(Fault::new(SqlState::PROTOCOL_VIOLATION, message))
}
