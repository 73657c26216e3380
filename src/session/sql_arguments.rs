//! The arguments of an EXECUTE in SQL: expressions, which a shard makes values of.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::backend::inflight::{Audience, Owed};
use crate::exec::replies::{Hears, watched};
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::session::finish::description;
use crate::session::prepared::ClientStatement;
use crate::session::promise::{Description, parameter_types};
use crate::session::sql_prepare::unknown_types;
use crate::session::{Failure, Session};
use crate::sql::Analysis;
use crate::sql::outcome::Outcome;
use crate::sql::utility::Execution;
use crate::types::oid;
use crate::wire::{encode, request};

impl Session {
    /// The types of a statement's parameters as the shard that has its tables tells them.
    pub(super) fn argument_types(&mut self, statement: &Arc<ClientStatement>) -> Result<Box<[Oid]>, Failure> {
        if let Some(types) = statement.arguments() {
            return Ok(types);
        }
        let unknown = || Fault::new(SqlState::INTERNAL_ERROR, "a statement was not described before it ran");
        let types = parameter_types(&statement.described().ok_or_else(unknown)?.0)?;
        statement.set_arguments(types.clone());
        Ok(types)
    }

    /// How a shard describes a statement with these types declared, which stands behind so many characters of the client's text; `None`: it
    /// cannot.
    pub(super) async fn found_description(
        &mut self,
        shard: ShardId,
        query: &str,
        behind: u32,
        declared: &[Oid],
    ) -> Result<Option<Description>, Failure> {
        let at = self.enlist(shard).await?;
        let server = &mut self.held[at].server;
        server.parse(b"", query.as_bytes(), declared)?;
        server.inflight.push(Owed::ParseHeard);
        request::describe(&mut server.out, request::Target::Statement, b"")?;
        server.inflight.push(Owed::DescribeStatement(Audience::Client));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Client));
        match description(server, &mut self.client, Hears::Behind(behind), None).await {
            Ok(described) => Ok(described.ok()),
            Err(error) => Err(self.scatter_failure(error, false).await),
        }
    }

    /// The arguments are expressions: the home shard, or that of a schema whose functions they call, makes values of the parameters'
    /// types of them, as texts.
    pub(super) async fn evaluate(
        &mut self,
        text: &str,
        found: &Execution,
        named: &ClientStatement,
        types: &[Oid],
    ) -> Result<Vec<Option<String>>, Failure> {
        if !types.is_empty() {
            self.exact_texts("EXECUTE with expressions as arguments is not supported under these settings")?;
        }
        let analysis = self.check_arguments(text.get(found.arguments.clone()).unwrap_or_default())?;
        let shard = match analysis.as_deref().map(|analysis| &analysis.outcome) {
            Some(Outcome::Shard(shard, _)) => *shard,
            _ => self.view.topology.home,
        };
        if analysis.as_deref().is_some_and(|analysis| self.needs_time(shard, analysis)) {
            return Err(Fault::unsupported(
                "the transaction's time as an argument of EXECUTE is not supported in a transaction over several shards",
                "the transaction began on another shard than the one that evaluates the arguments, at a moment of its own",
                "Take the time once (SELECT now()) and give it as a literal.",
            )
            .into());
        }
        // Such a type has the number that the shard of the statement's tables knows.
        if types.iter().any(|of| *of >= oid::FIRST_NORMAL)
            && shard != self.shard_with_tables(&named.analysis.outcome)?
        {
            return Err(unknown_types().into());
        }
        self.leave_open().await?;
        let numbers: Vec<String> = (1..=types.len()).map(|n| format!("${n}")).collect();
        let query = format!("SELECT {}", numbers.join(", "));
        let name = found.name.as_bytes();
        let at = self.enlist(shard).await?;
        if let Some(analysis) = analysis.as_deref() {
            self.note_code(at, analysis, text);
            let held = &mut self.held[at];
            held.note_pin(analysis.pin);
            held.note_access(analysis.access);
        }
        let server = &mut self.held[at].server;
        server.parse(name, query.as_bytes(), types)?;
        server.inflight.push(Owed::Parse(Audience::Router));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Router));
        server.settle().await?;
        let whole = text.get(found.whole.clone()).unwrap_or_default();
        let values = watched(&mut self.client, server.query(whole)).await?;
        // Unlike DEALLOCATE, this is taken in a failed transaction.
        request::close(&mut server.out, request::Target::Statement, name)?;
        server.inflight.push(Owed::Close(Audience::Router));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Router));
        let closed = server.settle().await;
        server.broken |= closed.is_err();
        if !self.tx.is_open() {
            self.release_idle();
        }
        let before = text.get(..found.whole.start).map_or(0, |before| before.chars().count());
        let moved = self.offset.saturating_add(u32::try_from(before).unwrap_or(u32::MAX));
        Ok(values.map_err(|fault| fault.moved(moved))?.into_iter().next().unwrap_or_default())
    }

    /// Functions in the arguments are looked at as those of any statement.
    fn check_arguments(&mut self, arguments: &str) -> Result<Option<Arc<Analysis>>, Failure> {
        if arguments.trim().is_empty() {
            return Ok(None);
        }
        // Never a query of nothing but set_config, which the router would run itself.
        let query = format!("SELECT NULL, {arguments}");
        if !self.scan_one(&query)? {
            return Ok(None);
        }
        let analysis = self.analysis(&query);
        match &analysis.outcome {
            Outcome::Refuse(fault) => Err(fault.clone().into()),
            _ => Ok(Some(analysis)),
        }
    }
}

/// The body of a Bind message of the unnamed portal and statement, with values in text.
pub(super) fn bind_body(values: &[Option<String>], formats: &[i16]) -> Result<Bytes, Fault> {
    let mut bind = BytesMut::new();
    bind.put_slice(&[0, 0]);
    encode::count16(&mut bind, 0)?;
    encode::count16(&mut bind, values.len())?;
    for value in values {
        encode::value(&mut bind, value.as_deref().map(str::as_bytes))?;
    }
    encode::count16(&mut bind, formats.len())?;
    formats.iter().for_each(|format| bind.put_i16(*format));
    Ok(bind.freeze())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::session::bind::result_formats;
    use crate::wire::frame::BindView;

    #[test]
    fn a_bind_of_arguments_reads_back() {
        let bind = bind_body(&[Some("5".to_owned()), None], &[1, 0]).unwrap();
        let view = BindView::read(&bind).unwrap();
        assert_eq!(view.parameters.len(), 2);
        assert_eq!(view.parameters.get(0).unwrap().1, Some(&b"5"[..]));
        assert_eq!(view.parameters.get(1).unwrap().1, None);
        assert_eq!(result_formats(&bind).unwrap(), [1, 0]);
    }
}
