//! The terminal that the learner's shell runs on, and the way of its bytes to the learner's own.

use super::column::Column;
use super::terminal;
use crate::linux::fds;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{
    FlowArg, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcflow, tcgetattr, tcsetattr,
};
use portable_pty::{MasterPty, PtySize, SlavePty, native_pty_system};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The last output of a command is on its way for at most this long, in milliseconds; it takes microseconds.
const SETTLE_MAX: u16 = 1000;
/// Most that is kept of what was typed ahead: the kernel keeps no more.
const UNREAD_MAX: usize = 4096;

pub struct Screen {
    master: Arc<Mutex<Box<dyn MasterPty + Send>>>,
    writer: Box<dyn Write + Send>,
    /// The shell's side of the terminal, for what only that side can do.
    slave: File,
    settings: Option<Termios>,
    mark: Vec<u8>,
    marked: File,
    shown: Arc<AtomicBool>,
}

/// Tells the shell's terminal the size of the learner's.
#[derive(Clone)]
pub struct Resizer(Arc<Mutex<Box<dyn MasterPty + Send>>>);

impl Resizer {
    pub fn resize(&self) {
        let master = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = master.resize(now()); // a program that does not hear of it draws a bit wrongly
    }
}

fn now() -> PtySize {
    let (cols, rows) = terminal::size();
    PtySize { rows, cols, ..PtySize::default() }
}

impl Screen {
    /// A new terminal of the learner's size. Nothing is shown before [`Screen::begin`].
    pub fn open(column: Arc<Column>) -> io::Result<(Screen, Box<dyn SlavePty + Send>)> {
        let pair = native_pty_system().openpty(now()).map_err(io::Error::other)?;
        let name = pair.master.tty_name().ok_or_else(|| io::Error::other("a terminal without a name"))?;
        let slave = File::options()
            .read(true)
            .write(true)
            .custom_flags(nix::fcntl::OFlag::O_NOCTTY.bits())
            .open(name)?;
        let mut reader = pair.master.try_clone_reader().map_err(io::Error::other)?;
        let writer = pair.master.take_writer().map_err(io::Error::other)?;
        let (marked, mark_seen) = fds::pipe()?;
        let mark = format!("\x1b]ropewalk-{:016x}\x07", crate::rng::Rng::from_os().u64()).into_bytes();
        let shown = Arc::new(AtomicBool::new(false));
        let (wanted, own) = (mark.clone(), shown.clone());
        // Ends when the last program has closed the terminal.
        std::thread::Builder::new().name("shell-output".into()).spawn(move || {
            let mut mark_seen = File::from(mark_seen);
            let mut kept = Vec::new();
            let mut bytes = [0; 16384];
            loop {
                match reader.read(&mut bytes) {
                    Ok(0) => return,
                    Ok(n) => kept.extend_from_slice(&bytes[..n]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => return,
                }
                let marks = take_marks(&mut kept, &wanted);
                let ready = kept.len() - begun(&kept, &wanted);
                let out: Vec<u8> = kept.drain(..ready).collect();
                if own.load(Ordering::Acquire) && !out.is_empty() {
                    column.saw(&out);
                    let mut stdout = io::stdout().lock();
                    let _ = stdout.write_all(&out).and_then(|()| stdout.flush()); // a closed terminal shows nothing
                }
                if marks > 0 && mark_seen.write_all(&vec![b'.'; marks]).is_err() {
                    return;
                }
            }
        })?;
        let master = Arc::new(Mutex::new(pair.master));
        let screen = Screen { master, writer, slave, settings: None, mark, marked: marked.into(), shown };
        Ok((screen, pair.slave))
    }

    /// From now on everything is shown; what start files printed is not.
    pub fn begin(&mut self) -> io::Result<()> {
        self.settle()?;
        self.settings = tcgetattr(&self.slave).ok();
        self.shown.store(true, Ordering::Release);
        Ok(())
    }

    pub fn resizer(&self) -> Resizer {
        Resizer(self.master.clone())
    }

    pub fn resize(&self) {
        self.resizer().resize();
    }

    /// Bytes from the learner's keyboard.
    pub fn type_in(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes).and_then(|()| self.writer.flush())
    }

    /// A line of text among the programs' output.
    pub fn say(&self, text: &str) {
        let _ = (&self.slave).write_all(format!("{text}\n").as_bytes());
    }

    /// Returns when everything that was written to this terminal so far has been shown: a mark is written behind it, and
    /// waited for.
    pub fn settle(&mut self) -> io::Result<()> {
        let _ = tcflow(&self.slave, FlowArg::TCOON); // the learner may have pressed Ctrl-S
        (&self.slave).write_all(&self.mark)?;
        let mut wanted = [PollFd::new(self.marked.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut wanted, PollTimeout::from(SETTLE_MAX)) {
                Err(nix::errno::Errno::EINTR) => continue,
                Ok(n) if n > 0 => break,
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        let mut byte = [0; 1];
        (&self.marked).read_exact(&mut byte)
    }

    /// What was typed and no program read; the terminal's settings become what they were at the start.
    pub fn unread(&mut self) -> String {
        let Some(settings) = &self.settings else { return String::new() };
        let mut taking = settings.clone();
        taking.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        taking.control_chars[SpecialCharacterIndices::VMIN as usize] = 0;
        taking.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        let mut unread = Vec::new();
        if tcsetattr(&self.slave, SetArg::TCSANOW, &taking).is_ok() {
            let mut bytes = [0; UNREAD_MAX];
            while let Ok(n) = (&self.slave).read(&mut bytes)
                && n > 0
                && unread.len() < UNREAD_MAX
            {
                unread.extend_from_slice(&bytes[..n]);
            }
        }
        let _ = tcsetattr(&self.slave, SetArg::TCSANOW, settings);
        String::from_utf8_lossy(&unread).replace('\r', "\n")
    }
}

/// Removes whole marks and counts them.
fn take_marks(kept: &mut Vec<u8>, mark: &[u8]) -> usize {
    let mut count = 0;
    while let Some(at) = kept.windows(mark.len()).position(|w| w == mark) {
        kept.drain(at..at + mark.len());
        count += 1;
    }
    count
}

/// How many bytes at the end may be the beginning of a mark.
fn begun(kept: &[u8], mark: &[u8]) -> usize {
    (1..mark.len().min(kept.len() + 1)).rev().find(|n| kept.ends_with(&mark[..*n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_out_wherever_a_read_cuts_them() {
        let mark = b"\x1b]m\x07";
        for cut in 0..=mark.len() {
            let (mut shown, mut kept, mut count) = (Vec::new(), Vec::new(), 0);
            let text = [&b"ab\x1b]"[..], mark, b"cd"].concat();
            for part in [&text[..4 + cut], &text[4 + cut..]] {
                kept.extend_from_slice(part);
                count += take_marks(&mut kept, mark);
                let ready = kept.len() - begun(&kept, mark);
                shown.extend(kept.drain(..ready));
            }
            assert_eq!((count, shown.as_slice()), (1, &b"ab\x1b]cd"[..]), "cut {cut}");
        }
    }
}
