mod command;
mod truth;
mod workloads;

use super::explain::explain;
use super::facts::{Facts, key};
use super::{Explanation, Question};
use crate::cel;
use crate::cel::facts::{Object, Objects};
use lang::Lang;
use serde_json::{Value, json};
use std::sync::Arc;
use tap::{Event, Record, Request, Tap, Write};

pub(super) fn facts(objects: &[(&str, Value)], tap: &Tap) -> Facts {
    let mut facts = Facts { records: tap.since(0), now: clock::now(), ..Facts::default() };
    // All was read, and there is no more than this.
    for plural in super::facts::USUAL.iter().chain(super::facts::BARE) {
        facts.objects.insert(key(plural), Objects::default());
    }
    for (resource, object) in objects {
        let all = Arc::make_mut(facts.objects.entry(key(resource)).or_default());
        let former = all.insert(cel::facts::key(object), Object::new(object.clone()));
        assert!(former.is_none(), "two {resource} have one name");
    }
    facts
}

pub(super) fn ask(facts: &Facts, about: &[&str]) -> Explanation {
    let about = about.iter().map(ToString::to_string).collect();
    let told = explain(facts, &Question { lang: Lang::En, about, namespace: String::new(), after: None });
    assert!(!told.lines.is_empty(), "an answer always says something");
    told
}

pub(super) fn pod(labels: Value, status: Value) -> Value {
    json!({"metadata": {"name": "web-1", "namespace": "default", "uid": "u", "labels": labels},
           "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"containerPort": 80}]}]}, "status": status})
}

pub(super) fn ready() -> Value {
    json!({"phase": "Running", "podIP": "10.244.1.5", "conditions": [{"type": "Ready", "status": "True"}]})
}

pub(super) fn service(selector: Value, target: Value) -> Value {
    json!({"metadata": {"name": "web", "namespace": "default"},
           "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": target, "nodePort": 31234}]}})
}

/// The list of endpoints of the Service `web`, one of which is ready.
fn slice() -> (&'static str, Value) {
    let slice = json!({"metadata": {"name": "web-x", "namespace": "default",
        "labels": {"kubernetes.io/service-name": "web"}}, "endpoints": [{"addresses": ["10.244.1.5"]}]});
    ("endpointslices", slice)
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
    let right =
        facts(&[pods.clone(), slice(), ("services", service(json!({"app": "web"}), json!(80)))], &Tap::new());
    assert!(!ask(&right, &["service", "web"]).problem);
    let port =
        facts(&[pods, slice(), ("services", service(json!({"app": "web"}), json!(8080)))], &Tap::new());
    let told = ask(&port, &["web"]);
    assert!(told.problem && told.lines.join(" ").contains("8080"), "{told:?}");
}

/// The labs `broken-selector` and `wrong-port`.
#[test]
fn while_a_lab_asks_for_the_cause_a_service_is_not_compared_with_its_pods() {
    let pods = ("pods", pod(json!({"app": "web"}), ready()));
    for (selector, target, told, kept) in [
        (json!({"app": "wbe"}), 80, "with app=wbe", ["but it asks for", "no pod has these labels"]),
        (json!({"tier": "web"}), 80, "with tier=web", ["but it asks for", "no pod has these labels"]),
        (json!({"app": "web"}), 8080, "Port 80 goes to port 8080", ["containers name", "no container"]),
    ] {
        let objects = [pods.clone(), slice(), ("services", service(selector, json!(target)))];
        for name in ["svc/web", "web", "localhost:31234"] {
            let mut facts = facts(&objects, &Tap::new());
            let open = ask(&facts, &[name]).lines.join(" ");
            assert!(kept.iter().any(|kept| open.contains(kept)), "{open}");
            facts.asks_cause = true;
            let asked = ask(&facts, &[name]);
            let lines = asked.lines.join(" ");
            assert!(lines.contains(told) && !kept.iter().any(|kept| lines.contains(kept)), "{lines}");
            assert!(lines.contains("`lab hint`"), "{lines}");
            assert!(!asked.tips.join(" ").contains("--show-labels"), "{asked:?}");
        }
    }
}

#[test]
fn of_a_kind_that_could_not_be_read_nothing_is_said() {
    let mut facts = facts(&[], &Tap::new());
    assert!(ask(&facts, &["pod/web"]).lines.join(" ").contains("never was"));
    ["pods", "statefulsets"].iter().for_each(|unread| _ = facts.objects.remove(&key(unread)));
    for about in ["pod/web", "sts/web", "web"] {
        let told = ask(&facts, &[about]).lines.join(" ");
        assert!(told.contains("could not be read") && !told.contains("never"), "{about}: {told}");
    }
}

#[test]
fn what_is_not_there_is_named_with_its_kind_and_namespace() {
    let facts = facts(&[], &Tap::new());
    let told = |about: &str| ask(&facts, &[about]).lines.join(" ");
    for (about, sentence) in [
        ("pod/nothing", "There is no pod \"nothing\" in namespace default, and"),
        ("deploy/nothing", "There is no deployment \"nothing\" in namespace default, and"),
        ("node/nothing", "There is no node \"nothing\", and"),
        ("nothing", "There is no object \"nothing\" in namespace default, and"),
    ] {
        assert!(told(about).starts_with(sentence), "{about}: {}", told(about));
    }
}

#[test]
fn a_bare_name_is_looked_for_among_kinds_that_are_seldom_asked_for() {
    let object =
        |uid: &str, namespace: &str| json!({"metadata": {"name": "web", "namespace": namespace, "uid": uid}});
    for (plural, about) in
        [("statefulsets", "statefulset/web"), ("jobs", "job/web"), ("ingresses", "ingress/web")]
    {
        let seen = facts(&[(plural, object("u", "default"))], &Tap::new());
        assert_eq!(ask(&seen, &["web"]).about, about);
        let told = ask(&facts(&[(plural, object("u", "shop"))], &Tap::new()), &["web"]).lines.join(" ");
        assert!(told.contains("in the namespace shop"), "{told}");
    }
    let mut seen = facts(&[], &Tap::new());
    let told = ask(&seen, &["web"]).lines.join(" ");
    assert!(told.contains("never was") && told.contains("jobs, cronjobs, ingresses"), "{told}");
    seen.objects.remove(&key("jobs"));
    let told = ask(&seen, &["web"]).lines.join(" ");
    assert!(told.contains("The jobs could not be read") && !told.contains("never"), "{told}");
    // What was there is named for another kind than a pod, too.
    let tap = Tap::new();
    let gone = Record::new(Event::Commit(Write::DELETED));
    tap.emit(gone.object("deployments", "default", "web").revision(7));
    let told = ask(&facts(&[], &tap), &["web"]);
    assert_eq!((told.about.as_str(), told.lines[0].contains("was deleted")), ("deployment/web", true));
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
    assert_eq!(told.lines[0], "The image ngnix cannot be pulled for the container c.");
    assert_eq!(told.tips, ["kubectl set image pod/web-1 c=IMAGE"]);
}

#[test]
fn a_pod_that_waits_for_its_readiness_gates_names_them() {
    let told = |ready: bool| {
        let mut pod = pod(json!({}), json!({"containerStatuses": [{"name": "c", "ready": ready}]}));
        pod["spec"]["readinessGates"] = json!([{"conditionType": "example.com/lb"}]);
        ask(&facts(&[("pods", pod)], &Tap::new()), &["pod/web-1"]).lines[0].clone()
    };
    assert!(told(true).contains("not True: example.com/lb.") && told(false).ends_with("not ready: c."));
}

#[test]
fn a_pod_that_somebody_makes_is_mended_where_its_template_stands() {
    let mut waiting = pod(
        json!({"app": "web"}),
        json!({"phase": "Pending", "containerStatuses": [{"name": "c", "image": "ngnix", "state":
            {"waiting": {"reason": "ErrImagePull", "message": "x: there is no image"}}}]}),
    );
    waiting["metadata"]["ownerReferences"] =
        json!([{"kind": "ReplicaSet", "name": "web-65c", "controller": true}]);
    let set = json!({"metadata": {"name": "web-65c", "namespace": "default",
        "ownerReferences": [{"kind": "Deployment", "name": "web", "controller": true}]}});
    let told = ask(&facts(&[("pods", waiting), ("replicasets", set)], &Tap::new()), &["pod/web-1"]);
    assert_eq!(told.tips, ["kubectl set image deployment/web c=IMAGE"]);
}

#[test]
fn a_pending_pod_shows_what_each_node_was_told() {
    let tap = Tap::new();
    let refused = vec![tap::Refusal { reason: "Insufficient cpu".into(), ..Default::default() }];
    let decision = decision(refused, None);
    let mut pending = pod(json!({}), json!({"phase": "Pending"}));
    pending["spec"]["nodeName"] = "".into();
    let silent = json!({"metadata": {"name": "kube-scheduler", "namespace": "kube-system"},
        "spec": {"renewTime": "2020-01-01T00:00:00.000000Z", "leaseDurationSeconds": 15}});
    let alone = facts(&[("pods", pending.clone()), ("leases", silent)], &tap);
    assert!(ask(&alone, &["pod/web-1"]).lines[0].contains("Nobody does the work of kube-scheduler"));
    tap.emit(Record::new(decision).object("pods", "default", "web-1"));
    let told = ask(&facts(&[("pods", pending)], &tap), &["pod/web-1"]).lines;
    assert_eq!(told[1], "  n1: Insufficient cpu");
}

#[test]
fn a_pod_whose_binding_is_on_its_way_lacks_nothing() {
    let tap = Tap::new();
    let mut pending = pod(json!({}), json!({"phase": "Pending"}));
    pending["spec"]["nodeName"] = "".into();
    let decision = decision(vec![], Some("n1"));
    tap.emit(Record::new(decision).object("pods", "default", "web-1"));
    let told = ask(&facts(&[("pods", pending)], &tap), &["pod/web-1"]);
    assert!(!told.problem && told.lines[0].contains("chosen n1"), "{told:?}");
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

/// The command is not in the image: the container keeps ending in the status, and has never run.
#[test]
fn a_container_that_cannot_be_started_has_no_log_to_read() {
    let ended = json!({"terminated": {"exitCode": 128, "reason": "StartError",
        "message": "exec: \"nosuch\": executable file not found in $PATH"}});
    let waits = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    for (phase, state, last) in [
        ("Running", waits, ended.clone()),
        ("Running", ended.clone(), json!({})),
        ("Failed", ended, json!({})),
    ] {
        let status = json!({"phase": phase, "containerStatuses": [
            {"name": "c", "restartCount": 4, "state": state, "lastState": last}]});
        let told = ask(&facts(&[("pods", pod(json!({}), status))], &Tap::new()), &["web-1"]);
        assert!(told.problem && told.lines.len() == 1, "{told:?}");
        assert!(told.lines[0].contains("cannot be started, StartError: exec: \"nosuch\""), "{told:?}");
        assert_eq!(told.tips, ["kubectl describe pod web-1"]);
    }
}

/// After each stop of the cluster the kubelet writes 137 for containers that it does not find.
#[test]
fn a_container_whose_end_nobody_saw_was_not_killed() {
    let last = json!({"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown",
        "message": "The container could not be located"}});
    let mut status = ready();
    status["containerStatuses"] = json!([{"name": "c", "ready": true, "restartCount": 1,
        "state": {"running": {}}, "lastState": last}]);
    let told = ask(&facts(&[("pods", pod(json!({}), status))], &Tap::new()), &["web-1"]);
    assert!(!told.problem && told.lines[1] == "  The container could not be located", "{told:?}");
    assert!(!told.lines.concat().contains("SIGKILL"), "{told:?}");
}

/// The scheduler's decision about one pod, in a cluster of one node.
fn decision(refused: Vec<tap::Refusal>, chosen: Option<&str>) -> Event {
    let verdicts = vec![tap::Verdict { node: "n1".into(), refused, ..Default::default() }];
    Event::Schedule(tap::Decision { verdicts, chosen: chosen.map(String::from) })
}

pub(super) fn answer(verb: &str, message: &str) -> Event {
    let (verb, message) = (verb.to_string(), message.to_string());
    Event::Answer(Box::new(tap::Answer { verb, message, ..Default::default() }))
}

pub(super) fn answered(tap: &Tap, session: &str, event: Event, code: u16) {
    let mut record = Record::new(event).object("pods", "default", "web");
    let (session, user) = (session.to_string(), "learner".to_string());
    record.request =
        Some(Request { session, user, code, command: "kubectl run".into(), ..Request::default() });
    tap.emit(record);
}

#[test]
fn the_last_command_is_explained_by_its_last_answer() {
    let tap = Tap::new();
    assert!(!ask(&facts(&[], &tap), &[]).problem, "nothing was asked yet");
    answered(&tap, "1", answer("create", "pods \"web\" already exists"), 409);
    let told = ask(&facts(&[], &tap), &[]);
    assert!(
        told.about == "kubectl run" && told.lines[0].starts_with("409: a pod called web exists already"),
        "{told:?}"
    );
    // A later one that went well leads to its object.
    answered(&tap, "2", Event::Commit(Write::CREATED), 0);
    answered(&tap, "2", answer("create", ""), 201);
    let mut web = pod(json!({}), ready());
    web["metadata"]["name"] = "web".into();
    let told = ask(&facts(&[("pods", web)], &tap), &[]);
    assert!(!told.problem && told.about == "pod/web", "{told:?}");
    // And one that is gone leads to the user who deleted it.
    answered(&tap, "3", Event::Commit(Write::DELETING), 0);
    let mut last = Record::new(Event::Commit(Write::DELETED)).object("pods", "default", "web");
    last.request = Some(Request { user: "system:node:n1".into(), ..Request::default() });
    tap.emit(last);
    answered(&tap, "3", answer("delete", ""), 200);
    let told = ask(&facts(&[], &tap), &[]);
    assert!(told.lines[0].contains("was deleted by learner"), "{told:?}");
    assert_eq!(told.tips, ["undo"]);
}

pub(super) fn after(facts: &Facts, line: &str, code: i32) -> Explanation {
    let after = Some(super::Typed { line: line.into(), code });
    explain(facts, &Question { lang: Lang::En, about: vec![], namespace: String::new(), after })
}

#[test]
fn a_command_that_failed_is_the_one_that_is_explained() {
    let tap = Tap::new();
    // An earlier command went well.
    answered(&tap, "1", answer("get", ""), 200);
    let mut web = pod(json!({}), ready());
    web["metadata"]["name"] = "web".into();
    let seen = facts(&[("pods", web)], &tap);
    assert!(!after(&seen, "kubectl run web --image=nginx", 0).problem);
    for (line, says, tip) in [
        ("kubectl get nods", "There is no kind nods.", "kubectl get nodes"),
        ("get deploymnet/web -n shop", "There is no kind deploymnet.", "kubectl get deployments/web -n shop"),
        ("kubectl list nodes", "kubectl has no command list.", "kubectl get nodes"),
    ] {
        let told = after(&seen, line, 1);
        assert_eq!((told.lines[0].as_str(), told.tips[0].as_str()), (says, tip), "{line}");
        assert!(told.problem && told.about == line);
    }
    // Nothing was refused: kubectl's own message is the reason, and nothing is said of the earlier
    // command's pod.
    let told = after(&seen, "kubectl run web", 1);
    assert!(told.problem && told.lines[0].contains("exit code 1"), "{told:?}");
    let told = after(&seen, "false", 1);
    assert!(told.problem && told.lines[0].contains("exit code 1"), "{told:?}");
    let told = after(&seen, "curl -s localhost:31234/menu", 7);
    assert!(told.lines[0].contains("No Service has the NodePort 31234"), "{told:?}");
    let custom = json!({"metadata": {"name": "sails.example.org"},
        "spec": {"group": "example.org", "names": {"plural": "sails", "singular": "sail"}}});
    let seen = facts(&[("customresourcedefinitions", custom)], &tap);
    assert!(!after(&seen, "kubectl get sails nothing", 1).lines[0].contains("no kind"));
}

#[test]
fn a_proposal_names_the_namespace() {
    let tap = Tap::new();
    let mut record = Record::new(answer("get", "")).object("pods", "default", "scheduler");
    record.request = Some(Request {
        session: "1".into(),
        user: "learner".into(),
        code: 404,
        command: "kubectl logs".into(),
        ..Request::default()
    });
    tap.emit(record);
    let mut elsewhere = pod(json!({}), ready());
    elsewhere["metadata"] = json!({"name": "scheduler", "namespace": "kube-system"});
    let seen = facts(&[("pods", elsewhere)], &tap);
    assert_eq!(
        after(&seen, "kubectl logs scheduler --tail 3", 1).tips,
        ["kubectl logs scheduler --tail 3 -n kube-system"]
    );
    assert_eq!(ask(&seen, &[]).tips, ["kubectl get pods scheduler -n kube-system"]);
    let status = json!({"phase": "Running", "containerStatuses": [{"name": "c", "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}}}]});
    let mut crashing = pod(json!({}), status);
    crashing["metadata"]["namespace"] = "bazaar".into();
    let told = explain(
        &facts(&[("pods", crashing)], &Tap::new()),
        &Question {
            lang: Lang::En,
            about: vec!["pod/web-1".into()],
            namespace: "bazaar".into(),
            after: None,
        },
    );
    assert_eq!(told.tips, ["kubectl logs web-1 -c c --previous -n bazaar"]);
}

#[test]
fn endpoints_are_judged_by_the_slices_and_not_by_the_selector_alone() {
    let bare = ("services", service(json!({}), json!(80)));
    assert!(ask(&facts(std::slice::from_ref(&bare), &Tap::new()), &["svc/web"]).problem);
    let told = ask(&facts(&[bare, slice()], &Tap::new()), &["svc/web"]);
    assert!(!told.problem && told.lines[0].contains(": 1."), "{told:?}");
    let pods = ("pods", pod(json!({"app": "web"}), ready()));
    let told = ask(
        &facts(&[pods, ("services", service(json!({"app": "web"}), json!(80)))], &Tap::new()),
        &["svc/web"],
    );
    assert!(told.problem && told.lines[0].contains("no EndpointSlice lists one"), "{told:?}");
    // The controller manager is down, and the pods are others than those that it had listed.
    let mut later = ready();
    later["podIP"] = "10.244.2.7".into();
    let pods = ("pods", pod(json!({"app": "web"}), later));
    let told = ask(
        &facts(&[pods, slice(), ("services", service(json!({"app": "web"}), json!(80)))], &Tap::new()),
        &["svc/web"],
    );
    assert!(told.problem && told.lines[0].contains("no EndpointSlice lists one"), "{told:?}");
}

#[test]
fn a_pod_that_the_scheduler_leaves_alone_says_so() {
    let mut gated = pod(json!({}), json!({"phase": "Pending"}));
    gated["spec"] = json!({"containers": [], "schedulingGates": [{"name": "example.org/wait"}]});
    let told = ask(&facts(&[("pods", gated.clone())], &Tap::new()), &["pod/web-1"]);
    assert!(told.problem && told.lines[0].contains("example.org/wait"), "{told:?}");
    gated["spec"] = json!({"containers": [], "schedulerName": "mine"});
    let told = ask(&facts(&[("pods", gated)], &Tap::new()), &["pod/web-1"]);
    assert!(told.problem && told.lines[0].contains("scheduler mine"), "{told:?}");
}

#[test]
fn a_refusal_is_told_as_what_it_is() {
    for (code, message, says, tip) in [
        (404, "namespaces \"shop\" not found", "no namespace shop", Some("kubectl get namespaces")),
        (404, "pods \"web\" not found", "no pod called web", Some("kubectl get pods")),
        (
            409,
            "object is being deleted: pods \"web\" already exists",
            "the pod called web is being deleted",
            Some("kubectl wait --for=delete pods/web"),
        ),
        (
            409,
            "Apply failed with 1 conflict: conflict with \"kubectl\": .spec.replicas",
            "another manager",
            None,
        ),
        (
            409,
            "Operation cannot be fulfilled on pods \"web\": the object has been modified; please apply",
            "changed the object after",
            None,
        ),
        (
            409,
            "Operation cannot be fulfilled on pods/binding \"web\": pod web is already assigned",
            "The server answered 409: Operation cannot be fulfilled on pods/binding",
            None,
        ),
    ] {
        let tap = Tap::new();
        answered(&tap, "1", answer("create", message), code);
        let told = ask(&facts(&[], &tap), &[]);
        assert!(told.problem && told.lines[0].contains(says), "{message}: {told:?}");
        assert_eq!(told.tips.first().map(String::as_str), tip, "{message}");
    }
    // The server has no such resource: the request names no object.
    let tap = Tap::new();
    let mut record = Record::new(answer("list", "the server could not find the requested resource"));
    let (session, user) = ("1".to_string(), "learner".to_string());
    record.request = Some(Request { session, user, code: 404, ..Request::default() });
    tap.emit(record);
    let told = ask(&facts(&[], &tap), &[]);
    assert!(told.lines[0].contains("404: the server could not find"), "{told:?}");
}

#[test]
fn a_refusal_without_a_message_is_explained_by_its_object() {
    let tap = Tap::new();
    answered(&tap, "1", answer("create", ""), 400);
    let told = |status: Value| {
        let mut web = pod(json!({}), status);
        web["metadata"]["name"] = "web".into();
        ask(&facts(&[("pods", web)], &tap), &[])
    };
    let waits = told(json!({"phase": "Pending", "containerStatuses": [{"name": "c", "image": "x",
        "state": {"waiting": {"reason": "ErrImagePull", "message": "x: there is no image"}}}]}));
    assert_eq!(waits.about, "kubectl run");
    assert!(waits.problem && waits.lines[0].contains("cannot be pulled"), "{waits:?}");
    let well = told(ready());
    assert!(well.problem && well.lines[0].starts_with("The server answered 400"), "{well:?}");
}
