//! Statements made from a seed that no merge of rows answers: joins on any column, nested and outer, subqueries of every kind, WITH,
//! set operations, windows. Their answers are small and depend on nothing random.

use crate::corpus::{Case, Form};
use crate::support::Random;

/// A table with its integer columns, and conditions on it with `@` for its name.
struct Table {
    name: &'static str,
    integers: &'static [&'static str],
    /// Columns of other types.
    values: &'static [&'static str],
    conditions: &'static [&'static str],
}

const TABLES: &[Table] = &[
    Table {
        name: "tenants",
        integers: &["id", "seats"],
        values: &["name", "plan", "budget", "joined"],
        conditions: &[
            "@.id = 3",
            "@.id IN (1, 4, 9)",
            "@.id > 20",
            "@.seats IS NULL",
            "@.plan = 'Pro'",
            "@.budget > 2000",
            "@.id < 6 OR @.seats > 100",
            "lower(@.plan) = 'pro'",
            "NOT @.id = 3",
            "@.joined < '2020-06-01'",
            "@.id = 5",
        ],
    },
    Table {
        name: "customers",
        integers: &["tenant_id", "id", "level"],
        values: &["name", "nick", "country", "balance", "born", "active"],
        conditions: &[
            "@.tenant_id = 1",
            "@.tenant_id = 8",
            "@.tenant_id IN (3, 5)",
            "@.level = 2",
            "@.active",
            "@.level IS NULL",
            "@.balance BETWEEN 0 AND 200",
            "@.country = 'DE'",
            "@.id % 7 = 1",
            "@.name IS NOT NULL",
            "coalesce(@.level, 3) = 3",
            "@.tenant_id = 5 AND @.id < 300",
            "@.id < 60",
            "@.id < 40",
            "CASE WHEN @.active THEN @.level ELSE 1 END = 1",
        ],
    },
    Table {
        name: "orders",
        integers: &["tenant_id", "id", "customer_id", "quantity"],
        values: &["status", "total", "discount", "placed", "note"],
        conditions: &[
            "@.tenant_id = 1",
            "@.tenant_id = 22",
            "@.quantity = 2",
            "@.quantity IS NULL",
            "@.status = 'paid'",
            "@.total > 300",
            "@.customer_id < 50",
            "@.customer_id IS NULL",
            "@.id < 700",
            "@.tenant_id > 30",
            "@.id % 11 = 0",
            "(@.quantity = 1 OR @.status = 'new')",
            "@.tenant_id = 8",
            "@.note LIKE '%a%'",
        ],
    },
    Table {
        name: "order_items",
        integers: &["tenant_id", "order_id", "line", "product_id"],
        values: &["price", "line"],
        conditions: &[
            "@.line = 1",
            "@.product_id = 7",
            "@.tenant_id = 8",
            "@.quantity > 3",
            "@.order_id < 500",
            "@.price IS NULL",
        ],
    },
    Table {
        name: "products",
        integers: &["id"],
        values: &["name", "sku", "price"],
        conditions: &["@.id < 9", "@.price > 50", "@.price IS NULL"],
    },
    Table {
        name: "big_orders",
        integers: &["tenant_id", "id"],
        values: &["total"],
        conditions: &["@.tenant_id = 8", "@.total > 900", "@.id < 900"],
    },
    Table {
        name: "sparse",
        integers: &["tenant_id", "id", "v"],
        values: &["t"],
        conditions: &["@.v IS NULL", "@.id > 3"],
    },
    Table {
        name: "void",
        integers: &["tenant_id", "id"],
        values: &["v", "t"],
        conditions: &["@.id = 1", "@.v IS NULL"],
    },
    Table {
        name: "metrics",
        integers: &["series"],
        values: &["day", "ratio", "value"],
        conditions: &["@.day = '2024-01-05'", "@.day < '2024-01-20'", "@.series = 1"],
    },
];

/// Tables with a tenant_id, which is their key, and an id.
const KEYED: [&str; 5] = ["customers", "orders", "big_orders", "sparse", "void"];

/// A FROM item in scope.
#[derive(Clone)]
struct Item {
    name: String,
    integers: Vec<String>,
    values: Vec<String>,
    conditions: Vec<String>,
}

impl Item {
    fn of(table: &Table, name: &str) -> Self {
        let conditions = table.conditions.iter().map(|c| c.replace('@', name)).collect();
        let owned = |columns: &[&str]| columns.iter().map(|c| (*c).to_owned()).collect();
        Self { name: name.to_owned(), integers: owned(table.integers), values: owned(table.values), conditions }
    }

    fn integer(&self, random: &mut Random) -> String {
        format!("{}.{}", self.name, random.pick(&self.integers))
    }

    /// A column of any type.
    fn value(&self, random: &mut Random) -> String {
        match self.values.is_empty() || random.chance(30) {
            true => self.integer(random),
            false => format!("{}.{}", self.name, random.pick(&self.values)),
        }
    }

    fn has_tenant(&self) -> bool {
        self.integers.iter().any(|column| column == "tenant_id")
    }
}

struct Maker<'r> {
    random: &'r mut Random,
    names: usize,
    ctes: Vec<(String, String)>,
}

/// One statement; `number` names it.
pub fn statement(random: &mut Random, number: usize) -> Case {
    let sql = Maker { random, names: 0, ctes: Vec::new() }.statement();
    let mut case = Case::plain(format!("tangled {number}"), sql);
    case.forms = vec![*random.pick(&[Form::Simple, Form::Text, Form::Binary, Form::Portal])];
    case
}

impl Maker<'_> {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("t{}", self.names)
    }

    fn statement(&mut self) -> String {
        let body = match self.random.below(10) {
            1 => {
                let customers = &TABLES[1];
                let item = Item::of(customers, "c");
                let filter = self.filter(std::slice::from_ref(&item), 0);
                let order = *self.random.pick(&[
                    "name",
                    "lower(name) DESC",
                    "n DESC NULLS LAST",
                    "meta",
                    "c.name || country NULLS FIRST",
                    "2",
                ]);
                let (limit, offset) = (self.random.below(30), self.random.below(6));
                format!(
                    "SELECT id, name, country AS n FROM customers c{filter} ORDER BY {order}, tenant_id, id LIMIT {limit} OFFSET {offset}"
                )
            }
            0 => {
                let word = *self.random.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL"]);
                let (left, right) = (self.arm(), self.arm());
                format!("{left} {word} {right} ORDER BY 1")
            }
            _ => self.select(),
        };
        let list: Vec<String> = self.ctes.iter().map(|(name, query)| format!("{name} AS ({query})")).collect();
        if list.is_empty() { body } else { format!("WITH {} {body}", list.join(", ")) }
    }

    fn arm(&mut self) -> String {
        let mut items = Vec::new();
        let from = self.from(&mut items, 2);
        let column = items[0].integer(self.random);
        format!("SELECT {column} FROM {from}{}", self.filter(&items, 1))
    }

    fn select(&mut self) -> String {
        let mut items = Vec::new();
        let most = 1 + self.random.below(3);
        let from = self.from(&mut items, most);
        let filter = self.filter(&items, 0);
        let columns: Vec<String> = (0..3)
            .map(|_| {
                let at = self.random.below(items.len());
                items[at].integer(self.random)
            })
            .collect();
        let [a, b, c] = &columns[..] else { unreachable!("three were made") };
        let values: Vec<String> = (0..2)
            .map(|_| {
                let at = self.random.below(items.len());
                items[at].value(self.random)
            })
            .collect();
        let [v, w] = &values[..] else { unreachable!("two were made") };
        match self.random.below(15) {
            9 | 10 => format!(
                "SELECT {v}, avg({a}), sum({b}) * 100 / count(*), min({c}), bool_or({a} > 3) FROM {from}{filter} GROUP BY 1 \
                 HAVING coalesce(sum({b}), 0) > 10 OR count(*) = 1 ORDER BY 1 LIMIT 40"
            ),
            11 => format!(
                "SELECT {v}, count(DISTINCT {w}), count(DISTINCT {a}) FILTER (WHERE {b} > 2), max({w}::text COLLATE \"C\") \
                 FROM {from}{filter} GROUP BY {v} ORDER BY count(*) DESC, 1 LIMIT 40"
            ),
            12 => format!("SELECT DISTINCT {v}, {w} FROM {from}{filter} ORDER BY 2, 1 LIMIT 50"),
            13 => format!(
                "SELECT DISTINCT ON ({v}) {v}, {a}, {b} FROM {from}{filter} ORDER BY {v}, {a} DESC, {b} LIMIT 50"
            ),
            14 => format!(
                "SELECT {v}, sum({a}), rank() OVER (ORDER BY sum({a}) DESC, {v}) FROM {from}{filter} GROUP BY {v} ORDER BY 3, 1 LIMIT 40"
            ),
            0 | 1 => format!("SELECT count(*), sum({a}), count(DISTINCT {b}), max({c}) FROM {from}{filter}"),
            2 | 3 => format!(
                "SELECT {a}, count(*), sum({b}), stddev({c}) FROM {from}{filter} GROUP BY 1 ORDER BY 1 LIMIT 40"
            ),
            4 => format!("SELECT DISTINCT {a}, {b} FROM {from}{filter} ORDER BY 1, 2 LIMIT 50"),
            5 => {
                format!(
                    "SELECT {a}, rank() OVER (ORDER BY {b}, {a}), count(*) OVER (PARTITION BY {c}) FROM {from}{filter} ORDER BY 1, 2, 3 LIMIT 50"
                )
            }
            // Not ordered: where one of the columns is a constant or both are one, Postgres leaves it out of its sorting.
            6 => format!("SELECT {a}, {b}, count(*) FROM {from}{filter} GROUP BY ROLLUP (1, 2)"),
            7 => {
                let sub = self.scalar(&items);
                format!("SELECT {a}, {sub} FROM {from}{filter} ORDER BY 1, 2 LIMIT 30")
            }
            _ => format!("SELECT {a}, {b}, {c} FROM {from}{filter} ORDER BY 1, 2, 3 LIMIT 70"),
        }
    }

    /// Items joined in any way; what they are called goes to `items`.
    fn from(&mut self, items: &mut Vec<Item>, most: usize) -> String {
        let first = items.len();
        let mut from = self.item(items);
        for _ in 1..most {
            let left: Vec<Item> = items[first..].to_vec();
            let before = items.len();
            // A join of its own on the right side, in parentheses.
            let nested = self.random.chance(15);
            let right = if nested { format!("({})", self.from(items, 2)) } else { self.item(items) };
            let kind = *self.random.pick(&["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
            let (left_at, right_at) = (self.random.below(left.len()), self.random.below(items.len() - before));
            let right_item = items[before + right_at].clone();
            let tied = left[left_at].has_tenant() && right_item.has_tenant() && self.random.chance(60);
            let mut on = match tied {
                true => format!(
                    "{l}.tenant_id = {r}.tenant_id AND {} = {}",
                    left[left_at].integer(self.random),
                    right_item.integer(self.random),
                    l = left[left_at].name,
                    r = right_item.name
                ),
                false => format!("{} = {}", left[left_at].integer(self.random), right_item.integer(self.random)),
            };
            if self.random.chance(30) {
                on = format!("{on} AND {} = {}", left[left_at].integer(self.random), right_item.integer(self.random));
            }
            for of in [&left[left_at], &right_item] {
                if self.random.chance(40) {
                    on = format!("{on} AND {}", self.random.pick(&of.conditions));
                }
            }
            from = format!("{from} {kind} {right} ON {on}");
        }
        from
    }

    fn item(&mut self, items: &mut Vec<Item>) -> String {
        let table = self.random.pick(TABLES);
        let name = self.name();
        if self.random.chance(15) {
            let query = self.keyed();
            items.push(Item {
                name: name.clone(),
                integers: vec!["tenant_id".to_owned(), "id".to_owned()],
                values: Vec::new(),
                conditions: ["tenant_id = 8", "tenant_id IN (3, 5)", "id < 40", "tenant_id IS NOT NULL", "id = 3"]
                    .map(|condition| format!("{name}.{condition}"))
                    .into(),
            });
            if self.random.chance(30) {
                let cte = self.name();
                self.ctes.push((cte.clone(), query));
                return format!("{cte} {name}");
            }
            return format!("({query}) {name}");
        }
        let item = Item::of(table, &name);
        let text = match self.random.below(10) {
            // A derived table, perhaps grouped or limited.
            0 | 1 => {
                let inner = self.name();
                let of = Item::of(table, &inner);
                let filter = self.filter(std::slice::from_ref(&of), 1);
                let columns = table.integers.join(", ");
                let query = match self.random.below(4) {
                    0 => format!("SELECT DISTINCT {columns} FROM {} {inner}{filter}", table.name),
                    1 => format!("SELECT {columns} FROM {} {inner}{filter} ORDER BY {columns} LIMIT 30", table.name),
                    2 => format!("SELECT {columns} FROM {} {inner}{filter} GROUP BY {columns}", table.name),
                    _ => format!("SELECT {columns} FROM {} {inner}{filter}", table.name),
                };
                items.push(Item {
                    values: Vec::new(),
                    conditions: table.integers.iter().map(|c| format!("{name}.{c} = 8")).collect(),
                    ..item
                });
                if self.random.chance(40) {
                    let cte = self.name();
                    self.ctes.push((cte.clone(), query));
                    return format!("{cte} {name}");
                }
                return format!("({query}) {name}");
            }
            _ => format!("{} {name}", table.name),
        };
        items.push(item);
        text
    }

    /// A query for a tenant_id and an id, along the sharding key or nearly so.
    fn keyed(&mut self) -> String {
        match self.random.below(8) {
            0..=2 => {
                let mut query = self.keyed_arm();
                for _ in 0..1 + self.random.below(2) {
                    let words = ["UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"];
                    query = format!("{query} {} {}", self.random.pick(&words), self.keyed_arm());
                }
                query
            }
            3 => {
                let (r, o) = (self.name(), self.name());
                let table = *self.random.pick(&["orders", "customers", "sparse"]);
                let first = self.keyed_arm();
                let key = self.random.pick(&["{r}.tenant_id", "{r}.tenant_id", "{o}.tenant_id", "{r}.tenant_id + 1", "{r}.id::int"]);
                let tie = self.random.pick(&[
                    "{o}.tenant_id = {r}.tenant_id AND {o}.id = {r}.id + 1",
                    "{o}.tenant_id = {r}.tenant_id AND {o}.id = {r}.id * 2",
                    "{o}.tenant_id = {r}.tenant_id AND {o}.id < 5",
                    "{o}.id = {r}.id + 1",
                ]);
                let named = |text: &str| text.replace("{r}", &r).replace("{o}", &o);
                format!(
                    "WITH RECURSIVE {r}(tenant_id, id) AS (SELECT tenant_id::int, id::bigint FROM ({first}) f WHERE id < 6 \
                     UNION SELECT {}, {o}.id::bigint FROM {r} JOIN {table} {o} ON {} WHERE {o}.id < 12 AND {r}.tenant_id < 30) \
                     SELECT tenant_id, id FROM {r}",
                    named(key),
                    named(tie)
                )
            }
            4 => {
                let (a, b) = (self.random.pick(&KEYED), self.random.pick(&KEYED));
                match self.random.chance(50) {
                    true => format!("SELECT tenant_id, id FROM {a} a FULL JOIN {b} b USING (tenant_id, id)"),
                    false => format!(
                        "SELECT coalesce(a.tenant_id, b.tenant_id) AS tenant_id, b.id FROM {a} a FULL JOIN {b} b \
                         ON a.tenant_id = b.tenant_id AND b.id = a.id"
                    ),
                }
            }
            5 => {
                let by = self.random.pick(&["tenant_id", "tenant_id", "id"]);
                format!(
                    "SELECT tenant_id, row_number() OVER (PARTITION BY {by} ORDER BY tenant_id, id) AS id FROM {}",
                    self.random.pick(&KEYED)
                )
            }
            6 => {
                let by = self.random.pick(&["tenant_id", "tenant_id", "id"]);
                format!(
                    "SELECT DISTINCT ON ({by}) tenant_id, id FROM {} ORDER BY {by}, tenant_id, id DESC",
                    self.random.pick(&KEYED)
                )
            }
            _ => self
                .random
                .pick(&[
                    "SELECT 8 AS tenant_id, 3 AS id",
                    "SELECT tenant_id, id FROM (VALUES (8, 1), (3, 2), (NULL, 3)) v(tenant_id, id)",
                    "SELECT v.tenant_id, o.id FROM (VALUES (8), (3)) v(tenant_id) JOIN orders o ON o.tenant_id = v.tenant_id",
                ])
                .to_string(),
        }
    }

    fn keyed_arm(&mut self) -> String {
        let table = *self.random.pick(&KEYED);
        let name = self.name();
        let columns = match self.random.below(10) {
            0 => "id AS tenant_id, tenant_id AS id".to_owned(),
            1 => format!("{name}.tenant_id, {name}.tenant_id AS id"),
            _ => format!("{name}.tenant_id, {name}.id"),
        };
        let filter = self.random.pick(&[
            "",
            "",
            " WHERE id < 9",
            " WHERE tenant_id = 8",
            " WHERE tenant_id < 7",
            " WHERE id % 3 = 0",
        ]);
        match self.random.below(12) {
            0 => "SELECT id AS tenant_id, id FROM products".to_owned(),
            1 => "SELECT 8 AS tenant_id, 3 AS id".to_owned(),
            2 => format!("SELECT tenant_id, count(*) AS id FROM {table} {name}{filter} GROUP BY tenant_id"),
            3 => "SELECT id AS tenant_id, seats::int AS id FROM tenants".to_owned(),
            _ => format!("SELECT {columns} FROM {table} {name}{filter}"),
        }
    }

    fn filter(&mut self, items: &[Item], depth: usize) -> String {
        let mut parts = Vec::new();
        for _ in 0..self.random.below(4) {
            let at = self.random.below(items.len());
            let of = &items[at];
            parts.push(match self.random.below(if depth < 2 { 10 } else { 6 }) {
                0 => format!("{} IS NULL", of.integer(self.random)),
                1 => {
                    let other = &items[self.random.below(items.len())];
                    format!("({} OR {})", self.random.pick(&of.conditions), self.random.pick(&other.conditions))
                }
                2..=5 => self.random.pick(&of.conditions).clone(),
                6 | 7 => {
                    let (from, filter, inner) = self.inner(of, depth);
                    let not = *self.random.pick(&["", "NOT "]);
                    format!("{not}EXISTS (SELECT {inner} FROM {from}{filter})")
                }
                8 => {
                    let table = self.random.pick(TABLES);
                    let inner = Item::of(table, &self.name());
                    let filter = self.filter(std::slice::from_ref(&inner), depth + 1);
                    let not = *self.random.pick(&["", "", "NOT "]);
                    let (outer, column) = (of.integer(self.random), inner.integer(self.random));
                    format!("{outer} {not}IN (SELECT {column} FROM {} {}{filter})", table.name, inner.name)
                }
                _ => {
                    let outer = of.integer(self.random);
                    let sub = self.scalar(std::slice::from_ref(of));
                    format!("{outer} < {sub}")
                }
            });
        }
        if parts.is_empty() { String::new() } else { format!(" WHERE {}", parts.join(" AND ")) }
    }

    /// FROM, WHERE and a column of a subquery that is tied to an item around it, or not.
    fn inner(&mut self, outer: &Item, depth: usize) -> (String, String, String) {
        let table = self.random.pick(TABLES);
        let inner = Item::of(table, &self.name());
        let mut filter = self.filter(std::slice::from_ref(&inner), depth + 1);
        if self.random.chance(80) {
            let tie = format!("{} = {}", inner.integer(self.random), outer.integer(self.random));
            filter = if filter.is_empty() { format!(" WHERE {tie}") } else { format!("{filter} AND {tie}") };
        }
        let column = inner.integer(self.random);
        (format!("{} {}", table.name, inner.name), filter, column)
    }

    fn scalar(&mut self, items: &[Item]) -> String {
        let at = self.random.below(items.len());
        let (from, filter, column) = self.inner(&items[at], 1);
        let fold = *self.random.pick(&["max", "min", "sum", "count"]);
        format!("(SELECT {fold}({column}) FROM {from}{filter})")
    }
}
