//! Steps whose base is gone: it is said when the step opens, and a jump makes the base again.

use super::*;
use crate::progress::{Lesson as Noted, Step as NotedStep};
use crate::view::State;
use client::testing::Scripted;
use std::net::SocketAddr;

const LESSON: &str = "first-voyage/05";
const BASE: &str = "deployments.apps/default/dpy-nginx";

/// Paths at which something was made.
pub(super) type Made = Arc<Mutex<Vec<String>>>;

/// The server of the teacher's kubectl: what is sent is made, and nothing else is there.
pub(super) async fn maker() -> (SocketAddr, Made) {
    let made = Made::default();
    let keeps = made.clone();
    let server = stage::answering(move |asked, body| match asked.strip_prefix("POST ") {
        Some(path) => {
            keeps.lock().push(path.to_string());
            ("201 Created", body.to_string())
        }
        None => stage::not_found(),
    });
    (server.await, made)
}

/// A learner has made the Deployment of lesson 05 and deleted it, and is at this step.
async fn without_base(dir: &Path, at: &str) -> (Sitting, Made) {
    let mut progress = Progress { format: progress::FORMAT, ..Progress::default() };
    let done = NotedStep { state: State::Done, done: true, since: 3, ..NotedStep::default() };
    let steps = ["create", "describe"].map(|step| (step.to_string(), done.clone()));
    let made = [(BASE.to_string(), 4)].into();
    let noted =
        Noted { set_up: true, began: 2, step: at.into(), steps: steps.into(), made, ..Noted::default() };
    progress.lessons.insert(LESSON.into(), noted);
    std::fs::create_dir_all(dir.join("clusters/stage")).unwrap();
    progress.save(&dir.join("clusters/stage/lessons.json")).unwrap();

    let (address, made) = maker().await;
    let there = made.clone();
    let client = Scripted::new(move |asked| {
        let is_there = there.lock().iter().any(|path| path.ends_with("/deployments"));
        let wanted = asked.line.ends_with("/deployments") && is_there;
        let item = json!({"metadata": {"namespace": "default", "name": "dpy-nginx", "resourceVersion": "9"}});
        wanted.then(|| (200, json!({"metadata": {"resourceVersion": "9"}, "items": [item]})))
    });
    let (past, _) = server(|| Ok(json!([])), Ok(json!({})));
    (Sitting::with(dir, past, address, client.await.client).await, made)
}

#[tokio::test]
async fn a_step_says_when_it_opens_that_its_base_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (sitting, _made) = without_base(dir.path(), "chain").await;
    let opened = sitting.answer("en", sure(LESSON)).await.unwrap();
    let lost = opened["lost"].as_str().unwrap_or_default();
    assert!(lost.contains("gone: Deployment dpy-nginx") && lost.contains("`goto 3`"), "{opened}");
    let korean = sitting.answer("ko", Ask::Show).await.unwrap();
    assert!(korean["lost"].as_str().unwrap().contains("없어졌습니다: Deployment dpy-nginx"), "{korean}");
    sitting.crew.kill();
}

/// Back at a step it is as at one that is reached by `next`: what it lacks is said.
#[tokio::test]
async fn a_step_that_is_gone_back_to_is_entered() {
    let dir = tempfile::tempdir().unwrap();
    let (sitting, _made) = without_base(dir.path(), "bad-name").await;
    let opened = sitting.answer("en", sure(LESSON)).await.unwrap();
    assert_eq!(opened["stepId"], "bad-name", "{opened}");
    let before = sitting.answer("en", Ask::Back).await.unwrap();
    assert_eq!(before["stepId"], "chain");
    assert!(before["lost"].as_str().is_some_and(|lost| lost.contains("Deployment dpy-nginx")), "{before}");
    sitting.crew.kill();
}

/// Also at a step where the learner never was: the steps before it are done and not played for
/// that reason alone.
#[tokio::test]
async fn a_jump_to_a_step_whose_base_is_gone_plays_the_steps_before_it_again() {
    for at in ["chain", "create"] {
        let dir = tempfile::tempdir().unwrap();
        let (sitting, made) = without_base(dir.path(), at).await;
        sitting.answer("en", sure(LESSON)).await.unwrap();
        assert!(made.lock().is_empty(), "nothing is made unasked");
        let goto = Ask::Sure { ask: Box::new(Ask::Goto { step: "3".into() }), agreed: None };
        let view = sitting.answer("en", goto).await.unwrap();
        assert_eq!(*made.lock(), ["/apis/apps/v1/namespaces/default/deployments"], "{view}");
        assert_eq!((&view["stepId"], &view["lost"]), (&json!("chain"), &serde_json::Value::Null));
        let told = json!(words::say("en", Word::MadeAgain, &["Deployment dpy-nginx"]));
        assert!(view["notices"].as_array().unwrap().contains(&told), "{view}");
        sitting.crew.kill();
    }
}

/// The lesson was done before, and its first step begins anew: what was done in it is taken back,
/// so a jump past it plays it.
#[tokio::test]
async fn a_step_that_was_gone_back_to_is_played_by_a_jump_past_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut progress = Progress { format: progress::FORMAT, ..Progress::default() };
    let noted = progress.lesson(LESSON);
    (noted.began, noted.set_up, noted.step) = (2, true, "chain".into());
    for (step, since) in [("create", 3), ("describe", 5), ("chain", 6)] {
        let done = NotedStep { state: State::Done, done: true, since, ..NotedStep::default() };
        noted.steps.insert(step.into(), done);
    }
    std::fs::create_dir_all(dir.path().join("clusters/stage")).unwrap();
    progress.save(&dir.path().join("clusters/stage/lessons.json")).unwrap();

    let (address, made) = maker().await;
    let client = client::testing::Scripted::new(|_| None).await.client;
    let (past, _goes) = server(|| Ok(json!([])), Ok(json!({})));
    let sitting = Sitting::with(dir.path(), past, address, client).await;
    sitting.answer("en", sure(LESSON)).await.unwrap();
    let goto = |step: &str| Ask::Sure { ask: Box::new(Ask::Goto { step: step.into() }), agreed: None };
    assert_eq!(sitting.answer("en", goto("1")).await.unwrap()["stepId"], "create");
    assert!(made.lock().is_empty(), "the learner does it once more");
    let view = sitting.answer("en", goto("2")).await.unwrap();
    assert_eq!(*made.lock(), ["/apis/apps/v1/namespaces/default/deployments"], "{view}");
    assert_eq!(view["stepId"], "describe");
    sitting.crew.kill();
}
