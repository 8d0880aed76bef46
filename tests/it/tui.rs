//! The terminal interface through the real program, on a terminal that answers as real ones do.

use super::support::{Home, ROPEWALK, capable, kill, turn};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use tui_term::vt100;

/// Nothing here takes this long; a hang fails the test with what was seen.
const PATIENCE: Duration = Duration::from_secs(60);

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
    news: Condvar,
}

/// Someone at a terminal, who sees what is on it.
struct Seat {
    child: Box<dyn Child + Send + Sync>,
    keys: Arc<Mutex<Box<dyn Write + Send>>>,
    seen: Arc<Seen>,
    master: Box<dyn MasterPty + Send>,
}

impl Seat {
    fn start(home: &Home, args: &[&str], columns: u16, rows: u16) -> Seat {
        let pair =
            native_pty_system().openpty(PtySize { rows, cols: columns, ..PtySize::default() }).unwrap();
        let mut command = CommandBuilder::new(ROPEWALK);
        command.args(args);
        for (key, value) in [("LANG", "C.UTF-8"), ("SHELL", "/bin/sh"), ("TERM", "xterm-256color")] {
            command.env(key, value);
        }
        command.env("ROPEWALK_HOME", home.path());
        command.env("HOME", home.path());
        command.env_remove("LC_ALL");
        let child = pair.slave.spawn_command(command).unwrap();
        let mut output = pair.master.try_clone_reader().unwrap();
        let keys = Arc::new(Mutex::new(pair.master.take_writer().unwrap()));
        let parser = vt100::Parser::new_with_callbacks(rows, columns, 0, Answers::default());
        let seen = Arc::new(Seen { screen: Mutex::new((parser, false)), news: Condvar::new() });
        let (own, answer) = (seen.clone(), keys.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 8192];
            loop {
                let n = output.read(&mut bytes).unwrap_or(0);
                let mut screen = own.screen.lock().unwrap();
                screen.0.process(&bytes[..n]);
                screen.1 = n == 0;
                let answers = std::mem::take(&mut screen.0.callbacks_mut().0);
                own.news.notify_all();
                drop(screen);
                if n == 0 {
                    return;
                }
                let _ = answer.lock().unwrap().write_all(&answers); // it may be gone already
            }
        });
        Seat { child, keys, seen, master: pair.master }
    }

    /// Waits until the screen is as wanted; returns its text.
    #[track_caller]
    fn until(&self, what: &str, wanted: impl Fn(&vt100::Screen, &str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        let mut screen = self.seen.screen.lock().unwrap();
        loop {
            let text = screen.0.screen().contents();
            if wanted(screen.0.screen(), &text) {
                return text;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!screen.1 && !left.is_zero(), "not seen: {what}; the screen:\n{text}");
            screen = self.seen.news.wait_timeout(screen, left).unwrap().0;
        }
    }

    #[track_caller]
    fn sees(&self, part: &str) -> String {
        self.until(part, |_, text| text.contains(part))
    }

    fn press(&self, keys: &str) {
        let mut writer = self.keys.lock().unwrap();
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
    }

    fn resize(&self, columns: u16, rows: u16) {
        self.seen.screen.lock().unwrap().0.screen_mut().set_size(rows, columns);
        self.master.resize(PtySize { rows, cols: columns, ..PtySize::default() }).unwrap();
    }

    fn pid(&self) -> i32 {
        self.child.process_id().unwrap() as i32
    }

    /// Its exit code, when the terminal is as it was found.
    #[track_caller]
    fn end(mut self) -> u32 {
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
fn given_back(screen: &vt100::Screen) -> bool {
    !screen.alternate_screen()
        && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
        && !screen.bracketed_paste()
        && !screen.hide_cursor()
}

/// The shell's last line is an empty prompt.
fn at_prompt(text: &str) -> bool {
    text.lines().any(|l| l.trim_matches(['│', ' ']) == "ropewalk>")
}

/// Processes that belong to this home, by what stands in their environment.
fn left_over(home: &Home) -> Vec<String> {
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
fn nothing_is_left(home: &Home) {
    super::support::eventually(Duration::from_secs(10), || left_over(home), |left| left.is_empty());
}

#[test]
fn from_the_start_to_quit() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let mut seat = Seat::start(&home, &["--name", "t", "--lang", "en"], 80, 24);
    // The map shows the three nodes, the shell its prompt, the lesson's place something to read.
    seat.until("three nodes", |_, t| t.contains("worker2") && t.matches("● Ready").count() == 3);
    seat.sees("ropewalk>");
    seat.press("get nodes --no-headers | wc -l\r");
    seat.until("3", |_, t| t.lines().any(|l| l.trim_matches(['│', ' ']) == "3"));

    // A command lights its path, and the pod stands on a node.
    seat.press("kubectl run web --image=nginx\r");
    seat.sees("pod/web created");
    seat.sees("━━▶");
    seat.until("the pod", |_, t| t.contains("● web"));
    // F7 goes back to where it was not there yet.
    seat.press("\x1b[18~");
    seat.press("\x1b[15~");
    seat.sees("kubectl run web: done after");

    // Ctrl-C reaches the command; a paste comes in one piece; a full-screen program gets keys and its size.
    seat.press("sh -c 'echo begun; exec sleep 100'\r");
    seat.sees("begun");
    seat.press("\x03");
    seat.press("\x1b[200~echo one\\ two\x1b[201~\r");
    seat.until("the paste", |_, t| t.lines().any(|l| l.trim_matches(['│', ' ']) == "one two"));
    seat.press("sh -c 'printf \"\\033[?1049hfull of \"; stty size; read x; printf \"\\033[?1049l\"'\r");
    seat.sees("full of 8 78");
    seat.press("\r");
    seat.until("the prompt again", |_, t| !t.contains("full of 8") && at_prompt(t));

    // Another size, another layout; the shell hears of it.
    seat.resize(120, 34);
    seat.until("the large layout", |_, t| t.contains("kube-apiserver") && t.contains("controller-manager"));
    seat.press("stty size\r");
    seat.until("its size", |_, t| t.lines().any(|l| l.trim_end_matches(['│', ' ']).ends_with(" 75")));
    seat.resize(50, 12);
    seat.until("one pane", |_, t| t.contains("[shell]") && !t.contains("kube-apiserver"));
    seat.resize(80, 24);
    seat.sees("worker2");

    // Views by key and by word, help by key.
    seat.press("\x1bOR");
    seat.sees("Which view?");
    seat.press("4");
    seat.sees("map: scheduling");
    seat.sees("✗ untolerated taint");
    seat.press("map pod\r");
    seat.sees("map: pod");
    seat.press("\x1bOP");
    seat.sees("Without function keys");
    seat.press("\x1b");
    seat.until("help closed", |_, t| !t.contains("Without function keys"));
    seat.press("?");
    seat.sees("Without function keys");
    seat.press("q");

    seat.press("quit\r");
    assert_eq!(seat.child.wait().unwrap().exit_code(), 0);
    assert_eq!(seat.end(), 0);
    nothing_is_left(&home);
}

#[test]
fn signals_find_the_terminal_given_back() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let seat = Seat::start(&home, &["--name", "t", "--lang", "ko"], 80, 24);
    seat.sees("그림: 클러스터");
    seat.until("the prompt", |_, t| t.contains("ropewalk>") && t.contains("worker2"));
    // Stopped, it leaves the terminal as a shell needs it; going on, it draws itself anew.
    kill(seat.pid(), nix::libc::SIGTSTP);
    seat.until("the usual screen", |screen, _| given_back(screen));
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", seat.pid())).unwrap_or_default();
    super::support::eventually(PATIENCE, state, |s| s.contains(") T "));
    kill(seat.pid(), nix::libc::SIGCONT);
    seat.until("the interface again", |screen, t| screen.alternate_screen() && t.contains("그림: 클러스터"));
    // The language changes everywhere at once.
    seat.press("lang en\r");
    seat.sees("map: cluster");
    kill(seat.pid(), nix::libc::SIGTERM);
    assert_eq!(seat.end(), 143);
    nothing_is_left(&home);
}

#[test]
fn without_an_answer_the_interface_is_ascii_and_exit_codes_pass() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let seat = Seat::start(&home, &["--name", "t", "--lang", "en", "--ascii"], 80, 24);
    let text = seat.until("three nodes", |_, t| t.matches("* Ready").count() == 3 && t.contains("ropewalk>"));
    assert!(text.is_ascii(), "{text}");
    seat.press("exit 3\r");
    assert_eq!(seat.end(), 3);
    nothing_is_left(&home);
}
