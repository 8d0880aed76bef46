//! The engine with its questions and its file, on a ground without a cluster.

use super::*;
use crate::stage::{self, Stage};
use crate::view::Ask;
use cluster::guest::HostCluster;
use cluster::undo::{Moment, Past};
use parking_lot::Mutex;
use serde_json::json;
use std::path::Path;
use tap::Record;

mod again;
mod held;
mod jump;
mod setup;

const LIMIT: Duration = Duration::from_secs(30);

/// A lesson with a setup, and one without.
const WITH_SETUP: &str = "first-voyage/07";
const WITHOUT: &str = "first-voyage/02";

struct Sitting {
    ask: mpsc::Sender<Asked>,
    views: channel::Receiver<Views>,
    crew: Crew,
    stage: Arc<Stage>,
    /// The teacher's kubectl connects to it and waits.
    _silent: Option<tokio::net::TcpListener>,
}

impl Sitting {
    async fn begin(dir: &Path, past: stage::Answer) -> Sitting {
        let (silent, address) = stage::silent().await;
        let client = client::testing::Scripted::new(|_| None).await.client;
        Sitting { _silent: Some(silent), ..Sitting::with(dir, past, address, client).await }
    }

    /// One whose teacher's kubectl has this server, and whose engine looks at the cluster by this
    /// client.
    async fn with(dir: &Path, past: stage::Answer, kubectl: std::net::SocketAddr, client: Client) -> Sitting {
        let stage = Stage::seen_by(client, dir, kubectl, past);
        stage.tap().emit(Record::new(tap::Event::Commit(tap::Write::UPDATED)).revision(7));
        let (ask, questions) = mpsc::channel(QUESTIONS_MAX);
        let (shown, views) = channel::channel(Views::default());
        let crew = Crew::new("lessons");
        let (own, host) = (crew.clone(), stage.clone());
        crew.spawn(async move { run(own, host, Opened::default(), questions, shown).await.unwrap() });
        Sitting { ask, views, crew, stage, _silent: None }
    }

    fn send(&self, lang: &str, ask: Ask) -> oneshot::Receiver<Reply> {
        let (reply, answer) = oneshot::channel();
        let question = Question { lang: lang.into(), ask, id: "q".into() };
        assert!(self.ask.try_send((question, reply)).is_ok());
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
    Ask::Sure { ask: Box::new(Ask::Open { id: id.into() }), agreed: None }
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
    let (went, mut goes) = mpsc::channel(64);
    let noted = dir.path().to_path_buf();
    // A way back never ends.
    let past = stage::answer(move |past| {
        let back = matches!(past, Past::Rewind { .. } | Past::RewindWithin { .. });
        if back {
            let _ = went.try_send((past, kept(&noted)));
        }
        match back {
            true => Box::pin(std::future::pending()),
            false => Box::pin(std::future::ready(Ok(json!({})))),
        }
    });
    let mut sitting = Sitting::begin(dir.path(), past).await;
    let opened = sitting.answer("en", sure(WITHOUT)).await.unwrap();
    assert_eq!(opened["stepId"], "list");
    let began = kept(dir.path()).noted_step(WITHOUT, "list").unwrap().at.clone();
    let goto = Ask::Sure { ask: Box::new(Ask::Goto { step: "list".into() }), agreed: None };
    let _jump = sitting.send("en", goto);
    let (_, before) = tokio::time::timeout(LIMIT, goes.recv()).await.expect("a way back").unwrap();
    let lesson = &before.lessons[WITHOUT];
    assert_eq!((lesson.going, lesson.step.as_str()), (Some(7), "list"), "noted before anything changes");
    let noted = before.noted_step(WITHOUT, "list").unwrap();
    assert_eq!(noted.since, 0, "it begins anew");
    assert_eq!(noted.at, began, "kept for a jump that is given up");
    sitting.crew.kill();

    let asked = Arc::new(Mutex::new(vec![]));
    let keeps = asked.clone();
    let past = stage::answer(move |past| {
        if let Past::Rewind { to: Moment::Revision(to) }
        | Past::RewindWithin { to: Moment::Revision(to), .. } = past
        {
            keeps.lock().push(to);
        }
        Box::pin(std::future::ready(Ok(json!({}))))
    });
    sitting = Sitting::begin(dir.path(), past).await;
    sitting.shows(|view| view.id == WITHOUT && view.step_id == "list").await;
    assert_eq!(*asked.lock(), [7]);
    let after = kept(dir.path());
    assert_eq!((after.lessons[WITHOUT].going, after.noted_step(WITHOUT, "list").unwrap().since), (None, 7));
    sitting.crew.kill();
}

/// Answers questions about the past as an API server at revision 9: `lost` is what the plan of a
/// way back would take at that moment, and the way back itself answers `back`. Tells of each way
/// back.
fn server(
    lost: impl Fn() -> Result<serde_json::Value, String> + Send + Sync + 'static,
    back: Result<serde_json::Value, String>,
) -> (stage::Answer, mpsc::Receiver<Past>) {
    let (went, goes) = mpsc::channel(64);
    let past = stage::answer(move |past| {
        let answer = match &past {
            Past::Steps => Ok(json!({"revision": 9, "oldest": 1})),
            Past::Plan { .. } => lost().map(|lost| json!({"known": 9, "to": 7, "lost": lost})),
            _ => back.clone(),
        };
        if !matches!(past, Past::Steps | Past::Plan { .. }) {
            let _ = went.try_send(past);
        }
        Box::pin(std::future::ready(answer))
    });
    (past, goes)
}

fn own_work() -> serde_json::Value {
    json!({"resource": "configmaps", "namespace": "default", "name": "own", "removed": true})
}

fn goto(agreed: Option<serde_json::Value>) -> Ask {
    let agreed = agreed.map(|lost| serde_json::from_value(lost).unwrap());
    Ask::Sure { ask: Box::new(Ask::Goto { step: "list".into() }), agreed }
}

/// Asking for the state of a lesson is no consent to its setup.
#[tokio::test]
async fn a_check_of_a_lesson_that_is_not_set_up_plays_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sitting = Sitting::begin(dir.path(), no_past()).await;
    for (lang, says) in [("en", "is not open"), ("ko", "열려 있지 않습니다")] {
        let check = Ask::Check { id: Some(WITH_SETUP.into()) };
        let told = sitting.answer(lang, check).await.unwrap_err();
        assert!(told.contains(says) && told.contains(&format!("`lesson {WITH_SETUP}`")), "{told}");
    }
    let view = sitting.answer("en", Ask::Show).await.unwrap();
    assert_eq!((&view["id"], &view["playing"]), (&json!(""), &serde_json::Value::Null));
    sitting.crew.kill();
}

/// The learner makes something in a second terminal while the question stands.
#[tokio::test]
async fn a_jump_does_what_was_agreed_to_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (past, mut goes) = server(|| Ok(json!([own_work()])), Ok(json!({})));
    let sitting = Sitting::begin(dir.path(), past).await;
    sitting.answer("en", sure(WITHOUT)).await.unwrap();
    let unasked = sitting.answer("en", Ask::Goto { step: "list".into() }).await.unwrap_err();
    assert!(unasked.contains("configmaps/own") && unasked.contains("goto list --yes"), "{unasked}");
    for (lang, says) in [("en", "by now this would also take"), ("ko", "그사이 다음도")] {
        let told = sitting.answer(lang, goto(Some(json!([])))).await.unwrap_err();
        assert!(told.contains(says) && told.contains("configmaps/own"), "{told}");
    }
    assert!(goes.try_recv().is_err(), "nothing has gone back");
    sitting.answer("en", goto(Some(json!([own_work()])))).await.unwrap();
    let Past::Agreed { plan, .. } = goes.try_recv().unwrap() else { panic!("it is not bound to the plan") };
    assert_eq!((plan.known, plan.to), (9, 7));
    sitting.crew.kill();
}

#[tokio::test]
async fn a_jump_whose_cost_is_not_known_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let (past, mut goes) = server(|| Err("the API server does not answer".into()), Ok(json!({})));
    let sitting = Sitting::begin(dir.path(), past).await;
    sitting.answer("en", sure(WITHOUT)).await.unwrap();
    let told = sitting.answer("en", Ask::Goto { step: "list".into() }).await.unwrap_err();
    assert!(told.contains("cannot be found out") && told.contains("does not answer"), "{told}");
    assert!(goes.try_recv().is_err());
    sitting.crew.kill();
}

/// An external etcd was restored from a backup: the step began at a revision that the store has not
/// reached again. It begins as things are.
#[tokio::test]
async fn a_step_whose_revision_the_store_is_not_at_any_more_can_be_gone_to() {
    let dir = tempfile::tempdir().unwrap();
    let past = stage::answer(|past| {
        let answer = match past {
            Past::Steps => Ok(json!({"revision": 3, "oldest": 1})),
            _ => Err("revision 7 is none of this cluster's".to_string()),
        };
        Box::pin(std::future::ready(answer))
    });
    let sitting = Sitting::begin(dir.path(), past).await;
    sitting.answer("en", sure(WITHOUT)).await.unwrap();
    for (lang, ask) in [("en", Ask::Goto { step: "list".into() }), ("ko", goto(Some(json!([]))))] {
        let view = sitting.answer(lang, ask).await.unwrap();
        let told = json!(words::say(lang, Word::NoRewind, &[]));
        assert!(view["notices"].as_array().unwrap().contains(&told), "{view}");
    }
    sitting.crew.kill();
}

/// The cluster changes too fast to go back, or was changed since the plan: the step stays what it
/// was, and nothing says that history is no longer kept.
#[tokio::test]
async fn a_jump_that_fails_leaves_the_step_as_it_was() {
    for (why, says) in [
        ("the cluster changes too fast to go back; try again".to_string(), "되돌리지 못했습니다"),
        (words::plan_changed("en"), "묻는 동안 클러스터가 바뀌어서"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (past, _goes) = server(|| Ok(json!([])), Err(why));
        let sitting = Sitting::begin(dir.path(), past).await;
        sitting.answer("en", sure(WITHOUT)).await.unwrap();
        let before = kept(dir.path());
        let told = sitting.answer("ko", goto(Some(json!([])))).await.unwrap_err();
        assert!(told.contains(says), "{told}");
        assert_eq!(kept(dir.path()).lessons[WITHOUT], before.lessons[WITHOUT]);
        sitting.crew.kill();
    }
}

/// The program ended in the middle of a jump, and the way back fails for now at the next start: the
/// step goes on from its beginning, and a new jump asks anew.
#[tokio::test]
async fn a_cut_off_jump_that_fails_at_the_start_is_told_and_can_be_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (past, _goes) = server(|| Ok(json!([])), Ok(json!({})));
    let sitting = Sitting::begin(dir.path(), past).await;
    sitting.answer("en", sure(WITHOUT)).await.unwrap();
    sitting.crew.kill();
    let mut progress = kept(dir.path());
    progress.lesson(WITHOUT).going = Some(7);
    progress.step(WITHOUT, "list").since = 0;
    progress.save(&dir.path().join("clusters/stage/lessons.json")).unwrap();

    let (past, _goes) = server(|| Ok(json!([])), Err("the cluster changes too fast".into()));
    let mut sitting = Sitting::begin(dir.path(), past).await;
    let view = sitting.shows(|view| view.id == WITHOUT).await;
    let told = |notice: &String| notice.contains("changes too fast") && notice.contains("`goto 1`");
    assert!(view.notices.iter().any(told), "{:?}", view.notices);
    sitting.answer("en", Ask::Hint).await.unwrap(); // it is written down with the next change
    let kept = kept(dir.path());
    assert_eq!((kept.lessons[WITHOUT].going, kept.noted_step(WITHOUT, "list").unwrap().since), (None, 7));
    sitting.crew.kill();
}

/// A setup that was stopped left the lesson named as the open one: a start opens nothing and plays
/// nothing.
#[tokio::test]
async fn a_lesson_that_was_never_set_up_is_not_opened_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("clusters/stage")).unwrap();
    let mut progress = Progress { format: progress::FORMAT, ..Progress::default() };
    progress.open = Some(WITH_SETUP.into());
    progress.lesson(WITH_SETUP).step = "none".into();
    progress.save(&dir.path().join("clusters/stage/lessons.json")).unwrap();
    let (past, _goes) = server(|| Ok(json!([])), Ok(json!({})));
    let sitting = Sitting::begin(dir.path(), past).await;
    let view = sitting.answer("en", Ask::Show).await.unwrap();
    assert_eq!((&view["id"], &view["playing"]), (&json!(""), &serde_json::Value::Null));
    sitting.crew.kill();
}

/// A second session opened another lesson while the question stood whether the namespaces are to
/// go.
#[tokio::test]
async fn namespaces_that_were_not_named_do_not_go() {
    let dir = tempfile::tempdir().unwrap();
    let sitting = Sitting::begin(dir.path(), no_past()).await;
    let leave = |names: &[&str]| Ask::Leave { agreed: Some(names.iter().map(ToString::to_string).collect()) };
    let told = sitting.answer("ko", leave(&["rw-first"])).await.unwrap_err();
    assert!(told.contains("묻는 동안 클러스터가 바뀌어서"), "{told}");
    assert!(sitting.answer("en", leave(&["rw-first", "rw-second"])).await.is_ok());
    assert!(sitting.answer("en", Ask::Leave { agreed: None }).await.is_ok());
    sitting.crew.kill();
}

/// The ground has left the lesson's namespace and cannot delete it: no lesson is shown as open
/// whose namespace nothing can change, and to open it enters the namespace again.
#[tokio::test]
async fn a_lesson_whose_namespace_cannot_be_deleted_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let sitting = Sitting::begin(dir.path(), no_past()).await;
    sitting.answer("en", sure(WITHOUT)).await.unwrap();
    let before = kept(dir.path()).lessons[WITHOUT].clone();
    let [url, context, right] = ["https://far", "c", "delete namespaces"].map(String::from);
    let refused =
        cluster::ForeignRefusal::LacksRight { url, context, right, said: "namespaces is forbidden".into() };
    *sitting.stage.stays.lock() = Some(cluster::Refusal::ForeignCluster(refused));
    for (lang, words) in
        [("en", "lacks a right on https://far"), ("ko", "필요한 권한이 없습니다: delete namespaces")]
    {
        let told = sitting.answer(lang, Ask::Leave { agreed: None }).await.unwrap_err();
        assert!(told.contains(words) && told.contains("namespaces is forbidden"), "{told}");
    }
    assert_eq!(sitting.answer("en", Ask::Show).await.unwrap()["id"], "");
    let after = kept(dir.path());
    assert_eq!((after.open.as_deref(), &after.lessons[WITHOUT]), (None, &before), "what was done stays");
    assert_eq!(sitting.answer("en", sure(WITHOUT)).await.unwrap()["id"], WITHOUT);
    sitting.crew.kill();
}

/// After the namespaces were given up the same lesson is opened once more: its watches begin anew,
/// or its checks would never know an object.
#[tokio::test]
async fn a_lesson_that_is_opened_after_a_leave_watches_again() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, address) = stage::silent().await;
    let (tell, mut told) = mpsc::channel(1);
    let client = client::testing::Scripted::new(move |asked| {
        if asked.line == "GET /api/v1/pods" {
            let _ = tell.try_send(()); // one that is not read yet is enough
        }
        None
    });
    let sitting = Sitting::with(dir.path(), no_past(), address, client.await.client).await;
    for _ in 0..2 {
        assert_eq!(sitting.answer("en", sure(WITHOUT)).await.unwrap()["id"], WITHOUT);
        let listed = tokio::time::timeout(LIMIT, told.recv()).await;
        assert_eq!(listed.expect("the pods are listed"), Some(()));
        sitting.answer("en", Ask::Leave { agreed: None }).await.unwrap();
        while told.try_recv().is_ok() {}
    }
    sitting.crew.kill();
}

/// A cluster of Ropewalk's own says that it has nothing to give up.
#[tokio::test]
async fn where_there_are_no_lesson_namespaces_the_open_lesson_stays_open() {
    let dir = tempfile::tempdir().unwrap();
    let sitting = Sitting::begin(dir.path(), no_past()).await;
    sitting.stage.lesson_namespaces.lock().clear();
    sitting.answer("en", sure(WITHOUT)).await.unwrap();
    for (lang, words) in [("en", "is Ropewalk's own"), ("ko", "Ropewalk 자체 클러스터")] {
        let told = sitting.answer(lang, Ask::Leave { agreed: None }).await.unwrap_err();
        assert!(told.contains(words) && told.contains("ropewalk reset --name"), "{told}");
    }
    assert_eq!(sitting.answer("en", Ask::Show).await.unwrap()["id"], WITHOUT);
    assert_eq!(kept(dir.path()).open.as_deref(), Some(WITHOUT));
    sitting.crew.kill();
}
