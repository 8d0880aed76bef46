//! Where the files of a pod's volume come from: a volume has one source. Ropewalk's kubelet makes
//! few of them; the others are judged as upstream judges them (`validateVolumeSource`), because
//! their fields are required for every client that reads them.

use super::ephemeral_volume;
use super::volumes::{descending, downward_file, items, mode, no_backsteps, projected};
use crate::errors::Errors;
use crate::kinds::core::volume_sources::{
    RANGE, azure_disk, csi_driver, dataset, fibre_channel, flex_options, is_byte, is_initiator, partition,
    quobyte, required, secret, storage_os,
};
use crate::quantity::Quantity;
use crate::validate::fields::{add_problems, one_of};
use crate::validate::names;
use crate::value::{at, flag, int, list, text};
use serde_json::Value;

/// The kinds of sources in the order in which upstream looks at them: the first one counts.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// Checks that a volume has one source, and the source itself.
pub(super) fn check(volume: &Value, field: &str, is_pod: bool, errors: &mut Errors) {
    let mut found = SOURCES.iter().filter(|kind| at(volume, kind).is_object());
    match found.next() {
        None => errors.required(field, "must specify a volume type"),
        Some(kind) => {
            let shown = if *kind == "gcePersistentDisk" { "persistentDisk" } else { *kind };
            one_source(kind, at(volume, kind), &format!("{field}.{shown}"), is_pod, errors);
        }
    }
    for kind in found {
        // Upstream has these names of two kinds.
        let shown = match *kind {
            "cephfs" => "cephFS",
            "downwardAPI" => "downwarAPI",
            other => other,
        };
        errors.forbidden(format!("{field}.{shown}"), "may not specify more than 1 volume type");
    }
    let portal = text(volume, "iscsi.targetPortal");
    let name = text(volume, "name");
    if !at(volume, "iscsi.initiatorName").is_null() && name.len() + 1 + portal.len() > 64 {
        let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        errors.invalid_text(format!("{field}.name"), name, why);
    }
}

fn one_source(kind: &str, source: &Value, field: &str, is_pod: bool, errors: &mut Errors) {
    let own: &[&str] = match kind {
        "secret" => &["secretName"],
        "persistentVolumeClaim" => &["claimName"],
        "configMap" => &["name"],
        "gitRepo" => &["repository"],
        "image" if is_pod => &["reference"],
        _ => &[],
    };
    for path in own.iter().filter(|path| text(source, path).is_empty()) {
        errors.required(format!("{field}.{path}"), "");
    }
    required(kind, source, field, errors);
    match kind {
        "emptyDir" => {
            let limit = text(source, "sizeLimit");
            if Quantity::parse(limit).is_some_and(|q| q.is_negative()) {
                let why = "SizeLimit field must be a valid resource quantity";
                errors.forbidden(format!("{field}.sizeLimit"), why);
            }
        }
        "hostPath" if !text(source, "path").is_empty() => {
            no_backsteps(text(source, "path"), &format!("{field}.path"), errors);
            host_path_type(source, field, errors);
        }
        "gitRepo" => descending(text(source, "directory"), &format!("{field}.directory"), errors),
        "nfs" if !text(source, "path").starts_with('/') => {
            errors.invalid_text(format!("{field}.path"), text(source, "path"), "must be an absolute path");
        }
        "secret" | "configMap" => {
            mode(source, "defaultMode", field, errors);
            items(source, field, errors);
        }
        "downwardAPI" => {
            mode(source, "defaultMode", field, errors);
            for item in list(source, "items") {
                downward_file(item, field, errors); // upstream names the list, not the item
            }
        }
        "projected" => projected(source, field, errors),
        "ephemeral" => ephemeral_volume::check(source, field, errors),
        "image" => {
            let policies = ["Always", "IfNotPresent", "Never"];
            one_of(source, "pullPolicy", &format!("{field}.pullPolicy"), &policies, errors);
        }
        _ => storage(kind, source, field, errors),
    }
}

/// Checks a source of storage outside of the node. PersistentVolumes have these sources, too, and
/// say more about some of them.
fn storage(kind: &str, source: &Value, field: &str, errors: &mut Errors) {
    match kind {
        "gcePersistentDisk" | "awsElasticBlockStore" => partition(source, field, errors),
        "iscsi" => iscsi(source, field, errors),
        "flocker" => dataset(source, field, errors),
        "cinder" => secret(source, &["name"], field, errors),
        "quobyte" => quobyte(source, field, errors),
        "fc" => fibre_channel(source, field, errors),
        "flexVolume" => flex_options(source, field, errors),
        "azureDisk" => azure_disk(source, field, errors),
        "storageos" => storage_os(source, &["name"], field, errors),
        "csi" => csi(source, field, errors),
        _ => {}
    }
}

/// Checks a target of iSCSI: its name, its number, and the secret with which it is logged in to.
fn iscsi(source: &Value, field: &str, errors: &mut Errors) {
    let names = [("iqn", "iqn"), ("initiatorName", "initiatorname")];
    for (part, shown) in names {
        let Some(name) = at(source, part).as_str() else { continue };
        // A missing target is reported as such.
        if is_initiator(name) || (part == "iqn" && name.is_empty()) {
            continue;
        }
        let why = match ["iqn", "eui", "naa"].iter().any(|kind| name.starts_with(kind)) {
            true => "must be valid format",
            false => "must be valid format starting with iqn, eui, or naa",
        };
        errors.invalid_text(format!("{field}.{shown}"), name, why);
    }
    if int(source, "lun").is_some_and(|number| !is_byte(number)) {
        errors.invalid(format!("{field}.lun"), at(source, "lun"), RANGE);
    }
    let authenticates = flag(source, "chapAuthDiscovery") || flag(source, "chapAuthSession");
    if authenticates && at(source, "secretRef").is_null() {
        errors.required(format!("{field}.secretRef"), "");
    }
}

fn csi(source: &Value, field: &str, errors: &mut Errors) {
    csi_driver(source, field, errors);
    let secret = at(source, "nodePublishSecretRef");
    match text(secret, "name") {
        _ if secret.is_null() => {}
        "" => errors.required(format!("{field}.nodePublishSecretRef.name"), ""),
        // Upstream leaves the reference out of this path.
        name => add_problems(names::dns_subdomain(name), &format!("{field}.name"), name, errors),
    }
}

/// Checks that the type of a hostPath is one that Kubernetes knows.
pub(crate) fn host_path_type(source: &Value, field: &str, errors: &mut Errors) {
    let known =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    one_of(source, "type", &format!("{field}.type"), &known, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Fields and kinds of the problems of a volume with this source.
    fn fields(source: Value) -> String {
        let mut volume = json!({"name": "v"});
        crate::patch::merge(&mut volume, &source);
        let mut errors = Errors::default();
        check(&volume, "v", true, &mut errors);
        let all = errors.iter().map(|e| format!("{} {:?}", e.field, e.kind));
        all.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn every_source_is_judged() {
        for (source, want) in [
            (json!({"rbd": {"image": "i"}}), "v.rbd.monitors Required"),
            (json!({"cephfs": {}}), "v.cephfs.monitors Required"),
            (
                json!({"gcePersistentDisk": {"pdName": "d", "partition": 300}}),
                "v.persistentDisk.partition Invalid",
            ),
            (json!({"fc": {"targetWWNs": ["w"]}}), "v.fc.lun Required"),
            (json!({"flocker": {}}), "v.flocker Required"),
            (json!({"scaleIO": {"gateway": "g", "system": "s"}}), "v.scaleIO.volumeName Required"),
            (json!({"portworxVolume": {}}), "v.portworxVolume.volumeID Required"),
            (json!({"photonPersistentDisk": {}}), "v.photonPersistentDisk.pdID Required"),
            (json!({"storageos": {"volumeName": "A"}}), "v.storageos.volumeName Invalid"),
            (json!({"cinder": {"volumeID": "d", "secretRef": {}}}), "v.cinder.secretRef.name Required"),
            (json!({"cinder": {"volumeID": "d", "secretRef": {"name": "s"}}}), ""),
            (json!({"quobyte": {"registry": "a", "volume": "d"}}), "v.quobyte.registry Invalid"),
            (json!({"csi": {}}), "v.csi.driver Required"),
            (json!({"csi": {"driver": "a b"}}), "v.csi.driver Invalid"),
            (
                json!({"csi": {"driver": "d", "nodePublishSecretRef": {}}}),
                "v.csi.nodePublishSecretRef.name Required",
            ),
            (json!({"csi": {"driver": "d", "nodePublishSecretRef": {"name": "A"}}}), "v.csi.name Invalid"),
            (
                json!({"flexVolume": {"driver": "d", "options": {"k8s.io/a": ""}}}),
                "v.flexVolume.options[k8s.io/a] Invalid",
            ),
            (json!({"hostPath": {"type": "Foo"}}), "v.hostPath.path Required"),
        ] {
            assert_eq!(fields(source.clone()), want, "{source}");
        }
    }

    #[test]
    fn a_target_of_iscsi_has_a_name() {
        let errors_of = |more: Value| {
            let mut source = json!({"targetPortal": "10.0.0.1", "iqn": "iqn.2001-04.com.example:disk"});
            crate::patch::merge(&mut source, &more);
            fields(json!({ "iscsi": source }))
        };
        assert_eq!(errors_of(json!({})), "");
        assert_eq!(errors_of(json!({"iqn": "disk"})), "v.iscsi.iqn Invalid");
        assert_eq!(errors_of(json!({"iqn": ""})), "v.iscsi.iqn Required");
        assert_eq!(errors_of(json!({"lun": 256})), "v.iscsi.lun Invalid");
        assert_eq!(errors_of(json!({"chapAuthSession": true})), "v.iscsi.secretRef Required");
        let long = "a".repeat(64);
        let initiator = json!({"initiatorName": "iqn.2001-04.com.example:me", "targetPortal": long});
        assert_eq!(errors_of(initiator), "v.name Invalid");
        assert_eq!(errors_of(json!({"initiatorName": "me"})), "v.iscsi.initiatorname Invalid");
    }

    #[test]
    fn of_two_sources_the_one_counts_that_upstream_looks_at_first() {
        let two = json!({"configMap": {"name": "m"}, "emptyDir": {}});
        assert_eq!(fields(two), "v.configMap Forbidden");
        let two = json!({"downwardAPI": {}, "hostPath": {"path": "/x"}});
        assert_eq!(fields(two), "v.downwarAPI Forbidden");
    }
}
