//! Local storage: what a pod uses of the node's disk, and whether that is more than it may. What is over its limit is evicted, as by upstream's
//! eviction manager (`localStorageEviction`).
//!
//! Counted are volumes of kind emptyDir on the disk and logs. A volume in memory has its size as a limit of its own. The writable layers of
//! containers are the runtime's and are not counted.

use crate::api::quantity::Quantity;
use crate::linux::beneath::{Kind, Root};
use k8s_openapi::api::core::v1::{Container as Spec, Pod, Volume};
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A pod with limits is measured this often: upstream's housekeeping interval.
pub const EVERY: Duration = Duration::from_secs(10);
/// Files of one directory tree that are looked at, at most; what a pod has beyond that is not seen.
const FILES_MAX: usize = 200_000;

/// Bytes on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// By volume: each emptyDir on the disk.
    pub volumes: BTreeMap<String, u64>,
    /// By container.
    pub logs: BTreeMap<String, u64>,
}

fn on_disk(volume: &Volume) -> bool {
    volume.empty_dir.as_ref().is_some_and(|e| e.medium.as_deref().unwrap_or_default().is_empty())
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    let all = pod.spec.as_ref().and_then(|s| s.volumes.as_deref()).unwrap_or_default();
    all.iter().filter(|v| on_disk(v))
}

fn bytes(text: &str) -> Option<u64> {
    u64::try_from(Quantity::parse(text)?.units()).ok()
}

fn size_limit(volume: &Volume) -> Option<&str> {
    Some(volume.empty_dir.as_ref()?.size_limit.as_ref()?.0.as_str())
}

fn storage_limit(container: &Spec) -> Option<&str> {
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    limits.get("ephemeral-storage").map(|q| q.0.as_str())
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Spec> {
    pod.spec.iter().flat_map(|s| &s.containers)
}

/// Whether anything limits what this pod may use of the disk.
pub fn has_limits(pod: &Pod) -> bool {
    volumes(pod).any(|v| size_limit(v).is_some()) || containers(pod).any(|c| storage_limit(c).is_some())
}

/// Why the pod has to be evicted, in upstream's words; `None` if it keeps to its limits. Pure.
///
/// ```text
/// emptyDir "scratch" with sizeLimit 1Mi, 2 MiB used  ->  Usage of EmptyDir volume "scratch" exceeds the limit "1Mi".
/// ```
pub fn exceeded(pod: &Pod, used: &Use) -> Option<String> {
    for volume in volumes(pod) {
        let (Some(limit), Some(now)) = (size_limit(volume), used.volumes.get(&volume.name)) else { continue };
        if bytes(limit).is_some_and(|most| *now > most) {
            let name = &volume.name;
            return Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit {limit:?}. "));
        }
    }
    for container in containers(pod) {
        let (Some(limit), Some(now)) = (storage_limit(container), used.logs.get(&container.name)) else {
            continue;
        };
        if bytes(limit).is_some_and(|most| *now > most) {
            let name = &container.name;
            return Some(format!("Container {name} exceeded its local ephemeral storage limit {limit:?}. "));
        }
    }
    // The pod has a limit if each of its containers has one.
    let limits: Option<Vec<u64>> = containers(pod).map(|c| storage_limit(c).and_then(bytes)).collect();
    let most = limits.filter(|limits| !limits.is_empty())?.into_iter().fold(0, u64::saturating_add);
    let now = used.volumes.values().chain(used.logs.values()).fold(0, |sum: u64, n| sum.saturating_add(*n));
    (now > most)
        .then(|| format!("Pod ephemeral local storage usage exceeds the total limit of containers {most}. "))
}

/// Measures what a pod uses. It reads directories, so it is for a thread that may block.
pub fn measure(pod: &Pod, pod_dir: &Path, log_dir: &Path) -> Use {
    let of_volume = |v: &Volume| (v.name.clone(), size(&pod_dir.join("volumes").join(&v.name)));
    let of_container = |c: &Spec| (c.name.clone(), size(&log_dir.join(&c.name)));
    Use { volumes: volumes(pod).map(of_volume).collect(), logs: containers(pod).map(of_container).collect() }
}

/// Bytes on the disk of all that is below a directory of the kubelet's, of files with several names once. Links are not followed: the content is
/// the pod's. What cannot be read counts nothing.
fn size(dir: &Path) -> u64 {
    let Ok(root) = Root::open(dir) else { return 0 };
    let (mut sum, mut seen, mut named) = (0_u64, 0, HashSet::new());
    let mut left = vec![PathBuf::from(".")];
    while let Some(at) = left.pop() {
        let Ok(directory) = root.open_beneath(&at, Kind::Directory) else { continue };
        let Ok(entries) = fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd())) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > FILES_MAX {
                return sum;
            }
            let Ok(found) = entry.metadata() else { continue };
            if found.nlink() > 1 && !found.is_dir() && !named.insert((found.dev(), found.ino())) {
                continue;
            }
            sum = sum.saturating_add(found.blocks().saturating_mul(512));
            if found.is_dir() {
                left.push(at.join(entry.file_name()));
            }
        }
    }
    sum
}

/// Takes away what the kubelet mounted for a pod, so that its directory can be removed.
pub fn unmount(pod_dir: &Path) {
    let Ok(entries) = fs::read_dir(pod_dir.join("volumes")) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if super::volumes::is_mounted(&path).unwrap_or(false)
            && let Err(error) = crate::linux::mount::detach(&path)
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

    fn used(scratch: u64, free: u64, log: u64) -> Option<String> {
        let own = |list: &[(&str, u64)]| list.iter().map(|(n, b)| (n.to_string(), b << 20)).collect();
        exceeded(
            &pod(),
            &Use { volumes: own(&[("scratch", scratch), ("free", free)]), logs: own(&[("a", log)]) },
        )
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
        let mut free = pod();
        free.spec.as_mut().unwrap().volumes.as_mut().unwrap().remove(0);
        free.spec.as_mut().unwrap().containers.iter_mut().for_each(|c| c.resources = None);
        assert!(!has_limits(&free), "a volume in memory limits itself");
    }

    #[test]
    fn links_lead_no_count_outside_and_names_count_once() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        fs::create_dir_all(inside.join("deep/er")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("large"), vec![1; 8 << 20]).unwrap();
        fs::write(inside.join("deep/er/file"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(inside.join("deep/er/file"), inside.join("again")).unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        std::os::unix::fs::symlink(".", inside.join("loop")).unwrap();
        let found = size(&inside);
        assert!((1 << 20..2 << 20).contains(&found), "{found}");
        assert_eq!(size(&dir.path().join("missing")), 0);
    }
}
