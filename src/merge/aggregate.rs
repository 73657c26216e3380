//! count, sum, min, max, bool and bit folded per group; overflow as Postgres raises it.

use std::cmp::Ordering;
use std::collections::HashMap;

use bytes::{BufMut, Bytes};

use crate::fault::{Fault, SqlState};
use crate::merge::decimal::{Decimal, Sum};
use crate::merge::key::{EqualityKey, Width, column, order, unreadable};
use crate::merge::values::{Made, Seen, Values, unsorted};
use crate::merge::{Budget, ColumnInfo, refused};
use crate::plan::combine::{Fold, Output};
use crate::types::compare::{Comparator, Prepared, TextStyle, Unreadable};
use crate::types::{Collation, Format, oid};
use crate::wire::row::{RowView, RowWriter};

/// GROUP BY and aggregates over the shards' partial rows.
#[derive(Debug)]
pub(super) struct Aggregate {
    key: EqualityKey,
    folders: Box<[Folder]>,
    groups: Groups,
    writer: RowWriter,
    draining: bool,
}

/// How one column of the result is made.
#[derive(Clone, Copy, Debug)]
struct Folder {
    column: usize,
    format: Format,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Key,
    Count,
    SumInt(Width),
    SumNumeric,
    /// The value whose comparison with the held one has this result wins.
    Extreme(Comparator, Ordering),
    Bool {
        and: bool,
    },
    Bits(Width, Bits),
    /// The sum's width where it is an integer, and the column and format of the count.
    Avg {
        sum: Option<Width>,
        count: usize,
        count_format: Format,
    },
    Values(Values),
}

#[derive(Clone, Copy, Debug)]
enum Bits {
    And,
    Or,
    Xor,
}

/// The value of one result column so far.
#[derive(Debug)]
enum State {
    Nothing,
    Int(i64),
    Bool(bool),
    /// A sum, and how many values are in it (`Avg`: how many the shards counted).
    Sum(Sum, i64),
    Value(Prepared, Bytes),
    /// In a box: groups in a hash table have none.
    Values(Box<Seen>),
}

#[derive(Debug)]
struct Group {
    /// The group's first row, which gives the grouping columns; none only where there are no groups and no rows.
    first: Option<Bytes>,
    states: Box<[State]>,
    /// The longest row that the budget was charged for (hashed groups).
    charged: usize,
}

#[derive(Debug)]
enum Groups {
    /// Without GROUP BY: one group, also of no rows.
    One(Option<Group>),
    /// Rows of a group are neighbours.
    Sorted(Option<Group>),
    Hashed {
        index: HashMap<Box<[u8]>, usize>,
        groups: Vec<Group>,
        scratch: Vec<u8>,
        next: usize,
    },
}

impl Aggregate {
    pub fn new(
        groups: &[usize],
        sorted: bool,
        outputs: &[Output],
        columns: &[ColumnInfo],
        style: TextStyle,
    ) -> Result<Self, Fault> {
        let key = EqualityKey::new(groups.iter().copied(), columns, style)?;
        let folders: Box<[Folder]> =
            outputs.iter().map(|output| Folder::new(output, columns, style)).collect::<Result<_, _>>()?;
        let groups = match (key.is_empty(), sorted) {
            (true, _) => Groups::One(Some(Group::empty(&folders))),
            (false, true) => Groups::Sorted(None),
            (false, false) if folders.iter().any(|folder| matches!(folder.kind, Kind::Values(_))) => {
                return Err(unsorted());
            }
            (false, false) => {
                Groups::Hashed { index: HashMap::new(), groups: Vec::new(), scratch: Vec::new(), next: 0 }
            }
        };
        Ok(Self { key, folders, groups, writer: RowWriter::new(), draining: false })
    }

    /// Of each result column: the column that it is made of, and its own type and format.
    pub fn columns(&self, outputs: &[Output], from: &[ColumnInfo]) -> Result<Vec<(usize, ColumnInfo)>, Fault> {
        outputs
            .iter()
            .map(|output| {
                let info = *column(from, output.column)?;
                let info = match output.fold.makes(info.type_oid) {
                    Some(type_oid) => ColumnInfo { type_oid, collation: Collation::None, ..info },
                    None => info,
                };
                Ok((output.column, info))
            })
            .collect()
    }

    pub fn accept(&mut self, row: Bytes, budget: &mut Budget) -> Result<Option<Bytes>, Fault> {
        let view = RowView::parse(&row)?;
        let folders = &self.folders;
        match &mut self.groups {
            Groups::One(None) => Ok(None),
            Groups::One(Some(group)) => {
                if group.first.is_none() {
                    group.first = Some(row.clone());
                }
                group.fold(folders, &view, |range| row.slice(range))?;
                Ok(None)
            }
            Groups::Sorted(current) => {
                if let Some(group) = current
                    && let Some(first) = &group.first
                    && self.key.equal(&RowView::parse(first)?, &view)?
                {
                    group.fold(folders, &view, |range| row.slice(range))?;
                    return Ok(None);
                }
                let complete = match current {
                    Some(group) => Some(group.write(folders, &mut self.writer)?),
                    None => None,
                };
                let group = current.get_or_insert_with(|| Group::empty(folders));
                folders.iter().zip(&mut group.states).for_each(|(folder, state)| *state = folder.start());
                group.fold(folders, &view, |range| row.slice(range))?;
                group.first = Some(row);
                Ok(complete)
            }
            Groups::Hashed { index, groups, scratch, .. } => {
                self.key.hash_key(&view, scratch)?;
                let at = match index.get(&scratch[..]) {
                    Some(at) => *at,
                    None => {
                        budget.take(scratch.len() + row.len() + folders.len() * size_of::<State>())?;
                        index.insert(scratch.as_slice().into(), groups.len());
                        // A copy: the row is a part of a read buffer, and all of that would be kept with it.
                        groups.push(Group { first: Some(Bytes::copy_from_slice(&row)), ..Group::empty(folders) });
                        groups.len() - 1
                    }
                };
                let copy = |range: std::ops::Range<usize>| Bytes::copy_from_slice(row.get(range).unwrap_or_default());
                if let Some(group) = groups.get_mut(at) {
                    // No state holds a value that is longer than the longest row.
                    if row.len() > group.charged {
                        let holding = folders.iter().filter(|folder| folder.holds_bytes()).count();
                        budget.take((row.len() - group.charged) * holding)?;
                        group.charged = row.len();
                    }
                    group.fold(folders, &view, copy)?;
                }
                Ok(None)
            }
        }
    }

    pub fn finish(&mut self) {
        self.draining = true;
    }

    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// The next complete group.
    pub fn drain(&mut self) -> Result<Option<Bytes>, Fault> {
        match &mut self.groups {
            Groups::One(group) | Groups::Sorted(group) => {
                group.take().map(|group| group.write(&self.folders, &mut self.writer)).transpose()
            }
            Groups::Hashed { index, groups, next, .. } => {
                // Not needed any more, and large.
                index.clear();
                let Some(slot) = groups.get_mut(*next) else { return Ok(None) };
                *next += 1;
                let group = std::mem::replace(slot, Group::empty(&[]));
                group.write(&self.folders, &mut self.writer).map(Some)
            }
        }
    }
}

impl Folder {
    fn new(output: &Output, columns: &[ColumnInfo], style: TextStyle) -> Result<Self, Fault> {
        let info = column(columns, output.column)?;
        let width = Width::of(info);
        let integer = |what| width.ok_or_else(|| refused(what, info));
        let kind = match output.fold {
            Fold::Key => Kind::Key,
            Fold::Count if width == Some(Width::Int8) => Kind::Count,
            Fold::Count => return Err(refused("counts of this type cannot be added up across shards", info)),
            Fold::Sum if info.type_oid == oid::NUMERIC => Kind::SumNumeric,
            Fold::Sum => Kind::SumInt(integer("sums of this type cannot be added up exactly across shards")?),
            Fold::Min => Kind::Extreme(order(columns, output.column, style)?, Ordering::Less),
            Fold::Max => Kind::Extreme(order(columns, output.column, style)?, Ordering::Greater),
            Fold::BoolAnd | Fold::BoolOr if info.type_oid == oid::BOOL => {
                Kind::Bool { and: output.fold == Fold::BoolAnd }
            }
            Fold::BoolAnd | Fold::BoolOr => {
                return Err(refused("only booleans are folded by bool_and and bool_or", info));
            }
            Fold::BitAnd => Kind::Bits(integer("bits of this type cannot be folded across shards")?, Bits::And),
            Fold::BitOr => Kind::Bits(integer("bits of this type cannot be folded across shards")?, Bits::Or),
            Fold::BitXor => Kind::Bits(integer("bits of this type cannot be folded across shards")?, Bits::Xor),
            Fold::Avg { count } => {
                let counts = column(columns, count)?;
                if Width::of(counts) != Some(Width::Int8) {
                    return Err(refused("counts of this type cannot be added up across shards", counts));
                }
                if width.is_none() && info.type_oid != oid::NUMERIC {
                    return Err(refused("averages of this type cannot be computed exactly across shards", info));
                }
                Kind::Avg { sum: width, count, count_format: counts.format }
            }
            Fold::Distinct(of) => Kind::Values(Values::new(of, columns, output.column, style)?),
        };
        Ok(Self { column: output.column, format: info.format, kind })
    }

    /// The state of no values.
    fn start(&self) -> State {
        match self.kind {
            Kind::SumNumeric | Kind::Avg { .. } => State::Sum(Sum::default(), 0),
            Kind::Values(_) => State::Values(Box::default()),
            Kind::Key | Kind::Count | Kind::SumInt(_) | Kind::Extreme(..) | Kind::Bool { .. } | Kind::Bits(..) => {
                State::Nothing
            }
        }
    }

    /// Whether its state grows with the value.
    fn holds_bytes(&self) -> bool {
        match self.kind {
            Kind::SumNumeric | Kind::Extreme(..) | Kind::Avg { .. } | Kind::Values(_) => true,
            Kind::Key | Kind::Count | Kind::SumInt(_) | Kind::Bool { .. } | Kind::Bits(..) => false,
        }
    }

    fn add_to(&self, sum: &mut Sum, width: Option<Width>, value: &[u8]) -> Result<(), Fault> {
        match width {
            Some(width) => sum.add_i64(width.read(self.format, value)?),
            None => sum.add(self.format, value).ok_or_else(|| unreadable(Unreadable))?,
        }
        Ok(())
    }

    /// Folds this row's value into `state`. `keep` makes a value that outlives the row.
    fn fold(
        &self,
        state: &mut State,
        row: &RowView<'_>,
        keep: impl FnOnce(std::ops::Range<usize>) -> Bytes,
    ) -> Result<(), Fault> {
        if matches!(self.kind, Kind::Key) {
            return Ok(());
        }
        let Some(value) = row.column(self.column)? else { return Ok(()) };
        let next = match (self.kind, &mut *state) {
            (Kind::Key, _) => return Ok(()),
            (Kind::Count, State::Int(held)) => {
                State::Int(add(Width::Int8, *held, Width::Int8.read(self.format, value)?)?)
            }
            (Kind::SumInt(width), State::Int(held)) => State::Int(add(width, *held, width.read(self.format, value)?)?),
            (Kind::Count, _) => State::Int(Width::Int8.read(self.format, value)?),
            (Kind::SumInt(width) | Kind::Bits(width, _), State::Nothing) => State::Int(width.read(self.format, value)?),
            (Kind::SumNumeric, State::Sum(sum, counted)) => {
                *counted = counted.saturating_add(1);
                return self.add_to(sum, None, value);
            }
            (Kind::Avg { sum: width, count, count_format }, State::Sum(sum, counted)) => {
                let Some(count) = row.column(count)? else { return Ok(()) };
                *counted = add(Width::Int8, *counted, Width::Int8.read(count_format, count)?)?;
                return self.add_to(sum, width, value);
            }
            (Kind::Extreme(comparator, wins), held) => {
                let prepared = comparator.prepare(value).map_err(unreadable)?;
                if let State::Value(held, bytes) = held
                    && comparator.compare_prepared((prepared, value), (*held, bytes)) != wins
                {
                    return Ok(());
                }
                State::Value(prepared, keep(row.range(self.column)?.unwrap_or_default()))
            }
            (Kind::Bool { and }, held) => {
                let value = match (self.format, value) {
                    (Format::Text, b"t") | (Format::Binary, [1]) => true,
                    (Format::Text, b"f") | (Format::Binary, [0]) => false,
                    _ => return Err(unreadable(Unreadable)),
                };
                match held {
                    State::Bool(held) if and => State::Bool(*held && value),
                    State::Bool(held) => State::Bool(*held || value),
                    _ => State::Bool(value),
                }
            }
            (Kind::Bits(width, bits), State::Int(held)) => {
                let value = width.read(self.format, value)?;
                State::Int(match bits {
                    Bits::And => *held & value,
                    Bits::Or => *held | value,
                    Bits::Xor => *held ^ value,
                })
            }
            (Kind::Values(values), State::Values(seen)) => {
                return values.fold(seen, self.format, value, || Ok(keep(row.range(self.column)?.unwrap_or_default())));
            }
            // A state is always of its folder's kind.
            (Kind::SumInt(_) | Kind::Bits(..) | Kind::SumNumeric | Kind::Avg { .. } | Kind::Values(_), _) => {
                return Ok(());
            }
        };
        *state = next;
        Ok(())
    }

    fn write(&self, state: &State, first: Option<&RowView<'_>>, writer: &mut RowWriter) -> Result<(), Fault> {
        match (self.kind, state) {
            (Kind::Key, _) => match first {
                Some(first) => writer.column(first.column(self.column)?),
                None => writer.null(),
            },
            (Kind::Count, State::Nothing) => self.write_int(Width::Int8, 0, writer),
            (Kind::Count, State::Int(value)) => self.write_int(Width::Int8, *value, writer),
            (Kind::SumInt(width) | Kind::Bits(width, _), State::Int(value)) => self.write_int(width, *value, writer),
            (Kind::SumNumeric, State::Sum(sum, 1..)) => self.write_numeric(&sum.total(), writer)?,
            (Kind::Avg { .. }, State::Sum(sum, count @ 1..)) => {
                self.write_numeric(&sum.total().divide_by_count(*count), writer)?;
            }
            (Kind::Values(values), State::Values(seen)) => match (values.made, seen.count) {
                (Made::Count, count) => self.write_int(Width::Int8, count, writer),
                (Made::SumInt(_) | Made::Sum(_) | Made::Avg(_), 0) => writer.null(),
                (Made::SumInt(_), _) => self.write_int(Width::Int8, seen.total, writer),
                (Made::Sum(_), _) => self.write_numeric(&seen.sum.total(), writer)?,
                (Made::Avg(_), count) => self.write_numeric(&seen.sum.total().divide_by_count(count), writer)?,
            },
            (_, State::Bool(value)) => writer.column(Some(match (self.format, value) {
                (Format::Text, true) => b"t",
                (Format::Text, false) => b"f",
                (Format::Binary, true) => &[1],
                (Format::Binary, false) => &[0],
            })),
            (_, State::Value(_, bytes)) => writer.column(Some(bytes)),
            (_, State::Nothing | State::Sum(..) | State::Int(_) | State::Values(_)) => writer.null(),
        }
        Ok(())
    }

    fn write_int(&self, width: Width, value: i64, writer: &mut RowWriter) {
        match (self.format, width) {
            (Format::Text, _) => writer.column_with(|out| write_digits(value, out)),
            // In range: checked by `add`, and bits of a width stay in it.
            (Format::Binary, Width::Int2) => writer.column(Some(&(value as i16).to_be_bytes())),
            (Format::Binary, Width::Int4) => writer.column(Some(&(value as i32).to_be_bytes())),
            (Format::Binary, Width::Int8) => writer.column(Some(&value.to_be_bytes())),
        }
    }

    fn write_numeric(&self, value: &Decimal, writer: &mut RowWriter) -> Result<(), Fault> {
        if !value.fits() {
            return Err(Fault::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format"));
        }
        writer.column_with(|out| value.write(self.format, out));
        Ok(())
    }
}

impl Group {
    fn empty(folders: &[Folder]) -> Self {
        Self { first: None, states: folders.iter().map(Folder::start).collect(), charged: 0 }
    }

    fn fold(
        &mut self,
        folders: &[Folder],
        row: &RowView<'_>,
        keep: impl Fn(std::ops::Range<usize>) -> Bytes,
    ) -> Result<(), Fault> {
        folders.iter().zip(&mut self.states).try_for_each(|(folder, state)| folder.fold(state, row, &keep))
    }

    fn write(&self, folders: &[Folder], writer: &mut RowWriter) -> Result<Bytes, Fault> {
        let first = self.first.as_deref().map(RowView::parse).transpose()?;
        writer.start();
        for (folder, state) in folders.iter().zip(&self.states) {
            folder.write(state, first.as_ref(), writer)?;
        }
        writer.finish()
    }
}

/// The sum in the column's own type, or the error that Postgres raises.
fn add(width: Width, a: i64, b: i64) -> Result<i64, Fault> {
    let sum = a.checked_add(b).filter(|sum| match width {
        Width::Int2 => i16::try_from(*sum).is_ok(),
        Width::Int4 => i32::try_from(*sum).is_ok(),
        Width::Int8 => true,
    });
    sum.ok_or_else(|| {
        let message = match width {
            Width::Int2 => "smallint out of range",
            Width::Int4 => "integer out of range",
            Width::Int8 => "bigint out of range",
        };
        Fault::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message)
    })
}

/// Decimal digits without an allocation.
fn write_digits(value: i64, out: &mut bytes::BytesMut) {
    let mut digits = [0u8; 20];
    let mut rest = value.unsigned_abs();
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.put_u8(b'-');
    }
    out.put_slice(&digits[at..]);
}
