//! Events: what components tell people about objects.

use super::answers::is_code;
use super::api_client::Client;
use api::validate::names::dns_subdomain;
use clock::{self, Timestamp};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use lru::LruCache;
use rng::Rng;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Duration;
use tap::Cause;
use task::Crew;
use tokio::sync::mpsc;

/// Events on their way. When full, events are lost: they are a courtesy, never state.
const IN_FLIGHT: usize = 1000;
/// Events remembered to count repeats; the one that was repeated longest ago is forgotten first.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Events of one object and one type by one component: so many at once, and then one in
/// [`REFILL_SECONDS`]. A controller that fails for ever, each time with another message, would
/// otherwise fill the store. A pod whose probe fails for ever still tells that it is killed: its
/// warnings take nothing from its normal Events (client-go's `getSpamKey`).
const BURST: f64 = 25.0;
const REFILL_SECONDS: f64 = 300.0;
/// Events that differ in nothing but their message become one from this many messages on ...
const SIMILAR: usize = 10;
/// ... if no more than so many seconds lie between two of them.
const SIMILAR_SECONDS: f64 = 600.0;
/// Longest message, in bytes, as events.k8s.io has it.
const MESSAGE_MAX: usize = 1024;

/// An Event that no API server answers is tried so many times in all ...
const TRIES: usize = 12;
/// ... with pauses that begin with the first value and double up to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

struct Note {
    /// When it happened. It may be written much later.
    at: Timestamp,
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
                let Some(correlated) = correlator.correlate(&note) else {
                    tracing::debug!(reason = note.reason, "event dropped: its object has caused too many");
                    continue;
                };
                let name = match persist(|| write(&client, &component, &host, &note, &correlated)).await {
                    Ok(name) => Some(name),
                    // Its namespace goes, for example.
                    Err(error) if is_refusal(&error) => {
                        tracing::debug!(%error, reason = note.reason, "event refused");
                        None
                    }
                    Err(error) => {
                        tracing::warn!(%error, reason = note.reason, "event lost: the API server does not answer");
                        None
                    }
                };
                correlator.written(&correlated.key, name);
            }
        });
        Recorder(sender)
    }

    /// Queues an Event of type `Normal` and does not wait for it. A message above 1024 bytes is
    /// cut. If 1000 Events are under way already, this one is lost.
    pub fn normal(
        &self,
        about: &ObjectReference,
        reason: &str,
        message: impl Into<String>,
        cause: Option<Cause>,
    ) {
        self.send(about, "Normal", reason, message.into(), cause);
    }

    /// As [`Recorder::normal`], of type `Warning`: something failed that a person may have to mend.
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
        let at = clock::now();
        let note = Note { at, about: about.clone(), kind, reason: reason.into(), message, cause };
        if self.0.try_send(note).is_err() {
            tracing::debug!(reason, "event dropped: too many in flight");
        }
    }
}

/// How often something was noted, with or without an Event, since when, and the name of the Event
/// that counts it, if one was written.
#[derive(Clone)]
struct Repeats {
    count: i32,
    first: Timestamp,
    event: Option<String>,
}

/// What an Event says of a note.
struct Correlated {
    /// All that has to be equal for a repeat.
    key: String,
    message: String,
    repeats: Repeats,
}

/// What becomes of a note: client-go's EventCorrelator, for the notes of one component.
struct Correlator {
    /// By object, reason and type: messages of late, and when the last came.
    similar: LruCache<String, (BTreeSet<String>, Timestamp)>,
    /// By all that has to be equal for a repeat: how often it was noted.
    repeats: LruCache<String, Repeats>,
    /// By object and type: Events that it may still cause, and since when.
    left: LruCache<String, (f64, Timestamp)>,
}

impl Default for Correlator {
    fn default() -> Correlator {
        Correlator {
            similar: LruCache::new(REMEMBERED),
            repeats: LruCache::new(REMEMBERED),
            left: LruCache::new(REMEMBERED),
        }
    }
}

impl Correlator {
    /// Returns what an Event says of the note; `None` if its object has caused enough of its type.
    /// It is counted all the same.
    fn correlate(&mut self, note: &Note) -> Option<Correlated> {
        let (about, now) = (&note.about, note.at);
        // The uid is part of it: an object that is made anew under the same name has its own
        // Events.
        let object = format!(
            "{:?}/{:?}/{:?}/{:?}/{:?}",
            about.api_version, about.kind, about.namespace, about.name, about.uid
        );
        let of_type = format!("{object}/{}", note.kind);
        let like = format!("{of_type}/{}", note.reason);
        let mut message = cut(note.message.clone());
        let (messages, last) = self.similar.get_or_insert_mut(like.clone(), || (BTreeSet::new(), now));
        if seconds(*last, now) > SIMILAR_SECONDS {
            messages.clear();
        }
        *last = now;
        messages.insert(message.clone());
        let key = if messages.len() < SIMILAR {
            format!("{like}/{:?}/{message}", about.field_path)
        } else {
            messages.pop_first();
            message = cut(format!("(combined from similar events): {message}"));
            like
        };
        let new = || Repeats { count: 0, first: now, event: None };
        let repeats = self.repeats.get_or_insert_mut(key.clone(), new);
        repeats.count = repeats.count.saturating_add(1);
        let repeats = repeats.clone();
        let (left, since) = self.left.get_or_insert_mut(of_type, || (BURST, now));
        *left = (*left + seconds(*since, now) / REFILL_SECONDS).min(BURST);
        *since = now;
        if *left < 1.0 {
            return None;
        }
        *left -= 1.0;
        Some(Correlated { key, message, repeats })
    }

    /// Notes the name of the Event that counts this key's repeats; `None`: it could not be written,
    /// or it is not known whether it was.
    fn written(&mut self, key: &str, event: Option<String>) {
        if let Some(repeats) = self.repeats.get_mut(key) {
            repeats.event = event.or(repeats.event.take());
        }
    }
}

/// Returns true if the API server answered, other than that it has no time just now. A request that
/// cannot be built counts as refused, as in client-go: the next try would fail in the same way, and
/// all other Events of the component would wait for it.
fn is_refusal(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => !matches!(status.code, 429 | 503),
        kube::Error::BuildRequest(_) | kube::Error::HttpError(_) => true,
        _ => false,
    }
}

/// Tries again while no API server answers. What the API server refuses it refuses again.
async fn persist<T, W>(write: impl Fn() -> W) -> Result<T, kube::Error>
where
    W: Future<Output = Result<T, kube::Error>>,
{
    let mut pause = RETRY.0;
    for _ in 1..TRIES {
        match write().await {
            Err(error) if !is_refusal(&error) => tracing::debug!(%error, "event not written, trying again"),
            written => return written,
        }
        clock::pause(pause).await;
        pause = (pause * 2).min(RETRY.1);
    }
    write().await
}

/// Returns the message, or as much of it as an Event may have.
fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_MAX - '…'.len_utf8()));
        message.push('…');
    }
    message
}

/// Returns the name of an Event: its object's and the time. An object's name may be too long for
/// that, or be none that an Event may have: then the name is a UUID, as client-go's
/// `GenerateEventName` makes it. It is derived from what it stands for, so that a simulation
/// repeats it.
fn name_of_event(object: &str, now: Timestamp) -> String {
    let name = format!("{object}.{:x}", now.as_nanosecond());
    if dns_subdomain(&name).is_empty() { name } else { Rng::seeded(0).fork(&name).uuid() }
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}

/// Writes the Event and returns its name. Tried again, it does the same once more.
async fn write(
    client: &Client,
    component: &str,
    host: &str,
    note: &Note,
    correlated: &Correlated,
) -> Result<String, kube::Error> {
    let about = &note.about;
    let namespace = about.namespace.clone().filter(|n| !n.is_empty()).unwrap_or_else(|| "default".into());
    let Correlated { message, repeats, .. } = correlated;
    let api = client.caused_by(note.cause.clone()).within::<Event>(&namespace);
    if let Some(name) = &repeats.event {
        let patch = serde_json::json!({
            "count": repeats.count, "message": message, "lastTimestamp": clock::rfc3339(note.at),
        });
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => return Ok(name.clone()),
            Err(error) if is_code(&error, 404) => {} // expired meanwhile: a new one that counts on
            Err(error) => return Err(error),
        }
    }
    let name = name_of_event(about.name.as_deref().unwrap_or("unknown"), note.at);
    let event = Event {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        involved_object: about.clone(),
        reason: Some(note.reason.clone()),
        message: Some(message.clone()),
        type_: Some(note.kind.into()),
        count: Some(repeats.count),
        first_timestamp: Some(Time(repeats.first)),
        last_timestamp: Some(Time(note.at)),
        source: Some(EventSource {
            component: Some(component.into()),
            host: (!host.is_empty()).then(|| host.to_string()),
        }),
        reporting_component: Some(component.into()),
        reporting_instance: Some(host.into()),
        ..Event::default()
    };
    match api.create(&PostParams::default(), &event).await {
        Ok(_) => Ok(name),
        // An earlier try has made it, and its answer did not come.
        Err(error) if is_code(&error, 409) => Ok(name),
        Err(error) => Err(error),
    }
}

/// Returns what an event is about, and how one object names another: `describe` finds an object's
/// events by it.
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
    use crate::testing::{self, Scripted};
    use parking_lot::Mutex;

    fn note(object: &str, message: impl Into<String>) -> Note {
        let about = ObjectReference { name: Some(object.into()), ..ObjectReference::default() };
        let (reason, message) = ("FailedCreate".into(), message.into());
        Note { at: clock::now(), about, kind: "Warning", reason, message, cause: None }
    }

    fn at(at: Timestamp, note: Note) -> Note {
        Note { at, ..note }
    }

    #[test]
    fn similar_events_become_one() {
        let (mut correlator, now) = (Correlator::default(), clock::now());
        let mut keys = BTreeSet::new();
        let mut correlated = Vec::new();
        for attempt in 0..20 {
            let note = at(now, note("web", format!("pod {attempt}")));
            let new = correlator.correlate(&note).expect("few");
            keys.insert(new.key);
            correlated.push(new.message);
        }
        assert_eq!(keys.len(), SIMILAR, "one for each of the first, and one for all others");
        assert_eq!((&*correlated[8], &*correlated[9]), ("pod 8", "(combined from similar events): pod 9"));
        let (messages, _) = correlator.similar.iter().next().expect("one object").1;
        assert!(messages.len() < SIMILAR, "no more are kept than are compared");
        // After a quiet time each has an Event of its own again.
        let later = clock::after(now, Duration::from_secs(601));
        let correlated = correlator.correlate(&at(later, note("web", "pod 20"))).expect("few");
        assert_eq!(correlated.message, "pod 20");
    }

    #[test]
    fn an_object_causes_so_many_events_and_no_more() {
        let (mut correlator, now) = (Correlator::default(), clock::now());
        let mut correlated = |object: &str, times: usize, now| {
            (0..times).filter_map(|_| correlator.correlate(&at(now, note(object, "no")))).count()
        };
        assert_eq!(correlated("web", 100, now), 25);
        assert_eq!(correlated("db", 10, now), 10, "each object has its own");
        let later = clock::after(now, Duration::from_secs(601));
        assert_eq!(correlated("web", 100, later), 2, "one more in five minutes");
    }

    /// The Event `Killing` of a container whose liveness probe has failed for hours.
    #[test]
    fn warnings_keep_no_normal_event_from_being_written() {
        let (mut correlator, now) = (Correlator::default(), clock::now());
        let mut correlated = |kind: &'static str, reason: &str| {
            let noted = || Note { kind, reason: reason.into(), ..note("web", "no") };
            (0..30).filter(|_| correlator.correlate(&at(now, noted())).is_some()).count()
        };
        assert_eq!(correlated("Warning", "Unhealthy"), 25);
        assert_eq!(correlated("Warning", "BackOff"), 0, "another reason has no others");
        assert_eq!(correlated("Normal", "Killing"), 25);
    }

    #[test]
    fn an_object_that_is_made_anew_has_its_own_events() {
        let (mut correlator, now) = (Correlator::default(), clock::now());
        for uid in ["first", "second"] {
            let mut note = at(now, note("web", "no"));
            note.about.uid = Some(uid.into());
            let correlated = (0..100).filter(|_| correlator.correlate(&note).is_some()).count();
            assert_eq!(correlated, 25, "{uid}");
        }
    }

    #[test]
    fn an_object_of_any_name_has_events() {
        let now = clock::now();
        assert_eq!(name_of_event("web", now), format!("web.{:x}", now.as_nanosecond()));
        let mut seen = BTreeSet::new();
        for object in ["w".repeat(253), format!("{}x", "w".repeat(252)), "2001:db8::1".into()] {
            for at in [now, clock::after(now, Duration::from_nanos(1))] {
                let name = name_of_event(&object, at);
                assert!(dns_subdomain(&name).is_empty(), "{name}");
                assert!(seen.insert(name), "each Event has a name of its own");
            }
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let mut correlator = Correlator::default();
        let message = correlator.correlate(&note("web", "가".repeat(1000))).expect("the first").message;
        assert!(message.len() <= MESSAGE_MAX && message.starts_with('가'), "{} bytes", message.len());
    }

    /// A probe that fails for long shows how often, as upstream: what makes no Event is counted.
    #[test]
    fn an_event_that_is_dropped_is_counted() {
        let (mut correlator, now) = (Correlator::default(), clock::now());
        for _ in 0..100 {
            correlator.correlate(&at(now, note("web", "no")));
        }
        let later = clock::after(now, Duration::from_secs(301));
        let correlated = correlator.correlate(&at(later, note("web", "no"))).expect("one more");
        assert_eq!((correlated.repeats.count, correlated.repeats.first), (101, now));
    }

    #[tokio::test]
    async fn an_event_has_the_time_at_which_it_happened_and_counts_on_when_it_is_made_anew() {
        let server = Scripted::new(|asked| match asked.line.starts_with("PATCH") {
            true => testing::refusal(404, "NotFound"),
            false => None,
        })
        .await;
        let mut correlator = Correlator::default();
        let (first, second) = (clock::before(clock::now(), Duration::from_secs(60)), clock::now());
        for at_ in [first, second] {
            let note = at(at_, note("web", "no"));
            let correlated = correlator.correlate(&note).expect("few");
            let name = write(&server.client, "test", "", &note, &correlated).await.expect("written");
            correlator.written(&correlated.key, Some(name));
        }
        let made: Vec<_> = server.events().into_iter().filter(|a| a.line.starts_with("POST")).collect();
        assert_eq!(made.len(), 2, "{made:?}");
        assert_eq!((&made[0].body["count"], &made[1].body["count"]), (&1.into(), &2.into()));
        for (event, last) in made.iter().zip([first, second]) {
            assert_eq!(event.body["firstTimestamp"], clock::rfc3339(first));
            assert_eq!(event.body["lastTimestamp"], clock::rfc3339(last));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_without_an_answer_is_tried_again_and_a_refused_one_is_not() {
        let unanswered = || kube::Error::Service("nobody listens".into());
        let refused = || {
            let status =
                serde_json::json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": ""});
            kube::Error::Api(serde_json::from_value(status).unwrap())
        };
        for (answers, tries) in [(1, 2), (11, 12), (20, 12), (0, 1)] {
            let asked = Mutex::new(0);
            let written = persist(|| {
                let mut asked = asked.lock();
                *asked += 1;
                std::future::ready(if *asked > answers { Ok(()) } else { Err(unanswered()) })
            })
            .await;
            assert_eq!((*asked.lock(), written.is_ok()), (tries, answers < 12));
        }
        let unbuilt = || kube::Error::HttpError(http::Request::get("/a b").body(()).unwrap_err());
        for error in [refused as fn() -> kube::Error, unbuilt] {
            let asked = Mutex::new(0);
            let written: Result<(), _> = persist(|| {
                *asked.lock() += 1;
                std::future::ready(Err(error()))
            })
            .await;
            assert!(written.is_err() && *asked.lock() == 1);
        }
    }
}
