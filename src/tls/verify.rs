//! How a server's certificate is verified: not at all, against authorities, or against authorities and the host's name.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Takes any certificate; only the handshake's own signatures are checked. For `prefer` and `require`.
#[derive(Debug)]
pub struct Anyone {
    algorithms: WebPkiSupportedAlgorithms,
}

impl Anyone {
    pub fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms }
    }
}

/// Whether the certificate must be for the host's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Any,
    Checked,
}

/// Takes certificates that lead to one of our authorities.
#[derive(Debug)]
pub struct Trusted {
    algorithms: WebPkiSupportedAlgorithms,
    roots: RootCertStore,
    /// Certificates that the config names itself. A server may show one of them though it is marked as an authority,
    /// which is what `openssl req -x509` makes and what the manual of Postgres tells people to run.
    pinned: Vec<CertificateDer<'static>>,
    names: Names,
}

impl Trusted {
    pub fn new(
        provider: &CryptoProvider,
        roots: RootCertStore,
        pinned: Vec<CertificateDer<'static>>,
        names: Names,
    ) -> Self {
        Self { algorithms: provider.signature_verification_algorithms, roots, pinned, names }
    }

    /// Whether a chain that is in no order otherwise ends in a certificate that we pinned. The dates stay checked:
    /// an expired one fails with its own error.
    fn is_pinned(&self, certificate: &CertificateDer<'_>, error: &Error) -> bool {
        let structural =
            matches!(error, Error::InvalidCertificate(CertificateError::Other(_) | CertificateError::UnknownIssuer));
        structural && self.pinned.iter().any(|pinned| pinned.as_ref() == certificate.as_ref())
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let chain = verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        );
        match chain {
            Err(error) if !self.is_pinned(end_entity, &error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        if self.names == Names::Checked {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
