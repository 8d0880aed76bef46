//! Ctrl-C while the lesson engine is asked or told something.

use super::*;
use crate::script::Script;
use std::process::Command;
use std::time::Instant;

/// Raises SIGINT, and returns when all that wait for the signal have it.
fn press_ctrl_c(runtime: &Runtime) {
    let _inside = runtime.enter();
    let mut other = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).unwrap();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT).unwrap();
    runtime.block_on(other.recv()).unwrap();
}

/// Runs a test about Ctrl-C in a process of its own.
fn in_a_process(test: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("session::lessons::tests::interrupted::{test}")]);
    let ran = command.env(INSIDE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

/// A cluster whose lesson engine takes questions, passes them to `asked`, and answers none but
/// those that stop it. No lesson declares a cluster.
fn busy(runtime: &Runtime, place: &Place, asked: tokio::sync::mpsc::UnboundedSender<String>) {
    std::fs::create_dir_all(&place.root).unwrap();
    let _inside = runtime.enter();
    let listener = UnixListener::bind(place.socket()).unwrap();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let asked = asked.clone();
            tokio::spawn(async move {
                let (read, mut write) = stream.into_split();
                let mut lines = BufReader::new(read).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    // The second asks whether the lesson has a cluster of its own.
                    if line.contains("hello") || line.contains("\"elsewhere\"") {
                        write.write_all(b"{\"ok\":null}\n").await.unwrap();
                        continue;
                    }
                    if line.contains("\"stop\"") {
                        write.write_all(b"{\"ok\":\"stopped at command 3 of 7\"}\n").await.unwrap();
                    }
                    let _ = asked.send(line); // the test may have ended
                }
            });
        }
    });
}

/// Not a test of its own: runs in a process that the test below starts.
#[test]
fn interrupted_while_the_lab_engine_is_busy() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let place = Home::at(dir.path()).cluster("main").unwrap();
    let (asked, mut questions) = tokio::sync::mpsc::unbounded_channel();
    busy(&runtime, &place, asked);
    let mut session = session_at(&runtime, place);
    let interrupt = || nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        while let Some(question) = questions.recv().await {
            if question.contains("solve") {
                tell.send(question).unwrap();
                interrupt(); // the engine never answers
            }
        }
    });
    interrupt();
    session.run("solve", &mut Script::of([]));
    assert_eq!(session.last(), INTERRUPTED);
    assert!(told.try_recv().is_err(), "the engine was asked for the solution");
}

/// Not a test of its own: runs in a process that the test below starts.
#[test]
fn interrupted_while_the_lesson_engine_looks_for_the_solution() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let place = Home::at(dir.path()).cluster("main").unwrap();
    let (asked, mut questions) = tokio::sync::mpsc::unbounded_channel();
    busy(&runtime, &place, asked);
    let mut session = session_at(&runtime, place);
    let (tell, told) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        while let Some(question) = questions.recv().await {
            let question: serde_json::Value = serde_json::from_str(&question).unwrap();
            let ask = question["question"]["ask"].clone();
            if ask["solve"].is_object() {
                nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT).unwrap();
            }
            tell.send(ask).unwrap();
        }
    });
    assert!(matches!(session.ask_for_solution(None), Err(Unanswered::Cut)));
    let mut asks = std::iter::from_fn(|| told.recv_timeout(Duration::from_secs(60)).ok());
    assert!(asks.any(|ask| ask == "solved"), "what the learner does now counts as the solution's");
    assert!(session.engine.announced.take().is_some(), "the next line waits for that");
    press_ctrl_c(&runtime);
    session.end_solution();
    assert!(asks.any(|ask| ask == "solved"), "Ctrl-C once more keeps it from the engine");
}

#[test]
fn after_ctrl_c_at_solve_the_learner_plays() {
    in_a_process("interrupted_while_the_lesson_engine_looks_for_the_solution");
}

/// Not a test of its own: runs in a process that the test below starts.
#[test]
fn tells_the_engine_of_a_line_that_was_interrupted() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let place = Home::at(dir.path()).cluster("main").unwrap();
    tells(&runtime, &place, vec![(vec![LessonView::default()], None)]);
    let mut session = session_at(&runtime, place);
    press_ctrl_c(&runtime);
    session.end_line("get pods -w", false);
    assert!(session.engine.announced.is_none(), "the answer was waited for");
    assert!(session.take_interrupt(), "the lines behind it are dropped");
}

/// The signal that ended a line of kubectl is still there when the line is over.
#[test]
fn ctrl_c_in_a_line_does_not_cut_off_what_the_engine_is_told_of_it() {
    in_a_process("tells_the_engine_of_a_line_that_was_interrupted");
}

#[test]
fn ctrl_c_cancels_solve_before_the_solution_is_played() {
    in_a_process("interrupted_while_the_lab_engine_is_busy");
}

/// Not a test of its own: runs in a process that the test below starts.
#[test]
fn interrupted_while_a_setup_plays() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let place = Home::at(dir.path()).cluster("main").unwrap();
    let (asked, mut questions) = tokio::sync::mpsc::unbounded_channel();
    busy(&runtime, &place, asked);
    let mut session = session_at(&runtime, place);
    let (tell, told) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        while let Some(question) = questions.recv().await {
            let question: serde_json::Value = serde_json::from_str(&question).unwrap();
            let question = question["question"].clone();
            if question["ask"]["sure"]["ask"]["open"]["id"] == "07" {
                nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT).unwrap();
            }
            tell.send(question).unwrap();
        }
    });
    session.run("lesson 07 --yes", &mut Script::of([]));
    assert_eq!(session.last(), INTERRUPTED);
    assert_eq!(session.engine.stop_message, None, "what was said is shown");
    let told = |what: &str| {
        let asked = std::iter::from_fn(|| told.recv_timeout(Duration::from_secs(60)).ok());
        asked.into_iter().find(|question| !question["ask"][what].is_null()).unwrap()
    };
    let (opens, stops) = (told("sure"), told("stop"));
    assert!(opens["id"].is_string() && opens["id"] == stops["ask"]["stop"]["question"], "{opens} {stops}");
    session.run("lesson stop", &mut Script::of([]));
    assert_eq!(session.last(), 0);
    assert!(told("stop")["ask"]["stop"]["question"].is_null(), "for whomever it plays");
}

#[test]
fn ctrl_c_stops_the_setup_that_was_asked_for() {
    in_a_process("interrupted_while_a_setup_plays");
}

/// Not a test of its own: what the one below runs in a process.
#[test]
fn interrupted_in_front_of_a_busy_engine() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let place = Home::at(dir.path()).cluster("main").unwrap();
    busy(&runtime, &place, tokio::sync::mpsc::unbounded_channel().0);
    let mut session = session_at(&runtime, place);
    let mut lines = Script::of([]);
    let began = Instant::now();
    session.announce(Ask::Typed { line: "echo".into() }, true).expect("nobody has interrupted");
    assert!(began.elapsed() >= HEARD_MAX, "the engine was given a moment");
    assert!(session.engine.announced.is_some());
    nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGINT).unwrap();
    session.run("exit-is-no-such-program; get pods", &mut lines);
    assert_eq!(session.last(), INTERRUPTED);
    assert!(session.shell.is_none(), "nothing was started for it");
    session.last = 0;
    nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGINT).unwrap();
    session.run("a", &mut lines);
    assert_eq!(session.last(), INTERRUPTED, "an answer to a question, or a program's name");
    assert!(session.shell.is_none(), "nothing was started for it");
}

#[test]
fn ctrl_c_while_the_engine_is_busy_keeps_the_line_from_running() {
    in_a_process("interrupted_in_front_of_a_busy_engine");
}

/// Not a test of its own: runs in a process that the test below starts.
#[test]
fn interrupted_while_a_question_waits_behind_a_message() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let place = Home::at(dir.path()).cluster("main").unwrap();
    let (asked, mut questions) = tokio::sync::mpsc::unbounded_channel();
    busy(&runtime, &place, asked);
    let mut session = session_at(&runtime, place);
    session.announce(Ask::Typed { line: "echo".into() }, true).expect("no Ctrl-C has come");
    assert!(session.engine.announced.is_some(), "the engine has not taken it");
    press_ctrl_c(&runtime);
    assert!(matches!(session.ask(Ask::Hint), Err(Unanswered::Cut)));
    assert!(session.engine.announced.is_some(), "the next line waits for it after a question");
    press_ctrl_c(&runtime);
    assert!(session.waits_for_letter().is_err());
    assert!(session.engine.announced.is_some(), "and after a letter");
    press_ctrl_c(&runtime);
    assert!(matches!(session.ask_for_solution(None), Err(Unanswered::Cut)));
    assert!(session.engine.announced.is_some());
    let heard = async {
        while let Some(question) = questions.recv().await {
            if question.contains("\"solved\"") {
                return;
            }
        }
    };
    let overtaken = runtime.block_on(async { clock::timeout(HEARD_MAX, heard).await });
    assert!(overtaken.is_none(), "that no solution is played comes behind the message");
}

#[test]
fn ctrl_c_at_a_question_keeps_the_order_of_messages() {
    in_a_process("interrupted_while_a_question_waits_behind_a_message");
}
