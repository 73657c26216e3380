//! Analyzer and planner: no text does harm, and a statement whose meaning is known here is routed by that meaning.
//!
//! Statements are made with what they mean ([`super::predicate`]) over small tables. Whatever shards the plan names, their rows must
//! give what all rows give; and the analysis of one call, as the plan cache keeps it, must give another call's own plan.

use pgloom::ids::{ShardId, ShardSet};
use pgloom::plan::{self, Inputs, Parameters, Plan, PlanKind, PullFrom, ShardSql};
use pgloom::sql::Analysis;
use pgloom::sql::template::Scan;
use pgloom::types::canonical::KeyValue;
use pgloom::types::oid;

use super::input::Input;
use super::predicate::{Maker, Sight};
use super::world::{Bound, World};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Big,
    Small,
    /// Text in byte order.
    Zone,
    /// Text in the order of some collation.
    Words,
}

impl Kind {
    pub fn oid(self) -> u32 {
        match self {
            Kind::Big => oid::INT8,
            Kind::Small => oid::INT4,
            Kind::Zone | Kind::Words => oid::TEXT,
        }
    }

    pub fn type_name(self) -> &'static str {
        match self {
            Kind::Big => "int8",
            Kind::Small => "int4",
            Kind::Zone | Kind::Words => "text",
        }
    }

    /// Whether values of both can be compared.
    pub fn like(self, other: Kind) -> bool {
        let number = |kind| matches!(kind, Kind::Big | Kind::Small);
        self == other || number(self) && number(other)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    Null,
    /// In tenths.
    Number(i64),
    Text(&'static str),
}

/// The rows of each table of [`TABLES`].
pub type Rows = [Vec<Vec<Value>>; TABLES.len()];

/// A table of the plan tests' world; `keys` of its columns are its sharding key.
pub struct Table {
    pub name: &'static str,
    columns: &'static [(&'static str, Kind)],
    keys: usize,
    /// A change that leaves the key alone.
    set: &'static str,
}

pub const TABLES: [Table; 5] = [
    Table {
        name: "orders",
        columns: &[("tenant_id", Kind::Big), ("id", Kind::Big), ("qty", Kind::Small)],
        keys: 1,
        set: "qty = 8",
    },
    Table {
        name: "lines",
        columns: &[("tenant_id", Kind::Big), ("order_id", Kind::Big), ("no", Kind::Small)],
        keys: 1,
        set: "qty = 8",
    },
    Table { name: "sites", columns: &[("region_id", Kind::Small), ("id", Kind::Small)], keys: 1, set: "name = 'n'" },
    Table { name: "racks", columns: &[("zone", Kind::Zone), ("id", Kind::Small)], keys: 1, set: "label = 'n'" },
    Table {
        name: "cells",
        columns: &[("a", Kind::Big), ("b", Kind::Words), ("v", Kind::Small)],
        keys: 2,
        set: "v = 8",
    },
];

impl Table {
    pub fn sight(&self, alias: &str) -> Vec<Sight> {
        self.columns.iter().map(|(name, kind)| Sight { name: format!("{alias}.{name}"), kind: *kind }).collect()
    }

    fn nulls(&self) -> Vec<Value> {
        vec![Value::Null; self.columns.len()]
    }
}

pub fn run(data: &[u8]) {
    WORLDS.with(|worlds| {
        let mut input = Input::new(data);
        let mode = input.byte();
        let ground = &worlds[usize::from(mode >> 1 & 1)];
        if mode & 1 == 0 {
            if let Ok(text) = std::str::from_utf8(input.rest()) {
                ground.world.explain(text, None);
                ground.world.advice(text, None);
            }
            return;
        }
        let (form, values) = input.rest().split_at(input_half(data.len() - 1));
        ground.check(form, [values, &values.iter().rev().map(|b| b.wrapping_add(1)).collect::<Vec<_>>()]);
    });
}

/// Of the bytes that make a statement, these are its form.
fn input_half(len: usize) -> usize {
    len - len / 4
}

/// A plan that forgets shards is noticed.
#[allow(dead_code)]
pub fn forgets_a_shard() {
    WORLDS.with(|[ground, _]| {
        let sql = "SELECT tenant_id, id, qty FROM orders";
        let what = What::Rows(Box::new(|rows: &Rows| rows[0].clone()));
        let call = Statement { sql: sql.to_owned(), bound: Bound(Vec::new()), what };
        let (scan, analysis) = ground.world.analyze(sql);
        let mut plan = ground.plan(&call, &scan, &analysis);
        ground.right(&call, &plan);
        plan.kind = PlanKind::Single(ShardId(0));
        ground.right(&call, &plan);
    });
}

thread_local! {
    /// Outside and inside of a transaction.
    static WORLDS: [Ground; 2] = [false, true].map(|in_transaction| {
        let mut world = World::new();
        world.in_transaction = in_transaction;
        Ground::new(world)
    });
}

struct Ground {
    world: World,
    all: Rows,
    shards: Vec<Rows>,
}

/// A statement and what it gives on some rows.
struct Statement {
    sql: String,
    bound: Bound,
    what: What,
}

/// The rows of an answer, given those of the tables.
type Answer = Box<dyn Fn(&Rows) -> Vec<Vec<Value>>>;

enum What {
    /// Rows that are read, or changed.
    Rows(Answer),
    /// Rows that come into a table.
    Insert(usize, Vec<Vec<Value>>),
}

impl Ground {
    fn new(world: World) -> Self {
        let number = |n: i64| Value::Number(n * 10);
        let mut all: Rows = Default::default();
        for tenant in [0, 1, 2, 3, 4, 5, 6, 7, -1, 50] {
            for id in [1, 2] {
                let qty = if (tenant + id) % 3 == 0 { Value::Null } else { number((tenant + id) % 3) };
                all[0].push(vec![number(tenant), number(id), qty]);
                if tenant % 3 != 2 {
                    all[1].push(vec![number(tenant), number(id), number(tenant % 4)]);
                }
            }
        }
        for region in [0, 5, 50, 99, 100, 105, 199, 200, 250, 300, 399] {
            all[2].push(vec![number(region), number(region % 7)]);
        }
        for (at, zone) in ["north", "east", "south", "west"].into_iter().enumerate() {
            all[3].push(vec![Value::Text(zone), number(at as i64)]);
            all[3].push(vec![Value::Text(zone), Value::Null]);
        }
        for a in 0..5 {
            for b in ["x", "y", "north"] {
                all[4].push(vec![number(a), Value::Text(b), if a == 3 { Value::Null } else { number(a) }]);
            }
        }
        let mut ground = Self { shards: vec![Rows::default(); world.topology.shards.len()], all, world };
        for (table, rows) in ground.all.iter().enumerate() {
            for row in rows {
                let shard = ground.place(table, row).expect("every row has a shard");
                ground.shards[shard.index()][table].push(row.clone());
            }
        }
        ground
    }

    /// Where a row of a table lies.
    fn place(&self, table: usize, row: &[Value]) -> Option<ShardId> {
        let key: Option<Vec<KeyValue<'_>>> = row[..TABLES[table].keys]
            .iter()
            .map(|value| match value {
                Value::Null => None,
                // As a number is rounded when it is stored.
                Value::Number(tenths) => Some(KeyValue::Int((tenths + 5 * tenths.signum()) / 10)),
                Value::Text(text) => Some(KeyValue::Text((*text).into())),
            })
            .collect();
        let name = pgloom::ids::QualifiedName::new("public", TABLES[table].name);
        let Some(pgloom::topology::TableRule::Sharded { distribution, .. }) = self.world.topology.rule(&name) else {
            panic!("{} is sharded", TABLES[table].name)
        };
        self.world.topology.distribution(*distribution).locate(&key?).ok()
    }

    fn check(&self, form: &[u8], values: [&[u8]; 2]) {
        let calls = values.map(|values| statement(form, values));
        let read = calls.each_ref().map(|call| self.world.analyze(&call.sql));
        for (call, (scan, analysis)) in calls.iter().zip(&read) {
            self.right(call, &self.plan(call, scan, analysis));
        }
        let [(first, kept), (second, own)] = &read;
        assert_eq!(first.template, second.template, "{}\n{}", calls[0].sql, calls[1].sql);
        let text = |call: usize, scan: &Scan, slot: usize| scan.slots[slot].text(&calls[call].sql).to_owned();
        let mut guards = (0..first.slots.len()).filter(|slot| !kept.free_slots.contains(&(*slot as u16)));
        if guards.all(|slot| text(0, first, slot) == text(1, second, slot)) {
            let explained = |analysis| self.world.explain_call(analysis, &calls[1].sql, second, Some(&calls[1].bound));
            assert_eq!(explained(kept), explained(own), "{}\n{}", calls[0].sql, calls[1].sql);
        }
    }

    fn plan(&self, call: &Statement, scan: &Scan, analysis: &Analysis) -> Plan {
        let parameters = Some(&call.bound as &dyn Parameters);
        plan::plan(analysis, &Inputs { text: &call.sql, slots: &scan.slots, parameters }, &self.world.view_of())
    }

    /// What the plan's shards have is what all have.
    fn right(&self, call: &Statement, plan: &Plan) {
        let worth = match &call.what {
            What::Rows(worth) => worth,
            What::Insert(table, rows) => return self.inserted(call, *table, rows, plan),
        };
        let whole = sorted(worth(&self.all));
        let on =
            |shards: &ShardSet| sorted(shards.iter().flat_map(|shard| worth(&self.shards[shard.index()])).collect());
        let wrong = || format!("{}\n{:?}\n{:?}", call.sql, plan.kind, call.bound.0);
        match &plan.kind {
            PlanKind::Single(shard) => assert_eq!(on(&ShardSet::from_iter([*shard])), whole, "{}", wrong()),
            PlanKind::Scatter { shards, .. } => assert_eq!(on(shards), whole, "{}", wrong()),
            PlanKind::Any => {
                for rows in &self.shards {
                    assert_eq!(sorted(worth(rows)), whole, "{}", wrong());
                }
            }
            PlanKind::Finish(finish) => {
                // Where it is not told of which table the rows are, all that the statement needs is taken to be there.
                let mut rows = self.all.clone();
                for (table, rows) in rows.iter_mut().enumerate() {
                    let pulls = finish
                        .pulls
                        .iter()
                        .filter(|pull| pull.table.as_ref().is_none_or(|name| &*name.name == TABLES[table].name));
                    let mut from = ShardSet::new();
                    for pull in pulls {
                        match &pull.from {
                            PullFrom::Shards(shards) if pull.table.is_some() => from.union_with(shards),
                            PullFrom::Shards(_) | PullFrom::Any | PullFrom::Copies(_) | PullFrom::One(_) => {
                                from.union_with(&self.world.topology.all_shards());
                            }
                        }
                    }
                    rows.retain(|row| self.place(table, row).is_some_and(|shard| from.contains(shard)));
                }
                assert_eq!(sorted(worth(&rows)), whole, "{}", wrong());
            }
            // Nothing runs, or not by shards of keys in the statement.
            PlanKind::Refuse(_)
            | PlanKind::Broadcast(_)
            | PlanKind::Each(_)
            | PlanKind::CreateAs(_)
            | PlanKind::Stamp(_)
            | PlanKind::Split { .. }
            | PlanKind::Deliver(_)
            | PlanKind::Supply(_)
            | PlanKind::Claim(_)
            | PlanKind::Locked(_)
            | PlanKind::CopyIn(_)
            | PlanKind::Explain(_)
            | PlanKind::Lookup(_)
            | PlanKind::Draw(_) => {}
        }
    }

    /// Each row comes to its own shard, once.
    fn inserted(&self, call: &Statement, table: usize, rows: &[Vec<Value>], plan: &Plan) {
        let mut expected: Vec<Option<ShardId>> = rows.iter().map(|row| self.place(table, row)).collect();
        expected.sort();
        let found = match &plan.kind {
            PlanKind::Single(shard) => vec![Some(*shard); rows.len()],
            PlanKind::Split { parts, .. } => {
                parts.iter().flat_map(|(shard, sql)| self.part(call, *shard, sql)).collect()
            }
            _ => return,
        };
        let mut found = found;
        found.sort();
        assert_eq!(found, expected, "{}\n{:?}", call.sql, plan.kind);
    }

    /// The rows that a shard is given: read as a statement of its own, it is for that shard alone.
    fn part(&self, call: &Statement, shard: ShardId, sql: &ShardSql) -> Vec<Option<ShardId>> {
        let ShardSql::Rewritten { text, parameters } = sql else { panic!("{} is not cut", call.sql) };
        let all = &call.bound.0;
        let bound = match parameters {
            None => all.clone(),
            Some(used) => used.iter().map(|index| all[usize::from(*index)].clone()).collect(),
        };
        let part = Statement { sql: text.to_string(), bound: Bound(bound), what: What::Insert(0, Vec::new()) };
        let (scan, analysis) = self.world.analyze(&part.sql);
        let plan = self.plan(&part, &scan, &analysis);
        assert!(matches!(plan.kind, PlanKind::Single(on) if on == shard), "{}\n{text} on {shard:?}", call.sql);
        let rows = text.matches("/*r*/").count();
        vec![Some(shard); rows]
    }
}

fn sorted(mut rows: Vec<Vec<Value>>) -> Vec<Vec<Value>> {
    rows.sort();
    rows
}

fn statement(form: &[u8], values: &[u8]) -> Statement {
    let mut maker =
        Maker { form: Input::new(form), values: Input::new(values), parameters: Bound(Vec::new()), queries: 0 };
    let (sql, what) = match maker.form.below(12) {
        0..=2 => select(&mut maker),
        3 => change(&mut maker),
        4..=6 => join(&mut maker),
        7 => within(&mut maker),
        8 => union(&mut maker),
        9 => insert(&mut maker),
        _ => select(&mut maker),
    };
    Statement { sql, bound: maker.parameters, what }
}

fn names(sight: &[Sight]) -> String {
    sight.iter().map(|column| &*column.name).collect::<Vec<_>>().join(", ")
}

fn select(maker: &mut Maker<'_>) -> (String, What) {
    let table = maker.form.below(TABLES.len());
    let depth = maker.form.below(4);
    let sight = TABLES[table].sight("t");
    let condition = maker.condition(&sight, depth);
    let sql = format!("SELECT {} FROM {} t WHERE {}", names(&sight), TABLES[table].name, condition.sql);
    let worth = move |rows: &Rows| -> Vec<Vec<Value>> {
        rows[table].iter().filter(|row| (condition.worth)(rows, row) == Some(true)).cloned().collect()
    };
    (sql, What::Rows(Box::new(worth)))
}

/// UPDATE or DELETE: the rows that are changed.
fn change(maker: &mut Maker<'_>) -> (String, What) {
    let table = maker.form.below(TABLES.len());
    let depth = maker.form.below(3);
    let condition = maker.condition(&TABLES[table].sight("t"), depth);
    let Table { name, set, .. } = TABLES[table];
    let sql = match maker.form.yes() {
        true => format!("UPDATE {name} t SET {set} WHERE {}", condition.sql),
        false => format!("DELETE FROM {name} t WHERE {}", condition.sql),
    };
    let worth = move |rows: &Rows| -> Vec<Vec<Value>> {
        rows[table].iter().filter(|row| (condition.worth)(rows, row) == Some(true)).cloned().collect()
    };
    (sql, What::Rows(Box::new(worth)))
}

fn join(maker: &mut Maker<'_>) -> (String, What) {
    let (left, right) = (maker.form.below(TABLES.len()), maker.form.below(TABLES.len()));
    let (mut sight, others) = (TABLES[left].sight("a"), TABLES[right].sight("b"));
    sight.extend(others);
    let kind = maker.form.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", ","]);
    let depth = maker.form.below(3);
    let mut on = maker.condition(&sight, depth);
    // By their keys, as most joins are.
    let (first, second) = (&sight[0], &sight[TABLES[left].columns.len()]);
    if maker.form.below(4) != 3 && first.kind.like(second.kind) {
        let also = on.clone();
        let at = TABLES[left].columns.len();
        on.sql = format!("{} = {} AND ({})", first.name, second.name, also.sql);
        on.worth = std::rc::Rc::new(move |rows, row| {
            let equal = row[0] != Value::Null && row[0] == row[at];
            if equal { (also.worth)(rows, row) } else { Some(false) }
        });
    }
    let depth = maker.form.below(3);
    let filter = maker.condition(&sight, depth);
    let (a, b) = (TABLES[left].name, TABLES[right].name);
    let sql = match kind {
        "," => format!("SELECT {} FROM {a} a, {b} b WHERE ({}) AND ({})", names(&sight), on.sql, filter.sql),
        _ => format!("SELECT {} FROM {a} a {kind} {b} b ON {} WHERE {}", names(&sight), on.sql, filter.sql),
    };
    let worth = move |rows: &Rows| -> Vec<Vec<Value>> {
        let mut joined = Vec::new();
        let mut met = vec![false; rows[right].len()];
        for one in &rows[left] {
            let mut alone = true;
            for (at, other) in rows[right].iter().enumerate() {
                let both = [one.as_slice(), other].concat();
                if (on.worth)(rows, &both) == Some(true) {
                    (alone, met[at]) = (false, true);
                    joined.push(both);
                }
            }
            if alone && kind == "LEFT JOIN" {
                joined.push([one.as_slice(), &TABLES[right].nulls()].concat());
            }
        }
        if kind == "RIGHT JOIN" {
            let alone = rows[right].iter().zip(&met).filter(|(_, met)| !**met);
            joined.extend(alone.map(|(row, _)| [TABLES[left].nulls().as_slice(), row].concat()));
        }
        joined.retain(|row| (filter.worth)(rows, row) == Some(true));
        joined
    };
    (sql, What::Rows(Box::new(worth)))
}

/// A query over another one, in FROM or in WITH.
fn within(maker: &mut Maker<'_>) -> (String, What) {
    let table = maker.form.below(TABLES.len());
    let depth = maker.form.below(3);
    let sight = TABLES[table].sight("t");
    let inner = maker.condition(&sight, depth);
    let outer_sight = TABLES[table].sight("s");
    let depth = maker.form.below(3);
    let outer = maker.condition(&outer_sight, depth);
    let query = format!("SELECT {} FROM {} t WHERE {}", names(&sight), TABLES[table].name, inner.sql);
    let sql = match maker.form.yes() {
        true => format!("WITH s AS ({query}) SELECT {} FROM s WHERE {}", names(&outer_sight), outer.sql),
        false => format!("SELECT {} FROM ({query}) s WHERE {}", names(&outer_sight), outer.sql),
    };
    let worth = move |rows: &Rows| -> Vec<Vec<Value>> {
        let found = rows[table].iter().filter(|row| (inner.worth)(rows, row) == Some(true));
        found.filter(|row| (outer.worth)(rows, row) == Some(true)).cloned().collect()
    };
    (sql, What::Rows(Box::new(worth)))
}

fn union(maker: &mut Maker<'_>) -> (String, What) {
    let mut parts = Vec::new();
    for alias in ["t", "u"] {
        let table = maker.form.below(TABLES.len());
        let depth = maker.form.below(3);
        let condition = maker.condition(&TABLES[table].sight(alias), depth);
        parts.push((table, alias, condition));
    }
    let texts = parts.iter().map(|(table, alias, condition)| {
        // The last column of each is a number.
        let column = TABLES[*table].sight(alias).pop().expect("tables have columns").name;
        format!("SELECT {column} FROM {} {alias} WHERE {}", TABLES[*table].name, condition.sql)
    });
    let sql = texts.collect::<Vec<_>>().join(" UNION ALL ");
    let worth = move |rows: &Rows| -> Vec<Vec<Value>> {
        let of = |(table, _, condition): &(usize, &str, super::predicate::Condition)| {
            let found = rows[*table].iter().filter(|row| (condition.worth)(rows, row) == Some(true));
            found.map(|row| row[row.len() - 1..].to_vec()).collect::<Vec<_>>()
        };
        parts.iter().flat_map(of).collect()
    };
    (sql, What::Rows(Box::new(worth)))
}

fn insert(maker: &mut Maker<'_>) -> (String, What) {
    let table = maker.form.below(TABLES.len());
    let columns = TABLES[table].columns;
    let nothing: Rows = Rows::default();
    let (mut texts, mut rows) = (Vec::new(), Vec::new());
    for _ in 0..1 + maker.form.below(4) {
        let values: Vec<_> = columns.iter().map(|(_, kind)| maker.constant(*kind, Some(kind.oid()))).collect();
        let written: Vec<&str> = values.iter().map(|value| &*value.sql).collect();
        texts.push(format!("(/*r*/{})", written.join(", ")));
        rows.push(values.iter().map(|value| (value.worth)(&nothing, &[])).collect());
    }
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let sql = format!("INSERT INTO {} ({}) VALUES {}", TABLES[table].name, names.join(", "), texts.join(", "));
    (sql, What::Insert(table, rows))
}
