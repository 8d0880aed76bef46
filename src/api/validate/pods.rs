//! Pods and pod templates.

use super::{labels, names, one_of};
use crate::api::errors::Errors;
use crate::api::quantity::Quantity;
use crate::api::value::{at, empty, int, list, map, text};
use serde_json::{Value, json};

pub fn pod(object: &Value, errors: &mut Errors) {
    spec(at(object, "spec"), "spec", errors);
}

/// The template at `path` of a workload.
pub fn template(object: &Value, path: &str, errors: &mut Errors) {
    template_at(at(object, path), path, errors);
}

pub fn template_at(template: &Value, field: &str, errors: &mut Errors) {
    labels(template, "metadata.labels", &format!("{field}.labels"), errors);
    spec(at(template, "spec"), &format!("{field}.spec"), errors);
    if !empty(template, "spec.ephemeralContainers") {
        errors.forbidden(
            format!("{field}.spec.ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

fn spec(spec: &Value, field: &str, errors: &mut Errors) {
    let volumes = volumes(spec, field, errors);
    if list(spec, "containers").is_empty() {
        errors.required(format!("{field}.containers"), "");
    }
    let mut seen: Vec<&str> = vec![];
    for group in ["initContainers", "containers", "ephemeralContainers"] {
        for (i, c) in list(spec, group).iter().enumerate() {
            let here = format!("{field}.{group}[{i}]");
            own_name(c, &here, &mut seen, errors);
            container(c, &here, &volumes, group, errors);
        }
    }
    one_of(
        spec,
        "restartPolicy",
        &format!("{field}.restartPolicy"),
        &["Always", "Never", "OnFailure"],
        errors,
    );
    one_of(
        spec,
        "dnsPolicy",
        &format!("{field}.dnsPolicy"),
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        errors,
    );
    for (path, low) in [("terminationGracePeriodSeconds", 0), ("activeDeadlineSeconds", 1)] {
        if int(spec, path).is_some_and(|n| n < low) {
            let why = if low == 0 {
                "must be greater than or equal to 0"
            } else {
                "must be between 1 and 2147483647, inclusive"
            };
            errors.invalid(format!("{field}.{path}"), at(spec, path), why);
        }
    }
    labels(spec, "nodeSelector", &format!("{field}.nodeSelector"), errors);
    for path in ["nodeName", "serviceAccountName"] {
        let name = text(spec, path);
        if !name.is_empty() {
            for problem in names::dns_subdomain(name) {
                errors.invalid_text(format!("{field}.{path}"), name, &problem);
            }
        }
    }
    for path in ["hostname", "subdomain"] {
        let name = text(spec, path);
        if !name.is_empty() {
            for problem in names::dns_label(name) {
                errors.invalid_text(format!("{field}.{path}"), name, &problem);
            }
        }
    }
    tolerations(spec, field, errors);
}

/// A DNS label that nothing before it in the list has, which `seen` holds.
fn own_name<'a>(named: &'a Value, field: &str, seen: &mut Vec<&'a str>, errors: &mut Errors) {
    let (name, field) = (text(named, "name"), format!("{field}.name"));
    if name.is_empty() {
        errors.required(field, "");
    } else if seen.contains(&name) {
        errors.duplicate(field, &json!(name));
    } else {
        for problem in names::dns_label(name) {
            errors.invalid_text(&field, name, &problem);
        }
    }
    seen.push(name);
}

/// Checks volumes and returns their names.
fn volumes<'a>(spec: &'a Value, field: &str, errors: &mut Errors) -> Vec<&'a str> {
    let mut seen: Vec<&str> = vec![];
    for (i, volume) in list(spec, "volumes").iter().enumerate() {
        let here = format!("{field}.volumes[{i}]");
        own_name(volume, &here, &mut seen, errors);
        let sources = volume.as_object().map_or(0, |v| v.len() - usize::from(v.contains_key("name")));
        if sources > 1 {
            errors.forbidden(&here, "may not specify more than 1 volume type");
        }
        for (path, what) in [
            ("secret.secretName", "secret"),
            ("persistentVolumeClaim.claimName", "persistentVolumeClaim"),
            ("configMap.name", "configMap"),
            ("hostPath.path", "hostPath"),
        ] {
            if at(volume, what).is_object() && text(volume, path).is_empty() {
                errors.required(format!("{here}.{path}"), "");
            }
        }
    }
    seen
}

fn container(c: &Value, field: &str, volumes: &[&str], group: &str, errors: &mut Errors) {
    let image = text(c, "image");
    if image.is_empty() {
        errors.required(format!("{field}.image"), "");
    } else if image.trim() != image {
        errors.invalid_text(format!("{field}.image"), image, "must not have leading or trailing whitespace");
    }
    one_of(
        c,
        "imagePullPolicy",
        &format!("{field}.imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
        errors,
    );
    one_of(
        c,
        "terminationMessagePolicy",
        &format!("{field}.terminationMessagePolicy"),
        &["FallbackToLogsOnError", "File"],
        errors,
    );
    let mut names_seen: Vec<&str> = vec![];
    for (i, port) in list(c, "ports").iter().enumerate() {
        let here = format!("{field}.ports[{i}]");
        let name = text(port, "name");
        if !name.is_empty() {
            for problem in names::port_name(name) {
                errors.invalid_text(format!("{here}.name"), name, &problem);
            }
            if names_seen.contains(&name) {
                errors.duplicate(format!("{here}.name"), &json!(name));
            }
            names_seen.push(name);
        }
        match int(port, "containerPort") {
            None | Some(0) => errors.required(format!("{here}.containerPort"), ""),
            Some(n) => {
                if let Some(problem) = names::port_number(n) {
                    errors.invalid(format!("{here}.containerPort"), &json!(n), problem);
                }
            }
        }
        if let Some(n) = int(port, "hostPort").filter(|n| *n != 0)
            && let Some(problem) = names::port_number(n)
        {
            errors.invalid(format!("{here}.hostPort"), &json!(n), problem);
        }
        one_of(port, "protocol", &format!("{here}.protocol"), &["SCTP", "TCP", "UDP"], errors);
    }
    environment(c, field, errors);
    resources(c, field, errors);
    let mut paths: Vec<&str> = vec![];
    for (i, mount) in list(c, "volumeMounts").iter().enumerate() {
        let here = format!("{field}.volumeMounts[{i}]");
        let (name, path) = (text(mount, "name"), text(mount, "mountPath"));
        if name.is_empty() {
            errors.required(format!("{here}.name"), "");
        } else if !volumes.contains(&name) {
            errors.not_found(format!("{here}.name"), &json!(name));
        }
        if path.is_empty() {
            errors.required(format!("{here}.mountPath"), "");
        } else if paths.contains(&path) {
            errors.invalid_text(format!("{here}.mountPath"), path, "must be unique");
        }
        paths.push(path);
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let value = at(c, probe);
        if value.is_null() {
            continue;
        }
        let here = format!("{field}.{probe}");
        handler(value, &here, errors);
        if group == "initContainers" && text(c, "restartPolicy") != "Always" {
            errors.forbidden(&here, "may not be set for init containers without restartPolicy=Always");
        }
        if probe != "readinessProbe" && int(value, "successThreshold").is_some_and(|n| n != 1) {
            errors.invalid(format!("{here}.successThreshold"), at(value, "successThreshold"), "must be 1");
        }
        for path in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"] {
            if int(value, path).is_some_and(|n| n < 0) {
                errors.invalid(
                    format!("{here}.{path}"),
                    at(value, path),
                    "must be greater than or equal to 0",
                );
            }
        }
    }
    for hook in ["postStart", "preStop"] {
        let value = at(c, &format!("lifecycle.{hook}"));
        if !value.is_null() && at(value, "sleep").is_null() {
            handler(value, &format!("{field}.lifecycle.{hook}"), errors);
        }
    }
}

fn handler(value: &Value, field: &str, errors: &mut Errors) {
    let kinds = ["exec", "httpGet", "tcpSocket", "grpc"];
    match kinds.iter().filter(|k| value.get(**k).is_some()).count() {
        0 => errors.required(field, "must specify a handler type"),
        1 => {}
        _ => errors.forbidden(field, "may not specify more than 1 handler type"),
    }
    if value.get("exec").is_some() && list(value, "exec.command").is_empty() {
        errors.required(format!("{field}.exec.command"), "");
    }
    for kind in ["httpGet", "tcpSocket"] {
        let port = at(value, &format!("{kind}.port"));
        if let Some(problem) = port.as_i64().and_then(names::port_number) {
            errors.invalid(format!("{field}.{kind}.port"), port, problem);
        }
    }
}

fn environment(c: &Value, field: &str, errors: &mut Errors) {
    for (i, variable) in list(c, "env").iter().enumerate() {
        let here = format!("{field}.env[{i}]");
        let name = text(variable, "name");
        if name.is_empty() {
            errors.required(format!("{here}.name"), "");
        } else {
            for problem in names::env_name(name) {
                errors.invalid_text(format!("{here}.name"), name, &problem);
            }
        }
        let Some(from) = map(variable, "valueFrom") else { continue };
        if from.is_empty() {
            errors.invalid(
                format!("{here}.valueFrom"),
                &json!(""),
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            );
        } else if !text(variable, "value").is_empty() {
            errors.invalid(
                format!("{here}.valueFrom"),
                &json!(""),
                "may not be specified when `value` is not empty",
            );
        }
        for source in ["configMapKeyRef", "secretKeyRef"] {
            if from.contains_key(source) && text(variable, &format!("valueFrom.{source}.key")).is_empty() {
                errors.required(format!("{here}.valueFrom.{source}.key"), "");
            }
        }
    }
}

fn resources(c: &Value, field: &str, errors: &mut Errors) {
    let amount = |v: &Value| v.as_str().and_then(Quantity::parse);
    for what in ["limits", "requests"] {
        for (name, value) in map(c, &format!("resources.{what}")).into_iter().flatten() {
            let here = format!("{field}.resources.{what}[{name}]");
            if amount(value).is_some_and(|q| q.is_negative()) {
                errors.invalid(&here, value, "must be greater than or equal to 0");
            }
            let standard = ["cpu", "memory", "ephemeral-storage", "storage"].contains(&name.as_str());
            if !standard && !name.starts_with("hugepages-") && !name.contains('/') {
                errors.invalid_text(&here, name, "must be a standard resource for containers");
            }
        }
    }
    for (name, request) in map(c, "resources.requests").into_iter().flatten() {
        let limit = at(c, "resources.limits").get(name);
        if let (Some(r), Some(l)) = (amount(request), limit.and_then(amount))
            && r > l
        {
            let why = format!(
                "must be less than or equal to {name} limit of {}",
                limit.and_then(Value::as_str).unwrap_or("")
            );
            errors.invalid(format!("{field}.resources.requests"), request, &why);
        }
    }
}

fn tolerations(spec: &Value, field: &str, errors: &mut Errors) {
    for (i, t) in list(spec, "tolerations").iter().enumerate() {
        let here = format!("{field}.tolerations[{i}]");
        let operator = text(t, "operator");
        if text(t, "key").is_empty() && operator != "Exists" {
            errors.invalid_text(
                format!("{here}.operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
        if operator == "Exists" && !text(t, "value").is_empty() {
            errors.invalid(&here, at(t, "value"), "value must be empty when `operator` is 'Exists'");
        }
        if !matches!(operator, "" | "Exists" | "Equal") {
            errors.not_supported(format!("{here}.operator"), at(t, "operator"), &["Equal", "Exists"]);
        }
        if !at(t, "tolerationSeconds").is_null() && text(t, "effect") != "NoExecute" {
            errors.invalid_text(
                format!("{here}.effect"),
                text(t, "effect"),
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        one_of(
            t,
            "effect",
            &format!("{here}.effect"),
            &["", "NoSchedule", "PreferNoSchedule", "NoExecute"],
            errors,
        );
    }
}

const FROZEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub fn pod_update(new: &Value, old: &Value, errors: &mut Errors) {
    for group in ["containers", "initContainers"] {
        let (a, b) = (list(new, &format!("spec.{group}")).len(), list(old, &format!("spec.{group}")).len());
        if a != b {
            errors.forbidden(format!("spec.{group}"), "pod updates may not add or remove containers");
            return;
        }
    }
    let (new_tolerations, old_tolerations) = (list(new, "spec.tolerations"), list(old, "spec.tolerations"));
    if old_tolerations.iter().any(|t| !new_tolerations.contains(t)) {
        errors.forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
    let gated = !list(old, "spec.schedulingGates").is_empty();
    let frozen = |pod: &Value| {
        let mut spec = at(pod, "spec").clone();
        if let Some(map) = spec.as_object_mut() {
            for key in ["activeDeadlineSeconds", "tolerations", "schedulingGates", "ephemeralContainers"] {
                map.shift_remove(key);
            }
            if gated {
                map.shift_remove("nodeSelector");
                map.shift_remove("affinity");
            }
            for group in ["containers", "initContainers"] {
                if let Some(Value::Array(list)) = map.get_mut(group) {
                    for c in list {
                        if let Some(c) = c.as_object_mut() {
                            c.shift_remove("image");
                        }
                    }
                }
            }
        }
        spec
    };
    if frozen(new) != frozen(old) {
        errors.forbidden("spec", FROZEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(spec: Value) -> Vec<String> {
        let mut errors = Errors::default();
        pod(&json!({"spec": spec}), &mut errors);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn mistakes_that_learners_make() {
        assert_eq!(errors(json!({"containers": []})), ["spec.containers: Required value"]);
        assert_eq!(
            errors(json!({"containers": [{"name": "a"}, {"name": "a", "image": "x"}]})),
            ["spec.containers[0].image: Required value", "spec.containers[1].name: Duplicate value: \"a\""]
        );
        assert_eq!(
            errors(
                json!({"containers": [{"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]})
            ),
            ["spec.containers[0].volumeMounts[0].name: Not found: \"v\""]
        );
        assert_eq!(
            errors(json!({"containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 99999}]}]})),
            [
                "spec.containers[0].ports[0].containerPort: Invalid value: 99999: must be between 1 and 65535, inclusive"
            ]
        );
        assert_eq!(
            errors(json!({"restartPolicy": "Sometimes", "containers": [{"name": "a", "image": "x",
                "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}]})),
            [
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
                "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\""
            ]
        );
    }

    #[test]
    fn only_a_pods_image_may_change() {
        let old = json!({"spec": {"containers": [{"name": "a", "image": "x"}]}});
        let check = |new: Value| {
            let mut errors = Errors::default();
            pod_update(&new, &old, &mut errors);
            errors.0.len()
        };
        assert_eq!(check(json!({"spec": {"containers": [{"name": "a", "image": "y"}]}})), 0);
        assert_eq!(check(json!({"spec": {"containers": [{"name": "a", "image": "x", "tty": true}]}})), 1);
    }
}
