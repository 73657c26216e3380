//! A short tour: statements that show each kind of route, with what EXPLAIN (ROUTE) says and what comes back.

use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

use super::error::DemoError;
use super::report::{Placement, say, table};

/// Rows of an answer that are printed, and characters of a line of a route.
const SHOWN: usize = 5;
const WIDTH: usize = 118;

/// Removes what an earlier tour that was interrupted left.
const CLEAN: &str = "DELETE FROM customers WHERE id = 0";

struct Stop {
    about: &'static str,
    steps: &'static [&'static str],
    /// Of the last step.
    expect: Expect,
}

enum Expect {
    /// Any answer that is not an error.
    Answer,
    /// So many rows written.
    Written(u64),
    /// The first cell of the first row.
    FirstCell(&'static str),
    /// The same, and it is the number of orders that the shards have.
    Orders,
    /// pgloom may not be able to do it exactly yet: then it must say so.
    AnswerOrRefusal,
}

const TOUR: [Stop; 13] = [
    Stop {
        about: "The sharding key is known: one shard is asked",
        steps: &["SELECT id, name, plan, since FROM tenants WHERE id = 42"],
        expect: Expect::FirstCell("42"),
    },
    Stop {
        about: "Tables that are placed alike are joined where their rows lie",
        steps: &["SELECT c.name, count(*) AS orders, sum(o.total_cents) AS cents\n\
                  FROM customers c JOIN orders o ON o.tenant_id = c.tenant_id AND o.customer_id = c.id\n\
                  WHERE c.tenant_id = 7 GROUP BY c.id, c.name ORDER BY cents DESC, c.name LIMIT 3"],
        expect: Expect::Answer,
    },
    Stop {
        about: "No key: every shard counts, the router adds up",
        steps: &["SELECT count(*) AS orders, sum(total_cents) AS cents, avg(total_cents), max(placed_at) FROM orders"],
        expect: Expect::Orders,
    },
    Stop {
        about: "Each shard joins its own customers and orders, and the groups are combined",
        steps: &["SELECT c.city, count(*) AS orders, sum(o.total_cents) AS cents\n\
                  FROM customers c JOIN orders o ON o.tenant_id = c.tenant_id AND o.customer_id = c.id\n\
                  GROUP BY c.city ORDER BY c.city LIMIT 3"],
        expect: Expect::FirstCell("Accra"),
    },
    Stop {
        about: "Each shard sorts its own, the router merges and stops after five",
        steps: &["SELECT total_cents, tenant_id, id FROM orders ORDER BY total_cents DESC, tenant_id, id LIMIT 5"],
        expect: Expect::Answer,
    },
    Stop {
        about: "A reference table is whole on every shard: any one will do",
        steps: &["SELECT id, name, price_cents FROM products WHERE id = 7"],
        expect: Expect::FirstCell("7"),
    },
    Stop {
        about: "A write goes to the shard of its key",
        steps: &["UPDATE customers SET city = 'Oslo' WHERE tenant_id = 42 AND id = 41"],
        expect: Expect::Written(1),
    },
    Stop {
        about: "An INSERT of rows of several shards is cut; all of it happens or nothing",
        steps: &["INSERT INTO customers VALUES (7, 0, 'Ada', 'Oslo'), (9, 0, 'Bo', 'Rome'), (10, 0, 'Cy', 'Graz')"],
        expect: Expect::Written(3),
    },
    Stop {
        about: "A transaction moves a customer to another shard: on both, or on neither",
        steps: &[
            "BEGIN",
            "DELETE FROM customers WHERE tenant_id = 7 AND id = 0",
            "INSERT INTO customers VALUES (8, 0, 'Ada', 'Oslo')",
            "COMMIT",
        ],
        expect: Expect::Answer,
    },
    Stop {
        about: "Another look at what was written",
        steps: &["SELECT tenant_id, name, city FROM customers WHERE id = 0 ORDER BY tenant_id"],
        expect: Expect::FirstCell("8"),
    },
    Stop {
        about: "Without the key, a write goes to every shard, as one transaction",
        steps: &[CLEAN],
        expect: Expect::Written(3),
    },
    Stop {
        about: "What cannot be merged is finished by Postgres, on the columns that it needs",
        steps: &["SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total_cents) FROM orders"],
        expect: Expect::Answer,
    },
    Stop {
        about: "Exact or refused: what could be wrong is not answered",
        steps: &["SELECT id FROM orders ORDER BY total_cents FETCH FIRST 1 ROW WITH TIES FOR UPDATE"],
        expect: Expect::AnswerOrRefusal,
    },
];

/// Runs every stop and checks its answer.
pub async fn run(client: &Client, placement: &Placement) -> Result<(), DemoError> {
    let failed = |sql: &str, source| DemoError::Sql { what: format!("{sql:?} failed"), source };
    client.batch_execute(CLEAN).await.map_err(|source| failed(CLEAN, source))?;
    for stop in &TOUR {
        say("");
        say(format_args!("-- {}", stop.about));
        for (number, sql) in stop.steps.iter().enumerate() {
            say(format_args!("{sql};"));
            route(client, sql).await?;
            match client.simple_query(sql).await {
                Ok(messages) => {
                    let answer = Answer::of(messages);
                    answer.print();
                    if number + 1 == stop.steps.len() {
                        stop.check(sql, &answer, placement)?;
                    }
                }
                Err(error) if stop.may_refuse(&error) => say_refusal(&error),
                Err(source) => return Err(failed(sql, source)),
            }
        }
    }
    Ok(())
}

/// Prints where a statement goes; not of one that will be refused, because that error says all.
async fn route(client: &Client, sql: &str) -> Result<(), DemoError> {
    if sql == "BEGIN" {
        return Ok(());
    }
    let failed = |source| DemoError::Sql { what: format!("EXPLAIN (ROUTE) {sql} failed"), source };
    let lines = Answer::of(client.simple_query(&format!("EXPLAIN (ROUTE) {sql}")).await.map_err(failed)?).rows;
    if lines.iter().flatten().any(|line| line.starts_with("Refuse")) {
        return Ok(());
    }
    for (number, line) in lines.iter().flatten().enumerate() {
        let mut line = format!("   {} {line}", if number == 0 { "route:" } else { "      " });
        if let Some((cut, _)) = line.char_indices().nth(WIDTH) {
            line.truncate(cut);
            line.push_str("...");
        }
        say(line);
    }
    Ok(())
}

/// As psql shows it.
fn say_refusal(error: &tokio_postgres::Error) {
    let Some(refusal) = error.as_db_error() else { return };
    say(format_args!("   ERROR:  {}: {}", refusal.code().code(), refusal.message()));
    for (name, value) in [("DETAIL", refusal.detail()), ("HINT", refusal.hint())] {
        if let Some(value) = value {
            say(format_args!("   {name}:  {value}"));
        }
    }
}

impl Stop {
    fn may_refuse(&self, error: &tokio_postgres::Error) -> bool {
        matches!(self.expect, Expect::AnswerOrRefusal) && error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED)
    }

    fn check(&self, sql: &'static str, answer: &Answer, placement: &Placement) -> Result<(), DemoError> {
        let expected = match self.expect {
            Expect::Answer | Expect::AnswerOrRefusal => return Ok(()),
            Expect::Written(rows) if answer.affected == rows => return Ok(()),
            Expect::Written(rows) => {
                let (expected, got) = (format!("{rows} rows written"), answer.affected.to_string());
                return Err(DemoError::Wrong { sql, expected, got });
            }
            Expect::FirstCell(cell) => cell.to_owned(),
            Expect::Orders => placement.rows("orders").to_string(),
        };
        let got = answer.rows.first().and_then(|row| row.first());
        match got {
            Some(got) if *got == expected => Ok(()),
            got => Err(DemoError::Wrong { sql, expected, got: got.cloned().unwrap_or("no row".into()) }),
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
            match self.affected {
                0 => (),
                1 => say("   1 row written"),
                rows => say(format_args!("   {rows} rows written")),
            }
            return;
        }
        say(table(&self.columns, self.rows.get(..SHOWN).unwrap_or(&self.rows), 3));
        if self.rows.len() > SHOWN {
            say(format_args!("   ... {} rows in all", self.rows.len()));
        }
    }
}
