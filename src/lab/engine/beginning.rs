//! The objects as they were when the open step began: what a check compares with.
//!
//! Example: a step asks for one more replica than at its beginning. The server is asked for the
//! Deployments at the revision that was noted then. If it has compacted that, the history of this
//! process may still reach so far; else the step says that its beginning is lost.

use super::{Engine, FAILED_MAX, Needs, RENEW, earlier, qualified};
use crate::observe;
use crate::observe::watch::Then;
use clock::Instant;
use std::sync::Arc;
use std::time::Duration;

/// When a question that failed is asked again, and the pause before that.
pub(crate) struct Retry {
    pub at: Instant,
    pub pause: Duration,
}

impl Engine {
    /// The objects of a kind when the open step began, as a server has answered. What it no longer
    /// has is taken from the history, if that reaches so far; what it refuses to tell is not in the
    /// history either. A question that failed is asked again, after a pause that grows.
    pub(crate) fn knew_before(&mut self, kind: &str, then: Then) {
        self.asking_before.remove(kind);
        let objects = match then {
            Then::Objects(objects) => objects,
            Then::Failed if self.is_ahead(self.since_step()) => {
                self.lost_before.insert(kind.to_string());
                return;
            }
            Then::Failed => {
                let last = self.failed_before.get(kind).map(|last| last.pause);
                let pause = last.map_or(RENEW, |last| (last * 2).min(FAILED_MAX));
                self.failed_before.insert(kind.to_string(), Retry { at: Instant::now() + pause, pause });
                return;
            }
            Then::Refused => {
                self.lost_before.insert(kind.to_string());
                return;
            }
            Then::Gone if !self.observer.recorder.reaches(self.since_step()) => {
                self.lost_before.insert(kind.to_string());
                return;
            }
            Then::Gone => {
                let plural = observe::plural(kind);
                self.observer.recorder.objects_at(plural, self.since_step())
            }
        };
        self.before.insert(kind.to_string(), Arc::new(objects));
    }

    /// Returns whether a revision is newer than every one that the records of this cluster's store
    /// name. Then the store was restored from a backup or replaced since the revision was noted. On
    /// a foreign cluster, and before the first record, that is not known.
    pub(crate) fn is_ahead(&self, revision: i64) -> bool {
        self.offers.own && (1..revision).contains(&self.observer.recorder.revision)
    }

    /// Has the objects of a kind at the step's beginning asked for, unless they are known, are
    /// being asked for, may not be listed here, or the last question failed a moment ago.
    pub(super) fn ask_before(&mut self, kind: String, now: Instant, needs: &mut Needs) {
        let Some(name) = qualified(&kind) else { return };
        let is_denied = self.observer.recorder.scope.denied.contains(&name);
        if is_denied || self.before.contains_key(&name) || self.lost_before.contains(&name) {
            return;
        }
        match self.failed_before.get(&name).map(|failed| failed.at) {
            Some(again) if again > now => needs.wake = earlier(needs.wake, Some(again)),
            _ if self.asking_before.insert(name) => needs.before.push(kind),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::facts::{Object, Wanted};
    use crate::cel::{Expr, Use};
    use crate::engine::tests::engine;
    use crate::observe::recorder::Recorder;
    use crate::observe::watch::Report;
    use crate::view::State;
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::time::Duration;
    use tap::{Event, Record, Write};

    /// An engine in a step that began at a revision and whose only check compares with then.
    fn compares_with_the_beginning(since: i64) -> Engine {
        let mut engine = engine();
        let open = engine.open.as_mut().unwrap();
        let id = open.lesson.id.clone();
        let step = &mut Arc::make_mut(&mut open.lesson).steps[0];
        step.checks.truncate(1);
        step.checks[0].is =
            Expr::compile("get(before('Pod','d','a'), 'spec.nodeName', 'none') == 'none'", Use::Check, &[])
                .unwrap();
        engine.progress.step(&id, "run").since = since;
        engine.observer.recorder.revision = since;
        engine.take_report(Report::list("pods", BTreeMap::new(), since));
        engine
    }

    /// The API server does not answer at the moment of the question: that is no answer, neither for
    /// a yes nor for ever.
    #[tokio::test(start_paused = true)]
    async fn a_question_about_the_beginning_that_failed_is_asked_again() {
        let mut engine = compares_with_the_beginning(7);
        assert_eq!(engine.settle().0.before, ["Pod"]);
        engine.knew_before("pods", Then::Failed);
        let (needs, _) = engine.settle();
        assert!(needs.before.is_empty() && needs.wake.is_some(), "not at once");
        assert!(!engine.open.as_ref().unwrap().outcome.green);
        tokio::time::advance(RENEW).await;
        assert_eq!(engine.settle().0.before, ["Pod"]);
        // A server that goes on failing is asked less and less often.
        for n in 1..10 {
            engine.knew_before("pods", Then::Failed);
            let pause = (RENEW * 2_u32.pow(n)).min(FAILED_MAX);
            tokio::time::advance(pause - Duration::from_millis(1)).await;
            assert!(engine.settle().0.before.is_empty(), "after {n} failures");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(engine.settle().0.before, ["Pod"]);
        }
        let pod = Object::new(json!({"kind": "Pod", "spec": {"nodeName": "n1"}}));
        engine.knew_before("pods", Then::Objects([(("d".into(), "a".into()), pod)].into()));
        let (needs, _) = engine.settle();
        assert!(needs.before.is_empty() && !engine.open.as_ref().unwrap().outcome.verdicts.is_empty());
        assert_eq!(engine.open.as_ref().unwrap().outcome.unmet, Some(0), "it had a node");
    }

    /// The store was restored from a backup. Its API server answers that it is not that far yet.
    #[test]
    fn a_beginning_that_the_store_is_not_at_any_more_is_lost() {
        let mut engine = compares_with_the_beginning(9);
        engine.observer.recorder = Recorder::default();
        engine.observer.recorder.take_record(&Record::new(Event::Commit(Write::UPDATED)).revision(4), None);
        engine.settle();
        engine.knew_before("pods", Then::Failed);
        let (needs, _) = engine.settle();
        assert!(needs.before.is_empty() && needs.wake.is_none());
        assert_eq!(engine.open.as_ref().unwrap().outcome.unmet, Some(0));
        assert!(engine.view("en").notices.iter().any(|n| n.contains("no longer kept")));
        engine.begin_step();
        engine.settle();
        engine.knew_before("pods", Then::Gone);
        assert!(engine.lost_before.contains("pods"), "the history is of another past");
    }

    /// A foreign server is not asked again for what it refuses, for what the user may not list, or
    /// for a step that is not judged.
    #[test]
    fn a_beginning_that_cannot_be_had_or_is_not_needed_is_not_asked_for() {
        let mut engine = compares_with_the_beginning(9);
        engine.observer.recorder.take_record(&Record::new(Event::Commit(Write::UPDATED)).revision(9), None);
        assert_eq!(engine.settle().0.before, ["Pod"]);
        engine.knew_before("pods", Then::Refused);
        assert!(engine.settle().0.before.is_empty());
        let outcome = |engine: &Engine| engine.open.as_ref().unwrap().outcome.unmet;
        assert_eq!(outcome(&engine), Some(0), "what was not told is not what was not there");

        let mut engine = compares_with_the_beginning(9);
        engine.observer.recorder.scope.denied = ["pods".to_string()].into();
        let mut needs = engine.settle().0;
        let wanted = Wanted { before: ["Pod".to_string()].into(), ..Wanted::default() };
        engine.see_to(wanted, Instant::now(), &mut needs);
        assert!(needs.before.is_empty() && needs.wake.is_none());

        let mut engine = compares_with_the_beginning(9);
        let id = engine.open.as_ref().unwrap().lesson.id.clone();
        engine.progress.step(&id, "run").state = State::Done;
        assert!(engine.settle().0.before.is_empty());
    }

    /// The program was restarted and the store has forgotten the step's beginning: an object that
    /// is not known is not one that was not there.
    #[test]
    fn a_beginning_that_nobody_knows_is_neither_green_nor_unsaid() {
        let mut engine = compares_with_the_beginning(7);
        engine.settle();
        engine.observer.recorder.take_record(&Record::new(Event::Commit(Write::UPDATED)).revision(9), None);
        engine.knew_before("pods", Then::Gone);
        let (needs, _) = engine.settle();
        assert!(needs.before.is_empty(), "it is gone for good");
        assert_eq!(engine.open.as_ref().unwrap().outcome.unmet, Some(0));
        for (lang, words) in [("en", "no longer kept"), ("ko", "더 이상 보관되어 있지 않아")] {
            let notices = engine.view(lang).notices;
            assert!(notices.iter().any(|n| n.contains(words) && n.contains("`goto 1`")), "{notices:?}");
        }
        // A program that has seen the step begin knows what was there.
        let mut engine = compares_with_the_beginning(9);
        engine.observer.recorder.take_record(&Record::new(Event::Commit(Write::UPDATED)).revision(9), None);
        engine.knew_before("pods", Then::Gone);
        engine.settle();
        assert_eq!(engine.open.as_ref().unwrap().outcome.unmet, None);
    }

    /// A crash-looping pod was left alone overnight.
    #[test]
    fn a_history_with_a_gap_is_said_to_have_one() {
        let mut engine = compares_with_the_beginning(7);
        let open = engine.open.as_mut().unwrap();
        let source = "history('Pod','d','a').exists(h, h.verb == 'DELETED')";
        Arc::make_mut(&mut open.lesson).steps[0].checks[0].is =
            Expr::compile(source, Use::Check, &[]).unwrap();
        let told = |engine: &Engine| engine.view("en").notices.iter().any(|n| n.contains("`goto 1`"));
        engine.observer.recorder.keep_from(7, 7);
        engine.settle();
        assert!(!told(&engine));
        let key = ("pods".to_string(), "d".to_string(), "a".to_string());
        Arc::make_mut(&mut engine.observer.recorder.forgotten).note(key, 9, 0);
        engine.memo = Arc::default(); // nothing was asked before
        engine.settle();
        assert!(told(&engine));
        engine.observer.recorder.keep_from(12, 12); // `goto run` begins the step anew
        engine.settle();
        assert!(!told(&engine));
    }
}
