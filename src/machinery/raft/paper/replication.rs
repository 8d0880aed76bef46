//! How the log is copied (section 5.3), and what may be called committed (5.3, 5.4.2).

use super::*;

fn normal(term: Term, index: Index, data: &'static str) -> Entry {
    Entry { term, index, payload: Payload::Normal(Bytes::from_static(data.as_bytes())) }
}

#[test]
fn a_leader_writes_a_proposal_and_sends_it_with_what_comes_before_5_3() {
    let mut one = settled_leader(3);
    one.lags = true;
    one.propose("a");
    assert_eq!((one.last(), one.commit(), one.core.status().persisted), (2, 1, 1));
    assert_eq!(one.disk.last(), Some(&normal(1, 2, "a")), "on its way to the disk");
    let append = |to| {
        let body = Body::MsgApp { index: 1, log_term: 1, entries: vec![normal(1, 2, "a")], commit: 1 };
        Message { from: 1, to, term: 1, body }
    };
    // its own disk is counted when it commits, so the others need not wait for it (dissertation,
    // 10.2.1)
    assert_eq!(one.says(), [append(2), append(3)]);
}

#[test]
fn what_a_majority_has_is_committed_given_out_and_told_5_3() {
    let mut one = settled_leader(3);
    one.propose("a");
    one.says();
    one.accept(2, 2);
    assert_eq!((one.commit(), &one.applied[..]), (2, &[normal(1, 2, "a")][..]));
    // 2 has it all, and hears that it is committed; 3 does, too
    for to in [2, 3] {
        let is_sent =
            one.messages.iter().any(|m| m.to == to && matches!(m.body, Body::MsgApp { commit: 2, .. }));
        assert!(is_sent, "{to}: {:?}", one.messages);
    }
}

#[test]
fn an_entry_is_committed_by_a_majority_and_not_before_5_3() {
    // members, who has the entry, whether the leader's own disk has it
    let cases: [(u64, &[MemberId], bool, bool); 14] = [
        (1, &[], true, true),
        (1, &[], false, false),
        (3, &[], true, false),
        (3, &[2], true, true),
        (3, &[2], false, false),
        (3, &[2, 3], true, true),
        (3, &[2, 3], false, true),
        (5, &[], true, false),
        (5, &[2], true, false),
        (5, &[2, 3], true, true),
        (5, &[2, 3], false, false),
        (5, &[2, 2], true, false),
        (5, &[2, 3, 4], false, true),
        (5, &[2, 3, 4, 5], true, true),
    ];
    for (members, have, own, committed) in cases {
        let mut one = settled_leader(members);
        one.lags = !own;
        one.propose("a");
        have.iter().for_each(|id| one.accept(*id, 2));
        let case = format!("{members} members, {have:?} have it, own disk {own}");
        assert_eq!(one.commit() == 2, committed, "{case}");
        assert_eq!(
            one.applied.len(),
            usize::from(committed && own),
            "{case}: applied what its disk may lose"
        );
    }
}

#[test]
fn with_its_first_entry_a_leader_commits_what_earlier_leaders_left_5_3() {
    for left in [&[][..], &[2], &[1, 2], &[1, 1, 2]] {
        let mut one = One::with(1, 3, left, 2, 1);
        one.lead();
        one.propose("a");
        let (last, term) = (one.last(), one.term());
        assert_eq!((last, term), (left.len() as u64 + 2, 3));
        one.accept(2, last);
        let right: Vec<Term> = left.iter().copied().chain([3, 3]).collect();
        assert_eq!(terms(&one.applied), right, "left over {left:?}");
        assert!(one.applied.iter().map(|e| e.index).eq(1..=last), "in the order of the log");
    }
}

#[test]
fn only_entries_of_the_own_term_are_committed_by_counting_5_4_2() {
    // a log of terms 1 and 2; in term 3 come the leader's first entry and a proposal
    for (has, commit) in [(1, 0), (2, 0), (3, 3), (4, 4)] {
        let mut one = One::with(1, 3, &[1, 2], 2, 1);
        one.lead();
        one.propose("a");
        one.accept(2, has);
        assert_eq!(one.commit(), commit, "a majority has everything up to {has}");
    }
}

#[test]
fn a_follower_applies_what_it_hears_to_be_committed_in_order_5_3() {
    let (a, b) = (normal(1, 1, "a"), normal(1, 2, "b"));
    for (entries, commit) in [
        (vec![a.clone()], 1),
        (vec![a.clone(), b.clone()], 2),
        (vec![a.clone(), b.clone()], 1),
        (vec![a.clone(), b.clone()], 0),
        (vec![a.clone()], 7),
    ] {
        let mut one = One::new(3);
        one.hear(2, 1, Body::MsgApp { index: 0, log_term: 0, entries: entries.clone(), commit });
        let known = commit.min(entries.len() as u64);
        assert_eq!((one.commit(), &one.applied[..]), (known, &entries[..known as usize]));
    }
}

#[test]
fn a_follower_does_not_believe_a_commit_beyond_what_it_was_sent_5_3() {
    // entry 2 of an old leader is left over: that entry 2 is committed says nothing about this one
    let mut one = One::with(1, 3, &[1, 1], 1, NONE);
    one.hear(2, 2, Body::MsgApp { index: 1, log_term: 1, entries: vec![], commit: 2 });
    assert_eq!((one.commit(), terms(&one.applied)), (1, vec![1]));
}

#[test]
fn a_follower_takes_entries_only_behind_one_that_it_has_5_3() {
    // a log of terms 1 and 2, its first entry committed; where the leader's entries go, and the
    // answer
    let yes = |index| Body::MsgAppResp { index, reject: false, hint_index: 0, hint_term: 0 };
    let no = |index, hint_index, hint_term| Body::MsgAppResp { index, reject: true, hint_index, hint_term };
    let cases = [
        (0, 0, yes(1)),      // before what is committed: that much it has
        (1, 1, yes(1)),      // behind a committed entry
        (2, 2, yes(2)),      // behind one that is not committed
        (2, 1, no(2, 1, 1)), // it has another entry there
        (3, 3, no(3, 2, 2)), // it has no entry there
        (9, 1, no(9, 1, 1)), // nor any of that term but the first
    ];
    for (index, log_term, answer) in cases {
        let mut one = One::with(1, 3, &[1, 2], 2, NONE);
        one.hear(2, 2, Body::MsgHeartbeat { commit: 1, read: 0 });
        one.says();
        one.hear(2, 2, Body::MsgApp { index, log_term, entries: vec![], commit: 1 });
        assert_eq!(one.tells(2), [answer], "entries behind {index} of term {log_term}");
        assert_eq!(terms(&one.disk), [1, 2]);
    }
}

#[test]
fn a_follower_replaces_what_disagrees_and_keeps_what_agrees_5_3() {
    let entry = |(index, term)| Entry { term, index, payload: Payload::Empty };
    // the entry before, the leader's entries; the log afterwards
    type Case<'a> = ((Index, Term), &'a [(Index, Term)], &'a [Term]);
    let cases: [Case; 6] = [
        ((2, 2), &[(3, 3)], &[1, 2, 3]),
        ((1, 1), &[(2, 3), (3, 4)], &[1, 3, 4]),
        ((0, 0), &[(1, 1)], &[1, 2]), // an old message, late: what it does not mention stays
        ((0, 0), &[(1, 3)], &[3]),
        ((0, 0), &[(1, 1), (2, 2), (3, 2)], &[1, 2, 2]),
        ((2, 2), &[], &[1, 2]),
    ];
    for ((index, log_term), news, after) in cases {
        let mut one = One::with(1, 3, &[1, 2], 2, NONE);
        one.lags = true;
        let entries: Vec<Entry> = news.iter().copied().map(entry).collect();
        let end = index + entries.len() as u64;
        one.hear(2, 4, Body::MsgApp { index, log_term, entries, commit: 0 });
        assert_eq!(terms(&one.disk), after, "{news:?} behind {index}");
        assert!(one.disk.iter().map(|e| e.index).eq(1..=after.len() as u64));
        assert_eq!(one.says(), [], "an answer is a promise: first to the disk");
        one.sync();
        assert_eq!(
            one.tells(2),
            [Body::MsgAppResp { index: end, reject: false, hint_index: 0, hint_term: 0 }]
        );
    }
}

#[test]
fn a_leader_brings_every_follower_of_figure_7_to_its_own_log_5_3() {
    let leader: &[Term] = &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6];
    let followers: [&[Term]; 7] = [
        &[1, 1, 1, 4, 4, 5, 5, 6, 6],
        &[1, 1, 1, 4],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
        &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
        &[1, 1, 1, 4, 4, 4, 4],
        &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
        &[],
    ];
    for follower in followers {
        // 3 only votes, so that a follower with a longer log does not keep the leader from leading
        let mut group = [One::with(1, 3, leader, 7, NONE), One::with(2, 3, follower, 7, NONE)];
        group[0].campaign();
        group[0].hear(3, 8, Body::MsgVoteResp { reject: false });
        assert_eq!(group[0].role(), Role::Leader);
        settle(&mut group);
        group[0].propose("a");
        settle(&mut group);
        let mut right = leader.to_vec();
        right.extend([8, 8]);
        assert_eq!(terms(&group[0].disk), right);
        assert_eq!(group[0].disk, group[1].disk, "a follower of {follower:?}");
        assert_eq!((group[1].commit(), group[1].applied.len()), (12, 12));
        assert_eq!(group[0].progress(2), (12, ProgressState::Replicate));
    }
}
