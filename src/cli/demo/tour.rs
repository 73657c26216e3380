//! A short tour: statements that show each kind of route, with what EXPLAIN (ROUTE) says and what comes back.

use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use super::error::{DemoError, describe};
use super::report::{Placement, say, table};

/// Rows of an answer that are printed.
const SHOWN: usize = 5;

struct Stop {
    about: &'static str,
    sql: &'static str,
    expect: Expect,
}

enum Expect {
    /// Any answer that is not an error.
    Answer,
    /// The first cell of the first row.
    FirstCell(&'static str),
    /// The same, and it is the number of orders that the shards have.
    Orders,
    /// pgloom may not be able to do it exactly yet: then it must say so.
    AnswerOrRefusal,
}

const TOUR: [Stop; 8] = [
    Stop {
        about: "The sharding key is known: one shard is asked",
        sql: "SELECT id, name, plan, since FROM tenants WHERE id = 42",
        expect: Expect::FirstCell("42"),
    },
    Stop {
        about: "Tables that are placed alike are joined where their rows lie",
        sql: "SELECT c.name, count(*) AS orders, sum(o.total_cents) AS cents FROM customers c \
              JOIN orders o ON o.tenant_id = c.tenant_id AND o.customer_id = c.id \
              WHERE c.tenant_id = 7 GROUP BY c.id, c.name ORDER BY cents DESC, c.name LIMIT 3",
        expect: Expect::Answer,
    },
    Stop {
        about: "No key: every shard counts, the router adds up",
        sql: "SELECT count(*) AS orders, sum(total_cents) AS cents, max(placed_at) AS latest FROM orders",
        expect: Expect::Orders,
    },
    Stop {
        about: "Groups are combined across the shards",
        sql: "SELECT status, count(*) FROM orders GROUP BY status ORDER BY status",
        expect: Expect::FirstCell("delivered"),
    },
    Stop {
        about: "Each shard sorts its own, the router merges and stops after five",
        sql: "SELECT total_cents, tenant_id, id FROM orders ORDER BY total_cents DESC, tenant_id, id LIMIT 5",
        expect: Expect::Answer,
    },
    Stop {
        about: "A reference table is whole on every shard: any one will do",
        sql: "SELECT id, name, price_cents FROM products WHERE id = 7",
        expect: Expect::FirstCell("7"),
    },
    Stop {
        about: "A write goes to the shard of its key",
        sql: "UPDATE customers SET city = 'Oslo' WHERE tenant_id = 42 AND id = 41",
        expect: Expect::Answer,
    },
    Stop {
        about: "Exact or refused: what could be wrong is not answered",
        sql: "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total_cents) FROM orders",
        expect: Expect::AnswerOrRefusal,
    },
];

/// Runs every stop and checks its answer.
pub async fn run(client: &Client, placement: &Placement) -> Result<(), DemoError> {
    for stop in &TOUR {
        say("");
        say(format_args!("-- {}", stop.about));
        say(format_args!("{};", stop.sql));
        match client.simple_query(&format!("EXPLAIN (ROUTE) {}", stop.sql)).await {
            Ok(messages) => {
                for (number, line) in Answer::of(messages).rows.iter().flatten().enumerate() {
                    say(format_args!("   {} {line}", if number == 0 { "route:" } else { "      " }));
                }
            }
            Err(error) if stop.may_refuse(&error) => (),
            Err(source) => return Err(DemoError::Sql { what: "EXPLAIN (ROUTE) failed".into(), source }),
        }
        match client.simple_query(stop.sql).await {
            Ok(messages) => {
                let answer = Answer::of(messages);
                answer.print();
                stop.check(&answer, placement)?;
            }
            Err(error) if stop.may_refuse(&error) => say(format_args!("   refused: {}", describe(&error))),
            Err(source) => return Err(DemoError::Sql { what: format!("{:?} failed", stop.sql), source }),
        }
    }
    Ok(())
}

impl Stop {
    fn may_refuse(&self, error: &tokio_postgres::Error) -> bool {
        matches!(self.expect, Expect::AnswerOrRefusal) && error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED)
    }

    fn check(&self, answer: &Answer, placement: &Placement) -> Result<(), DemoError> {
        let expected = match self.expect {
            Expect::Answer | Expect::AnswerOrRefusal => return Ok(()),
            Expect::FirstCell(cell) => cell.to_owned(),
            Expect::Orders => placement.rows("orders").to_string(),
        };
        let got = answer.rows.first().and_then(|row| row.first());
        match got {
            Some(got) if *got == expected => Ok(()),
            got => Err(DemoError::Wrong { sql: self.sql, expected, got: got.cloned().unwrap_or("no row".into()) }),
        }
    }
}

/// The text of an answer.
#[derive(Default)]
struct Answer {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    affected: u64,
}

impl Answer {
    fn of(messages: Vec<SimpleQueryMessage>) -> Self {
        let mut answer = Self::default();
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    answer.columns = columns.iter().map(|column| column.name().to_owned()).collect();
                }
                SimpleQueryMessage::Row(row) => {
                    answer.rows.push((0..row.len()).map(|i| row.get(i).unwrap_or("NULL").to_owned()).collect());
                }
                SimpleQueryMessage::CommandComplete(affected) => answer.affected = affected,
                // tokio-postgres may come to report more; none of it is a row.
                _ => (),
            }
        }
        answer
    }

    fn print(&self) {
        if self.columns.is_empty() {
            say(format_args!("   {} row(s) written", self.affected));
            return;
        }
        say(table(&self.columns, self.rows.get(..SHOWN).unwrap_or(&self.rows), 3));
        if self.rows.len() > SHOWN {
            say(format_args!("   ... {} rows in all", self.rows.len()));
        }
    }
}
