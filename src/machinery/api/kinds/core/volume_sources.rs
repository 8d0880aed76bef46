//! Where the storage of a PersistentVolume comes from. Ropewalk makes hostPath and local volumes
//! only; the other sources are judged as upstream judges them, because their fields are required
//! for every client that reads them.

use crate::errors::Errors;
use crate::pod_spec::sources::host_path_type;
use crate::pod_spec::volumes::no_backsteps;
use crate::validate::fields::one_of;
use crate::validate::names::{dns_label, dns_subdomain};
use crate::value::{at, empty, flag, int, map, text};
use serde_json::{Value, json};

/// The fields of a PersistentVolume that are a source of storage, in the order in which upstream
/// looks at them: the first one counts.
pub(crate) const SOURCES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

/// Checks that a volume has one source, and the source itself.
pub(super) fn validate(object: &Value, errors: &mut Errors) {
    let spec = at(object, "spec");
    let mut found = SOURCES.iter().filter(|name| at(spec, name).is_object());
    let Some(first) = found.next() else {
        return errors.required("spec", "must specify a volume type");
    };
    one_source(object, first, errors);
    for other in found {
        match *other {
            "flexVolume" => one_source(object, other, errors), // upstream forgets to refuse it
            other => {
                let shown = if other == "cephfs" { "cephFS" } else { other };
                errors.forbidden(format!("spec.{shown}"), "may not specify more than 1 volume type");
            }
        }
    }
}

fn one_source(object: &Value, name: &str, errors: &mut Errors) {
    let source = at(object, &format!("spec.{name}"));
    let shown = if name == "gcePersistentDisk" { "persistentDisk" } else { name };
    let field = format!("spec.{shown}");
    required(name, source, &field, errors);
    match name {
        "hostPath" => {
            // The provisioner deletes what such a volume names.
            no_backsteps(text(source, "path"), &format!("{field}.path"), errors);
            host_path_type(source, &field, errors);
        }
        "local" => no_backsteps(text(source, "path"), &format!("{field}.path"), errors),
        "gcePersistentDisk" | "awsElasticBlockStore" => partition(source, &field, errors),
        "glusterfs" => endpoints_namespace(source, &field, errors),
        "flocker" => dataset(source, &field, errors),
        "nfs" if !text(source, "path").starts_with('/') => {
            errors.invalid_text(format!("{field}.path"), text(source, "path"), "must be an absolute path");
        }
        "quobyte" => quobyte(source, &field, errors),
        "iscsi" => iscsi(source, text(object, "metadata.name"), &field, errors),
        "fc" => fibre_channel(source, &field, errors),
        "flexVolume" => flex_options(source, &field, errors),
        "azureFile" if at(source, "secretNamespace").as_str() == Some("") => {
            errors.required(format!("{field}.secretNamespace"), "");
        }
        "azureDisk" => azure_disk(source, &field, errors),
        "cinder" => secret(source, SECRET_PARTS, &field, errors),
        "storageos" => storage_os(source, SECRET_PARTS, &field, errors),
        "csi" => csi(source, &field, errors),
        _ => {}
    }
}

/// Checks the fields that a source has to have.
pub(crate) fn required(name: &str, source: &Value, field: &str, errors: &mut Errors) {
    let names: &[&str] = match name {
        "hostPath" | "local" => &["path"],
        "gcePersistentDisk" => &["pdName"],
        "awsElasticBlockStore" | "cinder" | "portworxVolume" => &["volumeID"],
        "glusterfs" => &["endpoints", "path"],
        "nfs" => &["server", "path"],
        "rbd" => &["monitors", "image"],
        "cephfs" => &["monitors"],
        "iscsi" => &["targetPortal", "iqn"],
        "flexVolume" => &["driver"],
        "azureFile" => &["secretName", "shareName"],
        "vsphereVolume" => &["volumePath"],
        "photonPersistentDisk" => &["pdID"],
        "azureDisk" => &["diskName", "diskURI"],
        "scaleIO" => &["gateway", "system", "volumeName"],
        "storageos" => &["volumeName"],
        _ => &[],
    };
    for name in names.iter().filter(|name| empty(source, name)) {
        errors.required(format!("{field}.{name}"), "");
    }
}

pub(crate) const RANGE: &str = "must be between 0 and 255, inclusive";

pub(crate) fn is_byte(number: i64) -> bool {
    (0..=255).contains(&number)
}

pub(crate) fn partition(source: &Value, field: &str, errors: &mut Errors) {
    if int(source, "partition").is_some_and(|number| !is_byte(number)) {
        let why = "must be between 1 and 255, inclusive"; // 0 is none
        errors.invalid(format!("{field}.partition"), at(source, "partition"), why);
    }
}

fn endpoints_namespace(source: &Value, field: &str, errors: &mut Errors) {
    let Some(namespace) = at(source, "endpointsNamespace").as_str() else { return };
    let field = format!("{field}.endpointsNamespace");
    if namespace.is_empty() {
        let why = "if the endpointnamespace is set, it must be a valid namespace name";
        return errors.invalid_text(field, namespace, why);
    }
    dns_label(namespace).iter().for_each(|why| errors.invalid_text(&*field, namespace, why));
}

pub(crate) fn dataset(source: &Value, field: &str, errors: &mut Errors) {
    let name = text(source, "datasetName");
    match (name.is_empty(), text(source, "datasetUUID").is_empty()) {
        (true, true) => errors.required(field, "one of datasetName and datasetUUID is required"),
        (false, false) => {
            let why = "datasetName and datasetUUID can not be specified simultaneously";
            errors.invalid_text(field, "resource", why);
        }
        _ => {}
    }
    if name.contains('/') {
        errors.invalid_text(format!("{field}.datasetName"), name, "must not contain '/'");
    }
}

pub(crate) fn quobyte(source: &Value, field: &str, errors: &mut Errors) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = text(source, "registry");
    if registry.is_empty() {
        errors.required(format!("{field}.registry"), PAIRS);
    } else if text(source, "tenant").len() >= 65 {
        let why = "must be a UUID and may not exceed a length of 64 characters";
        errors.required(format!("{field}.tenant"), why);
    } else {
        for _ in registry.split(',').filter(|pair| !is_host_and_port(pair)) {
            errors.invalid_text(format!("{field}.registry"), registry, PAIRS);
        }
    }
    if text(source, "volume").is_empty() {
        errors.required(format!("{field}.volume"), "");
    }
}

/// Returns whether Go's `net.SplitHostPort` splits this text.
fn is_host_and_port(pair: &str) -> bool {
    pair.rsplit_once(':').is_some_and(|(host, _)| match host.strip_prefix('[') {
        Some(rest) => rest.ends_with(']'),
        None => !host.contains([':', '[', ']']),
    })
}

fn iscsi(source: &Value, volume: &str, field: &str, errors: &mut Errors) {
    let (portal, initiator) = (text(source, "targetPortal"), at(source, "initiatorName").as_str());
    if initiator.is_some() && volume.len() + 1 + portal.len() > 64 {
        let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        errors.invalid_text(format!("{field}.targetportal"), portal, why);
    }
    let target = text(source, "iqn");
    if !target.is_empty() && !is_initiator(target) {
        errors.invalid_text(format!("{field}.iqn"), target, "must be valid format");
    }
    if int(source, "lun").is_some_and(|number| !is_byte(number)) {
        errors.invalid(format!("{field}.lun"), at(source, "lun"), RANGE);
    }
    let authenticates = flag(source, "chapAuthDiscovery") || flag(source, "chapAuthSession");
    match at(source, "secretRef") {
        Value::Null if authenticates => errors.required(format!("{field}.secretRef"), ""),
        Value::Null => {}
        secret if text(secret, "name").is_empty() => errors.required(format!("{field}.secretRef.name"), ""),
        _ => {}
    }
    if let Some(initiator) = initiator.filter(|name| !is_initiator(name)) {
        errors.invalid_text(format!("{field}.initiatorname"), initiator, "must be valid format");
    }
}

/// Returns whether a text is a name of iSCSI: `iqn.2001-04.com.example:disk`, `eui.` and 16
/// characters, `naa.` and 32.
pub(crate) fn is_initiator(name: &str) -> bool {
    let has = |rest: &str, count: usize| {
        let mut characters = rest.chars();
        characters.next().is_some()
            && characters.as_str().len() == count
            && characters.all(|c| c.is_ascii_alphanumeric())
    };
    if let Some(rest) = name.strip_prefix("eui") {
        return has(rest, 16);
    }
    if let Some(rest) = name.strip_prefix("naa") {
        return has(rest, 32);
    }
    let Some((authority, unique)) = name.strip_prefix("iqn.").and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    let is_date = |date: &str| {
        date.len() == 7
            && date.bytes().enumerate().all(|(i, b)| if i == 4 { b == b'-' } else { b.is_ascii_digit() })
    };
    let is_of_domain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let is_apart = |c: char| matches!(c, ',' | ';' | '*' | '&' | '$' | '|') || c.is_ascii_whitespace();
    authority
        .split_once('.')
        .is_some_and(|(date, domain)| is_date(date) && !domain.is_empty() && domain.chars().all(is_of_domain))
        && !unique.is_empty()
        && !unique.contains(is_apart)
}

pub(crate) fn fibre_channel(source: &Value, field: &str, errors: &mut Errors) {
    let targets = format!("{field}.targetWWNs");
    match (empty(source, "targetWWNs"), empty(source, "wwids")) {
        (true, true) => errors.required(&targets, "must specify either targetWWNs or wwids, but not both"),
        (false, false) => {
            let why = "targetWWNs and wwids can not be specified simultaneously";
            errors.invalid(&targets, at(source, "targetWWNs"), why);
        }
        _ => {}
    }
    if empty(source, "targetWWNs") {
        return;
    }
    match int(source, "lun") {
        None => errors.required(format!("{field}.lun"), "lun is required if targetWWNs is specified"),
        Some(number) if !is_byte(number) => {
            errors.invalid(format!("{field}.lun"), at(source, "lun"), RANGE);
        }
        Some(_) => {}
    }
}

pub(crate) fn flex_options(source: &Value, field: &str, errors: &mut Errors) {
    for (key, _) in map(source, "options").into_iter().flatten() {
        let owner = key.split_once('/').map_or(key.as_str(), |(owner, _)| owner);
        let owner = format!(".{}", owner.to_lowercase());
        if owner.ends_with(".kubernetes.io") || owner.ends_with(".k8s.io") {
            let why = "kubernetes.io and k8s.io namespaces are reserved";
            errors.invalid_text(format!("{field}.options[{key}]"), key, why);
        }
    }
}

pub(crate) fn azure_disk(source: &Value, field: &str, errors: &mut Errors) {
    one_of(
        source,
        "cachingMode",
        &format!("{field}.cachingMode"),
        &["None", "ReadOnly", "ReadWrite"],
        errors,
    );
    one_of(source, "kind", &format!("{field}.kind"), &["Dedicated", "Managed", "Shared"], errors);
    const MANAGED: &str =
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const BLOB: &str = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    let (beginning, example) = match at(source, "kind").as_str() {
        None => return,
        Some("Managed") => ("/subscriptions/", MANAGED),
        Some(_) => ("https://", BLOB),
    };
    let uri = text(source, "diskURI");
    if !uri.starts_with(beginning) {
        errors.not_supported(format!("{field}.diskURI"), &json!(uri), &[example]);
    }
}

/// What a reference to a secret from a volume has: a volume is in no namespace.
const SECRET_PARTS: &[&str] = &["name", "namespace"];

/// Checks that a reference to a secret has these parts.
pub(crate) fn secret(source: &Value, parts: &[&str], field: &str, errors: &mut Errors) {
    let secret = at(source, "secretRef");
    for part in parts.iter().filter(|part| !secret.is_null() && empty(secret, part)) {
        errors.required(format!("{field}.secretRef.{part}"), "");
    }
}

pub(crate) fn storage_os(source: &Value, secret_parts: &[&str], field: &str, errors: &mut Errors) {
    for part in ["volumeName", "volumeNamespace"] {
        let name = text(source, part);
        for why in dns_label(name).iter().filter(|_| !name.is_empty()) {
            errors.invalid_text(format!("{field}.{part}"), name, why);
        }
    }
    secret(source, secret_parts, field, errors);
}

/// Checks the name of a driver of CSI (`ValidateCSIDriverName`).
pub(crate) fn csi_driver(source: &Value, field: &str, errors: &mut Errors) {
    let (driver, field) = (text(source, "driver"), format!("{field}.driver"));
    if driver.is_empty() {
        return errors.required(field, "");
    }
    if driver.len() > 63 {
        errors.too_long(&*field, 63);
    }
    for why in dns_subdomain(&driver.to_lowercase()) {
        errors.invalid_text(&*field, driver, &why);
    }
}

fn csi(source: &Value, field: &str, errors: &mut Errors) {
    csi_driver(source, field, errors);
    if empty(source, "volumeHandle") {
        errors.required(format!("{field}.volumeHandle"), "");
    }
    for part in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        let secret = at(source, part);
        for key in ["name", "namespace"].into_iter().filter(|_| !secret.is_null()) {
            let (name, field) = (text(secret, key), format!("{field}.{part}.{key}"));
            if name.is_empty() {
                errors.required(field, "");
                continue;
            }
            let problems = if key == "name" { dns_subdomain(name) } else { dns_label(name) };
            problems.iter().for_each(|why| errors.invalid_text(&*field, name, why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    fn fields(spec: Value) -> Vec<String> {
        let found = problems(validate, json!({"metadata": {"name": "v"}, "spec": spec}));
        found.iter().map(|one| one.split(": ").take(2).collect::<Vec<_>>().join(": ")).collect()
    }

    #[test]
    fn a_source_has_the_fields_that_it_needs() {
        for (source, want) in [
            (json!({"nfs": {}}), "spec.nfs.server spec.nfs.path spec.nfs.path"),
            (json!({"nfs": {"server": "s", "path": "/x"}}), ""),
            (json!({"csi": {}}), "spec.csi.driver spec.csi.volumeHandle"),
            (json!({"csi": {"driver": "Csi.Example.com", "volumeHandle": "h"}}), ""),
            (
                json!({"csi": {"driver": "d", "volumeHandle": "h", "nodePublishSecretRef": {"name": "s"}}}),
                "spec.csi.nodePublishSecretRef.namespace",
            ),
            (json!({"rbd": {"image": "i"}}), "spec.rbd.monitors"),
            (
                json!({"gcePersistentDisk": {"partition": 300}}),
                "spec.persistentDisk.pdName spec.persistentDisk.partition",
            ),
            (json!({"fc": {"targetWWNs": ["w"]}}), "spec.fc.lun"),
            (json!({"fc": {}}), "spec.fc.targetWWNs"),
            (json!({"flocker": {"datasetName": "a/b"}}), "spec.flocker.datasetName"),
            (
                json!({"flexVolume": {"driver": "d", "options": {"x.k8s.io/a": ""}}}),
                "spec.flexVolume.options[x.k8s.io/a]",
            ),
            (json!({"quobyte": {"registry": "a:1,b", "volume": "v"}}), "spec.quobyte.registry"),
            (
                json!({"azureDisk": {"diskName": "d", "diskURI": "x", "kind": "Managed"}}),
                "spec.azureDisk.diskURI",
            ),
            (json!({"scaleIO": {"gateway": "g", "system": "s"}}), "spec.scaleIO.volumeName"),
            (json!({"storageos": {"volumeName": "A"}}), "spec.storageos.volumeName"),
            (
                json!({"cinder": {"volumeID": "v", "secretRef": {"name": "s"}}}),
                "spec.cinder.secretRef.namespace",
            ),
            (
                json!({"glusterfs": {"endpoints": "e", "path": "p", "endpointsNamespace": ""}}),
                "spec.glusterfs.endpointsNamespace",
            ),
        ] {
            let found = fields(source.clone());
            let found: Vec<&str> = found.iter().filter_map(|one| one.split(": ").next()).collect();
            assert_eq!(found.join(" "), want, "{source}");
        }
    }

    #[test]
    fn an_iscsi_target_has_a_name_of_iscsi() {
        let errors_of = |iqn: &str| fields(json!({"iscsi": {"targetPortal": "10.0.0.1", "iqn": iqn}}));
        let naa = format!("naa.{}", "f".repeat(32));
        for good in ["iqn.2001-04.com.example:storage.disk2", "eui.0123456789abcdef", &naa] {
            assert_eq!(errors_of(good), [""; 0], "{good}");
        }
        for bad in [
            "x",
            "iqn.2001-04.com.example",
            "iqn.201-04.com:x",
            "iqn.2001-04.:x",
            "iqn.2001-04.a:b c",
            "eui.0",
        ] {
            assert_eq!(errors_of(bad), ["spec.iscsi.iqn: Invalid value"], "{bad}");
        }
        let secure =
            fields(json!({"iscsi": {"targetPortal": "p", "iqn": &naa, "chapAuthSession": true, "lun": 256}}));
        assert_eq!(secure, ["spec.iscsi.lun: Invalid value", "spec.iscsi.secretRef: Required value"]);
    }

    #[test]
    fn a_volume_has_one_source() {
        assert_eq!(fields(json!({})), ["spec: Required value"]);
        let two = json!({"hostPath": {"path": "/x"}, "cephfs": {"monitors": ["m"]}, "csi": {}});
        assert_eq!(fields(two), ["spec.cephFS: Forbidden", "spec.csi: Forbidden"]);
    }
}
