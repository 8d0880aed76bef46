//! A stream that keeps what is written to it in memory.

use parking_lot::{Mutex, MutexGuard};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Keeps up to a number of bytes of what is written to it, and drops the rest. Clones share what is
/// kept.
#[derive(Clone)]
pub struct Kept {
    bytes: Arc<Mutex<Vec<u8>>>,
    most: usize,
}

impl Kept {
    /// Keeps the first `most` bytes.
    pub fn up_to(most: usize) -> Kept {
        Kept { bytes: Arc::default(), most }
    }

    /// Keeps everything, without a bound: for output that is known to be small.
    #[cfg(test)]
    pub(crate) fn all() -> Kept {
        Kept::up_to(usize::MAX)
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock()
    }

    /// Appends bytes, as far as there is room.
    pub fn push(&self, bytes: &[u8]) {
        let mut kept = self.bytes();
        let room = self.most.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Takes what was kept so far.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.bytes())
    }

    /// What was kept so far, as text; bytes that are not UTF-8 become U+FFFD. It stays kept.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl tokio::io::AsyncWrite for Kept {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
