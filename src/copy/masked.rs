//! `Mask`: rows in an encoding whose characters can hold bytes that look like ASCII, with those bytes hidden. Lines and fields are found in it
//! as in any other text, and lie at the same places in what was sent.

use crate::sql::utility::encodings::{Characters, First};

/// Stands for a byte that is a part of a character and not what it looks like.
const HIDDEN: u8 = 0xff;
/// Of bytes that cannot be converted, a Postgres waits for so many, or the end, before it says so (`MAX_CONVERSION_INPUT_LENGTH`).
pub const CONVERTED: usize = 16;

#[derive(Clone, Debug)]
pub(super) struct Mask {
    characters: Characters,
    bytes: Vec<u8>,
    /// Up to here there are whole characters.
    whole: usize,
    broken: bool,
}

impl Mask {
    pub fn new(characters: Characters) -> Self {
        Self { characters, bytes: Vec::new(), whole: 0, broken: false }
    }

    /// These many bytes at the beginning are done with. `kept`: the buffer that is kept where none are left.
    pub fn forget(&mut self, count: usize, kept: usize) {
        self.bytes.drain(..count.min(self.bytes.len()));
        self.whole = self.whole.saturating_sub(count);
        if self.bytes.is_empty() {
            self.bytes.shrink_to(kept);
        }
    }

    pub fn extend(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        while !self.broken
            && let Some(rest) = self.bytes.get_mut(self.whole..).filter(|rest| !rest.is_empty())
        {
            let plain = rest.iter().position(|byte| *byte >= 0x80).unwrap_or(rest.len());
            self.whole += plain;
            let Some(rest) = rest.get_mut(plain..).filter(|rest| !rest.is_empty()) else { break };
            match self.characters.first(rest) {
                First::Whole(length) => {
                    rest.iter_mut().take(length).skip(1).for_each(|byte| *byte = HIDDEN);
                    self.whole += length;
                }
                First::More => break,
                First::Broken => self.broken = true,
            }
        }
    }

    /// The whole characters from there on.
    pub fn text(&self, start: usize) -> &[u8] {
        self.bytes.get(start..self.whole).unwrap_or_default()
    }

    /// Whether what follows the whole characters never becomes one. `eof`: nothing more will come.
    pub fn is_stuck(&self, eof: bool) -> bool {
        self.broken || eof && self.whole < self.bytes.len()
    }

    /// Whether a Postgres would say so by now.
    pub fn is_told(&self, eof: bool) -> bool {
        eof || self.bytes.len().saturating_sub(self.whole) >= CONVERTED
    }
}
