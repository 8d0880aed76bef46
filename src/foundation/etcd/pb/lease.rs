//! The service `etcdserverpb.Lease`.

use super::header::ResponseHeader;
use super::messages::messages;

messages! {
    LeaseGrantRequest {
        int64 ttl = 1 as "TTL",
        int64 id = 2 as "ID",
    }
    LeaseGrantResponse {
        message<ResponseHeader> header = 1,
        int64 id = 2 as "ID",
        int64 ttl = 3 as "TTL",
        string error = 4,
    }
    LeaseRevokeRequest {
        int64 id = 1 as "ID",
    }
    LeaseRevokeResponse {
        message<ResponseHeader> header = 1,
    }
    LeaseKeepAliveRequest {
        int64 id = 1 as "ID",
    }
    /// `TTL` 0: the lease is gone.
    LeaseKeepAliveResponse {
        message<ResponseHeader> header = 1,
        int64 id = 2 as "ID",
        int64 ttl = 3 as "TTL",
    }
    LeaseTimeToLiveRequest {
        int64 id = 1 as "ID",
        bool keys = 2,
    }
    /// `TTL` -1: the lease is gone.
    LeaseTimeToLiveResponse {
        message<ResponseHeader> header = 1,
        int64 id = 2 as "ID",
        int64 ttl = 3 as "TTL",
        int64 granted_ttl = 4 as "grantedTTL",
        blobs keys = 5,
    }
    LeaseLeasesRequest {}
    LeaseStatus {
        int64 id = 1 as "ID",
    }
    LeaseLeasesResponse {
        message<ResponseHeader> header = 1,
        repeated<LeaseStatus> leases = 2,
    }
}
