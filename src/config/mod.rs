//! `Settings`: validated, one small struct per subsystem.

pub mod file;
