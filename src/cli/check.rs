//! `pgloom check`: is the file right, does every shard answer, may we do there what we must, do they agree?

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use crate::app::{self, strangers};
use crate::backend::cluster::Database;
use crate::backend::combiners::Fitness;
use crate::catalog::Catalog;
use crate::cli::out::{complain, say};
use crate::cli::{ConfigArg, FOUND_WRONG, UNUSABLE, load, runtime};
use crate::config::{Settings, TwoPhaseCommit};
use crate::control;
use crate::control::map::copy;
use crate::fault::Fault;
use crate::ids::{QualifiedName, ShardId};
use crate::sql;
use crate::topology::{Closed, TableRule};

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Check the file alone: connect to nothing
    #[arg(long)]
    offline: bool,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    database: String,
    shard: Option<String>,
    ok: bool,
    what: String,
    hint: Option<String>,
}

pub fn run(args: &CheckArgs) -> ExitCode {
    let settings = match load(&args.config.config) {
        Ok(settings) => settings,
        Err(code) => return code,
    };
    let databases = match app::databases(&settings) {
        Ok(databases) => databases,
        Err(error) => {
            complain!("pgloom: {error}");
            return ExitCode::from(UNUSABLE);
        }
    };
    let mut findings: Vec<Finding> = settings
        .warnings
        .iter()
        .map(|warning| Finding {
            database: String::new(),
            shard: None,
            ok: true,
            what: format!("warning: {warning}"),
            hint: None,
        })
        .collect();
    if !args.offline {
        let runtime = match runtime() {
            Ok(runtime) => runtime,
            Err(code) => return code,
        };
        findings.extend(check_kept(&settings));
        findings.extend(check_mock_key(&settings, &args.config.config));
        runtime.block_on(async {
            for database in &databases {
                check_database(database, &mut findings).await;
            }
        });
    }
    let well = findings.iter().all(|f| f.ok);
    print(&args.config.config.display().to_string(), &findings, args.json);
    if well { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) }
}

/// What the router writes on this machine. As somebody else than this user it may fare otherwise.
fn check_kept(settings: &Settings) -> Vec<Finding> {
    let files = settings.kept_files().into_iter();
    let told = files.map(|(key, path, file)| {
        let tried = copy::check(&file);
        let (what, hint) = match &tried {
            Ok(()) => (format!("{key} {} can be written", path.display()), None),
            Err(error) => (
                format!("{key} {} cannot be written: {error}", path.display()),
                Some(format!(
                    "Give the user that runs the router a directory to write to, and name a file in it as {key}."
                )),
            ),
        };
        Finding { database: String::new(), shard: None, ok: tried.is_ok(), what, hint }
    });
    told.collect()
}

/// The secret of the salts that strangers are shown, where it is a file.
fn check_mock_key(settings: &Settings, config: &Path) -> Option<Finding> {
    let (path, looked) = strangers::look(settings, config)?;
    let shown = path.display();
    let (what, hint) = match &looked {
        Ok(()) => (format!("auth_mock_key_file {shown} can be used"), None),
        Err(error) => (
            format!("auth_mock_key_file {shown} cannot be used: {error}"),
            Some(
                "Put at least 16 random bytes in it, for the user that runs the router, or let that make it."
                    .to_owned(),
            ),
        ),
    };
    Some(Finding { database: String::new(), shard: None, ok: looked.is_ok(), what, hint })
}

fn print(file: &str, findings: &[Finding], json: bool) {
    if json {
        // Findings are strings and flags: they always serialise.
        say!("{}", serde_json::to_string_pretty(findings).unwrap_or_default());
        return;
    }
    say!("{file}: the configuration is valid");
    for finding in findings {
        let mark = if finding.ok { "ok " } else { "BAD" };
        let place = match &finding.shard {
            Some(shard) => format!("{}/{shard}: ", finding.database),
            None if finding.database.is_empty() => String::new(),
            None => format!("{}: ", finding.database),
        };
        say!("{mark} {place}{}", finding.what);
        if let Some(hint) = &finding.hint {
            say!("    {hint}");
        }
    }
}

async fn check_database(database: &Arc<Database>, findings: &mut Vec<Finding>) {
    check_rules(database, findings).await;
    let topology = Arc::clone(&database.cluster.load().topology);
    let mut home: Option<Catalog> = None;
    let order = std::iter::once(topology.home)
        .chain((0..topology.shards.len()).map(|i| ShardId(i as u16)).filter(|s| *s != topology.home));
    for shard in order {
        let name = topology.shard(shard).name.to_string();
        let mut note = |ok: bool, what: String, hint: Option<&str>| {
            findings.push(Finding {
                database: database.name.to_string(),
                shard: Some(name.clone()),
                ok,
                what,
                hint: hint.map(str::to_owned),
            });
        };
        let servers = database.servers(topology.shard(shard));
        if !servers.is_lone() {
            control::servers::ask_all(database, &servers).await;
            for report in servers.report() {
                let address = report.server.address();
                let what = match (report.silent, report.role.reason()) {
                    (true, _) => format!("{address} does not answer"),
                    (false, Some(reason)) => format!("{address} is not used: {reason}"),
                    (false, None) => format!("{address} is {}", report.role.label()),
                };
                let well = !report.silent && report.role.reason().is_none();
                note(
                    well,
                    what,
                    (!well).then_some("Check host, port and the router's user; a failover is followed without it."),
                );
            }
        }
        match check_server(database, shard).await {
            Ok(facts) => {
                note(true, format!("answers as PostgreSQL {}", facts.version), None);
                if database.two_phase_commit == TwoPhaseCommit::On && topology.shards.len() > 1 {
                    note(
                        facts.max_prepared > 0,
                        format!("max_prepared_transactions is {}", facts.max_prepared),
                        (facts.max_prepared == 0).then_some(
                            "Set it to at least max_connections and restart the server: without it writes on several shards are \
                             refused, unless two_phase_commit is \"best_effort\".",
                        ),
                    );
                    note(
                        facts.decisions,
                        format!("pgloom.decision {}", if facts.decisions { "can be used" } else { "cannot be used" }),
                        (!facts.decisions).then_some(
                            "Grant the router's user CREATE on the database, or where the table is there, SELECT, INSERT and DELETE on it.",
                        ),
                    );
                    if !facts.signals {
                        note(
                            true,
                            "warning: the router's user may not end connections of others: a router that stops in a commit holds its \
                             locks until the server drops its connection"
                                .to_owned(),
                            Some("Grant the router's user the role pg_signal_backend."),
                        );
                    }
                }
                if shard == topology.home && topology.shards.len() > 1 && !facts.temporary {
                    note(
                        false,
                        "temporary tables cannot be made on the home shard".to_owned(),
                        Some(
                            "Grant the server users TEMPORARY on the database: reads that Postgres finishes need them.",
                        ),
                    );
                }
                if facts.encoding != "UTF8" {
                    note(
                        false,
                        format!("the database's encoding is {}", facts.encoding),
                        Some("pgloom reads statements and keys as UTF-8: use a UTF8 database."),
                    );
                }
            }
            Err(fault) => {
                note(
                    false,
                    fault.to_string(),
                    Some("Check host, port, the router's user and pg_hba.conf of this server."),
                );
                continue;
            }
        }
        if !database.uniques.is_empty() {
            match control::uniques::look(database, shard).await {
                Ok(lacks) => {
                    for rule in lacks.rules {
                        let what =
                            format!("the values of {rule} are not registered: writes of sharded tables are refused");
                        note(false, what, Some("Run pgloom unique."));
                    }
                    for rule in lacks.unread {
                        let what = format!(
                            "columns of {rule} were changed since their values were registered: statements by them go to all shards"
                        );
                        note(false, what, Some("Run pgloom unique."));
                    }
                    if lacks.notes > 0 {
                        note(
                            false,
                            format!("{} values were written past the registry of unique values", lacks.notes),
                            Some(
                                "Give every router the same [[databases.NAME.uniques]], write through them, then empty pgloom.unique_log and run pgloom unique.",
                            ),
                        );
                    }
                }
                Err(fault) => note(false, format!("its registry of unique values cannot be read: {fault}"), None),
            }
        }
        if topology.places_schemas() {
            match control::catalog::misplaced(database, shard).await {
                Ok(schemas) => {
                    for (schema, place) in schemas {
                        let place = &topology.shard(place).name;
                        note(
                            false,
                            format!("schema {schema} is here and belongs on {place}"),
                            Some("Move it to its shard, or pin it in the configuration to the shard where it is."),
                        );
                    }
                }
                Err(fault) => note(false, format!("its schemas cannot be read: {fault}"), None),
            }
        }
        match control::catalog::read(database, shard).await {
            Ok(catalog) => {
                if topology.places_schemas() {
                    note(true, format!("has {} schemas that lie whole on it", catalog.placed.len()), None);
                }
                let rules: Vec<&QualifiedName> = topology.tables.keys().collect();
                if shard == topology.home {
                    for (table, rule) in &topology.tables {
                        for line in table_findings(&catalog, table, rule, &topology) {
                            note(
                                false,
                                line,
                                Some("Correct the table's entry in the configuration, or create the table."),
                            );
                        }
                    }
                    for fault in sql::refused_by_code(&catalog, &topology) {
                        let why = fault.detail.as_deref().unwrap_or_default();
                        note(true, format!("warning: {}: {why}", fault.message), fault.hint.as_deref());
                    }
                    home = Some(catalog);
                } else if let Some(home) = &home {
                    let lines = control::catalog::drift(home, &catalog, &rules);
                    if lines.is_empty() {
                        note(true, "its tables are those of the home shard".to_owned(), None);
                    }
                    for line in lines {
                        note(
                            false,
                            format!("drift: {line}"),
                            Some("Run the same DDL on every shard, best through pgloom."),
                        );
                    }
                }
            }
            Err(fault) => note(false, format!("its catalog cannot be read: {fault}"), None),
        }
    }
    if let Some(catalog) = &home {
        check_combine(database, catalog, findings).await;
    }
}

/// The rules that SQL has made. What is wrong with the home shard is told with the shards.
async fn check_rules(database: &Arc<Database>, findings: &mut Vec<Finding>) {
    let configured = Arc::clone(&database.configured);
    let Ok(mut server) = control::connect(database, configured.home).await else { return };
    let stored = control::rules::read(&mut server).await;
    let mut note = |ok: bool, what: String, hint: Option<&str>| {
        let database = database.name.to_string();
        findings.push(Finding { database, shard: None, ok, what, hint: hint.map(str::to_owned) });
    };
    let stored = match stored {
        Ok(stored) => stored,
        Err(fault) => {
            return note(false, format!("the rules that SQL has made cannot be read: {fault}"), None);
        }
    };
    database.set_rules(&stored);
    let topology = Arc::clone(&database.cluster.load().topology);
    for rule in &stored.rules {
        let table = &rule.table;
        if configured.rule(table).is_some() {
            note(
                false,
                format!("table {table} has a rule by SQL and another one in the configuration, which holds"),
                Some(
                    "Remove it from the configuration, or take it back with SELECT pgloom.undistribute() and without the configuration's.",
                ),
            );
            continue;
        }
        match (topology.closed.get(table), topology.rule(table)) {
            (Some(Closed::Moving), _) => note(true, format!("table {table}: its rows are being moved"), None),
            (Some(Closed::Unknown(why)), _) => note(
                false,
                format!("table {table} has no place: {why}"),
                Some("Correct the configuration: what SQL has placed needs the distribution that it was placed by."),
            ),
            (None, Some(TableRule::Sharded { distribution, columns })) => {
                let (name, key) = (&topology.distribution(*distribution).name, columns.join(", "));
                note(true, format!("table {table} is sharded by {key} (distribution {name}), by SQL"), None);
            }
            (None, Some(TableRule::Reference)) => {
                note(true, format!("table {table} is a reference table, by SQL"), None)
            }
            (None, None) => {}
        }
    }
}

/// The servers beside the shards that finish statements.
async fn check_combine(database: &Arc<Database>, catalog: &Catalog, findings: &mut Vec<Finding>) {
    for (at, address) in database.combine.addresses().into_iter().enumerate() {
        let mut note = |ok: bool, what: String, hint: Option<&str>| {
            findings.push(Finding {
                database: database.name.to_string(),
                shard: Some(format!("combine server {address}")),
                ok,
                what,
                hint: hint.map(str::to_owned),
            });
        };
        match control::combine::look_at(database, at, catalog).await {
            Ok(Fitness::Fit { .. }) => note(true, "finishes statements as the home shard does".to_owned(), None),
            Ok(Fitness::Unfit(differences)) => {
                for difference in differences {
                    note(
                        false,
                        difference,
                        Some(
                            "It is not used: make its locale, settings and version those of the home shard, and its database empty.",
                        ),
                    );
                }
            }
            Ok(Fitness::Unknown) => note(false, "cannot be looked at".to_owned(), None),
            Err(fault) => note(
                false,
                fault.to_string(),
                Some("Check host, port, dbname, the router's user and pg_hba.conf of this server."),
            ),
        }
    }
}

/// What is wrong with one table's rule.
fn table_findings(
    catalog: &Catalog,
    table: &QualifiedName,
    rule: &TableRule,
    topology: &crate::topology::Topology,
) -> Vec<String> {
    let Some(found) = catalog.table(table) else {
        return vec![format!("table {table} has a rule and is not on the home shard")];
    };
    let TableRule::Sharded { distribution, columns } = rule else {
        return Vec::new();
    };
    let types = &topology.distribution(*distribution).key_types;
    let mut lines = Vec::new();
    for (column, key_type) in columns.iter().zip(types) {
        match found.column(column) {
            None => lines.push(format!("sharding-key column {table}.{column} does not exist")),
            Some((_, c)) if c.type_oid != key_type.oid() => {
                lines.push(format!("sharding-key column {table}.{column} is not of type {}", key_type.name()));
            }
            Some((_, c)) if !c.collation.equality_is_bytes() => {
                lines.push(format!("sharding-key column {table}.{column} has a nondeterministic collation"));
            }
            Some(_) => {}
        }
    }
    lines
}

struct ServerFacts {
    version: String,
    max_prepared: u32,
    encoding: String,
    decisions: bool,
    signals: bool,
    temporary: bool,
}

async fn check_server(database: &Database, shard: ShardId) -> Result<ServerFacts, Fault> {
    let mut server = control::connect(database, shard).await?;
    let rows = server
        .query(
            "SELECT pg_catalog.current_setting('server_version'), pg_catalog.current_setting('max_prepared_transactions'), \
             pg_catalog.current_setting('server_encoding'), \
             CASE WHEN pg_catalog.to_regclass('pgloom.decision') IS NULL \
               THEN pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') \
               ELSE pg_catalog.has_table_privilege('pgloom.decision', 'SELECT') \
                 AND pg_catalog.has_table_privilege('pgloom.decision', 'INSERT') \
                 AND pg_catalog.has_table_privilege('pgloom.decision', 'DELETE') END, \
             pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY'), \
             pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')",
        )
        .await?;
    let value = |at: usize| rows.first().and_then(|row| row.get(at)).cloned().flatten().unwrap_or_default();
    Ok(ServerFacts {
        version: value(0),
        max_prepared: value(1).parse().unwrap_or(0),
        encoding: value(2),
        decisions: value(3) == "t",
        temporary: value(4) == "t",
        signals: value(5) == "t",
    })
}
