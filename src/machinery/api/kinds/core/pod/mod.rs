//! Pods: containers that run together on one node and share its network address and volumes. What a
//! pod's spec may say is in `pod_spec`.

mod gates;
mod printer;
mod status;
mod validate;

pub use printer::{Summary, summary};
pub use validate::ephemeral_update;

use crate::kinds::entry::{self, CREATE, Kind, STATUS_VERBS, Sub, of, sub};
use crate::pod_spec::annotations::fill_app_armor;
use crate::pod_spec::defaults::spec;
use crate::pod_spec::disabled::drop_fields;
use crate::requests::{self, qos_class_of_value};
use crate::value::{self, at, default, default_zero, list, list_mut, put, text};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    let subresources = vec![
        sub("attach", "PodAttachOptions", &["create", "get"]),
        sub("binding", "Binding", &["create"]),
        sub("ephemeralcontainers", "Pod", STATUS_VERBS),
        Sub { name: "eviction", group: "policy", version: "v1", kind: "Eviction", verbs: CREATE },
        sub("exec", "PodExecOptions", &["create", "get"]),
        sub("log", "Pod", &["get"]),
        sub("portforward", "PodPortForwardOptions", &["create", "get"]),
        entry::proxy("PodProxyOptions"),
        entry::status("Pod"),
    ];
    Kind {
        short_names: &["po"],
        categories: &["all"],
        subresources,
        has_status: true,
        generation: true,
        returns_deleted: true,
        defaults,
        prepare,
        prepare_update,
        prepare_status_update: status::prepare_status_update,
        resets: &[("status", "metadata.deletionTimestamp"), ("status", "metadata.ownerReferences")],
        validate: validate::validate,
        validate_create: validate::validate_create,
        validate_update: validate::validate_update,
        validate_status_update: status::validate_status_update,
        fields: &[
            ("spec.nodeName", "spec.nodeName"),
            // The name that clients used before the first version of the API.
            ("spec.host", "spec.nodeName"),
            ("spec.restartPolicy", "spec.restartPolicy"),
            ("spec.schedulerName", "spec.schedulerName"),
            ("spec.serviceAccountName", "spec.serviceAccountName"),
            ("spec.hostNetwork", "spec.hostNetwork"),
            ("status.phase", "status.phase"),
            ("status.podIP", "status.podIP"),
            // As upstream, it may be asked for and is empty: its value is a list.
            ("status.podIPs", "status.podIPs"),
            ("status.nominatedNodeName", "status.nominatedNodeName"),
        ],
        printer: Some(&printer::PRINTER),
        ..of::<Pod>()
    }
}

/// Defaults of a Pod: those of its spec, and some that a pod template does not get.
pub(crate) fn defaults(pod: &mut Value) {
    spec(value::slot(pod, "spec"));
    default(pod, "spec.enableServiceLinks", true);
    let host_network = value::flag(pod, "spec.hostNetwork");
    // Only in a Pod, never in a template: a missing request is the limit, and on the network of the
    // node a missing host port is the container's port.
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
    whole_huge_pages(pod);
    whole_requests(pod);
}

/// Fills in huge pages: a pod with resources for the whole pod, and none for huge pages, has the
/// limits of its containers for them together (`defaultHugePagePodLimits` upstream).
fn whole_huge_pages(pod: &mut Value) {
    const WHOLE: &str = "spec.resources";
    let is_empty = |part: &str| value::empty(at(pod, WHOLE), part);
    if is_empty("limits") && is_empty("requests") {
        return;
    }
    let together = requests::limits_of_containers(at(pod, "spec"));
    let requested = at(pod, "spec.resources.requests").clone();
    for (name, amount) in together {
        if name.starts_with("hugepages-") && requested.get(&name).is_none() {
            let limits = value::slot_map(pod, "spec.resources.limits");
            limits.entry(name).or_insert_with(|| amount.to_string().into());
        }
    }
}

/// Fills in the requests of the whole pod: one with limits for the whole pod requests what its
/// containers request together, or its limits if they request nothing.
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

/// Sets the status of a new pod.
fn prepare(pod: &mut Value) {
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
    drop_fields(pod, &Value::Null, "spec");
    fill_app_armor(pod);
    merge_label_keys(pod);
}

/// Merges `matchLabelKeys` and `mismatchLabelKeys` into the selectors beside them, by the labels of
/// the new pod (`mutatePodAffinity` and `mutateTopologySpreadConstraints` upstream). A scheduler
/// looks at the selectors alone; the one of this cluster looks at neither (`api::unhonoured`), but
/// a user may run another one.
///
/// Example: a pod with the label `pod-template-hash: abc` has a constraint with `matchLabelKeys:
/// [pod-template-hash]`. The constraint's selector gets `pod-template-hash in (abc)`, so the pods
/// of the ReplicaSet before do not count. A key that is no label of the pod adds nothing.
fn merge_label_keys(pod: &mut Value) {
    let labels = at(pod, "metadata.labels").clone();
    for kind in ["podAffinity", "podAntiAffinity"] {
        let path = |when: &str| format!("spec.affinity.{kind}.{when}DuringSchedulingIgnoredDuringExecution");
        for term in list_mut(pod, &path("required")) {
            merge_keys_of_term(term, &labels);
        }
        for weighted in list_mut(pod, &path("preferred")) {
            weighted
                .get_mut("podAffinityTerm")
                .into_iter()
                .for_each(|term| merge_keys_of_term(term, &labels));
        }
    }
    for constraint in list_mut(pod, "spec.topologySpreadConstraints") {
        merge_keys_of_term(constraint, &labels);
    }
}

/// Adds the label keys of a term to its selector. Without a selector a term selects nothing, and
/// its keys do not change that.
fn merge_keys_of_term(term: &mut Value, labels: &Value) {
    if !at(term, "labelSelector").is_object() {
        return;
    }
    let mut added: Vec<Value> = vec![];
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in list(term, field).iter().filter_map(Value::as_str) {
            if let Some(label) = labels.get(key) {
                added.push(json!({"key": key, "operator": operator, "values": [label]}));
            }
        }
    }
    if added.is_empty() {
        return;
    }
    match value::slot(term, "labelSelector.matchExpressions") {
        Value::Array(all) => all.extend(added),
        other => *other = added.into(),
    }
}

/// Keeps the quality-of-service class, and what admission added: the priority, the preemption
/// policy and tolerations. A client that sends a manifest of its own knows nothing of them
/// (upstream runs Priority and DefaultTolerationSeconds for updates, too).
fn prepare_update(new: &mut Value, old: &Value) {
    drop_fields(new, old, "spec");
    value::copy(old, new, "status.qosClass");
    for field in ["spec.priority", "spec.preemptionPolicy"] {
        if at(new, field).is_null() {
            value::copy(old, new, field);
        }
    }
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
    use crate::fields::FieldSelector;
    use crate::pod_spec::defaults::template;

    #[test]
    fn pods_are_selected_by_the_old_name_of_their_node_too() {
        let pod = json!({"spec": {"nodeName": "n"}, "status": {"podIPs": [{"ip": "10.0.0.1"}]}});
        let selects = |text: &str| FieldSelector::parse(text, kind().fields).map(|s| s.matches(&pod));
        assert_eq!((selects("spec.host=n"), selects("spec.host=m")), (Ok(true), Ok(false)));
        assert_eq!(selects("status.podIPs=10.0.0.1"), Ok(false));
        assert_eq!(selects("status.podIPs="), Ok(true));
    }

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
    fn keys_of_labels_are_merged_into_the_selectors_of_a_new_pod() {
        let has = |key: &str| json!({"key": key, "operator": "Exists"});
        let is = |operator: &str| json!({"key": "a.b/hash", "operator": operator, "values": ["x"]});
        let term = |selector: Value| json!({"topologyKey": "zone", "labelSelector": selector, "matchLabelKeys": ["a.b/hash", "none"]});
        let apart = json!({"labelSelector": {}, "mismatchLabelKeys": ["a.b/hash"]});
        let mut pod = json!({
            "metadata": {"labels": {"a.b/hash": "x"}},
            "spec": {
                "affinity": {
                    "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": term(json!({}))}]},
                    "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]},
                },
                "topologySpreadConstraints": [term(json!({"matchExpressions": [has("app")]})), term(Value::Null)],
            },
        });
        prepare(&mut pod);
        let merged = |path: &str| {
            let term = pod.pointer(&format!("/spec/{path}/labelSelector")).unwrap();
            at(term, "matchExpressions").clone()
        };
        const LATER: &str = "DuringSchedulingIgnoredDuringExecution/0";
        let preferred = format!("affinity/podAffinity/preferred{LATER}/podAffinityTerm");
        assert_eq!(merged(&preferred), json!([is("In")]));
        assert_eq!(merged(&format!("affinity/podAntiAffinity/required{LATER}")), json!([is("NotIn")]));
        assert_eq!(merged("topologySpreadConstraints/0"), json!([has("app"), is("In")]));
        assert_eq!(merged("topologySpreadConstraints/1"), Value::Null, "it selects nothing");
    }

    #[test]
    fn a_pod_with_limits_as_a_whole_requests_what_its_containers_do() {
        let requests = |containers: Value, resources: Value| {
            let mut object = json!({"spec": {"containers": containers, "resources": resources}});
            defaults(&mut object);
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
    fn a_pod_with_resources_as_a_whole_has_the_huge_pages_of_its_containers() {
        let filled = |resources: Value| {
            let pages = json!({"limits": {"hugepages-2Mi": "4Mi", "cpu": "1"}});
            let containers = json!([{"name": "a", "resources": pages}, {"name": "b", "resources": pages}]);
            let mut object = json!({"spec": {"containers": containers, "resources": resources}});
            defaults(&mut object);
            at(&object, "spec.resources").clone()
        };
        assert_eq!(
            filled(json!({"requests": {"cpu": "2"}})),
            json!({"requests": {"cpu": "2", "hugepages-2Mi": "8Mi"}, "limits": {"hugepages-2Mi": "8Mi"}})
        );
        let own = json!({"requests": {"hugepages-2Mi": "16Mi"}, "limits": {"hugepages-2Mi": "16Mi"}});
        assert_eq!(filled(own)["limits"], json!({"hugepages-2Mi": "16Mi"}));
        assert_eq!(filled(Value::Null), Value::Null);
    }

    #[test]
    fn ports_on_the_network_of_the_node_are_filled_into_pods_only() {
        let spec = json!({"hostNetwork": true, "containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80}]}],
            "volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]});
        let (mut one, mut workload) = (json!({"spec": spec}), json!({"spec": {"template": {"spec": spec}}}));
        defaults(&mut one);
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
        defaults(&mut object);
        assert_eq!(text(&object, "spec.restartPolicy"), "Always");
        let container = &list(&object, "spec.containers")[0];
        assert_eq!(text(container, "imagePullPolicy"), "IfNotPresent");
        assert_eq!(text(container, "resources.requests.cpu"), "1");
        assert_eq!(text(container, "readinessProbe.httpGet.path"), "/");
        assert_eq!(at(&list(&object, "spec.volumes")[0], "emptyDir"), &json!({}));
        assert_eq!(qos_class_of_value(&object), "Guaranteed");
        let once = object.clone();
        defaults(&mut object);
        assert_eq!(object, once);
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

    #[test]
    fn an_update_without_a_priority_keeps_that_of_admission() {
        let old = json!({"spec": {"priority": 7, "preemptionPolicy": "Never"}});
        let updated = |spec: Value| {
            let mut new = json!({ "spec": spec });
            prepare_update(&mut new, &old);
            let mut errors = crate::errors::Errors::default();
            validate::validate_update(&new, &old, &mut errors);
            (new["spec"].clone(), errors.is_empty())
        };
        assert_eq!(updated(json!({})), (old["spec"].clone(), true));
        assert_eq!(updated(json!({"priority": null})), (old["spec"].clone(), true));
        let other = json!({"priority": 8, "preemptionPolicy": "Never"});
        assert_eq!(updated(other.clone()), (other, false), "another priority is refused as before");
    }
}
