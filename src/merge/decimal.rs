//! Arithmetic of `numeric` as far as merging needs it: exact sums, and the division that `avg` does.

use bytes::{BufMut, BytesMut};

use crate::types::Format;
use crate::types::numeric::{self, Binary, Class, Text};

/// A numeric takes part in sums and averages: any number of digits, or NaN, or an infinity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    kind: Kind,
    /// Base-10000 digits, most significant first, neither the first nor the last one zero.
    groups: Vec<u16>,
    /// The first group counts 10000^weight.
    weight: i32,
    /// Digits shown behind the point.
    scale: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Finite { negative: bool },
    Infinite { negative: bool },
    Nan,
}

const BASE: u16 = 10_000;
/// Postgres: `NUMERIC_WEIGHT_MAX`, the weight that a stored numeric can have at most.
const MAX_WEIGHT: i32 = 0x7FFF;
/// Postgres: `NUMERIC_MIN_SIG_DIGITS` and `NUMERIC_MAX_DISPLAY_SCALE`, which rule the scale of a quotient.
const MIN_SIGNIFICANT: i64 = 16;
const MAX_SCALE: i64 = 1_000;

impl Decimal {
    /// Reads a numeric as the servers send it; `None` for anything else.
    pub fn read(format: Format, bytes: &[u8]) -> Option<Self> {
        match format {
            Format::Text => Text::parse(bytes).map(|text| Self::from_text(&text)),
            Format::Binary => Binary::parse(bytes).map(|binary| Self::from_binary(&binary)),
        }
    }

    fn of_class(class: Class) -> Self {
        let kind = match class {
            Class::Nan => Kind::Nan,
            Class::Infinity => Kind::Infinite { negative: false },
            Class::NegativeInfinity => Kind::Infinite { negative: true },
            Class::Negative => Kind::Finite { negative: true },
            Class::Zero | Class::Positive => Kind::Finite { negative: false },
        };
        Self { kind, groups: Vec::new(), weight: 0, scale: 0 }
    }

    fn from_text(text: &Text<'_>) -> Self {
        let mut decimal = Self { scale: text.scale, ..Self::of_class(text.class) };
        decimal.groups.reserve(text.int.len() / 4 + text.frac.len() / 4 + 2);
        let (head, whole) = text.int.split_at(text.int.len() % 4);
        let number = |digits: &[u8]| digits.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
        if !head.is_empty() {
            decimal.groups.push(number(head));
        }
        decimal.groups.extend(whole.chunks(4).map(number));
        decimal.weight = i32::try_from(decimal.groups.len()).unwrap_or(i32::MAX) - 1;
        for chunk in text.frac.chunks(4) {
            decimal.groups.push(number(chunk) * 10u16.pow(4 - chunk.len() as u32));
        }
        decimal.normalize();
        decimal
    }

    fn from_binary(binary: &Binary<'_>) -> Self {
        let groups = binary.groups.chunks_exact(2).map(|g| u16::from_be_bytes([g[0], g[1]])).collect();
        Self { groups, weight: binary.weight, scale: binary.scale.into(), ..Self::of_class(binary.class) }
    }

    pub fn from_i64(value: i64) -> Self {
        Self::from_groups(value.unsigned_abs().into(), value < 0, 0, 0)
    }

    /// From units of 10^-12.
    fn from_small(value: i128, scale: usize) -> Self {
        Self::from_groups(value.unsigned_abs(), value < 0, 3, scale)
    }

    /// `magnitude` / 10000^`behind`.
    fn from_groups(mut magnitude: u128, negative: bool, behind: i32, scale: usize) -> Self {
        let mut groups = Vec::with_capacity(10);
        // Most are small enough for divisions of 64 bits, which cost a tenth.
        let mut rest = loop {
            if let Ok(rest) = u64::try_from(magnitude) {
                break rest;
            }
            groups.push((magnitude % u128::from(BASE)) as u16);
            magnitude /= u128::from(BASE);
        };
        while rest > 0 {
            groups.push((rest % u64::from(BASE)) as u16);
            rest /= u64::from(BASE);
        }
        groups.reverse();
        let weight = groups.len() as i32 - 1 - behind;
        let mut decimal = Self { kind: Kind::Finite { negative }, groups, weight, scale };
        decimal.normalize();
        decimal
    }

    /// Removes zero groups at both ends; zero has neither sign nor weight.
    fn normalize(&mut self) {
        let zeros = self.groups.iter().take_while(|group| **group == 0).count();
        if zeros > 0 {
            self.groups.drain(..zeros);
            self.weight -= zeros as i32;
        }
        while self.groups.last() == Some(&0) {
            self.groups.pop();
        }
        if self.groups.is_empty() {
            self.weight = 0;
            if let Kind::Finite { negative } = &mut self.kind {
                *negative = false;
            }
        }
    }

    /// The group that counts 10000^weight.
    fn group(&self, weight: i32) -> u16 {
        usize::try_from(self.weight - weight).ok().and_then(|i| self.groups.get(i)).copied().unwrap_or(0)
    }

    /// The weight of the last group, one more than the first one's for zero.
    fn lowest(&self) -> i32 {
        self.weight + 1 - self.groups.len() as i32
    }

    /// Adds `other`; the scale becomes the larger one. Infinities of both signs give NaN, as in Postgres.
    pub fn add(&mut self, other: &Self) {
        let (mine, theirs) = match (self.kind, other.kind) {
            (Kind::Finite { negative: mine }, Kind::Finite { negative: theirs }) => (mine, theirs),
            (Kind::Infinite { negative: mine }, Kind::Infinite { negative: theirs }) if mine != theirs => {
                *self = Self::of_class(Class::Nan);
                return;
            }
            (Kind::Nan, _) | (Kind::Infinite { .. }, Kind::Finite { .. } | Kind::Infinite { .. }) => return,
            (_, Kind::Nan) | (Kind::Finite { .. }, Kind::Infinite { .. }) => {
                *self = other.clone();
                return;
            }
        };
        let scale = self.scale.max(other.scale);
        if other.groups.is_empty() {
            self.scale = scale;
            return;
        }
        if self.groups.is_empty() {
            *self = Self { scale, ..other.clone() };
            return;
        }
        // One group more than either has, for the carry.
        let top = self.weight.max(other.weight) + 1;
        let bottom = self.lowest().min(other.lowest());
        let count = usize::try_from(top - bottom + 1).unwrap_or(0);
        let mut groups = vec![0u16; count];
        let mut carry = 0i32;
        // Signed digits relative to our own sign; a negative total is turned round afterwards.
        let sign = if mine == theirs { 1 } else { -1 };
        for (weight, slot) in (bottom..=top).zip(groups.iter_mut().rev()) {
            let total = i32::from(self.group(weight)) + sign * i32::from(other.group(weight)) + carry;
            carry = total.div_euclid(i32::from(BASE));
            *slot = total.rem_euclid(i32::from(BASE)) as u16;
        }
        let mut negative = mine;
        if carry < 0 {
            negative = !negative;
            complement(&mut groups);
        }
        *self = Self { kind: Kind::Finite { negative }, groups, weight: top, scale };
        self.normalize();
    }

    /// The quotient by `count` (more than zero) with the scale and rounding of Postgres's numeric division.
    ///
    /// The scale (Postgres: `select_div_scale`) leaves at least 16 significant digits, estimated from the weights and the
    /// first base-10000 digits of both numbers, and is neither less than the dividend's own nor more than 1000.
    pub fn divide_by_count(&self, count: i64) -> Self {
        let Kind::Finite { negative } = self.kind else { return self.clone() };
        let divisor = Self::from_i64(count);
        let first = |number: &Self| number.groups.first().copied().unwrap_or(0);
        let mut quotient_weight = i64::from(self.weight) - i64::from(divisor.weight);
        if first(self) <= first(&divisor) {
            quotient_weight -= 1;
        }
        let scale = (MIN_SIGNIFICANT - quotient_weight * 4).max(self.scale as i64).clamp(0, MAX_SCALE);
        // Long division, down to a group behind the last digit that is kept: rounding needs one digit more.
        let bottom = -(scale / 4 + 2) as i32;
        let divisor = count.unsigned_abs().max(1);
        let mut groups = Vec::with_capacity(usize::try_from(self.weight.max(0) - bottom + 1).unwrap_or(0));
        let mut rest = 0;
        for weight in (bottom..=self.weight.max(0)).rev() {
            let (group, left) = divide_step(rest, self.group(weight), divisor);
            groups.push(group);
            rest = left;
        }
        let mut quotient =
            Self { kind: Kind::Finite { negative }, groups, weight: self.weight.max(0), scale: scale as usize };
        quotient.round();
        quotient.normalize();
        quotient
    }

    /// Cuts the groups at the scale, rounding half away from zero. There are groups down to the scale and one beyond.
    fn round(&mut self) {
        let digits = self.scale % 4;
        let keep = (self.weight + 1) as usize + self.scale / 4;
        let unit = 10u16.pow(4 - digits as u32);
        let Some(group) = self.groups.get(keep).copied() else { return };
        let up = group / (unit / 10) % 10 >= 5;
        if digits == 0 {
            self.groups.truncate(keep);
        } else {
            self.groups.truncate(keep + 1);
            self.groups[keep] = group / unit * unit;
        }
        if !up {
            return;
        }
        let mut add = if digits == 0 { 1 } else { unit };
        for group in self.groups.iter_mut().rev() {
            *group += add;
            if *group < BASE {
                return;
            }
            *group -= BASE;
            add = 1;
        }
        self.groups.insert(0, 1);
        self.weight += 1;
    }

    /// Whether Postgres can store it: at most 131072 digits before the point.
    pub fn fits(&self) -> bool {
        self.weight <= MAX_WEIGHT
    }

    /// Appends the value as the servers would send it.
    pub fn write(&self, format: Format, out: &mut BytesMut) {
        match format {
            Format::Text => self.write_text(out),
            Format::Binary => self.write_binary(out),
        }
    }

    fn write_text(&self, out: &mut BytesMut) {
        match self.kind {
            Kind::Nan => return out.put_slice(b"NaN"),
            Kind::Infinite { negative: false } => return out.put_slice(b"Infinity"),
            Kind::Infinite { negative: true } => return out.put_slice(b"-Infinity"),
            Kind::Finite { negative } => {
                if negative {
                    out.put_u8(b'-');
                }
            }
        }
        let digit = |value: u16| b'0' + (value % 10) as u8;
        let digits = |group: u16| [digit(group / 1000), digit(group / 100), digit(group / 10), digit(group)];
        for weight in (0..=self.weight.max(0)).rev() {
            let digits = digits(self.group(weight));
            let leading =
                if weight == self.weight.max(0) { digits[..3].iter().take_while(|d| **d == b'0').count() } else { 0 };
            out.put_slice(&digits[leading..]);
        }
        if self.scale > 0 {
            out.put_u8(b'.');
            let mut left = self.scale;
            let mut weight = -1;
            while left > 0 {
                let take = left.min(4);
                out.put_slice(&digits(self.group(weight))[..take]);
                left -= take;
                weight -= 1;
            }
        }
    }

    fn write_binary(&self, out: &mut BytesMut) {
        let sign = match self.kind {
            Kind::Nan => numeric::NAN,
            Kind::Infinite { negative: false } => numeric::POSITIVE_INFINITY,
            Kind::Infinite { negative: true } => numeric::NEGATIVE_INFINITY,
            Kind::Finite { negative: true } => numeric::NEGATIVE,
            Kind::Finite { negative: false } => numeric::POSITIVE,
        };
        out.put_u16(self.groups.len() as u16);
        out.put_i16(self.weight as i16);
        out.put_u16(sign);
        out.put_u16(self.scale as u16);
        self.groups.iter().for_each(|group| out.put_u16(*group));
    }
}

/// A sum of numerics. Usual numbers are added as integers, the others as what they are.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// In units of 10^-12 ([`numeric::SMALL_SCALE`]).
    small: i128,
    /// The largest scale of the small ones.
    scale: usize,
    large: Option<Box<Decimal>>,
}

impl Sum {
    /// Adds a numeric as the servers send it; `None` for anything else.
    pub fn add(&mut self, format: Format, bytes: &[u8]) -> Option<()> {
        let (small, scale) = match format {
            Format::Text => Text::parse(bytes).map(|text| (text.small(), text.scale))?,
            Format::Binary => Binary::parse(bytes).map(|binary| (binary.small(), usize::from(binary.scale)))?,
        };
        match small {
            Some(value) => self.add_small(value, scale),
            None => self.add_large(Decimal::read(format, bytes)?),
        }
        Some(())
    }

    pub fn add_i64(&mut self, value: i64) {
        self.add_small(i128::from(value) * 10i128.pow(numeric::SMALL_SCALE as u32), 0);
    }

    fn add_small(&mut self, value: i128, scale: usize) {
        self.scale = self.scale.max(scale);
        match self.small.checked_add(value) {
            Some(sum) => self.small = sum,
            None => {
                let sum = Decimal::from_small(std::mem::replace(&mut self.small, value), self.scale);
                self.add_large(sum);
            }
        }
    }

    fn add_large(&mut self, value: Decimal) {
        match &mut self.large {
            Some(large) => large.add(&value),
            None => self.large = Some(Box::new(value)),
        }
    }

    pub fn total(&self) -> Decimal {
        let mut total = Decimal::from_small(self.small, self.scale);
        if let Some(large) = &self.large {
            total.add(large);
        }
        total
    }
}

/// The next group of a quotient and what is left of the dividend. `rest` is below the divisor, so the group is below BASE.
fn divide_step(rest: u64, group: u16, divisor: u64) -> (u16, u64) {
    match rest.checked_mul(u64::from(BASE)).and_then(|part| part.checked_add(u64::from(group))) {
        Some(part) => ((part / divisor) as u16, part % divisor),
        None => {
            let part = u128::from(rest) * u128::from(BASE) + u128::from(group);
            ((part / u128::from(divisor)) as u16, (part % u128::from(divisor)) as u64)
        }
    }
}

/// What is missing to 10000^n: turns a difference that went below zero into its magnitude.
fn complement(groups: &mut [u16]) {
    let mut borrow = BASE;
    for group in groups.iter_mut().rev() {
        let value = borrow - *group;
        *group = value % BASE;
        borrow = if value == BASE { BASE } else { BASE - 1 };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::read(Format::Text, text.as_bytes()).unwrap()
    }

    fn text(decimal: &Decimal) -> String {
        let mut out = BytesMut::new();
        decimal.write(Format::Text, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn sum(a: &str, b: &str) -> String {
        let mut large = decimal(a);
        large.add(&decimal(b));
        let mut sum = Sum::default();
        for value in [a, b] {
            let mut binary = BytesMut::new();
            decimal(value).write(Format::Binary, &mut binary);
            sum.add(Format::Binary, &binary).unwrap();
        }
        assert_eq!(text(&sum.total()), text(&large));
        text(&large)
    }

    #[test]
    fn a_sum_of_small_numbers_outgrows_them_without_loss() {
        let mut sum = Sum { small: i128::MAX - 5, ..Sum::default() };
        sum.add(Format::Text, b"9999999999999999.0").unwrap();
        sum.add(Format::Text, b"0.0000000000001").unwrap();
        sum.add(Format::Text, b"-9999999999999999").unwrap();
        assert_eq!(text(&sum.total()), "170141183460469231731687303.7158841057221");
    }

    #[test]
    fn sums_keep_the_larger_scale_and_follow_the_rules_of_nan() {
        assert_eq!(sum("1.50", "-1.5"), "0.00");
        assert_eq!(sum("9999.9999", "0.0001"), "10000.0000");
        assert_eq!(sum("-10000", "0.0001"), "-9999.9999");
        assert_eq!(sum("0.00", "5"), "5.00");
        assert_eq!(sum("Infinity", "-Infinity"), "NaN");
        assert_eq!(sum("Infinity", "-5"), "Infinity");
        assert_eq!(sum("-5", "NaN"), "NaN");
        assert_eq!(sum("-5", "-Infinity"), "-Infinity");
    }

    #[test]
    fn quotients_have_the_scale_of_postgres() {
        let average = |sum: &str, count| text(&decimal(sum).divide_by_count(count));
        assert_eq!(average("10", 4), "2.5000000000000000");
        assert_eq!(average("0", 3), "0.00000000000000000000");
        assert_eq!(average("1", 3), "0.33333333333333333333");
        assert_eq!(average("-2", 3), "-0.66666666666666666667");
        assert_eq!(average("NaN", 3), "NaN");
    }

    proptest! {
        #[test]
        fn sums_are_those_of_integers(a in -1_000_000_000_000_000i128..1_000_000_000_000_000, b in -1_000_000_000_000_000i128..1_000_000_000_000_000, shift in 0u32..9) {
            let unit = 10i128.pow(shift);
            let spell = |value: i128| {
                let sign = if value < 0 { "-" } else { "" };
                match shift {
                    0 => format!("{value}"),
                    _ => format!("{sign}{}.{:0width$}", value.abs() / unit, value.abs() % unit, width = shift as usize),
                }
            };
            prop_assert_eq!(sum(&spell(a), &spell(b)), spell(a + b));
            // The two wire forms say the same.
            let mut binary = BytesMut::new();
            decimal(&spell(a)).write(Format::Binary, &mut binary);
            prop_assert_eq!(Decimal::read(Format::Binary, &binary).unwrap(), decimal(&spell(a)));
        }

        #[test]
        fn a_step_of_a_division_is_that_of_wider_numbers(divisor in prop_oneof![1u64..1_000, any::<u64>().prop_map(|d| d.max(1))], rest: u64, group in 0..BASE) {
            let rest = rest % divisor;
            let part = u128::from(rest) * u128::from(BASE) + u128::from(group);
            let (quotient, left) = divide_step(rest, group, divisor);
            prop_assert_eq!((u128::from(quotient), u128::from(left)), (part / u128::from(divisor), part % u128::from(divisor)));
            prop_assert!(quotient < BASE);
        }

        #[test]
        fn integers_of_all_sizes_are_written_as_they_are(wide: i128, shift in 0u32..127) {
            let value = wide >> shift;
            let digits = format!("{:013}", value.unsigned_abs());
            let (whole, behind) = digits.split_at(digits.len() - 12);
            let sign = if value < 0 { "-" } else { "" };
            prop_assert_eq!(text(&Decimal::from_small(value, 12)), format!("{sign}{whole}.{behind}"));
        }

        #[test]
        fn quotients_are_rounded_half_away_from_zero(value: i64, count in 1..i64::MAX) {
            let quotient = text(&Decimal::from_i64(value).divide_by_count(count));
            let scale = quotient.split_once('.').map_or(0, |(_, frac)| frac.len());
            prop_assume!(scale <= 18);
            let scaled = i128::from(value.unsigned_abs()) * 10i128.pow(scale as u32);
            let rounded = (2 * scaled + i128::from(count)) / (2 * i128::from(count));
            let digits: i128 = quotient.replace(['.', '-'], "").parse().unwrap();
            prop_assert_eq!(digits, rounded);
        }
    }
}
