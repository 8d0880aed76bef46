//! What a line would take, asked of the server: by a `get` of what it names, or by its trial
//! (`--dry-run=server`).

use crate::desired::wanted;
use crate::lines::Act;
use crate::teacher;
use api::meta;
use api::status::qualified;
use cluster::guest::LessonScope;
use cluster::undo::Loss;
use kubectl::parse;
use serde_json::Value;
use std::time::Duration;

mod cluster_made;
mod within;

use cluster_made::is_cluster_made;

/// A look at what a line would take that takes longer has failed: meanwhile the engine answers no
/// other question.
const LOOK_MAX: Duration = Duration::from_secs(15);

/// Bytes of an answer, some four thousand pods. What is longer is cut, and then no JSON any more.
const LOOK_BYTES: usize = 64 << 20;

/// The exit code of a command that took too long, as of [`teacher::kubectl`].
const GAVE_UP: i32 = 124;

/// How it is found out what a line takes.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// Nothing that is there: it looks, or makes something new.
    Nothing,
    /// What this `get` finds is deleted.
    Deletes(Vec<String>),
    /// What this `get` finds is changed, if it is not as the line wants it.
    Changes(Vec<String>),
    /// Its trial answers with the objects as they would be.
    Trial,
    /// It cannot be found out.
    Unknown,
}

/// What kubectl has answered.
#[derive(Default)]
struct Answer {
    /// The server has refused it, at least for one of the objects.
    refused: bool,
    objects: Vec<Value>,
}

impl teacher::Teacher {
    /// Asks kubectl with these words, a `get` or a trial, for objects with their field managers.
    ///
    /// # Errors
    /// The server did not answer, or it is no JSON, so nothing is known.
    async fn ask_kubectl(&self, mut words: Vec<String>, input: &str) -> Result<Answer, String> {
        words.push("--show-managed-fields".into());
        let ran = teacher::kubectl_up_to(LOOK_BYTES, words, input.into(), &self.kubeconfig, LOOK_MAX).await;
        if ran.code != 0 && is_unanswered(ran.code, &ran.stderr) {
            return Err(ran.stderr.trim().to_string());
        }
        let objects = objects(&ran.stdout).map_err(|error| error.to_string())?;
        Ok(Answer { refused: ran.code != 0, objects })
    }

    /// The objects that a line would delete, or make different from what they are now, except those
    /// that the cluster made itself. `input`: the manifest that it reads.
    ///
    /// # Errors
    /// The server did not answer, or what the line takes cannot be asked for.
    pub(crate) async fn would_take(
        &self,
        line: &str,
        input: &str,
        scope: &LessonScope,
    ) -> Result<Vec<Loss>, String> {
        let Some((words, verb)) = words(line, scope) else { return Ok(vec![]) };
        let Ok(parsed) = parse::parse(&words[1..]) else { return Ok(vec![]) };
        match way(&parsed, &words, verb)? {
            Way::Nothing => Ok(vec![]),
            Way::Deletes(look) => self.deleted_by(look, input).await,
            Way::Changes(look) => {
                let now = self.ask_kubectl(look, input).await?.objects;
                self.changed_by(&parsed, &now).await
            }
            Way::Trial => self.tried(&parsed, words, input).await,
            Way::Unknown => Err(unknown(line)),
        }
    }

    /// What a `get` finds, as removed, and what goes with it, except what the cluster made itself.
    /// What a controller made goes with its owner, which is in the list or stays.
    async fn deleted_by(&self, look: Vec<String>, input: &str) -> Result<Vec<Loss>, String> {
        let found = self.ask_kubectl(look, input).await?.objects;
        let mut lost = Vec::new();
        for object in found.iter().filter(|object| !is_controlled(object) && !is_cluster_made(object)) {
            lost.push(loss(object, true));
            lost.extend(self.deleted_with(object).await?);
        }
        Ok(lost)
    }

    /// What a line takes by its trial. `apply --force` and `auth reconcile` delete what the server
    /// refuses to change, and make it anew: then all that they name counts as deleted.
    async fn tried(
        &self,
        line: &parse::Parsed,
        words: Vec<String>,
        input: &str,
    ) -> Result<Vec<Loss>, String> {
        let prunes = line.flags.is("prune");
        let without = if prunes { &["--prune=false"][..] } else { &[] };
        let then = self.ask_kubectl(trial(&words, without)?, input).await?;
        let remakes = line.flags.is("force") || line.verb.path == "auth reconcile";
        if then.refused && remakes {
            return self.deleted_by(look_at_files(line), input).await;
        }
        let mut lost = Vec::new();
        for object in &then.objects {
            let told = loss(object, false);
            let resource = qualified(&told.group, &told.resource);
            let get = ["kubectl", "get", &resource, &told.name, "-n", &told.namespace, "-o", "json"];
            let now = self.ask_kubectl(get.map(String::from).into(), "").await?.objects;
            // An object that is not there yet, or that the cluster made itself, is no person's
            // work.
            if now.first().is_some_and(|now| wanted(object) != wanted(now) && !is_cluster_made(now)) {
                lost.push(told);
            }
        }
        if prunes {
            lost.extend(pruned(&then.objects, &self.ask_kubectl(trial(&words, &[])?, input).await?.objects));
        }
        Ok(lost)
    }

    /// What a line does to the objects that it names, as they are `now`, except those that the
    /// cluster made itself. A `drain` deletes pods besides; those that a controller makes again are
    /// no loss.
    async fn changed_by(&self, line: &parse::Parsed, now: &[Value]) -> Result<Vec<Loss>, String> {
        let changed = now.iter().filter(|object| !is_so_already(line, object) && !is_cluster_made(object));
        let mut lost: Vec<Loss> = changed.map(|o| loss(o, false)).collect();
        if line.verb.path == "drain" {
            for node in now {
                let name = node["metadata"]["name"].as_str().unwrap_or_default();
                let there = format!("--field-selector=spec.nodeName={name}");
                let chosen = format!("--selector={}", line.flags.text("pod-selector"));
                let get = ["kubectl", "get", "pods", "-A", &there, &chosen, "-o", "json"].map(String::from);
                let pods = self.ask_kubectl(get.into(), "").await?.objects;
                lost.extend(pods.iter().filter(|pod| !is_controlled(pod)).map(|pod| loss(pod, true)));
            }
        }
        Ok(lost)
    }
}

/// How it is found out what a line takes, whose verb stands at a place among its words.
///
/// # Errors
/// See [`look_for_deletion`].
fn way(parsed: &parse::Parsed, words: &[String], verb: usize) -> Result<Way, String> {
    let flags = &parsed.flags;
    if flags.is_trial() || flags.is("local") || flags.is("list") {
        return Ok(Way::Nothing); // a trial itself, or one without a server
    }
    // Any path of the API, written without a trial.
    if !flags.text("raw").is_empty() && ["create", "delete", "replace"].contains(&parsed.verb.path) {
        return Ok(Way::Unknown);
    }
    if let Some(look) = look_for_change(parsed) {
        return Ok(Way::Changes(look));
    }
    if parsed.verb.path == "replace" && flags.is("force") {
        return Ok(Way::Deletes(look_at_files(parsed)));
    }
    let Some(act) = Act::of(parsed.verb) else { return Ok(Way::Unknown) };
    Ok(match act {
        Act::Applies | Act::Changes => Way::Trial,
        Act::Debugs => match (flags.text("copy-to"), look_at_pods(parsed)) {
            ("", look) => Way::Changes(look),
            (_, look) if flags.is("replace") => Way::Deletes(look),
            _ => Way::Nothing,
        },
        Act::Deletes => Way::Deletes(look_for_deletion(words.to_vec(), verb)?),
        Act::Edits => Way::Unknown,
        // A line of these that names nothing, for which there was no look above, changes nothing.
        Act::ChangesNodes | Act::Signs | Act::Steers => Way::Nothing,
        Act::Configures | Act::Holds | Act::Looks | Act::Reaches => Way::Nothing,
        Act::Creates | Act::Generates => Way::Nothing, // what is there already is refused
    })
}

/// Says why a line has no place in a setup: no one can be asked whether what it takes may go.
/// `None`: it can be found out what it takes, or it is no line of kubectl's.
pub(crate) fn cannot_be_asked(line: &str) -> Option<String> {
    let (words, verb) = words(line, &LessonScope::default())?;
    let parsed = parse::parse(&words[1..]).ok()?;
    match way(&parsed, &words, verb) {
        Ok(Way::Trial) => trial(&words, &[]).err(),
        Ok(Way::Unknown) => Some(unknown(line)),
        Ok(_) => None,
        Err(why) => Some(why),
    }
}

fn unknown(line: &str) -> String {
    format!("kubectl cannot tell beforehand what `{line}` would change or delete")
}

/// The trial of a line, with further flags.
///
/// # Errors
/// It would be no trial, because the flags would be no flags: behind `--` they are words.
fn trial(words: &[String], more: &[&str]) -> Result<Vec<String>, String> {
    let mut all = words.to_vec();
    // Beside --force kubectl refuses every trial on the server.
    let known = parse::parse(&words[1..]).is_ok_and(|parsed| parsed.flags.is("force"));
    all.extend(known.then(|| "--force=false".to_string()));
    all.extend(more.iter().copied().chain(["--dry-run=server", "-o", "json"]).map(String::from));
    let is_trial = |parsed: parse::Parsed| {
        (parsed.flags.text("dry-run"), parsed.flags.text("output")) == ("server", "json")
    };
    match parse::parse(&all[1..]).is_ok_and(is_trial) {
        true => Ok(all),
        false => Err(unknown(&words.join(" "))),
    }
}

/// What `apply --prune` deletes: its trial names it as it is, beside what it applies, and without
/// pruning it does not.
fn pruned(applied: &[Value], all: &[Value]) -> Vec<Loss> {
    let applied: Vec<Loss> = applied.iter().map(|object| loss(object, true)).collect();
    all.iter().map(|object| loss(object, true)).filter(|object| !applied.contains(object)).collect()
}

/// The command that asks for the objects of a line's files.
fn look_at_files(parsed: &parse::Parsed) -> Vec<String> {
    let mut look = vec!["kubectl".to_string(), "get".into()];
    look.extend(named_by_flags(parsed).into_iter().filter(|(flag, _)| flag != "-l").flat_map(pair));
    look.extend(["--ignore-not-found", "-o", "json"].map(String::from));
    look
}

/// The command that asks for the pods of a `debug`: words behind `--` are the container's.
fn look_at_pods(parsed: &parse::Parsed) -> Vec<String> {
    let names = &parsed.args[..parsed.dash.unwrap_or(parsed.args.len()).min(parsed.args.len())];
    let mut look = vec!["kubectl".to_string(), "get".into()];
    if names.first().is_some_and(|name| !name.contains('/')) {
        look.push("pods".into());
    }
    look.extend(names.iter().cloned());
    look.extend(named_by_flags(parsed).into_iter().flat_map(pair));
    look.extend(["--ignore-not-found", "-o", "json"].map(String::from));
    look
}

/// What a line's flags say about which objects are meant, as flags of `get`; `-R` has no value.
fn named_by_flags(parsed: &parse::Parsed) -> Vec<(String, String)> {
    let flags = &parsed.flags;
    let text = |flag: &str, name: &str| (flag.to_string(), flags.text(name).to_string());
    let mut named = vec![text("-n", "namespace"), text("-l", "selector")];
    named.extend(flags.list("filename").into_iter().map(|file| ("-f".to_string(), file)));
    named.push(text("-k", "kustomize"));
    named.retain(|(_, value)| !value.is_empty());
    named.extend(flags.is("recursive").then(|| ("-R".to_string(), String::new())));
    named
}

fn pair((flag, value): (String, String)) -> impl Iterator<Item = String> {
    [Some(flag), Some(value).filter(|value| !value.is_empty())].into_iter().flatten()
}

/// The objects in kubectl's output: verbs that print each object by itself write one JSON text
/// after the other.
///
/// # Errors
/// It is no JSON.
fn objects(stdout: &str) -> serde_json::Result<Vec<Value>> {
    // `kubectl label` writes into its output, before each object, that a label to remove is absent.
    let is_note = |line: &str| line.starts_with("label \"") && line.ends_with("\" not found.");
    let text = stdout.lines().filter(|line| !is_note(line)).collect::<Vec<_>>().join("\n");
    let mut all = Vec::new();
    for found in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
        match found? {
            Value::Object(mut list) if list.get("items").is_some_and(Value::is_array) => {
                let Some(Value::Array(items)) = list.remove("items") else { continue };
                all.extend(items);
            }
            object => all.push(object),
        }
    }
    Ok(all)
}

/// Returns whether the object is as the line wants it. A restart, an undo and a taint change it
/// each time.
fn is_so_already(line: &parse::Parsed, object: &Value) -> bool {
    let spec = &object["spec"];
    match line.verb.path {
        "scale" => spec["replicas"] == line.flags.int("replicas"),
        "cordon" | "drain" => spec["unschedulable"] == true,
        "uncordon" => spec["unschedulable"] != true,
        "rollout pause" => spec["paused"] == true,
        "rollout resume" => spec["paused"] != true,
        "certificate approve" => has_condition(object, "Approved"),
        "certificate deny" => has_condition(object, "Denied"),
        _ => false,
    }
}

fn has_condition(object: &Value, kind: &str) -> bool {
    object["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(|c| c["type"] == kind))
}

/// Returns whether the object has an owner that makes it again.
fn is_controlled(object: &Value) -> bool {
    meta::controller(object).is_some()
}

/// Returns whether kubectl has failed without a verdict of the server. Then the line may do what
/// its trial did not show.
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

/// The words of a line of kubectl's, which is `kubectl` first, and the place of the verb: options
/// may stand before it. `None`: it is no such line.
fn words(line: &str, scope: &LessonScope) -> Option<(Vec<String>, usize)> {
    let line = crate::lines::in_scope::line(line.trim_start_matches('-').trim_start(), scope);
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
    let has_value = |name: &str| {
        let flag = parse::parse(&["delete".into()]).ok().and_then(|delete| delete.verb.flag(name));
        flag.is_some_and(|flag| flag.alone.is_empty())
    };
    let mut is_value = false;
    words.retain(|word| {
        let (flag, value) = word.split_once('=').map_or((word.as_str(), false), |(flag, _)| (flag, true));
        let flag = flag.replace('_', "-"); // kubectl takes both signs
        let is_known = OF_DELETIONS.contains(&flag.as_str());
        let drop = std::mem::take(&mut is_value) || is_known;
        is_value = is_known && !value && has_value(&flag[2..]);
        !drop
    });
    words.extend(["--ignore-not-found".into(), "-o".into(), "json".into()]);
    let is_look = |parsed: &parse::Parsed| parsed.verb.path == "get" && parsed.flags.text("output") == "json";
    match parse::parse(&words[1..]).is_ok_and(|parsed| is_look(&parsed)) {
        true => Ok(words),
        false => Err(format!("kubectl get cannot show what `{line}` would delete")),
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
        "certificate approve" | "certificate deny" => {
            look.extend((!parsed.args.is_empty()).then(|| "certificatesigningrequests".to_string()));
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
    let named = named_by_flags(parsed);
    let names_any = !named.is_empty() || !parsed.args.is_empty();
    look.extend(named.into_iter().flat_map(pair));
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
