//! INSERT: the sharding key of each row that it brings, or how rows that a query brings lie already.

use std::sync::Arc;

use sqlparser::ast::{
    Assignment, AssignmentTarget, Expr, Insert, ObjectName, OnConflict, OnConflictAction, OnInsert, SelectItem,
    SetExpr, Statement, TableObject, Values, With,
};

use crate::catalog::{Column, Identity, Table};
use crate::fault::Fault;
use crate::ids::{Oid, QualifiedName};
use crate::sql::analyze::{Analyzer, analyze, routed};
use crate::sql::block_time::{clock_default, note_defaults};
use crate::sql::conflicts::{check_conflict, conflict_assignments, walk_conflict};
use crate::sql::defaults::{check_assigned, reads_clock};
use crate::sql::delivery::Delivery;
use crate::sql::exprs::{At, Ctes, says_now};
use crate::sql::finish::Parsed;
use crate::sql::implicit::{self, check_defaults, check_written};
use crate::sql::insert_keys::{InsertSource, Keys, Target, keys_of, source};
use crate::sql::inserting::{self, Inserting, has_query, queries_of_rows};
use crate::sql::left_out::{
    check_sources, from_sequence, omitted, refuse_sequence_defaults, refuse_varying, refuse_varying_defaults,
    sequence_of,
};
use crate::sql::model::{Columns, Leaf, LevelId, Model, Obstacle, Spread, Stop};
use crate::sql::names::{Relation, folded, is_temporary_schema, parts};
use crate::sql::outcome::{InsertRows, Many, ManyRows, Outcome, Routed, Scatter, Split, Why};
use crate::sql::sequences::fill::{Fill, Rows, fill_of};
use crate::sql::sequences::{self, Draw, Form};
use crate::sql::shape::check_scatter;
use crate::sql::stored::walk_row;
use crate::sql::supplying;
use crate::sql::template::Scan;
use crate::sql::through::{Written, written};
use crate::sql::words;
use crate::types::oid;

impl Analyzer<'_> {
    pub(crate) fn insert<'q>(
        &self,
        model: &mut Model<'_>,
        parsed: &Parsed<'_>,
        insert: &'q Insert,
        ctes: &Ctes<'q>,
        with: Option<&'q With>,
    ) -> Result<Outcome, Stop> {
        self.insert_cut(model, parsed, insert, ctes, with, self.text)
    }

    /// The same, where it is `text` that is cut into the rows of several shards.
    pub(crate) fn insert_cut<'q>(
        &self,
        model: &mut Model<'_>,
        parsed: &Parsed<'_>,
        insert: &'q Insert,
        ctes: &Ctes<'q>,
        with: Option<&'q With>,
        text: &str,
    ) -> Result<Outcome, Stop> {
        check_insert(insert)?;
        let TableObject::TableName(name) = &insert.table else {
            return Err(Stop::NotUnderstood("this form of INSERT"));
        };
        let (schema, table_name) = parts(name).ok_or(Stop::NotUnderstood("this form of table name"))?;
        let named = model.relation(schema.as_deref(), &table_name)?.without_temporary();
        let Written { relation, hidden, apart } = written(&model.scope, named)?;
        let table = match &relation {
            Relation::View { .. } => return Err(Stop::NotUnderstood("INSERT into a view")),
            Relation::Sharded { table, .. } | Relation::Reference { table, .. } | Relation::Unsharded { table, .. } => {
                table.clone()
            }
            Relation::System => None,
        };
        check_written(&model.scope, &relation)?;
        model.uses.note_sets(implicit::sets(&model.scope, &relation, true));
        model.uses.random |= implicit::draws(&relation);
        let alias = insert.table_alias.as_ref().map(|alias| folded(&alias.alias).into_owned());
        let level = target_level(model, alias.unwrap_or(table_name.clone()), table.as_deref())?;
        let columns = column_list(insert)?;
        let source = source(model, insert, ctes, &stored_types(table.as_deref(), columns.as_deref()))?;
        if let Some(table) = &table {
            let left = omitted(table, columns.as_deref(), &source);
            check_defaults(&model.scope, &relation, &left)?;
            check_view(table, &hidden, apart)?;
            let reads = &mut model.uses.reads_time;
            note_defaults(reads, &self.scope, table, columns.as_deref(), &source, &left);
            reads.moment |= has_moment(table, columns.as_deref(), &source);
            if let Some(column) = hidden.iter().find(|column| clock_default(&self.scope, column).is_some()) {
                reads.hide(format!("the default of column \"{}\", which the view does not show", column.name));
            }
        }
        model.unused_ctes(with, ctes)?;
        let at = At { level, ctes: ctes.clone(), vary: true };
        let before = model.uses.system_column.take();
        walk_conflict(model, &at, insert)?;
        let in_conflict = model.uses.system_column.clone();
        model.uses.system_column = before.or_else(|| in_conflict.clone());
        if let Some(OnInsert::OnConflict(OnConflict { action: OnConflictAction::DoUpdate(update), .. })) = &insert.on {
            check_assigned(model, &relation, &update.assignments)?;
        }
        walk_returning(model, &at, insert.returning.as_deref())?;
        if let (Some(table), Relation::Sharded { .. } | Relation::Reference { .. }) = (&table, &relation) {
            self.check_overriding(table, columns.as_deref(), &source)?;
        }
        let delivered =
            Delivered { parsed, insert, with, columns: columns.as_deref(), source: &source, hidden: &hidden };
        match relation {
            Relation::Sharded { name, table, distribution, key } => {
                let fill = self.fill(table.as_deref(), columns.as_deref(), &source, Some(&key))?;
                let target = Target { name, table, distribution, key, hidden: hidden.clone() };
                check_conflict(&self.scope, insert, &target)?;
                model.uses.unseen |= target.table.is_none();
                if let Some(table) = &target.table {
                    refuse_sequence_defaults(table, conflict_assignments(insert))?;
                }
                match fill {
                    Some(fill) => {
                        self.draw(fill, self.insert_sharded(model, text, insert, &target, columns, &source, false))
                    }
                    None => {
                        let direct = self.insert_sharded(model, text, insert, &target, columns.clone(), &source, true);
                        self.or_delivered(direct, &delivered, &target)
                    }
                }
            }
            Relation::Reference { name, table } => {
                model.uses.unseen |= table.is_none();
                model.uses.reference.get_or_insert(name.name.clone());
                // Rows that are delivered meet the rows of each shard all the same.
                if let Some(column) = in_conflict {
                    let why = format!("system column \"{column}\" has another value on each shard");
                    return Err(refuse_reference(&name.name, why).into());
                }
                if let Some(table) = &table {
                    refuse_varying(&model.scope, table, &hidden)?;
                }
                if let Some(fill) = self.fill(table.as_deref(), columns.as_deref(), &source, None)? {
                    return self.draw(fill, write_reference(model, &name.name));
                }
                if let Some(table) = &table {
                    refuse_sequence_defaults(table, conflict_assignments(insert))?;
                }
                let direct = self.insert_reference(model, &name, table.as_deref(), columns.as_deref(), &source, insert);
                let refused = match direct {
                    Err(Stop::Refuse(fault)) => fault,
                    done => return done,
                };
                let everywhere = inserting::Target::Everywhere;
                match self.delivered(&delivered, &name, table.as_deref(), everywhere, &refused) {
                    Ok(delivery) => Ok(Outcome::Deliver(Arc::new(delivery))),
                    Err(fault) => Err(fault.into()),
                }
            }
            Relation::Unsharded { table, place } => {
                model.need_table(&table_name, &place);
                if let Some(table) = &table {
                    let mut left_out = omitted(table, columns.as_deref(), &source);
                    if self.overrides_user() {
                        let identity = |at: &usize| inserting::identity_of(&table.columns[*at]) != Identity::No;
                        left_out.extend((0..table.columns.len()).filter(identity));
                    }
                    check_sources(&model.scope, table, &left_out, &place)?;
                    model.uses.takes_any = table.has_triggers;
                    model.uses.takes = left_out.iter().filter_map(|at| sequence_of(&table.columns[*at])).collect();
                    // A rule can do something else in its place.
                    model.uses.surely = with.is_none() && !table.has_triggers && source.rows().is_some();
                }
                let refused = match &source {
                    InsertSource::Query(Spread::Tangled(why), _) => why.clone().fault(),
                    InsertSource::Query(..) | InsertSource::Values(_) | InsertSource::Defaults => {
                        Obstacle::new("its rows come from other shards than the one that has the table").fault()
                    }
                };
                let copies = model.uses.cte_writes_copies.is_some();
                let many = match &table {
                    _ if model.refs.is_empty() && !copies => check_scatter(model, &Spread::Same)
                        .map(|()| Many::Scatter(Scatter::concat()))
                        .map_err(Obstacle::fault),
                    Some(table) if place.is_home(&model.scope) => {
                        let home = inserting::Target::Home;
                        self.delivered(&delivered, &table.name, Some(table), home, &refused)
                            .map(|delivery| Many::Deliver(Arc::new(delivery)))
                    }
                    _ => Err(refused),
                };
                let many = match many {
                    Err(refused) if table.is_none() && !model.refs.is_empty() && !copies => {
                        self.filled(model, &delivered).ok_or(refused)
                    }
                    many => many,
                };
                if copies && many.is_ok() {
                    return Ok(routed(model, many));
                }
                let as_written = self.read_outcome(model, many);
                Ok(match &source {
                    InsertSource::Values(values) => self.calls_in(values, as_written),
                    InsertSource::Defaults | InsertSource::Query(..) => as_written,
                })
            }
            Relation::System => {
                model.uses.system.get_or_insert_with(|| table_name.as_str().into());
                let refused = Obstacle::new("rows of several shards for a table of the catalog").fault();
                let temporary = schema.as_deref().is_some_and(is_temporary_schema) && !model.refs.is_empty();
                let many = temporary.then(|| self.filled(model, &delivered)).flatten();
                Ok(self.read_outcome(model, many.ok_or(refused)))
            }
            Relation::View { .. } => Err(Stop::NotUnderstood("INSERT into a view")),
        }
    }

    /// The steps in which a temporary table is filled with rows of several shards.
    fn filled(&self, model: &Model<'_>, of: &Delivered<'_, '_>) -> Option<Many> {
        let create = self.filled_temporary(of.parsed, of.insert, of.columns, of.source)?;
        // Its texts are the client's with all that they say.
        model.literals.fix_all();
        Some(Many::Fill(Arc::new(create)))
    }

    /// OVERRIDING USER VALUE: what a query gives an identity column is thrown away, and a value drawn in its place.
    fn check_overriding(
        &self,
        table: &Table,
        columns: Option<&[String]>,
        source: &InsertSource<'_>,
    ) -> Result<(), Fault> {
        let InsertSource::Query(..) = source else { return Ok(()) };
        let overrides = self.overrides_user();
        let left_out = omitted(table, columns, source);
        let mut given = (0..table.columns.len()).filter(|at| !left_out.contains(at)).map(|at| &table.columns[at]);
        match given.find(|column| inserting::identity_of(column) != Identity::No).filter(|_| overrides) {
            None => Ok(()),
            Some(column) => Err(Fault::unsupported(
                format!("OVERRIDING USER VALUE of a query's rows for table \"{}\" is not supported", table.name.name),
                format!(
                    "column \"{}\" would take a value of a sequence in the place of the one that is given",
                    column.name
                ),
                format!("Leave column \"{}\" out of the statement.", column.name),
            )),
        }
    }

    /// OVERRIDING USER VALUE
    fn overrides_user(&self) -> bool {
        let words = words::identifiers(self.text, self.scope.standard_strings).unwrap_or_default();
        words.windows(3).any(|words| matches!(words, [a, b, c] if *a == "overriding" && *b == "user" && *c == "value"))
    }

    fn insert_reference(
        &self,
        model: &Model<'_>,
        name: &QualifiedName,
        table: Option<&Table>,
        columns: Option<&[String]>,
        source: &InsertSource<'_>,
        insert: &Insert,
    ) -> Result<Outcome, Stop> {
        if let Some(table) = table {
            refuse_varying_defaults(&model.scope, table, &omitted(table, columns, source))?;
        }
        if let InsertSource::Query(Spread::Tangled(why), _) = source {
            return Err(why.clone().fault().into());
        }
        if matches!(source, InsertSource::Query(..)) && insert.on.is_some() {
            let why = "of rows of its query that conflict with each other each shard could meet another one first";
            return Err(refuse_reference(&name.name, why.to_owned()).into());
        }
        write_reference(model, &name.name)
    }

    /// What one shard alone or each for itself can do, or else the delivery of the rows.
    fn or_delivered(
        &self,
        direct: Result<Outcome, Stop>,
        of: &Delivered<'_, '_>,
        target: &Target,
    ) -> Result<Outcome, Stop> {
        /// Lists of more rows are rarely sent twice: they are not looked at twice for the sake of keys in odd spellings.
        const MOST_ROWS: usize = 16;
        let none = || Obstacle::new("its key is no plain value of its column's type").fault();
        let certain = matches!(&direct, Ok(Outcome::Insert(InsertRows { many: Ok(_), .. })));
        let refused = match &direct {
            Err(Stop::Refuse(fault))
            | Ok(Outcome::Insert(InsertRows { many: Err(fault), .. }))
            | Ok(Outcome::Routed(Routed { many: Err(fault), .. })) => fault,
            Ok(Outcome::Insert(insert)) if insert.rows.len() <= MOST_ROWS => &none(),
            _ => return direct,
        };
        let name = target.key_name();
        let keyed = inserting::Target::Keyed { distribution: target.distribution, name: &name, key: &target.key };
        let delivery = self.delivered(of, &target.name, target.table.as_deref(), keyed, refused);
        match (direct, delivery) {
            (Err(_), Ok(delivery)) => Ok(Outcome::Deliver(Arc::new(delivery))),
            (Err(_), Err(fault)) => Err(fault.into()),
            (Ok(Outcome::Insert(rows)), delivery) if certain => {
                Ok(Outcome::Insert(InsertRows { uncertain: delivery.ok().map(Arc::new), ..rows }))
            }
            (Ok(Outcome::Insert(rows)), delivery) => {
                let many = delivery.map(|delivery| ManyRows::Deliver(Arc::new(delivery)));
                Ok(Outcome::Insert(InsertRows { many, ..rows }))
            }
            (Ok(Outcome::Routed(routed)), delivery) => {
                let many = delivery.map(|delivery| Many::Deliver(Arc::new(delivery)));
                Ok(Outcome::Routed(Routed { many, ..routed }))
            }
            (direct, _) => direct,
        }
    }

    /// The delivery of the rows; or the refusal that there was without it, with what stands in its way.
    fn delivered(
        &self,
        of: &Delivered<'_, '_>,
        name: &QualifiedName,
        table: Option<&Table>,
        target: inserting::Target<'_>,
        refused: &Fault,
    ) -> Result<Delivery, Fault> {
        // A column that nobody names is left to the shards.
        if let Some(column) = of.hidden.iter().find(|column| reads_clock(&self.scope, column)) {
            return Err(supplying::refused(refused, &reads_apart(&column.name)));
        }
        let Some((table, given)) = table.and_then(|table| Some((table, of.given(table)?))) else {
            return Err(refused.clone());
        };
        let omitted = omitted(table, of.columns, of.source);
        let Delivered { parsed, insert, with, .. } = *of;
        let inserting =
            Inserting { of: self, parsed, insert, with, name, table, target, given, omitted, reason: refused };
        inserting.delivery().map_err(|why| {
            let before = refused.detail.as_deref().unwrap_or(&refused.message);
            refused.clone().detail(format!("{before}; and {why}"))
        })
    }

    /// `alone`: nothing is written into its rows, so that what they leave out is left to the shards.
    #[allow(clippy::too_many_arguments)]
    fn insert_sharded(
        &self,
        model: &Model<'_>,
        text: &str,
        insert: &Insert,
        target: &Target,
        columns: Option<Vec<String>>,
        source: &InsertSource<'_>,
        alone: bool,
    ) -> Result<Outcome, Stop> {
        let late = target.table.as_deref().and_then(|table| {
            let left = omitted(table, columns.as_deref(), source);
            let column = left.into_iter().filter_map(|at| table.columns.get(at)).chain(&target.hidden);
            column.filter(|column| reads_clock(&model.scope, column)).map(|column| column.name.clone()).next()
        });
        let table = target.table.as_deref();
        let has_moment = table.is_some_and(|table| has_moment(table, columns.as_deref(), source));
        let rows = match keys_of(model, target, columns, source, alone)? {
            Keys::Rows(rows) => rows,
            Keys::Lie(spread) => {
                let ordered = insert.source.as_ref().is_some_and(|query| query.order_by.is_some());
                let many = match (check_scatter(model, &spread), late) {
                    (Ok(()), Some(column)) => Err(Obstacle::new(reads_apart(&column))),
                    (Ok(()), None) if insert.returning.is_some() && ordered => {
                        Err(Obstacle::new("each shard would return its rows in an order of its own"))
                    }
                    (Ok(()), None) => Ok(Many::Scatter(Scatter::concat())),
                    (Err(obstacle), _) => Err(obstacle),
                };
                return Ok(routed(model, many.map_err(Obstacle::fault)));
            }
        };
        let many = match late {
            Some(column) => Err(apart(reads_apart(&column))),
            None if model.uses.moment || has_moment => {
                Err(apart("a text like 'now' is read as a time, which is another one on each shard"))
            }
            None => self.splittable(model, insert, source, text, rows.len()).map(ManyRows::Split),
        };
        Ok(Outcome::Insert(InsertRows {
            distribution: target.distribution,
            name: target.key_name(),
            rows,
            typmods: target.typmods(),
            groups: model.groups(),
            also: model.needs(),
            many,
            uncertain: None,
        }))
    }

    /// Whether the rows of a VALUES list can be sent to several shards.
    fn splittable(
        &self,
        model: &Model<'_>,
        insert: &Insert,
        source: &InsertSource<'_>,
        text: &str,
        rows: usize,
    ) -> Result<Split, Fault> {
        let refuse = apart;
        let elsewhere = [&model.uses.clock, &model.uses.server].into_iter().flatten().next();
        if let Some(name) = elsewhere {
            return Err(refuse(format!("{name} would say something else on each shard")));
        }
        if !matches!(source, InsertSource::Values(_)) {
            return Err(refuse("the rows do not come from a VALUES list".to_owned()));
        }
        if let Some(table) = model.refs.first() {
            return Err(refuse(format!("it reads sharded table \"{}\"", table.name.table)));
        }
        if let Some(what) = model.uses.one_shard() {
            return Err(refuse(format!("it needs {what}"))
                .hint("Take the value in a statement of its own, and send it with the row."));
        }
        if model.uses.writing_cte {
            return Err(refuse("WITH contains a statement that changes data".to_owned()));
        }
        if has_query(&insert.on) || has_query(&insert.returning) {
            let there = "there is a subquery in its ON CONFLICT or RETURNING";
            let tail = Statement::Insert(Insert { source: None, ..insert.clone() });
            queries_of_rows(self, model, &tail).map_err(|why| refuse(format!("{there}, and {why}")))?;
            let named = words::tokens(text, self.scope.standard_strings).and_then(|tokens| tokens.into_iter().next());
            let begins = named.is_some_and(|first| words::text_of(text, &first).eq_ignore_ascii_case("with"));
            if begins && model.uses.volatile.is_some() {
                return Err(refuse(format!("{there} beside a WITH")));
            }
        }
        // Where the text is cut is found again at each execution: it must be found here.
        if words::value_rows(text).is_none_or(|found| found.len() != rows) {
            return Err(refuse("the rows of its VALUES list cannot be told apart with certainty".to_owned()));
        }
        Ok(Split { returns: insert.returning.is_some() })
    }
}

fn reads_apart(column: &str) -> String {
    format!("the default of column \"{column}\" reads the clock, which differs between shards")
}

/// Whether a row has a text like `now` for a column that is a time.
fn has_moment(table: &Table, columns: Option<&[String]>, source: &InsertSource<'_>) -> bool {
    let InsertSource::Values(values) = source else { return false };
    let column = |at: usize| match columns {
        Some(names) => names.get(at).and_then(|name| table.column(name)).map(|(_, column)| column),
        None => table.columns.get(at),
    };
    let is_time = |at: usize| column(at).is_some_and(|column| oid::is_time(column.type_oid));
    let says = |cell: &Expr| matches!(cell, Expr::Value(literal) if says_now(literal));
    values.rows.iter().any(|row| row.content.iter().enumerate().any(|(at, cell)| says(cell) && is_time(at)))
}

/// The rows of an INSERT cannot be cut apart.
fn apart(detail: impl Into<String>) -> Fault {
    Fault::unsupported(
        "INSERT of rows for several shards is not supported in this form",
        detail.into(),
        "Insert the rows in one statement a shard, or one by one.",
    )
}

impl Analyzer<'_> {
    /// What the router writes into the rows of an INSERT into a distributed table.
    fn fill(
        &self,
        table: Option<&Table>,
        columns: Option<&[String]>,
        source: &InsertSource<'_>,
        keys: Option<&[Box<str>]>,
    ) -> Result<Option<Fill>, Fault> {
        let (Some(table), Some(cells)) = (table, source.rows()) else { return Ok(None) };
        let rows = Rows {
            listed: columns,
            width: cells.first().map_or(0, |row| row.len()),
            keys,
            has_default: &|at| cells.iter().any(|row| row.get(at).is_some_and(is_default)),
            has_value: &|at| cells.iter().any(|row| row.get(at).is_some_and(|cell| !is_default(cell))),
        };
        fill_of(self.text, table, &rows, &self.scope)
    }

    /// An INSERT whose rows get values from the router, if the statement that it is with them can run.
    fn draw(&self, fill: Fill, as_written: Result<Outcome, Stop>) -> Result<Outcome, Stop> {
        let form = Form::Insert(fill);
        let refuse = || {
            Fault::unsupported(
                "this form of INSERT that takes values of sequences is not supported",
                "the router writes them into the rows, and cannot tell with certainty where, or in what order",
                "Take the values by SELECT nextval(...) first, or let each row take one value of a sequence.",
            )
        };
        let edits = sequences::edits(self.text, &form, &self.scope).ok_or_else(refuse)?;
        let filled = sequences::write(self.text, &edits, |_| 1).ok_or_else(refuse)?;
        let mut scan = Scan::default();
        crate::sql::template::scan(&filled, self.scope.standard_strings, &mut scan).map_err(|_| refuse())?;
        match analyze(&filled, &scan, &self.scope).outcome {
            Outcome::Refuse(fault) => return Err(fault.into()),
            // The same places would be found again and again.
            Outcome::Draw(_) => return Err(refuse().into()),
            Outcome::Home(_)
            | Outcome::Shard(..)
            | Outcome::Any(_)
            | Outcome::Broadcast(_)
            | Outcome::Parts(..)
            | Outcome::Each(..)
            | Outcome::CreateAs(_)
            | Outcome::Stamp(_)
            | Outcome::CopyIn(_)
            | Outcome::Routed(_)
            | Outcome::Deliver(_)
            | Outcome::Supply(_)
            | Outcome::Insert(_) => {}
        }
        let as_written = match as_written {
            Ok(outcome) => outcome,
            Err(Stop::Refuse(fault)) => Outcome::Refuse(fault),
            Err(Stop::NotUnderstood(what)) => return Err(Stop::NotUnderstood(what)),
        };
        Ok(Outcome::Draw(Arc::new(Draw { as_written, form })))
    }

    /// A statement whose WITH inserts rows that leave values to sequences, with these values if the router can take them; `None`: there is none.
    pub(crate) fn filled_in_with(&self, parsed: &Parsed<'_>, with: &With) -> Result<Option<Outcome>, Stop> {
        let inserts = with.cte_tables.iter().filter_map(|cte| match &*cte.query.body {
            SetExpr::Insert(Statement::Insert(insert)) => Some((cte, insert)),
            _ => None,
        });
        for (nth, (cte, insert)) in inserts.enumerate() {
            if cte.query.with.is_some() {
                return Ok(None);
            }
            let Some(fill) = self.fill_in_with(parsed, insert) else { continue };
            let fill = Fill { in_with: Some(nth), ..fill? };
            let as_written = Obstacle::new("WITH inserts rows that take values of sequences").fault();
            return self.draw(fill, Err(as_written.into())).map(Some);
        }
        Ok(None)
    }

    /// What is written into the rows of an INSERT of a WITH; `None`: nothing, or it is not known.
    fn fill_in_with(&self, parsed: &Parsed<'_>, insert: &Insert) -> Option<Result<Fill, Fault>> {
        let TableObject::TableName(name) = &insert.table else { return None };
        let (schema, name) = parts(name)?;
        let mut scratch = Model::new(self.scope, parsed.literals(self), self.used.clone());
        let (table, key) = match scratch.relation(schema.as_deref(), &name).ok()?.without_temporary() {
            Relation::Sharded { table: Some(table), key, .. } => (table, Some(key)),
            Relation::Reference { table: Some(table), .. } => (table, None),
            _ => return None,
        };
        let columns = column_list(insert).ok()?;
        let types = stored_types(Some(&*table), columns.as_deref());
        let source = source(&mut scratch, insert, &None, &types).ok()?;
        let fill = self.fill(Some(&*table), columns.as_deref(), &source, key.as_deref());
        fill.transpose().filter(|fill| !fill.as_ref().is_ok_and(Fill::is_nothing))
    }

    /// An INSERT into a table of the home shard, with the values of its calls if the router can take them.
    fn calls_in(&self, values: &Values, as_written: Outcome) -> Outcome {
        let form = Form::Insert(Fill::nothing(values.rows.first().map_or(0, |row| row.content.len())));
        match sequences::edits(self.text, &form, &self.scope) {
            Some(edits) if edits.takes().next().is_some() => Outcome::Draw(Arc::new(Draw { as_written, form })),
            Some(_) | None => as_written,
        }
    }
}

/// What is known of an INSERT whose rows could be delivered.
struct Delivered<'a, 'q> {
    parsed: &'a Parsed<'a>,
    insert: &'q Insert,
    with: Option<&'q With>,
    columns: Option<&'a [String]>,
    source: &'a InsertSource<'q>,
    /// See [`Target::hidden`].
    hidden: &'a [Column],
}

impl Delivered<'_, '_> {
    /// The table's columns that the source has values for; `None` where they are not all known.
    fn given(&self, table: &Table) -> Option<Vec<usize>> {
        if self.insert.columns.iter().any(|name| name.0.len() > 1) {
            return None;
        }
        let width = match self.source {
            InsertSource::Defaults => 0,
            InsertSource::Values(values) => values.rows.first()?.content.len(),
            InsertSource::Query(_, (output, _)) => output.complete.then_some(output.list.len())?,
        };
        match self.columns {
            Some(columns) => columns.iter().map(|name| Some(table.column(name)?.0)).collect(),
            None => (width <= table.columns.len()).then(|| (0..width).collect()),
        }
    }
}

/// A level that has the written table as its only leaf, for RETURNING, SET and ON CONFLICT.
pub(crate) fn target_level(model: &mut Model<'_>, name: String, table: Option<&Table>) -> Result<LevelId, Stop> {
    let level = model.add_level(None, None);
    let leaf = Leaf { level, name: name.into(), schema: None, columns: Columns::default(), spread: Spread::Same };
    let id = model.add_leaf(leaf)?;
    model.leaves[id].columns = model.columns_of(id, table);
    Ok(level)
}

/// A write to a reference table: the same on every shard, or refused.
pub(crate) fn write_reference(model: &Model<'_>, table: &str) -> Result<Outcome, Stop> {
    let refuse = |detail: String| -> Stop { refuse_reference(table, detail).into() };
    if let Some(reference) = model.refs.first() {
        return Err(refuse(format!("it reads sharded table \"{}\"", reference.name.table)));
    }
    let uses = &model.uses;
    if let Some(what) = uses.one_shard() {
        return Err(refuse(format!("it needs {what}")));
    }
    if uses.writing_cte && (uses.cte_writes_copies.is_none() || uses.cte_writes_parts) {
        return Err(refuse("WITH contains a statement that changes data".to_owned()));
    }
    if let Some(name) = [&uses.volatile, &uses.clock, &uses.server, &uses.unknown_function].into_iter().flatten().next()
    {
        return Err(refuse(format!("function {name}() can give another value on each shard")));
    }
    if let Some(column) = uses.system_column.as_ref().filter(|_| uses.system_column_outside.unwrap_or(true)) {
        return Err(refuse(format!("system column \"{column}\" has another value on each shard")));
    }
    if let Some((Spread::Tangled(why), _)) = model.subqueries.iter().find(|(s, _)| matches!(s, Spread::Tangled(_))) {
        return Err(why.clone().fault().into());
    }
    Ok(Outcome::Broadcast(Why::Reference))
}

pub(crate) fn refuse_reference(table: &str, detail: String) -> Fault {
    Fault::unsupported(
        format!("this write to reference table \"{table}\" is not supported"),
        detail,
        "Every shard must make the same rows: send the values themselves.",
    )
}

pub(crate) fn check_insert(insert: &Insert) -> Result<(), Stop> {
    let foreign = insert.or.is_some()
        || insert.ignore
        || insert.overwrite
        || !insert.assignments.is_empty()
        || insert.partitioned.is_some()
        || !insert.after_columns.is_empty()
        || insert.has_table_keyword
        || insert.output.is_some()
        || insert.replace_into
        || insert.priority.is_some()
        || insert.insert_alias.is_some()
        || insert.settings.is_some()
        || insert.format_clause.is_some()
        || insert.multi_table_insert_type.is_some()
        || !insert.into;
    if foreign { Err(Stop::NotUnderstood("this form of INSERT")) } else { Ok(()) }
}

/// The column list; `None` where the statement has none. A list with anything but plain names is not understood.
/// The columns that the rows have values for, some perhaps for their fields alone: those may be there twice.
pub(crate) fn column_list(insert: &Insert) -> Result<Option<Vec<String>>, Stop> {
    if insert.columns.is_empty() {
        return Ok(None);
    }
    let name = |name: &sqlparser::ast::ObjectName| match parts(name) {
        // `column.field`
        Some((Some(column), _)) if name.0.len() == 2 => Ok(column),
        Some((None, name)) => Ok(name),
        Some(_) | None => Err(Stop::NotUnderstood("this form of column list")),
    };
    insert.columns.iter().map(name).collect::<Result<Vec<_>, _>>().map(Some)
}

/// `DEFAULT` as a cell: the parser takes it for a name.
pub(crate) fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

/// What an INSERT through a view cannot do: a sequence has no value for a column that no statement can name, and each shard checks the
/// new rows against what it has.
pub(crate) fn check_view(table: &Table, hidden: &[Column], apart: Option<Obstacle>) -> Result<(), Fault> {
    if let Some(apart) = apart {
        return Err(Fault::unsupported(
            format!("INSERT into view \"{}\" is not supported", table.name.name),
            apart.detail,
            "Insert the rows into the table itself.",
        ));
    }
    hidden.iter().try_for_each(|column| from_sequence(column, table))
}

/// The types of the columns that an INSERT gives values to.
pub(crate) fn stored_types(table: Option<&Table>, columns: Option<&[String]>) -> Vec<Option<Oid>> {
    let Some(table) = table else { return Vec::new() };
    let of = |column: &Column| Some(column.type_oid);
    match columns {
        Some(named) => named.iter().map(|name| table.column(name).and_then(|(_, column)| of(column))).collect(),
        None => table.columns.iter().map(of).collect(),
    }
}

/// The columns that SET names.
pub(crate) fn assigned(assignments: &[Assignment]) -> impl Iterator<Item = String> {
    let last = |name: &sqlparser::ast::ObjectName| {
        name.0.last().and_then(|part| part.as_ident()).map(|i| folded(i).into_owned())
    };
    assignments.iter().flat_map(move |assignment| match &assignment.target {
        AssignmentTarget::ColumnName(name) => last(name).into_iter().collect::<Vec<_>>(),
        AssignmentTarget::Tuple(names) => names.iter().filter_map(last).collect(),
    })
}

pub(crate) fn walk_assignments<'q>(
    model: &mut Model<'_>,
    at: &At<'q>,
    assignments: &'q [Assignment],
) -> Result<(), Stop> {
    for assignment in assignments {
        if !is_default(&assignment.value) {
            if model.may_be_time(at.level, &assignment.target) {
                model.note_bare_moment(&assignment.value);
            }
            let target = model.levels[at.level].leaves.first().copied();
            let type_of = |name: &ObjectName| {
                let name = name.0.last().and_then(|part| part.as_ident())?;
                let columns = &model.leaves[target?].columns.list;
                let column = columns.iter().find(|column| *column.name == *folded(name));
                column.and_then(|column| column.ty).map(|ty| ty.oid)
            };
            match &assignment.target {
                AssignmentTarget::ColumnName(name) => {
                    let stored = type_of(name);
                    model.note_stored(at.level, &assignment.value, stored);
                    model.walk(at, &assignment.value)?;
                }
                AssignmentTarget::Tuple(names) => {
                    let stored: Vec<_> = names.iter().map(type_of).collect();
                    walk_row(model, at, &assignment.value, &stored)?;
                }
            }
        }
    }
    Ok(())
}

pub(crate) fn walk_returning<'q>(
    model: &mut Model<'_>,
    at: &At<'q>,
    items: Option<&'q [SelectItem]>,
) -> Result<(), Stop> {
    let inside = At { vary: false, ..at.clone() };
    model.uses.system_column_outside = Some(model.uses.system_column.is_some());
    for item in items.unwrap_or_default() {
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                model.tell_name(inside.level, expr);
                model.walk(&inside, expr)?;
            }
            SelectItem::Wildcard(_) => model.levels[at.level].wildcard = true,
            SelectItem::QualifiedWildcard(..) => {}
            SelectItem::ExprWithAliases { .. } => return Err(Stop::NotUnderstood("several aliases")),
        }
    }
    Ok(())
}
