//! Pods and pod templates.

use crate::requests::{self, qos_class_of_value};
use crate::value::{self, at, default, default_zero, list, list_mut, put, text};
use serde_json::{Value, json};

/// A whole Pod.
pub fn pod(pod: &mut Value) {
    spec(value::slot(pod, "spec"));
    default(pod, "spec.enableServiceLinks", true);
    let host_network = value::flag(pod, "spec.hostNetwork");
    // Only in a Pod, never in a template: a limit is also the request, and a port on the node's
    // network is the node's.
    for field in ["spec.containers", "spec.initContainers"] {
        for container in list_mut(pod, field) {
            for port in list_mut(container, "ports").iter_mut().filter(|_| host_network) {
                let number = at(port, "containerPort").clone();
                default_zero(port, "hostPort", number);
            }
            let limits = value::map(container, "resources.limits").cloned();
            for (name, amount) in limits.into_iter().flatten() {
                value::slot_map(container, "resources.requests").entry(name).or_insert(amount);
            }
        }
    }
    whole_requests(pod);
}

/// A pod that has limits as a whole requests what its containers request together, and its limits
/// where they request nothing.
fn whole_requests(pod: &mut Value) {
    let Some(limits) = value::map(pod, "spec.resources.limits").filter(|l| !l.is_empty()).cloned() else {
        return;
    };
    let together = requests::of_containers(at(pod, "spec"));
    let shared = together.into_iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory"));
    let whole = limits.into_iter().filter(|(name, _)| requests::is_of_whole_pod(name));
    let all: Vec<(String, Value)> =
        shared.map(|(name, amount)| (name, Value::from(amount.to_string()))).chain(whole).collect();
    if all.is_empty() {
        return;
    }
    let requests = value::slot_map(pod, "spec.resources.requests");
    for (name, amount) in all {
        requests.entry(name).or_insert(amount);
    }
}

/// A pod template's spec, at `spec.template.spec` of a workload.
pub fn template(workload: &mut Value, path: &str) {
    let template = value::slot(workload, path);
    value::slot_map(template, "metadata");
    spec(value::slot(template, "spec"));
}

fn spec(spec: &mut Value) {
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
    if text(container, "imagePullPolicy").is_empty() {
        let policy = if is_latest(text(container, "image")) { "Always" } else { "IfNotPresent" };
        put(container, "imagePullPolicy", policy);
    }
    for port in list_mut(container, "ports") {
        default_zero(port, "protocol", "TCP");
    }
    for variable in list_mut(container, "env") {
        if at(variable, "valueFrom.fieldRef").is_object() {
            default_zero(variable, "valueFrom.fieldRef.apiVersion", "v1");
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

/// Does the image name ask for `latest`, by tag or by silence?
fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    match name.rsplit('/').next().unwrap_or("").split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_none(),
    }
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
    if at(volume, "ephemeral.volumeClaimTemplate").is_object() {
        default(volume, "ephemeral.volumeClaimTemplate.spec.volumeMode", "Filesystem");
    }
}

fn field_refs(items: &mut [Value]) {
    for item in items {
        if at(item, "fieldRef").is_object() {
            default_zero(item, "fieldRef.apiVersion", "v1");
        }
    }
}

/// The status of a pod that was just made.
pub fn prepare(pod: &mut Value) {
    let qos = qos_class_of_value(pod);
    let mut status = json!({"phase": "Pending", "qosClass": qos});
    // The scheduler does not look at it (`applySchedulingGatedCondition` upstream).
    if !list(pod, "spec.schedulingGates").is_empty() {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates", "lastProbeTime": null,
            "lastTransitionTime": clock::rfc3339(clock::now()),
        }]);
    }
    put(pod, "status", status);
}

/// What a kubelet leaves out of a status stays: the quality of service, which never changes, and
/// the generation that the status is about.
pub fn prepare_status_update(new: &mut Value, old: &Value, _: &str) {
    if text(new, "status.qosClass").is_empty() {
        value::copy(old, new, "status.qosClass");
    }
    if at(new, "status.observedGeneration").as_i64().unwrap_or(0) == 0 {
        value::copy(old, new, "status.observedGeneration");
    }
}

/// An update keeps the quality-of-service class, and the tolerations that admission added: a client
/// that sends a list of its own knows nothing of them (upstream runs DefaultTolerationSeconds for
/// updates, too).
pub fn prepare_update(new: &mut Value, old: &Value) {
    value::copy(old, new, "status.qosClass");
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let added = |t: &&Value| {
            text(t, "key") == key && text(t, "operator") == "Exists" && text(t, "effect") == "NoExecute"
        };
        let Some(toleration) = list(old, "spec.tolerations").iter().find(added) else { continue };
        let tolerates =
            |t: &Value| [key, ""].contains(&text(t, "key")) && ["NoExecute", ""].contains(&text(t, "effect"));
        if !list(new, "spec.tolerations").iter().any(tolerates) {
            let mut all = list(new, "spec.tolerations").to_vec();
            all.push(toleration.clone());
            put(new, "spec.tolerations", all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_whose_scheduling_is_gated_says_so() {
        let of = |gates: Value| {
            let mut pod = json!({"spec": {"containers": [{"name": "c"}], "schedulingGates": gates}});
            prepare(&mut pod);
            at(&pod, "status.conditions").clone()
        };
        let gated = of(json!([{"name": "example.com/x"}]));
        assert_eq!((text(&gated[0], "type"), text(&gated[0], "status")), ("PodScheduled", "False"));
        assert_eq!(text(&gated[0], "reason"), "SchedulingGated");
        assert_eq!(of(json!([])), Value::Null);
    }

    #[test]
    fn a_pod_with_limits_as_a_whole_requests_what_its_containers_do() {
        let requests = |containers: Value, resources: Value| {
            let mut object = json!({"spec": {"containers": containers, "resources": resources}});
            pod(&mut object);
            (at(&object, "spec.resources.requests").clone(), qos_class_of_value(&object))
        };
        let says = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu, "ephemeral-storage": "1Gi"}}});
        let limits = json!({"limits": {"cpu": "2", "memory": "1Gi"}});
        assert_eq!(
            requests(json!([says("500m"), says("250m")]), limits.clone()),
            (json!({"cpu": "750m", "memory": "1Gi"}), "Burstable")
        );
        let silent = json!([{"name": "c"}]);
        assert_eq!(requests(silent.clone(), limits), (json!({"cpu": "2", "memory": "1Gi"}), "Guaranteed"));
        let own = json!({"limits": {"cpu": "2"}, "requests": {"cpu": "1"}});
        assert_eq!(requests(silent.clone(), own).0, json!({"cpu": "1"}));
        assert_eq!(requests(silent, json!({"requests": {"cpu": "1"}})).0, json!({"cpu": "1"}));
    }

    #[test]
    fn ports_on_the_network_of_the_node_are_filled_into_pods_only() {
        let spec = json!({"hostNetwork": true, "containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80}]}],
            "volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]});
        let (mut one, mut workload) = (json!({"spec": spec}), json!({"spec": {"template": {"spec": spec}}}));
        pod(&mut one);
        template(&mut workload, "spec.template");
        assert_eq!(
            one["spec"]["containers"][0]["ports"],
            json!([{"containerPort": 80, "protocol": "TCP", "hostPort": 80}])
        );
        let spec = &workload["spec"]["template"]["spec"];
        assert_eq!(spec["containers"][0]["ports"], json!([{"containerPort": 80, "protocol": "TCP"}]));
        assert_eq!(
            spec["volumes"][0]["ephemeral"]["volumeClaimTemplate"]["spec"]["volumeMode"],
            "Filesystem"
        );
    }

    #[test]
    fn defaulting_twice_changes_nothing_more() {
        let mut object = json!({"spec": {"containers": [{"name": "c", "image": "nginx:1.27",
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            "readinessProbe": {"httpGet": {"port": 80}}}], "volumes": [{"name": "v"}]}});
        pod(&mut object);
        assert_eq!(text(&object, "spec.restartPolicy"), "Always");
        let container = &list(&object, "spec.containers")[0];
        assert_eq!(text(container, "imagePullPolicy"), "IfNotPresent");
        assert_eq!(text(container, "resources.requests.cpu"), "1");
        assert_eq!(text(container, "readinessProbe.httpGet.path"), "/");
        assert_eq!(at(&list(&object, "spec.volumes")[0], "emptyDir"), &json!({}));
        assert_eq!(qos_class_of_value(&object), "Guaranteed");
        let once = object.clone();
        pod(&mut object);
        assert_eq!(object, once);
    }

    #[test]
    fn latest_is_a_tag_or_no_tag() {
        for (image, latest) in [
            ("nginx", true),
            ("nginx:latest", true),
            ("nginx:1.27", false),
            ("localhost:5000/nginx", true),
            ("localhost:5000/nginx:1", false),
            ("nginx@sha256:00", false),
        ] {
            assert_eq!(is_latest(image), latest, "{image}");
        }
    }

    #[test]
    fn an_update_keeps_the_tolerations_of_admission() {
        let added = |key: &str| json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
        let old = json!({"spec": {"tolerations": [added("not-ready"), added("unreachable")]}});
        let mut new = json!({"spec": {"tolerations": [{"key": "foo", "operator": "Exists"}, {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}]}});
        prepare_update(&mut new, &old);
        let keys: Vec<&str> = list(&new, "spec.tolerations").iter().map(|t| text(t, "key")).collect();
        assert_eq!(keys, ["foo", "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"]);
    }
}
