//! The lines of pg_hba.conf and pg_ident.conf, cut into fields of words as Postgres cuts them.

/// A word, and whether it began with a quote: then it is a name, also where it is written like a keyword (`next_token` in Postgres's
/// `hba.c`: a quote further on changes nothing).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub quoted: bool,
}

impl Word {
    /// The text where it may mean something else than a name.
    pub fn bare(&self) -> Option<&str> {
        (!self.quoted).then_some(&*self.text)
    }
}

/// Words between commas.
pub type Field = Vec<Word>;

/// The fields of each line that has some, with the line's number from 1. A line that ends in a backslash goes on in the next one.
pub fn lines(text: &str) -> impl Iterator<Item = (u32, Result<Vec<Field>, String>)> {
    let mut rest = text.lines().zip(1..);
    std::iter::from_fn(move || {
        let (first, number) = rest.next()?;
        let mut line = first.to_owned();
        while line.ends_with('\\') {
            line.pop();
            let Some((next, _)) = rest.next() else { break };
            line.push_str(next);
        }
        Some((number, fields(&line)))
    })
    .filter(|(_, fields)| fields.as_ref().map_or(true, |fields| !fields.is_empty()))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

fn fields(line: &str) -> Result<Vec<Field>, String> {
    let mut fields = Vec::new();
    let mut rest = line.trim_start_matches(is_blank);
    while !rest.is_empty() && !rest.starts_with('#') {
        let mut field = Vec::new();
        loop {
            let (word, behind) = word(rest)?;
            field.push(word);
            // Blanks may follow a comma, and none may come before it.
            let Some(behind) = behind.strip_prefix(',') else {
                rest = behind.trim_start_matches(is_blank);
                break;
            };
            rest = behind.trim_start_matches(is_blank);
        }
        fields.push(field);
    }
    Ok(fields)
}

/// The first word, and what follows it.
fn word(line: &str) -> Result<(Word, &str), String> {
    let mut word = Word { text: String::new(), quoted: false };
    let mut chars = line.char_indices().peekable();
    let mut inside = false;
    let mut end = line.len();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if inside && chars.next_if(|(_, next)| *next == '"').is_some() => word.text.push('"'),
            '"' => {
                word.quoted |= word.text.is_empty();
                inside = !inside;
            }
            '\0' => return Err("a zero byte".to_owned()),
            c if inside => word.text.push(c),
            c if is_blank(c) || matches!(c, ',' | '#') => {
                end = at;
                break;
            }
            c => word.text.push(c),
        }
    }
    if inside {
        return Err("a quote is not closed".to_owned());
    }
    if word.text.is_empty() && !word.quoted {
        return Err("a comma without a name beside it".to_owned());
    }
    Ok((word, &line[end..]))
}
