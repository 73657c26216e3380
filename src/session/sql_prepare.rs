//! PREPARE and EXECUTE in SQL, in a simple Query, of statements over distributed tables: the router keeps the statement as one of the
//! protocol, and an EXECUTE is planned as a Bind of it. The home shard has the word on types, arguments and errors.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use crate::backend::inflight::{Audience, Owed};
use crate::backend::settings::{quote_identifier, quote_literal};
use crate::exec::columns::FIRST_NORMAL_OID;
use crate::fault::{Fault, SqlState};
use crate::ids::Oid;
use crate::plan::combine::Combine;
use crate::plan::{PlanKind, ShardSql};
use crate::session::prepared::ClientStatement;
use crate::session::run::Ask;
use crate::session::{Failure, Session};
use crate::sql::Analysis;
use crate::sql::outcome::Outcome;
use crate::sql::utility::{StatementKind, prepared};
use crate::wire::frame::BindView;
use crate::wire::{encode, reply, request};

impl Session {
    /// PREPARE and EXECUTE that are the router's; false: the statement goes its way.
    pub(super) async fn run_prepared(&mut self, text: &str, analysis: &Arc<Analysis>) -> Result<bool, Failure> {
        match &analysis.kind {
            StatementKind::Prepare(name) => {
                self.statements.check_new(name.as_bytes())?;
                match (&analysis.outcome, prepared(text)) {
                    (Outcome::Refuse(_), Some(inner)) => self.prepare_sql(name, text, inner).await.map(|()| true),
                    _ => Ok(false),
                }
            }
            StatementKind::Execute(name) => match self.statements.get(name.as_bytes()).cloned() {
                Ok(statement) if is_whole(&statement) => self.execute_sql(name, text, statement).await.map(|()| true),
                _ => Ok(false),
            },
            _ => Ok(false),
        }
    }

    /// Whether EXECUTE of this name is the router's.
    pub(super) fn keeps(&self, name: &str) -> bool {
        self.statements.get(name.as_bytes()).is_ok_and(|statement| is_whole(statement))
    }

    async fn prepare_sql(&mut self, name: &str, text: &str, inner: usize) -> Result<(), Failure> {
        let query: Arc<str> = text.get(inner..).unwrap_or_default().into();
        self.scan_one(&query)?;
        let analysis = self.analysis(&query);
        use StatementKind as Kind;
        let preparable =
            matches!(analysis.kind, Kind::Query | Kind::Insert | Kind::Update | Kind::Delete | Kind::Merge);
        if let Outcome::Refuse(fault) = &analysis.outcome {
            return Err(self.refusal(fault, text, &[]).await);
        }
        if !preparable || analysis.pin.is_some() {
            return Err(Fault::unsupported(
                "PREPARE of this statement is not supported",
                "it would leave state on a server",
                "Run it by itself.",
            )
            .into());
        }
        let at = self.enlist(self.view.topology.home).await?;
        let server = &mut self.held[at].server;
        server.query(text).await?;
        let sql = format!(
            "SELECT unnest(parameter_types)::pg_catalog.oid FROM pg_catalog.pg_prepared_statements WHERE name = {}",
            quote_literal(name)
        );
        let types = server.query(&sql).await;
        let gone = server.query(&format!("DEALLOCATE {}", quote_identifier(name))).await;
        server.broken |= gone.is_err();
        let types: Option<Box<[Oid]>> =
            types?.into_iter().map(|row| row.into_iter().next().flatten()?.parse().ok()).collect();
        let unknown = || Fault::new(SqlState::INTERNAL_ERROR, "a server did not tell the types of parameters");
        let types = types.ok_or_else(unknown)?;
        if types.iter().any(|oid| *oid >= FIRST_NORMAL_OID) {
            return Err(Fault::unsupported(
                "PREPARE with parameters of user-defined types is not supported",
                "such a type has another number on each shard",
                "Declare them as text, and cast them in the statement.",
            )
            .into());
        }
        let statement = self.client_statement(query, types, analysis);
        self.statements.insert(name.as_bytes(), statement, self.shared.limits.max_statements)?;
        if !self.tx.is_open() {
            self.release_idle();
        }
        reply::command_complete(&mut self.client.out, "PREPARE")?;
        Ok(())
    }

    async fn execute_sql(
        &mut self,
        name: &str,
        text: &str,
        mut statement: Arc<ClientStatement>,
    ) -> Result<(), Failure> {
        if statement.generation != self.view.catalog.generation || statement.epoch != self.view.topology.epoch {
            statement = self.renew(name.as_bytes(), &statement)?;
        }
        if statement.meaning != self.meaning {
            return Err(Fault::unsupported(
                "the prepared statement was made under other settings",
                "A literal in it may mean something else under the settings that the session has now.",
                "Prepare the statement again.",
            )
            .into());
        }
        let bind = self.arguments(name, text, &statement).await?;
        if statement.described().is_none() {
            let query = Arc::clone(&statement.text);
            let (parameters, rows) = self.describe_at_home(&query, &statement.types).await?;
            statement.set_described(parameters, rows);
        }
        let plan = self.plan_bound(&statement, &BindView::read(&bind)?.parameters);
        self.note_plan(&plan);
        let columns_added = match &plan.kind {
            PlanKind::Scatter { combine, sql, .. } => self.columns_added(&statement, combine, sql),
            _ => 0,
        };
        let ask = Ask::Bound { statement: &statement, bind: &bind, columns_added, describe: true };
        let shard = match &plan.kind {
            PlanKind::Single(shard) => *shard,
            PlanKind::Any => self.any_shard(),
            _ => return self.run_multi(&plan, &statement.analysis, &ask).await,
        };
        self.run_parts(&[(shard, ShardSql::AsWritten)], &Combine::CONCAT, None, plan.access, &ask).await
    }

    /// The body of the Bind message that an EXECUTE stands for. Its arguments are expressions, which the home shard makes values of the
    /// parameters' types.
    async fn arguments(&mut self, name: &str, text: &str, statement: &ClientStatement) -> Result<BytesMut, Failure> {
        if !statement.types.is_empty() && !self.texts_are_exact() {
            return Err(Fault::unsupported(
                "EXECUTE with arguments is not supported under these settings",
                "Values go as text here, and as DateStyle and extra_float_digits are set, texts may lose digits or time zones.",
                "Set DateStyle to ISO and extra_float_digits to 1.",
            )
            .into());
        }
        let numbers: Vec<String> = (1..=statement.types.len()).map(|n| format!("${n}")).collect();
        let query = format!("SELECT {}", numbers.join(", "));
        let at = self.enlist(self.view.topology.home).await?;
        let server = &mut self.held[at].server;
        request::parse(&mut server.out, name.as_bytes(), query.as_bytes(), &statement.types)?;
        server.inflight.push(Owed::Parse(Audience::Router));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Router));
        server.settle().await?;
        let values = server.query(text).await;
        // Unlike DEALLOCATE, this is taken in a failed transaction.
        request::close(&mut server.out, request::Target::Statement, name.as_bytes())?;
        server.inflight.push(Owed::Close(Audience::Router));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Router));
        let closed = server.settle().await;
        server.broken |= closed.is_err();
        let values = values?.into_iter().next().unwrap_or_default();
        if !self.tx.is_open() {
            self.release_idle();
        }
        let mut bind = BytesMut::new();
        bind.put_u8(0);
        bind.put_u8(0);
        encode::count16(&mut bind, 0)?;
        encode::count16(&mut bind, values.len())?;
        for value in &values {
            encode::value(&mut bind, value.as_deref().map(str::as_bytes))?;
        }
        encode::count16(&mut bind, 0)?;
        Ok(bind)
    }
}

/// Whether the types of all its parameters are known.
fn is_whole(statement: &ClientStatement) -> bool {
    statement.types.len() >= usize::from(statement.analysis.parameters) && !statement.types.contains(&0)
}
