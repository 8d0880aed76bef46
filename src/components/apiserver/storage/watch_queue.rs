//! The queue of events that wait for one watcher.
//!
//! A client that reads slowly, or not at all, must neither hold up the others nor keep memory for
//! ever. So a queue has a bound, in revisions, in bytes and in time. At the bound the watcher is
//! cut off and what waited is dropped at once, although its client may never look again: such a
//! client resumes from the last event that it saw, or lists again. The bound in time is that of the
//! events that the cache keeps, so thousands of slow watchers together keep few objects that the
//! cache has forgotten.

use crate::flowcontrol::compute::Pace;
use crate::registry::filter::Filter;
use crate::storage::ring::{EventBatch, RING_AGE, RING_BYTES};
use crate::storage::watch_buffers::{Reader, Waits, WatchBuffers};
use clock::Instant;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::Notify;

/// Revisions that a watcher may lag behind.
pub(crate) const REVISIONS_MAX: usize = 2048;
/// Bytes of objects that may wait, as many as the cache keeps of one resource's events: a watcher
/// further behind could not resume.
const BYTES_MAX: usize = RING_BYTES;
/// Revisions that may wait however large they are.
const REVISIONS_LEAST: usize = 16;

#[derive(Default)]
struct Waiting {
    events: VecDeque<Queued>,
    bytes: usize,
    /// Nothing more comes.
    closed: bool,
    /// When the events happened that the watcher has taken and not sent yet; since it began, for
    /// what there was then.
    sending: Option<Instant>,
}

/// The events of one revision, counted among those that wait for all watchers.
struct Queued {
    batch: EventBatch,
    _waits: Vec<Waits>,
}

struct Queue {
    waiting: Mutex<Waiting>,
    news: Notify,
    unsent: Arc<WatchBuffers>,
    /// Gives back what the watcher's answer holds.
    at_end: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock()
    }

    fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }
}

impl Reader for Queue {
    fn since(&self) -> Option<Instant> {
        let waiting = self.lock();
        [waiting.sending, waiting.oldest()].into_iter().flatten().min()
    }

    fn end(&self) {
        let dropped = std::mem::replace(&mut *self.lock(), Waiting { closed: true, ..Waiting::default() });
        drop(dropped); // not under the lock: it may be much
        self.news.notify_one();
        if let Some(at_end) = self.at_end.get() {
            at_end();
        }
    }
}

/// The cache's end.
pub(crate) struct Sender(Arc<Queue>);

/// The watcher's end.
pub(crate) struct Receiver {
    queue: Arc<Queue>,
    /// Where the queue is listed among those of all watchers.
    number: u64,
    /// Judges the events, if the sender does not.
    filter: Option<Filter>,
}

/// Makes a queue. With a filter the watcher's own task judges what comes, and the sender's end
/// takes any events. `unsent` counts what waits.
pub(crate) fn channel(filter: Option<Filter>, unsent: &Arc<WatchBuffers>) -> (Sender, Receiver) {
    let queue = Arc::new(Queue {
        waiting: Mutex::new(Waiting { sending: Some(Instant::now()), ..Waiting::default() }),
        news: Notify::new(),
        unsent: unsent.clone(),
        at_end: OnceLock::new(),
    });
    let reader: Weak<dyn Reader> = Arc::downgrade(&(queue.clone() as Arc<dyn Reader>));
    let number = unsent.enter(reader);
    (Sender(queue.clone()), Receiver { queue, number, filter })
}

fn size(batch: &EventBatch) -> usize {
    batch.iter().map(|(_, event)| event.size()).sum()
}

impl Waiting {
    /// Drops what waits: its watcher is too slow.
    fn cut(&mut self) {
        // What it has taken before is still to be sent.
        *self = Waiting { closed: true, sending: self.sending, ..Waiting::default() };
    }

    /// Returns when the oldest event happened that waits.
    fn oldest(&self) -> Option<Instant> {
        self.events.front().and_then(|queued| queued.batch.first()).map(|(_, event)| event.at)
    }
}

impl Sender {
    /// Cuts the watcher off if it has left events waiting for too long. True: it goes on.
    pub(crate) fn keeps_up(&self, now: Instant) -> bool {
        let mut waiting = self.0.lock();
        if waiting.oldest().is_some_and(|at| now.saturating_duration_since(at) > RING_AGE) {
            waiting.cut();
            self.0.news.notify_one();
        }
        !waiting.closed
    }

    /// Adds what one revision did. False: the watcher has left, or is cut off now.
    pub(crate) fn send(&self, batch: EventBatch) -> bool {
        let bytes = size(&batch);
        let mut waiting = self.0.lock();
        if waiting.closed {
            return false;
        }
        let count = waiting.events.len();
        if count >= REVISIONS_MAX || (count >= REVISIONS_LEAST && waiting.bytes + bytes > BYTES_MAX) {
            waiting.cut();
        } else {
            waiting.bytes += bytes;
            let waits = batch.iter().map(|(_, event)| Waits::new(&self.0.unsent, event)).collect();
            waiting.events.push_back(Queued { batch, _waits: waits });
        }
        let goes_on = !waiting.closed;
        drop(waiting);
        self.0.news.notify_one();
        goes_on
    }

    /// Returns whether the watcher has left or is cut off.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().closed
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Receiver {
    /// Waits for the next events; `None` when no more come. Dropping the future loses nothing.
    pub(crate) async fn recv(&mut self) -> Option<EventBatch> {
        let mut pace = Pace::default();
        loop {
            while let Some(batch) = self.pop() {
                let batch = self.filtered(batch);
                if !batch.is_empty() {
                    return Some(batch);
                }
                pace.step(0).await;
            }
            if self.is_closed() {
                // An event may have come between the two looks.
                return self.try_recv();
            }
            self.queue.news.notified().await;
        }
    }

    /// Takes the next events, if some wait.
    pub(crate) fn try_recv(&mut self) -> Option<EventBatch> {
        while let Some(batch) = self.pop() {
            let batch = self.filtered(batch);
            if !batch.is_empty() {
                return Some(batch);
            }
        }
        None
    }

    fn pop(&mut self) -> Option<EventBatch> {
        let mut waiting = self.queue.lock();
        let Some(Queued { batch, .. }) = waiting.events.pop_front() else {
            waiting.sending = None; // a sender that asks for more has sent what it had
            return None;
        };
        waiting.bytes -= size(&batch);
        waiting.sending = batch.first().map(|(_, event)| event.at);
        Some(batch)
    }

    /// Sets what is called when the watcher is ended because too much waits for all watchers. Only
    /// the first call of this function counts.
    pub(crate) fn at_end(&self, give_back: impl Fn() + Send + Sync + 'static) {
        let _ = self.queue.at_end.set(Box::new(give_back));
    }

    /// Judges the events by the watcher's own filter, if it has one.
    fn filtered(&self, batch: EventBatch) -> EventBatch {
        let Some(filter) = &self.filter else { return batch };
        batch.into_iter().filter_map(|(_, event)| Some((filter.classify(&event)?, event))).collect()
    }

    /// Closes the queue for new events; those that wait can still be taken.
    pub(crate) fn close(&mut self) {
        self.queue.close();
    }

    /// Returns whether the queue has ended: no event comes behind those that wait now.
    pub(crate) fn is_closed(&self) -> bool {
        self.queue.lock().closed
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.queue.unsent.leave(self.number);
        *self.queue.lock() = Waiting { closed: true, ..Waiting::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::object::{Change, Event, Object};
    use serde_json::json;
    use std::time::Duration;

    fn batch(bytes: usize) -> EventBatch {
        let object = Arc::new(Object::new(json!({"data": "x".repeat(bytes)}), 7));
        vec![(Change::Added, Arc::new(Event::new(7, object, None, false)))]
    }

    #[test]
    fn a_client_that_never_reads_keeps_a_bounded_memory() {
        let (sender, receiver) = channel(None, &Arc::default());
        let large = batch(1 << 20);
        let object = Arc::downgrade(&large[0].1);
        let sent = (0..1000).take_while(|_| sender.send(large.clone())).count();
        assert_eq!(sent, REVISIONS_LEAST, "sixteen of a megabyte each are over the bound in bytes");
        drop(large);
        // Nothing reads, and what waited is gone all the same.
        assert!(object.upgrade().is_none() && receiver.is_closed());
        let (sender, _receiver) = channel(None, &Arc::default());
        let sent = (0..1000).take_while(|_| sender.send(batch(64 << 10))).count();
        assert!(
            (REVISIONS_LEAST..=RING_BYTES >> 16).contains(&sent),
            "{sent}: not more than the cache keeps"
        );
        let (sender, _receiver) = channel(None, &Arc::default());
        let sent = (0..10_000).take_while(|_| sender.send(batch(1))).count();
        assert_eq!(sent, REVISIONS_MAX);
    }

    /// Events that wait for a slow watcher keep objects alive no longer than the cache does, also
    /// if nothing comes after them.
    #[tokio::test(start_paused = true)]
    async fn a_watcher_that_leaves_events_waiting_for_too_long_is_cut_off() {
        let ((slow, late), (quick, mut reads)) =
            (channel(None, &Arc::default()), channel(None, &Arc::default()));
        let event = batch(10);
        let object = Arc::downgrade(&event[0].1);
        assert!(slow.send(event.clone()) && quick.send(event));
        assert!(reads.try_recv().is_some());
        tokio::time::advance(RING_AGE).await;
        assert!(slow.keeps_up(Instant::now()) && object.upgrade().is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!slow.keeps_up(Instant::now()) && late.is_closed() && object.upgrade().is_none());
        assert!(quick.keeps_up(Instant::now()) && !reads.is_closed());
    }

    /// A filter that its watcher judges itself: what does not match is passed over.
    #[tokio::test]
    async fn a_watcher_judges_its_own_dear_filter() {
        let labels = api::labels::Selector::parse("app in (a,b)").unwrap();
        let (sender, mut receiver) = channel(Some(Filter { labels, ..Filter::default() }), &Arc::default());
        for (revision, app) in [(1, "x"), (2, "a"), (3, "y"), (4, "b")] {
            let object = Arc::new(Object::new(json!({"metadata": {"labels": {"app": app}}}), revision));
            let event = Arc::new(Event::new(revision, object, None, false));
            sender.send(vec![(Change::Modified, event)]);
        }
        drop(sender);
        let mut seen = vec![];
        while let Some(batch) = receiver.recv().await {
            seen.extend(batch.iter().map(|(change, event)| (*change, event.revision)));
        }
        assert_eq!(seen, [(Change::Added, 2), (Change::Added, 4)]);
    }

    #[tokio::test]
    async fn who_reads_gets_everything_in_order_and_then_the_end() {
        let (sender, mut receiver) = channel(None, &Arc::default());
        let reading = tokio::spawn(async move {
            let mut sizes = vec![];
            while let Some(batch) = receiver.recv().await {
                sizes.push(size(&batch));
            }
            sizes
        });
        let mut sent = vec![];
        for n in 0..3 * REVISIONS_MAX {
            let batch = batch(n % 100);
            sent.push(size(&batch));
            assert!(sender.send(batch));
            if n % 1000 == 0 {
                while !sender.0.lock().events.is_empty() {
                    tokio::task::yield_now().await;
                }
            }
        }
        drop(sender);
        assert_eq!(reading.await.unwrap(), sent);
        let (sender, receiver) = channel(None, &Arc::default());
        drop(receiver);
        assert!(sender.is_closed() && !sender.send(batch(1)));
    }
}
