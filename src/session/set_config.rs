//! `SELECT set_config(...)` with literals or parameters: tracked as SET and SET LOCAL are; the row is a server's own.

use std::sync::Arc;

use crate::backend::settings;
use crate::catalog::placeholders::Placeholders;
use crate::config::limits::Limit;
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::session::local::LocalRows;
use crate::session::placement;
use crate::session::prepared::ClientStatement;
use crate::session::set::{READ_ONLY, check_setting};
use crate::session::simple::utf8;
use crate::session::{Failure, Session};
use crate::sql::analyze::config_of_router;
use crate::sql::utility::{self, ConfigCall, ConfigQuery, SetStatement, StatementKind, config_calls};
use crate::types::{Format, oid};
use crate::wire::frame::BindValues;

impl Session {
    /// As [`Self::run_config`]. `describes`: the client is told the columns with the rows, and so before an error of the call itself.
    pub(super) async fn set_config(
        &mut self,
        text: &str,
        columns: &[Box<str>],
        describes: bool,
    ) -> Result<Option<LocalRows>, Failure> {
        let done = self.run_config(text, columns).await;
        if let Err(Failure::Fault(fault)) = &done
            && describes
            && fault.position.is_none()
            && is_of_call(fault)
        {
            let columns = columns.iter().cloned().map(Into::into).collect();
            let description = LocalRows { columns, ..LocalRows::default() }.describe(&[])?;
            self.client.out.extend_from_slice(&description);
        }
        done
    }

    /// The client's own text runs on every server of its transaction, outside of one on the home shard; the other servers
    /// get the settings before their next statement.
    async fn run_config(&mut self, text: &str, columns: &[Box<str>]) -> Result<Option<LocalRows>, Failure> {
        let read = config_calls(text).and_then(|read| {
            let whole = self.whole_calls(read.calls)?;
            // What is shown beside the calls would not be in a text that is made of them.
            (!(whole.1 && read.shows)).then_some((whole, read.row_of, read.shows))
        });
        let Some(((calls, changed), row_of, shows)) = read else {
            // A literal of the same kind that only a server can read, a parameter without a value, or a value that Postgres refuses.
            return self.run_unclear(text).await;
        };
        let whole;
        let text = match changed {
            true => {
                whole = text_of(&calls, row_of.as_deref());
                &*whole
            }
            false => text,
        };
        for call in &calls {
            if let Some(value) = &call.value {
                check_setting(&call.name, &settings::text_value(&call.name, value))?;
            }
            if let Some(own) = call.name.strip_prefix("pgloom.").filter(|own| Limit::named(own).is_none()) {
                if calls.len() > 1 || shows || row_of.is_some() {
                    return Err(config_of_router(&call.name).into());
                }
                let (name, value) = (own.into(), call.value.clone());
                self.set(&SetStatement::Router { name, value, local: call.local }).await?;
                let columns = columns.iter().cloned().map(Into::into).collect();
                let rows = self.show_router(own)?.rows;
                return Ok(Some(LocalRows { columns, tag: format!("SELECT {}", rows.len()), rows }));
            }
        }
        if calls.iter().any(|call| &*call.name == READ_ONLY) {
            self.decide_before_read_only().await?;
        }
        let named = |calls: &[ConfigCall]| calls.iter().map(|call| call.name.to_string()).collect::<Placeholders>();
        self.begin_making(named(&calls));
        let answered = self.ask_settings(text).await;
        self.making = Placeholders::default();
        let answered = answered?;
        // No row, no call.
        let calls = if answered.rows.is_empty() { Vec::new() } else { calls };
        let mut wanted = (*self.settings).clone().with(&named(&calls));
        for call in calls.iter().filter(|call| !call.local && !of_transaction(&call.name)) {
            wanted = self.settings_with(&wanted, &call.name, value_of(call).as_deref());
        }
        let wanted = self.shared.settings.share(wanted);
        let open = self.tx.is_open();
        for call in calls.iter().filter(|_| open) {
            self.repeat_later(call);
        }
        for held in self.held.iter_mut().filter(|h| if open { h.joined } else { h.shard == answered.asked }) {
            held.server.applied = Some(Arc::clone(&wanted));
        }
        let carrier = self.held.iter().position(|h| h.shard == answered.asked);
        self.adopt(wanted);
        if let Some(at) = carrier {
            self.report_parameters(at);
        }
        match open {
            true => self.follow_idle_timers().await,
            false => self.release_idle(),
        }
        Ok(Some(LocalRows {
            columns: columns.iter().cloned().map(Into::into).collect(),
            tag: format!("SELECT {}", answered.rows.len()),
            rows: answered.rows,
        }))
    }

    /// Runs the text where it counts now. A failure leaves the settings as they were, or fails the transaction.
    async fn ask_settings(&mut self, text: &str) -> Result<Answered, Failure> {
        let open = self.tx.is_open();
        self.park_runs().await?;
        if !open || !self.held.iter().any(|h| h.joined) {
            let home = self.view.topology.home;
            let at = self.enlist(home).await?;
            self.held[at].server.settle().await?;
        }
        let home = self.view.topology.home;
        let (mut answered, mut failed) = (None, None);
        for held in self.held.iter_mut().filter(|h| if open { h.joined } else { h.shard == home }) {
            match held.server.query(text).await {
                Ok(rows) => {
                    answered.get_or_insert(Answered { asked: held.shard, rows });
                }
                Err(fault) => failed = failed.or(Some(fault)),
            }
        }
        self.drop_broken();
        match (failed, answered) {
            (None, Some(answered)) => Ok(answered),
            (Some(fault), _) => {
                if !open {
                    self.release_idle();
                }
                Err(fault.into())
            }
            (None, None) => Err(Fault::new(SqlState::INTERNAL_ERROR, "no server has answered set_config").into()),
        }
    }

    /// For the shards that join the transaction later, and for what names and literals mean in it.
    fn repeat_later(&mut self, call: &ConfigCall) {
        let name = &*call.name;
        let value = value_of(call);
        let sql = match (&value, call.local) {
            (Some(value), true) => settings::assign_local(name, value),
            (Some(value), false) => settings::assign(name, value),
            (None, true) => settings::assign_local(name, "DEFAULT"),
            (None, false) => settings::reset(name),
        };
        self.tx.remember(&sql);
        if call.local {
            self.set_local(name, value.as_deref());
        } else {
            self.forget_local(name);
        }
    }
}

/// Whether Postgres finds it when set_config is called, and not before: a value, a name, a right.
fn is_of_call(fault: &Fault) -> bool {
    let code = fault.code.0;
    code.starts_with(b"22") || matches!(&code, b"42704" | b"42501" | b"55P02" | b"42602")
}

/// What the setting becomes, as a value of [`crate::backend::settings::SessionSettings`]; `None`: it is not set.
fn value_of(call: &ConfigCall) -> Option<String> {
    call.value.as_ref().map(|text| settings::text_value(&call.name, text))
}

/// The query of these calls.
fn text_of(calls: &[ConfigCall], row_of: Option<&str>) -> String {
    let call = |call: &ConfigCall| {
        let value = call.value.as_deref().map_or_else(|| "NULL".to_owned(), settings::quote_literal);
        format!("pg_catalog.set_config({}, {value}, {})", settings::quote_literal(&call.name), call.local)
    };
    let calls: Vec<String> = calls.iter().map(call).collect();
    let from = row_of
        .map(|name| format!(" FROM pg_catalog.pg_show_all_settings() WHERE name = {}", settings::quote_literal(name)));
    format!("SELECT {}{}", calls.join(", "), from.unwrap_or_default())
}

/// The text of a statement that the router answers, with the values of its parameters in it.
pub(super) fn local_text(statement: &ClientStatement, values: &BindValues<'_>) -> Result<Arc<str>, Fault> {
    match &statement.analysis.kind {
        StatementKind::SetConfig(query) => bound(statement, query, values),
        StatementKind::Placement(query) => placement::bound(statement, query, values),
        _ => Ok(Arc::clone(&statement.text)),
    }
}

/// Whether its parameters are declared as what they are, or not at all.
pub(super) fn check_declared(query: &ConfigQuery, types: &[Oid]) -> Result<(), Fault> {
    for (wanted, declared) in query.parameters.iter().zip(types) {
        let known = [0, oid::UNKNOWN, *wanted];
        if !known.contains(declared) && (*wanted, *declared) != (oid::TEXT, oid::VARCHAR) {
            return Err(Fault::unsupported(
                format!("a parameter of type {declared} of set_config() is not supported"),
                "The router reads the parameters to repeat the setting on every shard.",
                "Declare the name and the value as text, and the last parameter as boolean.",
            ));
        }
    }
    Ok(())
}

fn bound(statement: &ClientStatement, query: &ConfigQuery, values: &BindValues<'_>) -> Result<Arc<str>, Fault> {
    if query.parameters.is_empty() {
        return Ok(Arc::clone(&statement.text));
    }
    check_declared(query, &statement.types)?;
    let mut texts = Vec::new();
    for (index, wanted) in query.parameters.iter().enumerate() {
        let Some((format, Some(bytes))) = values.get(index) else {
            // What is not told is not local.
            texts.push(if *wanted == oid::BOOL { "false" } else { "NULL" }.to_owned());
            continue;
        };
        texts.push(match (*wanted, format) {
            (oid::BOOL, Format::Binary) => matches!(bytes, [byte] if *byte != 0).to_string(),
            (oid::BOOL, Format::Text) => {
                let text = utf8(bytes)?;
                let invalid = || {
                    let message = format!("invalid input syntax for type boolean: \"{text}\"");
                    Fault::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
                };
                utility::parse_bool(text).ok_or_else(invalid)?.to_string()
            }
            _ => settings::quote_literal(utf8(bytes)?),
        });
    }
    let bound = utility::config_bound(&statement.text, &texts);
    bound
        .map(Arc::from)
        .ok_or_else(|| Fault::new(SqlState::INTERNAL_ERROR, "parameters of set_config() were not found"))
}

/// What a server has said to it.
struct Answered {
    asked: ShardId,
    rows: Vec<Vec<Option<String>>>,
}

/// Settings that are the running transaction's own: they end with it, however they are set.
fn of_transaction(name: &str) -> bool {
    matches!(name, "transaction_isolation" | "transaction_read_only" | "transaction_deferrable")
}
