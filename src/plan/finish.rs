//! Tier 2: what is pulled from the shards, and the statement with which a real Postgres finishes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::fault::Fault;
use crate::ids::{DistributionId, Oid, QualifiedName, ShardId, ShardSet};
use crate::plan::values::binary_members;
use crate::plan::{Inputs, SupplyPlan, View, Window, lost_literals, route, shared, split, supply, window};
use crate::sql::delivery::Depot;
use crate::sql::outcome::{
    Cursor, Finish, FinishText, Keys as KeysText, KeysFrom as KeysTextFrom, Limit, PullSource, PullText, RowsOfKeys,
    STATEMENT_MOMENT, TRANSACTION_MOMENT,
};
use crate::sql::pieces::{Piece, Pieces};
use crate::sql::pushdown::reads_clock;
use crate::sql::template::string_value;
use crate::sql::temporary;
use crate::topology::Topology;
use crate::types::canonical::KeyError;
use crate::types::{Format, oid};

/// A read that a Postgres finishes on rows that were pulled together.
///
/// How it is carried out:
/// 1. The client's ORIGINAL statement is parsed and described on the home shard, where every table exists. An error there is the
///    client's error (Postgres has analyzed the very statement); else its RowDescription is what the client sees, and its
///    ParameterDescription says with which types every `$n` is parsed below, declared by the client or not.
/// 2. On the combine connection (one to the home shard, or to a server beside the shards, with the session's settings) every pull's
///    input is there, empty.
/// 3. Every pull's rows are copied into its input.
/// 4. `sql` runs on the combine connection with the client's parameters, all of them, in order.
///
/// The statement leaves nothing behind, no pin, no sequence, no lock, but for what its pulls change: those that do are statements of its
/// WITH, and then it runs in a transaction, the client's or one that is opened for it.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishPlan {
    pub pulls: Vec<Pull>,
    /// The client's statement with `pg_temp.<name of the pull>` in the place of every pulled table. It has the client's
    /// parameters `$1..$n` under their own numbers.
    pub sql: String,
    /// `sql` is `COPY (...) TO STDOUT`: it answers with CopyOut, and there are no parameters.
    pub copy: bool,
    /// `sql` is `DECLARE ... CURSOR FOR ...`: the combine connection is kept until the cursor is closed or the transaction ends.
    pub cursor: Option<Cursor>,
    /// An unsharded table that `sql` reads on the combine connection under its own name. A session that has temporary tables must
    /// refuse such a plan: one of them could hide the table, and the combine connection does not see it.
    pub reads_home: Option<Box<str>>,
    /// A function of the statement that reads the clock of its transaction (`now()`): all that reads it must see one moment.
    pub clock: Option<Box<str>>,
    /// `sql` asks functions of the combine connection for the time, which must be told the moment.
    pub own_clock: bool,
    /// Some table is not on the home shard, which therefore cannot describe the original statement: `sql` is described instead.
    pub foreign: bool,
    /// Why the router does not merge the rows itself; for EXPLAIN (ROUTE).
    pub reason: Arc<str>,
    /// The table that `sql` fills, where it is an INSERT: empty, on the combine connection.
    pub depot: Option<Arc<Depot>>,
    /// Views whose definitions stand in the place of their names, and whether the client's own text names them: no Postgres is asked
    /// for their rows, and none looks whether the client may read them.
    pub views: Vec<(QualifiedName, bool)>,
    /// The plan for a client who may not read all of these tables, which are below the views: the shards read the views by their names.
    pub by_views: Option<(Box<FinishPlan>, Vec<QualifiedName>)>,
    /// What pulls that change data are sent along, by their places: it is put together before anything else is asked.
    pub supplies: Vec<(usize, SupplyPlan)>,
    pub elsewhere: Elsewhere,
    /// `sql` takes values of sequences of the home shard.
    pub draws: bool,
    /// The server beside the shards that this plan is for, where one has been chosen; for EXPLAIN.
    pub on: Option<Box<str>>,
    /// Its pull takes rows of this table away that come back elsewhere: an error about rows that refer to them is not what one Postgres says
    /// first.
    pub moves: Option<QualifiedName>,
}

/// Whether a server beside the shards, which has none of their tables, may finish the statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Elsewhere {
    /// There is no such server.
    Nowhere,
    /// Only the home shard can, because of this.
    Never(Arc<str>),
    /// One that has these collations as the home shard has them.
    Any {
        collations: Arc<[Box<str>]>,
        /// The plan for it, where that is another one: more is pulled.
        plan: Option<Box<FinishPlan>>,
    },
}

impl FinishPlan {
    /// The plan for a server beside the shards.
    pub fn elsewhere(&self) -> Option<&FinishPlan> {
        match &self.elsewhere {
            Elsewhere::Nowhere | Elsewhere::Never(_) => None,
            Elsewhere::Any { plan, .. } => Some(plan.as_deref().unwrap_or(self)),
        }
    }

    /// The plan for this server, or these of which one will be chosen, in words; `None`: for the home shard alone.
    pub fn placed(&self, on: &str) -> Option<FinishPlan> {
        Some(FinishPlan { on: Some(on.into()), elsewhere: Elsewhere::Nowhere, ..self.elsewhere()?.clone() })
    }

    /// Every shard that some pull reads because of its key.
    pub fn shards(&self) -> ShardSet {
        let mut shards = ShardSet::new();
        for pull in &self.pulls {
            if let PullFrom::Shards(of) = &pull.from {
                shards.union_with(of);
            }
        }
        shards
    }

    /// Whether the statement's moment must be known before anything is pulled.
    pub fn needs_moment(&self) -> bool {
        let moments = [TRANSACTION_MOMENT, STATEMENT_MOMENT];
        let homes = self.homes().flat_map(|(_, parameters)| parameters);
        let mut parameters = self.pulls.iter().flat_map(|pull| &pull.parameters).chain(homes);
        self.own_clock || self.clock.is_some() && parameters.any(|p| moments.contains(p))
    }

    /// Whether some of its pulls change data.
    pub fn writes(&self) -> bool {
        self.pulls.iter().any(|pull| pull.writes)
    }

    /// Whether some of its pulls change copies of reference tables.
    pub fn writes_copies(&self) -> bool {
        self.pulls.iter().any(|pull| matches!(pull.from, PullFrom::Copies(_)))
    }

    /// Whether tables of the connection that finishes the statement are read before it.
    pub fn asks_home(&self) -> bool {
        self.homes().next().is_some()
    }

    fn homes(&self) -> impl Iterator<Item = (&String, &Vec<u16>)> {
        self.pulls.iter().flat_map(|pull| &pull.keys).filter_map(|keys| match &keys.from {
            KeysFrom::Home { sql, parameters } => Some((sql, parameters)),
            KeysFrom::Input { .. } => None,
        })
    }
}

/// Rows that fill one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The input is the temporary table `pg_temp.<name>`. Two pulls of one plan have different names. Within one catalog
    /// generation a name always stands for the same columns, types and primary key, so that inputs can be kept on a combine
    /// connection and emptied; when the generation changes they have to be dropped.
    pub name: String,
    /// What its rows are, for people: the table, or the tables of a query that the shards run in whole.
    pub label: Box<str>,
    /// The table that its columns are of; `None`: those of a query.
    pub table: Option<QualifiedName>,
    /// In the order of `sql`'s and `create`'s columns; never empty.
    pub columns: Vec<InputColumn>,
    /// Positions in `columns`. Not empty: the statement leans on the table's primary key (GROUP BY it and select the rest), so the
    /// input needs `PRIMARY KEY` on these columns.
    pub primary_key: Vec<usize>,
    /// Whether COPY BINARY of these columns means the same on every server. If not, some column is of a user-defined or `reg*`
    /// type, whose binary form can hold OIDs: pull with text results and use COPY in text format for the whole pull.
    /// `None`: the input's types tell when it is there.
    pub binary: Option<bool>,
    pub from: PullFrom,
    /// `SELECT columns FROM [ONLY] schema.table [WHERE conditions] [ORDER BY .. LIMIT n]`, one statement without `;`, with the call's
    /// literals in it.
    pub sql: String,
    /// Which of the client's parameters (`$n` as n - 1) are `$1, $2, ...` of `sql`; or [`TRANSACTION_MOMENT`], [`STATEMENT_MOMENT`].
    pub parameters: Vec<u16>,
    /// Makes the empty input: `CREATE TEMP TABLE <name> AS <create> WITH NO DATA` on the home shard gives it the columns' very types,
    /// type modifiers and collations. It names the table where the home shard has it.
    pub create: String,
    /// `create` names no table.
    pub typed: bool,
    /// `sql` is a whole query: conditions go around it.
    pub whole: bool,
    /// `sql` has a WHERE or a LIMIT; where it has none, a message about too many rows says so.
    pub filtered: bool,
    /// What else its rows must fulfil, if the values are few enough to be sent.
    pub keys: Vec<Keys>,
    /// It is asked for when all pulls of earlier stages have filled their inputs.
    pub stage: usize,
    /// `sql` changes data and returns the rows: it must run once in each call, in the transaction that the call is a part of.
    pub writes: bool,
    /// What goes along with a call, in binary behind its parameters, each with its type. In a plan there is nothing yet.
    pub sent: Vec<(Oid, Bytes)>,
    /// Where each shard gets another text: `sql` with its own rows.
    pub parts: Vec<PullPart>,
    /// Which shard gives the next row, of all that come; empty: they come in any order.
    pub order: Vec<ShardId>,
}

/// What one shard gets of a statement that is cut by its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullPart {
    pub shard: ShardId,
    pub sql: String,
    /// As in [`Pull`].
    pub parameters: Vec<u16>,
}

/// Values that a column of a pull must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    pub from: KeysFrom,
    /// Not quoted.
    pub column: Box<str>,
    /// The type of an array of the values.
    pub array: Oid,
    /// The column is the whole sharding key in this distribution.
    pub routes: Option<DistributionId>,
}

/// Where the values are when they are asked for: on the combine connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysFrom {
    /// A column of the input of this pull.
    Input { pull: usize, column: Box<str> },
    /// What a query over a table there gives, and which of the client's parameters are its own.
    Home { sql: String, parameters: Vec<u16> },
}

impl Pull {
    /// Whether its rows are those of a temporary table of the session.
    pub fn is_temporary(&self) -> bool {
        self.table.as_ref().is_some_and(|table| *table.schema == *temporary::SCHEMA)
    }
}

impl Keys {
    /// The shards that hold rows with these values, an array in binary format; `None` where that is not certain.
    pub fn shards(&self, array: &[u8], topology: &Topology) -> Option<ShardSet> {
        let distribution = topology.distribution(self.routes?);
        let [key_type] = distribution.key_types[..] else { return None };
        let mut shards = ShardSet::new();
        for key in binary_members(array, key_type)? {
            match key {
                // A key that no shard serves has no row anywhere.
                Ok(key) => {
                    if let Ok(shard) = distribution.locate(&[key]) {
                        shards.insert(shard);
                    }
                }
                Err(KeyError::NoMatch | KeyError::Invalid) => {}
                Err(KeyError::Unsure) => return None,
            }
        }
        Some(shards)
    }
}

/// Where a pull's rows lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullFrom {
    /// All their rows together. May be empty: no row can matter.
    Shards(ShardSet),
    /// A reference table: any one shard, best one that the transaction holds already.
    Any,
    /// Of a change that each of these makes alike, all that there are: the rows of the first.
    Copies(ShardSet),
    /// All are on this shard: an unsharded table or one of a placed schema, through the session's own connection.
    One(ShardId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputColumn {
    /// Not quoted.
    pub name: Box<str>,
    pub type_oid: Oid,
    /// `pg_attribute.atttypmod`
    pub typmod: i32,
}

/// The finishing of one call.
pub(crate) fn fill(finish: &Finish, inputs: &Inputs<'_>, view: &View<'_>) -> Result<FinishPlan, Fault> {
    fill_pulls(finish, inputs, view, Sharing::Same)
}

/// The same where others than its own statement know its pulls, by their names and places: each stays.
pub(crate) fn fill_apart(finish: &Finish, inputs: &Inputs<'_>, view: &View<'_>) -> Result<FinishPlan, Fault> {
    fill_pulls(finish, inputs, view, Sharing::Nothing)
}

/// Whether pulls that bring the same become one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Same,
    Nothing,
}

fn fill_pulls(finish: &Finish, inputs: &Inputs<'_>, view: &View<'_>, sharing: Sharing) -> Result<FinishPlan, Fault> {
    let view = &View { in_transaction: view.in_transaction || finish.writes(), ..*view };
    let text = match view.in_transaction {
        true => finish.in_transaction.as_ref().map_err(Clone::clone)?,
        false => &finish.alone,
    };
    let elsewhere = match (&finish.elsewhere, view.combine_servers) {
        (_, false) => Elsewhere::Nowhere,
        (Err(why), true) => Elsewhere::Never(why.clone()),
        (Ok(of), true) => Elsewhere::Any {
            collations: of.collations.clone(),
            plan: match of.text.as_ref().filter(|_| !view.in_transaction) {
                Some(text) => Some(Box::new(fill_text(finish, text, sharing, inputs, view)?)),
                None => None,
            },
        },
    };
    let by_views = match &finish.by_views {
        Some(by) => {
            let text = if view.in_transaction { by.in_transaction.as_ref() } else { Some(&by.alone) };
            match text {
                Some(text) => Some((Box::new(fill_text(finish, text, sharing, inputs, view)?), by.below.clone())),
                None => None,
            }
        }
        None => None,
    };
    Ok(FinishPlan { elsewhere, by_views, ..fill_text(finish, text, sharing, inputs, view)? })
}

fn fill_text(
    finish: &Finish,
    text: &FinishText,
    sharing: Sharing,
    inputs: &Inputs<'_>,
    view: &View<'_>,
) -> Result<FinishPlan, Fault> {
    let limit = Limit { limit: text.limit, offset: None };
    // Nothing below LIMIT 0 is computed, as in Postgres.
    let empty = window(&limit, inputs).is_ok_and(|window| window.limit == Some(0));
    let pulls: Option<Vec<Pull>> = text.pulls.iter().map(|pull| fill_pull(pull, empty, inputs, view)).collect();
    let mut pulls = pulls.ok_or_else(lost_literals)?;
    for (pull, text) in pulls.iter_mut().zip(&text.pulls) {
        if let PullSource::Rows(rows) = &text.source {
            cut_rows(pull, rows, inputs, view)?;
        }
    }
    let gone = match sharing {
        // Supplies know their pulls by number.
        Sharing::Same if text.supplies.is_empty() => shared::share(&mut pulls),
        Sharing::Same | Sharing::Nothing => HashMap::new(),
    };
    let named: Cow<'_, Pieces> =
        if gone.is_empty() { Cow::Borrowed(&text.sql) } else { Cow::Owned(shared::rename(&text.sql, &gone)) };
    // The client's parameters keep their numbers: there are no holes for them.
    let mut sql = String::new();
    named.fill(&mut sql, inputs.text, inputs.slots, &mut Vec::new()).ok_or_else(lost_literals)?;
    let mut clock = text.clock.clone();
    let mut supplies = Vec::new();
    for (at, supply) in &text.supplies {
        let supply = supply::fill(supply, inputs, view)?;
        if let Some(pull) = pulls.get_mut(*at) {
            // Without what goes along it is no statement.
            pull.sql.clone_from(&supply.statement);
            pull.parameters.clone_from(&supply.parameters);
            if let PullFrom::Shards(shards) = &mut pull.from {
                shards.clone_from(&supply.shards);
            }
        }
        clock = clock.or_else(|| supply.finish.clock.clone());
        supplies.push((*at, supply));
    }
    Ok(FinishPlan {
        pulls,
        sql,
        copy: finish.copy,
        cursor: finish.cursor.clone(),
        reads_home: text.reads_home.clone(),
        clock,
        own_clock: text.own_clock,
        foreign: text.foreign,
        reason: finish.reason.clone(),
        depot: text.depot.clone(),
        views: text.views.clone(),
        by_views: None,
        supplies,
        elsewhere: Elsewhere::Nowhere,
        draws: finish.draws,
        on: None,
        moves: None,
    })
}

/// `empty`: no row of it is needed.
fn fill_pull(pull: &PullText, empty: bool, inputs: &Inputs<'_>, view: &View<'_>) -> Option<Pull> {
    let mut parameters = Vec::new();
    let mut filtered = pull.whole.is_some();
    let mut sql = match &pull.whole {
        Some(whole) => {
            let mut sql = String::new();
            whole.fill(&mut sql, inputs.text, inputs.slots, &mut parameters)?;
            sql
        }
        None => pull.head.clone(),
    };
    let mut complete = true;
    for filter in &pull.filters {
        if must_stay(filter, inputs) {
            complete = false;
            continue;
        }
        sql.push_str(if filtered { " AND " } else { " WHERE " });
        filter.fill(&mut sql, inputs.text, inputs.slots, &mut parameters)?;
        filtered = true;
    }
    if let Some(top) = pull.top.as_ref().filter(|top| complete && !must_stay(&top.order, inputs))
        && let Ok(Window { offset, limit: Some(limit) }) = window(&top.limit, inputs)
    {
        sql.push_str(" ORDER BY ");
        top.order.fill(&mut sql, inputs.text, inputs.slots, &mut parameters)?;
        sql.push_str(&format!(" LIMIT {}", limit.saturating_add(offset).min(i64::MAX as u64)));
        filtered = true;
    }
    let may_ask = |keys: &&KeysText| match &keys.from {
        KeysTextFrom::Input { .. } => true,
        KeysTextFrom::Home(query) => !must_stay(query, inputs),
    };
    let mut keys = pull.keys.iter().filter(may_ask).map(|keys| fill_keys(keys, inputs)).collect::<Option<Vec<_>>>()?;
    if empty && !pull.writes {
        sql = format!("SELECT * FROM ({sql}) AS pgloom_none LIMIT 0");
        filtered = true;
        keys.clear();
    }
    let from = match &pull.source {
        PullSource::Sharded(groups) => {
            let mut shards = ShardSet::new();
            for group in groups {
                shards.union_with(&route::reach(group, inputs, view.topology).shards);
            }
            PullFrom::Shards(shards)
        }
        PullSource::Reference => PullFrom::Any,
        PullSource::Copies => PullFrom::Copies(view.topology.all_shards()),
        PullSource::One(shard) => PullFrom::One(*shard),
        // These are found when its text is cut.
        PullSource::Rows(_) => PullFrom::Shards(ShardSet::new()),
    };
    let column = |(name, type_oid, typmod): &(Box<str>, Oid, i32)| InputColumn {
        name: name.clone(),
        type_oid: *type_oid,
        typmod: *typmod,
    };
    Some(Pull {
        name: pull.name.clone(),
        label: pull.label.clone(),
        table: pull.table.clone(),
        columns: pull.columns.iter().map(column).collect(),
        primary_key: pull.primary_key.clone(),
        binary: pull.binary,
        from,
        sql,
        parameters,
        create: pull.create.clone().unwrap_or_else(|| pull.head.clone()),
        typed: pull.create.is_some(),
        whole: pull.whole.is_some(),
        filtered,
        keys,
        stage: pull.stage,
        writes: pull.writes,
        sent: Vec::new(),
        parts: Vec::new(),
        order: Vec::new(),
    })
}

/// Each row of a VALUES list to the shard of its key.
fn cut_rows(pull: &mut Pull, of: &RowsOfKeys, inputs: &Inputs<'_>, view: &View<'_>) -> Result<(), Fault> {
    let distribution = view.topology.distribution(of.distribution);
    let shard = |row| route::row_shard(row, &of.typmods, &of.name, distribution, inputs).map_err(Fault::from);
    let shards: Vec<ShardId> = of.rows.iter().map(shard).collect::<Result<_, _>>()?;
    let parameters = u16::try_from(pull.parameters.len()).map_err(|_| lost_literals())?;
    for (shard, sql, used) in split::cut(&pull.sql, &shards, parameters)? {
        let all = &pull.parameters;
        let parameters = match used {
            None => all.clone(),
            Some(used) => used.iter().filter_map(|at| all.get(usize::from(*at)).copied()).collect(),
        };
        pull.parts.push(PullPart { shard, sql, parameters });
    }
    pull.from = PullFrom::Shards(shards.iter().copied().collect());
    if of.all_return {
        pull.order = shards;
    }
    Ok(())
}

fn fill_keys(keys: &KeysText, inputs: &Inputs<'_>) -> Option<Keys> {
    let from = match &keys.from {
        KeysTextFrom::Input { pull, column } => KeysFrom::Input { pull: *pull, column: column.clone() },
        KeysTextFrom::Home(query) => {
            let (mut sql, mut parameters) = (String::new(), Vec::new());
            query.fill(&mut sql, inputs.text, inputs.slots, &mut parameters)?;
            KeysFrom::Home { sql, parameters }
        }
    };
    Some(Keys { from, column: keys.column.clone(), array: keys.array, routes: keys.routes })
}

/// Whether a condition is not for shards to look at: it compares with a text like `now`, which each would read at a moment of its own, or with
/// one that ends in the middle of an escape, at which LIKE fails, though one Postgres need not come to it. (As a text either is harmless, but
/// what it is read as is not known here.)
fn must_stay(filter: &Pieces, inputs: &Inputs<'_>) -> bool {
    filter.0.iter().any(|piece| match piece {
        Piece::Text(_) | Piece::Moment => false,
        Piece::Slot(slot) => {
            let slot = inputs.slots.get(usize::from(*slot));
            let value = slot.and_then(|slot| string_value(inputs.text, slot));
            value.is_some_and(|text| text.ends_with('\\') || reads_clock(&text))
        }
        Piece::Parameter(index) => {
            let value = inputs.parameters.and_then(|parameters| parameters.get(usize::from(*index)));
            match value {
                Some((_, Format::Text, Some(bytes))) => {
                    bytes.ends_with(b"\\") || std::str::from_utf8(bytes).is_ok_and(reads_clock)
                }
                // A number can end in any byte, and no text has a zero.
                Some((0 | oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME, Format::Binary, Some(bytes))) => {
                    bytes.ends_with(b"\\") && !bytes.contains(&0)
                }
                _ => false,
            }
        }
    })
}
