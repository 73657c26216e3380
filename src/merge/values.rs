//! count, sum and avg over the distinct values of a group. Equal values come next to each other, so one of them is all that is kept.

use bytes::Bytes;

use crate::fault::{Blame, Fault, SqlState};
use crate::merge::decimal::Sum;
use crate::merge::key::{Width, column, order, unreadable};
use crate::merge::{ColumnInfo, refused};
use crate::plan::combine::DistinctFold;
use crate::types::compare::{Comparator, Prepared, TextStyle, Unreadable};
use crate::types::{Format, oid};

/// What is made of the distinct values of one column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values {
    comparator: Comparator,
    pub made: Made,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Made {
    Count,
    /// A bigint.
    SumInt(Width),
    /// A numeric; of integers of this width.
    Sum(Option<Width>),
    Avg(Option<Width>),
}

/// The distinct values of a group so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    last: Option<(Prepared, Bytes)>,
    pub count: i64,
    pub sum: Sum,
    /// Of [`Made::SumInt`].
    pub total: i64,
}

impl Values {
    pub fn new(of: DistinctFold, columns: &[ColumnInfo], index: usize, style: TextStyle) -> Result<Self, Fault> {
        let info = column(columns, index)?;
        let comparator = order(columns, index, style)?;
        let width = Width::of(info);
        if of != DistinctFold::Count && width.is_none() && info.type_oid != oid::NUMERIC {
            return Err(refused("distinct values of this type cannot be added up exactly across shards", info));
        }
        let made = match (of, width) {
            (DistinctFold::Count, _) => Made::Count,
            (DistinctFold::Sum, Some(width @ (Width::Int2 | Width::Int4))) => Made::SumInt(width),
            (DistinctFold::Sum, width) => Made::Sum(width),
            (DistinctFold::Avg, width) => Made::Avg(width),
        };
        Ok(Self { comparator, made })
    }

    /// Takes the next value. `keep` makes one that outlives its row.
    pub fn fold(
        &self,
        seen: &mut Seen,
        format: Format,
        value: &[u8],
        keep: impl FnOnce() -> Result<Bytes, Fault>,
    ) -> Result<(), Fault> {
        let prepared = self.comparator.prepare(value).map_err(unreadable)?;
        if let Some((last, bytes)) = &seen.last
            && self.comparator.compare_prepared((*last, bytes), (prepared, value)).is_eq()
        {
            return Ok(());
        }
        seen.last = Some((prepared, keep()?));
        seen.count = seen.count.saturating_add(1);
        match self.made {
            Made::Count => {}
            // There are too few smaller integers to overflow a bigint.
            Made::SumInt(width) => seen.total = seen.total.saturating_add(width.read(format, value)?),
            Made::Sum(Some(width)) | Made::Avg(Some(width)) => seen.sum.add_i64(width.read(format, value)?),
            Made::Sum(None) | Made::Avg(None) => {
                seen.sum.add(format, value).ok_or_else(|| unreadable(Unreadable))?;
            }
        }
        Ok(())
    }
}

/// Groups in a hash table have their values in no order.
pub(super) fn unsorted() -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, "distinct values are counted in order, and none was asked for")
        .blame(Blame::Router)
}
