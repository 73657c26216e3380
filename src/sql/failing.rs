//! What can fail for some value. A Postgres comes to a subquery in an expression only when it needs it, and not at all to a query of a WITH
//! that nothing reads, or below LIMIT 0: what is done of it beforehand must not fail where that Postgres would never have looked.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, Ident, Query, TableFactor, UnaryOperator, Value as Literal,
    ValueWithSpan, Visit, Visitor,
};

use crate::ids::Oid;
use crate::sql::facts::{is_comparison, plain_args, type_oid, unnest};
use crate::sql::functions::FunctionClass;
use crate::sql::infer::{class_of, is_number, is_text, type_of};
use crate::sql::limit::read_limit;
use crate::sql::model::{LevelId, Model};
use crate::sql::names::{folded, parts};
use crate::sql::outcome::Count;
use crate::types::oid;

impl Model<'_> {
    /// The levels from this one on are of a query whose rows nothing needs.
    pub fn need_not(&mut self, first: LevelId) {
        self.levels.iter_mut().skip(first).for_each(|level| level.needless = true);
    }

    /// Whether one Postgres may finish the statement without this level: it stands in an expression or behind LATERAL, however deep, nothing
    /// needs it, or a condition is looked at before any row is.
    fn may_be_left(&self, level: LevelId) -> bool {
        let mut at = level;
        loop {
            let of = &self.levels[at];
            if of.needless || of.outer.is_some() {
                return true;
            }
            match of.leaf_of {
                Some(leaf) => at = self.leaves[leaf].level,
                None => return self.is_gated(at),
            }
        }
    }

    /// Whether a condition of this level, or of a query in its FROM, has one value for all rows: below the same joins Postgres looks at it
    /// before it reads any.
    fn is_gated(&self, top: LevelId) -> bool {
        let Some(collected) = self.collected.as_deref() else { return false };
        if let Some(known) = self.gated.borrow().get(&top) {
            return *known;
        }
        let gated = collected.filters.iter().any(|filter| {
            let mut at = filter.level;
            while let Some(leaf) = self.levels[at].leaf_of {
                at = self.leaves[leaf].level;
            }
            at == top && is_gate(self, filter.level, &filter.expr)
        });
        self.gated.borrow_mut().insert(top, gated);
        gated
    }

    /// Whether something in an expression may be an aggregate, for all that is known.
    pub fn may_aggregate(&self, level: LevelId, expr: &Expr) -> bool {
        expr.visit(&mut Aggregates(self, level)).is_break()
    }

    /// Whether a part of the statement, which stands in this level, must not be asked for before it is needed.
    pub fn waits(&self, level: LevelId, part: &impl Visit) -> bool {
        self.may_be_left(level) && self.may_fail(level, part)
    }

    /// Whether a part of the statement, which stands in this level, can fail for some value.
    pub fn may_fail(&self, level: LevelId, part: &impl Visit) -> bool {
        self.fails(level, part, false)
    }

    /// The same for some row of it: sums that are beyond any table's rows do not count.
    pub fn may_fail_by_row(&self, level: LevelId, part: &impl Visit) -> bool {
        self.fails(level, part, true)
    }

    fn fails(&self, level: LevelId, part: &impl Visit, sums: bool) -> bool {
        let mut fails = MayFail { model: self, level, sums, queries: 0, constant: 0, told: RefCell::default() };
        let may_fail = part.visit(&mut fails).is_break();
        fails.told.into_inner().iter().for_each(|literal| self.literals.tell(literal));
        may_fail
    }
}

/// Finds calls that can be aggregates.
struct Aggregates<'m, 's>(&'m Model<'s>, LevelId);

impl Visitor for Aggregates<'_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let Self(model, level) = *self;
        let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
        let class =
            parts(&function.name).map(|(schema, name)| class_of(model, level, function, schema.as_deref(), &name));
        match class {
            Some(FunctionClass::Pure) if function.over.is_none() => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}

/// Whether a condition names no column of the leaves of its own level, and is not always true.
fn is_gate(model: &Model<'_>, level: LevelId, condition: &Expr) -> bool {
    if let Expr::Value(ValueWithSpan { value: Literal::Boolean(true), .. }) = unnest(condition) {
        return false;
    }
    // `1 = 1`
    if let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = unnest(condition)
        && let (Expr::Value(left), Expr::Value(right)) = (unnest(left), unnest(right))
        && left.value == right.value
        && matches!(left.value, Literal::Number(..))
    {
        model.literals.tell(left);
        model.literals.tell(right);
        return false;
    }
    let mut inside = NamesInside::default();
    let _ = condition.visit(&mut inside);
    condition.visit(&mut OwnColumns { model, level, inside: inside.names, queries: 0 }).is_continue()
}

/// What the FROM items of the queries in an expression are called.
#[derive(Default)]
struct NamesInside {
    names: HashSet<String>,
}

impl Visitor for NamesInside {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let named = match factor {
            TableFactor::Table { name, alias: None, .. } => parts(name).map(|(_, name)| name),
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => alias.as_ref().map(|alias| folded(&alias.name).into_owned()),
            _ => None,
        };
        self.names.extend(named);
        ControlFlow::Continue(())
    }
}

/// Finds a name that is, or could be, a column of a level's own leaves.
struct OwnColumns<'m, 's> {
    model: &'m Model<'s>,
    level: LevelId,
    /// Names that mean something else in a query inside.
    inside: HashSet<String>,
    /// How many queries are open.
    queries: usize,
}

impl OwnColumns<'_, '_> {
    /// Whether the names mean a column of the level itself; `None`: nothing is known.
    fn is_own(&self, names: &[Ident]) -> Option<bool> {
        self.model.find_column(self.level, names).map(|found| self.model.leaves[found.leaf].level == self.level)
    }
}

impl Visitor for OwnColumns<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let own = match expr {
            Expr::Identifier(name) if self.queries == 0 => self.is_own(std::slice::from_ref(name)).unwrap_or(true),
            Expr::CompoundIdentifier(names) if self.queries == 0 => self.is_own(names).unwrap_or(true),
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => self.queries == 0,
            // A name alone can be a column of the query inside.
            Expr::CompoundIdentifier(names) => {
                let of = names.len().checked_sub(2).and_then(|at| names.get(at));
                let is_outside = of.is_some_and(|of| !self.inside.contains(&*folded(of)));
                is_outside && self.is_own(names) == Some(true)
            }
            _ => false,
        };
        if own { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// How many rows a query gives at most, where a constant or a parameter says so.
pub(crate) fn most_rows(query: &Query) -> Option<Count> {
    read_limit(query).ok()??.limit
}

/// Whether a query gives no rows, whatever it reads.
pub(crate) fn is_empty(query: &Query) -> bool {
    most_rows(query) == Some(Count::Constant(0))
}

/// Aggregates that have a value for whatever rows.
const OF_ROWS: [&str; 5] = ["array_agg", "string_agg", "json_agg", "jsonb_agg", "mode"];

/// Finds what can fail for some value of a column. What names no column is computed, and fails, before any row is read.
struct MayFail<'m, 's> {
    model: &'m Model<'s>,
    level: LevelId,
    /// Sums and means of integers have a value.
    sums: bool,
    /// How many queries are open.
    queries: usize,
    /// How many expressions are open, from one that names no column.
    constant: usize,
    /// What of the literals was looked at.
    told: RefCell<Vec<ValueWithSpan>>,
}

impl Visitor for MayFail<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if self.constant == 0 && self.is_safe(expr) && !self.has_collations(expr) {
            return ControlFlow::Continue(());
        }
        if self.constant == 0 && !is_constant(expr) {
            return ControlFlow::Break(());
        }
        self.constant += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.constant = self.constant.saturating_sub(1);
        ControlFlow::Continue(())
    }
}

impl MayFail<'_, '_> {
    /// Whether an expression has a value for whatever its parts are.
    fn is_safe(&self, expr: &Expr) -> bool {
        /// Aggregates of what has been computed, and functions that take any text or value.
        const FUNCTIONS: [&str; 29] = [
            "count",
            "min",
            "max",
            "bool_and",
            "bool_or",
            "every",
            "coalesce",
            "nullif",
            "greatest",
            "least",
            "lower",
            "upper",
            "initcap",
            "length",
            "char_length",
            "character_length",
            "octet_length",
            "btrim",
            "ltrim",
            "rtrim",
            "reverse",
            "md5",
            "starts_with",
            "strpos",
            "left",
            "right",
            "concat",
            "concat_ws",
            "grouping",
        ];
        use BinaryOperator as Op;
        match expr {
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::Value(_)
            | Expr::TypedString(_)
            | Expr::Nested(_)
            | Expr::Tuple(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::InList { .. }
            | Expr::Between { .. }
            | Expr::Case { .. }
            | Expr::Collate { .. }
            | Expr::Trim { .. }
            | Expr::UnaryOp { op: UnaryOperator::Not, .. } => true,
            Expr::AnyOp { compare_op: op, .. } | Expr::AllOp { compare_op: op, .. } => is_comparison(op),
            Expr::BinaryOp {
                op: Op::And | Op::Or | Op::Arrow | Op::LongArrow | Op::AtArrow | Op::Question, ..
            } => true,
            // Numbers without end: others overflow.
            Expr::BinaryOp { op: Op::Plus | Op::Minus | Op::Multiply, .. } => self.type_of(expr) == Some(oid::NUMERIC),
            Expr::BinaryOp { op: Op::StringConcat, .. } => self.type_of(expr) == Some(oid::TEXT),
            Expr::BinaryOp { op, .. } => is_comparison(op),
            Expr::Like { any: false, pattern, escape_char: None, .. }
            | Expr::ILike { any: false, pattern, escape_char: None, .. } => self.is_safe_pattern(pattern),
            Expr::Cast { expr, data_type, kind: CastKind::Cast | CastKind::DoubleColon, .. } => {
                self.is_safe_cast(expr, data_type)
            }
            Expr::Extract { field, expr, .. } => {
                let field = field.to_string().to_ascii_lowercase();
                self.type_of(expr).is_some_and(|of| has_part(of, &field))
            }
            Expr::Function(function) => parts(&function.name).is_some_and(|(schema, name)| {
                let of_any = FUNCTIONS.contains(&&*name) || self.is_safe_call(function, &name);
                let of_rows = self.sums && (function.over.is_some() || OF_ROWS.contains(&&*name));
                let of_any =
                    of_any || of_rows || self.sums && matches!(&*name, "sum" | "avg") && self.is_of_numbers(function);
                of_any && schema.is_none_or(|schema| schema == "pg_catalog")
            }),
            _ => false,
        }
    }

    /// Whether an aggregate is one of numbers that have no end, or of integers.
    fn is_of_numbers(&self, function: &Function) -> bool {
        let of = |arg: &Expr| self.type_of(arg);
        let is_exact = |oid| matches!(oid, Some(oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC));
        plain_args(function).is_some_and(|args| matches!(&args[..], [arg] if is_exact(of(arg))))
    }

    /// Whether an expression compares texts of columns whose collations do not go together, or looks into texts of one that allows no such look.
    fn has_collations(&self, expr: &Expr) -> bool {
        let compares = match expr {
            Expr::BinaryOp { op, .. } => is_comparison(op),
            Expr::AnyOp { .. }
            | Expr::AllOp { .. }
            | Expr::InList { .. }
            | Expr::Between { .. }
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::Like { .. }
            | Expr::ILike { .. }
            | Expr::Function(_)
            | Expr::Trim { .. }
            | Expr::Case { .. } => true,
            _ => false,
        };
        let mut found = Collations { of: self, looks: false, names: Vec::new(), loose: false };
        let _ = compares.then(|| expr.visit(&mut found));
        found.names.len() > 1 || found.loose && found.looks
    }

    /// The collation of a column of text that goes before the database's own: its name, or "" and which column it is of where that is not
    /// known. Whether it tells different texts apart.
    fn own_collation(&self, names: &[Ident]) -> Option<(String, bool)> {
        let model = self.model;
        let written = || names.iter().map(|name| folded(name)).collect::<Vec<_>>().join(".");
        // In a query inside, a name can mean what this level does not know.
        let found = model.find_column(self.level, names).filter(|_| self.queries < 2)?;
        let ty = found.column.ty?;
        if !is_text(ty.oid) {
            return None;
        }
        let tables = model.collected.as_deref().map_or(&[][..], |collected| &collected.tables);
        let table = tables.iter().find(|used| used.leaf == found.leaf).and_then(|used| used.relation.table());
        let differs = ty.collation.equality_is_bytes();
        let Some(table) = table else { return Some((written(), differs)) };
        let columns = &model.leaves[found.leaf].columns.list;
        let at = columns.iter().position(|column| column.node.is_some() && column.node == found.column.node);
        let column = at.and_then(|at| table.columns.get(at));
        match column.map(|column| column.collation_name.as_deref()) {
            Some(None) if differs => None,
            Some(Some(name)) if !name.is_empty() => Some((name.to_owned(), differs)),
            _ => Some((written(), differs)),
        }
    }

    /// The type of an expression of the level itself.
    fn type_of(&self, expr: &Expr) -> Option<Oid> {
        if self.queries > 1 {
            return None;
        }
        type_of(self.model, self.level, expr).map(|ty| ty.oid)
    }

    /// Whether LIKE takes it: a pattern cannot end in the middle of an escape. What a condition of its own says is looked at when the call is
    /// planned.
    fn is_safe_pattern(&self, pattern: &Expr) -> bool {
        match self.queries {
            0 => is_constant(pattern),
            _ => self.told_text(pattern).is_some_and(|text| !text.ends_with('\\')),
        }
    }

    /// What a literal says; the finding leans on it.
    fn told_text<'e>(&self, expr: &'e Expr) -> Option<&'e str> {
        let Expr::Value(value) = unnest(expr) else { return None };
        let text = match &value.value {
            Literal::SingleQuotedString(text) | Literal::EscapedStringLiteral(text) => text,
            Literal::DollarQuotedString(text) => &text.value,
            _ => return None,
        };
        self.told.borrow_mut().push(value.clone());
        Some(text)
    }

    fn is_safe_cast(&self, expr: &Expr, data_type: &DataType) -> bool {
        if let DataType::Text | DataType::Varchar(_) | DataType::CharVarying(_) | DataType::CharacterVarying(_) =
            data_type
        {
            return true;
        }
        let Some(to) = type_oid(data_type) else { return false };
        matches!(
            (self.type_of(expr), to),
            (Some(oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::DATE), oid::DATE)
                | (Some(oid::INT2 | oid::INT4 | oid::INT8), oid::INT8 | oid::NUMERIC)
                | (Some(oid::INT2 | oid::INT4), oid::INT4)
        )
    }

    /// Whether a function takes whatever its arguments are.
    fn is_safe_call(&self, function: &Function, name: &str) -> bool {
        let Some(args) = plain_args(function) else { return false };
        match (name, &args[..]) {
            // Others overflow.
            ("sum" | "avg", [of]) => self.type_of(of).is_some_and(is_number),
            ("date_trunc", [unit, of]) => {
                let known = self.told_text(unit).is_some_and(|unit| TRUNCATED.contains(&&*unit.to_ascii_lowercase()));
                known && matches!(self.type_of(of), Some(oid::TIMESTAMP | oid::TIMESTAMPTZ))
            }
            ("date_part", [part, of]) => match (self.told_text(part), self.type_of(of)) {
                (Some(part), Some(of)) => of != oid::DATE && has_part(of, &part.to_ascii_lowercase()),
                _ => false,
            },
            _ => false,
        }
    }
}

/// To what `date_trunc` cuts times.
const TRUNCATED: [&str; 13] = [
    "microseconds",
    "milliseconds",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "decade",
    "century",
    "millennium",
];

/// Whether values of this type have the part that EXTRACT takes by this name.
fn has_part(of: Oid, part: &str) -> bool {
    match part {
        "year" | "month" | "day" | "quarter" | "decade" | "century" | "millennium" | "epoch" => {
            matches!(of, oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::INTERVAL)
        }
        "hour" | "minute" | "second" | "milliseconds" | "microseconds" => {
            matches!(of, oid::TIMESTAMP | oid::TIMESTAMPTZ | oid::INTERVAL)
        }
        "week" | "dow" | "doy" | "isodow" | "isoyear" | "julian" => {
            matches!(of, oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ)
        }
        _ => false,
    }
}

/// Whether an expression names no column and holds no query.
fn is_constant(expr: &Expr) -> bool {
    struct Columns;
    impl Visitor for Columns {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(_)
                | Expr::CompoundIdentifier(_)
                | Expr::CompoundFieldAccess { .. }
                | Expr::QualifiedWildcard(..)
                | Expr::Wildcard(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Columns).is_continue()
}

/// Gathers the collations of columns that go before the database's own.
struct Collations<'f, 'm, 's> {
    of: &'f MayFail<'m, 's>,
    /// What looks into texts is called.
    looks: bool,
    names: Vec<String>,
    /// One of them takes different texts for one.
    loose: bool,
}

impl Visitor for Collations<'_, '_, '_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let found = match expr {
            Expr::Identifier(name) => self.of.own_collation(std::slice::from_ref(name)),
            Expr::CompoundIdentifier(names) => self.of.own_collation(names),
            Expr::Collate { .. } => Some((expr.to_string(), false)),
            Expr::Like { .. } | Expr::ILike { .. } | Expr::Function(_) | Expr::Trim { .. } => {
                self.looks = true;
                None
            }
            _ => None,
        };
        if let Some((name, differs)) = found {
            self.loose |= !differs;
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
        ControlFlow::Continue(())
    }
}
