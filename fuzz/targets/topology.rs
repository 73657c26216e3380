//! Topology documents: any text is a valid map or a list of what is wrong in it, and a valid map places each key in one way.

use pgloom::config::Document;
use pgloom::config::document::{Change, stamped};
use pgloom::topology::diff::differences;
use pgloom::topology::distribution::KeyRange;
use pgloom::topology::{Distribution, Topology};
use pgloom::types::KeyType;
use pgloom::types::canonical::KeyValue;

use super::config::told;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let change = Change { epoch: 7, at: "2026-01-01T00:00:00Z".into(), by: "a \"b\"".into(), reason: "\n".into() };
    let stored = stamped(text, &change);
    let document = match Document::parse("fuzz.json", text) {
        Ok(document) => document,
        Err(errors) => return told(&errors, text),
    };
    // As it is stored under the head of a change, it is the same map.
    let stored = stored.expect("what is a document can be stored");
    let again = Document::parse("stored.json", &stored).unwrap_or_else(|e| panic!("{e}\n{stored}"));
    assert_eq!((again.epoch, &*again.changed_by, &*again.reason), (Some(7), &*change.by, &*change.reason));
    assert_eq!(again.databases.len(), document.databases.len());
    for (placed, again) in document.databases.iter().zip(&again.databases) {
        assert_eq!((&placed.name, &placed.uniques), (&again.name, &again.uniques));
        assert!(differences(&placed.topology, &again.topology).is_empty());
        places_keys(&placed.topology);
        assert!(document.placed(&placed.name).is_some());
    }
}

/// Keys of each distribution have one shard, of those that the distribution has, and ranges around them reach it.
pub fn places_keys(topology: &Topology) {
    assert!(topology.home.index() < topology.shards.len());
    for distribution in &topology.distributions {
        let all = distribution.shards();
        assert!(all.iter().all(|shard| shard.index() < topology.shards.len()));
        for at in 0..3 {
            let key: Vec<KeyValue<'_>> = distribution.key_types.iter().map(|key_type| sample(*key_type, at)).collect();
            let Ok(shard) = distribution.locate(&key) else { continue };
            assert!(all.contains(shard), "{key:?} lies on {shard:?}");
            assert_eq!(distribution.locate(&key), Ok(shard));
            assert!(distribution.locate_first(&key[0]).contains(shard) || key.len() == 1);
            reached(distribution, &key, shard);
        }
    }
    for rule in topology.tables.values() {
        if let pgloom::topology::TableRule::Sharded { distribution, columns } = rule {
            assert_eq!(topology.distribution(*distribution).key_types.len(), columns.len());
        }
    }
}

fn reached(distribution: &Distribution, key: &[KeyValue<'_>], shard: pgloom::ids::ShardId) {
    let [key] = key else { return };
    let bound = || Some((key.clone(), true));
    for (low, high) in [(bound(), None), (None, bound()), (bound(), bound()), (None, None)] {
        let range = KeyRange { low, high };
        assert!(distribution.locate_range(&range).contains(shard), "{range:?}");
    }
}

/// Values of each type, the second one also at its end.
fn sample(key_type: KeyType, at: usize) -> KeyValue<'static> {
    match key_type {
        KeyType::Int2 => KeyValue::Int([0, i64::from(i16::MAX), 42][at]),
        KeyType::Int4 => KeyValue::Int([0, i64::from(i32::MAX), 42][at]),
        KeyType::Int8 => KeyValue::Int([0, i64::MAX, 42][at]),
        KeyType::Text | KeyType::Varchar | KeyType::Bpchar => KeyValue::Text(["", "\u{10ffff}", "de"][at].into()),
        KeyType::Uuid => KeyValue::Uuid([[0; 16], [0xff; 16], [0x6f; 16]][at]),
        KeyType::Date => KeyValue::Date([0, i32::MAX, -1][at]),
        KeyType::Timestamp | KeyType::Timestamptz => KeyValue::Timestamp([0, i64::MAX, -1][at]),
        KeyType::Numeric => KeyValue::Numeric(["0", "NaN", "-1.5"][at].into()),
        KeyType::Bytea => KeyValue::Bytea([&b""[..], b"\xff", b"a"][at].into()),
        KeyType::Bool => KeyValue::Bool(at == 1),
        KeyType::Inet => KeyValue::Inet { family: 4, prefix: 32, address: [at as u8; 16] },
    }
}
