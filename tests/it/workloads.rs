//! Workloads that end, that have an identity, and that grow with their load; and the figures that
//! they grow by.

use super::support::{Home, PATIENCE, TIMEOUT, World, both_kubectls, capable, eventually, turn};
use serde_json::Value;

const OBJECTS: &str = r#"
apiVersion: batch/v1
kind: Job
metadata: {name: shares}
spec:
  completions: 3
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: work, image: busybox, command: [sh, -c, 'echo share $JOB_COMPLETION_INDEX of $HOSTNAME']}
---
apiVersion: batch/v1
kind: Job
metadata: {name: broken}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: work, image: busybox, command: [sh, -c, 'exit 3']}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: brief}
spec:
  ttlSecondsAfterFinished: 1
  template:
    spec:
      restartPolicy: OnFailure
      containers: [{name: work, image: busybox, command: ['true']}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: '@every 2s'
  timeZone: Asia/Seoul
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: work, image: busybox, command: [date]}]
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: nginx:1.26
        readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: busy}
spec:
  selector: {matchLabels: {app: busy}}
  template:
    metadata: {labels: {app: busy}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: burn
        image: busybox
        command: [sh, -c, 'while :; do :; done']
        resources: {requests: {cpu: 20m}, limits: {cpu: 100m}}
"#;

const ENDED: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: late-0, labels: {app: late}}
spec:
  restartPolicy: Never
  containers: [{name: web, image: busybox, command: ["true"]}]
"#;

const LATE: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: late}
spec:
  serviceName: db
  selector: {matchLabels: {app: late}}
  template:
    metadata: {labels: {app: late}}
    spec: {containers: [{name: web, image: nginx:1.27}]}
"#;

#[test]
fn jobs_stateful_sets_and_autoscalers_do_what_they_do_in_kubernetes() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let w = World::up(&home, &["--workers", "1"]);
    w.apply(OBJECTS).ok();
    w.k(&["autoscale", "deployment", "busy", "--min=1", "--max=3", "--cpu-percent=50"]);
    orphans(&w);
    jobs(&w);
    cron_job(&w);
    stateful_set(&w);
    figures(&w);
    autoscaler(&w);
}

fn conditions(status: &Value) -> Vec<String> {
    let all = status["conditions"].as_array().into_iter().flatten();
    all.map(|c| format!("{}={}", c["type"].as_str().unwrap_or(""), c["reason"].as_str().unwrap_or("")))
        .collect()
}

/// What loses its owner to `--cascade=orphan` lives on without one: nobody who has not yet heard of
/// the deletion takes it in again.
fn orphans(w: &World) {
    let names: Vec<String> = (0..6).map(|i| format!("left-{i}")).collect();
    for name in &names {
        w.k(&["create", "deployment", name, "--image=nginx:1.27", "--replicas=2"]);
    }
    for name in &names {
        w.k(&["rollout", "status", &format!("deployment/{name}"), TIMEOUT]);
    }
    let all = format!("app in ({})", names.join(","));
    let uids = || w.k(&["get", "pods", "-l", &all, "-o", "jsonpath={.items[*].metadata.uid}"]);
    let before = uids();
    assert_eq!(before.split_whitespace().count(), 12);
    w.k(&["delete", "deployment", "-l", &all, "--cascade=orphan"]);
    w.k(&["delete", "replicaset", "-l", &all, "--cascade=orphan"]);
    // A marker that the garbage collector takes after all that it heard of before.
    w.k(&["create", "deployment", "marker", "--image=nginx:1.27"]);
    w.k(&["delete", "deployment", "marker", "--cascade=foreground"]);
    assert_eq!(uids(), before);
    let told = "jsonpath={.items[*].metadata.ownerReferences[*].name}{.items[*].metadata.deletionTimestamp}";
    assert_eq!(w.k(&["get", "pods", "-l", &all, "-o", told]), "");
    assert_eq!(w.k(&["get", "replicaset", "-l", &all, "-o", "name"]), "");
    w.k(&["delete", "pods", "-l", &all, "--wait=false"]);
}

fn jobs(w: &World) {
    w.k(&["wait", "--for=condition=complete", "job/shares", TIMEOUT]);
    let done = w.status("job/shares");
    assert_eq!((done["succeeded"].as_i64(), done["completedIndexes"].as_str()), (Some(3), Some("0-2")));
    assert_eq!(conditions(&done), ["SuccessCriteriaMet=CompletionsReached", "Complete=CompletionsReached"]);
    let logs = w.k(&["logs", "-l", "batch.kubernetes.io/job-completion-index=1,job-name=shares"]);
    assert_eq!(logs, "share 1 of shares-1\n");
    let held =
        || w.k(&["get", "pods", "-l", "job-name=shares", "-o", "jsonpath={.items[*].metadata.finalizers}"]);
    eventually(PATIENCE, held, String::is_empty); // nothing keeps a pod that was counted
    w.k(&["wait", "--for=condition=failed", "job/broken", TIMEOUT]);
    let failed = w.status("job/broken");
    assert_eq!(conditions(&failed), ["FailureTarget=BackoffLimitExceeded", "Failed=BackoffLimitExceeded"]);
    w.told("Job", "broken", "Job has reached the specified backoff limit");
    w.told("Job", "shares", "Job completed");
    eventually(PATIENCE, || w.k(&["get", "jobs", "-o", "name"]), |all| !all.contains("brief"));
    for client in both_kubectls() {
        let told = w.cluster.kubectl(&client, &["describe", "job", "shares"]).ok();
        assert!(told.contains("0 Active (0 Ready) / 3 Succeeded / 0 Failed"), "{told}");
        assert!(told.contains("Completed Indexes:  0-2") && told.contains("Job completed"), "{told}");
    }
    // Deleting a job deletes its pods, held or not.
    w.k(&["delete", "job", "shares"]);
    eventually(PATIENCE, || w.pod_names("job-name=shares"), Vec::is_empty);
}

fn cron_job(w: &World) {
    let ran =
        eventually(PATIENCE, || w.object("cronjob/tick"), |c| c["status"]["lastScheduleTime"].is_string());
    assert!(ran["status"]["active"].is_array() || ran["status"]["lastSuccessfulTime"].is_string(), "{ran}");
    w.k(&["create", "job", "--from=cronjob/tick", "by-hand"]);
    w.k(&["wait", "--for=condition=complete", "job/by-hand", TIMEOUT]);
    let owned = w.k(&["get", "jobs", "-o", "jsonpath={.items[*].metadata.annotations}"]);
    assert!(owned.contains("cronjob-scheduled-timestamp") && owned.contains("+09:00"), "{owned}");
    for client in both_kubectls() {
        let told = w.cluster.kubectl(&client, &["describe", "cronjob", "tick"]).ok();
        assert!(told.contains("Concurrency Policy:            Forbid"), "{told}");
    }
    let wrong = ["create", "cronjob", "wrong", "--image=busybox", "--schedule=61 * * * *"];
    w.cluster.kubectl(&w.any, &wrong).fails("end of range (61) above maximum (59): 61");
    w.k(&["delete", "cronjob", "tick"]);
}

/// Names, volumes and addresses of a StatefulSet's pods stay; its claims go with a smaller size.
fn stateful_set(w: &World) {
    w.k(&["rollout", "status", "statefulset/db", TIMEOUT]);
    assert_eq!(w.pod_names("app=db"), ["db-0", "db-1"]);
    w.told("StatefulSet", "db", "Create Claim data-db-0 Pod db-0 in StatefulSet db success");
    w.told("StatefulSet", "db", "Create Pod db-1 in StatefulSet db successful");
    let first = w.object("pod/db-0");
    assert_eq!(first["metadata"]["labels"]["apps.kubernetes.io/pod-index"], "0");
    // The name is the pod's, and so is what it wrote, whichever pod bears it.
    w.k(&["exec", "db-0", "--", "sh", "-c", "echo kept > /data/file"]);
    let name = "db-0.db.default.svc.cluster.local";
    assert!(w.k(&["exec", "db-0", "--", "cat", "/etc/hosts"]).contains(name));
    // Until the name server has heard of the endpoints it says that there is no such name.
    let resolved = || w.say(&format!("exec db-1 -- nslookup {name}"));
    eventually(PATIENCE, resolved, |said| said.code == 0 && said.out.contains("10.244."));
    w.k(&["delete", "pod", "db-0"]);
    let another = || w.cluster.kubectl(&w.any, &["get", "pod", "db-0", "-o", "jsonpath={.metadata.uid}"]);
    let uid = first["metadata"]["uid"].as_str().expect("a uid");
    eventually(PATIENCE, another, |said| said.code == 0 && said.out != uid);
    w.k(&["wait", "--for=condition=ready", "pod/db-0", TIMEOUT]);
    assert_eq!(w.k(&["exec", "db-0", "--", "cat", "/data/file"]), "kept\n");
    proxied(w);
    stateful_update(w);
    // A claim goes with a pod that is scaled away, if that was asked for.
    w.k(&["scale", "statefulset", "db", "--replicas=1"]);
    eventually(
        PATIENCE,
        || w.k(&["get", "pvc", "-o", "name"]),
        |all| all.trim() == "persistentvolumeclaim/data-db-0",
    );
    w.k(&["delete", "statefulset", "db"]);
    eventually(PATIENCE, || w.pod_names("app=db"), Vec::is_empty);
    // A pod that has ended, with the name of the set's first one: the set adopts it and makes it
    // anew.
    w.apply(ENDED).ok();
    w.k(&["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/late-0", TIMEOUT]);
    w.apply(LATE).ok();
    w.k(&["rollout", "status", "statefulset/late", TIMEOUT]);
    w.k(&["delete", "statefulset", "late"]);
}

/// The API server passes a request on to a pod, and to a pod behind a Service.
fn proxied(w: &World) {
    for client in both_kubectls() {
        for name in ["pods/db-0", "pods/http:db-0:80", "services/db:80"] {
            let raw = format!("get --raw /api/v1/namespaces/default/{name}/proxy/");
            eventually(
                PATIENCE,
                || w.with(&client, &raw),
                |said| said.code == 0 && said.out.contains("nginx"),
            );
        }
        let closed = w.with(&client, "get --raw /api/v1/namespaces/default/pods/db-0:81/proxy/");
        closed.fails("error trying to reach service: dial tcp 10.244.");
    }
}

/// Anew from the highest, as far as the partition; then all; then back.
fn stateful_update(w: &World) {
    w.k(&[
        "patch",
        "statefulset",
        "db",
        "-p",
        r#"{"spec":{"updateStrategy":{"rollingUpdate":{"partition":1}}}}"#,
    ]);
    w.k(&["set", "image", "statefulset/db", "web=nginx:1.27"]);
    let told = w.k(&["rollout", "status", "statefulset/db", TIMEOUT]);
    assert!(told.contains("partitioned roll out complete: 1 new pods have been updated"), "{told}");
    let image =
        |pod: &str| w.object(pod)["spec"]["containers"][0]["image"].as_str().unwrap_or("").to_string();
    assert_eq!((image("pod/db-0").as_str(), image("pod/db-1").as_str()), ("nginx:1.26", "nginx:1.27"));
    w.k(&[
        "patch",
        "statefulset",
        "db",
        "-p",
        r#"{"spec":{"updateStrategy":{"rollingUpdate":{"partition":0}}}}"#,
    ]);
    w.k(&["rollout", "status", "statefulset/db", TIMEOUT]);
    let history = w.k(&["rollout", "history", "statefulset/db"]);
    assert!(history.contains("\n1 ") && history.contains("\n2 "), "{history}");
    w.k(&["rollout", "undo", "statefulset/db"]);
    // What the status said of the change before counts for nothing.
    let seen = |set: &Value| set["status"]["observedGeneration"] == set["metadata"]["generation"];
    let done = |set: &Value| {
        let status = &set["status"];
        seen(set) && status["currentRevision"] == status["updateRevision"] && status["updatedReplicas"] == 2
    };
    eventually(PATIENCE, || w.object("statefulset/db"), done);
    assert_eq!(image("pod/db-0"), "nginx:1.26");
    for client in both_kubectls() {
        let told = w.cluster.kubectl(&client, &["describe", "statefulset", "db"]).ok();
        assert!(told.contains("2 desired | 2 total") && told.contains("Volume Claims:"), "{told}");
    }
}

fn figures(w: &World) {
    for client in both_kubectls() {
        let pods = || {
            w.cluster.kubectl(&client, &["top", "pods", "-l", "app=busy", "--containers", "--no-headers"]).out
        };
        // It burns the tenth of a core that it may, or less where the machine has no more to give.
        // The kernel meters in periods, so a short window may show some more.
        eventually(PATIENCE, pods, |out| {
            let words = out.split_whitespace();
            let cpu = words.skip_while(|word| *word != "burn").nth(1);
            let cpu = cpu.and_then(|c| c.trim_end_matches('m').parse::<u32>().ok());
            cpu.is_some_and(|c| (1..=200).contains(&c))
        });
        let nodes = w.cluster.kubectl(&client, &["top", "nodes", "--sort-by=cpu"]).ok();
        assert!(nodes.contains("ropewalk-worker") && nodes.contains("Mi"), "{nodes}");
    }
    let raw = w.k(&["get", "--raw", "/api/v1/nodes/ropewalk-worker/proxy/metrics/resource"]);
    assert!(
        raw.contains("container_cpu_usage_seconds_total{container=\"burn\",namespace=\"default\""),
        "{raw}"
    );
}

fn autoscaler(w: &World) {
    let status = eventually(PATIENCE, || w.status("hpa/busy"), |s| s["desiredReplicas"] == 3);
    assert!(
        status["currentMetrics"][0]["resource"]["current"]["averageUtilization"].as_i64() > Some(50),
        "{status}"
    );
    let why = "reason: cpu resource utilization (percentage of request) above target";
    w.told("HorizontalPodAutoscaler", "busy", why);
    eventually(PATIENCE, || w.pod_names("app=busy"), |pods| pods.len() == 3);
    for client in both_kubectls() {
        let row = w.cluster.kubectl(&client, &["get", "hpa", "busy", "--no-headers"]).ok();
        assert!(row.contains("Deployment/busy") && row.contains("%/50%"), "{row}");
        let told = w.cluster.kubectl(&client, &["describe", "hpa", "busy"]).ok();
        assert!(told.contains("resource cpu on pods  (as a percentage of request):"), "{told}");
        assert!(told.contains("ValidMetricFound"), "{told}");
    }
    let old = w.k(&[
        "get",
        "horizontalpodautoscalers.v1.autoscaling",
        "busy",
        "-o",
        "jsonpath={.spec.targetCPUUtilizationPercentage}",
    ]);
    assert_eq!(old, "50");
    // Without load it comes down as soon as the behavior lets it.
    let behavior = r#"{"spec":{"behavior":{"scaleDown":{"stabilizationWindowSeconds":0}},"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"AverageValue","averageValue":"10"}}}]}}"#;
    w.k(&["patch", "hpa", "busy", "--type=merge", "-p", behavior]);
    eventually(PATIENCE, || w.status("hpa/busy"), |s| s["desiredReplicas"] == 1);
    w.told("HorizontalPodAutoscaler", "busy", "All metrics below target");
}
