//! Seats: what one request holds, from its head to the last byte of its answer.
//!
//! A request takes a place and memory of the bounds ([`super::bounds`]). It gives them back when
//! the connection has written the answer, not when the answer is made: a client that sends requests
//! and reads no answers fills this process' memory otherwise, one answer after the other. Example:
//! a pod sends reviews of 2.9 MB, whose answers repeat them, and never reads. Each answer keeps its
//! place among the writes and its 2.9 MB of the pod's account, so the account is refused (429) when
//! its share is used up.
//!
//! Every answer of the server is the body that [`Seat::answer`] makes. The body hands out pieces; a
//! piece counts until the connection drops it, so what waits in the buffers of HTTP/2 counts as
//! well. Clients have deadlines, which [`Seats::sweep`] enforces: [`Patience`] says which. A
//! request that changes protocols (exec, port-forward, a watch over WebSocket) keeps its seat, and
//! its connection's place among the connections, until the session ends (`proxy`).

mod body;

use crate::flowcontrol::pool::Place;
use crate::request::connections::Counted;
use crate::request::http::Body;
use body::{Accounted, Piece};
use bytes::Bytes;
use clock::Instant;
use http_body::Body as _;
use http_body_util::BodyExt;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// An answer that its client has not read after this time is broken off. A connection on which no
/// byte of an answer moves for this long is closed.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(60);
/// How often it is looked which clients do not read.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Bytes of an answer that are handed to a connection at a time.
pub(crate) const PIECE: usize = 32 << 10;

/// The patience with a client that does not read its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// A whole answer must be read within [`ANSWER_TIME`].
    Answer,
    /// A watch lasts as long as its client reads: each piece within [`ANSWER_TIME`].
    Watch,
    /// Logs and sessions wait: a person reads them, perhaps through a pager. They hold few bytes,
    /// and their number is bounded.
    Session,
}

/// The places and the memory that one request holds. They are free again when the last handle is
/// dropped.
#[derive(Default)]
pub(crate) struct Seat {
    held: Mutex<Held>,
    /// The rest of the answer.
    answer: Mutex<Option<Unread>>,
    answered: OnceLock<Answered>,
    /// Pieces that were handed to the connection and are not written yet.
    unwritten: AtomicUsize,
    /// Whether the connection took the last piece and has not asked for another one.
    is_taken: AtomicBool,
    /// When a piece was last taken or written, in milliseconds since the answer began.
    moved: AtomicU64,
    /// Whether the work of the request may go on after its answer.
    outlives_answer: AtomicBool,
    connection: Option<Arc<Counted>>,
    /// Where this seat is listed for the sweep.
    listed: OnceLock<Listed>,
}

#[derive(Default)]
struct Held {
    /// The place among the requests in flight.
    place: Option<Place>,
    /// KiB of the request's body, and of its answer.
    memory: Option<Place>,
    /// The memory of the answer is counted elsewhere.
    is_covered: bool,
    /// Shares of other bounded things that the request has, kept only to be given back with it.
    others: Vec<Box<dyn Send>>,
}

struct Unread {
    body: Body,
    /// What was taken from the body and not yet handed on.
    rest: Bytes,
}

struct Answered {
    patience: Patience,
    since: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

impl Seat {
    /// Makes a seat for a request that came over this connection; `None` for a request of this
    /// process.
    pub(crate) fn new(connection: Option<Arc<Counted>>) -> Arc<Seat> {
        Arc::new(Seat { connection, ..Seat::default() })
    }

    /// Returns the connection that the request came over.
    pub(crate) fn connection(&self) -> Option<&Arc<Counted>> {
        self.connection.as_ref()
    }

    /// Holds a place among the requests in flight.
    pub(crate) fn hold_place(&self, place: Place) {
        lock(&self.held).place = Some(place);
    }

    /// Returns whether it holds a place among the requests in flight.
    pub(crate) fn has_place(&self) -> bool {
        lock(&self.held).place.is_some()
    }

    /// Returns how patient the server is with the reader of the answer, once there is one.
    #[cfg(test)]
    pub(crate) fn patience(&self) -> Option<Patience> {
        self.answered.get().map(|answered| answered.patience)
    }

    /// Makes the seat hold at least `kib` KiB of memory, with `take` for the first and
    /// [`Place::grow`] for more. False: there are not so many.
    pub(crate) fn hold_memory(&self, kib: usize, take: impl FnOnce(usize) -> Option<Place>) -> bool {
        let mut held = lock(&self.held);
        match &mut held.memory {
            Some(place) => place.count() >= kib || place.grow(kib - place.count()),
            memory => {
                *memory = take(kib);
                memory.is_some()
            }
        }
    }

    /// Holds the memory of the answer, which is counted elsewhere.
    pub(crate) fn cover(&self, memory: impl Send + 'static) {
        let mut held = lock(&self.held);
        held.is_covered = true;
        held.others.push(Box::new(memory));
    }

    /// Keeps everything until the last handle is dropped, at most for [`ANSWER_TIME`], also once
    /// the answer is written: a write that has begun goes on after the 504 that its client asked
    /// for with `timeout`, and has a handle. Otherwise a client could begin any number of writes in
    /// its one place.
    pub(crate) fn outlive_answer(&self) {
        self.outlives_answer.store(true, Ordering::Release);
    }

    /// Returns whether the memory of the answer is counted elsewhere.
    pub(crate) fn is_covered(&self) -> bool {
        lock(&self.held).is_covered
    }

    /// Returns the body of the answer, which holds the seat until its last piece is written.
    pub(crate) fn answer(self: &Arc<Seat>, body: Body, patience: Patience, seats: &Arc<Seats>) -> Body {
        let size = body.size_hint();
        *lock(&self.answer) = Some(Unread { body, rest: Bytes::new() });
        let _ = self.answered.set(Answered { patience, since: Instant::now() });
        if patience != Patience::Session {
            seats.list(self);
        }
        Accounted { seat: self.clone(), size }.boxed_unsync()
    }

    /// Counts bytes that a session writes as those of an answer, until they are dropped: a watch
    /// over WebSocket is a session, and its client has to read as that of any watch.
    pub(crate) fn unwritten(self: &Arc<Seat>, bytes: Bytes) -> Bytes {
        self.moved();
        Piece::counted(bytes, self)
    }

    fn moved(&self) {
        if let Some(answered) = self.answered.get() {
            let millis = u64::try_from(answered.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.moved.store(millis, Ordering::Release);
        }
    }

    /// Drops the rest of the answer.
    fn break_off(&self) {
        let rest = lock(&self.answer).take();
        drop(rest); // not under the lock: it may be long
    }

    /// Breaks the answer off for good, because memory is short. If pieces of it still wait in the
    /// connection, that ends as well: nothing else gives them back at once.
    pub(crate) fn give_up(&self) {
        self.break_off();
        if self.unwritten.load(Ordering::Acquire) > 0 {
            self.close_connection();
        }
        self.release();
    }

    fn close_connection(&self) {
        if let Some(connection) = &self.connection {
            tracing::debug!(from = %connection.source(), "closed a connection whose client does not read");
            connection.end.cancel();
        }
    }

    /// Gives back what an answer held of which nothing is left, although its client has not taken
    /// note of the end.
    fn release(&self) {
        if self.outlives_answer.load(Ordering::Acquire) {
            return;
        }
        if lock(&self.answer).is_none() && self.unwritten.load(Ordering::Acquire) == 0 {
            let held = std::mem::take(&mut *lock(&self.held));
            drop(held); // not under the lock: others wait for what it gives back
        }
    }

    /// Breaks off an answer that is not read in time, and closes a connection that takes nothing.
    fn check(&self, now: Instant) {
        let Some(Answered { patience, since }) = self.answered.get() else { return };
        if *patience == Patience::Answer && now >= *since + ANSWER_TIME {
            self.break_off();
            self.outlives_answer.store(false, Ordering::Release);
        }
        let waits = self.unwritten.load(Ordering::Acquire) > 0 || self.is_taken.load(Ordering::Acquire);
        let moved = *since + Duration::from_millis(self.moved.load(Ordering::Acquire));
        if waits && now >= moved + ANSWER_TIME {
            self.break_off();
            self.close_connection();
        }
        self.release();
    }
}

/// The entry of a seat in [`Seats`]; dropping it removes the seat from there.
struct Listed {
    seats: Arc<Seats>,
    number: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.seats.open).remove(&self.number);
    }
}

/// The seats whose answers are not written yet.
#[derive(Default)]
pub(crate) struct Seats {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Weak<Seat>>>,
}

impl Seats {
    fn list(self: &Arc<Seats>, seat: &Arc<Seat>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        lock(&self.open).insert(number, Arc::downgrade(seat));
        let _ = seat.listed.set(Listed { seats: self.clone(), number }); // a second one takes itself off the list
    }

    /// Ends what clients do not read.
    pub(crate) fn sweep(&self) {
        // Collected first: the last handle of a seat takes it off the list when it is dropped.
        let open: Vec<Arc<Seat>> = lock(&self.open).values().filter_map(Weak::upgrade).collect();
        let now = Instant::now();
        open.iter().for_each(|seat| seat.check(now));
    }
}

#[cfg(test)]
mod tests;
