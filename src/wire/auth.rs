//! PURE. Authentication as state machines, client side and server side: SCRAM-SHA-256, SCRAM-SHA-256-PLUS and md5.
//!
//! Nothing here reads a socket or a random source: nonces and salts are arguments. A password is either right or the login
//! ends; why it is wrong (no such user, no usable verifier, wrong proof) is never told, nor does it change the messages.

#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

pub mod client;
pub mod md5;
pub mod scram;
pub mod server;

use std::num::NonZeroU32;
use std::sync::OnceLock;

use ring::hmac;

use crate::fault::{Fault, SqlState};
use crate::secret::Secret;
pub use client::ScramClient;
pub use scram::{ScramKeys, ScramVerifier};
pub use server::ScramServer;

pub const SCRAM_SHA_256: &str = "SCRAM-SHA-256";
pub const SCRAM_SHA_256_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// A SASL message before the login is at most this long, in bytes.
pub const MAX_SASL_MESSAGE: usize = 2048;

/// What the config has to check a user's password with, as Postgres keeps it in `pg_authid.rolpassword`.
#[derive(Debug)]
pub enum Verifier {
    Plain(PlainPassword),
    Scram(ScramVerifier),
    /// `md5` and 32 hexadecimal digits.
    Md5(Secret),
}

/// A password in clear text, and the SCRAM verifier that the first login makes of it.
#[derive(Debug)]
pub struct PlainPassword {
    password: Secret,
    scram: OnceLock<ScramVerifier>,
}

/// Why the text of a password in the config can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    #[error("the password is empty; no client can log in with it")]
    Empty,
    #[error(
        "the password starts like a SCRAM verifier, but is none: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>"
    )]
    MalformedScram,
    #[error("the password contains a NUL byte")]
    Nul,
}

impl Verifier {
    /// Reads a password of the config: `SCRAM-SHA-256$...`, `md5...`, or else clear text.
    pub fn parse(text: &str) -> Result<Self, VerifierError> {
        if text.is_empty() {
            Err(VerifierError::Empty)
        } else if text.contains('\0') {
            Err(VerifierError::Nul)
        } else if text.starts_with("SCRAM-SHA-256$") {
            ScramVerifier::parse(text).map(Self::Scram).ok_or(VerifierError::MalformedScram)
        } else if md5::is_hash(text) {
            Ok(Self::Md5(Secret::new(text)))
        } else {
            Ok(Self::Plain(PlainPassword { password: Secret::new(text), scram: OnceLock::new() }))
        }
    }

    /// The password itself, where it is known: what logs in to a server that wants more than an md5 hash.
    pub fn password(&self) -> Option<&Secret> {
        match self {
            Self::Plain(plain) => Some(&plain.password),
            Self::Scram(_) | Self::Md5(_) => None,
        }
    }

    /// Whether only SCRAM can check this.
    pub fn is_scram(&self) -> bool {
        matches!(self, Self::Scram(_))
    }

    /// What SCRAM can check, `None` for an md5 hash. Costs about a millisecond at the first call for a plain password.
    pub fn scram(&self, key: &MockKey, user: &str) -> Option<&ScramVerifier> {
        match self {
            Self::Scram(verifier) => Some(verifier),
            Self::Plain(plain) => Some(plain.scram.get_or_init(|| {
                ScramVerifier::generate(plain.password.reveal(), &key.salt(user), scram::DEFAULT_ITERATIONS)
            })),
            Self::Md5(_) => None,
        }
    }

    /// What md5 can check, `None` for a SCRAM verifier.
    pub fn md5(&self, user: &str) -> Option<Secret> {
        match self {
            Self::Md5(hash) => Some(hash.clone()),
            Self::Plain(plain) => Some(md5::hash(plain.password.reveal(), user)),
            Self::Scram(_) => None,
        }
    }
}

/// Makes the salts of users that don't exist: always the same for one name, and unlike any other's.
///
/// Routers that share the key show a stranger the same salts; a key for each process tells at most that it restarted.
#[derive(Debug)]
pub struct MockKey {
    key: hmac::Key,
    /// Those of the verifiers that there are, in order.
    iterations: Vec<NonZeroU32>,
}

impl MockKey {
    pub fn new(secret: &Secret) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret.reveal()), iterations: Vec::new() }
    }

    /// The same among users with these verifiers: as many strangers as users, in proportion, are asked for as many iterations.
    pub fn among<'a>(&self, verifiers: impl Iterator<Item = &'a Verifier>) -> Self {
        let mut iterations: Vec<NonZeroU32> = verifiers
            .filter_map(|verifier| match verifier {
                Verifier::Scram(scram) => Some(scram.iterations),
                Verifier::Plain(_) => Some(scram::DEFAULT_ITERATIONS),
                Verifier::Md5(_) => None,
            })
            .collect();
        iterations.sort_unstable();
        Self { key: self.key.clone(), iterations }
    }

    /// Of one name the same, as long as the verifiers are.
    pub(crate) fn iterations(&self, user: &str) -> NonZeroU32 {
        let tag = hmac::sign(&self.key, user.as_bytes());
        // Other bytes than those of the salt.
        let place = tag.as_ref().get(16..20).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
        let count = u32::try_from(self.iterations.len()).unwrap_or(u32::MAX);
        let at = usize::try_from((u64::from(place) * u64::from(count)) >> 32).ok();
        at.and_then(|at| self.iterations.get(at)).copied().unwrap_or(scram::DEFAULT_ITERATIONS)
    }

    /// 16 bytes, as Postgres's own salts.
    pub(crate) fn salt(&self, user: &str) -> [u8; 16] {
        let tag = hmac::sign(&self.key, user.as_bytes());
        let mut salt = [0; 16];
        for (to, from) in salt.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        salt
    }
}

/// The one answer to a wrong password, an unknown user, and a user that cannot log in.
pub fn password_failed(user: &str) -> Fault {
    Fault::new(SqlState::INVALID_PASSWORD, format!("password authentication failed for user \"{user}\"")).fatal()
}

#[cfg(test)]
#[path = "auth/tests.rs"]
mod tests;
