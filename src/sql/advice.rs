//! Why a statement is not tied to one key, in words: the conditions that name a sharding key and say nothing of it, and the joins
//! that leave it out. Made for EXPLAIN alone, by a walk of its own; no plan depends on it.

use std::collections::HashMap;
use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, Query, Statement, Visit, Visitor};

use crate::sql::analyze::Analyzer;
use crate::sql::drawing::Drawing;
use crate::sql::facts::{is_row, parameter_index, row, unnest};
use crate::sql::finish::Parsed;
use crate::sql::keys::{KeyExpr, KeyGroup};
use crate::sql::lexer::TokenKind;
use crate::sql::model::{Collected, LeafId, LevelId, Model, NodeId, RefId, RowsOf};
use crate::sql::spelling::{self, Read};
use crate::sql::template::Scan;
use crate::sql::utility::{self, StatementKind};
use crate::sql::{NameScope, on_deep_stack, words};

/// Why one thing keeps a statement from one shard, and what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub because: String,
    pub remedy: String,
}

/// One sharded table of the statement, as it is named there.
#[derive(Clone, Debug)]
pub struct Examined {
    pub name: String,
    pub group: KeyGroup,
    /// What the statement says of its key in a form that ties it to no value.
    pub notes: Vec<Note>,
    /// Every row of it goes with a row of another table that has the same key.
    pub tied: bool,
    /// What would tie it to a table before it.
    pub join: Option<Note>,
}

/// The sharded tables of a statement, and an unsharded one that it reads beside them.
#[derive(Clone, Debug, Default)]
pub struct Examination {
    pub tables: Vec<Examined>,
    pub home: Option<String>,
}

/// Looks at a query, INSERT, UPDATE or DELETE; `scan` is the scan of `text`.
pub fn examine(text: &str, scan: &Scan, scope: &NameScope<'_>) -> Examination {
    let start = match utility::classify(text) {
        StatementKind::Query | StatementKind::Insert | StatementKind::Update | StatementKind::Delete => scan.start,
        StatementKind::Explain { inner, .. } => inner,
        _ => return Examination::default(),
    };
    let Some(tokens) = words::tokens(text, scope.standard_strings) else { return Examination::default() };
    let mut used: HashMap<u16, u32> = HashMap::new();
    for token in tokens.iter().filter(|token| token.kind == TokenKind::Parameter) {
        if let Some(index) = parameter_index(words::text_of(text, token)) {
            *used.entry(index).or_default() += 1;
        }
    }
    let analyzer = Analyzer {
        scope: *scope,
        text,
        scan,
        used,
        parameters: 0,
        once: false,
        draws: Drawing::Nothing,
        told: Default::default(),
    };
    on_deep_stack(text, &tokens, || walk(&analyzer, start)).flatten().unwrap_or_default()
}

fn walk(of: &Analyzer<'_>, start: usize) -> Option<Examination> {
    let bytes = start..of.scan.end.max(start);
    let Read { tree, other } = spelling::read(of.text.get(bytes.clone())?, start, &of.scan.slots)?;
    let parsed = Parsed { tree: &tree, bytes, other };
    let mut model = Model::new(of.scope, parsed.literals(of), of.used.clone());
    model.collected = Some(Box::new(Collected::default()));
    let walked = match &tree {
        Statement::Query(query) => model.query(query, None, None, &None).map(drop),
        other => of.change(&mut model, &parsed, other, &None, None).map(drop),
    };
    walked.ok()?;
    let tables = tables(&model).map(|id| examined(&model, id)).collect();
    Some(Examination { tables, home: model.uses.home.as_deref().map(str::to_owned) })
}

/// All but what stands for rows of others.
fn tables(model: &Model<'_>) -> impl Iterator<Item = RefId> {
    (0..model.refs.len()).filter(|id| model.refs[*id].of != RowsOf::Queries)
}

fn examined(model: &Model<'_>, id: RefId) -> Examined {
    let others = || tables(model).filter(|other| *other != id);
    // Of two that follow each other the first one speaks.
    let tied = others().any(|other| model.follows(id, other) && (other < id || !model.follows(other, id)));
    let join = (!tied && id > 0).then(|| join(model, id)).flatten();
    Examined { name: name(model, id), group: model.group_of(id), notes: notes(model, id), tied, join }
}

/// The table as the statement calls it.
fn name(model: &Model<'_>, id: RefId) -> String {
    let reference = &model.refs[id];
    match &*model.leaves[reference.leaf].name {
        "" => reference.name.table.to_string(),
        name => name.to_owned(),
    }
}

fn column(model: &Model<'_>, node: NodeId) -> Option<String> {
    let leaf = &model.leaves[model.nodes[node].leaf];
    let column = leaf.columns.list.iter().find(|column| column.node == Some(node))?;
    Some(format!("{}.{}", leaf.name, column.name))
}

/// What would tie a table to the first one before it.
fn join(model: &Model<'_>, id: RefId) -> Option<Note> {
    let (this, first) = (&model.refs[id], &model.refs[0]);
    let (ours, theirs) = (name(model, id), name(model, 0));
    if this.distribution != first.distribution {
        let of = |id: RefId| &model.scope.topology.distribution(model.refs[id].distribution).name;
        return Some(Note {
            because: format!("{theirs} and {ours} are sharded by different distributions ({} and {})", of(0), of(id)),
            remedy: format!(
                "shard both by one distribution, or make one of them a reference table: {ours} or {theirs}"
            ),
        });
    }
    if !meet(model, this.leaf, first.leaf) {
        let columns = &this.name.columns;
        return Some(Note {
            because: format!("{theirs} and {ours} stand in different parts of the statement"),
            remedy: format!(
                "give {ours}.{columns} the same value as {theirs}.{} in WHERE of its own part",
                first.name.columns
            ),
        });
    }
    let missing: Vec<String> = first
        .key
        .iter()
        .zip(&this.key)
        .filter(|(a, b)| !model.reach(**b).contains(a))
        .filter_map(|(a, b)| Some(format!("{} = {}", column(model, *b)?, column(model, *a)?)))
        .collect();
    let joined = model.edges.iter().find_map(|(from, to)| {
        let both = model.nodes[*from].leaf == this.leaf && model.nodes[*to].leaf == first.leaf;
        both.then(|| Some(format!("{} = {}", column(model, *from)?, column(model, *to)?)))?
    });
    let joined = joined.map_or_else(|| "not by their keys".to_owned(), |on| format!("by {on}, which is not their key"));
    (!missing.is_empty()).then(|| Note {
        because: format!("{theirs} and {ours} are joined {joined}"),
        remedy: format!("join them by {} as well", missing.join(" AND ")),
    })
}

/// Whether a condition can tie rows of the two to each other: they are of one FROM list, or one stands in a subquery beside the other.
fn meet(model: &Model<'_>, a: LeafId, b: LeafId) -> bool {
    let levels =
        |leaf| -> Vec<LevelId> { model.enclosing(leaf).into_iter().map(|leaf| model.leaves[leaf].level).collect() };
    let (a, b) = (levels(a), levels(b));
    let sees = |of: &[LevelId], others: &[LevelId]| {
        of.iter().any(|level| {
            let outward = std::iter::successors(Some(*level), |level| model.levels[*level].outer);
            outward.into_iter().any(|level| others.contains(&level))
        })
    };
    sees(&a, &b) || sees(&b, &a)
}

/// A table of a FULL JOIN, of which conditions behind it say nothing before it.
fn full_join(model: &Model<'_>, id: RefId) -> Option<Note> {
    let reference = &model.refs[id];
    let joined = |leaf: LeafId| model.levels[model.leaves[leaf].level].full_join;
    let table = &reference.name.table;
    model.enclosing(reference.leaf).into_iter().any(joined).then(|| Note {
        because: format!(
            "FULL JOIN keeps rows of {} that match no other, whatever the others' keys are",
            name(model, id)
        ),
        remedy: format!(
            "give its key a value before it is joined: (SELECT ... FROM {table} WHERE {} = ...)",
            reference.name.columns
        ),
    })
}

fn notes(model: &Model<'_>, id: RefId) -> Vec<Note> {
    if let Some(note) = full_join(model, id) {
        return vec![note];
    }
    let reference = &model.refs[id];
    let enclosing = model.enclosing(reference.leaf);
    let filters = model.collected.as_deref().map_or(&[][..], |collected| &collected.filters);
    let mut notes: Vec<Note> = Vec::new();
    for filter in filters {
        let Some(key) = key_within(model, filter.level, &filter.expr, &reference.key) else { continue };
        let says = Says { model, level: filter.level, key, columns: &reference.name.columns };
        let note = match filter.leaves.iter().any(|leaf| enclosing.contains(leaf)) {
            false if says.is_join(&filter.expr) => None,
            false => Some(Note {
                because: format!(
                    "{} stands in the ON of an outer join, which keeps rows that do not fulfil it",
                    short(&filter.expr)
                ),
                remedy: "move the condition into WHERE, if such rows are not wanted".to_owned(),
            }),
            true => says.note(&filter.expr),
        };
        notes.extend(note.filter(|note| !notes.contains(note)));
    }
    // Of a key of several columns each must have a value.
    if let (KeyExpr::Equal { .. }, true) = (model.group_of(id).expr, reference.key.len() > 1) {
        notes.push(Note {
            because: format!("only one of the key columns ({}) has a value", reference.name.columns),
            remedy: format!("give the other key columns of {} a value too", name(model, id)),
        });
    }
    notes
}

/// The key column that an expression names, subqueries left out.
fn key_within(model: &Model<'_>, level: usize, expr: &Expr, key: &[NodeId]) -> Option<NodeId> {
    struct Search<'m, 's> {
        model: &'m Model<'s>,
        level: usize,
        key: &'m [NodeId],
        depth: usize,
    }
    impl Visitor for Search<'_, '_> {
        type Break = NodeId;
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<NodeId> {
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<NodeId> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<NodeId> {
            let names = match expr {
                Expr::Identifier(name) => std::slice::from_ref(name),
                Expr::CompoundIdentifier(names) => names,
                _ => return ControlFlow::Continue(()),
            };
            let node = self.model.find_column(self.level, names).and_then(|found| found.column.node);
            match node.filter(|node| self.depth == 0 && self.key.contains(node)) {
                Some(node) => ControlFlow::Break(node),
                None => ControlFlow::Continue(()),
            }
        }
    }
    match expr.visit(&mut Search { model, level, key, depth: 0 }) {
        ControlFlow::Break(node) => Some(node),
        ControlFlow::Continue(()) => None,
    }
}

/// A condition that names a key column.
struct Says<'m, 's> {
    model: &'m Model<'s>,
    level: usize,
    key: NodeId,
    /// The key's columns, for the reader.
    columns: &'m str,
}

impl Says<'_, '_> {
    /// What keeps the condition from giving the key a value; `None`: it gives one, or it is a join.
    fn note(&self, expr: &Expr) -> Option<Note> {
        let plain = || format!("compare {} itself with a literal or a parameter", self.columns);
        let (because, remedy) = match unnest(expr) {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                let (side, other) = match key_within(self.model, self.level, left, &[self.key]) {
                    Some(_) => (left, right),
                    None => (right, left),
                };
                match self.around(side) {
                    Some(around) => (around, plain()),
                    None => self.compared(other)?,
                }
            }
            Expr::BinaryOp { op: BinaryOperator::Or, .. } => (
                "an arm of the OR does not tie the key, so that the whole may match anywhere".to_owned(),
                format!("repeat the condition on {} in every arm", self.columns),
            ),
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq,
                right,
            } => {
                let side = if key_within(self.model, self.level, left, &[self.key]).is_some() { left } else { right };
                self.around(side).map_or_else(|| self.range(), |around| (around, plain()))
            }
            Expr::Between { expr, negated: false, .. } => {
                self.around(expr).map_or_else(|| self.range(), |around| (around, plain()))
            }
            Expr::InList { expr, list, negated: false } => match self.around(expr) {
                Some(around) => (around, plain()),
                None if list.iter().all(|member| self.is_value(member)) => return None,
                None => ("a member of the list is neither a literal nor a parameter".to_owned(), plain()),
            },
            Expr::InSubquery { .. } | Expr::Exists { .. } => self.later("the values come from a subquery", "are"),
            Expr::AnyOp { left, .. } => match self.around(left) {
                Some(around) => (around, plain()),
                None => return None,
            },
            Expr::BinaryOp { op: BinaryOperator::NotEq, .. }
            | Expr::InList { negated: true, .. }
            | Expr::IsNotNull(_)
            | Expr::UnaryOp { .. } => ("it excludes values of the key and asks for none".to_owned(), plain()),
            Expr::Like { .. } | Expr::ILike { .. } | Expr::SimilarTo { .. } => {
                ("a pattern matches many values of the key".to_owned(), plain())
            }
            _ => ("it is not a comparison of the key with a value".to_owned(), plain()),
        };
        Some(Note { because: format!("{}: {because}", short(expr)), remedy })
    }

    /// Whether it is a value, or a row of values.
    fn is_value(&self, expr: &Expr) -> bool {
        match row(expr) {
            Some(members) => members.into_iter().all(|member| self.model.as_value(member).is_some()),
            None => self.model.as_value(expr).is_some(),
        }
    }

    fn is_join(&self, expr: &Expr) -> bool {
        let column = |side: &Expr| self.model.as_column(self.level, side).is_some();
        matches!(unnest(expr), Expr::BinaryOp { left, op: BinaryOperator::Eq, right } if column(left) && column(right))
    }

    /// What stands around the key column; `None`: nothing that matters.
    fn around(&self, side: &Expr) -> Option<String> {
        if self.model.as_column(self.level, side).is_some() {
            let bytes = self.model.nodes[self.key].ty.collation.equality_is_bytes();
            return (!bytes).then(|| "the column's collation calls different texts equal".to_owned());
        }
        Some(match unnest(side) {
            Expr::Function(function) if is_row(function) => return None,
            Expr::Function(function) => format!("function {}() around the key column", function.name),
            Expr::Cast { data_type, .. } => format!("the key column is compared as {data_type}, which is not its type"),
            Expr::Tuple(_) => return None,
            _ => "an expression around the key column".to_owned(),
        })
    }

    /// What the key is compared with.
    fn compared(&self, other: &Expr) -> Option<(String, String)> {
        if let Some(found) = self.model.as_column(self.level, other) {
            let other = found.column.node?;
            let differ = !self.model.comparable(self.key, other);
            return differ.then(|| {
                let because = "the two columns are of different types, whose values are placed differently".to_owned();
                (because, "give both columns one type".to_owned())
            });
        }
        match unnest(other) {
            other if self.model.as_value(other).is_some() => None,
            Expr::Tuple(_) => None,
            Expr::Function(function) if is_row(function) => None,
            // A column of a query whose columns are not known: a join.
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => None,
            Expr::Subquery(_) if self.model.selected_value(other).is_some() => None,
            Expr::Subquery(_) => Some(self.later("the value comes from a subquery", "is")),
            Expr::Function(function) => {
                Some(self.later(&format!("the value comes from function {}()", function.name), "is"))
            }
            _ => Some(self.later("the value comes from an expression", "is")),
        }
    }

    fn later(&self, what: &str, verb: &str) -> (String, String) {
        (
            format!("{what}, and {verb} known only when the statement runs"),
            "ask for the value first, and send it as a parameter".to_owned(),
        )
    }

    fn range(&self) -> (String, String) {
        ("a range of values can lie on several shards".to_owned(), format!("give {} one value", self.columns))
    }
}

fn short(expr: &Expr) -> String {
    let text = expr.to_string();
    match text.char_indices().nth(80) {
        None => text,
        Some((at, _)) => format!("{} ...", &text[..at]),
    }
}
