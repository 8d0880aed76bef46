//! Writing objects: one etcd transaction each, with the revision that was read as its condition.

use crate::state::State;
use crate::storage::cache::Undecodable;
use crate::storage::extra::{Beside, Extra};
use crate::storage::keys::{key_of, object_key, store_key};
use crate::storage::object::Object;
use crate::storage::room::{Use, text_cost, values_cost};
use crate::storage::transaction::{delete, is_absent, is_at, put};
use api::kinds::Kind;
use api::status::{details, qualified};
use api::{Status, gojson, meta, value};
use bytes::Bytes;
use etcd::api::{Error, PutRequest, RangeRequest, RequestOp, Revision, TxnRequest, TxnResponse};
use etcd::txn;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long a read waits for the cache before it gives up.
pub(crate) const CACHE_WAIT: Duration = Duration::from_secs(3);
/// How long a lease is handed to new objects.
const LEASE_SHARED: Duration = Duration::from_secs(60);

/// Returns the bytes of an object in the store. Upstream stores custom objects as JSON, by the
/// serializer of its answers, and all others as protobuf, which escapes nothing.
fn stored_bytes(kind: &Kind, object: &Value) -> Bytes {
    match kind.custom.is_some() {
        true => gojson::to_vec(object).into(),
        false => gojson::to_unescaped_vec(object).into(),
    }
}

/// Returns the answer for an object that is stored and cannot be decoded: 500, with upstream's
/// reason.
fn unreadable(kind: &Kind, name: &str, found: &Undecodable) -> Status {
    let what = qualified(kind.group, kind.plural);
    let message = format!("failed to read {what} {name:?} from the storage: {}", found.reason);
    Status::new(500, "StorageReadError", message).with(details(kind.group, kind.plural, name))
}

/// Turns an error of the store into an answer. No other place does so.
pub(crate) fn status_of(error: Error) -> Status {
    let message = error.to_string();
    match error {
        Error::Compacted { .. } => Status::expired("The resourceVersion for the provided list is too old."),
        Error::RequestTooLarge => Status::new(413, "RequestEntityTooLarge", message),
        Error::NoSpace => Status::new(500, "", message), // what upstream cannot name goes out as it came
        Error::FutureRevision { .. } | Error::EmptyKey | Error::DuplicateKey => Status::bad_request(message),
        // An etcd elsewhere: each node port of a Service is a key of its own.
        Error::TooManyOps => Status::new(
            413,
            "RequestEntityTooLarge",
            format!(
                "{message}: the write takes more keys than this cluster's etcd writes at once; ask for fewer node ports, or start that etcd with a larger --max-txn-ops"
            ),
        ),
        // The write may have been done. No Retry-After: clients of Go would repeat it by
        // themselves.
        Error::Timeout => {
            Status::new(504, "Timeout", "Timeout: request did not complete within the allotted timeout")
                .with(serde_json::json!({}))
        }
        // A read of an etcd elsewhere. Upstream's client asks again, as this one does; what is left
        // goes out as it came.
        Error::LeaderChanged => Status::new(500, "", message),
        _ => Status::unavailable(message),
    }
}

/// How long a write is tried again because others wrote at the same time: upstream's bound of a
/// request's time.
const RETRIES_END_AFTER: Duration = Duration::from_secs(34);

/// Bounds the attempts of one write by time and not by number: each failed attempt means that
/// another write succeeded.
pub(crate) struct Deadline(clock::Instant);

impl Deadline {
    /// Begins now.
    pub(crate) fn new() -> Deadline {
        Deadline::within(RETRIES_END_AFTER)
    }

    /// Begins now and ends after this time.
    pub(crate) fn within(time: Duration) -> Deadline {
        Deadline(clock::Instant::now() + time)
    }

    /// # Errors
    /// 504 once the time is over.
    pub(crate) fn check(&self) -> Result<(), Status> {
        match clock::Instant::now() < self.0 {
            true => Ok(()),
            false => Err(Status::timeout("request did not complete within the allotted timeout")),
        }
    }
}

/// Why a write did not happen.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The key is not as it was read (or exists already), or something else that the write depends
    /// on has changed.
    Changed,
    Error(Status),
}

/// True for a write of the Leases and Nodes without which nothing in the cluster works.
fn is_heartbeat(kind: &Kind, new: &Value, expected: Revision) -> bool {
    match kind.place() {
        "nodes" => expected > 0,
        "leases" => matches!(meta::namespace(new), "kube-node-lease" | "kube-system"),
        _ => false,
    }
}

impl State {
    /// Returns when this server's memory has everything that was acknowledged before the call.
    pub(crate) async fn fresh(&self) -> Result<Revision, Status> {
        self.kv.read_barrier().await.map_err(status_of)?;
        let revision = self.kv.revision();
        match ::clock::limit(CACHE_WAIT, self.cache.wait_for(revision)).await {
            Some(()) => Ok(revision),
            None => Err(Status::timeout("request did not complete within the allotted timeout")),
        }
    }

    /// Returns the object as it is now.
    pub(crate) async fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        self.fresh().await?;
        self.last_known(kind, namespace, name)
    }

    /// Returns the object as it was at a revision; `None` if it did not exist, or if that revision
    /// is not kept or cannot be read. A server that has the revision reads its own copy.
    pub(crate) async fn get_at(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        revision: Revision,
    ) -> Option<Value> {
        let own = object_key(kind, namespace, name);
        let key = store_key(kind, &own);
        let request = RangeRequest { key, revision, serializable: true, ..RangeRequest::default() };
        let found = self.kv.range(request).await.ok()?.kvs.into_iter().next()?;
        let object = Object::decode(kind.place(), &own, &found.value, found.mod_revision);
        object.ok().map(|object| object.value)
    }

    /// Returns the object as this server last heard of it.
    ///
    /// # Errors
    /// 404 if there is none, 500 if it cannot be decoded.
    pub(crate) fn last_known(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Arc<Object>, Status> {
        if let Some(found) = self.remembered(kind, namespace, name) {
            return Ok(found);
        }
        Err(match self.undecodable(kind, namespace, name) {
            Some(found) => unreadable(kind, name, &found),
            None => Status::not_found(kind.group, kind.plural, name),
        })
    }

    /// Returns what is stored under that name but cannot be decoded, as this server last heard of
    /// it.
    pub(crate) fn undecodable(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Undecodable> {
        self.cache.undecodable(kind.place(), &object_key(kind, namespace, name))
    }

    /// Removes a value that cannot be decoded, if it is still the one that was found.
    ///
    /// # Errors
    /// As for every write.
    pub(crate) async fn erase_undecodable(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        found: &Undecodable,
        extra: &Extra,
    ) -> Result<Revision, Refused> {
        let key = store_key(kind, &object_key(kind, namespace, name));
        self.transact(key.clone(), found.revision, delete(key), extra, Use::Deletion).await
    }

    /// Returns the object as this server last heard of it.
    pub(crate) fn remembered(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.cache.get(kind.place(), &object_key(kind, namespace, name))
    }

    /// Writes an object that must be at `expected` (0: must not exist) and answers it with its new
    /// revision. It is refused if the store has no room for its bytes, or the memory none for its
    /// values.
    pub(crate) async fn write(
        &self,
        kind: &Kind,
        object: Value,
        expected: Revision,
        extra: &Extra,
    ) -> Result<Arc<Object>, Refused> {
        let mut stored = object;
        value::remove(&mut stored, "metadata.resourceVersion");
        meta::in_order(&mut stored);
        let key = store_key(kind, &key_of(kind, &stored));
        let lease = match kind.ttl_secs {
            0 => 0,
            ttl => self.lease(ttl).await.map_err(Refused::Error)?,
        };
        let put =
            PutRequest { key: key.clone(), value: stored_bytes(kind, &stored), lease, ..Default::default() };
        let repairs = extra.repairs || self.adds_nothing(kind, &stored, expected, put.value.len());
        let purpose = if repairs { Use::Repair } else { Use::Ordinary };
        if !extra.repairs && !is_heartbeat(kind, &stored, expected) {
            self.check_values(kind, &stored, &put.value, extra).map_err(Refused::Error)?;
        }
        let revision = self.transact(key, expected, RequestOp::Put(put), extra, purpose).await?;
        Ok(Arc::new(Object::new(stored, revision)))
    }

    /// Deletes an object that must be at `expected` and answers its last state with the deletion's
    /// revision.
    pub(crate) async fn erase(
        &self,
        kind: &Kind,
        object: &Object,
        extra: &Extra,
    ) -> Result<Arc<Object>, Refused> {
        let key = store_key(kind, &key_of(kind, &object.value));
        let revision = self.transact(key.clone(), object.revision, delete(key), extra, Use::Deletion).await?;
        Ok(Arc::new(Object::new(object.value.clone(), revision)))
    }

    /// Returns a lease of at least `ttl` seconds. Objects written within the same minute share one,
    /// as upstream's do: all Events, which are the only kind that has a lifetime.
    async fn lease(&self, ttl: u32) -> Result<i64, Status> {
        let current = || *self.lease.lock();
        if let Some((id, until)) = current()
            && clock::Instant::now() < until
        {
            return Ok(id);
        }
        let id = self
            .kv
            .lease_grant(i64::from(ttl) + LEASE_SHARED.as_secs() as i64, 0)
            .await
            .map_err(|error| self.refusal(error))?;
        *self.lease.lock() = Some((id, clock::Instant::now() + LEASE_SHARED));
        Ok(id)
    }

    /// True for a write that leaves the objects no larger than they are, and for heartbeats: they
    /// go on when the store is full, because a compaction gives back what they take.
    fn adds_nothing(&self, kind: &Kind, new: &Value, expected: Revision, bytes: usize) -> bool {
        let old = || self.cache.get(kind.place(), &key_of(kind, new)).filter(|old| old.revision == expected);
        is_heartbeat(kind, new, expected) || expected > 0 && old().is_some_and(|old| bytes <= old.stored)
    }

    /// Sees that the memory has room for the values of an object with these bytes. Of a store of
    /// others no quota is known, and nothing is refused.
    ///
    /// Example: one of two finalizers goes, and the manager that takes it away is a new one, whose
    /// entry takes more memory than the finalizer did. Without the managed fields the object has
    /// fewer values, so the write repairs. So does a kubelet that writes the status of a pod.
    ///
    /// # Errors
    /// 507 if it has none.
    fn check_values(&self, kind: &Kind, new: &Value, stored: &[u8], extra: &Extra) -> Result<(), Status> {
        let Some(room) = self.kv.room() else { return Ok(()) };
        let old = self.cache.get(kind.place(), &key_of(kind, new));
        let before = old.as_ref().map_or(0, |old| old.values);
        let after = values_cost(kind.place(), new, stored);
        let repairs = || {
            let left = old.as_ref().map_or(0, |old| before.saturating_sub(managers_cost(kind, &old.value)));
            extra.of_component || after.saturating_sub(managers_cost(kind, new)) < left
        };
        self.cache.values.check((before, after), room.quota, repairs)
    }

    /// Sends a transaction. A Service reserves a key for each of its ports: more than a client may
    /// write at once, and a store of our own takes them.
    async fn send(&self, txn: TxnRequest) -> Result<TxnResponse, Error> {
        match txn.success.len().max(txn.compare.len()) {
            n if n > txn::MAX_OPS => self.kv.txn_unbounded(txn).await,
            _ => self.kv.txn(txn).await,
        }
    }

    async fn transact(
        &self,
        key: Bytes,
        expected: Revision,
        op: RequestOp,
        extra: &Extra,
        purpose: Use,
    ) -> Result<Revision, Refused> {
        let mut txn = TxnRequest { compare: vec![is_at(key, expected)], success: vec![op], failure: vec![] };
        for (key, owner) in &extra.reserve {
            txn.compare.push(is_absent(key.clone()));
            txn.success.push(put(key.clone(), owner.clone()));
        }
        for (key, revision) in &extra.unchanged {
            txn.compare.push(is_at(key.clone(), *revision));
        }
        for beside in &extra.beside {
            let key = store_key(beside.kind, &key_of(beside.kind, &beside.object));
            txn.compare.push(is_at(key.clone(), beside.expected));
            txn.success.push(operation_beside(beside, key));
        }
        for (key, value) in &extra.put {
            txn.success.push(put(key.clone(), value.clone()));
        }
        for key in &extra.release {
            txn.success.push(delete(key.clone()));
        }
        let bare = if purpose == Use::Deletion { deletions(&txn) } else { None };
        let counted = self.make_room(txn::size(&txn) as u64, purpose).await.map_err(Refused::Error)?;
        let mut done = self.send(txn).await;
        let full = matches!(done, Err(Error::NoSpace));
        if let Some(bare) = bare.filter(|_| full) {
            // A deletion must be possible however full the store is. What people did is then not
            // noted as a step.
            done = self.send(bare).await;
        }
        let answer = done.map_err(|e| Refused::Error(self.refusal(e)))?;
        drop(counted);
        if !answer.succeeded {
            return Err(Refused::Changed);
        }
        // A client that has the answer sees the write in every read that follows, authorization
        // included, unless this server's watch of the store lags by more than the wait.
        let _ = ::clock::limit(CACHE_WAIT, self.cache.wait_for(answer.revision)).await;
        Ok(answer.revision)
    }
}

/// Returns what the managed fields of an object count among its values, with the comma and the key
/// in front of them.
fn managers_cost(kind: &Kind, object: &Value) -> usize {
    match value::at(object, "metadata.managedFields") {
        Value::Null => 0,
        managers => text_cost(&[&b",\"\":"[..], &stored_bytes(kind, managers)].concat()),
    }
}

/// Returns the operation that writes or deletes an object beside another one.
fn operation_beside(beside: &Beside, key: Bytes) -> RequestOp {
    if beside.goes {
        return delete(key);
    }
    let mut stored = beside.object.clone();
    value::remove(&mut stored, "metadata.resourceVersion");
    put(key, stored_bytes(beside.kind, &stored))
}

/// Returns the same transaction without its puts; `None` if it has none.
fn deletions(txn: &TxnRequest) -> Option<TxnRequest> {
    let mut bare = txn.clone();
    bare.success.retain(|op| !matches!(op, RequestOp::Put(_)));
    (bare.success.len() < txn.success.len()).then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::kinds;
    use serde_json::json;

    /// As upstream: a lease for each Event would be as many leases as Events.
    #[tokio::test]
    async fn events_of_one_minute_share_a_lease() {
        let api = crate::testing::Api::bare().await;
        let state = api.state();
        let first = state.lease(3600).await.unwrap();
        assert_eq!(state.lease(3600).await.unwrap(), first);
        *state.lease.lock() = Some((first, clock::Instant::now()));
        assert_ne!(state.lease(3600).await.unwrap(), first, "the minute is over");
    }

    /// Clients get it with `\u003c`, which is six times as long.
    #[test]
    fn a_page_of_html_is_stored_as_it_is() {
        let kind = kinds::find("", "v1", "ConfigMap").unwrap();
        let stored = stored_bytes(kind, &json!({"data": {"page": "<p>a & b</p>"}}));
        assert_eq!(&stored[..], br#"{"data":{"page":"<p>a & b</p>"}}"#);
    }

    /// As upstream, whose serializer of answers stores custom objects.
    #[test]
    fn a_custom_object_is_stored_as_it_is_sent() {
        let names = json!({"plural": "tabs", "singular": "tab", "kind": "Tab", "listKind": "TabList"});
        let version = json!({"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object"}}});
        let definition = json!({
            "metadata": {"name": "tabs.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
            "status": {"acceptedNames": names, "conditions": [{"type": "Established", "status": "True"}]},
        });
        let kind = &api::custom::kinds_of(&definition)[0];
        let stored = stored_bytes(kind, &json!({"page": "<p>a & b</p>"}));
        assert_eq!(&stored[..], br#"{"page":"\u003cp\u003ea \u0026 b\u003c/p\u003e"}"#);
    }

    /// A write whose outcome is not known must not be repeated by a client by itself: neither
    /// answer names a time to come again.
    #[test]
    fn what_the_store_did_not_answer_is_not_repeated() {
        for (error, code, reason) in
            [(Error::Timeout, 504, "Timeout"), (Error::LeaderChanged, 500, ""), (Error::NoSpace, 500, "")]
        {
            let text = error.to_string();
            let status = status_of(error);
            assert_eq!((status.code, status.reason), (code, reason), "{text}");
            assert!(status.details["retryAfterSeconds"].is_null(), "{text}");
        }
        assert_eq!(status_of(Error::LeaderChanged).message, Error::LeaderChanged.to_string());
        assert_eq!(status_of(Error::RequestTooLarge).code, 413);
        let many = status_of(Error::TooManyOps);
        assert!(many.code == 413 && many.message.contains("--max-txn-ops"), "{}", many.message);
        assert_eq!(status_of(Error::NoLeader).code, 503, "nothing was done: it may be repeated");
    }
}
