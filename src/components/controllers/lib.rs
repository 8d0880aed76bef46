//! # The controllers: from what is wanted to what is
//!
//! ## In Kubernetes
//! kube-controller-manager runs some thirty control loops. Each watches a few kinds, compares
//! `spec` with the world, and writes the difference through the API. None of them talks to another:
//! a Deployment becomes a ReplicaSet becomes Pods only because each loop sees the last one's
//! object.
//! ## How this one works
//! Every controller is a pure decision with a thin edge: informers put keys into a work queue, a
//! worker looks at the caches, decides, and writes. A controller names the kinds that it reads and
//! is one line of the list `CONTROLLERS`; those that name the same kind share one watch, and none
//! starts before the first list of every kind is complete. What led to a look travels with the key
//! as its cause. They are level-triggered: a restart at any point converges. Controllers whose
//! objects own pods (ReplicaSet, ReplicationController, DaemonSet, Job, StatefulSet) differ in
//! their decisions; the rest is one shape, `workload`. Only the replica that holds the Lease
//! `kube-controller-manager` works. A panic on one object is reported in an Event
//! (`ControllerPanic`), and the object is looked at again after a pause; the other objects go on. A
//! write that meets a newer object brings its key back (`write`); what fails again and again is
//! logged as a warning. The controllers of workloads and the garbage collector run in a simulated
//! world too (`sim`): late, refused and lost requests, watches that lag and break, kills while
//! something is written, all from a seed.
//!
//! The folders `golden` show rollouts, Jobs, endpoints, StatefulSets and what the garbage collector
//! deletes, as scripts to read.
//! ## Left out
//! - Attach/detach; mirroring of hand-made Endpoints into EndpointSlices; claims of generic
//!   ephemeral volumes.
//! - Custom and external metrics: no such API is served, so the autoscaler knows resource metrics
//!   only.
//! - Upstream's logarithms: of pods that are too many and equally useful the youngest goes, where
//!   upstream compares the logarithms of their ages.
//! - The annotations `node.alpha.kubernetes.io/ttl` of Nodes and
//!   `endpoints.kubernetes.io/last-change-trigger-time` of Endpoints and EndpointSlices.
//! - Hints of EndpointSlices (`trafficDistribution`), which the proxy would not follow.
//! - Names of waiting pods in a claim that waits for its first consumer.
//! - Recycling of volumes, and their expansion with its Event `ExternalExpanding`. Directories of
//!   hostPath volumes are not deleted: such a volume is Failed once it is released.
//! - Of nodes: the taint `node.kubernetes.io/out-of-service`, and the brakes on evictions when many
//!   nodes fail (see `node`). Of endpoints: IPv6. Of Deployments: `spec.rollbackTo`.
//! - The cleaner of Secrets with tokens that were not used for a year. Of two revisions that keep
//!   the same template the newest counts: upstream merges those of a DaemonSet.
//! ## Read next
//! [`replicaset`], the simplest of them; then [`deployment`], [`job`] and [`statefulset`].

#![warn(missing_docs)]

mod amount;
mod autoscaler;
mod certificates;
mod clusterrole;
mod cronjob;
pub mod daemonset;
mod deployment;
mod disruption;
mod endpoints;
mod error;
mod expectations;
mod garbage;
mod informers;
mod job;
mod names;
mod namespace;
mod node;
mod notice;
mod pauses;
mod pods;
mod protection;
mod replicaset;
mod replicationcontroller;
mod resourcequota;
mod resources;
mod revisions;
mod serviceaccount;
mod shared;
#[cfg(test)]
mod sim;
mod statefulset;
mod volume;
mod workload;
mod write;

pub use shared::Config;

use client::LeaderElection;
use shared::{Controller, Shared};
use task::Crew;

/// All controllers, in the order in which they start.
const CONTROLLERS: &[Controller] = &[
    replicaset::CONTROLLER,
    replicationcontroller::CONTROLLER,
    deployment::CONTROLLER,
    daemonset::CONTROLLER,
    job::CONTROLLER,
    cronjob::CONTROLLER,
    statefulset::CONTROLLER,
    autoscaler::CONTROLLER,
    endpoints::CONTROLLER,
    namespace::CONTROLLER,
    garbage::CONTROLLER,
    serviceaccount::CONTROLLER,
    node::CONTROLLER,
    volume::CONTROLLER,
    protection::CONTROLLER,
    disruption::CONTROLLER,
    resourcequota::CONTROLLER,
    certificates::CONTROLLER,
    clusterrole::CONTROLLER,
];

/// Stands for election and runs every controller while it leads. Ends with an error when the Lease
/// is lost, as upstream exits then.
pub fn start(crew: &Crew, config: Config) {
    let own = crew.clone();
    crew.spawn_main(async move {
        let election =
            LeaderElection::new(config.client.clone(), "kube-controller-manager", &config.identity);
        let tap = config.tap.clone();
        let work = |crew: Crew| async move {
            let shared = Shared::new(&crew, &config, CONTROLLERS);
            shared.synced().await;
            CONTROLLERS.iter().for_each(|controller| (controller.start)(&shared));
            tracing::info!("controllers started");
        };
        election.lead(&own, &tap, work).await
    });
}
