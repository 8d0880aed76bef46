//! What a lab remembers of the cluster while it is open: what was done in its namespaces, by whom,
//! and how often pods restarted. The judge is told apart from people.

use super::STALE;
use crate::cel::facts::Object;
use crate::cel::{Facts, Memo};
use crate::graded::book::Restarted;
use crate::graded::lasting;
use crate::graded::seal::{self, Chain};
use crate::graded::stopwatch::Stopwatch;
use crate::observe::Observer;
use crate::observe::watch::Report;
use crate::observe::who::{Meddling, Who};
use api::kinds::Kind;
use api::meta;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tap::TEACHER;

/// Pods of an open lab of which a restart is kept, at most, and the bytes of each. What is beyond
/// that is [lost](Known::restarts_lost).
const RESTARTED_MAX: usize = 200;
const RESTARTED_BYTES: usize = 64 << 10;

/// What is known of the cluster, and of the open lab as far as it goes on in memory.
#[derive(Default)]
pub(crate) struct Known {
    pub observer: Observer,
    /// Kinds that are watched, by qualified plural.
    pub(super) watched: BTreeSet<String>,
    /// What earlier evaluations have found out, and of which values of a lab.
    memo: (Option<cel::Value>, Arc<Memo>),
    /// A lab is open: what happens is remembered.
    pub recording: bool,
    /// The judge is at work: what happens is hashed, but is nothing that a check or the learner's
    /// account should see, except what people do after its way back.
    pub quiet: bool,
    /// The judge writes as the teacher: such writes are its own.
    pub playing: bool,
    /// The judge takes back what it has disturbed: the next way back is its own.
    pub returning: bool,
    /// The setup's faults are made once more, after a start of the cluster, by no act of a person.
    pub breaking: bool,
    /// Faults of the setup that are not mended.
    pub broken: Vec<tap::Fault>,
    /// The solution is being played.
    pub solving: bool,
    pub chain: Chain,
    /// Since when the lab has been open.
    pub watch: Option<Stopwatch>,
    /// When a client that is no component and not the judge last wrote an object, acted in a
    /// container, or broke or mended something: milliseconds from the start.
    pub changed_ms: Option<u64>,
    /// A client that is no component wrote something while the judge was at work, or since the
    /// revision to which the judge goes back.
    pub meddled: bool,
    /// The newest store revision that such a client wrote in the lab.
    pub newest_by_hand: i64,
    /// Store revision of the judge's way back. What people do after it is not taken back.
    pub returned_at: Option<i64>,
    /// Revisions of journeys into the past, and how many there were before this process.
    pub journeys: BTreeSet<i64>,
    pub journeys_before: u32,
    /// Namespaces of the open lab; `None`: it may be anywhere.
    pub places: Option<BTreeSet<String>>,
    /// Resources (plurals) that the open lab's expressions look at.
    pub reads: BTreeSet<String>,
    /// What people did in the lab's namespaces that a task may exclude.
    pub meddling: BTreeSet<Meddling>,
    /// Pods in the lab's namespaces whose containers ended while the cluster ran, by namespace,
    /// name and uid.
    pub restarted: BTreeMap<String, Restarted>,
    /// A restart of a pod was not kept there: the process after this one does not know how often
    /// pods restarted.
    pub restarts_lost: bool,
    pub who: Who,
    /// Something of the fields above has changed since it was last written to the book's file.
    pub unsaved: bool,
}

/// What a snapshot needs beside what is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    /// Store revision when the clock started.
    pub began: i64,
    pub variant: Option<cel::Value>,
}

/// A write that a request made, and of whom.
fn writer(record: &tap::Record) -> Option<&tap::Request> {
    record.request.as_ref().filter(|_| record.write().is_some() && record.body.is_some())
}

/// Resources without a namespace that change nothing of what is in one.
const APART: [&str; 8] = [
    "apiservices",
    "certificatesigningrequests",
    "csidrivers",
    "csinodes",
    "customresourcedefinitions",
    "flowschemas",
    "prioritylevelconfigurations",
    "volumeattachments",
];

/// The namespace of what serves all others.
const SYSTEM: &str = "kube-system";

/// Kinds by which nothing is served: programs write them by themselves, all the time.
const PASSING: [&str; 2] = ["events", "leases"];

/// Returns whether a write of an object without a namespace may change what is in these. A volume
/// that belongs to a claim elsewhere, rights for accounts elsewhere, and objects of a kind that
/// only its author uses may not; a node, or rights for a user may.
fn reaches(resource: &str, body: Option<&[u8]>, places: &BTreeSet<String>) -> bool {
    let object: Value = body.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let is_elsewhere = |namespace: &Value| namespace.as_str().is_some_and(|named| !places.contains(named));
    match resource {
        "persistentvolumes" => !is_elsewhere(&object["spec"]["claimRef"]["namespace"]),
        "clusterrolebindings" => {
            let subjects = object["subjects"].as_array().map_or(&[][..], Vec::as_slice);
            subjects.is_empty()
                || subjects.iter().any(|s| s["kind"] != "ServiceAccount" || !is_elsewhere(&s["namespace"]))
        }
        resource => !APART.contains(&resource) && api::kinds::stored(resource).is_some(),
    }
}

impl Known {
    /// Takes records in their order, each with its digest if that was made already. What another
    /// reader has taken meanwhile is not taken twice.
    pub(super) fn take_all(&mut self, records: &[(Option<String>, Arc<tap::Record>)]) {
        for (digest, record) in records {
            if record.seq <= self.observer.recorder.seq {
                continue;
            }
            if self.recording {
                match digest {
                    Some(digest) => self.chain.add(digest),
                    None => self.chain.add(&seal::digest(record)),
                }
            }
            self.take_record(record);
        }
    }

    fn take_record(&mut self, record: &tap::Record) {
        if !self.recording {
            // A name that is got before a lab can be used in it.
            self.unsaved |= self.who.note(record);
            self.observer.recorder.seq = record.seq;
            return;
        }
        let here = self.is_here(record);
        let journey = here && record.write().is_some_and(|write| write.journey.is_some());
        let is_judges = self.quiet && !self.is_after_return(record);
        if let (true, false, Some(revision)) = (journey, is_judges, record.revision) {
            self.unsaved |= self.journeys.insert(revision as i64);
        }
        let writer = writer(record);
        let learner = writer.is_some_and(tap::Request::is_persons);
        // Under any name: a writer that is no component of the cluster counts as a person.
        let somebody = writer.is_some() && !self.who.is_components(record);
        let teacher = writer.is_some_and(|r| tap::actor(&r.user, &r.impersonator) == TEACHER);
        // What a person does elsewhere while the lab is open, e.g. a lesson, changes nothing of the
        // lab.
        let wanted = learner || (somebody && !(self.quiet && teacher)) || (journey && !is_judges);
        // Lessons change their part of kube-system while a lab is open.
        let reaches = !teacher && (learner || somebody) && self.is_systems(record);
        let meddling = self.who.meddling(record).filter(|_| here);
        // A fault has no author; while the judge is at work it is the probe's, and where no probe
        // is played it helps or hinders the cluster to recover.
        let is_fault = matches!(record.event, tap::Event::Fault(_)) && !self.breaking;
        if let tap::Event::Fault(fault) = &record.event {
            self.unsaved |= lasting::note(&mut self.broken, fault, self.watch.is_none());
        }
        self.meddled |= self.quiet && is_fault && !self.playing;
        if (here && wanted) || reaches || meddling.is_some() || (is_fault && !self.quiet) {
            self.changed_ms = self.watch.map(|w| w.ms());
            self.unsaved = true;
        }
        if let Some(meddling) = meddling
            && self.watch.is_some()
        {
            self.unsaved |= self.meddling.insert(meddling);
        }
        let others = match teacher {
            // The records of a way back name the teacher as their user, also where a person asks
            // for it.
            true if journey => here && !self.returning,
            // A lesson's setup elsewhere is the teacher's, too.
            true => here && !self.playing,
            false => reaches || (here && (learner || somebody)) || meddling.is_some(),
        };
        let is_hand = others && (somebody || meddling.is_some());
        self.meddled |= self.quiet && is_hand;
        if let Some(revision) = record.revision.filter(|_| is_hand) {
            self.newest_by_hand = self.newest_by_hand.max(revision as i64);
        }
        self.unsaved |= self.who.note(record);
        if here && !self.quiet && self.watch.is_some() {
            self.note_restart(record);
        }
        match is_judges {
            true => self.observer.recorder.skip(record),
            false => self.observer.recorder.take_record(record, Some(self.solving)),
        }
    }

    /// Returns whether a record is what a person did after the judge's way back, while the cluster
    /// still recovers. It stays, so checks have to see it.
    ///
    /// Example: the way back is revision 30. The learner's write of revision 33 is seen, and the
    /// controllers' of 31 and 32 are not, because the judge caused them.
    fn is_after_return(&self, record: &tap::Record) -> bool {
        let is_journey = record.write().is_some_and(|write| write.journey.is_some());
        let is_persons = record.request.as_ref().is_some_and(|request| {
            tap::actor(&request.user, &request.impersonator) != TEACHER && !self.who.is_components(record)
        });
        let is_later = |back: i64| record.revision.is_none_or(|revision| revision as i64 > back);
        (is_journey || is_persons) && self.returned_at.is_some_and(is_later)
    }

    /// Keeps the version of a pod that tells of more restarts than the one before, for the process
    /// after this one.
    fn note_restart(&mut self, record: &tap::Record) {
        let Some((object, body)) = record.object.as_ref().zip(record.body.as_deref()) else { return };
        if object.resource != "pods" || record.write().is_none_or(|write| write.deleted) {
            return;
        }
        let revision = record.revision.unwrap_or_default() as i64;
        let Some(found) = Restarted::of(revision, body) else { return };
        let uid = found.pod["metadata"]["uid"].as_str().unwrap_or_default();
        let key = format!("{}/{}/{uid}", object.namespace, object.name);
        let known = self.restarted.get(&key);
        if known.is_some_and(|known| found.count <= known.count) {
            return;
        }
        let has_room = known.is_some() || self.restarted.len() < RESTARTED_MAX;
        if has_room && body.len() <= RESTARTED_BYTES {
            self.restarted.insert(key, found);
            self.unsaved = true;
        } else {
            self.unsaved |= !std::mem::replace(&mut self.restarts_lost, true);
        }
    }

    /// Adds the versions that were kept to a history that was read from the store, and that has
    /// none between the beginning and now. If not all were kept, no pod's history is known.
    pub(super) fn recall_restarts(&mut self) {
        for kept in self.restarted.values() {
            self.observer.recorder.recall("pods", &kept.pod, kept.revision);
        }
        if self.restarts_lost {
            self.observer.recorder.forget_all("pods");
        }
    }

    /// Returns whether the record is about something in the open lab's namespaces, or about an
    /// object without one that may change what is in them.
    fn is_here(&self, record: &tap::Record) -> bool {
        let Some((places, object)) = self.places.as_ref().zip(record.object.as_ref()) else { return true };
        match (object.namespace.as_str(), object.qualified().as_str()) {
            ("", "namespaces") => places.contains(&object.name),
            ("", resource) if self.reads.contains(resource) => true,
            ("", resource) => reaches(resource, record.body.as_deref(), places),
            (namespace, _) => places.contains(namespace),
        }
    }

    /// Returns whether the record is about something in kube-system that serves the lab's
    /// namespaces. What the cluster's DNS answers, for one, can make a task green from there.
    fn is_systems(&self, record: &tap::Record) -> bool {
        let object = record.object.as_ref().filter(|object| object.namespace == SYSTEM);
        object.is_some_and(|object| !PASSING.contains(&object.resource.as_str()))
    }

    /// The clock starts now; what was done so far does not count.
    pub(crate) fn begin(&mut self, watch: Option<Stopwatch>) {
        self.watch = watch;
        self.chain = Chain::default();
        self.changed_ms = None;
        self.journeys.clear();
        self.journeys_before = 0;
        self.meddled = false;
        self.newest_by_hand = 0;
        self.returned_at = None;
        self.meddling.clear();
        self.restarted.clear();
        self.restarts_lost = false;
    }

    /// The objects of a kind, by namespace and name, that were there at a revision, that no
    /// controller makes anew, and that are gone.
    pub(crate) fn gone(&self, kind: &Kind, revision: i64) -> Vec<((String, String), Object)> {
        let Some(now) = self.observer.objects.get(&kind.qualified()) else { return vec![] };
        let is_made = |object: &Object| meta::controller(&object.json).is_some();
        // Asked at every look at the lab, and mostly nothing is gone: what is there is not parsed.
        let gone = self.observer.recorder.chosen_at(kind.plural, revision, |key| !now.contains_key(key));
        gone.into_iter().filter(|(_, object)| !is_made(object)).collect()
    }

    /// A snapshot for one evaluation.
    pub(super) fn facts(&mut self, frame: &Frame) -> Facts {
        if self.memo.0 != frame.variant {
            self.memo = (frame.variant.clone(), Arc::default());
        }
        Facts {
            lesson_began: frame.began,
            since_step: frame.began,
            step_at: self.watch.map(|watch| watch.started()),
            variant: frame.variant.clone(),
            ..self.observer.facts(STALE, self.memo.1.clone())
        }
    }

    /// Takes over the report of a watch. While the judge is at work, what it shows has no history.
    pub(super) fn take_report(&mut self, report: Report) {
        self.observer.take_report(report, !self.quiet);
    }
}

#[cfg(test)]
mod tests;
