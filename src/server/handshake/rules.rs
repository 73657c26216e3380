//! The entry of the HBA file that counts for a client, and what it asks of the client's certificate. Nothing here depends on whether the
//! user exists.

use super::Applicant;
use crate::config::hba::{CertificateRule, Entry, Hba, HbaMethod, Knock};
use crate::config::ident::IdentMaps;
use crate::fault::{Fault, SqlState};
use crate::tls::ShownCertificate;

/// `None`: there is no file, and every user comes in as its account says.
///
/// # Errors
/// `28000`, in Postgres's words: no entry fits, or the one that does rejects.
pub(super) fn entry<'a>(hba: Option<&'a Hba>, applicant: &Applicant<'_>) -> Result<Option<&'a Entry>, Fault> {
    let Some(hba) = hba else { return Ok(None) };
    let Applicant { database, user, peer, tls } = *applicant;
    let from = peer.ip().to_canonical();
    let who = || {
        let encryption = if tls { "SSL encryption" } else { "no encryption" };
        format!("for host \"{from}\", user \"{user}\", database \"{database}\", {encryption}")
    };
    match hba.first(&Knock { database, user, from, tls }) {
        None => Err(refused(format!("no pg_hba.conf entry {}", who()))),
        Some(entry) if entry.method == HbaMethod::Reject => {
            Err(refused(format!("pg_hba.conf rejects connection {}", who())))
        }
        Some(entry) => Ok(Some(entry)),
    }
}

/// Before the exchange: whether there is a certificate, where there has to be one.
pub(super) fn check_shown(entry: Option<&Entry>, shown: Option<&ShownCertificate>) -> Result<(), Fault> {
    match (entry.map(|entry| entry.certificate), shown) {
        (Some(CertificateRule::Verified | CertificateRule::OfUser), None) => {
            Err(refused("connection requires a valid client certificate".to_owned()))
        }
        (Some(CertificateRule::Verified | CertificateRule::OfUser), Some(_))
        | (Some(CertificateRule::Any) | None, _) => Ok(()),
    }
}

/// Behind it: whether it is for the user, where it has to be.
pub(super) fn is_for(entry: Option<&Entry>, idents: &IdentMaps, shown: Option<&ShownCertificate>, user: &str) -> bool {
    match entry {
        Some(entry) if entry.certificate == CertificateRule::OfUser => {
            let name = shown.and_then(|shown| shown.common_name.as_deref());
            name.is_some_and(|name| idents.allows(entry.map.as_deref(), name, user))
        }
        Some(_) | None => true,
    }
}

/// The one answer to a certificate that is for somebody else, and to one for a user that does not exist.
pub(super) fn certificate_failed(user: &str) -> Fault {
    refused(format!("certificate authentication failed for user \"{user}\""))
}

fn refused(message: String) -> Fault {
    Fault::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, message).fatal()
}
