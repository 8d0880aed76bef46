//! Asks the server what a line would delete or change, in the [`Way`] that `lines::look` reads from
//! the line: by a `get` of what it names, or by its trial (`--dry-run=server`).

use crate::desired::wanted;
use crate::lines::look::{Way, find_way, kubectl_words, look_at_files, trial, unknown};
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
        let Some((words, verb)) = kubectl_words(line, scope) else { return Ok(vec![]) };
        let Ok(parsed) = parse::parse(&words[1..]) else { return Ok(vec![]) };
        match find_way(&parsed, &words, verb)? {
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

/// What `apply --prune` deletes: its trial names it as it is, beside what it applies, and without
/// pruning it does not.
fn pruned(applied: &[Value], all: &[Value]) -> Vec<Loss> {
    let applied: Vec<Loss> = applied.iter().map(|object| loss(object, true)).collect();
    all.iter().map(|object| loss(object, true)).filter(|object| !applied.contains(object)).collect()
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

fn loss(object: &Value, removed: bool) -> Loss {
    let part = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_string();
    let kind = object["kind"].as_str().unwrap_or_default();
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let built_in = api::kinds::find(group, version, kind);
    Loss {
        resource: built_in.map_or_else(|| guess_plural(kind), |k| k.plural.into()),
        group: group.into(),
        namespace: part("namespace"),
        name: part("name"),
        removed,
    }
}

/// Guesses the plural of a custom resource, which its objects do not tell. Source: client-go,
/// `meta.UnsafeGuessKindToResource`.
///
/// Example: `Ship` gives `ships`, `Policy` gives `policies`.
fn guess_plural(kind: &str) -> String {
    let singular = kind.to_lowercase();
    if singular.ends_with("endpoints") {
        return singular;
    }
    match singular.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if singular.ends_with('s') => format!("{singular}es"),
        None => format!("{singular}s"),
    }
}

#[cfg(test)]
mod tests;
