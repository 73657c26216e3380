//! `IdentMaps`: which names of certificates are which users. A file in the format of Postgres's pg_ident.conf, with plain names.

use std::collections::HashMap;

use crate::config::hba::LineError;
use crate::config::hba::words::{self, Field, Word};

/// The maps by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentMaps(HashMap<Box<str>, Vec<Pair>>);

/// Who has a certificate for this name may be this user.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    name: Box<str>,
    user: Box<str>,
}

impl IdentMaps {
    /// # Errors
    /// All that is wrong, with the lines.
    pub fn parse(text: &str) -> Result<Self, Vec<LineError>> {
        let (mut maps, mut errors) = (Self::default(), Vec::new());
        for (line, fields) in words::lines(text) {
            match fields.and_then(|fields| pair(&fields)) {
                Ok((map, pair)) => maps.0.entry(map).or_default().push(pair),
                Err(error) => errors.push((line, error)),
            }
        }
        if errors.is_empty() { Ok(maps) } else { Err(errors) }
    }

    pub fn has(&self, map: &str) -> bool {
        self.0.contains_key(map)
    }

    /// Whether who has a certificate for `name` may be `user`. Without a map they have to be the same.
    pub fn allows(&self, map: Option<&str>, name: &str, user: &str) -> bool {
        match map {
            None => name == user,
            Some(map) => {
                self.0.get(map).is_some_and(|pairs| pairs.iter().any(|pair| *pair.name == *name && *pair.user == *user))
            }
        }
    }
}

/// The name of a map, and one line of it.
fn pair(fields: &[Field]) -> Result<(Box<str>, Pair), String> {
    match fields {
        [first, ..] if first.first().and_then(Word::bare).is_some_and(|word| word.starts_with("include")) => {
            Err("other files are not read; write the maps into this one".to_owned())
        }
        [map, name, user] => Ok((plain(map)?, Pair { name: plain(name)?, user: plain(user)? })),
        _ => Err("a line has three words: the map, the name in the certificate, the user".to_owned()),
    }
}

fn plain(field: &Field) -> Result<Box<str>, String> {
    let [word] = field.as_slice() else { return Err("a list where one word is expected".to_owned()) };
    crate::config::hba::no_pattern(word)?;
    match word.bare() {
        Some(text) if text.starts_with('+') || text == "all" => {
            Err(format!("`{text}`: write the name of the user, in quotes where it is really called so"))
        }
        Some(_) | None => Ok(word.text.as_str().into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn maps_say_who_may_be_whom() {
        let text = "# people\nstaff  \"Ann Lee\"  ann\nstaff bob.example.com bob # and\nstaff bob.example.com ann\nother x y\n";
        let maps = IdentMaps::parse(text).unwrap();
        let staff = |name, user| maps.allows(Some("staff"), name, user);
        assert!(staff("Ann Lee", "ann") && staff("bob.example.com", "bob") && staff("bob.example.com", "ann"));
        assert!(!staff("Ann Lee", "bob") && !staff("ann", "ann") && !staff("x", "y"));
        assert!(!maps.allows(Some("no such map"), "x", "x"));
        assert!(maps.allows(None, "x", "x") && !maps.allows(None, "x", "X"));
        assert!(maps.has("staff") && !maps.has("Staff"));
    }

    #[test]
    fn what_is_not_plain_is_refused_with_its_line() {
        let error = |line: &str| IdentMaps::parse(&format!("\n{line}")).unwrap_err();
        for (line, start) in [
            ("m /^(.*)@x$ \\1", "`/^(.*)@x$`: regular expressions"),
            ("m n +staff", "`+staff`: write the name"),
            ("m n all", "`all`: write the name"),
            ("m n", "a line has three words"),
            ("m n u x", "a line has three words"),
            ("m a,b u", "a list"),
            ("include other", "other files are not read"),
            ("m \"n u", "a quote is not closed"),
        ] {
            let errors = error(line);
            assert!(errors.len() == 1 && errors[0].0 == 2 && errors[0].1.starts_with(start), "{line}: {errors:?}");
        }
        assert!(IdentMaps::parse("m n \"all\"").unwrap().allows(Some("m"), "n", "all"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\\n\"#,\\\\é]{0,80}") {
            let _ = IdentMaps::parse(&text);
        }
    }
}
