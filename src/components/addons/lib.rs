//! # Addons: what every cluster has beside the control plane
//!
//! ## In Kubernetes
//! A usable cluster needs DNS (CoreDNS) and something that makes volumes. Both are ordinary pods in
//! kube-system.
//! ## How this one works
//! [`dns`] answers for `cluster.local` from Services and EndpointSlices, and forwards the rest to
//! the machine's own resolvers: one after the other, and then again, for at most five seconds. A
//! resolver that leaves a question without an answer is checked, and asked after the others while
//! it answers no check. [`storage`] makes a directory on the node for each claim of a class whose
//! provisioner is `ropewalk.io/local-path`: the class `standard`, and every other one that names
//! it. Both run as the containers of ordinary pods: delete one and see.
//! ## Left out
//! - Ingress, load balancer, GitOps: they come with the lessons that need them.
//! - A Corefile that can be changed: it is shown and not read, and has only the words that are
//!   honoured. Nothing is cached, there are no metrics (port 9153), and `lameduck` is one second.
//!   The readiness probe asks more often than kubeadm's, so that a start does not wait for it.
//! - CoreDNS' choice of resolvers outside: they are asked in the order of resolv.conf(5), where
//!   CoreDNS chooses at random, and not for a second time when all of them refused, where CoreDNS
//!   1.13 tries without a pause.
//! - Addresses for a port's name: `_http._tcp.web` has SRV records alone, as in the DNS
//!   specification, and the domain's NS is `ns.dns.cluster.local`. CoreDNS gives the former
//!   addresses, too, and names its own Service in the latter.
//! - Questions of more than 4 KiB over TCP, and more than 256 connections of one pod to a name
//!   server: they are closed without an answer.
//! - Questions outside without end: at the same time 64 of one pod are asked, and 512 of all. Those
//!   beyond are dropped (over TCP with the connection), where kubeadm's Corefile allows 1000 of all
//!   (`max_concurrent`) and refuses those beyond.
//! - Questions outside about the cluster's own ranges: a reverse question for an address of the
//!   pods' or the Services' range that has no name is answered with NXDOMAIN, where CoreDNS asks
//!   outside.
//! - ExternalNames that lead nowhere: one whose target is not known outside is answered with
//!   NXDOMAIN, and one for which no resolver answers with SERVFAIL, where CoreDNS answers with the
//!   CNAME alone.
//! - EndpointSlices of the types IPv6 and FQDN: nothing but IPv4 leads through these networks. For
//!   such endpoints of a headless Service CoreDNS has AAAA records, and CNAMEs.
//! - Answers that are CoreDNS' in every detail: all have the bit RA, which CoreDNS sets in those
//!   from outside alone. A namespace's name has no TXT records, where CoreDNS says NXDOMAIN. A
//!   reverse name that the cluster knows has PTR records alone, where CoreDNS asks outside for
//!   other types. CoreDNS takes the names of ports without their `_`, too, and has names below
//!   those of pods.
//! - Volumes that several nodes share: a volume is a directory of one node. Claims for block
//!   volumes, for shared access modes and with selectors are refused with an Event, as upstream's
//!   local-path-provisioner does.
//! - What a class says beside its provisioner, its reclaim policy and its binding mode: parameters,
//!   mount options and topologies have no effect, and the API answers with a warning.
//! - A node whose label `kubernetes.io/hostname` is not its name: a volume is tied to the name, so
//!   no pod finds it there. Upstream's local-path-provisioner takes the label's value, and leaves
//!   the directory when the volume is deleted.
//! - A node behind a link that `fault cut` has cut: its directories are made and removed all the
//!   same. On one that is off, or whose kubelet is stopped, none is made, and only those are
//!   removed that were made for a claim and got no volume, or whose removal had begun.
//! - A sweep of directories: if this program ends after it made a directory and before the volume
//!   is stored, and the claim is deleted before it runs again, the directory stays (upstream's
//!   provisioners leave it too). So does that of a volume that an undo takes away: a redo finds its
//!   data again.
//! ## Read next
//! `cluster`, which starts them.

#![warn(missing_docs)]

pub mod dns;
pub mod storage;
