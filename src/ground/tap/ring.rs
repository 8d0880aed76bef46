//! The records that are kept: a ring of those of work, and shares by account for those that cost
//! their sender nothing.

use super::event::Event;
use super::record::Record;
use super::who::account;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Records kept for viewers that come late. At the bound the oldest goes.
pub(super) const RING: usize = 50_000;
/// Bytes of all texts, details and objects that the records kept hold. Beyond it the oldest record
/// goes, too. A record that is larger by itself is not kept: for one huge object, all that happened
/// before would be forgotten.
pub(super) const RING_BYTES: usize = 32 << 20;
/// Records of reads ([`emit_read`](super::Tap::emit_read)) and bytes of them, kept beside the
/// others. At the bound the oldest one of the account that has most goes: a flood of reads takes no
/// records from the work of the cluster, and none from the few reads of other accounts.
pub(super) const READS: Bound = Bound { records: 10_000, bytes: 8 << 20 };
/// Records of guests ([`emit_guest`](super::Tap::emit_guest)), in the same way.
pub(super) const GUESTS: Bound = Bound { records: 5_000, bytes: 4 << 20 };

/// The records that are kept.
#[derive(Default)]
pub(super) struct Ring {
    /// Number of the newest record.
    pub last: u64,
    /// Each with its [`size`](super::size::size).
    pub records: VecDeque<(Arc<Record>, usize)>,
    /// The sum of these sizes.
    bytes: usize,
    pub reads: Shares,
    pub guests: Shares,
}

impl Ring {
    /// Keeps a record of work. At the bound the oldest one goes.
    pub(super) fn keep(&mut self, record: Arc<Record>, size: usize) {
        if size > RING_BYTES {
            return;
        }
        self.bytes += size;
        while self.records.len() >= RING || self.bytes > RING_BYTES {
            let Some((_, size)) = self.records.pop_front() else { break };
            self.bytes -= size;
        }
        self.records.push_back((record, size));
    }
}

/// Records that are kept, and the sum of their sizes, at most. A record that is larger by itself is
/// not kept, as in the ring.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    pub records: usize,
    pub bytes: usize,
}

/// Records that are kept by account.
#[derive(Default)]
pub(super) struct Shares {
    by_account: HashMap<Arc<str>, AccountShare>,
    /// The accounts by how many records they have, and by how many bytes: the account with the most
    /// is found without a walk.
    ranked: [BTreeSet<(usize, Arc<str>)>; 2],
    count: usize,
    bytes: usize,
}

/// The records of one account, each with its size, and the sum.
#[derive(Default)]
struct AccountShare {
    records: VecDeque<(Arc<Record>, usize)>,
    bytes: usize,
}

impl AccountShare {
    fn push(&mut self, record: Arc<Record>, size: usize) {
        self.records.push_back((record, size));
        self.bytes += size;
    }

    /// Gives the oldest record up; its size.
    fn pop(&mut self) -> usize {
        let size = self.records.pop_front().map_or(0, |(_, size)| size);
        self.bytes -= size;
        size
    }

    /// Records and bytes.
    fn sizes(&self) -> [usize; 2] {
        [self.records.len(), self.bytes]
    }
}

impl Shares {
    /// Keeps a record. At the bound the oldest one of the account that has most goes.
    pub(super) fn keep(&mut self, record: Arc<Record>, size: usize, most: Bound) {
        if size > most.bytes {
            return;
        }
        let own = paying_account(&record);
        self.change(&own.into(), |kept| kept.push(record, size));
        (self.count, self.bytes) = (self.count + 1, self.bytes + size);
        while self.count > most.records || self.bytes > most.bytes {
            let by = usize::from(self.count <= most.records);
            let Some((_, largest)) = self.ranked[by].last().cloned() else { break };
            let size = self.change(&largest, AccountShare::pop);
            (self.count, self.bytes) = (self.count - 1, self.bytes - size);
        }
    }

    /// Changes what an account has, and its place among the others with it.
    fn change<T>(&mut self, account: &Arc<str>, change: impl FnOnce(&mut AccountShare) -> T) -> T {
        let mut kept = self.by_account.remove(account).unwrap_or_default();
        for (ranked, size) in self.ranked.iter_mut().zip(kept.sizes()) {
            ranked.remove(&(size, account.clone()));
        }
        let changed = change(&mut kept);
        if !kept.records.is_empty() {
            for (ranked, size) in self.ranked.iter_mut().zip(kept.sizes()) {
                ranked.insert((size, account.clone()));
            }
            self.by_account.insert(account.clone(), kept);
        }
        changed
    }

    /// Returns the records above a number, in no order.
    pub(super) fn records_after(&self, seq: u64) -> impl Iterator<Item = Arc<Record>> {
        self.by_account.values().flat_map(move |kept| records_after(&kept.records, seq))
    }
}

/// Returns the account whose share a record takes: the one behind its request; of a lookup, the
/// address that asked, since a pod may ask without end. All others are the store's clients, which
/// have one share.
fn paying_account(record: &Record) -> String {
    match (&record.request, &record.event) {
        (Some(request), _) => account(&request.user, &request.impersonator),
        (None, Event::Lookup(lookup)) => lookup.from.clone(),
        (None, _) => String::new(),
    }
}

/// Returns the records above a number, of those that stand in its order.
pub(super) fn records_after(
    records: &VecDeque<(Arc<Record>, usize)>,
    seq: u64,
) -> impl Iterator<Item = Arc<Record>> {
    let skip = records.partition_point(|(r, _)| r.seq <= seq);
    records.iter().skip(skip).map(|(r, _)| r.clone())
}
