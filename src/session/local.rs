//! SHOW pgloom.*: what the console's SHOW tells, of the session's own database and of its own user's pools.

use crate::admin::{Look, Seen, Show, UserView, map_state};
use crate::config::ReadPreference;
use crate::config::limits::Limit;
use crate::fault::{Fault, SqlState};
use crate::session::Session;
use crate::wire::reply::NoticeLevel;
use std::sync::Arc;

pub use crate::admin::LocalRows;

impl Session {
    /// `SHOW pgloom.name`.
    pub(super) fn show_router(&self, name: &str) -> Result<LocalRows, Fault> {
        let name = name.strip_prefix("pgloom.").unwrap_or(name);
        match name {
            "version" => Ok(LocalRows::of("pgloom.version", vec![env!("CARGO_PKG_VERSION").to_owned()], "SHOW")),
            "epoch" => Ok(LocalRows::of("pgloom.epoch", vec![self.view.topology.epoch.0.to_string()], "SHOW")),
            "read_preference" => {
                let wanted = self.read_preference().unwrap_or(ReadPreference::Primary);
                Ok(LocalRows::of("pgloom.read_preference", vec![wanted.word().to_owned()], "SHOW"))
            }
            "map" => Ok(map_state::alone(self.shared.map.get().map(|state| &**state))),
            name if let Some(limit) = Limit::named(name) => {
                Ok(LocalRows::of(&format!("pgloom.{name}"), vec![self.times.text(limit)], "SHOW"))
            }
            name => match Show::in_session(name) {
                Some(show) => Ok(self.look().rows(show.what)),
                None => Err(unknown(name)),
            },
        }
    }

    /// What is prepared on the shards; those that cannot be asked are named in a warning.
    pub(super) async fn show_transactions(&mut self) -> LocalRows {
        let (rows, warnings) = self.look().prepared().await;
        for warning in &warnings {
            self.tell_notice(NoticeLevel::Warning, warning);
        }
        rows
    }

    /// What this session may see: its own database, as it sees it now.
    fn look(&self) -> Look<'_> {
        let own = UserView {
            name: (&*self.user).into(),
            pool_size: None,
            session_mode: Some(self.session_mode),
            console: None,
            max_clients: 0,
        };
        Look {
            databases: vec![Seen { database: Arc::clone(&self.database), cluster: Arc::clone(&self.view) }],
            user: Some(&self.user),
            clients: self.shared.cancels.views(),
            users: vec![own],
            ..Look::default()
        }
    }
}

fn unknown(name: &str) -> Fault {
    let shown = crate::admin::shows::SHOWS.iter().filter(|show| show.in_sessions);
    let names: Vec<String> = shown.map(|show| format!("pgloom.{}", show.name.to_ascii_lowercase())).collect();
    Fault::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"pgloom.{name}\""))
        .hint(format!("There are pgloom.version, pgloom.epoch, {}, and the time-outs of a session.", names.join(", ")))
}
