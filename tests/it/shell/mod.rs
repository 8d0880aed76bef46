//! Our shell beside dash: the same scripts, the same output and status. Wording of messages is not
//! compared.

mod cases;

use crate::support::{self, PATIENCE, ROPEWALK};
use cases::{CASES, Case};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const DASH: &str = "/bin/dash";

/// A directory with our `sh`, first on the path of the scripts.
fn ours(directory: &Path) -> PathBuf {
    let path = directory.join("sh");
    std::os::unix::fs::symlink(ROPEWALK, &path).unwrap();
    path
}

/// Waits, but no longer than a stuck shell deserves.
fn finish(mut child: std::process::Child) -> (ExitStatus, String) {
    let until = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > until => {
                child.kill().unwrap();
                panic!("the shell did not end");
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    (status, output)
}

fn command(shell: &Path) -> Command {
    let directory = shell.parent().unwrap().display();
    let mut command = Command::new(shell);
    command.env("PATH", format!("{directory}:/usr/bin:/bin")).env_remove("ENV");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn run(shell: &Path, case: &Case) -> (Option<i32>, String) {
    let work = tempfile::tempdir().unwrap();
    let (_, script, args) = case;
    let child = command(shell).args(["-c", script, "zero"]).args(*args).current_dir(&work).spawn().unwrap();
    let (status, output) = finish(child);
    (status.code(), output)
}

#[test]
fn our_shell_does_what_dash_does() {
    if !Path::new(DASH).exists() {
        return support::skip("there is no dash to compare with");
    }
    let bin = tempfile::tempdir().unwrap();
    let shell = ours(bin.path());
    let wrong: Vec<String> = CASES
        .iter()
        .filter_map(|case| {
            let (want, got) = (run(Path::new(DASH), case), run(&shell, case));
            (want != got).then(|| format!("{}: dash {want:?}, ours {got:?}", case.0))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What dash lacks or says otherwise.
#[test]
fn our_shell_has_pipefail_and_names_what_it_lacks() {
    let bin = tempfile::tempdir().unwrap();
    let shell = ours(bin.path());
    for (script, want) in [
        ("set -o pipefail; false | true; echo $?", (Some(0), "1\n")),
        ("set -o pipefail; true | true; echo $?", (Some(0), "0\n")),
        ("x='a b'; if [[ $x == a* && ! -e /nowhere ]]; then echo yes; fi", (Some(0), "yes\n")),
        ("[[ a* == 'a*' && ab != 'a*' ]]; echo $?; [[ -r /etc/nothing ]]; echo $?", (Some(0), "0\n1\n")),
        ("[[ -n '' || ( 2 -gt 1 && b > a ) ]]; echo $?; [[ x -eq 1 ]]; echo $?", (Some(0), "0\n2\n")),
        ("[[ -z x && $(echo no >&2; echo a) ]] 2>&1; echo $?; [[ a =~ a ]]; echo $?", (Some(0), "1\n2\n")),
        ("set -e; [[ a == b ]] || echo on; [[ a == b ]]; echo no", (Some(1), "on\n")),
        ("a=(1 2); echo no", (Some(2), "")),
        ("fg; echo $?", (Some(0), "2\n")),
        // dash has no jobs outside of a conversation; busybox has them.
        ("sleep 5 & sleep 6 & kill %1; wait %1; echo $?; kill %2; wait %2; echo $?", (Some(0), "143\n143\n")),
        ("set -- a b; echo ${#@} ${#*}", (Some(0), "2 2\n")),
        ("x=abcabc; echo ${x:1:2} ${x: -2} ${x:2} ${x:9}", (Some(0), "bc bc cabc\n")),
        (
            "x=abcabc; echo ${x/b/-} ${x//b/-} ${x/#a/-} ${x/%c/-} ${x//b*}",
            (Some(0), "a-cabc a-ca-c -bcabc abcab- a\n"),
        ),
        ("echo abcdef | { read -rn3 x; echo $x; read -r y; echo $y; }", (Some(0), "abc\ndef\n")),
        ("printf 'a:b' | { read -d: x; echo $x; }", (Some(0), "a\n")),
        ("sleep 5 | { read -t 0.1 x; echo $?; }; echo {1..3}", (Some(0), "1\n{1..3}\n")),
    ] {
        let (code, output) = run(&shell, &("", script, &[]));
        assert_eq!((code, output.as_str()), want, "{script}");
    }
}

#[test]
fn commands_on_standard_input_share_it_with_what_they_start() {
    let bin = tempfile::tempdir().unwrap();
    let mut child = command(&ours(bin.path())).stdin(Stdio::piped()).spawn().unwrap();
    let text = "echo one\nread x\ndata\necho \"x=$x\"\ncat\nall of this\n";
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let (status, output) = finish(child);
    assert_eq!((status.code(), output.as_str()), (Some(0), "one\nx=data\nall of this\n"));
}

#[test]
fn a_long_here_document_on_standard_input_takes_no_time_of_its_square() {
    let bin = tempfile::tempdir().unwrap();
    let mut child = command(&ours(bin.path())).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = (0..20_000).map(|n| format!("line {n} of a long document\n")).collect();
    let writing = std::thread::spawn(move || {
        let _ = stdin.write_all(format!("cat <<END | tail -1\n{lines}END\necho after\n").as_bytes());
    });
    let (status, output) = finish(child); // with the square of it this takes a quarter of an hour
    writing.join().unwrap();
    assert_eq!((status.code(), output.as_str()), (Some(0), "line 19999 of a long document\nafter\n"));
}

/// Starts a script, waits for its first line, sends TERM. Its standard input ends after the script.
fn terminate(script: &str) -> (ExitStatus, String) {
    let bin = tempfile::tempdir().unwrap();
    let mut child = command(&ours(bin.path())).args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
    let held = child.stdin.take();
    let mut first = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    let ended = finish(child);
    drop(held);
    ended
}

#[test]
fn term_runs_the_trap_or_ends_the_shell() {
    let (status, output) = terminate(r#"trap "echo got; exit 5" TERM; echo; while :; do sleep 0.1; done"#);
    assert_eq!((status.code(), output.as_str()), (Some(5), "got\n"));
    let (status, output) =
        terminate(r#"trap 'kill $p; echo got; exit 6' TERM; sleep 30 & p=$!; echo; wait $p"#);
    assert_eq!((status.code(), output.as_str()), (Some(6), "got\n"));
    let (status, _) = terminate("echo; cat >/dev/null; echo no");
    assert_eq!(status.signal(), Some(15));
    // The last command replaced the shell, so the signal met it.
    let (status, _) = terminate("echo; exec sleep 30");
    assert_eq!(status.signal(), Some(15));
}

#[test]
fn pid_1_collects_orphans() {
    let bin = tempfile::tempdir().unwrap();
    let shell = ours(bin.path());
    // A zombie that nobody collects keeps its directory.
    let script = r#"echo $$; orphan=$(sh -c 'sleep 0.1 >/dev/null & echo $!')
        while [ -e /proc/$orphan ]; do sleep 0.02; done; exit 5"#;
    let path = format!("{}:/usr/bin:/bin", bin.path().display());
    let child = Command::new("unshare")
        .args(["-Urfp", "--mount-proc", "--kill-child"])
        .arg(&shell)
        .args(["-c", script])
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(child) = child else { return support::skip("there is no unshare(1)") };
    let (status, output) = finish(child);
    if output.is_empty() {
        return support::skip("this machine gives no PID namespace");
    }
    assert_eq!((status.code(), output.as_str()), (Some(5), "1\n"));
}

#[test]
fn a_trap_runs_while_a_fifo_waits_for_its_other_end() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // A signal before the shell opens the FIFO would run the trap in any case; so it comes again
    // and again, until it has met the open.
    let script = format!(
        "trap 'n=$((n+1)); [ $n -lt 4 ] || exit 7' TERM; n=0; \
         (while kill -TERM $$; do sleep 0.1; done) & echo .; read x < {}",
        fifo.display()
    );
    let child = command(&ours(dir.path())).args(["-c", &script]).spawn().unwrap();
    assert_eq!(finish(child).0.code(), Some(7));
}

/// A terminal with our shell on it.
struct Conversation {
    heard: std::sync::mpsc::Receiver<Vec<u8>>,
    writer: Box<dyn Write + Send>,
    text: String,
}

impl Conversation {
    /// Types, and waits until the answer ends so.
    fn say(&mut self, typed: &str, end: &str) -> String {
        self.writer.write_all(typed.as_bytes()).unwrap();
        let until = Instant::now() + PATIENCE;
        while !self.text.ends_with(end) {
            let left = until.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(bytes) => self.text.push_str(&String::from_utf8_lossy(&bytes).replace('\r', "")),
                Err(e) => panic!("{e}: waited for {end:?} after {typed:?}, heard {:?}", self.text),
            }
        }
        std::mem::take(&mut self.text)
    }
}

#[test]
fn control_c_ends_the_line_and_not_the_shell() {
    let bin = tempfile::tempdir().unwrap();
    let pty = portable_pty::native_pty_system().openpty(portable_pty::PtySize::default()).unwrap();
    let mut command = portable_pty::CommandBuilder::new(ours(bin.path()));
    command.cwd("/");
    command.env("HOME", "/root");
    command.env_remove("PS1");
    let mut child = pty.slave.spawn_command(command).unwrap();
    let mut reader = pty.master.try_clone_reader().unwrap();
    let (sender, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut shell = Conversation { heard, writer: pty.master.take_writer().unwrap(), text: String::new() };
    let prompt = if nix::unistd::geteuid().is_root() { "/ # " } else { "/ $ " };
    assert_eq!(shell.say("", prompt), prompt);
    assert!(shell.say("echo hi\n", prompt).ends_with(&format!("\nhi\n{prompt}")));
    // Both the command and the loop around it end.
    // The word comes from the process that has the terminal when it says it.
    shell.say("while true; do sh -c 'echo up; exec sleep 30'; done\n", "\nup\n");
    shell.say("\x03", prompt);
    assert!(shell.say("echo $?\n", prompt).contains("\n130\n"));
    shell.say("echo go; while :; do :; done; echo never\n", "\ngo\n");
    shell.say("\x03", prompt);
    assert!(shell.say("echo $?\n", prompt).contains("\n130\n"));
    // A line that is not finished asks for more; one with an error does not end the shell.
    shell.say("for i in 1 2\n", "> ");
    assert!(shell.say("do echo $i; done\n", prompt).ends_with(&format!("\n1\n2\n{prompt}")));
    assert!(shell.say("echo ${x?bad}\n", prompt).contains("x: bad\n"));
    shell.say("exit 3\n", "exit 3\n");
    assert_eq!(child.wait().unwrap().exit_code(), 3);
}
