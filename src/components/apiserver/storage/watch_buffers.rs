//! Bytes that wait to be sent to watchers, of all of them together.
//!
//! Each watch is bounded ([`super::watch_queue`], [`crate::flowcontrol::seat`]). Thousands of
//! watchers that do not read would hold thousands of times as much, so all of them have a bound
//! together. What many wait for is in memory once and counts once: an event counts while some queue
//! holds it, a line of an answer that only one watcher is sent counts until its last byte is
//! written. Beyond the bound the slowest watcher is ended, the one whose oldest unsent event is the
//! oldest; it comes again and resumes, or gets 410 and lists again.
//!
//! What a watch sends first is the cache's own as long as the cache keeps it. What the cache lets
//! go meanwhile is in memory only for the watches that begin, and counts, once, until the last of
//! them has sent it ([`Beginning`]).
//!
//! Example: ten watchers wait for the same event of 1 MB, and one of them has made a Table of it:
//! the event counts once, the Table's bytes once more.

use crate::storage::holds::Holds;
use crate::storage::object::{Event, Kept, Object};
use bytes::Bytes;
use clock::Instant;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// Bytes of memory, about.
pub(crate) const BUFFERED_MAX: usize = 128 << 20;
/// The object of an event is kept parsed, which takes about so many times its encoded bytes.
const PARSED: usize = 10;
/// After a watcher was ended its connection gives back what it held within this time, or the next
/// one is ended.
const FREED_WITHIN: Duration = Duration::from_millis(100);

/// A watcher's end of its line.
pub(crate) trait Reader: Send + Sync {
    /// Returns since when something waits to be sent to the watcher; `None`: nothing does.
    fn since(&self) -> Option<Instant>;

    /// Ends the watcher: what waits for it is dropped, and what its answer holds.
    fn end(&self);
}

#[derive(Default)]
pub(crate) struct WatchBuffers {
    /// Below 0 for a moment where a watch gives back what the cache has let go and is about to add.
    bytes: AtomicIsize,
    /// All watchers, those that were cut off and have something left to send among them.
    readers: Mutex<Readers>,
    exceeded: Notify,
    freed: Notify,
}

/// The watchers by their numbers.
#[derive(Default)]
struct Readers {
    next: u64,
    all: HashMap<u64, Weak<dyn Reader>>,
}

impl WatchBuffers {
    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock()
    }

    /// Lists a watcher, under the number that is returned.
    pub(crate) fn enter(&self, reader: Weak<dyn Reader>) -> u64 {
        let mut readers = self.readers();
        readers.next += 1;
        let number = readers.next;
        readers.all.insert(number, reader);
        number
    }

    pub(crate) fn leave(&self, number: u64) {
        self.readers().all.remove(&number);
    }

    /// Returns the bytes that wait now.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes.load(Ordering::Acquire)).unwrap_or(0)
    }

    /// Ends the slowest watcher whenever more waits for all of them together than may.
    pub(crate) async fn keep_bound(&self) {
        loop {
            if self.bytes() <= BUFFERED_MAX {
                self.exceeded.notified().await;
                continue;
            }
            self.end_slowest();
            let _ = tokio::time::timeout(FREED_WITHIN, self.freed.notified()).await;
        }
    }

    /// Ends the watcher that has left something unsent for the longest time. No lock is held
    /// meanwhile: its answer may be waiting for one.
    pub(crate) fn end_slowest(&self) {
        if let Some(slowest) = self.slowest() {
            tracing::debug!("ended the slowest watcher: too much waits for all of them together");
            slowest.end();
        }
    }

    fn slowest(&self) -> Option<Arc<dyn Reader>> {
        let all: Vec<Arc<dyn Reader>> = self.readers().all.values().filter_map(Weak::upgrade).collect();
        let since = all.into_iter().filter_map(|reader| Some((reader.since()?, reader)));
        since.min_by_key(|(since, _)| *since).map(|(_, reader)| reader)
    }

    fn add(&self, bytes: usize) {
        let bytes = bytes as isize; // what is in memory is no larger
        if self.bytes.fetch_add(bytes, Ordering::AcqRel) + bytes > BUFFERED_MAX as isize {
            self.exceeded.notify_one();
        }
    }

    fn remove(&self, bytes: usize) {
        if self.bytes.fetch_sub(bytes as isize, Ordering::AcqRel) > BUFFERED_MAX as isize {
            self.freed.notify_one();
        }
    }

    /// Bytes that one watcher alone is sent: they count until they are dropped.
    pub(crate) fn of_one(self: &Arc<WatchBuffers>, bytes: impl Into<Bytes>) -> Bytes {
        let bytes = bytes.into();
        self.add(bytes.len());
        Bytes::from_owner(OfOne { bytes, of: self.clone() })
    }

    /// Bytes that an event keeps for all of its watchers: the event counts until they are dropped.
    pub(crate) fn of_event(self: &Arc<WatchBuffers>, bytes: Bytes, event: &Arc<Event>) -> Bytes {
        Bytes::from_owner(OfEvent { bytes, _waits: Waits::new(self, event) })
    }
}

struct OfOne {
    bytes: Bytes,
    of: Arc<WatchBuffers>,
}

impl AsRef<[u8]> for OfOne {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for OfOne {
    fn drop(&mut self) {
        self.of.remove(self.bytes.len());
    }
}

struct OfEvent {
    bytes: Bytes,
    _waits: Waits,
}

impl AsRef<[u8]> for OfEvent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// An event that waits for a watcher.
pub(crate) struct Waits {
    event: Arc<Event>,
    of: Arc<WatchBuffers>,
}

impl Waits {
    pub(crate) fn new(of: &Arc<WatchBuffers>, event: &Arc<Event>) -> Waits {
        if event.waiting.fetch_add(1, Ordering::AcqRel) == 0 {
            of.add(weight(event));
        }
        Waits { event: event.clone(), of: of.clone() }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if self.event.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.of.remove(weight(&self.event));
        }
    }
}

fn weight(event: &Event) -> usize {
    PARSED * event.size()
}

/// A thing of the cache that a watch may hold when it begins.
pub(crate) trait Held {
    fn holds(&self) -> &Holds;
    /// Bytes of memory, about.
    fn weight(&self) -> usize;
}

impl Held for Object {
    fn holds(&self) -> &Holds {
        &self.holds
    }
    fn weight(&self) -> usize {
        PARSED * self.bytes.len()
    }
}

impl Held for Kept {
    fn holds(&self) -> &Holds {
        &self.holds
    }
    fn weight(&self) -> usize {
        self.size()
    }
}

impl WatchBuffers {
    /// Says that the cache keeps this no longer: if a watch holds it, it counts from now on.
    pub(crate) fn let_go(&self, what: &impl Held) {
        if what.holds().let_go() {
            self.add(what.weight());
        }
    }

    fn hold(&self, what: &impl Held) {
        if what.holds().hold() {
            self.add(what.weight());
        }
    }

    fn release(&self, what: &impl Held) {
        if what.holds().release() {
            self.remove(what.weight());
        }
    }
}

/// What a watch sends first, and has not sent yet. The list itself counts as well: thousands of
/// watches of ten thousand objects each would take gigabytes for it.
pub(crate) struct Beginning<T: Held> {
    left: VecDeque<Arc<T>>,
    of: Arc<WatchBuffers>,
}

impl<T: Held> Beginning<T> {
    const ENTRY: usize = size_of::<Arc<T>>();

    /// Makes the beginning of a watch. Call it where the cache cannot let go of any part meanwhile.
    pub(crate) fn new(of: &Arc<WatchBuffers>, all: Vec<Arc<T>>) -> Beginning<T> {
        of.add(all.len() * Self::ENTRY);
        all.iter().for_each(|one| of.hold(&**one));
        Beginning { left: all.into(), of: of.clone() }
    }

    /// Takes the next one, which counts no longer.
    pub(crate) fn pop(&mut self) -> Option<Arc<T>> {
        let one = self.left.pop_front()?;
        self.of.release(&*one);
        self.of.remove(Self::ENTRY);
        Some(one)
    }

    #[cfg(test)]
    pub(crate) fn left(&self) -> &VecDeque<Arc<T>> {
        &self.left
    }
}

impl<T: Held> Drop for Beginning<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::object::{Change, Object};
    use crate::storage::watch_queue::channel;
    use serde_json::json;

    #[test]
    fn what_many_wait_for_counts_once_and_what_one_waits_for_until_its_last_byte() {
        let unsent = Arc::new(WatchBuffers::default());
        let object = Arc::new(Object::new(json!({"data": "x".repeat(1000)}), 7));
        let bytes = object.bytes.len();
        let event = Arc::new(Event::new(7, object, None, false));
        let lines: Vec<Waits> = (0..100).map(|_| Waits::new(&unsent, &event)).collect();
        assert_eq!(unsent.bytes(), PARSED * bytes);
        let shared = unsent.of_event(Bytes::from_static(b"abc"), &event);
        let mut own = unsent.of_one(vec![7; 500]);
        drop(lines);
        assert_eq!(unsent.bytes(), PARSED * bytes + 500, "its bytes are still to be sent");
        let first = own.split_to(100);
        drop((own, shared));
        assert_eq!(unsent.bytes(), 500, "a piece holds all of its bytes");
        drop(first);
        assert_eq!(unsent.bytes(), 0);
    }

    /// An object of a kilobyte becomes a small one. Its event keeps both.
    #[test]
    fn an_event_counts_as_the_larger_of_what_an_object_is_and_was() {
        let unsent = Arc::new(WatchBuffers::default());
        let object = |bytes: usize, n: i64| Arc::new(Object::new(json!({"data": "x".repeat(bytes)}), n));
        let (large, small) = (object(1000, 7), object(1, 8));
        let (grown, shrunk) = ((small.clone(), large.clone()), (large.clone(), small));
        for (before, now) in [grown, shrunk] {
            let event = Arc::new(Event::new(8, now, Some(before), false));
            let waits = Waits::new(&unsent, &event);
            assert_eq!(unsent.bytes(), PARSED * large.bytes.len());
            assert_eq!(Kept::new(&event).size(), large.bytes.len());
            drop(waits);
            assert_eq!(unsent.bytes(), 0);
        }
    }

    /// What watches hold is the cache's own first; when the cache lets it go it counts once, until
    /// the last watch has sent it.
    #[test]
    fn what_the_cache_lets_go_counts_while_a_watch_that_begins_holds_it() {
        let unsent = Arc::new(WatchBuffers::default());
        let object = |n: i64| Arc::new(Object::new(json!({"data": "x".repeat(1000)}), n));
        let all = [object(10), object(11)];
        let (bytes, entry) = (PARSED * all[0].bytes.len(), Beginning::<Object>::ENTRY);
        let begin = || Beginning::new(&unsent, all.to_vec());
        let (mut first, second) = (begin(), begin());
        assert_eq!(unsent.bytes(), 4 * entry, "the objects are current");
        unsent.let_go(&*all[0]);
        unsent.let_go(&*all[0]);
        assert_eq!(unsent.bytes(), bytes + 4 * entry);
        assert_eq!(first.pop().map(|one| one.revision), Some(10));
        assert_eq!(unsent.bytes(), bytes + 3 * entry, "the other one holds it");
        drop(second);
        assert_eq!(unsent.bytes(), entry);
        let third = begin();
        assert_eq!(unsent.bytes(), bytes + 3 * entry, "held again, and still let go");
        drop((first, third));
        assert_eq!(unsent.bytes(), 0);
        unsent.let_go(&*all[1]);
        assert_eq!(unsent.bytes(), 0, "nobody holds it");
    }

    /// The cache has let an object go, and its last watch sends it before the cache has counted it.
    /// A sum that cannot be negative was almost endless then, and the next one panicked.
    #[test]
    fn what_is_sent_before_it_was_counted_leaves_nothing_behind() {
        let unsent = WatchBuffers::default();
        let object = Object::new(json!({"data": "x"}), 7);
        unsent.hold(&object);
        let is_to_count = object.holds().let_go();
        unsent.release(&object);
        assert!(is_to_count && unsent.bytes() == 0);
        unsent.add(object.weight());
        assert_eq!(unsent.bytes(), 0);
    }

    /// Watchers of different objects, none of which reads: each is within its own bound, and all
    /// together are within theirs. The one that reads goes on.
    #[tokio::test(start_paused = true)]
    async fn the_slowest_of_many_watchers_that_do_not_read_are_ended() {
        let unsent = Arc::new(WatchBuffers::default());
        let keeper = unsent.clone();
        let keeping = tokio::spawn(async move { keeper.keep_bound().await });
        let ended = Arc::new(Mutex::new(vec![]));
        let (quick, mut reads) = channel(None, &unsent);
        let mut slow = vec![];
        for n in 0..100 {
            let (sender, receiver) = channel(None, &unsent);
            let order = ended.clone();
            receiver.at_end(move || order.lock().push(n));
            for revision in 0..5 {
                let object = json!({"data": "x".repeat(64 << 10)});
                let event = Event::new(revision, Arc::new(Object::new(object, revision)), None, false);
                let event = vec![(Change::Added, Arc::new(event))];
                assert!(sender.send(event.clone()) && quick.send(event));
                assert!(reads.recv().await.is_some());
            }
            slow.push((sender, receiver));
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(unsent.bytes() <= BUFFERED_MAX, "{} after {n} watchers", unsent.bytes());
        }
        let ended = ended.lock().clone();
        assert_eq!(ended, (0..ended.len()).collect::<Vec<_>>(), "the slowest ones first");
        let left = slow.iter().filter(|(sender, _)| !sender.is_closed()).count();
        assert!((30..60).contains(&left) && left + ended.len() == 100, "{left} of 100 are left");
        assert!(!reads.is_closed());
        assert!(reads.try_recv().is_none());
        // A watcher that was cut off for itself, and has not sent what it took before, is found as
        // well.
        let (sender, mut receiver) = channel(None, &unsent);
        let large = Object::new(json!({"data": "x".repeat(1 << 20)}), 7);
        let event = Arc::new(Event::new(7, Arc::new(large), None, false));
        assert!(sender.send(vec![(Change::Added, event.clone())]));
        let _out = receiver.recv().await.map(|_| unsent.of_event(Bytes::new(), &event));
        drop(slow);
        while sender.send(vec![(Change::Added, event.clone())]) {}
        assert!(unsent.slowest().is_some_and(|reader| reader.since() == Some(event.at)));
        drop((receiver, reads));
        assert!(unsent.slowest().is_none() && unsent.readers().all.is_empty());
        keeping.abort();
    }
}
