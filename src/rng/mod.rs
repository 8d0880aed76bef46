//! # Chance, from a seed
//!
//! ## In Kubernetes
//! Election timeouts, the five characters that end a pod's name, NodePorts and back-off jitter are random.
//! ## How this one works
//! Whoever needs chance takes an [`Rng`], so a run can be repeated from its seed. Simulations give every
//! purpose its own [`fork`](Rng::fork): a new use does not shift the old ones.
//! Nonsense is made from a seed too: `fuzz.rs` bends what a room's readers understand, and looks whether they still answer.
//! ## Left out
//! Cryptographic keys do not come from here but from the TLS library's own generator.
//! ## Read next
//! `raft`, whose elections depend on it.

#[cfg(test)]
pub mod fuzz;
#[cfg(test)]
pub mod growth;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};
use std::sync::{Arc, Mutex};

/// Kubernetes' alphabet for generated names: no vowels (no words), no 0, 1 or 3.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A shared, seeded source of chance. Clones draw from the same sequence.
#[derive(Clone, Debug)]
pub struct Rng(Arc<Mutex<StdRng>>);

impl Rng {
    pub fn seeded(seed: u64) -> Rng {
        Rng(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Seeded by the operating system; for a running cluster.
    pub fn from_os() -> Rng {
        Rng(Arc::new(Mutex::new(StdRng::from_os_rng())))
    }

    fn with<T>(&self, f: impl FnOnce(&mut StdRng) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// An independent generator for one purpose, derived from this one and the purpose's name.
    pub fn fork(&self, purpose: &str) -> Rng {
        let base = self.with(|r| r.random::<u64>());
        let salt = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        Rng::seeded(base ^ salt)
    }

    pub fn u64(&self) -> u64 {
        self.with(|r| r.random())
    }

    /// A number in `low..high`; `low` if the range is empty.
    pub fn range(&self, low: u64, high: u64) -> u64 {
        if high <= low { low } else { self.with(|r| r.random_range(low..high)) }
    }

    pub fn chance(&self, probability: f64) -> bool {
        self.with(|r| r.random_bool(probability.clamp(0.0, 1.0)))
    }

    /// `length` characters as Kubernetes ends generated names with, e.g. `7ksfg`.
    pub fn name_suffix(&self, length: usize) -> String {
        self.with(|r| {
            (0..length).map(|_| NAME_ALPHABET[r.random_range(0..NAME_ALPHABET.len())] as char).collect()
        })
    }

    /// A version-4 UUID, as `metadata.uid` wants it.
    pub fn uuid(&self) -> String {
        let bytes = self.with(|r| r.random::<[u8; 16]>());
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let (a, b) = (Rng::seeded(7), Rng::seeded(7));
        assert_eq!(a.name_suffix(5), b.name_suffix(5));
        assert_eq!(a.uuid(), b.uuid());
        assert_eq!(a.fork("disk").u64(), b.fork("disk").u64());
        assert_ne!(Rng::seeded(7).fork("disk").u64(), Rng::seeded(7).fork("link").u64());
    }
}
