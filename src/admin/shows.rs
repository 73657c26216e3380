//! What SHOW can tell: names, columns and their meaning. docs/ADMIN.md is written from here.

use crate::admin::rows::{Kind, LocalColumn, LocalRows};

/// One thing to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    ActiveSockets,
    Breakers,
    Clients,
    Config,
    Databases,
    Distributions,
    DnsHosts,
    DnsZones,
    Fds,
    Help,
    HotKeys,
    Lists,
    Map,
    Mem,
    Peers,
    PeerPools,
    Pools,
    Schemas,
    Servers,
    ShardPools,
    ShardServers,
    Shards,
    Sockets,
    State,
    Stats,
    StatsAverages,
    StatsTotals,
    Tables,
    Totals,
    Transactions,
    Users,
    Version,
}

/// A column, and what it says.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub doc: &'static str,
}

#[derive(Debug)]
pub struct Show {
    pub what: What,
    pub name: &'static str,
    /// Every client may ask for that of its own database, as `SHOW pgloom.name`.
    pub in_sessions: bool,
    pub doc: &'static str,
    pub fields: &'static [Field],
}

impl Show {
    /// `name` in any case; RELATIONS is another name of TABLES.
    pub fn named(name: &str) -> Option<&'static Self> {
        let name = if name.eq_ignore_ascii_case("relations") { "TABLES" } else { name };
        SHOWS.iter().find(|show| show.name.eq_ignore_ascii_case(name))
    }

    /// As a session names it, behind `pgloom.`.
    pub fn in_session(name: &str) -> Option<&'static Self> {
        // To a session servers are those of shards; connections are the operators' business.
        let name = if name == "servers" { "SHARD_SERVERS" } else { name };
        Self::named(name).filter(|show| show.in_sessions)
    }

    /// With these rows.
    pub fn answer(&self, rows: Vec<Vec<Option<String>>>) -> LocalRows {
        let columns = self.fields.iter().map(|field| LocalColumn { name: field.name.into(), kind: field.kind });
        LocalRows { columns: columns.collect(), rows, tag: "SHOW".to_owned() }
    }
}

impl What {
    pub fn show(self) -> &'static Show {
        SHOWS.iter().find(|show| show.what == self).expect("every thing to be shown is in the list, as a test says")
    }
}

macro_rules! fields {
    ($($name:literal $kind:ident $doc:literal,)*) => {
        &[$(Field { name: $name, kind: Kind::$kind, doc: $doc },)*]
    };
}

macro_rules! show {
    ($what:ident, $name:literal, $in_sessions:literal, $doc:literal, $fields:expr) => {
        Show { what: What::$what, name: $name, in_sessions: $in_sessions, doc: $doc, fields: $fields }
    };
}

/// In the order of [`What`].
pub const SHOWS: &[Show] = &[
    show!(
        ActiveSockets,
        "ACTIVE_SOCKETS",
        false,
        "Those of SOCKETS that are at work: clients that have server connections or wait for them, and the connections that clients have.",
        SOCKETS
    ),
    show!(Breakers, "BREAKERS", true, "The circuit breakers of servers: who is left alone because it fails.", BREAKERS),
    show!(Clients, "CLIENTS", false, "The clients that are connected.", CLIENTS),
    show!(
        Config,
        "CONFIG",
        false,
        "The settings of `[general]`. Passwords stand in other sections and are never shown.",
        CONFIG
    ),
    show!(
        Databases,
        "DATABASES",
        false,
        "The logical databases, one row for each server that holds a part.",
        DATABASES
    ),
    show!(Distributions, "DISTRIBUTIONS", true, "The rules by which rows are placed.", DISTRIBUTIONS),
    show!(
        DnsHosts,
        "DNS_HOSTS",
        false,
        "The names of servers by which connections were made, with their addresses. The operating system looks them up, for each new connection and each dns_max_ttl.",
        DNS_HOSTS
    ),
    show!(
        DnsZones,
        "DNS_ZONES",
        false,
        "Always empty: the operating system looks names up, and zones are not asked for their serial numbers.",
        DNS_ZONES
    ),
    show!(
        Fds,
        "FDS",
        false,
        "The sockets of SOCKETS by their numbers among the open files of this process. No secret is told, and no socket handed over: a new process takes over the port by `so_reuseport`.",
        FDS
    ),
    show!(Help, "HELP", false, "What can be asked and done here.", HELP),
    show!(
        HotKeys,
        "HOT_KEYS",
        false,
        "The sharding keys that statements ask for most, of late: counts are halved each minute. They are estimates from one statement in 32, and 128 keys are kept for each database.",
        HOT_KEYS
    ),
    show!(Lists, "LISTS", false, "How many there are of what.", LISTS),
    show!(
        Map,
        "MAP",
        true,
        "The shard map: which keys lie on which shard, and, from `source` on, how sure that is; in a session these columns alone, in one row.",
        MAP
    ),
    show!(
        Mem,
        "MEM",
        false,
        "What memory is kept for. PgBouncer's names where there is the same; buffers of connections are not counted. Of the whole process tells process_resident_memory_bytes of the metrics.",
        MEM
    ),
    show!(
        Peers,
        "PEERS",
        false,
        "The other routers to which cancel requests can be passed on, by what was heard of them in the last hour: of `peers`, and of the list in etcd or in `history_directory`.",
        PEERS
    ),
    show!(
        PeerPools,
        "PEER_POOLS",
        false,
        "One row for each router of PEERS: cancel requests that are being passed on to it.",
        PEER_POOLS
    ),
    show!(
        Pools,
        "POOLS",
        true,
        "One row for each database and user, over all its shards; SHARD_POOLS has them apart. The rows stay unique in database and user, because exporters count on that.",
        POOLS
    ),
    show!(Schemas, "SCHEMAS", true, "The schemas that lie whole on shards, as they exist there.", SCHEMAS),
    show!(
        Servers,
        "SERVERS",
        false,
        "The server connections of clients, used or not. Those that the router makes for its own work, and closes again, are not among them.",
        SERVERS
    ),
    show!(
        ShardPools,
        "SHARD_POOLS",
        true,
        "One row for each pool: the connections of a user to a server of a shard.",
        SHARD_POOLS
    ),
    show!(
        ShardServers,
        "SHARD_SERVERS",
        true,
        "The servers of each shard, what they are, and how far they have come. In sessions its name is `pgloom.servers`.",
        SHARD_SERVERS
    ),
    show!(Shards, "SHARDS", true, "The shards and their servers.", SHARDS),
    show!(
        Sockets,
        "SOCKETS",
        false,
        "The connections on both sides: the rows of CLIENTS and SERVERS, and what they have not taken of an answer yet.",
        SOCKETS
    ),
    show!(State, "STATE", false, "Whether the router works.", STATE),
    show!(
        Stats,
        "STATS",
        true,
        "What was done for the clients of a database since the start, and on average in the last whole period of a minute.",
        STATS
    ),
    show!(StatsAverages, "STATS_AVERAGES", true, "The averages of STATS.", STATS_AVERAGES),
    show!(StatsTotals, "STATS_TOTALS", true, "The totals of STATS.", STATS_TOTALS),
    show!(
        Tables,
        "TABLES",
        true,
        "The tables that are placed; every other one lies on the home shard. Also as SHOW RELATIONS.",
        TABLES
    ),
    show!(
        Totals,
        "TOTALS",
        false,
        "Totals and averages of STATS_TOTALS and STATS_AVERAGES over all databases, one a row.",
        TOTALS
    ),
    show!(
        Transactions,
        "TRANSACTIONS",
        true,
        "What two-phase commits have prepared on the shards now. A shard that cannot be asked is named in a warning.",
        TRANSACTIONS
    ),
    show!(Users, "USERS", false, "The users that may log in.", USERS),
    show!(Version, "VERSION", false, "The version of this router.", VERSION),
];

const BREAKERS: &[Field] = fields! {
    "server" Text "`host:port`",
    "state" Text "`closed` (it is used), `open` (it is left alone) or `probing` (one tries it for all)",
    "failures" Int8 "failures in a row",
    "retry_in_ms" Int8 "until it is tried again",
    "opened" Int8 "how often it has opened",
    "rejected" Int8 "how many statements failed at once because of it",
    "last_failure" Text "what went wrong last",
};

const CLIENTS: &[Field] = fields! {
    "type" Text "`C`",
    "user" Text "its user",
    "database" Text "the logical database",
    "replication" Text "`none`: there are no replication connections",
    "state" Text "`active` (it has server connections), `waiting` (for them) or `idle`",
    "addr" Text "its address",
    "port" Int4 "its port",
    "local_addr" Text "the address that it has connected to",
    "local_port" Int4 "the port that it has connected to",
    "connect_time" Text "when it came, UTC",
    "request_time" Text "when its last statement was read, UTC",
    "wait" Int4 "whole seconds for which its statement has waited for server connections",
    "wait_us" Int4 "the microseconds beside them",
    "close_needed" Int4 "1: it is to go, and has not gone yet",
    "ptr" Text "a name for it",
    "link" Text "the names of its server connections, as in SERVERS; with commas between them where there are several",
    "remote_pid" Int4 "0: nobody tells it over TCP",
    "tls" Text "protocol and cipher; empty without TLS",
    "application_name" Text "as it was set",
    "prepared_statements" Int4 "statements that it has prepared by name",
    "id" Int4 "for KILL_CLIENT; the process id that the client was told",
};

const SERVERS: &[Field] = fields! {
    "type" Text "`S`",
    "user" Text "the user of the pool, as clients give it",
    "database" Text "the logical database",
    "replication" Text "`none`: there are no replication connections",
    "state" Text "`active` (a client has it), `idle`, `used` (idle, and tried out before it is used: its server has failed) or `being_canceled`",
    "addr" Text "the server's address; `unix` for a Unix socket",
    "port" Int4 "the server's port",
    "local_addr" Text "the router's address",
    "local_port" Int4 "the router's port",
    "connect_time" Text "when it was made, UTC",
    "request_time" Text "when its client's last statement was read, UTC; NULL while nobody has it",
    "wait" Int4 "0: servers do not wait",
    "wait_us" Int4 "0",
    "close_needed" Int4 "1: it is closed when its client gives it back (RECONNECT)",
    "ptr" Text "a name for it",
    "link" Text "the name of the client that has it, as in CLIENTS",
    "remote_pid" Int4 "the process id of the backend, as in pg_stat_activity",
    "tls" Text "protocol and cipher; empty without TLS",
    "application_name" Text "that of the client that has it, `pgloom` while nobody has it",
    "prepared_statements" Int4 "statements that are prepared on it",
    "id" Int8 "a number for it",
    "shard" Text "the shard; for a server beside the shards its address",
    "role" Text "`primary`, `replica`, or `combine`: it finishes statements over several shards",
};

const SOCKETS: &[Field] = fields! {
    "type" Text "`C`: of a client, `S`: to a server",
    "user" Text "as in CLIENTS and SERVERS, and so on",
    "database" Text "the logical database",
    "replication" Text "`none`",
    "state" Text "as in CLIENTS or SERVERS",
    "addr" Text "the address at the other end",
    "port" Int4 "the port at the other end",
    "local_addr" Text "the address of the router",
    "local_port" Int4 "the port of the router",
    "connect_time" Text "when it was made, UTC",
    "request_time" Text "when the client's last statement was read, UTC",
    "wait" Int4 "whole seconds for which the client's statement has waited for server connections",
    "wait_us" Int4 "the microseconds beside them",
    "close_needed" Int4 "1: it is to be closed",
    "ptr" Text "a name for it",
    "link" Text "the names of what it is linked with",
    "remote_pid" Int4 "the process id of a server's backend",
    "tls" Text "protocol and cipher; empty without TLS",
    "application_name" Text "as it was set",
    "prepared_statements" Int4 "statements that are prepared on it",
    "id" Int8 "as in CLIENTS or SERVERS",
    "recv_pos" Int4 "0: PgBouncer's buffers are not those of this router, here and in the next ones",
    "pkt_pos" Int4 "0",
    "pkt_remain" Int4 "0",
    "send_pos" Int4 "0",
    "send_remain" Int4 "0",
    "pkt_avail" Int4 "0",
    "send_avail" Int4 "bytes that wait in the router for a client which takes nothing now",
    "shard" Text "of a server: the shard",
    "role" Text "of a server: as in SERVERS",
};

const MEM: &[Field] = fields! {
    "name" Text "`client_cache`, `server_cache`, `pool_cache`; `plan_cache` (plan_cache_size), and `statements`: what statements hold together (memory_limit), in steps",
    "size" Int4 "bytes of one; of plans on average",
    "used" Int4 "how many there are",
    "free" Int4 "how many more there may be before a limit is reached; 0 where nothing is kept for those who are gone",
    "memtotal" Int8 "bytes of all that are used",
};

const PEERS: &[Field] = fields! {
    "peer_id" Int4 "the number by which the process ids of its clients tell that they are its own",
    "host" Text "where it is reached",
    "port" Int4 "its port",
    "pool_size" Int4 "cancel requests that may be on their way at one time, to all of them together",
};

const PEER_POOLS: &[Field] = fields! {
    "peer_id" Int4 "as in PEERS",
    "cl_active_cancel_req" Int4 "cancel requests of clients that are on their way to it, or that it deals with",
    "cl_waiting_cancel_req" Int4 "0: none waits; where too many are on their way, one more is dropped",
    "sv_active_cancel" Int4 "connections to it for them, those that are being made among them",
    "sv_login" Int4 "0: they are in sv_active_cancel",
};

const CONFIG: &[Field] = fields! {
    "key" Text "the setting",
    "value" Text "as the file or the environment says it",
    "default" Text "what it is if nobody says it",
    "changeable" Text "`yes`: it can change while the router runs",
};

const DATABASES: &[Field] = fields! {
    "name" Text "the logical database",
    "host" Text "the server's host",
    "port" Int4 "the server's port",
    "database" Text "the database on that server",
    "force_user" Text "NULL: each user has its own login to the servers",
    "pool_size" Int4 "server connections for each shard and user, where the user has no limit of its own",
    "min_pool_size" Int4 "of those, kept open",
    "reserve_pool_size" Int4 "0: there are no reserved ones",
    "server_lifetime" Int4 "age in seconds at which server connections are not reused; 0: none",
    "pool_mode" Text "`transaction` or `session`",
    "load_balance_hosts" Text "NULL: each shard has one server for writes",
    "max_connections" Int4 "connections to this server at one time, of all users and databases (`max_server_connections`); 0: only pools have a limit",
    "current_connections" Int4 "connections to this server now, of all users",
    "max_client_connections" Int4 "clients of the logical database at one time (`max_db_client_connections`); 0: only the router has a limit, max_client_conn",
    "current_client_connections" Int4 "clients of the logical database; the same in all of its rows",
    "paused" Int4 "1: statements wait, all of them or those for this shard (PAUSE)",
    "disabled" Int4 "1: nobody else may connect (DISABLE)",
    "shard" Text "the shard",
    "home" Int4 "1: it is the home shard",
    "pool_queue_size" Int8 "clients that may wait for each pool; 0: any number",
    "key_max_rate" Int8 "statements a second of one value of the sharding key; 0: any number",
    "key_max_concurrent" Int8 "statements of one value of the sharding key that may run at a time; 0: any number",
};

const DISTRIBUTIONS: &[Field] = fields! {
    "database" Text "the logical database",
    "distribution" Text "its name",
    "method" Text "as in the configuration",
    "key_types" Text "the types of the sharding-key columns",
    "shards" Text "the shards that can hold its rows",
    "pins" Int4 "keys that are placed by name",
    "tables" Int4 "tables that it places",
};

const DNS_HOSTS: &[Field] = fields! {
    "hostname" Text "the name",
    "ttl" Int8 "seconds until it is looked up again for connections that are there; NULL: it is not (dns_max_ttl = 0)",
    "addrs" Text "the addresses that it was found to have last, with commas between them",
};

const DNS_ZONES: &[Field] = fields! {
    "zonename" Text "the zone",
    "serial" Int8 "its serial number",
    "count" Int4 "the names in it",
};

const FDS: &[Field] = fields! {
    "fd" Int4 "its number, as in `/proc/PID/fd`",
    "task" Text "`client` or `server`",
    "user" Text "as in CLIENTS and SERVERS",
    "database" Text "the logical database",
    "addr" Text "the address at the other end; `unix` for a Unix socket",
    "port" Int4 "the port at the other end",
    "cancel" Int8 "NULL: keys to cancel with are shown to nobody",
    "link" Int4 "the number of the socket that it is linked with, of several the first; 0: none",
    "client_encoding" Text "NULL: settings are told to their own sessions alone, here and in the next three",
    "std_strings" Text "NULL",
    "datestyle" Text "NULL",
    "timezone" Text "NULL",
    "password" Text "NULL: secrets are shown to nobody, here and in the next two",
    "scram_client_key" Text "NULL",
    "scram_server_key" Text "NULL",
};

const HELP: &[Field] = fields! {
    "command" Text "how it is written; `[...]` may be left out",
    "access" Text "`stats`: everybody here may; `admin`: only admin_users",
    "help" Text "what it does",
};

const HOT_KEYS: &[Field] = fields! {
    "database" Text "the logical database",
    "distribution" Text "the rule that places the key",
    "key" Text "as SQL would write it; for users who are not one of admin_users NULL, because keys may say who a customer is",
    "shard" Text "where it lies",
    "statements" Int8 "for this key alone, estimated",
    "at_least" Int8 "of those, certainly for this key",
    "share" Text "in percent of all statements for one key",
};

const LISTS: &[Field] = fields! {
    "list" Text "`databases`, `users`, `pools` (as in POOLS), `free_clients` and `free_servers` (always 0: no memory is kept for those who are gone), `used_clients`, `login_clients`, `used_servers`, `peers`, `peer_pools`, `dns_names` (as in DNS_HOSTS), `dns_zones`, `dns_queries` and `dns_pending` (always 0: the operating system looks names up)",
    "items" Int4 "how many there are",
};

const MAP: &[Field] = fields! {
    "database" Text "the logical database",
    "distribution" Text "the rule",
    "kind" Text "`tokens` (hashes of keys), `range`, `value`, `remainder`, `default` or `pin`; `home` in a database without rules, which lies on that shard; of a composite map `group range`, `group value` and `group default`, and `tokens of group N`",
    "low" Text "the first one, or the only one; NULL: no lower limit",
    "high" Text "the last token, or the first value beyond the range; NULL: no upper limit",
    "shard" Text "where it lies; for a group its number, from 0",
    "source" Text "where the map comes from: `file`, `etcd`, or `copy` (the copy on disk: etcd was not reached since the start, or the file's map has been wrong since then)",
    "place" Text "the member of etcd that answers, the file of the copy, or that of the configuration",
    "epoch" Int8 "the epoch that is served; NULL: the map stands in the configuration, and is kept nowhere",
    "revision" Int8 "the revision of etcd at the map's last change",
    "changed_at" Text "when the map was changed, UTC",
    "changed_by" Text "by whom",
    "reason" Text "why",
    "stale_seconds" Text "seconds since etcd has last said that this is the map; of a `file`, since another one was found there",
    "rejected" Int8 "maps that were not served since the start, because they are not valid; of a `file`, all configurations that were rejected",
    "problem" Text "what is in the way now: of etcd, of the map that it has, or of the file as it was read last",
};

const POOLS: &[Field] = fields! {
    "database" Text "the logical database",
    "user" Text "the user",
    "cl_active" Int4 "clients that do not wait: they have server connections, or need none now",
    "cl_waiting" Int4 "clients whose statement waits for server connections",
    "cl_active_cancel_req" Int4 "cancel requests of clients that are being passed on",
    "cl_waiting_cancel_req" Int4 "0: cancel requests do not wait",
    "sv_active" Int4 "server connections in clients' hands",
    "sv_active_cancel" Int4 "connections that carry cancel requests now",
    "sv_being_canceled" Int4 "server connections to which such requests are on their way",
    "sv_idle" Int4 "server connections that nobody uses",
    "sv_used" Int4 "of those that nobody uses: to be tried out before they are used, because their server has failed. They are not in sv_idle",
    "sv_tested" Int4 "being tried out",
    "sv_login" Int4 "being made",
    "maxwait" Int4 "whole seconds that the longest waiting client has waited",
    "maxwait_us" Int4 "the microseconds beside them",
    "pool_mode" Text "`transaction` or `session`",
    "load_balance_hosts" Text "NULL: each shard has one server for writes",
};

const SCHEMAS: &[Field] = fields! {
    "database" Text "the logical database",
    "schema" Text "the schema",
    "distribution" Text "the rule that places it",
    "shard" Text "where it lies",
    "pinned" Text "`true`: placed by its name",
    "tables" Int8 "tables in it",
};

const SHARD_POOLS: &[Field] = fields! {
    "database" Text "the logical database",
    "user" Text "the user",
    "shard" Text "the shard; for a server beside the shards its address",
    "role" Text "`primary`, `replica`, or `combine`: connections that finish statements over several shards",
    "host" Text "the server's host",
    "port" Int4 "the server's port",
    "cl_waiting" Int4 "clients that wait for a connection of this pool",
    "sv_active" Int4 "connections in clients' hands",
    "sv_active_cancel" Int4 "connections that carry cancel requests now",
    "sv_being_canceled" Int4 "connections to which such requests are on their way",
    "sv_idle" Int4 "connections that nobody uses",
    "sv_used" Int4 "of those that nobody uses: to be tried out before they are used. They are not in sv_idle",
    "sv_tested" Int4 "being tried out",
    "sv_login" Int4 "being made",
    "maxwait" Int4 "whole seconds that the first client in line has waited",
    "maxwait_us" Int4 "the microseconds beside them",
    "pool_size" Int4 "connections at most",
    "breaker" Text "the state of the server's breaker, as in BREAKERS",
};

const SHARD_SERVERS: &[Field] = fields! {
    "shard" Text "the shard",
    "server" Text "`host:port`",
    "role" Text "what it is now",
    "answers" Text "`true`, or `false`; NULL: it is the only one, and is not asked",
    "timeline" Int8 "its timeline",
    "lag_bytes" Int8 "how far it is behind the primary",
    "lag_ms" Int8 "the same in time",
    "latency_us" Int8 "how fast it answers",
    "breaker" Text "the state of its breaker, as in BREAKERS",
    "why" Text "why it is not used",
    "database" Text "the logical database",
    "hedged" Int8 "how many reads of the shard's replicas were sent to a second server (`hedge_after`)",
    "hedges_won" Int8 "of how many the second one was the first to answer",
};

const SHARDS: &[Field] = fields! {
    "database" Text "the logical database",
    "shard" Int4 "its number, from 0",
    "name" Text "its name",
    "host" Text "a server of it",
    "port" Int4 "the server's port",
    "dbname" Text "the database on it",
    "role" Text "`primary` or `replica`",
    "home" Text "`true`: it is the home shard",
    "epoch" Int8 "the version of the map that names it",
};

const STATE: &[Field] = fields! {
    "key" Text "`active`, `paused` (all databases are) or `suspended`",
    "value" Text "`yes` or `no`",
};

const STATS: &[Field] = fields! {
    "database" Text "the logical database",
    "total_server_assignment_count" Numeric "server connections lent to clients; a statement over several shards takes several",
    "total_xact_count" Numeric "transactions: blocks, and statements outside of one",
    "total_query_count" Numeric "Query messages, and batches of the extended protocol",
    "total_received" Numeric "bytes from clients",
    "total_sent" Numeric "bytes to clients",
    "total_xact_time" Numeric "microseconds in transactions, the client's own time in them included",
    "total_query_time" Numeric "microseconds from statements read to their answers written",
    "total_wait_time" Numeric "microseconds that clients waited for server connections, and for those to be made",
    "total_client_parse_count" Numeric "Parse messages of clients",
    "total_server_parse_count" Numeric "statements prepared on servers for them",
    "total_bind_count" Numeric "Bind messages of clients",
    "total_client_login_count" Numeric "clients that were let in",
    "avg_server_assignment_count" Numeric "a second",
    "avg_xact_count" Numeric "a second",
    "avg_query_count" Numeric "a second",
    "avg_recv" Numeric "bytes a second",
    "avg_sent" Numeric "bytes a second",
    "avg_xact_time" Numeric "microseconds for each transaction",
    "avg_query_time" Numeric "microseconds for each query",
    "avg_wait_time" Numeric "microseconds a second",
    "avg_client_parse_count" Numeric "a second",
    "avg_server_parse_count" Numeric "a second",
    "avg_bind_count" Numeric "a second",
    "avg_client_login_count" Numeric "a second",
};

const STATS_AVERAGES: &[Field] = fields! {
    "database" Text "the logical database",
    "server_assignment_count" Numeric "a second",
    "xact_count" Numeric "a second",
    "query_count" Numeric "a second",
    "bytes_received" Numeric "a second",
    "bytes_sent" Numeric "a second",
    "xact_time" Numeric "microseconds for each transaction",
    "query_time" Numeric "microseconds for each query",
    "wait_time" Numeric "microseconds a second",
    "client_parse_count" Numeric "a second",
    "server_parse_count" Numeric "a second",
    "bind_count" Numeric "a second",
    "client_login_count" Numeric "a second",
};

const STATS_TOTALS: &[Field] = fields! {
    "database" Text "the logical database",
    "server_assignment_count" Numeric "as total_server_assignment_count of STATS, and so on",
    "xact_count" Numeric "transactions",
    "query_count" Numeric "queries",
    "bytes_received" Numeric "from clients",
    "bytes_sent" Numeric "to clients",
    "xact_time" Numeric "microseconds",
    "query_time" Numeric "microseconds",
    "wait_time" Numeric "microseconds",
    "client_parse_count" Numeric "Parse messages of clients",
    "server_parse_count" Numeric "statements prepared on servers",
    "bind_count" Numeric "Bind messages of clients",
    "client_login_count" Numeric "clients that were let in",
};

const TABLES: &[Field] = fields! {
    "database" Text "the logical database",
    "table" Text "with its schema",
    "kind" Text "`sharded`, `reference`, `schema` (it lies where its schema lies) or `closed: ...`",
    "distribution" Text "the rule that places it",
    "key" Text "the sharding-key columns",
    "source" Text "`configuration` or `SQL`",
};

const TOTALS: &[Field] = fields! {
    "name" Text "`total_...` and `avg_...` of each column of STATS_TOTALS",
    "value" Numeric "the sum; for times of transactions and queries the average over databases by their number",
};

const TRANSACTIONS: &[Field] = fields! {
    "gid" Text "as in pg_prepared_xacts of the shard",
    "shard" Text "the shard",
    "database" Text "the database on the shard",
    "owner" Text "who prepared it",
    "age" Text "how long ago",
    "anchor" Text "the shard that decides",
    "decision" Text "`committed`, `rolled back`, `none` (not made yet, or its router is gone) or `unknown`",
};

const USERS: &[Field] = fields! {
    "name" Text "the user",
    "pool_size" Text "its own limit of server connections for each shard; empty: the database's",
    "reserve_pool_size" Text "empty: there are no reserved ones",
    "pool_mode" Text "its own; NULL: the database's",
    "max_user_connections" Int4 "0: only pools have a limit",
    "current_connections" Int4 "server connections for it now",
    "max_user_client_connections" Int4 "its clients at one time; 0: only the router has a limit, max_client_conn",
    "current_client_connections" Int4 "its clients now",
    "console" Text "`admin` or `stats`: what it may do here; NULL: nothing",
};

const VERSION: &[Field] = fields! {
    "version" Text "of pgloom",
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn everything_is_in_the_list_once_and_columns_have_one_name_each() {
        for (at, show) in SHOWS.iter().enumerate() {
            assert_eq!(show.what as usize, at, "{}", show.name);
            let columns: HashSet<&str> = show.fields.iter().map(|field| field.name).collect();
            assert_eq!(columns.len(), show.fields.len(), "{}", show.name);
            assert!(Show::named(&show.name.to_lowercase()).is_some_and(|found| found.what == show.what));
        }
    }
}
