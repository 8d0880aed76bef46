//! A pod's use of the machine, beside what it requests. Pure.

use super::{Amount, Resource, priority};
use api::requests::{self, Field};
use client::Key;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// A container's use, and what it requests, in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerUse {
    pub name: String,
    /// The container is an init container and no sidecar: it has ended when the regular ones run.
    pub ends_first: bool,
    pub logs: u64,
    pub storage_request: u64,
    pub memory: u64,
    pub memory_request: u64,
}

/// A pod's use of the machine, and what it requests.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    pub key: Key,
    pub uid: String,
    pub priority: i32,
    /// Bytes of the disk that the pod requests.
    pub storage_request: u64,
    /// Files that go with the pod: volumes and logs.
    pub disk: Amount,
    /// Files that stay: directories of the node that it mounts and may write to
    /// ([`crate::lasting_files`]).
    pub kept: Amount,
    /// How much of `kept` the pod answers for.
    pub wrote: Amount,
    /// Bytes of memory that the pod requests.
    pub memory_request: u64,
    /// As `memory_request`, if `spec.resources` requests it for the pod as a whole.
    pub memory_of_whole: Option<u64>,
    /// The pod's working set in bytes, with its volumes in memory.
    pub memory: u64,
    /// Regular containers first, then init containers. Ephemeral ones are left out: they request
    /// nothing.
    pub containers: Vec<ContainerUse>,
}

impl Usage {
    /// Returns the usage of a pod of which nothing is measured yet. What it requests is that of its
    /// init containers and sidecars, too, and of its overhead. Source: `GetResourceRequestQuantity`
    /// in `pkg/api/v1/resource/helpers.go`.
    pub(crate) fn of_pod(key: Key, pod: &Pod) -> Usage {
        let spec = pod.spec.as_ref();
        let regular = spec.into_iter().flat_map(|s| &s.containers).map(|c| (c, false));
        let init = spec.into_iter().flat_map(|s| s.init_containers.iter().flatten());
        let init = init.map(|c| (c, c.restart_policy.as_deref() != Some("Always")));
        let containers = regular.chain(init).map(|(c, ends_first)| ContainerUse {
            name: c.name.clone(),
            ends_first,
            storage_request: request(c, "ephemeral-storage"),
            memory_request: request(c, "memory"),
            ..ContainerUse::default()
        });
        let requested = requests::of_pod(pod, Field::Requests);
        let of_pod = |name: &str| requested.get(name).map_or(0, |q| u64::try_from(q.units()).unwrap_or(0));
        let whole = spec.and_then(|s| s.resources.as_ref()?.requests.as_ref()?.get("memory"));
        Usage {
            key,
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            priority: priority(pod),
            storage_request: of_pod("ephemeral-storage"),
            disk: Amount::default(),
            kept: Amount::default(),
            wrote: Amount::default(),
            memory_request: of_pod("memory"),
            memory_of_whole: whole.and_then(|q| crate::local_storage::bytes(&q.0)),
            memory: 0,
            containers: containers.collect(),
        }
    }

    /// Returns how much the pod has of a resource, without files of the node that it does not
    /// answer for.
    pub(crate) fn has(&self, resource: Resource) -> u64 {
        let disk = self.disk.plus(self.wrote);
        match resource {
            Resource::Memory => self.memory,
            Resource::Storage => disk.bytes,
            Resource::Inodes => disk.files,
        }
    }

    /// Returns how much of a resource the pod's eviction gives back.
    pub(super) fn frees(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Memory => self.memory,
            Resource::Storage => self.disk.bytes,
            Resource::Inodes => self.disk.files,
        }
    }

    /// Returns how much the pod has beyond its request; negative if it has less. Inodes cannot be
    /// requested.
    pub(super) fn excess(&self, resource: Resource) -> i128 {
        let request = match resource {
            Resource::Memory => self.memory_request,
            Resource::Storage => self.storage_request,
            Resource::Inodes => 0,
        };
        i128::from(self.has(resource)) - i128::from(request)
    }
}

/// Returns how many bytes a container requests of a resource; without a request its limit.
fn request(container: &Container, resource: &str) -> u64 {
    let amounts = container.resources.clone().unwrap_or_default();
    let of = |map: Option<BTreeMap<String, Quantity>>| {
        map.and_then(|m| m.get(resource).and_then(|q| crate::local_storage::bytes(&q.0)))
    };
    of(amounts.requests).or(of(amounts.limits)).unwrap_or(0)
}
