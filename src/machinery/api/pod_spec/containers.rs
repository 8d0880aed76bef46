//! Containers of every kind: names, ports, environment, resources, probes, hooks.

use super::lists::GROUPS;
use super::volumes::{ENV_FIELDS, Volumes, field_ref, mounts, no_backsteps, resource_ref};
use super::{security, signals};
use crate::errors::Errors;
use crate::pod_spec::ephemeral::ephemeral;
use crate::pod_spec::resources::{Claims, claims, container_resource_name, requirements, resize};
use crate::validate::fields::{add_problems, one_of};
use crate::validate::names;
use crate::value::{at, int, list, text};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// Checks all containers of a pod's spec, and that no two have one name.
pub(super) fn all(spec: &Value, field: &str, volumes: &Volumes, errors: &mut Errors) {
    if list(spec, "containers").is_empty() {
        errors.required(format!("{field}.containers"), "");
    }
    let names = |group: &str| list(spec, group).iter().map(|c| text(c, "name"));
    let claims = Claims::of(spec);
    let targets: HashSet<&str> = names("containers").chain(names("initContainers")).collect();
    let mut seen: HashSet<&str> = HashSet::new();
    // A name is reported as a duplicate where it stands for the second time: init containers after
    // the others, as upstream. An empty name counts as one except for init containers.
    for group in ["containers", "initContainers", "ephemeralContainers"] {
        for (i, c) in list(spec, group).iter().enumerate() {
            let (here, name) = (format!("{field}.{group}[{i}]"), text(c, "name"));
            container(spec, c, &here, volumes, &claims, errors);
            if group == "initContainers" {
                restart_of_init(c, &here, errors);
            }
            if seen.contains(name) {
                errors.duplicate(format!("{here}.name"), &json!(name));
            } else if !name.is_empty() || group != "initContainers" {
                seen.insert(name);
            }
            match group {
                "containers" => {
                    active(spec, c, &here, errors);
                    restart(c, &here, errors);
                }
                "initContainers" => {
                    host_ports(&[c], &format!("{field}.initContainers"), errors);
                    if text(c, "restartPolicy") == "Always" {
                        active(spec, c, &here, errors);
                    } else {
                        let paths = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"];
                        for path in paths.into_iter().filter(|path| !at(c, path).is_null()) {
                            let why = "may not be set for init containers without restartPolicy=Always";
                            errors.forbidden(format!("{here}.{path}"), why);
                        }
                    }
                }
                _ => ephemeral(&targets, c, &here, errors),
            }
        }
    }
    host_ports(&list(spec, "containers").iter().collect::<Vec<_>>(), &format!("{field}.containers"), errors);
    file_keys(spec, field, errors);
}

/// Reports ports of the host that two containers ask for.
fn host_ports(containers: &[&Value], field: &str, errors: &mut Errors) {
    let mut seen: HashSet<String> = HashSet::new();
    for (i, c) in containers.iter().enumerate() {
        for (j, port) in list(c, "ports").iter().enumerate() {
            let Some(number) = int(port, "hostPort").filter(|n| *n != 0) else { continue };
            let key = format!("{}/{}/{number}", text(port, "protocol"), text(port, "hostIP"));
            if seen.contains(&key) {
                errors.duplicate(format!("{field}[{i}].ports[{j}].hostPort"), &json!(key));
            }
            seen.insert(key);
        }
    }
}

/// Checks what containers, init containers and ephemeral containers have in common.
fn container(spec: &Value, c: &Value, field: &str, volumes: &Volumes, known: &Claims, errors: &mut Errors) {
    match text(c, "name") {
        "" => errors.required(format!("{field}.name"), ""),
        name => add_problems(names::dns_label(name), &format!("{field}.name"), name, errors),
    }
    if text(c, "image").is_empty() {
        errors.required(format!("{field}.image"), "");
    }
    let policies = ["File", "FallbackToLogsOnError"];
    one_of(c, "terminationMessagePolicy", &format!("{field}.terminationMessagePolicy"), &policies, errors);
    ports(c, field, errors);
    environment(c, field, errors);
    mounts(c, field, volumes, errors);
    let policies = ["Always", "IfNotPresent", "Never"];
    one_of(c, "imagePullPolicy", &format!("{field}.imagePullPolicy"), &policies, errors);
    requirements(at(c, "resources"), &format!("{field}.resources"), &container_resource_name, errors);
    claims(known, c, &format!("{field}.resources.claims"), errors);
    resize(spec, c, &format!("{field}.resizePolicy"), errors);
    security::container(c, field, security::shares_users(spec), errors);
}

fn ports(c: &Value, field: &str, errors: &mut Errors) {
    let mut seen: HashSet<&str> = HashSet::new();
    for (i, port) in list(c, "ports").iter().enumerate() {
        let here = format!("{field}.ports[{i}]");
        let name = text(port, "name");
        if !name.is_empty() {
            let problems = names::port_name(name);
            problems.iter().for_each(|p| errors.invalid_text(format!("{here}.name"), name, p));
            if problems.is_empty() && seen.contains(&name) {
                errors.duplicate(format!("{here}.name"), &json!(name));
            }
            seen.insert(name);
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
        value_from(variable, &format!("{here}.valueFrom"), errors);
    }
    for (i, source) in list(c, "envFrom").iter().enumerate() {
        let here = format!("{field}.envFrom[{i}]");
        let prefix = text(source, "prefix");
        if !prefix.is_empty() {
            for problem in names::env_name(prefix) {
                errors.invalid_text(format!("{here}.prefix"), prefix, &problem);
            }
        }
        let kinds = ["configMapRef", "secretRef"].into_iter().filter(|k| at(source, k).is_object());
        let kinds: Vec<&str> = kinds.collect();
        for kind in &kinds {
            let (place, name) = (format!("{here}.{kind}.name"), text(source, &format!("{kind}.name")));
            if name.is_empty() {
                errors.required(place, "");
            } else {
                names::dns_subdomain(name).iter().for_each(|p| errors.invalid_text(&*place, name, p));
            }
        }
        // Upstream names the list here, not the entry.
        let list_field = format!("{field}.envFrom");
        match kinds.len() {
            0 => {
                errors.invalid_text(list_field, "", "must specify one of: `configMapRef` or `secretRef`");
            }
            1 => {}
            _ => errors.invalid_text(list_field, "", "may not have more than one field specified at a time"),
        }
    }
}

fn value_from(variable: &Value, field: &str, errors: &mut Errors) {
    let from = at(variable, "valueFrom");
    if from.is_null() {
        return;
    }
    let mut sources = 0;
    for kind in ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"] {
        let source = at(from, kind);
        if !source.is_object() {
            continue;
        }
        sources += 1;
        let here = format!("{field}.{kind}");
        match kind {
            "fieldRef" => field_ref(source, &ENV_FIELDS, &here, errors),
            "resourceFieldRef" => resource_ref(source, false, &here, errors),
            "fileKeyRef" => {
                for (path, rule) in FILE_KEY {
                    let (value, here) = (text(source, path), format!("{here}.{path}"));
                    match value {
                        "" => errors.required(here, ""),
                        value => add_problems(rule(value), &here, value, errors),
                    }
                }
                no_backsteps(text(source, "path"), &format!("{here}.path"), errors);
            }
            _ => {
                let (name, key) = (text(source, "name"), text(source, "key"));
                for problem in names::dns_subdomain(name) {
                    errors.invalid_text(format!("{here}.name"), name, &problem);
                }
                if key.is_empty() {
                    errors.required(format!("{here}.key"), "");
                } else {
                    for problem in names::config_key(key) {
                        errors.invalid_text(format!("{here}.key"), key, &problem);
                    }
                }
            }
        }
    }
    let why = match sources {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        _ if !text(variable, "value").is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.invalid_text(field, "", why);
}

/// A rule of [`names`] for a text: it returns what is wrong, in upstream's words.
type Rule = fn(&str) -> Vec<String>;

/// Fields of a variable from a file, with the rule for each beside that it is set.
const FILE_KEY: [(&str, Rule); 3] =
    [("key", names::env_name), ("volumeName", names::dns_label), ("path", |_| vec![])];

/// Variables from files are read from an emptyDir. As upstream, a volume that is not valid is one,
/// too.
fn file_keys(spec: &Value, field: &str, errors: &mut Errors) {
    let volumes: HashMap<&str, &Value> =
        list(spec, "volumes").iter().map(|volume| (text(volume, "name"), volume)).collect();
    for group in GROUPS {
        for (i, c) in list(spec, group).iter().enumerate() {
            for (j, variable) in list(c, "env").iter().enumerate() {
                let source = at(variable, "valueFrom.fileKeyRef");
                if !source.is_object() {
                    continue;
                }
                let place = format!("{field}.{group}[{i}].env[{j}].valueFrom.fileKeyRef.volumeName");
                let name = text(source, "volumeName");
                match volumes.get(name) {
                    None => errors.not_found(place, &json!(name)),
                    Some(volume) if !at(volume, "emptyDir").is_object() => {
                        errors.invalid_text(place, name, "referenced volume must be of type emptyDir");
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

/// Checks the probes and hooks of a container that runs as long as its pod.
fn active(spec: &Value, c: &Value, field: &str, errors: &mut Errors) {
    let grace = int(spec, "terminationGracePeriodSeconds");
    for hook in ["postStart", "preStop"] {
        let value = at(c, &format!("lifecycle.{hook}"));
        if !value.is_null() {
            let kinds = ["exec", "httpGet", "tcpSocket", "sleep"];
            handler(value, &kinds, grace, &format!("{field}.lifecycle.{hook}"), errors);
        }
    }
    let signal = at(c, "lifecycle.stopSignal");
    if !signal.is_null() {
        signals::stop_signal(spec, signal, &format!("{field}.lifecycle.stopSignal"), errors);
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let value = at(c, probe);
        if value.is_null() {
            continue;
        }
        let here = format!("{field}.{probe}");
        handler(value, &["exec", "httpGet", "tcpSocket", "grpc"], grace, &here, errors);
        let counts = [
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ];
        for path in counts {
            if int(value, path).is_some_and(|n| n < 0) {
                let why = "must be greater than or equal to 0";
                errors.invalid(format!("{here}.{path}"), at(value, path), why);
            }
        }
        let period = at(value, "terminationGracePeriodSeconds");
        let place = format!("{here}.terminationGracePeriodSeconds");
        if period.as_i64().is_some_and(|n| n <= 0) {
            errors.invalid(&place, period, "must be greater than 0");
        }
        if probe == "readinessProbe" {
            if !period.is_null() {
                errors.invalid(&place, period, "must not be set for readinessProbes");
            }
        } else if int(value, "successThreshold").is_some_and(|n| n != 1) {
            errors.invalid(format!("{here}.successThreshold"), at(value, "successThreshold"), "must be 1");
        }
    }
}

fn port(port: &Value, field: &str, errors: &mut Errors) {
    match port {
        Value::String(name) => {
            names::port_name(name).iter().for_each(|p| errors.invalid_text(field, name, p));
        }
        port => {
            let number = port.as_i64().unwrap_or(0);
            if let Some(problem) = names::port_number(number) {
                errors.invalid(field, &json!(number), problem);
            }
        }
    }
}

fn is_header(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
}

/// Checks a probe's or hook's handler: exactly one of `kinds`, and its fields.
fn handler(value: &Value, kinds: &[&str], grace: Option<i64>, field: &str, errors: &mut Errors) {
    let mut first = true;
    for kind in kinds.iter().filter(|k| !at(value, k).is_null()) {
        let (here, action) = (format!("{field}.{kind}"), at(value, kind));
        if !std::mem::take(&mut first) {
            errors.forbidden(here, "may not specify more than 1 handler type");
            continue;
        }
        match *kind {
            "exec" if list(action, "command").is_empty() => errors.required(format!("{here}.command"), ""),
            "httpGet" => {
                if text(action, "path").is_empty() {
                    errors.required(format!("{here}.path"), "");
                }
                port(at(action, "port"), &format!("{here}.port"), errors);
                one_of(action, "scheme", &format!("{here}.scheme"), &["HTTP", "HTTPS"], errors);
                for header in list(action, "httpHeaders") {
                    let name = text(header, "name");
                    if !is_header(name) {
                        let why = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
                        errors.invalid_text(format!("{here}.httpHeaders"), name, why);
                    }
                }
            }
            "tcpSocket" | "grpc" => port(at(action, "port"), &format!("{here}.port"), errors),
            "sleep" => {
                let seconds = int(action, "seconds").unwrap_or(0);
                if let Some(grace) = grace.filter(|grace| seconds < 0 || seconds > *grace) {
                    let why =
                        format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
                    errors.invalid(here, &json!(seconds), &why);
                }
            }
            _ => {}
        }
    }
    if first {
        errors.required(field, "must specify a handler type");
    }
}

/// As [`restart`], for an init container. A sidecar restarts after every exit, so it has no rules.
fn restart_of_init(c: &Value, field: &str, errors: &mut Errors) {
    if text(c, "restartPolicy") != "Always" {
        return restart(c, field, errors);
    }
    if !list(c, "restartPolicyRules").is_empty() {
        let why = "restartPolicyRules are not allowed for init containers with restart policy Always";
        errors.forbidden(format!("{field}.restartPolicyRules"), why);
    }
}

/// Checks a container's own restart policy (KEP-753, KEP-5307).
fn restart(c: &Value, field: &str, errors: &mut Errors) {
    let rules = list(c, "restartPolicyRules");
    match at(c, "restartPolicy") {
        Value::Null if rules.is_empty() => {}
        Value::Null => {
            let why = "must specify restartPolicy when restart rules are used";
            errors.required(format!("{field}.restartPolicy"), why);
        }
        _ => {
            let known = ["Always", "Never", "OnFailure"];
            one_of(c, "restartPolicy", &format!("{field}.restartPolicy"), &known, errors);
        }
    }
    if rules.len() > 20 {
        errors.too_long(format!("{field}.restartPolicyRules"), 20);
    }
    for (i, rule) in rules.iter().enumerate() {
        let here = format!("{field}.restartPolicyRules[{i}]");
        if text(rule, "action") != "Restart" {
            errors.not_supported(format!("{here}.action"), &json!(text(rule, "action")), &["Restart"]);
        }
        let codes = at(rule, "exitCodes");
        if codes.is_null() {
            errors.required(format!("{here}.exitCodes"), "must be specified");
            continue;
        }
        let operator = text(codes, "operator");
        if !["In", "NotIn"].contains(&operator) {
            errors.not_supported(format!("{here}.exitCodes.operator"), &json!(operator), &["In", "NotIn"]);
        }
        if list(codes, "values").len() > 255 {
            errors.too_long(format!("{here}.exitCodes.values"), 255);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::errors::Errors;
    use crate::pod_spec::spec;
    use serde_json::{Value, json};

    fn errors_of(pod: Value) -> Vec<String> {
        let mut errors = Errors::default();
        spec(&pod, "spec", true, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_second_of_two_containers_without_a_name_is_a_duplicate_too() {
        let found = errors_of(json!({"containers": [{"image": "x"}, {"image": "x"}]})).join("; ");
        let name = "spec.containers[1].name:";
        assert!(found.ends_with(&format!("{name} Required value; {name} Duplicate value: \"\"")), "{found}");
    }

    #[test]
    fn a_sidecar_has_no_rules_for_its_restarts() {
        let rules = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [3]}}]);
        let with = |policy: &str| {
            let init =
                json!({"name": "i", "image": "x", "restartPolicy": policy, "restartPolicyRules": rules});
            errors_of(json!({"containers": [{"name": "c", "image": "x"}], "initContainers": [init]}))
        };
        assert_eq!(with("Never"), [""; 0]);
        let why = "restartPolicyRules are not allowed for init containers with restart policy Always";
        assert_eq!(with("Always"), [format!("spec.initContainers[0].restartPolicyRules: Forbidden: {why}")]);
    }
}
