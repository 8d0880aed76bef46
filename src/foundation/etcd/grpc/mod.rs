//! The store's etcd v3 face: gRPC for any etcd client.
//!
//! [`Face`] answers calls with the same [`Kv`](super::Kv) that the API server writes through, so a
//! put by `etcdctl` is a revision like any other. [`serve`] takes connections with certificates of
//! etcd's own authority; [`call`] finds the method; a file each has the services; `plain` answers
//! what is no call of gRPC. [`client`] is the other side, for programs that speak to an etcd, this
//! one or a real one; [`Remote`] is a whole store behind it.

mod call;
pub mod client;
mod cluster;
mod codec;
mod convert;
#[cfg(test)]
pub(super) mod fuzz;
mod health;
mod kv;
mod lease;
mod lock;
#[cfg(test)]
mod lock_tests;
mod maintenance;
mod observe;
mod plain;
mod queue;
mod remote;
mod serve;
mod watch;
#[cfg(test)]
mod watch_tests;

pub use remote::Remote;
pub use serve::serve;

use super::kv::Kv;
use super::member::member_id;
use super::pb;
use super::server::Server;
use raft::driver::Handle;
use std::sync::Arc;
use task::Crew;
use tokio::sync::{Semaphore, watch as channel};

/// The level of etcd's API that is served, and this program's own version: what is behind `+`
/// clients do not compare. A kube-apiserver asks watches for their progress from 3.5.13 on.
pub const VERSION: &str = concat!("3.6.6+ropewalk", env!("CARGO_PKG_VERSION"));

/// What a member's face is made of.
pub struct Face {
    kv: Kv,
    raft: Handle,
    member: u64,
    cluster: u64,
    /// All members, whether they run or not, with the addresses at which they listen when they do.
    members: channel::Receiver<Vec<pb::Member>>,
    /// What outlives a call: its streams, and the clean-up after it.
    crew: Crew,
    /// Places for files on their way to a client: each is in memory until it has been read.
    files: Arc<Semaphore>,
}

/// Files that are sent at a time. Who comes later waits.
const FILES_MAX: usize = 4;

impl Face {
    /// `cluster`: the name that all members of this cluster know it by.
    pub fn new(
        server: &Server,
        cluster: &str,
        members: channel::Receiver<Vec<pb::Member>>,
        crew: &Crew,
    ) -> Arc<Face> {
        let kv = server.kv();
        let member = member_id(&kv.status().member);
        Arc::new(Face {
            kv,
            raft: server.raft(),
            member,
            cluster: member_id(cluster),
            members,
            crew: crew.clone(),
            files: Arc::new(Semaphore::new(FILES_MAX)),
        })
    }

    /// The head of every answer.
    fn header(&self, revision: i64) -> Option<pb::ResponseHeader> {
        let raft_term = self.kv.status().term;
        let (cluster_id, member_id) = (self.cluster, self.member);
        Some(pb::ResponseHeader { cluster_id, member_id, revision, raft_term })
    }

    fn header_now(&self) -> Option<pb::ResponseHeader> {
        self.header(self.kv.revision())
    }
}
