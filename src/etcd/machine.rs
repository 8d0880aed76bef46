//! The state machine: committed commands in, the same answers and the same state on every member out.

use super::api::{Error, Event, RequestOp, Revision, TxnRequest, TxnResponse};
use super::lease::{Leases, Moment};
use super::mvcc::{Span, Store};
use super::txn;
use super::watch::Hub;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};

/// What is written to the Raft log. Reads are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Txn(TxnRequest),
    Compact {
        revision: Revision,
    },
    LeaseGrant {
        id: i64,
        ttl: i64,
    },
    LeaseRevoke {
        id: i64,
    },
    /// Tells every member that the holder is alive; changes no key and no revision.
    LeaseRenew {
        id: i64,
    },
    /// Raises or ends an alarm; changes no key and no revision.
    Alarm {
        alarm: Alarm,
        on: bool,
    },
}

/// A member's word that something is wrong with the store, in force on all of them until somebody ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    pub kind: AlarmKind,
    pub member: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmKind {
    /// Nothing that adds bytes is taken.
    NoSpace = 1,
    /// Nothing is taken.
    Corrupt = 2,
}

/// What a command answers.
#[derive(Clone, Debug, Default)]
pub enum Outcome {
    Txn(TxnResponse),
    #[default]
    Done,
    /// The TTL in seconds.
    Renewed(i64),
}

/// The state that readers share with the one thread that applies.
#[derive(Default)]
pub(super) struct Shared {
    store: RwLock<Store>,
    leases: Mutex<Leases>,
    alarms: Mutex<BTreeSet<Alarm>>,
    pub hub: Arc<Hub>,
    revision: AtomicI64,
}

impl Shared {
    pub fn new() -> Shared {
        let shared = Shared::default();
        shared.revision.store(super::mvcc::FIRST_REVISION, Ordering::Release);
        shared
    }

    pub fn read(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn store(&self) -> &RwLock<Store> {
        &self.store
    }

    pub fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn alarms(&self) -> MutexGuard<'_, BTreeSet<Alarm>> {
        self.alarms.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Does an alarm forbid this command?
    fn forbidden(&self, command: &Command) -> Result<(), Error> {
        let alarms = self.alarms();
        if matches!(command, Command::Alarm { .. }) || alarms.is_empty() {
            return Ok(());
        }
        if alarms.iter().any(|a| a.kind == AlarmKind::Corrupt) {
            return Err(Error::Corrupt);
        }
        let adds = match command {
            // etcd does not look into inner transactions here
            Command::Txn(t) => t.success.iter().chain(&t.failure).any(|op| matches!(op, RequestOp::Put(_))),
            Command::LeaseGrant { .. } => true,
            _ => false,
        };
        if adds { Err(Error::NoSpace) } else { Ok(()) }
    }

    /// The revision applied and published so far.
    pub fn revision(&self) -> Revision {
        self.revision.load(Ordering::Acquire)
    }

    /// Applies one command. `events` takes the changes, which the caller hands to [`Shared::publish`]
    /// before it answers anybody. Deterministic but for `now`, which only moves lease deadlines.
    pub fn apply(
        &self,
        command: &Command,
        now: Moment,
        events: &mut Vec<Arc<[Event]>>,
    ) -> Result<Outcome, Error> {
        self.forbidden(command)?;
        let mut store = self.store.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut leases = self.leases();
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
                leases.grant(*id, *ttl, now)?;
                return Ok(Outcome::Done);
            }
            Command::Alarm { alarm, on } => {
                match on {
                    true => self.alarms().insert(*alarm),
                    false => self.alarms().remove(alarm),
                };
                return Ok(Outcome::Done);
            }
            Command::LeaseRenew { id } => return leases.renew(*id, now).map(Outcome::Renewed),
            Command::LeaseRevoke { id } => {
                let mut write = store.write();
                for key in leases.revoke(*id)? {
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
    pub fn publish(&self, events: &[Arc<[Event]>]) {
        if let Some(revision) = events.last().and_then(|change| change.first()).map(|e| e.kv.mod_revision) {
            self.hub.publish(events, revision);
            self.revision.store(revision, Ordering::Release);
        }
    }

    /// Replaces everything, from a snapshot.
    pub fn replace(&self, store: Store, leases: Leases, alarms: BTreeSet<Alarm>) {
        let revision = store.revision();
        *self.store.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = store;
        *self.leases() = leases;
        *self.alarms() = alarms;
        self.hub.reset(revision);
        self.revision.store(revision, Ordering::Release);
    }
}
