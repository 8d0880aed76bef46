//! The conditions and operations that transactions of this server are made of.

use bytes::Bytes;
use etcd::api::{Compare, CompareResult, CompareTarget, DeleteRangeRequest, PutRequest, RequestOp, Revision};

fn equal(key: Bytes, target: CompareTarget) -> Compare {
    Compare { key, range_end: Bytes::new(), result: CompareResult::Equal, target }
}

/// Returns the condition that a key was last written at this revision; 0: that it does not exist.
pub(crate) fn is_at(key: impl Into<Bytes>, revision: Revision) -> Compare {
    equal(key.into(), CompareTarget::ModRevision(revision))
}

/// Returns the condition that a key does not exist.
pub(crate) fn is_absent(key: impl Into<Bytes>) -> Compare {
    equal(key.into(), CompareTarget::CreateRevision(0))
}

/// Returns the operation that sets a key, without a lease.
pub(crate) fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> RequestOp {
    RequestOp::Put(PutRequest { key: key.into(), value: value.into(), ..PutRequest::default() })
}

/// Returns the operation that deletes a key.
pub(crate) fn delete(key: impl Into<Bytes>) -> RequestOp {
    RequestOp::DeleteRange(DeleteRangeRequest { key: key.into(), ..DeleteRangeRequest::default() })
}
