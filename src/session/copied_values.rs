//! Values in the rows of a COPY that must be unique over all shards (`uniques`), and their lines: when the registry has one twice, at the end,
//! the line is told at which one Postgres would have found it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};

use crate::copy::KeyField;
use crate::memory::Hold;
use crate::plan::CopyInPlan;
use crate::sql::utility::CopyFormat;
use crate::topology::UniqueRule;
use crate::types::KeyType;
use crate::types::canonical::KeyValue;

/// Values that are remembered at most. Of longer COPYs no line is told.
const MOST: usize = 1 << 20;
/// Values for which memory is asked at once.
const STEP: usize = 4096;
/// Between the columns' values, where they are shown.
const BETWEEN: &[u8] = b", ";

pub(super) struct CopiedValues {
    table: Box<str>,
    rules: Vec<Followed>,
    /// How many are remembered.
    count: usize,
    text: Vec<u8>,
    /// For the lines.
    hold: Hold,
    /// There are too many.
    is_over: bool,
}

/// Places of fields, and their columns.
type Fields = Vec<(usize, Box<str>)>;

/// The values of one rule.
struct Followed {
    scope: String,
    /// Among the fields that are read for this.
    fields: std::ops::Range<usize>,
    /// Their columns' types and type modifiers.
    types: Vec<(KeyType, i32)>,
    /// By hash, in the order of the rows. `None`: of some it is not known how they are shown, or two can be shown as one.
    lines: Option<Vec<(u64, u64)>>,
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
    pub fn of(rules: &[UniqueRule], plan: &CopyInPlan, hold: Hold) -> Option<(Fields, Self)> {
        let is_binary = plan.format == CopyFormat::Binary;
        let place = |column: &Box<str>| {
            let (at, (name, stored)) = plan.stored.iter().enumerate().find(|(_, (name, _))| name == column)?;
            let (key_type, typmod) = (*stored)?;
            let is_text = matches!(key_type, KeyType::Text | KeyType::Varchar);
            (is_text || !is_binary).then(|| ((at, name.clone()), (key_type, typmod)))
        };
        let (mut wanted, mut followed) = (Vec::new(), Vec::new());
        for rule in rules.iter().filter(|rule| rule.table == plan.table) {
            let Some(columns) = rule.columns.iter().map(place).collect::<Option<Vec<_>>>() else { continue };
            let fields = wanted.len()..wanted.len() + columns.len();
            let (places, types): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
            wanted.extend(places);
            followed.push(Followed { scope: rule.scope(), fields, types, lines: Some(Vec::new()) });
        }
        let table = plan.table.name.clone();
        let of = |rules| Self { table, rules, count: 0, text: Vec::new(), hold, is_over: false };
        (!followed.is_empty()).then(|| (wanted, of(followed)))
    }

    /// Whether there are more values than are remembered: no line will be told.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// A row at this line with these fields, which were asked for.
    pub fn note(&mut self, fields: &[KeyField<'_>], line: u64) {
        for rule in &mut self.rules {
            let Some(lines) = &mut rule.lines else { continue };
            let fields = fields.get(rule.fields.clone()).unwrap_or_default();
            match show(fields, &rule.types, &mut self.text) {
                // A row with a NULL in it has no value.
                Some(false) => {}
                Some(true) => {
                    let is_paid =
                        !self.count.is_multiple_of(STEP) || self.hold.grow(STEP * size_of::<(u64, u64)>()).is_ok();
                    if self.count >= MOST || !is_paid {
                        self.is_over = true;
                        return;
                    }
                    self.count += 1;
                    lines.push((hash(&self.text), line));
                }
                None => rule.lines = None,
            }
        }
    }

    /// Of values that are there twice, the one that is met first, and where that is (`COPY t, line 7`). `None`: not known of all of them.
    pub fn first<'a>(&self, twice: &'a [Twice]) -> Option<(&'a Twice, String)> {
        let (mut found, mut first) = (0, None::<(u64, &Twice)>);
        for rule in &self.rules {
            let of_rule = twice.iter().filter(|twice| twice.scope == rule.scope);
            // With whether the next row that has it is the one that is told.
            let mut wanted: HashMap<u64, (&Twice, bool)> =
                of_rule.map(|twice| (hash(twice.shown.as_bytes()), (twice, twice.is_there))).collect();
            if wanted.is_empty() {
                continue;
            }
            for (hash, line) in rule.lines.as_ref()? {
                match wanted.get_mut(hash) {
                    Some((twice, true)) => {
                        found += 1;
                        if first.is_none_or(|(before, _)| *line < before) {
                            first = Some((*line, *twice));
                        }
                        wanted.remove(hash);
                    }
                    Some((_, is_next)) => *is_next = true,
                    None => {}
                }
            }
        }
        let (line, first) = first.filter(|_| found == twice.len())?;
        Some((first, crate::copy::shown::of_line(&self.table, line)))
    }
}

/// Puts the value of these fields as the registry shows it into `text`: false: a column is NULL; `None`: that is not known for sure.
fn show(fields: &[KeyField<'_>], types: &[(KeyType, i32)], text: &mut Vec<u8>) -> Option<bool> {
    text.clear();
    if fields.iter().any(|field| matches!(field, KeyField::Null)) {
        return Some(false);
    }
    for (nth, (field, (key_type, typmod))) in fields.iter().zip(types).enumerate() {
        let KeyField::Value(value) = field else { return None };
        text.extend_from_slice(if nth > 0 { BETWEEN } else { b"" });
        let start = text.len();
        let value = key_type.parse_text(std::str::from_utf8(value).ok()?).ok()?;
        match key_type.stored(value, *typmod).ok()? {
            KeyValue::Text(value) => text.extend_from_slice(value.as_bytes()),
            KeyValue::Int(value) => text.extend_from_slice(value.to_string().as_bytes()),
            _ => return None,
        }
        // Where one ends and the next one begins could not be told.
        if types.len() > 1 && memchr::memmem::find(text.get(start..)?, BETWEEN).is_some() {
            return None;
        }
    }
    Some(!fields.is_empty())
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn values(count: u64) -> CopiedValues {
        let types = vec![(KeyType::Text, -1)];
        let rules = vec![Followed { scope: "t (a)".to_owned(), fields: 0..1, types, lines: Some(Vec::new()) }];
        let hold = crate::memory::Memory::new(None).hold();
        let mut values = CopiedValues { table: "t".into(), rules, count: 0, text: Vec::new(), hold, is_over: false };
        for line in 1..=count {
            values.note(&[KeyField::Value(format!("v{}", line % (count / 2)).into_bytes().into())], line);
        }
        values
    }

    fn twice(shown: String, is_there: bool) -> Twice {
        Twice { scope: "t (a)".to_owned(), shown, is_there }
    }

    #[test]
    fn many_are_looked_for_in_one_pass() {
        // By a pass for each it would take 2^37 steps.
        let half = 1 << 18;
        let values = values(2 * half);
        let all: Vec<Twice> = (0..half).rev().map(|n| twice(format!("v{n}"), false)).collect();
        let (first, place) = values.first(&all).unwrap();
        assert_eq!((&*first.shown, &*place), ("v1", &*format!("COPY t, line {}", half + 1)));
        let there: Vec<Twice> = (0..half).rev().map(|n| twice(format!("v{n}"), true)).collect();
        assert_eq!(values.first(&there).unwrap().1, "COPY t, line 1");
        assert!(values.first(&[twice("other".to_owned(), true)]).is_none());
    }

    #[test]
    fn what_is_too_much_is_not_remembered() {
        let mut values = values(2);
        values.count = MOST;
        values.note(&[KeyField::Null], 3);
        assert!(!values.is_over());
        values.note(&[KeyField::Value(b"v".as_slice().into())], 4);
        assert!(values.is_over());
    }

    #[test]
    fn a_value_is_shown_as_it_is_stored() {
        let shown = |fields: &[&'static str], types: &[(KeyType, i32)]| {
            let fields: Vec<_> = fields.iter().map(|field| KeyField::Value(field.as_bytes().into())).collect();
            let mut text = Vec::new();
            show(&fields, types, &mut text).map(|has| (has, String::from_utf8(text).unwrap()))
        };
        let is = |text: &str| Some((true, text.to_owned()));
        assert_eq!(shown(&[" 07 "], &[(KeyType::Int4, -1)]), is("7"));
        assert_eq!(shown(&["-0"], &[(KeyType::Int8, -1)]), is("0"));
        assert_eq!(shown(&["x"], &[(KeyType::Int8, -1)]), None);
        assert_eq!(shown(&["ab   "], &[(KeyType::Varchar, 4 + 3)]), is("ab "));
        assert_eq!(shown(&["a", "+7"], &[(KeyType::Text, -1), (KeyType::Int2, -1)]), is("a, 7"));
        assert_eq!(shown(&["a, b", "c"], &[(KeyType::Text, -1), (KeyType::Text, -1)]), None);
        assert_eq!(shown(&["a, b"], &[(KeyType::Text, -1)]), is("a, b"));
    }
}
