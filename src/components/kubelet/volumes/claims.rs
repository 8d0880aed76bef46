//! Volumes that claims are bound to.

use super::{Unmade, unread};
use crate::status::has_containers;
use crate::view::has_ended;
use api::volumes::{CLAIM_PROTECTION, is_on, is_reserved_for};
use client::{Client, Key, optional};
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, PersistentVolume, PersistentVolumeClaim, Pod, VolumeDevice, VolumeMount,
};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

const FILESYSTEM: &str = "Filesystem";

/// The volume that a bound claim leads to.
pub(crate) struct Claimed {
    /// The name of the PersistentVolume.
    pub volume: String,
    /// The directory, as a path of the node's file system.
    pub path: String,
    /// `hostPath.type`, e.g. `Directory` or empty; `None`: a `local` volume.
    pub kind: Option<String>,
    /// The nodes that the volume is on, if it says so.
    pub on: Option<NodeSelector>,
    /// `volumeMode` of the PersistentVolume: `Filesystem` or `Block`.
    pub mode: String,
    /// The claim is being deleted, and not kept for the pods that use it.
    pub is_terminating: bool,
    /// `ReadWriteOncePod` is the only access mode of the PersistentVolume.
    pub is_for_one_pod: bool,
}

/// Claims of volumes that one pod alone may use (ReadWriteOncePod), each with the uid of the pod
/// that mounts it.
#[derive(Default)]
pub(crate) struct Holders(Mutex<BTreeMap<Key, String>>);

impl Holders {
    /// Takes a claim for the pod. Returns false if another pod of the node has it: one that took it
    /// first and has not ended, or one with containers, which an earlier kubelet may have started.
    ///
    /// ```text
    /// first    begins to start, its status says nothing yet    takes the claim
    /// second   starts in the same moment                       is refused until first has ended
    /// ```
    ///
    /// `pods` lists the pods of the node. It is called under the lock, so that each pod that took a
    /// claim before is in the list.
    pub(crate) fn take(&self, pod: &Pod, claim: &str, pods: impl FnOnce() -> Vec<Arc<Pod>>) -> bool {
        let own = pod.metadata.uid.clone().unwrap_or_default();
        let key = Key::new(pod.metadata.namespace.clone().unwrap_or_default(), claim);
        let mut holders = self.0.lock();
        let pods = pods();
        holders.retain(|_, uid| {
            let mut live = pods.iter().filter(|pod| !has_ended(pod));
            live.any(|pod| pod.metadata.uid.as_ref() == Some(&*uid))
        });
        let is_held = holders.get(&key).is_some_and(|holder| *holder != own);
        if is_held || is_in_use(pod, claim, &pods) {
            return false;
        }
        holders.insert(key, own);
        true
    }
}

/// Returns whether another pod of the node has containers with the claim.
fn is_in_use(pod: &Pod, claim: &str, all: &[Arc<Pod>]) -> bool {
    let uses = |other: &&Arc<Pod>| {
        let (own, of_other) = (&pod.metadata, &other.metadata);
        let is_other = of_other.namespace == own.namespace && of_other.uid != own.uid;
        is_other && !has_ended(other) && other.status.as_ref().is_some_and(has_containers)
    };
    let volumes = all.iter().filter(uses).flat_map(|other| &other.spec).flat_map(|spec| &spec.volumes);
    let mut claims = volumes.flatten().filter_map(|volume| volume.persistent_volume_claim.as_ref());
    claims.any(|named| named.claim_name == claim)
}

/// Finds what is behind a claim.
///
/// # Errors
/// As the kubelet tells them in an Event: there is no such claim, or it is not bound.
pub(crate) async fn claimed(client: &Client, namespace: &str, name: &str) -> Result<Claimed, Unmade> {
    let claims = client.within::<PersistentVolumeClaim>(namespace);
    let claim = optional(claims.get(name).await).map_err(|e| unread("", e))?;
    let claim = claim.ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
    let bound = claim.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
    let volume = claim.spec.as_ref().and_then(|s| s.volume_name.clone()).filter(|_| bound);
    let volume = volume.ok_or_else(|| format!("persistentvolumeclaim {name:?} is not bound yet"))?;
    let found = optional(client.all::<PersistentVolume>().get(&volume).await).map_err(|e| unread("", e))?;
    let found = found.ok_or_else(|| format!("persistentvolume {volume:?} not found"))?;
    Ok(behind(volume, found, &claim)?)
}

/// Finds the directory of a claim's volume. A user who may patch the status of the claims in a
/// namespace can name any volume there, but cannot write the volume: so both have to name each
/// other.
///
/// # Errors
/// The volume belongs to another claim, or is of a kind that is not implemented.
pub(super) fn behind(
    volume: String,
    found: PersistentVolume,
    claim: &PersistentVolumeClaim,
) -> Result<Claimed, String> {
    if !is_reserved_for(&found, claim) {
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        return Err(format!("persistentvolume {volume:?} is not bound to persistentvolumeclaim {name:?}"));
    }
    let is_protected = claim.metadata.finalizers.iter().flatten().any(|one| one == CLAIM_PROTECTION);
    let spec = found.spec.unwrap_or_default();
    let host = spec.host_path.map(|p| (p.path, Some(p.type_.unwrap_or_default())));
    let found = host.or(spec.local.map(|l| (l.path, None)));
    let (path, kind) =
        found.ok_or_else(|| format!("persistentvolume {volume:?} is of a kind that is not implemented"))?;
    match path.split('/').any(|part| part == "..") {
        true => Err(format!("persistentvolume {volume:?}: path {path:?} must not contain '..'")),
        false => Ok(Claimed {
            volume,
            path,
            kind,
            on: spec.node_affinity.and_then(|a| a.required),
            mode: spec.volume_mode.unwrap_or_else(|| FILESYSTEM.into()),
            is_terminating: claim.metadata.deletion_timestamp.is_some() && !is_protected,
            is_for_one_pod: spec.access_modes.iter().flatten().eq(["ReadWriteOncePod"]),
        }),
    }
}

/// Checks that a volume is on this node. The scheduler looks at that, too, but a pod with
/// `nodeName` has passed it by: it would find an empty directory and leave its data where no later
/// pod looks for them.
///
/// # Errors
/// None of the terms of the volume's node affinity fits the labels of the node.
pub(super) fn check_node(volume: &str, on: &NodeSelector, node: &Node) -> Result<(), String> {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    match is_on(on, node.metadata.labels.as_ref().unwrap_or(&BTreeMap::new())) {
        true => Ok(()),
        false => Err(format!(
            "persistentvolume {volume:?} is not on node {name:?}: none of its nodeAffinity's terms fits the node"
        )),
    }
}

/// Checks that containers use a claim's volume as what it is: a file system stands under
/// `volumeMounts`, a block device under `volumeDevices`. `name`: of the pod's volume. Source:
/// `createVolumeSpec` in `desired_state_of_world_populator.go`.
///
/// # Errors
/// The volume is used as what it is not, or as a block device, which no node of ours has.
pub(super) fn check_mode(pod: &Pod, name: &str, mode: &str) -> Result<(), String> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    let mounts = |all: &Option<Vec<VolumeMount>>| all.iter().flatten().any(|mount| mount.name == name);
    let maps = |all: &Option<Vec<VolumeDevice>>| all.iter().flatten().any(|device| device.name == name);
    let containers = || spec.init_containers.iter().flatten().chain(&spec.containers);
    let debuggers = || spec.ephemeral_containers.iter().flatten();
    let is_mounted =
        containers().any(|c| mounts(&c.volume_mounts)) || debuggers().any(|c| mounts(&c.volume_mounts));
    let is_mapped =
        containers().any(|c| maps(&c.volume_devices)) || debuggers().any(|c| maps(&c.volume_devices));
    let is_filesystem = mode == FILESYSTEM;
    match (is_mounted, is_mapped) {
        (true, _) if !is_filesystem => {
            Err(format!("volume {name} has volumeMode {mode}, but is specified in volumeMounts"))
        }
        (_, true) if is_filesystem => {
            Err(format!("volume {name} has volumeMode {mode}, but is specified in volumeDevices"))
        }
        (_, true) => Err(format!("volume {name} has volumeMode {mode}: Ropewalk has no block volumes")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_of_another_node_is_refused() {
        let of = |node: &str| -> NodeSelector {
            let hostname =
                serde_json::json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
            serde_json::from_value(
                serde_json::json!({"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}),
            )
            .unwrap()
        };
        let node: Node = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1"}},
        }))
        .unwrap();
        assert_eq!(check_node("v", &of("n1"), &node), Ok(()));
        let refused = check_node("v", &of("n2"), &node).unwrap_err();
        assert!(refused.starts_with("persistentvolume \"v\" is not on node \"n1\""), "{refused}");
    }

    #[test]
    fn a_claims_volume_is_used_as_what_it_is() {
        let refusal = |containers: serde_json::Value, mode: &str| {
            let pod = serde_json::from_value(serde_json::json!({"spec": containers})).unwrap();
            check_mode(&pod, "d", mode).err().unwrap_or_default()
        };
        let mount = serde_json::json!({"name": "a", "volumeMounts": [{"name": "d", "mountPath": "/d"}]});
        let device =
            serde_json::json!({"name": "a", "volumeDevices": [{"name": "d", "devicePath": "/dev/d"}]});
        let other = serde_json::json!({"name": "b", "volumeMounts": [{"name": "e", "mountPath": "/d"}],
            "volumeDevices": [{"name": "f", "devicePath": "/dev/f"}]});
        for group in ["initContainers", "containers", "ephemeralContainers"] {
            let spec = |container: &serde_json::Value| {
                let mut spec = serde_json::json!({"containers": [other]});
                spec[group] = serde_json::json!([other, container]);
                spec
            };
            assert_eq!(refusal(spec(&mount), "Filesystem"), "", "{group}");
            assert_eq!(refusal(spec(&other), "Block"), "", "{group}");
            let wrong = "volume d has volumeMode Block, but is specified in volumeMounts";
            assert_eq!(refusal(spec(&mount), "Block"), wrong, "{group}");
            let wrong = "volume d has volumeMode Filesystem, but is specified in volumeDevices";
            assert_eq!(refusal(spec(&device), "Filesystem"), wrong, "{group}");
            let none = "volume d has volumeMode Block: Ropewalk has no block volumes";
            assert_eq!(refusal(spec(&device), "Block"), none, "{group}");
        }
    }

    #[test]
    fn a_claim_has_no_volume_that_is_bound_to_another() {
        let claim: PersistentVolumeClaim = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "c", "namespace": "n", "uid": "u"}, "spec": {"volumeName": "v"},
        }))
        .unwrap();
        let of = |reserved: serde_json::Value| {
            let volume = serde_json::json!({"spec": {"hostPath": {"path": "/data"}, "claimRef": reserved}});
            behind("v".into(), serde_json::from_value(volume).unwrap(), &claim).map(|found| found.path)
        };
        let named = |namespace: &str, uid: &str| {
            of(serde_json::json!({"name": "c", "namespace": namespace, "uid": uid}))
        };
        assert_eq!(named("n", "u").as_deref(), Ok("/data"));
        for refused in [named("other", "u"), named("n", "older"), of(serde_json::Value::Null)] {
            assert!(refused.unwrap_err().contains("is not bound to persistentvolumeclaim \"c\""));
        }
    }
}
