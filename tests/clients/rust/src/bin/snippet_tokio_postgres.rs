use tokio_postgres::{Error, NoTls};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let url = std::env::var("CLIENT_URL").unwrap_or("postgresql://app@127.0.0.1:6432/shop".into());
    let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(connection);
    let transaction = client.transaction().await?;
    let insert = transaction.prepare("INSERT INTO customers (tenant_id, id, name) VALUES ($1, $2, $3)").await?;
    for tenant in 1..=12 {
        transaction.execute(&insert, &[&tenant, &33, &format!("of {tenant}")]).await?;
    }
    transaction.commit().await?;
    for row in client.query("SELECT tenant_id, name FROM customers WHERE id = $1 ORDER BY tenant_id", &[&33]).await? {
        println!("{} {}", row.get::<_, i32>(0), row.get::<_, &str>(1));
    }
    Ok(())
}
