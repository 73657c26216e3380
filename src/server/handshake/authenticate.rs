//! The exchange in which a client proves who it is. The messages are the same whether the user exists or not.

use std::time::Instant;

use bytes::{Buf, BytesMut};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Account, AuthMethod, Conversation, End, HandshakeContext, rules};
use crate::config::hba::{CertificateRule, Entry, HbaMethod};
use crate::fault::{Fault, Result, SqlState};
use crate::net::ClientStream;
use crate::tls::shown_by;
use crate::wire::auth::server::Proven;
use crate::wire::auth::{MAX_SASL_MESSAGE, ScramServer, md5, password_failed};
use crate::wire::reply::{self, AuthenticationRequest};

/// The frame around a SASL message: the mechanism's name and the lengths.
const MAX_FRAME: usize = MAX_SASL_MESSAGE + 64;

/// Which exchange a client sees.
enum Exchange {
    None,
    Md5,
    Scram,
    /// TLS has done it.
    Certificate,
}

impl Conversation {
    /// Returns once the client has proven to be `user`; whether by a password. `entry`: that of the HBA file for it; without a file its
    /// account says how.
    pub(super) async fn authenticate(
        &mut self,
        context: &HandshakeContext,
        user: &str,
        account: Option<Account>,
        entry: Option<&Entry>,
    ) -> Result<bool, End> {
        let shown = match &self.stream {
            Some(ClientStream::Tls(stream)) => shown_by(stream),
            Some(ClientStream::Plain(_)) | None => None,
        };
        rules::check_shown(entry, shown.as_ref())?;
        let method = match (entry.map(|entry| entry.method), &account) {
            (Some(method), _) => of_entry(method),
            (None, Some(account)) => account.method,
            (None, None) => context.stranger_method,
        };
        let exchange = exchange(method, account.as_ref(), context.stranger_method);
        let by_password = matches!(exchange, Exchange::Md5 | Exchange::Scram);
        let passed = match exchange {
            Exchange::None => true,
            // Without an entry nobody has looked for one.
            Exchange::Certificate => {
                account.is_some() && entry.is_some_and(|entry| entry.certificate == CertificateRule::OfUser)
            }
            Exchange::Md5 => self.md5(context, user, account.as_ref()).await?,
            Exchange::Scram => self.scram(context, user, account.as_ref()).await?,
        };
        if by_password && !passed {
            return Err(End::Failed(password_failed(user)));
        }
        if passed && rules::is_for(entry, &context.idents, shown.as_ref(), user) {
            return Ok(by_password);
        }
        // Nobody can guess one.
        Err(End::Refused(rules::certificate_failed(user)))
    }

    /// Whether the user may try a password from here. Asked again just before one is looked at: many may have begun side by side.
    pub(super) fn may_try(&self, context: &HandshakeContext, user: &str) -> Result<(), End> {
        let Some(limits) = context.failure_limits else { return Ok(()) };
        context.failures.admit(self.peer.ip(), user, Instant::now(), limits).map_err(End::Throttled)
    }

    async fn md5(&mut self, context: &HandshakeContext, user: &str, account: Option<&Account>) -> Result<bool, End> {
        self.may_try(context, user)?;
        let salt = random::<4>()?;
        let hash = account.and_then(|account| account.verifier.as_ref()?.md5(user));
        let mut out = BytesMut::new();
        reply::authentication(&mut out, AuthenticationRequest::Md5Password { salt });
        self.send(&out).await?;
        let message = self.password_message("password").await?;
        self.may_try(context, user)?;
        match message.split_last() {
            Some((0, answer)) if !answer.contains(&0) => Ok(md5::verify(hash.as_ref(), salt, answer)),
            _ => Err(Fault::protocol("invalid password packet size").into()),
        }
    }

    async fn scram(&mut self, context: &HandshakeContext, user: &str, account: Option<&Account>) -> Result<bool, End> {
        self.may_try(context, user)?;
        let end_point = match &self.stream {
            Some(ClientStream::Tls(_)) => context.tls.as_ref().and_then(|tls| tls.end_point.clone()),
            Some(ClientStream::Plain(_)) | None => None,
        };
        let verifier = account.and_then(|account| account.verifier.as_ref()?.scram(&context.mock, user));
        let server = ScramServer::new(verifier, &context.mock, user, end_point, random::<18>()?);

        let mut out = BytesMut::new();
        reply::authentication(&mut out, AuthenticationRequest::Sasl { mechanisms: server.mechanisms() });
        self.send(&out).await?;
        let message = self.password_message("SASL").await?;
        let (mechanism, initial) = sasl_initial_response(&message)?;
        let first = match initial {
            Some(first) => first.to_vec(),
            // A client may wait for an empty challenge before its first message.
            None => {
                self.challenge(AuthenticationRequest::SaslContinue(b"")).await?;
                self.password_message("SASL").await?.to_vec()
            }
        };
        let (server, challenge) = server.client_first(mechanism, &first)?;
        self.challenge(AuthenticationRequest::SaslContinue(&challenge)).await?;
        let proof = self.password_message("SASL").await?;
        self.may_try(context, user)?;
        match server.client_final(&proof)? {
            Some(Proven { signature, client_key }) => {
                if let Some(passed) = account.and_then(|account| account.passed.as_ref()) {
                    passed.learn(client_key);
                }
                self.challenge(AuthenticationRequest::SaslFinal(&signature)).await?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    async fn challenge(&mut self, request: AuthenticationRequest<'_>) -> Result<(), End> {
        let mut out = BytesMut::new();
        reply::authentication(&mut out, request);
        self.send(&out).await
    }

    /// The body of the next message, which has to be an answer to our request. `what` it answers is for the error.
    async fn password_message(&mut self, what: &str) -> Result<BytesMut, End> {
        loop {
            if let Some(body) = take_password_message(&mut self.buffer, what)? {
                return Ok(body);
            }
            self.read().await?;
        }
    }
}

fn of_entry(method: HbaMethod) -> AuthMethod {
    match method {
        HbaMethod::Trust => AuthMethod::Trust,
        HbaMethod::Md5 => AuthMethod::Md5,
        HbaMethod::Cert => AuthMethod::Cert,
        // Who is rejected does not come this far; if it did it would have to prove itself.
        HbaMethod::ScramSha256 | HbaMethod::Reject => AuthMethod::ScramSha256,
    }
}

fn exchange(method: AuthMethod, account: Option<&Account>, stranger: AuthMethod) -> Exchange {
    let verifier = account.and_then(|account| account.verifier.as_ref());
    match (method, account) {
        (AuthMethod::Cert, _) => Exchange::Certificate,
        (AuthMethod::Trust, Some(_)) => Exchange::None,
        // Nobody trusts a user who does not exist.
        (AuthMethod::Trust, None) | (AuthMethod::ScramSha256, _) => Exchange::Scram,
        (AuthMethod::Md5, _) if verifier.is_some_and(|verifier| verifier.is_scram()) => Exchange::Scram,
        // As most users.
        (AuthMethod::Md5, None) if stranger == AuthMethod::ScramSha256 => Exchange::Scram,
        (AuthMethod::Md5, _) => Exchange::Md5,
    }
}

fn take_password_message(buffer: &mut BytesMut, what: &str) -> Result<Option<BytesMut>> {
    let Some(tag) = buffer.first() else { return Ok(None) };
    if *tag != b'p' {
        return Err(Fault::protocol(format!("expected {what} response, got message type {tag}")));
    }
    let Some(&[_, a, b, c, d]) = buffer.first_chunk::<5>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if !(4..=MAX_FRAME).contains(&length) {
        return Err(Fault::protocol("invalid message length"));
    }
    if buffer.len() <= length {
        return Ok(None);
    }
    let mut message = buffer.split_to(length + 1);
    message.advance(5);
    Ok(Some(message))
}

/// SASLInitialResponse: the mechanism, and the first message if the client sent it along.
fn sasl_initial_response(body: &[u8]) -> Result<(&str, Option<&[u8]>)> {
    let malformed = || Fault::protocol("malformed SASL message");
    let end = memchr::memchr(0, body).ok_or_else(malformed)?;
    let (mechanism, rest) = body.split_at(end);
    let mechanism = std::str::from_utf8(mechanism).map_err(|_| malformed())?;
    let (length, data) = rest.get(1..).and_then(|rest| rest.split_first_chunk::<4>()).ok_or_else(malformed)?;
    match (i32::from_be_bytes(*length), data) {
        (-1, []) => Ok((mechanism, None)),
        // The data has to end where the message ends: nothing is skipped, nothing is left for the next reader.
        (length, data) if usize::try_from(length) == Ok(data.len()) => Ok((mechanism, Some(data))),
        _ => Err(malformed()),
    }
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Fault::new(SqlState::INTERNAL_ERROR, "could not generate random salt").fatal())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_is_nobody_is_asked_as_others_are() {
        let asked = |method, stranger| exchange(method, None, stranger);
        assert!(matches!(asked(AuthMethod::Md5, AuthMethod::ScramSha256), Exchange::Scram));
        assert!(matches!(asked(AuthMethod::Md5, AuthMethod::Md5), Exchange::Md5));
        for stranger in [AuthMethod::Md5, AuthMethod::ScramSha256, AuthMethod::Trust] {
            assert!(matches!(asked(AuthMethod::ScramSha256, stranger), Exchange::Scram));
            assert!(matches!(asked(AuthMethod::Trust, stranger), Exchange::Scram));
            assert!(matches!(asked(AuthMethod::Cert, stranger), Exchange::Certificate));
        }
    }

    #[test]
    fn only_answers_of_sane_length_are_taken() {
        let take = |bytes: &[u8]| take_password_message(&mut BytesMut::from(bytes), "password");
        assert_eq!(take(b"").unwrap(), None);
        assert_eq!(take(b"p\0\0\0\x05").unwrap(), None);
        assert_eq!(take(b"p\0\0\0\x05x").unwrap().unwrap(), b"x"[..]);
        assert_eq!(take(b"Q").unwrap_err().message, "expected password response, got message type 81");
        // A second StartupMessage starts with a length.
        assert!(take(b"\0\0\0\x09\0\x03\0\0\0").is_err());
        for header in [&b"p\0\0\0\x03"[..], b"p\xff\xff\xff\xff", b"p\0\0\x40\0"] {
            assert_eq!(take(header).unwrap_err().message, "invalid message length");
        }
    }

    #[test]
    fn sasl_data_ends_where_its_message_ends() {
        assert_eq!(sasl_initial_response(b"M\0\0\0\0\x02ab").unwrap(), ("M", Some(&b"ab"[..])));
        assert_eq!(sasl_initial_response(b"M\0\xff\xff\xff\xff").unwrap(), ("M", None));
        assert_eq!(sasl_initial_response(b"M\0\0\0\0\0").unwrap(), ("M", Some(&b""[..])));
        for body in [
            &b""[..],
            b"M",
            b"M\0",
            b"M\0\0\0\0",
            b"M\0\0\0\0\x03ab",
            b"M\0\0\0\0\x01ab",
            b"M\0\xff\xff\xff\xffa",
            b"M\0\xff\xff\xff\xfe",
            b"\xff\0\0\0\0\0",
        ] {
            assert_eq!(sasl_initial_response(body).unwrap_err().code, SqlState::PROTOCOL_VIOLATION);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_awaited_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = take_password_message(&mut BytesMut::from(&[b"p", &bytes[..]].concat()[..]), "SASL");
            let _ = sasl_initial_response(&bytes);
        }
    }
}
