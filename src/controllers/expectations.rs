//! Writes on their way: a controller waits to see its own writes in the cache before it counts again, or it would make everything twice.

use crate::client::Key;
use crate::clock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A write not seen in the cache after this time is given up: upstream's `ExpectationsTimeout`.
const TIMEOUT: Duration = Duration::from_secs(300);

#[cfg(test)]
thread_local! {
    /// Plants a bug: nothing is waited for.
    pub static IMPATIENT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

#[derive(Default)]
struct Open {
    /// Names of objects made and not seen yet.
    creations: BTreeSet<String>,
    /// Uids of objects deleted and not yet seen so.
    deletions: BTreeSet<String>,
    since: Option<clock::Instant>,
}

/// Open writes by owner.
#[derive(Clone, Default)]
pub struct Expectations(Arc<Mutex<BTreeMap<Key, Open>>>);

impl Expectations {
    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<Key, Open>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// Has every write been seen (or given up)?
    pub fn met(&self, owner: &Key) -> bool {
        #[cfg(test)]
        if IMPATIENT.get() {
            return true;
        }
        self.with(|all| match all.get(owner) {
            None => true,
            Some(open) => {
                let old = open.since.is_some_and(|at| at.elapsed() > clock::scaled(TIMEOUT));
                old || (open.creations.is_empty() && open.deletions.is_empty())
            }
        })
    }

    pub fn creating(&self, owner: &Key, name: &str) {
        self.with(|all| {
            let open = all.entry(owner.clone()).or_default();
            open.creations.insert(name.to_string());
            open.since = Some(clock::Instant::now());
        });
    }

    pub fn deleting(&self, owner: &Key, uid: &str) {
        self.with(|all| {
            let open = all.entry(owner.clone()).or_default();
            open.deletions.insert(uid.to_string());
            open.since = Some(clock::Instant::now());
        });
    }

    /// The object is there, or could not be made.
    pub fn created(&self, owner: &Key, name: &str) {
        self.with(|all| {
            all.get_mut(owner).map(|open| open.creations.remove(name));
        });
    }

    /// The object is going or gone, or could not be deleted.
    pub fn deleted(&self, owner: &Key, uid: &str) {
        self.with(|all| {
            all.get_mut(owner).map(|open| open.deletions.remove(uid));
        });
    }

    pub fn forget(&self, owner: &Key) {
        self.with(|all| all.remove(owner));
    }
}
