//! The words that metrics and logs have for how a statement was answered, and for what ran out of time.

/// How a statement was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryClass {
    /// By one shard, its frames passed on untouched.
    Single,
    /// By several shards, each its own part: multi-row INSERT, COPY, DDL.
    Multi,
    /// By several shards whose answers were merged.
    Scatter,
    /// By a Postgres, from rows that were pulled from the shards.
    Finish,
    /// Not at all: refused by pgloom.
    Rejected,
    /// By pgloom itself.
    Local,
}

impl QueryClass {
    pub const ALL: [QueryClass; 6] = [
        QueryClass::Single,
        QueryClass::Multi,
        QueryClass::Scatter,
        QueryClass::Finish,
        QueryClass::Rejected,
        QueryClass::Local,
    ];

    pub fn label(self) -> &'static str {
        match self {
            QueryClass::Single => "single",
            QueryClass::Multi => "multi",
            QueryClass::Scatter => "scatter",
            QueryClass::Finish => "finish",
            QueryClass::Rejected => "rejected",
            QueryClass::Local => "local",
        }
    }
}

/// Who does the work of a plan, cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// No shard is asked.
    Router,
    /// Each shard has its part, and the answers are passed on or added up.
    Forward,
    /// The router merges rows.
    Merge,
    /// A Postgres finishes the statement on rows that are pulled.
    Postgres,
}

impl Tier {
    pub fn label(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Forward => "forward",
            Self::Merge => "merge",
            Self::Postgres => "postgres",
        }
    }
}

/// The kinds of plans: those of `plan::PlanKind`, and what needs none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    Local,
    Refuse,
    Single,
    Any,
    Broadcast,
    Each,
    CreateAs,
    Stamp,
    Scatter,
    Finish,
    Split,
    Deliver,
    Supply,
    Claim,
    CopyIn,
    Draw,
}

impl Route {
    pub const ALL: [Route; 16] = [
        Route::Local,
        Route::Refuse,
        Route::Single,
        Route::Any,
        Route::Broadcast,
        Route::Each,
        Route::CreateAs,
        Route::Stamp,
        Route::Scatter,
        Route::Finish,
        Route::Split,
        Route::Deliver,
        Route::Supply,
        Route::Claim,
        Route::CopyIn,
        Route::Draw,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Refuse => "refuse",
            Self::Single => "single",
            Self::Any => "any",
            Self::Broadcast => "broadcast",
            Self::Each => "each",
            Self::CreateAs => "create_as",
            Self::Stamp => "stamp",
            Self::Scatter => "scatter",
            Self::Finish => "finish",
            Self::Split => "split",
            Self::Deliver => "deliver",
            Self::Supply => "supply",
            Self::Claim => "claim",
            Self::CopyIn => "copy_in",
            Self::Draw => "draw",
        }
    }

    pub fn tier(self) -> Tier {
        match self {
            Self::Local | Self::Refuse => Tier::Router,
            Self::Single | Self::Any | Self::Broadcast | Self::Each | Self::Stamp | Self::Split | Self::CopyIn => {
                Tier::Forward
            }
            // Values are taken first; where the statement goes with them is counted by itself.
            Self::Draw => Tier::Forward,
            Self::Scatter | Self::Claim => Tier::Merge,
            Self::Finish | Self::Deliver | Self::Supply | Self::CreateAs => Tier::Postgres,
        }
    }

    pub fn class(self) -> QueryClass {
        match self {
            Self::Local => QueryClass::Local,
            Self::Refuse => QueryClass::Rejected,
            Self::Single | Self::Any | Self::Draw => QueryClass::Single,
            Self::Scatter | Self::Claim => QueryClass::Scatter,
            Self::Finish => QueryClass::Finish,
            Self::Broadcast
            | Self::Each
            | Self::CreateAs
            | Self::Stamp
            | Self::Split
            | Self::Deliver
            | Self::Supply
            | Self::CopyIn => QueryClass::Multi,
        }
    }
}

/// What has taken longer than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdue {
    /// query_timeout, or scatter_timeout.
    Statement,
    Transaction,
    IdleTransaction,
    ClientIdle,
    ClientWrite,
    /// Waiting for server connections.
    QueryWait,
    /// Connecting to a server, and logging in to it then.
    ServerConnect,
    ServerLogin,
    /// A client that does not finish its login.
    ClientLogin,
}

impl Overdue {
    pub const ALL: [Overdue; 9] = [
        Overdue::Statement,
        Overdue::Transaction,
        Overdue::IdleTransaction,
        Overdue::ClientIdle,
        Overdue::ClientWrite,
        Overdue::QueryWait,
        Overdue::ServerConnect,
        Overdue::ServerLogin,
        Overdue::ClientLogin,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Self::Statement => "statement",
            Self::Transaction => "transaction",
            Self::IdleTransaction => "idle_transaction",
            Self::ClientIdle => "client_idle",
            Self::ClientWrite => "client_write",
            Self::QueryWait => "query_wait",
            Self::ServerConnect => "server_connect",
            Self::ServerLogin => "server_login",
            Self::ClientLogin => "client_login",
        }
    }
}

/// How a commit in two phases ended, as its client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Committed,
    RolledBack,
    Unknown,
}

impl Ended {
    pub const ALL: [Ended; 3] = [Ended::Committed, Ended::RolledBack, Ended::Unknown];

    pub fn label(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::RolledBack => "rolled_back",
            Self::Unknown => "unknown",
        }
    }
}
