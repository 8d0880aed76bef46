//! Clients that read slowly or not at all, through the whole server.

use crate::auth::user::{MASTERS, User};
use crate::request::http::{Body, full};
use crate::storage::keys::ROOT;
use crate::testing;
use crate::tests::blocking_store::BlockingStore;
use ::http::Request;
use etcd::api::RangeRequest;
use etcd::{Kv, Storage};
use http_body_util::BodyExt;
use rng::Rng;
use serde_json::{Value, json};
use std::time::Duration;
use tap::Event;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Writes of half a megabyte each: together more than may wait for one watcher.
const WRITES: usize = 24;

fn request(method: &str, path: &str, body: String) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path).header("content-type", "application/json");
    builder.body(full(body)).unwrap()
}

/// The events of a watch up to that of `last`, or to its end: the value of `data.n` of each.
async fn lines_until(body: &mut Body, last: &str) -> Vec<String> {
    let (mut text, mut seen) = (Vec::new(), vec![]);
    while seen.last().is_none_or(|n| n != last) {
        let next = tokio::time::timeout(Duration::from_secs(60), body.frame()).await;
        let Some(frame) = next.expect("an event or the end") else { break };
        text.extend(frame.unwrap().into_data().unwrap());
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let event: Value = serde_json::from_slice(&text.drain(..=end).collect::<Vec<u8>>()).unwrap();
            seen.extend(event["object"]["data"]["n"].as_str().map(String::from));
        }
    }
    seen
}

/// A server that has begun to serve knows of nothing until it has read its store. A reflector that
/// lists with version 0 would take that for the end of all objects.
#[tokio::test]
async fn a_server_that_has_not_read_its_store_does_not_say_that_there_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Kv::in_memory(Rng::seeded(1).fork("etcd"));
    let first = testing::start_on(dir.path(), std::sync::Arc::new(kv.clone())).await;
    let admin = User::new("admin", &[MASTERS]);
    let map = json!({"metadata": {"name": "m"}}).to_string();
    assert_eq!(first.server.call(request("POST", MAPS, map), admin.clone()).await.status(), 201);
    let store = BlockingStore::new(kv);
    store.reads.send_replace(false);
    let begun = testing::begin_at(dir.path(), store.clone(), "127.0.0.1:0".parse().unwrap()).await;
    let path = format!("{MAPS}?resourceVersion=0");
    let list = begun.server.call(request("GET", &path, String::new()), admin);
    tokio::pin!(list);
    assert!(futures::poll!(list.as_mut()).is_pending());
    store.reads.send_replace(true);
    let list = list.await.into_body().collect().await.unwrap().to_bytes();
    let list: Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(list["items"][0]["metadata"]["name"], "m", "{list}");
}

/// A client opens a watch and never reads: writers and other watchers go on, its own watch ends,
/// and it finds everything by listing again.
#[tokio::test]
async fn a_watch_that_nobody_reads_holds_up_nobody_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = testing::start(dir.path()).await;
    let server = &fixture.server;
    let admin = User::new("admin", &[MASTERS]);
    let call = |method: &'static str, path: &str, body: String| {
        let request = request(method, path, body);
        let admin = admin.clone();
        async move { server.call(request, admin).await }
    };
    let list = async || {
        let list = call("GET", MAPS, String::new()).await.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&list).unwrap()
    };
    let version = list().await["metadata"]["resourceVersion"].as_str().unwrap().to_string();
    let watch = format!("{MAPS}?watch=true&resourceVersion={version}");
    let mut unread = call("GET", &watch, String::new()).await.into_body();
    let mut read = call("GET", &watch, String::new()).await.into_body();
    let map = |n: usize| {
        let data = json!({"n": n.to_string(), "filling": "x".repeat(500_000)});
        json!({"metadata": {"name": "a"}, "data": data}).to_string()
    };
    assert_eq!(call("POST", MAPS, map(0)).await.status(), 201);
    let mut seen = lines_until(&mut read, "0").await;
    for n in 1..WRITES {
        assert_eq!(call("PUT", &format!("{MAPS}/a"), map(n)).await.status(), 200);
        seen.extend(lines_until(&mut read, &n.to_string()).await);
    }
    let all: Vec<String> = (0..WRITES).map(|n| n.to_string()).collect();
    assert_eq!(seen, all, "the client that reads misses nothing");
    // The watch that was not read has ended: its client gets the first events without a gap, and
    // not the last one.
    let late = lines_until(&mut unread, &all[WRITES - 1]).await;
    assert!(late.len() < WRITES && all.starts_with(&late), "{late:?}");
    let items = list().await["items"].take();
    let newest = items.as_array().unwrap().iter().find(|item| item["metadata"]["name"] == "a").unwrap();
    assert_eq!(newest["data"]["n"], all[WRITES - 1]);
}

/// Too much waits for all watchers together: the one that has not been sent anything for the
/// longest time is ended, with what its answer holds.
#[tokio::test]
async fn the_slowest_watch_is_ended_with_its_answer() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = testing::start(dir.path()).await;
    let server = &fixture.server;
    let admin = User::new("admin", &[MASTERS]);
    let watch = async |query: &str| {
        let request = request("GET", &format!("{MAPS}?watch=true&{query}"), String::new());
        server.call(request, admin.clone()).await.into_body()
    };
    let (mut unread, mut read) = (watch("resourceVersion=0").await, watch("resourceVersion=0").await);
    for n in ["0", "1"] {
        let map = json!({"metadata": {"name": format!("m{n}")}, "data": {"n": n}}).to_string();
        assert_eq!(server.call(request("POST", MAPS, map), admin.clone()).await.status(), 201);
        assert_eq!(lines_until(&mut read, n).await.last().map(String::as_str), Some(n));
    }
    let unsent = &server.state.cache.watch_buffers;
    assert!(unsent.bytes() > 0, "what the other has not read waits");
    unsent.end_slowest();
    let frame = unread.frame().await.expect("its client is told");
    assert!(frame.is_err(), "{frame:?}");
    drop(frame);
    let map = json!({"metadata": {"name": "m2"}, "data": {"n": "2"}}).to_string();
    assert_eq!(server.call(request("POST", MAPS, map), admin.clone()).await.status(), 201);
    assert_eq!(lines_until(&mut read, "2").await, ["2"], "a client that reads goes on");
}

/// The store has carried out a write and not answered yet when its client hangs up: the write has
/// an author all the same.
#[tokio::test]
async fn a_write_whose_client_hangs_up_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let store = BlockingStore::new(Kv::in_memory(Rng::seeded(1).fork("etcd")));
    let fixture = testing::start_on(dir.path(), store.clone()).await;
    let (server, admin) = (fixture.server.clone(), User::new("admin", &[MASTERS]));
    let commits = || {
        let all = fixture.tap.since(0).into_iter();
        let of = all.filter(|record| record.object.as_ref().is_some_and(|object| object.name == "left"));
        of.filter(|record| matches!(record.event, Event::Commit(_))).count()
    };
    store.answers.send_replace(false);
    let map = json!({"metadata": {"name": "left"}}).to_string();
    let asking = tokio::spawn(async move { server.call(request("POST", MAPS, map), admin).await });
    let key = format!("{ROOT}{}/default/left", api::kinds::stored("configmaps").unwrap().place());
    let stored = async || {
        let range = RangeRequest { key: key.clone().into(), ..RangeRequest::default() };
        store.range(range).await.unwrap().count > 0
    };
    let waiting = async {
        while !stored().await {
            tokio::task::yield_now().await;
        }
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        assert_eq!(commits(), 0, "it is recorded too early: the test shows nothing");
        store.answers.send_replace(true);
        while commits() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("a write without an author");
}
