//! A request on its way: records become hops, the hops of one command a flow, and a flow is played
//! at a speed that eyes can follow.

use super::agreement::Agreement;
use clock::Timestamp;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tap::{Cause, Component, Event, ObjectRef, Record};

/// Flows kept for replay that wrote, and that only read; the oldest of its sort goes. `watch
/// kubectl get pods` makes one every two seconds, and must not push out what can be gone back to.
const WRITES_MAX: usize = 30;
const READS_MAX: usize = 10;
/// Hops of one flow; what follows is not drawn.
const HOPS_MAX: usize = 300;
/// Decisions of the scheduler kept, one for a pod; the oldest goes.
const DECISIONS_MAX: usize = 200;
/// Entries of the store's log of which the writing to disk is kept, the newest. Heartbeats make one
/// or two a second.
const WRITTEN_MAX: usize = 512;
/// A hop stays lit at least and at most this long, whatever it took: then it has a speed of its
/// own, see [`Pace`].
const SLOT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(1200));
/// The speed at first is 1/100. It is that of hops which [`SLOT`] neither shortens nor lengthens.
pub(crate) const SLOWER: u32 = 100;

/// A place on the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// Who asked: `kubectl`.
    Client,
    Api,
    Store,
    Scheduler,
    /// One of the controllers, by name.
    Controller(String),
    /// On a node.
    Kubelet(String),
    Proxy(String),
    Other(String),
}

/// What a hop was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Did {
    /// A stage of the command's own request in the API server.
    Stage(String),
    Stored,
    Answered {
        verb: String,
        code: u16,
    },
    /// A component's request, from its first stage to its answer.
    Asked {
        verb: String,
        code: u16,
    },
    Scheduled {
        chosen: Option<String>,
        fit: usize,
        of: usize,
        scores: Vec<i64>,
    },
    Bound {
        node: String,
    },
    Rules {
        rules: u64,
        changed: u64,
    },
    /// Anything else a component told of.
    Told(tap::Event),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hop {
    pub at: Timestamp,
    pub took_us: u64,
    pub from: Spot,
    pub to: Spot,
    pub did: Did,
    pub object: Option<ObjectRef>,
    pub revision: Option<u64>,
}

impl Hop {
    /// Did it change the store?
    pub(crate) fn writes(&self) -> bool {
        match &self.did {
            Did::Stored => true,
            Did::Asked { verb, code } => {
                *code < 400
                    && matches!(verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
            }
            _ => false,
        }
    }
}

/// What one command led to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Flow {
    pub session: String,
    /// `kubectl create`
    pub command: String,
    /// When its first record began.
    pub began: Timestamp,
    pub hops: Vec<Hop>,
    requests: BTreeSet<String>,
    /// Revisions, the requests that made them, and of what.
    revisions: BTreeMap<u64, (String, Option<ObjectRef>)>,
    /// How long the disk took for these revisions, in microseconds.
    fsyncs: BTreeMap<u64, u64>,
}

impl Flow {
    /// From its beginning to the end of a hop, in microseconds.
    pub(crate) fn since(&self, hop: &Hop) -> u64 {
        let micros = hop.at.as_microsecond() - self.began.as_microsecond();
        u64::try_from(micros).unwrap_or_default()
    }

    pub(crate) fn total(&self) -> u64 {
        self.hops.iter().map(|h| self.since(h)).max().unwrap_or_default()
    }

    /// Returns how long a hop took, counted from the end of the hop before it.
    fn real(&self, at: usize) -> Duration {
        let Some(hop) = self.hops.get(at) else { return Duration::ZERO };
        let before = at.checked_sub(1).and_then(|b| self.hops.get(b)).map_or(0, |h| self.since(h));
        Duration::from_micros(self.since(hop).saturating_sub(before))
    }

    /// How long a hop stays lit.
    fn slot(&self, at: usize, slower: u32) -> Duration {
        self.real(at).saturating_mul(slower).clamp(SLOT.0, SLOT.1)
    }

    /// The object the command was about: the first that was written, or else asked for.
    pub(crate) fn object(&self) -> Option<&ObjectRef> {
        let named = |h: &&Hop| h.object.as_ref().is_some_and(|o| !o.name.is_empty());
        let written = self.hops.iter().filter(named).find(|h| h.did == Did::Stored);
        written.or_else(|| self.hops.iter().find(named)).and_then(|h| h.object.as_ref())
    }

    /// How long the disk took for a revision, of the store's own record, in microseconds.
    pub(crate) fn fsync(&self, revision: u64) -> Option<u64> {
        self.fsyncs.get(&revision).copied()
    }

    /// Something was written: more than a look.
    pub(crate) fn wrote(&self) -> bool {
        self.hops.iter().any(|h| h.did == Did::Stored)
    }

    fn contains(&self, record: &Record) -> bool {
        let request = record.request.as_ref();
        if request.is_some_and(|r| r.session == self.session || self.requests.contains(&r.id)) {
            return true;
        }
        match &record.cause {
            Some(Cause::Revision(revision)) => self.revisions.contains_key(revision),
            Some(Cause::Request(id)) => self.requests.contains(id),
            None => false,
        }
    }

    fn take(&mut self, record: &Record) -> bool {
        // A pod that crashes again and again is the same command's doing for hours: what is not
        // drawn is not remembered either.
        if self.hops.len() >= HOPS_MAX || undrawn(record) {
            return false;
        }
        if let Some(request) = &record.request {
            self.requests.insert(request.id.clone());
            self.revisions.extend(record.revision.map(|r| (r, (request.id.clone(), record.object.clone()))));
        }
        let Some(hop) = self.hop(record) else { return false };
        self.hops.push(hop);
        true
    }

    fn hop(&self, record: &Record) -> Option<Hop> {
        let (from, to, did) = match &record.request {
            Some(request) if request.session == self.session => {
                // kubectl looks up what the server can do before it asks: those requests name no
                // object.
                record.object.as_ref()?;
                match &record.event {
                    Event::Commit(_) => (Spot::Api, Spot::Store, Did::Stored),
                    Event::Answer(answer) => {
                        let verb = answer.verb.clone();
                        (Spot::Api, Spot::Client, Did::Answered { verb, code: request.code })
                    }
                    stage => (Spot::Client, Spot::Api, Did::Stage(stage.verb().to_string())),
                }
            }
            Some(request) => {
                let verb = record.answer()?.verb.clone(); // its answer tells of the whole
                let from = asker(&request.user_agent, &request.user);
                (from, Spot::Api, Did::Asked { verb, code: request.code })
            }
            None => told(record),
        };
        let mut hop = Hop {
            at: record.at,
            took_us: record.took_us,
            from,
            to,
            did,
            object: record.object.clone(),
            revision: record.revision,
        };
        // Of a component's request the revision stands on its commit, which comes just before the
        // answer.
        if let (Did::Asked { .. }, Some(request)) = (&hop.did, &record.request) {
            // The commit knows the name that the server gave.
            if let Some((revision, (_, object))) =
                self.revisions.iter().rev().find(|(_, (id, _))| *id == request.id)
            {
                hop.revision = Some(*revision);
                hop.object = object.clone().or(hop.object);
            }
        }
        Some(hop)
    }
}

/// Told by everybody about everything: no hop of a command.
fn undrawn(record: &Record) -> bool {
    record.object.as_ref().is_some_and(|o| matches!(o.resource.as_str(), "events" | "leases"))
}

/// Who sent a request: `kubelet/v1.35`, by `system:node:worker`.
fn asker(agent: &str, user: &str) -> Spot {
    match agent.split(['/', ' ']).next().unwrap_or_default() {
        "kube-scheduler" => Spot::Scheduler,
        "kubelet" => Spot::Kubelet(user.strip_prefix("system:node:").unwrap_or_default().into()),
        "kube-controller-manager" => Spot::Controller(String::new()),
        "kubectl" => Spot::Client,
        other => Spot::Other(other.into()),
    }
}

fn told(record: &Record) -> (Spot, Spot, Did) {
    let spot = match record.component {
        Component::Scheduler => Spot::Scheduler,
        Component::Kubelet => Spot::Kubelet(record.node.clone()),
        Component::Proxy => Spot::Proxy(record.node.clone()),
        Component::Etcd => Spot::Store,
        Component::ApiServer => Spot::Api,
        controller if controller.is_controller() => Spot::Controller(controller.to_string()),
        other => Spot::Other(other.to_string()),
    };
    let did = match &record.event {
        Event::Schedule(decision) => {
            let fitting = decision.verdicts.iter().filter(|v| v.refused.is_empty());
            let mut scores: Vec<i64> = fitting.map(|v| v.total).collect();
            scores.sort_unstable_by(|a, b| b.cmp(a));
            let (chosen, of) = (decision.chosen.clone(), decision.verdicts.len());
            Did::Scheduled { chosen, fit: scores.len(), of, scores }
        }
        Event::Bind { node } => Did::Bound { node: node.clone() },
        Event::Rules { rules, changed } => Did::Rules { rules: *rules as u64, changed: *changed as u64 },
        event => Did::Told(event.clone()),
    };
    // Who works on something it heard of was told by the API server's watch.
    (Spot::Api, spot, did)
}

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
    pub slower: u32,
}

/// How fast a hop is shown. At 1/100 a hop of 1 ms is lit for 250 ms (1/250), one of 5 ms for 500
/// ms (1/100), and one of 3 s for 1.2 s (x2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// What it took.
    pub real: Duration,
    /// How long it is lit.
    pub lit: Duration,
}

impl std::fmt::Display for Pace {
    /// Three digits are enough: `1/3570`. Nothing for a hop that took no time that could be
    /// measured.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (real, lit) = (self.real.as_micros(), self.lit.as_micros());
        if real == 0 {
            return Ok(());
        }
        if lit < real {
            let tenths = (10 * real + lit / 2) / lit;
            return write!(f, "x{}.{}", tenths / 10, tenths % 10);
        }
        let tenths = (10 * lit + real / 2) / real;
        if tenths < 100 && tenths % 10 > 0 {
            return write!(f, "1/{}.{}", tenths / 10, tenths % 10);
        }
        let slower = (lit + real / 2) / real;
        let unit = 10_u128.pow(slower.max(1).ilog10().saturating_sub(2));
        write!(f, "1/{}", (slower + unit / 2) / unit * unit)
    }
}

/// A pod at the lit hop: the picture of a replayed command shows what was there then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    NotYet,
    Stored,
    Starting,
}

/// An entry of the store's log, as a member told of its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub revision: Option<u64>,
    pub fsync_us: u64,
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
    /// The newest entries of the store's log, by index.
    pub written: BTreeMap<u64, Written>,
    pub play: Play,
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
                    flow.fsyncs.insert(revision, fsync_us);
                }
            }
            Event::Rules { .. } => self.rules = Some(record.clone()),
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

    /// Makes room for one more flow: of those that only read, and of those that wrote, the oldest
    /// beyond its bound goes.
    fn make_room(&mut self) {
        for (wrote, most) in [(true, WRITES_MAX), (false, READS_MAX)] {
            let of_sort = |f: &&Flow| f.wrote() == wrote;
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
    /// `opened` is kept, but not played by itself.
    pub(crate) fn absorb(&mut self, record: Record, now: Duration, opened: Timestamp) -> bool {
        self.agreement.absorb(&record);
        self.keep(&record);
        let at_end = self.shown().is_some() && !self.moving();
        let mut changed =
            self.flows.iter_mut().rev().find(|f| f.contains(&record)).map(|flow| flow.take(&record));
        if at_end && self.moving() {
            self.play.since = now; // what comes late is lit from now on
        }
        if changed.is_none()
            && let Some(request) = &record.request
            && !request.session.is_empty()
            && request.is_persons()
        {
            let micros = i64::try_from(record.took_us).unwrap_or_default();
            let began = Timestamp::from_microsecond(record.at.as_microsecond() - micros).unwrap_or(record.at);
            let mut flow = Flow {
                session: request.session.clone(),
                command: request.command.clone(),
                began,
                hops: vec![],
                requests: BTreeSet::new(),
                revisions: BTreeMap::new(),
                fsyncs: BTreeMap::new(),
            };
            changed = Some(flow.take(&record));
            self.make_room();
            self.flows.push_back(flow);
        }
        // A member may have told of the commit before the API server did.
        if let Some(revision) = record.revision.filter(|_| record.write().is_some())
            && let Some(told) = self.written.values().rev().find(|w| w.revision == Some(revision)).copied()
            && let Some(flow) = self.flows.iter_mut().rev().find(|f| f.revisions.contains_key(&revision))
        {
            flow.fsyncs.insert(revision, told.fsync_us);
        }
        // The newest command with something to see takes the stage: one that only looks when
        // nothing is played there, and none while the learner has stopped the play to look at it.
        let free = !self.moving() || self.play.playing && self.flows.back().is_some_and(Flow::wrote);
        if changed == Some(true)
            && free
            && record.at >= opened
            && let Some(request) = &record.request
            && !request.session.is_empty()
            && self.flows.back().is_some_and(|f| f.session == request.session)
            && self.play.session.as_ref() != Some(&request.session)
        {
            self.play = Play {
                session: Some(request.session.clone()),
                at: 0,
                since: now,
                playing: true,
                slower: self.play.slower,
            };
        }
        // Heartbeats are committed all the time: they are news for one view only, which asks for
        // itself.
        let matters = match record.component {
            Component::Etcd => !matches!(
                record.event,
                Event::Append { .. } | Event::CommitEntry { .. } | Event::CompactLog { .. }
            ),
            component => component == Component::Scheduler,
        };
        changed.unwrap_or(false) || matters
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

    /// The show goes on, or stands still on purpose.
    pub(crate) fn moving(&self) -> bool {
        self.shown().is_some_and(|f| self.play.at < f.hops.len())
    }

    /// The store revision at the lit hop; before the command's first write the one before it.
    /// `None`: nothing is replayed, or the command wrote nothing.
    pub(crate) fn revision(&self) -> Option<u64> {
        let flow = self.moving().then(|| self.shown()).flatten()?;
        let written = |hop: &Hop| hop.revision.filter(|r| *r > 0 && hop.writes());
        let first = flow.hops.iter().filter_map(written).min()?;
        let so_far = flow.hops.iter().take(self.play.at + 1).filter_map(written).max();
        Some(so_far.unwrap_or(first - 1))
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
            Did::Asked { verb, code } => verb == "create" && *code < 400 && hop.from != Spot::Scheduler,
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
                return moved;
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
        let flow = self.shown()?;
        let moving = self.play.playing && self.play.at < flow.hops.len();
        moving.then(|| self.play.since + flow.slot(self.play.at, self.play.slower))
    }

    pub(crate) fn pause(&mut self, now: Duration) {
        if !self.moving() {
            return self.replay(now);
        }
        self.play.playing = !self.play.playing;
        self.play.since = now;
    }

    pub(crate) fn replay(&mut self, now: Duration) {
        if self.shown().is_none() {
            self.play.session = self.flows.back().map(|f| f.session.clone());
        }
        self.play.at = 0;
        self.play.since = now;
        self.play.playing = self.play.session.is_some();
    }

    /// One hop forward or back, and stands still there.
    pub(crate) fn step(&mut self, by: isize, now: Duration) {
        let Some(len) = self.shown().map(|f| f.hops.len()) else { return };
        self.play.playing = false;
        self.play.since = now;
        self.play.at = self.play.at.saturating_add_signed(by).min(len);
    }

    /// To the end of the show.
    pub(crate) fn finish(&mut self) {
        self.play.at = self.shown().map_or(0, |f| f.hops.len());
    }

    /// An earlier or later command.
    pub(crate) fn choose(&mut self, by: isize, now: Duration) {
        let Some(last) = self.flows.len().checked_sub(1) else { return };
        let here = self.flows.iter().position(|f| Some(&f.session) == self.play.session.as_ref());
        let to = here.map_or(last, |h| h.saturating_add_signed(by).min(last));
        self.play.session = Some(self.flows[to].session.clone());
        self.replay(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tap::{Answer, Request, Write};

    fn record(event: Event, resource: &str, revision: u64, cause: Option<Cause>, request: Request) -> Record {
        let made = Record::new(event).object(resource, "default", "web").revision(revision).cause(cause);
        Record { request: Some(request), ..made }
    }

    fn commit() -> Event {
        Event::Commit(Write::UPDATED)
    }

    fn answer(verb: &str) -> Event {
        Event::Answer(Box::new(Answer { verb: verb.into(), ..Answer::default() }))
    }

    /// A pod that crashes and is started again, for hours, is the doing of the command that made
    /// it.
    #[test]
    fn what_one_command_leads_to_is_remembered_within_bounds() {
        let mut traffic = Traffic::new();
        let opened = Timestamp::UNIX_EPOCH;
        let learner =
            Request { id: "r0".into(), session: "s".into(), user: "learner".into(), ..Request::default() };
        traffic.absorb(record(commit(), "pods", 2, None, learner), Duration::ZERO, opened);
        assert_eq!(traffic.flows.len(), 1);
        for n in 2..5_000u64 {
            let resource = if n % 3 == 0 { "events" } else { "pods" };
            let request = Request {
                id: format!("r{n}"),
                user_agent: "kubelet/v1".into(),
                user: "system:node:w".into(),
                ..Request::default()
            };
            let cause = Some(Cause::Revision(n - u64::from(n % 3 == 1)));
            traffic.absorb(record(answer("update"), resource, n + 1, cause, request), Duration::ZERO, opened);
        }
        let flow = &traffic.flows[0];
        assert!(flow.hops.len() > 10, "the chain is followed: {}", flow.hops.len());
        assert!(flow.requests.len() <= HOPS_MAX + 1 && flow.revisions.len() <= HOPS_MAX + 1);
    }

    /// One record of a command of the learner's.
    fn told(traffic: &mut Traffic, session: &str, event: Event, revision: u64) {
        let id = format!("{session}-{revision}");
        let request = Request { id, session: session.into(), user: "learner".into(), ..Request::default() };
        traffic.absorb(
            Record {
                revision: (revision > 0).then_some(revision),
                ..record(event, "pods", 0, None, request)
            },
            Duration::ZERO,
            Timestamp::UNIX_EPOCH,
        );
    }

    #[test]
    fn commands_that_only_look_push_out_none_that_wrote() {
        let mut traffic = Traffic::new();
        told(&mut traffic, "scale", Event::Authorize, 0);
        told(&mut traffic, "scale", commit(), 7);
        (0..500).for_each(|n| told(&mut traffic, &format!("get{n}"), Event::Authorize, 0));
        assert!(traffic.flows.iter().any(|f| f.session == "scale" && f.wrote()));
        assert!(traffic.flows.len() <= READS_MAX + 2, "{}", traffic.flows.len());
        for n in 0..500 {
            told(&mut traffic, &format!("set{n}"), commit(), 10 + n);
        }
        assert!(traffic.flows.len() <= READS_MAX + WRITES_MAX + 2, "{}", traffic.flows.len());
        assert!(traffic.flows.iter().any(|f| f.session == "set499"));
    }

    #[test]
    fn a_look_takes_the_stage_only_when_it_is_free_and_nothing_ends_a_pause() {
        let mut traffic = Traffic::new();
        let shown = |traffic: &Traffic| traffic.play.session.clone().unwrap_or_default();
        told(&mut traffic, "scale", commit(), 7);
        assert_eq!(shown(&traffic), "scale");
        told(&mut traffic, "get", Event::Authorize, 0);
        assert_eq!(shown(&traffic), "scale", "it still plays");
        traffic.pause(Duration::ZERO);
        told(&mut traffic, "set", commit(), 8);
        assert_eq!(
            (shown(&traffic).as_str(), traffic.play.playing),
            ("scale", false),
            "the learner looks at it"
        );
        traffic.pause(Duration::ZERO);
        told(&mut traffic, "run", commit(), 9);
        assert_eq!(shown(&traffic), "run");
        traffic.finish();
        told(&mut traffic, "get2", Event::Authorize, 0);
        assert_eq!(shown(&traffic), "get2");
    }

    #[test]
    fn heartbeats_push_out_neither_decisions_nor_how_long_the_disk_took() {
        let mut traffic = Traffic::new();
        let etcd = |traffic: &mut Traffic, n: u64| {
            let applied = Event::CommitEntry { index: n, term: 1, fsync_us: n * 10, batch: 1 };
            let made = Record { component: Component::Etcd, ..Record::new(applied).revision(n) };
            traffic.absorb(made, Duration::ZERO, Timestamp::UNIX_EPOCH);
        };
        let decision =
            Record::new(Event::Schedule(tap::Decision::default())).object("pods", "default", "web");
        traffic.absorb(decision, Duration::ZERO, Timestamp::UNIX_EPOCH);
        etcd(&mut traffic, 7);
        told(&mut traffic, "run", commit(), 7); // after its member
        told(&mut traffic, "scale", commit(), 8); // before it
        (8..20_000).for_each(|n| etcd(&mut traffic, n));
        assert_eq!(traffic.decisions.len(), 1);
        assert_eq!(traffic.flows[0].fsync(7), Some(70));
        assert_eq!(traffic.flows[1].fsync(8), Some(80));
        assert_eq!(traffic.written.len(), WRITTEN_MAX);
        assert!(traffic.written.contains_key(&19_999));
    }

    #[test]
    fn what_was_shown_and_has_gone_does_not_stop_the_replay() {
        let mut traffic = Traffic::new();
        told(&mut traffic, "run", commit(), 7);
        traffic.play.session = Some("long ago".into());
        traffic.replay(Duration::ZERO);
        assert_eq!(traffic.shown().map(|f| f.session.as_str()), Some("run"));
    }

    #[test]
    fn a_pod_that_apply_looked_for_is_not_there_before_it_is_made() {
        let mut traffic = Traffic::new();
        let answered = |id: &str, verb: &str, code: u16| {
            let request = Request {
                id: id.into(),
                session: "apply".into(),
                user: "learner".into(),
                code,
                ..Request::default()
            };
            record(answer(verb), "pods", 0, None, request)
        };
        told(&mut traffic, "apply", Event::Authorize, 0);
        traffic.absorb(answered("g", "get", 404), Duration::ZERO, Timestamp::UNIX_EPOCH);
        told(&mut traffic, "apply", Event::Authorize, 0);
        told(&mut traffic, "apply", commit(), 7);
        traffic.absorb(answered("c", "create", 201), Duration::ZERO, Timestamp::UNIX_EPOCH);
        let at = |traffic: &mut Traffic, hop: usize| {
            traffic.play.at = hop;
            traffic.stand("default", "web")
        };
        assert_eq!([0, 1, 2].map(|hop| at(&mut traffic, hop)), [Some(Then::NotYet); 3]);
        assert_eq!(at(&mut traffic, 3), Some(Then::Stored));
        // A label on a pod that was there makes none.
        let mut traffic = Traffic::new();
        told(&mut traffic, "apply", commit(), 7);
        traffic.absorb(answered("p", "patch", 200), Duration::ZERO, Timestamp::UNIX_EPOCH);
        assert_eq!(at(&mut traffic, 0), None);
    }

    #[test]
    fn a_pace_has_three_digits() {
        let pace = |real, lit| {
            Pace { real: Duration::from_micros(real), lit: Duration::from_micros(lit) }.to_string()
        };
        for (real, lit, said) in [
            (5_000, 500_000, "1/100"),
            (1_000, 250_000, "1/250"),
            (70, 250_000, "1/3570"),
            (8_000, 1_000_000, "1/125"),
            (12_500, 1_200_000, "1/96"),
            (170_000, 250_000, "1/1.5"),
            (250_000, 250_000, "1/1"),
            (3_000_000, 1_200_000, "x2.5"),
            (120_000_000, 1_200_000, "x100.0"),
            (0, 250_000, ""),
        ] {
            assert_eq!(pace(real, lit), said);
        }
    }

    #[test]
    fn of_a_cluster_that_was_replaced_nothing_is_kept() {
        let mut traffic = Traffic::new();
        told(&mut traffic, "run", commit(), 7);
        traffic.lost = 3;
        traffic.restart();
        assert!(traffic.flows.is_empty() && traffic.shown().is_none() && traffic.lost == 0);
        assert_eq!(traffic.play.slower, SLOWER);
    }
}
