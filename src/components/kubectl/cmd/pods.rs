//! The pod and the container that a command means, where it names a workload, or neither.

use super::common::pod_running_timeout;
use super::pages::items_of;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::file_names;
use crate::files;
use crate::info::{Info, Options};
use crate::lists::whole;
use crate::scheme;
use crate::wire::api::JSON;
use crate::wire::paths;
use api::gostr::quote;
use api::labels::Selector;
use api::value;
use client::discovery::Resource;
use serde_json::Value;
use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

/// Which container is meant when none is named.
pub(super) const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// The pause before a watch that the server ended is begun again.
const AGAIN: Duration = Duration::from_millis(200);

/// The pod that `web`, `pod/web` or `deploy/web` means in the namespace of the command. `scheme`:
/// that of the verb ([`scheme::check`]).
pub(crate) async fn pod_of(ctx: &Ctx, word: &str, scheme: &str) -> Result<Info, Fail> {
    let (kind, name) = match word.contains('/') {
        true => crate::builder::type_and_name(word)?,
        false => ("pods", word),
    };
    let resource = ctx.resource(kind).await?;
    let (namespace, _) = ctx.namespace()?;
    let source = String::new();
    let info = Info { resource, namespace, name: name.into(), object: Value::Null, source };
    pod_behind(ctx, info, scheme).await
}

/// The pod that an object means: the pod itself, or the first one that its selector matches, in its
/// namespace.
async fn pod_behind(ctx: &Ctx, mut info: Info, scheme: &str) -> Result<Info, Fail> {
    info.fetch(ctx).await?;
    scheme::check(&info, scheme)?;
    if info.resource.plural == "pods" {
        return Ok(info);
    }
    let selector =
        selector_of(&info).map_err(|(kind, why)| Fail::Text(format!("cannot attach to {kind}: {why}")))?;
    let pods = ctx.resource("pods").await?;
    let (first, _) = first_pod(ctx, &pods, &info.namespace, &selector, Choice::Session).await?;
    Ok(first)
}

/// The pod that the one object of a manifest means. It may be in another namespace than the
/// command's.
pub(super) async fn pod_in_file(ctx: &Ctx, files: &[String]) -> Result<Info, Fail> {
    let (infos, mut failures) = files::read(ctx, files, Options::default()).await?;
    let infos = scheme::known(infos, &mut failures);
    Fail::join(failures)?;
    match <[Info; 1]>::try_from(infos) {
        Ok([one]) if file_names::names_one(ctx) => pod_behind(ctx, one, scheme::OF_KUBECTL).await,
        // Standard input counts as several, also with one document.
        _ => text("cannot exec into multiple objects at a time"),
    }
}

/// Returns the selector of the pods that an object stands for.
///
/// # Errors
/// The object's type as Go names it, and why it stands for none.
pub(super) fn selector_of(info: &Info) -> Result<Selector, (String, String)> {
    let spec = value::at(&info.object, "spec.selector");
    let plural = info.resource.plural.as_str();
    let found = match plural {
        "services" | "replicationcontrollers" => Selector::of_map(spec),
        _ => Selector::of(spec),
    };
    let kind = format!("*{}.{}", info.resource.version, info.resource.kind);
    found.ok_or_else(|| match plural {
        "services" => {
            (kind, format!("invalid service '{}': Service is defined without a selector", info.name))
        }
        _ => (kind.clone(), format!("selector for {kind} not implemented")),
    })
}

/// Returns the pod that suits `choice` best among those that match `selector`, and how many match.
/// If there is none yet, waits for one as long as `--pod-running-timeout` says.
pub(super) async fn first_pod(
    ctx: &Ctx,
    pods: &Arc<Resource>,
    namespace: &str,
    selector: &Selector,
    choice: Choice,
) -> Result<(Info, usize), Fail> {
    let path = paths::collection(pods, namespace);
    let selector = selector.to_string();
    let appearing = async {
        loop {
            let list = whole(ctx, &path, &[("labelSelector", &selector)]).await?;
            let mut found = items_of(&list, pods);
            sort_best_first(&mut found, choice);
            let count = found.len();
            if let Some(first) = found.into_iter().next() {
                return Ok((info(pods, namespace, first), count));
            }
            let version = value::text(&list, "metadata.resourceVersion").to_string();
            let query =
                [("labelSelector", selector.as_str()), ("resourceVersion", &version), ("watch", "true")];
            let mut events = ctx.api().await?.watch(&path, &query, JSON).await?;
            while let Some(event) = events.next().await {
                if matches!(value::text(&event, "type"), "ADDED" | "MODIFIED") {
                    return Ok((info(pods, namespace, value::at(&event, "object").clone()), 1));
                }
            }
            clock::pause(AGAIN).await; // the server ended the watch
        }
    };
    match tokio::time::timeout(pod_running_timeout(ctx)?.max(AGAIN), appearing).await {
        Ok(found) => found,
        Err(_) => text("timed out waiting for the condition"),
    }
}

/// A pod of a list.
pub(super) fn info(pods: &Arc<Resource>, namespace: &str, object: Value) -> Info {
    Info {
        resource: pods.clone(),
        namespace: namespace.to_string(),
        name: value::text(&object, "metadata.name").into(),
        object,
        source: String::new(),
    }
}

/// The purpose for which one of several pods is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// A session in it: a pod that is being deleted comes after one that stays, and one with fewer
    /// restarts first (`podutils.ActivePods`, reversed).
    Session,
    /// Its log: a pod that has ended comes before one that has not begun, and one with more
    /// restarts first (`podutils.ByLogging`).
    Log,
}

/// Sorts pods by what [`Choice`] says, and for both purposes: scheduled before not, running before
/// pending, ready before not, longer ready before shorter, older before newer.
pub(super) fn sort_best_first(pods: &mut [Value], choice: Choice) {
    pods.sort_by(|a, b| rank(a, choice).cmp(&rank(b, choice)));
}

/// The sort key of a pod, the weightiest part first. The pod with the smallest one is the best.
type Rank<'a> = (bool, u8, bool, bool, Reverse<&'a str>, (bool, &'a str), (i64, i64), (bool, &'a str));

fn rank(pod: &Value, choice: Choice) -> Rank<'_> {
    let part = |path: &str| value::text(pod, path);
    let phase = match (part("status.phase"), choice) {
        ("Running", _) => 0,
        ("Unknown", _) => 1,
        ("Pending", _) | (_, Choice::Session) => 2,
        (_, Choice::Log) => 0,
    };
    let is_ready = |c: &&Value| value::text(c, "type") == "Ready" && value::text(c, "status") == "True";
    let ready = value::list(pod, "status.conditions").iter().find(is_ready);
    let since = ready.map_or((false, ""), |c| known_first(value::text(c, "lastTransitionTime")));
    let (regular, sidecars) = restarts(pod);
    let (deleted, restarts) = match choice {
        Choice::Session => (value::text(pod, "metadata.deletionTimestamp"), (regular, sidecars)),
        Choice::Log => ("", (-regular, -sidecars)),
    };
    (
        part("spec.nodeName").is_empty(),
        phase,
        ready.is_none(),
        !deleted.is_empty(),
        Reverse(deleted),
        since,
        restarts,
        known_first(value::text(pod, "metadata.creationTimestamp")),
    )
}

/// Sorts a time that is not known after all others.
fn known_first(time: &str) -> (bool, &str) {
    (time.is_empty(), time)
}

/// Returns the most restarts of one of a pod's containers, and of one of its sidecars.
fn restarts(pod: &Value) -> (i64, i64) {
    let is_sidecar = |name: &str| {
        let init = value::list(pod, "spec.initContainers").iter();
        init.filter(|c| value::text(c, "restartPolicy") == "Always").any(|c| value::text(c, "name") == name)
    };
    let most = |statuses: &str, all: bool| {
        let counted = value::list(pod, statuses).iter().filter(|s| all || is_sidecar(value::text(s, "name")));
        counted.map(|s| value::int(s, "restartCount").unwrap_or(0)).max().unwrap_or(0)
    };
    (most("status.containerStatuses", true), most("status.initContainerStatuses", false))
}

/// The container of `--container`, else that of the annotation, else the first one, with a note if
/// there are several.
pub(crate) fn container_of(ctx: &Ctx, pod: &Value, quiet: bool) -> Result<String, Fail> {
    let (container, chosen) = container_and_note(ctx, pod)?;
    if let Some(chosen) = chosen.filter(|_| !quiet) {
        ctx.note(chosen);
    }
    Ok(container)
}

/// As [`container_of`], with the note for the user if it was chosen among several.
pub(crate) fn container_and_note(ctx: &Ctx, pod: &Value) -> Result<(String, Option<String>), Fail> {
    let named = ctx.flags.text("container");
    let names = |list: &str| -> Vec<String> {
        value::list(pod, list).iter().map(|c| value::text(c, "name").to_string()).collect()
    };
    let mut all = names("spec.containers");
    let regular = all.clone();
    let others: Vec<String> = names("spec.ephemeralContainers")
        .into_iter()
        .map(|n| (n, " (ephem)"))
        .chain(names("spec.initContainers").into_iter().map(|n| (n, " (init)")))
        .map(|(n, w)| {
            all.push(n.clone());
            n + w
        })
        .collect();
    if !named.is_empty() {
        // exec, and cp through it, leave it to the server to know its containers.
        if matches!(ctx.verb, "exec" | "cp") || all.iter().any(|c| c == named) {
            return Ok((named.to_string(), None));
        }
        return text(format!("container {named} not found in pod {}", value::text(pod, "metadata.name")));
    }
    let annotated = value::at(pod, "metadata.annotations")[DEFAULT_CONTAINER].as_str().unwrap_or("");
    if !annotated.is_empty() && all.iter().any(|c| c == annotated) {
        return Ok((annotated.to_string(), None));
    }
    let Some(first) = regular.first() else {
        let part = |path: &str| value::text(pod, path);
        let (namespace, name) = (part("metadata.namespace"), part("metadata.name"));
        return text(format!("pod {namespace}/{name} does not have any containers"));
    };
    let list: Vec<String> = regular.iter().cloned().chain(others).collect();
    let chosen = format!("Defaulted container {} out of: {}", quote(first), list.join(", "));
    Ok((first.clone(), (all.len() > 1).then_some(chosen)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, phase: &str, ready: Option<&str>) -> Value {
        let condition = |since: &str| json!({"type": "Ready", "status": "True", "lastTransitionTime": since});
        let conditions: Vec<Value> = ready.map(condition).into_iter().collect();
        json!({"metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "n"}, "status": {"phase": phase, "conditions": conditions}})
    }

    fn first(pods: &[&Value], choice: Choice) -> String {
        let mut pods: Vec<Value> = pods.iter().map(|pod| (*pod).clone()).collect();
        sort_best_first(&mut pods, choice);
        value::text(&pods[0], "metadata.name").to_string()
    }

    #[test]
    fn a_session_is_held_in_a_pod_that_stays() {
        let mut leaves = pod("leaves", "Running", Some("2026-01-01T00:00:01Z"));
        leaves["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
        let stays = pod("stays", "Running", Some("2026-01-01T09:00:00Z"));
        assert_eq!(first(&[&leaves, &stays], Choice::Session), "stays");
        assert_eq!(first(&[&stays, &leaves], Choice::Log), "leaves", "it has been ready for longer");
        let starts = pod("starts", "Running", None);
        assert_eq!(first(&[&starts, &leaves], Choice::Session), "leaves", "it is ready");
    }

    #[test]
    fn a_log_is_of_a_pod_that_has_one() {
        let (waits, failed) = (pod("waits", "Pending", None), pod("failed", "Failed", None));
        assert_eq!(first(&[&waits, &failed], Choice::Log), "failed");
        let (calm, mut crashes) = (pod("calm", "Running", None), pod("crashes", "Running", None));
        crashes["status"]["containerStatuses"] = json!([{"name": "c", "restartCount": 3}]);
        assert_eq!(first(&[&calm, &crashes], Choice::Log), "crashes");
        assert_eq!(first(&[&crashes, &calm], Choice::Session), "calm");
        let mut sidecar = pod("sidecar", "Running", None);
        sidecar["spec"]["initContainers"] = json!([{"name": "s", "restartPolicy": "Always"}, {"name": "i"}]);
        sidecar["status"]["initContainerStatuses"] =
            json!([{"name": "i", "restartCount": 9}, {"name": "s", "restartCount": 1}]);
        assert_eq!(restarts(&sidecar), (0, 1));
    }

    #[tokio::test]
    async fn an_object_that_selects_no_pods_is_refused() {
        let server = crate::testing::Server::start().await;
        let meta = json!({"name": "db", "namespace": "default"});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {}});
        server.hold("/api/v1/namespaces/default/services/db", service);
        server.hold(
            "/api/v1/namespaces/default/configmaps/db",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta}),
        );
        let without = "*v1.Service: invalid service 'db': Service is defined without a selector";
        let unknown = "*v1.ConfigMap: selector for *v1.ConfigMap not implemented";
        for (line, want) in [
            (&["logs", "svc/db"][..], format!("cannot get the logs from {without}")),
            (&["exec", "svc/db", "--", "date"], format!("cannot attach to {without}")),
            (&["logs", "cm/db"], format!("cannot get the logs from {unknown}")),
            (&["exec", "cm/db", "--", "date"], format!("cannot attach to {unknown}")),
        ] {
            let result = server.kubectl(line).await;
            assert_eq!((result.code, result.err), (1, format!("error: {want}\n")), "{line:?}");
        }
    }

    #[test]
    fn an_older_pod_comes_before_a_newer_one() {
        let (old, mut new, mut unknown) =
            (pod("old", "Running", None), pod("new", "Running", None), pod("unknown", "Running", None));
        new["metadata"]["creationTimestamp"] = json!("2026-02-01T00:00:00Z");
        unknown["metadata"]["creationTimestamp"] = Value::Null;
        for choice in [Choice::Session, Choice::Log] {
            assert_eq!(first(&[&unknown, &new, &old], choice), "old");
            assert_eq!(first(&[&unknown, &new], choice), "new");
        }
    }
}
