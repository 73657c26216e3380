//! Encodings that the rows of a COPY can be in (Postgres: `pg_encname_tbl`), and where their characters end (`src/common/wchar.c`).

/// An encoding other than UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEncoding {
    /// As written, for Postgres.
    pub name: Box<str>,
    pub characters: Characters,
}

/// How the bytes of an encoding make characters. Bytes below 128 that begin one are ASCII in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Characters {
    Single,
    /// All bytes of a character of several are above 127.
    Euc,
    EucTw,
    /// Here and below, a byte behind the first one can be ASCII, too.
    Sjis,
    /// BIG5, GBK, UHC: a byte above 127 and another one.
    Pairs,
    Gb18030,
}

/// What some bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// A character of so many bytes; it need not be one that the encoding has.
    Whole(usize),
    /// The beginning of one.
    More,
    /// Nothing that a Postgres would take.
    Broken,
}

/// The second of two bytes is not below that, in any character that has a meaning.
const LEAST_OF_PAIR: u8 = 0x40;

/// An encoding's name as it is given in ENCODING; of aliases letters and digits count alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// UTF-8, or SQL_ASCII, whose bytes are taken for those of the database.
    Utf8,
    Other(FileEncoding),
    Unknown,
}

/// Whether it is SQL_ASCII, in which every byte is a character.
pub fn is_ascii(name: &str) -> bool {
    plain(name) == "sqlascii"
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

pub fn named(name: &str) -> Named {
    let plain = plain(name);
    let windows = plain.strip_prefix("windows").or_else(|| plain.strip_prefix("win"));
    let page = windows.is_some_and(|page| matches!(page, "866" | "874") || page.len() == 4 && page.starts_with("125"));
    let characters = match &*plain {
        "utf8" | "unicode" | "sqlascii" => return Named::Utf8,
        "sjis" | "mskanji" | "shiftjis" | "win932" | "windows932" | "shiftjis2004" => Characters::Sjis,
        "big5" | "win950" | "windows950" | "gbk" | "win936" | "windows936" | "uhc" | "win949" | "windows949" => {
            Characters::Pairs
        }
        "gb18030" => Characters::Gb18030,
        "euctw" => Characters::EucTw,
        "euccn" | "eucjp" | "eucjis2004" | "euckr" | "johab" => Characters::Euc,
        "muleinternal" | "abc" | "alt" | "tcvn" | "tcvn5712" | "vscii" | "win" => Characters::Single,
        plain if page || ["latin", "iso8859", "koi8"].iter().any(|family| plain.starts_with(family)) => {
            Characters::Single
        }
        _ => return Named::Unknown,
    };
    Named::Other(FileEncoding { name: name.into(), characters })
}

impl Characters {
    /// Whether a byte below 128 can be a part of another character.
    pub fn hide_ascii(self) -> bool {
        matches!(self, Self::Sjis | Self::Pairs | Self::Gb18030)
    }

    /// What these bytes begin with.
    pub fn first(self, bytes: &[u8]) -> First {
        let Some(lead) = bytes.first().copied() else { return First::More };
        if lead < 0x80 {
            return First::Whole(1);
        }
        match self {
            Self::Single => First::Whole(1),
            Self::Euc => whole(bytes, if lead == 0x8f { 3 } else { 2 }),
            Self::EucTw => {
                whole(bytes, [(0x8e, 4), (0x8f, 3)].iter().find(|(of, _)| *of == lead).map_or(2, |(_, n)| *n))
            }
            // `pg_sjis_verifychar`
            Self::Sjis => match (lead, bytes.get(1)) {
                (0xa1..=0xdf, _) => First::Whole(1),
                (0x80 | 0xa0 | 0xfd..=0xff, _) | (_, Some(0..0x40 | 0x7f | 0xfd..=0xff)) => First::Broken,
                (_, None) => First::More,
                (_, Some(_)) => First::Whole(2),
            },
            Self::Pairs => match bytes.get(1) {
                None => First::More,
                Some(..LEAST_OF_PAIR) => First::Broken,
                Some(_) => First::Whole(2),
            },
            // `pg_gb18030_verifychar`
            Self::Gb18030 => match (lead, bytes.get(1), bytes.get(2), bytes.get(3)) {
                (0x80 | 0xff, ..) => First::Broken,
                (_, None, ..) => First::More,
                (_, Some(b'0'..=b'9'), third, fourth) => match (third, fourth) {
                    (None, _) => First::More,
                    (Some(0x81..=0xfe), None) => First::More,
                    (Some(0x81..=0xfe), Some(b'0'..=b'9')) => First::Whole(4),
                    _ => First::Broken,
                },
                (_, Some(0x40..=0x7e | 0x80..=0xfe), ..) => First::Whole(2),
                _ => First::Broken,
            },
        }
    }
}

fn whole(bytes: &[u8], length: usize) -> First {
    if bytes.len() < length { First::More } else { First::Whole(length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_postgres() {
        let characters = |name: &str| match named(name) {
            Named::Other(encoding) => Some(encoding.characters),
            Named::Utf8 | Named::Unknown => None,
        };
        for (names, expected) in [
            (&["SJIS", "Shift_JIS", "mskanji", "WIN932", "Windows-932", "SHIFT_JIS_2004"][..], Characters::Sjis),
            (&["BIG5", "gbk", "UHC", "WIN936", "win949", "windows950"], Characters::Pairs),
            (&["gb18030"], Characters::Gb18030),
            (&["EUC_JP", "EUC_KR", "EUC_CN", "JOHAB", "euc_jis_2004"], Characters::Euc),
            (&["EUC_TW"], Characters::EucTw),
            (
                &["LATIN1", "iso-8859-15", "WIN1252", "windows-1251", "koi8r", "KOI8", "WIN", "win866"],
                Characters::Single,
            ),
        ] {
            assert!(names.iter().all(|name| characters(name) == Some(expected)), "{names:?}");
        }
        assert!(["UTF8", "utf-8", "Unicode", "SQL_ASCII"].iter().all(|name| named(name) == Named::Utf8));
        assert!(is_ascii("sql-ascii") && !is_ascii("utf8"));
        assert!(["", "big", "win12", "ebcdic", "utf16"].iter().all(|name| named(name) == Named::Unknown));
    }

    #[test]
    fn characters_end_where_postgres_ends_them() {
        use First::{Broken, More, Whole};
        for (characters, bytes, expected) in [
            (Characters::Sjis, &b"a"[..], Whole(1)),
            (Characters::Sjis, b"\xb1\\", Whole(1)),
            (Characters::Sjis, b"\x83\\", Whole(2)),
            (Characters::Sjis, b"\x83", More),
            (Characters::Sjis, b"\x83\n", Broken),
            (Characters::Sjis, b"\xa0", Broken),
            (Characters::Sjis, b"\x83\x7f", Broken),
            (Characters::Pairs, b"\xb3\\", Whole(2)),
            (Characters::Pairs, b"\xb3\"", Broken),
            (Characters::Pairs, b"\xb3", More),
            (Characters::Gb18030, b"\x81\\", Whole(2)),
            (Characters::Gb18030, b"\x810\x810x", Whole(4)),
            (Characters::Gb18030, b"\x810\x81", More),
            (Characters::Gb18030, b"\x810", More),
            (Characters::Gb18030, b"\x810\x81a", Broken),
            (Characters::Gb18030, b"\x810a", Broken),
            (Characters::Gb18030, b"\x80", Broken),
            (Characters::Euc, b"\x8f\xa1\xa1", Whole(3)),
            (Characters::Euc, b"\x8e\xa1\xa1", Whole(2)),
            (Characters::Euc, b"\xa1", More),
            (Characters::EucTw, b"\x8e\xa1\xa1\xa1", Whole(4)),
            (Characters::Single, b"\xe9", Whole(1)),
            (Characters::Single, b"", More),
        ] {
            assert_eq!(characters.first(bytes), expected, "{characters:?} {}", bytes.escape_ascii());
        }
    }
}
