//! `Seal`: what tells a decision row of the router that commits from one that somebody else wrote.
//!
//! Every client may insert decision rows, because the anchor's transaction is the client's own. The names of prepared transactions
//! can be read by all who may log in at a shard, and hold the hash of a secret; the secret itself stands in the decision row alone, which nobody sees
//! before it is committed. So nobody can say "committed" of a transaction that is not his.

use ring::digest::{SHA256, digest};

/// Digits of the hash that a gid holds: 128 bits.
const MARK: usize = 32;

#[derive(Clone, PartialEq, Eq)]
pub struct Seal {
    proof: String,
    mark: String,
}

impl Seal {
    /// Of bytes that nobody else can guess.
    pub fn of(random: [u8; 16]) -> Self {
        let proof = hex(&random);
        let mut mark = hex(digest(&SHA256, proof.as_bytes()).as_ref());
        mark.truncate(MARK);
        Self { proof, mark }
    }

    /// For the decision row.
    pub fn proof(&self) -> &str {
        &self.proof
    }

    /// The name of a transaction, by which the proof is known: its number and the mark.
    pub fn transaction(&self, router: &str, number: u64) -> String {
        format!("{router}-{number}-{}", self.mark)
    }
}

/// An SQL condition on a decision row of a transaction of this name: whether it is of who began it. Routers before this one set no
/// mark, and no proof.
pub fn is_proven(transaction: &str) -> String {
    let mark = transaction.splitn(3, '-').nth(2);
    let Some(mark) = mark.filter(|mark| mark.len() == MARK && mark.bytes().all(|b| b.is_ascii_hexdigit())) else {
        return "true".to_owned();
    };
    let hash = "pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(proof, 'UTF8')), 'hex')";
    format!("coalesce(pg_catalog.starts_with({hash}, '{mark}'), false)")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_half_the_hash_of_its_proof() {
        // By `printf %032d 0 | sha256sum`.
        let seal = Seal::of([0; 16]);
        assert_eq!(seal.transaction("r", 7), "r-7-84e0c0eafaa95a34c293f278ac52e45c");
        assert_ne!(seal.transaction("r", 7), Seal::of([1; 16]).transaction("r", 7));
    }

    #[test]
    fn names_without_a_mark_need_no_proof() {
        assert!(["", "9f0c-7", "lost-1", "lost-1-x", "a-b-c-d"].into_iter().all(|name| is_proven(name) == "true"));
        assert!(is_proven(&Seal::of([9; 16]).transaction("9f0c", 1)).contains("sha256"));
    }
}
