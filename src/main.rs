//! Flags, signals, exit code.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    pgloom::cli::Cli::parse().run()
}
