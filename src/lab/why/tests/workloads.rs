//! Workloads that do not get on, and claims without a volume.

use super::{ask, decision, facts, pod, ready};
use serde_json::{Value, json};
use tap::{Record, Tap};

pub(super) fn workload(name: &str, spec: Value, status: Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "uid": name, "generation": 1},
        "spec": spec, "status": status})
}

/// A pod that an object of this uid owns.
pub(super) fn owned(owner: &str, name: &str, status: Value) -> Value {
    let mut pod = pod(json!({}), status);
    pod["metadata"]["name"] = name.into();
    pod["metadata"]["uid"] = name.into();
    pod["metadata"]["ownerReferences"] = json!([{"uid": owner, "controller": true}]);
    pod
}

fn warning(uid: &str, reason: &str, message: &str) -> Value {
    json!({"metadata": {"namespace": "default"}, "involvedObject": {"uid": uid}, "type": "Warning",
        "reason": reason, "message": message, "eventTime": "2026-11-25T01:00:00.000000Z"})
}

pub(super) fn no_image() -> Value {
    json!({"phase": "Pending", "containerStatuses": [{"name": "c", "image": "ngnix",
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "x"}}}]})
}

/// The old pod of a rollout is ready, the new one cannot start: all that is wanted is ready.
#[test]
fn a_rollout_that_does_not_get_on_is_no_good_deployment() {
    let status = |conditions: Value| {
        json!({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 1, "readyReplicas": 1,
            "conditions": conditions})
    };
    let set = owned("web", "web-2", json!({}));
    let both = |deployment: Value| {
        let pods = [("pods", owned("web-2", "web-2-x", no_image())), ("replicasets", set.clone())];
        ask(&facts(&[&pods[..], &[("deployments", deployment)]].concat(), &Tap::new()), &["deploy/web"])
    };
    let told = both(workload("web", json!({"replicas": 1}), status(json!([]))));
    let said = told.lines.join(" ");
    assert!(told.problem && said.contains("older pods that are left: 1"), "{told:?}");
    assert!(said.contains("The image ngnix cannot"), "{said}");
    let late = json!([{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
        "message": "ReplicaSet \"web-2\" has timed out progressing."}]);
    let told = both(workload("web", json!({"replicas": 1}), status(late))).lines.join(" ");
    assert!(told.contains("does not get on: ReplicaSet \"web-2\" has timed out"), "{told}");
    let good = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1,
        "conditions": [{"type": "Progressing", "status": "True", "message": "x"}]});
    assert!(!both(workload("web", json!({"replicas": 1}), good)).problem);
    // Scaled up while no controller works: pods are missing, and none is of an older template.
    let few = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1});
    let told = both(workload("web", json!({"replicas": 3}), few)).lines.join(" ");
    assert!(told.contains("newest template: 1 of 3; older pods that are left: 0"), "{told}");
}

/// One pod of a new template exists, two are missing: none of an earlier template is left.
#[test]
fn pods_that_do_not_exist_are_no_older_ones() {
    let told = |plural: &str, spec: Value, status: Value| {
        let seen = facts(&[(plural, workload("db", spec, status))], &Tap::new());
        ask(&seen, &["db"]).lines.join(" ")
    };
    let set = |exist: i64| {
        let status = json!({"observedGeneration": 1, "replicas": exist, "updatedReplicas": 1,
            "readyReplicas": 1, "currentRevision": "a", "updateRevision": "b"});
        told("statefulsets", json!({"replicas": 3}), status)
    };
    assert!(set(1).contains("newest template: 1 of 3; older pods that are left: 0"), "{}", set(1));
    assert!(set(3).contains("newest template: 1 of 3; older pods that are left: 2"), "{}", set(3));
    let daemons = |exist: i64| {
        let status = json!({"observedGeneration": 1, "desiredNumberScheduled": 3, "numberReady": 1,
            "currentNumberScheduled": exist, "updatedNumberScheduled": 1});
        told("daemonsets", json!({}), status)
    };
    assert!(daemons(1).contains("older pods that are left: 0"), "{}", daemons(1));
    assert!(daemons(3).contains("older pods that are left: 2"), "{}", daemons(3));
}

#[test]
fn a_set_that_cannot_make_pods_says_why() {
    let failure = json!({"conditions": [{"type": "ReplicaFailure", "status": "True",
        "message": "pods \"web-\" is forbidden: exceeded quota: small"}]});
    let mut set = workload("web-1", json!({"replicas": 2}), failure);
    set["metadata"]["ownerReferences"] = json!([{"uid": "web", "controller": true}]);
    set["status"]["observedGeneration"] = 1.into();
    let deployment = workload("web", json!({"replicas": 2}), json!({"observedGeneration": 1}));
    let seen = facts(&[("deployments", deployment), ("replicasets", set)], &Tap::new());
    for about in ["deploy/web", "rs/web-1"] {
        let told = ask(&seen, &[about]).lines.join(" ");
        assert!(
            told.contains("cannot be made or deleted") && told.contains("exceeded quota: small"),
            "{told}"
        );
    }
}

#[test]
fn a_stateful_set_waits_for_its_first_pod() {
    let spec = json!({"replicas": 3, "updateStrategy": {"type": "RollingUpdate"}});
    let set = || ("statefulsets", workload("db", spec.clone(), json!({"observedGeneration": 1})));
    let seen = facts(&[set(), ("pods", owned("db", "db-0", no_image()))], &Tap::new());
    let told = ask(&seen, &["sts/db"]);
    let said = told.lines.join(" ");
    assert!(told.problem && said.contains("Only 1 of 3") && said.contains("until db-0 is ready"), "{said}");
    // Without a pod only an Event tells.
    let refused = warning("db", "FailedCreate", "create Pod db-0 failed: forbidden");
    let said = ask(&facts(&[set(), ("events", refused)], &Tap::new()), &["db"]).lines.join(" ");
    assert!(said.contains("Only 0 of 3") && said.contains("FailedCreate: create Pod db-0 failed"), "{said}");
    // A partition keeps the other pods as they are.
    let spec = json!({"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}});
    let status = json!({"observedGeneration": 1, "readyReplicas": 3, "updatedReplicas": 1,
        "currentRevision": "a", "updateRevision": "b"});
    assert!(!ask(&facts(&[("statefulsets", workload("db", spec, status))], &Tap::new()), &["db"]).problem);
}

#[test]
fn a_job_says_how_it_ended_or_what_it_waits_for() {
    let job = |spec: Value, status: Value| ("jobs", workload("sum", spec, status));
    let ended = |kind: &str| {
        json!({"succeeded": 1, "conditions": [{"type": kind, "status": "True", "reason": "BackoffLimitExceeded",
            "message": "Job has reached the specified backoff limit"}]})
    };
    let told = ask(&facts(&[job(json!({}), ended("Failed"))], &Tap::new()), &["job/sum"]);
    assert!(told.problem && told.lines[0].contains("BackoffLimitExceeded: Job has reached"), "{told:?}");
    assert!(!ask(&facts(&[job(json!({}), ended("Complete"))], &Tap::new()), &["job/sum"]).problem);
    let mut ending = owned("sum", "sum-2", json!({"phase": "Running"}));
    ending["metadata"]["deletionTimestamp"] = "2026-11-25T01:00:00Z".into();
    let policy = [job(json!({}), ended("SuccessCriteriaMet")), ("pods", ending)];
    assert!(!ask(&facts(&policy, &Tap::new()), &["job/sum"]).problem, "a pod that is ended with it");
    let told = ask(&facts(&[job(json!({"suspend": true}), json!({}))], &Tap::new()), &["sum"]);
    assert!(told.problem && told.lines[0].contains("suspended"), "{told:?}");
    let told = ask(&facts(&[job(json!({"parallelism": 0}), json!({}))], &Tap::new()), &["sum"]);
    assert!(told.problem && told.lines[0].contains("parallelism is 0"), "{told:?}");
    let running = owned("sum", "sum-x", ready());
    let told = ask(&facts(&[job(json!({}), json!({"active": 1})), ("pods", running)], &Tap::new()), &["sum"]);
    assert!(!told.problem, "{told:?}");
    let sick = ("pods", owned("sum", "sum-x", no_image()));
    let told = ask(&facts(&[job(json!({}), json!({"failed": 2})), sick], &Tap::new()), &["sum"]);
    let said = told.lines.join(" ");
    assert!(
        told.problem && said.contains("failed so far: 2") && said.contains("image ngnix cannot"),
        "{said}"
    );
    let refused = warning("sum", "FailedCreate", "exceeded quota");
    let told = ask(&facts(&[job(json!({}), json!({})), ("events", refused)], &Tap::new()), &["sum"]);
    assert!(told.problem && told.lines.join(" ").contains("exceeded quota"), "{told:?}");
}

/// Its warnings are gone after an hour, its conditions are not.
#[test]
fn an_autoscaler_that_cannot_work_says_why() {
    let told = |status: &str| {
        let active = json!({"type": "ScalingActive", "status": status, "message": "missing request for cpu"});
        let limited = json!({"type": "ScalingLimited", "status": "False", "message": "within the range"});
        let scaler = workload("web", json!({}), json!({"conditions": [active, limited]}));
        ask(&facts(&[("horizontalpodautoscalers", scaler)], &Tap::new()), &["hpa/web"])
    };
    let asleep = told("False");
    assert!(asleep.problem && asleep.lines.join(" ").contains("missing request"), "{asleep:?}");
    let awake = told("True");
    assert!(!awake.problem && !awake.lines.join(" ").contains("request"), "{awake:?}");
}

#[test]
fn a_claim_without_a_volume_is_a_problem_whatever_its_class() {
    let class = |mode: &str| {
        (
            "storageclasses",
            json!({"metadata": {"name": "std"}, "provisioner": "p.io", "volumeBindingMode": mode}),
        )
    };
    let claim = |spec: Value| ("persistentvolumeclaims", workload("data", spec, json!({"phase": "Pending"})));
    let of_class = || claim(json!({"storageClassName": "std"}));
    for (objects, says) in [
        (vec![of_class(), class("Immediate")], "by the provisioner p.io"),
        (vec![of_class(), class("WaitForFirstConsumer")], "waits for the first pod"),
        (vec![of_class()], "no StorageClass std"),
        (vec![claim(json!({"storageClassName": ""}))], "storageClassName is empty"),
        (vec![claim(json!({}))], "none is the default"),
    ] {
        let told = ask(&facts(&objects, &Tap::new()), &["pvc/data"]);
        assert!(told.problem && told.lines.join(" ").contains(says), "{says}: {told:?}");
    }
    // Of two that one manifest has made the first by name is taken.
    let default = |name: &str, made: &str| {
        let notes = json!({"storageclass.kubernetes.io/is-default-class": "true"});
        let metadata = json!({"name": name, "creationTimestamp": made, "annotations": notes});
        ("storageclasses", json!({ "metadata": metadata }))
    };
    for (time_of_last, taken) in [("2026-11-25T01:00:00Z", "fast"), ("2026-11-25T01:00:01Z", "slow")] {
        let two = [default("fast", "2026-11-25T01:00:00Z"), default("slow", time_of_last)];
        let said = ask(&facts(&[&two[..], &[claim(json!({}))]].concat(), &Tap::new()), &["pvc/data"]);
        assert!(said.lines.join(" ").contains(&format!("the default one, {taken}.")), "{said:?}");
    }
    // A pod uses it, so that pod is what has to be looked at.
    let mut user = owned("x", "web-1", no_image());
    user["spec"]["volumes"] = json!([{"persistentVolumeClaim": {"claimName": "data"}}]);
    let seen = facts(&[of_class(), class("WaitForFirstConsumer"), ("pods", user)], &Tap::new());
    let said = ask(&seen, &["pvc/data"]).lines.join(" ");
    assert!(said.contains("image ngnix cannot") && !said.contains("waits for the first pod"), "{said}");
    // One that has ended will not use it any more.
    let mut ended = owned("x", "web-1", json!({"phase": "Succeeded"}));
    ended["spec"]["volumes"] = json!([{"persistentVolumeClaim": {"claimName": "data"}}]);
    let seen = facts(&[of_class(), class("WaitForFirstConsumer"), ("pods", ended)], &Tap::new());
    assert!(ask(&seen, &["pvc/data"]).lines.join(" ").contains("waits for the first pod"));
}

/// The scheduler has found a node since. A probe that fails is a reason of now.
#[test]
fn what_the_scheduler_warned_of_is_over_once_the_pod_has_a_node() {
    let told = |reason: &str| {
        let status = json!({"phase": "Running", "containerStatuses": [{"name": "c", "ready": false,
            "state": {"running": {}}}]});
        let warned = ("events", warning("u", reason, "Because."));
        ask(&facts(&[("pods", pod(json!({}), status)), warned], &Tap::new()), &["pod/web-1"]).lines.join(" ")
    };
    let said = told("Unhealthy");
    assert!(said.contains("not ready: c") && said.contains("Unhealthy: Because."), "{said}");
    let said = told("FailedScheduling");
    assert!(said.contains("not ready: c") && !said.contains("Because."), "{said}");
}

/// The scheduler has chosen a node and waits with the binding. Nothing binds the claim.
#[test]
fn a_pod_whose_claim_has_no_volume_names_what_it_waits_for() {
    let tap = Tap::new();
    tap.emit(Record::new(decision(vec![], Some("n1"))).object("pods", "default", "web-1"));
    let seen = |phase: &str| {
        let mut user = pod(json!({}), json!({"phase": "Pending"}));
        user["spec"]["nodeName"] = "".into();
        user["spec"]["volumes"] = json!([{"emptyDir": {}}, {"persistentVolumeClaim": {"claimName": "data"}}]);
        let claim = workload("data", json!({"storageClassName": "std"}), json!({"phase": phase}));
        let class = json!({"metadata": {"name": "std"}, "volumeBindingMode": "WaitForFirstConsumer"});
        let silent = json!({"metadata": {"name": "kube-controller-manager", "namespace": "kube-system"},
            "spec": {"renewTime": "2020-01-01T00:00:00.000000Z", "leaseDurationSeconds": 15}});
        let warned = ("events", warning("data", "ProvisioningFailed", "Because."));
        let storage = [("persistentvolumeclaims", claim), ("storageclasses", class), warned];
        facts(&[&storage[..], &[("pods", user), ("leases", silent)]].concat(), &tap)
    };
    for about in ["pod/web-1", "pvc/data"] {
        let told = ask(&seen("Pending"), &[about]);
        let said = told.lines.join(" ");
        assert!(told.problem && said.contains("chosen n1 and binds it there once the claim data"), "{said}");
        assert!(said.contains("Nobody does the work of kube-controller-manager"), "{said}");
        assert_eq!(said.matches("ProvisioningFailed").count(), 1, "{said}");
    }
    let bound = ask(&seen("Bound"), &["pod/web-1"]);
    assert!(!bound.problem && bound.lines[0].contains("about to bind"), "{bound:?}");
}

/// nginx ends with 0 when it is asked to. What it ended with says nothing of the cause then.
#[test]
fn a_container_that_the_kubelet_has_ended_did_not_end_by_itself() {
    let told = |killed: &str, again: &str| {
        let last = json!({"exitCode": 0, "reason": "Completed", "startedAt": "2026-11-25T01:00:00Z",
            "finishedAt": "2026-11-25T01:00:09Z"});
        let status = json!({"phase": "Running", "containerStatuses": [{"name": "c", "restartCount": 2,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": last}}]});
        let event = |name: &str, kind: &str, reason: &str, message: &str| {
            let mut event = warning("u", reason, message);
            event["metadata"]["name"] = name.into();
            event["type"] = kind.into();
            event["involvedObject"]["fieldPath"] = "spec.containers{c}".into();
            event["eventTime"] = killed.into();
            event["lastTimestamp"] = again.into();
            ("events", event)
        };
        let events = [
            event("a", "Normal", "Killing", "Container c failed liveness probe, will be restarted"),
            event("b", "Warning", "Unhealthy", "Liveness probe failed: connection refused"),
            event("c", "Warning", "Unhealthy", "Readiness probe failed: not yet"),
        ];
        let seen = facts(&[&events[..], &[("pods", pod(json!({}), status))]].concat(), &Tap::new());
        ask(&seen, &["pod/web-1"]).lines.join(" ")
    };
    let said = told("2026-11-25T01:00:09.500000Z", "");
    assert!(said.contains("kubelet ended it: Container c failed liveness probe"), "{said}");
    assert!(
        said.contains("Liveness probe failed: connection refused") && !said.contains("not yet"),
        "{said}"
    );
    assert!(!said.contains("ended by itself"), "{said}");
    // The run after it was ended, too.
    assert!(told("2026-11-25T01:00:09Z", "2026-11-25T01:02:00Z").contains("kubelet ended it"));
    // That was the run before it, or the one after it alone.
    for other in ["2026-11-25T00:59:59Z", "2026-11-25T01:00:10Z"] {
        let said = told(other, "");
        assert!(said.contains("ended by itself") && !said.contains("liveness"), "{said}");
    }
}
