//! sqlx: a pool, its cache of prepared statements, streams, transactions within transactions, COPY, a listener, migrations' lock.

use futures::TryStreamExt;
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Acquire, Connection, Executor, PgConnection, PgPool, Row};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Debug, sqlx::FromRow)]
#[allow(dead_code)]
struct Order {
    tenant_id: i32,
    id: i32,
    product: Option<String>,
    paid: bool,
    placed: chrono::DateTime<chrono::Utc>,
    tags: Option<Vec<String>>,
    note: Option<serde_json::Value>,
    raw: Option<Vec<u8>>,
}

#[derive(Debug, PartialEq, sqlx::Type)]
#[sqlx(type_name = "size", rename_all = "lowercase")]
enum Size {
    Small,
    Medium,
    Large,
}

fn told(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |e| format!("{:?} {} {:?} {:?}", e.code(), e.message(), e.constraint(), e.table()))
}

async fn queries(pool: &PgPool) -> Result<()> {
    for tenant in 1..=12 {
        let orders: Vec<Order> = sqlx::query_as("SELECT * FROM orders WHERE tenant_id = $1 ORDER BY id LIMIT 2").bind(tenant).fetch_all(pool).await?;
        println!("orders: {orders:?}");
    }
    let mut rows = sqlx::query("SELECT tenant_id, id FROM orders ORDER BY tenant_id, id").fetch(pool);
    let mut sum = 0;
    while let Some(row) = rows.try_next().await? {
        sum = sum * 3 % 9973 + row.try_get::<i32, _>("tenant_id")? * 10 + row.try_get::<i32, _>(1)?;
    }
    println!("stream: {sum}");
    // A type of users is looked up in the catalog.
    let sizes: Vec<(String, Option<Size>)> = sqlx::query_as("SELECT code, size FROM products ORDER BY code").fetch_all(pool).await?;
    println!("enums: {sizes:?}");
    let large: i64 = sqlx::query_scalar("SELECT count(*) FROM products WHERE size = $1").bind(Size::Large).fetch_one(pool).await?;
    println!("large: {large}");
    let some: i64 = sqlx::query_scalar("SELECT count(*) FROM orders WHERE tenant_id = ANY($1)").bind(vec![1, 2, 3]).fetch_one(pool).await?;
    println!("any: {some}");
    let described = pool.describe("SELECT tenant_id, name FROM customers WHERE tenant_id = $1").await?;
    println!("described: {:?}", described.columns().iter().map(|c| c.to_string()).collect::<Vec<_>>());
    for sql in ["SELEC 1", "SELECT nothing FROM orders", "INSERT INTO customers VALUES (1, 1, 'again')", "INSERT INTO products VALUES ('x', 'y', -1)"] {
        println!("error: {}", sqlx::query(sql).execute(pool).await.map_or_else(|e| told(&e), |done| format!("{done:?}")));
    }
    let tenants: Vec<i32> = (1..=12).collect();
    let done = sqlx::query("INSERT INTO customers (tenant_id, id, name) SELECT t, 80, 'unnested' FROM unnest($1::int[]) t").bind(&tenants).execute(pool).await?;
    println!("unnested: {}", done.rows_affected());
    println!("deleted: {}", sqlx::query("DELETE FROM customers WHERE id = 80").execute(pool).await?.rows_affected());
    Ok(())
}

async fn transactions(pool: &PgPool) -> Result<()> {
    let mut tx = pool.begin().await?;
    for tenant in 1..=4 {
        sqlx::query("UPDATE customers SET name = 'sqlx' WHERE tenant_id = $1 AND id = 2").bind(tenant).execute(&mut *tx).await?;
    }
    {
        let mut inner = tx.begin().await?;
        let failed = sqlx::query("INSERT INTO customers VALUES (2, 1, 'again')").execute(&mut *inner).await;
        println!("inner: {}", failed.map_or_else(|e| told(&e), |done| format!("{done:?}")));
    }
    let n: i64 = sqlx::query_scalar("SELECT count(*) FROM customers WHERE name = 'sqlx'").fetch_one(&mut *tx).await?;
    println!("within: {n}");
    drop(tx);
    let n: i64 = sqlx::query_scalar("SELECT count(*) FROM customers WHERE name = 'sqlx'").fetch_one(pool).await?;
    println!("rolled back: {n}");
    Ok(())
}

async fn copies(pool: &PgPool) -> Result<()> {
    let mut conn = pool.acquire().await?;
    let mut copy = conn.copy_in_raw("COPY customers (tenant_id, id, name) FROM STDIN (FORMAT csv)").await?;
    for tenant in 1..=12 {
        copy.send(format!("{tenant},81,\"copied, {tenant}\"\n").as_bytes()).await?;
    }
    println!("copied in: {}", copy.finish().await?);
    let out: Vec<_> = conn.copy_out_raw("COPY (SELECT tenant_id, name FROM customers WHERE id = 81 ORDER BY 1) TO STDOUT").await?.try_collect().await?;
    println!("copied out: {:?}", String::from_utf8(out.concat())?);
    let copy = conn.copy_in_raw("COPY customers (tenant_id, id, name) FROM STDIN").await?;
    copy.abort("given up").await?;
    println!("deleted: {}", sqlx::query("DELETE FROM customers WHERE id = 81").execute(&mut *conn).await?.rows_affected());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let url = std::env::var("CLIENT_URL")?;
    let pool = PgPoolOptions::new().max_connections(3).connect(&url).await?;
    queries(&pool).await?;
    transactions(&pool).await?;
    copies(&pool).await?;
    let mut listener = PgListener::connect(&url).await?;
    listener.listen("word").await?;
    sqlx::query("SELECT pg_notify('word', $1)").bind("spoken").execute(&pool).await?;
    println!("heard: {:?}", listener.recv().await?.payload());
    // Tables change under cached statements.
    let mut conn = PgConnection::connect(&url).await?;
    for step in ["SELECT 1", "ALTER TABLE customers ADD COLUMN extra int DEFAULT 3", "ALTER TABLE customers DROP COLUMN extra"] {
        conn.execute(step).await?;
        let found = sqlx::query("SELECT * FROM customers WHERE tenant_id = $1 AND id = 1").bind(5).fetch_one(&mut conn).await;
        println!("{step}: {}", found.map_or_else(|e| told(&e), |row| row.len().to_string()));
    }
    conn.close().await?;
    pool.close().await;
    println!("END");
    Ok(())
}
