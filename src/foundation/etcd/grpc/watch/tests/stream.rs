//! The stream of watches, as a client sees it.

use crate::grpc::fuzz::{One, PATIENCE, framed};
use crate::kv::Kv;
use crate::pb;
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Full};
use prost::Message;
use std::convert::Infallible;

/// A client that has many watches and asks all of them how far they are, again and again, is
/// answered as often, and after all that had happened: here every watch has sent the key that
/// was put before.
#[test]
fn questions_about_progress_are_answered_as_often_as_they_are_asked() {
    const EACH: usize = 3000;
    let one = One::start();
    let ask = |union| framed(&pb::WatchRequest { request_union: Some(union) }.encode_to_vec());
    let create = pb::WatchCreateRequest { key: "key".into(), ..Default::default() };
    let put = pb::PutRequest { key: "key".into(), value: "1".into(), ..Default::default() };
    let asks = [
        ask(pb::WatchUnion::CreateRequest(create)).repeat(EACH),
        ask(pb::WatchUnion::ProgressRequest(Default::default())).repeat(EACH),
    ];
    let face = one.face.clone();
    let received = async move {
        let (mut mouth, body) = Channel::<Bytes, Infallible>::new(4);
        let request =
            http::Request::post("/etcdserverpb.Watch/Watch").header("content-type", "application/grpc");
        let answer = face.clone().answer(request.body(body).expect("a request")).await.expect("an answer");
        let (mut answers, mut buffer, mut received) =
            (answer.into_body(), BytesMut::new(), Counts::default());
        let mut asks = asks.into_iter();
        mouth.send_data(asks.next().expect("watches").into()).await.expect("sent");
        while received.progress < EACH {
            let frame = answers.frame().await.expect("an open stream").expect("a frame");
            buffer.extend_from_slice(&frame.into_data().expect("no end"));
            while let Some(response) = next_of(&mut buffer) {
                received.take(&response);
                if received.created == EACH && asks.len() > 0 {
                    let body = Full::new(Bytes::from(framed(&put.encode_to_vec())));
                    let path = http::Request::post("/etcdserverpb.KV/Put")
                        .header("content-type", "application/grpc");
                    face.clone().answer(path.body(body).expect("a request")).await.expect("put");
                    mouth.send_data(asks.next().expect("questions").into()).await.expect("sent");
                }
            }
        }
        received
    };
    // A hundred times what it takes; were every question asked of every watch, it would be nine
    // million times that a watch is woken.
    let received = one.runtime.block_on(async { tokio::time::timeout(PATIENCE * 5, received).await });
    let received = received.expect("answers in time");
    assert_eq!((received.created, received.events_before, received.progress), (EACH, EACH, EACH));
}

/// What a stream of watches has sent.
#[derive(Default)]
struct Counts {
    created: usize,
    events: usize,
    /// Events before the first answer about progress.
    events_before: usize,
    progress: usize,
}

impl Counts {
    fn take(&mut self, response: &pb::WatchResponse) {
        self.created += usize::from(response.created);
        self.events += response.events.len();
        if response.watch_id == -1 {
            self.progress += 1;
            if self.progress == 1 {
                self.events_before = self.events;
            }
        }
    }
}

/// Reads the next message of a stream, when all of it is there.
fn next_of(buffer: &mut BytesMut) -> Option<pb::WatchResponse> {
    let length = u32::from_be_bytes(buffer.get(1..5)?.try_into().ok()?) as usize;
    if buffer.len() < 5 + length {
        return None;
    }
    buffer.advance(5);
    Some(pb::WatchResponse::decode(buffer.split_to(length)).expect("a response"))
}

/// Returns what comes of a stream for as long as it takes until `enough`; the client said all of
/// this at once, and closed its side. A key is put behind so many answers.
fn received_after(
    one: &One,
    asks: Vec<pb::WatchUnion>,
    put_after: usize,
    enough: impl Fn(&[pb::WatchResponse]) -> bool,
) -> Vec<pb::WatchResponse> {
    received_with(one, asks, put_after, async |kv: &Kv| put_to(kv, "key").await, enough)
}

async fn put_to(kv: &Kv, key: &'static str) {
    kv.put(crate::api::PutRequest { key: key.into(), ..Default::default() }).await.expect("put");
}

/// As [`received_after`], with something else that happens behind so many answers.
fn received_with(
    one: &One,
    asks: Vec<pb::WatchUnion>,
    after: usize,
    happens: impl AsyncFn(&Kv),
    enough: impl Fn(&[pb::WatchResponse]) -> bool,
) -> Vec<pb::WatchResponse> {
    let ask = |union| framed(&pb::WatchRequest { request_union: Some(union) }.encode_to_vec());
    let body = Full::new(Bytes::from(asks.into_iter().flat_map(ask).collect::<Vec<u8>>()));
    let face = one.face.clone();
    let received = async move {
        let request =
            http::Request::post("/etcdserverpb.Watch/Watch").header("content-type", "application/grpc");
        let answer = face.clone().answer(request.body(body).expect("a request")).await.expect("an answer");
        let (mut answers, mut buffer, mut received) = (answer.into_body(), BytesMut::new(), vec![]);
        let mut waits = true;
        while !enough(&received) {
            let frame = answers.frame().await.expect("an open stream").expect("a frame");
            buffer.extend_from_slice(&frame.into_data().expect("no end"));
            while let Some(response) = next_of(&mut buffer) {
                received.push(response);
            }
            if received.len() >= after && std::mem::take(&mut waits) {
                happens(&face.kv).await;
            }
        }
        received
    };
    let received = one.runtime.block_on(async { tokio::time::timeout(PATIENCE, received).await });
    received.expect("answers in time")
}

fn create(watch_id: i64) -> pb::WatchUnion {
    pb::WatchUnion::CreateRequest(pb::WatchCreateRequest {
        key: "key".into(),
        watch_id,
        ..Default::default()
    })
}

/// As etcd: closing the sending side says that no more requests come, not that the client has gone.
#[test]
fn watches_go_on_when_the_client_has_said_all() {
    let one = One::start();
    let received =
        received_after(&one, vec![create(0)], 1, |received| received.iter().any(|r| !r.events.is_empty()));
    assert!(received[0].created && received[1].events.len() == 1, "{received:?}");
    let header = |r: &pb::WatchResponse| r.header.as_ref().map(|h| h.revision);
    assert_eq!((header(&received[0]), header(&received[1])), (Some(1), Some(2)));
}

/// A client that gets nothing else goes on behind the revision in the answer `created`. Here
/// every revision changes the key, so the first event of a watch is of the very next one.
#[test]
fn the_answer_to_a_new_watch_names_the_revision_from_which_it_counts() {
    const WATCHES: usize = 300;
    let one = One::start();
    while_a_key_changes(&one, || {
        for n in 0..WATCHES {
            let received = received_after(&one, vec![create(0)], usize::MAX, |received| received.len() > 1);
            let made = received[0].header.as_ref().map_or(0, |header| header.revision);
            let first =
                received[1].events.first().and_then(|event| event.kv.as_ref()).map(|kv| kv.mod_revision);
            assert_eq!(first, Some(made + 1), "watch {n}");
        }
    });
}

/// Puts a key again and again until `work` is done.
fn while_a_key_changes(one: &One, work: impl FnOnce()) {
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (stopped, shared) = (stop.clone(), one.face.kv.clone());
    let writer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            runtime.block_on(put_to(&shared, "key"));
        }
    });
    work();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().expect("it writes until the end");
}

/// A client goes on behind such an answer: it must not lead back to events that the client has had.
#[test]
fn an_answer_about_progress_is_no_older_than_the_events_before_it() {
    const ASKS: usize = 300;
    let one = One::start();
    let ask = |union| Bytes::from(framed(&pb::WatchRequest { request_union: Some(union) }.encode_to_vec()));
    let face = one.face.clone();
    let asked = async move {
        let (mut mouth, body) = Channel::<Bytes, Infallible>::new(4);
        let request =
            http::Request::post("/etcdserverpb.Watch/Watch").header("content-type", "application/grpc");
        let answer = face.answer(request.body(body).expect("a request")).await.expect("an answer");
        let (mut answers, mut buffer) = (answer.into_body(), BytesMut::new());
        mouth.send_data(ask(create(0))).await.expect("sent");
        let (mut asked, mut last) = (0, 0);
        while asked < ASKS {
            let frame = answers.frame().await.expect("an open stream").expect("a frame");
            buffer.extend_from_slice(&frame.into_data().expect("no end"));
            while let Some(response) = next_of(&mut buffer) {
                let events = response.events.iter().filter_map(|event| event.kv.as_ref());
                last = events.map(|kv| kv.mod_revision).max().unwrap_or(last);
                let progress = response.watch_id == -1;
                let revision = response.header.as_ref().map_or(0, |header| header.revision);
                assert!(!progress || revision >= last, "it is at {revision}, after an event of {last}");
                if progress || response.created {
                    asked += 1;
                    let question = ask(pb::WatchUnion::ProgressRequest(Default::default()));
                    mouth.send_data(question).await.expect("sent");
                }
            }
        }
    };
    while_a_key_changes(&one, || {
        let asked = one.runtime.block_on(async { tokio::time::timeout(PATIENCE * 5, asked).await });
        asked.expect("answers in time");
    });
}

#[test]
fn an_id_is_free_as_soon_as_its_watch_is_canceled() {
    let one = One::start();
    let cancel = || pb::WatchUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 7 });
    let asks = vec![create(7), cancel(), create(7), cancel(), create(7)];
    let received = received_after(&one, asks, 5, |received| received.iter().any(|r| !r.events.is_empty()));
    let steps: Vec<(bool, bool)> = received.iter().map(|r| (r.created, r.canceled)).collect();
    let (created, canceled, event) = ((true, false), (false, true), (false, false));
    assert_eq!(steps, [created, canceled, created, canceled, created, event], "{received:?}");
    assert!(received.iter().all(|r| r.watch_id == 7), "{received:?}");
}

/// As etcd: a negative revision is refused before anything else is looked at, and takes no id.
#[test]
fn a_watch_from_a_negative_revision_is_refused_first_and_takes_no_id() {
    let one = One::start();
    let negative = |key: &'static str, range_end: &'static str| {
        pb::WatchUnion::CreateRequest(pb::WatchCreateRequest {
            key: key.into(),
            range_end: range_end.into(),
            start_revision: -1,
            ..Default::default()
        })
    };
    let asks = vec![negative("key", ""), negative("b", "a"), create(0)];
    let received = received_after(&one, asks, usize::MAX, |received| received.len() >= 3);
    for refused in &received[..2] {
        let reason = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!((refused.watch_id, refused.cancel_reason.as_str()), (-1, reason), "{received:?}");
    }
    assert_eq!((received[2].watch_id, received[2].canceled), (0, false), "{received:?}");
}

/// Returns what is recorded of calls, oldest first.
fn calls(one: &One) -> Vec<tap::Call> {
    let of = |record: &std::sync::Arc<tap::Record>| match &record.event {
        tap::Event::Call(call) => Some(call.clone()),
        _ => None,
    };
    one.face.tap.since(0).iter().filter_map(of).collect()
}

/// As etcd: a long past comes in several answers, and each names the store's revision.
#[test]
fn events_of_the_past_are_headed_by_the_revision_of_the_store() {
    let one = One::start();
    one.runtime.block_on(async {
        for _ in 0..600 {
            put_to(&one.face.kv, "key").await; // 2 to 601
        }
    });
    let past = pb::WatchUnion::CreateRequest(pb::WatchCreateRequest {
        key: "key".into(),
        start_revision: 2,
        ..Default::default()
    });
    let events = |received: &[pb::WatchResponse]| received.iter().map(|r| r.events.len()).sum::<usize>();
    let received = received_after(&one, vec![past], usize::MAX, |received| events(received) >= 600);
    assert!(received.len() > 2 && events(&received) == 600, "the past came at once");
    for response in &received {
        assert_eq!(response.header.as_ref().map(|header| header.revision), Some(601));
    }
    // The records of these answers name it, too.
    let recorded: Vec<i64> = calls(&one).iter().map(|call| call.revision).collect();
    assert!(recorded.len() > 2 && recorded.iter().all(|revision| *revision == 601), "{recorded:?}");
}

/// As etcd: such an answer has no text and no revision beside that of the compaction.
#[test]
fn a_watch_of_a_forgotten_past_gets_the_revision_of_the_compaction() {
    let one = One::start();
    one.runtime.block_on(async {
        for _ in 0..3 {
            put_to(&one.face.kv, "key").await; // 2 to 4
        }
        one.face.kv.compact(4).await.expect("compacted");
    });
    let old = pb::WatchUnion::CreateRequest(pb::WatchCreateRequest {
        key: "key".into(),
        start_revision: 2,
        ..Default::default()
    });
    let received = received_after(&one, vec![old], usize::MAX, |received| received.len() > 1);
    assert!(received[0].created && !received[0].canceled, "{received:?}");
    let over = &received[1];
    assert_eq!((over.canceled, over.compact_revision, over.cancel_reason.as_str()), (true, 4, ""));
    let header = over.header.as_ref().map(|header| (header.member_id, header.revision));
    assert_eq!(header, Some((one.face.member, 0)));
}

/// A lesson that reads the records must not take a refused watch for one that began.
#[test]
fn the_record_of_a_watch_that_is_refused_says_why() {
    let one = One::start();
    one.runtime.block_on(async {
        for _ in 0..3 {
            put_to(&one.face.kv, "key").await; // 2 to 4
        }
        one.face.kv.compact(4).await.expect("compacted");
    });
    let from = |start_revision| {
        pb::WatchUnion::CreateRequest(pb::WatchCreateRequest {
            key: "key".into(),
            start_revision,
            ..Default::default()
        })
    };
    received_after(&one, vec![from(2), from(-1), create(0)], usize::MAX, |received| received.len() > 3);
    let recorded: Vec<(i64, String)> =
        calls(&one).into_iter().take(2).map(|call| (call.revision, call.error)).collect();
    let compacted = (0, "etcdserver: mvcc: required revision has been compacted".to_string());
    assert_eq!(recorded, [compacted.clone(), compacted]);
}

/// As etcd: the client cancels it, too, and waits for the answer.
#[test]
fn a_watch_that_a_compaction_has_ended_keeps_its_id_until_it_is_canceled() {
    let one = One::start();
    one.runtime.block_on(async {
        for _ in 0..3 {
            put_to(&one.face.kv, "key").await; // 2 to 4
        }
        one.face.kv.compact(4).await.expect("compacted");
    });
    let old = pb::WatchUnion::CreateRequest(pb::WatchCreateRequest {
        key: "key".into(),
        start_revision: 2,
        watch_id: 7,
        ..Default::default()
    });
    let cancel = pb::WatchUnion::CancelRequest(pb::WatchCancelRequest { watch_id: 7 });
    let received = received_after(&one, vec![old, create(7), cancel, create(7)], usize::MAX, |received| {
        received.len() > 4
    });
    let of = |id: i64| received.iter().filter(move |response| response.watch_id == id);
    let steps: Vec<_> = of(7).map(|r| (r.created, r.canceled, r.compact_revision)).collect();
    assert_eq!(
        steps,
        [(true, false, 0), (false, true, 4), (false, true, 0), (true, false, 0)],
        "{received:?}"
    );
    let refused: Vec<&str> = of(-1).map(|r| r.cancel_reason.as_str()).collect();
    assert_eq!(refused, ["mvcc: duplicate watch ID provided on the WatchStream"]);
}

/// A watch that has looked through the past without finding anything, and a compaction forgets that
/// past. The client hears nothing of it when a snapshot replaces the store: it missed nothing.
#[test]
fn a_watch_of_a_key_that_seldom_changes_survives_that_the_store_is_replaced() {
    let one = One::start();
    one.runtime.block_on(async {
        for _ in 0..5 {
            put_to(&one.face.kv, "often").await; // 2 to 6
        }
    });
    let rare = pb::WatchUnion::CreateRequest(pb::WatchCreateRequest {
        key: "rare".into(),
        start_revision: 2,
        ..Default::default()
    });
    let replaced = async |kv: &Kv| {
        tokio::task::yield_now().await; // the watch's task has begun
        kv.compact(5).await.expect("compacted");
        kv.cut_watchers();
        put_to(kv, "rare").await;
    };
    let over = |received: &[pb::WatchResponse]| received.iter().any(|r| r.canceled || !r.events.is_empty());
    let received = received_with(&one, vec![rare], 1, replaced, over);
    let last = received.last().expect("an answer");
    assert_eq!((last.canceled, last.events.len()), (false, 1), "{received:?}");
}
