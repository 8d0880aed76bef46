//! A container's output on its way to attached sessions.
//!
//! While a client is attached the container's pipes are read no faster than it takes the output, so
//! nothing is lost, and a program that writes more than that waits, as with containerd. The log is
//! written first, and waits for nobody.

use super::log::Stream;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::mpsc;

/// Chunks on their way to one session.
const CHUNKS: usize = 256;
/// How many of them are kept for the rest of the output, which is in the pipes when the program
/// ends. Then nobody waits any more: the container's end does not depend on who looks on.
const FOR_THE_REST: usize = 32;
/// A session that takes nothing for so long is ended: a client that hangs would stop the program
/// for ever.
const STUCK: Duration = Duration::from_secs(60);

/// A piece of output.
pub type Chunk = (Stream, Bytes);

/// The sessions that are attached to a container.
#[derive(Clone, Default)]
pub struct Output(Arc<Mutex<Vec<mpsc::Sender<Chunk>>>>);

impl Output {
    fn sessions(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Chunk>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The output from now on. It ends with the container's, or when it was not taken for a minute.
    pub fn subscribe(&self) -> mpsc::Receiver<Chunk> {
        let (to, from) = mpsc::channel(CHUNKS);
        self.sessions().push(to);
        from
    }

    /// Gives all sessions a piece, and waits until each has room for it, or the program has
    /// `ended`.
    pub async fn send<E: Future>(&self, stream: Stream, bytes: &[u8], ended: impl Fn() -> E) {
        let sessions = self.sessions().clone();
        if sessions.is_empty() {
            return;
        }
        let chunk: Chunk = (stream, Bytes::copy_from_slice(bytes));
        let give = async |session: mpsc::Sender<Chunk>| {
            let is_given = tokio::select! {
                biased;
                room = tokio::time::timeout(STUCK, session.reserve_many(FOR_THE_REST + 1)) => match room {
                    Ok(Ok(mut room)) => room.next().map(|permit| permit.send(chunk.clone())).is_some(),
                    Ok(Err(_)) => false,
                    Err(_) => {
                        tracing::warn!("a session took no output of its container for {STUCK:?} and ends");
                        false
                    }
                },
                _ = ended() => session.try_send(chunk.clone()).is_ok(),
            };
            (!is_given).then_some(session)
        };
        let gone: Vec<_> = futures::future::join_all(sessions.into_iter().map(give)).await;
        for gone in gone.into_iter().flatten() {
            self.sessions().retain(|session| !session.same_channel(&gone));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never() -> std::future::Pending<()> {
        std::future::pending()
    }

    async fn send(output: &Output, number: u32, ended: bool) {
        let bytes = number.to_be_bytes();
        match ended {
            false => output.send(Stream::Stdout, &bytes, never).await,
            true => output.send(Stream::Stdout, &bytes, || std::future::ready(())).await,
        }
    }

    fn number((_, bytes): Chunk) -> u32 {
        u32::from_be_bytes(bytes[..].try_into().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_session_loses_nothing() {
        let output = Output::default();
        let (mut fast, mut slow) = (output.subscribe(), output.subscribe());
        let all = 3 * CHUNKS as u32;
        let write = async {
            for n in 0..all {
                send(&output, n, false).await;
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

    /// What is left in the pipes has room, however slow the session is; beyond it the session ends.
    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_session_once_the_program_has_ended() {
        let output = Output::default();
        let mut session = output.subscribe();
        let before = (CHUNKS - FOR_THE_REST) as u32;
        for n in 0..before {
            send(&output, n, false).await;
        }
        let begun = tokio::time::Instant::now();
        for n in before..CHUNKS as u32 + 2 {
            send(&output, n, true).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let mut read = 0;
        while let Some(chunk) = session.recv().await {
            assert_eq!(number(chunk), read);
            read += 1;
        }
        assert_eq!(read, CHUNKS as u32);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_hangs_stops_a_program_for_a_minute_and_not_for_ever() {
        let output = Output::default();
        let (hangs, mut reads) = (output.subscribe(), output.subscribe());
        drop(output.subscribe()); // gone at once
        let reading = tokio::spawn(async move {
            let mut all = 0;
            while reads.recv().await.is_some() {
                all += 1;
            }
            all
        });
        let begun = tokio::time::Instant::now();
        for n in 0..2 * CHUNKS as u32 {
            send(&output, n, false).await;
        }
        assert_eq!(begun.elapsed(), STUCK, "once");
        assert_eq!(output.sessions().len(), 1);
        drop((output, hangs));
        assert_eq!(reading.await.unwrap(), 2 * CHUNKS);
    }
}
