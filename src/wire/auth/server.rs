//! The server side of SCRAM: checks a client's proof. A user that does not exist gets the same exchange, and fails.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::ConstantTimeEq;

use super::scram::{KEY, ScramVerifier, any_attribute, as_text, attribute, hmac, is_nonce, malformed, sha256, xor};
use super::{MockKey, SCRAM_SHA_256, SCRAM_SHA_256_PLUS};
use crate::fault::{Fault, Result, SqlState};
use crate::secret::Secret;

/// A client has proven to know the password.
#[derive(Debug)]
pub struct Proven {
    /// Our own proof, to be sent.
    pub signature: Vec<u8>,
    /// What its proof reveals: see [`super::ScramKeys`].
    pub client_key: Secret,
}

/// Waits for the client's first message.
#[derive(Debug)]
pub struct ScramServer {
    verifier: ScramVerifier,
    /// The exchange goes on, but cannot succeed: nobody has such a password.
    doomed: bool,
    /// The hash of our certificate where the connection is TLS: then -PLUS is offered.
    end_point: Option<Vec<u8>>,
    nonce: String,
}

/// Waits for the client's proof.
#[derive(Debug)]
pub struct ScramServerFinal {
    verifier: ScramVerifier,
    doomed: bool,
    /// What the client's `c=` must decode to: the gs2 header, and the end point where it is bound.
    binding: Vec<u8>,
    bound: bool,
    /// Of both sides.
    nonce: String,
    client_first_bare: String,
    server_first: String,
}

impl ScramServer {
    /// `verifier` is `None` for a user that does not exist or has nothing that SCRAM can check; `nonce`: 18 random bytes.
    pub fn new(
        verifier: Option<&ScramVerifier>,
        mock: &MockKey,
        user: &str,
        end_point: Option<Vec<u8>>,
        nonce: [u8; 18],
    ) -> Self {
        let doomed = verifier.is_none();
        let verifier = verifier.cloned().unwrap_or_else(|| ScramVerifier {
            iterations: mock.iterations(user),
            salt: mock.salt(user).to_vec(),
            stored_key: Secret::new([0; KEY]),
            server_key: Secret::new([0; KEY]),
        });
        Self { verifier, doomed, end_point, nonce: BASE64.encode(nonce) }
    }

    /// The mechanisms to offer, the strongest first.
    pub fn mechanisms(&self) -> &'static [&'static str] {
        if self.end_point.is_some() { &[SCRAM_SHA_256_PLUS, SCRAM_SHA_256] } else { &[SCRAM_SHA_256] }
    }

    /// Takes the client's choice and its first message; returns ours.
    pub fn client_first(self, mechanism: &str, message: &[u8]) -> Result<(ScramServerFinal, Vec<u8>)> {
        if !self.mechanisms().contains(&mechanism) {
            return Err(Fault::protocol("client selected an invalid SASL authentication mechanism"));
        }
        let plus = mechanism == SCRAM_SHA_256_PLUS;
        let message = as_text(message)?;
        let (header, bare) = self.gs2_header(message, plus)?;
        let mut rest = bare;
        if rest.starts_with("m=") {
            return Err(unsupported("client requires an unsupported SCRAM extension"));
        }
        // The name in here is ignored, as Postgres does: the StartupMessage said who logs in.
        attribute(&mut rest, b'n')?;
        let client_nonce = attribute(&mut rest, b'r')?;
        // An empty one is nobody's harm but the client's: Postgres takes it.
        if !client_nonce.is_empty() && !is_nonce(client_nonce) {
            return Err(malformed("Non-printable characters in SCRAM nonce."));
        }
        while !rest.is_empty() {
            any_attribute(&mut rest)?;
        }
        let nonce = format!("{client_nonce}{}", self.nonce);
        let salt = BASE64.encode(&self.verifier.salt);
        let server_first = format!("r={nonce},s={salt},i={}", self.verifier.iterations);
        let mut binding = header.as_bytes().to_vec();
        if plus {
            binding.extend_from_slice(self.end_point.as_deref().unwrap_or_default());
        }
        let reply = server_first.clone().into_bytes();
        let next = ScramServerFinal {
            verifier: self.verifier,
            doomed: self.doomed,
            binding,
            bound: plus,
            nonce,
            client_first_bare: bare.to_owned(),
            server_first,
        };
        Ok((next, reply))
    }

    /// Splits the gs2 header (with its last comma) off the message, and refuses what does not fit the mechanism.
    fn gs2_header<'a>(&self, message: &'a str, plus: bool) -> Result<(&'a str, &'a str)> {
        let mut parts = message.splitn(3, ',');
        let flag = parts.next().unwrap_or_default();
        let (Some(authzid), Some(bare)) = (parts.next(), parts.next()) else {
            return Err(malformed("Comma expected."));
        };
        match flag {
            "n" | "y" if plus => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.",
                ));
            }
            "n" => {}
            // Somebody between us took -PLUS off our list of mechanisms.
            "y" if self.end_point.is_some() => {
                return Err(Fault::new(
                    SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                    "SCRAM channel binding negotiation error",
                )
                .detail(
                    "The client supports SCRAM channel binding but thinks the server does not. \
                     However, this server does support channel binding.",
                )
                .fatal());
            }
            "y" => {}
            "p=tls-server-end-point" if plus => {}
            _ if flag.starts_with("p=") && plus => {
                return Err(Fault::protocol("unsupported SCRAM channel-binding type"));
            }
            _ if flag.starts_with("p=") => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256 without channel binding, \
                     but the SCRAM message includes channel binding data.",
                ));
            }
            _ => return Err(malformed("Unexpected channel-binding flag.")),
        }
        if !authzid.is_empty() {
            return Err(unsupported("client uses authorization identity, but it is not supported"));
        }
        let header = message.get(..message.len() - bare.len()).unwrap_or_default();
        Ok((header, bare))
    }
}

impl ScramServerFinal {
    /// Takes the client's proof. `None`: it is wrong, or nobody could have made it.
    pub fn client_final(self, message: &[u8]) -> Result<Option<Proven>> {
        let message = as_text(message)?;
        // Base64 has no comma, so the last attribute is the proof.
        let (without_proof, proof) =
            message.rsplit_once(",p=").ok_or_else(|| malformed("Proof expected in client-final-message."))?;
        let proof = BASE64.decode(proof).ok().and_then(|proof| <[u8; KEY]>::try_from(proof).ok());
        let proof = proof.ok_or_else(|| malformed("Malformed proof in client-final-message."))?;
        let mut rest = without_proof;
        self.check_binding(attribute(&mut rest, b'c')?)?;
        if attribute(&mut rest, b'r')? != self.nonce {
            return Err(Fault::protocol("invalid SCRAM response").detail("Nonce does not match."));
        }
        while !rest.is_empty() {
            any_attribute(&mut rest)?;
        }

        let auth_message: [&[u8]; 5] =
            [self.client_first_bare.as_bytes(), b",", self.server_first.as_bytes(), b",", without_proof.as_bytes()];
        let signature = hmac(self.verifier.stored_key.reveal(), &auth_message);
        let client_key = xor(&proof, &signature);
        let right = self.verifier.stored_key.matches(&sha256(&client_key));
        let server_signature = hmac(self.verifier.server_key.reveal(), &auth_message);
        // A doomed verifier is all zeros, which no hash is; the flag does not rely on that.
        let accepted = right & !self.doomed;
        Ok(accepted.then(|| Proven {
            signature: format!("v={}", BASE64.encode(server_signature)).into_bytes(),
            client_key: Secret::new(client_key),
        }))
    }

    fn check_binding(&self, attribute: &str) -> Result<()> {
        let sent = BASE64.decode(attribute).unwrap_or_default();
        if sent.as_slice().ct_eq(&self.binding).into() {
            return Ok(());
        }
        Err(if self.bound {
            Fault::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "SCRAM channel binding check failed").fatal()
        } else {
            Fault::protocol("unexpected SCRAM channel-binding attribute in client-final-message")
        })
    }
}

fn unsupported(message: &'static str) -> Fault {
    Fault::new(SqlState::FEATURE_NOT_SUPPORTED, message).fatal()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::wire::auth::scram::DEFAULT_ITERATIONS;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn rfc_7677_exchange_is_reproduced() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let server = ScramServer {
            verifier: ScramVerifier::generate(b"pencil", &salt, DEFAULT_ITERATIONS),
            doomed: false,
            end_point: None,
            nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".into(),
        };
        let (last, first) = server.client_first("SCRAM-SHA-256", b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        let expected = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        assert_eq!(String::from_utf8(first).unwrap(), expected);
        let proof = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                      p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let proven = last.client_final(proof).unwrap().unwrap();
        assert_eq!(proven.signature, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }
}
