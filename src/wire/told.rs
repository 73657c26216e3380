//! What routers tell each other of their shards' timelines: which cluster, by its mark, and the newest timeline of it.

#![deny(clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

/// How an answer begins that is one; a router of another version says something else.
const BEGINS: [u8; 4] = [b'P', b'L', b'T', 1];
const ENTRY: usize = 20;
/// Clusters in one answer, and its bytes.
const MOST: usize = 65_536;
pub const MOST_BYTES: usize = BEGINS.len() + 4 + MOST * ENTRY;

/// A cluster by its mark, and its newest timeline.
pub type Told = ([u8; 16], u32);

/// An answer. Of more clusters than there is room for the first ones.
pub fn write(all: impl IntoIterator<Item = Told>) -> Vec<u8> {
    let mut entries = Vec::new();
    let mut count = 0_u32;
    for (mark, timeline) in all.into_iter().take(MOST) {
        entries.extend_from_slice(&mark);
        entries.extend_from_slice(&timeline.to_be_bytes());
        count += 1;
    }
    [&BEGINS, &count.to_be_bytes(), &*entries].concat()
}

/// `None`: it is no whole answer.
pub fn read(bytes: &[u8]) -> Option<Vec<Told>> {
    let rest = bytes.strip_prefix(&BEGINS)?;
    let (count, entries) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
    if count > MOST || entries.len() != count.checked_mul(ENTRY)? {
        return None;
    }
    let entry = |entry: &[u8]| {
        let (mark, timeline) = entry.split_first_chunk::<16>()?;
        Some((*mark, u32::from_be_bytes(timeline.try_into().ok()?)))
    };
    entries.chunks_exact(ENTRY).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_whole_or_not_at_all() {
        let all = vec![([7; 16], 2), ([8; 16], u32::MAX)];
        let bytes = write(all.clone());
        assert_eq!(read(&bytes), Some(all));
        assert_eq!(read(&write([])), Some(Vec::new()));
        for cut in 0..bytes.len() {
            assert_eq!(read(bytes.get(..cut).unwrap_or_default()), None, "{cut}");
        }
        assert_eq!(read(&[&*bytes, &[0]].concat()), None);
        assert_eq!(read(b"E\0\0\0\x08SFATAL\0"), None);
        assert_eq!(read(&[BEGINS, [0xff; 4]].concat()), None);
        assert_eq!(write((0..70_000).map(|n| ([1; 16], n))).len(), MOST_BYTES);
    }
}
