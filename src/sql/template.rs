//! Cuts the literals out of a statement: the template is what repeats, the slots are what differs from call to call.

use smallvec::SmallVec;

/// What a literal looks like. Its kind is part of the template, its text is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotKind {
    /// Decimal digits only (also `0x..`, `0o..`, `0b..` are `Decimal`-free: see `Number`).
    Integer,
    /// Any other number: `1.5`, `1e3`, `1_000`.
    Number,
    /// `'...'`
    String,
    /// `E'...'`
    EscapeString,
    /// `$tag$...$tag$`
    DollarString,
    /// `B'..'`, `X'..'`, `N'..'`, `U&'..'`
    Other,
}

/// One literal: its kind and its bytes in the statement's text (quotes and prefix included).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub kind: SlotKind,
    pub start: u32,
    pub end: u32,
}

/// The result of one scan; kept by the session and reused, so that a scan allocates nothing in steady state.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// The first statement with each literal replaced by a mark of its kind, comments and runs of blanks by one blank.
    pub template: Vec<u8>,
    pub slots: SmallVec<[Slot; 16]>,
    /// Where a second, non-empty statement starts.
    pub next_statement: Option<usize>,
    /// Where the first statement ends (before its `;`), trailing blanks and comments left out.
    pub end: usize,
    /// A comment of the form that can carry hints stood before the first word: its bytes.
    pub leading_comment: Option<(u32, u32)>,
}
