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
    actor.engine.told(Told::list("pods", [].into(), 5));
    actor.engine.observer.recorder.of_plural.insert("pods".into(), 9);

    let (reply, mut answer) = oneshot::channel();
    actor.await_verdict("en".into(), reply, Awaited::Watches);
    assert!(actor.answer_waiters().is_some() && answer.try_recv().is_err(), "the watch is behind");
    actor.engine.told(Told::list("pods", [].into(), 9));
    assert_eq!(actor.answer_waiters(), None);
    assert!(matches!(answer.try_recv(), Ok(Reply::Ok(_))));
    crew.kill();
}
