//! The rows of a table on their way from one placement to another, within the transaction that changes it.

use std::sync::Arc;
use std::time::Instant;

use crate::backend::inflight::{Audience, Owed};
use crate::control::definition::{Column, Definition, quoted};
use crate::exec::copy::{begun, ended};
use crate::exec::delivery::{Carrier, To, ask_rows, carry, without_copy_context};
use crate::exec::forward::Broken;
use crate::exec::replies::ScatterError;
use crate::fault::{Fault, SqlState};
use crate::ids::{DistributionId, QualifiedName, ShardId};
use crate::session::replacing::TELL;
use crate::session::{Failure, Session};
use crate::sql::pulls;
use crate::topology::Topology;
use crate::types::Format;
use crate::types::canonical::{KeyError, KeyValue};
use crate::wire::reply::NoticeLevel;
use crate::wire::request;
use crate::wire::row::RowView;

/// Rows that are fetched, and those of them that go elsewhere deleted, at a time.
const BATCH: u64 = 5000;

/// Texts of values that every server reads as those very values.
const TEXTS: &str = "SET LOCAL DateStyle TO ISO; SET LOCAL IntervalStyle TO postgres; SET LOCAL extra_float_digits TO 1; \
    SET LOCAL bytea_output TO hex; SET LOCAL array_nulls TO on; SET LOCAL xmloption TO content";

/// How a table's rows are written.
struct Form {
    table: String,
    columns: String,
    binary: bool,
}

impl Form {
    fn of(table: &QualifiedName, definition: &Definition) -> Self {
        let columns: Vec<String> = definition.columns.iter().map(|column| pulls::quoted(&column.name)).collect();
        Self {
            table: quoted(table),
            columns: columns.join(", "),
            binary: definition.columns.iter().all(|column| column.portable),
        }
    }

    fn copy(&self) -> String {
        let format = if self.binary { " (FORMAT binary)" } else { "" };
        format!("COPY {} ({}) FROM STDIN{format}", self.table, self.columns)
    }

    fn formats(&self) -> [i16; 1] {
        [i16::from(self.binary)]
    }
}

impl Session {
    /// Each row of the home shard to the shard of its key; what goes elsewhere is deleted there. How many went.
    pub(super) async fn spread(
        &mut self,
        table: &QualifiedName,
        definition: &Definition,
        distribution: DistributionId,
        key: &[Box<str>],
        others: &[ShardId],
    ) -> Result<u64, Failure> {
        let home = self.view.topology.home;
        let form = Form::of(table, definition);
        self.set_texts(&form).await?;
        self.ask_on(
            home,
            &format!(
                "DECLARE pgloom_moved NO SCROLL CURSOR FOR SELECT t.ctid, {} FROM ONLY {} t",
                definition
                    .columns
                    .iter()
                    .map(|column| format!("t.{}", pulls::quoted(&column.name)))
                    .collect::<Vec<_>>()
                    .join(", "),
                form.table
            ),
        )
        .await?;
        let router = KeyRouter::new(
            table,
            &definition.columns,
            key,
            distribution,
            others,
            home,
            form.binary,
            &self.view.topology,
        )?;
        self.begin_copies(&form, others).await?;
        let mut carrier = Carrier::new(others.len(), form.binary, 1);
        let spread = self.spread_batches(&form, &router, &mut carrier, others, definition.estimate).await;
        let failed = spread.as_ref().err().map(|_| "the rows did not all arrive");
        if !matches!(spread, Err(ScatterError::Broken(Broken::Client))) {
            let ended = self.end_copies(others, failed).await;
            match (spread, ended) {
                (Ok(()), Ok(copied)) => {
                    let carried: u64 = carrier.rows.iter().sum();
                    self.check_count(carried, copied)?;
                    self.ask_on(home, "CLOSE pgloom_moved").await?;
                    return Ok(copied);
                }
                // What a shard says is why the rest has failed.
                (_, Err(error)) | (Err(error), Ok(_)) => return Err(self.scatter_failure(error, false).await),
            }
        }
        match spread {
            Err(error) => Err(self.scatter_failure(error, false).await),
            Ok(()) => Ok(0),
        }
    }

    async fn spread_batches(
        &mut self,
        form: &Form,
        router: &KeyRouter<'_>,
        carrier: &mut Carrier,
        others: &[ShardId],
        estimate: u64,
    ) -> Result<(), ScatterError> {
        let home = self.view.topology.home;
        let slot = Arc::clone(&self.slot);
        // Between the statements of the home shard nobody would hear a cancel.
        let _waiting = slot.wait();
        let (mut seen, mut told) = (0, Instant::now());
        loop {
            let mut moved: Vec<String> = Vec::new();
            let mut fetched = 0;
            let all: Vec<ShardId> = others.iter().copied().chain([home]).collect();
            let mut servers = self.held.servers(&all);
            let Some((source, targets)) = servers.split_last_mut() else { return Ok(()) };
            ask_rows(source, &format!("FETCH FORWARD {BATCH} FROM pgloom_moved"), &form.formats())?;
            let place = |row: &RowView<'_>| {
                fetched += 1;
                let to = router.place(row)?;
                if to != To::Nowhere {
                    moved.push(router.ctid(row)?);
                }
                Ok(to)
            };
            if !carrier.carry(source, targets, &mut self.client, place).await? {
                // Why it has failed is read when its COPY ends.
                return Ok(());
            }
            if !moved.is_empty() {
                let sql = format!(
                    "DELETE FROM ONLY {} WHERE ctid = ANY ('{{{}}}'::pg_catalog.tid[])",
                    form.table,
                    moved.join(",")
                );
                let tag = source.command(&sql).await.map_err(Fault::without_position)?;
                if tag != format!("DELETE {}", moved.len()) {
                    return Err(lost(&format!(
                        "{} rows went to other shards, and the home shard says {tag}",
                        moved.len()
                    ))
                    .into());
                }
            }
            if self.client.control.is_canceled() {
                return Err(self.slot.canceled().into());
            }
            seen += fetched;
            self.shared.metrics.moved_rows.inc_by(fetched);
            if told.elapsed() >= TELL {
                told = Instant::now();
                self.tell_progress(seen, estimate);
            }
            if fetched < BATCH {
                carrier.finish(targets_of(&mut self.held.servers(others)));
                return Ok(());
            }
        }
    }

    /// All rows of the home shard to each of the others. How many there are.
    pub(super) async fn copy_out(
        &mut self,
        table: &QualifiedName,
        definition: &Definition,
        others: &[ShardId],
    ) -> Result<u64, Failure> {
        let form = Form::of(table, definition);
        self.set_texts(&form).await?;
        let home = self.view.topology.home;
        self.carry_all(&form, home, others, true).await
    }

    /// The rows of the other shards to the home shard, one shard after the other. How many came.
    pub(super) async fn bring_home(
        &mut self,
        table: &QualifiedName,
        definition: &Definition,
        others: &[ShardId],
    ) -> Result<u64, Failure> {
        let form = Form::of(table, definition);
        self.set_texts(&form).await?;
        let home = self.view.topology.home;
        let mut rows = 0;
        for shard in others {
            rows += self.carry_all(&form, *shard, &[home], false).await?;
            self.tell_progress(rows, 0);
        }
        Ok(rows)
    }

    /// All rows of one shard into a COPY on each of these.
    async fn carry_all(&mut self, form: &Form, from: ShardId, to: &[ShardId], same: bool) -> Result<u64, Failure> {
        if to.is_empty() {
            return Ok(0);
        }
        self.begin_copies(form, to).await?;
        let slot = Arc::clone(&self.slot);
        let carried = {
            let _waiting = slot.wait();
            let all: Vec<ShardId> = to.iter().copied().chain([from]).collect();
            let mut servers = self.held.servers(&all);
            match servers.split_last_mut() {
                Some((source, targets)) => {
                    match ask_rows(
                        source,
                        &format!("SELECT {} FROM ONLY {}", form.columns, form.table),
                        &form.formats(),
                    ) {
                        Ok(()) => carry(source, targets, &mut self.client, form.binary, |_| Ok(To::All)).await,
                        Err(fault) => Err(fault.into()),
                    }
                }
                None => Ok(Vec::new()),
            }
        };
        if let Err(error @ ScatterError::Broken(Broken::Client)) = carried {
            return Err(self.scatter_failure(error, false).await);
        }
        let failed = carried.as_ref().err().map(|_| "the rows did not all arrive");
        let ended = self.end_copies_as(to, failed, same).await;
        match (carried, ended) {
            (Ok(rows), Ok(copied)) => {
                self.check_count(rows.first().copied().unwrap_or(0), copied)?;
                self.shared.metrics.moved_rows.inc_by(copied);
                Ok(copied)
            }
            (_, Err(error)) | (Err(error), Ok(_)) => Err(self.scatter_failure(error, false).await),
        }
    }

    async fn set_texts(&mut self, form: &Form) -> Result<(), Failure> {
        if form.binary {
            return Ok(());
        }
        for shard in (0..self.view.topology.shards.len()).map(|at| ShardId(at as u16)) {
            self.ask_on(shard, TEXTS).await?;
        }
        Ok(())
    }

    async fn begin_copies(&mut self, form: &Form, shards: &[ShardId]) -> Result<(), Failure> {
        for shard in shards {
            let at = self.held_at(*shard)?;
            let server = &mut self.held[at].server;
            request::query(&mut server.out, form.copy().as_bytes())?;
            server.inflight.push(Owed::Query { audience: Audience::Client, ready: Audience::Router });
        }
        if shards.is_empty() {
            return Ok(());
        }
        let begun = begun(&mut self.held.servers(shards)).await?;
        match begun {
            Ok(_) => Ok(()),
            Err(error) => Err(self.scatter_failure(ScatterError::Shard(without_copy_context(&error)), false).await),
        }
    }

    async fn end_copies(&mut self, shards: &[ShardId], failed: Option<&str>) -> Result<u64, ScatterError> {
        self.end_copies_as(shards, failed, false).await
    }

    async fn end_copies_as(
        &mut self,
        shards: &[ShardId],
        failed: Option<&str>,
        same: bool,
    ) -> Result<u64, ScatterError> {
        let mut servers = self.held.servers(shards);
        let ended = ended(&mut servers, failed, same).await?;
        match ended {
            Ok(rows) => Ok(rows),
            // Those that were told to stop say so.
            Err(_) if failed.is_some() => Ok(0),
            Err((_, error)) => Err(ScatterError::Shard(without_copy_context(&error))),
        }
    }

    fn check_count(&self, carried: u64, copied: u64) -> Result<(), Fault> {
        match carried == copied {
            true => Ok(()),
            false => Err(lost(&format!("{carried} rows were sent, {copied} were written"))),
        }
    }

    /// A NOTICE, and a line in the log.
    fn tell_progress(&mut self, rows: u64, estimate: u64) {
        let of = match estimate {
            0 => String::new(),
            estimate => format!(" of about {estimate} ({} %)", (rows.saturating_mul(100) / estimate).min(100)),
        };
        tracing::info!(database = %self.database.name, rows, estimate, "rows are being moved");
        let notice = Fault::new(SqlState::SUCCESSFUL_COMPLETION, format!("{rows} rows{of} have been looked at"));
        self.tell_notice(NoticeLevel::Notice, &notice);
    }
}

fn targets_of<'a, 'b>(
    servers: &'a mut Vec<&'b mut crate::backend::Backend>,
) -> &'a mut [&'b mut crate::backend::Backend] {
    servers.as_mut_slice()
}

fn lost(detail: &str) -> Fault {
    Fault::new(SqlState::DATA_CORRUPTED, "rows were lost between the shards").detail(detail.to_owned())
}

/// Where the rows of a table belong, whose first column is the `ctid`.
struct KeyRouter<'a> {
    table: &'a QualifiedName,
    /// The key's columns in a row, with their types.
    key: Vec<(usize, u32)>,
    distribution: DistributionId,
    others: &'a [ShardId],
    home: ShardId,
    format: Format,
    topology: Arc<Topology>,
}

impl<'a> KeyRouter<'a> {
    #[allow(clippy::too_many_arguments)]
    fn new(
        table: &'a QualifiedName,
        columns: &[Column],
        key: &[Box<str>],
        distribution: DistributionId,
        others: &'a [ShardId],
        home: ShardId,
        binary: bool,
        topology: &Arc<Topology>,
    ) -> Result<Self, Fault> {
        let place = |name: &Box<str>| {
            let at = columns.iter().position(|column| *column.name == **name)?;
            Some((at + 1, columns.get(at)?.type_oid))
        };
        let key: Option<Vec<_>> = key.iter().map(place).collect();
        let key =
            key.ok_or_else(|| Fault::new(SqlState::UNDEFINED_COLUMN, "a column of the sharding key does not exist"))?;
        let format = if binary { Format::Binary } else { Format::Text };
        Ok(Self { table, key, distribution, others, home, format, topology: Arc::clone(topology) })
    }

    fn place(&self, row: &RowView<'_>) -> Result<To, Fault> {
        let distribution = self.topology.distribution(self.distribution);
        let mut values: smallvec::SmallVec<[KeyValue<'_>; 2]> = smallvec::SmallVec::new();
        for ((column, type_oid), key_type) in self.key.iter().zip(&distribution.key_types) {
            let Some(bytes) = row.column(*column)? else {
                return Err(self.misplaced(row, "its sharding key is NULL, which belongs to no shard"));
            };
            let value = match self.format {
                Format::Binary => key_type.parse_typed(*type_oid, Format::Binary, bytes),
                Format::Text => {
                    std::str::from_utf8(bytes).map_err(|_| KeyError::Unsure).and_then(|text| key_type.parse_text(text))
                }
            };
            values.push(value.map_err(|_| self.misplaced(row, "its sharding key cannot be read with certainty"))?);
        }
        let Ok(shard) = distribution.locate(&values) else {
            return Err(self
                .misplaced(row, &format!("no shard of distribution \"{}\" has its sharding key", distribution.name)));
        };
        if shard == self.home {
            return Ok(To::Nowhere);
        }
        let at = self.others.iter().position(|other| *other == shard);
        at.map(To::One).ok_or_else(|| Fault::new(SqlState::INTERNAL_ERROR, "a row's shard takes no part in the move"))
    }

    /// As `tid` is written.
    fn ctid(&self, row: &RowView<'_>) -> Result<String, Fault> {
        let unreadable = || Fault::new(SqlState::INTERNAL_ERROR, "a row has no place in its table");
        let bytes = row.column(0)?.ok_or_else(unreadable)?;
        Ok(match (self.format, bytes) {
            (Format::Binary, [b0, b1, b2, b3, o0, o1]) => {
                format!("\"({},{})\"", u32::from_be_bytes([*b0, *b1, *b2, *b3]), u16::from_be_bytes([*o0, *o1]))
            }
            (Format::Binary, _) => return Err(unreadable()),
            (Format::Text, text) => format!("\"{}\"", std::str::from_utf8(text).map_err(|_| unreadable())?),
        })
    }

    fn misplaced(&self, row: &RowView<'_>, why: &str) -> Fault {
        let place = self.ctid(row).unwrap_or_default();
        Fault::new(SqlState::NOT_NULL_VIOLATION, format!("a row of table \"{}\" has no shard", self.table.name))
            .detail(format!("Of the row at ctid {}: {why}.", place.trim_matches('"')))
            .hint("Give it a key, or delete it; nothing was changed.")
    }
}
