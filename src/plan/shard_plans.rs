//! What shards answer to EXPLAIN of their parts, below the router's own plan, in every format that Postgres has.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use crate::ids::ShardId;
use crate::plan::explain::{counted, document, shard_name, text_with};
use crate::plan::{ExplainPlan, PlanKind, View};
use crate::sql::Analysis;
use crate::sql::utility::ExplainFormat;

/// The plan of one server for its part.
#[derive(Clone, Debug)]
pub struct ShardPlan {
    pub shard: ShardId,
    /// The server's own name, where it is none of a shard.
    pub beside: Option<Box<str>>,
    /// The rows of the answer, one a line.
    pub text: String,
    /// With ANALYZE: the rows that the plan's first step returned.
    pub rows: Option<u64>,
    /// With ANALYZE: from the question to the end of the answer, as the router saw it.
    pub took: Option<Duration>,
}

/// All that was answered for one statement.
#[derive(Clone, Debug, Default)]
pub struct ShardPlans {
    /// Of a scatter, a broadcast or a split, in the order of its parts.
    pub parts: Vec<ShardPlan>,
    /// Of a statement that a Postgres finishes: for each pull its shards.
    pub pulls: Vec<Vec<ShardPlan>>,
    /// The finishing statement's.
    pub finish: Option<ShardPlan>,
    /// How many rows each pull has put in its input, and in what time.
    pub filled: Vec<Option<(u64, Duration)>>,
    /// What the router's own steps have made of the shards' rows.
    pub merged: Option<Merged>,
    /// The whole statement's time, where it is to be told.
    pub took: Option<Duration>,
}

/// What one of the router's own steps has made.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    pub rows: u64,
    /// By itself, where it was timed.
    pub took: Option<Duration>,
}

/// A merge that was run to be counted.
#[derive(Clone, Debug)]
pub struct Merged {
    /// The shards' rows, and what each step has made of them.
    pub counts: Vec<Counted>,
    /// What LIMIT and OFFSET have left.
    pub left: Counted,
    /// From the question to the last row.
    pub took: Duration,
}

impl ShardPlan {
    /// `analyzed`: the answer is one of EXPLAIN ANALYZE.
    pub fn new(shard: ShardId, text: String, format: ExplainFormat, analyzed: Option<Duration>) -> Self {
        let rows = analyzed.and_then(|_| actual_rows(&text, format));
        Self { shard, beside: None, text, rows, took: analyzed }
    }

    pub(crate) fn name<'a>(&'a self, view: &View<'a>) -> &'a str {
        self.beside.as_deref().unwrap_or_else(|| shard_name(self.shard, view))
    }

    /// Behind the shard's name.
    pub(crate) fn actual(&self) -> String {
        match (self.took, self.rows) {
            (None, _) => String::new(),
            (Some(took), Some(rows)) => format!(" (actual rows={rows}, answered in {} ms)", milliseconds(took)),
            (Some(took), None) => format!(" (answered in {} ms)", milliseconds(took)),
        }
    }

    fn document(&self, view: &View<'_>) -> Doc {
        let mut fields = vec![("Shard".to_owned(), Doc::text(self.name(view)))];
        fields.extend(self.rows.map(|rows| ("Actual Rows".to_owned(), Doc::Word(rows.to_string()))));
        fields.extend(self.took.map(|took| ("Answered In".to_owned(), Doc::Word(milliseconds(took)))));
        fields.push(("Explain".to_owned(), Doc::Raw(self.text.clone())));
        Doc::Group(fields)
    }
}

impl ShardPlans {
    /// The rows that all parts returned, where every one has said it.
    pub fn rows(&self) -> Option<u64> {
        (!self.parts.is_empty()).then(|| self.parts.iter().map(|part| part.rows).sum())?
    }
}

/// The rows of the answer to an EXPLAIN: lines of text, or one document.
pub fn answer(explain: &ExplainPlan, analysis: &Analysis, view: &View<'_>, shards: &ShardPlans) -> Vec<String> {
    if explain.options.format == ExplainFormat::Text {
        let mut lines = text_with(&explain.plan, analysis, view, shards);
        if matches!(explain.plan.kind, PlanKind::Finish(_)) && !explain.options.analyze {
            lines.push("The finishing statement's estimates are those of empty inputs: nothing was pulled.".to_owned());
        }
        lines.extend(merge_time(explain, shards).map(|took| format!("Merge Time: {} ms", milliseconds(took))));
        lines.extend(shards.took.map(|took| format!("Execution Time: {} ms", milliseconds(took))));
        return lines;
    }
    let list = |plans: &[ShardPlan]| Doc::List(plans.iter().map(|plan| plan.document(view)).collect());
    let mut fields = vec![("Route".to_owned(), Doc::of(&document(&explain.plan, analysis, view)))];
    match &explain.plan.kind {
        PlanKind::Finish(finish) => {
            fields.extend(shards.finish.as_ref().map(|plan| ("Finish".to_owned(), plan.document(view))));
            let pulls = finish.pulls.iter().zip(&shards.pulls).enumerate().map(|(at, (pull, plans))| {
                let mut fields =
                    vec![("Input".to_owned(), Doc::text(&pull.name)), ("Table".to_owned(), Doc::text(&pull.label))];
                if let Some((rows, took)) = shards.filled.get(at).copied().flatten() {
                    fields.push(("Actual Rows".to_owned(), Doc::Word(rows.to_string())));
                    let timed = (!explain.options.untimed).then(|| Doc::Word(milliseconds(took)));
                    fields.extend(timed.map(|took| ("Filled In".to_owned(), took)));
                }
                fields.push(("Shards".to_owned(), list(plans)));
                Doc::Group(fields)
            });
            fields.push(("Pulls".to_owned(), Doc::List(pulls.collect())));
        }
        PlanKind::Scatter { combine, window, .. } => {
            if let Some(merged) = &shards.merged {
                let step = |(step, counted): (String, Counted)| {
                    let mut fields = vec![
                        ("Step".to_owned(), Doc::Text(step)),
                        ("Actual Rows".to_owned(), Doc::Word(counted.rows.to_string())),
                    ];
                    let took = counted.took.map(|took| Doc::Word(milliseconds(took)));
                    fields.extend(took.map(|took| ("Made In".to_owned(), took)));
                    Doc::Group(fields)
                };
                let steps = counted(combine, window.as_ref(), merged).into_iter().map(step).collect();
                fields.push(("Steps".to_owned(), Doc::List(steps)));
            }
            fields.push(("Shards".to_owned(), list(&shards.parts)));
        }
        _ => fields.push(("Shards".to_owned(), list(&shards.parts))),
    }
    fields.extend(merge_time(explain, shards).map(|took| ("Merge Time".to_owned(), Doc::Word(milliseconds(took)))));
    fields.extend(shards.took.map(|took| ("Execution Time".to_owned(), Doc::Word(milliseconds(took)))));
    let mut out = String::new();
    match explain.options.format {
        ExplainFormat::Text => {}
        ExplainFormat::Json => Doc::List(vec![Doc::Group(fields)]).json(0, &mut out),
        ExplainFormat::Yaml => Doc::List(vec![Doc::Group(fields)]).yaml(0, &mut out),
        ExplainFormat::Xml => {
            out.push_str("<explain xmlns=\"http://www.postgresql.org/2009/explain\">\n");
            Doc::Group(fields).xml(1, &mut out);
            out.push_str("</explain>");
        }
    }
    vec![out.trim_end().to_owned()]
}

fn merge_time(explain: &ExplainPlan, shards: &ShardPlans) -> Option<Duration> {
    let told = !explain.options.untimed && explain.options.summary != Some(false);
    shards.merged.as_ref().filter(|_| told).map(|merged| merged.took)
}

pub(crate) fn milliseconds(took: Duration) -> String {
    format!("{:.3}", took.as_secs_f64() * 1000.0)
}

/// The rows of the first step of a plan that was run.
fn actual_rows(text: &str, format: ExplainFormat) -> Option<u64> {
    let behind = match format {
        ExplainFormat::Text => text.lines().next()?.split_once("(actual ")?.1.split_once("rows=")?.1,
        ExplainFormat::Json => text.split_once("\"Actual Rows\":")?.1,
        ExplainFormat::Yaml => text.split_once("Actual Rows:")?.1,
        ExplainFormat::Xml => text.split_once("<Actual-Rows>")?.1,
    };
    let behind = behind.trim_start();
    let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
    behind.get(..end)?.parse().ok()
}

/// A document in any of the structured formats.
enum Doc {
    Text(String),
    /// A number, true, false or null.
    Word(String),
    List(Vec<Doc>),
    Group(Vec<(String, Doc)>),
    /// A document that is in the format already.
    Raw(String),
}

impl Doc {
    fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Word(value.to_string()),
            Value::String(text) => Self::text(text),
            Value::Array(items) => Self::List(items.iter().map(Self::of).collect()),
            Value::Object(fields) => {
                Self::Group(fields.iter().map(|(name, value)| (name.clone(), Self::of(value))).collect())
            }
        }
    }

    /// Begins where the line stands, ends without a line end.
    fn json(&self, depth: usize, out: &mut String) {
        let inner = "  ".repeat(depth + 1);
        let outer = "  ".repeat(depth);
        match self {
            Self::Text(text) => out.push_str(&quoted(text)),
            Self::Word(word) => out.push_str(word),
            // Texts within have no line ends of their own: JSON escapes them.
            Self::Raw(text) => out.push_str(&text.trim().replace('\n', &format!("\n{outer}"))),
            Self::List(items) if items.is_empty() => out.push_str("[]"),
            Self::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at == 0 { "[\n" } else { ",\n" });
                    out.push_str(&inner);
                    item.json(depth + 1, out);
                }
                let _ = write!(out, "\n{outer}]");
            }
            Self::Group(fields) => {
                for (at, (name, value)) in fields.iter().enumerate() {
                    out.push_str(if at == 0 { "{\n" } else { ",\n" });
                    let _ = write!(out, "{inner}{}: ", quoted(name));
                    value.json(depth + 1, out);
                }
                let _ = write!(out, "\n{outer}}}");
            }
        }
    }

    /// Begins at the start of a line (or behind `- `, for what a list holds), ends with a line end.
    fn yaml(&self, depth: usize, out: &mut String) {
        let indent = "  ".repeat(depth);
        match self {
            Self::Text(text) => out.push_str(&format!("{}\n", quoted(text))),
            Self::Word(word) => out.push_str(&format!("{word}\n")),
            Self::Raw(text) => text.trim_end().lines().for_each(|line| out.push_str(&format!("{indent}{line}\n"))),
            Self::List(items) => {
                for item in items {
                    let _ = write!(out, "{indent}- ");
                    item.yaml(depth + 1, out);
                }
            }
            Self::Group(fields) => {
                for (at, (name, value)) in fields.iter().enumerate() {
                    let _ = write!(out, "{}{name}:", if at == 0 { "" } else { &indent });
                    match value {
                        Self::Text(_) | Self::Word(_) => {
                            out.push(' ');
                            value.yaml(0, out);
                        }
                        Self::List(items) if items.is_empty() => out.push_str(" []\n"),
                        Self::List(_) | Self::Raw(_) => {
                            out.push('\n');
                            value.yaml(depth + 1, out);
                        }
                        Self::Group(_) => {
                            let _ = write!(out, "\n{}", "  ".repeat(depth + 1));
                            value.yaml(depth + 1, out);
                        }
                    }
                }
            }
        }
    }

    /// Whole lines.
    fn xml(&self, depth: usize, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(&escaped(text)),
            Self::Word(word) => out.push_str(word),
            // Texts within may have line ends that mean something.
            Self::Raw(text) => {
                out.push_str(text.trim());
                out.push('\n');
            }
            Self::List(items) => items.iter().for_each(|item| item.xml_element("Item", depth, out)),
            Self::Group(fields) => {
                fields.iter().for_each(|(name, value)| value.xml_element(&name.replace(' ', "-"), depth, out))
            }
        }
    }

    fn xml_element(&self, name: &str, depth: usize, out: &mut String) {
        let indent = "  ".repeat(depth);
        let _ = write!(out, "{indent}<{name}>");
        if let Self::Text(_) | Self::Word(_) = self {
            self.xml(0, out);
        } else {
            out.push('\n');
            self.xml(depth + 1, out);
            out.push_str(&indent);
        }
        let _ = writeln!(out, "</{name}>");
    }
}

/// As JSON and YAML quote a text.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\r', "&#x0d;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample(raw: &str) -> Doc {
        let plan =
            Doc::Group(vec![("Shard".to_owned(), Doc::text("s<0>")), ("Explain".to_owned(), Doc::Raw(raw.to_owned()))]);
        Doc::List(vec![Doc::Group(vec![
            ("Route".to_owned(), Doc::of(&serde_json::json!({ "plan": "scatter", "limit": null, "none": [] }))),
            ("Shards".to_owned(), Doc::List(vec![plan])),
        ])])
    }

    #[test]
    fn documents_hold_those_of_the_shards() {
        let mut json = String::new();
        sample("[\n  {\n    \"Plan\": {\"a\": \"x\\ny\"}\n  }\n]").json(0, &mut json);
        let read: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read[0]["Shards"][0]["Explain"][0]["Plan"]["a"], "x\ny", "{json}");
        assert_eq!(read[0]["Route"]["limit"], Value::Null);
        let mut yaml = String::new();
        sample("- Plan: \n    Node Type: \"Result\"").yaml(0, &mut yaml);
        let lines = [
            "- Route:",
            "    limit: null",
            "    none: []",
            "    plan: \"scatter\"",
            "  Shards:",
            "    - Shard: \"s<0>\"",
            "      Explain:",
            "        - Plan: ",
            "            Node Type: \"Result\"",
        ];
        assert_eq!(yaml, lines.map(|line| format!("{line}\n")).concat());
        let mut xml = String::new();
        sample("<explain>\n</explain>").xml(0, &mut xml);
        assert!(
            xml.contains("      <Shard>s&lt;0&gt;</Shard>\n      <Explain>\n<explain>\n</explain>\n      </Explain>\n"),
            "{xml}"
        );
    }

    #[test]
    fn rows_are_those_of_the_first_step() {
        let rows = |text: &str, format| actual_rows(text, format);
        let text = "Limit  (cost=0.00..1.00 rows=9 width=4) (actual time=0.1..0.2 rows=3 loops=1)\n  ->  Seq Scan (actual rows=7 loops=1)";
        assert_eq!(rows(text, ExplainFormat::Text), Some(3));
        assert_eq!(rows("Result (actual rows=1.00 loops=1)", ExplainFormat::Text), Some(1));
        assert_eq!(rows("Result  (cost=0.00 rows=1 width=4)", ExplainFormat::Text), None);
        assert_eq!(rows("[{\"Plan\": {\"Actual Rows\": 12, \"Plans\": []}}]", ExplainFormat::Json), Some(12));
        assert_eq!(rows("- Plan: \n    Actual Rows: 4\n", ExplainFormat::Yaml), Some(4));
        assert_eq!(rows("<Plan><Actual-Rows>5</Actual-Rows>", ExplainFormat::Xml), Some(5));
    }
}
