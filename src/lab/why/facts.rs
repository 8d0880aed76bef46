//! The objects and records that an explanation rests on.

use crate::api::kinds::{self, Kind};
use crate::api::meta;
use crate::api::value::{at, list};
use crate::client::Client;
use crate::clock::Timestamp;
use crate::tap::Record;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Kinds that explanations look at, as API paths.
const LISTS: &[(&str, &str)] = &[
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

/// A moment of the cluster.
#[derive(Default)]
pub struct Facts {
    /// By plural.
    pub objects: BTreeMap<String, Vec<Value>>,
    /// Oldest first.
    pub records: Vec<Arc<Record>>,
    pub now: Timestamp,
}

impl Facts {
    /// Reads everything. What cannot be read is missing, and nothing is said of it.
    pub async fn gather(client: &Client, records: Vec<Arc<Record>>, now: Timestamp) -> Facts {
        let mut objects = BTreeMap::new();
        for (plural, path) in LISTS {
            let Ok(request) = http::Request::get(*path).body(vec![]) else { continue };
            match client.kube().request::<Value>(request).await {
                Ok(mut found) => {
                    let items = found["items"].take();
                    objects.insert(plural.to_string(), items.as_array().cloned().unwrap_or_default());
                }
                Err(error) => tracing::debug!(%error, path, "cannot be read"),
            }
        }
        Facts { objects, records, now }
    }

    pub fn all(&self, plural: &str) -> &[Value] {
        self.objects.get(plural).map_or(&[], Vec::as_slice)
    }

    pub fn within<'a>(&'a self, plural: &str, namespace: &'a str) -> impl Iterator<Item = &'a Value> {
        self.all(plural).iter().filter(move |o| meta::namespace(o) == namespace)
    }

    pub fn find(&self, plural: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.all(plural).iter().find(|o| {
            meta::name(o) == name && (meta::namespace(o) == namespace || meta::namespace(o).is_empty())
        })
    }

    /// Events about an object, oldest first.
    pub fn events<'a>(&'a self, object: &'a Value) -> impl Iterator<Item = &'a Value> {
        self.all("events")
            .iter()
            .filter(move |e| at(e, "involvedObject.uid").as_str() == Some(meta::uid(object)))
    }

    /// The pods that a selector of `matchLabels` form names.
    pub fn selected<'a>(&'a self, namespace: &'a str, selector: &'a Value) -> Vec<&'a Value> {
        let wanted = selector.as_object();
        let matches = |pod: &&Value| {
            wanted.is_some_and(|w| !w.is_empty() && w.iter().all(|(k, v)| meta::label(pod, k) == v.as_str()))
        };
        self.within("pods", namespace).filter(matches).collect()
    }

    /// Pods whose owner is this object.
    pub fn owned<'a>(&'a self, plural: &str, owner: &'a Value) -> Vec<&'a Value> {
        let owns = |o: &&Value| {
            list(o, "metadata.ownerReferences").iter().any(|r| r["uid"].as_str() == Some(meta::uid(owner)))
        };
        self.within(plural, meta::namespace(owner)).filter(owns).collect()
    }

    /// The write that deleted the last object of this name, as the API server recorded it: for one that was given time to end, the write
    /// that gave it.
    pub fn deletion(&self, plural: &str, namespace: &str, name: &str) -> Option<&Record> {
        let about = |r: &&Arc<Record>| {
            let object = r.object.as_ref();
            r.verb == "commit"
                && object.is_some_and(|o| o.resource == plural && o.name == name && o.namespace == namespace)
        };
        let life = self.records.iter().rev().filter(about).take_while(|r| r.detail["created"] != true);
        let ends = life.filter(|r| r.detail["deleted"] == true || r.detail["deleting"] == true);
        ends.last().map(|r| &**r)
    }
}

/// `po`, `pod`, `Pod`, `pods` → the kind.
pub fn kind(word: &str) -> Option<&'static Kind> {
    let word = word.to_lowercase();
    let named = |k: &&Kind| k.plural == word || k.singular == word || k.short_names.contains(&word.as_str());
    kinds::all().iter().find(named)
}
