//! `numeric` without arithmetic: its spellings, its two wire forms read in place, and its order.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::types::canonical::KeyError;
use crate::types::input::trim;

/// Digits that we are ready to write out for one value; Postgres allows 131072 before the point and 16383 behind it.
const MAX_DIGITS: usize = 8_000;

/// Digits of a number that is compared and added as an integer.
const SMALL_INT: usize = 16;
pub const SMALL_SCALE: usize = 12;
const SMALL_UNIT: i128 = 1_000_000_000_000;

/// What stands in front of the magnitude in numeric's order: `-Infinity < negative < 0 < positive < Infinity < NaN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    NegativeInfinity,
    Negative,
    Zero,
    Positive,
    Infinity,
    Nan,
}

impl Class {
    fn of(negative: bool, zero: bool) -> Self {
        match (zero, negative) {
            (true, _) => Self::Zero,
            (false, true) => Self::Negative,
            (false, false) => Self::Positive,
        }
    }

    fn special(text: &[u8]) -> Option<Self> {
        // Whatever ends in a digit or a point is none: the usual case.
        if !text.last().is_some_and(u8::is_ascii_alphabetic) {
            return None;
        }
        let is = |word: &str| text.eq_ignore_ascii_case(word.as_bytes());
        if is("nan") {
            Some(Self::Nan)
        } else if is("infinity") || is("inf") || is("+infinity") || is("+inf") {
            Some(Self::Infinity)
        } else if is("-infinity") || is("-inf") {
            Some(Self::NegativeInfinity)
        } else {
            None
        }
    }

    pub fn is_finite(self) -> bool {
        matches!(self, Self::Negative | Self::Zero | Self::Positive)
    }

    fn compare(self, other: Self, magnitude: impl FnOnce() -> Ordering) -> Ordering {
        self.cmp(&other).then_with(|| match self {
            Self::Positive => magnitude(),
            Self::Negative => magnitude().reverse(),
            _ => Ordering::Equal,
        })
    }
}

/// A decimal as written: digits before and behind the point, and the exponent.
struct Written<'a> {
    int: &'a [u8],
    frac: &'a [u8],
    exponent: i32,
}

fn digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    bytes.split_at(bytes.iter().take_while(|b| b.is_ascii_digit()).count())
}

/// An unsigned decimal that takes all of `text`.
fn written(text: &[u8]) -> Result<Written<'_>, KeyError> {
    let (int, mut rest) = digits(text);
    let mut frac: &[u8] = &[];
    if let [b'.', tail @ ..] = rest {
        (frac, rest) = digits(tail);
    }
    match (int.len() + frac.len(), rest) {
        // Newer servers accept 0x1F, 0o17, 0b11 and 1_000.
        (_, [b'_' | b'x' | b'X' | b'o' | b'O' | b'b' | b'B', ..]) => Err(KeyError::Unsure),
        (0, _) => Err(KeyError::Invalid),
        (_, []) => Ok(Written { int, frac, exponent: 0 }),
        (_, [b'e' | b'E', tail @ ..]) => Ok(Written { int, frac, exponent: exponent(tail)? }),
        _ => Err(KeyError::Invalid),
    }
}

fn exponent(text: &[u8]) -> Result<i32, KeyError> {
    let (negative, tail) = match text {
        [b'-', tail @ ..] => (true, tail),
        [b'+', tail @ ..] => (false, tail),
        tail => (false, tail),
    };
    let (number, rest) = digits(tail);
    match (number, rest) {
        // Postgres reads the exponent with strtol, which skips blanks.
        (_, [b'_' | b' ' | b'\t' | b'\n' | b'\x0b' | b'\x0c' | b'\r', ..]) => Err(KeyError::Unsure),
        ([], _) | (_, [_, ..]) => Err(KeyError::Invalid),
        (number, []) => {
            let value = number.iter().try_fold(0i32, |value, digit| {
                value.checked_mul(10)?.checked_add(i32::from(digit - b'0')).filter(|v| *v <= 100_000)
            });
            value.map(|v| if negative { -v } else { v }).ok_or(KeyError::Unsure)
        }
    }
}

/// `numeric_in`, as canonical decimal text (see [`crate::types::canonical::KeyValue::Numeric`]).
pub(super) fn input(text: &str) -> Result<Cow<'_, str>, KeyError> {
    let trimmed = trim(text);
    if let Some(class) = Class::special(trimmed.as_bytes()) {
        return Ok(Cow::Borrowed(special_text(class)));
    }
    match trimmed.as_bytes() {
        [b'-', ..] => canonical(trimmed, 1, true),
        [b'+', ..] => canonical(trimmed, 1, false),
        _ => canonical(trimmed, 0, false),
    }
}

/// A number token of the SQL scanner, as canonical decimal text.
pub(super) fn literal(token: &str, negative: bool) -> Result<Cow<'_, str>, KeyError> {
    // A token that is no decimal is one that we do not know (0x1F, 1_000).
    canonical(token, 0, negative).map_err(|_| KeyError::Unsure)
}

fn special_text(class: Class) -> &'static str {
    match class {
        Class::NegativeInfinity => "-Infinity",
        Class::Infinity => "Infinity",
        _ => "NaN",
    }
}

/// The canonical text of `text`, whose magnitude begins at `start`.
fn canonical(text: &str, start: usize, negative: bool) -> Result<Cow<'_, str>, KeyError> {
    let magnitude = &text.as_bytes()[start..];
    let number = written(magnitude)?;
    if number.int.len() + number.frac.len() > MAX_DIGITS || number.exponent.unsigned_abs() as usize > MAX_DIGITS {
        return Err(KeyError::Unsure);
    }
    let int = strip_leading(number.int);
    let frac = strip_trailing(number.frac);
    if int.is_empty() && frac.is_empty() {
        return Ok(Cow::Borrowed("0"));
    }
    if number.exponent == 0
        && int.len() == number.int.len()
        && !int.is_empty()
        && negative == (start == 1 && text.starts_with('-'))
    {
        // Already canonical but for zeros behind it: no copy.
        let begin = if negative { 0 } else { start };
        let end = start + if frac.is_empty() { int.len() } else { int.len() + 1 + frac.len() };
        return Ok(Cow::Borrowed(&text[begin..end]));
    }
    let all: Vec<u8> = number.int.iter().chain(number.frac).copied().collect();
    // At most MAX_DIGITS each.
    let point = number.int.len() as i64 + i64::from(number.exponent);
    Ok(Cow::Owned(place_point(negative, &all, point)))
}

/// Canonical text of `digits` with the decimal point before the digit at `point` (which may lie outside).
fn place_point(negative: bool, digits: &[u8], point: i64) -> String {
    let mut int: Vec<u8> = Vec::new();
    let mut frac: Vec<u8> = Vec::new();
    if point > 0 {
        let point = usize::try_from(point).unwrap_or(0);
        int.extend(digits.iter().take(point));
        int.resize(point, b'0');
        frac.extend(digits.iter().skip(point));
    } else {
        frac.resize(usize::try_from(-point).unwrap_or(0), b'0');
        frac.extend(digits);
    }
    join(negative, &int, &frac)
}

fn join(negative: bool, int: &[u8], frac: &[u8]) -> String {
    let int = strip_leading(int);
    let frac = strip_trailing(frac);
    let mut text = String::with_capacity(int.len() + frac.len() + 3);
    if negative && !(int.is_empty() && frac.is_empty()) {
        text.push('-');
    }
    if int.is_empty() {
        text.push('0');
    }
    text.extend(int.iter().map(|b| char::from(*b)));
    if !frac.is_empty() {
        text.push('.');
        text.extend(frac.iter().map(|b| char::from(*b)));
    }
    text
}

fn strip_leading(digits: &[u8]) -> &[u8] {
    &digits[digits.iter().take_while(|b| **b == b'0').count()..]
}

fn strip_trailing(digits: &[u8]) -> &[u8] {
    &digits[..digits.len() - digits.iter().rev().take_while(|b| **b == b'0').count()]
}

/// `numeric_recv`, as canonical decimal text: digits that the display scale hides are cut off, as the server does.
pub(super) fn received(bytes: &[u8]) -> Result<String, KeyError> {
    let number = Binary::parse(bytes).ok_or(KeyError::Invalid)?;
    if !number.class.is_finite() {
        return Ok(special_text(number.class).to_owned());
    }
    let mut digits = Vec::with_capacity(number.groups.len() * 2);
    for group in number.groups.chunks_exact(2) {
        let group = u16::from_be_bytes([group[0], group[1]]);
        digits.extend([group / 1000, group / 100 % 10, group / 10 % 10, group % 10].map(|d| b'0' + d as u8));
    }
    let point = (i64::from(number.weight) + 1) * 4;
    if point.unsigned_abs() as usize > MAX_DIGITS || digits.len() > MAX_DIGITS {
        return Err(KeyError::Unsure);
    }
    let shown = usize::try_from(point + i64::from(number.scale)).unwrap_or(0);
    digits.truncate(shown);
    Ok(place_point(number.class == Class::Negative, &digits, point))
}

/// Rounds canonical `text` half away from zero to `scale` digits behind the point (before it, where negative).
pub(super) fn round(text: &str, scale: i32) -> String {
    let (negative, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (true, magnitude),
        None => (false, text),
    };
    let (int, frac) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let mut digits: Vec<u8> = int.bytes().chain(frac.bytes()).collect();
    let mut point = int.len() as i64;
    let keep = point + i64::from(scale);
    match usize::try_from(keep) {
        Err(_) => return "0".to_owned(),
        Ok(keep) if keep >= digits.len() => return text.to_owned(),
        Ok(keep) => {
            let up = digits[keep] >= b'5';
            digits.truncate(keep);
            if up && carry_one(&mut digits) {
                digits.insert(0, b'1');
                point += 1;
            }
        }
    }
    place_point(negative, &digits, point)
}

/// Adds one to the last digit; true when it runs over the first.
fn carry_one(digits: &mut [u8]) -> bool {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return false;
        }
        *digit = b'0';
    }
    true
}

/// A numeric in text form, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    pub class: Class,
    /// Without leading zeros.
    pub int: &'a [u8],
    /// Without trailing zeros.
    pub frac: &'a [u8],
    /// Digits behind the point as written.
    pub scale: usize,
}

impl<'a> Text<'a> {
    /// Reads what `numeric_out` prints; `None` for anything else.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if let Some(class) = Class::special(bytes) {
            return Some(Self { class, int: &[], frac: &[], scale: 0 });
        }
        let (negative, magnitude) = match bytes {
            [b'-', magnitude @ ..] => (true, magnitude),
            magnitude => (false, magnitude),
        };
        let number = written(magnitude).ok().filter(|number| number.exponent == 0)?;
        let (int, frac) = (strip_leading(number.int), strip_trailing(number.frac));
        let class = Class::of(negative, int.is_empty() && frac.is_empty());
        Some(Self { class, int, frac, scale: number.frac.len() })
    }

    /// The value in units of 10^-12, where it has at most 16 digits before the point and 12 behind it: it can then be
    /// compared and added as an integer.
    pub fn small(&self) -> Option<i128> {
        if !self.class.is_finite() || self.int.len() > SMALL_INT || self.frac.len() > SMALL_SCALE {
            return None;
        }
        let number = |digits: &[u8]| digits.iter().fold(0u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        let frac = number(self.frac) * 10u64.pow((SMALL_SCALE - self.frac.len()) as u32);
        let value = i128::from(number(self.int)) * SMALL_UNIT + i128::from(frac);
        Some(if self.class == Class::Negative { -value } else { value })
    }

    pub fn compare(&self, other: &Self) -> Ordering {
        self.class.compare(other.class, || {
            self.int
                .len()
                .cmp(&other.int.len())
                .then_with(|| self.int.cmp(other.int))
                .then_with(|| self.frac.cmp(other.frac))
        })
    }
}

/// A numeric in binary form (Postgres: `numeric_send`), read in place.
#[derive(Clone, Copy, Debug)]
pub struct Binary<'a> {
    pub class: Class,
    /// The first group counts 10000^weight.
    pub weight: i32,
    /// Big-endian base-10000 digits, two bytes each, neither the first nor the last one zero.
    pub groups: &'a [u8],
    /// Digits behind the point that are shown.
    pub scale: u16,
}

/// The sign words of the wire form.
pub const POSITIVE: u16 = 0x0000;
pub const NEGATIVE: u16 = 0x4000;
pub const NAN: u16 = 0xC000;
pub const POSITIVE_INFINITY: u16 = 0xD000;
pub const NEGATIVE_INFINITY: u16 = 0xF000;

impl<'a> Binary<'a> {
    /// `None` when the bytes are not a numeric.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (header, mut groups) = bytes.split_first_chunk::<8>()?;
        let [count, weight, sign, scale] = [0, 2, 4, 6].map(|at| u16::from_be_bytes([header[at], header[at + 1]]));
        let mut weight = i32::from(weight as i16);
        if groups.len() != usize::from(count) * 2 || scale > 0x3FFF {
            return None;
        }
        if groups.chunks_exact(2).any(|g| u16::from_be_bytes([g[0], g[1]]) > 9999) {
            return None;
        }
        let negative = match sign {
            POSITIVE => false,
            NEGATIVE => true,
            NAN => return Some(Self { class: Class::Nan, weight: 0, groups: &[], scale }),
            POSITIVE_INFINITY => return Some(Self { class: Class::Infinity, weight: 0, groups: &[], scale }),
            NEGATIVE_INFINITY => return Some(Self { class: Class::NegativeInfinity, weight: 0, groups: &[], scale }),
            _ => return None,
        };
        while let [0, 0, rest @ ..] = groups {
            groups = rest;
            weight -= 1;
        }
        while let [rest @ .., 0, 0] = groups {
            groups = rest;
        }
        let class = Class::of(negative, groups.is_empty());
        Some(Self { class, weight: if groups.is_empty() { 0 } else { weight }, groups, scale })
    }

    /// As [`Text::small`].
    pub fn small(&self) -> Option<i128> {
        // Four groups before the point and three behind it, so that both wire forms agree on what is small.
        let lowest = self.weight + 1 - (self.groups.len() / 2) as i32;
        if !self.class.is_finite() || self.weight > 3 || lowest < -3 {
            return None;
        }
        let groups = self.groups.chunks_exact(2).map(|g| i128::from(u16::from_be_bytes([g[0], g[1]])));
        let value = groups.fold(0, |value, group| value * 10_000 + group) * 10_000i128.pow((lowest + 3).unsigned_abs());
        Some(if self.class == Class::Negative { -value } else { value })
    }

    pub fn compare(&self, other: &Self) -> Ordering {
        self.class.compare(other.class, || self.weight.cmp(&other.weight).then_with(|| self.groups.cmp(other.groups)))
    }
}

/// The order of two canonical texts.
pub(super) fn compare_canonical(a: &str, b: &str) -> Option<Ordering> {
    Some(Text::parse(a.as_bytes())?.compare(&Text::parse(b.as_bytes())?))
}
