//! A session begins: what the client is told of the servers' parameters, and what its own settings are there.

use std::sync::Arc;

use crate::backend::cluster::Look;
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::ShardId;
use crate::session::batch::MOVES;
use crate::session::lend::Fit;
use crate::session::set::{check_of_login, check_setting};
use crate::session::whole::DateStyles;
use crate::session::{Failure, Session, Stop};
use crate::wire::reply;

impl Session {
    /// Tells the client its parameters and its key.
    pub(super) async fn greet(&mut self, secret: &[u8], date_styles: &DateStyles) -> Result<(), Stop> {
        for (name, value) in self.startup.iter() {
            check_of_login(name, value)
                .and_then(|()| check_setting(name, value))
                .map_err(|fault| Stop::Fatal(fault.fatal()))?;
        }
        self.check_of_connections().map_err(|fault| Stop::Fatal(fault.fatal()))?;
        let learned = self.learn_parameters(date_styles).await.and_then(|()| self.check_login());
        learned.map_err(|fault| Stop::Fatal(fault.fatal()))?;
        for (name, value) in self.client.parameters.iter() {
            let _ = reply::parameter_status(&mut self.client.out, name, value);
        }
        let _ = reply::backend_key_data(&mut self.client.out, self.pid, secret);
        reply::ready_for_query(&mut self.client.out, self.tx.status());
        self.client.flush().await.map_err(|_| Stop::Gone)
    }

    /// What a new client is told of the server's parameters. With settings of its own it asks a server, else the router remembers.
    async fn learn_parameters(&mut self, date_styles: &DateStyles) -> Result<(), Fault> {
        if !self.view.catalog_known {
            // A client that is as early as the router itself waits for its first look at the shards.
            let look = self.database.look().await;
            self.refresh_view();
            if !self.view.catalog_known {
                return Err(self.not_ready(look));
            }
        }
        match self.pools.defaults.get() {
            Some(known) if self.startup.is_empty() => self.begin_with(known),
            Some(_) | None => {
                let home = self.view.topology.home;
                let mut learned = self.learn_on_home(home, date_styles).await;
                for _ in 0..MOVES {
                    match &learned {
                        Err(failure) if self.follows(failure) => learned = self.learn_on_home(home, date_styles).await,
                        Ok(_) | Err(_) => break,
                    }
                }
                let at = learned.map_err(|failure| match failure {
                    Failure::Fault(fault) | Failure::Stop(Stop::Fatal(fault)) => fault,
                    Failure::Reported | Failure::Stop(_) => self.not_ready(Look::Read),
                })?;
                self.client.parameters.begin_with(&self.held[at].server.parameters);
                self.release_idle();
            }
        }
        self.look_for_schemas().await;
        Ok(())
    }

    /// A connection to the home shard, with what its login began with.
    async fn learn_on_home(&mut self, home: ShardId, date_styles: &DateStyles) -> Result<usize, Failure> {
        let place = self.pools.pool(home).place();
        // It goes back before the first statement, unless all stay with the client.
        let fit = if self.session_mode { Fit::Session } else { Fit::Any };
        let lent = self.lend(&[place], fit).await.map_err(Failure::from)?;
        for server in lent {
            self.begin_with(Arc::clone(&server.defaults));
            self.complete_startup(date_styles, server.connector()).await?;
            self.hold(home, server);
        }
        self.enlist(home).await
    }

    fn not_ready(&self, look: Look) -> Fault {
        let home = &self.view.topology.shard(self.view.topology.home).name;
        let detail = match look {
            Look::Failed(reason) | Look::Locked(reason) => format!("home shard \"{home}\": {reason}"),
            Look::Pending | Look::Read => {
                format!("the catalog has not been read from home shard \"{home}\" yet")
            }
        };
        Fault::new(SqlState::CANNOT_CONNECT_NOW, "the database system is starting up")
            .detail(detail)
            .hint("Retry shortly; /readyz tells which shard is not reachable.")
            .blame(Blame::Router)
    }
}
