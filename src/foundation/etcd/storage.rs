//! What an API server asks of its store, which is a member in this program ([`Kv`]) or an etcd
//! elsewhere ([`Remote`](super::grpc::Remote)).

use super::api::{
    Error, RangeRequest, RangeResponse, Revision, TxnRequest, TxnResponse, WatchRequest, WatchResponse,
};
use super::kv::{Kv, Room};
use super::member::Status;
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use std::collections::BTreeMap;

/// The changes that a watch sends, in order. An error comes once, and is the end.
pub type Changes = BoxStream<'static, Result<WatchResponse, Error>>;

/// A store as its one client sees it. The words are those of [`Kv`], where each is explained.
#[async_trait]
pub trait Storage: Send + Sync {
    /// See [`Kv::range`].
    async fn range(&self, r: RangeRequest) -> Result<RangeResponse, Error>;
    /// See [`Kv::txn`].
    async fn txn(&self, r: TxnRequest) -> Result<TxnResponse, Error>;
    /// Runs a transaction without a client's limits where the store can do without them, for undo.
    async fn txn_unbounded(&self, r: TxnRequest) -> Result<TxnResponse, Error>;
    /// See [`Kv::watch`].
    async fn watch(&self, r: WatchRequest) -> Result<Changes, Error>;
    /// See [`Kv::compact`].
    async fn compact(&self, revision: Revision) -> Result<(), Error>;
    /// See [`Kv::lease_grant`].
    async fn lease_grant(&self, ttl_seconds: i64, id: i64) -> Result<i64, Error>;
    /// Resolves when [`revision`](Storage::revision) is at least that of every write acknowledged
    /// before this call.
    async fn read_barrier(&self) -> Result<(), Error>;
    /// Returns the newest revision that is known here.
    fn revision(&self) -> Revision;
    /// Revisions below this one cannot be read any more, as far as is known here.
    fn compacted(&self) -> Revision;
    /// Returns the member's status, if the store is one of our own.
    fn status(&self) -> Option<Status>;
    /// Returns how much of the quota is used; `None` for an etcd elsewhere, whose administrators
    /// look after its room.
    fn room(&self) -> Option<Room> {
        None
    }
    /// Returns the bytes that a compaction frees, by the lowest revision to compact at.
    fn reclaimable(&self) -> BTreeMap<Revision, u64> {
        BTreeMap::new()
    }
    /// Ends every `NoSpace` alarm, once there is room again.
    async fn end_no_space(&self) -> Result<(), Error> {
        Ok(())
    }
}

#[async_trait]
impl Storage for Kv {
    async fn range(&self, r: RangeRequest) -> Result<RangeResponse, Error> {
        Kv::range(self, r).await
    }
    async fn txn(&self, r: TxnRequest) -> Result<TxnResponse, Error> {
        Kv::txn(self, r).await
    }
    async fn txn_unbounded(&self, r: TxnRequest) -> Result<TxnResponse, Error> {
        Kv::txn_unbounded(self, r).await
    }
    async fn watch(&self, r: WatchRequest) -> Result<Changes, Error> {
        let watcher = Kv::watch(self, r).await?;
        let next =
            async |mut watcher: super::watch::Watcher| watcher.next().await.map(|change| (change, watcher));
        Ok(stream::unfold(watcher, next).boxed())
    }
    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        Kv::compact(self, revision).await
    }
    async fn lease_grant(&self, ttl_seconds: i64, id: i64) -> Result<i64, Error> {
        Kv::lease_grant(self, ttl_seconds, id).await
    }
    async fn read_barrier(&self) -> Result<(), Error> {
        Kv::read_barrier(self).await
    }
    fn revision(&self) -> Revision {
        Kv::revision(self)
    }
    fn compacted(&self) -> Revision {
        Kv::compacted(self)
    }
    fn status(&self) -> Option<Status> {
        Some(Kv::status(self))
    }
    fn room(&self) -> Option<Room> {
        Some(Kv::room(self))
    }
    fn reclaimable(&self) -> BTreeMap<Revision, u64> {
        Kv::reclaimable(self)
    }
    async fn end_no_space(&self) -> Result<(), Error> {
        Kv::end_no_space(self).await
    }
}
