//! `PassedKeys`: what the router logs in with as a user of whom it has a SCRAM verifier alone. A client of that user shows it.
//!
//! In memory alone, and nowhere longer than somebody uses the verifier: a configuration with another one begins without keys.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;

use crate::secret::Secret;
use crate::wire::auth::{ScramKeys, ScramVerifier};

/// The keys of one verifier, from the first login by it on.
pub struct PassedKeys {
    verifier: ScramVerifier,
    keys: watch::Sender<Option<ScramKeys>>,
}

impl fmt::Debug for PassedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PassedKeys(...)")
    }
}

impl PartialEq for PassedKeys {
    fn eq(&self, other: &Self) -> bool {
        self.verifier == other.verifier
    }
}

impl Eq for PassedKeys {}

impl PassedKeys {
    pub fn new(verifier: ScramVerifier) -> Self {
        Self { verifier, keys: watch::Sender::new(None) }
    }

    /// A client has shown the key. One that is not this verifier's is not taken.
    pub fn learn(&self, client_key: Secret) {
        self.keys.send_if_modified(|keys| {
            if keys.is_none() {
                *keys = ScramKeys::new(&self.verifier, client_key);
                return keys.is_some();
            }
            false
        });
    }

    /// `None`: nobody has shown them yet.
    pub fn keys(&self) -> Option<ScramKeys> {
        self.keys.borrow().clone()
    }

    /// Whether somebody has.
    pub fn are_known(&self) -> bool {
        self.keys.borrow().is_some()
    }

    /// Waits until somebody shows them.
    pub async fn shown(&self) {
        // The sender is ours.
        let _ = self.keys.subscribe().wait_for(Option::is_some).await;
    }
}

/// The keys that are in use, under whichever configuration, by the stored key of their verifiers.
#[derive(Debug, Default)]
pub struct KeyRing(Mutex<HashMap<Vec<u8>, Weak<PassedKeys>>>);

impl KeyRing {
    /// Those of this verifier: the same ones for as long as somebody has them.
    pub fn of(&self, verifier: &ScramVerifier) -> Arc<PassedKeys> {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = ring.entry(verifier.stored_key.reveal().to_vec()).or_default();
        match place.upgrade().filter(|known| known.verifier == *verifier) {
            Some(known) => known,
            None => {
                let made = Arc::new(PassedKeys::new(verifier.clone()));
                *place = Arc::downgrade(&made);
                made
            }
        }
    }

    /// What nobody has any more is not kept.
    pub fn sweep(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, keys| keys.strong_count() > 0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::auth::scram::DEFAULT_ITERATIONS;

    fn verifier(password: &str) -> ScramVerifier {
        ScramVerifier::generate(password.as_bytes(), b"salt", DEFAULT_ITERATIONS)
    }

    /// `HMAC(Hi(password), "Client Key")`, as a client's proof reveals it.
    fn client_key(password: &str) -> Secret {
        let mut salted = [0; 32];
        let iterations = DEFAULT_ITERATIONS;
        ring::pbkdf2::derive(ring::pbkdf2::PBKDF2_HMAC_SHA256, iterations, b"salt", password.as_bytes(), &mut salted);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &salted);
        Secret::new(ring::hmac::sign(&key, b"Client Key").as_ref())
    }

    #[test]
    fn keys_are_those_of_their_verifier_and_go_with_it() {
        let ring = KeyRing::default();
        let first = ring.of(&verifier("a"));
        assert!(first.keys().is_none());
        first.learn(client_key("b"));
        assert!(!first.are_known(), "a key of another verifier");
        first.learn(client_key("a"));
        // Another configuration with the same verifier has them too.
        assert!(ring.of(&verifier("a")).are_known());
        assert!(!ring.of(&verifier("b")).are_known());
        assert_eq!(format!("{first:?} {:?}", first.keys()), "PassedKeys(...) Some(ScramKeys(...))");
        drop(first);
        assert!(!ring.of(&verifier("a")).are_known(), "nobody had them any more");
        ring.sweep();
        assert!(ring.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_waits_is_told() {
        let keys = Arc::new(PassedKeys::new(verifier("a")));
        let waiting = tokio::spawn({
            let keys = Arc::clone(&keys);
            async move { keys.shown().await }
        });
        keys.learn(client_key("a"));
        waiting.await.unwrap();
        keys.shown().await;
    }
}
