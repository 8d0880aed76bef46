//! What a member's thread calls: applies entries, answers callers, and tells the tap.

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
    /// election timeout, as of etcd (`Promote` in server/lease/lessor.go).
    pub election: Duration,
    /// As this member's thread told it last.
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

    fn tell_commit(&mut self, entry: &Entry, changes: &[Change], took: Duration) {
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
                self.tell_commit(entry, changes, took);
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
mod tests {
    use super::super::alarm::AlarmKind;
    use super::*;
    use ::raft::Payload;

    /// The only member, which leads in term 3, and what it applied.
    struct One {
        applier: Applier,
        index: u64,
        now: Moment,
    }

    impl One {
        fn new() -> One {
            let waiting = Arc::new(Waiting::new(1, "a"));
            let applier = Applier::new(Arc::new(Shared::new()), waiting, Tap::new(), BTreeMap::new(), 1);
            let mut one = One { applier, index: 0, now: Moment::ZERO };
            one.status(0);
            one
        }

        /// `ahead`: so many entries of the log are not applied yet.
        fn status(&mut self, ahead: u64) {
            let (id, term, role, leader) = (1, 3, Role::Leader, 1);
            let (last, voters, only_voter) = (self.index + ahead, 1, true);
            let status =
                raft::Status { id, term, role, leader, last, voters, only_voter, ..Default::default() };
            self.applier.status(&status, self.index, self.now);
        }

        fn apply(&mut self, data: Bytes) {
            self.index += 1;
            let entry = Entry { term: 3, index: self.index, payload: Payload::Normal(data) };
            self.applier.apply(&[entry], self.now);
            self.status(0);
        }

        fn run(&mut self, command: &Command) {
            self.apply(command::encode(0, command));
        }

        fn due_at(&mut self, seconds: u64) -> Vec<Bytes> {
            self.now = Duration::from_secs(seconds);
            self.applier.due(self.now)
        }

        fn has(&self, id: i64) -> bool {
            self.applier.shared.leases().exists(id)
        }
    }

    #[test]
    fn a_renewal_that_is_in_the_log_before_the_revocation_counts() {
        let mut one = One::new();
        one.run(&Command::LeaseGrant { id: 7, ttl: 5 });
        one.status(1); // the renewal is in the log, and the disk is slow
        let expired = one.due_at(5);
        assert_eq!(expired.len(), 1);
        one.run(&Command::LeaseRenew { id: 7 });
        one.apply(expired[0].clone());
        assert!(one.has(7), "its holder was told that it has its time again");
        let expired = one.due_at(10);
        one.apply(expired[0].clone());
        assert!(!one.has(7));
    }

    /// It leads until its removal is committed. The voter that is left may have elected itself by
    /// then.
    #[test]
    fn a_leader_that_is_being_removed_asks_before_it_answers_a_read() {
        let mut one = One::new();
        one.run(&Command::LeaseGrant { id: 7, ttl: 5 });
        assert!(one.applier.waiting.local_reads());
        let (id, term, role, leader, last) = (1, 3, Role::Leader, 1, one.index);
        let status = raft::Status { id, term, role, leader, last, voters: 1, ..Default::default() };
        one.applier.status(&status, one.index, one.now);
        assert!(!one.applier.waiting.local_reads());
    }

    /// A leader hands over while writes are under way: the next one has them in its log, and
    /// commits them.
    #[test]
    fn a_write_that_the_next_leader_commits_is_acknowledged() {
        let mut one = One::new();
        let (id, mut pending) = one.applier.waiting.proposal().unwrap();
        for (role, leader) in [(Role::Follower, NONE), (Role::Follower, 2), (Role::Leader, 1)] {
            let status = raft::Status { id: 1, term: 4, role, leader, ..Default::default() };
            one.applier.status(&status, one.index, one.now);
            assert!(pending.try_recv().is_err(), "it is answered before anybody knows");
        }
        one.apply(command::encode(id, &Command::LeaseGrant { id: 7, ttl: 5 }));
        assert!(matches!(pending.try_recv(), Ok(Ok(_))));
    }

    #[test]
    fn a_full_disk_ends_no_lease_whose_holder_could_not_renew() {
        let mut one = One::new();
        one.run(&Command::LeaseGrant { id: 7, ttl: 5 });
        one.applier.waiting.pause(Some(Error::NoSpace));
        assert_eq!(one.due_at(60), Vec::<Bytes>::new());
        one.applier.waiting.pause(None);
        assert_eq!((one.due_at(61).len(), one.due_at(65).len(), one.due_at(66).len()), (0, 0, 1));
    }

    #[test]
    fn a_new_leader_gives_leases_their_time_and_an_election_timeout() {
        let mut one = One::new();
        one.applier.election = Duration::from_secs(2);
        one.run(&Command::LeaseGrant { id: 7, ttl: 5 });
        one.now = Duration::from_secs(4);
        let (id, term, last) = (1, 3, one.index);
        let follows = raft::Status { id, term, last, leader: 2, voters: 3, ..Default::default() };
        one.applier.status(&follows, one.index, one.now);
        one.status(0);
        assert_eq!((one.due_at(9).len(), one.due_at(10).len(), one.due_at(11).len()), (0, 0, 1));
    }

    #[test]
    fn a_log_without_room_ends_no_lease_whose_holder_could_not_renew() {
        let mut one = One::new();
        one.run(&Command::LeaseGrant { id: 7, ttl: 5 });
        for second in 4..60 {
            let (id, mut renewal) = one.applier.waiting.proposal().unwrap();
            one.applier.overloaded(id);
            assert_eq!(renewal.try_recv().unwrap().err(), Some(Error::TooManyRequests));
            assert_eq!(one.due_at(second), Vec::<Bytes>::new());
        }
        assert_eq!((one.due_at(60).len(), one.due_at(64).len(), one.due_at(65).len()), (0, 0, 1));
    }

    #[test]
    fn alarms_of_ever_new_ids_are_bounded() {
        let mut one = One::new();
        for member in 1..1000 {
            one.run(&Command::Alarm { alarm: Alarm { kind: AlarmKind::NoSpace, member }, on: true });
        }
        assert_eq!(one.applier.shared.alarms().len(), 64);
        for member in 1..1000 {
            one.run(&Command::Alarm { alarm: Alarm { kind: AlarmKind::NoSpace, member }, on: false });
        }
        assert!(one.applier.shared.alarms().is_empty());
    }

    #[test]
    fn while_every_command_is_refused_nothing_is_proposed() {
        let mut one = One::new();
        one.run(&Command::LeaseGrant { id: 7, ttl: 5 });
        let alarm = Alarm { kind: AlarmKind::Corrupt, member: 1 };
        one.run(&Command::Alarm { alarm, on: true });
        assert_eq!((6..60).map(|second| one.due_at(second).len()).sum::<usize>(), 0);
        one.run(&Command::Alarm { alarm, on: false });
        assert_eq!((one.due_at(60).len(), one.due_at(65).len()), (0, 1));
    }

    #[test]
    fn a_log_that_stands_still_is_not_filled_with_revocations() {
        let mut one = One::new();
        one.run(&Command::LeaseGrant { id: 7, ttl: 5 });
        one.status(0);
        assert_eq!(one.due_at(6).len(), 1);
        one.status(1);
        assert_eq!((7..600).map(|second| one.due_at(second).len()).sum::<usize>(), 0);
        one.run(&Command::LeaseRenew { id: 99 });
        assert_eq!(one.due_at(600).len(), 1, "it goes on, and the revocation was lost");
    }

    #[test]
    fn a_leaders_snapshot_is_decoded_once() {
        let mut from = One::new();
        from.run(&Command::LeaseGrant { id: 7, ttl: 5 });
        let snapshot = |index| {
            let data = from.applier.shared.freeze().0.encode().into();
            SnapshotRef { index, term: 3, data, ..SnapshotRef::default() }
        };
        let (first, second) = (snapshot(1), snapshot(2));
        let mut one = One::new();
        let decoded = snapshot::decoded();
        let did = || snapshot::decoded() - decoded;
        one.applier.check_snapshot(&first).expect("it is whole");
        one.applier.restore(&first, Duration::from_secs(60)).expect("it is whole");
        assert_eq!(did(), 1);
        let left = one.applier.shared.leases().left(7, Duration::from_secs(60));
        assert_eq!(left, Ok(Duration::from_secs(5)), "the time counts from the restoring on");
        // another one than the one that was looked at
        one.applier.check_snapshot(&first).expect("it is whole");
        one.applier.restore(&second, one.now).expect("it is whole");
        assert_eq!((did(), one.applier.checked.is_some()), (3, false));
        // one that is looked at, and not restored, is not kept
        one.applier.check_snapshot(&first).expect("it is whole");
        one.run(&Command::LeaseRenew { id: 7 });
        assert!(one.applier.checked.is_none());
        let nonsense = SnapshotRef { data: Bytes::from_static(b"?"), ..first };
        assert!(one.applier.check_snapshot(&nonsense).is_err());
    }

    /// Another member would give an answer that the next leader contradicts.
    #[test]
    fn only_a_leader_that_knows_all_renewals_says_how_long_a_lease_has() {
        let mut one = One::new();
        one.run(&Command::LeaseGrant { id: 7, ttl: 5 });
        let left = |one: &mut One, id| {
            let answer = one.applier.answer(&Question::LeaseLeft { id }.encode(), Duration::from_secs(2));
            answer.map(|bytes| Answer::decode(&bytes).expect("an answer"))
        };
        assert_eq!(left(&mut one, 7), Some(Answer::LeaseLeft(Some(Duration::from_secs(3)))));
        assert_eq!(left(&mut one, 8), Some(Answer::LeaseLeft(None)));
        assert_eq!(one.applier.answer(&Bytes::from_static(b"nonsense"), one.now), None);
        one.applier.applied.term = 2;
        assert_eq!(left(&mut one, 7), None);
        one.applier.applied.term = 3;
        let (id, term, last) = (1, 3, one.index);
        let follows = raft::Status { id, term, last, leader: 2, voters: 3, ..Default::default() };
        one.applier.status(&follows, one.index, one.now);
        assert_eq!(left(&mut one, 7), None);
    }

    /// Until then it may not know a renewal that others know.
    #[test]
    fn a_leader_that_has_applied_nothing_of_its_term_ends_no_lease() {
        let mut one = One::new();
        one.run(&Command::LeaseGrant { id: 7, ttl: 5 });
        one.applier.applied.term = 2;
        assert_eq!(one.due_at(60), Vec::<Bytes>::new());
        one.applier.applied.term = 3;
        assert_eq!(one.due_at(60).len(), 1);
    }
}
