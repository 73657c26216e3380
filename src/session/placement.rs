//! `SELECT pgloom.distribute(...)`, `pgloom.reference(...)`, `pgloom.undistribute(...)`: the placement of a table is changed, with its rows,
//! in one distributed transaction, behind a fence that no connection under the old rules is left behind (`control::rules`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::backend::settings::quote_literal;
use crate::catalog::name_parts;
use crate::config::TwoPhaseCommit;
use crate::control::definition::fits::{Target, obstacles};
use crate::control::definition::{self, Definition, quoted};
use crate::control::rules::{self, CLOSING, Closing, Holder};
use crate::control::{catalog, definition::exists};
use crate::fault::{Fault, SqlState};
use crate::ids::{DistributionId, Epoch, QualifiedName, ShardId};
use crate::session::local::LocalRows;
use crate::session::placed::PAUSE;
use crate::session::prepared::ClientStatement;
use crate::session::simple::utf8;
use crate::session::{Failure, Session};
use crate::sql::utility::{PlacementCall, PlacementQuery, Verb, placement_bound, placement_call};
use crate::topology::{StoredKind, TableRule, Topology};
use crate::wire::frame::BindValues;

/// Names the movers of this router.
static MOVER: AtomicU64 = AtomicU64::new(0);

/// Connections that a message names at most.
const NAMED: usize = 5;

/// What the transaction needs, whatever the session's settings are. It must see what was committed before it has its lock; others are not
/// to wait behind a lock that is waited for in vain; and a shard is idle while another one is at work.
const MODES: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout TO '30s'; \
    SET LOCAL idle_in_transaction_session_timeout TO 0";

/// Names mean what `pg_catalog` says.
const NAMES: &str = "SET LOCAL search_path TO ''";

/// One change of one table.
pub(super) struct Move {
    pub table: QualifiedName,
    /// Where its rows are.
    pub from: Target,
    pub to: Target,
}

impl Session {
    /// Runs the statement to its end; its row.
    pub(super) async fn place(&mut self, text: &str, query: &PlacementQuery) -> Result<LocalRows, Failure> {
        let function = format!("pgloom.{}()", query.verb.name());
        if let Some(wrong) = query.wrong {
            return Err(unreadable(&function, wrong).into());
        }
        if self.tx.is_open() || self.batch.open.is_some() && self.batch.bound {
            return Err(Fault::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                format!("{function} cannot run inside a transaction block"),
            )
            .hint("Run it as a statement of its own.")
            .into());
        }
        self.leave_open().await?;
        let call = placement_call(text).map_err(|wrong| unreadable(&function, wrong))?;
        if self.database.two_phase_commit != TwoPhaseCommit::On {
            return Err(Fault::unsupported(
                format!("{function} is not supported here"),
                "two_phase_commit is not on for this database, and without it rows and rules could not change together.",
                "Turn two_phase_commit on, or name the table in the configuration.",
            )
            .into());
        }
        self.look_around().await?;
        let wanted = self.wanted(&call)?;
        self.check_owner(&wanted).await?;
        let told = self.change_placement(&wanted).await?;
        Ok(LocalRows::of(&query.column, vec![told], "SELECT 1"))
    }

    /// Rules and catalog as they are now.
    async fn look_around(&mut self) -> Result<(), Failure> {
        rules::reload(&self.database).await?;
        catalog::reload(&self.database, false, None).await?;
        self.refresh_view();
        Ok(())
    }

    /// What the call asks for.
    fn wanted(&self, call: &PlacementCall) -> Result<Move, Fault> {
        let topology = &self.view.topology;
        let table = self.table_named(&call.table)?;
        if topology.closed.contains_key(&table) {
            return Err(Fault::new(SqlState::LOCK_NOT_AVAILABLE, format!("table \"{}\" is being moved", table.name))
                .hint("Try again when it is done."));
        }
        if topology.place_of_schema(&table.schema).is_some() {
            return Err(Fault::unsupported(
                format!("changing the placement of table \"{}\" is not supported", table.name),
                format!("schema \"{}\" lies whole on one shard by the configuration", table.schema),
                "Make the table in another schema.",
            ));
        }
        let rule = topology.rule(&table);
        if rule.is_some() && !topology.from_sql.contains(&table) {
            return Err(Fault::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("the placement of table \"{}\" is the configuration's", table.name),
            )
            .hint("Change it there."));
        }
        let from = match rule {
            None => Target::Home,
            Some(TableRule::Reference) => Target::Reference,
            Some(TableRule::Sharded { distribution, columns }) => {
                Target::Sharded { distribution: *distribution, columns: columns.clone() }
            }
        };
        let placed = from != Target::Home;
        if placed != (call.verb == Verb::Undistribute) {
            let message = match placed {
                true => format!("table \"{}\" is distributed already", table.name),
                false => format!("table \"{}\" is not distributed", table.name),
            };
            let fault = Fault::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message);
            return Err(match placed {
                true => fault.hint("SELECT pgloom.undistribute() first brings its rows back to the home shard."),
                false => fault,
            });
        }
        let to = match call.verb {
            Verb::Undistribute => Target::Home,
            Verb::Reference => Target::Reference,
            Verb::Distribute => {
                Target::Sharded { distribution: self.distribution_for(&table, call)?, columns: call.columns.clone() }
            }
        };
        Ok(Move { table, from, to })
    }

    /// The table of this name, as `regclass` reads it; one that has a rule need not be there.
    fn table_named(&self, name: &str) -> Result<QualifiedName, Fault> {
        let names = self.names();
        let parts = name_parts(name).unwrap_or_default();
        let known = |table: &QualifiedName| {
            let (catalog, topology) = (&self.view.catalog, &self.view.topology);
            catalog.table(table).is_some() || topology.rule(table).is_some() || topology.closed.contains_key(table)
        };
        let found = match &parts[..] {
            [table] => {
                let paths = names.search_path.iter().map(|schema| QualifiedName::new(schema.clone(), table.as_str()));
                paths.into_iter().find(known)
            }
            [schema, table] => Some(QualifiedName::new(schema.as_str(), table.as_str())).filter(known),
            _ => {
                return Err(Fault::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("invalid name of a table: \"{name}\""),
                ));
            }
        };
        found.ok_or_else(|| Fault::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist")))
    }

    /// The distribution that the call names, or the only one that its columns fit.
    fn distribution_for(&self, table: &QualifiedName, call: &PlacementCall) -> Result<DistributionId, Fault> {
        let topology = &self.view.topology;
        if let Some(name) = &call.colocate_with {
            let other = self.table_named(name)?;
            return match topology.rule(&other) {
                Some(TableRule::Sharded { distribution, .. }) => Ok(*distribution),
                Some(TableRule::Reference) | None => Err(Fault::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("table \"{}\" is not sharded", other.name),
                )
                .hint("Name a sharded table, or a distribution.")),
            };
        }
        let known = || {
            let known = topology.distributions.iter().filter(|distribution| distribution.schemas.is_none());
            known.map(|known| {
                let types: Vec<&str> = known.key_types.iter().map(|of| of.name()).collect();
                format!("{} ({})", known.name, types.join(", "))
            })
        };
        let listed = |fault: Fault| match known().collect::<Vec<_>>() {
            names if names.is_empty() => {
                fault.hint("Add a distribution to the configuration: [[databases.NAME.distributions]].")
            }
            names => fault.detail(format!("There are: {}.", names.join("; "))),
        };
        if let Some(name) = &call.distribution {
            let found = topology.distribution_named(name).filter(|id| topology.distribution(*id).schemas.is_none());
            let missing = || Fault::new(SqlState::UNDEFINED_OBJECT, format!("distribution \"{name}\" does not exist"));
            return found.ok_or_else(|| listed(missing()));
        }
        let types: Option<Vec<u32>> = self.view.catalog.table(table).and_then(|table| {
            call.columns.iter().map(|name| table.column(name).map(|(_, column)| column.type_oid)).collect()
        });
        let fits = |id: &DistributionId| {
            let distribution = topology.distribution(*id);
            let theirs: Vec<u32> = distribution.key_types.iter().map(|of| of.oid()).collect();
            distribution.schemas.is_none() && types.as_ref().is_none_or(|types| *types == theirs)
        };
        let all = (0..topology.distributions.len()).filter_map(|at| u16::try_from(at).ok().map(DistributionId));
        match &all.filter(fits).collect::<Vec<_>>()[..] {
            [one] => Ok(*one),
            [] => Err(listed(Fault::new(
                SqlState::UNDEFINED_OBJECT,
                format!("no distribution fits the columns of table \"{}\"", table.name),
            ))),
            _ => Err(listed(Fault::new(SqlState::INVALID_PARAMETER_VALUE, "several distributions fit"))
                .hint("Name one: distribution => 'name', or colocate_with => 'table'.")),
        }
    }

    /// `42501` for everybody but the table's owner. A rule whose table was dropped may be forgotten by anybody.
    async fn check_owner(&mut self, wanted: &Move) -> Result<(), Failure> {
        let table = &wanted.table;
        let home = self.view.topology.home;
        let at = self.enlist(home).await?;
        let owns = self.held[at]
            .server
            .query(&format!(
                "SELECT pg_catalog.pg_has_role(c.relowner, 'USAGE') FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relname = {}",
                quote_literal(&table.schema),
                quote_literal(&table.name)
            ))
            .await;
        self.release_idle();
        let owns = owns?;
        match owns.first().and_then(|row| row.first()?.as_deref()) {
            Some("t") => Ok(()),
            Some(_) => {
                let message = format!("must be owner of table {}", table.name);
                Err(Fault::new(SqlState::INSUFFICIENT_PRIVILEGE, message).into())
            }
            None if wanted.from != Target::Home => Ok(()),
            None => {
                let message = format!("relation \"{}\" does not exist", table.name);
                Err(Fault::new(SqlState::UNDEFINED_TABLE, message).into())
            }
        }
    }

    async fn change_placement(&mut self, wanted: &Move) -> Result<String, Failure> {
        let number = MOVER.fetch_add(1, Ordering::Relaxed);
        let mover = format!("{}-{number}", self.shared.router);
        let mut closing = Closing { table: wanted.table.clone(), mover, fence: Epoch(0) };
        tracing::info!(database = %self.database.name, table = %wanted.table, from = ?wanted.from, to = ?wanted.to, "placement changes");
        let done = match self.close_table(wanted, &mut closing).await {
            Ok(()) => self.move_table(wanted, &closing).await,
            Err(failure) => Err(failure),
        };
        let database = Arc::clone(&self.database);
        let settled = match &done {
            Ok(_) => rules::publish(&database).await,
            // Nothing of what this mover has not finished is left, or what is left is in doubt, and locked.
            Err(_) => rules::open(&database, &closing).await,
        };
        if let Err(fault) = settled {
            tracing::warn!(database = %database.name, table = %wanted.table, error = %fault, "the rules are followed later");
        }
        if let Err(fault) = catalog::reload(&database, true, None).await {
            tracing::warn!(database = %database.name, error = %fault, "catalog not read after a change of placement");
        }
        self.refresh_view();
        done
    }

    /// Nobody touches the table any more when this is done.
    async fn close_table(&mut self, wanted: &Move, closing: &mut Closing) -> Result<(), Failure> {
        let database = Arc::clone(&self.database);
        let stored = rules::close(&database, closing).await?;
        self.refresh_view();
        let was = stored.rules.iter().find(|rule| rule.table == wanted.table).map(|rule| &rule.kind);
        if was != Some(&self::stored(&wanted.from, &self.view.topology)) {
            return Err(Fault::new(
                SqlState::SERIALIZATION_FAILURE,
                format!("the placement of table \"{}\" was changed by another session", wanted.table.name),
            )
            .into());
        }
        let slot = Arc::clone(&self.slot);
        let _waiting = slot.wait();
        let until = Instant::now() + CLOSING;
        loop {
            // What this session keeps moves on too.
            for at in 0..self.held.len() {
                self.keep_marked(at).await?;
            }
            let holders = rules::holders(&database, closing).await?;
            if holders.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(still_held(&closing.table, &holders, &self.view.topology).into());
            }
            self.pause(PAUSE).await?;
        }
    }

    /// The distributed transaction, to its end.
    async fn move_table(&mut self, wanted: &Move, closing: &Closing) -> Result<String, Failure> {
        self.refresh_view();
        self.tx.begin_implicit(&self.settings);
        let done = self.move_in_transaction(wanted, closing).await;
        match done {
            Ok(told) => {
                self.commit().await?;
                Ok(told)
            }
            Err(failure) => {
                self.roll_back_quietly().await;
                Err(failure)
            }
        }
    }

    async fn move_in_transaction(&mut self, wanted: &Move, closing: &Closing) -> Result<String, Failure> {
        let home = self.view.topology.home;
        let others: Vec<ShardId> =
            (0..self.view.topology.shards.len()).map(|at| ShardId(at as u16)).filter(|shard| *shard != home).collect();
        // The home shard first: it is the anchor, which commits as it is, cursors and all.
        let all: Vec<ShardId> = std::iter::once(home).chain(others.iter().copied()).collect();
        self.enlist_all(&all).await?;
        let table = quoted(&wanted.table);
        for shard in &all {
            let at = self.held_at(*shard)?;
            self.held[at].wrote = true;
            let server = &mut self.held[at].server;
            server.query(MODES).await?;
            server.query(NAMES).await?;
        }
        self.ask_on(home, &rules::settle(closing, None)).await?;
        if self.is_dropped(&wanted.table, &all).await? {
            self.ask_on(home, &rules::settle(closing, Some(&StoredKind::Unsharded))).await?;
            return Ok("the table is gone, and its rule too".to_owned());
        }
        self.lock(home, &wanted.table).await?;
        let definition = self.definition_on(home, &wanted.table).await?;
        let found = obstacles(&wanted.table, &definition, &wanted.to, &self.view.topology);
        if !found.is_empty() {
            return Err(unfit(&wanted.table, &wanted.to, &found).into());
        }
        self.check_code(&all).await?;
        let rows = match (&wanted.from, &wanted.to) {
            (Target::Home, Target::Sharded { distribution, columns }) => {
                self.check_own_keys(&wanted.table, &definition).await?;
                self.make_on(&others, &wanted.table, &definition).await?;
                self.spread(&wanted.table, &definition, *distribution, columns, &others).await?
            }
            (Target::Home, _) => {
                self.make_on(&others, &wanted.table, &definition).await?;
                self.copy_out(&wanted.table, &definition, &others).await?
            }
            (from, _) => {
                for shard in &others {
                    self.lock(*shard, &wanted.table).await?;
                }
                let rows = match from {
                    Target::Sharded { .. } => self.bring_home(&wanted.table, &definition, &others).await?,
                    Target::Reference | Target::Home => 0,
                };
                for shard in &others {
                    self.ask_on(*shard, &format!("DROP TABLE {table}")).await?;
                }
                rows
            }
        };
        let kind = stored(&wanted.to, &self.view.topology);
        self.ask_on(home, &rules::settle(closing, Some(&kind))).await?;
        tracing::info!(database = %self.database.name, table = %wanted.table, rows, "rows have moved");
        Ok(told(&wanted.to, &self.view.topology, rows))
    }

    /// Whether a table is on none of the shards.
    async fn is_dropped(&mut self, table: &QualifiedName, shards: &[ShardId]) -> Result<bool, Failure> {
        for shard in shards {
            let at = self.held_at(*shard)?;
            if exists(&mut self.held[at].server, table).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One statement on one shard.
    pub(super) async fn ask_on(&mut self, shard: ShardId, sql: &str) -> Result<Vec<Vec<Option<String>>>, Failure> {
        let at = self.held_at(shard)?;
        Ok(self.held[at].server.query(sql).await.map_err(Fault::without_position)?)
    }

    async fn lock(&mut self, shard: ShardId, table: &QualifiedName) -> Result<(), Failure> {
        self.ask_on(shard, &format!("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE", quoted(table))).await.map(drop)
    }

    async fn definition_on(&mut self, shard: ShardId, table: &QualifiedName) -> Result<Definition, Failure> {
        let at = self.held_at(shard)?;
        Ok(definition::read(&mut self.held[at].server, table).await?)
    }

    /// Rows that refer to others of their table cannot be deleted one behind the other.
    async fn check_own_keys(&mut self, table: &QualifiedName, definition: &Definition) -> Result<(), Failure> {
        let Some(key) = definition.foreign_keys.iter().find(|key| key.target == *table) else { return Ok(()) };
        let home = self.view.topology.home;
        let rows = self.ask_on(home, &format!("SELECT FROM ONLY {} LIMIT 1", quoted(table))).await?;
        match rows.is_empty() {
            true => Ok(()),
            false => {
                let found = format!("has rows, and foreign key \"{}\" to itself", key.name);
                Err(unfit(table, &Target::Sharded { distribution: DistributionId(0), columns: Vec::new() }, &[found])
                    .into())
            }
        }
    }

    /// Makes the table where it is not; one that is there must be the same, and empty.
    async fn make_on(&mut self, shards: &[ShardId], table: &QualifiedName, wanted: &Definition) -> Result<(), Failure> {
        for shard in shards {
            let at = self.held_at(*shard)?;
            let there = exists(&mut self.held[at].server, table).await?;
            if !there {
                for statement in &wanted.statements {
                    self.ask_on(*shard, statement).await.map_err(|failure| self.named(*shard, failure))?;
                }
            }
            let made = self.definition_on(*shard, table).await?;
            let name = self.shard_names(&[*shard]);
            if let Some((ours, theirs)) = difference(wanted, &made) {
                return Err(Fault::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("table \"{}\" is another one on shard {name}", table.name),
                )
                .detail(format!("On the home shard it is made by: {ours}; there by: {theirs}."))
                .hint("Make it the same, or drop it there.")
                .into());
            }
            let rows = self.ask_on(*shard, &format!("SELECT FROM ONLY {} LIMIT 1", quoted(table))).await?;
            if !rows.is_empty() {
                return Err(Fault::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("table \"{}\" has rows on shard {name} already", table.name),
                )
                .hint("Empty it there.")
                .into());
            }
        }
        Ok(())
    }

    /// Which shard has refused.
    fn named(&self, shard: ShardId, failure: Failure) -> Failure {
        match failure {
            Failure::Fault(fault) => {
                let at = format!("It was to be made on shard {}.", self.shard_names(&[shard]));
                let detail = fault.detail.as_ref().map_or_else(|| at.clone(), |detail| format!("{detail} {at}"));
                Failure::Fault(fault.detail(detail))
            }
            other => other,
        }
    }

    /// Functions that release session-level advisory locks would take the marks off connections unseen.
    async fn check_code(&mut self, shards: &[ShardId]) -> Result<(), Failure> {
        for shard in shards {
            let found = self
                .ask_on(
                    *shard,
                    "SELECT p.oid::pg_catalog.regprocedure FROM pg_catalog.pg_proc p WHERE p.oid >= 16384 \
                       AND p.pronamespace <> (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = 'pgloom') \
                       AND p.prosrc ~* 'advisory_unlock_all' ORDER BY 1 LIMIT 1",
                )
                .await?;
            if let Some(name) = found.into_iter().flatten().flatten().next() {
                return Err(Fault::unsupported(
                    "changing the placement of tables is not supported in this database",
                    format!(
                        "function {name} releases all advisory locks of its session, and with them the one by which is known under \
                         which rules a connection works"
                    ),
                    "Release single locks in it, or name the table in the configuration.",
                )
                .into());
            }
        }
        Ok(())
    }
}

/// The first statement that makes one and not the other.
fn difference<'a>(ours: &'a Definition, theirs: &'a Definition) -> Option<(&'a str, &'a str)> {
    let longer = ours.statements.len().max(theirs.statements.len());
    let of = |definition: &'a Definition, at: usize| definition.statements.get(at).map_or("nothing", String::as_str);
    (0..longer).map(|at| (of(ours, at), of(theirs, at))).find(|(ours, theirs)| ours != theirs)
}

fn stored(target: &Target, topology: &Topology) -> StoredKind {
    match target {
        Target::Home => StoredKind::Unsharded,
        Target::Reference => StoredKind::Reference,
        Target::Sharded { distribution, columns } => StoredKind::Sharded {
            distribution: topology.distribution(*distribution).name.as_ref().into(),
            columns: columns.clone(),
        },
    }
}

/// What the client is told.
fn told(target: &Target, topology: &Topology, rows: u64) -> String {
    match target {
        Target::Home => format!("on the home shard, {rows} rows moved"),
        Target::Reference => format!("on every shard, {rows} rows copied"),
        Target::Sharded { distribution, columns } => {
            let name = &topology.distribution(*distribution).name;
            format!("sharded by {} (distribution {name}), {rows} rows moved", columns.join(", "))
        }
    }
}

fn unreadable(function: &str, wrong: &'static str) -> Fault {
    Fault::unsupported(
        format!("this form of {function} is not supported"),
        wrong,
        "SELECT pgloom.distribute('table', 'column'), SELECT pgloom.reference('table') and SELECT pgloom.undistribute('table') are statements of their own.",
    )
}

fn unfit(table: &QualifiedName, target: &Target, found: &[String]) -> Fault {
    let what = match target {
        Target::Sharded { .. } => "cannot be sharded so",
        Target::Reference => "cannot be on every shard",
        Target::Home => "cannot be brought to the home shard",
    };
    let found: Vec<String> = found.iter().map(|what| format!("it {what}")).collect();
    Fault::unsupported(
        format!("table \"{}\" {what}", table.name),
        found.join("; "),
        "Drop what stands in the way; what the new placement allows can be made again behind it.",
    )
}

/// Somebody still works under the rules of before.
fn still_held(table: &QualifiedName, holders: &[Holder], topology: &Topology) -> Fault {
    let one = |holder: &Holder| {
        let shard = topology.shards.get(holder.shard.index()).map_or("?", |shard| &*shard.name);
        format!("process {} of user {} on shard {shard} ({})", holder.pid, holder.user, holder.state)
    };
    let mut named: Vec<String> = holders.iter().take(NAMED).map(one).collect();
    if holders.len() > NAMED {
        named.push(format!("{} more", holders.len() - NAMED));
    }
    Fault::new(
        SqlState::LOCK_NOT_AVAILABLE,
        format!("connections that know table \"{}\" where it was did not end within {} s", table.name, CLOSING.as_secs()),
    )
    .detail(named.join("; "))
    .hint("They are in long transactions, belong to sessions with state of their own, or to a router that hangs. Nothing was changed.")
}

/// The text with the values of its parameters in it.
pub(super) fn bound(
    statement: &ClientStatement,
    query: &PlacementQuery,
    values: &BindValues<'_>,
) -> Result<Arc<str>, Fault> {
    if query.parameters == 0 {
        return Ok(Arc::clone(&statement.text));
    }
    let mut texts = Vec::new();
    for index in 0..usize::from(query.parameters) {
        texts.push(match values.get(index) {
            // Text is the same in both formats.
            Some((_, Some(bytes))) => quote_literal(utf8(bytes)?),
            Some((_, None)) | None => "NULL".to_owned(),
        });
    }
    let bound = placement_bound(&statement.text, &texts);
    bound.map(Arc::from).ok_or_else(|| Fault::new(SqlState::INTERNAL_ERROR, "parameters were not found in a call"))
}

/// Between two words on how far the rows have come.
pub(super) const TELL: Duration = Duration::from_secs(5);
