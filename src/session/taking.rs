//! Rows from a depot that a statement takes on each shard: INSERT with ON CONFLICT or RETURNING. They go along with it as arrays, since
//! a transaction that is to be prepared must not have temporary tables.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::backend::clock::Moment;
use crate::backend::combine::qualified;
use crate::backend::inflight::{Audience, Owed};
use crate::backend::settings::quote_literal;
use crate::exec::delivery::{Collected, ask_rows, collect};
use crate::exec::forward::without_position;
use crate::exec::replies::ScatterError;
use crate::exec::scatter::{Answer, ScatterRun};
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::merge::MergeLimits;
use crate::plan::TakingPlan;
use crate::plan::combine::{Combine, Gather};
use crate::session::Session;
use crate::session::bind::result_formats;
use crate::session::delivery::{Answering, Delivered, place};
use crate::session::finish::Original;
use crate::session::pulls::{declared_types, values_of};
use crate::session::run::Ask;
use crate::sql::delivery::{Depot, Landing, Place};
use crate::sql::pulls::{is_portable, quoted};
use crate::types::{Format, oid};
use crate::wire::array::ArrayWriter;
use crate::wire::row::RowView;
use crate::wire::{encode, request};

/// The type of arrays of text.
const TEXT_ARRAY: Oid = 1009;

/// What is taken by which statement on which shards.
pub(super) struct Taken<'a> {
    pub taking: &'a TakingPlan,
    pub landing: &'a Landing,
    pub depot: &'a Depot,
    pub targets: &'a [ShardId],
}

/// How a column goes along.
struct Sent {
    format: Format,
    /// The types of the array's elements and of the array itself.
    element: Oid,
    array: Oid,
    /// The column's type in SQL, where its values are sent as texts.
    cast: Option<String>,
}

impl Session {
    /// Reads the depot's rows, and has each shard take its own. On return they are at work.
    pub(super) async fn take_from_depot(
        &mut self,
        slot: ShardId,
        of: Taken<'_>,
        ask: &Ask<'_>,
        original: &Original,
    ) -> Result<Delivered, ScatterError> {
        let sent = self.types_of_depot(slot, of.depot).await?;
        let collected = self.collect_depot(slot, &of, &sent).await?;
        let everywhere = matches!(of.landing.place, Place::Everywhere);
        let (shards, gather) = who_takes(&of, &collected, everywhere);
        let text = statement(&of, &sent);
        let mut types = declared_types(&of.taking.parameters, original);
        types.extend(sent.iter().map(|sent| sent.array));
        let none: Vec<ArrayWriter> = sent.iter().map(|sent| ArrayWriter::new(sent.element)).collect();
        for shard in &shards {
            let from = if everywhere { Some(0) } else { of.targets.iter().position(|target| target == shard) };
            let arrays = from.and_then(|at| collected.arrays.get(at)).filter(|arrays| !arrays.is_empty());
            let arrays: Vec<Bytes> =
                arrays.unwrap_or(&none).iter().map(ArrayWriter::bytes).collect::<Result<_, _>>()?;
            let bind = bind(&of, ask, &arrays)?;
            let at = self.held_at(*shard)?;
            let held = &mut self.held[at];
            held.wrote = true;
            let server = &mut held.server;
            request::parse(&mut server.out, b"", text.as_bytes(), &types)?;
            server.inflight.push(Owed::Parse(Audience::Client));
            request::bind_raw(&mut server.out, b"", b"", &bind)?;
            server.inflight.push(Owed::Bind(Audience::Router));
            request::describe(&mut server.out, request::Target::Portal, b"")?;
            server.inflight.push(Owed::DescribePortal(Audience::Client));
            request::execute(&mut server.out, b"", 0)?;
            server.inflight.push(Owed::Execute(Audience::Client));
            server.out.extend_from_slice(request::SYNC);
            server.inflight.push(Owed::Sync(Audience::Router));
        }
        let mut run = self.start_taking(&shards, gather, everywhere, ask).await?;
        run.say(of.landing.verb.word());
        Ok(Delivered::Answering(Box::new(Answering { run, shards, same: everywhere })))
    }

    async fn start_taking(
        &mut self,
        shards: &[ShardId],
        gather: Gather,
        everywhere: bool,
        ask: &Ask<'_>,
    ) -> Result<ScatterRun, ScatterError> {
        let limits = MergeLimits { max_bytes: self.shared.limits.merge_bytes };
        let style = self.text_style();
        let answer = if everywhere { Answer::First } else { Answer::Merged };
        let combine = Combine { gather, ..Combine::CONCAT };
        let run = {
            let mut servers = self.held.servers(shards);
            ScatterRun::start(&mut servers, &mut self.client, &combine, None, limits, answer, style).await
        };
        let mut run = run.map_err(|error| match error {
            ScatterError::Shard(frame) => ScatterError::Shard(without_position(&frame)),
            error => error,
        })?;
        match self.tell_columns(&run, ask) {
            Ok(()) => Ok(run),
            Err(fault) => Err(run.fail(fault)),
        }
    }

    /// The types of the depot's columns, and how each is sent: values whose binary form is the same on every server in binary.
    async fn types_of_depot(&mut self, slot: ShardId, depot: &Depot) -> Result<Vec<Sent>, ScatterError> {
        let sql = format!(
            "SELECT pg_catalog.format_type(a.atttypid, a.atttypmod), b.oid, \
               CASE WHEN b.typcategory OPERATOR(pg_catalog.<>) 'A' THEN b.typarray ELSE 0 END \
             FROM pg_catalog.pg_attribute a, LATERAL ( \
               WITH RECURSIVE under (oid, base) AS ( \
                 SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid UNION ALL \
                 SELECT t.oid, t.typbasetype FROM under u JOIN pg_catalog.pg_type t ON t.oid = u.base) \
               SELECT t.* FROM under u JOIN pg_catalog.pg_type t ON t.oid = u.oid WHERE u.base = 0) b \
             WHERE a.attrelid = {}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            quote_literal(&qualified(&depot.name))
        );
        let at = self.held_at(slot)?;
        let rows = self.held[at].server.query(&sql).await?;
        let unread = || Fault::new(SqlState::INTERNAL_ERROR, "a server did not tell the types of a depot's columns");
        let number = |cell: &Option<String>| cell.as_deref().and_then(|text| text.parse::<Oid>().ok());
        let sent = rows.into_iter().map(|row| match &row[..] {
            [Some(name), base, array] => {
                let (base, array) = (number(base).ok_or_else(unread)?, number(array).ok_or_else(unread)?);
                Ok(match array {
                    0 => Sent::as_text(name),
                    _ if !is_portable(base) => Sent::as_text(name),
                    array => Sent { format: Format::Binary, element: base, array, cast: None },
                })
            }
            _ => Err(unread()),
        });
        let sent: Vec<Sent> = sent.collect::<Result<_, Fault>>()?;
        if sent.len() != depot.columns.len() {
            return Err(unread().into());
        }
        if sent.iter().any(|sent| sent.format == Format::Text) {
            self.check_texts()?;
        }
        Ok(sent)
    }

    async fn collect_depot(&mut self, slot: ShardId, of: &Taken<'_>, sent: &[Sent]) -> Result<Collected, ScatterError> {
        let formats: Vec<Format> = sent.iter().map(|sent| sent.format).collect();
        let codes: Vec<i16> = formats.iter().map(|format| format.code()).collect();
        let columns: Vec<String> = of.depot.columns.iter().map(|column| quoted(&column.name)).collect();
        let sql = format!("SELECT {} FROM {}", columns.join(", "), qualified(&of.depot.name));
        let elements: Vec<Oid> = sent.iter().map(|sent| sent.element).collect();
        let limit = self.shared.limits.merge_bytes;
        let topology = Arc::clone(&self.view.topology);
        let at = self.held_at(slot)?;
        let source = &mut self.held[at].server;
        ask_rows(source, &sql, &codes)?;
        let place = |row: &RowView<'_>| place(row, of.landing, &formats, &topology, of.targets);
        collect(source, &mut self.client, of.targets.len(), &elements, limit, place).await
    }
}

impl Sent {
    fn as_text(name: &str) -> Self {
        Self { format: Format::Text, element: oid::TEXT, array: TEXT_ARRAY, cast: Some(name.to_owned()) }
    }
}

/// The shards that run the statement: those that have rows, but at least one, which says what it returns and whether it may run. And how
/// the rows that they return become one answer.
fn who_takes(of: &Taken<'_>, collected: &Collected, everywhere: bool) -> (Vec<ShardId>, Gather) {
    if everywhere {
        return (of.targets.to_vec(), Gather::Concat);
    }
    let mut places: Vec<usize> = (0..of.targets.len()).filter(|at| !collected.arrays[*at].is_empty()).collect();
    if places.is_empty() {
        places.push(0);
    }
    let shards = places.iter().map(|at| of.targets[*at]).collect();
    let among = |at: &u16| places.iter().position(|place| *place == usize::from(*at)).unwrap_or(0) as u16;
    match of.taking.every_row_returns {
        true => (shards, Gather::Interleave(collected.order.iter().map(among).collect())),
        false => (shards, Gather::Concat),
    }
}

/// The INSERT of the rows in arrays.
fn statement(of: &Taken<'_>, sent: &[Sent]) -> String {
    let columns: Vec<String> = of.depot.columns.iter().map(|column| quoted(&column.name)).collect();
    let before = of.taking.parameters.len();
    let numbered = || sent.iter().zip(1..);
    let value = |(sent, n): (&Sent, usize)| match &sent.cast {
        Some(cast) => format!("CAST(pgloom.c{n} AS {cast})"),
        None => format!("pgloom.c{n}"),
    };
    let values: Vec<String> = numbered().map(value).collect();
    let arrays: Vec<String> = numbered().map(|(_, n)| format!("pg_catalog.unnest(${})", before + n)).collect();
    let names: Vec<String> = numbered().map(|(_, n)| format!("c{n}")).collect();
    // Whether a value is allowed for an identity column, the client's own statement has shown.
    format!(
        "{} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM ROWS FROM ({}) AS pgloom ({}) {}",
        of.taking.head,
        columns.join(", "),
        values.join(", "),
        arrays.join(", "),
        names.join(", "),
        of.taking.tail
    )
}

/// What the statement's Bind says behind its names.
fn bind(of: &Taken<'_>, ask: &Ask<'_>, arrays: &[Bytes]) -> Result<BytesMut, Fault> {
    let arrays: Vec<&[u8]> = arrays.iter().map(|array| &array[..]).collect();
    let mut out = values_of(ask, &of.taking.parameters, &Moment::default(), &arrays)?;
    let formats = match ask {
        Ask::Query { .. } => Vec::new(),
        Ask::Bound { bind, .. } => result_formats(bind)?,
    };
    encode::count16(&mut out, formats.len())?;
    formats.iter().for_each(|format| out.put_i16(*format));
    Ok(out)
}
