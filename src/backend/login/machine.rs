//! PURE. The login at a server as a state machine: each message of the server in, what to send out. The server is not trusted.

use bytes::BytesMut;

use super::LoginError;
use crate::backend::CancelKey;
use crate::backend::passed::PassedKeys;
use crate::secret::Secret;
use crate::wire::auth::client::{Binding, Means, Offered, ScramClientFinal};
use crate::wire::auth::{ScramClient, md5};
use crate::wire::error_fields::ErrorFields;
use crate::wire::request;

/// What decides whether a password may go over this connection, and how.
#[derive(Debug)]
pub struct Terms<'a> {
    pub user: &'a str,
    pub password: Option<&'a Secret>,
    pub passed: Option<&'a PassedKeys>,
    pub binding: Binding,
    /// TLS, or no network in between: a password in clear text is not overheard.
    pub private: bool,
    /// Random bytes for SCRAM.
    pub nonce: [u8; 18],
}

/// The state: what the server may say next.
#[derive(Debug)]
enum State {
    /// An authentication request, or that none is needed.
    Greeted,
    /// The password or the md5 answer is sent.
    Answered,
    ScramStarted(ScramClient),
    /// The proof is being made.
    ScramProving,
    ScramProved(ScramClientFinal),
    /// The server has proved itself; AuthenticationOk follows.
    ScramDone,
    /// Parameters, the key, and ReadyForQuery.
    Authenticated,
}

#[derive(Debug)]
pub struct Machine<'a> {
    terms: Terms<'a>,
    state: State,
    pub parameters: Vec<(Box<str>, Box<str>)>,
    pub key: CancelKey,
}

/// What to do after a message.
#[derive(Debug)]
pub enum Step {
    /// Send what was put out, and read on.
    Continue,
    /// Make the proof (it costs CPU time), and hand it to [`Machine::proved`].
    Prove { client: ScramClient, challenge: Vec<u8> },
    /// ReadyForQuery: the session is open.
    Ready,
}

impl<'a> Machine<'a> {
    pub fn new(terms: Terms<'a>) -> Self {
        Self { terms, state: State::Greeted, parameters: Vec::new(), key: CancelKey::default() }
    }

    pub fn message(&mut self, tag: u8, body: &[u8], out: &mut BytesMut) -> Result<Step, LoginError> {
        match (tag, &self.state) {
            (b'E', _) => Err(LoginError::Refused(Box::new(ErrorFields::parse(body)))),
            (b'N', _) => Ok(Step::Continue),
            (b'R', State::Authenticated) => {
                Err(LoginError::protocol("an authentication request after the authentication"))
            }
            (b'R', _) => self.authentication(body, out),
            (b'S', State::Authenticated) => self.parameter(body),
            (b'K', State::Authenticated) => self.cancel_key(body),
            (b'Z', State::Authenticated) => Ok(Step::Ready),
            _ => Err(LoginError::protocol("a message that does not belong to a login")),
        }
    }

    /// Takes the proof that [`Step::Prove`] asked for.
    pub fn proved(&mut self, last: ScramClientFinal, proof: &[u8], out: &mut BytesMut) -> Result<(), LoginError> {
        self.state = State::ScramProved(last);
        Ok(request::sasl_response(out, proof)?)
    }

    fn authentication(&mut self, body: &[u8], out: &mut BytesMut) -> Result<Step, LoginError> {
        let Some((code, data)) = body.split_first_chunk::<4>() else {
            return Err(LoginError::protocol("a truncated authentication request"));
        };
        let state = std::mem::replace(&mut self.state, State::Greeted);
        self.state = match (u32::from_be_bytes(*code), state) {
            (0, State::Greeted | State::Answered | State::ScramDone) if data.is_empty() => State::Authenticated,
            // A server that skips its own proof may not know the password at all.
            (0, _) => {
                return Err(LoginError::protocol("an end of the authentication before the server has proved itself"));
            }
            (3, State::Greeted) if data.is_empty() => self.cleartext(out)?,
            (5, State::Greeted) => self.md5(data, out)?,
            (10, State::Greeted) => self.scram(data, out)?,
            (11, State::ScramStarted(client)) => {
                self.state = State::ScramProving;
                return Ok(Step::Prove { client, challenge: data.to_vec() });
            }
            (12, State::ScramProved(last)) => {
                last.server_final(data)?;
                State::ScramDone
            }
            (2 | 6 | 7 | 9, State::Greeted) => return Err(LoginError::UnsupportedMethod),
            _ => return Err(LoginError::protocol("an authentication request out of turn")),
        };
        Ok(Step::Continue)
    }

    fn password(&self) -> Result<&'a Secret, LoginError> {
        self.terms.password.filter(|password| !password.is_empty()).ok_or(match self.terms.passed {
            Some(_) => LoginError::VerifierOnly,
            None => LoginError::NoPassword,
        })
    }

    fn means(&self) -> Result<Means, LoginError> {
        match (self.password(), self.terms.passed) {
            (Ok(password), _) => Ok(Means::from(password)),
            (Err(_), Some(passed)) => passed.keys().map(Means::Keys).ok_or(LoginError::NotShown),
            (Err(error), None) => Err(error),
        }
    }

    fn cleartext(&self, out: &mut BytesMut) -> Result<State, LoginError> {
        if !self.terms.private {
            return Err(LoginError::CleartextRefused);
        }
        request::password(out, self.password()?.reveal())?;
        Ok(State::Answered)
    }

    fn md5(&self, salt: &[u8], out: &mut BytesMut) -> Result<State, LoginError> {
        let salt = <[u8; 4]>::try_from(salt).map_err(|_| LoginError::protocol("an md5 salt that has not 4 bytes"))?;
        let password = self.password()?;
        let stored = std::str::from_utf8(password.reveal()).is_ok_and(md5::is_hash);
        let answer = if stored {
            md5::answer_from_hash(password, salt)
        } else {
            md5::answer(password.reveal(), self.terms.user, salt)
        };
        request::password(out, answer.reveal())?;
        Ok(State::Answered)
    }

    fn scram(&self, mechanisms: &[u8], out: &mut BytesMut) -> Result<State, LoginError> {
        let offered = Offered::parse(mechanisms);
        let (client, mechanism, first) =
            ScramClient::start(self.means()?, offered, self.terms.binding.clone(), self.terms.nonce)?;
        request::sasl_initial_response(out, mechanism, &first)?;
        Ok(State::ScramStarted(client))
    }

    fn parameter(&mut self, body: &[u8]) -> Result<Step, LoginError> {
        let mut texts = body.split(|byte| *byte == 0);
        match (texts.next(), texts.next(), texts.next(), texts.next()) {
            (Some(name), Some(value), Some([]), None) => {
                let text = |bytes| Box::from(String::from_utf8_lossy(bytes));
                self.parameters.push((text(name), text(value)));
                Ok(Step::Continue)
            }
            _ => Err(LoginError::protocol("a malformed ParameterStatus")),
        }
    }

    fn cancel_key(&mut self, body: &[u8]) -> Result<Step, LoginError> {
        match body.split_first_chunk::<4>() {
            Some((pid, secret)) if (4..=256).contains(&secret.len()) => {
                self.key = CancelKey { pid: u32::from_be_bytes(*pid), secret: secret.to_vec() };
                Ok(Step::Continue)
            }
            _ => Err(LoginError::protocol("a malformed BackendKeyData")),
        }
    }
}
