//! Nodes that stop, nodes that crash, and a kubelet that dies, with nothing shortened but what a
//! pod's own spec says.

use super::footprint::named;
use super::support::{
    Cluster, Home, Kubectl, PATIENCE, Said, TIMEOUT, World, any_kubectl, capable, eventually, turn,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A node that is silent for so long is not ready, and no earlier.
const GRACE: Duration = Duration::from_secs(50);
/// Times of conditions are whole seconds.
const ROUNDED: f64 = 1.0;
const STEADY: &str = "ropewalk-worker";
const STOPPED: &str = "ropewalk-worker2";
const CRASHED: &str = "ropewalk-worker3";

/// On every worker: a pod that leaves a silent node after two seconds, one that must not run twice,
/// and one that stays whatever happens. (What a pod tolerates for how long is its own affair; 300 s
/// are only what admission adds to those that say nothing.)
const WORKLOADS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 6
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      containers: [{name: web, image: nginx}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      nodeSelector: {kubernetes.io/hostname: ropewalk-worker3}
      tolerations:
      - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2}
      containers: [{name: db, image: nginx}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: stays}
spec:
  selector: {matchLabels: {app: stays}}
  template:
    metadata: {labels: {app: stays}}
    spec: {containers: [{name: stays, image: nginx}]}
"#;

/// What a kubelet's death must not touch: of each container its id and its restarts.
fn containers(pods: &[Value]) -> BTreeMap<String, (String, i64)> {
    let of = |pod: &Value| {
        let status = &pod["status"]["containerStatuses"][0];
        let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
        let restarts = status["restartCount"].as_i64().unwrap_or(-1);
        (text(&pod["metadata"]["name"]), (text(&status["containerID"]), restarts))
    };
    pods.iter().map(of).collect()
}

fn ready(object: &Value) -> Value {
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.find(|c| c["type"] == "Ready").cloned().unwrap_or_default()
}

fn is_ready(object: &Value) -> bool {
    ready(object)["status"] == "True"
}

fn time(text: &Value) -> jiff::Timestamp {
    text.as_str().expect("a time").parse().expect("RFC 3339")
}

/// A cluster of three workers, of which one stays steady, one is stopped and one crashes.
struct Nodes<'a> {
    home: &'a Home,
    cluster: Cluster<'a>,
    any: Kubectl,
}

impl Nodes<'_> {
    fn k(&self, args: &[&str]) -> Said {
        self.cluster.kubectl(&self.any, args)
    }

    fn fault(&self, args: &[&str]) -> Said {
        self.home.ropewalk(&[&["fault"], args, &["--name", "t"]].concat())
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.k(&[args, &["-o", "json"]].concat()).ok()).expect("JSON")
    }

    fn node(&self, name: &str) -> Value {
        self.json(&["get", "node", name])
    }

    fn pods_on(&self, node: &str, label: &str) -> Vec<Value> {
        let field = format!("spec.nodeName={node}");
        let list = self.json(&["get", "pods", "-l", label, "--field-selector", &field]);
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Starts the workloads, and waits until their pods are spread over the workers.
    fn start_workloads(&self) {
        let file = self.home.path().join("workloads.yaml");
        std::fs::write(&file, WORKLOADS).expect("a file");
        self.k(&["apply", "-f", file.to_str().expect("a path")]).ok();
        for (what, count) in [("deploy/web", "6"), ("statefulset/db", "1"), ("daemonset/stays", "3")] {
            let path = match what.starts_with("daemonset") {
                true => "jsonpath={.status.numberReady}",
                false => "jsonpath={.status.readyReplicas}",
            };
            eventually(PATIENCE, || self.k(&["get", what, "-o", path]).ok(), |n| n == count);
        }
        for worker in [STEADY, STOPPED, CRASHED] {
            assert_eq!(self.pods_on(worker, "app=web").len(), 2, "spread over the workers");
        }
    }

    /// A kubelet dies and is started again: its containers never notice.
    fn lose_a_kubelet(&self) {
        let (before, pids) = (containers(&self.pods_on(STEADY, "app")), named("nginx", self.home));
        assert_eq!(before.len(), 3);
        let died = self.fault(&["kill", &format!("kubelet/{STEADY}")]).ok();
        assert!(died.contains("kubelet"), "{died}");
        // Only a kubelet can start this one.
        let overrides = format!(r#"{{"spec":{{"nodeName":"{STEADY}"}}}}"#);
        self.k(&["run", "next", "--image=busybox", "--overrides", &overrides, "--", "sleep", "3600"]).ok();
        eventually(PATIENCE, || self.json(&["get", "pod", "next"]), is_ready);
        assert_eq!(containers(&self.pods_on(STEADY, "app")), before);
        assert_eq!(named("nginx", self.home), pids, "the same processes");
        let web = names(self.pods_on(STEADY, "app=web"))[0].clone();
        assert_eq!(self.k(&["exec", &web, "--", "echo", "here"]).ok(), "here\n");
        let ip =
            self.json(&["get", "pod", &web])["status"]["podIP"].as_str().expect("an address").to_string();
        let url = format!("http://{ip}/dead-kubelet");
        let log = || {
            self.k(&["exec", "next", "--", "wget", "-q", "-O", "/dev/null", &url]);
            self.k(&["logs", &web]).out
        };
        eventually(PATIENCE, log, |log| log.contains("/dead-kubelet"));
        self.k(&["logs", &web, "--tail=1"]).ok();
    }

    /// Stops one node and crashes another. Returns the names of the pods that were on them.
    fn lose_two_nodes(&self) -> Vec<String> {
        let fated: Vec<String> =
            [STOPPED, CRASHED].into_iter().flat_map(|n| names(self.pods_on(n, "app=web"))).collect();
        self.fault(&["node", "stop", STOPPED]).ok();
        self.fault(&["node", "crash", CRASHED]).ok();
        let list = self.fault(&["list"]).ok();
        assert!(list.contains("stopped") && list.contains("crashed"), "{list}");
        fated
    }

    /// The control plane notices the silence of both nodes, and not before the grace period is
    /// over.
    fn see_silence(&self) {
        for name in [STOPPED, CRASHED] {
            self.k(&["wait", "--for=condition=Ready=Unknown", &format!("node/{name}"), TIMEOUT]).ok();
            let silent = self.node(name);
            let conditions = silent["status"]["conditions"].to_string();
            assert!(conditions.contains("NodeStatusUnknown"), "{conditions}");
            assert!(conditions.contains("Kubelet stopped posting node status."), "{conditions}");
            // By the cluster's own clock: how fast this test asks makes no difference.
            let lease = self.json(&["get", "lease", name, "-n", "kube-node-lease"]);
            let silence =
                time(&ready(&silent)["lastTransitionTime"]).duration_since(time(&lease["spec"]["renewTime"]));
            println!("{name}: not ready after a silence of {silence:?}");
            assert!(silence.as_secs_f64() >= GRACE.as_secs_f64() - ROUNDED, "{name}: too early: {silence:?}");
        }
    }

    /// After their two seconds the pods are deleted, which only their kubelets could carry out;
    /// others stand in for them on the node that is left. Returns the StatefulSet's pod.
    fn see_replacements(&self, fated: &[String]) -> Value {
        let leaving = |name: &str| {
            self.pods_on(name, "app=web").iter().all(|p| p["metadata"]["deletionTimestamp"].is_string())
        };
        eventually(PATIENCE, || leaving(STOPPED) && leaving(CRASHED), |all| *all);
        eventually(
            PATIENCE,
            || self.pods_on(STEADY, "app=web").iter().filter(|p| is_ready(p)).count(),
            |n| *n == 6,
        );
        let lost: Vec<String> =
            [STOPPED, CRASHED].into_iter().flat_map(|n| names(self.pods_on(n, "app=web"))).collect();
        // Where one node was noticed before the other, a pod of the first may have found a place on
        // the second.
        assert!(
            fated.len() == 4 && fated.iter().all(|p| lost.contains(p)),
            "{lost:?}: nobody may say that they have ended"
        );
        let table = self.k(&["get", "pods", "-l", "app=web"]).ok();
        assert_eq!(table.matches("Terminating").count(), lost.len(), "{table}");
        let endpoints = || {
            self.k(&[
                "get",
                "endpointslices",
                "-l",
                "kubernetes.io/service-name=web",
                "-o",
                "jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].nodeName}",
            ])
            .ok()
        };
        eventually(PATIENCE, endpoints, |nodes| {
            nodes.split_whitespace().count() == 6 && !nodes.contains(CRASHED)
        });
        // A second db-0 could be one too many; a DaemonSet's pod has nowhere else to be.
        let db = self.json(&["get", "pod", "db-0"]);
        assert!(db["metadata"]["deletionTimestamp"].is_string() && db["spec"]["nodeName"] == CRASHED, "{db}");
        assert!(self.pods_on(CRASHED, "app=stays")[0]["metadata"]["deletionTimestamp"].is_null());
        db
    }

    /// Back again: what was lost goes, what stayed starts anew, and the nodes take pods. `db`: the
    /// StatefulSet's pod of before.
    fn start_nodes_again(&self, db: &Value) {
        for name in [STOPPED, CRASHED] {
            self.fault(&["node", "start", name]).ok();
        }
        for name in [STOPPED, CRASHED] {
            let back = eventually(PATIENCE, || self.node(name), is_ready);
            let clean = |n: &Value| n["spec"]["taints"].as_array().is_none_or(Vec::is_empty);
            eventually(PATIENCE, || self.node(name), clean);
            assert_eq!(back["metadata"]["name"], name);
            let pods = eventually(
                PATIENCE,
                || self.pods_on(name, "app=stays"),
                |p| p.iter().all(is_ready) && p.len() == 1,
            );
            assert_eq!(containers(&pods).values().next().map(|(_, restarts)| *restarts), Some(1), "{pods:?}");
        }
        eventually(
            PATIENCE,
            || names(self.pods_on(STOPPED, "app=web")).len() + names(self.pods_on(CRASHED, "app=web")).len(),
            |n| *n == 0,
        );
        let new = eventually(
            PATIENCE,
            || self.k(&["get", "pod", "db-0", "-o", "json"]),
            |said| {
                serde_json::from_str::<Value>(&said.out)
                    .is_ok_and(|pod| is_ready(&pod) && pod["metadata"]["uid"] != db["metadata"]["uid"])
            },
        );
        assert!(new.out.contains(CRASHED));
        self.k(&["scale", "deploy/web", "--replicas=12"]).ok();
        eventually(
            PATIENCE,
            || {
                self.pods_on(STOPPED, "app=web").iter().any(is_ready)
                    && self.pods_on(CRASHED, "app=web").iter().any(is_ready)
            },
            |all| *all,
        );
        assert!(self.fault(&["list"]).ok().contains("nothing is broken"));
    }
}

fn names(pods: Vec<Value>) -> Vec<String> {
    pods.iter().map(|p| p["metadata"]["name"].as_str().unwrap_or_default().to_string()).collect()
}

#[test]
fn silent_nodes_lose_their_pods_and_a_dead_kubelet_loses_nothing() {
    if !capable() {
        return;
    }
    let (first_turn, home) = (turn(), Home::new());
    let nodes = Nodes { home: &home, cluster: home.up(&["--workers", "3"]), any: any_kubectl() };
    nodes.start_workloads();
    nodes.lose_a_kubelet();
    let fated = nodes.lose_two_nodes();
    // Until the grace period is over nobody knows. Nothing to do but wait: another test may have
    // the machine meanwhile.
    drop(first_turn);
    nodes.see_silence();
    let _second_turn = turn();
    let db = nodes.see_replacements(&fated);
    nodes.start_nodes_again(&db);
}

/// What Kubernetes lets pass here are 50 s of silence and 300 s of toleration.
#[test]
fn at_a_clock_of_20_the_pods_of_a_lost_node_are_replaced_in_seconds() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let world = World::up(&home, &["--workers", "2", "--clock", "20"]);
    assert_eq!(world.cluster.status()["clock"], 20);
    world.k(&["create", "deployment", "web", "--image=nginx", "--replicas=4"]);
    world.k(&["wait", "deployment/web", "--for=condition=Available", TIMEOUT]);
    home.ropewalk(&["fault", "node", "crash", STOPPED, "--name", "t"]).ok();
    // Those of the lost node stay Terminating: no kubelet ends them.
    let steady = format!("spec.nodeName={STEADY}");
    let path = "jsonpath={.items[*].status.containerStatuses[0].ready}";
    let ready = || world.k(&["get", "pods", "-l", "app=web", "--field-selector", &steady, "-o", path]);
    eventually(PATIENCE, ready, |ready| ready == "true true true true");
}
