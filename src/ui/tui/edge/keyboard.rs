//! The thread that reads the learner's keyboard, for as long as the interface has the terminal.

use super::super::event::Event;
use super::probe::Late;
use crossterm::event as terminal;
use nix::sys::signal::{Signal, raise};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// The thread looks at least this often whether it is to end. The signal that wakes it up is lost
/// before its first look.
const LOOK: Duration = Duration::from_secs(1);

/// Reads keys until it is dropped: then the thread has ended, and the next key is for another
/// reader.
#[derive(Default)]
pub(super) struct Keyboard {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keyboard {
    /// Starts the thread, which sends its events to `tell`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(&mut self, tell: Sender<Event>, late: Late) -> io::Result<()> {
        let stop = self.stop.clone();
        let read = move || read_keys(&stop, &tell, late);
        self.thread = Some(std::thread::Builder::new().name("keyboard".into()).spawn(read)?);
        Ok(())
    }
}

impl Drop for Keyboard {
    /// Stops the thread. The receiver of its events must be gone: the thread may wait for room.
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.store(true, Ordering::Release);
        let _ = raise(Signal::SIGWINCH); // crossterm returns at a change of the size; without it the thread looks by itself
        let _ = thread.join(); // the hook has reported its panic
    }
}

fn read_keys(stop: &AtomicBool, tell: &Sender<Event>, mut late: Late) {
    loop {
        let ready = terminal::poll(LOOK);
        if stop.load(Ordering::Acquire) {
            return;
        }
        let event = match ready {
            Ok(true) => terminal::read(),
            Ok(false) => continue,
            Err(error) => Err(error),
        };
        let Ok(event) = event else { break };
        let event = match event {
            terminal::Event::Key(key) => {
                for key in late.filter(key, Instant::now()) {
                    if tell.blocking_send(Event::Key(key)).is_err() {
                        return;
                    }
                }
                continue;
            }
            terminal::Event::Mouse(mouse) => Event::Mouse(mouse),
            terminal::Event::Paste(text) => Event::Paste(text),
            // Not what it carries, which is 0 by 0 where no size is known.
            terminal::Event::Resize(..) => Event::Resize(crate::terminal::size().into()),
            terminal::Event::FocusGained | terminal::Event::FocusLost => continue,
        };
        if tell.blocking_send(event).is_err() {
            return;
        }
    }
    let _ = tell.blocking_send(Event::Gone); // without a keyboard the learner could not even leave
}

#[cfg(test)]
mod tests {
    use super::super::guard::Taken;
    use super::*;
    use portable_pty::{CommandBuilder, PtySize, native_pty_system};
    use std::io::{Read, Write};

    /// Set in the process that has a terminal.
    const INSIDE: &str = "ROPEWALK_TEST_KEYBOARD";

    /// Not a test of its own: runs on the terminal that the test below makes.
    #[test]
    fn asks_after_the_interface() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        let taken = Taken::take().expect("a terminal");
        let mut keyboard = Keyboard::default();
        let (tell, mut told) = tokio::sync::mpsc::channel(8);
        keyboard.start(tell, Late::new(false)).unwrap();
        println!("<a key>");
        assert!(matches!(told.blocking_recv(), Some(Event::Key(_))), "the keyboard is read");
        drop(told);
        drop(keyboard);
        drop(taken);
        println!("<delete?>");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).unwrap();
        println!("<{}>", answer.trim());
    }

    /// Not a test of its own: runs in a process without a terminal.
    #[test]
    fn reads_where_there_is_no_terminal() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        nix::unistd::setsid().expect("a session of its own"); // else /dev/tty is the terminal of the tests
        let mut keyboard = Keyboard::default();
        let (tell, mut told) = tokio::sync::mpsc::channel(8);
        keyboard.start(tell, Late::new(false)).unwrap();
        let told = told.blocking_recv();
        assert!(matches!(told, Some(Event::Gone)), "{told:?}");
    }

    /// Without a keyboard the learner could not even leave.
    #[test]
    fn a_keyboard_that_cannot_be_read_ends_the_interface() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "tui::edge::keyboard::tests::reads_where_there_is_no_terminal"]);
        let ran = command.env(INSIDE, "1").stdin(std::process::Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    fn an_answer_that_is_typed_after_the_interface_reaches_the_question() {
        let pty = native_pty_system().openpty(PtySize { rows: 24, cols: 80, ..PtySize::default() }).unwrap();
        let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
        command.args(["--exact", "tui::edge::keyboard::tests::asks_after_the_interface", "--nocapture"]);
        command.env(INSIDE, "1");
        command.env("TERM", "xterm-256color");
        let mut child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        let (mut output, mut input) =
            (pty.master.try_clone_reader().unwrap(), pty.master.take_writer().unwrap());
        let (mut said, mut bytes, mut steps) = (String::new(), [0; 4096], 0);
        while let Ok(n @ 1..) = output.read(&mut bytes) {
            said.push_str(&String::from_utf8_lossy(&bytes[..n]));
            let step = [("<a key>", "x"), ("<delete?>", "yes\n")].get(steps);
            if let Some((wait, typed)) = step
                && said.contains(wait)
            {
                input.write_all(typed.as_bytes()).and_then(|()| input.flush()).unwrap();
                steps += 1;
            }
        }
        assert!(child.wait().unwrap().success() && said.contains("<yes>"), "{said}");
    }
}
