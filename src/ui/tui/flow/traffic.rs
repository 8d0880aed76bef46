//! All flows, with what the views read beside them, and the show that plays one of them.

use super::pace::Pace;
use super::{Did, Flow, Hop, Spot, is_scaling};
use crate::tui::agreement::Agreement;
use crate::tui::cluster::Key;
use clock::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tap::{Component, Event, ObjectRef, Record};

/// Flows kept for replay that wrote, and that only read; the oldest of its sort goes. `watch
/// kubectl get pods` makes one every two seconds, and must not push out what can be gone back to.
pub(super) const WRITES_MAX: usize = 30;
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
/// The speed at first is 1/100. It is that of hops which [`SLOT`] neither shortens nor lengthens.
pub(crate) const SLOWER: u32 = 100;

/// Where the show is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Play {
    /// The session of the flow that is shown.
    pub session: Option<String>,
    /// The hop that is lit.
    pub at: usize,
    /// Since when, on the interface's own clock.
    pub since: Duration,
    pub playing: bool,
    /// It stands still, and the learner has typed a line since: the next command takes the stage.
    pub let_go: bool,
    pub slower: u32,
}

/// A pod at the lit hop: the picture of a replayed command shows what was there then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    NotYet,
    Stored,
    Starting,
}

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

/// An entry of the store's log, as a member told of its commit.
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
    /// Connections to NodePorts of `localhost` that were told, for each Service.
    pub visits: BTreeMap<Key, u64>,
    /// The connections of each port of a Service.
    port_visits: BTreeMap<(Key, u16), u64>,
    /// The NodePorts that are open on `localhost`. `None`: no record has told.
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
    /// What the store's members told of themselves.
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

    /// Ends the show, and forgets the commands that began at `since` or later: what they were about
    /// is gone.
    pub(crate) fn leave_stage(&mut self, since: Option<Timestamp>) {
        if let Some(since) = since {
            self.flows.retain(|flow| flow.began < since);
        }
        self.play = Play { slower: self.play.slower, ..Play::default() };
        self.next = None;
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

    /// How many connections came to a Service through this port of `localhost`. `None`: none was
    /// told.
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

    /// Notes when a record was written, and a fault. `heard`: when it was told, if the interface
    /// was open by then.
    fn keep_time(&mut self, record: &Record, heard: Option<Duration>) {
        self.newest = self.newest.max(Some(record.at));
        if let Event::Fault(fault) = &record.event {
            self.mark(Mark { at: record.at, heard, what: Marked::Fault(fault.to_string()) });
        }
    }

    /// Notes a mark behind those that were told before it; the oldest goes.
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

    /// When the newest record was written. `None`: none was heard.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// The newest revision in the entries of the store's log that were told. Renewed Leases and
    /// keys that are no objects count, too: it is what etcd itself answers. 0: none was told.
    pub(crate) fn stored_revision(&self) -> u64 {
        self.written.values().filter_map(|written| written.revision).max().unwrap_or_default()
    }

    /// The scheduler's decisions, the newest first, one for each pod.
    pub(crate) fn newest_decisions(&self) -> impl Iterator<Item = &Record> {
        self.decisions.iter().rev()
    }

    /// The pods that these are about, in the same order.
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
        // A member may have told of the commit before the API server did.
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

    fn take_stage(&mut self, session: String, now: Duration) {
        let slower = self.play.slower;
        self.play = Play { session: Some(session), since: now, playing: true, slower, ..Play::default() };
        self.next = None;
    }

    /// The session of the command that waits, if the play has come to its end.
    fn due_on_stage(&self) -> Option<String> {
        let is_over = self.play.playing && self.shown().is_some() && !self.moving();
        let next = self.next.as_ref().filter(|_| is_over)?;
        self.flows.iter().map(|flow| &flow.session).find(|session| *session == next).cloned()
    }

    /// The flow on the stage.
    pub(crate) fn shown(&self) -> Option<&Flow> {
        let session = self.play.session.as_ref()?;
        self.flows.iter().find(|f| f.session == *session)
    }

    /// The hop that is lit.
    pub(crate) fn lit(&self) -> Option<&Hop> {
        let flow = self.shown()?;
        self.moving().then(|| flow.hops.get(self.play.at)).flatten()
    }

    /// How fast the lit hop is shown.
    pub(crate) fn pace(&self) -> Option<Pace> {
        let (flow, at) = (self.shown()?, self.play.at);
        let pace = |_: &Hop| Pace { real: flow.real(at), lit: flow.slot(at, self.play.slower) };
        flow.hops.get(at).map(pace)
    }

    /// Returns whether the show is not at its end: it goes on, or stands still on purpose.
    pub(crate) fn moving(&self) -> bool {
        self.shown().is_some_and(|f| self.play.at < f.hops.len())
    }

    /// The store revision at the lit hop; before the command's first write the one before it.
    /// `None`: nothing is replayed, or the command wrote nothing.
    pub(crate) fn revision(&self) -> Option<u64> {
        let flow = self.moving().then(|| self.shown()).flatten()?;
        let before = flow.before()?;
        let so_far = flow.hops.iter().take(self.play.at + 1).filter_map(Hop::made).max();
        Some(so_far.unwrap_or(before))
    }

    /// Has the play not yet come to the scheduler's decision about this pod?
    pub(crate) fn undecided(&self, namespace: &str, name: &str) -> bool {
        let Some(flow) = self.shown().filter(|_| self.moving()) else { return false };
        let decides = |hop: &Hop| {
            let pod = hop.object.as_ref().filter(|o| o.name == name && o.namespace == namespace);
            pod.is_some() && matches!(hop.did, Did::Scheduled { .. })
        };
        flow.hops.iter().rposition(decides).is_some_and(|decided| self.play.at < decided)
    }

    /// How a pod stands at the lit hop, if the command on the stage made it; the outer `None`: as
    /// it is now.
    pub(crate) fn stand(&self, namespace: &str, name: &str) -> Option<Then> {
        let flow = self.moving().then(|| self.shown()).flatten()?;
        let about = |hop: &Hop| {
            hop.object
                .as_ref()
                .is_some_and(|o| o.resource == "pods" && o.name == name && o.namespace == namespace)
        };
        // A write of kubectl's own: the answer to the same request tells of which sort it was.
        let answered = |at: usize| {
            flow.hops[at..].iter().find_map(|h| match &h.did {
                Did::Answered { verb, .. } => Some(verb == "create"),
                _ => None,
            })
        };
        let made = |at: usize, hop: &Hop| match &hop.did {
            Did::Stored => answered(at).unwrap_or(true),
            Did::Asked { verb, code, .. } => verb == "create" && *code < 400 && hop.from != Spot::Scheduler,
            _ => false,
        };
        // `apply` looks for the pod first: hops about it from before it was made say nothing of it.
        let hops = || flow.hops.iter().enumerate().filter(|(_, hop)| about(hop));
        let (born, _) = hops().find(|(at, hop)| made(*at, hop))?;
        if hops().any(|(at, hop)| at < born && hop.writes()) {
            return None; // it was there before, and this command has replaced it
        }
        let mut then = Then::NotYet;
        for (at, hop) in hops().filter(|(at, _)| (born..=self.play.at).contains(at)) {
            match &hop.did {
                Did::Told(Event::Status { phase }) if phase != "Pending" => return None,
                Did::Bound { .. } => then = Then::Starting,
                _ if at == born => then = Then::Stored,
                _ => {}
            }
        }
        Some(then)
    }

    /// Moves the show on; true if another hop is lit now.
    pub(crate) fn tick(&mut self, now: Duration) -> bool {
        let mut moved = false;
        while self.play.playing {
            let Some(flow) = self.shown() else { return moved };
            if self.play.at >= flow.hops.len() {
                let Some(next) = self.due_on_stage() else { return moved };
                self.take_stage(next, now);
                moved = true;
                continue;
            }
            let slot = flow.slot(self.play.at, self.play.slower);
            if now.saturating_sub(self.play.since) < slot {
                return moved;
            }
            self.play.since += slot;
            self.play.at += 1;
            moved = true;
        }
        moved
    }

    /// When the next hop is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        if self.due_on_stage().is_some() {
            return Some(self.play.since);
        }
        let flow = self.shown()?;
        let moving = self.play.playing && self.play.at < flow.hops.len();
        moving.then(|| self.play.since + flow.slot(self.play.at, self.play.slower))
    }

    /// Stops the show or lets it go on; at its end plays it again.
    pub(crate) fn pause(&mut self, now: Duration) {
        if !self.moving() {
            return self.replay(now);
        }
        (self.play.playing, self.play.let_go) = (!self.play.playing, false);
        self.play.since = now;
    }

    /// The learner has typed a line in the shell. A play that was stopped stays as it is until the
    /// next command comes: keys that were meant for the shell may have stopped it.
    pub(crate) fn let_go(&mut self) {
        self.play.let_go = self.moving() && !self.play.playing;
    }

    /// Plays the shown command from its beginning, or the newest if none is shown.
    pub(crate) fn replay(&mut self, now: Duration) {
        if self.shown().is_none() {
            self.play.session = self.flows.back().map(|f| f.session.clone());
        }
        (self.play.at, self.play.since, self.play.let_go) = (0, now, false);
        self.play.playing = self.play.session.is_some();
        self.next = None; // the learner has chosen what to see
    }

    /// Goes some hops forward or, if `by` is negative, back, and stands still there.
    pub(crate) fn step(&mut self, by: isize, now: Duration) {
        let Some(len) = self.shown().map(|f| f.hops.len()) else { return };
        (self.play.playing, self.play.let_go) = (false, false);
        self.play.since = now;
        self.play.at = self.play.at.saturating_add_signed(by).min(len);
    }

    /// Goes to the end of the show.
    pub(crate) fn finish(&mut self) {
        self.play.at = self.shown().map_or(0, |f| f.hops.len());
    }

    /// Shows a later or, if `by` is negative, an earlier command.
    pub(crate) fn choose(&mut self, by: isize, now: Duration) {
        let Some(last) = self.flows.len().checked_sub(1) else { return };
        let here = self.flows.iter().position(|f| Some(&f.session) == self.play.session.as_ref());
        let to = here.map_or(last, |h| h.saturating_add_signed(by).min(last));
        self.play.session = Some(self.flows[to].session.clone());
        self.replay(now);
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

/// Whether the store does this all the time.
fn is_everyday(event: &Event) -> bool {
    matches!(
        event,
        Event::Append { .. } | Event::Call(_) | Event::CommitEntry { .. } | Event::CompactLog { .. }
    )
}
