//! Checks and hints of the built-in lessons and labs, in clusters with other work beside theirs: no
//! hint says what is not so, and no check takes the wrong for the right or refuses the right.

mod built_in;
mod lab_hints;
mod lab_tasks;
mod labs;
mod lessons;
mod offered;
mod services;
mod snapshot;

use crate::cel::facts::Facts;
use crate::cel::value;
use crate::format::Library;
use cel::Value;
use serde_json::{Value as Json, json};
use std::sync::Arc;

/// Every step began at this revision; what is older is none of it.
const BEGAN: i64 = 100;

fn object(kind: &str, name: &str, uid: &str, owner: Option<&str>, rest: Json) -> Json {
    let owners: Vec<Json> = owner.map(|uid| json!({"uid": uid, "controller": true})).into_iter().collect();
    let mut object = json!({"kind": kind, "metadata": {"namespace": "default", "name": name, "uid": uid, "ownerReferences": owners, "generation": 1}});
    for (key, value) in rest.as_object().expect("fields") {
        match key.as_str() {
            "labels" => object["metadata"]["labels"] = value.clone(),
            key => object[key] = value.clone(),
        }
    }
    object
}

fn pod(name: &str, uid: &str, owner: Option<&str>, labels: Json, ip: &str) -> Json {
    let status = json!({"podIP": ip, "hostIP": "172.20.0.3", "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{"name": "nginx", "image": "nginx", "ready": true, "restartCount": 0, "state": {"running": {}}}]});
    let spec = json!({"nodeName": "ropewalk-worker", "containers": [{"name": "nginx", "image": "nginx"}]});
    object("Pod", name, uid, owner, json!({"labels": labels, "spec": spec, "status": status}))
}

fn deployment(name: &str, uid: &str) -> Json {
    let labels = json!({"app": name});
    let spec = json!({"replicas": 3, "selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": [name]}]},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "nginx", "image": "nginx"}]}}});
    let status = json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3});
    object("Deployment", name, uid, None, json!({"labels": labels, "spec": spec, "status": status}))
}

fn set(name: &str, uid: &str, owner: Option<&str>, app: &str, replicas: i64) -> Json {
    let status = json!({"observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas});
    object(
        "ReplicaSet",
        name,
        uid,
        owner,
        json!({"labels": {"app": app}, "spec": {"replicas": replicas}, "status": status}),
    )
}

/// What the lessons need, as they leave it, and beside it work of the learner's that looks like
/// theirs.
fn objects() -> Vec<Json> {
    let app = json!({"app": "dpy-nginx"});
    let mut broken = pod("dpy-nginx-mine", "x1", None, app.clone(), "10.244.1.20");
    broken["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "ErrImagePull"}});
    let service = json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.7", "selector": {"run": "nginx-pod"},
        "ports": [{"port": 80, "targetPort": "http", "nodePort": 31000, "protocol": "TCP"}]}});
    let door =
        json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "targetPort": 80, "nodePort": 31001}]}});
    let slice = json!({"labels": {"kubernetes.io/service-name": "pod-svc"}, "ports": [{"port": 80}],
        "endpoints": [{"addresses": ["10.244.1.9"], "conditions": {"ready": true}}]});
    vec![
        deployment("dpy-nginx", "d1"),
        set("dpy-nginx-65c6f7bc78", "r1", Some("d1"), "dpy-nginx", 3),
        pod("dpy-nginx-65c6f7bc78-aaaaa", "p1", Some("r1"), app.clone(), "10.244.1.3"),
        pod("dpy-nginx-65c6f7bc78-bbbbb", "p2", Some("r1"), app.clone(), "10.244.1.4"),
        pod("dpy-nginx-65c6f7bc78-ccccc", "p3", Some("r1"), app, "10.244.2.3"),
        pod("nginx-pod", "n1", None, json!({"run": "nginx-pod"}), "10.244.1.9"),
        pod("tester", "t1", None, json!({"run": "tester"}), "10.244.1.10"),
        object("Service", "pod-svc", "s1", None, service),
        object("EndpointSlice", "pod-svc-1", "e1", Some("s1"), slice),
        // The learner's own.
        deployment("shop", "d2"),
        set("shop-5d4f8c7b9d", "r2", Some("d2"), "shop", 3),
        set("dpy-nginx-mine", "r3", None, "dpy-nginx", 2),
        broken,
        pod("other", "o1", None, json!({}), "10.244.1.30"),
        object("Service", "door", "s2", None, door),
    ]
}

fn request(verb: &str, object: &str, command: &str, code: i64) -> Value {
    value::map([
        ("at", value::time(jiff::Timestamp::UNIX_EPOCH)),
        ("component", value::text("kube-apiserver")),
        ("verb", value::text(verb)),
        ("object", value::text(object)),
        ("user", value::text("learner")),
        ("own", Value::Bool(true)),
        ("command", value::text(command)),
        ("code", Value::Int(code)),
        ("dry_run", Value::Bool(false)),
        // A stock kubectl's: it does not say what stood behind -o.
        ("table", Value::Bool(true)),
        ("output", value::text("")),
        ("output_known", Value::Bool(false)),
        ("selector", value::text("")),
        ("labels", value::text("")),
        ("fields", value::text("")),
        ("prefix", value::text("")),
        ("session", value::text("s")),
        ("request", value::text("r")),
        ("silent", Value::Bool(false)),
        ("watch", Value::Bool(false)),
        ("message", value::text("")),
        ("tail", Value::Int(-1)),
        ("exit", Value::Int(-1)),
        ("argv", value::list(vec![])),
        ("revision", Value::Int(0)),
    ])
}

/// The cluster of [`objects`] while a step is open: each object was added by the learner before it
/// began, and the kinds that lessons name are watched.
fn facts(library: &Library) -> Arc<Facts> {
    let mut facts = Facts { since_step: BEGAN, lesson_began: BEGAN, ..Facts::default() };
    let named = library.lessons.iter().flat_map(|lesson| lesson.exprs()).flat_map(|expr| &expr.kinds);
    snapshot::watch(&mut facts, named.map(String::as_str));
    for object in objects() {
        let added = snapshot::version(&object, 5, "ADDED").by("learner");
        snapshot::put_only_version(&mut facts, &object, added);
        snapshot::put(&mut facts, object);
    }
    // Meanwhile, in the same step: a list, another pod that is applied (kubectl looks first, and
    // finds nothing yet), and one that is looked into.
    facts.trace = Arc::new(vec![
        request("list", "Pod/default/*", "kubectl get", 200),
        request("get", "Pod/default/other", "kubectl apply", 404),
        request("create", "Pod/default/other/exec", "kubectl exec", 101),
        request("patch", "ReplicaSet/default/dpy-nginx-mine", "kubectl label", 200),
    ]);
    Arc::new(facts)
}

/// Whether a check of a lesson is met in the cluster of [`facts`] after a change.
fn is_met(
    library: &Library,
    lesson: &str,
    step: &str,
    check: usize,
    change: impl FnOnce(&mut Facts),
) -> bool {
    let mut facts = Arc::into_inner(facts(library)).unwrap();
    change(&mut facts);
    let lesson = library.lessons.iter().find(|l| l.id == lesson).unwrap();
    let step = lesson.steps.iter().find(|s| s.id == step).unwrap();
    step.checks[check].is.holds(&Arc::new(facts))
}

fn second(n: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(n).unwrap()
}
