//! What a step builds on and is no longer there. An earlier step or the setup made it, the learner
//! has deleted it, and the step can only be done when it is back: that is said, with the step whose
//! beginning still had it.
//!
//! Example: lesson 12 makes the Deployment `web` in its first step. The learner deletes it while
//! the last step is open, whose check asks for its replicas and whose solution does not make it. So
//! the step says that deployments/web is gone, and that `goto typo` brings it back.

use super::cel::facts;
use super::engine::Engine;
use super::own;
use super::view::State;
use super::words::{self, Word};

impl Engine {
    /// Names the objects that the open step needs, that lessons made, and that are gone; with the
    /// step to go to.
    pub(crate) fn missing_base(&self, lang: &str) -> Option<String> {
        let (open, step) = self.current()?;
        if self.state() != State::Open {
            return None;
        }
        let asked = step.answer.iter().flat_map(|answer| &answer.is.needed);
        let needed = step.checks.iter().flat_map(|check| &check.is.needed).chain(asked);
        let ended: Vec<_> = step.checks.iter().flat_map(|check| &check.is.absent).collect();
        let own_work = own::named(&step.solution);
        let (mut names, mut back) = (Vec::new(), open.step);
        for object in needed.filter(|object| !ended.contains(object)) {
            let (kind, namespace, name) = object;
            let Some(kind) = facts::kind(kind) else { continue };
            let key = |namespace: &str| own::key(&kind.qualified(), namespace, name);
            let place = (namespace.clone(), name.clone());
            let is_gone = self.objects.get(&kind.qualified()).is_some_and(|all| !all.contains_key(&place));
            if !is_gone
                || own_work.contains(&key(namespace))
                || !self.progress.is_made(&key(self.recorder.room.real(namespace)))
            {
                continue;
            }
            let told = format!("{}/{name}", kind.plural);
            if !names.contains(&told) {
                names.push(told);
            }
            let had = |at: &usize| {
                let since = open.lesson.steps.get(*at).map_or(0, |s| self.since_of(&open.lesson.id, &s.id));
                since > 0 && self.recorder.objects_at(kind.plural, since).contains_key(&place)
            };
            // The nearest step that began with it; where the history does not tell, the first one
            // plays the setup's part.
            back = back.min((0..=open.step).rev().find(had).unwrap_or(0));
        }
        let to = open.lesson.steps.get(back)?;
        let with = [names.join(", "), to.id.clone()];
        (!names.is_empty()).then(|| words::say(lang, Word::BaseGone, &with.each_ref().map(String::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::Library;
    use super::*;
    use std::collections::BTreeSet;

    /// Objects that a step of a built-in lesson needs and does not make or end itself.
    fn needs(lesson: &str, step: &str) -> BTreeSet<String> {
        let library = Library::built_in();
        let lesson = library.find(lesson, None).unwrap();
        let step = &lesson.steps[lesson.step(step).unwrap()];
        let ended: Vec<_> = step.checks.iter().flat_map(|c| &c.is.absent).collect();
        let own_work = own::named(&step.solution);
        let needed = step.checks.iter().flat_map(|c| &c.is.needed).filter(|o| !ended.contains(o));
        let keys = needed.filter_map(|(kind, ns, name)| {
            Some(own::key(&facts::kind(kind)?.qualified(), ns, name)).filter(|key| !own_work.contains(key))
        });
        keys.collect()
    }

    #[test]
    fn what_a_step_makes_or_ends_itself_is_no_base_of_it() {
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
    }
}
