//! # The tap: everything that happens, once
//!
//! ## In Kubernetes
//! There is no such thing: audit logs, Events and component logs each know a part.
//! ## How this one works
//! Every hop of every request writes one [`Record`]: the API server's stages, the store's commit,
//! the scheduler's decision, the kubelet's steps, the proxy's rules. Its [`Event`] says what
//! happened, with typed fields; its [`Component`] says where. `cause` names the revision or request
//! that led to it, so [`chain`](Tap::caused_by) can follow one command through the whole cluster.
//! Viewers read a bounded ring; a slow one loses the oldest records and is told how many. Records
//! of reads and of refused requests, which cost their sender nothing, are kept and told apart from
//! the others, in shares by account, so a flood of them takes nothing from the record of what was
//! done. The diagrams, `ropewalk trace`, debriefs and tests all read this stream: there is no
//! second memory of what happened.
//!
//! ### Everything that can happen
//! `event.rs` holds one variant for each event, with its fields and an example. Components build
//! them, and viewers match on them. `kubectl run web --image=nginx` leads to these:
//!
//! | component | event | |
//! |---|---|---|
//! | kube-apiserver | `Authenticate`, `Authorize`, `Admit`, `Validate` | the stages of the POST |
//! | etcd | `Append`, `CommitEntry` | on each member: the log entry, then the revision |
//! | kube-apiserver | `Commit`, `Answer` | the pod is stored, kubectl reads 201 |
//! | kube-scheduler | `Schedule`, `Bind` | a verdict on each node, then the binding |
//! | kubelet | `Sandbox`, `Pull`, `Start`, `Status` | network, image, process, then `Running` |
//!
//! In JSON an event is two keys of its record, `verb` and `detail`: `"verb":"bind"`,
//! `"detail":{"node":"worker"}`. `events.jsonl` has a record of each event, and a test compares it
//! byte for byte: lessons and other programs read this form. A record whose verb is unknown is
//! refused when it is read, with its number, component and verb.
//! ## Left out
//! Segments on disk: what the tap holds goes with the process, and grading begins anew with what is
//! found.
//! ## Read next
//! `apiserver`, which writes most records; `ui`, which prints them.

#![warn(missing_docs)]

mod component;
mod event;
mod fault;
mod form;
#[cfg(test)]
mod golden;
mod parts;
mod record;
mod size;
mod who;

pub use component::Component;
pub use event::Event;
pub use fault::{Act, Fault, component_and_node};
pub use parts::{
    Answer, Call, Decision, Journey, Lookup, Peer, ProgressState, RaftRole, Refusal, Verdict, VoteRefusal,
    Write,
};
pub use record::{Cause, ObjectRef, Record, Request};
pub use who::{
    ADMIN, LEARNER, NODE, TEACHER, UNPRINTED, WATCH_ONLY, account, actor, is_component, is_connection,
    is_person, unseen,
};

use parking_lot::Mutex;
use size::size;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Weak};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// Records kept for viewers that come late. At the bound the oldest goes.
const RING: usize = 50_000;
/// Bytes of all texts, details and objects that the records kept hold. Beyond it the oldest record
/// goes, too. A record that is larger by itself is not kept: for one huge object, all that happened
/// before would be forgotten.
const RING_BYTES: usize = 32 << 20;
/// Records of reads ([`Tap::emit_read`]) and bytes of them, kept beside the others. At the bound
/// the oldest one of the account that has most goes: a flood of reads takes no records from the
/// work of the cluster, and none from the few reads of other accounts.
const READS: Bound = Bound { records: 10_000, bytes: 8 << 20 };
/// Records of guests ([`Tap::emit_guest`]), in the same way.
const GUESTS: Bound = Bound { records: 5_000, bytes: 4 << 20 };
/// Records a live viewer may lag behind before it is told that it lost some; and of those records
/// that reads and guests left.
const LIVE: usize = 4096;
const LIVE_ASIDE: usize = 1024;

/// The records that are kept.
#[derive(Default)]
struct Ring {
    /// Number of the newest record.
    last: u64,
    /// Each with its [`size`].
    records: VecDeque<(Arc<Record>, usize)>,
    /// The sum of these sizes.
    bytes: usize,
    reads: Shares,
    guests: Shares,
}

/// Records that are kept, and the sum of their [`size`]s, at most. A record that is larger by
/// itself is not kept, as in the ring.
#[derive(Clone, Copy)]
struct Bound {
    records: usize,
    bytes: usize,
}

/// Records that are kept by account.
#[derive(Default)]
struct Shares {
    by_account: HashMap<Arc<str>, AccountShare>,
    /// The accounts by how many records they have, and by how many bytes: the account with the most
    /// is found without a walk.
    ranked: [BTreeSet<(usize, Arc<str>)>; 2],
    count: usize,
    bytes: usize,
}

/// The records of one account, each with its [`size`], and the sum.
#[derive(Default)]
struct AccountShare {
    records: VecDeque<(Arc<Record>, usize)>,
    bytes: usize,
}

impl AccountShare {
    fn push(&mut self, record: Arc<Record>, size: usize) {
        self.records.push_back((record, size));
        self.bytes += size;
    }

    /// Gives the oldest record up; its size.
    fn pop(&mut self) -> usize {
        let size = self.records.pop_front().map_or(0, |(_, size)| size);
        self.bytes -= size;
        size
    }

    /// Records and bytes.
    fn sizes(&self) -> [usize; 2] {
        [self.records.len(), self.bytes]
    }
}

impl Shares {
    fn keep(&mut self, record: Arc<Record>, size: usize, most: Bound) {
        if size > most.bytes {
            return;
        }
        let own = paying_account(&record);
        self.change(&own.into(), |kept| kept.push(record, size));
        (self.count, self.bytes) = (self.count + 1, self.bytes + size);
        while self.count > most.records || self.bytes > most.bytes {
            let by = usize::from(self.count <= most.records);
            let Some((_, largest)) = self.ranked[by].last().cloned() else { break };
            let size = self.change(&largest, AccountShare::pop);
            (self.count, self.bytes) = (self.count - 1, self.bytes - size);
        }
    }

    /// Changes what an account has, and its place among the others with it.
    fn change<T>(&mut self, account: &Arc<str>, change: impl FnOnce(&mut AccountShare) -> T) -> T {
        let mut kept = self.by_account.remove(account).unwrap_or_default();
        for (ranked, size) in self.ranked.iter_mut().zip(kept.sizes()) {
            ranked.remove(&(size, account.clone()));
        }
        let changed = change(&mut kept);
        if !kept.records.is_empty() {
            for (ranked, size) in self.ranked.iter_mut().zip(kept.sizes()) {
                ranked.insert((size, account.clone()));
            }
            self.by_account.insert(account.clone(), kept);
        }
        changed
    }

    /// Returns the records above a number, in no order.
    fn records_after(&self, seq: u64) -> impl Iterator<Item = Arc<Record>> {
        self.by_account.values().flat_map(move |kept| records_after(&kept.records, seq))
    }
}

/// Returns the account whose share a record takes: the one behind its request; of a lookup, the
/// address that asked, since a pod may ask without end. All others are the store's clients, which
/// have one share.
fn paying_account(record: &Record) -> String {
    match (&record.request, &record.event) {
        (Some(request), _) => account(&request.user, &request.impersonator),
        (None, Event::Lookup(lookup)) => lookup.from.clone(),
        (None, _) => String::new(),
    }
}

/// Returns the records above a number, of those that stand in its order.
fn records_after(records: &VecDeque<(Arc<Record>, usize)>, seq: u64) -> impl Iterator<Item = Arc<Record>> {
    let skip = records.partition_point(|(r, _)| r.seq <= seq);
    records.iter().skip(skip).map(|(r, _)| r.clone())
}

impl Ring {
    fn keep(&mut self, record: Arc<Record>, size: usize) {
        if size > RING_BYTES {
            return;
        }
        self.bytes += size;
        while self.records.len() >= RING || self.bytes > RING_BYTES {
            let Some((_, size)) = self.records.pop_front() else { break };
            self.bytes -= size;
        }
        self.records.push_back((record, size));
    }
}

/// Where a record is kept.
#[derive(Clone, Copy)]
enum Class {
    Work,
    Read,
    Guest,
}

/// Only the ring holds records: one that it has given up is lost for a slow viewer, too, and its
/// texts and object take no memory.
type Sender = broadcast::Sender<Weak<Record>>;

struct Shared {
    ring: Mutex<Ring>,
    live: Sender,
    /// For the records of reads and of guests: a flood of them makes no viewer lag behind the
    /// others.
    aside: Sender,
}

/// The live records of one sender, for one viewer.
struct Line {
    records: broadcast::Receiver<Weak<Record>>,
    /// The first record that has come and was not told yet.
    next: Option<Arc<Record>>,
    /// Records lost before it.
    lost: u64,
}

impl Line {
    fn of(sender: &Sender) -> Line {
        Line { records: sender.subscribe(), next: None, lost: 0 }
    }

    /// Takes the next record that has come, if there is one and none is waiting. Returns whether it
    /// has taken one.
    fn fill(&mut self) -> bool {
        let had = self.next.is_some();
        while self.next.is_none() {
            match self.records.try_recv() {
                Ok(record) => self.take(&record),
                Err(TryRecvError::Lagged(lost)) => self.lost += lost,
                Err(TryRecvError::Empty | TryRecvError::Closed) => return false,
            }
        }
        !had
    }

    fn take(&mut self, record: &Weak<Record>) {
        self.next = record.upgrade();
        self.lost += u64::from(self.next.is_none());
    }

    /// Returns the number of the next record; later than all others if there is none.
    fn seq(&self) -> u64 {
        self.next.as_ref().map_or(u64::MAX, |record| record.seq)
    }
}

/// The live records, for one viewer.
pub struct Live {
    main: Line,
    aside: Line,
}

impl Live {
    /// Waits for the next record, in the order of the numbers. The future may be dropped: no record
    /// is lost by that.
    ///
    /// # Errors
    /// `Lagged`: so many records were lost before the next one, because the viewer is slow.
    /// `Closed`: the stream has ended.
    pub async fn recv(&mut self) -> Result<Arc<Record>, RecvError> {
        loop {
            // What was sent before a record of the one line is in the other by the time that this
            // record is seen. So the other is looked at again whenever one has brought something.
            while self.main.fill() | self.aside.fill() {}
            let lost = std::mem::take(&mut self.main.lost) + std::mem::take(&mut self.aside.lost);
            if lost > 0 {
                return Err(RecvError::Lagged(lost));
            }
            let line = if self.aside.seq() < self.main.seq() { &mut self.aside } else { &mut self.main };
            if let Some(record) = line.next.take() {
                return Ok(record);
            }
            let (line, come) = tokio::select! {
                come = self.main.records.recv() => (&mut self.main, come),
                come = self.aside.records.recv() => (&mut self.aside, come),
            };
            match come {
                Ok(record) => line.take(&record),
                Err(RecvError::Lagged(lost)) => line.lost += lost,
                Err(RecvError::Closed) => {
                    // Both end together, but the other one may have something left.
                    let lines = [&mut self.main, &mut self.aside];
                    let is_empty = |line: &mut Line| {
                        line.fill();
                        line.next.is_none() && line.lost == 0
                    };
                    if lines.map(is_empty) == [true; 2] {
                        return Err(RecvError::Closed);
                    }
                }
            }
        }
    }
}

/// A place to emit records from: a component on a node. Cheap to clone.
#[derive(Clone)]
pub struct Tap {
    shared: Arc<Shared>,
    node: Arc<str>,
    component: Component,
}

impl Tap {
    /// Makes the stream of a new cluster.
    pub fn new() -> Tap {
        let (live, aside) = (broadcast::Sender::new(LIVE), broadcast::Sender::new(LIVE_ASIDE));
        let shared = Shared { ring: Mutex::default(), live, aside };
        Tap { shared: Arc::new(shared), node: "".into(), component: Component::Unnamed }
    }

    /// Returns the same stream, as seen from a component on a node.
    pub fn at(&self, node: &str, component: Component) -> Tap {
        Tap { shared: self.shared.clone(), node: node.into(), component }
    }

    /// Returns the same stream and node, under another component's name.
    pub fn named(&self, component: Component) -> Tap {
        Tap { shared: self.shared.clone(), node: self.node.clone(), component }
    }

    /// Adds the record to the stream and returns its number.
    pub fn emit(&self, record: Record) -> u64 {
        self.add(record, Class::Work)
    }

    /// Adds a record of an allowed request that changes nothing, of a lookup of a name, or of a
    /// client that calls the store itself. The account or the address behind it has a share of
    /// those that are kept.
    pub fn emit_read(&self, record: Record) -> u64 {
        self.add(record, Class::Read)
    }

    /// Adds a record of a request that any client may send: it was refused, its sender is not
    /// authenticated, or it is no person's and no component's. Few of these are kept.
    pub fn emit_guest(&self, record: Record) -> u64 {
        self.add(record, Class::Guest)
    }

    fn add(&self, mut record: Record, class: Class) -> u64 {
        record.node = self.node.to_string();
        record.component = self.component;
        let size = size(&record); // before the lock: an event may be large
        let mut ring = self.lock();
        record.at = clock::now(); // under the lock: times rise with the numbers while the clock does
        ring.last += 1;
        let seq = ring.last;
        record.seq = seq;
        let record = Arc::new(record);
        let told = Arc::downgrade(&record);
        let live = match class {
            Class::Work => &self.shared.live,
            Class::Read | Class::Guest => &self.shared.aside,
        };
        match class {
            Class::Work => ring.keep(record, size),
            Class::Read => ring.reads.keep(record, size, READS),
            Class::Guest => ring.guests.keep(record, size, GUESTS),
        }
        if live.receiver_count() > 0 {
            let _ = live.send(told); // the only error is "no receiver"
        }
        seq
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Ring> {
        self.shared.ring.lock()
    }

    /// Subscribes to live records from now on. A receiver that lags is told how many it lost.
    pub fn subscribe(&self) -> Live {
        let _ring = self.lock(); // both begin at the same record
        Live { main: Line::of(&self.shared.live), aside: Line::of(&self.shared.aside) }
    }

    /// Returns all records kept with a number above `seq`, oldest first.
    pub fn since(&self, seq: u64) -> Vec<Arc<Record>> {
        let ring = self.lock();
        let mut all: Vec<Arc<Record>> = records_after(&ring.records, seq).collect();
        let own = all.len();
        all.extend(ring.reads.records_after(seq).chain(ring.guests.records_after(seq)));
        drop(ring);
        if all.len() > own {
            all.sort_by_key(|record| record.seq);
        }
        all
    }

    /// Returns the number of the newest record.
    pub fn last(&self) -> u64 {
        self.lock().last
    }

    /// Returns everything that followed from the given requests: their own records and, repeatedly,
    /// the records whose cause is a request or revision already in the chain. Oldest first.
    pub fn caused_by(&self, requests: &[String]) -> Vec<Arc<Record>> {
        follow(&self.since(0), requests)
    }
}

impl Default for Tap {
    fn default() -> Tap {
        Tap::new()
    }
}

/// Passes over the records, at most: only neighbours are out of order.
const PASSES_MAX: usize = 16;

/// Finds the chain of requests in records: the pure part of [`Tap::caused_by`].
pub fn follow(records: &[Arc<Record>], requests: &[String]) -> Vec<Arc<Record>> {
    let mut ids: std::collections::HashSet<&str> = requests.iter().map(String::as_str).collect();
    let mut revisions: std::collections::HashSet<u64> = std::collections::HashSet::new();
    let mut in_chain = vec![false; records.len()];
    // Again until nothing is added: an effect may stand before its cause. A watcher may act on a
    // write before the task that wrote tells of it.
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
mod tests;
