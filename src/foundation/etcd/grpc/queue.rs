//! The queue behind locks and elections, as etcd's clients build it: each client puts a key under
//! the same name, and the client with the oldest key has the lock, or leads.

use super::super::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Error, EventType, KeyValue, PutRequest,
    RangeRequest, RequestOp, ResponseOp, Revision, SortOrder, SortTarget, TxnRequest, WatchRequest,
};
use super::super::kv::Kv;
use super::face::Face;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Seconds of a lease that is made because the caller brought none (as `concurrency.NewSession`).
const LEASE_TTL: i64 = 60;

/// A lease's place in a queue. Dropped before it is [`Place::kept`], it is given up: if this call
/// put the key, or if the place still waits. A lock that an earlier call of the same lease has is
/// not released.
pub(super) struct Place {
    face: Arc<Face>,
    pub key: Bytes,
    pub lease: i64,
    /// The key's create revision, by which places are ordered.
    pub revision: Revision,
    /// The store's revision when the place was taken or found.
    pub at: Revision,
    /// The key as it was found, if an earlier call of this lease had put it.
    pub found: Option<KeyValue>,
    /// The range of all places under the name.
    all: (Bytes, Bytes),
    /// No place was before it when it was taken or found.
    first: bool,
    kept: bool,
}

/// Returns the range of all keys that begin with `prefix`.
pub(super) fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end.into();
        }
    }
    Bytes::from_static(&[0])
}

/// Returns the keys under a name, `name/…`.
pub(super) fn prefix(name: &[u8]) -> Bytes {
    [name, b"/"].concat().into()
}

/// Returns the oldest key under a name: its owner.
fn oldest(name: &[u8]) -> RangeRequest {
    let prefix = prefix(name);
    RangeRequest {
        range_end: prefix_end(&prefix),
        key: prefix,
        limit: 1,
        sort_order: SortOrder::Ascend,
        sort_target: SortTarget::CreateRevision,
        ..RangeRequest::default()
    }
}

/// Returns the key of the present owner: the oldest under the name.
pub(super) async fn owner(kv: &Kv, name: &[u8]) -> Result<(Revision, Option<KeyValue>), Error> {
    let mut found = kv.range(oldest(name)).await?;
    Ok((found.revision, found.kvs.pop()))
}

/// Returns the lease that a caller brought, or a new one if it brought none.
///
/// # Errors
/// Those of [`Kv::lease_grant`].
pub(super) async fn lease_or_new(kv: &Kv, lease: i64) -> Result<i64, Error> {
    match lease {
        0 => kv.lease_grant(LEASE_TTL, 0).await,
        lease => Ok(lease),
    }
}

/// Returns a lease's id as etcd's client library writes it into a key (`%x` in Go): a client may
/// choose a negative one, which has a sign.
fn hexadecimal(lease: i64) -> String {
    let sign = if lease < 0 { "-" } else { "" };
    format!("{sign}{:x}", lease.unsigned_abs())
}

/// This key, as long as it was created at this revision.
pub(super) fn still(key: &Bytes, create_revision: Revision) -> Compare {
    Compare {
        key: key.clone(),
        range_end: Bytes::new(),
        result: CompareResult::Equal,
        target: CompareTarget::CreateRevision(create_revision),
    }
}

impl Place {
    /// Takes a place under a name, or finds the one that this lease already has.
    ///
    /// Runs to its end also if the caller goes away meanwhile: else its key would be put, and
    /// nothing would know that it is to be given up.
    ///
    /// A lock named `jobs`, asked for with lease 7 and then with lease 11: the keys `jobs/7` and
    /// `jobs/b`, in hexadecimal. `jobs/7` was created first and has the lock. When it is deleted,
    /// or its lease ends, `jobs/b` is the oldest.
    ///
    /// # Errors
    /// Those of [`Kv::txn`] and [`Kv::lease_grant`]. After `Timeout` the key may still be put, as
    /// with etcd: it ends with its lease.
    pub(super) async fn take(
        face: &Arc<Face>,
        name: &[u8],
        value: Bytes,
        lease: i64,
    ) -> Result<Place, Error> {
        let (answer, taken) = oneshot::channel();
        let taking = Place::put_or_find(face.clone(), Bytes::copy_from_slice(name), value, lease);
        face.crew.spawn(async move {
            let _ = answer.send(taking.await); // a caller that has gone leaves the place to its `Drop`
        });
        taken.await.unwrap_or(Err(Error::Stopped))
    }

    async fn put_or_find(face: Arc<Face>, name: Bytes, value: Bytes, lease: i64) -> Result<Place, Error> {
        let lease = lease_or_new(&face.kv, lease).await?;
        let prefix = prefix(&name);
        let key = Bytes::from([&prefix[..], hexadecimal(lease).as_bytes()].concat());
        let put = PutRequest { key: key.clone(), value, lease, ..PutRequest::default() };
        let get = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        // The owner in the same transaction: a client that is first need not ask again.
        let owner = RequestOp::Range(oldest(&name));
        let txn = TxnRequest {
            compare: vec![still(&key, 0)],
            success: vec![RequestOp::Put(put), owner.clone()],
            failure: vec![RequestOp::Range(get), owner],
        };
        let done = face.kv.txn(txn).await?;
        let mut ranges = done.responses.into_iter().map(|response| match response {
            ResponseOp::Range(mut range) => range.kvs.pop(),
            _ => None,
        });
        let found = ranges.next().flatten();
        let revision = found.as_ref().map_or(done.revision, |kv| kv.create_revision);
        let first = ranges.next().flatten().is_none_or(|owner| owner.create_revision == revision);
        let all = (prefix.clone(), prefix_end(&prefix));
        Ok(Place { face, key, lease, revision, at: done.revision, found, all, first, kept: false })
    }

    /// Waits until every place before this one is gone, and returns the revision at which that was
    /// seen. `None`: the place itself is gone, with its lease or because a client deleted its key,
    /// so a later place may be first by now.
    pub(super) async fn first(&self) -> Result<Option<Revision>, Error> {
        if self.first {
            return Ok(Some(self.at));
        }
        let (key, range_end) = self.all.clone();
        loop {
            let mut before = self
                .face
                .kv
                .range(RangeRequest {
                    range_end: range_end.clone(),
                    key: key.clone(),
                    limit: 1,
                    sort_order: SortOrder::Descend,
                    sort_target: SortTarget::CreateRevision,
                    max_create_revision: self.revision - 1,
                    ..RangeRequest::default()
                })
                .await?;
            match before.kvs.pop() {
                None => return self.holds().await,
                Some(kv) => wait_for_delete(&self.face.kv, &kv.key, before.revision + 1).await?,
            }
        }
    }

    async fn holds(&self) -> Result<Option<Revision>, Error> {
        let get = RangeRequest { key: self.key.clone(), ..RangeRequest::default() };
        let found = self.face.kv.range(get).await?;
        let holds = found.kvs.first().is_some_and(|kv| kv.create_revision == self.revision);
        Ok(holds.then_some(found.revision))
    }

    /// Keeps the place beyond the end of the call.
    pub(super) fn kept(mut self) -> Place {
        self.kept = true;
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            let (kv, key, revision) = (self.face.kv.clone(), self.key.clone(), self.revision);
            let delete =
                RequestOp::DeleteRange(DeleteRangeRequest { key: key.clone(), ..Default::default() });
            let give_up = match self.found {
                None => delete,
                // An earlier call put the key. If no place is before it, that call may have
                // answered that it has the lock.
                Some(_) => {
                    let (key, range_end) = self.all.clone();
                    let target = CompareTarget::CreateRevision(revision - 1);
                    let first = Compare { key, range_end, result: CompareResult::Greater, target };
                    let txn = TxnRequest { compare: vec![first], success: vec![], failure: vec![delete] };
                    RequestOp::Txn(txn)
                }
            };
            self.face.crew.spawn(async move {
                // this place only, not one that the same lease has taken since
                let compare = vec![still(&key, revision)];
                let txn = TxnRequest { compare, success: vec![give_up], failure: vec![] };
                let _ = kv.txn(txn).await; // the caller has gone; if this fails, the lease ends it
            });
        }
    }
}

/// Waits until a key is deleted, at `from` or later. Returns also when that cannot be known any
/// more: a snapshot replaced the store, or it has forgotten that time. The caller reads the keys
/// again.
async fn wait_for_delete(kv: &Kv, key: &Bytes, from: Revision) -> Result<(), Error> {
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
