//! What one pull brings: which columns of a table a statement can need, under which name its input goes, what its primary key is
//! needed for.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    AccessExpr, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Merge, ObjectName, OutputClause,
    Select, SelectItem, SelectItemQualifiedWildcardKind, Statement, TableFactor, Visit, Visitor,
};

use crate::catalog::{Column, RelationKind, Table};
use crate::ids::{Oid, QualifiedName};
use crate::sql::alone::Alone;
use crate::sql::functions::{FunctionClass, classify};
use crate::sql::model::{LeafId, Model, NodeId, Obstacle, TableUse};
use crate::sql::names::{folded, parts};
use crate::sql::outcome::{FinishText, KeysFrom, PullSource, PullText, Top};
use crate::sql::pieces::{Piece, Pieces};
use crate::sql::returned::modifying_with;
use crate::sql::temporary::is_temporary;
use crate::sql::words::{self, Words};

/// Where a name stands in a text.
#[derive(Default)]
struct Behind {
    /// Somewhere it stands alone, or behind what is no name.
    nothing: bool,
    /// Behind these names and a dot.
    names: HashSet<String>,
}

/// The names that a statement mentions, wherever and as whatever.
pub(crate) struct Mentions {
    /// Names that can be columns of the tables of each SELECT; `None`: the statement changes rows, and its words are all that is known.
    alone: Option<Alone>,
    /// Every word and quoted name, and behind which names it stands; `None`: not all can be read.
    words: Option<HashMap<String, Behind>>,
    /// How often it names the schema of temporary tables, which only the session's own connection has.
    pub temporary: usize,
    /// Names that stand alone in expressions: of columns, or of whole rows.
    bare: HashSet<String>,
    /// `name.*` in a select list or in RETURNING.
    starred: HashSet<String>,
    /// `name.*` in an expression: a whole row.
    rows: HashSet<String>,
    /// Names that RETURNING may give back as they are.
    returned: HashSet<String>,
    /// `table.column`
    qualified: HashSet<(String, String)>,
    pub casts_to_named_types: bool,
    pub functions: HashSet<String>,
    /// Of the expression that is visited next: it names a table, whose column follows.
    root: Option<*const Expr>,
}

impl Mentions {
    /// `text`: what the tree was parsed from. (The tree has the definitions of views besides.)
    pub fn of(tree: &Statement, text: &str) -> Self {
        let mut temporary = 0;
        let printed = tree.to_string();
        let words = [text, &printed].into_iter().map(|text| words::qualified(text, true)).inspect(|names| {
            let of_temporary = names.iter().flatten().filter(|(_, name)| name.starts_with("pg_temp")).count();
            temporary = temporary.max(of_temporary);
        });
        let words = words.collect::<Option<Vec<_>>>().map(|names| {
            let mut found: HashMap<String, Behind> = HashMap::new();
            for (of, name) in names.into_iter().flatten() {
                let behind = found.entry(name).or_default();
                match of {
                    None => behind.nothing = true,
                    Some(of) => {
                        behind.names.insert(of);
                    }
                }
            }
            found
        });
        let changes = !matches!(tree, Statement::Query(_)) || modifying_with(tree).is_some();
        let mut mentions = Mentions {
            alone: (!changes).then(|| Alone::of(tree)),
            words,
            temporary,
            bare: HashSet::new(),
            starred: HashSet::new(),
            rows: HashSet::new(),
            returned: HashSet::new(),
            qualified: HashSet::new(),
            casts_to_named_types: false,
            functions: HashSet::new(),
            root: None,
        };
        let _ = tree.visit(&mut mentions);
        mentions
    }

    fn stars(&mut self, items: &[SelectItem]) {
        for item in items {
            if let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item {
                self.starred.extend(last_name(name));
            }
        }
    }

    /// A name that an expression of RETURNING may have for its value.
    fn returns(&mut self, expr: &Expr) {
        match expr {
            Expr::Identifier(name) => {
                self.returned.insert(folded(name).into_owned());
            }
            Expr::Nested(inner) => self.returns(inner),
            Expr::Case { conditions, else_result, .. } => {
                conditions.iter().for_each(|when| self.returns(&when.result));
                else_result.iter().for_each(|other| self.returns(other));
            }
            Expr::Function(function) => {
                const CHOOSES: [&str; 4] = ["coalesce", "nullif", "greatest", "least"];
                let chooses = last_name(&function.name).is_some_and(|name| CHOOSES.contains(&&*name));
                if let (true, FunctionArguments::List(list)) = (chooses, &function.args) {
                    for arg in &list.args {
                        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg {
                            self.returns(arg);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether RETURNING may give back the whole row of a table that it calls by this name.
    pub fn returns_row(&self, name: &str) -> bool {
        self.returned.contains(name)
    }

    /// Whether the statement may use the whole row of a table that it calls by this name.
    pub fn whole_row(&self, name: &str) -> bool {
        self.bare.contains(name) || self.rows.contains(name)
    }
}

/// What a statement that changes rows gives back of them.
pub(crate) fn returning(statement: &Statement) -> &[SelectItem] {
    let items = match statement {
        Statement::Insert(insert) => insert.returning.as_deref(),
        Statement::Update(update) => update.returning.as_deref(),
        Statement::Delete(delete) => delete.returning.as_deref(),
        Statement::Merge(Merge { output: Some(OutputClause::Returning { select_items, .. }), .. }) => {
            Some(&select_items[..])
        }
        _ => None,
    };
    items.unwrap_or_default()
}

fn last_name(name: &ObjectName) -> Option<String> {
    parts(name).map(|(_, name)| name)
}

impl Visitor for Mentions {
    type Break = ();

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        self.stars(&select.projection);
        ControlFlow::Continue(())
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        let items = returning(statement);
        self.stars(items);
        for item in items {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                self.returns(expr);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            // The table of `table.column[1]`
            Expr::Identifier(_) if self.root == Some(std::ptr::from_ref(expr)) => {}
            Expr::Identifier(_) if self.alone.as_ref().is_some_and(|alone| alone.is_output(expr)) => {}
            Expr::Identifier(name) => {
                self.bare.insert(folded(name).into_owned());
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                if let (Expr::Identifier(table), Some(AccessExpr::Dot(Expr::Identifier(column)))) =
                    (&**root, access_chain.first())
                {
                    self.qualified.insert((folded(table).into_owned(), folded(column).into_owned()));
                    self.root = Some(std::ptr::from_ref(&**root));
                }
            }
            Expr::CompoundIdentifier(names) => {
                if let [.., table, column] = &names[..] {
                    self.qualified.insert((folded(table).into_owned(), folded(column).into_owned()));
                }
            }
            Expr::QualifiedWildcard(name, _) => self.rows.extend(last_name(name)),
            Expr::Function(function) => {
                self.functions.extend(last_name(&function.name));
                if let FunctionArguments::List(list) = &function.args {
                    for arg in &list.args {
                        let (FunctionArg::Unnamed(arg)
                        | FunctionArg::Named { arg, .. }
                        | FunctionArg::ExprNamed { arg, .. }) = arg;
                        if let FunctionArgExpr::QualifiedWildcard(name) = arg {
                            self.rows.extend(last_name(name));
                        }
                    }
                }
            }
            Expr::Cast { data_type, .. } => {
                self.casts_to_named_types |= is_of_users(data_type);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Whether users may have made the type: it has a name of its own, and not one of pg_catalog.
fn is_of_users(data_type: &DataType) -> bool {
    match data_type {
        DataType::Custom(name, _) => {
            let schema = name.0.len().checked_sub(2).and_then(|at| name.0.get(at)?.as_ident());
            schema.is_none_or(|schema| folded(schema) != "pg_catalog")
        }
        _ => false,
    }
}

/// A table at one place of the statement: what fills its input.
pub(crate) struct Scan<'a> {
    pub model: &'a Model<'a>,
    pub leaf: LeafId,
    pub name: &'a QualifiedName,
    pub table: &'a Table,
    pub only: bool,
    /// Its alias has a column list: columns go by their position.
    pub renamed: bool,
    pub mentions: &'a Mentions,
}

impl Scan<'_> {
    /// Positions of the columns that the statement may use. `key`: what is taken where it uses none.
    fn columns(&self, key: &[Box<str>]) -> Vec<usize> {
        let leaf = &self.model.leaves[self.leaf];
        let whole = self.renamed
            || self.model.levels[leaf.level].natural
            || self.model.levels[leaf.level].wildcard
            || self.mentions.starred.contains(&*leaf.name)
            || self.mentions.whole_row(&leaf.name);
        let all = 0..self.table.columns.len();
        let Some(words) = self.mentions.words.as_ref().filter(|_| !whole) else { return all.collect() };
        // `name.column` is a column of what goes by this name: the table here, and at other places, which may share the pull.
        let tables = self.model.collected.as_deref().map_or(&[][..], |collected| &collected.tables);
        let of_table = |used: &&TableUse| used.relation.table().is_some_and(|table| table.name == self.table.name);
        let mut names: Vec<&str> =
            tables.iter().filter(of_table).map(|used| &*self.model.leaves[used.leaf].name).collect();
        names.push(&leaf.name);
        let factors: Vec<*const TableFactor> = tables.iter().filter(of_table).map(|used| used.factor).collect();
        let is_named = |at: &usize| {
            let name = &*self.table.columns[*at].name;
            let alone = |behind: &Behind| match &self.mentions.alone {
                Some(alone) => factors.iter().any(|factor| alone.names(*factor, name)),
                None => behind.nothing,
            };
            let behind = words.get(name);
            behind.is_some_and(|behind| alone(behind) || names.iter().any(|name| behind.names.contains(*name)))
        };
        let named: Vec<usize> = all.filter(is_named).collect();
        if !named.is_empty() {
            return named;
        }
        // Rows are counted by something.
        vec![key.first().and_then(|name| self.table.column(name)).map_or(0, |(at, _)| at)]
    }

    /// The columns of the primary key, where a level is grouped by all of them and may select others.
    fn primary_key(&self, key: &[Box<str>], columns: &[usize]) -> Vec<usize> {
        let Some(collected) = &self.model.collected else { return Vec::new() };
        let leaf = &self.model.leaves[self.leaf];
        let grouped = collected.groups.iter().filter(|(level, _)| *level == leaf.level);
        let nodes: Vec<&NodeId> = grouped.flat_map(|(_, nodes)| nodes).collect();
        let by =
            |at: &usize| leaf.columns.list.get(*at).and_then(|c| c.node).is_some_and(|node| nodes.contains(&&node));
        let holds = |unique: &&Vec<usize>| {
            unique.iter().all(|at| by(at) && self.table.columns.get(*at).is_some_and(|column| column.not_null))
                // Only with the sharding key in it is it one over all shards.
                && key.iter().all(|name| unique.iter().any(|at| self.table.columns[*at].name == *name))
        };
        let Some(unique) = self.table.firm_keys().find(holds) else { return Vec::new() };
        // The key of a table is none of its children's, whose rows come with it.
        let parent = |table: &&Arc<Table>| table.is_child_of(self.name);
        if !self.only
            && self.table.kind != RelationKind::PartitionedTable
            && self.model.scope.catalog.tables.values().any(|table| parent(&table))
        {
            return Vec::new();
        }
        unique.iter().filter_map(|at| columns.iter().position(|column| column == at)).collect()
    }

    /// What the statement does with the table that an input cannot stand for.
    pub fn check(&self) -> Result<(), Obstacle> {
        let name = &self.model.leaves[self.leaf].name;
        if self.table.columns.is_empty() {
            return Err(Obstacle::new(format!("the columns of table \"{}\" are not known", self.name.name)));
        }
        let known = |column: &str| {
            let leaves = self.model.leaves.iter().filter(|leaf| leaf.name == *name);
            leaves
                .into_iter()
                .any(|leaf| !leaf.columns.complete || leaf.columns.list.iter().any(|c| *c.name == *column))
        };
        // `table.function` calls a function with the whole row; what is no function either is Postgres's to say.
        let is_function = |name: &str| classify(&self.model.scope, None, name) != FunctionClass::Unknown;
        let called = |(of, column): &&(String, String)| **of == **name && !known(column) && is_function(column);
        if let Some((_, column)) = self.mentions.qualified.iter().find(called) {
            return Err(Obstacle::new(format!("\"{name}.{column}\" is no column of table \"{}\"", self.name.name)));
        }
        if self.mentions.whole_row(name) {
            let mentions = self.mentions;
            let typed = mentions.functions.contains("pg_typeof")
                || mentions.casts_to_named_types
                || self.model.uses.user_function.is_some();
            if typed {
                return Err(Obstacle::new(format!(
                    "a use of whole rows of table \"{}\" by their type",
                    self.name.name
                )));
            }
        }
        Ok(())
    }

    /// The pull without a name. `key`: the sharding key, of a sharded table.
    pub fn pull(
        &self,
        source: PullSource,
        key: &[Box<str>],
        filters: Vec<Pieces>,
        top: Option<Top>,
    ) -> Result<PullText, Obstacle> {
        let columns = self.columns(key);
        let primary_key = self.primary_key(key, &columns);
        let columns: Vec<&Column> = columns.iter().map(|at| &self.table.columns[*at]).collect();
        if is_temporary(self.table) && self.mentions.casts_to_named_types {
            // The row type of such a table is one that is not there where the statement is finished.
            return Err(Obstacle::new("a cast to a type of users beside a temporary table"));
        }
        if let Some(column) = columns.iter().find(|column| self.has_placed_type(column)) {
            return Err(Obstacle::new(format!("column \"{}\" has a type of one schema", column.name))
                .hint("Leave the column out, or make the type in schema public."));
        }
        let foreign = matches!(&source, PullSource::One(shard) if *shard != self.model.scope.topology.home);
        let create = (foreign || is_temporary(self.table)).then(|| typed(&columns)).flatten();
        Ok(PullText { primary_key, filters, top, create, ..whole_pull(self.name, self.only, &columns, source) })
    }

    /// A type of a placed schema is not there where the statement is finished.
    fn has_placed_type(&self, column: &Column) -> bool {
        let parts = column.declared.as_deref().and_then(|declared| Words::new(declared, true)?.parts());
        match parts.as_deref() {
            Some([schema, _, ..]) => self.model.scope.topology.place_of_schema(schema).is_some(),
            _ => false,
        }
    }
}

/// A pull of every row, without a name.
pub(crate) fn whole_pull(name: &QualifiedName, only: bool, columns: &[&Column], source: PullSource) -> PullText {
    let list: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
    let only = if only { "ONLY " } else { "" };
    let table = format!("{}.{}", quoted(&name.schema), quoted(&name.name));
    PullText {
        name: String::new(),
        label: name.to_string().into(),
        table: Some(name.clone()),
        binary: Some(columns.iter().all(|column| is_portable(column.type_oid))),
        columns: columns.iter().map(|column| (column.name.clone(), column.type_oid, column.typmod)).collect(),
        primary_key: Vec::new(),
        source,
        head: format!("SELECT {} FROM {only}{table}", list.join(", ")),
        path: "".into(),
        whole: None,
        create: None,
        filters: Vec::new(),
        top: None,
        keys: Vec::new(),
        stage: 0,
        writes: false,
    }
}

/// A query of nothing with these columns; `None`: what they are is not known.
pub(crate) fn typed(columns: &[&Column]) -> Option<String> {
    let list: Option<Vec<String>> = columns
        .iter()
        .map(|column| {
            let declared = column.declared.as_deref()?;
            let (of_type, collation) = match declared.split_once(" COLLATE ") {
                Some((of_type, collation)) => (of_type, format!(" COLLATE {collation}")),
                None => (declared, String::new()),
            };
            Some(format!("CAST(NULL AS {of_type}){collation} AS {}", quoted(&column.name)))
        })
        .collect();
    Some(format!("SELECT {}", list?.join(", ")))
}

/// Takes a pull among the others, or finds one of them that brings its rows already; its position.
pub(crate) fn share(pulls: &mut Vec<PullText>, pull: PullText) -> usize {
    let same = |other: &PullText| {
        let whole = other.filters.is_empty() && other.top.is_none() && is_whole(&other.source);
        other.head == pull.head
            && other.whole == pull.whole
            && other.primary_key == pull.primary_key
            && (whole || (other.filters == pull.filters && other.source == pull.source && other.top == pull.top))
    };
    match pulls.iter().position(same) {
        Some(at) => at,
        None => add(pulls, pull),
    }
}

/// Takes a pull among the others under a name of its own; its position.
pub(crate) fn add(pulls: &mut Vec<PullText>, pull: PullText) -> usize {
    let base = input_name(&pull);
    let before = pulls.iter().filter(|other| other.name.starts_with(&base)).count();
    let name = if before == 0 { base } else { format!("{base}_{}", before + 1) };
    pulls.push(PullText { name, ..pull });
    pulls.len() - 1
}

/// Adds the pulls of another query to those of a statement, under names that end with `suffix`, and puts these into its text.
pub(crate) fn append(pulls: &mut Vec<PullText>, of: FinishText, suffix: &str) -> Pieces {
    let base = pulls.len();
    // The longer ones first: one can begin with another.
    let mut names: Vec<String> = of.pulls.iter().map(|pull| pull.name.clone()).collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    for mut pull in of.pulls {
        pull.name.push_str(suffix);
        for keys in &mut pull.keys {
            if let KeysFrom::Input { pull, .. } = &mut keys.from {
                *pull += base;
            }
        }
        pulls.push(pull);
    }
    let mut sql = of.sql;
    for piece in &mut sql.0 {
        if let Piece::Text(text) = piece {
            *text = rename(text, &names, suffix).into();
        }
    }
    sql
}

/// The text with the suffix behind each of these inputs.
fn rename(text: &str, names: &[String], suffix: &str) -> String {
    const SCHEMA: &str = "pg_temp.";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(SCHEMA) {
        let (before, name) = rest.split_at(at + SCHEMA.len());
        out.push_str(before);
        rest = name;
        if let Some(name) = names.iter().find(|name| rest.starts_with(&***name)) {
            out.push_str(name);
            out.push_str(suffix);
            rest = rest.get(name.len()..).unwrap_or_default();
        }
    }
    out + rest
}

/// Whether a pull from here brings every row of its table, whatever the call's values are.
fn is_whole(source: &PullSource) -> bool {
    match source {
        PullSource::Sharded(groups) => groups.iter().any(|group| group.expr == crate::sql::keys::KeyExpr::Any),
        PullSource::Reference | PullSource::Copies | PullSource::One(_) | PullSource::Rows(_) => true,
    }
}

/// The same for the same columns of the same table: an input that is there already can be used again.
fn input_name(pull: &PullText) -> String {
    let words = format!("{}\0{:?}\0{:?}{}", pull.head, pull.columns, pull.primary_key, pull.path);
    format!("pgloom_{:08x}", fingerprint(&words))
}

/// FNV-1a: what is named by it must not change with the version of the compiler.
pub(crate) fn fingerprint(words: &str) -> u32 {
    words.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether COPY BINARY of the type reads the same on every server.
pub(crate) fn is_portable(type_oid: Oid) -> bool {
    /// `FirstNormalObjectId` (access/transam.h)
    const FIRST_USER_TYPE: Oid = 16384;
    // regproc, the other reg* types and their arrays, aclitem and its array, pg_node_tree; and tsquery with its array: an empty one is
    // written in a binary form that is not read again (tsqueryrecv, utils/adt/tsquery.c).
    const AS_TEXT: [Oid; 27] = [
        24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191, 1008, 2207, 2208, 2209, 2210, 2211, 3735, 3770,
        4090, 4097, 4192, 1033, 1034, 194, 3615, 3645,
    ];
    type_oid < FIRST_USER_TYPE && !AS_TEXT.contains(&type_oid)
}
