//! The shell pane's other end: the REPL, on a terminal of its own.

use super::super::event::Event;
use crate::exit;
use linux::process;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::{Condvar, Mutex};
use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Output that waits to be drawn, in pieces; a program that prints faster waits.
const PENDING: usize = 64;
/// Input that the REPL has not read is kept up to so many bytes: a large paste. What is typed
/// beyond it is lost, and the terminal's bell says so.
const TYPED_MAX: usize = 1 << 20;

/// The last output of a REPL that has ended is shown before its end is noted. A program in the
/// background may keep the terminal open: it is waited for no longer than this.
const LAST_OUTPUT: std::time::Duration = std::time::Duration::from_millis(500);
/// A REPL that does not end within so many milliseconds after SIGHUP is killed.
const END_PATIENCE: u16 = 3000;

/// Bytes on their way to the REPL. A paste without brackets arrives as one event a character: the
/// bound counts bytes, and the writer takes all that have come at once.
#[derive(Default)]
struct Typed {
    waiting: Mutex<Waiting>,
    news: Condvar,
}

/// What the writer has not taken yet.
#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// The pane is closed: the writer ends.
    is_closed: bool,
}

impl Typed {
    /// `false`: there is no room, and nothing of it was taken.
    fn put(&self, bytes: &[u8]) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.bytes.len() + bytes.len() > TYPED_MAX {
            return false;
        }
        waiting.bytes.extend_from_slice(bytes);
        self.news.notify_one();
        true
    }

    /// Waits for bytes; `None` once the pane is closed.
    fn take(&self) -> Option<Vec<u8>> {
        let mut waiting = self.waiting.lock();
        loop {
            if waiting.is_closed {
                return None;
            }
            if !waiting.bytes.is_empty() {
                return Some(std::mem::take(&mut waiting.bytes));
            }
            self.news.wait(&mut waiting);
        }
    }

    fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.news.notify_one();
    }
}

/// The REPL of the shell's pane, on a terminal of its own. It ends when this is dropped.
pub(super) struct Pty {
    master: Box<dyn MasterPty + Send>,
    typed: Arc<Typed>,
    /// The REPL, which no other process can be taken for.
    repl: Option<OwnedFd>,
    pub output: mpsc::Receiver<Event>,
}

impl Pty {
    /// Starts the REPL: this same program, under the arguments given.
    pub(super) fn start(args: &[String], rows: u16, columns: u16) -> io::Result<Pty> {
        let size = PtySize { rows, cols: columns, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).map_err(io::Error::other)?;
        let mut command = CommandBuilder::new("/proc/self/exe");
        command.args(args);
        if let Ok(here) = std::env::current_dir() {
            command.cwd(here);
        }
        command.env("TERM", "xterm-256color"); // what the emulator understands
        let mut child = exit::process(pair.slave.spawn_command(command).map_err(io::Error::other)?)?;
        // Before anything waits for the REPL: until then its number is its own.
        let repl = process::pidfd_open(child.id() as i32).ok();
        let mut reader = pair.master.try_clone_reader().map_err(io::Error::other)?;
        let mut writer = pair.master.take_writer().map_err(io::Error::other)?;
        let (tell, output) = mpsc::channel(PENDING);
        let ended = tell.clone();
        let (shows, shown) = std::sync::mpsc::channel::<()>();
        std::thread::Builder::new().name("pane-output".into()).spawn(move || {
            let _shows = shows; // dropped at the end of the output
            let mut bytes = [0; 8192];
            loop {
                match reader.read(&mut bytes) {
                    Ok(0) => return,
                    Ok(n) if tell.blocking_send(Event::Shell(bytes[..n].to_vec())).is_err() => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return, // the last program has closed the terminal
                }
            }
        })?;
        // Writing may block for as long as a program does not read: never in the loop that draws.
        let typed = Arc::new(Typed::default());
        let taken = typed.clone();
        std::thread::Builder::new().name("pane-input".into()).spawn(move || {
            while let Some(bytes) = taken.take() {
                if writer.write_all(&bytes).and_then(|()| writer.flush()).is_err() {
                    return;
                }
            }
        })?;
        std::thread::Builder::new().name("pane-end".into()).spawn(move || {
            let code = child.wait().map_or(1, exit::code);
            let _ = shown.recv_timeout(LAST_OUTPUT);
            let _ = ended.blocking_send(Event::ShellEnded(code)); // after the interface no one takes it
        })?;
        Ok(Pty { master: pair.master, typed, repl, output })
    }

    /// Types bytes. If too many wait for the REPL, they are lost, and the bell says so.
    pub(super) fn type_in(&self, bytes: Vec<u8>) {
        if !self.typed.put(&bytes) {
            let mut out = io::stdout();
            let _ = out.write_all(b"\x07").and_then(|()| out.flush()); // a closed terminal hears no bell
        }
    }

    /// Tells the REPL's terminal its size.
    pub(super) fn resize(&self, rows: u16, columns: u16) {
        let _ = self.master.resize(PtySize { rows, cols: columns, ..PtySize::default() });
    }
}

impl Drop for Pty {
    /// Closes the window: the REPL hangs up, and its shell with it. One that does not is killed.
    fn drop(&mut self) {
        self.typed.close();
        self.output.close(); // its thread may wait for room, and the REPL for that thread
        if let Some(repl) = &self.repl {
            hang_up(repl, END_PATIENCE);
        }
    }
}

/// Ends a process: SIGHUP, and SIGKILL if it is still there after so many milliseconds.
fn hang_up(process: &OwnedFd, patience: u16) {
    let send = |signal| process::pidfd_send_signal(process.as_fd(), signal);
    if send(nix::libc::SIGHUP).is_err() {
        return; // it has ended
    }
    let mut end = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    // A signal to this process, e.g. because a child has ended, only makes it wait longer.
    let ended = loop {
        match poll(&mut end, PollTimeout::from(patience)) {
            Err(nix::errno::Errno::EINTR) => {}
            ended => break ended,
        }
    };
    if ended != Ok(1) {
        let _ = send(nix::libc::SIGKILL); // it may have ended in this moment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repl_that_ignores_the_hang_up_is_killed() {
        use std::os::unix::process::ExitStatusExt;
        let mut child = std::process::Command::new("/bin/sh");
        child
            .args(["-c", "trap '' HUP; echo; while :; do sleep 1; done"])
            .stdout(std::process::Stdio::piped());
        let mut child = child.spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap(); // the trap is set
        let process = process::pidfd_open(child.id() as i32).unwrap();
        hang_up(&process, 10);
        assert_eq!(child.wait().unwrap().signal(), Some(nix::libc::SIGKILL));
        hang_up(&process, 10); // its number may be another process's now
    }

    #[test]
    fn a_paste_that_comes_key_by_key_is_kept_whole_while_nobody_reads() {
        let typed = Typed::default();
        let paste: Vec<u8> = (0..10_000).map(|n| b'a' + (n % 26) as u8).collect();
        assert!(paste.iter().all(|key| typed.put(&[*key])));
        assert_eq!(typed.take(), Some(paste));
        assert!(!typed.put(&vec![b'x'; TYPED_MAX + 1]) && typed.put(&vec![b'x'; TYPED_MAX]));
        assert!(!typed.put(b"x"));
        typed.close();
        assert_eq!(typed.take(), None);
    }
}
