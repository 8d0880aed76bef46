//! Changes of the configuration (section 6; dissertation, 4.1 and 4.2). These cases are our own.

use super::*;
use crate::{ConfChange, ConfError};

#[test]
fn a_member_that_cannot_count_in_a_majority_does_not_become_a_voter() {
    let mut one = One::new(1);
    assert_eq!((one.role(), one.commit()), (Role::Leader, 1));
    for change in [ConfChange::AddNode(NONE), ConfChange::AddLearnerNode(NONE), ConfChange::RemoveNode(NONE)]
    {
        assert_eq!(one.core.propose_conf(change), Err(ConfError::NoMember));
    }
    assert_eq!(one.core.propose_conf(ConfChange::AddNode(2)), Err(ConfError::NotReady), "it is not known");
    one.core.propose_conf(ConfChange::AddLearnerNode(2)).expect("a learner needs nothing");
    one.pump();
    assert_eq!(one.core.propose_conf(ConfChange::AddNode(2)), Err(ConfError::NotReady), "not heard of");
    one.propose("the only voter still commits");
    assert_eq!(one.commit(), one.last());
    one.accept(2, one.last());
    one.core.propose_conf(ConfChange::AddNode(2)).expect("it follows");
}

/// Two voters become one: what waited for the other's word waits no longer, and a question that is
/// repeated is one.
#[test]
fn reads_that_a_smaller_quorum_confirms_are_answered() {
    let mut one = One::new(2);
    one.lead();
    for ctx in [7, 7, 8] {
        one.core.read_index(ctx).expect("it leads");
    }
    one.accept(2, one.last());
    one.core.read_index(9).expect("it leads");
    let reads = |one: &mut One| one.core.ready().map(|r| r.reads).unwrap_or_default();
    assert_eq!(reads(&mut one), []);
    one.core.propose_conf(ConfChange::RemoveNode(2)).expect("one is left");
    let confirmed: Vec<u64> = reads(&mut one).into_iter().map(|(ctx, _)| ctx).collect();
    assert_eq!(confirmed, [7, 8, 9]);
}

/// With one voter and a learner that went down, a second voter would be the end of all commits.
#[test]
fn a_learner_that_followed_and_is_silent_does_not_become_a_voter() {
    let mut one = One::new(1);
    one.core.propose_conf(ConfChange::AddLearnerNode(2)).expect("a learner needs nothing");
    one.pump();
    one.accept(2, one.last());
    for _ in 0..3 * ELECTION {
        one.tick();
    }
    assert_eq!(one.progress(2), (one.last(), ProgressState::Replicate), "it had caught up");
    assert_eq!(one.core.propose_conf(ConfChange::AddNode(2)), Err(ConfError::NotReady));
    one.hear(2, 1, Body::MsgHeartbeatResp { read: 0 });
    one.core.propose_conf(ConfChange::AddNode(2)).expect("it is back");
}

/// Of two voters the leader removes itself: the one that is left decides, so nothing is answered
/// here without asking it.
#[test]
fn a_leader_that_is_being_removed_is_not_the_only_voter() {
    let mut one = One::new(2);
    one.lead();
    one.accept(2, 1);
    one.core.propose_conf(ConfChange::RemoveNode(1)).expect("a voter is left");
    one.pump();
    let status = one.core.status();
    assert_eq!((status.role, status.voters, status.only_voter), (Role::Leader, 1, false));
    assert!(One::new(1).core.status().only_voter);
}

/// Of two voters the leader removes itself, and its entry does not arrive. Member 2, which still
/// needs the vote of member 1, cannot win against its longer log (dissertation, 4.2.2).
#[test]
fn a_leader_that_removed_itself_leads_again_until_that_is_committed() {
    let mut group = [One::with(1, 2, &[], 0, NONE), One::with(2, 2, &[], 0, NONE)];
    group[0].time_out();
    settle(&mut group);
    assert_eq!(group[0].role(), Role::Leader);
    group[0].core.propose_conf(ConfChange::RemoveNode(1)).expect("a voter is left");
    for _ in 0..2 * ELECTION {
        group[0].tick();
    }
    assert_eq!(group[0].role(), Role::Follower, "it hears no majority");
    group[0].says(); // lost
    for _ in 0..5 * ELECTION {
        group.iter_mut().for_each(One::tick);
        settle(&mut group);
    }
    assert_eq!((group[1].role(), group[1].core.conf()), (Role::Leader, &ConfState::of([2])));
    assert_eq!((group[0].role(), group[0].commit()), (Role::Follower, group[0].last()));
    group[0].events.clear();
    for _ in 0..3 * ELECTION {
        group[0].tick();
    }
    assert_eq!((group[0].says(), &group[0].events[..]), (vec![], &[][..]), "its removal is committed");
}

/// Records show the reason, and a demotion is no removal.
#[test]
fn a_leader_that_votes_no_longer_says_why_it_steps_down() {
    let changes = [
        (ConfChange::RemoveNode(1), "removed from the configuration"),
        (ConfChange::AddLearnerNode(1), "made a learner"),
    ];
    for (change, why) in changes {
        let mut one = settled_leader(3);
        one.core.propose_conf(change).expect("two voters are left");
        one.pump();
        one.accept(2, 2);
        assert_eq!(one.role(), Role::Leader, "of the two voters that are left, both must have it");
        one.accept(3, 2);
        assert_eq!((one.role(), one.commit()), (Role::Follower, 2));
        assert!(one.events.contains(&Event::StepDown { why }), "{:?}", one.events);
    }
}

/// Until the change is committed, the configuration before it may be the one that counts.
#[test]
fn a_voter_that_is_made_a_learner_campaigns_until_that_is_committed() {
    for (commit, campaigns) in [(0, true), (1, false)] {
        let mut one = One::with(2, 3, &[], 0, NONE);
        let conf = ConfState::of(1..=3).after(ConfChange::AddLearnerNode(2));
        let entries = vec![Entry { term: 1, index: 1, payload: Payload::ConfChange(conf) }];
        one.hear(1, 1, Body::MsgApp { index: 0, log_term: 0, entries, commit });
        for _ in 0..2 * ELECTION {
            one.tick();
        }
        let asks = |m: &Message| matches!(m.body, Body::MsgPreVote { .. });
        assert_eq!(one.says().iter().any(asks), campaigns, "committed up to {commit}");
    }
}
