//! # The tap: everything that happens, once
//!
//! ## In Kubernetes
//! There is no such thing: audit logs, Events and component logs each know a part.
//! ## How this one works
//! Every hop of every request writes one [`Record`]: the API server's stages, the store's commit, the
//! scheduler's decision, the kubelet's steps, the proxy's rules. `cause` names the revision or request that led
//! to it, so [`chain`](Tap::caused_by) can follow one command through the whole cluster. Viewers read a bounded
//! ring; a slow one loses the oldest records and is told how many. The diagrams, `ropewalk trace`, debriefs
//! and tests all read this stream: there is no second memory of what happened.
//! ## Left out
//! Segments on disk: what the tap holds goes with the process, and grading begins anew with what is found.
//! ## Read next
//! `apiserver`, which writes most records; `ui`, which prints them.

mod who;

pub use who::{KEEPER, LEARNER, NODE, TEACHER, actor, is_component, is_person};

use crate::clock::{self, Timestamp};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::broadcast;

/// Records kept for viewers that come late. At the bound the oldest goes.
const RING: usize = 50_000;
/// Bytes of objects that the records kept hold. Beyond it the oldest record goes, too.
const RING_BYTES: usize = 32 << 20;
/// Records a live viewer may lag behind before it is told that it lost some.
const LIVE: usize = 4096;

/// What led to a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// The store's revision that a watcher saw.
    Revision(u64),
    /// An API request's id.
    Request(String),
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cause::Revision(r) => write!(f, "rev:{r}"),
            Cause::Request(id) => write!(f, "req:{id}"),
        }
    }
}

impl std::str::FromStr for Cause {
    type Err = ();
    /// Reads what `Display` wrote: the form in which a cause travels in an HTTP header.
    fn from_str(s: &str) -> Result<Cause, ()> {
        match s.split_once(':') {
            Some(("rev", r)) => r.parse().map(Cause::Revision).map_err(|_| ()),
            Some(("req", id)) => Ok(Cause::Request(id.to_string())),
            _ => Err(()),
        }
    }
}

/// Which object a record is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// The plural resource name, e.g. `pods`.
    pub resource: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    pub name: String,
}

impl ObjectRef {
    pub fn new(
        resource: impl Into<String>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> ObjectRef {
        ObjectRef { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }
}

/// What an API request was, on the records that the API server writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    pub id: String,
    pub user: String,
    /// Who let themselves be taken for `user` (`--as`); empty: `user` speaks for itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub impersonator: String,
    pub user_agent: String,
    /// The `Kubectl-Session` header: one kubectl command, possibly several requests.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session: String,
    /// The `Kubectl-Command` header, e.g. `kubectl create`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub verb: String,
    /// e.g. `exec`, `log`, `scale`; empty for the object itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subresource: String,
    pub code: u16,
    pub dry_run: bool,
}

impl Request {
    /// Is it a person's doing? Who asks under another name has still asked.
    pub fn is_persons(&self) -> bool {
        is_person(actor(&self.user, &self.impersonator))
    }

    /// Is it one of the cluster's own components' doing?
    pub fn is_components(&self) -> bool {
        is_component(actor(&self.user, &self.impersonator))
    }
}

/// One hop.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Position in the stream, from 1, without gaps.
    pub seq: u64,
    /// When the hop ended.
    pub at: Timestamp,
    pub node: String,
    /// e.g. `kube-apiserver`, `etcd`, `scheduler`, `kubelet`.
    pub component: String,
    /// What was done, e.g. `authorize`, `commit`, `bind`, `start`.
    pub verb: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// How long the hop took, in microseconds.
    pub took_us: u64,
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// The object's bytes, on records of a committed write.
    #[serde(skip)]
    pub body: Option<Bytes>,
}

impl Record {
    /// A record to fill in; `emit` adds number, time, node and component.
    pub fn new(verb: impl Into<String>) -> Record {
        Record {
            seq: 0,
            at: Timestamp::UNIX_EPOCH,
            node: String::new(),
            component: String::new(),
            verb: verb.into(),
            object: None,
            revision: None,
            cause: None,
            took_us: 0,
            detail: serde_json::Value::Null,
            request: None,
            body: None,
        }
    }
    pub fn object(mut self, resource: &str, namespace: &str, name: &str) -> Record {
        self.object = Some(ObjectRef::new(resource, namespace, name));
        self
    }
    pub fn revision(mut self, revision: u64) -> Record {
        self.revision = Some(revision);
        self
    }
    pub fn cause(mut self, cause: Option<Cause>) -> Record {
        self.cause = cause;
        self
    }
    pub fn took(mut self, took: Duration) -> Record {
        self.took_us = took.as_micros() as u64;
        self
    }
    pub fn detail(mut self, detail: serde_json::Value) -> Record {
        self.detail = detail;
        self
    }
}

/// The records that are kept.
#[derive(Default)]
struct Ring {
    /// Number of the newest record.
    last: u64,
    records: VecDeque<Arc<Record>>,
    /// Of objects, in these records.
    bytes: usize,
}

/// Bytes of the object that a record holds.
fn size(record: &Record) -> usize {
    record.body.as_ref().map_or(0, Bytes::len)
}

impl Ring {
    fn keep(&mut self, record: Arc<Record>) {
        self.bytes += size(&record);
        while self.records.len() >= RING || self.bytes > RING_BYTES {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes -= size(&oldest);
        }
        self.records.push_back(record);
    }
}

struct Shared {
    ring: Mutex<Ring>,
    live: broadcast::Sender<Arc<Record>>,
}

/// A place to emit records from: a component on a node. Cheap to clone.
#[derive(Clone)]
pub struct Tap {
    shared: Arc<Shared>,
    node: Arc<str>,
    component: Arc<str>,
}

impl Tap {
    /// The stream of a new cluster.
    pub fn new() -> Tap {
        let shared = Shared { ring: Mutex::default(), live: broadcast::Sender::new(LIVE) };
        Tap { shared: Arc::new(shared), node: "".into(), component: "".into() }
    }

    /// The same stream, as seen from a component on a node.
    pub fn at(&self, node: &str, component: &str) -> Tap {
        Tap { shared: self.shared.clone(), node: node.into(), component: component.into() }
    }

    /// The same stream and node, under another component's name.
    pub fn named(&self, component: &str) -> Tap {
        Tap { shared: self.shared.clone(), node: self.node.clone(), component: component.into() }
    }

    /// Adds the record to the stream and returns its number.
    pub fn emit(&self, mut record: Record) -> u64 {
        record.at = clock::now();
        record.node = self.node.to_string();
        record.component = self.component.to_string();
        let mut ring = self.lock();
        ring.last += 1;
        let seq = ring.last;
        record.seq = seq;
        let record = Arc::new(record);
        ring.keep(record.clone());
        if self.shared.live.receiver_count() > 0 {
            let _ = self.shared.live.send(record); // the only error is "no receiver"
        }
        seq
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.shared.ring.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Live records from now on. A receiver that lags is told how many it lost.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Record>> {
        self.shared.live.subscribe()
    }

    /// All records kept with a number above `seq`, oldest first.
    pub fn since(&self, seq: u64) -> Vec<Arc<Record>> {
        let ring = self.lock();
        let skip = ring.records.partition_point(|r| r.seq <= seq);
        ring.records.iter().skip(skip).cloned().collect()
    }

    /// Number of the newest record.
    pub fn last(&self) -> u64 {
        self.lock().last
    }

    /// Everything that followed from the given requests: their own records, and, over and over, the records
    /// whose cause is a request or revision already in the chain. Oldest first.
    pub fn caused_by(&self, requests: &[String]) -> Vec<Arc<Record>> {
        follow(&self.since(0), requests)
    }
}

impl Default for Tap {
    fn default() -> Tap {
        Tap::new()
    }
}

/// The pure part of [`Tap::caused_by`].
pub fn follow(records: &[Arc<Record>], requests: &[String]) -> Vec<Arc<Record>> {
    let mut ids: std::collections::HashSet<&str> = requests.iter().map(String::as_str).collect();
    let mut revisions: std::collections::HashSet<u64> = std::collections::HashSet::new();
    let mut chain = Vec::new();
    // An effect never stands before its cause in the stream, so one pass is enough.
    for record in records {
        let own = record.request.as_ref().is_some_and(|r| ids.contains(r.id.as_str()));
        let caused = match &record.cause {
            Some(Cause::Revision(r)) => revisions.contains(r),
            Some(Cause::Request(id)) => ids.contains(id.as_str()),
            None => false,
        };
        if !own && !caused {
            continue;
        }
        if let Some(request) = &record.request {
            ids.insert(&request.id);
        }
        if let Some(revision) = record.revision
            && record.request.is_some()
        {
            revisions.insert(revision);
        }
        chain.push(record.clone());
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(tap: &Tap, id: &str, revision: u64, cause: Option<Cause>) {
        let mut record = Record::new("commit").revision(revision).cause(cause);
        record.request = Some(Request { id: id.into(), ..Request::default() });
        tap.emit(record);
    }

    #[test]
    fn a_chain_follows_causes_and_leaves_strangers_out() {
        let tap = Tap::new().at("n1", "test");
        write(&tap, "kubectl", 10, None);
        write(&tap, "stranger", 11, None);
        write(&tap, "controller", 12, Some(Cause::Revision(10)));
        tap.emit(Record::new("start").cause(Some(Cause::Revision(12))));
        tap.emit(Record::new("start").cause(Some(Cause::Revision(11))));
        let seqs: Vec<u64> = tap.caused_by(&["kubectl".into()]).iter().map(|r| r.seq).collect();
        assert_eq!(seqs, [1, 3, 4]);
    }

    #[test]
    fn the_ring_keeps_the_newest() {
        let tap = Tap::new();
        for _ in 0..RING + 10 {
            tap.emit(Record::new("x"));
        }
        let kept = tap.since(0);
        assert_eq!((kept.len(), kept[0].seq), (RING, 11));
        assert_eq!(tap.since(tap.last() - 2).len(), 2);
        // Large objects push others out earlier.
        for _ in 0..100 {
            tap.emit(Record { body: Some(Bytes::from(vec![0; 1 << 20])), ..Record::new("x") });
        }
        assert_eq!(tap.since(0).len(), RING_BYTES >> 20);
    }

    #[test]
    fn a_cause_survives_its_header() {
        for cause in [Cause::Revision(7), Cause::Request("a-b".into())] {
            assert_eq!(cause.to_string().parse(), Ok(cause));
        }
        assert_eq!("nonsense".parse::<Cause>(), Err(()));
    }
}
