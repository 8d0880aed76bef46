//! The state machine: committed commands in, the same answers and the same state on every member
//! out.

use super::alarm::{Alarm, AlarmKind};
use super::api::{Error, Event, RequestOp, Revision, TxnResponse};
use super::command::Command;
use super::lease::{Leases, Moment};
use super::mvcc::{Span, Store};
use super::snapshot::Frozen;
use super::txn;
use super::watch::Hub;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Alarms in force at a time, at most. As in etcd an alarm may name an id that no member has, so
/// that the one of a removed member can be ended; each is kept until it is ended. A client that
/// names ever new ids must not fill the memory of all members and their snapshots with them.
const ALARMS_MAX: usize = 64;

/// The outcome of a command.
#[derive(Clone, Debug, Default)]
pub(crate) enum Outcome {
    Txn(TxnResponse),
    #[default]
    Done,
    /// The TTL in seconds.
    Renewed(i64),
}

/// An entry of the log, by which the state says how new it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    pub index: u64,
    pub term: u64,
}

/// The state that readers share with the one thread that applies. Locks are taken in the order of
/// the fields.
#[derive(Default)]
pub(super) struct Shared {
    store: Arc<RwLock<Store>>,
    leases: Mutex<Leases>,
    alarms: Mutex<BTreeSet<Alarm>>,
    /// The last command in the state. Changes with the store's lock held for writing.
    applied: Mutex<Applied>,
    pub hub: Arc<Hub>,
    revision: AtomicI64,
}

impl Shared {
    pub(crate) fn new() -> Shared {
        let shared = Shared::default();
        shared.revision.store(super::mvcc::FIRST_REVISION, Ordering::Release);
        shared
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read()
    }

    pub(crate) fn store(&self) -> &Arc<RwLock<Store>> {
        &self.store
    }

    pub(crate) fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock()
    }

    pub(crate) fn alarms(&self) -> MutexGuard<'_, BTreeSet<Alarm>> {
        self.alarms.lock()
    }

    fn applied(&self) -> MutexGuard<'_, Applied> {
        self.applied.lock()
    }

    /// Returns a copy of everything as it is at one moment, and the last command in it.
    pub(crate) fn freeze(&self) -> (Frozen, Applied) {
        let store = self.read();
        let frozen = Frozen::of(&store, &self.leases(), &self.alarms());
        (frozen, *self.applied())
    }

    /// Returns the bytes of keys, values and leases, for the quota.
    pub(crate) fn size(&self) -> u64 {
        let keys = self.read().size();
        keys + self.leases().size()
    }

    /// Returns whether a `Corrupt` alarm is in force, which refuses all commands that change keys.
    pub(crate) fn is_corrupt(&self) -> bool {
        self.alarms().iter().any(|a| a.kind == AlarmKind::Corrupt)
    }

    /// Refuses a command that an alarm forbids.
    ///
    /// ```text
    /// alarm     put, grant   delete, compaction   renewal, end of an alarm
    /// none      yes          yes                  yes
    /// NoSpace   NoSpace      yes                  yes
    /// Corrupt   Corrupt      Corrupt              yes
    /// ```
    ///
    /// Under NoSpace deletions and compactions go on: they are what makes room.
    fn forbidden(&self, command: &Command) -> Result<(), Error> {
        let alarms = self.alarms();
        // A renewal changes no key, and a client that was refused one would give the lease up.
        if matches!(command, Command::Alarm { .. } | Command::LeaseRenew { .. }) || alarms.is_empty() {
            return Ok(());
        }
        if alarms.iter().any(|a| a.kind == AlarmKind::Corrupt) {
            return Err(Error::Corrupt);
        }
        let adds = match command {
            // etcd looks into inner transactions here from 3.6.14 on, and not before. To do so now
            // would refuse writes of an older log that were acknowledged.
            Command::Txn(t) => t.success.iter().chain(&t.failure).any(|op| matches!(op, RequestOp::Put(_))),
            Command::LeaseGrant { .. } => true,
            _ => false,
        };
        if adds { Err(Error::NoSpace) } else { Ok(()) }
    }

    /// Returns the revision applied and published so far.
    pub(crate) fn revision(&self) -> Revision {
        self.revision.load(Ordering::Acquire)
    }

    /// Applies one command. `events` takes the changes, which the caller hands to
    /// [`Shared::publish`] before it answers clients. Deterministic but for `now`, which only moves
    /// lease deadlines. `at`: the command's entry in the log.
    ///
    /// `put a=1` on an empty store is revision 2, with one event. `Compact` and the commands for
    /// leases and alarms change no key: they have no event and no revision of their own, but for a
    /// revocation, which deletes the keys of its lease in one revision.
    ///
    /// A command that fails (a lease that is not there) is an answer too, the same on every member.
    pub(crate) fn apply(
        &self,
        command: &Command,
        at: Applied,
        now: Moment,
        events: &mut Vec<Arc<[Event]>>,
    ) -> Result<Outcome, Error> {
        self.forbidden(command)?;
        let mut store = self.store.write();
        let mut leases = self.leases();
        *self.applied() = at;
        let (outcome, changes) = match command {
            Command::Txn(request) => {
                let (response, changes) = txn::execute(&mut store, request, |id| leases.exists(id))?;
                (Outcome::Txn(response), changes)
            }
            Command::Compact { revision } => {
                store.compact(*revision)?;
                return Ok(Outcome::Done);
            }
            Command::LeaseGrant { id, ttl } => {
                leases.grant(*id, *ttl, at.index, now)?;
                return Ok(Outcome::Done);
            }
            Command::Alarm { alarm, on } => {
                let mut alarms = self.alarms();
                if *on && alarms.len() >= ALARMS_MAX && !alarms.contains(alarm) {
                    return Err(Error::TooManyAlarms);
                }
                match on {
                    true => alarms.insert(*alarm),
                    false => alarms.remove(alarm),
                };
                return Ok(Outcome::Done);
            }
            Command::LeaseRenew { id } => return leases.renew(*id, at.index, now).map(Outcome::Renewed),
            Command::LeaseRevoke { id } | Command::LeaseExpire { id, .. } => {
                let keys = match command {
                    Command::LeaseExpire { seen, .. } => leases.expire(*id, *seen)?,
                    _ => leases.revoke(*id)?,
                };
                let mut write = store.write();
                for key in keys {
                    write.delete_range(&Span { key, end: Bytes::new() });
                }
                (Outcome::Done, write.commit())
            }
        };
        if !changes.is_empty() {
            leases.follow(&changes);
            events.push(changes);
        }
        Ok(outcome)
    }

    /// Makes applied changes known to watchers and to [`Shared::revision`].
    ///
    /// Watchers have a change before its writer has the answer, and reads see its revision after
    /// that.
    pub(crate) fn publish(&self, events: &[Arc<[Event]>]) {
        if let Some(revision) = events.last().and_then(|change| change.first()).map(|e| e.kv.mod_revision) {
            self.hub.publish(events, revision);
            self.revision.store(revision, Ordering::Release);
        }
    }

    /// Replaces everything, from a snapshot that ends with the entry `at`. No reader sees a part
    /// of it: see [`Shared::freeze`].
    pub(crate) fn replace(&self, store: Store, leases: Leases, alarms: BTreeSet<Alarm>, at: Applied) {
        let revision = store.revision();
        let mut own = self.store.write();
        *own = store;
        *self.leases() = leases;
        *self.alarms() = alarms;
        *self.applied() = at;
        drop(own);
        self.hub.reset(revision);
        self.revision.store(revision, Ordering::Release);
    }
}
