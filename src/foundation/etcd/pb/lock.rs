//! The services `v3lockpb.Lock` and `v3electionpb.Election`.

use super::header::ResponseHeader;
use super::kv::KeyValue;
use super::messages::messages;

messages! {
    LockRequest {
        bytes name = 1,
        int64 lease = 2,
    }
    LockResponse {
        message<ResponseHeader> header = 1,
        bytes key = 2,
    }
    UnlockRequest {
        bytes key = 1,
    }
    UnlockResponse {
        message<ResponseHeader> header = 1,
    }
    CampaignRequest {
        bytes name = 1,
        int64 lease = 2,
        bytes value = 3,
    }
    LeaderKey {
        bytes name = 1,
        bytes key = 2,
        int64 rev = 3,
        int64 lease = 4,
    }
    CampaignResponse {
        message<ResponseHeader> header = 1,
        message<LeaderKey> leader = 2,
    }
    LeaderRequest {
        bytes name = 1,
    }
    LeaderResponse {
        message<ResponseHeader> header = 1,
        message<KeyValue> kv = 2,
    }
    ResignRequest {
        message<LeaderKey> leader = 1,
    }
    ResignResponse {
        message<ResponseHeader> header = 1,
    }
    ProclaimRequest {
        message<LeaderKey> leader = 1,
        bytes value = 2,
    }
    ProclaimResponse {
        message<ResponseHeader> header = 1,
    }
}
