//! What lessons, labs and `why` see of the cluster: the records of the trace, the objects and their
//! history, and what the network answers. The lesson engine and the labs add what differs: steps
//! and progress, attempts and grading.
//!
//! ```text
//! tap ─────────▶ Recorder  every version, every hop ─┐
//! API watches ─▶ Report    live objects              ├─▶ Observer::facts ─▶ expressions
//! network ─────▶ Answers   http, exec, logs, can     ┘
//! ```
//! `why` explains one moment, also where no lesson runs and nothing is watched. It reads the same
//! records of the tap and takes a snapshot ([`lists::snapshot`]): each kind is listed once, and its
//! objects are those that a watch would keep, in the same type. An object that cannot be decoded is
//! left out of both, and the log names it. Expressions and explanations pick from the objects with
//! the same functions ([`within`](crate::cel::facts::within), [`named`](crate::cel::facts::named)).
//!
//! Example: the learner deletes a pod. The tap tells of the commit, and the [`Recorder`] has one
//! version more, `DELETED`. The watch of pods tells of it, too, and the pod is no longer among the
//! live objects. The next [`Facts`] say both, and a check that asks for either turns green.

mod contexts;
mod failure;
pub(crate) mod lists;
pub(crate) mod load;
pub(crate) mod probe;
pub(crate) mod probe_answers;
pub(crate) mod recorder;
mod visit;
pub(crate) mod watch;
pub(crate) mod who;

use crate::cel::facts::{Object, Objects};
use crate::cel::{Facts, Memo, value};
use client::Delta;
use cluster::guest::LessonScope;
use probe_answers::Answers;
use recorder::Recorder;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use watch::{Look, Report};

/// What is known of one cluster.
#[derive(Default)]
pub(crate) struct Observer {
    pub recorder: Recorder,
    /// Live objects by qualified plural. A kind that is not watched, or of which no report has come
    /// yet, is missing.
    pub(crate) objects: HashMap<String, Objects>,
    /// The newest revision that each watch has reported, by plural.
    pub(crate) seen: HashMap<String, i64>,
    pub(crate) answers: Answers,
    /// How often the objects of a kind have changed.
    generations: HashMap<String, u64>,
}

impl Observer {
    /// Takes over the report of a watch. `is_history`: objects that were not known yet are noted as
    /// having been there before.
    pub(crate) fn take_report(&mut self, report: Report, is_history: bool) {
        *self.generations.entry(report.kind.clone()).or_default() += 1;
        let plural = plural(&report.kind).to_string();
        let mut gone = 0;
        if let Delta::Replaced(objects) = &report.delta {
            if is_history {
                objects.iter().for_each(|(_, o)| self.recorder.add_found(&plural, &o.json));
            }
            gone = self.newest_gone(&report.kind, &plural, objects);
        }
        let newest = self.seen.entry(plural).or_default();
        *newest = (*newest).max(report.revision).max(gone);
        report.apply(&mut self.objects);
    }

    /// The revision of the newest deletion that a complete list shows: of an object that was there
    /// before, and whose end no watch has reported. 0: none.
    fn newest_gone(&self, kind: &str, plural: &str, now: &[((String, String), Object)]) -> i64 {
        let there: BTreeSet<&(String, String)> = now.iter().map(|(key, _)| key).collect();
        let before = self.objects.get(kind).into_iter().flat_map(|all| all.keys());
        let deleted = |(namespace, name): &(String, String)| {
            let key = (plural.to_string(), namespace.clone(), name.clone());
            let last = self.recorder.versions.get(&key)?.last()?;
            (last.verb == "DELETED").then_some(last.revision)
        };
        before.filter(|key| !there.contains(key)).filter_map(deleted).max().unwrap_or_default()
    }

    /// Moves to another scope: what was known of the old one is forgotten.
    pub(crate) fn move_to(&mut self, scope: LessonScope) {
        self.recorder.move_to(scope);
        self.objects.clear();
        self.seen.clear();
        self.answers.forget();
    }

    /// A snapshot for evaluations: what came from the cluster and its network, and nothing of what
    /// the learner did. Answers of the network count if they came at most `stale` ago. `memo`: what
    /// evaluations have found out.
    pub(crate) fn facts(&self, stale: Duration, memo: Arc<Memo>) -> Facts {
        Facts {
            objects: self.objects.clone(),
            history: self.recorder.versions.clone(),
            forgotten: self.recorder.forgotten.clone(),
            trace: self.recorder.trace.clone(),
            trace_kept: self.recorder.trace_kept.clone(),
            trace_from: self.recorder.trace_from,
            epoch: self.recorder.epoch,
            versions: self.recorder.taken,
            generations: self.generations.clone(),
            memo,
            now: Some(value::time(clock::now())),
            answers: self.answers.fresh(stale),
            ..Facts::default()
        }
    }

    /// True if every watch has reported what the store had at a moment. `with`: the newest revision
    /// of each plural at that moment.
    pub(crate) fn caught_up(&self, with: &HashMap<String, i64>) -> bool {
        self.objects.keys().all(|kind| {
            let plural = plural(kind);
            with.get(plural).is_none_or(|wanted| self.seen.get(plural).is_some_and(|seen| seen >= wanted))
        })
    }

    /// True if the watch of a kind has reported the newest write that was recorded of it.
    /// `kind`: its qualified plural, for example `deployments.apps`.
    pub(crate) fn is_current(&self, kind: &str) -> bool {
        let plural = plural(kind);
        let newest = self.recorder.of_plural.get(plural);
        newest.is_none_or(|newest| self.seen.get(plural).is_some_and(|seen| seen >= newest))
    }

    /// True if the watches have reported what a list of the server had.
    pub(crate) fn shows(&self, looks: &HashMap<String, Look>) -> bool {
        looks.iter().all(|(kind, look)| {
            let seen = self.seen.get(plural(kind));
            self.objects
                .get(kind)
                .is_some_and(|objects| look.is_known(seen.copied().unwrap_or_default(), objects))
        })
    }
}

/// The plural of a qualified plural: `deployments` of `deployments.apps`.
pub(crate) fn plural(qualified: &str) -> &str {
    qualified.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tap::{Event, Record, Write};

    /// The API server was restarted, and a pod was deleted before its watch began anew.
    #[test]
    fn a_list_tells_of_a_deletion_that_no_watch_has_told() {
        let mut observer = Observer::default();
        let metadata = json!({"namespace": "d", "name": "a", "resourceVersion": "4"});
        let pod = Object::new(json!({ "metadata": metadata }));
        observer.take_report(Report::list("pods", [(("d".into(), "a".into()), pod)].into(), 4), true);
        let record = Record::new(Event::Commit(Write::DELETED)).object("pods", "d", "a").revision(9);
        observer.recorder.take_record(&Record { body: Some("{}".into()), ..record }, None);
        let is_told = |observer: &Observer| observer.caught_up(&observer.recorder.of_plural);
        assert!(!is_told(&observer));
        observer.take_report(Report::list("pods", [].into(), 0), true);
        assert!(is_told(&observer));
    }
}
