//! Node pressure: what happens when pods without limits fill the disk. Pure, but for [`free`].
//!
//! ## In Kubernetes
//! The kubelet's eviction manager compares what is free on the node's file system with *hard eviction thresholds*: `nodefs.available` below 10 %,
//! `nodefs.inodesFree` below 5 %. Then it sets the node's condition *DiskPressure*, which becomes a taint, so that no new pod comes, and evicts one pod after
//! another without a grace period: first those that use more than they request, of these the least important, of these the one that uses most.
//! Source: `pkg/kubelet/eviction`.
//! ## How this one works
//! All nodes lie on one disk of the learner's machine. Each node has a share of [`CAPACITY`] bytes, and the machine's disk a reserve ([`Thresholds`]).
//! A node whose pods use more than the share evicts its own worst pod. When the reserve is touched, all nodes have DiskPressure, but only the one with the
//! largest pod evicts, one pod at a time ([`Disk`]).
//!
//! The file system is asked up to ten times a second, sooner the less room there is ([`pause`]); directories are only walked when so much was written to the
//! whole disk that the share may be used up ([`super::rounds`]). A process that writes [`RATE`] is caught before it has used up the reserve. One that allocates without
//! writing (fallocate(2)) can fill the disk for about a second, until it is killed and its volumes are removed.

use super::walk::Amount;
use crate::client::Key;
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

/// A node's share of the disk in bytes: `status.capacity["ephemeral-storage"]`.
pub const CAPACITY: u64 = 10 << 30;
/// What of it is kept free: `nodefs.available<10%`.
const NODE_RESERVE: u64 = CAPACITY / 10;
/// `status.allocatable["ephemeral-storage"]`.
pub const ALLOCATABLE: u64 = CAPACITY - NODE_RESERVE;
/// Bytes of the machine's disk that pods leave free, at most. Upstream's 10 % of a large disk would evict pods on machines that have room.
const DISK_RESERVE: u64 = 1 << 30;
/// Inodes of the machine's disk that pods leave free, at most.
const FILES_RESERVE: u64 = 100_000;
/// Under pressure of the machine's disk a pod is worth its eviction if it has at least so many bytes, or files: the disk may be full of something else.
const WORTH: Amount = Amount { bytes: 16 << 20, files: 1000 };
/// Bytes that are written in a second, and files that are made in a second, at most.
pub const RATE: Amount = Amount { bytes: 2 << 30, files: 500_000 };
/// The file system is asked after at least, and at most, this time.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// A node that has not looked for so long is gone, or switched off.
const GONE: Duration = Duration::from_secs(5);
/// The nodes wait this long for each other's figures before one of them evicts.
const TOGETHER: Duration = Duration::from_secs(2);
/// Pods of at least this priority are never evicted in kube-system: `system-cluster-critical`.
pub const CRITICAL: i32 = 2_000_000_000;

/// What a file system has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Free {
    pub now: Amount,
    /// Zero files: the file system has no fixed number of them.
    pub total: Amount,
}

/// Asks the file system of this directory.
///
/// # Errors
/// As statvfs(3).
pub fn free(dir: &Path) -> std::io::Result<Free> {
    let found = nix::sys::statvfs::statvfs(dir)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
    Ok(Free {
        now: Amount { bytes: bytes(found.blocks_available()), files: found.files_available() },
        total: Amount { bytes: bytes(found.blocks()), files: found.files() },
    })
}

/// How much of the machine's disk pods leave free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds(Amount);

impl Thresholds {
    /// 10 % of the bytes and 5 % of the inodes, but no more than half of what is free now: a cluster on a nearly full disk works too.
    pub fn of(free: &Free) -> Thresholds {
        Thresholds(Amount {
            bytes: (free.total.bytes / 10).min(DISK_RESERVE).min(free.now.bytes / 2),
            files: (free.total.files / 20).min(FILES_RESERVE).min(free.now.files / 2),
        })
    }
}

/// A signal that is below its threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Low {
    pub resource: &'static str,
    threshold: u64,
    available: u64,
    /// The machine's disk, not this node's share.
    pub of_disk: bool,
}

/// Whether the disk is low, or else this node's share, of which its pods use `used` bytes.
pub fn low(free: &Free, thresholds: Thresholds, used: u64) -> Option<Low> {
    let least = thresholds.0;
    let available = CAPACITY.saturating_sub(used);
    let low = |resource, threshold, available, of_disk| Some(Low { resource, threshold, available, of_disk });
    match () {
        () if free.now.bytes < least.bytes => low("ephemeral-storage", least.bytes, free.now.bytes, true),
        () if free.now.files < least.files => low("inodes", least.files, free.now.files, true),
        () if available < NODE_RESERVE => low("ephemeral-storage", NODE_RESERVE, available, false),
        () => None,
    }
}

/// When to ask the file system next: before a process that writes [`RATE`] has used up the room above the thresholds.
///
/// ```text
/// 9 GiB above the threshold  ->  1 s      512 MiB above  ->  250 ms      at the threshold  ->  100 ms
/// ```
pub fn pause(free: &Free, thresholds: Thresholds, used: u64) -> Duration {
    let seconds = |room: u64, rate: u64| room as f64 / rate as f64;
    let bytes = free.now.bytes.saturating_sub(thresholds.0.bytes).min(ALLOCATABLE.saturating_sub(used));
    let mut wait = seconds(bytes, RATE.bytes);
    if thresholds.0.files > 0 {
        wait = wait.min(seconds(free.now.files.saturating_sub(thresholds.0.files), RATE.files));
    }
    Duration::from_secs_f64(wait).clamp(PAUSE.0, PAUSE.1)
}

/// A pod's use of the disk, and what it may use.
#[derive(Clone, Debug)]
pub struct Usage {
    pub key: Key,
    pub uid: String,
    pub priority: i32,
    /// Bytes: the sum of what its containers request.
    pub request: u64,
    /// Everything that the pod may have written: volumes, logs, and directories of the node that it mounts.
    pub amount: Amount,
    /// Name, bytes of its logs, bytes that it requests.
    pub containers: Vec<(String, u64, u64)>,
}

impl Usage {
    fn of(&self, resource: &str) -> u64 {
        if resource == "inodes" { self.amount.files } else { self.amount.bytes }
    }
}

/// Bytes of the disk that a container requests; without a request its limit.
pub fn request(container: &k8s_openapi::api::core::v1::Container) -> u64 {
    let amounts = container.resources.clone().unwrap_or_default();
    let of = |map: Option<BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>| {
        map.and_then(|m| m.get("ephemeral-storage").and_then(|q| super::eviction::bytes(&q.0)))
    };
    of(amounts.requests).or(of(amounts.limits)).unwrap_or(0)
}

/// Whether a pod may be evicted: not one that the cluster needs, and not one that has ended. Static pods are the kubelet's own and are not asked about; an
/// annotation says nothing here.
pub fn evictable(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
    priority(pod) < CRITICAL && !matches!(phase, "Succeeded" | "Failed")
}

/// How important a pod is to the node. Whoever may create pods may name `system-node-critical`; upstream spares them all. Here that counts in kube-system only,
/// where ordinary users write nothing: elsewhere a pod with a critical priority is as one without any, or it would fill the disk, and all others would be evicted for it.
///
/// ```text
/// kube-system, system-node-critical  ->  2000001000       default, system-node-critical  ->  0       default, 1000  ->  1000
/// ```
pub fn priority(pod: &Pod) -> i32 {
    let named = pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0);
    let of_system = pod.metadata.namespace.as_deref() == Some("kube-system");
    if named >= CRITICAL && !of_system { 0 } else { named }
}

/// The pod to evict: one that uses more than it requests before one that does not, then the lower priority, then the larger excess.
pub fn victim<'a>(pods: &'a [Usage], low: &Low) -> Option<&'a Usage> {
    let worth = if low.resource == "inodes" { WORTH.files } else { WORTH.bytes };
    let excess = |pod: &Usage| match low.resource {
        "inodes" => pod.amount.files,
        _ => pod.amount.bytes.saturating_sub(pod.request),
    };
    let rank = |pod: &&Usage| (excess(pod) > 0, std::cmp::Reverse(pod.priority), excess(pod));
    pods.iter().filter(|pod| pod.of(low.resource) >= worth).max_by_key(rank)
}

/// Why the pod has to go, in upstream's words.
pub fn message(pod: &Usage, low: &Low) -> String {
    let amount = |n: u64| if low.resource == "inodes" { n.to_string() } else { binary(n) };
    let mut text = format!(
        "The node was low on resource: {}. Threshold quantity: {}, available: {}. ",
        low.resource,
        amount(low.threshold),
        amount(low.available)
    );
    for (name, used, request) in pod.containers.iter().filter(|(_, used, request)| used > request) {
        if low.resource == "ephemeral-storage" {
            text.push_str(&format!(
                "Container {name} was using {}, request is {}, has larger consumption of {}. ",
                binary(*used),
                binary(*request),
                low.resource
            ));
        }
    }
    text
}

/// Bytes as a quantity: `1Gi`, `1536Mi`, `0`.
fn binary(bytes: u64) -> String {
    let fits = [("Gi", 30), ("Mi", 20), ("Ki", 10)]
        .into_iter()
        .find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    fits.map_or(bytes.to_string(), |(suffix, shift)| format!("{}{suffix}", bytes >> shift))
}

/// The machine's disk, as the nodes of one cluster share it: so that under its pressure one of them evicts, and not each of them.
#[derive(Default)]
pub struct Disk {
    thresholds: OnceLock<Thresholds>,
    nodes: Mutex<Nodes>,
}

#[derive(Default)]
struct Nodes {
    /// When the disk was found low.
    low_since: Option<Instant>,
    by_name: BTreeMap<String, Figures>,
}

#[derive(Clone, Copy)]
struct Figures {
    looked: Instant,
    measured: Instant,
    /// What its largest pod has of the resource that is low.
    worst: u64,
}

impl Disk {
    /// The same for all nodes, from what the first of them found.
    pub fn thresholds(&self, free: &Free) -> Thresholds {
        *self.thresholds.get_or_init(|| Thresholds::of(free))
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A node found the disk low, or not.
    pub fn looked(&self, node: &str, low: bool, now: Instant) {
        let mut nodes = self.nodes();
        nodes.low_since = if low { nodes.low_since.or(Some(now)) } else { None };
        let new = Figures { looked: now, measured: now, worst: 0 };
        nodes.by_name.entry(node.into()).or_insert(new).looked = now;
    }

    /// Under pressure: a node has measured its pods. Whether it is the one to evict its worst: all others that live have measured too, and have none that is larger.
    pub fn is_worst(&self, node: &str, worst: u64, now: Instant) -> bool {
        let mut nodes = self.nodes();
        nodes.by_name.insert(node.into(), Figures { looked: now, measured: now, worst });
        let since = nodes.low_since.unwrap_or(now);
        let late = now.saturating_duration_since(since) >= TOGETHER;
        let mut others = nodes.by_name.iter().filter(|(name, figures)| {
            name.as_str() != node && now.saturating_duration_since(figures.looked) < GONE
        });
        others.all(|(name, other)| {
            let current = other.measured >= since;
            if current { (other.worst, name.as_str()) < (worst, node) } else { late }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn disk(total: u64, free: u64) -> Free {
        Free { now: Amount { bytes: free, files: 1 << 20 }, total: Amount { bytes: total, files: 1 << 21 } }
    }

    fn usage(name: &str, mebi: u64, request: u64, priority: i32) -> Usage {
        Usage {
            key: Key::new("default", name),
            uid: name.into(),
            priority,
            request: request << 20,
            amount: Amount { bytes: mebi << 20, files: mebi },
            containers: vec![("c".into(), 3 << 19, 0), ("d".into(), 5, 10)],
        }
    }

    #[test]
    fn a_reserve_is_left_and_a_nearly_full_disk_is_no_pressure() {
        let large = disk(500 * GIB, 40 * GIB);
        let thresholds = Thresholds::of(&large);
        assert_eq!(thresholds.0, Amount { bytes: GIB, files: 100_000 });
        assert_eq!(low(&large, thresholds, 0), None);
        let small = disk(4 * GIB, GIB / 2);
        assert_eq!(Thresholds::of(&small).0.bytes, GIB / 4);
        assert_eq!(low(&small, Thresholds::of(&small), 0), None);
        assert!(low(&disk(500 * GIB, GIB - 1), thresholds, 0).unwrap().of_disk);
        let few = Free { now: Amount { bytes: 40 * GIB, files: 99_999 }, ..large };
        assert_eq!(low(&few, thresholds, 0).unwrap().resource, "inodes");
        let no_count =
            Free { now: Amount { bytes: 40 * GIB, files: 0 }, total: Amount { bytes: 500 * GIB, files: 0 } };
        assert_eq!(low(&no_count, Thresholds::of(&no_count), 0), None, "btrfs has no fixed number of inodes");
    }

    #[test]
    fn a_node_uses_no_more_than_its_share() {
        let (free, thresholds) = (disk(500 * GIB, 400 * GIB), Thresholds::of(&disk(500 * GIB, 400 * GIB)));
        assert_eq!(low(&free, thresholds, ALLOCATABLE), None);
        let found = low(&free, thresholds, ALLOCATABLE + 1).unwrap();
        assert_eq!((found.of_disk, found.resource), (false, "ephemeral-storage"));
        assert!(low(&free, thresholds, u64::MAX).is_some(), "files that cannot be counted");
    }

    #[test]
    fn the_next_look_comes_before_a_fast_writer_has_used_the_room() {
        let thresholds = Thresholds::of(&disk(500 * GIB, 400 * GIB));
        let wait = |free: u64, used: u64| pause(&disk(500 * GIB, free), thresholds, used);
        assert_eq!(wait(400 * GIB, 0), PAUSE.1);
        assert_eq!(wait(GIB + GIB / 2, 0), Duration::from_millis(250));
        assert_eq!(wait(GIB, 0), PAUSE.0);
        assert_eq!(wait(400 * GIB, ALLOCATABLE), PAUSE.0);
    }

    #[test]
    fn the_worst_pod_goes_first() {
        let low = |resource| Low { resource, threshold: GIB, available: GIB / 2 + 1024, of_disk: true };
        let name = |pods: &[Usage], resource| victim(pods, &low(resource)).map(|p| p.uid.clone());
        let storage = |pods: &[Usage]| name(pods, "ephemeral-storage");
        assert_eq!(
            storage(&[usage("keeps", 900, 1000, 0), usage("over", 100, 10, 1000)]),
            Some("over".into())
        );
        assert_eq!(storage(&[usage("high", 900, 0, 1), usage("low", 100, 0, 0)]), Some("low".into()));
        assert_eq!(storage(&[usage("small", 100, 0, 0), usage("large", 101, 0, 0)]), Some("large".into()));
        assert_eq!(storage(&[usage("keeps", 900, 1000, 0)]), Some("keeps".into()), "if there is no other");
        assert_eq!(storage(&[usage("tiny", 15, 0, 0)]), None, "its end would help nobody");
        assert_eq!(
            name(&[usage("few", 999, 0, 0), usage("many", 1000, 0, 5)], "inodes"),
            Some("many".into())
        );
        assert_eq!(
            message(&usage("p", 900, 0, 0), &low("ephemeral-storage")),
            "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 524289Ki. \
             Container c was using 1536Ki, request is 0, has larger consumption of ephemeral-storage. "
        );
    }

    #[test]
    fn what_the_cluster_needs_stays() {
        let pod = |json: serde_json::Value| -> Pod { serde_json::from_value(json).unwrap() };
        let critical = |namespace: &str| serde_json::json!({"metadata": {"namespace": namespace}, "spec": {"containers": [], "priority": 2_000_001_000}});
        for goes in [
            serde_json::json!({"spec": {"containers": []}}),
            serde_json::json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}),
            critical("default"),
        ] {
            assert!(evictable(&pod(goes)));
        }
        for kept in [critical("kube-system"), serde_json::json!({"status": {"phase": "Failed"}})] {
            assert!(!evictable(&pod(kept)));
        }
        let own = serde_json::json!({"spec": {"containers": [], "priority": 1000}});
        let all = [critical("default"), critical("kube-system"), own].map(|json| priority(&pod(json)));
        assert_eq!(all, [0, 2_000_001_000, 1000], "whoever may create pods may name a system class");
    }

    #[test]
    fn one_node_evicts_for_all() {
        let (disk, start) = (Disk::default(), Instant::now());
        let at = |millis: u64| start + Duration::from_millis(millis);
        for node in ["a", "b", "off"] {
            disk.looked(node, false, start);
        }
        let begin = 10_000; // "off" has not looked for long
        disk.looked("a", true, at(begin));
        disk.looked("b", true, at(begin));
        assert!(!disk.is_worst("a", 5, at(begin + 1)), "b has not measured yet");
        assert!(disk.is_worst("b", 7, at(begin + 2)));
        assert!(!disk.is_worst("a", 5, at(begin + 3)));
        assert!(disk.is_worst("a", 9, at(begin + 4)), "it grew meanwhile");
        let tied = (disk.is_worst("a", 7, at(begin + 5)), disk.is_worst("b", 7, at(begin + 6)));
        assert_eq!(tied, (false, true), "one of the two");
        disk.looked("a", false, at(20_000));
        disk.looked("b", true, at(20_001));
        disk.looked("a", true, at(20_001));
        assert!(!disk.is_worst("a", 5, at(20_002)));
        disk.looked("b", true, at(22_000));
        assert!(disk.is_worst("a", 5, at(22_002)), "b hangs");
    }
}
