//! Rows from a depot that a statement takes on each shard: INSERT with ON CONFLICT or RETURNING. They go along with it as arrays, since
//! a transaction that is to be prepared must not have temporary tables.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::backend::clock::Moment;
use crate::backend::combine::qualified;
use crate::backend::inflight::{Audience, Owed};
use crate::exec::delivery::{Collected, ask_rows, collect};
use crate::exec::replies::ScatterError;
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::plan::TakingPlan;
use crate::plan::combine::{Combine, Gather};
use crate::session::Session;
use crate::session::delivery::{Answering, Delivered, place};
use crate::session::finish::Original;
use crate::session::pulls::{declared_types, values_of};
use crate::session::run::Ask;
use crate::session::sent::{Sent, from_arrays, names};
use crate::session::supply::put_formats;
use crate::sql::block_time::{ReadsTime, with_time};
use crate::sql::delivery::{Depot, Landing, Place};
use crate::sql::pulls::quoted;
use crate::types::Format;
use crate::wire::array::ArrayWriter;
use crate::wire::request;
use crate::wire::row::RowView;

/// What is taken by which statement on which shards.
pub(super) struct Taken<'a> {
    pub taking: &'a TakingPlan,
    pub landing: &'a Landing,
    pub depot: &'a Depot,
    pub targets: &'a [ShardId],
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
        let columns: Vec<String> = of.depot.columns.iter().map(|column| quoted(&column.name)).collect();
        let rows = format!("SELECT {} FROM {}", columns.join(", "), qualified(&of.depot.name));
        let sent = self.sent_columns(slot, &rows, &[]).await?;
        let collected = self.collect_depot(slot, &of, &rows, &sent).await?;
        let everywhere = matches!(of.landing.place, Place::Everywhere);
        let (shards, gather) = who_takes(&of, &collected, everywhere);
        let mut text = statement(&of, &sent);
        if let (true, Some(time)) = (of.taking.reads_clock, &self.tx.time) {
            text = with_time(&text, &ReadsTime::default(), time, &self.names()).map_err(unwritten)?;
        }
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
            held.note_rows(everywhere);
            let server = &mut held.server;
            server.parse(b"", text.as_bytes(), &types)?;
            server.inflight.push(Owed::Parse(Audience::Client));
            server.bind_own(&bind)?;
            server.inflight.push(Owed::Bind(Audience::Router));
            request::describe(&mut server.out, request::Target::Portal, b"")?;
            server.inflight.push(Owed::DescribePortal(Audience::Client));
            request::execute(&mut server.out, b"", 0)?;
            server.inflight.push(Owed::Execute(Audience::Client));
            server.out.extend_from_slice(request::SYNC);
            server.inflight.push(Owed::Sync(Audience::Router));
        }
        let combine = Combine { gather, ..Combine::CONCAT };
        let mut run = self.start_answers(&shards, &combine, everywhere, ask, None).await?;
        run.say(of.landing.verb.word());
        Ok(Delivered::Answering(Box::new(Answering { run, shards, same: everywhere })))
    }

    async fn collect_depot(
        &mut self,
        slot: ShardId,
        of: &Taken<'_>,
        rows: &str,
        sent: &[Sent],
    ) -> Result<Collected, ScatterError> {
        let formats: Vec<Format> = sent.iter().map(|sent| sent.format).collect();
        let codes: Vec<i16> = formats.iter().map(|format| format.code()).collect();
        let elements: Vec<Oid> = sent.iter().map(|sent| sent.element).collect();
        let (limit, hold) = (self.limits.merge_bytes, self.shared.memory.hold());
        let topology = Arc::clone(&self.view.topology);
        let at = self.held_at(slot)?;
        let source = &mut self.held[at].server;
        ask_rows(source, rows, &codes)?;
        let place =
            |row: &RowView<'_>| place(row, &of.landing.place, &of.landing.table, &formats, &topology, of.targets);
        collect(source, &mut self.client, of.targets.len(), &elements, (limit, hold), place, || too_many(limit)).await
    }
}

fn unwritten(what: String) -> Fault {
    Fault::unsupported(
        "this use of the time in ON CONFLICT or RETURNING is not supported",
        format!("every shard must read the same time, and {what}"),
        "Take the time once (SELECT now()) and send it with the statement.",
    )
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
    match of.taking.in_order {
        true => (shards, Gather::Interleave(collected.order.iter().map(among).collect())),
        false => (shards, Gather::Concat),
    }
}

/// The INSERT of the rows in arrays.
fn statement(of: &Taken<'_>, sent: &[Sent]) -> String {
    let (values, from) = from_arrays(sent, of.taking.parameters.len() + 1);
    // Whether a value is allowed for an identity column, the client's own statement has shown.
    format!(
        "{} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {from} {}",
        of.taking.head,
        names(sent),
        values.join(", "),
        of.taking.tail
    )
}

/// What the statement's Bind says behind its names.
fn bind(of: &Taken<'_>, ask: &Ask<'_>, arrays: &[Bytes]) -> Result<BytesMut, Fault> {
    let arrays: Vec<&[u8]> = arrays.iter().map(|array| &array[..]).collect();
    let mut out = values_of(ask, &of.taking.parameters, &Moment::default(), &arrays)?;
    put_formats(&mut out, ask)?;
    Ok(out)
}

fn too_many(limit: usize) -> Fault {
    Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "the statement writes too many rows at once over several shards")
        .detail(format!("merge_max_bytes is {limit}, and with ON CONFLICT or RETURNING the rows are held at once"))
        .hint("Write them in several statements, or raise merge_max_bytes.")
}
