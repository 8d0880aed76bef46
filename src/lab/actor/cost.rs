//! What a question would take from the learner, before it is done.

use super::{Actor, steps};
use crate::format::Lesson;
use crate::own;
use crate::run;
use crate::view::{Ask, State};
use crate::words::{self, Word};
use api::status::qualified;
use cluster::guest::Room;
use cluster::undo::{Loss, Past, losses};
use kubectl::parse;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// A look at what a line would take that takes longer has failed: meanwhile the engine answers no
/// other question.
const LOOK_MAX: Duration = Duration::from_secs(15);

/// Objects that a refusal names.
const NAMED_MAX: usize = 10;

/// What a question would take, as it was found out at one moment.
#[derive(Debug, Default)]
pub(super) struct Cost {
    pub lost: Vec<Loss>,
    /// The API server's plan of the way back, to which the way back is bound; null: there is none.
    pub plan: Value,
}

impl Cost {
    fn add(&mut self, more: Vec<Loss>) {
        for loss in more {
            if !self.lost.contains(&loss) {
                self.lost.push(loss);
            }
        }
    }

    /// What is lost beyond what a learner has agreed to. What would be changed back may not be
    /// removed instead.
    pub fn beyond(&self, agreed: &[Loss]) -> Vec<Loss> {
        self.lost.iter().filter(|loss| !agreed.contains(loss)).cloned().collect()
    }
}

/// Names the first objects of a list.
pub(super) fn named(lost: &[Loss]) -> String {
    let named: Vec<String> = lost.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    named.join(", ") + if lost.len() > NAMED_MAX { ", …" } else { "" }
}

impl Actor {
    /// Objects that the learner made or changed beside the lesson, and that the question would
    /// remove or change back.
    ///
    /// # Errors
    /// That cannot be found out now, so the question must not be answered; the text is for people.
    pub(super) async fn cost(&mut self, ask: &Ask, lang: &str) -> Result<Cost, String> {
        let mut cost = Cost::default();
        let found = match ask {
            Ask::Open { id } | Ask::Solve { id: Some(id) } => self.cost_of_opening(id, &mut cost).await,
            Ask::Next => self.cost_of_next(lang, &mut cost).await,
            Ask::Goto { step } => self.cost_of_going(step, lang, &mut cost).await,
            _ => Ok(()),
        };
        found.map_err(|why| words::say(lang, Word::CostUnknown, &[&why]))?;
        Ok(cost)
    }

    /// How a learner says that a question is meant.
    pub(super) fn consent(&mut self, ask: &Ask, lang: &str) -> String {
        match ask {
            Ask::Goto { step } => format!("goto {step} --yes"),
            Ask::Open { id } | Ask::Solve { id: Some(id) } => format!("lesson {id} --yes"),
            _ => match self.follower(lang) {
                Some(id) => format!("lesson {id} --yes"),
                None => "next --yes".into(),
            },
        }
    }

    /// The lesson that `next` would open.
    fn follower(&mut self, lang: &str) -> Option<String> {
        match self.opened(lang) {
            Ok((lesson, step)) if step + 1 < lesson.steps.len() => None,
            Ok((lesson, _)) => self.engine.library.after(&lesson.id).map(|l| l.id.clone()),
            Err(_) => self.engine.unfinished(),
        }
    }

    /// What `next` would take: lines of a step that is passed are played, and a lesson that is
    /// opened is set up.
    async fn cost_of_next(&mut self, lang: &str, cost: &mut Cost) -> Result<(), String> {
        // On a foreign cluster a lesson has a namespace of its own.
        if let Ok((lesson, step)) = self.opened(lang)
            && self.engine.offers.own
            && self.engine.state() == State::Skipped
        {
            let lines = run::playable(&lesson.steps[step].solution);
            cost.add(self.cost_of_lines(&lines, &own::names(&lesson)).await?);
        }
        match self.follower(lang) {
            Some(id) => self.cost_of_opening(&id, cost).await,
            None => Ok(()),
        }
    }

    /// What the setup of a lesson would delete or change, except what lessons have made.
    async fn cost_of_opening(&mut self, id: &str, cost: &mut Cost) -> Result<(), String> {
        let Some(lesson) = self.engine.library.find(id, self.track().as_deref()).cloned() else {
            return Ok(());
        };
        // On a foreign cluster a lesson has a namespace of its own.
        if !self.engine.offers.own || !self.wants_setup(&lesson.id) {
            return Ok(());
        }
        cost.add(self.cost_of_lines(&lesson.setup, &BTreeSet::new()).await?);
        Ok(())
    }

    /// What lines that the teacher plays would delete or change, except what belongs to lessons.
    /// `named`: see [`Actor::is_lessons`].
    async fn cost_of_lines(&self, lines: &[String], named: &BTreeSet<String>) -> Result<Vec<Loss>, String> {
        let mut lost: Vec<Loss> = Vec::new();
        for (line, input) in run::commands(lines) {
            let room = &self.engine.recorder.room;
            let mut found = self.teacher.would_delete(&line, &input, room).await?;
            found.extend(self.teacher.would_change(&line, &input, room).await?);
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
        Ok(lost)
    }

    /// What going to a step would take, beyond what belongs to the lesson itself: the rewind to its
    /// beginning, or the steps before it that are played.
    async fn cost_of_going(&mut self, word: &str, lang: &str, cost: &mut Cost) -> Result<(), String> {
        let (id, step) = steps::parts(word);
        let lesson = match id {
            Some(id) => self.engine.library.find(id, self.track().as_deref()).cloned(),
            None => self.opened(lang).ok().map(|(lesson, _)| (*lesson).clone()),
        };
        let Some(lesson) = lesson else { return Ok(()) };
        if let Some(id) = id {
            self.cost_of_opening(id, cost).await?;
        }
        let Ok(to) = steps::named(&lesson, step, lang) else { return Ok(()) };
        let since = self.engine.since_of(&lesson.id, &lesson.steps[to].id);
        let named = own::names(&lesson);
        if since == 0 {
            for line in self.lines_on_the_way(&lesson, to) {
                cost.add(self.cost_of_lines(&line, &named).await?);
            }
            return Ok(());
        }
        // Elsewhere nothing goes back.
        if !self.engine.offers.own {
            return Ok(());
        }
        let places = own::places(&lesson);
        cost.add(self.labs.swept_by(since, places.as_ref()).into_iter().collect());
        let rewind = Past::back(since, places);
        cost.plan = match self.host.past(Past::Plan { of: Box::new(rewind) }).await {
            Ok(plan) => plan,
            // What is no longer kept cannot be gone back to: nothing is taken.
            Err(_) if self.is_lost(since).await => Value::Null,
            Err(why) => return Err(why),
        };
        let lost = losses(&cost.plan).into_iter().filter(|loss| !self.is_lessons(loss, &named));
        cost.add(lost.collect());
        Ok(())
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
    /// kubectl's answer to these words, as JSON; null if it has none, also where the server has
    /// refused: then it refuses the line as well, and nothing is lost.
    ///
    /// # Errors
    /// The server did not answer, so nothing is known.
    async fn told(&self, words: Vec<String>, input: &str) -> Result<Value, String> {
        let ran = run::kubectl(words, input.into(), &self.kubeconfig, LOOK_MAX).await;
        match ran.code != 0 && is_unanswered(ran.code, &ran.stderr) {
            true => Err(ran.stderr.trim().to_string()),
            false => Ok(serde_json::from_str(&ran.stdout).unwrap_or_default()),
        }
    }

    /// The objects that a line would delete now. `input`: the manifest that it reads.
    ///
    /// # Errors
    /// As [`Teacher::told`](run::Teacher::told).
    pub(crate) async fn would_delete(
        &self,
        line: &str,
        input: &str,
        room: &Room,
    ) -> Result<Vec<Loss>, String> {
        let Some((words, verb)) = words(line, room) else { return Ok(vec![]) };
        if words[verb] != "delete" {
            return Ok(vec![]);
        }
        let words = look_for_deletion(words, verb)?;
        // What a controller made goes with its owner, which is in the list or stays.
        let found = items(self.told(words, input).await?);
        Ok(found.iter().filter(|o| !is_controlled(o)).map(|o| loss(o, true)).collect())
    }

    /// The objects that a line would make different from what they are now. `input`: the manifest
    /// that it reads.
    ///
    /// # Errors
    /// As [`Teacher::told`](run::Teacher::told).
    pub(crate) async fn would_change(
        &self,
        line: &str,
        input: &str,
        room: &Room,
    ) -> Result<Vec<Loss>, String> {
        let Some((mut words, verb)) = words(line, room) else { return Ok(vec![]) };
        let Ok(parsed) = parse::parse(&words[1..]) else { return Ok(vec![]) };
        if !matches!(parsed.flags.text("dry-run"), "" | "none") {
            return Ok(vec![]); // it is a trial itself
        }
        if let Some(look) = look_for_change(&parsed) {
            let now = items(self.told(look, input).await?);
            return self.changed_by(&parsed, &now).await;
        }
        if !CHANGES.contains(&words[verb].as_str()) {
            return Ok(vec![]);
        }
        words.extend(["--dry-run=server".into(), "-o".into(), "json".into()]);
        let mut changed = Vec::new();
        for then in items(self.told(words, input).await?) {
            let told = loss(&then, false);
            let resource = qualified(&told.group, &told.resource);
            let get = ["kubectl", "get", &resource, &told.name, "-n", &told.namespace, "-o", "json"];
            let now = self.told(get.iter().map(ToString::to_string).collect(), "").await?;
            // What is not there yet is nobody's.
            if now.is_object() && wanted(&then) != wanted(&now) {
                changed.push(told);
            }
        }
        Ok(changed)
    }

    /// What a line does to the objects that it names, as they are `now`. A `drain` deletes pods
    /// besides; those that a controller makes again are nobody's loss.
    async fn changed_by(&self, line: &parse::Parsed, now: &[Value]) -> Result<Vec<Loss>, String> {
        let changed = now.iter().filter(|object| !is_so_already(line, object));
        let mut lost: Vec<Loss> = changed.map(|o| loss(o, false)).collect();
        if line.verb.path == "drain" {
            for node in now {
                let name = node["metadata"]["name"].as_str().unwrap_or_default();
                let there = format!("--field-selector=spec.nodeName={name}");
                let chosen = format!("--selector={}", line.flags.text("pod-selector"));
                let get = ["kubectl", "get", "pods", "-A", &there, &chosen, "-o", "json"].map(String::from);
                let pods = items(self.told(get.into(), "").await?);
                lost.extend(pods.iter().filter(|pod| !is_controlled(pod)).map(|pod| loss(pod, true)));
            }
        }
        Ok(lost)
    }
}

/// Is the object as the line wants it? A restart, an undo and a taint change it each time.
fn is_so_already(line: &parse::Parsed, object: &Value) -> bool {
    let spec = &object["spec"];
    match line.verb.path {
        "scale" => spec["replicas"] == line.flags.int("replicas"),
        "cordon" | "drain" => spec["unschedulable"] == true,
        "uncordon" => spec["unschedulable"] != true,
        "rollout pause" => spec["paused"] == true,
        "rollout resume" => spec["paused"] != true,
        _ => false,
    }
}

/// Has it an owner that makes it again?
fn is_controlled(object: &Value) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|all| all.iter().any(|o| o["controller"] == true))
}

/// Has kubectl failed without a verdict of the server? Then the line may do what its trial did not
/// tell.
fn is_unanswered(code: i32, stderr: &str) -> bool {
    let unanswered = [
        "The connection to the server",
        "Unable to connect to the server",
        "Error from server (InternalError)",
        "Error from server (ServiceUnavailable)",
        "Error from server (Timeout)",
        "Error from server (TooManyRequests)",
    ];
    code == GAVE_UP || stderr.lines().any(|line| unanswered.iter().any(|begin| line.starts_with(begin)))
}

/// Of an object, what its authors want: all but its status and what the server counts.
fn wanted(object: &Value) -> Value {
    let mut wanted = object.clone();
    let counted = ["creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"];
    if let Some(metadata) = wanted["metadata"].as_object_mut() {
        counted.iter().for_each(|key| _ = metadata.remove(*key));
        // None, or an empty one: both say nothing.
        metadata.retain(|_, value| value.as_object().is_none_or(|map| !map.is_empty()));
    }
    if let Some(whole) = wanted.as_object_mut() {
        whole.remove("status");
    }
    wanted
}

/// Verbs that change what is there, and whose trial answers with the objects as they would be.
const CHANGES: &[&str] = &["annotate", "apply", "label", "patch", "replace", "set"];

/// The exit code of a command that took too long, as of [`run::kubectl`].
const GAVE_UP: i32 = 124;

/// The words of a line of kubectl's, which is `kubectl` first, and the place of the verb: options
/// may stand before it. `None`: it is no such line.
fn words(line: &str, room: &Room) -> Option<(Vec<String>, usize)> {
    let line = crate::reach::line(line.trim_start_matches('-').trim_start(), room);
    let mut words = shlex::split(&line)?;
    match words.first().map(String::as_str) {
        None | Some("fault") => return None,
        Some("kubectl") => {}
        Some("k") => words[0] = "kubectl".into(),
        Some(_) => words.insert(0, "kubectl".into()),
    }
    let at = parse::parse(&words[1..]).ok()?.verb_at?;
    Some((words, at + 1))
}

/// Flags of `delete` that `get` does not know.
const OF_DELETIONS: &[&str] =
    &["--now", "--force", "--wait", "--grace-period", "--cascade", "--all", "--timeout"];

/// The command that shows what a `delete` would delete, whose verb stands at a place.
///
/// # Errors
/// It would be no `get` that answers with JSON: it may do something, and would not tell what is
/// lost. The text is for people.
fn look_for_deletion(mut words: Vec<String>, verb: usize) -> Result<Vec<String>, String> {
    let line = words.join(" ");
    words[verb] = "get".into();
    words.retain(|word| !OF_DELETIONS.contains(&word.split('=').next().unwrap_or_default()));
    words.extend(["--ignore-not-found".into(), "-o".into(), "json".into()]);
    let is_look = |parsed: &parse::Parsed| parsed.verb.path == "get" && parsed.flags.text("output") == "json";
    match parse::parse(&words[1..]).is_ok_and(|parsed| is_look(&parsed)) {
        true => Ok(words),
        false => Err(format!("kubectl get cannot show what `{line}` would delete")),
    }
}

/// The objects in kubectl's JSON: those of a list, or the one.
fn items(found: Value) -> Vec<Value> {
    match found["items"].as_array() {
        Some(items) => items.clone(),
        None if found.is_object() => vec![found],
        None => vec![],
    }
}

/// The command that asks for the objects that a line changes, where its trial would not tell them
/// as they would be: `rollout restart deploy/web` is looked at by `get deploy/web`.
fn look_for_change(parsed: &parse::Parsed) -> Option<Vec<String>> {
    let flags = &parsed.flags;
    let mut look = vec!["kubectl".to_string(), "get".into()];
    let is_name = |word: &&String| !word.contains(['=', ':']) && !word.ends_with('-');
    match parsed.verb.path {
        "scale" if flags.changed("replicas") => look.extend(parsed.args.iter().cloned()),
        "rollout pause" | "rollout restart" | "rollout resume" | "rollout undo" => {
            look.extend(parsed.args.iter().cloned());
        }
        // What a taint is follows the names of its nodes.
        "taint" => look.extend(parsed.args.iter().take_while(is_name).cloned()),
        "cordon" | "drain" | "uncordon" => {
            look.push("nodes".into());
            look.extend(parsed.args.iter().cloned());
        }
        _ => return None,
    }
    let options = look.len();
    for (flag, given) in [("-n", flags.text("namespace")), ("-l", flags.text("selector"))] {
        if !given.is_empty() {
            look.extend([flag.to_string(), given.to_string()]);
        }
    }
    look.extend(flags.list("filename").into_iter().flat_map(|file| ["-f".into(), file]));
    match flags.text("kustomize") {
        "" => {}
        folder => look.extend(["-k".into(), folder.into()]),
    }
    look.extend(flags.is("recursive").then(|| "-R".to_string()));
    let names_any = look.len() > options || !parsed.args.is_empty();
    look.extend(["--ignore-not-found", "-o", "json"].map(String::from));
    names_any.then_some(look)
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
mod tests;
