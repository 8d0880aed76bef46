//! What a question would take from the learner, before it is done.

use super::{Actor, steps};
use crate::cluster::undo::{Loss, Moment, Past, losses};
use crate::lab::own;
use crate::lab::run;
use crate::lab::view::Ask;
use std::collections::BTreeSet;

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

    /// What the setup of a lesson would delete or change, except what lessons have made.
    async fn cost_of_opening(&mut self, id: &str) -> Vec<Loss> {
        let Some(lesson) = self.engine.library.find(id, self.track().as_deref()).cloned() else {
            return vec![];
        };
        // On a cluster of somebody else's a lesson has a namespace of its own.
        if !self.engine.offers.own || !self.wants_setup(&lesson.id) {
            return vec![];
        }
        let mut lost: Vec<Loss> = Vec::new();
        for line in &lesson.setup {
            let room = &self.engine.recorder.room;
            let mut found = self.teacher.would_delete(line, room).await;
            found.extend(self.teacher.would_change(line, room).await);
            for loss in found {
                let known = lost.iter().any(|l| {
                    (&l.resource, &l.namespace, &l.name) == (&loss.resource, &loss.namespace, &loss.name)
                });
                if !known && !self.is_lessons(&loss, &BTreeSet::new()) {
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
        let named = own::names(&lesson);
        lost.extend(losses(&plan).into_iter().filter(|loss| !self.is_lessons(loss, &named)));
        lost
    }

    /// Has a lesson made it, or a controller from what a lesson has made? Or is it a part of the cluster that the lesson, by these names, is about?
    fn is_lessons(&self, loss: &Loss, named: &BTreeSet<String>) -> bool {
        let made = |resource: &str, name: &str| {
            self.engine.progress.is_made(&own::key(resource, &loss.namespace, name))
        };
        made(&loss.resource, &loss.name)
            || own::owners(&loss.resource, &loss.name).iter().any(|(resource, name)| made(resource, name))
            || loss.namespace == "kube-system" && named.contains(&loss.name)
    }
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
        // What a controller made goes with its owner, which is in the list or stays.
        let owned = |object: &serde_json::Value| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|all| all.iter().any(|o| o["controller"] == true))
        };
        items.iter().filter(|o| !owned(o)).map(|o| loss(o, true)).collect()
    }

    /// The object that a line of a setup would make different from what it is now.
    async fn would_change(&self, line: &str, room: &crate::cluster::guest::Room) -> Vec<Loss> {
        let line = crate::lab::reach::line(line.trim_start_matches('-').trim_start(), room);
        let Some(mut words) = shlex::split(&line) else { return vec![] };
        if words.first().is_some_and(|w| w != "kubectl") {
            words.insert(0, "kubectl".into());
        }
        if !words.get(1).is_some_and(|verb| CHANGES.contains(&verb.as_str())) {
            return vec![];
        }
        words.extend(["--dry-run=server".into(), "-o".into(), "json".into()]);
        let ran = run::kubectl(words, String::new(), &self.kubeconfig, run::LINE_MAX).await;
        let Ok(then) = serde_json::from_str::<serde_json::Value>(&ran.stdout) else { return vec![] };
        let told = loss(&then, false);
        let get = ["kubectl", "get", &told.resource, &told.name, "-n", &told.namespace, "-o", "json"];
        let get = get.iter().map(ToString::to_string).collect();
        let ran = run::kubectl(get, String::new(), &self.kubeconfig, run::LINE_MAX).await;
        let Ok(now) = serde_json::from_str::<serde_json::Value>(&ran.stdout) else { return vec![] };
        let same = ["spec", "data"].iter().all(|part| then[*part] == now[*part])
            && ["labels", "annotations"].iter().all(|part| then["metadata"][*part] == now["metadata"][*part]);
        if same { vec![] } else { vec![told] }
    }
}

/// Verbs of a setup that change what is there.
const CHANGES: &[&str] = &["annotate", "label", "patch", "scale"];

fn loss(object: &serde_json::Value, removed: bool) -> Loss {
    let part = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_string();
    let kind = object["kind"].as_str().unwrap_or_default();
    let plural = crate::lab::cel::facts::kind(kind).map_or(kind, |k| k.plural);
    Loss { resource: plural.into(), namespace: part("namespace"), name: part("name"), removed }
}
