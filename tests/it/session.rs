//! A session of the real program, at a terminal that answers as real ones do.

use super::support::{Home, PATIENCE, ROPEWALK};
use parking_lot::{Condvar, Mutex};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tui_term::vt100;

/// Answers where the cursor is: the interface asks before it draws anything but ASCII.
#[derive(Default)]
struct Answers(Vec<u8>);

impl vt100::Callbacks for Answers {
    fn unhandled_csi(
        &mut self,
        screen: &mut vt100::Screen,
        _: Option<u8>,
        _: Option<u8>,
        params: &[&[u16]],
        command: char,
    ) {
        if command == 'n' && params == [&[6]] {
            let (row, column) = screen.cursor_position();
            self.0.extend(format!("\x1b[{};{}R", row + 1, column + 1).bytes());
        }
    }
}

struct Seen {
    screen: Mutex<(vt100::Parser<Answers>, bool)>,
    /// Every byte that came.
    bytes: Mutex<Vec<u8>>,
    /// For each read: when it ended, and how many bytes had come by then.
    reads: Mutex<Vec<(Duration, usize)>>,
    began: Instant,
    news: Condvar,
}

/// What a terminal received, and when.
pub(crate) struct Recording {
    /// Rows and columns.
    pub size: (u16, u16),
    pub bytes: Vec<u8>,
    /// For each read, ascending: when it ended, counted from the session's start, and how many of
    /// the bytes had come by then.
    pub reads: Vec<(Duration, usize)>,
}

/// A program that runs at a terminal, and what the terminal shows.
pub(crate) struct Session {
    pub child: Box<dyn Child + Send + Sync>,
    keys: Arc<Mutex<Box<dyn Write + Send>>>,
    seen: Arc<Seen>,
    master: Box<dyn MasterPty + Send>,
}

impl Session {
    pub(crate) fn start(home: &Home, args: &[&str], columns: u16, rows: u16) -> Session {
        Session::start_in(home, args, columns, rows, &[("LANG", "C.UTF-8"), ("TERM", "xterm-256color")])
    }

    /// At a terminal of which these variables speak.
    pub(crate) fn start_in(
        home: &Home,
        args: &[&str],
        columns: u16,
        rows: u16,
        env: &[(&str, &str)],
    ) -> Session {
        let pair =
            native_pty_system().openpty(PtySize { rows, cols: columns, ..PtySize::default() }).unwrap();
        let mut command = CommandBuilder::new(ROPEWALK);
        command.args(args);
        ["LC_ALL", "LC_CTYPE", "LC_MESSAGES", "LANG", "LANGUAGE"]
            .iter()
            .for_each(|name| command.env_remove(name));
        for (key, value) in env.iter().chain(&[("SHELL", "/bin/sh")]) {
            command.env(key, value);
        }
        command.env("ROPEWALK_HOME", home.path());
        command.env("HOME", home.path());
        let child = pair.slave.spawn_command(command).unwrap();
        let mut output = pair.master.try_clone_reader().unwrap();
        let keys = Arc::new(Mutex::new(pair.master.take_writer().unwrap()));
        let parser = vt100::Parser::new_with_callbacks(rows, columns, 0, Answers::default());
        let seen = Arc::new(Seen {
            screen: Mutex::new((parser, false)),
            bytes: Mutex::default(),
            reads: Mutex::default(),
            began: Instant::now(),
            news: Condvar::new(),
        });
        let (own, answer) = (seen.clone(), keys.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            loop {
                let n = output.read(&mut bytes).unwrap_or(0);
                let mut all = own.bytes.lock();
                all.extend(&bytes[..n]);
                own.reads.lock().push((own.began.elapsed(), all.len()));
                drop(all);
                let mut screen = own.screen.lock();
                screen.0.process(&bytes[..n]);
                screen.1 = n == 0;
                let answers = std::mem::take(&mut screen.0.callbacks_mut().0);
                own.news.notify_all();
                drop(screen);
                if n == 0 {
                    return;
                }
                let _ = answer.lock().write_all(&answers); // it may be gone already
            }
        });
        Session { child, keys, seen, master: pair.master }
    }

    /// Waits until the screen is as wanted; returns its text.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&vt100::Screen, &str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        let mut screen = self.seen.screen.lock();
        loop {
            let text = screen.0.screen().contents();
            if wanted(screen.0.screen(), &text) {
                return text;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!screen.1 && !left.is_zero(), "not seen: {what}; the screen:\n{text}");
            self.seen.news.wait_for(&mut screen, left);
        }
    }

    #[track_caller]
    pub(crate) fn sees(&self, part: &str) -> String {
        self.until(part, |_, text| text.contains(part))
    }

    /// Since its start; the clock of its recording.
    pub(crate) fn elapsed(&self) -> Duration {
        self.seen.began.elapsed()
    }

    /// What its terminal has received so far. The terminal must not have been resized.
    pub(crate) fn recording(&self) -> Recording {
        let size = self.seen.screen.lock().0.screen().size();
        let bytes = self.seen.bytes.lock();
        let reads = self.seen.reads.lock().clone();
        Recording { size, bytes: bytes.clone(), reads }
    }

    /// Where something that is not ASCII came, with what was around it; `None` if nothing did.
    pub(crate) fn foreign(&self) -> Option<String> {
        let bytes = self.seen.bytes.lock();
        let at = bytes.iter().position(|byte| !byte.is_ascii())?;
        let around = &bytes[at.saturating_sub(60)..bytes.len().min(at + 20)];
        Some(String::from_utf8_lossy(around).into_owned())
    }

    pub(crate) fn press(&self, keys: &str) {
        let mut writer = self.keys.lock();
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.seen.screen.lock().0.screen_mut().set_size(rows, columns);
        self.master.resize(PtySize { rows, cols: columns, ..PtySize::default() }).unwrap();
    }

    /// The terminal itself, as the program's parent has it.
    pub(crate) fn terminal(&self) -> std::fs::File {
        use std::os::unix::fs::OpenOptionsExt;
        let name = self.master.tty_name().expect("a name");
        let flags = nix::libc::O_NOCTTY;
        std::fs::File::options().read(true).write(true).custom_flags(flags).open(name).expect("a terminal")
    }

    /// The first sequence for a terminal that came, with what is around it; `None` if none did.
    pub(crate) fn sequence(&self) -> Option<String> {
        let bytes = self.seen.bytes.lock();
        let at = bytes.iter().position(|byte| *byte == 0x1b)?;
        Some(String::from_utf8_lossy(&bytes[at.saturating_sub(60)..bytes.len().min(at + 20)]).into_owned())
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.process_id().unwrap() as i32
    }

    /// Its exit code, when the terminal is as it was found.
    #[track_caller]
    pub(crate) fn end(mut self) -> u32 {
        let code = self.child.wait().unwrap().exit_code();
        self.until("the usual screen", |screen, _| given_back(screen));
        // The reader has the master's name; its settings are the terminal's.
        let name = self.master.tty_name();
        if let Some(tty) = name.and_then(|n| std::fs::File::open(n).ok()) {
            let flags = nix::sys::termios::tcgetattr(&tty).unwrap().local_flags;
            use nix::sys::termios::LocalFlags;
            assert!(flags.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG), "{flags:?}");
        }
        code
    }
}

/// No full screen, no mouse, no brackets around pastes, a cursor.
pub(crate) fn given_back(screen: &vt100::Screen) -> bool {
    !screen.alternate_screen()
        && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
        && !screen.bracketed_paste()
        && !screen.hide_cursor()
}

/// The shell's last line is an empty prompt.
pub(crate) fn at_prompt(text: &str) -> bool {
    is_line(text, "ropewalk>")
}

/// Processes that belong to this home, by what stands in their environment.
pub(crate) fn left_over(home: &Home) -> Vec<String> {
    let mark = format!("ROPEWALK_HOME={}", home.path().display()).into_bytes();
    let mut found = vec![];
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ.split(|b| *b == 0).any(|v| v == mark) {
            found.push(
                String::from_utf8_lossy(&std::fs::read(entry.path().join("cmdline")).unwrap_or_default())
                    .into(),
            );
        }
    }
    found
}

#[track_caller]
pub(crate) fn nothing_is_left(home: &Home) {
    super::support::eventually(super::support::PATIENCE, || left_over(home), |left| left.is_empty());
}

/// Is this a whole line of the pane on the right, whatever stands beside it?
pub(crate) fn is_line(screen: &str, line: &str) -> bool {
    let own = |row: &str| row.rsplit("││").next().is_some_and(|own| own.trim_matches(['│', ' ']) == line);
    screen.lines().any(own)
}
