//! The terminal interface through the real program.

use super::session::{Session, at_prompt, given_back, nothing_is_left};
use super::support::{Home, PATIENCE, capable, kill, turn};

/// Asks for the map of the cluster on a narrow screen, where it has two lines. F2 shows the whole
/// map, and goes back. Returns both screens.
fn see_three_nodes(session: &Session, ready: &str) -> [String; 2] {
    session.press("map cluster\r");
    let strip = session.until("the strip", |_, t| t.contains("nodes 3/3") && t.contains("ropewalk>"));
    session.press("\x1bOQ");
    let whole = session.until("three nodes", |_, t| t.contains("worker2") && t.matches(ready).count() == 3);
    session.press("\x1bOQ");
    session.sees("ropewalk>");
    [strip, whole]
}

#[test]
fn from_the_start_to_quit() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let mut session =
        Session::start(&home, &["learn", "first-voyage/01", "--name", "t", "--lang", "en"], 80, 24);
    // The lesson's question has the upper half to itself until the map is asked for.
    session.sees("Guess first");
    session.sees("ropewalk>");
    see_three_nodes(&session, "● Ready");
    session.press("get nodes --no-headers | wc -l\r");
    session.until("3", |_, t| super::session::is_line(t, "3"));

    // A command lights its path, and the pod stands on a node.
    session.press("kubectl run web --image=nginx\r");
    session.sees("pod/web created");
    session.until("a lit hop", |_, t| ["▶ api", "▶ etcd", "▶ kubelet"].iter().any(|hop| t.contains(hop)));
    session.until("the pod", |_, t| t.contains("● web"));
    // F7 goes back to where it was not there yet.
    session.press("\x1b[18~");
    session.press("\x1b[15~");
    session.sees("kubectl run web: done after");

    // Ctrl-C reaches the command; a paste comes in one piece; a full-screen program gets keys and
    // its size.
    session.press("sh -c 'echo begun; exec sleep 100'\r");
    session.until("begun", |_, t| super::session::is_line(t, "begun"));
    session.press("\x03");
    session.press("\x1b[200~echo one\\ two\x1b[201~\r");
    session.until("the paste", |_, t| super::session::is_line(t, "one two"));
    session.press("sh -c 'printf \"\\033[?1049hfull of \"; stty size; read x; printf \"\\033[?1049l\"'\r");
    session.sees("full of 8 78");
    session.press("\r");
    session.until("the prompt again", |_, t| !t.contains("full of 8") && at_prompt(t));

    // Another size, another layout; the shell hears of it.
    session.resize(120, 34);
    session.until("the large layout", |_, t| t.contains("kube-apiserver") && t.contains("controllers ★"));
    session.press("stty size\r");
    session.until("its size", |_, t| t.lines().any(|l| l.trim_end_matches(['│', ' ']).ends_with(" 75")));
    session.resize(50, 12);
    session.until("one pane", |_, t| t.contains("[shell]") && !t.contains("kube-apiserver"));
    session.resize(80, 24);
    session.sees("map: cluster");

    // Views by key and by word, help by key.
    session.press("\x1bOR");
    session.sees("Which view?");
    session.press("4");
    session.sees("map: scheduling");
    session.sees("✗ untolerated taint");
    session.press("map pod\r");
    session.sees("map: pod");
    session.press("\x1bOP");
    session.sees("Without function keys");
    session.press("\x1b");
    session.until("help closed", |_, t| !t.contains("Without function keys"));
    session.press("?");
    session.sees("Without function keys");
    session.press("q");

    session.press("quit\r");
    assert_eq!(session.child.wait().unwrap().exit_code(), 0);
    assert_eq!(session.end(), 0);
    nothing_is_left(&home);
}

#[test]
fn signals_find_the_terminal_given_back() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let session = Session::start(&home, &["learn", "first-voyage/01", "--name", "t", "--lang", "ko"], 80, 24);
    session.sees("먼저 예측");
    session.press("map cluster\r");
    session.until("the prompt and the map", |_, t| t.contains("ropewalk>") && t.contains("그림: 클러스터"));
    // Stopped, it leaves the terminal as a shell needs it; going on, it draws itself anew.
    kill(session.pid(), nix::libc::SIGTSTP);
    session.until("the usual screen", |screen, _| given_back(screen));
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", session.pid())).unwrap_or_default();
    super::support::eventually(PATIENCE, state, |s| s.contains(") T "));
    kill(session.pid(), nix::libc::SIGCONT);
    session
        .until("the interface again", |screen, t| screen.alternate_screen() && t.contains("그림: 클러스터"));
    // The language changes everywhere at once.
    session.press("lang en\r");
    session.sees("map: cluster");
    // A signal stops it, and the terminal is changed meanwhile: it takes the terminal again.
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    kill(session.pid(), nix::libc::SIGSTOP);
    super::support::eventually(PATIENCE, state, |s| s.contains(") T "));
    let mut terminal = session.terminal();
    let mut settings = tcgetattr(&terminal).unwrap();
    settings.local_flags |= LocalFlags::ICANON | LocalFlags::ECHO;
    tcsetattr(&terminal, SetArg::TCSANOW, &settings).unwrap();
    std::io::Write::write_all(&mut terminal, b"\x1b[?1049l").unwrap();
    session.until("the usual screen", |screen, _| !screen.alternate_screen());
    kill(session.pid(), nix::libc::SIGCONT);
    session.until("the interface again", |screen, t| screen.alternate_screen() && t.contains("map: cluster"));
    assert!(!tcgetattr(&terminal).unwrap().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO));
    drop(terminal);
    // It was not started by a shell: nobody would let it go on.
    session.press("\x1dz");
    session.sees("nobody could wake");
    kill(session.pid(), nix::libc::SIGTERM);
    assert_eq!(session.end(), 143);
    nothing_is_left(&home);
}

#[test]
fn without_an_answer_the_interface_is_ascii_and_exit_codes_pass() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let session = Session::start(
        &home,
        &["learn", "first-voyage/01", "--name", "t", "--lang", "en", "--ascii"],
        80,
        24,
    );
    session.sees("Guess first");
    for text in see_three_nodes(&session, "* Ready") {
        assert!(text.is_ascii(), "{text}");
    }
    session.press("exit 3\r");
    assert_eq!(session.end(), 3);
    nothing_is_left(&home);
}

/// Keys that come while the window changes its size are not lost, nor is the end of a long paste.
#[test]
fn every_key_arrives() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let session =
        Session::start(&home, &["learn", "first-voyage/01", "--name", "t", "--lang", "en"], 120, 34);
    session.sees("Guess first");
    session.sees("ropewalk>");
    let line = |wanted: String| move |_: &_, t: &str| super::session::is_line(t, &wanted);
    for n in 0..20 {
        session.resize([120, 100][n % 2], [34, 30][n % 2]);
        session.press(&format!("echo typed {n}\r"));
        session.until("what was typed", line(format!("typed {n}")));
    }
    let long = "o".repeat(5000);
    session.press(&format!("\x1b[200~printf %s {long} | wc -c\x1b[201~\r"));
    session.until("the whole paste", line("5000".into()));
    session.press("quit\r");
    assert_eq!(session.end(), 0);
    nothing_is_left(&home);
}

/// A terminal that is nobody's controlling terminal sends no signal when it goes.
#[test]
fn the_end_of_the_terminal_is_noticed_without_a_signal() {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let size = portable_pty::PtySize { rows: 24, cols: 80, ..portable_pty::PtySize::default() };
    let pair = portable_pty::native_pty_system().openpty(size).unwrap();
    let name = pair.master.tty_name().expect("a name");
    let open = || {
        let flags = nix::libc::O_NOCTTY;
        std::fs::File::options().read(true).write(true).custom_flags(flags).open(&name).unwrap()
    };
    let mut command = home.command("setsid");
    command.args(["--wait", super::support::ROPEWALK, "--name", "t", "--lang", "en"]);
    command.env("TERM", "xterm").env("SHELL", "/bin/sh");
    let mut child = command.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
    drop(command); // it holds the terminal, too
    let mut seen = Vec::new();
    let mut reader = pair.master.try_clone_reader().unwrap();
    while !String::from_utf8_lossy(&seen).contains("ropewalk>") {
        let mut bytes = [0; 4096];
        let n = reader.read(&mut bytes).unwrap();
        seen.extend_from_slice(&bytes[..n]);
    }
    drop((reader, pair));
    let ended = super::support::eventually(PATIENCE, || child.try_wait().unwrap(), Option::is_some);
    assert_eq!(ended.and_then(|status| status.code()), Some(129));
    nothing_is_left(&home);
}
