//! Literals in other spellings: by code points, and behind the name of their type.

use sqlparser::keywords::ALL_KEYWORDS;

use crate::sql::lexer::TokenKind;

/// Types of Postgres that the parser knows as words of other meanings, or not as types.
const TYPES: &str = "bool bytea cidr circle daterange float4 float8 inet int2 int4 int4range int8 int8range json jsonb line lseg \
    macaddr macaddr8 money numrange oid pg_lsn point polygon regclass regtype timestamptz timetz tsquery tsrange tstzrange tsvector \
    uuid xml";

/// Whether a string behind this word is one of the type that it names.
pub(super) fn is_type(word: &str, kind: TokenKind, qualified: bool) -> bool {
    let listed = |word: &str| TYPES.split_ascii_whitespace().any(|name| name.eq_ignore_ascii_case(word));
    // What is no keyword has no other meaning before a string.
    kind == TokenKind::Quoted || qualified || listed(word) || !is_keyword(word)
}

/// Keywords of Postgres that the parser does not have.
const KEYWORDS: &str = "absent also analyse assertion assignment attribute breadth checkpoint comments conditional constraints content \
    conversion delimiters depth document expression finalize greatest handler implicit indent indexes inline isnull keys label \
    mapping move nested oids omit others overriding prepared procedural procedures publication quotes reassign recheck routine \
    routines scalar standalone string strip subscription sysid target transform trusted types unconditional unencrypted validator \
    whitespace xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlparse xmlpi xmlroot xmlserialize";

fn is_keyword(word: &str) -> bool {
    let of_postgres = || KEYWORDS.split_ascii_whitespace().any(|keyword| keyword.eq_ignore_ascii_case(word));
    ALL_KEYWORDS.binary_search(&&*word.to_ascii_uppercase()).is_ok() || of_postgres()
}

/// The character that `UESCAPE '!'` names.
pub(super) fn escape_character(literal: &str) -> Option<char> {
    let mut inside = literal.strip_prefix('\'')?.strip_suffix('\'')?.chars();
    let character = inside.next().filter(|_| inside.next().is_none())?;
    let other = character.is_ascii_hexdigit() || matches!(character, '+' | '\'' | '"') || character.is_whitespace();
    (!other).then_some(character)
}

/// A quoted string or name with what its escapes stand for, in the same quotes; `None` where Postgres has an error for it.
pub(super) fn without_escapes(quoted: &str, escape: char) -> Option<String> {
    let quote = quoted.chars().next()?;
    let inside = quoted.get(1..quoted.len().checked_sub(1)?).filter(|_| quoted.ends_with(quote))?;
    // Two quotes are one; the end of one and the begin of another are on different lines.
    if inside.replace(&format!("{quote}{quote}"), "").contains(quote) {
        return None;
    }
    let mut out = String::from(quote);
    let mut high: Option<u32> = None;
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        if c != escape {
            if high.is_some() {
                return None;
            }
            out.push(c);
            continue;
        }
        let mut rest = chars.clone();
        let digits = match rest.next()? {
            c if c == escape && high.is_none() => {
                out.push(escape);
                chars = rest;
                continue;
            }
            '+' => 6,
            _ => {
                rest = chars.clone();
                4
            }
        };
        let code = hex(&mut rest, digits)?;
        chars = rest;
        match (high.take(), code) {
            (Some(high), 0xDC00..=0xDFFF) => {
                push(&mut out, char::from_u32(0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00))?, quote);
            }
            (None, 0xD800..=0xDBFF) => high = Some(code),
            (None, 1..) => push(&mut out, char::from_u32(code)?, quote),
            _ => return None,
        }
    }
    out.push(quote);
    high.is_none().then_some(out)
}

fn push(out: &mut String, c: char, quote: char) {
    out.push(c);
    if c == quote {
        out.push(c);
    }
}

fn hex(chars: &mut std::str::Chars<'_>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0u32, |code, _| Some(code << 4 | chars.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn escapes_are_read_as_postgres_reads_them() {
        let read = |text: &str| without_escapes(text, '\\');
        assert_eq!(read(r"'d\0061t\+000061'").unwrap(), "'data'");
        assert_eq!(read(r"'a\\b''c\0027'").unwrap(), r"'a\b''c'''");
        assert_eq!(read(r"'\D83D\DE00\+01F600'").unwrap(), "'😀😀'");
        assert_eq!(read("\"n\\0061\\0022\"").unwrap(), "\"na\"\"\"");
        for wrong in [r"'\00'", r"'\D83D'", r"'\DE00'", r"'\D83Dx'", r"'\0000'", r"'\+110000'", "'a'\n'b'"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(without_escapes("'k!0065y!!\\'", '!').unwrap(), "'key!\\'");
    }

    #[test]
    fn only_names_of_types_have_strings_behind_them() {
        for word in ["pg_lsn", "INET", "mood"] {
            assert!(is_type(word, TokenKind::Word, false), "{word}");
        }
        for word in ["like", "AND", "escape", "placing", "select", "interval", "date", "content", "path", "zone"] {
            assert!(!is_type(word, TokenKind::Word, false), "{word}");
        }
    }
}
