//! Where a statement is finished: on a server beside the shards, where one may and can, else on the home shard. What such a server
//! cannot do shows before any row is pulled: then another one, or the home shard, does it.

use std::sync::Arc;
use std::time::Instant;

use crate::backend::clock::make_clock;
use crate::backend::cluster::ServerPool;
use crate::backend::combine::{
    InputColumns, InputTable, OwnLock, TypedColumn, collated_columns_of, columns_of, make_inputs, qualified,
};
use crate::backend::combiners::{CombineServers, INCARNATION, Running};
use crate::backend::settings::{SessionSettings, quote_identifier};
use crate::exec::finish::Input;
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::plan::{Elsewhere, FinishPlan, InputColumn, Plan, PlanKind, Pull, PullFrom};
use crate::session::Session;
use crate::session::finish::{Halt, Original};
use crate::session::held::{Finishing, Unlent, put_settings};
use crate::session::idle_timers::UNTIMED;
use crate::sql::delivery::{Depot, DepotColumn};
use crate::sql::pulls::is_portable;
use crate::types::oid;

/// Types below have one number on every server (Postgres: `FirstGenbkiObjectId`).
const FIRST_GENERATED_OID: Oid = 10_000;

/// What keeps a server beside the shards from finishing a statement that it was chosen for.
#[derive(Debug)]
pub(super) enum Unable {
    /// It cannot be reached, or is not the one that was looked at.
    Unreachable(Fault),
    /// It does not understand what the home shard understands, or may not do what that may.
    Refuses(Fault),
    /// What is pulled for it, and would not be for the home shard, is too much.
    TooMuch,
}

/// The servers that were tried for one statement.
#[derive(Debug, Default)]
pub(super) struct Tried {
    servers: Vec<usize>,
    /// Why the home shard does it.
    why: Option<&'static str>,
}

impl Tried {
    /// The server that was chosen last was not able.
    pub fn note(&mut self, servers: &CombineServers, at: usize, unable: &Unable) {
        self.servers.push(at);
        let fault = match unable {
            // Another one can do it.
            Unable::Unreachable(fault) => fault,
            Unable::Refuses(fault) => {
                self.why = Some("failed");
                fault
            }
            Unable::TooMuch => {
                self.why = Some("limit");
                return;
            }
        };
        if servers.may_warn(at, Instant::now()) {
            tracing::warn!(server = %servers.address(at), error = %fault, "combine server passed over");
        }
    }
}

impl Session {
    /// The server that finishes the statement next; `None`: the home shard does.
    pub(super) fn choose_combiner(&self, plan: &FinishPlan, original: &Original, tried: &mut Tried) -> Option<Running> {
        let servers = &self.database.combine;
        let Elsewhere::Any { collations, .. } = &plan.elsewhere else {
            tried.why = matches!(plan.elsewhere, Elsewhere::Never(_)).then_some("statement");
            return None;
        };
        if tried.why.is_some() {
            return None;
        }
        // A cursor WITH HOLD stays with the session, whatever that sets later.
        let hold = plan.cursor.as_ref().is_some_and(|cursor| cursor.hold);
        if hold || self.is_bound_to_home() || original.parameters.iter().any(|oid| *oid >= FIRST_GENERATED_OID) {
            tried.why = Some("session");
            return None;
        }
        let crowded = |at: usize| {
            let pool = self.pools.combiner(at);
            pool.is_busy() || pool.last_failure().is_some()
        };
        // Where the session has every connection itself it would wait for itself.
        let own = (0..servers.len()).filter(|at| self.holds_all_of(self.pools.combiner(*at)));
        let without: Vec<usize> = tried.servers.iter().copied().chain(own).collect();
        match servers.choose(collations, crowded, &without, Instant::now()) {
            Some(at) => Some(servers.enter(at)),
            None => {
                tried.why = Some("unavailable");
                None
            }
        }
    }

    /// How a statement has been finished, for the metrics.
    pub(super) fn count_finish(&self, beside: bool, tried: &Tried) {
        match beside {
            true => self.shared.metrics.finish("server", ""),
            false => self.shared.metrics.finish("home", tried.why.unwrap_or("")),
        }
    }

    /// Whether the session has something that other servers do not have: a role, temporary objects, or names that go before
    /// Postgres's own.
    fn is_bound_to_home(&self) -> bool {
        let settings = self.tx.with_locals(&self.settings);
        settings.get("role").is_some()
            || settings.get("session_authorization").is_some()
            || self.held.iter().any(|held| held.temporary)
            || self.scope.hides_system()
    }

    /// EXPLAIN (ROUTE) shows the plan of the servers that may finish the statement.
    pub(super) fn show_combine(&self, plan: &mut Plan) {
        let finish = match &plan.kind {
            PlanKind::Finish(finish) => finish,
            PlanKind::Explain(explain) => match &explain.plan.kind {
                PlanKind::Finish(finish) => finish,
                _ => return,
            },
            _ => return,
        };
        let Elsewhere::Any { collations, .. } = &finish.elsewhere else { return };
        if self.is_bound_to_home() {
            return;
        }
        let able = self.database.combine.able(collations, Instant::now()).join(" or ");
        if !able.is_empty() {
            plan.show_on(&able);
        }
    }

    /// Connections to all these shards and one on which the statement is finished, all at once: whose number is left in `slot` too.
    pub(super) async fn enlist_with_combine(
        &mut self,
        shards: &[ShardId],
        on: Option<Running>,
        slot: &mut Option<ShardId>,
    ) -> Result<ShardId, Halt> {
        let combine = self.held.next_combine().ok_or_else(|| {
            Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "too many suspended portals over several shards")
        })?;
        self.check_unseen_settings(combine)?;
        if on.is_none() {
            self.check_own_combines()?;
        }
        let missing: Vec<ShardId> = shards.iter().copied().filter(|s| self.held.position(*s).is_none()).collect();
        let finisher = match &on {
            Some(running) => self.pools.combiner(running.at).place(),
            None => self.pools.combine().place(),
        };
        let places: Vec<_> = missing.iter().map(|shard| self.pools.pool(*shard).place()).chain([finisher]).collect();
        let servers = match self.try_checkout(&places).await {
            Ok(servers) => servers,
            Err(Unlent::Connect(place, fault)) => {
                return match on {
                    Some(running) if place == finisher => {
                        // A login that is refused is a matter of this user alone.
                        if fault.blame == Blame::Server {
                            self.database.combine.skip(running.at, Instant::now());
                        }
                        Err(Unable::Unreachable(fault).into())
                    }
                    _ => Err(fault.into()),
                };
            }
            Err(Unlent::Failure(failure)) => return Err(Halt::Failure(failure)),
        };
        for (shard, server) in missing.into_iter().chain([combine]).zip(servers) {
            let at = self.hold(shard, server);
            if shard == combine {
                self.held[at].pin = None;
                self.held[at].finishing = Finishing::Running;
            }
        }
        *slot = Some(combine);
        if let Some(running) = on {
            let at = self.held_at(combine)?;
            self.held[at].beside = Some(running);
            self.check_incarnation(combine).await?;
        }
        self.enlist_all(shards).await?;
        self.stop_idle_timers().await;
        Ok(combine)
    }

    /// A new connection could be one to a server that was started anew, or that has another configuration since it was looked at.
    async fn check_incarnation(&mut self, combine: ShardId) -> Result<(), Halt> {
        let at = self.held_at(combine)?;
        let held = &mut self.held[at];
        let Some(running) = &held.beside else { return Ok(()) };
        if held.server.incarnation.is_none() {
            let asked = held.server.query(INCARNATION).await.map_err(Unable::Unreachable)?;
            held.server.incarnation = asked.into_iter().flatten().next().flatten().map(Into::into);
        }
        if held.server.incarnation.as_deref().is_some_and(|seen| running.is_known(seen)) {
            return Ok(());
        }
        running.doubt();
        held.server.broken = true;
        let why = Fault::new(SqlState::CONNECTION_FAILURE, "the server was started or configured anew");
        Err(Unable::Unreachable(why).into())
    }

    /// Who holds the whole pool of combine connections to the home shard would wait for itself.
    fn check_own_combines(&self) -> Result<(), Fault> {
        let pool = self.pools.combine();
        let size = pool.limits().size;
        if !self.holds_all_of(pool) {
            return Ok(());
        }
        Err(Fault::new(
            SqlState::CONFIGURATION_LIMIT_EXCEEDED,
            "too many cursors and suspended portals over several shards",
        )
        .detail(format!("this session holds all {size} connections on which Postgres finishes statements"))
        .hint("Close cursors and portals that are no longer needed, or raise [combine] pool_size."))
    }

    fn holds_all_of(&self, pool: &ServerPool) -> bool {
        let own = self.held.iter().filter(|held| held.server.place() == pool.place()).count();
        own >= pool.limits().size
    }

    /// Settings, empty inputs and an open transaction on the combine connection. `columns`: of each pull, where the server has none of
    /// the tables, or others than the transaction.
    pub(super) async fn make_inputs(
        &mut self,
        combine: ShardId,
        plan: &FinishPlan,
        columns: Option<&[Vec<TypedColumn>]>,
        feeds: &[Vec<ShardId>],
        shards: &[ShardId],
    ) -> Result<Vec<Input>, Fault> {
        let settings = for_inputs(&self.settings_at_begin());
        let within = self.tx.is_open();
        let level = self.snapshot_level();
        let untimed = self.idle_in_transaction().is_some();
        let generation = self.view.catalog.generation;
        let depot = plan.depot.as_ref().map(|depot| (&*depot.name, depot_columns(depot)));
        let depot = depot.as_ref().map(|(name, columns)| InputTable {
            name,
            columns: InputColumns::Typed(columns),
            primary_key: String::new(),
            generation,
        });
        let tables = |columns| input_tables(plan, columns, generation).chain(depot.clone()).collect::<Vec<_>>();
        let at = self.held_at(combine)?;
        self.held[at].untimed = untimed;
        let server = &mut self.held[at].server;
        put_settings(server, &settings).await?;
        if plan.own_clock {
            make_clock(server).await?;
        }
        // The locks of a user's transaction are on other servers than those beside the shards.
        let lock = (within && columns.is_none()).then_some(OwnLock::Short);
        let mut made = make_inputs(server, &tables(columns), lock).await;
        if lock.is_some() && made.as_ref().is_err_and(is_locked) {
            // What the transaction has locked nobody else reads, but its columns are known.
            let own = plan.pulls.iter().map(|pull| self.columns_of_table(pull)).collect::<Option<Vec<_>>>();
            let lock = own.is_none().then_some(OwnLock::Long);
            let at = self.held_at(combine)?;
            made = make_inputs(&mut self.held[at].server, &tables(own.as_deref()), lock).await;
        }
        let types = made.map_err(|fault| if within && is_locked(&fault) { stays_locked() } else { fault })?;
        let at = self.held_at(combine)?;
        let server = &mut self.held[at].server;
        // What is asked of the server's own tables before the statement is asked of the same rows.
        let mut begin = match plan.asks_home() {
            true => format!("BEGIN ISOLATION LEVEL {level}"),
            false => "BEGIN".to_owned(),
        };
        if untimed {
            begin.push_str("; ");
            begin.push_str(UNTIMED);
        }
        server.ask(&begin);
        let inputs = plan.pulls.iter().zip(types).zip(feeds).map(|((pull, types), feeds)| {
            let binary = pull.binary.unwrap_or_else(|| types.iter().all(|oid| is_portable(*oid)));
            Input {
                copy: format!(
                    "COPY {} FROM STDIN{}",
                    qualified(&pull.name),
                    if binary { " (FORMAT binary)" } else { "" }
                ),
                binary,
                types,
                servers: feeds.iter().filter_map(|shard| shards.binary_search(shard).ok()).collect(),
                table: pull.label.to_string(),
                filtered: pull.filtered,
                same: matches!(pull.from, PullFrom::Copies(_)),
                order: pull.order.iter().filter_map(|of| feeds.iter().position(|shard| shard == of)).collect(),
            }
        });
        let inputs: Vec<Input> = inputs.collect();
        if inputs.iter().any(|input| !input.binary) {
            self.check_texts()?;
        }
        Ok(inputs)
    }

    /// The columns of each pull as the open transaction sees them, where its own definitions may have changed them; `None`: they have types or
    /// collations that another connection need not see.
    pub(super) async fn own_columns(&mut self, plan: &FinishPlan) -> Result<Option<Vec<Vec<TypedColumn>>>, Fault> {
        if !self.has_own_catalog() {
            return Ok(None);
        }
        let mut all = Vec::with_capacity(plan.pulls.len());
        for pull in &plan.pulls {
            let columns = match pull.table {
                Some(_) => self.columns_of_table(pull),
                None => self.columns_within(&pull.create).await?,
            };
            let Some(columns) = columns else { return Ok(None) };
            all.push(columns);
        }
        Ok(Some(all))
    }

    /// What a query gives within the transaction.
    async fn columns_within(&mut self, query: &str) -> Result<Option<Vec<TypedColumn>>, Fault> {
        let Some(at) = self.held.position(self.view.topology.home) else { return Ok(None) };
        let server = &mut self.held[at].server;
        server.query("SAVEPOINT pgloom_columns").await?;
        let read = collated_columns_of(server, query).await;
        server.query("ROLLBACK TO SAVEPOINT pgloom_columns; RELEASE SAVEPOINT pgloom_columns").await?;
        let columns = read.map_err(Fault::without_position)?;
        Ok(columns.filter(|columns| columns.iter().all(|column| self.is_seen(column.type_oid))))
    }

    /// The columns of a pull from a table.
    fn columns_of_table(&self, pull: &Pull) -> Option<Vec<TypedColumn>> {
        let table = self.view.catalog.table(pull.table.as_ref()?)?;
        let typed = |column: &InputColumn| {
            let collation = table.column(&column.name)?.1.collation_name.clone();
            (self.is_seen(column.type_oid) && collation.as_deref() != Some("")).then(|| typed(column, collation))
        };
        pull.columns.iter().map(typed).collect()
    }

    /// Whether a type is there for all connections to the home shard.
    fn is_seen(&self, of: Oid) -> bool {
        let seen = self.database.cluster.load();
        of < oid::FIRST_NORMAL || seen.catalog.numbered.types.values().any(|made| made.oid == of)
    }

    /// The columns of each pull, for a server that has none of the tables. Of a query that the shards run whole the home shard tells
    /// them, on a connection of its own: whatever it says of the query, the client's transaction goes on.
    pub(super) async fn columns_of_pulls(&mut self, plan: &FinishPlan) -> Result<Vec<Vec<TypedColumn>>, Halt> {
        let view = Arc::clone(&self.view);
        let mut columns = Vec::new();
        for pull in &plan.pulls {
            columns.push(match &pull.table {
                Some(table) => {
                    let table = view.catalog.table(table);
                    let collation = |name: &str| table.and_then(|table| table.column(name)?.1.collation_name.clone());
                    pull.columns.iter().map(|column| typed(column, collation(&column.name))).collect()
                }
                None => self.columns_of_query(&pull.name, &pull.create, view.catalog.generation).await?,
            });
        }
        Ok(columns)
    }

    async fn columns_of_query(&mut self, name: &str, query: &str, generation: u64) -> Result<Vec<TypedColumn>, Halt> {
        if let Some(known) = self.database.combine.columns(name, query, generation) {
            return Ok(known);
        }
        let settings = for_inputs(&self.settings_at_begin());
        let place = self.pools.combine().place();
        let mut server = self.checkout(place).await?;
        let described = async {
            put_settings(&mut server, &settings).await?;
            columns_of(&mut server, query).await
        };
        let described = described.await.map_err(|fault| match fault.code {
            SqlState::QUERY_CANCELED => Halt::from(fault),
            _ => Unable::Refuses(fault).into(),
        })?;
        if let Some(column) = described.iter().find(|column| column.type_oid >= FIRST_GENERATED_OID) {
            let why = format!("the type of column {} is none that every server has", column.name);
            return Err(Unable::Refuses(Fault::new(SqlState::FEATURE_NOT_SUPPORTED, why)).into());
        }
        self.database.combine.note_columns(name, query, generation, &described);
        Ok(described)
    }
}

/// The inputs of pulls. `columns`: of each, where they are made of these.
fn input_tables<'a>(
    plan: &'a FinishPlan,
    columns: Option<&'a [Vec<TypedColumn>]>,
    generation: u64,
) -> impl Iterator<Item = InputTable<'a>> {
    let of_table = |pull: &Pull| {
        // What is made of types alone has no table on this server.
        let table = pull.table.as_ref().filter(|_| !pull.typed);
        table.map(|table| format!("{}.{}", quote_identifier(&table.schema), quote_identifier(&table.name)))
    };
    plan.pulls.iter().enumerate().map(move |(at, pull)| {
        let key = pull.primary_key.iter().filter_map(|at| pull.columns.get(*at));
        InputTable {
            name: &pull.name,
            columns: match columns.and_then(|columns| columns.get(at)) {
                Some(columns) => InputColumns::Typed(columns),
                None => InputColumns::Of { query: &pull.create, table: of_table(pull) },
            },
            primary_key: key.map(|column| quote_identifier(&column.name)).collect::<Vec<_>>().join(", "),
            generation,
        }
    })
}

fn typed(column: &InputColumn, collation: Option<Box<str>>) -> TypedColumn {
    let InputColumn { name, type_oid, typmod, .. } = column;
    TypedColumn { name: name.clone(), type_oid: *type_oid, typmod: *typmod, collation, default: None }
}

fn is_locked(fault: &Fault) -> bool {
    fault.code == SqlState::LOCK_NOT_AVAILABLE
}

fn stays_locked() -> Fault {
    Fault::unsupported(
        "the statement cannot be finished within this transaction",
        format!(
            "a table that it reads stayed locked for {}, perhaps by the transaction itself",
            OwnLock::Long.patience()
        ),
        "Run it before TRUNCATE, LOCK or DDL, or in a transaction of its own.",
    )
}

/// The columns of a depot, which is filled on the home shard.
fn depot_columns(depot: &Depot) -> Vec<TypedColumn> {
    let column = |column: &DepotColumn| TypedColumn {
        name: column.name.clone(),
        type_oid: column.type_oid,
        typmod: column.typmod,
        // Nothing is compared in it.
        collation: None,
        default: column.default.clone(),
    };
    depot.columns.iter().chain(&depot.beside).map(column).collect()
}

/// The settings under which inputs are made and filled. temp_buffers cannot be changed where there are temporary tables already.
fn for_inputs(settings: &Arc<SessionSettings>) -> Arc<SessionSettings> {
    const LEFT_OUT: [&str; 3] = ["session_authorization", "role", "temp_buffers"];
    if LEFT_OUT.iter().all(|name| settings.get(name).is_none()) {
        return Arc::clone(settings);
    }
    let mut plain = (**settings).clone();
    LEFT_OUT.iter().for_each(|name| plain.remove(name));
    Arc::new(plain)
}
