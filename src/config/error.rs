//! What is wrong with a config, all of it at once: file, line, key and remedy.

use std::fmt;
use std::sync::Arc;

/// Where a setting's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of the file, from 1.
    Line(u32),
    /// An environment variable, by name.
    Environment(String),
    /// A setting that SET in the console gives another value.
    Console(String),
}

/// One thing to correct, or in a list of warnings one to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    pub file: Arc<str>,
    pub origin: Origin,
    /// What is wrong and the way out; never a secret's value.
    pub message: String,
}

impl ConfigError {
    /// Whether it is the same mistake, on whichever line it stands.
    pub fn is_like(&self, other: &Self) -> bool {
        let same_origin = match (&self.origin, &other.origin) {
            (Origin::Line(_), Origin::Line(_)) => true,
            (own, others) => own == others,
        };
        same_origin && self.file == other.file && without_lines(&self.message) == without_lines(&other.message)
    }
}

/// A message without the line of the users in etcd that it names. Names may have such words in them.
fn without_lines(message: &str) -> String {
    const HEAD: &str = "users in etcd, line ";
    // What is said of one who stands here as well: nothing of the user's is behind it.
    const WITHIN: &str = " has a password here and in line ";
    let parts = message.strip_prefix(HEAD).map(|behind| ("", behind)).or_else(|| message.rsplit_once(WITHIN));
    let Some((before, behind)) = parts else { return message.to_owned() };
    format!("{before}: {}", behind.trim_start_matches(|c: char| c.is_ascii_digit()))
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => write!(f, "{}: {}", self.file, self.message),
            Origin::Line(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            Origin::Environment(name) => write!(f, "environment variable {name}: {}", self.message),
            Origin::Console(key) => write!(f, "SET {key}: {}", self.message),
        }
    }
}

/// Everything that is wrong, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// The known name that `wrong` is most likely a slip of.
pub(super) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = wrong.to_ascii_lowercase().replace('-', "_");
    let near = known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&folded, &name.to_ascii_lowercase().replace('-', "_")), name))
        .filter(|(distance, name)| *distance <= (name.len() / 4).clamp(1, 3))
        .min();
    near.map(|(_, name)| name)
}

/// `; did you mean ...?`, or nothing.
pub(super) fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wrong, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_the_same_on_another_line() {
        let error = |line: u32, message: &str| ConfigError {
            file: "pgloom.toml".into(),
            origin: Origin::Line(line),
            message: message.to_owned(),
        };
        let first = error(3, "users in etcd, line 2: user `a` is in auth_file, too");
        assert!(first.is_like(&error(7, "users in etcd, line 10: user `a` is in auth_file, too")));
        assert!(!first.is_like(&error(3, "users in etcd, line 2: user `b` is in auth_file, too")));
        assert!(!first.is_like(&ConfigError { origin: Origin::Default, ..first.clone() }));
        let none =
            |line: u32, who: &str| error(1, &format!("users in etcd, line {line}: user `{who}` has no SCRAM verifier"));
        assert!(none(1, "line 1").is_like(&none(2, "line 1")) && !none(1, "line 1").is_like(&none(1, "line 2")));
        let two = |line: u32, who: &str| {
            let message = format!("user `{who}` has a password here and in line {line} of the users in etcd; keep one");
            error(1, &message)
        };
        assert!(
            two(1, "in line 1").is_like(&two(2, "in line 1")) && !two(1, "in line 1").is_like(&two(1, "in line 2"))
        );
        assert!(!error(1, "at most 10 lines").is_like(&error(1, "at most 20 lines")));
    }
}
