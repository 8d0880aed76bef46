//! The live objects as the map knows them: a few fields of each, kept up to date by watches.

use crate::api::table::pods::summary;
use crate::api::value::{at, flag, int, list, pairs, text};
use serde_json::Value;
use std::collections::BTreeMap;

/// The kinds that are watched: plural, group, version, kind.
pub const WATCHED: &[(&str, &str, &str, &str)] = &[
    ("nodes", "", "v1", "Node"),
    ("pods", "", "v1", "Pod"),
    ("services", "", "v1", "Service"),
    ("endpointslices", "discovery.k8s.io", "v1", "EndpointSlice"),
    ("deployments", "apps", "v1", "Deployment"),
    ("replicasets", "apps", "v1", "ReplicaSet"),
    ("leases", "coordination.k8s.io", "v1", "Lease"),
    ("events", "", "v1", "Event"),
];

/// Events kept; the oldest goes.
const EVENTS_MAX: usize = 200;

/// Namespace (empty for nodes) and name.
pub type Key = (String, String);

/// What a watch told.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// An object as it is now.
    Put {
        resource: String,
        object: Value,
    },
    Gone {
        resource: String,
        namespace: String,
        name: String,
    },
    /// A complete list: what is not in it is gone.
    All {
        resource: String,
        objects: Vec<Value>,
    },
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    pub name: String,
    pub control_plane: bool,
    pub ready: bool,
    pub cordoned: bool,
}

/// How a pod stands, as its sign shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stand {
    /// No node yet.
    #[default]
    Waiting,
    Starting,
    Ready,
    Leaving,
    Failed,
    Done,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub node: String,
    pub stand: Stand,
    /// kubectl's STATUS column.
    pub status: String,
    /// Containers ready, of how many.
    pub ready: (usize, usize),
    pub restarts: i64,
    /// The ReplicaSet, DaemonSet or other controller it belongs to.
    pub owner: String,
    pub labels: BTreeMap<String, String>,
    pub image: String,
    pub ip: String,
    pub revision: u64,
    /// What its containers ask for, as written: `cpu 500m  memory 1Gi`.
    pub asks: String,
    pub selector: String,
}

impl Pod {
    /// Part of the cluster itself.
    pub fn system(&self) -> bool {
        self.namespace == "kube-system"
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    pub kind: String,
    pub ip: String,
    /// (port, targetPort, nodePort)
    pub ports: Vec<(i64, String, Option<i64>)>,
    pub selector: BTreeMap<String, String>,
    pub revision: u64,
}

/// One address in an EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Endpoint {
    pub ip: String,
    pub node: String,
    pub pod: String,
    pub ready: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slice {
    pub service: String,
    pub endpoints: Vec<Endpoint>,
    pub ports: Vec<i64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deployment {
    pub namespace: String,
    pub name: String,
    pub wanted: i64,
    pub ready: i64,
    pub available: i64,
    pub updated: i64,
    pub image: String,
    pub surge: String,
    pub unavailable: String,
    pub revision: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReplicaSet {
    pub namespace: String,
    pub name: String,
    pub owner: String,
    pub wanted: i64,
    pub ready: i64,
    pub image: String,
    /// `deployment.kubernetes.io/revision`
    pub number: i64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Happened {
    pub about: Key,
    pub kind: String,
    pub reason: String,
    pub message: String,
    pub warning: bool,
    pub revision: u64,
    pub count: i64,
}

/// Everything the watches have told.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    pub nodes: BTreeMap<String, Node>,
    pub pods: BTreeMap<Key, Pod>,
    pub services: BTreeMap<Key, Service>,
    pub slices: BTreeMap<Key, Slice>,
    pub deployments: BTreeMap<Key, Deployment>,
    pub replicasets: BTreeMap<Key, ReplicaSet>,
    /// Lease → holder.
    pub leases: BTreeMap<Key, String>,
    pub events: BTreeMap<Key, Happened>,
    /// The newest revision seen.
    pub revision: u64,
    /// The watches answer.
    pub heard: bool,
}

impl Cluster {
    /// Takes in what a watch told; true if something on the screen may look different.
    pub fn absorb(&mut self, change: Change) -> bool {
        self.heard = true;
        match change {
            Change::Put { resource, object } => self.put(&resource, &object),
            Change::Gone { resource, namespace, name } => self.remove(&resource, &(namespace, name)),
            Change::All { resource, objects } => {
                let there: Vec<Key> = objects.iter().map(key).collect();
                let gone: Vec<Key> =
                    self.keys(&resource).into_iter().filter(|k| !there.contains(k)).collect();
                gone.iter().for_each(|key| {
                    self.remove(&resource, key);
                });
                objects.iter().for_each(|object| {
                    self.put(&resource, object);
                });
                true
            }
        }
    }

    fn keys(&self, resource: &str) -> Vec<Key> {
        match resource {
            "nodes" => self.nodes.keys().map(|n| (String::new(), n.clone())).collect(),
            "pods" => self.pods.keys().cloned().collect(),
            "services" => self.services.keys().cloned().collect(),
            "endpointslices" => self.slices.keys().cloned().collect(),
            "deployments" => self.deployments.keys().cloned().collect(),
            "replicasets" => self.replicasets.keys().cloned().collect(),
            "leases" => self.leases.keys().cloned().collect(),
            _ => self.events.keys().cloned().collect(),
        }
    }

    fn remove(&mut self, resource: &str, key: &Key) -> bool {
        match resource {
            "nodes" => self.nodes.remove(&key.1).is_some(),
            "pods" => self.pods.remove(key).is_some(),
            "services" => self.services.remove(key).is_some(),
            "endpointslices" => self.slices.remove(key).is_some(),
            "deployments" => self.deployments.remove(key).is_some(),
            "replicasets" => self.replicasets.remove(key).is_some(),
            "leases" => self.leases.remove(key).is_some(),
            _ => self.events.remove(key).is_some(),
        }
    }

    fn put(&mut self, resource: &str, object: &Value) -> bool {
        let (key, revision) = (key(object), revision(object));
        let newer = revision > self.revision;
        // Heartbeats move the store on every second; the number on the screen follows what people can see.
        if resource != "leases" {
            self.revision = self.revision.max(revision);
        }
        fn place<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
            if map.get(&key) == Some(&value) {
                return false;
            }
            map.insert(key, value);
            true
        }
        match resource {
            "nodes" => place(&mut self.nodes, key.1, node(object)),
            "pods" => place(&mut self.pods, key, pod(object)),
            "services" => place(&mut self.services, key, service(object)),
            "endpointslices" => place(&mut self.slices, key, slice(object)),
            "deployments" => place(&mut self.deployments, key, deployment(object)),
            "replicasets" => place(&mut self.replicasets, key, replicaset(object)),
            "leases" => place(&mut self.leases, key, text(object, "spec.holderIdentity").to_string()),
            "events" => {
                if self.events.len() >= EVENTS_MAX
                    && let Some(oldest) =
                        self.events.iter().min_by_key(|(_, e)| e.revision).map(|(k, _)| k.clone())
                {
                    self.events.remove(&oldest);
                }
                place(&mut self.events, key, happened(object)) || newer
            }
            _ => false,
        }
    }

    /// Who leads: the holder of a component's Lease, without its random part.
    pub fn leader(&self, component: &str) -> Option<&str> {
        let holder = self.leases.get(&("kube-system".to_string(), component.to_string()))?;
        Some(holder.split('_').next().unwrap_or(holder)).filter(|h| !h.is_empty())
    }

    /// Does the component run, as its pod tells? `None`: there is no such pod.
    pub fn component(&self, name: &str) -> Option<bool> {
        let mut pods = self.pods.values().filter(|p| p.system() && p.name.starts_with(name)).peekable();
        pods.peek()?;
        Some(pods.any(|p| p.stand == Stand::Ready))
    }

    /// The members of the store, by node.
    pub fn members(&self) -> Vec<&Pod> {
        self.pods.values().filter(|p| p.system() && p.name.starts_with("etcd-")).collect()
    }

    /// Addresses behind a service.
    pub fn endpoints(&self, service: &Key) -> Vec<&Endpoint> {
        let of = |(key, slice): &(&Key, &Slice)| key.0 == service.0 && slice.service == service.1;
        self.slices.iter().filter(of).flat_map(|(_, s)| &s.endpoints).collect()
    }

    pub fn replicasets_of(&self, deployment: &Key) -> Vec<&ReplicaSet> {
        let mut found: Vec<&ReplicaSet> = self
            .replicasets
            .values()
            .filter(|r| r.namespace == deployment.0 && r.owner == deployment.1)
            .collect();
        found.sort_by_key(|r| r.number);
        found
    }

    /// Events about one object, oldest first.
    pub fn events_about<'a>(&'a self, kind: &str, about: &Key) -> Vec<&'a Happened> {
        let mut found: Vec<&Happened> =
            self.events.values().filter(|e| e.kind == kind && e.about == *about).collect();
        found.sort_by_key(|e| e.revision);
        found
    }
}

fn key(object: &Value) -> Key {
    (text(object, "metadata.namespace").to_string(), text(object, "metadata.name").to_string())
}

fn revision(object: &Value) -> u64 {
    text(object, "metadata.resourceVersion").parse().unwrap_or_default()
}

fn owner(object: &Value) -> String {
    let refs = list(object, "metadata.ownerReferences");
    refs.iter().find(|o| flag(o, "controller")).map_or(String::new(), |o| text(o, "name").to_string())
}

fn map_of(object: &Value, path: &str) -> BTreeMap<String, String> {
    pairs(object, path).map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

fn condition(object: &Value, kind: &str) -> bool {
    list(object, "status.conditions").iter().any(|c| text(c, "type") == kind && text(c, "status") == "True")
}

/// A field of the first container of a pod or a template.
fn first<'a>(object: &'a Value, containers: &str, path: &str) -> &'a Value {
    list(object, containers).first().map_or(&Value::Null, |c| at(c, path))
}

fn image(object: &Value, containers: &str) -> String {
    first(object, containers, "image").as_str().unwrap_or_default().into()
}

fn node(object: &Value) -> Node {
    let labels = at(object, "metadata.labels");
    Node {
        name: text(object, "metadata.name").into(),
        control_plane: labels.get("node-role.kubernetes.io/control-plane").is_some(),
        ready: condition(object, "Ready"),
        cordoned: flag(object, "spec.unschedulable"),
    }
}

/// A number or a text, as people write it.
fn written(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, String::from)
}

fn pod(object: &Value) -> Pod {
    let summary = summary(object);
    let node = text(object, "spec.nodeName").to_string();
    let stand = match (summary.status.as_str(), text(object, "status.phase")) {
        _ if !text(object, "metadata.deletionTimestamp").is_empty() => Stand::Leaving,
        (_, "Succeeded") => Stand::Done,
        (_, "Failed") => Stand::Failed,
        ("ContainerCreating" | "PodInitializing", _) => Stand::Starting,
        (_, "Running") if condition(object, "Ready") => Stand::Ready,
        (status, _) if status.ends_with("BackOff") || status.contains("Err") || status.contains("Error") => {
            Stand::Failed
        }
        _ if node.is_empty() => Stand::Waiting,
        _ => Stand::Starting,
    };
    let requests = first(object, "spec.containers", "resources.requests");
    let asks = ["cpu", "memory"].iter().filter(|k| !requests[**k].is_null());
    Pod {
        namespace: text(object, "metadata.namespace").into(),
        name: text(object, "metadata.name").into(),
        stand,
        ready: (summary.ready, summary.total),
        restarts: summary.restarts,
        status: if stand == Stand::Leaving { "Terminating".into() } else { summary.status },
        owner: owner(object),
        labels: map_of(object, "metadata.labels"),
        image: image(object, "spec.containers"),
        ip: text(object, "status.podIP").into(),
        revision: revision(object),
        asks: asks.map(|k| format!("{k} {}", written(&requests[*k]))).collect::<Vec<_>>().join("  "),
        selector: pairs(object, "spec.nodeSelector")
            .map(|(k, v)| format!("{k}={v}"))
            .collect::<Vec<_>>()
            .join(","),
        node,
    }
}

fn service(object: &Value) -> Service {
    let port = |p: &Value| {
        (
            int(p, "port").unwrap_or_default(),
            written(at(p, "targetPort")),
            int(p, "nodePort").filter(|n| *n > 0),
        )
    };
    Service {
        namespace: text(object, "metadata.namespace").into(),
        name: text(object, "metadata.name").into(),
        kind: text(object, "spec.type").into(),
        ip: text(object, "spec.clusterIP").into(),
        ports: list(object, "spec.ports").iter().map(port).collect(),
        selector: map_of(object, "spec.selector"),
        revision: revision(object),
    }
}

fn slice(object: &Value) -> Slice {
    let endpoint = |e: &Value| Endpoint {
        ip: at(e, "addresses")[0].as_str().unwrap_or_default().into(),
        node: text(e, "nodeName").into(),
        pod: text(e, "targetRef.name").into(),
        ready: at(e, "conditions.ready") != &Value::Bool(false),
    };
    Slice {
        service: at(object, "metadata.labels")["kubernetes.io/service-name"]
            .as_str()
            .unwrap_or_default()
            .into(),
        endpoints: list(object, "endpoints").iter().map(endpoint).collect(),
        ports: list(object, "ports").iter().filter_map(|p| int(p, "port")).collect(),
    }
}

fn deployment(object: &Value) -> Deployment {
    let count = |path: &str| int(object, path).unwrap_or_default();
    Deployment {
        namespace: text(object, "metadata.namespace").into(),
        name: text(object, "metadata.name").into(),
        wanted: count("spec.replicas"),
        ready: count("status.readyReplicas"),
        available: count("status.availableReplicas"),
        updated: count("status.updatedReplicas"),
        image: image(object, "spec.template.spec.containers"),
        surge: written(at(object, "spec.strategy.rollingUpdate.maxSurge")),
        unavailable: written(at(object, "spec.strategy.rollingUpdate.maxUnavailable")),
        revision: revision(object),
    }
}

fn replicaset(object: &Value) -> ReplicaSet {
    let annotations = at(object, "metadata.annotations");
    ReplicaSet {
        namespace: text(object, "metadata.namespace").into(),
        name: text(object, "metadata.name").into(),
        owner: owner(object),
        wanted: int(object, "spec.replicas").unwrap_or_default(),
        ready: int(object, "status.readyReplicas").unwrap_or_default(),
        image: image(object, "spec.template.spec.containers"),
        number: annotations["deployment.kubernetes.io/revision"]
            .as_str()
            .and_then(|n| n.parse().ok())
            .unwrap_or_default(),
    }
}

fn happened(object: &Value) -> Happened {
    let about = at(object, "involvedObject");
    Happened {
        about: (text(about, "namespace").into(), text(about, "name").into()),
        kind: text(about, "kind").into(),
        reason: text(object, "reason").into(),
        message: text(object, "message").into(),
        warning: text(object, "type") == "Warning",
        revision: revision(object),
        count: int(object, "count").unwrap_or(1).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn put(cluster: &mut Cluster, resource: &str, object: Value) -> bool {
        cluster.absorb(Change::Put { resource: resource.into(), object })
    }

    #[test]
    fn a_pod_goes_through_its_stands() {
        let pod = |spec: Value, status: Value, deleted: bool| {
            let mut object =
                json!({"metadata": {"name": "p", "namespace": "d"}, "spec": spec, "status": status});
            object["spec"]["containers"] = json!([{"name": "c", "image": "nginx"}]);
            if deleted {
                object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            super::pod(&object).stand
        };
        let on = json!({"nodeName": "n"});
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "c", "ready": true, "state": {"running": {}}}]});
        let waiting = |reason: &str| json!({"phase": "Pending", "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": reason}}}]});
        assert_eq!(pod(json!({}), json!({"phase": "Pending"}), false), Stand::Waiting);
        assert_eq!(pod(on.clone(), waiting("ContainerCreating"), false), Stand::Starting);
        assert_eq!(pod(on.clone(), waiting("ImagePullBackOff"), false), Stand::Failed);
        assert_eq!(pod(on.clone(), waiting("CreateContainerConfigError"), false), Stand::Failed);
        assert_eq!(pod(on.clone(), ready.clone(), false), Stand::Ready);
        assert_eq!(pod(on.clone(), ready, true), Stand::Leaving);
        assert_eq!(pod(on, json!({"phase": "Succeeded"}), false), Stand::Done);
    }

    #[test]
    fn a_list_takes_away_what_it_does_not_name_and_heartbeats_change_nothing() {
        let mut cluster = Cluster::default();
        let node = |name: &str, rv: &str| json!({"metadata": {"name": name, "resourceVersion": rv}});
        put(&mut cluster, "nodes", node("a", "5"));
        assert!(cluster.absorb(Change::All { resource: "nodes".into(), objects: vec![node("b", "6")] }));
        assert_eq!(cluster.nodes.keys().collect::<Vec<_>>(), ["b"]);
        let lease = |rv: &str| {
            json!({"metadata": {"name": "kube-scheduler", "namespace": "kube-system", "resourceVersion": rv},
            "spec": {"holderIdentity": "cp_1234"}})
        };
        assert!(put(&mut cluster, "leases", lease("7")));
        assert!(!put(&mut cluster, "leases", lease("8")), "a heartbeat must not redraw");
        assert!(!put(&mut cluster, "nodes", node("b", "9")));
        assert_eq!((cluster.leader("kube-scheduler"), cluster.revision), (Some("cp"), 9));
    }
}
