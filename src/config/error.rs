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
