//! Where commands print. Who does not read on (`pgloom topology history | head -1`) ends them quietly, as other Unix tools are ended.

use std::fmt::Arguments;
use std::io::{self, Write};

use crate::cli::UNUSABLE;

/// What a shell says of a tool that SIGPIPE has ended. Rust's runtime ignores the signal, so that writes fail instead.
const ENDED_BY_SIGPIPE: i32 = 128 + 13;

/// A line, or several, to standard output.
pub(super) fn line(text: Arguments<'_>) {
    printed(writeln!(io::stdout().lock(), "{text}"));
}

/// Bytes as they are.
pub(super) fn bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    printed(out.write_all(bytes).and_then(|()| out.flush()));
}

/// A line to standard error. Where that is closed there is nobody who could be told so.
pub(super) fn error_line(text: Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// What could not be printed was not told: the command does not end as if it had been.
fn printed(done: io::Result<()>) {
    let Err(error) = done else { return };
    if error.kind() == io::ErrorKind::BrokenPipe {
        std::process::exit(ENDED_BY_SIGPIPE);
    }
    error_line(format_args!("pgloom: standard output: {error}"));
    std::process::exit(i32::from(UNUSABLE));
}

/// Prints a line, as `println!` does.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::out::line(format_args!($($text)*)) };
}

/// Prints a line to standard error, as `eprintln!` does.
macro_rules! complain {
    ($($text:tt)*) => { $crate::cli::out::error_line(format_args!($($text)*)) };
}

pub(super) use {complain, say};
