//! `v3lockpb.Lock` and `v3electionpb.Election`: the queue with etcd's two names for it.

use super::super::api::{DeleteRangeRequest, Error, PutRequest, RequestOp, TxnRequest};
use super::super::pb;
use super::face::Face;
use super::queue::{Place, lease_or_new, owner, still};
use std::sync::Arc;
use tonic::Status;

/// Returns the status of an error of these services. etcd answers them through its own client
/// library, whose errors have no code for gRPC: every status is `Unknown`, with the error's text.
pub(super) fn without_code(error: Error) -> Status {
    Status::unknown(error.to_string())
}

fn not_leader() -> Status {
    Status::unknown("election: not leader")
}
fn no_leader() -> Status {
    Status::unknown("election: no leader")
}
fn no_leader_key() -> Status {
    Status::unknown("\"leader\" field must be provided")
}
fn session_expired() -> Status {
    Status::unknown("mutex: session is expired")
}

impl Face {
    /// Answers when the lock is the caller's. A caller that hangs up before leaves the queue,
    /// unless an earlier call of its lease has the lock. The header has the revision at which the
    /// lock was the caller's, so that a watch from the next one misses nothing (`Mutex.Header`).
    pub(super) async fn lock(self: Arc<Self>, r: pb::LockRequest) -> Result<pb::LockResponse, Status> {
        let place = Place::take(&self, &r.name, Default::default(), r.lease).await.map_err(without_code)?;
        let Some(revision) = place.first().await.map_err(without_code)? else {
            return Err(session_expired());
        };
        let key = place.kept().key.clone();
        Ok(pb::LockResponse { header: self.header(revision), key })
    }

    pub(super) async fn unlock(self: Arc<Self>, r: pb::UnlockRequest) -> Result<pb::UnlockResponse, Status> {
        let key = DeleteRangeRequest { key: r.key, ..DeleteRangeRequest::default() };
        let (revision, _, _) = self.kv.delete_range(key).await.map_err(without_code)?;
        Ok(pb::UnlockResponse { header: self.header(revision) })
    }

    /// Answers when the caller leads. The header has the revision at which it took its place in the
    /// queue, however long it waited there, as with etcd (`Election.Campaign`).
    pub(super) async fn campaign(
        self: Arc<Self>,
        r: pb::CampaignRequest,
    ) -> Result<pb::CampaignResponse, Status> {
        let place = Place::take(&self, &r.name, r.value.clone(), r.lease).await.map_err(without_code)?;
        let leader = pb::LeaderKey {
            name: r.name.clone(),
            key: place.key.clone(),
            rev: place.revision,
            lease: place.lease,
        };
        if place.found.as_ref().is_some_and(|kv| kv.value != r.value) {
            let proclaim = pb::ProclaimRequest { leader: Some(leader.clone()), value: r.value };
            self.clone().proclaim(proclaim).await?;
        }
        let first = place.first().await;
        // Only a caller that hangs up leaves the queue: after an error of the store the place stays
        // until its lease ends, as with etcd, so that the caller finds it when it comes again.
        let at = place.kept().at;
        if first.map_err(without_code)?.is_none() {
            return Err(not_leader()); // its lease ended while it waited
        }
        Ok(pb::CampaignResponse { header: self.header(at), leader: Some(leader) })
    }

    /// Runs an operation on the leader's key if it is still the leader's. Returns whether it was,
    /// and the store's revision then.
    async fn as_leader(&self, leader: &pb::LeaderKey, op: RequestOp) -> Result<(bool, i64), Status> {
        let compare = vec![still(&leader.key, leader.rev)];
        let done = self.kv.txn(TxnRequest { compare, success: vec![op], failure: vec![] }).await;
        let done = done.map_err(without_code)?;
        Ok((done.succeeded, done.revision))
    }

    /// Sets the leader's value. A leader's key that names no lease gets a new one, as with etcd:
    /// without one it would stay when the leader is gone, and no other could ever lead.
    pub(super) async fn proclaim(
        self: Arc<Self>,
        r: pb::ProclaimRequest,
    ) -> Result<pb::ProclaimResponse, Status> {
        let Some(leader) = r.leader else {
            return Err(no_leader_key());
        };
        let lease = lease_or_new(&self.kv, leader.lease).await.map_err(without_code)?;
        let put = PutRequest { key: leader.key.clone(), value: r.value, lease, ..PutRequest::default() };
        match self.as_leader(&leader, RequestOp::Put(put)).await? {
            (true, revision) => Ok(pb::ProclaimResponse { header: self.header(revision) }),
            (false, _) => Err(not_leader()),
        }
    }

    pub(super) async fn leader(self: Arc<Self>, r: pb::LeaderRequest) -> Result<pb::LeaderResponse, Status> {
        let (revision, kv) = owner(&self.kv, &r.name).await.map_err(without_code)?;
        let kv = kv.ok_or_else(no_leader)?;
        Ok(pb::LeaderResponse { header: self.header(revision), kv: Some(kv.into()) })
    }

    /// Gives up leadership. No error if the caller does not lead any more. The header has the
    /// revision at which that was decided, so that a watch from the next one sees each candidate
    /// that comes.
    pub(super) async fn resign(self: Arc<Self>, r: pb::ResignRequest) -> Result<pb::ResignResponse, Status> {
        let Some(leader) = r.leader else {
            return Err(no_leader_key());
        };
        let delete = DeleteRangeRequest { key: leader.key.clone(), ..DeleteRangeRequest::default() };
        let (_, revision) = self.as_leader(&leader, RequestOp::DeleteRange(delete)).await?;
        Ok(pb::ResignResponse { header: self.header(revision) })
    }
}

#[cfg(test)]
mod tests;
