//! The shell pane's other end: the REPL, on a terminal of its own.

use super::super::event::Event;
use portable_pty::{ChildKiller, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Output that waits to be drawn, in pieces; a program that prints faster waits.
const PENDING: usize = 64;
/// Input that the REPL has not read is kept up to so many bytes: a large paste. What is typed beyond it is lost, and told
/// by the terminal's bell.
const TYPED_MAX: usize = 1 << 20;

/// Bytes on their way to the REPL. A paste without brackets arrives as one event a character: the bound counts bytes, and
/// the writer takes all that have come at once.
#[derive(Default)]
struct Typed {
    waiting: Mutex<(Vec<u8>, bool)>,
    news: Condvar,
}

impl Typed {
    fn lock(&self) -> MutexGuard<'_, (Vec<u8>, bool)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false`: there is no room, and nothing of it was taken.
    fn put(&self, bytes: &[u8]) -> bool {
        let mut waiting = self.lock();
        if waiting.0.len() + bytes.len() > TYPED_MAX {
            return false;
        }
        waiting.0.extend_from_slice(bytes);
        self.news.notify_one();
        true
    }

    /// Waits for bytes; `None` once the pane is closed.
    fn take(&self) -> Option<Vec<u8>> {
        let mut waiting = self.lock();
        loop {
            if waiting.1 {
                return None;
            }
            if !waiting.0.is_empty() {
                return Some(std::mem::take(&mut waiting.0));
            }
            waiting = self.news.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        self.lock().1 = true;
        self.news.notify_one();
    }
}

pub struct Pty {
    master: Box<dyn MasterPty + Send>,
    typed: Arc<Typed>,
    killer: Box<dyn ChildKiller + Send + Sync>,
    pub output: mpsc::Receiver<Event>,
}

impl Pty {
    /// Starts the REPL: this same program, under the arguments given.
    pub fn start(args: &[String], rows: u16, columns: u16) -> io::Result<Pty> {
        let size = PtySize { rows, cols: columns, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).map_err(io::Error::other)?;
        let mut command = CommandBuilder::new("/proc/self/exe");
        command.args(args);
        if let Ok(here) = std::env::current_dir() {
            command.cwd(here);
        }
        command.env("TERM", "xterm-256color"); // what the emulator understands
        let mut child = pair.slave.spawn_command(command).map_err(io::Error::other)?;
        let killer = child.clone_killer();
        let mut reader = pair.master.try_clone_reader().map_err(io::Error::other)?;
        let mut writer = pair.master.take_writer().map_err(io::Error::other)?;
        let (tell, output) = mpsc::channel(PENDING);
        let ended = tell.clone();
        std::thread::Builder::new().name("pane-output".into()).spawn(move || {
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
            let code = child.wait().map_or(1, |status| status.exit_code() as i32);
            let _ = ended.blocking_send(Event::ShellEnded(code)); // nobody waits for it after the interface
        })?;
        Ok(Pty { master: pair.master, typed, killer, output })
    }

    pub fn type_in(&self, bytes: Vec<u8>) {
        if !self.typed.put(&bytes) {
            let mut out = io::stdout();
            let _ = out.write_all(b"\x07").and_then(|()| out.flush()); // a closed terminal hears no bell
        }
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let _ = self.master.resize(PtySize { rows, cols: columns, ..PtySize::default() });
    }
}

impl Drop for Pty {
    /// Closes the window: the REPL hangs up, and its shell with it.
    fn drop(&mut self) {
        self.typed.close();
        let _ = self.killer.kill(); // SIGHUP first, as portable-pty does it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
