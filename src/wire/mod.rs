//! PURE. Bytes <-> frames. The only door to pgwire.

pub mod array;
pub mod auth;
pub mod encode;
pub mod error_fields;
pub mod frame;
pub mod reply;
pub mod request;
pub mod row;
pub mod startup;
pub mod told;
