//! The status of the Node object: made from what the kubelet knows, and compared with the stored
//! one.

use super::amounts::{amounts, amounts_differ, runtime_handler};
use crate::config::{Config, PORT};
use crate::lasting_files;
use crate::pressure::{Pressure, Pressures};
use cri::Image;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures,
    NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::time::Duration;

/// A runtime that has not answered for so long in real time is down: `baseRuntimeSyncThreshold`.
pub(super) const RUNTIME_SILENT: Duration = Duration::from_secs(30);
/// Images in a status: `nodeStatusMaxImages`.
const IMAGES_MAX: usize = 50;
/// Names of an image in a status: `MaxNamesPerImageInNodeStatus`.
const NAMES_MAX: usize = 5;

/// The last answers of the runtime. It is asked beside the heartbeat, which a call that hangs does
/// not hold up.
#[derive(Default)]
pub(super) struct RuntimeAnswers {
    images: Option<Vec<Image>>,
    /// When it answered last.
    answered: Option<clock::Instant>,
}

impl RuntimeAnswers {
    /// Takes note of an answer of the runtime of this node.
    pub(super) fn note(&mut self, answer: cri::Result<Vec<Image>>, node: &str) {
        match answer {
            Ok(images) => (self.images, self.answered) = (Some(images), Some(clock::Instant::now())),
            Err(error) => {
                tracing::warn!(node, error = error.line(), "the container runtime does not answer");
            }
        }
    }

    /// Returns whether the runtime is up. One that hangs for less than [`RUNTIME_SILENT`] is: a
    /// busy disk may hold up a single answer, and a node that is not ready loses its pods in the
    /// end.
    fn is_up(&self) -> bool {
        self.answered.is_some_and(|at| at.elapsed() < RUNTIME_SILENT)
    }

    /// Returns the images for the node's status, the biggest ones first. Until the runtime has
    /// listed its images, these are the ones that the status has already.
    fn images(&self, old: Option<&NodeStatus>) -> Option<Vec<ContainerImage>> {
        let Some(images) = &self.images else { return old.and_then(|s| s.images.clone()) };
        let mut sorted: Vec<&Image> = images.iter().collect();
        sorted.sort_by(|a, b| (b.size, &b.id).cmp(&(a.size, &a.id)));
        let image = |i: &Image| ContainerImage {
            names: Some(i.tags.iter().take(NAMES_MAX).cloned().collect()),
            size_bytes: Some(i.size as i64),
        };
        Some(sorted.into_iter().take(IMAGES_MAX).map(image).collect())
    }
}

/// Returns whether the new status has to be written over the stored one: it has a condition that
/// the other one has not, or other node information, images, addresses or amounts. The time of the
/// heartbeat is new each time and is no change.
pub(super) fn differs(old: Option<&NodeStatus>, new: &NodeStatus) -> bool {
    let plain = |s: &NodeStatus| {
        let mut s = s.clone();
        for c in s.conditions.iter_mut().flatten() {
            (c.last_heartbeat_time, c.last_transition_time) = (None, None);
        }
        s
    };
    old.is_none_or(|old| {
        let (old, new) = (plain(old), plain(new));
        new.conditions.iter().flatten().any(|c| !old.conditions.iter().flatten().any(|o| o == c))
            || (&old.addresses, &old.node_info, &old.images) != (&new.addresses, &new.node_info, &new.images)
            || amounts_differ(&old, &new)
    })
}

/// Returns the status of the Node. Conditions that are as in the old status keep the time of their
/// last transition.
pub(super) fn status(
    config: &Config,
    old: Option<&NodeStatus>,
    pressed: Pressures,
    runtime: &RuntimeAnswers,
) -> NodeStatus {
    let now = Time(clock::now());
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        let before = old.and_then(|s| s.conditions.as_ref()).into_iter().flatten();
        let before = before.into_iter().find(|c| c.type_ == kind && c.status == status);
        NodeCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: before.and_then(|c| c.last_transition_time.clone()).or(Some(now.clone())),
        }
    };
    let (capacity, allocatable) = amounts(&config.capacity, old);
    let full = match pressed.kept {
        0 => "kubelet has disk pressure".to_string(),
        kept => lasting_files::message(kept, &config.node_root()),
    };
    let under = |kind: Pressure| {
        let (reason, message) = match (kind, pressed.has(kind)) {
            (Pressure::Memory, true) => {
                ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
            }
            (Pressure::Memory, false) => {
                ("KubeletHasSufficientMemory", "kubelet has sufficient memory available")
            }
            (Pressure::Disk, true) => ("KubeletHasDiskPressure", full.as_str()),
            (Pressure::Disk, false) => ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        };
        condition(kind.name(), if pressed.has(kind) { "True" } else { "False" }, reason, message)
    };
    NodeStatus {
        capacity: Some(capacity),
        allocatable: Some(allocatable),
        conditions: Some(vec![
            under(Pressure::Memory),
            under(Pressure::Disk),
            condition(
                "PIDPressure",
                "False",
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            ),
            match runtime.is_up() {
                true => condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
                false => condition("Ready", "False", "KubeletNotReady", "container runtime is down"),
            },
        ]),
        addresses: Some(vec![
            NodeAddress { type_: "InternalIP".into(), address: config.node_ip.to_string() },
            NodeAddress { type_: "Hostname".into(), address: config.node_name.clone() },
        ]),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(PORT) }),
        }),
        images: runtime.images(old),
        node_info: Some(node_info(config)),
        // Upstream's kubelet rejects a pod with the policy Strict where its node does not say that.
        features: Some(NodeFeatures { supplemental_groups_policy: Some(true) }),
        runtime_handlers: Some(vec![runtime_handler()]),
        ..NodeStatus::default()
    }
}

/// Returns what the node is: its kernel, its runtime, its kubelet. All nodes have the machine's
/// identity.
pub(super) fn node_info(config: &Config) -> NodeSystemInfo {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_string();
    let machine_id = read("/etc/machine-id");
    NodeSystemInfo {
        architecture: api::architecture().into(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: config.runtime.version(),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        kube_proxy_version: String::new(),
        kubelet_version: config.version.clone(),
        machine_id: machine_id.clone(),
        operating_system: "linux".into(),
        os_image: format!("Ropewalk {}", env!("CARGO_PKG_VERSION")),
        system_uuid: machine_id,
        swap: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_the_biggest_images_and_the_first_of_their_names() {
        let image = |size: u64, tags: usize| {
            let tags = (0..tags).map(|n| format!("docker.io/library/i{size}:{n}")).collect();
            Image { id: format!("sha256:{size}"), tags, size }
        };
        let mut runtime = RuntimeAnswers::default();
        runtime.note(Ok((1..=60).map(|size| image(size, size as usize)).collect()), "n");
        let shown = runtime.images(None).unwrap();
        let sizes: Vec<i64> = shown.iter().filter_map(|image| image.size_bytes).collect();
        assert_eq!(sizes, (11..=60).rev().collect::<Vec<i64>>());
        let names = shown[0].names.as_ref().unwrap();
        assert_eq!((names.len(), names[0].as_str()), (5, "docker.io/library/i60:0"));
    }
}
