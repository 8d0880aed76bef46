//! The service `etcdserverpb.Maintenance`, and what a database file holds beside keys.

use super::header::ResponseHeader;
use super::messages::messages;

messages! {
    /// `action`: get, activate, deactivate; `alarm`: none, no space, corrupt. Getting passes over
    /// the member.
    AlarmRequest {
        int32 action = 1,
        uint64 member_id = 2 as "memberID",
        int32 alarm = 3,
    }
    AlarmMember {
        uint64 member_id = 1 as "memberID",
        int32 alarm = 2,
    }
    AlarmResponse {
        message<ResponseHeader> header = 1,
        repeated<AlarmMember> alarms = 2,
    }
    StatusRequest {}
    StatusResponse {
        message<ResponseHeader> header = 1,
        string version = 2,
        int64 db_size = 3 as "dbSize",
        uint64 leader = 4,
        uint64 raft_index = 5 as "raftIndex",
        uint64 raft_term = 6 as "raftTerm",
        uint64 raft_applied_index = 7 as "raftAppliedIndex",
        strings errors = 8,
        int64 db_size_in_use = 9 as "dbSizeInUse",
        bool is_learner = 10 as "isLearner",
        string storage_version = 11 as "storageVersion",
        int64 db_size_quota = 12 as "dbSizeQuota",
        message<DowngradeInfo> downgrade_info = 13 as "downgradeInfo",
    }
    DowngradeInfo {
        bool enabled = 1,
        string target_version = 2 as "targetVersion",
    }
    DefragmentRequest {}
    DefragmentResponse {
        message<ResponseHeader> header = 1,
    }
    HashRequest {}
    HashResponse {
        message<ResponseHeader> header = 1,
        uint32 hash = 2,
    }
    HashKvRequest {
        int64 revision = 1,
    }
    HashKvResponse {
        message<ResponseHeader> header = 1,
        uint32 hash = 2,
        int64 compact_revision = 3,
        int64 hash_revision = 4,
    }
    SnapshotRequest {}
    SnapshotResponse {
        message<ResponseHeader> header = 1,
        uint64 remaining_bytes = 2,
        bytes blob = 3,
        string version = 4,
    }
    MoveLeaderRequest {
        uint64 target_id = 1 as "targetID",
    }
    MoveLeaderResponse {
        message<ResponseHeader> header = 1,
    }
    /// `leasepb.Lease`, as it lies in a database file.
    StoredLease {
        int64 id = 1 as "ID",
        int64 ttl = 2 as "TTL",
        int64 remaining_ttl = 3 as "RemainingTTL",
    }
}
