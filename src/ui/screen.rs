//! The terminal that the learner's shell runs on, and the way of its bytes to the learner's own.

use super::column::Column;
use super::terminal;
use super::typed::typed_text;
use linux::{fds, pty};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{
    FlowArg, LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcflow, tcgetattr, tcsetattr,
};
use parking_lot::Mutex;
use portable_pty::{MasterPty, PtySize, SlavePty, native_pty_system};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The last output of a command is on its way: it is waited for as long as some of it is shown
/// within so many milliseconds.
const SETTLE_MAX: u16 = 1000;
/// Bytes that are taken out of the terminal at once.
const PIECE: usize = 4096;
/// Bytes that are passed on at once, as long as fewer than these are unread: far less than the
/// terminal has room for.
const AHEAD: usize = 1024;
/// Typed bytes that wait for a program to read: a large paste. What is typed beyond it is lost, and
/// answered with the terminal's bell.
const WAITING_MAX: usize = 1 << 20;
/// The longest line that the kernel's line editor takes: it drops what is behind. N_TTY_BUF_SIZE -
/// 1, n_tty(4).
const LINE_MAX: usize = 4095;

/// The terminal of the learner's shell, and what is on its way to and from it.
pub(crate) struct Screen {
    master: Arc<Mutex<Box<dyn MasterPty + Send>>>,
    writer: Box<dyn Write + Send>,
    /// The shell's side of the terminal, for what only that side can do.
    slave: File,
    settings: Option<Termios>,
    mark: Mark,
    /// Tells the numbers of marks that were seen, eight bytes each.
    marked: File,
    /// The number of the last mark that was written. A mark may come after it was given up, and may
    /// never come: Ctrl-C drops what the terminal has not passed on. By its number it is not taken
    /// for another one.
    last: u64,
    /// Bytes that were shown.
    written: Arc<AtomicU64>,
    shown: Arc<AtomicBool>,
    /// Typed, and not passed on yet.
    waiting: VecDeque<u8>,
    /// Bytes that were passed on since the last line's end.
    line: usize,
    /// The key that interrupts was pressed since [`Screen::take_interrupt`].
    interrupted: bool,
}

/// How many of the waiting bytes go on, when the program has read everything before. With the
/// kernel's line editor (`edited`) none of a line that is longer than it takes: such a line is for
/// the next prompt. Pure.
fn next_piece(waiting: &VecDeque<u8>, line: usize, edited: bool) -> usize {
    let piece = waiting.len().min(AHEAD);
    if !edited {
        return piece;
    }
    let mut length = line;
    let mut whole = 0;
    for (at, byte) in waiting.iter().enumerate() {
        length += 1;
        if length > LINE_MAX {
            return whole; // wherever this line ends
        }
        if matches!(byte, b'\r' | b'\n') {
            (length, whole) = (0, at + 1);
            if whole >= piece {
                break;
            }
        }
    }
    // The last line may have no end yet. Its beginning goes on while the rest may still fit.
    piece
}

/// Tells the shell's terminal the size of the learner's.
#[derive(Clone)]
pub(crate) struct Resizer(Arc<Mutex<Box<dyn MasterPty + Send>>>);

impl Resizer {
    pub(crate) fn resize(&self) {
        let master = self.0.lock();
        let _ = master.resize(now()); // a program that does not hear of it draws a bit wrongly
    }
}

fn now() -> PtySize {
    let (cols, rows) = terminal::size();
    PtySize { rows, cols, ..PtySize::default() }
}

impl Screen {
    /// A new terminal of the learner's size. Nothing is shown before [`Screen::begin`].
    pub(crate) fn open(column: Arc<Column>) -> io::Result<(Screen, Box<dyn SlavePty + Send>)> {
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
        let mark = Mark(format!("\x1b]ropewalk-{:016x};", rng::Rng::from_os().u64()).into_bytes());
        let shown = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicU64::new(0));
        let (wanted, own, count) = (mark.clone(), shown.clone(), written.clone());
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
                let seen = wanted.take(&mut kept);
                let ready = kept.len() - wanted.begun(&kept);
                let out: Vec<u8> = kept.drain(..ready).collect();
                if own.load(Ordering::Acquire) && !out.is_empty() {
                    column.saw(&out);
                    let mut stdout = io::stdout().lock();
                    // In pieces, so that a slow terminal is seen to go on.
                    for piece in out.chunks(AHEAD) {
                        let _ = stdout.write_all(piece).and_then(|()| stdout.flush()); // a closed terminal shows nothing
                        count.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    }
                }
                if seen.iter().any(|number| mark_seen.write_all(&number.to_le_bytes()).is_err()) {
                    return;
                }
            }
        })?;
        let master = Arc::new(Mutex::new(pair.master));
        let screen = Screen {
            master,
            writer,
            slave,
            settings: None,
            mark,
            marked: marked.into(),
            last: 0,
            written,
            shown,
            waiting: VecDeque::new(),
            line: 0,
            interrupted: false,
        };
        Ok((screen, pair.slave))
    }

    /// Shows everything that is printed from now on; what start files printed is not shown.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.settle()?;
        self.settings = tcgetattr(&self.slave).ok();
        self.shown.store(true, Ordering::Release);
        Ok(())
    }

    /// What tells this terminal the size of the learner's, for another task.
    pub(crate) fn resizer(&self) -> Resizer {
        Resizer(self.master.clone())
    }

    /// Tells this terminal the size of the learner's.
    pub(crate) fn resize(&self) {
        self.resizer().resize();
    }

    /// Bytes from the learner's keyboard. They wait here until the program reads, see
    /// [`Screen::pass_on`]. A key that interrupts overtakes what waits, and throws it away as the
    /// kernel does. Returns whether there was such a key.
    ///
    /// # Errors
    /// Those of the terminal.
    pub(crate) fn type_in(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let mut signalled = false;
        let room = WAITING_MAX.saturating_sub(self.waiting.len());
        let lost = bytes.len() > room;
        self.waiting.extend(&bytes[..bytes.len().min(room)]);
        if let Ok(settings) = tcgetattr(&self.slave)
            && settings.local_flags.contains(LocalFlags::ISIG)
        {
            use SpecialCharacterIndices::{VINTR, VQUIT, VSUSP};
            let keys = [VINTR, VQUIT, VSUSP].map(|key| settings.control_chars[key as usize]);
            self.interrupted |= keys[0] != 0 && bytes.contains(&keys[0]);
            // A key that interrupts finds room in any case: it throws away what waits.
            if let Some(key) = bytes.iter().skip(room).rfind(|b| **b != 0 && keys.contains(b)) {
                self.waiting.push_back(*key);
            }
            if let Some(at) = self.waiting.iter().rposition(|b| *b != 0 && keys.contains(b)) {
                self.waiting.drain(..at);
                self.line = 0;
                signalled = true;
                let key: Vec<u8> = self.waiting.drain(..1).collect();
                self.writer.write_all(&key).and_then(|()| self.writer.flush())?;
            }
        }
        if lost {
            let mut out = io::stdout();
            // A closed terminal hears no bell.
            let _ = out.write_all(b"\x07").and_then(|()| out.flush());
        }
        self.pass_on()?;
        Ok(signalled)
    }

    /// Passes on what the terminal has room for: the kernel would drop more, or block the writer,
    /// and could not give back to the next prompt what no program has read. See
    /// [`Screen::holds_back`] for whether something still waits.
    ///
    /// # Errors
    /// Those of the terminal.
    pub(crate) fn pass_on(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() && pty::unread(self.slave.as_fd())? < AHEAD {
            let edited = tcgetattr(&self.slave).is_ok_and(|s| s.local_flags.contains(LocalFlags::ICANON));
            let piece = next_piece(&self.waiting, self.line, edited);
            if piece == 0 {
                break;
            }
            let bytes: Vec<u8> = self.waiting.drain(..piece).collect();
            self.line = match bytes.iter().rposition(|b| matches!(b, b'\r' | b'\n')) {
                Some(end) => bytes.len() - 1 - end,
                None => self.line + bytes.len(),
            };
            self.writer.write_all(&bytes).and_then(|()| self.writer.flush())?;
            if bytes.len() > 1 {
                break; // it takes a moment until the other side has them
            }
        }
        Ok(())
    }

    /// Returns whether Ctrl-C was pressed since the last call. A program that takes keys as they
    /// are, e.g. an editor, is not interrupted by it.
    pub(crate) fn take_interrupt(&mut self) -> bool {
        std::mem::take(&mut self.interrupted)
    }

    /// Returns whether typed bytes wait for the program to read.
    pub(crate) fn holds_back(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Prints a line of text among the programs' output.
    pub(crate) fn say(&self, text: &str) {
        self.resume_output();
        let _ = (&self.slave).write_all(format!("{text}\n").as_bytes()); // the terminal may be gone
    }

    /// Makes the terminal print again if Ctrl-S has stopped it: a write would wait for a Ctrl-Q,
    /// and this thread, which passes keys on, would be the one that waits. The kernel lets `TCOON`
    /// end only what `TCOOFF` has begun, so that comes first. Source: Linux,
    /// `n_tty_ioctl_helper` in drivers/tty/tty_ioctl.c.
    fn resume_output(&self) {
        for action in [FlowArg::TCOOFF, FlowArg::TCOON] {
            let _ = tcflow(&self.slave, action); // the terminal may be gone
        }
    }

    /// Returns when everything that was written to this terminal so far has been shown: a mark is
    /// written behind it, and waited for.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        self.resume_output();
        self.last += 1;
        (&self.slave).write_all(&self.mark.numbered(self.last))?;
        let mut shown = self.written.load(Ordering::Relaxed);
        loop {
            let mut wanted = [PollFd::new(self.marked.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wanted, PollTimeout::from(SETTLE_MAX)) {
                Err(nix::errno::Errno::EINTR) => continue,
                Ok(0) => {
                    let now = self.written.load(Ordering::Relaxed);
                    if std::mem::replace(&mut shown, now) == now {
                        return Ok(()); // the learner's terminal takes nothing
                    }
                }
                Ok(_) => {
                    let mut number = [0; 8];
                    match (&self.marked).read_exact(&mut number) {
                        Ok(()) if u64::from_le_bytes(number) == self.last => return Ok(()),
                        Ok(()) => {} // of a line before, given up by then
                        // The last program has closed the terminal.
                        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                        Err(error) => return Err(error),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes what was typed and no program read. The terminal's settings become what they were at
    /// the start.
    pub(crate) fn unread(&mut self) -> String {
        let Some(settings) = &self.settings else { return String::new() };
        let mut taking = settings.clone();
        taking.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        taking.control_chars[SpecialCharacterIndices::VMIN as usize] = 0;
        taking.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        let mut unread = Vec::new();
        if tcsetattr(&self.slave, SetArg::TCSANOW, &taking).is_ok() {
            let mut bytes = [0; PIECE];
            while let Ok(n) = (&self.slave).read(&mut bytes)
                && n > 0
            {
                unread.extend_from_slice(&bytes[..n]);
            }
        }
        let _ = tcsetattr(&self.slave, SetArg::TCSANOW, settings);
        unread.extend(self.waiting.drain(..));
        self.line = 0;
        typed_text(&String::from_utf8_lossy(&unread))
    }
}

/// How marks begin. A number of [`DIGITS`] and a BEL follow: `ESC ] ropewalk-TOKEN ;
/// 000000000000002a BEL`.
#[derive(Clone)]
struct Mark(Vec<u8>);

/// Hexadecimal digits of a mark's number.
const DIGITS: usize = 16;

impl Mark {
    fn numbered(&self, number: u64) -> Vec<u8> {
        [self.0.as_slice(), format!("{number:0DIGITS$x}\x07").as_bytes()].concat()
    }

    /// Removes whole marks, and returns their numbers.
    fn take(&self, kept: &mut Vec<u8>) -> Vec<u64> {
        let (mut seen, mut from) = (Vec::new(), 0);
        while let Some(at) = kept[from..].windows(self.0.len()).position(|w| w == self.0) {
            let (at, digits) = (from + at, from + at + self.0.len());
            let number = kept.get(digits..digits + DIGITS).and_then(|d| std::str::from_utf8(d).ok());
            let number = number.and_then(|d| u64::from_str_radix(d, 16).ok());
            match number.filter(|_| kept.get(digits + DIGITS) == Some(&b'\x07')) {
                Some(number) => {
                    kept.drain(at..=digits + DIGITS);
                    seen.push(number);
                    from = at;
                }
                None => from = digits,
            }
        }
        seen
    }

    /// How many bytes at the end may be the beginning of a mark.
    fn begun(&self, kept: &[u8]) -> usize {
        let whole = self.0.len() + DIGITS + 1;
        let begins = |end: &[u8]| {
            let (head, number) = end.split_at(end.len().min(self.0.len()));
            self.0.starts_with(head) && number.iter().all(u8::is_ascii_hexdigit)
        };
        (1..whole.min(kept.len() + 1)).rev().find(|n| begins(&kept[kept.len() - n..])).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn marks_are_taken_out_wherever_a_read_cuts_them() {
        let mark = Mark(b"\x1b]m;".to_vec());
        let whole = mark.numbered(42);
        for cut in 0..=whole.len() {
            let (mut shown, mut kept, mut seen) = (Vec::new(), Vec::new(), Vec::new());
            let text = [&b"ab\x1b]m;12x"[..], &mark.numbered(41), &whole, b"cd"].concat();
            for part in [&text[..cut], &text[cut..cut + 30], &text[cut + 30..]] {
                kept.extend_from_slice(part);
                seen.extend(mark.take(&mut kept));
                let ready = kept.len() - mark.begun(&kept);
                shown.extend(kept.drain(..ready));
            }
            assert_eq!(
                (seen.as_slice(), shown.as_slice()),
                (&[41, 42][..], &b"ab\x1b]m;12xcd"[..]),
                "cut {cut}"
            );
        }
    }

    #[test]
    fn ctrl_c_is_remembered_unless_the_program_takes_keys_as_they_are() {
        let (mut screen, _shell) = Screen::open(Arc::default()).unwrap();
        screen.type_in(b"typed").unwrap();
        assert!(!screen.take_interrupt());
        screen.type_in(b"before\x03after").unwrap();
        assert!(screen.take_interrupt() && !screen.take_interrupt(), "once");
        let mut raw = tcgetattr(&screen.slave).unwrap();
        raw.local_flags.remove(LocalFlags::ISIG);
        tcsetattr(&screen.slave, SetArg::TCSANOW, &raw).unwrap();
        screen.type_in(b"\x03").unwrap();
        assert!(!screen.take_interrupt());
    }

    #[test]
    fn what_nobody_reads_is_kept_within_bounds_and_can_be_interrupted() {
        let (mut screen, _shell) = Screen::open(Arc::default()).unwrap();
        let paste = vec![b'x'; 1 << 19];
        for _ in 0..4 {
            screen.type_in(&paste).unwrap();
        }
        assert!(screen.waiting.len() <= WAITING_MAX, "{}", screen.waiting.len());
        screen.type_in(b"x\x03y").unwrap();
        assert!(screen.take_interrupt() && screen.waiting.len() <= 1, "{}", screen.waiting.len());
    }

    #[test]
    fn a_mark_that_came_too_late_is_not_taken_for_the_next_one() {
        let (mut screen, _shell) = Screen::open(Arc::default()).unwrap();
        // What `settle` leaves when it gives up: a mark that is still to come.
        screen.last += 1;
        (&screen.slave).write_all(&screen.mark.numbered(screen.last)).unwrap();
        assert!(settles(&mut screen), "at its own mark");
        // What is in the pipe next is of a mark behind it.
        (&screen.slave).write_all(&screen.mark.numbered(u64::MAX)).unwrap();
        let mut next = [0; 8];
        (&screen.marked).read_exact(&mut next).unwrap();
        assert_eq!(u64::from_le_bytes(next), u64::MAX, "the next one would end at an old mark");
    }

    /// True if the mark of some `settle` was seen, and not given up. The reader's thread may have
    /// no processor for a second.
    fn settles(screen: &mut Screen) -> bool {
        (0..60).any(|_| {
            let before = Instant::now();
            screen.settle().unwrap();
            before.elapsed() < Duration::from_millis(SETTLE_MAX.into())
        })
    }

    #[test]
    fn a_mark_that_never_comes_costs_no_later_line_anything() {
        let (mut screen, _shell) = Screen::open(Arc::default()).unwrap();
        screen.last += 1; // dropped with what the terminal had not passed on
        assert!(settles(&mut screen), "each line waits until it gives up");
    }

    /// `sleep 3`, and Ctrl-S while it runs: nothing would read the Ctrl-Q.
    #[test]
    fn a_terminal_that_ctrl_s_has_stopped_is_written_to() {
        for is_line in [true, false] {
            let (mut screen, _shell) = Screen::open(Arc::default()).unwrap();
            screen.type_in(b"\x13\r").unwrap();
            // The terminal takes keys in their order: behind the line's end it is stopped.
            while pty::unread(screen.slave.as_fd()).unwrap() == 0 {
                std::thread::yield_now();
            }
            let (tell, told) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                match is_line {
                    true => screen.say("[1]+ Done"),
                    false => screen.settle().unwrap(),
                }
                let _ = tell.send(()); // the test may have given it up
            });
            assert!(told.recv_timeout(Duration::from_secs(60)).is_ok(), "a line: {is_line}");
        }
    }

    #[test]
    fn a_line_that_the_kernel_would_cut_is_not_passed_on() {
        let piece = |text: &str, line, edited| next_piece(&text.bytes().collect(), line, edited);
        assert_eq!(piece("ls\r", 0, true), 3);
        assert_eq!(piece(&"x".repeat(5000), 0, false), AHEAD);
        assert_eq!(piece(&"ls\r".repeat(1000), 0, true), AHEAD);
        let long = format!("ls\r{}\rls\r", "x".repeat(5000));
        assert_eq!(piece(&long, 0, true), 3);
        assert_eq!(piece(&long[3..], 0, true), 0);
        assert_eq!(piece(&"x".repeat(3000), 0, true), AHEAD);
        assert_eq!(piece(&"x".repeat(3000), 2000, true), 0, "with what the line has already it is too long");
    }
}
