//! The way to etcd: its members, who we are, and the files that say so. Another one may be told to those who are on it.

use std::path::Path;
use std::sync::Arc;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use tokio::sync::watch;

use super::{Connection, StoreError, failed, within};
use crate::config::EtcdSettings;

/// The cluster, as one of its users sees it.
pub struct Etcd {
    way: watch::Receiver<Arc<EtcdSettings>>,
}

/// Tells users of the cluster of another way to it.
pub struct Ways {
    told: watch::Sender<Arc<EtcdSettings>>,
}

impl Ways {
    pub fn new(settings: &EtcdSettings) -> Self {
        Self { told: watch::Sender::new(Arc::new(settings.clone())) }
    }

    /// For one user.
    pub fn etcd(&self) -> Etcd {
        Etcd { way: self.told.subscribe() }
    }

    /// Who is connected connects anew, also where the settings are the same and what is in their files is not. The prefix stays:
    /// below another one lies another map.
    pub fn change(&self, settings: &EtcdSettings) {
        self.told.send_modify(|known| {
            let prefix = known.prefix.clone();
            *known = Arc::new(EtcdSettings { prefix, ..settings.clone() });
        });
    }
}

impl Etcd {
    /// That never hears of another way.
    pub fn new(settings: &EtcdSettings) -> Self {
        Ways::new(settings).etcd()
    }

    /// Those of now.
    pub fn settings(&self) -> Arc<EtcdSettings> {
        Arc::clone(&self.way.borrow())
    }

    /// Resolves when there is another way than that of the last connection.
    pub async fn changed(&mut self) {
        if self.way.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// To a member, counted round and round. Certificates and keys are read each time: they may have been renewed.
    ///
    /// # Errors
    /// It is not there, or does not let us in; a certificate cannot be read.
    pub async fn connect(&mut self, member: usize) -> Result<Connection, StoreError> {
        let settings = Arc::clone(&self.way.borrow_and_update());
        let endpoint = &settings.endpoints[member % settings.endpoints.len()];
        let limit = settings.request_timeout;
        let options = within(limit, endpoint, options(&settings)).await?;
        // The channel below never says why it cannot connect; this does, and at once.
        let address = endpoint.split_once("://").map_or(&**endpoint, |(_, address)| address);
        within(limit, endpoint, async {
            tokio::net::TcpStream::connect(address).await.map_err(|error| StoreError(format!("{endpoint}: {error}")))
        })
        .await?;
        let client = within(limit, endpoint, async {
            Client::connect([&**endpoint], Some(options)).await.map_err(|error| failed(endpoint, &error))
        })
        .await?;
        let (endpoint, prefix, room) = (endpoint.clone(), settings.prefix.clone(), settings.room);
        Ok(Connection { client, endpoint, prefix, limit, room })
    }

    /// To the first member that answers a look at the map.
    ///
    /// # Errors
    /// What each of them has said.
    pub async fn any(&mut self) -> Result<Connection, StoreError> {
        let mut errors = Vec::new();
        for member in 0..self.settings().endpoints.len() {
            let tried = async {
                let mut connection = self.connect(member).await?;
                connection.revision().await.map(|_| connection)
            };
            match tried.await {
                Ok(connection) => return Ok(connection),
                Err(StoreError(error)) => errors.push(error),
            }
        }
        Err(StoreError(errors.join("; ")))
    }
}

async fn options(settings: &EtcdSettings) -> Result<ConnectOptions, StoreError> {
    let mut options = ConnectOptions::new()
        .with_connect_timeout(settings.request_timeout)
        .with_keep_alive(settings.check_interval, settings.request_timeout)
        .with_keep_alive_while_idle(true)
        .with_require_leader(true)
        .with_auto_token_refresh(true);
    if let Some((user, password)) = &settings.login {
        options = options.with_user(user.to_string(), String::from_utf8_lossy(password.reveal()));
    }
    if settings.tls {
        let mut tls = match &settings.ca_file {
            Some(ca) => TlsOptions::new().ca_certificate(Certificate::from_pem(read(ca).await?)),
            None => TlsOptions::new().with_enabled_roots(),
        };
        if let Some(identity) = &settings.identity {
            tls = tls.identity(Identity::from_pem(read(&identity.cert_file).await?, read(&identity.key_file).await?));
        }
        options = options.with_tls(tls);
    }
    Ok(options)
}

async fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    tokio::fs::read(path).await.map_err(|error| StoreError(format!("cannot read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    fn settings(endpoint: &str, prefix: &str) -> EtcdSettings {
        EtcdSettings {
            endpoints: vec![endpoint.into()],
            tls: false,
            ca_file: None,
            identity: None,
            login: None,
            prefix: prefix.into(),
            request_timeout: Duration::from_secs(1),
            check_interval: Duration::from_secs(1),
            router_ttl: Duration::from_secs(1),
            copy_file: "none".into(),
            start_timeout: Duration::from_secs(1),
            room: 0,
            users_file: None,
        }
    }

    #[tokio::test]
    async fn another_way_is_told_to_all_and_the_prefix_stays() {
        let ways = Ways::new(&settings("http://127.0.0.1:1", "/a"));
        let mut users = [ways.etcd(), ways.etcd()];
        assert!(users.iter_mut().all(|user| user.changed().now_or_never().is_none()));
        ways.change(&settings("http://127.0.0.1:2", "/b"));
        for user in &mut users {
            user.changed().await;
            assert_eq!((&*user.settings().endpoints[0], &*user.settings().prefix), ("http://127.0.0.1:2", "/a"));
        }
        // The same settings: their files are others.
        ways.change(&settings("http://127.0.0.1:2", "/a"));
        users[0].changed().await;
        // Who connects afterwards goes the new way already.
        assert!(users[1].connect(0).await.is_err_and(|StoreError(error)| error.contains("127.0.0.1:2")));
        assert!(users[1].changed().now_or_never().is_none());
        drop(ways);
        assert!(users[0].changed().now_or_never().is_none());
    }
}
