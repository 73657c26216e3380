//! Reads the catalog of the home shard, and of other shards the schemas that lie whole on them; tells in what shards differ.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::backend::Backend;
use crate::backend::cluster::Database;
use crate::backend::settings::quote_literal;
use crate::catalog::code;
use crate::catalog::effects::{Effects, Uncalled};
use crate::catalog::placeholders::Makes;
use crate::catalog::{
    Based, Catalog, Column, ColumnDefault, Customs, Identity, PlacedSchema, RelationKind, SequenceDefault, Sets, Table,
    UniqueKind, Uniques, UserFunction, Volatility,
};
use crate::control::attached::{RUNS_SQL, Reading, Unasked};
use crate::control::numbers;
use crate::control::uncalled::{CALLERS, Known, any_of, names_that_run, read_casts, read_operators, read_uncalled};
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, QualifiedName, ShardId, ShardSet};
use crate::topology::schemas::matches;
use crate::topology::{TableRule, Topology};
use crate::types::{Collation, oid};

pub(super) const USER_SCHEMAS: &str = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg\\_temp\\_%' \
     AND n.nspname NOT LIKE 'pg\\_toast\\_temp\\_%'";

/// Of a view `c`: a table with row security that it reads, itself or through other views.
const READS_ROW_SECURITY: &str = "WITH RECURSIVE used (oid) AS (SELECT c.oid UNION SELECT d.refobjid FROM used u \
       JOIN pg_catalog.pg_rewrite r ON r.ev_class = u.oid \
       JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid \
         AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass) \
     SELECT FROM used u JOIN pg_catalog.pg_class t ON t.oid = u.oid WHERE t.relrowsecurity";

/// The first OID of what users create (Postgres: `FirstNormalObjectId`).
pub(super) const FIRST_NORMAL_OID: u32 = 16_384;

/// Row text of a catalog query.
pub(super) type Row = Vec<Option<String>>;

/// Reads the home shard's catalog, and the placed schemas of the other shards, and swaps them in if they have changed. `stale`:
/// something has changed, whether it shows there or not. `touched`: the shards where something may have changed; `None`: any.
///
/// # Errors
/// The home shard cannot be reached, or refuses to be read. Of another shard, what was last read of it stays.
pub async fn reload(database: &Arc<Database>, stale: bool, touched: Option<&ShardSet>) -> Result<(), Fault> {
    read_into(database, stale, touched).await?;
    // Whoever has changed something has done it for the configuration of now, too.
    match database.newest() {
        Some(newest) => read_into(&newest, stale, None).await,
        None => Ok(()),
    }
}

async fn read_into(database: &Arc<Database>, stale: bool, touched: Option<&ShardSet>) -> Result<(), Fault> {
    // One after the other: what was read first must not take the place of what was read later.
    let mut parts = database.parts.lock().await;
    let topology = Arc::clone(&database.cluster.load().topology);
    let home = topology.home;
    let read_now = |shard: ShardId, known: bool| !known || touched.is_none_or(|touched| touched.contains(shard));
    let shards = (0..topology.shards.len()).map(|at| ShardId(at as u16));
    let wanted: Vec<ShardId> = shards
        .filter(|shard| *shard == home || topology.places_schemas())
        .filter(|shard| read_now(*shard, parts.contains_key(shard)))
        .collect();
    let reads = wanted.iter().map(|shard| async { (*shard, read(database, *shard).await) });
    for (shard, read) in futures::future::join_all(reads).await {
        match read {
            Ok(catalog) => drop(parts.insert(shard, Arc::new(catalog))),
            Err(fault) if shard == home => return Err(fault),
            Err(fault) => {
                let name = &topology.shard(shard).name;
                tracing::warn!(database = %database.name, shard = %name, error = %fault, "the catalog cannot be read");
            }
        }
    }
    let Some(catalog) = parts.get(&home) else { return Err(unreadable()) };
    let mut catalog = (**catalog).clone();
    if topology.places_schemas() {
        let others = (0..topology.shards.len()).map(|at| ShardId(at as u16)).filter(|shard| *shard != home);
        catalog = catalog.with_placed(others.map(|shard| (shard, parts.get(&shard).map(|part| &**part))));
    }
    (catalog.numbers, catalog.others) = numbers::read(database, &topology, &catalog.numbered, touched).await;
    database.set_catalog(catalog, stale);
    Ok(())
}

/// The catalog of one shard, without the schemas that belong on another.
pub async fn read(database: &Database, shard: ShardId) -> Result<Catalog, Fault> {
    let mut server = super::connect(database, shard).await?;
    let topology = Arc::clone(&database.cluster.load().topology);
    for _ in 0..READINGS {
        match read_from(&mut server, &topology, shard, &database.safe_functions).await {
            Err(fault) if is_overtaken(&fault) => {}
            done => return done,
        }
    }
    read_from(&mut server, &topology, shard, &database.safe_functions).await
}

/// How often the catalog is read again when something in it is gone before it has been read to the end.
pub const READINGS: usize = 8;

/// Whether somebody has dropped meanwhile what was being read (`could not open relation with OID ...`, `cache lookup failed ...`).
pub fn is_overtaken(fault: &Fault) -> bool {
    fault.code == SqlState::INTERNAL_ERROR
}

/// The catalog of one shard as this connection sees it, in its transaction, without the schemas that belong on another. The connection's
/// search path must be empty, so that names are qualified.
///
/// # Errors
/// The server refuses to be read.
pub async fn read_from(
    server: &mut Backend,
    topology: &Topology,
    shard: ShardId,
    safe: &[QualifiedName],
) -> Result<Catalog, Fault> {
    Reader { server, topology, shard, safe }.read().await
}

/// The temporary tables that the session of this connection has, without those whose rows are also another table's. The connection's search
/// path must be empty, so that names are qualified.
///
/// # Errors
/// The server refuses to be read.
pub async fn read_temporary(server: &mut Backend, default_collation: Collation) -> Result<Vec<Table>, Fault> {
    let mine = "n.oid = pg_catalog.pg_my_temp_schema() AND c.relkind = 'r' \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE c.oid IN (h.inhrelid, h.inhparent))";
    let mut tables = read_tables(server, mine).await?;
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let mut kept_here: HashSet<String> = HashSet::new();
    for row in server.query(&columns_query(mine)).await? {
        let declared = declared(&row)?;
        let of = text(&row, 0)?;
        if is_temporary_name(&declared) {
            kept_here.insert(of.to_owned());
        }
        if let Some(table) = tables.get_mut(of) {
            // What is left to defaults is the table's own server's.
            let column = Column { default: ColumnDefault::None, ..read_column(&row, default_collation)? };
            table.columns.push(Column { declared: Some(declared), ..column });
        }
    }
    for row in server.query(&unique_query(mine)).await? {
        if let Some(table) = tables.get_mut(text(&row, 0)?) {
            read_unique(table, &row)?;
        }
    }
    // Values of types that are temporary themselves go nowhere.
    tables.retain(|oid, _| !kept_here.contains(oid));
    let mine = |table: Table| Table { name: QualifiedName::new(TEMPORARY, &*table.name.name), ..table };
    Ok(tables.into_values().map(mine).collect())
}

/// The schema of temporary relations, whatever its number is.
const TEMPORARY: &str = "pg_temp";

fn is_temporary_name(name: &str) -> bool {
    name.trim_start_matches('"').starts_with("pg_temp") || name.contains(" COLLATE pg_temp")
}

/// The schemas on a shard that belong on another one.
pub async fn misplaced(database: &Database, shard: ShardId) -> Result<Vec<(Box<str>, ShardId)>, Fault> {
    let mut server = super::connect(database, shard).await?;
    let topology = Arc::clone(&database.cluster.load().topology);
    let mut found = Vec::new();
    for schema in schemas(&mut server).await? {
        let place = topology.place_of_schema(&schema).map(|(_, place)| place);
        found.extend(place.filter(|place| *place != shard).map(|place| (schema, place)));
    }
    Ok(found)
}

/// Whether a schema exists on a shard.
pub async fn has_schema(database: &Database, shard: ShardId, schema: &str) -> Result<bool, Fault> {
    let mut server = super::connect(database, shard).await?;
    let sql = format!("SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = {}", quote_literal(schema));
    Ok(!server.query(&sql).await?.is_empty())
}

async fn schemas(server: &mut Backend) -> Result<Vec<Box<str>>, Fault> {
    let rows = server
        .query(&format!("SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE {USER_SCHEMAS} ORDER BY 1"))
        .await?;
    rows.iter().map(|row| Ok(text(row, 0)?.into())).collect()
}

/// One reading of one shard.
struct Reader<'a> {
    server: &'a mut Backend,
    topology: &'a Topology,
    shard: ShardId,
    /// A schema is a pattern.
    safe: &'a [QualifiedName],
}

impl Reader<'_> {
    async fn read(mut self) -> Result<Catalog, Fault> {
        let default_collation = default_collation(self.server).await?;
        let (mut known, mut placed, mut elsewhere) = (Vec::new(), HashMap::new(), Vec::new());
        for schema in schemas(self.server).await? {
            match self.topology.place_of_schema(&schema) {
                Some((_, shard)) if shard == self.shard => {
                    placed.insert(schema.clone(), PlacedSchema::default());
                    known.push(schema);
                }
                Some(_) => elsewhere.push(quote_literal(&schema)),
                None => known.push(schema),
            }
        }
        let filter = match &elsewhere[..] {
            [] => USER_SCHEMAS.to_owned(),
            others => format!("{USER_SCHEMAS} AND n.nspname NOT IN ({})", others.join(", ")),
        };
        let mut tables = read_tables(self.server, &filter).await?;
        for row in self.server.query(&columns_query(&filter)).await? {
            let mut column = read_column(&row, default_collation)?;
            if let Some(table) = tables.get_mut(text(&row, 0)?) {
                if placed.contains_key(&table.name.schema) {
                    column.declared = Some(declared(&row)?);
                }
                table.columns.push(column);
            }
        }
        for row in self.server.query(&unique_query(&filter)).await? {
            if let Some(table) = tables.get_mut(text(&row, 0)?) {
                read_unique(table, &row)?;
            }
        }
        let indexes = read_indexes(self.server, &filter).await?;
        let statistics = read_statistics(self.server, &filter).await?;
        let customs = read_customs(self.server, &filter).await?;
        let domains = read_domains(self.server).await?;
        let numbered = Arc::new(numbers::read_of(self.server, &filter).await?);
        let uncalled = read_uncalled(self.server).await?;
        let (mut functions, of_own_types, makes) = self.functions(&filter, &uncalled, &mut placed).await?;
        let aggregates = self.aggregates(&filter, &mut placed).await?;
        let reading = Reading {
            server: self.server,
            filter: &filter,
            tables: &tables,
            placed: placed.keys().cloned().collect(),
            is_function: &|name| {
                functions.contains_key(name) || placed.values().any(|schema| schema.functions.contains_key(name))
            },
            safe: self.safe,
            uncalled: &uncalled,
            sets: &|name| {
                let functions = placed.get(&name.schema).map_or(&functions, |schema| &schema.functions);
                functions.get(&name.name).is_some_and(|function| function.sets == Sets::Lasting)
            },
        };
        let Unasked { effects, readers } = reading.unasked().await?;
        let effects: HashMap<QualifiedName, Effects> = effects.into_iter().collect();
        let mut liars: HashSet<QualifiedName> = HashSet::new();
        for (function, reads) in readers {
            let copies = |name: &QualifiedName| matches!(self.topology.rule(name), Some(TableRule::Reference));
            if reads.is_none_or(|tables| !tables.iter().all(copies)) {
                let known = match placed.get_mut(&function.schema) {
                    Some(schema) => schema.functions.get_mut(&function.name),
                    None => functions.get_mut(&function.name),
                };
                // It says that it is immutable, and is not.
                known.into_iter().for_each(|known| {
                    known.declared_safe = false;
                    known.volatility = known.volatility.max(Volatility::Stable);
                });
                liars.insert(function);
            }
        }
        for table in tables.values_mut() {
            table.effects = effects.get(&table.name).cloned().map(Arc::new);
        }
        if !placed.is_empty() {
            self.types(&filter, &mut placed).await?;
        }
        let sets = |schema: &str, name: &str| {
            let functions = placed.get(schema).map_or(&functions, |schema| &schema.functions);
            functions.get(name).map_or(Sets::Nothing, |function| function.sets)
        };
        let of_functions = Known { safe: self.safe, liars: &liars, sets: &sets };
        let operators = read_operators(self.server, &of_functions).await?;
        let casts = read_casts(self.server, &of_functions).await?;
        Ok(Catalog {
            generation: 0,
            tables: tables.into_values().map(|t| (t.name.clone(), Arc::new(t))).collect(),
            functions,
            schemas: known,
            aggregates,
            of_own_types,
            domains,
            operators,
            casts,
            placed: placed.into_iter().map(|(name, schema)| (name, Arc::new(schema))).collect(),
            unread: ShardSet::new(),
            indexes,
            statistics,
            default_collation,
            customs,
            makes,
            numbered,
            numbers: Vec::new(),
            others: Vec::new(),
        })
    }

    async fn functions(
        &mut self,
        filter: &str,
        uncalled: &Uncalled,
        placed: &mut HashMap<Box<str>, PlacedSchema>,
    ) -> Result<(HashMap<Box<str>, UserFunction>, HashSet<Box<str>>, Makes), Fault> {
        let rows = self
            .server
            .query(&format!(
                "SELECT n.nspname, p.proname, coalesce(a.volatility, p.provolatile::pg_catalog.text), \
                   coalesce(a.compiled, l.lanname IN ('c', 'internal') AND (p.provolatile = 'i' OR NOT ({RUNS_SQL}))), \
                   CASE WHEN l.lanname = 'c' AND p.proname = 'set_limit' THEN 'set_config(''pg_trgm.similarity_threshold'', $1, false)' WHEN p.prosrc = '' AND l.lanname = 'sql' THEN pg_catalog.pg_get_functiondef(p.oid) WHEN p.prosrc ~* '(set_config|setseed|advisory_lock|(^|[;>/]|begin|then|else|loop)\\s*(re)?set\\s)' THEN p.prosrc ELSE '' END, \
                   p.prokind <> 'p' AND p.prorettype NOT IN ('trigger'::pg_catalog.regtype, 'event_trigger'::pg_catalog.regtype), {OF_OWN_TYPE} \
                 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
                   JOIN pg_catalog.pg_language l ON l.oid = p.prolang {OF_AGGREGATE} WHERE {filter}"
            ))
            .await?;
        let mut functions: HashMap<Box<str>, UserFunction> = HashMap::new();
        let mut makes = Makes::default();
        let mut of_own_types: HashMap<Box<str>, bool> = HashMap::new();
        for row in &rows {
            let (schema, name) = (text(row, 0)?, text(row, 1)?);
            *of_own_types.entry(name.into()).or_insert(true) &= text(row, 6)? == "t";
            let found = UserFunction {
                volatility: match text(row, 2)? {
                    "i" => Volatility::Immutable,
                    "s" => Volatility::Stable,
                    _ => Volatility::Volatile,
                },
                // Functions written in C come with extensions; but for some they compute, and leave tables alone.
                declared_safe: text(row, 3)? == "t" || is_safe(self.safe, schema, name),
                sets: code::sets(text(row, 4)?),
                callable: text(row, 5)? == "t",
            };
            makes = makes.and(code::makes(text(row, 4)?));
            // Names are overloaded: the worst of them counts.
            placed
                .get_mut(schema)
                .map_or(&mut functions, |schema| &mut schema.functions)
                .entry(name.into())
                .and_modify(|known| *known = known.worse(found))
                .or_insert(found);
        }
        // The last one is what the first two are together.
        for sets in [Sets::Locally, Sets::Locks, Sets::Lasting] {
            self.note_callers(filter, sets, uncalled, &mut functions, placed).await?;
        }
        let of_own_types = of_own_types.into_iter().filter_map(|(name, all)| all.then_some(name)).collect();
        Ok((functions, of_own_types, makes))
    }

    /// What a function changes of its session, those that call it do, and those that call these: by the words of their texts.
    async fn note_callers(
        &mut self,
        filter: &str,
        sets: Sets,
        uncalled: &Uncalled,
        functions: &mut HashMap<Box<str>, UserFunction>,
        placed: &mut HashMap<Box<str>, PlacedSchema>,
    ) -> Result<(), Fault> {
        let all = functions.iter().chain(placed.values().flat_map(|schema| &schema.functions));
        let mut known: HashSet<Box<str>> =
            all.filter(|(_, function)| function.sets == sets).map(|(name, _)| name.clone()).collect();
        let mut called: Vec<Box<str>> = known.iter().cloned().collect();
        while !called.is_empty() {
            called.extend(names_that_run(uncalled, &called));
            called.sort_unstable();
            let sql = format!("{CALLERS} AND {filter}").replace("NAMES", &quote_literal(&any_of(&called)));
            called.clear();
            for row in self.server.query(&sql).await? {
                let (schema, name) = (text(&row, 0)?, text(&row, 1)?);
                let functions = placed.get_mut(schema).map_or(&mut *functions, |schema| &mut schema.functions);
                if let Some(function) = functions.get_mut(name) {
                    function.sets = function.sets.and(sets);
                }
                if known.insert(name.into()) {
                    called.push(name.into());
                }
            }
        }
        Ok(())
    }

    async fn aggregates(
        &mut self,
        filter: &str,
        placed: &mut HashMap<Box<str>, PlacedSchema>,
    ) -> Result<Vec<Box<str>>, Fault> {
        let rows = self
            .server
            .query(&format!(
                "SELECT DISTINCT n.nspname, p.proname FROM pg_catalog.pg_proc p \
                 JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE p.prokind = 'a' AND {filter} ORDER BY 2, 1"
            ))
            .await?;
        let mut aggregates: Vec<Box<str>> = Vec::new();
        for row in &rows {
            let name = text(row, 1)?;
            match placed.get_mut(text(row, 0)?) {
                Some(schema) => drop(schema.aggregates.insert(name.into())),
                None => aggregates.push(name.into()),
            }
        }
        aggregates.dedup();
        Ok(aggregates)
    }

    /// Of the placed schemas: elsewhere no type is looked for.
    async fn types(&mut self, filter: &str, placed: &mut HashMap<Box<str>, PlacedSchema>) -> Result<(), Fault> {
        let rows = self
            .server
            .query(&format!(
                "SELECT n.nspname, t.typname FROM pg_catalog.pg_type t \
                 JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE t.typcategory <> 'A' AND {filter}"
            ))
            .await?;
        for row in &rows {
            if let Some(schema) = placed.get_mut(text(row, 0)?) {
                schema.types.insert(text(row, 1)?.into());
            }
        }
        Ok(())
    }
}

async fn read_indexes(server: &mut Backend, filter: &str) -> Result<HashMap<QualifiedName, QualifiedName>, Fault> {
    let rows = server
        .query(&format!(
            "SELECT n.nspname, c.relname, t.relname FROM pg_catalog.pg_index i \
             JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE {filter}"
        ))
        .await?;
    // An index is in the schema of its table.
    let name = |row: &Row, at| Ok::<_, Fault>(QualifiedName::new(text(row, 0)?, text(row, at)?));
    rows.iter().map(|row| Ok((name(row, 1)?, name(row, 2)?))).collect()
}

async fn read_statistics(server: &mut Backend, filter: &str) -> Result<HashMap<QualifiedName, QualifiedName>, Fault> {
    let rows = server
        .query(&format!(
            "SELECT n.nspname, s.stxname, tn.nspname, t.relname FROM pg_catalog.pg_statistic_ext s \
             JOIN pg_catalog.pg_class t ON t.oid = s.stxrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
             JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace WHERE {filter}"
        ))
        .await?;
    let name = |row: &Row, at| Ok::<_, Fault>(QualifiedName::new(text(row, at)?, text(row, at + 1)?));
    rows.iter().map(|row| Ok((name(row, 0)?, name(row, 2)?))).collect()
}

/// An aggregate is what its functions are: to the catalog it is immutable itself, and written in no language.
const OF_AGGREGATE: &str = "LEFT JOIN LATERAL ( \
       SELECT pg_catalog.max(f.provolatile::pg_catalog.text) AS volatility, pg_catalog.bool_and(fl.lanname IN ('c', 'internal')) AS compiled \
       FROM pg_catalog.pg_aggregate g JOIN pg_catalog.pg_proc f ON f.oid IN (g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggserialfn, \
         g.aggdeserialfn, g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn) \
       JOIN pg_catalog.pg_language fl ON fl.oid = f.prolang WHERE g.aggfnoid = p.oid) a ON p.prokind = 'a'";

async fn read_domains(server: &mut Backend) -> Result<HashMap<Oid, Oid>, Fault> {
    const DOMAINS: &str = "WITH RECURSIVE d (domain, base) AS ( \
           SELECT oid, typbasetype FROM pg_catalog.pg_type WHERE typtype = 'd' \
           UNION ALL SELECT d.domain, t.typbasetype FROM d JOIN pg_catalog.pg_type t ON t.oid = d.base AND t.typtype = 'd') \
         SELECT d.domain, d.base FROM d JOIN pg_catalog.pg_type t ON t.oid = d.base AND t.typtype <> 'd'";
    let rows = server.query(DOMAINS).await?;
    rows.iter().map(|row| Ok((number(row, 0)?, number(row, 1)?))).collect()
}

/// Whether a function's first argument is of a type of users that no value of Postgres's own types becomes by itself: one that is passed such a
/// value is another function. (A domain takes the values of its type, and a row that of any.)
const OF_OWN_TYPE: &str = "p.pronargs > 0 AND p.provariadic = 0 AND coalesce((SELECT t.typtype IN ('b', 'e') AND t.typelem = 0 \
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_cast c WHERE c.casttarget = t.oid AND c.castcontext = 'i' AND c.castsource <> t.oid) \
     FROM pg_catalog.pg_type t WHERE t.oid = p.proargtypes[0] AND t.oid >= 16384), false)";

async fn read_customs(server: &mut Backend, filter: &str) -> Result<Customs, Fault> {
    let names = async |server: &mut Backend, sql: String| -> Result<Vec<Box<str>>, Fault> {
        server.query(&sql).await?.iter().map(|row| Ok(text(row, 0)?.into())).collect()
    };
    // The row types of tables go by the tables' names.
    let types = format!(
        "SELECT DISTINCT t.typname FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
           LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid \
         WHERE t.typcategory <> 'A' AND (c.oid IS NULL OR c.relkind = 'c') AND {filter} ORDER BY 1"
    );
    let bases = format!(
        "SELECT t.typname, t.oid, (WITH RECURSIVE b AS (SELECT t.oid, t.typtype, t.typbasetype UNION ALL \
             SELECT s.oid, s.typtype, s.typbasetype FROM b JOIN pg_catalog.pg_type s ON s.oid = b.typbasetype WHERE b.typtype = 'd') \
           SELECT CASE b.typtype WHEN 'e' THEN {} ELSE b.oid::pg_catalog.int8 END FROM b WHERE b.typtype <> 'd') \
         FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
         WHERE t.typtype IN ('e', 'd') AND {filter} ORDER BY 1, 2",
        oid::TEXT
    );
    let operators = format!(
        "SELECT DISTINCT o.oprname FROM pg_catalog.pg_operator o WHERE o.oid >= {FIRST_NORMAL_OID} \
           AND o.oprleft < {FIRST_NORMAL_OID} AND o.oprright < {FIRST_NORMAL_OID} ORDER BY 1"
    );
    let casts = format!(
        "SELECT FROM pg_catalog.pg_cast WHERE oid >= {FIRST_NORMAL_OID} \
           AND castsource < {FIRST_NORMAL_OID} AND casttarget < {FIRST_NORMAL_OID} \
         UNION ALL SELECT FROM pg_catalog.pg_conversion WHERE oid >= {FIRST_NORMAL_OID}"
    );
    Ok(Customs {
        types: names(server, types).await?,
        bases: {
            let rows = server.query(&bases).await?;
            let based =
                |row: &Row| Ok(Based { name: text(row, 0)?.into(), number: number(row, 1)?, base: number(row, 2)? });
            rows.iter().map(based).collect::<Result<_, Fault>>()?
        },
        operators: names(server, operators).await?,
        casts: !server.query(&casts).await?.is_empty(),
    })
}

async fn default_collation(server: &mut Backend) -> Result<Collation, Fault> {
    let rows = server
        .query(
            "SELECT CASE WHEN d.datlocprovider = 'c' AND d.datcollate IN ('C', 'POSIX') THEN 'b' ELSE 'd' END \
             FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()",
        )
        .await?;
    let row = rows.first().ok_or_else(unreadable)?;
    Ok(if text(row, 0)? == "b" { Collation::Bytes } else { Collation::Deterministic })
}

async fn read_tables(server: &mut Backend, filter: &str) -> Result<HashMap<String, Table>, Fault> {
    let rows = server
        .query(&format!(
            "SELECT c.oid, n.nspname, c.relname, c.relkind, \
               (EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal \
                 AND t.tgname NOT LIKE 'pgloom\\_unique\\_%') \
                 OR EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN') \
                 OR c.relrowsecurity OR c.relkind = 'v' AND EXISTS ({READS_ROW_SECURITY})), \
               CASE WHEN c.relkind IN ('v', 'm') THEN pg_catalog.pg_get_viewdef(c.oid) END, \
               (SELECT pg_catalog.string_agg(pn.nspname || E'\\x01' || p.relname, E'\\x02' ORDER BY i.inhseqno) \
                  FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class p ON p.oid = i.inhparent \
                  JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace WHERE i.inhrelid = c.oid), \
               (SELECT pg_catalog.string_agg(DISTINCT fn.nspname || E'\\x01' || r.relname, E'\\x02') \
                  FROM pg_catalog.pg_constraint f JOIN pg_catalog.pg_class r ON r.oid = f.conrelid \
                  JOIN pg_catalog.pg_namespace fn ON fn.oid = r.relnamespace WHERE f.contype = 'f' AND f.confrelid = c.oid), \
               CASE WHEN c.relkind = 'S' THEN (SELECT tn.nspname || E'\\x01' || t.relname FROM pg_catalog.pg_depend d \
                  JOIN pg_catalog.pg_class t ON t.oid = d.refobjid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid \
                    AND d.refclassid = d.classid AND d.deptype IN ('a', 'i') LIMIT 1) END \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {filter}"
        ))
        .await?;
    rows.iter().map(|row| Ok((text(row, 0)?.to_owned(), read_table(row)?))).collect()
}

fn read_table(row: &Row) -> Result<Table, Fault> {
    let kind = match text(row, 3)? {
        "p" => RelationKind::PartitionedTable,
        "v" => RelationKind::View,
        "m" => RelationKind::MaterializedView,
        "f" => RelationKind::Foreign,
        "S" => RelationKind::Sequence,
        _ => RelationKind::Table,
    };
    let name = |text: &str| text.split_once('\u{1}').map(|(schema, name)| QualifiedName::new(schema, name));
    let names = |at: usize| {
        let list = row.get(at).and_then(Option::as_deref).unwrap_or_default();
        list.split('\u{2}').filter_map(name).collect()
    };
    Ok(Table {
        name: QualifiedName::new(text(row, 1)?, text(row, 2)?),
        kind,
        columns: Vec::new(),
        unique_keys: Vec::new(),
        uniques: Uniques::default(),
        definition: row.get(5).and_then(Option::as_deref).map(Into::into),
        has_triggers: text(row, 4)? == "t",
        effects: None,
        referenced_by: names(7),
        parents: names(6),
        owner: row.get(8).and_then(Option::as_deref).and_then(name),
    })
}

/// A column without a default of its own has that of its type, where it is a domain with one.
fn columns_query(filter: &str) -> String {
    format!(
        "SELECT c.oid, a.attnum, a.attname, a.atttypid, a.atttypmod, \
           CASE WHEN a.attcollation = 0 THEN 'n' \
                WHEN co.collname = 'default' AND cn.nspname = 'pg_catalog' THEN 'x' \
                WHEN NOT co.collisdeterministic THEN 'i' \
                WHEN co.collprovider = 'c' AND co.collcollate IN ('C', 'POSIX') THEN 'b' ELSE 'd' END, \
           a.attnotnull, a.attgenerated <> '', a.attidentity, \
           coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), pg_catalog.pg_get_expr(t.typdefaultbin, 0)), \
           CASE WHEN co.collname = 'default' AND cn.nspname = 'pg_catalog' THEN NULL \
                WHEN cn.nspname = 'pg_catalog' AND co.oid < 16384 THEN co.collname \
                WHEN a.attcollation <> 0 THEN '' END, \
           pg_catalog.format_type(a.atttypid, a.atttypmod), \
           CASE WHEN a.attcollation <> t.typcollation \
                THEN pg_catalog.quote_ident(cn.nspname) || '.' || pg_catalog.quote_ident(co.collname) END, \
           CASE WHEN a.attidentity <> '' THEN (SELECT sn.nspname || E'\\x01' || s.relname FROM pg_catalog.pg_depend p \
             JOIN pg_catalog.pg_class s ON s.oid = p.objid AND s.relkind = 'S' \
             JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace \
             WHERE p.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND p.refclassid = p.classid \
               AND p.refobjid = c.oid AND p.refobjsubid = a.attnum AND p.deptype = 'i') END \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
           JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
           JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
           LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
           LEFT JOIN pg_catalog.pg_collation co ON co.oid = a.attcollation \
           LEFT JOIN pg_catalog.pg_namespace cn ON cn.oid = co.collnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {filter} ORDER BY c.oid, a.attnum"
    )
}

fn read_column(row: &Row, default_collation: Collation) -> Result<Column, Fault> {
    let expression = row.get(9).and_then(Option::as_deref);
    let generated = text(row, 7)? == "t";
    let identity = match text(row, 8)? {
        "a" => Identity::Always,
        "d" => Identity::ByDefault,
        _ => Identity::No,
    };
    let of_identity = row.get(13).and_then(Option::as_deref).and_then(|name| name.split_once('\u{1}'));
    let default = match (of_identity, expression) {
        (Some((schema, name)), _) => {
            ColumnDefault::Sequence(SequenceDefault { sequence: QualifiedName::new(schema, name), identity })
        }
        (None, Some(_)) if generated => ColumnDefault::None,
        (None, Some(expression)) => ColumnDefault::of_expression(expression),
        (None, None) => ColumnDefault::None,
    };
    let column = Column {
        name: text(row, 2)?.into(),
        type_oid: number(row, 3)?,
        typmod: number(row, 4)?,
        collation: match text(row, 5)? {
            "n" => Collation::None,
            "x" => default_collation,
            "b" => Collation::Bytes,
            "i" => Collation::Nondeterministic,
            _ => Collation::Deterministic,
        },
        collation_name: row.get(10).and_then(Option::as_deref).map(Into::into),
        not_null: text(row, 6)? == "t",
        generated,
        default,
        declared: None,
    };
    Ok(column)
}

/// The type of a column, with the collation if it is not the type's own.
fn declared(row: &Row) -> Result<Box<str>, Fault> {
    let declared = text(row, 11)?;
    Ok(match row.get(12).and_then(Option::as_deref) {
        Some(collation) => format!("{declared} COLLATE {collation}").into(),
        None => declared.into(),
    })
}

/// What must be unique: the columns, the primary key's first; whether it is a key of plain columns over all rows; whether that is deferrable.
fn unique_query(filter: &str) -> String {
    format!(
        "SELECT c.oid, (SELECT pg_catalog.string_agg(a.attname, E'\\x01' ORDER BY k.at) \
             FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k(num, at) \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num WHERE k.at <= i.indnkeyatts), \
           i.indisunique AND NOT i.indisexclusion AND i.indexprs IS NULL AND i.indpred IS NULL, i.indimmediate, \
           (SELECT pg_catalog.string_agg(DISTINCT a.attname, E'\\x01') FROM pg_catalog.pg_depend d \
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid \
             WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = c.oid \
               AND (d.classid = d.refclassid AND d.objid = i.indexrelid \
                 OR d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid IN \
                   (SELECT o.oid FROM pg_catalog.pg_constraint o WHERE o.conindid = i.indexrelid AND o.conrelid = c.oid))) \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE (i.indisunique OR i.indisexclusion) AND i.indisvalid AND {filter} \
         ORDER BY i.indisprimary DESC, i.indexrelid"
    )
}

fn read_unique(table: &mut Table, row: &Row) -> Result<(), Fault> {
    let names =
        |at: usize| row.get(at).and_then(Option::as_deref).unwrap_or_default().split('\u{1}').collect::<Vec<_>>();
    let (is_key, immediate) = (text(row, 2)? == "t", text(row, 3)? == "t");
    match is_key {
        true => table.note_unique(&names(1), UniqueKind::Key { deferrable: !immediate }),
        false => table.note_unique(&names(4), UniqueKind::Otherwise),
    }
    Ok(())
}

pub(super) fn is_safe(safe: &[QualifiedName], schema: &str, name: &str) -> bool {
    safe.iter().any(|s| *s.name == *name && matches(&s.schema, schema))
}

pub(super) fn text(row: &Row, at: usize) -> Result<&str, Fault> {
    row.get(at).and_then(Option::as_deref).ok_or_else(unreadable)
}

pub(super) fn number<T: std::str::FromStr>(row: &Row, at: usize) -> Result<T, Fault> {
    text(row, at)?.parse().map_err(|_| unreadable())
}

fn unreadable() -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, "the shard's catalog answered in a form that is not understood")
}

/// Types that users made have other numbers on each server.
fn has_other_type(ours: &Column, theirs: &Column) -> bool {
    let of_users = |column: &Column| column.type_oid >= FIRST_NORMAL_OID;
    let other = ours.type_oid != theirs.type_oid && !(of_users(ours) && of_users(theirs));
    other || ours.typmod != theirs.typmod
}

/// In what the sharded and reference tables of `other` differ from those of `ours`; one line each.
pub fn drift(ours: &Catalog, other: &Catalog, tables: &[&QualifiedName]) -> Vec<String> {
    let mut lines = Vec::new();
    for name in tables {
        let (Some(a), b) = (ours.table(name), other.table(name)) else { continue };
        let Some(b) = b else {
            lines.push(format!("table {name} is missing"));
            continue;
        };
        for column in &a.columns {
            match b.column(&column.name) {
                None => lines.push(format!("column {name}.{} is missing", column.name)),
                Some((_, theirs)) if has_other_type(column, theirs) => {
                    lines.push(format!("column {name}.{} has another type", column.name));
                }
                Some((_, theirs)) if theirs.collation != column.collation => {
                    lines.push(format!("column {name}.{} has another collation", column.name));
                }
                Some((_, theirs)) if theirs.not_null != column.not_null || theirs.default != column.default => {
                    lines.push(format!("column {name}.{} differs in NOT NULL or DEFAULT", column.name));
                }
                Some(_) => {}
            }
        }
        for column in &b.columns {
            if a.column(&column.name).is_none() {
                lines.push(format!("column {name}.{} exists there only", column.name));
            }
        }
        let order = |t: &Table| t.columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        if a.columns.len() == b.columns.len() && order(a) != order(b) {
            lines.push(format!("the columns of {name} are in another order"));
        }
        if a.unique_keys.len() != b.unique_keys.len()
            || a.uniques.deferrable.len() != b.uniques.deferrable.len()
            || a.uniques.otherwise.len() != b.uniques.otherwise.len()
        {
            lines.push(format!("the unique keys of {name} differ"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_where_every_locale_says_so() {
        let names: Vec<Box<str>> = ["plain_1", "\u{e9}tat", "a-b"].map(Box::from).into();
        assert_eq!(any_of(&names), "\\mplain_1\\M|\u{e9}tat|a\\-b");
    }
}
