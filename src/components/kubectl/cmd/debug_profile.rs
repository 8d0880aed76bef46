//! What a profile of `debug` changes in a pod. Source: kubectl, `pkg/cmd/debug/profiles.go`.

use crate::ctx::Ctx;
use api::value::{self, at, text};
use serde_json::{Value, json};

/// The names that `--profile` takes.
pub(super) const PROFILES: [&str; 6] =
    ["legacy", "general", "baseline", "netadmin", "restricted", "sysadmin"];

/// How a pod is debugged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Ephemeral,
    Copy,
}

/// The container of a pod with a name, of whatever sort it is.
pub(super) fn container_mut<'a>(pod: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let found = lists.iter().find_map(|list| {
        let all = value::list(pod, &format!("spec.{list}"));
        Some((list, all.iter().position(|c| text(c, "name") == name)?))
    });
    let (list, index) = found?;
    value::list_mut(pod, &format!("spec.{list}")).get_mut(index)
}

/// Appends to a list, which is made if it is not there.
pub(super) fn push(object: &mut Value, path: &str, item: Value) {
    match value::slot(object, path) {
        Value::Array(list) => list.push(item),
        other => *other = vec![item].into(),
    }
}

/// Applies the profile of the command line to a pod and its debug container.
pub(super) fn apply(ctx: &Ctx, pod: &mut Value, container: &str, style: Style) {
    let profile = ctx.flags.text("profile");
    if style == Style::Copy {
        match profile {
            "legacy" => drop(value::remove(pod, "metadata.labels")),
            _ => strip(ctx, pod),
        }
    }
    let Some(container) = container_mut(pod, container) else { return };
    if matches!(profile, "baseline" | "restricted") {
        value::remove(container, "securityContext");
    }
    match profile {
        "general" => add_capabilities(container, &["SYS_PTRACE"]),
        "netadmin" => add_capabilities(container, &["NET_ADMIN", "NET_RAW"]),
        "sysadmin" => value::put(container, "securityContext.privileged", true),
        "restricted" => value::put(
            container,
            "securityContext",
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}),
        ),
        _ => {}
    }
}

/// Takes out of a copy what would make it count as the original, unless a flag keeps it, and lets
/// its containers see each other's processes, unless the pod or a flag decided that.
fn strip(ctx: &Ctx, pod: &mut Value) {
    for (path, keep) in [
        ("metadata.labels", "keep-labels"),
        ("metadata.annotations", "keep-annotations"),
        ("spec.initContainers", "keep-init-containers"),
    ] {
        if !ctx.flags.is(keep) {
            value::remove(pod, path);
        }
    }
    for container in value::list_mut(pod, "spec.containers") {
        for (probe, keep) in [
            ("livenessProbe", "keep-liveness"),
            ("readinessProbe", "keep-readiness"),
            ("startupProbe", "keep-startup"),
        ] {
            if !ctx.flags.is(keep) {
                value::remove(container, probe);
            }
        }
    }
    value::default(pod, "spec.shareProcessNamespace", true);
}

fn add_capabilities(container: &mut Value, names: &[&str]) {
    let added = value::slot(container, "securityContext.capabilities.add");
    let mut all = added.as_array().cloned().unwrap_or_default();
    all.extend(names.iter().map(|name| json!(name)));
    *added = all.into();
}

/// Records whether a container was given rights that it may not have, because the whole pod runs
/// as another user than root.
pub(super) fn lacks_root(pod: &Value, container: &Value) -> bool {
    let user = |of: &Value| value::int(of, "securityContext.runAsUser");
    let granted = value::flag(container, "securityContext.privileged")
        || !value::list(container, "securityContext.capabilities.add").is_empty();
    let whole = user(at(pod, "spec")).is_some_and(|id| id != 0);
    whole && user(container) != Some(0) && granted
}
