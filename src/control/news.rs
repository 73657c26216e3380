//! News of definitions: a router that has run DDL tells the others on a channel of the home shard, and they read the catalog at once. What is
//! not heard (a broken connection, DDL past the routers) is found by the timer.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::backend::cluster::Database;
use crate::backend::settings::quote_literal;
use crate::control::catalog;
use crate::fault::Fault;
use crate::wire::frame::{Fields, Frame};

const CHANNEL: &str = "pgloom_catalog";
/// Before a connection that broke is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Tells other routers that this one has run DDL. Where that fails, they find it when their time has come.
pub async fn tell(database: &Database, router: &str) {
    let told = async {
        let mut server = super::connect(database, database.cluster.load().topology.home).await?;
        server.command(&format!("NOTIFY {CHANNEL}, {}", quote_literal(router))).await
    };
    if let Err(fault) = told.await {
        tracing::debug!(database = %database.name, error = %fault, "other routers are not told of a definition");
    }
}

/// Reads the catalog whenever another router has run DDL. Never ends.
pub async fn follow(database: Arc<Database>, router: Box<str>) {
    // The first look makes what the router needs on the shards: read before that, the catalog would be another one afterwards.
    let _ = database.look().await;
    loop {
        if let Err(fault) = listen(&database, &router).await {
            tracing::debug!(database = %database.name, error = %fault, "news of definitions are not heard");
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Listens for as long as the connection lasts.
async fn listen(database: &Arc<Database>, router: &str) -> Result<(), Fault> {
    let home = database.cluster.load().topology.home;
    let mut server = super::connect(database, home).await?;
    server.command(&format!("LISTEN {CHANNEL}")).await?;
    // What was told while nobody listened.
    catalog::reload(database, false, None).await?;
    loop {
        let mut news = is_of_another(&server.any_frame().await?, router)?;
        // What has come meanwhile is read with it.
        while let Some(frame) = next_at_hand(&mut server)? {
            news |= is_of_another(&frame, router)?;
        }
        if news {
            catalog::reload(database, true, None).await?;
        }
    }
}

fn next_at_hand(server: &mut Backend) -> Result<Option<Frame>, Fault> {
    let frame = server.cut()?;
    frame.iter().for_each(|frame| server.note(frame));
    Ok(frame)
}

/// Whether it is a NotificationResponse that this router has not sent itself.
fn is_of_another(frame: &Frame, router: &str) -> Result<bool, Fault> {
    if frame.tag == b'E' {
        return Err(crate::backend::server_fault(frame.body()));
    }
    if frame.tag != b'A' {
        return Ok(false);
    }
    let mut fields = Fields::new(frame.body());
    fields.u32()?;
    fields.cstr()?;
    Ok(fields.cstr()? != router.as_bytes())
}
