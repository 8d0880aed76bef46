//! What becomes of pods that come to a node.

use super::*;
use serde_json::{Value, json};

/// `requests` as `cpu=500m,memory=1Mi`; the pod was made `second` seconds after the minute.
fn pod(name: &str, second: u8, requests: &str, status: Value) -> Arc<Pod> {
    let requests: Value = requests
        .split(',')
        .filter_map(|one| one.split_once('='))
        .map(|(k, v)| (k.to_string(), v.into()))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let namespace = if name.starts_with("critical") { "kube-system" } else { "default" };
    let priority = if name.starts_with("critical") { 2_000_000_000 } else { 0 };
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name, "namespace": namespace,
                "creationTimestamp": format!("2026-01-02T03:04:{second:02}Z")},
            "spec": {"priority": priority, "containers": [{"name": "c", "resources": {"requests": requests}}]},
            "status": status,
        }))
        .unwrap(),
    )
}

fn new() -> Value {
    json!({"phase": "Pending"})
}

fn runs() -> Value {
    json!({"phase": "Running", "startTime": "2026-01-02T03:04:00Z"})
}

fn uids(pods: &[Arc<Pod>]) -> HashSet<String> {
    pods.iter().map(|pod| uid(pod).to_string()).collect()
}

const NODE: Amount = Amount { pods: 110, cpu: 1000, memory: 1 << 20, storage: 1 << 20 };

/// What becomes of each pod, judged in this order, with an empty memory.
fn judged(allocatable: Amount, statics: &[Arc<Pod>], pods: &[Arc<Pod>], order: &[usize]) -> Vec<String> {
    let (mut admissions, ending) = (Admissions::default(), HashSet::new());
    let node = OnNode {
        allocatable,
        facts: &NodeFacts::default(),
        statics: statics.iter().map(|p| &**p).collect(),
        pods,
        judgeable: &uids(pods),
        descriptors: 1 << 20,
        ending: &ending,
    };
    let one = |at: &usize| {
        let verdict = admissions.decide(&pods[*at], &node);
        let gone: Vec<&str> = verdict.preempted.iter().map(|p| uid(p)).collect();
        match verdict.rejected {
            Some(failure) => format!("{}: {}", failure.reason, failure.message),
            None if gone.is_empty() => "admitted".to_string(),
            None => format!("admitted for {}", gone.join(" ")),
        }
    };
    order.iter().map(one).collect()
}

#[test]
fn a_pod_that_does_not_fit_is_rejected_in_upstreams_words() {
    for (what, requests, want) in [
        (
            "cpu",
            "cpu=401m",
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 401, used: 600, capacity: 1000",
        ),
        (
            "memory",
            "memory=1Mi",
            "OutOfmemory: Node didn't have enough resource: memory, requested: 1048576, used: 1024, capacity: 1048576",
        ),
        (
            "storage",
            "ephemeral-storage=2Mi",
            "OutOfephemeral-storage: Node didn't have enough resource: ephemeral-storage, requested: 2097152, used: 0, \
             capacity: 1048576",
        ),
        (
            "all of them: the first is the reason",
            "cpu=9,memory=9Mi",
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 9000, used: 600, capacity: 1000",
        ),
        ("what is left", "cpu=400m", "admitted"),
        ("nothing", "", "admitted"),
    ] {
        let statics = [pod("static", 0, "cpu=100m", json!({}))];
        let pods = [
            pod("old", 1, "cpu=500m,memory=1Ki", runs()),
            pod("over", 1, "cpu=9", json!({"phase": "Succeeded", "startTime": "2026-01-02T03:04:00Z"})),
            pod("new", 2, requests, new()),
        ];
        assert_eq!(judged(NODE, &statics, &pods, &[2]), [want], "{what}");
    }
}

#[test]
fn a_node_takes_as_many_pods_as_it_says() {
    let pods = [pod("a", 9, "", runs()), pod("b", 2, "", new()), pod("c", 3, "", json!({}))];
    let with = |most: i64| judged(Amount { pods: most, ..NODE }, &[], &pods, &[0, 1, 2]);
    assert_eq!(with(3), ["admitted", "admitted", "admitted"]);
    let full = |used: usize, most: i64| {
        format!(
            "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: {used}, capacity: {most}"
        )
    };
    assert_eq!(with(2), ["admitted".to_string(), "admitted".into(), full(2, 2)]);
    assert_eq!(with(1), ["admitted".to_string(), full(1, 1), full(1, 1)]);
    assert_eq!(with(0)[0], "admitted", "what runs is not rejected by a kubelet that was started anew");
}

#[test]
fn a_pod_with_more_mounts_than_the_machine_can_take_is_rejected_by_that_name() {
    let with = |name: &str, second: u8, volumes: usize| {
        let mut pod = (*pod(name, second, "", new())).clone();
        let volume = |n| serde_json::from_value(json!({"name": format!("v{n}"), "emptyDir": {}})).unwrap();
        pod.spec.as_mut().unwrap().volumes = Some((0..volumes).map(volume).collect());
        Arc::new(pod)
    };
    let pods = [with("greedy", 1, 1025), with("large", 2, 1000), with("critical", 3, 1025)];
    let verdicts = judged(NODE, &[], &pods, &[0, 1, 2]);
    let want =
        "OutOfmounts: Node didn't have enough resource: mounts, requested: 1025, used: 0, capacity: 1024";
    assert_eq!(verdicts, [want, "admitted", want]);
}

#[test]
fn a_pod_whose_host_port_is_anothers_is_rejected() {
    let with = |name: &str, second: u8, cpu: &str, protocol: &str, status: Value| {
        let mut pod = (*pod(name, second, &format!("cpu={cpu}"), status)).clone();
        let port = json!([{"containerPort": 1, "hostPort": 80, "protocol": protocol}]);
        pod.spec.as_mut().unwrap().containers[0].ports = serde_json::from_value(port).unwrap();
        Arc::new(pod)
    };
    let want =
        "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
    let pods = [
        with("old", 1, "0", "TCP", runs()),
        with("new", 2, "0", "TCP", new()),
        with("other", 3, "0", "UDP", new()),
        with("critical", 4, "0", "TCP", new()),
    ];
    assert_eq!(judged(NODE, &[], &pods, &[0, 1, 2, 3]), ["admitted", want, "admitted", want]);
    assert_eq!(judged(NODE, &pods[..1], &pods[1..2], &[0]), [want], "of a static pod too");
    // The message names the first resource that is lacking. Pods are preempted for a critical one
    // only if it fits then.
    let pods = [
        with("old", 1, "900m", "TCP", runs()),
        with("new", 2, "200m", "TCP", new()),
        with("critical", 3, "200m", "TCP", new()),
    ];
    let verdicts = judged(NODE, &[], &pods, &[1, 2]);
    assert!(verdicts[0].starts_with("OutOfcpu") && verdicts[1] == want, "{verdicts:?}");
    let ended = with("ended", 1, "0", "TCP", json!({"phase": "Failed", "startTime": "2026-01-02T03:04:00Z"}));
    let pods = [ended, with("new", 2, "0", "TCP", new())];
    assert_eq!(judged(NODE, &[], &pods, &[1]), ["admitted"], "an ended pod gives its port back");
}

/// A pod that is rejected takes nothing from those after it, and whichever worker asks first,
/// the older pod has the room.
#[test]
fn the_older_pod_comes_first_and_a_decision_is_made_once() {
    let pods = [
        pod("young", 3, "cpu=600m", new()),
        pod("huge", 1, "cpu=9", new()),
        pod("old", 2, "cpu=600m", new()),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let verdicts = judged(NODE, &[], &pods, &order);
        let of = |at: usize| verdicts[order.iter().position(|o| *o == at).unwrap()].as_str();
        assert!(of(0).contains("requested: 600, used: 600") && of(1).starts_with("OutOfcpu"), "{verdicts:?}");
        assert_eq!(of(2), "admitted");
    }
    // The first one left meanwhile: the second stays rejected, and a third has its room.
    let (mut admissions, ending) = (Admissions::default(), HashSet::new());
    let mut decide = |pods: &[Arc<Pod>], at: usize| {
        let node = OnNode {
            allocatable: NODE,
            facts: &NodeFacts::default(),
            statics: vec![],
            pods,
            judgeable: &uids(pods),
            descriptors: 1 << 20,
            ending: &ending,
        };
        admissions.decide(&pods[at], &node).rejected.is_none()
    };
    let (a, b, c) = (pod("a", 1, "cpu=1", new()), pod("b", 2, "cpu=1", new()), pod("c", 3, "cpu=1", new()));
    assert_eq!([decide(&[a.clone(), b.clone()], 0), decide(&[a, b.clone()], 1)], [true, false]);
    assert_eq!([decide(&[b.clone(), c.clone()], 0), decide(&[b, c], 1)], [false, true]);
}

/// `early` was made first, and bound when the label had come that it asks for. `late` is judged
/// with the node as it was before.
#[test]
fn a_pod_that_came_after_the_node_was_read_waits_for_its_own_look() {
    let mut early = (*pod("early", 1, "", new())).clone();
    early.spec.as_mut().unwrap().node_selector = Some([("disk".into(), "ssd".into())].into());
    let pods = [Arc::new(early), pod("late", 2, "", new())];
    let (mut admissions, ending) = (Admissions::default(), HashSet::new());
    let mut decide = |at: usize, judgeable: &[Arc<Pod>], labels: Value| {
        let node = serde_json::from_value(json!({"metadata": {"name": "n", "labels": labels}})).unwrap();
        let node = OnNode {
            allocatable: NODE,
            facts: &NodeFacts::of_node(&node),
            statics: vec![],
            pods: &pods,
            judgeable: &uids(judgeable),
            descriptors: 1 << 20,
            ending: &ending,
        };
        admissions.decide(&pods[at], &node).rejected.is_none()
    };
    assert!(decide(1, &pods[1..], json!({})));
    assert!(decide(0, &pods, json!({"disk": "ssd"})));
}

#[test]
fn others_go_for_a_critical_pod_and_for_a_static_one() {
    let burst = |name: &str, cpu: &str| pod(name, 1, &format!("cpu={cpu}"), runs());
    let pods = [
        burst("critical-old", "100m"),
        burst("large", "500m"),
        burst("small", "200m"),
        burst("other", "200m"),
        pod("critical-new", 2, "cpu=180m", new()),
        pod("critical-huge", 3, "cpu=950m", new()),
    ];
    // 1000m are used. The smallest that is enough goes.
    assert_eq!(judged(NODE, &[], &pods[..5], &[4]), ["admitted for small"]);
    let verdicts = judged(NODE, &[], &pods, &[4, 5]);
    let why =
        "UnexpectedAdmissionError: Unexpected error while attempting to recover from admission failure: ";
    assert!(verdicts[1].starts_with(why), "all others together are not enough, so none goes: {verdicts:?}");
    assert!(
        verdicts[1].ends_with("no set of running pods found to reclaim resources: [(res: cpu, q: 230), ]")
    );
    // Of critical pods the less important ones go, and only those.
    let mut most = (*pods[5]).clone();
    most.spec.as_mut().unwrap().priority = Some(2_000_001_000);
    let with = [&pods[..4], &[Arc::new(most)]].concat();
    assert_eq!(judged(NODE, &[], &with, &[4]), ["admitted for large other small critical-old"]);
    // For an ordinary user's priority class no pod goes.
    let mut false_critical = (*pods[4]).clone();
    false_critical.metadata.namespace = Some("default".into());
    let with = [&pods[..4], &[Arc::new(false_critical)]].concat();
    assert!(judged(NODE, &[], &with, &[4])[0].starts_with("OutOfcpu"));
    // A static pod that came with a new version of the program.
    let statics = [pod("static", 0, "cpu=300m", json!({}))];
    let (admissions, ending, facts) = (Admissions::default(), HashSet::new(), NodeFacts::default());
    let none = HashSet::new();
    let node = |ending| OnNode {
        allocatable: NODE,
        facts: &facts,
        statics: vec![&*statics[0]],
        pods: &pods[..4],
        judgeable: &none,
        descriptors: 1 << 20,
        ending,
    };
    let gone = |ending| -> Vec<String> {
        admissions.make_room(&statics[0], &node(ending)).iter().map(|p| uid(p).to_string()).collect()
    };
    assert_eq!(gone(&ending), ["large"]);
    assert_eq!(gone(&HashSet::from(["large".to_string()])), [""; 0], "one that is ending counts no more");
}

#[test]
fn a_pod_for_another_operating_system_is_rejected() {
    let with_os = |name: &str, os: &str| {
        let mut pod = (*pod(name, 1, "", new())).clone();
        pod.spec.as_mut().unwrap().os = serde_json::from_value(json!({"name": os})).unwrap();
        Arc::new(pod)
    };
    let mut labelled = (*pod("labelled", 2, "", new())).clone();
    labelled.metadata.labels = Some([("kubernetes.io/os".to_string(), "windows".to_string())].into());
    let pods = [with_os("critical", "windows"), Arc::new(labelled), with_os("other", "linux")];
    let want = [
        "PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS",
        "PodOSSelectorNodeLabelDoesNotMatch: Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        "admitted",
    ];
    assert_eq!(judged(NODE, &[], &pods, &[0, 1, 2]), want);
}

#[test]
fn a_pod_that_asks_for_an_unsafe_kernel_parameter_is_rejected() {
    let with = |name: &str, sysctl: &str| {
        let mut pod = (*pod(name, 1, "", new())).clone();
        let all = ["net.ipv4.tcp_syncookies", sysctl].map(|name| json!({"name": name, "value": "1"}));
        pod.spec.as_mut().unwrap().security_context =
            serde_json::from_value(json!({"sysctls": all})).unwrap();
        Arc::new(pod)
    };
    let pods = [with("a", "kernel.msgmax"), with("b", "kernel/shm_rmid_forced")];
    let refused = "SysctlForbidden: forbidden sysctl: \"kernel.msgmax\" not allowlisted";
    assert_eq!(judged(NODE, &[], &pods, &[0, 1]), [refused, "admitted"]);
    let mut of_node = (*with("c", "net.ipv4.tcp_fin_timeout")).clone();
    of_node.spec.as_mut().unwrap().host_network = Some(true);
    let refused =
        "SysctlForbidden: forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host net enabled";
    assert_eq!(judged(NODE, &[], &[Arc::new(of_node)], &[0]), [refused]);
}
