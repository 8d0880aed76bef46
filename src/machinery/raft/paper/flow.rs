//! How much is sent ahead of the answers: raft-rs's cases of flow control.

use super::*;
use crate::ProposeError;
use crate::core::{READY_BYTES, UNSETTLED_BYTES};
use crate::progress::INFLIGHT_MAX;

const WINDOW: Index = INFLIGHT_MAX as Index;

/// A leader whose follower 2 keeps up, and has been sent as many messages ahead as may be. Entry 1
/// is the leader's first, and 2 has it.
fn full() -> One {
    let mut one = One::new(3);
    one.lead();
    one.accept(2, 1);
    one.says();
    for n in 0..WINDOW {
        one.propose("a");
        let sent = one.tells(2);
        assert!(matches!(&sent[..], [Body::MsgApp { entries, .. }] if entries.len() == 1), "{n}: {sent:?}");
    }
    one
}

fn sends_nothing(one: &mut One) {
    for _ in 0..10 {
        one.propose("a");
        let entries: Vec<Body> = one.tells(2).into_iter().filter(with_entries).collect();
        assert_eq!(entries, []);
    }
}

fn with_entries(body: &Body) -> bool {
    matches!(body, Body::MsgApp { entries, .. } if !entries.is_empty())
}

#[test]
fn a_full_window_lets_no_more_entries_out() {
    sends_nothing(&mut full());
}

#[test]
fn an_answer_moves_the_window_and_an_old_one_does_not() {
    let mut one = full();
    for answered in 2..WINDOW {
        // room for one message: what piled up meanwhile, or else the next proposal
        one.accept(2, answered);
        one.propose("a");
        assert_eq!(one.tells(2).iter().filter(|b| with_entries(b)).count(), 1, "after {answered}");
        for old in [1, answered / 2, answered] {
            one.accept(2, old);
            one.says();
            one.propose("a");
            let sent: Vec<Body> = one.tells(2).into_iter().filter(with_entries).collect();
            assert_eq!(sent, [], "after {answered}, and {old} once more");
        }
    }
}

#[test]
fn an_answer_to_many_messages_makes_room_for_as_many() {
    let mut one = full();
    one.accept(2, 101);
    one.says();
    for n in 0..100 {
        one.propose("a");
        assert_eq!(one.tells(2).iter().filter(|b| with_entries(b)).count(), 1, "message {n}");
    }
    sends_nothing(&mut one);
}

/// All answers, or all messages, were lost: raft-rs frees a place in the window at each answer to a
/// heartbeat, this core asks where the follower stands.
#[test]
fn a_full_window_of_which_nothing_arrived_does_not_stay_full() {
    for has in [1, 100, WINDOW + 1] {
        let mut one = full();
        one.hear(2, 1, Body::MsgHeartbeatResp { read: 0 });
        let probes = one.tells(2);
        let [Body::MsgApp { index, entries, .. }] = &probes[..] else { panic!("{probes:?}") };
        assert_eq!((*index, entries.len()), (WINDOW + 1, 0), "only a question");
        match has > WINDOW {
            true => one.accept(2, has),
            false => {
                let no = Body::MsgAppResp { index: WINDOW + 1, reject: true, hint_index: has, hint_term: 1 };
                one.hear(2, 1, no);
                let sent = one.tells(2);
                let [Body::MsgApp { index, entries, .. }] = &sent[..] else { panic!("{sent:?}") };
                assert!(*index <= has && entries.last().is_some_and(|e| e.index == WINDOW + 1), "{sent:?}");
                one.accept(2, WINDOW + 1);
            }
        }
        assert_eq!(one.progress(2), (WINDOW + 1, ProgressState::Replicate));
        one.says();
        one.propose("a");
        assert_eq!(one.tells(2).iter().filter(|b| with_entries(b)).count(), 1, "it had {has}");
    }
}

#[test]
fn a_member_that_is_not_known_to_follow_gets_one_message_at_a_time() {
    let mut one = One::new(3);
    one.lead();
    assert_eq!(one.progress(2), (0, ProgressState::Probe));
    assert_eq!(one.tells(2).iter().filter(|b| with_entries(b)).count(), 1);
    sends_nothing(&mut one);
    // its answer to a heartbeat says that the message was lost: it is sent again, once
    one.hear(2, 1, Body::MsgHeartbeatResp { read: 0 });
    assert_eq!(one.tells(2).iter().filter(|b| with_entries(b)).count(), 1);
    sends_nothing(&mut one);
}

#[test]
fn many_bytes_go_out_in_several_messages() {
    let mut one = One::new(3);
    one.lead();
    // while nothing is known of 2, more than two messages' worth piles up
    let large = Bytes::from(vec![7; 300 << 10]);
    for _ in 0..8 {
        one.core.propose(large.clone()).expect("it leads");
    }
    one.pump();
    one.says();
    one.accept(2, 1);
    let sent = one.tells(2);
    let sizes: Vec<usize> = sent.iter().map(Body::size).collect();
    assert!(sizes.len() >= 3 && sizes.iter().all(|bytes| *bytes <= crate::core::MESSAGE_BYTES), "{sizes:?}");
    let indexes = sent.iter().flat_map(|b| match b {
        Body::MsgApp { entries, .. } => entries.iter().map(|e| e.index).collect(),
        _ => vec![],
    });
    assert!(indexes.eq(2..=9), "{sent:?}");
}

/// A disk that was not what it promised: nothing can be done for that follower, but the leader must
/// not talk to it without end.
#[test]
fn a_follower_that_denies_what_it_confirmed_is_asked_again_only_at_the_next_heartbeat() {
    let mut one = One::new(3);
    one.lead();
    one.propose("a");
    one.accept(2, 2);
    one.says();
    one.propose("a");
    let no = |index| Body::MsgAppResp { index, reject: true, hint_index: 1, hint_term: 1 };
    one.hear(2, 1, no(3));
    let mut sent = one.tells(2);
    for round in 0..5 {
        assert!(
            sent.iter().filter(|b| matches!(b, Body::MsgApp { .. })).count() <= 2,
            "round {round}: {sent:?}"
        );
        for _ in 0..3 {
            one.hear(2, 1, no(2));
        }
        assert_eq!(one.tells(2), [], "round {round}");
        one.hear(2, 1, Body::MsgHeartbeatResp { read: 0 });
        sent = one.tells(2);
        assert!(!sent.is_empty(), "round {round}: it may have come back with another disk");
    }
    assert_eq!((one.progress(2), one.commit()), ((2, ProgressState::Probe), 2));
}

/// Proposals of 1 MiB until the leader refuses one; how many it took.
fn fill(one: &mut One) -> usize {
    let large = Bytes::from(vec![1; 1 << 20]);
    let mut took = 0;
    while one.core.propose(large.clone()).is_ok() {
        one.pump();
        took += 1;
        assert!(took < 1000, "it takes everything");
    }
    took
}

/// Neither its own disk nor the followers' may make a leader keep every proposal in memory.
#[test]
fn a_leader_refuses_proposals_while_too_many_are_not_settled() {
    let max = UNSETTLED_BYTES >> 20;
    for own_disk in [true, false] {
        let mut one = One::new(3);
        one.lead();
        one.accept(2, 1);
        one.lags = own_disk;
        assert_eq!(fill(&mut one), max - 1, "{max} of them and what each costs beside would be more");
        let last = one.last();
        if own_disk {
            one.accept(2, last);
            assert_eq!(one.commit(), 1, "of three, two followers have to have it");
            one.accept(3, last);
            assert_eq!((one.commit(), one.applied.len()), (last, 1), "committed, but not durable here");
        }
        assert_eq!(one.core.propose(Bytes::from(vec![1; 1 << 20])), Err(ProposeError::Full));
        one.hear(2, 1, Body::MsgProp { data: Bytes::from(vec![1; 1 << 20]) });
        assert_eq!(one.last(), last, "nor does it take what a follower passes on");
        match own_disk {
            true => one.sync(),
            false => one.accept(2, last),
        }
        assert_eq!(fill(&mut one), max - 1, "own disk: {own_disk}");
    }
}

/// What a new leader finds in its log counts.
#[test]
fn a_new_leader_counts_what_is_not_settled() {
    let data = Bytes::from(vec![1; 1 << 20]);
    let entry = |index| Entry { term: 1, index, payload: Payload::Normal(data.clone()) };
    let snapshot = SnapshotRef { conf: ConfState::of([1, 2, 3]), ..SnapshotRef::default() };
    let hard = HardState { term: 1, vote: NONE, commit: 0 };
    let mut one = One::stored(1, Stored { hard, snapshot, entries: (1..=40).map(entry).collect() });
    one.lead();
    assert_eq!(fill(&mut one), (UNSETTLED_BYTES >> 20) - 41);
}

#[test]
fn one_proposal_of_any_size_fits_into_a_settled_log() {
    let mut one = One::new(1);
    let large = Bytes::from(vec![1; UNSETTLED_BYTES + 1]);
    one.lags = true;
    assert!(one.core.propose(large.clone()).is_ok());
    one.pump();
    assert_eq!(one.core.propose(Bytes::new()), Err(ProposeError::Full));
    one.sync();
    assert!(one.core.propose(large).is_ok());
}

/// A follower confirms entries only with the batch that has the last of them.
#[test]
fn a_batch_for_the_disk_is_bounded_and_promises_wait_for_the_last_one() {
    let mut one = One::as_(Role::Follower);
    let mut index = 0;
    let data = Bytes::from(vec![1; 1 << 20]);
    while index < 40 {
        let payload = Payload::Normal(data.clone());
        let entries = vec![Entry { term: 1, index: index + 1, payload }];
        let body = Body::MsgApp { index, log_term: u64::from(index > 0), entries, commit: 0 };
        one.core.step(Message { from: 2, to: 1, term: 1, body });
        index += 1;
    }
    let (mut written, mut batches) = (0, 0);
    while let Some(ready) = one.core.ready() {
        let bytes: usize = ready.append.iter().map(|e| e.payload.size()).sum();
        assert!(bytes <= READY_BYTES, "{bytes}");
        (written, batches) = (written + ready.append.len() as Index, batches + 1);
        assert!(ready.send_after_persist.is_empty() || written == index, "{written} of {index}");
        if written == index {
            assert_eq!(ready.send_after_persist.len() as Index, index);
        }
    }
    assert_eq!((written, batches), (index, 3));
}
