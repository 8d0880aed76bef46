//! The session's words of lessons, on clusters whose engine is played by the test.

use super::*;
use crate::texts::Lang;
use cluster::{Home, Place};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

mod consent;
mod following;
mod interrupted;
mod manifests;

/// Set in the process that is interrupted: a signal reaches all of a process.
const INSIDE: &str = "ROPEWALK_TEST_INTERRUPTED";

fn session_at(runtime: &Runtime, place: Place) -> Session {
    let _inside = runtime.enter();
    Session::new(place, Lang::En, Manner::Terminal, runtime.handle().clone())
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
fn a_word_of_lessons_refuses_what_it_does_not_take() {
    let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
    let mut session = session_at(&runtime, Home::at(dir.path()).cluster("main").unwrap());
    let mut code =
        |line: &str| session.run_lesson_word(&line.split(' ').map(String::from).collect::<Vec<_>>());
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
    assert_eq!(session.run_lesson_word(&["lesson", "list"].map(String::from)), 0, "two questions are enough");
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
