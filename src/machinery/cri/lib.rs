//! # The container runtime interface
//!
//! ## In Kubernetes
//! The kubelet drives containerd or CRI-O over gRPC with the calls of CRI v1: sandboxes,
//! containers, images, streaming.
//! ## How this one works
//! The calls that this kubelet makes as one trait, [`Runtime`]. `runtime` implements it with real
//! namespaces, `cluster` with supervised tasks for control-plane components and addons, and `fake`
//! with memory alone, for tests. The kubelet cannot tell them apart.
//! ## Left out
//! Container checkpoints, runtime handlers, image file-system statistics, metrics. Updates of a
//! container's or a sandbox's resources: pods are not resized in place. Removal of images: those
//! that are built in stay. `ExecSync` is [`Runtime::exec`];
//! `ReopenContainerLog` has no caller, since the runtime moves log files aside itself
//! ([`LogLimits`]). Mounts have no propagation and are read-only with all that is mounted below;
//! containers have no seccomp profile of their own, no AppArmor profile, no SELinux label; of the
//! sysctls only those of the network are set. The API answers a pod that sets such a field with a
//! warning.
//! ## Read next
//! `runtime`, which does it for real; `kubelet`, which asks for it.

#![warn(missing_docs)]

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{broadcast, mpsc, oneshot};

use clock::Timestamp;

mod error;
#[cfg(any(test, feature = "testing"))]
pub mod fake;

pub use error::Error;

/// What the calls of a runtime return.
pub type Result<T> = std::result::Result<T, Error>;

/// Which pod a sandbox is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodId {
    /// `metadata.namespace` of the pod.
    pub namespace: String,
    /// `metadata.name` of the pod.
    pub name: String,
    /// `metadata.uid` of the pod. A pod of the same name that is made later has another one.
    pub uid: String,
}

/// `/etc/resolv.conf` of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Addresses, one `nameserver` line each; resolvers use the first three.
    pub servers: Vec<String>,
    /// Domains that are tried after a short name, e.g. `default.svc.cluster.local`.
    pub searches: Vec<String>,
    /// Words of the line `options`, e.g. `ndots:5`.
    pub options: Vec<String>,
}

/// How much of a container's output is kept: `containerLogMaxSize` and `containerLogMaxFiles` of
/// the kubelet's configuration. CRI leaves moving files aside to the kubelet, which looks every ten
/// seconds; here the runtime does it as it writes, so that the bound holds at any rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Bytes of one file; it is moved aside before it would grow beyond.
    pub max_size: u64,
    /// The current file included; at least 2.
    pub max_files: usize,
}

impl Default for LogLimits {
    fn default() -> LogLimits {
        LogLimits { max_size: 10 << 20, max_files: 5 }
    }
}

/// Where a log is that was moved aside `age` times: `0.log`, `0.log.1`, `0.log.2`, …
pub fn rotated_log(path: &Path, age: usize) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    if age > 0 {
        name.push(format!(".{age}"));
    }
    name.into()
}

/// How a pod's sandbox is to be made: its names, network, and the limits of all its containers
/// together (`PodSandboxConfig` in CRI).
#[derive(Clone, Debug, Default)]
pub struct SandboxConfig {
    /// The pod that it is for.
    pub pod: PodId,
    /// How often a sandbox was made for this pod before.
    pub attempt: u32,
    /// Its short name: the pod's, unless `spec.hostname` or `spec.hostnameOverride` is set.
    pub hostname: String,
    /// The name that the cluster's DNS knows it by, if its pod asks for one (`spec.subdomain`):
    /// `web-0.db.default.svc.cluster.local`.
    pub fqdn: Option<String>,
    /// `hostname` prints [`SandboxConfig::fqdn`], if there is one (`setHostnameAsFQDN`).
    pub fqdn_as_hostname: bool,
    /// Containers' log paths are relative to this directory.
    pub log_directory: PathBuf,
    /// How much of each container's log is kept.
    pub logs: LogLimits,
    /// What its containers find in `/etc/resolv.conf`.
    pub dns: Dns,
    /// Further lines of `/etc/hosts`: address, then names.
    pub host_aliases: Vec<(String, Vec<String>)>,
    /// Uses the node's network namespace instead of one of its own.
    pub host_network: bool,
    /// Settings of its own network namespace, as paths below `/proc/sys`, and their values.
    pub sysctls: Vec<(String, String)>,
    /// All containers see each other's processes (`shareProcessNamespace`).
    pub share_process_namespace: bool,
    /// Its users are others than the node's (`hostUsers: false`).
    pub own_users: bool,
    /// `cpu.shares` of all its containers together, as of [`Resources`]; 0 is the kernel's default.
    pub cpu_shares: u64,
    /// CPU limit of all its containers together, in millicores.
    pub cpu_limit_milli: Option<u64>,
    /// Memory limit of all its containers together, in bytes. What a container leaves in a volume
    /// in memory counts here when it has ended, too.
    pub memory_limit: Option<u64>,
    /// Processes and threads of all its containers together. `None`: what the runtime gives without
    /// asking.
    pub pids_limit: Option<u64>,
}

impl SandboxConfig {
    /// Its names, the longest first.
    pub fn names(&self) -> Vec<&str> {
        self.fqdn.as_deref().into_iter().chain([self.hostname.as_str()]).collect()
    }

    /// What `hostname` prints in its containers.
    pub fn kernel_hostname(&self) -> &str {
        self.fqdn.as_deref().filter(|_| self.fqdn_as_hostname).unwrap_or(&self.hostname)
    }
}

/// Whether containers can be started in a sandbox. One that was stopped, or whose first process has
/// ended, is `NotReady`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SandboxState {
    /// Its first process runs: containers can be started in it.
    Ready,
    /// It was stopped, or its first process has ended.
    NotReady,
}

/// A sandbox as the runtime lists it (`PodSandbox` in CRI).
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// Made by the runtime, unique on its node.
    pub id: String,
    /// The pod that it is for.
    pub pod: PodId,
    /// How often a sandbox was made for this pod before.
    pub attempt: u32,
    /// Whether containers can be started in it.
    pub state: SandboxState,
    /// When its control group and its first process had been made, before its network was.
    pub created_at: Timestamp,
    /// Pod address; the node's own with `host_network`.
    pub ip: Option<Ipv4Addr>,
}

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
    /// `readOnlyRootFilesystem`: only volumes can be written.
    pub read_only_root: bool,
    /// All capabilities and devices, and no filter of system calls.
    pub privileged: bool,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privs: bool,
    /// Capability names without `CAP_`.
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
    /// Volumes and files that it sees, in the order in which they are mounted.
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
    /// All its groups, the primary one first.
    pub groups: Vec<u32>,
}

/// How far a container has come. It is started once at most: a restart is another container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// It is prepared, and its program does not run yet.
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

/// An image that is present. `size` is in bytes.
#[derive(Clone, Debug)]
pub struct Image {
    /// `sha256:…`.
    pub id: String,
    /// Normalized references, e.g. `docker.io/library/nginx:latest`.
    pub tags: Vec<String>,
    /// Bytes of its layers.
    pub size: u64,
}

/// Something happened to a container or to a sandbox; the kubelet looks again at the pod (an
/// evented PLEG). It does not use the other fields, which CRI has; tests do.
#[derive(Clone, Debug)]
pub struct Event {
    /// The pod of the container or the sandbox.
    pub pod: PodId,
    /// The container's id, or the sandbox' own, as with containerd.
    pub container_id: String,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to the container or the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was made, and does not run.
    Created,
    /// Its first process runs.
    Started,
    /// Its first process has ended.
    Stopped,
    /// It was removed, with its file system and log.
    Deleted,
}

/// Bytes that come from a process: its output, or its error output.
pub type Reader = Pin<Box<dyn AsyncRead + Send>>;
/// Bytes that go to a process: its standard input.
pub type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// A program to run in a running container. `command`: the program and its arguments, without a
/// shell. `tty`: with a terminal. `stdin`: with an input.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// A container that runs.
    pub container_id: String,
    /// The program, looked up in the container's `PATH`, and its arguments.
    pub command: Vec<String>,
    /// The process gets a terminal of its own.
    pub tty: bool,
    /// The session can write to the process' input. Without it and without a terminal the input is
    /// at its end from the beginning.
    pub stdin: bool,
}

/// A terminal's size in character cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters of one line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// A running process' ends, held by the client that talks to it. Dropping the session kills an
/// exec'd process and detaches from an attached one.
pub struct Session {
    /// Absent unless an input was asked for. Dropping it ends the input.
    pub stdin: Option<Writer>,
    /// What the process writes; with a terminal its errors, too.
    pub stdout: Reader,
    /// Absent with a terminal.
    pub stderr: Option<Reader>,
    /// Absent without a terminal.
    pub resize: Option<mpsc::Sender<Size>>,
    /// The exit code, after all output was written. 0 if an attached session ended with its input.
    pub exit: oneshot::Receiver<i32>,
}

/// Use since the container, or the sandbox, started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Time on a processor, summed over all its processes.
    pub cpu_usage: Duration,
    /// Memory that cannot be reclaimed without the process noticing, in bytes.
    pub memory_working_set: u64,
}

/// A connection in both directions, to a port in a sandbox.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What a kubelet asks of a container runtime: the RuntimeService and ImageService of CRI v1.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Name and version, e.g. `ropewalk://0.1.0`: `status.nodeInfo.containerRuntimeVersion`.
    fn version(&self) -> String;

    /// Makes the pod's namespaces, network and cgroup.
    async fn run_pod_sandbox(&self, config: SandboxConfig) -> Result<Sandbox>;
    /// Kills what still runs in it and takes its network down. Idempotent.
    async fn stop_pod_sandbox(&self, id: &str) -> Result<()>;
    /// Removes a stopped sandbox and its containers. Idempotent.
    async fn remove_pod_sandbox(&self, id: &str) -> Result<()>;
    /// All sandboxes, also stopped ones.
    async fn list_pod_sandboxes(&self) -> Result<Vec<Sandbox>>;
    /// Use of the sandboxes at this moment, by id: of all containers of one together, with what
    /// ended ones left in volumes in memory.
    async fn list_pod_sandbox_stats(&self) -> Result<BTreeMap<String, Stats>>;

    /// Prepares a container; the program does not run yet. Returns its id.
    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String>;
    /// Runs the program of a container that was prepared. It can be started once.
    async fn start_container(&self, id: &str) -> Result<()>;
    /// Stop signal, at most `grace`, then SIGKILL. Returns when it has ended. Idempotent. `grace`
    /// is real time: a real program ends in it.
    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()>;
    /// Removes a container, its file system and its log. One that runs is ended first. Idempotent.
    async fn remove_container(&self, id: &str) -> Result<()>;
    /// All containers, also ended ones.
    async fn list_containers(&self) -> Result<Vec<Container>>;
    /// One container as it is now; `NotFound` if there is none of that id.
    async fn container_status(&self, id: &str) -> Result<Container>;
    /// Use of the running containers at this moment, by id. One whose use cannot be told is left
    /// out.
    async fn list_container_stats(&self) -> Result<BTreeMap<String, Stats>>;

    /// Runs another program in a running container.
    async fn exec(&self, request: ExecRequest) -> Result<Session>;
    /// Joins a running container's streams. `stdin`: the session writes to its input, too, if it
    /// has one; a session that only looks neither takes the input nor ends it.
    async fn attach(&self, container_id: &str, stdin: bool) -> Result<Session>;
    /// A TCP connection to a port inside the sandbox, through its own loopback.
    async fn port_forward(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn Stream>>;

    /// Makes the image present and returns its id.
    async fn pull_image(&self, reference: &str) -> Result<String>;
    /// `None` if it is not present.
    async fn image_status(&self, reference: &str) -> Result<Option<Image>>;
    /// The images that are present: those that are built in.
    async fn list_images(&self) -> Result<Vec<Image>>;

    /// Events from now on.
    fn events(&self) -> broadcast::Receiver<Event>;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Event that says "cannot make /x" and not why helps nobody.
    #[test]
    fn an_error_is_told_with_its_causes() {
        let cause = std::io::Error::other("no room");
        let error = Error::Io { what: "cannot make /x".into(), cause };
        let told = (error.to_string(), error.line());
        assert_eq!(told, ("cannot make /x".into(), "cannot make /x: no room".into()));
        assert_eq!(Error::Start("failed".into()).line(), "failed");
    }
}
