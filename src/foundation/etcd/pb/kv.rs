//! Keys and values: `mvccpb` and the service `etcdserverpb.KV`.

use super::header::ResponseHeader;
use super::messages::messages;
use bytes::Bytes;

messages! {
    KeyValue {
        bytes key = 1,
        int64 create_revision = 2,
        int64 mod_revision = 3,
        int64 version = 4,
        bytes value = 5,
        int64 lease = 6,
    }
    /// `type`: 0 put, 1 delete.
    Event {
        int32 kind = 1 as "type",
        message<KeyValue> kv = 2,
        message<KeyValue> prev_kv = 3,
    }
    /// `sort_order`: none, ascend, descend; `sort_target`: key, version, create, mod, value.
    RangeRequest {
        bytes key = 1,
        bytes range_end = 2,
        int64 limit = 3,
        int64 revision = 4,
        int32 sort_order = 5,
        int32 sort_target = 6,
        bool serializable = 7,
        bool keys_only = 8,
        bool count_only = 9,
        int64 min_mod_revision = 10,
        int64 max_mod_revision = 11,
        int64 min_create_revision = 12,
        int64 max_create_revision = 13,
    }
    RangeResponse {
        message<ResponseHeader> header = 1,
        repeated<KeyValue> kvs = 2,
        bool more = 3,
        int64 count = 4,
    }
    PutRequest {
        bytes key = 1,
        bytes value = 2,
        int64 lease = 3,
        bool prev_kv = 4,
        bool ignore_value = 5,
        bool ignore_lease = 6,
    }
    PutResponse {
        message<ResponseHeader> header = 1,
        message<KeyValue> prev_kv = 2,
    }
    DeleteRangeRequest {
        bytes key = 1,
        bytes range_end = 2,
        bool prev_kv = 3,
    }
    DeleteRangeResponse {
        message<ResponseHeader> header = 1,
        int64 deleted = 2,
        repeated<KeyValue> prev_kvs = 3,
    }
    RequestOp {
        oneof("Request", "1, 2, 3, 4") Request request as "Request",
    }
    ResponseOp {
        oneof("Response", "1, 2, 3, 4") Response response as "Response",
    }
    /// `result`: equal, greater, less, not equal; `target`: version, create, mod, value, lease.
    Compare {
        int32 result = 1,
        int32 target = 2,
        bytes key = 3,
        oneof("TargetUnion", "4, 5, 6, 7, 8") TargetUnion target_union as "TargetUnion",
        bytes range_end = 64,
    }
    TxnRequest {
        repeated<Compare> compare = 1,
        repeated<RequestOp> success = 2,
        repeated<RequestOp> failure = 3,
    }
    TxnResponse {
        message<ResponseHeader> header = 1,
        bool succeeded = 2,
        repeated<ResponseOp> responses = 3,
    }
    CompactionRequest {
        int64 revision = 1,
        bool physical = 2,
    }
    CompactionResponse {
        message<ResponseHeader> header = 1,
    }
}

/// The operation in a [`RequestOp`] (`oneof request` in etcd's `rpc.proto`).
#[derive(Clone, PartialEq, prost::Oneof, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Reads keys.
    #[prost(message, tag = 1)]
    RequestRange(RangeRequest),
    /// Sets one key.
    #[prost(message, tag = 2)]
    RequestPut(PutRequest),
    /// Deletes keys.
    #[prost(message, tag = 3)]
    RequestDeleteRange(DeleteRangeRequest),
    /// A transaction within.
    #[prost(message, tag = 4)]
    RequestTxn(TxnRequest),
}

/// The answer in a [`ResponseOp`] (`oneof response` in etcd's `rpc.proto`).
///
/// In JSON each has the name that Go's JSON of etcd 3.6 has, e.g. `response_put`. 3.5 and earlier
/// wrote `ResponsePut`.
#[derive(Clone, PartialEq, prost::Oneof, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::RequestRange`].
    #[prost(message, tag = 1)]
    ResponseRange(RangeResponse),
    /// To [`Request::RequestPut`].
    #[prost(message, tag = 2)]
    ResponsePut(PutResponse),
    /// To [`Request::RequestDeleteRange`].
    #[prost(message, tag = 3)]
    ResponseDeleteRange(DeleteRangeResponse),
    /// To [`Request::RequestTxn`].
    #[prost(message, tag = 4)]
    ResponseTxn(TxnResponse),
}

/// The value that a [`Compare`] compares with (`oneof target_union` in etcd's `rpc.proto`).
#[derive(Clone, PartialEq, prost::Oneof, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetUnion {
    /// Writes since the key was created.
    #[prost(int64, tag = 4)]
    Version(i64),
    /// The revision of the write that created the key.
    #[prost(int64, tag = 5)]
    CreateRevision(i64),
    /// The revision of the last write.
    #[prost(int64, tag = 6)]
    ModRevision(i64),
    /// The bytes of the value.
    #[prost(bytes = "bytes", tag = 7)]
    #[serde(serialize_with = "super::messages::base64")]
    Value(Bytes),
    /// The id of the key's lease.
    #[prost(int64, tag = 8)]
    Lease(i64),
}
