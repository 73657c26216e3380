//! Values in the rows of a COPY that must be unique over all shards (`uniques`), and their lines: when the registry has one twice, at the end,
//! the line is told at which one Postgres would have found it.

use std::hash::{DefaultHasher, Hasher};

use crate::copy::KeyField;
use crate::plan::CopyInPlan;
use crate::sql::utility::CopyFormat;
use crate::topology::UniqueRule;

/// Values that are remembered at most. Of longer COPYs no line is told.
const MOST: usize = 1 << 20;

pub(super) struct CopiedValues {
    table: Box<str>,
    rules: Vec<Followed>,
    /// How many more are remembered.
    left: usize,
    text: Vec<u8>,
}

/// Places of fields, and their columns.
type Fields = Vec<(usize, Box<str>)>;

/// The values of one rule.
struct Followed {
    scope: String,
    /// Among the fields that are read for this.
    fields: std::ops::Range<usize>,
    /// By hash, in the order of the rows.
    lines: Vec<(u64, u64)>,
}

/// A value that the registry does not take.
pub(super) struct Twice {
    pub scope: String,
    /// As the columns' values are shown.
    pub shown: String,
    /// Another transaction's row has it; else two of this one's have.
    pub is_there: bool,
}

impl CopiedValues {
    /// The fields to read for the rules of the COPY's table, and what to note them with; `None`: there is nothing to note.
    pub fn of(rules: &[UniqueRule], plan: &CopyInPlan) -> Option<(Fields, Self)> {
        let is_binary = plan.format == CopyFormat::Binary;
        let place = |column: &Box<str>| {
            let (at, (name, is_text)) = plan.stored.iter().enumerate().find(|(_, (name, _))| name == column)?;
            (*is_text || !is_binary).then(|| (at, name.clone()))
        };
        let (mut wanted, mut followed) = (Vec::new(), Vec::new());
        for rule in rules.iter().filter(|rule| rule.table == plan.table) {
            let Some(columns) = rule.columns.iter().map(place).collect::<Option<Vec<_>>>() else { continue };
            let fields = wanted.len()..wanted.len() + columns.len();
            wanted.extend(columns);
            followed.push(Followed { scope: rule.scope(), fields, lines: Vec::new() });
        }
        let table = plan.table.name.clone();
        (!followed.is_empty()).then(|| (wanted, Self { table, rules: followed, left: MOST, text: Vec::new() }))
    }

    /// A row at this line with these fields, which were asked for.
    pub fn note(&mut self, fields: &[KeyField<'_>], line: u64) {
        for rule in &mut self.rules {
            let fields = fields.get(rule.fields.clone()).unwrap_or_default();
            self.text.clear();
            let mut known = !fields.is_empty();
            for (nth, field) in fields.iter().enumerate() {
                match field {
                    KeyField::Value(value) => {
                        self.text.extend_from_slice(if nth > 0 { b", " } else { b"" });
                        self.text.extend_from_slice(value);
                    }
                    KeyField::Null | KeyField::Encoded(_) | KeyField::Missing => known = false,
                }
            }
            if known && self.left > 0 {
                self.left -= 1;
                rule.lines.push((hash(&self.text), line));
            }
        }
    }

    /// Of values that are there twice, the one that is met first, and where that is (`COPY t, line 7`). `None`: not known of all of them.
    pub fn first<'a>(&self, twice: &'a [Twice]) -> Option<(&'a Twice, String)> {
        if self.left == 0 {
            return None;
        }
        let lines = twice.iter().map(|twice| Some((self.line(twice)?, twice))).collect::<Option<Vec<_>>>()?;
        let (line, first) = lines.into_iter().min_by_key(|(line, _)| *line)?;
        Some((first, crate::copy::shown::of_line(&self.table, line)))
    }

    fn line(&self, twice: &Twice) -> Option<u64> {
        let rule = self.rules.iter().find(|rule| rule.scope == twice.scope)?;
        let hash = hash(twice.shown.as_bytes());
        let mut lines = rule.lines.iter().filter(|(of, _)| *of == hash).map(|(_, line)| *line);
        if twice.is_there { lines.next() } else { lines.nth(1) }
    }
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish()
}
