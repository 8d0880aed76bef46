//! The smallest guest: every member remembers every value, and clients propose numbers and ask for
//! reads.

use super::guest::{Guest, Members, Read};
use crate::member::{Capture, Persisted, StateMachine, data};
use crate::{Entry, Event, Index, MemberId, SnapshotRef, Status};
use bytes::Bytes;
use rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// All values, in the order of the log.
#[derive(Default)]
pub(super) struct Recorder {
    values: Vec<u64>,
}

impl StateMachine for Recorder {
    fn apply(&mut self, entries: &[Entry], _: Duration) {
        self.values.extend(entries.iter().filter_map(data).map(value));
    }
    fn restore(&mut self, snapshot: &SnapshotRef, _: Duration) -> Result<(), String> {
        self.values = snapshot.data.chunks(8).map(|c| value(&Bytes::copy_from_slice(c))).collect();
        self.values.pop(); // a terminator, so that no snapshot is empty
        Ok(())
    }
    fn capture(&mut self) -> Capture {
        let values = self.values.clone();
        Box::new(move || values.iter().chain(&[0]).flat_map(|v| v.to_le_bytes()).collect())
    }
    fn refused(&mut self, _: u64) {}
    fn read(&mut self, _: u64, _: bool) {}
    fn status(&mut self, _: &Status, _: Index, _: Duration) {}
    fn events(&mut self, _: &[Event]) {}
    fn persisted(&mut self, _: &Persisted) {}
    fn due(&mut self, _: Duration) -> Vec<Bytes> {
        vec![]
    }
}

fn value(bytes: &Bytes) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// Clients that propose numbers.
pub(super) struct Values {
    seed: u64,
    chance: Rng,
    proposed: BTreeMap<u64, MemberId>,
    next_value: u64,
    pub acked: BTreeSet<u64>,
    acked_index: Index,
    /// For each read: an index that was acknowledged before it was asked for.
    read_floor: BTreeMap<u64, Index>,
    next_read: u64,
    reads: usize,
}

impl Values {
    pub(super) fn new(seed: u64) -> Values {
        Values {
            seed,
            chance: Rng::seeded(seed).fork("client"),
            proposed: BTreeMap::new(),
            next_value: 1,
            acked: BTreeSet::new(),
            acked_index: 0,
            read_floor: BTreeMap::new(),
            next_read: 0,
            reads: 0,
        }
    }
}

impl Guest for Values {
    type Machine = Recorder;

    fn starts(&mut self, _: MemberId, _: u64) -> Recorder {
        Recorder::default()
    }

    fn ends(&mut self, _: MemberId) {}

    fn disk(&mut self, _: MemberId, _: bool) {}

    fn act(&mut self, _: u64, quiet: bool, members: Members<'_, Recorder>) {
        for (id, member) in members.into_iter().filter(|_| !quiet) {
            if self.chance.chance(if member.is_leader() { 0.3 } else { 0.03 }) {
                let value = self.next_value;
                self.next_value += 1;
                self.proposed.insert(value, id);
                member.propose(value, Bytes::copy_from_slice(&value.to_le_bytes()));
            }
            if self.chance.chance(0.02) {
                self.next_read += 1;
                let ctx = id << 32 | self.next_read;
                self.read_floor.insert(ctx, self.acked_index);
                member.read(ctx);
            }
        }
    }

    fn look(&mut self, _: u64, member: MemberId, applied: &[Entry], reads: &[Read]) {
        for entry in applied {
            if let Some(value) = data(entry).map(value)
                && self.proposed.get(&value) == Some(&member)
            {
                self.acked.insert(value);
                self.acked_index = self.acked_index.max(entry.index);
            }
        }
        for (ctx, _, applied) in reads.iter().filter(|(_, ok, _)| *ok) {
            let (seed, floor) = (self.seed, self.read_floor.get(ctx).copied().unwrap_or(0));
            self.reads += 1;
            assert!(
                *applied >= floor,
                "seed {seed}: member {member} read at {applied}, {floor} was acknowledged"
            );
        }
    }

    fn reads(&self) -> usize {
        self.reads
    }

    fn judge(&mut self, log: &BTreeMap<Index, Entry>, members: Members<'_, Recorder>) {
        let (seed, all): (u64, Vec<u64>) = (self.seed, log.values().filter_map(data).map(value).collect());
        let lost: Vec<_> = self.acked.iter().filter(|v| !all.contains(v)).collect();
        assert!(lost.is_empty(), "seed {seed}: acknowledged values {lost:?} are gone");
        for (id, member) in members {
            assert_eq!(member.machine().inner.values, all, "seed {seed}: the state of member {id}");
        }
    }
}
