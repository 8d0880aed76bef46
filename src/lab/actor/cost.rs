//! What a question would take from the learner, before it is done.

use super::{Actor, steps};
use crate::format::Lesson;
use crate::own;
use crate::run;
use crate::view::Ask;
use api::status::qualified;
use cluster::guest::Room;
use cluster::undo::{Loss, Past, losses};
use kubectl::parse;
use serde_json::Value;
use std::collections::BTreeSet;

impl Actor {
    /// Objects that the learner made or changed beside the lesson, and that the question would
    /// remove or change back.
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
        self.cost_of_lines(&lesson.setup, &BTreeSet::new()).await
    }

    /// What lines that the teacher plays would delete or change, except what belongs to lessons.
    /// `named`: see [`Actor::is_lessons`].
    async fn cost_of_lines(&self, lines: &[String], named: &BTreeSet<String>) -> Vec<Loss> {
        let mut lost: Vec<Loss> = Vec::new();
        for (line, input) in run::commands(lines) {
            let room = &self.engine.recorder.room;
            let mut found = self.teacher.would_delete(&line, &input, room).await;
            found.extend(self.teacher.would_change(&line, &input, room).await);
            for loss in found {
                let known = lost.iter().any(|l| {
                    (&l.resource, &l.group, &l.namespace, &l.name)
                        == (&loss.resource, &loss.group, &loss.namespace, &loss.name)
                });
                if !known && !self.is_lessons(&loss, named) {
                    lost.push(loss);
                }
            }
        }
        lost
    }

    /// What going to a step would take, beyond what belongs to the lesson itself: the rewind to its
    /// beginning, or the steps before it that are played.
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
        let named = own::names(&lesson);
        if since == 0 {
            for line in self.lines_on_the_way(&lesson, to) {
                let more = self.cost_of_lines(&line, &named).await;
                lost.extend(more.into_iter().filter(|loss| !lost.contains(loss)).collect::<Vec<_>>());
            }
            return lost;
        }
        let places = own::places(&lesson);
        lost.extend(self.labs.swept_by(since, places.as_ref()));
        let rewind = Past::back(since, places);
        // What cannot be planned cannot be done either.
        let plan = self.host.past(Past::Plan { of: Box::new(rewind) }).await.unwrap_or_default();
        lost.extend(losses(&plan).into_iter().filter(|loss| !self.is_lessons(loss, &named)));
        lost
    }

    /// The solutions that a jump to a step plays, as [`Actor::goto`] does: of each step that was
    /// not done, up to the first that needs a shell.
    fn lines_on_the_way(&self, lesson: &Lesson, to: usize) -> Vec<Vec<String>> {
        // On a cluster of somebody else's a lesson has a namespace of its own.
        if !self.engine.offers.own {
            return vec![];
        }
        let noted = self.engine.progress.lessons.get(&lesson.id);
        let open = self.engine.open.as_ref().filter(|open| open.lesson.id == lesson.id).map(|open| open.step);
        let from = open.or_else(|| noted.and_then(|noted| lesson.step(&noted.step))).unwrap_or(0);
        let is_done = |id: &str| self.engine.progress.look(&lesson.id, id).is_some_and(|s| s.done);
        let steps = lesson.steps[from.min(to)..to].iter();
        let played = steps.filter(|s| !is_done(&s.id) && self.engine.lacks(lesson, s).is_none());
        played.map(|step| step.solution.clone()).take_while(|lines| !run::needs_shell(lines)).collect()
    }

    /// Has a lesson made it, or a controller from what a lesson has made? Or is it a part of the
    /// cluster that the lesson, by these names, is about?
    fn is_lessons(&self, loss: &Loss, named: &BTreeSet<String>) -> bool {
        let resource = qualified(&loss.group, &loss.resource);
        let key = |resource: &str, name: &str| own::key(resource, &loss.namespace, name);
        let made = |resource: &str, name: &str| self.engine.progress.is_made(&key(resource, name));
        made(&resource, &loss.name)
            || own::owners(&resource, &loss.name).iter().any(|(resource, name)| made(resource, name))
            || loss.namespace == "kube-system" && named.contains(&key(&resource, &loss.name))
    }
}

impl run::Teacher {
    /// kubectl's answer to these words, as JSON; null if it has none.
    async fn told(&self, words: Vec<String>, input: &str) -> Value {
        let ran = run::kubectl(words, input.into(), &self.kubeconfig, run::LINE_MAX).await;
        serde_json::from_str(&ran.stdout).unwrap_or_default()
    }

    /// The objects that a line would delete now. `input`: the manifest that it reads.
    pub(crate) async fn would_delete(&self, line: &str, input: &str, room: &Room) -> Vec<Loss> {
        let Some(mut words) = words(line, room) else { return vec![] };
        if words.get(1).is_none_or(|verb| verb != "delete") {
            return vec![];
        }
        words[1] = "get".into();
        let is_deletions = |w: &String| {
            let flag = w.split('=').next().unwrap_or_default();
            matches!(
                flag,
                "--now" | "--force" | "--wait" | "--grace-period" | "--cascade" | "--all" | "--timeout"
            )
        };
        words.retain(|w| !is_deletions(w));
        words.extend(["--ignore-not-found".into(), "-o".into(), "json".into()]);
        // What a controller made goes with its owner, which is in the list or stays.
        let owned = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|all| all.iter().any(|o| o["controller"] == true))
        };
        items(self.told(words, input).await).iter().filter(|o| !owned(o)).map(|o| loss(o, true)).collect()
    }

    /// The objects that a line would make different from what they are now. `input`: the manifest
    /// that it reads.
    pub(crate) async fn would_change(&self, line: &str, input: &str, room: &Room) -> Vec<Loss> {
        let Some(mut words) = words(line, room) else { return vec![] };
        let Some(verb) = words.get(1).cloned().filter(|verb| CHANGES.contains(&verb.as_str())) else {
            return vec![];
        };
        if verb == "scale" {
            // A trial answers with the objects as they are.
            let Some((wanted, asked)) = parse::parse(&words[1..]).ok().and_then(|parsed| scaled(&parsed))
            else {
                return vec![];
            };
            let now = items(self.told(asked, "").await);
            return now.iter().filter(|o| o["spec"]["replicas"] != wanted).map(|o| loss(o, false)).collect();
        }
        words.extend(["--dry-run=server".into(), "-o".into(), "json".into()]);
        let mut changed = Vec::new();
        for then in items(self.told(words, input).await) {
            let told = loss(&then, false);
            let resource = qualified(&told.group, &told.resource);
            let get = ["kubectl", "get", &resource, &told.name, "-n", &told.namespace, "-o", "json"];
            let now = self.told(get.iter().map(ToString::to_string).collect(), "").await;
            let same = ["spec", "data"].iter().all(|part| then[*part] == now[*part])
                && ["labels", "annotations"]
                    .iter()
                    .all(|part| then["metadata"][*part] == now["metadata"][*part]);
            // What is not there yet is nobody's.
            if !same && now.is_object() {
                changed.push(told);
            }
        }
        changed
    }
}

/// Verbs that change what is there.
const CHANGES: &[&str] = &["annotate", "apply", "label", "patch", "replace", "scale", "set"];

/// The words of a line of kubectl's, which is `kubectl` first; `None` if it is none.
fn words(line: &str, room: &Room) -> Option<Vec<String>> {
    let line = crate::reach::line(line.trim_start_matches('-').trim_start(), room);
    let mut words = shlex::split(&line)?;
    match words.first().map(String::as_str) {
        None | Some("fault") => return None,
        Some("kubectl") => {}
        Some("k") => words[0] = "kubectl".into(),
        Some(_) => words.insert(0, "kubectl".into()),
    }
    Some(words)
}

/// The objects in kubectl's JSON: those of a list, or the one.
fn items(found: Value) -> Vec<Value> {
    match found["items"].as_array() {
        Some(items) => items.clone(),
        None if found.is_object() => vec![found],
        None => vec![],
    }
}

/// The number that a `scale` asks for, and the command that asks for the objects that it names.
fn scaled(parsed: &parse::Parsed) -> Option<(i64, Vec<String>)> {
    let flags = &parsed.flags;
    if !flags.changed("replicas") || parsed.args.is_empty() {
        return None;
    }
    let mut words: Vec<String> = ["kubectl", "get"].map(String::from).into();
    words.extend(parsed.args.iter().cloned());
    for (flag, given) in [("-n", flags.text("namespace")), ("-l", flags.text("selector"))] {
        if !given.is_empty() {
            words.extend([flag.to_string(), given.to_string()]);
        }
    }
    words.extend(["--ignore-not-found", "-o", "json"].map(String::from));
    Some((flags.int("replicas"), words))
}

fn loss(object: &Value, removed: bool) -> Loss {
    let part = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_string();
    let kind = object["kind"].as_str().unwrap_or_default();
    let plural = crate::cel::facts::kind(kind).map_or(kind, |k| k.plural);
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    Loss {
        resource: plural.into(),
        group: group.into(),
        namespace: part("namespace"),
        name: part("name"),
        removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_compared_with_the_number_that_its_objects_have() {
        let of = |line: &str| {
            let words = words(line, &Room::default()).unwrap();
            scaled(&parse::parse(&words[1..]).unwrap()).map(|(wanted, asked)| (wanted, asked.join(" ")))
        };
        let asks = |rest: &str| format!("kubectl get {rest} --ignore-not-found -o json");
        assert_eq!(
            of("-kubectl scale deployment dpy-nginx --replicas=3"),
            Some((3, asks("deployment dpy-nginx")))
        );
        assert_eq!(of("scale --replicas 0 deploy/web -n shop"), Some((0, asks("deploy/web -n shop"))));
        assert_eq!(of("k scale rs -l app=web --replicas=5"), Some((5, asks("rs -l app=web"))));
        assert_eq!(of("kubectl scale deployment web"), None);
    }

    #[test]
    fn a_loss_is_named_with_its_group() {
        let object = serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "web"}});
        let lost = loss(&object, true);
        assert_eq!((lost.resource.as_str(), lost.group.as_str()), ("deployments", "apps"));
        assert_eq!((lost.to_string().as_str(), lost.removed), ("deployments/web -n shop", true));
    }
}
