//! Rows of a combine connection that go along with a statement as arrays: how each of their columns is sent.

use bytes::{BufMut, BytesMut};

use crate::backend::inflight::{Audience, Owed};
use crate::exec::delivery::{To, ask_bound, collect};
use crate::exec::forward::without_position;
use crate::exec::replies::{Hears, ScatterError};
use crate::fault::{Fault, SqlState};
use crate::ids::{Oid, ShardId};
use crate::session::Session;
use crate::session::finish::description;
use crate::sql::pulls::{is_portable, quoted};
use crate::types::{Format, oid};
use crate::wire::frame::HEADER;
use crate::wire::request;
use crate::wire::row::{RowView, read_row_description};

/// The type of arrays of text.
const TEXT_ARRAY: Oid = 1009;

/// One column of rows in arrays.
pub(super) struct Sent {
    /// Not quoted.
    pub name: Box<str>,
    /// Binary, where that means the same on every server.
    pub format: Format,
    /// The types of the array's elements and of the array itself.
    pub element: Oid,
    pub array: Oid,
    /// The column's type in SQL.
    pub sql_type: String,
    pub collation: Collation,
}

pub(super) enum Collation {
    /// Its type has none, or nobody looks at it.
    None,
    /// Its type has one, which has not been asked for.
    Some,
    /// In SQL; and whether what it takes for equal can differ in its bytes.
    Known { name: String, folds: bool },
}

/// A FROM item of the arrays that are the parameters from `first` on, and what is to be selected of it to have the columns.
pub(super) fn from_arrays(sent: &[Sent], first: usize) -> (Vec<String>, String) {
    let numbered = || sent.iter().zip(1..);
    let value = |(sent, n): (&Sent, usize)| match &sent.collation {
        Collation::None | Collation::Some => format!("CAST(pgloom.c{n} AS {})", sent.sql_type),
        Collation::Known { name, .. } => format!("CAST(pgloom.c{n} AS {}) COLLATE {name}", sent.sql_type),
    };
    let values = numbered().map(value).collect();
    let arrays: Vec<String> = numbered().map(|(_, n)| format!("pg_catalog.unnest(${})", first + n - 1)).collect();
    let names: Vec<String> = numbered().map(|(_, n)| format!("c{n}")).collect();
    (values, format!("ROWS FROM ({}) AS pgloom ({})", arrays.join(", "), names.join(", ")))
}

/// The names of the columns, in SQL.
pub(super) fn names(sent: &[Sent]) -> String {
    sent.iter().map(|sent| quoted(&sent.name)).collect::<Vec<_>>().join(", ")
}

impl Session {
    /// How the columns of a query are sent that a combine connection is to answer. `types`: of its parameters.
    pub(super) async fn sent_columns(
        &mut self,
        slot: ShardId,
        sql: &str,
        types: &[Oid],
    ) -> Result<Vec<Sent>, ScatterError> {
        let at = self.held_at(slot)?;
        let server = &mut self.held[at].server;
        server.parse(b"", sql.as_bytes(), types)?;
        server.inflight.push(Owed::Parse(Audience::Router));
        request::describe(&mut server.out, request::Target::Statement, b"")?;
        server.inflight.push(Owed::DescribeStatement(Audience::Client));
        server.out.extend_from_slice(request::SYNC);
        server.inflight.push(Owed::Sync(Audience::Client));
        let rows = match description(server, &mut self.client, Hears::Everything, None).await? {
            Ok((_, rows)) => rows,
            Err(error) => return Err(ScatterError::Shard(without_position(&error))),
        };
        let columns = read_row_description(rows.get(HEADER..).unwrap_or_default())?;
        if columns.is_empty() {
            return Err(unread().into());
        }
        let list =
            columns.iter().enumerate().map(|(n, c)| format!("({n}, {}::pg_catalog.oid, {})", c.type_oid, c.typmod));
        let sql = format!(
            "SELECT pg_catalog.format_type(t.oid, v.typmod), \
               CASE WHEN t.typcategory OPERATOR(pg_catalog.<>) 'A' THEN t.typarray ELSE 0 END, \
               t.typcollation OPERATOR(pg_catalog.<>) 0 \
             FROM (VALUES {}) v (n, oid, typmod) JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) v.oid ORDER BY v.n",
            list.collect::<Vec<_>>().join(", ")
        );
        let types = server.query(&sql).await?;
        if types.len() != columns.len() {
            return Err(unread().into());
        }
        let sent = columns.into_iter().zip(types).map(|(column, row)| match &row[..] {
            [Some(sql_type), Some(array), Some(collatable)] => {
                let array: Oid = array.parse().map_err(|_| unread())?;
                let binary = array != 0 && is_portable(column.type_oid);
                let (format, element, array) = match binary {
                    true => (Format::Binary, column.type_oid, array),
                    false => (Format::Text, oid::TEXT, TEXT_ARRAY),
                };
                let collation = if collatable == "t" { Collation::Some } else { Collation::None };
                Ok(Sent { name: column.name, format, element, array, sql_type: sql_type.clone(), collation })
            }
            _ => Err(unread()),
        });
        let sent: Vec<Sent> = sent.collect::<Result<_, Fault>>()?;
        if sent.iter().any(|sent| sent.format == Format::Text) {
            self.check_texts()?;
        }
        Ok(sent)
    }

    /// Asks what the collations of the columns are. `parameters`: what a Bind of the query says of its parameters.
    pub(super) async fn find_collations(
        &mut self,
        slot: ShardId,
        sql: &str,
        types: &[Oid],
        parameters: &[u8],
        sent: &mut [Sent],
    ) -> Result<(), ScatterError> {
        let mut collatable: Vec<(usize, &mut Sent)> =
            sent.iter_mut().enumerate().filter(|(_, sent)| matches!(sent.collation, Collation::Some)).collect();
        if collatable.is_empty() {
            return Ok(());
        }
        // One row of NULLs, whatever the query would give.
        let asked = collatable.iter().map(|(at, _)| {
            let name = format!("pg_catalog.pg_collation_for(pgloom.c{at})");
            format!(
                "{name}, (SELECT NOT collisdeterministic FROM pg_catalog.pg_collation \
                   WHERE oid OPERATOR(pg_catalog.=) {name}::pg_catalog.regcollation)"
            )
        });
        let asked: Vec<String> = asked.collect();
        let names: Vec<String> =
            (0..collatable.last().map_or(0, |(at, _)| at + 1)).map(|at| format!("c{at}")).collect();
        let sql = format!(
            "SELECT {} FROM (SELECT) one LEFT JOIN ({sql}) AS pgloom ({}) ON false",
            asked.join(", "),
            names.join(", ")
        );
        let mut bind = BytesMut::from(parameters);
        bind.put_i16(0);
        let at = self.held_at(slot)?;
        let server = &mut self.held[at].server;
        ask_bound(server, &sql, types, &bind)?;
        let mut found: Vec<Option<String>> = Vec::new();
        let note = |row: &RowView<'_>| {
            let texts = row.columns().map(|value| Ok(value?.map(|text| String::from_utf8_lossy(text).into_owned())));
            found = texts.collect::<Result<_, Fault>>()?;
            Ok(To::All)
        };
        let elements = vec![oid::TEXT; 2 * collatable.len()];
        collect(server, &mut self.client, 1, &elements, (usize::MAX, self.shared.memory.hold()), note, unread).await?;
        if found.len() != 2 * collatable.len() {
            return Err(unread().into());
        }
        for ((_, sent), found) in collatable.iter_mut().zip(found.chunks(2)) {
            let [Some(name), Some(folds)] = found else { return Err(unclear(&sent.name).into()) };
            sent.collation = Collation::Known { name: name.clone(), folds: folds == "t" };
        }
        Ok(())
    }
}

fn unclear(column: &str) -> Fault {
    Fault::unsupported(
        "statement is not supported across shards",
        format!("it is not clear by which collation column \"{column}\" of what it reads is compared"),
        "Say the collation with COLLATE.",
    )
}

fn unread() -> Fault {
    Fault::new(SqlState::INTERNAL_ERROR, "a server did not tell the columns of what is sent along")
}
