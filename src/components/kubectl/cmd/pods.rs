//! The pod and the container that a command means, where it names a workload, or neither.

use super::common::pod_running_timeout;
use super::pages::items_of;
use crate::builder::whole;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::files;
use crate::info::{Info, Options};
use crate::wire::api::JSON;
use crate::wire::paths;
use api::gostr::quote;
use api::labels::Selector;
use api::value;
use client::discovery::Resource;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Which container is meant when none is named.
pub(super) const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// The pause before a watch that the server ended is begun again.
const AGAIN: Duration = Duration::from_millis(200);

/// The pod that `web`, `pod/web` or `deploy/web` means in the namespace of the command.
pub(crate) async fn pod_of(ctx: &Ctx, word: &str) -> Result<Info, Fail> {
    let (kind, name) = match word.contains('/') {
        true => crate::builder::type_and_name(word)?,
        false => ("pods", word),
    };
    let resource = ctx.resource(kind).await?;
    let (namespace, _) = ctx.namespace()?;
    pod_behind(
        ctx,
        Info { resource, namespace, name: name.into(), object: Value::Null, source: String::new() },
    )
    .await
}

/// The pod that an object means: the pod itself, or the first one that its selector matches, in its
/// namespace.
async fn pod_behind(ctx: &Ctx, mut info: Info) -> Result<Info, Fail> {
    info.fetch(ctx).await?;
    if info.resource.plural == "pods" {
        return Ok(info);
    }
    let Some(selector) = selector_of(&info) else {
        let kind = format!("*{}.{}", info.resource.version, info.resource.kind);
        return text(format!("cannot attach to {kind}: selector for {kind} not implemented"));
    };
    let pods = ctx.resource("pods").await?;
    let (first, _) = first_pod(ctx, &pods, &info.namespace, &selector).await?;
    Ok(first)
}

/// The pod that the one object of a manifest means. It may be in another namespace than the
/// command's.
pub(super) async fn pod_in_file(ctx: &Ctx, files: &[String]) -> Result<Info, Fail> {
    let (infos, failures) = files::read(ctx, files, Options::default()).await?;
    Fail::join(failures)?;
    match <[Info; 1]>::try_from(infos) {
        Ok([one]) => pod_behind(ctx, one).await,
        Err(_) => text("a single resource must be specified"),
    }
}

/// Which pods an object stands for.
pub(crate) fn selector_of(info: &Info) -> Option<Selector> {
    let spec = value::at(&info.object, "spec.selector");
    match info.resource.plural.as_str() {
        "services" | "replicationcontrollers" => Selector::of_map(spec),
        _ => Selector::of(spec),
    }
}

/// The pod that a selector means, of how many: one that runs before one that does not. Where there
/// is none yet, one is waited for as long as `--pod-running-timeout` says.
pub(super) async fn first_pod(
    ctx: &Ctx,
    pods: &Arc<Resource>,
    namespace: &str,
    selector: &Selector,
) -> Result<(Info, usize), Fail> {
    let path = paths::collection(pods, namespace);
    let selector = selector.to_string();
    let appearing = async {
        loop {
            let list = whole(ctx, &path, &[("labelSelector", &selector)]).await?;
            let mut found = items_of(&list, pods);
            sort_active_first(&mut found);
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

/// Scheduled before not, running before pending, ready before not, longer ready first
/// (`podutils.ByLogging`, reversed).
pub(crate) fn sort_active_first(pods: &mut [Value]) {
    let key = |pod: &Value| {
        let ready = value::list(pod, "status.conditions")
            .iter()
            .find(|c| c["type"] == "Ready" && c["status"] == "True")
            .cloned();
        let phase = match value::text(pod, "status.phase") {
            "Running" => 0,
            "Unknown" => 1,
            "Pending" => 2,
            _ => 3,
        };
        let since =
            ready.as_ref().map_or(String::new(), |c| value::text(c, "lastTransitionTime").to_string());
        (value::text(pod, "spec.nodeName").is_empty(), phase, ready.is_none(), since)
    };
    pods.sort_by_key(key);
}

/// The container meant: the one named, the annotated one, else the first (which is said).
pub(crate) fn container_of(ctx: &Ctx, pod: &Value, quiet: bool) -> Result<String, Fail> {
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
        // exec leaves it to the server to know its containers.
        if ctx.verb == "exec" || all.iter().any(|c| c == named) {
            return Ok(named.to_string());
        }
        return text(format!("container {named} not found in pod {}", value::text(pod, "metadata.name")));
    }
    let annotated = value::at(pod, "metadata.annotations")[DEFAULT_CONTAINER].as_str().unwrap_or("");
    if !annotated.is_empty() && all.iter().any(|c| c == annotated) {
        return Ok(annotated.to_string());
    }
    let Some(first) = regular.first() else {
        let part = |path: &str| value::text(pod, path);
        let (namespace, name) = (part("metadata.namespace"), part("metadata.name"));
        return text(format!("pod {namespace}/{name} does not have any containers"));
    };
    if all.len() > 1 && !quiet {
        let list: Vec<String> = regular.iter().cloned().chain(others).collect();
        ctx.note(format!("Defaulted container {} out of: {}", quote(first), list.join(", ")));
    }
    Ok(first.clone())
}
