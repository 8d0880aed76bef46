//! The objects and records that an explanation rests on.

use crate::observe::lists::{Custom, path, read};
use api::kinds::{self, Kind};
use api::meta;
use api::value::{at, list};
use client::Client;
use clock::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use tap::Record;

/// Kinds that explanations look at, as API paths.
pub(super) const LISTS: &[(&str, &str)] = &[
    ("pods", "/api/v1/pods"),
    ("services", "/api/v1/services"),
    ("nodes", "/api/v1/nodes"),
    ("namespaces", "/api/v1/namespaces"),
    ("events", "/api/v1/events"),
    ("persistentvolumeclaims", "/api/v1/persistentvolumeclaims"),
    ("configmaps", "/api/v1/configmaps"),
    ("secrets", "/api/v1/secrets"),
    ("endpointslices", "/apis/discovery.k8s.io/v1/endpointslices"),
    ("deployments", "/apis/apps/v1/deployments"),
    ("replicasets", "/apis/apps/v1/replicasets"),
    ("daemonsets", "/apis/apps/v1/daemonsets"),
    ("storageclasses", "/apis/storage.k8s.io/v1/storageclasses"),
    ("customresourcedefinitions", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
    ("leases", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"),
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
    /// By plural. A kind that was not read, or could not be, is missing: nothing is known of it.
    pub objects: BTreeMap<String, Vec<Value>>,
    /// Oldest first.
    pub records: Vec<Arc<Record>>,
    pub now: Timestamp,
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
        let objects = read(client, lists(about, &touched)).await;
        let mut facts = Facts { objects, records, now };
        // Where the objects of a custom resource are stands in its definition.
        let customs: BTreeMap<String, String> = words(about, &touched)
            .filter(|word| kind(word).is_none())
            .filter_map(|word| facts.custom(word))
            .map(|custom| (custom.resource, custom.path))
            .collect();
        facts.objects.extend(read(client, customs).await);
        facts
    }

    /// The custom resource that a word means: its plural, singular or short name, also with its
    /// group.
    pub(super) fn custom(&self, word: &str) -> Option<Custom> {
        let word = word.to_lowercase();
        self.all("customresourcedefinitions").iter().map(Custom::of).find(|custom| custom.is_called(&word))
    }

    /// Were the objects of this kind read?
    pub(crate) fn knows(&self, plural: &str) -> bool {
        self.objects.contains_key(plural)
    }

    /// All objects of a kind, by its plural; none if they were not read.
    pub(crate) fn all(&self, plural: &str) -> &[Value] {
        self.objects.get(plural).map_or(&[], Vec::as_slice)
    }

    /// The objects of a kind in one namespace.
    pub(crate) fn within<'a>(&'a self, plural: &str, namespace: &'a str) -> impl Iterator<Item = &'a Value> {
        self.all(plural).iter().filter(move |o| meta::namespace(o) == namespace)
    }

    /// The object of this name in the namespace, or in none if its kind has no namespaces.
    pub(crate) fn find(&self, plural: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.all(plural).iter().find(|o| {
            meta::name(o) == name && (meta::namespace(o) == namespace || meta::namespace(o).is_empty())
        })
    }

    /// Events about an object, oldest first.
    pub(crate) fn events<'a>(&'a self, object: &'a Value) -> impl Iterator<Item = &'a Value> {
        self.all("events")
            .iter()
            .filter(move |e| at(e, "involvedObject.uid").as_str() == Some(meta::uid(object)))
    }

    /// The pods that a selector of `matchLabels` form names.
    pub(crate) fn selected<'a>(&'a self, namespace: &'a str, selector: &'a Value) -> Vec<&'a Value> {
        let wanted = selector.as_object();
        let matches = |pod: &&Value| {
            wanted.is_some_and(|w| !w.is_empty() && w.iter().all(|(k, v)| meta::label(pod, k) == v.as_str()))
        };
        self.within("pods", namespace).filter(matches).collect()
    }

    /// Pods whose owner is this object.
    pub(crate) fn owned<'a>(&'a self, plural: &str, owner: &'a Value) -> Vec<&'a Value> {
        let owns = |o: &&Value| {
            list(o, "metadata.ownerReferences").iter().any(|r| r["uid"].as_str() == Some(meta::uid(owner)))
        };
        self.within(plural, meta::namespace(owner)).filter(owns).collect()
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

/// Plurals and paths of what is read for a question: `statefulset/web` asks for one more than
/// usual. `touched`: further kinds by their plural.
fn lists(about: &[String], touched: &[String]) -> BTreeMap<String, String> {
    let mut lists: BTreeMap<String, String> =
        LISTS.iter().map(|(plural, path)| (plural.to_string(), path.to_string())).collect();
    for kind in words(about, touched).filter_map(kind).filter(|kind| kind.is_stored()) {
        lists.entry(kind.plural.into()).or_insert(path(kind));
    }
    if let [name] = about
        && !name.contains(['/', ':'])
    {
        // Of kinds that are not read as a rule, only objects of this name.
        let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
        for kind in BARE.iter().filter_map(|plural| kind(plural)) {
            let path = format!("{}?fieldSelector=metadata.name%3D{name}", path(kind));
            lists.entry(kind.plural.into()).or_insert(path);
        }
    }
    lists
}

/// `po`, `pod`, `Pod`, `pods` → the kind.
pub(crate) fn kind(word: &str) -> Option<&'static Kind> {
    let word = word.to_lowercase();
    let named = |k: &&Kind| k.plural == word || k.singular == word || k.short_names.contains(&word.as_str());
    kinds::all().iter().find(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_that_is_asked_for_is_read_too() {
        let usual = lists(&[], &[]);
        assert!(!usual.contains_key("statefulsets") && usual["pods"] == "/api/v1/pods");
        for about in [
            vec!["sts/web".to_string()],
            vec!["shop/statefulset/web".into()],
            vec!["sts".into(), "web".into()],
        ] {
            assert_eq!(lists(&about, &[])["statefulsets"], "/apis/apps/v1/statefulsets", "{about:?}");
        }
        assert_eq!(lists(&["lease".into(), "x".into()], &[])["leases"], usual["leases"], "as it was");
        let bare = lists(&["web".into()], &[]);
        assert!(BARE.iter().all(|plural| bare.contains_key(*plural)));
        let sets = "/apis/apps/v1/statefulsets?fieldSelector=metadata.name%3Dweb";
        assert_eq!((bare["statefulsets"].as_str(), &bare["pods"]), (sets, &usual["pods"]));
        assert!(!lists(&["localhost:80".into()], &[]).contains_key("statefulsets"), "a port");
    }

    /// The group and the version of a custom resource stand in its definition.
    #[tokio::test]
    async fn objects_of_a_custom_resource_are_read_where_they_are() {
        let definition = serde_json::json!({"spec": {"group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"]},
            "versions": [{"name": "v1beta1", "served": false}, {"name": "v1", "served": true}]}});
        let server = client::testing::Scripted::new(move |asked| {
            let items = match asked.line.as_str() {
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
        let read = lists(&[], &touched);
        assert_eq!(read["jobs"], "/apis/batch/v1/jobs");
        assert!(!read.contains_key("cronjobs") && !read.contains_key("statefulsets"));
    }
}
