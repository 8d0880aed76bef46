//! The service `etcdserverpb.Watch`.

use super::header::ResponseHeader;
use super::kv::Event;
use super::messages::messages;

messages! {
    WatchRequest {
        oneof("WatchUnion", "1, 2, 3") WatchUnion request_union as "RequestUnion",
    }
    /// `filters`: 0 no puts, 1 no deletes. `watch_id` 0 lets the server choose.
    WatchCreateRequest {
        bytes key = 1,
        bytes range_end = 2,
        int64 start_revision = 3,
        bool progress_notify = 4,
        enums filters = 5,
        bool prev_kv = 6,
        int64 watch_id = 7,
        bool fragment = 8,
    }
    WatchCancelRequest {
        int64 watch_id = 1,
    }
    WatchProgressRequest {}
    WatchResponse {
        message<ResponseHeader> header = 1,
        int64 watch_id = 2,
        bool created = 3,
        bool canceled = 4,
        int64 compact_revision = 5,
        string cancel_reason = 6,
        bool fragment = 7,
        repeated<Event> events = 11,
    }
}

/// A client's request on its stream (`oneof request_union` of [`WatchRequest`]).
#[derive(Clone, PartialEq, prost::Oneof, serde::Serialize)]
pub enum WatchUnion {
    /// Begins a watch on this stream.
    #[prost(message, tag = 1)]
    CreateRequest(WatchCreateRequest),
    /// Ends one watch.
    #[prost(message, tag = 2)]
    CancelRequest(WatchCancelRequest),
    /// Asks up to which revision everything was sent.
    #[prost(message, tag = 3)]
    ProgressRequest(WatchProgressRequest),
}
