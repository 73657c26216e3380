//! CREATE TABLE AS over rows that lie elsewhere: the home shard makes the table empty, by the query itself, so that names, types and
//! collations are Postgres's own; the other shards make theirs like it, where they have one; then an INSERT brings the rows. All of it is
//! one transaction.

use std::sync::Arc;

use crate::backend::settings::quote_literal;
use crate::exec::forward::{NO_POSITION, rows_of_tag};
use crate::fault::{Fault, SqlState};
use crate::ids::ShardId;
use crate::plan::combine::Combine;
use crate::plan::{Access, Plan, PlanKind, ShardSql};
use crate::session::prepared::ClientStatement;
use crate::session::run::{Ask, How};
use crate::session::{Failure, Session};
use crate::sql::analyze::PinReason;
use crate::sql::create_as::{CreateAs, Temporary, check_key};
use crate::wire::frame::BindView;

/// Who is told the tag of a command that has run.
#[derive(Debug, Default)]
pub(super) enum Told {
    #[default]
    Client,
    /// It is kept: the command was only a step.
    Kept(String),
}

impl Session {
    pub(super) async fn run_create_as(&mut self, create: &CreateAs, ask: &Ask<'_>) -> Result<(), Failure> {
        let opened = !self.tx.is_open();
        if opened {
            self.tx.begin_implicit(&self.settings);
        }
        let done = Box::pin(self.create_as(create, ask)).await;
        self.told = Told::Client;
        self.end_write(done, opened).await
    }

    /// The command tag.
    async fn create_as(&mut self, create: &CreateAs, ask: &Ask<'_>) -> Result<String, Failure> {
        if let Some(temporary) = &create.temporary {
            return Box::pin(self.create_temporary(temporary, ask)).await;
        }
        self.make(create, ask, None).await
    }

    /// `between`: only for rows on their way to another table, which the client's text names behind so many characters.
    async fn make(&mut self, create: &CreateAs, ask: &Ask<'_>, between: Option<u32>) -> Result<String, Failure> {
        let home = self.view.topology.home;
        if create.if_not_exists && self.is_there(home, create).await? {
            // With Postgres's own notice.
            let (text, _) = ask.statement();
            let text: Arc<str> = text.into();
            return self.step_at(home, text, ask).await;
        }
        let shards: Vec<ShardId> = match create.copies {
            Some(_) => self.view.topology.all_shards().iter().collect(),
            None => vec![home],
        };
        self.check_fanout(shards.len())?;
        self.enlist_all(&shards).await?;
        self.check_event_triggers(&shards).await?;
        let tag = if let Some(before) = between {
            // It has no parameter, whatever the statement has.
            let at = self.held_at(home)?;
            self.held[at].note_rows(false);
            let made = self.held[at].server.query(&create.empty).await;
            made.map_err(|fault| match fault.code {
                SqlState::UNDEFINED_TABLE if self.offset != NO_POSITION => {
                    fault.position(self.offset.saturating_add(before).saturating_add(1))
                }
                _ => fault.without_position(),
            })?;
            String::new()
        } else {
            self.step_at(home, Arc::clone(&create.empty), ask).await?
        };
        if let Some(copies) = &create.copies {
            let columns = self.columns_made(home, create).await?;
            let sql = create.copy_text(copies, &columns);
            for shard in shards.iter().filter(|shard| **shard != home) {
                let at = self.enlist(*shard).await?;
                self.held[at].note_rows(false);
                self.held[at].server.query(&sql).await.map_err(Fault::without_position)?;
            }
        }
        self.note_unread(Some(home));
        self.see_own_changes().await?;
        check_key(&self.names(), &create.table)?;
        let Some(insert) = &create.insert else { return Ok(tag) };
        let tag = self.fill(insert, ask).await?;
        let rows = tag.rsplit(' ').next().unwrap_or_default();
        Ok(format!("SELECT {rows}"))
    }

    /// Only the session's own connection sees its temporary tables: the rows come there in a table of the home shard, which nobody else
    /// ever sees.
    async fn create_temporary(&mut self, temporary: &Temporary, ask: &Ask<'_>) -> Result<String, Failure> {
        let home = self.view.topology.home;
        let at = self.enlist(home).await?;
        // One Postgres lets temporary tables be filled there, but none be made that is not temporary.
        if temporary.counts && self.is_read_only().await? {
            return Err(Fault::unsupported(
                "INSERT of rows of several shards into a temporary table is not supported in a READ ONLY transaction",
                "the rows come into a table of the home shard first, and none can be made in it",
                "Insert them in a transaction that is not READ ONLY.",
            )
            .into());
        }
        let server = &mut self.held[at].server;
        let sql = format!(
            "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {} AND pg_catalog.has_schema_privilege(oid, 'CREATE')",
            quote_literal(&temporary.schema)
        );
        if server.query(&sql).await?.is_empty() {
            return Err(Fault::unsupported(
                "a temporary table of rows that lie on several shards is not supported here",
                format!(
                    "the rows are put into a table of schema \"{}\" first, where the user may make none",
                    temporary.schema
                ),
                match temporary.counts {
                    true => "Grant CREATE on a schema of search_path, or bring the rows through the client.",
                    false => "Grant CREATE on a schema of search_path, or create the temporary table empty and insert the rows.",
                },
            )
            .into());
        }
        if let Some(name) = &temporary.ordered {
            let sql = format!(
                "SELECT 1 FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
                 WHERE a.attrelid = pg_catalog.to_regclass({}) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' \
                   AND (a.attidentity <> '' OR pg_catalog.pg_get_expr(d.adbin, d.adrelid) ~ '[(]') LIMIT 1",
                quote_literal(name)
            );
            if !server.query(&sql).await?.is_empty() {
                return Err(Fault::unsupported(
                    "INSERT in an order into a temporary table whose defaults are calls is not supported for rows of several shards",
                    "the rows come there in no order, and a default such as a sequence's value would count them so",
                    "Leave out ORDER BY, or give the column its value by row_number() OVER (ORDER BY ...).",
                )
                .into());
            }
        }
        let before = temporary.before(&format!("pgloom_as_{}", server.cancel.key.pid));
        let tag = self.make(&before, ask, temporary.named_behind()).await?;
        let at = self.enlist(home).await?;
        let held = &mut self.held[at];
        held.note_pin(Some(PinReason::TemporaryTable));
        let last = held.server.query(&temporary.last(&before)).await.map_err(Fault::without_position)?;
        held.server.query(&format!("DROP TABLE {}", before.name())).await?;
        self.note_unread(Some(home));
        self.note_catalog_changed(home);
        if !temporary.counts {
            return Ok(tag);
        }
        let rows = last.into_iter().flatten().flatten().next().unwrap_or_default();
        Ok(format!("INSERT 0 {rows}"))
    }

    async fn is_there(&mut self, home: ShardId, create: &CreateAs) -> Result<bool, Failure> {
        let sql = format!("SELECT 1 WHERE pg_catalog.to_regclass({}) IS NOT NULL", quote_literal(&create.name()));
        let at = self.enlist(home).await?;
        Ok(!self.held[at].server.query(&sql).await?.is_empty())
    }

    /// The columns of the new table, as SQL.
    async fn columns_made(&mut self, home: ShardId, create: &CreateAs) -> Result<String, Failure> {
        let sql = format!(
            "SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname) || ' ' || pg_catalog.format_type(a.atttypid, a.atttypmod) || \
               CASE WHEN a.attcollation <> t.typcollation THEN ' COLLATE ' || a.attcollation::pg_catalog.regcollation ELSE '' END, \
               ', ' ORDER BY a.attnum) \
             FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
             WHERE a.attrelid = pg_catalog.to_regclass({}) AND a.attnum > 0",
            quote_literal(&create.name())
        );
        let at = self.enlist(home).await?;
        let rows = self.held[at].server.query(&sql).await?;
        Ok(rows.into_iter().flatten().flatten().next().unwrap_or_default())
    }

    /// One statement on one shard, as a step: its tag.
    async fn step_at(&mut self, shard: ShardId, text: Arc<str>, ask: &Ask<'_>) -> Result<String, Failure> {
        self.told = Told::Kept(String::new());
        let parts = [(shard, ShardSql::AsWritten)];
        match ask {
            Ask::Query { text: whole } => {
                let offset = if **whole == *text { self.offset } else { NO_POSITION };
                let offset = std::mem::replace(&mut self.offset, offset);
                let ask = Ask::Query { text: &text };
                let done = self.run_parts(&parts, &Combine::CONCAT, None, Access::Write, &ask).await;
                self.offset = offset;
                done?;
            }
            Ask::Bound { statement, bind, .. } => {
                let statement = self.statement_like(statement, text)?;
                let ask = Ask::Bound { statement: &statement, bind, columns_added: 0, how: How::Through };
                self.run_parts(&parts, &Combine::CONCAT, None, Access::Write, &ask).await?;
            }
        }
        self.kept_tag()
    }

    /// Another text with the parameters of the client's statement.
    fn statement_like(&mut self, statement: &ClientStatement, text: Arc<str>) -> Result<Arc<ClientStatement>, Failure> {
        self.scan_one(&text)?;
        let analysis = self.analysis(&text);
        Ok(self.client_statement(text, statement.types.clone(), analysis))
    }

    /// Runs the INSERT, as a step: its tag.
    async fn fill(&mut self, insert: &Arc<str>, ask: &Ask<'_>) -> Result<String, Failure> {
        let offset = std::mem::replace(&mut self.offset, NO_POSITION);
        let done = self.fill_planned(insert, ask).await;
        self.offset = offset;
        done?;
        self.kept_tag()
    }

    async fn fill_planned(&mut self, insert: &Arc<str>, ask: &Ask<'_>) -> Result<(), Failure> {
        self.told = Told::Kept(String::new());
        match ask {
            Ask::Query { .. } => {
                self.scan_one(insert)?;
                let analysis = self.analysis(insert);
                let analysis = self.beside_temporaries(insert, analysis).await?;
                self.check_sequences(&analysis)?;
                let plan = self.plan(insert, &analysis);
                let (text, analysis, plan) = match &plan.kind {
                    PlanKind::Draw(draw) => {
                        let (text, analysis) = self.drawn(insert, draw).await?;
                        let plan = self.plan(&text, &analysis);
                        (text.into(), analysis, plan)
                    }
                    _ => (Arc::clone(insert), analysis, plan),
                };
                self.note_plan_sequences(&analysis, &plan);
                self.run_plan(&plan, &analysis, &Ask::Query { text: &text }).await
            }
            Ask::Bound { statement, bind, .. } => {
                let of = statement;
                let mut statement = self.statement_like(of, Arc::clone(insert))?;
                if self.see_temporaries(&statement.analysis).await? {
                    statement = self.statement_like(of, Arc::clone(insert))?;
                }
                self.check_sequences(&statement.analysis)?;
                let mut plan: Plan = self.plan_bound(&statement, &BindView::read(bind)?.parameters);
                if let PlanKind::Draw(draw) = &plan.kind {
                    let draw = Arc::clone(draw);
                    (statement, plan) = self.drawn_bound(&statement, bind, &draw).await?;
                }
                self.note_plan_sequences(&statement.analysis, &plan);
                if matches!(plan.kind, PlanKind::Deliver(_)) {
                    let (parameters, rows) = self.description_of(&statement).await?;
                    statement.set_described(parameters, rows);
                }
                let ask = Ask::Bound { statement: &statement, bind, columns_added: 0, how: How::Through };
                self.run_plan(&plan, &statement.analysis, &ask).await
            }
        }
    }

    pub(super) fn kept_tag(&mut self) -> Result<String, Failure> {
        match std::mem::take(&mut self.told) {
            Told::Kept(tag) => Ok(tag),
            Told::Client => Err(Fault::new(SqlState::INTERNAL_ERROR, "a step told its tag to the client").into()),
        }
    }

    /// A command has run: its tag goes to the client, or is kept.
    pub(super) fn tell_tag(&mut self, tag: &str) -> Result<(), Fault> {
        self.clock.rows += rows_of_tag(tag.as_bytes());
        match &mut self.told {
            Told::Client => crate::wire::reply::command_complete(&mut self.client.out, tag),
            Told::Kept(kept) => {
                tag.clone_into(kept);
                Ok(())
            }
        }
    }
}
