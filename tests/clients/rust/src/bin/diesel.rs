//! diesel: its query builder over libpq, batches, upserts, transactions, associations, COPY, a type of its own.

use diesel::connection::SimpleConnection;
use diesel::dsl::{count_star, sum};
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::{BigInt, Integer, Text};

diesel::table! {
    customers (tenant_id, id) {
        tenant_id -> Integer,
        id -> Integer,
        name -> Varchar,
        joined -> Date,
    }
}
diesel::table! {
    orders (tenant_id, id) {
        tenant_id -> Integer,
        id -> Integer,
        customer_id -> Integer,
        product -> Nullable<Text>,
        paid -> Bool,
        placed -> Timestamptz,
        tags -> Nullable<Array<Nullable<Text>>>,
        note -> Nullable<Jsonb>,
        raw -> Nullable<Bytea>,
    }
}
diesel::table! {
    notes (id) {
        id -> Integer,
        body -> Nullable<Text>,
    }
}
diesel::allow_tables_to_appear_in_same_query!(customers, orders);

#[derive(Debug, Queryable, Selectable, Insertable, AsChangeset, PartialEq)]
#[diesel(table_name = customers, primary_key(tenant_id, id))]
struct Customer {
    tenant_id: i32,
    id: i32,
    name: String,
    joined: chrono::NaiveDate,
}

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = orders)]
#[allow(dead_code)]
struct Order {
    tenant_id: i32,
    id: i32,
    product: Option<String>,
    placed: chrono::DateTime<chrono::Utc>,
    tags: Option<Vec<Option<String>>>,
    note: Option<serde_json::Value>,
    raw: Option<Vec<u8>>,
}

#[derive(Debug, QueryableByName)]
#[allow(dead_code)]
struct Group {
    #[diesel(sql_type = Integer)]
    tenant_id: i32,
    #[diesel(sql_type = BigInt)]
    n: i64,
    #[diesel(sql_type = Text)]
    name: String,
}

fn told(error: &Error) -> String {
    match error {
        Error::DatabaseError(kind, about) => format!("{kind:?} {} {:?} {:?}", about.message(), about.constraint_name(), about.table_name()),
        other => other.to_string(),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut conn = PgConnection::establish(&std::env::var("CLIENT_URL")?)?;
    let conn = &mut conn;
    for tenant in 1..=12 {
        let found = orders::table.filter(orders::tenant_id.eq(tenant)).order(orders::id).select(Order::as_select()).first(conn)?;
        println!("first: {found:?}");
    }
    let joined: Vec<(String, i64)> = customers::table
        .inner_join(orders::table.on(orders::tenant_id.eq(customers::tenant_id).and(orders::customer_id.eq(customers::id))))
        .group_by(customers::name)
        .select((customers::name, count_star()))
        .order((count_star().desc(), customers::name))
        .limit(4)
        .load(conn)?;
    println!("joined: {joined:?}");
    let ids: Option<i64> = orders::table.filter(orders::paid.eq(true)).select(sum(orders::id)).first(conn)?;
    println!("sum: {ids:?}");
    let some: Vec<(i32, i32)> = orders::table.filter(orders::tenant_id.eq_any([1, 5, 9])).select((orders::tenant_id, orders::id)).order((orders::tenant_id, orders::id)).load(conn)?;
    println!("any: {some:?}");
    let date = chrono::NaiveDate::from_ymd_opt(2026, 5, 6).ok_or("no date")?;
    let new: Vec<Customer> = (1..=8).map(|tenant_id| Customer { tenant_id, id: 85, name: format!("diesel {tenant_id}"), joined: date }).collect();
    println!("inserted: {}", diesel::insert_into(customers::table).values(&new).execute(conn)?);
    let mut found = diesel::insert_into(customers::table)
        .values(&new)
        .on_conflict((customers::tenant_id, customers::id))
        .do_update()
        .set(customers::name.eq("upserted"))
        .returning(Customer::as_returning())
        .get_results(conn)?;
    found.sort_by_key(|c| c.tenant_id);
    println!("upserted: {found:?}");
    let changed: Customer = diesel::update(customers::table.find((3, 85))).set(customers::name.eq("changed")).get_result(conn)?;
    println!("changed: {changed:?}");
    let result = conn.transaction::<(), Error, _>(|conn| {
        diesel::delete(customers::table.filter(customers::id.eq(85))).execute(conn)?;
        let inner = conn.transaction::<usize, Error, _>(|conn| diesel::insert_into(customers::table).values((customers::tenant_id.eq(1), customers::id.eq(1), customers::name.eq("again"))).execute(conn));
        println!("inner: {}", inner.map_or_else(|e| told(&e), |n| n.to_string()));
        Err(Error::RollbackTransaction)
    });
    println!("rolled back: {}", result.map_or_else(|e| told(&e), |()| "no".to_owned()));
    println!("there: {}", customers::table.filter(customers::id.eq(85)).count().get_result::<i64>(conn)?);
    let note: (i32, Option<String>) = diesel::insert_into(notes::table).values(notes::body.eq("diesel")).get_result(conn)?;
    println!("serial: {note:?}");
    let raw: Vec<Group> = diesel::sql_query("SELECT tenant_id, count(*) AS n, max(name) AS name FROM customers GROUP BY tenant_id HAVING count(*) > $1 ORDER BY tenant_id").bind::<BigInt, _>(3).load(conn)?;
    println!("raw: {raw:?}");
    let locked: Vec<i32> = customers::table.filter(customers::tenant_id.eq(2)).select(customers::id).order(customers::id).for_update().load(conn)?;
    println!("locked: {locked:?}");
    conn.batch_execute("SET work_mem = '5MB'; DELETE FROM customers WHERE id = 85")?;
    for sql in ["SELEC 1", "SELECT nothing FROM orders", "INSERT INTO orders (tenant_id, id, customer_id) VALUES (2, 900, 900)"] {
        println!("error: {}", diesel::sql_query(sql).execute(conn).map_or_else(|e| told(&e), |n| n.to_string()));
    }
    println!("END");
    Ok(())
}
