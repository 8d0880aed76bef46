//! What clients saw, and whether it can be true.

use super::linear::{ABSENT, Action, Call, Value, Verdict, judge};
use crate::api::{Error, Event, EventType, Revision};
use crate::command;
use crate::command::Command;
use crate::machine::{Applied, Shared};
use bytes::Bytes;
use raft::member::data;
use raft::{Entry, Index, MemberId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// States that the search for an order may look at, per key: a hundred times what the worst seeds
/// took.
const BUDGET: usize = 1_000_000;

/// One run of a member, from a start to a crash.
pub(super) type Run = (MemberId, u64);

/// A request as its client remembers it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub key: u8,
    pub action: Action,
    /// Answered from the member's own state, without asking the leader.
    pub serializable: bool,
    pub run: Run,
    pub called: u64,
    pub returned: Option<u64>,
    /// The answer's revision; 0 if there was no answer.
    pub revision: Revision,
    /// It was refused: it must not have happened.
    pub refused: bool,
}

impl Record {
    /// Returns the value that it brought, if it is known to have done so.
    fn wrote(&self) -> Option<Value> {
        match self.action {
            Action::Write { value } | Action::Swap { value, outcome: Some(Ok(())), .. } => Some(value),
            Action::Delete { found: Some(true) } => Some(ABSENT),
            _ => None,
        }
    }

    fn saw(&self) -> Option<Value> {
        match self.action {
            Action::Read { saw } | Action::Swap { outcome: Some(Err(saw)), .. } => Some(saw),
            Action::Delete { found: Some(false) } => Some(ABSENT),
            _ => None,
        }
    }
}

/// An event, as far as it matters here: revision, key, value.
pub(super) type Change = (Revision, Bytes, Value);

pub(super) fn change(event: &Event) -> Change {
    let value = match event.kind {
        EventType::Put => value(&event.kv.value),
        EventType::Delete => ABSENT,
    };
    (event.kv.mod_revision, event.kv.key.clone(), value)
}

pub(super) fn value(bytes: &[u8]) -> Value {
    <[u8; 4]>::try_from(bytes).map_or(Value::MAX, Value::from_le_bytes)
}

pub(super) fn key_name(key: u8) -> Bytes {
    Bytes::from(vec![b'k', b'0' + key])
}

pub(super) fn key_of(name: &Bytes) -> u8 {
    name[1] - b'0'
}

/// An entry of the store, and what it did.
#[derive(Debug)]
pub(super) struct Learned {
    pub entry: Entry,
    pub command: Command,
    pub outcome: Result<(), Error>,
    pub changes: Vec<Event>,
}

/// What the members agreed on, applied once, in a place that is never cut off.
pub(super) struct Truth {
    pub state: Shared,
    /// The last entry applied.
    pub index: Index,
    /// Every change since the beginning.
    pub changes: Vec<Change>,
    by_key: BTreeMap<Bytes, Vec<(Revision, Value)>>,
}

impl Truth {
    pub(super) fn new() -> Truth {
        Truth { state: Shared::new(), index: 0, changes: vec![], by_key: BTreeMap::new() }
    }

    /// Takes an entry that some member applied. `None` if it is known, or none of the store's.
    pub(super) fn learn(&mut self, entry: &Entry) -> Option<Learned> {
        if entry.index <= self.index {
            return None;
        }
        assert_eq!(entry.index, self.index + 1, "no member has applied the one before");
        self.index = entry.index;
        let (_, command) = command::decode(data(entry)?).expect("an entry of the store");
        let (at, mut events) = (Applied { index: entry.index, term: entry.term }, vec![]);
        let outcome = self.state.apply(&command, at, Duration::ZERO, &mut events).map(drop);
        let changes: Vec<Event> = events.iter().flat_map(|e| e.iter()).cloned().collect();
        for (revision, key, value) in changes.iter().map(change) {
            self.by_key.entry(key.clone()).or_default().push((revision, value));
            self.changes.push((revision, key, value));
        }
        Some(Learned { entry: entry.clone(), command, outcome, changes })
    }

    fn at(&self, key: u8, revision: Revision) -> Value {
        let versions = self.by_key.get(&key_name(key)).map_or(&[][..], |v| v);
        versions[..versions.partition_point(|(at, _)| *at <= revision)].last().map_or(ABSENT, |(_, v)| *v)
    }

    fn has(&self, key: u8, revision: Revision, value: Value) -> bool {
        self.by_key.get(&key_name(key)).is_some_and(|v| v.contains(&(revision, value)))
    }
}

/// Judges everything that clients saw. Panics with the first lie.
pub(super) fn check(seed: u64, records: &[Record], truth: &Truth) {
    linearizable(seed, records);
    revisions(seed, records);
    serializable(seed, records);
    for r in records {
        if let Some(value) = r.wrote().filter(|_| r.revision > 0) {
            assert!(truth.has(r.key, r.revision, value), "seed {seed}: acknowledged and lost: {r:?}");
        }
        if let Some(saw) = r.saw().filter(|_| r.revision > 0) {
            let is = truth.at(r.key, r.revision);
            assert_eq!(saw, is, "seed {seed}: that is not what the key was at this revision: {r:?}");
        }
        if let (true, Action::Write { value } | Action::Swap { value, .. }) = (r.refused, r.action) {
            let happened = truth.changes.iter().any(|(_, _, v)| *v == value);
            assert!(!happened, "seed {seed}: refused, and yet it happened: {r:?}");
        }
    }
    let mut once = BTreeSet::new();
    for change in truth.changes.iter().filter(|(_, _, value)| *value != ABSENT) {
        let (_, key, value) = change;
        assert!(once.insert((key, value)), "seed {seed}: a write happened twice: {change:?}");
    }
}

fn linearizable(seed: u64, records: &[Record]) {
    let mut keys: BTreeMap<u8, Vec<Call>> = BTreeMap::new();
    for r in records.iter().filter(|r| !r.serializable && !r.refused) {
        let call = Call { action: r.action, called: r.called, returned: r.returned };
        keys.entry(r.key).or_default().push(call);
    }
    for (key, calls) in keys {
        match judge(&calls, BUDGET) {
            Verdict::Linearizable => {}
            Verdict::Violated => {
                panic!("seed {seed}: the history of key {key} is not linearizable: {calls:#?}")
            }
            Verdict::Undecided => panic!("seed {seed}: the history of key {key} is too long to judge"),
        }
    }
}

/// Across all keys: a read that begins after an answer returns at least the revision of that
/// answer, and a write returns a later one.
fn revisions(seed: u64, records: &[Record]) {
    let asked: Vec<&Record> = records.iter().filter(|r| !r.serializable && r.revision > 0).collect();
    let mut returns: Vec<(u64, Revision)> =
        asked.iter().filter_map(|r| Some((r.returned?, r.revision))).collect();
    returns.sort_unstable();
    let mut newest = 0;
    for (_, revision) in &mut returns {
        newest = newest.max(*revision);
        *revision = newest;
    }
    for r in asked {
        let before =
            returns[..returns.partition_point(|(at, _)| *at < r.called)].last().map_or(0, |(_, r)| *r);
        let later = r.revision > before || (r.wrote().is_none() && r.revision == before);
        assert!(later, "seed {seed}: revision {before} was known before this was asked: {r:?}");
    }
}

/// Checks that a member's own state does not go back while it runs.
fn serializable(seed: u64, records: &[Record]) {
    let mut newest: BTreeMap<Run, Revision> = BTreeMap::new();
    for r in records.iter().filter(|r| r.serializable) {
        let known = newest.entry(r.run).or_default();
        assert!(r.revision >= *known, "seed {seed}: it knew revision {known} before: {r:?}");
        *known = r.revision;
    }
}
