//! What every kind of cgroup offers to a cluster: groups with limits.

use crate::Result;
use crate::usage::Usage;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Killed processes leave their group within this time, on a machine that has much else to do: the
/// janitor that gave up earlier left it for good. It is for all groups of a cluster together, in
/// however many trees they are: others wait for its lock meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long [`Group::remove`] waits for a group to become free: as a rule the last process leaves
/// it within a few milliseconds.
pub const BUSY: Duration = Duration::from_millis(200);

/// Limits of one group: a pod's, or a container's in it. `None` means unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// As `cpu.shares` of v1; 0 means the default.
    pub cpu_shares: u64,
    /// Millicores.
    pub cpu_milli: Option<u64>,
    /// Bytes. Swap is not given beyond it, where [`Backend::controls_swap`].
    pub memory: Option<u64>,
    /// How many processes and threads there may be at a time.
    pub pids: Option<u64>,
    /// The group is for other groups and has no processes of its own: a pod's, in which its
    /// containers' are (`pod/container`).
    pub of_groups: bool,
    /// Device nodes may be made, but only null, zero, full, random, urandom and terminals may be
    /// opened. Holds where [`Backend::controls_devices`].
    pub harmless_devices: bool,
}

/// The reason why limits, or some of them, are not enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What decides which advice helps.
    pub missing: Missing,
    /// The reason in words, with its path.
    pub why: String,
}

/// What limits need and this process does not have. A list names the controllers by which nothing
/// is limited, of `memory`, `pids` and `cpu`; limits by the others hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// v2: these controllers. Memory is one of them, and no group of the tree has it: the kernel
    /// does not count memory (`cgroup_disable=memory`), or this container has no such controller.
    MemoryController(Vec<&'static str>),
    /// v2: these controllers, which a group of this user's is not given.
    Delegation(Vec<&'static str>),
    /// v1: writable trees of these controllers.
    Trees(Vec<&'static str>),
    /// A group in which this process may make others.
    Group,
}

impl Missing {
    /// Returns the controllers that limit nothing.
    pub fn controllers(&self) -> &[&'static str] {
        match self {
            Missing::MemoryController(names) | Missing::Delegation(names) | Missing::Trees(names) => names,
            Missing::Group => &CONTROLLERS,
        }
    }
}

/// The controllers that a cluster needs.
pub(super) const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// The memory of all pods of a cluster together, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// What they may use at most.
    pub limit: u64,
    /// What they use, without what the kernel takes back when it needs it.
    pub working_set: u64,
}

/// How a new process gets into a group.
#[derive(Debug, Default)]
pub struct Entry {
    /// For CLONE_INTO_CGROUP.
    pub directory: Option<OwnedFd>,
    /// v1: the new process writes `0` into each, before it changes its root.
    pub tasks: Vec<PathBuf>,
}

/// The cluster's own group, and those of its containers in it.
pub trait Backend: Send + Sync {
    /// Returns `v2`, `v2 (memory, pids)` where it lacks some, `v1 (memory, cpu, …)`, or `none:
    /// reason`.
    fn describe(&self) -> String;
    /// Returns why limits, or some of them, are not enforced; `None` if all are.
    fn lacks(&self) -> Option<Lack>;
    /// Returns whether a group can refuse to open devices.
    fn controls_devices(&self) -> bool;
    /// Returns whether a memory limit bounds swap, too: the kernel counts swap, or the machine has
    /// none.
    fn controls_swap(&self) -> bool;
    /// Returns whether [`Group::kill`] works: without it processes that a container's first process
    /// leaves behind in a shared PID namespace run on.
    fn kills(&self) -> bool;
    /// Returns the memory of all pods together. `None` where the kernel does not count it for us.
    fn memory(&self) -> Option<Shared>;
    /// Makes a group with limits, each of them read back. One whose controller is missing here
    /// ([`Backend::lacks`]) is left out. An id `pod/container` is a group in another one, which
    /// exists.
    fn create(&self, id: &str, limits: &Limits) -> Result<Arc<dyn Group>>;
    /// Kills what still runs in the cluster's groups and removes them all.
    fn destroy(&self);
}

/// The group of a pod or of a container.
pub trait Group: Send + Sync {
    /// Opens what a process needs to be born in this group.
    fn entry(&self) -> Result<Entry>;
    /// Returns what it has used; `None` where the kernel does not count for us.
    fn usage(&self) -> Option<Usage>;
    /// Returns how many processes the OOM killer took here.
    fn oom_kills(&self) -> u64;
    /// Kills every process in it. Blocks on cgroup v1, and before Linux 5.14. Errors:
    /// `Unsupported` without control groups.
    fn kill(&self) -> Result<()>;
    /// Removes the empty group and those in it. Blocks for at most [`BUSY`] in each tree.
    /// Idempotent.
    ///
    /// # Errors
    /// `ResourceBusy`: it still holds a process, which may be one that ends slowly. It can be tried
    /// again.
    fn remove(&self) -> Result<()>;
}
