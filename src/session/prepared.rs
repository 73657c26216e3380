//! The statement and portal names of one client, and what they stand for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::backend::prepared::{StatementDef, StatementRegistry};
use crate::backend::settings::{Meaning, Printing};
use crate::fault::{Fault, SqlState};
use crate::ids::{Epoch, Oid, ShardId};
use crate::memory::Hold;
use crate::plan::{Access, Parameters, Plan, PlanKind};
use crate::session::promise::{Description, Promise, parameter_types};
use crate::session::scatter::ScatterRun;
use crate::sql::Analysis;
use crate::sql::template::Slot;
use crate::sql::utility::StatementKind;
use crate::sql::utility::fetch::Position;
use crate::types::{Format, oid};
use crate::wire::frame::BindValues;

/// What one Parse made. Shared by the statement's name and its portals.
#[derive(Debug)]
pub struct ClientStatement {
    pub text: Arc<str>,
    /// Parameter types as the client declared them; 0: left to the server.
    pub types: Box<[Oid]>,
    pub analysis: Arc<Analysis>,
    pub slots: SmallVec<[Slot; 16]>,
    /// The catalog generation that `analysis` is of.
    pub generation: u64,
    /// The epoch of the map that `analysis` is of.
    pub epoch: Epoch,
    /// Fingerprint of the names' scope that `analysis` is of.
    pub scope: u64,
    /// Hash of what its names mean: equal scopes give equal ones, and others often do.
    pub names: u64,
    /// The shard whose numbers of types and tables the client knows.
    pub numbers_of: ShardId,
    /// How its strings were read.
    pub standard_strings: bool,
    /// Of the settings under which its literals were read.
    pub meaning: Meaning,
    /// Its definition in the registry, once a server was asked.
    pub def: Mutex<Option<Arc<StatementDef>>>,
    /// ParameterDescription and RowDescription (or NoData) of the statement, once a server has told them.
    pub description: Mutex<Option<(Bytes, Bytes)>>,
    /// The types of its parameters as the home shard has them, once that is known: what arguments of an EXECUTE become.
    pub arguments: OnceLock<Box<[Oid]>>,
    /// The types of its parameters as a server has told them to the client.
    pub told: OnceLock<Box<[Oid]>>,
    /// Characters of the PREPARE before it: Postgres counts positions in errors from there.
    pub behind: OnceLock<u32>,
    /// What the client counts on, once it is known.
    pub promise: OnceLock<Arc<Promise>>,
    /// It keeps its promise under the catalog and the names that `analysis` is of.
    pub kept: AtomicBool,
    /// Its analysis is not of its Parse, but its promise is.
    pub renewed: AtomicBool,
}

impl ClientStatement {
    pub fn described(&self) -> Option<(Bytes, Bytes)> {
        self.description.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The type of a parameter: as declared, else as a server has described it, if one has; 0: nobody has said it.
    fn type_of(&self, index: usize) -> Oid {
        let declared = self.types.get(index).copied().unwrap_or(0);
        if ![0, oid::UNKNOWN].contains(&declared) {
            return declared;
        }
        if self.told.get().is_none() {
            let described = self.described().or_else(|| {
                let def = self.def.lock().unwrap_or_else(PoisonError::into_inner);
                def.as_ref().and_then(|def| def.description())
            });
            let types = described.and_then(|(parameters, _)| parameter_types(&parameters).ok());
            let types = types.or_else(|| self.promise().map(|promise| promise.parameters.clone()));
            types.into_iter().for_each(|types| drop(self.told.set(types)));
        }
        let told = self.told.get().and_then(|types| types.get(index)).copied();
        // Types that users made have other numbers elsewhere.
        told.filter(|of| *of < oid::FIRST_NORMAL).unwrap_or(declared)
    }

    pub fn arguments(&self) -> Option<Box<[Oid]>> {
        self.arguments.get().cloned()
    }

    pub fn promise(&self) -> Option<&Promise> {
        self.promise.get().map(|promise| &**promise)
    }

    /// Its promise, or what its definition is known to return.
    pub fn promised(&self) -> Result<Option<Arc<Promise>>, Fault> {
        if let Some(promise) = self.promise.get() {
            return Ok(Some(Arc::clone(promise)));
        }
        let def = self.def.lock().unwrap_or_else(PoisonError::into_inner);
        let description = def.as_ref().and_then(|def| def.description());
        description.map(|of| self.promise_of(&of)).transpose()
    }

    /// What it promises where a server describes it so.
    pub fn promise_of(&self, description: &Description) -> Result<Arc<Promise>, Fault> {
        Ok(Arc::new(Promise::new(description, self.generation, self.names)?))
    }

    pub fn set_promise(&self, promise: Arc<Promise>) {
        let _ = self.promise.set(promise);
    }

    pub fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    pub fn set_kept(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    pub fn is_renewed(&self) -> bool {
        self.renewed.load(Ordering::Relaxed)
    }

    pub fn set_renewed(&self) {
        self.renewed.store(true, Ordering::Relaxed);
    }

    pub fn behind(&self) -> u32 {
        self.behind.get().copied().unwrap_or(0)
    }

    pub fn set_behind(&self, characters: u32) {
        let _ = self.behind.set(characters);
    }

    /// Its definition, which it shares with all that are equal.
    pub fn definition(&self, registry: &StatementRegistry) -> Arc<StatementDef> {
        let mut def = self.def.lock().unwrap_or_else(PoisonError::into_inner);
        let equal =
            || registry.intern(&self.text, &self.types, self.generation, self.meaning, self.names, self.numbers_of);
        Arc::clone(def.get_or_insert_with(equal))
    }

    /// Whether the servers say the same of it as of another analysis of the same text.
    pub fn is_like(&self, other: &Self) -> bool {
        self.names == other.names
            && self.numbers_of == other.numbers_of
            && self.generation == other.generation
            && self.meaning == other.meaning
            && self.types == other.types
    }

    pub fn set_arguments(&self, types: Box<[Oid]>) {
        // Whoever was first has asked the same.
        let _ = self.arguments.set(types);
    }

    pub fn set_described(&self, parameters: Bytes, rows: Bytes) {
        *self.description.lock().unwrap_or_else(PoisonError::into_inner) = Some((parameters, rows));
    }
}

/// The values of a Bind with the types of its statement.
pub struct BoundValues<'a> {
    pub statement: &'a ClientStatement,
    pub values: &'a BindValues<'a>,
}

impl Parameters for BoundValues<'_> {
    fn get(&self, index: usize) -> Option<(Oid, Format, Option<&[u8]>)> {
        let (format, value) = self.values.get(index)?;
        // A text says the same as whatever type.
        let of = match format {
            Format::Binary => self.statement.type_of(index),
            Format::Text => self.statement.types.get(index).copied().unwrap_or(0),
        };
        Some((of, format, value))
    }
}

/// One Bind.
pub struct Portal {
    pub statement: Arc<ClientStatement>,
    /// Result format codes of the Bind message; kept where the router answers itself.
    pub formats: Vec<i16>,
    pub place: Place,
    /// Savepoints of the transaction when it was made.
    pub depth: usize,
    /// Of the settings under which its values were read.
    pub meaning: Option<Meaning>,
    /// Where it stands; `None`: nobody has counted. A portal that runs over shards knows it better.
    pub position: Option<Position>,
    /// The settings by which its rows are printed, if it has rows left that may be printed already.
    pub printed: Option<Printing>,
}

impl Portal {
    pub fn new(statement: Arc<ClientStatement>, formats: Vec<i16>, place: Place) -> Self {
        Self { statement, formats, place, depth: 0, meaning: None, position: Some(Position::default()), printed: None }
    }

    /// Whether it is a query that reads over shards and has not begun: Postgres gives one its snapshot at its Bind. What writes, locks, or
    /// is no query has that of its Execute.
    fn is_bound(&self) -> bool {
        let Place::Router { plan, .. } = &self.place else { return false };
        let begins = match &plan.kind {
            PlanKind::Scatter { .. } | PlanKind::Single(_) | PlanKind::Lookup(_) => true,
            PlanKind::Finish(finish) => finish.cursor.is_none() && !finish.writes(),
            PlanKind::Refuse(_)
            | PlanKind::Any
            | PlanKind::Broadcast(_)
            | PlanKind::Each(_)
            | PlanKind::CreateAs(_)
            | PlanKind::Stamp(_)
            | PlanKind::Split { .. }
            | PlanKind::Deliver(_)
            | PlanKind::Supply(_)
            | PlanKind::Claim(_)
            | PlanKind::Locked(_)
            | PlanKind::CopyIn(_)
            | PlanKind::Explain(_)
            | PlanKind::Draw(_) => false,
        };
        begins && plan.access == Access::Read && self.statement.analysis.kind == StatementKind::Query
    }
}

/// Where a portal's rows come from.
pub enum Place {
    /// The portal exists on this shard's connection under the client's name.
    Server(ShardId),
    /// The router answers to this text, which has no parameters.
    Local(Arc<str>),
    /// An EXECUTE: what it runs, and where, is known when it is executed.
    Execute,
    /// Runs on several shards when executed; the Bind message's body is kept for them.
    Router { bind: Bytes, plan: Box<Plan> },
    /// Runs on several shards and has been suspended by a row limit.
    Running(Box<ScatterRun>),
    /// A Postgres finishes it on this connection, and has been suspended by a row limit.
    Finishing(ShardId),
    /// A FETCH, MOVE or CLOSE of another portal: its text.
    OfPortal(Arc<str>),
    /// It has run to its end.
    Finished,
    /// It has ended in an error.
    Failed,
}

/// Names of one client. The unnamed ones are apart: they change with nearly every statement.
#[derive(Default)]
pub struct ClientStatements {
    unnamed: Option<Arc<ClientStatement>>,
    /// Bytes of the texts of those that have a name, and the memory of the router that they take.
    bytes: usize,
    hold: Option<Hold>,
    named: HashMap<Box<[u8]>, Arc<ClientStatement>, foldhash::fast::RandomState>,
    unnamed_portal: Option<Portal>,
    portals: HashMap<Box<[u8]>, Portal, foldhash::fast::RandomState>,
    /// How many portals of ours were given names on shards.
    named_on_shards: u64,
    /// Portals of ours on shards that the client has closed while the rows of another one were on their way there.
    pub unclosed: Vec<Unclosed>,
}

/// A portal of ours that shards still have.
#[derive(Debug)]
pub struct Unclosed {
    pub shards: Vec<ShardId>,
    pub name: Box<[u8]>,
}

/// Bytes of the named statements of one client.
const NAMED_BYTES: usize = 64 << 20;
/// What each takes beside its text.
const STATEMENT_BYTES: usize = 512;

fn weight(statement: &ClientStatement) -> usize {
    statement.text.len() + 4 * statement.types.len() + STATEMENT_BYTES
}

impl ClientStatements {
    /// Those of a client whose statements take memory of `hold`.
    pub fn new(hold: Hold) -> Self {
        Self { hold: Some(hold), ..Self::default() }
    }

    /// # Errors
    /// `53400`: there are as many as may be, in number or in bytes; `53200`: the router has no memory for it.
    pub fn insert(&mut self, name: &[u8], statement: Arc<ClientStatement>, max: usize) -> Result<(), Fault> {
        if name.is_empty() {
            self.unnamed = Some(statement);
            return Ok(());
        }
        self.check_new(name)?;
        if self.named.len() >= max {
            return Err(Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "too many prepared statements")
                .detail(format!("this session holds {max} of them"))
                .hint("Close statements that are no longer needed."));
        }
        let bytes = self.bytes.saturating_add(weight(&statement));
        // One alone may be as long as a message.
        if bytes > NAMED_BYTES && !self.named.is_empty() {
            return Err(Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "prepared statements are too long")
                .detail(format!("those of this session have {} bytes, and {NAMED_BYTES} is the most", self.bytes))
                .hint("Close statements that are no longer needed."));
        }
        if let Some(hold) = &mut self.hold {
            hold.become_of(bytes)?;
        }
        self.bytes = bytes;
        self.named.insert(name.into(), statement);
        Ok(())
    }

    /// `42P05` when the name is taken.
    pub fn check_new(&self, name: &[u8]) -> Result<(), Fault> {
        if !name.is_empty() && self.named.contains_key(name) {
            return Err(Fault::new(
                SqlState::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{}\" already exists", String::from_utf8_lossy(name)),
            ));
        }
        Ok(())
    }

    pub fn get(&self, name: &[u8]) -> Result<&Arc<ClientStatement>, Fault> {
        let found = if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) };
        found.ok_or_else(|| {
            let message = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{}\" does not exist", String::from_utf8_lossy(name))
            };
            Fault::new(SqlState::INVALID_SQL_STATEMENT_NAME, message)
        })
    }

    pub fn replace(&mut self, name: &[u8], statement: Arc<ClientStatement>) {
        if name.is_empty() {
            self.unnamed = Some(statement);
        } else {
            let more = weight(&statement);
            let less = self.named.insert(name.into(), statement).map_or(0, |before| weight(&before));
            self.weigh(more, less);
        }
    }

    pub fn remove(&mut self, name: &[u8]) -> bool {
        if name.is_empty() {
            return self.unnamed.take().is_some();
        }
        let removed = self.named.remove(name);
        self.weigh(0, removed.as_deref().map_or(0, weight));
        removed.is_some()
    }

    /// What is there already, or was, has its place: nothing is refused here.
    fn weigh(&mut self, more: usize, less: usize) {
        self.bytes = self.bytes.saturating_add(more).saturating_sub(less);
        if let Some(hold) = &mut self.hold {
            let _ = hold.become_of(self.bytes);
        }
    }

    /// The same where the name still means this statement.
    pub fn remove_this(&mut self, name: &[u8], statement: &Arc<ClientStatement>) {
        if self.get(name).is_ok_and(|known| Arc::ptr_eq(known, statement)) {
            self.remove(name);
        }
    }

    /// All that have a name.
    pub fn clear(&mut self) {
        self.named.clear();
        self.weigh(0, self.bytes);
    }

    pub fn drop_unnamed(&mut self) {
        self.unnamed = None;
    }

    pub fn len(&self) -> usize {
        self.named.len()
    }

    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    pub fn put_portal(&mut self, name: &[u8], portal: Portal) -> Result<(), Fault> {
        if name.is_empty() {
            self.unnamed_portal = Some(portal);
            return Ok(());
        }
        self.check_new_portal(name)?;
        self.portals.insert(name.into(), portal);
        Ok(())
    }

    /// `42P03` when the name is taken.
    pub fn check_new_portal(&self, name: &[u8]) -> Result<(), Fault> {
        if !name.is_empty() && self.portals.contains_key(name) {
            return Err(Fault::new(
                SqlState::DUPLICATE_CURSOR,
                format!("cursor \"{}\" already exists", String::from_utf8_lossy(name)),
            ));
        }
        Ok(())
    }

    pub fn portal(&mut self, name: &[u8]) -> Result<&mut Portal, Fault> {
        self.find_portal(name).ok_or_else(|| {
            Fault::new(
                SqlState::INVALID_CURSOR_NAME,
                format!("portal \"{}\" does not exist", String::from_utf8_lossy(name)),
            )
        })
    }

    /// The same where there need not be one.
    pub fn find_portal(&mut self, name: &[u8]) -> Option<&mut Portal> {
        if name.is_empty() { self.unnamed_portal.as_mut() } else { self.portals.get_mut(name) }
    }

    pub fn remove_portal(&mut self, name: &[u8]) -> Option<Portal> {
        if name.is_empty() { self.unnamed_portal.take() } else { self.portals.remove(name) }
    }

    /// Puts a portal back in the place of whatever has its name.
    pub fn restore_portal(&mut self, name: &[u8], portal: Portal) {
        if name.is_empty() {
            self.unnamed_portal = Some(portal);
        } else {
            self.portals.insert(name.into(), portal);
        }
    }

    /// The transaction ended: portals are gone.
    pub fn clear_portals(&mut self) {
        self.unnamed_portal = None;
        if !self.portals.is_empty() {
            self.portals.clear();
        }
        self.unclosed.clear();
    }

    /// Whether there is any portal.
    pub fn has_portals(&self) -> bool {
        self.unnamed_portal.is_some() || !self.portals.is_empty() || !self.unclosed.is_empty()
    }

    /// RELEASE: what was made behind the savepoint belongs to what is around it.
    pub fn keep_portals(&mut self, depth: usize) {
        for portal in self.unnamed_portal.iter_mut().chain(self.portals.values_mut()) {
            portal.depth = portal.depth.min(depth);
        }
    }

    /// Takes out the portals that were made when there were at least so many savepoints.
    pub fn take_portals(&mut self, depth: usize) -> Vec<Portal> {
        let unnamed = self.unnamed_portal.take_if(|portal| portal.depth >= depth);
        let named = self.portals.extract_if(|_, portal| portal.depth >= depth).map(|(_, portal)| portal);
        unnamed.into_iter().chain(named).collect()
    }

    /// The portals of queries over shards that have not begun, but for this one.
    pub fn bound(&self, but: Option<&[u8]>) -> Vec<Box<[u8]>> {
        let unnamed = self.unnamed_portal.iter().map(|portal| (&b""[..], portal));
        let all = unnamed.chain(self.portals.iter().map(|(name, portal)| (&**name, portal)));
        let bound = all.filter(|(name, portal)| Some(*name) != but && portal.is_bound());
        let mut names: Vec<Box<[u8]>> = bound.map(|(name, _)| name.into()).collect();
        names.sort_unstable();
        names
    }

    /// A name for a portal of ours on shards.
    pub fn name_on_shards(&mut self) -> Vec<u8> {
        self.named_on_shards += 1;
        format!("pgloom_portal_{}", self.named_on_shards).into_bytes()
    }

    /// Whether shards have portals over several of them, or what is left of these.
    pub fn has_running(&self) -> bool {
        let running = |p: &Portal| matches!(p.place, Place::Running(_));
        self.unnamed_portal.as_ref().is_some_and(running)
            || self.portals.values().any(running)
            || !self.unclosed.is_empty()
    }

    /// Their merges are over before their ends.
    pub fn fail_running(&mut self) {
        for portal in self.unnamed_portal.iter_mut().chain(self.portals.values_mut()) {
            if let Place::Running(_) = portal.place {
                portal.place = Place::Failed;
            }
        }
    }

    /// Portals that run over several shards and are suspended.
    pub fn running(&mut self) -> impl Iterator<Item = &mut Box<ScatterRun>> {
        self.unnamed_portal.iter_mut().chain(self.portals.values_mut()).filter_map(|p| match &mut p.place {
            Place::Running(run) => Some(run),
            _ => None,
        })
    }
}
