//! Queues for locks and elections, as several clients see them.

use crate::api::{EventType, PutRequest, RangeRequest, WatchRequest};
use crate::grpc::face::Face;
use crate::grpc::fuzz::{One, PATIENCE};
use crate::grpc::queue::Place;
use crate::pb;
use futures::StreamExt;
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;

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

/// Waits until a client puts a key under the name, from this revision on.
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
        let held = lock(face.clone(), first).await.expect("no client has it");
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
        let leads = campaign(first).await.expect("no client leads").leader;
        let since = face.kv.revision() + 1;
        let waits = tokio::spawn(campaign(second));
        queued(&face, since).await;
        face.kv.lease_revoke(second).await.expect("revoked");
        face.clone().resign(pb::ResignRequest { leader: leads }).await.expect("resigned");
        let refused = within("the second", waits).await.expect("no panic").expect_err("its place is gone");
        assert_eq!(refused.message(), "election: not leader");
    });
}

/// A snapshot of the leader ends every watch of the store. Who waits in a queue, or observes, must
/// not notice.
#[test]
fn queues_survive_that_the_store_is_replaced() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let (first, second) = (lease(&face).await, lease(&face).await);
        let mut observed = face.clone().observe(pb::LeaderRequest { name: "x".into() });
        let held = lock(face.clone(), first).await.expect("no client has it");
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
        let held = lock(face.clone(), first).await.expect("no client has it");
        let since = face.kv.revision() + 1;
        let waits = tokio::spawn(lock(face.clone(), second));
        queued(&face, since).await;
        let key = [b"x/".as_slice(), format!("{second:x}").as_bytes()].concat();
        unlock(&face, key.clone().into()).await; // another client removes it
        let since = face.kv.revision() + 1;
        let again = tokio::spawn(lock(face.clone(), second));
        queued(&face, since).await;
        waits.abort();
        let _ = waits.await;
        // the place is given up in a task of its own, before this write
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let put = crate::api::PutRequest { key: "after".into(), ..Default::default() };
        face.kv.put(put).await.expect("a write behind it");
        unlock(&face, held).await;
        let had = within("the second call", again).await.expect("no panic");
        assert_eq!(had, Ok(key.into()));
    });
}

/// Returns the keys under the name, when everything that was given up before this call is gone: the
/// tasks that give places up have their turns, and write before this does.
async fn places(face: &Arc<Face>) -> Vec<bytes::Bytes> {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    face.kv.put(PutRequest { key: "behind".into(), ..Default::default() }).await.expect("a write behind");
    let all = RangeRequest { key: "x/".into(), range_end: "x0".into(), ..Default::default() };
    face.kv.range(all).await.expect("a range").kvs.into_iter().map(|kv| kv.key).collect()
}

#[test]
fn a_second_call_of_the_owner_that_hangs_up_releases_nothing() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let (first, second) = (lease(&face).await, lease(&face).await);
        let held = lock(face.clone(), first).await.expect("no client has it");
        let since = face.kv.revision() + 1;
        let waits = tokio::spawn(lock(face.clone(), second));
        queued(&face, since).await;
        drop(Place::take(&face, b"x", Default::default(), first).await.expect("found"));
        assert!(places(&face).await.contains(&held), "another client has the lock now, too");
        // One that still waits leaves the queue, and with it the call that waits at the same place.
        drop(Place::take(&face, b"x", Default::default(), second).await.expect("found"));
        assert_eq!(places(&face).await, std::slice::from_ref(&held));
        unlock(&face, held).await;
        let refused = within("the second", waits).await.expect("no panic");
        assert_eq!(refused, Err("mutex: session is expired".to_string()));
    });
}

#[test]
fn a_caller_that_hangs_up_while_its_key_is_being_put_leaves_no_key() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let lease = lease(&face).await;
        let all = WatchRequest { key: "x/".into(), range_end: "x0".into(), ..Default::default() };
        let mut watcher = face.kv.watch(all).await.expect("a watch");
        let mut asks = Box::pin(lock(face.clone(), lease));
        assert!(futures::poll!(&mut asks).is_pending());
        drop(asks);
        for kind in [EventType::Put, EventType::Delete] {
            let answer = within("the place", watcher.next()).await.expect("an event").expect("no end");
            assert_eq!(answer.events[0].kind, kind);
        }
    });
}

/// As with etcd: after an error of the store a campaign stays in the queue, a lock does not.
#[test]
fn a_campaign_that_the_store_ends_keeps_its_place() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let leases = [lease(&face).await, lease(&face).await, lease(&face).await];
        let held = lock(face.clone(), leases[0]).await.expect("no client has it");
        let since = face.kv.revision() + 1;
        let locks = tokio::spawn(lock(face.clone(), leases[1]));
        queued(&face, since).await;
        let since = face.kv.revision() + 1;
        let campaign = pb::CampaignRequest { name: "x".into(), lease: leases[2], value: "v".into() };
        let campaigns = tokio::spawn(face.clone().campaign(campaign));
        queued(&face, since).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        face.kv.close_watchers();
        assert!(within("the lock", locks).await.expect("no panic").is_err());
        assert!(within("the campaign", campaigns).await.expect("no panic").is_err());
        let kept = bytes::Bytes::from(format!("x/{:x}", leases[2]));
        let left = places(&face).await;
        assert!(left.len() == 2 && left.contains(&held) && left.contains(&kept), "{left:?}");
    });
}

/// A client that reads slowly gets every value, as from the watch of etcd's client library.
#[test]
fn an_observer_gets_every_value_that_a_leader_proclaims() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let campaign = async |lease, value: &'static str| {
            let asked = pb::CampaignRequest { name: "x".into(), lease, value: value.into() };
            face.clone().campaign(asked).await.expect("it leads").leader
        };
        let proclaim = async |leader: &Option<pb::LeaderKey>, value: &'static str| {
            let asked = pb::ProclaimRequest { leader: leader.clone(), value: value.into() };
            face.clone().proclaim(asked).await.expect("it leads");
        };
        let mut observed = face.clone().observe(pb::LeaderRequest { name: "x".into() });
        let next = async |observed: &mut crate::grpc::call::Answers<pb::LeaderResponse>| {
            let answer = within("a value", observed.next()).await.expect("open").expect("no error");
            answer.kv.map(|kv| String::from_utf8_lossy(&kv.value).into_owned()).unwrap_or_default()
        };
        let first = {
            let mut waits = std::pin::pin!(next(&mut observed));
            assert!(futures::poll!(&mut waits).is_pending(), "no client leads");
            let first = campaign(lease(&face).await, "1").await;
            assert_eq!(waits.await, "1");
            first
        };
        for value in ["2", "3", "4"] {
            proclaim(&first, value).await;
        }
        face.kv.cut_watchers(); // a snapshot replaces the store
        proclaim(&first, "5").await;
        for value in ["2", "3", "4", "5"] {
            assert_eq!(next(&mut observed).await, value);
        }
        // The next leader waited before the last value was proclaimed: its key is older.
        let since = face.kv.revision() + 1;
        let asked = pb::CampaignRequest { name: "x".into(), lease: lease(&face).await, value: "b".into() };
        let second = tokio::spawn(face.clone().campaign(asked));
        queued(&face, since).await;
        proclaim(&first, "6").await;
        face.clone().resign(pb::ResignRequest { leader: first }).await.expect("resigned");
        assert_eq!((next(&mut observed).await, next(&mut observed).await), ("6".into(), "b".into()));
        within("the second", second).await.expect("no panic").expect("it leads");
    });
}

/// etcd answers these calls through its own client library, whose errors have no code.
#[test]
fn errors_of_locks_and_elections_have_no_code() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let lock = pb::LockRequest { name: "x".into(), lease: 4711 };
        let unlock = pb::UnlockRequest { key: "".into() };
        let campaign = pb::CampaignRequest { name: "x".into(), lease: 4711, value: "v".into() };
        for (refused, words) in [
            (face.clone().lock(lock).await.err(), "etcdserver: requested lease not found"),
            (face.clone().unlock(unlock).await.err(), "etcdserver: key is not provided"),
            (face.clone().campaign(campaign).await.err(), "etcdserver: requested lease not found"),
            (face.clone().resign(Default::default()).await.err(), "\"leader\" field must be provided"),
        ] {
            let refused = refused.expect("an error");
            assert_eq!((refused.code(), refused.message()), (tonic::Code::Unknown, words));
        }
    });
}

/// Another client writes between the transaction and the answer.
#[test]
fn a_header_has_the_revision_at_which_the_place_was_taken() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let write = async || {
            let put = PutRequest { key: "other".into(), ..Default::default() };
            face.kv.put(put).await.expect("a write");
        };
        let owned = lease(&face).await;
        let place = Place::take(&face, b"x", Default::default(), owned).await.expect("taken");
        write().await;
        let seen = place.first().await.expect("no error");
        assert_eq!(seen, Some(place.revision), "a watch from there on sees the other write");
        let held = place.kept().key.clone();
        let (since, lease) = (face.kv.revision() + 1, lease(&face).await);
        let asked = pb::CampaignRequest { name: "x".into(), lease, value: "v".into() };
        let waits = tokio::spawn(face.clone().campaign(asked));
        queued(&face, since).await;
        write().await;
        unlock(&face, held).await;
        let leads = within("the campaign", waits).await.expect("no panic").expect("it leads");
        let revision = leads.header.expect("a header").revision;
        assert_eq!(revision, leads.leader.expect("a key").rev);
    });
}

/// As with etcd, whose client library makes a session for the call.
#[test]
fn a_proclaimed_value_has_a_lease_also_if_the_caller_names_none() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let asked = pb::CampaignRequest { name: "x".into(), lease: lease(&face).await, value: "1".into() };
        let leader = face.clone().campaign(asked).await.expect("it leads").leader.expect("a key");
        let leader = Some(pb::LeaderKey { lease: 0, ..leader });
        let asked = pb::ProclaimRequest { leader, value: "2".into() };
        face.clone().proclaim(asked).await.expect("it leads");
        let leads = face.clone().leader(pb::LeaderRequest { name: "x".into() }).await.expect("a leader");
        let kv = leads.kv.expect("a key");
        assert_eq!(kv.value, "2");
        assert!(face.kv.leases().contains(&kv.lease), "nothing ends the key of a leader that is gone");
    });
}

/// Another client writes between the transaction and the answer.
#[test]
fn a_header_has_the_revision_at_which_the_leader_resigned() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let asked = pb::CampaignRequest { name: "x".into(), lease: lease(&face).await, value: "1".into() };
        let leader = face.clone().campaign(asked).await.expect("it leads").leader.expect("a key");
        let taken = leader.rev;
        let mut resigns = std::pin::pin!(face.clone().resign(pb::ResignRequest { leader: Some(leader) }));
        let early = futures::poll!(&mut resigns);
        let put = PutRequest { key: "other".into(), ..Default::default() };
        face.kv.put(put).await.expect("a write behind it");
        let resigned = match early {
            Poll::Ready(answer) => answer,
            Poll::Pending => resigns.await,
        };
        let revision = resigned.expect("resigned").header.expect("a header").revision;
        assert_eq!(revision, taken + 1, "a watch from there on sees the other write");
    });
}

/// What happened while the observer was away comes at once.
#[test]
fn the_first_answer_of_an_observer_has_the_revision_of_the_leaders_key() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let lease = lease(&face).await;
        let mut observed = face.clone().observe(pb::LeaderRequest { name: "x".into() });
        {
            let mut waits = std::pin::pin!(observed.next());
            assert!(futures::poll!(&mut waits).is_pending(), "no client leads");
        }
        face.kv.cut_watchers(); // a snapshot replaces the store
        let asked = pb::CampaignRequest { name: "x".into(), lease, value: "1".into() };
        let leader = face.clone().campaign(asked).await.expect("it leads").leader.expect("a key");
        let taken = leader.rev;
        let asked = pb::ProclaimRequest { leader: Some(leader), value: "2".into() };
        face.clone().proclaim(asked).await.expect("it leads");
        for revision in [taken, taken + 1] {
            let answer = within("a value", observed.next()).await.expect("open").expect("no error");
            let (header, kv) = (answer.header.expect("a header"), answer.kv.expect("a key"));
            assert_eq!((header.revision, kv.mod_revision), (revision, revision));
        }
    });
}

/// A client of etcd's library, which writes the key itself, waits in the same queue.
#[test]
fn a_place_has_the_name_that_etcds_clients_give_it() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        for (id, key) in [(11, "x/b"), (-11, "x/-b"), (i64::MIN, "x/-8000000000000000")] {
            let lease = face.kv.lease_grant(600, id).await.expect("a lease");
            let held = lock(face.clone(), lease).await.expect("no client has it");
            assert_eq!(held, key);
            unlock(&face, held).await;
        }
    });
}
