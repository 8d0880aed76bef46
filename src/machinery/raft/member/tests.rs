//! A follower of three, and what it asks its leader.

use crate::Status;
use crate::core::{Config, Stored};
use crate::member::{Capture, Edge, Member, Persisted, SnapshotPolicy, StateMachine, Write};
use crate::message::{
    Body, ConfChange, ConfState, Entry, Event, HardState, Index, Message, NONE, Payload, Role, SnapshotRef,
    Term,
};
use bytes::Bytes;
use std::time::Duration;

/// Remembers which reads were answered, and how; the newest status; what the leader answered; and
/// which snapshots of a leader were looked at.
#[derive(Default)]
struct Reads(Vec<(u64, bool)>, Status, Vec<(u64, Option<Bytes>)>, Vec<Index>);

impl StateMachine for Reads {
    fn apply(&mut self, _: &[Entry], _: Duration) {}
    fn restore(&mut self, _: &SnapshotRef, _: Duration) -> Result<(), String> {
        Ok(())
    }
    fn check_snapshot(&mut self, snapshot: &SnapshotRef) -> Result<(), String> {
        self.3.push(snapshot.index);
        Ok(())
    }
    fn capture(&mut self) -> Capture {
        Box::new(Vec::new)
    }
    fn refused(&mut self, _: u64) {}
    fn read(&mut self, ctx: u64, ok: bool) {
        self.0.push((ctx, ok));
    }
    fn answer(&mut self, question: &Bytes, _: Duration) -> Option<Bytes> {
        Some(question.clone())
    }
    fn answered(&mut self, ctx: u64, answer: Option<Bytes>) {
        self.2.push((ctx, answer));
    }
    fn status(&mut self, status: &Status, _: Index, _: Duration) {
        self.1 = status.clone();
    }
    fn events(&mut self, _: &[Event]) {}
    fn persisted(&mut self, _: &Persisted) {}
    fn due(&mut self, _: Duration) -> Vec<Bytes> {
        Vec::new()
    }
}

/// Keeps what is sent; its disk is durable at once.
#[derive(Default)]
struct Wire {
    sent: Vec<Message>,
    written: Vec<Persisted>,
    /// Snapshots that were begun.
    snapshots: Vec<SnapshotRef>,
    /// Snapshots from the leader that were given to the disk.
    installs: Vec<Index>,
    /// Up to where the log was released.
    released: Vec<Index>,
}

impl Edge for Wire {
    fn write(&mut self, write: Write) {
        self.installs.extend(write.snapshot.map(|snapshot| snapshot.index));
        self.written.push(Persisted { batch: write.batch, ..Persisted::default() });
    }
    fn send(&mut self, message: Message) {
        self.sent.push(message);
    }
    fn snapshot(&mut self, snapshot: SnapshotRef, _: Capture) {
        self.snapshots.push(snapshot);
    }
    fn release(&mut self, upto: Index) {
        self.released.push(upto);
    }
}

struct Follower {
    member: Member<Reads>,
    wire: Wire,
}

impl Follower {
    /// Member 1, which has heard from its leader, member 2.
    fn new() -> Follower {
        let snapshot = SnapshotRef { conf: ConfState::of([1, 2, 3]), ..SnapshotRef::default() };
        let stored = Stored { hard: HardState::default(), snapshot, entries: Vec::new() };
        let config = Config { id: 1, election_ticks: 100, heartbeat_ticks: 2, seed: 1 };
        let member = Member::new(config, stored, Reads::default(), SnapshotPolicy::default(), Duration::ZERO);
        let mut follower = Follower { member: member.expect("an empty state"), wire: Wire::default() };
        follower.hear(Body::MsgHeartbeat { commit: 0, read: 0 });
        follower
    }

    fn hear(&mut self, body: Body) {
        self.member.step(Message { from: 2, to: 1, term: 1, body });
        self.pump();
    }

    fn pump(&mut self) {
        while self.member.pump(Duration::ZERO, &mut self.wire) {
            for write in std::mem::take(&mut self.wire.written) {
                self.member.persisted(&write, Duration::ZERO, &mut self.wire);
            }
        }
    }

    /// What the leader was asked since the last look.
    fn asked(&mut self) -> Vec<u64> {
        let sent = std::mem::take(&mut self.wire.sent);
        let questions = sent.into_iter().filter_map(|m| match m.body {
            Body::MsgReadIndex { ctx } => Some(ctx),
            _ => None,
        });
        questions.collect()
    }

    fn answered(&mut self) -> Vec<(u64, bool)> {
        std::mem::take(&mut self.member.machine().0)
    }
}

#[test]
fn reads_that_come_while_a_question_is_under_way_share_the_next_one() {
    let mut follower = Follower::new();
    follower.member.read(10);
    follower.member.read(11);
    follower.pump();
    assert_eq!(follower.asked(), [10], "one question for both");
    follower.member.read(12);
    follower.member.read(13);
    follower.pump();
    assert_eq!(
        (follower.asked(), follower.answered()),
        (vec![], vec![]),
        "12 came too late for that question"
    );

    follower.hear(Body::MsgReadIndexResp { ctx: 10, index: 0 });
    assert_eq!(follower.answered(), [(10, true), (11, true)]);
    assert_eq!(follower.asked(), [12]);
    follower.hear(Body::MsgReadIndexResp { ctx: 10, index: 0 });
    assert_eq!(follower.answered(), [], "an answer that comes twice counts once");
    follower.hear(Body::MsgReadIndexResp { ctx: 12, index: 0 });
    assert_eq!((follower.answered(), follower.asked()), (vec![(12, true), (13, true)], vec![]));
}

#[test]
fn a_lost_question_is_asked_again_and_a_new_leader_ends_it() {
    let mut follower = Follower::new();
    follower.member.read(10);
    follower.pump();
    assert_eq!(follower.asked(), [10]);
    for _ in 0..10 {
        follower.member.tick(Duration::ZERO);
        follower.pump();
    }
    assert_eq!(follower.asked(), [10], "lost: once more");
    follower.member.step(Message {
        from: 3,
        to: 1,
        term: 2,
        body: Body::MsgHeartbeat { commit: 0, read: 0 },
    });
    follower.pump();
    assert_eq!(follower.answered(), [(10, false)], "whether the old leader will answer is not known");
}

#[test]
fn reads_that_nothing_answers_fail_after_some_time() {
    let mut follower = Follower::new();
    let wait = |follower: &mut Follower| {
        for _ in 0..1000 {
            follower.member.tick(Duration::ZERO);
            follower.hear(Body::MsgHeartbeat { commit: 0, read: 0 }); // it leads, and commits nothing
        }
    };
    follower.member.read(10);
    follower.pump();
    follower.member.read(11);
    wait(&mut follower);
    assert_eq!(follower.answered(), [(10, false), (11, false)], "the leader never answers");

    follower.member.read(12);
    follower.pump();
    follower.hear(Body::MsgReadIndexResp { ctx: 12, index: 5 });
    assert_eq!(follower.answered(), []);
    wait(&mut follower);
    assert_eq!(follower.answered(), [(12, false)], "entry 5 never comes");
}

#[test]
fn a_snapshot_for_which_there_is_no_room_is_not_tried_again_at_once() {
    let snapshot = SnapshotRef { conf: ConfState::of([1]), ..SnapshotRef::default() };
    let stored = Stored { hard: HardState::default(), snapshot, entries: Vec::new() };
    let config = Config { id: 1, election_ticks: 10, heartbeat_ticks: 2, seed: 1 };
    let policy = SnapshotPolicy { entries: 1, bytes: u64::MAX };
    let member =
        Member::new(config, stored, Reads::default(), policy, Duration::ZERO).expect("an empty state");
    let mut alone = Follower { member, wire: Wire::default() };
    alone.pump();
    let begun = |alone: &mut Follower| std::mem::take(&mut alone.wire.snapshots).len();
    assert_eq!((begun(&mut alone), alone.member.applied()), (1, 1), "its first entry is worth one");
    for attempt in 0..3 {
        alone.member.snapshot_saved(None, &mut alone.wire);
        let mut ticks = 0;
        while begun(&mut alone) == 0 {
            assert!(ticks < 100, "attempt {attempt}: given up");
            alone.member.propose(ticks, Bytes::from_static(b"more"));
            alone.member.tick(Duration::ZERO);
            alone.pump();
            ticks += 1;
        }
        assert_eq!(ticks, 40, "attempt {attempt}");
    }
    let saved = SnapshotRef { index: alone.member.applied(), ..SnapshotRef::default() };
    alone.member.snapshot_saved(Some(saved), &mut alone.wire);
    alone.member.propose(1, Bytes::from_static(b"more"));
    alone.pump();
    assert_eq!(begun(&mut alone), 1, "there was room: the next is made when it is due");
}

#[test]
fn a_leader_s_snapshot_is_restored_and_the_log_before_it_released_once_it_is_durable() {
    let mut follower = Follower::new();
    let conf = ConfState::of([1, 2, 3]);
    let snapshot = SnapshotRef { index: 9, term: 1, conf, data: Bytes::from_static(b"state") };
    follower.member.step(Message { from: 2, to: 1, term: 1, body: Body::MsgSnap(snapshot) });
    while follower.member.pump(Duration::ZERO, &mut follower.wire) {}
    assert_eq!((follower.member.applied(), follower.wire.released.len()), (0, 0), "not durable yet");
    for write in std::mem::take(&mut follower.wire.written) {
        follower.member.persisted(&write, Duration::ZERO, &mut follower.wire);
    }
    assert_eq!((follower.member.applied(), &follower.wire.released[..]), (9, &[9][..]));
    follower.pump();
    assert_eq!(follower.wire.released, [9]);
}

/// While its disk is full, a follower is sent each new snapshot of its leader.
#[test]
fn a_second_snapshot_is_dropped_until_the_first_is_durable() {
    let mut follower = Follower::new();
    let send = |follower: &mut Follower, index| {
        let (conf, data) = (ConfState::of([1, 2, 3]), Bytes::from_static(b"state"));
        let snapshot = SnapshotRef { index, term: 1, conf, data };
        follower.member.step(Message { from: 2, to: 1, term: 1, body: Body::MsgSnap(snapshot) });
        while follower.member.pump(Duration::ZERO, &mut follower.wire) {}
    };
    follower.wire.installs.clear();
    send(&mut follower, 9);
    send(&mut follower, 20);
    send(&mut follower, 31);
    assert_eq!(follower.wire.installs, [9]);
    for write in std::mem::take(&mut follower.wire.written) {
        follower.member.persisted(&write, Duration::ZERO, &mut follower.wire);
    }
    send(&mut follower, 40);
    assert_eq!(follower.wire.installs, [9, 40]);
}

/// To decode a large state takes seconds.
#[test]
fn a_snapshot_of_an_earlier_term_is_refused_before_its_state_is_looked_at() {
    let mut follower = Follower::new();
    let beat = Body::MsgHeartbeat { commit: 0, read: 0 };
    follower.member.step(Message { from: 3, to: 1, term: 2, body: beat });
    follower.pump();
    follower.wire.sent.clear();
    let send = |follower: &mut Follower, from, term| {
        let (conf, data) = (ConfState::of([1, 2, 3]), Bytes::from_static(b"state"));
        let body = Body::MsgSnap(SnapshotRef { index: 9, term: 1, conf, data });
        follower.member.step(Message { from, to: 1, term, body });
        follower.pump();
    };
    send(&mut follower, 2, 1);
    let body = Body::MsgAppResp { index: 0, reject: true, hint_index: 0, hint_term: 0 };
    assert_eq!(follower.wire.sent, [Message { from: 1, to: 2, term: 2, body }], "it leads no longer");
    assert_eq!((follower.member.applied(), &follower.member.machine().3[..]), (0, &[][..]));
    send(&mut follower, 3, 2);
    assert_eq!((follower.member.applied(), &follower.member.machine().3[..]), (9, &[9][..]));
}

#[test]
fn a_snapshot_that_was_due_by_its_bytes_and_failed_is_tried_again() {
    let snapshot = SnapshotRef { conf: ConfState::of([1]), ..SnapshotRef::default() };
    let stored = Stored { hard: HardState::default(), snapshot, entries: Vec::new() };
    let config = Config { id: 1, election_ticks: 10, heartbeat_ticks: 2, seed: 1 };
    let policy = SnapshotPolicy { entries: u64::MAX, bytes: 100 };
    let member =
        Member::new(config, stored, Reads::default(), policy, Duration::ZERO).expect("an empty state");
    let mut alone = Follower { member, wire: Wire::default() };
    alone.pump();
    alone.member.propose(1, Bytes::from(vec![1; 100]));
    alone.pump();
    let begun = |alone: &mut Follower| std::mem::take(&mut alone.wire.snapshots);
    assert_eq!(begun(&mut alone).len(), 1);
    alone.member.propose(2, Bytes::from(vec![1; 60])); // comes while the snapshot is made
    alone.pump();
    alone.member.snapshot_saved(None, &mut alone.wire);
    for _ in 0..100 {
        alone.member.tick(Duration::ZERO);
        alone.pump();
    }
    let again = begun(&mut alone);
    assert_eq!(again.len(), 1, "without another write");
    alone.member.propose(3, Bytes::from(vec![1; 60]));
    alone.pump();
    alone.member.snapshot_saved(again.into_iter().next(), &mut alone.wire);
    alone.pump();
    assert_eq!(begun(&mut alone).len(), 0, "60 bytes are not enough for the next one");
    alone.member.propose(4, Bytes::from(vec![1; 40]));
    alone.pump();
    assert_eq!(begun(&mut alone).len(), 1, "what came while it was made counts for the next one");
}

/// While its disk is full a leader does not stop asking, many times a second.
#[test]
fn answers_that_wait_for_the_disk_do_not_pile_up() {
    let mut follower = Follower::new();
    follower.wire.sent.clear();
    let append = |index: Index| {
        let entry = Entry { term: 1, index, payload: Payload::Empty };
        Body::MsgApp { index: index - 1, log_term: u64::from(index > 1), entries: vec![entry], commit: 0 }
    };
    let hear = |follower: &mut Follower, from, body| {
        follower.member.step(Message { from, to: 1, term: 1, body });
        while follower.member.pump(Duration::ZERO, &mut follower.wire) {}
    };
    hear(&mut follower, 2, append(1));
    for n in 0..1000 {
        hear(&mut follower, 2, Body::MsgApp { index: 1, log_term: 1, entries: vec![], commit: 0 });
        hear(&mut follower, 2, Body::MsgApp { index: 5 + n, log_term: 1, entries: vec![], commit: 0 });
    }
    hear(&mut follower, 2, append(2));
    assert_eq!(follower.wire.sent, [], "nothing is durable yet");
    for write in std::mem::take(&mut follower.wire.written) {
        follower.member.persisted(&write, Duration::ZERO, &mut follower.wire);
    }
    let answer = |m: &Message| match m.body {
        Body::MsgAppResp { index, reject, .. } => (index, reject),
        _ => panic!("{m:?}"),
    };
    let answers: Vec<(Index, bool)> = follower.wire.sent.iter().map(answer).collect();
    assert_eq!(answers, [(1, false), (1004, true), (2, false)]);
}

/// The leader that handed over took its post back after an election timeout.
#[test]
fn an_election_that_was_handed_over_and_waited_long_for_the_disk_unseats_no_leader() {
    for (ticks, in_time) in [(99, true), (100, false)] {
        let mut follower = Follower::new();
        follower.wire.sent.clear();
        follower.member.step(Message { from: 2, to: 1, term: 1, body: Body::MsgTimeoutNow });
        while follower.member.pump(Duration::ZERO, &mut follower.wire) {}
        for _ in 0..ticks {
            follower.member.tick(Duration::ZERO);
        }
        assert_eq!(follower.wire.sent, [], "its own vote is not durable");
        for write in std::mem::take(&mut follower.wire.written) {
            follower.member.persisted(&write, Duration::ZERO, &mut follower.wire);
        }
        let votes = follower.wire.sent.iter().filter_map(|m| match m.body {
            Body::MsgVote { transfer, .. } => Some(transfer),
            _ => None,
        });
        assert_eq!(votes.collect::<Vec<bool>>(), [in_time; 2], "after {ticks} ticks");
    }
}

/// A leader that has applied less than the follower could deny a lease that the follower knows.
#[test]
fn a_leader_answers_when_it_has_applied_as_much_as_the_follower_that_asks() {
    let mut follower = Follower::new();
    let data = Bytes::from_static(b"?");
    follower.wire.sent.clear();
    follower.member.ask_leader(7, data.clone(), Duration::ZERO);
    follower.pump();
    let asks =
        Message { from: 1, to: 2, term: 1, body: Body::MsgAsk { ctx: 7, applied: 0, data: data.clone() } };
    assert_eq!(follower.wire.sent, [asks]);
    follower.hear(Body::MsgAnswer { ctx: 7, data: data.clone() });
    assert_eq!(follower.member.machine().2, [(7, Some(data.clone()))]);
    follower.hear(Body::MsgAsk { ctx: 8, applied: 0, data: data.clone() });
    let answers = |member: &mut Follower| {
        let sent = std::mem::take(&mut member.wire.sent);
        sent.iter().filter(|m| matches!(m.body, Body::MsgAnswer { .. })).count()
    };
    assert_eq!(answers(&mut follower), 0, "it does not lead");

    let mut leader = leader();
    for (applied, answered) in [(0, 1), (99, 0)] {
        say(&mut leader, 2, Body::MsgAsk { ctx: 9, applied, data: data.clone() });
        assert_eq!(answers(&mut leader), answered, "asked with {applied} applied");
    }
    leader.member.ask_leader(10, data.clone(), Duration::ZERO);
    assert_eq!(leader.member.machine().2, [(10, Some(data))], "it is the leader itself");
}

/// Member 3 says this to member 1.
fn say(to: &mut Follower, term: Term, body: Body) {
    to.member.step(Message { from: 3, to: 1, term, body });
    to.pump();
}

/// Member 1, which leads in term 2.
fn leader() -> Follower {
    let mut leader = Follower::new();
    for _ in 0..200 {
        leader.member.tick(Duration::ZERO);
        leader.pump();
    }
    say(&mut leader, 2, Body::MsgPreVoteResp { reject: false });
    say(&mut leader, 2, Body::MsgVoteResp { reject: false });
    assert_eq!(leader.member.machine().1.role, Role::Leader);
    leader
}

/// It would ask for votes for ever. Until the change is committed its vote may be needed.
#[test]
fn a_follower_is_sent_its_removal_when_it_is_committed() {
    let mut leader = leader();
    let acks = |leader: &mut Follower, from, index| {
        let body = Body::MsgAppResp { index, reject: false, hint_index: 0, hint_term: 0 };
        leader.member.step(Message { from, to: 1, term: 2, body });
        leader.pump();
    };
    acks(&mut leader, 2, 1);
    acks(&mut leader, 3, 1);
    leader.wire.sent.clear();
    assert_eq!(leader.member.propose_conf(ConfChange::RemoveNode(3)), Ok(2));
    leader.pump();
    let to_3 = |leader: &mut Follower| {
        let sent = std::mem::take(&mut leader.wire.sent);
        sent.into_iter().filter(|m| m.to == 3).map(|m| m.body).collect::<Vec<Body>>()
    };
    assert_eq!(to_3(&mut leader), []);
    acks(&mut leader, 2, 2);
    let payload = Payload::ConfChange(ConfState::of([1, 2]));
    let entries = vec![Entry { term: 2, index: 2, payload }];
    assert_eq!(to_3(&mut leader), [Body::MsgApp { index: 1, log_term: 2, entries, commit: 2 }]);
    leader.member.propose(1, Bytes::from_static(b"more"));
    leader.pump();
    acks(&mut leader, 2, 3);
    assert_eq!(to_3(&mut leader), [], "once");
}

/// The others elect another leader, and clients are to ask there.
#[test]
fn a_member_that_can_write_no_more_does_not_say_that_it_leads() {
    let mut leader = leader();
    leader.member.read(10);
    leader.pump();
    leader.member.read(11);
    leader.member.give_up(Duration::ZERO);
    let (role, leads) = (leader.member.machine().1.role, leader.member.machine().1.leader);
    assert_eq!((role, leads), (Role::Follower, NONE));
    let mut answered = leader.answered();
    answered.sort_unstable();
    assert_eq!(answered, [(10, false), (11, false)]);

    let snapshot = SnapshotRef { conf: ConfState::of([1]), ..SnapshotRef::default() };
    let stored = Stored { hard: HardState::default(), snapshot, entries: Vec::new() };
    let config = Config { id: 1, election_ticks: 10, heartbeat_ticks: 2, seed: 1 };
    let member = Member::new(config, stored, Reads::default(), SnapshotPolicy::default(), Duration::ZERO);
    let mut alone = Follower { member: member.expect("an empty state"), wire: Wire::default() };
    alone.pump();
    alone.member.give_up(Duration::ZERO);
    assert_eq!(alone.member.machine().1.role, Role::Leader, "no other member can");
}
