use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

diesel::table! {
    customers (tenant_id, id) {
        tenant_id -> Integer,
        id -> Integer,
        name -> Text,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("CLIENT_URL").unwrap_or("postgresql://app@127.0.0.1:6432/shop".into());
    let mut conn = AsyncPgConnection::establish(&url).await?;
    let rows: Vec<_> = (1..=12)
        .map(|tenant| {
            (customers::tenant_id.eq(tenant), customers::id.eq(35), customers::name.eq(format!("of {tenant}")))
        })
        .collect();
    diesel::insert_into(customers::table).values(rows).execute(&mut conn).await?;
    let found: Vec<(i32, String)> = customers::table
        .filter(customers::id.eq(35))
        .order(customers::tenant_id)
        .select((customers::tenant_id, customers::name))
        .load(&mut conn)
        .await?;
    println!("{found:?}");
    Ok(())
}
