//! Node pressure: what happens when pods without limits fill the memory or the disk. Pure, but for
//! [`free`].
//!
//! ## In Kubernetes
//! The kubelet's eviction manager compares what is free on the node with *hard eviction
//! thresholds*: `memory.available` below 100Mi, `nodefs.available` below 10 %, `nodefs.inodesFree`
//! below 5 %. Then it sets the node's condition *MemoryPressure* or *DiskPressure*, which becomes a
//! taint, so that no new pod comes, and evicts one pod after another with a second of grace: first
//! those that use more than they request, of these the least important, of these the one that uses
//! most. Under MemoryPressure alone it still takes pods that request something. Source:
//! `pkg/kubelet/eviction`.
//! ## How this one works
//! All nodes have one machine: its disk, and the memory that the control group of all pods may use.
//! Each node has a share of [`CAPACITY`] bytes of the disk, and disk and memory have a reserve
//! ([`Thresholds`]). A node whose pods use more than its share of the disk evicts its own worst
//! pod. When a reserve is touched, all nodes have the condition, but only the one with the largest
//! pod evicts, one pod at a time ([`Machine`]).
//!
//! Both signals take the same way: asked up to ten times a second, sooner the less room there is
//! ([`pause`]); compared ([`low`]); a victim ranked ([`victim`]). They differ in how pods are
//! measured. Memory is read from their control groups at that moment. For the disk, directories are
//! walked when so much was written to the whole disk that the share may be used up
//! ([`super::rounds`]). A process that writes [`RATE`] is caught before it has used up the reserve.
//! One that allocates without writing (fallocate(2)) can fill the disk for about a second, until it
//! is killed and its volumes are removed. One that takes memory faster than that meets the limit of
//! its control group, where the kernel kills.

mod machine;
mod usage;

use super::walk::Amount;
use api::nodes::tolerates;
use api::requests::qos_class;
use k8s_openapi::api::core::v1::{Pod, Taint};
use machine::Nodes;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;
pub(crate) use usage::{ContainerUse, Usage};

/// A node's share of the disk in bytes: `status.capacity["ephemeral-storage"]`.
pub(crate) const CAPACITY: u64 = 10 << 30;
/// Bytes of a node's share that are kept free: `nodefs.available<10%`.
const NODE_RESERVE: u64 = CAPACITY / 10;
/// `status.allocatable["ephemeral-storage"]`.
pub(crate) const ALLOCATABLE: u64 = CAPACITY - NODE_RESERVE;
/// Bytes of the machine's disk that pods leave free, at most. Upstream's 10 % of a large disk would
/// evict pods on machines that have room.
const DISK_RESERVE: u64 = 1 << 30;
/// Inodes of the machine's disk that pods leave free, at most.
const FILES_RESERVE: u64 = 100_000;
/// Bytes of memory that pods leave free, at most: `memory.available<100Mi`.
const MEMORY_RESERVE: u64 = 100 << 20;
/// Under pressure of the machine a pod is worth its eviction if it has at least so many bytes, or
/// files: the machine may be full of something else.
const WORTH: Amount = Amount { bytes: 16 << 20, files: 1000 };
/// Bytes that are written in a second, and files that are made in a second, at most.
pub(crate) const RATE: Amount = Amount { bytes: 2 << 30, files: 500_000 };
/// The machine is asked after at least, and at most, this time.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// A node that has not looked for so long is gone, or switched off.
const GONE: Duration = Duration::from_secs(5);
/// The nodes wait this long for each other's figures before one of them evicts.
const TOGETHER: Duration = Duration::from_secs(2);
/// Pods of at least this priority are never evicted in kube-system: `system-cluster-critical`.
pub(crate) const CRITICAL: i32 = 2_000_000_000;

/// A resource that may run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Memory,
    Storage,
    Inodes,
}

impl Resource {
    /// Returns the resource's name in the message of an eviction.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Resource::Memory => "memory",
            Resource::Storage => "ephemeral-storage",
            Resource::Inodes => "inodes",
        }
    }

    /// Returns the condition that a node has while this resource is low.
    pub(crate) fn pressure(self) -> Pressure {
        match self {
            Resource::Memory => Pressure::Memory,
            Resource::Storage | Resource::Inodes => Pressure::Disk,
        }
    }
}

/// A condition of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    Memory,
    Disk,
}

impl Pressure {
    /// Both conditions.
    pub(crate) const ALL: [Pressure; 2] = [Pressure::Memory, Pressure::Disk];

    /// Returns the `type` of the condition in the Node's status.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Pressure::Memory => "MemoryPressure",
            Pressure::Disk => "DiskPressure",
        }
    }

    /// Returns the reason of the Event about a change of the condition.
    pub(crate) fn reason(self, begins: bool) -> &'static str {
        match (self, begins) {
            (Pressure::Memory, true) => "NodeHasInsufficientMemory",
            (Pressure::Memory, false) => "NodeHasSufficientMemory",
            (Pressure::Disk, true) => "NodeHasDiskPressure",
            (Pressure::Disk, false) => "NodeHasNoDiskPressure",
        }
    }
}

/// Which conditions a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pressures {
    pub memory: bool,
    pub disk: bool,
    /// While the disk is low: tenths of a GiB on it that no eviction frees
    /// ([`super::lasting_files`]).
    pub kept: u64,
}

impl Pressures {
    /// Returns whether the node has the condition.
    pub(crate) fn has(self, pressure: Pressure) -> bool {
        match pressure {
            Pressure::Memory => self.memory,
            Pressure::Disk => self.disk,
        }
    }

    /// Notes that the node has the condition, or no longer.
    pub(crate) fn set(&mut self, pressure: Pressure, on: bool) {
        match pressure {
            Pressure::Memory => self.memory = on,
            Pressure::Disk => self.disk = on,
        }
    }

    /// Returns why a new pod is not taken, in upstream's words; `None` if it is. A pod that comes
    /// while the disk is low would only make it worse. While only memory is low, one that requests
    /// some is taken, and one that tolerates the taint.
    pub(crate) fn refuse(self, pod: &Pod) -> Option<String> {
        let names: Vec<&str> =
            Pressure::ALL.into_iter().filter(|p| self.has(*p)).map(Pressure::name).collect();
        let taint = Taint {
            key: "node.kubernetes.io/memory-pressure".into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        let tolerations = pod.spec.iter().flat_map(|s| s.tolerations.iter().flatten());
        let bears =
            || qos_class(pod) != "BestEffort" || tolerations.into_iter().any(|t| tolerates(t, &taint));
        if names.is_empty() || !evictable(pod) || (!self.disk && bears()) {
            return None;
        }
        Some(format!("The node had condition: [{}]. ", names.join(" ")))
    }
}

/// Free and total space of a file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Free {
    pub now: Amount,
    /// Zero files: the file system has no fixed number of them.
    pub total: Amount,
}

/// The memory of pods and machine, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that all pods together may use.
    pub limit: u64,
    /// The working set of all pods together.
    pub used: u64,
    /// Bytes that the machine has left for everything.
    pub machine: u64,
}

/// The signals of the eviction manager: what the machine has left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signals {
    pub disk: Free,
    /// The memory of the pods and of the machine. `None`: the machine does not measure it.
    pub memory: Option<Memory>,
}

/// Asks the file system of this directory.
///
/// # Errors
/// As statvfs(3).
pub(crate) fn free(dir: &Path) -> std::io::Result<Free> {
    let found = nix::sys::statvfs::statvfs(dir)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
    Ok(Free {
        now: Amount { bytes: bytes(found.blocks_available()), files: found.files_available() },
        total: Amount { bytes: bytes(found.blocks()), files: found.files() },
    })
}

/// Amounts of the machine that pods leave free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thresholds {
    disk: Amount,
    /// Bytes of what pods may use.
    memory: u64,
    /// Bytes of the machine's memory.
    machine: u64,
}

/// Returns how many bytes pods leave free of the memory that they may use together: 100 MiB, and on
/// a small machine a tenth.
pub(crate) fn memory_reserve(limit: u64) -> u64 {
    MEMORY_RESERVE.min(limit / 10)
}

impl Thresholds {
    /// Returns the thresholds of a machine: 10 % of the disk's bytes and 5 % of its inodes, at most
    /// [`DISK_RESERVE`] and [`FILES_RESERVE`], and 100 MiB of memory. Of the disk and of the
    /// machine's memory it is no more than half of what is free now: a cluster on a nearly full
    /// machine works too.
    pub(crate) fn of(now: &Signals) -> Thresholds {
        let (free, memory) = (&now.disk, now.memory.as_ref());
        Thresholds {
            disk: Amount {
                bytes: (free.total.bytes / 10).min(DISK_RESERVE).min(free.now.bytes / 2),
                files: (free.total.files / 20).min(FILES_RESERVE).min(free.now.files / 2),
            },
            memory: memory.map_or(0, |memory| memory_reserve(memory.limit)),
            machine: memory.map_or(0, |memory| MEMORY_RESERVE.min(memory.machine / 2)),
        }
    }
}

/// A signal that is below its threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Low {
    pub resource: Resource,
    threshold: u64,
    available: u64,
    /// The whole machine is low, not this node's share.
    pub shared: bool,
}

/// Returns what is low, memory first, as upstream's eviction manager sorts: memory; the disk, or
/// else this node's share of it, of which its pods use `used` bytes.
pub(crate) fn low(now: &Signals, least: Thresholds, used: u64) -> Vec<Low> {
    let low = |resource, threshold, available, shared| Some(Low { resource, threshold, available, shared });
    let of_memory = now.memory.and_then(|memory| {
        let of_pods = memory.limit.saturating_sub(memory.used);
        match () {
            () if of_pods < least.memory => low(Resource::Memory, least.memory, of_pods, true),
            () if memory.machine < least.machine => {
                low(Resource::Memory, least.machine, memory.machine, true)
            }
            () => None,
        }
    });
    let (free, available) = (now.disk.now, CAPACITY.saturating_sub(used));
    let of_disk = match () {
        () if free.bytes < least.disk.bytes => low(Resource::Storage, least.disk.bytes, free.bytes, true),
        () if free.files < least.disk.files => low(Resource::Inodes, least.disk.files, free.files, true),
        () if available < NODE_RESERVE => low(Resource::Storage, NODE_RESERVE, available, false),
        () => None,
    };
    of_memory.into_iter().chain(of_disk).collect()
}

/// Returns when to ask the machine next: before a process that writes [`RATE`] has used up the room
/// above the thresholds.
///
/// ```text
/// 9 GiB above the threshold  ->  1 s    512 MiB above  ->  250 ms    at the threshold  ->  100 ms
/// ```
pub(crate) fn pause(now: &Signals, least: Thresholds, used: u64) -> Duration {
    let seconds = |room: u64, rate: u64| room as f64 / rate as f64;
    let free = now.disk.now;
    let mut bytes = free.bytes.saturating_sub(least.disk.bytes).min(ALLOCATABLE.saturating_sub(used));
    if let Some(memory) = now.memory {
        let of_pods = memory.limit.saturating_sub(memory.used).saturating_sub(least.memory);
        bytes = bytes.min(of_pods).min(memory.machine.saturating_sub(least.machine));
    }
    let mut wait = seconds(bytes, RATE.bytes);
    if least.disk.files > 0 {
        wait = wait.min(seconds(free.files.saturating_sub(least.disk.files), RATE.files));
    }
    Duration::from_secs_f64(wait).clamp(PAUSE.0, PAUSE.1)
}

/// Returns whether a pod may be evicted: not one that the cluster needs, and not one that has
/// ended. Static pods are the kubelet's own and are not asked about; an annotation says nothing
/// here.
pub(crate) fn evictable(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
    priority(pod) < CRITICAL && !matches!(phase, "Succeeded" | "Failed")
}

/// Returns how important a pod is to the node. A user who may create pods may name
/// `system-node-critical`; upstream spares them all. Here that counts in kube-system only, where
/// ordinary users write nothing: elsewhere a pod with a critical priority is as one without any, or
/// it would fill the disk, and all others would be evicted for it.
///
/// ```text
/// kube-system, system-node-critical  ->  2000001000
/// default, system-node-critical  ->  0       default, 1000  ->  1000
/// ```
pub(crate) fn priority(pod: &Pod) -> i32 {
    let named = pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0);
    let of_system = pod.metadata.namespace.as_deref() == Some("kube-system");
    if named >= CRITICAL && !of_system { 0 } else { named }
}

/// Returns whether the node's share would be used up although all its pods were evicted: what fills
/// it stays. Of the whole machine that is not known.
pub(crate) fn is_futile(pods: &[Usage], low: &Low) -> bool {
    let freed = pods.iter().fold(0u64, |sum, pod| sum.saturating_add(pod.frees(low.resource)));
    !low.shared && low.available.saturating_add(freed) < low.threshold
}

/// Returns the pod to evict: one that uses more than it requests before one that does not, then the
/// lower priority, then the larger excess; of pods that keep to their requests the one that comes
/// closest to it. Where evictions cannot help, only one that still writes files which stay.
///
/// ```text
/// a has 900 MiB of its 1000, b 300 MiB of its 310     ->  b: 10 MiB below its request
/// ```
pub(crate) fn victim<'a>(pods: &'a [Usage], low: &Low) -> Option<&'a Usage> {
    let amount = |all: Amount| if low.resource == Resource::Inodes { all.files } else { all.bytes };
    let worth = amount(WORTH);
    let futile = is_futile(pods, low);
    let excess = |pod: &Usage| pod.excess(low.resource);
    let rank = |pod: &&Usage| (excess(pod) > 0, std::cmp::Reverse(pod.priority), excess(pod));
    let counts = |pod: &&Usage| match futile {
        true => amount(pod.wrote) >= worth,
        false => pod.has(low.resource) >= worth,
    };
    pods.iter().filter(counts).max_by_key(rank)
}

/// Returns why the pod has to go, in upstream's words: what is low, and what uses more of it than
/// it requests. Of a pod that requests memory as a whole, that is said in any case. Source:
/// `evictionMessage` in `pkg/kubelet/eviction/helpers.go`.
pub(crate) fn message(pod: &Usage, low: &Low) -> String {
    let amount = |n: u64| if low.resource == Resource::Inodes { n.to_string() } else { binary(n) };
    let name = low.resource.name();
    let mut text = format!(
        "The node was low on resource: {name}. Threshold quantity: {}, available: {}. ",
        amount(low.threshold),
        amount(low.available)
    );
    if low.resource == Resource::Memory
        && let Some(request) = pod.memory_of_whole
    {
        text.push_str(&format!(
            "Pod {} was using {}, request is {}, has larger consumption of {name}. ",
            pod.key.name,
            binary(pod.memory),
            binary(request),
        ));
    }
    let of = |c: &ContainerUse| match low.resource {
        Resource::Memory => Some((c.memory, c.memory_request)),
        // The log of a container that has ended is still there, but the container uses nothing.
        Resource::Storage => Some((c.logs, c.storage_request)).filter(|_| !c.ends_first),
        Resource::Inodes => None,
    };
    for container in &pod.containers {
        if let Some((used, request)) = of(container).filter(|(used, request)| used > request) {
            text.push_str(&format!(
                "Container {} was using {}, request is {}, has larger consumption of {name}. ",
                container.name,
                binary(used),
                binary(request),
            ));
        }
    }
    text
}

/// Writes bytes as a quantity: `1Gi`, `1536Mi`, `0`.
fn binary(bytes: u64) -> String {
    let fits = [("Gi", 30), ("Mi", 20), ("Ki", 10)]
        .into_iter()
        .find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift));
    fits.map_or(bytes.to_string(), |(suffix, shift)| format!("{}{suffix}", bytes >> shift))
}

/// Asks the machine for its memory; `None`: it is not measured.
pub type Meter = Box<dyn Fn() -> Option<Memory> + Send + Sync>;

/// The machine that the nodes of one cluster share. Under its pressure one node evicts a pod, and
/// not each of them.
pub struct Machine {
    meter: Meter,
    thresholds: OnceLock<Thresholds>,
    /// By pressure: disk and memory may be low at a time.
    nodes: [Mutex<Nodes>; 2],
}

/// A machine whose memory is not measured.
impl Default for Machine {
    fn default() -> Machine {
        Machine::new(Box::new(|| None))
    }
}

#[cfg(test)]
pub(super) mod tests;
