//! Converts protobuf messages to the types of the store, and back.

use super::super::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Error, Event, EventType, KeyValue, PutRequest,
    RangeRequest, RangeResponse, RequestOp, ResponseOp, Revision, SortOrder, SortTarget, TxnRequest,
    TxnResponse,
};
use super::super::pb;
use super::super::txn;
use super::codec::RECEIVED_TOO_LARGE;
use bytes::Bytes;
use tonic::Status;

impl From<KeyValue> for pb::KeyValue {
    fn from(kv: KeyValue) -> pb::KeyValue {
        let KeyValue { key, create_revision, mod_revision, version, value, lease } = kv;
        pb::KeyValue { key, create_revision, mod_revision, version, value, lease }
    }
}

impl From<Event> for pb::Event {
    fn from(event: Event) -> pb::Event {
        let kind = match event.kind {
            EventType::Put => 0,
            EventType::Delete => 1,
        };
        pb::Event { kind, kv: Some(event.kv.into()), prev_kv: event.prev_kv.map(Into::into) }
    }
}

/// Errors: `EmptyKey`, `InvalidSortOption`; in this order, as `checkRangeRequest` of etcd 3.6.
pub(super) fn range(r: pb::RangeRequest) -> Result<RangeRequest, Error> {
    if r.key.is_empty() {
        return Err(Error::EmptyKey);
    }
    Ok(RangeRequest {
        key: r.key,
        range_end: r.range_end,
        limit: r.limit,
        revision: r.revision,
        serializable: r.serializable,
        continued: false,
        keys_only: r.keys_only,
        count_only: r.count_only,
        sort_order: match r.sort_order {
            0 => SortOrder::None,
            1 => SortOrder::Ascend,
            2 => SortOrder::Descend,
            _ => return Err(Error::InvalidSortOption),
        },
        sort_target: match r.sort_target {
            0 => SortTarget::Key,
            1 => SortTarget::Version,
            2 => SortTarget::CreateRevision,
            3 => SortTarget::ModRevision,
            4 => SortTarget::Value,
            _ => return Err(Error::InvalidSortOption),
        },
        min_mod_revision: r.min_mod_revision,
        max_mod_revision: r.max_mod_revision,
        min_create_revision: r.min_create_revision,
        max_create_revision: r.max_create_revision,
    })
}

pub(super) fn put(r: pb::PutRequest) -> PutRequest {
    let pb::PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease } = r;
    PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease }
}

pub(super) fn delete_range(r: pb::DeleteRangeRequest) -> DeleteRangeRequest {
    DeleteRangeRequest { key: r.key, range_end: r.range_end, prev_kv: r.prev_kv }
}

/// Converts a transaction. Errors come in etcd's order, one part after the other: `TooManyOps`,
/// `EmptyKey`, an operation without content.
pub(super) fn transaction(r: pb::TxnRequest, max_ops: usize) -> Result<TxnRequest, Status> {
    let left = txn::check_count(r.compare.len(), r.success.len(), r.failure.len(), max_ops)?;
    let ops = |ops: Vec<pb::RequestOp>| -> Result<Vec<RequestOp>, Status> {
        ops.into_iter().map(|op| operation(op, left)).collect()
    };
    let compare = r.compare.into_iter().map(|c| {
        let compare = compare(c);
        txn::check_compare(&compare)?;
        Ok(compare)
    });
    Ok(TxnRequest {
        compare: compare.collect::<Result<_, Status>>()?,
        success: ops(r.success)?,
        failure: ops(r.failure)?,
    })
}

fn operation(op: pb::RequestOp, max_ops: usize) -> Result<RequestOp, Status> {
    let op = match op.request {
        Some(pb::Request::RequestRange(r)) => RequestOp::Range(range(r)?),
        Some(pb::Request::RequestPut(r)) => RequestOp::Put(put(r)),
        Some(pb::Request::RequestDeleteRange(r)) => RequestOp::DeleteRange(delete_range(r)),
        Some(pb::Request::RequestTxn(r)) => RequestOp::Txn(transaction(r, max_ops)?),
        None => return Err(Error::KeyNotFound.into()), // etcd's word for an empty operation
    };
    txn::check_op(&op)?;
    Ok(op)
}

/// Returns a comparison that has the same outcome as etcd's. etcd refuses none: an unknown result
/// holds for every key, and an unknown target compares as equal (`compareKV` in
/// server/etcdserver/txn/txn.go).
fn compare(c: pb::Compare) -> Compare {
    use pb::TargetUnion as U;
    let number = |n: Option<i64>| n.unwrap_or_default();
    let target = match (c.target, c.target_union) {
        (0, u) => Some(CompareTarget::Version(number(
            u.and_then(|u| if let U::Version(n) = u { Some(n) } else { None }),
        ))),
        (1, u) => Some(CompareTarget::CreateRevision(number(
            u.and_then(|u| if let U::CreateRevision(n) = u { Some(n) } else { None }),
        ))),
        (2, u) => Some(CompareTarget::ModRevision(number(
            u.and_then(|u| if let U::ModRevision(n) = u { Some(n) } else { None }),
        ))),
        (3, Some(U::Value(value))) => Some(CompareTarget::Value(value)),
        (3, _) => Some(CompareTarget::Value(Bytes::new())),
        (4, u) => Some(CompareTarget::Lease(number(
            u.and_then(|u| if let U::Lease(n) = u { Some(n) } else { None }),
        ))),
        _ => None,
    };
    let result = match c.result {
        0 => Some(CompareResult::Equal),
        1 => Some(CompareResult::Greater),
        2 => Some(CompareResult::Less),
        3 => Some(CompareResult::NotEqual),
        _ => None,
    };
    // No key, absent ones included, has a version below 0; no absent key was created.
    let always = (CompareResult::Greater, CompareTarget::Version(-1));
    let never = (CompareResult::Less, CompareTarget::Version(0));
    let if_it_exists = (CompareResult::Greater, CompareTarget::CreateRevision(0));
    let (result, target) = match (result, target) {
        (Some(result), Some(target)) => (result, target),
        (None, Some(CompareTarget::Value(_))) => if_it_exists, // an absent key has no value to compare
        (None, _) | (Some(CompareResult::Equal), None) => always,
        (Some(_), None) => never,
    };
    Compare { key: c.key, range_end: c.range_end, result, target }
}

/// Heads of answers inside a transaction name the revision alone.
fn revision_header(revision: i64) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision, ..pb::ResponseHeader::default() })
}

pub(super) fn range_response(header: Option<pb::ResponseHeader>, r: RangeResponse) -> pb::RangeResponse {
    let kvs = r.kvs.into_iter().map(Into::into).collect();
    pb::RangeResponse { header, kvs, more: r.more, count: r.count }
}

pub(super) fn txn_response(header: Option<pb::ResponseHeader>, r: TxnResponse) -> pb::TxnResponse {
    let responses =
        r.responses.into_iter().map(|op| pb::ResponseOp { response: Some(response(op)) }).collect();
    pb::TxnResponse { header, succeeded: r.succeeded, responses }
}

fn response(op: ResponseOp) -> pb::Response {
    match op {
        ResponseOp::Range(r) => pb::Response::ResponseRange(range_response(revision_header(r.revision), r)),
        ResponseOp::Put { revision, prev_kv } => pb::Response::ResponsePut(pb::PutResponse {
            header: revision_header(revision),
            prev_kv: prev_kv.map(Into::into),
        }),
        ResponseOp::DeleteRange { revision, deleted, prev_kvs } => {
            pb::Response::ResponseDeleteRange(pb::DeleteRangeResponse {
                header: revision_header(revision),
                deleted,
                prev_kvs: prev_kvs.into_iter().map(Into::into).collect(),
            })
        }
        ResponseOp::Txn(t) => pb::Response::ResponseTxn(txn_response(revision_header(0), t)),
    }
}

// -- the other way, for a client of an etcd elsewhere

/// A list of errors. It names each variant, listed or left out, so that a new one that is in
/// neither list does not compile.
macro_rules! errors {
    ([$($listed:ident $({ $field:ident: $value:expr })?,)*] but not [$($left_out:ident,)*]) => {{
        let _names_each = |error: &Error| match error {
            $(Error::$listed { .. } => {})*
            $(Error::$left_out { .. } => {})*
        };
        [$(Error::$listed $({ $field: $value })?,)*]
    }};
}

/// Returns the error whose words these are. Of some the words do not tell all: the rest is what the
/// client knows.
pub(super) fn error_of(status: &Status, revision: Revision, compacted: Revision) -> Error {
    let known = errors!([
        Compacted { compact_revision: compacted },
        FutureRevision { current: revision },
        RequestTooLarge,
        EmptyKey,
        KeyNotFound,
        ValueProvided,
        LeaseProvided,
        InvalidSortOption,
        DuplicateKey,
        TooManyOps,
        LeaseNotFound,
        LeaseExist,
        LeaseTtlTooLarge,
        NoSpace,
        TooManyAlarms,
        TooManyRequests,
        Corrupt,
        NoLeader,
        NotLeader,
        BadLeaderTransferee,
        MemberNotFound,
        Timeout,
        LeaderChanged,
        SlowWatcher,
    ] but not [
        Disk,        // its text has a cause
        Stopped,     // here that is this program's own store: one elsewhere comes back
        Unavailable, // not an etcd's word
    ]);
    let message = status.message();
    // "…, possibly due to previous leader failure", "…, leader transfer took too long" and others
    if message.starts_with("etcdserver: request timed out") {
        return Error::Timeout;
    }
    // gRPC refuses the largest requests before the etcd sees them.
    if message.starts_with(RECEIVED_TOO_LARGE) {
        return Error::RequestTooLarge;
    }
    let named = known.into_iter().find(|e| e.to_string() == message);
    named.unwrap_or_else(|| Error::Unavailable { cause: message.to_string() })
}

pub(super) fn to_range(r: RangeRequest) -> pb::RangeRequest {
    pb::RangeRequest {
        key: r.key,
        range_end: r.range_end,
        limit: r.limit,
        revision: r.revision,
        serializable: r.serializable,
        keys_only: r.keys_only,
        count_only: r.count_only,
        sort_order: match r.sort_order {
            SortOrder::None => 0,
            SortOrder::Ascend => 1,
            SortOrder::Descend => 2,
        },
        sort_target: match r.sort_target {
            SortTarget::Key => 0,
            SortTarget::Version => 1,
            SortTarget::CreateRevision => 2,
            SortTarget::ModRevision => 3,
            SortTarget::Value => 4,
        },
        min_mod_revision: r.min_mod_revision,
        max_mod_revision: r.max_mod_revision,
        min_create_revision: r.min_create_revision,
        max_create_revision: r.max_create_revision,
    }
}

pub(super) fn to_txn(r: TxnRequest) -> pb::TxnRequest {
    let ops = |ops: Vec<RequestOp>| {
        ops.into_iter().map(|op| pb::RequestOp { request: Some(to_operation(op)) }).collect()
    };
    pb::TxnRequest {
        compare: r.compare.into_iter().map(to_compare).collect(),
        success: ops(r.success),
        failure: ops(r.failure),
    }
}

fn to_operation(op: RequestOp) -> pb::Request {
    match op {
        RequestOp::Range(r) => pb::Request::RequestRange(to_range(r)),
        RequestOp::Put(r) => {
            let PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease } = r;
            let put = pb::PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease };
            pb::Request::RequestPut(put)
        }
        RequestOp::DeleteRange(DeleteRangeRequest { key, range_end, prev_kv }) => {
            pb::Request::RequestDeleteRange(pb::DeleteRangeRequest { key, range_end, prev_kv })
        }
        RequestOp::Txn(r) => pb::Request::RequestTxn(to_txn(r)),
    }
}

fn to_compare(c: Compare) -> pb::Compare {
    use pb::TargetUnion as U;
    let result = match c.result {
        CompareResult::Equal => 0,
        CompareResult::Greater => 1,
        CompareResult::Less => 2,
        CompareResult::NotEqual => 3,
    };
    let (target, union) = match c.target {
        CompareTarget::Version(n) => (0, U::Version(n)),
        CompareTarget::CreateRevision(n) => (1, U::CreateRevision(n)),
        CompareTarget::ModRevision(n) => (2, U::ModRevision(n)),
        CompareTarget::Value(value) => (3, U::Value(value)),
        CompareTarget::Lease(n) => (4, U::Lease(n)),
    };
    pb::Compare { key: c.key, range_end: c.range_end, result, target, target_union: Some(union) }
}

fn kv_of(kv: pb::KeyValue) -> KeyValue {
    let pb::KeyValue { key, create_revision, mod_revision, version, value, lease } = kv;
    KeyValue { key, create_revision, mod_revision, version, value, lease }
}

/// `None` if there is no key in it.
pub(super) fn event_of(event: pb::Event) -> Option<Event> {
    let kind = if event.kind == 1 { EventType::Delete } else { EventType::Put };
    Some(Event { kind, kv: kv_of(event.kv?), prev_kv: event.prev_kv.map(kv_of) })
}

pub(super) fn range_of(r: pb::RangeResponse, revision: Revision) -> RangeResponse {
    RangeResponse { revision, kvs: r.kvs.into_iter().map(kv_of).collect(), more: r.more, count: r.count }
}

/// Errors: an answer without content.
pub(super) fn txn_of(r: pb::TxnResponse, revision: Revision) -> Result<TxnResponse, Error> {
    let responses = r.responses.into_iter().map(|op| response_of(op, revision)).collect::<Result<_, _>>()?;
    Ok(TxnResponse { revision, succeeded: r.succeeded, responses })
}

fn response_of(op: pb::ResponseOp, revision: Revision) -> Result<ResponseOp, Error> {
    Ok(match op.response {
        Some(pb::Response::ResponseRange(r)) => ResponseOp::Range(range_of(r, revision)),
        Some(pb::Response::ResponsePut(r)) => ResponseOp::Put { revision, prev_kv: r.prev_kv.map(kv_of) },
        Some(pb::Response::ResponseDeleteRange(r)) => ResponseOp::DeleteRange {
            revision,
            deleted: r.deleted,
            prev_kvs: r.prev_kvs.into_iter().map(kv_of).collect(),
        },
        Some(pb::Response::ResponseTxn(r)) => ResponseOp::Txn(txn_of(r, revision)?),
        None => return Err(Error::Unavailable { cause: "an answer without content".into() }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::Kv;
    use rng::Rng;

    /// As `compareKV` of etcd 3.6 decides them, for a key that exists and one that does not.
    #[tokio::test]
    async fn comparisons_that_are_unknown_have_etcds_outcome() {
        let kv = Kv::in_memory(Rng::seeded(1));
        kv.put(PutRequest { key: "here".into(), ..PutRequest::default() }).await.unwrap();
        let (version, value, unknown) = (0, 3, 9);
        let (equal, greater, less, not_equal) = (0, 1, 2, 3);
        for (result, target, here, absent) in [
            (unknown, version, true, true),
            (unknown, value, true, false),
            (unknown, unknown, true, true),
            (equal, unknown, true, true),
            (greater, unknown, false, false),
            (less, unknown, false, false),
            (not_equal, unknown, false, false),
        ] {
            for (key, succeeds) in [("here", here), ("absent", absent)] {
                let compare = pb::Compare { result, target, key: key.into(), ..Default::default() };
                let txn = pb::TxnRequest { compare: vec![compare], ..Default::default() };
                let txn = transaction(txn, 9).unwrap_or_else(|e| panic!("{result} {target}: {e}"));
                let succeeded = kv.txn(txn).await.unwrap().succeeded;
                assert_eq!(succeeded, succeeds, "result {result}, target {target}, {key}");
            }
        }
    }

    #[test]
    fn a_range_without_a_key_is_refused_before_its_order_is_looked_at() {
        let asked = |key: &'static str, sort_order, sort_target| {
            range(pb::RangeRequest { key: key.into(), sort_order, sort_target, ..Default::default() }).err()
        };
        assert_eq!(asked("", 9, 9), Some(Error::EmptyKey));
        assert_eq!(asked("a", 9, 0), Some(Error::InvalidSortOption));
        assert_eq!(asked("a", 0, 9), Some(Error::InvalidSortOption));
        assert_eq!(asked("a", 2, 4), None);
    }

    #[test]
    fn errors_are_known_by_their_words() {
        let of = |words: &str| error_of(&Status::unavailable(words), 0, 0);
        for error in [
            Error::InvalidSortOption,
            Error::ValueProvided,
            Error::LeaseProvided,
            Error::NotLeader,
            Error::MemberNotFound,
            Error::BadLeaderTransferee,
            Error::Timeout,
        ] {
            assert_eq!(of(&error.to_string()), error);
        }
        let late = "etcdserver: request timed out, possibly due to previous leader failure";
        assert_eq!(of(late), Error::Timeout);
        let large = "grpc: received message larger than max (2402111 vs. 2097152)";
        assert_eq!(of(large), Error::RequestTooLarge, "it is no use to ask again");
        // It comes back; the API server's cache ends when its own store has stopped.
        assert!(matches!(of("etcdserver: server stopped"), Error::Unavailable { .. }));
    }
}
