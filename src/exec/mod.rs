//! I/O. Carries out plans on servers that the session has checked out.

pub mod client;
pub mod columns;
pub mod copy;
pub mod delivery;
pub mod explain;
pub mod finish;
pub mod forward;
pub mod parameters;
pub mod replies;
pub mod scatter;
