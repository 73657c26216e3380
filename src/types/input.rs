//! What Postgres's input functions make of a text: integers, booleans, uuid, bytea, inet. In doubt `Unsure`.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use crate::types::canonical::KeyError;

/// Without the blanks that the input functions of numbers, booleans and dates skip (C's `isspace`).
pub(super) fn trim(text: &str) -> &str {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'..=b'\r'));
    let bytes = text.as_bytes();
    if !blank(bytes.first()) && !blank(bytes.last()) {
        return text;
    }
    text.trim_matches([' ', '\t', '\n', '\x0b', '\x0c', '\r'])
}

/// `int2in`, `int4in`, `int8in`: blanks, one sign, decimal digits. What newer servers accept beside that is `Unsure`.
pub(super) fn integer(text: &str, min: i64, max: i64) -> Result<i64, KeyError> {
    let (negative, digits) = match trim(text).as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() {
        return Err(KeyError::Invalid);
    }
    // Counted downwards: the smallest value has no positive counterpart.
    let mut value = 0i64;
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                value = value
                    .checked_mul(10)
                    .and_then(|v| v.checked_sub(i64::from(byte - b'0')))
                    .ok_or(KeyError::Invalid)?;
            }
            // 0x1F, 0o17, 0b11 and 1_000 are refused by Postgres 15 and accepted since 16.
            b'_' | b'x' | b'X' | b'o' | b'O' | b'b' | b'B' => return Err(KeyError::Unsure),
            _ => return Err(KeyError::Invalid),
        }
    }
    let value = if negative { value } else { value.checked_neg().ok_or(KeyError::Invalid)? };
    if (min..=max).contains(&value) { Ok(value) } else { Err(KeyError::Invalid) }
}

/// `boolin`: any unique prefix of true, false, yes, no, on, off, or 1, 0.
pub(super) fn boolean(text: &str) -> Result<bool, KeyError> {
    let text = trim(text);
    let prefix_of = |word: &str| word.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text));
    match text.len() {
        0 => Err(KeyError::Invalid),
        1 if text == "1" => Ok(true),
        1 if text == "0" => Ok(false),
        _ if prefix_of("true") || prefix_of("yes") => Ok(true),
        _ if prefix_of("false") || prefix_of("no") => Ok(false),
        2.. if prefix_of("on") => Ok(true),
        2.. if prefix_of("off") => Ok(false),
        _ => Err(KeyError::Invalid),
    }
}

/// `uuid_in`: 32 hexadecimal digits, a hyphen allowed after each fourth, braces around the whole allowed, no blanks.
pub(super) fn uuid(text: &str) -> Result<[u8; 16], KeyError> {
    let mut rest = text.as_bytes();
    let braces = rest.first() == Some(&b'{');
    if braces {
        rest = &rest[1..];
    }
    let mut uuid = [0u8; 16];
    for (i, byte) in uuid.iter_mut().enumerate() {
        let [high, low, tail @ ..] = rest else { return Err(KeyError::Invalid) };
        *byte = hex_pair(*high, *low).ok_or(KeyError::Invalid)?;
        rest = match tail {
            [b'-', tail @ ..] if i % 2 == 1 && i < 15 => tail,
            tail => tail,
        };
    }
    match (braces, rest) {
        (true, [b'}']) | (false, []) => Ok(uuid),
        _ => Err(KeyError::Invalid),
    }
}

pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

pub(super) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    Some(hex_digit(high)? << 4 | hex_digit(low)?)
}

/// `byteain`: the hex format behind `\x`, else the escape format.
pub(super) fn bytea(text: &str) -> Result<Cow<'_, [u8]>, KeyError> {
    match text.as_bytes() {
        [b'\\', b'x', hex @ ..] => bytea_hex(hex).map(Cow::Owned),
        bytes if memchr::memchr(b'\\', bytes).is_none() => Ok(Cow::Borrowed(bytes)),
        bytes => bytea_escape(bytes).map(Cow::Owned),
    }
}

fn bytea_hex(mut hex: &[u8]) -> Result<Vec<u8>, KeyError> {
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    loop {
        hex = match hex {
            [] => return Ok(bytes),
            [b' ' | b'\n' | b'\t' | b'\r', rest @ ..] => rest,
            [high, low, rest @ ..] => {
                bytes.push(hex_pair(*high, *low).ok_or(KeyError::Invalid)?);
                rest
            }
            [_] => return Err(KeyError::Invalid),
        }
    }
}

fn bytea_escape(mut text: &[u8]) -> Result<Vec<u8>, KeyError> {
    let mut bytes = Vec::with_capacity(text.len());
    loop {
        text = match text {
            [] => return Ok(bytes),
            [b'\\', b'\\', rest @ ..] => {
                bytes.push(b'\\');
                rest
            }
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest
            }
            [b'\\', ..] => return Err(KeyError::Invalid),
            [byte, rest @ ..] => {
                bytes.push(*byte);
                rest
            }
        }
    }
}

/// Family (4 or 6), prefix length, address.
pub(super) type Inet = (u8, u8, [u8; 16]);

/// `inet_in`: dotted quads and IPv6, each with an optional prefix length. Abbreviated IPv4 and odd zeros are `Unsure`.
pub(super) fn inet(text: &str) -> Result<Inet, KeyError> {
    let possible = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'/');
    if text.is_empty() || !text.bytes().all(possible) {
        return Err(KeyError::Invalid);
    }
    let (host, prefix) = match text.split_once('/') {
        Some((host, prefix)) => (host, Some(plain_number(prefix, 128)?)),
        None => (text, None),
    };
    let mut address = [0u8; 16];
    let (family, full) = if host.contains(':') {
        address = host.parse::<Ipv6Addr>().map_err(|_| KeyError::Unsure)?.octets();
        (6, 128)
    } else {
        let mut parts = host.split('.');
        for octet in &mut address[..4] {
            *octet = plain_number(parts.next().ok_or(KeyError::Unsure)?, 255)?;
        }
        if parts.next().is_some() {
            return Err(KeyError::Unsure);
        }
        (4, 32)
    };
    match prefix.unwrap_or(full) {
        prefix if prefix <= full => Ok((family, prefix, address)),
        _ => Err(KeyError::Unsure),
    }
}

/// One to three digits without a leading zero, at most `max`.
fn plain_number(text: &str, max: u16) -> Result<u8, KeyError> {
    let plain = text.len() <= 3 && (text == "0" || !text.starts_with('0')) && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(number) if plain && number <= max => u8::try_from(number).map_err(|_| KeyError::Unsure),
        _ => Err(KeyError::Unsure),
    }
}
