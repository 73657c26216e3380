//! PURE. `Sampler`: picks about one statement in [`RATE`], at uneven distances, so that nothing regular in an application is always hit
//! or always missed.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::backend::hot_keys::RATE;

/// Of one session: nobody else counts here, so two loads and a store are enough, and no lock is taken.
#[derive(Debug)]
pub struct Sampler {
    left: AtomicU32,
    seed: AtomicU32,
}

impl Sampler {
    pub fn new(seed: u32) -> Self {
        Self { left: AtomicU32::new(1 + seed % RATE), seed: AtomicU32::new(seed | 1) }
    }

    pub fn picks(&self) -> bool {
        let left = self.left.load(Relaxed).saturating_sub(1);
        if left > 0 {
            self.left.store(left, Relaxed);
            return false;
        }
        // Marsaglia's xorshift: never 0, and good enough for this.
        let mut seed = self.seed.load(Relaxed);
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        self.seed.store(seed, Relaxed);
        self.left.store(1 + seed % (2 * RATE - 1), Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_one_in_so_many_is_picked_and_not_each_nth() {
        let sampler = Sampler::new(7);
        let picked: Vec<u32> = (0..320_000).filter(|_| sampler.picks()).collect();
        assert!((9_000..11_000).contains(&picked.len()), "{}", picked.len());
        let mut residues = [0; 4];
        picked.iter().for_each(|at| residues[(at % 4) as usize] += 1);
        assert!(residues.iter().all(|count| *count > 2_000), "{residues:?}");
    }
}
