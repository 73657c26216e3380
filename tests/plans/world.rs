//! A small database for plan tests and benchmarks: its catalog and topology, and one statement's way to its plan.

use std::sync::Arc;

use pgloom::catalog::{
    Catalog, Column, ColumnDefault, Identity, PlacedSchema, RelationKind, SequenceDefault, Sets, Table, UserFunction,
    Volatility,
};
use pgloom::ids::{DistributionId, Epoch, Oid, QualifiedName, ShardId};
use pgloom::plan::{self, Inputs, Parameters, Plan, View};
use pgloom::sql::template::{self, Scan};
use pgloom::sql::{Analysis, Change, NameScope, analyze::analyze};
use pgloom::topology::spec::{DistributionSpec, MethodSpec, RangeSpec, RingSpec, RuleSpec, TableSpec, ValueSpec};
use pgloom::topology::{Server, Shard, Topology, TopologySpec, UniqueRule};
use pgloom::types::{Collation, Format, KeyType, oid};

/// Catalog and topology of one moment, and a search path.
pub struct World {
    pub catalog: Catalog,
    pub topology: Topology,
    pub search_path: Vec<Box<str>>,
    pub standard_strings: bool,
    pub in_transaction: bool,
    pub prints_otherwise: bool,
    /// There are servers beside the shards that finish statements.
    pub combine_servers: bool,
    pub changes: Vec<Change>,
    pub temporary: Option<ShardId>,
    /// Where tables are made.
    schema: Box<str>,
}

/// The parameters of a Bind message.
pub struct Bound(pub Vec<(Oid, Format, Option<Vec<u8>>)>);

impl Parameters for Bound {
    fn get(&self, index: usize) -> Option<(Oid, Format, Option<&[u8]>)> {
        self.0.get(index).map(|(oid, format, bytes)| (*oid, *format, bytes.as_deref()))
    }
}

impl World {
    /// Four shards s0 to s3, s0 the home shard.
    ///
    /// `tenant` (hash of bigint): orders, lines, customers, events. `region` (range of integer, a hundred a shard): sites,
    /// readings. `zone` (list of text): racks. `pair` (hash of bigint and text): cells. Reference: currencies, rates.
    /// Everything else is unsharded.
    pub fn new() -> Self {
        let mut world = Self {
            catalog: Catalog { generation: 1, default_collation: Collation::Deterministic, ..Catalog::default() },
            topology: topology(false),
            search_path: vec!["public".into()],
            standard_strings: true,
            in_transaction: false,
            prints_otherwise: false,
            combine_servers: false,
            changes: Vec::new(),
            temporary: None,
            schema: "public".into(),
        };
        world.catalog.schemas = vec!["public".into(), "app".into()];
        world.fill();
        world
    }

    /// The same, and schemas `tenant_*` that lie whole on shards: tenant_0 on s0 (the home shard), tenant_1 on s1, tenant_2 and tenant_4
    /// on s2, others by hash. tenant_0, 1, 2 and 4 exist and have tables accounts, orders and settings (as public has) and tickets, a view
    /// totals, a sequence numbers, an index orders_note, a type mood and functions touch (volatile) and look (stable).
    pub fn with_schemas() -> Self {
        let mut world = Self { topology: topology(true), ..Self::new() };
        for schema in ["tenant_0", "tenant_1", "tenant_2", "tenant_4"] {
            world.schema = schema.into();
            world.table("accounts", "id int8!, owner text, balance numeric", &[&["id"]]);
            world.table("orders", "id int8!=sequence, account int8, note text", &[&["id"]]);
            world.table("settings", "name text!, value text", &[]);
            world.table("tickets", "id int8!=shared, note text", &[]);
            let view = format!(" SELECT sum(accounts.balance) AS total FROM {schema}.accounts;");
            world.view("totals", "total numeric", &view);
            world.table("numbers", "", &[]);
            let numbers = world.catalog.tables.get_mut(&QualifiedName::new(schema, "numbers")).map(Arc::make_mut);
            numbers.expect("was made").kind = RelationKind::Sequence;
            let name = |name: &str| QualifiedName::new(schema, name);
            world.catalog.indexes.insert(name("orders_note"), name("orders"));
            let function =
                |volatility| UserFunction { volatility, declared_safe: false, sets: Sets::Nothing, callable: true };
            let placed = PlacedSchema {
                functions: [("touch", Volatility::Volatile), ("look", Volatility::Stable)]
                    .map(|(name, volatility)| (name.into(), function(volatility)))
                    .into(),
                types: [Box::from("mood")].into(),
                ..PlacedSchema::default()
            };
            world.catalog.placed.insert(schema.into(), Arc::new(placed));
            world.catalog.schemas.push(schema.into());
        }
        world.schema = "tenant_1".into();
        let of_tenant = column(&world.schema, "v int4=sequence");
        let prices = world.catalog.tables.get_mut(&QualifiedName::new("public", "prices")).map(Arc::make_mut);
        prices.expect("was made").columns[1] = of_tenant;
        world.schema = "public".into();
        let name = |name: &str| QualifiedName::new("public", name);
        world.catalog.indexes.insert(name("audit_what"), name("audit"));
        world.catalog.indexes.insert(name("customers_name"), name("customers"));
        world
    }

    /// The same, and values that are unique over all shards: customers (name), orders (code, qty), orders (tag), customers (email), whose
    /// collation is nondeterministic.
    pub fn with_uniques() -> Self {
        let mut world = Self::new();
        for (table, columns) in [
            ("customers", &["name"][..]),
            ("orders", &["code", "qty"]),
            ("orders", &["tag"]),
            ("customers", &["email"]),
        ] {
            world.topology.uniques.push(Arc::new(UniqueRule {
                table: QualifiedName::new("public", table),
                columns: columns.iter().map(|column| (*column).into()).collect(),
                name: "unique".into(),
            }));
        }
        world
    }

    fn fill(&mut self) {
        self.table(
            "orders",
            "tenant_id int8!, id int8!, customer_id int8, amount numeric, qty int4, price float8, note text, \
            code text/c, day date, created timestamptz, paid bool, tag uuid",
            &[&["tenant_id", "id"]],
        );
        self.table(
            "lines",
            "tenant_id int8!, order_id int8!, no int4!, sku text, qty int4",
            &[&["tenant_id", "order_id", "no"]],
        );
        self.table("customers", "tenant_id int8!, id int8!, name text, email text/n", &[&["tenant_id", "id"]]);
        self.table("events", "tenant_id int8!, id int8!=sequence, kind text=('x'::text), at timestamptz=(now())", &[]);
        self.table("sites", "region_id int4!, id int4!, name text", &[&["region_id", "id"]]);
        self.table("readings", "region_id int4!, at timestamptz, value float8", &[]);
        self.table("racks", "zone text/c!, id int4, label varchar", &[]);
        self.table("cells", "a int8!, b text!, v int4", &[&["a", "b"]]);
        self.table("prices", "key numeric(10,2)!, v int4", &[]);
        self.table("currencies", "code text!, name text, rate numeric", &[&["code"]]);
        self.table("rates", "code text!, day date, rate numeric, seen timestamptz=(now())", &[]);
        self.table("settings", "name text!, value text, tenant_id int8", &[&["name"]]);
        self.table("audit", "id int8!=sequence, what text", &[&["id"]]);
        self.view(
            "open_orders",
            "tenant_id int8, id int8, amount numeric",
            " SELECT o.tenant_id, o.id, o.amount FROM public.orders o WHERE NOT o.paid;",
        );
        self.view("order_totals", "total numeric", " SELECT sum(orders.amount) AS total FROM public.orders;");
        self.view("plain_settings", "name text", " SELECT settings.name FROM public.settings;");
        let part = self.table("orders_2024", "tenant_id int8!, id int8!, customer_id int8", &[]);
        let name = QualifiedName::new("public", part);
        let mut table = (*self.catalog.tables[&name]).clone();
        table.parents = vec![QualifiedName::new("public", "orders")];
        self.catalog.tables.insert(name, Arc::new(table));
        let orders = self.catalog.tables.get_mut(&QualifiedName::new("public", "orders")).map(Arc::make_mut);
        orders.expect("orders was made").kind = RelationKind::PartitionedTable;
        for (name, volatility, declared_safe) in [
            ("pure_fn", Volatility::Immutable, false),
            ("stable_fn", Volatility::Stable, false),
            ("wild_fn", Volatility::Volatile, false),
            ("safe_fn", Volatility::Volatile, true),
            ("safe_stable", Volatility::Stable, true),
        ] {
            self.catalog
                .functions
                .insert(name.into(), UserFunction { volatility, declared_safe, sets: Sets::Nothing, callable: true });
        }
    }

    /// `columns`: `name type[/c C collation | /n nondeterministic][!not null][=sequence | =shared (that of public) | =(expression)]`.
    fn table<'a>(&mut self, name: &'a str, columns: &str, unique: &[&[&str]]) -> &'a str {
        let columns: Vec<Column> = split_columns(columns).iter().map(|text| column(&self.schema, text)).collect();
        let place = |name: &&str| columns.iter().position(|c| &*c.name == *name).expect("unique columns exist");
        let unique_keys = unique.iter().map(|columns| columns.iter().map(place).collect()).collect();
        let name_of = QualifiedName::new(self.schema.clone(), name);
        let table = Table {
            name: name_of.clone(),
            kind: RelationKind::Table,
            columns,
            unique_keys,
            uniques: Default::default(),
            definition: None,
            has_triggers: false,
            effects: None,
            referenced_by: match name {
                "customers" => vec![QualifiedName::new(self.schema.clone(), "orders")],
                _ => Vec::new(),
            },
            parents: Vec::new(),
            owner: None,
        };
        self.catalog.tables.insert(name_of, Arc::new(table));
        name
    }

    fn view(&mut self, name: &str, columns: &str, definition: &str) {
        self.table(name, columns, &[]);
        let name = QualifiedName::new(self.schema.clone(), name);
        let mut table = (*self.catalog.tables[&name]).clone();
        table.kind = RelationKind::View;
        table.definition = Some(definition.into());
        self.catalog.tables.insert(name, Arc::new(table));
    }

    pub fn scope(&self) -> NameScope<'_> {
        NameScope {
            changes: &self.changes,
            defines: !self.changes.is_empty(),
            temporary: self.temporary,
            temporaries: None,
            own: None,
            catalog: &self.catalog,
            topology: &self.topology,
            search_path: &self.search_path,
            standard_strings: self.standard_strings,
            fingerprint: 1,
            unknown: None,
        }
    }

    pub fn view_of(&self) -> View<'_> {
        View {
            topology: &self.topology,
            catalog: &self.catalog,
            in_transaction: self.in_transaction,
            prints_otherwise: self.prints_otherwise,
            combine_servers: self.combine_servers,
        }
    }

    pub fn analyze(&self, sql: &str) -> (Scan, Analysis) {
        let mut scan = Scan::default();
        let _ = template::scan(sql, self.standard_strings, &mut scan);
        let analysis = analyze(sql, &scan, &self.scope());
        (scan, analysis)
    }

    fn plan_call(&self, analysis: &Analysis, sql: &str, scan: &Scan, bound: Option<&Bound>) -> Plan {
        let parameters = bound.map(|bound| bound as &dyn Parameters);
        let mut plan = plan::plan(analysis, &Inputs { text: sql, slots: &scan.slots, parameters }, &self.view_of());
        plan.show_on("combine:5432");
        plan
    }

    /// The EXPLAIN text of one call of a statement that has been analyzed.
    pub fn explain_call(&self, analysis: &Analysis, sql: &str, scan: &Scan, bound: Option<&Bound>) -> String {
        let plan = self.plan_call(analysis, sql, scan, bound);
        plan::explain::text(&plan, analysis, &self.view_of()).join("\n")
    }

    /// Why the statement does not run on one shard.
    pub fn advice(&self, sql: &str, bound: Option<&Bound>) -> String {
        let (scan, analysis) = self.analyze(sql);
        let plan = self.plan_call(&analysis, sql, &scan, bound);
        let parameters = bound.map(|bound| bound as &dyn Parameters);
        let inputs = Inputs { text: sql, slots: &scan.slots, parameters };
        let notes = plan::advice::advice(&plan, &inputs, &scan, &self.scope(), &self.view_of());
        if notes.is_empty() { "nothing to say".to_owned() } else { plan::advice::lines(&notes).join("\n") }
    }

    /// The EXPLAIN text of a statement.
    pub fn explain(&self, sql: &str, bound: Option<&Bound>) -> String {
        let (scan, analysis) = self.analyze(sql);
        self.explain_call(&analysis, sql, &scan, bound)
    }
}

fn topology(with_schemas: bool) -> Topology {
    let shard = |i: usize| Shard {
        name: format!("s{i}").into(),
        servers: vec![Server::new("127.0.0.1", 5432 + i as u16, "app")],
    };
    let range = |i: i64| RangeSpec {
        from: (i > 0).then(|| (i * 100).to_string()),
        to: Some((i * 100 + 100).to_string()),
        shard: format!("s{i}"),
    };
    let zone = |value: &str, shard: &str| ValueSpec { key: vec![value.to_owned()], shard: shard.to_owned() };
    let distribution = |name: &str, key_types: &[KeyType], method: MethodSpec| DistributionSpec {
        name: name.to_owned(),
        key_types: key_types.to_vec(),
        method,
        pins: Vec::new(),
    };
    let sharded = |table: &str, distribution: &str, columns: &[&str]| TableSpec {
        name: QualifiedName::new("public", table),
        rule: RuleSpec::Sharded {
            distribution: distribution.to_owned(),
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        },
    };
    let reference = |table: &str| TableSpec { name: QualifiedName::new("public", table), rule: RuleSpec::Reference };
    let mut spec = TopologySpec {
        epoch: Epoch(1),
        shards: (0..4).map(shard).collect(),
        home_shard: Some("s0".to_owned()),
        distributions: vec![
            distribution("tenant", &[KeyType::Int8], MethodSpec::Ring(RingSpec::default())),
            distribution("region", &[KeyType::Int4], MethodSpec::Range((0..4).map(range).collect())),
            distribution(
                "zone",
                &[KeyType::Text],
                MethodSpec::List {
                    values: vec![zone("north", "s0"), zone("east", "s1"), zone("south", "s2"), zone("west", "s3")],
                    default: None,
                },
            ),
            distribution("pair", &[KeyType::Int8, KeyType::Text], MethodSpec::Ring(RingSpec::default())),
            distribution("money", &[KeyType::Numeric], MethodSpec::Ring(RingSpec::default())),
        ],
        tables: vec![
            sharded("orders", "tenant", &["tenant_id"]),
            sharded("lines", "tenant", &["tenant_id"]),
            sharded("customers", "tenant", &["tenant_id"]),
            sharded("events", "tenant", &["tenant_id"]),
            sharded("brand_new", "tenant", &["tenant_id"]),
            sharded("sites", "region", &["region_id"]),
            sharded("readings", "region", &["region_id"]),
            sharded("racks", "zone", &["zone"]),
            sharded("cells", "pair", &["a", "b"]),
            sharded("prices", "money", &["key"]),
            reference("currencies"),
            reference("rates"),
        ],
    };
    if with_schemas {
        let pin = |schema: &str, shard: &str| ValueSpec { key: vec![schema.to_owned()], shard: shard.to_owned() };
        let method = MethodSpec::Schemas {
            schemas: vec!["tenant_*".to_owned()],
            except: vec!["tenant_template".to_owned()],
            ring: RingSpec::default(),
            default: None,
        };
        spec.distributions.push(DistributionSpec {
            pins: vec![pin("tenant_0", "s0"), pin("tenant_1", "s1"), pin("tenant_2", "s2"), pin("tenant_4", "s2")],
            ..distribution("tenants", &[KeyType::Text], method)
        });
    }
    let (topology, _warnings) = spec.build().expect("the topology is valid");
    assert_eq!(topology.distributions[usize::from(DistributionId(0).0)].name.as_ref(), "tenant");
    topology
}

fn split_columns(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut columns = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        match c {
            ',' if depth == 0 => columns.push(String::new()),
            c => columns.last_mut().expect("never empty").push(c),
        }
    }
    columns.into_iter().map(|c| c.trim().to_owned()).collect()
}

fn sequence(schema: &str, identity: Identity) -> SequenceDefault {
    SequenceDefault { sequence: QualifiedName::new(schema, "seq"), identity }
}

fn column(schema: &str, text: &str) -> Column {
    let (text, default) = match text.split_once('=') {
        None => (text, ColumnDefault::None),
        Some((text, "sequence")) => (text, ColumnDefault::Sequence(sequence(schema, Identity::No))),
        Some((text, "shared")) => (text, ColumnDefault::Sequence(sequence("public", Identity::No))),
        Some((text, "always")) => (text, ColumnDefault::Sequence(sequence(schema, Identity::Always))),
        Some((text, expr)) => (text, ColumnDefault::Expression(expr[1..expr.len() - 1].into())),
    };
    let (name, ty) = text.split_once(' ').expect("name and type");
    let not_null = ty.ends_with('!');
    let ty = ty.trim_end_matches('!');
    let (ty, collation) = match ty.split_once('/') {
        Some((ty, "c")) => (ty, Collation::Bytes),
        Some((ty, _)) => (ty, Collation::Nondeterministic),
        None if matches!(ty, "text" | "varchar") => (ty, Collation::Deterministic),
        None => (ty, Collation::None),
    };
    let (type_oid, typmod) = match ty {
        "int4" => (oid::INT4, -1),
        "int8" => (oid::INT8, -1),
        "numeric" => (oid::NUMERIC, -1),
        "numeric(10,2)" => (oid::NUMERIC, (10 << 16 | 2) + 4),
        "float8" => (oid::FLOAT8, -1),
        "text" => (oid::TEXT, -1),
        "varchar" => (oid::VARCHAR, -1),
        "date" => (oid::DATE, -1),
        "timestamptz" => (oid::TIMESTAMPTZ, -1),
        "bool" => (oid::BOOL, -1),
        "uuid" => (oid::UUID, -1),
        other => panic!("type {other}"),
    };
    let collation_name = match collation {
        Collation::Bytes => Some("C".into()),
        Collation::Nondeterministic => Some("".into()),
        Collation::Deterministic | Collation::None => None,
    };
    let declared = Some(ty.into());
    Column {
        name: name.into(),
        type_oid,
        typmod,
        collation,
        collation_name,
        not_null,
        generated: false,
        default,
        declared,
    }
}
