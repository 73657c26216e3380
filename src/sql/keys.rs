//! `KeyExpr`: sharding-key conditions as literal slot or parameter; what is not understood widens.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::ids::{DistributionId, Oid};

/// A value as the statement names it; what it is worth is known when its literals and parameters are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub source: Source,
    /// The type that the statement casts it to (`'5'::int`, `int8 '5'`); for arrays the type of their elements.
    pub cast: Option<Oid>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A literal that differs from call to call: its slot, and whether a minus stands before it.
    Slot {
        index: u16,
        negative: bool,
    },
    /// `$n` as n - 1. `shared`: the statement uses it elsewhere too, so its type may not be the key column's.
    Parameter {
        index: u16,
        shared: bool,
    },
    /// A string that is the same in every call.
    Text(Box<str>),
    /// A number that is the same in every call.
    Number {
        digits: Box<str>,
        negative: bool,
    },
    Bool(bool),
    Null,
    Computed(Box<Computed>),
}

/// What is made of other values, as every Postgres makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Computed {
    /// Arithmetic on integers.
    Of { op: Arithmetic, left: Value, right: Value },
    /// A function of integers.
    Call { function: IntegerFunction, args: Vec<Value> },
    /// The characters of a text.
    Length(Value),
    /// A text in small letters, or in capitals.
    Cased { text: Value, upper: bool },
    /// Two texts as one.
    Joined(Value, Value),
    /// COALESCE: the first that is not NULL.
    First { sort: Sort, values: Vec<Value> },
    /// NULLIF: NULL where both are equal.
    Unless { sort: Sort, value: Value, other: Value },
    /// CASE: the value behind the first condition that is true.
    Case { sort: Sort, branches: Vec<(Condition, Value)>, otherwise: Option<Value> },
    /// CASE with an operand: the value behind the first that is equal to it. They are compared as `of`.
    Switch { sort: Sort, of: Sort, operand: Value, branches: Vec<(Value, Value)>, otherwise: Option<Value> },
    /// `make_date`
    DateOfParts { year: Value, month: Value, day: Value },
    /// `to_date`
    DateRead { text: Value, format: Value },
    /// A date some days later.
    Later { date: Value, days: Value },
    /// A date some days earlier.
    Earlier { date: Value, days: Value },
    /// The date of a timestamp without time zone.
    DateOf(Value),
}

impl Computed {
    pub fn sort(&self) -> Sort {
        match self {
            Self::Of { .. } | Self::Call { .. } | Self::Length(_) => Sort::Integer,
            Self::Cased { .. } | Self::Joined(..) => Sort::Text,
            Self::First { sort, .. }
            | Self::Unless { sort, .. }
            | Self::Case { sort, .. }
            | Self::Switch { sort, .. } => *sort,
            Self::Later { .. }
            | Self::Earlier { .. }
            | Self::DateOf(_)
            | Self::DateOfParts { .. }
            | Self::DateRead { .. } => Sort::Date,
        }
    }
}

/// What kind of value is made of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Integer,
    Text,
    Date,
}

/// A condition of CASE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `None`: NULL.
    Is(Option<bool>),
    /// Of texts only whether they are equal.
    Compared {
        comparison: Comparison,
        sort: Sort,
        left: Value,
        right: Value,
    },
    IsNull {
        sort: Sort,
        value: Value,
    },
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntegerFunction {
    Abs,
    Greatest,
    Least,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    Plus,
    Minus,
    Times,
    Over,
    Modulo,
}

impl Value {
    pub fn plain(source: Source) -> Self {
        Self { source, cast: None }
    }

    /// Whether it is what a call, or a reckoning with dates, makes of others: where that cannot be known it narrows nothing.
    pub fn is_called(&self) -> bool {
        match &self.source {
            Source::Computed(computed) => match &**computed {
                Computed::Of { left, right, .. } => left.is_called() || right.is_called(),
                _ => true,
            },
            Source::Slot { .. }
            | Source::Number { .. }
            | Source::Text(_)
            | Source::Bool(_)
            | Source::Null
            | Source::Parameter { .. } => false,
        }
    }
}

/// What a key column is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    One(Value),
    /// `IS NOT DISTINCT FROM`: where it is null, nothing is known.
    OneOrNull(Value),
    /// `IN (...)`, `= ANY (ARRAY[...])`: every member counts.
    List(Vec<Value>),
    /// One of those that the statement gives beside the table. They narrow where its rows are, if they can be read; if not, they are
    /// anywhere.
    Beside(Vec<Value>),
    /// `= ANY ('{...}')`, `= ANY ($1)`
    Array(Value),
}

/// One end of a range and whether it belongs to it.
pub type Bound = (Value, bool);

/// What a statement's conditions say of the sharding key of one table reference. `column` is a position in the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyExpr {
    /// Nothing: the rows can be anywhere.
    Any,
    /// No row can match.
    Nothing,
    Equal {
        column: u8,
        operand: Operand,
    },
    Between {
        column: u8,
        low: Option<Bound>,
        high: Option<Bound>,
    },
    All(Vec<KeyExpr>),
    Either(Vec<KeyExpr>),
}

/// Members of a list that is compared with others.
const SHORT: usize = 16;

impl KeyExpr {
    /// The conjunction, with what says nothing left out.
    pub fn all(parts: Vec<KeyExpr>) -> KeyExpr {
        let mut kept: Vec<KeyExpr> = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                KeyExpr::Any => {}
                KeyExpr::Nothing => return KeyExpr::Nothing,
                KeyExpr::All(inner) => kept.extend(inner.into_iter().filter(|p| *p != KeyExpr::Any)),
                other if other.is_short() && kept.contains(&other) => {}
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => KeyExpr::Any,
            1 => kept.remove(0),
            _ => KeyExpr::All(kept),
        }
    }

    /// Whether it is soon compared with others: one that has a list in it is not, and whoever writes lists writes many.
    fn is_short(&self) -> bool {
        match self {
            Self::Any | Self::Nothing | Self::Between { .. } => true,
            Self::Equal { operand: Operand::One(_) | Operand::OneOrNull(_) | Operand::Array(_), .. } => true,
            Self::Equal { operand: Operand::List(values) | Operand::Beside(values), .. } => values.len() <= SHORT,
            Self::All(_) | Self::Either(_) => false,
        }
    }

    /// The disjunction: one arm that says nothing makes the whole say nothing.
    pub fn either(parts: Vec<KeyExpr>) -> KeyExpr {
        let mut kept: Vec<KeyExpr> = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                KeyExpr::Any => return KeyExpr::Any,
                KeyExpr::Nothing => {}
                KeyExpr::Either(inner) => kept.extend(inner),
                other => kept.push(other),
            }
        }
        match kept.len() {
            0 => KeyExpr::Nothing,
            1 => kept.remove(0),
            _ => KeyExpr::Either(kept),
        }
    }
}

/// The name of a sharding key, for EXPLAIN and messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    pub table: Box<str>,
    /// The key columns, separated by `, `.
    pub columns: Box<str>,
}

/// Table references whose rows are found by the same condition: all of them lie on the shards that it gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGroup {
    pub distribution: DistributionId,
    pub name: Arc<KeyName>,
    pub expr: KeyExpr,
}

/// The key of one row that an INSERT brings: a value for each key column.
pub type RowKey = SmallVec<[Value; 1]>;
