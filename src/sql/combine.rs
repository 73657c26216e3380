//! The vocabulary of tier 1: the merges that an analysis can ask for when a statement runs on several shards.

use crate::ids::Oid;
use crate::types::oid;

/// The merge of a scatter. Column numbers are positions in the shards' rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Combine {
    pub gather: Gather,
    /// Applied in order to the gathered rows.
    pub steps: Vec<Step>,
    /// Trailing columns of the rows (after the steps) that the client did not ask for: dropped last.
    pub hidden: usize,
    /// What of the shards' columns only the catalog has told.
    pub assumed: Assumed,
}

/// What a merge takes for granted of the shards' columns, and their replies can show to be so no more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assumed {
    /// Columns of text that are ordered by their bytes: a reply tells the type, and not the collation.
    pub texts: Vec<usize>,
    /// Where `*` stands for columns, the merge counts on their places: the names of those that are a table's.
    pub names: Vec<Option<Box<str>>>,
}

impl Combine {
    /// Rows as they come, nothing to do to them.
    pub const CONCAT: Combine = Combine {
        gather: Gather::Concat,
        steps: Vec::new(),
        hidden: 0,
        assumed: Assumed { texts: Vec::new(), names: Vec::new() },
    };

    /// Whether all rows are given on as they come.
    pub fn is_concatenation(&self) -> bool {
        matches!(self.gather, Gather::Concat) && self.steps.is_empty() && self.hidden == 0
    }

    /// Whether columns of these names can be those that the merge was planned for; `text`: of a type whose order its collation tells.
    pub fn fits<'a>(&self, columns: impl ExactSizeIterator<Item = (&'a str, bool)> + Clone) -> bool {
        let names = &self.assumed.names;
        let placed = names.is_empty()
            || columns.len() == names.len() + self.hidden
                && columns
                    .clone()
                    .zip(names)
                    .all(|((name, _), assumed)| assumed.as_deref().is_none_or(|of| of == name));
        placed
            && columns
                .enumerate()
                .all(|(at, (_, text))| !text || self.assumed.texts.contains(&at) || !self.compares(at))
    }

    /// Whether values of this column of the shards' rows are compared.
    pub(crate) fn compares(&self, column: usize) -> bool {
        let sorts = |keys: &[SortKey]| keys.iter().any(|key| key.column == column);
        let gathered = match &self.gather {
            Gather::MergeSort(keys) => sorts(keys),
            Gather::Concat | Gather::Interleave(_) => false,
        };
        // An aggregate has its outputs at their columns' places.
        gathered
            || self.steps.iter().any(|step| match step {
                Step::Aggregate { groups, outputs, .. } => {
                    let folds = |output: &Output| {
                        output.column == column && matches!(output.fold, Fold::Min | Fold::Max | Fold::Distinct(_))
                    };
                    groups.contains(&column) || outputs.iter().any(folds)
                }
                Step::Filter(conditions) => conditions.iter().any(|condition| condition.column == column),
                Step::Distinct { columns, .. } => column < *columns,
                Step::Sort(keys) => sorts(keys),
            })
    }
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
    /// Of the distinct values of the column: no partial ones, but the values themselves, in order within their group.
    Distinct(DistinctFold),
}

/// An aggregate over distinct values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistinctFold {
    Count,
    Sum,
    Avg,
}

impl Fold {
    /// The type of what it makes of a column of this type, where that is another than the column's own.
    pub fn makes(self, of: Oid) -> Option<Oid> {
        match self {
            Self::Key
            | Self::Count
            | Self::Sum
            | Self::Min
            | Self::Max
            | Self::BoolAnd
            | Self::BoolOr
            | Self::BitAnd
            | Self::BitOr
            | Self::BitXor => None,
            Self::Distinct(DistinctFold::Count) => Some(oid::INT8),
            Self::Distinct(DistinctFold::Sum) if matches!(of, oid::INT2 | oid::INT4) => Some(oid::INT8),
            Self::Avg { .. } | Self::Distinct(DistinctFold::Sum | DistinctFold::Avg) => Some(oid::NUMERIC),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted_by(column: usize, assumed: Assumed) -> Combine {
        let key = SortKey { column, descending: false, nulls_first: false };
        Combine { gather: Gather::MergeSort(vec![key]), assumed, ..Combine::CONCAT }
    }

    #[test]
    fn columns_in_other_places_do_not_fit() {
        let names = vec![Some("id".into()), None, Some("n".into())];
        let combine = sorted_by(2, Assumed { names, texts: Vec::new() });
        let fits = |names: &[&str]| combine.fits(names.iter().map(|name| (*name, false)));
        assert!(fits(&["id", "anything", "n"]));
        assert!(!fits(&["id", "n"]));
        assert!(!fits(&["id", "anything", "w"]));
        assert!(!fits(&["id", "anything", "n", "more"]));
        assert!(sorted_by(0, Assumed::default()).fits([("any", false), ("number", false)].into_iter()));
    }

    #[test]
    fn a_text_that_was_none_is_not_compared() {
        let combine = sorted_by(1, Assumed::default());
        assert!(combine.fits([("a", true), ("b", false)].into_iter()));
        assert!(!combine.fits([("a", false), ("b", true)].into_iter()));
        let combine = sorted_by(1, Assumed { texts: vec![1], names: Vec::new() });
        assert!(combine.fits([("a", false), ("b", true)].into_iter()));
        let least = Output { column: 0, fold: Fold::Min };
        let folded = Combine {
            steps: vec![Step::Aggregate { groups: vec![], sorted: false, outputs: vec![least] }],
            ..Combine::CONCAT
        };
        assert!(!folded.fits([("min", true)].into_iter()));
        assert!(Combine::CONCAT.fits([("a", true)].into_iter()));
    }
}
