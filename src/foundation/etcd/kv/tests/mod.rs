mod attempts;

use super::super::api::EventType;
use super::*;

fn put(key: &'static str, lease: i64) -> PutRequest {
    PutRequest { key: key.into(), value: "v".into(), lease, prev_kv: true, ..PutRequest::default() }
}
fn get(key: &'static str) -> RangeRequest {
    RangeRequest { key: key.into(), ..RangeRequest::default() }
}

#[tokio::test(start_paused = true)]
async fn a_lease_takes_its_keys_along() {
    let kv = Kv::in_memory(Rng::seeded(1));
    let lease = kv.lease_grant(10, 0).await.unwrap();
    assert_eq!(kv.lease_grant(10, lease).await, Err(Error::LeaseExist));
    for key in ["a", "b", "c"] {
        kv.put(put(key, lease)).await.unwrap();
    }
    kv.put(put("b", 0)).await.unwrap(); // detached
    let mut watcher = kv.watch(WatchRequest { key: "a".into(), ..Default::default() }).await.unwrap();
    clock::sleep(Duration::from_secs(9)).await;
    assert_eq!(kv.lease_keep_alive(lease).await, Ok(10));
    clock::sleep(Duration::from_secs(9)).await;
    let ttl = kv.lease_time_to_live(lease).await.unwrap();
    assert_eq!((ttl.granted, ttl.remaining, ttl.keys), (10, 1, vec!["a".into(), "c".into()]));
    let before = kv.revision();
    clock::sleep(Duration::from_secs(1)).await;
    assert_eq!(kv.range(get("a")).await.unwrap().count, 0);
    assert_eq!(kv.range(get("b")).await.unwrap().count, 1);
    assert_eq!(kv.revision(), before + 1, "all keys of a lease go at one revision");
    assert_eq!(watcher.next().await.unwrap().unwrap().events[0].kind, EventType::Delete);
    assert_eq!(kv.put(put("a", lease)).await, Err(Error::LeaseNotFound));
    assert_eq!(kv.lease_revoke(lease).await, Err(Error::LeaseNotFound));
}

#[tokio::test]
async fn limits_bind_clients_but_not_undo() {
    let kv = Kv::in_memory(Rng::seeded(1));
    let key = |i: usize| bytes::Bytes::from(format!("k{i}"));
    let puts = |n| {
        let op = |i| RequestOp::Put(PutRequest { key: key(i), value: "v".into(), ..Default::default() });
        TxnRequest { success: (0..n).map(op).collect(), ..Default::default() }
    };
    assert_eq!(kv.txn(puts(129)).await.unwrap_err(), Error::TooManyOps);
    assert_eq!(kv.txn_unbounded(puts(1000)).await.unwrap().revision, 2);
    let big = |n| PutRequest { key: "big".into(), value: vec![0; n].into(), ..Default::default() };
    assert_eq!(kv.put(big(REQUEST_MAX)).await.unwrap_err(), Error::RequestTooLarge);
    kv.put(big(REQUEST_MAX - 1000)).await.unwrap();
    assert_eq!(kv.put(put("", 0)).await, Err(Error::EmptyKey));
    // what only reads is in no log, so its size does not matter
    let key = bytes::Bytes::from(vec![b'k'; REQUEST_MAX]);
    let reads = |key: &bytes::Bytes| RequestOp::Range(RangeRequest { key: key.clone(), ..get("") });
    let mut txn = TxnRequest { success: vec![reads(&key)], ..Default::default() };
    assert_eq!(kv.txn(txn.clone()).await.map(|done| done.responses.len()), Ok(1));
    txn.success.push(RequestOp::Put(put("a", 0)));
    assert_eq!(kv.txn(txn).await.unwrap_err(), Error::RequestTooLarge);
}

/// As with etcd, where the log takes it: while an alarm says that members' data differ, it is
/// refused like a write.
#[tokio::test]
async fn a_transaction_inside_another_is_no_read_alone() {
    let kv = Kv::in_memory(Rng::seeded(1));
    let reads = TxnRequest { success: vec![RequestOp::Range(get("a"))], ..Default::default() };
    let within = TxnRequest { success: vec![RequestOp::Txn(reads.clone())], ..Default::default() };
    for txn in [&reads, &within] {
        assert_eq!(kv.txn(txn.clone()).await.map(|done| (done.revision, done.responses.len())), Ok((1, 1)));
    }
    kv.alarm(Alarm { kind: AlarmKind::Corrupt, member: 1 }, true).await.unwrap();
    assert_eq!(kv.txn(reads).await.map(|done| done.revision), Ok(1));
    assert_eq!(kv.txn(within).await.map(|done| done.revision), Err(Error::Corrupt));
}

/// Only one of two branches is run.
#[tokio::test]
async fn the_quota_counts_what_one_branch_puts() {
    let kv = Kv::in_memory(Rng::seeded(1)).with_quota(4000);
    let large = |n| {
        let put = PutRequest { key: "a".into(), value: vec![0; n].into(), ..Default::default() };
        vec![RequestOp::Put(put)]
    };
    let txn = |success, failure| TxnRequest { success, failure, ..Default::default() };
    assert_eq!(kv.txn(txn(large(2500), large(2500))).await.map(|done| done.revision), Ok(2));
    assert_eq!(kv.txn(txn(large(1), large(2500))).await.unwrap_err(), Error::NoSpace);
}

/// A copy of a large store is made under its lock, and every answer has a head.
#[test]
fn the_term_is_known_while_the_store_is_locked() {
    let kv = Kv::in_memory(Rng::seeded(1));
    let written = kv.shared.store().write();
    assert_eq!(kv.term(), 1);
    drop(written);
}

#[tokio::test]
async fn a_put_alone_is_refused_for_its_lease_and_a_transaction_for_its_key() {
    let kv = Kv::in_memory(Rng::seeded(1));
    let keep = |lease| PutRequest { value: "".into(), ignore_value: true, ..put("absent", lease) };
    let txn = |lease| {
        let success = vec![RequestOp::Put(keep(lease))];
        TxnRequest { success, ..Default::default() }
    };
    assert_eq!(kv.put(keep(8)).await, Err(Error::LeaseNotFound));
    assert_eq!(kv.txn(txn(8)).await.map(|done| done.revision), Err(Error::KeyNotFound));
    assert_eq!(kv.lease_grant(60, 8).await, Ok(8));
    assert_eq!(kv.put(keep(8)).await, Err(Error::KeyNotFound));
}

#[tokio::test]
async fn writes_answer_revisions_and_what_was_before() {
    let kv = Kv::in_memory(Rng::seeded(1));
    assert_eq!(kv.put(put("a", 0)).await, Ok((2, None)));
    let (revision, prev) = kv.put(put("a", 0)).await.unwrap();
    assert_eq!((revision, prev.map(|p| p.mod_revision)), (3, Some(2)));
    let all = |prev_kv| DeleteRangeRequest { key: "a".into(), range_end: "\0".into(), prev_kv };
    let (revision, prev, deleted) = kv.delete_range(all(true)).await.unwrap();
    assert_eq!((revision, prev.len(), deleted), (4, 1, 1));
    assert_eq!(kv.delete_range(all(true)).await, Ok((4, vec![], 0)));
    kv.compact(3).await.unwrap();
    assert_eq!(kv.compact(3).await, Err(Error::Compacted { compact_revision: 3 }));
    let old = RangeRequest { revision: 2, ..get("a") };
    assert_eq!(kv.range(old).await.unwrap_err(), Error::Compacted { compact_revision: 3 });
    assert_eq!(kv.range(RangeRequest { revision: 3, ..get("a") }).await.unwrap().count, 1);
}
