//! ALTER TABLE ... ADD COLUMN with a default that reads the clock: the rows that there are get one value, whichever shard they lie on. It is
//! asked for once, and written into the statement; the default itself is set behind it.

use std::ops::Range;

use crate::ids::QualifiedName;
use crate::sql::pulls::quoted;

/// A statement with such columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    pub text: Box<str>,
    pub table: QualifiedName,
    pub stamps: Vec<Stamp>,
}

/// One such column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub column: Box<str>,
    /// As written.
    pub ty: Box<str>,
    /// The default, in the statement.
    pub default: Range<usize>,
    /// A column that is there already is left alone.
    pub if_not_exists: bool,
}

impl Stamped {
    pub fn default_of(&self, stamp: &Stamp) -> &str {
        self.text.get(stamp.default.clone()).unwrap_or_default()
    }

    /// A query for the values, as text.
    pub fn question(&self) -> String {
        let value = |stamp: &Stamp| format!("({})::{}::pg_catalog.text", self.default_of(stamp), stamp.ty);
        format!("SELECT {}", self.stamps.iter().map(value).collect::<Vec<_>>().join(", "))
    }

    /// The statement with the values, as SQL; a stamp without one stays as it is.
    pub fn with_values(&self, values: &[Option<String>]) -> String {
        let mut text = String::new();
        let mut tail = String::new();
        let mut done = 0;
        for (stamp, value) in self.stamps.iter().zip(values) {
            let Some(value) = value else { continue };
            text.push_str(self.text.get(done..stamp.default.start).unwrap_or_default());
            text.push_str(value);
            done = stamp.default.end;
            tail.push_str(&format!(", ALTER COLUMN {} SET DEFAULT {}", quoted(&stamp.column), self.default_of(stamp)));
        }
        text.push_str(self.text.get(done..).unwrap_or_default());
        text + &tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_takes_the_place_of_the_default_which_is_set_behind_it() {
        let text = "ALTER TABLE t ADD a timestamptz DEFAULT now() NOT NULL, DROP b";
        let at = text.find("now()").unwrap_or_default();
        let stamp = Stamp { column: "a".into(), ty: "timestamptz".into(), default: at..at + 5, if_not_exists: false };
        let stamped = Stamped { text: text.into(), table: QualifiedName::new("public", "t"), stamps: vec![stamp] };
        assert_eq!(stamped.question(), "SELECT (now())::timestamptz::pg_catalog.text");
        assert_eq!(
            stamped.with_values(&[Some("'2024-01-01 00:00:00+00'".to_owned())]),
            "ALTER TABLE t ADD a timestamptz DEFAULT '2024-01-01 00:00:00+00' NOT NULL, DROP b, ALTER COLUMN \"a\" SET DEFAULT now()"
        );
        assert_eq!(stamped.with_values(&[None]), text);
    }
}
