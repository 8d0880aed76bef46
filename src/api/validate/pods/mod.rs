//! Pods and pod templates: every field of a pod's spec, with upstream's paths and messages
//! (`pkg/apis/core/validation/validation.go` of Kubernetes 1.35).

mod containers;
mod scheduling;
mod security;
pub mod volumes;

pub use scheduling::node_selector;

use super::{labels, names, one_of};
use crate::api::errors::Errors;
use crate::api::quantity::Quantity;
use crate::api::value::{at, empty, flag, int, list, map, text};
use serde_json::{Value, json};
use std::net::IpAddr;

/// The lists of containers in a pod's spec.
pub(super) const GROUPS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

pub fn pod(object: &Value, errors: &mut Errors) {
    let pod = at(object, "spec");
    spec(pod, "spec", true, errors);
    if text(pod, "serviceAccountName").is_empty() {
        for (v, volume) in list(pod, "volumes").iter().enumerate() {
            for (s, source) in list(volume, "projected.sources").iter().enumerate() {
                if at(source, "serviceAccountToken").is_object() {
                    errors.forbidden(
                        format!("spec.volumes[{v}].projected.sources[{s}].serviceAccountToken"),
                        "must not be specified when serviceAccountName is not set",
                    );
                }
            }
        }
    }
    for group in ["containers", "initContainers", "ephemeralContainers"] {
        for (i, c) in list(pod, group).iter().enumerate() {
            let image = text(c, "image");
            if image.trim() != image {
                let why = "must not have leading or trailing whitespace";
                errors.invalid_text(format!("spec.{group}[{i}].image"), image, why);
            }
        }
    }
}

/// The template at `path` of a workload.
pub fn template(object: &Value, path: &str, errors: &mut Errors) {
    template_at(at(object, path), path, errors);
}

pub fn template_at(template: &Value, field: &str, errors: &mut Errors) {
    labels(template, "metadata.labels", &format!("{field}.labels"), errors);
    spec(at(template, "spec"), &format!("{field}.spec"), false, errors);
    if !empty(template, "spec.ephemeralContainers") {
        errors.forbidden(
            format!("{field}.spec.ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

fn spec(spec: &Value, field: &str, is_pod: bool, errors: &mut Errors) {
    let volumes = volumes::check(spec, field, is_pod, errors);
    containers::all(spec, field, &volumes, errors);
    pod_resources(spec, field, errors);
    host_network(spec, field, is_pod, errors);
    let policies = ["Always", "OnFailure", "Never"];
    one_of(spec, "restartPolicy", &format!("{field}.restartPolicy"), &policies, errors);
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    one_of(spec, "dnsPolicy", &format!("{field}.dnsPolicy"), &policies, errors);
    labels(spec, "nodeSelector", &format!("{field}.nodeSelector"), errors);
    security::pod(spec, field, errors);
    scheduling::affinity(at(spec, "affinity"), &format!("{field}.affinity"), errors);
    dns_config(spec, &format!("{field}.dnsConfig"), errors);
    for (i, gate) in list(spec, "readinessGates").iter().enumerate() {
        let (place, name) =
            (format!("{field}.readinessGates[{i}].conditionType"), text(gate, "conditionType"));
        names::qualified_name(name).iter().for_each(|p| errors.invalid_text(&*place, name, p));
    }
    gates(spec, &format!("{field}.schedulingGates"), errors);
    scheduling::spread(spec, &format!("{field}.topologySpreadConstraints"), errors);
    hostname_override(spec, &format!("{field}.hostnameOverride"), errors);
    for path in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        let name = text(spec, path);
        if !name.is_empty() || (path == "runtimeClassName" && !at(spec, path).is_null()) {
            for problem in names::dns_subdomain(name) {
                errors.invalid_text(format!("{field}.{path}"), name, &problem);
            }
        }
    }
    // Upstream accepts a negative number, which the kubelet takes for 1. Here it means a mistake.
    if int(spec, "terminationGracePeriodSeconds").is_some_and(|n| n < 0) {
        let place = format!("{field}.terminationGracePeriodSeconds");
        errors.invalid(
            place,
            at(spec, "terminationGracePeriodSeconds"),
            "must be greater than or equal to 0",
        );
    }
    if int(spec, "activeDeadlineSeconds").is_some_and(|n| !(1..=i64::from(i32::MAX)).contains(&n)) {
        let place = format!("{field}.activeDeadlineSeconds");
        errors.invalid(
            place,
            at(spec, "activeDeadlineSeconds"),
            "must be between 1 and 2147483647, inclusive",
        );
    }
    for path in ["hostname", "subdomain"] {
        let name = text(spec, path);
        if !name.is_empty() {
            for problem in names::dns_label(name) {
                errors.invalid_text(format!("{field}.{path}"), name, &problem);
            }
        }
    }
    scheduling::tolerations(spec, field, errors);
    host_aliases(spec, &format!("{field}.hostAliases"), errors);
    let policies = ["PreemptLowerPriority", "Never"];
    one_of(spec, "preemptionPolicy", &format!("{field}.preemptionPolicy"), &policies, errors);
    for (name, amount) in map(spec, "overhead").into_iter().flatten() {
        containers::amount(name, amount, &format!("{field}.overhead[{name}]"), errors);
    }
    security::os(spec, field, errors);
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

/// Requests and limits of the pod as a whole.
fn pod_resources(spec: &Value, field: &str, errors: &mut Errors) {
    let resources = at(spec, "resources");
    if !resources.is_object() {
        return;
    }
    let here = format!("{field}.resources");
    if !list(resources, "claims").is_empty() {
        errors.forbidden(format!("{here}.claims"), "claims may not be set for Resources at pod-level");
    }
    containers::requirements(
        resources,
        &here,
        &|name, place, errors: &mut Errors| {
            if !["cpu", "memory"].contains(&name) && !name.starts_with("hugepages-") {
                errors.not_supported(place, &json!(name), &["cpu", "hugepages-", "memory"]);
            }
        },
        errors,
    );
    let amount = |v: &Value| v.as_str().and_then(Quantity::parse);
    for group in ["containers", "initContainers"] {
        for (i, c) in list(spec, group).iter().enumerate() {
            for (name, limit) in map(c, "resources.limits").into_iter().flatten() {
                let whole = at(resources, "limits").get(name);
                if let (Some(one), Some(all)) = (amount(limit), whole.and_then(amount))
                    && one > all
                {
                    let place = format!("{here}.limits.{group}[{i}][{name}].limits");
                    let why = format!(
                        "must be less than or equal to pod limits of {}",
                        whole.and_then(Value::as_str).unwrap_or("")
                    );
                    errors.invalid(place, limit, &why);
                }
            }
        }
    }
}

/// In the host's network a container's port is the host's.
fn host_network(spec: &Value, field: &str, is_pod: bool, errors: &mut Errors) {
    if !flag(spec, "hostNetwork") {
        return;
    }
    for (i, c) in list(spec, "containers").iter().enumerate() {
        for (j, port) in list(c, "ports").iter().enumerate() {
            let (host, own) = (int(port, "hostPort").unwrap_or(0), int(port, "containerPort").unwrap_or(0));
            if (is_pod || host != 0) && host != own {
                let place = format!("{field}.containers[{i}].ports[{j}].hostPort");
                errors.invalid(place, &json!(host), "must match `containerPort` when `hostNetwork` is true");
            }
        }
    }
}

fn gates(spec: &Value, field: &str, errors: &mut Errors) {
    let mut seen: Vec<&str> = vec![];
    for (i, gate) in list(spec, "schedulingGates").iter().enumerate() {
        let (name, place) = (text(gate, "name"), format!("{field}[{i}]"));
        names::qualified_name(name).iter().for_each(|p| errors.invalid_text(&*place, name, p));
        if seen.contains(&name) {
            errors.duplicate(place, &json!(name));
        }
        seen.push(name);
    }
}

fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

const NO_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

fn dns_config(spec: &Value, field: &str, errors: &mut Errors) {
    let config = at(spec, "dnsConfig");
    let servers = list(config, "nameservers");
    if text(spec, "dnsPolicy") == "None" {
        if config.is_null() {
            return errors.required(field, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if servers.is_empty() {
            let why = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return errors.required(format!("{field}.nameservers"), why);
        }
    }
    if servers.len() > 3 {
        let place = format!("{field}.nameservers");
        errors.invalid(place, at(config, "nameservers"), "must not have more than 3 nameservers");
    }
    for (i, server) in servers.iter().enumerate() {
        let server = server.as_str().unwrap_or("");
        if !is_ip(server) {
            errors.invalid_text(format!("{field}.nameservers[{i}]"), server, NO_IP);
        }
    }
    let searches = list(config, "searches");
    let place = format!("{field}.searches");
    if searches.len() > 32 {
        errors.invalid(&place, at(config, "searches"), "must not have more than 32 search paths");
    }
    let length: usize = searches.iter().map(|s| s.as_str().map_or(0, str::len) + 1).sum();
    if length > 2048 + 1 {
        let why = "must not have more than 2048 characters (including spaces) in the search list";
        errors.invalid(&place, at(config, "searches"), why);
    }
    for (i, search) in searches.iter().enumerate() {
        let search = search.as_str().unwrap_or("");
        if search == "." {
            continue;
        }
        let bare = search.strip_suffix('.').unwrap_or(search);
        for problem in names::dns_subdomain(&bare.replace('_', "-")) {
            errors.invalid_text(format!("{place}[{i}]"), bare, &problem);
        }
    }
    for (i, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.required(format!("{field}.options[{i}]"), "must not be empty");
        }
    }
}

fn host_aliases(spec: &Value, field: &str, errors: &mut Errors) {
    for (i, alias) in list(spec, "hostAliases").iter().enumerate() {
        let ip = text(alias, "ip");
        if !is_ip(ip) {
            errors.invalid_text(format!("{field}[{i}].ip"), ip, NO_IP);
        }
        for (j, name) in list(alias, "hostnames").iter().enumerate() {
            let name = name.as_str().unwrap_or("");
            for problem in names::dns_subdomain(name) {
                errors.invalid_text(format!("{field}[{i}].hostnames[{j}]"), name, &problem);
            }
        }
    }
}

fn hostname_override(spec: &Value, field: &str, errors: &mut Errors) {
    let Some(name) = at(spec, "hostnameOverride").as_str() else { return };
    if flag(spec, "setHostnameAsFQDN") {
        errors.forbidden(field, "may not be specified when setHostnameAsFQDN is true");
    }
    if flag(spec, "hostNetwork") {
        errors.forbidden(field, "may not be specified when hostNetwork is true");
    }
    if name.len() > 64 {
        errors.too_long(field, 64);
    }
    names::dns_subdomain(name).iter().for_each(|p| errors.invalid_text(field, name, p));
}

/// What the `ephemeralcontainers` subresource may change of a pod: only additions, and none to static pods.
pub fn ephemeral_update(new: &Value, old: &Value, errors: &mut Errors) {
    if crate::api::meta::annotation(old, "kubernetes.io/config.mirror").is_some() {
        return errors.forbidden("", "static pods do not support ephemeral containers");
    }
    containers::ephemeral_update(new, old, errors);
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
    let same = |a: &Value, b: &Value| {
        let but_seconds = |t: &Value| {
            let mut t = t.clone();
            crate::api::value::remove(&mut t, "tolerationSeconds");
            t
        };
        but_seconds(a) == but_seconds(b)
    };
    if old_tolerations.iter().any(|t| !new_tolerations.iter().any(|n| same(t, n))) {
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
                "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\""
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

    /// What is said about one change of a valid pod.
    fn told(spec: Value) -> Vec<String> {
        let mut whole = json!({"serviceAccountName": "default", "containers": [{"name": "c", "image": "x"}]});
        crate::api::patch::merge(&mut whole, &spec);
        errors(whole)
    }

    fn container(c: Value) -> Vec<String> {
        let mut whole = json!({"name": "c", "image": "x"});
        crate::api::patch::merge(&mut whole, &c);
        told(json!({"containers": [whole]}))
    }

    fn volume(v: Value) -> Vec<String> {
        let mut whole = json!({"name": "v"});
        crate::api::patch::merge(&mut whole, &v);
        told(json!({"volumes": [whole]}))
    }

    #[test]
    fn paths_of_volumes_stay_inside_of_them() {
        let item = |path: &str| json!([{"key": "k", "path": path}]);
        for (path, why) in [
            ("/etc/nginx/nginx.conf", "must be a relative path"),
            ("../x", "must not contain '..'"),
            ("a/../../x", "must not contain '..'"),
            ("..", "must not contain '..'"),
            ("..data", "must not start with '..'"),
        ] {
            let said = |field: &str| vec![format!("spec.volumes[0].{field}: Invalid value: {path:?}: {why}")];
            let config = json!({"configMap": {"name": "m", "items": item(path)}});
            assert_eq!(volume(config), said("configMap.items[0].path"));
            let secret = json!({"secret": {"secretName": "m", "items": item(path)}});
            assert_eq!(volume(secret), said("secret.items[0].path"));
            let file =
                json!([{"path": path, "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}]);
            assert_eq!(volume(json!({"downwardAPI": {"items": file}})), said("downwardAPI.path"));
            let sources = |source: Value| json!({"projected": {"sources": [source]}});
            assert_eq!(
                volume(sources(json!({"configMap": {"name": "m", "items": item(path)}}))),
                said("projected.sources[0].configMap.items[0].path")
            );
            assert_eq!(
                volume(sources(json!({"secret": {"name": "m", "items": item(path)}}))),
                said("projected.sources[0].secret.items[0].path")
            );
            assert_eq!(
                volume(sources(json!({"downwardAPI": {"items": file}}))),
                said("projected.sources[0].downwardAPI.path")
            );
            assert_eq!(
                volume(sources(json!({"serviceAccountToken": {"path": path, "expirationSeconds": 600}}))),
                said("projected.path")
            );
        }
        assert_eq!(volume(json!({"configMap": {"name": "m", "items": item("a/..b/c")}})), [""; 0]);
    }

    #[test]
    fn volumes_have_one_source_that_is_whole() {
        let here = "spec.volumes[0]";
        for (source, want) in [
            (json!({}), format!("{here}: Required value: must specify a volume type")),
            (
                json!({"emptyDir": {}, "hostPath": {"path": "/x"}}),
                format!("{here}.hostPath: Forbidden: may not specify more than 1 volume type"),
            ),
            (json!({"hostPath": {}}), format!("{here}.hostPath.path: Required value")),
            (
                json!({"hostPath": {"path": "/a/../b"}}),
                format!("{here}.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"),
            ),
            (
                json!({"hostPath": {"path": "/a", "type": "Foo"}}),
                format!(
                    "{here}.hostPath.type: Unsupported value: \"Foo\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\""
                ),
            ),
            (
                json!({"configMap": {"name": "m", "defaultMode": 2541}}),
                format!(
                    "{here}.configMap.defaultMode: Invalid value: 2541: must be a number between 0 and 0777 (octal), both inclusive"
                ),
            ),
            (
                json!({"secret": {"secretName": "m", "items": [{"key": "a", "path": "b", "mode": -1}]}}),
                format!(
                    "{here}.secret.items[0].mode: Invalid value: -1: must be a number between 0 and 0777 (octal), both inclusive"
                ),
            ),
            (
                json!({"gitRepo": {"repository": "r", "directory": "../x"}}),
                format!("{here}.gitRepo.directory: Invalid value: \"../x\": must not contain '..'"),
            ),
            (
                json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 599}}]}}),
                format!(
                    "{here}.projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"
                ),
            ),
            (
                json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 4294967297_i64}}]}}),
                format!(
                    "{here}.projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds"
                ),
            ),
            (
                json!({"downwardAPI": {"items": [{"path": "a", "fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}]}}),
                format!(
                    "{here}.downwardAPI.fieldRef.fieldPath: Unsupported value: \"spec.nodeName\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\""
                ),
            ),
            (
                json!({"emptyDir": {"sizeLimit": "-1"}}),
                format!(
                    "{here}.emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"
                ),
            ),
        ] {
            assert_eq!(volume(source), [want]);
        }
        let twice = told(json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]}));
        assert_eq!(twice, ["spec.volumes[1].name: Duplicate value: \"v\""]);
    }

    #[test]
    fn mounts_name_a_volume_and_stay_below_it() {
        let here = "spec.containers[0].volumeMounts";
        let mounted = |mounts: Value| {
            told(json!({"volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{"name": "c", "image": "x", "volumeMounts": mounts}]}))
        };
        let one = |more: Value| {
            let mut mount = json!({"name": "v", "mountPath": "/v"});
            crate::api::patch::merge(&mut mount, &more);
            mounted(json!([mount]))
        };
        assert_eq!(one(json!({"subPath": "a/b", "subPathExpr": null, "mountPath": "relative"})), [""; 0]);
        for (mount, want) in [
            (json!({"name": "w"}), format!("{here}[0].name: Not found: \"w\"")),
            (json!({"mountPath": null}), format!("{here}[0].mountPath: Required value")),
            (
                json!({"mountPath": "/../x"}),
                format!("{here}[0].mountPath: Invalid value: \"/../x\": must not contain '..'"),
            ),
            (
                json!({"subPath": "/a"}),
                format!("{here}.subPath: Invalid value: \"/a\": must be a relative path"),
            ),
            (
                json!({"subPath": "a/../b"}),
                format!("{here}.subPath: Invalid value: \"a/../b\": must not contain '..'"),
            ),
            (
                json!({"subPathExpr": "../$(A)"}),
                format!("{here}.subPathExpr: Invalid value: \"../$(A)\": must not contain '..'"),
            ),
            (
                json!({"subPath": "a", "subPathExpr": "b"}),
                format!(
                    "{here}[0].subPathExpr: Invalid value: \"b\": subPathExpr and subPath are mutually exclusive"
                ),
            ),
            (
                json!({"mountPropagation": "Bidirectional"}),
                format!(
                    "{here}.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"
                ),
            ),
            (
                json!({"recursiveReadOnly": "Enabled"}),
                format!("{here}.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"),
            ),
        ] {
            assert_eq!(one(mount), [want]);
        }
        let twice = json!([{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}]);
        assert_eq!(mounted(twice), [format!("{here}[1].mountPath: Invalid value: \"/v\": must be unique")]);
    }

    #[test]
    fn ids_and_profiles_are_bounded() {
        let range = "must be between 0 and 2147483647, inclusive";
        for id in [-5_i64, 4_294_967_295, 1 << 40] {
            for field in ["runAsUser", "runAsGroup", "fsGroup"] {
                let got = told(json!({"securityContext": {field: id}}));
                assert_eq!(got, [format!("spec.securityContext.{field}: Invalid value: {id}: {range}")]);
            }
            let got = told(json!({"securityContext": {"supplementalGroups": [1, id]}}));
            assert_eq!(
                got,
                [format!("spec.securityContext.supplementalGroups[1]: Invalid value: {id}: {range}")]
            );
            let got = container(json!({"securityContext": {"runAsUser": id}}));
            assert_eq!(
                got,
                [format!("spec.containers[0].securityContext.runAsUser: Invalid value: {id}: {range}")]
            );
        }
        assert_eq!(told(json!({"securityContext": {"runAsUser": 2147483647_i64, "fsGroup": 0}})), [""; 0]);
        let here = "spec.securityContext";
        for (context, want) in [
            (
                json!({"seccompProfile": {"type": "Localhost"}}),
                format!(
                    "{here}.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost"
                ),
            ),
            (
                json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "../x"}}),
                format!(
                    "{here}.seccompProfile.localhostProfile: Invalid value: \"../x\": must not contain '..'"
                ),
            ),
            (
                json!({"appArmorProfile": {}}),
                format!(
                    "{here}.appArmorProfile.type: Required value: type is required when appArmorProfile is set"
                ),
            ),
            (
                json!({"sysctls": [{"name": "Net.x", "value": "1"}]}),
                format!(
                    "{here}.sysctls[0].name: Invalid value: \"Net.x\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"
                ),
            ),
        ] {
            assert_eq!(told(json!({"securityContext": context})), [want]);
        }
        let both =
            container(json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}}));
        assert!(both[0].ends_with("cannot set `allowPrivilegeEscalation` to false and `privileged` to true"));
        let unmasked = container(json!({"securityContext": {"procMount": "Unmasked"}}));
        assert!(unmasked[0].ends_with("`hostUsers` must be false to use `Unmasked`"));
    }

    #[test]
    fn containers_are_whole() {
        let here = "spec.containers[0]";
        for (change, want) in [
            (
                json!({"image": " x"}),
                format!("{here}.image: Invalid value: \" x\": must not have leading or trailing whitespace"),
            ),
            (
                json!({"env": [{"name": "A", "value": "b", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
                format!(
                    "{here}.env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"
                ),
            ),
            (
                json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels"}}}]}),
                format!(
                    "{here}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\""
                ),
            ),
            (
                json!({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.gpu"}}}]}),
                format!(
                    "{here}.env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.gpu\": supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \"requests.memory\""
                ),
            ),
            (
                json!({"envFrom": [{"prefix": "A=", "configMapRef": {"name": "m"}}]}),
                format!(
                    "{here}.envFrom[0].prefix: Invalid value: \"A=\": a valid environment variable name must consist only of printable ASCII characters other than '='"
                ),
            ),
            (
                json!({"envFrom": [{}]}),
                format!(
                    "{here}.envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"
                ),
            ),
            (
                json!({"resources": {"limits": {"gpu": "1"}}}),
                format!(
                    "{here}.resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified"
                ),
            ),
            (
                json!({"resources": {"limits": {"example.com/gpu": "500m"}}}),
                format!(
                    "{here}.resources.limits[example.com/gpu]: Invalid value: \"500m\": must be an integer"
                ),
            ),
            (
                json!({"resources": {"requests": {"example.com/gpu": "1"}}}),
                format!(
                    "{here}.resources.limits: Required value: Limit must be set for non overcommitable resources"
                ),
            ),
            (
                json!({"livenessProbe": {"periodSeconds": 1}}),
                format!("{here}.livenessProbe: Required value: must specify a handler type"),
            ),
            (
                json!({"readinessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}}),
                format!(
                    "{here}.readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"
                ),
            ),
            (
                json!({"startupProbe": {"exec": {"command": ["a"]}, "successThreshold": 2}}),
                format!("{here}.startupProbe.successThreshold: Invalid value: 2: must be 1"),
            ),
            (
                json!({"livenessProbe": {"httpGet": {"path": "/", "port": 70000, "scheme": "HTTP"}}}),
                format!(
                    "{here}.livenessProbe.httpGet.port: Invalid value: 70000: must be between 1 and 65535, inclusive"
                ),
            ),
            (
                json!({"lifecycle": {"preStop": {}}}),
                format!("{here}.lifecycle.preStop: Required value: must specify a handler type"),
            ),
            (
                json!({"lifecycle": {"stopSignal": "SIGTERM"}}),
                format!(
                    "{here}.lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`"
                ),
            ),
            (
                json!({"ports": [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}, {"containerPort": 81, "hostPort": 80, "protocol": "TCP"}]}),
                format!("{here}.ports[1].hostPort: Duplicate value: \"TCP//80\""),
            ),
            (
                json!({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]}),
                format!(
                    "{here}.restartPolicy: Required value: must specify restartPolicy when restart rules are used"
                ),
            ),
        ] {
            let mut got = container(change);
            got.truncate(1);
            assert_eq!(got, [want]);
        }
        let init = told(
            json!({"initContainers": [{"name": "c", "image": "x", "livenessProbe": {"exec": {"command": ["a"]}}}]}),
        );
        assert_eq!(
            init,
            [
                "spec.initContainers[0].name: Duplicate value: \"c\"",
                "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"
            ]
        );
        let debug = told(
            json!({"ephemeralContainers": [{"name": "d", "image": "x", "targetContainerName": "no", "ports": [{"containerPort": 1, "protocol": "TCP"}]}]}),
        );
        assert_eq!(
            debug,
            [
                "spec.ephemeralContainers[0].targetContainerName: Not found: \"no\"",
                "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container"
            ]
        );
    }

    #[test]
    fn the_rest_of_a_spec() {
        for (spec, want) in [
            (
                json!({"dnsPolicy": "None"}),
                "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
            ),
            (
                json!({"dnsConfig": {"nameservers": ["one"]}}),
                "spec.dnsConfig.nameservers[0]: Invalid value: \"one\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
            (
                json!({"hostAliases": [{"ip": "1.2.3", "hostnames": ["a"]}]}),
                "spec.hostAliases[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
            (
                json!({"activeDeadlineSeconds": 0}),
                "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
            ),
            (
                json!({"activeDeadlineSeconds": 2147483648_i64}),
                "spec.activeDeadlineSeconds: Invalid value: 2147483648: must be between 1 and 2147483647, inclusive",
            ),
            (
                json!({"preemptionPolicy": "Maybe"}),
                "spec.preemptionPolicy: Unsupported value: \"Maybe\": supported values: \"PreemptLowerPriority\", \"Never\"",
            ),
            (
                json!({"os": {"name": "plan9"}}),
                "spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\"",
            ),
            (
                json!({"os": {"name": "windows"}, "securityContext": {"runAsUser": 1}}),
                "spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
            ),
            (
                json!({"schedulingGates": [{"name": "a"}, {"name": "a"}]}),
                "spec.schedulingGates[1]: Duplicate value: \"a\"",
            ),
            (
                json!({"hostNetwork": true, "hostUsers": false}),
                "spec.hostNetwork: Forbidden: when `hostUsers` is false",
            ),
            (
                json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}}),
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
            ),
            (
                json!({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "podAffinityTerm": {"topologyKey": "k"}}]}}}),
                "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
            ),
            (
                json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule"}]}),
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than 0",
            ),
            (
                json!({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}),
                "spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'",
            ),
            (
                json!({"overhead": {"cpu": "-1"}}),
                "spec.overhead[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                json!({"serviceAccountName": null, "volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 600}}]}}]}),
                "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set",
            ),
        ] {
            assert_eq!(told(spec), [want]);
        }
    }

    #[test]
    fn templates_are_judged_as_pods_are() {
        let template = json!({"spec": {"volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"key": "k", "path": "/etc/x"}]}}],
            "containers": [{"name": "c", "image": " x", "securityContext": {"runAsUser": -1}}]}});
        let mut errors = Errors::default();
        template_at(&template, "spec.template", &mut errors);
        let all: Vec<&str> = errors.0.iter().map(|e| e.field.as_str()).collect();
        let want = [
            "spec.template.spec.volumes[0].configMap.items[0].path",
            "spec.template.spec.containers[0].securityContext.runAsUser",
        ];
        assert_eq!(all, want);
    }

    #[test]
    fn ephemeral_containers_are_only_added() {
        let pod = |names: &[&str]| {
            let all: Vec<Value> = names.iter().map(|n| json!({"name": n, "image": "x"})).collect();
            json!({"spec": {"ephemeralContainers": all}})
        };
        let check = |new: Value, old: Value| {
            let mut errors = Errors::default();
            ephemeral_update(&new, &old, &mut errors);
            errors.0.len()
        };
        assert_eq!(check(pod(&["a", "b"]), pod(&["a"])), 0);
        assert_eq!(check(pod(&["b"]), pod(&["a"])), 1);
        let mut changed = pod(&["a"]);
        changed["spec"]["ephemeralContainers"][0]["image"] = "y".into();
        assert_eq!(check(changed, pod(&["a"])), 1);
        let mut mirror = pod(&[]);
        mirror["metadata"] = json!({"annotations": {"kubernetes.io/config.mirror": "x"}});
        assert_eq!(check(pod(&["a"]), mirror), 1);
    }
}
