//! The objects of the map, each with the few fields that it shows.

use api::value::text;
use clock::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// Namespace (empty for nodes) and name.
pub(crate) type Key = (String, String);

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Node {
    pub name: String,
    pub control_plane: bool,
    pub ready: bool,
    pub cordoned: bool,
    /// What pods may request of it: thousandths of a processor, and bytes.
    pub cpu: i64,
    pub memory: i64,
}

/// How a pod stands, as its sign shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stand {
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
pub(crate) struct Pod {
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
    /// What it asks for, as the scheduler counts it: `cpu 500m  memory 1Gi`.
    pub asks: String,
    /// The same in thousandths of a processor and in bytes.
    pub cpu: i64,
    pub memory: i64,
    pub selector: String,
    /// `metadata.creationTimestamp`, in whole seconds.
    pub created: Option<Timestamp>,
}

impl Pod {
    /// Part of the cluster itself.
    pub(crate) fn system(&self) -> bool {
        self.namespace == "kube-system"
    }

    /// A static pod of a component, e.g. `etcd-`: its name ends with its node's. A learner's
    /// `etcd-client` is none.
    pub(super) fn is_component(&self, name: &str) -> bool {
        self.system() && self.name.strip_prefix(name) == Some(&self.node)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Service {
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
pub(crate) struct Endpoint {
    pub ip: String,
    pub node: String,
    pub pod: String,
    pub ready: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Slice {
    pub service: String,
    pub endpoints: Vec<Endpoint>,
    pub ports: Vec<i64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Deployment {
    pub namespace: String,
    pub name: String,
    pub wanted: i64,
    pub ready: i64,
    pub available: i64,
    pub updated: i64,
    pub image: String,
    /// All pods end before their successors begin: the strategy `Recreate`, which has no
    /// `rollingUpdate`.
    pub recreates: bool,
    pub surge: String,
    pub unavailable: String,
    pub revision: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ReplicaSet {
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
pub(crate) struct Happened {
    pub about: Key,
    pub kind: String,
    pub reason: String,
    pub message: String,
    pub warning: bool,
    pub revision: u64,
    pub count: i64,
}

/// The key of an object in its JSON form.
pub(super) fn key(object: &Value) -> Key {
    (text(object, "metadata.namespace").to_string(), text(object, "metadata.name").to_string())
}

/// The store revision of an object's last change; 0 if it has none.
pub(super) fn revision(object: &Value) -> u64 {
    text(object, "metadata.resourceVersion").parse().unwrap_or_default()
}
