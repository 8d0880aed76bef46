mod stream;

use super::*;

#[test]
fn pieces_are_as_large_as_a_client_takes_and_no_larger() {
    let header = pb::ResponseHeader { cluster_id: 1 << 60, member_id: 1, revision: 7, raft_term: 2 };
    let whole = |events| pb::WatchResponse {
        header: Some(header.clone()),
        watch_id: 300,
        fragment: true,
        events,
        ..Default::default()
    };
    let mut cut = 0;
    for size in [30, 150, 70_000] {
        let kv = pb::KeyValue { key: vec![7; size].into(), ..Default::default() };
        let event = pb::Event { kv: Some(kv), ..Default::default() };
        let all = vec![event; 3 * MESSAGE_MAX / size / 2];
        let pieces = pieces(whole(vec![]).encoded_len(), all.clone());
        let sizes: Vec<usize> = pieces.iter().map(|piece| whole(piece.clone()).encoded_len()).collect();
        assert!(sizes.iter().all(|size| *size <= MESSAGE_MAX), "{size}: {sizes:?}");
        let room = size + 20; // another event would not have fitted
        let (_, full) = sizes.split_last().expect("a piece");
        assert!(full.iter().all(|size| size + room > MESSAGE_MAX), "{size}: {sizes:?}");
        cut += full.len();
        assert!(pieces.concat() == all, "{size}: events are missing or in another order");
    }
    assert!(cut >= 3);
}
