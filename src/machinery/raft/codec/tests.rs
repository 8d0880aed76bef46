use super::*;
use proptest::prelude::*;

fn body() -> impl Strategy<Value = Body> {
    let n = || 0..COUNT_MAX;
    let data = || proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let ids = |least| proptest::collection::btree_set(1..COUNT_MAX, least..4);
    let conf = move || {
        (ids(1), ids(0)).prop_map(|(voters, learners)| ConfState { learners: &learners - &voters, voters })
    };
    let payload = prop_oneof![
        Just(Payload::Empty),
        data().prop_map(Payload::Normal),
        conf().prop_map(Payload::ConfChange)
    ];
    let entry = (n(), n(), payload).prop_map(|(term, index, payload)| Entry { term, index, payload });
    prop_oneof![
        (n(), n(), n(), proptest::collection::vec(entry, 0..4))
            .prop_map(|(index, log_term, commit, entries)| Body::MsgApp { index, log_term, entries, commit }),
        (n(), any::<bool>(), n(), n()).prop_map(|(index, reject, hint_index, hint_term)| {
            Body::MsgAppResp { index, reject, hint_index, hint_term }
        }),
        (n(), n()).prop_map(|(commit, read)| Body::MsgHeartbeat { commit, read }),
        n().prop_map(|read| Body::MsgHeartbeatResp { read }),
        (n(), n()).prop_map(|(index, log_term)| Body::MsgPreVote { index, log_term }),
        any::<bool>().prop_map(|reject| Body::MsgPreVoteResp { reject }),
        (n(), n(), any::<bool>()).prop_map(|(index, log_term, transfer)| Body::MsgVote {
            index,
            log_term,
            transfer
        }),
        any::<bool>().prop_map(|reject| Body::MsgVoteResp { reject }),
        (n(), n(), conf(), data()).prop_map(|(index, term, conf, data)| Body::MsgSnap(SnapshotRef {
            index,
            term,
            conf,
            data
        })),
        Just(Body::MsgTimeoutNow),
        data().prop_map(|data| Body::MsgProp { data }),
        n().prop_map(|ctx| Body::MsgReadIndex { ctx }),
        (n(), n()).prop_map(|(ctx, index)| Body::MsgReadIndexResp { ctx, index }),
        (n(), n(), data()).prop_map(|(ctx, applied, data)| Body::MsgAsk { ctx, applied, data }),
        (n(), data()).prop_map(|(ctx, data)| Body::MsgAnswer { ctx, data }),
    ]
}

/// Returns the body with numbers that a member could send: entries follow each other, and none of
/// them, and no snapshot, is newer than the term of the message.
fn in_order(mut body: Body, term: u64) -> Body {
    if let Body::MsgSnap(snapshot) = &mut body {
        (snapshot.index, snapshot.term) = (snapshot.index % REACH_MAX, snapshot.term.min(term));
    }
    if let Body::MsgApp { index, log_term, entries, .. } = &mut body {
        *index = (*index).min(COUNT_MAX - 9);
        *log_term = (*log_term).min(term);
        for (entry, at) in entries.iter_mut().zip(*index + 1..) {
            (entry.index, entry.term) = (at, term);
        }
    }
    body
}

/// What no member says, be it a mistake or malice, is refused before a member counts with it.
#[test]
fn impossible_numbers_are_refused() {
    let received =
        |from, term, body| decode_message(encode_message(&Message { from, to: 2, term, body }).into());
    let append = |index, terms: &[(u64, u64)]| {
        let entry =
            |(term, index): &(u64, u64)| Entry { term: *term, index: *index, payload: Payload::Empty };
        Body::MsgApp { index, log_term: 3, entries: terms.iter().map(entry).collect(), commit: 0 }
    };
    let beat = || Body::MsgHeartbeat { commit: 1, read: 1 };
    let conf = |voters: &[u64], learners: &[u64]| ConfState {
        voters: voters.iter().copied().collect(),
        learners: learners.iter().copied().collect(),
    };
    let snapshot = |index, term, conf| {
        Body::MsgSnap(SnapshotRef { index, term, conf, data: Bytes::from_static(b"state") })
    };
    let change = |conf| {
        let entries = vec![Entry { term: 3, index: 8, payload: Payload::ConfChange(conf) }];
        Body::MsgApp { index: 7, log_term: 3, entries, commit: 0 }
    };
    let refused = [
        received(1, u64::MAX, beat()),
        received(1, COUNT_MAX, beat()),
        received(NONE, 5, beat()),
        received(2, 5, beat()),
        received(1, 5, Body::MsgHeartbeat { commit: u64::MAX, read: 0 }),
        received(1, 5, Body::MsgAppResp { index: u64::MAX, reject: false, hint_index: 0, hint_term: 0 }),
        received(1, 5, Body::MsgAppResp { index: 0, reject: true, hint_index: u64::MAX, hint_term: 0 }),
        received(1, 5, Body::MsgVote { index: u64::MAX, log_term: 1, transfer: false }),
        received(1, 5, Body::MsgPreVote { index: 1, log_term: u64::MAX }),
        received(1, 5, Body::MsgReadIndexResp { ctx: 1, index: u64::MAX }),
        received(1, 5, Body::MsgSnap(SnapshotRef { index: u64::MAX, ..SnapshotRef::default() })),
        received(1, 5, append(u64::MAX, &[])),
        received(1, 5, append(7, &[(3, 9)])),
        received(1, 5, append(7, &[(3, 8), (3, 8)])),
        received(1, 5, append(7, &[(2, 8)])),
        received(1, 5, append(7, &[(6, 8)])),
        received(1, 2, append(7, &[])),
        received(1, 5, snapshot(7, 6, conf(&[1], &[]))),
        received(1, 5, snapshot(REACH_MAX, 5, conf(&[1], &[]))),
        received(1, 5, snapshot(7, 5, conf(&[], &[1]))),
        received(1, 5, snapshot(7, 5, conf(&[1, 0], &[]))),
        received(1, 5, change(conf(&[], &[]))),
        received(1, 5, change(conf(&[1], &[0]))),
        received(1, 5, change(conf(&[1, 2], &[2]))),
    ];
    for (at, refused) in refused.into_iter().enumerate() {
        assert!(matches!(refused, Err(DecodeError::Impossible { .. })), "{at}: {refused:?}");
    }
    assert!(received(1, 5, append(7, &[(3, 8), (5, 9)])).is_ok());
    assert!(received(1, 5, snapshot(7, 5, conf(&[1, 2], &[3]))).is_ok());
    assert!(received(1, 5, change(conf(&[1, 2], &[3]))).is_ok());
    // more entries than there are bytes
    let mut lie = vec![MESSAGE_VERSION];
    for n in [1, 2, 5, 1, 7, 3, 0, u64::MAX] {
        put_u64(&mut lie, n);
    }
    assert_eq!(decode_message(lie.into()), Err(DecodeError::Short));
}

proptest! {
    #[test]
    fn messages_survive_the_wire(from in 1u64.., to: u64, term in 0..COUNT_MAX, body in body()) {
        prop_assume!(from != to);
        let m = Message { from, to, term, body: in_order(body, term) };
        let bytes = encode_message(&m);
        prop_assert_eq!(decode_message(bytes.clone().into()), Ok(m));
        prop_assert!(decode_message(Bytes::copy_from_slice(&bytes[..bytes.len() - 1])).is_err());
    }

    #[test]
    fn noise_is_refused_or_says_what_a_member_could_say(noise in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut bytes = vec![MESSAGE_VERSION];
        bytes.extend(noise);
        if let Ok(m) = decode_message(bytes.into()) {
            prop_assert!(m.from != NONE && m.from != m.to && m.term < COUNT_MAX, "{:?}", m);
            prop_assert_eq!(decode_message(encode_message(&m).into()), Ok(m));
        }
    }

    #[test]
    fn what_follows_a_message_is_refused(
        term in 0..COUNT_MAX,
        body in body(),
        noise in proptest::collection::vec(any::<u8>(), 1..60),
    ) {
        let mut bytes = encode_message(&Message { from: 1, to: 2, term, body: in_order(body, term) });
        bytes.extend(&noise);
        prop_assert_eq!(decode_message(bytes.into()), Err(DecodeError::Long(noise.len())));
    }
}

#[test]
fn a_newer_peer_is_named() {
    let refused = decode_message(Bytes::from_static(&[2, 0, 0, 0, 10]));
    assert_eq!(refused, Err(DecodeError::Unknown { what: "message version", value: 2 }));
}
