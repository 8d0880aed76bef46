//! Pods and pod templates.

use super::containers::{containers, resources};
use super::text::{Text, controller, or_none, rfc1123, since};
use super::volumes::volumes;
use api::value;
use serde_json::Value;

pub(super) fn pod(text: &mut Text, pod: &Value) {
    let part = |path: &str| value::text(pod, path);
    text.field(0, "Name", part("metadata.name"));
    text.field(0, "Namespace", part("metadata.namespace"));
    if let Some(priority) = value::int(pod, "spec.priority") {
        text.field(0, "Priority", priority);
    }
    for (title, path) in [
        ("Priority Class Name", "spec.priorityClassName"),
        ("Runtime Class Name", "spec.runtimeClassName"),
        ("Service Account", "spec.serviceAccountName"),
    ] {
        if !part(path).is_empty() {
            text.field(0, title, part(path));
        }
    }
    match part("spec.nodeName") {
        "" => text.field(0, "Node", "<none>"),
        node => text.field(0, "Node", format!("{node}/{}", part("status.hostIP"))),
    }
    if !part("status.startTime").is_empty() {
        text.field(0, "Start Time", rfc1123(part("status.startTime")));
    }
    text.labels("Labels", value::at(pod, "metadata.labels"));
    text.annotations("Annotations", value::at(pod, "metadata.annotations"));
    status(text, pod);
    let profile = value::at(pod, "spec.securityContext.seccompProfile");
    if !profile.is_null() {
        text.field(0, "SeccompProfile", value::text(profile, "type"));
        if value::text(profile, "type") == "Localhost" {
            text.field(0, "LocalhostProfile", value::text(profile, "localhostProfile"));
        }
    }
    text.field(0, "IP", part("status.podIP"));
    let ips = value::list(pod, "status.podIPs");
    text.line(0, if ips.is_empty() { "IPs:\t<none>" } else { "IPs:" });
    ips.iter().for_each(|ip| text.field(1, "IP", value::text(ip, "ip")));
    if let Some(owner) = controller(pod) {
        text.field(0, "Controlled By", owner);
    }
    if !part("status.nominatedNodeName").is_empty() {
        text.field(0, "NominatedNodeName", part("status.nominatedNodeName"));
    }
    let whole = value::at(pod, "spec.resources");
    if !whole.is_null() {
        text.line(0, "Resources:");
        resources(text, 1, whole);
    }
    for (title, spec, status, always) in [
        ("Init Containers", "spec.initContainers", "status.initContainerStatuses", false),
        ("Containers", "spec.containers", "status.containerStatuses", true),
        ("Ephemeral Containers", "spec.ephemeralContainers", "status.ephemeralContainerStatuses", false),
    ] {
        let list = value::list(pod, spec);
        if always || !list.is_empty() {
            containers(text, title, list, value::list(pod, status), Some(pod), "");
        }
    }
    gates_and_conditions(text, pod);
    volumes(text, value::list(pod, "spec.volumes"), "");
    text.field(0, "QoS Class", part("status.qosClass"));
    text.labels("Node-Selectors", value::at(pod, "spec.nodeSelector"));
    text.tolerations("Tolerations", value::list(pod, "spec.tolerations"));
    spread(text, value::list(pod, "spec.topologySpreadConstraints"), "");
    workload(text, value::at(pod, "spec.workloadRef"), "");
}

/// The pod's phase, or how long it has been terminating, and why it is in that phase.
fn status(text: &mut Text, pod: &Value) {
    let part = |path: &str| value::text(pod, path);
    let phase = part("status.phase");
    let deleted = part("metadata.deletionTimestamp");
    if !deleted.is_empty() && !matches!(phase, "Failed" | "Succeeded") {
        text.field(0, "Status", format!("Terminating (lasts {})", since(deleted)));
        let grace = value::int(pod, "metadata.deletionGracePeriodSeconds").unwrap_or(0);
        text.field(0, "Termination Grace Period", format!("{grace}s"));
    } else {
        text.field(0, "Status", phase);
    }
    for (title, path) in [("Reason", "status.reason"), ("Message", "status.message")] {
        if !part(path).is_empty() {
            text.field(0, title, part(path));
        }
    }
}

/// Readiness gates with the conditions that they wait for, and all conditions.
fn gates_and_conditions(text: &mut Text, pod: &Value) {
    let conditions = value::list(pod, "status.conditions");
    let gates = value::list(pod, "spec.readinessGates");
    if !gates.is_empty() {
        text.line(0, "Readiness Gates:\n  Type\tStatus");
        for gate in gates {
            let kind = value::text(gate, "conditionType");
            let status = conditions.iter().find(|c| value::text(c, "type") == kind);
            text.line(1, format!("{kind} \t{} ", status.map_or("<none>", |c| value::text(c, "status"))));
        }
    }
    if !conditions.is_empty() {
        text.line(0, "Conditions:\n  Type\tStatus");
        for c in conditions {
            text.line(1, format!("{} \t{} ", value::text(c, "type"), value::text(c, "status")));
        }
    }
}

/// Topology spread constraints, if there are any.
fn spread(text: &mut Text, list: &[Value], inset: &str) {
    if list.is_empty() {
        return;
    }
    text.put(0, format!("{inset}Topology Spread Constraints:\t"));
    let mut sorted: Vec<&Value> = list.iter().collect();
    sorted.sort_by_key(|c| value::text(c, "topologyKey"));
    for (i, c) in sorted.into_iter().enumerate() {
        let selector = api::labels::Selector::of(value::at(c, "labelSelector"));
        let line = format!(
            "{}:{} when max skew {} is exceeded{}",
            value::text(c, "topologyKey"),
            value::text(c, "whenUnsatisfiable"),
            value::int(c, "maxSkew").unwrap_or(0),
            selector.map_or(String::new(), |s| format!(" for selector {}", or_none(&s.to_string())))
        );
        let start = if i > 0 { format!("{inset}\t") } else { String::new() };
        text.line(0, format!("{start}{line}"));
    }
}

/// The Workload that the pods are scheduled with, if there is one.
fn workload(text: &mut Text, reference: &Value, inset: &str) {
    if reference.is_null() {
        return;
    }
    text.line(0, format!("{inset}WorkloadRef:"));
    text.field(1, "Name", value::text(reference, "name"));
    text.field(1, "PodGroup", value::text(reference, "podGroup"));
    if !value::empty(reference, "podGroupReplicaKey") {
        text.field(1, "PodGroupReplicaKey", value::text(reference, "podGroupReplicaKey"));
    }
}

/// `Pod Template:` of a workload.
pub(super) fn template(text: &mut Text, template: &Value) {
    text.line(0, "Pod Template:");
    text.labels("  Labels", value::at(template, "metadata.labels"));
    if !value::empty(template, "metadata.annotations") {
        text.annotations("  Annotations", value::at(template, "metadata.annotations"));
    }
    if !value::empty(template, "spec.serviceAccountName") {
        text.field(0, "  Service Account", value::text(template, "spec.serviceAccountName"));
    }
    let init = value::list(template, "spec.initContainers");
    if !init.is_empty() {
        containers(text, "Init Containers", init, &[], None, "  ");
    }
    containers(text, "Containers", value::list(template, "spec.containers"), &[], None, "  ");
    volumes(text, value::list(template, "spec.volumes"), "  ");
    spread(text, value::list(template, "spec.topologySpreadConstraints"), "  ");
    if !value::empty(template, "spec.priorityClassName") {
        text.field(0, "  Priority Class Name", value::text(template, "spec.priorityClassName"));
    }
    text.labels("  Node-Selectors", value::at(template, "spec.nodeSelector"));
    text.tolerations("  Tolerations", value::list(template, "spec.tolerations"));
    workload(text, value::at(template, "spec.workloadRef"), "  ");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_has_its_own_resources_and_profile() {
        let described = |spec: Value| {
            let mut text = Text::default();
            pod(&mut text, &json!({"spec": spec}));
            text.finish()
        };
        let printed = described(json!({
            "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}},
            "securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"}},
            "topologySpreadConstraints": [{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1}],
        }));
        assert!(printed.contains("Resources:\n  Limits:\n    cpu:  1\n  Requests:\n    cpu:"), "{printed}");
        assert!(printed.contains("LocalhostProfile:") && printed.contains("p.json\n"), "{printed}");
        assert!(printed.contains("zone:DoNotSchedule when max skew 1 is exceeded\n"), "{printed}");
        let printed = described(json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}));
        assert!(!printed.contains("LocalhostProfile") && !printed.contains("Resources:"), "{printed}");
        let printed = described(json!({"workloadRef": {"name": "w", "podGroup": "g"}}));
        assert!(printed.ends_with("WorkloadRef:\n  Name:      w\n  PodGroup:  g\n"), "{printed}");
    }

    #[test]
    fn spread_constraints_of_a_template_begin_with_its_inset() {
        let constraint = |key: &str| json!({"topologyKey": key, "whenUnsatisfiable": "DoNotSchedule"});
        let spec = json!({"topologySpreadConstraints": [constraint("a"), constraint("b")]});
        let printed = crate::describe::template(&json!({"spec": spec}));
        assert!(printed.contains("exceeded\n  \tb:DoNotSchedule when max skew 0"), "{printed}");
    }
}
