//! `CancelHandle`: how somebody else than the task that uses a server connection has its statement cancelled.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use futures::task::AtomicWaker;
use tokio::sync::Notify;

use crate::backend::facts::Facts;
use crate::backend::{CancelKey, login};
use crate::fault::{Blame, Fault, SqlState};
use crate::ids::ShardId;
use crate::tls::ServerTls;
use crate::topology::Server;
use crate::wire::{error_fields, reply};

/// Made once for each server connection, and shared with the session that holds it.
#[derive(Debug)]
pub struct CancelHandle {
    pub shard: ShardId,
    server: Server,
    tls: Arc<ServerTls>,
    /// Most time that a request may take.
    timeout: Duration,
    pub key: CancelKey,
    pub facts: Facts,
    /// Requests on their way: the connection is not reused while there is one.
    under_way: AtomicUsize,
    /// Those that there have been.
    announced: AtomicUsize,
    /// It is cancelled by the router itself; the client is told this.
    sentence: Mutex<Option<Fault>>,
    /// Whether there is one, for those who look at every answer.
    sentenced: AtomicBool,
    /// Nobody waits for its server any more.
    abandoned: AtomicBool,
    /// The request that opens its transaction is not answered yet.
    opening: AtomicBool,
    opened: Notify,
    /// Its own session stops it: whoever has waited until it is open need not.
    stopped: AtomicBool,
    /// Another server is the primary of its shard now.
    superseded: AtomicBool,
    /// Of whoever waits for its server.
    waiter: AtomicWaker,
}

impl CancelHandle {
    pub fn new(
        shard: ShardId,
        server: Server,
        tls: Arc<ServerTls>,
        timeout: Duration,
        key: CancelKey,
        facts: Facts,
    ) -> Self {
        Self {
            shard,
            server,
            tls,
            timeout,
            key,
            facts,
            under_way: AtomicUsize::new(0),
            announced: AtomicUsize::new(0),
            sentence: Mutex::default(),
            sentenced: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            opening: AtomicBool::new(false),
            opened: Notify::new(),
            stopped: AtomicBool::new(false),
            superseded: AtomicBool::new(false),
            waiter: AtomicWaker::new(),
        }
    }

    /// The next request opens a transaction. It is not to be cancelled: what is sent behind it would run outside, and last.
    pub fn begin(&self) {
        self.stopped.store(false, Ordering::Release);
        self.opening.store(true, Ordering::Release);
    }

    /// Its session is about to stop it, and to go on with the connection: a request that comes later would meet what is sent next.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    pub fn is_opening(&self) -> bool {
        self.opening.load(Ordering::Acquire)
    }

    /// The server has answered.
    pub fn begun(&self) {
        if self.is_opening() {
            self.opening.store(false, Ordering::Release);
            self.opened.notify_waiters();
        }
    }

    /// Announces a request before it is sent, so that the connection does not go to another client meanwhile.
    pub fn announce(&self) {
        self.announced.fetch_add(1, Ordering::AcqRel);
        self.under_way.fetch_add(1, Ordering::AcqRel);
    }

    /// What was announced has been sent, or given up.
    pub fn settle(&self) {
        self.under_way.fetch_sub(1, Ordering::AcqRel);
    }

    pub fn is_announced(&self) -> bool {
        self.requests() > 0
    }

    /// How many requests there have been.
    pub fn announced(&self) -> usize {
        self.announced.load(Ordering::Acquire)
    }

    /// How many requests are on their way.
    pub fn requests(&self) -> usize {
        self.under_way.load(Ordering::Acquire)
    }

    /// The statement that runs now is about to be cancelled by the router: of a deadlock, or because its time is up.
    pub fn sentence(&self, why: Fault) {
        *self.sentence.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.sentenced.store(true, Ordering::Release);
    }

    /// What the client is told instead of this ErrorResponse, if it says that the statement was cancelled and that was the router's doing.
    pub fn judge(&self, error: &[u8]) -> Option<Bytes> {
        if !self.sentenced.load(Ordering::Acquire) || error_fields::code(error) != SqlState::QUERY_CANCELED {
            return None;
        }
        self.sentenced.store(false, Ordering::Release);
        let fault = self.sentence.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let mut out = bytes::BytesMut::new();
        reply::error(&mut out, &fault);
        Some(out.freeze())
    }

    /// Its server cannot be reached to be told to stop, or has not stopped in time: whoever waits for it is to wait no longer. The connection
    /// is lost.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.waiter.wake();
    }

    /// Another server has taken over from its own: what that one still does is lost, and nobody may be told that it was done. Whoever waits
    /// for it waits no longer.
    pub fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
        self.abandon();
    }

    /// Is to be woken by [`Self::abandon`].
    pub fn wait_with(&self, waker: &Waker) {
        self.waiter.register(waker);
    }

    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// Whether that is because the statement's time is up.
    pub fn is_out_of_time(&self) -> bool {
        self.is_abandoned() && !self.superseded.load(Ordering::Acquire)
    }

    /// What is told of a connection whose server is not waited for any more.
    pub fn verdict(&self) -> Fault {
        let (host, port) = (&self.server.host, self.server.port);
        if self.superseded.load(Ordering::Acquire) {
            return Fault::new(SqlState::CONNECTION_FAILURE, format!("lost connection to shard server {host}:{port}"))
                .detail("another server is the primary of its shard now")
                .hint("The statement may or may not have taken effect; check before repeating it.")
                .blame(Blame::Server);
        }
        let sentence = self.sentence.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fault =
            sentence.unwrap_or_else(|| Fault::new(SqlState::QUERY_CANCELED, "canceling statement due to user request"));
        fault
            .detail(format!(
                "server {host}:{port} has not said in time that it has stopped, and its connection is closed"
            ))
            .hint("The statement may or may not have taken effect; check before repeating it.")
    }

    /// The statement has ended: the next one is not meant.
    pub fn acquit(&self) {
        if self.sentenced.load(Ordering::Acquire) {
            self.sentenced.store(false, Ordering::Release);
            *self.sentence.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Asks the server to cancel; returns when it has taken note (true), or when it cannot be reached in time.
    pub async fn send(&self) -> bool {
        self.send_within(self.timeout, std::future::pending()).await
    }

    /// The same within so long. Where its transaction is not open yet, which it may never be, there is nothing to cancel any more when
    /// `over` has come: that the statement has ended.
    pub async fn send_within(&self, limit: Duration, over: impl Future<Output = ()>) -> bool {
        let limit = limit.min(self.timeout);
        let opened = self.opened.notified();
        if self.is_opening() {
            tokio::select! {
                () = opened => {}
                () = over => return true,
                () = tokio::time::sleep(limit) => return false,
            }
            if self.stopped.load(Ordering::Acquire) {
                return true;
            }
        }
        let sent = login::send_cancel(&self.server, &self.tls, limit, &self.key);
        let failure = match tokio::time::timeout(limit, sent).await {
            Ok(Ok(())) => return true,
            Ok(Err(fault)) => fault.to_string(),
            Err(_) => "timed out".to_owned(),
        };
        let (host, port) = (&self.server.host, self.server.port);
        tracing::warn!(server = %format_args!("{host}:{port}"), error = failure, "cancel request not delivered");
        false
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn what_opens_a_transaction_is_not_cancelled() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new("127.0.0.1", listener.local_addr().unwrap().port(), "none");
        let key = CancelKey { pid: 1, secret: vec![0; 4] };
        let facts = Facts::new(None, None, "".into());
        let tls = Arc::new(ServerTls::disabled());
        let handle = CancelHandle::new(ShardId(0), server, tls, Duration::from_secs(30), key, facts);
        handle.begin();
        let mut sent = pin!(handle.send());
        let mut heard = pin!(listener.accept());
        for _ in 0..3 {
            assert!(futures::poll!(&mut sent).is_pending());
            assert!(futures::poll!(&mut heard).is_pending());
        }
        handle.begun();
        // Now it goes out.
        let heard = tokio::select! {
            heard = &mut heard => heard,
            _ = &mut sent => panic!("nobody was asked"),
        };
        drop(heard.unwrap());
        sent.await;
    }

    #[tokio::test]
    async fn a_server_that_does_not_open_it_is_not_waited_for_without_end() {
        let key = CancelKey { pid: 1, secret: vec![0; 4] };
        let facts = Facts::new(None, None, "".into());
        let tls = Arc::new(ServerTls::disabled());
        let server = Server::new("127.0.0.1", 1, "none");
        let handle = CancelHandle::new(ShardId(0), server, tls, Duration::from_millis(20), key, facts);
        handle.begin();
        assert!(!handle.send().await);
    }
}
