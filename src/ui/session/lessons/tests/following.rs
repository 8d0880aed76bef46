//! The task that follows the lesson and says what the engine finds out.

use super::*;

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

/// For example without a free descriptor: whether the cluster has lessons is not known then.
#[tokio::test(start_paused = true)]
async fn a_lesson_is_asked_for_until_the_socket_can_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let place = Home::at(dir.path()).cluster("main").unwrap();
    std::fs::create_dir_all(&place.root).unwrap();
    std::os::unix::fs::symlink("control.sock", place.socket()).unwrap(); // leads to itself
    let mut session = Session::new(place, Lang::En, Manner::Pipe, tokio::runtime::Handle::current());
    session.watch_lesson();
    let following = session.engine.following.clone().unwrap();
    assert!(tokio::time::timeout(5 * AGAIN.0, std::future::pending::<()>()).await.is_err());
    assert!(!following.is_finished());
}
