//! What watches tell, and what the map knows by then.

use super::*;
use serde_json::json;

#[test]
fn an_event_that_comes_again_takes_no_others_place() {
    let mut cluster = Cluster::default();
    let event = |n: usize, rv: usize| json!({"metadata": {"name": format!("e{n}"), "resourceVersion": rv.to_string()}});
    for n in 0..EVENTS_MAX + 5 {
        put(&mut cluster, "events", event(n, n + 1));
    }
    let there = |cluster: &Cluster, n: usize| cluster.events.contains_key(&(String::new(), format!("e{n}")));
    assert_eq!(cluster.events.len(), EVENTS_MAX);
    assert!(!there(&cluster, 4) && there(&cluster, EVENTS_MAX), "the oldest have gone, not the newest");
    put(&mut cluster, "events", event(100, 1000));
    assert_eq!(cluster.events.len(), EVENTS_MAX);
    assert!(there(&cluster, 5), "the oldest stays");
}

fn put(cluster: &mut Cluster, resource: &str, object: Value) -> bool {
    cluster.absorb(resource, Delta::Updated(object))
}

#[test]
fn a_list_takes_away_what_it_does_not_name_and_heartbeats_change_nothing() {
    let mut cluster = Cluster::default();
    let node = |name: &str, rv: &str| json!({"metadata": {"name": name, "resourceVersion": rv}});
    put(&mut cluster, "nodes", node("a", "5"));
    assert!(cluster.absorb("nodes", Delta::Replaced(vec![node("b", "6")])));
    assert_eq!(cluster.nodes.keys().collect::<Vec<_>>(), ["b"]);
    let lease = |rv: &str| {
        json!({"metadata": {"name": "kube-scheduler", "namespace": "kube-system", "resourceVersion": rv},
        "spec": {"holderIdentity": "cp_1234"}})
    };
    assert!(put(&mut cluster, "leases", lease("7")));
    assert!(!put(&mut cluster, "leases", lease("8")), "a heartbeat must not redraw");
    assert!(!put(&mut cluster, "nodes", node("b", "9")));
    assert_eq!((cluster.leader("kube-scheduler"), cluster.revision), (Some("cp"), 9));
}

#[test]
fn a_lease_that_is_not_renewed_is_late_long_before_the_node_is_not_ready() {
    let mut cluster = Cluster::default();
    let lease = |rv: &str| {
        json!({"metadata": {"name": "w", "namespace": "kube-node-lease", "resourceVersion": rv},
        "spec": {"holderIdentity": "w"}})
    };
    let seconds = Duration::from_secs;
    put(&mut cluster, "leases", lease("7"));
    assert_eq!(cluster.heartbeat_due(seconds(0)), None, "its node was deleted");
    put(&mut cluster, "nodes", json!({"metadata": {"name": "w", "resourceVersion": "6"}}));
    assert_eq!(
        (cluster.late("w", seconds(14)), cluster.heartbeat_due(seconds(0))),
        (None, Some(seconds(15)))
    );
    cluster.now = seconds(10);
    assert!(!put(&mut cluster, "leases", lease("8")), "a heartbeat must not redraw");
    let late = cluster.late("w", seconds(26));
    assert_eq!((late, cluster.heartbeat_due(seconds(26))), (Some(seconds(16)), Some(seconds(27))));
    cluster.now = seconds(26);
    assert!(put(&mut cluster, "leases", lease("9")), "the old age is on the screen");
    assert_eq!(cluster.late("w", seconds(26)), None);
    cluster.now = seconds(50);
    cluster.absorb("leases", Delta::Replaced(vec![lease("9")]));
    assert_eq!(cluster.late("w", seconds(50)), Some(seconds(24)), "a new list renews nothing");
    let own = json!({"metadata": {"name": "w", "namespace": "default", "resourceVersion": "10"}});
    put(&mut cluster, "leases", own.clone());
    cluster.absorb("leases", Delta::Deleted(own));
    assert_eq!(cluster.late("w", seconds(50)), Some(seconds(24)), "that lease was no node's");
}

/// `ropewalk down` and `ropewalk up` under an open interface: the new cluster counts its
/// revisions from 1.
#[test]
fn the_past_of_a_cluster_is_without_the_objects_of_the_one_it_replaced() {
    let mut cluster = Cluster::default();
    let pod = |name: &str, rv: &str, phase: &str| {
        json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": rv},
        "status": {"phase": phase}})
    };
    let old = vec![pod("gone", "500", "Running"), pod("web", "501", "Running")];
    cluster.absorb("pods", Delta::Replaced(old));
    cluster.restart();
    cluster.absorb("pods", Delta::Replaced(vec![pod("web", "80", "Pending")]));
    assert_eq!(cluster.past.ended(0, u64::MAX).len(), 0, "it did not end on this cluster");
    assert!(cluster.past.reaches(80) && !cluster.past.reaches(79));
    let then = cluster.at(70);
    assert_eq!(then.pods, cluster.pods, "nothing else is known of the time before the list");
}

#[test]
fn a_learners_pod_is_no_member_of_the_store() {
    let mut cluster = Cluster::default();
    for (namespace, name, node) in [
        ("kube-system", "etcd-control-plane", "control-plane"),
        ("kube-system", "etcd-client", "worker"),
        ("kube-system", "etcd-backup-x7k2p", ""),
        ("default", "etcd-worker", "worker"),
    ] {
        let metadata = json!({"name": name, "namespace": namespace, "resourceVersion": "5"});
        put(&mut cluster, "pods", json!({"metadata": metadata, "spec": {"nodeName": node}}));
    }
    let members: Vec<&str> = cluster.members().iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(members, ["etcd-control-plane"]);
    assert_eq!((cluster.component("etcd-"), cluster.component("etcd-c")), (Some(false), None));
}

#[test]
fn objects_of_the_cluster_itself_spread_nothing() {
    let mut cluster = Cluster::default();
    let object = |namespace: &str, name: &str| json!({"metadata": {"name": name, "namespace": namespace, "resourceVersion": "5"}});
    put(&mut cluster, "services", object("default", "kubernetes"));
    put(&mut cluster, "pods", object("kube-system", "coredns"));
    put(&mut cluster, "pods", object("staging", "web"));
    assert_eq!((cluster.is_spread(), cluster.label("staging", "web").as_str()), (false, "web"));
    put(&mut cluster, "horizontalpodautoscalers", object("default", "web"));
    assert_eq!((cluster.is_spread(), cluster.label("staging", "web").as_str()), (true, "staging/web"));
    for name in ["default", "kube-public", "staging"] {
        put(&mut cluster, "namespaces", json!({"metadata": {"name": name, "resourceVersion": "6"}}));
    }
    assert_eq!(cluster.own_namespaces(), [("default", false), ("staging", false)]);
}
