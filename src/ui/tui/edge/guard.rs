//! The learner's terminal, taken for the interface and given back as it was found: at the end, at a panic, at a signal.

use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use futures::FutureExt;
use std::io::{self, Write, stdout};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::Signal;

/// The terminal is ours at the moment.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Holds the terminal until dropped.
pub struct Taken(());

impl Taken {
    pub fn take() -> io::Result<Taken> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            // The text of a panic belongs on the learner's own screen.
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if crate::ui::tui::terminal::forgiven() {
                    return; // caught, and told to nobody
                }
                give_back();
                usual(panic);
            }));
        });
        enter()?;
        Ok(Taken(()))
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
    // The terminal may be gone; there is nobody to tell then.
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

/// Gives the terminal back and stops this program, as Ctrl-Z does; returns when it goes on.
pub async fn suspend(continued: &mut Signal) -> io::Result<()> {
    while continued.recv().now_or_never().is_some() {} // of an earlier time
    give_back();
    // SIGSTOP cannot be caught, so this is the one way that stops whoever listens for SIGTSTP.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(0), nix::sys::signal::Signal::SIGSTOP)?;
    // Another thread may have taken the signal: this one would run on for a moment, and draw.
    continued.recv().await;
    enter()
}
