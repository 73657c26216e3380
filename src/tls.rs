//! TLS by rustls with ring: `ClientTls` toward clients, `ServerTls` toward Postgres servers. The only door to rustls's configs.
//!
//! Sessions are resumed as rustls does by default. Files are read when a value is made: a reload makes a new value.

mod der;
pub mod end_point;
pub mod subject;
mod verify;

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::Ticketer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// The protocol's name in ALPN, required where TLS starts without SSLRequest.
pub const ALPN: &[u8] = b"postgresql";

/// A certificate or key that cannot be used. Names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {what} file \"{}\": {reason}; check the path and that this user may read it", path.display())]
    Unreadable { what: &'static str, path: PathBuf, reason: String },
    #[error("{what} file \"{}\" has no {what} in PEM form; it needs a \"-----BEGIN\" block", path.display())]
    Empty { what: &'static str, path: PathBuf },
    #[error("certificate \"{}\" and key \"{}\" cannot be used: {reason}; the key must be the certificate's own", certificate.display(), key.display())]
    Unusable { certificate: PathBuf, key: PathBuf, reason: String },
    #[error("a certificate in \"{}\" cannot be trusted as an authority: {reason}", path.display())]
    BadAuthority { path: PathBuf, reason: String },
    #[error("this system has no trusted certificates; name a file of authorities for the servers' TLS")]
    NoSystemRoots,
    #[error("TLS is not possible with this build: {0}")]
    Provider(#[from] rustls::Error),
}

/// What we ask of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClientTlsMode {
    /// SSLRequest is answered with "no".
    #[default]
    Disable,
    /// As the client wants.
    Allow,
    /// A client without TLS is refused before it can send a password.
    Require,
}

/// Our certificate, ready for clients.
#[derive(Clone)]
pub struct ClientTls {
    pub acceptor: TlsAcceptor,
    /// Our certificate's hash for `tls-server-end-point`, where one is defined for its signature algorithm.
    pub end_point: Option<Vec<u8>>,
}

/// Whether clients show certificates, of which authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates<'a> {
    NotAsked,
    /// Who has none may come in without; one that is shown has to lead to an authority of the file.
    Asked(&'a Path),
    /// Nobody comes in without one.
    Demanded(&'a Path),
}

/// What a client has shown, and rustls has verified. It is for somebody where its subject has one common name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCertificate {
    pub common_name: Option<String>,
}

/// `None`: none.
pub fn shown_by(stream: &tokio_rustls::server::TlsStream<TcpStream>) -> Option<ShownCertificate> {
    let own = stream.get_ref().1.peer_certificates()?.first()?;
    Some(ShownCertificate { common_name: subject::common_name(own) })
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientTls(...)")
    }
}

impl ClientTls {
    /// `certificate`: PEM, our own first, then those between it and the authority. `key`: PEM, PKCS#8, PKCS#1 or SEC1.
    /// `clients`: whose certificates a client over TLS shows, whoever they are for.
    pub fn load(certificate: &Path, key: &Path, clients: ClientCertificates<'_>) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let end_point = chain.first().and_then(|own| end_point::hash(own));
        let provider = provider();
        let verifier = match clients {
            ClientCertificates::NotAsked => WebPkiClientVerifier::no_client_auth(),
            ClientCertificates::Asked(path) | ClientCertificates::Demanded(path) => {
                let (roots, _) = trusted(Some(path))?;
                let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                let builder = match clients {
                    ClientCertificates::Asked(_) => builder.allow_unauthenticated(),
                    ClientCertificates::NotAsked | ClientCertificates::Demanded(_) => builder,
                };
                builder.build().map_err(|e| TlsError::BadAuthority { path: path.to_owned(), reason: e.to_string() })?
            }
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, private_key(key)?)
            .map_err(|e| unusable(certificate, key, &e))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        if matches!(clients, ClientCertificates::NotAsked) {
            // What a client brings back is sealed by keys that end with this value: any number may come back, and none to another certificate.
            config.ticketer = Ticketer::new()?;
        } else {
            // A certificate is looked at in each login: it may have run out since the last one.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), end_point })
    }
}

/// How much a server has to prove, as libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ServerTlsMode {
    Disable,
    /// TLS if the server says that it has it, and then nothing else. No protection against who can change what we send.
    Prefer,
    /// TLS or nothing, with whoever answers: it keeps listeners out, but not somebody who stands between.
    /// With a file of authorities it verifies like `VerifyCa`, as libpq does.
    Require,
    /// The certificate is signed by one of our authorities, for whatever name.
    VerifyCa,
    /// And is for the host that we connect to.
    #[default]
    VerifyFull,
}

/// Where the files of [`ServerTls`] are.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ServerTlsFiles {
    /// PEM, one or more authorities; without it the system's are trusted.
    pub authorities: Option<PathBuf>,
    /// Our own certificate and key, for servers that ask for one (`hostssl ... cert`).
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// How we speak TLS to servers.
#[derive(Clone)]
pub struct ServerTls {
    mode: ServerTlsMode,
    /// `None` where the mode is `Disable`.
    config: Option<Arc<ClientConfig>>,
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerTls({:?})", self.mode)
    }
}

impl ServerTls {
    pub fn disabled() -> Self {
        Self { mode: ServerTlsMode::Disable, config: None }
    }

    pub fn load(mode: ServerTlsMode, files: &ServerTlsFiles) -> Result<Self, TlsError> {
        if mode == ServerTlsMode::Disable {
            return Ok(Self::disabled());
        }
        let provider = provider();
        let verifier: Arc<dyn ServerCertVerifier> = match (mode, &files.authorities) {
            (ServerTlsMode::Disable | ServerTlsMode::Prefer, _) | (ServerTlsMode::Require, None) => {
                Arc::new(verify::Anyone::new(&provider))
            }
            (ServerTlsMode::Require | ServerTlsMode::VerifyCa, authorities) => {
                let (roots, pinned) = trusted(authorities.as_deref())?;
                Arc::new(verify::Trusted::new(&provider, roots, pinned, verify::Names::Any))
            }
            (ServerTlsMode::VerifyFull, authorities) => {
                let (roots, pinned) = trusted(authorities.as_deref())?;
                Arc::new(verify::Trusted::new(&provider, roots, pinned, verify::Names::Checked))
            }
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &files.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => builder
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .map_err(|e| unusable(certificate, key, &e))?,
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { mode, config: Some(Arc::new(config)) })
    }

    pub fn mode(&self) -> ServerTlsMode {
        self.mode
    }

    /// Whether SSLRequest is sent at all.
    pub fn wanted(&self) -> bool {
        self.config.is_some()
    }

    /// Whether a server that answers "no" is left.
    pub fn required(&self) -> bool {
        !matches!(self.mode, ServerTlsMode::Disable | ServerTlsMode::Prefer)
    }

    /// The TLS handshake, after the server said yes. `host` is what the certificate has to be for.
    pub async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let config = self.config.clone().ok_or_else(|| io::Error::other("TLS is disabled"))?;
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            Err(e) if self.mode == ServerTlsMode::VerifyFull => return Err(io::Error::other(e)),
            // Where no name is verified any will do, such as that of a container with a strange one.
            Err(_) => {
                let peer = stream.peer_addr().map_or(IpAddr::from([127, 0, 0, 1]), |peer| peer.ip());
                ServerName::IpAddress(peer.into())
            }
        };
        TlsConnector::from(config).connect(name, stream).await
    }
}

/// The hash of the certificate that the server has shown, for channel binding.
pub fn server_end_point(stream: &tokio_rustls::client::TlsStream<TcpStream>) -> Option<Vec<u8>> {
    end_point::hash(stream.get_ref().1.peer_certificates()?.first()?)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    const WHAT: &str = "certificate";
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(chain) if chain.is_empty() => Err(TlsError::Empty { what: WHAT, path: path.to_owned() }),
        Ok(chain) => Ok(chain),
        Err(e) => Err(TlsError::Unreadable { what: WHAT, path: path.to_owned(), reason: e.to_string() }),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    const WHAT: &str = "private key";
    PrivateKeyDer::from_pem_file(path).map_err(|e| match e {
        rustls_pki_types::pem::Error::NoItemsFound => TlsError::Empty { what: WHAT, path: path.to_owned() },
        e => TlsError::Unreadable { what: WHAT, path: path.to_owned(), reason: e.to_string() },
    })
}

fn unusable(certificate: &Path, key: &Path, e: &rustls::Error) -> TlsError {
    TlsError::Unusable { certificate: certificate.to_owned(), key: key.to_owned(), reason: e.to_string() }
}

/// The authorities of the file, or the system's; and the file's certificates themselves.
fn trusted(authorities: Option<&Path>) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), TlsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = authorities else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() { Err(TlsError::NoSystemRoots) } else { Ok((roots, Vec::new())) };
    };
    let own = certificates(path)?;
    for certificate in &own {
        let bad = |e: rustls::Error| TlsError::BadAuthority { path: path.to_owned(), reason: e.to_string() };
        roots.add(certificate.clone()).map_err(bad)?;
    }
    Ok((roots, own))
}
