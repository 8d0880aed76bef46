use super::*;
use api::requests::Amount;
use k8s_openapi::api::core::v1::{Node, Taint};

/// Plays one script per test: nodes and pods in a line each, the decisions as text.
fn play(script: &str) -> String {
    let mut nodes: Vec<NodeInfo> = Vec::new();
    let mut out = String::new();
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let mut words = line.split_whitespace();
        let (what, name) = (words.next().unwrap(), words.next().unwrap());
        let args: BTreeMap<&str, &str> = words.filter_map(|w| w.split_once('=')).collect();
        let list = |key: &str| -> Vec<(String, String)> {
            let text = args.get(key).copied().unwrap_or_default();
            let pair = |t: &str| t.split_once(':').map(|(k, v)| (k.to_string(), v.to_string()));
            text.split(',').filter_map(pair).collect()
        };
        if what == "node" {
            let mut node = NodeInfo { name: name.into(), ..NodeInfo::default() };
            node.allocatable.pods = 110;
            node.allocatable.cpu = args.get("cpu").map_or(1000, |c| c.parse().unwrap());
            node.allocatable.memory = 4 << 30;
            node.labels = list("labels").into_iter().collect();
            node.labels.insert("kubernetes.io/hostname".into(), name.into());
            node.unschedulable = args.contains_key("cordoned");
            for (key, effect) in list("taints") {
                node.taints.push(Taint { key, effect, ..Taint::default() });
            }
            nodes.push(node);
            continue;
        }
        let mut pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "o", "uid": args.get("owner").unwrap_or(&"none"), "controller": true}]},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": args.get("cpu").map_or("0".to_string(), |c| format!("{c}m"))}},
                "ports": args.get("port").map_or(serde_json::json!([]), |p| serde_json::json!([{"containerPort": 80, "hostPort": p.parse::<i32>().unwrap()}]))}],
                "nodeSelector": list("selector").into_iter().collect::<BTreeMap<_, _>>(),
                "tolerations": list("tolerates").into_iter().map(|(key, effect)| serde_json::json!({"key": key, "effect": effect, "operator": "Exists"})).collect::<Vec<_>>()},
        }))
        .unwrap();
        let decision = decide(&pod, &nodes, &Volumes::default(), &Rng::seeded(1));
        match &decision.chosen {
            Some(chosen) => {
                out += &format!("{name} -> {chosen}\n");
                pod.spec.as_mut().unwrap().node_name = Some(chosen.clone());
                nodes.iter_mut().find(|n| n.name == *chosen).unwrap().add(&pod);
            }
            None => out += &format!("{name}: {}\n", decision.message(&pod)),
        }
    }
    out
}

#[test]
fn room_decides_first_and_the_message_counts_the_reasons() {
    let out = play("node n1 cpu=1000\nnode n2 cpu=2000\npod web cpu=1500\npod big cpu=1500");
    assert_eq!(
        out,
        "web -> n2\nbig: 0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: 0/2 nodes are \
         available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling.\n"
    );
}

#[test]
fn no_request_is_so_large_that_it_fits_again() {
    let half = serde_json::json!({"resources": {"requests": {"memory": "6Ei"}}});
    let pod = serde_json::json!({"spec": {"containers": [half, half, half]}});
    let mut pod: Pod = serde_json::from_value(pod).unwrap();
    let mut node = NodeInfo { name: "n".into(), ..NodeInfo::default() };
    node.allocatable = Amount { pods: 110, cpu: 1000, memory: 4 << 30, storage: 1 << 30 };
    let decision = decide(&pod, std::slice::from_ref(&node), &Volumes::default(), &Rng::seeded(1));
    let message = decision.message(&pod);
    assert!(message.contains("1 Insufficient memory"), "{message}");
    pod.spec.as_mut().unwrap().preemption_policy = Some("Never".into());
    let message = decision.message(&pod);
    assert!(message.ends_with(", preemption: not eligible due to preemptionPolicy=Never."), "{message}");
    pod.spec.as_mut().unwrap().node_name = Some("n".into());
    node.add(&pod);
    node.add(&pod);
    assert_eq!(node.requested.memory, i64::MAX);
}

#[test]
fn a_node_without_room_on_its_disk_or_for_another_pod_is_refused() {
    let container = serde_json::json!({"resources": {"requests": {"ephemeral-storage": "1Gi"}}});
    let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {"containers": [container]}})).unwrap();
    let node: Node = serde_json::from_value(serde_json::json!({"metadata": {"name": "n"}, "status":
        {"allocatable": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi", "pods": "1"}}}))
    .unwrap();
    let mut node = NodeInfo::of(&node);
    let refused = |node: &NodeInfo| {
        decide(&pod, std::slice::from_ref(node), &Volumes::default(), &Rng::seeded(1))
            .verdicts
            .remove(0)
            .refused
    };
    assert_eq!(refused(&node), []);
    node.add(&pod);
    let reasons: Vec<String> = refused(&node).into_iter().map(|r| r.reason).collect();
    assert_eq!(reasons, ["Too many pods", "Insufficient ephemeral-storage"]);
}

#[test]
fn taints_cordons_selectors_and_ports() {
    let out = play(
        "node cp taints=node-role.kubernetes.io/control-plane:NoSchedule\nnode w1 labels=disk:ssd\nnode w2 cordoned=1\n\
         pod a selector=disk:ssd port=80\npod b port=80\npod c tolerates=node-role.kubernetes.io/control-plane:NoSchedule port=80\npod d selector=disk:hdd",
    );
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "a -> w1");
    assert!(lines[1].starts_with(
        "b: 0/3 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, \
         1 node(s) had untolerated taint(s), 1 node(s) were unschedulable."
    ));
    assert_eq!(lines[2], "c -> cp");
    assert!(lines[3].contains("1 node(s) didn't match Pod's node affinity/selector"), "{}", lines[3]);
}

fn pod_of(spec: serde_json::Value) -> Pod {
    serde_json::from_value(serde_json::json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

fn node_of(allocatable: serde_json::Value) -> NodeInfo {
    let node = serde_json::json!({"metadata": {"name": "n"}, "status": {"allocatable": allocatable}});
    NodeInfo::of(&serde_json::from_value(node).unwrap())
}

fn reasons(pod: &Pod, node: &NodeInfo) -> Vec<String> {
    let decision = decide(pod, std::slice::from_ref(node), &Volumes::default(), &Rng::seeded(1));
    decision.verdicts[0].refused.iter().map(|r| r.reason.clone()).collect()
}

/// The pods of a DaemonSet name their node. The others are not asked what they lack.
#[test]
fn nodes_that_a_pod_does_not_name_are_not_asked() {
    let message = |names: &[&[&str]]| {
        let term = |names: &&[&str]| {
            let rule = |n| serde_json::json!({"key": "metadata.name", "operator": "In", "values": [n]});
            serde_json::json!({"matchFields": names.iter().map(rule).collect::<Vec<_>>()})
        };
        let terms: Vec<_> = names.iter().map(term).collect();
        let required = serde_json::json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
        let pod = pod_of(serde_json::json!({"affinity": {"nodeAffinity": required},
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}));
        let node = |name: &str| NodeInfo {
            name: name.into(),
            ..node_of(serde_json::json!({"cpu": "1", "memory": "1Gi", "pods": "9"}))
        };
        let nodes = [node("n1"), NodeInfo { unschedulable: true, ..node("n2") }, node("n3")];
        let text = decide(&pod, &nodes, &Volumes::default(), &Rng::seeded(1)).message(&pod);
        text.split(". ")
            .next()
            .unwrap_or_default()
            .trim_start_matches("0/3 nodes are available: ")
            .to_string()
    };
    let unasked = "node(s) didn't satisfy plugin(s) [NodeAffinity]";
    assert_eq!(message(&[&["n1"]]), format!("1 Insufficient cpu, 2 {unasked}"));
    assert_eq!(message(&[&["n1"], &["n3"]]), format!("1 {unasked}, 2 Insufficient cpu"));
    assert_eq!(message(&[&["n1", "n3"]]), "pod affinity terms conflict");
    assert_eq!(
        message(&[&["n1"], &[]]),
        "1 Insufficient cpu, 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) were unschedulable"
    );
}

/// What PreFilter refuses has not been filtered, and upstream's message then ends with the error of
/// the plug-in DynamicResources.
#[test]
fn the_message_of_a_pod_that_no_node_was_asked_about_ends_as_upstreams() {
    let nodes = ["n1", "n2"].map(|name| NodeInfo { name: name.into(), ..NodeInfo::default() });
    let pod = pod_of(serde_json::json!({"containers": []}));
    let reason = "pod has unbound immediate PersistentVolumeClaims";
    let message = Decision::refused_everywhere(&nodes, "VolumeBinding", reason).message(&pod);
    assert_eq!(message, format!("0/2 nodes are available: {reason}. not found"));
    let message = Decision::refused_everywhere(&nodes[..0], "VolumeBinding", reason).message(&pod);
    assert_eq!(message, NO_NODES);
}

#[test]
fn extended_resources_and_huge_pages_are_counted() {
    let requests = serde_json::json!({"requests": {"example.com/dongle": "3", "hugepages-2Mi": "4Mi"}});
    let pod = pod_of(serde_json::json!({"containers": [{"name": "c", "resources": requests}]}));
    let with = |dongles: &str| {
        node_of(serde_json::json!({"cpu": "1", "memory": "1Gi", "pods": "9", "example.com/dongle": dongles,
            "hugepages-2Mi": "64Mi"}))
    };
    let none = node_of(serde_json::json!({"cpu": "1", "memory": "1Gi", "pods": "9"}));
    assert_eq!(reasons(&pod, &none), ["Insufficient example.com/dongle", "Insufficient hugepages-2Mi"]);
    let mut node = with("5");
    assert!(reasons(&pod, &node).is_empty());
    node.add(&pod);
    assert_eq!(reasons(&pod, &node), ["Insufficient example.com/dongle"]);
    assert!(reasons(&pod_of(serde_json::json!({"containers": []})), &node).is_empty());
}

#[test]
fn a_node_takes_as_many_pods_as_it_says_and_its_size_is_no_trap() {
    let pod = pod_of(serde_json::json!({"containers": []}));
    assert_eq!(reasons(&pod, &node_of(serde_json::json!({"cpu": "4", "memory": "8Gi"}))), ["Too many pods"]);
    let hopeless = |allocatable| {
        let node = node_of(allocatable);
        let decision = decide(&pod, &[node], &Volumes::default(), &Rng::seeded(1));
        decision.verdicts[0].refused.iter().any(|r| r.is_final)
    };
    assert!(!hopeless(serde_json::json!({"cpu": "4", "memory": "8Gi"})));
    let huge = node_of(serde_json::json!({"cpu": "4", "memory": "1Ei", "pods": "9"}));
    assert!(reasons(&pod, &huge).is_empty());
}

#[test]
fn an_empty_host_address_is_all_of_them() {
    let with = |ip: &str| {
        let port = serde_json::json!([{"containerPort": 1, "hostPort": 80, "hostIP": ip, "protocol": ""}]);
        pod_of(serde_json::json!({"containers": [{"name": "c", "ports": port}]}))
    };
    let mut node = node_of(serde_json::json!({"cpu": "4", "memory": "8Gi", "pods": "9"}));
    node.add(&with(""));
    assert!(reasons(&with("127.0.0.1"), &node)[0].contains("free ports"));
}

#[test]
fn a_sibling_on_its_way_out_keeps_no_pod_away() {
    let owner =
        serde_json::json!([{"apiVersion": "v1", "kind": "X", "name": "o", "uid": "u", "controller": true}]);
    let mut pod = pod_of(serde_json::json!({"containers": []}));
    pod.metadata.owner_references = serde_json::from_value(owner).unwrap();
    let mut node = NodeInfo::default();
    node.add(&pod);
    assert_eq!(node.siblings.get("u"), Some(&1));
    pod.metadata.deletion_timestamp = serde_json::from_value("2026-01-01T00:00:00Z".into()).unwrap();
    node.add(&pod);
    assert_eq!(node.siblings.get("u"), Some(&1));
}

#[test]
fn replicas_spread_before_they_stack() {
    let out = play("node n1\nnode n2\npod a owner=rs\npod b owner=rs\npod c owner=rs\npod d owner=rs");
    let count = |n: &str| out.matches(n).count();
    assert_eq!((count("n1"), count("n2")), (2, 2), "{out}");
}

#[test]
fn a_taint_that_is_only_disliked_weighs_three_hundred_at_most() {
    let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {"containers": []}})).unwrap();
    let node = |name: &str, taints: usize| {
        let mut node = NodeInfo { name: name.into(), ..NodeInfo::default() };
        node.allocatable.pods = 110;
        let taint = Taint { key: "k".into(), effect: "PreferNoSchedule".into(), ..Taint::default() };
        node.taints = vec![taint; taints];
        node
    };
    let nodes = [node("none", 0), node("one", 1), node("four", 4)];
    let decision = decide(&pod, &nodes, &Volumes::default(), &Rng::seeded(1));
    let scores: Vec<i64> = decision.verdicts.iter().map(|v| v.scores["TaintToleration"]).collect();
    assert_eq!((scores, decision.chosen.as_deref()), (vec![300, 225, 0], Some("none")));
    let decision = decide(&pod, &nodes[..1], &Volumes::default(), &Rng::seeded(1));
    assert!(!decision.verdicts[0].scores.contains_key("TaintToleration"), "it decides nothing");
}

/// Another component, such as an autoscaler of nodes, has made room for the pod there.
#[test]
fn a_pod_goes_to_the_node_that_it_is_nominated_for_if_that_passes() {
    let node = |name: &str, cpu: &str| NodeInfo {
        name: name.into(),
        ..node_of(serde_json::json!({"cpu": cpu, "memory": "1Gi", "pods": "9"}))
    };
    let nodes = [node("small", "2"), node("large", "64"), node("full", "1")];
    let requests = serde_json::json!({"requests": {"cpu": "2"}});
    let mut pod = pod_of(serde_json::json!({"containers": [{"name": "c", "resources": requests}]}));
    for (nominated, want) in [("", "large"), ("small", "small"), ("full", "large"), ("gone", "large")] {
        let status = serde_json::json!({"nominatedNodeName": nominated});
        pod.status = serde_json::from_value(status).unwrap();
        let decision = decide(&pod, &nodes, &Volumes::default(), &Rng::seeded(1));
        assert_eq!(decision.chosen.as_deref(), Some(want), "{nominated}");
    }
}

/// The API server takes preferred terms with any values, as upstream's does.
#[test]
fn a_pod_whose_preferred_terms_cannot_be_read_gets_a_node_only_where_there_is_no_choice() {
    let rule = |operator: &str, value: &str| serde_json::json!({"key": "zone", "operator": operator, "values": [value]});
    let pod = |rules: &[serde_json::Value]| {
        let term = serde_json::json!({"weight": 1, "preference": {"matchExpressions": rules}});
        let preferred = serde_json::json!({"preferredDuringSchedulingIgnoredDuringExecution": [term]});
        pod_of(serde_json::json!({"affinity": {"nodeAffinity": preferred}, "containers": []}))
    };
    let node = |name: &str| NodeInfo {
        name: name.into(),
        ..node_of(serde_json::json!({"cpu": "1", "memory": "1Gi", "pods": "9"}))
    };
    let nodes = [node("n1"), node("n2"), NodeInfo { unschedulable: true, ..node("n3") }];
    let decided = |pod: &Pod, nodes: &[NodeInfo]| decide(pod, nodes, &Volumes::default(), &Rng::seeded(1));
    let error = |rules: &[serde_json::Value]| decided(&pod(rules), &nodes).error;
    let mut compares = pod(&[rule("Gt", "many")]);
    let decision = decided(&compares, &nodes);
    let problem = "[0].matchExpressions[0].values[0]: Invalid value: \"many\": for 'Gt', 'Lt' operators, the value must be an integer";
    let want = format!("running PreScore plugin \"NodeAffinity\": {problem}");
    assert_eq!((decision.error, decision.chosen), (Some(want), None));
    let filters: Vec<&str> = decision.verdicts.iter().map(|v| v.refused[0].filter).collect();
    assert_eq!(filters, ["NodeAffinity", "NodeAffinity", "NodeUnschedulable"]);
    assert_eq!(decided(&compares, &nodes[1..]).chosen.as_deref(), Some("n2"));
    compares.status = serde_json::from_value(serde_json::json!({"nominatedNodeName": "n1"})).unwrap();
    assert_eq!(decided(&compares, &nodes).chosen.as_deref(), Some("n1"));
    assert!(error(&[rule("In", "a"), rule("Lt", "-1")]).is_some_and(|e| e.contains("\"-1\"")));
    assert_eq!(error(&[rule("In", "a"), rule("Lt", "1"), rule("NotIn", "")]), None);
    let two = error(&[rule("In", "a b"), rule("NotIn", "_")]).unwrap();
    assert!(
        two.contains(": [[0].matchExpressions[0].values[0][zone]: Invalid value: \"a b\": a valid"),
        "{two}"
    );
    assert!(
        two.contains(", [0].matchExpressions[1].values[0][zone]: Invalid value: \"_\": a valid"),
        "{two}"
    );
    let many: [serde_json::Value; 13] = std::array::from_fn(|_| rule("In", "a b"));
    let many = error(&many).unwrap();
    assert!(many.ends_with(", and 3 more]"), "{many}");
}
