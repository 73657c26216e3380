//! The elements of a table's definition, read word by word: columns, constraints, LIKE. What is reserved in Postgres's grammar cannot be a
//! name here, so the keywords outside of parentheses tell where each part begins.

use std::ops::Range;

use sqlparser::ast::DataType;

use crate::sql::ddl::places::Name;
use crate::sql::parse_data_type;
use crate::sql::words::Words;

/// Words that begin a part of a column's definition behind its type.
const PARTS: [&str; 13] = [
    "constraint",
    "not",
    "null",
    "check",
    "default",
    "generated",
    "unique",
    "primary",
    "references",
    "collate",
    "deferrable",
    "initially",
    "options",
];

/// How errors name one.
pub(crate) const PRIMARY_KEY: &str = "a primary key";

pub(crate) enum Element {
    Column(ColumnElement),
    Constraint(Constraint),
    Like { table: Name, indexes: bool },
}

/// A column with the constraints that stand at it.
pub(crate) struct ColumnElement {
    pub name: String,
    /// `None`: it has none, or one that the parser does not know.
    pub ty: Option<DataType>,
    pub constraints: Vec<Constraint>,
    pub default: Option<String>,
    /// Where the default stands in the text.
    pub default_bytes: Range<usize>,
    /// The type as written.
    pub type_text: String,
    /// GENERATED ... AS IDENTITY
    pub identity: bool,
}

impl ColumnElement {
    /// Whether its values are texts.
    pub fn is_text(&self) -> bool {
        use DataType::{Char, CharVarying, Character, CharacterVarying, Text, Varchar};
        matches!(self.ty, Some(Text | Varchar(_) | CharacterVarying(_) | CharVarying(_) | Char(_) | Character(_)))
    }
}

pub(crate) enum Constraint {
    /// Unique, or a primary key, in these columns.
    Unique {
        what: &'static str,
        columns: Vec<String>,
    },
    /// Rows that are equal in these columns, among other conditions, exclude each other.
    Exclude {
        columns: Vec<String>,
    },
    Foreign(Foreign),
    /// What each row fulfils for itself, or what an index that is there says already.
    Own,
}

pub(crate) struct Foreign {
    pub columns: Vec<String>,
    pub table: Name,
    /// Empty: the primary key.
    pub referred: Vec<String>,
    /// Columns that change when the row changes that they refer to.
    pub follows: bool,
    /// Columns that get another value when it is deleted, or a value of their own when it changes.
    pub set: Vec<String>,
}

/// The elements of a list in parentheses. `None` where one of them is in no form of Postgres's grammar.
pub(crate) fn elements(list: Vec<Words<'_>>) -> Option<Vec<Element>> {
    list.into_iter().map(element).collect()
}

fn element(mut words: Words<'_>) -> Option<Element> {
    if words.take("like") {
        let table = words.name()?;
        return Some(Element::Like { table, indexes: includes_indexes(words) });
    }
    if starts_constraint(&words) {
        return constraint(&mut words).map(Element::Constraint);
    }
    column(words).map(Element::Column)
}

fn includes_indexes(mut words: Words<'_>) -> bool {
    let mut included = false;
    while !words.is_done() {
        let with = words.take("including");
        if (with || words.take("excluding")) && (words.is(0, "all") || words.is(0, "indexes")) {
            included = with;
        }
        words.at += 1;
    }
    included
}

/// Whether a constraint of the table begins here, rather than a column.
pub(crate) fn starts_constraint(words: &Words<'_>) -> bool {
    let reserved = ["constraint", "unique", "primary", "foreign", "check"].iter().any(|word| words.is(0, word));
    let exclude = words.is(0, "exclude") && (words.is(1, "using") || words.peek(1).is_some_and(|token| token.is(b'(')));
    // Not a type: a constraint on a column, named behind it.
    reserved || exclude || words.is(0, "not") && words.is(1, "null")
}

/// A constraint of the table; the words begin with it.
pub(crate) fn constraint(words: &mut Words<'_>) -> Option<Constraint> {
    if words.take("constraint") {
        words.name_at(0)?;
        words.at += 1;
    }
    if words.take("unique") {
        return unique(words, "a unique constraint");
    }
    if words.take_all(&["primary", "key"]) {
        return unique(words, PRIMARY_KEY);
    }
    if words.take("exclude") {
        return exclude(words);
    }
    if words.take_all(&["foreign", "key"]) {
        let columns = words.name_list()?;
        return words.take("references").then(|| foreign(words, columns)).flatten().map(Constraint::Foreign);
    }
    (words.is(0, "check") || words.is(0, "not")).then_some(Constraint::Own)
}

fn unique(words: &mut Words<'_>, what: &'static str) -> Option<Constraint> {
    if words.take_all(&["using", "index"]) {
        // It was looked at when it was made.
        return Some(Constraint::Own);
    }
    let _ = words.take_all(&["nulls", "not", "distinct"]) || words.take_all(&["nulls", "distinct"]);
    Some(Constraint::Unique { what, columns: words.name_list()? })
}

fn exclude(words: &mut Words<'_>) -> Option<Constraint> {
    if words.take("using") {
        words.at += 1;
    }
    let mut columns = Vec::new();
    for mut element in words.take_list()? {
        let start = element.at;
        element.skip_to(&["with"]);
        let column = index_column(&element.part(start..element.at));
        element.take("with");
        if element.rest() == "=" {
            columns.extend(column);
        }
    }
    Some(Constraint::Exclude { columns })
}

/// The column that an element of an index is, compared as the column itself is; `None`: an expression, or in another collation.
pub(crate) fn index_column(words: &Words<'_>) -> Option<String> {
    let name = words.name_at(0)?;
    let expression = words.peek(1).is_some_and(|token| token.is(b'('));
    (!expression && !words.has("collate")).then_some(name)
}

/// Behind REFERENCES.
fn foreign(words: &mut Words<'_>, columns: Vec<String>) -> Option<Foreign> {
    let table = words.name()?;
    let referred = words.name_list().unwrap_or_default();
    let mut foreign = Foreign { columns, table, referred, follows: false, set: Vec::new() };
    while !words.is_done() {
        let on = words.take("on");
        let change = on && words.take("update");
        if !change && !(on && words.take("delete")) {
            words.skip_one();
            continue;
        }
        if words.take("cascade") {
            foreign.follows |= change;
        } else if words.take("set") {
            words.at += 1;
            let set = words.name_list();
            foreign.set.extend(set.unwrap_or_else(|| foreign.columns.clone()));
        }
    }
    Some(foreign)
}

/// A column; the words begin with its name.
pub(crate) fn column(mut words: Words<'_>) -> Option<ColumnElement> {
    let name = words.name_at(0)?;
    words.at += 1;
    let start = words.at;
    words.skip_to(&PARTS);
    let type_text = words.text_of(start..words.at).to_owned();
    let ty = parse_data_type(&type_text);
    let mut column = ColumnElement {
        name,
        ty,
        constraints: Vec::new(),
        default: None,
        default_bytes: 0..0,
        type_text,
        identity: false,
    };
    while !words.is_done() {
        let own = || vec![column.name.clone()];
        if words.take_all(&["primary", "key"]) {
            column.constraints.push(Constraint::Unique { what: PRIMARY_KEY, columns: own() });
        } else if words.take("unique") {
            column.constraints.push(Constraint::Unique { what: "a unique constraint", columns: own() });
        } else if words.take("references") {
            let start = words.at;
            // What follows the reference can be other constraints.
            let end = behind_reference(&mut words);
            let foreign = foreign(&mut words.part(start..end), own())?;
            column.constraints.push(Constraint::Foreign(foreign));
        } else if words.take("default") {
            let start = words.at;
            words.skip_one();
            words.skip_to(&PARTS);
            column.default = Some(words.text_of(start..words.at).to_owned());
            column.default_bytes = words.bytes_of(start..words.at);
        } else if words.take("generated") {
            let _ = words.take_all(&["by", "default"]) || words.take("always");
            column.identity |= words.take_all(&["as", "identity"]);
        } else {
            words.skip_one();
        }
    }
    Some(column)
}

/// Goes past a reference with its actions; where it ends.
fn behind_reference(words: &mut Words<'_>) -> usize {
    words.name();
    words.name_list();
    loop {
        if words.is(0, "on") && (words.is(1, "update") || words.is(1, "delete")) {
            words.at += 2;
            // SET NULL or SET DEFAULT, of these columns perhaps; NO ACTION.
            let two = words.is(0, "set") || words.is(0, "no");
            words.at += if two { 2 } else { 1 };
            words.name_list();
        } else if words.take("match") {
            words.at += 1;
        } else {
            return words.at;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Vec<Element> {
        elements(Words::new(text, true).unwrap().take_list().unwrap()).unwrap()
    }

    #[test]
    fn columns_have_types_defaults_and_constraints() {
        let list = read(
            "(id int PRIMARY KEY, at timestamp with time zone DEFAULT now() NOT NULL, n numeric(8, 2) DEFAULT (1 + 2) UNIQUE, \
             p int NOT NULL REFERENCES app.p (id) ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE, a int[] DEFAULT ARRAY[1, 2], \
             g bigint GENERATED BY DEFAULT AS IDENTITY, exclude text, x text CHECK (x IN ('a', 'b')) COLLATE \"C\")",
        );
        let columns: Vec<&ColumnElement> = list
            .iter()
            .map(|element| match element {
                Element::Column(column) => column,
                Element::Constraint(_) | Element::Like { .. } => panic!("all are columns"),
            })
            .collect();
        let names: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
        assert_eq!(names, ["id", "at", "n", "p", "a", "g", "exclude", "x"]);
        assert!(columns.iter().all(|column| column.ty.is_some()));
        let defaults: Vec<&str> = columns.iter().filter_map(|column| column.default.as_deref()).collect();
        assert_eq!(defaults, ["now()", "(1 + 2)", "ARRAY[1, 2]"]);
        assert!(columns[5].identity && !columns[4].identity);
        let Constraint::Foreign(foreign) = &columns[3].constraints[0] else { panic!("a reference") };
        assert_eq!((&foreign.table.1[..], &foreign.referred[..], foreign.follows), ("p", &["id".to_owned()][..], true));
        assert_eq!(foreign.set, ["p"]);
        assert!(matches!(&columns[0].constraints[..], [Constraint::Unique { what: "a primary key", .. }]));
        assert!(matches!(&columns[2].constraints[..], [Constraint::Unique { .. }]));
    }

    #[test]
    fn constraints_of_the_table_name_their_columns() {
        let list = read(
            "(LIKE items INCLUDING ALL EXCLUDING INDEXES, LIKE other INCLUDING INDEXES, CONSTRAINT c UNIQUE NULLS NOT DISTINCT (a, \"B\") \
             INCLUDE (z), PRIMARY KEY (a, b) WITH (fillfactor = 70), CHECK (a > 0), \
             EXCLUDE USING gist (a WITH =, r WITH &&, lower(t) WITH =), \
             FOREIGN KEY (a, b) REFERENCES p (x, y) ON DELETE SET DEFAULT (b))",
        );
        let shown: Vec<String> = list
            .iter()
            .map(|element| match element {
                Element::Like { table, indexes } => format!("like {} {indexes}", table.1),
                Element::Constraint(Constraint::Unique { what, columns }) => format!("{what} {}", columns.join(",")),
                Element::Constraint(Constraint::Exclude { columns }) => format!("exclude {}", columns.join(",")),
                Element::Constraint(Constraint::Foreign(foreign)) => {
                    format!("foreign {} sets {}", foreign.columns.join(","), foreign.set.join(","))
                }
                Element::Constraint(Constraint::Own) => "own".to_owned(),
                Element::Column(column) => format!("column {}", column.name),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "like items false",
                "like other true",
                "a unique constraint a,B",
                "a primary key a,b",
                "own",
                "exclude a",
                "foreign a,b sets b"
            ]
        );
    }
}
