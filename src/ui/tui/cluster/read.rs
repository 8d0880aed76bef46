//! The few fields of an object that the map shows.

use super::object::{
    Amount, Condition, Container, ContainerState, Deployment, Endpoint, Exit, Happened, Node, Pod, Port,
    Probe, Quota, ReplicaSet, Service, Slice, Stand, revision, uid,
};
use api::kinds::core::pod::summary;
use api::quantity::Quantity;
use api::requests::{self, Field};
use api::value::{at, empty, flag, int, list, pairs, text};
use clock::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

fn owner(object: &Value) -> String {
    let refs = list(object, "metadata.ownerReferences");
    refs.iter().find(|o| flag(o, "controller")).map_or(String::new(), |o| text(o, "name").to_string())
}

fn map_of(object: &Value, path: &str) -> BTreeMap<String, String> {
    pairs(object, path).map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

fn condition(object: &Value, kind: &str) -> bool {
    list(object, "status.conditions").iter().any(|c| text(c, "type") == kind && text(c, "status") == "True")
}

/// A field of the first container of a pod or a template.
fn first<'a>(object: &'a Value, containers: &str, path: &str) -> &'a Value {
    list(object, containers).first().map_or(&Value::Null, |c| at(c, path))
}

fn image(object: &Value, containers: &str) -> String {
    first(object, containers, "image").as_str().unwrap_or_default().into()
}

pub(super) fn node(object: &Value) -> Node {
    let labels = at(object, "metadata.labels");
    Node {
        name: text(object, "metadata.name").into(),
        control_plane: labels.get("node-role.kubernetes.io/control-plane").is_some(),
        ready: condition(object, "Ready"),
        cordoned: flag(object, "spec.unschedulable"),
        cpu: Quantity::parse(text(object, "status.allocatable.cpu")).map_or(0, |q| q.milli()),
        memory: Quantity::parse(text(object, "status.allocatable.memory")).map_or(0, |q| q.units()),
    }
}

/// A number or a text, as people write it.
pub(super) fn written(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, String::from)
}

/// True for a STATUS of kubectl by which a container cannot start, or has ended badly.
/// Examples: `Init:OOMKilled`, `ExitCode:3`.
pub(crate) fn is_failure(status: &str) -> bool {
    let reason = status.strip_prefix("Init:").unwrap_or(status);
    reason.ends_with("BackOff")
        || reason.contains("Err")
        || ["ExitCode:", "Signal:"].iter().any(|ended| reason.starts_with(ended))
        || ["OOMKilled", "ContainerCannotRun", "ContainerStatusUnknown", "InvalidImageName"].contains(&reason)
}

fn time(value: &Value, path: &str) -> Option<Timestamp> {
    text(value, path).parse().ok()
}

fn conditions(object: &Value) -> Vec<Condition> {
    let condition = |c: &Value| Condition {
        kind: text(c, "type").into(),
        met: text(c, "status") == "True",
        since: time(c, "lastTransitionTime"),
        reason: text(c, "reason").into(),
    };
    list(object, "status.conditions").iter().map(condition).collect()
}

/// Returns how a container ended, from its `state` or `lastState`.
fn exit(state: &Value) -> Option<Exit> {
    let ended = at(state, "terminated");
    (!ended.is_null()).then(|| Exit {
        reason: text(ended, "reason").into(),
        code: int(ended, "exitCode").unwrap_or_default(),
        at: time(ended, "finishedAt"),
    })
}

fn container_state(state: &Value) -> ContainerState {
    let waiting = at(state, "waiting");
    match exit(state) {
        Some(exit) => ContainerState::Ended(exit),
        None if !waiting.is_null() => ContainerState::Waiting {
            reason: text(waiting, "reason").into(),
            message: text(waiting, "message").into(),
        },
        None if !at(state, "running").is_null() => ContainerState::Running(time(state, "running.startedAt")),
        None => ContainerState::Unknown,
    }
}

/// Returns what a probe asks: `GET :80/healthz`, `tcp :6379`, `exec cat /ready`.
fn asked(probe: &Value) -> String {
    let (get, tcp, grpc) = (at(probe, "httpGet"), at(probe, "tcpSocket"), at(probe, "grpc"));
    if !get.is_null() {
        return format!("GET :{}{}", written(at(get, "port")), text(get, "path"));
    }
    if !tcp.is_null() {
        return format!("tcp :{}", written(at(tcp, "port")));
    }
    if !grpc.is_null() {
        return format!("grpc :{}", written(at(grpc, "port")));
    }
    let command: Vec<&str> = list(probe, "exec.command").iter().filter_map(Value::as_str).collect();
    format!("exec {}", command.join(" "))
}

fn probes(spec: &Value) -> Vec<Probe> {
    let kinds = [("startup", "startupProbe"), ("readiness", "readinessProbe"), ("liveness", "livenessProbe")];
    let probe = |(kind, field): (&'static str, &str)| {
        let probe = at(spec, field);
        (!probe.is_null()).then(|| Probe { kind, asks: asked(probe) })
    };
    kinds.into_iter().filter_map(probe).collect()
}

fn containers(object: &Value) -> Vec<Container> {
    let container = |spec: &Value, statuses: &str, is_init: bool| {
        let name = text(spec, "name");
        let status = list(object, statuses).iter().find(|status| text(status, "name") == name);
        let status = status.unwrap_or(&Value::Null);
        Container {
            name: name.into(),
            image: text(spec, "image").into(),
            is_init,
            state: container_state(at(status, "state")),
            ready: flag(status, "ready"),
            started: flag(status, "started"),
            restarts: int(status, "restartCount").unwrap_or_default(),
            last: exit(at(status, "lastState")),
            probes: probes(spec),
        }
    };
    let init = list(object, "spec.initContainers").iter();
    let init = init.map(|spec| container(spec, "status.initContainerStatuses", true));
    let main = list(object, "spec.containers").iter();
    init.chain(main.map(|spec| container(spec, "status.containerStatuses", false))).collect()
}

pub(super) fn pod(object: &Value) -> Pod {
    let summary = summary(object);
    let node = text(object, "spec.nodeName").to_string();
    let stand = match (summary.status.as_str(), text(object, "status.phase")) {
        _ if !text(object, "metadata.deletionTimestamp").is_empty() => Stand::Leaving,
        (_, "Succeeded") => Stand::Done,
        (_, "Failed") => Stand::Failed,
        ("ContainerCreating" | "PodInitializing", _) => Stand::Starting,
        (_, "Running") if condition(object, "Ready") => Stand::Ready,
        (status, _) if is_failure(status) => Stand::Failed,
        _ if node.is_empty() => Stand::Waiting,
        _ => Stand::Starting,
    };
    let requests = requests::of_value(object, Field::Requests);
    let asks = ["cpu", "memory"].iter().filter_map(|name| Some(format!("{name} {}", requests.get(*name)?)));
    Pod {
        namespace: text(object, "metadata.namespace").into(),
        name: text(object, "metadata.name").into(),
        uid: uid(object),
        stand,
        is_over: matches!(text(object, "status.phase"), "Succeeded" | "Failed"),
        ready: (summary.ready, summary.total),
        restarts: summary.restarts,
        status: summary.status,
        owner: owner(object),
        labels: map_of(object, "metadata.labels"),
        image: image(object, "spec.containers"),
        ip: text(object, "status.podIP").into(),
        revision: revision(object),
        cpu: requests.get("cpu").map_or(0, Quantity::milli),
        memory: requests.get("memory").map_or(0, Quantity::units),
        asks: asks.collect::<Vec<_>>().join("  "),
        selector: pairs(object, "spec.nodeSelector")
            .map(|(k, v)| format!("{k}={v}"))
            .collect::<Vec<_>>()
            .join(","),
        created: time(object, "metadata.creationTimestamp"),
        conditions: conditions(object),
        containers: containers(object),
        node,
    }
}

pub(super) fn service(object: &Value) -> Service {
    let port = |p: &Value| Port {
        name: text(p, "name").into(),
        number: int(p, "port").unwrap_or_default(),
        target: written(at(p, "targetPort")),
        node_port: int(p, "nodePort").filter(|n| *n > 0),
    };
    Service {
        namespace: text(object, "metadata.namespace").into(),
        name: text(object, "metadata.name").into(),
        kind: text(object, "spec.type").into(),
        ip: text(object, "spec.clusterIP").into(),
        alias_of: text(object, "spec.externalName").into(),
        ports: list(object, "spec.ports").iter().map(port).collect(),
        selector: map_of(object, "spec.selector"),
        revision: revision(object),
    }
}

pub(super) fn slice(object: &Value) -> Slice {
    let endpoint = |e: &Value| Endpoint {
        ip: at(e, "addresses")[0].as_str().unwrap_or_default().into(),
        node: text(e, "nodeName").into(),
        pod: text(e, "targetRef.name").into(),
        ready: at(e, "conditions.ready") != &Value::Bool(false),
        drains: flag(e, "conditions.serving") && flag(e, "conditions.terminating"),
    };
    let port = |p: &Value| Some((text(p, "name").to_string(), int(p, "port")?));
    Slice {
        service: at(object, "metadata.labels")["kubernetes.io/service-name"]
            .as_str()
            .unwrap_or_default()
            .into(),
        endpoints: list(object, "endpoints").iter().map(endpoint).collect(),
        ports: list(object, "ports").iter().filter_map(port).collect(),
    }
}

pub(super) fn deployment(object: &Value) -> Deployment {
    let count = |path: &str| int(object, path).unwrap_or_default();
    Deployment {
        namespace: text(object, "metadata.namespace").into(),
        name: text(object, "metadata.name").into(),
        wanted: count("spec.replicas"),
        ready: count("status.readyReplicas"),
        available: count("status.availableReplicas"),
        updated: count("status.updatedReplicas"),
        image: image(object, "spec.template.spec.containers"),
        recreates: text(object, "spec.strategy.type") == "Recreate",
        paused: flag(object, "spec.paused"),
        surge: written(at(object, "spec.strategy.rollingUpdate.maxSurge")),
        unavailable: written(at(object, "spec.strategy.rollingUpdate.maxUnavailable")),
        revision: revision(object),
    }
}

pub(super) fn replicaset(object: &Value) -> ReplicaSet {
    let annotations = at(object, "metadata.annotations");
    ReplicaSet {
        namespace: text(object, "metadata.namespace").into(),
        name: text(object, "metadata.name").into(),
        owner: owner(object),
        wanted: int(object, "spec.replicas").unwrap_or_default(),
        ready: int(object, "status.readyReplicas").unwrap_or_default(),
        image: image(object, "spec.template.spec.containers"),
        number: annotations["deployment.kubernetes.io/revision"]
            .as_str()
            .and_then(|n| n.parse().ok())
            .unwrap_or_default(),
        created: time(object, "metadata.creationTimestamp"),
        cause: annotations["kubernetes.io/change-cause"].as_str().unwrap_or_default().into(),
        failure: failure(object),
    }
}

/// Returns why a ReplicaSet could not create a pod; empty if nothing is wrong, or if it was a
/// deletion.
fn failure(object: &Value) -> String {
    let is_it = |condition: &&Value| {
        text(condition, "type") == "ReplicaFailure"
            && text(condition, "status") == "True"
            && text(condition, "reason") == "FailedCreate"
    };
    let found = list(object, "status.conditions").iter().find(is_it);
    found.map_or(String::new(), |condition| text(condition, "message").into())
}

pub(super) fn quota(object: &Value) -> Quota {
    // The controller copies the limits into the status when it has counted.
    let hard = if empty(object, "status.hard") { "spec.hard" } else { "status.hard" };
    // Names such as `requests.cpu` are no paths.
    let used = at(object, "status.used");
    let amount = |(resource, hard): (&str, &str)| {
        let used = used.get(resource).and_then(Value::as_str).unwrap_or_default();
        let both = Quantity::parse(used).zip(Quantity::parse(hard));
        let is_full = both.is_some_and(|(used, hard)| used >= hard);
        Amount { resource: resource.into(), used: used.into(), hard: hard.into(), is_full }
    };
    Quota { amounts: pairs(object, hard).map(amount).collect() }
}

pub(super) fn happened(object: &Value) -> Happened {
    let about = at(object, "involvedObject");
    Happened {
        about: (text(about, "namespace").into(), text(about, "name").into()),
        uid: text(about, "uid").into(),
        kind: text(about, "kind").into(),
        reason: text(object, "reason").into(),
        message: text(object, "message").into(),
        warning: text(object, "type") == "Warning",
        revision: revision(object),
        // Recorders of events.k8s.io count in the series. Source: `printEvent` in
        // pkg/printers/internalversion/printers.go.
        count: int(object, "series.count").or(int(object, "count")).unwrap_or(1).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_goes_through_its_stands() {
        let stand = |spec: Value, status: Value, deleted: bool| {
            let mut object =
                json!({"metadata": {"name": "p", "namespace": "d"}, "spec": spec, "status": status});
            object["spec"]["containers"] = json!([{"name": "c", "image": "nginx"}]);
            if deleted {
                object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            super::pod(&object).stand
        };
        let on = json!({"nodeName": "n"});
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "c", "ready": true, "state": {"running": {}}}]});
        let waiting = |reason: &str| json!({"phase": "Pending", "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": reason}}}]});
        assert_eq!(stand(json!({}), json!({"phase": "Pending"}), false), Stand::Waiting);
        assert_eq!(stand(on.clone(), waiting("ContainerCreating"), false), Stand::Starting);
        assert_eq!(stand(on.clone(), waiting("ImagePullBackOff"), false), Stand::Failed);
        assert_eq!(stand(on.clone(), waiting("CreateContainerConfigError"), false), Stand::Failed);
        assert_eq!(stand(on.clone(), waiting("InvalidImageName"), false), Stand::Failed);
        let ended = |terminated: Value| json!({"phase": "Running", "containerStatuses": [{"name": "c", "state": {"terminated": terminated}}]});
        for terminated in [
            json!({"reason": "OOMKilled", "exitCode": 137}),
            json!({"exitCode": 3}),
            json!({"signal": 9, "exitCode": 137}),
        ] {
            assert_eq!(stand(on.clone(), ended(terminated.clone()), false), Stand::Failed, "{terminated}");
        }
        assert_eq!(stand(on.clone(), json!({"phase": "Running"}), false), Stand::Starting);
        assert_eq!(stand(on.clone(), ready.clone(), false), Stand::Ready);
        assert_eq!(stand(on.clone(), ready, true), Stand::Leaving);
        assert_eq!(stand(on, json!({"phase": "Succeeded"}), false), Stand::Done);
    }

    #[test]
    fn the_status_of_a_pod_that_leaves_is_that_of_kubectl() {
        for (status, told) in [
            (json!({"phase": "Running"}), "Terminating"),
            (json!({"phase": "Failed", "reason": "Evicted"}), "Evicted"),
            (json!({"phase": "Running", "reason": "NodeLost"}), "Unknown"),
        ] {
            let metadata = json!({"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"});
            let object = json!({"metadata": metadata, "spec": {"containers": []}, "status": status});
            let pod = super::pod(&object);
            assert_eq!((pod.stand, pod.status.as_str()), (Stand::Leaving, told));
        }
    }

    #[test]
    fn a_container_is_read_with_its_probes_and_its_last_end() {
        let object = json!({
            "metadata": {"name": "p"},
            "spec": {
                "initContainers": [{"name": "wait", "image": "busybox"}],
                "containers": [{"name": "c", "image": "nginx",
                    "readinessProbe": {"httpGet": {"port": 80, "path": "/healthz"}},
                    "livenessProbe": {"tcpSocket": {"port": "web"}},
                    "startupProbe": {"exec": {"command": ["cat", "/ready"]}}}],
            },
            "status": {"containerStatuses": [{"name": "c", "restartCount": 3, "started": true,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 1}}}]},
        });
        let pod = super::pod(&object);
        let [init, main] = &pod.containers[..] else { panic!("{pod:?}") };
        assert!(init.is_init && init.state == ContainerState::Unknown && init.probes.is_empty());
        let probes: Vec<(&str, &str)> = main.probes.iter().map(|p| (p.kind, p.asks.as_str())).collect();
        assert_eq!(
            probes,
            [("startup", "exec cat /ready"), ("readiness", "GET :80/healthz"), ("liveness", "tcp :web")]
        );
        assert!(
            matches!(&main.state, ContainerState::Waiting { reason, .. } if reason == "CrashLoopBackOff")
        );
        assert_eq!(main.last.as_ref().map(|exit| exit.code), Some(1));
        assert_eq!((main.restarts, main.started, main.ready), (3, true, false));
    }

    #[test]
    fn a_quota_is_read_with_what_is_used_of_it() {
        let hard = json!({"pods": "2", "requests.cpu": "1"});
        let mut object = json!({"metadata": {"name": "small"}, "spec": {"hard": hard}});
        let read = quota(&object);
        assert_eq!((read.usage().as_str(), read.is_full()), ("pods: ?/2, requests.cpu: ?/1", false));
        object["status"] = json!({"hard": hard, "used": {"pods": "1", "requests.cpu": "20m"}});
        assert_eq!(quota(&object).usage(), "pods: 1/2, requests.cpu: 20m/1");
        object["status"]["used"] = json!({"pods": "1", "requests.cpu": "1000m"});
        let read = quota(&object);
        assert_eq!((read.usage().as_str(), read.is_full()), ("requests.cpu: 1000m/1, pods: 1/2", true));
    }

    #[test]
    fn an_event_has_the_count_of_its_series() {
        let count = |object: Value| happened(&object).count;
        assert_eq!(count(json!({"count": 1, "series": {"count": 7}})), 7);
        assert_eq!([count(json!({"count": 3})), count(json!({"count": 0})), count(json!({}))], [3, 1, 1]);
    }

    #[test]
    fn a_replicaset_tells_why_a_pod_was_not_created() {
        let condition = |reason: &str| {
            json!({"status": {"conditions": [{"type": "ReplicaFailure",
            "status": "True", "reason": reason, "message": "exceeded quota: small"}]}})
        };
        assert_eq!(replicaset(&condition("FailedCreate")).failure, "exceeded quota: small");
        assert_eq!(replicaset(&condition("FailedDelete")).failure, "");
    }

    #[test]
    fn a_pod_asks_for_what_the_scheduler_counts() {
        let container = |requests: Value| json!({"name": "c", "resources": {"requests": requests}});
        let asks = |spec: Value| super::pod(&json!({"metadata": {"name": "p"}, "spec": spec})).asks;
        let half = || container(json!({"cpu": "500m", "memory": "1Gi"}));
        assert_eq!(asks(json!({"containers": [half()]})), "cpu 500m  memory 1Gi");
        assert_eq!(asks(json!({"containers": [half(), half()]})), "cpu 1  memory 2Gi");
        let init = container(json!({"cpu": "2"}));
        assert_eq!(asks(json!({"containers": [half()], "initContainers": [init]})), "cpu 2  memory 1Gi");
        let whole = json!({"requests": {"cpu": "3"}});
        assert_eq!(asks(json!({"containers": [half()], "resources": whole})), "cpu 3  memory 1Gi");
        assert_eq!(asks(json!({"containers": [container(json!({}))]})), "");
    }
}
