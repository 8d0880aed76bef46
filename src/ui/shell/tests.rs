use super::*;
use crate::dialect::Dialect;
use portable_pty::CommandBuilder;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

pub(super) fn setting(shell: &str, terminal: bool) -> Setting {
    Setting {
        shell: shell.into(),
        dialect: Dialect::of(Path::new(shell)).expect("a shell that can be driven"),
        program: "/bin/true".into(),
        cluster: "main".into(),
        home: "/none".into(),
        kubeconfig: "/none".into(),
        bin: "/none".into(),
        spare: "/none".into(),
        cwd: None,
        terminal,
        column: Arc::default(),
        stdin: false,
        start_files: false,
        patience: START_PATIENCE,
    }
}

/// Set in the process that has a terminal.
const BUSYBOX: &str = "ROPEWALK_TEST_BUSYBOX";

/// Not a test of its own: runs on the terminal that the test below opens.
#[test]
fn runs_lines_in_the_shell_of_busybox() {
    if std::env::var_os(BUSYBOX).is_none() {
        return;
    }
    let mut shell = Shell::start(&setting("/bin/busybox", true)).expect("a shell");
    assert_eq!(shell.run("x=5; cd /", 0).unwrap(), Ran::Code(0));
    for (line, code) in [
        ("(exit 3)", 3),
        ("fi", 2),
        (". /none/such", 2),
        ("sleep 900 & kill %1; wait", 0),
        ("kill -INT $$; exit 4", 130),
        ("[ $x = 5 ] && [ $(pwd) = / ]", 0),
    ] {
        println!("{line}");
        assert_eq!(shell.run(line, 0).unwrap(), Ran::Code(code), "{line}");
        assert!(shell.exports().is_some());
    }
    assert_eq!(shell.run("exit 3", 0).unwrap(), Ran::Ended(3));
}

#[test]
fn the_shell_of_busybox_can_be_driven() {
    if Path::new("/bin/busybox").exists() {
        on_a_terminal("shell::tests::runs_lines_in_the_shell_of_busybox", BUSYBOX, "1");
    }
}

/// Set in the process whose home has bad start files: its value is what they do.
const INSIDE: &str = "ROPEWALK_TEST_START_FILES";

/// Not a test of its own: runs in the processes that the test below starts.
#[test]
fn starts_in_a_home_with_bad_start_files() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let setting =
        Setting { patience: Duration::from_secs(1), start_files: true, ..setting("/bin/bash", true) };
    let shell = Shell::start(&setting).expect("a shell without start files");
    assert!(shell.plain);
}

/// Set in the process whose shell has a start file with a program in the background.
const BESIDE: &str = "ROPEWALK_TEST_BACKGROUND";

/// Not a test of its own: runs in the process that the test below starts.
#[test]
fn kills_a_shell_whose_start_file_began_a_program() {
    if std::env::var_os(BESIDE).is_none() {
        return;
    }
    let setting = Setting { start_files: true, ..setting("/bin/bash", false) };
    let mut shell = Shell::start(&setting).expect("a shell");
    assert_eq!(shell.run("true", 0).unwrap(), Ran::Code(0));
    assert!(matches!(shell.run("kill -9 $$", 0).unwrap(), Ran::Ended(_)));
}

/// The program has the other end of the pipe on which the shell reports: the pipe does not end
/// with the shell.
#[test]
fn the_end_of_a_shell_is_seen_while_a_program_of_its_start_file_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (go, start) = (dir.path().join("go"), dir.path().join("start"));
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::write(&start, format!("unset BASH_ENV; read x < {} &\n", go.display())).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "shell::tests::kills_a_shell_whose_start_file_began_a_program"]);
    command.env(BESIDE, "1").env("BASH_ENV", &start).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let handle = process::pidfd_open(child.id() as i32).unwrap();
    let waiter = std::thread::spawn(move || tell.send(child.wait().unwrap().success()));
    let ended = told.recv_timeout(Duration::from_secs(60));
    if ended.is_err() {
        process::pidfd_send_signal(handle.as_fd(), nix::libc::SIGKILL).unwrap();
    }
    // The program ends: it reads this line, or does not find the pipe.
    let mut line = File::options().read(true).write(true).open(&go).unwrap();
    line.write_all(b"\n").unwrap();
    std::fs::remove_file(&go).unwrap();
    waiter.join().unwrap().unwrap();
    assert_eq!(ended, Ok(true), "the shell's end");
}

/// Set in the process that has no free descriptor.
const FULL: &str = "ROPEWALK_TEST_FULL";

/// Not a test of its own: runs in the process that the test below starts.
#[test]
fn drops_a_shell_without_a_free_descriptor() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if std::env::var_os(FULL).is_none() {
        return;
    }
    let mut shell = Shell::start(&setting("/bin/bash", false)).expect("a shell");
    assert_eq!(shell.run("true", 0).unwrap(), Ran::Code(0));
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 0, hard).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        drop(shell);
        tell.send(())
    });
    assert_eq!(told.recv_timeout(Duration::from_secs(60)), Ok(()), "the shell's end");
}

#[test]
fn a_session_ends_although_no_descriptor_is_free() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "shell::tests::drops_a_shell_without_a_free_descriptor"]).env(FULL, "1");
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_shell_that_gets_stuck_in_its_start_files_runs_without_them() {
    for does in ["exec sleep 1000", "while :; do sleep 1; done", "exit 3"] {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(".bashrc"), does).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "shell::tests::starts_in_a_home_with_bad_start_files"]);
        let ran = command.env(INSIDE, does).env("HOME", home.path()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{does}: {said}");
    }
}

/// Set in the process whose shell gets stuck in its start file.
const STUCK: &str = "ROPEWALK_TEST_STUCK";

/// Not a test of its own: runs in the process that the test below starts.
#[test]
fn gives_up_a_shell_that_gets_stuck() {
    if std::env::var_os(STUCK).is_none() {
        return;
    }
    let patience = Duration::from_secs(1);
    let setting = Setting { patience, start_files: true, ..setting("/bin/bash", false) };
    assert!(Shell::start(&setting).is_err());
}

/// A script has no terminal at which its shell could hang up.
#[test]
fn a_script_whose_shell_gets_stuck_in_its_start_file_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let (go, start) = (dir.path().join("go"), dir.path().join("start"));
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::write(&start, format!("unset BASH_ENV; read x < {}\n", go.display())).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "shell::tests::gives_up_a_shell_that_gets_stuck"]);
    command.env(STUCK, "1").env("BASH_ENV", &start).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let handle = process::pidfd_open(child.id() as i32).unwrap();
    let ended = poll(&mut [PollFd::new(handle.as_fd(), PollFlags::POLLIN)], PollTimeout::from(60_000_u16));
    // Without a reader the line is lost; a shell that still waits gets it, and ends.
    let mut line = File::options().read(true).write(true).open(&go).unwrap();
    line.write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(ended, Ok(1), "the error is waited for");
}

/// Set in the process that has a terminal: its value is the shell.
const ON_A_TERMINAL: &str = "ROPEWALK_TEST_PROMPT";

/// Not a test of its own: runs on the terminals that the test below opens.
#[test]
fn runs_lines_that_take_the_prompt_away() {
    let Ok(name) = std::env::var(ON_A_TERMINAL) else { return };
    let mut shell = Shell::start(&setting(&name, true)).expect("a shell");
    let mut lines = vec!["set -x", "set +x", "PS1='$ '", "PS1='$ '; kill -INT $$"];
    if name.ends_with("bash") {
        lines.extend(["PROMPT_COMMAND=(: 'PS1=\"$ \"')", "shopt -u promptvars"]);
    }
    for line in lines {
        println!("{line}");
        assert!(matches!(shell.run(line, 0).unwrap(), Ran::Code(_)), "{line}");
        assert_eq!(shell.run("(exit 3) || (exit 4)", 0).unwrap(), Ran::Code(4), "after {line}");
        assert_eq!(shell.run("true", 1).unwrap(), Ran::Code(0), "after {line}");
    }
    let by_the_shell =
        ["set -e", "[ a = b ] && echo", "PS1='$ '; [ a = b ] && echo", "! true", "set +e", "fi"];
    for (line, code) in by_the_shell.into_iter().zip([0, 1, 1, 1, 0, 2]) {
        println!("{line}");
        assert_eq!(shell.run(line, 0).unwrap(), Ran::Code(code), "it excuses this, or refuses it: {line}");
    }
    assert_eq!(shell.run("echo 'a", 0).unwrap(), Ran::Code(2), "bash prints the prompt of before");
    for last in [0, 130] {
        for line in ["set -e", "true", "readonly PS1", "true", "set +e"] {
            println!("{line}");
            assert_eq!(
                shell.run(line, last).unwrap(),
                Ran::Code(0),
                "none of our own commands fails: {line}"
            );
        }
    }
    assert_eq!(shell.run("(exit 3) || (exit 4)", 0).unwrap(), Ran::Code(4), "with a read-only prompt");
    assert_eq!(shell.exports().expect("variables").get("KUBECONFIG").map(String::as_str), Some("/none"));
    assert!(!shell.take_woken());
    for line in ["kill -STOP $$", "suspend"].into_iter().take(if name.ends_with("bash") { 2 } else { 1 }) {
        println!("{line}");
        assert_eq!(shell.run(line, 0).unwrap(), Ran::Code(0), "{line}");
        assert!(shell.take_woken() && !shell.take_woken(), "{line}");
    }
    assert!(matches!(shell.run("exit 3", 0).unwrap(), Ran::Ended(3)) && !shell.unread());
    let mut shell = Shell::start(&setting(&name, true)).expect("a shell");
    assert_eq!(shell.run("kill -KILL $$", 0).unwrap(), Ran::Ended(128 + 9));
}

/// Runs a test of this program again, in a process on a terminal of its own and with a variable,
/// and returns what it printed.
pub(crate) fn on_a_terminal(test: &str, variable: &str, value: &str) -> String {
    on_a_terminal_of(portable_pty::PtySize::default(), test, variable, value)
}

/// As [`on_a_terminal`], on one of this size.
pub(crate) fn on_a_terminal_of(
    size: portable_pty::PtySize,
    test: &str,
    variable: &str,
    value: &str,
) -> String {
    let pair = portable_pty::native_pty_system().openpty(size).unwrap();
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    command.env(variable, value);
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let handle = process::pidfd_open(child.process_id().unwrap() as i32).unwrap();
    let mut reader = pair.master.try_clone_reader().unwrap();
    let output = thread::spawn(move || {
        let mut said = Vec::new();
        let _ = reader.read_to_end(&mut said); // ends with EIO once the program has gone
        String::from_utf8_lossy(&said).into_owned()
    });
    let ended = poll(&mut [PollFd::new(handle.as_fd(), PollFlags::POLLIN)], PollTimeout::from(60_000_u16));
    if ended == Ok(0) {
        child.kill().unwrap();
    }
    child.wait().unwrap();
    let said = output.join().unwrap();
    assert!(ended == Ok(1) && said.contains("1 passed"), "{value}: {said}");
    said
}

#[test]
fn a_line_that_takes_the_prompt_away_is_reported() {
    for shell in ["/bin/bash", "/bin/sh"] {
        on_a_terminal("shell::tests::runs_lines_that_take_the_prompt_away", ON_A_TERMINAL, shell);
    }
}

/// Set in the process that has a terminal.
const VERBOSE: &str = "ROPEWALK_TEST_VERBOSE";

/// Not a test of its own: runs on the terminal that the test below opens.
#[test]
fn gives_a_long_line_to_a_shell_that_repeats_it() {
    if std::env::var_os(VERBOSE).is_none() {
        return;
    }
    let mut shell = Shell::start(&setting("/bin/bash", true)).expect("a shell");
    assert_eq!(shell.run("set -v", 0).unwrap(), Ran::Code(0));
    let long = format!(": '{}'", "a line of a text\n".repeat(20_000));
    assert_eq!(shell.run(&long, 0).unwrap(), Ran::Code(0));
    assert_eq!(shell.run("(exit 3)", 0).unwrap(), Ran::Code(3));
}

/// The shell would wait for its words to be heard, and this program for its line to be read.
#[test]
fn a_shell_may_repeat_what_it_reads() {
    on_a_terminal("shell::tests::gives_a_long_line_to_a_shell_that_repeats_it", VERBOSE, "1");
}

/// Set in the process that has a terminal: its value is the file that its shell writes.
const LISTS: &str = "ROPEWALK_TEST_HISTORY";

/// Not a test of its own: runs on the terminal that the test below opens.
#[test]
fn lists_what_was_typed() {
    let Ok(file) = std::env::var(LISTS) else { return };
    let mut shell = Shell::start(&setting("/bin/bash", true)).expect("a shell");
    assert_eq!(shell.run("alias again='fc -s'", 0).unwrap(), Ran::Code(0));
    shell.remember(["true", "again"].map(String::from));
    assert_eq!(shell.run("again", 0).unwrap(), Ran::Code(0), "it does not run itself");
    assert_eq!(shell.run("history -c", 0).unwrap(), Ran::Code(0));
    for line in ["cd /tmp", "set -e", "trap 'exit 7' ERR"] {
        assert_eq!(shell.run(line, 1).unwrap(), Ran::Code(0), "{line}");
    }
    shell.remember(["get pods", "echo 'it is\nhere'"].map(String::from));
    assert_eq!(shell.run(&format!("history > {file}; fc -ln -1 >> {file}"), 0).unwrap(), Ran::Code(0));
    assert_eq!(shell.run("true", 0).unwrap(), Ran::Code(0));
}

/// As in every bash, and without what this program tells the shell.
#[test]
fn the_history_of_the_shell_has_the_lines_that_were_typed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("history");
    on_a_terminal("shell::tests::lists_what_was_typed", LISTS, &file.display().to_string());
    let listed = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = listed.lines().map(str::trim).collect();
    assert_eq!(lines, ["1  get pods", "2  echo 'it is", "here'", "echo 'it is", "here'"]);
}

/// Set in the process that has a terminal.
const JOBS: &str = "ROPEWALK_TEST_JOBS";

/// Not a test of its own: runs on the terminal that the test below opens.
#[test]
fn ends_a_program_in_the_background() {
    if std::env::var_os(JOBS).is_none() {
        return;
    }
    let mut shell = Shell::start(&setting("/bin/bash", true)).expect("a shell");
    for line in ["PS0='told '", "sleep 900 &", "kill %1"] {
        assert_eq!(shell.run(line, 0).unwrap(), Ran::Code(0), "{line}");
        assert!(shell.exports().is_some());
    }
    let until = Instant::now() + Duration::from_secs(60);
    while !shell.running().is_empty() && Instant::now() < until {
        thread::yield_now();
    }
    assert_eq!(shell.run("true", 0).unwrap(), Ran::Code(0));
}

/// bash tells it wherever it waits for a program, also for one of ours.
#[test]
fn the_end_of_a_program_in_the_background_is_told() {
    let said = on_a_terminal("shell::tests::ends_a_program_in_the_background", JOBS, "1");
    assert_eq!(said.matches("Terminated").count(), 1, "{said}");
    assert!(said.matches("told ").count() <= 1, "a prompt for each of our commands: {said}");
}

/// The start file of the test below.
const START: &str = "tells-its-history";

/// Not a test of its own: runs on the terminal that the test below opens.
#[test]
fn starts_with_a_start_file() {
    if std::env::var("ENV").is_ok_and(|file| file.ends_with(START)) {
        let mut shell =
            Shell::start(&Setting { start_files: true, ..setting("/bin/sh", true) }).expect("a shell");
        assert_eq!(shell.run("[ -z \"${HISTFILE-}\" ]", 0).unwrap(), Ran::Code(0), "programs have none");
    }
}

/// ksh keeps one from its first command on.
#[test]
fn a_shell_keeps_no_history_of_our_commands_in_the_file_of_the_learner() {
    let dir = tempfile::tempdir().unwrap();
    let (start, told) = (dir.path().join(START), dir.path().join("told"));
    std::fs::write(&start, format!("echo $HISTFILE > {}\n", told.display())).unwrap();
    on_a_terminal("shell::tests::starts_with_a_start_file", "ENV", &start.display().to_string());
    // Where `sh` is bash, it reads no such file.
    let told = std::fs::read_to_string(told).unwrap_or_else(|_| "/dev/null\n".into());
    assert_eq!(told, "/dev/null\n");
}

#[test]
fn a_shell_tells_what_it_exports() {
    for shell in ["/bin/bash", "/bin/sh"] {
        let mut shell = Shell::start(&setting(shell, false)).expect("a shell");
        let mut value = |name: &str| shell.exports().expect("variables").get(name).cloned();
        assert_eq!(value("KUBECONFIG").as_deref(), Some("/none"));
        assert_eq!(value("PLACE"), None);
        let long = "x".repeat(100_000); // more than a pipe takes
        let lines = [
            &format!("export PLACE='a b\n' LONG={long}; HERE=1; cat() {{ :; }}; set -eCu"),
            "KUBECONFIG=/jane; unset HOME",
        ];
        for line in lines {
            assert!(matches!(shell.run(line, 0).unwrap(), Ran::Code(_)));
        }
        let all = shell.exports().expect("variables").clone();
        let value = |name: &str| all.get(name).map(String::as_str);
        assert_eq!([value("PLACE"), value("KUBECONFIG")], [Some("a b\n"), Some("/jane")]);
        assert_eq!([value("LONG"), value("HOME"), value("HERE")], [Some(&*long), None, None]);
        assert!(matches!(shell.run("unset KUBECONFIG", 0).unwrap(), Ran::Code(0)));
        assert_eq!(shell.exports().expect("variables").get("KUBECONFIG"), None);
        assert!(matches!(shell.run("PATH=/none", 0).unwrap(), Ran::Code(0)));
        assert_eq!(shell.exports(), None, "there is no `cat`");
        assert_eq!(shell.run("exit 3", 0).unwrap(), Ran::Ended(3));
        assert_eq!(shell.exports(), None);
    }
}

/// Until the question is given up the shell is in a trap of the learner's.
#[test]
fn a_late_answer_goes_into_no_file_that_was_opened_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (busy, other) = (dir.path().join("busy"), dir.path().join("other"));
    let mut shell = Shell::start(&setting("/bin/bash", false)).expect("a shell");
    let trap = format!("trap 'while [ -e {} ]; do :; done' DEBUG", busy.display());
    assert_eq!(shell.run(&trap, 0).unwrap(), Ran::Code(0));
    std::fs::write(&busy, "").unwrap();
    assert_eq!(shell.exports_within(Duration::ZERO), None);
    let _open = File::create(&other).unwrap(); // it gets a number that is free
    std::fs::remove_file(&busy).unwrap();
    assert_eq!(shell.exports().expect("variables").get("KUBECONFIG").map(String::as_str), Some("/none"));
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "");
}

/// Set in the process that gets signals while it waits for its shell.
const SIGNALLED: &str = "ROPEWALK_TEST_SIGNALS";

/// Not a test of its own: runs in the process that the test below starts. A signal goes to the main
/// thread unless that has one pending: of several at once some go to the others.
#[test]
fn asks_its_shell_while_signals_come() {
    if std::env::var_os(SIGNALLED).is_none() {
        return;
    }
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH, Signal::SIGCHLD];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let _handlers = kinds.map(|kind| signal(SignalKind::from_raw(kind as i32)).unwrap());
    let mut shell = Shell::start(&setting("/bin/sh", false)).expect("a shell");
    let done = Arc::new(AtomicBool::new(false));
    let is_over = done.clone();
    let sender = thread::spawn(move || {
        while !is_over.load(Ordering::Relaxed) {
            for kind in kinds {
                nix::sys::signal::kill(Pid::this(), kind).unwrap();
            }
        }
    });
    for _ in 0..100 {
        assert_eq!(shell.run("true", 0).unwrap(), Ran::Code(0));
        assert!(shell.exports().is_some());
    }
    done.store(true, Ordering::Relaxed);
    sender.join().unwrap();
}

#[test]
fn a_signal_does_not_end_the_wait_for_what_the_shell_tells() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "shell::tests::asks_its_shell_while_signals_come"]);
    let ran = command.env(SIGNALLED, "1").output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

/// TMOUT, or a `kill` in the background.
#[test]
fn a_line_that_a_shell_has_not_read_is_told_from_one_that_ended_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let mut shell = Shell::start(&setting("/bin/sh", false)).expect("a shell");
    let life = process::pidfd_open(shell.pid().unwrap()).unwrap();
    process::pidfd_send_signal(life.as_fd(), nix::libc::SIGKILL).unwrap();
    assert_eq!(
        poll(&mut [PollFd::new(life.as_fd(), PollFlags::POLLIN)], PollTimeout::from(60_000_u16)),
        Ok(1)
    );
    let ran = shell.run(&format!("echo > {}", file.display()), 0).unwrap();
    assert!(matches!(ran, Ran::Ended(_)) && shell.unread() && !file.exists());
    let mut shell = Shell::start(&setting("/bin/sh", false)).expect("a shell");
    assert!(matches!(shell.run("exit 3", 0).unwrap(), Ran::Ended(3)) && !shell.unread());
}
