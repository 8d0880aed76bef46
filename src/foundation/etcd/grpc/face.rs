//! What a member answers calls with.

use crate::kv::Kv;
use crate::member::member_id;
use crate::pb;
use crate::server::Server;
use raft::driver::Handle;
use std::sync::Arc;
use tap::Tap;
use task::Crew;
use tokio::sync::{Semaphore, watch as channel};

/// The level of etcd's API that is served, and this program's own version: what is behind `+`
/// clients do not compare. A kube-apiserver asks watches for their progress from 3.5.13 on.
pub const VERSION: &str = concat!("3.6.6+ropewalk", env!("CARGO_PKG_VERSION"));

/// The gRPC side of a member: answers the calls of etcd's services with what the store has.
pub struct Face {
    pub(super) kv: Kv,
    pub(super) raft: Handle,
    pub(super) member: u64,
    pub(super) cluster: u64,
    /// All members, whether they run or not, with the addresses at which they listen when they do.
    pub(super) members: channel::Receiver<Vec<pb::Member>>,
    /// What outlives a call: its streams, and the clean-up after it.
    pub(super) crew: Crew,
    /// Places for files on their way to a client: each is in memory until it has been read.
    pub(super) files: Arc<Semaphore>,
    /// Where calls are recorded.
    pub(super) tap: Tap,
}

/// Files that are sent at a time. Further clients wait.
pub(super) const FILES_MAX: usize = 4;

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
            tap: server.tap(),
        })
    }

    /// Returns the head of every answer.
    pub(super) fn header(&self, revision: i64) -> Option<pb::ResponseHeader> {
        let raft_term = self.kv.term();
        let (cluster_id, member_id) = (self.cluster, self.member);
        Some(pb::ResponseHeader { cluster_id, member_id, revision, raft_term })
    }

    pub(super) fn header_now(&self) -> Option<pb::ResponseHeader> {
        self.header(self.kv.revision())
    }
}
