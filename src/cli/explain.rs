//! `pgloom explain "SQL"`: the plan of a statement, with the shards' catalogs but without running it.

use std::process::ExitCode;

use crate::app;
use crate::cli::out::{complain, say};
use crate::cli::{ConfigArg, FOUND_WRONG, UNUSABLE, load, runtime};
use crate::control;
use crate::plan::{self, Inputs, PlanKind, View};
use crate::sql::template::{Scan, scan};
use crate::sql::{NameScope, analyze, utility};

#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 routed, 1 refused, 2 the call or the configuration cannot be used.")]
pub struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The logical database; the first one of the file when left out
    #[arg(short, long)]
    database: Option<String>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    /// The search_path under which names are looked up, as SHOW search_path prints it; the server's default when left out
    #[arg(long)]
    search_path: Option<String>,
    /// The statement
    sql: String,
}

pub fn run(args: &ExplainArgs) -> ExitCode {
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
    let database = match &args.database {
        None => databases.first(),
        Some(name) => databases.iter().find(|d| *d.name == **name),
    };
    let Some(database) = database else {
        complain!("pgloom: no such database in {}", args.config.config.display());
        return ExitCode::from(UNUSABLE);
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let known = runtime.block_on(async {
        control::rules::reload(database).await?;
        control::catalog::reload(database, false, None).await
    });
    if let Err(fault) = known {
        complain!("pgloom: the home shard's catalog cannot be read: {fault}");
        return ExitCode::from(UNUSABLE);
    }
    let cluster = database.cluster.load_full();
    let user = database.own.user.as_str();
    let path = args.search_path.as_deref().unwrap_or("\"$user\", public");
    let Some(search_path) = utility::search_path_setting(path, user) else {
        complain!("pgloom: {path} is no search_path");
        return ExitCode::from(UNUSABLE);
    };
    let names = NameScope {
        changes: &[],
        defines: false,
        temporary: None,
        temporaries: None,
        own: None,
        catalog: &cluster.catalog,
        topology: &cluster.topology,
        search_path: &search_path,
        standard_strings: true,
        fingerprint: 0,
        unknown: None,
    };
    let mut scanned = Scan::default();
    if scan(&args.sql, true, &mut scanned).is_err() {
        // The analysis says what becomes of a text that has no tokens.
        scanned = Scan::default();
    }
    let analysis = analyze::analyze(&args.sql, &scanned, &names);
    let view = View {
        topology: &cluster.topology,
        catalog: &cluster.catalog,
        in_transaction: false,
        prints_otherwise: false,
        combine_servers: !database.combine.is_empty(),
    };
    let inputs = Inputs { text: &args.sql, slots: &scanned.slots, parameters: None };
    let mut plan = plan::plan(&analysis, &inputs, &view);
    plan.show_on(&database.combine.addresses().join(" or "));
    let advice = plan::advice::advice(&plan, &inputs, &scanned, &names, &view);
    if args.json {
        say!("{}", plan::explain::json(&plan, &analysis, &view, &advice));
    } else {
        for line in plan::explain::text(&plan, &analysis, &view).into_iter().chain(plan::advice::lines(&advice)) {
            say!("{line}");
        }
    }
    if matches!(plan.kind, PlanKind::Refuse(_)) { ExitCode::from(FOUND_WRONG) } else { ExitCode::SUCCESS }
}
