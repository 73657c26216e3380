//! Good and bad topologies, each refusal by its site and words.

#![allow(clippy::unwrap_used)]
use super::*;
use crate::ids::{DistributionId, QualifiedName, ShardSet, Token};
use crate::topology::spec::{GroupSpec, RangeSpec, RemainderSpec, RingSpec, RuleSpec, TableSpec, ValueSpec};
use crate::topology::{Server, TableRule};
use crate::types::KeyType;
use crate::types::canonical::KeyValue;

fn shard(name: &str) -> Shard {
    let server = Server::new(name, 5432, "shop");
    Shard { name: name.into(), servers: vec![server] }
}

fn value(key: &str, shard: &str) -> ValueSpec {
    ValueSpec { key: key.split(',').map(str::to_owned).collect(), shard: shard.into() }
}

fn range(from: &str, to: &str, shard: &str) -> RangeSpec {
    let bound = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    RangeSpec { from: bound(from), to: bound(to), shard: shard.into() }
}

fn distribution(name: &str, method: MethodSpec) -> DistributionSpec {
    DistributionSpec { name: name.into(), key_types: vec![KeyType::Int8], method, pins: vec![] }
}

fn sharded(table: &str, distribution: &str, columns: &[&str]) -> TableSpec {
    let columns = columns.iter().map(|c| (*c).to_owned()).collect();
    TableSpec {
        name: QualifiedName::new("public", table),
        rule: RuleSpec::Sharded { distribution: distribution.into(), columns },
    }
}

/// Two shards `a` and `b`, one table over a hash ring: everything right.
fn good() -> TopologySpec {
    TopologySpec {
        shards: vec![shard("a"), shard("b")],
        distributions: vec![distribution("d", MethodSpec::Ring(RingSpec::default()))],
        tables: vec![sharded("t", "d", &["id"])],
        ..TopologySpec::default()
    }
}

fn with_method(method: MethodSpec) -> TopologySpec {
    TopologySpec { distributions: vec![distribution("d", method)], ..good() }
}

fn errors(spec: &TopologySpec) -> Vec<(Site, String)> {
    spec.build().unwrap_err().into_iter().map(|e| (e.site, e.finding.to_string())).collect()
}

#[track_caller]
fn assert_refused(spec: &TopologySpec, site: Site, message: &str) {
    let errors = errors(spec);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0].0, site);
    assert!(errors[0].1.starts_with(message), "{}", errors[0].1);
}

const ENTRY_1: Site = Site::Entry { distribution: 0, entry: 1 };

#[test]
fn good_topology_compiles_and_locates() {
    let (topology, warnings) = good().build().unwrap();
    assert_eq!(warnings, []);
    assert_eq!(topology.home, ShardId(0));
    let rule = topology.rule(&QualifiedName::new("public", "t")).unwrap();
    let TableRule::Sharded { distribution, columns } = rule else { panic!("{rule:?}") };
    assert_eq!(columns[..], [Box::from("id")]);
    let distribution = topology.distribution(*distribution);
    let located: std::collections::BTreeSet<_> =
        (0..100).map(|id| distribution.locate(&[KeyValue::Int(id)]).unwrap()).collect();
    assert_eq!(located.len(), 2);
    assert_eq!(distribution.shards(), topology.all_shards());
}

#[test]
fn hash_partitions_hold_every_key_once() {
    let spec = |partitions: &[(u32, u32, &str)]| {
        let partition = |(modulus, remainder, shard): &(u32, u32, &str)| RemainderSpec {
            modulus: *modulus,
            remainder: *remainder,
            shard: (*shard).into(),
        };
        with_method(MethodSpec::Remainders(partitions.iter().map(partition).collect()))
    };
    let (topology, _) = spec(&[(4, 3, "b"), (2, 0, "a"), (4, 1, "a")]).build().unwrap();
    let Method::Remainders(owners) = topology.distributions[0].map.method() else { panic!() };
    assert_eq!(owners[..], [ShardId(0), ShardId(0), ShardId(0), ShardId(1)]);
    let whole = Site::Distribution(0);
    let entry = |entry| Site::Entry { distribution: 0, entry };
    assert_refused(&spec(&[]), whole, "distribution `d` has no partitions");
    assert_refused(&spec(&[(2, 0, "a"), (2, 2, "b")]), entry(1), "modulus 2 and remainder 2 are no partition");
    assert_refused(&spec(&[(0, 0, "a")]), entry(0), "modulus 0 and remainder 0 are no partition");
    assert_refused(&spec(&[(2, 0, "a"), (3, 1, "b")]), entry(0), "modulus 2 does not divide modulus 3");
    assert_refused(&spec(&[(2, 0, "a"), (4, 2, "b")]), entry(1), "two partitions of distribution `d`");
    assert_refused(
        &spec(&[(2, 0, "a"), (4, 1, "b")]),
        whole,
        "no partition of distribution `d` holds the keys of remainder 3 by 4",
    );
    assert_refused(&spec(&[(2, 0, "a"), (2, 1, "z")]), entry(1), "unknown shard `z`");
    let mut numeric = spec(&[(1, 0, "a")]);
    numeric.distributions[0].key_types = vec![KeyType::Numeric];
    assert_refused(&numeric, whole, "distribution `d` is by postgres_hash of numeric");
}

#[test]
fn composite_groups_are_by_value_or_by_range() {
    let by = |values: &[&str], from: Option<&str>, to: Option<&str>, shards: &[&str]| GroupSpec {
        values: values.iter().map(|v| (*v).to_owned()).collect(),
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
        shards: shards.iter().map(|s| (*s).to_owned()).collect(),
    };
    let spec = |groups: &[GroupSpec]| {
        let mut spec = with_method(MethodSpec::Composite { groups: groups.to_vec(), virtual_nodes: 16 });
        spec.distributions[0].key_types = vec![KeyType::Int4, KeyType::Int8];
        spec.tables = vec![sharded("t", "d", &["a", "b"])];
        spec
    };
    let list = [by(&["1", "2"], None, None, &["a"]), by(&[], None, None, &["a", "b"])];
    let (topology, _) = spec(&list).build().unwrap();
    let at = |a, b| topology.distributions[0].locate(&[KeyValue::Int(a), KeyValue::Int(b)]);
    assert!((0..50).all(|b| at(1, b) == Ok(ShardId(0)) && at(2, b) == Ok(ShardId(0))));
    assert!((0..50).any(|b| at(3, b) == Ok(ShardId(1))));
    assert_eq!(topology.distributions[0].locate_first(&KeyValue::Int(2)), ShardSet::one(ShardId(0)));
    let range = [by(&[], None, Some("10"), &["a"]), by(&[], Some("20"), None, &["b"])];
    let (topology, warnings) = spec(&range).build().unwrap();
    let at = |a, b| topology.distributions[0].locate(&[KeyValue::Int(a), KeyValue::Int(b)]).ok();
    assert_eq!([at(9, 1), at(10, 1), at(20, 1)], [Some(ShardId(0)), None, Some(ShardId(1))]);
    assert_eq!(warnings.len(), 1);
    let whole = Site::Distribution(0);
    let entry = |entry| Site::Entry { distribution: 0, entry };
    assert_refused(&spec(&[]), whole, "distribution `d` has no groups");
    let empty = [by(&["1"], None, None, &[])];
    assert_refused(&spec(&empty), entry(0), "a group of distribution `d` has no shards");
    let mixed = [by(&["1"], None, None, &["a"]), by(&[], Some("2"), None, &["b"])];
    assert_refused(&spec(&mixed), entry(1), "distribution `d` has groups by value and groups by range");
    let twice = [by(&["1"], None, None, &["a"]), by(&["01"], None, None, &["b"])];
    assert_refused(&spec(&twice), entry(1), "the value `01` of distribution `d` is listed twice");
    let others = [by(&["1"], None, None, &["a"]), by(&[], None, None, &["a"]), by(&[], None, None, &["b"])];
    assert_refused(&spec(&others), entry(2), "distribution `d` has two groups for every other value");
    let overlap = [by(&[], None, Some("10"), &["a"]), by(&[], Some("9"), None, &["b"])];
    assert_refused(&spec(&overlap), entry(1), "the ranges");
    let stranger = [by(&["1"], None, None, &["z"])];
    assert_refused(&spec(&stranger), entry(0), "unknown shard `z`");
    let mut narrow = spec(&list);
    narrow.distributions[0].key_types.pop();
    narrow.tables = vec![sharded("t", "d", &["a"])];
    assert_refused(&narrow, whole, "distribution `d` is composite over one column");
}

fn by_schema(schemas: &[&str], pins: &[(&str, &str)], default: Option<&str>) -> TopologySpec {
    let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let method = MethodSpec::Schemas {
        schemas: strings(schemas),
        except: strings(&["tenant_template"]),
        ring: RingSpec::default(),
        default: default.map(str::to_owned),
    };
    let mut spec = TopologySpec { tables: vec![], ..with_method(method) };
    spec.distributions[0].key_types = vec![KeyType::Text];
    spec.distributions[0].pins = pins.iter().map(|(schema, shard)| value(schema, shard)).collect();
    spec
}

#[test]
fn schemas_lie_by_their_names_whole() {
    let (topology, warnings) = by_schema(&["tenant_*"], &[("tenant_big", "b")], None).build().unwrap();
    assert_eq!(warnings, []);
    assert_eq!(topology.distributions[0].method_name(), "schema");
    let place = |schema: &str| topology.place_of_schema(schema).map(|(_, shard)| shard);
    assert_eq!(place("tenant_big"), Some(ShardId(1)));
    assert_eq!([place("public"), place("tenant_template"), place("other")], [None, None, None]);
    // As a hash distribution over text places the same names.
    let mut hash = with_method(MethodSpec::Ring(RingSpec::default()));
    hash.distributions[0].key_types = vec![KeyType::Text];
    let (hash, _) = hash.build().unwrap();
    let names: Vec<String> = (0..100).map(|n| format!("tenant_{n}")).collect();
    for name in &names {
        let key = [KeyValue::Text(name.as_str().into())];
        assert_eq!(place(name), hash.distributions[0].locate(&key).ok());
    }
    assert_eq!(names.iter().filter_map(|name| place(name)).collect::<HashSet<_>>().len(), 2);
    let (all_on_one, _) = by_schema(&["tenant_*"], &[("tenant_big", "b")], Some("a")).build().unwrap();
    assert_eq!(all_on_one.place_of_schema("tenant_77"), Some((DistributionId(0), ShardId(0))));
    assert_eq!(all_on_one.place_of_schema("tenant_big"), Some((DistributionId(0), ShardId(1))));
}

#[test]
fn bad_schemas_are_refused() {
    let whole = Site::Distribution(0);
    assert_refused(&by_schema(&[], &[], None), whole, "distribution `d` by schema names no schemas");
    assert_refused(&by_schema(&["public"], &[], None), whole, "`public` is no pattern of schemas");
    assert_refused(&by_schema(&["t", "pg_x"], &[], None), whole, "`pg_x` is no pattern of schemas");
    assert_refused(&by_schema(&["t", ""], &[], None), whole, "`` is no pattern of schemas");
    let pin = Site::Pin { distribution: 0, pin: 0 };
    assert_refused(&by_schema(&["t*"], &[("x", "a")], None), pin, "the pin `x` of distribution `d` is none");
    assert_refused(&by_schema(&["t*"], &[("t", "z")], None), pin, "unknown shard `z`");
    assert_refused(&by_schema(&["t*"], &[], Some("z")), Site::ListDefault(0), "unknown shard `z`");
    let with_table = |name: QualifiedName, rule: RuleSpec| TopologySpec {
        tables: vec![TableSpec { name, rule }],
        ..by_schema(&["t*"], &[], None)
    };
    let reference = with_table(QualifiedName::new("t_1", "x"), RuleSpec::Reference);
    assert_refused(&reference, Site::Table(0), "table t_1.x lies in a schema that distribution `d` places whole");
    let by = RuleSpec::Sharded { distribution: "d".into(), columns: vec!["id".into()] };
    let sharded = with_table(QualifiedName::new("public", "x"), by);
    assert_refused(&sharded, Site::Table(0), "table public.x names distribution `d`, which places whole schemas");
}

#[test]
fn all_errors_are_collected() {
    let mut spec = good();
    spec.home_shard = Some("z".into());
    spec.tables.push(sharded("t", "e", &["id"]));
    spec.tables.push(sharded("u", "d", &["id", "id"]));
    let sites: Vec<Site> = errors(&spec).into_iter().map(|e| e.0).collect();
    assert_eq!(sites, [Site::HomeShard, Site::Table(1), Site::Table(1), Site::Table(2), Site::Table(2)]);
}

#[test]
fn bad_shards_are_refused() {
    let with = |change: &dyn Fn(&mut TopologySpec)| {
        let mut spec = good();
        change(&mut spec);
        spec
    };
    let second = Site::Shard(1);
    assert_refused(&with(&|s| s.shards.clear()), Site::Topology, "no shards; add");
    assert_refused(&with(&|s| s.shards[1].servers.clear()), second, "shard `b` has no servers; give");
    assert_refused(&with(&|s| s.shards[1].name = "".into()), second, "a shard has an empty name");
    assert_refused(
        &with(&|s| s.home_shard = Some("c".into())),
        Site::HomeShard,
        "unknown shard `c`; there are `a`, `b`",
    );
    let shared = with(&|s| s.shards[1].servers[0].host = "a".into());
    assert_refused(&shared, second, "shard `b` and shard `a` are both the database `shop` at a:5432");
    let two = with(&|s| s.shards[1].servers.push(shard("b").servers[0].clone()));
    assert_refused(&two, second, "shard `b` and shard `b` are both the database `shop` at b:5432");
    let named = with(&|s| s.shards[1].name = "a".into());
    assert_refused(&named, second, "two shards are named `a`");
    let mut crowd = good();
    crowd.shards = (0..=MAX_SHARDS).map(|i| shard(&i.to_string())).collect();
    assert_refused(&crowd, Site::Topology, "65536 shards; a database has at most 65535");
}

#[test]
fn bad_rings_are_refused() {
    let ring = |nodes: &[(&str, u32)]| {
        let nodes = nodes.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
        with_method(MethodSpec::Ring(RingSpec { nodes, ..RingSpec::default() }))
    };
    assert_refused(&ring(&[("a", 1), ("c", 1)]), ENTRY_1, "unknown shard `c`");
    assert_refused(&ring(&[("a", 1), ("a", 1)]), ENTRY_1, "shard `a` is named twice");
    assert_refused(&ring(&[("a", 1), ("b", 0)]), ENTRY_1, "shard `b` has weight 0");
    let none = with_method(MethodSpec::Ring(RingSpec { virtual_nodes: 0, nodes: vec![] }));
    assert_refused(&none, Site::Distribution(0), "distribution `d` has virtual_nodes = 0");
    let (topology, _) = ring(&[("b", 1)]).build().unwrap();
    assert_eq!(topology.distributions[0].shards(), crate::ids::ShardSet::one(ShardId(1)));
}

#[test]
fn bad_ranges_are_refused_and_gaps_reported() {
    let ranges = |list: &[(&str, &str, &str)]| {
        with_method(MethodSpec::Range(list.iter().map(|(from, to, shard)| range(from, to, shard)).collect()))
    };
    assert_refused(
        &ranges(&[("", "10", "a"), ("9", "", "b")]),
        ENTRY_1,
        "the ranges the lowest to `10` (shard `a`) and `9` to",
    );
    assert_refused(&ranges(&[("", "", "a"), ("9", "10", "b")]), ENTRY_1, "the ranges");
    assert_refused(&ranges(&[("", "5", "a"), ("", "10", "b")]), ENTRY_1, "the ranges");
    assert_refused(&ranges(&[("", "5", "a"), ("7", "7", "b")]), ENTRY_1, "the range from `7` to `7` holds nothing");
    assert_refused(&ranges(&[("", "5", "a"), ("x", "7", "b")]), ENTRY_1, "`x` is not a bigint that");
    assert_refused(&ranges(&[]), Site::Distribution(0), "distribution `d` has no ranges");
    let (topology, warnings) = ranges(&[("20", "30", "b"), ("0", "10", "a")]).build().unwrap();
    let gaps: Vec<String> = warnings.iter().map(|w| w.finding.to_string()).collect();
    let expected = ["from `10` to `20`;", "below `0`;", "from `30` on;"];
    assert!(gaps.iter().zip(expected).all(|(gap, part)| gap.contains(part)) && gaps.len() == 3, "{gaps:#?}");
    let locate = |key| topology.distributions[0].locate(&[KeyValue::Int(key)]).ok();
    assert_eq!([locate(9), locate(10), locate(20)], [Some(ShardId(0)), None, Some(ShardId(1))]);
    let mut wide = ranges(&[("", "", "a")]);
    wide.distributions[0].key_types.push(KeyType::Int8);
    wide.tables.clear();
    assert_refused(&wide, Site::Distribution(0), "distribution `d` is by range over 2 columns");
}

#[test]
fn explicit_tokens_must_cover_every_hash() {
    let tokens = |list: &[(&str, &str, &str)]| {
        with_method(MethodSpec::Tokens(list.iter().map(|(from, to, shard)| range(from, to, shard)).collect()))
    };
    let half = "0x8000000000000000";
    let (topology, _) = tokens(&[(half, "", "b"), ("", half, "a")]).build().unwrap();
    let Method::Hash(map) = topology.distributions[0].map.method() else { panic!() };
    assert_eq!(
        [map.get(Token(0)), map.get(Token(1 << 63)), map.get(Token(u64::MAX))],
        [0, 1, 1].map(|s| Some(ShardId(s)))
    );
    assert_refused(
        &tokens(&[("", half, "a")]),
        Site::Distribution(0),
        "no shard of distribution `d` holds the tokens 0x8000000000000000 to 0xffffffffffffffff",
    );
    assert_refused(
        &tokens(&[("1", "", "a")]),
        Site::Distribution(0),
        "no shard of distribution `d` holds the tokens 0x0000000000000000 to 0x0000000000000000",
    );
    assert_refused(&tokens(&[("", half, "a"), ("5", "", "b")]), ENTRY_1, "the ranges");
    assert_refused(&tokens(&[("", "", "a"), ("0x1g", "", "b")]), ENTRY_1, "`0x1g` is not a token");
}

#[test]
fn bad_lists_and_pins_are_refused() {
    let list = |values: &[(&str, &str)], pins: &[(&str, &str)]| {
        let all = |list: &[(&str, &str)]| list.iter().map(|(key, shard)| value(key, shard)).collect();
        let mut spec = with_method(MethodSpec::List { values: all(values), default: None });
        spec.distributions[0].pins = all(pins);
        spec
    };
    let pin = Site::Pin { distribution: 0, pin: 0 };
    assert_refused(&list(&[], &[]), Site::Distribution(0), "distribution `d` has neither values");
    assert_refused(
        &list(&[("1", "a"), ("01", "b")], &[]),
        ENTRY_1,
        "the value `01` of distribution `d` is listed twice",
    );
    assert_refused(
        &list(&[("1", "a"), ("1,2", "b")], &[]),
        ENTRY_1,
        "a key of distribution `d` has 1 columns, `1, 2` has 2",
    );
    assert_refused(&list(&[("1", "a")], &[("big", "b")]), pin, "`big` is not a bigint that");
    assert_refused(&list(&[("1", "a")], &[("2", "c")]), pin, "unknown shard `c`");
    assert_refused(&list(&[("1", "a")], &[("1", "b")]), pin, "the value `1` of distribution `d` is both");
    let second = Site::Pin { distribution: 0, pin: 1 };
    assert_refused(
        &list(&[("1", "a")], &[("2", "b"), ("2", "b")]),
        second,
        "the value `2` of distribution `d` is pinned twice",
    );
    let mut default = list(&[("1", "a")], &[]);
    default.distributions[0].method = MethodSpec::List { values: vec![], default: Some("c".into()) };
    assert_refused(&default, Site::ListDefault(0), "unknown shard `c`");
}

#[test]
fn bad_tables_are_refused() {
    let table = |table: TableSpec| TopologySpec { tables: vec![sharded("t", "d", &["id"]), table], ..good() };
    let site = Site::Table(1);
    assert_refused(&table(sharded("t", "d", &["id"])), site, "table public.t is named twice");
    assert_refused(
        &table(sharded("u", "e", &["id"])),
        site,
        "table public.u names the unknown distribution `e`; there are `d`",
    );
    assert_refused(
        &table(sharded("u", "d", &["id", "x"])),
        site,
        "table public.u has 2 key columns and distribution `d` has 1",
    );
    let unused = TopologySpec { tables: vec![], ..good() };
    let (_, warnings) = unused.build().unwrap();
    assert_eq!(warnings[0].finding.to_string(), "no table uses distribution `d`");
}
