//! What Go's structs of a kind hold: where the pod spec is, and the fields that they cannot leave
//! out of an object that never was on a server.

use api::quantity;
use api::value::{self, default, list_mut};
use serde_json::{Value, json};

/// The path of the pod spec in an object of a kind.
pub(super) fn spec_path(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Pod" => "spec",
        "CronJob" => "spec.jobTemplate.spec.template.spec",
        "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet" | "Job" | "ReplicationController" => {
            "spec.template.spec"
        }
        _ => return None,
    })
}

/// Fields beside the pod template, by kind.
fn own(kind: &str) -> Value {
    match kind {
        "Deployment" => json!({"spec": {"strategy": {}}, "status": {}}),
        "ReplicaSet" | "ReplicationController" => json!({"status": {"replicas": 0}}),
        "DaemonSet" => json!({"spec": {"updateStrategy": {}}, "status": {
            "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0}}),
        "StatefulSet" => json!({"spec": {"serviceName": "", "updateStrategy": {}},
            "status": {"availableReplicas": 0, "replicas": 0}}),
        "CronJob" => json!({"spec": {"jobTemplate": {"metadata": {}}}, "status": {}}),
        "Service" => json!({"status": {"loadBalancer": {}}}),
        _ => json!({"status": {}}),
    }
}

/// Fills in what is missing.
fn fill(object: &mut Value, zeros: &Value) {
    for (key, zero) in zeros.as_object().into_iter().flatten() {
        match zero.as_object().is_some_and(|map| !map.is_empty()) {
            true => fill(value::slot(object, key), zero),
            false if object.get(key).is_none() => {
                value::as_map(object).insert(key.clone(), zero.clone());
            }
            false => {}
        }
    }
}

/// A workload or a Service as Go's client would print it.
pub(super) fn zeros(kind: &str, object: &mut Value) {
    let metadata = json!({"metadata": {}});
    fill(object, &metadata);
    fill(object, &own(kind));
    for port in list_mut(object, "spec.ports") {
        default(port, "targetPort", 0);
    }
    for claim in list_mut(object, "spec.volumeClaimTemplates") {
        fill(claim, &json!({"spec": {"resources": {}}, "status": {}}));
    }
    let Some(spec) = spec_path(kind) else { return };
    if let Some(template) = spec.strip_suffix(".spec") {
        fill(value::slot(object, template), &metadata);
    }
    for field in ["initContainers", "containers"] {
        for container in list_mut(object, &format!("{spec}.{field}")) {
            default(container, "resources", json!({}));
            for amounts in ["limits", "requests"] {
                for amount in value::at_mut(container, &format!("resources.{amounts}"))
                    .and_then(Value::as_object_mut)
                    .into_iter()
                    .flat_map(|map| map.values_mut())
                {
                    // Go reads an amount, and writes it as it is stored: 0.5 of cpu is 500m. One
                    // that it cannot read stays.
                    let _ = quantity::conform(amount);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_cannot_leave_out_is_there_and_nothing_is_overwritten() {
        let mut set = json!({"metadata": {"name": "x"}, "spec": {"updateStrategy": {"type": "OnDelete"},
            "template": {"spec": {"containers": [{"name": "c"}]}}, "volumeClaimTemplates": [{}]}});
        zeros("StatefulSet", &mut set);
        let want = json!({
            "metadata": {"name": "x"},
            "spec": {"serviceName": "", "updateStrategy": {"type": "OnDelete"}, "template": {
                "metadata": {}, "spec": {"containers": [{"name": "c", "resources": {}}]}},
                "volumeClaimTemplates": [{"spec": {"resources": {}}, "status": {}}]},
            "status": {"availableReplicas": 0, "replicas": 0},
        });
        assert_eq!(set, want);
        let mut pod = json!({"spec": {"containers": [{"resources": {"limits": {"cpu": 0.5, "memory": "0.1Gi", "a/b": 2, "c/d": 1e20, "e/f": " 1500m "}}}]}});
        zeros("Pod", &mut pod);
        let stored = json!({"limits": {"cpu": "500m", "memory": "107374182400m", "a/b": "2", "c/d": "100E", "e/f": "1500m"}});
        assert_eq!(pod["spec"]["containers"][0]["resources"], stored);
    }
}
