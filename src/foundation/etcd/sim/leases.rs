//! Leases, counted a second time: from the log alone, by a clock that never stops. A lease must
//! keep its keys as long as it is renewed in time, lose all of them at one revision when it is not,
//! never before its time is over, and soon after the storm at the latest. A new leader gives every
//! lease its full time again.

use super::history::{Learned, key_of};
use crate::api::{Event, EventType, Revision};
use crate::command::Command;
use bytes::Bytes;
use raft::sim::world::STEP;
use raft::{Index, Term};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Every lease's TTL, in seconds.
pub(super) const TTL: i64 = 1;
/// A leader that was voted out, and does not know it yet, may count from a renewal that it applied
/// later than its successor. In steps: twice an election timeout.
const STALE: u64 = 40;

/// Returns a time in steps; what is over a step is left out.
pub(super) fn steps(time: Duration) -> u64 {
    (time.as_millis() / STEP.as_millis()) as u64
}

struct Held {
    /// The entry that granted or renewed it last, and the step in which a member applied that entry
    /// first. No member counts from an earlier step.
    renewed: (Index, u64),
    keys: BTreeSet<Bytes>,
}

/// What a client heard at the step `called` or later: the lease lives so many steps from then
/// on.
#[derive(Debug)]
struct Promise {
    lease: i64,
    called: u64,
    left: u64,
}

/// Keys that a lease took along, and the revision.
pub(super) type Taken = (Vec<u8>, Revision);

pub(super) struct Ledger {
    seed: u64,
    held: BTreeMap<i64, Held>,
    /// In which step the first member applied a lease's end.
    ended: BTreeMap<i64, u64>,
    /// Since which step a term's leader was seen to lead.
    leaders: BTreeMap<Term, u64>,
    promises: Vec<Promise>,
    /// Proposals to end a lease that came too late: it had been renewed.
    pub outlived: usize,
    /// Renewals that were acknowledged, and leases whose remaining time was answered.
    pub renewed: usize,
    pub answered: usize,
}

impl Ledger {
    pub(super) fn new(seed: u64) -> Ledger {
        Ledger {
            seed,
            held: BTreeMap::new(),
            ended: BTreeMap::new(),
            leaders: BTreeMap::new(),
            promises: vec![],
            outlived: 0,
            renewed: 0,
            answered: 0,
        }
    }

    /// Leases that ended by themselves.
    pub(super) fn expired(&self) -> usize {
        self.ended.len()
    }

    pub(super) fn all_ended(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn leads(&mut self, term: Term, now: u64) {
        self.leaders.entry(term).or_insert(now);
    }

    /// Notes that a client asked in the step `called`, and heard that the lease lives `left` steps
    /// more.
    pub(super) fn promised(&mut self, lease: i64, called: u64, left: u64) {
        self.promises.push(Promise { lease, called, left });
    }

    /// Notes that a client heard that a lease that it was granted is gone.
    pub(super) fn denied(&self, lease: i64) {
        assert!(self.ended.contains_key(&lease), "seed {}: lease {lease} is there, and denied", self.seed);
    }

    /// Takes over an entry of the log that is applied for the first time, in the step `now`.
    /// Returns what an expired lease took along.
    pub(super) fn learn(&mut self, now: u64, learned: &Learned) -> Option<Taken> {
        let Learned { entry, command, outcome, changes } = learned;
        let (seed, index) = (self.seed, entry.index);
        match command {
            Command::LeaseGrant { id, .. } => {
                assert_eq!(outcome.is_ok(), !self.held.contains_key(id), "seed {seed}: {learned:?}");
                if outcome.is_ok() {
                    self.held.insert(*id, Held { renewed: (index, now), keys: BTreeSet::new() });
                }
            }
            Command::LeaseRenew { id } => {
                let held = self.held.get_mut(id);
                assert_eq!(outcome.is_ok(), held.is_some(), "seed {seed}: {learned:?}");
                held.into_iter().for_each(|held| held.renewed = (index, now));
            }
            Command::Txn(_) => changes.iter().for_each(|event| self.attach(event)),
            Command::LeaseExpire { id, seen } => match self.held.get(id) {
                Some(held) if held.renewed.0 <= *seen => return Some(self.end(now, *id, learned)),
                held => {
                    self.outlived += usize::from(held.is_some());
                    assert!(changes.is_empty(), "seed {seed}: it was renewed, or gone: {learned:?}");
                }
            },
            Command::LeaseRevoke { .. } | Command::Compact { .. } | Command::Alarm { .. } => {}
        }
        None
    }

    fn attach(&mut self, event: &Event) {
        for held in self.held.values_mut() {
            held.keys.remove(&event.kv.key);
        }
        if let (EventType::Put, Some(held)) = (event.kind, self.held.get_mut(&event.kv.lease)) {
            held.keys.insert(event.kv.key.clone());
        }
    }

    fn end(&mut self, now: u64, id: i64, learned: &Learned) -> Taken {
        let (seed, ttl) = (self.seed, steps(Duration::from_secs(TTL as u64)));
        let held = self.held.remove(&id).expect("the caller has looked");
        let since = held.renewed.1;
        assert!(now >= since + ttl, "seed {seed}: step {now} is too early, {since} renewed it: {learned:?}");
        // Seen a step late at most. A leader that crashed before is not known.
        let leads = self.leaders.get(&learned.entry.term).copied().unwrap_or(0);
        let early = format!("step {now} is too early, it leads since {leads}: {learned:?}");
        assert!(now + 1 >= leads + ttl || leads == 0, "seed {seed}: {early}");
        let gone: BTreeSet<Bytes> = learned.changes.iter().map(|event| event.kv.key.clone()).collect();
        assert_eq!(gone, held.keys, "seed {seed}: not what hung on the lease: {learned:?}");
        let revision = learned.changes.first().map_or(0, |event| event.kv.mod_revision);
        let at_once = |e: &Event| e.kind == EventType::Delete && e.kv.mod_revision == revision;
        assert!(learned.changes.iter().all(at_once), "seed {seed}: {learned:?}");
        self.ended.insert(id, now);
        (gone.iter().map(key_of).collect(), revision)
    }

    /// Checks, when everything is over, that no lease ended before its promised time.
    pub(super) fn check(&self) {
        for promise in &self.promises {
            let Promise { lease, called, left } = promise;
            let Some(end) = self.ended.get(lease) else { continue };
            assert!(*end >= called + left, "seed {}: it ended in step {end}: {promise:?}", self.seed);
        }
    }
}

/// Returns, of a time that the leader answered, the steps that hold under each later leader, too.
pub(super) fn firm(left: Duration) -> u64 {
    steps(left).saturating_sub(STALE)
}
