//! The learner's own terminal: raw while a program runs on it, and left as it was found.

use super::column::Column;
use futures::FutureExt;
use linux::{fds, pty, trap};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{
    InputFlags, LocalFlags, SetArg, SpecialCharacterIndices, Termios, cfmakeraw, tcgetattr, tcsetattr,
};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::task::Poll;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// True if standard input and output are a terminal; standard error may be something else.
pub fn is_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// True for a terminal that knows no control sequences, or of which nothing is known: sequences
/// would stand on it as they are.
pub fn dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|t| t == "dumb" || t.is_empty())
}

/// True if standard output is a terminal that knows colours, and `NO_COLOR` is not set.
pub fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && !dumb()
}

/// The size of the terminal: (columns, rows); 80 by 24 where it is not known.
pub fn size() -> (u16, u16) {
    match pty::size(io::stdout().as_fd()) {
        Ok((columns, rows)) if columns > 0 && rows > 0 => (columns, rows),
        _ => (80, 24),
    }
}

/// Signals that end a session. The default action of each would leave the terminal raw, and the
/// cluster without its farewell.
pub(crate) struct EndSignals(Vec<(SignalKind, Signal)>);

impl EndSignals {
    /// Those of a session in lines, where Ctrl-C is for the commands.
    pub(crate) const LINES: &[SignalKind] =
        &[SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
    /// Those of the interface. In raw mode no key sends SIGINT or SIGQUIT: `timeout -s INT` and the
    /// stop button of an editor do.
    pub(crate) const INTERFACE: &[SignalKind] =
        &[SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit(), SignalKind::interrupt()];

    /// Those of a script, which has no terminal to give back at SIGQUIT.
    pub(crate) const SCRIPT: &[SignalKind] =
        &[SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()];

    /// Installs their handlers. A signal that the program that started this one ignores stays
    /// ignored (`nohup`).
    ///
    /// # Errors
    /// The kernel refuses a handler.
    pub(crate) fn new(kinds: &[SignalKind]) -> io::Result<EndSignals> {
        let heeded = kinds.iter().filter(|kind| !trap::is_ignored(kind.as_raw_value()));
        Ok(EndSignals(heeded.map(|kind| Ok((*kind, signal(*kind)?))).collect::<io::Result<_>>()?))
    }

    /// Returns the exit code if one of them has come.
    pub(crate) fn came(&mut self) -> Option<i32> {
        self.recv().now_or_never()
    }

    /// Waits for one of them; the exit code.
    pub(crate) async fn recv(&mut self) -> i32 {
        let heard = std::future::poll_fn(|context| {
            let came = self.0.iter_mut().find_map(|(kind, signal)| {
                signal.poll_recv(context).is_ready().then_some(kind.as_raw_value())
            });
            came.map_or(Poll::Pending, Poll::Ready)
        });
        128 + heard.await
    }
}

/// Puts the terminal's settings back when dropped: at the end, at a signal, at a panic.
pub(crate) struct AsFound(Option<Termios>);

impl AsFound {
    /// Remembers the settings of standard input's terminal, if it is one.
    pub(crate) fn keep() -> AsFound {
        AsFound(tcgetattr(io::stdin()).ok())
    }
}

impl Drop for AsFound {
    fn drop(&mut self) {
        let Some(found) = &self.0 else { return };
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, found); // nothing better can be done at the end
        if io::stdout().is_terminal() && !dumb() {
            let mut out = io::stdout();
            let _ = out.write_all(b"\x1b[?2004l\x1b[?25h").and_then(|()| out.flush()); // no bracketed paste, a cursor
        }
    }
}

/// True if a shell could continue this program after Ctrl-Z. The kernel's rule for a process group
/// that is not orphaned: the parent of one of its processes belongs to the same session and to
/// another group, as the shell does that started it as a job. In an orphaned one Ctrl-Z stops
/// nothing. Source: setpgid(2), POSIX 3.264.
pub(crate) fn can_go_on() -> bool {
    use nix::unistd::{Pid, getpgid, getpgrp, getppid, getsid};
    let (group, session) = (getpgrp(), getsid(None));
    let mut parent = getppid();
    while getpgid(Some(parent)) == Ok(group) {
        match parent_in(&std::fs::read(format!("/proc/{parent}/stat")).unwrap_or_default()) {
            Some(next) if next > 0 => parent = Pid::from_raw(next),
            _ => return false,
        }
    }
    // A parent outside of this PID namespace has the number 0, which would mean ourselves.
    parent.as_raw() > 0 && session.is_ok() && getsid(Some(parent)) == session
}

/// Returns the parent's number in a line of /proc/PID/stat: `PID (NAME) STATE PPID …`. The name
/// may have spaces and brackets in it, and bytes that are no UTF-8. Pure.
fn parent_in(stat: &[u8]) -> Option<i32> {
    let behind = stat.rsplit(|byte| *byte == b')').next()?;
    std::str::from_utf8(behind).ok()?.split_whitespace().nth(1)?.parse().ok()
}

/// Stops all processes of this program's job, as Ctrl-Z does; returns when it goes on.
///
/// # Errors
/// The signal cannot be sent.
pub(crate) async fn pause(continued: &mut Signal) -> io::Result<()> {
    while continued.recv().now_or_never().flatten().is_some() {} // of an earlier time
    // SIGSTOP cannot be caught, so it also stops processes of the job that handle SIGTSTP.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(0), nix::sys::signal::Signal::SIGSTOP)?;
    // Another thread may have taken the signal: this one would run on for a moment, and draw.
    continued.recv().await;
    Ok(())
}

/// What a full-screen program would have sent at its end, had it been let: no mouse in any of its
/// modes and encodings, the usual keys, and the usual screen.
const LEAVE: &[u8] =
    b"\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1005l\x1b[?1006l\x1b[?2004l\x1b[?1l\x1b>\x1b[0m\x1b[?1049l";

/// Ends a full-screen program's use of the terminal in its place.
pub(crate) fn leave_full_screen() {
    let mut out = io::stdout();
    let _ = out.write_all(LEAVE).and_then(|()| out.flush()); // the terminal may be gone
}

/// The terminal passes every byte on, until this is dropped.
pub(crate) struct Raw(Termios);

impl Raw {
    /// Makes the terminal of standard input raw.
    ///
    /// # Errors
    /// Standard input is no terminal, or does not take the settings.
    pub(crate) fn enter() -> io::Result<Raw> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0); // the terminal may be gone
    }
}

/// Between two prompts the terminal keeps what is typed for the next one, until this is dropped.
///
/// The kernel's own line editor must not have it: it drops what is behind the first 4095 bytes of a
/// line, as of a long paste that comes while the lesson engine is busy; it does not know the
/// brackets around a paste, nor the editor's keys; and it shows what is typed in the middle of what
/// is printed, of which the prompt then knows nothing. Ctrl-C and Ctrl-Z keep their effect; Ctrl-\
/// has none (see [`without_quit`]).
pub(crate) struct Unedited {
    found: Termios,
}

/// The value of a key that is switched off: `_POSIX_VDISABLE` on Linux, termios(3).
const NO_KEY: u8 = 0;

/// Returns these settings with a Ctrl-\ that has no effect: its signal reaches all programs that
/// have the terminal, this one too, and would end the session and its cluster along with a command.
/// Shells ignore it (bash(1), Signals).
fn without_quit(found: &Termios) -> Termios {
    let mut settings = found.clone();
    settings.control_chars[SpecialCharacterIndices::VQUIT as usize] = NO_KEY;
    settings
}

/// These settings without the kernel's line editor: see [`Unedited`]. Enter stays the key that it
/// is at the prompt.
fn unedited(found: &Termios) -> Termios {
    let mut settings = without_quit(found);
    settings.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHONL);
    settings.input_flags.remove(InputFlags::ICRNL);
    settings.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    settings.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    settings
}

impl Unedited {
    /// Takes the terminal of standard input.
    ///
    /// # Errors
    /// Standard input is no terminal, or does not take the settings.
    pub(crate) fn enter() -> io::Result<Unedited> {
        let found = tcgetattr(io::stdin())?;
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &unedited(&found))?;
        Ok(Unedited { found })
    }

    /// Sets the terminal anew: a shell that this program was stopped under may have changed it.
    pub(crate) fn again(&self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &unedited(&self.found)); // it may be gone
    }

    /// Gives a program, or a question, the line editor of the kernel until the guard is dropped.
    pub(crate) fn edited(&self) -> Edited {
        let settings = without_quit(&self.found);
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &settings); // the terminal may be gone
        Edited(unedited(&self.found))
    }
}

impl Drop for Unedited {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.found); // the terminal may be gone
    }
}

/// See [`Unedited::edited`].
pub(crate) struct Edited(Termios);

impl Drop for Edited {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0); // the terminal may be gone
    }
}

/// Shows that Ctrl-C was pressed. Where the terminal shows what is typed, it has done so.
pub(crate) fn show_interrupt(column: &Column) {
    if tcgetattr(io::stdin()).is_ok_and(|found| !found.local_flags.contains(LocalFlags::ECHO)) {
        let mut out = io::stdout();
        let _ = out.write_all(b"^C").and_then(|()| out.flush()); // the terminal may be gone
    }
    column.saw(b"^C");
}

/// Returns when standard input can be read. At a terminal that edits lines: when a line is whole. A
/// thread waits for it, which reads nothing, and ends when this wait is given up.
///
/// # Errors
/// The thread cannot be started.
pub(crate) async fn input_ready() -> io::Result<()> {
    let (given_up, waits) = fds::pipe()?;
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("answer".into()).spawn(move || {
        let stdin = io::stdin();
        let mut wanted =
            [PollFd::new(stdin.as_fd(), PollFlags::POLLIN), PollFd::new(given_up.as_fd(), PollFlags::POLLIN)];
        while poll(&mut wanted, PollTimeout::NONE) == Err(nix::errno::Errno::EINTR) {}
        let _ = tell.send(()); // the wait may have been given up
    })?;
    let _ = told.await; // a thread that failed: the input is read at once
    drop(waits);
    Ok(())
}

/// True if the terminal of standard input is gone, because its window was closed: then nothing can
/// be printed, and a try may panic.
pub(crate) fn is_gone() -> bool {
    let stdin = io::stdin();
    // No event is asked for: poll(2) reports the end of a terminal all the same.
    let mut end = [PollFd::new(stdin.as_fd(), PollFlags::empty())];
    matches!(poll(&mut end, PollTimeout::ZERO), Ok(1..))
}

/// True if input waits to be read, or comes within this time.
pub(crate) fn input_within(time: std::time::Duration) -> bool {
    let stdin = io::stdin();
    let mut wanted = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
    matches!(poll(&mut wanted, time), Ok(1..))
        && wanted[0].revents().is_some_and(|found| found.contains(PollFlags::POLLIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tui_term::vt100::{MouseProtocolMode, Parser};

    #[test]
    fn a_parent_is_found_behind_a_name_of_any_bytes() {
        assert_eq!(parent_in(b"712 (sleep) S 700 712 700"), Some(700));
        assert_eq!(parent_in(b"712 (a) b (c) T 701 712"), Some(701));
        assert_eq!(parent_in(b"712 (caf\xe9 \xff) S 702 712"), Some(702), "Latin-1");
        assert_eq!((parent_in(b"712 (sleep) S"), parent_in(b"")), (None, None));
    }

    /// Set in the process whose terminal is closed.
    const CLOSED: &str = "ROPEWALK_TEST_CLOSED_TERMINAL";

    /// Not a test of its own: what the one below runs in a process.
    #[test]
    fn loses_its_terminal() {
        if std::env::var_os(CLOSED).is_none() {
            return;
        }
        let pair = nix::pty::openpty(None, None).unwrap();
        nix::unistd::dup2_stdin(&pair.slave).unwrap();
        let was_gone = is_gone();
        drop(pair.master);
        std::process::exit(if !was_gone && is_gone() { 0 } else { 1 });
    }

    #[test]
    fn a_closed_window_is_noticed() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "terminal::tests::loses_its_terminal"]);
        assert!(command.env(CLOSED, "1").output().unwrap().status.success());
    }

    /// Set in the process that gets the signals, because one reaches all of a process.
    const INSIDE: &str = "ROPEWALK_TEST_END_SIGNALS";

    /// Not a test of its own: what the one below runs in a process.
    #[tokio::test]
    async fn gets_each_signal() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        use nix::sys::signal::{Signal, raise};
        linux::signal::reset().unwrap(); // the tests may run under nohup
        for kinds in [EndSignals::LINES, EndSignals::INTERFACE] {
            let mut end = EndSignals::new(kinds).unwrap();
            for kind in [Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
                if kind == Signal::SIGINT && kinds == EndSignals::LINES {
                    continue;
                }
                raise(kind).unwrap();
                assert_eq!(end.recv().await, 128 + kind as i32);
            }
        }
    }

    #[test]
    fn no_signal_that_asks_for_the_end_leaves_the_terminal_raw() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "terminal::tests::gets_each_signal"]);
        let ran = command.env(INSIDE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }

    /// A paste that comes while no program reads: behind Enter, and before the next prompt.
    #[test]
    fn a_long_paste_between_two_prompts_is_kept_whole_and_not_shown() {
        use std::fs::File;
        use std::io::Read;
        let pair = nix::pty::openpty(None, None).unwrap();
        let (mut screen, mut program) = (File::from(pair.master), File::from(pair.slave));
        let found = tcgetattr(&program).unwrap();
        tcsetattr(&program, SetArg::TCSANOW, &unedited(&found)).unwrap();
        let paste = format!("\x1b[200~printf %s {} | wc -c\x1b[201~\r", "o".repeat(5000));
        let (mut keys, typed) = (screen.try_clone().unwrap(), paste.clone());
        // The kernel takes the rest when the first bytes are read.
        let typing = std::thread::spawn(move || keys.write_all(typed.as_bytes()).unwrap());
        let (mut came, mut piece) = (Vec::new(), [0; 4096]);
        while came.len() < paste.len() {
            let mut wanted = [PollFd::new(program.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut wanted, PollTimeout::from(60_000_u16)), Ok(1), "{} bytes came", came.len());
            let count = program.read(&mut piece).unwrap();
            came.extend_from_slice(&piece[..count]);
        }
        typing.join().unwrap();
        assert!(came == paste.as_bytes(), "{}", String::from_utf8_lossy(&came));
        program.write_all(b"5000\n").unwrap();
        let mut shown = [0; 6];
        screen.read_exact(&mut shown).unwrap();
        assert_eq!(&shown, b"5000\r\n", "what is typed does not stand before what is printed");
    }

    /// `get pods -w`, which runs in this program, and `etcdctl watch`, which has the terminal along
    /// with it.
    #[test]
    fn no_key_ends_the_session_along_with_a_command() {
        use SpecialCharacterIndices::{VINTR, VQUIT, VSUSP};
        let pair = nix::pty::openpty(None, None).unwrap();
        let found = tcgetattr(&pair.slave).unwrap();
        let key = |settings: &Termios, key: SpecialCharacterIndices| settings.control_chars[key as usize];
        assert_ne!(key(&found, VQUIT), NO_KEY);
        for settings in [unedited(&found), without_quit(&found)] {
            assert_eq!(key(&settings, VQUIT), NO_KEY);
            for kept in [VINTR, VSUSP] {
                assert_eq!(key(&settings, kept), key(&found, kept));
            }
        }
    }

    #[test]
    fn a_program_that_was_ended_leaves_no_mode_behind() {
        for mode in ["9", "1000", "1002", "1003"] {
            let mut terminal = Parser::new(5, 20, 0);
            let begin =
                format!("\x1b[?1049h\x1b[?{mode}h\x1b[?1006h\x1b[?1005h\x1b[?2004h\x1b[?1h\x1b=\x1b[7m");
            terminal.process(begin.as_bytes());
            assert_ne!(terminal.screen().mouse_protocol_mode(), MouseProtocolMode::None);
            terminal.process(LEAVE);
            let screen = terminal.screen();
            assert_eq!(screen.mouse_protocol_mode(), MouseProtocolMode::None, "{mode}");
            assert!(!screen.alternate_screen() && !screen.bracketed_paste() && !screen.inverse());
            assert!(!screen.application_cursor() && !screen.application_keypad());
        }
    }
}
