//! The learner's session through the real program: on a terminal, on a pipe, with `-c`.

use super::support::{Home, PATIENCE, ROPEWALK, Said, capable, turn};
use parking_lot::{Condvar, Mutex};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

/// Runs to its end with this input.
fn feed(home: &Home, args: &[&str], input: &str) -> Said {
    let mut command = home.command(ROPEWALK);
    command.args(args).env("SHELL", "/bin/sh").env("LANG", "C.UTF-8");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

/// Stops the cluster whatever becomes of the test.
struct Down<'a>(&'a Home);

impl Drop for Down<'_> {
    fn drop(&mut self) {
        self.0.ropewalk(&["down", "--name", "t"]);
    }
}

/// What the editor sends when it begins to read a line, and when it has one: bracketed paste on and
/// off.
const PROMPT: &str = "\x1b[?2004h";
const TAKEN: &str = "\x1b[?2004l";

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
        let mut command = CommandBuilder::new(ROPEWALK);
        command.args(args);
        for (key, value) in [("LANG", "C.UTF-8"), ("SHELL", "/bin/sh"), ("TERM", "xterm"), ("NO_COLOR", "1")]
        {
            command.env(key, value);
        }
        command.env("ROPEWALK_HOME", home.path());
        command.env("HOME", home.path());
        command.env("ENV", home.path().join(".shrc")); // what sh reads at its start, where it is there
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
                let mut text = own.text.lock();
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

    /// At the prompt of a cluster that was there already.
    fn at_a_cluster(home: &Home) -> Terminal {
        home.ropewalk(&["up", "--name", "t", "--workers", "0", "--detach", "--wait"]).ok();
        let mut session = Terminal::start(home, &["repl", "--name", "t", "--lang", "en"]);
        session.expect(PROMPT);
        session
    }

    /// Waits for a text that was not waited for before; returns what came up to its end.
    fn expect(&mut self, wanted: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut text = self.seen.text.lock();
        loop {
            if let Some(at) = text.0[self.read..].find(wanted) {
                let (from, to) = (self.read, self.read + at + wanted.len());
                self.read = to;
                return text.0[from..to].to_string();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!text.1 && !left.is_zero(), "no {wanted:?} in {:?}", &text.0[self.read..]);
            self.seen.news.wait_for(&mut text, left);
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Types a line at the prompt and returns what is shown until the next one.
    fn line(&mut self, line: &str) -> String {
        self.enter(line);
        self.expect(PROMPT)
    }

    /// Types a line at the prompt; returns when it was taken.
    fn enter(&mut self, line: &str) {
        self.press(&format!("{line}\r"));
        self.expect(TAKEN);
    }

    fn end(mut self) -> u32 {
        self.child.wait().unwrap().exit_code()
    }
}

#[test]
fn at_a_terminal() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let _down = Down(&home);
    let mut session = Terminal::start(&home, &["repl", "--name", "t"]);
    session.expect("1 or 2 [1]: ");
    session.press("1\r");
    let welcome = session.expect(PROMPT);
    assert!(welcome.contains("with 3 nodes"), "{welcome}");
    assert!(session.line("pwd; false").contains('/'));
    assert!(session.line("echo $?").contains("1\r\n"));
    session.line("cd /tmp && export FRUIT=pear");
    assert!(session.line("pwd").contains("/tmp\r\n"));
    assert!(session.line("echo $FRUIT").contains("pear\r\n"));

    // Ctrl-C reaches the command, not the session; so does it in a loop.
    // (The word comes from the command: before that the terminal is still the shell's.)
    let long = "sh -c 'echo begun; exec sleep 100'";
    for long in [long.to_string(), format!("while true; do {long}; done")] {
        session.enter(&long);
        session.expect("begun\r\n");
        session.press("\x03");
        session.expect(PROMPT);
        assert!(session.line("echo $?").contains("130\r\n"));
    }

    // A program on the terminal gets its keys, its size, and the change of it.
    session.enter("sh -c 'echo begun; exec cat'");
    session.expect("begun\r\n");
    session.press("typed\r\x04");
    assert_eq!(session.expect(PROMPT).matches("typed\r\n").count(), 2);
    assert!(session.line("stty size").contains("24 80\r\n"));
    session.master.resize(PtySize { rows: 30, cols: 100, ..PtySize::default() }).unwrap();
    assert!(session.line("stty size").contains("30 100\r\n"));

    assert!(session.line("kubctl get pods").contains("Did you mean `kubectl get pods`?"));
    assert!(session.line("get namesapces").contains("Did you mean `get namespaces`?"));
    assert!(
        session
            .line("etcdctl get --prefix /registry/namespaces/def --keys-only")
            .contains("/registry/namespaces/default")
    );
    assert!(session.line("status").contains("running"));
    assert!(session.line("kill 1").contains("kubectl exec POD -- kill 1"));
    assert!(session.line("ropewalk lang ko").contains("한국어"));
    assert!(session.line("help").contains("붙여넣기"));
    assert!(session.line("get nodes").contains("ropewalk-worker2"));

    session.line("create -f -");
    for typed in ["apiVersion: v1", "kind: ConfigMap", "metadata:", "  name: typed", "", "data:", "  a: it's"]
    {
        session.line(typed);
    }
    assert!(session.line("EOF").contains("configmap/typed created"));

    // The cluster dies underneath, and is said to; leaving still works and ends with 0.
    home.ropewalk(&["down", "--name", "t"]);
    session.expect("ropewalk up --name t --detach --wait");
    assert!(session.line("get nodes").contains("종료되었습니다"));
    session.line("ropewalk up --name t --detach --wait");
    assert!(session.line("get nodes").contains("ropewalk-worker2"));
    session.press("quit\r");
    assert_eq!(session.end(), 0);
    let settings = std::fs::read_to_string(home.path().join("settings.json")).unwrap();
    assert!(settings.contains("ko"), "{settings}");
    assert!(std::fs::read_to_string(home.path().join("history")).unwrap().contains("kubctl get pods"));
}

#[test]
fn a_cluster_that_ran_before_stays_and_one_that_was_started_ends() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let _down = Down(&home);
    let state = |home: &Home| {
        let found = home.ropewalk(&["status", "--name", "t", "-o", "json"]).out;
        serde_json::from_str::<serde_json::Value>(&found).unwrap()["state"].as_str().unwrap().to_string()
    };
    home.ropewalk(&["up", "--name", "t", "--workers", "0", "--detach", "--wait"]).ok();
    let mut session = Terminal::start(&home, &["--plain", "--name", "t", "--lang", "en"]);
    session.expect(PROMPT);
    session.press("\x04");
    session.expect("stays up");
    assert_eq!(session.end(), 0);
    assert_eq!(state(&home), "running");
    home.ropewalk(&["down", "--name", "t"]);

    let mut session = Terminal::start(&home, &["--plain", "--name", "t", "--lang", "en"]);
    session.expect(PROMPT);
    assert_eq!(state(&home), "running");
    session.press("exit 3\r");
    session.expect("stopping cluster");
    let seen = session.seen.clone();
    assert_eq!(session.end(), 3);
    // Its end is no news to the session that asked for it.
    let mut text = seen.text.lock();
    seen.news.wait_while_for(&mut text, |text| !text.1, PATIENCE);
    assert!(!text.0.contains("has ended"), "{}", text.0);
    assert_eq!(state(&home), "stopped");
}

#[test]
fn without_a_terminal() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let _down = Down(&home);
    let run = |lines: &[&str]| {
        let mut args = vec!["repl", "--name", "t"];
        args.extend(lines.iter().flat_map(|l| ["-c", l]));
        feed(&home, &args, "")
    };
    home.ropewalk(&["up", "--name", "t", "--workers", "1", "--detach"]).ok();

    // The first line sees every node ready, though nobody waited for the start.
    let lines = "get nodes --no-headers\ncat <<X\nhere $((1+1))\nX\nfor i in a b\ndo echo $i\ndone\n";
    let piped = feed(&home, &["repl", "--name", "t"], lines);
    assert_eq!((piped.code, piped.err.as_str()), (0, ""));
    assert_eq!(piped.out.matches(" Ready ").count(), 2, "{}", piped.out);
    assert!(piped.out.ends_with("here 2\na\nb\n"), "{}", piped.out);

    let kept = run(&["cd /tmp", "export A=7; (exit 9)", "echo $? $A", "pwd"]);
    assert_eq!((kept.out.as_str(), kept.code), ("9 7\n/tmp\n", 0));
    assert_eq!(run(&["sh -c 'exit 4'"]).code, 4);
    assert_eq!(run(&["get nosuchkind"]).code, 1);
    assert_eq!(run(&["get nosuchkind", "echo $?"]).out, "1\n");
    assert_eq!(run(&["false", "true"]).code, 0);
    assert_eq!(run(&["exit 5", "true"]).code, 5);
    assert_eq!(run(&["lesson no-such"]).code, 1);
    assert_eq!(run(&["lesson list"]).code, 0);
    assert_eq!(run(&["get nodes --no-headers | wc -l"]).out.trim(), "2");

    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: fed\ndata:\n  a: '1'\n";
    let fed = feed(&home, &["repl", "--name", "t", "-c", "create -f -"], manifest).ok();
    assert_eq!(fed, "configmap/fed created\n");
    let file = home.path().join("lines");
    std::fs::write(
        &file,
        format!("create -f -\n{}EOF\nget cm here -o name\n", manifest.replace("fed", "here")),
    )
    .unwrap();
    let played = feed(&home, &["repl", "--name", "t", &file.display().to_string()], "").ok();
    assert_eq!(played, "configmap/here created\nconfigmap/here\n");
}

/// What else happens to learners at the prompt.
#[test]
fn nobody_waits_in_vain() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let _down = Down(&home);
    // Programs of a start file hold the shell's standard error open: its end is seen all the same.
    std::fs::write(home.path().join(".shrc"), "sleep 120 & echo $! >> $HOME/pids\n").unwrap();
    let mut session = Terminal::at_a_cluster(&home);
    session.line("kill -9 $$");
    assert!(session.line("echo an\"other\"").contains("another\r\n"));
    let pids = std::fs::read_to_string(home.path().join("pids")).unwrap();
    assert!(pids.lines().count() >= 2, "a shell each: {pids:?}");
    pids.lines().for_each(|pid| super::support::kill(pid.parse().unwrap(), nix::libc::SIGKILL));

    // Tab completes what is there since `cd`, without a command of kubectl in between.
    session.line("mkdir -p fruit && cd fruit && echo sweet > pomegranate");
    session.press("cat pom\t");
    session.expect("pomegranate");
    assert!(session.line("").contains("sweet\r\n"));

    // A question that nobody answers is given up.
    let status: serde_json::Value =
        serde_json::from_str(&home.ropewalk(&["status", "--name", "t", "-o", "json"]).ok()).unwrap();
    let main = status["pids"]["main"].as_i64().unwrap() as i32;
    super::support::freeze(main);
    session.enter("check");
    session.press("\x03");
    session.expect(PROMPT);
    // Lines of the shell go on without the engine, which would like to hear of them.
    assert!(session.line("echo $?").contains("130\r\n"));
    super::support::kill(main, nix::libc::SIGCONT);

    // A cluster that is back tells of lessons again.
    home.ropewalk(&["down", "--name", "t"]);
    session.expect("ropewalk up --name t --detach --wait");
    session.line("ropewalk up --name t --detach --wait");
    assert!(session.line("get nodes").contains("is back"));
    session.line("lesson first-voyage/04");
    session.line("a");
    session.line("run nginx-pod --image=nginx");
    session.expect("Done.");

    // Of a cluster that has ended nobody says that it goes on.
    home.ropewalk(&["down", "--name", "t"]);
    session.expect("ropewalk up --name t --detach --wait");
    session.press("quit\r");
    session.expect("cluster t has ended\r\n");
    assert_eq!(session.end(), 0);
}

/// Input that comes faster than anybody types, without the marks of a paste.
#[test]
fn what_arrives_at_once_is_run_whole_and_in_order() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let _down = Down(&home);
    let mut session = Terminal::at_a_cluster(&home);
    session.line("cd $HOME");
    let file = |name: &str| std::fs::read_to_string(home.path().join(name)).unwrap_or_default();
    let lines = |name: &str, count: usize| -> (String, String) {
        let said = |n| format!("line {n} of those that came at once");
        let typed: String = (0..count).map(|n| format!("echo '{}' >> {name}\r", said(n))).collect();
        (typed, (0..count).map(|n| said(n) + "\n").collect())
    };

    // 200 lines at the prompt, and the one that tells of their end.
    let (typed, expected) = lines("paste", 200);
    assert!(typed.len() > 8192);
    session.press(&format!("{typed}echo all-\"done\"\r"));
    session.expect("all-done\r\n");
    session.expect(PROMPT);
    assert_eq!(file("paste"), expected);

    // A line of 4 KB at the prompt.
    let long: String = (0..4096).map(|n| char::from(b'a' + (n % 26) as u8)).collect();
    session.press(&format!("echo {long} > long; echo long-\"done\"\r"));
    session.expect("long-done\r\n");
    session.expect(PROMPT);
    assert_eq!(file("long"), format!("{long}\n"));

    // The same while a command runs that reads nothing: they are for the prompts after it.
    session.enter("echo sl\"eeps\"; sleep 2");
    session.expect("sleeps\r\n");
    let (typed, expected) = lines("ahead", 200);
    session.press(&format!("{typed}echo {long} > ahead-long; echo ahead-\"done\"\r"));
    session.expect("ahead-done\r\n");
    session.expect(PROMPT);
    assert_eq!(file("ahead"), expected);
    assert_eq!(file("ahead-long"), format!("{long}\n"));

    // A program that reads gets what is typed while it runs, and the prompt gets the rest.
    session.enter("echo re\"ads\"; cat > read");
    session.expect("reads\r\n");
    let text: String = (0..200).map(|n| format!("text {n} for the program, which reads it\n")).collect();
    session.press(&format!("{}\x04echo read-\"done\"\r", text.replace('\n', "\r")));
    session.expect("read-done\r\n");
    session.expect(PROMPT);
    assert_eq!(file("read"), text);

    interrupted_lines_are_dropped(&mut session);
    assert_eq!(file("never"), "");
    // The end of input right behind the last line.
    session.press("quit\r\x04");
    assert_eq!(session.end(), 0);
}

/// Types lines that write into the file `never` behind a command, and interrupts it.
fn interrupted_lines_are_dropped(session: &mut Terminal) {
    // Ctrl-C overtakes what waits, and throws it away. (The word comes from the command: a shell
    // that is just starting one may lose the key, dash every third time.)
    session.enter("sh -c 'echo st\"uck\"; exec sleep 600'");
    session.expect("stuck\r\n");
    session.press(&"echo never >> never\r".repeat(200));
    session.press("\x03");
    session.expect(PROMPT);
    assert!(session.line("echo $?").contains("130\r\n"));

    // Ctrl-C in one line of a paste drops those behind it, and nothing that is typed later. A
    // terminal says where a paste begins and ends.
    let paste = "sh -c 'echo pas\"ted\"; exec sleep 600'\recho never >> never\recho never >> never";
    session.press(&format!("\x1b[200~{paste}\x1b[201~\r"));
    session.expect("pasted\r\n");
    session.press("\x03");
    session.expect("are dropped: 2.");
    session.expect(PROMPT);
    assert!(session.line("echo $?").contains("130\r\n"));
}
