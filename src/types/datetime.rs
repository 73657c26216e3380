//! Dates and timestamps in ISO spelling: days and microseconds since 2000-01-01. What depends on DateStyle or TimeZone is `Unsure`.

use std::fmt;

use crate::types::canonical::KeyError;
use crate::types::input::trim;

pub const DAY_MICROS: i64 = 86_400_000_000;
/// Of the year 1970, in days and microseconds since 2000-01-01.
const EPOCH_DAY: i32 = -10_957;

/// Days since 2000-01-01 of a date in the proleptic Gregorian calendar; the year before 1 is 0.
fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last of a year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 730_425
}

/// The inverse of [`days_from_date`].
fn date_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 730_425;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn month_length(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// What a spelling says, before the type decides what of it counts.
#[derive(Clone, Copy, Debug, Default)]
struct Stamp {
    days: i64,
    /// Microseconds since midnight; `None` when no time was written.
    time: Option<i64>,
    /// Seconds east of UTC.
    offset: Option<i64>,
}

enum Written {
    Infinity,
    NegativeInfinity,
    Epoch,
    Stamp(Stamp),
}

/// Reads ASCII forward; each step answers `None` where the text is not of the expected form.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn eat(&mut self, byte: u8) -> Option<()> {
        let rest = self.0.strip_prefix(&[byte])?;
        self.0 = rest;
        Some(())
    }

    /// A number of `min` to `max` digits (at most 9).
    fn number(&mut self, min: usize, max: usize) -> Option<i64> {
        let mut value = 0;
        let mut count = 0;
        while let Some(digit @ b'0'..=b'9') = self.0.get(count) {
            if count == max {
                return None;
            }
            value = value * 10 + i64::from(digit - b'0');
            count += 1;
        }
        self.0 = self.0.get(count..)?;
        (count >= min).then_some(value)
    }

    /// `HH:MM[:SS[.ffffff]]`, in microseconds; up to 24:00:00.
    fn time(&mut self) -> Option<i64> {
        let hours = self.number(2, 2)?;
        self.eat(b':')?;
        let minutes = self.number(2, 2)?;
        let mut seconds = 0;
        let mut micros = 0;
        if self.eat(b':').is_some() {
            seconds = self.number(2, 2)?;
            if self.eat(b'.').is_some() {
                let before = self.0.len();
                micros = self.number(1, 6)?;
                let width = before - self.0.len();
                micros *= 10i64.pow(6 - u32::try_from(width).ok()?);
            }
        }
        let total = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros;
        (minutes < 60 && seconds < 60 && total <= DAY_MICROS).then_some(total)
    }

    /// `Z`, `+HH`, `+HHMM`, `+HH:MM`, `+HH:MM:SS`, in seconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.0 {
            [b'Z' | b'z', rest @ ..] => {
                self.0 = rest;
                return Some(0);
            }
            [b'+', ..] => 1,
            [b'-', ..] => -1,
            _ => return None,
        };
        self.0 = &self.0[1..];
        let mut hours = self.number(2, 4)?;
        let (mut minutes, mut seconds) = (0, 0);
        if hours >= 100 {
            (hours, minutes) = (hours / 100, hours % 100);
        } else if self.eat(b':').is_some() {
            minutes = self.number(2, 2)?;
            if self.eat(b':').is_some() {
                seconds = self.number(2, 2)?;
            }
        }
        (hours <= 15 && minutes < 60 && seconds < 60).then_some(sign * ((hours * 60 + minutes) * 60 + seconds))
    }
}

/// A spelling of a date or timestamp that means the same under every DateStyle and TimeZone.
fn read(text: &str) -> Result<Written, KeyError> {
    let text = trim(text);
    for (word, meaning) in
        [("infinity", Written::Infinity), ("-infinity", Written::NegativeInfinity), ("epoch", Written::Epoch)]
    {
        if text.eq_ignore_ascii_case(word) {
            return Ok(meaning);
        }
    }
    let mut cursor = Cursor(text.as_bytes());
    let date = (|| {
        let year = cursor.number(4, 4)?;
        cursor.eat(b'-')?;
        let month = cursor.number(1, 2)?;
        cursor.eat(b'-')?;
        Some((year, month, cursor.number(1, 2)?))
    })();
    let (year, month, day) = date.ok_or(KeyError::Unsure)?;
    let mut stamp = Stamp::default();
    if !cursor.0.is_empty() {
        (stamp.time, stamp.offset) = clock(cursor.0).ok_or(KeyError::Unsure)?;
    }
    if year == 0 || !(1..=12).contains(&month) || day < 1 || day > month_length(year, month) {
        return Err(KeyError::Invalid);
    }
    stamp.days = days_from_date(year, month, day);
    Ok(Written::Stamp(stamp))
}

/// What may follow the date: `T` or blanks, a time, an offset.
fn clock(rest: &[u8]) -> Option<(Option<i64>, Option<i64>)> {
    let mut cursor = Cursor(match rest {
        [b'T' | b't', rest @ ..] => rest,
        [b' ', rest @ ..] => rest,
        _ => return None,
    });
    // Midnight written as 24:00:00 is the next day for a timestamp and the same day for a date.
    let time = cursor.time().filter(|time| *time < DAY_MICROS)?;
    if cursor.0.is_empty() {
        return Some((Some(time), None));
    }
    let _ = cursor.eat(b' ');
    let offset = cursor.offset()?;
    cursor.0.is_empty().then_some((Some(time), Some(offset)))
}

/// `date_in`. A time of day and its offset are read and dropped, as Postgres does.
pub(super) fn date(text: &str) -> Result<i32, KeyError> {
    match read(text)? {
        Written::Infinity => Ok(i32::MAX),
        Written::NegativeInfinity => Ok(i32::MIN),
        Written::Epoch => Ok(EPOCH_DAY),
        Written::Stamp(stamp) => i32::try_from(stamp.days).map_err(|_| KeyError::Unsure),
    }
}

/// `timestamp_in`. An offset is read and dropped, as Postgres does.
pub(super) fn timestamp(text: &str) -> Result<i64, KeyError> {
    match read(text)? {
        Written::Infinity => Ok(i64::MAX),
        Written::NegativeInfinity => Ok(i64::MIN),
        Written::Epoch => Ok(i64::from(EPOCH_DAY) * DAY_MICROS),
        Written::Stamp(stamp) => Ok(stamp.days * DAY_MICROS + stamp.time.unwrap_or(0)),
    }
}

/// `timestamptz_in`; without an offset it depends on the session.
pub(super) fn timestamptz(text: &str) -> Result<i64, KeyError> {
    match read(text)? {
        Written::Stamp(stamp) => {
            let offset = stamp.offset.ok_or(KeyError::Unsure)?;
            Ok(stamp.days * DAY_MICROS + stamp.time.unwrap_or(0) - offset * 1_000_000)
        }
        _ => timestamp(text),
    }
}

/// What the servers print under DateStyle ISO: any year, ` BC`, an offset for timestamptz. `None` for anything else.
fn printed(bytes: &[u8]) -> Option<Stamp> {
    let (bytes, before_christ) = match bytes.strip_suffix(b" BC") {
        Some(bytes) => (bytes, true),
        None => (bytes, false),
    };
    let mut cursor = Cursor(bytes);
    let year = cursor.number(4, 7)?;
    let year = if before_christ { 1 - year } else { year };
    cursor.eat(b'-')?;
    let month = cursor.number(2, 2)?;
    cursor.eat(b'-')?;
    let day = cursor.number(2, 2)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let mut stamp = Stamp { days: days_from_date(year, month, day), ..Stamp::default() };
    if cursor.eat(b' ').is_some() {
        stamp.time = Some(cursor.time()?);
        if !cursor.0.is_empty() {
            stamp.offset = Some(cursor.offset()?);
        }
    }
    cursor.0.is_empty().then_some(stamp)
}

/// A date as the servers print it under DateStyle ISO.
pub fn printed_date(bytes: &[u8]) -> Option<i64> {
    match bytes {
        b"infinity" => Some(i64::MAX),
        b"-infinity" => Some(i64::MIN),
        _ => printed(bytes).filter(|stamp| stamp.time.is_none()).map(|stamp| stamp.days),
    }
}

/// A timestamp (`zoned`: timestamptz) as the servers print it under DateStyle ISO.
pub fn printed_timestamp(bytes: &[u8], zoned: bool) -> Option<i64> {
    match bytes {
        b"infinity" => Some(i64::MAX),
        b"-infinity" => Some(i64::MIN),
        _ => {
            let stamp = printed(bytes).filter(|stamp| stamp.offset.is_some() == zoned)?;
            stamp
                .days
                .checked_mul(DAY_MICROS)?
                .checked_add(stamp.time?)?
                .checked_sub(stamp.offset.unwrap_or(0) * 1_000_000)
        }
    }
}

/// A time of day (`time without time zone`) as the servers print it.
pub fn printed_time(bytes: &[u8]) -> Option<i64> {
    let mut cursor = Cursor(bytes);
    let time = cursor.time()?;
    cursor.0.is_empty().then_some(time)
}

pub(super) fn write_date(f: &mut fmt::Formatter<'_>, days: i32) -> fmt::Result {
    match days {
        i32::MAX => f.write_str("infinity"),
        i32::MIN => f.write_str("-infinity"),
        _ => {
            let suffix = write_day(f, i64::from(days))?;
            f.write_str(suffix)
        }
    }
}

pub(super) fn write_timestamp(f: &mut fmt::Formatter<'_>, micros: i64) -> fmt::Result {
    match micros {
        i64::MAX => f.write_str("infinity"),
        i64::MIN => f.write_str("-infinity"),
        _ => {
            let suffix = write_day(f, micros.div_euclid(DAY_MICROS))?;
            let time = micros.rem_euclid(DAY_MICROS);
            let (seconds, fraction) = (time / 1_000_000, time % 1_000_000);
            write!(f, " {:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
            if fraction != 0 {
                write!(f, "{}", format!(".{fraction:06}").trim_end_matches('0'))?;
            }
            f.write_str(suffix)
        }
    }
}

/// Writes the day and returns what stands at the very end.
fn write_day(f: &mut fmt::Formatter<'_>, days: i64) -> Result<&'static str, fmt::Error> {
    let (year, month, day) = date_from_days(days);
    let (year, suffix) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    write!(f, "{year:04}-{month:02}-{day:02}")?;
    Ok(suffix)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn days_and_dates_are_inverse_over_all_that_postgres_stores() {
        assert_eq!(days_from_date(2000, 1, 1), 0);
        assert_eq!(days_from_date(1970, 1, 1), i64::from(EPOCH_DAY));
        for days in (-2_451_545i64..2_145_031_949).step_by(99_991).chain(-1_000_000..-990_000).chain(-800..800) {
            let (year, month, day) = date_from_days(days);
            assert!((1..=12).contains(&month) && day >= 1 && day <= month_length(year, month), "{year}-{month}-{day}");
            assert_eq!(days_from_date(year, month, day), days);
        }
    }

    #[test]
    fn a_date_carries_its_time_away_and_a_timestamp_its_offset() {
        assert_eq!(date("2000-01-02T23:59:59+14"), Ok(1));
        assert_eq!(timestamp(" 2000-01-01 00:00:01.5-05 "), Ok(1_500_000));
        assert_eq!(timestamptz("2000-01-01 00:00:01-00:30"), Ok(1_801_000_000));
        assert_eq!(timestamptz("2000-01-01 00:00:01"), Err(KeyError::Unsure));
        assert_eq!(timestamp("2000-01-01 24:00:00"), Err(KeyError::Unsure));
        assert_eq!(date("01/02/2000"), Err(KeyError::Unsure));
        assert_eq!(date("2001-02-29"), Err(KeyError::Invalid));
    }
}
