//! Value of a column type -> canonical bytes -> token; the only door to murmur3.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use crate::ids::{Oid, Token};
use crate::types::{Collation, Format, KeyType, datetime, input, numeric, oid};

/// A sharding-key value, freed of its spelling: equal in Postgres if and only if equal here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyValue<'a> {
    Null,
    Int(i64),
    /// text, varchar; bpchar without its trailing blanks.
    Text(Cow<'a, str>),
    Uuid([u8; 16]),
    /// Days since 2000-01-01; `i32::MAX` and `i32::MIN` are the infinities.
    Date(i32),
    /// Microseconds since 2000-01-01, without (timestamp) or in UTC (timestamptz); `i64::MAX` and `i64::MIN` are the infinities.
    Timestamp(i64),
    /// Canonical decimal text: no trailing fraction zeros, no leading zeros, no `+`, no `-0`; `NaN`, `Infinity`, `-Infinity`.
    Numeric(Cow<'a, str>),
    Bytea(Cow<'a, [u8]>),
    Bool(bool),
    /// Family (4 or 6), prefix length, address bytes (4 or 16 used, the others zero).
    Inet {
        family: u8,
        prefix: u8,
        address: [u8; 16],
    },
}

/// Why a literal or parameter did not become a [`KeyValue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Postgres would accept or refuse it, but we cannot tell with certainty what it means (depends on DateStyle,
    /// TimeZone, a spelling we do not model): a read widens, a write is refused.
    Unsure,
    /// Postgres itself raises an error for it (`22P02` and the like), with its own operators and casts: any shard will raise it.
    Invalid,
    /// A well-formed value that no value of the column type equals (`int_column = 3000000000`, `= 1.5`): no row matches.
    NoMatch,
}

impl KeyType {
    /// An untyped string literal (`'05'`) or a text-format parameter, converted as the type's input function would.
    ///
    /// The text must be in UTF-8 for the client, too: a router that does not know `client_encoding` must not ask.
    pub fn parse_text<'a>(self, text: &'a str) -> Result<KeyValue<'a>, KeyError> {
        let parsed = match self {
            Self::Int2 => input::integer(text, i16::MIN.into(), i16::MAX.into()).map(KeyValue::Int),
            Self::Int4 => input::integer(text, i32::MIN.into(), i32::MAX.into()).map(KeyValue::Int),
            Self::Int8 => input::integer(text, i64::MIN, i64::MAX).map(KeyValue::Int),
            // No text in Postgres contains a zero byte.
            Self::Text | Self::Varchar | Self::Bpchar if memchr::memchr(0, text.as_bytes()).is_some() => {
                Err(KeyError::Invalid)
            }
            Self::Text | Self::Varchar => Ok(KeyValue::Text(Cow::Borrowed(text))),
            Self::Bpchar => Ok(KeyValue::Text(Cow::Borrowed(text.trim_end_matches(' ')))),
            Self::Uuid => input::uuid(text).map(KeyValue::Uuid),
            Self::Date => datetime::date(text).map(KeyValue::Date),
            Self::Timestamp => datetime::timestamp(text).map(KeyValue::Timestamp),
            Self::Timestamptz => datetime::timestamptz(text).map(KeyValue::Timestamp),
            Self::Numeric => numeric::input(text).map(KeyValue::Numeric),
            Self::Bytea => input::bytea(text).map(KeyValue::Bytea),
            Self::Bool => input::boolean(text).map(KeyValue::Bool),
            Self::Inet => input::inet(text).map(|(family, prefix, address)| KeyValue::Inet { family, prefix, address }),
        };
        match parsed {
            // What counts as a blank outside ASCII is the server's locale's business.
            Err(KeyError::Invalid) if !text.is_ascii() => Err(KeyError::Unsure),
            parsed => parsed,
        }
    }

    /// A numeric literal as the scanner saw it (`5`, `5.0`, `1e3`, `0x1F`), negated where a minus stood before it, compared with
    /// a column of this type by `=`.
    pub fn parse_number<'a>(self, digits: &'a str, negative: bool) -> Result<KeyValue<'a>, KeyError> {
        match self {
            Self::Int2 | Self::Int4 | Self::Int8 => match small_integer(digits, negative) {
                Some(value) => self.integer(value),
                None => self.integer_of_decimal(&numeric::literal(digits, negative)?),
            },
            Self::Numeric => numeric::literal(digits, negative).map(KeyValue::Numeric),
            // There is no `=` between a number and any of these.
            Self::Text
            | Self::Varchar
            | Self::Bpchar
            | Self::Uuid
            | Self::Date
            | Self::Timestamp
            | Self::Timestamptz
            | Self::Bytea
            | Self::Bool
            | Self::Inet => Err(KeyError::Invalid),
        }
    }

    /// A numeric literal as [`Self::parse_number`] takes it, ASSIGNED to a column of this type (INSERT, UPDATE SET): rounded
    /// as the cast rounds it, `Invalid` when out of range. Pass the result through [`Self::stored`].
    pub fn assign_number<'a>(self, digits: &'a str, negative: bool) -> Result<KeyValue<'a>, KeyError> {
        match self {
            Self::Int2 | Self::Int4 | Self::Int8 => match self.parse_number(digits, negative) {
                Err(KeyError::NoMatch) => {
                    let rounded = numeric::round(&numeric::literal(digits, negative)?, 0);
                    self.integer_of_decimal(&rounded).map_err(|_| KeyError::Invalid).map(KeyValue::into_owned)
                }
                parsed => parsed,
            },
            Self::Numeric => self.parse_number(digits, negative),
            // Anything may be assigned to text, in the spelling of its own output function.
            Self::Text | Self::Varchar | Self::Bpchar => match small_integer(digits, negative) {
                Some(value) => Ok(KeyValue::Text(Cow::Owned(value.to_string()))),
                None => Err(KeyError::Unsure),
            },
            Self::Uuid | Self::Date | Self::Timestamp | Self::Timestamptz | Self::Bytea | Self::Bool | Self::Inet => {
                Err(KeyError::Unsure)
            }
        }
    }

    /// A value of type `oid` (a typed parameter, a cast literal) in the given wire format, compared with a column of this type by `=`.
    ///
    /// `oid` 0 or `unknown`: Postgres infers the type. It is the column's own if the comparison with the column is the
    /// parameter's first use in the statement, and the caller must know that.
    pub fn parse_typed<'a>(self, oid: Oid, format: Format, bytes: &'a [u8]) -> Result<KeyValue<'a>, KeyError> {
        let inferred = oid == 0 || oid == oid::UNKNOWN;
        let from = match oid {
            _ if inferred => self,
            oid::NAME => Self::Text,
            oid::CIDR => Self::Inet,
            oid => Self::from_oid(oid).ok_or(KeyError::Unsure)?,
        };
        match (oid, format) {
            // namein cuts at 63 bytes; cidrin has abbreviations of its own.
            (oid::NAME, _) if bytes.len() > 63 => return Err(KeyError::Unsure),
            (oid::CIDR, Format::Text) => return Err(KeyError::Unsure),
            _ => {}
        }
        let value = match format {
            Format::Text => match from.plain_integer(bytes) {
                Some(value) => KeyValue::Int(value),
                None => from.parse_text(std::str::from_utf8(bytes).map_err(|_| KeyError::Unsure)?)?,
            },
            Format::Binary => match from.parse_binary(bytes) {
                // The sender may know better than we what type was inferred.
                Err(KeyError::Invalid) if inferred => return Err(KeyError::Unsure),
                parsed => parsed?,
            },
        };
        if from == self { Ok(value) } else { self.adopt(from, oid, value) }
    }

    /// What a column of this type equals when it is compared with `value` of type `from`.
    fn adopt<'a>(self, from: Self, oid: Oid, value: KeyValue<'a>) -> Result<KeyValue<'a>, KeyError> {
        use KeyType as T;
        match (self, from, value) {
            (T::Int2 | T::Int4 | T::Int8, T::Int2 | T::Int4 | T::Int8, KeyValue::Int(value)) => self.integer(value),
            (T::Int2 | T::Int4 | T::Int8, T::Numeric, KeyValue::Numeric(text)) => {
                self.integer_of_decimal(&text).map(KeyValue::into_owned)
            }
            (T::Numeric, T::Int2 | T::Int4 | T::Int8, KeyValue::Int(value)) => {
                Ok(KeyValue::Numeric(Cow::Owned(value.to_string())))
            }
            (T::Text | T::Varchar, T::Text | T::Varchar, value) => Ok(value),
            // texteq or bpchareq, depending on the types: they agree on values without trailing blanks.
            (T::Bpchar, T::Text | T::Varchar, KeyValue::Text(text)) if !text.ends_with(' ') && oid != oid::NAME => {
                Ok(KeyValue::Text(text))
            }
            _ => Err(KeyError::Unsure),
        }
    }

    /// The binary format of the type (Postgres: its receive function).
    fn parse_binary<'a>(self, bytes: &'a [u8]) -> Result<KeyValue<'a>, KeyError> {
        fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], KeyError> {
            bytes.try_into().map_err(|_| KeyError::Invalid)
        }
        match self {
            Self::Int2 => Ok(KeyValue::Int(i16::from_be_bytes(exactly(bytes)?).into())),
            Self::Int4 => Ok(KeyValue::Int(i32::from_be_bytes(exactly(bytes)?).into())),
            Self::Int8 => Ok(KeyValue::Int(i64::from_be_bytes(exactly(bytes)?))),
            // Sent in the client's encoding, as in text format.
            Self::Text | Self::Varchar | Self::Bpchar => {
                self.parse_text(std::str::from_utf8(bytes).map_err(|_| KeyError::Unsure)?)
            }
            Self::Uuid => Ok(KeyValue::Uuid(exactly(bytes)?)),
            Self::Date => match i32::from_be_bytes(exactly(bytes)?) {
                days @ (i32::MIN | i32::MAX | -2_451_545..2_145_031_949) => Ok(KeyValue::Date(days)),
                _ => Err(KeyError::Invalid),
            },
            Self::Timestamp | Self::Timestamptz => match i64::from_be_bytes(exactly(bytes)?) {
                micros @ (i64::MIN | i64::MAX | -211_813_488_000_000_000..9_223_371_331_200_000_000) => {
                    Ok(KeyValue::Timestamp(micros))
                }
                _ => Err(KeyError::Invalid),
            },
            Self::Numeric => numeric::received(bytes).map(|text| KeyValue::Numeric(Cow::Owned(text))),
            Self::Bytea => Ok(KeyValue::Bytea(Cow::Borrowed(bytes))),
            Self::Bool => Ok(KeyValue::Bool(exactly::<1>(bytes)? != [0])),
            Self::Inet => inet_received(bytes),
        }
    }

    /// Nothing but digits, and not too many, as nearly all integers are sent; `None` says nothing.
    pub fn plain_integer(self, text: &[u8]) -> Option<i64> {
        if !matches!(self, Self::Int2 | Self::Int4 | Self::Int8) || !(1..=18).contains(&text.len()) {
            return None;
        }
        let value = text
            .iter()
            .try_fold(0, |value: i64, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))?;
        self.integer(value).is_ok().then_some(value)
    }

    fn integer<'a>(self, value: i64) -> Result<KeyValue<'a>, KeyError> {
        let fits = match self {
            Self::Int2 => i16::try_from(value).is_ok(),
            Self::Int4 => i32::try_from(value).is_ok(),
            _ => true,
        };
        if fits { Ok(KeyValue::Int(value)) } else { Err(KeyError::NoMatch) }
    }

    /// From canonical decimal text: fractions, infinities and NaN equal no integer.
    fn integer_of_decimal<'a>(self, text: &str) -> Result<KeyValue<'a>, KeyError> {
        self.integer(text.parse().map_err(|_| KeyError::NoMatch)?)
    }

    /// What a column of this type and type modifier (`pg_attribute.atttypmod`, -1 for none) holds after `value` was
    /// assigned to it: varchar(n) loses blanks beyond n, numeric(p,s) and timestamp(p) round. `Invalid`: it does not fit.
    pub fn stored<'a>(self, value: KeyValue<'a>, typmod: i32) -> Result<KeyValue<'a>, KeyError> {
        if typmod < 0 {
            return Ok(value);
        }
        match (self, value) {
            (Self::Varchar | Self::Bpchar, KeyValue::Text(text)) if typmod >= 4 => {
                let limit = usize::try_from(typmod - 4).map_err(|_| KeyError::Unsure)?;
                let Some((end, _)) = text.char_indices().nth(limit) else { return Ok(KeyValue::Text(text)) };
                if !text[end..].bytes().all(|b| b == b' ') {
                    return Err(KeyError::Invalid);
                }
                Ok(KeyValue::Text(match text {
                    Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
                    Cow::Owned(text) => Cow::Owned(text[..end].to_owned()),
                }))
            }
            (Self::Numeric, KeyValue::Numeric(text)) if typmod >= 4 => {
                let precision = (typmod - 4) >> 16 & 0xFFFF;
                // Eleven bits, signed.
                let scale = (((typmod - 4) & 0x7FF) ^ 0x400) - 0x400;
                match &*text {
                    "NaN" => return Ok(KeyValue::Numeric(text)),
                    "Infinity" | "-Infinity" => return Err(KeyError::Invalid),
                    _ => {}
                }
                let rounded = numeric::round(&text, scale);
                let magnitude = rounded.trim_start_matches('-');
                let int = magnitude.split('.').next().unwrap_or(magnitude).trim_start_matches('0').len();
                let frac_zeros = magnitude.strip_prefix("0.").map_or(0, |f| f.len() - f.trim_start_matches('0').len());
                // With a scale beyond the precision, zeros must follow the point.
                let used = if int > 0 { int as i64 } else { -(frac_zeros as i64) };
                if rounded != "0" && used > i64::from(precision - scale) {
                    return Err(KeyError::Invalid);
                }
                Ok(KeyValue::Numeric(Cow::Owned(rounded)))
            }
            (Self::Timestamp | Self::Timestamptz, KeyValue::Timestamp(micros)) if typmod < 6 => {
                if micros == i64::MAX || micros == i64::MIN {
                    return Ok(KeyValue::Timestamp(micros));
                }
                let unit = 10i64.pow(6 - typmod.unsigned_abs());
                let rounded = (micros.unsigned_abs().saturating_add(unit.unsigned_abs() / 2) / unit.unsigned_abs())
                    .saturating_mul(unit.unsigned_abs());
                let rounded = i64::try_from(rounded).map_err(|_| KeyError::Unsure)?;
                Ok(KeyValue::Timestamp(if micros < 0 { -rounded } else { rounded }))
            }
            (_, value) => Ok(value),
        }
    }
}

/// Plain digits that fit into an int8; the usual literal.
fn small_integer(digits: &str, negative: bool) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    let value = digits.bytes().try_fold(0i64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_sub(i64::from(byte - b'0')),
        _ => None,
    })?;
    if negative { Some(value) } else { value.checked_neg() }
}

/// `inet_recv` and `cidr_recv`: family, prefix length, a flag that does not count, the address with its length.
fn inet_received<'a>(bytes: &[u8]) -> Result<KeyValue<'a>, KeyError> {
    let (family, prefix, rest) = match bytes {
        [2, prefix @ 0..=32, _, 4, rest @ ..] if rest.len() == 4 => (4, *prefix, rest),
        [3, prefix @ 0..=128, _, 16, rest @ ..] if rest.len() == 16 => (6, *prefix, rest),
        _ => return Err(KeyError::Invalid),
    };
    let mut address = [0; 16];
    address[..rest.len()].copy_from_slice(rest);
    Ok(KeyValue::Inet { family, prefix, address })
}

/// Room for the canonical bytes of every value that does not hold them itself.
type Scratch = [u8; 18];

impl KeyValue<'_> {
    /// The canonical bytes, in `scratch` or in the value itself; `None` for NULL.
    fn canonical<'s>(&'s self, scratch: &'s mut Scratch) -> Option<&'s [u8]> {
        let mut put = |bytes: &[u8]| {
            scratch[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        };
        let used = match self {
            Self::Null => return None,
            Self::Text(text) | Self::Numeric(text) => return Some(text.as_bytes()),
            Self::Bytea(bytes) => return Some(bytes),
            Self::Uuid(bytes) => return Some(bytes),
            Self::Int(value) | Self::Timestamp(value) => put(&value.to_be_bytes()),
            Self::Date(days) => put(&days.to_be_bytes()),
            Self::Bool(value) => put(&[u8::from(*value)]),
            Self::Inet { family, prefix, address } => {
                let length = if *family == 4 { 4 } else { 16 };
                scratch[..2].copy_from_slice(&[*family, *prefix]);
                scratch[2..18].copy_from_slice(address);
                2 + length
            }
        };
        Some(&scratch[..used])
    }

    /// The canonical bytes that a key is hashed by; `None` for NULL.
    pub fn canonical_bytes(&self) -> Option<Vec<u8>> {
        self.canonical(&mut [0; 18]).map(<[u8]>::to_vec)
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The same value, borrowing nothing.
    pub fn into_owned(self) -> KeyValue<'static> {
        match self {
            Self::Null => KeyValue::Null,
            Self::Int(value) => KeyValue::Int(value),
            Self::Text(text) => KeyValue::Text(Cow::Owned(text.into_owned())),
            Self::Uuid(bytes) => KeyValue::Uuid(bytes),
            Self::Date(days) => KeyValue::Date(days),
            Self::Timestamp(micros) => KeyValue::Timestamp(micros),
            Self::Numeric(text) => KeyValue::Numeric(Cow::Owned(text.into_owned())),
            Self::Bytea(bytes) => KeyValue::Bytea(Cow::Owned(bytes.into_owned())),
            Self::Bool(value) => KeyValue::Bool(value),
            Self::Inet { family, prefix, address } => KeyValue::Inet { family, prefix, address },
        }
    }

    /// Postgres's order of two values of one key type, text under `collation`. `None`: a NULL, values of different types,
    /// or an order that is not ours to know. Range maps pass [`Collation::Bytes`]: their text boundaries are in byte order,
    /// and a comparison in SQL may be narrowed by them only where the column's own collation has that order.
    pub fn compare(&self, other: &KeyValue<'_>, collation: Collation) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), KeyValue::Int(b)) | (Self::Timestamp(a), KeyValue::Timestamp(b)) => Some(a.cmp(b)),
            (Self::Text(a), KeyValue::Text(b)) => match collation {
                Collation::Bytes => Some(a.as_bytes().cmp(b.as_bytes())),
                Collation::None | Collation::Deterministic | Collation::Nondeterministic => None,
            },
            (Self::Uuid(a), KeyValue::Uuid(b)) => Some(a.cmp(b)),
            (Self::Date(a), KeyValue::Date(b)) => Some(a.cmp(b)),
            (Self::Numeric(a), KeyValue::Numeric(b)) => numeric::compare_canonical(a, b),
            (Self::Bytea(a), KeyValue::Bytea(b)) => Some(a.cmp(b)),
            (Self::Bool(a), KeyValue::Bool(b)) => Some(a.cmp(b)),
            (
                Self::Inet { family: f1, prefix: p1, address: a1 },
                KeyValue::Inet { family: f2, prefix: p2, address: a2 },
            ) => Some(f1.cmp(f2).then_with(|| {
                // The common part of the networks first, then the shorter prefix, then the host.
                let (a1, a2) = (u128::from_be_bytes(*a1), u128::from_be_bytes(*a2));
                let hidden = 128 - u32::from(*p1.min(p2));
                let network = |address: u128| address.checked_shr(hidden).unwrap_or(0);
                network(a1).cmp(&network(a2)).then(p1.cmp(p2)).then(a1.cmp(&a2))
            })),
            _ => None,
        }
    }
}

/// The value as a reader of messages knows it from Postgres: strings quoted, the rest bare.
impl fmt::Display for KeyValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Self::Uuid(bytes) => {
                for (i, byte) in bytes.iter().enumerate() {
                    let hyphen = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
                    write!(f, "{hyphen}{byte:02x}")?;
                }
                Ok(())
            }
            Self::Date(days) => datetime::write_date(f, *days),
            Self::Timestamp(micros) => datetime::write_timestamp(f, *micros),
            Self::Numeric(text) => f.write_str(text),
            Self::Bytea(bytes) => {
                f.write_str("\\x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Bool(value) => write!(f, "{value}"),
            Self::Inet { family: 4, prefix, address: [a, b, c, d, ..] } => write!(f, "{a}.{b}.{c}.{d}/{prefix}"),
            Self::Inet { prefix, address, .. } => write!(f, "{}/{prefix}", std::net::Ipv6Addr::from(*address)),
        }
    }
}

/// The token of a key of one or more columns: first 64 bits of murmur3 x64_128, seed 0, over the canonical bytes.
/// One column: its bytes alone. Several: each preceded by its length as 4 bytes big-endian. `None` when a column is NULL
/// or there is none.
///
/// "First": the hash is a pair of 64-bit words (h1, h2), written as 16 bytes h1 before h2; the token is h1, which the crate
/// returns as the low half of a u128.
pub fn token(key: &[KeyValue<'_>]) -> Option<Token> {
    match key {
        [] => None,
        [value] => hash(value.canonical(&mut [0; 18])?),
        values => {
            let mut joined: smallvec::SmallVec<[u8; 128]> = smallvec::SmallVec::new();
            for value in values {
                let mut scratch = [0; 18];
                let bytes = value.canonical(&mut scratch)?;
                joined.extend_from_slice(&u32::try_from(bytes.len()).ok()?.to_be_bytes());
                joined.extend_from_slice(bytes);
            }
            hash(&joined)
        }
    }
}

fn hash(mut bytes: &[u8]) -> Option<Token> {
    if let Some(token) = short_hash(bytes) {
        return Some(token);
    }
    // Reading from a slice cannot fail.
    let digest = murmur3::murmur3_x64_128(&mut bytes, 0).ok()?;
    Some(Token(digest as u64))
}

/// The same for less than one block, as numbers, dates and short texts are: there the function is its tail and its end, and the reader that
/// the crate wants costs more than either. `None`: it is longer.
fn short_hash(bytes: &[u8]) -> Option<Token> {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix = |mut h: u64| {
        h = (h ^ (h >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        h = (h ^ (h >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        h ^ (h >> 33)
    };
    let length = u64::try_from(bytes.len()).ok().filter(|length| *length < 16)?;
    let mut block = [0; 16];
    block.get_mut(..bytes.len())?.copy_from_slice(bytes);
    // What is not there is 0, and 0 changes nothing.
    let block = u128::from_le_bytes(block);
    let (low, high) = (block as u64, (block >> 64) as u64);
    let (mut h1, mut h2) = (
        low.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2) ^ length,
        high.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1) ^ length,
    );
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    Some(Token(mix(h1).wrapping_add(mix(h2))))
}

#[cfg(test)]
mod tests;
