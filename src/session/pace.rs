//! Statements of one value of the sharding key that come too fast: they wait, or fail.

use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::backend::throttle::Pace;
use crate::fault::{Blame, Fault, SqlState};
use crate::plan::Inputs;
use crate::plan::named_key::named_key;
use crate::session::held::Unlent;
use crate::session::{Failure, Session};
use crate::sql::Analysis;

impl Session {
    /// Notes the key of a statement that is planned, where somebody counts.
    pub(super) fn count_key(&self, analysis: &Analysis, inputs: &Inputs<'_>) {
        if self.database.key_limit.is_some() {
            let key = named_key(analysis, inputs, &self.view.topology).and_then(|key| key.hash()).unwrap_or(0);
            self.named_key.store(key, Ordering::Relaxed);
        }
    }

    /// Waits until a statement of the key that was noted last may run; nothing of it has been sent.
    ///
    /// # Errors
    /// `53400`: it would have to wait too long.
    pub(super) async fn keep_pace(&mut self) -> Result<(), Failure> {
        let Some(limit) = self.database.key_limit else { return Ok(()) };
        let key = std::mem::take(self.named_key.get_mut());
        if key == 0 {
            return Ok(());
        }
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
}
