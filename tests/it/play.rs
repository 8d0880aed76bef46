//! Lessons played through the interface, key by key, as a learner would, with what happens to
//! learners in between.

use super::session::{Session, nothing_is_left};
use super::support::{Home, capable, kill, turn};
use serde_yaml::Value;
use std::path::Path;

/// What a learner types in a step.
struct Step {
    answer: Option<String>,
    lines: Vec<String>,
}

fn steps(lesson: &str) -> Vec<Step> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("lessons/first-voyage");
    let dirs = std::fs::read_dir(root).expect("lessons");
    let dir = dirs
        .flatten()
        .map(|d| d.path())
        .find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&format!("{lesson}-"))));
    let text = std::fs::read_to_string(dir.expect("the lesson").join("lesson.md")).expect("its text");
    let front = text.split("---\n").nth(1).expect("front matter");
    let front: Value = serde_yaml::from_str(front).expect("YAML");
    let text = |v: &Value| v.as_str().map(String::from);
    // A dash before a line says that it may fail, and is not typed.
    let line = |v: &Value| v.as_str().map(|line| line.strip_prefix('-').unwrap_or(line).to_string());
    let step = |s: &Value| Step {
        answer: s.get("predict").and_then(|p| text(&p["answer"])),
        lines: s["solution"].as_sequence().into_iter().flatten().filter_map(line).collect(),
    };
    let steps: Vec<Step> = front["steps"].as_sequence().expect("steps").iter().map(step).collect();
    assert!(!steps.is_empty());
    steps
}

/// The words of a language.
struct Words {
    guess: &'static str,
    done: &'static str,
    finished: &'static str,
}

const ENGLISH: Words = Words { guess: "Guess first", done: "Done. next", finished: "is complete" };
const KOREAN: Words =
    Words { guess: "먼저 예측", done: "완료했습니다. next", finished: "강의를 마쳤습니다" };

/// Plays one step; `between` is what happens between the guess and the deed.
fn play(session: &Session, words: &Words, at: usize, step: &Step, between: impl FnOnce(&Session)) {
    // In a pane's title: a larger window shows what was said in the shell before, such as "3/3
    // ready".
    let number = format!(" {}/", at + 1);
    session.until("the step", |_, t| t.lines().any(|line| line.contains("──") && line.contains(&number)));
    if let Some(answer) = &step.answer {
        session.sees(words.guess);
        session.press(&format!("{answer}\r"));
        session.until("the guess is taken", |_, t| !t.contains(words.guess));
    }
    between(session);
    for line in &step.lines {
        session.press(&format!("{line}\r"));
    }
    session.until("done", |_, t| t.contains(words.done) || t.contains(words.finished));
}

fn open(home: &Home, lesson: &str, lang: &str) -> Session {
    let session = Session::start(home, &["learn", lesson, "--name", "t", "--lang", lang], 120, 34);
    session.until("the lesson and the shell", |_, t| t.contains(" 1/") && t.contains("ropewalk>"));
    session
}

fn whole(lesson: &str, lang: &str, words: &Words, between: impl Fn(&Session, usize)) {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let session = open(&home, &format!("first-voyage/{lesson}"), lang);
    let steps = steps(lesson);
    for (at, step) in steps.iter().enumerate() {
        play(&session, words, at, step, |session| between(session, at));
        if at + 1 < steps.len() {
            session.press("next\r");
        }
    }
    session.sees(words.finished);
    session.press("quit\r");
    assert_eq!(session.end(), 0);
    nothing_is_left(&home);
}

#[test]
fn lesson_04_on_a_screen_that_changes_its_size() {
    whole("04", "en", &ENGLISH, |session, at| {
        let (columns, rows) = [(80, 24), (200, 60), (100, 30), (120, 34)][at % 4];
        session.resize(columns, rows);
        session.sees("ropewalk>");
    });
}

#[test]
fn lesson_06_in_korean_with_commands_that_are_cancelled() {
    whole("06", "ko", &KOREAN, |session, at| {
        session.press(&format!("sh -c 'echo begun-{at}; exec sleep 100'\r"));
        session.until("a command that hangs", |_, t| super::session::is_line(t, &format!("begun-{at}")));
        session.press("\x03");
    });
}

#[test]
fn lesson_08_with_what_is_pasted() {
    whole("08", "en", &ENGLISH, |session, at| {
        session.press(&format!("\x1b[200~echo pasted {at}\x1b[201~\r"));
        let said = format!("pasted {at}");
        session.until("the paste", |_, t| super::session::is_line(t, &said));
    });
}

/// Everything dies after the first step; who comes back finds it done and goes on.
#[test]
fn lesson_10_survives_kill_9() {
    let _turn = turn();
    if !capable() {
        return;
    }
    let home = Home::new();
    let mut steps = steps("10");
    // The containers have ended once before that, with the cluster: the first end is not the
    // learner's.
    for line in &mut steps[1].lines {
        *line = line.replace("lastState.terminated}'", "restartCount}'=2");
    }
    assert!(steps[1].lines.iter().any(|line| line.contains("=2")), "the solution waits otherwise");
    // Until the kubelet has looked, the status is that of before the end.
    let restarted = "--for=jsonpath='{.status.containerStatuses[0].restartCount}'=1";
    for what in ["--for=condition=Ready", restarted] {
        steps[1].lines.insert(0, format!("kubectl wait pod nginx-pod {what} --timeout=180s"));
    }
    let mut session = open(&home, "first-voyage/10", "en");
    play(&session, &ENGLISH, 0, &steps[0], |_| {});
    let status = home.ropewalk(&["status", "--name", "t", "-o", "json"]).ok();
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    kill(status["pids"]["supervisor"].as_i64().expect("a pid") as i32, 9);
    kill(session.pid(), 9);
    session.child.wait().expect("it ends");
    nothing_is_left(&home);

    let session = Session::start(&home, &["--name", "t", "--lang", "en"], 120, 34);
    session.until("where it was left", |_, t| t.contains("10 Delete a pod") && t.contains(ENGLISH.done));
    for (at, step) in steps.iter().enumerate().skip(1) {
        session.press("next\r");
        play(&session, &ENGLISH, at, step, |_| {});
    }
    session.sees(ENGLISH.finished);
    session.press("quit\r");
    assert_eq!(session.end(), 0);
    nothing_is_left(&home);
}
