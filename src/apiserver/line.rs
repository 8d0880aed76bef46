//! The line of events that wait for one watcher.
//!
//! A client that reads slowly, or not at all, must neither hold up the others nor keep memory for ever. So a line has a bound,
//! in revisions and in bytes. At the bound the watcher is cut off and what waited is dropped at once, although its client may
//! never look again: such a client resumes from the last event that it saw, or lists again.

use super::cache::Together;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Revisions that a watcher may lag behind.
pub const REVISIONS_MAX: usize = 2048;
/// Bytes of objects that may wait, as many as the cache keeps of one resource's events: a watcher further behind could not resume.
const BYTES_MAX: usize = 8 << 20;
/// So many revisions may wait however large they are.
const REVISIONS_LEAST: usize = 16;

#[derive(Default)]
struct Waiting {
    events: VecDeque<Together>,
    bytes: usize,
    /// Nothing more comes.
    closed: bool,
    /// The watcher was too slow: what waited is lost.
    cut: bool,
}

#[derive(Default)]
struct Line {
    waiting: Mutex<Waiting>,
    news: Notify,
}

impl Line {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().closed = true;
        self.news.notify_one();
    }
}

/// The cache's end.
pub struct Sender(Arc<Line>);

/// The watcher's end.
pub struct Receiver(Arc<Line>);

/// A new line.
pub fn line() -> (Sender, Receiver) {
    let line = Arc::new(Line::default());
    (Sender(line.clone()), Receiver(line))
}

fn size(told: &Together) -> usize {
    told.iter().map(|(_, event)| event.object.bytes.len()).sum()
}

impl Sender {
    /// Adds what one revision did. False: the watcher has left, or is cut off now.
    pub fn send(&self, told: Together) -> bool {
        let bytes = size(&told);
        let mut waiting = self.0.lock();
        if waiting.closed {
            return false;
        }
        let count = waiting.events.len();
        if count >= REVISIONS_MAX || (count >= REVISIONS_LEAST && waiting.bytes + bytes > BYTES_MAX) {
            *waiting = Waiting { closed: true, cut: true, ..Waiting::default() };
        } else {
            waiting.bytes += bytes;
            waiting.events.push_back(told);
        }
        let goes_on = !waiting.closed;
        drop(waiting);
        self.0.news.notify_one();
        goes_on
    }

    /// Whether nobody wants more.
    pub fn is_closed(&self) -> bool {
        self.0.lock().closed
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Receiver {
    /// The next events; `None` when no more come. Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Together> {
        loop {
            if let Some(told) = self.try_recv() {
                return Some(told);
            }
            if self.is_closed() {
                // An event may have come between the two looks.
                return self.try_recv();
            }
            self.0.news.notified().await;
        }
    }

    /// The next events, if some wait.
    pub fn try_recv(&mut self) -> Option<Together> {
        let mut waiting = self.0.lock();
        let told = waiting.events.pop_front()?;
        waiting.bytes -= size(&told);
        Some(told)
    }

    /// Nothing more is wanted; what waits can still be taken.
    pub fn close(&mut self) {
        self.0.close();
    }

    /// Whether no more come than wait now.
    pub fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    /// Whether events are missing: the watcher was too slow.
    pub fn is_cut(&self) -> bool {
        self.0.lock().cut
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        *self.0.lock() = Waiting { closed: true, ..Waiting::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::super::object::{Change, Event, Object};
    use super::*;
    use serde_json::json;

    fn told(bytes: usize) -> Together {
        let object = Arc::new(Object::new(json!({"data": "x".repeat(bytes)}), 7));
        vec![(Change::Added, Arc::new(Event::new(7, object, None, false)))]
    }

    #[test]
    fn a_client_that_never_reads_keeps_a_bounded_memory() {
        let (sender, receiver) = line();
        let large = told(1 << 20);
        let object = Arc::downgrade(&large[0].1);
        let sent = (0..1000).take_while(|_| sender.send(large.clone())).count();
        assert_eq!(sent, REVISIONS_LEAST, "sixteen of a megabyte each are over the bound in bytes");
        drop(large);
        // Nothing reads, and what waited is gone all the same.
        assert!(object.upgrade().is_none() && receiver.is_cut() && receiver.is_closed());
        let (sender, _receiver) = line();
        let sent = (0..10_000).take_while(|_| sender.send(told(1))).count();
        assert_eq!(sent, REVISIONS_MAX);
    }

    #[tokio::test]
    async fn who_reads_gets_everything_in_order_and_then_the_end() {
        let (sender, mut receiver) = line();
        let reading = tokio::spawn(async move {
            let mut sizes = vec![];
            while let Some(told) = receiver.recv().await {
                sizes.push(size(&told));
            }
            (sizes, receiver.is_cut())
        });
        let mut sent = vec![];
        for n in 0..3 * REVISIONS_MAX {
            let told = told(n % 100);
            sent.push(size(&told));
            assert!(sender.send(told));
            if n % 1000 == 0 {
                while !sender.0.lock().events.is_empty() {
                    tokio::task::yield_now().await;
                }
            }
        }
        drop(sender);
        assert_eq!(reading.await.unwrap(), (sent, false));
        let (sender, receiver) = line();
        drop(receiver);
        assert!(sender.is_closed() && !sender.send(told(1)));
    }
}
