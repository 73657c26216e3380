//! Which literal of the syntax tree is which slot of the scan, and which slots may vary under one analysis.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use smallvec::SmallVec;
use sqlparser::ast::{Value as Literal, ValueWithSpan};

use crate::sql::template::{Slot, SlotKind, string_value};

/// The slots of one statement, found by where the parser saw a literal.
#[derive(Debug)]
pub(crate) struct Literals {
    /// (line, column), both from 1 in characters, of a slot's start -> its index.
    by_position: HashMap<(u64, u64), u16>,
    /// Kind and value of each slot; of numbers the digits.
    slots: Vec<(SlotKind, Option<Box<str>>)>,
    free: RefCell<BTreeSet<u16>>,
    /// Their values have shaped what becomes of the statement, whatever else they are good for.
    told: Rc<RefCell<BTreeSet<u16>>>,
    /// None of them stands in the client's text where it stands in this one.
    fixed: bool,
}

impl Literals {
    /// `base`: where in `text` the parsed part begins; only its slots can be found.
    pub fn new(text: &str, base: usize, of: &[Slot]) -> Self {
        let mut by_position = HashMap::new();
        let mut slots = Vec::new();
        if of.len() <= usize::from(u16::MAX) {
            slots.extend(of.iter().map(|slot| {
                let value = match slot.kind {
                    SlotKind::Integer | SlotKind::Number => Some(slot.text(text).into()),
                    _ => string_value(text, slot).map(Into::into),
                };
                (slot.kind, value)
            }));
            // In another text than the client's they can stand in another order.
            let mut in_order: Vec<(usize, &Slot)> = of.iter().enumerate().collect();
            in_order.sort_by_key(|(_, slot)| slot.start);
            let mut place = Place { line: 1, column: 1, byte: base };
            for (index, slot) in in_order {
                if place.go_to(text, slot.start as usize) {
                    by_position.insert((place.line, place.column), index as u16);
                }
            }
        }
        Self { by_position, slots, free: RefCell::default(), told: Rc::default(), fixed: false }
    }

    /// The same, where what is told of them is told of others of the same statement too.
    pub fn telling(self, told: &Rc<RefCell<BTreeSet<u16>>>) -> Self {
        Self { told: Rc::clone(told), ..self }
    }

    /// The same literals, none of which can differ from call to call.
    pub fn fixed(self) -> Self {
        Self { fixed: true, ..self }
    }

    /// The slot that this literal was cut from, if it holds exactly the literal's value.
    pub fn slot(&self, literal: &ValueWithSpan) -> Option<u16> {
        self.found(literal).filter(|_| !self.fixed)
    }

    /// Whether the parser has read what the literal says, and it is no slot.
    pub fn is_fixed(&self, literal: &ValueWithSpan) -> bool {
        self.fixed && self.found(literal).is_some()
    }

    /// A slot begins here, of which the parser has read something else: it does not know the spelling.
    pub fn is_misread(&self, literal: &ValueWithSpan) -> bool {
        let start = literal.span.start;
        self.by_position.contains_key(&(start.line, start.column)) && self.found(literal).is_none()
    }

    fn found(&self, literal: &ValueWithSpan) -> Option<u16> {
        let start = literal.span.start;
        let index = *self.by_position.get(&(start.line, start.column))?;
        let (kind, value) = self.slots.get(usize::from(index))?;
        let value = value.as_deref()?;
        let same = match (&literal.value, kind) {
            (Literal::Number(digits, _), SlotKind::Integer | SlotKind::Number) => digits == value,
            (Literal::SingleQuotedString(text), SlotKind::String) => text == value,
            (Literal::EscapedStringLiteral(text), SlotKind::EscapeString) => text == value,
            (Literal::DollarQuotedString(text), SlotKind::DollarString) => text.value == value,
            _ => false,
        };
        same.then_some(index)
    }

    /// What the literal says may differ from call to call.
    pub fn set_free(&self, literal: &ValueWithSpan) -> Option<u16> {
        let slot = self.slot(literal)?;
        self.free.borrow_mut().insert(slot);
        Some(slot)
    }

    /// What the literal says has a part in what becomes of the statement: it may not differ, though it be free elsewhere.
    pub fn tell(&self, literal: &ValueWithSpan) {
        self.told.borrow_mut().extend(self.slot(literal));
    }

    /// All of them have a part in what becomes of the statement.
    pub fn fix_all(&self) {
        self.free.borrow_mut().clear();
    }

    pub fn free_slots(&self) -> SmallVec<[u16; 8]> {
        self.free.borrow().difference(&self.told.borrow()).copied().collect()
    }
}

/// A position while walking over a text from front to back.
struct Place {
    line: u64,
    column: u64,
    byte: usize,
}

impl Place {
    /// Goes on to `byte`; false if that lies behind or in the middle of a character.
    fn go_to(&mut self, text: &str, byte: usize) -> bool {
        let Some(between) = text.get(self.byte..byte) else { return false };
        for c in between.chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.byte = byte;
        true
    }
}
