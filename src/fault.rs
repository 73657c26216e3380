//! `Fault`: everything that a client is told when something fails, in Postgres's own terms.

use std::borrow::Cow;
use std::fmt;

/// Five characters of SQLSTATE (Postgres: `src/backend/utils/errcodes.txt`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub [u8; 5]);

macro_rules! sqlstates {
    ($($name:ident = $code:literal;)*) => {
        impl SqlState {
            $(pub const $name: SqlState = SqlState(*$code);)*
        }
    };
}

sqlstates! {
    SUCCESSFUL_COMPLETION = b"00000";
    WARNING = b"01000";
    CONNECTION_EXCEPTION = b"08000";
    CANNOT_CONNECT_NOW = b"57P03";
    UNABLE_TO_CONNECT = b"08001";
    CONNECTION_REJECTED = b"08004";
    CONNECTION_FAILURE = b"08006";
    TRANSACTION_RESOLUTION_UNKNOWN = b"08007";
    PROTOCOL_VIOLATION = b"08P01";
    FEATURE_NOT_SUPPORTED = b"0A000";
    INVALID_TRANSACTION_TERMINATION = b"2D000";
    NUMERIC_VALUE_OUT_OF_RANGE = b"22003";
    INVALID_PARAMETER_VALUE = b"22023";
    INVALID_TEXT_REPRESENTATION = b"22P02";
    DATETIME_FIELD_OVERFLOW = b"22008";
    INVALID_BINARY_REPRESENTATION = b"22P03";
    BAD_COPY_FILE_FORMAT = b"22P04";
    NOT_NULL_VIOLATION = b"23502";
    FOREIGN_KEY_VIOLATION = b"23503";
    UNIQUE_VIOLATION = b"23505";
    CHARACTER_NOT_IN_REPERTOIRE = b"22021";
    ACTIVE_SQL_TRANSACTION = b"25001";
    READ_ONLY_SQL_TRANSACTION = b"25006";
    NO_ACTIVE_SQL_TRANSACTION = b"25P01";
    INVALID_COLUMN_REFERENCE = b"42P10";
    IN_FAILED_SQL_TRANSACTION = b"25P02";
    IDLE_IN_TRANSACTION_SESSION_TIMEOUT = b"25P03";
    TRANSACTION_TIMEOUT = b"25P04";
    INVALID_SQL_STATEMENT_NAME = b"26000";
    INVALID_AUTHORIZATION_SPECIFICATION = b"28000";
    INVALID_PASSWORD = b"28P01";
    INVALID_CURSOR_NAME = b"34000";
    INVALID_SAVEPOINT_SPECIFICATION = b"3B001";
    INVALID_CATALOG_NAME = b"3D000";
    SERIALIZATION_FAILURE = b"40001";
    TRANSACTION_ROLLBACK = b"40000";
    DEADLOCK_DETECTED = b"40P01";
    SYNTAX_ERROR = b"42601";
    NAME_TOO_LONG = b"42622";
    INSUFFICIENT_PRIVILEGE = b"42501";
    INVALID_NAME = b"42602";
    UNDEFINED_OBJECT = b"42704";
    WRONG_OBJECT_TYPE = b"42809";
    UNDEFINED_TABLE = b"42P01";
    UNDEFINED_COLUMN = b"42703";
    UNDEFINED_PARAMETER = b"42P02";
    INDETERMINATE_DATATYPE = b"42P18";
    DUPLICATE_CURSOR = b"42P03";
    DUPLICATE_PREPARED_STATEMENT = b"42P05";
    CONFIGURATION_LIMIT_EXCEEDED = b"53400";
    CONFIG_FILE_ERROR = b"F0000";
    TOO_MANY_CONNECTIONS = b"53300";
    INSUFFICIENT_RESOURCES = b"53000";
    OUT_OF_MEMORY = b"53200";
    PROGRAM_LIMIT_EXCEEDED = b"54000";
    OBJECT_NOT_IN_PREREQUISITE_STATE = b"55000";
    CANT_CHANGE_RUNTIME_PARAM = b"55P02";
    LOCK_NOT_AVAILABLE = b"55P03";
    QUERY_CANCELED = b"57014";
    ADMIN_SHUTDOWN = b"57P01";
    DATABASE_DROPPED = b"57P04";
    IDLE_SESSION_TIMEOUT = b"57P05";
    SYSTEM_ERROR = b"58000";
    IO_ERROR = b"58030";
    INTERNAL_ERROR = b"XX000";
    DATA_CORRUPTED = b"XX001";
}

impl SqlState {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much of the session a fault ends (Postgres: `elog.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Error,
    /// The connection closes after the message.
    Fatal,
}

/// Who has to act. Only `Server` counts against a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    Client,
    Server,
    Router,
}

/// Which part of the router said no. No two faults differ by it: clients are not told.
#[derive(Clone, Copy, Debug)]
pub struct Refuser(Option<&'static str>);

impl PartialEq for Refuser {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Refuser {}

/// One error as the client will see it. Boxed inside, so that `Result<_, Fault>` stays small on the hot path.
#[derive(Clone, PartialEq, Eq)]
pub struct Fault(Box<FaultFields>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultFields {
    pub severity: Severity,
    pub code: SqlState,
    pub message: Cow<'static, str>,
    pub detail: Option<Cow<'static, str>>,
    pub hint: Option<Cow<'static, str>>,
    /// Where in the statement, in characters from 1, as in the error field `P`.
    pub position: Option<u32>,
    /// The things that a server's error is about, by the letters of the error fields (`s`, `t`, `c`, `d`, `n`), and `R`: the routine of Postgres's
    /// by which drivers know it.
    pub about: Vec<(u8, Box<str>)>,
    pub blame: Blame,
    refuser: Refuser,
}

pub type Result<T, E = Fault> = std::result::Result<T, E>;

impl Fault {
    /// An ERROR blamed on the client's request.
    pub fn new(code: SqlState, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(FaultFields {
            severity: Severity::Error,
            code,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            about: Vec::new(),
            blame: Blame::Client,
            refuser: Refuser(None),
        }))
    }

    /// `0A000`: pgloom cannot do `what` exactly; `hint` tells the way out.
    #[track_caller]
    pub fn unsupported(
        what: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
        hint: impl Into<Cow<'static, str>>,
    ) -> Self {
        let mut fault = Self::new(SqlState::FEATURE_NOT_SUPPORTED, what).detail(detail).hint(hint);
        fault.0.refuser = Refuser(Some(std::panic::Location::caller().file()));
        fault
    }

    /// For the metrics: the file of this program that cannot do it, as `sql/locking`, that a limit of the router was reached, or that too
    /// many wait. `None`:
    /// it is no refusal of ours.
    pub fn refused_by(&self) -> Option<&'static str> {
        match (self.0.refuser.0, self.0.code) {
            (Some(file), _) => {
                let file = file.rsplit_once("src/").map_or(file, |(_, file)| file);
                Some(file.strip_suffix(".rs").unwrap_or(file))
            }
            (None, SqlState::CONFIGURATION_LIMIT_EXCEEDED) if self.0.blame != Blame::Server => Some("limit"),
            (None, SqlState::TOO_MANY_CONNECTIONS) if self.0.blame == Blame::Router => Some("overload"),
            (None, _) => None,
        }
    }

    /// `08P01`, fatal: the peer broke the protocol and the stream can no longer be trusted.
    pub fn protocol(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(SqlState::PROTOCOL_VIOLATION, message).fatal()
    }

    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    pub fn position(mut self, characters: u32) -> Self {
        self.0.position = Some(characters);
        self
    }

    /// About the schema, table, column, type or constraint that this error field is for.
    pub fn about(mut self, field: u8, name: impl Into<Box<str>>) -> Self {
        self.0.about.push((field, name.into()));
        self
    }

    /// Of another text than the client's.
    pub fn without_position(mut self) -> Self {
        self.0.position = None;
        self
    }

    /// Of a part of the client's text that begins after so many characters.
    pub fn moved(mut self, characters: u32) -> Self {
        self.0.position = self.0.position.and_then(|position| position.checked_add(characters));
        self
    }

    pub fn fatal(mut self) -> Self {
        self.0.severity = Severity::Fatal;
        self
    }

    pub fn blame(mut self, blame: Blame) -> Self {
        self.0.blame = blame;
        self
    }

    pub fn is_fatal(&self) -> bool {
        self.0.severity == Severity::Fatal
    }
}

impl std::ops::Deref for Fault {
    type Target = FaultFields;

    fn deref(&self) -> &FaultFields {
        &self.0
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.code.as_str())?;
        if let Some(detail) = &self.detail {
            write!(f, "; {detail}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_knows_where_it_was_made_and_is_the_same_from_everywhere() {
        let refused = Fault::unsupported("this", "that", "Do something else.");
        assert_eq!(refused.refused_by(), Some("fault"));
        assert_eq!(Fault::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "too much").refused_by(), Some("limit"));
        assert_eq!(Fault::new(SqlState::FEATURE_NOT_SUPPORTED, "by a server").refused_by(), None);
        let crowded = Fault::new(SqlState::TOO_MANY_CONNECTIONS, "too many");
        assert_eq!(crowded.clone().blame(Blame::Router).refused_by(), Some("overload"));
        assert_eq!(crowded.blame(Blame::Server).refused_by(), None);
        let alike = Fault::new(SqlState::FEATURE_NOT_SUPPORTED, "this").detail("that").hint("Do something else.");
        assert_eq!(refused, alike);
    }
}
