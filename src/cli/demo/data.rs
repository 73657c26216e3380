//! The sample shop: its tables, its rows, and how they get in through the router, by INSERT and by COPY.

use std::fmt::Write as _;

use bytes::Bytes;
use futures::SinkExt;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_postgres::Client;

use super::error::DemoError;
use super::report::{Placement, say};

/// The tables that are sharded by tenant, with their key column.
pub const SHARDED: [(&str, &str); 4] =
    [("tenants", "id"), ("customers", "tenant_id"), ("orders", "tenant_id"), ("order_items", "tenant_id")];
/// The table that is whole on every shard.
pub const REFERENCE: &str = "products";
pub const TABLES: [&str; 5] = ["tenants", "customers", "orders", "order_items", REFERENCE];

const SCHEMA: &str = "
DROP TABLE IF EXISTS order_items;
DROP TABLE IF EXISTS orders;
DROP TABLE IF EXISTS customers;
DROP TABLE IF EXISTS tenants;
DROP TABLE IF EXISTS products;
CREATE TABLE tenants (
    id int PRIMARY KEY, name text NOT NULL, plan text NOT NULL, since date NOT NULL);
CREATE TABLE customers (
    tenant_id int NOT NULL, id int NOT NULL, name text NOT NULL, city text NOT NULL, PRIMARY KEY (tenant_id, id));
CREATE TABLE orders (
    tenant_id int NOT NULL, id bigint NOT NULL, customer_id int NOT NULL, status text NOT NULL,
    total_cents bigint NOT NULL, placed_at timestamptz NOT NULL, PRIMARY KEY (tenant_id, id));
CREATE TABLE order_items (
    tenant_id int NOT NULL, order_id bigint NOT NULL, line int NOT NULL, product_id int NOT NULL,
    quantity int NOT NULL, price_cents bigint NOT NULL, PRIMARY KEY (tenant_id, order_id, line));
CREATE TABLE products (
    id int PRIMARY KEY, name text NOT NULL, price_cents bigint NOT NULL);";

const PLANS: [&str; 3] = ["free", "team", "business"];
const STATUSES: [&str; 4] = ["delivered", "open", "paid", "shipped"];
const CITIES: [&str; 8] = ["Accra", "Bergen", "Cork", "Dakar", "Essen", "Faro", "Ghent", "Hanoi"];
const FIRST: [&str; 10] = ["Ada", "Bo", "Cleo", "Dag", "Eve", "Finn", "Gro", "Hal", "Ida", "Jo"];
const LAST: [&str; 9] = ["Abel", "Berg", "Cole", "Dahl", "Eng", "Frost", "Gran", "Holm", "Ives"];
const THINGS: [&str; 6] = ["lamp", "chair", "kettle", "rug", "clock", "shelf"];
const COLOURS: [&str; 7] = ["red", "blue", "green", "white", "black", "grey", "amber"];

/// Rows of one INSERT, and bytes of one piece of a COPY.
const INSERT_ROWS: u64 = 100;
const COPY_BYTES: usize = 64 * 1024;

/// How many rows each table has. Everything else follows from a row's number, so that two loads are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    pub tenants: u64,
    pub customers: u64,
    pub orders: u64,
    pub products: u64,
}

impl Volume {
    /// At least `rows` in all.
    pub fn of(rows: u64) -> Self {
        // An order has one to three items, two on average; rounded up to whole threes, this is exact.
        let orders = (rows * 3 / 10).div_ceil(3).max(100) * 3;
        Self { tenants: (rows / 1000).clamp(50, 10_000), customers: (rows / 10).max(50), orders, products: 300 }
    }

    pub fn items(&self) -> u64 {
        self.orders * 2
    }

    pub fn total(&self) -> u64 {
        self.tenants + self.customers + self.orders + self.items() + self.products
    }

    /// The rows of one of [`TABLES`].
    pub fn rows(&self, table: &str) -> u64 {
        match table {
            "tenants" => self.tenants,
            "customers" => self.customers,
            "orders" => self.orders,
            "order_items" => self.items(),
            _ => self.products,
        }
    }
}

/// Makes the tables, dropping those of a load that did not end, and fills them.
pub async fn load(client: &Client, volume: &Volume) -> Result<(), DemoError> {
    for statement in SCHEMA.split_inclusive(';') {
        let sql = |source| DemoError::Sql { what: format!("the tables can't be made:{statement}"), source };
        client.batch_execute(statement).await.map_err(sql)?;
    }
    let bar = ProgressBar::new(volume.total());
    if let Ok(style) =
        ProgressStyle::with_template("loading {msg:12} [{bar:40}] {human_pos} of {human_len} rows, {eta} left")
    {
        bar.set_style(style.progress_chars("=> "));
    }
    let load = Load { client, bar: &bar };
    load.insert("products", volume.products, product).await?;
    load.insert("tenants", volume.tenants, tenant).await?;
    let tenants = volume.tenants;
    load.copy("customers", volume.customers, |i, row| customer(i, tenants, row)).await?;
    let customers = volume.customers;
    load.copy("orders", volume.orders, |i, row| order(i, tenants, customers, row)).await?;
    load.copy("order_items", volume.orders, |i, row| items(i, tenants, row)).await?;
    let took = bar.elapsed();
    bar.finish_and_clear();
    let seconds = took.as_secs_f64();
    say(format_args!("loaded {} rows through the router by INSERT and COPY in {seconds:.1} s", volume.total()));
    Ok(())
}

/// Every row that was sent is on exactly one shard, or on each for the reference table.
pub fn verify(volume: &Volume, placement: &Placement) -> Result<(), DemoError> {
    for table in TABLES {
        let (sent, found) = (volume.rows(table), placement.rows(table));
        if sent != found {
            return Err(DemoError::Misplaced { table, sent, found });
        }
    }
    Ok(())
}

struct Load<'a> {
    client: &'a Client,
    bar: &'a ProgressBar,
}

impl Load<'_> {
    /// `row` appends one row as `(value, ...)`.
    async fn insert(&self, table: &str, rows: u64, row: impl Fn(u64, &mut String)) -> Result<(), DemoError> {
        self.bar.set_message(table.to_owned());
        let mut next = 1;
        while next <= rows {
            let end = (next + INSERT_ROWS).min(rows + 1);
            let mut sql = format!("INSERT INTO {table} VALUES ");
            for i in next..end {
                if i > next {
                    sql.push_str(", ");
                }
                row(i, &mut sql);
            }
            let fail = |source| DemoError::Sql { what: format!("INSERT into {table} failed"), source };
            self.client.batch_execute(&sql).await.map_err(fail)?;
            self.bar.inc(end - next);
            next = end;
        }
        Ok(())
    }

    /// `rows` appends the lines of one number and tells how many.
    async fn copy(&self, table: &str, numbers: u64, lines: impl Fn(u64, &mut String) -> u64) -> Result<(), DemoError> {
        let fail = |source| DemoError::Sql { what: format!("COPY into {table} failed"), source };
        self.bar.set_message(table.to_owned());
        let sink = self.client.copy_in::<_, Bytes>(&format!("COPY {table} FROM STDIN")).await.map_err(fail)?;
        futures::pin_mut!(sink);
        let (mut piece, mut rows) = (String::with_capacity(COPY_BYTES + 1024), 0);
        for i in 1..=numbers {
            rows += lines(i, &mut piece);
            if piece.len() >= COPY_BYTES || i == numbers {
                sink.send(Bytes::from(std::mem::take(&mut piece))).await.map_err(fail)?;
                self.bar.inc(std::mem::take(&mut rows));
            }
        }
        sink.finish().await.map_err(fail)?;
        // The command's end is told before that of its transaction, in the extended protocol.
        self.client.simple_query("SELECT").await.map_err(fail)?;
        Ok(())
    }
}

fn product(i: u64, sql: &mut String) {
    let _ = write!(sql, "({i}, '{} {}', {})", pick(&COLOURS, i), pick(&THINGS, mix(i)), price(i));
}

fn tenant(i: u64, sql: &mut String) {
    let name = pick(&LAST, mix(i));
    let _ = write!(sql, "({i}, '{name} {i}', '{}', date '2020-01-01' + {})", pick(&PLANS, mix(i + 7)), mix(i) % 1500);
}

fn customer(i: u64, tenants: u64, out: &mut String) -> u64 {
    let (tenant, random) = (1 + i % tenants, mix(i));
    let (first, last, city) = (pick(&FIRST, random), pick(&LAST, random >> 8), pick(&CITIES, random >> 16));
    let _ = writeln!(out, "{tenant}\t{i}\t{first} {last}\t{city}");
    1
}

fn order(i: u64, tenants: u64, customers: u64, out: &mut String) -> u64 {
    let tenant = tenant_of(i, tenants);
    let total: u64 = (1..=lines_of(i)).map(|line| quantity(i, line) * price(product_of(i, line))).sum();
    let (day, second) = (1 + mix(i) % 28, mix(i) % 86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let _ = writeln!(
        out,
        "{tenant}\t{i}\t{}\t{}\t{total}\t2026-{:02}-{day:02} {hour:02}:{minute:02}:{second:02}+00",
        customer_of(i, tenant, tenants, customers),
        pick(&STATUSES, mix(i) >> 20),
        1 + (mix(i) >> 30) % 6,
    );
    1
}

fn items(order: u64, tenants: u64, out: &mut String) -> u64 {
    let tenant = tenant_of(order, tenants);
    for line in 1..=lines_of(order) {
        let product = product_of(order, line);
        let _ = writeln!(out, "{tenant}\t{order}\t{line}\t{product}\t{}\t{}", quantity(order, line), price(product));
    }
    lines_of(order)
}

/// Tenants of small numbers have more orders, as in life.
fn tenant_of(order: u64, tenants: u64) -> u64 {
    let random = mix(order.wrapping_mul(31));
    1 + (random % tenants).min((random >> 32) % tenants)
}

/// A customer of that tenant: their numbers are those with the same remainder.
fn customer_of(order: u64, tenant: u64, tenants: u64, customers: u64) -> u64 {
    let first = if tenant == 1 { tenants } else { tenant - 1 };
    if first > customers {
        return 1 + mix(order) % customers;
    }
    first + (mix(order + 3) % ((customers - first) / tenants + 1)) * tenants
}

fn lines_of(order: u64) -> u64 {
    1 + order % 3
}

fn product_of(order: u64, line: u64) -> u64 {
    1 + mix(order * 4 + line) % 300
}

fn quantity(order: u64, line: u64) -> u64 {
    1 + mix(order * 4 + line + 1) % 5
}

fn price(product: u64) -> u64 {
    100 + mix(product) % 19_900
}

fn pick<'a>(from: &[&'a str], random: u64) -> &'a str {
    let index = usize::try_from(random % from.len() as u64).unwrap_or(0);
    from.get(index).copied().unwrap_or_default()
}

/// A number that looks random and depends on nothing but `n` (the finalizer of splitmix64).
fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) >> 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_volume_is_at_least_what_was_asked_and_its_items_are_exact() {
        for rows in [1, 999, 20_000, 200_000, 1_234_567] {
            let volume = Volume::of(rows);
            assert!(volume.total() >= rows, "{rows}: {volume:?}");
            let items: u64 = (1..=volume.orders).map(lines_of).sum();
            assert_eq!(items, volume.items());
        }
    }

    #[test]
    fn every_order_names_a_customer_of_its_own_tenant() {
        let volume = Volume::of(20_000);
        for i in 1..=volume.orders {
            let tenant = tenant_of(i, volume.tenants);
            let customer = customer_of(i, tenant, volume.tenants, volume.customers);
            assert!((1..=volume.customers).contains(&customer), "order {i}: customer {customer}");
            assert_eq!(1 + customer % volume.tenants, tenant, "order {i}: customer {customer}");
        }
    }
}
