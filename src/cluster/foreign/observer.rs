//! Records what can be known of a foreign cluster: the requests that pass the relay, and the
//! versions of objects that a watch sees. Both go to a tap, in the shape in which an API server of
//! our own would record them.
//!
//! A version shows the object, not who wrote it. The answer to a write names the version that it
//! made, so a reader of the tap that keeps both knows the writer too.

use crate::guest::Seen;
use api::value::{at, text};
use apiserver::Info;
use apiserver::http::Query;
use apiserver::{exec_words, is_dry_run, is_own, is_trial};
use client::Delta;
use clock::Instant;
use http::HeaderMap;
use parking_lot::Mutex;
use rng::Rng;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tap::{self, Answer, Event, ObjectRef, Record, Request, Tap, Write};

/// Objects that are remembered though no watch shows them, at most.
const UNWATCHED_MAX: usize = 4096;

type Key = (String, String, String);

/// Records requests and versions on a tap. Cheap to clone.
#[derive(Clone)]
pub(super) struct Observer {
    tap: Tap,
    rng: Arc<Rng>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// The newest revision of each object that an answer or a watch has shown.
    newest: HashMap<Key, u64>,
    /// Objects that a watch has shown and not yet seen go, with their uid: the end of an object is
    /// not heard when its watch ends first, and the next one may have the same name.
    live: HashMap<Key, String>,
}

impl Known {
    /// Forgets the objects that no watch has shown if there are more than so many: nothing tells
    /// that one of them is gone.
    fn forget_unwatched(&mut self, most: usize) {
        if self.newest.len() > self.live.len() + most {
            let live = &self.live;
            self.newest.retain(|key, _| live.contains_key(key));
        }
    }

    /// Notes a version that a watch shows; returns the uid of the object of this name that a watch
    /// has shown before.
    fn show(&mut self, key: Key, object: &Value) -> Option<String> {
        let newest = self.newest.entry(key.clone()).or_default();
        *newest = revision(object).unwrap_or_default().max(*newest);
        self.live.insert(key, text(object, "metadata.uid").to_string())
    }

    /// Takes over a complete list of a kind, in this namespace or in all: an object that a watch
    /// has shown there and that is not listed is gone.
    fn replace(&mut self, kind: &str, namespace: Option<&str>, listed: &[(Key, &Value)]) {
        let there: HashSet<&Key> = listed.iter().map(|(key, _)| key).collect();
        let is_in_scope = |key: &Key| key.0 == kind && namespace.is_none_or(|only| key.1 == only);
        let newest = &mut self.newest;
        self.live.retain(|key, _| {
            let is_gone = is_in_scope(key) && !there.contains(key);
            if is_gone {
                newest.remove(key);
            }
            !is_gone
        });
        for (key, object) in listed {
            self.show(key.clone(), object);
        }
    }

    fn forget_namespace(&mut self, namespace: &str) {
        self.live.retain(|key, _| key.1 != namespace);
        self.newest.retain(|key, _| key.1 != namespace);
    }
}

/// A request on its way.
pub(super) struct Asked {
    request: Request,
    object: Option<ObjectRef>,
    began: Instant,
    /// The object's newest revision when the request came: an answer that shows the same wrote
    /// nothing.
    before: Option<u64>,
    /// A table was asked for, as `kubectl get` prints it.
    table: bool,
    /// Label and field selectors, and how kubectl prints the answer; empty: none.
    labels: String,
    fields: String,
    /// The value of kubectl's `-o`; `None`: the client does not say.
    output: Option<String>,
    /// `--ignore-not-found`
    silent: bool,
    /// `--watch`
    watch: bool,
    /// Where the output went if the learner did not see it.
    unseen: String,
    /// How many of a log's lines were asked for.
    tail: Option<i64>,
    /// The words of a command in a container.
    argv: Vec<String>,
}

impl Asked {
    /// Returns whether it changes something.
    pub(super) fn writes(&self) -> bool {
        matches!(self.request.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Returns whether it is a write whose answer is an object. The answer to a connection to a
    /// pod, or through a proxy, is that program's own, and may have no end.
    pub(super) fn is_answered_with_an_object(&self) -> bool {
        self.writes() && !tap::is_connection(&self.request.subresource)
    }

    /// Takes over what its body adds: a new object's name, and whether it is only tried.
    pub(super) fn read(&mut self, body: &[u8]) {
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

impl Observer {
    /// Makes an observer that has seen nothing yet. `tap`: its records are the API server's.
    pub(super) fn new(tap: Tap, rng: Rng) -> Observer {
        Observer { tap, rng: Arc::new(rng), known: Arc::default() }
    }

    fn known(&self) -> parking_lot::MutexGuard<'_, Known> {
        self.known.lock()
    }

    /// Notes a request of the certificate's user, who may impersonate another user.
    pub(super) fn asked(&self, user: &str, info: &Info, query: &Query, headers: &HeaderMap) -> Asked {
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
            inside: false, // its own pods call it elsewhere
            code: 0,
            dry_run: is_dry_run(info, query) || is_trial(headers, info),
        };
        let table = header("accept").contains("as=Table");
        let [labels, fields] = ["labelSelector", "fieldSelector"].map(|key| query.get(key).to_string());
        let output = headers.contains_key("kubectl-output").then(|| header("kubectl-output"));
        let tail = query.get("tailLines").parse::<i64>().ok().filter(|_| info.subresource == "log");
        let (silent, watch) = (!header("kubectl-ignore-not-found").is_empty(), header("kubectl-watch"));
        let unseen = tap::unseen(&info.verb, &watch, &header("kubectl-unseen")).to_string();
        let argv = exec_words(&info.subresource, query);
        let (began, watch) = (Instant::now(), !watch.is_empty());
        Asked {
            request,
            object,
            began,
            before,
            table,
            labels,
            fields,
            output,
            silent,
            watch,
            unseen,
            tail,
            argv,
        }
    }

    /// Records the answer to a request. `answer` is the body that a write was answered with.
    pub(super) fn answered(&self, mut asked: Asked, code: u16, answer: Option<&Value>) {
        let is_recorded = asked.writes()
            || !asked.request.session.is_empty()
            || (asked.object.is_some()
                && (tap::is_connection(&asked.request.subresource) || !is_own(&asked.request.user_agent)));
        if !is_recorded {
            return;
        }
        asked.request.code = code;
        let status = answer.is_some_and(|a| text(a, "kind") == "Status");
        let details = if status { "details.name" } else { "metadata.name" };
        asked.name(answer.map_or("", |a| text(a, details)));
        // As at home: a deletion makes nothing, and a Status is no object.
        let makes = matches!(asked.request.verb.as_str(), "create" | "update" | "patch") && !status;
        let tried = asked.request.dry_run && makes && code < 400;
        let message = answer.filter(|_| status && code >= 400).map_or("", |a| text(a, "message"));
        let selectors = [asked.labels.as_str(), asked.fields.as_str()];
        let selected: Vec<&str> = selectors.into_iter().filter(|s| !s.is_empty()).collect();
        let event = Event::Answer(Box::new(Answer {
            verb: asked.request.verb.clone(),
            message: message.to_string(),
            table: asked.table,
            output: asked.output.clone(),
            silent: asked.silent,
            watch: asked.watch,
            unseen: asked.unseen.clone(),
            tail: asked.tail,
            argv: asked.argv.clone(),
            empty: false,    // what a log holds is not looked at here
            from_pod: false, // nor whose answer came back through a proxy
            tried: answer.filter(|_| tried).cloned(),
            labels: asked.labels.clone(),
            fields: asked.fields.clone(),
            selector: selected.join(","),
        }));
        let mut record = Record::new(event).took(asked.began.elapsed());
        let wrote = code < 400 && !asked.request.dry_run && asked.request.verb != "deletecollection";
        let made = answer.filter(|_| wrote && !status).and_then(revision);
        if let (Some(object), Some(made)) = (&asked.object, made.filter(|made| Some(*made) != asked.before)) {
            record.revision = Some(made);
            let mut known = self.known();
            let newest = known.newest.entry(key(object)).or_default();
            *newest = made.max(*newest);
            known.forget_unwatched(UNWATCHED_MAX);
        }
        record.object = asked.object;
        record.request = Some(asked.request);
        self.tap.emit(record);
    }

    /// Forgets the objects of an earlier namespace of this name, whose end no watch has shown. Only
    /// while no watch shows the new one: the next version of an object that is forgotten is shown
    /// as its creation.
    pub(super) fn forget_namespace(&self, namespace: &str) {
        self.known().forget_namespace(namespace);
    }

    /// Notes a version that a watch has shown.
    pub(super) fn saw(&self, seen: Seen<'_>) {
        let about = |object: &Value| {
            ObjectRef::new(seen.plural, text(object, "metadata.namespace"), text(object, "metadata.name"))
        };
        let (object, write) = match seen.delta {
            // It was there when the watch began: the list does not say who wrote it, or when. Nor
            // does it show the last version of an object that went while the watch was down: that
            // end is no record, and the lesson engine hears of it from the same list.
            Delta::Replaced(objects) => {
                let listed: Vec<_> = objects.into_iter().map(|o| (key(&about(o)), o)).collect();
                self.known().replace(seen.plural, seen.namespace, &listed);
                return;
            }
            Delta::Updated(object) => {
                let before = self.known().show(key(&about(object)), object);
                let is_same = before.is_some_and(|uid| uid == text(object, "metadata.uid"));
                (object, if is_same { Write::UPDATED } else { Write::CREATED })
            }
            Delta::Deleted(object) => {
                let (mut known, key) = (self.known(), key(&about(object)));
                known.live.remove(&key);
                known.newest.remove(&key);
                (object, Write::DELETED)
            }
        };
        let mut record = Record::new(Event::Commit(write)).revision(revision(object).unwrap_or_default());
        record.object = Some(about(object));
        record.body = Some(object.to_string().into());
        self.tap.emit(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tap::Component;

    fn ask(observer: &Observer, method: &str, url: &str, body: &str) -> Asked {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let query = Query::parse(Some(query));
        let info = Info::parse(&method.parse().unwrap(), path, &query);
        let mut asked = observer.asked("learner", &info, &query, &HeaderMap::new());
        asked.read(body.as_bytes());
        asked
    }
    fn pod(revision: &str) -> Value {
        json!({"kind": "Pod", "metadata": {"namespace": "n", "name": "p", "resourceVersion": revision}})
    }

    #[test]
    fn a_write_is_recorded_with_the_revision_that_it_made_and_a_refusal_with_its_name() {
        let tap = Tap::new();
        let observer = Observer::new(tap.at("far", Component::ApiServer), Rng::seeded(1));
        let create = |w: &Observer| {
            ask(w, "POST", "/api/v1/namespaces/n/pods", &json!({"metadata": {"name": "p"}}).to_string())
        };
        observer.answered(create(&observer), 201, Some(&pod("7")));
        let refused =
            json!({"kind": "Status", "message": "pods \"p\" already exists", "details": {"name": "p"}});
        observer.answered(create(&observer), 409, Some(&refused));
        // The same version again: nothing was written.
        let patch = ask(&observer, "PATCH", "/api/v1/namespaces/n/pods/p", "{}");
        observer.answered(patch, 200, Some(&pod("7")));
        let tried = ask(&observer, "PATCH", "/api/v1/namespaces/n/pods/p?dryRun=All", "{}");
        observer.answered(tried, 200, Some(&pod("9")));
        let outcome = |at: usize| tap.since(0)[at].answer().unwrap().tried.clone();
        assert_eq!((outcome(2), outcome(3)), (None, Some(pod("9"))));
        let recorded: Vec<_> = tap
            .since(0)
            .iter()
            .map(|r| {
                let request = r.request.clone().unwrap();
                (r.object.clone().unwrap().name, request.code, request.dry_run, r.revision)
            })
            .collect();
        let p = || "p".to_string();
        assert_eq!(
            recorded,
            [
                (p(), 201, false, Some(7)),
                (p(), 409, false, None),
                (p(), 200, false, None),
                (p(), 200, true, None)
            ]
        );
        assert_eq!(tap.since(0)[1].answer().unwrap().message, "pods \"p\" already exists");
    }

    #[test]
    fn a_deletion_that_is_only_tried_makes_no_object() {
        let tap = Tap::new();
        let observer = Observer::new(tap.at("far", Component::ApiServer), Rng::seeded(1));
        let url = "/api/v1/namespaces/n/pods/p";
        let delete = ask(&observer, "DELETE", &format!("{url}?dryRun=All"), "");
        observer.answered(delete, 200, Some(&pod("9")));
        let evict = ask(&observer, "POST", &format!("{url}/eviction?dryRun=All"), "{}");
        observer.answered(evict, 201, Some(&json!({"kind": "Status", "status": "Success"})));
        let records = tap.since(0);
        assert_eq!(records.len(), 2);
        for record in records {
            assert!(record.request.as_ref().unwrap().dry_run && record.answer().unwrap().tried.is_none());
        }
    }

    #[test]
    fn what_a_pod_answers_through_a_proxy_is_not_read() {
        let observer = Observer::new(Tap::new().at("far", Component::ApiServer), Rng::seeded(1));
        let reads = |method: &str, url: &str| ask(&observer, method, url, "").is_answered_with_an_object();
        assert!(reads("POST", "/api/v1/namespaces/n/pods"));
        assert!(!reads("POST", "/api/v1/namespaces/n/pods/p/proxy/stream"));
        assert!(!reads("GET", "/api/v1/namespaces/n/pods"));
    }

    #[test]
    fn objects_that_no_watch_shows_are_remembered_within_a_bound() {
        let key = |name: String| ("pods".to_string(), "n".to_string(), name);
        let mut known = Known::default();
        for n in 0..10 {
            known.newest.insert(key(format!("unwatched{n}")), n);
            known.newest.insert(key(format!("live{n}")), n);
            known.live.insert(key(format!("live{n}")), String::new());
        }
        known.forget_unwatched(10);
        assert_eq!(known.newest.len(), 20);
        known.forget_unwatched(9);
        assert_eq!(known.newest.len(), 10);
        assert!(known.live.keys().all(|key| known.newest.contains_key(key)));
        known.live.insert(("nodes".into(), String::new(), "w".into()), String::new());
        known.forget_namespace("n");
        assert!(known.newest.is_empty() && known.live.len() == 1);
    }

    #[test]
    fn how_much_of_a_log_was_asked_for_is_recorded() {
        let tap = Tap::new();
        let observer = Observer::new(tap.at("far", Component::ApiServer), Rng::seeded(1));
        for query in ["tailLines=0", "follow=true"] {
            let asked = ask(&observer, "GET", &format!("/api/v1/namespaces/n/pods/p/log?{query}"), "");
            observer.answered(asked, 200, None);
        }
        let tails: Vec<Option<i64>> = tap.since(0).iter().map(|r| r.answer().unwrap().tail).collect();
        assert_eq!(tails, [Some(0), None]);
    }

    #[test]
    fn the_words_of_a_command_are_recorded() {
        let tap = Tap::new();
        let observer = Observer::new(tap.at("far", Component::ApiServer), Rng::seeded(1));
        for what in ["exec", "attach"] {
            let url = format!("/api/v1/namespaces/n/pods/p/{what}?command=ls&command=-l&stdout=1");
            observer.answered(ask(&observer, "POST", &url, ""), 101, None);
        }
        let words: Vec<usize> = tap.since(0).iter().map(|r| r.answer().unwrap().argv.len()).collect();
        assert_eq!(words, [2, 0]);
    }

    #[test]
    fn a_watch_shows_what_comes_changes_and_goes() {
        let tap = Tap::new();
        let observer = Observer::new(tap.at("far", Component::ApiServer), Rng::seeded(1));
        let (first, second, last, next) = (pod("5"), pod("6"), pod("7"), pod("8"));
        for delta in [
            Delta::Replaced(vec![&first]),
            Delta::Updated(&second),
            Delta::Deleted(&last),
            Delta::Updated(&next),
        ] {
            observer.saw(Seen { plural: "pods", namespace: None, delta });
        }
        let writes: Vec<Write> = tap.since(0).iter().filter_map(|r| r.write().cloned()).collect();
        assert_eq!(writes, [Write::UPDATED, Write::DELETED, Write::CREATED]);
        assert!(tap.since(0).iter().all(|r| r.body.is_some()));
    }

    /// A watch that was down lists anew: what is gone meanwhile is in no event.
    #[test]
    fn objects_that_a_new_list_does_not_show_are_forgotten() {
        let observer = Observer::new(Tap::new().at("far", Component::ApiServer), Rng::seeded(1));
        let object = |namespace: &str, name: &str| {
            let mut object = json!({"metadata": {"namespace": namespace, "name": name, "uid": name}});
            object["metadata"]["resourceVersion"] = "5".into();
            object
        };
        let list = |plural: &'static str, namespace: Option<&'static str>, all: &[Value]| {
            observer.saw(Seen { plural, namespace, delta: Delta::Replaced(all.iter().collect()) });
            let known = observer.known();
            assert_eq!(known.newest.len(), known.live.len());
            let mut names: Vec<String> = known.live.keys().map(|key| key.2.clone()).collect();
            names.sort();
            names.join(" ")
        };
        let [a, b, c] = [object("n", "a"), object("n", "b"), object("other", "c")];
        assert_eq!(list("pods", None, &[a.clone(), b, c]), "a b c");
        assert_eq!(list("services", None, &[object("n", "s")]), "a b c s", "another kind");
        assert_eq!(list("pods", Some("n"), &[a]), "a c s", "another namespace");
        assert_eq!(list("pods", None, &[]), "s");
    }

    /// The end of the first one is not heard: a lesson that is left ends its watches.
    #[test]
    fn an_object_of_the_same_name_and_another_uid_is_a_new_one() {
        let tap = Tap::new();
        let observer = Observer::new(tap.at("far", Component::ApiServer), Rng::seeded(1));
        for (revision, uid) in [("5", "first"), ("6", "first"), ("9", "second"), ("10", "second")] {
            let mut object = pod(revision);
            object["metadata"]["uid"] = uid.into();
            observer.saw(Seen { plural: "pods", namespace: None, delta: Delta::Updated(&object) });
        }
        let writes: Vec<Write> = tap.since(0).iter().filter_map(|r| r.write().cloned()).collect();
        assert_eq!(writes, [Write::CREATED, Write::UPDATED, Write::CREATED, Write::UPDATED]);
    }
}
