//! Which columns of the row that is about to be written a trigger's function in PL/pgSQL changes, by the words of its text.

use std::collections::HashSet;

use crate::catalog::source::{Token, begins_statement, chain};

/// The row.
const NEW: &str = "new";
/// Statements that give values to what they name.
const GIVING: [&str; 4] = ["call", "fetch", "get", "move"];

/// The columns that get another value; `None`: any of them. Rather one too many.
pub(super) fn assigned(tokens: &[Token<'_>]) -> HashSet<Option<Box<str>>> {
    let mut found = HashSet::new();
    // The statement is one that gives values; the next name is one that a query gives its values to.
    let (mut gives, mut is_target) = (false, false);
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let (before, from) = (tokens.get(..at).unwrap_or_default(), tokens.get(at..).unwrap_or_default());
        let parts = chain(from);
        let length = (2 * parts.len()).max(2) - 1;
        let behind = from.get(length..).unwrap_or_default();
        let begins = begins_statement(before);
        at += length;
        if parts.is_empty() {
            gives &= !token.is_sign(';');
            continue;
        }
        if begins {
            gives = token.is_any(&GIVING) && !gets_value(behind);
            if token.is("return") && !returns_row(behind) {
                found.insert(None);
            }
        }
        if token.is_any(&["into", "strict"]) {
            is_target = token.is("into") || is_target;
            continue;
        }
        let looped = before.last().is_some_and(|last| last.is_any(&["for", "foreach"]));
        is_target |= looped;
        let is_given = gives || is_target || begins && gets_value(behind);
        // A label of the function's may stand before it.
        if let Some(at) = parts.iter().take(2).position(|part| **part == *NEW).filter(|_| is_given) {
            found.insert(parts.get(at + 1).cloned());
        }
        is_target &= behind.first().is_some_and(|next| next.is_sign(','));
    }
    found
}

/// Whether a value is given to what stands before this.
fn gets_value(behind: &[Token<'_>]) -> bool {
    match behind {
        [colon, equals, ..] if colon.is_sign(':') && equals.is_sign('=') => true,
        // An element of an array.
        [sign, ..] => sign.is_sign('=') || sign.is_sign('['),
        [] => false,
    }
}

/// Whether what is returned is the row as it has become, or none.
fn returns_row(behind: &[Token<'_>]) -> bool {
    let is_row = |token: &Token<'_>| token.is_any(&[NEW, "old", "null"]);
    match behind {
        [row, end, ..] if end.is_sign(';') => is_row(row),
        [row] => is_row(row),
        [coalesce, open, one, comma, other, close, ..] => {
            coalesce.is("coalesce")
                && open.is_sign('(')
                && is_row(one)
                && comma.is_sign(',')
                && is_row(other)
                && close.is_sign(')')
                && behind.get(6).is_none_or(|end| end.is_sign(';'))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::source::{Text, mentions, tokens};

    fn found(body: &str) -> Vec<String> {
        let text = format!("DECLARE r items; n int; BEGIN {body} END");
        let names = assigned(&tokens(&text).expect("tokens"));
        let mut names: Vec<String> = names.into_iter().map(|name| name.map_or("*".to_owned(), String::from)).collect();
        names.sort();
        names
    }

    #[test]
    fn what_changes_the_row_is_found_in_every_form() {
        for (body, columns) in [
            ("NEW.k := 1; RETURN NEW;", "k"),
            ("new.k = 1; RETURN new;", "k"),
            ("\"new\".\"K\" := 1; RETURN NEW;", "K"),
            ("IF NEW.k = 1 THEN NEW.a := 2; ELSE NEW.b := 3; END IF; RETURN NEW;", "a b"),
            ("LOOP NEW.k := 1; EXIT; END LOOP; RETURN NEW;", "k"),
            ("<<l>> NEW.k := 1; RETURN NEW;", "k"),
            ("NEW.k[1] := 2; RETURN NEW;", "k"),
            ("SELECT v INTO NEW.k FROM t WHERE t.id = NEW.id; RETURN NEW;", "k"),
            ("SELECT a, b INTO STRICT n, NEW.k FROM t; RETURN NEW;", "k"),
            ("SELECT INTO NEW.k, n a, NEW.id FROM t; RETURN NEW;", "k"),
            ("UPDATE t SET a = 1 RETURNING a INTO NEW.k; RETURN NEW;", "k"),
            ("SELECT * INTO NEW FROM t; RETURN NEW;", "*"),
            ("FETCH c INTO NEW.k; RETURN NEW;", "k"),
            ("NEW := r; RETURN NEW;", "*"),
            ("FOR NEW IN SELECT * FROM t LOOP NULL; END LOOP; RETURN NEW;", "*"),
            ("FOR NEW.k IN SELECT 1 LOOP NULL; END LOOP; RETURN NEW;", "k"),
            ("FOR n, NEW.k IN SELECT 1, 2 LOOP NULL; END LOOP; RETURN NEW;", "k"),
            ("f.NEW.k := 1; RETURN NEW;", "k"),
            ("GET DIAGNOSTICS NEW.k = ROW_COUNT; RETURN NEW;", "k"),
            ("CALL p(NEW.k); RETURN NEW;", "k"),
            ("RETURN r;", "*"),
            ("RETURN jsonb_populate_record(NEW, '{}');", "*"),
            ("RETURN ROW(1, 2);", "*"),
        ] {
            assert_eq!(found(body).join(" "), columns, "{body}");
        }
        let aliased = "DECLARE n ALIAS FOR NEW; BEGIN n.k := 1; RETURN NEW; END";
        assert_eq!(mentions(aliased, Text::Body).assigned, HashSet::from([None]));
    }

    #[test]
    fn who_looks_at_the_row_changes_nothing() {
        for body in [
            "IF NEW.k = 1 AND NEW.k = NEW.a THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW;",
            "IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW;",
            "RETURN COALESCE(NEW, OLD);",
            "RETURN NULL;",
            "n := NEW.k; r := NEW; RETURN NEW;",
            "INSERT INTO t (a, b) VALUES (NEW.k, NEW.a); RETURN NEW;",
            "INSERT INTO t SELECT NEW.k; RETURN NEW;",
            "SELECT a INTO n FROM t WHERE t.k = NEW.k; RETURN NEW;",
            "SELECT INTO n NEW.k + 1; RETURN NEW;",
            "PERFORM f(NEW.k); RETURN NEW;",
            "UPDATE t SET k = NEW.k WHERE new.k = t.k; RETURN NEW;",
        ] {
            assert_eq!(found(body), Vec::<String>::new(), "{body}");
        }
    }
}
