//! What analysis gathers of one statement: query levels, the tables they scan, which columns are equal, what conditions hold.
//!
//! A *leaf* is an item of a FROM list. A *reference* is a leaf that scans a sharded table. A *node* is a column of a base table
//! under one leaf. An *edge* `a -> b` says: a row of `a`'s leaf matters only together with a row whose `b` equals its `a`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash};
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;
use sqlparser::ast::{Cte, Expr, Query, Select, TableFactor};

use crate::catalog::{RelationKind, Sets, Table, UserFunction, Volatility};
use crate::fault::Fault;
use crate::ids::{DistributionId, Oid, QualifiedName, ShardSet};
use crate::sql::NameScope;
use crate::sql::analyze::PinReason;
use crate::sql::block_time::ReadsTime;
use crate::sql::carried::Carriers;
use crate::sql::facts::conjuncts;
use crate::sql::infer::is_text;
use crate::sql::keys::{Bound, KeyExpr, KeyGroup, KeyName, Operand};
use crate::sql::literals::Literals;
use crate::sql::modifying::{Fixed, Modified};
use crate::sql::names::{Place, Relation};
use crate::sql::numbered::Numbering;
use crate::sql::operators::{note_columns, note_unwritten};
use crate::sql::outcome::FoundBy;
use crate::sql::outer_joins::JoinOn;
use crate::sql::reached::{Reach, Reached};
use crate::sql::sampling::Sample;
use crate::sql::sets::Expanding;
use crate::sql::temporary::is_temporary;
use crate::topology::UniqueRule;
use crate::types::{Collation, KeyType, oid};

pub(crate) type LevelId = usize;
pub(crate) type LeafId = usize;
pub(crate) type RefId = usize;
pub(crate) type NodeId = usize;

/// Most table references in one statement, CTEs counted at each use.
pub(crate) const MAX_LEAVES: usize = 1024;
/// The leaves of a level among which one is looked for by going through them.
const FEW_LEAVES: usize = 16;

/// Why the walk over a statement ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    Refuse(Fault),
    /// The router does not model this part of the syntax.
    NotUnderstood(&'static str),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Refuse(fault)
    }
}

/// Why a statement cannot run in parts on several shards.
#[derive(Clone, Debug)]
pub(crate) struct Obstacle {
    pub detail: Cow<'static, str>,
    pub hint: Cow<'static, str>,
}

pub(crate) const HINT_KEY: &str =
    "Give the sharding key one value in WHERE, so that one shard can run the whole statement.";

impl Obstacle {
    pub fn new(detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: detail.into(), hint: HINT_KEY.into() }
    }

    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = hint.into();
        self
    }

    pub fn fault(self) -> Fault {
        Fault::unsupported("statement is not supported across shards", self.detail, self.hint)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ColumnType {
    pub oid: Oid,
    pub collation: Collation,
}

impl ColumnType {
    /// A text type always has a collation: without word of it, one that orders as we do not know.
    pub fn new(oid: Oid, collation: Collation) -> Self {
        match collation {
            Collation::None if is_text(oid) => Self { oid, collation: Collation::Deterministic },
            collation => Self { oid, collation },
        }
    }

    pub fn plain(oid: Oid) -> Self {
        Self::new(oid, Collation::None)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub name: Box<str>,
    pub ty: Option<ColumnType>,
    pub node: Option<NodeId>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    pub list: Vec<Column>,
    /// Whether `list` is all of them, in order.
    pub complete: bool,
}

/// How the rows of a leaf or query lie on the shards.
#[derive(Clone, Debug)]
pub(crate) enum Spread {
    /// Every shard has all of them.
    Same,
    /// Every shard has its part. `refs`: the references they come from, tied to each other by their keys. `anchors`: those of
    /// them whose key is in every row (not null-extended by an outer join) and passes through to the output.
    Parted {
        refs: Vec<RefId>,
        anchors: Vec<RefId>,
    },
    Tangled(Obstacle),
}

impl Spread {
    /// Every shard has its part, by no key.
    pub const APART: Self = Self::Parted { refs: Vec::new(), anchors: Vec::new() };
}

#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub level: LevelId,
    /// By which its columns are qualified.
    pub name: Box<str>,
    /// Of a table without alias.
    pub schema: Option<Box<str>>,
    pub columns: Columns,
    pub spread: Spread,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub leaf: LeafId,
    pub ty: ColumnType,
    /// `pg_attribute.atttypmod`
    pub typmod: i32,
    /// It is no column of a table: the statement makes it of others, or of values.
    pub made: bool,
}

/// What a reference stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowsOf {
    Table,
    /// What a statement in WITH has returned.
    Change,
    /// Rows of other references, as a set operation or recursion puts them together.
    Queries,
}

/// A sharded table under one leaf.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub leaf: LeafId,
    pub distribution: DistributionId,
    pub name: Arc<KeyName>,
    /// The nodes of the key columns.
    pub key: Vec<NodeId>,
    pub of: RowsOf,
    /// Those of its columns that are unique over all shards.
    pub uniques: Vec<(Arc<UniqueRule>, Vec<NodeId>)>,
}

/// A column name that USING or NATURAL made one of two.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    pub name: Box<str>,
    /// The leaf and column that stand for it; `None`: neither alone does.
    pub stands_for: Option<(LeafId, Column)>,
}

#[derive(Debug, Default)]
pub(crate) struct Level {
    /// Where names that this level does not have are looked up.
    pub outer: Option<LevelId>,
    /// The leaf whose subquery this level is.
    pub leaf_of: Option<LeafId>,
    pub leaves: Vec<LeafId>,
    /// The same by their names, where there are many.
    by_name: HashMap<Box<str>, Vec<LeafId>>,
    pub merged: Vec<Merged>,
    /// NATURAL JOIN of columns that are not all known: unqualified names mean nothing.
    pub unknown_merge: bool,
    pub aggregates: bool,
    pub order_sensitive: bool,
    /// What each window of the level is partitioned by.
    pub windows: Vec<Window>,
    /// The windows that a WINDOW clause names.
    pub named_windows: Vec<(Box<str>, Vec<NodeId>)>,
    pub grouping_sets: bool,
    /// NATURAL JOIN reads every name of its leaves: no column of them can be left out.
    pub natural: bool,
    /// Its select list has `*` for all its leaves.
    pub wildcard: bool,
    /// There is a FULL JOIN in it.
    pub full_join: bool,
    /// Nothing needs its rows: see [`Model::need_not`].
    pub needless: bool,
    /// What joins the sides of its outer joins, and of those that these stand in.
    pub joins: Vec<JoinOn>,
    /// Columns that a FULL JOIN has made of two.
    pub full_columns: Vec<NodeId>,
    /// Of what it gives, what is a name of the catalog: the place in its select list, and its own name.
    pub names: Vec<(usize, Box<str>)>,
}

/// A use of a window function.
#[derive(Clone, Debug)]
pub(crate) enum Window {
    /// `OVER name`
    Named(Box<str>),
    /// `OVER (PARTITION BY columns ...)`; other expressions in PARTITION BY are left out.
    Partitioned(Vec<NodeId>),
}

/// A condition on nodes, each with the leaf of the level that it was found under.
#[derive(Clone, Debug)]
pub(crate) enum Cond {
    True,
    False,
    Equal { node: NodeId, leaf: LeafId, operand: Operand },
    Between { node: NodeId, leaf: LeafId, low: Option<Bound>, high: Option<Bound> },
    All(Vec<Cond>),
    Either(Vec<Cond>),
}

/// A condition that holds for every row of `leaves` that matters.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub cond: Cond,
    pub leaves: Vec<LeafId>,
}

/// What else a statement touches, by its first example.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    /// An aggregate in a subquery may be one of the query around it.
    pub outer_aggregate: bool,
    /// Must run on the home shard, because of this.
    pub home: Option<Cow<'static, str>>,
    /// Must run on the shards of these placed schemas: the first of each shard.
    pub places: Vec<Place>,
    pub reference: Option<Box<str>>,
    /// A catalog relation: that of whichever shard runs the statement.
    pub system: Option<Box<str>>,
    pub pin: Option<PinReason>,
    pub clock: Option<Box<str>>,
    /// The definition of a view reads the clock.
    pub clock_in_view: bool,
    /// A text like `now` that is read as a time: what reads it reads the clock of its own transaction.
    pub moment: bool,
    /// What else reads the time of the transaction.
    pub reads_time: ReadsTime,
    pub volatile: Option<Box<str>>,
    pub server: Option<Box<str>>,
    pub unknown_function: Option<Box<str>>,
    /// A user-defined function that is neither immutable nor declared safe.
    pub unsafe_function: Option<Box<str>>,
    pub user_function: Option<Box<str>>,
    pub runs_sql: Option<Box<str>>,
    /// A function that is called, or may be, as an attribute of what it is called with: see [`crate::sql::attributes`].
    pub attribute: Option<Box<str>>,
    pub system_column: Option<Box<str>>,
    /// Whether one is used outside of RETURNING; `None`: there is none.
    pub system_column_outside: Option<bool>,
    pub numbering: Numbering,
    /// It gives random numbers that `setseed` decides.
    pub random: bool,
    /// A function that tells how its argument is stored.
    pub stored: Option<Box<str>>,
    /// It locks rows.
    pub locking: bool,
    /// A function in it takes advisory locks.
    pub locks_by_function: bool,
    /// It locks rows of a reference table.
    pub locks_copies: bool,
    pub sample: Option<Sample>,
    /// By a seed: the same rows each time.
    pub sample_repeats: bool,
    /// INSERT, UPDATE or DELETE anywhere below the top.
    pub writing_cte: bool,
    /// Of those, one that changes a reference table, and whether there is one that changes anything else.
    pub cte_writes_copies: Option<Box<str>>,
    pub cte_writes_parts: bool,
    /// The statement itself is INSERT, UPDATE or DELETE.
    pub writing: bool,
    /// What needs the home shard, or that of a schema, is a function with effects.
    pub home_function: bool,
    /// Of these, one that does more than take advisory locks.
    pub home_changes: bool,
    /// Sequences that the server takes values of, for columns that the statement leaves out.
    pub takes: Vec<QualifiedName>,
    /// It takes one of each if it succeeds, whatever its rows are.
    pub surely: bool,
    /// Triggers run, which may take values of any.
    pub takes_any: bool,
    /// It writes a distributed table that the catalog does not know.
    pub unseen: bool,
    /// It names something that is not known to be a table, or one whose rows SQL can move to other shards.
    pub unsettled: bool,
    /// A function or type of a placed schema.
    pub placed_name: Option<Box<str>>,
}

impl Uses {
    /// Notes that a function changes settings, or takes locks, where it runs.
    pub fn note_sets(&mut self, sets: Sets) {
        self.pin = match (sets, self.pin) {
            (Sets::Nothing, pin) => pin,
            (Sets::Locally, None | Some(PinReason::LocalSetting)) => Some(PinReason::LocalSetting),
            (Sets::Locks, None) => Some(PinReason::AdvisoryLock),
            (Sets::Locks, Some(pin)) if pin != PinReason::LocalSetting => Some(pin),
            (Sets::Locally | Sets::Locks | Sets::Lasting, _) => Some(PinReason::Setting),
        };
    }

    /// Notes what a function of a user's may do.
    pub fn note_user_function(&mut self, name: &str, function: UserFunction) {
        self.user_function.get_or_insert_with(|| name.into());
        if !function.declared_safe && function.volatility != Volatility::Immutable {
            self.unsafe_function.get_or_insert_with(|| name.into());
        }
        if function.volatility == Volatility::Volatile {
            self.volatile.get_or_insert_with(|| name.into());
        }
    }

    /// Notes that the statement must run there.
    pub fn need(&mut self, place: &Place) {
        if !self.places.iter().any(|known| known.shard == place.shard) {
            self.places.push(place.clone());
        }
    }

    /// What ties the statement to one shard, besides the keys of its tables: that shard, and why it.
    pub fn one_shard(&self) -> Option<String> {
        if let Some(place) = self.places.first() {
            return Some(match &place.schema {
                Some(schema) => format!("the shard of schema \"{schema}\""),
                None => "the shard that has the session's temporary tables".to_owned(),
            });
        }
        let system = || self.system.as_ref().map(|name| format!("the home shard for catalog relation {name:?}"));
        self.home.as_ref().map(|what| format!("the home shard for {what}")).or_else(system)
    }
}

/// What tier 2 asks of a walk besides. The pointers are compared and never followed.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub tables: Vec<TableUse>,
    /// Views, and whether they read a sharded table.
    pub views: Vec<(*const TableFactor, Arc<Table>, bool)>,
    pub filters: Vec<Filter>,
    /// What each grouped level is grouped by.
    pub groups: Vec<(LevelId, Vec<NodeId>)>,
    /// Queries in FROM, WITH, expressions and set operations. One in WITH counts at each use of it.
    pub parts: Vec<Part>,
    /// The leaves that stand for queries of a WITH.
    pub ctes: Vec<LeafId>,
    /// Rows count also where nothing comes of them: something is called for each.
    pub all_rows: bool,
}

/// Where a query stands within the statement. The pointers are compared and never followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PartOf {
    Query(*const Query),
    /// A SELECT that a set operation puts to others, without parentheses around it.
    Arm(*const Select),
}

/// A query within the statement, and what its walk has added to the model.
#[derive(Debug)]
pub(crate) struct Part {
    pub of: PartOf,
    /// Of one that is no FROM item, with the nodes that conditions on them go through to.
    pub columns: Columns,
    /// It cannot look at what is around it.
    pub closed: bool,
    /// How its rows lie.
    pub spread: Spread,
    /// How the rows that it reads lie, for each SELECT in it.
    pub bases: Vec<Spread>,
    /// The FROM item that it is; `None`: it stands in an expression.
    pub leaf: Option<LeafId>,
    pub levels: std::ops::Range<LevelId>,
    pub leaves: std::ops::Range<LeafId>,
    pub refs: std::ops::Range<RefId>,
    pub subqueries: std::ops::Range<usize>,
}

/// A table that the statement names at one place. One in a WITH query counts at each use of it.
#[derive(Debug)]
pub(crate) struct TableUse {
    pub factor: *const TableFactor,
    pub leaf: LeafId,
    pub relation: Relation,
}

/// A conjunct that every row of these leaves fulfils which matters.
#[derive(Debug)]
pub(crate) struct Filter {
    pub level: LevelId,
    pub expr: Expr,
    pub leaves: Vec<LeafId>,
}

/// Everything that the walk over one statement fills.
pub(crate) struct Model<'s> {
    pub scope: NameScope<'s>,
    pub literals: Literals,
    /// How often each `$n` (n - 1) occurs.
    pub parameters: HashMap<u16, u32>,
    pub levels: Vec<Level>,
    pub leaves: Vec<Leaf>,
    /// The leaves that scan reference tables, and their names.
    pub copies: Vec<(LeafId, Box<str>)>,
    pub nodes: Vec<Node>,
    pub refs: Vec<Reference>,
    pub edges: Vec<(NodeId, NodeId)>,
    /// What follows from these.
    reached: RefCell<Reached>,
    /// What the filters of a level say of single columns, once they are known.
    pub carriers: RefCell<HashMap<LevelId, Rc<Carriers>>>,
    /// Levels for which it has been looked whether a condition comes before their rows.
    pub gated: RefCell<HashMap<LevelId, bool>>,
    pub facts: Vec<Fact>,
    pub uses: Uses,
    /// The first reason why the statement cannot run in parts.
    pub obstacle: Option<Obstacle>,
    /// How many view definitions the walk is inside of: literals there are no slots of the statement.
    pub view_depth: usize,
    /// Output columns of the subqueries behind IN, where they are columns of tables; by the subquery's address.
    pub subquery_columns: HashMap<*const Query, Vec<Option<(LeafId, NodeId)>>>,
    /// Places of `tableoid`, and of names of the catalog, that are told by name or compared with one another, until the walk comes to them; see
    /// [`crate::sql::numbered`].
    pub told_numbers: HashSet<*const Expr>,
    /// How many queries the walk is inside of whose columns are none that the client is told: set operations, and rows that are stored.
    pub set_arms: usize,
    /// CTEs being expanded (a reference to one of them is recursive), and those referenced at all; by their address.
    pub expanding: Vec<Expanding>,
    pub referenced: HashSet<*const Cte>,
    /// FROM items whose rows come in an order of their own.
    pub ordered: HashSet<LeafId>,
    /// Subqueries in expressions: how their rows lie, and the level that they stand in.
    pub subqueries: Vec<(Spread, LevelId)>,
    pub collected: Option<Box<Collected>>,
    /// The FROM item that the walk is at.
    pub factor: Option<*const TableFactor>,
    /// How many expressions and LATERAL items the walk is inside of, where a query can look at what is around it.
    pub correlated: usize,
    /// What the names of tables were found to mean.
    pub resolved: DefaultHasher,
    /// Some name is looked up in the search path by Postgres alone.
    pub by_path: bool,
    pub supplied: Supplied,
    /// Names that are columns of nothing that the walk has met, where that is asked for.
    pub unresolved: Option<Vec<String>>,
    /// What statements in WITH return that change data; by the address of the WITH query.
    pub modified: HashMap<*const Cte, Modified>,
    /// What they insert by given keys.
    pub fixed: Vec<Fixed>,
}

/// What counts as something that every shard has, because it is sent along with the statement. The pointers are compared and never followed.
#[derive(Debug, Default)]
pub(crate) struct Supplied {
    pub factors: HashSet<*const TableFactor>,
    /// Queries, and what they give.
    pub queries: HashMap<*const Query, Columns>,
}

impl<'s> Model<'s> {
    /// Whether rows must be there also where the statement's result shows that nothing comes of them.
    pub fn needs_all_rows(&self) -> bool {
        self.collected.as_deref().is_some_and(|collected| collected.all_rows)
    }

    pub fn new(scope: NameScope<'s>, literals: Literals, parameters: HashMap<u16, u32>) -> Self {
        let mut uses = Uses::default();
        note_unwritten(&scope, &mut uses);
        Self {
            scope,
            literals,
            parameters,
            levels: Vec::new(),
            leaves: Vec::new(),
            copies: Vec::new(),
            nodes: Vec::new(),
            refs: Vec::new(),
            edges: Vec::new(),
            reached: RefCell::default(),
            carriers: RefCell::default(),
            gated: RefCell::default(),
            facts: Vec::new(),
            uses,
            obstacle: None,
            view_depth: 0,
            subquery_columns: HashMap::new(),
            told_numbers: HashSet::new(),
            set_arms: 0,
            expanding: Vec::new(),
            referenced: HashSet::new(),
            ordered: HashSet::new(),
            subqueries: Vec::new(),
            collected: None,
            factor: None,
            correlated: 0,
            resolved: DefaultHasher::new(),
            by_path: false,
            supplied: Supplied::default(),
            unresolved: None,
            modified: HashMap::new(),
            fixed: Vec::new(),
        }
    }

    /// Notes a condition for pulls. `leaves`: those whose rows it restricts before any row is null-extended.
    pub fn collect_filter(&mut self, level: LevelId, condition: &Expr, leaves: impl FnOnce() -> Vec<LeafId>) {
        if let Some(collected) = self.collected.as_mut().filter(|_| self.view_depth == 0) {
            let leaves = leaves();
            self.carriers.get_mut().remove(&level);
            self.gated.get_mut().clear();
            for part in conjuncts(condition) {
                collected.filters.push(Filter { level, expr: part.clone(), leaves: leaves.clone() });
            }
        }
    }

    /// The shards on which alone the statement can run, for the sake of all but its sharded tables.
    pub fn needs(&self) -> ShardSet {
        let mut shards: ShardSet = self.uses.places.iter().map(|place| place.shard).collect();
        if self.uses.home.is_some() {
            shards.insert(self.scope.topology.home);
        }
        if self.uses.system.is_some() && (shards.is_empty() || !self.refs.is_empty()) {
            shards.insert(self.scope.base().shard);
        }
        shards
    }

    /// Notes what the name of a table was found to mean.
    pub fn note_resolved(&mut self, name: &str, relation: &Relation) {
        self.uses.unsettled |= !self.is_settled(relation);
        if let Some(table) = relation.table() {
            note_columns(&self.scope, &mut self.uses, table);
        }
        match relation {
            Relation::Sharded { name, .. } | Relation::Reference { name, .. } | Relation::View { name, .. } => {
                name.hash(&mut self.resolved);
            }
            // Each session has its own.
            Relation::Unsharded { table: Some(table), .. } if is_temporary(table) => self.by_path = true,
            Relation::Unsharded { table: Some(table), .. } => table.name.hash(&mut self.resolved),
            // What it is, is known where it lies.
            Relation::Unsharded { table: None, .. } => self.by_path = true,
            Relation::System => name.hash(&mut self.resolved),
        }
    }

    /// Whether the rows of what a name means lie where the configuration says.
    fn is_settled(&self, relation: &Relation) -> bool {
        let topology = self.scope.topology;
        match relation {
            Relation::Sharded { name, .. } | Relation::Reference { name, .. } => {
                topology.from_sql.is_empty() || topology.tables.contains_key(name) && !topology.from_sql.contains(name)
            }
            // It is what it reads.
            Relation::View { .. } => true,
            Relation::Unsharded { table: Some(table), place } => {
                let holds_rows = match table.kind {
                    RelationKind::Table | RelationKind::PartitionedTable | RelationKind::MaterializedView => true,
                    RelationKind::View | RelationKind::Foreign | RelationKind::Sequence => false,
                };
                holds_rows && (place.schema.is_some() || topology.shards.len() == 1)
            }
            Relation::Unsharded { table: None, .. } | Relation::System => false,
        }
    }

    pub fn add_level(&mut self, outer: Option<LevelId>, leaf_of: Option<LeafId>) -> LevelId {
        self.levels.push(Level { outer, leaf_of, ..Level::default() });
        self.levels.len() - 1
    }

    /// Takes the leaf into its level.
    pub fn add_leaf(&mut self, leaf: Leaf) -> Result<LeafId, Stop> {
        if self.leaves.len() >= MAX_LEAVES {
            return Err(Stop::NotUnderstood("more than 1024 table references"));
        }
        let id = self.leaves.len();
        let level = &mut self.levels[leaf.level];
        level.leaves.push(id);
        self.leaves.push(leaf);
        if level.leaves.len() > FEW_LEAVES {
            // Those before it too, the first time.
            let indexed = if level.by_name.is_empty() { 0 } else { level.leaves.len() - 1 };
            for leaf in level.leaves.iter().skip(indexed) {
                level.by_name.entry(self.leaves[*leaf].name.clone()).or_default().push(*leaf);
            }
        }
        Ok(id)
    }

    pub fn add_node(&mut self, leaf: LeafId, ty: ColumnType, typmod: i32) -> NodeId {
        self.nodes.push(Node { leaf, ty, typmod, made: false });
        self.nodes.len() - 1
    }

    /// A node that is no column of a table.
    pub fn add_made_node(&mut self, leaf: LeafId, ty: ColumnType, typmod: i32) -> NodeId {
        self.nodes.push(Node { leaf, ty, typmod, made: true });
        self.nodes.len() - 1
    }

    /// Keeps the first obstacle: what it names is what the client reads.
    pub fn hinder(&mut self, obstacle: Obstacle) {
        self.obstacle.get_or_insert(obstacle);
    }

    /// The leaves of a level that have this name, and may have others.
    pub fn leaves_called(&self, level: LevelId, name: &str) -> &[LeafId] {
        let level = &self.levels[level];
        match level.leaves.len() > FEW_LEAVES {
            true => level.by_name.get(name).map_or(&[], Vec::as_slice),
            false => &level.leaves,
        }
    }

    /// Notes `a = b` that holds for the rows of `leaves` that matter; each column with its leaf.
    pub fn add_equality(&mut self, a: (LeafId, NodeId), b: (LeafId, NodeId), leaves: &[LeafId]) {
        if !self.comparable(a.1, b.1) || self.scope.catalog.customs.compare() {
            return;
        }
        for (from, to) in [(a, b), (b, a)] {
            if leaves.contains(&from.0) {
                self.edges.push((from.1, to.1));
            }
        }
    }

    /// Whether equality of the two columns is equality of canonical key bytes.
    pub fn comparable(&self, a: NodeId, b: NodeId) -> bool {
        let (a, b) = (self.nodes[a].ty, self.nodes[b].ty);
        a.collation.equality_is_bytes() && b.collation.equality_is_bytes() && family(a.oid) == family(b.oid)
    }

    /// The nodes that equal `node` in every row that matters, itself included.
    pub fn reach(&self, node: NodeId) -> Rc<Reach> {
        self.reached.borrow_mut().of(node, &self.edges)
    }

    /// Whether two nodes have one value in every row that matters of either.
    pub fn are_equal(&self, a: NodeId, b: NodeId) -> bool {
        a == b || self.reach(a).contains(&b) && self.reach(b).contains(&a)
    }

    /// Whether every row of `a` that matters goes with a row of `b` that has the same key.
    pub fn follows(&self, a: RefId, b: RefId) -> bool {
        let (a, b) = (&self.refs[a], &self.refs[b]);
        a.distribution == b.distribution
            && a.key.iter().zip(&b.key).all(|(from, to)| from == to || self.reach(*from).contains(to))
    }

    /// Whether a row of any of `refs` matters only together with a row of a reference of `level` or a level around it that has
    /// the same key.
    pub fn follows_outer(&self, refs: &[RefId], level: Option<LevelId>) -> bool {
        let mut at = level;
        while let Some(id) = at {
            let level = &self.levels[id];
            for (outer, reference) in self.refs.iter().enumerate() {
                let around = |leaf: &LeafId, inner: RefId| {
                    // What is in the same FROM item is not around it.
                    level.leaves.contains(leaf) && !self.enclosing(self.refs[inner].leaf).contains(leaf)
                };
                let outside = |inner: RefId| self.enclosing(reference.leaf).iter().any(|leaf| around(leaf, inner));
                if refs.iter().any(|inner| *inner != outer && self.follows(*inner, outer) && outside(*inner)) {
                    return true;
                }
            }
            at = level.outer;
        }
        false
    }

    /// The leaf and those whose subqueries it lies in.
    pub fn enclosing(&self, leaf: LeafId) -> Vec<LeafId> {
        let mut found = vec![leaf];
        let mut at = leaf;
        while let Some(above) = self.levels[self.leaves[at].level].leaf_of {
            found.push(above);
            at = above;
        }
        found
    }

    /// What all facts together say of the key of a reference.
    pub fn key_expr(&self, reference: RefId) -> KeyExpr {
        let reference = &self.refs[reference];
        self.known_of(reference.leaf, &reference.key)
    }

    /// What all facts together say of some columns of a leaf.
    fn known_of(&self, leaf: LeafId, columns: &[NodeId]) -> KeyExpr {
        let enclosing = self.enclosing(leaf);
        let reach: Vec<Rc<Reach>> = columns.iter().map(|node| self.reach(*node)).collect();
        let parts = self.facts.iter().map(|fact| {
            let whole = fact.leaves.iter().any(|leaf| enclosing.contains(leaf));
            self.restrict(&fact.cond, fact, whole, &reach)
        });
        KeyExpr::all(parts.collect())
    }

    fn restrict(&self, cond: &Cond, fact: &Fact, whole: bool, reach: &[Rc<Reach>]) -> KeyExpr {
        let counts = |leaf: &LeafId| whole || fact.leaves.contains(leaf);
        let positions = |node: &NodeId| -> Vec<u8> {
            reach.iter().enumerate().filter(|(_, r)| r.contains(node)).map(|(i, _)| i as u8).collect()
        };
        match cond {
            Cond::True => KeyExpr::Any,
            Cond::False if whole => KeyExpr::Nothing,
            Cond::False => KeyExpr::Any,
            Cond::Equal { node, leaf, operand } if counts(leaf) => KeyExpr::all(
                positions(node).into_iter().map(|column| KeyExpr::Equal { column, operand: operand.clone() }).collect(),
            ),
            Cond::Between { node, leaf, low, high } if counts(leaf) => KeyExpr::all(
                positions(node)
                    .into_iter()
                    .map(|column| KeyExpr::Between { column, low: low.clone(), high: high.clone() })
                    .collect(),
            ),
            Cond::Equal { .. } | Cond::Between { .. } => KeyExpr::Any,
            Cond::All(parts) => {
                KeyExpr::all(parts.iter().map(|part| self.restrict(part, fact, whole, reach)).collect())
            }
            Cond::Either(parts) => {
                KeyExpr::either(parts.iter().map(|part| self.restrict(part, fact, whole, reach)).collect())
            }
        }
    }

    /// The values that are unique over all shards and lead to all rows that matter: those of a row with which every other row goes by
    /// its sharding key.
    pub fn found_by(&self) -> Vec<FoundBy> {
        let plain = self.fixed.is_empty() && !self.uses.writing_cte && self.needs().is_empty();
        if !plain || self.refs.iter().any(|reference| reference.of == RowsOf::Change) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for (id, reference) in self.refs.iter().enumerate().filter(|(_, reference)| !reference.uniques.is_empty()) {
            let is_made = |other: RefId| self.refs[other].of == RowsOf::Queries;
            if !(0..self.refs.len()).all(|other| other == id || is_made(other) || self.follows(other, id)) {
                continue;
            }
            for (rule, nodes) in &reference.uniques {
                let types =
                    nodes.iter().map(|node| KeyType::from_oid(self.nodes[*node].ty.oid).filter(|of| has_one_text(*of)));
                let Some(types) = types.collect::<Option<SmallVec<_>>>() else { continue };
                let expr = self.known_of(reference.leaf, nodes);
                if expr != KeyExpr::Any {
                    found.push(FoundBy { rule: Arc::clone(rule), distribution: reference.distribution, types, expr });
                }
            }
        }
        found
    }

    /// What is known of the rows of one reference.
    pub fn group_of(&self, id: RefId) -> KeyGroup {
        let reference = &self.refs[id];
        let (distribution, name) = (reference.distribution, reference.name.clone());
        KeyGroup { distribution, name, expr: self.key_expr(id) }
    }

    /// The references, those with one and the same condition taken together.
    pub fn groups(&self) -> Vec<KeyGroup> {
        let mut groups: Vec<KeyGroup> = Vec::new();
        for id in (0..self.refs.len()).filter(|id| self.refs[*id].of == RowsOf::Table) {
            let group = self.group_of(id);
            if !groups.iter().any(|g| g.distribution == group.distribution && g.expr == group.expr) {
                groups.push(group);
            }
        }
        groups
    }
}

/// Whether equal values of the type are printed alike, under a deterministic collation.
fn has_one_text(of: KeyType) -> bool {
    match of {
        KeyType::Int2 | KeyType::Int4 | KeyType::Int8 | KeyType::Text | KeyType::Varchar | KeyType::Uuid => true,
        KeyType::Bpchar
        | KeyType::Date
        | KeyType::Timestamp
        | KeyType::Timestamptz
        | KeyType::Numeric
        | KeyType::Bytea
        | KeyType::Bool
        | KeyType::Inet => false,
    }
}

/// Types within which `=` compares canonical key bytes.
pub(crate) fn family(type_oid: Oid) -> Oid {
    match type_oid {
        oid::INT2 | oid::INT4 | oid::INT8 => oid::INT8,
        oid::TEXT | oid::VARCHAR => oid::TEXT,
        other => other,
    }
}
