//! The learner's seat through the real program: on a terminal, on a pipe, with `-c`.

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Nothing here takes this long; a hang fails the test with what was seen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A home of its own, and a cluster that is wiped at the end.
struct Home {
    dir: tempfile::TempDir,
    name: String,
}

impl Home {
    fn new(name: &str) -> Home {
        Home { dir: tempfile::tempdir().unwrap(), name: name.into() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ropewalk"));
        command.args(args).env("ROPEWALK_HOME", self.dir.path()).env("SHELL", "/bin/sh").env("LANG", "C.UTF-8");
        command
    }

    /// Runs to its end. `{}` in an argument is the cluster's name.
    fn run(&self, args: &[&str], input: &str) -> Output {
        let args: Vec<String> = args.iter().map(|a| a.replace("{}", &self.name)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut child = self
            .command(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.run(&["down", "--name", "{}"], "");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Clusters need what not every machine grants; then these tests say so instead of failing, except in CI.
fn possible() -> bool {
    let home = Home::new("probe");
    let found = home.run(&["doctor"], "");
    if found.status.success() {
        return true;
    }
    assert!(std::env::var_os("ROPEWALK_REQUIRE_KERNEL").is_none(), "{}", text(&found.stdout));
    eprintln!("skipped: this machine cannot run a cluster\n{}", text(&found.stdout));
    false
}

#[derive(Default)]
struct Seen {
    text: Mutex<(String, bool)>,
    news: Condvar,
}

/// Someone at a terminal of 80 by 24.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keys: Box<dyn Write + Send>,
    seen: Arc<Seen>,
    read: usize,
    master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    fn start(home: &Home, args: &[&str]) -> Terminal {
        let pair = native_pty_system().openpty(PtySize { rows: 24, cols: 80, ..PtySize::default() }).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_ropewalk"));
        command.args(args);
        for (key, value) in [("LANG", "C.UTF-8"), ("SHELL", "/bin/sh"), ("TERM", "xterm"), ("NO_COLOR", "1")] {
            command.env(key, value);
        }
        command.env("ROPEWALK_HOME", home.dir.path());
        command.env_remove("LC_ALL");
        let child = pair.slave.spawn_command(command).unwrap();
        let mut output = pair.master.try_clone_reader().unwrap();
        let keys = pair.master.take_writer().unwrap();
        let seen = Arc::new(Seen::default());
        let own = seen.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                let n = output.read(&mut bytes).unwrap_or(0);
                let mut text = own.text.lock().unwrap();
                text.0.push_str(&String::from_utf8_lossy(&bytes[..n]));
                text.1 |= n == 0;
                own.news.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        Terminal { child, keys, seen, read: 0, master: pair.master }
    }

    /// Waits for a text that was not waited for before; returns what came up to its end.
    fn expect(&mut self, wanted: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut text = self.seen.text.lock().unwrap();
        loop {
            if let Some(at) = text.0[self.read..].find(wanted) {
                let after = self.read + at + wanted.len();
                let from = std::mem::replace(&mut self.read, after);
                return text.0[from..self.read].to_string();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!text.1 && !left.is_zero(), "no {wanted:?} in {:?}", &text.0[self.read..]);
            text = self.seen.news.wait_timeout(text, left).unwrap().0;
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Types a line at the prompt and returns what is shown until the next one.
    fn line(&mut self, line: &str) -> String {
        self.press(&format!("{line}\r"));
        self.expect(&format!("{line}\r\n"));
        self.expect("ropewalk> ")
    }

    fn end(mut self) -> u32 {
        self.child.wait().unwrap().exit_code()
    }
}

#[test]
fn at_a_terminal() {
    if !possible() {
        return;
    }
    let home = Home::new("seat");
    let mut seat = Terminal::start(&home, &["--name", "seat"]);
    seat.expect("1 or 2 [1]: ");
    seat.press("1\r");
    let welcome = seat.expect("ropewalk> ");
    assert!(welcome.contains("with 3 nodes"), "{welcome}");
    assert!(seat.line("pwd; false").contains('/'));
    assert!(seat.line("echo $?").contains("1\r\n"));
    seat.line("cd /tmp && export FRUIT=pear");
    assert!(seat.line("pwd").contains("/tmp\r\n"));
    assert!(seat.line("echo $FRUIT").contains("pear\r\n"));

    // Ctrl-C reaches the command, not the session; so does it in a loop.
    for long in ["echo begun; sleep 100", "echo begun; while true; do sleep 1; done"] {
        seat.press(&format!("{long}\r"));
        seat.expect(&format!("{long}\r\n"));
        seat.expect("begun\r\n");
        seat.press("\x03");
        seat.expect("ropewalk> ");
        assert!(seat.line("echo $?").contains("130\r\n"));
    }

    // A program on the terminal gets its keys, its size, and the change of it.
    seat.press("cat\r");
    seat.expect("cat\r\n");
    seat.press("typed\r\x04");
    assert_eq!(seat.expect("ropewalk> ").matches("typed\r\n").count(), 2);
    assert!(seat.line("stty size").contains("24 80\r\n"));
    seat.master.resize(PtySize { rows: 30, cols: 100, ..PtySize::default() }).unwrap();
    assert!(seat.line("stty size").contains("30 100\r\n"));

    assert!(seat.line("kubctl get pods").contains("Did you mean `kubectl get pods`?"));
    assert!(seat.line("hint").contains("try: "));
    assert!(seat.line("status").contains("running"));
    assert!(seat.line("lang ko").contains("한국어"));
    assert!(seat.line("help").contains("붙여넣기"));
    assert!(seat.line("get nodes").contains("ropewalk-worker2"));

    seat.press("apply -f -\r");
    seat.expect("> ");
    seat.press("apiVersion: v1\rkind: ConfigMap\rmetadata:\r  name: typed\r\rdata:\r  a: it's\rEOF\r");
    assert!(seat.expect("ropewalk> ").contains("configmap/typed created"));

    // The cluster dies underneath, and is said to; leaving still works and ends with 0.
    home.run(&["down", "--name", "{}"], "");
    seat.expect("ropewalk up --name seat --detach --wait");
    assert!(seat.line("get nodes").contains("종료되었습니다"));
    seat.press("quit\r");
    assert_eq!(seat.end(), 0);
    let settings = std::fs::read_to_string(home.dir.path().join("settings.json")).unwrap();
    assert!(settings.contains("ko"), "{settings}");
    assert!(std::fs::read_to_string(home.dir.path().join("history")).unwrap().contains("kubctl get pods"));
}

#[test]
fn a_cluster_that_ran_before_stays_and_one_that_was_started_ends() {
    if !possible() {
        return;
    }
    let home = Home::new("stays");
    let state = |home: &Home| {
        let found = home.run(&["status", "--name", "{}", "-o", "json"], "");
        serde_json::from_slice::<serde_json::Value>(&found.stdout).unwrap()["state"].as_str().unwrap().to_string()
    };
    let up = home.run(&["up", "--name", "{}", "--workers", "0", "--detach", "--wait"], "");
    assert!(up.status.success(), "{}", text(&up.stderr));
    let mut seat = Terminal::start(&home, &["--name", "stays", "--lang", "en"]);
    seat.expect("ropewalk> ");
    seat.press("\x04");
    seat.expect("stays up");
    assert_eq!(seat.end(), 0);
    assert_eq!(state(&home), "running");
    home.run(&["down", "--name", "{}"], "");

    let mut seat = Terminal::start(&home, &["--name", "stays", "--lang", "en"]);
    seat.expect("ropewalk> ");
    assert_eq!(state(&home), "running");
    seat.press("exit 3\r");
    assert_eq!(seat.end(), 3);
    assert_eq!(state(&home), "stopped");
}

#[test]
fn without_a_terminal() {
    if !possible() {
        return;
    }
    let home = Home::new("pipe");
    let run = |lines: &[&str]| {
        let mut args = vec!["repl", "--name", "{}"];
        args.extend(lines.iter().flat_map(|l| ["-c", l]));
        home.run(&args, "")
    };
    let up = home.run(&["up", "--name", "{}", "--workers", "1", "--detach"], "");
    assert!(up.status.success(), "{}", text(&up.stderr));

    // The first line sees every node ready, though nobody waited for the start.
    let piped = home.run(&["repl", "--name", "{}"], "get nodes --no-headers\ncat <<X\nhere $((1+1))\nX\nfor i in a b\ndo echo $i\ndone\n");
    let out = text(&piped.stdout);
    assert_eq!(out.matches(" Ready ").count(), 2, "{out}{}", text(&piped.stderr));
    assert!(out.ends_with("here 2\na\nb\n"), "{out}");
    assert_eq!((text(&piped.stderr).as_str(), piped.status.code()), ("", Some(0)));

    let kept = run(&["cd /tmp", "export A=7; (exit 9)", "echo $? $A", "pwd"]);
    assert_eq!((text(&kept.stdout).as_str(), kept.status.code()), ("9 7\n/tmp\n", Some(0)));
    assert_eq!(run(&["sh -c 'exit 4'"]).status.code(), Some(4));
    assert_eq!(run(&["get nosuchkind"]).status.code(), Some(1));
    assert_eq!(run(&["false", "true"]).status.code(), Some(0));
    assert_eq!(run(&["exit 5", "true"]).status.code(), Some(5));
    assert_eq!(run(&["lesson list"]).status.code(), Some(1));
    assert_eq!(text(&run(&["get nodes --no-headers | wc -l"]).stdout).trim(), "2");

    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: fed\ndata:\n  a: '1'\n";
    let fed = home.run(&["repl", "--name", "{}", "-c", "apply -f -"], manifest);
    assert_eq!(text(&fed.stdout), "configmap/fed created\n", "{}", text(&fed.stderr));
    let file = home.dir.path().join("lines");
    std::fs::write(&file, format!("create -f -\n{}EOF\nget cm here -o name\n", manifest.replace("fed", "here"))).unwrap();
    let played = home.run(&["repl", "--name", "{}", &Path::new(&file).display().to_string()], "");
    assert_eq!(text(&played.stdout), "configmap/here created\nconfigmap/here\n", "{}", text(&played.stderr));
}
