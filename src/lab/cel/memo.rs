//! What earlier evaluations of a step have found out, so that the next one looks at what is new
//! only.
//!
//! A narrowed list ([`super::compile::Narrow`]) is extended by the elements that came since it was
//! last asked for: each record and each version is tested once by each test, however often the
//! expression is evaluated. The truth of an expression is remembered together with the state of
//! everything it reads, and is not evaluated again before that has changed.
//!
//! Bounds: a narrowed list keeps at most [`KEPT_MAX`] elements, the newest; a truth takes some
//! bytes an expression. All of it is forgotten when a step begins.

use super::version::Version;
use cel::Value;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Elements that a narrowed list keeps. At the bound the oldest go.
pub(crate) const KEPT_MAX: usize = 5_000;

/// Within which what was found stays found: when it differs, everything is forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    pub since_step: i64,
    pub lesson_began: i64,
    pub epoch: u64,
}

#[derive(Default)]
pub(super) struct Narrowed {
    /// The first element that has not been tested: of the trace its number since the step began, of
    /// a history the version's number.
    pub next: u64,
    /// What passed, in order.
    pub kept: Arc<Vec<Value>>,
    /// Grows with every change of `kept`.
    pub generation: u64,
    /// Versions were renumbered or corrected since, so `next` is no longer right.
    pub renumbered: bool,
}

#[derive(Default)]
pub(super) struct Known {
    frame: Frame,
    pub narrowed: HashMap<u64, Narrowed>,
    truths: HashMap<u64, (Vec<u64>, Option<bool>)>,
    /// By the text of the expression.
    stopped: BTreeMap<String, String>,
    pub work: Work,
}

/// What evaluations have cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Elements that were tested, once for each narrowed list that they may belong to.
    pub tested: u64,
    /// Expressions that were evaluated.
    pub evaluated: u64,
}

/// What is remembered between the evaluations of one step.
#[derive(Default)]
pub(crate) struct Memo(Mutex<Known>);

impl std::fmt::Debug for Memo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memo({:?})", self.work())
    }
}

impl Memo {
    /// What is known in this frame. What was found out in another one is forgotten, but for the
    /// narrowed lists of the same step.
    pub(super) fn open(&self, frame: Frame) -> MutexGuard<'_, Known> {
        let mut known = self.0.lock();
        if known.frame != frame {
            let is_same_step = Frame { epoch: frame.epoch, ..known.frame } == frame;
            let Known { mut narrowed, work, .. } = std::mem::take(&mut *known);
            // Some of what passed may have no version any more, and cannot be found again.
            narrowed.values_mut().for_each(|list| list.renumbered = true);
            narrowed.retain(|_, _| is_same_step);
            *known = Known { frame, work, narrowed, ..Known::default() };
        }
        known
    }

    /// How much was tested and evaluated so far.
    pub(crate) fn work(&self) -> Work {
        self.0.lock().work
    }

    /// What an expression was (`None`: it failed) when everything it reads was as it is now.
    pub(crate) fn truth(&self, id: u64, frame: Frame, state: &[u64]) -> Option<Option<bool>> {
        self.open(frame).truths.get(&id).filter(|(of, _)| of == state).map(|(_, truth)| *truth)
    }

    /// Keeps what the expression `id` was in this state of all that it reads; `None`: it failed.
    pub(crate) fn note(&self, id: u64, frame: Frame, state: Vec<u64>, truth: Option<bool>) {
        self.open(frame).truths.insert(id, (state, truth));
    }

    /// Counts an evaluation, and keeps in mind whether it was stopped.
    pub(crate) fn note_evaluation(&self, frame: Frame, source: &str, stopped: Option<&str>) {
        let mut known = self.open(frame);
        known.work.evaluated += 1;
        match stopped {
            Some(why) => _ = known.stopped.insert(source.into(), why.into()),
            None => _ = known.stopped.remove(source),
        }
    }

    /// Expressions whose last evaluation was stopped, and why.
    pub(crate) fn stopped(&self) -> Vec<(String, String)> {
        let known = self.0.lock();
        known.stopped.iter().map(|(source, why)| (source.clone(), why.clone())).collect()
    }
}

/// An element of which only some are ever read whole.
pub(crate) enum Element {
    Record(Value),
    Version { of: Arc<Version>, verb: &'static str },
}

/// What came since a narrowed list was last extended.
pub(crate) struct Fresh {
    pub elements: Vec<Element>,
    pub next: u64,
    /// All of it is here: what was kept is to be replaced.
    pub anew: bool,
}

#[cfg(test)]
mod tests {
    use super::super::facts::{self, Facts, Line};
    use super::super::value::{self, text};
    use super::super::{Expr, Use};
    use super::*;
    use serde_json::json;

    fn check(source: &str) -> Expr {
        Expr::compile(source, Use::Check, &[]).unwrap()
    }

    fn record(user: &str, code: i64) -> Value {
        value::map([
            ("user", text(user)),
            ("own", Value::Bool(user == "learner")),
            ("verb", text("patch")),
            ("command", text("kubectl scale")),
            ("object", text("Deployment/default/web")),
            ("code", Value::Int(code)),
        ])
    }

    fn version(number: u64, verb: &'static str, replicas: i64) -> Arc<Version> {
        let body = json!({"spec": {"replicas": replicas}}).to_string().into();
        Arc::new(Version::new(number as i64, None, verb, body).numbered(number))
    }

    /// Two hundred commands of which each leaves some records and versions: every record is tested
    /// once by every test, not once a command.
    #[test]
    fn the_work_grows_with_what_is_new_and_not_with_what_there_is() {
        let exprs = [
            check("trace.exists(t, t.user == 'learner' && t.code == 409)"),
            check("trace.filter(t, t.own && t.code == 200).size() > 100000"),
            check("requests('patch', 'Deployment/default/web', 'scale').exists(t, t.code == 404)"),
            check(
                "history('Deployment','default','web').exists(h, h.verb == 'DELETED' && h.object.spec.replicas == 3)",
            ),
            check(
                "history('Deployment','default','*').exists(h, h.revision > since_step && h.object.spec.replicas == 77)",
            ),
        ];
        let memo: Arc<Memo> = Arc::default();
        let (mut trace, mut versions) = (vec![], vec![]);
        let mut last = Work::default();
        let mut each = vec![];
        for command in 0..200u64 {
            let new = 5;
            (0..new).for_each(|_| trace.push(record("learner", 200)));
            versions.push(version(command + 1, "MODIFIED", 10));
            let key = ("deployments".to_string(), "default".to_string(), "web".to_string());
            let facts = Facts {
                trace: Arc::new(trace.clone()),
                history: Arc::new([(key, Arc::new(versions.clone()))].into()),
                objects: [("deployments.apps".to_string(), Default::default())].into(),
                generations: [("deployments.apps".to_string(), command)].into(),
                versions: command + 1,
                memo: memo.clone(),
                ..Facts::default()
            };
            let facts = Arc::new(facts);
            for _ in 0..3 {
                assert!(exprs.iter().all(|e| !e.holds(&facts)));
            }
            let work = memo.work();
            each.push((work.tested - last.tested, work.evaluated - last.evaluated));
            last = work;
        }
        // Five records for three expressions, one version for two; each expression at most once,
        // though it was asked for three times.
        assert!(each.iter().all(|(tested, _)| *tested == 5 * 3 + 2), "{:?}", each.iter().max());
        assert!(each.iter().all(|(_, evaluated)| *evaluated <= 5), "{:?}", each.iter().max());
    }

    #[test]
    fn a_narrowed_list_answers_as_the_whole_one() {
        let objects = |facts: &mut Facts| {
            facts.objects.insert("pods".into(), Default::default());
        };
        let pod = |name: &str, number: u64, verb: &'static str, app: &str| {
            let body = json!({"metadata": {"name": name, "labels": {"app": app}}}).to_string().into();
            Arc::new(Version::new(number as i64, None, verb, body).numbered(number))
        };
        let mut facts = Facts { since_step: 3, lesson_began: 2, ..Facts::default() };
        objects(&mut facts);
        facts.trace = Arc::new(vec![record("learner", 200), record("system:x", 409), record("learner", 404)]);
        let key = |name: &str| ("pods".to_string(), "default".to_string(), name.to_string());
        let a = vec![pod("a", 1, "ADDED", "x"), pod("a", 2, "MODIFIED", "x"), pod("a", 5, "DELETED", "x")];
        let b = vec![pod("b", 4, "ADDED", "y")];
        facts.history = Arc::new([(key("a"), Arc::new(a)), (key("b"), Arc::new(b))].into());
        let facts = Arc::new(facts);
        for (source, truth) in [
            ("trace.exists(t, t.user == 'learner' && t.code == 409)", false),
            ("trace.exists(t, t.user == 'learner' && t.code == 404)", true),
            ("trace.exists(t, t.nothing == 1 || t.code == 404)", true),
            ("trace.filter(t, t.code >= 400).size() == 2", true),
            ("trace.exists_one(t, t.code == 404)", true),
            ("trace.all(t, t.code >= 200)", true),
            ("trace.all(t, t.code == 200)", false),
            ("trace.filter(t, t.own).map(t, t.code) == [200, 404]", true),
            ("last(trace.filter(t, t.own)).code == 404", true),
            ("requests('patch', 'Deployment').size() == 2", true),
            ("requests('patch', 'Deployment/default/*', 'apply, scale').size() == 2", true),
            ("requests('patch', 'Deployment/default/web', 'apply') == []", true),
            ("requests('get', 'Deployment').size() == 0", true),
            (
                "history('Pod','default','*').filter(h, h.revision > 0).map(h, h.verb) == ['WAS', 'ADDED', 'DELETED']",
                true,
            ),
            ("history('Pod','default','*')[0].verb == 'WAS'", true),
            (
                "history('Pod','default','a').exists(h, h.verb == 'DELETED' && h.object.metadata.labels.app == 'x')",
                true,
            ),
            (
                "history('Pod','default','a').exists(h, h.verb == 'DELETED' && trace.exists(t, t.code == 404 && h.revision == 5))",
                true,
            ),
            (
                "history('Pod','default','*').exists(h, get(h.object,'metadata.labels.app','') == 'y' && h.revision > since_step)",
                true,
            ),
            ("{} == get(trace[0], 'none', {})", true),
            ("[200] + trace.map(t, t.code) == [200, 200, 409, 404]", true),
            ("max([1, 3, 2]) == 3 && 'learner' in trace.map(t, t.user)", true),
            (
                "get(before('Pod','default','a'),'metadata.name','') == 'a' && before('Pod','default','b') == {}",
                true,
            ),
        ] {
            // The second time it is remembered, and the list is not extended twice.
            for _ in 0..2 {
                assert_eq!(check(source).value(&facts, &[]), Ok(Value::Bool(truth)), "{source}");
            }
            let expr = check(source);
            assert!((0..3).all(|_| expr.holds(&facts) == truth), "{source}");
        }
        // An error is no verdict on an element: the whole expression has it.
        for source in ["trace.exists(t, t.nothing == 1 && t.user != '')", "trace.all(t, t.nothing == 1)"] {
            assert!(check(source).value(&facts, &[]).is_err() && !check(source).holds(&facts), "{source}");
        }
    }

    /// An undo tells its commits late, and the first versions of a step are gone by then.
    #[test]
    fn what_was_found_in_a_history_outlives_a_renumbering() {
        let key = || ("pods".to_string(), "default".to_string(), "a".to_string());
        let pod = |revision: i64, number: u64, phase: &str| {
            let metadata = json!({"namespace": "default", "name": "a"});
            let body = json!({"metadata": metadata, "status": {"phase": phase}}).to_string().into();
            Arc::new(Version::new(revision, None, "MODIFIED", body).numbered(number))
        };
        let memo: Arc<Memo> = Arc::default();
        let facts = |versions: Vec<Arc<Version>>, epoch: u64, is_gone: bool, memo: &Arc<Memo>| {
            let mut forgotten = facts::Forgotten::default();
            if is_gone {
                forgotten.note(key(), 4, 1);
            }
            Arc::new(Facts {
                since_step: 3,
                lesson_began: 3,
                epoch,
                versions: versions.last().map_or(0, |v| v.number),
                history: Arc::new([(key(), Arc::new(versions))].into()),
                objects: [("pods".to_string(), Default::default())].into(),
                forgotten: Arc::new(forgotten),
                memo: memo.clone(),
                ..Facts::default()
            })
        };
        let failed = "history('Pod','default','a').filter(h, h.object.status.phase == 'Failed')";
        let expr = check(&format!("{failed}.map(h, h.revision) == [4, 6]"));
        assert!(!expr.holds(&facts(vec![pod(4, 1, "Failed"), pod(7, 2, "Running")], 0, false, &memo)));
        let late = || vec![pod(6, 3, "Failed"), pod(7, 4, "Running")];
        assert!(expr.holds(&facts(late(), 1, true, &memo)), "4 was found when it was there");
        let corrected = vec![pod(6, 3, "Running"), pod(7, 4, "Running")];
        assert!(!expr.holds(&facts(corrected, 2, true, &memo)), "6 is not what it was taken for");
        // An expression that was not evaluated before cannot know, and says so.
        let told = expr.value(&facts(late(), 1, true, &Arc::default()), &[]);
        assert!(told.as_ref().is_err_and(|why| why.starts_with(facts::UNKNOWN)), "{told:?}");
    }

    /// The watch that tells of the pod begins after the request.
    #[test]
    fn what_a_selector_took_away_is_known_once_the_object_is() {
        let expr = check("trace.exists(t, t.own && removes(t, 'Pod/default/web'))");
        let fields = [("verb", "deletecollection"), ("object", "Pod/default/*"), ("labels", "app=web")];
        let asked = fields
            .into_iter()
            .fold(record("learner", 200), |record, (name, to)| value::with(&record, name, text(to)));
        let memo: Arc<Memo> = Arc::default();
        let holds = |versions: Vec<Arc<Version>>| {
            let key = ("pods".to_string(), "default".to_string(), "web".to_string());
            expr.holds(&Arc::new(Facts {
                trace: Arc::new(vec![asked.clone()]),
                versions: versions.len() as u64,
                history: Arc::new([(key, Arc::new(versions))].into()),
                memo: memo.clone(),
                ..Facts::default()
            }))
        };
        let metadata = json!({"namespace": "default", "name": "web", "labels": {"app": "web"}});
        let body = json!({"kind": "Pod", "metadata": metadata}).to_string().into();
        let version = Arc::new(Version::new(1, None, "ADDED", body).numbered(1));
        assert_eq!([holds(vec![]), holds(vec![version])], [false, true]);
    }

    #[test]
    fn a_truth_is_forgotten_when_what_it_reads_changes() {
        let expr = check("requests('patch', 'Deployment').size() == 1 && ran.exists(r, r.code == 0)");
        let memo: Arc<Memo> = Arc::default();
        let holds = |records: usize, code: i32, since_step: i64| {
            let trace = Arc::new(vec![record("learner", 200); records]);
            let ran = vec![Line { line: "kubectl get pods".into(), code, ..Line::default() }];
            let ran = if code < 0 { vec![] } else { ran };
            let lines = (0, ran.len() as u64);
            expr.holds(&Arc::new(Facts {
                trace,
                ran,
                lines,
                since_step,
                memo: memo.clone(),
                ..Facts::default()
            }))
        };
        assert_eq!(
            [holds(0, 0, 1), holds(1, -1, 1), holds(1, 0, 1), holds(2, 0, 1)],
            [false, false, true, false]
        );
        assert!(holds(1, 0, 2), "another step has a trace of its own");
        // Of the lines the newest are kept: that one has come is seen from their number, not from
        // how many are left.
        let expr = check("ran.exists(r, r.code == 0)");
        let memo: Arc<Memo> = Arc::default();
        let kept = |code: i32, all: u64| {
            let ran = vec![Line { line: "kubectl get pods".into(), code, ..Line::default() }; 200];
            expr.holds(&Arc::new(Facts { ran, lines: (0, all), memo: memo.clone(), ..Facts::default() }))
        };
        assert_eq!([kept(1, 200), kept(0, 201)], [false, true]);
    }
}
