//! What code of users does, unasked, where rows of a table are read or written: the closure over its triggers, rules, policies, checks and
//! defaults, and over the functions, views and tables that these name.

use std::collections::{HashMap, HashSet};

use crate::catalog::code;
use crate::catalog::source::{Mention, Mentions};
use crate::catalog::{RelationKind, Table};
use crate::ids::QualifiedName;

/// Deeds of the code of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Where a row is written; of partitions and children too, and of tables to which a foreign key carries the change on.
    pub writes: Vec<Deed>,
    /// Where rows are read: by its policies.
    pub reads: Vec<Deed>,
    /// Where a column is left to its default.
    pub defaults: Vec<(Box<str>, Vec<Deed>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    /// What of the table it begins with, in words: `trigger function f()`.
    pub root: Box<str>,
    /// The function in which it is done, unless an expression does it itself.
    pub function: Option<QualifiedName>,
    /// A value comes of it that is kept in a row.
    pub kept: bool,
    pub act: Act,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    Reads(QualifiedName),
    Writes(QualifiedName),
    /// Calls a function of Postgres's own; `pgloom.` stands before one of ours.
    Calls(Box<str>),
    /// Changes a setting for the rest of the session, in a function that is declared safe.
    Sets,
    /// Is code in C that may say something else each time.
    Varies,
    /// Does what no text says.
    Unread(Box<str>),
    /// Gives a column of the row that is about to be written another value; `None`: any of them.
    Assigns(Option<Box<str>>),
}

/// The function of Postgres's own that changes a setting; code that does so with SET counts as calling it.
pub const SET_CONFIG: &str = "set_config";

/// Functions of Postgres's own that run SQL which they get as text, or read tables that they get by name.
pub const RUNS_SQL: &str = "cursor_to_xml cursor_to_xmlschema database_to_xml database_to_xml_and_xmlschema database_to_xmlschema \
    query_to_xml query_to_xml_and_xmlschema query_to_xmlschema schema_to_xml schema_to_xml_and_xmlschema schema_to_xmlschema \
    table_to_xml table_to_xml_and_xmlschema table_to_xmlschema ts_rewrite ts_stat";

/// When code that is tied to a table runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum When {
    Written,
    Read,
    /// The column takes its default.
    Left(Box<str>),
}

#[derive(Clone, Debug)]
pub enum Code {
    Function(QualifiedName),
    Expression(Mentions),
}

/// Code that is tied to a table.
#[derive(Clone, Debug)]
pub struct Hook {
    pub when: When,
    pub root: Box<str>,
    pub code: Code,
    /// It also runs for rows that come by a parent of the table.
    pub inherited: bool,
    pub kept: bool,
    /// Calls of Postgres's own functions in the expression itself are looked at elsewhere.
    pub calls_seen: bool,
    /// What it returns is what is written.
    pub changes: bool,
}

/// A function of users.
#[derive(Clone, Debug)]
pub enum Body {
    /// Declared safe, or harmless by what it is.
    Harmless,
    /// Declared safe, and it changes settings for the rest of the session.
    Sets,
    /// In C, and not immutable.
    Varies,
    /// In a language that is not read here.
    Unread(Box<str>),
    Text(Mentions),
}

/// Functions of users that run where nobody calls them.
#[derive(Clone, Debug, Default)]
pub struct Uncalled {
    /// By the operator's name.
    pub operators: HashMap<Box<str>, Vec<QualifiedName>>,
    /// By the name of a type: its casts, and its checks.
    pub types: HashMap<Box<str>, Vec<QualifiedName>>,
    /// Casts between types of Postgres's own.
    pub everywhere: Vec<QualifiedName>,
}

/// Operators that SQL uses without having them written: IN, BETWEEN, USING, LIKE, SIMILAR TO, ORDER BY, DISTINCT.
pub const UNWRITTEN: [&str; 12] = ["=", "<>", "<", "<=", ">", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~"];

impl Uncalled {
    /// Those that may run where a text does.
    pub fn of<'s>(&'s self, mentions: &'s Mentions) -> impl Iterator<Item = &'s QualifiedName> {
        let written = mentions.operators.iter().map(|name| &**name);
        let operators = written.chain(UNWRITTEN).filter_map(|name| self.operators.get(name));
        let named = mentions.names.iter().filter_map(|mention| self.types.get(&mention.name));
        let types = mentions.types.iter().filter_map(|name| self.types.get(name));
        operators.chain(named).chain(types).flatten().chain(&self.everywhere)
    }
}

/// All that is tied to the tables of a catalog, and all that it can reach.
#[derive(Debug, Default)]
pub struct Attached<'a> {
    pub tables: HashMap<&'a QualifiedName, &'a Table>,
    pub hooks: HashMap<QualifiedName, Vec<Hook>>,
    /// By name without schema.
    pub functions: HashMap<Box<str>, Vec<(QualifiedName, Body)>>,
    /// What else runs functions of users.
    pub uncalled: Uncalled,
    /// What the definitions of views name.
    pub views: HashMap<QualifiedName, Mentions>,
    /// The tables that change when rows of this one do.
    pub cascades: HashMap<QualifiedName, Vec<QualifiedName>>,
    pub children: HashMap<QualifiedName, Vec<QualifiedName>>,
    /// Schemas that concern nobody who does not name them.
    pub placed: HashSet<Box<str>>,
    /// Names of tables, without schema.
    pub by_name: HashMap<Box<str>, Vec<&'a QualifiedName>>,
}

impl<'a> Attached<'a> {
    pub fn new(tables: impl Iterator<Item = &'a Table>, placed: HashSet<Box<str>>) -> Self {
        let mut attached = Self { placed, ..Self::default() };
        for table in tables {
            attached.tables.insert(&table.name, table);
            attached.by_name.entry(table.name.name.clone()).or_default().push(&table.name);
            for parent in &table.parents {
                attached.children.entry(parent.clone()).or_default().push(table.name.clone());
            }
        }
        attached
    }

    /// The tables and views whose rows set off code that does anything, with what it does.
    pub fn effects(&self) -> Vec<(QualifiedName, Effects)> {
        let all = self.tables.values().map(|table| (table.name.clone(), self.of(table)));
        all.filter(|(_, effects)| *effects != Effects::default()).collect()
    }

    fn of(&self, table: &Table) -> Effects {
        let mut effects = Effects::default();
        for (owner, hook) in self.set_off(&table.name) {
            effects.writes.extend(self.deeds(table, owner, hook));
        }
        if table.kind == RelationKind::View {
            for (base, written) in self.bases(&table.name) {
                let hooks: Vec<_> = match written {
                    true => self.set_off(base),
                    false => self.own(base, &When::Read).map(|hook| (base, hook)).collect(),
                };
                let deeds = hooks.into_iter().flat_map(|(owner, hook)| self.deeds(table, owner, hook));
                if written { effects.writes.extend(deeds) } else { effects.reads.extend(deeds) }
            }
        }
        for hook in self.hooks.get(&table.name).into_iter().flatten() {
            let deeds = || self.deeds(table, &table.name, hook);
            match &hook.when {
                When::Written => {}
                When::Read => effects.reads.extend(deeds()),
                When::Left(column) => {
                    let deeds = deeds();
                    if !deeds.is_empty() {
                        effects.defaults.push((column.clone(), deeds));
                    }
                }
            }
        }
        effects
    }

    fn own<'s>(&'s self, table: &QualifiedName, when: &'s When) -> impl Iterator<Item = &'s Hook> {
        self.hooks.get(table).into_iter().flatten().filter(move |hook| hook.when == *when)
    }

    /// The tables that a view shows, for what reads and for what writes it.
    fn bases<'s>(&'s self, view: &'s QualifiedName) -> Vec<(&'s QualifiedName, bool)> {
        let (mut found, mut seen, mut todo) = (Vec::new(), HashSet::new(), vec![view]);
        while let Some(name) = todo.pop() {
            let mentions = self.views.get(name).into_iter().flat_map(|mentions| &mentions.names);
            for relation in mentions.flat_map(|mention| self.relations(mention, &name.schema)) {
                if seen.insert(relation) {
                    found.extend([(relation, false), (relation, true)]);
                    todo.push(relation);
                }
            }
        }
        found
    }

    /// What runs where rows of a table are written, with the table that it is tied to.
    fn set_off<'s>(&'s self, table: &'s QualifiedName) -> Vec<(&'s QualifiedName, &'s Hook)> {
        let mut found = Vec::new();
        let mut seen = HashSet::from([table]);
        let mut todo = vec![(table, false)];
        while let Some((name, by_parent)) = todo.pop() {
            let hooks = self.own(name, &When::Written).filter(|hook| !by_parent || hook.inherited);
            found.extend(hooks.map(|hook| (name, hook)));
            let children = self.children.get(name).into_iter().flatten();
            let cascades = self.cascades.get(name).into_iter().flatten();
            // A foreign key's own statements pass by policies.
            for next in children.chain(cascades) {
                if seen.insert(next) {
                    todo.push((next, true));
                }
            }
        }
        found
    }

    /// What a hook does when it runs for rows of `table`.
    fn deeds(&self, table: &Table, owner: &QualifiedName, hook: &Hook) -> Vec<Deed> {
        let root: Box<str> = match *owner == table.name {
            true => format!("its {}", hook.root).into(),
            false => format!("{} of table \"{}\"", hook.root, owner.name).into(),
        };
        let mut walk = Walk { attached: self, schema: &table.name.schema, acts: Vec::new(), seen: HashSet::new() };
        match &hook.code {
            Code::Function(name) => {
                walk.function(name);
                if hook.changes {
                    walk.assignments(name);
                }
            }
            Code::Expression(mentions) => walk.text(mentions, None, !hook.calls_seen),
        }
        let kept = hook.kept;
        let deed = |(function, act)| Deed { root: root.clone(), function, kept, act };
        walk.acts.into_iter().map(deed).collect()
    }

    /// The tables that a function reads; `None`: it may write, or read others.
    pub fn reads(&self, function: &QualifiedName) -> Option<Vec<QualifiedName>> {
        let mut walk = Walk { attached: self, schema: &function.schema, acts: Vec::new(), seen: HashSet::new() };
        walk.function(function);
        let mut tables = Vec::new();
        for (_, act) in walk.acts {
            match act {
                Act::Reads(table) => tables.push(table),
                Act::Writes(_) | Act::Unread(_) => return None,
                Act::Calls(name) if RUNS_SQL.split_ascii_whitespace().any(|runs| *runs == *name) => return None,
                Act::Calls(_) | Act::Sets | Act::Varies | Act::Assigns(_) => {}
            }
        }
        Some(tables)
    }

    /// What a name can mean for code that runs for a table of this schema.
    fn relations<'s>(&'s self, mention: &Mention, schema: &str) -> Vec<&'s QualifiedName> {
        // With a parenthesis behind it, it is a function, unless rows go into it.
        if mention.called && !mention.written {
            return Vec::new();
        }
        match &mention.schema {
            Some(of) => {
                let name = QualifiedName::new(of.clone(), mention.name.clone());
                self.tables.get_key_value(&name).map(|(name, _)| *name).into_iter().collect()
            }
            None => {
                let all = self.by_name.get(&mention.name).into_iter().flatten();
                all.copied().filter(|name| self.concerns(&name.schema, schema)).collect()
            }
        }
    }

    fn concerns(&self, named: &str, schema: &str) -> bool {
        named == schema || !self.placed.contains(named)
    }
}

/// The way of one hook through what it reaches.
struct Walk<'w> {
    attached: &'w Attached<'w>,
    /// Of the table whose rows set it off.
    schema: &'w str,
    acts: Vec<(Option<QualifiedName>, Act)>,
    seen: HashSet<Step<'w>>,
}

#[derive(PartialEq, Eq, Hash)]
enum Step<'w> {
    Function(&'w QualifiedName),
    Read(&'w QualifiedName),
    Write(&'w QualifiedName),
    Act(Act),
}

impl<'w> Walk<'w> {
    fn act(&mut self, function: Option<&QualifiedName>, act: Act) {
        if self.seen.insert(Step::Act(act.clone())) {
            self.acts.push((function.cloned(), act));
        }
    }

    /// All functions of a name, whatever their arguments.
    fn function(&mut self, name: &QualifiedName) {
        let attached = self.attached;
        let bodies = attached.functions.get(&name.name).into_iter().flatten();
        let bodies: Vec<_> = bodies.filter(|(full, _)| full == name).collect();
        let Some(first) = bodies.first().copied() else { return };
        if !self.seen.insert(Step::Function(&first.0)) {
            return;
        }
        for (full, body) in bodies {
            match body {
                Body::Harmless => {}
                Body::Sets => self.act(Some(full), Act::Sets),
                Body::Varies => self.act(Some(full), Act::Varies),
                Body::Unread(what) => self.act(Some(full), Act::Unread(what.clone())),
                Body::Text(mentions) => self.text(mentions, Some(full), true),
            }
        }
    }

    /// What a trigger's function makes of the row itself; what it calls cannot reach that.
    fn assignments(&mut self, name: &QualifiedName) {
        for (full, body) in self.attached.functions.get(&name.name).into_iter().flatten() {
            if let (true, Body::Text(mentions)) = (full == name, body) {
                mentions.assigned.iter().for_each(|column| self.act(Some(full), Act::Assigns(column.clone())));
            }
        }
    }

    /// `calls`: whether those of Postgres's own functions count.
    fn text(&mut self, mentions: &'w Mentions, function: Option<&QualifiedName>, calls: bool) {
        if let Some(what) = &mentions.unread {
            self.act(function, Act::Unread(what.clone()));
        }
        for mention in &mentions.names {
            self.name(mention, function, calls);
        }
        let attached = self.attached;
        for uncalled in attached.uncalled.of(mentions) {
            self.function(uncalled);
        }
    }

    fn name(&mut self, mention: &Mention, function: Option<&QualifiedName>, calls: bool) {
        let attached = self.attached;
        let schema = mention.schema.as_deref();
        if schema == Some("pgloom") {
            if mention.called && calls {
                self.act(function, Act::Calls(format!("pgloom.{}", mention.name).into()));
            }
            return;
        }
        let of_system = matches!(schema, Some("pg_catalog" | "information_schema"));
        if mention.called {
            let all = attached.functions.get(&mention.name).into_iter().flatten();
            let meant = |full: &QualifiedName| match schema {
                Some(schema) => *full.schema == *schema,
                None => attached.concerns(&full.schema, self.schema),
            };
            let meant: Vec<_> = all.map(|(full, _)| full).filter(|full| meant(full)).collect();
            meant.into_iter().for_each(|full| self.function(full));
            // Whoever looks at the call otherwise looks at its value.
            if (calls || *mention.name == *SET_CONFIG || code::is_session_lock(&mention.name))
                && (schema.is_none() || of_system)
            {
                self.act(function, Act::Calls(mention.name.clone()));
            }
        } else if of_system || schema.is_none() && mention.scanned && mention.name.starts_with("pg_") {
            self.act(function, Act::Reads(QualifiedName::new(schema.unwrap_or("pg_catalog"), mention.name.clone())));
        }
        for relation in attached.relations(mention, self.schema) {
            self.relation(relation, mention.written, function);
        }
    }

    fn relation(&mut self, name: &'w QualifiedName, written: bool, function: Option<&QualifiedName>) {
        if !self.seen.insert(if written { Step::Write(name) } else { Step::Read(name) }) {
            return;
        }
        let attached = self.attached;
        match (attached.views.get(name), written) {
            (Some(mentions), false) => self.text(mentions, function, true),
            (Some(mentions), true) => {
                let named = mentions.names.iter().flat_map(|mention| attached.relations(mention, &name.schema));
                let named: Vec<_> = named.collect();
                named.into_iter().for_each(|base| self.relation(base, true, function));
            }
            (None, true) => self.act(function, Act::Writes(name.clone())),
            (None, false) => self.act(function, Act::Reads(name.clone())),
        }
        let hooks: Vec<&'w Hook> = match written {
            true => {
                let own = attached.hooks.get(name).into_iter().flatten();
                let lefts = own.filter(|hook| matches!(hook.when, When::Left(_)));
                attached.set_off(name).into_iter().map(|(_, hook)| hook).chain(lefts).collect()
            }
            false => attached.own(name, &When::Read).collect(),
        };
        for hook in hooks {
            match &hook.code {
                Code::Function(function) => self.function(function),
                Code::Expression(mentions) => self.text(mentions, function, true),
            }
        }
    }
}
