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
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// Records kept for viewers that come late. At the bound the oldest goes.
const RING: usize = 50_000;
/// Bytes of all texts, details and objects that the records kept hold. Beyond it the oldest record goes, too.
const RING_BYTES: usize = 32 << 20;
/// Records of guests ([`Tap::emit_guest`]) and bytes of them, kept beside the others. At the bound the oldest one of the account
/// that has most goes: a flood of refused requests takes no records from the work of the cluster, and none from the few refusals
/// of other accounts.
const GUESTS: usize = 5_000;
const GUESTS_BYTES: usize = 4 << 20;
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
    /// Position in the stream, from 1. Records that are no longer kept leave gaps.
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
    /// Each with its [`size`].
    records: VecDeque<(Arc<Record>, usize)>,
    /// The sum of these sizes.
    bytes: usize,
    guests: Guests,
}

/// The records of guests that are kept.
#[derive(Default)]
struct Guests {
    by_account: HashMap<String, Kept>,
    count: usize,
    bytes: usize,
}

/// Those of one account, each with its [`size`], and the sum.
#[derive(Default)]
struct Kept {
    records: VecDeque<(Arc<Record>, usize)>,
    bytes: usize,
}

impl Guests {
    fn keep(&mut self, account: &str, record: Arc<Record>, size: usize) {
        let own = self.by_account.entry(account.to_string()).or_default();
        own.records.push_back((record, size));
        own.bytes += size;
        (self.count, self.bytes) = (self.count + 1, self.bytes + size);
        while self.count > GUESTS || self.bytes > GUESTS_BYTES {
            let too_many = self.count > GUESTS;
            let has = |kept: &Kept| if too_many { kept.records.len() } else { kept.bytes };
            let most = self.by_account.iter_mut().max_by_key(|(_, kept)| has(kept));
            let Some((account, kept)) = most else { break };
            if let Some((_, size)) = kept.records.pop_front() {
                kept.bytes -= size;
                (self.count, self.bytes) = (self.count - 1, self.bytes - size);
            }
            if kept.records.is_empty() {
                let account = account.clone();
                self.by_account.remove(&account);
            }
        }
    }
}

/// The records above a number, of those that stand in its order.
fn above(records: &VecDeque<(Arc<Record>, usize)>, seq: u64) -> impl Iterator<Item = Arc<Record>> {
    let skip = records.partition_point(|(r, _)| r.seq <= seq);
    records.iter().skip(skip).map(|(r, _)| r.clone())
}

/// Bytes that a record holds beside its fixed part: texts, detail and object. Clients choose most of them.
fn size(record: &Record) -> usize {
    let object = record.object.as_ref().map_or(0, |o| o.resource.len() + o.namespace.len() + o.name.len());
    let request = record.request.as_ref().map_or(0, |r| {
        let who = r.id.len() + r.user.len() + r.impersonator.len() + r.user_agent.len();
        who + r.session.len() + r.command.len() + r.verb.len() + r.subresource.len()
    });
    let cause = match &record.cause {
        Some(Cause::Request(id)) => id.len(),
        _ => 0,
    };
    let own = record.node.len() + record.component.len() + record.verb.len();
    own + object + request + cause + json_size(&record.detail) + record.body.as_ref().map_or(0, Bytes::len)
}

/// Bytes that a JSON value takes in memory, about.
fn json_size(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    /// Of a value or a key, without its text.
    const EACH: usize = 32;
    EACH + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(json_size).sum::<usize>(),
        Value::Object(fields) => fields.iter().map(|(key, v)| EACH + key.len() + json_size(v)).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

impl Ring {
    fn keep(&mut self, record: Arc<Record>, size: usize) {
        self.bytes += size;
        while self.records.len() >= RING || self.bytes > RING_BYTES {
            let Some((_, size)) = self.records.pop_front() else { break };
            self.bytes -= size;
        }
        self.records.push_back((record, size));
    }
}

struct Shared {
    ring: Mutex<Ring>,
    /// Only the ring holds records: one that it has given up is lost for a slow viewer, too, and takes no memory.
    live: broadcast::Sender<Weak<Record>>,
}

/// The live records, for one viewer.
pub struct Live {
    records: broadcast::Receiver<Weak<Record>>,
    /// The record behind those of whose loss the viewer has just been told.
    next: Option<Arc<Record>>,
}

impl Live {
    /// The next record. It may be dropped while it waits, and loses nothing by that.
    ///
    /// # Errors
    /// `Lagged`: so many records were lost before the next one, because the viewer is slow. `Closed`: the stream has ended.
    pub async fn recv(&mut self) -> Result<Arc<Record>, RecvError> {
        if let Some(record) = self.next.take() {
            return Ok(record);
        }
        let first = self.records.recv().await?;
        if let Some(record) = first.upgrade() {
            return Ok(record);
        }
        let mut lost = 1;
        loop {
            match self.records.try_recv() {
                Ok(record) => match record.upgrade() {
                    Some(record) => {
                        self.next = Some(record);
                        return Err(RecvError::Lagged(lost));
                    }
                    None => lost += 1,
                },
                Err(TryRecvError::Lagged(more)) => lost += more,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Err(RecvError::Lagged(lost)),
            }
        }
    }
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
    pub fn emit(&self, record: Record) -> u64 {
        self.add(record, |ring, record, size| ring.keep(record, size))
    }

    /// Adds a record of a request that anybody may send: it was refused, nobody showed who they are, or it is no person's and no
    /// component's. Few of these are kept.
    pub fn emit_guest(&self, record: Record) -> u64 {
        let account = record.request.as_ref().map_or("", |r| actor(&r.user, &r.impersonator)).to_string();
        self.add(record, |ring, record, size| ring.guests.keep(&account, record, size))
    }

    fn add(&self, mut record: Record, keep: impl FnOnce(&mut Ring, Arc<Record>, usize)) -> u64 {
        record.node = self.node.to_string();
        record.component = self.component.to_string();
        let size = size(&record); // before the lock: a detail may be large
        let mut ring = self.lock();
        record.at = clock::now(); // under the lock: times rise as the numbers do
        ring.last += 1;
        let seq = ring.last;
        record.seq = seq;
        let record = Arc::new(record);
        let told = Arc::downgrade(&record);
        keep(&mut ring, record, size);
        if self.shared.live.receiver_count() > 0 {
            let _ = self.shared.live.send(told); // the only error is "no receiver"
        }
        seq
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.shared.ring.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Live records from now on. A receiver that lags is told how many it lost.
    pub fn subscribe(&self) -> Live {
        Live { records: self.shared.live.subscribe(), next: None }
    }

    /// All records kept with a number above `seq`, oldest first.
    pub fn since(&self, seq: u64) -> Vec<Arc<Record>> {
        let ring = self.lock();
        let mut all: Vec<Arc<Record>> = above(&ring.records, seq).collect();
        let own = all.len();
        all.extend(ring.guests.by_account.values().flat_map(|kept| above(&kept.records, seq)));
        drop(ring);
        if all.len() > own {
            all.sort_by_key(|record| record.seq);
        }
        all
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

/// Passes over the records, at most: only neighbours are out of order, and clients name causes as they like.
const PASSES_MAX: usize = 16;

/// The pure part of [`Tap::caused_by`].
pub fn follow(records: &[Arc<Record>], requests: &[String]) -> Vec<Arc<Record>> {
    let mut ids: std::collections::HashSet<&str> = requests.iter().map(String::as_str).collect();
    let mut revisions: std::collections::HashSet<u64> = std::collections::HashSet::new();
    let mut in_chain = vec![false; records.len()];
    // Again until nothing is added: an effect may stand before its cause. A watcher may act on a write before the task that wrote tells of it.
    for _ in 0..PASSES_MAX {
        let mut found = false;
        for (record, is_in) in records.iter().zip(&mut in_chain).filter(|(_, is_in)| !**is_in) {
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
            (*is_in, found) = (true, true);
        }
        if !found {
            break;
        }
    }
    records.iter().zip(in_chain).filter(|(_, is_in)| *is_in).map(|(record, _)| record.clone()).collect()
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
    fn an_effect_that_is_told_before_its_cause_is_in_the_chain() {
        let tap = Tap::new();
        tap.emit(Record::new("start").cause(Some(Cause::Revision(12))));
        write(&tap, "controller", 12, Some(Cause::Revision(10)));
        write(&tap, "kubectl", 10, None);
        write(&tap, "stranger", 11, None);
        let chain = tap.caused_by(&["kubectl".into()]);
        assert_eq!(chain.iter().map(|r| r.seq).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(chain.is_sorted_by_key(|r| r.at));
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
        assert_eq!(
            tap.since(0).len(),
            (RING_BYTES >> 20) - 1,
            "a record holds a little more than its object"
        );
    }

    #[test]
    fn a_flood_of_guests_takes_no_records_of_others() {
        let tap = Tap::new();
        let of = |user: &str, text: &str| Record {
            request: Some(Request { user: user.into(), command: text.into(), ..Request::default() }),
            ..Record::new("answer")
        };
        write(&tap, "kubectl", 10, None);
        for _ in 0..3 {
            tap.emit_guest(of(LEARNER, "kubectl get secrets"));
        }
        for _ in 0..2 * RING {
            tap.emit_guest(of("system:anonymous", ""));
        }
        let kept = tap.since(0);
        assert_eq!((kept.len(), kept[0].seq, kept[1].seq, kept[3].seq), (1 + GUESTS, 1, 2, 4));
        assert!(kept.is_sorted_by_key(|r| r.seq));
        assert_eq!(tap.since(tap.last() - 2).len(), 2);
        // Long texts push others of the same account out earlier.
        for _ in 0..100 {
            tap.emit_guest(of("eve", &"x".repeat(1 << 20)));
        }
        let learners = |r: &&Arc<Record>| r.request.as_ref().is_some_and(|r| r.user == LEARNER);
        let kept = tap.since(0);
        assert_eq!(kept.iter().filter(learners).count(), 3);
        let of_eve = |r: &&Arc<Record>| r.request.as_ref().is_some_and(|r| r.user == "eve");
        assert_eq!(
            kept.iter().filter(of_eve).count(),
            3,
            "few records are not the first to go for being long"
        );
        assert!(kept.iter().map(|r| size(r)).sum::<usize>() < GUESTS_BYTES + 1024);
    }

    #[test]
    fn all_that_a_record_holds_counts() {
        let long = "x".repeat(1 << 20);
        let request = Some(Request { user_agent: long.clone(), ..Request::default() });
        let makes: [Record; 4] = [
            Record { request, ..Record::new("x") },
            Record::new("x").object("pods", "d", &long),
            Record::new("x").detail(serde_json::json!({ "tried": [{ "a": long.clone() }] })),
            Record::new("x").cause(Some(Cause::Request(long))),
        ];
        for record in makes {
            let tap = Tap::new();
            for _ in 0..40 {
                tap.emit(record.clone());
            }
            assert_eq!(tap.since(0).len(), (RING_BYTES >> 20) - 1, "{}", record.detail.is_null());
        }
    }

    #[tokio::test]
    async fn a_viewer_that_reads_nothing_holds_no_more_than_the_ring() {
        let tap = Tap::new();
        let mut live = tap.subscribe();
        for _ in 0..100 {
            tap.emit(Record { body: Some(Bytes::from(vec![0; 1 << 20])), ..Record::new("x") });
        }
        let kept = tap.since(0);
        assert!(kept.len() < 100);
        let lost = 100 - kept.len() as u64;
        assert_eq!(live.recv().await.map(|r| r.seq), Err(RecvError::Lagged(lost)));
        for record in kept {
            assert_eq!(live.recv().await.map(|r| r.seq), Ok(record.seq));
        }
        tap.emit(Record::new("x"));
        assert_eq!(live.recv().await.map(|r| r.seq), Ok(101));
        drop(tap);
        assert_eq!(live.recv().await.map(|r| r.seq), Err(RecvError::Closed));
    }

    #[test]
    fn a_cause_survives_its_header() {
        for cause in [Cause::Revision(7), Cause::Request("a-b".into())] {
            assert_eq!(cause.to_string().parse(), Ok(cause));
        }
        assert_eq!("nonsense".parse::<Cause>(), Err(()));
    }
}
