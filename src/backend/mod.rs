//! I/O. Connections to Postgres servers.

pub mod login;

/// The key with which this connection's statement can be cancelled.
#[derive(Clone, Debug, Default)]
pub struct CancelKey {
    pub pid: u32,
    pub secret: Vec<u8>,
}
