//! PURE. The numbers (OIDs) of what users made: each server gives its own, and a client knows those of the home shard.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ids::{Oid, QualifiedName};
use crate::types::oid;

/// Of which types numbers are in the values of a type in binary: those of the elements of an array, of the columns of a composite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inside {
    #[default]
    Nothing,
    /// Types that users made.
    Types,
    /// The row types of tables too, or it may be.
    Rows,
    /// What `regclass` and its like name.
    Names,
}

/// One of the types that the values of a type are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub of: Oid,
    pub part: Oid,
    /// In binary the number of the part's type is told with it: of elements of arrays and columns of composites, not of what a domain or range
    /// is over.
    pub is_numbered: bool,
}

/// The types of Postgres whose values can have numbers inside.
pub fn with_numbers() -> impl Iterator<Item = Oid> {
    [oid::RECORD, oid::RECORD_ARRAY].into_iter().chain(oid::NAMES_OF_CATALOG)
}

/// What is inside of values of each type that users made, on any level. `is_row`: the row type of a table, or arrays of it.
pub fn insides(parts: &[Part], is_row: impl Fn(Oid) -> bool) -> HashMap<Oid, Inside> {
    let mut inside: HashMap<Oid, Inside> = HashMap::new();
    // Each round comes one level further up.
    loop {
        let mut grown = false;
        for Part { of, part, is_numbered } in parts {
            let below = match *part {
                oid::RECORD | oid::RECORD_ARRAY => Inside::Rows,
                part if oid::is_name_of_catalog(part) => Inside::Names,
                ..oid::FIRST_NORMAL => Inside::Nothing,
                part => inside.get(&part).copied().unwrap_or_default(),
            };
            let own = match *part {
                ..oid::FIRST_NORMAL => Inside::Nothing,
                _ if !is_numbered => Inside::Nothing,
                part if is_row(part) => Inside::Rows,
                _ => Inside::Types,
            };
            let known = inside.entry(*of).or_default();
            grown |= below.max(own) > *known;
            *known = (*known).max(below).max(own);
        }
        if !grown {
            return inside;
        }
    }
}

/// Of what a statement makes values that can have numbers inside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// `regclass` and its like: in text they are names, in binary numbers.
    pub names: bool,
    /// Tables' row types, or it may be: in binary an array, or a record, of such has the numbers of the types inside.
    pub rows: bool,
}

/// A type that users made, on one shard. The row types of tables are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserType {
    pub oid: Oid,
    pub inside: Inside,
}

pub type UserTypes = HashMap<QualifiedName, UserType>;

/// A table, view or sequence on one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberedTable {
    pub oid: Oid,
    /// The type of its rows, and that of arrays of them; zero where there is none.
    pub row_types: [Oid; 2],
    /// What is in values of its rows.
    pub inside: Inside,
    /// The names of its columns by their numbers, U+0001 between them; nothing for one that was dropped.
    pub columns: Box<str>,
}

/// What users have made on one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbered {
    pub types: UserTypes,
    pub tables: HashMap<QualifiedName, NumberedTable>,
    /// Some table has a column of `regclass` or its like, or some type has such inside.
    pub has_names: bool,
    /// A digest of what else has names: functions, schemas, roles and the like, with their numbers.
    pub others: Box<str>,
}

/// How the numbers of one shard and those of the home shard belong together, where they differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// Types, those of tables' rows too.
    to_home: HashMap<Oid, Oid>,
    from_home: HashMap<Oid, Oid>,
    /// Types that users made have other numbers.
    types_differ: bool,
    /// Tables' row types have other numbers.
    rows_differ: bool,
    /// Some table has a column with numbers of row types inside.
    has_rows: bool,
    /// Some table has a column of `regclass` or its like.
    has_names: bool,
    /// What is inside of binary values of types, by the numbers of the home shard. Of all others, anything.
    inside: HashMap<Oid, Inside>,
    /// By their numbers on the shard.
    tables: HashMap<Oid, TableAtHome, foldhash::fast::RandomState>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct TableAtHome {
    oid: Oid,
    /// The numbers at home of its columns, by those on the shard; zero for one that is not there. `None`: the same.
    columns: Option<Box<[i16]>>,
}

impl Numbers {
    /// `None`: the shard has the numbers of the home shard. `shard`: `None` where it was never read, so that nothing is known of its tables.
    pub fn between(home: &Numbered, shard: Option<&Numbered>) -> Option<Arc<Self>> {
        let nothing = Numbered::default();
        let read = shard.is_some();
        let shard = shard.unwrap_or(&nothing);
        let mut pairs: Vec<(Oid, Oid)> = home
            .types
            .iter()
            .filter_map(|(name, of_home)| Some((of_home.oid, shard.types.get(name)?.oid)))
            .filter(|(of_home, here)| of_home != here)
            .collect();
        // Of what was never read nothing is known.
        let types_differ = !read || !pairs.is_empty();
        let mut rows_differ = !read;
        let mut tables = HashMap::default();
        // What is here alone has no number that a client may be told.
        let mut tables_differ = !read;
        for (name, here) in &shard.tables {
            let Some(of_home) = home.tables.get(name) else {
                tables_differ = true;
                continue;
            };
            let rows = of_home.row_types.into_iter().zip(here.row_types);
            let before = pairs.len();
            pairs.extend(rows.filter(|(of_home, here)| of_home != here && *of_home != 0));
            rows_differ |= pairs.len() > before;
            let columns = (of_home.columns != here.columns).then(|| column_numbers(&of_home.columns, &here.columns));
            tables_differ |= of_home != here;
            tables.insert(here.oid, TableAtHome { oid: of_home.oid, columns });
        }
        if !types_differ && !tables_differ && home.others == shard.others {
            return None;
        }
        let of_types = home.types.values().map(|of| (of.oid, of.inside));
        let of_rows = home.tables.values().map(|of| (of.row_types[0], of.inside));
        Some(Arc::new(Self {
            to_home: pairs.iter().map(|(of_home, here)| (*here, *of_home)).collect(),
            from_home: pairs.into_iter().collect(),
            types_differ,
            rows_differ,
            has_rows: home.tables.values().any(|of| of.inside == Inside::Rows),
            has_names: home.has_names || shard.has_names,
            inside: of_types.chain(of_rows).collect(),
            tables,
        }))
    }

    /// Of a connection to the home shard, or to a server with none of the tables, on which these are in the places of tables: the number of
    /// each, the table, and of which of its columns the columns are. `only_these`: what else is there is in the place of something too.
    pub fn of_inputs<'a>(
        home: &Numbered,
        inputs: impl IntoIterator<Item = (Oid, Option<&'a QualifiedName>, Vec<&'a str>)>,
        only_these: bool,
    ) -> Arc<Self> {
        let others = home.tables.values().filter(|_| !only_these);
        let others = others.map(|table| (table.oid, TableAtHome { oid: table.oid, columns: None }));
        let mut tables: HashMap<Oid, TableAtHome, _> = others.collect();
        for (here, table, columns) in inputs {
            if let Some(table) = table.and_then(|table| home.tables.get(table)) {
                let columns = Some(column_numbers(&table.columns, &columns.join("\u{1}")));
                tables.insert(here, TableAtHome { oid: table.oid, columns });
            }
        }
        Arc::new(Self {
            to_home: HashMap::new(),
            from_home: HashMap::new(),
            types_differ: false,
            rows_differ: false,
            has_rows: false,
            has_names: false,
            inside: HashMap::new(),
            tables,
        })
    }

    /// The number of a type of the shard as the home shard has it.
    pub fn to_home(&self, here: Oid) -> Oid {
        match here {
            ..oid::FIRST_NORMAL => here,
            here => self.to_home.get(&here).copied().unwrap_or(here),
        }
    }

    /// The number of a type of the home shard as the shard has it.
    pub fn from_home(&self, of_home: Oid) -> Oid {
        match of_home {
            ..oid::FIRST_NORMAL => of_home,
            of_home => self.from_home.get(&of_home).copied().unwrap_or(of_home),
        }
    }

    /// A column of a table of the shard, as the home shard numbers both; zeros where it has none of the name.
    pub fn column_to_home(&self, table: Oid, column: i16) -> (Oid, i16) {
        if table < oid::FIRST_NORMAL {
            return (table, column);
        }
        let Some(at_home) = self.tables.get(&table) else { return (0, 0) };
        // System columns have numbers below zero, the same everywhere.
        let (Some(columns), Ok(at @ 1..)) = (&at_home.columns, usize::try_from(column)) else {
            return (at_home.oid, column);
        };
        match columns.get(at - 1) {
            None | Some(0) => (0, 0),
            Some(column) => (at_home.oid, *column),
        }
    }

    /// Whether binary values of a type (as the home shard numbers it) can have numbers inside that mean something else there.
    pub fn differs_in_binary(&self, of_home: Oid, made: Made) -> bool {
        match of_home {
            of_home if oid::is_name_of_catalog(of_home) => true,
            oid::RECORD | oid::RECORD_ARRAY if made.names || self.has_names => true,
            oid::RECORD | oid::RECORD_ARRAY => self.types_differ || self.rows_differ && (made.rows || self.has_rows),
            ..oid::FIRST_NORMAL => false,
            of_home => match self.inside.get(&of_home).copied().unwrap_or(Inside::Rows) {
                Inside::Nothing => false,
                Inside::Types => self.types_differ,
                Inside::Rows => self.types_differ || self.rows_differ,
                Inside::Names => true,
            },
        }
    }

    /// Whether some binary value may differ so.
    pub fn may_differ_in_binary(&self, made: Made) -> bool {
        self.types_differ || self.has_names || made.names || self.rows_differ && (made.rows || self.has_rows)
    }
}

/// Of each column that is here the number of the one of its name at home.
fn column_numbers(at_home: &str, here: &str) -> Box<[i16]> {
    let names = at_home.split('\u{1}').zip(1i16..).filter(|(name, _)| !name.is_empty());
    let at_home: HashMap<&str, i16> = names.collect();
    here.split('\u{1}').map(|name| at_home.get(name).copied().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: bool, rows: bool) -> Made {
        Made { names, rows }
    }

    fn types(of: &[(&str, Oid, Inside)]) -> Numbered {
        let types = of
            .iter()
            .map(|(name, oid, inside)| (QualifiedName::new("public", *name), UserType { oid: *oid, inside: *inside }));
        Numbered { types: types.collect(), ..Numbered::default() }
    }

    fn tables(of: &[(&str, Oid, &str)]) -> Numbered {
        let tables = of.iter().map(|(name, oid, columns)| {
            let table = NumberedTable {
                oid: *oid,
                row_types: [oid + 2, oid + 1],
                inside: Inside::Nothing,
                columns: columns.replace(' ', "\u{1}").into(),
            };
            (QualifiedName::new("public", *name), table)
        });
        Numbered { tables: tables.collect(), ..Numbered::default() }
    }

    #[test]
    fn what_is_inside_is_found_on_every_level() {
        let part = |of, part, is_numbered| Part { of, part, is_numbered };
        let (enumeration, inner, outer, array, domain, range, row, plain) =
            (20_001, 20_002, 20_003, 20_004, 20_005, 20_006, 20_007, 20_008);
        let parts = [
            // The outermost first: what is inside is known a round later.
            part(domain, array, false),
            part(array, outer, true),
            part(outer, inner, true),
            part(inner, 2205, true),
            part(range, enumeration, false),
            part(row, enumeration, true),
            part(row, 20_009, true),
            part(20_009, row, true),
            part(plain, 20_010, false),
            part(20_010, 23, true),
        ];
        let inside = insides(&parts, |oid| oid == row);
        let of = |oid: Oid| inside.get(&oid).copied().unwrap_or_default();
        assert_eq!([domain, array, outer, inner].map(of), [Inside::Names; 4]);
        assert_eq!([range, enumeration, plain, 20_010].map(of), [Inside::Nothing; 4]);
        assert_eq!([row, 20_009].map(of), [Inside::Rows; 2]);
        assert_eq!(insides(&parts[5..6], |_| false)[&row], Inside::Types);
    }

    #[test]
    fn numbers_change_places() {
        let of = |a, b, last| {
            let nothing = Inside::Nothing;
            types(&[("a", a, nothing), ("b", b, nothing), ("_a", 20_003, Inside::Types), (last, 20_009, nothing)])
        };
        let (home, other) = (of(20_001, 20_002, "gone"), of(20_002, 20_001, "new"));
        let numbers = Numbers::between(&home, Some(&other)).unwrap();
        assert_eq!([20_001, 20_002, 20_003, 23].map(|of| numbers.to_home(of)), [20_002, 20_001, 20_003, 23]);
        assert_eq!([20_001, 20_002, 20_003, 23].map(|of| numbers.from_home(of)), [20_002, 20_001, 20_003, 23]);
        assert!(
            !numbers.differs_in_binary(20_001, made(false, true)) && !numbers.differs_in_binary(23, made(false, true))
        );
        // An array, the row type of a table, a row of any type.
        assert!(
            [20_003, 30_000, oid::RECORD, oid::REGTYPE]
                .iter()
                .all(|of| numbers.differs_in_binary(*of, made(false, false)))
        );
        assert_eq!(Numbers::between(&home, Some(&home)), None);
        assert_eq!(Numbers::between(&home, Some(&types(&[]))), None);
    }

    #[test]
    fn columns_go_by_their_names() {
        let home = tables(&[("a", 20_001, "id  n"), ("b", 20_011, "id"), ("alone", 20_021, "id")]);
        let other = tables(&[("a", 20_011, "n id here "), ("b", 20_001, "id"), ("here", 20_031, "id")]);
        let numbers = Numbers::between(&home, Some(&other)).unwrap();
        let of = |table, columns: [i16; 6]| columns.map(|column| numbers.column_to_home(table, column));
        let a = of(20_011, [1, 2, 3, 4, 5, -6]);
        assert_eq!(a, [(20_001, 3), (20_001, 1), (0, 0), (0, 0), (0, 0), (20_001, -6)]);
        assert_eq!(numbers.column_to_home(20_001, 1), (20_011, 1));
        // What is there alone, what nobody knows, a table of Postgres, no table.
        assert_eq!(
            [20_031, 20_099, 1_259, 0].map(|of| numbers.column_to_home(of, 1)),
            [(0, 0), (0, 0), (1_259, 1), (0, 1)]
        );
        // Row types are types, but none that users made.
        assert_eq!([20_013, 20_012].map(|of| numbers.to_home(of)), [20_003, 20_002]);
        let may = |names, rows| numbers.may_differ_in_binary(made(names, rows));
        assert!(!may(false, false) && may(true, false) && may(false, true));
        assert!([oid::RECORD, 20_003, 23].iter().all(|of| !numbers.differs_in_binary(*of, made(false, false))));
        assert!([oid::REGTYPE, 2205, 2210, 4089].iter().all(|of| numbers.differs_in_binary(*of, made(false, false))));
        // A row has the numbers of its columns' types inside, an array of rows that of the row.
        assert!(
            !numbers.differs_in_binary(20_003, made(false, true)) && !numbers.differs_in_binary(23, made(false, true))
        );
        assert!(
            numbers.differs_in_binary(20_002, made(false, false))
                && numbers.differs_in_binary(oid::RECORD, made(false, true))
        );
        let mut nested = home.clone();
        nested.tables.values_mut().for_each(|table| table.inside = Inside::Rows);
        let nested = Numbers::between(&nested, Some(&other)).unwrap();
        assert!(nested.may_differ_in_binary(made(false, false)));
        assert!([oid::RECORD, 20_003].iter().all(|of| nested.differs_in_binary(*of, made(false, false))));
        assert_eq!(Numbers::between(&home, Some(&home)), None);
        let fewer = tables(&[("a", 20_001, "id  n")]);
        assert_eq!(Numbers::between(&home, Some(&fewer)), None);
        // Never read: nothing may be told.
        let unread = Numbers::between(&home, None).unwrap();
        assert_eq!(unread.column_to_home(20_001, 1), (0, 0));
        assert!(
            unread.may_differ_in_binary(made(false, false))
                && unread.differs_in_binary(oid::RECORD, made(false, false))
        );
        let role = Numbered { others: "r16999".into(), ..home.clone() };
        assert!(Numbers::between(&home, Some(&role)).is_some());
    }
}
