//! Leases: keys that are deleted unless a client keeps renewing the lease.
//!
//! Which leases exist and what hangs on them is replicated. How long ago each was renewed is this
//! member's own observation: only the leader acts on it, by proposing the revocation.

use super::api::{Error, Event};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// etcd's largest TTL, about 285 years.
pub(crate) const TTL_MAX: i64 = 9_000_000_000;

/// A moment on the member's own clock.
pub(crate) type Moment = Duration;

#[derive(Debug)]
pub(crate) struct Lease {
    /// Seconds.
    pub ttl: i64,
    pub keys: BTreeSet<Bytes>,
    expires: Moment,
    /// Index of the entry of the log that granted or renewed it last; 0 if it came from a snapshot
    /// of an earlier format, which does not have that.
    renewed: u64,
    /// When its revocation is to be proposed: when it expires, or some time after it was proposed
    /// in vain.
    due: Moment,
}

/// A revocation that was proposed is proposed again after this time (etcd:
/// `defaultExpiredleaseRetryInterval`).
const RETRY: Duration = Duration::from_secs(3);
/// Most revocations that are proposed in a second (etcd: `defaultLeaseRevokeRate`).
const REVOCATIONS_A_SECOND: usize = 1000;
/// About what a lease costs in memory, for the quota.
pub(crate) const LEASE_SIZE: u64 = (size_of::<Lease>() + 2 * size_of::<(Moment, i64)>() + 32) as u64;

/// The answer of [`super::Kv::lease_time_to_live`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeaseTtl {
    /// Seconds asked for when it was granted.
    pub granted: i64,
    /// Whole seconds left, as the leader sees it; 0 when it is about to be revoked.
    pub remaining: i64,
    /// The keys that go with the lease.
    pub keys: Vec<Bytes>,
}

/// All leases, the keys attached to each, and when each expires by this member's clock.
#[derive(Debug, Default)]
pub struct Leases {
    all: BTreeMap<i64, Lease>,
    /// On which lease each key hangs. What an event tells of the version before is not enough:
    /// within one revision a key may be put and deleted again.
    of_key: BTreeMap<Bytes, i64>,
    /// The leases by `due`: what expires is found without a look at the others.
    order: BTreeSet<(Moment, i64)>,
    /// Since when revocations are counted, and how many were proposed since.
    second: Moment,
    proposed: usize,
}

fn duration_of(ttl: i64) -> Duration {
    Duration::from_secs(ttl.clamp(1, TTL_MAX) as u64)
}

impl Leases {
    /// Returns whether the lease exists. One that has expired does until its revocation is applied.
    pub fn exists(&self, id: i64) -> bool {
        self.all.contains_key(&id)
    }

    /// Adds a lease of `ttl` seconds. `index`: of the entry of the log that says so.
    ///
    /// # Errors
    /// - `LeaseTtlTooLarge` above [`TTL_MAX`].
    /// - `LeaseExist` if the id is in use.
    pub fn grant(&mut self, id: i64, ttl: i64, index: u64, now: Moment) -> Result<(), Error> {
        if ttl > TTL_MAX {
            return Err(Error::LeaseTtlTooLarge);
        }
        if self.exists(id) {
            return Err(Error::LeaseExist);
        }
        let expires = now + duration_of(ttl);
        self.all.insert(id, Lease { ttl, keys: BTreeSet::new(), expires, renewed: index, due: expires });
        self.order.insert((expires, id));
        Ok(())
    }

    /// Forgets a lease and returns its keys, which the caller deletes.
    ///
    /// # Errors
    /// `LeaseNotFound` if there is no such lease.
    pub fn revoke(&mut self, id: i64) -> Result<BTreeSet<Bytes>, Error> {
        let lease = self.all.remove(&id).ok_or(Error::LeaseNotFound)?;
        self.order.remove(&(lease.due, id));
        for key in &lease.keys {
            self.of_key.remove(key);
        }
        Ok(lease.keys)
    }

    /// As [`Leases::revoke`], because the leader saw the lease expire when it had applied entry
    /// `seen`. Returns no keys, and the lease stays, if its holder has renewed it behind that
    /// entry.
    ///
    /// ```text
    /// entry 100   the leader has applied it, and sees that the lease has expired
    /// entry 101   the holder renews the lease: its request came at the same time
    /// entry 102   LeaseExpire, seen 100: the renewal is newer, so the lease lives
    /// ```
    ///
    /// Every member decides the same, because only the order of the log counts and no member's
    /// clock.
    ///
    /// # Errors
    /// `LeaseNotFound` if there is no such lease: it was revoked before.
    pub fn expire(&mut self, id: i64, seen: u64) -> Result<BTreeSet<Bytes>, Error> {
        match self.all.get(&id) {
            Some(lease) if lease.renewed > seen => Ok(BTreeSet::new()),
            _ => self.revoke(id),
        }
    }

    fn set_due(order: &mut BTreeSet<(Moment, i64)>, id: i64, lease: &mut Lease, due: Moment) {
        order.remove(&(lease.due, id));
        order.insert((due, id));
        lease.due = due;
    }

    /// Gives a lease its full time again, from `now` on. Returns its TTL in seconds.
    ///
    /// # Errors
    /// `LeaseNotFound` if there is no such lease: its holder needs a new one.
    pub fn renew(&mut self, id: i64, index: u64, now: Moment) -> Result<i64, Error> {
        let lease = self.all.get_mut(&id).ok_or(Error::LeaseNotFound)?;
        (lease.expires, lease.renewed) = (now + duration_of(lease.ttl), index);
        let due = lease.expires;
        Leases::set_due(&mut self.order, id, lease, due);
        Ok(lease.ttl)
    }

    /// Gives every lease its full time again: a new leader cannot know when the old one was asked
    /// last, and while writes are refused no holder can renew.
    ///
    /// A lease of 10 s was renewed 9 s before the old leader died. The new one gives it 10 s from
    /// now on, and `extra`. A lease that lives too long does less harm than one that ends while its
    /// holder renews it.
    pub(crate) fn renew_all(&mut self, now: Moment, extra: Duration) {
        for lease in self.all.values_mut() {
            lease.expires = now + duration_of(lease.ttl) + extra;
            lease.due = lease.expires;
        }
        // Made anew at once: to take each out and in again costs several times as much.
        self.order = self.all.iter().map(|(id, lease)| (lease.due, *id)).collect();
    }

    /// Returns the leases whose revocation is to be proposed now. Each comes again after [`RETRY`],
    /// if it still exists; of many that expire together some come later.
    ///
    /// A lease of 10 s, granted at 0 s and never renewed: nothing at 9 s; its id at 10 s; nothing
    /// until 13 s, and then its id again if the revocation has not been applied meanwhile. The keys
    /// are deleted by the revocation, as a write like any other: watchers see a DELETE.
    pub(crate) fn take_expired(&mut self, now: Moment) -> Vec<i64> {
        if now.saturating_sub(self.second) >= Duration::from_secs(1) {
            (self.second, self.proposed) = (now, 0);
        }
        let mut ids = Vec::new();
        while self.proposed < REVOCATIONS_A_SECOND
            && let Some((_, id)) = self.order.first().copied().filter(|(due, _)| *due <= now)
            && let Some(lease) = self.all.get_mut(&id)
        {
            Leases::set_due(&mut self.order, id, lease, now + RETRY);
            self.proposed += 1;
            ids.push(id);
        }
        ids
    }

    /// Returns about how many bytes all leases take.
    pub fn size(&self) -> u64 {
        self.all.len() as u64 * LEASE_SIZE
    }

    /// Returns how long the lease still has, as this member sees it.
    ///
    /// # Errors
    /// `LeaseNotFound` if there is no such lease.
    pub fn left(&self, id: i64, now: Moment) -> Result<Duration, Error> {
        let lease = self.all.get(&id).ok_or(Error::LeaseNotFound)?;
        Ok(lease.expires.saturating_sub(now))
    }

    /// Returns the TTL that was asked for, in seconds, and the keys.
    ///
    /// # Errors
    /// `LeaseNotFound` if there is no such lease.
    pub fn ttl_and_keys(&self, id: i64) -> Result<(i64, Vec<Bytes>), Error> {
        let lease = self.all.get(&id).ok_or(Error::LeaseNotFound)?;
        Ok((lease.ttl, lease.keys.iter().cloned().collect()))
    }

    /// Keeps track of which keys hang on which lease.
    pub fn follow(&mut self, events: &[Event]) {
        for event in events {
            let was = self.of_key.remove(&event.kv.key);
            if let Some(lease) = was.and_then(|id| self.all.get_mut(&id)) {
                lease.keys.remove(&event.kv.key);
            }
            self.attach(event.kv.lease, &event.kv.key);
        }
    }

    /// Returns when each lease ends, and its id. Not sorted: the caller holds a lock that writes
    /// wait for.
    pub fn ends(&self) -> Vec<(Moment, i64)> {
        self.all.iter().map(|(id, lease)| (lease.expires, *id)).collect()
    }

    /// Returns id, TTL and index of the last renewal of every lease: with the store, all that a
    /// snapshot needs.
    pub fn list(&self) -> impl Iterator<Item = (i64, i64, u64)> {
        self.all.iter().map(|(id, lease)| (*id, lease.ttl, lease.renewed))
    }

    /// Hangs a key on its lease.
    pub fn attach(&mut self, id: i64, key: &Bytes) {
        if let Some(lease) = self.all.get_mut(&id) {
            lease.keys.insert(key.clone());
            self.of_key.insert(key.clone(), id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_revocation_is_proposed_again_only_after_a_while() {
        let _scale = clock::pin_scale(20); // clients of a lease live in real time
        let mut leases = Leases::default();
        leases.grant(7, 5, 1, at(0)).unwrap();
        assert!(leases.take_expired(at(4)).is_empty());
        assert_eq!(leases.take_expired(at(5)), [7]);
        for tick in 0..100 {
            let again = leases.take_expired(at(5) + Duration::from_millis(25 * tick));
            assert!(again.is_empty(), "tick {tick}");
        }
        assert_eq!(leases.take_expired(at(8)), [7], "it may have been lost");
        leases.renew(7, 2, at(9)).unwrap();
        assert_eq!((leases.take_expired(at(13)), leases.take_expired(at(14))), (vec![], vec![7]));
        leases.revoke(7).unwrap();
        assert_eq!((leases.take_expired(at(99)), leases.order.len()), (vec![], 0));
    }

    /// A transaction in a transaction may put a key and delete it again.
    #[test]
    fn a_key_that_was_deleted_hangs_on_no_lease() {
        use crate::api::{EventType, KeyValue};
        let mut leases = Leases::default();
        leases.grant(7, 5, 1, at(0)).unwrap();
        let event = |lease: i64, version: i64| Event {
            kind: if version == 0 { EventType::Delete } else { EventType::Put },
            kv: KeyValue { key: "k".into(), lease, version, ..KeyValue::default() },
            prev_kv: None,
        };
        // Both have the key before the revision as `prev_kv`: there was none.
        leases.follow(&[event(7, 1), event(0, 0)]);
        leases.follow(&[event(0, 1)]);
        assert!(leases.ttl_and_keys(7).unwrap().1.is_empty());
        assert!(leases.revoke(7).unwrap().is_empty() && leases.of_key.is_empty());
    }

    #[test]
    fn many_that_expire_together_are_revoked_in_portions() {
        let mut leases = Leases::default();
        for id in 1..=2500 {
            leases.grant(id, 5, 1, at(0)).unwrap();
        }
        let mut revoked = BTreeSet::new();
        let most = (0..40).map(|tick| {
            let now = at(5) + Duration::from_millis(25 * tick);
            let ids = leases.take_expired(now);
            ids.iter().for_each(|id| drop(leases.revoke(*id)));
            revoked.extend(ids.iter().copied());
            ids.len()
        });
        assert_eq!(most.sum::<usize>(), REVOCATIONS_A_SECOND, "in the first second");
        for second in 6..8 {
            revoked.extend(leases.take_expired(at(second)));
        }
        assert_eq!(revoked.len(), 2500);
    }
}
