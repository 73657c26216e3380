//! What a client says of a statement in a comment before it: `/* pgloom: read_preference = replica */ SELECT ...`. Off by default, and for the
//! users alone whom the configuration names: comments may be written by others than the one who writes the statement.
//!
//! Only a comment that is the very first of the statement's text is looked at, so nothing in a literal, or behind data, is ever taken for one.

use crate::config::ReadPreference;
use crate::fault::{Fault, SqlState};
use crate::session::Session;
use crate::session::replica::preference;
use crate::sql::words::Words;

const MARK: &str = "pgloom:";

impl Session {
    /// A statement of this text begins.
    ///
    /// # Errors
    /// `22023` for a hint that is none of ours, but before what begins and ends transactions: who cannot get out of one that has failed
    /// can do nothing.
    pub(super) fn take_hint(&mut self, text: &str) -> Result<(), Fault> {
        self.hint = None;
        if self.takes_hints {
            self.hint = match hint_of(text) {
                Err(_) if is_of_transactions(text, self.scope.standard_strings()) => None,
                found => found?,
            };
        }
        Ok(())
    }
}

fn is_of_transactions(text: &str, standard_strings: bool) -> bool {
    const WORDS: [&str; 8] = ["begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release"];
    Words::new(text, standard_strings).is_some_and(|words| WORDS.iter().any(|word| words.is(0, word)))
}

/// The words of the hint at the beginning of a text, if there is one.
fn words_of(text: &str) -> Option<&str> {
    let comment = text.trim_start().strip_prefix("/*")?;
    // A comment in it ends before its end: such a one is no hint.
    let (comment, _) = comment.split_once("*/")?;
    comment.trim().strip_prefix(MARK).filter(|words| !words.contains("/*"))
}

fn hint_of(text: &str) -> Result<Option<ReadPreference>, Fault> {
    let Some(words) = words_of(text) else { return Ok(None) };
    let mut found = None;
    for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        if !name.trim().eq_ignore_ascii_case("read_preference") {
            return Err(Fault::new(SqlState::INVALID_PARAMETER_VALUE, format!("there is no hint \"{}\"", name.trim()))
                .hint("Available hints: read_preference."));
        }
        found = preference(value);
        if found.is_none() {
            let message = format!("invalid value for hint \"read_preference\": \"{}\"", value.trim());
            return Err(Fault::new(SqlState::INVALID_PARAMETER_VALUE, message)
                .hint("Available values: primary, replica, nearest."));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_a_leading_comment_of_ours_is_a_hint() {
        let replica = Some(ReadPreference::Replica);
        for text in [
            "/* pgloom: read_preference=replica */ SELECT 1",
            "\n /*pgloom:READ_PREFERENCE = 'replica'*/SELECT 1",
            "/* pgloom: read_preference=primary, read_preference=replica, */ SELECT 1",
        ] {
            assert_eq!(hint_of(text).unwrap(), replica, "{text}");
        }
        for text in [
            "SELECT 1 /* pgloom: read_preference=replica */",
            "/* a */ /* pgloom: read_preference=replica */ SELECT 1",
            "-- pgloom: read_preference=replica\nSELECT 1",
            "SELECT '/* pgloom: read_preference=replica */'",
            "'/* pgloom: read_preference=replica */'",
            "/* pgloom: /* read_preference=replica */ */ SELECT 1",
            "/* pgloom: read_preference=replica SELECT 1",
            "/* not pgloom: read_preference=replica */ SELECT 1",
            "/* pgloom: */ SELECT 1",
            "",
        ] {
            assert_eq!(hint_of(text).unwrap(), None, "{text}");
        }
        assert!(is_of_transactions("/* pgloom: x */ -- y\n Rollback; SELECT 1", true));
        assert!(!is_of_transactions("/* pgloom: x */ SELECT 1", true) && !is_of_transactions("/* pgloom: x */", true));
        for text in ["/* pgloom: shard=3 */ SELECT 1", "/* pgloom: read_preference=any */ SELECT 1", "/* pgloom: x */"]
        {
            assert_eq!(hint_of(text).unwrap_err().code, SqlState::INVALID_PARAMETER_VALUE, "{text}");
        }
    }
}
