//! `Shape`: what makes the result of a query over several shards of theirs. Rows, their order and DISTINCT here; groups in
//! `groups`, LIMIT in `limit`.
//! Clause 3: what is not proved here is refused; no arm falls through.

use sqlparser::ast::{
    Distinct, Expr, Ident, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, OrderBySort, Query, Select, SelectItem,
    SetExpr, Statement, Value as Literal,
};

use crate::fault::Fault;
use crate::sql::NameScope;
use crate::sql::combine::{Assumed, Combine, Gather, SortKey, Step};
use crate::sql::facts::{as_select, unnest};
use crate::sql::infer::type_of;
use crate::sql::limit::{no_rows, read_limit, set_limit};
use crate::sql::literals::Literals;
use crate::sql::locking::LockText;
use crate::sql::model::{Column, ColumnType, Columns, LevelId, Model, NodeId, Obstacle, RefId, Spread};
use crate::sql::moment::tell_time;
use crate::sql::names::{Place, folded};
use crate::sql::outcome::{Limit, Scatter, ScatterSql};
use crate::sql::query::{SelectLevel, is_grouped, item_expr};
use crate::sql::rewrite;
use crate::sql::sampling::{Sample, unknown_sample};
use crate::sql::sets::SET;
use crate::types::compare::{Comparator, TextStyle};
use crate::types::{Format, oid};

/// Why nothing of a statement may run on more than one shard, whatever its shape.
pub(crate) fn check_scatter(model: &Model<'_>, base: &Spread) -> Result<(), Obstacle> {
    check_scatter_but_clock(model, base)?;
    check_clock(model)
}

/// The same, with no regard to functions that read the clock: they can be told the time.
pub(crate) fn check_scatter_but_clock(model: &Model<'_>, base: &Spread) -> Result<(), Obstacle> {
    check_places(model, base)?;
    if let Some(name) = &model.uses.volatile {
        return Err(Obstacle::new(format!("function {name}() gives another value at each call")));
    }
    Ok(())
}

pub(crate) fn check_clock(model: &Model<'_>) -> Result<(), Obstacle> {
    if let Some(name) = &model.uses.clock {
        return Err(Obstacle::new(format!("function {name}() reads the clock, which differs between shards"))
            .hint("Send the time as a parameter or a literal, or give the sharding key one value in WHERE."));
    }
    Ok(())
}

/// What reads a text like `now` as a time.
pub(crate) fn says_now() -> Obstacle {
    Obstacle::new("a text like 'now' is read as a time, which is another one in the transaction of each server")
        .hint("Use now(), current_date and their like, or send the time as a parameter or a literal.")
}

/// The same, with no regard to functions that give another value at each call, or on each shard.
pub(crate) fn check_places(model: &Model<'_>, base: &Spread) -> Result<(), Obstacle> {
    if let Some(obstacle) = &model.obstacle {
        return Err(obstacle.clone());
    }
    if let Spread::Tangled(why) = base {
        return Err(why.clone());
    }
    let uses = &model.uses;
    if uses.moment {
        return Err(says_now());
    }
    match (uses.one_shard(), uses.places.first()) {
        (Some(what), None) => {
            return Err(Obstacle::new(format!("the statement needs {what}")).hint(
                "Make the table a reference table, or give the sharding key a value that lies on the home shard.",
            ));
        }
        (_, Some(place)) => return Err(single_place(place)),
        (None, None) => {}
    }
    match uses.sample {
        None | Some(Sample::Rows) => {}
        Some(Sample::Copies) => return Err(Obstacle::new("TABLESAMPLE of a table that every shard has")),
        Some(Sample::Unknown) => return Err(unknown_sample()),
    }
    if uses.outer_aggregate {
        return Err(Obstacle::new("an aggregate in a subquery over rows of the query around it"));
    }
    if let Some(column) = &uses.system_column {
        return Err(Obstacle::new(format!("system column \"{column}\"")));
    }
    if let Some(name) = &uses.attribute {
        return Err(called_as_attribute(name));
    }
    if let Some(name) = &uses.server {
        return Err(Obstacle::new(format!("{name} depends on the server that runs it")));
    }
    if let Some(name) = &uses.unknown_function {
        return Err(Obstacle::new(format!("function {name}() is not known to the router")));
    }
    for (spread, level) in &model.subqueries {
        match spread {
            Spread::Same => {}
            Spread::Tangled(why) => return Err(why.clone()),
            Spread::Parted { refs, .. } => {
                if !model.follows_outer(refs, Some(*level)) {
                    let table = refs.first().map_or("", |r| &*model.refs[*r].name.table).to_owned();
                    return Err(Obstacle::new(format!(
                        "the subquery on table \"{table}\" is not tied to the rows around it by the sharding key"
                    )));
                }
            }
        }
    }
    Ok(())
}

pub(crate) fn called_as_attribute(name: &str) -> Obstacle {
    Obstacle::new(format!("function {name}() is called, or may be, as an attribute of what stands before its name"))
        .hint("Write the call of the function as name(value), or give what has a column of this name an alias that has none but known columns.")
}

/// What lies on one shard alone, and not for being unsharded.
fn single_place(place: &Place) -> Obstacle {
    match &place.schema {
        Some(schema) => Obstacle::new(format!("the statement needs the shard of schema \"{schema}\", and others"))
            .hint("Name tables of one shard: pins place schemas together, and reference tables are on every shard."),
        None => Obstacle::new("the statement needs the shard that has the session's temporary tables, and others")
            .hint("Read what it needs of the temporary table first."),
    }
}

/// The query's parts that shape its result.
pub(crate) struct Shape<'m, 'q> {
    pub model: &'m Model<'m>,
    pub query: &'q Query,
    pub select: &'q Select,
    pub level: LevelId,
    pub columns: &'m Columns,
    pub anchors: Vec<RefId>,
    pub refs: Vec<RefId>,
    /// Expressions that the shards return behind the visible columns.
    pub added: Vec<Expr>,
}

/// An ORDER BY item: the column of the shards' rows that it sorts by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sorted {
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

/// The merge of a query over several shards, or why there is none.
pub(crate) fn scatter(
    model: &Model<'_>,
    statement: &Statement,
    text: &str,
    query: &Query,
    level: &SelectLevel,
    parameters: u16,
) -> Result<Scatter, Fault> {
    check_scatter_but_clock(model, &level.base).map_err(Obstacle::fault)?;
    let uses = &model.uses;
    // The time is written into the statement's own text, and rows that it changes are another matter.
    let is_told =
        || !uses.clock_in_view && !uses.writing_cte && tell_time(&mut statement.clone(), &model.scope).is_some();
    if uses.clock.is_some() && !is_told() {
        check_clock(model).map_err(Obstacle::fault)?;
    }
    let Spread::Parted { refs, anchors } = &level.base else {
        return Err(Obstacle::new("a subquery reads a sharded table, and the rows around it do not").fault());
    };
    let select = as_select(query).ok_or_else(|| Obstacle::new(SET).fault())?;
    if query.order_by.is_none() && model.passes_order(select, level.level) {
        return Err(Obstacle::new("the order of a subquery in FROM, over rows of several shards").fault());
    }
    let limit = read_limit(query).map_err(Obstacle::fault)?;
    let mut shape = Shape {
        model,
        query,
        select,
        level: level.level,
        columns: &level.columns,
        anchors: anchors.clone(),
        refs: refs.clone(),
        added: Vec::new(),
    };
    let standard_strings = model.scope.standard_strings;
    let clock = uses.clock.as_ref().map(|_| &model.scope);
    let printer = Printer { statement, text, standard_strings, parameters, literals: &model.literals, clock };
    let mut scatter = shape.plan(limit, &printer).map_err(Obstacle::fault)?;
    if clock.is_some() && scatter.sql == ScatterSql::AsWritten {
        scatter.sql = printer.print(|_, _| {}).map_err(Obstacle::fault)?;
    }
    Ok(scatter)
}

/// Columns behind the visible ones, under names that nothing in the statement means.
pub(crate) fn hidden_items(exprs: impl IntoIterator<Item = Expr>) -> impl Iterator<Item = SelectItem> {
    let alias = |at: usize| Ident::with_quote('"', format!("pgloom_{at}"));
    exprs.into_iter().enumerate().map(move |(at, expr)| SelectItem::ExprWithAlias { expr, alias: alias(at) })
}

/// Changes and prints the statement.
pub(crate) struct Printer<'a> {
    pub statement: &'a Statement,
    pub text: &'a str,
    pub standard_strings: bool,
    pub parameters: u16,
    pub literals: &'a Literals,
    /// It reads the clock, by functions that these names lead to.
    pub clock: Option<&'a NameScope<'a>>,
}

impl Printer<'_> {
    pub fn is_faithful(&self) -> bool {
        rewrite::is_faithful(self.statement, self.text, self.standard_strings)
    }

    pub fn is_faithful_in_parts(&self) -> bool {
        rewrite::is_faithful_in_parts(self.statement, self.text, self.standard_strings)
    }

    /// A SELECT, changed.
    pub fn print(&self, change: impl FnOnce(&mut Query, &mut Select)) -> Result<ScatterSql, Obstacle> {
        self.print_query(|query| {
            // The body is taken out so that query and select can be changed side by side.
            let empty =
                SetExpr::Values(sqlparser::ast::Values { explicit_row: false, value_keyword: false, rows: Vec::new() });
            match std::mem::replace(&mut *query.body, empty) {
                SetExpr::Select(mut select) => {
                    change(query, &mut select);
                    *query.body = SetExpr::Select(select);
                    true
                }
                _ => false,
            }
        })
    }

    /// `change` tells whether it could.
    pub fn print_query(&self, change: impl FnOnce(&mut Query) -> bool) -> Result<ScatterSql, Obstacle> {
        let unprintable =
            || Obstacle::new("the statement must be changed for the shards, and cannot be printed faithfully");
        let (mut tree, clause) = match self.is_faithful() {
            true => (self.statement.clone(), None),
            // The parser does not know every lock clause: what stands before and behind it is printed, and it goes as it is.
            false => self.without_locks().map(|(tree, clause)| (tree, Some(clause))).ok_or_else(unprintable)?,
        };
        let changed = match &mut tree {
            Statement::Query(query) => change(query),
            _ => false,
        };
        if !changed {
            return Err(unprintable());
        }
        let sql = rewrite::shard_sql(tree, self.parameters, self.literals, self.clock);
        let mut sql = sql.ok_or_else(unprintable)?;
        if let (ScatterSql::Rewritten { text, .. }, Some(clause)) = (&mut sql, clause) {
            text.push(&format!(" {clause}"));
        }
        Ok(sql)
    }

    /// The statement without its lock clause, and that.
    fn without_locks(&self) -> Option<(Statement, String)> {
        let LockText { clause, without, .. } = LockText::cut(self.text)?;
        let tree = super::parse(&without)?;
        rewrite::is_faithful(&tree, &without, self.standard_strings).then_some((tree, clause))
    }
}

impl Shape<'_, '_> {
    fn plan(&mut self, limit: Option<Limit>, printer: &Printer<'_>) -> Result<Scatter, Obstacle> {
        let level = &self.model.levels[self.level];
        if level.grouping_sets {
            return Err(Obstacle::new("GROUPING SETS, CUBE or ROLLUP over rows of several shards"));
        }
        if let Some(Distinct::On(exprs)) = &self.select.distinct {
            // By the sharding key each set of rows lies on one shard, which picks its first row.
            let mut nodes = Vec::new();
            for expr in exprs {
                nodes.extend(match self.output_position(expr)? {
                    Some(column) => self.columns.list[column].node,
                    None => self.node(expr),
                });
            }
            if !self.anchors.iter().any(|anchor| self.model.has_key(&nodes, *anchor)) {
                return Err(Obstacle::new("DISTINCT ON over rows of several shards, not by their sharding key"));
            }
        }
        if self.model.uses.locking && limit.is_some() {
            // Each shard would lock rows that are not returned.
            return Err(Obstacle::new("FOR UPDATE or FOR SHARE with LIMIT over several shards"));
        }
        let grouped = is_grouped(self.select) || level.aggregates;
        let mut local = self.anchors.clone();
        if !level.windows.is_empty() {
            local.retain(|anchor| self.model.windows_have_key(self.level, *anchor));
            if local.is_empty() {
                return Err(Obstacle::new("a window function whose PARTITION BY does not contain the sharding key"));
            }
        }
        if grouped {
            let nodes = self.model.group_nodes(self.level, self.select);
            local.retain(|anchor| self.model.has_key(&nodes, *anchor));
            if local.is_empty() {
                if !level.windows.is_empty() {
                    return Err(Obstacle::new("a window function over groups of several shards"));
                }
                return self.aggregate(limit, printer);
            }
        }
        self.rows(limit, printer)
    }

    /// Every row of the result is one shard's row.
    fn rows(&mut self, limit: Option<Limit>, printer: &Printer<'_>) -> Result<Scatter, Obstacle> {
        let mut steps = Vec::new();
        let mut keys = self.order_keys()?;
        let added = self.added.iter().map(|expr| type_of(self.model, self.level, expr));
        let of_rows: Vec<Option<ColumnType>> = self.columns.list.iter().map(|column| column.ty).chain(added).collect();
        let assumed = self.assumed(&of_rows);
        let mut sort_by_all = false;
        let mut push_limit = true;
        let distinct = matches!(self.select.distinct, Some(Distinct::Distinct));
        if distinct && !self.added.is_empty() {
            return Err(Obstacle::new("ORDER BY of DISTINCT rows by what is not in the select list"));
        }
        if distinct && !self.output_has_key() {
            if !self.columns.complete {
                return Err(unknown_columns());
            }
            let types: Vec<Option<ColumnType>> = self.columns.list.iter().map(|column| column.ty).collect();
            if let Some(i) = types.iter().position(|ty| !ty.is_some_and(has_equality)) {
                return Err(self.not_comparable("DISTINCT", i));
            }
            // Sorted rows need no memory to find what is equal.
            if keys.is_empty() && types.iter().all(|ty| ty.is_some_and(has_order)) && printer.is_faithful() {
                sort_by_all = true;
                keys =
                    (0..types.len()).map(|column| Sorted { column, descending: false, nulls_first: false }).collect();
            }
            let sorted = (0..types.len()).all(|column| keys.iter().any(|key| key.column == column));
            steps.push(Step::Distinct { columns: types.len(), sorted });
            push_limit = false;
        }
        let hidden = self.added.len();
        let offset = limit.is_some_and(|limit| limit.offset.is_some());
        let drops_limit = limit.is_some() && !push_limit;
        let sql = if hidden == 0 && !sort_by_all && !drops_limit && !(offset && push_limit) {
            ScatterSql::AsWritten
        } else {
            let (added, width) = (std::mem::take(&mut self.added), self.columns.list.len());
            printer.print(|query, select| {
                select.projection.extend(hidden_items(added));
                if sort_by_all {
                    query.order_by = Some(order_by_ordinals(0..width));
                }
                if let Some(limit) = limit {
                    set_limit(query, if push_limit { Some(limit) } else { no_rows(Some(limit)) });
                }
            })?
        };
        let gather = match keys.is_empty() {
            true => Gather::Concat,
            false => Gather::MergeSort(keys.into_iter().map(Sorted::key).collect()),
        };
        let assumed = if gather == Gather::Concat && steps.is_empty() { Assumed::default() } else { assumed };
        Ok(merged(sql, Combine { gather, steps, hidden, assumed }, limit, &of_rows))
    }

    /// What the merge will count on: see [`Assumed`].
    fn assumed(&self, types: &[Option<ColumnType>]) -> Assumed {
        let texts = (0..types.len()).filter(|at| types[*at].is_some_and(is_ordered_text)).collect();
        let name = |column: &Column| column.node.map(|_| column.name.clone());
        let names = match self.model.levels[self.level].wildcard {
            true => self.columns.list.iter().map(name).collect(),
            false => Vec::new(),
        };
        Assumed { texts, names }
    }

    /// Whether the visible columns hold the whole key of a reference whose key is in every row.
    fn output_has_key(&self) -> bool {
        let nodes: Vec<NodeId> = self.columns.list.iter().filter_map(|column| column.node).collect();
        self.anchors.iter().any(|anchor| self.model.has_key(&nodes, *anchor))
    }

    fn not_comparable(&self, what: &str, column: usize) -> Obstacle {
        let name = self.columns.list.get(column).map_or("?column?", |column| &column.name);
        Obstacle::new(format!(
            "{what}: values of column \"{name}\" cannot be compared outside of Postgres with certainty"
        ))
        .hint("Only Postgres itself can compare values of this type or collation; for text add COLLATE \"C\".")
    }

    pub fn order_items(&self) -> Result<&[OrderByExpr], Obstacle> {
        match &self.query.order_by {
            None => Ok(&[]),
            Some(OrderBy { kind: OrderByKind::Expressions(items), .. }) => Ok(items),
            Some(_) => Err(Obstacle::new("this form of ORDER BY")),
        }
    }

    /// The columns that ORDER BY sorts by; what is no output column is added behind them.
    pub fn order_keys(&mut self) -> Result<Vec<Sorted>, Obstacle> {
        let mut keys = Vec::new();
        for item in self.order_items()?.to_vec() {
            if !self.columns.complete {
                return Err(unknown_columns());
            }
            let (column, ty) = match self.output_position(&item.expr)? {
                Some(column) => (column, self.columns.list[column].ty),
                None => {
                    let ty = type_of(self.model, self.level, &item.expr);
                    self.added.push(item.expr.clone());
                    (self.columns.list.len() + self.added.len() - 1, ty)
                }
            };
            if !ty.is_some_and(has_order) {
                return Err(not_ordered(&item.expr));
            }
            keys.push(sorted(column, &item.options)?);
        }
        Ok(keys)
    }

    /// The output column that an ORDER BY expression means.
    pub fn output_position(&self, expr: &Expr) -> Result<Option<usize>, Obstacle> {
        let width = self.columns.list.len();
        match unnest(expr) {
            Expr::Value(value) => match &value.value {
                Literal::Number(digits, _) => match digits.parse::<usize>() {
                    Ok(n) if (1..=width).contains(&n) => Ok(Some(n - 1)),
                    _ => Err(Obstacle::new("ORDER BY position that is not in the select list")),
                },
                _ => Err(Obstacle::new("ORDER BY a constant")),
            },
            Expr::Identifier(name) => {
                // An output name goes before a column of the FROM list.
                let mut named = self.columns.list.iter().enumerate().filter(|(_, c)| *c.name == *folded(name));
                match (named.next(), named.next()) {
                    (Some((i, _)), None) => Ok(Some(i)),
                    (None, _) => Ok(self.same_output(expr)),
                    (Some((first, a)), Some(_)) => {
                        // The same column twice is no ambiguity.
                        let all = self.columns.list.iter().filter(|c| *c.name == *folded(name));
                        match a.node {
                            Some(node) if all.clone().all(|c| c.node == Some(node)) => Ok(Some(first)),
                            _ => Err(Obstacle::new(format!("ORDER BY \"{name}\" names several output columns"))),
                        }
                    }
                }
            }
            _ => Ok(self.same_output(expr)),
        }
    }

    /// The output column made by this very expression.
    fn same_output(&self, expr: &Expr) -> Option<usize> {
        if let Some(node) = self.node(expr)
            && let Some(i) = self.columns.list.iter().position(|column| column.node == Some(node))
        {
            return Some(i);
        }
        (0..self.columns.list.len())
            .find(|i| item_expr(self.select, *i).is_some_and(|item| unnest(item) == unnest(expr)))
    }

    pub fn node(&self, expr: &Expr) -> Option<NodeId> {
        match unnest(expr) {
            expr @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_)) => {
                self.model.as_column(self.level, expr)?.column.node
            }
            _ => None,
        }
    }

    pub fn same(&self, a: &Expr, b: &Expr) -> bool {
        unnest(a) == unnest(b) || self.node(a).is_some_and(|node| self.node(b) == Some(node))
    }
}

impl Sorted {
    pub fn key(self) -> SortKey {
        SortKey { column: self.column, descending: self.descending, nulls_first: self.nulls_first }
    }
}

pub(crate) fn sorted(column: usize, options: &OrderByOptions) -> Result<Sorted, Obstacle> {
    let descending = match options.sort {
        None | Some(OrderBySort::Asc) => false,
        Some(OrderBySort::Desc) => true,
        Some(OrderBySort::Using(_)) => return Err(Obstacle::new("ORDER BY ... USING")),
    };
    Ok(Sorted { column, descending, nulls_first: options.nulls_first.unwrap_or(descending) })
}

/// Why rows are not put in this order by the router.
pub(crate) fn not_ordered(expr: &Expr) -> Obstacle {
    Obstacle::new(format!("ORDER BY {expr}: its order is not one that the router can prove to be Postgres's own"))
        .hint("Add COLLATE \"C\" to order text by its bytes, or give the sharding key one value in WHERE.")
}

pub(crate) fn unknown_columns() -> Obstacle {
    Obstacle::new("the columns that * stands for are not all known").hint("Name the columns in the select list.")
}

/// Whether the order of values of this type is provably Postgres's, in both formats.
pub(crate) fn has_order(ty: ColumnType) -> bool {
    [Format::Text, Format::Binary]
        .into_iter()
        .all(|format| Comparator::order(ty.oid, ty.collation, format, TextStyle::default()).is_some())
}

/// Text that is compared by its bytes.
pub(crate) fn is_ordered_text(ty: ColumnType) -> bool {
    matches!(ty.oid, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME) && has_equality(ty)
}

pub(crate) fn has_equality(ty: ColumnType) -> bool {
    [Format::Text, Format::Binary]
        .into_iter()
        .all(|format| Comparator::equality(ty.oid, ty.collation, format, TextStyle::default()).is_some())
}

/// A merge of rows whose columns are of these types.
pub(crate) fn merged(sql: ScatterSql, combine: Combine, limit: Option<Limit>, types: &[Option<ColumnType>]) -> Scatter {
    let compared = (0..types.len()).filter(|at| combine.compares(*at)).filter_map(|at| types[at]);
    let style = compared.fold(TextStyle::NONE, |style, ty| style.or(read_by(ty)));
    Scatter { sql, combine: combine.into(), limit, style, otherwise: None }
}

/// How values of this type must be printed for their text to be compared.
fn read_by(ty: ColumnType) -> TextStyle {
    let reads = |style| Comparator::equality(ty.oid, ty.collation, Format::Text, style).is_some();
    let all = TextStyle::default();
    TextStyle {
        iso_dates: !reads(TextStyle { iso_dates: false, ..all }),
        exact_floats: !reads(TextStyle { exact_floats: false, ..all }),
        hex_bytea: !reads(TextStyle { hex_bytea: false, ..all }),
    }
}

pub(crate) fn ordinal(position: usize) -> Expr {
    Expr::value(Literal::Number((position + 1).to_string(), false))
}

fn order_by_ordinals(columns: std::ops::Range<usize>) -> OrderBy {
    let keys: Vec<Sorted> = columns.map(|column| Sorted { column, descending: false, nulls_first: false }).collect();
    order_by_keys(&keys, ordinal)
}

/// Text in the order of its bytes.
pub(crate) fn by_bytes(expr: &Expr) -> Expr {
    let collation = sqlparser::ast::ObjectName::from(vec![Ident::new("pg_catalog"), Ident::with_quote('"', "C")]);
    Expr::Collate { expr: Box::new(Expr::Nested(Box::new(expr.clone()))), collation }
}

/// `by`: how a column is named.
pub(crate) fn order_by_keys(keys: &[Sorted], by: impl Fn(usize) -> Expr) -> OrderBy {
    let item = |key: &Sorted| OrderByExpr {
        expr: by(key.column),
        options: OrderByOptions {
            sort: Some(if key.descending { OrderBySort::Desc } else { OrderBySort::Asc }),
            nulls_first: Some(key.nulls_first),
        },
        with_fill: None,
    };
    OrderBy { kind: OrderByKind::Expressions(keys.iter().map(item).collect()), interpolate: None }
}
