//! Bind: where a portal runs, by the values of this call.

use crate::backend::Unnamed;
use crate::backend::inflight::{Audience, Owed};
use crate::backend::stats::Count;
use crate::exec::columns::binary_user_type;
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;
use crate::plan::{Inputs, Parameters, Plan, PlanKind};
use crate::session::aside::is_large;
use crate::session::control::is_local;
use crate::session::describe::local_parameters;
use crate::session::execute::may_change_what_is_seen;
use crate::session::prepared::{BoundValues, ClientStatement, Place, Portal};
use crate::session::promise::columns;
use crate::session::set_config;
use crate::session::simple::aborted;
use crate::session::sql_execute::{check_formats, executes, other_settings};
use crate::session::{Failure, Session};
use crate::sql::utility::StatementKind;
use crate::types::oid;
use crate::wire::frame::{BindValues, BindView, Fields, Frame, Malformed};
use crate::wire::reply::Column;
use crate::wire::{reply, request};
use std::sync::Arc;

impl Session {
    pub(super) async fn bind(&mut self, frame: &Frame) -> Result<(), Failure> {
        self.tally.add(Count::Binds, 1);
        let whole;
        let frame = if self.client.rest() == 0 {
            frame
        } else {
            match Box::pin(self.bind_large(frame)).await? {
                None => return Ok(()),
                Some(frame) => {
                    whole = frame;
                    &whole
                }
            }
        };
        let view = match BindView::read(frame.body()) {
            Ok(view) => view,
            Err(fault) => {
                // A Parse before it was good all the same, and the statement is looked for before the values are read.
                self.settle_parse().await?;
                let mut fields = Fields::new(frame.body());
                if let (Ok(_), Ok(name)) = (fields.name(), fields.name()) {
                    self.statements.get(name)?;
                }
                return Err(fault.into());
            }
        };
        self.see_own_changes().await?;
        let mut statement = self.current_or_settle(view.statement).await?;
        if statement.analysis.closed && self.wait_for_moves().await?
            || self.see_temporaries(&statement.analysis).await?
        {
            statement = self.current(view.statement)?;
        }
        // Of values only long lists take time, and others do not have to wait for a turn.
        if (is_large(statement.text.len()) || is_large(frame.bytes.len() / 8))
            && let Err(failure) = Box::pin(self.go_aside()).await
        {
            self.settle_parse().await?;
            return Err(failure);
        }
        self.say_prepared(&statement.text);
        if let Err(fault) = self.take_hint(&statement.text) {
            self.settle_parse().await?;
            return Err(fault.into());
        }
        let used = match statement.analysis.kind {
            // Postgres does not look for parameters in these.
            StatementKind::Prepare(_) | StatementKind::Execute(_) | StatementKind::AroundExecute(_) => 0,
            _ => usize::from(statement.analysis.parameters),
        };
        let required = statement.types.len().max(used);
        if view.parameters.len() != required {
            self.settle_parse().await?;
            return Err(Fault::new(
                SqlState::PROTOCOL_VIOLATION,
                format!(
                    "bind message supplies {} parameters, but prepared statement \"{}\" requires {required}",
                    view.parameters.len(),
                    String::from_utf8_lossy(view.statement),
                ),
            )
            .into());
        }
        self.check_not_failed(&statement.analysis.kind)?;
        // As a Query it passes there, and as a portal it does not; nor does anything whose values would have to be read.
        if (statement.analysis.kind == StatementKind::Empty || required > 0) && self.tx.has_failed() {
            return Err(aborted().into());
        }
        if view.portal.is_empty() {
            self.take_portal(b"").await?;
        }
        self.check_new_portal(view.portal).await?;
        // Not when it is executed: that would use a server which has it without a name.
        if may_change_what_is_seen(&statement) {
            self.begin_bound_before(view.portal).await?;
        }
        let kind = &statement.analysis.kind;
        self.note_fetch(kind);
        if is_local(kind) || *kind == StatementKind::Empty {
            self.settle_parse().await?;
            let formats = result_formats(frame.body())?;
            let (text, plain) = match set_config::local_text(&statement, &view.parameters) {
                Ok(text) => (text, are_plain(&statement, &view.parameters)),
                Err(fault) if fault.code == SqlState::FEATURE_NOT_SUPPORTED => return Err(fault.into()),
                // What is wrong with a value a server tells, and which it is.
                Err(_) => (Arc::clone(&statement.text), false),
            };
            // What cannot be shown is told when it is asked for.
            if formats.len() > 1
                && let Ok(columns) = self.local_columns(kind)
            {
                check_formats(&formats, columns.map(|rows| rows.columns.len()))?;
            }
            self.bind_values(plain, &statement, &view).await?;
            return Ok(self.put_portal(view.portal, Portal::new(statement, formats, Place::Local(text)))?);
        }
        if let Err(failure) = self.check_replicas(&statement.analysis).await {
            self.settle_parse().await?;
            return Err(failure);
        }
        let kind = &statement.analysis.kind;
        if executes(kind) {
            self.settle_parse().await?;
            let formats = result_formats(frame.body())?;
            if formats.len() > 1 {
                let columns = self.columns_of_execute(&statement).await?;
                check_formats(&formats, columns.map(|columns| columns.len()))?;
            }
            self.bind_values(are_plain(&statement, &view.parameters), &statement, &view).await?;
            return Ok(self.put_portal(view.portal, Portal::new(statement, formats, Place::Execute))?);
        }
        if let Some(name) = self.own_portal(&statement.text, kind) {
            self.settle_parse().await?;
            let formats = result_formats(frame.body())?;
            if formats.len() > 1 {
                let columns = self.columns_of_portal(&name).await?;
                check_formats(&formats, columns.map(|columns| columns.len()))?;
            }
            self.bind_values(are_plain(&statement, &view.parameters), &statement, &view).await?;
            let place = Place::OfPortal(Arc::clone(&statement.text));
            return Ok(self.put_portal(view.portal, Portal::new(statement, formats, place))?);
        }
        if let Err(fault) = self.check_sequences(&statement.analysis) {
            self.settle_parse().await?;
            return Err(fault.into());
        }
        let plan = self.plan_bound(&statement, &view.parameters);
        if let Err(failure) = self.keep_pace().await {
            self.settle_parse().await?;
            return Err(failure);
        }
        let single = match &plan.kind {
            PlanKind::Single(shard) => Some(*shard),
            PlanKind::Any => Some(self.batch.open.unwrap_or_else(|| self.any_shard())),
            // A value that is wrong is told when the portal is executed, as Postgres does it.
            PlanKind::Refuse(fault) if fault.code.0.starts_with(b"22") => None,
            PlanKind::Refuse(fault) => {
                self.note_plan(&plan);
                return Err(self.refusal(fault, &statement.text, &statement.types).await);
            }
            PlanKind::Broadcast(_)
            | PlanKind::Each(_)
            | PlanKind::CreateAs(_)
            | PlanKind::Stamp(_)
            | PlanKind::Scatter { .. }
            | PlanKind::Finish(_)
            | PlanKind::Split { .. }
            | PlanKind::Deliver(_)
            | PlanKind::Supply(_)
            | PlanKind::Claim(_)
            | PlanKind::Locked(_)
            | PlanKind::CopyIn(_)
            | PlanKind::Explain(_)
            | PlanKind::Lookup(_)
            | PlanKind::Draw(_) => None,
        };
        if single.is_none_or(|shard| self.needs_time(shard, &statement.analysis)) && self.has_other_literals(&statement)
        {
            // The shards would read its text now, and one Postgres has read it before.
            self.settle_parse().await?;
            return Err(other_settings().into());
        }
        if let Err(fault) = self.check_moments(frame.body()) {
            self.settle_parse().await?;
            return Err(fault.into());
        }
        match single {
            Some(shard) if self.needs_time(shard, &statement.analysis) => {
                return self.bind_timed(shard, &statement, &view, frame, plan).await;
            }
            Some(shard) => {
                let shard = self.at_cursor(&statement.analysis.kind, shard).await?;
                self.check_binary(shard, &statement, frame.body()).await?;
                return self.bind_on(shard, &statement, &view, &plan).await;
            }
            None => {
                self.try_bind(&statement, &view).await?;
                let (mut bind, mut plan) = (frame.bytes.slice(crate::wire::frame::HEADER..), plan);
                if let Some(told) = self.with_moments(&statement, &bind).await? {
                    bind = told;
                    plan = self.plan_bound(&statement, &BindView::read(&bind)?.parameters);
                }
                let place = Place::Router { bind, plan: Box::new(plan) };
                self.put_portal(view.portal, Portal::new(statement, result_formats(frame.body())?, place))
            }
        }
        .map_err(Failure::from)
    }

    /// The BindComplete of a portal that the router will answer: its own, where the values are nothing but texts, else that of a server,
    /// which has the word on them. To that it is an empty statement.
    async fn bind_values(
        &mut self,
        plain: bool,
        statement: &ClientStatement,
        view: &BindView<'_>,
    ) -> Result<(), Failure> {
        // Values are read under a snapshot: to Postgres the transaction has begun to ask.
        self.batch.queried |= !view.parameters.is_empty();
        if plain {
            self.answer(reply::BIND_COMPLETE);
            return Ok(());
        }
        let mut types = local_parameters(statement);
        types.resize(view.parameters.len(), oid::TEXT);
        // The client knows types that users made by the numbers of the home shard.
        let made = types.iter().any(|of| *of >= oid::FIRST_NORMAL);
        let shard = match self.batch.open.filter(|_| !made) {
            Some(open) => open,
            None if made => self.view.topology.home,
            None => self.any_shard(),
        };
        let at = self.open(shard).await?;
        let server = &mut self.held[at].server;
        server.parse(b"", b"", &types)?;
        server.inflight.push(Owed::Parse(Audience::Router));
        request::bind_raw(&mut server.out, view.portal, b"", view.tail)?;
        server.inflight.push(Owed::Bind(Audience::Client));
        request::close(&mut server.out, request::Target::Portal, view.portal)?;
        server.inflight.push(Owed::Close(Audience::Router));
        Ok(())
    }

    /// Refuses results in binary that have the shard's own numbers of types inside, which mean other types to the client.
    pub(super) async fn check_binary(
        &mut self,
        shard: ShardId,
        statement: &Arc<ClientStatement>,
        bind: &[u8],
    ) -> Result<(), Failure> {
        // Who works in the schema of the shard is told its own numbers.
        let Some(numbers) = self.numbers_for(shard) else { return Ok(()) };
        // Where only tables have other numbers no value has one, but for those that are names of the catalog, and rows within others.
        let made = statement.analysis.numbering.made;
        if !numbers.may_differ_in_binary(made) {
            return Ok(());
        }
        let formats = result_formats(bind)?;
        if !formats.contains(&1) {
            return Ok(());
        }
        self.settle_parse().await?;
        let known = statement.definition(&self.shared.registry).description();
        let columns = match known {
            Some((_, rows)) => columns(&rows)?,
            None => self.columns_of(statement).await?,
        };
        let columns = columns.unwrap_or_default();
        let is_binary = |at: usize| matches!(formats[..], [1]) || formats.get(at) == Some(&1);
        let differs = |(at, of): (usize, &Column)| is_binary(at) && numbers.differs_in_binary(of.type_oid, made);
        match columns.iter().enumerate().any(differs) {
            true => Err(binary_user_type().into()),
            false => Ok(()),
        }
    }

    /// A Bind whose portal will run on several shards is tried on one of them: it has the word on what values are valid, and
    /// its BindComplete is the client's.
    pub(super) async fn try_bind(
        &mut self,
        statement: &Arc<ClientStatement>,
        view: &BindView<'_>,
    ) -> Result<(), Failure> {
        if let Some(plan) = self.foreign_plan(statement) {
            self.settle_parse().await?;
            self.describe_foreign(statement, &plan).await?;
            self.answer(reply::BIND_COMPLETE);
            return Ok(());
        }
        let parsing = self.parsing(statement).await?;
        let shard = self.shard_parsing(statement, &parsing).await?;
        let at = self.open_parsing(shard, self.servers_of_transaction(), statement, &parsing).await?;
        let def = self.known_on(at, statement, parsing).await?;
        let server = &mut self.held[at].server;
        // Under the client's name, which errors of values tell. It has no other portal of this name now.
        request::bind_raw(&mut server.out, view.portal, def.name.as_bytes(), view.tail)?;
        server.inflight.push(Owed::Bind(Audience::Client));
        request::close(&mut server.out, request::Target::Portal, view.portal)?;
        server.inflight.push(Owed::Close(Audience::Router));
        self.note_read(statement);
        Ok(())
    }

    /// A portal of one shard that is to be told the time of the transaction when it runs.
    async fn bind_timed(
        &mut self,
        shard: ShardId,
        statement: &Arc<ClientStatement>,
        view: &BindView<'_>,
        frame: &Frame,
        plan: Plan,
    ) -> Result<(), Failure> {
        let kind = &statement.analysis.kind;
        if matches!(kind, StatementKind::Declare { .. } | StatementKind::Copy(_) | StatementKind::Positioned(_)) {
            self.settle_parse().await?;
            return Err(Fault::unsupported(
                "this statement about the transaction's time is not supported in the extended protocol here",
                "the transaction began on another shard, at a moment of its own",
                "Send the statement as a simple Query, or take the time once (SELECT now()) and send it along.",
            )
            .into());
        }
        self.check_binary(shard, statement, frame.body()).await?;
        self.try_bind(statement, view).await?;
        let bind = frame.bytes.slice(crate::wire::frame::HEADER..);
        let place = Place::Router { bind, plan: Box::new(plan) };
        self.put_portal(view.portal, Portal::new(Arc::clone(statement), result_formats(frame.body())?, place))?;
        Ok(())
    }

    pub(super) async fn bind_on(
        &mut self,
        shard: ShardId,
        statement: &Arc<ClientStatement>,
        view: &BindView<'_>,
        plan: &Plan,
    ) -> Result<(), Failure> {
        self.check_cursor_of_shard(&statement.analysis.kind, shard).await?;
        let (at, def) = self.bind_at(shard, statement, plan).await?;
        let held = &mut self.held[at];
        request::bind_raw(&mut held.server.out, view.portal, def.name.as_bytes(), view.tail)?;
        held.server.inflight.push(Owed::Bind(Audience::Client));
        if view.portal.is_empty() {
            held.server.unnamed = Unnamed::Kept;
        }
        self.note_read(statement);
        self.put_portal(view.portal, Portal::new(Arc::clone(statement), Vec::new(), Place::Server(shard)))?;
        self.note_cursor(&statement.analysis.kind, shard);
        Ok(())
    }

    /// A portal of the transaction as it is now.
    pub(super) fn put_portal(&mut self, name: &[u8], portal: Portal) -> Result<(), Fault> {
        self.statements.put_portal(name, Portal { depth: self.tx.depth(), meaning: Some(self.meaning), ..portal })
    }

    pub(super) fn plan_bound(&self, statement: &ClientStatement, values: &BindValues<'_>) -> Plan {
        self.plan_values(statement, &BoundValues { statement, values })
    }

    pub(super) fn plan_values(&self, statement: &ClientStatement, values: &dyn Parameters) -> Plan {
        let inputs = Inputs { text: &statement.text, slots: &statement.slots, parameters: Some(values) };
        self.plan_of(&statement.analysis, &inputs)
    }

    /// The open server has a portal of this batch.
    pub(super) fn mark_bound(&mut self) {
        self.batch.bound = true;
    }
}

/// Whether the values are texts of parameters that take any text.
fn are_plain(statement: &ClientStatement, values: &BindValues<'_>) -> bool {
    let texts = [0, oid::UNKNOWN, oid::TEXT, oid::VARCHAR];
    let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok() && !bytes.contains(&0);
    (0..values.len()).all(|index| {
        statement.types.get(index).is_none_or(|of| texts.contains(of))
            && values.get(index).is_some_and(|(_, value)| value.is_none_or(is_text))
    })
}

/// The result format codes at the end of a Bind message.
pub fn result_formats(body: &[u8]) -> Result<Vec<i16>, Malformed> {
    let mut fields = Fields::new(body);
    fields.cstr()?;
    fields.cstr()?;
    let formats = fields.count()?;
    fields.bytes(formats * 2)?;
    for _ in 0..fields.count()? {
        fields.value()?;
    }
    (0..fields.count()?).map(|_| fields.i16()).collect()
}
