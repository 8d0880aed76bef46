//! Bounds through the whole server: the room of the store, the memory of lists, what health checks
//! cost.

mod defaults;
mod long_lists;
mod values;

use crate::auth::user::{MASTERS, User};
use crate::request::http::full;
use crate::testing::{self, Fixture};
use ::http::{HeaderMap, Request};
use bytes::Bytes;
use etcd::alarm::{Alarm, AlarmKind};
use etcd::api::{
    DeleteRangeRequest, Error, PutRequest, RangeRequest, RangeResponse, TxnRequest, TxnResponse, WatchRequest,
};
use etcd::{Changes, Kv, Room, Status, Storage};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use rng::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const QUOTA: u64 = 8 << 20;
const LARGE: usize = 500_000;

fn admin() -> User {
    User::new("admin", &[MASTERS])
}

async fn ask(of: &Fixture, request: Request<String>) -> (u16, HeaderMap, Bytes) {
    let answer = of.server.call(request.map(full), admin()).await;
    let (head, body) = answer.into_parts();
    (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes())
}

async fn send(of: &Fixture, method: &str, path: &str, body: Value) -> (u16, Value) {
    let media = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder().method(method).uri(path).header("content-type", media).body(body);
    let (code, _, bytes) = ask(of, request.unwrap()).await;
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

fn map(name: &str, bytes: usize) -> Value {
    json!({"metadata": {"name": name}, "data": {"k": "v".repeat(bytes)}})
}

fn small_store() -> Kv {
    Kv::in_memory(Rng::seeded(1).fork("etcd")).with_quota(QUOTA)
}

/// One object is updated until its versions would have filled the store ten times.
#[tokio::test]
async fn kept_versions_do_not_fill_the_store() {
    let (dir, kv) = (tempfile::tempdir().unwrap(), small_store());
    let of = testing::start_on(dir.path(), Arc::new(kv.clone())).await;
    assert_eq!(send(&of, "POST", MAPS, map("first", 10)).await.0, 201);
    assert_eq!(send(&of, "POST", MAPS, map("large", LARGE)).await.0, 201);
    let updates = 10 * QUOTA as usize / LARGE;
    for n in 0..updates {
        let change = json!({"metadata": {"labels": {"n": n.to_string()}}});
        let (code, answer) = send(&of, "PATCH", &format!("{MAPS}/large"), change).await;
        assert_eq!(code, 200, "update {n}: {}", answer["message"]);
        assert!(kv.room().size <= QUOTA, "after {n} updates: {:?}", kv.room());
    }
    assert!(kv.compacted() > 0 && !kv.room().alarmed);
    for _ in 0..100 {
        tokio::task::yield_now().await; // a compaction may be due
    }
    // What was given up can no longer be undone, and the list of steps tells which steps that are.
    let (_, got) = send(&of, "GET", "/ropewalk/v1/steps", Value::Null).await;
    let names = |field: &str| -> Vec<String> {
        let all = got[field].as_array().unwrap().iter();
        all.map(|step| step["object"].as_str().unwrap().to_string()).collect()
    };
    assert!(names("lost").contains(&"configmaps/first".to_string()), "{got}");
    assert_eq!(names("lost").len() + names("steps").len(), updates + 2);
    let count = names("steps").len();
    let (code, refused) = send(&of, "POST", "/ropewalk/v1/undo", json!({"count": count + 1})).await;
    let why = refused["message"].as_str().unwrap();
    assert!(code == 409 && why.contains("can no longer be undone"), "{code} {why}");
    if count > 0 {
        assert_eq!(send(&of, "POST", "/ropewalk/v1/undo", json!({"count": count})).await.0, 200);
    }
}

/// Many objects fill the store: creations are refused with what to do, everything that repairs goes
/// on, and the alarm ends by itself.
#[tokio::test]
async fn a_store_full_of_objects_can_be_repaired() {
    let (dir, kv) = (tempfile::tempdir().unwrap(), small_store());
    let of = testing::start_on(dir.path(), Arc::new(kv.clone())).await;
    let mut made = 0;
    let refused = loop {
        let (code, answer) = send(&of, "POST", MAPS, map(&format!("m{made}"), LARGE)).await;
        if code != 201 {
            break (code, answer);
        }
        made += 1;
        assert!(made < 100, "nothing bounds the store");
    };
    let (code, status) = refused;
    assert_eq!((code, status["reason"].as_str()), (507, Some("InsufficientStorage")));
    let why = status["message"].as_str().unwrap();
    assert!(why.contains("it holds 7 MiB and may hold 7 MiB; delete objects"), "{why}");
    assert!(made >= 12 && !kv.room().alarmed, "{made} {:?}", kv.room());
    // Leases are renewed, objects shrink, what ends is marked; other writes have to wait.
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let lease = json!({"metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}});
    assert_eq!(send(&of, "POST", leases, lease).await.0, 201);
    let renewed = json!({"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}});
    assert_eq!(send(&of, "PATCH", &format!("{leases}/n1"), renewed).await.0, 200);
    let (code, answer) = send(&of, "PATCH", &format!("{MAPS}/m0"), json!({"data": {"k": "v"}})).await;
    assert_eq!(code, 200, "a smaller object: {answer}");
    let (code, _) =
        send(&of, "PATCH", &format!("{MAPS}/m0"), json!({"data": {"k": "v".repeat(LARGE)}})).await;
    assert_eq!(code, 200, "there is room again");
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    let (code, _) = send(&of, "PATCH", &format!("{MAPS}/m1"), held).await;
    assert_eq!(code, 507, "it grows");
    for n in 0..2 {
        let (code, answer) = send(&of, "DELETE", &format!("{MAPS}/m{n}"), Value::Null).await;
        assert_eq!(code, 200, "{answer}");
    }
    let (code, answer) = send(&of, "POST", MAPS, map("after", LARGE)).await;
    assert_eq!(code, 201, "{answer}");
}

/// A client of the store itself fills it over its quota. The store takes deletions only, and the
/// API server ends the alarm when they have made room.
#[tokio::test(start_paused = true)]
async fn the_alarm_of_a_full_store_ends_by_itself() {
    let (dir, kv) = (tempfile::tempdir().unwrap(), small_store());
    let of = testing::start_on(dir.path(), Arc::new(kv.clone())).await;
    assert_eq!(send(&of, "POST", MAPS, map("a", 10)).await.0, 201);
    let put = |key: String, bytes: usize| PutRequest {
        key: key.into(),
        value: vec![b'x'; bytes].into(),
        ..PutRequest::default()
    };
    let mut keys = 0;
    while kv.put(put(format!("/other/{keys}"), LARGE)).await.is_ok() {
        keys += 1;
    }
    while kv.room().size + 1000 < QUOTA {
        // The rest, to the last kilobyte; the alarm is ended for it by hand.
        kv.end_no_space().await.unwrap();
        let rest = (QUOTA - kv.room().size) as usize - 500;
        kv.put(put("/other/rest".into(), rest)).await.unwrap();
    }
    let alarm = Alarm { kind: AlarmKind::NoSpace, member: 7 };
    kv.alarm(alarm, true).await.unwrap();
    let (code, status) = send(&of, "POST", MAPS, map("b", 10)).await;
    assert_eq!((code, status["reason"].as_str()), (507, Some("InsufficientStorage")), "{status}");
    // The step that a deletion notes is a put, which the store refuses now; the deletion does not
    // depend on it.
    let (code, answer) = send(&of, "DELETE", &format!("{MAPS}/a"), Value::Null).await;
    assert_eq!(code, 200, "{answer}");
    assert!(kv.room().alarmed);
    let all = DeleteRangeRequest { key: "/other/".into(), range_end: "/other0".into(), ..Default::default() };
    kv.delete_range(all).await.unwrap();
    let ended = async {
        while kv.room().alarmed {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("nobody ends the alarm");
    assert_eq!(send(&of, "POST", MAPS, map("b", 10)).await.0, 201);
}

/// A store that counts what it is asked.
struct Counting {
    kv: Kv,
    barriers: AtomicUsize,
    /// The limit of each range request for a revision of the past.
    pages: Mutex<Vec<i64>>,
    /// How many of them ask for a count and a barrier.
    counts: AtomicUsize,
}

impl Counting {
    fn new() -> Arc<Counting> {
        let kv = Kv::in_memory(Rng::seeded(1).fork("etcd"));
        Arc::new(Counting {
            kv,
            barriers: AtomicUsize::new(0),
            pages: Mutex::default(),
            counts: AtomicUsize::new(0),
        })
    }
}

#[async_trait::async_trait]
impl Storage for Counting {
    async fn range(&self, r: RangeRequest) -> Result<RangeResponse, Error> {
        if r.revision > 0 && r.key.starts_with(b"/registry/configmaps/") {
            self.pages.lock().push(r.limit);
            self.counts.fetch_add(usize::from(!r.continued), Ordering::Relaxed);
        }
        self.kv.range(r).await
    }
    async fn txn(&self, r: TxnRequest) -> Result<TxnResponse, Error> {
        self.kv.txn(r).await
    }
    async fn txn_unbounded(&self, r: TxnRequest) -> Result<TxnResponse, Error> {
        self.kv.txn_unbounded(r).await
    }
    async fn watch(&self, r: WatchRequest) -> Result<Changes, Error> {
        Storage::watch(&self.kv, r).await
    }
    async fn compact(&self, revision: i64) -> Result<(), Error> {
        self.kv.compact(revision).await
    }
    async fn lease_grant(&self, ttl_seconds: i64, id: i64) -> Result<i64, Error> {
        self.kv.lease_grant(ttl_seconds, id).await
    }
    async fn read_barrier(&self) -> Result<(), Error> {
        self.barriers.fetch_add(1, Ordering::Relaxed);
        self.kv.read_barrier().await
    }
    fn revision(&self) -> i64 {
        self.kv.revision()
    }
    fn compacted(&self) -> i64 {
        self.kv.compacted()
    }
    fn status(&self) -> Option<Status> {
        Some(self.kv.status())
    }
    fn room(&self) -> Option<Room> {
        Some(self.kv.room())
    }
    fn reclaimable(&self) -> BTreeMap<i64, u64> {
        self.kv.reclaimable()
    }
}

#[tokio::test(start_paused = true)]
async fn health_checks_ask_the_store_once_a_second() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Counting::new());
    let of = testing::start_on(dir.path(), store.clone()).await;
    let asked = |path: &'static str| {
        let (of, store) = (&of, &store);
        async move {
            let before = store.barriers.load(Ordering::Relaxed);
            for _ in 0..50 {
                let request = Request::builder().uri(path).body(full("")).unwrap();
                let answer = of.server.call(request, User::anonymous()).await;
                assert_eq!(answer.status(), 200, "{path}");
            }
            store.barriers.load(Ordering::Relaxed) - before
        }
    };
    assert_eq!(asked("/readyz").await, 1);
    assert_eq!((asked("/readyz").await, asked("/livez").await, asked("/healthz").await), (0, 0, 0));
    tokio::time::advance(Duration::from_millis(1001)).await;
    assert_eq!(asked("/readyz?verbose").await, 1);
}

#[tokio::test]
async fn lists_of_the_past_are_read_in_pages_that_double() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Counting::new());
    let of = testing::start_on(dir.path(), store.clone()).await;
    let count = 1700;
    for n in 0..count {
        let labels = json!({"odd": (n % 2 == 1).to_string()});
        let key = format!("/registry/configmaps/default/m{n:04}");
        let value = json!({"kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"name": format!("m{n:04}"), "namespace": "default", "labels": labels}});
        let put = PutRequest { key: key.into(), value: value.to_string().into(), ..Default::default() };
        store.kv.put(put).await.unwrap();
    }
    let revision = store.kv.revision();
    let list = |query: String| {
        let (of, path) = (&of, format!("{MAPS}?{query}"));
        async move { send(of, "GET", &path, Value::Null).await }
    };
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|item| item["metadata"]["name"].as_str().unwrap().to_string()).collect()
    };
    let exact = format!("resourceVersion={revision}&resourceVersionMatch=Exact");
    let (code, all) = list(exact.clone()).await;
    assert_eq!((code, names(&all).len()), (200, count));
    let (_, now) = list(String::new()).await;
    assert_eq!(names(&all), names(&now));
    assert_eq!(std::mem::take(&mut *store.pages.lock()), [500, 1000, 2000]);
    // A selector that matches half of them: the pages grow until so many are found.
    let (code, some) = list(format!("{exact}&limit=10&labelSelector=odd%3Dtrue")).await;
    assert_eq!((code, names(&some).len()), (200, 10));
    assert_eq!(names(&some)[9], "m0019");
    assert_eq!(std::mem::take(&mut *store.pages.lock()), [10, 20]);
    let token = some["metadata"]["continue"].as_str().unwrap();
    let (_, rest) = list(format!("limit=2000&labelSelector=odd%3Dtrue&continue={token}")).await;
    assert_eq!((names(&rest).len(), names(&rest)[0].as_str()), (count / 2 - 10, "m0021"));
}

/// The size of the page before decides, not that of the largest object so far; and the keys that
/// are left are counted once.
#[tokio::test]
async fn a_large_object_in_front_does_not_make_all_pages_short() {
    let (dir, store) = (tempfile::tempdir().unwrap(), Counting::new());
    let of = testing::start_on(dir.path(), store.clone()).await;
    for n in 0..40 {
        let name = format!("m{n:04}");
        let data = json!({"text": "x".repeat(if n == 0 { 1_200_000 } else { 10 })});
        let value = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": data,
            "metadata": {"name": name, "namespace": "default", "labels": {"last": (n == 39).to_string()}}});
        let key = format!("/registry/configmaps/default/{name}");
        let put = PutRequest { key: key.into(), value: value.to_string().into(), ..Default::default() };
        store.kv.put(put).await.unwrap();
    }
    let revision = store.kv.revision();
    assert_eq!(send(&of, "GET", MAPS, Value::Null).await.0, 200); // the cache has them all now
    let exact = format!("resourceVersion={revision}&resourceVersionMatch=Exact&limit=1");
    let found = send(&of, "GET", &format!("{MAPS}?{exact}&labelSelector=last%3Dtrue"), Value::Null).await.1;
    assert_eq!(found["items"][0]["metadata"]["name"], "m0039");
    assert_eq!(std::mem::take(&mut *store.pages.lock()), [1, 2, 4, 8, 16, 32]);
    assert_eq!(store.counts.swap(0, Ordering::Relaxed), 1);
    let first = send(&of, "GET", &format!("{MAPS}?{exact}"), Value::Null).await.1;
    assert_eq!(first["metadata"]["remainingItemCount"], 39);
}

/// A continue token is written by the server and kept by the client, who may write another one.
#[tokio::test]
async fn no_token_or_revision_of_a_clients_own_making_is_taken() {
    use base64::Engine as _;
    let dir = tempfile::tempdir().unwrap();
    let of = testing::start(dir.path()).await;
    assert_eq!(send(&of, "POST", MAPS, map("m", 10)).await.0, 201);
    let token = |revision: i64, start: &str| {
        let token = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start}).to_string();
        format!("limit=1&continue={}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token))
    };
    for (query, code) in [
        (token(2, "default/a"), 200),
        (token(2, "aaa/a"), 400),
        (token(2, "default"), 400),
        (token(0, "default/a"), 400),
        (token(-1, "default/a"), 400),
        ("resourceVersion=-5".to_string(), 400),
        ("resourceVersion=-5&resourceVersionMatch=Exact".to_string(), 400),
        ("resourceVersion=9223372036854775808".to_string(), 400),
        ("watch=1&resourceVersion=-5".to_string(), 500),
    ] {
        let (found, answer) = send(&of, "GET", &format!("{MAPS}?{query}"), Value::Null).await;
        assert_eq!(found, code, "{query}: {answer}");
    }
    // Upstream gives the error a code in lists alone.
    let why = r#"resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax"#;
    for (path, code, why) in [
        ("/m?resourceVersion=x", 500, why.to_string()),
        ("?watch=1&resourceVersion=x", 500, why.to_string()),
        ("?resourceVersion=x", 400, format!("invalid resource version: {why}")),
    ] {
        let (found, answer) = send(&of, "GET", &format!("{MAPS}{path}"), Value::Null).await;
        assert_eq!((found, &answer["message"]), (code, &json!(why)), "{path}");
    }
}

#[tokio::test]
async fn a_long_answer_is_not_indented() {
    let dir = tempfile::tempdir().unwrap();
    let of = testing::start(dir.path()).await;
    let get = |path: String| {
        let of = &of;
        async move { ask(of, Request::builder().uri(path).body(String::new()).unwrap()).await }
    };
    for (n, bytes, indented) in [(0, 100, true), (1, 600_000, false)] {
        assert_eq!(send(&of, "POST", MAPS, map(&format!("m{n}"), bytes)).await.0, 201);
        for path in [format!("{MAPS}/m{n}?pretty=1"), format!("{MAPS}?pretty=1")] {
            let (code, head, body) = get(path.clone()).await;
            assert_eq!(code, 200);
            assert_eq!(body.starts_with(b"{\n"), indented, "{path}");
            let warning = head.get("warning").map(|w| w.to_str().unwrap().to_string()).unwrap_or_default();
            assert_eq!(warning.contains("jq . indents it"), !indented, "{path}: {warning}");
            assert!(serde_json::from_slice::<Value>(&body).is_ok());
        }
    }
}
