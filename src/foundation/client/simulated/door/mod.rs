//! The way from a component to the store: requests that are late, refused, carried out without an
//! answer or after their sender has ended, and watches that lag, break and expire. Everything comes
//! from a seed.

mod call;
mod watching;

use super::store::Store;
use crate::api_client::Client;
use api::{Status, meta, patch, strategic, value};
use bytes::Bytes;
use call::{Call, EventCall, Place, place};
use futures::stream::unfold;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use lru::LruCache;
use parking_lot::{Mutex, MutexGuard};
use rng::Rng;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use watching::Watching;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// The probability of each fault, at each request or event.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A request, or its answer, is late.
    pub slow: f64,
    /// A request is refused, or its connection breaks before it is heard.
    pub refused: f64,
    /// A request is carried out, and its connection breaks before it is answered.
    pub lost: f64,
    /// An event is late on one watch, and so behind later events of other kinds.
    pub lag: f64,
    /// A watch ends, and goes on where it was when the client asks again.
    pub cut: f64,
    /// A watch cannot go on where it was: the client has to list again.
    pub expired: f64,
    /// The component is killed while it writes.
    pub killed: f64,
}

/// Events that are kept; at the bound the one that was written longest ago goes, as one does whose
/// time is over.
const EVENTS_MAX: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Kills in one history, at most: each costs new lists of all kinds.
const KILLS_MAX: u64 = 4;

/// A mistake that is made on purpose, to see whether it is noticed. Each makes the door behave as a
/// client with that mistake would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Writes do not say which version they are meant for.
    LostUpdate,
    /// A conflict counts as success.
    SwallowedConflict,
    /// A write that was refused counts as success.
    SwallowedFailure,
    /// Now and then a watch does not tell of a deletion.
    MissedDeletion,
    /// A watch that was cut goes on at the newest revision instead of where it was.
    SkippedEvents,
}

/// What happened in a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests of all kinds that came.
    pub requests: u64,
    /// Requests to write that were not refused.
    pub writes: u64,
    /// Answers with status 409.
    pub conflicts: u64,
    /// Requests that were refused on purpose.
    pub refused: u64,
    /// Answers that got lost on purpose, after the request was done.
    pub lost: u64,
    /// Watches that ended on purpose.
    pub cut: u64,
    /// Watches that could not go on where they were (status 410), on purpose.
    pub expired: u64,
    /// Times that the component was killed while it wrote.
    pub killed: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.requests += other.requests;
        self.writes += other.writes;
        self.conflicts += other.conflicts;
        self.refused += other.refused;
        self.lost += other.lost;
        self.cut += other.cut;
        self.expired += other.expired;
        self.killed += other.killed;
    }
}

struct Inner {
    store: Store,
    rng: Rng,
    faults: Mutex<Faults>,
    bug: Option<Bug>,
    killed: Notify,
    tally: Mutex<Tally>,
    /// By namespace and name.
    events: Mutex<LruCache<(String, String), Value>>,
    /// Uids of objects that were created, and whose creator has not got the answer yet.
    unanswered: Mutex<BTreeSet<String>>,
}

/// The way from a component to the simulated API server. Cheap to clone.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

impl Door {
    /// Makes a door to `store` at which `faults` happen by chance, and `bug` always.
    pub fn new(store: &Store, rng: &Rng, faults: Faults, bug: Option<Bug>) -> Door {
        Door(Arc::new(Inner {
            store: store.clone(),
            rng: rng.clone(),
            faults: Mutex::new(faults),
            bug,
            killed: Notify::new(),
            tally: Mutex::default(),
            events: Mutex::new(LruCache::new(EVENTS_MAX)),
            unanswered: Mutex::default(),
        }))
    }

    /// Makes a client whose requests go through this door.
    pub fn client(&self) -> Client {
        Client::simulated(self.kube())
    }

    /// Ends all faults: from now on nothing goes wrong.
    pub fn calm(&self) {
        *self.faults_mut() = Faults::default();
    }

    /// Waits until the component is to be killed. Its write gets no answer.
    pub async fn killed(&self) {
        self.0.killed.notified().await;
    }

    /// Returns what happened so far.
    pub fn tally(&self) -> Tally {
        *self.tally_mut()
    }

    /// Uids of objects that were created, and whose creator never got the answer: it was lost on
    /// the way, or the creator was killed before.
    pub fn unanswered(&self) -> BTreeSet<String> {
        self.unanswered_mut().clone()
    }

    fn unanswered_mut(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.unanswered.lock()
    }

    fn faults_mut(&self) -> MutexGuard<'_, Faults> {
        self.0.faults.lock()
    }

    fn tally_mut(&self) -> MutexGuard<'_, Tally> {
        self.0.tally.lock()
    }

    fn chance(&self, of: impl Fn(&Faults) -> f64) -> bool {
        let probability = of(&self.faults_mut());
        probability > 0.0 && self.0.rng.chance(probability)
    }

    /// Mostly some milliseconds, now and then seconds.
    fn delay(&self) -> Duration {
        let most = if self.0.rng.chance(0.1) { 5000 } else { 50 };
        Duration::from_millis(self.0.rng.range(1, most))
    }

    /// Lets time pass at each request but those for Events: a component that asks again and again
    /// would keep a paused clock from going on.
    async fn pause(&self) {
        let slow = self.chance(|f| f.slow);
        clock::sleep(if slow { self.delay() } else { Duration::from_millis(1) }).await;
    }

    fn kube(&self) -> kube::Client {
        let door = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let door = door.clone();
            async move { door.serve(request).await }
        });
        kube::Client::new(service, "default")
    }

    async fn serve(self, request: Request<Body>) -> Result<Answer, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        self.tally_mut().requests += 1;
        let mut call = match place(&parts, &body)? {
            Place::Call(call) => call,
            Place::Event(call) => {
                return Ok(self.write_event(*call).unwrap_or_else(|status| refusal(&status)));
            }
            Place::Nothing => return Ok(refusal(&Status::not_found("", "pages", parts.uri.path()))),
            Place::Discovery(document) => {
                self.pause().await;
                return Ok(whole(200, document.clone()));
            }
        };
        self.pause().await;
        if self.chance(|f| f.refused) {
            self.tally_mut().refused += 1;
            if self.0.bug == Some(Bug::SwallowedFailure) && call.writes() {
                return Ok(self.as_it_is(&call, body));
            }
            return match self.0.rng.range(0, 3) {
                0 => {
                    Ok(refusal(&Status::unavailable("the server is currently unable to handle the request")))
                }
                1 => Ok(refusal(&Status::internal("etcdserver: request timed out"))),
                _ => Err(broken()),
            };
        }
        if call.writes() {
            self.tally_mut().writes += 1;
            if self.tally_mut().killed < KILLS_MAX && self.chance(|f| f.killed) {
                return self.kill(call).await;
            }
        }
        let answer = self.act(&mut call);
        if self.chance(|f| f.lost) {
            self.tally_mut().lost += 1;
            return Err(broken());
        }
        self.pause().await;
        match answer {
            Err(status) if status.code == 409 && self.0.bug == Some(Bug::SwallowedConflict) => {
                Ok(self.as_it_is(&call, body))
            }
            Err(status) => Ok(refusal(&status)),
            Ok(answer) => {
                self.unanswered_mut().remove(&call.made);
                Ok(answer)
            }
        }
    }

    /// Creates an Event, or merges a patch into it, and answers the whole object.
    fn write_event(&self, call: EventCall) -> Result<Answer, Status> {
        let mut events = self.0.events.lock();
        match call.method {
            Method::POST => {
                let key = (call.namespace, meta::name(&call.body).to_string());
                if events.contains(&key) {
                    return Err(Status::already_exists("", "events", &key.1));
                }
                let answer = whole(201, call.body.to_string().into());
                events.put(key, call.body);
                Ok(answer)
            }
            Method::PATCH if call.content_type == "application/merge-patch+json" => {
                let key = (call.namespace, call.name);
                let event = events.get_mut(&key).ok_or_else(|| Status::not_found("", "events", &key.1))?;
                patch::merge(event, &call.body);
                Ok(whole(200, event.to_string().into()))
            }
            Method::PATCH => Err(Status::unsupported_media_type("application/merge-patch+json")),
            _ => Err(Status::method_not_allowed()),
        }
    }

    /// Kills the component while it waits for this answer. Its request is never carried out, was
    /// carried out, or is carried out later.
    async fn kill(&self, mut call: Box<Call>) -> Result<Answer, BoxError> {
        self.tally_mut().killed += 1;
        match self.0.rng.range(0, 3) {
            0 => {}
            1 => drop(self.act(&mut call)),
            _ => {
                let (door, delay) = (self.clone(), self.delay());
                tokio::spawn(async move {
                    clock::sleep(delay).await;
                    drop(door.act(&mut call));
                });
            }
        }
        self.0.killed.notify_one();
        std::future::pending().await
    }

    /// Returns the answer to a write that changed nothing: the object as it is, or as it was sent.
    fn as_it_is(&self, call: &Call, sent: Bytes) -> Answer {
        match self.0.store.get(call.kind, &call.namespace, &call.name) {
            Some(item) => whole(200, item.bytes.clone()),
            None => whole(200, sent),
        }
    }

    /// Carries a request out, and takes its body for that.
    fn act(&self, call: &mut Call) -> Result<Answer, Status> {
        let mut body = std::mem::take(&mut call.body);
        let (store, kind) = (&self.0.store, call.kind);
        let key = (call.namespace.as_str(), call.name.as_str());
        if self.0.bug == Some(Bug::LostUpdate) && call.writes() {
            for path in ["metadata.uid", "metadata.resourceVersion", "preconditions"] {
                value::remove(&mut body, path);
            }
        }
        let done = match (&call.method, call.sub.as_str()) {
            (&Method::GET, "") if call.name.is_empty() => {
                return match call.query.contains_key("watch") {
                    true => Ok(self.watch(call)),
                    false => Ok(self.list(call)),
                };
            }
            (&Method::GET, "") => store
                .get(kind, key.0, key.1)
                .ok_or_else(|| Status::not_found(kind.group, kind.plural, &call.name)),
            (&Method::POST, "binding") => store.bind(key.0, key.1, &body),
            (&Method::POST, "") => store.create(kind, &call.namespace, body),
            (&Method::PUT, "" | "status") => store.replace(kind, key, call.sub == "status", body),
            (&Method::PATCH, "" | "status") => store.edit(kind, key, call.sub == "status", |object| {
                match call.content_type.as_str() {
                    "application/merge-patch+json" => patch::merge(object, &body),
                    "application/strategic-merge-patch+json" => {
                        strategic::apply(kind.kind, object, &body).map_err(strategic::refusal)?;
                    }
                    "application/json-patch+json" => patch::json(object, body.to_string().as_bytes())?,
                    other => return Err(Status::unsupported_media_type(other)),
                }
                Ok(())
            }),
            (&Method::DELETE, "") => store.delete(kind, key, &body),
            _ => Err(Status::method_not_allowed()),
        };
        let item = done.inspect_err(|status| self.tally_mut().conflicts += u64::from(status.code == 409))?;
        if call.method == Method::POST && call.sub.is_empty() {
            call.made = meta::uid(&item.value).to_string();
            self.unanswered_mut().insert(call.made.clone());
        }
        Ok(whole(if call.method == Method::POST { 201 } else { 200 }, item.bytes.clone()))
    }

    fn list(&self, call: &Call) -> Answer {
        let (revision, items) = self.0.store.list(call.kind, &call.namespace);
        let version = match call.kind.group {
            "" => call.kind.version.to_string(),
            group => format!("{group}/{}", call.kind.version),
        };
        let kind = call.kind.kind;
        let mut text = format!(
            r#"{{"kind":"{kind}List","apiVersion":"{version}","metadata":{{"resourceVersion":"{revision}"}},"items":["#
        )
        .into_bytes();
        for (n, item) in items.iter().filter(|item| call.selects(&item.value)).enumerate() {
            if n > 0 {
                text.push(b',');
            }
            text.extend_from_slice(&item.bytes);
        }
        text.extend_from_slice(b"]}");
        whole(200, text.into())
    }

    fn watch(&self, call: &Call) -> Answer {
        let number = |name: &str| call.query.get(name).and_then(|text| text.parse::<u64>().ok());
        if self.chance(|f| f.expired) {
            self.tally_mut().expired += 1;
            let status = Status::expired("too old resource version").to_value();
            return whole(200, format!("{}\n", json!({"type": "ERROR", "object": status})).into());
        }
        let news = self.0.store.news_of(call.kind);
        let since = match self.0.bug {
            Some(Bug::SkippedEvents) => self.0.store.revision(),
            _ => number("resourceVersion").unwrap_or_default(),
        };
        let now = clock::Instant::now();
        let watching = Watching {
            door: self.clone(),
            kind: call.kind,
            namespace: call.namespace.clone(),
            fields: call.query.get("fieldSelector").cloned().unwrap_or_default(),
            since,
            due: now,
            ends: now + Duration::from_secs(number("timeoutSeconds").unwrap_or(290)),
            news,
        };
        let lines = unfold(watching, |mut watching| async move {
            watching.next().await.map(|line| (line.map(Frame::data), watching))
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }
}

fn whole(code: u16, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    answer
}

fn refusal(status: &Status) -> Answer {
    whole(status.code, status.to_value().to_string().into())
}

fn broken() -> BoxError {
    io::Error::new(io::ErrorKind::ConnectionReset, "the connection broke").into()
}
