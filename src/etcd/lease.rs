//! Leases: keys that vanish unless somebody keeps renewing.
//!
//! Which leases exist and what hangs on them is replicated. How long ago each was renewed is this member's own
//! observation: only the leader acts on it, by proposing the revocation.

use super::api::{Error, Event};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// etcd's largest TTL, about 285 years.
pub const TTL_MAX: i64 = 9_000_000_000;

/// A moment on the member's own clock.
pub type Moment = Duration;

#[derive(Debug)]
pub struct Lease {
    /// Seconds.
    pub ttl: i64,
    pub keys: BTreeSet<Bytes>,
    expires: Moment,
}

/// What [`super::Kv::lease_time_to_live`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseTtl {
    /// Seconds asked for when it was granted.
    pub granted: i64,
    /// Whole seconds left, as this member sees it; 0 when it is about to be revoked.
    pub remaining: i64,
    pub keys: Vec<Bytes>,
}

#[derive(Debug, Default)]
pub struct Leases {
    all: BTreeMap<i64, Lease>,
}

fn wait(ttl: i64) -> Duration {
    crate::clock::scaled(Duration::from_secs(ttl.clamp(1, TTL_MAX) as u64))
}

impl Leases {
    pub fn exists(&self, id: i64) -> bool {
        self.all.contains_key(&id)
    }

    /// Errors: `LeaseTtlTooLarge`, `LeaseExist`.
    pub fn grant(&mut self, id: i64, ttl: i64, now: Moment) -> Result<(), Error> {
        if ttl > TTL_MAX {
            return Err(Error::LeaseTtlTooLarge);
        }
        if self.exists(id) {
            return Err(Error::LeaseExist);
        }
        self.all.insert(id, Lease { ttl, keys: BTreeSet::new(), expires: now + wait(ttl) });
        Ok(())
    }

    /// Forgets a lease; returns the keys that go with it.
    pub fn revoke(&mut self, id: i64) -> Result<BTreeSet<Bytes>, Error> {
        self.all.remove(&id).map(|lease| lease.keys).ok_or(Error::LeaseNotFound)
    }

    /// Returns the TTL in seconds.
    pub fn renew(&mut self, id: i64, now: Moment) -> Result<i64, Error> {
        let lease = self.all.get_mut(&id).ok_or(Error::LeaseNotFound)?;
        lease.expires = now + wait(lease.ttl);
        Ok(lease.ttl)
    }

    /// A new leader cannot know when the old one was asked last, so everybody gets the full time again.
    pub fn renew_all(&mut self, now: Moment) {
        for lease in self.all.values_mut() {
            lease.expires = now + wait(lease.ttl);
        }
    }

    pub fn expired(&self, now: Moment) -> Vec<i64> {
        self.all.iter().filter(|(_, lease)| lease.expires <= now).map(|(id, _)| *id).collect()
    }

    pub fn time_to_live(&self, id: i64, now: Moment) -> Result<LeaseTtl, Error> {
        let lease = self.all.get(&id).ok_or(Error::LeaseNotFound)?;
        let left = lease.expires.saturating_sub(now).mul_f64(crate::clock::scale());
        let remaining = left.as_secs() as i64;
        Ok(LeaseTtl { granted: lease.ttl, remaining, keys: lease.keys.iter().cloned().collect() })
    }

    /// Keeps track of which keys hang on which lease.
    pub fn follow(&mut self, events: &[Event]) {
        for event in events {
            if let Some(prev) = event.prev_kv.as_ref().filter(|p| p.lease != 0)
                && let Some(lease) = self.all.get_mut(&prev.lease)
            {
                lease.keys.remove(&prev.key);
            }
            if let Some(lease) = self.all.get_mut(&event.kv.lease) {
                lease.keys.insert(event.kv.key.clone());
            }
        }
    }

    /// Every lease, the one that ends first before the others.
    pub fn by_end(&self) -> Vec<i64> {
        let mut ids: Vec<i64> = self.all.keys().copied().collect();
        ids.sort_by_key(|id| self.all.get(id).map(|lease| lease.expires));
        ids
    }

    /// `(id, ttl)` of every lease: with the store, all that a snapshot needs.
    pub fn list(&self) -> impl Iterator<Item = (i64, i64)> {
        self.all.iter().map(|(id, lease)| (*id, lease.ttl))
    }

    /// Puts a key back on its lease, after a restore.
    pub fn attach(&mut self, id: i64, key: &Bytes) {
        if let Some(lease) = self.all.get_mut(&id) {
            lease.keys.insert(key.clone());
        }
    }
}
