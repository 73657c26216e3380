//! How clients of a whole router prove who they are, with psql and real servers.
#![allow(clippy::unwrap_used)]

mod asked;
mod failures;
mod hba;
mod listed;
mod pass_through;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
// Shared with the login tests, which use more of it.
#[allow(dead_code)]
#[path = "../login/tls_files.rs"]
mod tls_files;

use std::process::Command;

/// What psql prints, or its errors. `more`: further connection parameters.
fn psql(port: u16, user: &str, database: &str, password: &str, sql: &str, more: &str) -> Result<String, String> {
    let output = Command::new("psql")
        .args(["-X", "-At", "-w", "-c", sql])
        .arg(format!("host=127.0.0.1 port={port} user={user} dbname={database} connect_timeout=30 {more}"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("PGPASSWORD", password)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Whether an error says so, for messages that do not name the parts.
#[track_caller]
fn assert_says(error: &Result<String, String>, part: &str) {
    let Err(text) = error else { panic!("{error:?} is no error that says {part}") };
    assert!(text.contains(part), "{text}");
}
