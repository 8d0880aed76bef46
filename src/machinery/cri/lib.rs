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
//! Container checkpoints, runtime handlers, image file-system statistics, metrics, the runtime's
//! own conditions and configuration. Updates of a container's or a sandbox's resources: pods are
//! not resized in place. Removal of images: those that are built in stay, and no credentials are
//! needed for them. Port mappings of a sandbox: a `hostPort` is not opened. `ExecSync` is
//! [`Runtime::exec`], and `PodSandboxStatus` is the list; `ReopenContainerLog` has no caller, since
//! the runtime moves log files aside itself ([`LogLimits`]). A container has the stop signal of its
//! image. Mounts have no propagation and are read-only with all that is mounted below; containers
//! have no seccomp profile of their own, no AppArmor profile, no SELinux label; of the sysctls only
//! those of the network are set. The PID and IPC namespaces are never the node's, nor those of one
//! other container (`targetContainerName`). The API answers a pod that sets such a field with a
//! warning. No devices, huge pages or sets of processors: nodes offer none.
//! ## Read next
//! `runtime`, which does it for real; `kubelet`, which asks for it.

#![warn(missing_docs)]

use async_trait::async_trait;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::broadcast;

mod container;
mod error;
mod event;
#[cfg(any(test, feature = "testing"))]
pub mod fake;
mod image;
mod log_limits;
mod sandbox;
mod stats;
mod stream;

pub use container::{Container, ContainerConfig, ContainerState, Mount, Resources, Security, User};
pub use error::Error;
pub use event::{Event, EventKind};
pub use image::Image;
pub use log_limits::{LogLimits, rotated_log};
pub use sandbox::{Dns, PodId, Sandbox, SandboxConfig, SandboxState};
pub use stats::Stats;
pub use stream::{ExecRequest, Reader, Session, Size, Stream, Writer};

/// What the calls of a runtime return.
pub type Result<T> = std::result::Result<T, Error>;

/// What a kubelet asks of a container runtime: the RuntimeService and ImageService of CRI v1.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Name and version, e.g. `ropewalk://0.1.0`: `status.nodeInfo.containerRuntimeVersion`.
    fn version(&self) -> String;

    /// Makes the pod's namespaces, network and cgroup.
    async fn run_pod_sandbox(&self, config: SandboxConfig) -> Result<Sandbox>;
    /// Kills what still runs in it and takes its network down. Idempotent.
    async fn stop_pod_sandbox(&self, id: &str) -> Result<()>;
    /// Removes a sandbox and its containers; one that was not stopped is stopped first. Idempotent.
    async fn remove_pod_sandbox(&self, id: &str) -> Result<()>;
    /// All sandboxes, also stopped ones.
    async fn list_pod_sandboxes(&self) -> Result<Vec<Sandbox>>;
    /// Use of the sandboxes at this moment, by id: of all containers of one together, with what
    /// ended ones left in volumes in memory.
    async fn list_pod_sandbox_stats(&self) -> Result<BTreeMap<String, Stats>>;

    /// Prepares a container; the program does not run yet. Returns its id.
    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String>;
    /// Runs the program of a container that was prepared. It can be started once. A start goes on
    /// when its caller stops waiting, and the container is `Created` until the program runs: remove
    /// such a container before another takes its place.
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
    /// Use of the running containers at this moment, by id. One whose use is not known is left out.
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
