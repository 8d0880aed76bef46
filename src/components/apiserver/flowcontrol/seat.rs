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

use crate::flowcontrol::pool::Place;
use crate::request::connections::Counted;
use crate::request::http::{Body, BodyError};
use bytes::Bytes;
use clock::Instant;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
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
    /// Of the requests in flight.
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
    /// A seat for a request that came over this connection; `None` for a request of this process.
    pub(crate) fn new(connection: Option<Arc<Counted>>) -> Arc<Seat> {
        Arc::new(Seat { connection, ..Seat::default() })
    }

    /// The connection that the request came over.
    pub(crate) fn connection(&self) -> Option<&Arc<Counted>> {
        self.connection.as_ref()
    }

    /// Holds a place among the requests in flight.
    pub(crate) fn take(&self, place: Place) {
        lock(&self.held).place = Some(place);
    }

    /// Whether it holds a place among the requests in flight.
    pub(crate) fn has_place(&self) -> bool {
        lock(&self.held).place.is_some()
    }

    /// How patient the server is with the reader of the answer, once there is one.
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

    /// Whether the memory of the answer is counted elsewhere.
    pub(crate) fn is_covered(&self) -> bool {
        lock(&self.held).is_covered
    }

    /// The body of the answer: it holds the seat until its last piece is written.
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

/// The body of an answer, in pieces.
struct Accounted {
    seat: Arc<Seat>,
    size: SizeHint,
}

/// Bytes that a connection is to write.
struct Piece {
    bytes: Bytes,
    seat: Arc<Seat>,
}

impl Piece {
    fn counted(bytes: Bytes, seat: &Arc<Seat>) -> Bytes {
        seat.unwritten.fetch_add(1, Ordering::AcqRel);
        Bytes::from_owner(Piece { bytes, seat: seat.clone() })
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.seat.moved();
        self.seat.unwritten.fetch_sub(1, Ordering::AcqRel);
    }
}

impl http_body::Body for Accounted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        this.seat.is_taken.store(false, Ordering::Release);
        let mut answer = lock(&this.seat.answer);
        let Some(unread) = answer.as_mut() else {
            return Poll::Ready(match this.size.exact() {
                Some(0) => None,
                _ => Some(Err(BodyError("the answer was not read in time".into()))),
            });
        };
        if unread.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut unread.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => unread.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => {
                    answer.take();
                    this.size = SizeHint::with_exact(0);
                    return Poll::Ready(end);
                }
            }
        }
        let piece = unread.rest.split_to(unread.rest.len().min(PIECE));
        drop(answer);
        if let Some(left) = this.size.exact() {
            this.size = SizeHint::with_exact(left.saturating_sub(piece.len() as u64));
        }
        this.seat.moved();
        this.seat.is_taken.store(true, Ordering::Release);
        Poll::Ready(Some(Ok(Frame::data(Piece::counted(piece, &this.seat)))))
    }

    fn is_end_stream(&self) -> bool {
        match self.size.exact() {
            Some(left) => left == 0,
            None => lock(&self.seat.answer)
                .as_ref()
                .is_some_and(|unread| unread.rest.is_empty() && unread.body.is_end_stream()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.size
    }
}

impl Drop for Accounted {
    fn drop(&mut self) {
        self.seat.is_taken.store(false, Ordering::Release);
        self.seat.break_off();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::user::User;
    use crate::flowcontrol::flow::Flow;
    use crate::flowcontrol::pool::Pool;
    use crate::request::connections::Connections;
    use crate::request::http::full;
    use crate::request::sources::Known;

    fn seat_of(pool: &Arc<Pool>) -> Arc<Seat> {
        let seat = Seat::new(None);
        seat.take(pool.take(&Flow::of(&User::new("bob", &[])), 1).unwrap());
        seat
    }

    async fn data(body: &mut Body) -> Bytes {
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    /// Long or short, an answer holds its place until the connection has written the last byte of
    /// it.
    #[tokio::test(start_paused = true)]
    async fn an_answer_holds_its_seat_to_its_last_byte() {
        let (pool, seats) = (Pool::new(8), Arc::new(Seats::default()));
        let long = Bytes::from(vec![7; 3 * PIECE + 1]);
        let mut body = seat_of(&pool).answer(full("short"), Patience::Answer, &seats);
        let piece = data(&mut body).await;
        assert!(body.is_end_stream() && piece == "short"[..]);
        drop(body);
        assert_eq!(pool.taken(), 1, "the connection has not written it");
        drop(piece);
        assert_eq!((pool.taken(), lock(&seats.open).len()), (0, 0));
        let mut body = seat_of(&pool).answer(full(long.clone()), Patience::Answer, &seats);
        assert_eq!(body.size_hint().exact(), Some(long.len() as u64));
        let first = data(&mut body).await;
        assert_eq!((first.len(), body.size_hint().exact()), (PIECE, Some(2 * PIECE as u64 + 1)));
        let rest = body.collect().await.unwrap().to_bytes();
        assert!([&first[..], &rest[..]].concat() == long[..]);
        assert_eq!(pool.taken(), 1);
        drop((first, rest));
        assert_eq!(pool.taken(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_goes_on_after_its_answer_keeps_its_place() {
        for outlives in [false, true] {
            let (pool, seats) = (Pool::new(8), Arc::new(Seats::default()));
            let answered = async || {
                let seat = seat_of(&pool);
                if outlives {
                    seat.outlive_answer();
                }
                let body = seat.answer(full("504"), Patience::Answer, &seats);
                drop(body.collect().await.unwrap());
                seats.sweep();
                assert_eq!(pool.taken(), usize::from(outlives), "the write has a handle of the seat");
                seat
            };
            drop(answered().await);
            assert_eq!(pool.taken(), 0);
            let _write = answered().await;
            tokio::time::advance(ANSWER_TIME).await;
            seats.sweep();
            assert_eq!(pool.taken(), 0, "no write takes so long");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_reads_is_broken_off_and_its_connection_closed() {
        let (pool, seats) = (Pool::new(8), Arc::new(Seats::default()));
        let connections = Connections::new(8, Known::default());
        let counted = Arc::new(connections.admit("10.0.0.1:7".parse().unwrap()).unwrap());
        let answer = |patience, connection: Option<&Arc<Counted>>| {
            let seat = Seat::new(connection.cloned());
            seat.take(pool.take(&Flow::of(&User::new("bob", &[])), 1).unwrap());
            seat.answer(full(vec![7; 9 * PIECE]), patience, &seats)
        };
        let late = ANSWER_TIME + Duration::from_millis(1);
        // A client that reads slowly: a whole answer has a time, a watch goes on.
        let (mut slow, mut watch) = (answer(Patience::Answer, None), answer(Patience::Watch, None));
        for _ in 0..3 {
            drop((data(&mut slow).await, data(&mut watch).await));
            tokio::time::advance(late / 3).await;
            seats.sweep();
        }
        assert_eq!(pool.taken(), 1, "what is broken off holds no place");
        assert!(slow.frame().await.unwrap().is_err(), "its client sees that something is missing");
        assert_eq!(data(&mut watch).await.len(), PIECE);
        drop((slow, watch));
        // One that takes nothing any more: what waits in its connection goes with the connection. A
        // log waits for its reader.
        for (patience, is_closed) in [(Patience::Session, false), (Patience::Watch, true)] {
            let mut body = answer(patience, Some(&counted));
            let _unwritten = data(&mut body).await;
            tokio::time::advance(late).await;
            seats.sweep();
            assert_eq!(counted.end.is_cancelled(), is_closed, "{patience:?}");
            assert_eq!(unread(&seats), 0, "nothing of it is kept");
        }
        assert_eq!(pool.taken(), 0);
    }

    /// Listed seats that keep something of their answer.
    fn unread(seats: &Seats) -> usize {
        let open: Vec<_> = lock(&seats.open).values().filter_map(Weak::upgrade).collect();
        open.iter().filter(|seat| lock(&seat.answer).is_some()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_watch_whose_client_reads_goes_on() {
        let seats = Arc::new(Seats::default());
        let (mut sender, channel) = http_body_util::channel::Channel::<Bytes, BodyError>::new(4);
        let mut body = Seat::new(None).answer(channel.boxed_unsync(), Patience::Watch, &seats);
        sender.send_data("a".into()).await.unwrap();
        assert_eq!(data(&mut body).await, "a");
        assert!(futures::FutureExt::now_or_never(body.frame()).is_none(), "nothing more for now");
        tokio::time::advance(10 * ANSWER_TIME).await;
        seats.sweep();
        sender.send_data("b".into()).await.unwrap();
        assert_eq!(data(&mut body).await, "b");
    }
}
