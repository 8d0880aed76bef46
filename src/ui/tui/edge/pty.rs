//! The shell pane's other end: the REPL, on a terminal of its own.

use super::super::event::Event;
use portable_pty::{ChildKiller, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{self, Read, Write};
use tokio::sync::mpsc;

/// Output that waits to be drawn, in pieces; a program that prints faster waits.
const PENDING: usize = 64;
/// Input that a program does not read is kept up to so many pieces.
const TYPED: usize = 256;

pub struct Pty {
    master: Box<dyn MasterPty + Send>,
    keys: std::sync::mpsc::SyncSender<Vec<u8>>,
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
        let (keys, typed) = std::sync::mpsc::sync_channel::<Vec<u8>>(TYPED);
        std::thread::Builder::new().name("pane-input".into()).spawn(move || {
            while let Ok(bytes) = typed.recv() {
                if writer.write_all(&bytes).and_then(|()| writer.flush()).is_err() {
                    return;
                }
            }
        })?;
        std::thread::Builder::new().name("pane-end".into()).spawn(move || {
            let code = child.wait().map_or(1, |status| status.exit_code() as i32);
            let _ = ended.blocking_send(Event::ShellEnded(code)); // nobody waits for it after the interface
        })?;
        Ok(Pty { master: pair.master, keys, killer, output })
    }

    pub fn type_in(&self, bytes: Vec<u8>) {
        let _ = self.keys.try_send(bytes); // at the bound keys are lost, as a terminal's are
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let _ = self.master.resize(PtySize { rows, cols: columns, ..PtySize::default() });
    }
}

impl Drop for Pty {
    /// Closes the window: the REPL hangs up, and its shell with it.
    fn drop(&mut self) {
        let _ = self.killer.kill(); // SIGHUP first, as portable-pty does it
    }
}
