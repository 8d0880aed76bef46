//! kubectl as a program of its own: real streams, a runtime, signals.

use super::Env;
use super::command::{INTERRUPTED, run};
use super::io::{Io, Terminal};
use linux::{pty, trap};
use nix::sys::termios::{self, SetArg, Termios};
use parking_lot::Mutex;
use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Runs a command line on this process' own streams. `args[0]` is the program's name.
pub fn main_with_stdio(args: Vec<String>) -> i32 {
    linux::signal::notice_children(); // of plugins and editors
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return 1;
        }
    };
    let code = runtime.block_on(to_the_end(args, Env::of_process()));
    // A thread may still wait for a key that never comes.
    runtime.shutdown_background();
    code
}

/// Runs a command line for which this process is there, within a runtime. What a signal
/// interrupted ends by that signal, as a program without a handler does: a shell that waits for it
/// then ends its own loop, too.
pub async fn to_the_end(args: Vec<String>, env: Env) -> i32 {
    let ended = ended(args, Env { unseen: unseen(), ..env }).await;
    if let Some(signal) = ended.by {
        linux::signal::end_by(signal);
    }
    ended.code
}

/// Runs one of the command lines of a process on the process' own streams, within a runtime.
pub async fn on_stdio(args: Vec<String>, env: Env) -> i32 {
    ended(args, env).await.code
}

/// How a command line ended. After a signal that ended it the exit code is 128 and its number.
struct Ended {
    code: i32,
    by: Option<i32>,
}

async fn ended(args: Vec<String>, env: Env) -> Ended {
    let cancel = CancellationToken::new();
    let interrupted = cancel.clone();
    let mut signals = JoinSet::new(); // ends with this call
    signals.spawn(async move {
        // A script's background job ignores Ctrl-C, which is for the program in front.
        if !trap::is_ignored(SignalKind::interrupt().as_raw_value()) && tokio::signal::ctrl_c().await.is_ok()
        {
            interrupted.cancel();
        }
    });
    let (terminal, canceled) = (Tty::new(), cancel.clone());
    let io = Io {
        stdin: Box::new(tokio::io::stdin()),
        stdout: Box::new(tokio::io::stdout()),
        stderr: Box::new(tokio::io::stderr()),
        terminal: terminal.clone().map(|t| t as Arc<dyn Terminal>),
        stdout_is_terminal: std::io::stdout().is_terminal(),
        own: true,
        cancel,
    };
    let ended = tokio::select! {
        biased;
        signal = end_requested() => Ended { code: 128 + signal, by: Some(signal) },
        code = run(args, io, env) => {
            let interrupt = SignalKind::interrupt().as_raw_value();
            let is_interrupted = canceled.is_cancelled() && code == INTERRUPTED;
            Ended { code, by: is_interrupted.then_some(interrupt) }
        }
    };
    if let Some(terminal) = terminal {
        terminal.raw(false);
    }
    ended
}

/// Returns where standard output goes if the user of this command does not see it: `file`, or
/// `null` for `/dev/null`. A pipe counts as seen: `grep`, `less` or `wc` reads on. Where the
/// process that started this one writes to the same place, a whole session is recorded, and it is
/// not this command's output that was put away; unless that process is a shell that redirected
/// itself for this command, as dash does.
///
/// ```text
/// kubectl get pods > pods.txt            file
/// kubectl get pods > /dev/null           null
/// { kubectl get pods; } > pods.txt       file
/// kubectl get pods | grep web            -
/// a script of such lines, in a log file  -
/// ```
pub fn unseen() -> Option<&'static str> {
    let (own, parent) = (target("self", "1")?, parent_id().to_string());
    if target(&parent, "1")? == own && !has_redirected_itself(&parent, &own) {
        return None;
    }
    match std::fs::metadata("/proc/self/fd/1") {
        Ok(found) if found.is_file() => Some("file"),
        Ok(_) if own == Path::new("/dev/null") => Some("null"),
        _ => None,
    }
}

/// The file behind a descriptor of a process.
fn target(process: &str, descriptor: &str) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{process}/fd/{descriptor}")).ok()
}

/// Programs whose descriptors from 10 on are those that a shell keeps.
const SHELLS: &[&str] = &["ash", "bash", "busybox", "dash", "ksh", "mksh", "sh", "zsh"];

/// Returns whether this process is a shell that writes to `now` only while this command runs. The
/// process that started the shell then writes elsewhere, and the shell keeps its former output at
/// 10 or above, closed for what it starts. Its script, if it reads one, lies there too, but is open
/// for reading; and so does the terminal of its job control.
fn has_redirected_itself(shell: &str, now: &Path) -> bool {
    /// `O_CLOEXEC`, `O_ACCMODE` of fcntl.h, as fdinfo shows them.
    const CLOSED_FOR_CHILDREN: u32 = 0o2_000_000;
    const ACCESS: u32 = 0o3;
    let program = std::fs::read_link(format!("/proc/{shell}/exe")).unwrap_or_default();
    let is_shell = program.file_name().and_then(OsStr::to_str).is_some_and(|name| SHELLS.contains(&name));
    let above = shell.parse().ok().and_then(linux::process::parent_of);
    let above = above.and_then(|parent| target(&parent.to_string(), "1"));
    if !is_shell || above.is_some_and(|above| above == now) {
        return false;
    }
    let is_kept = |descriptor: &str| {
        let info = std::fs::read_to_string(format!("/proc/{shell}/fdinfo/{descriptor}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).unwrap_or_default();
        flags & CLOSED_FOR_CHILDREN != 0
            && flags & ACCESS != 0
            && target(shell, descriptor).is_some_and(|to| to != now && to != Path::new("/dev/tty"))
    };
    let descriptors = std::fs::read_dir(format!("/proc/{shell}/fd")).into_iter().flatten().flatten();
    let mut numbers = descriptors.filter_map(|entry| entry.file_name().into_string().ok());
    numbers.any(|number| number.parse::<u32>().is_ok_and(|n| n >= 10) && is_kept(&number))
}

/// Waits for a signal that asks this program to end, and returns its number. Its default action
/// would leave the terminal as `exec -t` set it, and what a command has to tidy up behind itself.
async fn end_requested() -> i32 {
    let kinds = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
    // What the program that started this one ignores stays ignored (nohup).
    let heeded = kinds.into_iter().filter(|kind| !trap::is_ignored(kind.as_raw_value()));
    let mut signals: Vec<_> =
        heeded.filter_map(|kind| Some((kind.as_raw_value(), signal(kind).ok()?))).collect();
    if signals.is_empty() {
        return std::future::pending().await;
    }
    let each = signals.iter_mut().map(|(number, signal)| {
        Box::pin(async move {
            signal.recv().await;
            *number
        })
    });
    futures::future::select_all(each).await.0
}

/// The terminal behind standard input.
struct Tty {
    cooked: Mutex<Option<Termios>>,
    size: watch::Receiver<(u16, u16)>,
    /// The task that sends new sizes of the terminal to `size`.
    _resizes: JoinSet<()>,
}

impl Tty {
    fn new() -> Option<Arc<Tty>> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let now = || pty::size(std::io::stdin().as_fd()).unwrap_or((80, 24));
        let (sender, size) = watch::channel(now());
        let mut resizes = JoinSet::new();
        if let Ok(mut changes) = signal(SignalKind::window_change()) {
            resizes.spawn(async move {
                while changes.recv().await.is_some() {
                    if sender.send(now()).is_err() {
                        return;
                    }
                }
            });
        }
        Some(Arc::new(Tty { cooked: Mutex::default(), size, _resizes: resizes }))
    }
}

impl Terminal for Tty {
    fn size(&self) -> watch::Receiver<(u16, u16)> {
        self.size.clone()
    }

    fn raw(&self, on: bool) {
        let stdin = std::io::stdin();
        let mut cooked = self.cooked.lock();
        if on {
            if let Ok(now) = termios::tcgetattr(stdin.as_fd()) {
                let mut raw = now.clone();
                termios::cfmakeraw(&mut raw);
                if termios::tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw).is_ok() {
                    *cooked = Some(now);
                }
            }
        } else if let Some(before) = cooked.take() {
            let _ = termios::tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &before); // the terminal may be gone
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;
    use nix::sys::signal::{Signal, raise};
    use nix::sys::termios::LocalFlags;
    use portable_pty::{CommandBuilder, PtySize, native_pty_system};
    use serde_json::json;

    /// Set in the process that is on a terminal and gets the signal.
    const INSIDE: &str = "ROPEWALK_TEST_EXEC_ENDED";
    /// Set in the process whose exit code says where its output goes.
    const UNSEEN: &str = "ROPEWALK_TEST_UNSEEN";

    #[test]
    fn output_that_goes_to_a_file_or_to_nowhere_is_not_seen() {
        if std::env::var_os(UNSEEN).is_some() {
            let code = match unseen() {
                None => 70,
                Some("file") => 71,
                Some(_) => 72,
            };
            std::process::exit(code);
        }
        let dir = tempfile::tempdir().unwrap();
        let name = "stdio::tests::output_that_goes_to_a_file_or_to_nowhere_is_not_seen";
        let exit_code = |stdout: std::process::Stdio| {
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            let status = command.args(["--exact", name]).env(UNSEEN, "1").stdout(stdout).status().unwrap();
            status.code()
        };
        // As a shell keeps its former output; but this parent is none.
        let kept = std::fs::File::create(dir.path().join("kept")).unwrap();
        let _kept = nix::fcntl::fcntl(&kept, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(10)).unwrap();
        assert_eq!(exit_code(std::fs::File::create(dir.path().join("out")).unwrap().into()), Some(71));
        assert_eq!(exit_code(std::process::Stdio::piped()), Some(70));
        assert_eq!(exit_code(std::process::Stdio::inherit()), Some(70), "where its parent writes");
        let null = std::fs::read_link("/proc/self/fd/1").is_ok_and(|target| target == Path::new("/dev/null"));
        assert_eq!(exit_code(std::process::Stdio::null()), Some(if null { 70 } else { 72 }));

        // dash redirects itself, bash its child; a group redirects both.
        let by_shell = |script: &str| {
            let mut shell = std::process::Command::new("sh");
            shell.args(["-c", &format!("{script}; exit $?")]).arg(std::env::current_exe().unwrap()).arg(name);
            let shell = shell.env(UNSEEN, "1").current_dir(dir.path()).stdout(std::process::Stdio::piped());
            shell.status().unwrap().code()
        };
        for (script, code) in [
            (r#""$0" --exact "$1" > out"#, 71),
            (r#""$0" --exact "$1" > /dev/null"#, 72),
            (r#"{ "$0" --exact "$1"; } > out"#, 71),
            (r#""$0" --exact "$1""#, 70),
            (r#""$0" --exact "$1" 2> err"#, 70),
            (r#"exec > out; "$0" --exact "$1""#, 70),
            // A session that writes to a file keeps other descriptors while it runs a line.
            (r#"exec > out; sh -c 'eval "\"$0\" --exact $1" 2>err; exit $?' "$0" "$1""#, 70),
        ] {
            assert_eq!(by_shell(script), Some(code), "{script}");
        }
    }

    fn is_raw(terminal: impl AsFd) -> bool {
        !termios::tcgetattr(terminal).unwrap().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    /// Not a test of its own: what the one below runs on a terminal.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn exec_that_is_asked_to_end() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        let server = Server::start_with(|request| {
            if request.path.ends_with("/exec") {
                assert!(is_raw(std::io::stdin()), "the session has begun");
                raise(Signal::SIGTERM).unwrap();
                // The server never answers. It says that it waits: its worker may be the one that
                // looks for events, the signal among them, and no other worker would look in its
                // place.
                tokio::task::block_in_place(|| {
                    loop {
                        std::thread::park();
                    }
                })
            }
            None
        })
        .await;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"containers": [{"name": "web"}]}});
        server.hold("/api/v1/namespaces/default/pods/web", pod);
        let args = ["kubectl", "exec", "-it", "web", &format!("--server={}", server.address), "--", "sh"];
        std::process::exit(to_the_end(args.map(String::from).to_vec(), Env::default()).await);
    }

    #[test]
    fn a_session_that_is_asked_to_end_gives_the_terminal_back() {
        let pair = native_pty_system().openpty(PtySize::default()).unwrap();
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["--exact", "stdio::tests::exec_that_is_asked_to_end"]);
        command.env(INSIDE, "1");
        let mut child = pair.slave.spawn_command(command).unwrap();
        // While this end is open: the kernel itself resets a terminal that no process has open.
        let terminal = std::fs::File::open(pair.master.tty_name().expect("a name")).expect("the terminal");
        let status = child.wait().unwrap();
        assert!(status.signal().is_some_and(|signal| signal.starts_with("Terminated")), "{status:?}");
        assert!(!is_raw(&terminal));
    }
}
