//! The server side of SCRAM: checks a client's proof. A user that does not exist gets the same exchange, and fails.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use subtle::ConstantTimeEq;

use super::scram::{
    KEY, ScramVerifier, any_attribute, attribute, hmac, is_printable, malformed, readable, sha256, shown, xor,
};
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
    client_first_bare: Vec<u8>,
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
        let message = readable(message)?;
        let (header, bare) = self.gs2_header(message, plus)?;
        let mut rest = bare;
        if rest.first() == Some(&b'm') {
            return Err(unsupported("client requires an unsupported SCRAM extension"));
        }
        // The name in here is ignored, as Postgres does: the StartupMessage said who logs in.
        attribute(&mut rest, b'n')?;
        // An empty one is nobody's harm but the client's: Postgres takes it.
        let client_nonce = attribute(&mut rest, b'r')?;
        if !is_printable(client_nonce) {
            return Err(Fault::protocol("non-printable characters in SCRAM nonce"));
        }
        while !rest.is_empty() {
            any_attribute(&mut rest)?;
        }
        let nonce = format!("{}{}", String::from_utf8_lossy(client_nonce), self.nonce);
        let salt = BASE64.encode(&self.verifier.salt);
        let server_first = format!("r={nonce},s={salt},i={}", self.verifier.iterations);
        let mut binding = header.to_vec();
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
    fn gs2_header<'a>(&self, message: &'a [u8], plus: bool) -> Result<(&'a [u8], &'a [u8])> {
        let mut rest = message;
        match message.first() {
            Some(b'n' | b'y') if plus => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.",
                ));
            }
            // Somebody between us took -PLUS off our list of mechanisms.
            Some(b'y') if self.end_point.is_some() => {
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
            Some(b'n' | b'y') => {
                let tail = message.get(1..).unwrap_or_default();
                let comma = || malformed(format!("Comma expected, but found character \"{}\".", shown(tail.first())));
                rest = tail.strip_prefix(b",").ok_or_else(comma)?;
            }
            Some(b'p') if !plus => {
                return Err(malformed(
                    "The client selected SCRAM-SHA-256 without channel binding, \
                     but the SCRAM message includes channel binding data.",
                ));
            }
            Some(b'p') => {
                let kind = attribute(&mut rest, b'p')?;
                if kind != b"tls-server-end-point" {
                    return Err(Fault::protocol(format!(
                        "unsupported SCRAM channel-binding type \"{}\"",
                        sanitized(kind)
                    )));
                }
            }
            flag => {
                return Err(malformed(format!("Unexpected channel-binding flag \"{}\".", shown(flag))));
            }
        }
        let unexpected =
            || malformed(format!("Unexpected attribute \"{}\" in client-first-message.", shown(rest.first())));
        if rest.first() == Some(&b'a') {
            return Err(unsupported("client uses authorization identity, but it is not supported"));
        }
        let bare = rest.strip_prefix(b",").ok_or_else(unexpected)?;
        let header = message.get(..message.len() - bare.len()).unwrap_or_default();
        Ok((header, bare))
    }
}

impl ScramServerFinal {
    /// Takes the client's proof. `None`: it is wrong, or nobody could have made it.
    pub fn client_final(self, message: &[u8]) -> Result<Option<Proven>> {
        let mut rest = readable(message)?;
        self.check_binding(attribute(&mut rest, b'c')?)?;
        let nonce = attribute(&mut rest, b'r')?;
        // The proof is the last one, and no part of what it proves; nor is the comma before it.
        let (without_proof, proof) = loop {
            let before = message.len().saturating_sub(rest.len() + 1);
            if let (b'p', proof) = any_attribute(&mut rest)? {
                break (message.get(..before).unwrap_or_default(), proof);
            }
        };
        let proof = BASE64.decode(proof).ok().and_then(|proof| <[u8; KEY]>::try_from(proof).ok());
        let proof = proof.ok_or_else(|| malformed("Malformed proof in client-final-message."))?;
        if !rest.is_empty() {
            return Err(malformed("Garbage found at the end of client-final-message."));
        }
        if nonce != self.nonce.as_bytes() {
            return Err(Fault::protocol("invalid SCRAM response").detail("Nonce does not match."));
        }

        let auth_message: [&[u8]; 5] =
            [&self.client_first_bare, b",", self.server_first.as_bytes(), b",", without_proof];
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

    fn check_binding(&self, attribute: &[u8]) -> Result<()> {
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

/// A text of a client's as Postgres shows it (`sanitize_str`).
fn sanitized(text: &[u8]) -> String {
    const MOST: usize = 30;
    let shown = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
    text.iter().take(MOST).map(shown).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use crate::wire::auth::scram::DEFAULT_ITERATIONS;

    fn server(end_point: Option<Vec<u8>>) -> ScramServer {
        let verifier = ScramVerifier::generate(b"pencil", b"salt", DEFAULT_ITERATIONS);
        ScramServer { verifier, doomed: false, end_point, nonce: "server".into() }
    }

    /// As a Postgres 15 tells them.
    #[test]
    fn what_is_wrong_with_a_first_message_is_told_in_the_words_of_postgres() {
        for (message, told) in [
            (&b""[..], "The message is empty."),
            (b"x", "Unexpected channel-binding flag \"'x'\"."),
            (b"\xff,,n=,r=abc", "Unexpected channel-binding flag \"0xff\"."),
            (b"n", "Comma expected, but found character \"0x00\"."),
            (b"n;,n=,r=abc", "Comma expected, but found character \"';'\"."),
            (b"n,", "Unexpected attribute \"0x00\" in client-first-message."),
            (b"n,x,n=,r=abc", "Unexpected attribute \"'x'\" in client-first-message."),
            (b"n,,", "Expected attribute \"n\" but found \"0x00\"."),
            (b"n,,=u", "Expected attribute \"n\" but found \"'='\"."),
            (b"n,,n", "Expected character \"=\" for attribute \"n\"."),
            (b"n,,n=u,", "Expected attribute \"r\" but found \"0x00\"."),
            (b"n,,n=u,r", "Expected character \"=\" for attribute \"r\"."),
            (b"n,,n=u,r=abc,1=x", "Attribute expected, but found invalid character \"'1'\"."),
            (b"n,,n=u,r=abc,x", "Expected character \"=\" for attribute \"x\"."),
            (b"n,,n=u\0,r=abc", "Message length does not match input length."),
            (
                b"p=x,,n=,r=a",
                "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.",
            ),
        ] {
            let fault = server(None).client_first(SCRAM_SHA_256, message).unwrap_err();
            assert_eq!(fault.message, "malformed SCRAM message", "{message:?}");
            assert_eq!(fault.detail.as_deref(), Some(told), "{message:?}");
        }
        for (message, told) in [
            (&b"n,a=b,n=,r=abc"[..], "client uses authorization identity, but it is not supported"),
            (b"n,,m=x,n=,r=abc", "client requires an unsupported SCRAM extension"),
            (b"n,,n=u,r=a b", "non-printable characters in SCRAM nonce"),
            (b"n,,n=u,r=\xc3\xa4", "non-printable characters in SCRAM nonce"),
        ] {
            let fault = server(None).client_first(SCRAM_SHA_256, message).unwrap_err();
            assert_eq!((&*fault.message, &fault.detail), (told, &None), "{message:?}");
        }
        for message in
            [&b"n,,n=u,r="[..], b"n,,n=\xff,r=abc", b"n,,n=u,r=abc,", b"n,,n=u,r=abc,b=c,d=e", b"y,,n=,r=abc"]
        {
            assert!(server(None).client_first(SCRAM_SHA_256, message).is_ok(), "{message:?}");
        }
        let bound = |message: &[u8]| server(Some(vec![1])).client_first(SCRAM_SHA_256_PLUS, message).unwrap_err();
        assert_eq!(bound(b"p=tls-\xffnique,,n=,r=a").message, "unsupported SCRAM channel-binding type \"tls-?nique\"");
        assert_eq!(bound(b"p,,n=,r=a").detail.as_deref(), Some("Expected character \"=\" for attribute \"p\"."));
    }

    #[test]
    fn what_is_wrong_with_a_last_message_is_told_in_the_words_of_postgres() {
        let proof = BASE64.encode([1; KEY]);
        let say = |message: &[u8]| {
            let (last, _) = server(None).client_first(SCRAM_SHA_256, b"n,,n=u,r=abc").unwrap();
            last.client_final(message)
        };
        for (message, told) in [
            ("x".to_owned(), "Expected attribute \"c\" but found \"'x'\"."),
            ("c,r=abcserver".to_owned(), "Expected character \"=\" for attribute \"c\"."),
            ("c=biws".to_owned(), "Expected attribute \"r\" but found \"0x00\"."),
            (format!("c=biws,p={proof}"), "Expected attribute \"r\" but found \"'p'\"."),
            ("c=biws,r=abcserver".to_owned(), "Attribute expected, but found end of string."),
            ("c=biws,r=abcserver,p".to_owned(), "Expected character \"=\" for attribute \"p\"."),
            ("c=biws,r=other,p=eA==".to_owned(), "Malformed proof in client-final-message."),
            (format!("c=biws,r=abcserver,p={proof},x=1"), "Garbage found at the end of client-final-message."),
            (format!("c=biws,r=abcserver,1=1,p={proof}"), "Attribute expected, but found invalid character \"'1'\"."),
        ] {
            let fault = say(message.as_bytes()).unwrap_err();
            assert_eq!(fault.message, "malformed SCRAM message", "{message}");
            assert_eq!(fault.detail.as_deref(), Some(told), "{message}");
        }
        let fault = say(format!("c=biws,r=other,p={proof}").as_bytes()).unwrap_err();
        assert_eq!(fault.detail.as_deref(), Some("Nonce does not match."));
        let fault = say(format!("c=eSws,r=abcserver,p={proof}").as_bytes()).unwrap_err();
        assert_eq!(fault.message, "unexpected SCRAM channel-binding attribute in client-final-message");
        // A wrong proof is no malformed one; what stands between is skipped, and a comma may end it.
        for tail in ["", ","] {
            assert!(say(format!("c=biws,r=abcserver,x=1,p={proof}{tail}").as_bytes()).unwrap().is_none());
        }
    }

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
