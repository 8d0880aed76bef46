//! Keys to which the prompt gives a meaning of its own: `?`, Ctrl-D and Ctrl-Z.

use crate::terminal;
use lang::charset::print;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// `?` on an empty line shows the keys of the interface around this shell.
pub(super) struct AskFrame {
    pub token: String,
    /// A command is typed, not a text that continues one.
    pub first: Arc<AtomicBool>,
}

/// Returns whether `?` asks for help: not in a manifest or a here-document, nor behind text. Pure.
fn asks_for_help(line: &str, first: bool) -> bool {
    line.is_empty() && first
}

impl rustyline::ConditionalEventHandler for AskFrame {
    fn handle(
        &self,
        _: &rustyline::Event,
        _: rustyline::RepeatCount,
        _: bool,
        context: &rustyline::EventContext<'_>,
    ) -> Option<rustyline::Cmd> {
        if !asks_for_help(context.line(), self.first.load(Ordering::Relaxed)) {
            return None;
        }
        print!("\x1b]{};{};help\x07", crate::tui::terminal::TELL, self.token);
        let _ = std::io::Write::flush(&mut std::io::stdout()); // a closed terminal has no frame
        Some(rustyline::Cmd::Noop)
    }
}

/// Ctrl-D behind lines that came together, and on a line with nothing on it: the end of input, as
/// at a terminal that edits lines itself. Input of `quit` and then Ctrl-D has both effects.
pub(super) struct EndOfInput;

impl rustyline::ConditionalEventHandler for EndOfInput {
    fn handle(
        &self,
        _: &rustyline::Event,
        _: rustyline::RepeatCount,
        _: bool,
        context: &rustyline::EventContext<'_>,
    ) -> Option<rustyline::Cmd> {
        let behind_a_line = context.pos() == context.line().len() && context.line().ends_with('\n');
        behind_a_line.then_some(rustyline::Cmd::AcceptLine)
    }
}

/// Ctrl-Z. rustyline's own way takes the terminal again before it has stopped, when another thread
/// gets the signal: the shell then sets it as shells do, and a learner who comes back types into a
/// terminal that edits nothing.
pub(super) struct Pause {
    continued: Mutex<Signal>,
    /// The terminal's settings from before this program changed them.
    found: Mutex<Termios>,
}

impl Pause {
    /// Keeps the terminal as it is now. `None`: it is none, or the signal cannot be handled.
    pub(super) fn new() -> Option<Pause> {
        let continued = signal(SignalKind::from_raw(nix::libc::SIGCONT)).ok()?;
        Some(Pause { continued: Mutex::new(continued), found: Mutex::new(tcgetattr(std::io::stdin()).ok()?) })
    }

    fn pause(&self) -> std::io::Result<()> {
        let mut out = std::io::stdout();
        let ours = tcgetattr(std::io::stdin())?;
        std::io::Write::write_all(&mut out, b"\x1b[?2004l\r\n")?;
        std::io::Write::flush(&mut out)?;
        tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &self.found.lock())?;
        let mut continued = self.continued.lock();
        Handle::current().block_on(terminal::pause(&mut continued))?;
        tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &ours)?;
        std::io::Write::write_all(&mut out, b"\x1b[?2004h")?;
        std::io::Write::flush(&mut out)
    }
}

impl rustyline::ConditionalEventHandler for Pause {
    fn handle(
        &self,
        _: &rustyline::Event,
        _: rustyline::RepeatCount,
        _: bool,
        _: &rustyline::EventContext<'_>,
    ) -> Option<rustyline::Cmd> {
        // In the pane, and where no shell started this program, no process could continue it.
        if terminal::can_go_on() {
            let _ = self.pause(); // the terminal may be gone
        }
        Some(rustyline::Cmd::Repaint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_mark_is_a_letter_in_a_text_that_continues() {
        assert!(asks_for_help("", true));
        assert!(!asks_for_help("", false) && !asks_for_help("ls file", true));
    }
}
