//! Sentences that must be true of the cluster: what is unknown is not said, and what is said is so.

use super::workloads::{no_image, owned, workload};
use super::{after, answer, answered, ask, decision, facts, key, pod, ready, service, slice};
use serde_json::{Value, json};
use tap::{Event, Record, Request, Tap, Write};

/// The API server does not answer, or one list does not come in time.
#[test]
fn what_could_not_be_read_proves_nothing() {
    let web = || ("pods", pod(json!({"app": "web"}), ready()));
    let config = json!({"metadata": {"name": "x", "namespace": "default", "uid": "x"}});
    let class = json!({"metadata": {"name": "std"}, "provisioner": "p.io",
        "volumeBindingMode": "WaitForFirstConsumer"});
    let pending = json!({"phase": "Pending"});
    let seen = || {
        facts(
            &[
                web(),
                slice(),
                ("services", service(json!({"app": "web"}), json!(80))),
                ("configmaps", config.clone()),
                ("deployments", workload("wide", json!({"replicas": 2}), json!({}))),
                ("deployments", workload("none", json!({"replicas": 0}), json!({"observedGeneration": 1}))),
                ("jobs", workload("sum", json!({}), json!({}))),
                ("storageclasses", class.clone()),
                (
                    "persistentvolumeclaims",
                    workload("data", json!({"storageClassName": "std"}), pending.clone()),
                ),
            ],
            &Tap::new(),
        )
    };
    for (unread, about) in [
        ("services", "localhost:31234"),
        ("pods", "svc/web"),
        ("endpointslices", "svc/web"),
        ("pods", "deploy/wide"),
        ("replicasets", "deploy/none"),
        ("pods", "job/sum"),
        ("pods", "pvc/data"),
        ("customresourcedefinitions", "crontab/x"),
        ("events", "cm/x"),
    ] {
        let says = format!("The {unread} could not be read");
        assert!(!ask(&seen(), &[about]).lines.join(" ").contains(&says), "{about}");
        let mut seen = seen();
        seen.objects.remove(&key(unread));
        let told = ask(&seen, &[about]);
        let said = told.lines.join(" ");
        assert!(told.problem && said.contains(&says), "{about}: {said}");
        let unproved = ["No Service", "no pod", "Only 0", "no kind", "first pod", "Nothing is known", "none"];
        assert!(!unproved.iter().any(|unproved| said.contains(unproved)), "{about}: {said}");
    }
    let mut seen = seen();
    seen.objects.remove(&key("customresourcedefinitions"));
    let told = after(&seen, "kubectl get crontabs", 1);
    assert!(!told.lines.join(" ").contains("no kind"), "it may be a custom resource: {told:?}");
}

/// The API server's port, a port-forward, a program of the learner's.
#[test]
fn a_port_of_no_service_may_be_another_programs() {
    let told = ask(&facts(&[], &Tap::new()), &["localhost:6443"]).lines.join(" ");
    assert!(told.contains("another program") && !told.contains("refused"), "{told}");
}

/// A volume that cannot be mounted, and an init container that takes its time.
#[test]
fn a_pod_that_has_not_started_does_not_run() {
    let told = |spec: Value, status: Value| {
        let mut pod = pod(json!({}), status);
        pod["spec"]["initContainers"] = spec;
        ask(&facts(&[("pods", pod)], &Tap::new()), &["pod/web-1"]).lines.join(" ")
    };
    let waits =
        |reason: &str| json!([{"name": "c", "ready": false, "state": {"waiting": {"reason": reason}}}]);
    let creating = json!({"phase": "Pending", "containerStatuses": waits("ContainerCreating")});
    let said = told(json!([]), creating);
    assert!(said.contains("has not started all of its containers") && !said.contains("It runs"), "{said}");
    let initializes = json!({"phase": "Pending", "containerStatuses": waits("PodInitializing"),
        "initContainerStatuses": [{"name": "first", "ready": false, "state": {"running": {}}}]});
    let said = told(json!([{"name": "first"}]), initializes.clone());
    assert!(said.contains("Its init container first runs"), "{said}");
    let said = told(json!([{"name": "first", "restartPolicy": "Always"}]), initializes);
    assert!(said.contains("has not started all of its containers"), "a sidecar need not end: {said}");
}

/// A misspelt `nodeName`, or a node that was deleted. Its kubelet was said to be at work.
#[test]
fn a_pod_of_a_node_that_there_is_not_says_so() {
    let node = |name: &str| ("nodes", json!({"metadata": {"name": name}, "status": ready()}));
    let told = |node: (&str, Value), status: Value| {
        ask(&facts(&[("pods", pod(json!({}), status)), node], &Tap::new()), &["pod/web-1"])
    };
    for status in [json!({"phase": "Pending"}), ready()] {
        let said = told(node("n2"), status.clone());
        assert_eq!(
            said.lines,
            ["It is bound to the node n1, which does not exist, so no kubelet runs its containers."]
        );
        assert_eq!((said.problem, said.tips.as_slice()), (true, &["kubectl get nodes".to_string()][..]));
        assert!(!told(node("n1"), status).lines[0].contains("does not exist"));
    }
    let said = told(node("n2"), json!({"phase": "Succeeded"}));
    assert!(!said.problem, "what has ended needs no node: {said:?}");
}

/// No kubelet ends it, however long its grace period is over.
#[test]
fn a_pod_that_is_deleted_from_a_node_that_is_gone_says_who_deletes_it() {
    let told = |finalizers: Value| {
        let mut leaving = pod(json!({}), ready());
        leaving["metadata"]["deletionTimestamp"] = "2026-11-25T01:00:00Z".into();
        leaving["metadata"]["deletionGracePeriodSeconds"] = 30.into();
        leaving["metadata"]["finalizers"] = finalizers;
        let node = json!({"metadata": {"name": "n2"}, "status": ready()});
        ask(&facts(&[("pods", leaving), ("nodes", node)], &Tap::new()), &["pod/web-1"]).lines.join(" ")
    };
    let said = told(json!([]));
    assert!(said.contains("node n1 does not exist") && said.contains("pod garbage collector"), "{said}");
    assert!(!said.contains("end by itself"), "{said}");
    assert!(told(json!(["example.com/x"])).contains("example.com/x"));
}

/// A registry may refuse, or not be reached: the image may well exist. And the tip must work.
#[test]
fn a_pod_whose_image_is_not_pulled_is_mended_where_that_is_possible() {
    let tip = |owner: Value| {
        let mut pod = pod(json!({}), no_image());
        pod["metadata"]["ownerReferences"] = json!([owner]);
        let told = ask(&facts(&[("pods", pod)], &Tap::new()), &["pod/web-1"]);
        assert!(told.lines[0].contains("cannot be pulled"), "{told:?}");
        told.tips[0].clone()
    };
    let owner = |kind: &str| json!({"kind": kind, "name": "o", "controller": true});
    assert_eq!(tip(owner("DaemonSet")), "kubectl set image daemonset/o c=IMAGE");
    assert_eq!(tip(owner("Job")), "kubectl set image pod/web-1 c=IMAGE", "a Job's template is immutable");
    assert_eq!(tip(owner("Sail")), "kubectl set image pod/web-1 c=IMAGE");
    assert_eq!(tip(owner("Node")), "kubectl describe pod web-1", "a static pod");
}

#[test]
fn a_node_that_is_not_ready_is_no_problem_of_a_pod_that_has_ended() {
    let told = |metadata: Value, phase: &str| {
        let mut pod = pod(json!({}), json!({"phase": phase}));
        for (key, value) in metadata.as_object().unwrap() {
            pod["metadata"][key] = value.clone();
        }
        let node = json!({"metadata": {"name": "n1"},
            "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
        ask(&facts(&[("pods", pod), ("nodes", node)], &Tap::new()), &["pod/web-1"])
    };
    assert!(!told(json!({}), "Succeeded").problem);
    assert!(told(json!({}), "Running").lines[0].contains("node n1 is not Ready"));
    let leaving = json!({"deletionTimestamp": "2026-11-25T01:00:00Z", "deletionGracePeriodSeconds": 30});
    let said = told(leaving.clone(), "Running").lines.join(" ");
    assert!(said.contains("node n1 is not Ready") && !said.contains("30 seconds"), "{said}");
    let mut held = leaving;
    held["finalizers"] = json!(["example.com/x"]);
    assert!(told(held, "Running").lines[0].contains("example.com/x"));
}

/// It may have died before it could bind the pod, or before room was made.
#[test]
fn a_decision_of_a_scheduler_that_is_silent_is_an_old_one() {
    let silent = json!({"metadata": {"name": "kube-scheduler", "namespace": "kube-system"},
        "spec": {"renewTime": "2020-01-01T00:00:00.000000Z", "leaseDurationSeconds": 15}});
    let mut pending = pod(json!({}), json!({"phase": "Pending"}));
    pending["spec"]["nodeName"] = "".into();
    let lacks_room = tap::Refusal { reason: "Insufficient cpu".into(), ..Default::default() };
    for (refused, chosen, says) in
        [(vec![], Some("n1"), "kube-scheduler"), (vec![lacks_room], None, "n1: Insufficient cpu")]
    {
        let tap = Tap::new();
        tap.emit(Record::new(decision(refused, chosen)).object("pods", "default", "web-1"));
        let objects = [("pods", pending.clone()), ("leases", silent.clone())];
        let told = ask(&facts(&objects, &tap), &["pod/web-1"]);
        let said = told.lines.join(" ");
        assert!(told.problem && told.lines[0].contains("Nobody does the work of kube-scheduler"), "{said}");
        assert!(said.contains(says) && !said.contains("about to bind"), "{said}");
    }
}

/// Its kubelet has stopped the containers, and a sidecar ends after the others.
#[test]
fn a_pod_that_has_ended_is_told_by_what_ended_it() {
    let ended = |name: &str, code: i64| json!({"name": name, "state": {"terminated": {"exitCode": code}}});
    let told = |status: Value| {
        let mut pod = pod(json!({}), status);
        pod["spec"]["initContainers"] = json!([{"name": "log", "restartPolicy": "Always"}]);
        pod["status"]["initContainerStatuses"] = json!([ended("log", 143)]);
        ask(&facts(&[("pods", pod)], &Tap::new()), &["pod/web-1"])
    };
    let well = told(json!({"phase": "Succeeded", "containerStatuses": [ended("c", 0)]}));
    assert!(!well.problem, "{well:?}");
    let failed = told(json!({"phase": "Failed", "containerStatuses": [ended("c", 3)]}));
    assert!(failed.problem && failed.lines[0].contains("container c ended with exit code 3"), "{failed:?}");
    for reason in ["DeadlineExceeded", "Evicted"] {
        let stopped = told(json!({"phase": "Failed", "reason": reason, "message": "Because.",
            "containerStatuses": [ended("c", 137)]}));
        let said = stopped.lines.join(" ");
        assert!(said.contains(&format!("{reason} Because.")) && !said.contains("137"), "{said}");
    }
}

/// Between two ends it runs, and its probe has not succeeded yet.
#[test]
fn a_container_that_is_not_ready_and_keeps_ending_says_how_it_ended() {
    let status = json!({"phase": "Running", "containerStatuses": [{"name": "c", "ready": false,
        "restartCount": 3, "state": {"running": {}},
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]});
    let told = ask(&facts(&[("pods", pod(json!({}), status))], &Tap::new()), &["pod/web-1"]);
    let said = told.lines.join(" ");
    assert!(told.problem && said.contains("was restarted (times: 3)"), "{said}");
    assert!(said.contains("more memory") && said.contains("not ready: c"), "{said}");
}

#[test]
fn a_soft_taint_keeps_no_pod_away() {
    let taints = json!([{"key": "a", "value": "b", "effect": "PreferNoSchedule"},
        {"key": "c", "effect": "NoSchedule"}]);
    let node = json!({"metadata": {"name": "n1"}, "spec": {"taints": taints},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let told = ask(&facts(&[("nodes", node)], &Tap::new()), &["node/n1"]).lines;
    assert!(told[1].contains("a=b:PreferNoSchedule") && told[1].contains("if it can"), "{told:?}");
    assert!(told[2].contains("c:NoSchedule: only pods that tolerate it"), "{told:?}");
}

/// It has no grace period, and its finalizer stands in its spec.
#[test]
fn a_namespace_that_is_deleted_says_what_is_left_in_it() {
    let message = "Some content in the namespace has finalizers remaining: example.com/hold in 1 instances";
    let shop = json!({"metadata": {"name": "shop", "deletionTimestamp": "2026-11-25T01:00:00Z"},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"conditions": [
            {"type": "NamespaceContentRemaining", "status": "False", "message": "All content removed"},
            {"type": "NamespaceFinalizersRemaining", "status": "True", "message": message}]}});
    let told = ask(&facts(&[("namespaces", shop)], &Tap::new()), &["ns/shop"]);
    let said = told.lines.join(" ");
    assert!(told.problem && said.contains(message), "{said}");
    assert!(!said.contains("seconds") && !said.contains("All content"), "{said}");
}

/// Nothing is forwarded for it: a client that uses the port of the Service reaches the same port of
/// a pod.
#[test]
fn a_headless_service_sends_no_port_to_another() {
    let headless = |selector: Value| {
        let mut service = service(selector, json!(80));
        service["spec"]["clusterIP"] = "None".into();
        let web = ("pods", pod(json!({"app": "web"}), ready()));
        ask(&facts(&[web, slice(), ("services", service)], &Tap::new()), &["svc/web"]).lines.join(" ")
    };
    let said = headless(json!({"app": "web"}));
    assert!(said.contains("headless") && !said.contains("goes to port"), "{said}");
    let said = headless(json!({"app": "nix"}));
    assert!(said.contains("no endpoints") && !said.contains("refused"), "{said}");
}

/// Nothing is wrong with its pods, and `kubectl get services` shows `<pending>`.
#[test]
fn a_load_balancer_without_an_address_says_who_gives_one() {
    let told = |status: Value| {
        let mut balanced = service(json!({"app": "web"}), json!(80));
        balanced["spec"]["type"] = "LoadBalancer".into();
        balanced["status"] = status;
        let pods = ("pods", pod(json!({"app": "web"}), ready()));
        ask(&facts(&[pods, slice(), ("services", balanced)], &Tap::new()), &["svc/web"])
    };
    let pending = told(json!({"loadBalancer": {}}));
    let said = pending.lines.join(" ");
    assert!(!pending.problem && said.contains("<pending>") && said.contains("NodePort: 31234."), "{said}");
    let given = told(json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}));
    assert!(!given.lines.join(" ").contains("<pending>"), "{given:?}");
}

/// Upstream's `FindPort` takes neither an init container that ends nor a port of another protocol.
#[test]
fn a_named_port_is_looked_for_where_upstream_looks() {
    let is_missed = |policy: &str, protocol: &str| {
        let ports = json!([{"containerPort": 80, "name": "b", "protocol": protocol}]);
        let mut pod = pod(json!({"app": "web"}), ready());
        pod["spec"]["initContainers"] = json!([{"name": "i", "restartPolicy": policy, "ports": ports}]);
        let service = ("services", service(json!({"app": "web"}), json!("b")));
        ask(&facts(&[("pods", pod), slice(), service], &Tap::new()), &["svc/web"]).problem
    };
    assert!(!is_missed("Always", "TCP"), "a sidecar");
    assert!(is_missed("", "TCP"), "it ends before the pod is ready");
    assert!(is_missed("Always", "UDP"));
}

#[test]
fn a_claim_is_told_where_its_volume_comes_from() {
    let told = |spec: Value, class: Value| {
        let claim = ("persistentvolumeclaims", workload("data", spec, json!({"phase": "Pending"})));
        ask(&facts(&[claim, ("storageclasses", class)], &Tap::new()), &["pvc/data"]).lines.join(" ")
    };
    let class = |provisioner: &str| json!({"metadata": {"name": "std"}, "provisioner": provisioner});
    let by_hand = told(json!({"storageClassName": "std"}), class("kubernetes.io/no-provisioner"));
    assert!(by_hand.contains("std makes no volumes") && !by_hand.contains("provisioner"), "{by_hand}");
    let named = told(json!({"storageClassName": "std", "volumeName": "v1"}), class("p.io"));
    assert!(named.contains("asks for the volume v1") && !named.contains("p.io"), "{named}");
    let mut default = class("p.io");
    default["metadata"]["annotations"] = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    let unnamed = told(json!({}), default.clone());
    assert!(unnamed.contains("the default one, std") && !unnamed.contains("none is"), "{unnamed}");
    let (mut newer, claim) = (default.clone(), workload("data", json!({}), json!({"phase": "Pending"})));
    newer["metadata"]["name"] = "newer".into();
    newer["metadata"]["creationTimestamp"] = "2026-11-25T01:00:00Z".into();
    default["metadata"]["creationTimestamp"] = "2026-11-24T01:00:00Z".into();
    let both = [("persistentvolumeclaims", claim), ("storageclasses", newer), ("storageclasses", default)];
    let of_two = ask(&facts(&both, &Tap::new()), &["pvc/data"]).lines.join(" ");
    assert!(of_two.contains("the default one, newer"), "{of_two}");
}

/// Its last pod is held by a finalizer.
#[test]
fn a_workload_of_no_pods_names_those_that_are_left() {
    let set = owned("web", "web-1", json!({}));
    let zero = workload("web", json!({"replicas": 0}), json!({"observedGeneration": 1}));
    let mut held = owned("web-1", "web-1-x", ready());
    held["metadata"]["deletionTimestamp"] = "2026-11-25T01:00:00Z".into();
    held["metadata"]["finalizers"] = json!(["example.com/x"]);
    let sets = [("deployments", zero), ("replicasets", set)];
    let said = ask(&facts(&sets, &Tap::new()), &["deploy/web"]).lines.join(" ");
    assert!(said.contains("so there are none"), "{said}");
    let told = ask(&facts(&[&sets[..], &[("pods", held)]].concat(), &Tap::new()), &["deploy/web"]);
    let said = told.lines.join(" ");
    assert!(told.problem && said.contains("still there: 1") && said.contains("example.com/x"), "{said}");
}

/// The volume's node affinity ties the pod to a node, whatever labels the nodes have.
#[test]
fn the_node_affinity_of_a_volume_is_not_the_pods() {
    let told = |reason: &str| {
        let tap = Tap::new();
        let mut pending = pod(json!({}), json!({"phase": "Pending"}));
        pending["spec"]["nodeName"] = "".into();
        let refused = vec![tap::Refusal { reason: reason.into(), ..Default::default() }];
        tap.emit(Record::new(super::decision(refused, None)).object("pods", "default", "web-1"));
        ask(&facts(&[("pods", pending)], &tap), &["pod/web-1"]).lines.join(" ")
    };
    assert!(told("node(s) didn't match Pod's node affinity/selector").contains("lack a label"));
    assert!(!told("node(s) didn't match PersistentVolume's node affinity").contains("lack a label"));
}

/// A role may allow the same in another namespace, or of the pod and not of its subresource.
#[test]
fn a_right_that_is_missing_is_told_in_full() {
    let told = |message: &str| {
        let tap = Tap::new();
        answered(&tap, "1", answer("get", message), 403);
        ask(&facts(&[], &tap), &[]).lines[0].clone()
    };
    let exec = "get resource \"pods/exec\" in API group \"\" in the namespace \"shop\"";
    let said = told(&format!("pods \"web\" is forbidden: User \"learner\" cannot {exec}"));
    assert_eq!(said, format!("403: the server knows learner, but no role allows this user to {exec}."));
    let said = told("forbidden: User \"learner\" cannot get path \"/metrics\"");
    assert!(said.ends_with("to get path \"/metrics\"."), "{said}");
    let said = told("pods \"web\" is forbidden: a pod of this team cannot be privileged");
    assert!(said.starts_with("403: pods") && !said.contains("role"), "admission: {said}");
}

/// A policy refuses with 422 as a rule: no field of the object is invalid.
#[test]
fn a_policy_that_denies_is_named() {
    let denied = "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'b' denied request: too many";
    for code in [422, 403] {
        let tap = Tap::new();
        answered(&tap, "1", answer("create", denied), code);
        let told = ask(&facts(&[], &tap), &[]);
        let line = &told.lines[0];
        assert!(
            line.starts_with(&format!("{code}: ")) && line.contains("denies the request: deploy"),
            "{line}"
        );
        assert_eq!(told.tips, ["kubectl get validatingadmissionpolicy few -o yaml"]);
    }
}

/// kubectl refuses it and sends nothing: what is recorded is the `kubectl run` before it.
#[test]
fn a_line_that_kubectl_does_not_understand_was_not_refused_by_the_server() {
    let tap = Tap::new();
    answered(&tap, "1", answer("create", "pods \"web\" already exists"), 409);
    let seen = facts(&[], &tap);
    assert!(after(&seen, "kubectl run web --image=nginx", 1).lines[0].starts_with("409"));
    let told = after(&seen, "kubectl run web --image=nginx --nonsense", 1);
    assert!(told.lines[0].contains("refused nothing"), "{told:?}");
}

/// A watch that was ended, or a command that waited for a server that does not answer.
#[test]
fn a_command_that_was_interrupted_has_no_fault_of_its_own() {
    let mut seen = facts(&[], &Tap::new());
    let told = after(&seen, "kubectl get pods -w", 130);
    assert!(told.lines.len() == 1 && told.lines[0].contains("Ctrl-C"), "{told:?}");
    seen.objects.remove(&key("pods"));
    let said = after(&seen, "kubectl get pods", 130).lines.join(" ");
    assert!(said.contains("Ctrl-C") && said.contains("API server does not answer"), "{said}");
}

/// It takes back the newest step, and that is another one here.
#[test]
fn undo_is_proposed_for_the_last_step_alone() {
    let tap = Tap::new();
    let write = |session: &str, user: &str, name: &str, write: Write| {
        let mut record = Record::new(Event::Commit(write)).object("pods", "default", name);
        let (session, user) = (session.to_string(), user.to_string());
        record.request = Some(Request { session, user, ..Request::default() });
        tap.emit(record);
    };
    write("1", "learner", "web", Write::DELETED);
    write("", "system:kube-scheduler", "db", Write::UPDATED);
    assert_eq!(ask(&facts(&[], &tap), &["pod/web"]).tips, ["undo"]);
    write("2", "learner", "db", Write::CREATED);
    let told = ask(&facts(&[], &tap), &["pod/web"]);
    assert!(told.lines[0].contains("was deleted by learner") && told.tips.is_empty(), "{told:?}");
}

/// Its peers find a pod by such a name before it is ready, but not before it has an address.
#[test]
fn a_pod_that_no_slice_can_list_is_no_fault_of_the_controller_manager() {
    let told = |status: Value| {
        let mut early = service(json!({"app": "web"}), json!(80));
        early["spec"]["clusterIP"] = "None".into();
        early["spec"]["publishNotReadyAddresses"] = true.into();
        let web = ("pods", pod(json!({"app": "web"}), status));
        ask(&facts(&[web, ("services", early)], &Tap::new()), &["svc/web"]).lines.join(" ")
    };
    for status in [json!({"phase": "Pending"}), json!({"phase": "Failed", "podIP": "10.244.1.5"})] {
        let said = told(status);
        assert!(said.contains("none is ready") && !said.contains("kept up to date"), "{said}");
    }
    let said = told(json!({"phase": "Running", "podIP": "10.244.1.5"}));
    assert!(said.contains("not kept up to date"), "{said}");
}

/// kube-proxy sends requests to such pods as long as no endpoint is ready (KEP-1669); the DNS name
/// of a headless Service leads to none of them.
#[test]
fn pods_that_are_deleted_and_still_answer_get_the_requests() {
    let told = |is_serving: bool, cluster_ip: &str| {
        let mut leaving = pod(json!({"app": "web"}), ready());
        leaving["metadata"]["deletionTimestamp"] = "2026-11-25T01:00:00Z".into();
        let mut web = service(json!({"app": "web"}), json!(80));
        web["spec"]["clusterIP"] = cluster_ip.into();
        let (plural, mut listed) = slice();
        listed["endpoints"][0]["conditions"] =
            json!({"ready": false, "serving": is_serving, "terminating": true});
        let objects = [("pods", leaving), (plural, listed), ("services", web)];
        ask(&facts(&objects, &Tap::new()), &["svc/web"]).lines.join(" ")
    };
    let said = told(true, "10.96.0.9");
    assert!(said.contains("being deleted and still answer: 1.") && !said.contains("no endpoint"), "{said}");
    for said in [told(false, "10.96.0.9"), told(true, "None")] {
        assert!(said.contains("no endpoint is used"), "{said}");
    }
}

/// The cluster was started anew, or the pod waits for longer than the records reach.
#[test]
fn what_no_record_tells_of_a_decision_stands_in_the_condition() {
    let told = |conditions: Value| {
        let mut pending = pod(json!({}), json!({"phase": "Pending", "conditions": conditions}));
        pending["spec"]["nodeName"] = "".into();
        ask(&facts(&[("pods", pending)], &Tap::new()), &["pod/web-1"]).lines.join(" ")
    };
    let found = |reason: &str, message: &str| {
        told(json!([{"type": "PodScheduled", "status": "False", "reason": reason, "message": message}]))
    };
    let said = found("Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.");
    assert!(said.contains("found no node") && said.contains("3 Insufficient cpu"), "{said}");
    assert!(!said.contains("not looked at it"), "{said}");
    let said = found("SchedulerError", "running PreBind plugin: timed out");
    assert!(said.contains("It says: running PreBind") && !said.contains("found no node"), "{said}");
    assert!(told(json!([])).contains("has not looked at it yet"));
}
