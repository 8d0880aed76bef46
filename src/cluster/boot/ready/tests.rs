use super::*;
use crate::Spec;
use serde_json::json;

#[test]
fn a_node_that_is_switched_off_does_not_make_a_cluster_start_anew() {
    let next = |ready: bool, before: &Progress| Progress { ready, ..Progress::default() }.after(before);
    let begun = next(false, &Progress { lacks_addons: "refused".into(), ..Progress::default() });
    assert!(!begun.started);
    let whole = next(true, &begun);
    assert!(whole.started);
    let broken = next(false, &whole);
    assert!(broken.started && !broken.ready && broken.waits == "refused");
}

#[test]
fn only_the_clusters_own_pods_keep_it_from_being_ready() {
    let pod = |image: &str, phase: &str| -> Pod {
        let spec = json!({"containers": [{"name": "c", "image": image}]});
        let pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": {"phase": phase}});
        serde_json::from_value(pod).unwrap()
    };
    let own = format!("{}coredns:1", PREFIX);
    let counts = |pod: &Pod| is_own(pod) && is_to_run(pod);
    assert!(counts(&pod(&own, "Running")) && counts(&pod(&own, "Pending")));
    assert!(!counts(&pod(&own, "Failed")), "its Deployment makes another one");
    assert!(is_own(&pod(&own, "Failed")), "it was made");
    assert!(!is_own(&pod("busybox", "Pending")) && !is_own(&pod("busybox", "Succeeded")));
    let mut leaving = serde_json::to_value(pod(&own, "Running")).unwrap();
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    assert!(!is_own(&serde_json::from_value(leaving).unwrap()));
}
/// A cluster of one control plane and one worker whose components all run, with what is added.
struct Cluster {
    nodes: Vec<serde_json::Value>,
    pods: Vec<serde_json::Value>,
    proxies: serde_json::Value,
    off: Vec<String>,
    started: bool,
}

fn node(name: &str) -> serde_json::Value {
    json!({"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
}

fn pod(name: &str, owner: &str, node: &str) -> serde_json::Value {
    let image = format!("{}any:1", PREFIX);
    let owner = json!([{"apiVersion": "v1", "kind": owner, "name": "o", "uid": "u"}]);
    let mirror = if owner[0]["kind"] == "Node" { json!({ MIRROR: "hash" }) } else { json!({}) };
    json!({
        "metadata": {
            "name": name, "namespace": "kube-system", "annotations": mirror, "ownerReferences": owner,
        },
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": image}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

impl Cluster {
    fn whole() -> Cluster {
        let [control, worker] = ["ropewalk-control-plane", "ropewalk-worker"];
        let mut pods: Vec<_> = (0..4).map(|i| pod(&format!("static-{i}"), "Node", control)).collect();
        pods.extend((0..3).map(|i| pod(&format!("addon-{i}"), "ReplicaSet", control)));
        pods.extend([control, worker].map(|node| pod(&format!("proxy-{node}"), "DaemonSet", node)));
        let proxies = json!({"tolerations": [{"operator": "Exists"}]});
        let nodes = vec![node(control), node(worker)];
        Cluster { nodes, pods, proxies, off: vec![], started: false }
    }

    /// What a start says of it; the pods of the cluster's own nodes run.
    fn judged(&self) -> Progress {
        let read = |value: &serde_json::Value| serde_json::from_value(value.clone()).unwrap();
        let nodes: Vec<Arc<Node>> = self.nodes.iter().map(|n| Arc::new(read(n))).collect();
        let pods: Vec<Arc<Pod>> =
            self.pods.iter().map(|p| Arc::new(serde_json::from_value(p.clone()).unwrap())).collect();
        let is_here = |pod: &&Arc<Pod>| target(pod).is_some_and(|node| node.starts_with("ropewalk"));
        let running: Vec<Key> = pods.iter().filter(is_here).map(|pod| Key::of(&**pod)).collect();
        let image = json!([{"name": "c", "image": format!("{}any:1", PREFIX)}]);
        let mut template = json!({"spec": self.proxies});
        template["spec"]["containers"] = image.clone();
        let mut addons = AddonPods::default();
        addons.add(&json!({"kind": "DaemonSet", "spec": {"template": template}}));
        let deployment = json!({"replicas": 3, "template": {"spec": {"containers": image}}});
        addons.add(&json!({"kind": "Deployment", "spec": deployment}));
        let spec = Spec { control_planes: 1, workers: 1, ..Spec::new("t") };
        judge(&Seen {
            wanted: &spec.nodes(),
            each: 4,
            nodes: &nodes,
            off: &self.off,
            pods: &pods,
            running: &running,
            store: true,
            api: true,
            addons: Some(addons),
            started: self.started,
        })
    }
}

/// `fault node crash ropewalk-worker`: its Node says Ready for 40 s more.
#[test]
fn a_node_that_is_off_is_not_ready_whatever_its_object_says() {
    let mut cluster = Cluster::whole();
    cluster.off.push("ropewalk-worker".into());
    let judged = cluster.judged();
    assert!(!judged.ready && judged.nodes_ready == 1, "{judged:?}");
    assert_eq!(judged.ready_nodes, ["ropewalk-control-plane"]);
}

/// A fault is carried out before the progress is looked at, or while it is.
#[tokio::test]
async fn what_was_broken_meanwhile_is_heard_of() {
    use futures::FutureExt;
    let faults = crate::faults::Faults::default();
    faults.notify();
    assert_eq!(faults.changed().now_or_never(), Some(()));
    assert_eq!(faults.changed().now_or_never(), None);
    let mut waiting = std::pin::pin!(faults.changed());
    assert_eq!(futures::poll!(waiting.as_mut()), std::task::Poll::Pending);
    faults.notify();
    waiting.await;
}

/// `fault stop kube-apiserver`: what the informers have heard is not of now, and no object of
/// the API tells it.
#[tokio::test]
async fn a_cluster_whose_only_api_server_ends_is_looked_at_again() {
    use futures::FutureExt;
    let (stores, addons) = (watch::Sender::new(BTreeMap::<String, ()>::new()), watch::Sender::new(None));
    let servers = watch::Sender::new(BTreeMap::from([("cp".to_string(), ())]));
    let mut inside =
        Inside { stores: stores.subscribe(), servers: servers.subscribe(), addons: addons.subscribe() };
    assert_eq!(inside.changed().now_or_never(), None);
    assert!(is_served(true, &servers.borrow()) && !is_served(false, &servers.borrow()));
    servers.send_modify(BTreeMap::clear);
    assert_eq!(inside.changed().now_or_never(), Some(true));
    assert!(!is_served(true, &servers.borrow()));
    assert_eq!(inside.changed().now_or_never(), None, "it was heard");
    stores.send_modify(|stores| stores.extend([("cp".to_string(), ())]));
    assert_eq!(inside.changed().now_or_never(), Some(true));
    addons.send_replace(Some(AddonPods::default()));
    assert_eq!(inside.changed().now_or_never(), Some(true));
    drop(stores);
    assert_eq!(inside.changed().now_or_never(), Some(false));
}

#[test]
fn a_start_is_complete_once_all_runs() {
    let whole = Cluster::whole().judged();
    assert!(whole.ready, "{whole:?}");
    assert_eq!((whole.nodes_ready, whole.pods_running, whole.pods), (2, 9, 9));
    for missing in 0..9 {
        let mut cluster = Cluster::whole();
        cluster.pods.remove(missing);
        assert!(!cluster.judged().ready, "{missing} is missing");
    }
}

#[test]
fn a_node_that_a_person_made_does_not_keep_a_start_from_being_complete() {
    let mut cluster = Cluster::whole();
    cluster.nodes.push(node("kwok-0"));
    let mut waiting = pod("proxy-kwok", "DaemonSet", "kwok-0");
    waiting["status"] = json!({"phase": "Pending"});
    cluster.pods.push(waiting.clone());
    let judged = cluster.judged();
    assert!(judged.ready && judged.nodes_ready == 2, "{judged:?}");
    assert_eq!((judged.pods_running, judged.pods), (9, 9));
    // Before the scheduler has bound it, its affinity names the node.
    waiting["spec"]["nodeName"] = json!("");
    let term = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["kwok-0"]}]});
    let required = json!({"nodeSelectorTerms": [term]});
    waiting["spec"]["affinity"] =
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
    *cluster.pods.last_mut().unwrap() = waiting;
    assert!(cluster.judged().ready);
    // It stands for none of the cluster's own proxies, nor its Node for one of the nodes.
    cluster.pods.remove(8);
    assert!(!cluster.judged().ready);
    let mut cluster = Cluster::whole();
    cluster.nodes[1] = node("kwok-0");
    assert!(!cluster.judged().ready);
    // A name server that was scheduled there was made.
    let mut cluster = Cluster::whole();
    cluster.pods[4]["spec"]["nodeName"] = json!("kwok-0");
    assert!(cluster.judged().ready);
    // One on a worker of an earlier start is going to be made anew.
    cluster.pods[4]["spec"]["nodeName"] = json!("ropewalk-worker2");
    cluster.pods[4]["status"] = json!({"phase": "Running"});
    assert!(!cluster.judged().ready);
}

#[test]
fn a_proxy_on_a_worker_of_an_earlier_start_is_not_waited_for() {
    let mut cluster = Cluster::whole();
    let mut left = pod("proxy-left", "DaemonSet", "ropewalk-worker2");
    left["status"] = json!({"phase": "Running"});
    cluster.pods.push(left);
    let judged = cluster.judged();
    assert!(judged.ready, "{judged:?}");
    assert_eq!((judged.pods_running, judged.pods), (9, 9));
}

/// `up --workers 1 --wait` after two workers: the pods of the second one are marked as failed
/// before they are deleted.
#[test]
fn a_pod_that_has_failed_is_not_taken_for_the_one_that_is_made_in_its_place() {
    let mut cluster = Cluster::whole();
    cluster.pods[4]["status"] = json!({"phase": "Failed"});
    for node in ["ropewalk-worker2", "ropewalk-worker"] {
        cluster.pods[4]["spec"]["nodeName"] = json!(node);
        assert!(!cluster.judged().ready, "{node}");
    }
    cluster.pods.push(pod("addon-new", "ReplicaSet", "ropewalk-worker"));
    assert!(cluster.judged().ready, "the failed one may stay");
    // Nothing makes a pod anew that has no owner.
    cluster.pods.pop();
    cluster.pods[4]["metadata"]["ownerReferences"] = json!([]);
    assert!(cluster.judged().ready);
}

#[test]
fn proxies_that_a_learner_has_taken_off_the_nodes_are_not_waited_for() {
    let mut cluster = Cluster::whole();
    cluster.proxies["nodeSelector"] = json!({"proxy": "yes"});
    cluster.pods.truncate(7);
    let judged = cluster.judged();
    assert!(judged.ready && judged.pods == 7, "{judged:?}");
    cluster.nodes[1]["metadata"]["labels"] = json!({"proxy": "yes"});
    assert!(!cluster.judged().ready, "one is to come");
}

/// `kubectl scale -n kube-system deployment coredns --replicas=4`, and later `--replicas=0`:
/// `status -o json` said that 11 of 9 pods run.
#[test]
fn pods_that_a_learner_has_scaled_are_counted_as_they_are() {
    let mut cluster = Cluster { started: true, ..Cluster::whole() };
    let counted = |cluster: &Cluster| {
        let judged = cluster.judged();
        (judged.pods_running, judged.pods, judged.ready)
    };
    cluster.pods.extend(["a", "b"].map(|name| pod(name, "ReplicaSet", "ropewalk-worker")));
    assert_eq!(counted(&cluster), (11, 11, true));
    cluster.pods[9]["status"] = json!({"phase": "Pending"});
    assert_eq!(counted(&cluster), (10, 11, false));
    cluster.pods.drain(4..7);
    cluster.pods.truncate(6);
    assert_eq!(counted(&cluster), (6, 6, true));
}

/// One of three members is damaged: `up --wait` said for ten minutes that pods are missing, and no
/// more.
#[test]
fn a_member_that_does_not_start_is_named_beside_what_holds_the_addons_up() {
    let progress = watch::Sender::new(Progress::default());
    let look = |members: &str| {
        let seen = Progress { lacks_members: members.into(), ..Progress::default() };
        let now = seen.after(&progress.borrow());
        progress.send_replace(now);
        progress.borrow().waits.clone()
    };
    let note = |why: &str| {
        crate::boot::waits::note(&progress, why.into());
        progress.borrow().waits.clone()
    };
    let damaged = "the store of cp2 cannot start: bad checksum";
    assert_eq!(look(damaged), damaged);
    assert_eq!(note("refused"), format!("{damaged}; refused"));
    assert_eq!(look(damaged), format!("{damaged}; refused"));
    assert_eq!((look(""), note("")), ("refused".into(), String::new()));
    let shown = serde_json::to_value(&*progress.borrow()).unwrap();
    assert!(shown.get("waits").is_some() && shown.get("lacksMembers").is_none(), "{shown}");
}
