use super::*;
use crate::revisions::HASH;
use serde_json::json;

fn node(name: &str, taint: Option<&str>) -> Arc<Node> {
    let taints: Vec<_> = taint.iter().map(|t| json!({"key": t, "effect": "NoSchedule"})).collect();
    Arc::new(
        serde_json::from_value(
            json!({"metadata": {"name": name, "labels": {"os": "linux"}}, "spec": {"taints": taints}}),
        )
        .unwrap(),
    )
}

fn pod(name: &str, node: &str, hash: &str, ready: bool) -> Arc<Pod> {
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {HASH: hash}}, "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        }))
        .unwrap(),
    )
}

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().unwrap()
}

fn set(selector: serde_json::Value) -> DaemonSet {
    serde_json::from_value(json!({"metadata": {"name": "d"}, "spec": {"selector": {}, "template": {"spec": {"containers": [], "nodeSelector": selector}}}})).unwrap()
}

#[test]
fn every_fitting_node_gets_one_and_only_one() {
    let nodes = [
        node("a", None),
        node("b", None),
        node("cp", Some("control-plane")),
        node("c", Some("node.kubernetes.io/unschedulable")),
    ];
    let pods = [pod("p1", "a", "h", true), pod("p2", "a", "h", true)];
    let plan = decide(&set(json!({})), &nodes, &pods, "h", now());
    assert_eq!(plan.create, ["b", "c"]);
    assert_eq!(plan.delete, ["p2"]);
    assert!(decide(&set(json!({"os": "windows"})), &nodes, &[], "h", now()).create.is_empty());
}

#[test]
fn a_pod_on_the_nodes_network_comes_before_the_network_of_pods() {
    let nodes = [node("a", Some(NO_NETWORK.0))];
    let mut set = set(json!({}));
    assert!(decide(&set, &nodes, &[], "h", now()).create.is_empty());
    set.spec.as_mut().unwrap().template.spec.as_mut().unwrap().host_network = Some(true);
    assert_eq!(decide(&set, &nodes, &[], "h", now()).create, ["a"]);
}

/// A pod for each node, all bound to one of them, would be rejected there again and again.
#[test]
fn a_template_that_names_its_node_runs_there_only() {
    let nodes = [node("a", None), node("b", None)];
    let mut set = set(json!({}));
    set.spec.as_mut().unwrap().template.spec.as_mut().unwrap().node_name = Some("b".into());
    assert_eq!(decide(&set, &nodes, &[], "h", now()).create, ["b"]);
    let there = [pod("p1", "a", "h", true), pod("p2", "b", "h", true)];
    assert_eq!(decide(&set, &nodes, &there, "h", now()).delete, ["p1"]);
    assert_eq!(status(&set, &nodes, &there, "h", now()).desired_number_scheduled, 1);
}

/// Returns a pod that is not bound yet, of a node that its affinity names.
fn waiting(name: &str, node: &str) -> Arc<Pod> {
    let mut waiting = (*pod(name, "", "h", false)).clone();
    let there = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]}}});
    waiting.spec.as_mut().unwrap().affinity = serde_json::from_value(there).unwrap();
    Arc::new(waiting)
}

/// A kubelet whose Node was deleted registers a new one, and its pods run on.
#[test]
fn of_the_pods_of_a_missing_node_only_those_that_are_not_bound_go() {
    let all = [pod("p1", "gone", "h", true), waiting("p2", "gone"), pod("p3", "a", "h", true)];
    let plan = decide(&set(json!({})), &[node("a", None)], &all, "h", now());
    assert_eq!((plan.create.len(), plan.delete.as_slice()), (0, &["p2".to_string()][..]));
    let back = [node("a", None), node("gone", None)];
    assert_eq!(
        decide(&set(json!({})), &back, &[all[0].clone(), all[2].clone()], "h", now()),
        Plan::default()
    );
}

/// A user has made it, with the labels of the set.
#[test]
fn an_adopted_pod_without_a_node_is_left_to_the_scheduler() {
    let nodes = [node("a", None), node("b", Some("x"))];
    let with = |bare: &str| [pod("p1", "a", "h", true), pod("p2", bare, "h", false)];
    assert_eq!(decide(&set(json!({})), &nodes, &with(""), "h", now()), Plan::default());
    assert_eq!(decide(&set(json!({})), &nodes, &with("b"), "h", now()), Plan::default(), "it may stay");
    assert_eq!(decide(&set(json!({})), &nodes, &with("a"), "h", now()).delete, ["p2"], "one too many");
}

#[test]
fn a_pod_that_is_bound_stays_and_one_that_still_runs_counts() {
    let nodes = [node("a", None)];
    let mut running = (*pod("p2", "a", "h", true)).clone();
    let both = [waiting("p1", "a"), Arc::new(running.clone())];
    assert_eq!(decide(&set(json!({})), &nodes, &both, "h", now()).delete, ["p1"]);
    running.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    let fresh = status(&set(json!({})), &nodes, &[Arc::new(running.clone())], "h", now());
    assert_eq!((fresh.current_number_scheduled, fresh.number_ready), (1, 1), "it is on its way, and runs");
    running.status.as_mut().unwrap().phase = Some("Failed".into());
    assert_eq!(status(&set(json!({})), &nodes, &[Arc::new(running)], "h", now()).current_number_scheduled, 0);
}

#[test]
fn an_update_replaces_one_at_a_time() {
    let nodes = [node("a", None), node("b", None)];
    let pods = [pod("p1", "a", "old", true), pod("p2", "b", "old", true)];
    assert_eq!(decide(&set(json!({})), &nodes, &pods, "new", now()).delete, ["p1"]);
    let half = [pod("p1", "a", "new", false), pod("p2", "b", "old", true)];
    assert!(decide(&set(json!({})), &nodes, &half, "new", now()).delete.is_empty());
    let s = status(&set(json!({})), &nodes, &half, "new", clock::now());
    assert_eq!((s.desired_number_scheduled, s.number_ready, s.updated_number_scheduled), (2, 1, Some(1)));
}

/// Makes a set with `maxSurge`, `maxUnavailable` and `minReadySeconds`.
fn rolling(surge: serde_json::Value, unavailable: serde_json::Value, ready: i32) -> DaemonSet {
    let mut set = set(json!({}));
    let spec = set.spec.as_mut().unwrap();
    let update =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
    spec.update_strategy = serde_json::from_value(update).unwrap();
    spec.min_ready_seconds = Some(ready);
    set
}

/// `+node` makes, `-pod` deletes.
fn steps(set: &DaemonSet, all: &[Arc<Pod>]) -> String {
    let nodes = [node("a", None), node("b", None), node("c", None)];
    let plan = decide(set, &nodes, all, "new", now());
    let made = plan.create.iter().map(|n| format!("+{n}"));
    made.chain(plan.delete.iter().map(|n| format!("-{n}"))).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_surge_makes_the_new_pod_before_the_old_one_goes() {
    let one = rolling(json!(1), json!(0), 0);
    let old = |name: &str, node: &str| pod(name, node, "old", true);
    let all = [old("p1", "a"), old("p2", "b"), old("p3", "c")];
    assert_eq!(steps(&one, &all), "+a");
    assert_eq!(steps(&rolling(json!("50%"), json!(0), 0), &all), "+a +b");
    let starting = [all.to_vec(), vec![pod("n1", "a", "new", false)]].concat();
    assert_eq!(steps(&one, &starting), "", "it waits for the new pod, and takes nothing away");
    let ready = [all.to_vec(), vec![pod("n1", "a", "new", true)]].concat();
    assert_eq!(steps(&one, &ready), "-p1");
    let ill = [pod("p1", "a", "old", false), old("p2", "b"), old("p3", "c")];
    assert_eq!(steps(&one, &ill), "+a +b", "beside one that is ill a new one costs nothing");
    let done = ["a", "b", "c"].map(|n| pod(&format!("n{n}"), n, "new", true));
    assert_eq!(steps(&one, &done), "");
}

/// As after `kubectl delete pod` of a program that does not end on TERM.
#[test]
fn with_a_surge_the_next_pod_does_not_wait_until_the_last_one_is_gone() {
    let mut going = (*pod("p1", "a", "new", true)).clone();
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    let all = [Arc::new(going), pod("p2", "b", "new", true), pod("p3", "c", "new", true)];
    assert_eq!(steps(&rolling(json!(1), json!(0), 0), &all), "+a");
    assert_eq!(steps(&rolling(json!(0), json!(1), 0), &all), "");
}

/// A pod that no node takes would use up the surge for ever.
#[test]
fn a_surge_leaves_nodes_out_that_should_not_run_a_pod() {
    let nodes = [node("a", Some("x")), node("b", None), node("c", None)];
    let steps = |ready: [bool; 3]| {
        let old = |i: usize| pod(&format!("p{i}"), ["a", "b", "c"][i], "old", ready[i]);
        let plan = decide(&rolling(json!(1), json!(0), 0), &nodes, &[0, 1, 2].map(old), "new", now());
        (plan.create.join(" "), plan.delete.join(" "))
    };
    let of = |create: &str, delete: &str| (create.to_string(), delete.to_string());
    assert_eq!(steps([true, true, true]), of("b", "p0"), "two others are available");
    assert_eq!(steps([true, false, true]), of("b c", ""), "it is needed until the one on b is replaced");
    assert_eq!(steps([false, true, true]), of("b", "p0"));
}

#[test]
fn an_old_pod_that_is_ill_counts_as_missing() {
    let all = [pod("p1", "a", "old", false), pod("p2", "b", "old", true), pod("p3", "c", "old", true)];
    assert_eq!(steps(&rolling(json!(0), json!(1), 0), &all), "-p1");
    assert_eq!(steps(&rolling(json!(0), json!(2), 0), &all), "-p1 -p2");
}

#[test]
fn a_pod_that_is_ready_too_briefly_does_not_count() {
    let mut young = (*pod("n1", "a", "new", true)).clone();
    let at = "2026-01-01T00:09:55Z".parse().unwrap();
    let conditions = young.status.as_mut().unwrap().conditions.as_mut().unwrap();
    conditions[0].last_transition_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
    let all = [Arc::new(young), pod("p2", "b", "old", true), pod("p3", "c", "old", true)];
    assert_eq!(steps(&rolling(json!(0), json!(1), 0), &all), "-p2");
    assert_eq!(steps(&rolling(json!(0), json!(1), 10), &all), "");
}

#[test]
fn an_ended_pod_is_deleted_before_the_next_is_made() {
    let mut failed = (*pod("p1", "a", "new", false)).clone();
    failed.status.as_mut().unwrap().phase = Some("Failed".into());
    let nodes = [node("a", None)];
    let plan = decide(&set(json!({})), &nodes, &[Arc::new(failed.clone())], "new", now());
    assert_eq!((plan.ended.len(), plan.create.len(), plan.ended[0].0.as_str()), (1, 0, "a"));
    let all = [Arc::new(failed.clone()), pod("p2", "b", "old", true), pod("p3", "c", "old", true)];
    assert_eq!(steps(&rolling(json!(0), json!(2), 0), &all), "-p2", "the update goes on beside its pause");
    let old = decide(&set(json!({})), &nodes, &[Arc::new(failed.clone())], "newer", now());
    assert_eq!((old.delete.as_slice(), old.ended.len()), (&["p1".to_string()][..], 0));
    failed.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    let plan = decide(&set(json!({})), &nodes, &[Arc::new(failed)], "new", now());
    assert_eq!(plan.create, ["a"], "it runs no more: nobody waits for it");
}
