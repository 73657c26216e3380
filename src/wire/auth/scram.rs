//! What both sides of SCRAM-SHA-256 (RFC 5802, RFC 7677) share: the verifier, the keys, the attributes of messages.

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac, pbkdf2};

use crate::fault::{Fault, Result, SqlState};
use crate::secret::Secret;

/// Postgres's `scram_iterations` at its default.
pub const DEFAULT_ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("4096 is not zero");

/// Bytes of a key.
pub const KEY: usize = 32;
pub type Key = [u8; KEY];

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`: enough to check a proof, not enough to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    pub iterations: NonZeroU32,
    pub salt: Vec<u8>,
    pub stored_key: Secret,
    pub server_key: Secret,
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramVerifier(...)")
    }
}

impl ScramVerifier {
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("SCRAM-SHA-256$")?;
        let (parameters, keys) = rest.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let salt = BASE64.decode(salt).ok().filter(|salt| !salt.is_empty())?;
        let key = |text: &str| BASE64.decode(text).ok().filter(|key| key.len() == KEY).map(Secret::new);
        Some(Self {
            iterations: parse_iterations(iterations)?,
            salt,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }

    /// Derives the verifier of a password that is in clear text.
    pub fn generate(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Self {
        let salted = salted_password(password, salt, iterations);
        let client_key = hmac(salted.reveal(), &[b"Client Key"]);
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: Secret::new(sha256(&client_key)),
            server_key: Secret::new(hmac(salted.reveal(), &[b"Server Key"])),
        }
    }

    /// As Postgres stores it. A secret: who has it can pretend to be the server, and can guess passwords at home.
    pub fn to_text(&self) -> Secret {
        Secret::new(format!(
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            BASE64.encode(&self.salt),
            BASE64.encode(self.stored_key.reveal()),
            BASE64.encode(self.server_key.reveal())
        ))
    }
}

/// What a client's proof reveals, with the verifier by which it was checked: enough to log in wherever the same verifier is stored. The
/// password itself stays unknown.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    pub verifier: ScramVerifier,
    pub client_key: Secret,
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScramKeys(...)")
    }
}

impl ScramKeys {
    /// `None`: the key is not that of this verifier.
    pub fn new(verifier: &ScramVerifier, client_key: Secret) -> Option<Self> {
        let own = verifier.stored_key.matches(&sha256(client_key.reveal()));
        own.then(|| Self { verifier: verifier.clone(), client_key })
    }
}

/// Digits alone, from 1 to the greatest `int`, as Postgres reads them.
pub(super) fn parse_iterations(text: &str) -> Option<NonZeroU32> {
    if !text.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let iterations: u32 = text.parse().ok()?;
    NonZeroU32::new(iterations).filter(|_| i32::try_from(iterations).is_ok())
}

/// `Hi` of the RFC over the password as SASLprep leaves it; bytes that it cannot prepare are taken as they are (as libpq does).
pub(super) fn salted_password(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Secret {
    let prepared = std::str::from_utf8(password).ok().and_then(|text| stringprep::saslprep(text).ok());
    let password = prepared.as_ref().map_or(password, |text| text.as_bytes());
    let mut salted = [0; KEY];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password, &mut salted);
    Secret::new(salted)
}

pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    first_key(context.sign().as_ref())
}

pub(super) fn sha256(bytes: &[u8]) -> Key {
    first_key(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub(super) fn first_key(bytes: &[u8]) -> Key {
    let mut key = [0; KEY];
    for (to, from) in key.iter_mut().zip(bytes) {
        *to = *from;
    }
    key
}

pub(super) fn xor(a: &Key, b: &Key) -> Key {
    let mut out = *a;
    for (to, with) in out.iter_mut().zip(b) {
        *to ^= *with;
    }
    out
}

/// Splits `x=value` off the front of a message, up to the comma or the end.
pub(super) fn attribute<'a>(rest: &mut &'a [u8], name: u8) -> Result<&'a [u8]> {
    match rest.first() {
        Some(found) if *found == name => value(rest, name),
        found => {
            let name = char::from(name);
            Err(malformed(format!("Expected attribute \"{name}\" but found \"{}\".", shown(found))))
        }
    }
}

/// The same for whatever letter comes next.
pub(super) fn any_attribute<'a>(rest: &mut &'a [u8]) -> Result<(u8, &'a [u8])> {
    match rest.first().copied() {
        Some(name) if name.is_ascii_alphabetic() => Ok((name, value(rest, name)?)),
        Some(other) => {
            let other = shown(Some(&other));
            Err(malformed(format!("Attribute expected, but found invalid character \"{other}\".")))
        }
        None => Err(malformed("Attribute expected, but found end of string.")),
    }
}

fn value<'a>(rest: &mut &'a [u8], name: u8) -> Result<&'a [u8]> {
    let tail = rest.get(1..).and_then(|tail| tail.strip_prefix(b"="));
    let expected = || malformed(format!("Expected character \"=\" for attribute \"{}\".", char::from(name)));
    let tail = tail.ok_or_else(expected)?;
    let (value, after) = tail.split_at(memchr::memchr(b',', tail).unwrap_or(tail.len()));
    *rest = after.get(1..).unwrap_or_default();
    Ok(value)
}

/// A byte of a message as Postgres shows it (`sanitize_char`); `None`: its end.
pub(super) fn shown(byte: Option<&u8>) -> String {
    match byte {
        Some(byte @ 0x21..=0x7e) => format!("'{}'", char::from(*byte)),
        other => format!("0x{:02x}", other.copied().unwrap_or(0)),
    }
}

/// A nonce as the RFC has it: printable ASCII.
pub(super) fn is_printable(text: &[u8]) -> bool {
    text.iter().all(|c| (0x21..=0x7e).contains(c) && *c != b',')
}

pub(super) fn malformed(detail: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(SqlState::PROTOCOL_VIOLATION, "malformed SCRAM message").detail(detail).fatal()
}

/// A message that can be read at all.
pub(super) fn readable(message: &[u8]) -> Result<&[u8]> {
    if message.is_empty() {
        return Err(malformed("The message is empty."));
    }
    if message.len() > super::MAX_SASL_MESSAGE {
        return Err(malformed("The message is too long."));
    }
    if message.contains(&0) {
        return Err(malformed("Message length does not match input length."));
    }
    Ok(message)
}
