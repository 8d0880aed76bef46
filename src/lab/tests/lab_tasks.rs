//! Tasks of labs: none is met by what is not asked for, and none refuses what is.

use super::built_in::BuiltIn;
use super::*;
use crate::cel::facts::Probe;
use crate::cel::{Expr, Use};
use crate::graded::read::Labs;

/// A controller that heard late that a grading was taken back has made one more pod with the
/// finalizer of the grading.
#[test]
fn slow_death_counts_no_pod_of_an_earlier_grading() {
    let labs = Labs::built_in();
    let lab = labs.get("slow-death").unwrap();
    let source = &lab.tasks.iter().find(|t| t.id == "ends").unwrap().checks[0].1.source;
    let from = "(size(get(object(\"Deployment\", v.ns, v.app), \"spec.template.metadata.finalizers\"";
    let deleted = Expr::compile(&source[source.find(from).unwrap()..], Use::Check, &[]).unwrap();
    // Whole seconds of one minute in which the pods were made and ended.
    let is_met = |further: &[(u64, u64)], first_ended: u64| {
        let lab = BuiltIn::seed("slow-death", 7);
        let v = &lab.values;
        let time = |second: u64| format!("2026-01-01T10:00:{second:02}Z");
        let object = |kind: &str, name: &Json, made: u64| {
            let metadata = json!({"namespace": v["ns"], "name": name, "creationTimestamp": time(made)});
            json!({"kind": kind, "metadata": metadata})
        };
        let count = v["count"].as_u64().unwrap();
        let mut times = further.to_vec();
        times.extend((0..count).flat_map(|_| [(12, first_ended), (21, 50)]));
        let pod = |(at, (made, ended)): (usize, (u64, u64))| {
            let mut pod = object("Pod", &format!("p{at}").into(), made);
            pod["metadata"]["deletionTimestamp"] = time(ended).into();
            pod["metadata"]["finalizers"] = json!(["ropewalk.io/judge"]);
            let state = json!({"terminated": {"exitCode": 0, "finishedAt": time(ended)}});
            pod["status"] = json!({"containerStatuses": [{"state": state}]});
            pod
        };
        let mut all: Vec<Json> = times.into_iter().enumerate().map(pod).collect();
        let mut app = object("Deployment", &v["app"], 0);
        app["spec"] = json!({"template": {"metadata": {"finalizers": ["ropewalk.io/judge"]}}});
        let map = |name: &str, made: u64| object("ConfigMap", &name.into(), made);
        all.extend([app, map("rounds", 10), map("moment", 20)]);
        lab.now(all).holds(&deleted)
    };
    assert!(is_met(&[], 22) && is_met(&[(5, 6)], 22), "one of an earlier grading");
    assert!(!is_met(&[(11, 15)], 22), "one more of this grading");
    assert!(!is_met(&[], 40), "its pods end late");
}

#[test]
fn a_report_may_end_with_a_newline() {
    let reported = |after: &str| {
        let lab = BuiltIn::seed("broken-selector", 7);
        let v = &lab.values;
        let cause = format!("{}{after}", v["bad"].as_str().unwrap());
        let metadata = json!({"namespace": v["ns"], "name": "report"});
        let report = json!({"kind": "ConfigMap", "metadata": metadata, "data": {"cause": cause}});
        lab.now(vec![report]).meets("report")
    };
    assert_eq!(["", "\n", "\r\n", "-x", "\nx"].map(reported), [true, true, true, false, false]);
}

#[test]
fn a_controller_of_other_pods_is_not_counted() {
    // Of controllers: a name, and how many replicas it wants. The pods are owned by the one that is
    // named.
    let counted = |controllers: &[(&str, i64)], owners: [&str; 2]| {
        let lab = BuiltIn::seed("orphans", 7);
        let v = &lab.values;
        let count = v["count"].as_u64().unwrap() as usize;
        let set = |(name, more): &(&str, i64)| {
            json!({"kind": "ReplicaSet", "metadata": {"namespace": v["ns"], "name": name, "uid": name},
                "spec": {"replicas": count as i64 + more}})
        };
        let pod = |at: usize| {
            let owner = owners[usize::from(at > 0)];
            json!({"kind": "Pod", "metadata": {"namespace": v["ns"], "name": at.to_string(), "labels": {"app": v["app"]},
                "ownerReferences": [{"uid": owner}]}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
        };
        let all = controllers.iter().map(set).chain((0..count).map(pod)).collect();
        lab.now(all).meets("number")
    };
    assert!(counted(&[("own", 0)], ["own", "own"]));
    assert!(counted(&[("own", 0), ("other", 3)], ["own", "own"]));
    assert!(!counted(&[("own", 1)], ["own", "own"]));
    assert!(!counted(&[("own", 0), ("other", 0)], ["own", "other"]));
    assert!(!counted(&[], ["own", "own"]));
}

/// A pod that waits for a scheduler that does not exist can be bound by hand.
#[test]
fn nothing_fits_wants_the_clusters_own_scheduler() {
    let is_met = |scheduler: &str| {
        let lab = BuiltIn::seed("nothing-fits", 7).with("ns", "default").watch(&["ReplicaSet"]);
        let name = lab.values["app"].as_str().unwrap();
        let node = |name: &str| {
            let labels = json!({"kubernetes.io/hostname": name});
            json!({"kind": "Node", "metadata": {"name": name, "labels": labels}})
        };
        let mut app = deployment(name, "d");
        let selector = json!({"kubernetes.io/hostname": "ropewalk-worker2"});
        app["spec"]["template"]["spec"] = json!({"schedulerName": scheduler, "nodeSelector": selector});
        let mut placed = pod("p", "p", Some("r"), json!({"app": name}), "");
        placed["spec"]["nodeName"] = "ropewalk-worker2".into();
        let mut all = vec![app, set("r", "r", Some("d"), name, 1), placed];
        all.extend(["ropewalk-worker", "ropewalk-worker2"].map(node));
        lab.now(all).meets("place")
    };
    assert!(is_met("default-scheduler") && !is_met("none"));
}

/// The cluster was restarted since the pod got its node, so the writer of that version is unknown.
/// A learner who bound the pod by hand and restarted the cluster earned the task.
#[test]
fn a_pod_of_scheduler_down_that_somebody_bound_needs_a_scheduler_that_may() {
    let is_bound = |user: &str, may: bool| {
        let values = json!({"ns": "default", "app": "ferries", "want": 3});
        let mut lab = BuiltIn::given("scheduler-down", &values).begun();
        let mut all = vec![deployment("ferries", "d"), set("ferries-1", "r", Some("d"), "ferries", 3)];
        for name in ["a", "b", "c"] {
            let mut bound = pod(name, name, Some("r"), json!({"app": "ferries"}), "10.244.1.3");
            bound["spec"]["schedulerName"] = "default-scheduler".into();
            let mut waits = bound.clone();
            waits["spec"] = json!({});
            let added = snapshot::version(&waits, BEGAN - 1, "ADDED");
            let modified = snapshot::version(&bound, BEGAN + 1, "MODIFIED").by(user);
            lab = lab.versions(&bound, vec![added, modified]);
            all.push(bound);
        }
        let words = ["system:kube-scheduler", "create", "pods/binding", "default"].map(String::from);
        let [user, verb, resource, namespace] = words;
        let may_bind = Probe::Can { user, verb, resource, namespace };
        lab.now(all).answer(may_bind, Value::Bool(may)).meets("bound")
    };
    assert!(is_bound("system:kube-scheduler", false) && is_bound("", true));
    assert!(!is_bound("learner", true) && !is_bound("", false));
}
