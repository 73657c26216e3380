//! Statements of one value of the sharding key that come too fast: they wait, or fail.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::backend::throttle::{KeyLimit, Pace};
use crate::config::limits::Limit;
use crate::fault::{Blame, Fault, SqlState};
use crate::plan::Inputs;
use crate::plan::named_key::named_key;
use crate::session::held::Unlent;
use crate::session::{Failure, Session};
use crate::sql::Analysis;

impl Session {
    /// Notes the key of a statement that is planned, where somebody counts.
    pub(super) fn count_key(&self, analysis: &Analysis, inputs: &Inputs<'_>) {
        if self.database.key_rate.is_some() || self.database.key_places.is_some() {
            let key = named_key(analysis, inputs, &self.view.topology).and_then(|key| key.hash()).unwrap_or(0);
            self.named_key.store(key, Ordering::Relaxed);
        }
    }

    /// Waits until a statement of the key that was noted last may run; nothing of it has been sent.
    ///
    /// # Errors
    /// `53400`: it would have to wait too long, or too many of the key run.
    pub(super) async fn keep_pace(&mut self) -> Result<(), Failure> {
        let key = std::mem::take(self.named_key.get_mut());
        // One that is planned, or sent, again was counted when it came.
        if key == 0 || self.is_counted {
            return Ok(());
        }
        self.keep_rate(key).await?;
        self.take_place(key).await?;
        self.is_counted = true;
        Ok(())
    }

    async fn keep_rate(&mut self, key: u64) -> Result<(), Failure> {
        let Some(rate) = self.database.key_rate else { return Ok(()) };
        let limit = KeyLimit { rate, wait: self.key_wait() };
        match self.database.throttle().ask(key, limit, Instant::now()) {
            Pace::Now => Ok(()),
            Pace::After(pause) => {
                self.shared.metrics.throttled("waited");
                let waited = async {
                    tokio::time::sleep(pause).await;
                    Ok(())
                };
                self.attend(waited).await.map_err(|unlent| match unlent {
                    Unlent::Failure(failure) => failure,
                    Unlent::Connect(_, fault) => fault.into(),
                })
            }
            Pace::TooMany => {
                self.shared.metrics.throttled("refused");
                let message = "too many statements for one value of the sharding key";
                Err(Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, message)
                    .detail(format!("key_max_rate is {} a second", limit.rate))
                    .hint("Try again later.")
                    .blame(Blame::Router)
                    .into())
            }
        }
    }

    /// How long one that comes too early may wait.
    fn key_wait(&self) -> Duration {
        self.times.get(Limit::KeyWait).unwrap_or_default()
    }

    /// Waits for one of the places that statements of a key have at one time; it is the session's until its answer is complete. A pipeline
    /// keeps that of the key which it has named first: what it has sent already may still run.
    async fn take_place(&mut self, key: u64) -> Result<(), Failure> {
        let (Some(size), wait) = (self.database.key_places, self.key_wait()) else { return Ok(()) };
        if self.key_place.as_ref().is_some_and(|place| place.key == key || self.batch.is_open()) {
            return Ok(());
        }
        self.key_place = None;
        let places = Arc::clone(self.database.places_of_keys());
        if !wait.is_zero() && places.is_full(key) {
            self.shared.metrics.throttled("waited");
        }
        let entered = async { Ok(places.enter(key, size, wait).await) };
        self.key_place = self.attend(entered).await.map_err(|unlent| match unlent {
            Unlent::Failure(failure) => failure,
            Unlent::Connect(_, fault) => fault.into(),
        })?;
        if self.key_place.is_some() {
            return Ok(());
        }
        self.shared.metrics.throttled("refused");
        let message = "too many statements for one value of the sharding key";
        Err(Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, message)
            .detail(format!("key_max_concurrent is {size}"))
            .hint("Try again later.")
            .blame(Blame::Router)
            .into())
    }
}
