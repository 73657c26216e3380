//! `Plan` as the tree that EXPLAIN (ROUTE) prints and tests compare.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ids::{ShardId, ShardSet};
use crate::plan::combine::{Combine, Comparison, DistinctFold, Fold, Gather, Output, SortKey, Step, Window};
use crate::plan::shard_plans::{Counted, Merged, ShardPlan, ShardPlans, milliseconds};
use crate::plan::supply::Supplied;
use crate::plan::{
    Access, ClaimPlan, DeliveryPlan, Elsewhere, FinishPlan, Keys, KeysFrom, LockedPlan, Plan, PlanKind, Pull, PullFrom,
    ShardSql, SuppliedRows, SupplyPlan, View, Why,
};
use crate::sql::Analysis;
use crate::sql::advice::Note;
use crate::sql::analyze::PinReason;
use crate::sql::create_as::CreateAs;
use crate::sql::locked::LockedTable;
use crate::sql::outcome::{STATEMENT_MOMENT, TRANSACTION_MOMENT};
use crate::sql::pulls::quoted;
use crate::sql::sequences::fill::Cell;
use crate::sql::sequences::{Draw, Form, Piece, Take};
use crate::sql::supply::MOMENT;

/// The plan as lines, the last step first, each step further in than the one that it feeds.
pub fn text(plan: &Plan, analysis: &Analysis, view: &View<'_>) -> Vec<String> {
    text_with(plan, analysis, view, &ShardPlans::default())
}

/// The same, with what the shards say of their parts below each step.
pub fn text_with(plan: &Plan, analysis: &Analysis, view: &View<'_>, shards: &ShardPlans) -> Vec<String> {
    let mut lines = Lines { lines: Vec::new() };
    let why = because(&plan.why);
    match &plan.kind {
        PlanKind::Refuse(fault) => {
            lines.push(0, format!("Refuse {}: {}", fault.code.as_str(), fault.message));
            if let Some(detail) = &fault.detail {
                lines.push(1, format!("Detail: {detail}"));
            }
            if let Some(hint) = &fault.hint {
                lines.push(1, format!("Hint: {hint}"));
            }
        }
        PlanKind::Single(shard) => lines.push(0, format!("Single {}: {why}", shard_name(*shard, view))),
        PlanKind::Any => lines.push(0, format!("Any shard: {why}")),
        PlanKind::Lookup(lookup) => {
            lines.push(0, format!("Single, on the shard that has the row: {why}"));
            lines.push(1, "Where the registry does not tell:".to_owned());
            let otherwise = text_with(&lookup.otherwise, analysis, view, shards);
            lines.lines.extend(otherwise.into_iter().map(|line| format!("    {line}")));
            return lines.lines;
        }
        PlanKind::Broadcast(sql) => {
            lines.push(0, format!("Broadcast {}: {why}", names(&view.topology.all_shards(), view)));
            lines.sql(1, sql);
            lines.shard_plans(1, &shards.parts, view);
        }
        PlanKind::Scatter { shards: of, sql, combine, window } => {
            let rows = shards.rows();
            let depth = match &shards.merged {
                Some(merged) => lines.counted(combine, window.as_ref(), merged),
                None => lines.combine(combine, window.as_ref(), rows),
            };
            lines.push(depth, format!("Scatter {}: {why}{}", names(of, view), actual(rows)));
            lines.sql(depth + 1, sql);
            lines.shard_plans(depth + 1, &shards.parts, view);
        }
        PlanKind::Finish(finish) => {
            lines.push(0, format!("Finish on {}: {}", finisher(finish, view), finish.reason));
            if let Elsewhere::Never(why) = &finish.elsewhere {
                lines.push(1, format!("Not on a combine server: {why}"));
            }
            lines.push(1, format!("SQL: {}", finish.sql));
            lines.shard_plans(1, shards.finish.as_slice(), view);
            for (at, pull) in finish.pulls.iter().enumerate() {
                let filled = shards.filled.get(at).copied().flatten();
                lines.pull(pull, finish, view, filled);
                lines.shard_plans(2, shards.pulls.get(at).map_or(&[][..], Vec::as_slice), view);
            }
            finish.supplies.iter().for_each(|(_, supply)| lines.supplies(supply, view));
        }
        PlanKind::Stamp(stamped) => {
            lines.push(0, format!("Broadcast, with one value of the clock: {why}"));
            lines.push(1, format!("Value: {}", stamped.question()));
        }
        PlanKind::CreateAs(create) => {
            let made = create_as_lines(create, view).into_iter().enumerate();
            made.for_each(|(at, line)| lines.push(usize::from(at > 0), line));
        }
        PlanKind::Each(parts) => {
            lines.push(0, format!("Each: {why}"));
            for (shard, sql) in parts {
                lines.push(1, shard_name(*shard, view).to_owned());
                lines.sql(2, sql);
            }
        }
        PlanKind::Split { parts, combine } => {
            let depth = lines.combine(combine, None, shards.rows());
            lines.push(depth, format!("Split: {why}"));
            for (at, (shard, sql)) in parts.iter().enumerate() {
                lines.push(depth + 1, shard_name(*shard, view).to_owned());
                lines.sql(depth + 2, sql);
                lines.shard_plans(depth + 2, shards.parts.get(at..=at).unwrap_or_default(), view);
            }
        }
        PlanKind::Explain(explain) => {
            let analyze = if explain.options.analyze { " and runs" } else { "" };
            lines.push(0, format!("Each shard explains{analyze} its part of:"));
            lines.lines.extend(text(&explain.plan, analysis, view).into_iter().map(|line| format!("  {line}")));
            return lines.lines;
        }
        PlanKind::Draw(draw) => {
            lines.push(0, "Draw values of sequences, then route the statement with them".to_owned());
            lines.lines.extend(drawn(draw).into_iter().map(|sequence| format!("  Value of {sequence}")));
            return lines.lines;
        }
        PlanKind::Deliver(delivery) => lines.delivery(delivery, &why, view),
        PlanKind::Supply(supply) => lines.supply(supply, &why, view),
        PlanKind::Claim(claim) => lines.claim(claim, &why, view),
        PlanKind::Locked(locked) => lines.locked(locked, &why, view),
        PlanKind::CopyIn(copy) if copy.distribution.is_none() => {
            lines.push(0, format!("Copy in to every shard: {}", copy.table.name));
        }
        PlanKind::CopyIn(copy) => {
            let key = |(at, name): &(usize, Box<str>)| match at.checked_add(1) {
                Some(field) => format!("{name} = field {field}"),
                // See `CopyInPlan::ABSENT`.
                None => format!("{name} = NULL"),
            };
            let keys: Vec<String> = copy.key_fields.iter().map(key).collect();
            lines.push(0, format!("Copy in by key: {} of {}", keys.join(", "), copy.table.name));
        }
    }
    if plan.access != Access::Read && !matches!(plan.kind, PlanKind::Refuse(_)) {
        lines.push(0, format!("Access: {}", access(plan.access)));
    }
    if let Some(pin) = analysis.pin.filter(|pin| *pin != PinReason::LocalSetting) {
        lines.push(0, format!("Pins the connection: {pin:?}"));
    }
    lines.lines
}

fn parts_document(parts: &[(ShardId, ShardSql)], view: &View<'_>) -> Vec<Value> {
    parts.iter().map(|(shard, sql)| json!({ "shard": shard_name(*shard, view), "sql": sql_text(sql) })).collect()
}

/// The steps of CREATE TABLE AS, and of what is done in its way.
fn create_as_lines(create: &CreateAs, view: &View<'_>) -> Vec<String> {
    let home = shard_name(view.topology.home, view);
    if let Some(temporary) = &create.temporary {
        let fill = temporary.fill.iter().map(|(start, end)| format!("Then, planned by itself: {start}...{end}"));
        let head = format!("Fill {} by way of another table on {home}", create.table);
        return [head, format!("That has the columns of: {}", temporary.like)].into_iter().chain(fill).collect();
    }
    let shards = match create.copies {
        Some(_) => list(&view.topology.all_shards(), view).join(", "),
        None => home.to_owned(),
    };
    let insert = create.insert.iter().map(|insert| format!("Then, planned by itself: {insert}"));
    let head = format!("Create {} without rows on {shards}", create.table);
    [head, format!("SQL: {}", create.empty)].into_iter().chain(insert).collect()
}

fn create_as_document(create: &CreateAs) -> Value {
    match &create.temporary {
        Some(temporary) => {
            let fill = temporary.fill.as_ref().map(|(start, end)| format!("{start}...{end}"));
            json!({ "plan": "create as", "like": &*temporary.like, "insert": fill })
        }
        None => json!({ "plan": "create as", "sql": &*create.empty, "insert": create.insert.as_deref() }),
    }
}

/// The sequences whose values go into the rows of an INSERT.
fn drawn(draw: &Draw) -> Vec<String> {
    let Form::Insert(fill) = &draw.form else { return Vec::new() };
    let pieces = |cell: &Cell| match cell {
        Cell::Plain => Vec::new(),
        Cell::Default(pieces) | Cell::Always(pieces) => pieces.clone(),
    };
    let all = fill.cells.iter().flat_map(pieces).chain(fill.omitted.iter().flat_map(|(_, pieces)| pieces.clone()));
    let sequence = |piece: Piece| match piece {
        Piece::Take { take: Take::Next(sequence), .. } => Some(sequence.to_string()),
        Piece::Take { take: Take::Unique, .. } => Some("pgloom.unique_id()".to_owned()),
        Piece::Take { .. } | Piece::Text(_) => None,
    };
    all.filter_map(sequence).collect()
}

/// The plan as one JSON document, with what would make it another one.
pub fn json(plan: &Plan, analysis: &Analysis, view: &View<'_>, advice: &[Note]) -> String {
    let mut document = document(plan, analysis, view);
    if let (Some(fields), false) = (document.as_object_mut(), advice.is_empty()) {
        let note = |note: &Note| json!({ "because": note.because, "remedy": note.remedy });
        fields.insert("not_one_shard".to_owned(), advice.iter().map(note).collect());
    }
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

/// The plan as a document.
pub fn document(plan: &Plan, analysis: &Analysis, view: &View<'_>) -> Value {
    let mut document = match &plan.kind {
        PlanKind::Refuse(fault) => json!({
            "plan": "refuse", "sqlstate": fault.code.as_str(), "message": fault.message,
            "detail": fault.detail, "hint": fault.hint,
        }),
        PlanKind::Single(shard) => json!({ "plan": "single", "shards": [shard_name(*shard, view)] }),
        PlanKind::Any => json!({ "plan": "any" }),
        PlanKind::Lookup(lookup) => {
            json!({ "plan": "lookup", "otherwise": self::document(&lookup.otherwise, analysis, view) })
        }
        PlanKind::Draw(draw) => json!({ "plan": "draw", "values": drawn(draw) }),
        PlanKind::Broadcast(sql) => json!({
            "plan": "broadcast", "shards": list(&view.topology.all_shards(), view), "sql": sql_text(sql),
        }),
        PlanKind::Scatter { shards, sql, combine, window } => json!({
            "plan": "scatter", "shards": list(shards, view), "sql": sql_text(sql), "combine": steps(combine),
            "limit": window.and_then(|w| w.limit), "offset": window.map(|w| w.offset),
        }),
        PlanKind::Finish(finish) => finish_document(finish, view),
        PlanKind::Stamp(stamped) => json!({ "plan": "stamp", "value": stamped.question() }),
        PlanKind::CreateAs(create) => create_as_document(create),
        PlanKind::Each(parts) => json!({ "plan": "each", "parts": parts_document(parts, view) }),
        PlanKind::Split { parts, combine } => {
            json!({ "plan": "split", "parts": parts_document(parts, view), "combine": steps(combine) })
        }
        PlanKind::Supply(supply) => json!({
            "plan": "supply", "shards": list(&supply.shards, view), "sql": supply.statement,
            "supplies": supplies(supply),
            "moment": supply.moment, "fill": finish_document(&supply.finish, view),
        }),
        PlanKind::Claim(claim) => json!({
            "plan": "claim", "shards": list(&claim.shards, view), "candidates": claim.candidates.text,
            "lock": claim.lock.text, "rows": claim.rows.text, "limit": claim.window.limit, "offset": claim.window.offset,
        }),
        PlanKind::Locked(plan) => json!({
            "plan": "locked", "shards": list(&plan.shards, view), "limit": plan.window.limit, "offset": plan.window.offset,
            "locks": plan.locked.tables.iter().map(LockedTable::describe).collect::<Vec<_>>(),
        }),
        PlanKind::Deliver(delivery) => json!({
            "plan": "deliver", "shards": list(&delivery.targets(view.topology), view), "by": taken_by(delivery),
            "fill": finish_document(&delivery.finish, view),
        }),
        PlanKind::CopyIn(copy) => json!({ "plan": "copy in", "table": copy.table.to_string() }),
        PlanKind::Explain(explain) => json!({
            "plan": "explain", "analyze": explain.options.analyze, "of": self::document(&explain.plan, analysis, view),
        }),
    };
    if let Some(fields) = document.as_object_mut() {
        fields.insert("why".to_owned(), because(&plan.why).into());
        fields.insert("access".to_owned(), access(plan.access).into());
        let pin = analysis.pin.filter(|pin| *pin != PinReason::LocalSetting);
        fields.insert("pins".to_owned(), pin.map_or(Value::Null, |pin| format!("{pin:?}").into()));
    }
    document
}

fn finish_document(finish: &FinishPlan, view: &View<'_>) -> Value {
    let pull = |pull: &Pull| {
        json!({
            "input": pull.name, "table": pull.label, "shards": sources(&pull.from, view), "sql": pull.sql,
            "columns": pull.columns.iter().map(|column| &column.name).collect::<Vec<_>>(),
            "stage": pull.stage, "keys": pull.keys.iter().map(|keys| keys_of(keys, finish)).collect::<Vec<_>>(),
        })
    };
    let mut document = json!({
        "plan": "finish", "on": finisher(finish, view), "reason": *finish.reason, "sql": finish.sql,
        "pulls": finish.pulls.iter().map(pull).collect::<Vec<_>>(),
    });
    if let (Some(fields), false) = (document.as_object_mut(), finish.supplies.is_empty()) {
        let of = |(at, supply): &(usize, SupplyPlan)| {
            json!({
                "input": finish.pulls.get(*at).map(|pull| &pull.name), "supplies": supplies(supply),
                "moment": supply.moment, "fill": finish_document(&supply.finish, view),
            })
        };
        fields.insert("supplies".to_owned(), finish.supplies.iter().map(of).collect());
    }
    document
}

fn supplies(supply: &SupplyPlan) -> Vec<Value> {
    let by = |of: &Supplied| {
        of.place.as_ref().map(|place| place.key.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>())
    };
    let of = |of: &Supplied| json!({ "name": of.name, "rows": supplied(of, supply), "by": by(of) });
    supply.supplies.iter().map(of).collect()
}

/// What the rows are that are sent along, for people.
fn supplied(of: &Supplied, supply: &SupplyPlan) -> String {
    match &of.rows {
        SuppliedRows::Pull(at) => supply.finish.pulls.get(*at).map_or_else(String::new, |pull| pull.label.to_string()),
        SuppliedRows::Query { sql, .. } => sql.clone(),
        SuppliedRows::Claim(claim) => match claim.window.limit {
            Some(limit) => format!("the first {limit} rows that are locked for it"),
            None => "the rows that are locked for it".to_owned(),
        },
    }
}

/// The statement by which a shard takes the rows that are delivered to it.
fn taken_by(delivery: &DeliveryPlan) -> String {
    let names = delivery.depot().map_or(&[][..], |depot| &depot.columns).iter().map(|column| quoted(&column.name));
    let columns = names.collect::<Vec<_>>().join(", ");
    let tail = |tail: &str| if tail.is_empty() { String::new() } else { format!(" {tail}") };
    match &delivery.taking {
        Some(taking) => format!("{} ({columns}) rows{}", taking.head, tail(&taking.tail)),
        None => format!("COPY {} ({columns})", delivery.landing.table),
    }
}

fn access(of: Access) -> &'static str {
    match of {
        Access::Read => "read",
        Access::Lock => "lock",
        Access::Write => "write",
    }
}

/// Why, in words.
pub fn because(why: &Why) -> String {
    match why {
        Why::Key(name) => format!("key {}.{}", name.table, name.columns),
        Why::Keys(name) => format!("keys {}.{}", name.table, name.columns),
        Why::NoKey(name) => format!("no condition on {}.{}", name.table, name.columns),
        Why::Contradiction => "no row can match".to_owned(),
        Why::NoValue(name) => format!(
            "Postgres has an error for it, as {}.{} is compared with no value of its type",
            name.table, name.columns
        ),
        Why::Unsharded => "unsharded".to_owned(),
        Why::Schema(schema) => format!("schema {schema}"),
        Why::Reference => "reference table".to_owned(),
        Why::NoTable => "no table".to_owned(),
        Why::Cursor => "or the shard that has the cursor".to_owned(),
        Why::Ddl => "DDL".to_owned(),
        Why::Unique(rule) => format!("found by unique ({}) of {}", rule.columns.join(", "), rule.table.name),
        Why::Hint => "hint".to_owned(),
        Why::Refused => "refused".to_owned(),
        Why::OneByOne(of) => format!("{}, one shard after the other", of.command),
        Why::Sequence => "by values of sequences".to_owned(),
    }
}

struct Lines {
    lines: Vec<String>,
}

impl Lines {
    fn push(&mut self, depth: usize, line: String) {
        self.lines.push(format!("{}{line}", "  ".repeat(depth)));
    }

    fn sql(&mut self, depth: usize, sql: &ShardSql) {
        let parameters = match sql {
            ShardSql::AsWritten => return,
            ShardSql::Rewritten { parameters, .. } | ShardSql::Timed { parameters, .. } => parameters,
        };
        if let Some(text) = sql_text(sql) {
            self.push(depth, format!("SQL: {text}"));
            if let Some(parameters) = parameters {
                let of: Vec<String> = parameters.iter().map(|p| format!("${}", p + 1)).collect();
                self.push(depth, format!("Parameters: {}", of.join(", ")));
            }
        }
    }

    /// Rows that are put together and delivered.
    fn delivery(&mut self, delivery: &DeliveryPlan, why: &str, view: &View<'_>) {
        let finish = &delivery.finish;
        self.push(0, format!("Deliver to {}: {why}", names(&delivery.targets(view.topology), view)));
        self.push(1, format!("By {}", taken_by(delivery)));
        self.push(1, format!("Put together on {}: {}", finisher(finish, view), finish.reason));
        for column in delivery.depot().map_or(&[][..], |depot| &depot.columns) {
            if let Some(default) = &column.default {
                self.push(2, format!("Default of {}: {default}", column.name));
            }
        }
        self.push(1, format!("SQL: {}", finish.sql));
        self.pulls(finish, view);
    }

    /// What fills the inputs, and what goes along where that changes data.
    fn pulls(&mut self, finish: &FinishPlan, view: &View<'_>) {
        finish.pulls.iter().for_each(|pull| self.pull(pull, finish, view, None));
        finish.supplies.iter().for_each(|(_, supply)| self.supplies(supply, view));
    }

    /// A write that is sent what it reads.
    fn supply(&mut self, supply: &SupplyPlan, why: &str, view: &View<'_>) {
        self.push(0, format!("Supply {}: {why}", names(&supply.shards, view)));
        let with = match supply.with {
            None => "",
            Some(true) => "WITH RECURSIVE ... ",
            Some(false) => "WITH ... ",
        };
        self.push(1, format!("SQL: {with}{}", supply.statement));
        self.push(1, format!("Because: {}", supply.finish.reason));
        self.supplies(supply, view);
    }

    /// What goes along with a write.
    fn supplies(&mut self, supply: &SupplyPlan, view: &View<'_>) {
        if supply.moment {
            self.push(1, format!("With {MOMENT}: the start of the transaction"));
        }
        for of in &supply.supplies {
            let sorted = match &of.place {
                Some(place) => {
                    let key = place.key.iter().map(|(name, _)| quoted(name)).collect::<Vec<_>>().join(", ");
                    format!(", each row to the shard of {key}")
                }
                None => String::new(),
            };
            self.push(1, format!("With {}{sorted}: {}", of.name, supplied(of, supply)));
            if let SuppliedRows::Claim(claim) = &of.rows {
                self.claim_texts(2, claim);
            }
        }
        self.pulls(&supply.finish, view);
    }

    /// Rows that are locked until there are enough.
    fn claim(&mut self, claim: &ClaimPlan, why: &str, view: &View<'_>) {
        let Window { offset, limit } = claim.window;
        let limit = limit.map_or_else(|| "all".to_owned(), |limit| limit.to_string());
        let offset = if offset > 0 { format!(" behind {offset}") } else { String::new() };
        self.push(0, format!("Claim {limit}{offset} of {}: {why}", names(&claim.shards, view)));
        self.claim_texts(1, claim);
    }

    fn locked(&mut self, plan: &LockedPlan, why: &str, view: &View<'_>) {
        let Window { offset, limit } = plan.window;
        let limit = limit.map_or_else(|| "all".to_owned(), |limit| limit.to_string());
        let offset = if offset > 0 { format!(" behind {offset}") } else { String::new() };
        self.push(0, format!("Lock {limit}{offset} of rows put together, {}: {why}", names(&plan.shards, view)));
        plan.locked.tables.iter().for_each(|table| self.push(1, table.describe()));
    }

    fn claim_texts(&mut self, depth: usize, claim: &ClaimPlan) {
        let gather = match &claim.gather {
            Gather::MergeSort(keys) => format!(", MergeSort {}", sort_keys(keys)),
            Gather::Concat | Gather::Interleave(_) => String::new(),
        };
        let parts = [("Candidates", &claim.candidates, &*gather), ("Lock", &claim.lock, ""), ("Rows", &claim.rows, "")];
        for (what, of, how) in parts {
            self.push(depth, format!("{what}{how}: {}", of.text));
            if !of.parameters.is_empty() {
                self.push(depth + 1, format!("Parameters: {}", of.describe()));
            }
        }
    }

    /// What fills one input of a statement that a Postgres finishes.
    /// `filled`: how many rows have come by it, and in what time.
    fn pull(&mut self, pull: &Pull, finish: &FinishPlan, view: &View<'_>, filled: Option<(u64, Duration)>) {
        let from = match (&pull.from, &sources(&pull.from, view)[..]) {
            (PullFrom::Shards(_), []) => "nowhere: no row can match".to_owned(),
            (PullFrom::Any, _) => "any shard".to_owned(),
            (PullFrom::Copies(_), shards) => format!("{}, the same on each", shards.join(", ")),
            (_, shards) => shards.join(", "),
        };
        let verb = if pull.writes { "Change" } else { "Pull" };
        let filled = filled.map_or_else(String::new, |(rows, took)| {
            format!(" (actual rows={rows}, filled in {} ms)", milliseconds(took))
        });
        self.push(1, format!("{verb} {} into {} from {from}{filled}", pull.label, pull.name));
        self.push(2, format!("SQL: {}", pull.sql));
        if !pull.parameters.is_empty() {
            let of = pull.parameters.iter().map(|p| match *p {
                TRANSACTION_MOMENT => "transaction start".to_owned(),
                STATEMENT_MOMENT => "statement start".to_owned(),
                p => format!("${}", p + 1),
            });
            let of: Vec<String> = of.collect();
            self.push(2, format!("Parameters: {}", of.join(", ")));
        }
        for keys in &pull.keys {
            self.push(2, format!("Keys: {}", keys_of(keys, finish)));
        }
        if !pull.primary_key.is_empty() {
            let name = |at: &usize| pull.columns.get(*at).map_or("?", |column| &*column.name);
            self.push(2, format!("Primary key: {}", pull.primary_key.iter().map(name).collect::<Vec<_>>().join(", ")));
        }
    }

    /// What each shard says of its part.
    fn shard_plans(&mut self, depth: usize, plans: &[ShardPlan], view: &View<'_>) {
        for plan in plans {
            self.push(depth, format!("On {}{}", plan.name(view), plan.actual()));
            for line in plan.text.lines() {
                self.push(depth + 1, line.to_owned());
            }
        }
    }

    /// The same of a merge that was run.
    fn counted(&mut self, combine: &Combine, window: Option<&Window>, merged: &Merged) -> usize {
        let drops = usize::from(combine.hidden > 0);
        if drops > 0 {
            self.push(0, dropped(combine));
        }
        let steps = counted(combine, window, merged);
        for (depth, (step, counted)) in steps.iter().enumerate() {
            let took = counted.took.map(|took| format!(", made in {} ms", milliseconds(took)));
            let made = format!("(actual rows={}{})", counted.rows, took.unwrap_or_default());
            self.push(depth + drops, format!("{step} {made}"));
        }
        steps.len() + drops
    }

    /// The steps of a merge; returns how far in what feeds them stands. `rows`: how many rows the shards return together.
    fn combine(&mut self, combine: &Combine, window: Option<&Window>, rows: Option<u64>) -> usize {
        let mut all = Vec::new();
        // What the steps below the window leave of the rows, where that can be told without running them.
        let merged = combine.steps.iter().fold(rows, |rows, step| match step {
            Step::Sort(_) => rows,
            Step::Aggregate { groups, .. } if groups.is_empty() => rows.map(|_| 1),
            Step::Aggregate { .. } | Step::Filter(_) | Step::Distinct { .. } => None,
        });
        let left = merged.map(|rows| {
            let rows = rows.saturating_sub(window.map_or(0, |w| w.offset));
            window.and_then(|w| w.limit).map_or(rows, |limit| rows.min(limit))
        });
        if combine.hidden > 0 {
            all.push(dropped(combine));
        }
        all.extend(limited(window).map(|line| format!("{line}{}", actual(left))));
        all.extend(steps(combine));
        for (depth, line) in all.iter().enumerate() {
            self.push(depth, line.clone());
        }
        all.len()
    }
}

fn dropped(combine: &Combine) -> String {
    format!("Drop {} column{}", combine.hidden, if combine.hidden == 1 { "" } else { "s" })
}

fn limited(window: Option<&Window>) -> Option<String> {
    match window? {
        Window { offset: 0, limit: Some(limit) } => Some(format!("Limit {limit}")),
        Window { offset, limit: Some(limit) } => Some(format!("Limit {limit} offset {offset}")),
        Window { offset, limit: None } => (*offset > 0).then(|| format!("Offset {offset}")),
    }
}

/// The steps of a merge that was run, the last one first, and how many rows came out of each.
pub(crate) fn counted(combine: &Combine, window: Option<&Window>, merged: &Merged) -> Vec<(String, Counted)> {
    let steps = steps(combine).into_iter().zip(merged.counts.iter().rev().copied());
    limited(window).map(|line| (line, merged.left)).into_iter().chain(steps).collect()
}

/// Which values go with a pull, if there are not too many.
fn keys_of(keys: &Keys, finish: &FinishPlan) -> String {
    let from = match &keys.from {
        KeysFrom::Input { pull, column } => {
            format!("{column} of {}", finish.pulls.get(*pull).map_or("?", |pull| &pull.name))
        }
        KeysFrom::Home { sql, .. } => sql.clone(),
    };
    let routes = if keys.routes.is_some() { ", on the shards of these keys" } else { "" };
    format!("{} among {from}{routes}", keys.column)
}

/// The steps of a merge, the last one first.
fn steps(combine: &Combine) -> Vec<String> {
    let mut lines: Vec<String> = combine.steps.iter().rev().map(step).collect();
    match &combine.gather {
        Gather::Concat => {}
        Gather::MergeSort(keys) => lines.push(format!("MergeSort {}", sort_keys(keys))),
        Gather::Interleave(_) => lines.push("Interleave".to_owned()),
    }
    lines
}

fn step(step: &Step) -> String {
    match step {
        Step::Aggregate { groups, sorted, outputs } => {
            let how = if *sorted { "GroupAggregate" } else { "HashAggregate" };
            let how = if groups.is_empty() { "Aggregate" } else { how };
            let by = match groups.is_empty() {
                true => String::new(),
                false => format!(" by {}", places(groups)),
            };
            format!("{how}{by}: {}", outputs.iter().map(output).collect::<Vec<_>>().join(", "))
        }
        Step::Filter(conditions) => {
            let condition = |c: &crate::plan::combine::Condition| {
                let op = match c.op {
                    Comparison::Eq => "=",
                    Comparison::Ne => "<>",
                    Comparison::Lt => "<",
                    Comparison::Le => "<=",
                    Comparison::Gt => ">",
                    Comparison::Ge => ">=",
                };
                format!("{} {op} {}", c.column + 1, c.value)
            };
            format!("Filter {}", conditions.iter().map(condition).collect::<Vec<_>>().join(" and "))
        }
        Step::Distinct { columns, sorted } => {
            format!(
                "{} {columns} column{}",
                if *sorted { "Unique" } else { "HashDistinct" },
                if *columns == 1 { "" } else { "s" }
            )
        }
        Step::Sort(keys) => format!("Sort {}", sort_keys(keys)),
    }
}

fn output(output: &Output) -> String {
    let column = output.column + 1;
    match output.fold {
        Fold::Key => format!("{column}"),
        Fold::Count => format!("count({column})"),
        Fold::Sum => format!("sum({column})"),
        Fold::Min => format!("min({column})"),
        Fold::Max => format!("max({column})"),
        Fold::BoolAnd => format!("bool_and({column})"),
        Fold::BoolOr => format!("bool_or({column})"),
        Fold::BitAnd => format!("bit_and({column})"),
        Fold::BitOr => format!("bit_or({column})"),
        Fold::BitXor => format!("bit_xor({column})"),
        Fold::Avg { count } => format!("avg({column}/{})", count + 1),
        Fold::Distinct(DistinctFold::Count) => format!("count(distinct {column})"),
        Fold::Distinct(DistinctFold::Sum) => format!("sum(distinct {column})"),
        Fold::Distinct(DistinctFold::Avg) => format!("avg(distinct {column})"),
    }
}

fn sort_keys(keys: &[SortKey]) -> String {
    let key = |key: &SortKey| {
        let direction = if key.descending { " desc" } else { "" };
        let nulls = match (key.descending, key.nulls_first) {
            (false, true) => " nulls first",
            (true, false) => " nulls last",
            _ => "",
        };
        format!("{}{direction}{nulls}", key.column + 1)
    };
    keys.iter().map(key).collect::<Vec<_>>().join(", ")
}

fn places(columns: &[usize]) -> String {
    columns.iter().map(|column| (column + 1).to_string()).collect::<Vec<_>>().join(", ")
}

fn actual(rows: Option<u64>) -> String {
    rows.map_or_else(String::new, |rows| format!(" (actual rows={rows})"))
}

/// The name of a shard, and of a connection on which a Postgres finishes.
pub fn shard_name<'a>(shard: ShardId, view: &View<'a>) -> &'a str {
    view.topology.shards.get(shard.index()).map_or("?", |shard| &shard.name)
}

/// Where a statement is finished.
fn finisher<'a>(finish: &'a FinishPlan, view: &View<'a>) -> &'a str {
    finish.on.as_deref().unwrap_or_else(|| shard_name(view.topology.home, view))
}

fn list<'a>(shards: &ShardSet, view: &View<'a>) -> Vec<&'a str> {
    shards.iter().map(|shard| shard_name(shard, view)).collect()
}

/// The shards of a pull; of a reference table none is chosen yet.
fn sources<'a>(from: &PullFrom, view: &View<'a>) -> Vec<&'a str> {
    match from {
        PullFrom::Shards(shards) | PullFrom::Copies(shards) => list(shards, view),
        PullFrom::Any => Vec::new(),
        PullFrom::One(shard) => vec![shard_name(*shard, view)],
    }
}

fn names(shards: &ShardSet, view: &View<'_>) -> String {
    list(shards, view).join(", ")
}

fn sql_text(sql: &ShardSql) -> Option<Cow<'_, str>> {
    match sql {
        ShardSql::AsWritten => None,
        ShardSql::Rewritten { text, .. } => Some(Cow::Borrowed(text)),
        ShardSql::Timed { .. } => sql_text(&sql.told("[transaction start]")).map(|text| Cow::Owned(text.into_owned())),
    }
}
