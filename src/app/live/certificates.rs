//! What was made of files that can change while their names stay.

use super::*;

/// What was made of files that can change while their names stay.
#[derive(Clone)]
pub(super) struct Certificates {
    pub(super) servers: Arc<ServerTls>,
    pub(super) servers_hash: Vec<u8>,
    pub(super) clients_hash: Vec<u8>,
    pub(super) peers_hash: Vec<u8>,
    pub(super) etcd_hash: Vec<u8>,
}

impl Certificates {
    /// Where the files are those of `before`, so is what is made of them.
    pub(super) fn load(settings: &Settings, before: Option<&Self>) -> Result<Self, TlsError> {
        // Before they are read: what changes meanwhile is seen the next time.
        let (servers_hash, clients_hash) = (hash(&settings.server_tls), hash(&settings.client_tls));
        let etcd = etcd_tls(&settings.map);
        let (peers_hash, etcd_hash) = (hash(&settings.peer_tls), etcd.as_ref().map(hash).unwrap_or_default());
        let same = before.filter(|before| before.servers_hash == servers_hash);
        let servers = match same {
            Some(before) => Arc::clone(&before.servers),
            None => Arc::new(server_tls(&settings.server_tls)?),
        };
        // Each connection to etcd reads them itself; a configuration with what cannot be used is rejected. Not at the start, which has
        // the copy of the map.
        if let Some(etcd) = etcd.filter(|_| before.is_some_and(|before| before.etcd_hash != etcd_hash)) {
            server_tls(&etcd)?;
        }
        Ok(Self { servers, servers_hash, clients_hash, peers_hash, etcd_hash })
    }

    pub(super) fn differ_from(&self, before: &Self) -> Vec<&'static str> {
        let servers = (self.servers_hash != before.servers_hash).then_some("server TLS");
        let clients = (self.clients_hash != before.clients_hash).then_some("client TLS");
        let peers = (self.peers_hash != before.peers_hash).then_some("peer TLS");
        let etcd = (self.etcd_hash != before.etcd_hash).then_some("TLS of etcd");
        servers.into_iter().chain(clients).chain(peers).chain(etcd).collect()
    }
}

/// With what etcd is spoken to, where it is with TLS.
fn etcd_tls(map: &MapSettings) -> Option<TlsSettings> {
    match map {
        MapSettings::Etcd(etcd) if etcd.tls => {
            let (identity, ca_file) = (etcd.identity.clone(), etcd.ca_file.clone());
            Some(TlsSettings { mode: SslMode::VerifyFull, identity, ca_file })
        }
        MapSettings::Etcd(_) | MapSettings::File { .. } => None,
    }
}

/// Of the settings and of what is in their files.
fn hash(settings: &TlsSettings) -> Vec<u8> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(format!("{settings:?}").as_bytes());
    let identity = settings.identity.iter().flat_map(|identity| [&identity.cert_file, &identity.key_file]);
    for path in identity.chain(&settings.ca_file) {
        // What cannot be read is told by who needs it.
        let bytes = std::fs::read(path).unwrap_or_default();
        context.update(&bytes.len().to_le_bytes());
        context.update(&bytes);
    }
    context.finish().as_ref().to_vec()
}
