//! When a jump is answered.

use super::*;
use crate::actor::verdict::Awaited;
use crate::engine::Open;
use crate::judge::Memory;

/// The objects have gone back, and the watch still shows those of before.
#[tokio::test]
async fn a_jump_is_answered_when_the_watches_have_told_what_went_back() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, address) = stage::silent().await;
    let host: Host = Stage::new(dir.path(), address, no_past()).await;
    let (_ask, questions) = mpsc::channel(QUESTIONS_MAX);
    let (shown, _views) = channel::channel(Views::default());
    let (found, _finds) = mpsc::channel(1);
    let crew = Crew::new("lessons");
    let mut actor = Actor::new(crew.clone(), host, Opened::default(), questions, shown, found).unwrap();
    let lesson = Library::built_in().find("first-voyage/04", None).unwrap().clone();
    actor.engine.open = Some(Open::new(Arc::new(lesson), 0, Memory::default()));
    actor.watched.insert("pods".into());
    actor.engine.take_report(Report::list("pods", [].into(), 5));
    actor.engine.observer.recorder.of_plural.insert("pods".into(), 9);

    let (reply, mut answer) = oneshot::channel();
    actor.await_verdict("en".into(), reply, Awaited::Watches);
    assert!(actor.answer_waiters().is_some() && answer.try_recv().is_err(), "the watch is behind");
    actor.engine.take_report(Report::list("pods", [].into(), 9));
    assert_eq!(actor.answer_waiters(), None);
    assert!(matches!(answer.try_recv(), Ok(Reply::Ok(_))));
    crew.kill();
}

#[tokio::test]
async fn a_jump_to_a_step_that_does_not_exist_sets_up_no_lesson() {
    assert_eq!(step_names::parts("#3"), (None, "3"), "of the open lesson");
    let dir = tempfile::tempdir().unwrap();
    let sitting = Sitting::begin(dir.path(), no_past()).await;
    let step = || format!("{WITH_SETUP}#99");
    for agreed in [Some(vec![]), None] {
        let goto = Ask::Sure { ask: Box::new(Ask::Goto { step: step() }), agreed };
        let told = sitting.answer("en", goto).await.unwrap_err();
        assert!(told.contains("has no step 99"), "{told}");
    }
    let cost = Ask::Cost { of: Box::new(Ask::Goto { step: step() }) };
    assert_eq!(sitting.answer("en", cost).await.unwrap(), json!([]));
    assert_eq!(sitting.answer("en", Ask::Show).await.unwrap()["id"], "");
    sitting.crew.kill();
}
