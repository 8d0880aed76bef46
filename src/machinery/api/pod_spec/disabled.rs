//! Fields of features that are off in Kubernetes 1.35, as they are by default. A write drops them
//! unless the stored object has them (`dropDisabledFields` of `pkg/api/pod/util.go`).
//!
//! ```text
//! lifecycle.stopSignal            ContainerStopSignals
//! sources of clusterTrustBundle   ClusterTrustBundleProjection
//! sources of podCertificate       PodCertificateRequest
//! workloadRef                     GenericWorkload
//! status.resources                InPlacePodLevelResourcesVerticalScaling
//! status.allocatedResources       InPlacePodLevelResourcesVerticalScaling
//! extendedResourceClaimStatus     DRAExtendedResource
//! allocatedResourcesStatus        ResourceHealthStatus
//! ```
//!
//! A source of a projected volume stays without its content: `{"podCertificate": {…}}` becomes
//! `{}`, which adds no files.

use super::lists::GROUPS;
use crate::value::{at, at_mut, list, list_mut, remove};
use serde_json::Value;

/// Drops these fields from the spec of a pod at `path` of an object that replaces `old`. Of a new
/// object `old` is null.
pub(crate) fn drop_fields(new: &mut Value, old: &Value, path: &str) {
    let old = at(old, path);
    let Some(spec) = at_mut(new, path) else { return };
    if at(old, "workloadRef").is_null() {
        remove(spec, "workloadRef");
    }
    for source in ["clusterTrustBundle", "podCertificate"] {
        if is_projected(old, source) {
            continue;
        }
        for volume in list_mut(spec, "volumes") {
            for part in list_mut(volume, "projected.sources") {
                remove(part, source);
            }
        }
    }
    if has_stop_signal(old) {
        return;
    }
    for group in GROUPS {
        list_mut(spec, group).iter_mut().for_each(drop_stop_signal);
    }
}

/// Returns whether a projected volume of a pod has a source of this kind.
fn is_projected(spec: &Value, source: &str) -> bool {
    let mut parts = list(spec, "volumes").iter().flat_map(|volume| list(volume, "projected.sources"));
    parts.any(|part| !at(part, source).is_null())
}

const STOP_SIGNAL: &str = "lifecycle.stopSignal";

/// Returns whether a container of a pod says with which signal it is stopped.
fn has_stop_signal(spec: &Value) -> bool {
    let mut containers = GROUPS.iter().flat_map(|group| list(spec, group));
    containers.any(|container| !at(container, STOP_SIGNAL).is_null())
}

/// Drops the stop signal. Without it a `lifecycle` that says nothing else is none.
fn drop_stop_signal(container: &mut Value) {
    let had = remove(container, STOP_SIGNAL).is_some();
    if had && at(container, "lifecycle").as_object().is_some_and(|rest| rest.is_empty()) {
        remove(container, "lifecycle");
    }
}

/// Drops these fields from the status of a pod that replaces `old`. The health of devices is
/// dropped even where it is stored, as upstream.
pub(crate) fn drop_status_fields(new: &mut Value, old: &Value) {
    for fields in [&["resources", "allocatedResources"][..], &["extendedResourceClaimStatus"]] {
        let paths = || fields.iter().map(|field| format!("status.{field}"));
        if paths().all(|path| at(old, &path).is_null()) {
            paths().for_each(|path| drop(remove(new, &path)));
        }
    }
    for list in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
        for container in list_mut(new, &format!("status.{list}")) {
            remove(container, "allocatedResourcesStatus");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::find;
    use serde_json::json;

    /// Returns a spec of a pod with all these fields.
    fn with_all() -> Value {
        let hook = json!({"exec": {"command": ["sync"]}});
        json!({
            "workloadRef": {"name": "w", "podGroup": "g"},
            "containers": [{"name": "c", "image": "i", "lifecycle": {"stopSignal": "SIGINT"}}],
            "initContainers": [{"name": "d", "image": "i", "lifecycle": {"stopSignal": "SIGINT", "preStop": hook}}],
            "volumes": [{"name": "v", "projected": {"sources": [
                {"clusterTrustBundle": {"name": "t", "path": "t.pem"}},
                {"podCertificate": {"signerName": "a.b/c", "keyType": "ED25519", "keyPath": "k"}},
            ]}}],
        })
    }

    fn without() -> Value {
        let hook = json!({"exec": {"command": ["sync"]}});
        json!({
            "containers": [{"name": "c", "image": "i"}],
            "initContainers": [{"name": "d", "image": "i", "lifecycle": {"preStop": hook}}],
            "volumes": [{"name": "v", "projected": {"sources": [{}, {}]}}],
        })
    }

    #[test]
    fn fields_of_features_that_are_off_are_dropped_unless_they_are_stored() {
        let mut made = json!({ "spec": with_all() });
        drop_fields(&mut made, &Value::Null, "spec");
        assert_eq!(made, json!({ "spec": without() }));
        let stored = json!({ "spec": with_all() });
        let mut kept = stored.clone();
        drop_fields(&mut kept, &stored, "spec");
        assert_eq!(kept, stored);
        let mut changed = stored;
        drop_fields(&mut changed, &json!({ "spec": without() }), "spec");
        assert_eq!(changed, json!({ "spec": without() }));
    }

    #[test]
    fn every_kind_with_pods_drops_them() {
        let template = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
        for (group, kind) in [
            ("", "ReplicationController"),
            ("apps", "Deployment"),
            ("apps", "ReplicaSet"),
            ("apps", "DaemonSet"),
            ("apps", "StatefulSet"),
            ("batch", "Job"),
            ("batch", "CronJob"),
            ("", "Pod"),
        ] {
            let whole = |spec: Value| match kind {
                "Pod" => json!({ "spec": spec }),
                "CronJob" => json!({"spec": {"jobTemplate": template(spec)}}),
                _ => template(spec),
            };
            let path = match kind {
                "Pod" => "spec",
                "CronJob" => "spec.jobTemplate.spec.template.spec",
                _ => "spec.template.spec",
            };
            let entry = find(group, "v1", kind).expect("a kind of the table");
            let mut made = whole(with_all());
            (entry.prepare)(&mut made);
            assert_eq!(at(&made, path), &without(), "{kind}");
            let mut changed = whole(with_all());
            (entry.prepare_update)(&mut changed, &whole(without()));
            assert_eq!(at(&changed, path), &without(), "{kind}");
        }
    }

    #[test]
    fn so_are_those_of_a_status() {
        let of = |status: Value| json!({ "status": status });
        let claims = json!({"resourceClaimName": "c", "requestMappings": []});
        let with_all = of(json!({"phase": "Running", "resources": {"limits": {"cpu": "1"}},
            "allocatedResources": {"cpu": "1"}, "extendedResourceClaimStatus": claims,
            "containerStatuses": [{"name": "a", "allocatedResourcesStatus": [{"name": "x"}]}]}));
        let dropped = |old: Value| {
            let mut new = with_all.clone();
            drop_status_fields(&mut new, &of(old));
            new
        };
        let none = of(json!({"phase": "Running", "containerStatuses": [{"name": "a"}]}));
        assert_eq!(dropped(json!({})), none);
        let kept = dropped(json!({"allocatedResources": {"cpu": "2"}}));
        let status = |field: &str| at(&kept, &format!("status.{field}")).is_object();
        assert!(status("resources") && status("allocatedResources"), "{kept}");
        assert!(!status("extendedResourceClaimStatus"), "{kept}");
    }
}
