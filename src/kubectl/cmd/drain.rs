//! drain: cordons nodes and evicts their pods.

use super::common::DryRun;
use super::nodes::{mark, nodes};
use crate::api::value;
use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::{Fail, text};
use crate::kubectl::gostr::quote;
use serde_json::{Value, json};
use std::time::Duration;

/// A pod whose disruption budget is used up is tried again after this time.
const AGAIN: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_secs(1);

pub async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    let (infos, failures) = nodes(ctx).await?;
    Fail::join(failures)?;
    mark(ctx, true).await?;
    let mut failed: Vec<(String, Fail)> = vec![];
    for info in &infos {
        match drain(ctx, &info.name, dry_run).await {
            Ok(()) => ctx.line(format!("node/{} {}", info.name, dry_run.told("drained"))),
            Err(fail) => {
                ctx.note(format!(
                    "error: unable to drain node {} due to error: {}, continuing command...",
                    quote(&info.name),
                    fail.message()
                ));
                failed.push((info.name.clone(), fail));
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    ctx.note("There are pending nodes to be drained:");
    for (name, fail) in &failed {
        ctx.note(format!(" {name}"));
        ctx.note(fail.message());
    }
    Err(Fail::Exit(1))
}

fn named(pod: &Value) -> String {
    format!("{}/{}", value::text(pod, "metadata.namespace"), value::text(pod, "metadata.name"))
}

/// What stands in the way of a pod's eviction.
enum Verdict {
    Evict,
    Skip,
    /// Stays, with a warning.
    Warn,
    Refuse(&'static str),
}

const DAEMON: &str = "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)";
const LOCAL: &str = "cannot delete Pods with local storage (use --delete-emptydir-data to override)";
const ALONE: &str = "cannot delete cannot delete Pods that declare no controller (use --force to override)";

fn judge(ctx: &Ctx, pod: &Value) -> Verdict {
    let annotations = value::at(pod, "metadata.annotations");
    if !annotations["kubernetes.io/config.mirror"].is_null() {
        return Verdict::Skip;
    }
    let ended = matches!(value::text(pod, "status.phase"), "Succeeded" | "Failed");
    let owner = value::list(pod, "metadata.ownerReferences").iter().find(|o| value::flag(o, "controller"));
    if owner.is_some_and(|o| value::text(o, "kind") == "DaemonSet") && !ended {
        return match ctx.flags.is("ignore-daemonsets") {
            true => Verdict::Warn,
            false => Verdict::Refuse(DAEMON),
        };
    }
    if ended {
        return Verdict::Evict;
    }
    let local = value::list(pod, "spec.volumes").iter().any(|v| v.get("emptyDir").is_some());
    if local && !ctx.flags.is("delete-emptydir-data") {
        return Verdict::Refuse(LOCAL);
    }
    if owner.is_none() {
        return match ctx.flags.is("force") {
            true => Verdict::Evict,
            false => Verdict::Refuse(ALONE),
        };
    }
    Verdict::Evict
}

async fn drain(ctx: &Ctx, node: &str, dry_run: DryRun) -> Result<(), Fail> {
    let selector = format!("spec.nodeName={node}");
    let mut query = vec![("fieldSelector", selector.as_str()), ("limit", "500")];
    if !ctx.flags.text("pod-selector").is_empty() {
        query.push(("labelSelector", ctx.flags.text("pod-selector")));
    }
    let list = ctx.api().await?.get("/api/v1/pods", &query).await?;
    let (mut evict, mut warned): (Vec<&Value>, Vec<String>) = (vec![], vec![]);
    let mut refused: Vec<(&str, Vec<String>)> = vec![];
    for pod in value::list(&list, "items") {
        match judge(ctx, pod) {
            Verdict::Evict => evict.push(pod),
            Verdict::Skip => {}
            Verdict::Warn => warned.push(named(pod)),
            Verdict::Refuse(why) => match refused.iter_mut().find(|(w, _)| *w == why) {
                Some((_, pods)) => pods.push(named(pod)),
                None => refused.push((why, vec![named(pod)])),
            },
        }
    }
    if !refused.is_empty() {
        let all: Vec<String> =
            refused.iter().map(|(why, pods)| format!("{why}: {}", pods.join(", "))).collect();
        return text(match all.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        });
    }
    if !warned.is_empty() {
        ctx.note(format!("Warning: ignoring DaemonSet-managed Pods: {}", warned.join(", ")));
    }
    let limit = ctx.flags.duration("timeout");
    let work = futures::future::join_all(evict.iter().map(|pod| remove(ctx, pod, dry_run)));
    let outcomes = match limit.is_zero() {
        true => work.await,
        false => match tokio::time::timeout(limit, work).await {
            Ok(outcomes) => outcomes,
            Err(_) => {
                return text(
                    "global timeout reached: ".to_string()
                        + &crate::kubectl::gostr::Nanos(limit.as_nanos() as i128).to_string(),
                );
            }
        },
    };
    Fail::join(outcomes.into_iter().filter_map(Result::err).collect())
}

/// Evicts one pod and waits until it is gone.
async fn remove(ctx: &Ctx, pod: &Value, dry_run: DryRun) -> Result<(), Fail> {
    let (namespace, name) = (value::text(pod, "metadata.namespace"), value::text(pod, "metadata.name"));
    let uid = value::text(pod, "metadata.uid");
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let evicts = !ctx.flags.is("disable-eviction");
    ctx.line(format!(
        "{} pod {namespace}/{name}{}",
        if evicts { "evicting" } else { "deleting" },
        match dry_run {
            DryRun::No => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        }
    ));
    if dry_run == DryRun::Client {
        return Ok(());
    }
    let mut options = json!({});
    if ctx.flags.int("grace-period") >= 0 {
        value::put(&mut options, "gracePeriodSeconds", ctx.flags.int("grace-period"));
    }
    if dry_run == DryRun::Server {
        value::put(&mut options, "dryRun", json!(["All"]));
    }
    let api = ctx.api().await?;
    loop {
        let body = json!({"kind": "Eviction", "apiVersion": "policy/v1",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": null}, "deleteOptions": options});
        let outcome = match evicts {
            true => api.post(&format!("{path}/eviction"), &[], &body).await,
            false => api.delete(&path, &[], &options).await,
        };
        match outcome {
            Ok(_) => break,
            Err(fail) if fail.is_not_found() => return Ok(()),
            Err(fail) if fail.code() == Some(429) => {
                ctx.note(format!(
                    "error when evicting pods/{} -n {} (will retry after 5s): {}",
                    quote(name),
                    quote(namespace),
                    fail.message()
                ));
                ctx.output.flush().await;
                tokio::time::sleep(AGAIN).await;
            }
            Err(fail) => {
                return text(format!(
                    "error when evicting pods/{} -n {}: {}",
                    quote(name),
                    quote(namespace),
                    fail.message()
                ));
            }
        }
    }
    if dry_run == DryRun::Server {
        return Ok(());
    }
    loop {
        match api.get(&path, &[]).await {
            Ok(there) if value::text(&there, "metadata.uid") == uid => tokio::time::sleep(POLL).await,
            Ok(_) => break,
            Err(fail) if fail.is_not_found() => break,
            Err(fail) => return Err(fail),
        }
    }
    ctx.line(format!("pod/{name} {}", if evicts { "evicted" } else { "deleted" }));
    Ok(())
}
