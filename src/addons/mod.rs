//! # Addons: what every cluster has beside the control plane
//!
//! ## In Kubernetes
//! A usable cluster needs DNS (CoreDNS) and something that makes volumes. Both are ordinary pods in kube-system.
//! ## How this one works
//! [`dns`] answers for `cluster.local` from Services and EndpointSlices, and forwards the rest to the machine's own resolvers. [`storage`] makes a
//! directory on the node for each claim of the class `standard`. Both run as the containers of ordinary pods: delete one and see.
//! ## Left out
//! Ingress, load balancer, GitOps: they come with the lessons that need them. CoreDNS' Corefile is shown but not read.
//! ## Read next
//! `cluster`, which starts them.

pub mod dns;
mod dns_known;
mod dns_tcp;
pub mod storage;
