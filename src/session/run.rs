//! What both protocols do with a plan: one server pumped, several servers merged, every server told the same.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::backend::Backend;
use crate::backend::inflight::{Audience, Owed};
use crate::backend::server_fault;
use crate::catalog::numbers::Made;
use crate::catalog::placeholders::Placeholders;
use crate::exec::columns::tables_have_changed;
use crate::exec::forward::{Broken, NO_POSITION, Pumped, Seen, move_position, pump};
use crate::exec::replies::ScatterError;
use crate::exec::scatter::{Answer, Manner, RunEnd, ScatterRun};
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;
use crate::plan::combine::Combine;
use crate::plan::{Access, Plan, PlanKind, ShardSql, Why, Window, texts};
use crate::session::finish::with;
use crate::session::held::Held;
use crate::session::prepared::ClientStatement;
use crate::session::replica::Servers;
use crate::session::two_phase::unknown_outcome;
use crate::session::whereabouts::{MARK, Whereabouts, replaced_in_part};
use crate::session::{Failure, Session, Stop, of_server};
use crate::sql::utility::{self, StatementKind};
use crate::sql::{Analysis, ddl};
use crate::wire::frame::Fields;
use crate::wire::{error_fields, reply, request};

/// What a definition is told that every shard would need more for than it has.
const LACKING: &str = "this definition is not supported over several shards";

fn is_lacking(fault: &Fault) -> bool {
    *fault.message == *LACKING
}

/// Within a transaction of ours or the client's, around the making of a function where the plain tables of its body are not.
const BODIES_OFF: &str = "SET LOCAL check_function_bodies TO off";
const BODIES_ON: &str = "SET LOCAL check_function_bodies TO on";

/// The client's request, in the form in which each of several servers will get it.
pub enum Ask<'a> {
    Query {
        text: &'a str,
    },
    /// Parse, Bind, Describe, Execute, Sync with the values of the client's Bind message.
    Bound {
        statement: &'a ClientStatement,
        bind: &'a [u8],
        columns_added: usize,
        how: How<'a>,
    },
}

/// How the portal of a [`Ask::Bound`] is run on the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How<'a> {
    /// To its end.
    Through,
    /// The same; the client was not told the columns: EXECUTE in a simple Query.
    Described,
    /// Not yet: it gets this name, and whoever asks for its rows executes it. What it sees is of now.
    Named(&'a [u8]),
}

/// What a statement may do on the shards, and on which of their servers.
#[derive(Clone, Copy)]
pub(super) struct Reach {
    pub access: Access,
    pub servers: Servers,
    /// It defines a reference table: who writes one is waited for.
    pub takes_turn: bool,
    /// The definition may turn out to be one of the home shard alone: within the transaction its shards can be taken back to before it.
    pub may_be_homes: bool,
}

impl From<Access> for Reach {
    fn from(access: Access) -> Self {
        Self { access, servers: Servers::Primaries, takes_turn: false, may_be_homes: false }
    }
}

impl Ask<'_> {
    /// The statement as the client wrote it, and the types that it declared for its parameters.
    pub fn statement(&self) -> (&str, &[crate::ids::Oid]) {
        match self {
            Self::Query { text } => (text, &[]),
            Self::Bound { statement, .. } => (&statement.text, &statement.types),
        }
    }

    /// Whether the rows are to be described to the client.
    pub fn describes(&self) -> bool {
        matches!(self, Self::Query { .. } | Self::Bound { how: How::Described, .. })
    }

    /// Queues the request on one server. What it answers for the client is marked so; the rest is ours.
    pub(super) fn put(&self, server: &mut Backend, sql: &ShardSql) -> Result<(), Fault> {
        let comment = server.comment.take();
        match self {
            Self::Query { text } => {
                let text = match sql {
                    // With the comments of the client.
                    ShardSql::AsWritten => Cow::Borrowed(*text),
                    ShardSql::Rewritten { text, .. } | ShardSql::Timed { text, .. } => commented(text, comment),
                };
                request::query(&mut server.out, text.as_bytes())?;
                server.inflight.push(Owed::Query { audience: Audience::Client, ready: Audience::Router });
            }
            Self::Bound { statement, bind, columns_added, how } => {
                let (text, chosen) = match sql {
                    ShardSql::AsWritten => (Cow::Borrowed(&*statement.text), None),
                    ShardSql::Rewritten { text, parameters } | ShardSql::Timed { text, parameters, .. } => {
                        (commented(text, comment), parameters.as_deref())
                    }
                };
                let types: Vec<u32> = match chosen {
                    None => statement.types.to_vec(),
                    Some(chosen) => {
                        chosen.iter().map(|p| statement.types.get(usize::from(*p)).copied().unwrap_or(0)).collect()
                    }
                };
                server.parse(b"", text.as_bytes(), &types)?;
                server.inflight.push(Owed::Parse(Audience::Router));
                let tail = rebind(bind, chosen, *columns_added)?;
                let name = match *how {
                    How::Through | How::Described => {
                        server.bind_own(&tail)?;
                        &b""[..]
                    }
                    How::Named(name) => {
                        request::bind_raw(&mut server.out, name, b"", &tail)?;
                        name
                    }
                };
                server.inflight.push(Owed::Bind(Audience::Router));
                request::describe(&mut server.out, request::Target::Portal, name)?;
                server.inflight.push(Owed::DescribePortal(Audience::Client));
                if name.is_empty() {
                    request::execute(&mut server.out, name, 0)?;
                    server.inflight.push(Owed::Execute(Audience::Client));
                }
                server.out.extend_from_slice(request::SYNC);
                server.inflight.push(Owed::Sync(Audience::Router));
            }
        }
        Ok(())
    }
}

/// The trace context of a statement behind the text that is made of it.
pub(super) fn commented(text: &str, comment: Option<Arc<str>>) -> Cow<'_, str> {
    comment.map_or(Cow::Borrowed(text), |comment| Cow::Owned(format!("{text}{comment}")))
}

/// How many characters before its rows all these texts begin with as the client's does: what reads the same further on may be another row.
fn alike(text: &str, parts: &[(ShardId, ShardSql)]) -> u32 {
    let rows = text.as_bytes().windows(6).position(|word| word.eq_ignore_ascii_case(b"values")).unwrap_or(0);
    let head = text.get(..rows).unwrap_or_default();
    let common = parts.iter().map(|(_, sql)| match sql {
        ShardSql::AsWritten => head.chars().count(),
        ShardSql::Rewritten { text: theirs, .. } | ShardSql::Timed { text: theirs, .. } => {
            head.chars().zip(theirs.chars()).take_while(|(ours, theirs)| ours == theirs).count()
        }
    });
    common.min().map_or(0, |common| u32::try_from(common).unwrap_or(u32::MAX))
}

/// The part of a Bind message after its names, for chosen parameters and with room for columns that we added.
pub(super) fn rebind(bind: &[u8], chosen: Option<&[u16]>, columns_added: usize) -> Result<Bytes, Fault> {
    let mut fields = Fields::new(bind);
    fields.cstr()?;
    fields.cstr()?;
    if chosen.is_none() && columns_added == 0 {
        return Ok(Bytes::copy_from_slice(fields.rest()));
    }
    let formats: Vec<i16> = (0..fields.count()?).map(|_| fields.i16()).collect::<Result<_, _>>()?;
    let values: Vec<Option<&[u8]>> = (0..fields.count()?).map(|_| fields.value()).collect::<Result<_, _>>()?;
    let mut results: Vec<i16> = (0..fields.count()?).map(|_| fields.i16()).collect::<Result<_, _>>()?;
    if results.len() > 1 {
        results.resize(results.len() + columns_added, 0);
    }
    let all: Vec<u16>;
    let chosen = match chosen {
        Some(chosen) => chosen,
        None => {
            all = (0..values.len()).map(|i| i as u16).collect();
            &all
        }
    };
    let mut out = BytesMut::new();
    let format_of = |p: u16| match formats.as_slice() {
        [] => 0,
        [one] => *one,
        each => each.get(usize::from(p)).copied().unwrap_or(0),
    };
    crate::wire::encode::count16(&mut out, chosen.len())?;
    for p in chosen {
        out.extend_from_slice(&format_of(*p).to_be_bytes());
    }
    crate::wire::encode::count16(&mut out, chosen.len())?;
    for p in chosen {
        crate::wire::encode::value(&mut out, values.get(usize::from(*p)).copied().flatten())?;
    }
    crate::wire::encode::count16(&mut out, results.len())?;
    for format in results {
        out.extend_from_slice(&format.to_be_bytes());
    }
    Ok(out.freeze())
}

impl Seen {
    pub fn sqlstate(&self) -> &str {
        self.sqlstate.as_ref().and_then(|code| std::str::from_utf8(code).ok()).unwrap_or("XX000")
    }
}

impl Session {
    /// The same as [`Self::pump_held`] of a text of the router's own: where an error is in it is nowhere in the client's.
    pub(super) async fn pump_unplaced(&mut self, at: usize) -> Result<Seen, Failure> {
        let offset = std::mem::replace(&mut self.offset, NO_POSITION);
        let pumped = self.pump_held(at).await;
        self.offset = offset;
        pumped
    }

    /// Carries one held server's replies to the client to their end, COPY included.
    pub(super) async fn pump_held(&mut self, at: usize) -> Result<Seen, Failure> {
        let mut seen = Seen { offset: self.offset, ..Seen::default() };
        loop {
            let held = &mut self.held[at];
            match pump(&mut held.server, &mut self.client, &mut seen).await {
                Ok(Pumped::Drained) => break,
                Ok(Pumped::CopyIn) => {
                    if self.copy_in(at).await? {
                        seen.copying = true;
                        break;
                    }
                }
                Err(broken) => {
                    self.settle_changes(at);
                    return Err(self.break_held(at, broken));
                }
            }
        }
        self.clock.rows += seen.rows;
        if seen.prelude_failed {
            // What followed the failed BEGIN ran outside the transaction: the connection cannot be used, nor can the result.
            self.held[at].server.broken = true;
            self.let_go(at);
            return Err(Failure::Reported);
        }
        Ok(seen)
    }

    /// A server connection or the client broke in mid-statement.
    pub(super) fn break_held(&mut self, at: usize, broken: Broken) -> Failure {
        match broken {
            Broken::Client => Failure::Stop(Stop::Gone),
            Broken::Server(mut fault) => {
                // Sent by itself, it commits whenever its server goes on.
                if self.wrote && !self.tx.is_open() && self.held[at].server.cancel.is_out_of_time() {
                    fault = unknown_outcome(&format!("Shard {}: {fault}", self.shard_names(&[self.held[at].shard])));
                }
                let mid_frame = self.held[at].server.streaming > 0;
                self.held[at].server.broken = true;
                self.held[at].pin = None;
                self.let_go(at);
                if mid_frame {
                    return Failure::Stop(Stop::Gone);
                }
                Failure::Fault(fault)
            }
        }
    }

    /// A shard for a statement that any shard can answer: one that we hold already, else the home shard.
    pub(super) fn any_shard(&self) -> ShardId {
        let home = self.view.topology.home;
        if self.held.position(home).is_some() {
            return home;
        }
        self.held.iter().find(|h| h.joined && !h.shard.is_combine()).map_or(home, |h| h.shard)
    }

    /// [`Self::run_plan`]; where it turns out that tables were changed behind the router's back, the statement is planned once more for
    /// what they are.
    pub(super) async fn run_followed(
        &mut self,
        plan: &Plan,
        analysis: &Arc<Analysis>,
        ask: &Ask<'_>,
    ) -> Result<(), Failure> {
        let failure = match self.run_plan(plan, analysis, ask).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        if !self.look_again(&failure).await {
            return Err(failure);
        }
        let (plan, analysis) = self.plan_again(ask)?;
        match ask {
            Ask::Query { .. } => self.run_plan(&plan, &analysis, ask).await,
            Ask::Bound { statement, bind, how, .. } => {
                let columns_added = self.columns_added_by(&plan);
                let ask = Ask::Bound { statement, bind, columns_added, how: *how };
                self.run_plan(&plan, &analysis, &ask).await
            }
        }
    }

    pub(super) async fn run_plan(
        &mut self,
        plan: &Plan,
        analysis: &Arc<Analysis>,
        ask: &Ask<'_>,
    ) -> Result<(), Failure> {
        if analysis.kind == StatementKind::Ddl && self.making.is_empty() {
            let names = utility::settings_of_definition(ask.statement().0);
            if !names.is_empty() {
                self.begin_making(names.clone());
                let done = Box::pin(self.run_plan(plan, analysis, ask)).await;
                self.making = Placeholders::default();
                done?;
                self.note_made(&names);
                return Ok(());
            }
        }
        // One shard alone says so itself, where it is in no transaction of ours.
        if analysis.kind == StatementKind::Lock && !self.tx.counts_as_block() {
            self.need_block("LOCK TABLE")?;
        }
        match &plan.kind {
            PlanKind::Refuse(fault) => {
                let (text, types) = ask.statement();
                Err(self.refusal(fault, text, types).await)
            }
            // Only where the statement was planned for several.
            PlanKind::Single(shard) => self.run_for_itself(*shard, plan.access, analysis, ask).await,
            PlanKind::Any => {
                let shard = self.any_shard();
                self.run_parts(&[(shard, ShardSql::AsWritten)], &Combine::CONCAT, None, plan.access, ask).await
            }
            // Planned once more, it leaves out a value that it brought before: what is written is not begun again.
            PlanKind::Draw(_) => Err(tables_have_changed().into()),
            PlanKind::Broadcast(sql) => {
                let shards = self.view.topology.all_shards();
                let in_block = self.tx.is_open() || self.batch.executed;
                match &plan.why {
                    Why::OneByOne(steps) if shards.len() > 1 && !(steps.in_block && in_block) => {
                        self.run_one_by_one(steps, &shards, sql, ask).await
                    }
                    why => {
                        let parts = match why {
                            Why::OneByOne(steps) => steps.parts.as_deref().map(texts),
                            _ => None,
                        };
                        let all = || shards.iter().map(|shard| (shard, sql.clone())).collect();
                        let parts: Vec<_> = parts.unwrap_or_else(all);
                        self.run_each(parts, plan.access, &plan.why, analysis.takes_turn, ask).await
                    }
                }
            }
            PlanKind::Each(parts) => {
                self.run_each(parts.clone(), plan.access, &plan.why, analysis.takes_turn, ask).await
            }
            PlanKind::Scatter { shards, sql, combine, window } => {
                let parts: Vec<(ShardId, ShardSql)> = shards.iter().map(|s| (s, sql.clone())).collect();
                let reach = Reach { servers: self.servers_for(analysis)?, ..Reach::from(plan.access) };
                self.run_parts(&parts, combine, *window, reach, ask).await
            }
            PlanKind::Finish(finish) => self.run_finish(finish, ask).await,
            PlanKind::Split { parts, combine } => {
                // Where an error is in a shard's rows is not where it is in the client's.
                let offset = std::mem::replace(&mut self.offset, NO_POSITION);
                self.alike = (alike(ask.statement().0, parts), offset);
                let done = self.run_parts(parts, combine, None, Access::Write, ask).await;
                (self.offset, self.alike) = (offset, (0, 0));
                done
            }
            PlanKind::Deliver(delivery) => Box::pin(self.run_delivery(delivery, ask)).await,
            PlanKind::Supply(supply) => Box::pin(self.run_supplied(supply, ask)).await,
            PlanKind::Claim(claim) => Box::pin(self.run_claim(claim, ask)).await,
            PlanKind::Locked(locked) => Box::pin(self.run_locked(locked, ask)).await,
            PlanKind::CopyIn(copy) => self.run_copy_split(copy, ask).await,
            PlanKind::Stamp(stamped) => Box::pin(self.run_stamped(stamped, analysis.takes_turn, ask)).await,
            PlanKind::CreateAs(create) => Box::pin(self.run_create_as(create, ask)).await,
            PlanKind::Lookup(lookup) => Box::pin(self.run_plan(&lookup.otherwise, analysis, ask)).await,
            PlanKind::Explain(explain) => Box::pin(self.run_explain(explain, plan.access, analysis, ask)).await,
        }
    }

    /// Each shard its part, the answers merged; rows and tag to the client.
    pub(super) async fn run_parts(
        &mut self,
        parts: &[(ShardId, ShardSql)],
        combine: &Combine,
        window: Option<Window>,
        reach: impl Into<Reach>,
        ask: &Ask<'_>,
    ) -> Result<(), Failure> {
        let (mut run, shards, opened) = self.start_parts(parts, combine, window, reach, Answer::Merged, ask).await?;
        let began = Instant::now();
        let result = {
            let mut servers = self.held.servers(&shards);
            run.run(&mut servers, &mut self.client, None).await
        };
        self.shared.metrics.merge_seconds.observe(began.elapsed().as_secs_f64());
        self.clock.note_part("merge", Some(began), Vec::new());
        let end = match result {
            Ok(end) => end,
            Err(error) => return Err(self.scatter_failure(error, opened).await),
        };
        self.end_parts(opened).await?;
        match end {
            RunEnd::Complete(tag) => self.tell_tag(&tag)?,
            RunEnd::Suspended => {}
        }
        Ok(())
    }

    /// Sends each shard its part and reads the heads. The flag: a transaction was opened just for this statement.
    pub(super) async fn start_parts(
        &mut self,
        parts: &[(ShardId, ShardSql)],
        combine: &Combine,
        window: Option<Window>,
        reach: impl Into<Reach>,
        answer: Answer,
        ask: &Ask<'_>,
    ) -> Result<(ScatterRun, Vec<ShardId>, bool), Failure> {
        let Reach { access, servers, takes_turn, may_be_homes } = reach.into();
        self.check_fanout(parts.len())?;
        // A statement that writes on several shards is atomic, also when the client opened no transaction.
        let several = parts.len() > 1 || access == Access::Write && self.changed_rows;
        let opened = access != Access::Read && several && !self.tx.is_open();
        if opened {
            self.tx.begin_implicit(&self.settings);
        }
        let shards: Vec<ShardId> = parts.iter().map(|(shard, _)| *shard).collect();
        match (servers, answer == Answer::First && access == Access::Write) {
            // Rows are as they are.
            _ if takes_turn => self.take_turn(&shards, None).await?,
            (_, true) => self.take_turn(&shards, Some(ask.statement().0)).await?,
            (Servers::Primaries, false) => self.enlist_all(&with(&shards, self.clock_for(parts))).await?,
            (Servers::Replicas, false) => self.enlist_all_on(&with(&shards, self.clock_for(parts)), servers).await?,
        }
        let told = self.told_parts(parts).await?;
        let parts = told.as_deref().unwrap_or(parts);
        if answer == Answer::Defined && ddl::fires_event_triggers(ask.statement().0, self.scope.standard_strings()) {
            self.check_event_triggers(&shards).await?;
        }
        let comment: Option<Arc<str>> = self.clock.trace.as_ref().map(|trace| trace.context.comment().into());
        let unchecked = answer == Answer::Defined && self.has_body_unchecked(ask);
        for (shard, sql) in parts {
            let at = self.held_at(*shard)?;
            let held = &mut self.held[at];
            match answer == Answer::First && access == Access::Write {
                true => {
                    held.note_rows(true);
                    held.temporaries_seen = false;
                }
                false => held.note_access(access),
            }
            held.server.comment.clone_from(&comment);
            if may_be_homes {
                held.server.ask(MARK);
            }
            if unchecked && *shard != self.view.topology.home {
                held.server.ask(BODIES_OFF);
            }
            ask.put(&mut held.server, sql)?;
        }
        let made = match ask {
            Ask::Bound { statement, .. } => statement.analysis.numbering.made,
            Ask::Query { .. } => Made { names: true, rows: true },
        };
        let manner = Manner { settled: access == Access::Write, made, ..self.manner(answer) };
        let started = {
            let mut servers = self.held.servers(&shards);
            ScatterRun::start(&mut servers, &mut self.client, combine, window, manner).await
        };
        let begun = match started {
            Ok(mut run) => match self.tell_columns(&run, ask) {
                Ok(()) => Ok(run),
                Err(fault) => Err(run.fail(fault)),
            },
            Err(error) => Err(error),
        };
        match begun {
            Ok(run) => Ok((run, shards, opened)),
            Err(error) => {
                let error = match answer {
                    Answer::Defined => self.lacking(error, shards.first().copied()).await,
                    Answer::Merged | Answer::First => error,
                };
                if let ScatterError::Fault(fault) = &error
                    && may_be_homes
                    && is_lacking(fault)
                    && self.back_to_mark(&shards).await
                {
                    return Err(Failure::Fault(fault.clone()));
                }
                Err(self.scatter_failure(error, opened).await)
            }
        }
    }

    /// How several servers are asked at once.
    pub(super) fn manner(&self, answer: Answer) -> Manner {
        Manner {
            answer,
            limits: self.merge_limits(),
            style: self.text_style(),
            in_turn: self.in_turn,
            settled: false,
            made: Made { names: true, rows: true },
        }
    }

    /// The RowDescription, where the client is to be told it; it must be what was promised.
    pub(super) fn tell_columns(&mut self, run: &ScatterRun, ask: &Ask<'_>) -> Result<(), Fault> {
        if let Ask::Bound { statement, .. } = ask
            && let Some(promise) = statement.promise()
        {
            self.check_promise(promise, statement.names, run.columns.as_deref())?;
        }
        match &run.columns {
            Some(columns) if ask.describes() => reply::row_description(&mut self.client.out, columns),
            _ => Ok(()),
        }
    }

    /// `53400` for a statement that touches more shards than it may.
    pub(super) fn check_fanout(&self, shards: usize) -> Result<(), Fault> {
        if shards <= self.limits.max_fanout {
            return Ok(());
        }
        Err(Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, format!("the statement touches {shards} shards"))
            .detail(format!("scatter_max_shards is {}", self.limits.max_fanout))
            .hint("Restrict the sharding key, or raise scatter_max_shards."))
    }

    /// The statement is over: its own transaction is committed, else its connections go home.
    pub(super) async fn end_parts(&mut self, opened: bool) -> Result<(), Failure> {
        if opened {
            self.commit_statement().await?;
        } else if !self.tx.is_open() {
            self.release_idle();
        }
        Ok(())
    }

    /// What a failed scatter leaves behind: broken connections go, the implicit transaction is rolled back.
    pub(super) async fn scatter_failure(&mut self, error: ScatterError, opened: bool) -> Failure {
        self.tx.fail();
        if !matches!(error, ScatterError::Broken(Broken::Client)) {
            // Whatever still runs on other shards is for nothing now.
            let shards: Vec<ShardId> = self.held.iter().map(|h| h.shard).collect();
            self.quiet(&shards, false).await;
            if opened {
                self.roll_back_quietly().await;
            }
        }
        self.drop_broken();
        match error {
            ScatterError::Broken(Broken::Client) => Failure::Stop(Stop::Gone),
            ScatterError::Broken(Broken::Server(fault)) | ScatterError::Fault(fault) => fault.into(),
            ScatterError::Stale(fault) => {
                self.note_stale();
                fault.into()
            }
            ScatterError::Shard(frame) => {
                let code = error_fields::code(frame.body());
                self.shared.metrics.error(code.as_str(), of_server(code));
                self.clock.failed = Some(code);
                let position = error_fields::position(frame.body());
                match (self.offset, self.alike) {
                    (0, _) => self.client.out.extend_from_slice(&frame.bytes),
                    (NO_POSITION, (alike, behind)) if position.is_some_and(|position| position <= alike) => {
                        self.client.out.extend_from_slice(&move_position(frame.body(), behind));
                    }
                    (behind, _) => self.client.out.extend_from_slice(&move_position(frame.body(), behind)),
                }
                Failure::Reported
            }
        }
    }

    /// The same effect on every one of these shards; the answer of the first is the client's, which is the home shard where it is one.
    pub(super) async fn run_each(
        &mut self,
        mut parts: Vec<(ShardId, ShardSql)>,
        access: Access,
        why: &Why,
        takes_turn: bool,
        ask: &Ask<'_>,
    ) -> Result<(), Failure> {
        let home = self.view.topology.home;
        parts.sort_by_key(|(shard, _)| *shard != home);
        if let [(only, sql)] = parts.as_slice() {
            return self.run_parts(&[(*only, sql.clone())], &Combine::CONCAT, None, access, ask).await;
        }
        let answer = if *why == Why::Ddl { Answer::Defined } else { Answer::First };
        let alone = parts.first().filter(|(shard, _)| *shard == home).cloned();
        let within = self.tx.is_open();
        let objects = match *why == Why::Ddl && alone.is_some() {
            true => ddl::objects(ask.statement().0, self.scope.standard_strings()),
            false => None,
        };
        if ddl::replaces(ask.statement().0, self.scope.standard_strings())
            && let Some(part) = &alone
            && let Some([object]) = objects.as_deref()
        {
            // Made anew elsewhere, it would have another owner and other rights there than what it replaces.
            match self.whereabouts(object).await? {
                Whereabouts::HomeAlone => {
                    return self.run_parts(std::slice::from_ref(part), &Combine::CONCAT, None, access, ask).await;
                }
                Whereabouts::Some => return Err(replaced_in_part(object).into()),
                Whereabouts::Nowhere | Whereabouts::Everywhere => {}
            }
        }
        let takes_turn = takes_turn && parts.first().is_some_and(|(shard, _)| *shard == home);
        let may_be_homes = within && objects.is_some();
        let reach = Reach { takes_turn, may_be_homes, ..Reach::from(access) };
        let (mut run, shards, opened) =
            match (self.start_parts(&parts, &Combine::CONCAT, None, reach, answer, ask).await, alone, objects) {
                // It names what the home shard alone has: there it belongs.
                (Err(Failure::Fault(fault)), Some(part), Some(objects)) if is_lacking(&fault) => {
                    for object in &objects {
                        let at = self.whereabouts(object).await?;
                        match at {
                            Whereabouts::Nowhere | Whereabouts::HomeAlone => {}
                            Whereabouts::Some | Whereabouts::Everywhere if within => {
                                return Err(self.scatter_failure(ScatterError::Fault(fault), false).await);
                            }
                            Whereabouts::Some | Whereabouts::Everywhere => return Err(fault.into()),
                        }
                    }
                    return self.run_parts(&[part], &Combine::CONCAT, None, access, ask).await;
                }
                (begun, ..) => begun?,
            };
        let result = {
            let mut servers = self.held.servers(&shards);
            run.run(&mut servers, &mut self.client, None).await
        };
        if let Err(error) = result {
            return Err(self.scatter_failure(error, opened).await);
        }
        let tag = match run.common_tag() {
            Ok(tag) => tag,
            Err(fault) => return Err(self.scatter_failure(ScatterError::Fault(fault), opened).await),
        };
        if may_be_homes {
            self.release_mark(&shards).await?;
        }
        if !opened && *why == Why::Ddl && self.has_body_unchecked(ask) {
            for shard in shards.iter().filter(|shard| **shard != home) {
                let at = self.held_at(*shard)?;
                self.ask_held(at, BODIES_ON).await?;
            }
        }
        self.end_parts(opened).await?;
        self.tell_tag(&tag)?;
        Ok(())
    }

    /// Whether the home shard alone looks at the body of the function that is made: the others need not have the plain tables that it names.
    fn has_body_unchecked(&self, ask: &Ask<'_>) -> bool {
        const SETTING: &str = "check_function_bodies";
        let is_set = self.settings.get(SETTING).is_some() || self.tx.settings_replay().any(|set| set.contains(SETTING));
        !is_set && ddl::makes_routine(ask.statement().0, self.scope.standard_strings())
    }

    /// What the first shard, which has everything, has defined, and another could not for want of something that it names: one Postgres
    /// would have done it.
    async fn lacking(&mut self, error: ScatterError, first: Option<ShardId>) -> ScatterError {
        let ScatterError::Shard(frame) = &error else { return error };
        let fault = server_fault(frame.body());
        const UNDEFINED: [&[u8; 5]; 5] = [b"42P01", b"42704", b"42883", b"42703", b"3F000"];
        let Some(first) = first.filter(|_| UNDEFINED.contains(&&fault.code.0)) else { return error };
        self.quiet(&[first], true).await;
        let done = |held: &Held| held.server.status == reply::Status::InTransaction;
        if !self.held.position(first).is_some_and(|at| done(&self.held[at])) {
            return error;
        }
        ScatterError::Fault(Fault::unsupported(
            LACKING,
            format!("It is made on every shard, and one of them says: {}", fault.message),
            "It can name what every shard has: sharded and reference tables, functions, types. With check_function_bodies = off the body of a function is not looked at.",
        ))
    }

    /// Connections to all these shards at once.
    pub(super) async fn enlist_all(&mut self, shards: &[ShardId]) -> Result<(), Failure> {
        self.enlist_all_on(shards, self.servers_of_transaction()).await
    }

    /// The same to servers of this kind.
    pub(super) async fn enlist_all_on(&mut self, shards: &[ShardId], servers: Servers) -> Result<(), Failure> {
        let missing: Vec<ShardId> = shards.iter().copied().filter(|s| self.held.position(*s).is_none()).collect();
        for shard in shards {
            self.check_unseen_settings(*shard)?;
        }
        if missing.len() > 1 {
            self.hold_all(&missing, servers).await?;
        }
        for shard in shards {
            if let Err(failure) = self.enlist_on(*shard, servers).await {
                self.release_idle();
                return Err(failure);
            }
        }
        Ok(())
    }

    pub(super) fn held_at(&self, shard: ShardId) -> Result<usize, Fault> {
        self.held
            .position(shard)
            .ok_or_else(|| Fault::new(SqlState::INTERNAL_ERROR, "a shard's connection went away within a statement"))
    }

    /// Lets go of every connection that cannot be used any more.
    pub(super) fn drop_broken(&mut self) {
        let mut at = 0;
        while at < self.held.len() {
            if self.held[at].server.broken { self.let_go(at) } else { at += 1 }
        }
    }
}
