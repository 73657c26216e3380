//! The hash by which Postgres's `PARTITION BY HASH` places a key: its extended hash functions with the partition seed.
//!
//! Sources: `hash_bytes_extended` and `hash_bytes_uint32_extended` (Bob Jenkins' lookup3) in common/hashfn.c, the functions of
//! the types in access/hash/hashfunc.c, `compute_partition_hash_value` in partitioning/partbounds.c. Values in memory are those
//! of a little-endian server; on a big-endian one Postgres itself places texts elsewhere.

use crate::types::KeyType;
use crate::types::canonical::KeyValue;

/// `HASH_PARTITION_SEED`
const SEED: u64 = 0x7A5B_2236_7996_DCFD;

/// Whether the hash of this type is known here.
pub fn is_hashed(key_type: KeyType) -> bool {
    !matches!(key_type, KeyType::Numeric | KeyType::Inet)
}

/// The hash of a whole key; its remainder by the modulus is the partition. `None`: a NULL, or a type that is not known here.
pub fn partition_hash(key: &[KeyValue<'_>]) -> Option<u64> {
    key.iter().try_fold(0, |hash, value| Some(combine(hash, value_hash(value)?)))
}

fn value_hash(value: &KeyValue<'_>) -> Option<u64> {
    Some(match value {
        // hashint2extended and hashint4extended give what hashint8extended gives for the same number.
        KeyValue::Int(value) | KeyValue::Timestamp(value) => of_integer(*value),
        KeyValue::Date(days) => of_integer(i64::from(*days)),
        KeyValue::Bool(value) => of_word(u32::from(*value)),
        // Collations that are not deterministic cannot be keys; bpchar comes without its trailing blanks.
        KeyValue::Text(text) => of_bytes(text.as_bytes()),
        KeyValue::Uuid(bytes) => of_bytes(bytes),
        KeyValue::Bytea(bytes) => of_bytes(bytes),
        KeyValue::Numeric(_) | KeyValue::Inet { .. } | KeyValue::Null => return None,
    })
}

/// `hash_combine64`
fn combine(a: u64, b: u64) -> u64 {
    a ^ b.wrapping_add(0x49a0_f4dd_15e5_a8e3).wrapping_add(a << 54).wrapping_add(a >> 7)
}

/// `hashint8extended`: halves folded so that a number hashes alike in every width.
fn of_integer(value: i64) -> u64 {
    let (low, high) = (value as u32, (value >> 32) as u32);
    of_word(low ^ if value >= 0 { high } else { !high })
}

/// `hash_bytes_uint32_extended`
fn of_word(word: u32) -> u64 {
    let mut state = State::new(4);
    state.a = state.a.wrapping_add(word);
    state.result()
}

/// `hash_bytes_extended`
fn of_bytes(bytes: &[u8]) -> u64 {
    // Lengths beyond 1 GiB are no values of Postgres.
    let mut state = State::new(bytes.len() as u32);
    let (whole, rest) = bytes.as_chunks::<12>();
    for chunk in whole {
        state.add(chunk);
        state.mix();
    }
    // The lowest byte of the third word is left to the length: the bytes behind the eighth move up by one.
    let mut last = [0; 12];
    for (place, byte) in rest.iter().enumerate() {
        if let Some(slot) = last.get_mut(if place < 8 { place } else { place + 1 }) {
            *slot = *byte;
        }
    }
    state.add(&last);
    state.result()
}

struct State {
    a: u32,
    b: u32,
    c: u32,
}

impl State {
    fn new(length: u32) -> Self {
        let start = 0x9e37_79b9_u32.wrapping_add(length).wrapping_add(3_923_095);
        let mut state =
            Self { a: start.wrapping_add((SEED >> 32) as u32), b: start.wrapping_add(SEED as u32), c: start };
        state.mix();
        state
    }

    fn add(&mut self, chunk: &[u8; 12]) {
        let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3] = *chunk;
        self.a = self.a.wrapping_add(u32::from_le_bytes([a0, a1, a2, a3]));
        self.b = self.b.wrapping_add(u32::from_le_bytes([b0, b1, b2, b3]));
        self.c = self.c.wrapping_add(u32::from_le_bytes([c0, c1, c2, c3]));
    }

    fn mix(&mut self) {
        let Self { mut a, mut b, mut c } = *self;
        for [first, second, third] in [[4, 6, 8], [16, 19, 4]] {
            a = a.wrapping_sub(c) ^ c.rotate_left(first);
            c = c.wrapping_add(b);
            b = b.wrapping_sub(a) ^ a.rotate_left(second);
            a = a.wrapping_add(c);
            c = c.wrapping_sub(b) ^ b.rotate_left(third);
            b = b.wrapping_add(a);
        }
        *self = Self { a, b, c };
    }

    fn result(self) -> u64 {
        let Self { mut a, mut b, mut c } = self;
        for [first, second, third] in [[14, 11, 25], [16, 4, 14]] {
            c = (c ^ b).wrapping_sub(b.rotate_left(first));
            a = (a ^ c).wrapping_sub(c.rotate_left(second));
            b = (b ^ a).wrapping_sub(a.rotate_left(third));
        }
        c = (c ^ b).wrapping_sub(b.rotate_left(24));
        u64::from(b) << 32 | u64::from(c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_hashes_alike_in_every_width() {
        // hashint4extended(-7, seed) is hash_bytes_uint32_extended of its bits.
        assert_eq!(of_integer(-7), of_word(-7i32 as u32));
        assert_eq!(of_integer(7), of_word(7));
        assert_ne!(of_integer(1 << 32), of_integer(0));
    }

    #[test]
    fn the_columns_order_counts() {
        let (one, two) = (KeyValue::Int(1), KeyValue::Int(2));
        assert_ne!(partition_hash(&[one.clone(), two.clone()]), partition_hash(&[two, one]));
        assert_eq!(partition_hash(&[KeyValue::Null]), None);
    }
}
