//! The objects and records that an explanation rests on.

use crate::cel::facts::{Objects, named, within};
use crate::observe::lists::{Asked, Custom, snapshot};
use crate::observe::watch;
use api::kinds::{self, Kind};
use api::labels::Selector;
use api::meta;
use api::value::at;
use client::Client;
use client::kube::api::ListParams;
use clock::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tap::{Record, Request};

/// Kinds that explanations look at, by their plurals.
pub(super) const USUAL: &[&str] = &[
    "pods",
    "services",
    "nodes",
    "namespaces",
    "events",
    "persistentvolumeclaims",
    "configmaps",
    "secrets",
    "endpointslices",
    "deployments",
    "replicasets",
    "daemonsets",
    "storageclasses",
    "customresourcedefinitions",
    "leases",
];

/// Kinds whose objects may be meant by a bare name; the first that has one of this name is.
pub(super) const BARE: &[&str] = &[
    "deployments",
    "services",
    "pods",
    "replicasets",
    "daemonsets",
    "nodes",
    "persistentvolumeclaims",
    "statefulsets",
    "jobs",
    "cronjobs",
    "ingresses",
    "replicationcontrollers",
    "persistentvolumes",
    "configmaps",
    "secrets",
    "serviceaccounts",
    "namespaces",
];

/// A moment of the cluster.
#[derive(Default)]
pub(crate) struct Facts {
    /// A snapshot by [`key`]. A kind that was not read, or could not be, is missing: nothing is
    /// known of it.
    pub objects: HashMap<String, Objects>,
    /// Oldest first.
    pub records: Vec<Arc<Record>>,
    pub now: Timestamp,
    /// An open lab asks the learner for the cause.
    pub asks_cause: bool,
}

impl Facts {
    /// Reads what explanations look at, and the kinds that the question names or, if it names none,
    /// those that the last command was about. What cannot be read is missing, and nothing is said
    /// of it.
    pub(crate) async fn gather(
        client: &Client,
        about: &[String],
        records: Vec<Arc<Record>>,
        now: Timestamp,
    ) -> Facts {
        let touched = if about.is_empty() { touched(&records) } else { vec![] };
        let objects = snapshot(client, kinds_to_read(about, &touched)).await;
        let mut facts = Facts { objects, records, now, ..Facts::default() };
        // Where the objects of a custom resource are stands in its definition.
        let customs: BTreeMap<String, Asked> = words(about, &touched)
            .filter(|word| kind(word).is_none())
            .filter_map(|word| facts.custom(word))
            .map(|custom| (custom.qualified, (custom.resource, ListParams::default())))
            .collect();
        facts.objects.extend(snapshot(client, customs).await);
        facts
    }

    /// The custom resource that a word means: its plural, singular or short name, also with its
    /// group.
    pub(super) fn custom(&self, word: &str) -> Option<Custom> {
        let word = word.to_lowercase();
        self.all("customresourcedefinitions").map(Custom::of).find(|custom| custom.is_called(&word))
    }

    /// The objects of a resource, by its plural, that of a custom resource with its group.
    fn objects(&self, resource: &str) -> Option<&Objects> {
        self.objects.get(&key(resource))
    }

    /// Returns whether the objects of this resource were read.
    pub(crate) fn knows(&self, resource: &str) -> bool {
        self.objects(resource).is_some()
    }

    /// All objects of a resource; none if they were not read.
    pub(crate) fn all(&self, resource: &str) -> impl Iterator<Item = &Value> {
        self.within(resource, "*")
    }

    /// The objects of a resource in one namespace, or in all (`*`).
    pub(crate) fn within(&self, resource: &str, namespace: &str) -> impl Iterator<Item = &Value> {
        let all = self.objects(resource).into_iter();
        all.flat_map(move |all| within(all, namespace, None)).map(|object| &*object.json)
    }

    /// The object of this name in the namespace, or in none if its kind has no namespaces.
    pub(crate) fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<&Value> {
        let all = self.objects(resource)?;
        named(all, namespace, name).or_else(|| named(all, "", name)).map(|object| &*object.json)
    }

    /// Events about an object, which they name by its uid.
    pub(crate) fn events<'a>(&'a self, object: &'a Value) -> impl Iterator<Item = &'a Value> {
        self.all("events").filter(move |e| at(e, "involvedObject.uid").as_str() == Some(meta::uid(object)))
    }

    /// The pods that a selector of `matchLabels` form names.
    pub(crate) fn selected(&self, namespace: &str, selector: &Value) -> Vec<&Value> {
        let (Some(all), Some(selector)) = (self.objects("pods"), Selector::of_map(selector)) else {
            return vec![];
        };
        within(all, namespace, Some(&selector)).map(|object| &*object.json).collect()
    }

    /// Objects that this one controls.
    pub(crate) fn owned(&self, resource: &str, owner: &Value) -> Vec<&Value> {
        let uid = meta::uid(owner);
        let owns = |o: &&Value| meta::controller(o).is_some_and(|by| by["uid"].as_str() == Some(uid));
        self.within(resource, meta::namespace(owner)).filter(owns).collect()
    }

    /// The write that deleted the last object of this name, as the API server recorded it: for one
    /// that was given time to end, the write that gave it.
    pub(crate) fn deletion(&self, plural: &str, namespace: &str, name: &str) -> Option<&Record> {
        let about = |r: &&Arc<Record>| {
            let object = r.object.as_ref();
            object.is_some_and(|o| o.name == name && o.namespace == namespace && o.qualified() == plural)
        };
        let about = self.records.iter().rev().filter(about);
        let writes = about.filter_map(|r| r.write().map(|write| (r, write)));
        let life = writes.take_while(|(_, write)| !write.created);
        life.filter(|(_, write)| write.deleted || write.deleting).last().map(|(r, _)| &**r)
    }

    /// Returns whether a write belongs to the newest step, which `undo` takes back first: no person
    /// has written with another command since.
    pub(crate) fn is_of_last_step(&self, write: &Record) -> bool {
        let is_persons = |record: &Record| record.request.as_ref().is_some_and(Request::is_persons);
        let mut writes = self.records.iter().rev().filter(|record| record.write().is_some());
        let newest = writes.find(|record| is_persons(record));
        is_persons(write) && newest.is_some_and(|newest| step_of(newest) == step_of(write))
    }
}

/// Names the step that a write belongs to, which `undo` takes back as one: all writes of a session,
/// or the write alone if its client sends no session.
fn step_of(write: &Record) -> Option<&str> {
    let request = write.request.as_ref()?;
    Some(if request.session.is_empty() { request.id.as_str() } else { request.session.as_str() })
}

/// The resources that the last command of a person was about, custom ones with their group: what it
/// left behind is explained.
fn touched(records: &[Arc<Record>]) -> Vec<String> {
    let Some(session) = last_session(records) else { return vec![] };
    let own = records.iter().filter(|r| r.request.as_ref().is_some_and(|q| q.session == session));
    own.filter_map(|r| r.object.as_ref()).map(tap::ObjectRef::qualified).collect()
}

/// The session of the newest request of a person: all requests of one command have it.
pub(super) fn last_session(records: &[Arc<Record>]) -> Option<&str> {
    let persons = |r: &Arc<Record>| {
        let request = r.request.as_ref().filter(|q| q.is_persons() && !q.session.is_empty());
        request.is_some()
    };
    let newest = records.iter().rev().find(|r| persons(r))?;
    newest.request.as_ref().map(|request| request.session.as_str())
}

/// The words of a question that may name a kind.
fn words<'a>(about: &'a [String], touched: &'a [String]) -> impl Iterator<Item = &'a str> {
    about.iter().flat_map(|word| word.split('/')).chain(touched.iter().map(String::as_str))
}

/// What is read for a question: `statefulset/web` asks for one kind more than usual. `touched`:
/// further kinds by their plural.
fn kinds_to_read(about: &[String], touched: &[String]) -> BTreeMap<String, Asked> {
    let usual = USUAL.iter().copied().chain(words(about, touched));
    let mut asked: BTreeMap<String, Asked> = usual
        .filter_map(kind)
        .filter(|kind| kind.is_stored())
        .map(|kind| (kind.qualified(), (watch::resource(kind), ListParams::default())))
        .collect();
    if let [name] = about
        && !name.contains(['/', ':'])
    {
        // Of kinds that are not read as a rule, only objects of this name.
        let named = ListParams::default().fields(&format!("metadata.name={}", escaped(name)));
        for kind in BARE.iter().filter_map(|plural| kind(plural)) {
            asked.entry(kind.qualified()).or_insert_with(|| (watch::resource(kind), named.clone()));
        }
    }
    asked
}

/// A value in a field selector: the selector's own signs have a backslash before them. Unescaped,
/// the server would refuse to read it. Source: `fields.EscapeValue`.
///
/// Example: `why web,db` names the object `web,db`, which does not exist: `web\,db`.
fn escaped(value: &str) -> String {
    let mut text = String::new();
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// The key of a resource among the objects: the qualified plural, as lessons and labs have it. A
/// custom resource is called so already.
///
/// Example: `deployments` → `deployments.apps`.
pub(super) fn key(resource: &str) -> String {
    kind(resource).map_or_else(|| resource.to_string(), Kind::qualified)
}

/// `po`, `pod`, `Pod`, `pods` → the kind; also with its group, as kubectl prints it, or with its
/// version and group.
///
/// Example: `deployment.apps` and `deployments.v1.apps` are `deployments`, and
/// `pods.metrics.k8s.io` is none of the stored kinds.
pub(crate) fn kind(word: &str) -> Option<&'static Kind> {
    let word = word.to_lowercase();
    let (name, of) = word.split_once('.').map_or((word.as_str(), None), |(name, of)| (name, Some(of)));
    let is_named = |k: &Kind| k.plural == name || k.singular == name || k.short_names.contains(&name);
    let is_of = |k: &Kind, of: &str| {
        let version = of.strip_prefix(k.version).and_then(|rest| rest.strip_prefix('.'));
        k.is_stored() && (of == k.group || version == Some(k.group))
    };
    kinds::all().iter().find(|k| is_named(k) && of.is_none_or(|of| is_of(k, of)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_that_is_asked_for_is_read_too() {
        let which = |asked: &BTreeMap<String, Asked>, key: &str| asked[key].1.field_selector.clone();
        let usual = kinds_to_read(&[], &[]);
        assert!(!usual.contains_key("statefulsets.apps") && which(&usual, "pods").is_none());
        assert_eq!(usual.len(), USUAL.len(), "each is a kind");
        for about in [
            vec!["sts/web".to_string()],
            vec!["shop/statefulset/web".into()],
            vec!["sts".into(), "web".into()],
            vec!["statefulset.apps/web".into()],
        ] {
            let all = kinds_to_read(&about, &[]);
            assert_eq!(all["statefulsets.apps"].0.api_version, "apps/v1", "{about:?}");
            assert_eq!(which(&all, "statefulsets.apps"), None, "{about:?}");
        }
        let bare = kinds_to_read(&["web".into()], &[]);
        assert!(BARE.iter().all(|plural| bare.contains_key(&key(plural))));
        assert_eq!(which(&bare, "statefulsets.apps").as_deref(), Some("metadata.name=web"));
        assert_eq!(which(&bare, "pods"), None);
        assert!(!kinds_to_read(&["localhost:80".into()], &[]).contains_key("statefulsets.apps"), "a port");
        for odd in ["web,db", "app=web", "a\\b"] {
            let asked = kinds_to_read(&[odd.to_string()], &[]);
            let selector = asked["statefulsets.apps"].1.field_selector.clone().unwrap();
            let read = api::fields::FieldSelector::parse(&selector, &[]).unwrap();
            assert_eq!(read.name(), Some(odd), "{selector}");
        }
    }

    /// kubectl prints `deployment.apps/web created`.
    #[test]
    fn a_kind_may_be_called_with_its_group() {
        let called = |word: &str| kind(word).map(Kind::qualified).unwrap_or_default();
        for (words, found) in [
            (&["deployment.apps", "deploy.apps", "Deployments.v1.apps"][..], "deployments.apps"),
            (&["po", "pods.v1."], "pods"),
            (&["deployments.example.com", "deployments.v9.apps", "pods.metrics.k8s.io", ".apps"], ""),
        ] {
            for word in words {
                assert_eq!(called(word), found, "{word}");
            }
        }
    }

    /// The group and the version of a custom resource stand in its definition.
    #[tokio::test]
    async fn objects_of_a_custom_resource_are_read_where_they_are() {
        let definition = serde_json::json!({"spec": {"group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"]},
            "versions": [{"name": "v1beta1", "served": false}, {"name": "v1", "served": true}]}});
        let server = client::testing::Scripted::new(move |request| {
            let items = match request.line.as_str() {
                "GET /apis/apiextensions.k8s.io/v1/customresourcedefinitions" => vec![definition.clone()],
                "GET /apis/stable.example.com/v1/crontabs" => {
                    vec![serde_json::json!({"metadata": {"name": "x", "namespace": "default"}})]
                }
                _ => vec![],
            };
            Some((200, serde_json::json!({"items": items})))
        });
        let client = server.await.client;
        let tap = tap::Tap::new();
        let mut record = Record::new(tap::Event::Commit(tap::Write::CREATED));
        record = record.object("crontabs", "default", "x").group("stable.example.com");
        let (user, session) = (tap::LEARNER.to_string(), "1".to_string());
        record.request = Some(tap::Request { user, session, ..Default::default() });
        tap.emit(record);
        for about in [vec![], vec!["ct/x".to_string()], vec!["CronTab".into(), "x".into()]] {
            let facts = Facts::gather(&client, &about, tap.since(0), clock::now()).await;
            assert!(facts.find("crontabs.stable.example.com", "default", "x").is_some(), "{about:?}");
        }
    }

    /// `kubectl create -f job.yaml`, then `why`: the Job is explained, so it has to be read.
    #[test]
    fn what_the_last_command_was_about_is_read_too() {
        let tap = tap::Tap::new();
        let emit = |user: &str, session: &str, resource: &str| {
            let mut record = Record::new(tap::Event::Commit(tap::Write::CREATED));
            record = record.object(resource, "default", "web");
            let (user, session) = (user.to_string(), session.to_string());
            record.request = Some(tap::Request { user, session, ..Default::default() });
            tap.emit(record);
        };
        emit(tap::LEARNER, "1", "cronjobs");
        emit(tap::LEARNER, "2", "jobs");
        emit("system:kube-controller-manager", "", "statefulsets");
        let touched = touched(&tap.since(0));
        assert_eq!(touched, ["jobs"]);
        let read = kinds_to_read(&[], &touched);
        assert_eq!(read["jobs.batch"].0.api_version, "batch/v1");
        assert!(!read.contains_key("cronjobs.batch") && !read.contains_key("statefulsets.apps"));
    }
}
