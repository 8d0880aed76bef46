//! kubectl as a program of its own: real streams, a runtime, signals.

use super::{Env, Io, Terminal, run};
use crate::linux::pty;
use nix::sys::termios::{self, SetArg, Termios};
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Runs a command line on this process' own streams. `args[0]` is the program's name.
pub fn main_with_stdio(args: Vec<String>) -> i32 {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return 1;
        }
    };
    let code = runtime.block_on(on_stdio(args, Env::of_process()));
    // A thread may still wait for a key that never comes.
    runtime.shutdown_background();
    code
}

/// Runs a command line on this process' own streams, within a runtime.
pub async fn on_stdio(args: Vec<String>, env: Env) -> i32 {
    let cancel = CancellationToken::new();
    let interrupted = cancel.clone();
    let signals = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    let terminal = Tty::new();
    let io = Io {
        stdin: Box::new(tokio::io::stdin()),
        stdout: Box::new(tokio::io::stdout()),
        stderr: Box::new(tokio::io::stderr()),
        terminal: terminal.clone().map(|t| t as Arc<dyn Terminal>),
        cancel,
    };
    let code = run(args, io, env).await;
    if let Some(terminal) = terminal {
        terminal.raw(false);
    }
    signals.abort();
    code
}

/// The terminal behind standard input.
struct Tty {
    cooked: Mutex<Option<Termios>>,
    size: watch::Receiver<(u16, u16)>,
    both: bool,
}

impl Tty {
    fn new() -> Option<Arc<Tty>> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let now = || pty::size(std::io::stdin().as_fd()).unwrap_or((80, 24));
        let (tell, size) = watch::channel(now());
        if let Ok(mut changes) = signal(SignalKind::window_change()) {
            tokio::spawn(async move {
                while changes.recv().await.is_some() {
                    if tell.send(now()).is_err() {
                        return;
                    }
                }
            });
        }
        Some(Arc::new(Tty { cooked: Mutex::default(), size, both: std::io::stdout().is_terminal() }))
    }
}

impl Terminal for Tty {
    fn is_tty(&self) -> bool {
        self.both
    }

    fn size(&self) -> watch::Receiver<(u16, u16)> {
        self.size.clone()
    }

    fn raw(&self, on: bool) {
        let stdin = std::io::stdin();
        let mut cooked = self.cooked.lock().unwrap_or_else(|p| p.into_inner());
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
