//! Keys in the rows of a COPY whose spelling depends on settings of the server (`02.01.2024`): a Postgres reads them, once for each text.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use crate::backend::Backend;
use crate::backend::settings::quote_literal;
use crate::copy::append::binary_of_record;
use crate::exec::replies::poll_client;
use crate::fault::Fault;
use crate::ids::Oid;
use crate::plan::CopyInPlan;
use crate::session::copy::KeyProblem;
use crate::session::{Failure, Session, Stop};
use crate::sql::utility::CopyFormat;
use crate::types::canonical::KeyValue;
use crate::types::{Format, KeyType};

/// Texts that are remembered at most.
const MOST: usize = 10_000;
/// Texts that are another value at each moment.
const MOMENTS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];
/// What texts of times depend on, as servers report it.
const SETTINGS: [&str; 3] = ["DateStyle", "TimeZone", "IntervalStyle"];

/// Rows of a server.
type Answer = Vec<Vec<Option<String>>>;

/// What a text means.
pub(super) enum Read {
    /// The type, and the value in its binary form.
    Value(Oid, Box<[u8]>),
    /// Every Postgres refuses it.
    Invalid,
    Unsure,
}

impl Read {
    pub fn value(&self, key_type: KeyType) -> Result<Option<KeyValue<'_>>, KeyProblem> {
        match self {
            Self::Value(oid, bytes) => {
                key_type.parse_typed(*oid, Format::Binary, bytes).map(Some).map_err(|_| KeyProblem::Unsure)
            }
            Self::Invalid => Ok(None),
            Self::Unsure => Err(KeyProblem::Unsure),
        }
    }
}

/// What was read, by key column.
#[derive(Default)]
pub(super) struct ReadKeys(Vec<HashMap<Box<[u8]>, Read>>);

impl ReadKeys {
    pub fn get(&self, column: usize, text: &[u8]) -> Option<&Read> {
        self.0.get(column)?.get(text)
    }

    pub fn insert(&mut self, column: usize, text: Box<[u8]>, read: Read) {
        if self.0.len() <= column {
            self.0.resize_with(column + 1, HashMap::new);
        }
        if let Some(known) = self.0.get_mut(column) {
            if known.len() >= MOST {
                known.clear();
            }
            known.insert(text, read);
        }
    }
}

/// A connection of the router's own: those of the session are in the middle of the COPY.
pub(super) struct Reader {
    pub server: Backend,
    /// Names of the key columns' types.
    types: HashMap<usize, String>,
}

/// Whether a Postgres can be asked for the meaning of a field.
pub(super) fn is_readable(plan: &CopyInPlan, field: usize, text: &[u8]) -> bool {
    let is_moment = || {
        let text = text.to_ascii_lowercase();
        MOMENTS.iter().any(|word| memchr::memmem::find(&text, word.as_bytes()).is_some())
    };
    field < plan.fields && plan.format != CopyFormat::Binary && std::str::from_utf8(text).is_ok() && !is_moment()
}

impl Session {
    /// What this text is as a value of a key column, by the settings that the session has now.
    pub(super) async fn read_key(
        &mut self,
        plan: &CopyInPlan,
        column: usize,
        text: &[u8],
        reader: &mut Option<Reader>,
    ) -> Result<Read, Failure> {
        if self.tx.with_locals(&self.settings).get("timezone_abbreviations").is_some() {
            return Ok(Read::Unsure);
        }
        let Ok(text) = std::str::from_utf8(text) else { return Ok(Read::Unsure) };
        let reader = match reader {
            Some(reader) => reader,
            None => reader.insert(self.reader().await?),
        };
        let name = match reader.types.get(&column) {
            Some(name) => name.clone(),
            None => {
                let Some(oid) = self.type_to_read(plan, column) else { return Ok(Read::Unsure) };
                let named = self.ask_reader(reader, &format!("SELECT pg_catalog.format_type({oid}, -1)")).await??;
                let Some(name) = named.into_iter().flatten().flatten().next() else { return Ok(Read::Unsure) };
                reader.types.insert(column, name.clone());
                name
            }
        };
        let value = format!("CAST({} AS {name})", quote_literal(text));
        let sql = format!("SELECT pg_catalog.encode(pg_catalog.record_send(ROW({value})), 'hex')");
        match self.ask_reader(reader, &sql).await? {
            Ok(rows) => {
                let row = rows.into_iter().flatten().flatten().next();
                let value = row.as_deref().and_then(binary_of_record);
                Ok(value.map_or(Read::Unsure, |(oid, bytes)| Read::Value(oid, bytes)))
            }
            Err(fault) if !reader.server.broken && is_of_value(&fault) => Ok(Read::Invalid),
            Err(fault) => Err(fault.without_position().into()),
        }
    }

    /// The type whose input function reads the column: its own, where that has the same number on every server.
    fn type_to_read(&self, plan: &CopyInPlan, column: usize) -> Option<Oid> {
        let types = &self.view.topology.distribution(plan.distribution?).key_types;
        let own = plan.types.get(column).copied().flatten();
        own.filter(|oid| KeyType::from_oid(*oid).is_some()).or_else(|| types.get(column).map(|ty| ty.oid()))
    }

    /// Asks the reader, as [`Self::while_copying`].
    pub(super) async fn ask_reader(
        &mut self,
        reader: &mut Reader,
        sql: &str,
    ) -> Result<Result<Answer, Fault>, Failure> {
        self.while_copying(reader.server.query(sql)).await
    }

    /// Waits for what another server than those of the session is asked, for as long as the client is there and nobody cancels the COPY.
    ///
    /// # Errors
    /// Why nothing more is to be asked. What the server says is in the answer.
    pub(super) async fn while_copying<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        let slot = Arc::clone(&self.slot);
        // Nobody else tells this server.
        let _waiting = slot.wait_copying();
        let control = Arc::clone(&self.client.control);
        let client = &mut self.client;
        let mut work = std::pin::pin!(work);
        poll_fn(|cx| {
            if control.poll_cancel(cx).is_ready() {
                return Poll::Ready(Err(Failure::from(slot.canceled())));
            }
            match work.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Ok(answer)),
                Poll::Pending => poll_client(client, cx).map(|_| Err(Failure::Stop(Stop::Gone))),
            }
        })
        .await
    }

    pub(super) async fn reader(&self) -> Result<Reader, Failure> {
        let mut server = crate::control::connect(&self.database, self.view.topology.home).await?;
        let reported = self.held.iter().flat_map(|held| &held.server.parameters);
        let mut sql = String::new();
        for (name, value) in reported.filter(|(name, _)| SETTINGS.contains(&&**name)) {
            sql.push_str(&format!("SET {name} TO {}; ", quote_literal(value)));
        }
        if !sql.is_empty() {
            server.query(&sql).await?;
        }
        Ok(Reader { server, types: HashMap::new() })
    }
}

/// Class 22: data exceptions.
pub(super) fn is_of_value(fault: &Fault) -> bool {
    fault.code.as_str().starts_with("22")
}
