//! PURE. The console's language: `SHOW what`, and commands with the names that PgBouncer gave them.

use super::{Access, What, shows::SHOWS, text};
use crate::admin::shows::Show;
use crate::control::live::Ending;
use crate::fault::{Fault, SqlState};
use crate::sql::lexer::{Lexer, TokenKind};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// An empty text, or comments alone.
    Nothing,
    Show(What),
    /// A setting of the operator's own session, and its value: drivers ask for some of them by themselves.
    ShowSession(&'static str, &'static str),
    /// One of these given a value, which changes nothing: every answer is text in UTF-8. The setting, and what it stays, where that is another.
    SetSession(Option<(&'static str, &'static str)>),
    KillClient(u32),
    /// `None` is every database, here and below.
    Kill(Option<String>),
    Reconnect(Option<String>),
    WaitClose(Option<String>),
    Disable(String),
    Enable(String),
    Reload,
    Pause(Scope),
    Suspend,
    Resume(Scope),
    /// A setting of `[general]` and its value, as an environment variable would say it.
    Set(String, String),
    Shutdown(Ending),
}

/// `[database [shard]]`; nothing: every database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    pub database: Option<String>,
    pub shard: Option<String>,
}

impl Command {
    /// Who may give it.
    pub fn access(&self) -> Access {
        match self {
            Self::Nothing | Self::Show(_) | Self::ShowSession(..) | Self::SetSession(_) => Access::Stats,
            Self::KillClient(_)
            | Self::Kill(_)
            | Self::Reconnect(_)
            | Self::WaitClose(_)
            | Self::Disable(_)
            | Self::Enable(_)
            | Self::Reload
            | Self::Pause(_)
            | Self::Suspend
            | Self::Resume(_)
            | Self::Set(..)
            | Self::Shutdown(_) => Access::Admin,
        }
    }

    /// The tag of its answer.
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Show(_) | Self::ShowSession(..) => "SHOW",
            Self::KillClient(_) => "KILL_CLIENT",
            Self::Kill(_) => "KILL",
            Self::Reconnect(_) => "RECONNECT",
            Self::WaitClose(_) => "WAIT_CLOSE",
            Self::Disable(_) => "DISABLE",
            Self::Enable(_) => "ENABLE",
            Self::Reload => "RELOAD",
            Self::Pause(_) => "PAUSE",
            Self::Suspend => "SUSPEND",
            Self::Resume(_) => "RESUME",
            Self::Set(..) | Self::SetSession(_) => "SET",
            Self::Shutdown(_) => "SHUTDOWN",
        }
    }

    /// # Errors
    /// `42601` for what is no command; the hint names what there is.
    pub fn parse(sql: &str) -> Result<Self, Fault> {
        if let Some(setting) = setting(sql) {
            return setting;
        }
        let words = words(sql)?;
        let Some((name, arguments)) = words.split_first() else { return Ok(Self::Nothing) };
        let command = match name.to_ascii_uppercase().as_str() {
            "SHOW" => match session_setting(arguments) {
                Some((name, value)) => Self::ShowSession(name, value),
                None => Self::Show(shown(arguments)?),
            },
            "KILL_CLIENT" => {
                let id = one(name, arguments)?;
                Self::KillClient(id.parse().map_err(|_| {
                    Fault::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("\"{id}\" is no id of a client"))
                        .hint("SHOW CLIENTS has the ids.")
                })?)
            }
            "KILL" => Self::Kill(at_most_one(name, arguments)?),
            "RECONNECT" => Self::Reconnect(at_most_one(name, arguments)?),
            "WAIT_CLOSE" => Self::WaitClose(at_most_one(name, arguments)?),
            "DISABLE" => Self::Disable(one(name, arguments)?),
            "ENABLE" => Self::Enable(one(name, arguments)?),
            "PAUSE" => Self::Pause(scope(name, arguments)?),
            "RESUME" => Self::Resume(scope(name, arguments)?),
            "SUSPEND" if arguments.is_empty() => Self::Suspend,
            "RELOAD" if arguments.is_empty() => Self::Reload,
            "SHUTDOWN" => Self::Shutdown(ending(arguments)?),
            _ => return Err(invalid(sql)),
        };
        Ok(command)
    }
}

/// What a session of the console is told of itself when it begins.
pub const SESSION: &[(&str, &str)] = &[
    ("server_version", concat!(env!("CARGO_PKG_VERSION"), "/pgloom")),
    ("client_encoding", "UTF8"),
    ("server_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("TimeZone", "GMT"),
    ("standard_conforming_strings", "on"),
];

/// What else drivers ask for, or set, before anything else.
const ASKED_BY_DRIVERS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_min_messages", "notice"),
    ("extra_float_digits", "1"),
    ("IntervalStyle", "postgres"),
    ("search_path", ""),
    ("statement_timeout", "0"),
    ("default_transaction_isolation", "read committed"),
    ("transaction_isolation", "read committed"),
];

fn session_setting(arguments: &[String]) -> Option<(&'static str, &'static str)> {
    let name = match arguments {
        [name] => name.as_str(),
        [time, zone] if time.eq_ignore_ascii_case("time") && zone.eq_ignore_ascii_case("zone") => "TimeZone",
        [transaction, isolation, level]
            if transaction.eq_ignore_ascii_case("transaction")
                && isolation.eq_ignore_ascii_case("isolation")
                && level.eq_ignore_ascii_case("level") =>
        {
            "transaction_isolation"
        }
        _ => return None,
    };
    SESSION.iter().chain(ASKED_BY_DRIVERS).copied().find(|(known, _)| known.eq_ignore_ascii_case(name))
}

/// Whether this is what a driver sets in its session. As PgBouncer's, the console takes it and stays as it is, and says so; but what it
/// would have to speak otherwise, it refuses.
fn set_session(key: &str, value: &str) -> Option<Result<Command, Fault>> {
    let (name, shown) = session_setting(&[key.to_owned()])?;
    let is_utf8 = ["utf8", "utf-8", "unicode"].iter().any(|utf8| value.eq_ignore_ascii_case(utf8));
    Some(match name {
        "client_encoding" if !is_utf8 => Err(Fault::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("the console speaks UTF8, not \"{}\"", value.chars().take(100).collect::<String>()),
        )),
        "server_version" | "server_encoding" => {
            Err(Fault::new(SqlState::CANT_CHANGE_RUNTIME_PARAM, format!("parameter \"{name}\" cannot be changed")))
        }
        "client_encoding" => Ok(Command::SetSession(None)),
        _ => Ok(Command::SetSession((!value.eq_ignore_ascii_case(shown)).then_some((name, shown)))),
    })
}

/// Commands as HELP shows them, and what they do.
const COMMANDS: &[(&str, &str)] = &[
    ("DISABLE database", "nobody else may connect to it; clients that are there stay"),
    ("ENABLE database", "takes DISABLE back"),
    (
        "KILL [database]",
        "ends all clients of the database, or of all, and cancels what they run; server connections are closed, and whoever comes then waits until RESUME",
    ),
    ("KILL_CLIENT id", "ends one client, of SHOW CLIENTS, and cancels what it runs"),
    (
        "PAUSE [database] [shard]",
        "new statements and transactions wait, up to query_wait_timeout; the command ends when those that run have ended. A client that gives the command up leaves the pause in force",
    ),
    ("RECONNECT [database]", "closes server connections: idle ones at once, others when their clients give them back"),
    (
        "RELOAD",
        "reads the configuration again, with all files that it names, and applies it whole or, with an error, not at all",
    ),
    ("RESUME [database] [shard]", "takes PAUSE back; without a database SUSPEND, too"),
    (
        "SET key = value",
        "gives a setting of `[general]` another value until the configuration is read again (RELOAD, SIGHUP, autoreload) or the router ends; SHOW CONFIG tells which can change",
    ),
    (
        "SHUTDOWN",
        "ends the router at once, as PgBouncer's does: clients are told 57P01, their transactions are rolled back",
    ),
    (
        "SHUTDOWN WAIT_FOR_CLIENTS",
        "as SIGTERM: nobody new is let in, clients may stay for shutdown_client_timeout, transactions may finish within shutdown_timeout",
    ),
    (
        "SHUTDOWN WAIT_FOR_SERVERS",
        "as SIGINT: clients without a transaction are disconnected, transactions may finish within shutdown_timeout",
    ),
    (
        "SUSPEND",
        "nothing that clients send is begun any more, also within transactions, however long; the command ends when what has begun is done, with it what PAUSE holds back. A client that gives the command up leaves it in force; one that cancels what waits is told 57014",
    ),
    ("WAIT_CLOSE [database]", "waits until RECONNECT has closed them all"),
];

/// The rows of SHOW HELP.
pub fn help() -> Vec<Vec<Option<String>>> {
    let shows =
        SHOWS.iter().map(|show| vec![text(format!("SHOW {}", show.name)), text(Access::Stats.label()), text(show.doc)]);
    let commands = COMMANDS.iter().map(|(command, help)| vec![text(command), text(Access::Admin.label()), text(help)]);
    shows.chain(commands).collect()
}

fn invalid(sql: &str) -> Fault {
    let shown: String = sql.trim().chars().take(100).collect();
    Fault::new(SqlState::SYNTAX_ERROR, format!("invalid command \"{shown}\"")).hint("SHOW HELP lists the commands.")
}

fn shown(arguments: &[String]) -> Result<What, Fault> {
    let name = one("SHOW", arguments)?;
    Show::named(&name).map(|show| show.what).ok_or_else(|| {
        Fault::new(SqlState::UNDEFINED_OBJECT, format!("there is no SHOW {name}"))
            .hint("SHOW HELP lists what there is.")
    })
}

fn one(command: &str, arguments: &[String]) -> Result<String, Fault> {
    match arguments {
        [one] => Ok(one.clone()),
        _ => Err(wrong_arguments(command, "takes one argument")),
    }
}

fn at_most_one(command: &str, arguments: &[String]) -> Result<Option<String>, Fault> {
    match arguments {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        _ => Err(wrong_arguments(command, "takes at most one argument")),
    }
}

fn scope(command: &str, arguments: &[String]) -> Result<Scope, Fault> {
    match arguments {
        [] => Ok(Scope::default()),
        [database] => Ok(Scope { database: Some(database.clone()), shard: None }),
        [database, shard] => Ok(Scope { database: Some(database.clone()), shard: Some(shard.clone()) }),
        _ => Err(wrong_arguments(command, "takes at most a database and a shard")),
    }
}

fn ending(arguments: &[String]) -> Result<Ending, Fault> {
    match at_most_one("SHUTDOWN", arguments)?.map(|how| how.to_ascii_uppercase()).as_deref() {
        None => Ok(Ending::AtOnce),
        Some("WAIT_FOR_CLIENTS") => Ok(Ending::OfClients),
        Some("WAIT_FOR_SERVERS") => Ok(Ending::OfTransactions),
        Some(other) => Err(Fault::new(SqlState::SYNTAX_ERROR, format!("there is no SHUTDOWN {other}"))
            .hint("SHUTDOWN may be followed by WAIT_FOR_CLIENTS or WAIT_FOR_SERVERS.")),
    }
}

/// `SET key = value`, or with TO; a value is in quotes of SQL, or everything up to the end. `None`: it is no SET.
fn setting(sql: &str) -> Option<Result<Command, Fault>> {
    let text = sql.trim().trim_end_matches(';').trim_end();
    let rest = text.get(..4).filter(|set| set.eq_ignore_ascii_case("set ")).and_then(|_| text.get(4..))?.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (key, rest) = rest.split_at(end);
    let rest = rest.trim_start();
    let value = rest.strip_prefix('=').or_else(|| {
        let to = rest.get(..3).filter(|to| to.eq_ignore_ascii_case("to "));
        to.and_then(|_| rest.get(3..))
    });
    let value = value.map(str::trim).filter(|value| !value.is_empty() && !key.is_empty());
    let plain = match value {
        Some(value) if value.starts_with(['\'', '"']) => match words(value) {
            Ok(words) if words.len() == 1 => words.concat(),
            _ => return Some(Err(invalid(sql))),
        },
        Some(value) if !value.contains(['\'', '"', ';']) => value.to_owned(),
        Some(_) | None => return Some(Err(invalid(sql).hint("It is SET key = value."))),
    };
    let set = set_session(key, &plain).unwrap_or_else(|| Ok(Command::Set(key.to_ascii_lowercase(), plain)));
    Some(set)
}

fn wrong_arguments(command: &str, what: &str) -> Fault {
    Fault::new(SqlState::SYNTAX_ERROR, format!("{} {what}", command.to_ascii_uppercase()))
        .hint("SHOW HELP lists the commands.")
}

/// The words of one command: as they are written, as in PgBouncer; quotes of both kinds go away.
fn words(sql: &str) -> Result<Vec<String>, Fault> {
    let mut lexer = Lexer::new(sql, true);
    let (mut words, mut ended) = (Vec::new(), false);
    while let Some(token) = lexer.next().map_err(|_| invalid(sql))? {
        let written = sql.get(token.start..token.end).ok_or_else(|| invalid(sql))?;
        if token.is(b';') {
            ended = true;
            continue;
        }
        if ended {
            let message = "the console takes one command at a time";
            return Err(Fault::new(SqlState::SYNTAX_ERROR, message).hint("Send them one after the other."));
        }
        let word = match token.kind {
            TokenKind::Word => written.to_owned(),
            TokenKind::Quoted => unquoted(written, '"'),
            TokenKind::Literal(_) if written.starts_with('\'') => unquoted(written, '\''),
            TokenKind::Literal(_) if written.bytes().all(|byte| byte.is_ascii_digit()) => written.to_owned(),
            TokenKind::Literal(_)
            | TokenKind::UnicodeQuoted
            | TokenKind::Parameter
            | TokenKind::Operator
            | TokenKind::Punct(_) => return Err(invalid(sql)),
        };
        words.push(word);
    }
    Ok(words)
}

fn unquoted(written: &str, quote: char) -> String {
    let inner = written.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).unwrap_or(written);
    inner.replace(&format!("{quote}{quote}"), &quote.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn commands_are_read_in_any_case_and_names_as_they_are_written() {
        let parse = |sql: &str| Command::parse(sql).unwrap();
        for nothing in ["", " ; ", "-- ping", "/* nothing */;"] {
            assert_eq!(parse(nothing), Command::Nothing);
        }
        assert_eq!(parse("show Pools;"), Command::Show(What::Pools));
        assert_eq!(parse("SHOW relations"), Command::Show(What::Tables));
        assert_eq!(parse("KILL_CLIENT 17 ;"), Command::KillClient(17));
        assert_eq!(parse("kill"), Command::Kill(None));
        assert_eq!(parse("Kill MyShop"), Command::Kill(Some("MyShop".to_owned())));
        assert_eq!(parse("disable \"my \"\"shop\""), Command::Disable("my \"shop".to_owned()));
        assert_eq!(parse("ENABLE 'it''s'"), Command::Enable("it's".to_owned()));
        let set = |key: &str, value: &str| Command::Set(key.to_owned(), value.to_owned());
        assert_eq!(parse("SET query_timeout = 5s;"), set("query_timeout", "5s"));
        assert_eq!(parse("set  Query_Timeout='5 s'"), set("query_timeout", "5 s"));
        assert_eq!(parse("SET admin_users TO ops, watch"), set("admin_users", "ops, watch"));
        assert_eq!(parse("SET client_tls_ca_file = ''"), set("client_tls_ca_file", ""));
        for (sql, value) in [("SHOW client_encoding", "UTF8"), ("show DATESTYLE;", "ISO"), ("SHOW time zone", "GMT")] {
            assert!(matches!(parse(sql), Command::ShowSession(_, told) if told == value), "{sql}");
        }
        for (sql, stays) in [
            ("SET client_encoding TO 'utf-8'", None),
            ("set extra_float_digits = 3", Some(("extra_float_digits", "1"))),
            ("SET datestyle = iso", None),
            ("SET DateStyle = German", Some(("DateStyle", "ISO"))),
        ] {
            assert_eq!(parse(sql), Command::SetSession(stays), "{sql}");
        }
        for (sql, code) in [("SET client_encoding = latin1", "22023"), ("SET server_version = '9'", "55P02")] {
            assert_eq!(Command::parse(sql).unwrap_err().code.as_str(), code, "{sql}");
        }
        assert_eq!(parse("shutdown"), Command::Shutdown(Ending::AtOnce));
        assert_eq!(parse("SHUTDOWN wait_for_clients;"), Command::Shutdown(Ending::OfClients));
        assert_eq!(parse("SHUTDOWN WAIT_FOR_SERVERS"), Command::Shutdown(Ending::OfTransactions));
    }

    #[test]
    fn what_is_no_command_is_refused_with_a_way_out() {
        for (sql, code) in [
            ("SELECT 1", "42601"),
            ("SHOW", "42601"),
            ("SHOW POOLS CLIENTS", "42601"),
            ("SHOW NOTHING", "42704"),
            ("SHOW POOLS; KILL", "42601"),
            ("KILL_CLIENT", "42601"),
            ("KILL_CLIENT x", "22P02"),
            ("KILL a b", "42601"),
            ("DISABLE", "42601"),
            ("KILL $1", "42601"),
            ("KILL 'a", "42601"),
            ("SET", "42601"),
            ("SET a", "42601"),
            ("SET a = ", "42601"),
            ("SET = 5", "42601"),
            ("SET a = 5; RELOAD", "42601"),
            ("SET application_name = 'a'; SHUTDOWN", "42601"),
            ("SET application_name = a; SHUTDOWN", "42601"),
            ("SET application_name = \"a\"; SHUTDOWN", "42601"),
            ("SET extra_float_digits = 3; SHUTDOWN", "42601"),
            ("SET client_encoding = 'utf8'; KILL '", "42601"),
            ("SET a = 'b", "42601"),
            ("SHUTDOWN NOW", "42601"),
            ("SHUTDOWN WAIT_FOR_SERVERS WAIT_FOR_CLIENTS", "42601"),
        ] {
            let fault = Command::parse(sql).unwrap_err();
            assert_eq!(fault.code.as_str(), code, "{sql}: {fault}");
            assert!(fault.hint.is_some() || sql == "KILL_CLIENT x", "{sql}: {fault}");
        }
    }

    #[test]
    fn help_names_only_what_is_understood_and_says_who_may() {
        assert_eq!(Command::parse("PAUSE a \"S 1\"").unwrap().tag(), "PAUSE");
        for row in help() {
            let (command, access) = (row[0].clone().unwrap(), row[1].clone().unwrap());
            let sql = command.replace("[", "").replace("]", "").replace("id", "1");
            let parsed = Command::parse(&sql).unwrap_or_else(|fault| panic!("{sql}: {fault}"));
            assert_eq!(parsed.access().label(), access, "{command}");
            assert_eq!(command.split(' ').next().unwrap(), parsed.tag());
        }
    }
}
