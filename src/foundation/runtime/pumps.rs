//! The end of the tasks that carry a container's output: when they stop reading.

use futures::FutureExt;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::task::JoinSet;
use tokio::task::coop::unconstrained;
use tokio_util::sync::CancellationToken;

/// How long a container's output may go on after its first process: a process that it left behind
/// may hold the pipe.
const DRAIN: Duration = Duration::from_secs(1);
/// Bytes of one stream that are still read after that, if they lie in the pipe already: the most
/// that a pipe of a process without rights holds (`/proc/sys/fs/pipe-max-size`), and what every
/// pipe holds where a page has 64 KiB. A process that writes on and on is read no further.
pub(crate) const REST_MAX: usize = 1 << 20;

/// The tasks that carry a container's output.
pub(crate) struct Pumps {
    pub tasks: JoinSet<()>,
    /// Ends them although something still holds the other end.
    pub over: CancellationToken,
}

impl Pumps {
    /// Waits until all output was carried. After [`DRAIN`] no new output is waited for: what lies
    /// in the pipes then is carried, also by a pump that was held up by a slow disk, and so is the
    /// beginning of a line that has no end yet.
    pub(crate) async fn end(self) {
        let Pumps { mut tasks, over } = self;
        let all = async { while tasks.join_next().await.is_some() {} };
        tokio::pin!(all);
        if tokio::time::timeout(DRAIN, &mut all).await.is_err() {
            over.cancel();
            all.await;
        }
    }
}

/// Reads some bytes. Once it is `over` it waits for none, and reads at most `rest` more. `None`:
/// the other end is closed, or it is over and no byte is left or may be read.
pub(crate) async fn read_until(
    from: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
    over: &CancellationToken,
    rest: &mut usize,
) -> Option<usize> {
    tokio::select! {
        biased;
        () = over.cancelled() => {}
        read = from.read(buffer) => return read.ok().filter(|length| *length > 0),
    }
    let most = buffer.len().min(*rest);
    // Unconstrained: to a task that has used up its budget tokio answers as if the pipe were empty.
    let read = unconstrained(from.read(&mut buffer[..most])).now_or_never()?;
    let length = read.ok().filter(|length| *length > 0)?;
    *rest -= length;
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::super::log::{Cutter, Log, Stream};
    use super::*;
    use std::sync::Arc;
    use tokio::io::{AsyncWriteExt, DuplexStream};

    const PIECE: usize = 64;

    /// Carries output to a log; the disk takes the time `slow` for each piece.
    fn pump(log: &Arc<Log>, mut from: DuplexStream, over: &CancellationToken, slow: Duration) -> JoinSet<()> {
        let (log, over, mut tasks) = (log.clone(), over.clone(), JoinSet::new());
        tasks.spawn(async move {
            let (mut cutter, mut buffer) = (Cutter::new(Stream::Stdout), [0; PIECE]);
            let mut rest = REST_MAX;
            while let Some(length) = read_until(&mut from, &mut buffer, &over, &mut rest).await {
                tokio::time::sleep(slow).await;
                log.write(&cutter.cut(&buffer[..length], clock::now())).unwrap();
            }
            log.write(&cutter.finish(clock::now())).unwrap();
        });
        tasks
    }

    /// Returns the log of a container that wrote this and has ended, while another process holds
    /// its pipe for hours.
    async fn log_of(written: &str, slow: Duration) -> String {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(Log::open(&dir.path().join("0.log"), cri::LogLimits::default()).unwrap());
        let (mut held, from) = tokio::io::duplex(4 * PIECE);
        let over = CancellationToken::new();
        let tasks = pump(&log, from, &over, slow);
        held.write_all(written.as_bytes()).await.unwrap();
        Pumps { tasks, over }.end().await;
        std::fs::read_to_string(log.path()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn output_without_a_line_end_is_kept_when_something_still_holds_the_pipe() {
        let text = log_of("a line\nand half", Duration::ZERO).await;
        assert!(text.contains("stdout F a line\n") && text.ends_with("stdout P and half\n"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_disk_loses_nothing_that_lies_in_the_pipe() {
        let line = |n: usize| format!("{n:.>width$}\n", width = PIECE - 1);
        let text = log_of(&(0..4).map(line).collect::<String>(), 2 * DRAIN).await;
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!((0..4).all(|n| text.contains(&line(n))), "{text}");
    }

    /// Even one that writes faster than it is read.
    #[tokio::test]
    async fn a_process_that_was_left_behind_is_read_no_further_than_a_pipe_holds() {
        let over = CancellationToken::new();
        over.cancel();
        let (mut from, mut buffer) = (tokio::io::repeat(b'x'), [0; 1024]);
        let (mut read, mut rest) = (0, REST_MAX);
        while let Some(length) = read_until(&mut from, &mut buffer, &over, &mut rest).await {
            read += length;
        }
        assert_eq!((read, rest), (REST_MAX, 0));
    }
}
