//! SELECT with row locks of rows that are put together in one place: read without locks, locked by their keys, and read again until all of the
//! answer is locked.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};

use crate::exec::forward::NO_POSITION;
use crate::exec::replies::flush;
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::memory::Hold;
use crate::plan::{Access, LockedPlan, Plan, PlanKind};
use crate::session::finish::with;
use crate::session::prepared::ClientStatement;
use crate::session::run::{Ask, How, rebind};
use crate::session::sql_execute::is_finished;
use crate::session::{Failure, Session};
use crate::sql::locked::{LockedTable, never_still};
use crate::sql::locking::Busy;
use crate::wire::error_fields;
use crate::wire::frame::{BindView, Fields, HEADER, whole};
use crate::wire::reply;
use crate::wire::row::{RowView, RowWriter, read_row_description};

/// Most rows that are locked by one statement.
const AT_ONCE: usize = 256;
/// How often the statement is read. Each time but the last, it has found rows that it had not found before.
const ROUNDS: usize = 20;

/// What a row or a key takes besides its bytes.
const ROW: usize = 64;

/// How long the copies of a reference table may differ from what is locked on the home shard, and how long is waited between two looks.
const PATIENCE: Duration = Duration::from_secs(10);
const RESPITE: Duration = Duration::from_millis(5);

/// What one reading of the statement has found.
struct Read {
    /// RowDescription of the client's columns, where they are to be told.
    columns: Option<Bytes>,
    rows: Vec<Row>,
    /// The memory of it.
    _hold: Hold,
}

struct Row {
    frame: Bytes,
    /// Of each table.
    keys: Vec<Option<String>>,
}

/// What came of locking rows, by the names of their tables and their keys.
struct Known {
    rows: HashMap<(String, String), Tried>,
    round: usize,
    /// Something was tried in this round.
    tried: bool,
    /// Notices that the client has: what is read again does not say them again.
    notices: HashSet<Bytes>,
    /// The memory of the rows.
    hold: Hold,
}

/// A row that was tried to be locked.
#[derive(Default)]
struct Tried {
    locked: bool,
    times: usize,
    round: usize,
}

/// How often a row is tried that is read and not there to be locked: the first may have been deleted meanwhile, and made anew. One that is
/// still not there a policy lets be read and not changed.
const TIMES: usize = 3;

impl Known {
    fn is_locked(&self, table: &str, key: &str) -> bool {
        self.rows.get(&(table.to_owned(), key.to_owned())).is_some_and(|tried| tried.locked)
    }

    /// Whether it is to be tried in this round. `skips`: others may have it.
    fn is_open(&self, table: &str, key: &str, skips: bool) -> bool {
        let most = if skips { 1 } else { TIMES };
        let tried = self.rows.get(&(table.to_owned(), key.to_owned()));
        tried.is_none_or(|tried| !tried.locked && tried.round < self.round && tried.times < most)
    }
}

/// What is read with.
struct Reading<'a> {
    plan: &'a LockedPlan,
    ask: &'a Ask<'a>,
    text: Arc<str>,
    /// The types of the client's parameters.
    types: Vec<Oid>,
}

impl Session {
    /// Runs the statement to its end; rows and command tag to the client.
    pub(super) async fn run_locked(&mut self, plan: &LockedPlan, ask: &Ask<'_>) -> Result<(), Failure> {
        let opened = !self.tx.is_open();
        if opened {
            self.tx.begin_implicit(&self.settings);
        }
        let rows = self.clock.rows;
        let done = self.lock_together(plan, ask).await;
        self.clock.rows = rows;
        self.end_write(done, opened).await
    }

    /// The command tag.
    async fn lock_together(&mut self, plan: &LockedPlan, ask: &Ask<'_>) -> Result<String, Failure> {
        if plan.locked.by_settings {
            self.exact_texts(
                "row locks of rows that are put together in one place are not supported under these settings",
            )?;
        }
        // All at once, so that nobody waits for one with others in his hands.
        let shards: Vec<ShardId> = plan.shards.iter().collect();
        let shards = with(&shards, Some(self.view.topology.home));
        self.check_fanout(shards.len())?;
        self.enlist_all(&shards).await?;
        let types = self.types_of_original(ask).await?;
        let text = plan.locked.reading(ask.statement().0).ok_or_else(lost)?;
        let reading = Reading { plan, ask, text: text.into(), types };
        let (rows, notices, hold) = (HashMap::new(), HashSet::new(), self.shared.memory.hold());
        let mut known = Known { rows, round: 0, tried: false, notices, hold };
        for round in 0..ROUNDS {
            (known.round, known.tried) = (round, false);
            let read = self.read_unlocked(&reading, &mut known).await?;
            let chosen = self.lock_rows(plan, &read, &mut known).await?;
            if !known.tried {
                self.check_rights(plan, &read, &mut known).await?;
                return self.tell_locked(plan, &read, &chosen).await;
            }
        }
        Err(never_still().into())
    }

    /// What a server says of the statement as it is; where it may not lock rows, that is the client's error.
    async fn types_of_original(&mut self, ask: &Ask<'_>) -> Result<Vec<Oid>, Failure> {
        let parameters = match ask {
            Ask::Query { text } => {
                let parse = crate::backend::inflight::Owed::ParseHeard;
                self.describe_at(self.view.topology.home, text, &[], parse).await?.0
            }
            Ask::Bound { statement, .. } => statement.described().ok_or_else(lost)?.0,
        };
        let mut fields = Fields::new(parameters.get(HEADER..).unwrap_or_default());
        Ok((0..fields.count()?).map(|_| fields.u32()).collect::<Result<_, _>>()?)
    }

    /// The rows of the statement as they are now, and the keys of what it locks.
    async fn read_unlocked(&mut self, reading: &Reading<'_>, known: &mut Known) -> Result<Read, Failure> {
        let taped = self.taped(Taped::Statement(reading), known).await?;
        let locked = &reading.plan.locked;
        let mut hold = self.shared.memory.hold();
        hold.grow(taped.len())?;
        let (mut columns, mut rows) = (None, Vec::new());
        for frame in whole(&taped) {
            match frame.first() {
                Some(b'T') => columns = Some(own_columns(frame, locked.hidden)?),
                Some(b'D') => {
                    let view = RowView::parse(frame)?;
                    let values = texts(&view, view.len().checked_sub(locked.hidden).ok_or_else(lost)?)?;
                    let keys = locked.keys_of(&values);
                    hold.grow(keys.iter().flatten().map(|key| key.len() + ROW).sum::<usize>() + ROW)?;
                    rows.push(Row { frame: taped.slice_ref(frame), keys });
                }
                _ => {}
            }
        }
        Ok(Read { columns, rows, _hold: hold })
    }

    /// Locks rows in order until there are as many as are wanted: the places of these.
    async fn lock_rows(&mut self, plan: &LockedPlan, read: &Read, known: &mut Known) -> Result<Vec<usize>, Failure> {
        let rows = &read.rows;
        let window = plan.window;
        let wanted = window.limit.map_or(usize::MAX, |limit| match limit {
            0 => 0,
            limit => usize::try_from(limit.saturating_add(window.offset)).unwrap_or(usize::MAX),
        });
        let (mut chosen, mut next) = (Vec::new(), 0);
        let mut tried: Vec<BTreeSet<String>> = vec![BTreeSet::new(); plan.locked.tables.len()];
        while chosen.len() < wanted && next < rows.len() {
            let end = rows.len().min(next.saturating_add((wanted - chosen.len()).min(AT_ONCE)));
            // As in Postgres, what a row has not got of one table it does not want of the next.
            let mut left: Vec<usize> = (next..end).collect();
            for (at, table) in plan.locked.tables.iter().enumerate() {
                let key = |row: &usize| rows.get(*row).and_then(|row| row.keys.get(at)?.clone());
                let keys: BTreeSet<String> = left.iter().filter_map(key).collect();
                let skips = table.busy == Busy::Skip;
                let new: Vec<String> = keys.into_iter().filter(|key| known.is_open(&table.name, key, skips)).collect();
                if !new.is_empty() {
                    self.lock_keys(table, &new, read, known).await?;
                    if table.is_copied
                        && let Some(tried) = tried.get_mut(at)
                    {
                        tried.extend(new);
                    }
                }
                left.retain(|row| key(row).is_some_and(|key| known.is_locked(&table.name, &key)));
            }
            chosen.append(&mut left);
            next = end;
        }
        // Also for rows that have gone from the home shard, or have other keys now.
        for (table, keys) in plan.locked.tables.iter().zip(&tried) {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            for keys in keys.chunks(AT_ONCE) {
                self.wait_for_copies(plan, table, keys).await?;
            }
        }
        Ok(chosen)
    }

    async fn lock_keys(
        &mut self,
        table: &LockedTable,
        keys: &[String],
        read: &Read,
        known: &mut Known,
    ) -> Result<(), Failure> {
        let text = table.lock(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        let taped = self.taped(Taped::Lock(&text, table, read), known).await?;
        known.tried = true;
        for key in keys {
            known.hold.grow(table.name.len() + key.len() + ROW)?;
            let tried = known.rows.entry((table.name.clone(), key.clone())).or_default();
            (tried.times, tried.round) = (tried.times + 1, known.round);
        }
        for frame in whole(&taped).filter(|frame| frame.first() == Some(&b'D')) {
            let key = table.key(&texts(&RowView::parse(frame)?, 0)?).ok_or_else(lost)?;
            match known.rows.get_mut(&(table.name.clone(), key.clone())) {
                Some(tried) if !tried.locked => tried.locked = true,
                // A key that is checked at the end of the transaction only, or one of a table that inherits.
                Some(_) => return Err(twice(&table.name).into()),
                // The same value in another spelling: the row has been changed meanwhile, and is read again with it.
                None => {
                    let tried = Tried { locked: true, times: 1, round: known.round };
                    known.rows.insert((table.name.clone(), key), tried);
                }
            }
        }
        Ok(())
    }

    /// Who was waited for has committed on the home shard, and perhaps not yet elsewhere: until all copies are those that are locked, what is
    /// read of the others is what was before.
    async fn wait_for_copies(&mut self, plan: &LockedPlan, table: &LockedTable, keys: &[&str]) -> Result<(), Failure> {
        let home = self.view.topology.home;
        let sql = table.contents(keys);
        let mut wanted = self.contents_at(home, &sql).await?;
        let began = Instant::now();
        for shard in plan.shards.iter().filter(|shard| *shard != home) {
            while self.contents_at(shard, &sql).await? != wanted {
                // Snapshots that were taken at two moments stay what they are.
                if began.elapsed() > PATIENCE || !self.sees_commits(home).await? {
                    return Err(never_still().into());
                }
                self.pause(RESPITE).await?;
                // What is not locked may change meanwhile, at home too.
                wanted = self.contents_at(home, &sql).await?;
            }
        }
        Ok(())
    }

    /// Whether each statement of the transaction sees what was committed before it.
    async fn sees_commits(&mut self, home: ShardId) -> Result<bool, Failure> {
        let shown = self.ask(home, "SHOW transaction_isolation", true).await?;
        Ok(shown.iter().flatten().any(|level| level.as_deref().is_some_and(|level| level.starts_with("read "))))
    }

    async fn contents_at(&mut self, shard: ShardId, sql: &str) -> Result<Vec<Option<String>>, Failure> {
        match self.ask(shard, sql, true).await {
            Ok(rows) => {
                let mut rows: Vec<Option<String>> = rows.into_iter().flatten().collect();
                rows.sort_unstable();
                Ok(rows)
            }
            Err(Failure::Fault(fault)) if fault.code == SqlState::INSUFFICIENT_PRIVILEGE => Err(unread_copies().into()),
            Err(failure) => Err(failure),
        }
    }

    /// Where no row was to be locked, whether it might have been.
    async fn check_rights(&mut self, plan: &LockedPlan, read: &Read, known: &mut Known) -> Result<(), Failure> {
        for (at, table) in plan.locked.tables.iter().enumerate() {
            let before = plan.locked.tables.iter().take(at).any(|before| before.name == table.name);
            if !before && !known.rows.keys().any(|(name, _)| *name == table.name) {
                self.taped(Taped::Lock(&table.lock(&[]), table, read), known).await?;
            }
        }
        Ok(())
    }

    /// The rows, without what is the router's; the command tag.
    async fn tell_locked(&mut self, plan: &LockedPlan, read: &Read, chosen: &[usize]) -> Result<String, Failure> {
        let hidden = plan.locked.hidden;
        if let Some(columns) = &read.columns {
            self.client.out.extend_from_slice(columns);
        }
        let behind = usize::try_from(plan.window.offset).unwrap_or(usize::MAX);
        let mut writer = RowWriter::new();
        let mut told = 0usize;
        for row in chosen.iter().skip(behind).filter_map(|at| read.rows.get(*at)) {
            let view = RowView::parse(&row.frame)?;
            let own = view.len().saturating_sub(hidden);
            writer.start();
            writer.raw(own, view.leading(own)?);
            self.client.out.extend_from_slice(&writer.finish()?);
            told += 1;
            if self.client.out.len() > crate::exec::client::OUT_HIGH
                && let Err(error) = flush(&mut self.client).await
            {
                return Err(self.scatter_failure(error, false).await);
            }
        }
        Ok(format!("SELECT {told}"))
    }

    /// Runs a statement whose answer is the router's; what is in it besides is the client's, and so is its error.
    async fn taped(&mut self, what: Taped<'_>, known: &mut Known) -> Result<Bytes, Failure> {
        let offset = std::mem::replace(&mut self.offset, NO_POSITION);
        let most = self.limits.merge_bytes;
        self.client.tape(most);
        let told = std::mem::take(&mut self.told);
        let done = Box::pin(self.run_taped(&what)).await;
        self.told = told;
        let taped = self.client.taped();
        self.offset = offset;
        let (taped, done) = match (taped, done) {
            (Some(taped), done) => (taped.freeze(), done),
            (None, Ok(()) | Err(Failure::Reported)) => (Bytes::new(), Err(too_much(most).into())),
            (None, Err(failure)) => (Bytes::new(), Err(failure)),
        };
        let hides = matches!(&what, Taped::Statement(reading) if !reading.plan.locked.names_keys)
            && done.as_ref().is_err_and(|failure| code_of(failure, &taped) == Some(SqlState::INSUFFICIENT_PRIVILEGE));
        if let Err(failure) = &done
            && is_behind_columns(failure, &taped)
        {
            let columns = match what {
                Taped::Lock(_, _, read) => read.columns.clone(),
                Taped::Statement(reading) => {
                    let frame = whole(&taped).find(|frame| frame.first() == Some(&b'T'));
                    frame.map(|frame| own_columns(frame, reading.plan.locked.hidden)).transpose()?
                }
            };
            self.client.out.extend_from_slice(&columns.unwrap_or_default());
        }
        let mut notices = Vec::new();
        for frame in whole(&taped) {
            match frame.first() {
                Some(b'T' | b'D' | b'C') => continue,
                Some(b'E') if hides => continue,
                Some(b'N') if known.notices.contains(frame) => continue,
                Some(b'N') => notices.push(Bytes::copy_from_slice(frame)),
                _ => {}
            }
            self.client.out.extend_from_slice(frame);
        }
        known.notices.extend(notices);
        if hides {
            return Err(unread_keys().into());
        }
        done.map_err(|failure| match failure {
            Failure::Fault(fault) => Failure::Fault(fault.without_position()),
            failure => failure,
        })?;
        Ok(taped)
    }

    async fn run_taped(&mut self, what: &Taped<'_>) -> Result<(), Failure> {
        match what {
            Taped::Lock(text, table, _) => {
                // Who waits, waits at one shard after the other: two who lock the same rows do not lock each other out.
                let waits = self.in_turn || table.busy == Busy::Wait;
                let in_turn = std::mem::replace(&mut self.in_turn, waits);
                let done = self.run_own_query(text, Access::Lock).await;
                self.in_turn = in_turn;
                done
            }
            Taped::Statement(Reading { ask: Ask::Query { .. }, text, .. }) => {
                self.run_own_query(text, Access::Read).await
            }
            Taped::Statement(Reading { ask: Ask::Bound { bind, how, .. }, text, types, plan }) => {
                let mut statement = self.own_statement(text, types)?;
                if self.see_temporaries(&statement.analysis).await? {
                    statement = self.own_statement(text, types)?;
                }
                let mut own = BytesMut::new();
                own.put_slice(&[0, 0]);
                own.extend_from_slice(&rebind(bind, None, plan.locked.hidden)?);
                let plan = self.plan_bound(&statement, &BindView::read(&own)?.parameters);
                check_access(&plan, Access::Read)?;
                if is_finished(&plan) {
                    let (parameters, rows) = self.description_of(&statement).await?;
                    statement.set_described(parameters, rows);
                }
                let how = if *how == How::Described { How::Described } else { How::Through };
                let columns_added = self.columns_added_by(&plan);
                let ask = Ask::Bound { statement: &statement, bind: &own, columns_added, how };
                self.run_plan(&plan, &statement.analysis, &ask).await
            }
        }
    }

    async fn run_own_query(&mut self, text: &str, most: Access) -> Result<(), Failure> {
        self.scan_one(text)?;
        let analysis = self.analysis(text);
        let analysis = self.beside_temporaries(text, analysis).await?;
        self.check_sequences(&analysis)?;
        let plan = self.plan(text, &analysis);
        check_access(&plan, most)?;
        self.run_plan(&plan, &analysis, &Ask::Query { text }).await
    }

    fn own_statement(&mut self, text: &Arc<str>, types: &[Oid]) -> Result<Arc<ClientStatement>, Failure> {
        self.scan_one(text)?;
        let analysis = self.analysis(text);
        Ok(self.client_statement(Arc::clone(text), types.into(), analysis))
    }
}

/// A statement of the router's.
enum Taped<'a> {
    Statement(&'a Reading<'a>),
    /// What it locks was read before.
    Lock(&'a str, &'a LockedTable, &'a Read),
}

/// The columns without those of the router.
fn own_columns(description: &[u8], hidden: usize) -> Result<Bytes, Fault> {
    let mut columns = read_row_description(description.get(HEADER..).unwrap_or_default())?;
    columns.truncate(columns.len().saturating_sub(hidden));
    let mut out = BytesMut::new();
    reply::row_description(&mut out, &columns)?;
    Ok(out.freeze())
}

fn code_of(failure: &Failure, taped: &[u8]) -> Option<SqlState> {
    match failure {
        Failure::Fault(fault) => Some(fault.code),
        Failure::Reported => {
            let error = whole(taped).find(|frame| frame.first() == Some(&b'E'));
            error.map(|frame| error_fields::code(frame.get(HEADER..).unwrap_or_default()))
        }
        Failure::Stop(_) => None,
    }
}

/// Whether Postgres has told the columns before it comes to this: not so where it looks at rights and modes first.
fn is_behind_columns(failure: &Failure, taped: &[u8]) -> bool {
    code_of(failure, taped).is_some_and(|code| {
        !matches!(
            code,
            SqlState::INSUFFICIENT_PRIVILEGE | SqlState::READ_ONLY_SQL_TRANSACTION | SqlState::FEATURE_NOT_SUPPORTED
        )
    })
}

/// What has effects is not run several times.
fn check_access(plan: &Plan, most: Access) -> Result<(), Fault> {
    let fits = match (&plan.kind, plan.access) {
        (PlanKind::Refuse(_), _) | (_, Access::Read) => true,
        (PlanKind::Draw(_), _) | (_, Access::Write) => false,
        (_, Access::Lock) => most == Access::Lock,
    };
    if fits {
        return Ok(());
    }
    Err(Fault::unsupported(
        "statement is not supported across shards",
        "FOR UPDATE or FOR SHARE of rows of several shards that are put together in one place, and something in it has effects or locks rows too",
        "Lock the rows by a SELECT that does nothing else.",
    ))
}

/// The columns of a row behind so many, as text.
fn texts<'a>(view: &RowView<'a>, behind: usize) -> Result<Vec<Option<&'a str>>, Fault> {
    let text = |value: Result<Option<&'a [u8]>, Fault>| match value? {
        None => Ok(None),
        Some(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| not_utf8()),
    };
    view.columns().skip(behind).map(text).collect()
}

fn not_utf8() -> Fault {
    Fault::unsupported(
        "row locks of rows that are put together in one place are not supported in this encoding",
        "the keys of the rows are written into statements of the router, in UTF-8",
        "Set client_encoding to UTF8.",
    )
}

fn unread_copies() -> Fault {
    Fault::unsupported(
        "row locks of a reference table's rows beside rows of other shards are not supported here",
        "the user may not read all of its columns, and whether all copies are alike is told by them",
        "Grant SELECT on the table, or lock its rows in a statement of their own.",
    )
}

fn unread_keys() -> Fault {
    Fault::unsupported(
        "row locks of rows that are put together in one place are not supported here",
        "the user may not read what the statement reads, or not the primary keys by which its rows are locked",
        "Grant SELECT on the columns of the primary keys.",
    )
}

fn lost() -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, "a row that was to be locked was not told as it was read").blame(Blame::Router)
}

fn twice(table: &str) -> Fault {
    Fault::unsupported(
        "FOR UPDATE or FOR SHARE is not supported here",
        format!("two rows of {table} have the same primary key: it is deferred, or tables inherit from it"),
        "Give the sharding key one value in WHERE.",
    )
}

fn too_much(limit: usize) -> Fault {
    Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "the statement locks too many rows at once over several shards")
        .detail(format!("merge_max_bytes is {limit}, and rows that are put together to be locked are held at once"))
        .hint("Restrict the rows in WHERE, or raise merge_max_bytes.")
}
