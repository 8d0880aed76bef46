//! What a kubelet does with a running container: probes, hooks, sidecars, another image.

use super::support::{
    Cluster, Home, Kubectl, PATIENCE, Said, TIMEOUT, any_kubectl, capable, eventually, turn,
};
use serde_json::Value;

/// Probes that have to succeed have half a minute for it: what they ask decides, not how busy the
/// machine is.
const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: door, labels: {app: door}}
spec:
  containers:
  - name: web
    image: nginx
    startupProbe: {tcpSocket: {port: web}, periodSeconds: 1, failureThreshold: 60, timeoutSeconds: 30}
    readinessProbe: {exec: {command: [cat, /tmp/open]}, periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 30}
    ports: [{name: web, containerPort: 80}]
---
apiVersion: v1
kind: Service
metadata: {name: door}
spec: {selector: {app: door}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: ill}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: nginx
    livenessProbe: {httpGet: {path: /not-there, port: 80}, periodSeconds: 1, failureThreshold: 2}
---
apiVersion: v1
kind: Pod
metadata: {name: deaf}
spec:
  containers:
  - name: web
    image: nginx
    readinessProbe: {grpc: {port: 9999}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: once}
spec:
  restartPolicy: Never
  volumes: [{name: kept, emptyDir: {}}]
  containers:
  - name: web
    image: nginx:1.27
    volumeMounts: [{name: kept, mountPath: /kept}]
    lifecycle:
      postStart: {exec: {command: [sh, -c, 'echo hello >> /kept/said']}}
      preStop: {exec: {command: [sh, -c, 'echo bye >> /kept/said']}}
---
apiVersion: v1
kind: Pod
metadata: {name: held}
spec:
  containers:
  - name: web
    image: nginx
    lifecycle:
      postStart: {exec: {command: [sleep, '3600']}}
---
apiVersion: v1
kind: Pod
metadata: {name: unhooked}
spec:
  terminationGracePeriodSeconds: 3600
  containers:
  - name: stubborn
    image: busybox
    command: [sh, -c, 'trap \"\" TERM; while :; do sleep 1; done']
    lifecycle:
      postStart: {exec: {command: [\"false\"]}}
  - name: other
    image: nginx
---
apiVersion: v1
kind: Pod
metadata: {name: beside}
spec:
  restartPolicy: Never
  volumes: [{name: kept, emptyDir: {}}]
  initContainers:
  - name: helper
    image: busybox
    restartPolicy: Always
    command: [sh, -c, 'trap \"exit 0\" TERM; sleep 1; touch /kept/up; while :; do sleep 1; done']
    startupProbe: {exec: {command: [test, -e, /kept/up]}, periodSeconds: 1, failureThreshold: 60, timeoutSeconds: 30}
    volumeMounts: [{name: kept, mountPath: /kept}]
  containers:
  - name: work
    image: busybox
    command: [sh, -c, 'test -e /kept/up']
    volumeMounts: [{name: kept, mountPath: /kept}]
";

#[test]
fn probes_hooks_sidecars_and_another_image_do_what_they_do_in_kubernetes() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let pods = Pods { cluster: home.up(&["--workers", "1"]), any: any_kubectl() };
    let file = home.path().join("pods.yaml");
    std::fs::write(&file, PODS).expect("a file");
    pods.k(&["apply", "-f", file.to_str().expect("a path")]).ok();
    probes(&pods);
    another_image(&pods);
    hooks_and_sidecars(&pods);
}

/// The pods of this file, on a cluster.
struct Pods<'a> {
    cluster: Cluster<'a>,
    any: Kubectl,
}

impl Pods<'_> {
    fn k(&self, args: &[&str]) -> Said {
        self.cluster.kubectl(&self.any, args)
    }

    fn pod(&self, name: &str) -> Value {
        serde_json::from_str(&self.k(&["get", "pod", name, "-o", "json"]).ok()).expect("JSON")
    }

    /// The status of a pod's first container.
    fn status(&self, name: &str) -> Value {
        self.pod(name)["status"]["containerStatuses"][0].clone()
    }

    fn events(&self, name: &str) -> String {
        self.k(&["get", "events", "--field-selector", &format!("involvedObject.name={name}")]).ok()
    }
}

/// Started is not ready; readiness opens and shuts the door, and liveness restarts.
fn probes(pods: &Pods) {
    let (k, status) = (|args: &[&str]| pods.k(args), |name: &str| pods.status(name));
    let events = |name: &str| pods.events(name);
    let addresses = || {
        let path = "jsonpath={.items[*].endpoints[?(@.conditions.ready==true)].addresses}";
        k(&["get", "endpointslices", "-l", "kubernetes.io/service-name=door", "-o", path]).ok()
    };

    // Started is not ready; readiness opens and shuts the door, and nothing restarts.
    eventually(PATIENCE, || status("door"), |s| s["started"] == true);
    eventually(PATIENCE, || events("door"), |e| e.contains("Readiness probe failed"));
    assert_eq!(status("door")["ready"], false);
    assert_eq!(addresses(), "");
    k(&["exec", "door", "--", "touch", "/tmp/open"]).ok();
    eventually(PATIENCE, || status("door"), |s| s["ready"] == true);
    eventually(PATIENCE, addresses, |a| a.contains("10.244."));
    k(&["exec", "door", "--", "rm", "/tmp/open"]).ok();
    eventually(PATIENCE, addresses, |a| a.is_empty());
    assert_eq!(status("door")["restartCount"], 0);

    // Liveness restarts.
    eventually(PATIENCE, || status("ill"), |s| s["restartCount"].as_i64() >= Some(1));
    // An event is written after what it tells of.
    for told in [
        "Liveness probe failed: HTTP probe failed with statuscode: 404",
        "Container web failed liveness probe, will be restarted",
    ] {
        eventually(PATIENCE, || events("ill"), |e| e.contains(told));
    }

    eventually(PATIENCE, || events("deaf"), |e| e.contains("failed to connect service"));
    assert_eq!(status("deaf")["ready"], false);
}

/// Another image: the same pod, another container, at once and even where nothing restarts.
fn another_image(pods: &Pods) {
    let (pod, status) = (|name: &str| pods.pod(name), |name: &str| pods.status(name));
    let (k, events) = (|args: &[&str]| pods.k(args), |name: &str| pods.events(name));
    eventually(PATIENCE, || status("once"), |s| s["ready"] == true);
    let before = pod("once");
    k(&["set", "image", "pod/once", "web=nginx:1.26"]).ok();
    eventually(PATIENCE, || status("once"), |s| s["restartCount"] == 1 && s["ready"] == true);
    let after = pod("once");
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["status"]["podIP"], before["status"]["podIP"]);
    eventually(PATIENCE, || events("once"), |e| e.contains("definition changed, will be restarted"));
    let said = k(&["exec", "once", "--", "cat", "/kept/said"]).ok();
    assert_eq!(said, "hello\nbye\nhello\n", "hooks: after each start, before the stop");
}

/// A hook holds up its pod, and one that fails ends its container; a sidecar starts before the work
/// and ends after it.
fn hooks_and_sidecars(pods: &Pods) {
    let (k, pod) = (|args: &[&str]| pods.k(args), |name: &str| pods.pod(name));
    let events = |name: &str| pods.events(name);
    // A deletion does not wait for the hook.
    eventually(PATIENCE, || events("held"), |e| e.contains("Started"));
    assert_eq!(pod("held")["status"]["phase"], "Pending");
    k(&["delete", "pod", "held", TIMEOUT]).ok();

    // A hook that fails has its container ended, with its grace period, and nothing else waits for
    // that.
    eventually(PATIENCE, || events("unhooked"), |e| e.contains("PostStartHook failed"));
    eventually(PATIENCE, || events("unhooked"), |e| e.contains("FailedPostStartHook"));
    let of = |name: &str| {
        let all = pod("unhooked")["status"]["containerStatuses"].clone();
        all.as_array().and_then(|all| all.iter().find(|s| s["name"] == name)).cloned().unwrap_or_default()
    };
    eventually(PATIENCE, || of("other"), |other| other["ready"] == true);
    let stubborn = of("stubborn");
    assert!(stubborn["state"]["running"].is_object() && stubborn["ready"] == false, "{stubborn}");
    k(&["delete", "pod", "unhooked", "--grace-period=1", TIMEOUT]).ok();

    // The sidecar starts before and ends after the work, and does not keep the pod from being done.
    eventually(PATIENCE, || pod("beside"), |p| p["status"]["phase"] == "Succeeded");
    let helper = pod("beside")["status"]["initContainerStatuses"][0].clone();
    assert_eq!(helper["state"]["terminated"]["exitCode"], 0, "it was asked to end: {helper}");
}
