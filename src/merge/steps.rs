//! distinct, filter, sort; limit and offset and hidden columns are the merge's own.

use std::cmp::Ordering;
use std::collections::HashSet;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::fault::Fault;
use crate::merge::decimal::Decimal;
use crate::merge::key::{EqualityKey, Field, OrderKey, column, compare_fields, equality, lead, order, unreadable};
use crate::merge::{Budget, ColumnInfo, refused};
use crate::plan::combine::{Comparison, Condition};
use crate::types::canonical::KeyValue;
use crate::types::compare::{Comparator, Prepared, TextStyle};
use crate::types::{Format, KeyType, oid};
use crate::wire::row::RowView;

/// HAVING: keeps rows for which every condition is true.
#[derive(Debug)]
pub(super) struct Filter {
    conditions: Vec<Test>,
    finished: bool,
}

#[derive(Debug)]
struct Test {
    column: usize,
    comparator: Comparator,
    op: Comparison,
    /// The constant in the column's own wire format.
    constant: Vec<u8>,
    prepared: Prepared,
}

impl Filter {
    pub fn new(conditions: &[Condition], columns: &[ColumnInfo], style: TextStyle) -> Result<Self, Fault> {
        let conditions = conditions
            .iter()
            .map(|condition| {
                let Condition { column: index, op, value } = condition;
                let info = column(columns, *index)?;
                let comparator = match op {
                    Comparison::Eq | Comparison::Ne => equality(columns, *index, style)?,
                    Comparison::Lt | Comparison::Le | Comparison::Gt | Comparison::Ge => order(columns, *index, style)?,
                };
                let constant = wire_constant(info, value)
                    .ok_or_else(|| refused("this constant cannot be compared across shards", info))?;
                let prepared = comparator.prepare(&constant).map_err(unreadable)?;
                Ok(Test { column: *index, comparator, op: *op, constant, prepared })
            })
            .collect::<Result<_, Fault>>()?;
        Ok(Self { conditions, finished: false })
    }

    pub fn accept(&mut self, row: Bytes) -> Result<Option<Bytes>, Fault> {
        let view = RowView::parse(&row)?;
        for test in &self.conditions {
            if !test.holds(&view)? {
                return Ok(None);
            }
        }
        Ok(Some(row))
    }

    pub fn finish(&mut self) {
        self.finished = true;
    }

    pub fn is_draining(&self) -> bool {
        self.finished
    }
}

impl Test {
    fn holds(&self, row: &RowView<'_>) -> Result<bool, Fault> {
        let Some(value) = row.column(self.column)? else { return Ok(false) };
        let prepared = self.comparator.prepare(value).map_err(unreadable)?;
        let order = self.comparator.compare_prepared((prepared, value), (self.prepared, &self.constant));
        Ok(match self.op {
            Comparison::Eq => order.is_eq(),
            Comparison::Ne => order.is_ne(),
            Comparison::Lt => order.is_lt(),
            Comparison::Le => order.is_le(),
            Comparison::Gt => order.is_gt(),
            Comparison::Ge => order.is_ge(),
        })
    }
}

/// A constant spelled in SQL, as the shards would send it in the column's format. `None`: not with certainty.
fn wire_constant(column: &ColumnInfo, text: &str) -> Option<Vec<u8>> {
    let binary = column.format == Format::Binary;
    match column.type_oid {
        oid::FLOAT4 => {
            let value: f32 = text.trim().parse().ok()?;
            return Some(if binary { value.to_be_bytes().to_vec() } else { value.to_string().into_bytes() });
        }
        oid::FLOAT8 => {
            let value: f64 = text.trim().parse().ok()?;
            return Some(if binary { value.to_be_bytes().to_vec() } else { value.to_string().into_bytes() });
        }
        _ => {}
    }
    let key = KeyType::from_oid(column.type_oid)?;
    let value = key.parse_text(text).ok()?;
    Some(match (value, binary) {
        (KeyValue::Int(value), true) => match key {
            KeyType::Int2 => i16::try_from(value).ok()?.to_be_bytes().to_vec(),
            KeyType::Int4 => i32::try_from(value).ok()?.to_be_bytes().to_vec(),
            _ => value.to_be_bytes().to_vec(),
        },
        (KeyValue::Date(days), true) => days.to_be_bytes().to_vec(),
        (KeyValue::Timestamp(micros), true) => micros.to_be_bytes().to_vec(),
        (KeyValue::Timestamp(micros), false)
            if key == KeyType::Timestamptz && micros.unsigned_abs() < i64::MAX as u64 =>
        {
            format!("{}+00", KeyValue::Timestamp(micros)).into_bytes()
        }
        (KeyValue::Uuid(bytes), true) => bytes.to_vec(),
        (KeyValue::Bool(value), true) => vec![u8::from(value)],
        (KeyValue::Bool(value), false) => vec![if value { b't' } else { b'f' }],
        (KeyValue::Bytea(bytes), true) => bytes.into_owned(),
        (KeyValue::Text(text), _) => text.into_owned().into_bytes(),
        (KeyValue::Numeric(text), true) => {
            let mut bytes = BytesMut::new();
            Decimal::read(Format::Text, text.as_bytes())?.write(Format::Binary, &mut bytes);
            bytes.to_vec()
        }
        (KeyValue::Null | KeyValue::Inet { .. }, _) => return None,
        (value, false) => value.to_string().into_bytes(),
    })
}

/// Keeps the first of the rows that are equal in their first columns.
#[derive(Debug)]
pub(super) struct Distinct {
    key: EqualityKey,
    seen: Seen,
    finished: bool,
}

#[derive(Debug)]
enum Seen {
    /// Equal rows are neighbours: the last one that was kept.
    Last(Option<Bytes>),
    /// The keys of all that were kept.
    All(HashSet<Box<[u8]>>, Vec<u8>),
}

impl Distinct {
    pub fn new(count: usize, sorted: bool, columns: &[ColumnInfo], style: TextStyle) -> Result<Self, Fault> {
        let key = EqualityKey::new(0..count, columns, style)?;
        let seen = if sorted { Seen::Last(None) } else { Seen::All(HashSet::new(), Vec::new()) };
        Ok(Self { key, seen, finished: false })
    }

    pub fn accept(&mut self, row: Bytes, budget: &mut Budget) -> Result<Option<Bytes>, Fault> {
        let view = RowView::parse(&row)?;
        match &mut self.seen {
            Seen::Last(last) => {
                if let Some(last) = last
                    && self.key.equal(&RowView::parse(last)?, &view)?
                {
                    return Ok(None);
                }
                *last = Some(row.clone());
            }
            Seen::All(keys, scratch) => {
                self.key.hash_key(&view, scratch)?;
                if keys.contains(&scratch[..]) {
                    return Ok(None);
                }
                budget.take(scratch.len())?;
                keys.insert(scratch.as_slice().into());
            }
        }
        Ok(Some(row))
    }

    pub fn finish(&mut self) {
        self.finished = true;
    }

    pub fn is_draining(&self) -> bool {
        self.finished
    }
}

/// Sorts everything, in bounded memory; where only the first rows are wanted, it keeps no more than twice as many.
#[derive(Debug)]
pub(super) struct Sort {
    keys: Vec<OrderKey>,
    wanted: Option<usize>,
    held: Vec<Held>,
    /// The sorted rows, once all are there.
    sorted: Option<std::vec::IntoIter<Held>>,
}

#[derive(Debug)]
pub(super) struct Held {
    row: Bytes,
    lead: u128,
    fields: SmallVec<[Field; 2]>,
}

/// Fewer rows than this are not worth a sort in between.
const SMALLEST_CUT: usize = 1_024;

impl Sort {
    pub fn new(keys: Vec<OrderKey>, wanted: Option<u64>) -> Self {
        Self { keys, wanted: wanted.and_then(|n| usize::try_from(n).ok()), held: Vec::new(), sorted: None }
    }

    pub fn accept(&mut self, row: Bytes, budget: &mut Budget) -> Result<Option<Bytes>, Fault> {
        let view = RowView::parse(&row)?;
        let mut fields = SmallVec::with_capacity(self.keys.len());
        for key in &self.keys {
            fields.push(Field::read(key.comparator, &view, key.column)?);
        }
        budget.take(row.len() + size_of::<Held>())?;
        // A copy: the row is a part of a read buffer, and all of that would be kept with it.
        self.held.push(Held { lead: lead(&self.keys, &fields, &row), row: Bytes::copy_from_slice(&row), fields });
        if let Some(wanted) = self.wanted
            && self.held.len() >= wanted.saturating_mul(2).max(SMALLEST_CUT)
        {
            self.sort();
            self.held.drain(wanted..).for_each(|held| budget.give_back(held.row.len() + size_of::<Held>()));
        }
        Ok(None)
    }

    /// Stable, so that a cut in between does not change which of equal rows stay.
    fn sort(&mut self) {
        let keys = &self.keys;
        let order = |a: &Held, b: &Held| -> Ordering {
            a.lead.cmp(&b.lead).then_with(|| compare_fields(keys, (&a.fields, &a.row), (&b.fields, &b.row)))
        };
        self.held.sort_by(order);
    }

    pub fn finish(&mut self) {
        self.sort();
        self.sorted = Some(std::mem::take(&mut self.held).into_iter());
    }

    pub fn is_draining(&self) -> bool {
        self.sorted.is_some()
    }

    pub fn drain(&mut self) -> Option<Bytes> {
        self.sorted.as_mut()?.next().map(|held| held.row)
    }
}
