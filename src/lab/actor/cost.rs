//! What a question would take from the learner, before it is done.

use super::{Actor, steps};
use crate::cluster::undo::{Loss, Moment, Past, losses};
use crate::lab::format::Lesson;
use crate::lab::run;
use crate::lab::view::Ask;
use std::collections::BTreeSet;

/// Names of a lesson are at least this long; shorter words of its lines (`-f`, `a`) are none.
const NAME_MIN: usize = 3;

impl Actor {
    /// Objects that the learner made or changed beside the lesson, and that the question would remove or change back.
    pub(super) async fn cost(&mut self, ask: &Ask, lang: &str) -> Vec<Loss> {
        match ask {
            Ask::Open { id } | Ask::Check { id: Some(id) } | Ask::Solve { id: Some(id) } => {
                self.cost_of_opening(id).await
            }
            Ask::Next => match self.follower(lang) {
                Some(id) => self.cost_of_opening(&id).await,
                None => vec![],
            },
            Ask::Goto { step } => self.cost_of_going(step, lang).await,
            _ => vec![],
        }
    }

    /// How a learner says that a question is meant.
    pub(super) fn consent(&mut self, ask: &Ask, lang: &str) -> String {
        match ask {
            Ask::Goto { step } => format!("goto {step} --yes"),
            Ask::Open { id } | Ask::Check { id: Some(id) } | Ask::Solve { id: Some(id) } => {
                format!("lesson {id} --yes")
            }
            _ => format!("lesson {} --yes", self.follower(lang).unwrap_or_else(|| "ID".into())),
        }
    }

    /// The lesson that `next` would open.
    fn follower(&mut self, lang: &str) -> Option<String> {
        match self.opened(lang) {
            Ok((lesson, step)) if step + 1 < lesson.steps.len() => None,
            Ok((lesson, _)) => self.engine.library.after(&lesson.id).map(|l| l.id.clone()),
            Err(_) => {
                let unfinished =
                    self.engine.list(lang).into_iter().find(|e| e.done + e.cannot.len() < e.steps);
                unfinished.map(|e| e.id)
            }
        }
    }

    /// What the setup of a lesson would delete, except what lessons that were begun have made.
    async fn cost_of_opening(&mut self, id: &str) -> Vec<Loss> {
        let Some(lesson) = self.engine.library.find(id, self.track().as_deref()).cloned() else {
            return vec![];
        };
        // On a cluster of somebody else's a lesson has a namespace of its own.
        if !self.engine.offers.own || !self.wants_setup(&lesson.id) {
            return vec![];
        }
        let begun = self.engine.library.lessons.iter();
        let begun = begun.filter(|l| self.engine.progress.lessons.get(&l.id).is_some_and(|p| p.began > 0));
        let own: BTreeSet<String> = begun.flat_map(names).collect();
        let mut lost = Vec::new();
        for line in &lesson.setup {
            for loss in self.teacher.would_delete(line, &self.engine.recorder.room).await {
                if !belongs(&own, &loss.name) && !lost.contains(&loss) {
                    lost.push(loss);
                }
            }
        }
        lost
    }

    /// What the rewind to the beginning of a step would take, beyond what belongs to the lesson itself.
    async fn cost_of_going(&mut self, word: &str, lang: &str) -> Vec<Loss> {
        let (id, step) = steps::parts(word);
        let lesson = match id {
            Some(id) => self.engine.library.find(id, self.track().as_deref()).cloned(),
            None => self.opened(lang).ok().map(|(lesson, _)| (*lesson).clone()),
        };
        let Some(lesson) = lesson else { return vec![] };
        let mut lost = match id {
            Some(id) => self.cost_of_opening(id).await,
            None => vec![],
        };
        let Ok(to) = steps::named(&lesson, step, lang) else { return lost };
        let since = self.engine.progress.look(&lesson.id, &lesson.steps[to].id).map_or(0, |s| s.since);
        if since == 0 {
            return lost;
        }
        let rewind = Past::Rewind { to: Moment::Revision(since) };
        // What cannot be planned cannot be done either.
        let plan = self.host.past(Past::Plan { of: Box::new(rewind) }).await.unwrap_or_default();
        let own = names(&lesson);
        lost.extend(losses(&plan).into_iter().filter(|loss| !belongs(&own, &loss.name)));
        lost
    }
}

/// An object of the lesson, or one that carries its name in front, as a Deployment's ReplicaSets do.
fn belongs(own: &BTreeSet<String>, name: &str) -> bool {
    let before = name.match_indices('-').map(|(at, _)| &name[..at]);
    std::iter::once(name).chain(before).any(|part| own.contains(part))
}

/// Words of a lesson that may be names of objects: of its setup, its solutions, other ways and wrong answers, and of its expressions.
fn names(lesson: &Lesson) -> BTreeSet<String> {
    let mut texts: Vec<&str> = lesson.setup.iter().map(String::as_str).collect();
    for step in &lesson.steps {
        let lines = step.solution.iter().chain(step.also.iter().flatten());
        texts.extend(lines.chain(step.wrong.iter().flat_map(|w| &w.lines)).map(String::as_str));
    }
    let exprs = lesson.exprs();
    texts.extend(exprs.iter().flat_map(|e| &e.strings).map(String::as_str));
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let words = texts.into_iter().flat_map(|text| text.split(move |c| !is_part(c)));
    // A word of kubectl's is no name, but nobody calls an object `create` either.
    words.map(|w| w.trim_matches(['-', '.'])).filter(|w| w.len() >= NAME_MIN).map(String::from).collect()
}

impl run::Teacher {
    /// The objects that a line of a setup would delete now.
    async fn would_delete(&self, line: &str, room: &crate::cluster::guest::Room) -> Vec<Loss> {
        let line = crate::lab::reach::line(line.trim_start_matches('-').trim_start(), room);
        let Some(mut words) = shlex::split(&line) else { return vec![] };
        let Some(at) = words.iter().position(|w| w == "delete").filter(|at| *at <= 1) else { return vec![] };
        words[at] = "get".into();
        if at == 0 {
            words.insert(0, "kubectl".into());
        }
        let is_deletions = |w: &String| {
            let flag = w.split('=').next().unwrap_or_default();
            matches!(
                flag,
                "--now" | "--force" | "--wait" | "--grace-period" | "--cascade" | "--all" | "--timeout"
            )
        };
        words.retain(|w| !is_deletions(w));
        words.extend(["--ignore-not-found".into(), "-o".into(), "json".into()]);
        let ran = run::kubectl(words, String::new(), &self.kubeconfig, run::LINE_MAX).await;
        let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
        let items = match found["items"].as_array() {
            Some(items) => items.clone(),
            None if found.is_object() => vec![found],
            None => vec![],
        };
        let loss = |object: &serde_json::Value| {
            let part = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_string();
            let kind = object["kind"].as_str().unwrap_or_default();
            let plural = crate::lab::cel::facts::kind(kind).map_or(kind, |k| k.plural);
            Loss { resource: plural.into(), namespace: part("namespace"), name: part("name"), removed: true }
        };
        // What a controller made goes with its owner, which is in the list or stays.
        let owned = |object: &serde_json::Value| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|all| all.iter().any(|o| o["controller"] == true))
        };
        items.iter().filter(|o| !owned(o)).map(loss).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::format::Library;

    #[test]
    fn what_a_lesson_names_is_its_own_and_nothing_else() {
        let library = Library::built_in();
        let of = |id: &str| names(library.get(id).unwrap());
        let services = of("first-voyage/07");
        for name in ["pod-svc", "nginx-pod"] {
            assert!(belongs(&services, name), "{name}");
        }
        let deployments = of("first-voyage/11");
        assert!(belongs(&deployments, "dpy-nginx-657f4db74") && belongs(&deployments, "dpy-nginx"));
        for name in ["mine", "web", "web-1", "my-web"] {
            assert!(!belongs(&deployments, name), "{name}");
        }
        assert!(belongs(&of("first-voyage/12"), "web"));
    }
}
