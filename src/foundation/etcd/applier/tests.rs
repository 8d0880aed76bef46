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
        let status = raft::Status { id, term, role, leader, last, voters, only_voter, ..Default::default() };
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
