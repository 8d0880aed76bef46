//! Leadership transfer (dissertation, 3.10). These cases are our own.

use super::*;
use crate::{ConfChange, ConfError, ProposeError};

/// The one request for votes that a member grants although it hears its leader: the leader itself
/// asked for this election.
#[test]
fn a_transfer_makes_a_follower_lead_at_once() {
    let mut group: Vec<One> = (1..=3).map(|id| One::with(id, 3, &[], 0, NONE)).collect();
    group[0].time_out();
    settle(&mut group);
    assert_eq!(group[0].role(), Role::Leader);
    group[0].core.transfer(2);
    group[0].pump();
    settle(&mut group);
    assert_eq!((group[1].role(), group[1].term()), (Role::Leader, 2));
    for one in [&group[0], &group[2]] {
        assert_eq!((one.role(), one.core.status().leader), (Role::Follower, 2));
    }
}

#[test]
fn a_member_that_lacks_entries_gets_them_before_it_takes_over() {
    let mut one = One::as_(Role::Leader);
    one.accept(2, 1);
    one.propose("a");
    one.says();
    let takes_over = |one: &mut One| one.tells(2).contains(&Body::MsgTimeoutNow);
    one.core.transfer(2);
    one.pump();
    assert!(!takes_over(&mut one), "it lacks entry 2");
    one.accept(2, 2);
    assert!(takes_over(&mut one));
}

/// An entry that comes meanwhile would be one that the next leader may lack.
#[test]
fn a_leader_that_hands_over_takes_no_proposals_until_it_gives_up() {
    let mut one = One::as_(Role::Leader);
    one.accept(2, 1);
    one.core.transfer(3);
    one.pump();
    assert_eq!(one.core.status().transferee, 3);
    let last = one.last();
    assert_eq!(one.core.propose(Bytes::new()), Err(ProposeError::NotLeader));
    assert_eq!(one.core.propose_conf(ConfChange::AddLearnerNode(4)), Err(ConfError::NotLeader));
    one.hear(2, 1, Body::MsgProp { data: Bytes::new() });
    assert_eq!(one.last(), last, "nor does it take what a follower passes on");
    for _ in 0..ELECTION {
        one.hear(2, 1, Body::MsgHeartbeatResp { read: 0 });
        one.tick();
    }
    assert_eq!((one.role(), one.core.status().transferee), (Role::Leader, NONE));
    assert!(one.core.propose(Bytes::new()).is_ok());
}

/// However often an operator hands over: a leader that hears no majority steps down.
#[test]
fn transfers_do_not_hold_up_check_quorum() {
    for targets in [&[2][..], &[2, 3]] {
        let mut one = One::as_(Role::Leader);
        for tick in 0..3 * ELECTION as usize {
            one.core.transfer(targets[tick % targets.len()]);
            one.tick();
        }
        assert_ne!(one.role(), Role::Leader, "to {targets:?}");
    }
}

/// A transfer to a member that is down ends by itself, though it is asked for again and again; only
/// then it may begin again.
#[test]
fn a_repeated_transfer_still_ends() {
    let mut one = One::as_(Role::Leader);
    let mut took = 0;
    for _ in 0..3 * ELECTION {
        one.core.transfer(2);
        one.tick();
        one.hear(3, 1, Body::MsgHeartbeatResp { read: 0 });
        took += usize::from(one.core.propose(Bytes::new()).is_ok());
    }
    assert!(took > 0, "every proposal was refused");
}

/// A transfer to a learner is no transfer, and a leader that stops would wait for it in vain.
#[test]
fn the_heir_of_a_leader_is_the_voter_that_has_most_of_the_log() {
    let mut one = One::as_(Role::Leader);
    one.accept(2, one.last());
    one.core.propose_conf(ConfChange::AddLearnerNode(4)).expect("a learner needs nothing");
    one.pump();
    one.propose("x");
    one.accept(4, one.last());
    one.accept(2, one.last() - 1);
    assert_eq!((one.core.status().heir, one.progress(4).0), (2, one.last()), "a learner has more");
    one.accept(3, one.last());
    assert_eq!(one.core.status().heir, 3);
    let (follower, mut alone) = (One::as_(Role::Follower), One::new(1));
    assert_eq!((follower.core.status().heir, alone.core.status().heir), (NONE, NONE));
    alone.core.propose_conf(ConfChange::AddLearnerNode(2)).expect("a learner needs nothing");
    alone.pump();
    alone.accept(2, alone.last());
    assert_eq!((alone.role(), alone.core.status().heir), (Role::Leader, NONE));
}

/// A leader that stops would wait for it in vain, also if it has every entry.
#[test]
fn a_voter_that_is_silent_is_no_heir_while_another_one_answers() {
    let mut one = settled_leader(3);
    assert_eq!((one.progress(2).0, one.progress(3).0), (1, 1));
    for silent in [2, 3] {
        for _ in 0..3 * ELECTION {
            one.tick();
            one.hear(5 - silent, 1, Body::MsgHeartbeatResp { read: 0 });
        }
        assert_eq!((one.role(), one.core.status().heir), (Role::Leader, 5 - silent));
    }
}
