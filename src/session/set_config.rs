//! `SELECT set_config(...)` with literals: tracked as SET and SET LOCAL are; the row is a server's own.

use std::sync::Arc;

use crate::backend::settings;
use crate::fault::{Fault, SqlState};
use crate::session::control::check_setting;
use crate::session::local::LocalRows;
use crate::session::{Failure, Session};
use crate::sql::utility::{ConfigCall, SetStatement, config_calls};

impl Session {
    /// The client's own text runs on every server of its transaction, outside of one on the home shard; the other servers
    /// get the settings before their next statement.
    pub(super) async fn set_config(&mut self, text: &str, columns: &[Box<str>]) -> Result<Option<LocalRows>, Failure> {
        let Some(calls) = config_calls(text) else {
            // A literal of the same kind that only a server can read.
            return self.run_unclear(text).await;
        };
        for (call, _) in &calls {
            if let Some(value) = &call.value {
                check_setting(&call.name, value)?;
            }
            if let Some(own) = call.name.strip_prefix("pgloom.") {
                let (name, value) = (own.into(), call.value.clone());
                return self.set(&SetStatement::Router { name, value, local: call.local }).await.map(Some);
            }
        }
        let row = self.ask_settings(text).await?;
        let mut wanted = (*self.settings).clone();
        for (call, _) in calls.iter().filter(|(call, _)| !call.local && !of_transaction(&call.name)) {
            match self.value_of(call) {
                Some(value) => wanted.set(&call.name, &value),
                None => wanted.remove(&call.name),
            }
        }
        let wanted = self.shared.settings.share(wanted);
        let changed = !Arc::ptr_eq(&wanted, &self.settings);
        let open = self.tx.is_open();
        for (call, _) in calls.iter().filter(|_| open) {
            self.repeat_later(call);
        }
        for held in self.held.iter_mut().filter(|h| if open { h.joined } else { Some(h.shard) == row.asked }) {
            held.server.applied = Some(Arc::clone(&wanted));
        }
        let carrier = self.held.iter().position(|h| Some(h.shard) == row.asked).filter(|_| changed);
        if let Some(at) = carrier {
            self.report_parameters(at);
        }
        self.adopt(wanted);
        if !open {
            self.release_idle();
        }
        Ok(Some(LocalRows { columns: columns.to_vec(), rows: vec![row.cells], tag: "SELECT 1".to_owned() }))
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
                    answered = answered
                        .or_else(|| rows.into_iter().next().map(|cells| Answered { asked: Some(held.shard), cells }))
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

    /// What the setting becomes, as a value of [`crate::backend::settings::SessionSettings`]; `None`: it is not set.
    fn value_of(&self, call: &ConfigCall) -> Option<String> {
        match &call.value {
            Some(text) => Some(settings::text_value(&call.name, text)),
            None => self.startup.get(&call.name).map(str::to_owned),
        }
    }

    /// For the shards that join the transaction later, and for what names and literals mean in it.
    fn repeat_later(&mut self, call: &ConfigCall) {
        let name = &*call.name;
        let value = self.value_of(call);
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
            self.tx.forget_local(name);
        }
    }
}

/// A row of set_config.
struct Answered {
    asked: Option<crate::ids::ShardId>,
    cells: Vec<Option<String>>,
}

/// Settings that are the running transaction's own: they end with it, however they are set.
fn of_transaction(name: &str) -> bool {
    matches!(name, "transaction_isolation" | "transaction_read_only" | "transaction_deferrable")
}
