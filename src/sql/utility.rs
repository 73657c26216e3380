//! Utility statements, told apart by their leading keywords without a full parse.

/// What a statement is to the session: which of its own state it touches, whatever shards it goes to.
#[derive(Clone, Debug, PartialEq)]
pub enum StatementKind {
    /// Nothing but blanks and comments.
    Empty,
    /// SELECT, VALUES, TABLE, WITH: returns rows.
    Query,
    Insert,
    Update,
    Delete,
    Merge,
    Copy(Box<CopyStatement>),
    Transaction(TransactionStatement),
    Set(SetStatement),
    /// `SHOW name` of a Postgres setting (any server answers, after the session's settings are applied).
    Show(Box<str>),
    /// `SHOW pgloom.name`: answered by the router.
    ShowRouter(Box<str>),
    /// `EXPLAIN (ROUTE) stmt`: the bytes of the inner statement start at `.0`; `json` when FORMAT JSON.
    ExplainRoute {
        inner: usize,
        json: bool,
    },
    /// Any other EXPLAIN, of the statement that starts at the byte.
    Explain {
        inner: usize,
        analyze: bool,
    },
    /// SQL-level PREPARE / EXECUTE / DEALLOCATE.
    Prepare,
    Execute,
    Deallocate,
    /// DECLARE CURSOR (`hold`: WITH HOLD), FETCH, MOVE, CLOSE.
    Declare {
        hold: bool,
    },
    Fetch,
    CloseCursor,
    Listen,
    Unlisten,
    Notify,
    /// DISCARD ALL | PLANS | SEQUENCES | TEMP
    Discard(DiscardTarget),
    /// CREATE, ALTER, DROP, GRANT, REVOKE, COMMENT, TRUNCATE, REINDEX, REFRESH, SECURITY LABEL, REASSIGN.
    Ddl,
    /// VACUUM, ANALYZE, CLUSTER, CHECKPOINT: maintenance, outside transaction blocks or not.
    Maintenance,
    /// LOCK TABLE
    Lock,
    /// DO, CALL: code whose effect cannot be seen.
    Code,
    /// None of the above; sqlparser may know it.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscardTarget {
    All,
    Plans,
    Sequences,
    Temp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionStatement {
    /// `BEGIN ...` / `START TRANSACTION ...`: the modes as written after the keyword(s), to be repeated on each shard.
    Begin {
        modes: Box<str>,
        start_transaction: bool,
    },
    /// COMMIT / END, with AND CHAIN or not.
    Commit {
        chain: bool,
    },
    /// ROLLBACK / ABORT
    Rollback {
        chain: bool,
    },
    Savepoint(Box<str>),
    RollbackTo(Box<str>),
    Release(Box<str>),
    /// PREPARE TRANSACTION / COMMIT PREPARED / ROLLBACK PREPARED of the client's own: refused.
    TwoPhase,
    /// SET TRANSACTION modes / SET SESSION CHARACTERISTICS are in [`SetStatement`].
    SetConstraints,
}

/// SET and RESET. `value` is the SQL after `=`/`TO`, ready to be repeated (`SET name TO value`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetStatement {
    /// `SET [SESSION] name TO value`; name lower-cased (`TIME ZONE x` is name `timezone`, `ROLE x` is `role`,
    /// `SESSION AUTHORIZATION x` is `session_authorization`, `NAMES x` is `client_encoding`). DEFAULT is `Reset`.
    Session {
        name: Box<str>,
        value: Box<str>,
    },
    /// `SET LOCAL ...`: ends with the transaction.
    Local {
        name: Box<str>,
        value: Box<str>,
    },
    Reset(Box<str>),
    ResetAll,
    /// `SET TRANSACTION modes` (text after the keywords): for the current transaction.
    Transaction(Box<str>),
    /// `SET SESSION CHARACTERISTICS AS TRANSACTION modes`
    Characteristics(Box<str>),
    /// `SET pgloom.name TO value` / `RESET pgloom.name` (value None): for the router itself.
    Router {
        name: Box<str>,
        value: Option<Box<str>>,
        local: bool,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct CopyStatement {
    pub direction: CopyDirection,
    /// `None`: COPY (query) TO.
    pub table: Option<CopyTable>,
    pub format: CopyFormat,
    pub endpoint: CopyEndpoint,
    /// COPY ... FROM ... WHERE present.
    pub filtered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyTable {
    /// As written, folded: one or two parts.
    pub schema: Option<Box<str>>,
    pub name: Box<str>,
    /// Empty: all columns that are not generated.
    pub columns: Vec<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyDirection {
    From,
    To,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyEndpoint {
    /// STDIN / STDOUT
    Client,
    File,
    Program,
}

/// Options that change where rows and fields end; the others are the servers' business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    Text {
        delimiter: u8,
        null: Box<str>,
        header: bool,
    },
    Csv {
        delimiter: u8,
        quote: u8,
        escape: u8,
        null: Box<str>,
        header: bool,
        force_not_null: Vec<Box<str>>,
        force_null: Vec<Box<str>>,
    },
    Binary,
}
