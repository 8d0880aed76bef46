//! Lessons whose setup failed, and that are opened or gone to once more.

use super::again::maker;
use super::*;
use crate::progress::Step as NotedStep;

/// A server of the teacher's kubectl that is not there.
async fn nobody() -> std::net::SocketAddr {
    stage::silent().await.1
}

/// Trying the lines of a setup takes seconds: meanwhile the pane would show the old lesson only.
#[tokio::test]
async fn which_lesson_is_coming_is_told_before_its_setup_was_tried() {
    let dir = tempfile::tempdir().unwrap();
    let mut sitting = Sitting::begin(dir.path(), no_past()).await;
    let cost = Ask::Cost { of: Box::new(Ask::Open { id: WITH_SETUP.into() }) };
    let _answer = sitting.send("en", cost);
    let names_it = |views: &Views| {
        let view = views.get("ko").cloned().unwrap_or_default();
        view.preparing.as_deref() == Some(WITH_SETUP) && view.notices[0].starts_with(WITH_SETUP)
    };
    let told = tokio::time::timeout(LIMIT, sitting.views.wait_for(names_it)).await;
    assert!(told.is_ok_and(|told| told.is_ok()));
    sitting.crew.kill();
}

/// Each track has a lesson 3.
#[tokio::test]
async fn a_number_is_a_lesson_of_the_open_track_also_if_its_setup_is_tried_again() {
    const LESSON: &str = "control-tower/03";
    let dir = tempfile::tempdir().unwrap();
    let client = client::testing::Scripted::new(|_| None).await.client;
    let sitting = Sitting::with(dir.path(), no_past(), nobody().await, client).await;
    for word in [LESSON, "3"] {
        let view = sitting.answer("en", sure(word)).await.unwrap();
        assert_eq!(view["id"], LESSON, "{word}");
        let told = view["notices"].to_string();
        assert!(told.contains("setup") && !kept(dir.path()).lessons[LESSON].set_up, "{told}");
    }
    sitting.crew.kill();
}

/// What the setup of the next lesson takes cannot be found out, and need not be: the step is not
/// done.
#[tokio::test]
async fn next_says_that_a_step_is_not_done_before_it_asks_what_the_next_lesson_takes() {
    const LESSON: &str = "first-voyage/03";
    const LAST: &str = "kill";
    let dir = tempfile::tempdir().unwrap();
    let mut progress = Progress { format: progress::FORMAT, ..Progress::default() };
    let noted = progress.lesson(LESSON);
    (noted.began, noted.set_up, noted.step) = (5, true, LAST.into());
    let step = NotedStep { since: 7, predicted: Some("a".into()), ..NotedStep::default() };
    noted.steps.insert(LAST.into(), step);
    std::fs::create_dir_all(dir.path().join("clusters/stage")).unwrap();
    progress.save(&dir.path().join("clusters/stage/lessons.json")).unwrap();

    let client = client::testing::Scripted::new(|_| None).await.client;
    let sitting = Sitting::with(dir.path(), no_past(), nobody().await, client).await;
    assert_eq!(sitting.answer("en", sure(LESSON)).await.unwrap()["stepId"], LAST);
    for lang in ["en", "ko"] {
        let told = sitting.answer(lang, Ask::Next).await.unwrap_err();
        assert_eq!(told, words::say(lang, Word::NotDone, &["first-voyage/04"]));
    }
    sitting.crew.kill();
}

/// The lesson about the controller manager was left while the controller manager was stopped.
#[tokio::test]
async fn a_lesson_that_is_opened_names_the_components_that_are_stopped() {
    let now = clock::now();
    let cut = json!({"fault": "cut", "nodes": ["a", "b"], "since": now});
    let fault = cluster::faults::HELD;
    let held = |component: &str, node: &str| json!({"fault": fault, "component": component, "nodes": [node], "since": now});
    let stopped = [held("kube-scheduler", "a"), held("etcd", "b"), held("kube-scheduler", "b")];
    for (broken, is_told) in [(json!([cut]), false), (json!(stopped), true)] {
        let dir = tempfile::tempdir().unwrap();
        let sitting = Sitting::begin(dir.path(), no_past()).await;
        *sitting.stage.broken.lock() = broken;
        for (lang, named) in [
            ("en", "started again: etcd, kube-scheduler. To"),
            ("ko", "컴포넌트: etcd, kube-scheduler. 다시"),
        ] {
            let told = sitting.answer(lang, sure(WITHOUT)).await.unwrap()["notices"].to_string();
            assert_eq!(told.contains(named), is_told, "{told}");
            assert_eq!(told.contains("`fault start etcd`, `fault start kube-scheduler`"), is_told, "{told}");
        }
        sitting.crew.kill();
    }
}

/// The setup is played before the jump: nothing goes back to a moment before it.
#[tokio::test]
async fn a_jump_into_a_lesson_that_is_set_up_by_it_goes_back_behind_no_setup() {
    let dir = tempfile::tempdir().unwrap();
    let mut progress = Progress { format: progress::FORMAT, ..Progress::default() };
    let noted = progress.lesson(WITH_SETUP);
    (noted.began, noted.step) = (5, "expose".into());
    noted.steps.insert("expose".into(), NotedStep { since: 7, ..NotedStep::default() });
    std::fs::create_dir_all(dir.path().join("clusters/stage")).unwrap();
    progress.save(&dir.path().join("clusters/stage/lessons.json")).unwrap();

    let (past, mut goes) = server(|| Ok(json!([])), Ok(json!({})));
    let client = client::testing::Scripted::new(|_| None).await.client;
    let (kubectl, _made) = maker().await;
    let sitting = Sitting::with(dir.path(), past, kubectl, client).await;
    let ask = Ask::Goto { step: WITH_SETUP.into() };
    let view = sitting.answer("en", Ask::Sure { ask: Box::new(ask), agreed: Some(vec![]) }).await.unwrap();
    assert_eq!(view["id"], WITH_SETUP);
    while let Ok(past) = goes.try_recv() {
        assert!(!matches!(past, Past::Agreed { .. }), "a plan from before the setup: {past:?}");
    }
    sitting.crew.kill();
}
