//! PgBouncer's auth_file: `"user" "password"`, one on each line.

use std::collections::HashSet;

use crate::config::hba::LineError;
use crate::secret::Secret;

/// A user of the file. `None`: it has no password, and can log in only where none is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: Box<str>,
    pub password: Option<Secret>,
    pub line: u32,
    /// Of what this is a line.
    pub whose: &'static str,
}

/// Users as such a file has them.
pub fn written<'a>(users: impl IntoIterator<Item = (&'a str, &'a Secret)>) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let line = |(name, password): (&str, &Secret)| {
        format!("{} {}\n", quoted(name), quoted(&String::from_utf8_lossy(password.reveal())))
    };
    users.into_iter().map(line).collect()
}

/// The users, in the order of the file. Empty lines, and those that begin with `;` or `#`, say nothing.
///
/// # Errors
/// All that is wrong, with the lines; never a password.
pub fn parse(text: &str) -> Result<Vec<Listed>, Vec<LineError>> {
    let (mut listed, mut errors) = (Vec::new(), Vec::new());
    let mut names = HashSet::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        match user(line, number) {
            Ok(user) if !names.insert(user.name.clone()) => {
                errors.push((number, format!("user `{}` is named twice; keep one", user.name)));
            }
            Ok(user) => listed.push(user),
            Err(error) => errors.push((number, error.to_owned())),
        }
    }
    if errors.is_empty() { Ok(listed) } else { Err(errors) }
}

fn user(line: &str, number: u32) -> Result<Listed, &'static str> {
    const FORM: &str = "expected \"user\" \"password\", each in quotes";
    let (name, rest) = quoted(line).ok_or(FORM)?;
    let (password, rest) = quoted(rest.trim_start_matches([' ', '\t'])).ok_or(FORM)?;
    if !rest.trim().is_empty() {
        return Err(FORM);
    }
    if name.is_empty() {
        return Err("a user has an empty name");
    }
    if name.contains('\0') || password.contains('\0') {
        return Err("a zero byte");
    }
    let password = (!password.is_empty()).then(|| Secret::new(password));
    Ok(Listed { name: name.into(), password, line: number, whose: "auth_file" })
}

/// What is in the quotes at the beginning, where two of them are one, and what follows.
fn quoted(line: &str) -> Option<(String, &str)> {
    let mut rest = line.strip_prefix('"')?;
    let mut text = String::new();
    loop {
        let (before, behind) = rest.split_once('"')?;
        text.push_str(before);
        match behind.strip_prefix('"') {
            Some(more) => {
                text.push('"');
                rest = more;
            }
            None => return Some((text, behind)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn users_are_read_as_pgbouncer_writes_them() {
        let text = "; users\n\"ann\" \"secret\"\n\n\"bob\"\t\"SCRAM-SHA-256$4096:c2FsdA==$x:y\"\r\n  \"o\"\"x\" \"p\"\"w\" \n\"none\" \"\"\n";
        let listed = parse(text).unwrap();
        let shown: Vec<_> =
            listed.iter().map(|l| (&*l.name, l.password.as_ref().map(|p| p.reveal().to_vec()), l.line)).collect();
        let secret = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(
            shown,
            [
                ("ann", secret("secret"), 2),
                ("bob", secret("SCRAM-SHA-256$4096:c2FsdA==$x:y"), 4),
                ("o\"x", secret("p\"w"), 5),
                ("none", None, 6)
            ]
        );
    }

    #[test]
    fn broken_lines_are_told_without_what_is_in_them() {
        let text = "\"ann\" \"hunter2\"\n\"bob\" hunter2\n\"carl\" \"hunter2\n\"dan\" \"hunter2\" more\n\"ann\" \"hunter2\"\n\"\" \"hunter2\"\n";
        let errors = parse(text).unwrap_err();
        assert_eq!(errors.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
        assert!(!format!("{errors:?}").contains("hunter2"), "{errors:?}");
        assert_eq!(errors[3].1, "user `ann` is named twice; keep one");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let users = [("ann", Secret::new("SCRAM-SHA-256$4096:c2FsdA==$x:y")), ("o\"x y", Secret::new("p\"w"))];
        let text = written(users.iter().map(|(name, password)| (*name, password)));
        let read = parse(&text).unwrap().into_iter().map(|listed| (listed.name.to_string(), listed.password.unwrap()));
        assert_eq!(read.collect::<Vec<_>>(), users.map(|(name, password)| (name.to_owned(), password)));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\\n\"\\t]{0,80}") {
            let _ = parse(&text);
        }
    }
}
