//! How long things may take: what the configuration, a database, a user and a session say, the narrower one going before the wider.

use std::fmt::Write as _;
use std::time::Duration;

use super::units::Scalar;

/// What takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A statement.
    Query,
    /// A statement over several shards.
    Scatter,
    /// A transaction.
    Transaction,
    /// A client's silence in a transaction.
    IdleTransaction,
    /// A client's silence.
    ClientIdle,
    /// The wait for server connections.
    QueryWait,
    /// A client's taking no byte of its answer.
    ClientWrite,
    /// What servers and clients may take to end when a statement's time is up.
    CancelGrace,
    /// The wait for a shard to have a primary; without a limit there is none.
    Failover,
    /// The wait of a statement of a key that has too many; without a limit there is none.
    KeyWait,
    /// Reaching a server.
    ServerConnect,
    /// Logging in there; without a limit it is what is left of that.
    ServerLogin,
    /// No limit, but as long as this a statement takes that the log tells of.
    LogSlow,
}

const COUNT: usize = Limit::ALL.len();
/// A session may not be more hasty with servers than this: it would make connections that nobody can use, one after the other.
const HASTY: Duration = Duration::from_millis(100);

impl Limit {
    pub const ALL: [Self; 13] = [
        Self::Query,
        Self::Scatter,
        Self::Transaction,
        Self::IdleTransaction,
        Self::ClientIdle,
        Self::QueryWait,
        Self::ClientWrite,
        Self::CancelGrace,
        Self::Failover,
        Self::KeyWait,
        Self::ServerConnect,
        Self::ServerLogin,
        Self::LogSlow,
    ];

    /// Whether a session may say it for itself: what the log tells is not its business.
    pub fn is_of_sessions(self) -> bool {
        self != Self::LogSlow
    }

    /// Those that a session may say.
    pub fn of_sessions() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|limit| limit.is_of_sessions())
    }

    /// The setting's name, in the configuration; in a session it is one of `pgloom`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "query_timeout",
            Self::Scatter => "scatter_timeout",
            Self::Transaction => "transaction_timeout",
            Self::IdleTransaction => "idle_transaction_timeout",
            Self::ClientIdle => "client_idle_timeout",
            Self::QueryWait => "query_wait_timeout",
            Self::ClientWrite => "client_write_timeout",
            Self::CancelGrace => "cancel_grace",
            Self::Failover => "failover_timeout",
            Self::KeyWait => "key_wait_timeout",
            Self::ServerConnect => "server_connect_timeout",
            Self::ServerLogin => "server_login_timeout",
            Self::LogSlow => "log_slow_statements",
        }
    }

    /// That of a session which it calls so, behind `pgloom.`.
    pub fn named(name: &str) -> Option<Self> {
        Self::of_sessions().find(|limit| limit.name() == name)
    }

    /// The least that a session may say; 0 is another thing.
    pub fn least_of_sessions(self) -> Option<Duration> {
        matches!(self, Self::ServerConnect | Self::ServerLogin).then_some(HASTY)
    }

    /// A value as a session gives it: a duration as in the configuration; 0 is no limit.
    ///
    /// # Errors
    /// Says what is expected.
    pub fn parse(self, text: &str) -> Result<Option<Duration>, String> {
        let limit = Some(Duration::parse(text)?).filter(|limit| !limit.is_zero());
        match (self, limit) {
            (Self::ServerConnect, None) => Err("0 would wait for ever; give it a time, such as 5s".to_owned()),
            (_, limit) => Ok(limit),
        }
    }
}

/// Each `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeLimits([Option<Duration>; COUNT]);

/// What one of those who may choose says of each; `None`: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeWishes([Option<Option<Duration>>; COUNT]);

impl TimeLimits {
    pub fn get(&self, limit: Limit) -> Option<Duration> {
        self.0[limit as usize]
    }

    pub fn set(&mut self, limit: Limit, value: Option<Duration>) {
        self.0[limit as usize] = value;
    }

    /// With what somebody narrower says.
    pub fn with(mut self, wishes: &TimeWishes) -> Self {
        for (limit, wish) in self.0.iter_mut().zip(wishes.0) {
            *limit = wish.unwrap_or(*limit);
        }
        self
    }

    /// A limit as it is written.
    pub fn text(&self, limit: Limit) -> String {
        let Some(time) = self.get(limit) else { return "0".to_owned() };
        let mut text = String::new();
        let micros = time.as_micros();
        let units = [(60_000_000, "min"), (1_000_000, "s"), (1_000, "ms"), (1, "us")];
        let (size, unit) = units.into_iter().find(|(size, _)| micros % size == 0).unwrap_or((1, "us"));
        let _ = write!(text, "{}{unit}", micros / size);
        text
    }
}

impl TimeWishes {
    pub fn set(&mut self, limit: Limit, value: Option<Duration>) {
        self.0[limit as usize] = Some(value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_limit_is_its_place_and_has_its_name() {
        for (at, limit) in Limit::ALL.into_iter().enumerate() {
            let named = Limit::named(limit.name());
            assert_eq!((limit as usize, named.is_some()), (at, limit.is_of_sessions()));
            assert!(named.is_none_or(|named| named == limit));
        }
    }

    #[test]
    fn the_narrower_one_goes_before_and_zero_takes_a_limit_away() {
        let mut general = TimeLimits::default();
        general.set(Limit::Query, Limit::Query.parse("5s").unwrap());
        general.set(Limit::ClientIdle, Limit::ClientIdle.parse("1h").unwrap());
        let (mut database, mut user) = (TimeWishes::default(), TimeWishes::default());
        database.set(Limit::Query, Limit::Query.parse("90s").unwrap());
        user.set(Limit::ClientIdle, Limit::ClientIdle.parse("0").unwrap());
        let all = general.with(&database).with(&user);
        assert_eq!(
            ["query_timeout", "client_idle_timeout", "scatter_timeout"]
                .map(|name| all.text(Limit::named(name).unwrap())),
            ["90s", "0", "0"]
        );
        assert_eq!(general.text(Limit::ClientIdle), "60min");
        assert!(Limit::Query.parse("soon").is_err() && Limit::ServerConnect.parse("0").is_err());
    }
}
