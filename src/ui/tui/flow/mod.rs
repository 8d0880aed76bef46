//! A request on its way: records become hops, the hops of one command a flow, and a flow is played
//! at a speed that eyes can follow.

use clock::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tap::{Answer, Cause, Component, Event, ObjectRef, Record, Request};

mod gate;
mod hop;
mod pace;
pub(crate) mod traffic;
mod verb;

pub(crate) use gate::Gate;
pub(crate) use hop::{Did, Hop, Spot};

/// Hops of one flow; what follows is not drawn.
const HOPS_MAX: usize = 300;
/// A hop stays lit at least and at most this long, whatever it took: then it has a speed of its
/// own, see [`pace::Pace`].
const SLOT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(1200));

/// Stands for the command where an autoscaler has scaled.
const AUTOSCALER: &str = "HPA";

/// What one command led to, or one scaling of an autoscaler.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Flow {
    /// The session of the command, or the id of a request without one: of curl's, or of an
    /// autoscaler's.
    pub session: String,
    /// `kubectl create`, `curl`, or [`AUTOSCALER`].
    pub command: String,
    /// When its first record began.
    pub began: Timestamp,
    pub hops: Vec<Hop>,
    requests: BTreeSet<String>,
    /// Revisions, the requests that made them, and of what.
    revisions: BTreeMap<u64, (String, Option<ObjectRef>)>,
    /// The message of the last answer that refused a request of the command.
    pub refusal: String,
    /// How long the disk took for these revisions, in microseconds.
    fsyncs: BTreeMap<u64, u64>,
}

impl Flow {
    /// Returns the flow that begins with this request. `scaling`: with an autoscaler's. `None`: no
    /// person has sent it.
    fn begun_by(record: &Record, request: &Request, scaling: bool) -> Option<Flow> {
        let micros = i64::try_from(record.took_us).unwrap_or_default();
        let began = Timestamp::from_microsecond(record.at.as_microsecond() - micros).unwrap_or(record.at);
        let (session, command) = match scaling {
            true => (request.id.clone(), AUTOSCALER.to_string()),
            false if request.session.is_empty() => (request.id.clone(), request.by_hand()?),
            false if request.is_persons() => (request.session.clone(), request.command.clone()),
            false => return None,
        };
        Some(Flow {
            session,
            command,
            began,
            hops: vec![],
            requests: BTreeSet::new(),
            revisions: BTreeMap::new(),
            refusal: String::new(),
            fsyncs: BTreeMap::new(),
        })
    }

    /// True for a request of the command itself, and false for one that the command led to.
    fn is_own(&self, request: &Request) -> bool {
        let session = if request.session.is_empty() { &request.id } else { &request.session };
        self.is_typed() && *session == self.session
    }

    /// True if a person has typed the command.
    pub(crate) fn is_typed(&self) -> bool {
        self.command != AUTOSCALER
    }

    /// From its beginning to the end of a hop, in microseconds.
    pub(crate) fn since(&self, hop: &Hop) -> u64 {
        let micros = hop.at.as_microsecond() - self.began.as_microsecond();
        u64::try_from(micros).unwrap_or_default()
    }

    /// From its beginning to the end of its last hop, in microseconds.
    pub(crate) fn total(&self) -> u64 {
        self.hops.iter().map(|h| self.since(h)).max().unwrap_or_default()
    }

    /// Returns how long a hop took, counted from the end of the hop before it.
    fn real(&self, at: usize) -> Duration {
        let Some(hop) = self.hops.get(at) else { return Duration::ZERO };
        let before = at.checked_sub(1).and_then(|b| self.hops.get(b)).map_or(0, |h| self.since(h));
        Duration::from_micros(self.since(hop).saturating_sub(before))
    }

    /// Returns how long a hop stays lit.
    fn slot(&self, at: usize, slower: u32) -> Duration {
        self.real(at).saturating_mul(slower).clamp(SLOT.0, SLOT.1)
    }

    /// Returns the object the command was about: the first that was written, or else asked for.
    pub(crate) fn object(&self) -> Option<&ObjectRef> {
        let named = |h: &&Hop| h.object.as_ref().is_some_and(|o| !o.name.is_empty());
        let written = self.hops.iter().filter(named).find(|h| h.did == Did::Stored);
        written.or_else(|| self.hops.iter().find(named)).and_then(|h| h.object.as_ref())
    }

    /// Returns how the command ended, if a stage of the API server refused it: the place of the
    /// answer among the hops, its code, and the stage. kubectl may have asked before for an object
    /// that is not there.
    pub(crate) fn refused(&self) -> Option<(usize, u16, Gate)> {
        let answers = self.hops.iter().enumerate().rev();
        let (at, code, refused) = answers.into_iter().find_map(|(at, hop)| match &hop.did {
            Did::Answered { code, refused, .. } => Some((at, *code, *refused)),
            _ => None,
        })?;
        Some((at, code, refused?))
    }

    /// Returns the code of the last answer to a write of the command itself, if nothing was
    /// written: 409 of an object that exists already. A look says nothing of that: `kubectl delete`
    /// looks for the object until the answer is 404.
    pub(crate) fn failed(&self) -> Option<u16> {
        let code = self.hops.iter().rev().find_map(|hop| match &hop.did {
            Did::Answered { verb, code, .. } if verb::changes(verb) => Some(*code),
            _ => None,
        });
        code.filter(|code| *code >= 400)
    }

    /// Returns the place among the hops of the answer whose message is [`Flow::refusal`].
    pub(crate) fn refusal_at(&self) -> Option<usize> {
        self.hops.iter().rposition(|hop| matches!(hop.did, Did::Answered { code: 400.., .. }))
    }

    /// Returns how long the disk took for a revision, of the store's own record, in microseconds.
    pub(crate) fn fsync(&self, revision: u64) -> Option<u64> {
        self.fsyncs.get(&revision).copied()
    }

    /// Something was written: more than a look.
    pub(crate) fn wrote(&self) -> bool {
        self.hops.iter().any(Hop::writes)
    }

    /// Returns the revision before its first write. `None`: it wrote nothing.
    pub(crate) fn before(&self) -> Option<u64> {
        self.hops.iter().filter_map(Hop::made).min().map(|first| first - 1)
    }

    /// Returns the newest revision that it led to.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.revisions.keys().next_back().copied()
    }

    fn contains(&self, record: &Record) -> bool {
        let request = record.request.as_ref();
        if request.is_some_and(|r| self.is_own(r) || self.requests.contains(&r.id)) {
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
        let is_own = record.request.as_ref().is_some_and(|request| self.is_own(request));
        if self.hops.len() >= HOPS_MAX || undrawn(record) && !is_own {
            return false;
        }
        // What names no object leads to nothing: `kubectl proxy` may pass such requests on all day.
        if let Some(request) = record.request.as_ref().filter(|_| record.object.is_some()) {
            self.requests.insert(request.id.clone());
            // The same transaction's other changes come behind that of its object.
            if let Some(revision) = record.revision
                && self.revisions.get(&revision).is_none_or(|(id, _)| *id != request.id)
            {
                self.revisions.insert(revision, (request.id.clone(), record.object.clone()));
            }
        }
        let Some(hop) = self.hop(record) else { return false };
        if let (Did::Answered { code: 400.., .. }, Some(answer)) = (&hop.did, record.answer()) {
            self.refusal = answer.message.clone();
        }
        self.hops.push(hop);
        true
    }

    fn hop(&self, record: &Record) -> Option<Hop> {
        let (from, to, did) = match &record.request {
            Some(request) if self.is_own(request) => {
                // kubectl looks up what the server can do before it asks: those requests name no
                // object.
                record.object.as_ref()?;
                match &record.event {
                    Event::Commit(_) => (Spot::Api, Spot::Store, Did::Stored),
                    Event::Answer(answer) => {
                        let (verb, code, from_pod) = (answer.verb.clone(), request.code, answer.from_pod);
                        let refused = refusing_gate(answer, code);
                        (Spot::Api, Spot::Client, Did::Answered { verb, code, refused, from_pod })
                    }
                    stage => (Spot::Client, Spot::Api, Did::Stage(stage.verb().to_string())),
                }
            }
            Some(request) => {
                let answer = record.answer()?; // it tells of the whole
                let (verb, code, from_pod) = (answer.verb.clone(), request.code, answer.from_pod);
                let refused = refusing_gate(answer, code);
                let from = asker(&request.user_agent, &request.user);
                (from, Spot::Api, Did::Asked { verb, code, refused, from_pod })
            }
            None => component_act(record),
        };
        let mut hop = Hop {
            at: record.at,
            took_us: record.took_us,
            from,
            to,
            did,
            object: record.object.clone(),
            subresource: record.request.as_ref().map_or(String::new(), |r| r.subresource.clone()),
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

/// True for the write by which the controller of autoscalers changes a scale. No other controller
/// writes one.
fn is_scaling(record: &Record) -> bool {
    let is_controllers = |request: &Request| {
        request.subresource == "scale" && request.user_agent.starts_with("kube-controller-manager")
    };
    record.write().is_some() && record.request.as_ref().is_some_and(is_controllers)
}

/// True for a record about an Event or a Lease: every component writes them all the time, and they
/// are no hops of a command, unless the command itself asks for them.
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

/// Returns the stage that refused a request. What a server in a pod answers is no refusal.
fn refusing_gate(answer: &Answer, code: u16) -> Option<Gate> {
    match answer.from_pod {
        true => None,
        false => Gate::of(&answer.verb, code, &answer.message),
    }
}

/// Returns what a component reported, from where and to where.
fn component_act(record: &Record) -> (Spot, Spot, Did) {
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
    // A component that works on a change has heard of it by the API server's watch.
    (Spot::Api, spot, did)
}

#[cfg(test)]
mod tests;
