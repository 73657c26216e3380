//! PREPARE in SQL: the router keeps the statement as one of the protocol, whatever tables it names, so the two share their names. The
//! home shard, or that of the placed schema whose tables it names, has the word on types and errors.

use std::sync::Arc;

use crate::backend::settings::{quote_identifier, quote_literal};
use crate::exec::forward::NO_POSITION;
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::session::local::LocalRows;
use crate::session::prepared::ClientStatement;
use crate::session::promise::parameter_types;
use crate::session::{Failure, Session};
use crate::sql::lexer::with_escapes;
use crate::sql::outcome::Outcome;
use crate::sql::utility::{StatementKind, prepared};
use crate::types::oid;

/// How the names begin that statements have on the servers.
const OWN_NAMES: &str = "pgloom_";

impl Session {
    /// PREPARE, in either protocol.
    pub(super) async fn prepare_sql(&mut self, name: &str, text: &str) -> Result<LocalRows, Failure> {
        check_own_name(name)?;
        let written = prepared(text).and_then(|inner| text.get(inner..));
        let inner: Option<Arc<str>> = written.map(|inner| self.kept(inner));
        let shard = match &inner {
            Some(query) if self.view.topology.places_schemas() => self.shard_for_prepare(query).await?,
            _ => self.view.topology.home,
        };
        let types = self.prepared_types(shard, name, text).await?;
        self.statements.check_new(name.as_bytes())?;
        let unread = || Fault::new(SqlState::INTERNAL_ERROR, "a PREPARE that the server alone could read");
        let query = inner.ok_or_else(unread)?;
        let before = prepared(text).and_then(|inner| text.get(..inner)).map_or(0, |before| before.chars().count());
        let behind = self.offset.saturating_add(u32::try_from(before).unwrap_or(u32::MAX));
        self.scan_one(&query)?;
        let analysis = self.analysis(&query);
        let analysis = self.seen(&query, analysis).await?;
        if let Outcome::Refuse(fault) = &analysis.outcome {
            return Err(fault.clone().into());
        }
        // Each shard is told them by its own numbers, but for those that the home shard does not have: they must follow from the statement.
        let types: Box<[Oid]> = match self.numbers_for(shard) {
            Some(numbers) => types.iter().map(|of| numbers.to_home(*of)).collect(),
            None => types,
        };
        let at_home = shard == self.view.topology.home;
        let everywhere = |of: &Oid| if *of >= oid::FIRST_NORMAL && !at_home { 0 } else { *of };
        let declared: Box<[Oid]> = types.iter().map(everywhere).collect();
        let found = self.found_description(shard, written.unwrap_or(&query), behind, &declared).await?;
        let Some(description) = found.filter(|found| parameter_types(&found.0).is_ok_and(|found| found == types))
        else {
            return Err(unknown_types().into());
        };
        let statement = self.client_statement(query, declared, analysis);
        statement.set_arguments(types);
        // In a text that was written in another way the servers find other places than in the client's.
        statement.set_behind(if written == Some(&*statement.text) { behind } else { NO_POSITION });
        statement.set_promise(statement.promise_of(&description)?);
        statement.set_kept();
        statement.set_described(description.0, description.1);
        self.statements.insert(name.as_bytes(), statement, self.limits.max_statements)?;
        if !self.tx.is_open() {
            self.release_idle();
        }
        Ok(LocalRows { tag: "PREPARE".to_owned(), ..LocalRows::default() })
    }

    /// The text that is kept of what is prepared. Backslashes in plain strings have been warned of now, and are not once more at each EXECUTE.
    fn kept(&self, inner: &str) -> Arc<str> {
        let written = if self.scope.standard_strings() { None } else { with_escapes(inner) };
        written.map_or_else(|| inner.into(), Into::into)
    }

    /// Beside placed schemas: the shard that has all that the statement names. What the router refuses it refuses here, for no server
    /// could be asked.
    async fn shard_for_prepare(&mut self, query: &Arc<str>) -> Result<ShardId, Failure> {
        self.scan_one(query)?;
        let analysis = self.analysis(query);
        if let Outcome::Refuse(fault) = &analysis.outcome {
            return Err(self.refusal(fault, query, &[]).await);
        }
        let statement = self.client_statement(Arc::clone(query), Box::default(), analysis);
        if self.foreign_plan(&statement).is_some() {
            return Err(Fault::unsupported(
                "PREPARE of this statement is not supported",
                "no server has all of its tables, and so none can tell the types of its parameters",
                "Use the driver's own prepared statements.",
            )
            .into());
        }
        Ok(self.shard_with_tables(&statement.analysis.outcome)?)
    }

    /// The types of its parameters, as this shard finds them.
    async fn prepared_types(&mut self, shard: ShardId, name: &str, text: &str) -> Result<Box<[Oid]>, Failure> {
        let at = self.enlist(shard).await?;
        let server = &mut self.held[at].server;
        server.ask(text);
        server.ask(&format!(
            "SELECT unnest(parameter_types)::pg_catalog.oid FROM pg_catalog.pg_prepared_statements WHERE name = {}",
            quote_literal(name)
        ));
        server.ask(&format!("DEALLOCATE {}", quote_identifier(name)));
        let types = server.settle().await.map_err(|fault| fault.moved(self.offset))?;
        let types: Option<Box<[Oid]>> =
            types.into_iter().map(|row| row.into_iter().next().flatten()?.parse().ok()).collect();
        let unknown = || Fault::new(SqlState::INTERNAL_ERROR, "a server did not tell the types of parameters");
        Ok(types.ok_or_else(unknown)?)
    }

    /// `25P02`, `26000` and the like: the statement that an EXECUTE names, as it is under the catalog of now.
    pub(super) fn statement_named(&mut self, name: &str) -> Result<Arc<ClientStatement>, Failure> {
        check_own_name(name)?;
        self.current(name.as_bytes())
    }
}

/// What kind of statement an EXECUTE may be replaced by.
pub(super) fn is_query(statement: &ClientStatement) -> bool {
    matches!(statement.analysis.kind, StatementKind::Query | StatementKind::SetConfig(_))
}

pub(super) fn unknown_types() -> Fault {
    Fault::unsupported(
        "a prepared statement with parameters of user-defined types is not supported here",
        "such a type has another number on each shard, and it does not follow from the statement",
        "Cast the parameters in the statement.",
    )
}

fn check_own_name(name: &str) -> Result<(), Fault> {
    if !name.starts_with(OWN_NAMES) {
        return Ok(());
    }
    Err(Fault::unsupported(
        format!("PREPARE and EXECUTE of a name that begins with \"{OWN_NAMES}\" are not supported"),
        "statements have such names on the servers",
        "Give the statement another name.",
    ))
}
