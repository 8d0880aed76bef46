//! What can be known of a foreign cluster's doings: the requests that pass the relay, and the versions of objects that a watch sees. Both
//! go to a tap, in the shape in which an API server of our own would tell them.
//!
//! A version tells what there is, not who wrote it. The answer to a write names the version that it made, so whoever keeps both knows the writer too.

use crate::api::value::{at, text};
use crate::apiserver::http::Query;
use crate::apiserver::request::Info;
use crate::apiserver::{is_dry_run, is_own, is_trial};
use crate::cluster::guest::{How, Seen};
use crate::rng::Rng;
use crate::tap::{self, ObjectRef, Record, Request, Tap};
use http::HeaderMap;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

type Key = (String, String, String);

/// Tells a tap what it hears. Cheap to clone.
#[derive(Clone)]
pub struct Witness {
    tap: Tap,
    rng: Arc<Rng>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// The newest revision heard of each object.
    newest: HashMap<Key, u64>,
    /// Objects that a watch has shown and not yet seen go.
    live: HashSet<Key>,
}

/// A request on its way.
pub struct Asked {
    request: Request,
    object: Option<ObjectRef>,
    began: Instant,
    /// The object's newest revision when the request came: an answer that shows the same wrote nothing.
    before: Option<u64>,
    /// A table was asked for, as `kubectl get` prints it.
    table: bool,
    /// Label and field selectors, and how kubectl prints the answer; empty: none.
    labels: String,
    fields: String,
    /// What was written after -o; `None`: the client does not say.
    output: Option<String>,
    /// How many of a log's lines were asked for.
    tail: Option<i64>,
}

impl Asked {
    /// Does it change something?
    pub fn writes(&self) -> bool {
        matches!(self.request.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// What its body adds: a new object's name, and whether it is only tried.
    pub fn read(&mut self, body: &[u8]) {
        if !self.writes() {
            return;
        }
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return };
        self.name(text(&body, "metadata.name"));
        self.request.dry_run |= at(&body, "dryRun").as_array().is_some_and(|all| !all.is_empty());
    }

    fn name(&mut self, name: &str) {
        if let Some(object) = self.object.as_mut().filter(|o| o.name.is_empty()) {
            object.name = name.into();
        }
    }
}

fn revision(object: &Value) -> Option<u64> {
    text(object, "metadata.resourceVersion").parse().ok()
}

fn key(object: &ObjectRef) -> Key {
    (object.qualified(), object.namespace.clone(), object.name.clone())
}

impl Witness {
    /// `tap` is at the API server's place.
    pub fn new(tap: Tap, rng: Rng) -> Witness {
        Witness { tap, rng: Arc::new(rng), known: Arc::default() }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come, from whoever owns that certificate, or acts as somebody else.
    pub fn asked(&self, user: &str, info: &Info, query: &Query, headers: &HeaderMap) -> Asked {
        let header =
            |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_string();
        let (user, impersonator) = match header("impersonate-user") {
            other if other.is_empty() => (user.to_string(), other),
            other => (other, user.to_string()),
        };
        let object = info.is_resource.then(|| ObjectRef {
            group: info.custom_group().to_string(),
            ..ObjectRef::new(info.resource.as_str(), info.object_namespace(), info.name.as_str())
        });
        let before = object.as_ref().and_then(|o| self.known().newest.get(&key(o)).copied());
        let request = Request {
            id: self.rng.uuid(),
            user,
            impersonator,
            user_agent: header("user-agent"),
            session: header("kubectl-session"),
            command: header("kubectl-command"),
            verb: info.verb.clone(),
            subresource: info.subresource.clone(),
            code: 0,
            dry_run: is_dry_run(info, query) || is_trial(headers, info),
        };
        let table = header("accept").contains("as=Table");
        let [labels, fields] = ["labelSelector", "fieldSelector"].map(|key| query.get(key).to_string());
        let output = headers.contains_key("kubectl-output").then(|| header("kubectl-output"));
        let tail = query.get("tailLines").parse::<i64>().ok().filter(|_| info.subresource == "log");
        Asked { request, object, began: Instant::now(), before, table, labels, fields, output, tail }
    }

    /// It was answered; `answer` is what a write was answered with.
    pub fn answered(&self, mut asked: Asked, code: u16, answer: Option<&Value>) {
        let told = asked.writes()
            || !asked.request.session.is_empty()
            || (asked.object.is_some()
                && (tap::is_connection(&asked.request.subresource) || !is_own(&asked.request.user_agent)));
        if !told {
            return;
        }
        asked.request.code = code;
        let status = answer.is_some_and(|a| text(a, "kind") == "Status");
        let details = if status { "details.name" } else { "metadata.name" };
        asked.name(answer.map_or("", |a| text(a, details)));
        let mut record = Record::new("answer").took(asked.began.elapsed());
        let mut detail = json!({"verb": asked.request.verb});
        if asked.table {
            detail["table"] = true.into();
        }
        if let Some(output) = &asked.output {
            detail["output"] = output.as_str().into();
        }
        if let Some(lines) = asked.tail {
            detail["tail"] = lines.into();
        }
        for (name, text) in [("labels", &asked.labels), ("fields", &asked.fields)] {
            if !text.is_empty() {
                detail[name] = text.as_str().into();
            }
        }
        let selectors = [&asked.labels, &asked.fields];
        let selected: Vec<&str> =
            selectors.into_iter().filter(|s| !s.is_empty()).map(String::as_str).collect();
        if !selected.is_empty() {
            detail["selector"] = selected.join(",").into();
        }
        if let Some(tried) =
            answer.filter(|_| asked.request.dry_run && asked.request.verb != "get" && code < 400)
        {
            detail["tried"] = tried.clone();
        }
        if let Some(why) = answer.filter(|_| status && code >= 400).map(|a| text(a, "message")) {
            detail["message"] = why.into();
        }
        let wrote = code < 400 && !asked.request.dry_run && asked.request.verb != "deletecollection";
        let made = answer.filter(|_| wrote && !status).and_then(revision);
        if let (Some(object), Some(made)) = (&asked.object, made.filter(|made| Some(*made) != asked.before)) {
            record.revision = Some(made);
            let mut known = self.known();
            let newest = known.newest.entry(key(object)).or_default();
            *newest = made.max(*newest);
        }
        record.object = asked.object;
        record.request = Some(asked.request);
        self.tap.emit(record.detail(detail));
    }

    /// A watch has shown a version.
    pub fn saw(&self, seen: Seen<'_>) {
        let Seen { how, plural, object } = seen;
        let about = ObjectRef::new(plural, text(object, "metadata.namespace"), text(object, "metadata.name"));
        let revision = revision(object).unwrap_or_default();
        let key = key(&about);
        let detail = {
            let mut known = self.known();
            let newest = known.newest.entry(key.clone()).or_default();
            *newest = revision.max(*newest);
            match how {
                How::There => {
                    known.live.insert(key);
                    return;
                }
                How::Put => match known.live.insert(key) {
                    true => json!({"created": true}),
                    false => json!({}),
                },
                How::Gone => {
                    known.live.remove(&key);
                    known.newest.remove(&key);
                    json!({"deleted": true})
                }
            }
        };
        let mut record = Record::new("commit").revision(revision).detail(detail);
        record.object = Some(about);
        record.body = Some(object.to_string().into());
        self.tap.emit(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(witness: &Witness, method: &str, url: &str, body: &str) -> Asked {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let query = Query::parse(Some(query));
        let info = Info::parse(&method.parse().unwrap(), path, &query);
        let mut asked = witness.asked("learner", &info, &query, &HeaderMap::new());
        asked.read(body.as_bytes());
        asked
    }
    fn pod(revision: &str) -> Value {
        json!({"kind": "Pod", "metadata": {"namespace": "n", "name": "p", "resourceVersion": revision}})
    }

    #[test]
    fn a_write_is_told_with_the_revision_that_it_made_and_a_refusal_with_its_name() {
        let tap = Tap::new();
        let witness = Witness::new(tap.at("far", "kube-apiserver"), Rng::seeded(1));
        let create = |w: &Witness| {
            ask(w, "POST", "/api/v1/namespaces/n/pods", &json!({"metadata": {"name": "p"}}).to_string())
        };
        witness.answered(create(&witness), 201, Some(&pod("7")));
        let refused =
            json!({"kind": "Status", "message": "pods \"p\" already exists", "details": {"name": "p"}});
        witness.answered(create(&witness), 409, Some(&refused));
        // The same version again: nothing was written.
        let patch = ask(&witness, "PATCH", "/api/v1/namespaces/n/pods/p", "{}");
        witness.answered(patch, 200, Some(&pod("7")));
        let tried = ask(&witness, "PATCH", "/api/v1/namespaces/n/pods/p?dryRun=All", "{}");
        witness.answered(tried, 200, Some(&pod("9")));
        let told: Vec<_> = tap
            .since(0)
            .iter()
            .map(|r| {
                let request = r.request.clone().unwrap();
                (r.object.clone().unwrap().name, request.code, request.dry_run, r.revision)
            })
            .collect();
        let p = || "p".to_string();
        assert_eq!(
            told,
            [
                (p(), 201, false, Some(7)),
                (p(), 409, false, None),
                (p(), 200, false, None),
                (p(), 200, true, None)
            ]
        );
        assert_eq!(tap.since(0)[1].detail["message"], "pods \"p\" already exists");
    }

    #[test]
    fn how_much_of_a_log_was_asked_for_is_told() {
        let tap = Tap::new();
        let witness = Witness::new(tap.at("far", "kube-apiserver"), Rng::seeded(1));
        for query in ["tailLines=0", "follow=true"] {
            let asked = ask(&witness, "GET", &format!("/api/v1/namespaces/n/pods/p/log?{query}"), "");
            witness.answered(asked, 200, None);
        }
        let told: Vec<Option<i64>> = tap.since(0).iter().map(|r| r.detail["tail"].as_i64()).collect();
        assert_eq!(told, [Some(0), None]);
    }

    #[test]
    fn a_watch_shows_what_comes_changes_and_goes() {
        let tap = Tap::new();
        let witness = Witness::new(tap.at("far", "kube-apiserver"), Rng::seeded(1));
        for (how, revision) in [(How::There, "5"), (How::Put, "6"), (How::Gone, "7"), (How::Put, "8")] {
            witness.saw(Seen { how, plural: "pods", object: &pod(revision) });
        }
        let told: Vec<Value> = tap.since(0).iter().map(|r| r.detail.clone()).collect();
        assert_eq!(told, [json!({}), json!({"deleted": true}), json!({"created": true})]);
        assert!(tap.since(0).iter().all(|r| r.body.is_some()));
    }
}
