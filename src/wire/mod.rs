//! PURE. Bytes <-> frames. The only door to pgwire.

pub mod auth;
pub mod frame;
pub mod reply;
pub mod row;
pub mod startup;
