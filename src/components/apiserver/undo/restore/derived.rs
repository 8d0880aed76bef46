//! Objects that changed since because others did: a way back leaves them to their controllers.

use super::objects::{MANAGERS, keep_managers, namespace_of};
use super::{Move, Pair, parsed, resource};
use api::meta;
use api::value::{self, list, text};
use bytes::Bytes;
use etcd::api::KeyValue;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tap::Component;

/// Workloads. Their status counts what there is.
const WORKLOADS: [&str; 5] =
    ["daemonsets", "deployments", "replicasets", "replicationcontrollers", "statefulsets"];
/// Kinds whose status alone follows from other objects, and that nothing else follows from: what an
/// autoscaler has measured, how many evictions a budget allows, what a quota has counted.
const COUNTERS: [&str; 3] = ["horizontalpodautoscalers", "poddisruptionbudgets", QUOTAS];
const QUOTAS: &str = "resourcequotas";

/// Leaves out the moves of derived objects in each namespace where nothing goes back that they
/// follow from: a pod, a Service or a workload. A quota may count any kind, so it goes back with
/// any object of its namespace.
///
/// Example: a Deployment's pods became ready since, and the undo concerns a ConfigMap. Deployment,
/// ReplicaSet, EndpointSlice and Endpoints count ready pods, and stay as they are. If a pod of that
/// namespace goes back, too, they go back with it.
pub(super) fn without_derived(mut moves: Vec<Move>, pairs: &BTreeMap<&Bytes, Pair>) -> Vec<Move> {
    let is_move_derived =
        |m: &&Move| matches!(pairs.get(&m.key), Some((Some(then), Some(now))) if is_derived(then, now));
    let derived: BTreeSet<Bytes> = moves.iter().filter(is_move_derived).map(|m| m.key.clone()).collect();
    let is_source = |key: &Bytes| {
        let resource = resource(key);
        !derived.contains(key) && (WORKLOADS.contains(&resource) || matches!(resource, "pods" | "services"))
    };
    let sources = moves.iter().filter(|m| is_source(&m.key));
    let moved: BTreeSet<String> = sources.map(|m| namespace_of(&m.key).to_string()).collect();
    let others = moves.iter().filter(|m| !derived.contains(&m.key));
    let changed: BTreeSet<String> = others.map(|m| namespace_of(&m.key).to_string()).collect();
    moves.retain(|m| {
        let namespaces = if resource(&m.key) == QUOTAS { &changed } else { &moved };
        !derived.contains(&m.key) || namespaces.contains(namespace_of(&m.key))
    });
    moves
}

/// Returns whether all that changed of an object follows from others, and its controller wrote it:
/// the status of a workload or of a counter, or the endpoints of a Service. Anything else of such
/// an object, e.g. an annotation that a person removed, goes back: a removal leaves no field
/// manager behind.
fn is_derived(then: &KeyValue, now: &KeyValue) -> bool {
    let (Some(past), Some(present)) = (parsed(then), parsed(now)) else { return false };
    let is_same = meta::uid(&past) == meta::uid(&present) && !meta::is_terminating(&present);
    if !is_same || !controllers_wrote(&past, &present) {
        return false;
    }
    let resource = resource(&then.key);
    let mut back = past;
    if WORKLOADS.contains(&resource) || COUNTERS.contains(&resource) {
        value::copy(&present, &mut back, "status");
        keep_managers(&present, &mut back);
        return back == present;
    }
    let (label, manager, fields): (&str, &str, &[&str]) = match resource {
        "endpointslices" => (
            "endpointslice.kubernetes.io/managed-by",
            "endpointslice-controller.k8s.io",
            &["endpoints", "ports", "metadata.generation", MANAGERS],
        ),
        "endpoints" => ("endpoints.kubernetes.io/managed-by", "endpoint-controller", &["subsets", MANAGERS]),
        _ => return false,
    };
    fields.iter().for_each(|field| value::copy(&present, &mut back, field));
    back == present && meta::label(&present, label) == Some(manager)
}

/// Returns whether each field manager that wrote since is a controller. A person's write of a
/// status goes back, also that of a client without a name.
fn controllers_wrote(then: &Value, now: &Value) -> bool {
    let known = list(then, MANAGERS);
    let since: Vec<&Value> = list(now, MANAGERS).iter().filter(|entry| !known.contains(entry)).collect();
    let is_controller =
        |entry: &&Value| text(entry, "manager").parse::<Component>().is_ok_and(Component::is_controller);
    !since.is_empty() && since.iter().all(is_controller)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{kv, planned};
    use super::*;
    use serde_json::json;

    /// An object of the namespace `d`, as a controller, or `kubectl`, wrote it at a time.
    fn object(manager: &str, subresource: &str, time: &str, rest: Value) -> Value {
        let labels = json!({
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            "endpoints.kubernetes.io/managed-by": "endpoint-controller",
        });
        let entry = json!({"manager": manager, "subresource": subresource, "time": time});
        let mut made = json!({"metadata": {"uid": "u1", "labels": labels, "managedFields": [entry]}});
        made.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        made
    }

    const CONTROLLERS: &str = "kube-controller-manager";

    fn keys(then: &[KeyValue], now: &[KeyValue]) -> Vec<String> {
        planned(then, now).into_keys().collect()
    }

    /// `kubectl create configmap`, and its undo a minute later.
    #[test]
    fn what_follows_from_other_objects_is_not_written_by_an_undo_that_moves_none_of_them() {
        let deployment = |time: &str, replicas: i64, ready: i64| {
            let rest = json!({"spec": {"replicas": replicas}, "status": {"readyReplicas": ready}});
            object(CONTROLLERS, "status", time, rest)
        };
        let slice = |time: &str, ready: bool| {
            let mut made = object(CONTROLLERS, "", time, json!({"endpoints": [ready]}));
            value::put(&mut made, "metadata.generation", if ready { 2 } else { 1 });
            made
        };
        let old = |time: &str, ready: bool| object(CONTROLLERS, "", time, json!({"subsets": [ready]}));
        let then = [
            kv("deployments/d/web", 5, deployment("1", 2, 1)),
            kv("endpoints/d/web", 5, old("1", false)),
            kv("endpointslices/d/web-1", 5, slice("1", false)),
        ];
        let mut now = vec![
            kv("configmaps/d/new", 9, json!({})),
            kv("deployments/d/web", 9, deployment("2", 2, 2)),
            kv("endpoints/d/web", 9, old("2", true)),
            kv("endpointslices/d/web-1", 9, slice("2", true)),
        ];
        assert_eq!(keys(&then, &now), ["configmaps/d/new"]);
        now.push(kv("pods/e/new", 9, json!({})));
        assert_eq!(keys(&then, &now), ["configmaps/d/new", "pods/e/new"], "another namespace");
        now.push(kv("pods/d/new", 9, json!({})));
        let all = ["configmaps/d/new", "deployments/d/web", "endpoints/d/web", "endpointslices/d/web-1"];
        assert_eq!(keys(&then, &now), [&all[..], &["pods/d/new", "pods/e/new"]].concat());
        let scaled = [kv("deployments/d/web", 9, deployment("2", 3, 2))];
        assert_eq!(keys(&then[..1], &scaled), ["deployments/d/web"], "more than its status");
    }

    /// A pod ended since: its budget and its autoscaler see one pod less, and its quota was given
    /// back what the pod used. The pod's status stays, and so does what was counted.
    #[test]
    fn what_was_counted_stays_unless_something_goes_back_that_counts() {
        let status = |time: &str| object(CONTROLLERS, "status", time, json!({"status": {"n": time}}));
        let [autoscaler, budget, quota] =
            ["horizontalpodautoscalers/d/web", "poddisruptionbudgets/d/web", "resourcequotas/d/web"];
        let of =
            |revision, time: &str| [autoscaler, budget, quota].map(|key| kv(key, revision, status(time)));
        let then = of(5, "1");
        for (made, back) in [
            ("configmaps/e/new", vec![]),
            ("namespaces/e", vec![]),
            ("configmaps/d/new", vec![quota]),
            ("pods/d/new", vec![autoscaler, budget, quota]),
        ] {
            let now = [&of(9, "2")[..], &[kv(made, 9, json!({}))]].concat();
            let mut want = [&back[..], &[made]].concat();
            want.sort_unstable();
            assert_eq!(keys(&then, &now), want);
        }
        let mut limited = status("2");
        value::put(&mut limited, "spec", json!({"hard": {"pods": "1"}}));
        assert_eq!(keys(&then[2..], &[kv(quota, 9, limited)]), [quota], "more than its status");
    }

    /// Two counts of one second have the same entry; the controller has to see that the first one
    /// is back.
    #[test]
    fn a_quota_that_goes_back_has_no_time_of_its_count() {
        let counted =
            |pods: &str| object(CONTROLLERS, "status", "1", json!({"status": {"used": {"pods": pods}}}));
        let key = "resourcequotas/d/web";
        let then = [kv(key, 5, counted("3"))];
        let moves = planned(&then, &[kv("configmaps/d/new", 9, json!({})), kv(key, 9, counted("2"))]);
        let back = moves[key].clone().unwrap();
        assert_eq!((text(&back, "status.used.pods"), list(&back, MANAGERS).len()), ("3", 0));
        let moves = planned(&then, &[kv(key, 9, back)]);
        assert!(moves.is_empty(), "it is back: {moves:?}");
    }

    #[test]
    fn what_a_person_wrote_goes_back() {
        let status =
            |manager: &str, time: &str| object(manager, "status", time, json!({"status": {"n": time}}));
        let then = status(CONTROLLERS, "1");
        for (key, now, is_written) in [
            ("deployments/d/web", status(CONTROLLERS, "2"), false),
            ("deployments/d/web", status("kubectl-patch", "2"), true),
            ("deployments/d/web", status("", "2"), true),
            ("resourcequotas/d/web", status("kubectl-patch", "2"), true),
            ("jobs/d/web", status(CONTROLLERS, "2"), true),
            ("example.com/deployments/d/web", status(CONTROLLERS, "2"), true),
        ] {
            let moves = keys(&[kv(key, 5, then.clone())], &[kv(key, 9, now.clone())]);
            assert_eq!(!moves.is_empty(), is_written, "{key} {now}");
        }
    }

    /// A person's removal of an annotation leaves no entry of theirs, only that of the controller,
    /// which wrote since.
    #[test]
    fn what_a_person_wrote_to_endpoints_goes_back() {
        for (key, field) in [("endpoints/d/web", "subsets"), ("endpointslices/d/web-1", "endpoints")] {
            let endpoints = |manager: &str, time: &str| object(manager, "", time, json!({(field): [time]}));
            let is_written =
                |then: Value, now: Value| !keys(&[kv(key, 5, then)], &[kv(key, 9, now)]).is_empty();
            let (then, now) = (endpoints(CONTROLLERS, "1"), endpoints(CONTROLLERS, "2"));
            assert!(!is_written(then.clone(), now.clone()), "{key}");
            assert!(is_written(then.clone(), endpoints("kubectl-edit", "2")), "{key}");
            let mut noted = then.clone();
            value::put(&mut noted, "metadata.annotations", json!({"team": "a"}));
            assert!(is_written(noted, now.clone()), "{key}: an annotation was removed");
            let (mut by_hand, mut by_hand_now) = (then, now);
            value::remove(&mut by_hand, "metadata.labels");
            value::remove(&mut by_hand_now, "metadata.labels");
            assert!(is_written(by_hand, by_hand_now), "{key}: no controller's");
        }
    }
}
