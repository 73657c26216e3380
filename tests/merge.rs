//! The merge against a real Postgres: its own partial answers, merged by us, are its answer over all rows.

#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use pgloom::merge::{Advance, ColumnInfo, Merge, MergeLimits};
use pgloom::plan::combine::{Combine, Fold, Gather, Output, SortKey, Step};
use pgloom::types::canonical::KeyValue;
use pgloom::types::compare::{Comparator, TextStyle};
use pgloom::types::{Collation, Format, KeyType, oid};
use pgloom::wire::row::{RowView, RowWriter};
use support::{Cluster, Raw};

const SHARDS: usize = 3;
const FORMATS: [Format; 2] = [Format::Text, Format::Binary];

/// Columns of the test's table, with their types.
const COLUMNS: [(&str, &str, u32, Collation); 17] = [
    ("i2", "int2", oid::INT2, Collation::None),
    ("i4", "int4", oid::INT4, Collation::None),
    ("i8", "int8", oid::INT8, Collation::None),
    ("o", "oid", oid::OID, Collation::None),
    ("n", "numeric", oid::NUMERIC, Collation::None),
    ("f4", "float4", oid::FLOAT4, Collation::None),
    ("f8", "float8", oid::FLOAT8, Collation::None),
    ("b", "bool", oid::BOOL, Collation::None),
    ("u", "uuid", oid::UUID, Collation::None),
    ("d", "date", oid::DATE, Collation::None),
    ("tm", "time", oid::TIME, Collation::None),
    ("ts", "timestamp", oid::TIMESTAMP, Collation::None),
    ("tz", "timestamptz", oid::TIMESTAMPTZ, Collation::None),
    ("by", "bytea", oid::BYTEA, Collation::None),
    ("t", "text COLLATE \"C\"", oid::TEXT, Collation::Bytes),
    ("v", "varchar COLLATE \"C\"", oid::VARCHAR, Collation::Bytes),
    ("c", "char(6) COLLATE \"C\"", oid::BPCHAR, Collation::Bytes),
];

/// A small generator (xorshift): the same rows in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }

    fn digits(&mut self, most: u64) -> String {
        (0..self.below(most + 1)).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }

    fn numeric(&mut self) -> String {
        match self.below(60) {
            0 => self.pick(&["NaN", "Infinity", "-Infinity"]).to_owned(),
            1..20 => self
                .pick(&["0", "1", "1.0", "1.00", "-1", "-1.000", "0.00", "9999", "10000", "0.0001", "-9999.9999"])
                .to_owned(),
            20..40 => format!("{}{}", self.pick(&["", "-"]), self.next() % 1_000_000),
            _ => format!("{}{}0.{}", self.pick(&["", "-"]), self.digits(30), self.digits(25)),
        }
    }

    /// A value of the type for COPY in text format.
    fn value(&mut self, type_oid: u32) -> String {
        if self.below(8) == 0 {
            return "\\N".to_owned();
        }
        match type_oid {
            oid::INT2 => (self.next() as i16 >> (self.below(16))).to_string(),
            oid::INT4 => (self.next() as i32 >> (self.below(32))).to_string(),
            // Sums of bigint are numeric: no overflow.
            oid::INT8 => (self.next() as i64 >> (self.below(64))).to_string(),
            oid::OID => (self.next() as u32 >> self.below(32)).to_string(),
            oid::NUMERIC => self.numeric(),
            oid::FLOAT4 => match self.below(10) {
                0 => self.pick(&["NaN", "Infinity", "-Infinity", "0", "-0"]).to_owned(),
                1..6 => format!("{}.5", self.below(4)),
                _ => f32::from_bits(self.next() as u32).to_string(),
            },
            oid::FLOAT8 => match self.below(10) {
                0 => self.pick(&["NaN", "Infinity", "-Infinity", "0", "-0"]).to_owned(),
                1..6 => format!("-{}.5", self.below(4)),
                _ => f64::from_bits(self.next()).to_string(),
            },
            oid::BOOL => self.pick(&["t", "f"]).to_owned(),
            oid::UUID if self.below(2) == 0 => format!("00000000-0000-0000-0000-00000000000{:x}", self.below(16)),
            oid::UUID => format!("{:016x}{:016x}", self.next(), self.next()),
            oid::DATE => match self.below(10) {
                0 => self
                    .pick(&["infinity", "-infinity", "0044-03-15 BC", "10000-01-01", "4714-11-24 BC", "5874897-12-31"])
                    .to_owned(),
                _ => format!("20{:02}-{:02}-{:02}", self.below(30), 1 + self.below(12), 1 + self.below(28)),
            },
            oid::TIME => format!("{:02}:{:02}:00.{}", self.below(24), self.below(60), self.below(1_000_000)),
            oid::TIMESTAMP | oid::TIMESTAMPTZ => match self.below(10) {
                0 => self
                    .pick(&[
                        "infinity",
                        "-infinity",
                        "0044-03-15 10:00:00 BC",
                        "10000-01-01 00:00:00",
                        "294276-12-30 00:00:00",
                        "4713-01-01 00:00:00 BC",
                    ])
                    .to_owned(),
                _ => format!(
                    "19{:02}-{:02}-05 {:02}:00:00.{}",
                    self.below(100),
                    1 + self.below(12),
                    self.below(24),
                    self.digits(6) + "0"
                ),
            },
            oid::BYTEA => {
                format!("\\\\x{}", (0..self.below(4)).map(|_| format!("{:02x}", self.below(256))).collect::<String>())
            }
            _ => (0..self.below(5)).map(|_| self.pick(&["a", "b", "B", "ä", " ", "-", "z", "日"])).collect(),
        }
    }
}

/// A table `rows` of `count` rows: a group, a shard, an id and [`COLUMNS`].
fn loaded(count: usize, groups: u64) -> Raw {
    let mut raw = Cluster::shared().oracle.connect("postgres");
    let columns: Vec<String> = COLUMNS.iter().map(|(name, type_name, ..)| format!("{name} {type_name}")).collect();
    raw.must(&format!("CREATE TEMPORARY TABLE rows (id int8, g int4, shard int4, {})", columns.join(", ")));
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut data = String::new();
    for id in 0..count {
        data += &format!("{id}\t{}\t{}", random.below(groups), random.below(SHARDS as u64));
        for (.., type_oid, _) in COLUMNS {
            data.push('\t');
            data += &random.value(type_oid);
        }
        data.push('\n');
    }
    let reply = raw.copy_in("COPY rows FROM STDIN", data.as_bytes());
    assert!(reply.error.is_none(), "{:?}", reply.error);
    raw.must("SET TimeZone = 'America/St_Johns'");
    raw
}

type Row = Vec<Option<Vec<u8>>>;

fn rows(raw: &mut Raw, sql: &str, format: Format) -> Vec<Row> {
    let mut reply = raw.extended(sql, &[], &[], format.code());
    assert!(reply.error.is_none(), "{sql}: {:?}", reply.error);
    reply.answers.remove(0).rows
}

fn frame(row: &Row) -> Bytes {
    let mut writer = RowWriter::new();
    writer.start();
    row.iter().for_each(|column| writer.column(column.as_deref()));
    writer.finish().unwrap()
}

fn run(combine: &Combine, columns: &[ColumnInfo], inputs: Vec<Vec<Row>>) -> Vec<Row> {
    let limits = MergeLimits { max_bytes: 1 << 28, memory: pgloom::memory::Memory::new(None) };
    let mut merge = Merge::new(combine, None, columns, TextStyle::default(), inputs.len(), limits).unwrap();
    let mut inputs: Vec<_> = inputs.into_iter().map(|rows| rows.into_iter()).collect();
    let mut out = Vec::new();
    let mut any = 0;
    loop {
        let input = match merge.advance().unwrap() {
            Advance::Need(input) => input,
            Advance::NeedAny => any,
            Advance::Row(row) => {
                out.push(RowView::parse(&row).unwrap().columns().map(|c| c.unwrap().map(<[u8]>::to_vec)).collect());
                continue;
            }
            Advance::Done => return out,
        };
        match inputs[input].next() {
            Some(row) => merge.push(input, frame(&row)).unwrap(),
            None => {
                merge.close(input);
                any += 1;
            }
        }
    }
}

fn info(type_oid: u32, collation: Collation, format: Format) -> ColumnInfo {
    ColumnInfo { type_oid, collation, format }
}

/// `sql` with `$shard` replaced, run for every shard.
fn per_shard(raw: &mut Raw, sql: &str, format: Format) -> Vec<Vec<Row>> {
    (0..SHARDS).map(|shard| rows(raw, &sql.replace("$shard", &shard.to_string()), format)).collect()
}

#[test]
fn sorted_shards_merge_into_the_order_of_postgres() {
    let mut raw = loaded(800, 10);
    for (name, _, type_oid, collation) in COLUMNS {
        for format in FORMATS {
            for (descending, nulls_first) in [(false, false), (true, false), (false, true), (true, true)] {
                let order = format!(
                    "{name} {} NULLS {}, id",
                    if descending { "DESC" } else { "ASC" },
                    if nulls_first { "FIRST" } else { "LAST" }
                );
                let expected = rows(&mut raw, &format!("SELECT {name}, id FROM rows ORDER BY {order}"), format);
                let shards = per_shard(
                    &mut raw,
                    &format!("SELECT {name}, id FROM rows WHERE shard = $shard ORDER BY {order}"),
                    format,
                );
                let columns = [info(type_oid, collation, format), info(oid::INT8, Collation::None, format)];
                let keys = vec![
                    SortKey { column: 0, descending, nulls_first },
                    SortKey { column: 1, descending: false, nulls_first: false },
                ];
                let combine = Combine { gather: Gather::MergeSort(keys.clone()), ..Combine::CONCAT };
                assert_eq!(run(&combine, &columns, shards.clone()), expected, "merge by {order}, {format:?}");
                let combine = Combine { steps: vec![Step::Sort(keys)], ..Combine::CONCAT };
                assert_eq!(run(&combine, &columns, shards), expected, "sort by {order}, {format:?}");
            }
        }
    }
}

#[test]
fn grouped_shards_have_the_groups_of_postgres() {
    let mut raw = loaded(800, 10);
    for (name, _, type_oid, collation) in COLUMNS {
        for format in FORMATS {
            let sql = format!("SELECT {name}, count(*), min(id) FROM rows GROUP BY {name} ORDER BY {name}");
            let expected = rows(&mut raw, &sql, format);
            let shards = per_shard(&mut raw, &sql.replace("FROM rows", "FROM rows WHERE shard = $shard"), format);
            let int8 = info(oid::INT8, Collation::None, format);
            let columns = [info(type_oid, collation, format), int8, int8];
            let outputs = [Fold::Key, Fold::Count, Fold::Min];
            let outputs: Vec<Output> =
                outputs.into_iter().enumerate().map(|(column, fold)| Output { column, fold }).collect();
            let keys = vec![SortKey { column: 0, descending: false, nulls_first: false }];
            let aggregate = |sorted| Step::Aggregate { groups: vec![0], sorted, outputs: outputs.clone() };
            let comparator = Comparator::equality(type_oid, collation, format, TextStyle::default()).unwrap();
            let sorted =
                Combine { gather: Gather::MergeSort(keys.clone()), steps: vec![aggregate(true)], ..Combine::CONCAT };
            let hashed =
                Combine { gather: Gather::Concat, steps: vec![aggregate(false), Step::Sort(keys)], ..Combine::CONCAT };
            for combine in [sorted, hashed] {
                let merged = run(&combine, &columns, shards.clone());
                assert_eq!(merged.len(), expected.len(), "{name} {format:?}");
                for (ours, theirs) in merged.iter().zip(&expected) {
                    // Any of the equal values may stand for the group (1.0 or 1.00, 0 or -0).
                    let same = match (&ours[0], &theirs[0]) {
                        (Some(ours), Some(theirs)) => comparator.equal(ours, theirs).unwrap(),
                        (ours, theirs) => ours == theirs,
                    };
                    assert!(same && ours[1..] == theirs[1..], "{name} {format:?}: {ours:?} and {theirs:?}");
                }
            }
        }
    }
}

/// The aggregate in SQL over all rows, the partial ones that shards compute with their types, and how they are folded.
type FoldCase = (String, Vec<(String, u32)>, Fold);

fn folds() -> Vec<FoldCase> {
    let mut folds = Vec::new();
    let mut simple = |sql: String, type_oid: u32, fold: Fold| folds.push((sql.clone(), vec![(sql, type_oid)], fold));
    for (column, sum) in [("i2", oid::INT8), ("i4", oid::INT8), ("i8", oid::NUMERIC), ("n", oid::NUMERIC)] {
        simple(format!("sum({column})"), sum, Fold::Sum);
        simple(format!("count({column})"), oid::INT8, Fold::Count);
    }
    simple("count(*)".into(), oid::INT8, Fold::Count);
    for (column, _, type_oid, _) in COLUMNS {
        // There is no min or max of booleans, uuids and byteas; equal numerics and floats may differ in their bytes.
        if !["b", "u", "by", "n", "f4", "f8"].contains(&column) {
            simple(format!("min({column})"), type_oid, Fold::Min);
            simple(format!("max({column})"), type_oid, Fold::Max);
        }
    }
    for (column, type_oid) in [("i2", oid::INT2), ("i4", oid::INT4), ("i8", oid::INT8)] {
        simple(format!("bit_and({column})"), type_oid, Fold::BitAnd);
        simple(format!("bit_or({column})"), type_oid, Fold::BitOr);
        simple(format!("bit_xor({column})"), type_oid, Fold::BitXor);
    }
    simple("bool_and(b)".into(), oid::BOOL, Fold::BoolAnd);
    simple("bool_or(b)".into(), oid::BOOL, Fold::BoolOr);
    for (column, sum) in [("i2", oid::INT8), ("i4", oid::INT8), ("i8", oid::NUMERIC), ("n", oid::NUMERIC)] {
        let partials = vec![(format!("sum({column})"), sum), (format!("count({column})"), oid::INT8)];
        folds.push((format!("avg({column})"), partials, Fold::Avg { count: 0 }));
    }
    folds
}

#[test]
fn partial_aggregates_fold_into_those_of_postgres() {
    // Groups of a few rows, so that there are thousands of sums and averages.
    let mut raw = loaded(8_000, 2_000);
    let folds = folds();
    let mut partials = vec!["g".to_owned()];
    let mut outputs = vec![Output { column: 0, fold: Fold::Key }];
    let mut types = vec![oid::INT4];
    for (_, parts, fold) in &folds {
        let column = partials.len();
        let fold = match fold {
            Fold::Avg { .. } => Fold::Avg { count: column + 1 },
            fold => *fold,
        };
        outputs.push(Output { column, fold });
        partials.extend(parts.iter().map(|(sql, _)| sql.clone()));
        types.extend(parts.iter().map(|(_, type_oid)| *type_oid));
    }
    let wholes: Vec<&str> = folds.iter().map(|(sql, ..)| sql.as_str()).collect();
    for format in FORMATS {
        let columns: Vec<ColumnInfo> = types.iter().map(|type_oid| info(*type_oid, Collation::Bytes, format)).collect();
        let expected =
            rows(&mut raw, &format!("SELECT g, {} FROM rows GROUP BY g ORDER BY g", wholes.join(", ")), format);
        let sql = format!("SELECT {} FROM rows WHERE shard = $shard GROUP BY g ORDER BY g", partials.join(", "));
        let shards = per_shard(&mut raw, &sql, format);
        let keys = vec![SortKey { column: 0, descending: false, nulls_first: false }];
        let aggregate = |groups, sorted| Step::Aggregate { groups, sorted, outputs: outputs.clone() };
        let sorted = Combine {
            gather: Gather::MergeSort(keys.clone()),
            steps: vec![aggregate(vec![0], true)],
            ..Combine::CONCAT
        };
        let hashed = Combine {
            gather: Gather::Concat,
            steps: vec![aggregate(vec![0], false), Step::Sort(keys)],
            ..Combine::CONCAT
        };
        for combine in [sorted, hashed] {
            let merged = run(&combine, &columns, shards.clone());
            assert_eq!(merged.len(), expected.len());
            for (ours, theirs) in merged.iter().zip(&expected) {
                for (column, whole) in ["g"].iter().chain(&wholes).enumerate() {
                    assert_eq!(ours[column], theirs[column], "{whole} of group {:?}, {format:?}", theirs[0]);
                }
            }
        }
        // Without GROUP BY, also over no rows at all.
        for condition in ["true", "n < 'Infinity'", "false"] {
            let sql = format!("SELECT {} FROM rows WHERE {condition}", wholes.join(", "));
            let expected = rows(&mut raw, &sql, format);
            let partials = partials[1..].join(", ");
            let shards = per_shard(
                &mut raw,
                &format!("SELECT 0, {partials} FROM rows WHERE shard = $shard AND {condition}"),
                format,
            );
            let outputs = outputs[1..].to_vec();
            let combine =
                Combine { steps: vec![Step::Aggregate { groups: vec![], sorted: false, outputs }], ..Combine::CONCAT };
            assert_eq!(run(&combine, &columns, shards), expected, "{condition}");
        }
    }
}

#[test]
fn min_and_max_of_numbers_are_equal_to_those_of_postgres() {
    let mut raw = loaded(6_000, 500);
    for (column, type_oid) in [("n", oid::NUMERIC), ("f4", oid::FLOAT4), ("f8", oid::FLOAT8)] {
        for format in FORMATS {
            let sql = format!("SELECT g, min({column}), max({column}) FROM rows GROUP BY g ORDER BY g");
            let expected = rows(&mut raw, &sql, format);
            let shards = per_shard(&mut raw, &sql.replace("FROM rows", "FROM rows WHERE shard = $shard"), format);
            let number = info(type_oid, Collation::None, format);
            let outputs = [Fold::Key, Fold::Min, Fold::Max];
            let outputs = outputs.into_iter().enumerate().map(|(column, fold)| Output { column, fold }).collect();
            let keys = vec![SortKey { column: 0, descending: false, nulls_first: false }];
            let steps = vec![Step::Aggregate { groups: vec![0], sorted: true, outputs }];
            let combine = Combine { gather: Gather::MergeSort(keys), steps, ..Combine::CONCAT };
            let comparator = Comparator::equality(type_oid, Collation::None, format, TextStyle::default()).unwrap();
            let merged = run(&combine, &[info(oid::INT4, Collation::None, format), number, number], shards);
            assert_eq!(merged.len(), expected.len());
            for (ours, theirs) in merged.iter().zip(&expected) {
                for at in [1, 2] {
                    match (&ours[at], &theirs[at]) {
                        (Some(ours), Some(theirs)) => {
                            assert!(comparator.equal(ours, theirs).unwrap(), "{column} {theirs:?}")
                        }
                        (ours, theirs) => assert_eq!(ours, theirs),
                    }
                }
            }
        }
    }
}

#[test]
fn a_key_value_and_the_wire_agree_on_what_is_equal() {
    let mut raw = loaded(400, 10);
    for (name, _, type_oid, collation) in COLUMNS {
        let Some(key) = KeyType::from_oid(type_oid) else { continue };
        let comparator = Comparator::equality(type_oid, collation, Format::Binary, TextStyle::default()).unwrap();
        let values: Vec<Vec<u8>> =
            rows(&mut raw, &format!("SELECT {name} FROM rows WHERE {name} IS NOT NULL"), Format::Binary)
                .into_iter()
                .map(|mut row| row.remove(0).unwrap())
                .collect();
        let keys: Vec<KeyValue<'_>> =
            values.iter().map(|v| key.parse_typed(type_oid, Format::Binary, v).unwrap()).collect();
        for (a, key_a) in values.iter().zip(&keys) {
            for (b, key_b) in values.iter().zip(&keys) {
                assert_eq!(comparator.equal(a, b).unwrap(), key_a == key_b, "{name} {key_a} {key_b}");
            }
        }
    }
}
