//! Where the locale is not UTF-8, nothing but ASCII is written: at a terminal of any kind, in lines
//! and in the interface, whatever the language that was chosen; and what a machine reads stays as
//! it is.

use super::session::Session;
use super::support::{Home, Said, capable, turn};

const C: (&str, &str) = ("LC_ALL", "C");

/// A session in English, because Korean has no ASCII, that ends well.
fn leave(session: Session, term: &str) {
    session.press("quit\r");
    let foreign = || session.foreign();
    session.until("the end", |_, text| text.contains("stays up"));
    assert_eq!(foreign(), None);
    // And on a terminal that knows no sequences, none.
    assert!(term != "dumb" || session.sequence().is_none(), "{:?}", session.sequence());
}

#[test]
fn nothing_but_ascii_where_the_locale_is_not_utf_8() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let _cluster = home.up(&["--workers", "1"]);

    // On a terminal that could show more, and on one that could not.
    for term in ["xterm-256color", "vt100"] {
        interface(&home, term);
    }
    for term in ["dumb", "vt100"] {
        lines(&home, term);
    }
    pipes(&home);
}

/// The interface: a lesson, the map, and what a program says on its screen.
fn interface(home: &Home, term: &str) {
    let session = Session::start_in(
        home,
        &["learn", "first-voyage/01", "--name", "t", "--lang", "ko"],
        100,
        30,
        &[C, ("TERM", term)],
    );
    session.sees("Guess first");
    session.press("map cluster\r");
    session.until("the map in two lines", |_, t| t.contains("nodes 2/2") && t.contains("ropewalk>"));
    session.press("\x1bOQ"); // F2: the whole map
    session.until("both nodes", |_, t| t.matches("* Ready").count() == 2);
    session.press("\x1bOQ");
    session.until("the prompt again", |_, t| t.contains("ropewalk>"));
    session.press("map raft\r");
    session.sees("map: raft");
    session.press("lang ko\r");
    session.sees("cannot be shown here");
    // What a program says too: here a screen stands between.
    session.press("printf 'h\\303\\251l\\303\\240\\n'\r");
    session.sees("h?l?");
    leave(session, term);
}

/// A session line by line. Done once, a step has no more hints: only the first terminal has them.
fn lines(home: &Home, term: &str) {
    let session = Session::start_in(home, &["repl", "--name", "t"], 100, 40, &[C, ("TERM", term)]);
    session.sees("ropewalk>");
    let lesson = [
        ("lesson first-voyage/04", "step 1 of"),
        ("hint", "hint 1"),
        ("a", "Start a pod"),
        ("check", "not yet: "),
        ("solve", "pod/nginx-pod created"),
        ("delete pod nginx-pod --now", "nginx-pod\" deleted"),
    ];
    let lesson = lesson.into_iter().filter(|_| term == "dumb");
    let lines = [
        ("lesson", "first-voyage"),
        ("lab list", "broken-selector"),
        ("get nodes", "control-plane"),
        ("run web --image=nginx", "pod/web created"),
        ("status", "kubeconfig"),
        ("why pod/web", "web"),
        ("trace", "kube-scheduler"),
        ("doctor", "This machine can run a cluster"),
        ("help", "In a second terminal"),
        ("lang ko", "cannot be shown here"),
        ("delete pod web --now", "web\" deleted"),
    ];
    for (line, seen) in lesson.chain(lines) {
        session.press(&format!("clear\r{line}\r"));
        session.sees(seen);
    }
    session.press("lang ko\rlang ko\r");
    session.until("it says so each time", |_, t| t.matches("cannot be shown here").count() >= 2);
    leave(session, term);
}

/// Commands into a pipe.
fn pipes(home: &Home) {
    let said = |args: &[&str], locale: &str| -> Said {
        home.command(home.program()).args(args).env("LC_ALL", locale).output().expect("it runs").into()
    };
    for args in [
        &["status", "--name", "t"][..],
        &["doctor"],
        &["lesson", "list", "--name", "t"],
        &["lesson", "show", "first-voyage/04", "--name", "t"],
        &["lab", "list", "--name", "t"],
        &["trace", "--name", "t"],
        &["undo", "--list", "--name", "t"],
        &["kubectl", "--name", "t", "get", "pods", "-A"],
        &["bench", "--help"],
        &["--help"],
        &["up", "--name", "t"],
        &["nonsense"],
    ] {
        let said = said(args, "C");
        assert!(said.out.is_ascii() && said.err.is_ascii(), "{args:?}: {said:?}");
        assert!(said.out.len() + said.err.len() > 20, "{args:?}: {said:?}");
    }
    // What is asked for by name goes into a pipe, and a document is the same everywhere.
    let korean = said(&["lesson", "show", "first-voyage/04", "--name", "t", "--lang", "ko"], "C").ok();
    assert!(korean.contains('한') || korean.contains('를'), "{korean}");
    let list = ["lesson", "list", "--name", "t", "-o", "json"];
    assert_eq!(said(&list, "C").ok(), said(&list, "C.UTF-8").ok());
    // A grade goes into a spreadsheet, with the learner's name as it is written.
    said(&["lab", "start", "broken-selector", "--yes", "--name", "t"], "C").ok();
    let sheet = said(&["lab", "grade", "-o", "csv", "--learner", "김민수", "--name", "t"], "C");
    assert!(sheet.out.contains(",김민수,"), "{sheet:?}");
}
