//! The log in memory: what is left of it after compaction, and the configurations it contains.

use super::message::{ConfState, Entry, Index, Payload, SnapshotRef, Term};
use std::collections::VecDeque;

/// Entries `base + 1 ..= last`; what came before is only known by a snapshot.
pub(super) struct Log {
    base: (Index, Term),
    entries: VecDeque<Entry>,
    /// Configurations by the index that brought them; the first is the one in force at `base`.
    confs: Vec<(Index, ConfState)>,
}

impl Log {
    pub(crate) fn new(base: (Index, Term), conf: ConfState, entries: Vec<Entry>) -> Log {
        let mut log =
            Log { base, entries: VecDeque::with_capacity(entries.len()), confs: vec![(base.0, conf)] };
        for entry in entries {
            log.append(entry);
        }
        log
    }

    pub(crate) fn base(&self) -> Index {
        self.base.0
    }

    pub(crate) fn last(&self) -> (Index, Term) {
        self.entries.back().map_or(self.base, |e| (e.index, e.term))
    }

    /// Returns the term of an entry; `None` if it is compacted away or not appended yet.
    pub(crate) fn term(&self, index: Index) -> Option<Term> {
        if index == self.base.0 {
            return Some(self.base.1);
        }
        let at = usize::try_from(index.checked_sub(self.base.0 + 1)?).ok()?;
        self.entries.get(at).map(|e| e.term)
    }

    /// The configuration in force, and the entry that brought it.
    pub(crate) fn conf(&self) -> (Index, &ConfState) {
        let (index, conf) = &self.confs[self.confs.len() - 1]; // never empty: `base` has one
        (*index, conf)
    }

    pub(crate) fn conf_at(&self, index: Index) -> &ConfState {
        let upto = self.confs.partition_point(|(at, _)| *at <= index);
        &self.confs[upto.max(1) - 1].1
    }

    /// Appends an entry. Returns whether the configuration changed.
    pub(crate) fn append(&mut self, entry: Entry) -> bool {
        debug_assert_eq!(entry.index, self.last().0 + 1);
        let conf = match &entry.payload {
            Payload::ConfChange(conf) => Some((entry.index, conf.clone())),
            Payload::Empty | Payload::Normal(_) => None,
        };
        self.entries.push_back(entry);
        let changed = conf.is_some();
        self.confs.extend(conf);
        changed
    }

    /// Removes entries from `index` on; `true` if a configuration went with them.
    pub(crate) fn truncate(&mut self, index: Index) -> bool {
        self.entries.truncate((index - self.base.0 - 1) as usize);
        let before = self.confs.len();
        self.confs.retain(|(at, _)| *at < index);
        before != self.confs.len()
    }

    /// Entries `first..=last`, as many as fit in `max_bytes`, but at least one.
    pub(crate) fn slice(&self, first: Index, last: Index, max_bytes: usize) -> Vec<Entry> {
        if first <= self.base.0 || first > last {
            return vec![];
        }
        let from = ((first - self.base.0 - 1) as usize).min(self.entries.len());
        let to = ((last - self.base.0) as usize).min(self.entries.len());
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry.payload.size() + 16;
            first || bytes <= max_bytes
        };
        self.entries.range(from..to).take_while(fits).cloned().collect()
    }

    /// See [`super::Raft::forgettable`].
    pub(crate) fn forgettable(&self, end: Index, entries: u64, bytes: usize) -> Index {
        let (mut upto, mut left) = (end.min(self.last().0), bytes);
        while upto > self.base.0
            && end - upto < entries
            && let Some(entry) = self.entries.get((upto - self.base.0 - 1) as usize)
            && let Some(rest) = left.checked_sub(entry.payload.size())
        {
            (upto, left) = (upto - 1, rest);
        }
        upto
    }

    /// Forgets entries up to `upto`, which must be in the log.
    pub(crate) fn compact(&mut self, upto: Index) {
        if let Some(term) = self.term(upto) {
            let conf = self.conf_at(upto).clone();
            self.confs.retain(|(at, _)| *at > upto);
            self.confs.insert(0, (upto, conf));
            self.entries.drain(..(upto - self.base.0) as usize);
            self.base = (upto, term);
        }
    }

    /// Drops all entries: the log goes on after the last entry of the snapshot.
    pub(crate) fn restore(&mut self, snapshot: &SnapshotRef) {
        *self = Log::new((snapshot.index, snapshot.term), snapshot.conf.clone(), vec![]);
    }

    /// The newest index at or below `index` whose term is at or below `term`: where two logs can
    /// next agree.
    pub(crate) fn conflict(&self, index: Index, term: Term) -> (Index, Term) {
        let mut at = index.min(self.last().0);
        loop {
            match self.term(at) {
                Some(t) if t > term && at > self.base.0 => at -= 1,
                Some(t) => return (at, t),
                None => return (at, 0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(terms: &[Term]) -> Log {
        let entry = |(i, t): (usize, &Term)| Entry { term: *t, index: i as u64 + 1, payload: Payload::Empty };
        Log::new((0, 0), ConfState::of([1]), terms.iter().enumerate().map(entry).collect())
    }

    #[test]
    fn a_conflict_skips_whole_terms() {
        let l = log(&[1, 1, 4, 4, 4, 7]);
        assert_eq!(l.conflict(6, 5), (5, 4));
        assert_eq!(l.conflict(5, 3), (2, 1));
        assert_eq!(l.conflict(99, 9), (6, 7));
        assert_eq!(l.conflict(6, 0), (0, 0));
    }

    #[test]
    fn a_configuration_leaves_with_its_entry() {
        let mut l = log(&[1]);
        let conf = ConfState::of([1, 2]);
        assert!(l.append(Entry { term: 1, index: 2, payload: Payload::ConfChange(conf.clone()) }));
        l.append(Entry { term: 1, index: 3, payload: Payload::Empty });
        assert_eq!((l.conf(), l.conf_at(1).voters.len()), ((2, &conf), 1));
        assert!(!l.truncate(3));
        assert!(l.truncate(2));
        assert_eq!(l.conf(), (0, &ConfState::of([1])));
    }

    #[test]
    fn what_is_kept_behind_a_snapshot_is_bounded_in_entries_and_bytes() {
        let payload = || Payload::Normal(bytes::Bytes::from(vec![0; 100]));
        let entries = (1..=10).map(|index| Entry { term: 1, index, payload: payload() }).collect();
        let l = Log::new((0, 0), ConfState::of([1]), entries);
        assert_eq!(l.forgettable(9, 3, usize::MAX), 6);
        assert_eq!(l.forgettable(9, 99, 350), 6, "large entries: three fit");
        assert_eq!((l.forgettable(9, 99, usize::MAX), l.forgettable(9, 0, usize::MAX)), (0, 9));
        assert_eq!(l.forgettable(9, 99, 99), 9);
    }

    #[test]
    fn compaction_keeps_the_term_at_its_edge() {
        let mut l = log(&[1, 1, 2, 3]);
        l.compact(3);
        assert_eq!((l.term(2), l.term(3), l.term(4), l.term(5)), (None, Some(2), Some(3), None));
        assert_eq!(l.slice(1, 4, 99), []);
        assert_eq!(l.slice(4, 9, 0).len(), 1, "one entry always fits");
    }
}
