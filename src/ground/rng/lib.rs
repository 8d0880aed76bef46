//! # Chance, from a seed
//!
//! ## In Kubernetes
//! Election timeouts, the five characters that end a pod's name, NodePorts and back-off jitter are
//! random.
//! ## How this one works
//! Code that needs random numbers takes an [`Rng`], so a run can be repeated from its seed.
//! Simulations give every purpose its own [`fork`](Rng::fork): more draws from one fork do not
//! change another. A fork itself draws once from its parent, so a new fork does change the forks
//! and draws that come after it: a recorded seed repeats a run of the same program only. Three
//! files help the tests of all rooms: `seeds.rs` runs a simulation for many seeds, `fuzz.rs` bends
//! (mutates) input that a room reads, and `growth.rs` notices work that is quadratic.
//! ## Left out
//! Private keys and what is signed with them do not come from here but from the TLS library's own
//! generator. A token or a secret that only one process knows may be drawn from [`Rng::from_os`]
//! itself (ChaCha, with a seed of 256 bits), and from no fork and no seeded generator: their seeds
//! have 64 bits.
//! ## Read next
//! `raft`, whose election timeouts follow from a seed that is drawn here.

#![warn(missing_docs)]

#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
#[cfg(any(test, feature = "testing"))]
pub mod growth;
#[cfg(any(test, feature = "testing"))]
pub mod seeds;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};
use std::sync::Arc;

/// Kubernetes' alphabet for generated names (`k8s.io/apimachinery/pkg/util/rand`): no vowels, which
/// makes bad words less likely, and no 0, 1 or 3.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A shared, seeded source of chance. Clones draw from the same sequence.
#[derive(Clone, Debug)]
pub struct Rng(Arc<Mutex<StdRng>>);

impl Rng {
    /// Makes a generator that draws the same numbers for the same seed.
    pub fn seeded(seed: u64) -> Rng {
        Rng(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Makes a generator that the operating system seeds, with 256 bits; for a running cluster.
    pub fn from_os() -> Rng {
        Rng(Arc::new(Mutex::new(StdRng::from_os_rng())))
    }

    fn with<T>(&self, f: impl FnOnce(&mut StdRng) -> T) -> T {
        f(&mut self.0.lock())
    }

    /// Returns an independent generator for one purpose, seeded by one draw from this generator and
    /// the purpose's name. The draw shifts everything that is drawn or forked here afterwards.
    /// The seed has 64 bits, so no secret may be drawn from a fork.
    pub fn fork(&self, purpose: &str) -> Rng {
        let base = self.with(|r| r.random::<u64>());
        let salt = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        Rng::seeded(base ^ salt)
    }

    /// Draws a number of 64 bits.
    pub fn u64(&self) -> u64 {
        self.with(|r| r.random())
    }

    /// Draws a number in `low..high`; returns `low` if the range is empty.
    pub fn range(&self, low: u64, high: u64) -> u64 {
        if high <= low { low } else { self.with(|r| r.random_range(low..high)) }
    }

    /// Draws `true` with this probability. Less than 0 counts as 0, more than 1 as 1; NaN panics.
    pub fn chance(&self, probability: f64) -> bool {
        self.with(|r| r.random_bool(probability.clamp(0.0, 1.0)))
    }

    /// Draws `length` characters with which Kubernetes ends generated names, e.g. `7ksfg`.
    pub fn name_suffix(&self, length: usize) -> String {
        self.with(|r| {
            (0..length).map(|_| NAME_ALPHABET[r.random_range(0..NAME_ALPHABET.len())] as char).collect()
        })
    }

    /// Draws a version-4 UUID, the form of `metadata.uid`.
    pub fn uuid(&self) -> String {
        let bytes = self.with(|r| r.random::<[u8; 16]>());
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same() {
        let (a, b) = (Rng::seeded(7), Rng::seeded(7));
        assert_eq!(a.name_suffix(5), b.name_suffix(5));
        assert_eq!(a.uuid(), b.uuid());
        assert_eq!(a.fork("disk").u64(), b.fork("disk").u64());
        assert_ne!(Rng::seeded(7).fork("disk").u64(), Rng::seeded(7).fork("link").u64());
    }

    #[test]
    fn draws_from_one_fork_change_no_other_but_a_new_fork_does() {
        let (a, b, c) = (Rng::seeded(7), Rng::seeded(7), Rng::seeded(7));
        let expected = (a.fork("disk"), a.fork("link").u64()).1;
        let disk = b.fork("disk");
        disk.u64();
        assert_eq!(b.fork("link").u64(), expected);
        c.fork("disk");
        c.fork("new");
        assert_ne!(c.fork("link").u64(), expected);
    }

    #[test]
    fn draws_keep_their_bounds_and_forms() {
        let rng = Rng::seeded(7);
        let drawn: std::collections::BTreeSet<u64> = (0..1000).map(|_| rng.range(3, 7)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!((rng.range(3, 3), rng.range(7, 3)), (3, 7));
        assert!((0..1000).all(|_| !rng.chance(-1.0) && rng.chance(2.0)));
        let suffix = rng.name_suffix(500);
        assert!(suffix.len() == 500 && suffix.bytes().all(|b| NAME_ALPHABET.contains(&b)), "{suffix}");
        assert!(NAME_ALPHABET.iter().all(|b| suffix.as_bytes().contains(b)), "{suffix}");
        let id = uuid::Uuid::parse_str(&rng.uuid()).unwrap();
        assert_eq!((id.get_version_num(), id.get_variant()), (4, uuid::Variant::RFC4122));
    }
}
