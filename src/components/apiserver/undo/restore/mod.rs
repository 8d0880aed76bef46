//! Going back: the objects as they were at an earlier revision, in one transaction.
//!
//! [`plan`] compares two states of the registry and decides, key by key; the rest of this file
//! reads the states, commits the plan and answers. The components hear of it as of any other change
//! and follow at their own speed: kubelets stop what is no longer there, controllers count again.
//!
//! | what | comes back as |
//! |---|---|
//! | most objects | they were: same uid, ClusterIP, NodePort; a new resourceVersion |
//! | a Pod that still runs | it was, but with the node, the ephemeral containers and the status that it has now |
//! | a Pod that was ending, and still is | it was, but its end goes on |
//! | a Pod that had ended and is gone | it was, with its node and status, under a new uid: its programs do not run again |
//! | a Pod that had found no node, and has one now | a new Pod of that name, which waits again if nothing takes it |
//! | any other Pod that is gone or going | a new Pod of that name: new uid, no status, no ephemeral containers, no node unless its maker had chosen one |
//! | a Node | its labels, taints and annotations; its status is the machine's, not the past's |
//! | the status of a workload, a PodDisruptionBudget or a HorizontalPodAutoscaler, and the endpoints of a Service | they were, if a pod, a Service or a workload of their namespace goes back; else they stay |
//! | the status of a ResourceQuota | it was, if any object of its namespace goes back, until the controller has counted anew; else it stays |
//! | a Secret with a token | it was, but with the day on which the token was last used |
//! | a custom object whose definition is gone | it was with the definition; not at all where only its namespace goes back |
//! | Leases, Events, mirror Pods, the API servers' signs of life | not touched: they belong to those who write them; but Leases and Events go with their namespace |

mod derived;
mod newcomers;
mod objects;
mod request;
mod writers;

pub(crate) use request::serve;
pub use request::{
    BEFORE_ADDONS, FEWER_STEPS, NO_SUCH_REVISION, NOTHING_TO_REDO, NOTHING_TO_UNDO, PLAN_CHANGED,
};

use crate::request::context::Context;
use crate::state::State;
use crate::storage::keys::{ROOT, ROOT_END, resource_and_key};
use crate::storage::object::Object;
use crate::storage::room::Use;
use crate::storage::store::status_of;
use crate::storage::transaction::{delete, is_at, put};
use crate::undo::steps::{self, Step, Undone};
use api::value::{self, text};
use api::{Status, meta};
use bytes::Bytes;
use derived::without_derived;
use etcd::api::{Compare, Error, KeyValue, RangeRequest, RequestOp, Revision, TxnRequest};
use etcd::txn::size;
use newcomers::UNGUARDED;
use objects::{
    count, defined, ending_namespaces, is_served, kept_from_deletion, namespace_of, node, owner, pod, quota,
    secret, taken_elsewhere, was_free_volume,
};
use request::check_writes_since;
use serde_json::{Value, json as object};
use std::collections::{BTreeMap, BTreeSet};
use tap::{Event, Journey as Way, Record, Write};

/// Times that a journey is planned again because another client wrote in between.
const TRIES: usize = 20;
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Identifies an object: by its group and plural, its namespace and its name.
type Named<'a> = ((&'a str, &'a str), &'a str, &'a str);

/// What happens to one key.
#[derive(Clone, Debug, PartialEq)]
struct Move {
    key: Bytes,
    /// The revision of the key when this was planned, 0 if it did not exist. The transaction fails
    /// if the key has another one.
    expected: Revision,
    /// The value that is written; `None`: the key is deleted.
    put: Option<Bytes>,
    /// The value that the key has now; empty if it does not exist.
    last: Bytes,
}

impl Move {
    /// Returns the condition that the key is as it was when the move was planned.
    fn compare(&self) -> Compare {
        is_at(self.key.clone(), self.expected)
    }

    /// True if the value stays as it is, and only its revision changes.
    fn is_unchanged(&self) -> bool {
        self.put.as_ref() == Some(&self.last)
    }

    fn operation(&self) -> RequestOp {
        let key = self.key.clone();
        match self.put.clone() {
            Some(value) => put(key, value),
            None => delete(key),
        }
    }
}

/// Returns what the moves use the store's room for: if they make it smaller, they may use what is
/// kept for repairs.
fn room_of(moves: &[Move]) -> Use {
    let made: usize = moves.iter().map(|m| m.put.as_ref().map_or(0, Bytes::len)).sum();
    let gone: usize = moves.iter().map(|m| m.last.len()).sum();
    if made <= gone { Use::Repair } else { Use::Ordinary }
}

/// Makes the parts of a pod's new life that are not in its past.
struct Birth<'a> {
    uid: &'a (dyn Fn() -> String + Sync),
    /// Returns whether a pod was made with a node already in its spec.
    placed_by_maker: &'a (dyn Fn(&KeyValue) -> bool + Sync),
    now: String,
}

/// Returns the resource that a key of the registry belongs to: `pods`.
fn resource(key: &[u8]) -> &str {
    resource_and_key(key).map_or("", |(resource, _)| resource)
}

/// Returns the group of a custom resource, which is a part of its keys, and the plural.
fn group_and_plural(key: &[u8]) -> (&str, &str) {
    let resource = resource(key);
    resource.split_once('/').unwrap_or(("", resource))
}

/// A key as it was, and as it is.
type Pair<'a> = (Option<&'a KeyValue>, Option<&'a KeyValue>);

fn plan(then: &[KeyValue], now: &[KeyValue], birth: &Birth) -> Vec<Move> {
    let mut pairs: BTreeMap<&Bytes, Pair> = BTreeMap::new();
    then.iter().for_each(|kv| pairs.entry(&kv.key).or_default().0 = Some(kv));
    now.iter().for_each(|kv| pairs.entry(&kv.key).or_default().1 = Some(kv));
    let ending = ending_namespaces(&pairs);
    let changed = |(key, (then, now)): (&Bytes, Pair)| {
        if then.map(|kv| &kv.value) == now.map(|kv| &kv.value) {
            return None;
        }
        let put = match resource(key) {
            "leases" | "events" if now.is_some() && ending.contains(namespace_of(key)) => None,
            "leases" | "events" | "masterleases" => return None,
            "nodes" => node(then?, now)?,
            "pods" => pod(then, now, birth)?,
            "secrets" if then.is_some() => secret(then?, now)?,
            "resourcequotas" if then.is_some() => quota(then?, now)?,
            _ => then.map(|kv| kv.value.clone()),
        };
        let last = now.map_or(Bytes::new(), |kv| kv.value.clone());
        Some(Move { key: key.clone(), expected: now.map_or(0, |kv| kv.mod_revision), put, last })
    };
    let moves = pairs.iter().filter_map(|(key, pair)| changed((*key, *pair))).collect();
    let mut moves = without_derived(moves, &pairs);
    moves.extend(kept_from_deletion(&pairs));
    moves
}

/// Parses a stored value; `None` if it is no object.
fn parsed(kv: &KeyValue) -> Option<Value> {
    serde_json::from_slice(&kv.value).ok().filter(Value::is_object)
}

/// Returns whether a key belongs to one of these namespaces: that of an object in it, of the
/// Namespace itself, of a volume that one of its claims has, or of a reservation of its Services.
fn is_within(namespaces: &BTreeSet<String>, key: &[u8], value: &[u8]) -> bool {
    let Some((resource, rest)) = resource_and_key(key) else { return false };
    match (resource, rest.split_once('/')) {
        // A reservation says whose it is: the Service's namespace and name.
        ("ranges", _) => owner(value).is_some_and(|(namespace, _)| namespaces.contains(namespace)),
        (_, Some((namespace, _))) => namespaces.contains(namespace),
        ("namespaces", None) => namespaces.contains(rest),
        ("persistentvolumes", None) => {
            let volume: Value = serde_json::from_slice(value).unwrap_or_default();
            namespaces.contains(text(&volume, "spec.claimRef.namespace"))
        }
        _ => false,
    }
}

/// An undo, a redo or a rewind: the revision that it leads to, and the steps that it takes back.
struct Journey {
    to: Revision,
    /// Steps that are undone by it, newest first; none for a redo.
    steps: Vec<Step>,
    undone: Vec<Undone>,
    /// The command, and again where it leads to.
    way: Way,
    /// The namespaces that go back; everything else stays as it is. `None`: everything goes back.
    within: Option<BTreeSet<String>>,
    /// The conditions that the steps are still those from which this was planned.
    unchanged: Vec<Compare>,
    /// The revision of the plan that a person has agreed to, if one has.
    agreed: Option<Revision>,
}

/// What the store had at the end of a journey.
struct Past {
    objects: Vec<KeyValue>,
    /// Pods that were changed after their creation, and whether they had a node from the beginning.
    made_placed: BTreeMap<Bytes, bool>,
}

impl Past {
    /// Returns whether the pod was made with a node already in its spec.
    fn was_made_placed(&self, kv: &KeyValue) -> bool {
        match self.made_placed.get(&kv.key) {
            Some(placed) => *placed,
            None => parsed(kv).is_some_and(|p| !text(&p, "spec.nodeName").is_empty()),
        }
    }
}

impl Journey {
    /// Plans the moves from the registry as it is `now` to what it was `then`, within the
    /// namespaces that go back.
    fn plan(&self, then: &[KeyValue], now: &[KeyValue], birth: &Birth) -> Vec<Move> {
        let mut moves = plan(then, now, birth);
        if let Some(namespaces) = &self.within {
            let of = |m: &Move| is_within(namespaces, &m.key, m.put.as_ref().unwrap_or(&m.last));
            let defined = defined(now);
            moves.retain(|m| of(m) || was_free_volume(namespaces, m));
            moves.retain(|m| m.put.is_none() || is_served(&defined, &m.key));
        }
        moves
    }

    /// Makes the transaction that makes all moves, or none of them if a key has changed since
    /// `before`.
    fn transaction(&self, moves: &[Move], before: Revision) -> TxnRequest {
        let mut txn = TxnRequest { compare: self.unchanged.clone(), ..TxnRequest::default() };
        txn.compare.extend(moves.iter().map(Move::compare));
        txn.success.extend(moves.iter().map(Move::operation));
        txn.success.push(put(steps::UNDONE, steps::undone_value(&self.undone_after(before))));
        txn
    }

    /// Returns what can be redone after this journey, which left the state at revision `before`.
    fn undone_after(&self, before: Revision) -> Vec<Undone> {
        let mut undone = self.undone.clone();
        if !matches!(self.way, Way::Redo(_)) {
            let steps = self.steps.iter().map(|s| s.id.clone()).collect();
            undone.push(Undone { steps, before, within: self.within.clone() });
        }
        undone
    }

    /// Checks that what comes back takes nothing from another namespace.
    ///
    /// # Errors
    /// 409 if a Service or a claim that comes back had an address, a port or a volume that belongs
    /// to one elsewhere by now.
    fn check_owners(&self, moves: &[Move]) -> Result<(), Status> {
        let Some(namespaces) = &self.within else { return Ok(()) };
        match moves.iter().find_map(|m| taken_elsewhere(namespaces, m)) {
            Some(why) => Err(Status::new(409, "Conflict", why)),
            None => Ok(()),
        }
    }
}

impl State {
    async fn registry(&self, revision: Revision) -> Result<(Vec<KeyValue>, Revision), Status> {
        let all = RangeRequest {
            key: Bytes::from_static(ROOT.as_bytes()),
            range_end: Bytes::from_static(ROOT_END.as_bytes()),
            revision,
            ..Default::default()
        };
        let response = self.kv.range(all).await.map_err(|error| match error {
            Error::Compacted { compact_revision } => Status::expired(format!(
                "revision {revision} is no longer kept: the store keeps none before {compact_revision}"
            )),
            other => status_of(other),
        })?;
        Ok((response.kvs, response.revision))
    }

    /// Returns what people wrote since then and the journey would remove or change back, beyond the
    /// steps that it undoes by name: what it makes of the components' own writes follows from that.
    ///
    /// The records of the tap name the writers. Of a time of which no record is kept, an object
    /// that no controller owns counts as a person's if it was created since, or if a part of it
    /// differs that people write.
    async fn losses(&self, ctx: &Context, journey: &Journey) -> Result<Vec<Value>, Status> {
        let (then, _) = self.registry(journey.to).await?;
        let (now, _) = self.registry(0).await?;
        let birth = Birth { uid: &String::new, placed_by_maker: &|_| false, now: String::new() };
        let moves = journey.plan(&then, &now, &birth);
        let created: BTreeMap<&Bytes, Revision> =
            now.iter().map(|kv| (&kv.key, kv.create_revision)).collect();
        let records = ctx.records();
        // The records of a store that starts have revisions from before, and no request with them.
        let commits = records.iter().filter(|r| r.write().is_some() && r.request.is_some());
        let known_from = commits.filter_map(|r| r.revision).min().map_or(Revision::MAX, |r| r as Revision);
        // The objects after the last write whose writer is not known. The writers since then are
        // known, and one of these writes may be a way back itself.
        let unknown = match known_from {
            at if !matches!(journey.way, Way::Rewind(_)) || journey.to + 1 >= at => Vec::new(),
            Revision::MAX => self.registry(0).await?.0,
            at => self.registry(at - 1).await?.0,
        };
        let unknown: BTreeMap<&Bytes, &Bytes> = unknown.iter().map(|kv| (&kv.key, &kv.value)).collect();
        let works = writers::works(&records, journey.to, known_from);
        let undone: BTreeSet<&String> = match journey.way {
            Way::Undo(_) => journey.steps.iter().map(|s| &s.id).collect(),
            _ => BTreeSet::new(),
        };
        let mut lost = Vec::new();
        for m in moves.iter().filter(|m| !m.last.is_empty() && !m.is_unchanged()) {
            let Ok(object) = serde_json::from_slice::<Value>(&m.last) else { continue };
            let (namespace, name) = (meta::namespace(&object), meta::name(&object));
            let resource_of = group_and_plural(&m.key);
            let steps = works.get(&(resource_of, namespace, name)).filter(|work| !work.is_empty());
            let is_lost = match steps {
                Some(steps) => !steps.iter().all(|id| undone.contains(id)),
                None => {
                    let at = created.get(&m.key).copied().unwrap_or_default();
                    let is_unknown = matches!(journey.way, Way::Rewind(_)) && !is_by_product(&object);
                    is_unknown
                        && match &m.put {
                            None => at > journey.to && at < known_from,
                            Some(put) => unknown
                                .get(&m.key)
                                .and_then(|value| serde_json::from_slice(value).ok())
                                .is_some_and(|wrote| is_edited(resource(&m.key), put, &wrote)),
                        }
                }
            };
            if is_lost {
                lost.push(object!({
                    "resource": resource_of.1,
                    "group": text(&object, "apiVersion").split_once('/').map_or("", |(group, _)| group),
                    "namespace": namespace,
                    "name": name,
                    "removed": m.put.is_none(),
                }));
            }
        }
        Ok(lost)
    }

    /// Reads the revision of a key; 0 if it does not exist.
    async fn revision_of(&self, key: &'static str) -> Result<Revision, Status> {
        let request = RangeRequest { key: Bytes::from_static(key.as_bytes()), ..RangeRequest::default() };
        let answer = self.kv.range(request).await.map_err(status_of)?;
        Ok(answer.kvs.first().map_or(0, |kv| kv.mod_revision))
    }

    /// Reads what the journey goes back to.
    async fn past(&self, to: Revision) -> Result<Past, Status> {
        let (objects, _) = self.registry(to).await?;
        let mut made_placed: BTreeMap<Bytes, bool> = BTreeMap::new();
        for kv in
            objects.iter().filter(|kv| resource(&kv.key) == "pods" && kv.mod_revision != kv.create_revision)
        {
            let first =
                RangeRequest { key: kv.key.clone(), revision: kv.create_revision, ..Default::default() };
            // What is no longer kept counts as placed by the scheduler.
            let first = self.kv.range(first).await.ok().and_then(|r| r.kvs.into_iter().next());
            let placed =
                first.as_ref().and_then(parsed).is_some_and(|p| !text(&p, "spec.nodeName").is_empty());
            made_placed.insert(kv.key.clone(), placed);
        }
        Ok(Past { objects, made_placed })
    }

    /// Commits the journey; returns the new revision and how many objects came back, changed or
    /// not, and how many went. `None`: the cluster changed at the same time, so it has to be
    /// planned again.
    async fn travel(&self, ctx: &Context, journey: &Journey, past: &Past) -> Result<Option<Value>, Status> {
        let (now, before) = self.registry(0).await?;
        if let Some(agreed) = journey.agreed {
            check_writes_since(ctx, agreed)?;
        }
        let birth = Birth {
            uid: &|| self.rng.uuid(),
            placed_by_maker: &|kv| past.was_made_placed(kv),
            now: clock::rfc3339(clock::now()),
        };
        let mut moves = journey.plan(&past.objects, &now, &birth);
        journey.check_owners(&moves)?;
        let is_own = self.kv.room().is_some();
        let (txn, is_guarded) = journey.guarded(&mut moves, &self.cache.kinds(), before, is_own);
        let Some(revision) = self.commit(txn, room_of(&moves)).await? else { return Ok(None) };
        if !is_guarded {
            ctx.warn(UNGUARDED);
        }
        let _ = clock::limit(crate::storage::store::CACHE_WAIT, self.cache.wait_for(revision)).await;
        self.record_moves(ctx, journey, &moves, revision);
        let (back, gone) = count(&moves);
        Ok(Some(object!({
            "revision": revision,
            "to": journey.to,
            "steps": journey.steps,
            "back": back,
            "gone": gone,
        })))
    }

    /// Commits the transaction of a journey; returns its revision. `None`: a key has changed since
    /// the journey was planned.
    async fn commit(&self, txn: TxnRequest, room: Use) -> Result<Option<Revision>, Status> {
        let _counted = self.make_room(size(&txn) as u64, room).await?;
        let changed = txn.success.len();
        let answer = self.kv.txn_unbounded(txn).await.map_err(|error| match error {
            Error::TooManyOps => Status::new(413, "RequestEntityTooLarge", format!("{changed} keys would change, more than this cluster's etcd takes in one transaction; go back in smaller steps, or start that etcd with a larger --max-txn-ops")),
            other => self.refusal(other),
        })?;
        Ok(answer.succeeded.then_some(answer.revision))
    }

    /// Records every object's change as any other write, with the object's bytes and the revision
    /// that the journey leads to.
    fn record_moves(&self, ctx: &Context, journey: &Journey, moves: &[Move], revision: Revision) {
        for m in moves.iter().filter(|m| !m.is_unchanged()) {
            let write = Write {
                journey: Some(journey.way),
                created: m.put.is_some() && m.last.is_empty(),
                deleted: m.put.is_none(),
                deleting: false,
            };
            let Some(object) = Object::read(m.put.as_ref().unwrap_or(&m.last), revision) else { continue };
            let (namespace, name) = (meta::namespace(&object.value), meta::name(&object.value));
            let (group, plural) = group_and_plural(&m.key);
            let record = Record::new(Event::Commit(write)).object(plural, namespace, name).group(group);
            ctx.record_other(record.revision(revision as u64), Some(object.bytes));
        }
    }
}

/// Annotations that controllers write into objects that people made.
const CONTROLLERS_NOTES: [&str; 5] = [
    "control-plane.alpha.kubernetes.io/",
    "deployment.kubernetes.io/",
    "node.alpha.kubernetes.io/",
    "pv.kubernetes.io/",
    "volume.",
];

/// Returns whether going back from `now` to `then` changes a part of the object that people write.
/// Of a Node these are its labels and whether pods are scheduled to it.
fn is_edited(resource: &str, then: &[u8], now: &Value) -> bool {
    let Ok(then) = serde_json::from_slice::<Value>(then) else { return false };
    let written = |object: &Value| {
        let mut annotations = object["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
        annotations.retain(|key, _| !CONTROLLERS_NOTES.iter().any(|own| key.starts_with(own)));
        let labels = object["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        let foreign = match resource {
            "nodes" => return object!([labels, object["spec"]["unschedulable"]]),
            // What the binding of a claim, or of a pod to its node, has written.
            "persistentvolumeclaims" => "spec.volumeName",
            "persistentvolumes" => "spec.claimRef",
            "pods" => "spec.nodeName",
            _ => "status",
        };
        let mut parts = object.clone();
        for part in ["metadata", "status", foreign] {
            value::remove(&mut parts, part);
        }
        object!([labels, annotations, parts])
    };
    resource != "endpointslices" && written(&then) != written(now)
}

/// Returns whether a controller has made the object for another one, so that no person misses it.
fn is_by_product(object: &Value) -> bool {
    let owned = |o: &Value| o["controller"] == true;
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|all| all.iter().any(owned))
        || matches!(
            (text(object, "kind"), meta::name(object)),
            ("ConfigMap", "kube-root-ca.crt") | ("ServiceAccount", "default") | ("Endpoints" | "Event", _)
        )
}

#[cfg(test)]
mod tests;
