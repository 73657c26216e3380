//! Users whom the configuration does not have: the home shard is asked who they are (`auth_query`), on a connection of the router's own
//! that no client's parameter has touched, with the name as a bound value.

use std::sync::Arc;
use std::time::Instant;

use crate::backend::Backend;
use crate::backend::asked::{Asked, AuthQuery};
use crate::backend::cluster::Database;
use crate::backend::connector::Credentials;
use crate::backend::inflight::{Audience, Owed};
use crate::control;
use crate::fault::{Blame, Fault, SqlState};
use crate::secret::Secret;
use crate::types::oid;
use crate::wire::auth::{ScramVerifier, Verifier};
use crate::wire::request;

/// What the router asks by itself. Whose password is over, and who may not log in, is nobody.
pub const OWN_QUERY: &str = "SELECT rolname, rolpassword FROM pg_catalog.pg_authid \
     WHERE rolname OPERATOR(pg_catalog.=) $1::pg_catalog.name AND rolcanlogin \
     AND (rolvaliduntil IS NULL OR rolvaliduntil OPERATOR(pg_catalog.>) pg_catalog.now())";
/// Bytes of a name: Postgres has no longer ones, and would cut one that is.
const LONGEST_NAME: usize = 63;

/// A user of this database whom the configuration does not have; `None`: there is no such user, or it has no password. And whether that
/// was asked now.
///
/// # Errors
/// `57P03`, the same for everybody: the home shard does not answer, or not with what it was asked for.
pub async fn find(database: &Database, user: &str) -> Result<(Option<Asked>, bool), Fault> {
    let query = database.auth_query.as_ref().filter(|_| user.len() <= LONGEST_NAME);
    let Some(query) = query else { return Ok((None, false)) };
    if let Some(known) = database.asked().fresh(user, Instant::now(), query.ttl) {
        return Ok((known, false));
    }
    match tokio::time::timeout(query.timeout, find_out(database, query, user)).await {
        Ok(Ok(found)) => Ok((found, true)),
        Ok(Err(fault)) => Err(unknown(database, &fault.to_string())),
        Err(_) => Err(unknown(database, "it has not answered within auth_query_timeout")),
    }
}

/// In its turn: few ask at a time.
async fn find_out(database: &Database, query: &AuthQuery, user: &str) -> Result<Option<Asked>, Fault> {
    let _place = database.asked().place().await;
    let at = Instant::now();
    // Others who waited for the same name have been told meanwhile.
    if let Some(known) = database.asked().fresh(user, at, query.ttl) {
        return Ok(known);
    }
    let told = ask(database, query, user).await?;
    let told = told.and_then(|password| made_of(database, user, &password));
    database.asked().note(user, told.clone(), at);
    Ok(told)
}

/// What the client is told says nothing of who exists; the log has the cause.
fn unknown(database: &Database, why: &str) -> Fault {
    tracing::warn!(database = %database.name, error = why, "auth_query: the home shard does not tell who may come in");
    Fault::new(SqlState::CANNOT_CONNECT_NOW, "the users of this database cannot be looked up now")
        .hint("Retry shortly.")
        .blame(Blame::Server)
        .fatal()
}

/// The password of this user as it is stored.
async fn ask(database: &Database, query: &AuthQuery, user: &str) -> Result<Option<Secret>, Fault> {
    let home = database.cluster.load().topology.home;
    let mut server = control::connect(database, home).await?;
    // Nobody waits for it longer, and it would stay in the way of others there.
    server.query(&format!("SET statement_timeout TO {}", query.timeout.as_millis().max(1))).await?;
    let rows = rows_for(&mut server, &query.text, user).await?;
    let row = match &rows[..] {
        [] => return Ok(None),
        [row] => row,
        _ => return Err(Fault::new(SqlState::INTERNAL_ERROR, "auth_query gives several rows for one user")),
    };
    match &row[..] {
        // The name as it was asked for, and no other one that a query may hold for the same.
        [Some(name), password] if name == user => Ok(password.as_deref().map(Secret::new)),
        [_, _] => Ok(None),
        _ => Err(Fault::new(SqlState::INTERNAL_ERROR, "auth_query gives other columns than a name and a password")),
    }
}

async fn rows_for(server: &mut Backend, text: &str, user: &str) -> Result<Vec<Vec<Option<String>>>, Fault> {
    server.parse(b"", text.as_bytes(), &[oid::TEXT])?;
    server.inflight.push(Owed::Parse(Audience::Router));
    request::bind(&mut server.out, b"", b"", 0, [Some(user.as_bytes())], 0)?;
    server.inflight.push(Owed::Bind(Audience::Router));
    request::execute(&mut server.out, b"", 0)?;
    server.inflight.push(Owed::Execute(Audience::Router));
    server.out.extend_from_slice(request::SYNC);
    server.inflight.push(Owed::Sync(Audience::Router));
    server.settle().await
}

/// What checks the client, and what logs in at the servers. `None`: what is stored is no password.
fn made_of(database: &Database, user: &str, password: &Secret) -> Option<Asked> {
    let text = std::str::from_utf8(password.reveal()).ok()?;
    let verifier = match Verifier::parse(text) {
        Ok(verifier) => verifier,
        Err(error) => {
            tracing::warn!(database = %database.name, user, %error, "auth_query: what is stored for a user is no password");
            return None;
        }
    };
    let (password, passed) = match &verifier {
        Verifier::Scram(_) => (None, ScramVerifier::parse(text).map(|verifier| database.access.keys.of(&verifier))),
        // Servers that ask for md5 are content with the hash.
        Verifier::Md5(_) | Verifier::Plain(_) => (Some(password.clone()), None),
    };
    // What was derived of a password in clear text is kept while it is the same.
    let before = database.asked().fresh(user, Instant::now(), std::time::Duration::MAX).flatten();
    let before =
        before.filter(|before| verifier.password().is_some() && before.verifier.password() == verifier.password());
    let verifier = before.map_or_else(|| Arc::new(verifier), |before| before.verifier);
    Some(Asked { verifier, credentials: Credentials { user: user.to_owned(), password, passed } })
}
