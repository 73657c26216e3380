//! `Fanout`: at how many shards all statements over several shards may be at one time, in the router as a whole.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fault::{Blame, Fault, SqlState};

/// Who needs one shard never comes here. Who waits here holds no connection, so nobody waits for it.
#[derive(Debug, Default)]
pub struct Fanout {
    limit: Mutex<Option<Limit>>,
    waiting: AtomicUsize,
}

#[derive(Clone, Debug)]
struct Limit {
    size: NonZeroU32,
    /// Statements that may wait.
    queue: usize,
    free: Arc<Semaphore>,
}

/// Waits as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Fanout {
    /// Another limit from now on; `None`: none. What runs goes on, and those who wait do so under the limit of before.
    pub fn set(&self, size: Option<NonZeroU32>, queue: usize) {
        let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *limit, size) {
            (Some(known), Some(size)) if known.size == size => known.queue = queue,
            (known, size) => {
                let made =
                    |size: NonZeroU32| Limit { size, queue, free: Arc::new(Semaphore::new(size.get() as usize)) };
                *known = size.map(made);
            }
        }
    }

    /// Statements that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// At how many shards statements over several are.
    pub fn used(&self) -> usize {
        let limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        limit.as_ref().map_or(0, |limit| limit.size.get() as usize - limit.free.available_permits())
    }

    /// The right to be at so many shards; one that wants more than there are waits until nobody else is there.
    ///
    /// # Errors
    /// `53300`: it did not come in time, or too many wait for it.
    pub async fn enter(&self, shards: usize, wait: Duration) -> Result<Option<OwnedSemaphorePermit>, Fault> {
        let limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(Limit { size, queue, free }) = limit else { return Ok(None) };
        let wanted = u32::try_from(shards).unwrap_or(u32::MAX).min(size.get());
        if let Ok(permit) = Arc::clone(&free).try_acquire_many_owned(wanted) {
            return Ok(Some(permit));
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        let denied = |message: &'static str, detail: String| {
            Fault::new(SqlState::TOO_MANY_CONNECTIONS, message)
                .detail(detail)
                .hint("Try again later, give statements the sharding key, or raise scatter_max_requests.")
                .blame(Blame::Router)
        };
        if before >= queue {
            let detail = format!("{before} statements over several shards wait already");
            return Err(denied("too many clients wait for server connections", detail));
        }
        match tokio::time::timeout(wait, free.acquire_many_owned(wanted)).await {
            Ok(Ok(permit)) => Ok(Some(permit)),
            // It is never closed.
            Ok(Err(_)) | Err(_) => {
                let detail = format!("statements over several shards were at {size} shards for {wait:?}");
                Err(denied("query_wait_timeout", detail))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHORT: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn shards_are_counted_and_one_that_wants_more_than_there_are_has_them_alone() {
        let fanout = Fanout::default();
        assert!(fanout.enter(1000, SHORT).await.unwrap().is_none());
        fanout.set(NonZeroU32::new(4), 1);
        let (two, other) = (fanout.enter(2, SHORT).await.unwrap(), fanout.enter(2, SHORT).await.unwrap());
        assert_eq!(fanout.used(), 4);
        let late = fanout.enter(2, SHORT).await.unwrap_err();
        assert_eq!((late.code, &*late.message), (SqlState::TOO_MANY_CONNECTIONS, "query_wait_timeout"));
        drop((two, other));
        let all = fanout.enter(9, SHORT).await.unwrap();
        assert_eq!(fanout.used(), 4);
        let (first, second) = tokio::join!(fanout.enter(1, SHORT), fanout.enter(1, SHORT));
        assert_eq!(&*first.unwrap_err().message, "query_wait_timeout");
        assert_eq!(&*second.unwrap_err().message, "too many clients wait for server connections");
        assert_eq!(fanout.waiting(), 0);
        drop(all);
        fanout.set(None, 1);
        assert!(fanout.enter(9, SHORT).await.unwrap().is_none());
    }
}
