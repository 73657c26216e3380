//! Statements made from a seed over the tables of `wide.rs`: every common type, every method of placement, values as literals and as
//! parameters (declared, cast, or left to be inferred). Where there is a LIMIT or a window, the order is total.

use std::fmt::Write;

use crate::corpus::{Case, Form, Param};
use crate::kinds::{FOLDS, KINDS, Kind, MAKES, SCALAR_FOLDS, TESTS};
use crate::support::Random;
use crate::wide::WIDE;

/// What makes an array of the column's type. One of an enum has the number of its type inside when it is sent as binary: that of the home
/// shard, as the columns are described, which is another than the one Postgres's. Such an answer is asked for as text.
const NUMBERED: [&str; 4] = ["array_agg(", "percentile_disc(ARRAY", "enum_range(NULL, {c})", "ARRAY[{c}]"];

/// Tables whose rows lie together, so that whole statements can go to the shards; statements over any tables are mostly finished elsewhere.
const NEAR: &[&[&str]] = &[
    &["wide_pair", "wide_also"],
    &["wide_pair", "wide_also", "wide_same"],
    &["wide_hash", "wide_none", "wide_hash"],
    &["wide_range", "wide_same"],
    &["wide_group"],
    &["wide_parts"],
    &["wide_list"],
];

const INT4: u32 = 23;
const INT8: u32 = 20;

/// A FROM item in scope.
#[derive(Clone)]
struct Item {
    name: String,
    kinds: &'static [Kind],
    /// What tells its rows from each other.
    unique: Vec<String>,
    /// A column that is of no kind.
    extra: Option<String>,
}

impl Item {
    fn table(name: &str) -> Self {
        let unique = vec![format!("{name}.a"), format!("{name}.n")];
        Self { name: name.to_owned(), kinds: KINDS, unique, extra: None }
    }
}

struct Maker<'r> {
    random: &'r mut Random,
    /// Whether values are sent as parameters.
    parameters: bool,
    params: Vec<Param>,
    types: Vec<u32>,
    names: usize,
    ctes: Vec<(String, String)>,
    /// Without subqueries, derived tables and aggregates of any type: mostly merged, where others are finished by a Postgres.
    plain: bool,
    /// The tables it is about.
    tables: &'static [&'static str],
    /// Whether its answer has an array of an enum.
    numbered: bool,
}

/// One statement; `number` names it.
pub fn statement(random: &mut Random, number: usize) -> Case {
    let parameters = random.chance(55);
    let plain = random.chance(35);
    let tables = if random.chance(45) { *random.pick(NEAR) } else { &[] };
    let mut maker = Maker {
        random,
        parameters,
        params: Vec::new(),
        types: Vec::new(),
        names: 0,
        ctes: Vec::new(),
        plain,
        tables,
        numbered: false,
    };
    let sql = maker.statement();
    let (params, types, numbered) = (maker.params, maker.types, maker.numbered);
    let mut case = Case::plain(format!("typed {number}"), sql);
    case.forms = match params.is_empty() {
        true => vec![Form::Simple, *random.pick(&[Form::Text, Form::Binary, Form::Portal])],
        false => vec![*random.pick(&[Form::Text, Form::Binary]), *random.pick(&[Form::Simple, Form::Portal])],
    };
    if numbered {
        case.forms.iter_mut().filter(|form| **form == Form::Binary).for_each(|form| *form = Form::Text);
    }
    case.params = params;
    case.types = types;
    case
}

impl Maker<'_> {
    fn statement(&mut self) -> String {
        let body = match self.random.below(12) {
            0..=3 => self.rows(),
            4 | 5 => self.totals(),
            6 | 7 => self.grouped(),
            8 => self.distinct(),
            9 => self.combined(),
            10 => self.windows(),
            _ => self.sets(),
        };
        let list: Vec<String> = self.ctes.iter().map(|(name, query)| format!("{name} AS ({query})")).collect();
        if list.is_empty() { body } else { format!("WITH {} {body}", list.join(", ")) }
    }

    // Values.

    /// A value of the kind; `free`: it stands beside a column, which tells its type.
    fn value(&mut self, kind: &Kind, free: bool) -> String {
        let null = self.random.chance(4);
        let text = *self.random.pick(kind.values);
        if self.parameters && self.random.chance(60) {
            return self.parameter((!null).then_some(text), kind.sql_type, kind.oid, free);
        }
        let is_number = matches!(kind.sql_type, "int2" | "int4" | "int8" | "float4" | "float8" | "numeric");
        let is_finite = text.parse::<f64>().is_ok_and(f64::is_finite);
        match self.random.below(3) {
            0 if null && free => "NULL".to_owned(),
            _ if null => format!("NULL::{}", kind.sql_type),
            0 if free => quoted(text),
            1 if is_number && is_finite => text.to_owned(),
            _ => format!("{}::{}", quoted(text), kind.sql_type),
        }
    }

    fn parameter(&mut self, value: Option<&str>, sql_type: &str, oid: u32, free: bool) -> String {
        self.params.push(value.map(str::to_owned));
        let number = self.params.len();
        let style = self.random.below(3);
        let declared = style == 0 && oid != 0;
        self.types.push(if declared { oid } else { 0 });
        if declared || (style == 1 && free) { format!("${number}") } else { format!("${number}::{sql_type}") }
    }

    fn integer(&mut self) -> String {
        let value = self.random.below(7).to_string();
        match self.parameters && self.random.chance(50) {
            true => self.parameter(Some(&value), "int", INT4, false),
            false => value,
        }
    }

    /// An array of values of the kind, as the right side of ANY.
    fn array(&mut self, kind: &Kind) -> String {
        let values: Vec<&str> = (0..1 + self.random.below(4)).map(|_| *self.random.pick(kind.values)).collect();
        let quote = |value: &&str| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
        let text = format!("{{{}}}", values.iter().map(quote).collect::<Vec<_>>().join(","));
        match self.parameters && self.random.chance(70) {
            // Beside what takes any range or enum, a parameter's type is not inferred.
            true => {
                let inferred = kind.oid != 0 && kind.sql_type != "int4range";
                self.parameter(Some(&text), &format!("{}[]", kind.sql_type), 0, inferred)
            }
            false => format!("{}::{}[]", quoted(&text), kind.sql_type),
        }
    }

    /// A text of `kinds.rs` with its marks filled in.
    fn fill(&mut self, text: &str, kind: &Kind, column: &str, free: bool) -> String {
        self.numbered |= kind.oid == 0 && NUMBERED.iter().any(|made| text.contains(made));
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let made = match rest.get(..3) {
                Some("{c}") => Some(column.to_owned()),
                Some("{v}") => Some(self.value(kind, free)),
                Some("{i}") => Some(self.integer()),
                _ => None,
            };
            let taken = if made.is_some() { 3 } else { 1 };
            out.push_str(made.as_deref().unwrap_or("{"));
            rest = &rest[taken..];
        }
        out + rest
    }

    // Columns and what is made of them.

    fn column(&mut self, items: &[Item]) -> (&'static Kind, String) {
        let items: Vec<&Item> = items.iter().filter(|item| !item.kinds.is_empty()).collect();
        let item = *self.random.pick(&items);
        let kind = self.random.pick(item.kinds);
        (kind, format!("{}.{}", item.name, kind.column))
    }

    fn make(&mut self, items: &[Item]) -> String {
        let (kind, column) = self.column(items);
        let text = *if self.random.chance(60) { self.random.pick(kind.makes) } else { self.random.pick(MAKES) };
        self.fill(text, kind, &column, false)
    }

    fn key(&mut self, items: &[Item]) -> String {
        let (kind, column) = self.column(items);
        let text = if self.random.chance(60) { "{c}" } else { *self.random.pick(kind.keys) };
        self.fill(text, kind, &column, false)
    }

    fn fold(&mut self, items: &[Item]) -> String {
        if self.random.chance(12) {
            return "count(*)".to_owned();
        }
        let (kind, column) = self.column(items);
        let text = match self.random.below(10) {
            _ if self.plain => *self.random.pick(kind.folds),
            0..=4 => *self.random.pick(kind.folds),
            5 | 6 if !kind.is_array() => *self.random.pick(SCALAR_FOLDS),
            _ => *self.random.pick(FOLDS),
        };
        let fold = self.fill(text, kind, &column, false);
        if !self.random.chance(20) || !text.ends_with(')') || text.contains("FILTER") {
            return fold;
        }
        format!("{fold} FILTER (WHERE {})", self.test(items))
    }

    fn folds(&mut self, items: &[Item]) -> String {
        let list: Vec<String> = (0..1 + self.random.below(3)).map(|_| self.fold(items)).collect();
        list.join(", ")
    }

    /// Different keys to group by.
    fn keys(&mut self, items: &[Item], most: usize) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for _ in 0..1 + self.random.below(most) {
            let key = self.key(items);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    // Conditions.

    fn test(&mut self, items: &[Item]) -> String {
        let (kind, column) = self.column(items);
        match self.random.chance(55) {
            true => {
                let text = *self.random.pick(TESTS);
                self.fill(text, kind, &column, true)
            }
            false => {
                let text = *self.random.pick(kind.tests);
                format!("({})", self.fill(text, kind, &column, false))
            }
        }
    }

    /// What may lead to some shards only.
    fn key_test(&mut self, item: &Item) -> String {
        let [a, n] = [&KINDS[0], &KINDS[1]];
        let name = &item.name;
        match self.random.below(7) {
            0 => format!("{name}.n = {}", self.value(n, true)),
            1 => format!("{name}.a = {}", self.value(a, true)),
            2 => format!("{name}.a = {} AND {name}.n = {}", self.value(a, true), self.value(n, true)),
            3 => {
                let [one, two] = [0, 1].map(|_| format!("({}, {})", self.value(a, true), self.value(n, true)));
                format!("({name}.a, {name}.n) IN ({one}, {two})")
            }
            4 => format!("{name}.n IN ({}, {})", self.value(n, true), self.value(n, true)),
            5 => format!("{name}.n = ANY ({})", self.array(n)),
            _ => format!("{name}.a = {} AND {name}.n < {}", self.value(a, true), self.value(n, true)),
        }
    }

    fn condition(&mut self, items: &[Item], depth: usize) -> String {
        let keyed: Vec<Item> = items.iter().filter(|item| !item.kinds.is_empty()).cloned().collect();
        let item = self.random.pick(&keyed).clone();
        match self.random.below(if depth < 2 && !self.plain { 14 } else { 8 }) {
            0 | 1 => self.key_test(&item),
            2 => {
                let (kind, column) = self.column(items);
                match kind.is_array() {
                    true => self.test(items),
                    false => format!("{column} = ANY ({})", self.array(kind)),
                }
            }
            3..=7 => self.test(items),
            8 => format!("({} OR {})", self.condition(items, depth + 1), self.condition(items, depth + 1)),
            9 => format!("NOT ({})", self.condition(items, depth + 1)),
            10 => {
                let inner = Item::table(&self.name());
                let filter = self.filter(std::slice::from_ref(&inner), depth + 1);
                let (kind, outer) = self.column(std::slice::from_ref(&item));
                let not = *self.random.pick(&["", "", "NOT "]);
                format!(
                    "{outer} {not}IN (SELECT {z}.{} FROM {} {z}{filter})",
                    kind.column,
                    self.table(),
                    z = inner.name
                )
            }
            11 => {
                let (from, filter) = self.tied(&item, depth);
                format!("{}EXISTS (SELECT 1 FROM {from}{filter})", self.random.pick(&["", "NOT "]))
            }
            12 => {
                let inner = Item::table(&self.name());
                let filter = self.filter(std::slice::from_ref(&inner), depth + 1);
                let (x, z) = (&item.name, &inner.name);
                format!("({x}.a, {x}.n) IN (SELECT {z}.a, {z}.n FROM {} {z}{filter})", self.table())
            }
            _ => {
                let (from, filter) = self.tied(&item, depth);
                format!("(SELECT count(*) FROM {from}{filter}) > {}", self.integer())
            }
        }
    }

    fn filter(&mut self, items: &[Item], depth: usize) -> String {
        let parts: Vec<String> = (0..self.random.below(4)).map(|_| self.condition(items, depth)).collect();
        if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) }
    }

    /// FROM and WHERE of a subquery that is tied to the item around it.
    fn tied(&mut self, outer: &Item, depth: usize) -> (String, String) {
        let inner = Item::table(&self.name());
        let filter = self.filter(std::slice::from_ref(&inner), depth + 1);
        let (x, z) = (&outer.name, &inner.name);
        let tie = match self.random.below(3) {
            0 => format!("{z}.n = {x}.n"),
            1 => format!("{z}.a = {x}.a AND {z}.n = {x}.n"),
            _ => {
                let kind = self.random.pick(outer.kinds).column;
                format!("{z}.{kind} = {x}.{kind} AND {z}.n < {x}.n")
            }
        };
        let filter = if filter.is_empty() { format!(" WHERE {tie}") } else { format!("{filter} AND {tie}") };
        (format!("{} {z}", self.table()), filter)
    }

    // FROM.

    fn name(&mut self) -> String {
        self.names += 1;
        format!("x{}", self.names)
    }

    fn table(&mut self) -> &'static str {
        if self.tables.is_empty() { self.random.pick(WIDE).name } else { self.random.pick::<&str>(self.tables) }
    }

    fn from(&mut self) -> (String, Vec<Item>) {
        let mut items = Vec::new();
        let mut from = self.item(&mut items);
        let joined = *self.random.pick(if self.plain { &[1, 1, 1, 2] } else { &[1, 1, 2, 2, 2, 3, 3, 4] });
        for _ in 1..joined {
            let left =
                self.random.pick(&items.iter().filter(|i| !i.kinds.is_empty()).cloned().collect::<Vec<_>>()).clone();
            self.join(&mut from, &left, &mut items);
        }
        (from, items)
    }

    fn join(&mut self, from: &mut String, left: &Item, items: &mut Vec<Item>) {
        let x = &left.name;
        let outer = *self.random.pick(&["JOIN", "LEFT JOIN"]);
        match self.random.below(20) {
            0 if left.kinds.len() > 2 => {
                let (kind, name) = (*self.random.pick(&["ai", "ta"]), self.name());
                let _ = write!(from, " {outer} LATERAL unnest({x}.{kind}) WITH ORDINALITY {name}(v, o) ON true");
                let (unique, extra) = (vec![format!("{name}.o")], Some(format!("{name}.v")));
                items.push(Item { name, kinds: &[], unique, extra });
            }
            1 => {
                let (name, table) = (self.name(), self.table());
                let test = self.test(&[Item::table("z")]);
                let _ = write!(
                    from,
                    " {outer} LATERAL (SELECT * FROM {table} z WHERE z.n = {x}.n AND {test} ORDER BY z.a, z.n LIMIT 1) {name} ON true"
                );
                items.push(Item::table(&name));
            }
            2 => {
                let name = self.name();
                let rows: Vec<String> = ["3", "10", "42", "NULL"]
                    .iter()
                    .map(|n| format!("({n}::int8, {})", self.value(&KINDS[0], false)))
                    .collect();
                let _ = write!(from, " {outer} (VALUES {}) {name}(n, a) ON {name}.n = {x}.n", rows.join(", "));
                let unique = vec![format!("{name}.n")];
                items.push(Item { name, kinds: &KINDS[..2], unique, extra: None });
            }
            _ => {
                let right = self.item(items);
                let Some(y) = items.last().map(|item| item.name.clone()) else { return };
                let kind = *self.random.pick(&["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
                let columns = if left.kinds.len() > 2 { KINDS } else { &KINDS[..2] };
                let other = self.random.pick(columns).column;
                let mut on = match self.random.below(12) {
                    0..=4 => format!("{x}.a = {y}.a AND {x}.n = {y}.n"),
                    5 | 6 => format!("{x}.n = {y}.n"),
                    7 | 8 => format!("{x}.n = {y}.n AND {x}.{other} = {y}.{other}"),
                    9 => format!("{x}.{other} = {y}.{other} AND {x}.n < 20 AND {y}.n BETWEEN 5 AND 40"),
                    10 => format!("{x}.n = {y}.i4"),
                    _ if kind == "FULL JOIN" => format!("{x}.{other} = {y}.{other} AND {y}.n = {x}.n"),
                    _ => format!("{x}.n = {y}.n AND {x}.{other} IS NOT DISTINCT FROM {y}.{other}"),
                };
                if self.random.chance(30) {
                    let of = if self.random.chance(50) { left.clone() } else { Item::table(&y) };
                    let test = self.test(&[of]);
                    let _ = write!(on, " AND {test}");
                }
                let _ = write!(from, " {kind} {right} ON {on}");
            }
        }
    }

    /// A table, a derived one, or one of WITH.
    fn item(&mut self, items: &mut Vec<Item>) -> String {
        let name = self.name();
        items.push(Item::table(&name));
        if self.plain || self.random.chance(80) {
            return format!("{} {name}", self.table());
        }
        let inner = Item::table("z");
        let filter = self.filter(std::slice::from_ref(&inner), 2);
        let table = self.table();
        let kind = self.random.pick(KINDS).column;
        let query = match self.random.below(6) {
            0 | 1 => format!("SELECT * FROM {table} z{filter}"),
            2 => format!(
                "SELECT * FROM {table} z{filter} ORDER BY z.{kind}{}, z.a, z.n LIMIT {}",
                self.direction(),
                10 + self.random.below(40)
            ),
            3 => format!("SELECT DISTINCT ON (z.{kind}) * FROM {table} z{filter} ORDER BY z.{kind}, z.a, z.n"),
            _ => {
                let word = *self.random.pick(&["UNION", "INTERSECT", "EXCEPT"]);
                format!("SELECT * FROM {table} z{filter} {word} SELECT * FROM {}", self.table())
            }
        };
        if self.random.chance(40) {
            let cte = self.name();
            self.ctes.push((cte.clone(), query));
            return format!("{cte} {name}");
        }
        format!("({query}) {name}")
    }

    // The end of the statement.

    fn direction(&mut self) -> &'static str {
        self.random.pick::<&str>(&["", "", " DESC", " ASC", " NULLS FIRST", " DESC NULLS LAST", " ASC NULLS LAST"])
    }

    /// LIMIT and OFFSET, or nothing.
    fn limit(&mut self) -> String {
        let mut out = String::new();
        for (word, chance, values) in
            [("LIMIT", 60, ["0", "1", "5", "20", "1000"]), ("OFFSET", 30, ["0", "1", "3", "30", "5000"])]
        {
            if !self.random.chance(chance) {
                continue;
            }
            let value = *self.random.pick(&values);
            let value = match self.parameters && self.random.chance(50) {
                true => self.parameter(Some(value), "int8", INT8, true),
                false => value.to_owned(),
            };
            let _ = write!(out, " {word} {value}");
        }
        out
    }

    /// ORDER BY some columns and then what is unique.
    fn order(&mut self, items: &[Item]) -> String {
        let mut order: Vec<String> = Vec::new();
        for _ in 0..self.random.below(3) {
            let by = if self.random.chance(25) { self.make(items) } else { self.column(items).1 };
            order.push(format!("{by}{}", self.direction()));
        }
        order.extend(items.iter().flat_map(|item| item.unique.iter().cloned()));
        order.join(", ")
    }

    fn rows(&mut self) -> String {
        let (from, items) = self.from();
        let filter = self.filter(&items, 0);
        let mut list: Vec<String> = items.iter().filter_map(|item| item.extra.clone()).collect();
        for _ in 0..1 + self.random.below(4) {
            let made = match self.random.below(20) {
                0..=10 => self.column(&items).1,
                11..=17 => self.make(&items),
                18 => {
                    let outer = self.random.pick(&items).clone();
                    match outer.kinds.is_empty() {
                        true => self.column(&items).1,
                        false => self.scalar(&outer),
                    }
                }
                _ => format!("{}.*", self.random.pick(&items).name),
            };
            list.push(made);
        }
        let mut sql = format!("SELECT {} FROM {from}{filter}", list.join(", "));
        if self.random.chance(65) {
            let (order, limit) = (self.order(&items), self.limit());
            let _ = write!(sql, " ORDER BY {order}{limit}");
        }
        sql
    }

    fn scalar(&mut self, outer: &Item) -> String {
        let (from, filter) = self.tied(outer, 1);
        let kind = self.random.pick(KINDS);
        let fold = *self.random.pick(kind.folds);
        // The alias is what the table's name is followed by.
        let alias = from.rsplit(' ').next().unwrap_or_default().to_owned();
        let fold = self.fill(fold, kind, &format!("{alias}.{}", kind.column), false);
        format!("(SELECT {fold} FROM {from}{filter})")
    }

    fn totals(&mut self) -> String {
        let (from, items) = self.from();
        let filter = self.filter(&items, 0);
        format!("SELECT {} FROM {from}{filter}", self.folds(&items))
    }

    fn grouped(&mut self) -> String {
        let (from, items) = self.from();
        let filter = self.filter(&items, 0);
        let (keys, folds) = (self.keys(&items, 2), self.folds(&items));
        let list = keys.join(", ");
        // A constant or a key that is a number would be taken for a position; none is.
        let by = match self.random.chance(50) {
            true => list.clone(),
            false => (1..=keys.len()).map(|at| at.to_string()).collect::<Vec<_>>().join(", "),
        };
        let mut sql = format!("SELECT {list}, {folds} FROM {from}{filter} GROUP BY {by}");
        if self.random.chance(25) {
            let (fold, number) = (self.column(&items).1, self.integer());
            let _ = write!(sql, " HAVING count({fold}) > {number}");
        }
        if self.random.chance(65) {
            let order: Vec<String> = (1..=keys.len()).map(|at| format!("{at}{}", self.direction())).collect();
            let first = if self.random.chance(25) { "count(*) DESC, " } else { "" };
            let limit = self.limit();
            let _ = write!(sql, " ORDER BY {first}{}{limit}", order.join(", "));
        }
        sql
    }

    /// Not ordered: where one of the keys is a constant by a condition, Postgres leaves it out of its sorting.
    fn sets(&mut self) -> String {
        let (from, items) = self.from();
        let filter = self.filter(&items, 0);
        let (keys, folds) = (self.keys(&items, 2), self.folds(&items));
        let list = keys.join(", ");
        let by = match self.random.below(3) {
            0 => format!("ROLLUP ({list})"),
            1 => format!("CUBE ({list})"),
            _ => format!("GROUPING SETS (({list}), ({}), ())", keys[0]),
        };
        format!("SELECT {list}, {folds} FROM {from}{filter} GROUP BY {by}")
    }

    fn distinct(&mut self) -> String {
        let (from, items) = self.from();
        let filter = self.filter(&items, 0);
        if self.random.chance(40) {
            let (_, on) = self.column(&items);
            let (_, other) = self.column(&items);
            let unique: Vec<String> = items.iter().flat_map(|item| item.unique.iter().cloned()).collect();
            let (direction, limit) = (self.direction(), self.limit());
            let unique = unique.join(", ");
            return format!(
                "SELECT DISTINCT ON ({on}) {on}, {other}, {unique} FROM {from}{filter} ORDER BY {on}{direction}, {unique}{limit}"
            );
        }
        let keys = self.keys(&items, 3);
        let mut sql = format!("SELECT DISTINCT {} FROM {from}{filter}", keys.join(", "));
        if self.random.chance(65) {
            let order: Vec<String> = (1..=keys.len()).map(|at| format!("{at}{}", self.direction())).collect();
            let limit = self.limit();
            let _ = write!(sql, " ORDER BY {}{limit}", order.join(", "));
        }
        sql
    }

    /// Set operations over the same columns of several tables.
    fn combined(&mut self) -> String {
        let kinds: Vec<&'static Kind> = (0..1 + self.random.below(3)).map(|_| self.random.pick(KINDS)).collect();
        let mut sql = String::new();
        for arm in 0..2 + usize::from(self.random.chance(25)) {
            if arm > 0 {
                let words = ["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"];
                let _ = write!(sql, " {} ", self.random.pick(&words));
            }
            let item = Item::table(&self.name());
            let columns: Vec<String> = kinds.iter().map(|kind| format!("{}.{}", item.name, kind.column)).collect();
            let (table, filter) = (self.table(), self.filter(std::slice::from_ref(&item), 1));
            let _ = write!(sql, "SELECT {} FROM {table} {}{filter}", columns.join(", "), item.name);
        }
        if self.random.chance(65) {
            let order: Vec<String> = (1..=kinds.len()).map(|at| format!("{at}{}", self.direction())).collect();
            let limit = self.limit();
            let _ = write!(sql, " ORDER BY {}{limit}", order.join(", "));
        }
        sql
    }

    fn windows(&mut self) -> String {
        let (from, items) = self.from();
        let filter = self.filter(&items, 0);
        let unique: Vec<String> = items.iter().flat_map(|item| item.unique.iter().cloned()).collect();
        let unique = unique.join(", ");
        let mut list = vec![unique.clone()];
        for _ in 0..1 + self.random.below(2) {
            let ((_, one), (_, two)) = (self.column(&items), self.column(&items));
            let direction = self.direction();
            list.push(match self.random.below(10) {
                0 => format!("row_number() OVER (PARTITION BY {one} ORDER BY {two}{direction}, {unique})"),
                1 => format!("rank() OVER (ORDER BY {one}{direction})"),
                2 => format!("dense_rank() OVER (PARTITION BY {one} ORDER BY {two}{direction})"),
                3 => format!("lag({one}) OVER (PARTITION BY {two} ORDER BY {unique})"),
                4 => format!("count({one}) OVER (PARTITION BY {two})"),
                5 => format!("first_value({one}) OVER (ORDER BY {two}{direction}, {unique})"),
                6 => format!("ntile(4) OVER (ORDER BY {unique})"),
                7 => format!("sum(length({one}::text)) OVER (ORDER BY {two}{direction}, {unique} ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING)"),
                8 => format!("count(*) FILTER (WHERE {one} IS NULL) OVER (ORDER BY {two}{direction})"),
                _ => format!(
                    "count(*) OVER (ORDER BY {}.d RANGE BETWEEN interval '5 days' PRECEDING AND CURRENT ROW)",
                    items[0].name
                ),
            });
        }
        let mut sql = format!("SELECT {} FROM {from}{filter}", list.join(", "));
        if self.random.chance(70) {
            let (order, limit) = (self.order(&items), self.limit());
            let _ = write!(sql, " ORDER BY {order}{limit}");
        }
        sql
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
