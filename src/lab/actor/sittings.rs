//! The engine with its questions and its file, on a ground without a cluster.

use super::*;
use crate::stage::{self, Stage};
use cluster::guest::Ground;
use cluster::undo::{Moment, Past};
use std::path::Path;
use std::sync::Mutex;
use tap::Record;

const LIMIT: Duration = Duration::from_secs(30);

/// A lesson with a setup, and one without.
const WITH_SETUP: &str = "first-voyage/07";
const WITHOUT: &str = "first-voyage/02";

struct Sitting {
    ask: mpsc::UnboundedSender<Asked>,
    views: channel::Receiver<Views>,
    crew: Crew,
    /// The teacher's kubectl connects to it and waits.
    _silent: tokio::net::TcpListener,
}

impl Sitting {
    async fn begin(dir: &Path, past: stage::Answer) -> Sitting {
        let (silent, address) = stage::silent().await;
        let stage = Stage::new(dir, address, past).await;
        stage.tap().emit(Record::new(tap::Event::Commit(tap::Write::UPDATED)).revision(7));
        let (ask, questions) = mpsc::unbounded_channel();
        let (shown, views) = channel::channel(Views::default());
        let crew = Crew::new("lessons");
        let own = crew.clone();
        crew.spawn(async move { run(own, stage, Opened::default(), questions, shown).await.unwrap() });
        Sitting { ask, views, crew, _silent: silent }
    }

    fn send(&self, lang: &str, ask: Ask) -> oneshot::Receiver<Reply> {
        let (reply, answer) = oneshot::channel();
        let question = Question { lang: lang.into(), ask, id: "q".into() };
        assert!(self.ask.send((question, reply)).is_ok());
        answer
    }

    async fn answer(&self, lang: &str, ask: Ask) -> Result<serde_json::Value, String> {
        let answer = tokio::time::timeout(LIMIT, self.send(lang, ask)).await.expect("an answer");
        match answer.expect("an engine") {
            Reply::Ok(value) => Ok(value),
            Reply::Error(why) => Err(why),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until a view in English is as wanted.
    async fn shows(&mut self, wanted: impl Fn(&LessonView) -> bool) -> LessonView {
        let views = self.views.wait_for(|views| views.get("en").is_some_and(&wanted));
        let views = tokio::time::timeout(LIMIT, views).await.expect("a view").expect("an engine");
        views["en"].clone()
    }
}

fn sure(id: &str) -> Ask {
    Ask::Sure { ask: Box::new(Ask::Open { id: id.into() }) }
}

fn kept(dir: &Path) -> Progress {
    Progress::load(&dir.join("clusters/stage/lessons.json")).unwrap()
}

fn no_past() -> stage::Answer {
    stage::answer(|_| Box::pin(std::future::ready(Err("there is no past here".into()))))
}

#[tokio::test]
async fn a_setup_that_is_stopped_opens_nothing_and_can_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut sitting = Sitting::begin(dir.path(), no_past()).await;
    sitting.shows(|view| view.id.is_empty()).await;
    let nothing = sitting.answer("ko", Ask::Stop { question: None }).await;
    assert_eq!(nothing.unwrap_err(), "멈출 준비 작업이 없습니다");
    for before in ["", WITHOUT] {
        if !before.is_empty() {
            assert_eq!(sitting.answer("en", sure(before)).await.unwrap()["id"], before);
        }
        for lang in ["en", "ko"] {
            let opening = sitting.send(lang, sure(WITH_SETUP));
            let playing = sitting.shows(|view| view.playing.is_some()).await;
            let of = playing.playing.map(|(_, of)| of).unwrap();
            // The engine answers while kubectl waits for its server.
            assert_eq!(sitting.answer(lang, Ask::Show).await.unwrap()["playing"], json!([1, of]));
            let said = sitting.answer(lang, Ask::Stop { question: None }).await.unwrap();
            let stopped = words::say(lang, Word::Stopped, &["1", &of.to_string()]);
            assert_eq!(said, stopped);
            let opened = tokio::time::timeout(LIMIT, opening).await.expect("an answer").unwrap();
            assert!(matches!(&opened, Reply::Error(why) if *why == stopped), "{opened:?}");
            let now = sitting.answer("en", Ask::Show).await.unwrap();
            assert_eq!((&now["id"], &now["playing"]), (&json!(before), &serde_json::Value::Null));
            let kept = kept(dir.path());
            assert_eq!(kept.open.as_deref().unwrap_or_default(), before);
            assert!(!kept.lessons[WITH_SETUP].set_up, "it is set up when it is opened next");
        }
    }
    sitting.crew.kill();
}

/// Ctrl-C takes back the question that has the setup played, by its id; another question's id stops
/// nothing.
#[tokio::test]
async fn who_asked_for_a_setup_takes_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut sitting = Sitting::begin(dir.path(), no_past()).await;
    let opening = sitting.send("en", sure(WITH_SETUP));
    sitting.shows(|view| view.playing.is_some()).await;
    let other = Ask::Stop { question: Some("other".into()) };
    assert!(sitting.answer("en", other).await.unwrap().is_null());
    assert!(sitting.answer("en", Ask::Show).await.unwrap()["playing"].is_array());
    assert!(sitting.answer("en", Ask::Stop { question: Some("q".into()) }).await.unwrap().is_string());
    assert!(matches!(opening.await.unwrap(), Reply::Error(_)));
    sitting.crew.kill();
}

/// The objects went back and the program ended before the step began: the next program does it once
/// more.
#[tokio::test]
async fn a_jump_that_was_cut_off_goes_on_after_the_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (went, mut goes) = mpsc::unbounded_channel();
    let noted = dir.path().to_path_buf();
    // Whoever goes back never arrives.
    let past = stage::answer(move |past| {
        let back = matches!(past, Past::Rewind { .. } | Past::RewindWithin { .. });
        if back {
            let _ = went.send((past, kept(&noted)));
        }
        match back {
            true => Box::pin(std::future::pending()),
            false => Box::pin(std::future::ready(Ok(json!({})))),
        }
    });
    let mut sitting = Sitting::begin(dir.path(), past).await;
    let opened = sitting.answer("en", sure(WITHOUT)).await.unwrap();
    assert_eq!(opened["stepId"], "list");
    let goto = Ask::Sure { ask: Box::new(Ask::Goto { step: "list".into() }) };
    let _jump = sitting.send("en", goto);
    let (_, before) = tokio::time::timeout(LIMIT, goes.recv()).await.expect("a way back").unwrap();
    let lesson = &before.lessons[WITHOUT];
    assert_eq!((lesson.going, lesson.step.as_str()), (Some(7), "list"), "noted before anything changes");
    assert_eq!(before.look(WITHOUT, "list").unwrap().since, 0, "it begins anew");
    sitting.crew.kill();

    let asked = Arc::new(Mutex::new(vec![]));
    let keeps = asked.clone();
    let past = stage::answer(move |past| {
        if let Past::Rewind { to: Moment::Revision(to) }
        | Past::RewindWithin { to: Moment::Revision(to), .. } = past
        {
            keeps.lock().unwrap().push(to);
        }
        Box::pin(std::future::ready(Ok(json!({}))))
    });
    sitting = Sitting::begin(dir.path(), past).await;
    sitting.shows(|view| view.id == WITHOUT && view.step_id == "list").await;
    assert_eq!(*asked.lock().unwrap(), [7]);
    let after = kept(dir.path());
    assert_eq!((after.lessons[WITHOUT].going, after.look(WITHOUT, "list").unwrap().since), (None, 7));
    sitting.crew.kill();
}
