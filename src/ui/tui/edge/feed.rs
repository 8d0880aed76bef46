//! What the cluster tells: records and lessons over the control socket, objects through the API, as the learner.

use super::super::cluster::{Change, WATCHED};
use super::super::event::Event;
use crate::client::kube::api::Api;
use crate::client::kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use crate::client::kube::runtime::watcher;
use crate::client::{Client, is_code, kubeconfig};
use crate::cluster::Place;
use crate::cluster::control::{Ask, Control, has_started};
use crate::lab::view::{self, Entry, LessonView};
use crate::tap::Record;
use crate::ui::lesson;
use crate::ui::texts::Lang;
use futures::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

/// Pause before the cluster is asked again when it does not answer.
const AGAIN: Duration = Duration::from_millis(500);
/// Records told at once.
const BATCH: usize = 500;

/// Starts everything that tells of the cluster. Ends when the set is dropped.
pub fn start(place: &Place, tell: &Sender<Event>) -> JoinSet<()> {
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

/// The record stream, joined again where it broke off.
async fn records(place: Place, tell: Sender<Event>) {
    let mut last = 0;
    let mut first_of = None;
    loop {
        if let Ok(mut control) = Control::connect(&place).await {
            // A cluster that was started anew counts from one again, and what was known of the one before is not about it.
            let id = control.ask(&Ask::Status).await.map(|s| s["pids"].clone()).ok();
            if id.is_some() && id != first_of {
                if first_of.is_some() && tell.send(Event::NewCluster).await.is_err() {
                    return;
                }
                (last, first_of) = (0, id);
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
                if !batch.is_empty() && tell.send(Event::Records(batch)).await.is_err() {
                    return;
                }
                next = control.next().await.ok().flatten();
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn take(value: Value, batch: &mut Vec<Record>, lost: &mut u64) {
    match value["lost"].as_u64() {
        Some(n) => *lost += n,
        None => batch.extend(serde_json::from_value::<Record>(value)),
    }
}

/// How far the start is; then, whether the cluster is still there.
async fn status(place: Place, tell: Sender<Event>) {
    loop {
        if let Ok(mut control) = Control::connect(&place).await {
            let mut progress = control.ask(&Ask::Wait).await.ok();
            while let Some(value) = progress.take() {
                let started = has_started(&value);
                let state = if started { "running" } else { "starting" };
                let told = json!({"state": state, "progress": value});
                if tell.send(Event::Status(Some(told))).await.is_err() {
                    return;
                }
                if started {
                    // The end of this connection is the end of the cluster.
                    while let Ok(Some(_)) = control.next().await {}
                    break;
                }
                progress = control.next().await.ok().flatten();
            }
        }
        if tell.send(Event::Status(None)).await.is_err() {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// A client as the learner's own kubeconfig says; the requests name themselves, so that nobody takes them for the learner's.
fn client(place: &Place) -> Option<Client> {
    let text = std::fs::read_to_string(place.kubeconfig()).ok()?;
    kubeconfig::view(&serde_yaml::from_str(&text).ok()?).client("ropewalk-map")
}

/// Objects of one kind, as they are and as they change.
async fn objects(place: Place, resource: ApiResource, tell: Sender<Event>) {
    let plural = resource.plural.clone();
    let value = |object: &DynamicObject| serde_json::to_value(object).unwrap_or_default();
    loop {
        // Where no cluster runs there is nobody to ask, eight kinds over.
        if let (Ok(_), Some(client)) = (Control::connect(&place).await, client(&place)) {
            let api: Api<DynamicObject> = Api::all_with(client.kube(), &resource);
            let mut stream = watcher(api, watcher::Config::default()).boxed();
            let mut fresh = Vec::new();
            while let Some(event) = stream.next().await {
                let change = match event {
                    Ok(watcher::Event::Init) => {
                        fresh.clear();
                        continue;
                    }
                    Ok(watcher::Event::InitApply(object)) => {
                        fresh.push(value(&object));
                        continue;
                    }
                    Ok(watcher::Event::InitDone) => {
                        Change::All { resource: plural.clone(), objects: std::mem::take(&mut fresh) }
                    }
                    Ok(watcher::Event::Apply(object)) => {
                        Change::Put { resource: plural.clone(), object: value(&object) }
                    }
                    Ok(watcher::Event::Delete(object)) => Change::Gone {
                        resource: plural.clone(),
                        // The last version carries the revision of its deletion.
                        revision: object
                            .metadata
                            .resource_version
                            .as_deref()
                            .and_then(|r| r.parse().ok())
                            .unwrap_or_default(),
                        namespace: object.metadata.namespace.unwrap_or_default(),
                        name: object.metadata.name.unwrap_or_default(),
                    },
                    // Who may not look at a kind of somebody else's cluster does without it on the map.
                    Err(watcher::Error::InitialListFailed(error)) if is_code(&error, 403) => return,
                    // The server may have come back elsewhere, with another certificate: from the kubeconfig on.
                    Err(_) => break,
                };
                if tell.send(Event::Objects(change)).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Follows the lesson, in a language. `welcomed`: the learner was led to a lesson, or has asked for one.
pub async fn follow(place: Place, lang: Lang, welcomed: Arc<AtomicBool>, tell: Sender<Event>) {
    loop {
        if let Ok(mut control) = Control::connect(&place).await {
            let mut answer = ask_teacher(&mut control, lang, view::Ask::Follow).await;
            loop {
                let event = match answer {
                    Ok(Some(value)) => match serde_json::from_value::<LessonView>(value) {
                        Ok(view) => {
                            // Whoever comes for the first time is led to the first lesson.
                            let begun = view.id.is_empty()
                                && !welcomed.swap(true, Ordering::Relaxed)
                                && begin(&place, lang).await;
                            if view.id.is_empty() && !begun {
                                question(place.clone(), lang, view::Ask::List, tell.clone()).await;
                            }
                            Event::Lesson(Box::new(view))
                        }
                        Err(error) => Event::NoLesson(error.to_string()),
                    },
                    Ok(None) => break,
                    Err(error) => Event::NoLesson(error.say(lang)),
                };
                if tell.send(event).await.is_err() {
                    return;
                }
                answer = control.next().await;
            }
        }
        tokio::time::sleep(AGAIN).await;
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
pub async fn ready(place: &Place) {
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
        tokio::time::sleep(AGAIN).await;
    }
}

async fn ask_teacher(
    control: &mut Control,
    lang: Lang,
    ask: view::Ask,
) -> Result<Option<Value>, crate::cluster::Error> {
    control.ask(&lesson::asked(lang, ask)).await.map(Some)
}

/// One question to the teacher.
pub async fn question(place: Place, lang: Lang, ask: view::Ask, tell: Sender<Event>) {
    let list = matches!(ask, view::Ask::List);
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
    let _ = tell.send(event.unwrap_or_else(Event::Refused)).await; // the interface may have ended
}
