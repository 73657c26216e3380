//! How single values are written: durations, sizes, names and the words of each enumeration.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::error::did_you_mean;
use crate::ids::QualifiedName;
use crate::secret::Secret;
use crate::types::KeyType;

/// The kinds of value that a scalar is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    pub string: bool,
    pub integer: bool,
    pub float: bool,
    pub boolean: bool,
}

impl Kinds {
    pub const STRING: Kinds = Kinds { string: true, integer: false, float: false, boolean: false };
    pub const INTEGER: Kinds = Kinds { string: false, integer: true, float: false, boolean: false };
    pub const BOOLEAN: Kinds = Kinds { string: false, integer: false, float: false, boolean: true };
    pub const QUANTITY: Kinds = Kinds { string: true, integer: true, float: true, boolean: false };
    pub const ANY: Kinds = Kinds { string: true, integer: true, float: true, boolean: true };
}

/// A value that one text says: in the file, as a default, or in an environment variable.
pub trait Scalar: Sized {
    const KINDS: Kinds;
    /// For the reference: what is written here, in a few words.
    const TAKES: &'static str;
    /// Never to be shown.
    const SECRET: bool = false;
    /// The error says what is expected, with an example.
    fn parse(text: &str) -> Result<Self, String>;
}

impl Scalar for String {
    const KINDS: Kinds = Kinds::STRING;
    const TAKES: &'static str = "text";
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Scalar for bool {
    const KINDS: Kinds = Kinds::BOOLEAN;
    const TAKES: &'static str = "true or false";
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" | "on" | "yes" | "1" => Ok(true),
            "false" | "off" | "no" | "0" => Ok(false),
            _ => Err("expected true or false".to_owned()),
        }
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Scalar for $number {
            const KINDS: Kinds = Kinds::INTEGER;
            const TAKES: &'static str = "number";
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("expected a whole number from {} to {}", <$number>::MIN, <$number>::MAX))
            }
        }
    )*};
}

whole_numbers!(u16, u32, u64);

impl Scalar for Duration {
    const KINDS: Kinds = Kinds::QUANTITY;
    const TAKES: &'static str = "duration";
    fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = quantity(text).ok_or_else(duration_form)?;
        let scale = match unit {
            "us" => 1e-6,
            "ms" => 1e-3,
            "" | "s" => 1.0,
            "min" | "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(duration_form()),
        };
        // A century is longer than any timer of ours can be trusted to add to the present.
        let seconds = Some(number * scale).filter(|seconds| *seconds <= 36_525.0 * 86_400.0);
        seconds.map(Duration::from_secs_f64).ok_or_else(duration_form)
    }
}

fn duration_form() -> String {
    "expected a duration such as \"500ms\", \"5s\", \"10min\", \"1h\" or \"1d\"; a bare number is seconds".to_owned()
}

/// When a read is sent to a second server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeAfter {
    Off,
    Time(Duration),
    /// When it takes longer than so many of a hundred.
    Percentile(u8),
}

impl Scalar for HedgeAfter {
    const KINDS: Kinds = Kinds::QUANTITY;
    const TAKES: &'static str = "duration, p50 to p99, or off";
    fn parse(text: &str) -> Result<Self, String> {
        let form =
            || "expected \"off\", a duration such as \"20ms\", or a percentile from \"p50\" to \"p99\"".to_owned();
        if text == "off" {
            return Ok(Self::Off);
        }
        if let Some(percent) = text.strip_prefix('p') {
            let percent = percent.parse().ok().filter(|percent| (50..=99).contains(percent));
            return percent.map(Self::Percentile).ok_or_else(form);
        }
        match Duration::parse(text) {
            Ok(Duration::ZERO) => Ok(Self::Off),
            Ok(after) => Ok(Self::Time(after)),
            Err(_) => Err(form()),
        }
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Scalar for Bytes {
    const KINDS: Kinds = Kinds::QUANTITY;
    const TAKES: &'static str = "size";
    fn parse(text: &str) -> Result<Self, String> {
        let form = || "expected a size such as \"512KiB\", \"64MiB\" or \"1GiB\"; a bare number is bytes".to_owned();
        let (number, unit) = quantity(text).ok_or_else(form)?;
        // Postgres's own `kB`, `MB`, `GB` are powers of 1024 too.
        let shift = match unit {
            "" | "B" => 0,
            "KiB" | "kB" | "KB" => 10,
            "MiB" | "MB" => 20,
            "GiB" | "GB" => 30,
            "TiB" | "TB" => 40,
            _ => return Err(form()),
        };
        let bytes = number * f64::from(1u32 << (shift % 30)) * f64::from(1u32 << (shift / 30 * 30));
        if bytes > 2f64.powi(50) { Err(form()) } else { Ok(Bytes(bytes as u64)) }
    }
}

/// A part of a whole, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio(pub u32);

impl Scalar for Ratio {
    const KINDS: Kinds = Kinds::QUANTITY;
    const TAKES: &'static str = "0 to 1";
    fn parse(text: &str) -> Result<Self, String> {
        let number = text.trim().parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
        let number = number.ok_or_else(|| "expected a part of the whole from 0 to 1, such as 0.05".to_owned())?;
        Ok(Self((number * 1e6).round() as u32))
    }
}

/// `1.5 min` -> `(1.5, "min")`.
fn quantity(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let starts_well = number.starts_with(|c: char| c.is_ascii_digit());
    starts_well.then(|| number.parse().ok()).flatten().map(|number| (number, unit.trim_start()))
}

impl Scalar for Secret {
    const KINDS: Kinds = Kinds::STRING;
    const TAKES: &'static str = "text";
    const SECRET: bool = true;
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Secret::new(text))
    }
}

/// A file or directory; relative ones start at the config file's directory.
impl Scalar for PathBuf {
    const KINDS: Kinds = Kinds::STRING;
    const TAKES: &'static str = "path";
    fn parse(text: &str) -> Result<Self, String> {
        Ok(PathBuf::from(text))
    }
}

/// An address to listen on.
impl Scalar for IpAddr {
    const KINDS: Kinds = Kinds::STRING;
    const TAKES: &'static str = "address";
    fn parse(text: &str) -> Result<Self, String> {
        let literal = match text {
            "*" => "0.0.0.0",
            "localhost" => "127.0.0.1",
            other => other,
        };
        let form = |_| {
            "expected an IP address such as \"127.0.0.1\", \"0.0.0.0\" (every IPv4) or \"::\" (every IPv6)".to_owned()
        };
        literal.parse().map_err(form)
    }
}

/// An address and port to listen on, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAt(pub Option<SocketAddr>);

impl Scalar for ListenAt {
    const KINDS: Kinds = Kinds::STRING;
    const TAKES: &'static str = "address:port";
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == "off" {
            return Ok(Self(None));
        }
        let form = |_| "expected address:port such as \"127.0.0.1:9930\", or \"\" for none".to_owned();
        text.replacen("localhost:", "127.0.0.1:", 1).parse().map(|address| Self(Some(address))).map_err(form)
    }
}

impl Scalar for KeyType {
    const KINDS: Kinds = Kinds::STRING;
    const TAKES: &'static str = "type";
    fn parse(text: &str) -> Result<Self, String> {
        let names = || KeyType::ALL.map(KeyType::name).join(", ");
        KeyType::from_name(text).ok_or_else(|| {
            let near = did_you_mean(text, KeyType::ALL.map(KeyType::name));
            format!("expected a type whose equality is that of its bytes: {}{near}", names())
        })
    }
}

/// A value of the sharding key, as text that its type reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyText(pub String);

impl Scalar for KeyText {
    const KINDS: Kinds = Kinds::ANY;
    const TAKES: &'static str = "value";
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
}

/// A table, function or column name as SQL writes it: folded to lower case unless in double quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlName(pub Vec<String>);

impl SqlName {
    /// `schema.name`; `default_schema` where the schema is not written. `None` for more than two parts.
    pub fn qualified(&self, default_schema: &str) -> Option<QualifiedName> {
        match self.0.as_slice() {
            [name] => Some(QualifiedName::new(default_schema, name.as_str())),
            [schema, name] => Some(QualifiedName::new(schema.as_str(), name.as_str())),
            _ => None,
        }
    }

    /// The name of a column, which has no other part.
    pub fn single(&self) -> Option<String> {
        match self.0.as_slice() {
            [name] => Some(name.clone()),
            _ => None,
        }
    }
}

impl Scalar for SqlName {
    const KINDS: Kinds = Kinds::STRING;
    const TAKES: &'static str = "name";
    fn parse(text: &str) -> Result<Self, String> {
        let form =
            || "expected a name such as orders or sales.orders, in double quotes where case or signs matter".to_owned();
        let mut parts = Vec::new();
        let mut rest = text.trim();
        loop {
            let (part, after) = name_part(rest).ok_or_else(form)?;
            parts.push(part);
            match after.strip_prefix('.') {
                Some(next) => rest = next,
                None if after.is_empty() && parts.len() <= 2 => return Ok(Self(parts)),
                None => return Err(form()),
            }
        }
    }
}

fn name_part(text: &str) -> Option<(String, &str)> {
    let Some(mut quoted) = text.strip_prefix('"') else {
        let end = text.find(['.', '"']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
        let starts_well = name.starts_with(|c: char| c.is_alphabetic() || c == '_' || !c.is_ascii());
        return (starts_well && name.chars().all(plain)).then(|| (name.to_ascii_lowercase(), rest));
    };
    let mut name = String::new();
    loop {
        let (before, after) = quoted.split_once('"')?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(next) => {
                name.push('"');
                quoted = next;
            }
            None => return (!name.is_empty()).then_some((name, after)),
        }
    }
}

/// An enumeration with its words; words after `!` are known elsewhere and get their own answer.
macro_rules! words {
    (
        $(#[doc = $doc:literal])* $name:ident takes $takes:literal;
        $($(#[doc = $variant_doc:literal])* $variant:ident = $word:literal,)*
        $(! $refused:literal => $why:literal,)*
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[doc = $variant_doc])* $variant,)* }

        impl $name {
            /// The word in the config.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl Scalar for $name {
            const KINDS: Kinds = Kinds::STRING;
            const TAKES: &'static str = $takes;
            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    $($refused => Err($why.to_owned()),)*
                    _ => Err(format!("expected {}{}", $takes, did_you_mean(text, [$($word),*]))),
                }
            }
        }
    };
}

words! {
    /// How long a client keeps a server connection.
    PoolMode takes "transaction or session";
    /// Until the transaction ends.
    Transaction = "transaction",
    /// Until the client disconnects.
    Session = "session",
    ! "statement" => "statement pooling is not built yet; use transaction, which also serves autocommit statements one by one",
}

words! {
    /// Which servers of a shard answer reads.
    ReadPreference takes "primary, replica or nearest";
    Primary = "primary",
    /// Replicas, where there are any that are fresh enough.
    Replica = "replica",
    /// Whichever answers soonest.
    Nearest = "nearest",
    ! "any" => "write nearest",
    ! "secondary" => "write replica",
}

impl ReadPreference {
    pub const ALL: [Self; 3] = [Self::Primary, Self::Replica, Self::Nearest];
}

words! {
    /// How a client proves who it is.
    AuthType takes "scram-sha-256, md5, cert, hba or trust";
    /// It does not.
    Trust = "trust",
    Md5 = "md5",
    ScramSha256 = "scram-sha-256",
    /// By a certificate for the user.
    Cert = "cert",
    /// As the first entry of a file says that fits.
    Hba = "hba",
    ! "plain" => "passwords in clear text are not asked for; use scram-sha-256",
    ! "any" => "an unknown user is never let in; use trust, which takes any password of a known user",
    ! "pam" => "PAM is not built; use scram-sha-256",
}

words! {
    /// Whether a connection is encrypted and whose certificate is checked (libpq: `sslmode`).
    SslMode takes "disable, prefer, require, verify-ca or verify-full";
    Disable = "disable",
    /// Encrypted if the other side can.
    Prefer = "prefer",
    /// Encrypted, certificate not checked.
    Require = "require",
    /// Certificate signed by a known authority.
    VerifyCa = "verify-ca",
    /// And, of a server, issued for the host that was asked for.
    VerifyFull = "verify-full",
    ! "allow" => "use prefer, which encrypts whenever both sides can",
}

words! {
    /// How log lines look.
    LogFormat takes "text or json";
    Text = "text",
    Json = "json",
}

words! {
    /// How much is logged.
    LogLevel takes "error, warn, info, debug or trace";
    Error = "error",
    Warn = "warn",
    Info = "info",
    Debug = "debug",
    Trace = "trace",
}

/// How a transaction that wrote on several shards commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TwoPhaseCommit {
    /// In two phases: on all or on none.
    On,
    /// Not at all: refused.
    Off,
    /// One shard after the other. Not atomic.
    BestEffort,
}

impl Scalar for TwoPhaseCommit {
    const KINDS: Kinds = Kinds { string: true, integer: false, float: false, boolean: true };
    const TAKES: &'static str = "on, off or best_effort";
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "on" | "true" => Ok(Self::On),
            "off" | "false" => Ok(Self::Off),
            "best_effort" => Ok(Self::BestEffort),
            _ => Err(format!("expected {}{}", Self::TAKES, did_you_mean(text, ["on", "off", "best_effort"]))),
        }
    }
}

words! {
    /// Where the shard map stands.
    MapSource takes "file or etcd";
    File = "file",
    Etcd = "etcd",
}

words! {
    /// Where values are compared that must be unique.
    UniqueScope takes "cluster";
    Cluster = "cluster",
}

words! {
    /// How a distribution finds the shard of a key.
    MethodName takes "hash, range, list, postgres_hash, composite or schema";
    Hash = "hash",
    Range = "range",
    List = "list",
    PostgresHash = "postgres_hash",
    Composite = "composite",
    Schema = "schema",
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_have_units_and_bare_numbers_are_seconds() {
        let millis = |text: &str| Duration::parse(text).map(|d| d.as_millis());
        assert_eq!(
            ["5s", "500ms", "1.5 min", "2h", "1d", "7", "0"].map(|t| millis(t).unwrap()),
            [5000, 500, 90_000, 7_200_000, 86_400_000, 7000, 0]
        );
        for wrong in ["", "s", "5 parsecs", "-5s", "1e3s", "99999999d", "5s5s", "."] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        let bytes = |text: &str| Bytes::parse(text).map(|b| b.0);
        assert_eq!(
            ["0", "10", "4kB", "64MiB", "1GiB", "1TB", "1.5KiB"].map(|t| bytes(t).unwrap()),
            [0, 10, 4096, 64 << 20, 1 << 30, 1 << 40, 1536]
        );
        for wrong in ["", "MiB", "-1", "5 MiBs", "9999999TiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_fold_like_sql() {
        let parts = |text: &str| SqlName::parse(text).map(|name| name.0.join("|"));
        assert_eq!(parts("Orders").unwrap(), "orders");
        assert_eq!(parts("Sales.\"Or\"\"ders.x\"").unwrap(), "sales|Or\"ders.x");
        for wrong in ["", "a.b.c", "a b", "1a", "a.", ".a", "\"a", "\"\"", "\"a\"b", "a-b"] {
            assert!(parts(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn two_phase_commit_takes_words_and_the_flags_that_it_once_was() {
        use TwoPhaseCommit::{BestEffort, Off, On};
        let read = ["on", "true", "off", "false", "best_effort"].map(|text| TwoPhaseCommit::parse(text).unwrap());
        assert_eq!(read, [On, On, Off, Off, BestEffort]);
        assert!(TwoPhaseCommit::parse("best-effort").unwrap_err().ends_with("did you mean `best_effort`?"));
    }

    #[test]
    fn words_known_elsewhere_get_their_own_answer() {
        assert!(PoolMode::parse("statement").unwrap_err().starts_with("statement pooling is not built yet"));
        assert!(SslMode::parse("verify_full").unwrap_err().ends_with("did you mean `verify-full`?"));
    }
}
