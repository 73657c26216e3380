//! tokio-postgres: prepared statements, pipelining, portals, COPY of both directions, errors, a cancel, and notifications.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt, TryStreamExt, future, pin_mut, stream};
use tokio_postgres::types::{Json, ToSql};
use tokio_postgres::{AsyncMessage, Client, Error, NoTls, Row, SimpleQueryMessage};
use uuid::Uuid;

type Done = Result<(), Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Done {
    let url = std::env::var("CLIENT_URL").expect("CLIENT_URL says where to");
    let (mut client, mut connection) = tokio_postgres::connect(&url, NoTls).await?;
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = messages.next().await {
            let _ = sender.send(message);
        }
    });
    values(&client).await?;
    pipeline(&client).await?;
    portals(&mut client).await?;
    copies(&client).await?;
    errors(&mut client).await?;
    cancel(&client).await?;
    simple(&client).await?;
    client.batch_execute("LISTEN told; NOTIFY told, 'one'; NOTIFY told, 'two'").await?;
    let mut told = Vec::new();
    while told.len() < 2 {
        match tokio::time::timeout(Duration::from_secs(30), heard.recv()).await {
            Ok(Some(AsyncMessage::Notification(of))) => told.push(format!("{} {}", of.channel(), of.payload())),
            Ok(Some(AsyncMessage::Notice(notice))) => println!("notice {notice}"),
            other => panic!("{other:?}"),
        }
    }
    println!("{told:?}");
    println!("END");
    Ok(())
}

fn show(rows: &[Row]) {
    for row in rows {
        let names: Vec<_> = row.columns().iter().map(|c| format!("{}:{}", c.name(), c.type_().name())).collect();
        println!("{names:?}");
        break;
    }
}

async fn values(client: &Client) -> Done {
    let all = "SELECT tenant_id, id, total::text, paid, tags, note, token, raw, placed::text FROM orders WHERE tenant_id = $1 ORDER BY id";
    let statement = client.prepare(all).await?;
    println!("{:?}", statement.params());
    for tenant in [7, 8, 99] {
        let rows = client.query(&statement, &[&tenant]).await?;
        show(&rows);
        for row in &rows {
            let (tags, note): (Option<Vec<String>>, Json<serde_json::Value>) = (row.get(4), row.get(5));
            let (token, raw): (Uuid, Vec<u8>) = (row.get(6), row.get(7));
            println!(
                "{} {} {} {tags:?} {} {token} {raw:?} {}",
                row.get::<_, i32>(1),
                row.get::<_, &str>(2),
                row.get::<_, bool>(3),
                note.0,
                row.get::<_, &str>(8)
            );
        }
    }
    let sizes = client.query("SELECT code, size::text, count(*) FROM products GROUP BY 1, 2 ORDER BY 1", &[]).await?;
    show(&sizes);
    let keys = vec![1, 5, 9];
    let many = client
        .query(
            "SELECT tenant_id, count(*), max(total)::text FROM orders WHERE tenant_id = ANY($1) GROUP BY 1 ORDER BY 1",
            &[&keys],
        )
        .await?;
    for row in &many {
        println!("{} {} {}", row.get::<_, i32>(0), row.get::<_, i64>(1), row.get::<_, &str>(2));
    }
    println!("{:?}", client.query_opt("SELECT 1 FROM orders WHERE tenant_id = $1 AND id = 0", &[&7]).await?.is_none());
    Ok(())
}

/// Requests that do not wait for each other go out as one pipeline.
async fn pipeline(client: &Client) -> Done {
    let one = client.prepare("SELECT name FROM customers WHERE tenant_id = $1 AND id = $2").await?;
    let asked = (1..=12).flat_map(|tenant| (1..=3).map(move |id| (tenant, id))).collect::<Vec<(i32, i32)>>();
    let running = asked.iter().map(|(tenant, id)| {
        let one = &one;
        async move {
            let parameters: [&(dyn ToSql + Sync); 2] = [tenant, id];
            client.query_one(one, &parameters).await
        }
    });
    let names: Vec<String> = future::try_join_all(running).await?.iter().map(|row| row.get(0)).collect();
    println!("{names:?}");
    let ends = future::join(
        client.execute("INSERT INTO customers VALUES ($1, 50, 'x')", &[&3]),
        client.execute("INSERT INTO customers VALUES ($1, 50, 'y')", &[&3]),
    );
    let (first, second) = ends.await;
    println!("{first:?} {:?}", second.map_err(|error| error.code().map(|code| code.code().to_owned())));
    Ok(())
}

async fn portals(client: &mut Client) -> Done {
    let transaction = client.transaction().await?;
    let portal = transaction.bind("SELECT tenant_id, id FROM orders ORDER BY tenant_id, id", &[]).await?;
    for size in [7, 20, 0, 5] {
        let rows = transaction.query_portal(&portal, size).await?;
        println!(
            "{size}: {} rows, {:?}",
            rows.len(),
            rows.first().map(|row| (row.get::<_, i32>(0), row.get::<_, i32>(1)))
        );
    }
    transaction.commit().await
}

async fn copies(client: &Client) -> Done {
    let sink = client.copy_in("COPY customers (tenant_id, id, name) FROM STDIN").await?;
    pin_mut!(sink);
    for tenant in 1..=12 {
        sink.send(bytes(format!("{tenant}\t60\tcopied {tenant}\n"))).await?;
    }
    println!("{} copied", sink.finish().await?);
    let out = client
        .copy_out("COPY (SELECT tenant_id, name FROM customers WHERE id = 60 ORDER BY 1) TO STDOUT (FORMAT csv)")
        .await?;
    let parts: Vec<_> = out.try_collect().await?;
    println!("{}", String::from_utf8_lossy(&parts.concat()));
    let sink = client.copy_in("COPY customers (tenant_id, id, name) FROM STDIN").await?;
    pin_mut!(sink);
    sink.send(bytes("1\t61\tgood\n1\t60\ttwice\n".to_owned())).await?;
    let error = sink.finish().await.expect_err("a row is there already");
    told(&error);
    Ok(())
}

fn bytes(text: String) -> std::io::Cursor<Vec<u8>> {
    std::io::Cursor::new(text.into_bytes())
}

fn told(error: &Error) {
    let of = error.as_db_error().unwrap_or_else(|| panic!("{error}"));
    println!(
        "{} {} {} {:?} {:?} {:?} {:?} {:?} {:?}",
        of.severity(),
        of.code().code(),
        of.message(),
        of.detail(),
        of.hint(),
        of.position(),
        of.table(),
        of.column(),
        of.constraint()
    );
}

async fn errors(client: &mut Client) -> Done {
    for sql in [
        "INSERT INTO customers VALUES (7, 1, 'twice')",
        "INSERT INTO customers (tenant_id, id) VALUES (7, 70)",
        "SELECT nam FROM customers WHERE tenant_id = 7",
        "SELECT 1 / (id - id) FROM orders ORDER BY id",
        "INSERT INTO orders (tenant_id, id, customer_id) VALUES (7, 70, 999)",
    ] {
        told(&client.execute(sql, &[]).await.expect_err(sql));
    }
    let mut transaction = client.transaction().await?;
    transaction.execute("UPDATE customers SET name = 'inside' WHERE id = $1", &[&1]).await?;
    let inner = transaction.savepoint("within").await?;
    told(&inner.execute("SELECT 1 / 0", &[]).await.expect_err("a division"));
    inner.rollback().await?;
    println!(
        "{}",
        transaction.query_one("SELECT count(*) FROM customers WHERE name = 'inside'", &[]).await?.get::<_, i64>(0)
    );
    transaction.rollback().await?;
    println!(
        "{}",
        client.query_one("SELECT count(*) FROM customers WHERE name = 'inside'", &[]).await?.get::<_, i64>(0)
    );
    Ok(())
}

async fn cancel(client: &Client) -> Done {
    let token = client.cancel_token();
    let stop = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await
    };
    let (asked, stopped) =
        future::join(client.query("SELECT pg_sleep(30) FROM customers WHERE tenant_id = $1", &[&7]), stop).await;
    stopped?;
    told(&asked.expect_err("it was cancelled"));
    Ok(())
}

async fn simple(client: &Client) -> Done {
    for message in client
        .simple_query(
            "SELECT count(*) FROM orders; UPDATE customers SET name = name WHERE tenant_id < 3; SELECT 1 WHERE false",
        )
        .await?
    {
        match message {
            SimpleQueryMessage::Row(row) => println!("row {:?}", row.get(0)),
            SimpleQueryMessage::CommandComplete(rows) => println!("done {rows}"),
            SimpleQueryMessage::RowDescription(columns) => println!("columns {}", columns.len()),
            _ => println!("other"),
        }
    }
    Ok(())
}
