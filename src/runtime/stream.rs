//! Sessions: somebody outside talks to a process inside.

use super::container::{Container, Live, Stdin, Streams};
use super::log::Stream;
use super::node::Shared;
use super::spec::{Request, Role, What};
use super::terminal::Terminal;
use super::zygote::{Started, Unborn};
use crate::cri::{Error, ExecRequest, Reader, Result, Session, Size, Writer};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::unix::pipe;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// A process whose caller is gone may not exist yet, so it is looked for again after this time, this often at most.
const KILL_AGAIN: Duration = Duration::from_millis(100);
const KILLS_MAX: usize = 100;
/// Bytes in flight between a session and a container before the writer waits.
const BUFFER: usize = 64 * 1024;

fn io(cause: std::io::Error) -> Error {
    Error::Io { what: "cannot make a session".into(), cause }
}

/// Runs another program in a container. When the session's `exit` is dropped the program is killed; when the caller is gone before there is a
/// session, so is the process that was to become the program, whatever it waits for.
///
/// Errors: `Start` in runc's words.
pub async fn exec(
    shared: &Shared,
    container: &Container,
    request: ExecRequest,
    caller_gone: CancellationToken,
) -> Result<Session> {
    let live = container.live()?;
    let entry = live.group.entry().map_err(|e| Error::Start(e.line()))?;
    let (streams, theirs) = Streams::make(request.tty, request.stdin).map_err(io)?;
    let mut given = vec![(Role::Container, live.process.pidfd())];
    given.extend(theirs.iter().map(|(role, fd)| (*role, fd.as_fd())));
    given.extend(entry.directory.as_ref().map(|fd| (Role::Cgroup, fd.as_fd())));
    let what = What::Exec(Box::new(container.exec_process(request.command, request.tty)));
    let users = container.sandbox.first_user();
    let wanted = Request { roles: vec![], ids: shared.ids, users, tasks: entry.tasks.clone(), what };
    let unborn = Unborn::default();
    let run = started_or_killed(shared.zygote.run(wanted, &given, &unborn), &unborn, caller_gone);
    let started = run.await.map_err(|e| match e {
        Error::Start(reason) => Error::Start(format!(
            "OCI runtime exec failed: exec failed: unable to start container process: {reason}: unknown"
        )),
        other => other,
    })?;
    drop(theirs);
    let (done, exit) = oneshot::channel();
    let mut session = match started.terminal {
        Some(master) => of_terminal(shared, Terminal::new(master).map_err(io)?, exit, request.stdin),
        None => of_pipes(streams, exit)?,
    };
    if !request.stdin {
        session.stdin = None;
    }
    shared.crew.spawn(async move {
        let mut done = done;
        let exit = tokio::select! {
            exit = started.process.exit() => exit,
            () = done.closed() => {
                let _ = started.process.signal(nix::libc::SIGKILL); // ESRCH: it has ended
                started.process.exit().await
            }
        };
        let _ = done.send(exit.code()); // nobody waits any more
    });
    Ok(session)
}

/// Waits for a start. Once its caller is gone, the process that exists by then, or comes to exist, is killed, which ends the start.
async fn started_or_killed(
    start: impl Future<Output = Result<Started>>,
    unborn: &Unborn,
    caller_gone: CancellationToken,
) -> Result<Started> {
    tokio::pin!(start);
    tokio::select! {
        biased;
        started = &mut start => return started,
        () = caller_gone.cancelled() => {}
    }
    for _ in 0..KILLS_MAX {
        let process = unborn.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        if let Some(process) = process {
            let _ = process.signal(nix::libc::SIGKILL); // ESRCH: it has ended
        }
        if let Ok(started) = tokio::time::timeout(KILL_AGAIN, &mut start).await {
            return started;
        }
    }
    Err(Error::State("the caller of exec is gone, and its process did not end".into()))
}

fn of_terminal(shared: &Shared, terminal: Terminal, exit: oneshot::Receiver<i32>, stdin: bool) -> Session {
    Session {
        stdin: stdin.then(|| Box::pin(terminal.clone()) as Writer),
        stdout: Box::pin(terminal.clone()),
        stderr: None,
        resize: Some(resizer(shared, terminal)),
        exit,
    }
}

fn of_pipes(streams: Streams, exit: oneshot::Receiver<i32>) -> Result<Session> {
    let receive = |fd: Option<std::os::fd::OwnedFd>| -> Result<Reader> {
        let fd = fd.ok_or_else(|| Error::State("no output".into()))?;
        Ok(Box::pin(pipe::Receiver::from_owned_fd(fd).map_err(io)?))
    };
    let stdin = streams.stdin.map(pipe::Sender::from_owned_fd).transpose().map_err(io)?;
    Ok(Session {
        stdin: stdin.map(|sender| Box::pin(sender) as Writer),
        stdout: receive(streams.stdout)?,
        stderr: Some(receive(streams.stderr)?),
        resize: None,
        exit,
    })
}

fn resizer(shared: &Shared, terminal: Terminal) -> mpsc::Sender<Size> {
    let (send, mut sizes) = mpsc::channel::<Size>(4);
    shared.crew.spawn(async move {
        while let Some(size) = sizes.recv().await {
            let _ = terminal.resize(size.columns, size.rows); // the process may be gone
        }
    });
    send
}

/// Joins a running container's own streams: output from now on, and its stdin if it has one.
pub fn attach(shared: &Shared, container: &Arc<Container>) -> Result<Session> {
    let live: Live = container.live()?;
    let (stdout, to_stdout) = tokio::io::duplex(BUFFER);
    let (stderr, to_stderr) = tokio::io::duplex(BUFFER);
    let output = container.output.subscribe();
    let (done, exit) = oneshot::channel();
    let process = live.process.clone();
    let ended = container.clone();
    shared.crew.spawn(async move {
        let copied = copy_output(output, to_stdout, to_stderr, async {
            ended.wait_ended().await;
        });
        copied.await;
        if let Some(exit) = process.ended() {
            let _ = done.send(exit.code()); // detached already
        }
    });
    let stdin = container.config.stdin.then(|| {
        let (ours, theirs) = tokio::io::duplex(BUFFER);
        shared.crew.spawn(copy_input(theirs, live.stdin.clone(), container.config.stdin_once));
        Box::pin(ours) as Writer
    });
    Ok(Session {
        stdin,
        stdout: Box::pin(stdout),
        stderr: (!container.config.tty).then(|| Box::pin(stderr) as Reader),
        resize: live.terminal.map(|terminal| resizer(shared, terminal)),
        exit,
    })
}

/// Until the container has ended and everything it wrote was taken, or the session is gone.
async fn copy_output(
    mut output: broadcast::Receiver<(Stream, bytes::Bytes)>,
    mut stdout: DuplexStream,
    mut stderr: DuplexStream,
    ended: impl Future<Output = ()>,
) {
    tokio::pin!(ended);
    let mut over = false;
    loop {
        let chunk = if over {
            match output.try_recv() {
                Ok(chunk) => chunk,
                Err(broadcast::error::TryRecvError::Lagged(_)) => continue,
                Err(_) => return,
            }
        } else {
            tokio::select! {
                biased;
                chunk = output.recv() => match chunk {
                    Ok(chunk) => chunk,
                    Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(_) => return,
                },
                () = &mut ended => {
                    over = true;
                    continue;
                }
            }
        };
        let to = if chunk.0 == Stream::Stdout { &mut stdout } else { &mut stderr };
        if to.write_all(&chunk.1).await.is_err() {
            return; // detached
        }
    }
}

/// From an attached session to the container; with `once` the end of the first session's input is the end of the container's.
async fn copy_input(mut from: DuplexStream, to: Stdin, once: bool) {
    let mut buffer = vec![0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let mut stdin = to.lock().await;
        let Some(writer) = stdin.as_mut() else { return };
        if writer.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    if once {
        to.lock().await.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_start_that_no_caller_waits_for_comes_to_an_end() {
        let (gone, unborn) = (CancellationToken::new(), Unborn::default());
        let never = || std::future::pending::<Result<Started>>();
        let waited = tokio::time::timeout(
            Duration::from_secs(3600),
            started_or_killed(never(), &unborn, gone.clone()),
        );
        assert!(waited.await.is_err(), "while its caller waits, it may take long");
        gone.cancel();
        let ended = started_or_killed(never(), &unborn, gone.clone()).await;
        assert!(matches!(ended, Err(Error::State(_))));
        let failed = std::future::ready(Err(Error::Start("no".into())));
        assert!(matches!(started_or_killed(failed, &unborn, gone).await, Err(Error::Start(_))));
    }
}
