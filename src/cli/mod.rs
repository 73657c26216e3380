//! The commands, one file (or folder) each.

pub mod demo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Many Postgres servers, one endpoint: a sharding query router that speaks the PostgreSQL wire protocol
#[derive(Debug, Parser)]
#[command(name = "pgloom", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
}

impl Cli {
    /// Runs the command that was named.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Demo(args) => demo::run(&args),
        }
    }
}
