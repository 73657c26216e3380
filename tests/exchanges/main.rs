//! Recorded exchanges: the same frontend messages to one Postgres and through pgloom, and all that comes back compared message by
//! message and field by field. What may differ is listed in `record.rs`, and is little.
#![allow(clippy::unwrap_used)]

mod cancels;
mod copies;
mod messages;
mod own;
mod prepared;
mod record;
mod reports;
mod sizes;
mod startup;
mod strings;
#[path = "../support/mod.rs"]
mod support;
