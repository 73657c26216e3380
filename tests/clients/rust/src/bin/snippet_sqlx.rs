use sqlx::postgres::PgPoolOptions;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), sqlx::Error> {
    let url = std::env::var("CLIENT_URL").unwrap_or("postgresql://app@127.0.0.1:6432/shop".into());
    let pool = PgPoolOptions::new().max_connections(5).connect(&url).await?;
    let mut transaction = pool.begin().await?;
    sqlx::query("UPDATE customers SET name = $1 WHERE tenant_id = $2 AND id = $3")
        .bind("Ada")
        .bind(7)
        .bind(1)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    let totals: Vec<(i32, String)> = sqlx::query_as(
        "SELECT tenant_id, sum(total)::text FROM orders GROUP BY tenant_id ORDER BY sum(total) DESC LIMIT 3",
    )
    .fetch_all(&pool)
    .await?;
    println!("{totals:?}");
    Ok(())
}
