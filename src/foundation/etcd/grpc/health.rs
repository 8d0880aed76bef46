//! `grpc.health.v1.Health`, which probes of gRPC servers ask (`grpc_health_probe`). As with etcd it
//! says that the server answers, not that it has a leader: `/health` says that.

use super::super::pb;
use super::call::Answers;
use super::face::Face;
use futures::{StreamExt, stream};
use std::sync::Arc;
use tonic::Status;

const SERVING: i32 = 1;
const SERVICE_UNKNOWN: i32 = 3;

impl Face {
    /// Answers a health check. Errors: `NotFound` for every name but the empty one, which stands
    /// for the whole server.
    pub(super) async fn health_check(
        self: Arc<Self>,
        r: pb::HealthCheckRequest,
    ) -> Result<pb::HealthCheckResponse, Status> {
        match r.service.is_empty() {
            true => Ok(pb::HealthCheckResponse { status: SERVING }),
            false => Err(Status::not_found("unknown service")),
        }
    }

    /// Tells the state once. It never changes while the server answers, so the stream is silent
    /// after that, until the client or the server ends it.
    pub(super) fn health_watch(
        self: Arc<Self>,
        r: pb::HealthCheckRequest,
    ) -> Answers<pb::HealthCheckResponse> {
        let status = if r.service.is_empty() { SERVING } else { SERVICE_UNKNOWN };
        Box::pin(stream::iter([Ok(pb::HealthCheckResponse { status })]).chain(stream::pending()))
    }
}
