//! Which pods of a node `drain` evicts, which it leaves, and which keep the node from being
//! drained.

use crate::ctx::Ctx;
use crate::error::Fail;
use crate::lists::whole;
use crate::wire::paths;
use api::value;
use serde_json::Value;

/// `namespace/pod`
pub(super) fn pod_name(pod: &Value) -> String {
    format!("{}/{}", value::text(pod, "metadata.namespace"), value::text(pod, "metadata.name"))
}

/// The decision about a pod of the node.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Evict,
    /// Stays without a word: a mirror pod, or one that has been ending for long.
    Skip,
    /// Goes although it will not come back, with a warning.
    Force(&'static str),
    /// Stays, with a warning.
    Leave(&'static str),
    /// Keeps the node from being drained.
    Refuse(&'static str),
}

const DAEMON: &str = "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)";
const LOCAL: &str = "cannot delete Pods with local storage (use --delete-emptydir-data to override)";
const ALONE: &str = "cannot delete cannot delete Pods that declare no controller (use --force to override)";
const IGNORED: &str = "ignoring DaemonSet-managed Pods";
const UNMANAGED: &str = "deleting Pods that declare no controller";

fn has_ended(pod: &Value) -> bool {
    matches!(value::text(pod, "status.phase"), "Succeeded" | "Failed")
}

fn owner(pod: &Value) -> Option<&Value> {
    value::list(pod, "metadata.ownerReferences").iter().find(|o| value::flag(o, "controller"))
}

/// The path of the DaemonSet that would bring a running pod back.
fn daemon_set(pod: &Value) -> Option<String> {
    let is = |o: &Value, field: &str, wanted: &str| value::text(o, field) == wanted;
    let owner = owner(pod).filter(|o| is(o, "kind", "DaemonSet") && is(o, "apiVersion", "apps/v1"));
    let owner = owner.filter(|_| !has_ended(pod))?;
    let all = paths::within("/apis/apps/v1", value::text(pod, "metadata.namespace"), "daemonsets");
    Some(format!("{all}/{}", paths::segment(value::text(owner, "name"))))
}

/// Returns whether a pod has been ending for longer than `--skip-wait-for-delete-timeout`.
fn is_skipped(ctx: &Ctx, pod: &Value) -> bool {
    let limit = ctx.flags.int("skip-wait-for-delete-timeout");
    limit > 0 && terminating_for(pod).is_some_and(|secs| secs > limit)
}

/// Decides what becomes of a pod. `orphaned`: its DaemonSet is gone, and `--force` lets the pod go
/// too.
fn judge(ctx: &Ctx, pod: &Value, orphaned: bool) -> Verdict {
    if is_skipped(ctx, pod) {
        return Verdict::Skip;
    }
    let annotations = value::at(pod, "metadata.annotations");
    if daemon_set(pod).is_some() && !orphaned {
        return match ctx.flags.is("ignore-daemonsets") {
            true => Verdict::Leave(IGNORED),
            false => Verdict::Refuse(DAEMON),
        };
    }
    if !annotations["kubernetes.io/config.mirror"].is_null() {
        return Verdict::Skip;
    }
    if has_ended(pod) {
        return Verdict::Evict;
    }
    let local = value::list(pod, "spec.volumes").iter().any(|v| v.get("emptyDir").is_some());
    if local && !ctx.flags.is("delete-emptydir-data") {
        return Verdict::Refuse(LOCAL);
    }
    match (owner(pod), ctx.flags.is("force")) {
        (Some(_), _) => Verdict::Evict,
        (None, true) => Verdict::Force(UNMANAGED),
        (None, false) => Verdict::Refuse(ALONE),
    }
}

/// Seconds since a pod began to end.
pub(super) fn terminating_for(pod: &Value) -> Option<i64> {
    let since: clock::Timestamp = value::text(pod, "metadata.deletionTimestamp").parse().ok()?;
    Some(clock::now().duration_since(since).as_secs())
}

/// The pods of a node that have to go, and messages about the others, each `why: namespace/pod, …`.
pub(super) struct Plan {
    pub evict: Vec<Value>,
    pub warnings: Vec<String>,
    pub refusals: Vec<String>,
}

/// Looks at the pods of a node and says what becomes of each.
pub(super) async fn plan(ctx: &Ctx, node: &str) -> Result<Plan, Fail> {
    let selector = format!("spec.nodeName={node}");
    let mut query = vec![("fieldSelector", selector.as_str())];
    if !ctx.flags.text("pod-selector").is_empty() {
        query.push(("labelSelector", ctx.flags.text("pod-selector")));
    }
    let list = whole(ctx, "/api/v1/pods", &query).await?;
    let mut by_verdict: Vec<(Verdict, Vec<String>)> = vec![];
    let mut evict = vec![];
    let (mut warnings, mut refusals) = (vec![], vec![]);
    for pod in value::list(&list, "items") {
        let mut orphaned = false;
        if let Some(set) = daemon_set(pod).filter(|_| !is_skipped(ctx, pod)) {
            match ctx.api().await?.get(&set, &[]).await {
                Ok(_) => {}
                Err(fail) if fail.is_not_found() && ctx.flags.is("force") => orphaned = true,
                Err(fail) => {
                    refusals.push(format!("cannot delete {}: {}", fail.message(), pod_name(pod)));
                    continue;
                }
            }
        }
        let verdict = judge(ctx, pod, orphaned);
        if matches!(verdict, Verdict::Evict | Verdict::Force(_)) {
            evict.push(pod.clone());
        }
        match by_verdict.iter_mut().find(|(v, _)| *v == verdict) {
            Some((_, pods)) => pods.push(pod_name(pod)),
            None => by_verdict.push((verdict, vec![pod_name(pod)])),
        }
    }
    for (verdict, pods) in by_verdict {
        match verdict {
            Verdict::Force(why) | Verdict::Leave(why) => warnings.push(format!("{why}: {}", pods.join(", "))),
            Verdict::Refuse(why) => refusals.push(format!("{why}: {}", pods.join(", "))),
            Verdict::Evict | Verdict::Skip => {}
        }
    }
    Ok(Plan { evict, warnings, refusals })
}
