//! `etcdserverpb.Lease`.

use super::super::api::Error;
use super::super::kv::LEASE_TTL_MIN;
use super::super::pb;
use super::call::Answers;
use super::face::Face;
use futures::StreamExt;
use std::sync::Arc;
use tonic::{Status, Streaming};

/// Renewals of one stream that are under way; more are read when these are answered.
const RENEWALS: usize = 256;
/// etcd's sign of a lease that is gone, in answers about time.
const GONE: i64 = -1;

/// Says that a lease was not renewed. For any code but `Unavailable` and `Internal` clients give
/// the lease up; for these they ask again, and another member may be able to renew it. So a full
/// disk and a full log, which are `ResourceExhausted` elsewhere, are `Unavailable` here.
fn not_renewed(error: Error) -> Status {
    match error {
        Error::NoSpace | Error::TooManyRequests => Status::unavailable(error.to_string()),
        error => error.into(),
    }
}

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

    /// Sends one answer for each message, in their order, as long as the client talks. Renewals
    /// that come together are proposed together, so that they share a sync of the log.
    pub(super) fn lease_keep_alive(
        self: Arc<Self>,
        asks: Streaming<pb::LeaseKeepAliveRequest>,
    ) -> Answers<pb::LeaseKeepAliveResponse> {
        let renewals = asks.map(move |ask| {
            let face = self.clone();
            async move { face.renew(ask?.id).await }
        });
        // Nothing follows an error.
        let ended = renewals.buffered(RENEWALS).scan(false, |over, answer| {
            let answer = (!*over).then_some(answer);
            *over = matches!(answer, Some(Err(_)));
            std::future::ready(answer)
        });
        ended.boxed()
    }

    async fn renew(&self, id: i64) -> Result<pb::LeaseKeepAliveResponse, Status> {
        // Before the renewal: with a later revision the answer would say that the lease lived on
        // when it may have ended.
        let header = self.header_now();
        let ttl = match self.kv.lease_keep_alive(id).await {
            Err(Error::LeaseNotFound) => 0,
            renewed => renewed.map_err(not_renewed)?,
        };
        Ok(pb::LeaseKeepAliveResponse { header, id, ttl })
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
        let leases = self.kv.leases().into_iter().map(|id| pb::LeaseStatus { id }).collect();
        Ok(pb::LeaseLeasesResponse { header: self.header_now(), leases })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzz::{One, PATIENCE, framed};
    use super::*;
    use bytes::{Buf, Bytes};
    use http_body_util::{BodyExt, Full};
    use prost::Message;
    use std::time::Duration;
    use tonic::Code;

    /// Reads the answers to a stream of these renewals, as a client does.
    async fn renewed(face: Arc<Face>, ids: &[i64]) -> Vec<pb::LeaseKeepAliveResponse> {
        let asks = ids.iter().flat_map(|id| framed(&pb::LeaseKeepAliveRequest { id: *id }.encode_to_vec()));
        let request = http::Request::post("/etcdserverpb.Lease/LeaseKeepAlive")
            .header("content-type", "application/grpc")
            .body(Full::new(asks.collect::<Bytes>()))
            .expect("a request");
        let answer = face.answer(request).await.expect("an answer").into_body();
        let mut bytes = answer.collect().await.expect("a body").to_bytes();
        let mut answers = vec![];
        while !bytes.is_empty() {
            let length = bytes.split_to(5).slice(1..).get_u32() as usize;
            answers.push(pb::LeaseKeepAliveResponse::decode(bytes.split_to(length)).expect("an answer"));
        }
        answers
    }

    #[test]
    fn clients_try_again_when_a_member_cannot_renew() {
        for error in [Error::NoSpace, Error::TooManyRequests, Error::NoLeader, Error::Timeout] {
            let status = not_renewed(error.clone());
            assert_eq!((status.code(), status.message()), (Code::Unavailable, &*error.to_string()));
        }
        assert_eq!(not_renewed(Error::Disk { cause: "x".into() }).code(), Code::Internal);
    }

    #[test]
    fn renewals_of_one_stream_share_syncs_and_are_answered_in_order() {
        let one = One::start();
        let face = one.face.clone();
        one.runtime.block_on(async {
            let mut ids = vec![];
            for id in 1..=100 {
                ids.push(face.kv.lease_grant(600, id).await.expect("a lease"));
            }
            ids[50] = 4711; // there is none
            one.disk.slow_down(Duration::from_millis(5));
            let before = one.disk.syncs();
            let answers = tokio::time::timeout(PATIENCE, renewed(face.clone(), &ids)).await.expect("answers");
            let answered: Vec<i64> = answers.iter().map(|answer| answer.id).collect();
            assert_eq!(answered, ids);
            let ttl = |answer: &pb::LeaseKeepAliveResponse| answer.ttl;
            assert_eq!((ttl(&answers[0]), ttl(&answers[50]), ttl(&answers[99])), (600, 0, 600));
            let syncs = one.disk.syncs() - before;
            assert!(syncs <= 30, "{syncs} syncs for 100 renewals");
        });
    }
}
