//! Keys in the rows of a COPY that are in another encoding (`ENCODING 'SJIS'`): a Postgres says what each character is in UTF-8, once.

use std::collections::HashMap;

use crate::backend::settings::quote_literal;
use crate::copy::{FieldReader, KeyField, RowCutter};
use crate::plan::CopyInPlan;
use crate::session::copy_keys::{Reader, is_of_value};
use crate::session::{Failure, Session};
use crate::sql::utility::encodings::{FileEncoding, First};

/// Characters that are remembered from one row to the next at most.
const MOST: usize = 100_000;
/// Characters that are asked for at once, first and at most.
const AT_ONCE: (usize, usize) = (500, 20_000);

/// Converts key fields, as far as their characters are known.
pub(super) struct Converter {
    encoding: FileEncoding,
    reader: FieldReader,
    /// `None`: every Postgres refuses it.
    known: HashMap<Box<[u8]>, Option<Box<str>>>,
}

/// A field in UTF-8.
enum Converted {
    Text(String),
    Unknown(Vec<Box<[u8]>>),
    Invalid,
}

impl Converter {
    /// `None`: the rows are in UTF-8.
    pub fn new(plan: &CopyInPlan, cutter: &RowCutter) -> Option<Self> {
        let (encoding, reader) = plan.encoding.clone().zip(cutter.field_reader())?;
        Some(Self { encoding, reader, known: HashMap::new() })
    }

    /// A row that has asked for nothing yet. One that waits needs all that it has asked for.
    pub fn begin_row(&mut self) {
        if self.known.len() >= MOST {
            self.known = HashMap::new();
        }
    }

    /// Puts values in the place of key fields in another encoding.
    ///
    /// # Errors
    /// Characters that must be asked for first.
    pub fn convert(&self, keys: &mut [KeyField<'_>]) -> Result<(), Vec<Box<[u8]>>> {
        for (nth, key) in keys.iter_mut().enumerate() {
            let KeyField::Encoded(field) = key else { continue };
            *key = match self.text(field) {
                Converted::Text(text) => self.reader.read(nth, &text),
                Converted::Unknown(characters) => return Err(characters),
                // Any shard refuses the row, in Postgres's words.
                Converted::Invalid => KeyField::Missing,
            };
        }
        Ok(())
    }

    fn text(&self, mut field: &[u8]) -> Converted {
        let mut text = String::with_capacity(field.len() * 2);
        let mut unknown = Vec::new();
        while let Some(lead) = field.first() {
            let First::Whole(length) = self.encoding.characters.first(field) else { return Converted::Invalid };
            let (character, rest) = field.split_at(length);
            match self.known.get(character) {
                _ if lead.is_ascii() => text.push(char::from(*lead)),
                Some(Some(known)) => text.push_str(known),
                Some(None) => return Converted::Invalid,
                // More and more, so that a long field is not begun too often.
                None if unknown.len() == self.known.len().clamp(AT_ONCE.0, AT_ONCE.1) => break,
                None => unknown.push(character.into()),
            }
            field = rest;
        }
        if unknown.is_empty() { Converted::Text(text) } else { Converted::Unknown(unknown) }
    }
}

impl Session {
    /// Asks what these characters are.
    pub(super) async fn ask_characters(
        &mut self,
        characters: Vec<Box<[u8]>>,
        converter: &mut Converter,
        reader: &mut Option<Reader>,
    ) -> Result<(), Failure> {
        let reader = match reader {
            Some(reader) => reader,
            None => reader.insert(self.reader().await?),
        };
        let digits = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let asked: Vec<String> = characters.iter().map(|character| format!("'{}'", digits(character))).collect();
        let sql = format!(
            "SELECT pg_catalog.convert_from(pg_catalog.decode(c, 'hex'), {}) \
             FROM pg_catalog.unnest(ARRAY[{}]) WITH ORDINALITY AS u(c, n) ORDER BY n",
            quote_literal(&converter.encoding.name),
            asked.join(", ")
        );
        let known: Vec<Option<Box<str>>> = match self.ask_reader(reader, &sql).await? {
            Ok(rows) => rows.into_iter().map(|row| row.into_iter().flatten().next().map(Into::into)).collect(),
            // One of them is none: with it the COPY fails, whatever the others are.
            Err(fault) if !reader.server.broken && is_of_value(&fault) => vec![None; characters.len()],
            Err(fault) => return Err(fault.without_position().into()),
        };
        converter.known.extend(characters.into_iter().zip(known));
        Ok(())
    }
}
