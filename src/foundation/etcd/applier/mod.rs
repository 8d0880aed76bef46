//! What a member's thread calls: applies entries, answers callers, and writes records.

use super::alarm::Alarm;
use super::api::{Error, Event as Change};
use super::command::{self, Command};
use super::lease::{Leases, Moment};
use super::machine::{Applied, Shared};
use super::member::Status;
use super::mvcc::Store;
use super::question::{Answer, Question};
use super::raft_events::describe;
use super::snapshot;
use super::syncs::Syncs;
use super::waiting::Waiting;
use ::raft::member::{Capture, Persisted, StateMachine, data};
use ::raft::{Entry, Event, MemberId, NONE, Role, SnapshotRef};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tap::{Record, Tap};

pub(super) struct Applier {
    pub shared: Arc<Shared>,
    pub waiting: Arc<Waiting>,
    /// As seen from this member.
    pub tap: Tap,
    /// Names of the members; others are shown by number.
    pub names: BTreeMap<MemberId, String>,
    pub me: MemberId,
    /// The time that each lease gets beside its own when this member becomes the leader: an
    /// election timeout, as in etcd (`Promote` in server/lease/lessor.go).
    pub election: Duration,
    /// This member's role in the last status of its thread.
    role: Role,
    /// The last entry applied.
    applied: Applied,
    /// This member's term, and the last entry of its log.
    term: u64,
    last: u64,
    /// The last entry that was applied when revocations were proposed last.
    proposed_at: u64,
    /// Renewals were refused when leases were looked at last.
    refused: bool,
    /// The log had no room for a proposal since leases were looked at last.
    overloaded: bool,
    /// What the records of commits tell of the disk.
    syncs: Syncs,
    /// A leader's snapshot that was checked and may be restored next: its bytes, and the state that
    /// was made of them.
    checked: Option<(Bytes, State)>,
}

type State = (Store, Leases, BTreeSet<Alarm>);

impl Applier {
    pub(crate) fn new(
        shared: Arc<Shared>,
        waiting: Arc<Waiting>,
        tap: Tap,
        names: BTreeMap<MemberId, String>,
        me: MemberId,
    ) -> Applier {
        let (role, syncs) = (Role::Follower, Syncs::default());
        let applied = Applied::default();
        let (term, last, proposed_at) = (0, 0, 0);
        let (refused, overloaded, checked) = (false, false, None);
        Applier {
            shared,
            waiting,
            tap,
            names,
            me,
            election: Duration::ZERO,
            role,
            applied,
            term,
            last,
            proposed_at,
            refused,
            overloaded,
            syncs,
            checked,
        }
    }

    fn name(&self, id: MemberId) -> String {
        match id {
            NONE => String::new(),
            id => self.names.get(&id).cloned().unwrap_or_else(|| format!("{id:x}")),
        }
    }

    fn record_commit(&mut self, entry: &Entry, changes: &[Change], took: Duration) {
        let revision = changes.first().map_or(0, |c| c.kv.mod_revision) as u64;
        let sync = self.syncs.of(entry.index);
        let (index, term, batch) = (entry.index, entry.term, sync.map_or(0, |sync| sync.entries));
        let fsync_us = sync.map(|sync| sync.took.as_micros() as u64);
        let event = tap::Event::CommitEntry { index, term, fsync_us, batch };
        self.tap.emit(Record::new(event).revision(revision).took(took));
    }
}

impl StateMachine for Applier {
    /// Applies entries of the log in their order. Every member does the same with the same entries,
    /// so all have the same keys and revisions without comparing them. A caller waits on one member
    /// only, which sends it the outcome.
    fn apply(&mut self, entries: &[Entry], now: Moment) {
        self.checked = None; // a snapshot that is to be restored comes before the entries behind it
        let (mut changes, mut answers) = (Vec::new(), Vec::new());
        for entry in entries {
            self.applied = Applied { index: entry.index, term: entry.term };
            let Some(bytes) = data(entry) else { continue };
            let (request, command) = match command::decode(bytes) {
                Ok(decoded) => decoded,
                // Going on would make this member differ from the others for ever.
                Err(e) => panic!("entry {} of the log was written by another version: {e}", entry.index),
            };
            let before = changes.len();
            let outcome = self.shared.apply(&command, self.applied, now, &mut changes);
            let (took, answer) = match self.waiting.take_proposal(request) {
                Some((took, answer)) => (took, Some(answer)),
                None => (Duration::ZERO, None),
            };
            if let Some(changes) = changes.get(before) {
                self.record_commit(entry, changes, took);
            }
            answers.extend(answer.map(|answer| (answer, outcome)));
        }
        // Watchers first: when a client gets the answer to its write, the watches have the
        // write already.
        self.shared.publish(&changes);
        for (answer, outcome) in answers {
            let _ = answer.send(outcome); // the caller may have given up
        }
    }

    fn restore(&mut self, s: &SnapshotRef, now: Moment) -> Result<(), String> {
        // No heartbeat is heard while a large state is decoded, which takes seconds: once is
        // enough.
        let same = |data: &Bytes| (data.as_ptr(), data.len()) == (s.data.as_ptr(), s.data.len());
        let (store, mut leases, alarms) = match self.checked.take() {
            Some((data, state)) if same(&data) => state,
            _ => snapshot::decode(&s.data).map_err(|e| e.to_string())?,
        };
        leases.renew_all(now, Duration::ZERO);
        self.applied = Applied { index: s.index, term: s.term };
        self.shared.replace(store, leases, alarms, self.applied);
        Ok(())
    }

    fn check_snapshot(&mut self, s: &SnapshotRef) -> Result<(), String> {
        let state = snapshot::decode(&s.data).map_err(|e| e.to_string())?;
        self.checked = Some((s.data.clone(), state));
        Ok(())
    }

    fn check_proposal(&self, data: &Bytes) -> Result<(), String> {
        command::decode(data).map(drop).map_err(|e| e.to_string())
    }

    fn capture(&mut self) -> Capture {
        let (frozen, _) = self.shared.freeze();
        Box::new(move || frozen.encode())
    }

    fn size(&self) -> u64 {
        self.shared.size()
    }

    fn refused(&mut self, id: u64) {
        self.waiting.refuse(id);
    }

    fn overloaded(&mut self, id: u64) {
        self.overloaded = true; // it has no room for a renewal either
        self.waiting.overload(id);
    }

    fn read(&mut self, ctx: u64, ok: bool) {
        self.waiting.answer_read(ctx, ok);
    }

    fn answer(&mut self, question: &Bytes, now: Moment) -> Option<Bytes> {
        // Before an entry of its own term a leader does not know all renewals.
        let knows = self.role == Role::Leader && self.applied.term == self.term;
        let Question::LeaseLeft { id } = Question::decode(question).ok().filter(|_| knows)?;
        Some(Answer::LeaseLeft(self.shared.leases().left(id, now).ok()).encode())
    }

    fn answered(&mut self, ctx: u64, answer: Option<Bytes>) {
        self.waiting.answer(ctx, answer);
    }

    fn status(&mut self, s: &raft::Status, applied: u64, now: Moment) {
        if s.role == Role::Leader && self.role != Role::Leader {
            self.shared.leases().renew_all(now, self.election);
        }
        let status = Status {
            member: self.name(self.me),
            is_leader: s.role == Role::Leader,
            leader: self.name(s.leader),
            heir: s.heir,
            term: s.term,
            index: s.commit,
            applied,
            ..Status::default()
        };
        // its own term's first entry is applied: so is everything before it
        let local = s.role == Role::Leader && s.only_voter && self.applied.term == s.term;
        (self.term, self.last) = (s.term, s.last);
        // a leader that hands over takes no proposals: they wait for the one that comes, or for its
        // staying
        let takes = if s.transferee == NONE { s.leader } else { NONE };
        self.waiting.set_status(status, s.leader, takes, local);
        // Proposals that are under way wait on, as with etcd: what a majority has in its log is
        // committed by the next leader, and their callers bound the time of the others.
        self.role = s.role;
    }

    fn events(&mut self, events: &[Event]) {
        for event in events {
            if let Some(event) = describe(event, |id| self.name(id)) {
                self.tap.emit(Record::new(event));
            }
        }
    }

    fn persisted(&mut self, p: &Persisted) {
        self.syncs.note(p);
        if p.entries > 0 {
            let (last, term) = p.last.unwrap_or_default();
            let event = tap::Event::Append { batch: p.entries, bytes: p.bytes, last, term };
            self.tap.emit(Record::new(event).took(p.took));
        }
    }

    fn due(&mut self, now: Moment) -> Vec<Bytes> {
        let overloaded = std::mem::take(&mut self.overloaded);
        if overloaded || self.waiting.writes_refused().is_some() || self.shared.is_corrupt() {
            self.refused = true;
            return vec![]; // they would pile up, and be refused
        }
        if std::mem::take(&mut self.refused) {
            // clients that tried to renew their leases meanwhile were refused
            self.shared.leases().renew_all(now, Duration::ZERO);
        }
        // Before an entry of its own term a leader does not know all renewals (`snapshot::decode`).
        // And what was proposed is not proposed again while the log stands still: it is still in
        // there.
        let stalled = self.last > self.applied.index && self.proposed_at == self.applied.index;
        if self.applied.term != self.term || stalled {
            return vec![];
        }
        let (expired, seen) = (self.shared.leases().take_expired(now), self.applied.index);
        if !expired.is_empty() {
            self.proposed_at = seen;
        }
        expired.into_iter().map(|id| command::encode(0, &Command::LeaseExpire { id, seen })).collect()
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        // Watches first: a client that hears `Stopped` cannot begin one any more.
        self.shared.hub.close(&Error::Stopped);
        self.waiting.close(&Error::Stopped);
    }
}

#[cfg(test)]
mod tests;
