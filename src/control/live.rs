//! What an operator may ask of a running router: see `app::live`, which does it.

use futures::future::BoxFuture;

use crate::fault::Fault;

/// What came of a new configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// What is another now, in words; nothing: the configuration is the same.
    pub changed: Vec<String>,
    /// What is another in the configuration and holds from the next start on.
    pub later: Vec<String>,
}

/// The router, for those who steer it.
pub trait Steering: Send + Sync {
    /// Reads the configuration again, with all files that it names, and applies it whole, or not at all.
    ///
    /// # Errors
    /// `F0000` with what is wrong, or who was in the way: nothing has changed then.
    fn reload(&self) -> BoxFuture<'_, Result<Applied, Fault>>;
}
