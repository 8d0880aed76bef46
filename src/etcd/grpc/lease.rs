//! `etcdserverpb.Lease`.

use super::super::api::Error;
use super::super::kv::LEASE_TTL_MIN;
use super::super::pb;
use super::Face;
use super::call::Answers;
use futures::stream;
use std::sync::Arc;
use tonic::{Status, Streaming};

/// etcd's sign of a lease that is gone, in answers about time.
const GONE: i64 = -1;

impl Face {
    pub(super) async fn lease_grant(
        self: Arc<Self>,
        r: pb::LeaseGrantRequest,
    ) -> Result<pb::LeaseGrantResponse, Status> {
        let id = self.kv.lease_grant(r.ttl, r.id).await?;
        let (ttl, error) = (r.ttl.max(LEASE_TTL_MIN), String::new());
        Ok(pb::LeaseGrantResponse { header: self.header_now(), id, ttl, error })
    }

    pub(super) async fn lease_revoke(
        self: Arc<Self>,
        r: pb::LeaseRevokeRequest,
    ) -> Result<pb::LeaseRevokeResponse, Status> {
        self.kv.lease_revoke(r.id).await?;
        Ok(pb::LeaseRevokeResponse { header: self.header_now() })
    }

    /// One answer for each message, as long as the client talks.
    pub(super) fn lease_keep_alive(
        self: Arc<Self>,
        asks: Streaming<pb::LeaseKeepAliveRequest>,
    ) -> Answers<pb::LeaseKeepAliveResponse> {
        Box::pin(stream::try_unfold((self, asks), |(face, mut asks)| async move {
            let Some(ask) = asks.message().await? else { return Ok(None) };
            // Before the renewal: with a later revision the answer would say that the lease lived on when it may have ended.
            let header = face.header_now();
            let ttl = match face.kv.lease_keep_alive(ask.id).await {
                Err(Error::LeaseNotFound) => 0,
                // This member's disk is full, and clients take that for the end of the lease. Another member can renew it.
                Err(error @ Error::NoSpace) => return Err(Status::unavailable(error.to_string())),
                renewed => renewed?,
            };
            let answer = pb::LeaseKeepAliveResponse { header, id: ask.id, ttl };
            Ok(Some((answer, (face, asks))))
        }))
    }

    pub(super) async fn lease_time_to_live(
        self: Arc<Self>,
        r: pb::LeaseTimeToLiveRequest,
    ) -> Result<pb::LeaseTimeToLiveResponse, Status> {
        let mut answer = pb::LeaseTimeToLiveResponse { id: r.id, ttl: GONE, ..Default::default() };
        match self.kv.lease_time_to_live(r.id).await {
            Ok(lease) => {
                (answer.ttl, answer.granted_ttl) = (lease.remaining, lease.granted);
                answer.keys = if r.keys { lease.keys } else { vec![] };
            }
            Err(Error::LeaseNotFound) => {}
            Err(error) => return Err(error.into()),
        }
        answer.header = self.header_now();
        Ok(answer)
    }

    pub(super) async fn lease_leases(
        self: Arc<Self>,
        _: pb::LeaseLeasesRequest,
    ) -> Result<pb::LeaseLeasesResponse, Status> {
        let leases = self.kv.leases().await?.into_iter().map(|id| pb::LeaseStatus { id }).collect();
        Ok(pb::LeaseLeasesResponse { header: self.header_now(), leases })
    }
}
