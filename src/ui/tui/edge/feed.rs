//! What the cluster tells over the control socket: records, its status, and lessons.

use super::super::cluster::WATCHED;
use super::super::event::{Event, Offer};
use super::super::words::Word;
use super::follow::{AGAIN, Followed, Pauses};
use super::labs;
use super::objects::objects;
use crate::beside;
use crate::guests::Asks;
use crate::lesson;
use crate::texts::Lang;
use client::kube::core::{ApiResource, GroupVersionKind};
use cluster::control::{Ask, Control, has_started};
use cluster::faults::{Broken, Fault};
use cluster::{Error, Place};
use lab::format::Library;
use lab::view::{self, Entry, LessonView};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tap::Record;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::SendError;
use tokio::task::JoinSet;

/// Records that are sent in one event, at most.
const BATCH: usize = 500;

/// Starts everything that tells of the cluster. Ends when the set is dropped.
pub(super) fn start(place: &Place, tell: &Sender<Event>) -> JoinSet<()> {
    let mut all = JoinSet::new();
    all.spawn(records(place.clone(), tell.clone()));
    all.spawn(status(place.clone(), tell.clone()));
    for (plural, group, version, kind) in WATCHED {
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        all.spawn(objects(place.clone(), resource, tell.clone()));
    }
    all
}

/// Reads the glossary aside: the first picture does not wait for it.
pub(super) async fn glossary(tell: Sender<Event>) {
    let read = tokio::task::spawn_blocking(|| Library::load().terms.clone()).await;
    if let Ok(terms) = read {
        let _ = tell.send(Event::Glossary(terms)).await; // the interface may have ended
    }
}

/// Sends the records of the cluster. Where the stream breaks off, it is followed again from there.
async fn records(place: Place, tell: Sender<Event>) {
    let mut last = 0;
    let mut first_of = None;
    loop {
        if let Ok(mut control) = Control::connect(&place).await {
            // A cluster that was started anew counts from one again, and what was known of the one
            // before is not about it.
            let id = control.ask(&Ask::Status).await.map(|s| s["pids"].clone()).ok();
            if id.is_some() && id != first_of {
                if first_of.is_some() && tell.send(Event::NewCluster).await.is_err() {
                    return;
                }
                (last, first_of) = (0, id);
            }
            // Before the records: the last one about a link or a node is newer than the list, or
            // agrees with it.
            if let Some(broken) = faults(&mut control).await
                && tell.send(Event::Faults(broken)).await.is_err()
            {
                return;
            }
            let mut next = control.ask(&Ask::Records { since: last }).await.ok();
            while let Some(value) = next.take() {
                let mut batch = Vec::new();
                let mut lost = 0;
                take(value, &mut batch, &mut lost);
                // Whatever is there already goes along.
                while batch.len() < BATCH
                    && let Some(Ok(Some(value))) = futures::FutureExt::now_or_never(control.next())
                {
                    take(value, &mut batch, &mut lost);
                }
                last = batch.last().map_or(last, |r| r.seq);
                if lost > 0 && tell.send(Event::Lost(lost)).await.is_err() {
                    return;
                }
                // Records of faults may be among them.
                if lost > 0
                    && let Ok(mut other) = Control::connect(&place).await
                    && let Some(broken) = faults(&mut other).await
                    && tell.send(Event::Faults(broken)).await.is_err()
                {
                    return;
                }
                if !batch.is_empty() && tell.send(Event::Records(batch)).await.is_err() {
                    return;
                }
                next = control.next().await.ok().flatten();
            }
        }
        clock::sleep(AGAIN).await;
    }
}

/// Returns the faults that are active now. `None`: a foreign cluster, where none can be made.
async fn faults(control: &mut Control) -> Option<Vec<Broken>> {
    let answer = control.ask(&Ask::Fault { fault: Fault::List }).await.ok()?;
    serde_json::from_value(answer["faults"].clone()).ok()
}

fn take(value: Value, batch: &mut Vec<Record>, lost: &mut u64) {
    match value["lost"].as_u64() {
        Some(n) => *lost += n,
        None => match serde_json::from_value::<Record>(value) {
            Ok(record) => batch.push(record),
            Err(_) => *lost += 1, // a cluster of another version tells of events unknown here
        },
    }
}

/// Sends how far the start of the cluster is, and later whether the cluster still runs.
async fn status(place: Place, tell: Sender<Event>) {
    loop {
        match Control::connect(&place).await {
            Ok(control) => {
                if follow_status(control, &tell).await.is_err() {
                    return;
                }
            }
            // It has not ended: it is too busy to answer in the time that this took.
            Err(Error::Hangs { .. }) => continue,
            // Nothing is known of it, for example because this process has too many open files.
            Err(Error::File { .. }) => {
                clock::sleep(AGAIN).await;
                continue;
            }
            Err(_) => {}
        }
        if tell.send(Event::Status(None)).await.is_err() {
            return;
        }
        clock::sleep(AGAIN).await;
    }
}

/// Sends the status until the cluster ends.
///
/// # Errors
/// The interface has ended.
async fn follow_status(mut control: Control, tell: &Sender<Event>) -> Result<(), SendError<Event>> {
    let mut progress = control.ask(&Ask::Wait).await.ok();
    while let Some(value) = progress {
        let started = has_started(&value);
        let state = if started { "running" } else { "starting" };
        tell.send(Event::Status(Some(json!({"state": state, "progress": value})))).await?;
        if started {
            // The end of this connection is the end of the cluster.
            while let Ok(Some(_)) = control.next().await {}
            break;
        }
        progress = control.next().await.ok().flatten();
    }
    Ok(())
}

/// Follows the lesson, in a language. After an error of the engine it is followed anew, with a
/// growing pause; both come as events. `welcomed`: the learner was led to a lesson, or has asked
/// for one.
pub(super) async fn follow(place: Place, lang: Lang, welcomed: Arc<AtomicBool>, tell: Sender<Event>) {
    let mut pauses = Pauses::default();
    loop {
        let mut heard = false;
        let end = follow_once(&place, lang, &welcomed, &tell, &mut heard).await;
        if heard {
            pauses = Pauses::default();
        }
        let pause = match end {
            Followed::Closed => return,
            Followed::Ended => AGAIN,
            Followed::Failed(why) => {
                let pause = pauses.next();
                let words = lang.say(Word::AskedAgain, &[&why, &pause.as_secs().to_string()]);
                if tell.send(Event::NoLesson(words)).await.is_err() {
                    return;
                }
                pause
            }
        };
        clock::sleep(pause).await;
    }
}

/// Follows the lesson on one connection. `heard` becomes true when a view came.
async fn follow_once(
    place: &Place,
    lang: Lang,
    welcomed: &AtomicBool,
    tell: &Sender<Event>,
    heard: &mut bool,
) -> Followed {
    let Ok(mut control) = Control::connect(place).await else { return Followed::Ended };
    let mut answer = ask_teacher(&mut control, lang, view::Ask::Follow).await;
    loop {
        let view = match answer {
            Ok(Some(value)) => serde_json::from_value::<LessonView>(value).map_err(|e| e.to_string()),
            Ok(None) => return Followed::Ended,
            Err(error) => Err(error.say(lang)),
        };
        let view = match view {
            Ok(view) => view,
            Err(why) => return Followed::Failed(why),
        };
        *heard = true;
        // A learner who comes for the first time is led to the first lesson.
        // Not while a lab is open: that is what the learner comes back for.
        let begun = view.id.is_empty()
            && !welcomed.swap(true, Ordering::Relaxed)
            && !labs::is_open(place, lang).await
            && begin(place, lang).await;
        if view.id.is_empty() && !begun {
            question(place.clone(), lang, view::Ask::List, tell.clone()).await;
        }
        if tell.send(Event::Lesson(Box::new(view))).await.is_err() {
            return Followed::Closed;
        }
        answer = control.next().await;
    }
}

/// Opens the first lesson that is not finished; false if there is none.
async fn begin(place: &Place, lang: Lang) -> bool {
    match Control::connect(place).await {
        Ok(mut control) => ask_teacher(&mut control, lang, view::Ask::Next).await.is_ok(),
        Err(_) => false,
    }
}

/// Returns when the cluster answers and its start is complete.
pub(super) async fn ready(place: &Place) {
    loop {
        if let Ok(mut control) = Control::connect(place).await {
            let mut progress = control.ask(&Ask::Wait).await.ok();
            while let Some(value) = progress {
                if has_started(&value) {
                    return;
                }
                progress = control.next().await.ok().flatten();
            }
        }
        clock::sleep(AGAIN).await;
    }
}

async fn ask_teacher(control: &mut Control, lang: Lang, ask: view::Ask) -> Result<Option<Value>, Error> {
    control.ask(&ask.question(lang)).await.map(Some)
}

/// Returns the cluster that has to be offered instead of an answer: what the question would open is
/// played on another cluster than this one.
async fn offer(place: &Place, lang: Lang, ask: &view::Ask) -> Option<Offer> {
    let id = match ask {
        view::Ask::Open { id } => id.clone(),
        view::Ask::Next => String::new(),
        _ => return None,
    };
    let asked = lesson::ask(place, lang, view::Ask::Elsewhere { id }).await.ok()?;
    let there = serde_json::from_value::<Option<view::Elsewhere>>(asked).ok()??;
    let megabytes = beside::megabytes(place, &there.cluster).await;
    Some(Offer { there, megabytes })
}

/// One question to the teacher.
pub(super) async fn question(place: Place, lang: Lang, ask: view::Ask, tell: Sender<Event>) {
    let list = matches!(ask, view::Ask::List);
    if let Some(offer) = offer(&place, lang, &ask).await {
        let _ = tell.send(Event::Offer(offer)).await; // the interface may have ended
        return;
    }
    let answer = match Control::connect(&place).await {
        Ok(mut control) => ask_teacher(&mut control, lang, ask).await,
        Err(error) => Err(error),
    };
    let event = match answer {
        Ok(Some(value)) if list => {
            serde_json::from_value::<Vec<Entry>>(value).map(Event::Lessons).map_err(|e| e.to_string())
        }
        Ok(Some(_)) => Ok(Event::Answered),
        Ok(None) => return,
        Err(error) => Err(error.say(lang)),
    };
    // The learner did not ask for the list: what they asked for is still on its way.
    let refused = if list { Event::NoLesson } else { Event::Refused };
    let _ = tell.send(event.unwrap_or_else(refused)).await; // the interface may have ended
}

#[cfg(test)]
mod tests {
    use super::super::testing::{answers, next};
    use super::*;
    use cluster::Home;
    use std::time::Duration;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;
    use tokio::sync::mpsc::channel;

    #[tokio::test]
    async fn faults_from_before_the_interface_was_opened_are_asked_for() {
        let cut = json!({"fault": "cut", "nodes": ["a", "b"], "since": "2026-01-01T00:00:00Z"});
        let record = serde_json::to_value(Record { seq: 9, ..Record::new(tap::Event::Now) }).unwrap();
        let (_dir, place) = answers(vec![vec![
            ("status", vec![json!({"ok": {"pids": [1]}})]),
            ("fault", vec![json!({"ok": {"faults": [cut]}})]),
            ("records", vec![json!({"ok": record})]),
        ]]);
        let (tell, mut told) = channel(8);
        let task = tokio::spawn(records(place, tell));
        let first = next(&mut told).await;
        assert!(
            matches!(&first, Event::Faults(all) if all.len() == 1 && all[0].nodes == ["a", "b"]),
            "{first:?}"
        );
        let second = next(&mut told).await;
        assert!(
            matches!(&second, Event::Records(all) if all[0].seq == 9),
            "the list comes first: {second:?}"
        );
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_is_too_busy_to_answer_is_not_told_to_have_ended() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        let listener = UnixListener::bind(place.socket()).unwrap();
        let (tell, mut told) = channel(8);
        let task = tokio::spawn(status(place, tell));
        let _silent = listener.accept().await.unwrap();
        let again = tokio::time::timeout(Duration::from_secs(60), listener.accept()).await;
        let (read, mut write) = again.expect("it is asked again").unwrap().0.into_split();
        assert!(told.try_recv().is_err(), "nothing is known");
        let mut lines = BufReader::new(read).lines();
        for answer in ["null", r#"{"ready":true,"started":true}"#] {
            lines.next_line().await.unwrap();
            write.write_all(format!("{{\"ok\":{answer}}}\n").as_bytes()).await.unwrap();
        }
        let event = next(&mut told).await;
        assert!(matches!(&event, Event::Status(Some(status)) if status["state"] == "running"), "{event:?}");
        drop((lines, write));
        assert!(matches!(next(&mut told).await, Event::Status(None)), "now it has");
        task.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_cannot_be_used_does_not_tell_that_the_cluster_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        std::os::unix::fs::symlink("control.sock", place.socket()).unwrap(); // leads to itself
        let (tell, mut told) = channel(8);
        let task = tokio::spawn(status(place.clone(), tell));
        let silent = tokio::time::timeout(Duration::from_secs(5), told.recv()).await;
        assert!(silent.is_err(), "nothing is known: {silent:?}");
        std::fs::remove_file(place.socket()).unwrap();
        assert!(matches!(next(&mut told).await, Event::Status(None)), "now it does not run");
        task.abort();
    }

    #[tokio::test]
    async fn a_list_that_is_refused_answers_no_question_of_the_learners() {
        let refusal = || vec![json!({"error": "the lessons are damaged"})];
        let (_dir, place) = answers(vec![vec![("guest", refusal())]]);
        let (tell, mut told) = channel(8);
        question(place.clone(), Lang::En, view::Ask::List, tell.clone()).await;
        let event = next(&mut told).await;
        assert!(matches!(&event, Event::NoLesson(why) if why.contains("damaged")), "{event:?}");
        question(place, Lang::En, view::Ask::Next, tell).await;
        let event = next(&mut told).await;
        assert!(matches!(&event, Event::Refused(why) if why.contains("damaged")), "{event:?}");
    }

    #[tokio::test]
    async fn a_lesson_with_a_cluster_of_its_own_is_offered_and_not_opened() {
        let cluster = lab::format::Declared { control_planes: 3, workers: 2 };
        let there = view::Elsewhere { id: "hard-way/03".into(), cluster, lab: false, seed: None };
        let (_dir, place) = answers(vec![vec![("elsewhere", vec![json!({ "ok": there })])]]);
        let (tell, mut told) = channel(8);
        for ask in [view::Ask::Open { id: "03".into() }, view::Ask::Next] {
            question(place.clone(), Lang::En, ask, tell.clone()).await;
            let event = next(&mut told).await;
            let is_it = |offer: &Offer| offer.there == there && offer.megabytes == 125;
            assert!(matches!(&event, Event::Offer(offer) if is_it(offer)), "{event:?}");
        }
        question(place, Lang::En, view::Ask::Hint, tell).await;
        assert!(matches!(next(&mut told).await, Event::Answered));
    }

    #[tokio::test]
    async fn a_lesson_whose_stream_ended_with_an_error_is_followed_again() {
        let view = |title: &str| {
            let view = LessonView { id: "t/01".into(), title: title.into(), ..LessonView::default() };
            json!({ "ok": view })
        };
        let (_dir, place) = answers(vec![
            vec![("guest", vec![view("one"), json!({"error": "the history is damaged"})])],
            vec![("guest", vec![view("two")])],
        ]);
        let (tell, mut told) = channel(8);
        let task = tokio::spawn(follow(place, Lang::En, Arc::new(AtomicBool::new(true)), tell));
        let first = next(&mut told).await;
        assert!(matches!(&first, Event::Lesson(view) if view.title == "one"), "{first:?}");
        let error = next(&mut told).await;
        assert!(
            matches!(&error, Event::NoLesson(why) if why == "the history is damaged; asked again in 1 s"),
            "{error:?}"
        );
        let again = next(&mut told).await;
        assert!(matches!(&again, Event::Lesson(view) if view.title == "two"), "{again:?}");
        task.abort();
    }
}
