//! Takes values of sequences on the home shard and puts them into the statement, which is then planned with them like any other.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::backend::sequences::{Asking, Reached};
use crate::backend::settings::quote_literal;
use crate::exec::replies::watched;
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::{Oid, QualifiedName, ShardId, ShardSet};
use crate::plan::combine::Combine;
use crate::plan::{Plan, PlanKind, ShardSql};
use crate::session::aside::is_large;
use crate::session::batch::Reload;
use crate::session::held::put_settings;
use crate::session::memory::Recalled;
use crate::session::prepared::ClientStatement;
use crate::session::{Failure, Session};
use crate::sql::Analysis;
use crate::sql::outcome::Outcome;
use crate::sql::sequences::{self, Draw, Form, Take};
use crate::sql::utility::StatementKind;
use crate::sql::words::{Words, without_parameters};
use crate::wire::frame::BindView;

impl Session {
    /// The statement with its values, and what it is then.
    pub(super) async fn drawn(&mut self, text: &str, draw: &Draw) -> Result<(String, Arc<Analysis>), Failure> {
        let edits = sequences::edits(text, &draw.form, &self.names()).ok_or_else(lost_places)?;
        let takes: Vec<&Take> = edits.takes().collect();
        let fresh = matches!(draw.form, Form::Calls);
        let recalled = self.recall_all(&takes).await?;
        let mut wanted: Vec<(&QualifiedName, usize)> = Vec::new();
        for take in &takes {
            if let Take::Next(sequence) = take {
                match wanted.iter_mut().find(|(known, _)| known == &sequence) {
                    Some((_, count)) => *count += 1,
                    None => wanted.push((sequence, 1)),
                }
            }
        }
        let mut next: HashMap<&QualifiedName, VecDeque<i64>> = HashMap::new();
        for (sequence, count) in &wanted {
            let values = match self.take_values(sequence, *count, !fresh, text).await {
                // What it says of nextval() one Postgres would have said of the statement.
                Err(Failure::Fault(fault)) if fault.code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                    return Err(self.read_only(text).unwrap_or(fault).into());
                }
                values => values?,
            };
            next.insert(sequence, values.into());
        }
        let unique = takes.iter().filter(|take| matches!(take, Take::Unique)).count();
        let mut unique: VecDeque<i64> =
            if unique > 0 { self.unique_ids(unique).await?.into() } else { VecDeque::new() };
        let mut taken: Vec<(QualifiedName, i64)> = Vec::new();
        let mut values = Vec::with_capacity(takes.len());
        for (take, recalled) in takes.iter().zip(recalled) {
            let value = match (take, recalled) {
                (_, Some(value)) => Some(value),
                (Take::Next(sequence), None) => {
                    let value = next.get_mut(sequence).and_then(VecDeque::pop_front);
                    taken.extend(value.map(|value| (sequence.clone(), value)));
                    value
                }
                (Take::Current(sequence), None) => {
                    taken.iter().rev().find(|(of, _)| of == sequence).map(|(_, value)| *value)
                }
                (Take::Unique, None) => unique.pop_front(),
                (Take::Last, None) => taken.last().map(|(_, value)| *value),
            };
            values.push(value.ok_or_else(lost_places)?);
        }
        if is_large(text.len()) {
            Box::pin(self.go_aside()).await?;
        }
        let mut values = values.into_iter();
        let text = sequences::write(text, &edits, |_| values.next().unwrap_or_default()).ok_or_else(lost_places)?;
        if !taken.is_empty() {
            self.note_taken(taken, edits.last.clone());
        }
        self.scan_one(&text)?;
        let analysis = self.analysis(&text);
        match analysis.outcome {
            Outcome::Draw(_) => Err(lost_places().into()),
            _ => Ok((text, analysis)),
        }
    }

    /// What a Bind is with its values: a statement of its own, and its plan, in the form of one over several shards.
    pub(super) async fn drawn_bound(
        &mut self,
        statement: &ClientStatement,
        bind: &[u8],
        draw: &Draw,
    ) -> Result<(Arc<ClientStatement>, Plan), Failure> {
        let (text, analysis) = self.drawn(&statement.text, draw).await?;
        let promise = statement.promised()?;
        let statement = self.client_statement(text.into(), statement.types.clone(), analysis);
        if let Some(promise) = promise {
            statement.set_promise(promise);
        }
        let mut plan = self.plan_bound(&statement, &BindView::read(bind)?.parameters);
        let one = match plan.kind {
            PlanKind::Single(shard) => Some(shard),
            PlanKind::Any => Some(self.any_shard()),
            _ => None,
        };
        if let Some(shard) = one {
            let told = self.told_time(shard, &statement.analysis, &statement.text).await?;
            plan.kind = PlanKind::Scatter {
                shards: ShardSet::one(shard),
                sql: told.map_or(ShardSql::AsWritten, |text| ShardSql::Rewritten { text, parameters: None }),
                combine: Arc::new(Combine::CONCAT),
                window: None,
            };
        }
        Ok((statement, plan))
    }

    /// Values that the session has taken before this statement; `None` for those that it takes itself.
    async fn recall_all(&mut self, takes: &[&Take]) -> Result<Vec<Option<i64>>, Failure> {
        let mut recalled = Vec::with_capacity(takes.len());
        let mut taken: Vec<&QualifiedName> = Vec::new();
        for take in takes {
            let known = match take {
                Take::Next(sequence) => {
                    taken.push(sequence);
                    None
                }
                Take::Unique => None,
                Take::Current(sequence) if taken.contains(&sequence) => None,
                Take::Last if !taken.is_empty() => None,
                Take::Current(_) | Take::Last => Some(self.recall(take).await?),
            };
            recalled.push(known);
        }
        Ok(recalled)
    }

    /// The number of a sequence, as this transaction sees it.
    fn sequence_oid(&self, sequence: &QualifiedName) -> Option<Oid> {
        self.view.catalog.numbered.tables.get(sequence).map(|table| table.oid)
    }

    /// The session has taken these values.
    pub(super) fn note_taken(&mut self, taken: Vec<(QualifiedName, i64)>, last: Option<QualifiedName>) {
        for (sequence, _) in &taken {
            let oid = self.sequence_oid(sequence);
            self.memory.numbered(sequence, oid);
        }
        self.memory.took(taken, last);
    }

    fn recalled(&self, take: &Take, shard: ShardId) -> Recalled {
        self.memory.recall(take, shard, self.is_pinned(shard), &|sequence| self.sequence_oid(sequence))
    }

    async fn recall(&mut self, take: &Take) -> Result<i64, Failure> {
        let home = self.view.topology.home;
        let shard = match self.recalled(take, home) {
            Recalled::Value(value) => {
                self.may_ask(take).await?;
                return Ok(value);
            }
            Recalled::Fault(fault) => {
                if let Take::Current(_) = take {
                    self.may_ask(take).await?;
                }
                return Err(fault.into());
            }
            Recalled::AskServer(shard) => shard,
        };
        let sql = match take {
            Take::Next(sequence) | Take::Current(sequence) => {
                format!("SELECT pg_catalog.currval({})", regclass(sequence))
            }
            Take::Last => "SELECT pg_catalog.lastval()".to_owned(),
            Take::Unique => "SELECT pgloom.unique_id()".to_owned(),
        };
        integers(self.ask(shard, &sql, true).await?)?.first().copied().ok_or_else(|| lost_places().into())
    }

    /// Raises Postgres's error where the user may not see the values of the sequence.
    async fn may_ask(&mut self, take: &Take) -> Result<(), Failure> {
        let sequence = match take {
            Take::Current(sequence) => Some(sequence.clone()),
            Take::Last => self.memory.last_of().cloned(),
            Take::Next(_) | Take::Unique => None,
        };
        let Some(sequence) = sequence else { return Ok(()) };
        let name = regclass(&sequence);
        let sql = format!("SELECT pg_catalog.has_sequence_privilege({name}, 'USAGE,SELECT')");
        let within = self.tx.is_open() && (self.has_own_catalog() || self.has_own_role());
        let rows = self.ask_home(&sql, within).await?;
        match rows.iter().flatten().any(|may| may.as_deref() == Some("f")) {
            true => {
                let message = format!("permission denied for sequence {}", sequence.name);
                Err(Fault::new(SqlState::INSUFFICIENT_PRIVILEGE, message).into())
            }
            false => Ok(()),
        }
    }

    fn is_pinned(&self, shard: ShardId) -> bool {
        self.held.position(shard).is_some_and(|at| self.held[at].pin.is_some())
    }

    /// The next values of a sequence, from the router's block as far as it has some.
    pub(super) async fn take_values(
        &mut self,
        sequence: &QualifiedName,
        count: usize,
        from_block: bool,
        text: &str,
    ) -> Result<Vec<i64>, Failure> {
        let most = self.limits.sequence_block.saturating_sub(1);
        // The session may see another sequence than others do, or have other rights.
        let apart = self.has_own_catalog() || self.has_own_role();
        let database = Arc::clone(&self.database);
        let blocks = &database.sequences;
        if !from_block || most == 0 || apart {
            let within = apart || (!from_block && self.tx.is_open());
            let values = self.ask_sequence(sequence, count, 0, within, text).await?;
            self.memory.reach(sequence, Reached::at(blocks.tick()));
            return Ok(values);
        }
        let user = Arc::clone(&self.user);
        let generation = self.database.cluster.load().catalog.generation;
        let asking = || Asking { user: &user, sequence, generation, now: Instant::now() };
        let mut reached = self.memory.reached(sequence, blocks.tick());
        let mut given = blocks.give(asking(), count, most, &mut reached);
        let missing = count - given.values.len();
        if missing > 0 {
            let began = blocks.tick();
            let mut taken = self.ask_sequence(sequence, missing, given.spare, false, text).await?;
            let rest = taken.split_off(missing.min(taken.len()));
            reached = blocks.keep(asking(), rest, given.spare, began);
            given.values.append(&mut taken);
        }
        self.memory.reach(sequence, reached);
        Ok(given.values)
    }

    /// Numbers of the home shard's clock, one after the other.
    async fn unique_ids(&mut self, count: usize) -> Result<Vec<i64>, Failure> {
        let sql = format!("SELECT pgloom.unique_id() FROM pg_catalog.generate_series(1, {count})");
        Ok(integers(self.ask_home(&sql, false).await?)?)
    }

    /// DDL of this transaction may have changed the sequence.
    pub(super) fn has_own_catalog(&self) -> bool {
        self.tx.is_open() && self.batch.reload == Reload::Surely
    }

    pub(super) fn has_own_role(&self) -> bool {
        let effective = self.tx.with_locals(&self.settings);
        ["role", "session_authorization"].iter().any(|name| effective.get(name).is_some())
    }

    /// Raises Postgres's error where the user has no right to a sequence; an identity column's needs none.
    pub(super) async fn may_use(&mut self, sequence: &QualifiedName) -> Result<(), Failure> {
        let name = regclass(sequence);
        let sql = format!("SELECT pg_catalog.nextval({name}) WHERE NOT ({})", usable(&name));
        self.ask_home(&sql, false).await?;
        Ok(())
    }

    /// Postgres asks for rights to the table before it comes to its sequences. Which columns need one the shards say.
    pub(super) async fn may_insert(&mut self, table: &QualifiedName) -> Result<(), Failure> {
        let sql = format!("SELECT pg_catalog.has_any_column_privilege({}, 'INSERT')", regclass(table));
        let rows = self.ask_home(&sql, false).await?;
        match rows.iter().flatten().any(|may| may.as_deref() == Some("f")) {
            true => {
                let message = format!("permission denied for table {}", table.name);
                Err(Fault::new(SqlState::INSUFFICIENT_PRIVILEGE, message).into())
            }
            false => Ok(()),
        }
    }

    /// Whether a depot's default may take values, or would be told that it may not as the statement itself: not so for the sequence of an
    /// identity column that the user has no right to.
    pub(super) async fn may_take(&mut self, sequence: &QualifiedName) -> Result<bool, Failure> {
        let sql = format!("SELECT pg_catalog.has_sequence_privilege({}, 'USAGE,UPDATE')", regclass(sequence));
        let rows = self.ask_home(&sql, true).await?;
        Ok(rows.first().and_then(|row| row.first()).is_some_and(|may| may.as_deref() == Some("t")))
    }

    async fn ask_home(&mut self, sql: &str, within: bool) -> Result<Vec<Vec<Option<String>>>, Failure> {
        self.ask(self.view.topology.home, sql, within).await
    }

    /// Asks a shard. `within`: in the session's own transaction; else on the connection that it has there, or on one that is given
    /// back at once.
    pub(super) async fn ask(
        &mut self,
        shard: ShardId,
        sql: &str,
        within: bool,
    ) -> Result<Vec<Vec<Option<String>>>, Failure> {
        if within || self.held.position(shard).is_some() {
            let at = self.enlist(shard).await?;
            self.memory.takes_on(shard);
            return self.ask_held(at, sql).await;
        }
        self.check_unseen_settings(shard)?;
        let server = self.checkout(self.pools.pool(shard).place()).await?;
        // In the session's hands, so that a cancel finds it.
        let at = self.hold(shard, server);
        self.memory.takes_on(shard);
        let server = &mut self.held[at].server;
        let asked = match put_settings(server, &self.settings).await {
            Ok(()) => watched(&mut self.client, server.query(sql)).await?,
            Err(fault) => Err(fault),
        };
        if self.held[at].pin.is_none() {
            self.let_go(at);
        }
        Ok(asked?)
    }

    /// Takes values on the home shard.
    async fn ask_sequence(
        &mut self,
        sequence: &QualifiedName,
        count: usize,
        spare: usize,
        within: bool,
        text: &str,
    ) -> Result<Vec<i64>, Failure> {
        let values = integers(self.ask_home(&next_values(sequence, count, spare), within).await?)?;
        if let Some(values) = self.enough(values, sequence, count).await? {
            return Ok(values);
        }
        self.may_run(text, sequence, within).await?;
        // Of a sequence that the user may not use there are none, and Postgres has the words for it.
        self.ask_home(&format!("SELECT pg_catalog.nextval({})", regclass(sequence)), within).await?;
        Err(lost_places().into())
    }

    /// Nothing was taken: raises what one Postgres says of this statement before it comes to the sequence.
    async fn may_run(&mut self, text: &str, sequence: &QualifiedName, within: bool) -> Result<(), Failure> {
        // The mode is that of the client's transaction, whoever draws the values.
        let within = within || self.tx.is_open();
        let shown = self.ask_home("SHOW transaction_read_only", within).await?;
        if shown.iter().flatten().any(|shown| shown.as_deref() == Some("on"))
            && let Some(fault) = self.read_only(text)
        {
            return Err(fault.into());
        }
        let Some(plain) = without_parameters(text, self.scope.standard_strings()) else { return Ok(()) };
        // Rights are asked for what is planned, and no value is taken.
        match self.ask_home(&format!("EXPLAIN {plain}"), within).await {
            Ok(_) => Ok(()),
            Err(Failure::Fault(fault)) if fault.code == SqlState::INSUFFICIENT_PRIVILEGE => {
                Err(fault.without_position().into())
            }
            // The transaction may have failed by that: nothing more can be asked in it.
            Err(Failure::Fault(_)) => {
                let message = format!("permission denied for sequence {}", sequence.name);
                Err(Fault::new(SqlState::INSUFFICIENT_PRIVILEGE, message).into())
            }
            Err(failure) => Err(failure),
        }
    }

    /// Values are taken on another connection than that of the session's transaction.
    pub(super) async fn check_drawn_apart(&mut self) -> Result<(), Failure> {
        if self.has_own_catalog() {
            return Err(Fault::unsupported(
                "nextval() in a query over rows of other shards is not supported behind DDL",
                "the transaction may have changed the sequence, and the values are taken on another connection",
                "Run it in a transaction of its own.",
            )
            .into());
        }
        if self.tx.is_open() {
            let shown = self.ask_home("SHOW transaction_read_only", true).await?;
            if shown.iter().flatten().any(|shown| shown.as_deref() == Some("on")) {
                let message = "cannot execute nextval() in a read-only transaction";
                return Err(Fault::new(SqlState::READ_ONLY_SQL_TRANSACTION, message).into());
            }
        }
        Ok(())
    }

    /// Whether what the transaction has defined has nothing to do with these sequences: on another connection they are what they are here, and
    /// no lock of the transaction stands in the way of their values.
    pub(super) async fn are_untouched(&mut self, sequences: &[QualifiedName]) -> Result<bool, Failure> {
        // What this transaction has written, in a part of it too, is in progress; another's that it sees is done.
        let done = |row: &str| {
            let next =
                "pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.int8";
            // The number in full, up to a little behind the snapshot's end, where those of this transaction can lie: of one that lies far ahead
            // Postgres knows nothing, and says so by an error.
            let ahead = format!("{next} + 1048576");
            let number = format!("{ahead} - (({ahead} - {row}.xmin::pg_catalog.text::pg_catalog.int8) & 4294967295)");
            format!(
                "pg_catalog.pg_xact_status(({number})::pg_catalog.text::pg_catalog.xid8) IS DISTINCT FROM 'in progress'"
            )
        };
        let (class, schema) = (done("c"), done("n"));
        let untouched = |sequence: &QualifiedName| {
            format!(
                "EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = {} \
                   AND {class} AND {schema} \
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = pg_catalog.pg_backend_pid() AND l.relation = c.oid \
                     AND l.mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')))",
                regclass(sequence)
            )
        };
        let all: Vec<String> = sequences.iter().map(untouched).collect();
        let rows = self.ask_home(&format!("SELECT {}", all.join(" AND ")), true).await?;
        Ok(rows.iter().flatten().all(|untouched| untouched.as_deref() == Some("t")))
    }

    /// `25006` for a statement that writes rows; `None`: it begins with another word.
    fn read_only(&self, text: &str) -> Option<Fault> {
        let words = Words::new(text, self.scope.standard_strings())?;
        let verb = ["INSERT", "UPDATE", "DELETE", "MERGE"].into_iter().find(|verb| words.is(0, verb))?;
        let message = format!("cannot execute {verb} in a read-only transaction");
        Some(Fault::new(SqlState::READ_ONLY_SQL_TRANSACTION, message))
    }

    /// The values if they are as many; an identity column's sequence needs no right of the user's, so the router takes them itself.
    async fn enough(
        &self,
        values: Vec<i64>,
        sequence: &QualifiedName,
        count: usize,
    ) -> Result<Option<Vec<i64>>, Failure> {
        if values.len() >= count {
            return Ok(Some(values));
        }
        let mut server = crate::control::connect(&self.database, self.view.topology.home).await?;
        if server.query(&of_identity(&regclass(sequence))).await?.is_empty() {
            return Ok(None);
        }
        let values = integers(server.query(&next_values(sequence, count, 0)).await?)?;
        Ok((values.len() >= count).then_some(values))
    }

    /// A statement with functions about sequences that the router does not replace: they may not say what another session did.
    pub(super) fn check_sequences(&self, analysis: &Analysis) -> Result<(), Fault> {
        let Some(uses) = &analysis.sequences else { return Ok(()) };
        if matches!(analysis.outcome, Outcome::Draw(_)) {
            return Ok(());
        }
        let form = || {
            Fault::unsupported(
                "this use of currval() or lastval() is not supported",
                "the session's values of sequences are known to the router, which cannot put them in this place",
                "Ask for the value in a SELECT of its own, and send it with the statement.",
            )
        };
        let at = if let Outcome::Shard(shard, _) = analysis.outcome { shard } else { self.view.topology.home };
        let pinned = self.is_pinned(at);
        for take in &uses.reads {
            match self.recalled(take, at) {
                Recalled::AskServer(shard) if shard == at => {}
                Recalled::AskServer(_) | Recalled::Value(_) => return Err(form()),
                Recalled::Fault(fault) => return Err(fault),
            }
        }
        if uses.reads_any && !(pinned && self.memory.is_empty()) && !self.memory.is_at(at) {
            return Err(form());
        }
        Ok(())
    }

    /// A statement runs that takes or sets values of sequences on its servers.
    pub(super) fn note_plan_sequences(&mut self, analysis: &Analysis, plan: &Plan) {
        // What a combine connection takes, only that one knows.
        // Nothing of it runs.
        if let PlanKind::Refuse(_) = plan.kind {
            return;
        }
        let combined = matches!(plan.kind, PlanKind::Finish(_) | PlanKind::Deliver(_))
            || matches!(&plan.kind, PlanKind::Supply(supply) if supply.everywhere || supply.finish.draws);
        let shard = plan.one_shard().unwrap_or(self.view.topology.home);
        self.note_sequences(analysis, (!combined).then_some(shard));
    }

    /// The same on this shard; `None`: on a connection that does not stay with the session.
    pub(super) fn note_sequences(&mut self, analysis: &Analysis, shard: Option<ShardId>) {
        let Some(uses) = &analysis.sequences else { return };
        // A plain EXPLAIN takes none.
        if matches!(&analysis.kind, StatementKind::Explain { options, .. } if !options.analyze) {
            return;
        }
        // A transaction begins with connections that know nothing of others.
        let clean = |shard: ShardId| match self.held.position(shard) {
            Some(at) => !self.held[at].server.knows_values,
            None => self.tx.is_open(),
        };
        let clean = shard.is_some_and(clean);
        self.memory.forwarded(uses, shard, clean);
        if uses.sets {
            self.database.sequences.forget();
            // And once more when it is done: others may have taken values before it was.
            self.batch.sets_sequences = true;
        }
    }

    /// Asks the connection to a shard for values that it surely knows of this session. Who may not ask for one is not told either.
    pub(super) async fn remember_values(&mut self, shard: ShardId) {
        let sequences = self.memory.waiting_on(shard);
        let value = |sequence: &QualifiedName| {
            let name = regclass(sequence);
            format!(
                "CASE WHEN pg_catalog.has_sequence_privilege({name}, 'USAGE,SELECT') THEN {} END",
                current_value(sequence)
            )
        };
        let list: Vec<String> = sequences.iter().map(value).collect();
        let sql = format!("SELECT {}", list.join(", "));
        let values = match self.held.position(shard) {
            Some(at) => match watched(&mut self.client, self.held[at].server.query(&sql)).await {
                Ok(Ok(rows)) => rows.into_iter().next().unwrap_or_default(),
                // In the middle of its answer it is of no use any more.
                Err(_) => {
                    self.held[at].server.broken = true;
                    Vec::new()
                }
                Ok(Err(_)) => Vec::new(),
            },
            None => Vec::new(),
        };
        let mut values = values.into_iter().map(|value| value?.parse().ok());
        for sequence in sequences {
            let oid = self.sequence_oid(&sequence);
            self.memory.told(sequence, oid, values.next().flatten());
        }
    }

    /// Between two statements: what was set is set, and a connection that was given back may serve others.
    pub(super) fn settle_sequences(&mut self) {
        if std::mem::take(&mut self.batch.sets_sequences) {
            self.database.sequences.forget();
        }
        if !self.memory.is_empty() {
            self.memory.keep(|shard| self.held.position(shard).is_some());
        }
    }
}

/// The places of values are found again at each call: they must be the same.
fn lost_places() -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, "the values of sequences of a statement were not found again")
        .blame(Blame::Router)
}

/// A sequence as an argument of the functions about sequences.
fn regclass(sequence: &QualifiedName) -> String {
    let part = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let name = format!("{}.{}", part(&sequence.schema), part(&sequence.name));
    format!("{}::pg_catalog.regclass", quote_literal(&name))
}

/// What the session says that it took of a sequence last, in SQL.
pub(super) fn current_value(sequence: &QualifiedName) -> String {
    format!("pg_catalog.currval({})", regclass(sequence))
}

/// Takes `count` values, and `spare` more where the sequence is far from its end: who comes to the end loses what he took.
pub(super) fn next_values(sequence: &QualifiedName, count: usize, spare: usize) -> String {
    let name = regclass(sequence);
    let more = match spare {
        0 => String::new(),
        spare => format!(
            " + COALESCE((SELECT CASE WHEN s.seqcycle THEN {spare} ELSE GREATEST(0, LEAST({spare}, pg_catalog.floor( \
               (CASE WHEN s.seqincrement > 0 THEN s.seqmax ELSE s.seqmin END::pg_catalog.numeric \
                 - pg_catalog.pg_sequence_last_value(s.seqrelid)) / s.seqincrement / 16)))::pg_catalog.int8 END \
             FROM pg_catalog.pg_sequence s WHERE s.seqrelid = {name} \
               AND pg_catalog.has_sequence_privilege(s.seqrelid, 'USAGE,SELECT')), 0)"
        ),
    };
    format!(
        "SELECT pg_catalog.nextval({name}) FROM pg_catalog.generate_series(1, {count}::pg_catalog.int8{more}) \
         WHERE pg_catalog.has_sequence_privilege({name}, 'USAGE,UPDATE')"
    )
}

/// Whether the user may take values; of an identity column everybody who may insert.
fn usable(name: &str) -> String {
    format!("pg_catalog.has_sequence_privilege({name}, 'USAGE,UPDATE') OR EXISTS ({})", of_identity(name))
}

fn of_identity(name: &str) -> String {
    format!(
        "SELECT 1 FROM pg_catalog.pg_depend WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
         AND objid = {name} AND deptype = 'i'"
    )
}

pub(super) fn integers(rows: Vec<Vec<Option<String>>>) -> Result<Vec<i64>, Fault> {
    let value = |row: Vec<Option<String>>| row.into_iter().next().flatten()?.parse().ok();
    rows.into_iter().map(value).collect::<Option<_>>().ok_or_else(lost_places)
}
