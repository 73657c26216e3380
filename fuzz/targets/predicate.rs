//! Conditions made of a fuzzer's bytes: their SQL, and what they are worth for a row by SQL's three-valued logic. This is the slow
//! reading of WHERE that the analyzer's is compared with.

use std::cmp::Ordering;
use std::rc::Rc;

use pgloom::types::{Format, oid};

use super::analyzer::{Kind, Rows, TABLES, Value};
use super::input::Input;
use super::world::Bound;

/// A column in sight: its name in the text, and its place in the row that a condition is asked about.
#[derive(Clone)]
pub struct Sight {
    pub name: String,
    pub kind: Kind,
}

/// What a piece of SQL is worth.
pub type Worth<T> = Rc<dyn Fn(&Rows, &[Value]) -> T>;

/// A piece of SQL and its worth, given the tables' rows (for subqueries) and the row of all columns in sight.
#[derive(Clone)]
pub struct Made<T> {
    pub sql: String,
    pub worth: Worth<T>,
}

pub type Truth = Option<bool>;
pub type Condition = Made<Truth>;
pub type Scalar = Made<Value>;

fn made<T>(sql: String, worth: impl Fn(&Rows, &[Value]) -> T + 'static) -> Made<T> {
    Made { sql, worth: Rc::new(worth) }
}

/// What a condition is made of: its form of one row of bytes, the values of its constants of another. So the same form with other
/// values is another call of the same statement.
pub struct Maker<'a> {
    pub form: Input<'a>,
    pub values: Input<'a>,
    pub parameters: Bound,
    /// Subqueries so far, which have names of their own.
    pub queries: usize,
}

const NUMBERS: [i64; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 50, 99, 100, 105, 199, 200, 399, 400];
const WORDS: [&str; 8] = ["north", "east", "south", "west", "x", "y", "z", "nowhere"];

impl Maker<'_> {
    /// `depth`: how many conditions may still stand inside of each other.
    pub fn condition(&mut self, sight: &[Sight], depth: usize) -> Condition {
        if depth == 0 {
            return self.comparison(sight);
        }
        match self.form.below(16) {
            0 | 1 => self.both(sight, depth, true),
            2 | 3 => self.both(sight, depth, false),
            4 => {
                let of = self.condition(sight, depth - 1);
                made(format!("NOT ({})", of.sql), move |db, row| (of.worth)(db, row).map(|truth| !truth))
            }
            5 => {
                let of = self.condition(sight, depth - 1);
                let (word, wanted) = self.form.pick(&[("TRUE", Some(true)), ("FALSE", Some(false)), ("UNKNOWN", None)]);
                let not = self.form.yes();
                let sql = format!("({}) IS {}{word}", of.sql, if not { "NOT " } else { "" });
                made(sql, move |db, row| Some(((of.worth)(db, row) == wanted) != not))
            }
            6 => {
                let (when, then, or) =
                    (self.condition(sight, depth - 1), self.condition(sight, 0), self.condition(sight, 0));
                let sql = format!("CASE WHEN {} THEN {} ELSE {} END", when.sql, then.sql, or.sql);
                made(sql, move |db, row| match (when.worth)(db, row) {
                    Some(true) => (then.worth)(db, row),
                    Some(false) | None => (or.worth)(db, row),
                })
            }
            7 => self.exists(sight, depth),
            8 => self.in_query(sight, depth),
            9 => {
                let (word, truth) =
                    self.form.pick(&[("true", Some(true)), ("false", Some(false)), ("NULL::bool", None)]);
                made(word.to_owned(), move |_, _| truth)
            }
            _ => self.comparison(sight),
        }
    }

    fn both(&mut self, sight: &[Sight], depth: usize, and: bool) -> Condition {
        let parts: Vec<Condition> = (0..2 + self.form.below(2)).map(|_| self.condition(sight, depth - 1)).collect();
        let sql: Vec<String> = parts.iter().map(|part| format!("({})", part.sql)).collect();
        made(sql.join(if and { " AND " } else { " OR " }), move |db, row| {
            let worth: Vec<Truth> = parts.iter().map(|part| (part.worth)(db, row)).collect();
            if worth.contains(&Some(!and)) {
                Some(!and)
            } else if worth.contains(&None) {
                None
            } else {
                Some(and)
            }
        })
    }

    fn comparison(&mut self, sight: &[Sight]) -> Condition {
        let (left, kind, direct) = self.left(sight);
        // Where the order is the collation's business, only equality is asked for.
        let ordered = kind != Kind::Words;
        match self.form.below(14) {
            0..=3 => self.compared(left, kind, direct, sight, ordered),
            4 => self.distinct(left, kind, direct, sight),
            5..=7 => self.member(left, kind, sight),
            8 if ordered => self.between(left, kind, sight),
            9 => {
                let not = self.form.yes();
                let sql = format!("{} IS {}NULL", left.sql, if not { "NOT " } else { "" });
                made(sql, move |db, row| Some(((left.worth)(db, row) == Value::Null) != not))
            }
            10 => self.array_parameter(left, kind, direct),
            11 | 12 => self.rows(sight),
            _ => self.compared(left, kind, direct, sight, ordered),
        }
    }

    /// What has a type of its own; whether it is a column and nothing else.
    fn left(&mut self, sight: &[Sight]) -> (Scalar, Kind, Option<u32>) {
        let at = self.form.below(sight.len());
        let column = &sight[at];
        let kind = column.kind;
        let itself = made(column.name.clone(), move |_, row: &[Value]| row[at].clone());
        match self.form.below(10) {
            0 => {
                let or = self.constant(kind, None);
                let sql = format!("coalesce({}, {})", itself.sql, or.sql);
                let worth = move |db: &Rows, row: &[Value]| match (itself.worth)(db, row) {
                    Value::Null => (or.worth)(db, row),
                    value => value,
                };
                (made(sql, worth), kind, None)
            }
            1 if kind != Kind::Words && kind != Kind::Zone => {
                let sql = format!("({} + 1)", itself.sql);
                let worth = move |db: &Rows, row: &[Value]| match (itself.worth)(db, row) {
                    Value::Number(tenths) => Value::Number(tenths + 10),
                    other => other,
                };
                (made(sql, worth), kind, None)
            }
            _ => (itself, kind, Some(kind.oid())),
        }
    }

    fn compared(&mut self, left: Scalar, kind: Kind, of: Option<u32>, sight: &[Sight], ordered: bool) -> Condition {
        let right = self.right(kind, of, sight);
        let (op, holds) = self.operator(ordered);
        let (left, right) = if self.form.yes() { (right, left) } else { (left, right) };
        made(format!("{} {op} {}", left.sql, right.sql), move |db, row| {
            compare(&(left.worth)(db, row), &(right.worth)(db, row)).map(holds)
        })
    }

    fn operator(&mut self, ordered: bool) -> (&'static str, fn(Ordering) -> bool) {
        match self.form.below(if ordered { 12 } else { 7 }) {
            0..=5 => ("=", Ordering::is_eq),
            6 => ("<>", Ordering::is_ne),
            7 => ("<", Ordering::is_lt),
            8 => ("<=", Ordering::is_le),
            9 => (">", Ordering::is_gt),
            _ => (">=", Ordering::is_ge),
        }
    }

    fn right(&mut self, kind: Kind, of: Option<u32>, sight: &[Sight]) -> Scalar {
        let others: Vec<usize> = (0..sight.len()).filter(|at| sight[*at].kind.like(kind)).collect();
        if self.form.below(4) == 3 && !others.is_empty() {
            let at = self.form.pick(&others);
            return made(sight[at].name.clone(), move |_, row: &[Value]| row[at].clone());
        }
        self.constant(kind, of)
    }

    fn distinct(&mut self, left: Scalar, kind: Kind, of: Option<u32>, sight: &[Sight]) -> Condition {
        let right = self.right(kind, of, sight);
        let not = self.form.yes();
        let sql = format!("{} IS {}DISTINCT FROM {}", left.sql, if not { "NOT " } else { "" }, right.sql);
        made(sql, move |db, row| Some(((left.worth)(db, row) != (right.worth)(db, row)) != not))
    }

    fn member(&mut self, left: Scalar, kind: Kind, sight: &[Sight]) -> Condition {
        // The first one has a type, so that the list has it too.
        let mut members = vec![self.plain(kind)];
        for _ in 0..self.form.below(4) {
            members.push(if self.form.below(8) == 7 {
                self.right(kind, None, sight)
            } else {
                self.constant(kind, None)
            });
        }
        let list: Vec<&str> = members.iter().map(|member| &*member.sql).collect();
        let list = list.join(", ");
        let spellings = [
            ("IN (", ")", true),
            ("NOT IN (", ")", false),
            ("= ANY (ARRAY[", "])", true),
            ("<> ALL (ARRAY[", "])", false),
        ];
        let (open, close, any) = self.form.pick(&spellings);
        made(format!("{} {open}{list}{close}", left.sql), move |db, row| {
            let value = (left.worth)(db, row);
            let equal = members.iter().map(|member| compare(&value, &(member.worth)(db, row)).map(Ordering::is_eq));
            let is_in = some_of(equal);
            if any { is_in } else { is_in.map(|truth| !truth) }
        })
    }

    fn between(&mut self, left: Scalar, kind: Kind, sight: &[Sight]) -> Condition {
        let (low, high) = (self.right(kind, None, sight), self.right(kind, None, sight));
        let (not, symmetric) = (self.form.yes(), self.form.below(4) == 3);
        let words = format!("{}BETWEEN {}", if not { "NOT " } else { "" }, if symmetric { "SYMMETRIC " } else { "" });
        made(format!("{} {words}{} AND {}", left.sql, low.sql, high.sql), move |db, row| {
            let (value, low, high) = ((left.worth)(db, row), (low.worth)(db, row), (high.worth)(db, row));
            let within = |low: &Value, high: &Value| {
                let parts = [compare(&value, low).map(Ordering::is_ge), compare(&value, high).map(Ordering::is_le)];
                all_of(parts.into_iter())
            };
            let truth = match symmetric {
                true => some_of([within(&low, &high), within(&high, &low)].into_iter()),
                false => within(&low, &high),
            };
            truth.map(|truth| truth != not)
        })
    }

    /// `column = ANY ($1)`, and the same with the array as a literal.
    fn array_parameter(&mut self, left: Scalar, kind: Kind, of: Option<u32>) -> Condition {
        let members: Vec<Option<Value>> =
            (0..self.form.below(4)).map(|_| (self.form.below(8) != 7).then(|| self.value(kind))).collect();
        let texts: Vec<String> = members.iter().map(|m| m.as_ref().map_or("NULL".to_owned(), |m| m.text())).collect();
        let text = format!("{{{}}}", texts.join(","));
        let array_type = pgloom::types::array_of(kind.oid()).expect("key types have arrays");
        let sql = match (self.form.below(3), of) {
            (0, _) | (1, None) => format!("'{text}'"),
            (1, Some(_)) => self.bind(0, Format::Text, text.into_bytes()),
            _ => {
                let mut bytes = Vec::new();
                let nulls = i32::from(members.contains(&None));
                [1, nulls, kind.oid() as i32, members.len() as i32, 1]
                    .iter()
                    .for_each(|f: &i32| bytes.extend(f.to_be_bytes()));
                if members.is_empty() {
                    bytes.truncate(12);
                    bytes[..4].fill(0);
                }
                for member in &members {
                    match member {
                        None => bytes.extend((-1i32).to_be_bytes()),
                        Some(value) => {
                            let value = value.binary(kind.oid());
                            bytes.extend((value.len() as i32).to_be_bytes());
                            bytes.extend(value);
                        }
                    }
                }
                self.bind(array_type, Format::Binary, bytes)
            }
        };
        made(format!("{} = ANY ({sql})", left.sql), move |db, row| {
            let value = (left.worth)(db, row);
            some_of(members.iter().map(|m| compare(&value, m.as_ref().unwrap_or(&Value::Null)).map(Ordering::is_eq)))
        })
    }

    /// `(a, b) = (1, 'x')`, `(a, b) IN ((1, 'x'), (2, 'y'))`
    fn rows(&mut self, sight: &[Sight]) -> Condition {
        let width = 1 + self.form.below(2);
        let lefts: Vec<usize> = (0..=width).map(|_| self.form.below(sight.len())).collect();
        let names: Vec<&str> = lefts.iter().map(|at| &*sight[*at].name).collect();
        let count = 1 + self.form.below(2);
        let rows: Vec<Vec<Scalar>> =
            (0..count).map(|_| lefts.iter().map(|at| self.plain(sight[*at].kind)).collect()).collect();
        let texts: Vec<String> = rows
            .iter()
            .map(|row| format!("({})", row.iter().map(|value| &*value.sql).collect::<Vec<_>>().join(", ")))
            .collect();
        let head = format!("({})", names.join(", "));
        let sql =
            if count == 1 { format!("{head} = {}", texts[0]) } else { format!("{head} IN ({})", texts.join(", ")) };
        made(sql, move |db, row| {
            some_of(rows.iter().map(|values| {
                let pairs = lefts.iter().zip(values);
                all_of(pairs.map(|(at, value)| compare(&row[*at], &(value.worth)(db, row)).map(Ordering::is_eq)))
            }))
        })
    }

    /// A table of its own, and everything in sight around it.
    fn inner(&mut self, sight: &[Sight]) -> (usize, String, Vec<Sight>) {
        let table = self.form.below(TABLES.len());
        self.queries += 1;
        let alias = format!("q{}", self.queries);
        let mut both = sight.to_vec();
        both.extend(TABLES[table].sight(&alias));
        (table, alias, both)
    }

    fn exists(&mut self, sight: &[Sight], depth: usize) -> Condition {
        let (table, alias, both) = self.inner(sight);
        let within = self.condition(&both, depth - 1);
        let not = self.form.yes();
        let sql = format!(
            "{}EXISTS (SELECT 1 FROM {} {alias} WHERE {})",
            if not { "NOT " } else { "" },
            TABLES[table].name,
            within.sql
        );
        made(sql, move |db, row| {
            let found = db[table].iter().any(|inner| (within.worth)(db, &[row, inner].concat()) == Some(true));
            Some(found != not)
        })
    }

    fn in_query(&mut self, sight: &[Sight], depth: usize) -> Condition {
        let (left, kind, _) = self.left(sight);
        let (table, alias, both) = self.inner(sight);
        let inner = &both[sight.len()..];
        let like: Vec<usize> = (0..inner.len()).filter(|at| inner[*at].kind.like(kind)).collect();
        if like.is_empty() {
            return self.comparison(sight);
        }
        let at = self.form.pick(&like);
        let column = inner[at].name.clone();
        let within = self.condition(&both, depth - 1);
        let not = self.form.yes();
        let sql = format!(
            "{} {}IN (SELECT {column} FROM {} {alias} WHERE {})",
            left.sql,
            if not { "NOT " } else { "" },
            TABLES[table].name,
            within.sql
        );
        made(sql, move |db, row| {
            let value = (left.worth)(db, row);
            let found = db[table].iter().filter(|inner| (within.worth)(db, &[row, inner].concat()) == Some(true));
            some_of(found.map(|inner| compare(&value, &inner[at]).map(Ordering::is_eq))).map(|truth| truth != not)
        })
    }

    /// A value of the kind.
    fn value(&mut self, kind: Kind) -> Value {
        match kind {
            Kind::Big | Kind::Small => Value::Number(self.values.pick(&NUMBERS) * 10),
            Kind::Zone | Kind::Words => Value::Text(self.values.pick(&WORDS)),
        }
    }

    /// A literal in its usual form.
    fn plain(&mut self, kind: Kind) -> Scalar {
        let value = self.value(kind);
        let sql = match &value {
            Value::Text(text) => format!("'{text}'"),
            other => other.text(),
        };
        made(sql, move |_, _| value.clone())
    }

    /// A constant in one of its spellings. `of`: the type of the column that it is compared with, directly and alone.
    pub fn constant(&mut self, kind: Kind, of: Option<u32>) -> Scalar {
        let value = self.value(kind);
        if self.form.below(24) == 23 {
            return made("NULL".to_owned(), |_, _| Value::Null);
        }
        let text = value.text();
        let (sql, value) = match (&value, self.form.below(16)) {
            (Value::Number(_), 0..=3) => (text, value),
            (_, 4) => (format!("'{text}'"), value),
            (Value::Number(tenths), 5) => (format!("-{text}"), Value::Number(-tenths)),
            (Value::Number(_), 6) => (format!("{text}.0"), value),
            (Value::Number(tenths), 7) => (format!("{text}.5"), Value::Number(tenths + 5)),
            (Value::Number(tenths), 8) => (format!("({text} + 3 - 1)"), Value::Number(tenths + 20)),
            (Value::Number(_), 9) => (format!("' {text}'"), value),
            (_, 10) => (format!("CAST('{text}' AS {})", kind.type_name()), value),
            (Value::Number(_), 11) => (format!("{text}::int8"), value),
            (_, 12) => (format!("$q${text}$q$"), value),
            (_, 13) => (format!("E'{text}'"), value),
            (_, 14) => {
                let declared = if of.is_some() && self.form.yes() { 0 } else { kind.oid() };
                (self.bind(declared, Format::Text, text.into_bytes()), value)
            }
            (_, 15) => {
                let declared = if of.is_some() && self.form.yes() { 0 } else { kind.oid() };
                let bytes = value.binary(of.unwrap_or(kind.oid()));
                (self.bind(declared, Format::Binary, bytes), value)
            }
            _ => (format!("'{text}'"), value),
        };
        made(sql, move |_, _| value.clone())
    }

    fn bind(&mut self, declared: u32, format: Format, bytes: Vec<u8>) -> String {
        self.parameters.0.push((declared, format, Some(bytes)));
        format!("${}", self.parameters.0.len())
    }
}

/// `None`: one of them is NULL.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    (*a != Value::Null && *b != Value::Null).then(|| a.cmp(b))
}

fn some_of(of: impl Iterator<Item = Truth>) -> Truth {
    let truths: Vec<Truth> = of.collect();
    match truths.contains(&Some(true)) {
        true => Some(true),
        false => (!truths.contains(&None)).then_some(false),
    }
}

fn all_of(of: impl Iterator<Item = Truth>) -> Truth {
    some_of(of.map(|truth| truth.map(|truth| !truth))).map(|truth| !truth)
}

impl Value {
    /// As it is written without quotes.
    pub fn text(&self) -> String {
        match self {
            Value::Null => "NULL".to_owned(),
            Value::Number(tenths) => (tenths / 10).to_string(),
            Value::Text(text) => (*text).to_owned(),
        }
    }

    fn binary(&self, of: u32) -> Vec<u8> {
        match (self, of) {
            (Value::Number(tenths), oid::INT4) => ((tenths / 10) as i32).to_be_bytes().to_vec(),
            (Value::Number(tenths), _) => (tenths / 10).to_be_bytes().to_vec(),
            (other, _) => other.text().into_bytes(),
        }
    }
}
