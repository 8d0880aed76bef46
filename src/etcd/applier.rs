//! What a member's thread calls: applies entries, answers callers, and tells the tap.

use super::api::{Error, Event as Change};
use super::command;
use super::kv::Status;
use super::lease::Moment;
use super::machine::{Command, Shared};
use super::snapshot::{self, Frozen};
use super::waiting::Waiting;
use crate::raft;
use crate::raft::member::{Capture, Persisted, StateMachine, data};
use crate::raft::{Entry, Event, MemberId, NONE, ProgressState, Role, SnapshotRef};
use crate::tap::{Record, Tap};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Applier {
    pub shared: Arc<Shared>,
    pub waiting: Arc<Waiting>,
    /// As seen from this member.
    pub tap: Tap,
    /// Names of the members; others are shown by number.
    pub names: BTreeMap<MemberId, String>,
    pub me: MemberId,
    role: Role,
    leader: MemberId,
    /// Term of the last entry applied.
    term: u64,
    persisted: Persisted,
}

impl Applier {
    pub fn new(
        shared: Arc<Shared>,
        waiting: Arc<Waiting>,
        tap: Tap,
        names: BTreeMap<MemberId, String>,
        me: MemberId,
    ) -> Applier {
        let (role, persisted) = (Role::Follower, Persisted::default());
        Applier { shared, waiting, tap, names, me, role, leader: NONE, term: 0, persisted }
    }

    fn name(&self, id: MemberId) -> String {
        match id {
            NONE => String::new(),
            id => self.names.get(&id).cloned().unwrap_or_else(|| format!("{id:x}")),
        }
    }

    fn tell_commit(&self, entry: &Entry, changes: &[Change], took: Duration) {
        let revision = changes.first().map_or(0, |c| c.kv.mod_revision) as u64;
        self.tap.emit(Record::new("commit").revision(revision).took(took).detail(json!({
            "index": entry.index,
            "term": entry.term,
            "fsync_us": self.persisted.took.as_micros() as u64,
            "batch": self.persisted.entries,
        })));
    }
}

impl StateMachine for Applier {
    fn apply(&mut self, entries: &[Entry], now: Moment) {
        let (mut changes, mut answers) = (Vec::new(), Vec::new());
        for entry in entries {
            self.term = entry.term;
            let Some(bytes) = data(entry) else { continue };
            let (request, command) = match command::decode(bytes) {
                Ok(decoded) => decoded,
                // Going on would make this member differ from the others for ever.
                Err(e) => panic!("entry {} of the log was written by another version: {e}", entry.index),
            };
            let before = changes.len();
            let outcome = self.shared.apply(&command, now, &mut changes);
            let (took, answer) = match self.waiting.take(request) {
                Some((took, answer)) => (took, Some(answer)),
                None => (Duration::ZERO, None),
            };
            if let Some(changes) = changes.get(before) {
                self.tell_commit(entry, changes, took);
            }
            answers.extend(answer.map(|answer| (answer, outcome)));
        }
        // Watchers first: whoever is told of a write finds it in the watches already.
        self.shared.publish(&changes);
        for (answer, outcome) in answers {
            let _ = answer.send(outcome); // the caller may have given up
        }
    }

    fn restore(&mut self, s: &SnapshotRef, now: Moment) -> Result<(), String> {
        let (store, leases, alarms) = snapshot::decode(&s.data, now).map_err(|e| e.to_string())?;
        self.shared.replace(store, leases, alarms);
        self.term = s.term;
        Ok(())
    }

    fn check_snapshot(&self, s: &SnapshotRef) -> Result<(), String> {
        snapshot::decode(&s.data, Moment::ZERO).map(drop).map_err(|e| e.to_string())
    }

    fn check_proposal(&self, data: &Bytes) -> Result<(), String> {
        command::decode(data).map(drop).map_err(|e| e.to_string())
    }

    fn capture(&mut self) -> Capture {
        let frozen = Frozen::of(&self.shared.read(), &self.shared.leases(), &self.shared.alarms());
        Box::new(move || frozen.encode())
    }

    fn size(&self) -> u64 {
        self.shared.read().size()
    }

    fn refused(&mut self, id: u64) {
        self.waiting.refuse(id);
    }

    fn read(&mut self, ctx: u64, ok: bool) {
        self.waiting.answer_read(ctx, ok);
    }

    fn status(&mut self, s: &raft::Status, applied: u64, now: Moment) {
        if s.role == Role::Leader && self.role != Role::Leader {
            self.shared.leases().renew_all(now);
        }
        let status = Status {
            member: self.name(self.me),
            is_leader: s.role == Role::Leader,
            leader: self.name(s.leader),
            heir: s.progress.iter().max_by_key(|(_, matched, _)| *matched).map_or(NONE, |(id, ..)| *id),
            term: s.term,
            index: s.commit,
            applied,
            ..Status::default()
        };
        // its own term's first entry is applied: so is everything before it
        let local = s.role == Role::Leader && s.voters == 1 && self.term == s.term;
        self.waiting.set_status(status, s.leader, local);
        if self.leader != NONE && self.leader != s.leader {
            // Nobody knows what became of proposals that the old leader had: they may still be committed.
            self.waiting.fail_proposals(&Error::LeaderChanged);
        }
        (self.role, self.leader) = (s.role, s.leader);
    }

    fn events(&mut self, events: &[Event]) {
        for event in events {
            if let Some((verb, detail)) = describe(event, |id| self.name(id)) {
                self.tap.emit(Record::new(verb).detail(detail));
            }
        }
    }

    fn persisted(&mut self, p: &Persisted) {
        self.persisted = *p;
        if p.entries > 0 {
            let (last, term) = p.last.unwrap_or_default();
            let detail = json!({ "batch": p.entries, "bytes": p.bytes, "last": last, "term": term });
            self.tap.emit(Record::new("append").took(p.took).detail(detail));
        }
    }

    fn due(&mut self, now: Moment) -> Vec<Bytes> {
        if self.waiting.writes_refused().is_some() {
            return vec![]; // they would pile up at every tick, and are still due when there is room
        }
        let expired = self.shared.leases().expired(now);
        expired.into_iter().map(|id| command::encode(0, &Command::LeaseRevoke { id })).collect()
    }
}

impl Drop for Applier {
    fn drop(&mut self) {
        self.waiting.close(&Error::Stopped);
        self.shared.hub.close(&Error::Stopped);
    }
}

/// A Raft event as verb and detail of a tap record; `None` for those that happen with every write.
fn describe(event: &Event, name: impl Fn(MemberId) -> String) -> Option<(&'static str, Value)> {
    Some(match event {
        Event::Append { .. } | Event::Commit { .. } | Event::ReadConfirmed { .. } => return None,
        Event::Role { term, role } => ("role", json!({ "term": term, "role": role.to_string() })),
        Event::Leader { term, leader } => ("leader", json!({ "term": term, "leader": name(*leader) })),
        Event::ElectionTimeout { term } => ("election-timeout", json!({ "term": term })),
        Event::Voted { term, to, pre } => ("vote", json!({ "term": term, "to": name(*to), "pre": pre })),
        Event::Refused { term, to, pre, why } => {
            ("refuse-vote", json!({ "term": term, "to": name(*to), "pre": pre, "why": format!("{why:?}") }))
        }
        Event::Truncate { from } => ("truncate", json!({ "from": from })),
        Event::Conf(conf) => {
            let names = |ids: &std::collections::BTreeSet<MemberId>| -> Vec<String> {
                ids.iter().map(|id| name(*id)).collect()
            };
            ("conf-change", json!({ "voters": names(&conf.voters), "learners": names(&conf.learners) }))
        }
        Event::Progress { member, state } => {
            let state = match state {
                ProgressState::Probe => "Probe",
                ProgressState::Replicate => "Replicate",
                ProgressState::Snapshot(_) => "Snapshot",
            };
            ("progress", json!({ "member": name(*member), "state": state }))
        }
        Event::Transfer { to } => ("transfer", json!({ "to": name(*to) })),
        Event::StepDown { why } => ("step-down", json!({ "why": why })),
        Event::SnapshotInstalled { index } => ("install-snapshot", json!({ "index": index })),
        Event::Compacted { upto } => ("compact-log", json!({ "upto": upto })),
    })
}
