//! Defaults of a pod's spec, for Pods and for pod templates.

use crate::image_name::is_latest;
use crate::value::{self, at, default, default_zero, list_mut, put, text};
use serde_json::{Value, json};

/// Fills in the defaults of the pod template at `path` of a workload.
pub(crate) fn template(workload: &mut Value, path: &str) {
    let template = value::slot(workload, path);
    value::slot_map(template, "metadata");
    spec(value::slot(template, "spec"));
}

pub(crate) fn spec(spec: &mut Value) {
    default_zero(spec, "dnsPolicy", "ClusterFirst");
    default_zero(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default_zero(spec, "schedulerName", "default-scheduler");
    default(spec, "securityContext", json!({}));
    service_account(spec);
    for field in ["containers", "initContainers", "ephemeralContainers"] {
        for container in list_mut(spec, field) {
            self::container(container);
        }
    }
    for volume in list_mut(spec, "volumes") {
        self::volume(volume);
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are always shown.
fn service_account(spec: &mut Value) {
    let (new, old) = (text(spec, "serviceAccountName").to_string(), text(spec, "serviceAccount").to_string());
    let name = if new.is_empty() { old } else { new };
    if !name.is_empty() {
        put(spec, "serviceAccountName", name.clone());
        put(spec, "serviceAccount", name);
    }
}

fn container(container: &mut Value) {
    default_zero(container, "terminationMessagePath", "/dev/termination-log");
    default_zero(container, "terminationMessagePolicy", "File");
    default(container, "resources", json!({}));
    let policy = pull_policy(text(container, "image"));
    default_zero(container, "imagePullPolicy", policy);
    for port in list_mut(container, "ports") {
        default_zero(port, "protocol", "TCP");
    }
    for variable in list_mut(container, "env") {
        if at(variable, "valueFrom.fieldRef").is_object() {
            default_zero(variable, "valueFrom.fieldRef.apiVersion", "v1");
        }
        divisor(variable, "valueFrom.resourceFieldRef");
        if at(variable, "valueFrom.fileKeyRef").is_object() {
            default(variable, "valueFrom.fileKeyRef.optional", false);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(name).filter(|p| p.is_object()) {
            default_zero(probe, "timeoutSeconds", 1);
            default_zero(probe, "periodSeconds", 10);
            default_zero(probe, "successThreshold", 1);
            default_zero(probe, "failureThreshold", 3);
            http_get(probe);
            if at(probe, "grpc").is_object() {
                default(probe, "grpc.service", "");
            }
        }
    }
    for hook in ["lifecycle.postStart", "lifecycle.preStop"] {
        if let Some(hook) = value::at_mut(container, hook).filter(|h| h.is_object()) {
            http_get(hook);
        }
    }
}

fn http_get(handler: &mut Value) {
    if at(handler, "httpGet").is_object() {
        default_zero(handler, "httpGet.path", "/");
        default_zero(handler, "httpGet.scheme", "HTTP");
    }
}

/// Returns the default pull policy of an image. The tag `latest` may name another image each time.
fn pull_policy(image: &str) -> &'static str {
    if is_latest(image) { "Always" } else { "IfNotPresent" }
}

fn volume(volume: &mut Value) {
    let sources = volume.as_object().map_or(0, |v| v.keys().filter(|k| *k != "name").count());
    if sources == 0 {
        put(volume, "emptyDir", json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if at(volume, source).is_object() {
            default(volume, &format!("{source}.defaultMode"), 420);
        }
    }
    field_refs(list_mut(volume, "downwardAPI.items"));
    for source in list_mut(volume, "projected.sources") {
        if at(source, "serviceAccountToken").is_object() {
            default(source, "serviceAccountToken.expirationSeconds", 3600);
        }
        field_refs(list_mut(source, "downwardAPI.items"));
    }
    if at(volume, "hostPath").is_object() {
        default(volume, "hostPath.type", "");
    }
    source(volume);
    if at(volume, "image").is_object() {
        let policy = pull_policy(text(volume, "image.reference"));
        default_zero(volume, "image.pullPolicy", policy);
    }
    if at(volume, "ephemeral.volumeClaimTemplate").is_object() {
        default(volume, "ephemeral.volumeClaimTemplate.spec.volumeMode", "Filesystem");
        // No pointer in Go, which always writes it.
        value::slot_map(volume, "ephemeral.volumeClaimTemplate.metadata");
    }
}

/// Defaults of a source of storage that a volume of a pod and a PersistentVolume's spec may have.
pub(crate) fn source(holder: &mut Value) {
    if at(holder, "rbd").is_object() {
        default_zero(holder, "rbd.pool", "rbd");
        default_zero(holder, "rbd.user", "admin");
        default_zero(holder, "rbd.keyring", "/etc/ceph/keyring");
    }
    if at(holder, "iscsi").is_object() {
        default_zero(holder, "iscsi.iscsiInterface", "default");
    }
    if at(holder, "azureDisk").is_object() {
        default(holder, "azureDisk.cachingMode", "ReadWrite");
        default(holder, "azureDisk.fsType", "ext4");
        default(holder, "azureDisk.readOnly", false);
        default(holder, "azureDisk.kind", "Shared");
    }
    if at(holder, "scaleIO").is_object() {
        default_zero(holder, "scaleIO.storageMode", "ThinProvisioned");
        default_zero(holder, "scaleIO.fsType", "xfs");
    }
}

fn field_refs(items: &mut [Value]) {
    for item in items {
        if at(item, "fieldRef").is_object() {
            default_zero(item, "fieldRef.apiVersion", "v1");
        }
        divisor(item, "resourceFieldRef");
    }
}

/// Fills in the divisor of a reference to an amount, 0 where none is set: the one amount of a pod
/// that is no pointer in Go, which always writes it.
fn divisor(holder: &mut Value, reference: &str) {
    if at(holder, reference).is_object() {
        default(holder, &format!("{reference}.divisor"), "0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_of_an_image_is_pulled_as_a_container_s_image() {
        for (reference, own, want) in
            [("app", "", "Always"), ("app:1", "", "IfNotPresent"), ("app", "Never", "Never")]
        {
            let mut pod =
                json!({"volumes": [{"name": "v", "image": {"reference": reference, "pullPolicy": own}}]});
            spec(&mut pod);
            assert_eq!(pod["volumes"][0]["image"]["pullPolicy"], want, "{reference} {own}");
        }
    }

    /// As the marks `+default` upstream.
    #[test]
    fn sources_of_storage_are_filled_in_for_pods_and_for_volumes() {
        let sources = [
            (
                json!({"rbd": {"image": "i", "monitors": ["m"], "user": "me"}}),
                json!({"rbd": {"image": "i", "monitors": ["m"], "user": "me", "pool": "rbd", "keyring": "/etc/ceph/keyring"}}),
            ),
            (json!({"iscsi": {"lun": 1}}), json!({"iscsi": {"lun": 1, "iscsiInterface": "default"}})),
            (
                json!({"azureDisk": {"diskName": "d", "kind": "Managed"}}),
                json!({"azureDisk": {"diskName": "d", "kind": "Managed", "cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": false}}),
            ),
            (
                json!({"scaleIO": {"fsType": "ext4"}}),
                json!({"scaleIO": {"fsType": "ext4", "storageMode": "ThinProvisioned"}}),
            ),
        ];
        let volume_kind = crate::kinds::find("", "v1", "PersistentVolume").expect("a kind of the table");
        for (given, want) in sources {
            let mut pod = json!({ "volumes": [given] });
            spec(&mut pod);
            assert_eq!(pod["volumes"][0], want);
            let mut volume = json!({ "spec": given });
            (volume_kind.defaults)(&mut volume);
            for (name, source) in want.as_object().expect("a map") {
                assert_eq!(&volume["spec"][name], source);
            }
        }
        let variable =
            json!({"name": "A", "valueFrom": {"fileKeyRef": {"key": "A", "path": "p", "volumeName": "v"}}});
        let mut pod = json!({"containers": [{"name": "c", "image": "i:1", "env": [variable]}]});
        spec(&mut pod);
        assert_eq!(pod["containers"][0]["env"][0]["valueFrom"]["fileKeyRef"]["optional"], false);
    }

    #[test]
    fn the_claim_of_an_ephemeral_volume_has_metadata() {
        for (given, want) in [
            (json!({}), json!({})),
            (json!({"metadata": {"labels": {"a": "b"}}}), json!({"labels": {"a": "b"}})),
        ] {
            let mut pod = json!({"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": given}}]});
            spec(&mut pod);
            let template = &pod["volumes"][0]["ephemeral"]["volumeClaimTemplate"];
            assert_eq!(
                (&template["metadata"], &template["spec"]["volumeMode"]),
                (&want, &json!("Filesystem"))
            );
        }
    }

    #[test]
    fn a_divisor_that_is_not_set_is_shown_as_0() {
        let by = |divisor: Value| json!({"resource": "limits.cpu", "divisor": divisor});
        for (given, want) in [
            (json!({"resource": "limits.cpu"}), by("0".into())),
            (by(Value::Null), by("0".into())),
            (by("1m".into()), by("1m".into())),
        ] {
            let variables = json!([{"name": "A", "valueFrom": {"resourceFieldRef": given}}, {"name": "B"}]);
            let file = json!([{"path": "a", "resourceFieldRef": given}, {"path": "b", "fieldRef": {"fieldPath": "metadata.name"}}]);
            let mut pod = json!({"containers": [{"name": "c", "image": "i:1", "env": variables}],
                "volumes": [{"name": "v", "downwardAPI": {"items": file}},
                    {"name": "w", "projected": {"sources": [{"downwardAPI": {"items": file}}]}}]});
            spec(&mut pod);
            let variable = &pod["containers"][0]["env"][0]["valueFrom"]["resourceFieldRef"];
            let [alone, projected] = [
                &pod["volumes"][0]["downwardAPI"]["items"],
                &pod["volumes"][1]["projected"]["sources"][0]["downwardAPI"]["items"],
            ];
            assert_eq!(
                [variable, &alone[0]["resourceFieldRef"], &projected[0]["resourceFieldRef"]],
                [&want; 3]
            );
            assert_eq!(alone[1].get("resourceFieldRef"), None);
        }
    }
}
