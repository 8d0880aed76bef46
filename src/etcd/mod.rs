//! # etcd: the one place where the cluster's state lives
//!
//! ## In Kubernetes
//! etcd is a replicated key-value store. Only kube-apiserver talks to it. Every object is one key; a `resourceVersion`
//! is etcd's *revision*, a single number that grows by one with every write to anything. Watches are promises about revisions:
//! "everything after 1234, in order, nothing missing".
//! ## How this one works
//! [`mvcc`] keeps every version of every key since the last compaction, in memory, and the events of each revision;
//! [`txn`] compares and writes at one revision; a watch (`watch`) reads the past first and then joins the present without
//! a gap. `machine` applies committed commands, and nothing else may change the keys, so that members that applied the
//! same log are equal. [`Kv`] is what the API server holds. The words (`Revision`, `PutRequest`, `Compacted`) are etcd's own: [`api`].
//!
//! Keys and values are bytes. This room knows nothing of what is in them.
//! ## Left out
//! The B+tree file (bbolt): the whole state is in memory, as is etcd's index; a cluster to learn with has a few MiB. Users, roles,
//! authentication, `MoveLeader` from outside, sorted ranges and filters of watches.
//! ## Read next
//! `raft`, which agrees on the order of commands before they come here.

pub mod api;
mod applier;
mod command;
mod kv;
mod lease;
mod machine;
pub mod mvcc;
mod server;
#[cfg(test)]
mod server_tests;
mod snapshot;
pub mod txn;
mod waiting;
mod watch;

pub use kv::{Kv, REQUEST_MAX, Status, UNBOUNDED_MAX};
pub use lease::LeaseTtl;
pub use server::{Config, Server, StartError, member_id};
pub use watch::Watcher;
