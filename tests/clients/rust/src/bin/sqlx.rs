//! sqlx: its pool and cache of statements, types, nested transactions, fetching row by row, COPY, a listener, and errors.

use futures_util::TryStreamExt;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolCopyExt, PgPoolOptions, PgRow};
use sqlx::types::{Json, Uuid};
use sqlx::{Column, ConnectOptions, Connection, Executor, PgConnection, PgPool, Row, TypeInfo};

type Done = Result<(), sqlx::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done {
    let url = std::env::var("CLIENT_URL").expect("CLIENT_URL says where to");
    let pool = PgPoolOptions::new().max_connections(4).connect(&url).await?;
    values(&pool).await?;
    transactions(&pool).await?;
    copies(&pool).await?;
    errors(&pool).await?;
    // A cache so small that statements are closed all the time.
    let options: PgConnectOptions = url.parse::<PgConnectOptions>()?.statement_cache_capacity(2);
    let mut small = options.connect().await?;
    for round in 0..3 {
        for table in ["customers", "orders", "products", "notes"] {
            let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
                .fetch_one(&mut small)
                .await?;
            println!("{round} {table} {count}");
        }
    }
    small.clear_cached_statements().await?;
    described(&mut small).await?;
    small.close().await?;
    let mut listener = PgListener::connect(&url).await?;
    listener.listen("told").await?;
    pool.execute("NOTIFY told, 'one'").await?;
    let heard = listener.recv().await?;
    println!("{} {}", heard.channel(), heard.payload());
    drop(listener);
    pool.close().await;
    println!("END");
    Ok(())
}

fn show(row: &PgRow) {
    let columns: Vec<_> =
        row.columns().iter().map(|column| format!("{}:{}", column.name(), column.type_info().name())).collect();
    println!("{columns:?}");
}

#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "size", rename_all = "lowercase")]
enum Size {
    Small,
    Medium,
    Large,
}

async fn values(pool: &PgPool) -> Done {
    let sql = "SELECT id, total::text, paid, tags, note, token, raw FROM orders WHERE tenant_id = $1 ORDER BY id";
    for tenant in [7, 8, 99] {
        let rows = sqlx::query(sql).bind(tenant).fetch_all(pool).await?;
        rows.first().map(show);
        for row in &rows {
            let (tags, note): (Option<Vec<String>>, Json<serde_json::Value>) = (row.get(3), row.get(4));
            println!(
                "{} {} {} {tags:?} {} {} {:?}",
                row.get::<i32, _>(0),
                row.get::<String, _>(1),
                row.get::<bool, _>(2),
                note.0,
                row.get::<Uuid, _>(5),
                row.get::<Vec<u8>, _>(6)
            );
        }
    }
    let mut rows = sqlx::query_as::<_, (i32, i64)>(
        "SELECT tenant_id, count(*) FROM orders WHERE tenant_id = ANY($1) GROUP BY 1 ORDER BY 1",
    )
    .bind(vec![1, 5, 9])
    .fetch(pool);
    while let Some(row) = rows.try_next().await? {
        println!("{row:?}");
    }
    drop(rows);
    // A type that users made, found in the catalog.
    let sizes: Vec<(String, Option<Size>)> =
        sqlx::query_as("SELECT code, size FROM products ORDER BY code").fetch_all(pool).await?;
    println!("{sizes:?}");
    let large: Vec<String> =
        sqlx::query_scalar("SELECT code FROM products WHERE size = $1").bind(Size::Large).fetch_all(pool).await?;
    println!("{large:?}");
    Ok(())
}

async fn transactions(pool: &PgPool) -> Done {
    let mut outer = pool.begin().await?;
    let done = sqlx::query("UPDATE customers SET name = 'outer' WHERE id = $1").bind(1).execute(&mut *outer).await?;
    println!("{}", done.rows_affected());
    let mut inner = outer.begin().await?;
    sqlx::query("DELETE FROM orders WHERE tenant_id = $1").bind(7).execute(&mut *inner).await?;
    inner.rollback().await?;
    let left: (i64, i64) = sqlx::query_as("SELECT (SELECT count(*) FROM orders WHERE tenant_id = 7), (SELECT count(*) FROM customers WHERE name = 'outer')")
        .fetch_one(&mut *outer)
        .await?;
    println!("{left:?}");
    // Dropped: rolled back with the next use of its connection.
    drop(outer);
    println!(
        "{}",
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM customers WHERE name = 'outer'").fetch_one(pool).await?
    );
    Ok(())
}

async fn copies(pool: &PgPool) -> Done {
    let mut copy = pool.copy_in_raw("COPY customers (tenant_id, id, name) FROM STDIN").await?;
    for tenant in 1..=12 {
        copy.send(format!("{tenant}\t60\tcopied\n").into_bytes()).await?;
    }
    println!("{} copied", copy.finish().await?);
    let out = pool.copy_out_raw("COPY (SELECT tenant_id FROM customers WHERE id = 60 ORDER BY 1) TO STDOUT").await?;
    let parts: Vec<_> = out.try_collect().await?;
    println!("{:?}", String::from_utf8_lossy(&parts.concat()));
    let mut copy = pool.copy_in_raw("COPY customers (tenant_id, id, name) FROM STDIN").await?;
    copy.send(&b"1\t61\tnever\n"[..]).await?;
    copy.abort("not these").await?;
    Ok(())
}

async fn errors(pool: &PgPool) -> Done {
    for sql in [
        "INSERT INTO customers VALUES (7, 1, 'twice')",
        "SELECT nam FROM customers WHERE tenant_id = 7",
        "SELECT 1 / (id - id) FROM orders ORDER BY id",
        "INSERT INTO orders (tenant_id, id, customer_id) VALUES (7, 70, 999)",
    ] {
        let error = pool.execute(sql).await.expect_err(sql);
        let of = error.as_database_error().unwrap_or_else(|| panic!("{error}"));
        println!("{:?} {} {:?} {:?} {:?}", of.code(), of.message(), of.table(), of.constraint(), of.kind());
    }
    Ok(())
}

async fn described(conn: &mut PgConnection) -> Done {
    let statement =
        conn.prepare(sqlx::SqlStr::from_static("SELECT tenant_id, name FROM customers WHERE tenant_id = $1")).await?;
    let columns: Vec<_> = sqlx::Statement::columns(&statement).iter().map(|column| column.name().to_owned()).collect();
    println!("{columns:?}");
    Ok(())
}
