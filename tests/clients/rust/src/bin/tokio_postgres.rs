//! tokio-postgres: prepared statements, pipelines by joined futures, portals, COPY both ways, transactions, cancel, notifications.

use futures::{SinkExt, StreamExt, TryStreamExt, future, pin_mut, stream};
use std::error::Error;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, SimpleQueryMessage};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

async fn connect(heard: Option<futures::channel::mpsc::UnboundedSender<String>>) -> Result<Client> {
    let mut config: Config = std::env::var("CLIENT_URL")?.parse()?;
    let (client, mut connection) = config.application_name("rust").connect(NoTls).await?;
    tokio::spawn(async move {
        let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = messages.next().await {
            let text = match message {
                AsyncMessage::Notification(told) => format!("{} {}", told.channel(), told.payload()),
                AsyncMessage::Notice(notice) => format!("{}: {}", notice.severity(), notice.message()),
                _ => continue,
            };
            heard.iter().for_each(|heard| drop(heard.unbounded_send(text.clone())));
        }
    });
    Ok(client)
}

fn told(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |e| format!("{} {} {:?} {:?} {:?}", e.code().code(), e.message(), e.detail(), e.constraint(), e.table()),
    )
}

async fn queries(client: &Client) -> Result<()> {
    let of_tenant = client.prepare("SELECT id, name, joined::text FROM customers WHERE tenant_id = $1 ORDER BY id").await?;
    println!("prepared: {:?} {:?}", of_tenant.params(), of_tenant.columns());
    for tenant in 1..=12 {
        let rows = client.query(&of_tenant, &[&tenant]).await?;
        println!("rows: {:?}", rows.iter().map(|r| (r.get::<_, i32>(0), r.get::<_, String>(1), r.get::<_, String>(2))).collect::<Vec<_>>());
    }
    let all = client.query("SELECT tenant_id, id, paid, tags, raw FROM orders ORDER BY tenant_id, id", &[]).await?;
    for r in &all {
        println!("all: {:?} {:?}", r.get::<_, Option<Vec<String>>>(3), (r.get::<_, i32>(0), r.get::<_, i32>(1), r.get::<_, bool>(2), r.get::<_, Vec<u8>>(4)));
    }
    let size = client.query_one("SELECT size::text, size FROM products WHERE code = 'bee'", &[]).await?;
    println!("enum: {} {:?}", size.get::<_, String>(0), size.columns()[1].type_().kind());
    // Futures that are polled together are one pipeline.
    let counts = (1..=6).map(|t: i32| async move { client.query_one("SELECT count(*) FROM orders WHERE tenant_id = $1", &[&t]).await });
    let counts = future::try_join_all(counts).await?;
    println!("pipeline: {:?}", counts.iter().map(|r| r.get::<_, i64>(0)).collect::<Vec<_>>());
    for message in client.simple_query("SELECT 1 AS a; SELECT count(*) FROM orders; UPDATE notes SET body = body WHERE id = 1").await? {
        match message {
            SimpleQueryMessage::Row(row) => println!("simple: {:?}", row.get(0)),
            SimpleQueryMessage::CommandComplete(count) => println!("complete: {count}"),
            _ => {}
        }
    }
    let typed = client.query_typed("SELECT count(*) FROM customers WHERE tenant_id = ANY($1)", &[(&vec![1, 2, 3], Type::INT4_ARRAY)]).await?;
    println!("typed: {}", typed[0].get::<_, i64>(0));
    for sql in ["SELEC 1", "SELECT nothing FROM orders", "INSERT INTO customers VALUES (1, 1, 'again')", "INSERT INTO orders (tenant_id, id, customer_id) VALUES (2, 900, 900)", "SELECT 1 / 0"] {
        println!("error: {}", client.execute(sql, &[]).await.map_or_else(|e| told(&e), |n| format!("no error, {n}")));
    }
    Ok(())
}

async fn transactions(client: &mut Client) -> Result<()> {
    let mut tx = client.transaction().await?;
    for tenant in 1..=5 {
        tx.execute("UPDATE customers SET name = $2 WHERE tenant_id = $1 AND id = 1", &[&tenant, &format!("rust {tenant}")]).await?;
    }
    let inner = tx.savepoint("s").await?;
    println!("in a savepoint: {}", inner.execute("INSERT INTO customers VALUES (3, 1, 'x')", &[]).await.map_or_else(|e| told(&e), |n| n.to_string()));
    inner.rollback().await?;
    // A portal that is read in pieces.
    let portal = tx.bind("SELECT tenant_id, id FROM orders ORDER BY total, tenant_id, id", &[]).await?;
    let mut pieces = Vec::new();
    loop {
        let rows = tx.query_portal(&portal, 13).await?;
        if rows.is_empty() {
            break;
        }
        pieces.push(rows.len());
    }
    println!("portal: {pieces:?}");
    tx.commit().await?;
    let tx = client.build_transaction().read_only(true).isolation_level(tokio_postgres::IsolationLevel::RepeatableRead).start().await?;
    println!("read only: {}", tx.execute("DELETE FROM notes", &[]).await.map_or_else(|e| told(&e), |n| n.to_string()));
    drop(tx);
    let names = client.query("SELECT name FROM customers WHERE name LIKE 'rust%' ORDER BY 1", &[]).await?;
    println!("committed: {:?}", names.iter().map(|r| r.get::<_, String>(0)).collect::<Vec<_>>());
    Ok(())
}

async fn copies(client: &Client) -> Result<()> {
    let sink = client.copy_in("COPY customers (tenant_id, id, name) FROM STDIN (FORMAT binary)").await?;
    let writer = BinaryCopyInWriter::new(sink, &[Type::INT4, Type::INT4, Type::VARCHAR]);
    pin_mut!(writer);
    for n in 0..500 {
        writer.as_mut().write(&[&(1 + n % 12), &(1000 + n), &format!("copied {n}")]).await?;
    }
    println!("copied in: {}", writer.finish().await?);
    let out = client.copy_out("COPY (SELECT tenant_id, id, name FROM customers WHERE id >= 1000 ORDER BY id LIMIT 3) TO STDOUT (FORMAT binary)").await?;
    let rows: Vec<_> = BinaryCopyOutStream::new(out, &[Type::INT4, Type::INT4, Type::VARCHAR]).try_collect().await?;
    println!("copied out: {:?}", rows.iter().map(|r| (r.get::<i32>(0), r.get::<i32>(1), r.get::<String>(2))).collect::<Vec<_>>());
    let sink = client.copy_in::<_, bytes::Bytes>("COPY customers (tenant_id, id, name) FROM STDIN").await?;
    pin_mut!(sink);
    sink.send("1\t4000\tx\n".into()).await?;
    sink.send("y\t4000\tx\n".into()).await?;
    println!("bad row: {}", sink.finish().await.map_or_else(|e| told(&e), |n| n.to_string()));
    println!("deleted: {}", client.execute("DELETE FROM customers WHERE id >= 1000", &[]).await?);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let (send, mut heard) = futures::channel::mpsc::unbounded();
    let mut client = connect(Some(send)).await?;
    queries(&client).await?;
    transactions(&mut client).await?;
    copies(&client).await?;
    client.batch_execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$; LISTEN word").await?;
    println!("notice: {:?}", heard.next().await);
    client.batch_execute("NOTIFY word, 'spoken'").await?;
    println!("heard: {:?}", heard.next().await);
    let cancel = client.cancel_token();
    let (slept, _) = future::join(client.execute("SELECT pg_sleep(60)", &[]), async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        cancel.cancel_query(NoTls).await
    })
    .await;
    println!("cancelled: {}", slept.map_or_else(|e| told(&e), |n| n.to_string()));
    println!("goes on: {}", client.query_one("SELECT count(*) FROM orders", &[]).await?.get::<_, i64>(0));
    println!("END");
    Ok(())
}
