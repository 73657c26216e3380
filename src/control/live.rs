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

/// What a router that is to end waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Until the clients have gone, for a time; then as the next one.
    OfClients,
    /// Until what runs on the servers has ended, for a time.
    OfTransactions,
    AtOnce,
}

/// The router, for those who steer it.
pub trait Steering: Send + Sync {
    /// Reads the configuration again, with all files that it names, and applies it whole, or not at all.
    ///
    /// # Errors
    /// `F0000` with what is wrong, or who was in the way: nothing has changed then.
    fn reload(&self) -> BoxFuture<'_, Result<Applied, Fault>>;

    /// New statements and transactions wait from now on; ends when those that run have ended. Given up before that, they wait all the same.
    /// `database`: `None`, each one; `shard`: only what comes to it.
    ///
    /// # Errors
    /// There is no such database or shard.
    fn pause<'a>(&'a self, database: Option<&'a str>, shard: Option<&'a str>) -> BoxFuture<'a, Result<(), Fault>>;

    /// Nothing that clients send is begun from now on, also within their transactions; ends when what has begun is done. Given up before
    /// that, they wait all the same.
    fn suspend(&self) -> BoxFuture<'_, ()>;

    /// Takes a pause back: of every database, or of one; of one shard, or of the database and all its shards. Of every database, it also
    /// takes [`Self::suspend`] back.
    ///
    /// # Errors
    /// `55000`: nothing was paused. There is no such database.
    fn resume(&self, database: Option<&str>, shard: Option<&str>) -> Result<(), Fault>;

    /// Gives a setting of `[general]` another value until the configuration is read again.
    ///
    /// # Errors
    /// `42704`: there is no such setting; `55P02`: it holds from the start on; `22023`: it has no such value; else as [`Self::reload`].
    fn set<'a>(&'a self, key: &'a str, value: &'a str) -> BoxFuture<'a, Result<Applied, Fault>>;

    /// The router is to end.
    fn shut_down(&self, how: Ending);
}
