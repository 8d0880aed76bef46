//! `etcdserverpb.KV`.

use super::super::pb;
use super::super::txn;
use super::convert;
use super::face::Face;
use std::sync::Arc;
use tonic::Status;

impl Face {
    pub(super) async fn range(self: Arc<Self>, r: pb::RangeRequest) -> Result<pb::RangeResponse, Status> {
        let response = self.kv.range(convert::range(r)?).await?;
        Ok(convert::range_response(self.header(response.revision), response))
    }

    pub(super) async fn put(self: Arc<Self>, r: pb::PutRequest) -> Result<pb::PutResponse, Status> {
        let (revision, prev_kv) = self.kv.put(convert::put(r)).await?;
        Ok(pb::PutResponse { header: self.header(revision), prev_kv: prev_kv.map(Into::into) })
    }

    pub(super) async fn delete_range(
        self: Arc<Self>,
        r: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Status> {
        let (revision, prev_kvs, deleted) = self.kv.delete_range(convert::delete_range(r)).await?;
        let prev_kvs = prev_kvs.into_iter().map(Into::into).collect();
        Ok(pb::DeleteRangeResponse { header: self.header(revision), deleted, prev_kvs })
    }

    pub(super) async fn txn(self: Arc<Self>, r: pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        let response = self.kv.txn(convert::transaction(r, txn::MAX_OPS)?).await?;
        Ok(convert::txn_response(self.header(response.revision), response))
    }

    /// Compacts the history. `physical` changes nothing: the memory is free when this answers. (The
    /// Raft log becomes shorter with its next snapshot.)
    pub(super) async fn compact(
        self: Arc<Self>,
        r: pb::CompactionRequest,
    ) -> Result<pb::CompactionResponse, Status> {
        self.kv.compact(r.revision).await?;
        Ok(pb::CompactionResponse { header: self.header_now() })
    }
}
