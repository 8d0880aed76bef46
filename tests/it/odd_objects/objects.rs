//! Objects of every kind, and what bends them.

use super::api::Kind;
use rng::Rng;
use serde_json::{Map, Value, json};

/// Fields that are left as they are: paths of this machine, images that would be run, and what
/// keeps pods from being let in at all.
const SPARED: &[&str] = &[
    "kind",
    "apiVersion",
    "image",
    "mountPath",
    "path",
    "workingDir",
    "subPath",
    "hostPath",
    "command",
    "namespace",
];

/// A sensible object of a kind, to be bent.
pub(super) fn sensible(kind: &Kind, namespace: &str, name: &str) -> Value {
    let plural = kind.plural.as_str();
    if plural == "customresourcedefinitions" {
        return definition(kind, name);
    }
    let known = workload(plural).or_else(|| traffic(plural)).or_else(|| storage(plural));
    let mut body = known.unwrap_or_else(|| other(plural, namespace, name));
    body["apiVersion"] = json!(kind.group_version);
    body["kind"] = json!(kind.kind);
    body["metadata"] = json!({"name": name, "labels": {"app": "odd"}, "annotations": {"a": "b"}});
    if kind.namespaced {
        body["metadata"]["namespace"] = json!(namespace);
    }
    body
}

/// A kind that users define.
fn definition(kind: &Kind, name: &str) -> Value {
    let plural = name.replace('-', "");
    json!({"apiVersion": kind.group_version, "kind": kind.kind,
        "metadata": {"name": format!("{plural}.odd.example.com")},
        "spec": {"group": "odd.example.com", "scope": "Namespaced",
            "names": {"plural": plural, "kind": format!("K{plural}")},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
}

/// What has pods, or is one.
fn workload(plural: &str) -> Option<Value> {
    let labels = json!({"app": "odd"});
    let pod = json!({
        "containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80, "name": "http"}],
            "env": [{"name": "A", "value": "b"}], "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}},
            "readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1}}],
        "terminationGracePeriodSeconds": 1, "tolerations": [{"key": "k", "operator": "Exists"}],
        "nodeSelector": {"kubernetes.io/os": "linux"}, "securityContext": {"runAsUser": 1000},
    });
    let template = json!({"metadata": {"labels": labels}, "spec": pod});
    let mut once = template.clone();
    once["spec"]["restartPolicy"] = json!("Never");
    let selector = json!({"matchLabels": labels});
    Some(match plural {
        "pods" => json!({"spec": pod}),
        "podtemplates" => json!({"template": template}),
        "replicationcontrollers" => {
            json!({"spec": {"replicas": 1, "selector": labels, "template": template}})
        }
        "deployments" | "replicasets" => {
            json!({"spec": {"replicas": 1, "selector": selector, "template": template}})
        }
        "daemonsets" => json!({"spec": {"selector": selector, "template": template}}),
        "statefulsets" => {
            json!({"spec": {"replicas": 1, "serviceName": "x", "selector": selector, "template": template}})
        }
        "jobs" => {
            json!({"spec": {"completions": 2, "parallelism": 1, "completionMode": "Indexed", "backoffLimit": 1, "template": once}})
        }
        "cronjobs" => json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": once}}}}),
        _ => return None,
    })
}

/// What leads requests to pods, or keeps them away.
fn traffic(plural: &str) -> Option<Value> {
    let labels = json!({"app": "odd"});
    Some(match plural {
        "services" => {
            json!({"spec": {"selector": labels, "externalIPs": ["10.96.0.1"], "sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}, "ports": [{"port": 443, "targetPort": 80}]}})
        }
        "endpoints" => json!({"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]}),
        "endpointslices" => {
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": true}}],
            "ports": [{"port": 80, "name": "http"}]})
        }
        "networkpolicies" => {
            json!({"spec": {"podSelector": {"matchLabels": {"app": "odd"}}, "policyTypes": ["Ingress"]}})
        }
        "ingresses" => {
            json!({"spec": {"rules": [{"host": "x.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "x", "port": {"number": 80}}}}]}}]}})
        }
        _ => return None,
    })
}

/// Volumes, and what is asked of them.
fn storage(plural: &str) -> Option<Value> {
    Some(match plural {
        "persistentvolumes" => {
            json!({"spec": {"capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "odd", "nfs": {"server": "x", "path": "/x"}}})
        }
        "persistentvolumeclaims" => {
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "odd",
            "resources": {"requests": {"storage": "1Mi"}}}})
        }
        "storageclasses" => {
            json!({"provisioner": "example.com/none", "volumeBindingMode": "WaitForFirstConsumer"})
        }
        _ => return None,
    })
}

/// Limits, rights, and what has a shape of its own.
fn other(plural: &str, namespace: &str, name: &str) -> Value {
    match plural {
        "resourcequotas" => json!({"spec": {"hard": {"pods": "50", "count/secrets": "100"}}}),
        "limitranges" => json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "10m"}}]}}),
        "horizontalpodautoscalers" => json!({"spec": {"minReplicas": 1, "maxReplicas": 2,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}}),
        "poddisruptionbudgets" => {
            json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "odd"}}}})
        }
        "roles" | "clusterroles" => {
            json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]})
        }
        "rolebindings" | "clusterrolebindings" => {
            json!({"subjects": [{"kind": "User", "name": "odd", "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "odd"}})
        }
        "certificatesigningrequests" => {
            json!({"spec": {"request": "AAAA", "signerName": "example.com/odd", "usages": ["client auth"]}})
        }
        "validatingadmissionpolicies" => json!({"spec": {"validations": [{"expression": "true"}],
            "matchConstraints": {"resourceRules": [{"apiGroups": ["example.com"], "apiVersions": ["v1"],
            "operations": ["CREATE"], "resources": ["odds"]}]}}}),
        "validatingadmissionpolicybindings" => {
            json!({"spec": {"policyName": name, "validationActions": ["Audit"]}})
        }
        "priorityclasses" => json!({"value": -7}),
        "configmaps" => json!({"data": {"a": "b"}, "binaryData": {"c": "AAAA"}}),
        "secrets" => json!({"type": "kubernetes.io/service-account-token", "stringData": {"a": "b"}}),
        "controllerrevisions" => json!({"revision": 1, "data": {"a": 1}}),
        "events" => {
            json!({"involvedObject": {"kind": "Pod", "name": name, "namespace": namespace}, "reason": "Odd", "message": "m",
            "metadata": {}, "type": "Normal", "reportingController": "example.com/odd", "reportingInstance": "x", "action": "a",
            "eventTime": "2026-01-01T00:00:00.000000Z"})
        }
        _ => json!({"spec": {}}),
    }
}

/// Texts that mean something elsewhere: numbers, times, addresses, paths, templates.
const TEXTS: &[&str] = &[
    "",
    " ",
    "-",
    "a",
    "*",
    "0",
    "-1",
    "null",
    "true",
    "…",
    "한글",
    "\u{0}",
    "\u{202e}gnp",
    "a\nb\r\tc",
    "../../..",
    "%s%n",
    "{{.}}",
    "$(A)",
    "1e99",
    "9223372036854775807",
    "999999999999Gi",
    "-5m",
    "0.0000000001",
    "100%",
    "-1%",
    "101%",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "-009999-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "1970-01-01T00:00:00.000000001Z",
    "10.96.0.1",
    "255.255.255.255",
    "::1",
    "0.0.0.0",
    "None",
    "Always",
    "0-2147483646",
    "*/0 * * * *",
    "0 0 30 2 *",
    "foregroundDeletion",
    "orphan",
    "kubernetes.io/x",
    "example.com/x",
];

/// A value that the author of a component may not have thought of.
fn odd(rng: &Rng) -> Value {
    let numbers = [
        json!(0),
        json!(-1),
        json!(1),
        json!(65_535),
        json!(65_536),
        json!(i32::MAX),
        json!(i32::MIN),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(1.5),
        json!(1e300),
        json!(u64::MAX),
    ];
    match rng.range(0, 12) {
        0..4 => numbers[rng.range(0, numbers.len() as u64) as usize].clone(),
        4..8 => TEXTS[rng.range(0, TEXTS.len() as u64) as usize].into(),
        8 => "x".repeat(rng.range(1, 5000) as usize).into(),
        9 => json!({}),
        10 => json!([]),
        _ => {
            let depth = rng.range(1, 60);
            (0..depth)
                .fold(json!("deep"), |inner, n| if n % 2 == 0 { json!([inner]) } else { json!({"a": inner}) })
        }
    }
}

/// Changes a few places of a value.
pub(super) fn bend(rng: &Rng, value: &mut Value, chance: f64) {
    bend_within(rng, value, chance, &mut 100);
}

/// `more`: items that lists may still grow by. Lists in lists would grow without end.
fn bend_within(rng: &Rng, value: &mut Value, chance: f64, more: &mut u64) {
    match value {
        Value::Object(map) => {
            let keys: Vec<String> = map.keys().filter(|k| !SPARED.contains(&k.as_str())).cloned().collect();
            for key in keys {
                if key != "metadata" && rng.chance(chance) {
                    match rng.range(0, 4) {
                        0 => drop(map.remove(&key)),
                        _ => drop(map.insert(key, odd(rng))),
                    }
                } else if let Some(inner) = map.get_mut(&key) {
                    bend_within(rng, inner, chance, more);
                }
            }
        }
        Value::Array(items) => {
            if rng.chance(chance)
                && let Some(item) = items.first().cloned()
            {
                let count = rng.range(1, 40).min(*more);
                *more -= count;
                items.extend((0..count).map(|_| item.clone()));
            }
            items.iter_mut().for_each(|item| bend_within(rng, item, chance, more));
        }
        other if rng.chance(chance) => *other = odd(rng),
        _ => {}
    }
}

/// Metadata as people may write it: owners in circles and of nobody, finalizers, many labels.
pub(super) fn metadata(rng: &Rng, known: &[(String, Value)]) -> Map<String, Value> {
    let mut more = Map::new();
    let owner = |uid: &Value, of: &Value| {
        json!({"apiVersion": of["apiVersion"], "kind": of["kind"], "name": of["metadata"]["name"], "uid": uid,
            "controller": rng.chance(0.3), "blockOwnerDeletion": rng.chance(0.6)})
    };
    if rng.chance(0.4)
        && let Some((_, of)) = known.get(rng.range(0, known.len() as u64) as usize)
    {
        let uid = if rng.chance(0.8) { of["metadata"]["uid"].clone() } else { json!("nobody") };
        more.insert("ownerReferences".into(), json!([owner(&uid, of)]));
    }
    if rng.chance(0.2) {
        let finalizer = ["example.com/odd", "foregroundDeletion", "orphan"][rng.range(0, 3) as usize];
        more.insert("finalizers".into(), json!([finalizer]));
    }
    if rng.chance(0.1) {
        let time = ["", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"][rng.range(0, 3) as usize];
        more.insert(
            "managedFields".into(),
            json!([{"manager": "x", "operation": "Update", "apiVersion": "v1", "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {}}}]),
        );
    }
    if rng.chance(0.1) {
        let labels: Map<String, Value> =
            (0..rng.range(1, 500)).map(|n| (format!("l{n}"), json!("v"))).collect();
        more.insert("labels".into(), labels.into());
    }
    more
}

/// A value for the store that no API server wrote.
pub(super) fn stored(rng: &Rng, whole: &str, name: &str, namespace: &str) -> String {
    let cut = |text: &str| {
        let at = rng.range(0, text.len() as u64) as usize;
        text[..(0..=at).rev().find(|n| text.is_char_boundary(*n)).unwrap_or(0)].to_string()
    };
    match rng.range(0, 8) {
        0 => (0..rng.range(1, 300))
            .map(|_| char::from_u32(rng.range(0, 0x300) as u32).unwrap_or('x'))
            .collect(),
        1 => format!("k8s\u{0}{}", cut(whole)),
        2 => cut(whole),
        3 => json!({"metadata": {"name": name, "namespace": namespace}, "spec": 5}).to_string(),
        4 => odd(rng).to_string(),
        5 => format!("{}{}{}", "[".repeat(5000), name, "]".repeat(5000)),
        6 => {
            let mut value: Value = serde_json::from_str(whole).unwrap_or_default();
            value["metadata"] = odd(rng);
            value.to_string()
        }
        _ => {
            let mut value: Value = serde_json::from_str(whole).unwrap_or_default();
            bend(rng, &mut value, 0.3);
            value.to_string()
        }
    }
}

/// A status as controllers read it.
pub(super) fn status_of(plural: &str) -> Value {
    let now = "2026-01-01T00:00:00Z";
    let conditions = json!([{"type": "Ready", "status": "False", "lastTransitionTime": now, "reason": "Odd", "message": "m"}]);
    match plural {
        "pods" => {
            json!({"phase": "Running", "startTime": now, "podIP": "10.1.2.3", "conditions": conditions, "containerStatuses":
            [{"name": "c", "ready": true, "restartCount": 1, "image": "nginx", "imageID": "", "state": {"running": {"startedAt": now}}}]})
        }
        "jobs" => {
            json!({"startTime": now, "active": 1, "succeeded": 1, "failed": 0, "completedIndexes": "0", "failedIndexes": "1",
            "uncountedTerminatedPods": {"succeeded": ["x"]}})
        }
        "services" => json!({"loadBalancer": {"ingress": [{"ip": "10.96.0.1"}]}}),
        "persistentvolumes" | "persistentvolumeclaims" => {
            json!({"phase": "Bound", "capacity": {"storage": "1Mi"}})
        }
        "cronjobs" => json!({"lastScheduleTime": now, "active": [{"kind": "Job", "name": "x"}]}),
        _ => {
            json!({"replicas": 1, "readyReplicas": 1, "observedGeneration": 1, "collisionCount": 1, "conditions": conditions})
        }
    }
}
