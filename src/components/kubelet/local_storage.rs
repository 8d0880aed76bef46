//! Local storage: what a pod uses of the node's disk, and whether that is more than it may. What is
//! over its limit is evicted, as by upstream's eviction manager (`localStorageEviction`).
//!
//! Counted are volumes of kind emptyDir on the disk, those of ConfigMaps, and logs. A volume in
//! memory has its size as a limit of its own. The writable layers of containers are the runtime's
//! and are not counted. What cannot be counted, because a pod made too many files, is more than any
//! limit ([`walk`]). Pods without limits are bounded by what the node and the machine have:
//! [`super::pressure`].

use super::walk::{self, Amount};
use api::quantity::Quantity;
use api::requests::{self, Field};
use k8s_openapi::api::core::v1::{Container as Spec, Pod, Volume};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// A pod with limits is measured this often: upstream's housekeeping interval.
pub(crate) const EVERY: Duration = Duration::from_secs(10);

/// The resource that limits of containers name.
const STORAGE: &str = "ephemeral-storage";

/// A pod's use of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Use {
    /// By volume: all that lie on the disk, also those that the kubelet writes for the pod.
    pub volumes: BTreeMap<String, Amount>,
    /// By container, of whatever kind.
    pub logs: BTreeMap<String, Amount>,
}

impl Use {
    pub(crate) fn total(&self) -> Amount {
        self.volumes.values().chain(self.logs.values()).fold(Amount::default(), |sum, more| sum.plus(*more))
    }

    /// Returns what counts against the limits of the pod's containers: each emptyDir on the disk,
    /// each volume of a ConfigMap, and logs. Source: `IsLocalEphemeralVolume` in
    /// `pkg/volume/util/util.go`.
    fn limited(&self, pod: &Pod) -> Amount {
        let all = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
        let counts = all.filter(|v| on_disk(v) || v.config_map.is_some());
        let own = counts.filter_map(|v| self.volumes.get(&v.name));
        own.chain(self.logs.values()).fold(Amount::default(), |sum, more| sum.plus(*more))
    }
}

fn on_disk(volume: &Volume) -> bool {
    volume.empty_dir.as_ref().is_some_and(|e| e.medium.as_deref().unwrap_or_default().is_empty())
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    let all = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    all.iter().filter(|v| on_disk(v))
}

pub(crate) fn bytes(text: &str) -> Option<u64> {
    u64::try_from(Quantity::parse(text)?.units()).ok()
}

/// Returns the `sizeLimit` of a volume and its bytes. Zero is no limit, as upstream.
fn size_limit(volume: &Volume) -> Option<(&str, u64)> {
    let text = volume.empty_dir.as_ref()?.size_limit.as_ref()?.0.as_str();
    bytes(text).filter(|most| *most > 0).map(|most| (text, most))
}

/// Returns the limit of a container's own storage and its bytes. Zero is none, as upstream.
fn storage_limit(container: &Spec) -> Option<(&str, u64)> {
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    let text = limits.get(STORAGE)?.0.as_str();
    bytes(text).filter(|most| *most > 0).map(|most| (text, most))
}

/// Returns the limit of the whole pod: what its regular containers and sidecars may have together,
/// or an init container if that is more, as upstream (`PodLimits`). A container without a limit
/// adds nothing.
fn pod_limit(pod: &Pod) -> Option<Quantity> {
    requests::of_pod(pod, Field::Limits).remove(STORAGE)
}

/// Returns whether anything limits what this pod may use of the disk.
pub(crate) fn has_limits(pod: &Pod) -> bool {
    volumes(pod).any(|v| size_limit(v).is_some()) || pod_limit(pod).is_some()
}

/// Returns why the pod has to be evicted, in upstream's words; `None` if it keeps to its limits.
/// Pure.
///
/// ```text
/// emptyDir "scratch" with sizeLimit 1Mi, 2 MiB used
///     ->  Usage of EmptyDir volume "scratch" exceeds the limit "1Mi".
/// ```
///
/// In this order: the size of a single volume, then these volumes and logs against the sum of the
/// containers' limits of `ephemeral-storage`, then the logs of a single container against its own.
pub(crate) fn exceeded(pod: &Pod, used: &Use) -> Option<String> {
    for volume in volumes(pod) {
        let Some((limit, most)) = size_limit(volume) else { continue };
        if used.volumes.get(&volume.name).is_some_and(|now| now.bytes > most) {
            let name = &volume.name;
            return Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit {limit:?}. "));
        }
    }
    if let Some(limit) = pod_limit(pod)
        && used.limited(pod).bytes > u64::try_from(limit.units()).unwrap_or(0)
    {
        let what = "Pod ephemeral local storage usage exceeds the total limit of containers";
        return Some(format!("{what} {limit}. "));
    }
    for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
        let Some((limit, most)) = storage_limit(container) else { continue };
        if used.logs.get(&container.name).is_some_and(|now| now.bytes > most) {
            let name = &container.name;
            return Some(format!("Container {name} exceeded its local ephemeral storage limit {limit:?}. "));
        }
    }
    None
}

/// Measures what a pod uses, each tree once, until this time at most. It reads directories, so it
/// is for [`walk::Allowance::walk`].
///
/// # Errors
/// As [`walk::amount`].
pub(crate) fn measure(pod_dir: &Path, log_dir: &Path, until: Instant) -> linux::Result<Use> {
    let all = |dir: &Path| {
        let each = walk::directories(dir).into_iter();
        each.map(|(name, path)| Ok((name, walk::amount(&path, until)?))).collect::<linux::Result<_>>()
    };
    Ok(Use { volumes: all(&pod_dir.join("volumes"))?, logs: all(log_dir)? })
}

/// Takes away what the kubelet mounted for a pod, so that its directory can be removed.
pub(crate) fn unmount(pod_dir: &Path) {
    super::termination_message::unmount(pod_dir);
    unmount_volumes(pod_dir);
}

/// Takes the volumes in memory away.
pub(crate) fn unmount_volumes(pod_dir: &Path) {
    let Ok(entries) = fs::read_dir(pod_dir.join("volumes")) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if super::volumes::is_mounted(&path).unwrap_or(false)
            && let Err(error) = ::linux::mount::detach(&path)
        {
            tracing::warn!(error = error.line(), "a volume in memory stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(serde_json::json!({"spec": {
            "volumes": [
                {"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}},
                {"name": "fast", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                {"name": "free", "emptyDir": {}},
            ],
            "containers": [
                {"name": "a", "resources": {"limits": {"ephemeral-storage": "4Mi"}}},
                {"name": "b", "resources": {"limits": {"ephemeral-storage": "4Mi"}}},
            ],
        }}))
        .unwrap()
    }

    fn amount(mebi: u64) -> Amount {
        Amount { bytes: mebi << 20, files: 1 }
    }

    fn used(scratch: u64, free: u64, log: u64) -> Option<String> {
        let own = |list: &[(&str, u64)]| list.iter().map(|(n, b)| (n.to_string(), amount(*b))).collect();
        exceeded(
            &pod(),
            &Use { volumes: own(&[("scratch", scratch), ("free", free)]), logs: own(&[("a", log)]) },
        )
    }

    #[test]
    fn every_tree_of_a_pod_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let (pod_dir, log_dir) = (dir.path().join("pod"), dir.path().join("log"));
        for (path, kibi) in
            [("pod/volumes/scratch", 100), ("pod/volumes/config", 10), ("log/a", 1), ("log/debugger", 200)]
        {
            fs::create_dir_all(dir.path().join(path)).unwrap();
            fs::write(dir.path().join(path).join("f"), vec![1; kibi << 10]).unwrap();
        }
        let soon = Instant::now() + walk::POD_TIME;
        let found = measure(&pod_dir, &log_dir, soon).unwrap();
        assert_eq!(found.volumes.keys().collect::<Vec<_>>(), ["config", "scratch"]);
        assert_eq!(found.logs.keys().collect::<Vec<_>>(), ["a", "debugger"], "ephemeral containers too");
        assert_eq!(found.total().files, 4);
        assert!(found.logs["debugger"].bytes >= 200 << 10 && found.total().bytes >= 311 << 10);
        assert_eq!(
            measure(&dir.path().join("none"), &dir.path().join("none"), soon).unwrap(),
            Use::default()
        );
    }

    #[test]
    fn limits_of_init_containers_and_sidecars_count() {
        let limits = |mebi: u32| serde_json::json!({"limits": {"ephemeral-storage": format!("{mebi}Mi")}});
        let one = |init: serde_json::Value, main: serde_json::Value| -> Pod {
            let init = serde_json::json!([init]);
            let main = serde_json::json!([{"name": "a", "resources": main}]);
            let volumes = serde_json::json!([{"name": "free", "emptyDir": {}}]);
            let spec = serde_json::json!({"volumes": volumes, "initContainers": init, "containers": main});
            serde_json::from_value(serde_json::json!({"spec": spec})).unwrap()
        };
        let exceeds = |pod: &Pod, mebi: u64| {
            let used = Use { volumes: [("free".to_string(), amount(mebi))].into(), ..Use::default() };
            exceeded(pod, &used).is_some()
        };
        let unpacks = one(serde_json::json!({"name": "i", "resources": limits(8)}), limits(1));
        assert!(!exceeds(&unpacks, 8) && exceeds(&unpacks, 9), "the larger one is the pod's");
        let sidecar = serde_json::json!({"name": "i", "restartPolicy": "Always", "resources": limits(2)});
        let only_there = one(sidecar.clone(), serde_json::json!({}));
        assert!(has_limits(&only_there) && exceeds(&only_there, 3));
        let both = one(sidecar, limits(1));
        assert!(!exceeds(&both, 3) && exceeds(&both, 4), "both run at a time");
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        let one = |limit: &str| -> Pod {
            let volume = serde_json::json!({"name": "scratch", "emptyDir": {"sizeLimit": limit}});
            serde_json::from_value(serde_json::json!({"spec": {"containers": [], "volumes": [volume]}}))
                .unwrap()
        };
        let used = Use { volumes: [("scratch".to_string(), amount(1))].into(), ..Use::default() };
        assert!(!has_limits(&one("0")) && exceeded(&one("0"), &used).is_none());
        assert!(has_limits(&one("1")) && exceeded(&one("1"), &used).is_some());
    }

    #[test]
    fn limits_of_volumes_containers_and_pods_are_kept() {
        assert_eq!(used(1, 2, 1), None);
        assert_eq!(
            used(2, 0, 0).unwrap(),
            "Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\". "
        );
        assert!(used(0, 0, 5).unwrap().starts_with("Container a exceeded its local ephemeral storage limit"));
        assert!(used(0, 9, 0).unwrap().starts_with("Pod ephemeral local storage usage exceeds"));
        assert!(has_limits(&pod()));
        let hidden = Use { volumes: [("scratch".to_string(), Amount::BEYOND)].into(), ..Use::default() };
        assert!(exceeded(&pod(), &hidden).unwrap().contains("EmptyDir volume \"scratch\" exceeds"));
        let of_kubelet = Use { volumes: [("config".to_string(), amount(9))].into(), ..Use::default() };
        assert_eq!(exceeded(&pod(), &of_kubelet), None, "no volume of the pod");
        assert_eq!(of_kubelet.total(), amount(9));
        let shown = |source: &str| {
            let volume = serde_json::json!({"name": "config", source: {}});
            let mut pod = pod();
            let volumes = pod.spec.as_mut().unwrap().volumes.as_mut().unwrap();
            volumes.push(serde_json::from_value(volume).unwrap());
            exceeded(&pod, &of_kubelet).is_some()
        };
        assert_eq!(["configMap", "secret", "projected"].map(shown), [true, false, false], "as upstream");
        let mut half = pod();
        half.spec.as_mut().unwrap().containers[1].resources = None;
        let of_volume = |mebi| Use { volumes: [("free".to_string(), amount(mebi))].into(), ..Use::default() };
        assert_eq!(exceeded(&half, &of_volume(4)), None);
        assert!(exceeded(&half, &of_volume(5)).unwrap().ends_with("limit of containers 4Mi. "));
        let in_log = Use { logs: [("a".to_string(), Amount::BEYOND)].into(), ..Use::default() };
        assert!(exceeded(&pod(), &in_log).is_some());
        let mut free = pod();
        free.spec.as_mut().unwrap().volumes.as_mut().unwrap().remove(0);
        free.spec.as_mut().unwrap().containers.iter_mut().for_each(|c| c.resources = None);
        assert!(!has_limits(&free), "a volume in memory limits itself");
    }
}
