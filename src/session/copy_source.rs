//! Values of sequences, the time and random uuids for the columns that the rows of a COPY leave out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use ring::rand::{SecureRandom, SystemRandom};

use crate::backend::Backend;
use crate::backend::sequences::Asking;
use crate::backend::settings::quote_literal;
use crate::copy::append::{self, Added, RowValues, Value};
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, QualifiedName, ShardId};
use crate::plan::CopyInPlan;
use crate::session::draw::{integers, next_values};
use crate::session::{Failure, Session};
use crate::sql::pulls::quoted;
use crate::sql::utility::CopyFormat;
use crate::types::canonical::KeyValue;
use crate::types::{Format, KeyType, oid};

/// Nothing, for rows that leave nothing out.
#[derive(Default)]
pub struct CopySource {
    columns: Vec<Column>,
    added: Vec<Added>,
    /// A connection of the router's own: those of the session are in the middle of the COPY.
    server: Option<Backend>,
    /// Values of each sequence to ask for next.
    step: usize,
    /// When the first were asked for.
    began: u64,
    /// One row's values.
    row: RowValues,
    /// Of what is the same in all rows, behind the columns: the values that are part of the sharding key, with their types.
    constants: Vec<Option<(Oid, Box<[u8]>)>>,
}

struct Column {
    sequence: QualifiedName,
    values: VecDeque<i64>,
    last: Option<i64>,
}

impl CopySource {
    /// Whether there are values for one more row.
    pub fn has_row(&self) -> bool {
        self.columns.iter().all(|column| !column.values.is_empty())
    }

    /// Whether rows are sent on with more than they came with.
    pub fn adds(&self) -> bool {
        !self.added.is_empty()
    }

    /// Asks for more where there are none. `most`: the size of a block.
    pub async fn refill(&mut self, most: usize) -> Result<(), Failure> {
        self.step = (self.step * 2).clamp(1, most);
        let Some(server) = &mut self.server else { return Ok(()) };
        for column in self.columns.iter_mut().filter(|column| column.values.is_empty()) {
            // One is needed; the rest is spare, which the end of the sequence may not give.
            let sql = next_values(&column.sequence, 1, self.step - 1);
            column.values.extend(integers(server.query(&sql).await?)?);
        }
        Ok(())
    }

    pub fn header(&self, format: &CopyFormat, line: &[u8], out: &mut Vec<u8>) {
        append::header(format, line, &self.added, out);
    }

    /// The value of an added column in the row at hand, as the sharding key that it is.
    pub fn key(&self, added: usize, key_type: KeyType) -> Result<KeyValue<'_>, ()> {
        if let Some(uuid) = added.checked_sub(self.columns.len() + self.constants.len()) {
            let uuid = self.row.uuids.get(uuid).ok_or(())?;
            return key_type.parse_typed(oid::UUID, Format::Binary, uuid).map_err(drop);
        }
        if let Some(constant) = added.checked_sub(self.columns.len()) {
            let (oid, value) = self.constants.get(constant).and_then(Option::as_ref).ok_or(())?;
            return key_type.parse_typed(*oid, Format::Binary, value).map_err(drop);
        }
        let value = *self.row.integers.get(added).ok_or(())?;
        match key_type {
            KeyType::Int2 => i16::try_from(value).map(|_| KeyValue::Int(value)).map_err(drop),
            KeyType::Int4 => i32::try_from(value).map(|_| KeyValue::Int(value)).map_err(drop),
            KeyType::Int8 => Ok(KeyValue::Int(value)),
            _ => Err(()),
        }
    }

    /// The row with its values, each of which is gone then.
    pub fn row(&mut self, format: &CopyFormat, row: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        if self.added.is_empty() {
            out.extend_from_slice(row);
            return Ok(());
        }
        self.row.integers.clear();
        for column in &mut self.columns {
            column.last = column.values.pop_front();
            self.row.integers.extend(column.last);
        }
        self.row.uuids.clear();
        for _ in self.added.iter().filter(|column| column.value == Value::Uuid) {
            let mut bytes = [0; 16];
            let filled = SystemRandom::new().fill(&mut bytes);
            filled.map_err(|_| Fault::new(SqlState::INTERNAL_ERROR, "the system has no random numbers"))?;
            self.row.uuids.push(append::uuid_of(bytes));
        }
        append::row(format, row, &self.row, &self.added, out)
    }
}

impl Session {
    /// The values for what a COPY leaves out; the first of each are taken as the user, who must have the right.
    pub(super) async fn copy_source(&mut self, plan: &CopyInPlan) -> Result<CopySource, Failure> {
        let Some(fill) = plan.fill.as_ref().filter(|fill| !fill.columns.is_empty()) else {
            return Ok(CopySource::default());
        };
        if self.has_own_catalog() || self.has_own_role() {
            return Err(Fault::unsupported(
                "COPY that leaves out a column that takes its values from a sequence is not supported here",
                "the transaction has changed definitions or the session its role, and the sequence is asked beside it",
                "Give the column its values in the COPY, or run it in a transaction of its own.",
            )
            .into());
        }
        let added =
            fill.columns.iter().map(|(name, ty, _)| Added { name: name.clone(), type_oid: *ty, value: Value::Integer });
        let added: Vec<Added> = added.collect();
        append::check(&plan.format, &added, plan.encoding.is_some())?;
        self.may_insert(&plan.table).await?;
        let mut columns = Vec::with_capacity(added.len());
        for (_, _, sequence) in &fill.columns {
            if columns.iter().any(|column: &Column| column.sequence == *sequence) {
                return Err(Fault::unsupported(
                    "COPY that leaves out two columns of one sequence is not supported",
                    "the router would have to know in what order they take its values",
                    "Give one of the columns its values in the COPY.",
                )
                .into());
            }
            self.may_use(sequence).await?;
            columns.push(Column { sequence: sequence.clone(), values: VecDeque::new(), last: None });
        }
        let began = self.database.sequences.tick();
        let server = crate::control::connect(&self.database, self.view.topology.home).await?;
        Ok(CopySource {
            columns,
            added,
            server: Some(server),
            step: 0,
            began,
            row: RowValues::default(),
            constants: Vec::new(),
        })
    }

    /// The shard that says what the defaults are that read the clock.
    pub(super) fn shard_of_moment(&self, plan: &CopyInPlan) -> Option<ShardId> {
        let reads = plan.fill.as_ref().is_some_and(|fill| !fill.clocks.is_empty());
        reads.then(|| self.shard_of_time())
    }

    /// Adds what the defaults say that read the clock: once for all rows and shards, by a shard that takes part in the transaction.
    pub(super) async fn add_moment(&mut self, plan: &CopyInPlan, source: &mut CopySource) -> Result<(), Failure> {
        let (Some(fill), Some(shard)) = (&plan.fill, self.shard_of_moment(plan)) else { return Ok(()) };
        let refuse = |detail: &'static str| {
            Fault::unsupported(
                "COPY that leaves out a column whose default reads the clock is not supported here",
                detail,
                "Give the column its values in the COPY.",
            )
        };
        let is_binary = matches!(plan.format, CopyFormat::Binary);
        if !is_binary {
            self.exact_texts(
                "COPY that leaves out a column whose default reads the clock is not supported under these settings",
            )?;
        }
        let at = self.enlist(shard).await?;
        let server = &mut self.held[at].server;
        let table = quote_literal(&format!("{}.{}", quoted(&plan.table.schema), quoted(&plan.table.name)));
        let types: Vec<String> = fill.clocks.iter().map(|(name, _)| type_of(&table, name)).collect();
        let types = server.query(&format!("SELECT {}", types.join(", "))).await?.into_iter().flatten();
        let values = fill.clocks.iter().zip(types).map(|((_, default), ty)| {
            let ty = ty.ok_or_else(|| refuse("the shard that has the clock does not have the column"))?;
            let value = format!("CAST(({default}) AS {ty})");
            let binary = format!("pg_catalog.encode(pg_catalog.record_send(ROW({value})), 'hex')");
            // Both of the same moment.
            Ok(if is_binary { format!("{binary}, {binary}") } else { format!("{value}::pg_catalog.text, {binary}") })
        });
        let values = values.collect::<Result<Vec<String>, Fault>>()?.join(", ");
        let values = server.query(&format!("SELECT {values}")).await.map_err(Fault::without_position)?;
        self.tx.clock = Some(shard);
        let values: Vec<Option<String>> = values.into_iter().flatten().collect();
        for ((name, _), value) in fill.clocks.iter().zip(values.chunks(2)) {
            let [shown, binary] = value else { continue };
            let constant = shown.as_ref().and_then(|value| append::constant(&plan.format, value));
            let constant =
                constant.ok_or_else(|| refuse("the router adds the value to the rows, where it cannot be written"))?;
            source.added.push(Added { name: name.clone(), type_oid: 0, value: Value::Constant(constant) });
            let is_key = plan.key_fields.iter().any(|(_, column)| column == name);
            source.constants.push(binary.as_deref().filter(|_| is_key).and_then(append::binary_of_record));
        }
        append::check(&plan.format, &source.added, plan.encoding.is_some())?;
        Ok(())
    }

    /// Adds the columns of which each row has a random uuid.
    pub(super) fn add_uuids(plan: &CopyInPlan, source: &mut CopySource) {
        let names = plan.fill.iter().flat_map(|fill| &fill.uuids);
        source.added.extend(names.map(|name| Added { name: name.clone(), type_oid: oid::UUID, value: Value::Uuid }));
    }

    /// The COPY is over: what it has not used goes to the router's block, what it used last is what `lastval` says. How far one came that
    /// failed is not known.
    pub(super) fn keep_rest(&mut self, source: CopySource, done: bool) {
        let generation = self.database.cluster.load().catalog.generation;
        let most = self.limits.sequence_block;
        let (user, began) = (Arc::clone(&self.user), source.began);
        let mut last = None;
        let mut taken = Vec::new();
        for column in source.columns {
            let asking = Asking { user: &user, sequence: &column.sequence, generation, now: Instant::now() };
            let reached = self.database.sequences.keep(asking, column.values.into(), most, began);
            self.memory.reach(&column.sequence, reached);
            if let Some(value) = column.last {
                last = Some(column.sequence.clone());
                taken.push((column.sequence, value));
            }
        }
        if taken.is_empty() {
            return;
        }
        match done {
            true => self.note_taken(taken, last),
            false => self.memory.lost(taken.into_iter().map(|(sequence, _)| sequence)),
        }
    }
}

/// The type of a column in SQL, without what limits its values: the shards see to that.
fn type_of(table: &str, column: &str) -> String {
    let column = quote_literal(column);
    format!(
        "(SELECT pg_catalog.format_type(a.atttypid, -1) FROM pg_catalog.pg_attribute a \
          WHERE a.attrelid = pg_catalog.to_regclass({table}) AND a.attname = {column} AND NOT a.attisdropped)"
    )
}
