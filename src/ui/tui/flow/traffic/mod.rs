//! All flows, with what the views read beside them. The show in [`show`] plays one of them.

mod show;

pub(crate) use show::{SLOWER, Then};

use super::{Flow, is_scaling};
use crate::tui::agreement::Agreement;
use crate::tui::cluster::Key;
use clock::Timestamp;
use show::Play;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tap::{Component, Event, ObjectRef, Record};

/// Flows kept for replay that wrote, and that only read; the oldest of its sort goes. `watch
/// kubectl get pods` makes one every two seconds, and must not push out what can be gone back to.
pub(super) const WRITES_MAX: usize = 30;
/// Flows kept for replay that only read: see [`WRITES_MAX`].
pub(super) const READS_MAX: usize = 10;
/// Flows of autoscalers kept for replay: no command has to go for them.
pub(super) const SCALINGS_MAX: usize = 10;
/// Decisions of the scheduler kept, one for a pod; the oldest goes.
const DECISIONS_MAX: usize = 200;
/// Faults and finished steps kept; the oldest goes.
const MARKS_MAX: usize = 100;
/// Entries of the store's log of which the writing to disk is kept, the newest. Heartbeats make one
/// or two a second.
pub(super) const WRITTEN_MAX: usize = 512;

/// What happened beside the commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    /// A fault was made or mended: the words of `ropewalk fault`.
    Fault(String),
    /// A step of a lesson turned green: the lesson and the step.
    Green(String),
}

/// When something happened beside the commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub at: Timestamp,
    /// That time on the interface's own clock. `None`: before it was opened.
    pub heard: Option<Duration>,
    pub what: Marked,
}

/// An entry of the store's log, as a member reported its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub revision: Option<u64>,
    /// `None`: the member does not know.
    pub fsync_us: Option<u64>,
}

/// All that was heard of the record stream. Each view has a store of its own: what one of them
/// reads is not pushed out by the records of another, or by heartbeats.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    pub flows: VecDeque<Flow>,
    /// The scheduler's last decision about each pod, the oldest first.
    pub decisions: VecDeque<Record>,
    /// The last writing of a node's Service rules.
    pub rules: Option<Record>,
    /// Connections to NodePorts of `localhost` in the records, for each Service.
    pub visits: BTreeMap<Key, u64>,
    /// The connections of each port of a Service.
    port_visits: BTreeMap<(Key, u16), u64>,
    /// The NodePorts that are open on `localhost`. `None`: no record has said it.
    pub open_ports: Option<BTreeSet<u16>>,
    /// What the newest revisions changed.
    pub changed: BTreeMap<u64, ObjectRef>,
    /// The newest revision that changed an object of any kind but a Lease.
    pub newest_change: u64,
    /// The newest entries of the store's log, by index.
    pub written: BTreeMap<u64, Written>,
    pub play: Play,
    /// The session of the newest command that came while another one was on the stage, and that is
    /// played after that one: `kubectl get` behind `kubectl run`.
    next: Option<String>,
    /// What happened beside the commands, the oldest first.
    pub marks: VecDeque<Mark>,
    /// When the newest record was written.
    newest: Option<Timestamp>,
    /// Records that came too fast to be heard.
    pub lost: u64,
    /// What the store's members reported of themselves.
    pub agreement: Agreement,
}

impl Traffic {
    pub(crate) fn new() -> Traffic {
        Traffic { play: Play { slower: SLOWER, ..Play::default() }, ..Traffic::default() }
    }

    /// Forgets all of a cluster that another one has taken the place of: its revisions and log
    /// indexes mean something else now.
    pub(crate) fn restart(&mut self) {
        *self = Traffic { play: Play { slower: self.play.slower, ..Play::default() }, ..Traffic::default() };
    }

    /// Keeps what the views read of a record.
    fn keep(&mut self, record: &Record) {
        match record.event {
            Event::CommitEntry { index, fsync_us, .. } => {
                self.written.insert(index, Written { revision: record.revision, fsync_us });
                while self.written.len() > WRITTEN_MAX {
                    self.written.pop_first();
                }
                let revision = record.revision.unwrap_or_default();
                for flow in self.flows.iter_mut().filter(|f| f.revisions.contains_key(&revision)) {
                    flow.fsyncs.extend(fsync_us.map(|us| (revision, us)));
                }
            }
            Event::Commit(_) => {
                let Some((revision, object)) = record.revision.zip(record.object.clone()) else { return };
                if object.resource != "leases" {
                    self.newest_change = self.newest_change.max(revision);
                }
                // The object itself comes first: see `Flow::take`.
                self.changed.entry(revision).or_insert(object);
                while self.changed.len() > WRITTEN_MAX {
                    self.changed.pop_first();
                }
            }
            Event::Rules { .. } => self.rules = Some(record.clone()),
            Event::Ports { ref open } => self.open_ports = Some(open.iter().copied().collect()),
            Event::Visit { port, connections } => {
                let Some(service) = &record.object else { return };
                let key = (service.namespace.clone(), service.name.clone());
                let count = self.visits.entry(key.clone()).or_default();
                *count = count.saturating_add(connections);
                let count = self.port_visits.entry((key, port)).or_default();
                *count = count.saturating_add(connections);
            }
            Event::Schedule(_) => {
                let Some(pod) = &record.object else { return };
                self.decisions.retain(|r| r.object.as_ref() != Some(pod));
                self.decisions.push_back(record.clone());
                if self.decisions.len() > DECISIONS_MAX {
                    self.decisions.pop_front();
                }
            }
            _ => {}
        }
    }

    /// Returns how many connections came to a Service through this port of `localhost`. `None`: no
    /// record has counted any.
    pub(crate) fn visits_of_port(&self, service: &Key, port: i64) -> Option<u64> {
        let port = u16::try_from(port).ok()?;
        self.port_visits.get(&(service.clone(), port)).copied()
    }

    /// Forgets the connections to Services that were deleted: another one may get the name, or the
    /// port.
    pub(crate) fn forget_visits(&mut self, is_there: impl Fn(&Key) -> bool) {
        self.visits.retain(|service, _| is_there(service));
        self.port_visits.retain(|(service, _), _| is_there(service));
    }

    /// Notes when a record was written, and a fault. `heard`: when it came, if the interface
    /// was open by then.
    fn keep_time(&mut self, record: &Record, heard: Option<Duration>) {
        self.newest = self.newest.max(Some(record.at));
        if let Event::Fault(fault) = &record.event {
            self.mark(Mark { at: record.at, heard, what: Marked::Fault(fault.to_string()) });
        }
    }

    /// Notes a mark behind those that came before it; the oldest goes.
    fn mark(&mut self, mark: Mark) {
        if self.marks.len() == MARKS_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back(mark);
    }

    /// Notes that a step turned green just now. A cluster's clock may run ahead of the interface's:
    /// the mark stands behind all records so far.
    pub(crate) fn mark_green(&mut self, step: String, at: Timestamp, now: Duration) {
        let at = self.newest.map_or(at, |newest| newest.max(at));
        self.mark(Mark { at, heard: Some(now), what: Marked::Green(step) });
    }

    /// Returns when the newest record was written. `None`: none was heard.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Returns the newest revision in the known entries of the store's log. Renewed Leases and keys
    /// that are no objects count, too: it is what etcd itself answers. 0: none is known.
    pub(crate) fn stored_revision(&self) -> u64 {
        self.written.values().filter_map(|written| written.revision).max().unwrap_or_default()
    }

    /// Returns the scheduler's decisions, the newest first, one for each pod.
    pub(crate) fn newest_decisions(&self) -> impl Iterator<Item = &Record> {
        self.decisions.iter().rev()
    }

    /// Returns the pods of [`Traffic::newest_decisions`], in the same order.
    pub(crate) fn decided(&self) -> Vec<Key> {
        let about = |record: &Record| record.object.as_ref().map(|o| (o.namespace.clone(), o.name.clone()));
        self.newest_decisions().map(|record| about(record).unwrap_or_default()).collect()
    }

    /// Makes room for one more flow: of the commands that only read, of those that wrote, and of
    /// what autoscalers did, the oldest beyond its bound goes.
    fn make_room(&mut self) {
        let sorts = [(true, true, WRITES_MAX), (true, false, READS_MAX), (false, true, SCALINGS_MAX)];
        for (typed, wrote, most) in sorts {
            let of_sort = |f: &&Flow| f.is_typed() == typed && (!typed || f.wrote() == wrote);
            if self.flows.iter().filter(of_sort).count() < most {
                continue;
            }
            let shown = self.play.session.as_ref();
            let old = self.flows.iter().position(|f| of_sort(&f) && Some(&f.session) != shown);
            if let Some(old) = old {
                self.flows.remove(old);
            }
        }
    }

    /// Takes in a record; true if something on the screen may look different. What happened before
    /// `live_from` is kept, but not played by itself.
    pub(crate) fn absorb(&mut self, record: Record, now: Duration, live_from: Timestamp) -> bool {
        self.agreement.absorb(&record);
        self.keep(&record);
        self.keep_time(&record, (record.at >= live_from).then_some(now));
        let at_end = self.shown().is_some() && !self.moving();
        let part_of = self.flows.iter().rposition(|f| f.contains(&record));
        // An autoscaler acts on for as long as it exists. What it does after the command that made
        // it was shown is a flow of its own, and can be replayed by itself.
        let is_shown = part_of.is_some_and(|at| Some(&self.flows[at].session) == self.play.session.as_ref());
        let scaling = is_scaling(&record) && !(is_shown && self.moving());
        let mut changed = part_of.filter(|_| !scaling).map(|at| self.flows[at].take(&record));
        if at_end && self.moving() {
            // What comes late is lit from now on. At the end a pause is over: the picture is live.
            (self.play.since, self.play.playing) = (now, true);
        }
        if changed.is_none()
            && let Some(request) = &record.request
            && let Some(mut flow) = Flow::begun_by(&record, request, scaling)
        {
            changed = Some(flow.take(&record));
            self.make_room();
            self.flows.push_back(flow);
        }
        // A member may have reported the commit before the API server did.
        if let Some(revision) = record.revision.filter(|_| record.write().is_some())
            && let Some(told) = self.written.values().rev().find(|w| w.revision == Some(revision)).copied()
            && let Some(flow) = self.flows.iter_mut().rev().find(|f| f.revisions.contains_key(&revision))
        {
            flow.fsyncs.extend(told.fsync_us.map(|us| (revision, us)));
        }
        // The newest command with something to see takes the stage: one that only looks when
        // nothing is played there, and none while the learner has stopped the play to look at it.
        // With the next line in the shell the learner has seen enough of it. Until then the command
        // waits.
        let is_seen = |flow: &Flow| flow.wrote() || flow.refused().is_some();
        let is_over = !self.moving() || self.play.let_go;
        let free = is_over || self.play.playing && self.flows.back().is_some_and(is_seen);
        if changed == Some(true)
            && record.at >= live_from
            && let Some(request) = &record.request
            && let Some(flow) = self.flows.back().filter(|flow| flow.is_own(request))
            && self.play.session.as_ref() != Some(&flow.session)
        {
            let session = flow.session.clone();
            match free {
                true => self.take_stage(session, now),
                false => self.next = Some(session),
            }
        }
        changed.unwrap_or(false) || matters(&record)
    }
}

/// True if a view shows the record, whether or not a command led to it. Heartbeats are committed
/// all the time: they are news for one view only, which asks for itself.
fn matters(record: &Record) -> bool {
    match record.component {
        Component::Etcd => !is_everyday(&record.event),
        Component::Scheduler | Component::Proxy | Component::Localhost | Component::Fault => true,
        _ => false,
    }
}

/// Returns whether the store does this all the time.
fn is_everyday(event: &Event) -> bool {
    matches!(
        event,
        Event::Append { .. } | Event::Call(_) | Event::CommitEntry { .. } | Event::CompactLog { .. }
    )
}
