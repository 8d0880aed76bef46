//! Bounds what a pod, and all pods of a node, take of the kernel by their mere number: volumes,
//! mounts and containers. Pure.
//!
//! Upstream has no such bounds. Each volume mount is a mount in the kernel, each volume in memory
//! one more in the mount namespace that all containers are made from, and a namespace takes no more
//! than `fs.mount-max` (100000 by default): one pod with as many volumes as fit into an object of
//! the API would keep every other pod of the machine from starting. Each container takes five
//! descriptors of the process that is the whole cluster; where that may have few, a node has fewer
//! containers. A pod that exceeds a bound is rejected at admission as for any other resource
//! ([`super::admission`]), with reason `OutOfmounts` or `OutOfcontainers`. What comes later, an
//! ephemeral container, is refused when it is to start ([`check`]).
//!
//! ```text
//! 3 volumes, a container that mounts all of them, a sidecar that mounts one
//!     ->  3 + 3 + 1 = 7 mounts, 2 containers
//! ```

use super::specs::is_ephemeral;
use api::requests::Lack;
use k8s_openapi::api::core::v1::Pod;
use linux::descriptors::connections;
use std::borrow::Cow;

/// Something of which a pod, and all pods of a node, have so much at most.
struct Bound {
    resource: &'static str,
    /// For people: what is counted.
    what: &'static str,
    count: fn(&Pod) -> usize,
    pod: i64,
    node: i64,
    /// File descriptors that each takes of the process that is the whole cluster.
    files: u64,
}

/// Pods in use have some ten mounts and one to five containers. A node's bound is 74 mounts and 9
/// containers for each of 110 pods; nine nodes stay below `fs.mount-max`.
const BOUNDS: [Bound; 2] = [
    Bound {
        resource: "mounts",
        what: "volumes and volume mounts",
        count: mounts,
        pod: 1024,
        node: 8192,
        files: 0,
    },
    Bound { resource: "containers", what: "containers", count: containers, pod: 128, node: 1024, files: 5 },
];

/// Counts a pod's volumes, and the volume mounts of its containers of every kind.
fn mounts(pod: &Pod) -> usize {
    let Some(spec) = &pod.spec else { return 0 };
    let plain = spec.containers.iter().chain(spec.init_containers.iter().flatten()).map(|c| &c.volume_mounts);
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|c| &c.volume_mounts);
    let mounts: usize = plain.chain(ephemeral).map(|mounts| mounts.as_ref().map_or(0, Vec::len)).sum();
    spec.volumes.as_ref().map_or(0, Vec::len) + mounts
}

/// Counts a pod's containers of every kind: those that start one after another are many, too.
fn containers(pod: &Pod) -> usize {
    let Some(spec) = &pod.spec else { return 0 };
    let init = spec.init_containers.as_ref().map_or(0, Vec::len);
    spec.containers.len() + init + spec.ephemeral_containers.as_ref().map_or(0, Vec::len)
}

impl Bound {
    fn of(&self, pod: &Pod) -> i64 {
        i64::try_from((self.count)(pod)).unwrap_or(i64::MAX)
    }

    /// Returns what all pods of a node have at most, where the process may have `limit`
    /// descriptors: half of those outside of the reserve, the other half is for connections.
    fn of_node(&self, limit: u64) -> i64 {
        match self.files {
            0 => self.node,
            files => self.node.min(i64::try_from(connections(limit, 2, files)).unwrap_or(i64::MAX)),
        }
    }

    fn lack(&self, pod: &Pod, others: &[&Pod], limit: u64) -> Option<Lack> {
        let (resource, requested) = (self.resource, self.of(pod));
        if requested == 0 {
            return None; // it fits, however little is left
        }
        if requested > self.pod {
            return Some(Lack { resource, requested, used: 0, capacity: self.pod });
        }
        let used = others.iter().map(|other| self.of(other)).fold(0, i64::saturating_add);
        let capacity = self.of_node(limit);
        let over = requested > capacity.saturating_sub(used);
        over.then_some(Lack { resource, requested, used, capacity })
    }
}

/// Returns what a pod exceeds, given those that count on its node and the descriptors that this
/// process may have.
pub(crate) fn lack(pod: &Pod, others: &[&Pod], limit: u64) -> Option<Lack> {
    BOUNDS.iter().find_map(|bound| bound.lack(pod, others, limit))
}

/// Checks that a pod which was admitted has no more than a pod may have, when one of its containers
/// is to start. Ephemeral containers count for themselves alone: they are never removed from a pod,
/// and those that are too many must not keep its own containers from starting again.
///
/// # Errors
/// The pod has more: it got ephemeral containers since its admission, or is static.
pub(crate) fn check(pod: &Pod, container: &str) -> Result<(), String> {
    let mut own = Cow::Borrowed(pod);
    if !is_ephemeral(pod, container) {
        own.to_mut().spec.iter_mut().for_each(|spec| spec.ephemeral_containers = None);
    }
    for bound in &BOUNDS {
        let (count, what, most) = (bound.of(&own), bound.what, bound.pod);
        if count > most {
            return Err(format!("the pod has {count} {what}; this node allows {most} for a pod: use fewer"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(volumes: i64, mounts: i64, ephemeral: i64) -> Pod {
        let volume = |n: i64| json!({"name": format!("v{n}"), "emptyDir": {"medium": "Memory"}});
        let mount = |n: i64| json!({"name": "v0", "mountPath": format!("/m{n}")});
        let of = |count: i64| (0..count).map(mount).collect::<Vec<_>>();
        serde_json::from_value(json!({"spec": {
            "volumes": (0..volumes).map(volume).collect::<Vec<_>>(),
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "c", "volumeMounts": of(mounts)}],
            "ephemeralContainers": [{"name": "e", "volumeMounts": of(ephemeral)}],
        }}))
        .unwrap()
    }

    fn lack(pod: &Pod, others: &[&Pod]) -> Option<Lack> {
        super::lack(pod, others, 1 << 20)
    }

    fn with_containers(count: usize) -> Pod {
        let all: Vec<_> = (0..count).map(|n| json!({"name": format!("c{n}")})).collect();
        serde_json::from_value(json!({"spec": {"containers": all}})).unwrap()
    }

    #[test]
    fn a_pod_has_so_many_volumes_and_mounts_and_no_more() {
        let fits = |pod: &Pod| lack(pod, &[]);
        assert_eq!((mounts(&pod(3, 4, 1)), containers(&pod(3, 4, 1))), (8, 3));
        assert_eq!(fits(&pod(512, 512, 0)), None);
        let over = pod(512, 512, 1);
        let lacks = fits(&over).unwrap();
        assert_eq!((lacks.resource, lacks.requested, lacks.capacity), ("mounts", 1025, 1024));
        assert!(check(&over, "e").unwrap_err().contains("1025 volumes and volume mounts"));
        assert_eq!(
            check(&over, "c"),
            Ok(()),
            "a debugger that mounts too much keeps no other from a restart"
        );
        assert!(check(&pod(513, 512, 0), "c").is_err(), "it is static");
        assert!(check(&pod(1, 1, 1), "e").is_ok());
    }

    #[test]
    fn pods_of_a_node_share_its_mounts() {
        let large = pod(512, 512, 0);
        let node = [&large; 8];
        assert_eq!(lack(&large, &node[1..]), None);
        let lacks = lack(&pod(1, 0, 0), &node).unwrap();
        assert_eq!((lacks.used, lacks.capacity), (8192, 8192));
        assert_eq!(lack(&pod(0, 0, 0), &node), None, "a pod that takes none");
    }

    /// Each has descriptors of the process that is the whole cluster.
    #[test]
    fn containers_of_a_pod_and_of_a_node_have_a_bound() {
        let large = with_containers(128);
        assert_eq!(lack(&large, &[&large; 7]), None);
        let lacks = lack(&with_containers(1), &[&large; 8]).unwrap();
        assert_eq!((lacks.resource, lacks.used, lacks.capacity), ("containers", 1024, 1024));
        assert_eq!(lack(&with_containers(129), &[]).unwrap().capacity, 128);
        let few = super::lack(&with_containers(1), &[&large; 3], 4096).unwrap();
        assert_eq!(few.capacity, 307, "half of 3072 descriptors");
        assert!(check(&with_containers(129), "c0").unwrap_err().contains("129 containers"));
    }
}
