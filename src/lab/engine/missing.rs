//! Objects that a step needs and that are missing. An earlier step or the setup made them, the
//! learner has deleted them, and the step can only be done when they are back: that is said, with
//! the step whose beginning still had them.
//!
//! Example: lesson 12 makes the Deployment `web` in its first step. The learner deletes it while
//! the last step is open, whose check asks for its replicas and whose solution does not make it. So
//! the step says that the Deployment web is gone, and that `goto 5` brings it back. Where a step
//! began without it, `goto` plays what made it once more ([`remake`]).

use super::Engine;
use crate::cel::facts;
use crate::format::{Lesson, Step};
use crate::lines::{objects, without_shell};
use crate::view::State;
use crate::words::{self, Word};
use api::kinds::Kind;
use std::collections::BTreeSet;

/// An object that a step needs, and that it neither makes nor ends itself.
pub(crate) struct Needed {
    /// The kind as the check writes it.
    pub written: String,
    pub kind: &'static Kind,
    pub namespace: String,
    pub name: String,
}

impl Needed {
    /// As lessons call it.
    pub(crate) fn key(&self) -> String {
        objects::key(&self.kind.qualified(), &self.namespace, &self.name)
    }
}

/// The objects on which a step builds.
pub(crate) fn needed_by(step: &Step) -> Vec<Needed> {
    let asked = step.answer.iter().flat_map(|answer| &answer.is.needed);
    let needed = step.checks.iter().flat_map(|check| &check.is.needed).chain(asked);
    let ended: Vec<_> = step.checks.iter().flat_map(|check| &check.is.absent).collect();
    let own_work = objects::made_or_deleted(&step.solution);
    let known = needed.filter(|object| !ended.contains(object)).filter_map(|(kind, namespace, name)| {
        let (written, namespace, name) = (kind.clone(), namespace.clone(), name.clone());
        Some(Needed { kind: facts::kind(kind)?, written, namespace, name })
    });
    known.filter(|object| !own_work.contains(&object.key())).collect()
}

/// What is played to make objects of a step again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Remake {
    /// Lines of the setup, and the solutions of steps, in order.
    pub played: Vec<Vec<String>>,
    /// Steps that make one of the objects and that only the learner's shell can play.
    pub left: Vec<usize>,
}

/// What makes these objects again: the steps before `to`, from the last one on that makes one of
/// them. What no step makes was made by the setup; then all begins there. `can`: whether this
/// cluster can do a step.
///
/// Example: lesson 06 has a setup that makes the Deployment `dpy-nginx`, and its first step scales
/// it. The second step needs it: so the setup is played, and the first step.
pub(crate) fn remake(
    lesson: &Lesson,
    to: usize,
    gone: &BTreeSet<String>,
    can: impl Fn(&Step) -> bool,
) -> Remake {
    let makes = |lines: &[String]| objects::made(lines).iter().any(|key| gone.contains(key));
    // What its own setup makes is there when the step begins.
    let prepared = lesson.steps.get(to).map(|step| objects::made(&step.setup)).unwrap_or_default();
    let makers = gone.difference(&prepared).map(|key| {
        let is_maker = |at: &usize| objects::made(&lesson.steps[*at].whole()).contains(key);
        (0..to).rev().find(is_maker)
    });
    let makers: Vec<Option<usize>> = makers.collect();
    let (from, mut remake) = match makers.iter().any(Option::is_none) {
        true => (0, Remake { played: vec![lesson.setup.clone()], left: vec![] }),
        false => (makers.into_iter().flatten().min().unwrap_or(to), Remake::default()),
    };
    for (at, step) in lesson.steps.iter().enumerate().take(to).skip(from).filter(|(_, step)| can(step)) {
        let lines = step.whole();
        match without_shell::needs_shell(&lines) {
            false => remake.played.push(lines),
            true if makes(&lines) => remake.left.push(at),
            true => {}
        }
    }
    remake.played.retain(|lines| !lines.is_empty());
    remake
}

impl Engine {
    /// Names the objects that the open step needs, that lessons made, and that are gone; with the
    /// step to go to.
    pub(crate) fn missing_objects(&self, lang: &str) -> Option<String> {
        let (open, step) = self.current()?;
        if self.state() != State::Open {
            return None;
        }
        let place = |object: &Needed| (object.namespace.clone(), object.name.clone());
        let is_gone = |object: &Needed| match self.observer.objects.get(&object.kind.qualified()) {
            Some(all) if self.observer.is_current(&object.kind.qualified()) => {
                !all.contains_key(&place(object))
            }
            // The watch has not reported yet, or not the newest write, which may have made the
            // object again: what a look found when the step was opened.
            _ => open.gone.contains(&object.key()),
        };
        let gone: Vec<Needed> =
            needed_by(step).into_iter().filter(|object| is_gone(object) && self.is_made(object)).collect();
        let keys: BTreeSet<String> = gone.iter().map(Needed::key).collect();
        let remake = remake(&open.lesson, open.step, &keys, |step| self.lacks(&open.lesson, step).is_none());
        let is_playable = !remake.played.is_empty() && remake.left.is_empty();
        let (mut names, mut back) = (Vec::new(), open.step);
        for object in &gone {
            let told = format!("{} {}", object.kind.kind, object.name);
            if !names.contains(&told) {
                names.push(told);
            }
            let had = |at: &usize| {
                let since = open.lesson.steps.get(*at).map_or(0, |s| self.since_of(&open.lesson.id, &s.id));
                since > 0
                    && self
                        .observer
                        .recorder
                        .objects_at(object.kind.plural, since)
                        .contains_key(&place(object))
            };
            // This step, if it began with it, or if it can be made again on the way. Else the
            // nearest step that did; where the history does not tell, the first one plays the
            // setup's part.
            if !is_playable {
                back = back.min((0..=open.step).rev().find(had).unwrap_or(0));
            }
        }
        let with = [names.join(", "), (back + 1).to_string()];
        (!names.is_empty()).then(|| words::say(lang, Word::BaseGone, &with.each_ref().map(String::as_str)))
    }

    /// Returns whether a lesson has made the object. What was never there is not gone.
    pub(crate) fn is_made(&self, object: &Needed) -> bool {
        let namespace = self.observer.recorder.scope.real_name(&object.namespace);
        self.progress.is_made(&objects::key(&object.kind.qualified(), namespace, &object.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Library;
    use std::collections::BTreeSet;

    /// Objects that a step of a built-in lesson needs and does not make or end itself.
    fn needs(lesson: &str, step: &str) -> BTreeSet<String> {
        let library = Library::built_in();
        let lesson = library.find(lesson, None).unwrap();
        needed_by(&lesson.steps[lesson.step(step).unwrap()]).iter().map(Needed::key).collect()
    }

    #[test]
    fn what_a_step_makes_or_ends_itself_is_not_needed_by_it() {
        let web = BTreeSet::from(["deployments.apps/default/web".to_string()]);
        assert_eq!(needs("first-voyage/12", "diff"), web, "a trial is of something");
        assert_eq!(needs("first-voyage/12", "typo"), web);
        let deployment = BTreeSet::from(["deployments.apps/default/dpy-nginx".to_string()]);
        assert_eq!(needs("first-voyage/05", "chain"), deployment);
        let door = ["pods/default/nginx-pod", "services/default/pod-svc"].map(String::from);
        assert_eq!(needs("first-voyage/08", "curl"), BTreeSet::from(door), "backends() needs its Service");
        for (lesson, step) in [
            ("first-voyage/05", "create"),
            ("first-voyage/10", "bare"),
            ("first-voyage/11", "orphan"),
            ("first-voyage/11", "adopt"),
        ] {
            assert_eq!(needs(lesson, step), BTreeSet::new(), "{lesson} {step}");
        }
        let pod = BTreeSet::from(["pods/default/nginx-pod".to_string()]);
        assert_eq!(needs("first-voyage/09", "close"), pod, "the Service is what it deletes");
        assert_eq!(needs("first-voyage/09", "inside"), pod);
        // Its solution writes the manifests to a file, and applies the file.
        let shop = ["deployments.apps/default/db", "services/default/db"].map(String::from);
        assert!(needs("first-voyage/20", "db").is_disjoint(&BTreeSet::from(shop)));
    }

    #[test]
    fn the_steps_from_the_last_one_that_makes_an_object_are_played_again() {
        let library = Library::built_in();
        let find = |id: &str| library.find(id, None).unwrap();
        let gone = |key: &str| BTreeSet::from([key.to_string()]);
        let pod = gone("pods/default/nginx-pod");
        let lesson = find("first-voyage/04");
        let all = remake(lesson, 2, &pod, |_| true);
        assert_eq!(all.played[0], ["kubectl run nginx-pod --image=nginx"], "the step, and no setup");
        assert!(all.left.is_empty());
        let none = remake(lesson, 2, &pod, |step| step.id != "run");
        assert!(none.played.iter().flatten().all(|line| !line.contains("run nginx-pod")));
        // Only the setup makes it; the step before is played on top of it.
        let lesson = find("first-voyage/06");
        let all = remake(lesson, 1, &gone("deployments.apps/default/dpy-nginx"), |_| true);
        assert_eq!(all.played, [lesson.setup.clone(), lesson.steps[0].solution.clone()]);
        // What only a shell can make is left to the learner.
        let lesson = find("first-voyage/12");
        let all = remake(lesson, 4, &gone("deployments.apps/default/web"), |_| true);
        assert_eq!(all.left, [0], "{all:?}");
        assert!(remake(lesson, 4, &BTreeSet::new(), |_| true).played.is_empty(), "nothing is gone");
        let all = remake(find("first-voyage/20"), 2, &gone("deployments.apps/default/db"), |_| true);
        let db = find("first-voyage/20").steps[1].whole();
        assert_eq!(all, Remake { played: vec![db], left: vec![] }, "the text of the file is known");
    }

    /// Its own setup makes it when it begins; an earlier step's setup is played with the step.
    #[test]
    fn what_a_setup_of_a_step_makes_is_made_by_the_step() {
        let library = Library::built_in();
        let mut lesson = library.find("first-voyage/04", None).unwrap().clone();
        let line = "-kubectl create configmap extra";
        let extra = BTreeSet::from(["configmaps/default/extra".to_string()]);
        lesson.steps[1].setup = vec![line.into()];
        assert_eq!(remake(&lesson, 1, &extra, |_| true), Remake::default());
        assert_eq!(remake(&lesson, 2, &extra, |_| true).played[0], lesson.steps[1].whole());
    }
}
