use super::*;
use serde_json::{Value, json};

pub(crate) const NOW: &str = "2026-01-01T00:10:00Z";
const REVISION: Revisions = Revisions { current: "old", update: "new" };

pub(crate) fn set(spec: Value) -> StatefulSet {
    let mut whole = json!({"replicas": 3, "serviceName": "s", "selector": {}, "template": {},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}});
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(json!({"metadata": {"name": "web", "generation": 2}, "spec": whole})).unwrap()
}

/// `0 new`, `1 old unready`, `2 new going`, `3 new failed`, `4 new young`
pub(crate) fn pods(all: &[&str]) -> Vec<Arc<Pod>> {
    let pod = |text: &&str| {
        let mut words = text.split(' ');
        let (ordinal, revision) = (words.next().unwrap(), words.next().unwrap());
        let state = words.next().unwrap_or_default();
        let ready = if matches!(state, "unready" | "failed" | "pending") { "False" } else { "True" };
        let phase = match state {
            "failed" => "Failed",
            "pending" => "Pending",
            _ => "Running",
        };
        let since = if state == "young" { "2026-01-01T00:09:55Z" } else { "2026-01-01T00:00:00Z" };
        let mut pod = json!({
            "metadata": {"name": format!("web-{ordinal}"),
                "labels": {"controller-revision-hash": revision, "statefulset.kubernetes.io/pod-name": format!("web-{ordinal}")}},
            "spec": {"containers": []},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}]}});
        if state == "going" {
            pod["metadata"]["deletionTimestamp"] = NOW.into();
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    };
    all.iter().map(pod).collect()
}

/// `+0 new` makes, `-web-0` deletes.
fn steps(spec: Value, all: &[&str]) -> String {
    let plan = decide(&set(spec), &pods(all), REVISION, NOW.parse().unwrap());
    let made = plan.create.iter().map(|(n, new)| format!("+{n} {}", if *new { "new" } else { "old" }));
    let ended = plan.ended.iter().map(|n| format!("-web-{n}"));
    made.chain(ended).chain(plan.delete.iter().map(|n| format!("-{n}"))).collect::<Vec<_>>().join(", ")
}

#[test]
fn ordinals_end_where_numbers_end() {
    let last = json!({"replicas": 3, "ordinals": {"start": i32::MAX - 1}, "updateStrategy": {"rollingUpdate": {"partition": 9}}});
    assert_eq!(steps(last, &[]), "+2147483646 old");
}

#[test]
fn two_thousand_million_replicas_cost_no_more_than_the_pods_there_are() {
    let all = json!({"replicas": i32::MAX, "podManagementPolicy": "Parallel"});
    let now = NOW.parse().unwrap();
    let plan = decide(&set(all.clone()), &pods(&["1 new", "2000000000 old"]), REVISION, now);
    assert_eq!((plan.create.len(), plan.create[0].0, plan.create[1].0), (BURST, 0, 2));
    assert!(plan.delete.is_empty(), "too many are missing already");
    assert_eq!(decide(&set(all), &[], REVISION, now).create.len(), BURST);
}

/// As upstream, whose `processCondemned` lets an ill pod go only if it is the first ill one.
#[test]
fn in_order_the_higher_of_two_ended_pods_waits_for_the_lower_one() {
    let all = ["0 new", "1 new failed", "2 new failed"];
    assert_eq!(steps(json!({"replicas": 1}), &all), "");
    assert_eq!(steps(json!({"replicas": 1}), &["0 new", "1 new", "2 new failed"]), "-web-2");
    let at_once = json!({"replicas": 1, "podManagementPolicy": "Parallel"});
    assert_eq!(steps(at_once, &all), "-web-2, -web-1");
}

#[test]
fn one_after_the_other_unless_all_at_once() {
    assert_eq!(steps(json!({}), &[]), "+0 new");
    assert_eq!(steps(json!({}), &["0 new unready"]), "");
    assert_eq!(steps(json!({}), &["0 new"]), "+1 new");
    assert_eq!(steps(json!({"minReadySeconds": 10}), &["0 new young"]), "");
    assert_eq!(steps(json!({}), &["0 new", "1 new going"]), "");
    assert_eq!(steps(json!({}), &["0 new failed", "1 new"]), "-web-0");
    assert_eq!(steps(json!({"podManagementPolicy": "Parallel"}), &["1 new unready"]), "+0 new, +2 new");
    assert_eq!(steps(json!({"ordinals": {"start": 5}}), &["5 new"]), "+6 new");
}

/// Pods that the set has adopted from an earlier set of its name.
#[test]
fn pods_without_the_sets_identity_or_claims_are_repaired() {
    let claims = json!([{"metadata": {"name": "data"}, "spec": {}}]);
    let repairs = |spec: Value, pods: &[Arc<Pod>]| {
        let plan = decide(&set(spec), pods, REVISION, NOW.parse().unwrap());
        (plan.repair, plan.create.iter().map(|(n, _)| *n).collect::<Vec<_>>())
    };
    let all = |state: &str| pods(&["0 new", &format!("1 new {state}")]);
    assert_eq!(repairs(json!({}), &all("")), (vec![], vec![2]));
    let with_claims = json!({"volumeClaimTemplates": claims});
    assert_eq!(repairs(with_claims.clone(), &all("")), (vec![0, 1], vec![2]));
    assert_eq!(
        repairs(with_claims, &all("unready")),
        (vec![0], vec![]),
        "in order, each when it is available"
    );
    let at_once = json!({"volumeClaimTemplates": claims, "podManagementPolicy": "Parallel"});
    assert_eq!(repairs(at_once, &all("unready")), (vec![0, 1], vec![2]));
    let mut nameless = all("");
    Arc::make_mut(&mut nameless[1]).metadata.labels.as_mut().unwrap().remove(identity::POD_NAME);
    assert_eq!(repairs(json!({}), &nameless), (vec![1], vec![2]));
}

#[test]
fn rounds_double_up_to_the_most_at_once() {
    let rounds = |indexes: &[i32]| indexes.iter().map(|n| round(*n, false)).collect::<Vec<_>>();
    assert_eq!(rounds(&[0, 1, 2, 3, 6, 7, 254, 255]), [0, 1, 1, 2, 2, 3, 7, 8]);
    assert_eq!(rounds(&[510, 511, 1010, 1011]), [8, 9, 9, 10]);
    assert_eq!(round(7, true), 7);
}

#[test]
fn down_goes_the_other_way() {
    let all = ["0 new", "1 new", "2 new", "10 new"];
    assert_eq!(steps(json!({"replicas": 1}), &all), "-web-10");
    assert_eq!(steps(json!({"replicas": 1}), &["0 new", "1 new", "2 new going"]), "");
    assert_eq!(steps(json!({"replicas": 1}), &["0 new", "1 new unready", "2 new unready"]), "");
    assert_eq!(steps(json!({"replicas": 1}), &["0 new", "1 new", "2 new unready"]), "-web-2");
    let young = json!({"replicas": 1, "minReadySeconds": 10});
    assert_eq!(
        steps(young.clone(), &["0 new", "1 new", "2 new young"]),
        "-web-2",
        "it has not to be available first"
    );
    assert_eq!(
        steps(young, &["0 new", "1 new young", "2 new young"]),
        "",
        "the first that is not goes first"
    );
    assert_eq!(
        steps(json!({"replicas": 1, "podManagementPolicy": "Parallel"}), &all),
        "-web-10, -web-2, -web-1"
    );
}

#[test]
fn updates_go_from_the_highest_down_to_the_partition() {
    let old = ["0 old", "1 old", "2 old"];
    let partition =
        |n: i32| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": n}}});
    assert_eq!(steps(json!({}), &old), "-web-2");
    assert_eq!(steps(json!({}), &["0 old", "1 old", "2 new unready"]), "");
    assert_eq!(steps(json!({}), &["0 old", "1 old", "2 new"]), "-web-1");
    assert_eq!(steps(partition(2), &["0 old", "1 old", "2 new"]), "");
    assert_eq!(steps(partition(2), &["1 old", "2 new"]), "+0 old");
    assert_eq!(steps(json!({"updateStrategy": {"type": "OnDelete"}}), &old), "");
    assert_eq!(steps(json!({"updateStrategy": {"type": "OnDelete"}}), &["0 old", "1 old"]), "+2 new");
}

#[test]
fn so_many_go_at_a_time_as_may_be_missing() {
    let most = |n: Value| {
        json!({"podManagementPolicy": "Parallel", "updateStrategy": {"type": "RollingUpdate",
            "rollingUpdate": {"partition": 0, "maxUnavailable": n}}})
    };
    let old = ["0 old", "1 old", "2 old"];
    assert_eq!(steps(most(json!(2)), &old), "-web-2, -web-1");
    assert_eq!(steps(most(json!("67%")), &old), "-web-2, -web-1");
    assert_eq!(steps(most(json!("10%")), &old), "-web-2", "at least one");
    assert_eq!(steps(most(json!(2)), &["0 old", "1 old", "2 new unready"]), "-web-1");
    assert_eq!(steps(most(json!(2)), &["0 old", "1 new going", "2 new unready"]), "");
    assert_eq!(
        steps(most(json!(2)), &["0 new unready", "1 old", "2 old"]),
        "-web-2",
        "also lower ones count"
    );
    assert_eq!(steps(most(json!(1)), &["0 new unready", "1 old", "2 old"]), "");
    assert_eq!(steps(most(json!(1)), &["0 old unready", "1 old", "2 old"]), "", "also old ones count");
    assert_eq!(
        steps(most(json!(2)), &["1 old", "2 old"]),
        "+0 new, -web-2",
        "also one that is missing counts"
    );
}

/// Pods that were ready a moment ago, or are not yet so for `minReadySeconds`.
#[test]
fn old_pods_that_are_not_available_go_within_the_same_bound() {
    let most = |n: i32| {
        json!({"podManagementPolicy": "Parallel", "minReadySeconds": 30, "updateStrategy": {
            "type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": n}}})
    };
    for state in ["young", "unready"] {
        let all: Vec<String> = (0..3).map(|n| format!("{n} old {state}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(steps(most(1), &all), "", "{state}: all of them are missing already");
        assert_eq!(steps(most(3), &all), "", "{state}");
        assert_eq!(steps(most(4), &all), "-web-2", "{state}");
        let low = format!("0 old {state}");
        assert_eq!(steps(most(1), &[&low, "1 old", "2 old"]), "", "{state}");
        assert_eq!(steps(most(2), &[&low, "1 old", "2 old"]), "-web-2", "{state}");
        let high = format!("2 old {state}");
        assert_eq!(steps(most(2), &["0 old", "1 old", &high]), "-web-2", "{state}: it goes itself");
        assert_eq!(steps(most(3), &["0 old", "1 old", &high]), "-web-2, -web-1", "{state}");
    }
    assert_eq!(
        steps(most(2), &["0 old", "1 old", "2 old failed"]),
        "-web-2",
        "one that has ended takes a place too"
    );
}

#[test]
fn the_status_shows_when_a_roll_out_is_complete() {
    let now = NOW.parse().unwrap();
    let half = status(&set(json!({})), &pods(&["0 old", "1 old", "2 new"]), REVISION, now);
    assert_eq!((half.current_replicas, half.updated_replicas), (Some(2), Some(1)));
    assert_eq!(half.current_revision.as_deref(), Some("old"));
    let done = status(&set(json!({})), &pods(&["0 new", "1 new", "2 new"]), REVISION, now);
    assert_eq!((done.current_replicas, done.current_revision.as_deref()), (Some(3), Some("new")));
    let starting = status(&set(json!({})), &pods(&["0 new", "1 new", "2 new unready"]), REVISION, now);
    assert_eq!(starting.current_revision.as_deref(), Some("old"), "one is not ready");
    let by_hand = set(json!({"updateStrategy": {"type": "OnDelete"}}));
    let replaced = status(&by_hand, &pods(&["0 new", "1 new", "2 new"]), REVISION, now);
    assert_eq!(replaced.current_revision.as_deref(), Some("old"), "the controller rolls nothing out");
}
