//! Sessions (exec, attach): a client outside of a container talks to a process inside.

use super::container::{ABANDON, Container, Live, Stdin, Streams};
use super::context::NodeContext;
use super::log::Stream;
use super::output::Pieces;
use super::pumps::{Pumps, REST_MAX, read_until};
use super::spec::{Request, Role, What};
use super::terminal::Terminal;
use super::zygote::{PendingStart, Started};
use cri::{Error, ExecRequest, Reader, Result, Session, Size, Writer};
use linux::reap::Process;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Bytes in flight between a session and a container before the writer waits.
const BUFFER: usize = 64 * 1024;

fn io(cause: std::io::Error) -> Error {
    Error::Io { what: "cannot make a session".into(), cause }
}

/// Runs another program in a container. When the session's `exit` is dropped the program is killed;
/// when the caller is gone before there is a session, so is the process that was to become the
/// program, whatever it waits for.
///
/// # Errors
/// `Start` in runc's words; `State`: the container does not run; `Io`: no descriptor is left.
pub(crate) async fn exec(
    context: &NodeContext,
    container: &Container,
    request: ExecRequest,
    caller_gone: CancellationToken,
) -> Result<Session> {
    let live = container.live()?;
    let entry = live.group.entry().map_err(|e| Error::Start(e.line()))?;
    let (streams, theirs) = Streams::make(request.tty, request.stdin).map_err(io)?;
    let process = live
        .process
        .pidfd()
        .map_err(|_| Error::State(format!("container {} is not running", container.id)))?;
    let mut given = vec![(Role::Container, process.as_fd())];
    given.extend(theirs.iter().map(|(role, fd)| (*role, fd.as_fd())));
    given.extend(entry.directory.as_ref().map(|fd| (Role::Cgroup, fd.as_fd())));
    let what = What::Exec(Box::new(live.exec_process(request.command, request.tty)));
    let users = container.sandbox.first_user();
    let wanted = Request { roles: vec![], ids: context.config.ids, users, tasks: entry.tasks.clone(), what };
    let pending = PendingStart::default();
    let run = started_or_killed(
        context.config.zygote.run(&container.sandbox.id, wanted, &given, &pending),
        &pending,
        caller_gone,
    );
    let started = run.await.map_err(|e| match e {
        Error::Start(reason) => Error::Start(format!(
            "OCI runtime exec failed: exec failed: unable to start container process: {reason}: unknown"
        )),
        other => other,
    })?;
    drop(theirs);
    let (done, exit) = oneshot::channel();
    let mut pumps = Pumps { tasks: JoinSet::new(), over: CancellationToken::new() };
    let made = match started.terminal {
        Some(master) => Terminal::new(master)
            .map(|terminal| of_terminal(context, terminal, exit, request.stdin, &mut pumps))
            .map_err(io),
        None => of_pipes(streams, exit),
    };
    let mut session = or_killed(&started.process, made).await?;
    if !request.stdin {
        session.stdin = None;
    }
    context.crew.spawn(async move {
        let mut done = done;
        let exit = tokio::select! {
            exit = started.process.exit() => exit,
            () = done.closed() => {
                let _ = started.process.signal(nix::libc::SIGKILL); // ESRCH: it has ended
                started.process.exit().await
            }
        };
        let _ = done.send(exit.code()); // the client may have left
        pumps.end().await;
    });
    Ok(session)
}

/// Returns the session that was made for a program that runs. If there is none, nothing would end
/// the program later, so it is killed.
async fn or_killed<T>(process: &Process, made: Result<T>) -> Result<T> {
    if made.is_err() {
        let _ = process.signal(nix::libc::SIGKILL); // ESRCH: it has ended
        process.exit().await;
    }
    made
}

/// Waits for a start. Once its caller is gone, the process that exists by then, or comes to exist,
/// is killed, which ends the start.
async fn started_or_killed(
    start: impl Future<Output = Result<Started>>,
    pending: &PendingStart,
    caller_gone: CancellationToken,
) -> Result<Started> {
    tokio::pin!(start);
    tokio::select! {
        biased;
        started = &mut start => return started,
        () = caller_gone.cancelled() => {}
    }
    pending.abandon();
    match tokio::time::timeout(ABANDON, start).await {
        Ok(started) => started,
        Err(_) => Err(Error::State("the caller of exec is gone, and its process did not end".into())),
    }
}

/// Makes the session of a program at a terminal. The output ends with the program, as with
/// containerd: a job that the program left in the background may hold the terminal for hours. Pipes
/// end with their last writer, there too.
fn of_terminal(
    context: &NodeContext,
    terminal: Terminal,
    exit: oneshot::Receiver<i32>,
    stdin: bool,
    pumps: &mut Pumps,
) -> Session {
    let (stdout, to_stdout) = tokio::io::duplex(BUFFER);
    pumps.tasks.spawn(carry(terminal.clone(), to_stdout, pumps.over.clone()));
    Session {
        stdin: stdin.then(|| Box::pin(terminal.clone()) as Writer),
        stdout: Box::pin(stdout),
        stderr: None,
        resize: Some(resizer(context, terminal)),
        exit,
    }
}

/// Carries a terminal's output to a session until the terminal ends, its program is `over`, or the
/// session is gone.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: DuplexStream, over: CancellationToken) {
    let (mut buffer, mut rest) = (vec![0; 4096], REST_MAX);
    while let Some(length) = read_until(&mut from, &mut buffer, &over, &mut rest).await {
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
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

fn resizer(context: &NodeContext, terminal: Terminal) -> mpsc::Sender<Size> {
    let (send, mut sizes) = mpsc::channel::<Size>(4);
    context.crew.spawn(async move {
        while let Some(size) = sizes.recv().await {
            let _ = terminal.resize(size.columns, size.rows); // the process may be gone
        }
    });
    send
}

/// Joins a running container's own streams: output from now on and, with `stdin`, its input if it
/// has one.
pub(crate) fn attach(context: &NodeContext, container: &Arc<Container>, stdin: bool) -> Result<Session> {
    let live: Live = container.live()?;
    let (stdout, to_stdout) = tokio::io::duplex(BUFFER);
    let (stderr, to_stderr) = tokio::io::duplex(BUFFER);
    let output = live.output.subscribe();
    let (done, exit) = oneshot::channel();
    let process = live.process.clone();
    let ended = container.clone();
    let writes = stdin && container.config.stdin;
    let (stdin, theirs) = match writes {
        true => Some(tokio::io::duplex(BUFFER)).unzip(),
        false => (None, None),
    };
    // As containerd: with `stdinOnce` the container's input ends with the first session that had
    // it, which goes on until the container ends. A terminal's input never ends.
    let once = writes && container.config.stdin_once && !container.config.tty;
    let to = live.stdin.clone();
    context.crew.spawn(async move {
        let mut done = done;
        let copied = copy_output(output, to_stdout, to_stderr, async {
            ended.wait_ended().await;
        });
        let input = async {
            match theirs {
                Some(from) => copy_input(from, to.clone(), once).await,
                None => std::future::pending().await, // it has no input that could end
            }
        };
        match with_input(attached(copied, &mut done), input, once).await {
            Over::Output => {
                if let Some(exit) = process.ended() {
                    let _ = done.send(exit.code()); // detached already
                }
            }
            Over::Input => drop(done.send(0)), // detached already
            // Another session that writes holds the lock, and goes on.
            Over::Left if once => drop(to.try_lock().map(|mut stdin| stdin.take())),
            Over::Left => {}
        }
    });
    let stdin = stdin.map(|ours| Box::pin(ours) as Writer);
    Ok(Session {
        stdin,
        stdout: Box::pin(stdout),
        stderr: (!container.config.tty).then(|| Box::pin(stderr) as Reader),
        resize: live.terminal.map(|terminal| resizer(context, terminal)),
        exit,
    })
}

/// Time within which the program may still read what a session sent before it went.
const FAREWELL: Duration = Duration::from_secs(2);

/// Why an attached session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    /// The container has ended, and the session has all of its output.
    Output,
    /// The session's input has ended, and the container's has not. The container goes on.
    Input,
    /// The client left.
    Left,
}

/// Waits for the end of a session, and carries its input beside it. Unless it is the session that
/// ends the container's input (`once`), it ends with its own input, as containerd's does: a client
/// that pipes something into a container would wait for the container's end otherwise. The input
/// ends with the session: a program that does not read would hold it, and the lock on its standard
/// input, until the container ends, and no later session could write.
async fn with_input(
    session: impl Future<Output = Over>,
    input: impl Future<Output = ()>,
    once: bool,
) -> Over {
    tokio::pin!(session, input);
    let over = tokio::select! {
        biased; // a container that has ended tells its exit code
        over = &mut session => over,
        () = &mut input => return if once { session.await } else { Over::Input },
    };
    if over == Over::Left {
        let _ = tokio::time::timeout(FAREWELL, input).await;
    }
    over
}

/// Waits for the end of a session's output, or until its client has left: a silent container would
/// hold what belongs to the session otherwise.
async fn attached(copied: impl Future<Output = ()>, done: &mut oneshot::Sender<i32>) -> Over {
    tokio::select! {
        () = copied => Over::Output,
        () = done.closed() => Over::Left,
    }
}

/// Copies output until the container has ended and everything it wrote was taken, or the session is
/// gone.
async fn copy_output(
    mut output: Pieces,
    mut stdout: DuplexStream,
    mut stderr: DuplexStream,
    ended: impl Future<Output = ()>,
) {
    tokio::pin!(ended);
    let mut over = false;
    loop {
        let chunk = if over {
            match output.try_recv() {
                Some(chunk) => chunk,
                None => return,
            }
        } else {
            tokio::select! {
                biased;
                chunk = output.recv() => match chunk {
                    Some(chunk) => chunk,
                    None => return,
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

/// Copies input from an attached session to the container; with `once` the end of the first
/// session's input is the end of the container's.
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
    use linux::process::Child;

    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_gone_leaves_the_input_of_a_program_that_does_not_read() {
        let (writer, mut program) = tokio::io::duplex(8);
        let stdin: Stdin = Arc::new(tokio::sync::Mutex::new(Some(Box::pin(writer) as Writer)));
        let (mut ours, theirs) = tokio::io::duplex(BUFFER);
        ours.write_all(b"more than the program's pipe takes").await.unwrap();
        drop(ours);
        let gone =
            with_input(std::future::ready(Over::Left), copy_input(theirs, stdin.clone(), false), false);
        assert_eq!(gone.await, Over::Left);
        let mut read = [0; 8];
        program.read_exact(&mut read).await.unwrap();
        // The next session writes.
        stdin.try_lock().expect("free").as_mut().unwrap().write_all(b"next").await.unwrap();
    }

    /// The client's input is at its end, the container's is not: `echo hi | kubectl attach -i`.
    #[tokio::test(start_paused = true)]
    async fn a_session_ends_with_its_input_unless_it_ends_the_containers_too() {
        let (writer, mut program) = tokio::io::duplex(64);
        let stdin: Stdin = Arc::new(tokio::sync::Mutex::new(Some(Box::pin(writer) as Writer)));
        let mut over = Vec::new();
        for once in [false, true] {
            let (mut ours, theirs) = tokio::io::duplex(64);
            ours.write_all(b"hi").await.unwrap();
            drop(ours);
            let container = async {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                Over::Output
            };
            let begun = tokio::time::Instant::now();
            let end = with_input(container, copy_input(theirs, stdin.clone(), once), once).await;
            over.push((end, begun.elapsed().as_secs()));
            assert_eq!(stdin.try_lock().unwrap().is_none(), once, "whether the container's input ended");
        }
        assert_eq!(over, [(Over::Input, 0), (Over::Output, 3600)]);
        let mut read = String::new();
        program.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "hihi");
    }

    /// As after `sleep 1000 &` and `exit` in a shell: the job still has the terminal open.
    #[tokio::test(start_paused = true)]
    async fn a_session_at_a_terminal_ends_with_its_program_whatever_holds_the_terminal() {
        let (mut held, from) = tokio::io::duplex(64);
        let (mut stdout, to_stdout) = tokio::io::duplex(BUFFER);
        let mut pumps = Pumps { tasks: JoinSet::new(), over: CancellationToken::new() };
        pumps.tasks.spawn(carry(from, to_stdout, pumps.over.clone()));
        held.write_all(b"last words").await.unwrap();
        let mut read = String::new();
        let ended = async { tokio::join!(stdout.read_to_string(&mut read), pumps.end()).0 };
        let ended = tokio::time::timeout(Duration::from_secs(3600), ended).await;
        assert_eq!(ended.expect("the job is not waited for").unwrap(), 10);
        assert_eq!(read, "last words");
        drop(held);
    }

    #[tokio::test]
    async fn a_program_whose_session_cannot_be_made_does_not_run_on() {
        let begin = || {
            #[allow(clippy::zombie_processes)] // the handle waits for it
            let child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
            let pid = child.id() as i32;
            let pidfd = linux::process::pidfd_open(pid).unwrap();
            linux::reap::Children::new().birth().adopt(Child { pid, pidfd }).unwrap()
        };
        let lost = begin();
        let failed = or_killed(&lost, Err::<(), _>(Error::State("no terminal".into()))).await;
        assert!(failed.is_err() && lost.ended().is_some());
        let kept = begin();
        assert!(or_killed(&kept, Ok(())).await.is_ok() && kept.ended().is_none());
        or_killed(&kept, Err::<(), _>(Error::State("enough".into()))).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_session_with_a_silent_container_ends_when_it_is_dropped() {
        let output = super::super::output::Output::default();
        let (stdout, to_stdout) = tokio::io::duplex(64);
        let (stderr, to_stderr) = tokio::io::duplex(64);
        let (mut done, exit) = oneshot::channel();
        let copied = copy_output(output.subscribe(), to_stdout, to_stderr, std::future::pending());
        let session = tokio::spawn(async move { attached(copied, &mut done).await });
        drop((stdout, stderr, exit));
        let ended = tokio::time::timeout(Duration::from_secs(10), session).await;
        assert_eq!(ended.expect("it waits for output").unwrap(), Over::Left);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_no_caller_waits_for_comes_to_an_end() {
        let (gone, pending) = (CancellationToken::new(), PendingStart::default());
        let never = || std::future::pending::<Result<Started>>();
        let waited = tokio::time::timeout(
            Duration::from_secs(3600),
            started_or_killed(never(), &pending, gone.clone()),
        );
        assert!(waited.await.is_err(), "while its caller waits, it may take long");
        assert!(!pending.is_abandoned());
        gone.cancel();
        let ended = started_or_killed(never(), &pending, gone.clone()).await;
        assert!(matches!(ended, Err(Error::State(_))));
        assert!(pending.is_abandoned(), "its process is killed once it exists");
        let failed = std::future::ready(Err(Error::Start("no".into())));
        assert!(matches!(started_or_killed(failed, &pending, gone).await, Err(Error::Start(_))));
    }
}
