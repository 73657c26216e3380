//! `CancelHandle`: how somebody else than the task that uses a server connection has its statement cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::backend::{CancelKey, login};
use crate::tls::ServerTls;
use crate::topology::Server;

/// Made once for each server connection, and shared with the session that holds it.
#[derive(Debug)]
pub struct CancelHandle {
    pub server: Server,
    pub tls: Arc<ServerTls>,
    /// Most time that a request may take.
    pub timeout: Duration,
    pub key: CancelKey,
    /// Requests on their way: the connection is not reused while there is one.
    pub under_way: AtomicUsize,
}

impl CancelHandle {
    /// Announces a request before it is sent, so that the connection does not go to another client meanwhile.
    pub fn announce(&self) {
        self.under_way.fetch_add(1, Ordering::AcqRel);
    }

    /// What was announced has been sent, or given up.
    pub fn settle(&self) {
        self.under_way.fetch_sub(1, Ordering::AcqRel);
    }

    pub fn is_announced(&self) -> bool {
        self.under_way.load(Ordering::Acquire) > 0
    }

    /// Asks the server to cancel; returns when it has taken note, or when it cannot be reached in time.
    pub async fn send(&self) {
        let sent = login::send_cancel(&self.server, &self.tls, &self.key);
        let failure = match tokio::time::timeout(self.timeout, sent).await {
            Ok(Ok(())) => return,
            Ok(Err(fault)) => fault.to_string(),
            Err(_) => "timed out".to_owned(),
        };
        let (host, port) = (&self.server.host, self.server.port);
        tracing::warn!(server = %format_args!("{host}:{port}"), error = failure, "cancel request not delivered");
    }
}
