//! Bytes of a client that wait for the ports they are forwarded to.
//!
//! All forwarded connections share one connection of the client, and neither protocol lets the
//! kubelet hold back one of them: SPDY has windows, but no Kubernetes client honours them
//! (moby/spdystream), and WebSocket has none. So bytes of a port that does not read wait here, up
//! to a bound for all together, while the others go on. At the bound nothing more is read from the
//! client; a port that takes less than [`LEAST`] in [`STALLED`] then is given up.

use clock::Instant;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Bytes of all forwarded connections of a client that wait for their ports. A frame of SPDY and a
/// message of WebSocket are shorter.
const WAITING_MAX: usize = 4 << 20;
/// Where less than this is free, a frame or message of the largest size would wait, and with it all
/// connections.
const CROWDED: usize = 1 << 20;
/// Bytes that each piece counts beside its own.
const PIECE: usize = 64;
/// Pieces of one port, with the end behind them: no more than this have a part of [`WAITING_MAX`],
/// so the queue of a port is never full.
const PIECES_MAX: usize = WAITING_MAX / PIECE + 1;
/// A port that takes less than [`LEAST`] in this time, although more waits for it, is given up if
/// others wait.
pub(super) const STALLED: Duration = Duration::from_secs(10);
/// Bytes, with what pieces count beside theirs. One byte now and then is no progress for those who
/// wait.
const LEAST: usize = 64 << 10;

/// Bytes with their part of [`WAITING_MAX`]; `None`: the client has sent all.
type Piece = Option<(Vec<u8>, OwnedSemaphorePermit)>;

/// Bytes that wait for the ports of one client's connection, as a bound for all together.
pub(super) struct WaitingBytes(Arc<Semaphore>);

/// The end at which bytes for one port arrive.
pub(super) struct Queue {
    pieces: mpsc::Sender<Piece>,
    room: Arc<Semaphore>,
}

/// The end from which they go to the port.
pub(super) struct Inward {
    pieces: mpsc::Receiver<Piece>,
    room: Arc<Semaphore>,
}

/// The port took next to nothing for [`STALLED`] and kept others waiting.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stalled;

impl Default for WaitingBytes {
    fn default() -> WaitingBytes {
        WaitingBytes(Arc::new(Semaphore::new(WAITING_MAX)))
    }
}

impl WaitingBytes {
    /// Makes the queue of one port.
    pub(super) fn queue(&self) -> (Queue, Inward) {
        let (pieces, inward) = mpsc::channel(PIECES_MAX);
        (Queue { pieces, room: self.0.clone() }, Inward { pieces: inward, room: self.0.clone() })
    }

    /// Waits until the ports have taken all that waits: what a client sent before it left.
    pub(super) async fn settled(&self) {
        let _ = self.0.acquire_many(WAITING_MAX as u32).await; // it is never closed
    }
}

impl Queue {
    /// Adds bytes, once there is room for them.
    pub(super) async fn push(&self, bytes: Vec<u8>) {
        let size = u32::try_from(bytes.len() + PIECE).unwrap_or(u32::MAX);
        tokio::select! {
            room = self.room.clone().acquire_many_owned(size) => {
                // It is never closed; a port that has gone away needs nothing.
                let _ = room.map(|room| self.pieces.try_send(Some((bytes, room))));
            }
            () = self.pieces.closed() => {}
        }
    }

    /// Notes that the client has sent all.
    pub(super) fn end(&self) {
        let _ = self.pieces.try_send(None); // a port that has gone away needs no end
    }
}

impl Inward {
    /// Writes to the port until the client has sent all or the port takes no more.
    ///
    /// # Errors
    /// The port took less than [`LEAST`] in [`STALLED`] while there was no room for others' bytes.
    pub(super) async fn write_to<W: AsyncWrite + Unpin>(mut self, port: &mut W) -> Result<(), Stalled> {
        let (mut since, mut taken) = (Instant::now(), 0);
        loop {
            let next = match self.pieces.try_recv() {
                Ok(next) => Some(next),
                Err(_) => {
                    let next = self.pieces.recv().await;
                    (since, taken) = (Instant::now(), 0); // it had taken all there was
                    next
                }
            };
            let Some(Some((bytes, _room))) = next else { break };
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                match tokio::time::timeout_at(since + STALLED, port.write(rest)).await {
                    Ok(Ok(0) | Err(_)) => return Ok(()),
                    Ok(Ok(count)) => {
                        rest = &rest[count..];
                        taken += count;
                    }
                    Err(_) if taken < LEAST && self.room.available_permits() < CROWDED => {
                        return Err(Stalled);
                    }
                    Err(_) => (since, taken) = (Instant::now(), 0),
                }
            }
            taken += PIECE;
        }
        let _ = port.shutdown().await; // it may have ended already
        Ok(())
    }
}

/// Returns the error that a client gets when port forwarding gives up a port.
pub(super) fn stalled(port: u16) -> String {
    format!("port {port} read next to nothing for {}s and kept other connections waiting", STALLED.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    const LONG: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn a_port_that_does_not_read_is_given_up_once_others_wait() {
        let waiting = WaitingBytes::default();
        let ((silent, to_silent), (other, to_other)) = (waiting.queue(), waiting.queue());
        let (mut near, _far) = tokio::io::duplex(64);
        let (mut other_near, mut other_far) = tokio::io::duplex(64);
        let given_up = tokio::spawn(async move { to_silent.write_to(&mut near).await });
        let served = tokio::spawn(async move { to_other.write_to(&mut other_near).await });
        for _ in 0..3 {
            silent.push(vec![0; LONG]).await;
        }
        let mut byte = [0; 4];
        other.push(b"some".to_vec()).await;
        other_far.read_exact(&mut byte).await.unwrap();
        // No room is left for the other one: it gets some as soon as the silent one is given up.
        let start = tokio::time::Instant::now();
        let long = vec![1; LONG];
        let (pushed, read) = tokio::join!(other.push(long), async {
            let mut all = vec![0; LONG];
            other_far.read_exact(&mut all).await.map(|_| all)
        });
        let ((), all) = (pushed, read.unwrap());
        assert!(all.iter().all(|byte| *byte == 1) && start.elapsed() <= 2 * STALLED);
        assert_eq!(given_up.await.unwrap(), Err(Stalled));
        assert!(silent.pieces.is_closed() && !other.pieces.is_closed());
        other.end();
        assert_eq!(served.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_that_trickles_is_given_up_once_others_wait() {
        let waiting = WaitingBytes::default();
        let (queue, inward) = waiting.queue();
        let (mut near, mut far) = tokio::io::duplex(64);
        let served = tokio::spawn(async move { inward.write_to(&mut near).await });
        let trickle = tokio::spawn(async move {
            while far.read_u8().await.is_ok() {
                tokio::time::sleep(STALLED / 2).await;
            }
        });
        for _ in 0..3 {
            queue.push(vec![0; LONG]).await;
        }
        let given_up = tokio::time::timeout(2 * STALLED, served).await;
        assert_eq!(given_up.expect("a byte now and then is no progress").unwrap(), Err(Stalled));
        trickle.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_that_pauses_and_holds_up_no_other_is_waited_for() {
        let waiting = WaitingBytes::default();
        let (queue, inward) = waiting.queue();
        let (mut near, mut far) = tokio::io::duplex(64);
        let served = tokio::spawn(async move { inward.write_to(&mut near).await });
        queue.push(vec![7; LONG]).await;
        queue.end();
        tokio::time::sleep(20 * STALLED).await;
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!((all.len(), served.await.unwrap()), (LONG, Ok(())));
        waiting.settled().await;
    }
}
