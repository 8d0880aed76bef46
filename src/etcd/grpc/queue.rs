//! The queue behind locks and elections, as etcd's clients build it: everybody puts a key under the same name, and whoever came first has it.

use super::super::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Error, EventType, KeyValue, PutRequest,
    RangeRequest, RequestOp, ResponseOp, Revision, SortOrder, SortTarget, TxnRequest, WatchRequest,
};
use super::super::kv::Kv;
use super::Face;
use bytes::Bytes;
use std::sync::Arc;

/// Seconds of a lease that is made because the caller brought none (as `concurrency.NewSession`).
const LEASE_TTL: i64 = 60;

/// Someone's place in a queue. Dropped before it is [`Place::kept`], it is given up.
pub struct Place {
    face: Arc<Face>,
    pub key: Bytes,
    pub lease: i64,
    /// The key's create revision, by which places are ordered.
    pub revision: Revision,
    /// What the key held when it was already ours.
    pub found: Option<KeyValue>,
    kept: bool,
}

/// The range of all keys that begin with `prefix`.
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(&[0])
}

/// The keys under a name, `name/…`.
fn prefix(name: &[u8]) -> Vec<u8> {
    [name, b"/"].concat()
}

/// Whoever has it now: the oldest key under the name.
pub async fn owner(kv: &Kv, name: &[u8]) -> Result<(Revision, Option<KeyValue>), Error> {
    let prefix = prefix(name);
    let mut found = kv
        .range(RangeRequest {
            range_end: prefix_end(&prefix),
            key: prefix.into(),
            limit: 1,
            sort_order: SortOrder::Ascend,
            sort_target: SortTarget::CreateRevision,
            ..RangeRequest::default()
        })
        .await?;
    Ok((found.revision, found.kvs.pop()))
}

/// This key, as long as it was created at this revision.
pub fn still(key: &Bytes, create_revision: Revision) -> Compare {
    Compare {
        key: key.clone(),
        range_end: Bytes::new(),
        result: CompareResult::Equal,
        target: CompareTarget::CreateRevision(create_revision),
    }
}

impl Place {
    /// Takes a place under a name, or finds the one that this lease already has.
    pub async fn take(face: &Arc<Face>, name: &[u8], value: Bytes, lease: i64) -> Result<Place, Error> {
        let lease = match lease {
            0 => face.kv.lease_grant(LEASE_TTL, 0).await?,
            lease => lease,
        };
        let key = Bytes::from([&prefix(name), format!("{lease:x}").as_bytes()].concat());
        let put = PutRequest { key: key.clone(), value, lease, ..PutRequest::default() };
        let get = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let txn = TxnRequest {
            compare: vec![still(&key, 0)],
            success: vec![RequestOp::Put(put)],
            failure: vec![RequestOp::Range(get)],
        };
        let mut done = face.kv.txn(txn).await?;
        let found = match done.responses.pop() {
            Some(ResponseOp::Range(mut r)) => r.kvs.pop(),
            _ => None,
        };
        let revision = found.as_ref().map_or(done.revision, |kv| kv.create_revision);
        Ok(Place { face: face.clone(), key, lease, revision, found, kept: false })
    }

    /// Waits until everybody who came before has left. `false`: the place itself is gone, with its lease or by somebody's hand, so whoever came later may be
    /// first by now.
    pub async fn first(&self, name: &[u8]) -> Result<bool, Error> {
        let prefix = prefix(name);
        loop {
            let mut before = self
                .face
                .kv
                .range(RangeRequest {
                    range_end: prefix_end(&prefix),
                    key: prefix.clone().into(),
                    limit: 1,
                    sort_order: SortOrder::Descend,
                    sort_target: SortTarget::CreateRevision,
                    max_create_revision: self.revision - 1,
                    ..RangeRequest::default()
                })
                .await?;
            match before.kvs.pop() {
                None => return self.holds().await,
                Some(kv) => gone(&self.face.kv, &kv.key, before.revision + 1).await?,
            }
        }
    }

    async fn holds(&self) -> Result<bool, Error> {
        let get = RangeRequest { key: self.key.clone(), ..RangeRequest::default() };
        let found = self.face.kv.range(get).await?;
        Ok(found.kvs.first().is_some_and(|kv| kv.create_revision == self.revision))
    }

    /// The place outlives the call.
    pub fn kept(mut self) -> Place {
        self.kept = true;
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            let (kv, key, revision) = (self.face.kv.clone(), self.key.clone(), self.revision);
            self.face.crew.spawn(async move {
                // this place only, not one that the same lease has taken since
                let compare = vec![still(&key, revision)];
                let delete =
                    RequestOp::DeleteRange(DeleteRangeRequest { key, ..DeleteRangeRequest::default() });
                let txn = TxnRequest { compare, success: vec![delete], failure: vec![] };
                let _ = kv.txn(txn).await; // whoever waited has gone; if this fails, the lease ends it
            });
        }
    }
}

/// Waits until a key is deleted, at `from` or later; or until nobody can tell any more whether it was: the store was replaced by a snapshot, or has forgotten
/// that time. Then its keys must be looked at again.
async fn gone(kv: &Kv, key: &Bytes, from: Revision) -> Result<(), Error> {
    let request = WatchRequest { key: key.clone(), start_revision: from, ..WatchRequest::default() };
    let mut watcher = match kv.watch(request).await {
        Err(Error::Compacted { .. }) => return Ok(()),
        watcher => watcher?,
    };
    while let Some(response) = watcher.next().await {
        match response {
            Err(Error::SlowWatcher | Error::Compacted { .. }) => return Ok(()),
            Err(error) => return Err(error),
            Ok(response) if response.events.iter().any(|e| e.kind == EventType::Delete) => return Ok(()),
            Ok(_) => {}
        }
    }
    Err(Error::Stopped)
}
