//! Statements about the session itself: transactions, DISCARD, DEALLOCATE, SHOW pgloom.*, EXPLAIN (ROUTE).
//! They run alike in both protocols.

use std::sync::Arc;

use crate::backend::settings;
use crate::catalog::placeholders::Placeholders;
use crate::fault::{Fault, SqlState};
use crate::ids::{ShardId, ShardSet};
use crate::session::batch::Reload;
use crate::session::held::{Finishing, put_settings};
use crate::session::local::LocalRows;
use crate::session::placeholders::named_by;
use crate::session::set::is_read_only;
use crate::session::transaction::TxState;
use crate::session::{Failure, Session};
use crate::sql::Analysis;
use crate::sql::analyze::two_phase_of_client;
use crate::sql::utility::{DiscardTarget, SetStatement, StatementKind, TransactionStatement};
use crate::sql::words::Words;
use crate::wire::reply::{self, NoticeLevel};

/// A cursor's connection to a server beside the shards cannot follow the session.
fn unknown_beside(fault: &Fault) -> Fault {
    Fault::unsupported(
        "the setting cannot be changed while a cursor over several shards is open",
        format!("the server that has the cursor says: {}", fault.message),
        "Close the cursor first.",
    )
}

fn tag(tag: &str) -> LocalRows {
    LocalRows::tag(tag)
}

/// Whether the router itself answers statements of this kind.
pub fn is_local(kind: &StatementKind) -> bool {
    match kind {
        StatementKind::Transaction(t) => !matches!(t, TransactionStatement::TwoPhase),
        StatementKind::Set(_)
        | StatementKind::SetConfig(_)
        | StatementKind::Placement(_)
        | StatementKind::ShowRouter(_)
        | StatementKind::ExplainRoute { .. }
        | StatementKind::Discard(_)
        | StatementKind::Prepare(_)
        | StatementKind::CloseCursor(None)
        | StatementKind::Deallocate(_)
        | StatementKind::Unclear => true,
        _ => false,
    }
}

impl Session {
    /// Runs a statement that is the router's own business; `None` when it is the shards'. `describes`: the client is told the columns with
    /// the rows.
    pub(super) async fn run_local(
        &mut self,
        text: &str,
        analysis: &Arc<Analysis>,
        describes: bool,
    ) -> Result<Option<LocalRows>, Failure> {
        match &analysis.kind {
            StatementKind::Transaction(statement) => self.transaction(text, statement).await,
            StatementKind::Set(SetStatement::TransactionSnapshot) => Err(Fault::unsupported(
                "SET TRANSACTION SNAPSHOT is not supported",
                "A snapshot is of one server, and a transaction here begins on each server when it needs it.",
                "Run pg_dump without --jobs.",
            )
            .into()),
            StatementKind::Set(SetStatement::Opaque) => self.run_unclear(text).await,
            StatementKind::Set(statement) => {
                self.begin_making(named_by(statement));
                let done = self.set(statement).await;
                self.making = Placeholders::default();
                let mut done = done?;
                self.look_for_schemas().await;
                // SET x TO DEFAULT resets, and is a SET all the same.
                if Words::new(text, true).is_some_and(|words| words.is(0, "set")) {
                    done.tag = "SET".to_owned();
                }
                Ok(Some(done))
            }
            StatementKind::SetConfig(query) => {
                let done = self.set_config(text, &query.columns, describes).await?;
                self.look_for_schemas().await;
                Ok(done)
            }
            StatementKind::Placement(query) => Box::pin(self.place(text, query)).await.map(Some),
            StatementKind::ShowRouter(name) => match name.strip_prefix("pgloom.").unwrap_or(name) {
                "transactions" => Ok(Some(self.show_transactions().await)),
                name => Ok(Some(self.show_router(name)?)),
            },
            StatementKind::ExplainRoute { inner, json } => self.explain_route(text, *inner, *json).await.map(Some),
            StatementKind::Discard(target) => self.discard(*target).await.map(Some),
            StatementKind::Prepare(name) => self.prepare_sql(name, text).await.map(Some),
            StatementKind::CloseCursor(None) => {
                self.close_all_cursors().await?;
                Ok(Some(tag("CLOSE CURSOR ALL")))
            }
            StatementKind::Deallocate(name) => self.deallocate(name.as_deref()).map(Some),
            StatementKind::Unclear => self.run_unclear(text).await,
            _ => Ok(None),
        }
    }

    /// The columns that a local statement will return, before it runs.
    pub(super) fn local_columns(&self, kind: &StatementKind) -> Result<Option<LocalRows>, Fault> {
        match kind {
            StatementKind::ShowRouter(name) => Ok(Some(LocalRows { rows: Vec::new(), ..self.show_router(name)? })),
            StatementKind::ExplainRoute { .. } => Ok(Some(LocalRows::of("QUERY PLAN", Vec::new(), "EXPLAIN"))),
            StatementKind::Placement(query) => {
                Ok(Some(LocalRows { columns: vec![query.column.clone().into()], ..LocalRows::default() }))
            }
            StatementKind::SetConfig(query) => {
                let columns = query.columns.iter().cloned().map(Into::into).collect();
                Ok(Some(LocalRows { columns, ..LocalRows::default() }))
            }
            _ => Ok(None),
        }
    }

    async fn transaction(
        &mut self,
        text: &str,
        statement: &TransactionStatement,
    ) -> Result<Option<LocalRows>, Failure> {
        match statement {
            TransactionStatement::Begin { modes, start_transaction } => {
                let done = tag(if *start_transaction { "START TRANSACTION" } else { "BEGIN" });
                if self.tx.in_block() {
                    self.warn(SqlState::ACTIVE_SQL_TRANSACTION, "there is already a transaction in progress");
                    // As in Postgres it sets the modes of the one that is open all the same.
                    if !modes.is_empty() {
                        self.set_modes(modes).await?;
                    }
                } else {
                    self.begin(modes).await?;
                }
                Ok(Some(done))
            }
            TransactionStatement::Commit { chain } => self.end_block(true, *chain).await.map(Some),
            TransactionStatement::Rollback { chain } => self.end_block(false, *chain).await.map(Some),
            TransactionStatement::Savepoint(name) => {
                self.need_block("SAVEPOINT")?;
                self.tell_joined(&format!("SAVEPOINT {}", settings::quote_identifier(name))).await?;
                let parts = self.held.parts();
                self.tx.savepoint(name, &self.settings, parts);
                Ok(Some(tag("SAVEPOINT")))
            }
            TransactionStatement::Release(name) => {
                self.need_block("RELEASE SAVEPOINT")?;
                self.need_savepoint(name)?;
                self.tell_joined(&format!("RELEASE SAVEPOINT {}", settings::quote_identifier(name))).await?;
                self.tx.release(name);
                self.keep_cursors();
                Ok(Some(tag("RELEASE")))
            }
            TransactionStatement::RollbackTo(name) => {
                self.need_block("ROLLBACK TO SAVEPOINT")?;
                self.need_savepoint(name)?;
                // Before the shards come to rest for it: nobody will read what these still have.
                self.forget_cursors(self.tx.depth_of(name)).await;
                self.tell_joined(&format!("ROLLBACK TO SAVEPOINT {}", settings::quote_identifier(name))).await?;
                self.held.iter_mut().for_each(|held| held.temporaries_seen = false);
                if let Some((settings, parts)) = self.tx.rollback_to(name) {
                    self.held.go_back_to(&parts);
                    let settings = self.with_placeholders(&settings);
                    for held in self.held.iter_mut().filter(|h| h.joined) {
                        held.server.applied = Some(Arc::clone(&settings));
                    }
                    self.adopt(settings);
                }
                self.follow_idle_timers().await;
                self.report_joined();
                if self.batch.reload == Reload::Surely {
                    self.note_unread(None);
                }
                Ok(Some(tag("ROLLBACK")))
            }
            TransactionStatement::TwoPhase => Err(two_phase_of_client(text).into()),
            TransactionStatement::SetConstraints(which) => {
                self.warn_outside_of_block("SET CONSTRAINTS can only be used in transaction blocks");
                let sql = format!("SET CONSTRAINTS {which}");
                if self.held.iter().any(|h| h.joined) || names_constraints(which) {
                    self.heed_joined();
                    let set = self.set_in_transaction(&sql).await;
                    self.pass_said();
                    set?;
                    if checks_all(which) {
                        self.register_values().await?;
                    }
                } else {
                    self.tx.begin_implicit(&self.settings);
                    self.tx.remember(&sql);
                }
                Ok(Some(tag("SET CONSTRAINTS")))
            }
        }
    }

    async fn begin(&mut self, modes: &str) -> Result<(), Failure> {
        if self.tx.state == TxState::None && self.statements.has_running() {
            // What reads outside of any transaction cannot be taken into one.
            self.close_all_runs(false).await;
            self.statements.fail_running();
        }
        // The shards are told when they join: behind what was set before.
        if !modes.is_empty() && self.is_under_way() {
            self.tx.begin_implicit(&self.settings);
            self.set_modes(modes).await?;
            self.tx.begin("", &self.settings);
        } else {
            self.tx.begin(modes, &self.settings);
        }
        Ok(())
    }

    /// Whether statements that belong to the transaction that is to begin have run already.
    fn is_under_way(&self) -> bool {
        self.batch.queried || self.tx.has_history() || self.held.iter().any(|h| h.joined)
    }

    /// SET TRANSACTION, and BEGIN where it means the same.
    pub(super) async fn set_modes(&mut self, modes: &str) -> Result<(), Failure> {
        if is_read_only(modes) {
            self.decide_before_read_only().await?;
        }
        self.set_in_transaction(&format!("SET TRANSACTION {modes}")).await
    }

    async fn end_block(&mut self, commit: bool, chain: bool) -> Result<LocalRows, Failure> {
        // Whatever comes next in a pipeline comes first in its transaction.
        self.batch.queried = false;
        if !self.tx.in_block() {
            if chain {
                let verb = if commit { "COMMIT AND CHAIN" } else { "ROLLBACK AND CHAIN" };
                return Err(Fault::new(
                    SqlState::NO_ACTIVE_SQL_TRANSACTION,
                    format!("{verb} can only be used in transaction blocks"),
                )
                .into());
            }
            self.warn(SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress");
            // Within a multi-statement query or a pipeline it still ends what the earlier statements did.
            if self.tx.state == TxState::Implicit {
                if commit {
                    self.commit().await?;
                } else {
                    self.roll_back_quietly().await;
                }
            } else if self.statements.has_running() {
                self.close_all_runs(false).await;
            }
            self.statements.clear_portals();
            self.retake_view();
            return Ok(tag(if commit { "COMMIT" } else { "ROLLBACK" }));
        }
        let mut modes = self.tx.chained(commit);
        let before = self.tx.settings_before().map_or_else(|| Arc::clone(&self.settings), Arc::clone);
        let done = if commit && !self.tx.has_failed() {
            self.commit().await?
        } else {
            self.roll_back().await?;
            "ROLLBACK"
        };
        self.statements.clear_portals();
        self.retake_view();
        if chain {
            // The new one has the modes of the old one even where it has changed what others begin with.
            if !Arc::ptr_eq(&before, &self.settings) {
                modes.or_defaults(|name| self.value_in(&before, name));
            }
            self.tx.begin_in_chain(&modes.text(), &self.settings);
        }
        Ok(tag(done))
    }

    pub(super) fn need_block(&self, what: &str) -> Result<(), Fault> {
        if self.tx.in_block() {
            return Ok(());
        }
        Err(Fault::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, format!("{what} can only be used in transaction blocks")))
    }

    fn need_savepoint(&self, name: &str) -> Result<(), Fault> {
        if self.tx.has_savepoint(name) {
            return Ok(());
        }
        Err(Fault::new(SqlState::INVALID_SAVEPOINT_SPECIFICATION, format!("savepoint \"{name}\" does not exist")))
    }

    /// Runs a control statement on every shard that takes part in the transaction. One that fails fails it as a whole.
    pub(super) async fn tell_joined(&mut self, sql: &str) -> Result<(), Failure> {
        self.park_runs().await?;
        let (mut failed, mut unknown) = (None, None);
        for at in 0..self.held.len() {
            if !self.held[at].joined && !matches!(self.held[at].finishing, Finishing::Cursor { .. }) {
                continue;
            }
            // The client's unnamed portal outlives it: see `Backend::ask`.
            match self.ask_at(at, sql).await?.map(drop) {
                Ok(()) => {}
                // The shards may know what a server beside them does not.
                Err(fault) if self.held[at].beside.is_some() && !self.held[at].server.broken => {
                    unknown.get_or_insert_with(|| unknown_beside(&fault));
                }
                Err(fault) => {
                    failed.get_or_insert(fault);
                }
            }
        }
        self.drop_broken();
        failed.or(unknown).map_or(Ok(()), |fault| Err(fault.into()))
    }

    pub(super) fn warn(&mut self, code: SqlState, message: &'static str) {
        self.tell_notice(NoticeLevel::Warning, &Fault::new(code, message));
    }

    /// A notice of the router's own: as with those of servers, the client says from which level on it hears them. False: it does not.
    pub(super) fn tell_notice(&mut self, level: NoticeLevel, notice: &Fault) -> bool {
        let least = self.value_in(&self.tx.with_locals(&self.settings), "client_min_messages");
        let deaf = least.is_some_and(|least| match &*least.to_ascii_lowercase() {
            "error" | "fatal" | "panic" => true,
            "warning" => level != NoticeLevel::Warning,
            _ => false,
        });
        if !deaf {
            reply::notice(&mut self.client.out, level, notice);
        }
        !deaf
    }

    async fn discard(&mut self, target: DiscardTarget) -> Result<LocalRows, Failure> {
        match target {
            DiscardTarget::All => {
                if self.tx.is_open() || self.batch.executed {
                    let inside = self.tx.counts_as_block();
                    let place = if inside { "run inside a transaction block" } else { "be executed within a pipeline" };
                    let message = format!("DISCARD ALL cannot {place}");
                    return Err(Fault::new(SqlState::ACTIVE_SQL_TRANSACTION, message).into());
                }
                for held in self.held.drain() {
                    held.server.discard();
                }
                self.note_running();
                self.statements.clear();
                self.statements.clear_portals();
                self.cursors.clear();
                self.memory.clear();
                let startup = (*self.startup).clone().with(self.settings.placeholders());
                let sql = startup.statements_from(None).unwrap_or_default();
                self.change_settings(startup, &sql, false).await?;
                Ok(tag("DISCARD ALL"))
            }
            DiscardTarget::Plans => Ok(tag("DISCARD PLANS")),
            DiscardTarget::Sequences => {
                self.tell_pinned("DISCARD SEQUENCES").await?;
                self.memory.clear();
                Ok(tag("DISCARD SEQUENCES"))
            }
            DiscardTarget::Temp => {
                self.held.iter_mut().for_each(|held| held.temporaries_seen = false);
                self.tell_pinned("DISCARD TEMP").await?;
                Ok(tag("DISCARD TEMP"))
            }
        }
    }

    async fn tell_pinned(&mut self, sql: &str) -> Result<(), Failure> {
        // A server may be in the middle of the rows of a portal.
        self.park_runs().await?;
        for held in self.held.iter_mut().filter(|held| held.finishing == Finishing::No) {
            held.server.query(sql).await?;
        }
        Ok(())
    }

    /// DEALLOCATE, whoever has prepared it. `None`: ALL.
    fn deallocate(&mut self, name: Option<&str>) -> Result<LocalRows, Failure> {
        let Some(name) = name else {
            self.statements.clear();
            return Ok(tag("DEALLOCATE ALL"));
        };
        if self.statements.remove(name.as_bytes()) {
            return Ok(tag("DEALLOCATE"));
        }
        let message = format!("prepared statement \"{name}\" does not exist");
        Err(Fault::new(SqlState::INVALID_SQL_STATEMENT_NAME, message).into())
    }

    /// A statement that would change the session in a way we cannot follow, or no statement at all: a server that is thrown
    /// away afterwards tells which.
    pub(super) async fn run_unclear(&mut self, text: &str) -> Result<Option<LocalRows>, Failure> {
        let home = self.view.topology.home;
        let mut server = self.checkout(self.pools.pool(home).place()).await?;
        let asked = match put_settings(&mut server, &self.settings).await {
            Ok(()) => server.query(text).await.map(drop),
            Err(fault) => Err(fault),
        };
        server.discard();
        asked?;
        Err(Fault::unsupported(
            "this form of the statement is not supported",
            "It changes the session's state on one server in a way that cannot be repeated on others.",
            "Use SET name TO value.",
        )
        .into())
    }

    /// Which shard a SQL cursor lives on.
    pub(super) fn note_cursor(&mut self, kind: &StatementKind, shard: ShardId) {
        if let StatementKind::Declare { cursor, .. } = kind {
            self.cursors.insert(cursor.clone(), shard);
        }
    }

    /// The shard of the cursor that a statement names.
    pub(super) fn cursor_shard(&mut self, kind: &StatementKind) -> Option<ShardId> {
        let name = cursor_of(kind)?;
        self.shard_of_portal(name).or_else(|| self.cursors.get(name).copied())
    }

    /// Outside of a transaction, reads the catalog again if it may have changed, so that the next statement finds what was made.
    pub(super) async fn reload_catalog(&mut self) {
        if self.batch.reload == Reload::No || self.tx.is_open() {
            return;
        }
        let stale = std::mem::take(&mut self.batch.reload) == Reload::Surely;
        self.batch.unread = ShardSet::new();
        let touched = std::mem::take(&mut self.batch.touched);
        let touched = Some(&touched).filter(|touched| !touched.is_empty());
        if let Err(fault) = crate::control::catalog::reload(&self.database, stale, touched).await {
            tracing::warn!(error = %fault, "catalog not read after DDL");
        }
        self.refresh_view();
        if stale && !self.view.topology.is_all_home() {
            crate::control::news::tell(&self.database, &self.shared.router).await;
        }
    }
}

/// The cursor that a statement needs.
pub(super) fn cursor_of(kind: &StatementKind) -> Option<&str> {
    match kind {
        StatementKind::Fetch(name) | StatementKind::CloseCursor(Some(name)) | StatementKind::Positioned(name) => {
            Some(name)
        }
        _ => None,
    }
}

/// Whether SET CONSTRAINTS wants all that is deferred looked at now.
fn checks_all(which: &str) -> bool {
    Words::new(which, true).is_some_and(|words| words.is(0, "all") && words.is(1, "immediate"))
}

/// Whether SET CONSTRAINTS has names, which may be of nothing.
fn names_constraints(which: &str) -> bool {
    let all = Words::new(which, true).is_some_and(|words| words.is(0, "all"));
    !all
}
