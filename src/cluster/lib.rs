//! # A cluster: from rooms to a whole
//!
//! ## In Kubernetes
//! kubeadm makes certificates and static pod manifests, starts a kubelet on each machine, and adds
//! kube-proxy and DNS when the API answers. Everything else the cluster does itself.
//! ## How this one works
//! ```text
//! front ── launch ──▶ supervisor ──▶ main: world (fabric, certificates, tap)
//!   ▲                                  │
//!   └────────── control.sock ──────────┤
//!          ┌───────────────────────────┘
//!          ├─ node ropewalk-control-plane: runtime, kubelet ─▶ etcd, kube-apiserver, …
//!          ├─ node ropewalk-worker: runtime, kubelet ─▶ kube-proxy, coredns, your pods
//!          └─ balancer: 127.0.0.1:6443 ─▶ every API server that is ready
//! ```
//! [`launch`] is the learner's side, [`boot`] the other: it makes the world and starts the
//! kubelets, and nothing more. The control plane are static pods: [`manifests`] gives them to the
//! kubelet of a control-plane node, which runs them through the one path of all pods. Their images
//! are called `ropewalk.io/<component>`; [`node`] sends these to [`components`], where a container
//! is a set of supervised tasks, and all others to the real runtime. So logs, kill, restart and
//! back-off are the same for a scheduler and for your nginx. The number of workers may change at
//! each start: `node_objects` deletes the Nodes of workers that are gone, and taints control planes
//! only while there are workers (kubeadm's phase `mark-control-plane`). [`guest`] is the interface
//! for what runs beside a cluster but is no part of it. Guests can use a cluster that Ropewalk did
//! not start, too: [`foreign`] gives them the same interface on a kubeconfig. [`faults`] breaks
//! components, links, whole nodes, and the disk that a store writes to, which refuses as a full one
//! does.
//! ## Left out
//! Simulated nodes. The number of control planes and whose store it is are chosen at the first
//! start and stay. An external store keeps its data when the cluster is wiped, and its writes are
//! not on the tap.
//! ## Read next
//! [`boot`], the whole start on one page.

mod addon_pods;
mod balancer;
pub mod boot;
mod components;
pub mod control;
pub mod etcd_listeners;
pub mod external_etcd;
pub mod faults;
pub mod foreign;
mod full_disk;
pub mod guest;
pub mod home;
pub mod kubeconfig;
pub mod launch;
mod logs;
mod manifests;
pub mod network;
mod node;
mod node_events;
mod node_objects;
mod peers;
mod ready;
mod refusal;
mod sandboxes;
pub mod spec;
mod target;
pub mod undo;
pub mod wipe;
mod world;

pub use home::{Home, Place};
pub use spec::Spec;

pub use refusal::Refusal;

/// What went wrong, why, and what to try: for people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cluster {0:?} is not running; start it with `ropewalk up --name {0}`")]
    NotRunning(String),
    /// Something holds its control socket and says nothing.
    #[error("cluster {name:?} does not answer; `ropewalk down --name {name}` ends it")]
    Hangs { name: String, main: Option<i32> },
    #[error("cannot use {}", path.display())]
    File {
        path: std::path::PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{path} was written by a newer ropewalk (format {found}, this one knows {known}); use that one, or `ropewalk reset`", path = path.display())]
    Newer { path: std::path::PathBuf, found: u32, known: u32 },
    #[error("{path} is damaged: {why}; mend it, or `ropewalk reset` wipes the cluster and starts anew", path = path.display())]
    Damaged { path: std::path::PathBuf, why: String },
    #[error("the cluster did not start: {0}")]
    Start(String),
    /// What the other process said, in its own words.
    #[error("{0}")]
    Told(String),
    #[error("{0}")]
    Refusal(#[from] Refusal),
    #[error(transparent)]
    Pki(#[from] pki::Error),
    #[error(transparent)]
    Client(#[from] client::Error),
    #[error(transparent)]
    ConfigLock(#[from] client::kubeconfig::LockError),
    #[error("the network could not be made")]
    Network(#[from] cni::Error),
    #[error("the container runtime could not be made")]
    Runtime(#[from] cri::Error),
    #[error("the kernel refused")]
    Kernel(#[source] std::io::Error),
    /// It was connected, and ended before it had answered.
    #[error("the cluster ended while it was asked")]
    Ended,
    #[error("the cluster's control socket: {0}")]
    Control(String),
}

/// An error with its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
