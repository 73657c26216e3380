//! The table of MATCH, REFUSED and WRONG by category, and the differences in full.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Differences printed in full; the rest is counted.
const SHOWN: usize = 40;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Match,
    /// The router's hint-bearing refusal.
    Refused(String),
    Wrong(String),
}

#[derive(Debug, Default)]
struct Row {
    matched: usize,
    refused: usize,
    wrong: usize,
    /// Statements (not forms) of which at least one form was refused.
    refused_statements: usize,
}

#[derive(Debug, Default)]
pub struct Report {
    rows: BTreeMap<String, Row>,
    wrong: Vec<String>,
    refused: Vec<String>,
    statements: usize,
}

impl Report {
    /// Notes the verdicts of all forms of one statement; `what` is its place and text.
    pub fn note(&mut self, category: &str, what: &str, verdicts: &[(&str, Verdict)]) {
        self.statements += 1;
        let row = self.rows.entry(category.to_owned()).or_default();
        let mut reasons: Vec<&str> = Vec::new();
        for (form, verdict) in verdicts {
            match verdict {
                Verdict::Match => row.matched += 1,
                Verdict::Refused(reason) => {
                    row.refused += 1;
                    reasons.push(reason);
                }
                Verdict::Wrong(difference) => {
                    row.wrong += 1;
                    self.wrong.push(format!("WRONG {what} [{form}]\n  {difference}"));
                }
            }
        }
        if let Some(reason) = reasons.first() {
            row.refused_statements += 1;
            self.refused.push(format!("REFUSED {} of {} forms: {what}\n  {reason}", reasons.len(), verdicts.len()));
        }
    }

    pub fn wrong(&self) -> usize {
        self.wrong.len()
    }

    pub fn statements(&self) -> usize {
        self.statements
    }

    /// Refusals that do not say what the router cannot do, and what can be done instead.
    pub fn unnamed(&self) -> Vec<&String> {
        let named = |text: &&String| text.contains(" DETAIL: ") && text.contains(" HINT: ");
        self.refused.iter().filter(|text| !named(text)).collect()
    }

    pub fn statements_refused(&self) -> BTreeMap<String, usize> {
        self.rows.iter().map(|(name, row)| (name.clone(), row.refused_statements)).collect()
    }

    /// The table; a share is answered / (answered + refused) over all forms.
    pub fn table(&self) -> String {
        let mut out = format!("{:<22} {:>7} {:>8} {:>6} {:>9}\n", "category", "MATCH", "REFUSED", "WRONG", "answered");
        let mut total = Row::default();
        for (name, row) in &self.rows {
            line(&mut out, name, row);
            total.matched += row.matched;
            total.refused += row.refused;
            total.wrong += row.wrong;
        }
        line(&mut out, "all", &total);
        out
    }

    /// How many of all forms were answered, in thousandths.
    pub fn answered(&self) -> usize {
        let sum = |of: fn(&Row) -> usize| self.rows.values().map(of).sum::<usize>();
        let (asked, refused) = (sum(|row| row.matched + row.refused + row.wrong), sum(|row| row.refused));
        ((asked - refused) * 1000).checked_div(asked).unwrap_or(1000)
    }

    /// The refusals and differences, one after the other.
    pub fn details(&self) -> String {
        let mut out = String::new();
        for text in self.refused.iter().chain(self.wrong.iter().take(SHOWN)) {
            out.push_str(text);
            out.push('\n');
        }
        if self.wrong.len() > SHOWN {
            let _ = writeln!(out, "... and {} more WRONG", self.wrong.len() - SHOWN);
        }
        out
    }
}

fn line(out: &mut String, name: &str, row: &Row) {
    let asked = row.matched + row.refused + row.wrong;
    let share = if asked == 0 { 0.0 } else { 100.0 * (asked - row.refused) as f64 / asked as f64 };
    let _ = writeln!(out, "{name:<22} {:>7} {:>8} {:>6} {share:>8.1}%", row.matched, row.refused, row.wrong);
}
