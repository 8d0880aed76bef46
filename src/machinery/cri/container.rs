//! Containers: how one is to be made, and what becomes of it.

use clock::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A file or directory that a container sees at `container_path`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// A trusted directory in which `host_path` is looked up as if it were `/`, when the container
    /// starts: a link in it never leads outside. Set it where `host_path` comes from an object
    /// (hostPath and local volumes: the node's file system). `None`: `host_path` is trusted, made
    /// by the kubelet itself.
    pub host_root: Option<PathBuf>,
    /// The source: absolute, or as seen from `host_root`.
    pub host_path: PathBuf,
    /// A part of it, relative; empty is the whole. Made as a directory if it is not there. The real
    /// CRI has no such field: there the kubelet binds the part to a place of its own first. A pod
    /// that can write into a volume decides what names in it lead to, so the part is looked up when
    /// it is mounted, and never outside of `host_path`.
    pub sub_path: PathBuf,
    /// Where the container sees it; absolute.
    pub container_path: PathBuf,
    /// Nothing in it can be written from the container, also in what is mounted below.
    pub read_only: bool,
}

/// Limits as the kernel wants them. `None` means unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// `cpu.shares` of cgroup v1: max(2, request in millicores * 1024 / 1000).
    pub cpu_shares: u64,
    /// CPU limit in millicores.
    pub cpu_limit_milli: Option<u64>,
    /// Memory limit in bytes.
    pub memory_limit: Option<u64>,
    /// How many processes and threads there may be at a time.
    pub pids_limit: Option<u64>,
    /// How soon the kernel ends its processes when memory runs out: -1000 (never) to 1000 (first).
    /// The runtime raises values below its own.
    pub oom_score_adj: i32,
}

/// What the processes of a container may do, and as whom (`LinuxContainerSecurityContext` in CRI).
/// Ids are numbers inside the container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// `None`: the image's user.
    pub run_as_user: Option<u32>,
    /// `runAsNonRoot`: no container is made whose user, the image's too, is 0.
    pub non_root: bool,
    /// `None`: the group that `/etc/passwd` has for the user, else 0.
    pub run_as_group: Option<u32>,
    /// Further groups of the process, beside its own.
    pub supplemental_groups: Vec<u32>,
    /// `supplementalGroupsPolicy: Strict`: the process gets none of the groups that `/etc/group` of
    /// the image gives the user.
    pub strict_groups: bool,
    /// `readOnlyRootFilesystem`: only volumes can be written.
    pub read_only_root: bool,
    /// All capabilities and devices, and no filter of system calls.
    pub privileged: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privs: bool,
    /// Capability names without `CAP_`, or `ALL`.
    pub add_capabilities: Vec<String>,
    /// Capability names without `CAP_`, or `ALL`.
    pub drop_capabilities: Vec<String>,
}

/// How a container is to be made. `attempt` is 0 for the first container of this name in a pod, and
/// grows with each restart.
#[derive(Clone, Debug, Default)]
pub struct ContainerConfig {
    /// The container's name in its pod, e.g. `web`.
    pub name: String,
    /// 0, or how many containers of this name there were before.
    pub attempt: u32,
    /// As the pod wrote it, e.g. `nginx`; resolved by the runtime.
    pub image: String,
    /// Overrides the image's entrypoint if not empty.
    pub command: Vec<String>,
    /// Overrides the image's arguments if not empty (or if `command` is given).
    pub args: Vec<String>,
    /// `None`: the image's directory.
    pub working_dir: Option<String>,
    /// Names and values, beside the image's own.
    pub env: Vec<(String, String)>,
    /// Volumes and files that it sees. The runtime mounts one in another after that other; of
    /// those at equal depth the first is first.
    pub mounts: Vec<Mount>,
    /// Relative to the sandbox' log directory, in CRI log format.
    pub log_path: PathBuf,
    /// The process has an input that sessions can write to. Without it and without a terminal the
    /// input is at its end from the beginning.
    pub stdin: bool,
    /// The input ends when the first session that wrote to it ends. That of a terminal never ends.
    pub stdin_once: bool,
    /// The three streams are one terminal.
    pub tty: bool,
    /// Its limits.
    pub resources: Resources,
    /// What its processes may do, and as whom.
    pub security: Security,
    /// Kept and listed by the runtime, which does not read them.
    pub labels: BTreeMap<String, String>,
    /// Kept and listed by the runtime, which does not read them.
    pub annotations: BTreeMap<String, String>,
}

/// As whom the first process of a container runs, in numbers inside the container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Its user.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// All its groups, the primary one included, in ascending order.
    pub groups: Vec<u32>,
}

/// How far a container has come. It is started once at most: a restart is another container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// It is prepared, and its program does not run yet. Its start may be on its way.
    Created,
    /// Its first process runs.
    Running,
    /// Its first process has ended, or could not be started.
    Exited,
}

/// A container as the runtime lists it (`ContainerStatus` in CRI). `started_at` and `finished_at`
/// are absent until then.
#[derive(Clone, Debug)]
pub struct Container {
    /// Made by the runtime, unique on its node.
    pub id: String,
    /// The sandbox that it is in.
    pub sandbox_id: String,
    /// The container's name in its pod.
    pub name: String,
    /// 0 for the first container of this name; grows with each restart.
    pub attempt: u32,
    /// How far it has come.
    pub state: ContainerState,
    /// The first tag of its image, normalized.
    pub image: String,
    /// Content digest, `sha256:…`.
    pub image_id: String,
    /// When it was prepared.
    pub created_at: Timestamp,
    /// When its program began.
    pub started_at: Option<Timestamp>,
    /// When its first process ended.
    pub finished_at: Option<Timestamp>,
    /// 128 + signal for a process ended by one.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`.
    pub reason: String,
    /// Why it did not start or how it ended, for people; often empty.
    pub message: String,
    /// What the pod asked for and this container does not have, one sentence each, e.g.
    /// capabilities that the machine does not grant. Known once the container was started; empty if
    /// all was honoured. The kubelet reports each in an Event.
    pub warnings: Vec<String>,
    /// `None` where the runtime runs no process of the kernel's.
    pub user: Option<User>,
    /// Absolute.
    pub log_path: PathBuf,
    /// As they were given in [`ContainerConfig`].
    pub labels: BTreeMap<String, String>,
    /// As they were given in [`ContainerConfig`].
    pub annotations: BTreeMap<String, String>,
}
