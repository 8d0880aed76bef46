//! # The kubelet: the node's agent
//!
//! ## In Kubernetes
//! One per node. It registers the node, renews its Lease, watches the pods bound to it, and makes
//! the container runtime's state follow: volumes, sandbox, images, containers; it restarts what
//! ends, reports status and serves logs and exec to the API server.
//! ## How this one works
//! [`decide`] and [`status`] are pure: from a pod and what the runtime shows to the next steps, and
//! to the status. [`pods`] is the thin edge: a work queue of pod names, fed by the informer and by
//! the runtime's events ([`pleg`]), with a worker for each pod (upstream's pod workers), so that
//! none waits for another's hook; a call of the runtime is waited for no longer than
//! `runtimeRequestTimeout`, but for a pull ([`request_timeout`]). Time alone brings a pod back each
//! minute if it has volumes that may change, and each ten seconds if it has limits of storage.
//! Static pods (the control plane) start before there is an API server; their *mirror* objects are
//! made when it answers. A restarted kubelet lists what runs and goes on: containers belong to the
//! node's runtime, not to the kubelet. Stop it with `ropewalk fault kill kubelet/NODE` and see that
//! pods run on.
//!
//! A container's probes are one task beside it ([`prober`]); what the answers amount to ([`probe`])
//! is one more fact for [`decide`] and [`status`]. Probes and lifecycle hooks do the same things
//! ([`action`]). A container is ended in the background, hook first, so that a long grace period
//! holds up no other pod. What containers say is kept in files of bounded size and number
//! ([`cri::LogLimits`]); [`logs`] reads them, also while they are moved aside. What containers use
//! is reported on `/stats/summary` and `/metrics/resource` ([`stats`]). Where upstream's API server
//! dials a pod itself (`pods/proxy`), this one asks the kubelet for the connection (`/podPort`).
//!
//! What an object or a pod names is never opened by its path: [`volumes`], [`files`] and
//! [`termination_message`] resolve it beneath a directory of their own ([`linux::beneath`]). A pod
//! that uses more of the disk than its `sizeLimit` or `ephemeral-storage` allows is evicted
//! ([`local_storage`]). Pods without limits are evicted when they fill the node's memory, its share
//! of the disk, or the machine's disk ([`pressure`]). A pod that requests more than the node has
//! left is rejected ([`admission`]), also one that asks for other nodes or does not tolerate this
//! one ([`admission::node_match`]), and one with more volumes, mounts or containers than the
//! machine can take ([`bounds`]).
//! ## Files, in reading order
//! ```text
//! pods        the edge: a worker for each pod (sync_pod first), and the eviction manager
//! view        what is known of a pod; decide: its next steps; back_off, ephemeral
//! status      what is reported of it; container_status
//! container   what the runtime is asked for; env, resources, dns, sysctls, oom, specs
//! volumes     what its containers mount; files: the atomic writer; termination_message
//! prober      the tasks that probe; probe: what answers amount to; action: probes and hooks
//! admission   whether the node takes a pod; bounds: how many mounts and containers it may have
//! pressure    what is evicted under pressure; rounds, walk, local_storage, lasting_files
//! pleg        which pods have changed in the runtime; request_timeout: the end of slow calls
//! mirror      static pods in the API
//! node        the Node object, its status and its Lease; config
//! server      port 10250: exec, attach, port-forward; logs and stats, which it serves
//! sim         histories of a whole kubelet on a simulated runtime and API
//! ```
//! ## Left out
//! - Planned for later lessons: `targetContainerName` of ephemeral containers (they share what the
//!   pod shares), soft eviction thresholds, in-place resize.
//! - `fsGroup` of an emptyDir or a persistent volume, and `dnsPolicy: Default` (nodes have no
//!   resolver): the API warns of them, and of variables from files (`fileKeyRef`), with which a
//!   container does not start.
//! - Preemption for an extended resource that a critical pod lacks.
//! - Secrets and tokens in memory: they lie on the node's disk, because every tmpfs counts for the
//!   whole machine (`fs.mount-max`). Writable layers do not count as ephemeral storage.
//! - A watch on process ids: `PIDPressure` is always false.
//! - The Events of a kubelet's start: `Starting`, and those of conditions that are well from then
//!   on.
//! - A Node that stays deleted: one that a client deleted is registered again within ten seconds,
//!   where upstream's kubelet does that only after its own restart.
//! - The machine's files in a `hostPath`: it shows a file system of the node's own, with
//!   `/etc/hosts` alone before a pod makes other files.
//! - Port-forwards over WebSocket in base64 (`v4.base64.channel.k8s.io`): no kubectl asks for them.
//! - Tokens, and other clients than API servers, at the kubelet's server: upstream asks the API who
//!   they are (`TokenReview`) and what they may do (`SubjectAccessReview`).
//! - A command of `exec` that goes on for long after its client has left: it is killed five seconds
//!   later, or at once while 32 others go on like that.
//! - Messages of more than 1 MiB over WebSocket: they end the session (upstream reads 32 MiB).
//! - `/metrics`, `/pods`, `/run` and `/configz` of the kubelet's server; in `/stats/summary` the
//!   figures of file systems and networks; the paths of `exec`, `attach` and `portForward` that
//!   name the pod's uid, too.
//! - Huge pages: a node has none, and its status does not name them with an amount of 0.
//! ## Read next
//! `cri`, what it asks the runtime for; `proxy`, its neighbour on every node.

#![warn(missing_docs)]

mod action;
mod admission;
mod back_off;
mod bounds;
mod config;
mod container;
mod container_status;
mod decide;
mod dns;
mod env;
mod ephemeral;
mod error;
mod files;
mod lasting_files;
mod local_storage;
mod logs;
mod mirror;
mod node;
mod oom;
mod pleg;
mod pods;
pub mod pressure;
mod probe;
mod prober;
mod request_timeout;
mod resources;
mod rounds;
mod server;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod simulated;
mod specs;
mod stats;
mod status;
mod sysctls;
mod termination_message;
mod view;
mod volumes;
mod walk;

pub use config::{Capacity, Config};

use std::sync::Arc;
use task::Crew;

/// Runs a kubelet until the crew ends.
pub fn start(crew: &Crew, mut config: Config) {
    config.runtime = Arc::new(request_timeout::TimeLimited(config.runtime));
    let config = Arc::new(config);
    let hosts = node::hosts::lay_out(&config.node_root(), &config.node_name, &config.node_ip.to_string());
    if let Err(error) = hosts {
        tracing::warn!(error = error.line(), "the node has no /etc/hosts for hostPath volumes");
    }
    let (pressures, pressed) = tokio::sync::watch::channel(pressure::Pressures::default());
    node::start(crew, &config, pressed);
    let kubelet = pods::start(crew, &config, pressures);
    if config.tls.is_some() {
        let meter = stats::UsageMeter::start(crew, &config);
        server::start(crew, &config, kubelet, meter);
    }
}
