//! # The tap: everything that happens, once
//!
//! ## In Kubernetes
//! There is no such thing: audit logs, Events and component logs each know a part.
//! ## How this one works
//! Every hop of every request writes one [`Record`]: the API server's stages, the store's commit,
//! the scheduler's decision, the kubelet's steps, the proxy's rules. Its [`Event`] says what
//! happened, with typed fields; its [`Component`] says where. `cause` names the revision or request
//! that led to it, so [`follow`] finds what one command led to in the whole cluster. Viewers read a
//! bounded ring; a slow one loses the oldest records and learns how many. Records of reads and of
//! refused requests, which cost their sender nothing, are kept and sent apart from the others, in
//! shares by account, so a flood of them takes nothing from the record of what was done. The
//! diagrams, `ropewalk trace`, debriefs and tests all read this stream: there is no second memory
//! of what happened.
//!
//! ### Everything that can happen
//! `event.rs` holds one variant for each event, with its fields and an example. Components build
//! them, and viewers match on them. `kubectl run web --image=nginx` leads to these, each caused by
//! the one above it. The records of etcd name no cause; a `CommitEntry` is found by its revision.
//!
//! | component | event | |
//! |---|---|---|
//! | kube-apiserver | `Authenticate`, `Authorize`, `Admit`, `Validate` | the stages of the POST |
//! | etcd | `Append`, `CommitEntry` | on each member: the log entry, then the revision |
//! | kube-apiserver | `Commit`, `Answer` | the pod is stored, kubectl reads 201 |
//! | kube-scheduler | `Schedule`, `Bind` | a verdict on each node, then the binding |
//! | kubelet | `Sandbox`, `Pull`, `Start`, `Status` | network, image, process, then `Running` |
//! | endpointslice-controller | `Endpoints` | if a Service selects the pod |
//! | kube-proxy | `Rules` | the Service's address leads to the pod |
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

mod chain;
mod component;
mod event;
mod fault;
mod form;
#[cfg(test)]
mod golden;
mod live;
mod parts;
mod record;
mod ring;
mod size;
mod who;

pub use chain::follow;
pub use component::Component;
pub use event::Event;
pub use fault::{Act, Fault, component_and_node};
pub use live::Live;
pub use parts::{
    Answer, Call, Decision, Journey, Lookup, Peer, ProgressState, RaftRole, Refusal, Verdict, VoteRefusal,
    Write,
};
pub use record::{Cause, ObjectRef, Record, Request};
pub use who::{
    ADMIN, LEARNER, NODE, TEACHER, UNPRINTED, WATCH_ONLY, account, actor, is_component, is_connection,
    is_person, unseen,
};

use live::Sender;
use parking_lot::Mutex;
use ring::{GUESTS, READS, Ring, records_after};
use size::size;
use std::sync::Arc;
use tokio::sync::broadcast;

/// Records of work that a live viewer may lag behind. One that lags further loses the oldest, and
/// reads how many.
const LIVE: usize = 4096;
/// Records of reads and of guests that a live viewer may lag behind, in the same way.
const LIVE_ASIDE: usize = 1024;

/// The part of the ring that keeps a record.
#[derive(Clone, Copy)]
enum Class {
    Work,
    Read,
    Guest,
}

struct Shared {
    ring: Mutex<Ring>,
    live: Sender,
    /// For the records of reads and of guests: a flood of them makes no viewer lag behind the
    /// others.
    aside: Sender,
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
        let sent = Arc::downgrade(&record);
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
            let _ = live.send(sent); // the only error is "no receiver"
        }
        seq
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Ring> {
        self.shared.ring.lock()
    }

    /// Subscribes to live records from now on. A receiver that lags learns how many it lost.
    pub fn subscribe(&self) -> Live {
        let _ring = self.lock(); // both begin at the same record
        Live::of(&self.shared.live, &self.shared.aside)
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
}

impl Default for Tap {
    fn default() -> Tap {
        Tap::new()
    }
}

#[cfg(test)]
mod tests;
