//! The client side of SCRAM: proves our password to a server, and makes the server prove that it knows it too.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::ConstantTimeEq;

use super::scram::{
    KEY, Key, ScramKeys, any_attribute, attribute, first_key, hmac, is_printable, parse_iterations, readable,
    salted_password, sha256, xor,
};
use super::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS};
use crate::fault::{Blame, Fault, Result, SqlState};
use crate::secret::Secret;

/// A server that asks for more rounds than this is refused: it could keep our CPU busy at will.
const MAX_ITERATIONS: u32 = 10_000_000;

/// What we can bind the exchange to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// No TLS, or a certificate of which we cannot make a hash.
    Unsupported,
    /// TLS, and the hash of the server's certificate.
    EndPoint(Vec<u8>),
}

/// By what we know what we prove to know.
#[derive(Clone, Debug)]
pub enum Means {
    Password(Secret),
    /// Those of one verifier; a server that has another one of the same password takes no proof of them.
    Keys(ScramKeys),
}

impl From<&Secret> for Means {
    fn from(password: &Secret) -> Self {
        Self::Password(password.clone())
    }
}

impl Means {
    /// The client's key and the server's, for this challenge. For a password this costs CPU time in proportion to the iterations.
    fn keys(&self, salt: &[u8], iterations: NonZeroU32) -> Result<(Key, Key)> {
        match self {
            Self::Password(password) => {
                let salted = salted_password(password.reveal(), salt, iterations);
                Ok((hmac(salted.reveal(), &[b"Client Key"]), hmac(salted.reveal(), &[b"Server Key"])))
            }
            Self::Keys(keys) if keys.verifier.salt == salt && keys.verifier.iterations == iterations => {
                Ok((first_key(keys.client_key.reveal()), first_key(keys.verifier.server_key.reveal())))
            }
            Self::Keys(_) => Err(refused(
                "the server has another SCRAM verifier than the config: its salt or its iterations are not the same",
            )
            .hint("Store the config's verifier on every server (ALTER ROLE ... PASSWORD 'SCRAM-SHA-256$...'), or set server_password.")
            .blame(Blame::Router)),
        }
    }
}

/// Waits for the server's first message.
#[derive(Debug)]
pub struct ScramClient {
    means: Means,
    /// The gs2 header and the end point.
    binding: Vec<u8>,
    nonce: String,
    first_bare: String,
}

/// Waits for the server's proof.
#[derive(Debug)]
pub struct ScramClientFinal {
    server_signature: [u8; KEY],
}

/// What a server that asks for SASL offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    pub scram: bool,
    pub scram_plus: bool,
}

impl Offered {
    /// Reads the body of AuthenticationSASL after its code: names, each with a terminator, and a last terminator.
    pub fn parse(names: &[u8]) -> Self {
        let mut offered = Self::default();
        for name in names.split(|byte| *byte == 0) {
            offered.scram |= name == SCRAM_SHA_256.as_bytes();
            offered.scram_plus |= name == SCRAM_SHA_256_PLUS.as_bytes();
        }
        offered
    }
}

impl ScramClient {
    /// Chooses the mechanism; returns it with our first message. `nonce`: 18 random bytes.
    pub fn start(
        means: impl Into<Means>,
        offered: Offered,
        binding: Binding,
        nonce: [u8; 18],
    ) -> Result<(Self, &'static str, Vec<u8>)> {
        let (mechanism, header, end_point) = match binding {
            Binding::EndPoint(hash) if offered.scram_plus => (SCRAM_SHA_256_PLUS, "p=tls-server-end-point,,", hash),
            // We could, but the server does not offer it: if it did, it will find out by this flag.
            Binding::EndPoint(_) if offered.scram => (SCRAM_SHA_256, "y,,", Vec::new()),
            Binding::Unsupported if offered.scram => (SCRAM_SHA_256, "n,,", Vec::new()),
            Binding::EndPoint(_) | Binding::Unsupported => {
                return Err(refused("the server offers no SASL mechanism that can be used on this connection"));
            }
        };
        let nonce = BASE64.encode(nonce);
        // Postgres takes the name from the StartupMessage; libpq leaves it empty here as well.
        let first_bare = format!("n=,r={nonce}");
        let first = format!("{header}{first_bare}").into_bytes();
        let binding = [header.as_bytes(), &end_point].concat();
        Ok((Self { means: means.into(), binding, nonce, first_bare }, mechanism, first))
    }

    /// Takes the server's first message; returns our proof. With a password it costs CPU time in proportion to the server's iterations.
    pub fn server_first(self, message: &[u8]) -> Result<(ScramClientFinal, Vec<u8>)> {
        let server_first = readable(message).and_then(as_text).map_err(blame_server)?;
        let (nonce, salt, iterations) = self.challenge(server_first).map_err(blame_server)?;

        let (client_key, server_key) = self.means.keys(&salt, iterations)?;
        let without_proof = format!("c={},r={nonce}", BASE64.encode(&self.binding));
        let auth_message: [&[u8]; 5] =
            [self.first_bare.as_bytes(), b",", server_first.as_bytes(), b",", without_proof.as_bytes()];
        let signature = hmac(&sha256(&client_key), &auth_message);
        let proof = BASE64.encode(xor(&client_key, &signature));
        let server_signature = hmac(&server_key, &auth_message);
        Ok((ScramClientFinal { server_signature }, format!("{without_proof},p={proof}").into_bytes()))
    }

    fn challenge<'a>(&self, message: &'a str) -> Result<(&'a str, Vec<u8>, NonZeroU32)> {
        let mut rest = message.as_bytes();
        let nonce = as_text(attribute(&mut rest, b'r')?)?;
        if !is_printable(nonce.as_bytes()) || !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(refused("the server's SCRAM nonce does not continue ours"));
        }
        let salt = BASE64.decode(attribute(&mut rest, b's')?).ok().filter(|salt| !salt.is_empty());
        let salt = salt.ok_or_else(|| refused("the server's SCRAM salt is malformed"))?;
        let iterations = parse_iterations(as_text(attribute(&mut rest, b'i')?)?)
            .ok_or_else(|| refused("the server's SCRAM iteration count is malformed"))?;
        if iterations.get() > MAX_ITERATIONS {
            return Err(refused(format!(
                "the server asks for {iterations} SCRAM iterations; {MAX_ITERATIONS} are allowed"
            )));
        }
        while !rest.is_empty() {
            any_attribute(&mut rest)?;
        }
        Ok((nonce, salt, iterations))
    }
}

impl ScramClientFinal {
    /// Takes the server's proof. Errors where the server does not know our password: it is not the one that we wanted.
    pub fn server_final(self, message: &[u8]) -> Result<()> {
        let mut rest = readable(message).map_err(blame_server)?;
        let (name, value) = any_attribute(&mut rest).map_err(blame_server)?;
        if name == b'e' {
            return Err(refused(format!("the server ended the SCRAM exchange: {}", String::from_utf8_lossy(value))));
        }
        let signature = BASE64.decode(value).unwrap_or_default();
        let right: bool = signature.as_slice().ct_eq(&self.server_signature).into();
        if name == b'v' && right {
            Ok(())
        } else {
            Err(refused("the server's SCRAM signature is wrong: it does not know the password"))
        }
    }
}

fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(SqlState::UNABLE_TO_CONNECT, message).blame(Blame::Server)
}

fn as_text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| refused("the server's SCRAM message is not text"))
}

fn blame_server(fault: Fault) -> Fault {
    fault.blame(Blame::Server)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn rfc_7677_exchange_is_reproduced() {
        let client = ScramClient {
            means: Means::Password(Secret::new("pencil")),
            binding: b"n,,".to_vec(),
            nonce: "rOprNGfwEbeRWgbNEkqO".into(),
            first_bare: "n=user,r=rOprNGfwEbeRWgbNEkqO".into(),
        };
        let (last, proof) = client
            .server_first(b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
            .unwrap();
        let expected = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(String::from_utf8(proof).unwrap(), expected);
        last.server_final(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
    }
}
