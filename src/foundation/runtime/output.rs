//! A container's output on its way to attached sessions.
//!
//! While a client is attached the container's pipes are read no faster than it takes the output, so
//! nothing is lost, and a program that writes more than that waits, as with containerd. A piece is
//! in the log before a session gets it. What comes after a piece that a session does not take is in
//! the pipe, and waits with the program: the log has it when the session has taken the piece, or
//! was ended because it hangs.

use super::log::Stream;
use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Pieces on their way to one session.
const PIECES: usize = 256;
/// How many of them are kept for the rest of the output, which is in the pipes when the program
/// ends. Then nothing waits any more: the container's end does not depend on its sessions.
const FOR_THE_REST: usize = 32;
/// A session that takes nothing for so long is ended: a client that hangs would stop the program
/// for ever.
const STUCK: Duration = Duration::from_secs(60);

/// A piece of output.
pub(crate) type Piece = (Stream, Bytes);

/// A piece with its place among those that a running program may be ahead; those of the rest have
/// none.
type Placed = (Piece, Option<OwnedSemaphorePermit>);

/// The end of a session to which output is given. Two pumps, of the two streams, wait for places
/// at a time. They do not wait on the channel: a pump that gave up waiting would leave its room to
/// the other one, and find none for the rest.
#[derive(Clone)]
struct Session {
    to: mpsc::Sender<Placed>,
    places: Arc<Semaphore>,
}

impl Session {
    /// Gives it a piece, and waits for a place until the program has `ended`. `false`: the session
    /// has ended, or hangs.
    async fn give<E: Future>(&self, piece: Piece, ended: impl Fn() -> E) -> bool {
        let place = tokio::select! {
            biased;
            () = self.to.closed() => return false,
            place = tokio::time::timeout(STUCK, self.places.clone().acquire_owned()) => match place {
                Ok(place) => place.ok(),
                Err(_) => {
                    tracing::warn!("a session took no output of its container for {STUCK:?} and ends");
                    return false;
                }
            },
            _ = ended() => None,
        };
        self.to.try_send((piece, place)).is_ok()
    }
}

/// The output of a container from one moment on, for one session.
pub(crate) struct Pieces(mpsc::Receiver<Placed>);

impl Pieces {
    /// Returns the next piece. `None`: the output has ended, or was not taken for a minute.
    pub(crate) async fn recv(&mut self) -> Option<Piece> {
        self.0.recv().await.map(|(piece, _)| piece)
    }

    /// Returns the next piece if there is one already.
    pub(crate) fn try_recv(&mut self) -> Option<Piece> {
        self.0.try_recv().ok().map(|(piece, _)| piece)
    }
}

/// The sessions that are attached to a container.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<Mutex<Vec<Session>>>);

impl Output {
    fn sessions(&self) -> MutexGuard<'_, Vec<Session>> {
        self.0.lock()
    }

    /// Subscribes a session to the output from now on.
    pub(crate) fn subscribe(&self) -> Pieces {
        let (to, from) = mpsc::channel(PIECES);
        let places = Arc::new(Semaphore::new(PIECES - FOR_THE_REST));
        let mut sessions = self.sessions();
        sessions.retain(|session| !session.to.is_closed());
        sessions.push(Session { to, places });
        Pieces(from)
    }

    /// Gives all sessions a piece, and waits until each has room for it, or the program has
    /// `ended`.
    pub(crate) async fn send<E: Future>(&self, stream: Stream, bytes: &[u8], ended: impl Fn() -> E) {
        let sessions = self.sessions().clone();
        if sessions.is_empty() {
            return;
        }
        let piece: Piece = (stream, Bytes::copy_from_slice(bytes));
        let give = sessions.iter().map(|session| session.give(piece.clone(), &ended));
        let given = futures::future::join_all(give).await;
        let gone = sessions.iter().zip(given).filter(|(_, is_given)| !is_given);
        for (gone, _) in gone {
            self.sessions().retain(|session| !session.to.same_channel(&gone.to));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::watch;

    const PLACES: u32 = (PIECES - FOR_THE_REST) as u32;

    /// Sends a number, of a program that ends when `end` says so.
    async fn send(output: &Output, stream: Stream, number: u32, end: &watch::Sender<bool>) {
        let ended = || {
            let mut end = end.subscribe();
            async move { drop(end.wait_for(|ended| *ended).await) }
        };
        output.send(stream, &number.to_be_bytes(), ended).await;
    }

    fn number((_, bytes): Piece) -> u32 {
        u32::from_be_bytes(bytes[..].try_into().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_session_loses_nothing() {
        let (output, end) = (Output::default(), watch::Sender::new(false));
        let (mut fast, mut slow) = (output.subscribe(), output.subscribe());
        let all = 3 * PLACES;
        let write = async {
            for n in 0..all {
                send(&output, Stream::Stdout, n, &end).await;
            }
        };
        let read = async {
            for n in 0..all {
                assert_eq!(number(fast.recv().await.unwrap()), n);
            }
        };
        let read_slowly = async {
            for n in 0..all {
                tokio::time::sleep(Duration::from_millis(50)).await;
                assert_eq!(number(slow.recv().await.unwrap()), n);
            }
        };
        tokio::join!(write, read, read_slowly);
    }

    /// Both streams wait for a place when the program ends. What is left in the pipes has room
    /// then, however slow the session is; beyond it the session ends.
    #[tokio::test(start_paused = true)]
    async fn no_pump_waits_for_a_session_once_the_program_has_ended() {
        let (output, end) = (Output::default(), watch::Sender::new(false));
        let mut session = output.subscribe();
        for n in 0..PLACES {
            send(&output, Stream::Stdout, n, &end).await;
        }
        let begun = tokio::time::Instant::now();
        let pump = async |stream: Stream, first: u32| {
            for n in 0..FOR_THE_REST as u32 / 2 {
                send(&output, stream, first + n, &end).await;
            }
        };
        let finish = async {
            tokio::task::yield_now().await;
            end.send_replace(true);
        };
        tokio::join!(pump(Stream::Stdout, 1000), pump(Stream::Stderr, 2000), finish);
        send(&output, Stream::Stderr, 3000, &end).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert!(output.sessions().is_empty(), "there was no room for the last one");
        let mut read = Vec::new();
        while let Some(piece) = session.recv().await {
            read.push(number(piece));
        }
        read.sort_unstable();
        let rest = FOR_THE_REST as u32 / 2;
        assert_eq!(read, (0..PLACES).chain(1000..1000 + rest).chain(2000..2000 + rest).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_hangs_stops_a_program_for_a_minute_and_not_for_ever() {
        let (output, end) = (Output::default(), watch::Sender::new(false));
        let (hangs, mut reads) = (output.subscribe(), output.subscribe());
        let reading = tokio::spawn(async move {
            let mut all = 0;
            while reads.recv().await.is_some() {
                all += 1;
            }
            all
        });
        let begun = tokio::time::Instant::now();
        for n in 0..2 * PLACES {
            send(&output, Stream::Stdout, n, &end).await;
        }
        assert_eq!(begun.elapsed(), STUCK, "once");
        assert_eq!(output.sessions().len(), 1);
        drop((output, hangs));
        assert_eq!(reading.await.unwrap(), 2 * PLACES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_goes_delays_no_program_and_is_forgotten() {
        let (output, end) = (Output::default(), watch::Sender::new(false));
        let goes = output.subscribe();
        for n in 0..PLACES {
            send(&output, Stream::Stdout, n, &end).await;
        }
        let begun = tokio::time::Instant::now();
        tokio::join!(send(&output, Stream::Stdout, PLACES, &end), async { drop(goes) });
        assert_eq!((begun.elapsed(), output.sessions().len()), (Duration::ZERO, 0));
        // A container that is silent is attached to again and again.
        for _ in 0..3 {
            drop(output.subscribe());
        }
        assert_eq!(output.sessions().len(), 1);
    }
}
