//! `Outcome`: what an analysis decides, up to the values that one call brings.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::fault::Fault;
use crate::ids::{DistributionId, Oid, QualifiedName, ShardId, ShardSet};
use crate::sql::claim::Claim;
use crate::sql::combine::Combine;
use crate::sql::create_as::CreateAs;
use crate::sql::delivery::{Delivery, Depot};
use crate::sql::keys::{KeyExpr, KeyGroup, KeyName, RowKey};
use crate::sql::locked::Locked;
use crate::sql::pieces::Pieces;
use crate::sql::sequences::Draw;
use crate::sql::stamp::Stamped;
use crate::sql::supply::{Supplies, Supply};
use crate::sql::template::Slot;
use crate::sql::utility::CopyFormat;
use crate::sql::utility::encodings::FileEncoding;
use crate::topology::UniqueRule;
use crate::types::KeyType;
use crate::types::compare::TextStyle;

/// Where a statement goes, as far as it can be told without its values.
#[derive(Clone, Debug)]
pub enum Outcome {
    Refuse(Fault),
    /// To the home shard, as it is.
    Home(Why),
    /// To this one shard, as it is.
    Shard(ShardId, Why),
    /// To any shard, as it is.
    Any(Why),
    /// To every shard, with the same effect on each.
    Broadcast(Why),
    /// To each of these shards its own text, atomically; one answer.
    Parts(Arc<[(ShardId, Arc<str>)]>, Why),
    /// To each of these shards its own text, atomically and to one effect: the answer of the first is the client's.
    Each(Arc<[(ShardId, Arc<str>)]>, Why),
    CopyIn(Arc<CopyInPlan>),
    /// A definition on every shard, with values of the clock that are asked for first.
    Stamp(Arc<Stamped>),
    /// A table is made of rows that lie elsewhere.
    CreateAs(Arc<CreateAs>),
    /// By the sharding keys of the tables that it reads or changes.
    Routed(Routed),
    /// By the sharding keys of the rows that it brings.
    Insert(InsertRows),
    /// Nowhere before it has its values of sequences; then as the statement that it is with them.
    Draw(Arc<Draw>),
    /// Its rows are put together first: what they are tells where they go.
    Deliver(Arc<Delivery>),
    /// What it reads is put together first, and sent along with it.
    Supply(Arc<Supply>),
}

#[derive(Clone, Debug)]
pub struct Routed {
    /// One shard can run the statement when the conditions of all groups lead to it.
    pub groups: Vec<KeyGroup>,
    /// It also needs these shards. Not empty where there are no groups.
    pub also: ShardSet,
    /// UPDATE sets columns of the sharding key.
    pub key_change: Option<Box<KeyChange>>,
    /// What else can tell the one shard, where the sharding key does not.
    pub found_by: Vec<FoundBy>,
    /// How it runs on several shards.
    pub many: Result<Many, Fault>,
}

/// Values that are unique over all shards: all rows that matter lie on the shard of the one row that has them.
#[derive(Clone, Debug)]
pub struct FoundBy {
    pub rule: Arc<UniqueRule>,
    /// Of the table with that row.
    pub distribution: DistributionId,
    /// Of the rule's columns.
    pub types: SmallVec<[KeyType; 1]>,
    /// What is known of the rule's columns, by their places.
    pub expr: KeyExpr,
}

/// An UPDATE of the sharding key. Where the only shard that has such rows is that of the new key too, they stay there.
#[derive(Clone, Debug)]
pub struct KeyChange {
    /// The key that all changed rows have then, where it is known.
    pub new_key: Option<RowKey>,
    /// As in [`InsertRows`].
    pub typmods: SmallVec<[i32; 1]>,
    /// How the rows go to their new shards, or why they cannot.
    pub moved: Result<Arc<Delivery>, Fault>,
}

/// How a statement runs that one shard cannot answer: cheapest first.
#[derive(Clone, Debug)]
pub enum Many {
    Scatter(Scatter),
    Finish(Arc<Finish>),
    Deliver(Arc<Delivery>),
    Supply(Arc<Supply>),
    Claim(Arc<Claim>),
    /// Row locks of rows that are put together in one place.
    Locked(Arc<Locked>),
    /// An INSERT into a temporary table, in steps.
    Fill(Arc<CreateAs>),
}

impl Many {
    /// Whether it changes copies of reference tables, on every shard, beside what it does else.
    pub fn writes_copies(&self) -> bool {
        match self {
            Self::Finish(finish) => finish.writes_copies(),
            Self::Deliver(delivery) => delivery.finish.writes_copies(),
            Self::Supply(supply) => supply.finish.writes_copies(),
            Self::Scatter(_) | Self::Claim(_) | Self::Locked(_) | Self::Fill(_) => false,
        }
    }
}

/// A Postgres finishes the statement on rows that are pulled from the shards.
#[derive(Clone, Debug)]
pub struct Finish {
    /// Why the router does not merge the rows itself.
    pub reason: Arc<str>,
    /// Outside of a transaction: what the home shard has is read there.
    pub alone: FinishText,
    /// In a transaction: every table is pulled through its own connections.
    pub in_transaction: Result<FinishText, Fault>,
    /// What a server that has none of the tables needs; or why only the home shard can finish the statement.
    pub elsewhere: Result<Elsewhere, Arc<str>>,
    /// The statement is a COPY TO STDOUT.
    pub copy: bool,
    /// The statement is a DECLARE CURSOR.
    pub cursor: Option<Cursor>,
    /// For clients who may not read what is below the views.
    pub by_views: Option<Arc<ByViews>>,
    /// It takes values of sequences of the home shard.
    pub draws: bool,
}

/// How a statement is finished whose views the shards read by their names.
#[derive(Clone, Debug)]
pub struct ByViews {
    pub alone: FinishText,
    pub in_transaction: Option<FinishText>,
    /// The tables that the views, and the statement, read.
    pub below: Vec<QualifiedName>,
}

impl Finish {
    /// Whether some of its pulls change data.
    pub fn writes(&self) -> bool {
        self.alone.pulls.iter().any(|pull| pull.writes)
    }

    /// Whether some of them change copies of reference tables.
    pub fn writes_copies(&self) -> bool {
        self.alone.pulls.iter().any(|pull| pull.source == PullSource::Copies)
    }
}

/// How a Postgres beside the shards finishes a statement outside of a transaction; in one, every table is pulled anyhow.
#[derive(Clone, Debug)]
pub struct Elsewhere {
    /// Every table is pulled; `None`: [`Finish::alone`] pulls all of them.
    pub text: Option<FinishText>,
    /// Names in pg_catalog, sorted, of the collations that the server must have as the home shard has them.
    pub collations: Arc<[Box<str>]>,
}

/// A cursor over rows of several shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub name: Box<str>,
    /// Where its query begins in the statement, in bytes.
    pub query: usize,
    /// It outlives its transaction.
    pub hold: bool,
}

#[derive(Clone, Debug)]
pub struct FinishText {
    pub pulls: Vec<PullText>,
    pub sql: Pieces,
    pub reads_home: Option<Box<str>>,
    /// It reads no table but through pulls.
    pub pulls_all: bool,
    pub clock: Option<Box<str>>,
    /// `sql` asks the connection's own functions for the time (see [`crate::sql::clock`]).
    pub own_clock: bool,
    /// Some table is neither on every shard nor on the home shard.
    pub foreign: bool,
    /// How many rows the statement gives at most, where that is known: of none, no rows are pulled.
    pub limit: Option<Count>,
    /// The table that `sql` fills, where it is an INSERT.
    pub depot: Option<Arc<Depot>>,
    /// Views whose definitions stand in the place of their names, and whether the client's own text names them.
    pub views: Vec<(QualifiedName, bool)>,
    /// Where there are such, the tables that the statement reads then.
    pub below: Vec<QualifiedName>,
    /// What pulls that change data, by their places, are sent along: the statement of each is that of its supply.
    pub supplies: Supplies,
}

/// A parameter of a pull that is none of the client's: the start of the transaction that the client is in, a timestamptz. (A Bind
/// has 65,535 parameters at most: this is beyond them.)
pub const TRANSACTION_MOMENT: u16 = u16::MAX;
/// The same for the start of the statement; used only where the client's statement has not this parameter itself.
pub const STATEMENT_MOMENT: u16 = u16::MAX - 1;

/// What fills one input, up to the values of a call; see [`crate::plan::finish::Pull`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullText {
    pub name: String,
    /// What its rows are, for people.
    pub label: Box<str>,
    /// `None`: the rows are what the shards make of a whole query.
    pub table: Option<QualifiedName>,
    /// Name, type, type modifier.
    pub columns: Vec<(Box<str>, Oid, i32)>,
    pub primary_key: Vec<usize>,
    /// Whether binary values mean the same on every server; `None`: where all types of the input are Postgres's own.
    pub binary: Option<bool>,
    pub source: PullSource,
    /// `SELECT ... FROM ...`, which says what columns there are.
    pub head: String,
    /// The search path by which names in `head` are read; empty where all are qualified.
    pub path: Box<str>,
    /// The query that the shards run, where it is not `head` with conditions.
    pub whole: Option<Pieces>,
    /// The same columns without a table, where the home shard does not have it.
    pub create: Option<String>,
    /// Conjuncts that every row that matters fulfils.
    pub filters: Vec<Pieces>,
    /// No more than the first rows of each shard are needed, if all of `filters` go down.
    pub top: Option<Top>,
    /// Columns that only rows matter with some of these values of.
    pub keys: Vec<Keys>,
    /// Asked for when all pulls of earlier stages have arrived.
    pub stage: usize,
    /// It changes data, and its rows are what it returns.
    pub writes: bool,
}

/// Values that a column must have, known when other rows have arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    pub from: KeysFrom,
    /// The column of the pulled table, not quoted.
    pub column: Box<str>,
    /// The type of an array of the values.
    pub array: Oid,
    /// The column is the whole sharding key in this distribution: the values also say on which shards.
    pub routes: Option<DistributionId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysFrom {
    /// A column of the input that another pull fills.
    Input { pull: usize, column: Box<str> },
    /// A query over an unsharded table, for the connection that finishes the statement.
    Home(Pieces),
}

/// ORDER BY and LIMIT of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    pub order: Pieces,
    /// Of the whole statement.
    pub limit: Limit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullSource {
    /// The rows that any of these conditions allows.
    Sharded(Vec<KeyGroup>),
    Reference,
    /// A change of a reference table: every shard makes it, to one effect, and the rows are those of one of them.
    Copies,
    /// One shard has them all.
    One(ShardId),
    /// Rows that are inserted, each where its key says.
    Rows(Arc<RowsOfKeys>),
}

/// The rows of a VALUES list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsOfKeys {
    pub distribution: DistributionId,
    pub name: Arc<KeyName>,
    /// In the order of VALUES.
    pub rows: Vec<RowKey>,
    /// Type modifiers of the key columns.
    pub typmods: SmallVec<[i32; 1]>,
    /// Each row comes back, if anything does.
    pub all_return: bool,
}

/// How a statement runs on several shards, whichever they are.
#[derive(Clone, Debug)]
pub struct Scatter {
    pub sql: ScatterSql,
    pub combine: Arc<Combine>,
    pub limit: Option<Limit>,
    /// How values must be printed for the merge to read them.
    pub style: TextStyle,
    /// How the statement runs where they are printed in a form that the router cannot compare.
    pub otherwise: Option<Arc<Finish>>,
}

/// LIMIT and OFFSET of the whole result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Limit {
    pub limit: Option<Count>,
    pub offset: Option<Count>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    Constant(i64),
    /// `$n` as n - 1.
    Parameter(u16),
}

impl Scatter {
    /// Every shard runs the statement as it is; the rows come in any order.
    pub fn concat() -> Self {
        let combine = Arc::new(Combine::CONCAT);
        Self { sql: ScatterSql::AsWritten, combine, limit: None, style: TextStyle::NONE, otherwise: None }
    }
}

/// INSERT of rows whose keys are constants or parameters.
#[derive(Clone, Debug)]
pub struct InsertRows {
    pub distribution: DistributionId,
    pub name: Arc<KeyName>,
    /// In the order of VALUES.
    pub rows: Vec<RowKey>,
    /// Type modifiers of the key columns: a value that does not fit them is stored as another.
    pub typmods: SmallVec<[i32; 1]>,
    /// Sharded tables that the statement reads: all rows must go where these lie.
    pub groups: Vec<KeyGroup>,
    /// It also needs these shards.
    pub also: ShardSet,
    /// How rows for several shards are sent, or why they cannot be.
    pub many: Result<ManyRows, Fault>,
    /// How the rows are sent where only a Postgres knows what is stored as their keys: another spelling, a value that is rounded.
    pub uncertain: Option<Arc<Delivery>>,
}

/// How the rows of an INSERT reach several shards.
#[derive(Clone, Debug)]
pub enum ManyRows {
    Split(Split),
    Deliver(Arc<Delivery>),
    /// WITH inserts them, and the statement around it is finished by a Postgres.
    Finish(Arc<Finish>),
    /// The same, and it changes rows.
    Supply(Arc<Supply>),
}

/// INSERT ... VALUES cut by shard: each gets the text with its own rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Rows come back by RETURNING, in the order of VALUES.
    pub returns: bool,
}

/// The text that every shard gets, up to the values of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScatterSql {
    AsWritten,
    Rewritten {
        text: Pieces,
        /// Whether the text uses only some of the client's parameters, and numbers them anew.
        fewer: bool,
    },
}

impl ScatterSql {
    /// The text of one call; `None`: the call has not the literals that the statement has.
    pub fn fill(&self, text: &str, slots: &[Slot]) -> Option<ShardSql> {
        Some(match self {
            ScatterSql::AsWritten => ShardSql::AsWritten,
            ScatterSql::Rewritten { text: pieces, fewer } => {
                let (mut out, mut used) = (String::new(), Vec::new());
                let mut moments = Vec::new();
                pieces.fill_but_time(&mut out, text, slots, &mut used, &mut moments)?;
                let parameters = fewer.then(|| used.into());
                match moments.is_empty() {
                    true => ShardSql::Rewritten { text: out.into(), parameters },
                    false => ShardSql::Timed { text: out.into(), moments: moments.into(), parameters },
                }
            }
        })
    }
}

/// The text that a shard gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardSql {
    AsWritten,
    Rewritten {
        text: Arc<str>,
        /// Which of the client's parameters ($n as n - 1) become $1, $2, ... of `text`; `None`: all, in order.
        parameters: Option<Arc<[u16]>>,
    },
    /// The same, and the time of the transaction is to be written into it, the same for all shards.
    Timed {
        text: Arc<str>,
        /// At these bytes of it, in ascending order.
        moments: Arc<[usize]>,
        parameters: Option<Arc<[u16]>>,
    },
}

impl ShardSql {
    /// Whether it needs the time before it can be sent.
    pub fn needs_time(&self) -> bool {
        matches!(self, Self::Timed { .. })
    }

    /// The text of a call of whose rows none is needed: nothing in it is computed. What is as written says so itself.
    pub fn without_rows(self) -> Self {
        const BEFORE: &str = "SELECT * FROM (";
        let wrapped = |text: &str| format!("{BEFORE}{text}) AS pgloom_none LIMIT 0").into();
        match self {
            Self::AsWritten => Self::AsWritten,
            Self::Rewritten { text, parameters } => Self::Rewritten { text: wrapped(&text), parameters },
            Self::Timed { text, moments, parameters } => {
                let moments = moments.iter().map(|at| at + BEFORE.len()).collect();
                Self::Timed { text: wrapped(&text), moments, parameters }
            }
        }
    }

    /// The text with the time in it. `time`: a literal that every server reads alike.
    pub fn told(&self, time: &str) -> Self {
        let Self::Timed { text, moments, parameters } = self else { return self.clone() };
        let mut out = String::with_capacity(text.len() + moments.len() * time.len());
        let mut from = 0;
        for at in moments.iter() {
            out.push_str(text.get(from..*at).unwrap_or_default());
            out.push_str(time);
            from = *at;
        }
        out.push_str(text.get(from..).unwrap_or_default());
        Self::Rewritten { text: out.into(), parameters: parameters.clone() }
    }
}

/// A column of a COPY's rows, and its type and type modifier where its values are known to be stored as they are read here.
pub type StoredColumn = (Box<str>, Option<(KeyType, i32)>);

/// How the rows of a COPY FROM STDIN find their shard.
#[derive(Clone, Debug)]
pub struct CopyInPlan {
    /// `None`: a reference table, every row goes to every shard.
    pub distribution: Option<DistributionId>,
    /// Name of the table, for messages.
    pub table: QualifiedName,
    /// Fields of a row (columns of the COPY's column list).
    pub fields: usize,
    /// For each sharding-key column: its field's position ([`Self::ABSENT`]: it has none) and its name.
    pub key_fields: Vec<(usize, Box<str>)>,
    /// Types of the key columns, in whose form binary values come; `None`: not known.
    pub types: Vec<Option<Oid>>,
    /// Type modifiers of the key columns (see [`crate::plan::route::fits_typmod`]).
    pub typmods: Vec<i32>,
    /// Which of the key columns no shard takes a NULL for: such a row is WHERE's or the shard's to refuse, whichever it is sent to.
    pub not_null: Vec<bool>,
    /// Fields whose texts are read as times, and the names of their columns: each shard would read `now` at a moment of its own.
    pub times: Vec<(usize, Box<str>)>,
    pub format: CopyFormat,
    /// The rows are text in another encoding than UTF-8.
    pub encoding: Option<FileEncoding>,
    /// Whether ENCODING lets bytes in that make no characters (SQL_ASCII); `None`: as the session's `client_encoding` does.
    pub unverified: Option<bool>,
    /// The columns of the rows, and the type and type modifier of those whose values are known to be stored as they are read here; none where
    /// a shard may store others, or leave rows out.
    pub stored: Vec<StoredColumn>,
    /// Columns that the rows leave out and that take values of sequences.
    pub fill: Option<CopyFill>,
}

impl CopyInPlan {
    /// The place of a key column that the rows leave out and no shard takes without a value.
    pub const ABSENT: usize = usize::MAX;
}

/// What the router adds to the rows of a COPY.
#[derive(Clone, Debug)]
pub struct CopyFill {
    /// The statement that names the added columns too.
    pub text: Arc<str>,
    /// Each column's name and type, and the sequence.
    pub columns: Vec<(Box<str>, Oid, QualifiedName)>,
    /// Behind them, columns whose defaults read the clock, which each shard would read at a moment of its own, or make the sharding key:
    /// name and default.
    pub clocks: Vec<(Box<str>, Box<str>)>,
    /// Behind these, columns of which each row has a random uuid of its own, the same wherever it goes.
    pub uuids: Vec<Box<str>>,
}

impl CopyFill {
    /// The names of the columns that are added, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let columns = self.columns.iter().map(|(name, ..)| &**name);
        columns.chain(self.clocks.iter().map(|(name, _)| &**name)).chain(self.uuids.iter().map(|name| &**name))
    }
}

/// Why a statement goes where it goes: for EXPLAIN (ROUTE), logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The sharding key has one value.
    Key(Arc<KeyName>),
    /// Several key values or a key range, on these shards.
    Keys(Arc<KeyName>),
    /// Nothing restricts the key.
    NoKey(Arc<KeyName>),
    /// Conditions that contradict each other: no row can match.
    Contradiction,
    /// The key is compared with what is no value of its type: Postgres has an error for it.
    NoValue(Arc<KeyName>),
    Unsharded,
    /// It lies in this schema, which is placed whole.
    Schema(Box<str>),
    Reference,
    /// No table at all.
    NoTable,
    /// It names a cursor: the session knows where that is.
    Cursor,
    Ddl,
    /// What cannot run in a transaction: one shard after the other.
    OneByOne(Arc<OneByOne>),
    /// The registry of values that are unique over all shards says where the row is.
    Unique(Arc<UniqueRule>),
    /// A hint or `pgloom.shard` said so.
    Hint,
    Refused,
    /// By values of sequences that are not taken yet.
    Sequence,
}

/// A command that each shard runs for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneByOne {
    /// As messages name it.
    pub command: Box<str>,
    /// The index that it makes where there is none (IF NOT EXISTS): one that is not valid must not pass for it.
    pub index: Option<QualifiedName>,
    /// The parent and the partition that it detaches: what has been detached on a shard is not detached again.
    pub detached: Option<(QualifiedName, QualifiedName)>,
    /// What to do when it has failed half way.
    pub remedy: &'static str,
    /// Postgres runs it in a transaction block too, where all shards do it or none.
    pub in_block: bool,
    /// What each shard runs, where it names what not all of them have; the shards that are not here have nothing to do.
    pub parts: Option<TextOfShards>,
}

/// A text of its own for each of these shards.
pub type TextOfShards = Arc<[(ShardId, Arc<str>)]>;
