use super::solve::SolutionLines;
use super::*;
use crate::script::Script;
use crate::session::{Given, Lines};
use crate::texts::Lang;
use cluster::{Home, Place};
use std::process::Command;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

/// A person at a terminal may end a manifest with an empty line; lines that come one at a time from
/// elsewhere may have one in its middle.
#[test]
fn a_manifest_in_a_script_or_a_solution_keeps_its_empty_lines() {
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let manifest =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: init}\ndata:\n  run.sh: |\n    a\n\n    b\n";
    let place = Home::at(dir.path()).cluster("main").unwrap();
    let mut session = session_at(&runtime, place);
    for end in ["EOF\n", ".\n", ""] {
        let text = format!("{manifest}{end}");
        let lines = || text.lines().map(String::from);
        assert_eq!(
            session.read_manifest(&mut SolutionLines::of(lines().collect(), &[].into())).as_deref(),
            Ok(manifest)
        );
        assert_eq!(session.read_manifest(&mut Script::of(lines())).as_deref(), Ok(manifest));
    }
    let mut solution = SolutionLines::of(vec!["a: 1\nEOF\nget pods\nls".to_string()], &[].into());
    assert_eq!(session.read_manifest(&mut solution).as_deref(), Ok("a: 1\n"));
    assert_eq!(solution.rest, ["get pods", "ls"], "what follows belongs to the solution");
}

/// Lines of a script, some of which are no text.
struct Pieces(std::collections::VecDeque<Given>);

impl Lines for Pieces {
    fn more(&mut self) -> Given {
        self.0.pop_front().unwrap_or(Given::End)
    }
}

/// kubectl refuses such a manifest, and none of its lines is a command.
#[test]
fn a_manifest_that_is_not_utf_8_is_refused_to_its_end() {
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let mut session = session_at(&runtime, Home::at(dir.path()).cluster("main").unwrap());
    let text = |text: &str| Given::Text(text.into());
    let all = [text("a: 1"), Given::NotUtf8, text("echo b"), text("EOF"), text("get pods")];
    let mut lines = Pieces(all.into());
    assert_eq!(session.read_manifest(&mut lines), Err(1));
    assert!(matches!(lines.more(), Given::Text(next) if next == "get pods"));
}

#[test]
fn a_word_of_lessons_refuses_what_it_does_not_take() {
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let mut session = session_at(&runtime, Home::at(dir.path()).cluster("main").unwrap());
    let mut code = |line: &str| session.lesson(&line.split(' ').map(String::from).collect::<Vec<_>>());
    for line in ["next 3", "back 1", "hint 2", "goto 2 --dry-run", "lesson 04 05", "solve 04 05", "check a b"]
    {
        assert_eq!(code(line), 2, "{line}");
    }
    for line in ["next", "next --yes", "goto --yes 2", "check a", "debrief 1"] {
        assert_eq!(code(line), 1, "{line}: only a cluster is missing");
    }
}

/// As on the command line: `ropewalk lesson list`.
#[test]
fn lesson_list_lists_and_opens_nothing() {
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let place = Home::at(dir.path()).cluster("main").unwrap();
    let none = || (vec![LessonView::default()], None);
    tells(&runtime, &place, vec![none(), none()]);
    let mut session = session_at(&runtime, place);
    assert_eq!(session.lesson(&["lesson", "list"].map(String::from)), 0, "two questions are enough");
}

#[test]
fn a_lesson_is_played_again_from_its_first_step() {
    for word in ["again", "restart"] {
        assert!(matches!(plays_again(word), Some(Ask::Goto { step }) if step == "1"), "{word}");
    }
    // `reset` wipes the cluster where it stands alone.
    for word in ["00", "first-voyage/04", "reset"] {
        assert!(plays_again(word).is_none(), "{word}");
    }
}

/// Set in the process that is interrupted: a signal reaches all of a process.
const INSIDE: &str = "ROPEWALK_TEST_INTERRUPTED";

fn session_at(runtime: &Runtime, place: Place) -> Session {
    let _inside = runtime.enter();
    Session::new(place, Lang::En, Manner::Terminal, runtime.handle().clone())
}

/// Raises SIGINT, and returns when all that wait for the signal have it.
fn press_ctrl_c(runtime: &Runtime) {
    let _inside = runtime.enter();
    let mut other = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt()).unwrap();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT).unwrap();
    runtime.block_on(other.recv()).unwrap();
}

/// Runs a test of this module in a process of its own.
fn in_a_process(test: &str) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("session::lessons::tests::{test}")]);
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

/// A cluster that tells each follower the next of these lists of views, and an error behind
/// them if there is one.
fn tells(runtime: &Runtime, place: &Place, views: Vec<(Vec<LessonView>, Option<&'static str>)>) {
    std::fs::create_dir_all(&place.root).unwrap();
    let _inside = runtime.enter();
    let listener = UnixListener::bind(place.socket()).unwrap();
    runtime.spawn(async move {
        let mut open = Vec::new();
        for (views, error) in views {
            let (read, mut write) = listener.accept().await.unwrap().0.into_split();
            let mut lines = BufReader::new(read).lines();
            lines.next_line().await.unwrap(); // the greeting
            write.write_all(b"{\"ok\":null}\n").await.unwrap();
            lines.next_line().await.unwrap(); // the question
            for view in views {
                let told = serde_json::json!({ "ok": view });
                write.write_all(format!("{told}\n").as_bytes()).await.unwrap();
            }
            if let Some(error) = error {
                let told = serde_json::json!({ "error": error });
                write.write_all(format!("{told}\n").as_bytes()).await.unwrap();
            }
            open.push((lines, write));
        }
        std::future::pending::<()>().await;
    });
}

#[test]
fn a_change_of_language_loses_no_news() {
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let place = Home::at(dir.path()).cluster("main").unwrap();
    let view =
        |state| LessonView { id: "t/04".into(), step_id: "run".into(), state, ..LessonView::default() };
    let open = view(State::Open);
    let failed = LessonView { not_yet: Some("no pod".into()), ..open.clone() };
    let views = vec![(vec![open, failed.clone(), failed], None), (vec![view(State::Done)], None)];
    tells(&runtime, &place, views);
    let mut session = {
        let _inside = runtime.enter();
        Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone())
    };
    let (tell, told) = std::sync::mpsc::channel();
    // At the first news the learner changes the language: the view behind it makes the watcher
    // ask anew.
    let lang = session.lang.clone();
    session.print_news_with(move |words| {
        *lang.lock() = Lang::Ko;
        drop(tell.send(words));
    });
    session.watch_lesson();
    for news in ["the step is not done yet", "the step is done"] {
        told.recv_timeout(Duration::from_secs(60)).expect(news);
    }
}

#[test]
fn a_lesson_is_followed_once() {
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let place = Home::at(dir.path()).cluster("main").unwrap();
    let open = LessonView { id: "t/04".into(), ..LessonView::default() };
    tells(&runtime, &place, vec![(vec![open.clone()], None), (vec![open], None)]);
    let mut session = session_at(&runtime, place);
    session.watch_lesson();
    let first = session.engine.following.clone().unwrap();
    session.watch_lesson();
    let ended = async {
        while !first.is_finished() {
            tokio::task::yield_now().await;
        }
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap() });
    assert!(!session.engine.following.unwrap().is_finished(), "the newer one goes on");
}

#[test]
fn an_error_of_the_engine_is_said_and_the_lesson_followed_again() {
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let place = Home::at(dir.path()).cluster("main").unwrap();
    let view =
        |state| LessonView { id: "t/04".into(), step_id: "run".into(), state, ..LessonView::default() };
    let damaged = Some("the history is damaged");
    let views = vec![(vec![view(State::Open)], damaged), (vec![view(State::Done)], None)];
    tells(&runtime, &place, views);
    let mut session = {
        let _inside = runtime.enter();
        Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone())
    };
    let (tell, told) = std::sync::mpsc::channel();
    session.print_news_with(move |words| drop(tell.send(words)));
    session.watch_lesson();
    let next = |what: &str| told.recv_timeout(Duration::from_secs(60)).expect(what);
    assert_eq!(
        next("the error").trim_end(),
        "The lessons do not answer: the history is damaged. They are asked again."
    );
    assert!(next("the step is done").contains("Done"), "what happened meanwhile is said");
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
    assert!(matches!(session.solution(None), Err(Unanswered::Cut)));
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

/// Not a test of its own: runs in a process that the test below starts, with an input where no
/// answer comes.
#[test]
fn interrupted_at_the_question_about_a_loss() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let mut session = session_at(&runtime, Home::at(dir.path()).cluster("main").unwrap());
    let why = session.agrees().expect_err("Ctrl-C is no answer");
    std::eprintln!("<{}>", session.unanswered(&why));
}

/// Not a test of its own: runs in a process that the test below starts, with an input where no
/// answer comes.
#[test]
fn has_news_while_the_question_stands() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let mut session = session_at(&runtime, Home::at(dir.path()).cluster("main").unwrap());
    let (tell, told) = std::sync::mpsc::channel();
    session.print_news_with(move |words| drop(tell.send(words)));
    let news = session.news.clone();
    let other = std::thread::spawn(move || {
        while !news.is_held() {
            std::thread::yield_now(); // the question is not put yet
        }
        news.tell("a step is done".into());
        nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGINT).unwrap();
    });
    assert!(session.agrees().is_err(), "Ctrl-C is no answer");
    other.join().unwrap();
    assert!(told.try_recv().is_err(), "they were not said while the question stood");
    assert!(!session.news.is_held());
    session.news.tell("the next".into());
    assert_eq!(told.try_recv().as_deref(), Ok("the next\n"), "what waited was said before");
}

#[test]
fn news_wait_until_the_question_about_a_loss_is_answered() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "session::lessons::tests::has_news_while_the_question_stands", "--nocapture"]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut asks = command.env(INSIDE, "1").spawn().unwrap();
    let _input = asks.stdin.take(); // stays open: no answer comes
    let ran = asks.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    assert!(said.contains("a step is done"), "{said}");
}

#[test]
fn ctrl_c_at_the_question_about_a_loss_is_no() {
    use std::io::Read;
    use std::process::Stdio;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "session::lessons::tests::interrupted_at_the_question_about_a_loss"]);
    command.arg("--nocapture").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut asks = command.env(INSIDE, "1").spawn().unwrap();
    let mut stderr = asks.stderr.take().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 256];
        while let Ok(n @ 1..) = stderr.read(&mut bytes)
            && tell.send(String::from_utf8_lossy(&bytes[..n]).into_owned()).is_ok()
        {}
    });
    let (mut said, mut interrupted) = (String::new(), false);
    while let Ok(more) = told.recv_timeout(Duration::from_secs(60)) {
        said.push_str(&more);
        if said.contains("[y/N]") && !std::mem::replace(&mut interrupted, true) {
            let pid = nix::unistd::Pid::from_raw(asks.id() as i32);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        }
    }
    let _ = asks.kill(); // one that still waits for the answer
    asks.wait().unwrap();
    assert!(said.contains(&format!("<{INTERRUPTED}>")), "{said}");
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

/// The question itself, and as one that was agreed to.
#[test]
fn what_opens_a_lesson_places_its_files() {
    let sure = |ask: Ask| Ask::Sure { ask: Box::new(ask), agreed: None };
    for ask in [Ask::Open { id: "t/01".into() }, Ask::Goto { step: "2".into() }, Ask::Next] {
        assert!(opens(&ask) && opens(&sure(ask.clone())), "{ask:?}");
    }
    for ask in [Ask::Show, Ask::Hint, Ask::Back, sure(Ask::Show)] {
        assert!(!opens(&ask), "{ask:?}");
    }
}
