//! Events: what components tell people about objects.

use super::Client;
use crate::api::validate::names::dns_subdomain;
use crate::clock::{self, Timestamp};
use crate::tap::Cause;
use crate::task::Crew;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use lru::LruCache;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use tokio::sync::mpsc;

/// Events on their way. When full, events are lost: they are a courtesy, never state.
const IN_FLIGHT: usize = 1000;
/// Recent events remembered for counting repeats; what was not told for longest is forgotten first.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Events of one object by one component: so many at once, and then one in [`REFILL_SECONDS`]. A controller that fails for ever, each time with
/// another message, would otherwise fill the store.
const BURST: f64 = 25.0;
const REFILL_SECONDS: f64 = 300.0;
/// Events that differ in nothing but their message become one from this many messages on ...
const SIMILAR: usize = 10;
/// ... if no more than so many seconds lie between two of them.
const SIMILAR_SECONDS: f64 = 600.0;
/// Longest message, in bytes, as events.k8s.io has it.
const MESSAGE_MAX: usize = 1024;

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
            let mut correlator = Correlator::default();
            while let Some(note) = notes.recv().await {
                if let Err(error) = write(&client, &component, &host, &note, &mut correlator).await {
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

/// What becomes of a note: client-go's EventCorrelator, for the notes of one component.
struct Correlator {
    /// By object, reason and type: messages of late, and when the last came.
    similar: LruCache<String, (BTreeSet<String>, Timestamp)>,
    /// By all that has to be equal for a repeat: the Event's name and count.
    told: LruCache<String, (String, i32)>,
    /// By object: Events that it may still cause, and since when.
    left: LruCache<String, (f64, Timestamp)>,
}

impl Default for Correlator {
    fn default() -> Correlator {
        Correlator {
            similar: LruCache::new(REMEMBERED),
            told: LruCache::new(REMEMBERED),
            left: LruCache::new(REMEMBERED),
        }
    }
}

impl Correlator {
    /// The key under which the note is counted, and its message; `None` if its object has caused enough Events.
    fn correlate(&mut self, note: &Note, now: Timestamp) -> Option<(String, String)> {
        let about = &note.about;
        // By uid as well, as upstream: the next object of the name starts anew.
        let object = format!(
            "{:?}/{:?}/{:?}/{:?}/{:?}",
            about.api_version, about.kind, about.namespace, about.name, about.uid
        );
        let like = format!("{object}/{:?}/{}/{}", about.field_path, note.kind, note.reason);
        let mut message = cut(note.message.clone());
        let (messages, last) = self.similar.get_or_insert_mut(like.clone(), || (BTreeSet::new(), now));
        if seconds(*last, now) > SIMILAR_SECONDS {
            messages.clear();
        }
        *last = now;
        messages.insert(message.clone());
        let key = if messages.len() < SIMILAR {
            format!("{like}/{message}")
        } else {
            messages.pop_first();
            message = cut(format!("(combined from similar events): {message}"));
            like
        };
        let (left, since) = self.left.get_or_insert_mut(object, || (BURST, now));
        *left = (*left + seconds(*since, now) / REFILL_SECONDS).min(BURST);
        *since = now;
        if *left < 1.0 {
            return None;
        }
        *left -= 1.0;
        Some((key, message))
    }
}

/// `web.18a5…`; where the object's name is too long for that, or no name of an Event (a ClusterRole's may have colons), a name that says nothing.
/// Source: `GenerateEventName`.
fn event_name(about: &str, now: Timestamp) -> String {
    let name = format!("{about}.{:x}", now.as_nanosecond());
    match dns_subdomain(&name).is_empty() {
        true => name,
        false => uuid::Uuid::new_v4().to_string(),
    }
}

/// The message, or as much of it as an Event may have.
fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_MAX - '…'.len_utf8()));
        message.push('…');
    }
    message
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

async fn write(
    client: &Client,
    component: &str,
    host: &str,
    note: &Note,
    correlator: &mut Correlator,
) -> Result<(), kube::Error> {
    let about = &note.about;
    let namespace = about.namespace.clone().filter(|n| !n.is_empty()).unwrap_or_else(|| "default".into());
    let now = clock::now();
    let Some((key, message)) = correlator.correlate(note, now) else {
        tracing::debug!(reason = note.reason, "event dropped: its object has caused too many");
        return Ok(());
    };
    let api = client.caused_by(note.cause.clone()).within::<Event>(&namespace);
    if let Some((name, count)) = correlator.told.get_mut(&key) {
        let patch = serde_json::json!({
            "count": count.saturating_add(1), "message": message, "lastTimestamp": clock::rfc3339(now),
        });
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => {
                *count = count.saturating_add(1);
                return Ok(());
            }
            Err(error) if super::is_code(&error, 404) => {} // expired meanwhile: a new one
            Err(error) => return Err(error),
        }
        correlator.told.pop(&key);
    }
    let name = event_name(about.name.as_deref().unwrap_or("unknown"), now);
    let event = Event {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        involved_object: about.clone(),
        reason: Some(note.reason.clone()),
        message: Some(message),
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
    correlator.told.put(key, (name, 1));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn note(object: &str, message: impl Into<String>) -> Note {
        let about = ObjectReference { name: Some(object.into()), ..ObjectReference::default() };
        Note { about, kind: "Warning", reason: "FailedCreate".into(), message: message.into(), cause: None }
    }

    #[test]
    fn similar_events_become_one() {
        let (mut correlator, now) = (Correlator::default(), clock::now());
        let mut keys = BTreeSet::new();
        let mut told = Vec::new();
        for attempt in 0..20 {
            let (key, message) =
                correlator.correlate(&note("web", format!("pod {attempt}")), now).expect("few");
            keys.insert(key);
            told.push(message);
        }
        assert_eq!(keys.len(), SIMILAR, "one for each of the first, and one for all others");
        assert_eq!((&*told[8], &*told[9]), ("pod 8", "(combined from similar events): pod 9"));
        // After a quiet time they are told one by one again.
        let later = clock::after(now, Duration::from_secs(601));
        assert_eq!(correlator.correlate(&note("web", "pod 20"), later).expect("few").1, "pod 20");
    }

    #[test]
    fn an_object_causes_so_many_events_and_no_more() {
        let (mut correlator, now) = (Correlator::default(), clock::now());
        let mut told = |object: &str, times: usize, now| {
            (0..times).filter_map(|_| correlator.correlate(&note(object, "no"), now)).count()
        };
        assert_eq!(told("web", 100, now), 25);
        assert_eq!(told("db", 10, now), 10, "each object has its own");
        let later = clock::after(now, Duration::from_secs(601));
        assert_eq!(told("web", 100, later), 2, "one more in five minutes");
    }

    #[test]
    fn an_object_with_a_long_name_has_events_too() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(event_name("web", now), format!("web.{:x}", now.as_nanosecond()));
        for about in ["x".repeat(253), "system:node".to_string(), "Upper".to_string()] {
            let name = event_name(&about, now);
            assert!(dns_subdomain(&name).is_empty() && name.len() == 36, "{name}");
        }
    }

    #[test]
    fn the_next_object_of_a_name_has_events_of_its_own() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut correlator = Correlator::default();
        let mut tells = |uid: &str, n: usize| {
            let mut note = note("web", format!("message {n}"));
            note.about.uid = Some(uid.into());
            correlator.correlate(&note, now).is_some()
        };
        assert_eq!((0..100).filter(|n| tells("1", *n)).count(), BURST as usize);
        assert_eq!((0..100).filter(|n| tells("2", *n)).count(), BURST as usize);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut correlator = Correlator::default();
        let (_, message) =
            correlator.correlate(&note("web", "가".repeat(1000)), clock::now()).expect("the first");
        assert!(message.len() <= MESSAGE_MAX && message.starts_with('가'), "{} bytes", message.len());
    }
}
