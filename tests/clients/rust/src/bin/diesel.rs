//! diesel through diesel-async: inserts of many rows, upserts, joins, groups, transactions, streams, and errors.

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::{dsl, sql_query, sql_types};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::TryStreamExt;

diesel::table! {
    customers (tenant_id, id) {
        tenant_id -> Integer,
        id -> Integer,
        name -> Text,
    }
}

diesel::table! {
    orders (tenant_id, id) {
        tenant_id -> Integer,
        id -> Integer,
        customer_id -> Integer,
        product -> Nullable<Text>,
        paid -> Bool,
        tags -> Nullable<Array<Nullable<Text>>>,
        note -> Nullable<Jsonb>,
        token -> Nullable<Uuid>,
    }
}

diesel::allow_tables_to_appear_in_same_query!(customers, orders);

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = orders)]
struct Order {
    #[allow(dead_code)]
    tenant_id: i32,
    id: i32,
    product: Option<String>,
    paid: bool,
    tags: Option<Vec<Option<String>>>,
    note: Option<serde_json::Value>,
    token: Option<uuid::Uuid>,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = sql_types::BigInt)]
    n: i64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("CLIENT_URL")?;
    let conn = &mut AsyncPgConnection::establish(&url).await?;
    reads(conn).await?;
    writes(conn).await?;
    transactions(conn).await?;
    conn.batch_execute("UPDATE customers SET name = 'batch' WHERE id = 2; DELETE FROM customers WHERE id = 90").await?;
    let count: Count = sql_query("SELECT count(*) AS n FROM customers WHERE name = $1")
        .bind::<sql_types::Text, _>("batch")
        .get_result(conn)
        .await?;
    println!("{}", count.n);
    println!("END");
    Ok(())
}

async fn reads(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    for tenant in [7, 8, 99] {
        let found: Vec<Order> = orders::table
            .filter(orders::tenant_id.eq(tenant))
            .order(orders::id)
            .select(Order::as_select())
            .load(conn)
            .await?;
        for order in found {
            println!(
                "{} {:?} {} {:?} {:?} {:?}",
                order.id, order.product, order.paid, order.tags, order.note, order.token
            );
        }
    }
    let joined: Vec<(String, i32)> = orders::table
        .inner_join(
            customers::table.on(orders::tenant_id.eq(customers::tenant_id).and(orders::customer_id.eq(customers::id))),
        )
        .filter(orders::paid)
        .order((customers::name, orders::id))
        .select((customers::name, orders::id))
        .limit(9)
        .load(conn)
        .await?;
    println!("{joined:?}");
    let groups: Vec<(i32, i64)> = orders::table
        .group_by(orders::tenant_id)
        .select((orders::tenant_id, dsl::count_star()))
        .filter(orders::tenant_id.eq_any([1, 5, 9]))
        .order(orders::tenant_id)
        .load(conn)
        .await?;
    println!("{groups:?}");
    let rows = customers::table
        .order((customers::tenant_id, customers::id))
        .select(customers::id)
        .load_stream::<i32>(conn)
        .await?;
    println!("{}", rows.try_fold(0, |sum, id| async move { Ok(sum + id) }).await?);
    let none = customers::table.find((99, 1)).first::<(i32, i32, String)>(conn).await.optional()?;
    println!("{none:?}");
    Ok(())
}

async fn writes(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    let row = |tenant: i32, name: &str| {
        (customers::tenant_id.eq(tenant), customers::id.eq(90), customers::name.eq(name.to_owned()))
    };
    let rows: Vec<_> = (1..=12).map(|tenant| row(tenant, "new")).collect();
    println!("{}", diesel::insert_into(customers::table).values(&rows).execute(conn).await?);
    let upserted: String = diesel::insert_into(customers::table)
        .values(row(7, "upserted"))
        .on_conflict((customers::tenant_id, customers::id))
        .do_update()
        .set(customers::name.eq("upserted"))
        .returning(customers::name)
        .get_result(conn)
        .await?;
    println!("{upserted}");
    let of = customers::table.filter(customers::id.eq(90).and(customers::tenant_id.lt(4)));
    println!("{}", diesel::update(of).set(customers::name.eq("changed")).execute(conn).await?);
    match diesel::insert_into(customers::table).values(row(7, "twice")).execute(conn).await {
        Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, of)) => {
            println!("{} {:?} {:?} {:?}", of.message(), of.details(), of.table_name(), of.constraint_name());
        }
        other => panic!("{other:?}"),
    }
    Ok(())
}

async fn transactions(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    let undone: Result<(), Error> = conn
        .transaction(async |conn| {
            diesel::delete(customers::table.filter(customers::id.eq(90))).execute(conn).await?;
            let left: i64 = customers::table.filter(customers::id.eq(90)).count().get_result(conn).await?;
            println!("{left} inside");
            Err(Error::RollbackTransaction)
        })
        .await;
    println!("{undone:?}");
    let left: i64 = customers::table.filter(customers::id.eq(90)).count().get_result(conn).await?;
    println!("{left} outside");
    Ok(())
}
