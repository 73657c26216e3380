//! `pgloom users`: the users that routers share through etcd.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::app::shared_users::verifier_of;
use crate::cli::ConfigArg;
use crate::cli::failed::{Failed, carry_out};
use crate::cli::out::{complain, say};
use crate::config::userlist::{self, Listed};
use crate::config::{ConfigError, ConfigErrors, Document, Draft, MapSettings};
use crate::control::etcd::{Connection, Etcd, StoreError, Swap};
use crate::secret::Secret;

#[derive(Debug, clap::Args)]
pub struct UsersArgs {
    #[command(subcommand)]
    command: UsersCommand,
}

#[derive(Debug, clap::Subcommand)]
enum UsersCommand {
    /// List those that stand in etcd
    List(ListArgs),
    /// Add a user, or give it another password; etcd gets a SCRAM verifier of it, never the password
    #[command(
        after_help = "The password is the first line of standard input, or of a file: in clear text, or the verifier SCRAM-SHA-256$... that pg_authid shows. \
        With the verifier that the servers have, the router logs in there as the user, and knows no password.\n\n\
        Examples:\n  \
        psql -XAtc \"SELECT rolpassword FROM pg_authid WHERE rolname = 'app'\" | pgloom users set app\n  \
        pgloom users set app --password-file app.password\n\n\
        Exit status: 0 done, 1 routers would not take the user, or somebody else has changed the users meanwhile, 2 the call, the password or etcd cannot be used."
    )]
    Set(SetArgs),
    /// Take a user out: it cannot log in any more, unless auth_query finds it
    #[command(
        after_help = "Exit status: 0 done, 1 there is no such user, routers would not take the users without it, or somebody else has changed them meanwhile, 2 the call or etcd cannot be used."
    )]
    Remove(RemoveArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, clap::Args)]
struct SetArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The name that the client gives
    name: String,
    /// Where the password is read from, instead of standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct RemoveArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The user
    name: String,
}

pub fn run(args: &UsersArgs) -> ExitCode {
    carry_out(async {
        match &args.command {
            UsersCommand::List(args) => list(args).await,
            UsersCommand::Set(args) => set(args).await,
            UsersCommand::Remove(args) => remove(args).await,
        }
    })
}

/// The users of etcd by name, and the revision of their last change.
struct Known {
    connection: Connection,
    /// Of a router that takes them; `None`: this one does not.
    draft: Option<Draft>,
    prefix: Box<str>,
    text: String,
    users: BTreeMap<String, Secret>,
    revision: Option<i64>,
}

impl Known {
    async fn read(config: &ConfigArg) -> Result<Self, Failed> {
        let shown = config.config.display();
        let draft = Draft::load(&config.config)?;
        let MapSettings::Etcd(etcd) = draft.map_source()? else {
            let message = "has no etcd; set source = \"etcd\", endpoints and users_file in [topology] to share users";
            return Err(Failed::unusable(format!("{shown} {message}")));
        };
        if etcd.users_file.is_none() {
            complain!(
                "pgloom: warning: {shown} has no users_file in [topology]: a router with it knows nothing of these users"
            );
        }
        let mut connection = Etcd::new(&etcd).any().await?;
        let (_, found) = connection.users().await?;
        let revision = found.as_ref().map(|users| users.revision);
        let text = found.map(|users| users.text).unwrap_or_default();
        let listed = userlist::parse(&text).map_err(|errors| {
            let lines = errors.iter().map(|(line, error)| format!("users in etcd, line {line}: {error}"));
            Failed::unusable(lines.collect::<Vec<_>>().join("\n"))
        })?;
        let user = |Listed { name, password, .. }: Listed| (name.into(), password.unwrap_or(Secret::new("")));
        let users = listed.into_iter().map(user).collect();
        let draft = etcd.users_file.is_some().then_some(draft);
        Ok(Self { connection, draft, prefix: etcd.prefix, text, users, revision })
    }

    /// Whether a router with this configuration would take other users: what it does not take would change nothing, and block every later change.
    /// What was wrong before may be mended step by step, and is told.
    async fn check(&mut self, text: &str) -> Result<(), Failed> {
        let Some(draft) = &self.draft else { return Ok(()) };
        let source = format!("{}/map", self.prefix);
        let map = match self.connection.look().await {
            Ok(look) => look.map.map(|stored| stored.text.map_err(|unreadable| unreadable.to_string())).transpose(),
            Err(StoreError(error)) => Err(error),
        };
        let parse = |text: String| Document::parse(&source, &text).map_err(|errors| errors.to_string());
        let document = map.and_then(|map| map.map(parse).transpose()).unwrap_or_else(|error| {
            complain!("pgloom: warning: {source} cannot be read, so the users are looked at without it: {error}");
            None
        });
        let told = |users: &str| match draft.with_users(users).settings(document.as_ref()) {
            Ok(settings) => (Vec::new(), settings.warnings),
            Err(ConfigErrors(errors)) => (errors, Vec::new()),
        };
        let (before, now) = (told(&self.text), told(text));
        let lines = |errors: &[&ConfigError]| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let (known, new) = apart(&now.0, &before.0);
        if !new.is_empty() {
            let message = "nothing is changed: routers with this configuration would not take these users";
            return Err(Failed::refused(format!("{message}:\n{}", lines(&new))));
        }
        // Without a map there are errors of its databases.
        if document.is_none() {
            return Ok(());
        }
        if !known.is_empty() {
            complain!("pgloom: warning: routers with this configuration take no users before this is mended:");
        }
        let (_, warnings) = apart(&now.1, &before.1);
        known.into_iter().chain(warnings).for_each(|found| complain!("pgloom: warning: {found}"));
        Ok(())
    }

    async fn write(mut self) -> Result<ExitCode, Failed> {
        let text = userlist::written(self.users.iter().map(|(name, password)| (name.as_str(), password)));
        self.check(&text).await?;
        match self.connection.swap_users(self.revision, &text).await? {
            Swap::Done => Ok(ExitCode::SUCCESS),
            Swap::Lost => Err(Failed::refused("somebody else has changed the users meanwhile: try again")),
        }
    }
}

/// Those that were there before, on whichever line, and those that are new.
fn apart<'a>(now: &'a [ConfigError], before: &[ConfigError]) -> (Vec<&'a ConfigError>, Vec<&'a ConfigError>) {
    let mut left: Vec<&ConfigError> = before.iter().collect();
    now.iter().partition(|error| {
        let place = left.iter().position(|known| known.is_like(error));
        place.map(|place| left.swap_remove(place)).is_some()
    })
}

async fn list(args: &ListArgs) -> Result<ExitCode, Failed> {
    let known = Known::read(&args.config).await?;
    known.users.keys().for_each(|name| say!("{name}"));
    Ok(ExitCode::SUCCESS)
}

async fn set(args: &SetArgs) -> Result<ExitCode, Failed> {
    if args.name.is_empty() || args.name.contains(['\0', '\n', '\r']) {
        return Err(Failed::unusable("a user has an empty name, or one with a zero byte or a line end"));
    }
    let verifier = verifier_of(&password(args)?).map_err(Failed::unusable)?;
    let mut known = Known::read(&args.config).await?;
    let was_there = known.users.insert(args.name.clone(), verifier).is_some();
    let code = known.write().await?;
    say!("user {} {}", args.name, if was_there { "has another password" } else { "is added" });
    Ok(code)
}

async fn remove(args: &RemoveArgs) -> Result<ExitCode, Failed> {
    let mut known = Known::read(&args.config).await?;
    if known.users.remove(&args.name).is_none() {
        return Err(Failed::refused(format!("there is no user {} in etcd", args.name)));
    }
    let code = known.write().await?;
    say!("user {} is removed", args.name);
    Ok(code)
}

/// The first line.
fn password(args: &SetArgs) -> Result<Secret, Failed> {
    let mut text = String::new();
    let (from, read) = match &args.password_file {
        Some(path) => {
            let read = std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text));
            (path.display().to_string(), read)
        }
        None => ("standard input".to_owned(), std::io::stdin().read_to_string(&mut text)),
    };
    read.map_err(|error| Failed::unusable(format!("{from}: cannot be read: {error}")))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() || line.contains('\0') {
        return Err(Failed::unusable(format!("{from}: the password is empty, or has a zero byte")));
    }
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    #[test]
    fn what_was_wrong_before_is_not_new_on_another_line() {
        let error = |line: u32, who: &str| ConfigError {
            file: "pgloom.toml".into(),
            origin: Origin::Default,
            message: format!("users in etcd, line {line}: user `{who}` has no SCRAM verifier"),
        };
        let before = [error(1, "a"), error(2, "b")];
        let now = [error(2, "a"), error(3, "b"), error(4, "b"), error(5, "c")];
        let (known, new) = apart(&now, &before);
        assert_eq!((known, new), (vec![&now[0], &now[1]], vec![&now[2], &now[3]]));
    }
}
