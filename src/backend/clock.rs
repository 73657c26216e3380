//! The clock of a combine connection: functions in its temporary schema that are called like those that read the clock, and say the
//! client's time.

use crate::backend::Backend;
use crate::backend::settings::quote_literal;
use crate::fault::Fault;

/// What the clock says within one statement, as texts that every server reads alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The start of the transaction.
    pub transaction: String,
    /// The start of the statement.
    pub statement: String,
}

/// The settings that hold a moment's two times.
const TRANSACTION_SETTING: &str = "pgloom.transaction_start";
const STATEMENT_SETTING: &str = "pgloom.statement_start";

/// The query that gives a moment's two times.
pub const ASK: &str = "SELECT pg_catalog.to_char(t AT TIME ZONE 'UTC', f) || '+00', \
    pg_catalog.to_char(s AT TIME ZONE 'UTC', f) || '+00' \
    FROM (SELECT pg_catalog.now() AS t, pg_catalog.statement_timestamp() AS s, 'YYYY-MM-DD HH24:MI:SS.US' AS f) moment";

impl Moment {
    /// What a server answered to [`ASK`].
    pub fn of(rows: &[Vec<Option<String>>]) -> Option<Self> {
        match rows.first()?.as_slice() {
            [Some(transaction), Some(statement)] => {
                Some(Self { transaction: transaction.clone(), statement: statement.clone() })
            }
            _ => None,
        }
    }

    /// The statement that sets the connection's clock until the end of its transaction.
    pub fn set(&self) -> String {
        format!(
            "SET LOCAL {TRANSACTION_SETTING} = {}; SET LOCAL {STATEMENT_SETTING} = {}",
            quote_literal(&self.transaction),
            quote_literal(&self.statement)
        )
    }
}

/// Makes the functions on a connection that has them not yet. They stay there.
///
/// # Errors
/// The server's, such as `42501` for a user without the privilege TEMPORARY.
pub async fn make_clock(server: &mut Backend) -> Result<(), Fault> {
    if server.has_clock {
        return Ok(());
    }
    let made = server.query(&format!("BEGIN READ WRITE; {}COMMIT", functions())).await;
    if made.is_err() && !server.broken {
        server.query("ROLLBACK").await?;
    }
    made.map_err(Fault::without_position)?;
    server.has_clock = true;
    Ok(())
}

fn functions() -> String {
    let moment = |setting: &str| format!("pg_catalog.current_setting('{setting}')::pg_catalog.timestamptz");
    let transaction = moment(TRANSACTION_SETTING);
    let statement = moment(STATEMENT_SETTING);
    let mut all = String::new();
    let mut make = |name: &str, args: &str, returns: &str, body: &str| {
        all.push_str(&format!(
            "CREATE OR REPLACE FUNCTION pg_temp.\"{name}\"({args}) RETURNS {returns} LANGUAGE sql STABLE \
             AS $$ SELECT {body} $$; "
        ));
    };
    for name in ["now", "transaction_timestamp", "current_timestamp"] {
        make(name, "", "pg_catalog.timestamptz", &transaction);
    }
    make("statement_timestamp", "", "pg_catalog.timestamptz", &statement);
    make("current_date", "", "pg_catalog.date", &format!("({transaction})::pg_catalog.date"));
    for (name, of) in [
        ("current_timestamp", "timestamptz"),
        ("current_time", "timetz"),
        ("localtime", "time"),
        ("localtimestamp", "timestamp"),
    ] {
        let value = format!("({transaction})::pg_catalog.{of}");
        if name != "current_timestamp" {
            make(name, "", &format!("pg_catalog.{of}"), &value);
        }
        // The functions behind a type's precision.
        let rounded = format!("pg_catalog.\"{of}\"({value}, $1)");
        make(name, "pg_catalog.int4", &format!("pg_catalog.{of}"), &rounded);
    }
    for of in ["timestamp", "timestamptz"] {
        let today = format!("({transaction})::pg_catalog.date::pg_catalog.{of}");
        make("age", &format!("pg_catalog.{of}"), "pg_catalog.interval", &format!("pg_catalog.age({today}, $1)"));
    }
    all
}
