//! `etcdserverpb.Cluster`. The members are the control-plane nodes, running or not: they are listed
//! here and changed with the nodes.

use super::super::pb;
use super::face::Face;
use std::sync::Arc;
use tonic::Status;

impl Face {
    pub(super) async fn member_list(
        self: Arc<Self>,
        r: pb::MemberListRequest,
    ) -> Result<pb::MemberListResponse, Status> {
        if r.linearizable {
            self.kv.read_barrier().await?;
        }
        let members = self.members.borrow().clone();
        // the members' own list has no revision
        Ok(pb::MemberListResponse { header: self.header(0), members })
    }
}
