//! The service `grpc.health.v1.Health`, which is gRPC's own and not etcd's.

use super::messages::messages;

messages! {
    /// `service`: empty for the whole server.
    HealthCheckRequest {
        string service = 1,
    }
    /// `status`: unknown, serving, not serving, service unknown.
    HealthCheckResponse {
        int32 status = 1,
    }
}
