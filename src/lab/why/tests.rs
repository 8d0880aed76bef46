use super::facts::Facts;
use super::{Explanation, Question, explain};
use crate::lang::Lang;
use crate::tap::{Record, Request, Tap};
use serde_json::{Value, json};

fn facts(objects: &[(&str, Value)], tap: &Tap) -> Facts {
    let mut facts = Facts { records: tap.since(0), now: crate::clock::now(), ..Facts::default() };
    for (plural, object) in objects {
        facts.objects.entry(plural.to_string()).or_default().push(object.clone());
    }
    facts
}

fn ask(facts: &Facts, about: &[&str]) -> Explanation {
    let about = about.iter().map(ToString::to_string).collect();
    let told = explain(facts, &Question { lang: Lang::En, about, namespace: String::new() });
    assert!(!told.lines.is_empty(), "an answer always says something");
    told
}

fn pod(labels: Value, status: Value) -> Value {
    json!({"metadata": {"name": "web-1", "namespace": "default", "uid": "u", "labels": labels},
           "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"containerPort": 80}]}]}, "status": status})
}

fn ready() -> Value {
    json!({"phase": "Running", "podIP": "10.244.1.5", "conditions": [{"type": "Ready", "status": "True"}]})
}

fn service(selector: Value, target: Value) -> Value {
    json!({"metadata": {"name": "web", "namespace": "default"},
           "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": target, "nodePort": 31234}]}})
}

#[test]
fn a_selector_that_misses_names_the_slip() {
    let pods = ("pods", pod(json!({"app": "web"}), ready()));
    let by_value =
        facts(&[pods.clone(), ("services", service(json!({"app": "wbe"}), json!(80)))], &Tap::new());
    let told = ask(&by_value, &["svc/web"]).lines.join(" ");
    assert!(told.contains("app=wbe") && told.contains("app=web, but it asks for wbe"), "{told}");
    let by_key =
        facts(&[pods.clone(), ("services", service(json!({"name": "web"}), json!(80)))], &Tap::new());
    let told = ask(&by_key, &["localhost:31234"]).lines.join(" ");
    assert!(told.contains("but it asks for the key name"), "{told}");
    let right = facts(&[pods.clone(), ("services", service(json!({"app": "web"}), json!(80)))], &Tap::new());
    assert!(!ask(&right, &["service", "web"]).trouble);
    let port = facts(&[pods, ("services", service(json!({"app": "web"}), json!(8080)))], &Tap::new());
    let told = ask(&port, &["web"]);
    assert!(told.trouble && told.lines.join(" ").contains("8080"), "{told:?}");
}

#[test]
fn pods_that_exist_but_are_not_ready_are_no_endpoints() {
    let waiting = json!({"phase": "Running", "containerStatuses": [{"name": "c", "image": "ngnix", "state":
        {"waiting": {"reason": "ImagePullBackOff", "message": "x: there is no image; known are: nginx"}}}]});
    let seen = facts(
        &[
            ("pods", pod(json!({"app": "web"}), waiting)),
            ("services", service(json!({"app": "web"}), json!(80))),
        ],
        &Tap::new(),
    );
    assert!(ask(&seen, &["svc/web"]).lines[0].contains("none is ready"));
    let told = ask(&seen, &["po", "web-1"]);
    assert_eq!(told.lines[0], "There is no image ngnix for the container c.");
    assert_eq!(told.tips, ["kubectl set image pod/web-1 c=IMAGE"]);
}

#[test]
fn a_pod_that_somebody_makes_is_mended_where_its_template_stands() {
    let mut waiting = pod(
        json!({"app": "web"}),
        json!({"phase": "Pending", "containerStatuses": [{"name": "c", "image": "ngnix", "state":
            {"waiting": {"reason": "ErrImagePull", "message": "x: there is no image"}}}]}),
    );
    waiting["metadata"]["ownerReferences"] = json!([{"kind": "ReplicaSet", "name": "web-65c"}]);
    let set = json!({"metadata": {"name": "web-65c", "namespace": "default",
        "ownerReferences": [{"kind": "Deployment", "name": "web"}]}});
    let told = ask(&facts(&[("pods", waiting), ("replicasets", set)], &Tap::new()), &["pod/web-1"]);
    assert_eq!(told.tips, ["kubectl set image deployment/web c=IMAGE"]);
}

#[test]
fn a_pending_pod_shows_what_each_node_was_told() {
    let tap = Tap::new();
    let verdicts =
        json!({"verdicts": [{"node": "n1", "refused": [{"reason": "Insufficient cpu"}]}], "chosen": null});
    let mut pending = pod(json!({}), json!({"phase": "Pending"}));
    pending["spec"]["nodeName"] = "".into();
    let silent = json!({"metadata": {"name": "kube-scheduler", "namespace": "kube-system"},
        "spec": {"renewTime": "2020-01-01T00:00:00.000000Z", "leaseDurationSeconds": 15}});
    let alone = facts(&[("pods", pending.clone()), ("leases", silent)], &tap);
    assert!(ask(&alone, &["pod/web-1"]).lines[0].contains("Nobody does the work of kube-scheduler"));
    tap.emit(Record::new("schedule").object("pods", "default", "web-1").detail(verdicts));
    let told = ask(&facts(&[("pods", pending)], &tap), &["pod/web-1"]).lines;
    assert_eq!(told[1], "  n1: Insufficient cpu");
}

#[test]
fn crashes_are_read_from_the_last_state() {
    let status = json!({"phase": "Running", "containerStatuses": [{"name": "c", "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 127, "reason": "Error"}}}]});
    let told = ask(&facts(&[("pods", pod(json!({}), status))], &Tap::new()), &["web-1"]);
    assert!(
        told.lines[0].contains("restarts: 4), last exit code 127") && told.lines[1].starts_with("127"),
        "{told:?}"
    );
    assert_eq!(told.tips, ["kubectl logs web-1 -c c --previous"]);
}

fn answered(tap: &Tap, session: &str, verb: &str, code: u16, detail: Value) {
    let mut record = Record::new(verb).object("pods", "default", "web").detail(detail);
    let (session, user) = (session.to_string(), "learner".to_string());
    record.request =
        Some(Request { session, user, code, command: "kubectl run".into(), ..Request::default() });
    tap.emit(record);
}

#[test]
fn the_last_command_is_explained_by_its_last_answer() {
    let tap = Tap::new();
    assert!(!ask(&facts(&[], &tap), &[]).trouble, "nothing was asked yet");
    let exists = json!({"verb": "create", "message": "pods \"web\" already exists"});
    answered(&tap, "1", "answer", 409, exists);
    let told = ask(&facts(&[], &tap), &[]);
    assert!(
        told.about == "kubectl run" && told.lines[0].starts_with("409: a pod called web exists already"),
        "{told:?}"
    );
    // A later one that went well leads to its object.
    answered(&tap, "2", "commit", 0, json!({"created": true}));
    answered(&tap, "2", "answer", 201, json!({"verb": "create"}));
    let mut web = pod(json!({}), ready());
    web["metadata"]["name"] = "web".into();
    let told = ask(&facts(&[("pods", web)], &tap), &[]);
    assert!(!told.trouble && told.about == "pod/web", "{told:?}");
    // And one that is gone to whoever deleted it.
    answered(&tap, "3", "commit", 0, json!({"deleting": true}));
    let mut last = Record::new("commit").object("pods", "default", "web").detail(json!({"deleted": true}));
    last.request = Some(Request { user: "system:node:n1".into(), ..Request::default() });
    tap.emit(last);
    answered(&tap, "3", "answer", 200, json!({"verb": "delete"}));
    let told = ask(&facts(&[], &tap), &[]);
    assert!(told.lines[0].contains("was deleted by learner"), "{told:?}");
    assert_eq!(told.tips, ["undo"]);
}
