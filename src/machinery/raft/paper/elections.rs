//! Terms (section 5.1), elections (5.2), and who may win one (5.4.1).

use super::*;
use std::collections::BTreeMap;

const ROLES: [Role; 4] = [Role::Follower, Role::PreCandidate, Role::Candidate, Role::Leader];

#[test]
fn a_newer_term_is_taken_and_ends_candidacy_and_leadership_5_1() {
    for role in ROLES {
        let news = [
            Body::MsgApp { index: 0, log_term: 0, entries: vec![], commit: 0 },
            Body::MsgAppResp { index: 0, reject: true, hint_index: 0, hint_term: 0 },
            Body::MsgVoteResp { reject: true },
        ];
        for body in news {
            let mut one = One::as_(role);
            one.hear(3, 4, body.clone());
            assert_eq!((one.role(), one.term()), (Role::Follower, 4), "{role} that hears {body:?}");
            let vote = one.core.status().vote;
            assert_eq!(vote, NONE, "{role} that hears {body:?} has the vote of the term before");
        }
    }
}

/// The vote belongs to its term: what was given to one candidate is free for another one later.
#[test]
fn a_newer_term_brings_a_new_vote_5_1() {
    for role in ROLES {
        let mut one = One::as_(role);
        // Of the term, not of an election: no member leads in it yet.
        one.hear(3, 4, Body::MsgAppResp { index: 0, reject: true, hint_index: 0, hint_term: 0 });
        one.says();
        one.hear(2, 4, Body::MsgVote { index: 9, log_term: 3, transfer: false });
        let granted = Message { from: 1, to: 2, term: 4, body: Body::MsgVoteResp { reject: false } };
        assert_eq!(one.says(), [granted], "{role}");
        assert_eq!(one.core.status().vote, 2, "{role}");
    }
}

#[test]
fn a_stale_term_is_answered_with_the_own_and_changes_nothing_5_1() {
    let mut one = One::with(1, 3, &[1], 5, NONE);
    one.hear(2, 5, Body::MsgHeartbeat { commit: 0, read: 0 });
    one.says();
    let old = Body::MsgApp { index: 1, log_term: 1, entries: vec![entry(2, 2)], commit: 2 };
    one.hear(3, 2, old);
    let answer = Message { from: 1, to: 3, term: 5, body: no(0, 0, 0) };
    assert_eq!((one.says(), one.last(), one.commit()), (vec![answer], 1, 0));
    assert_eq!(one.core.status().leader, 2);
}

fn entry(term: Term, index: Index) -> Entry {
    Entry { term, index, payload: Payload::Empty }
}

fn no(index: Index, hint_index: Index, hint_term: Term) -> Body {
    Body::MsgAppResp { index, reject: true, hint_index, hint_term }
}

#[test]
fn members_start_as_followers_5_2() {
    for (log, term, vote) in [(&[][..], 0, NONE), (&[1, 2][..], 7, 1)] {
        let mut one = One::with(1, 3, log, term, vote);
        assert_eq!((one.role(), one.term(), one.says()), (Role::Follower, term, vec![]));
    }
}

#[test]
fn a_leader_tells_everybody_in_time_that_it_leads_5_2() {
    let mut one = One::as_(Role::Leader);
    one.accept(2, 1);
    one.says();
    for round in 0..4 {
        for _ in 1..HEARTBEAT {
            one.tick();
            assert_eq!(one.says(), [], "round {round}");
        }
        one.tick();
        // no follower hears of more commits than it is known to have entries
        let beat =
            |to, commit| Message { from: 1, to, term: 1, body: Body::MsgHeartbeat { commit, read: 0 } };
        assert_eq!(one.says(), [beat(2, 1), beat(3, 0)], "round {round}");
        for id in [2, 3] {
            one.hear(id, 1, Body::MsgHeartbeatResp { read: 0 });
        }
        one.says();
    }
}

#[test]
fn a_follower_that_hears_no_leader_asks_for_votes_in_the_next_term_5_2() {
    for role in [Role::Follower, Role::Candidate] {
        let mut one = One::as_(role);
        one.time_out();
        // first whether it would win (dissertation, 9.6): that costs no term
        assert_eq!((one.role(), one.term()), (Role::PreCandidate, 1));
        let ask = |to, term, body| Message { from: 1, to, term, body };
        let pre = Body::MsgPreVote { index: 0, log_term: 0 };
        assert_eq!(one.says(), [ask(2, 2, pre.clone()), ask(3, 2, pre)]);
        one.lags = true;
        one.hear(2, 2, Body::MsgPreVoteResp { reject: false });
        let status = one.core.status();
        assert_eq!((status.role, status.term, status.vote), (Role::Candidate, 2, 1), "it votes for itself");
        assert_eq!(one.says(), [], "before its own vote is durable it asks no member");
        one.sync();
        let vote = Body::MsgVote { index: 0, log_term: 0, transfer: false };
        assert_eq!(one.says(), [ask(2, 2, vote.clone()), ask(3, 2, vote)]);
    }
}

#[test]
fn one_round_of_votes_wins_loses_or_leaves_it_open_5_2() {
    use Role::{Candidate, Follower, Leader};
    // members, who answers how, what becomes of the candidate
    type Case = (u64, &'static [(MemberId, bool)], Role);
    let cases: [Case; 19] = [
        (1, &[], Leader),
        (3, &[(2, true), (3, true)], Leader),
        (3, &[(2, true)], Leader),
        (3, &[(2, true), (3, false)], Leader),
        (5, &[(2, true), (3, true), (4, true), (5, true)], Leader),
        (5, &[(2, true), (3, true)], Leader),
        (3, &[(2, false), (3, false)], Follower),
        (5, &[(2, false), (3, false), (4, false)], Follower),
        (5, &[(2, true), (3, false), (4, false), (5, false)], Follower),
        (3, &[], Candidate),
        (5, &[(2, true)], Candidate),
        (5, &[(2, false), (3, false)], Candidate),
        (5, &[(2, true), (2, true)], Candidate),
        (3, &[(9, true)], Candidate),
        // of an even number, half of the votes is not enough
        (2, &[], Candidate),
        (2, &[(2, false)], Follower),
        (4, &[(2, true), (3, false)], Candidate),
        (4, &[(2, true), (3, false), (4, false)], Follower),
        (4, &[(2, false), (3, false)], Follower),
    ];
    for (members, votes, end) in cases {
        let mut one = One::new(members);
        one.campaign();
        for (from, granted) in votes {
            one.hear(*from, 1, Body::MsgVoteResp { reject: !granted });
        }
        assert_eq!((one.role(), one.term()), (end, 1), "{members} members, {votes:?}");
    }
}

#[test]
fn a_follower_votes_once_a_term_for_the_first_candidate_5_2() {
    for (voted, asks, refused) in
        [(NONE, 2, false), (NONE, 3, false), (2, 2, false), (3, 3, false), (2, 3, true), (3, 2, true)]
    {
        let mut one = One::with(1, 3, &[], 1, voted); // as it finds it on its disk
        one.lags = true;
        one.hear(asks, 1, Body::MsgVote { index: 0, log_term: 0, transfer: false });
        assert_eq!(one.says(), [], "a vote is a promise: first to the disk");
        one.sync();
        let answer = Message { from: 1, to: asks, term: 1, body: Body::MsgVoteResp { reject: refused } };
        assert_eq!(one.says(), [answer], "voted for {voted}, asked by {asks}");
    }
}

#[test]
fn a_candidate_yields_to_a_leader_of_its_term_or_a_later_one_5_2() {
    for (role, term, yields) in [
        (Role::Candidate, 1, true),
        (Role::Candidate, 2, true),
        (Role::PreCandidate, 1, true),
        (Role::Candidate, 0, false),
    ] {
        let mut one = One::as_(role);
        one.hear(3, term, Body::MsgApp { index: 0, log_term: 0, entries: vec![], commit: 0 });
        let end = if yields { (Role::Follower, term, 3) } else { (role, 1, NONE) };
        assert_eq!((one.role(), one.term(), one.core.status().leader), end, "{role}, leader of term {term}");
    }
}

/// Ticks from a fresh start in a role until the next election, many times.
fn timeouts(role: Role, id: MemberId, rounds: u64) -> Vec<u32> {
    let mut one = One::with(id, 5, &[], 0, NONE);
    let other = one.others().next().expect("five members");
    let mut taken = vec![];
    for _ in 0..rounds {
        match role {
            Role::Follower => one.hear(other, one.term() + 1, Body::MsgHeartbeat { commit: 0, read: 0 }),
            _ => one.campaign(),
        }
        one.says();
        taken.push(one.time_out());
        one.says();
    }
    taken
}

#[test]
fn election_timeouts_are_drawn_from_once_to_twice_the_least_5_2() {
    for role in [Role::Follower, Role::Candidate] {
        let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
        for ticks in timeouts(role, 1, 1000) {
            *seen.entry(ticks).or_default() += 1;
        }
        let all: Vec<u32> = (ELECTION..2 * ELECTION).collect();
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), all, "{role}");
        assert!(seen.values().all(|n| *n > 50), "{role}: {seen:?} of 1000");
    }
}

#[test]
fn two_members_seldom_lose_patience_at_once_5_2() {
    for role in [Role::Follower, Role::Candidate] {
        let members: Vec<Vec<u32>> = (1..=5).map(|id| timeouts(role, id, 1000)).collect();
        let collision = |round: &usize| {
            let ticks: Vec<u32> = members.iter().map(|m| m[*round]).collect();
            let first = ticks.iter().min().expect("five members");
            ticks.iter().filter(|t| *t == first).count() > 1
        };
        let collisions = (0..1000).filter(collision).count();
        assert!(collisions <= 300, "{role}: {collisions} of 1000 elections begin twice");
    }
}

#[test]
fn a_request_for_votes_says_where_the_log_ends_5_4_1() {
    for (log, end) in [(&[1][..], (1, 1)), (&[1, 2][..], (2, 2)), (&[1, 1, 4][..], (3, 4))] {
        let mut one = One::new(3);
        let term = end.1;
        one.hear(2, term, Body::MsgApp { index: 0, log_term: 0, entries: entries(log), commit: 0 });
        one.says();
        one.campaign();
        let (index, log_term) = end;
        let messages = one.says();
        let ask = |to| {
            let pre = Message { from: 1, to, term: term + 1, body: Body::MsgPreVote { index, log_term } };
            let body = Body::MsgVote { index, log_term, transfer: false };
            [pre, Message { from: 1, to, term: term + 1, body }]
        };
        assert_eq!(messages, [ask(2), ask(3)].concat(), "a log of terms {log:?}");
    }
}

#[test]
fn a_voter_refuses_a_candidate_whose_log_ends_before_its_own_5_4_1() {
    // the voter's log; the last index and term of the candidate's
    let cases: [(&[Term], Index, Term, bool); 10] = [
        (&[1], 1, 1, false),
        (&[1], 2, 1, false),
        (&[1, 1], 1, 1, true),
        (&[1], 1, 2, false),
        (&[1], 2, 2, false),
        (&[1, 1], 1, 2, false),
        (&[2], 1, 1, true),
        (&[2], 2, 1, true),
        (&[1, 2], 1, 1, true),
        (&[], 0, 0, false),
    ];
    for (log, index, log_term, reject) in cases {
        for (body, answer) in [
            (Body::MsgPreVote { index, log_term }, Body::MsgPreVoteResp { reject }),
            (Body::MsgVote { index, log_term, transfer: false }, Body::MsgVoteResp { reject }),
        ] {
            let mut one = One::with(1, 3, log, 2, NONE);
            one.hear(2, 3, body);
            assert_eq!(one.tells(2), [answer], "voter {log:?}, candidate ends at {index} of term {log_term}");
        }
    }
}

/// Of its own term, too: a candidate made it known and is gone, and the next one needs no further
/// term (dissertation, 9.6; `canVote` in etcd's `Step`).
#[test]
fn a_pre_vote_is_bound_by_what_binds_a_vote_5_2() {
    use crate::Refusal::{AlreadyVoted, LeaderAlive};
    let cases = [
        (NONE, NONE, None),
        (2, NONE, None),
        (3, NONE, Some(AlreadyVoted)),
        (NONE, 3, Some(LeaderAlive)),
        (3, 3, Some(AlreadyVoted)),
    ];
    for ((voted, leader, why), pre) in cases.into_iter().flat_map(|case| [(case, true), (case, false)]) {
        let mut one = One::with(1, 3, &[1], 5, voted);
        if leader != NONE {
            one.hear(leader, 5, Body::MsgHeartbeat { commit: 0, read: 0 });
        }
        one.says();
        one.events.clear();
        let ((index, log_term), reject) = ((1, 1), why.is_some());
        let (body, answer) = match pre {
            true => (Body::MsgPreVote { index, log_term }, Body::MsgPreVoteResp { reject }),
            false => (Body::MsgVote { index, log_term, transfer: false }, Body::MsgVoteResp { reject }),
        };
        one.hear(2, 5, body);
        let at = format!("voted for {voted}, led by {leader}, pre-vote: {pre}");
        assert_eq!(one.says(), [Message { from: 1, to: 2, term: 5, body: answer }], "{at}");
        let event = match why {
            Some(why) => Event::Refused { term: 5, to: 2, pre, why },
            None => Event::Voted { term: 5, to: 2, pre },
        };
        assert_eq!(one.events, [event], "{at}");
        let vote = if pre || reject { voted } else { 2 };
        assert_eq!(one.core.status().vote, vote, "{at}");
    }
}

/// A member that was cut off and comes back does not end the term of a leader that the others hear
/// (dissertation, 4.2.3): a vote is refused until an election timeout has passed in silence.
#[test]
fn a_member_that_hears_its_leader_refuses_a_candidate_of_a_later_term() {
    for (role, pre) in
        [(Role::Follower, true), (Role::Follower, false), (Role::Leader, true), (Role::Leader, false)]
    {
        let mut one = One::as_(role);
        one.events.clear();
        let (index, log_term, reject) = (9, 5, false);
        let (body, granted) = match pre {
            true => (Body::MsgPreVote { index, log_term }, Body::MsgPreVoteResp { reject }),
            false => (Body::MsgVote { index, log_term, transfer: false }, Body::MsgVoteResp { reject }),
        };
        one.hear(3, 7, body.clone());
        assert_eq!((one.role(), one.term(), one.says()), (role, 1, vec![]), "pre-vote: {pre}");
        let refused = Event::Refused { term: 7, to: 3, pre, why: crate::Refusal::LeaderAlive };
        assert_eq!(one.events, [refused], "{role}, pre-vote: {pre}");
        if role == Role::Follower {
            (0..ELECTION).for_each(|_| one.tick());
            one.says();
            one.hear(3, 7, body);
            assert_eq!(one.tells(3), [granted]);
        }
    }
}

/// Member 1 made term 6 known to member 3 and died; member 2 has not heard of it.
#[test]
fn a_member_that_is_one_term_behind_wins_in_the_first_election() {
    let mut group = [One::with(2, 3, &[1], 5, NONE), One::with(3, 3, &[1], 6, NONE)];
    group[0].time_out();
    settle(&mut group);
    assert_eq!((group[0].role(), group[0].term()), (Role::Leader, 6));
    assert_eq!((group[1].role(), group[1].core.status().leader), (Role::Follower, 2));
}

/// A member that led in a term and whose disk forgot that term could lead in it a second time, with
/// other entries.
#[test]
fn the_only_voter_leads_when_its_own_vote_is_durable() {
    let conf = ConfState { voters: [1].into(), learners: [2].into() };
    let stored = Stored {
        hard: HardState { term: 5, vote: 1, commit: 0 },
        snapshot: SnapshotRef { conf, ..SnapshotRef::default() },
        entries: entries(&[5]),
    };
    let config = Config { id: 1, election_ticks: ELECTION, heartbeat_ticks: HEARTBEAT, seed: 1 };
    let mut core = Raft::new(config, stored);
    let vote = core.ready().expect("its own vote");
    assert_eq!(vote.hard.map(|h| (h.term, h.vote)), Some((6, 1)));
    for _ in 0..5 * ELECTION {
        core.tick();
        assert!(core.ready().is_none_or(|r| !r.writes() && r.send.is_empty()), "the disk is slow");
    }
    assert_eq!((core.status().role, core.status().term), (Role::Candidate, 6), "no second vote behind it");
    assert!(core.propose(Bytes::new()).is_err());
    core.persisted(vote.batch);
    assert_eq!((core.status().role, core.status().term), (Role::Leader, 6));
    let first = core.ready().expect("its first entry");
    assert!(first.send.iter().any(|m| m.to == 2 && m.term == 6), "{:?}", first.send);
}

#[test]
fn the_same_leader_in_a_new_term_is_news() {
    let mut one = One::with(1, 3, &[], 0, NONE);
    let mut news = |term| {
        one.core.step(Message { from: 2, to: 1, term, body: Body::MsgHeartbeat { commit: 0, read: 0 } });
        let events = one.core.ready().map(|r| r.events).unwrap_or_default();
        events.into_iter().filter(|e| matches!(e, crate::Event::Leader { .. })).collect::<Vec<_>>()
    };
    let leads = |term| crate::Event::Leader { term, leader: 2 };
    assert_eq!((news(5), news(5), news(7)), (vec![leads(5)], vec![], vec![leads(7)]));
}

/// As etcd's log has it: `raft.node: 1 lost leader 2 at term 1`.
#[test]
fn a_leader_that_is_lost_is_news() {
    let leaders = |one: &mut One| {
        let events = std::mem::take(&mut one.events).into_iter();
        let news = events.filter_map(|event| match event {
            Event::Leader { term, leader } => Some((term, leader)),
            _ => None,
        });
        news.collect::<Vec<(Term, MemberId)>>()
    };
    let mut one = One::as_(Role::Follower);
    assert_eq!(leaders(&mut one), [(1, 2)]);
    one.time_out();
    assert_eq!(leaders(&mut one), [(1, NONE)], "it was silent");
    one.says();
    one.time_out();
    assert_eq!(leaders(&mut one), [], "there is none to lose");

    let mut one = One::as_(Role::Follower);
    one.hear(2, 1, Body::MsgTimeoutNow);
    assert_eq!(leaders(&mut one), [(1, 2), (2, NONE)], "it hands over");

    let mut one = One::as_(Role::Leader);
    for _ in 0..3 * ELECTION {
        one.tick();
    }
    assert_eq!(leaders(&mut one), [(1, 1), (1, NONE)], "it hears no majority");

    let mut one = One::as_(Role::Leader);
    one.hear(3, 4, Body::MsgAppResp { index: 0, reject: true, hint_index: 0, hint_term: 0 });
    assert_eq!(leaders(&mut one), [(1, 1), (4, NONE)], "there is a newer term");
}

/// As etcd's `TestLeaderStepdownWhenQuorumLost`: also a leader that has never been heard.
#[test]
fn a_new_leader_that_hears_no_majority_leads_for_one_election_timeout() {
    for heard in [false, true] {
        let mut one = One::as_(Role::Leader);
        for _ in 0..ELECTION {
            if heard {
                one.hear(3, 1, Body::MsgHeartbeatResp { read: 0 });
            }
            assert_eq!(one.role(), Role::Leader);
            one.tick();
        }
        assert_eq!(one.role() == Role::Leader, heard);
    }
}

/// One forged message with the largest term would end all elections: the next term cannot be said.
#[test]
fn a_term_after_which_no_other_could_come_is_not_believed() {
    use crate::codec::{COUNT_MAX, REACH_MAX};
    let beat = || Body::MsgHeartbeat { commit: 0, read: 0 };
    let mut group: Vec<One> = (1..=3).map(|id| One::with(id, 3, &[], 1, NONE)).collect();
    group[1].hear(1, COUNT_MAX - 1, beat());
    assert_eq!(group[1].term(), 1);
    for leap in [REACH_MAX, REACH_MAX + (1 << 32)] {
        group[1].hear(1, leap, beat());
        assert_eq!(group[1].term(), leap, "other members believe it, too, so the group goes on from there");
        let leads = |one: &One| one.role() == Role::Leader && one.term() > leap;
        for _ in 0..100 * ELECTION {
            if group.iter().any(leads) {
                break;
            }
            group.iter_mut().for_each(One::tick);
            settle(&mut group);
        }
        assert!(group.iter().any(leads), "after term {leap}");
        assert!(group.iter().all(|one| one.term() > leap), "after term {leap}");
    }
}
