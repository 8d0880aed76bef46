//! Snapshots instead of entries that are gone (section 7).

use super::*;

/// How many entries were compacted away.
const GONE: Index = 11;

fn snapshot(index: Index, term: Term, members: u64) -> SnapshotRef {
    SnapshotRef { index, term, conf: ConfState::of(1..=members), data: Bytes::new() }
}

/// The leader of term 2 among three. It has a snapshot of the first entries only; 3 has everything.
fn leader() -> One {
    let stored = Stored {
        hard: HardState { term: 1, vote: NONE, commit: GONE },
        snapshot: snapshot(GONE, 1, 3),
        entries: vec![],
    };
    let mut one = One::stored(1, stored);
    one.lead();
    one.accept(3, GONE + 1);
    assert_eq!((one.term(), one.last(), one.commit()), (2, GONE + 1, GONE + 1));
    one.says();
    one
}

/// As [`leader`]; 2 turned out to have nothing.
fn sending() -> One {
    let mut one = leader();
    one.hear(2, 2, Body::MsgAppResp { index: GONE, reject: true, hint_index: 0, hint_term: 0 });
    one
}

fn rounds_of_silence(one: &mut One, rounds: u32) -> Vec<Body> {
    let mut bodies = vec![];
    for _ in 0..rounds * ELECTION {
        one.tick();
        for id in [2, 3] {
            one.hear(id, 2, Body::MsgHeartbeatResp { read: 0 });
        }
        bodies.extend(one.tells(2).into_iter().filter(|b| !matches!(b, Body::MsgHeartbeat { .. })));
    }
    bodies
}

#[test]
fn a_follower_that_needs_entries_that_are_gone_is_sent_a_snapshot_7() {
    let mut one = sending();
    assert_eq!(one.progress(2), (0, ProgressState::Snapshot(GONE)));
    assert_eq!(one.tells(2), [Body::MsgSnap(snapshot(GONE, 1, 3))]);
}

#[test]
fn while_a_snapshot_is_under_way_no_entries_follow_it_7() {
    let mut one = sending();
    one.says();
    one.propose("a");
    assert_eq!(one.tells(2), []);
    assert_eq!(rounds_of_silence(&mut one, 2), [], "it is alive, and still busy with it");
    // an answer to something older does not end it
    one.accept(2, 3);
    assert_eq!((one.progress(2), one.tells(2)), ((3, ProgressState::Snapshot(GONE)), vec![]));
    one.hear(2, 2, Body::MsgAppResp { index: 4, reject: true, hint_index: 0, hint_term: 0 });
    assert_eq!((one.progress(2), one.tells(2)), ((3, ProgressState::Snapshot(GONE)), vec![]));
}

#[test]
fn behind_a_snapshot_the_log_goes_on_7() {
    for (has, next) in [(GONE, GONE), (GONE + 1, GONE + 1)] {
        let mut one = sending();
        one.propose("a");
        one.says();
        one.accept(2, has);
        assert_eq!(one.progress(2), (has, ProgressState::Replicate));
        let sent = one.tells(2);
        let [Body::MsgApp { index, entries, .. }] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((*index, entries.last().map(|e| e.index)), (next, Some(GONE + 2)));
    }
}

#[test]
fn a_snapshot_that_was_lost_is_sent_again_7() {
    let mut one = sending();
    one.says();
    // no loss is reported here: silence for some rounds of check-quorum does
    assert_eq!(rounds_of_silence(&mut one, 6), []);
    assert_eq!(rounds_of_silence(&mut one, 4), [Body::MsgSnap(snapshot(GONE, 1, 3))]);
    assert_eq!(rounds_of_silence(&mut one, 4), []);
    one.accept(2, GONE);
    assert_eq!(one.progress(2), (GONE, ProgressState::Replicate));
}

#[test]
fn a_member_that_is_not_heard_of_is_not_sent_a_snapshot_7() {
    let mut one = sending();
    one.events.clear();
    // the snapshot is lost, and 2 is silent for so long that it would be sent again
    for _ in 0..10 * ELECTION {
        one.tick();
        one.hear(3, 2, Body::MsgHeartbeatResp { read: 0 });
    }
    assert_eq!(one.progress(2), (0, ProgressState::Probe));
    let probes = Event::Progress { member: 2, state: ProgressState::Probe };
    assert!(one.events.contains(&probes), "{:?}", one.events);
    one.says();
    one.propose("a");
    assert_eq!(one.tells(2), [], "it would only get lost");
    one.hear(2, 2, Body::MsgHeartbeatResp { read: 0 });
    assert_eq!(one.tells(2), [Body::MsgSnap(snapshot(GONE, 1, 3))]);
}

#[test]
fn a_member_that_knows_no_other_learns_everything_from_a_snapshot_7() {
    // a member that joins: no log, no term, no configuration
    let mut one = One::stored(2, Stored::default());
    for _ in 0..5 * ELECTION {
        one.tick();
    }
    let so_far = (one.says(), one.term(), &one.events[..]);
    assert_eq!(so_far, (vec![], 0, &[][..]), "who may not vote asks for no votes");
    one.hear(1, 1, Body::MsgSnap(snapshot(1, 1, 2)));
    one.hear(
        1,
        1,
        Body::MsgApp {
            index: 1,
            log_term: 1,
            entries: vec![Entry { term: 1, index: 2, payload: Payload::Empty }],
            commit: 2,
        },
    );
    let status = one.core.status();
    assert_eq!((status.term, status.last, status.commit, status.voters), (1, 2, 2, 2));
    assert_eq!((one.core.first_index(), terms(&one.applied)), (2, vec![1]));
    let yes = |index| Body::MsgAppResp { index, reject: false, hint_index: 0, hint_term: 0 };
    assert_eq!(one.tells(1), [yes(1), yes(2)]);
}

#[test]
fn a_snapshot_replaces_a_log_that_disagrees_and_nothing_that_is_committed_7() {
    // log, what is committed of it; the log and the commit afterwards
    for (log, commit, base, last, committed) in [
        (&[1, 1, 1][..], 0, 5, 5, 5),          // too short
        (&[1, 1, 1, 1, 2, 2][..], 0, 5, 5, 5), // another entry 5: all behind it is wrong, too
        (&[1, 1, 1, 1, 1, 1][..], 0, 0, 6, 5), // has it all: keeps what is behind
        (&[1, 1, 1, 1, 1, 1][..], 6, 0, 6, 6), // an old snapshot, late
    ] {
        let mut one = One::with(2, 3, log, 2, NONE);
        one.hear(1, 2, Body::MsgHeartbeat { commit, read: 0 });
        one.says();
        one.hear(1, 2, Body::MsgSnap(snapshot(5, 1, 3)));
        assert_eq!(
            (one.core.first_index(), one.last(), one.commit()),
            (base + 1, last, committed),
            "{log:?}"
        );
        assert_eq!(
            one.tells(1),
            [Body::MsgAppResp { index: committed, reject: false, hint_index: 0, hint_term: 0 }]
        );
    }
}

#[test]
fn a_snapshot_older_than_the_own_changes_nothing_7() {
    let stored = Stored {
        snapshot: snapshot(8, 2, 3),
        entries: vec![],
        hard: HardState { term: 2, vote: NONE, commit: 8 },
    };
    let mut one = One::stored(2, stored);
    one.hear(1, 2, Body::MsgSnap(snapshot(5, 1, 3)));
    assert_eq!((one.core.first_index(), one.last(), one.commit()), (9, 8, 8));
    assert_eq!(one.tells(1), [Body::MsgAppResp { index: 8, reject: false, hint_index: 0, hint_term: 0 }]);
}

/// As in etcd: it needs no snapshot any more, though a newer one was sent.
#[test]
fn a_follower_that_has_what_the_log_begins_with_is_served_from_the_log_7() {
    let mut one = One::new(3);
    one.lead();
    for _ in 0..20 {
        one.propose("a");
    }
    one.accept(3, 21);
    let snapshot = one.core.snapshot_ref(15).expect("applied");
    one.core.compact(10, snapshot);
    let no = Body::MsgAppResp { index: 0, reject: true, hint_index: 0, hint_term: 0 };
    one.hear(2, 1, no);
    one.hear(2, 1, Body::MsgHeartbeatResp { read: 0 });
    assert_eq!(one.progress(2), (0, ProgressState::Snapshot(15)));
    one.says();
    one.accept(2, 9);
    assert_eq!(one.progress(2), (9, ProgressState::Snapshot(15)), "entry 10 is gone");
    one.accept(2, 10);
    assert_eq!(one.progress(2).1, ProgressState::Replicate);
    let sent = one.tells(2);
    assert!(matches!(&sent[..], [Body::MsgApp { index: 10, .. }]), "{sent:?}");
}

/// One that is large and still being written must not be sent all the time.
#[test]
fn each_snapshot_that_was_sent_in_vain_waits_longer_7() {
    let mut one = sending();
    one.says();
    let mut gaps = vec![];
    let mut rounds = 0;
    while gaps.len() < 4 {
        rounds += 1;
        if !rounds_of_silence(&mut one, 1).is_empty() {
            gaps.push(std::mem::take(&mut rounds));
        }
        assert!(rounds < 100, "given up after {gaps:?}");
    }
    assert!(gaps.is_sorted() && gaps[0] >= 7 && gaps[1] >= 15 && gaps[3] <= 33, "{gaps:?}");
}
