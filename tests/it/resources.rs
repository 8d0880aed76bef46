//! What a container may use and what it is given: memory and its end, words without end, classes of
//! service, volumes that follow what they show.

use super::support::{Home, PATIENCE, TIMEOUT, World, capable, eventually, turn};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Seconds that the hook of `sleeper` sleeps.
const SLEEP: i64 = 4;

/// `greedy` wants more memory than it may have, beside a neighbour who does not; the others are of
/// the three classes.
const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  containers:
  - name: eats
    image: busybox
    command: [sh, -c, 'x=0123456789abcdef; while :; do x=$x$x; done']
    resources: {limits: {memory: 32Mi}}
  - {name: sits, image: busybox, command: [sleep, '3600'], resources: {limits: {memory: 32Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: guaranteed}
spec:
  containers:
  - {name: a, image: busybox, command: [sleep, '3600'], resources: {limits: {cpu: 100m, memory: 32Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: burstable}
spec:
  containers:
  - {name: a, image: busybox, command: [sleep, '3600'], resources: {limits: {cpu: 100m, memory: 32Mi}}}
  - {name: b, image: busybox, command: [sleep, '3600'], resources: {requests: {memory: 16Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: best-effort}
spec:
  containers: [{name: a, image: busybox, command: [sleep, '3600']}]
---
apiVersion: v1
kind: Pod
metadata: {name: counts}
spec:
  containers:
  - {name: a, image: busybox, command: [sh, -c, 'echo begun; until [ -e /go ]; do sleep 0.1; done; seq 600000; sleep 3600']}
---
apiVersion: v1
kind: Pod
metadata: {name: polite-1, labels: {polite: 'yes'}}
spec:
  terminationGracePeriodSeconds: 3600
  containers:
  - name: a
    image: nginx
    lifecycle: {preStop: {exec: {command: [sh, -c, 'until [ -e /go ]; do sleep 0.1; done']}}}
---
apiVersion: v1
kind: Pod
metadata: {name: polite-2, labels: {polite: 'yes'}}
spec:
  terminationGracePeriodSeconds: 3600
  containers:
  - name: a
    image: nginx
    lifecycle: {preStop: {exec: {command: [sh, -c, 'until [ -e /go ]; do sleep 0.1; done']}}}
---
apiVersion: v1
kind: Pod
metadata: {name: sleeper, labels: {polite: 'yes'}, finalizers: [it.ropewalk/kept]}
spec:
  terminationGracePeriodSeconds: 3600
  containers: [{name: a, image: nginx, lifecycle: {preStop: {sleep: {seconds: 4}}}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: told}
data: {word: first}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {word: first}
---
apiVersion: v1
kind: Pod
metadata: {name: reader, labels: {word: first}}
spec:
  containers:
  - name: reads
    image: busybox
    command: [sleep, '3600']
    volumeMounts:
    - {name: map, mountPath: /map}
    - {name: secret, mountPath: /secret}
    - {name: all, mountPath: /all}
    - {name: labels, mountPath: /labels}
    - {name: map, mountPath: /fixed, subPath: word}
  volumes:
  - {name: map, configMap: {name: told}}
  - {name: secret, secret: {secretName: hidden}}
  - name: all
    projected:
      sources:
      - configMap: {name: told, items: [{key: word, path: from/map}]}
      - secret: {name: hidden, items: [{key: word, path: from/secret}]}
      - downwardAPI: {items: [{path: from/pod, fieldRef: {fieldPath: \"metadata.labels['word']\"}}]}
  - name: labels
    downwardAPI: {items: [{path: all, fieldRef: {fieldPath: metadata.labels}}]}
";

fn container_status(w: &World, pod: &str, name: &str) -> Value {
    let status = w.status(&format!("pod {pod}"));
    let mut all = status["containerStatuses"].as_array().into_iter().flatten();
    all.find(|c| c["name"] == name).cloned().unwrap_or_default()
}

#[test]
fn containers_get_what_they_may_have_and_see_what_changes() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let w = World::up(&home, &["--workers", "1"]);
    w.apply(PODS).ok();
    classes(&w);
    volumes(&w);
    memory(&w);
    words(&w);
    hooks(&w);
}

/// A client that follows a log gets it without a gap, also if the container writes more than is
/// kept. A container that never stops writing fills no disk, and other pods run on.
fn words(w: &World) {
    const LINES: usize = 600_000; // more than two files
    const LOG_MAX: u64 = 10 << 20;
    w.k(&["wait", "--for=condition=ready", "pod/counts", TIMEOUT]);
    let mut command = w.cluster.home.command(&w.any.program);
    command.args(&w.any.leading).args(["logs", "-f", "counts"]).env("KUBECONFIG", w.cluster.kubeconfig());
    let mut listener = command.stdout(Stdio::piped()).spawn().expect("kubectl runs");
    let mut heard = BufReader::new(listener.stdout.take().expect("its output")).lines();
    // It listens before there is more to hear than is kept.
    assert_eq!(heard.next().expect("a line").expect("text"), "begun");
    w.k(&["exec", "counts", "--", "touch", "/go"]);
    let mut count = 0;
    for line in heard.take(LINES) {
        count += 1;
        assert_eq!(line.expect("text"), count.to_string(), "a gap, or something twice");
    }
    assert_eq!(count, LINES, "the listener was sent away");
    listener.kill().expect("it still listens");
    listener.wait().expect("its end");
    let directories = |pod: &str| -> Vec<PathBuf> {
        let logs = w.cluster.home.path().join("clusters/t/data/ropewalk-worker/log/pods");
        let all = std::fs::read_dir(logs).expect("logs").flatten().map(|e| e.path());
        all.filter(|p| p.to_string_lossy().contains(&format!("/default_{pod}_"))).collect()
    };
    let files = |pod: &str| -> Vec<(PathBuf, u64)> {
        let own = directories(pod).into_iter();
        let in_it = own.flat_map(|p| std::fs::read_dir(p.join("a")).into_iter().flatten().flatten());
        // one may just be moved aside
        in_it.filter_map(|e| Some((e.path(), e.metadata().ok()?.len()))).collect()
    };
    assert!(files("counts").len() > 2, "nothing was moved aside: {:?}", files("counts"));

    w.k(&[
        "run",
        "floods",
        "--image=busybox",
        "--overrides",
        r#"{"spec":{"containers":[{"name":"a","image":"busybox","command":["yes","a flood of words"]}]}}"#,
    ]);
    // Five files, and the flood goes on.
    let oldest = || files("floods").iter().any(|(path, _)| path.extension().is_some_and(|e| e == "4"));
    eventually(PATIENCE, oldest, |there| *there);
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert_eq!(w.k(&["exec", "guaranteed", "--", "echo", "here"]).trim(), "here");
        assert_eq!(w.k(&["logs", "floods", "--tail=3"]).lines().count(), 3);
        let kept = files("floods");
        let bytes: u64 = kept.iter().map(|(_, size)| size).sum();
        assert!(kept.len() <= 5 && bytes <= 5 * LOG_MAX, "{bytes} bytes in {kept:?}");
    }
    w.k(&["delete", "pod", "floods", "counts", "--now", "--wait=false"]);
    eventually(PATIENCE, || [directories("floods"), directories("counts")].concat(), Vec::is_empty);
}

/// A pod with a `preStop` hook has the time of its hook, however often the kubelet looks at the pod
/// meanwhile.
fn hooks(w: &World) {
    w.k(&["wait", "--for=condition=ready", "pod", "-l", "polite=yes", TIMEOUT]);
    w.k(&["delete", "pod", "-l", "polite=yes", "--wait=false"]);
    let polite = ["polite-1", "polite-2"];
    for look in 0..5 {
        for pod in polite {
            let seen = w.status(&format!("pod {pod}"));
            assert!(seen["containerStatuses"][0]["state"]["running"].is_object(), "look {look}: {seen}");
        }
        w.k(&["annotate", "pod", "-l", "polite=yes", "--overwrite", &format!("looks={look}")]);
    }
    for pod in polite {
        w.k(&["exec", pod, "--", "touch", "/go"]);
    }
    // A hook that sleeps: by the cluster's own times, which are whole seconds. The kubelet tells of
    // the end before the hook begins.
    let terminated = |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["terminated"].clone();
    let slept = eventually(PATIENCE, || w.object("pod sleeper"), |pod| terminated(pod).is_object());
    let time = |text: &Value| text.as_str().and_then(|t| t.parse::<jiff::Timestamp>().ok()).expect("a time");
    w.told("Pod", "sleeper", "Stopping container a");
    let told = w.object("events --field-selector reason=Killing,involvedObject.name=sleeper");
    let begun = time(&told["items"][0]["firstTimestamp"]).as_second();
    assert!(time(&terminated(&slept)["finishedAt"]).as_second() - begun >= SLEEP - 1, "{told} {slept}");
    w.k(&["patch", "pod", "sleeper", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    eventually(PATIENCE, || w.k(&["get", "pods", "-l", "polite=yes", "-o", "name"]), String::is_empty);
}

fn classes(w: &World) {
    for (pod, class) in
        [("guaranteed", "Guaranteed"), ("burstable", "Burstable"), ("best-effort", "BestEffort")]
    {
        assert_eq!(w.status(&format!("pod {pod}"))["qosClass"], class, "{pod}");
    }
    let told = w.k(&["describe", "pod", "guaranteed"]);
    assert!(told.contains("QoS Class:                   Guaranteed"), "{told}");
    assert_eq!(
        w.object("pod guaranteed")["spec"]["containers"][0]["resources"]["requests"]["memory"],
        "32Mi",
        "who has a limit asks for as much"
    );
}

/// Its end is the kernel's doing, its own, and told; it starts again, the pod stays.
fn memory(w: &World) {
    let died = eventually(
        PATIENCE,
        || container_status(w, "greedy", "eats"),
        |c| c["restartCount"].as_i64() >= Some(1) && c["lastState"]["terminated"].is_object(),
    );
    let end = &died["lastState"]["terminated"];
    assert_eq!((&end["reason"], &end["exitCode"]), (&"OOMKilled".into(), &137.into()), "{died}");
    let neighbour = container_status(w, "greedy", "sits");
    assert_eq!((&neighbour["restartCount"], &neighbour["ready"]), (&0.into(), &true.into()), "{neighbour}");
    let shown = w.k(&["describe", "pod", "greedy"]);
    assert!(shown.contains("OOMKilled"), "{shown}");
    for (pod, container) in [("greedy", "sits"), ("guaranteed", "a"), ("best-effort", "a")] {
        assert_eq!(w.k(&["exec", pod, "-c", container, "--", "echo", "here"]).trim(), "here", "{pod}");
        assert_eq!(container_status(w, pod, container)["restartCount"], 0, "{pod}");
    }
}

fn volumes(w: &World) {
    w.k(&["wait", "--for=condition=ready", "pod/reader", TIMEOUT]);
    let read = |path: &str| w.k(&["exec", "reader", "--", "cat", path]);
    let all = ["/map/word", "/secret/word", "/all/from/map", "/all/from/secret", "/all/from/pod"];
    for path in all.iter().chain(&["/fixed"]) {
        assert_eq!(read(path), "first", "{path}");
    }
    assert_eq!(read("/labels/all"), "word=\"first\"");
    w.k(&["patch", "configmap", "told", "-p", r#"{"data":{"word":"second"}}"#]);
    w.k(&["patch", "secret", "hidden", "-p", r#"{"stringData":{"word":"second"}}"#]);
    // A change of the pod itself makes the kubelet look at once; without one it looks once a
    // minute.
    w.k(&["label", "pod", "reader", "word=second", "--overwrite"]);
    for path in all {
        eventually(PATIENCE, || read(path), |text| text == "second");
    }
    eventually(PATIENCE, || read("/labels/all"), |text| text == "word=\"second\"");
    assert_eq!(read("/fixed"), "first", "a single file is mounted as it was");
    // All of a volume changes in one step: behind one link.
    let link = w.k(&["exec", "reader", "--", "readlink", "/map/word"]);
    assert_eq!(link.trim(), "..data/word");
}
