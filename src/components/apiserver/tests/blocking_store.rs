//! A store with gates, for tests of what happens between two of its answers.

use etcd::api::{Error, RangeRequest, RangeResponse, TxnRequest, TxnResponse, WatchRequest};
use etcd::{Changes, Kv, Status, Storage};
use futures::StreamExt;
use std::sync::Arc;
use tokio::sync::watch::Sender;

/// A store that holds its answers back where a test says so.
pub(super) struct BlockingStore {
    kv: Kv,
    /// Watches say nothing while this is false; a barrier of reading makes it true. So the cache is
    /// behind the store until a reader insists on what the store has now.
    pub watches: Sender<bool>,
    /// Transactions are carried out, and not answered, while this is false.
    pub answers: Sender<bool>,
    /// Nothing is read while this is false.
    pub reads: Sender<bool>,
    /// The reader of the next event panics while this is true.
    pub panics: Sender<bool>,
}

impl BlockingStore {
    /// All gates are open.
    pub(super) fn new(kv: Kv) -> Arc<BlockingStore> {
        Arc::new(BlockingStore {
            kv,
            watches: Sender::new(true),
            answers: Sender::new(true),
            reads: Sender::new(true),
            panics: Sender::new(false),
        })
    }

    async fn answer<T>(&self, outcome: T) -> T {
        let _ = self.answers.subscribe().wait_for(|open| *open).await; // fails only when the store goes
        outcome
    }
}

#[async_trait::async_trait]
impl Storage for BlockingStore {
    async fn range(&self, r: RangeRequest) -> Result<RangeResponse, Error> {
        let _ = self.reads.subscribe().wait_for(|open| *open).await; // fails only when the store goes
        self.kv.range(r).await
    }
    async fn txn(&self, r: TxnRequest) -> Result<TxnResponse, Error> {
        let outcome = self.kv.txn(r).await;
        self.answer(outcome).await
    }
    async fn txn_unbounded(&self, r: TxnRequest) -> Result<TxnResponse, Error> {
        let outcome = self.kv.txn_unbounded(r).await;
        self.answer(outcome).await
    }
    async fn watch(&self, r: WatchRequest) -> Result<Changes, Error> {
        let (open, panics) = (self.watches.subscribe(), self.panics.subscribe());
        let gated = Storage::watch(&self.kv, r).await?.then(move |outcome| {
            let (mut open, panics) = (open.clone(), panics.clone());
            async move {
                let _ = open.wait_for(|open| *open).await; // fails only when the store goes
                assert!(!*panics.borrow(), "as asked");
                outcome
            }
        });
        Ok(gated.boxed())
    }
    async fn compact(&self, revision: i64) -> Result<(), Error> {
        self.kv.compact(revision).await
    }
    async fn lease_grant(&self, ttl_seconds: i64, id: i64) -> Result<i64, Error> {
        self.kv.lease_grant(ttl_seconds, id).await
    }
    async fn read_barrier(&self) -> Result<(), Error> {
        self.kv.read_barrier().await?;
        self.watches.send_replace(true);
        Ok(())
    }
    fn revision(&self) -> i64 {
        self.kv.revision()
    }
    fn compacted(&self) -> i64 {
        self.kv.compacted()
    }
    fn status(&self) -> Option<Status> {
        Some(self.kv.status())
    }
}
