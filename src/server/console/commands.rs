//! What the console's commands do.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::admin::command::{Command, Scope};
use crate::admin::{Access, Answer, ConfigView, LocalRows, Look, MemoryView, Seen, What};
use crate::backend::cluster::Database;
use crate::control::live::Steering;
use crate::fault::{Fault, SqlState};
use crate::memory;
use crate::server::Front;
use crate::session::Session;

/// How often a command looks whether what it waits for has come.
const LOOK: Duration = Duration::from_millis(20);

/// What came of a command.
pub(super) struct Done {
    /// `None`: there was nothing to be done.
    pub rows: Result<Option<Answer>, Fault>,
    pub warnings: Vec<Fault>,
}

impl Done {
    /// What has failed needs no more words.
    fn quiet_on_error(mut self) -> Self {
        if self.rows.is_err() {
            self.warnings.clear();
        }
        self
    }
}

impl From<Result<Option<LocalRows>, Fault>> for Done {
    fn from(rows: Result<Option<LocalRows>, Fault>) -> Self {
        Self { rows: rows.map(|rows| rows.map(Answer::from)), warnings: Vec::new() }
    }
}

impl Front {
    pub(super) async fn run_command(&self, command: &Command, access: Access) -> Done {
        match command {
            Command::Show(What::Transactions) => {
                let (rows, warnings) = self.look(access).prepared().await;
                Done { rows: Ok(Some(rows.into())), warnings }
            }
            Command::Show(What::Map) => Done { rows: Ok(Some(self.look(access).map())), warnings: Vec::new() },
            Command::Set(key, value) => self.set(key, value).await,
            Command::ShowSession(name, value) => Ok(Some(LocalRows {
                columns: vec![(*name).into()],
                rows: vec![vec![Some((*value).to_owned())]],
                tag: command.tag().to_owned(),
            }))
            .into(),
            Command::SetSession(stays) => {
                let notice = |(name, shown): &(&str, &str)| {
                    Fault::new(SqlState::SUCCESSFUL_COMPLETION, format!("SET ignored: \"{name}\" stays \"{shown}\""))
                };
                let done = Done::from(Ok(Some(LocalRows::tag(command.tag()))));
                Done { warnings: stays.iter().map(notice).collect(), ..done }
            }
            Command::Show(what) => Ok(Some(self.look(access).rows(*what))).into(),
            Command::Nothing => Ok(None).into(),
            Command::KillClient(_)
            | Command::Kill(_)
            | Command::Reconnect(_)
            | Command::WaitClose(_)
            | Command::Disable(_)
            | Command::Enable(_)
            | Command::Reload
            | Command::Pause(_)
            | Command::Suspend
            | Command::Resume(_)
            | Command::Shutdown(_) => self.change(command).await.map(|()| Some(LocalRows::tag(command.tag()))).into(),
        }
    }

    async fn change(&self, command: &Command) -> Result<(), Fault> {
        match command {
            // Told elsewhere.
            Command::Nothing
            | Command::Show(_)
            | Command::ShowSession(..)
            | Command::SetSession(_)
            | Command::Set(..) => Ok(()),
            Command::Shutdown(how) => {
                self.steering()?.shut_down(*how);
                Ok(())
            }
            Command::KillClient(id) if self.shared.cancels.kill(*id) => Ok(()),
            Command::KillClient(id) => Err(Fault::new(SqlState::UNDEFINED_OBJECT, format!("there is no client {id}"))
                .hint("SHOW CLIENTS has the ids.")),
            Command::Kill(name) => {
                for database in self.chosen(name.as_deref())? {
                    // Nobody takes their places before RESUME.
                    database.traffic().pause();
                    let clients = self.shared.cancels.kill_all_of(&database.name);
                    database.reconnect();
                    tracing::warn!(database = %database.name, clients, "clients are ended by KILL");
                }
                Ok(())
            }
            Command::Reconnect(name) => {
                self.chosen(name.as_deref())?.iter().for_each(|database| database.reconnect());
                Ok(())
            }
            Command::WaitClose(name) => {
                let databases = self.chosen(name.as_deref())?;
                while databases.iter().any(|database| has_retired(database)) {
                    tokio::time::sleep(LOOK).await;
                }
                Ok(())
            }
            // What has changed, and what was wrong, is in the log as well.
            Command::Reload => self.steering()?.reload().await.map(drop),
            Command::Pause(Scope { database, shard }) => {
                self.steering()?.pause(database.as_deref(), shard.as_deref()).await
            }
            Command::Suspend => {
                self.steering()?.suspend().await;
                Ok(())
            }
            Command::Resume(Scope { database, shard }) => {
                self.steering()?.resume(database.as_deref(), shard.as_deref())
            }
            Command::Disable(name) | Command::Enable(name) => {
                let disabled = matches!(command, Command::Disable(_));
                for database in self.chosen(Some(name))? {
                    database.disabled.store(disabled, Ordering::Release);
                }
                Ok(())
            }
        }
    }

    async fn set(&self, key: &str, value: &str) -> Done {
        let done = match self.steering() {
            Ok(steering) => steering.set(key, value).await,
            Err(fault) => Err(fault),
        };
        let notice = Fault::new(SqlState::SUCCESSFUL_COMPLETION, format!("\"{key}\" is so until the next reload"))
            .hint("Write it into the configuration file to keep it.");
        Done { rows: done.map(|_| Some(LocalRows::tag("SET").into())), warnings: vec![notice] }.quiet_on_error()
    }

    fn steering(&self) -> Result<Arc<dyn Steering>, Fault> {
        let steering = self.shared.steering.get().and_then(Weak::upgrade);
        steering.ok_or_else(|| Fault::new(SqlState::CANNOT_CONNECT_NOW, "the router is starting or ending"))
    }

    /// The database of this name, or all.
    fn chosen(&self, name: Option<&str>) -> Result<Vec<Arc<Database>>, Fault> {
        let Some(name) = name else { return Ok(self.databases.values().cloned().collect()) };
        let unknown = || {
            Fault::new(SqlState::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist"))
                .hint("SHOW DATABASES lists those that there are.")
        };
        self.databases.get(name).map(|database| vec![Arc::clone(database)]).ok_or_else(unknown)
    }

    fn memory(&self, clients: usize) -> Vec<MemoryView> {
        let size = size_of::<Session>();
        let plans = self.shared.plans.stats();
        let (held, limit) = (self.shared.memory.used(), self.shared.memory.limit());
        let steps = |bytes: usize| bytes / memory::STEP;
        vec![
            MemoryView { name: "client_cache", bytes: size * clients, used: clients, free: 0 },
            MemoryView { name: "plan_cache", bytes: plans.bytes, used: plans.entries, free: 0 },
            MemoryView {
                name: "statements",
                bytes: held,
                used: steps(held),
                free: limit.map_or(0, |limit| steps(limit.saturating_sub(held))),
            },
        ]
    }

    fn look(&self, access: Access) -> Look<'static> {
        let mut databases: Vec<_> = self.databases.values().collect();
        databases.sort_by(|a, b| a.name.cmp(&b.name));
        let clients = self.shared.cancels.views();
        Look {
            databases: databases.into_iter().map(Seen::now).collect(),
            user: None,
            peers: self.router.views(),
            memory: self.memory(clients.len()),
            knocking: self.knocking.count(),
            clients,
            suspended: self.shared.desks.is_suspended(),
            sees_keys: access == Access::Admin,
            users: self.users.clone(),
            max_clients: self.client_limits.databases.clone(),
            config: self.config.iter().map(config_view).collect(),
            map: self.shared.map.get().cloned(),
        }
    }
}

fn config_view(shown: &crate::config::Shown) -> ConfigView {
    ConfigView { key: shown.key, value: shown.value.clone(), default: shown.default, changeable: shown.changeable }
}

/// Whether connections that are to be closed are still in somebody's hands.
fn has_retired(database: &Database) -> bool {
    let pools = database.all_pools();
    pools.iter().flat_map(|(_, pools)| pools.all()).any(|pool| {
        let Some(before) = pool.retired() else { return false };
        pool.members().iter().any(|(member, _)| member.facts.connected.0 < before)
    })
}
