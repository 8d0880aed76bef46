//! The tasks that carry a container's output to its log and to attached sessions.

use super::super::log::{Cutter, Stream};
use super::super::output::Output;
use super::super::pumps::{REST_MAX, read_until};
use super::super::terminal::Terminal;
use super::streams::Streams;
use super::{Container, Stdin};
use cri::{Error, Result, Writer};
use linux::reap::Process;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::io::AsyncRead;
use tokio::net::unix::pipe;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

impl Container {
    /// Opens the log and starts the tasks that carry output to it and to attached sessions.
    pub(super) fn connect(
        self: &Arc<Self>,
        process: &Arc<Process>,
        master: Option<OwnedFd>,
        streams: Streams,
        output: &Output,
        over: &CancellationToken,
    ) -> Result<(Stdin, Option<Terminal>, JoinSet<()>)> {
        let io = |cause| Error::Io { what: "cannot watch the container's output".into(), cause };
        self.log.reopen().map_err(|cause| Error::Io {
            what: format!("cannot open the log {}", self.log.path().display()),
            cause,
        })?;
        let mut pumps = JoinSet::new();
        if let Some(master) = master {
            let terminal = Terminal::new(master).map_err(io)?;
            let (from, to) = (terminal.clone(), (Stream::Stdout, output.clone()));
            pumps.spawn(self.clone().pump(process.clone(), from, to, over.clone()));
            let stdin: Option<Writer> = self.config.stdin.then(|| Box::pin(terminal.clone()) as Writer);
            return Ok((Arc::new(tokio::sync::Mutex::new(stdin)), Some(terminal), pumps));
        }
        for (fd, stream) in [(streams.stdout, Stream::Stdout), (streams.stderr, Stream::Stderr)] {
            if let Some(fd) = fd {
                let reader = pipe::Receiver::from_owned_fd(fd).map_err(io)?;
                let to = (stream, output.clone());
                pumps.spawn(self.clone().pump(process.clone(), reader, to, over.clone()));
            }
        }
        let stdin = streams.stdin.map(pipe::Sender::from_owned_fd).transpose().map_err(io)?;
        let stdin = stdin.map(|sender| Box::pin(sender) as Writer);
        Ok((Arc::new(tokio::sync::Mutex::new(stdin)), None, pumps))
    }

    /// Carries output to the log and to attached sessions, as fast as the pod's [`super::pace`]
    /// allows, until its end, or until it is `over` and what was written is carried.
    async fn pump(
        self: Arc<Self>,
        process: Arc<Process>,
        mut from: impl AsyncRead + Unpin,
        (stream, output): (Stream, Output),
        over: CancellationToken,
    ) {
        let mut cutter = Cutter::new(stream);
        let mut buffer = vec![0; 16 * 1024];
        let mut rest = REST_MAX; // bytes that may still be read once it is over
        // It warns once, until the log can be written again: warnings must not fill a full disk.
        let mut warned = false;
        while let Some(length) = read_until(&mut from, &mut buffer, &over, &mut rest).await {
            let bytes = &buffer[..length];
            let entries = cutter.cut(bytes, clock::now());
            match self.log.write(&entries) {
                Err(e) if !std::mem::replace(&mut warned, true) => {
                    tracing::warn!(container = self.id, "cannot write the log: {e}");
                }
                done => warned = done.is_err(),
            }
            output.send(stream, bytes, || process.exit()).await;
            let wait = self.sandbox.pace.wrote(entries.len().max(length) as u64, clock::Instant::now());
            if !wait.is_zero() {
                // Once the process has ended, no more than the pipe is left, and that has to be in
                // the log soon.
                let _ = tokio::time::timeout(wait, process.exit()).await;
            }
        }
        let _ = self.log.write(&cutter.finish(clock::now()));
    }
}
