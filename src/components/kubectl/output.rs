//! The output of a command: text is queued in order, and written before the next wait.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

type Sink = Box<dyn AsyncWrite + Send + Unpin>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

/// Standard output and standard error of one command.
pub(crate) struct Output {
    queue: Mutex<Vec<(Stream, Vec<u8>)>>,
    sinks: tokio::sync::Mutex<(Sink, Sink)>,
    /// Standard output takes no more: its reader left, or its disk is full.
    pub gone: CancellationToken,
    /// The kernel's first error of a write to standard output.
    lost: Mutex<Option<std::io::Error>>,
    /// Ctrl-C is how the command usually ends, and no failure.
    ends_by_interrupt: AtomicBool,
}

impl Output {
    /// Output that writes to these two streams, in the order in which text was queued.
    pub(crate) fn new(stdout: Sink, stderr: Sink) -> Output {
        Output {
            queue: Mutex::default(),
            sinks: tokio::sync::Mutex::new((stdout, stderr)),
            gone: CancellationToken::new(),
            lost: Mutex::default(),
            ends_by_interrupt: AtomicBool::new(false),
        }
    }

    /// From now on an interrupt ends the command with 0.
    pub(crate) fn end_by_interrupt(&self) {
        self.ends_by_interrupt.store(true, Ordering::Relaxed);
    }

    /// Returns whether an interrupt ends the command with 0.
    pub(crate) fn ends_by_interrupt(&self) -> bool {
        self.ends_by_interrupt.load(Ordering::Relaxed)
    }

    /// Takes the reason why a part of the answer could not be written, if there is one.
    pub(crate) fn take_lost(&self) -> Option<std::io::Error> {
        self.lost.lock().take()
    }

    fn push(&self, stream: Stream, bytes: &[u8]) {
        let mut queue = self.queue.lock();
        match queue.last_mut() {
            Some((last, text)) if *last == stream => text.extend_from_slice(bytes),
            _ => queue.push((stream, bytes.to_vec())),
        }
    }

    /// Queues text for standard output.
    pub(crate) fn out(&self, text: &str) {
        self.push(Stream::Out, text.as_bytes());
    }

    /// Queues bytes for standard output.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        self.push(Stream::Out, bytes);
    }

    /// Queues text for standard error.
    pub(crate) fn err(&self, text: &str) {
        self.push(Stream::Err, text.as_bytes());
    }

    pub(crate) fn err_bytes(&self, bytes: &[u8]) {
        self.push(Stream::Err, bytes);
    }

    /// Writes what is queued. A reader that is gone ends the command, as SIGPIPE would.
    pub(crate) async fn flush(&self) {
        let mut sinks = self.sinks.lock().await;
        loop {
            let queued = std::mem::take(&mut *self.queue.lock());
            if queued.is_empty() {
                return;
            }
            for (stream, bytes) in queued {
                let sink = if stream == Stream::Out { &mut sinks.0 } else { &mut sinks.1 };
                let written = match sink.write_all(&bytes).await {
                    Ok(()) => sink.flush().await,
                    failed => failed,
                };
                if let Err(error) = written
                    && stream == Stream::Out
                {
                    self.lost.lock().get_or_insert(error);
                    self.gone.cancel();
                }
            }
        }
    }
}
