//! A built-in lab in a cluster that has nothing but what a test puts there.

use super::{BEGAN, snapshot};
use crate::cel::facts::{Facts, Probe};
use crate::cel::value;
use crate::cel::version::Version;
use crate::cel::{Expr, Template, Use};
use crate::graded::read::{Hint, Lab, Labs};
use cel::Value;
use cluster::guest::Inside;
use serde_json::{Map, Value as Json};
use std::sync::{Arc, LazyLock};

static LABS: LazyLock<Arc<Labs>> = LazyLock::new(Labs::built_in);

/// A built-in lab with its values, and the facts that it looks at. The kinds that it names are
/// watched; there is no object of them until a test adds one.
pub(crate) struct BuiltIn {
    lab: &'static Lab,
    /// What it has drawn.
    pub values: Map<String, Json>,
    facts: Facts,
}

impl BuiltIn {
    /// The lab with these values and no others.
    pub(crate) fn given(lab: &str, values: &Json) -> BuiltIn {
        BuiltIn::new(lab, |_| values.as_object().unwrap().clone())
    }

    /// The lab with what it draws from a seed.
    pub(crate) fn seed(lab: &str, seed: u64) -> BuiltIn {
        BuiltIn::new(lab, |lab| lab.variant(seed).unwrap())
    }

    /// The lab with what it draws from the first seed that draws this fault.
    pub(crate) fn with_fault(lab: &str, fault: &str) -> BuiltIn {
        let is_meant = |values: &Map<String, Json>| values.get("fault").is_some_and(|it| it == fault);
        BuiltIn::new(lab, |lab| (0..1000).map(|seed| lab.variant(seed).unwrap()).find(is_meant).unwrap())
    }

    fn new(lab: &str, values: impl FnOnce(&Lab) -> Map<String, Json>) -> BuiltIn {
        let lab = LABS.labs.iter().find(|it| it.id == lab).unwrap();
        let built_in = BuiltIn { lab, values: values(lab), facts: Facts::default() };
        let named: Vec<&str> = lab.exprs().flat_map(|expr| &expr.kinds).map(String::as_str).collect();
        built_in.watch(&named)
    }

    /// These kinds are watched, too. A name that is no kind's is passed over.
    pub(crate) fn watch(mut self, kinds: &[&str]) -> BuiltIn {
        snapshot::watch(&mut self.facts, kinds.iter().copied());
        self
    }

    /// Another value than it has drawn.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Json>) -> BuiltIn {
        self.values.insert(name.into(), value.into());
        self
    }

    /// Its clock was started at the revision [`BEGAN`].
    pub(crate) fn begun(mut self) -> BuiltIn {
        (self.facts.since_step, self.facts.lesson_began) = (BEGAN, BEGAN);
        self
    }

    /// These objects there are.
    pub(crate) fn now(mut self, objects: Vec<Json>) -> BuiltIn {
        objects.into_iter().for_each(|object| snapshot::put(&mut self.facts, object));
        self
    }

    /// These objects were added at this revision, but for those of which there are versions
    /// already.
    pub(crate) fn added(mut self, revision: i64, objects: &[Json]) -> BuiltIn {
        for object in objects {
            let version = snapshot::version(object, revision, "ADDED");
            snapshot::put_only_version(&mut self.facts, object, version);
        }
        self
    }

    /// The clock has started, when these objects were there, and these there are now: what was not
    /// there is new.
    pub(crate) fn changed(self, then: &[Json], now: Vec<Json>) -> BuiltIn {
        self.begun().added(5, then).added(BEGAN + 1, &now).now(now)
    }

    /// The versions of an object, oldest first.
    pub(crate) fn versions(mut self, object: &Json, versions: Vec<Version>) -> BuiltIn {
        snapshot::put_versions(&mut self.facts, object, versions);
        self
    }

    /// The network answers a question.
    pub(crate) fn answer(mut self, probe: Probe, answer: Value) -> BuiltIn {
        self.facts.answers.insert(probe, answer);
        self
    }

    /// This is broken on purpose.
    pub(crate) fn broken(self, faults: &Json) -> BuiltIn {
        self.answer(Probe::Inside(Inside::Faults), value::of_json(faults))
    }

    fn facts(mut self) -> Arc<Facts> {
        self.facts.variant = Some(value::of_json(&Json::Object(self.values)));
        Arc::new(self.facts)
    }

    /// The ids of the hints whose condition is true.
    pub(crate) fn hints(self) -> Vec<String> {
        self.hints_of(|_| true)
    }

    /// The ids of the hints of one tier whose condition is true.
    pub(crate) fn hints_at(self, tier: u8) -> Vec<String> {
        self.hints_of(|hint| hint.tier == tier)
    }

    fn hints_of(self, is_meant: impl Fn(&Hint) -> bool) -> Vec<String> {
        let (lab, facts) = (self.lab, self.facts());
        let is_told =
            |hint: &&Hint| is_meant(hint) && hint.when.as_ref().is_some_and(|when| when.holds(&facts));
        lab.hints.iter().filter(is_told).map(|hint| hint.id.clone()).collect()
    }

    /// Whether it tells this hint, which it does not always.
    pub(crate) fn tells(self, hint: &str) -> bool {
        let hint = self.lab.hints.iter().find(|it| it.id == hint).unwrap();
        hint.when.as_ref().unwrap().holds(&self.facts())
    }

    /// What a hint says that names no value of the variant outside of its expressions.
    pub(crate) fn says(self, hint: &str, lang: &str) -> String {
        let hint = self.lab.hints.iter().find(|it| it.id == hint).unwrap();
        let text = Template::compile(hint.say.get(lang), Use::Hint, &[]).unwrap();
        text.render(&self.facts(), &[]).unwrap()
    }

    /// Whether it meets all checks of this task.
    pub(crate) fn meets(self, task: &str) -> bool {
        let task = self.lab.tasks.iter().find(|it| it.id == task).unwrap();
        let facts = self.facts();
        task.checks.iter().all(|(_, check)| check.holds(&facts))
    }

    /// Whether an expression holds that is a part of one of the lab's.
    pub(crate) fn holds(self, part: &Expr) -> bool {
        part.holds(&self.facts())
    }
}
