//! Writes whose rows are put together first: a Postgres fills a depot on the combine connection, and from there the rows go to the shards
//! of their keys, into their COPYs or along with an INSERT.

use std::sync::Arc;

use crate::backend::combine::qualified;
use crate::backend::inflight::{Audience, Owed};
use crate::backend::settings::quote_literal;
use crate::exec::copy::{begun, ended};
use crate::exec::delivery::{To, ask_rows, carry, without_copy_context};
use crate::exec::forward::{Broken, without_position};
use crate::exec::replies::{Hears, ScatterError, content};
use crate::exec::scatter::{RunEnd, ScatterRun};
use crate::fault::{Fault, SqlState};
use crate::ids::{QualifiedName, ShardId, ShardSet};
use crate::plan::DeliveryPlan;
use crate::plan::route::unmapped;
use crate::session::draw::current_value;
use crate::session::finish::{Original, PORTAL};
use crate::session::run::Ask;
use crate::session::scatter::ScatterRun as PortalRun;
use crate::session::taking::Taken;
use crate::session::{Failure, Session};
use crate::sql::delivery::{Depot, Draws, Landing, Moved, Place};
use crate::sql::pulls::quoted;
use crate::topology::Topology;
use crate::types::Format;
use crate::types::canonical::{KeyError, KeyValue};
use crate::wire::frame::command_tag;
use crate::wire::row::RowView;
use crate::wire::{reply, request};

/// How far the delivery of rows has come when the combine connection is not needed any more.
pub(super) enum Delivered {
    /// Every row is where it belongs: the statement's command tag.
    Done(String),
    Answering(Box<Answering>),
}

/// Shards that are at work on the rows that they were sent, and answer.
pub(super) struct Answering {
    pub run: ScatterRun,
    pub shards: Vec<ShardId>,
    /// All do the same, and the first one's answer is the client's.
    pub same: bool,
}

impl Session {
    /// Runs the statement to its end; rows and command tag to the client. It is atomic, whether or not the client has a transaction open.
    pub(super) async fn run_delivery(&mut self, plan: &DeliveryPlan, ask: &Ask<'_>) -> Result<(), Failure> {
        let opened = !self.tx.is_open();
        if opened {
            self.tx.begin_implicit(&self.settings);
        }
        let done = self.deliver(plan, ask).await;
        self.end_write(done, opened).await
    }

    /// The end of a write in a transaction, perhaps one that was `opened` for it alone: its command tag, or nothing of it.
    pub(super) async fn end_write(&mut self, done: Result<String, Failure>, opened: bool) -> Result<(), Failure> {
        match done {
            Ok(tag) => {
                self.end_parts(opened).await?;
                self.tell_tag(&tag)?;
                Ok(())
            }
            Err(failure) => {
                self.tx.fail();
                if opened && !matches!(failure, Failure::Stop(_)) {
                    self.roll_back_quietly().await;
                }
                Err(failure)
            }
        }
    }

    async fn deliver(&mut self, plan: &DeliveryPlan, ask: &Ask<'_>) -> Result<String, Failure> {
        match self.start_delivery(plan, ask).await? {
            Delivered::Done(tag) => Ok(tag),
            Delivered::Answering(answering) => self.finish_answering(*answering).await,
        }
    }

    /// What the shards answer to its end; the command tag.
    pub(super) async fn finish_answering(&mut self, answering: Answering) -> Result<String, Failure> {
        let Answering { mut run, shards, same } = answering;
        let ended = {
            let mut servers = self.held.servers(&shards);
            run.run(&mut servers, &mut self.client, None).await
        };
        match ended {
            Ok(RunEnd::Complete(_)) if same => Ok(run.common_tag()?),
            Ok(RunEnd::Complete(tag)) => Ok(tag),
            Ok(RunEnd::Suspended) => Err(Fault::new(SqlState::INTERNAL_ERROR, "a merge has stopped early").into()),
            Err(error) => Err(self.scatter_failure(error, false).await),
        }
    }

    /// The first rows of what the shards answer, for a portal that goes on with them.
    pub(super) async fn resume_answering(
        &mut self,
        name: &[u8],
        answering: Answering,
        max: u64,
    ) -> Result<(), Failure> {
        let Answering { run, shards, .. } = answering;
        self.resume(name, Box::new(PortalRun::new(run, shards)), Some(max)).await
    }

    /// The first rows of a portal that is fetched in pieces.
    pub(super) async fn execute_delivery(
        &mut self,
        name: &[u8],
        plan: &DeliveryPlan,
        ask: &Ask<'_>,
        max: u64,
    ) -> Result<(), Failure> {
        match self.start_delivery(plan, ask).await? {
            Delivered::Done(tag) => {
                reply::command_complete(&mut self.client.out, &tag)?;
                Ok(())
            }
            Delivered::Answering(answering) => self.resume_answering(name, *answering, max).await,
        }
    }

    /// Everything for which the combine connection is needed.
    async fn start_delivery(&mut self, plan: &DeliveryPlan, ask: &Ask<'_>) -> Result<Delivered, Failure> {
        let may_be_hidden = matches!(plan.landing.place, Place::Home) && !plan.landing.qualified;
        if may_be_hidden && self.names_temporary(ask.statement().0).await? {
            return Err(hidden_target(&plan.landing).into());
        }
        let targets = plan.targets(&self.view.topology);
        let draws = &plan.landing.draws;
        let (slot, original) = self.fill_depot(plan, ask, &targets).await?;
        if plan.taking.as_ref().is_some_and(|taking| taking.reads_clock)
            && self.tx.time.is_none()
            && let Err(failure) = self.moment_of(self.shard_of_time()).await
        {
            self.memory.lost(draws.sequences.iter().cloned());
            self.end_finish(slot).await;
            return Err(failure);
        }
        let targets: Vec<ShardId> = targets.iter().collect();
        let mut filled = 0;
        let delivered = match self.empty_depot(slot, plan, &targets, ask, original, &mut filled).await {
            Ok(delivered) => {
                self.note_draws(slot, draws, filled).await;
                Ok(delivered)
            }
            Err(error) => {
                self.memory.lost(draws.sequences.iter().cloned());
                Err(self.scatter_failure(error, false).await)
            }
        };
        self.end_finish(slot).await;
        delivered
    }

    /// As in one Postgres, before anything of the statement is run: its parts would say so in the words of COPY.
    async fn check_may_write(&mut self, command: &str) -> Result<(), Failure> {
        match self.is_read_only().await? {
            false => Ok(()),
            true => {
                let message = format!("cannot execute {command} in a read-only transaction");
                Err(Fault::new(SqlState::READ_ONLY_SQL_TRANSACTION, message).into())
            }
        }
    }

    /// Whether the transaction is READ ONLY, of which the home shard has a part.
    pub(super) async fn is_read_only(&mut self) -> Result<bool, Failure> {
        let at = self.held_at(self.view.topology.home)?;
        let shown = self.held[at].server.query("SHOW transaction_read_only").await?;
        Ok(shown.iter().flatten().any(|shown| shown.as_deref() == Some("on")))
    }

    /// What the depot will take of sequences, it takes on a connection of its own.
    async fn check_draws(&mut self, draws: &Draws) -> Result<(), Failure> {
        if draws.sequences.is_empty() {
            return Ok(());
        }
        if self.has_own_catalog() && !self.are_untouched(&draws.sequences).await? {
            return Err(Fault::unsupported(
                "INSERT of a query's rows that take values of sequences is not supported behind DDL",
                "the transaction may have changed the sequence, and the values are taken on another connection",
                "Run it in a transaction of its own.",
            )
            .into());
        }
        for sequence in &draws.of_identity {
            if !self.may_take(sequence).await? {
                return Err(Fault::unsupported(
                    "INSERT of a query's rows that take values of an identity column is not supported for this user",
                    format!(
                        "the rows are put together in one place first, which takes the right to use sequence {sequence}"
                    ),
                    format!("GRANT USAGE ON SEQUENCE {sequence} to the user, or give the column a value."),
                )
                .into());
            }
        }
        // What this router has left of earlier values is smaller than what comes now.
        draws.sequences.iter().for_each(|sequence| self.database.sequences.forget_one(sequence));
        Ok(())
    }

    /// What `currval` and `lastval` say of the values that the depot's `rows` have taken. That they are not told is not worth an error.
    async fn note_draws(&mut self, slot: ShardId, draws: &Draws, rows: u64) {
        if draws.sequences.is_empty() || rows == 0 {
            return;
        }
        match self.drawn_last(slot, draws).await {
            Ok(values) => {
                self.note_taken(values, draws.sequences.last().filter(|_| draws.alone).cloned());
            }
            Err(_) => self.memory.lost(draws.sequences.iter().cloned()),
        }
    }

    /// The last value of each sequence, which the connection knows that has put the rows together.
    async fn drawn_last(&mut self, slot: ShardId, draws: &Draws) -> Result<Vec<(QualifiedName, i64)>, Fault> {
        let at = self.held_at(slot)?;
        let server = &mut self.held[at].server;
        let list: Vec<String> = draws.sequences.iter().map(current_value).collect();
        let rows = server.query(&format!("SELECT {}", list.join(", "))).await?;
        let values = rows.into_iter().next().unwrap_or_default().into_iter().map(|value| value?.parse().ok());
        let values: Option<Vec<i64>> = values.collect();
        let values = values.filter(|values| values.len() == draws.sequences.len());
        let values = values.ok_or_else(|| Fault::new(SqlState::INTERNAL_ERROR, "a sequence did not tell its value"))?;
        Ok(draws.sequences.iter().cloned().zip(values).collect())
    }

    /// Everything up to the Bind of what fills the depot. Returns the connection that has it, and the types of the client's parameters.
    async fn fill_depot(
        &mut self,
        plan: &DeliveryPlan,
        ask: &Ask<'_>,
        targets: &ShardSet,
    ) -> Result<(ShardId, Original), Failure> {
        // All shards at once, so that nobody waits for one with others in his hands.
        let mut shards = self.sources(&plan.finish)?;
        shards.insert(self.view.topology.home);
        shards.union_with(targets);
        let shards: Vec<ShardId> = shards.iter().collect();
        self.check_fanout(shards.len())?;
        match plan.landing.place {
            _ if plan.finish.writes_copies() => self.take_turn(&shards, Some(ask.statement().0)).await?,
            Place::Everywhere => self.take_turn(&shards, None).await?,
            Place::Keyed { .. } | Place::Home => self.enlist_all(&shards).await?,
        }
        self.check_may_write(plan.landing.verb.name()).await?;
        self.check_draws(&plan.landing.draws).await?;
        if !plan.landing.draws.sequences.is_empty() {
            self.memory.pass();
        }
        let (finish, original, _hold) = self.supplied(&plan.finish, ask).await?;
        if let Some(moved) = &plan.landing.moved {
            self.check_move(&plan.landing, moved).await?;
        }
        // What fills the depot returns no rows, whatever the statement itself returns.
        let filling = Original { parameters: original.parameters, rows: reply::NO_DATA.into(), origins: None };
        self.begin_finish(&finish, ask, filling).await
    }

    /// The rights that the UPDATE needs, and those that it takes to move the rows instead.
    async fn check_move(&mut self, landing: &Landing, moved: &Moved) -> Result<(), Failure> {
        let table = format!("{}.{}", quoted(&landing.table.schema), quoted(&landing.table.name));
        let set: Vec<String> = moved.assigned.iter().map(|column| format!("{} = NULL", quoted(column))).collect();
        let rights = ["SELECT", "INSERT", "DELETE"]
            .map(|right| format!("pg_catalog.has_table_privilege({}, '{right}')", quote_literal(&table)));
        // A foreign key that was added behind the catalog's back, too; behind the UPDATE none can be added.
        let sql = format!(
            "UPDATE {table} SET {} WHERE false; \
             SELECT {}, (SELECT conname FROM pg_catalog.pg_constraint WHERE contype = 'f' \
               AND (confrelid = {of} OR confrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree({of}))) \
               AND (confupdtype NOT IN ('a', 'r') OR confdeltype NOT IN ('a', 'r')) LIMIT 1)",
            set.join(", "),
            rights.join(" AND "),
            of = format_args!("pg_catalog.to_regclass({})", quote_literal(&table)),
        );
        let at = self.held_at(self.view.topology.home)?;
        let answer = self.held[at].server.query(&sql).await.map_err(Fault::without_position)?;
        let mut cells = answer.into_iter().next().unwrap_or_default().into_iter();
        let may = cells.next().flatten().is_some_and(|cell| cell == "t");
        match cells.next().flatten() {
            Some(key) => Err(has_action(landing, &key).into()),
            None if may => Ok(()),
            None => Err(no_right_to_move(landing).into()),
        }
    }

    /// Runs what fills the depot, and delivers the rows.
    async fn empty_depot(
        &mut self,
        slot: ShardId,
        plan: &DeliveryPlan,
        targets: &[ShardId],
        ask: &Ask<'_>,
        original: Original,
        filled: &mut u64,
    ) -> Result<Delivered, ScatterError> {
        let depot = plan.depot().ok_or_else(|| Fault::new(SqlState::INTERNAL_ERROR, "a delivery without a depot"))?;
        let rows = self.finish_depot(slot).await?;
        *filled = rows;
        if let Some(taking) = &plan.taking {
            let landing = &plan.landing;
            self.check_takes_over(slot, landing).await?;
            return self.take_from_depot(slot, Taken { taking, landing, depot, targets }, ask, &original).await;
        }
        let written = self.copy_from_depot(slot, plan, depot, targets).await?;
        // What is there already is told first.
        self.check_takes_over(slot, &plan.landing).await?;
        if written != rows {
            let detail = format!("{rows} rows were put together, {written} were written");
            return Err(Fault::new(SqlState::DATA_CORRUPTED, "rows were lost between the shards")
                .detail(detail)
                .into());
        }
        Ok(Delivered::Done(plan.landing.verb.tag(rows)))
    }

    /// Refuses rows of which one takes over what must be unique from another.
    async fn check_takes_over(&mut self, slot: ShardId, landing: &Landing) -> Result<(), ScatterError> {
        let Some(sql) = landing.moved.as_ref().and_then(|moved| moved.takes_over.as_ref()) else { return Ok(()) };
        let at = self.held_at(slot)?;
        let answer = self.held[at].server.query(sql).await.map_err(Fault::without_position)?;
        match answer.first().and_then(|row| row.first()) {
            Some(cell) if cell.as_deref() == Some("f") => Ok(()),
            _ => Err(takes_over(landing).into()),
        }
    }

    /// How many rows the depot has in the end.
    async fn finish_depot(&mut self, slot: ShardId) -> Result<u64, ScatterError> {
        let at = self.held_at(slot)?;
        let server = &mut self.held[at].server;
        request::execute(&mut server.out, PORTAL, 0)?;
        server.inflight.push(Owed::Execute(Audience::Client));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Client));
        let mut rows = None;
        while !server.inflight.is_empty() {
            let frame = content(server, &mut self.client, Hears::Everything).await?;
            match frame.tag {
                b'C' => rows = command_tag(frame.body()).1,
                b'E' => return Err(ScatterError::Shard(without_position(&frame))),
                _ => {}
            }
        }
        rows.ok_or_else(|| Fault::new(SqlState::INTERNAL_ERROR, "a depot was not filled").into())
    }

    /// The depot's rows into a COPY on each shard; how many they took, together or where all got the same on each.
    async fn copy_from_depot(
        &mut self,
        slot: ShardId,
        plan: &DeliveryPlan,
        depot: &Depot,
        targets: &[ShardId],
    ) -> Result<u64, ScatterError> {
        let binary = depot.is_portable();
        if !binary {
            self.check_texts()?;
        }
        let columns: Vec<String> = depot.columns.iter().map(|column| quoted(&column.name)).collect();
        let columns = columns.join(", ");
        let table = &plan.landing.table;
        let format = if binary { " (FORMAT binary)" } else { "" };
        let copy = format!("COPY {}.{} ({columns}) FROM STDIN{format}", quoted(&table.schema), quoted(&table.name));
        let mut wrote = Vec::new();
        for shard in targets {
            let at = self.held_at(*shard)?;
            let held = &mut self.held[at];
            wrote.push(held.wrote);
            held.note_rows(matches!(plan.landing.place, Place::Everywhere));
            held.server.lose_unnamed();
            request::query(&mut held.server.out, copy.as_bytes())?;
            held.server.inflight.push(Owed::Query { audience: Audience::Client, ready: Audience::Router });
        }
        let topology = Arc::clone(&self.view.topology);
        let all: Vec<ShardId> = targets.iter().copied().chain([slot]).collect();
        let mut servers = self.held.servers(&all);
        let Some((source, servers)) = servers.split_last_mut() else { return Ok(0) };
        if let Err(error) = begun(servers).await? {
            return Err(ScatterError::Shard(without_copy_context(&error)));
        }
        ask_rows(source, &format!("SELECT {columns} FROM {}", qualified(&depot.name)), &[i16::from(binary)])?;
        let format = if binary { Format::Binary } else { Format::Text };
        let formats = vec![format; depot.columns.len()];
        let place =
            |row: &RowView<'_>| place(row, &plan.landing.place, &plan.landing.table, &formats, &topology, targets);
        let carried = carry(source, servers, &mut self.client, binary, place).await;
        let same = matches!(plan.landing.place, Place::Everywhere);
        let got = match carried {
            Ok(got) => got,
            Err(error) => {
                if !matches!(error, ScatterError::Broken(Broken::Client)) {
                    let _ = ended(servers, Some("the rows did not all arrive"), same).await?;
                }
                return Err(error);
            }
        };
        let ended = ended(servers, None, same).await?;
        let rows = ended.map_err(|(_, error)| ScatterError::Shard(without_copy_context(&error)))?;
        // Who got no rows has written nothing.
        for ((shard, before), got) in targets.iter().zip(wrote).zip(got) {
            let at = self.held_at(*shard)?;
            self.held[at].wrote = before || got > 0;
        }
        Ok(rows)
    }
}

/// Where a row goes. `formats`: of its columns.
pub(super) fn place(
    row: &RowView<'_>,
    place: &Place,
    table: &QualifiedName,
    formats: &[Format],
    topology: &Topology,
    targets: &[ShardId],
) -> Result<To, Fault> {
    let (distribution, name, key) = match place {
        Place::Keyed { distribution, name, key } => (topology.distribution(*distribution), name, key),
        Place::Everywhere => return Ok(To::All),
        Place::Home => return Ok(To::One(0)),
    };
    let mut values: smallvec::SmallVec<[KeyValue<'_>; 2]> = smallvec::SmallVec::new();
    for (column, key_type) in key.iter().zip(&distribution.key_types) {
        let Some(bytes) = row.column(column.column)? else {
            // A shard refuses it, in Postgres's words.
            return if column.not_null { Ok(To::One(0)) } else { Err(null_key(table)) };
        };
        let format = formats.get(column.column).copied().unwrap_or_default();
        let value = match format {
            Format::Binary => key_type.parse_typed(column.type_oid, Format::Binary, bytes),
            Format::Text => {
                std::str::from_utf8(bytes).map_err(|_| KeyError::Unsure).and_then(|text| key_type.parse_text(text))
            }
        };
        values.push(value.map_err(|_| unread_key(table))?);
    }
    let shard = distribution.locate(&values).map_err(|_| unmapped(name, &values))?;
    let at = targets.iter().position(|target| *target == shard);
    at.map(To::One).ok_or_else(|| Fault::new(SqlState::INTERNAL_ERROR, "a row's shard takes no part in the statement"))
}

/// The name of an unsharded table can be that of a temporary one too.
fn hidden_target(landing: &Landing) -> Fault {
    Fault::unsupported(
        format!(
            "rows of several shards cannot be written to \"{}\" beside temporary tables that are named here",
            landing.table.name
        ),
        "One of them could hide the table, and the rows are put together on a connection that does not see it.",
        "Write its name with its schema, run it in another session, or read the rows and insert them.",
    )
}

/// A foreign key does something to the rows that refer to one that is changed, or goes.
fn has_action(landing: &Landing, key: &str) -> Fault {
    Fault::unsupported(
        format!("changing the sharding key of table \"{}\" is not supported", landing.table.name),
        format!(
            "foreign key \"{key}\" has an action on the rows that refer to the table, which would have to move, too, or stay"
        ),
        "Insert the new rows, change those that refer to the old ones, and delete the old ones, in one transaction.",
    )
}

fn no_right_to_move(landing: &Landing) -> Fault {
    Fault::unsupported(
        format!("changing the sharding key of table \"{}\" is not supported here", landing.table.name),
        "its rows move to other shards, which takes the privileges SELECT, INSERT and DELETE on the table",
        "GRANT them, or change the row as a user who has them.",
    )
}

fn takes_over(landing: &Landing) -> Fault {
    Fault::unsupported(
        format!("this change of the sharding key of table \"{}\" is not supported", landing.table.name),
        "a row would take over what must be unique from another row that is changed too, which succeeds or fails by the order of the rows",
        "Change the rows in several statements.",
    )
}

fn null_key(table: &QualifiedName) -> Fault {
    Fault::unsupported(
        format!("a row for sharded table \"{}\" without a sharding key is not supported", table.name),
        "its sharding key is NULL, which belongs to no shard",
        "Give every row a key, or leave such rows out.",
    )
}

pub(super) fn unread_key(table: &QualifiedName) -> Fault {
    Fault::unsupported(
        format!("the shard of a row for table \"{}\" is not certain", table.name),
        "its sharding key cannot be read with certainty",
        "Write the rows with the values themselves.",
    )
}
