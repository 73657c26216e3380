//! PURE. The operators that a `Combine` asks for. Owns no socket: `advance` says what it needs and the caller fetches it.

pub mod aggregate;
pub mod kway;
pub mod steps;
