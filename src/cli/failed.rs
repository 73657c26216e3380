//! `Failed`: why a command does not do what it was asked, and how such a command runs.

use std::process::ExitCode;

use crate::cli::out::complain;
use crate::cli::{FOUND_WRONG, UNUSABLE, runtime};
use crate::config::ConfigErrors;
use crate::control::etcd::StoreError;

/// Why a command does not do what it was asked.
pub struct Failed {
    code: u8,
    message: String,
}

impl Failed {
    /// What was asked for was found wrong, or would be.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { code: FOUND_WRONG, message: message.into() }
    }

    /// The call, a file, or what it needs cannot be used.
    pub fn unusable(message: impl Into<String>) -> Self {
        Self { code: UNUSABLE, message: message.into() }
    }

    fn tell(self) -> ExitCode {
        for line in self.message.lines() {
            complain!("pgloom: {line}");
        }
        ExitCode::from(self.code)
    }
}

impl From<ConfigErrors> for Failed {
    fn from(errors: ConfigErrors) -> Self {
        Self::unusable(errors.to_string())
    }
}

impl From<StoreError> for Failed {
    fn from(StoreError(message): StoreError) -> Self {
        Self::unusable(message)
    }
}

/// Runs a command to its end, and tells on stderr why it has failed.
pub fn carry_out(command: impl Future<Output = Result<ExitCode, Failed>>) -> ExitCode {
    match runtime() {
        Ok(runtime) => runtime.block_on(command).unwrap_or_else(Failed::tell),
        Err(code) => code,
    }
}
