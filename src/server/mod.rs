//! I/O. Accepts clients, and answers those who watch.

pub mod handshake;
pub mod http;
