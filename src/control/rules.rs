//! The rules of tables that SQL has made: read from the home shard, followed as they change, and changed behind a fence.
//!
//! A table's placement changes in two steps, so that no two routers ever act on different ones. First it is **closed**: its row in
//! `pgloom.table_rule` names a mover, the epoch and the fence of every shard are raised, and the mover waits until no server connection
//! is marked with an older fence (`backend::rules`). From then on whoever can reach a shard knows that the table is closed, and touches
//! it no more. Then its rows move, and in that very transaction the row gets the new rule. When that is committed on every shard the table
//! is opened: its row names no mover any more. Who has not heard of that yet still takes the table for closed.
//!
//! Transactions that were under way when the table was closed may come to further shards, and put older marks there. So a mover that has
//! seen no older mark first says that it begins (`moved`), and looks once more: an older mark that was put before that is seen, and
//! one that is put later is known to count no more.
//!
//! Whoever closes a table and does not come back leaves its row as it is; [`open_abandoned`] puts back what was before. A mover whose
//! transaction is open, or prepared, has the row locked; before that it has a lock by which others see that it is there ([`Presence`]). One
//! that comes too late finds that it is the mover no more.

mod schema;

use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::backend::cluster::Database;
use crate::backend::settings::{quote_identifier, quote_literal};
use crate::fault::{Fault, SqlState};
use crate::ids::{Epoch, QualifiedName, ShardId};
use crate::topology::{StoredKind, StoredRule, StoredRules};

/// How long a mover waits for the connections under earlier rules.
pub const CLOSING: Duration = Duration::from_secs(30);
/// A mover of which nothing is seen for so long is gone, in seconds, whatever its connection does.
const ABANDONED: u64 = 90;
/// The first number of the advisory lock that a mover holds on the home shard for as long as it is there.
const PRESENCE: u32 = 1_885_826_933;
/// How the names of movers begin that hold it.
const PRESENT: &str = "held:";
/// A router looks for changes so often that it was not told of.
const LOOK: Duration = Duration::from_secs(5);
/// Looks at a shard that has not committed its part of a change, before it is left to others, and the time between them.
const OPENING: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(100);
/// Between two attempts to reach the home shard.
const PROBE: Duration = Duration::from_secs(2);
const CHANNEL: &str = "pgloom_rules";

/// A connection that works under earlier rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub shard: ShardId,
    pub pid: u32,
    pub user: String,
    /// What it is doing, as `pg_stat_activity` says it.
    pub state: String,
}

/// A table that is closed, for the one who has closed it.
#[derive(Clone, Debug)]
pub struct Closing {
    pub table: QualifiedName,
    pub mover: String,
    /// Connections that are marked with an earlier one work under earlier rules.
    pub fence: Epoch,
}

impl Closing {
    /// `number`: which one of this router.
    pub fn new(table: QualifiedName, router: &str, number: u64) -> Self {
        Self { table, mover: format!("{PRESENT}{router}-{number}"), fence: Epoch(0) }
    }
}

/// By its connection others see that a mover is there. When the mover dies so does that, and the table is opened.
pub struct Presence {
    _home: Backend,
}

/// Reads the rules and follows them.
///
/// # Errors
/// The home shard cannot be reached, or refuses to be read.
pub async fn reload(database: &Database) -> Result<(), Fault> {
    let home = database.cluster.load().topology.home;
    let mut server = super::connect(database, home).await?;
    reload_from(database, &mut server).await.map(drop)
}

async fn reload_from(database: &Database, server: &mut Backend) -> Result<StoredRules, Fault> {
    let stored = read(server).await?;
    let known = database.cluster.load().topology.epoch;
    if stored.epoch < known {
        tracing::error!(
            database = %database.name, known = known.0, found = stored.epoch.0,
            "the home shard has rules of an earlier epoch; those that are known are kept"
        );
    }
    database.set_rules(&stored);
    Ok(stored)
}

/// What the home shard has. Where there are no tables for it, there are no rules.
///
/// # Errors
/// The server's refusal, or the loss of the connection.
pub async fn read(server: &mut Backend) -> Result<StoredRules, Fault> {
    let made = server
        .query(
            "SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = 'pgloom' AND c.relname = 'table_rule'",
        )
        .await?;
    if made.is_empty() {
        return Ok(StoredRules::default());
    }
    let rows = server
        .query(
            "SELECT f.epoch, f.fence, f.home, r.schema_name, r.table_name, r.kind, r.distribution, \
               pg_catalog.array_to_string(r.columns, E'\\x01'), r.mover IS NOT NULL \
             FROM pgloom.fence f LEFT JOIN pgloom.table_rule r ON true ORDER BY 4, 5",
        )
        .await?;
    let mut stored = StoredRules::default();
    for row in &rows {
        if text(row, 2)? != "t" {
            return Err(elsewhere());
        }
        stored.epoch = Epoch(number(row, 0)?);
        stored.fence = Epoch(number(row, 1)?);
        if row.get(3).is_some_and(Option::is_some) {
            stored.rules.push(rule(row)?);
        }
    }
    Ok(stored)
}

type Row = Vec<Option<String>>;

fn rule(row: &Row) -> Result<StoredRule, Fault> {
    let kind = match text(row, 5)? {
        "sharded" => StoredKind::Sharded {
            distribution: text(row, 6)?.into(),
            columns: text(row, 7)?.split('\u{1}').map(Into::into).collect(),
        },
        "reference" => StoredKind::Reference,
        "unsharded" => StoredKind::Unsharded,
        // Of a later version: nothing is known of such a table.
        other => {
            tracing::warn!(kind = other, "a rule of a kind that is not known");
            return Ok(StoredRule { table: table(row)?, kind: StoredKind::Unsharded, moving: true });
        }
    };
    Ok(StoredRule { table: table(row)?, kind, moving: text(row, 8)? == "t" })
}

fn table(row: &Row) -> Result<QualifiedName, Fault> {
    Ok(QualifiedName::new(text(row, 3)?, text(row, 4)?))
}

fn text(row: &Row, at: usize) -> Result<&str, Fault> {
    row.get(at).and_then(Option::as_deref).ok_or_else(unreadable)
}

fn number(row: &Row, at: usize) -> Result<u64, Fault> {
    text(row, at)?.parse().map_err(|_| unreadable())
}

fn unreadable() -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, "pgloom.table_rule on the home shard is not understood")
}

/// Follows the rules of one database, for ever: as soon as they change where the home shard tells it, else a little later.
pub async fn watch(database: Arc<Database>) {
    loop {
        if let Err(fault) = follow(&database).await {
            tracing::debug!(database = %database.name, error = %fault, "the rules of tables cannot be followed");
        }
        tokio::time::sleep(PROBE).await;
    }
}

async fn follow(database: &Database) -> Result<(), Fault> {
    let home = database.cluster.load().topology.home;
    let mut server = super::connect(database, home).await?;
    server.query(&format!("LISTEN {CHANNEL}")).await?;
    loop {
        let stored = reload_from(database, &mut server).await?;
        if stored.rules.iter().any(|rule| rule.moving) {
            open_abandoned(database, &mut server).await?;
        }
        tokio::select! {
            biased;
            // What it says is that there is something to look at.
            said = server.next_frame() => drop(said?),
            () = database.rules.stale() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Closes a table, and raises the fence of every shard. What rule the table has had is in the rules that are returned. The mover keeps its
/// presence to its end.
///
/// # Errors
/// Somebody else moves it, a shard cannot be reached, or the router's user may not make what is needed there. The table may be closed
/// all the same: see [`open`].
pub async fn close(database: &Arc<Database>, closing: &mut Closing) -> Result<(StoredRules, Presence), Fault> {
    let topology = Arc::clone(&database.cluster.load().topology);
    let mut servers = Vec::new();
    for shard in (0..topology.shards.len()).map(|at| ShardId(at as u16)) {
        let mut server = super::connect(database, shard).await?;
        server.query(&schema::made()).await.map_err(|fault| {
            let name = &topology.shard(shard).name;
            fault.hint(format!("The router's user must be able to create tables in schema pgloom on shard {name}."))
        })?;
        servers.push((shard, server));
    }
    servers.sort_by_key(|(shard, _)| *shard != topology.home);
    let Some((_, home)) = servers.first_mut() else { return Err(unreadable()) };
    closing.fence = Epoch(take(home, closing).await?);
    for (shard, server) in servers.iter_mut().skip(1) {
        let fence = closing.fence.0;
        let raised = server
            .query(&format!(
                "INSERT INTO pgloom.fence AS f (epoch, fence, home) VALUES ({fence}, {fence}, false) ON CONFLICT (single) \
                 DO UPDATE SET fence = GREATEST(f.fence, EXCLUDED.fence), epoch = GREATEST(f.epoch, EXCLUDED.epoch) \
                 WHERE NOT f.home RETURNING 1"
            ))
            .await?;
        if raised.is_empty() {
            let name = &topology.shard(*shard).name;
            return Err(Fault::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("shard {name} has rules that SQL has made for tables, and is not the home shard"),
            )
            .hint("A database has one home shard, in the configuration of every router."));
        }
    }
    let Some((_, mut home)) = servers.into_iter().next() else { return Err(unreadable()) };
    let stored = reload_from(database, &mut home).await?;
    tell(&mut home).await?;
    Ok((stored, Presence { _home: home }))
}

/// Makes the mover the table's own, on the home shard; the new fence.
async fn take(home: &mut Backend, closing: &Closing) -> Result<u64, Fault> {
    let (schema, table) = (quote_literal(&closing.table.schema), quote_literal(&closing.table.name));
    let mover = quote_literal(&closing.mover);
    // Before anybody can see the name.
    home.query(&format!("SELECT pg_catalog.pg_advisory_lock({PRESENCE}, pg_catalog.hashtext({mover}))")).await?;
    // Who moves the table now has its row.
    home.query("SET lock_timeout TO '5s'").await?;
    home.query("INSERT INTO pgloom.fence (epoch, fence, home) VALUES (0, 0, true) ON CONFLICT DO NOTHING").await?;
    let taken = home
        .query(&format!(
            "WITH taken AS (INSERT INTO pgloom.table_rule AS r (schema_name, table_name, kind, mover, since) \
                 VALUES ({schema}, {table}, 'unsharded', {mover}, pg_catalog.now()) \
                 ON CONFLICT (schema_name, table_name) DO UPDATE SET mover = EXCLUDED.mover, since = EXCLUDED.since \
                 WHERE r.mover IS NULL RETURNING 1), \
               raised AS (UPDATE pgloom.fence f SET epoch = f.epoch + 1, fence = f.epoch + 1 \
                 WHERE f.home AND EXISTS (SELECT FROM taken) RETURNING f.fence) \
             SELECT (SELECT pg_catalog.count(*) FROM taken), (SELECT fence FROM raised)"
        ))
        .await?;
    let row = taken.first().ok_or_else(unreadable)?;
    if text(row, 0)? == "0" {
        return Err(Fault::new(
            SqlState::LOCK_NOT_AVAILABLE,
            format!("table \"{}\" is being moved by another session", closing.table.name),
        )
        .hint("Try again when it is done."));
    }
    // Not the home shard of whoever made the first rule.
    if row.get(1).is_none_or(Option::is_none) {
        return Err(elsewhere());
    }
    number(row, 1)
}

fn elsewhere() -> Fault {
    Fault::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        "the rules that SQL has made for tables are on another shard than the home shard",
    )
    .hint("They stay on the shard that was the home shard when the first one was made: make it the home shard again.")
}

/// Looks at every shard for connections, of whichever router, that still work under rules of before a fence.
pub struct Lookout {
    servers: Vec<(ShardId, Backend)>,
    fence: Epoch,
}

impl Lookout {
    /// # Errors
    /// A shard cannot be reached, or its fence is not raised: nothing is known then.
    pub async fn new(database: &Arc<Database>, closing: &Closing) -> Result<Self, Fault> {
        let shards = database.cluster.load().topology.shards.len();
        let fence = closing.fence;
        let asks = (0..shards).map(|at| async move {
            let shard = ShardId(u16::try_from(at).map_err(|_| unreadable())?);
            let mut server = super::connect(database, shard).await?;
            match database.rules.fence_of(&mut server).await? >= fence {
                true => Ok((shard, server)),
                false => Err(Fault::new(SqlState::INTERNAL_ERROR, "the fence of a shard was lowered")),
            }
        });
        Ok(Self { servers: futures::future::try_join_all(asks).await?, fence })
    }

    /// Where there are none, there will be none but those of transactions that are under way.
    ///
    /// # Errors
    /// The loss of a connection.
    pub async fn holders(&mut self) -> Result<Vec<Holder>, Fault> {
        let fence = self.fence;
        let asks = self.servers.iter_mut().map(|(shard, server)| holders_on(*shard, server, fence));
        let found = futures::future::try_join_all(asks).await?;
        Ok(found.into_iter().flatten().collect())
    }
}

async fn holders_on(shard: ShardId, server: &mut Backend, fence: Epoch) -> Result<Vec<Holder>, Fault> {
    let rows = server
        .query(&format!(
            "SELECT l.pid, coalesce(a.usename, '?'), coalesce(a.state, '?') FROM pg_catalog.pg_locks l \
               LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
             WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = {} AND l.objid < {} AND l.database = \
               (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) ORDER BY 1",
            crate::backend::rules::KEY,
            fence.0
        ))
        .await?;
    let holder = |row: &Row| {
        let (user, state) = (text(row, 1)?.to_owned(), text(row, 2)?.to_owned());
        Ok(Holder { shard, pid: u32::try_from(number(row, 0)?).map_err(|_| unreadable())?, user, state })
    };
    rows.iter().map(holder).collect()
}

/// The fence of a shard.
///
/// # Errors
/// It cannot be reached.
pub async fn fence(database: &Database, shard: ShardId) -> Result<Epoch, Fault> {
    let mut server = super::connect(database, shard).await?;
    database.rules.fence_of(&mut server).await
}

/// A mover says that it begins to move rows: from now on nobody joins in under earlier rules.
///
/// # Errors
/// The home shard cannot be reached.
pub async fn begin_moving(database: &Database, closing: &Closing) -> Result<(), Fault> {
    let home = database.cluster.load().topology.home;
    let mut server = super::connect(database, home).await?;
    let fence = closing.fence.0;
    server.query(&format!("UPDATE pgloom.fence f SET moved = GREATEST(f.moved, {fence}) WHERE f.home")).await.map(drop)
}

/// The fence of the last mover that has begun to move rows.
///
/// # Errors
/// The home shard cannot be reached.
pub async fn moved(database: &Database) -> Result<Epoch, Fault> {
    let home = database.cluster.load().topology.home;
    let mut server = super::connect(database, home).await?;
    // Nobody has ever moved any.
    if server.query("SELECT 1 WHERE pg_catalog.to_regclass('pgloom.fence') IS NULL").await?.len() == 1 {
        return Ok(Epoch(0));
    }
    let rows = server.query("SELECT f.moved FROM pgloom.fence f WHERE f.home").await?;
    rows.first().map_or(Ok(Epoch(0)), |row| number(row, 0).map(Epoch))
}

/// Opens the table of a mover that has done what it can: under the new rule where its transaction was committed, else under the one from
/// before.
///
/// # Errors
/// A shard cannot be reached, or has not committed its part yet. The table stays closed until [`open_abandoned`] finds it.
pub async fn open(database: &Arc<Database>, closing: &Closing) -> Result<(), Fault> {
    let home = database.cluster.load().topology.home;
    let mut server = super::connect(database, home).await?;
    let of_mover = format!("r.mover IN ({0}, 'done:' || {0})", quote_literal(&closing.mover));
    let mut found = Found::default();
    for _ in 0..OPENING {
        found = open_where(database, &mut server, &of_mover).await?;
        if found.pending == 0 {
            break;
        }
        tokio::time::sleep(BETWEEN).await;
    }
    reload_from(database, &mut server).await?;
    tell(&mut server).await?;
    match found.pending {
        0 => Ok(()),
        _ => Err(Fault::new(SqlState::LOCK_NOT_AVAILABLE, "a shard has not committed its part yet")),
    }
}

async fn tell(home: &mut Backend) -> Result<(), Fault> {
    home.query(&format!("NOTIFY {CHANNEL}")).await.map(drop)
}

/// Tables whose mover is gone are opened: as they were before, or as it has left them (its rule is `done`), as soon as every shard has committed.
async fn open_abandoned(database: &Database, home: &mut Backend) -> Result<(), Fault> {
    let gone = format!(
        "(r.mover LIKE 'done:%' OR r.since < pg_catalog.now() - pg_catalog.make_interval(secs => {ABANDONED}) \
          OR r.mover LIKE '{PRESENT}%' AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks l \
            WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = {PRESENCE} \
              AND l.objid = (pg_catalog.hashtext(r.mover)::pg_catalog.int8 & 4294967295)::pg_catalog.oid AND l.database = \
                (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())))"
    );
    if open_where(database, home, &gone).await?.opened > 0 {
        tracing::warn!(database = %database.name, "opened tables whose rows were to be moved by somebody who is gone");
        reload_from(database, home).await?;
        tell(home).await?;
    }
    Ok(())
}

/// Closed tables that were looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    opened: usize,
    /// Their movers' transactions are not over everywhere.
    pending: usize,
}

/// A row that is locked is that of a mover whose transaction is open or prepared.
async fn open_where(database: &Database, home: &mut Backend, which: &str) -> Result<Found, Fault> {
    let rows = home
        .query(&format!(
            "SELECT r.schema_name, r.table_name, r.kind, r.mover FROM pgloom.table_rule r \
             WHERE r.mover IS NOT NULL AND {which} FOR UPDATE SKIP LOCKED"
        ))
        .await?;
    let mut found = Found::default();
    for row in &rows {
        let table = QualifiedName::new(text(row, 0)?, text(row, 1)?);
        if text(row, 2)? != "unsharded" && !is_settled(database, home, &table).await? {
            found.pending += 1;
            continue;
        }
        let [schema, name, kind, mover] = [0, 1, 2, 3].map(|at| text(row, at).map(quote_literal));
        let gone = format!(
            "r.schema_name = {} AND r.table_name = {} AND r.kind = {} AND r.mover = {}",
            schema?, name?, kind?, mover?
        );
        let opened = home
            .query(&format!(
                "WITH gone AS MATERIALIZED (SELECT r.ctid AS at, r.kind FROM pgloom.table_rule r WHERE {gone} FOR UPDATE SKIP LOCKED), \
                   deleted AS (DELETE FROM pgloom.table_rule r USING gone g WHERE r.ctid = g.at AND g.kind = 'unsharded' RETURNING 1), \
                   opened AS (UPDATE pgloom.table_rule r SET mover = NULL FROM gone g WHERE r.ctid = g.at AND g.kind <> 'unsharded' \
                     RETURNING 1) \
                 UPDATE pgloom.fence f SET epoch = epoch + 1 WHERE f.home \
                   AND EXISTS (SELECT FROM deleted UNION ALL SELECT FROM opened) RETURNING 1"
            ))
            .await?;
        found.opened += opened.len();
    }
    Ok(found)
}

/// Whether every shard has the table as the home shard's rule says: what is prepared there, and decided, may not be committed yet. A
/// mover has the table locked until then, or it is not there yet.
async fn is_settled(database: &Database, home: &mut Backend, table: &QualifiedName) -> Result<bool, Fault> {
    let name = quote_literal(&format!("{}.{}", quote_identifier(&table.schema), quote_identifier(&table.name)));
    // Nobody asks for one that was dropped.
    if home.query(&format!("SELECT pg_catalog.to_regclass({name})::pg_catalog.oid IS NULL")).await?
        == [[Some("t".to_owned())]]
    {
        return Ok(true);
    }
    let pending = format!(
        "SELECT 1 WHERE pg_catalog.to_regclass({name}) IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_locks l \
           WHERE l.relation = pg_catalog.to_regclass({name}) AND l.pid IS NULL AND l.mode = 'AccessExclusiveLock')"
    );
    let shards = database.cluster.load().topology.shards.len();
    let asks = (0..shards).map(|at| {
        let pending = &pending;
        async move {
            let shard = ShardId(u16::try_from(at).map_err(|_| unreadable())?);
            let mut server = super::connect(database, shard).await?;
            Ok::<bool, Fault>(server.query(pending).await?.is_empty())
        }
    });
    Ok(futures::future::try_join_all(asks).await?.into_iter().all(|settled| settled))
}

/// What a mover runs on the home shard in the transaction that moves the rows: at its beginning, so that nobody opens the table
/// meanwhile, and at its end. `rule`: `None`, the former; what becomes of the table, the latter.
pub fn settle(closing: &Closing, rule: Option<&StoredKind>) -> String {
    let text = |text: &str| quote_literal(text);
    let (kind, distribution, columns) = match rule {
        None => ("NULL".to_owned(), "NULL".to_owned(), "NULL".to_owned()),
        Some(StoredKind::Unsharded) => (text("unsharded"), "NULL".to_owned(), "NULL".to_owned()),
        Some(StoredKind::Reference) => (text("reference"), "NULL".to_owned(), "NULL".to_owned()),
        Some(StoredKind::Sharded { distribution, columns }) => {
            let columns: Vec<String> = columns.iter().map(|column| text(column)).collect();
            (text("sharded"), text(distribution), format!("ARRAY[{}]::pg_catalog.text[]", columns.join(", ")))
        }
    };
    format!(
        "SELECT pgloom.settle_rule({}, {}, {}, {kind}, {distribution}, {columns})",
        text(&closing.table.schema),
        text(&closing.table.name),
        text(&closing.mover)
    )
}
