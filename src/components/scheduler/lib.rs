//! # The scheduler: which node gets this pod?
//!
//! ## In Kubernetes
//! kube-scheduler watches pods without `spec.nodeName`, *filters* the nodes that can take one,
//! *scores* those, and posts a Binding for the best. A pod that fits nowhere waits until something
//! changes.
//! ## How this one works
//! One pod at a time. `decide` is pure: pod and nodes in, a `Decision` out that says for every node
//! which filter refused it, or which scores it got; it goes to the tap as it is, so the scheduling
//! view shows what really decided. The filters and scores are `plugins`, a file for each, with
//! upstream's names, order and weights; `framework` says what a plug-in is. Between decision and
//! the watch that confirms it the pod is *assumed* on its node, so the next pod sees the room as
//! taken; `cache` keeps what is on each node. Only [`start`] talks to the API. A claim that waits
//! for its first consumer gets its volume together with the node: a free one that fits there, which
//! is reserved before the Binding, or one that the provisioner makes. A Binding names the version
//! of the node that was looked at, and is refused if the node has other labels or taints by now, or
//! is cordoned. A Binding that fails is reported in an Event and tried again after a pause. `sim`
//! runs it in a simulated world, where a seed is a history of late, refused and lost requests, of
//! kills, of nodes that go, and of volumes that are bound late.
//!
//! The folder `golden` shows decisions with their reasons, as scripts to read.
//! ## Left out
//! - Preemption: a pod of high priority waits where upstream would evict for it, and an Event says
//!   so. No room is kept for a pod that is nominated for a node. Nor is a pod nominated whose
//!   volumes are on their way (NominatedNodeNameForExpectation).
//! - Inter-pod affinity: such a pod is scheduled without it; the API warns, and an Event says so.
//! - Topology spread constraints of the pod's own. Pods spread over nodes by their controller
//!   alone, whatever its kind: upstream's default constraints count zones, too, and select by
//!   Services and by the selectors of ReplicaSets, ReplicationControllers and StatefulSets.
//! - The scores BalancedAllocation and ImageLocality; extenders; several profiles; dynamic resource
//!   allocation (the API warns of it).
//! - Queueing hints and back-off of pods that fit nowhere: each change looks at all of them again.
//!   The same refusal gets one Event in five minutes.
//! - VolumeRestrictions for disks that a pod names itself (iSCSI, RBD): they are not mounted here.
//! - `/metrics`, `/healthz` and `/configz`: the scheduler listens nowhere.
//! - `allowedTopologies` of a class: a volume may be made on any node, and the API warns.
//! ## Read next
//! `kubelet`, which notices the binding.

#![warn(missing_docs)]

mod cache;
mod decide;
mod framework;
#[cfg(test)]
mod golden;
mod node_info;
mod plugins;
mod queue;
#[cfg(test)]
mod sim;
mod volumes;

pub use queue::{Config, start};
