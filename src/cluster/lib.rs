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
//! [`launch`] is the learner's side, [`boot`] the other: it makes the [`world`] and starts the
//! kubelets, and nothing more. The control plane are static pods: [`components::manifests`] gives
//! them to the kubelet of a control-plane node, which runs them through the one path of all pods.
//! Their images are called `ropewalk.io/<component>`; [`node::cri`] sends these to [`components`],
//! where a container is a set of supervised tasks, and all others to the real runtime. So logs,
//! kill, restart and back-off are the same for a scheduler and for your nginx. The number of
//! workers may change at each start: `node::objects` deletes the Nodes of workers that are gone
//! with their pods, and taints control planes only while there are workers (kubeadm's phase
//! `mark-control-plane`).
//!
//! [`guest`] is the interface for what runs beside a cluster but is no part of it. Guests can use a
//! cluster that Ropewalk did not start, too: [`foreign`] gives them the same interface on a
//! kubeconfig. [`faults`] breaks components, links, whole nodes, and the disk that a store writes
//! to, which refuses as a full one does; `held` in it keeps a component down until it is started.
//! ## Folders, in reading order
//! ```text
//! launch      starts the supervisor's process, and follows the start
//! boot        the start in that process; whether it is complete (ready), and why not (waits)
//! world.rs    what all nodes share; spec.rs, home.rs and wipe.rs: what is on the disk
//! node        a node: its runtime (cri), its kubelet, its Node object, its sockets
//! components  what runs behind ropewalk.io/<component>, and its manifests
//! store       etcd: the members, or the etcd of an operator
//! control     the control socket; undo.rs: the way back in time
//! faults      what is broken on purpose
//! guest       the interface of lessons and labs, and this cluster behind it
//! foreign     the same interface in front of any cluster with a kubeconfig
//! ```
//! ## Left out
//! Simulated nodes. The number of control planes and whose store it is are chosen at the first
//! start and stay. At `down` no pod gets a SIGTERM: containers end with their PID namespace. Static
//! pods have no probes, the Corefile and the components' flags are shown and not read, and
//! `kube-dns` has no port for metrics. kubeadm's ConfigMaps (`kubeadm-config`, `kubelet-config`,
//! `kube-proxy`, `cluster-info`) are not made. Components are tasks of one process, which has one
//! use of CPU and memory: `kubectl top pods` has no metrics of theirs, and `kubectl exec` no
//! program to run. Faults end at `down`, also a component that `fault stop` holds down.
//! An external store keeps its data when the cluster is wiped, and its writes are not on the tap.
//! ## Read next
//! [`boot`], the whole start on one page.

#![warn(missing_docs)]

mod balancer;
pub mod boot;
mod components;
pub mod control;
mod error;
pub mod faults;
pub mod foreign;
pub mod guest;
pub mod home;
pub mod kubeconfig;
pub mod launch;
mod logs;
mod node;
mod refusal;
pub mod spec;
pub mod store;
pub mod undo;
pub mod wipe;
mod world;

pub use error::{Error, chain};
pub use foreign::ForeignRefusal;
pub use home::{Home, Place};
pub use refusal::Refusal;
pub use spec::Spec;
