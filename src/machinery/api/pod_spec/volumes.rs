//! Volumes of a pod and their mounts. Paths that end up on a node's disk are judged here and once
//! more by the kubelet.

use super::sources;
use crate::errors::Errors;
use crate::quantity::Quantity;
use crate::validate::fields::{add_problems, one_of};
use crate::validate::names;
use crate::value::{at, flag, int, list, map, text};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// The valid volumes of a pod by their names.
pub(super) struct Volumes<'a>(HashMap<&'a str, &'a Value>);

impl<'a> Volumes<'a> {
    pub(super) fn find(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name).copied()
    }
}

/// Checks volumes and returns those that mounts may name: the valid ones. A mount of another one is
/// a second problem, as upstream.
pub(super) fn check<'a>(spec: &'a Value, field: &str, is_pod: bool, errors: &mut Errors) -> Volumes<'a> {
    let mut valid: HashMap<&str, &Value> = HashMap::new();
    for (i, volume) in list(spec, "volumes").iter().enumerate() {
        let (here, name) = (format!("{field}.volumes[{i}]"), text(volume, "name"));
        let (name_field, mut own) = (format!("{here}.name"), Errors::default());
        sources::check(volume, &here, is_pod, &mut own);
        if name.is_empty() {
            own.required(&*name_field, "");
        } else {
            add_problems(names::dns_label(name), &name_field, name, &mut own);
        }
        if valid.contains_key(name) {
            own.duplicate(name_field, &json!(name));
        }
        if own.is_empty() {
            valid.insert(name, volume);
        }
        errors.append(own);
    }
    Volumes(valid)
}

/// Checks a file's mode: 0 to 0777.
pub(super) fn mode(object: &Value, path: &str, field: &str, errors: &mut Errors) {
    if int(object, path).is_some_and(|m| !(0..=0o777).contains(&m)) {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.invalid(format!("{field}.{path}"), at(object, path), why);
    }
}

/// Checks the `items` of a volume of keys: each a key and the file that it becomes.
pub(super) fn items(source: &Value, field: &str, errors: &mut Errors) {
    for (i, item) in list(source, "items").iter().enumerate() {
        let here = format!("{field}.items[{i}]");
        for path in ["key", "path"] {
            if text(item, path).is_empty() {
                errors.required(format!("{here}.{path}"), "");
            }
        }
        local(text(item, "path"), &format!("{here}.path"), errors);
        mode(item, "mode", &here, errors);
    }
}

const FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

pub(super) fn downward_file(file: &Value, field: &str, errors: &mut Errors) {
    if text(file, "path").is_empty() {
        errors.required(format!("{field}.path"), "");
    }
    local(text(file, "path"), &format!("{field}.path"), errors);
    match (at(file, "fieldRef").is_object(), at(file, "resourceFieldRef").is_object()) {
        (true, both) => {
            field_ref(at(file, "fieldRef"), &FIELDS, &format!("{field}.fieldRef"), errors);
            if both {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.invalid_text(field, "resource", why);
            }
        }
        (false, true) => {
            let here = format!("{field}.resourceFieldRef");
            resource_ref(at(file, "resourceFieldRef"), true, &here, errors);
        }
        (false, false) => errors.required(field, "one of fieldRef and resourceFieldRef is required"),
    }
    mode(file, "mode", field, errors);
}

/// Checks a reference to a field of the pod: one of `allowed`, or a single label or annotation.
pub(super) fn field_ref(reference: &Value, allowed: &[&str], field: &str, errors: &mut Errors) {
    let (version, path) = (text(reference, "apiVersion"), text(reference, "fieldPath"));
    if version.is_empty() {
        return errors.required(format!("{field}.apiVersion"), "");
    }
    if path.is_empty() {
        return errors.required(format!("{field}.fieldPath"), "");
    }
    let place = format!("{field}.fieldPath");
    if version != "v1" {
        let why = format!("error converting fieldPath: unsupported pod version: {version}");
        return errors.invalid_text(place, path, &why);
    }
    if let Some((of, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
        let key = match of {
            "metadata.annotations" => key.to_lowercase(),
            "metadata.labels" => key.to_string(),
            _ => {
                let why =
                    format!("error converting fieldPath: field label does not support subscript: {path}");
                return errors.invalid_text(place, path, &why);
            }
        };
        for problem in names::qualified_name(&key) {
            errors.invalid_text(field, &key, &problem);
        }
        return;
    }
    // An old name, which variables may still use.
    let path = if path == "spec.host" { "spec.nodeName" } else { path };
    let others = ["spec.restartPolicy", "spec.schedulerName", "status.phase"];
    if ![&FIELDS[..], &ENV_FIELDS, &others].iter().any(|known| known.contains(&path)) {
        let why = format!("error converting fieldPath: field label not supported: {path}");
        errors.invalid_text(place, path, &why);
    } else if !allowed.contains(&path) {
        errors.not_supported(place, &json!(path), allowed);
    }
}

/// Fields of the pod that an environment variable may take.
pub(super) const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Checks a reference to a limit or request of a container; a volume has to name the container.
pub(super) fn resource_ref(reference: &Value, volume: bool, field: &str, errors: &mut Errors) {
    let resource = text(reference, "resource");
    let pages = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if volume && text(reference, "containerName").is_empty() {
        errors.required(format!("{field}.containerName"), "");
    } else if resource.is_empty() {
        errors.required(format!("{field}.resource"), "");
    } else if !RESOURCES.contains(&resource) && !pages {
        errors.not_supported(format!("{field}.resource"), &json!(resource), &RESOURCES);
    }
    let divisor = text(reference, "divisor");
    if divisor.is_empty() || Quantity::parse(divisor).is_some_and(|unset| unset.is_zero()) {
        return;
    }
    let units = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let what = match resource {
        "limits.cpu" | "requests.cpu" => {
            if !["1m", "1"].contains(&divisor) {
                let why = "only divisor's values 1m and 1 are supported with the cpu resource";
                errors.invalid_text(format!("{field}.divisor"), resource, why);
            }
            return;
        }
        "limits.memory" | "requests.memory" => "memory",
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => "local ephemeral storage",
        _ if pages => "hugepages",
        _ => return,
    };
    if !units.contains(&divisor) {
        let why =
            format!("only divisor's values {} are supported with the {what} resource", units.join(", "));
        errors.invalid_text(format!("{field}.divisor"), resource, &why);
    }
}

pub(super) fn projected(volume: &Value, field: &str, errors: &mut Errors) {
    mode(volume, "defaultMode", field, errors);
    let mut paths: HashSet<&str> = HashSet::new();
    for (i, source) in list(volume, "sources").iter().enumerate() {
        let here = format!("{field}.sources[{i}]");
        for kind in ["secret", "configMap"] {
            let from = at(source, kind);
            if !from.is_object() {
                continue;
            }
            if text(from, "name").is_empty() {
                errors.required(format!("{here}.{kind}.name"), "");
            }
            items(from, &format!("{here}.{kind}"), errors);
            for item in list(from, "items") {
                path_once(text(item, "path"), text(from, "name"), &mut paths, field, errors);
            }
        }
        for file in list(source, "downwardAPI.items") {
            downward_file(file, &format!("{here}.downwardAPI"), errors);
            path_once(text(file, "path"), text(file, "path"), &mut paths, field, errors);
        }
        let token = at(source, "serviceAccountToken");
        if token.is_object() {
            account_token(token, &here, field, errors);
        }
        let bundle = at(source, "clusterTrustBundle");
        if bundle.is_object() {
            let place = format!("{here}.clusterTrustBundle");
            match (at(bundle, "name").is_null(), at(bundle, "signerName").is_null()) {
                (false, false) => {
                    errors.invalid(&place, bundle, "only one of name and signerName may be used")
                }
                (true, true) => errors.required(&place, "either name or signerName must be specified"),
                _ => {}
            }
            if text(bundle, "path").is_empty() {
                errors.required(format!("{place}.path"), "");
            }
            local(text(bundle, "path"), &format!("{place}.path"), errors);
            path_once(text(bundle, "path"), text(bundle, "path"), &mut paths, field, errors);
        }
        let certificate = at(source, "podCertificate");
        if certificate.is_object() {
            let files = ["credentialBundlePath", "keyPath", "certificateChainPath"];
            let place = format!("{here}.podCertificate");
            for file in files {
                let path = text(certificate, file);
                local(path, &format!("{place}.{file}"), errors);
                path_once(path, path, &mut paths, field, errors);
            }
            if files.iter().all(|f| text(certificate, f).is_empty()) {
                let why = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath";
                errors.required(place, why);
            }
        }
        if source.as_object().map_or(0, |s| s.values().filter(|v| !v.is_null()).count()) > 1 {
            errors.forbidden(&here, "may not specify more than 1 volume type per source");
        }
    }
}

/// Checks a token of the pod's service account, in the source at `here` of the volume at `field`.
fn account_token(token: &Value, here: &str, field: &str, errors: &mut Errors) {
    let place = format!("{here}.serviceAccountToken.expirationSeconds");
    let seconds = at(token, "expirationSeconds");
    match int(token, "expirationSeconds").unwrap_or(0) {
        n if n < 600 => errors.invalid(place, seconds, "may not specify a duration less than 10 minutes"),
        n if n > 1 << 32 => {
            errors.invalid(place, seconds, "may not specify a duration larger than 2^32 seconds");
        }
        _ => {}
    }
    // Upstream reports the path of the volume here.
    match text(token, "path") {
        "" => errors.required(format!("{field}.path"), ""),
        path => local(path, &format!("{field}.path"), errors),
    }
}

fn path_once<'a>(path: &'a str, of: &str, paths: &mut HashSet<&'a str>, field: &str, errors: &mut Errors) {
    if path.is_empty() {
        return;
    }
    if paths.contains(&path) {
        errors.invalid_text(field, of, "conflicting duplicate paths");
    } else {
        paths.insert(path);
    }
}

// -- paths
// -------------------------------------------------------------------------------------------------

/// Checks that no step of the path is `..`.
pub(crate) fn no_backsteps(path: &str, field: &str, errors: &mut Errors) {
    if path.split('/').any(|step| step == "..") {
        errors.invalid_text(field, path, "must not contain '..'");
    }
}

/// Checks a path below some directory: relative, and no step of it is `..`.
pub(crate) fn descending(path: &str, field: &str, errors: &mut Errors) {
    if path.starts_with('/') {
        errors.invalid_text(field, path, "must be a relative path");
    }
    no_backsteps(path, field, errors);
}

/// Checks the path of a file in a volume: as [`descending`], and names that begin with `..` are the
/// kubelet's own.
fn local(path: &str, field: &str, errors: &mut Errors) {
    descending(path, field, errors);
    if path.starts_with("..") && path != ".." && !path.starts_with("../") {
        errors.invalid_text(field, path, "must not start with '..'");
    }
}

// -- mounts
// -------------------------------------------------------------------------------------------------

pub(super) fn mounts(c: &Value, field: &str, volumes: &Volumes, errors: &mut Errors) {
    let of_devices = |field| list(c, "volumeDevices").iter().map(move |d| text(d, field));
    let device_names: HashSet<&str> = of_devices("name").filter(|n| !n.is_empty()).collect();
    let device_paths: HashSet<&str> = of_devices("devicePath").filter(|p| !p.is_empty()).collect();
    let mut paths: HashSet<&str> = HashSet::new();
    for (i, mount) in list(c, "volumeMounts").iter().enumerate() {
        let list_field = format!("{field}.volumeMounts");
        let here = format!("{list_field}[{i}]");
        let (name, path) = (text(mount, "name"), text(mount, "mountPath"));
        if name.is_empty() {
            errors.required(format!("{here}.name"), "");
        }
        if volumes.find(name).is_none() {
            errors.not_found(format!("{here}.name"), &json!(name));
        }
        if path.is_empty() {
            errors.required(format!("{here}.mountPath"), "");
        }
        // Upstream lets it pass and leaves it to the container runtime. Here the runtime mounts
        // itself, and a step up is never what a manifest means.
        no_backsteps(path, &format!("{here}.mountPath"), errors);
        if paths.contains(&path) {
            errors.invalid_text(format!("{here}.mountPath"), path, "must be unique");
        }
        paths.insert(path);
        if device_names.contains(name) {
            errors.invalid_text(format!("{here}.name"), name, "must not already exist in volumeDevices");
        }
        if device_paths.contains(path) {
            let why = "must not already exist as a path in volumeDevices";
            errors.invalid_text(format!("{here}.mountPath"), path, why);
        }
        // Upstream reports these without the index of the mount.
        descending(text(mount, "subPath"), &format!("{list_field}.subPath"), errors);
        let expression = text(mount, "subPathExpr");
        if !expression.is_empty() && !text(mount, "subPath").is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            errors.invalid_text(format!("{here}.subPathExpr"), expression, why);
        }
        descending(expression, &format!("{list_field}.subPathExpr"), errors);
        let place = format!("{list_field}.mountPropagation");
        one_of(mount, "mountPropagation", &place, &["Bidirectional", "HostToContainer", "None"], errors);
        if text(mount, "mountPropagation") == "Bidirectional" && !flag(c, "securityContext.privileged") {
            let why = "Bidirectional mount propagation is available only to privileged containers";
            errors.forbidden(place, why);
        }
        recursive(mount, &format!("{list_field}.recursiveReadOnly"), errors);
    }
    block_devices(c, field, volumes, errors);
}

fn recursive(mount: &Value, field: &str, errors: &mut Errors) {
    match text(mount, "recursiveReadOnly") {
        "" | "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !flag(mount, "readOnly") {
                errors.forbidden(field, "may only be specified when readOnly is true");
            }
            if !matches!(text(mount, "mountPropagation"), "" | "None") {
                let why = "may only be specified when mountPropagation is None or not specified";
                errors.forbidden(field, why);
            }
        }
        other => errors.not_supported(field, &json!(other), &["Disabled", "Enabled", "IfPossible"]),
    }
}

fn block_devices(c: &Value, field: &str, volumes: &Volumes, errors: &mut Errors) {
    let of_mounts = |field| list(c, "volumeMounts").iter().map(move |m| text(m, field));
    let mounted: HashSet<&str> = of_mounts("name").collect();
    let mount_paths: HashSet<&str> = of_mounts("mountPath").collect();
    let (mut names, mut paths): (HashSet<&str>, HashSet<&str>) = Default::default();
    for (i, device) in list(c, "volumeDevices").iter().enumerate() {
        let here = format!("{field}.volumeDevices[{i}]");
        let (name, path) = (text(device, "name"), text(device, "devicePath"));
        if name.is_empty() {
            errors.required(format!("{here}.name"), "");
        }
        if names.contains(&name) {
            errors.invalid_text(format!("{here}.name"), name, "must be unique");
        }
        match volumes.find(name).map(|v| map(v, "persistentVolumeClaim").or(map(v, "ephemeral"))) {
            None => errors.not_found(format!("{here}.name"), &json!(name)),
            Some(None) => {
                let why =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid_text(format!("{here}.name"), name, why);
            }
            Some(Some(_)) => {}
        }
        if path.is_empty() {
            errors.required(format!("{here}.devicePath"), "");
        }
        if paths.contains(&path) {
            errors.invalid_text(format!("{here}.devicePath"), path, "must be unique");
        }
        if path.split('/').any(|step| step == "..") {
            errors.invalid_text(format!("{here}.devicePath"), path, "can not contain backsteps ('..')");
        } else {
            paths.insert(path);
        }
        if mounted.contains(name) {
            errors.invalid_text(format!("{here}.name"), name, "must not already exist in volumeMounts");
        }
        if mount_paths.contains(path) {
            let why = "must not already exist as a path in volumeMounts";
            errors.invalid_text(format!("{here}.devicePath"), path, why);
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the fields with errors, of a pod with these volumes and one container.
    fn errors_of(volumes: Value, container: Value) -> Vec<String> {
        let mut whole = json!({"name": "c", "image": "x"});
        crate::patch::merge(&mut whole, &container);
        let pod = json!({"spec": {"containers": [whole], "volumes": volumes}});
        let kind = crate::kinds::find("", "v1", "Pod").expect("a kind of the table");
        let mut errors = Errors::default();
        (kind.validate)(&pod, &mut errors);
        errors.iter().map(|error| error.field.replace("spec.containers[0].", "")).collect()
    }

    #[test]
    fn a_volume_is_mounted_or_a_device() {
        let claim = |name: &str| json!({"name": name, "persistentVolumeClaim": {"claimName": "c"}});
        let all = json!([claim("v"), claim("w")]);
        let with = |mount: (&str, &str), device: (&str, &str)| {
            let container = json!({"volumeMounts": [{"name": mount.0, "mountPath": mount.1}],
                "volumeDevices": [{"name": device.0, "devicePath": device.1}]});
            errors_of(all.clone(), container)
        };
        assert_eq!(with(("v", "/a"), ("w", "/b")), [""; 0]);
        assert_eq!(with(("v", "/a"), ("v", "/b")), ["volumeMounts[0].name", "volumeDevices[0].name"]);
        let paths = ["volumeMounts[0].mountPath", "volumeDevices[0].devicePath"];
        assert_eq!(with(("v", "/a"), ("w", "/a")), paths);
        let nameless = json!({"volumeDevices": [{"devicePath": "/a"}, {"devicePath": "/b"}]});
        assert_eq!(errors_of(all.clone(), nameless).len(), 4, "each has no name, and is not found");
    }

    #[test]
    fn a_volume_that_is_not_valid_is_not_there_for_mounts() {
        let mount = json!({"volumeMounts": [{"name": "v", "mountPath": "/a"}]});
        let volume = |path: &str| json!([{"name": "v", "hostPath": {"path": path}}]);
        assert_eq!(errors_of(volume("/x"), mount.clone()), [""; 0]);
        assert_eq!(errors_of(volume(""), mount), ["spec.volumes[0].hostPath.path", "volumeMounts[0].name"]);
    }

    #[test]
    fn a_variable_names_the_node_as_old_clients_do() {
        let with = |path: &str| {
            let source = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": path}});
            errors_of(json!([]), json!({"env": [{"name": "A", "valueFrom": source}]})).len()
        };
        assert_eq!(["spec.nodeName", "spec.host", "spec.schedulerName"].map(with), [0, 0, 1]);
    }

    #[test]
    fn a_variable_from_a_file_names_a_key_and_an_empty_dir() {
        let with = |key: &str, volume: &str, path: &str| {
            let source = json!({"key": key, "volumeName": volume, "path": path});
            let variable = json!({"name": "A", "valueFrom": {"fileKeyRef": source}});
            let all = json!([{"name": "v", "emptyDir": {}}, {"name": "w", "hostPath": {"path": "/x"}}]);
            let fields = errors_of(all, json!({ "env": [variable] }));
            fields.iter().map(|field| field.replace("env[0].valueFrom.fileKeyRef.", "")).collect::<Vec<_>>()
        };
        assert_eq!(with("A", "v", "f"), [""; 0]);
        assert_eq!(with("a=b", "v", "../f"), ["key", "path"]);
        assert_eq!(with("A", "w", "f"), ["volumeName"]);
        assert_eq!(with("A", "V", "f"), ["volumeName", "volumeName"], "no name, and not found");
    }
}
