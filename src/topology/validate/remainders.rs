//! Postgres's own hash partitions: moduli and remainders that hold every key once.

use super::Work;
use crate::ids::ShardId;
use crate::topology::error::{MAX_MODULUS, TopologyError};
use crate::topology::spec::{DistributionSpec, RemainderSpec, Site};
use crate::types::postgres_hash::is_hashed;

impl<'a> Work<'a> {
    /// The shard of each remainder by the largest modulus; the others divide it.
    pub(super) fn remainders(
        &mut self,
        i: usize,
        spec: &'a DistributionSpec,
        partitions: &[RemainderSpec],
    ) -> Box<[ShardId]> {
        let distribution = || spec.name.clone();
        let before = self.errors.len();
        for key_type in spec.key_types.iter().copied().filter(|key_type| !is_hashed(*key_type)) {
            let finding = TopologyError::NoPostgresHash { distribution: distribution(), key_type };
            self.fail(Site::Distribution(i), finding);
        }
        if partitions.is_empty() {
            self.fail(Site::Distribution(i), TopologyError::NoPartitions { distribution: distribution() });
        }
        for (entry, RemainderSpec { modulus, remainder, .. }) in partitions.iter().enumerate() {
            if !(1..=MAX_MODULUS).contains(modulus) || remainder >= modulus {
                let finding = TopologyError::BadRemainder { modulus: *modulus, remainder: *remainder };
                self.fail(Site::Entry { distribution: i, entry }, finding);
            }
        }
        if self.errors.len() > before {
            return Box::default();
        }
        let largest = partitions.iter().map(|partition| partition.modulus).max().unwrap_or(1);
        let mut owners: Vec<Option<ShardId>> = vec![None; largest as usize];
        // As Postgres checks them: one after the other, the smallest first.
        let mut sorted: Vec<(usize, &RemainderSpec)> = partitions.iter().enumerate().collect();
        sorted.sort_by_key(|(_, partition)| partition.modulus);
        let mut next_larger = sorted.iter().skip(1).map(|(_, next)| next.modulus).chain([largest]);
        for (entry, partition) in &sorted {
            let site = Site::Entry { distribution: i, entry: *entry };
            let (modulus, remainder) = (partition.modulus, partition.remainder);
            let larger = next_larger.next().unwrap_or(largest);
            if !larger.is_multiple_of(modulus) {
                let finding =
                    TopologyError::ModulusIsNoFactor { distribution: distribution(), modulus, largest: larger };
                self.fail(site, finding);
                continue;
            }
            let Some(shard) = self.shard(site, &partition.shard) else { continue };
            let mut shared = false;
            for owner in owners.iter_mut().skip(remainder as usize).step_by(modulus as usize) {
                shared |= owner.replace(shard).is_some();
            }
            if shared {
                let finding = TopologyError::SharedRemainder { distribution: distribution(), modulus, remainder };
                self.fail(site, finding);
            }
        }
        let gap = owners.iter().position(Option::is_none).and_then(|gap| u32::try_from(gap).ok());
        if let (Some(remainder), true) = (gap, self.errors.len() == before) {
            let finding = TopologyError::RemainderGap { distribution: distribution(), modulus: largest, remainder };
            self.fail(Site::Distribution(i), finding);
        }
        owners.into_iter().flatten().collect()
    }
}
