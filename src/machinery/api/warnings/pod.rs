//! Pods and pod templates.

use super::{Found, container, fractional, has_annotation, overlap, storage};
use crate::gostr::quote;
use crate::meta;
use crate::pod_spec::annotations::{APP_ARMOR, SECCOMP, SECCOMP_OF_POD, app_armor};
use crate::validate::names;
use crate::value::{at, int, list, map, text};
use serde_json::Value;
use std::collections::HashSet;

/// Labels of nodes that have other names by now.
const NODE_LABELS: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

/// Annotations that nothing reads any more.
const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

const NO_SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const NO_APP_ARMOR: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";

/// Returns what is to be said of a label of nodes, if it is one that should not be used.
pub(super) fn node_label(key: &str) -> Option<&'static str> {
    NODE_LABELS.iter().find(|(label, _)| *label == key).map(|(_, why)| *why)
}

/// Warns of a term that selects nodes: its labels, and, if nothing else has judged them, its
/// values.
pub(super) fn node_selector_term(term: &Value, judges_values: bool, path: &str, found: &mut Found) {
    for (i, expression) in list(term, "matchExpressions").iter().enumerate() {
        let (key, path) = (text(expression, "key"), format!("{path}.matchExpressions[{i}]"));
        if let Some(why) = node_label(key) {
            found.push(format!("{path}.key: {key} is {why}"));
        }
        let values = list(expression, "values").iter().filter(|_| judges_values).filter_map(Value::as_str);
        for (j, value) in values.enumerate() {
            for problem in names::label_value(value) {
                found.push(format!("{path}.values[{j}]: {value} is invalid, {problem}"));
            }
        }
    }
}

/// Warns of the AppArmor profiles of a new pod that stand in annotations alone: they are copied to
/// the fields afterwards, so this has to be asked before.
pub fn app_armor_of_new_pod(pod: &Value) -> Vec<String> {
    let mut found = Found::default();
    for (container, _) in container::all(at(pod, "spec"), "spec") {
        app_armor_annotation(pod, container, "", &mut found);
    }
    found.0
}

/// Warns of the metadata and the spec of a pod or a template. `above` is empty, or the path of the
/// template with a dot behind it.
pub(super) fn pod(owner: &Value, above: &str, found: &mut Found) {
    let (spec, path) = (at(owner, "spec"), format!("{above}spec"));
    nodes(spec, &path, found);
    for (key, why) in ANNOTATIONS {
        if has_annotation(owner, key) {
            found.push(format!("{above}metadata.annotations[{key}]: {why}"));
        }
    }
    for (i, volume) in list(spec, "volumes").iter().enumerate() {
        storage::of_pod(volume, &format!("{path}.volumes[{i}]"), found);
    }
    overlap::volumes(spec, found);
    repeated(spec, &path, found);
    for amount in ["memory", "ephemeral-storage"] {
        fractional(at(spec, "overhead"), amount, &format!("{path}.overhead"), found);
    }
    if at(spec, "securityContext.seccompProfile").is_null() && has_annotation(owner, SECCOMP_OF_POD) {
        found.push(format!("{above}metadata.annotations[{SECCOMP_OF_POD}]: {NO_SECCOMP}"));
    }
    for (one, path) in container::all(spec, &path) {
        let key = format!("{SECCOMP}{}", text(one, "name"));
        if at(one, "securityContext.seccompProfile").is_null() && has_annotation(owner, &key) {
            found.push(format!("{above}metadata.annotations[{key}]: {NO_SECCOMP}"));
        }
        // Those of a pod are in its fields by now: see above.
        if !above.is_empty() {
            app_armor_annotation(owner, one, above, found);
        }
        container::amounts(one, &path, found);
        container::variables(one, &path, found);
    }
    container::ports(spec, &path, found);
    if int(spec, "terminationGracePeriodSeconds").is_some_and(|seconds| seconds < 0) {
        found.push(format!(
            "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    affinity(spec, &path, found);
}

/// Warns of old labels of nodes that the pod asks for or is spread by.
fn nodes(spec: &Value, path: &str, found: &mut Found) {
    for key in map(spec, "nodeSelector").into_iter().flat_map(|labels| labels.keys()) {
        if let Some(why) = node_label(key) {
            found.push(format!("{path}.nodeSelector[{key}]: {why}"));
        }
    }
    const REQUIRED: &str =
        "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    for (i, term) in list(spec, REQUIRED).iter().enumerate() {
        node_selector_term(term, false, &format!("{path}.{REQUIRED}[{i}]"), found);
    }
    const PREFERRED: &str = "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution";
    for (i, term) in list(spec, PREFERRED).iter().enumerate() {
        let path = format!("{path}.{PREFERRED}[{i}].preference");
        node_selector_term(at(term, "preference"), true, &path, found);
    }
    for (i, spread) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        let (key, path) = (text(spread, "topologyKey"), format!("{path}.topologySpreadConstraints[{i}]"));
        if let Some(why) = node_label(key) {
            found.push(format!("{path}.topologyKey: {key} is {why}"));
        }
        if at(spread, "labelSelector").is_null() {
            found.push(format!("{path}.labelSelector: {NO_SELECTOR}"));
        }
    }
}

/// Warns of items that merge by a name which stands there twice, or is empty.
fn repeated(spec: &Value, path: &str, found: &mut Found) {
    for (field, key) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
        let mut seen = HashSet::new();
        for (i, item) in list(spec, field).iter().enumerate() {
            let name = text(item, key);
            if !seen.insert(name) {
                found.push(format!("{path}.{field}[{i}].{key}: duplicate {key} {}", quote(name)));
            }
        }
    }
    for (i, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        if text(secret, "name").is_empty() {
            found.push(format!("{path}.imagePullSecrets[{i}].name: invalid empty name \"\""));
        }
    }
}

/// Warns of a profile in an annotation without a field that says the same.
fn app_armor_annotation(owner: &Value, container: &Value, above: &str, found: &mut Found) {
    const FIELD: &str = "securityContext.appArmorProfile";
    let key = format!("{APP_ARMOR}{}", text(container, "name"));
    let Some(noted) = meta::annotation(owner, &key) else { return };
    let of_pod = at(owner, &format!("spec.{FIELD}"));
    let is_of_pod = !of_pod.is_null() && app_armor(noted).as_ref() == Some(of_pod);
    if at(container, FIELD).is_null() && !is_of_pod {
        found.push(format!("{above}metadata.annotations[{key}]: {NO_APP_ARMOR}"));
    }
}

fn affinity(spec: &Value, path: &str, found: &mut Found) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        for (list_name, term) in [
            ("requiredDuringSchedulingIgnoredDuringExecution", ""),
            ("preferredDuringSchedulingIgnoredDuringExecution", "podAffinityTerm."),
        ] {
            let terms = format!("affinity.{kind}.{list_name}");
            for (i, one) in list(spec, &terms).iter().enumerate() {
                let selector = format!("{term}labelSelector");
                if at(one, &selector).is_null() {
                    found.push(format!("{path}.{terms}[{i}].{selector}: {NO_SELECTOR}"));
                }
            }
        }
    }
}
