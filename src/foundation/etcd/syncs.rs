//! Finds the sync that made an entry of the log durable, for the record of its commit.
//!
//! In a cluster an entry is applied some time after this member has synced it: when a majority has.
//! Meanwhile this member may have synced later entries, too.

use raft::Index;
use raft::member::Persisted;
use std::collections::VecDeque;

/// Syncs that are kept, at most. More wait only where no majority answers; the oldest are forgotten
/// then, and the records of their entries tell of no sync.
const KEPT: usize = 256;

/// The newest syncs that wrote entries, oldest first.
#[derive(Default)]
pub(super) struct Syncs(VecDeque<Persisted>);

impl Syncs {
    /// Keeps a sync. One without entries, of a vote for example, is passed over.
    pub(crate) fn note(&mut self, sync: &Persisted) {
        if sync.entries == 0 {
            return;
        }
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back(*sync);
    }

    /// Returns the sync that wrote an entry, and forgets those before it: entries are applied in
    /// their order. `None` if it is not known, for example because the member has been started
    /// since.
    ///
    /// Example: one sync wrote entries 1 to 3, the next one entry 4. Of entry 2 it is the first,
    /// of entry 4 the second.
    pub(crate) fn of(&mut self, index: Index) -> Option<Persisted> {
        let last = |sync: &Persisted| sync.last.map_or(0, |(last, _)| last);
        let done = self.0.iter().take_while(|sync| last(sync) < index).count();
        self.0.drain(..done);
        let wrote = |sync: &&Persisted| {
            let before = last(sync).saturating_sub(sync.entries as Index);
            (before + 1..=last(sync)).contains(&index)
        };
        // The newest first: a new leader's entries may have replaced those of an older sync.
        self.0.iter().rev().find(wrote).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::api::{PutRequest, RequestOp, TxnRequest};
    use super::super::applier::Applier;
    use super::super::command::{self, Command};
    use super::super::machine::Shared;
    use super::super::waiting::Waiting;
    use super::*;
    use raft::member::StateMachine;
    use raft::{Entry, Payload};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;
    use tap::{Event, Record, Tap};

    fn sync(last: Index, entries: usize) -> Persisted {
        let took = Duration::from_millis(last);
        Persisted { entries, last: Some((last, 1)), took, ..Persisted::default() }
    }

    #[test]
    fn the_record_of_a_commit_tells_of_the_sync_of_its_entry() {
        let (tap, waiting) = (Tap::new(), Arc::new(Waiting::new(1, "a")));
        let shared = Arc::new(Shared::new());
        let mut applier = Applier::new(shared, waiting, tap.clone(), BTreeMap::new(), 1);
        let put = RequestOp::Put(PutRequest { key: "a".into(), ..Default::default() });
        let txn = TxnRequest { success: vec![put], ..Default::default() };
        let data = command::encode(0, &Command::Txn(txn));
        let entry = |index| Entry { term: 1, index, payload: Payload::Normal(data.clone()) };
        // Both are durable here before a majority has the first. Of entry 5 nothing is known.
        applier.persisted(&sync(1, 1));
        applier.persisted(&sync(4, 3));
        applier.apply(&[entry(1), entry(2), entry(5)], Duration::ZERO);
        let of = |record: &Arc<Record>| match record.event {
            Event::CommitEntry { fsync_us, batch, .. } => Some((fsync_us, batch)),
            _ => None,
        };
        let recorded: Vec<(Option<u64>, usize)> = tap.since(0).iter().filter_map(of).collect();
        assert_eq!(recorded, [(Some(1000), 1), (Some(4000), 3), (None, 0)]);
    }

    #[test]
    fn each_entry_has_its_sync_and_an_unknown_one_has_none() {
        let mut syncs = Syncs::default();
        for done in [sync(3, 2), Persisted::default(), sync(4, 1), sync(9, 5)] {
            syncs.note(&done);
        }
        let batch = |index| syncs.of(index).map(|sync| sync.entries);
        let batches: Vec<Option<usize>> = (1..=10).map(batch).collect();
        let [two, one, five] = [2, 1, 5].map(Some);
        assert_eq!(batches, [None, two, two, one, five, five, five, five, five, None]);
        assert!(syncs.0.is_empty());
    }

    #[test]
    fn an_entry_that_another_one_replaced_has_the_later_sync() {
        let mut syncs = Syncs::default();
        syncs.note(&sync(9, 5));
        syncs.note(&sync(7, 1));
        let batches = [6, 7].map(|index| syncs.of(index).map(|sync| sync.entries));
        assert_eq!(batches, [Some(5), Some(1)]);
    }

    #[test]
    fn syncs_of_entries_that_no_majority_has_are_bounded() {
        let mut syncs = Syncs::default();
        (1..10_000).for_each(|index| syncs.note(&sync(index, 1)));
        assert_eq!(syncs.0.len(), KEPT);
    }
}
