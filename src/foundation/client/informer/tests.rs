//! Caches: lists that fail, objects that cannot be decoded, handlers that panic or end.

use super::*;
use crate::raw::Raw;
use crate::testing::Scripted;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use std::time::Duration;

fn map(name: &str, uid: &str, rv: &str) -> ConfigMap {
    let mut map = ConfigMap::default();
    map.metadata.namespace = Some("d".into());
    map.metadata.name = Some(name.into());
    map.metadata.uid = Some(uid.into());
    map.metadata.resource_version = Some(rv.into());
    map
}

/// Returns the same as the server sends it.
fn raw(name: &str) -> Raw {
    Raw::from(map(name, "1", "1").encode().unwrap())
}

#[tokio::test]
async fn waiters_for_the_first_list_wake_in_the_order_in_which_they_came() {
    let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
    let woken = Arc::new(Mutex::new(Vec::new()));
    let waiters = (0..16).map(|number| {
        let (informer, woken) = (informer.clone(), woken.clone());
        tokio::spawn(async move {
            informer.synced().await;
            woken.lock().push(number);
        })
    });
    let waiters: Vec<_> = waiters.collect();
    tokio::task::yield_now().await; // all wait by now: this test has one thread
    assert!(woken.lock().is_empty());
    informer.show_list([]);
    futures::future::join_all(waiters).await;
    assert_eq!(*woken.lock(), Vec::from_iter(0..16));
    informer.synced().await; // a later one does not wait
}

/// A list that is refused is followed at once by the beginning of the next one, which says
/// nothing yet.
#[tokio::test(start_paused = true)]
async fn lists_that_fail_are_asked_for_less_and_less_often() {
    let refused = || -> kube::Error {
        let status = json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": "no"});
        kube::Error::Api(serde_json::from_value(status).unwrap())
    };
    let unanswered = || kube::Error::Service("nobody listens".into());
    let asked = |error: fn() -> kube::Error| async move {
        let times = Arc::new(Mutex::new(0));
        let counted = times.clone();
        let failures = futures::stream::iter(std::iter::repeat_with(move || {
            *counted.lock() += 1;
            [Err(watcher::Error::InitialListFailed(error())), Ok(watcher::Event::Init)]
        }))
        .flat_map(futures::stream::iter);
        let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
        let followed = informer.follow(Reflector::over("t", failures));
        assert!(clock::timeout(Duration::from_secs(60), followed).await.is_none());
        *times.lock()
    };
    let of_refused = asked(refused).await;
    assert!((10..30).contains(&of_refused), "{of_refused}");
    let of_unanswered = asked(unanswered).await;
    assert!((100..150).contains(&of_unanswered), "{of_unanswered}");
}

/// The first page of a list is no reason to ask for the second one without a pause.
#[tokio::test(start_paused = true)]
async fn lists_whose_second_page_fails_are_asked_for_less_and_less_often() {
    let log = crate::testing::Log::default();
    let _listening = log.listen();
    let times = Arc::new(Mutex::new(0));
    let counted = times.clone();
    let failures = futures::stream::iter(std::iter::repeat_with(move || {
        *counted.lock() += 1;
        let page = watcher::Event::InitApply(raw("a"));
        let error = kube::Error::Service("nobody listens any more".into());
        [Ok(watcher::Event::Init), Ok(page), Err(watcher::Error::InitialListFailed(error))]
    }))
    .flat_map(futures::stream::iter);
    let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
    let followed = informer.follow(Reflector::over("t", failures));
    assert!(clock::timeout(Duration::from_secs(100), followed).await.is_none());
    let asked = *times.lock();
    assert!((150..250).contains(&asked), "{asked}");
    // The first after ten seconds, the second a minute later.
    let warnings = log.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("nobody listens any more"), "{warnings:?}");
}

/// As where the account may list and not watch: the list says nothing about the watch behind it.
#[tokio::test(start_paused = true)]
async fn lists_behind_which_the_watch_is_refused_are_asked_for_less_and_less_often() {
    let log = crate::testing::Log::default();
    let _listening = log.listen();
    let times = Arc::new(Mutex::new(0));
    let counted = times.clone();
    let failures = futures::stream::iter(std::iter::repeat_with(move || {
        *counted.lock() += 1;
        let status = json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": "no watch"});
        let refused = kube::Error::Api(serde_json::from_value(status).unwrap());
        let refused = Err(watcher::Error::WatchStartFailed(refused));
        [Ok(watcher::Event::Init), Ok(watcher::Event::InitDone), refused]
    }))
    .flat_map(futures::stream::iter);
    let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
    let followed = informer.follow(Reflector::over("t", failures));
    assert!(clock::timeout(Duration::from_secs(60), followed).await.is_none());
    let asked = *times.lock();
    assert!((10..30).contains(&asked), "{asked}");
    let warnings = log.warnings();
    assert!(warnings.first().is_some_and(|first| first.contains("no watch")), "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_when_to_come_again_is_not_asked_before() {
    let busy = |seconds: u32| {
        let status = json!({"status": "Failure", "code": 429, "reason": "TooManyRequests", "message": "busy",
            "details": {"retryAfterSeconds": seconds}});
        Err(watcher::Error::InitialListFailed(kube::Error::Api(serde_json::from_value(status).unwrap())))
    };
    for (asked_for, waited) in [(7, 7), (4_000_000_000, 60)] {
        let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
        let began = clock::Instant::now();
        informer.follow(Reflector::over("t", futures::stream::iter([busy(asked_for)]))).await;
        assert_eq!(began.elapsed().as_secs(), waited);
    }
}

/// What a list showed before it failed is taken over, and the pause begins anew after something
/// has come.
#[tokio::test(start_paused = true)]
async fn a_watch_that_brings_something_begins_with_the_shortest_pause() {
    let failed = || Err(watcher::Error::WatchError(Box::default()));
    let events = (0..20).flat_map(move |n| [Ok(watcher::Event::Apply(raw(&format!("m{n}")))), failed()]);
    let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
    let began = clock::Instant::now();
    informer.follow(Reflector::over("t", futures::stream::iter(events))).await;
    assert_eq!(informer.list().len(), 20);
    assert_eq!(began.elapsed().as_millis(), 20 * 50);
}

#[tokio::test(start_paused = true)]
async fn lists_are_counted_when_they_are_asked_for_and_reported_when_they_are_complete() {
    let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
    let listed = Arc::new(Mutex::new(Vec::new()));
    let (log, known) = (listed.clone(), informer.clone());
    informer.on_list(move |list| log.lock().push((list, known.list().len())));
    let asked = informer.clone();
    let item = || watcher::Event::InitApply(raw("a"));
    let failed = || Err(watcher::Error::WatchError(Box::default()));
    // The second list fails. When the third one is asked for, it has begun, and is not
    // complete.
    let rest = futures::stream::once(async move {
        assert_eq!(asked.lists(), Lists { begun: 3, complete: 1 });
        Ok(watcher::Event::InitDone)
    });
    let first = [Ok(watcher::Event::Init), Ok(item()), Ok(watcher::Event::InitDone), failed()];
    let second = [Ok(watcher::Event::Init), failed(), Ok(watcher::Event::Init)];
    let events = futures::stream::iter(first.into_iter().chain(second)).chain(rest);
    informer.follow(Reflector::over("t", events)).await;
    assert_eq!(*listed.lock(), [(1, 1), (3, 0)]);
    assert_eq!(informer.lists(), Lists { begun: 3, complete: 3 });
}

#[tokio::test]
async fn a_handler_that_comes_after_the_end_is_let_go() {
    let informer = Informer::<ConfigMap>::new(Box::new(|_| {}));
    drop(Watched(informer.clone()));
    let held = Arc::new(());
    let kept = Arc::downgrade(&held);
    informer.on(move |_| drop(held.clone()));
    assert!(kept.upgrade().is_none());
}

#[tokio::test]
async fn handlers_and_what_they_hold_go_with_the_crew() {
    let server = Scripted::new(|_| None).await;
    let crew = Crew::new("t");
    let informer = Informer::<ConfigMap>::all(&crew, &server.client);
    let (held, own) = (Arc::new(()), informer.clone());
    let kept = Arc::downgrade(&held);
    informer.on(move |_| {
        let _ = (&held, own.list());
    });
    assert!(kept.upgrade().is_some());
    crew.kill();
    let gone = async {
        while kept.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    };
    assert!(clock::timeout(Duration::from_secs(10), gone).await.is_some());
}

#[test]
fn a_relist_tells_what_was_missed() {
    let informer = Informer::fixed([]);
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = log.clone();
    informer.on(move |change: &Change<ConfigMap>| {
        let word = match change {
            Change::Added(_) => "+",
            Change::Updated { .. } => "~",
            Change::Deleted(_) => "-",
        };
        seen.lock().push(format!("{word}{}", change.key().name));
    });
    let list = |maps: Vec<ConfigMap>| {
        informer.absorb(vec![Delta::Replaced(maps.into_iter().map(Item::Decoded).collect())]);
    };
    list(vec![map("a", "1", "1"), map("b", "2", "2"), map("c", "3", "3")]);
    // a unchanged, b replaced by another object of the same name, c gone, d new
    list(vec![map("a", "1", "1"), map("b", "9", "9"), map("d", "4", "8")]);
    informer.show(map("a", "1", "10"));
    assert_eq!(*log.lock(), ["+a", "+b", "+c", "-c", "-b", "+b", "+d", "~a"]);
    assert_eq!(informer.within("d").len(), 3);
}

/// Returns an informer of ConfigMaps, and the names with versions that it reported.
fn reporting() -> (Informer<ConfigMap>, Arc<Mutex<Vec<String>>>) {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let seen = reports.clone();
    let report: Report = Box::new(move |found| {
        let version = found.meta.resource_version.as_deref().unwrap_or("-");
        seen.lock().push(format!("{}@{version}", found.key()));
    });
    (Informer::new(report), reports)
}

fn item(name: &str, uid: &str, rv: &str, data: Value) -> Item<ConfigMap> {
    let meta = json!({"name": name, "namespace": "d", "uid": uid, "resourceVersion": rv});
    serde_json::from_value(json!({"metadata": meta, "data": data})).unwrap()
}

fn names(informer: &Informer<ConfigMap>) -> Vec<String> {
    let version = |m: &ConfigMap| m.metadata.resource_version.clone().unwrap_or_default();
    informer.list().iter().map(|m| format!("{}@{}", Key::of(&**m).name, version(m))).collect()
}

#[test]
fn an_object_that_cannot_be_decoded_is_skipped_and_the_rest_of_its_list_is_not() {
    let (informer, reports) = reporting();
    let (good, odd) = (json!({"k": "v"}), json!(5));
    let list = |items: Vec<Item<ConfigMap>>| informer.absorb(vec![Delta::Replaced(items)]);
    let both = || vec![item("bad", "1", "3", odd.clone()), item("good", "2", "4", good.clone())];
    list(both());
    assert_eq!(names(&informer), ["good@4"]);
    assert!(
        informer.0.synced.load(Ordering::Acquire),
        "one odd object does not keep the cache from being complete"
    );
    list(both());
    assert_eq!(*reports.lock(), ["d/bad@3"], "once for each version");
    // It can be decoded again, then no more: the last good version stays, in a relist too.
    let one = |delta| informer.absorb(vec![delta]);
    one(Delta::Updated(item("bad", "1", "5", good.clone())));
    one(Delta::Updated(item("bad", "1", "6", odd.clone())));
    assert_eq!(names(&informer), ["bad@5", "good@4"]);
    list(vec![item("bad", "1", "6", odd.clone()), item("good", "2", "4", good.clone())]);
    assert_eq!(names(&informer), ["bad@5", "good@4"]);
    // Another object took the name: the one that was known is gone.
    one(Delta::Updated(item("bad", "9", "7", odd.clone())));
    assert_eq!(names(&informer), ["good@4"]);
    one(Delta::Deleted(item("good", "2", "8", odd.clone())));
    assert_eq!(names(&informer), Vec::<String>::new(), "a deletion needs no decoded object");
    assert_eq!(*reports.lock(), ["d/bad@3", "d/bad@6", "d/bad@7"]);
}

#[test]
fn metadata_of_any_shape_is_read_as_an_item() {
    for value in [
        json!(null),
        json!([]),
        json!({"metadata": 5}),
        json!({"metadata": {"name": 5, "managedFields": [{"time": ""}]}}),
    ] {
        let (informer, reports) = reporting();
        let item: Item<ConfigMap> = serde_json::from_value(value).unwrap();
        informer.absorb(vec![Delta::Updated(item)]);
        assert_eq!(*reports.lock(), ["@-"]);
    }
}

#[test]
fn a_handler_that_panics_misses_one_change_and_the_others_see_all() {
    let informer = Informer::fixed([]);
    informer.on(|change: &Change<ConfigMap>| assert_ne!(change.key().name, "b", "boom"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    informer.on(move |change: &Change<ConfigMap>| log.lock().push(change.key().name));
    ["a", "b", "c"].into_iter().for_each(|name| informer.show(map(name, name, "1")));
    assert_eq!(*seen.lock(), ["a", "b", "c"]);
}

#[test]
fn a_handler_of_lists_that_panics_misses_one_list_and_the_others_see_all() {
    let informer = Informer::<ConfigMap>::fixed([]);
    informer.on_list(|list| assert_ne!(list, 2, "boom"));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    informer.on_list(move |list| log.lock().push(list));
    (0..3).for_each(|_| informer.show_list([]));
    assert_eq!(*seen.lock(), [1, 2, 3]);
}

#[test]
fn handlers_of_two_kinds_may_read_each_others_caches() {
    let (a, b) = (Informer::fixed([]), Informer::fixed([]));
    let meeting = Arc::new(std::sync::Barrier::new(2));
    for (own, other) in [(&a, &b), (&b, &a)] {
        let (other, meeting) = (other.clone(), meeting.clone());
        own.on(move |_: &Change<ConfigMap>| {
            meeting.wait(); // both are inside their handlers
            other.list();
        });
    }
    let (done, ended) = std::sync::mpsc::channel();
    for informer in [a, b] {
        let done = done.clone();
        std::thread::spawn(move || {
            informer.show(map("a", "1", "1"));
            done.send(()).unwrap();
        });
    }
    for _ in 0..2 {
        ended.recv_timeout(Duration::from_secs(20)).expect("the two handlers wait for each other");
    }
}
