//! Events: what components tell people about objects.

use super::Client;
use crate::clock;
use crate::tap::Cause;
use crate::task::Crew;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// Events on their way. When full, events are lost: they are a courtesy, never state.
const IN_FLIGHT: usize = 1000;
/// Recent events remembered for counting repeats; the oldest are forgotten first.
const REMEMBERED: usize = 4096;

struct Note {
    about: ObjectReference,
    kind: &'static str,
    reason: String,
    message: String,
    cause: Option<Cause>,
}

/// Writes Events as one component. Repeats raise `count` of the first one.
#[derive(Clone)]
pub struct Recorder(mpsc::Sender<Note>);

impl Recorder {
    /// `host` is the node for kubelets, empty for the control plane.
    pub fn new(crew: &Crew, client: &Client, component: &str, host: &str) -> Recorder {
        let (sender, mut notes) = mpsc::channel::<Note>(IN_FLIGHT);
        let (client, component, host) = (client.clone(), component.to_string(), host.to_string());
        crew.spawn_essential(async move {
            let mut seen: VecDeque<(String, String, i32)> = VecDeque::new(); // (what, event name, count)
            while let Some(note) = notes.recv().await {
                if let Err(error) = write(&client, &component, &host, &note, &mut seen).await {
                    tracing::debug!(%error, reason = note.reason, "event not written");
                }
            }
        });
        Recorder(sender)
    }

    pub fn normal(
        &self,
        about: &ObjectReference,
        reason: &str,
        message: impl Into<String>,
        cause: Option<Cause>,
    ) {
        self.send(about, "Normal", reason, message.into(), cause);
    }

    pub fn warning(
        &self,
        about: &ObjectReference,
        reason: &str,
        message: impl Into<String>,
        cause: Option<Cause>,
    ) {
        self.send(about, "Warning", reason, message.into(), cause);
    }

    fn send(
        &self,
        about: &ObjectReference,
        kind: &'static str,
        reason: &str,
        message: String,
        cause: Option<Cause>,
    ) {
        let note = Note { about: about.clone(), kind, reason: reason.into(), message, cause };
        if self.0.try_send(note).is_err() {
            tracing::debug!(reason, "event dropped: too many in flight");
        }
    }
}

async fn write(
    client: &Client,
    component: &str,
    host: &str,
    note: &Note,
    seen: &mut VecDeque<(String, String, i32)>,
) -> Result<(), kube::Error> {
    let about = &note.about;
    let namespace = about.namespace.clone().filter(|n| !n.is_empty()).unwrap_or_else(|| "default".into());
    let api = client.caused_by(note.cause.clone()).within::<Event>(&namespace);
    let now = clock::now();
    let what = format!(
        "{namespace}/{:?}/{:?}/{:?}/{}/{}/{}",
        about.uid, about.name, about.field_path, note.kind, note.reason, note.message
    );
    if let Some((_, name, count)) = seen.iter_mut().find(|(known, ..)| *known == what) {
        let patch = serde_json::json!({"count": *count + 1, "lastTimestamp": clock::rfc3339(now)});
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => {
                *count += 1;
                return Ok(());
            }
            Err(error) if super::is_code(&error, 404) => {} // expired meanwhile: a new one
            Err(error) => return Err(error),
        }
        seen.retain(|(known, ..)| *known != what);
    }
    let name = format!("{}.{:x}", about.name.as_deref().unwrap_or("unknown"), now.as_nanosecond());
    let event = Event {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        involved_object: about.clone(),
        reason: Some(note.reason.clone()),
        message: Some(note.message.clone()),
        type_: Some(note.kind.into()),
        count: Some(1),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(EventSource {
            component: Some(component.into()),
            host: (!host.is_empty()).then(|| host.to_string()),
        }),
        reporting_component: Some(component.into()),
        reporting_instance: Some(host.into()),
        ..Event::default()
    };
    api.create(&PostParams::default(), &event).await?;
    if seen.len() == REMEMBERED {
        seen.pop_front();
    }
    seen.push_back((what, name, 1));
    Ok(())
}

/// What an event is about, and how one object names another: `describe` finds an object's events by it.
pub fn reference<K: kube::Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        ..ObjectReference::default()
    }
}
