//! A table changes its placement: closed for everybody first, then moved with its rows and its rule in one distributed transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::backend::rules::changed;
use crate::control::catalog;
use crate::control::definition::fits::{Target, obstacles};
use crate::control::definition::{self, Definition, exists, quoted};
use crate::control::rules::{self, CLOSING, Closing, Holder, Lookout, Presence};
use crate::fault::{Fault, SqlState};
use crate::ids::{DistributionId, QualifiedName, ShardId};
use crate::session::placed::PAUSE;
use crate::session::placement::Move;
use crate::session::{Failure, Session};
use crate::topology::{StoredKind, Topology};

/// Names the movers of this router.
static MOVER: AtomicU64 = AtomicU64::new(0);

/// How often a transaction is begun that others overtake.
const ATTEMPTS: u32 = 5;

/// Connections that a message names at most.
const NAMED: usize = 5;

/// What the transaction needs, whatever the session's settings are. It must see what was committed before it has its lock; others are not
/// to wait behind a lock that is waited for in vain; and a shard is idle while another one is at work.
const MODES: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout TO '30s'; \
    SET LOCAL idle_in_transaction_session_timeout TO 0";

/// Names mean what `pg_catalog` says.
const NAMES: &str = "SET LOCAL search_path TO ''";

impl Session {
    pub(super) async fn change_placement(&mut self, wanted: &Move) -> Result<String, Failure> {
        let number = MOVER.fetch_add(1, Ordering::Relaxed);
        let mut closing = Closing::new(wanted.table.clone(), &self.shared.router, number);
        tracing::info!(database = %self.database.name, table = %wanted.table, from = ?wanted.from, to = ?wanted.to, "placement changes");
        let done = match self.close_table(wanted, &mut closing).await {
            Ok(_presence) => self.move_table(wanted, &closing).await,
            Err(failure) => Err(failure),
        };
        let database = Arc::clone(&self.database);
        // Nothing of what this mover has not finished is left, or what is left is in doubt, and locked.
        if let Err(fault) = rules::open(&database, &closing).await {
            tracing::warn!(database = %database.name, table = %wanted.table, error = %fault, "the rules are followed later");
        }
        if let Err(fault) = catalog::reload(&database, true, None).await {
            tracing::warn!(database = %database.name, error = %fault, "catalog not read after a change of placement");
        }
        self.refresh_view();
        done
    }

    /// Nobody touches the table any more when this is done.
    async fn close_table(&mut self, wanted: &Move, closing: &mut Closing) -> Result<Presence, Failure> {
        let database = Arc::clone(&self.database);
        let (stored, presence) = rules::close(&database, closing).await?;
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
        let mut lookout = Lookout::new(&database, closing).await?;
        let until = Instant::now() + CLOSING;
        let mut said = false;
        loop {
            // What this session keeps moves on too.
            for at in 0..self.held.len() {
                self.keep_marked(at).await?;
            }
            let holders = lookout.holders().await?;
            if holders.is_empty() && said {
                return Ok(presence);
            }
            if holders.is_empty() {
                rules::begin_moving(&database, closing).await?;
                said = true;
                continue;
            }
            if Instant::now() >= until {
                return Err(still_held(&closing.table, &holders, &self.view.topology).into());
            }
            self.pause(PAUSE).await?;
        }
    }

    /// The distributed transaction, to its end.
    async fn move_table(&mut self, wanted: &Move, closing: &Closing) -> Result<String, Failure> {
        for attempt in 1.. {
            self.refresh_view();
            self.tx.begin_implicit(&self.settings);
            match self.move_in_transaction(wanted, closing).await {
                Ok(told) => {
                    self.commit().await?;
                    return Ok(told);
                }
                Err(failure) => {
                    self.roll_back_quietly().await;
                    // Another table is closed at the same time: its fence is no older than this one.
                    let overtaken = matches!(&failure, Failure::Fault(fault) if *fault == changed());
                    if !overtaken || attempt >= ATTEMPTS {
                        return Err(failure);
                    }
                }
            }
        }
        Err(changed().into())
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
            self.held[at].note_rows(false);
            let server = &mut self.held[at].server;
            server.query(MODES).await?;
            server.query(NAMES).await?;
        }
        self.check_event_triggers(&all).await?;
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
            if there {
                // Until its rows are committed there nobody reads it without them.
                self.lock(*shard, table).await?;
            } else {
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

/// Between two words on how far the rows have come.
pub(super) const TELL: Duration = Duration::from_secs(5);
