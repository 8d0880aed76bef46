use super::*;
use crate::storage::keys::ROOT;
use ::etcd::api::{self as etcd, EventType};
use api::meta;
use bytes::Bytes;
use serde_json::{Value, json};

fn stored(name: &str) -> String {
    format!(r#"{{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"d"}}}}"#)
}

fn put(cache: &Cache, name: &str, revision: Revision) {
    let kv = KeyValue {
        key: format!("{ROOT}configmaps/d/{name}").into(),
        mod_revision: revision,
        value: stored(name).into(),
        ..KeyValue::default()
    };
    let event = etcd::Event { kind: EventType::Put, kv, prev_kv: None };
    cache.feed_response(etcd::WatchResponse { revision, events: vec![event] });
}

#[test]
fn what_was_before_the_fill_or_fell_out_of_the_ring_is_gone() {
    let cache = Cache::new();
    cache.reset(vec![], 10);
    assert_eq!(cache.watch("configmaps", Filter::default(), Some(9)).err().map(|e| e.oldest), Some(10));
    for revision in 11..=10 + RING as Revision + 5 {
        put(&cache, "a", revision);
    }
    assert_eq!(cache.watch("configmaps", Filter::default(), Some(14)).err().map(|e| e.oldest), Some(15));
    let watch = cache.watch("configmaps", Filter::default(), Some(15)).ok().unwrap();
    let backlog = watch.backlog.left();
    assert_eq!((backlog.len(), backlog[0].revision), (RING, 16));
}

#[test]
fn a_kind_that_is_served_no_more_keeps_no_events() {
    let cache = Cache::new();
    cache.reset(vec![], 10);
    let send = |revision: Revision, key: &str, value: Option<Value>| {
        let kv = KeyValue {
            key: format!("{ROOT}{key}").into(),
            mod_revision: revision,
            value: value.as_ref().map_or(Bytes::new(), |value| value.to_string().into()),
            ..KeyValue::default()
        };
        let kind = if value.is_some() { EventType::Put } else { EventType::Delete };
        let event = etcd::Event { kind, kv, prev_kv: None };
        cache.feed_response(etcd::WatchResponse { revision, events: vec![event] });
    };
    let name = "tabs.example.com";
    let definition = || {
        let schema =
            json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let names = json!({"plural": "tabs", "singular": "tab", "kind": "Tab", "listKind": "TabList"});
        json!({"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": name},
            "spec": {"group": "example.com", "scope": "Cluster", "names": names,
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}]},
            "status": {"acceptedNames": names, "storedVersions": ["v1"],
                "conditions": [{"type": "Established", "status": "True"}, {"type": "NamesAccepted", "status": "True"}]}})
    };
    let defined = format!("{}/{name}", DEFINITIONS);
    send(11, &defined, Some(definition()));
    let tab =
        |n: i64| json!({"kind": "Tab", "apiVersion": "example.com/v1", "metadata": {"name": "a"}, "n": n});
    send(12, "example.com/tabs/a", Some(tab(1)));
    send(13, "example.com/tabs/a", None);
    let cached = cache.resource("example.com/tabs").unwrap();
    assert_eq!(lock(&cached).ring.len(), 2);
    assert!(cache.watch("example.com/tabs", Filter::default(), Some(11)).is_ok());
    send(14, &defined, None);
    assert_eq!((lock(&cached).ring.len(), lock(&cached).ring_bytes, lock(&cached).watchers.len()), (0, 0, 0));
    send(15, &defined, Some(definition()));
    assert!(cache.watch("example.com/tabs", Filter::default(), Some(11)).is_err(), "what it missed is gone");
    assert!(cache.watch("example.com/tabs", Filter::default(), Some(15)).is_ok());
}

#[test]
fn large_events_fall_out_of_the_ring_earlier() {
    let cache = Cache::new();
    cache.reset(vec![], 10);
    let name = "a".repeat(RING_BYTES / 64);
    for revision in 11..=200 {
        put(&cache, &name, revision);
    }
    let cached = cache.resource("configmaps").unwrap();
    let (events, bytes) = (lock(&cached).ring.len(), lock(&cached).ring_bytes);
    assert!((RING_LEAST..64).contains(&events) && bytes <= RING_BYTES, "{events} events, {bytes} bytes");
    assert!(cache.watch("configmaps", Filter::default(), Some(100)).is_err());
    assert!(cache.watch("configmaps", Filter::default(), Some(190)).is_ok());
}

#[test]
fn events_that_are_kept_however_large_they_are_have_a_bound() {
    let cache = Cache::new();
    cache.reset(vec![], 10);
    let name = "a".repeat(RING_BYTES - 1000);
    (11..=30).for_each(|revision| put(&cache, &name, revision));
    let cached = cache.resource("configmaps").unwrap();
    let kept = || (lock(&cached).ring.len(), lock(&cached).ring_bytes);
    assert!(kept().0 == 4 && kept().1 <= RING_BYTES_MOST, "{:?}", kept());
    assert!(cache.watch("configmaps", Filter::default(), Some(26)).is_ok());
    put(&cache, &"a".repeat(RING_BYTES_MOST), 31);
    assert_eq!(kept().0, 1, "the newest");
    assert!(cache.watch("configmaps", Filter::default(), Some(30)).is_ok());
    put(&cache, "a", 32);
    assert_eq!(kept().0, 1);
    assert!(cache.watch("configmaps", Filter::default(), Some(30)).is_err());
}

/// Large objects that become small leave small events; each keeps the large object as it was.
#[test]
fn what_an_object_was_before_counts_while_its_event_is_kept() {
    let cache = Cache::new();
    cache.reset(vec![], 10);
    let send = |revision: Revision, name: &str, text: &str| {
        let meta = json!({"name": name, "namespace": "d"});
        let map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": meta, "data": {"k": text}});
        let kv = KeyValue {
            key: format!("{ROOT}configmaps/d/{name}").into(),
            mod_revision: revision,
            value: map.to_string().into(),
            ..KeyValue::default()
        };
        let event = etcd::Event { kind: EventType::Put, kv, prev_kv: None };
        cache.feed_response(etcd::WatchResponse { revision, events: vec![event] });
    };
    let large = "x".repeat(RING_BYTES / 64);
    for n in 0..200 {
        send(11 + n, &format!("m{n}"), &large);
    }
    for n in 0..200 {
        send(211 + n, &format!("m{n}"), "");
    }
    let cached = cache.resource("configmaps").unwrap();
    let held: usize = lock(&cached).ring.iter().map(|kept| kept.to_parse()).sum();
    let (events, bytes) = (lock(&cached).ring.len(), lock(&cached).ring_bytes);
    assert!(bytes <= RING_BYTES && held <= 2 * RING_BYTES, "{events} events, {bytes} bytes hold {held}");
    assert!((RING_LEAST..64).contains(&events), "{events} events");
}

#[test]
fn the_memory_of_the_objects_follows_what_is_put_deleted_and_read_anew() {
    let cache = Cache::new();
    let one = api::bounds::values_cost(stored("a").as_bytes());
    cache.reset(vec![], 10);
    put(&cache, "a", 11);
    put(&cache, "b", 12);
    assert_eq!(cache.values.taken(), 2 * one);
    put(&cache, "a", 13); // replaced
    let kv =
        KeyValue { key: format!("{ROOT}configmaps/d/b").into(), mod_revision: 14, ..KeyValue::default() };
    let event = etcd::Event { kind: EventType::Delete, kv: kv.clone(), prev_kv: None };
    cache.feed_response(etcd::WatchResponse { revision: 14, events: vec![event] });
    assert_eq!(cache.values.taken(), one);
    cache.reset(vec![KeyValue { value: stored("b").into(), ..kv }], 20);
    assert_eq!((cache.values.taken(), cache.list("configmaps", "").objects.len()), (one, 1));
    cache.reset(vec![], 30);
    assert_eq!(cache.values.taken(), 0);
}

/// A watch that does not read what there was when it began: what the cache replaces, deletes,
/// forgets or reads anew meanwhile counts.
#[test]
fn what_a_watch_that_begins_keeps_from_being_freed_counts() {
    let cache = Cache::new();
    cache.reset(vec![], 10);
    ["a", "b"].iter().zip(11..).for_each(|(name, revision)| put(&cache, name, revision));
    // Without their lines, in which the same events would wait.
    let begin = |after| {
        let watch = cache.watch("configmaps", Filter::default(), after).ok().unwrap();
        (watch.initial, watch.backlog)
    };
    let held = (begin(None), begin(Some(11)));
    let grown = |before: usize, why: &str| {
        let now = cache.watch_buffers.bytes();
        assert!(now > before, "{why}: {now} bytes, {before} before");
        now
    };
    let entries = grown(0, "the list of what there is");
    put(&cache, "b", 13);
    let replaced = grown(entries, "a replaced object");
    let large = "c".repeat(RING_BYTES / 4);
    (14..).take(RING_LEAST + 1).for_each(|revision| put(&cache, &large, revision));
    let forgotten = grown(replaced, "a forgotten event");
    cache.reset(vec![], 100);
    grown(forgotten, "what is read anew");
    drop(held);
    assert_eq!(cache.watch_buffers.bytes(), 0);
}

#[test]
fn watchers_of_a_resource_that_never_changes_are_forgotten_when_they_leave() {
    let cache = Cache::new();
    cache.reset(vec![], 10);
    let stay: Vec<Subscription> =
        (0..20).map(|_| cache.watch("configmaps", Filter::default(), None).ok().unwrap()).collect();
    for _ in 0..10_000 {
        drop(cache.watch("configmaps", Filter::default(), None));
    }
    let cached = cache.resource("configmaps").unwrap();
    let known = lock(&cached).watchers.len();
    assert!((20..100).contains(&known), "{known} watchers are remembered, of whom 20 are there");
    drop(stay);
}

/// A client that sees a definition and then asks for its kind finds it, however the two threads
/// run.
#[test]
fn a_definition_is_heard_of_when_its_kind_is_served() {
    let cache = Arc::new(Cache::new());
    cache.reset(vec![], 10);
    let (listener, last) = (cache.clone(), 150);
    let reader = std::thread::spawn(move || {
        let mut known = 0;
        while known < last {
            let heard = listener.list(DEFINITIONS, "").objects.len();
            let kinds = listener.kinds();
            let missing =
                (known..heard).find(|n| kinds.resource("example.com", "v1", &format!("k{n}s")).is_none());
            assert_eq!(missing, None, "its definition was heard of");
            known = heard;
        }
    });
    for n in 0..last {
        let plural = format!("k{n}s");
        let names = serde_json::json!({"plural": plural, "singular": format!("k{n}"), "kind": format!("K{n}"), "listKind": format!("K{n}List")});
        let definition = serde_json::json!({
            "kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1",
            "metadata": {"name": format!("{plural}.example.com"), "uid": plural},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": names,
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
            "status": {"acceptedNames": names, "conditions": [{"type": "Established", "status": "True"}]},
        });
        let kv = KeyValue {
            key: format!("{ROOT}{}/{plural}.example.com", DEFINITIONS).into(),
            mod_revision: 11 + n as Revision,
            value: definition.to_string().into(),
            ..KeyValue::default()
        };
        let event = etcd::Event { kind: EventType::Put, kv, prev_kv: None };
        cache.feed_response(etcd::WatchResponse { revision: 11 + n as Revision, events: vec![event] });
    }
    reader.join().unwrap();
}

#[test]
fn an_object_knows_where_its_type_ends() {
    let of = |text: &str| Object::read(text.as_bytes(), 7).unwrap();
    let pod = of(r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}"#);
    assert_eq!(pod.untyped(), Some(&br#""metadata":{"name":"a","resourceVersion":"7"}}"#[..]));
    for other in [r#"{"apiVersion":"v1","kind":"Pod","metadata":{}}"#, r#"{"metadata":{}}"#] {
        assert_eq!(of(other).untyped(), None, "{other}");
    }
}

#[test]
fn what_one_revision_did_is_heard_of_together() {
    let cache = Cache::new();
    cache.reset(vec![], 10);
    put(&cache, "stand-in", 11);
    let mut watch = cache.watch("configmaps", Filter::default(), None).ok().unwrap();
    let event = |kind, name: &str| {
        let kv = KeyValue {
            key: format!("{ROOT}configmaps/d/{name}").into(),
            mod_revision: 12,
            value: stored(name).into(),
            ..KeyValue::default()
        };
        etcd::Event { kind, kv, prev_kv: None }
    };
    let events = vec![event(EventType::Put, "back"), event(EventType::Delete, "stand-in")];
    cache.feed_response(etcd::WatchResponse { revision: 12, events });
    let batch = watch.live.try_recv().unwrap();
    let changes: Vec<_> = batch.iter().map(|(change, e)| (*change, meta::name(&e.object.value))).collect();
    assert_eq!(changes, [(Change::Added, "back"), (Change::Deleted, "stand-in")]);
    assert!(watch.live.try_recv().is_none());
}

#[test]
fn a_slow_watcher_is_cut_off_and_the_others_go_on() {
    let cache = Cache::new();
    cache.reset(vec![], 10);
    let watch = || cache.watch("configmaps", Filter::default(), None).ok().unwrap();
    let (mut slow, mut quick) = (watch(), watch());
    let last = 10 + watch_queue::REVISIONS_MAX as Revision + 1;
    let mut revisions = vec![];
    for revision in 11..=last {
        put(&cache, "a", revision);
        revisions.extend(quick.live.try_recv().map(|batch| batch[0].1.revision));
    }
    // What it missed it asks for again, from the last event that it saw.
    assert!(slow.live.try_recv().is_none() && slow.live.is_closed());
    assert_eq!(revisions, (11..=last).collect::<Vec<_>>());
    assert!(!quick.live.is_closed());
    let again = cache.watch("configmaps", Filter::default(), Some(10)).ok().unwrap();
    assert_eq!(again.backlog.left().len(), revisions.len());
    assert_eq!(cache.list("configmaps", "d/").revision, last);
}

#[test]
fn a_value_that_cannot_be_decoded_is_left_out_until_it_can() {
    let cache = Cache::new();
    let kv = |name: &str, revision, value: &str| KeyValue {
        key: format!("{ROOT}configmaps/d/{name}").into(),
        mod_revision: revision,
        value: value.to_string().into(),
        ..KeyValue::default()
    };
    let odd = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"d"},"data":5}"#;
    cache.reset(vec![kv("a", 3, odd), kv("b", 4, &stored("b"))], 10);
    let names = || cache.list("configmaps", "d/").objects.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    assert_eq!(names(), ["d/b"]);
    let found = cache.undecodable("configmaps", "d/a").unwrap();
    assert_eq!(found.revision, 3);
    assert!(
        found.reason.starts_with("json: cannot unmarshal number into Go struct field"),
        "{}",
        found.reason
    );
    let mut watch = cache.watch("configmaps", Filter::default(), None).ok().unwrap();
    let feed = |kv: KeyValue, kind| {
        let revision = kv.mod_revision;
        let event = etcd::Event { kind, kv, prev_kv: None };
        cache.feed_response(etcd::WatchResponse { revision, events: vec![event] });
    };
    feed(kv("a", 11, &stored("a")), EventType::Put);
    assert_eq!((names(), cache.undecodable("configmaps", "d/a")), (vec!["d/a".into(), "d/b".into()], None));
    feed(kv("b", 12, "{"), EventType::Put);
    assert_eq!(names(), ["d/a"]);
    assert_eq!(cache.undecodable_keys("configmaps", "d/"), ["d/b"]);
    feed(kv("b", 13, ""), EventType::Delete);
    assert_eq!(cache.undecodable("configmaps", "d/b"), None);
    let mut events = Vec::new();
    while let Some(batch) = watch.live.try_recv() {
        events.extend(batch.iter().map(|(c, e)| (*c, meta::name(&e.object.value).to_string(), e.revision)));
    }
    let expected = [(Change::Added, "a".to_string(), 11), (Change::Deleted, "b".to_string(), 12)];
    assert_eq!(events, expected, "the end of what was never served is no event");
}
