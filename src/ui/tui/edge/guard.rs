//! The learner's terminal, taken for the interface and given back as it was found: at the end, at a
//! panic, at a signal.

use crate::terminal::pause;
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use std::io::{self, Write, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::Signal;
use tokio::sync::Notify;

/// The terminal is ours at the moment.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Some thread has panicked, and the terminal was given back for its text.
static PANICKED: Notify = Notify::const_new();

/// Returns when any thread or task has panicked: the interface must end then.
pub(super) async fn panicked() {
    PANICKED.notified().await;
}

/// True while the terminal is ours. A picture that is drawn after it was given back lands on the
/// learner's own screen.
pub(super) fn held() -> bool {
    TAKEN.load(Ordering::SeqCst)
}

/// Holds the terminal until dropped.
pub(super) struct Taken(());

impl Taken {
    /// Takes the terminal: raw mode, and the screen of full-screen programs. A panic gives it back.
    ///
    /// # Errors
    /// The terminal refuses.
    pub(super) fn take() -> io::Result<Taken> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            // The text of a panic belongs on the learner's own screen.
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if crate::tui::terminal::is_emulating() {
                    return; // it is caught, and not reported
                }
                give_back();
                usual(panic);
                PANICKED.notify_one(); // whichever thread it was: the terminal is not ours any more
            }));
        });
        let taken = Taken(()); // dropped if only half of it succeeds
        enter()?;
        Ok(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

fn enter() -> io::Result<()> {
    TAKEN.store(true, Ordering::SeqCst); // first: half of it must be undone too
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, EnableMouseCapture, EnableBracketedPaste)
}

fn give_back() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    // The terminal may be gone: then nothing can show an error.
    let _ = execute!(
        stdout(),
        DisableBracketedPaste,
        DisableMouseCapture,
        LeaveAlternateScreen,
        crossterm::cursor::Show
    );
    let _ = disable_raw_mode();
    let _ = stdout().flush();
}

/// Takes the terminal anew, whatever its state: another process stopped this program by a signal
/// and continued it.
///
/// # Errors
/// The terminal cannot be used.
pub(super) fn retake() -> io::Result<()> {
    give_back();
    enter()
}

/// Gives the terminal back and stops this program, as Ctrl-Z does; returns when it goes on.
///
/// # Errors
/// The terminal cannot be used.
pub(super) async fn suspend(continued: &mut Signal) -> io::Result<()> {
    give_back();
    pause(continued).await?;
    enter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use portable_pty::{CommandBuilder, PtySize, native_pty_system};
    use std::io::Read;
    use tui_term::vt100;

    /// Set in the process that is to panic.
    const INSIDE: &str = "ROPEWALK_TEST_PANICS";

    /// Not a test of its own: what [`a_panic_gives_the_terminal_back`] runs on a terminal.
    #[test]
    fn panics_on_a_terminal() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        let _taken = Taken::take().expect("a terminal");
        print!("the interface");
        stdout().flush().expect("a terminal");
        panic!("boom on the screen");
    }

    /// A thread that is no task of the interface: the keyboard's, or one of a library's.
    #[tokio::test]
    async fn a_panic_of_any_thread_ends_the_loop() {
        if std::env::var_os(INSIDE).is_none() {
            return; // as above: run by the test below
        }
        let _taken = Taken::take().expect("a terminal");
        print!("the interface");
        stdout().flush().expect("a terminal");
        assert!(held());
        std::thread::spawn(|| panic!("boom on the screen"));
        let told = tokio::time::timeout(std::time::Duration::from_secs(60), panicked()).await;
        if told.is_err() {
            std::process::exit(0); // it was not heard of: the test below wants a failure
        }
        assert!(!held(), "nothing is drawn any more");
        std::process::exit(1);
    }

    /// Not a test of its own: runs on the terminal that the test below makes.
    #[test]
    fn takes_a_terminal_that_cannot_be_written_to() {
        use nix::sys::termios::{LocalFlags, tcgetattr};
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
        nix::unistd::dup2_stdout(&full).expect("another output");
        let has_failed = Taken::take().is_err();
        let flags = tcgetattr(io::stdin()).expect("a terminal").local_flags;
        let is_cooked = flags.contains(LocalFlags::ECHO | LocalFlags::ICANON);
        std::process::exit(if has_failed && is_cooked { 0 } else { 1 });
    }

    #[test]
    fn a_terminal_that_was_taken_by_half_is_given_back() {
        let pty = native_pty_system().openpty(PtySize { rows: 24, cols: 80, ..PtySize::default() }).unwrap();
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        let test = "tui::edge::guard::tests::takes_a_terminal_that_cannot_be_written_to";
        command.args(["--exact", test, "--nocapture"]);
        command.env(INSIDE, "1");
        command.env("TERM", "xterm-256color");
        let mut child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn a_panic_gives_the_terminal_back() {
        for test in ["panics_on_a_terminal", "a_panic_of_any_thread_ends_the_loop"] {
            gives_the_terminal_back(test);
        }
    }

    fn gives_the_terminal_back(test: &str) {
        let pty = native_pty_system().openpty(PtySize { rows: 24, cols: 80, ..PtySize::default() }).unwrap();
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("tui::edge::guard::tests::{test}"), "--nocapture"]);
        command.env(INSIDE, "1");
        command.env("TERM", "xterm-256color");
        command.env("RUST_BACKTRACE", "0"); // a long one would scroll the reason away
        let mut child = pty.slave.spawn_command(command).unwrap();
        let mut output = pty.master.try_clone_reader().unwrap();
        let reader = std::thread::spawn(move || {
            let mut parser = vt100::Parser::new(24, 80, 0);
            let (mut bytes, mut taken) = ([0; 4096], false);
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                for byte in &bytes[..n] {
                    parser.process(std::slice::from_ref(byte));
                    taken |= parser.screen().alternate_screen() && parser.screen().bracketed_paste();
                }
            }
            (parser, taken)
        });
        assert!(!child.wait().unwrap().success(), "it panicked");
        use nix::sys::termios::{LocalFlags, tcgetattr};
        // While this end is open: the kernel itself resets a terminal that no process has open.
        let tty = std::fs::File::open(pty.master.tty_name().expect("a name")).expect("the terminal");
        let flags = tcgetattr(&tty).unwrap().local_flags;
        assert!(flags.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG), "{flags:?}");
        drop((tty, pty.slave)); // the end of the output
        let (parser, taken) = reader.join().unwrap();
        let screen = parser.screen();
        assert!(taken, "the terminal was the interface's");
        assert!(!screen.alternate_screen() && !screen.bracketed_paste() && !screen.hide_cursor());
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        assert!(
            screen.contents().contains("boom on the screen"),
            "the reason is on the learner's own screen"
        );
    }
}
