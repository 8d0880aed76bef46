use super::writer::Line;
use super::*;
use crate::storage::object::Object;
use crate::storage::watch_buffers::Beginning;
use api::kinds;
use serde_json::Value;

fn writer(lines: &[(usize, bool)]) -> Writer {
    let kind = KindRef::Table(kinds::find("", "v1", "Pod").expect("built in"));
    let out = lines.iter().map(|(size, goes_on)| Line { bytes: vec![b'x'; *size].into(), goes_on: *goes_on });
    Writer { kind, form: Form::Object, first: true, out: out.collect(), unsent: Arc::default() }
}

fn request(bookmarks: bool, initial: Option<bool>, seconds: u64) -> WatchRequest {
    let life = Duration::from_secs(seconds);
    let (form, filter) = (Form::Object, Filter::default());
    WatchRequest { form, filter, bookmarks, initial, revision: 0, is_revision_given: false, life }
}

#[test]
fn a_watch_begins_with_all_objects_or_with_the_events_after_a_revision() {
    for (initial, revision, wanted) in [
        (None, 0, None),
        (None, 7, Some(7)),
        (Some(true), 0, None),
        (Some(true), 7, None),
        (Some(false), 0, Some(9)),
        (Some(false), 7, Some(7)),
    ] {
        let request = WatchRequest { revision, ..request(false, initial, 60) };
        assert_eq!(request.events_after(9), wanted, "{initial:?} {revision}");
    }
}

fn admin() -> User {
    User::new("admin", &[crate::auth::user::MASTERS])
}

fn subscription(
    initial: Vec<Arc<Object>>,
    backlog: Vec<Arc<Kept>>,
    live: crate::storage::watch_queue::Receiver,
) -> Subscription {
    let unsent = Arc::default();
    let (initial, backlog) = (Beginning::new(&unsent, initial), Beginning::new(&unsent, backlog));
    Subscription { initial, backlog, revision: 1, live, filter: Filter::default() }
}

fn pieces(lines: &[(usize, bool)]) -> Vec<usize> {
    let mut writer = writer(lines);
    std::iter::from_fn(|| writer.next()).map(|piece| piece.len()).collect()
}

/// The watcher's resource was read anew from the store, or it was too slow: with a bookmark it
/// would resume behind events that it has not seen.
#[tokio::test]
async fn a_watcher_whose_line_has_ended_gets_no_bookmark() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = crate::testing::start(dir.path()).await;
    let (sender, live) = crate::storage::watch_queue::channel(None, &Arc::default());
    let subscription = subscription(vec![], vec![], live);
    let (state, stop) = (fixture.server.state.clone(), CancellationToken::new());
    let request = request(true, None, 60);
    let mut feed = Feed::new(state, admin(), subscription, writer(&[]), &request, stop);
    feed.add_bookmark();
    assert_eq!(feed.writer.out.len(), 1);
    drop(sender);
    feed.add_bookmark();
    assert_eq!(feed.writer.out.len(), 1);
}

/// The events of a revision that made a pod.
fn batch(revision: i64) -> Vec<(Change, Arc<Event>)> {
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}});
    let event = Event::new(revision, Arc::new(Object::new(pod, revision)), None, false);
    vec![(Change::Added, Arc::new(event))]
}

/// The cache hands the events of a revision to watchers before it says that it has reached it.
#[tokio::test]
async fn a_bookmark_is_not_older_than_the_event_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = crate::testing::start(dir.path()).await;
    let newest = fixture.server.state.cache.revision() + 1000;
    let (sender, live) = crate::storage::watch_queue::channel(None, &Arc::default());
    let (state, stop) = (fixture.server.state.clone(), CancellationToken::new());
    let (request, subscription) = (request(true, Some(true), 60), subscription(vec![], vec![], live));
    let mut feed = Feed::new(state, admin(), subscription, writer(&[]), &request, stop);
    let version = |bytes: &Bytes| {
        let line: Value = serde_json::from_slice(bytes).unwrap();
        (line["type"].clone(), line["object"]["metadata"]["resourceVersion"].clone())
    };
    let initial_end = feed.next().await.unwrap();
    assert_eq!(version(&initial_end), (json!("BOOKMARK"), json!("1")));
    let text = String::from_utf8_lossy(&initial_end);
    assert!(!text.contains("creationTimestamp"), "as since 1.34: {text}");
    // Taken from the line before the bookmark is due, and with it.
    sender.send(batch(newest));
    assert!(feed.next().await.is_some());
    feed.add_bookmark();
    assert_eq!(version(&feed.next().await.unwrap()).1, newest.to_string());
    sender.send(batch(newest + 1));
    feed.add_bookmark();
    let last = feed.writer.out.pop_back().unwrap();
    assert_eq!(version(&last.bytes), (json!("BOOKMARK"), json!((newest + 1).to_string())));
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_and_marks_its_place_also_where_there_is_always_an_event() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = crate::testing::start(dir.path()).await;
    let (sender, live) = crate::storage::watch_queue::channel(None, &Arc::default());
    let (state, stop) = (fixture.server.state.clone(), CancellationToken::new());
    let life = BOOKMARK_EVERY.as_secs() * 2;
    let request = WatchRequest { revision: 1, ..request(true, None, life) };
    let subscription = subscription(vec![], vec![], live);
    let mut feed = Feed::new(state, admin(), subscription, writer(&[]), &request, stop);
    let mut marks = 0;
    for revision in 2..200 {
        sender.send(batch(revision));
        let Some(bytes) = feed.next().await else {
            assert_eq!(marks, 2, "one on the way, one at the end");
            return;
        };
        marks += String::from_utf8_lossy(&bytes).matches("BOOKMARK").count();
        tokio::time::advance(BOOKMARK_EVERY / 10).await;
    }
    panic!("it goes on and on");
}

#[tokio::test]
async fn a_client_that_asks_for_no_bookmarks_gets_no_mark_either() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = crate::testing::start(dir.path()).await;
    let (_sender, live) = crate::storage::watch_queue::channel(None, &Arc::default());
    let (state, stop) = (fixture.server.state.clone(), CancellationToken::new());
    let (request, subscription) = (request(false, Some(true), 60), subscription(vec![], vec![], live));
    let mut feed = Feed::new(state, admin(), subscription, writer(&[]), &request, stop);
    feed.begin().await;
    assert!(feed.writer.out.is_empty());
}

/// A watch from no revision is one with `sendInitialEvents=true`.
#[tokio::test]
async fn the_end_of_the_first_objects_is_marked_also_where_no_revision_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = crate::testing::start(dir.path()).await;
    for (revision, marks) in [(0, 1), (7, 0)] {
        let (_sender, live) = crate::storage::watch_queue::channel(None, &Arc::default());
        let (state, stop) = (fixture.server.state.clone(), CancellationToken::new());
        let request = WatchRequest { revision, ..request(true, None, 60) };
        let subscription = subscription(vec![], vec![], live);
        let mut feed = Feed::new(state, admin(), subscription, writer(&[]), &request, stop);
        feed.begin().await;
        assert_eq!(feed.writer.out.len(), marks, "{revision}");
    }
}

/// What there was when a watch began are objects that this watch alone may keep in memory: a
/// client that takes too long for them is ended, one that reads them slowly but in time gets
/// all.
#[tokio::test(start_paused = true)]
async fn a_watch_whose_beginning_is_not_read_in_time_is_ended() {
    const OBJECTS: usize = 10;
    let dir = tempfile::tempdir().unwrap();
    let fixture = crate::testing::start(dir.path()).await;
    for (pause, is_in_time) in [(ANSWER_TIME / 20, true), (ANSWER_TIME / 5 * 2, false)] {
        let (_sender, live) = crate::storage::watch_queue::channel(None, &Arc::default());
        let object = |n: usize| {
            let name = format!("p{n}");
            let object = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": {"nodeName": "n".repeat(PIECE)}});
            Arc::new(Object::new(object, 1))
        };
        let initial = (0..OBJECTS).map(object).collect();
        let subscription = subscription(initial, vec![], live);
        let (state, stop) = (fixture.server.state.clone(), CancellationToken::new());
        let request = request(false, None, 3600);
        let mut feed = Feed::new(state, admin(), subscription, writer(&[]), &request, stop);
        let mut read = 0;
        while read < OBJECTS && feed.next().await.is_some() {
            read += 1;
            tokio::time::sleep(pause).await;
        }
        match is_in_time {
            true => assert_eq!(read, OBJECTS),
            // The first at once, then one after each pause until the time is over.
            false => assert_eq!((read, feed.subscription.initial.left().len()), (3, OBJECTS - 3)),
        }
    }
}

/// All turns for large work are taken: a watch waits for one with its first large event of the
/// past, and sends small ones at once.
#[tokio::test]
async fn large_events_of_the_past_are_parsed_in_turn_with_other_large_work() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = crate::testing::start(dir.path()).await;
    let state = &fixture.server.state;
    let kept = |bytes: usize| {
        let meta = json!({"name": "p", "namespace": "d"});
        let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": {"nodeName": "n".repeat(bytes)}});
        Arc::new(Kept::new(&Event::new(2, Arc::new(Object::new(pod, 2)), None, false)))
    };
    let feed = |bytes: usize| {
        let (sender, live) = crate::storage::watch_queue::channel(None, &Arc::default());
        let subscription = subscription(vec![], vec![kept(bytes)], live);
        let (request, stop) = (request(false, None, 60), CancellationToken::new());
        let feed = Feed::new(state.clone(), admin(), subscription, writer(&[]), &request, stop);
        (feed, sender)
    };
    let busy = crate::testing::Busy::begin(&fixture.server).await;
    let (mut small, _sender) = feed(100);
    assert!(small.next().await.is_some());
    let (mut large, _sender) = feed(2 * LARGE);
    let early = tokio::time::timeout(Duration::from_millis(100), large.next()).await;
    assert!(early.is_err(), "it is parsed beside the bound on large work");
    busy.end().await;
    let (mut large, _sender) = feed(2 * LARGE);
    let line = tokio::time::timeout(Duration::from_secs(20), large.next()).await.unwrap().unwrap();
    assert!(line.len() > 2 * LARGE);
}

/// A kind whose objects have a text of 300 kB by a default that they were stored without, and such
/// an object.
fn defaulted() -> (KindRef, Value) {
    let text = json!({"type": "string", "default": "x".repeat(300_000)});
    let schema = json!({"type": "object", "properties": {"text": text}});
    let version =
        json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let names = json!({"plural": "shops", "singular": "shop", "kind": "Shop", "listKind": "ShopList"});
    let definition = json!({"metadata": {"name": "shops.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
        "status": {"acceptedNames": names, "conditions": [{"type": "Established", "status": "True"}]}});
    let kind = api::custom::kinds_of(&definition).remove(0);
    (
        KindRef::Custom(Arc::new(kind)),
        json!({"kind": "Shop", "apiVersion": "example.com/v1", "metadata": {"name": "a"}}),
    )
}

/// A hundred objects of some bytes would be encoded as 30 MB.
#[tokio::test]
async fn a_watch_encodes_a_piece_at_a_time_also_where_later_defaults_add_much() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = crate::testing::start(dir.path()).await;
    let (kind, shop) = defaulted();
    let initial = (0..100).map(|_| Arc::new(Object::new(shop.clone(), 1))).collect();
    let (sender, live) = crate::storage::watch_queue::channel(None, &Arc::default());
    let (state, stop) = (fixture.server.state.clone(), CancellationToken::new());
    let (request, subscription) = (request(true, None, 60), subscription(initial, vec![], live));
    let writer = Writer { kind, ..writer(&[]) };
    let mut feed = Feed::new(state, admin(), subscription, writer, &request, stop);
    feed.begin().await;
    assert_eq!((feed.writer.out.len(), feed.subscription.initial.left().len()), (1, 99));
    feed.writer.out.clear();
    for revision in 2..102 {
        let event = Event::new(revision, Arc::new(Object::new(shop.clone(), revision)), None, false);
        sender.send(vec![(Change::Added, Arc::new(event))]);
    }
    let mut lines = 0;
    while !feed.add_bookmark() {
        assert_eq!(feed.writer.out.len(), 4, "some more than a megabyte");
        lines += feed.writer.out.drain(..).count();
    }
    assert_eq!(lines + feed.writer.out.len(), 101, "all events, and the bookmark behind them");
}

#[test]
fn what_one_revision_did_is_one_piece() {
    let third = PIECE / 3 + 1;
    assert_eq!(pieces(&[(third, false), (third, false), (third, false)]), [2 * third, third]);
    assert_eq!(pieces(&[(third, true), (third, true), (third, true), (third, false)]), [4 * third]);
    assert_eq!(pieces(&[(third, false), (third, true), (third, true), (third, false)]), [4 * third]);
    assert_eq!(pieces(&[(third, true), (third, true), (third, false), (third, false)]), [3 * third, third]);
    let much = REVISION_PIECE / 3 + 1;
    assert_eq!(pieces(&[(much, true), (much, true), (much, false)]), [2 * much, much]);
}
