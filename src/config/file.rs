//! pgloom.toml exactly as written: its sections, keys, defaults and comments. What they mean together is checked in `build`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::error::{Origin, did_you_mean};
use crate::config::section::{Fields, FromTree, Key, Named, Need, Reader, Section, Setting, section};
use crate::config::tree::{Kind, Member, Value as Tree};
use crate::config::units::{
    AuthType, Bytes, HedgeAfter, KeyText, ListenAt, LogFormat, LogLevel, MapSource, MethodName, PoolMode, Ratio,
    ReadPreference, SqlName, SslMode, TwoPhaseCommit, UniqueScope,
};
use crate::secret::Secret;
use crate::types::KeyType;

section! {
    /// What concerns the whole router. Every key can also be set by the environment variable `PGLOOM_<KEY>`, which goes before the file.
    pub struct General, environment true {
        /// IP addresses on which clients are accepted: one, or a list. `0.0.0.0` is every IPv4 address, `::` every IPv6 one.
        host: Vec<IpAddr> = "127.0.0.1",
        /// Port on which clients are accepted.
        port: u16 = "6432",
        /// Let several routers on this machine share the port; the kernel spreads the connections.
        so_reuseport: bool = "false",
        /// Keep-alive probes on client and server connections, so that a vanished peer is noticed.
        tcp_keepalive: bool = "true",
        /// Silence before the first probe. 0: as the operating system does.
        tcp_keepidle: Duration = "0",
        /// Time between two probes. 0: as the operating system does.
        tcp_keepintvl: Duration = "0",
        /// Unanswered probes before the connection is given up. 0: as the operating system does.
        tcp_keepcnt: u32 = "0",
        /// Where other routers reach this one, as `host:port`, to pass on cancel requests of its clients; for the list of routers in etcd or in `history_directory`. Empty: the first address of `host`, or where that is every address, the name of this machine.
        advertise: String = "",
        /// The other routers that clients may reach in place of this one (behind a load balancer), as `host:port`; it may name this one, too, and a name may lead to many. Cancel requests are passed on to them, and they are asked which primaries of the shards are old ones (docs/RELIABILITY.md). Routers that share a map in etcd, `history_directory`, or a port (`so_reuseport`) know each other without it.
        peers: Vec<String> = "",
        /// Threads that serve clients. 1 costs least for each statement; 0: one for each processor.
        workers: u16 = "1",

        /// Clients at one time, at most a million; more are refused with 53300. PgBouncer's default is 100; here a client costs little more than its socket. No more than three quarters of the files that the process may open (its hard limit): servers are connections, too.
        max_client_conn: u32 = "1000",
        /// Of these, from one address (of IPv6: one /64); further ones are refused with 53300. The admin console does not count. 0: no limit of its own.
        max_client_conn_per_address: u32 = "0",
        /// Clients at one time that have not logged in yet. Where one more comes, one is disconnected that has not sent a startup packet: of the address (of IPv6: the /64) that has most of these, the one that came first. So a flood of sockets that say nothing keeps nobody out. Where all of them have, the newest is refused with 53300. 0: as many as max_client_conn.
        max_login_conn: u32 = "0",
        /// Clients of one user at one time (53300 for one more). 0: any number.
        max_user_client_connections: u32 = "0",
        /// Clients of one database at one time (53300 for one more). 0: any number.
        max_db_client_connections: u32 = "0",
        /// When a server connection goes back to the pool: after each `transaction`, or with the client's `session`.
        pool_mode: PoolMode = "transaction",
        /// Server connections for each shard and user. Shards times users times this must fit in the shards' `max_connections`.
        default_pool_size: u32 = "20",
        /// Server connections for each shard and user that are kept open when idle.
        min_pool_size: u32 = "0",
        /// Prepared statements kept on each server connection. 0: none is kept, each is prepared again.
        max_prepared_statements: u32 = "200",

        /// Time for a client to send its startup packet and prove who it is. It counts for all: who the client is, and which database it wants, is known only behind it.
        client_login_timeout: Duration = "15s",
        /// A client that is silent for longer, outside a transaction, is disconnected (57P05). 0: never.
        client_idle_timeout: Duration = "0",
        /// How long a statement waits for free server connections before it fails (53300). One that would wait for longer, or longer than its query_timeout leaves it, as the line at the pool moves now, fails at once. Transactions that could only wait for each other's connections fail at once (40P01), and those in a circle with others that wait for locks after deadlock_timeout. 0: for ever.
        query_wait_timeout: Duration = "120s",
        /// How long a statement may take before it is cancelled on its servers (57014). 0: for ever. This and the next ones, the two above included, can be said for a database, for a user, and in a session (`SET pgloom.query_timeout = '5s'`); the narrower one goes before.
        query_timeout: Duration = "0",
        /// How long a statement over several shards may take, all of them together (57014). 0: only query_timeout counts.
        scatter_timeout: Duration = "0",
        /// How long a transaction may take before its client is disconnected (25P04). 0: for ever.
        transaction_timeout: Duration = "0",
        /// How long a client may take no byte of its answer, for which servers wait, before it is disconnected. 0: for ever.
        client_write_timeout: Duration = "0",
        /// How long a statement that is cancelled because its time is up may go on until its servers have stopped: then their connections are closed, and its client is told that the outcome is unknown. A commit over several shards waits for so long, when its time is up, for shards that may know its outcome. 0: for as long as it takes.
        cancel_grace: Duration = "2s",
        /// A client that is silent for longer inside a transaction is disconnected (25P03), so that its locks go. 0: never.
        idle_transaction_timeout: Duration = "0",
        /// Time to connect to a server. PgBouncer's default is 15 s; clients wait for it, so here it is shorter. This and the next one can be said for a database, for a user and in a session too (`SET pgloom.server_connect_timeout`): there for the connections that are made for it, and at least 100 ms; that it was too impatient is not held against the server (breakers).
        server_connect_timeout: Duration = "5s",
        /// Time to log in to it then: TLS, authentication, and what the router asks a new connection. 0: what is left of server_connect_timeout.
        server_login_timeout: Duration = "0",
        /// Failures in a row (a connection refused, timed out or broken off) after which a server is left alone for a while: statements that need it fail at once (57P03). 0: never.
        breaker_failures: u32 = "5",
        /// Failures in a hundred uses of a server, of at least 20 within breaker_window, that do the same. 0: they are not counted.
        breaker_error_percent: u32 = "50",
        /// How long uses are counted for breaker_error_percent, from the first failure on.
        breaker_window: Duration = "10s",
        /// How long a server is left alone at first; then one tries it for all. Each time that fails, the time doubles.
        breaker_open_time: Duration = "1s",
        /// How long a server is left alone at most.
        breaker_max_open_time: Duration = "10s",
        /// A server connection that is unused for longer is closed. 0: never.
        server_idle_timeout: Duration = "10min",
        /// A server connection that is older is closed when it is next free. 0: never.
        server_lifetime: Duration = "1h",
        /// How often the servers of a shard that has several are asked which one is the primary, and how far the replicas have come. When a connection fails they are asked at once.
        server_check_interval: Duration = "1s",
        /// How often the names of servers are looked up for connections that are there: those to an address that its name does not have any more are closed when they are free. A new connection always looks its name up. 0: never.
        dns_max_ttl: Duration = "15s",
        /// How long a statement waits for a primary where a shard of several servers has none that answers, as in a failover or a restart (57P03 afterwards). Nothing of the statement has been sent then. 0: it fails at once. For a database, a user and a session as query_timeout.
        failover_timeout: Duration = "10s",
        /// How long a statement waits for the only server of a shard that cannot be connected to, as while that restarts; its circuit breaker is asked again meanwhile. Nothing of the statement has been sent then. 0: it fails at once.
        restart_timeout: Duration = "0s",
        /// Where the router keeps which timelines of its shards it has heard of, once there has been a failover: after a restart a primary of before is still known for an old one, although the new one does not answer just then. Routers that share a map in etcd or `history_directory`, or know each other by peers, tell each other as well. Remove a cluster's entry when that was restored to an earlier timeline, in every copy, with the routers stopped: that is this file of each router, and `timelines` in etcd or `routers/timelines` in `history_directory`.
        timelines_file: PathBuf = "pgloom.timelines.json",
        /// Which servers of a shard answer statements that provably only read, outside of transactions or in READ ONLY ones: `primary`, `replica` (where there is one that is fresh enough, else the primary) or `nearest` (whichever answers soonest). What replicas answer is of a moment before. A session chooses with SET pgloom.read_preference.
        read_preference: ReadPreference = "primary",
        /// Look at comments before statements, such as `/* pgloom: read_preference=replica */ SELECT ...`, which go before the session's own choice. Only the very first comment of a statement counts. Leave it off where others can write into an application's comments.
        read_preference_hints: bool = "false",
        /// A replica that may lack what was written longer ago is not read. It is known once each server_check_interval. 0: no limit.
        max_replica_lag: Duration = "10s",
        /// A replica that is further behind is not read. 0: no limit.
        max_replica_lag_bytes: Bytes = "0",
        /// A session reads from a replica only when that has all that the session has written itself.
        read_your_writes: bool = "true",
        /// A read that a replica has not begun to answer after so long is sent to a second server that may be read, and the first answer counts; the other server is told to stop. A duration, `"p95"` (longer than so many of a hundred reads of the shard's replicas took lately) or `"off"`.
        hedge_after: HedgeAfter = "off",
        /// Of a hundred reads of a shard's replicas, how many may be sent to a second server.
        hedge_max_percent: u32 = "5",
        /// How long a shutdown may take; transactions that have not ended by then are broken off.
        shutdown_timeout: Duration = "30s",
        /// How long after SIGTERM clients may stay before those without a transaction are disconnected, as a part of shutdown_timeout. With SIGINT they are at once.
        shutdown_client_timeout: Duration = "10s",
        /// How long after SIGTERM clients are still taken in while `/readyz` says no already, so that a load balancer has time to look elsewhere.
        shutdown_delay: Duration = "0",
        /// How often the files of the configuration are looked at (this one, certificates, keys, passwords). When one has changed, all is read again as by SIGHUP. 0: never.
        autoreload: Duration = "0",
        /// How long a prepared transaction may wait for the router that prepared it before another one finishes it, by the decision that its first shard holds.
        two_phase_grace: Duration = "30s",
        /// How long a statement of a transaction over several shards may run before the shards are asked whether it waits in a deadlock (40P01 for one of those who do). 0: never; such a deadlock lasts until a time-out ends it.
        deadlock_timeout: Duration = "1s",
        /// How often a statement over several shards that is a transaction by itself is run again when it falls victim to a deadlock (40P01), before the client is told of one. Nothing of its answer has been sent then. The further runs go to one shard after the other. 0: never.
        deadlock_retries: u32 = "3",
        /// How often the shards' tables and columns are read again, for DDL that did not go through this router.
        catalog_refresh_interval: Duration = "60s",

        /// The longest message accepted from either side; 1 GiB is Postgres's own limit.
        max_message_size: Bytes = "1GiB",
        /// Memory for the analyses of known statements.
        plan_cache_size: Bytes = "64MiB",
        /// Shards that one statement may read; more are refused with 53400. 0: all. With 1 every cross-shard read is refused.
        scatter_max_shards: u32 = "0",
        /// Of a hundred connections of each pool, those that statements over several shards may have at one time (at least one), so that they leave some to statements that need one shard. 100: all.
        scatter_pool_share: u32 = "75",
        /// At how many shards all statements over several shards together may be at one time; others wait, as for connections. Statements that need one shard are not counted. 0: any number.
        scatter_max_requests: u32 = "0",
        /// Connections of this router to each server, of all users and databases together (PgBouncer's max_db_connections). Who needs one more has an idle connection of others closed, else waits, up to query_wait_timeout (53300). Those by which the router itself looks after the servers are not counted. At least 2. 0: only pools have a limit.
        max_server_connections: u32 = "0",
        /// Clients that may wait for a connection of each pool, and statements that may wait for scatter_max_requests; one more fails at once (53300) instead of waiting in vain. 0: any number.
        pool_queue_size: u32 = "0",
        /// Statements a second that one value of the sharding key may have (a tenant, where that is the key), in this router; a second's worth may come at once. They are those that name one value (`= 5`, `IN (5)`, `= ANY ('{5}')`, `BETWEEN 5 AND 5`), and INSERT of rows of one value; COPY and statements over several values are not counted. 0: any number.
        key_max_rate: u32 = "0",
        /// Statements of one value of the sharding key that may run at one time, in this router; counted as for key_max_rate. A pipeline is one, of the key that it names first. 0: any number.
        key_max_concurrent: u32 = "0",
        /// How long a statement that comes too early for key_max_rate, or is one too many for key_max_concurrent, waits, before it fails (53400). What it holds in its transaction it holds meanwhile. 0: it fails at once. For a database, a user and a session as query_timeout.
        key_wait_timeout: Duration = "0",
        /// Memory that merging one statement's rows may take (groups, distinct values); beyond it the statement fails with 53400.
        merge_max_bytes: Bytes = "64MiB",
        /// Memory that all statements together may take for what they hold: groups, sorted and distinct values, rows that wait for others, messages of more than 256 KiB, the trees of large statements, prepared statements. Beyond it a statement fails with 53200. What sessions keep between their statements is half of it at most, and one session may keep as much as is left of that half; its first 64 KiB it may keep as long as there is any memory. 0: no limit.
        memory_limit: Bytes = "1GiB",

        /// Values of a sequence that the router takes from the home shard at a time, where rows of sharded and reference tables need many. What is taken and not used is a gap. 1: only what is needed, as one Postgres does.
        sequence_block: u32 = "100",

        /// How clients prove who they are: `scram-sha-256`, `md5` (for old clients; SCRAM where the stored password is a SCRAM verifier), `cert` (over TLS, by a certificate of client_tls_ca_file whose common name is the user's), `trust` (known users, no password), or `hba`: as the first entry of auth_hba_file says that fits.
        auth_type: AuthType = "scram-sha-256",
        /// Who may come in from where, and how: a file in the format of Postgres's pg_hba.conf (docs/AUTH.md), for auth_type = "hba".
        auth_hba_file: PathBuf = "",
        /// Which certificates are for which users, for `map=` in auth_hba_file: a file in the format of pg_ident.conf, with plain names.
        auth_ident_file: PathBuf = "",
        /// Users beside those of `[[users]]`, who may connect to all databases, and passwords of those who have none there: a file in the format of PgBouncer's userlist.txt, `"user" "password"` on each line.
        auth_file: PathBuf = "",
        /// Users beside those of the configuration: what the home shard is asked for them, as router_user of the database. `on`: for the roles of Postgres that may log in; or a query of one's own with the name as `$1`, for a name and its password as it is stored. Empty: nobody is asked for.
        auth_query: String = "",
        /// How long what auth_query has told of a user counts, at most 60 s: a changed password, or a role that may not log in any more, is known by then.
        auth_query_ttl: Duration = "30s",
        /// Time that auth_query may take.
        auth_query_timeout: Duration = "5s",
        /// The secret of which the salts are made that strangers are shown, who are to find nobody by them: routers with the same one show the same. It is made where the file is not there. Empty: `.mock_key` behind the name of the configuration file, beside it; with the map in etcd, the one that is kept there.
        auth_mock_key_file: PathBuf = "",
        /// Failed logins that one user may have from one address (of IPv6: one /64) at once, and ten times as many that the address may have of all users; further ones are refused for a while (28000). 0: any number.
        auth_failure_limit: u32 = "20",
        /// After so long one more may fail.
        auth_failure_interval: Duration = "3s",
        /// Users of `[[users]]` who may do everything in the admin console: the database `pgloom` (or `pgbouncer`, `pgcat`, `admin`, where no logical database has that name). Users for nothing else have `databases = []`.
        admin_users: Vec<String> = "",
        /// Users of `[[users]]` who may look at everything there, and change nothing: for exporters.
        stats_users: Vec<String> = "",
        /// Let clients of other machines use the console without TLS.
        admin_plaintext: bool = "false",

        /// TLS with clients: `disable`, `prefer` (encrypted if the client asks), `require`, `verify-ca` or `verify-full` (and the client shows a certificate of client_tls_ca_file).
        client_tls_sslmode: SslMode = "disable",
        /// The router's certificate chain, PEM. Relative paths start at this file's directory.
        client_tls_cert_file: PathBuf = "",
        /// The private key of client_tls_cert_file, PEM.
        client_tls_key_file: PathBuf = "",
        /// Authorities whose client certificates are accepted, PEM; for verify-ca and verify-full.
        client_tls_ca_file: PathBuf = "",

        /// TLS with the shards: `disable`, `prefer` (encrypted if the server can, unverified), `require` (unverified), `verify-ca` or `verify-full`. Use verify-full on any network that you don't own.
        server_tls_sslmode: SslMode = "prefer",
        /// Authorities that sign the shards' certificates, PEM. Empty: those that the operating system trusts.
        server_tls_ca_file: PathBuf = "",
        /// Certificate that the router shows to the shards, PEM.
        server_tls_cert_file: PathBuf = "",
        /// The private key of server_tls_cert_file, PEM.
        server_tls_key_file: PathBuf = "",

        /// TLS with other routers, to which cancel requests are passed on: as server_tls_sslmode. Under `prefer` a key travels in clear text to a router that has no TLS. The router shows the certificate of client_tls_cert_file. For verify-full the certificates need the addresses: names in `peers` are looked up.
        peer_tls_sslmode: SslMode = "prefer",
        /// Authorities that sign the other routers' certificates, PEM. Empty: those that the operating system trusts.
        peer_tls_ca_file: PathBuf = "",

        /// Address and port of `/metrics`, `/healthz` and `/readyz`. Empty: none.
        metrics_listen: ListenAt = "127.0.0.1:9930",
        /// Name the sharding keys that are asked for most in `pgloom_hot_key_share`: keys may say who a customer is. They are always in `SHOW HOT_KEYS` of the console, for admin_users.
        hot_key_metrics: bool = "false",
        /// Where statements are told to as traces of OpenTelemetry: the OTLP endpoint of a collector, over gRPC, such as `http://127.0.0.1:4317`. Empty: nowhere.
        trace_endpoint: String = "",
        /// The part of the statements that is traced. Those with a `traceparent` in a comment are traced as that says.
        trace_ratio: Ratio = "0.01",
        /// `error`, `warn`, `info`, `debug` or `trace`.
        log_level: LogLevel = "info",
        /// `text` for people, `json` for machines.
        log_format: LogFormat = "text",
        /// Log each client that logs in.
        log_connections: bool = "true",
        /// Log each client that leaves, and why.
        log_disconnections: bool = "true",
        /// Log statements that take at least so long, their waiting included. 0: none. It can be said for a database and for a user; the narrower one goes before.
        log_slow_statements: Duration = "0",
        /// Log statements that the router refuses (0A000, 53400, 53300).
        log_refused_statements: bool = "false",
        /// Log statements that need more than one shard.
        log_scattered_statements: bool = "false",
        /// Show literals in these logs. Otherwise they are `$n`, and so they are in every statement in which a word or a literal sounds like a secret (password, token, connection, ...).
        log_statement_literals: bool = "false",
        /// Of a hundred such statements, those that are logged.
        log_statement_share: u32 = "100",
        /// Statements that are logged in a second at most; the next one tells how many were not. 0: no limit.
        log_statements_per_second: u32 = "10",
    }
}

section! {
    /// What concerns reads that a Postgres finishes: rows are pulled from the shards into temporary tables on a connection to the home shard, or to one of `servers`.
    pub struct Combine, environment false {
        /// Rows that one statement may pull; beyond it the statement fails with 53400.
        max_rows: u64 = "10000000",
        /// Bytes that one statement may pull, in Postgres's binary form; beyond it the statement fails with 53400.
        max_bytes: Bytes = "1GiB",
        /// Connections for each user that finish such reads: to the home shard, beside its other pool, of which cursors WITH HOLD may keep half, and to each of `servers`.
        pool_size: u32 = "8",
        /// Servers beside the shards that finish such reads instead of the home shard, as `{ host = "...", port = 5432, dbname = "..." }`: of the same major version, locale, settings and users as the home shard, with an empty database. What needs the home shard's functions, types or catalog is finished there all the same.
        servers: Vec<CombineServer> = "",
    }
}

section! {
    /// One server that finishes reads, in `servers` of `[combine]`.
    pub struct CombineServer, environment false {
        /// Host name, IP address, or the directory of its Unix socket.
        host: String = required,
        /// Its port.
        port: u16 = "5432",
        /// The database in which the temporary tables are made. Default: the name of the logical database.
        dbname: String = optional,
    }
}

section! {
    /// Where the shard map comes from (docs/TOPOLOGY.md).
    pub struct MapFrom, environment false {
        /// `file`: the shards, distributions and tables stand in this file. `etcd`: they stand in one document in etcd, which all routers follow and `pgloom topology` changes.
        source: MapSource = "file",
        /// Where the map stands in this file: whether a reload may place rows elsewhere than they are, because they have been moved. Without, a changed file under which tables that have rows would belong to other shards is rejected. (With etcd: `pgloom topology apply --allow-moves`.)
        allow_moves: bool = "false",
        /// Where the last 100 maps that were served are kept, where the map stands in this file: `pgloom topology history` lists them, `rollback` puts one back, and a start with a map that is wrong uses the last one (not with allow_moves = true). Routers that share it know each other by it. Default: beside this file, under its name with `.maps` behind it. Empty: nowhere.
        history_directory: PathBuf = optional,
        /// Bytes that earlier maps may take: in etcd those of maps of more than 600 KiB, in `history_directory` those of all. The oldest ones go first, and the one before the last always stays. (docs/TOPOLOGY.md has what else makes room in etcd.)
        history_size: Bytes = "512MiB",
        /// The members of the etcd cluster, as `"http://10.0.0.1:2379"`, or with TLS `"https://etcd1.example.com:2379"`.
        endpoints: Vec<String> = "",
        /// What the keys in etcd begin with. Another prefix is another map, which a router follows from its next start on.
        prefix: String = "/pgloom",
        /// The user of etcd, where its authentication is on.
        user: String = "",
        /// Its password. Not needed where the certificate says who we are.
        password: Secret = optional,
        /// A file that holds the password, instead of `password`.
        password_file: PathBuf = optional,
        /// Authorities that sign the certificates of etcd, PEM. Empty: those that the operating system trusts.
        tls_ca_file: PathBuf = "",
        /// Certificate that the router shows to etcd, PEM.
        tls_cert_file: PathBuf = "",
        /// The private key of tls_cert_file, PEM.
        tls_key_file: PathBuf = "",
        /// How long one request to etcd may take. One that takes longer is tried again with another member.
        request_timeout: Duration = "3s",
        /// How often the map is asked for although nothing was heard of it, so that a connection that is dead is noticed.
        check_interval: Duration = "5s",
        /// How long a router that is gone stays in the list of `pgloom routers`, in etcd or in `history_directory`.
        router_ttl: Duration = "10s",
        /// Where the last map is kept, for a start while etcd cannot be reached.
        copy_file: PathBuf = "pgloom.map.json",
        /// How long a start waits for etcd before the copy is used; without a copy it waits until there is a map.
        start_timeout: Duration = "5s",
        /// With this, users stand in etcd too, beside those of this file (`pgloom users`; docs/AUTH.md). It is the file in which the last ones are kept, for a start while etcd cannot be reached. Empty: etcd is not asked for users.
        users_file: PathBuf = "",
    }
}

section! {
    /// A user that may log in. Repeat `[[users]]` for each.
    pub struct User, environment false {
        /// The name that the client gives.
        name: String = required,
        /// In clear text, as the SCRAM verifier `SCRAM-SHA-256$...` that pg_authid shows, or as `md5...`. Not needed with auth_type = "trust" or "cert", and where auth_file has it.
        password: Secret = optional,
        /// A file that holds the password, instead of `password`.
        password_file: PathBuf = optional,
        /// The databases that this user may connect to. Default: all.
        databases: Vec<String> = optional,
        /// Clients of this user at one time; 0: any number. Default: that of [general].
        max_user_client_connections: u32 = optional,
        /// Server connections for each shard. Default: the database's pool_size.
        pool_size: u32 = optional,
        /// Default: the database's pool_mode.
        pool_mode: PoolMode = optional,
        /// Default: the database's.
        query_timeout: Duration = optional,
        /// Default: the database's.
        scatter_timeout: Duration = optional,
        /// Default: the database's.
        transaction_timeout: Duration = optional,
        /// Default: the database's.
        idle_transaction_timeout: Duration = optional,
        /// Default: the database's.
        client_idle_timeout: Duration = optional,
        /// Default: the database's.
        query_wait_timeout: Duration = optional,
        /// Default: the database's.
        client_write_timeout: Duration = optional,
        /// Default: the database's.
        cancel_grace: Duration = optional,
        /// Default: the database's.
        failover_timeout: Duration = optional,
        /// Default: the database's.
        server_connect_timeout: Duration = optional,
        /// Default: the database's. 0: what is left of server_connect_timeout.
        server_login_timeout: Duration = optional,
        /// Default: the database's.
        key_wait_timeout: Duration = optional,
        /// Default: the database's.
        log_slow_statements: Duration = optional,
        /// Default: the database's read_preference.
        read_preference: ReadPreference = optional,
        /// Default: that of [general].
        read_preference_hints: bool = optional,
        /// The user to log in to the shards as. Default: `name`.
        server_user: String = optional,
        /// The password to log in to the shards with. Default: `password`, where that is in clear text; where it is a SCRAM verifier, what clients prove by logs the router in to servers that have the same one (docs/AUTH.md).
        server_password: Secret = optional,
        /// A file that holds the server_password.
        server_password_file: PathBuf = optional,
    }
}

section! {
    /// A logical database, `[databases.NAME]`: what clients connect to by NAME.
    pub struct Database, environment false {
        /// Default: that of [general].
        key_max_rate: u32 = optional,
        /// Default: that of [general].
        key_max_concurrent: u32 = optional,
        /// Default: that of [general].
        key_wait_timeout: Duration = optional,
        /// Clients of this database at one time; 0: any number. Default: that of [general].
        max_db_client_connections: u32 = optional,
        /// Server connections for each shard and user. Default: default_pool_size.
        pool_size: u32 = optional,
        /// Default: that of [general].
        min_pool_size: u32 = optional,
        /// Default: that of [general].
        pool_mode: PoolMode = optional,
        /// Default: that of [general].
        query_timeout: Duration = optional,
        /// Default: that of [general].
        scatter_timeout: Duration = optional,
        /// Default: that of [general].
        transaction_timeout: Duration = optional,
        /// Default: that of [general].
        idle_transaction_timeout: Duration = optional,
        /// Default: that of [general].
        client_idle_timeout: Duration = optional,
        /// Default: that of [general].
        query_wait_timeout: Duration = optional,
        /// Default: that of [general].
        client_write_timeout: Duration = optional,
        /// Default: that of [general].
        cancel_grace: Duration = optional,
        /// Default: that of [general].
        failover_timeout: Duration = optional,
        /// Default: that of [general].
        server_connect_timeout: Duration = optional,
        /// Default: that of [general]. 0: what is left of server_connect_timeout.
        server_login_timeout: Duration = optional,
        /// Default: that of [general].
        log_slow_statements: Duration = optional,
        /// Default: that of [general].
        read_preference: ReadPreference = optional,
        /// The user with which the router itself logs in to the shards, to read the catalog. Default: the first of the users who may connect to this database.
        router_user: String = optional,
        /// The password of router_user. Default: that of the user with this name.
        router_password: Secret = optional,
        /// A file that holds the router_password.
        router_password_file: PathBuf = optional,
        /// How a transaction that wrote on several shards commits. `on`: in two phases, on all or on none (the shards need max_prepared_transactions > 0). `off`: it is refused. `best_effort`: one shard after the other, which is not atomic: where a later one fails, the earlier ones stay committed (08007 tells which).
        two_phase_commit: TwoPhaseCommit = "on",
        /// User-defined functions, as `schema.name`, that read and write no sharded table, so that statements may use them on any shard; procedures, and the functions behind operators and casts, too. An aggregate is declared by its own name. For those of many schemas `'"tenant_*".name'`.
        safe_functions: Vec<SqlName> = "",
    }
}

section! {
    /// Where the rows of a logical database lie: keys of `[databases.NAME]`, or with `source = "etcd"` of the document that all routers share.
    pub struct Placement, environment false {
        /// The shard that holds unsharded tables and answers catalog queries. Default: the first.
        home_shard: String = optional,
        /// The shards. Their names place rows on the hash ring, so they never change.
        shards: Vec<Shard> = required,
        /// Rules sharding key -> shard.
        distributions: Vec<Distribution> = "",
        /// The sharded and the reference tables; every other table lies on the home shard.
        tables: Vec<Table> = "",
        /// Values that no two rows of a sharded table may share, wherever they lie.
        uniques: Vec<Unique> = "",
    }
}

section! {
    /// One shard, `[[databases.NAME.shards]]`.
    pub struct Shard, environment false {
        /// Its name, unique in the database.
        name: String = required,
        /// Host name or IP address of its server, or the directory of its Unix socket.
        host: String = optional,
        /// Port of its server.
        port: u16 = "5432",
        /// The database on the server that holds the shard. Default: NAME.
        dbname: String = optional,
        /// More servers with the same data, or all of them, as `{ host = "...", port = 5432 }`: a primary and its replicas. Which one is the primary is never written down: the servers are asked, and a failover is followed.
        servers: Vec<Server> = "",
    }
}

section! {
    /// One server of a shard, in `servers`.
    pub struct Server, environment false {
        /// Host name, IP address, or the directory of its Unix socket.
        host: String = required,
        /// Default: the shard's port.
        port: u16 = optional,
        /// Default: the shard's dbname.
        dbname: String = optional,
        /// Its share of the reads that go to replicas: with 2 it gets twice as many as one with 1 that answers as fast.
        weight: u16 = "1",
    }
}

section! {
    /// One rule sharding key -> shard, `[[databases.NAME.distributions]]`. Tables with the same distribution are co-located.
    pub struct Distribution, environment false {
        /// Its name, to which tables refer.
        name: String = required,
        /// `hash` (even spread), `range` (from .. to), `list` (value by value), `postgres_hash` (as PARTITION BY HASH places rows), `composite` (the first column picks a group of shards, the hash of the others one of them) or `schema` (whole schemas, by their names).
        method: MethodName = "hash",
        /// The type of each sharding-key column, in order. They must be the columns' own types: the hash depends on them. Not for schema.
        key_types: Vec<KeyType> = optional,
        /// hash, composite, schema: points of each shard on the ring. Another number is another placement: never change it under stored rows.
        virtual_nodes: u32 = "1024",
        /// hash, schema: the shards on the ring. Default: all. Name them, so that a shard added later takes no keys before its rows are moved.
        shards: Vec<String> = optional,
        /// hash, schema: shares of the keys, as `{ shard1 = 2, shard2 = 1 }`; a shard that is not named has 1.
        weights: Named<u32> = optional,
        /// hash: explicit ranges of tokens instead of a ring, as `{ from = "0x0", to = "0x8000000000000000", shard = "..." }`.
        tokens: Vec<Range> = optional,
        /// range: `{ from = 0, to = 1000, shard = "..." }`; from is inclusive, to exclusive, one left out is open.
        ranges: Vec<Range> = optional,
        /// list: `{ value = "de", shard = "..." }` or `{ values = ["de", "at"], shard = "..." }`.
        values: Vec<Value> = optional,
        /// list: the shard of every value that is not listed; without it such rows are refused. schema: the shard of every schema that is not pinned, instead of the ring.
        default_shard: String = optional,
        /// postgres_hash: all partitions, as `{ modulus = 4, remainder = 0, shard = "..." }`. The key columns must be NOT NULL.
        partitions: Vec<Partition> = optional,
        /// composite: `{ values = ["de", "at"], shards = [...] }` or `{ from = 0, to = 1000, shards = [...] }`; with values, a group of `shards` alone holds every other.
        groups: Vec<Group> = optional,
        /// schema: patterns of the schemas' names, with `*` for any characters and `?` for one, as `"tenant_*"`; never public, pgloom and those of Postgres.
        schemas: Vec<String> = optional,
        /// schema: patterns of schemas that are left out, as `"tenant_template"`.
        except: Vec<String> = optional,
        /// Single keys placed by name whatever the method says: `{ value = 42, shard = "big" }`, `{ value = "tenant_big", shard = "big" }`.
        pins: Vec<Value> = optional,
    }
}

section! {
    /// One range, in `ranges` and `tokens`.
    pub struct Range, environment false {
        /// The first key. Left out: no lower limit.
        from: KeyText = optional,
        /// The first key beyond. Left out: no upper limit.
        to: KeyText = optional,
        /// The shard that holds it.
        shard: String = required,
    }
}

section! {
    /// One placement by value, in `values` and `pins`.
    pub struct Value, environment false {
        /// The key; for a key of several columns a list with one value for each.
        value: Vec<KeyText> = optional,
        /// Several keys.
        values: Vec<Vec<KeyText>> = optional,
        /// The shard that holds it.
        shard: String = required,
    }
}

section! {
    /// One group of shards, in `groups`: by values of the first key column, or by a range of them.
    pub struct Group, environment false {
        /// One value.
        value: KeyText = optional,
        /// Several values.
        values: Vec<KeyText> = optional,
        /// The first value of a range. Left out: no lower limit.
        from: KeyText = optional,
        /// The first value beyond. Left out: no upper limit.
        to: KeyText = optional,
        /// The shards on which the hash of the other key columns spreads the rows.
        shards: Vec<String> = required,
    }
}

section! {
    /// One hash partition, in `partitions`: as in FOR VALUES WITH (MODULUS modulus, REMAINDER remainder).
    pub struct Partition, environment false {
        /// What the key's hash is divided by.
        modulus: u32 = required,
        /// What is left.
        remainder: u32 = required,
        /// The shard that holds it.
        shard: String = required,
    }
}

section! {
    /// One table, `[[databases.NAME.tables]]`.
    pub struct Table, environment false {
        /// As in SQL: `orders` (in schema public) or `sales.orders`, double quotes inside where case matters.
        name: SqlName = required,
        /// The distribution that places its rows.
        distribution: String = optional,
        /// The sharding-key columns, in the order of the distribution's key_types.
        columns: Vec<SqlName> = optional,
        /// A full copy on every shard, instead of a distribution.
        reference: bool = "false",
    }
}

section! {
    /// Columns of a sharded table that are unique over all shards, `[[databases.NAME.uniques]]`. `pgloom unique` makes what it needs and registers the rows that are there; until then writes to sharded tables are refused. Checked when a transaction ends, like a constraint that is DEFERRABLE INITIALLY DEFERRED.
    pub struct Unique, environment false {
        /// The table, sharded, as in its own entry.
        table: SqlName = required,
        /// The columns: integers, text, varchar or uuid. Rows with NULL in one of them are not compared.
        columns: Vec<SqlName> = required,
        /// How errors name it. Default: as Postgres would, `table_column_key`.
        name: String = optional,
        /// Where the values are compared: `cluster`, over all shards. (Over one shard a unique index of Postgres does it.)
        unique_scope: UniqueScope = "cluster",
    }
}

section! {
    /// The document of the shard map, a JSON text.
    pub struct Map, environment false {
        /// The version of the format: 1.
        format: u32 = required,
        /// Grows by one with every change. `pgloom topology` writes it; in a text that is applied: the epoch that it was made from.
        epoch: u64 = optional,
        /// When it was changed. `pgloom topology` writes it.
        changed_at: String = "",
        /// Who changed it. `pgloom topology` writes it.
        changed_by: String = "",
        /// Why. `pgloom topology` writes it.
        reason: String = "",
        /// The logical databases by name, each with the keys of a placement.
        databases: Named<Placement> = required,
    }
}

impl Map {
    /// `None` where something could not be read; the reader has the errors.
    pub fn read(text: &str, reader: &mut Reader) -> Option<Self> {
        let tree = Tree::from_json(text).map_err(|malformed| reader.malformed(malformed)).ok()?;
        let Kind::Table(table) = &tree.kind else {
            reader.fail(Origin::Line(1), "the map is no JSON object; docs/TOPOLOGY.md describes it");
            return None;
        };
        // What a later version has written is not to be judged by the rules of this one.
        let format = member(table, "format").map(|format| &format.kind);
        if let Some(Kind::Integer(format)) = format
            && **format != *crate::config::document::FORMAT.to_string()
        {
            let message = format!(
                "the map has format {format}, and this pgloom reads format {}; use the version that wrote it",
                crate::config::document::FORMAT
            );
            reader.fail(Origin::Line(1), message);
            return None;
        }
        let fields = reader.fields::<Self>(table, Origin::Line(1));
        Self::from_fields(&fields, reader)
    }
}

/// One `[databases.NAME]`.
#[derive(Debug)]
pub struct NamedDatabase {
    pub name: String,
    pub settings: Database,
    /// `None`: it stands in the map's document.
    pub placement: Option<Placement>,
}

/// A whole file. What could not be read is left out; the reader holds the errors.
#[derive(Debug)]
pub struct File {
    pub general: Option<General>,
    pub combine: Option<Combine>,
    pub topology: Option<MapFrom>,
    pub users: Option<Vec<User>>,
    pub databases: Vec<NamedDatabase>,
    /// All names under `[databases]`, also those of unreadable ones.
    pub database_names: Vec<String>,
}

impl File {
    /// Reads what can be read; `reader.errors` holds the rest. `None`: not TOML, so that nothing in it can be trusted.
    pub fn read(text: &str, reader: &mut Reader) -> Option<Self> {
        let document = match Tree::from_toml(text) {
            Ok(Tree { kind: Kind::Table(document), .. }) => document,
            // A TOML text is a table.
            Ok(_) => return None,
            Err(malformed) => {
                malformed.into_iter().for_each(|malformed| reader.malformed(malformed));
                return None;
            }
        };
        let general = Self::section::<General>("general", &document, reader);
        let combine = Self::section::<Combine>("combine", &document, reader);
        let topology = Self::section::<MapFrom>("topology", &document, reader);
        let users = match member(&document, "users") {
            Some(users) => Vec::from_tree(users, "users", reader),
            None => Some(Vec::new()),
        };
        let mut file = File { general, combine, topology, users, databases: Vec::new(), database_names: Vec::new() };
        file.read_databases(&document, reader);
        report_unknown(&document, reader);
        Some(file)
    }

    /// A section that stands once; where the file has none, its defaults.
    fn section<S: Section + FromTree>(name: &str, document: &[Member<'_>], reader: &mut Reader) -> Option<S> {
        match member(document, name) {
            Some(value) => S::from_tree(value, name, reader),
            None => reader.within(format!("[{name}]"), |reader| {
                let fields = reader.fields::<S>(&[], Origin::Default);
                S::from_fields(&fields, reader)
            }),
        }
    }

    fn read_databases(&mut self, document: &[Member<'_>], reader: &mut Reader) {
        let Some(value) = member(document, "databases") else { return };
        let Kind::Table(members) = &value.kind else {
            return reader.wrong_kind(value, "databases", "write [databases.NAME], one for each logical database");
        };
        let in_etcd = self.topology.as_ref().is_some_and(|topology| topology.source.value == MapSource::Etcd);
        reader.within("[databases]".to_owned(), |reader| {
            for Member { name, value, .. } in members {
                self.database_names.push(name.to_string());
                self.databases.extend(read_database(name, value, in_etcd, reader));
            }
        });
    }
}

/// The settings of a database and its placement share a table, where the placement is not in etcd.
fn read_database(name: &str, value: &Tree<'_>, in_etcd: bool, reader: &mut Reader) -> Option<NamedDatabase> {
    let Kind::Table(table) = &value.kind else {
        reader.wrong_kind(value, name, "write a table");
        return None;
    };
    let origin = reader.line(value.at);
    reader.within(reader.inner(name), |reader| {
        let fields = reader.fields_among(table, origin, false, &[Database::KEYS, Placement::KEYS]);
        let settings = Database::from_fields(&fields, reader);
        let placement = if in_etcd { None } else { Some(Placement::from_fields(&fields, reader)) };
        if in_etcd {
            for key in Placement::KEYS {
                if let Some(value) = fields.value(key.name) {
                    let message = format!(
                        "{} stands in etcd, because [topology] says source = \"etcd\"; put it there with pgloom topology, and remove it here",
                        reader.place(key.name)
                    );
                    reader.fail(reader.line(value.at), message);
                }
            }
        }
        let placement = match placement {
            Some(read) => Some(read?),
            None => None,
        };
        Some(NamedDatabase { name: name.to_owned(), settings: settings?, placement })
    })
}

fn member<'a>(table: &'a [Member<'a>], name: &str) -> Option<&'a Tree<'a>> {
    table.iter().find(|member| member.name == name).map(|member| &member.value)
}

fn report_unknown(document: &[Member<'_>], reader: &mut Reader) {
    const SECTIONS: [&str; 5] = ["general", "combine", "topology", "users", "databases"];
    for Member { name, at, .. } in document.iter().filter(|member| !SECTIONS.contains(&&*member.name)) {
        let remedy = if General::KEYS.iter().any(|known| known.name == name) {
            "; it belongs under [general]".to_owned()
        } else {
            did_you_mean(name, SECTIONS)
        };
        reader.fail(reader.line(*at), format!("unknown section or key {}{remedy}", reader.place(name)));
    }
}
