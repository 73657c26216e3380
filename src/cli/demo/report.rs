//! What the demo prints: lines, tables, and where the rows lie.

use std::fmt::{Display, Write as _};
use std::io::Write as _;

use super::data::{REFERENCE, TABLES};
use super::error::DemoError;
use super::place::Place;
use super::process::connect;

/// One line to standard output. Somebody who closed it (`pgloom demo | head`) doesn't end the demo half-way.
pub fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// How many rows of each of [`TABLES`] each shard has, asked of the shards themselves, past the router.
pub struct Placement {
    shards: Vec<String>,
    /// By table, then by shard.
    counts: Vec<Vec<u64>>,
}

impl Placement {
    pub async fn read(place: &Place) -> Result<Self, DemoError> {
        let mut counts = vec![Vec::new(); TABLES.len()];
        for shard in &place.shards {
            let client = connect(shard).await?;
            for (table, counts) in TABLES.iter().zip(&mut counts) {
                let sql =
                    |source| DemoError::Sql { what: format!("{table} can't be counted on {}", shard.name), source };
                let row = client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.map_err(sql)?;
                counts.push(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default());
            }
        }
        Ok(Self { shards: place.shards.iter().map(|shard| shard.name.clone()).collect(), counts })
    }

    /// The rows of one table on all shards; of a reference table, those of one copy.
    pub fn rows(&self, table: &str) -> u64 {
        let counts = TABLES.iter().zip(&self.counts).find(|(name, _)| **name == table).map(|(_, counts)| counts);
        let counts = counts.map(Vec::as_slice).unwrap_or_default();
        if table == REFERENCE { counts.first().copied().unwrap_or(0) } else { counts.iter().sum() }
    }

    pub fn print(&self) {
        let heading: Vec<String> = std::iter::once("rows on".to_owned()).chain(self.shards.iter().cloned()).collect();
        let row = |(table, counts): (&&str, &Vec<u64>)| {
            std::iter::once((*table).to_owned()).chain(counts.iter().map(u64::to_string)).collect()
        };
        let rows: Vec<Vec<String>> = TABLES.iter().zip(&self.counts).map(row).collect();
        say("");
        say(table(&heading, &rows, 0));
        say(format_args!("({REFERENCE} is a reference table: a full copy on every shard)"));
    }
}

/// Columns padded to their widest cell, numbers to the right, each line after `indent` blanks.
pub fn table(heading: &[String], rows: &[Vec<String>], indent: usize) -> String {
    let width = |column: usize| {
        let cells = std::iter::once(heading).chain(rows.iter().map(Vec::as_slice));
        cells.filter_map(|cells| cells.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heading.len()).map(width).collect();
    let mut text = String::new();
    for (number, cells) in std::iter::once(heading).chain(rows.iter().map(Vec::as_slice)).enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let mut line = " ".repeat(indent);
        for (column, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
            if column > 0 {
                line.push_str("  ");
            }
            let right = rows.iter().all(|row| row.get(column).is_some_and(|cell| is_number(cell)));
            // Writing to a String cannot fail.
            let _ = if right { write!(line, "{cell:>width$}") } else { write!(line, "{cell:width$}") };
        }
        text.push_str(line.trim_end());
    }
    text
}

fn is_number(cell: &str) -> bool {
    !cell.is_empty() && cell.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned_to_the_right_and_words_to_the_left() {
        let cells = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let text = table(&cells(&["name", "n"]), &[cells(&["a", "1"]), cells(&["long name", "1000"])], 2);
        assert_eq!(text, "  name          n\n  a             1\n  long name  1000");
    }
}
