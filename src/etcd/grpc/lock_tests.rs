//! Queues for locks and elections, as several clients see them.

use super::Face;
use super::fuzz::{One, PATIENCE};
use crate::etcd::api::WatchRequest;
use crate::etcd::pb;
use futures::StreamExt;
use std::future::Future;
use std::sync::Arc;

async fn within<T>(what: &str, answer: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("{what}: no answer"))
}

async fn lease(face: &Arc<Face>) -> i64 {
    face.kv.lease_grant(600, 0).await.expect("a lease")
}

async fn lock(face: Arc<Face>, lease: i64) -> Result<bytes::Bytes, String> {
    let asked = pb::LockRequest { name: "x".into(), lease };
    face.lock(asked).await.map(|answer| answer.key).map_err(|status| status.message().to_string())
}

/// Waits until somebody puts a key under the name, from this revision on.
async fn queued(face: &Arc<Face>, since: i64) {
    let all = WatchRequest {
        key: "x/".into(),
        range_end: "x0".into(),
        start_revision: since,
        ..Default::default()
    };
    let mut watcher = face.kv.watch(all).await.expect("a watch");
    within("a place in the queue", watcher.next()).await.expect("an event").expect("no end");
}

async fn unlock(face: &Arc<Face>, key: bytes::Bytes) {
    face.clone().unlock(pb::UnlockRequest { key }).await.expect("unlocked");
}

#[test]
fn a_lock_whose_lease_ended_in_the_queue_is_not_had() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let (first, second, third) = (lease(&face).await, lease(&face).await, lease(&face).await);
        let held = lock(face.clone(), first).await.expect("nobody has it");
        let since = face.kv.revision() + 1;
        let waits = tokio::spawn(lock(face.clone(), second));
        queued(&face, since).await;
        face.kv.lease_revoke(second).await.expect("revoked");
        let since = face.kv.revision() + 1;
        let waits_too = tokio::spawn(lock(face.clone(), third));
        queued(&face, since).await;
        unlock(&face, held).await;
        let had = within("the third", waits_too).await.expect("no panic");
        let refused = within("the second", waits).await.expect("no panic");
        assert_eq!(refused, Err("mutex: session is expired".to_string()), "two hold the lock: {had:?}");
        assert!(had.is_ok(), "{had:?}");
    });
}

#[test]
fn who_lost_its_place_while_it_waited_does_not_lead() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let campaign = |lease| {
            let asked = pb::CampaignRequest { name: "x".into(), lease, value: "v".into() };
            let face = face.clone();
            async move { face.campaign(asked).await }
        };
        let (first, second) = (lease(&face).await, lease(&face).await);
        let leads = campaign(first).await.expect("nobody leads").leader;
        let since = face.kv.revision() + 1;
        let waits = tokio::spawn(campaign(second));
        queued(&face, since).await;
        face.kv.lease_revoke(second).await.expect("revoked");
        face.clone().resign(pb::ResignRequest { leader: leads }).await.expect("resigned");
        let refused = within("the second", waits).await.expect("no panic").expect_err("its place is gone");
        assert_eq!(refused.message(), "election: not leader");
    });
}

/// A snapshot of the leader ends every watch of the store. Who waits in a queue, or observes, must not notice.
#[test]
fn queues_survive_that_the_store_is_replaced() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let (first, second) = (lease(&face).await, lease(&face).await);
        let mut observed = face.clone().observe(pb::LeaderRequest { name: "x".into() });
        let held = lock(face.clone(), first).await.expect("nobody has it");
        let seen = within("the owner", observed.next()).await.expect("open").expect("no error");
        assert_eq!(seen.kv.map(|kv| kv.key), Some(held.clone()));
        let since = face.kv.revision() + 1;
        let waits = tokio::spawn(lock(face.clone(), second));
        queued(&face, since).await;
        let next = tokio::spawn(async move { observed.next().await });
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        face.kv.cut_watchers();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        unlock(&face, held).await;
        let had = within("the second", waits).await.expect("no panic").expect("it is first now");
        let seen = within("the next owner", next).await.expect("no panic").expect("open").expect("no error");
        assert_eq!(seen.kv.map(|kv| kv.key), Some(had));
    });
}

/// What one call gives up is its own place, not one that the same lease has taken since.
#[test]
fn a_place_that_is_given_up_late_takes_no_other_along() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let (first, second) = (lease(&face).await, lease(&face).await);
        let held = lock(face.clone(), first).await.expect("nobody has it");
        let since = face.kv.revision() + 1;
        let waits = tokio::spawn(lock(face.clone(), second));
        queued(&face, since).await;
        let key = [b"x/".as_slice(), format!("{second:x}").as_bytes()].concat();
        unlock(&face, key.clone().into()).await; // somebody removes it
        let since = face.kv.revision() + 1;
        let again = tokio::spawn(lock(face.clone(), second));
        queued(&face, since).await;
        waits.abort();
        let _ = waits.await;
        // the place is given up in a task of its own, before this write
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let put = crate::etcd::api::PutRequest { key: "after".into(), ..Default::default() };
        face.kv.put(put).await.expect("a write behind it");
        unlock(&face, held).await;
        let had = within("the second call", again).await.expect("no panic");
        assert_eq!(had, Ok(key.into()));
    });
}
