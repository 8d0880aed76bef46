//! The edge of the collector against a server that says what it is asked for.

mod absent;

use super::watches::{Metadata, name_of};
use super::*;
use crate::resources::Resource;
use client::simulated::{Door, Faults, Store, kind};
use client::testing::{Scripted, refusal};
use client::{Item, Key};
use kube::core::GroupVersionKind;
use rng::Rng;
use std::sync::OnceLock;
use task::Crew;
use tokio::sync::broadcast::error::RecvError;

fn collector(server: &Scripted) -> Collector {
    let shared = Shared::fixed(&server.client);
    let queue = WorkQueue::new(&shared.crew);
    let (graph, watched, defined) = (Mutex::default(), Mutex::default(), Notify::new());
    let (unserved, kinds) = (Mutex::default(), Mapper::default());
    let recorder = Recorder::new(&shared.crew, &server.client, SOURCE, "");
    Collector { shared, graph, watched, unserved, defined, queue, kinds, recorder }
}

#[tokio::test]
async fn an_owners_name_asks_for_an_object_and_for_nothing_else() {
    let server = Scripted::new(|_| refusal(404, "NotFound")).await;
    let collector = collector(&server);
    let dependent = Node {
        api: ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()),
        namespaced: true,
        key: Key::new("d", "x"),
        version: None,
        owners: vec![],
        going: false,
        finalizers: vec![],
    };
    for (name, path) in
        [("x?watch=true", "x%3Fwatch%3Dtrue"), ("../../../nodes/n", "..%2F..%2F..%2Fnodes%2Fn")]
    {
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            name: name.into(),
            uid: name.into(),
            ..OwnerReference::default()
        };
        assert_eq!(collector.standing(&dependent, &owner).await.unwrap(), (Standing::Gone, false));
        assert_eq!(server.lines(), [format!("GET /api/v1/namespaces/d/configmaps/{path}")]);
    }
}

/// The answer about a dependent that is on its way out arrives after the watch has shown its end: a
/// ghost in the graph would hold its owner for ever.
#[tokio::test]
async fn an_old_answer_does_not_bring_back_what_the_watch_has_shown_to_be_gone() {
    for gone in [false, true] {
        let slot: Arc<OnceLock<Arc<Collector>>> = Arc::default();
        let watch = slot.clone();
        let live = json!({"name": "x", "namespace": "d", "uid": "p", "resourceVersion": "6", "deletionTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{"apiVersion": "v1", "kind": "ReplicationController", "name": "o", "uid": "o", "blockOwnerDeletion": true}]});
        let server = Scripted::new(move |_| {
            if let Some(collector) = watch.get().filter(|_| gone) {
                collector.forget("p", None);
            }
            Some((200, json!({"apiVersion": "v1", "kind": "Pod", "metadata": live})))
        })
        .await;
        let collector = Arc::new(collector(&server));
        let _ = slot.set(collector.clone());
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "ReplicationController".into(),
            name: "o".into(),
            uid: "o".into(),
            block_owner_deletion: Some(true),
            controller: None,
        };
        let node = Node {
            api: ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()),
            namespaced: true,
            key: Key::new("d", "x"),
            version: Some("5".into()),
            owners: vec![owner],
            going: false,
            finalizers: vec![],
        };
        collector.graph().put("p", node.clone());
        assert_eq!(collector.confirm_deletion("p", &node, &None).await.unwrap(), None);
        let known = collector.graph().nodes.get("p").map(|n| n.going);
        assert_eq!(known, (!gone).then_some(true), "what the answer says counts unless the watch was faster");
    }
}

fn dependent() -> Node {
    Node {
        api: ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()),
        namespaced: true,
        key: Key::new("d", "x"),
        version: None,
        owners: vec![],
        going: false,
        finalizers: vec![],
    }
}

/// A policy of the cluster forbids every change of `x`.
#[tokio::test]
async fn a_dependent_that_may_not_be_changed_keeps_no_other_from_being_orphaned() {
    let server = Scripted::new(|asked| match asked.line.as_str() {
        "PATCH /api/v1/namespaces/d/pods/x" => refusal(403, "Forbidden"),
        _ => None,
    })
    .await;
    let collector = collector(&server);
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Pod".into(),
        name: "o".into(),
        uid: "o".into(),
        ..OwnerReference::default()
    };
    let finalizers = vec![ORPHAN.to_string()];
    collector.graph().put("o", Node { key: Key::new("d", "o"), going: true, finalizers, ..dependent() });
    for name in ["x", "y"] {
        let owners = vec![owner.clone()];
        collector.graph().put(name, Node { key: Key::new("d", name), owners, ..dependent() });
    }
    assert!(collector.sync("o".into(), None).await.is_err(), "its finalizer stays for now");
    let path = "PATCH /api/v1/namespaces/d/pods";
    assert_eq!(server.lines(), [format!("{path}/x"), format!("{path}/y")]);
}

fn widget(name: &str) -> OwnerReference {
    OwnerReference {
        api_version: "example.com/v1".into(),
        kind: "Widget".into(),
        name: name.into(),
        uid: name.into(),
        ..OwnerReference::default()
    }
}

/// Answers discovery with the plurals in `served` (of a kind Widget), lists no built-in kind, and
/// has the object `a`.
async fn with_widgets(served: Arc<Mutex<Option<&'static str>>>) -> Scripted {
    Scripted::new(move |asked| {
        let plural = *served.lock();
        let groups = |items: Value| Some((200, json!({"kind": "APIGroupDiscoveryList", "items": items})));
        let path = asked.line.strip_prefix("GET ").unwrap_or_default();
        match (path, plural) {
            ("/api", _) | ("/apis", None) => groups(json!([])),
            ("/apis", Some(plural)) => groups(json!([{"metadata": {"name": "example.com"}, "versions": [{"version": "v1",
                "resources": [{"resource": plural, "responseKind": {"kind": "Widget"}, "scope": "Namespaced", "verbs": ["get"]}]}]}])),
            (_, Some(plural)) if path.contains(&format!("/{plural}/")) => match path.ends_with("/a") {
                true => Some((200, json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a", "uid": "a"}}))),
                false => refusal(404, "NotFound"),
            },
            _ => refusal(404, "Failed to parse error data"),
        }
    })
    .await
}

#[tokio::test]
async fn discovery_is_read_once_for_all_owners_and_again_when_it_no_longer_holds() {
    let served = Arc::new(Mutex::new(Some("widgets")));
    let server = with_widgets(served.clone()).await;
    let collector = collector(&server);
    let lives = async |name: &str, since: Option<clock::Instant>| {
        let standing = collector.ask_standing(&dependent(), &widget(name), since).await;
        standing.map(|standing| standing == Standing::Solid)
    };
    let read = || server.lines().iter().filter(|line| *line == "GET /apis").count();
    for (name, is_there) in [("a", true), ("b", false), ("a", true), ("c", false)] {
        assert_eq!(lives(name, None).await.unwrap(), is_there, "{name}");
    }
    assert_eq!(read(), 1, "one reading serves all owners");
    // The kind is defined anew with another plural: what is remembered leads to a path that is not
    // served.
    *served.lock() = Some("gadgets");
    assert!(lives("a", None).await.unwrap());
    assert_eq!(read(), 1, "it is read again for the missing path");
    // It is not served at all: that is not the same as an owner that is gone, and is not asked
    // again at once.
    *served.lock() = None;
    for _ in 0..3 {
        let answer = lives("a", None).await;
        assert!(matches!(answer, Err(Error::Unserved(_))), "{answer:?}");
    }
    assert_eq!(read(), 1);
    // Before a deletion old knowledge does not count.
    *served.lock() = Some("widgets");
    assert!(lives("a", Some(clock::Instant::now())).await.unwrap());
    assert_eq!(read(), 1);
}

/// An owner that is deleted with its orphans, and then in the foreground, waits for a dependent
/// that it no longer has.
#[tokio::test]
async fn an_owner_that_waits_hears_that_a_dependent_has_left_it() {
    let live = json!({"name": "x", "namespace": "d", "uid": "p", "resourceVersion": "6"});
    let server =
        Scripted::new(move |_| Some((200, json!({"apiVersion": "v1", "kind": "Pod", "metadata": live}))))
            .await;
    let collector = collector(&server);
    let node = |name: &str, owners: Vec<OwnerReference>, finalizers: Vec<String>| Node {
        api: ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&()),
        namespaced: true,
        key: Key::new("d", name),
        version: Some("5".into()),
        owners,
        going: !finalizers.is_empty(),
        finalizers,
    };
    let owner =
        OwnerReference { uid: "o".into(), block_owner_deletion: Some(true), ..OwnerReference::default() };
    collector.graph().put("o", node("o", vec![], vec![FOREGROUND.into()]));
    let dependent = node("x", vec![owner], vec![]);
    let waiting = collector.graph().put("p", dependent.clone());
    assert_eq!(waiting, ["o"]);
    assert_eq!(collector.graph().put("p", node("x", vec![], vec![])), ["o"], "the watch tells of it");
    collector.graph().put("p", dependent.clone());
    assert_eq!(collector.confirm_deletion("p", &dependent, &None).await.unwrap(), None);
    assert_eq!(collector.queue.next().await.0, "o", "an answer tells of it");
}

/// A cluster-scoped object that names a namespaced owner, which lives, is gone, or was never heard
/// of.
#[tokio::test]
async fn a_cluster_scoped_object_with_a_namespaced_owner_stays() {
    let owner = OwnerReference { block_owner_deletion: Some(true), ..reference_to("v1", "ConfigMap", "o") };
    let role = role("r", vec![owner]);
    let live = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "o", "namespace": "d",
        "uid": "o", "resourceVersion": "7", "finalizers": [FOREGROUND]}});
    for heard in ["lives", "is deleted in the foreground", "is gone", "never"] {
        let answer = live.clone();
        let server = Scripted::new(move |asked| {
            let is_event = asked.line.contains("/events");
            (!is_event).then(|| (200, answer.clone()))
        })
        .await;
        let collector = collector(&server);
        let map = Node {
            key: Key::new("d", "o"),
            going: heard == "is deleted in the foreground",
            finalizers: vec![FOREGROUND.into()],
            ..dependent()
        };
        if heard != "never" {
            collector.graph().put("o", map);
        }
        collector.graph().put("r", role.clone());
        if heard == "is gone" {
            collector.forget("o", None);
        }
        assert_eq!(collector.sync("r".into(), None).await.unwrap(), Outcome::Done, "{heard}");
        assert_eq!(server.lines(), [""; 0], "{heard}: nothing is deleted or changed");
        let message = server.event("OwnerRefInvalidNamespace").await;
        let want = "ownerRef [v1/ConfigMap, namespace: , name: o, uid: o] does not exist in namespace \"\"";
        assert_eq!(message, want);
        if heard == "is deleted in the foreground" {
            collector.sync("o".into(), None).await.unwrap();
            let asked = server.take();
            assert_eq!(asked[0].body["metadata"]["finalizers"], json!([]), "it does not wait for the role");
        }
    }
}

/// An owner was made and deleted while its watch was broken, so the graph never has it. One look
/// asks for it while it stands; before its answer is there another one has found it gone.
#[tokio::test]
async fn an_owner_that_stood_when_it_was_asked_for_is_asked_for_again() {
    let known: Arc<std::sync::OnceLock<std::sync::Weak<Collector>>> = Arc::default();
    let other = known.clone();
    let server = Scripted::new(move |asked| {
        if !asked.line.contains("/configmaps/o") {
            return None;
        }
        let collector = other.get().and_then(std::sync::Weak::upgrade)?;
        collector.graph().absent.insert("o", None);
        let owner = json!({"name": "o", "namespace": "d", "uid": "o"});
        Some((200, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": owner})))
    })
    .await;
    let collector = Arc::new(collector(&server));
    known.set(Arc::downgrade(&collector)).unwrap();
    let owners = vec![reference_to("v1", "ConfigMap", "o")];
    collector.graph().put("d", Node { owners, ..dependent() });
    assert_eq!(collector.sync("d".into(), None).await.unwrap(), Outcome::Pause(UNWATCHED));
}

/// The uid is that of a pod that lives; the reference means a ConfigMap, which is not there.
#[tokio::test]
async fn a_uid_alone_does_not_make_an_owner() {
    let owners = vec![reference_to("v1", "ConfigMap", "o")];
    let live = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": "d",
        "uid": "d", "resourceVersion": "7", "ownerReferences": owners}});
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        line if line.contains("/configmaps/") => refusal(404, "NotFound"),
        line if line.contains("/pods/x") => Some((200, live.clone())),
        _ => None,
    })
    .await;
    let collector = collector(&server);
    collector.graph().put("o", Node { key: Key::new("d", "o"), ..dependent() });
    collector.graph().put("d", Node { owners, ..dependent() });
    collector.sync("d".into(), None).await.unwrap();
    assert!(server.lines().iter().any(|line| line.starts_with("DELETE") && line.contains("/pods/x")));
}

fn widgets(group: &str, version: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, "Widget"), "widgets")
}

/// Watches a kind until the collector has given up its watch and would look for the kind again.
async fn watch_to_its_end(collector: &Arc<Collector>, api: ApiResource) {
    collector.watched().insert(name_of(&api));
    drop(collector.watch(Resource { api, namespaced: true, verbs: vec![] }));
    let ended = collector.defined.notified();
    assert!(clock::timeout(Duration::from_secs(20), ended).await.is_some());
    assert!(collector.watched().is_empty());
}

/// At the start nothing at all is collected, later only the objects of new kinds are not.
#[test]
fn discovery_that_goes_on_failing_is_a_warning_that_says_what_is_not_done() {
    let warned: Vec<u32> = (1..=3 * WARN_EVERY).filter(|n| discovery_warning(*n, false).is_some()).collect();
    assert_eq!(warned, [WARN_EVERY, 2 * WARN_EVERY, 3 * WARN_EVERY]);
    let says = |works: bool, text: &str| discovery_warning(WARN_EVERY, works).unwrap().contains(text);
    assert!(says(false, "deletes nothing") && !says(true, "deletes nothing"));
    assert!(says(true, "new kinds"));
}

/// A definition moves from one version to the next. The watch of the first version ends some time
/// later.
#[test]
fn a_kind_is_watched_once_whatever_its_version() {
    let [first, second] = ["v1", "v2"].map(|version| name_of(&widgets("example.com", version)));
    assert_eq!(first, second);
    assert_ne!(first, name_of(&widgets("example.org", "v1")));
}

/// The version is served as long as the list takes, and no longer when the watch begins.
#[tokio::test]
async fn a_version_that_is_no_longer_served_is_not_watched_for_ever() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let server = Scripted::new(move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => Some((200, json!({"metadata": {"resourceVersion": "1"}, "items": []}))),
        _ => refusal(404, "NotFound"),
    })
    .await;
    let collector = Arc::new(collector(&server));
    watch_to_its_end(&collector, widgets("example.com", "v1")).await;
    collector.shared.crew.kill();
}

/// A look at the kinds that are not served comes just when a watch ends. It must not find the kind
/// in both maps: it would drop the kind from one, and the end of the watch from the other. So the
/// end of a watch holds the lock of `watched` while it waits for that of `unserved`.
#[tokio::test]
async fn a_kind_whose_watch_ends_is_either_watched_or_not_served() {
    let server = Scripted::new(|_| None).await;
    let collector = Arc::new(collector(&server));
    let api = widgets("example.com", "v1");
    collector.watched().insert(name_of(&api));
    let unserved = collector.unserved();
    let (other, ended) = (collector.clone(), api.clone());
    let end = std::thread::spawn(move || other.end_watch(&ended));
    let began = clock::Instant::now();
    while let Some(watched) = collector.watched.try_lock() {
        assert!(watched.contains(&name_of(&api)), "no longer watched, and not yet known as not served");
        drop(watched);
        assert!(began.elapsed() < Duration::from_secs(20), "the lock of `watched` is not taken first");
        std::thread::yield_now();
    }
    assert!(unserved.is_empty());
    drop(unserved);
    end.join().unwrap();
    assert!(collector.watched().is_empty());
    assert_eq!(collector.unserved().keys().collect::<Vec<_>>(), [&name_of(&api)]);
    collector.shared.crew.kill();
}

/// The only version of a definition has `served: false`: its objects are stored all the same.
#[tokio::test]
async fn an_owner_of_a_kind_that_is_not_served_lives_as_long_as_the_kind_is_defined() {
    let is_defined = Arc::new(Mutex::new(true));
    let defined = is_defined.clone();
    let server = Scripted::new(move |asked| {
        let definition = asked.line.ends_with("/customresourcedefinitions/widgets.example.com");
        match definition && *defined.lock() {
            true => Some((200, json!({"metadata": {"name": "widgets.example.com"}}))),
            false => refusal(404, "NotFound"),
        }
    })
    .await;
    let collector = Arc::new(collector(&server));
    let api = widgets("example.com", "v1");
    collector.graph().put("w", Node { api: api.clone(), key: Key::new("d", "w"), ..dependent() });
    watch_to_its_end(&collector, api).await;
    for lives in [true, false] {
        *is_defined.lock() = lives;
        collector.forget_undefined().await;
        let (knows, is_gone) = {
            let graph = collector.graph();
            (graph.nodes.contains_key("w"), graph.absent.contains("w"))
        };
        assert_eq!((knows, is_gone), (lives, !lives));
    }
    assert!(collector.unserved().is_empty());
    collector.shared.crew.kill();
}

/// An object whose metadata cannot be decoded exists all the same, and may own others.
#[tokio::test]
async fn a_list_takes_out_what_it_lacks_and_keeps_what_cannot_be_decoded() {
    let server = Scripted::new(|_| None).await;
    let collector = collector(&server);
    let resource = Resource { api: dependent().api, namespaced: true, verbs: vec![] };
    for uid in ["gone", "odd"] {
        collector.graph().put(uid, dependent());
    }
    let item = |metadata: Value| serde_json::from_value::<Metadata>(json!({"metadata": metadata})).unwrap();
    let odd = item(json!({"namespace": "d", "name": "odd", "uid": "odd", "labels": 5}));
    assert!(matches!(odd, Item::Undecodable(_)));
    let new = item(json!({"namespace": "d", "name": "new", "uid": "new"}));
    collector.replace(&resource, &[new, odd]);
    let mut uids: Vec<String> = collector.graph().nodes.keys().cloned().collect();
    uids.sort();
    assert_eq!(uids, ["new", "odd"]);
    collector.shared.crew.kill();
}

fn reference_to(api_version: &str, kind: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: api_version.into(),
        kind: kind.into(),
        name: uid.into(),
        uid: uid.into(),
        ..OwnerReference::default()
    }
}

fn role(name: &str, owners: Vec<OwnerReference>) -> Node {
    Node {
        api: ApiResource::erase::<k8s_openapi::api::rbac::v1::ClusterRole>(&()),
        namespaced: false,
        key: Key::new("", name),
        owners,
        ..dependent()
    }
}

/// The graph has every object of the cluster. The tap ends with the last handle to it, and the
/// collector has one.
#[tokio::test(start_paused = true)]
async fn a_collector_that_was_killed_leaves_nothing_in_memory() {
    let store = Store::new(Rng::seeded(1));
    let door = Door::new(&store, &Rng::seeded(2), Faults::default(), None);
    let crew = Crew::new("garbage");
    let shared = Shared { crew: crew.clone(), ..Shared::fixed(&door.client()) };
    let mut records = shared.config.tap.subscribe();
    start(&shared);
    drop(shared);
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "gone"});
    let orphan = json!({"metadata": {"name": "x", "ownerReferences": [owner]}});
    store.create(kind("configmaps"), "d", orphan).expect("a map");
    let collected = async {
        while !store.all("configmaps").is_empty() {
            store.news().notified().await;
        }
    };
    assert!(clock::limit(Duration::from_secs(60), collected).await.is_some(), "its workers have begun");
    crew.kill();
    let ended = async { while !matches!(records.recv().await, Err(RecvError::Closed)) {} };
    assert!(clock::limit(Duration::from_secs(60), ended).await.is_some());
}
