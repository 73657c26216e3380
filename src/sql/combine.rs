//! The vocabulary of tier 1: the merges that an analysis can ask for when a statement runs on several shards.

/// The merge of a scatter. Column numbers are positions in the shards' rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Combine {
    pub gather: Gather,
    /// Applied in order to the gathered rows.
    pub steps: Vec<Step>,
    /// Trailing columns of the rows (after the steps) that the client did not ask for: dropped last.
    pub hidden: usize,
}

impl Combine {
    /// Rows as they come, nothing to do to them.
    pub const CONCAT: Combine = Combine { gather: Gather::Concat, steps: Vec::new(), hidden: 0 };
}

/// N streams to one.
#[derive(Clone, Debug, PartialEq)]
pub enum Gather {
    /// In whatever order the shards answer.
    Concat,
    /// Each shard's rows are sorted by these keys already.
    MergeSort(Vec<SortKey>),
    /// The next row comes from the input with this position in the list of shards (RETURNING of a split INSERT).
    Interleave(Vec<u16>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

/// One stream to one.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Rows with equal `groups` columns are one group and come next to each other when `sorted`
    /// (else a hash table with a memory limit). No group column: exactly one row comes out, also of no rows.
    /// The columns of the result are `outputs`, in order.
    Aggregate { groups: Vec<usize>, sorted: bool, outputs: Vec<Output> },
    /// Keeps rows for which every condition is true.
    Filter(Vec<Condition>),
    /// Keeps the first of the rows that are equal in all of the first `columns` columns (adjacent when `sorted`).
    Distinct { columns: usize, sorted: bool },
    /// Sorts everything, in bounded memory.
    Sort(Vec<SortKey>),
}

/// One column of an aggregate's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Output {
    /// Column of the partial row.
    pub column: usize,
    pub fold: Fold,
}

/// How partial values of one column become the final one. NULL partials are skipped, all NULL gives NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// A grouping column: the value of the group's first row.
    Key,
    /// Partial counts (int8) added up; never NULL.
    Count,
    /// Partial sums added up in the column's own type (int8, numeric); `22003` on overflow as Postgres raises it.
    Sum,
    Min,
    Max,
    BoolAnd,
    BoolOr,
    BitAnd,
    BitOr,
    BitXor,
    /// `avg` of integers or numeric: `column` holds the partial sum, the column named here the partial count.
    Avg {
        count: usize,
    },
}

/// `column op constant` over a provably comparable type; NULL is not true.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub column: usize,
    pub op: Comparison,
    /// The constant in text format, of the column's type.
    pub value: Box<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// LIMIT and OFFSET of the whole result, values evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub offset: u64,
    pub limit: Option<u64>,
}
