//! Watchers of a store in memory: gaps, repetitions, and their end.

use super::*;
use bytes::Bytes;

struct World {
    store: Arc<RwLock<Store>>,
    hub: Arc<Hub>,
}

impl World {
    fn new() -> World {
        World { store: Arc::default(), hub: Arc::default() }
    }
    /// No watcher gets an event.
    fn write(&self, key: &'static str) -> (Arc<[Event]>, Revision) {
        let mut store = self.store.write();
        let mut write = store.write();
        write.put(key.into(), Bytes::new(), 0);
        let events = write.commit();
        (events, store.revision())
    }
    fn put(&self, key: &'static str) {
        let (events, revision) = self.write(key);
        self.hub.publish(&[events], revision);
    }
    fn watch(&self, key: &'static str, end: &'static str, start_revision: Revision) -> Watcher {
        let r = WatchRequest { key: key.into(), range_end: end.into(), start_revision, prev_kv: true };
        self.hub.watch(&self.store, &r).unwrap()
    }
}

/// `key@revision<previous` of the next response.
async fn next(w: &mut Watcher) -> String {
    let response = w.next().await.unwrap().unwrap();
    let one = |e: &Event| {
        let prev = e.prev_kv.as_ref().map_or(0, |p| p.mod_revision);
        format!("{}@{}<{prev}", String::from_utf8_lossy(&e.kv.key), e.kv.mod_revision)
    };
    format!("{}: {}", response.revision, response.events.iter().map(one).collect::<Vec<_>>().join(" "))
}

#[tokio::test]
async fn the_past_then_the_present_without_gap_or_repetition() {
    let world = World::new();
    for key in ["a", "b", "a"] {
        world.put(key); // 2, 3, 4
    }
    let mut w = world.watch("a", "b", 2);
    world.put("a"); // 5
    assert_eq!(next(&mut w).await, "4: a@2<0 a@4<2");
    assert_eq!(next(&mut w).await, "5: a@5<4");
    w.request_progress(0);
    assert_eq!(next(&mut w).await, "5: ");
}

#[tokio::test]
async fn a_long_past_is_read_in_portions_and_what_is_forgotten_meanwhile_is_reported() {
    let world = World::new();
    let many = PAST_BATCH as Revision * 5 / 2;
    (0..many).for_each(|_| world.put("a")); // 2 to many + 1
    let (mut reader, mut sleeper) = (world.watch("a", "b", 2), world.watch("a", "b", 2));
    assert_eq!((sleeper.past.len(), sleeper.made()), (PAST_BATCH, many + 1));
    assert!(world.hub.lock().watchers.is_empty(), "no watcher gets the present before the past");
    reader.request_progress(0);
    world.put("a");
    let (mut seen, mut last) = (0, 1);
    loop {
        let response = reader.next().await.unwrap().unwrap();
        assert!(response.events.iter().all(|e| std::mem::replace(&mut last, e.kv.mod_revision) + 1 == last));
        seen += response.events.len() as Revision;
        if response.events.is_empty() {
            assert_eq!((seen, response.revision), (many + 1, many + 2), "its progress, behind all events");
            break;
        }
    }
    world.put("a");
    assert_eq!(next(&mut reader).await, format!("{0}: a@{0}<{1}", many + 3, many + 2));
    // the sleeper has its first portion, and then nothing: also if a snapshot replaces the
    // store
    world.store.write().compact(many).unwrap();
    world.hub.reset(many + 3);
    let mut served = 0;
    let error = loop {
        match sleeper.next().await.unwrap() {
            Ok(response) => served += response.events.len(),
            Err(error) => break error,
        }
    };
    assert_eq!((served, error), (PAST_BATCH, Error::Compacted { compact_revision: many }));
    assert!(sleeper.next().await.is_none());
}

#[tokio::test]
async fn a_watch_of_the_future_waits_for_it() {
    let world = World::new();
    let (mut now, mut later) = (world.watch("\0", "\0", 0), world.watch("\0", "\0", 4));
    for key in ["a", "b", "c"] {
        world.put(key);
    }
    assert_eq!(next(&mut now).await, "2: a@2<0");
    assert_eq!(next(&mut later).await, "4: c@4<0");
}

#[tokio::test]
async fn a_watch_of_the_future_makes_no_progress_before_it_begins() {
    let world = World::new();
    world.put("a"); // 2
    for start in [4, Revision::MAX] {
        assert!(!world.watch("a", "", start).request_progress(start));
    }
    let mut later = world.watch("a", "", 4);
    world.put("b"); // 3
    assert!(!later.request_progress(4));
    world.put("b"); // 4
    assert!(later.request_progress(4));
    assert_eq!((next(&mut later).await, later.first()), ("4: ".to_string(), 4));
    let mut now = world.watch("a", "", 0);
    assert!(now.request_progress(0));
    assert_eq!(next(&mut now).await, "4: ");
}

#[tokio::test]
async fn a_watch_from_now_knows_where_it_began() {
    let world = World::new();
    world.put("a"); // 2
    let mut now = world.watch("a", "", 0);
    assert_eq!(now.first(), 3);
    // 3, which comes with another member's state
    world.write("a");
    world.hub.reset(3);
    while !matches!(now.next().await.unwrap(), Err(Error::SlowWatcher)) {}
    let mut again = world.watch("a", "", now.first());
    assert_eq!(next(&mut again).await, "3: a@3<2");
}

/// A snapshot of the leader replaces the store, and has forgotten what this watch had looked
/// through without finding anything.
#[tokio::test]
async fn a_watch_goes_on_from_where_it_was_served_and_not_from_its_last_event() {
    let world = World::new();
    for _ in 0..3 {
        world.put("often"); // 2, 3, 4
    }
    let (mut past, mut now) = (world.watch("rare", "", 2), world.watch("rare", "", 0));
    world.put("often"); // 5
    world.write("often"); // 6 and 7 come with another member's state
    world.write("rare");
    world.store.write().compact(5).unwrap();
    world.hub.reset(7);
    for watcher in [&mut past, &mut now] {
        assert_eq!(watcher.next().await.unwrap().unwrap_err(), Error::SlowWatcher);
        let mut again = world.watch("rare", "", watcher.resume());
        assert_eq!((watcher.resume(), next(&mut again).await), (6, "7: rare@7<0".into()));
    }
}

/// Its queue was full for one response: that one was not served.
#[tokio::test]
async fn a_watcher_that_was_cut_off_goes_on_with_what_it_missed() {
    let world = World::new();
    let mut slow = world.watch("a", "", 0);
    for _ in 0..QUEUE + 3 {
        world.put("a");
    }
    let mut seen = 1;
    while let Ok(response) = slow.next().await.unwrap() {
        seen = response.revision;
    }
    let mut again = world.watch("a", "", slow.resume());
    assert_eq!(slow.resume(), seen + 1);
    assert!(next(&mut again).await.contains(&format!(" a@{}<{seen}", seen + 1)));
}

#[tokio::test]
async fn a_watcher_that_sleeps_is_cut_off_and_learns_it() {
    let world = World::new();
    let mut slow = world.watch("a", "", 0);
    for _ in 0..=QUEUE {
        world.put("a");
    }
    for _ in 0..QUEUE {
        slow.next().await.unwrap().unwrap();
    }
    assert_eq!(slow.next().await.unwrap().unwrap_err(), Error::SlowWatcher);
    assert!(slow.next().await.is_none());
}

#[tokio::test]
async fn compacted_and_closed() {
    let world = World::new();
    world.put("a");
    world.put("a");
    world.store.write().compact(3).unwrap();
    let r = WatchRequest { key: "a".into(), start_revision: 2, ..WatchRequest::default() };
    let refused = world.hub.watch(&world.store, &r).err();
    assert_eq!(refused, Some(Error::Compacted { compact_revision: 3 }));
    let mut w = world.watch("a", "", 3);
    assert_eq!(next(&mut w).await, "3: a@3<0");
    world.hub.close(&Error::Stopped);
    assert_eq!(w.next().await.unwrap().unwrap_err(), Error::Stopped);
    assert!(world.hub.watch(&world.store, &r).is_err());
}
