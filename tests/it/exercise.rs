//! The exercise of the first study document, command by command, with every kubectl at hand, as
//! root and as an ordinary user.

use super::support::{
    Cluster, Home, Kubectl, PATIENCE, Said, built_in, capable, eventually, http_get, real_kubectl, skip, turn,
};
use regex::Regex;
use serde_json::Value;

#[track_caller]
fn matches(text: &str, pattern: &str) {
    let pattern = Regex::new(&format!("(?m)^{pattern}$")).expect("a pattern");
    assert!(pattern.is_match(text), "no line like {pattern} in:\n{text}");
}

/// Rows 1.1 to 1.12 of the curriculum.
fn exercise(cluster: &Cluster, with: &Kubectl) {
    look_around(cluster, with);
    run_and_scale(cluster, with);
    expose_and_visit(cluster, with);
    delete_and_heal(cluster, with);
    apply_manifests(cluster, with);
}

/// Rows 1.1 to 1.3: the nodes, and what runs before anything was started.
fn look_around(cluster: &Cluster, with: &Kubectl) {
    let k = |line: &str| cluster.kubectl(with, &line.split_whitespace().collect::<Vec<_>>());
    // 1.1 the client, the nodes
    matches(&k("version --client").ok(), "Client Version: v1.*");
    let nodes = k("get nodes").ok();
    matches(&nodes, r"NAME +STATUS +ROLES +AGE +VERSION *");
    matches(&nodes, r"ropewalk-control-plane +Ready +control-plane +\S+ +v1\.35\.0\+ropewalk *");
    matches(&nodes, r"ropewalk-worker2 +Ready +<none> +.*");
    // 1.2 nothing yet
    let nothing = k("get pods");
    assert_eq!((nothing.code, nothing.err.as_str()), (0, "No resources found in default namespace.\n"));
    // 1.3 the control plane itself
    let system = k("get pods --all-namespaces").ok();
    for pod in [
        r"coredns-[a-z0-9]+-[a-z0-9]{5}",
        "etcd-ropewalk-control-plane",
        "kube-apiserver-ropewalk-control-plane",
        "kube-controller-manager-ropewalk-control-plane",
        "kube-scheduler-ropewalk-control-plane",
        r"kube-proxy-[a-z0-9]{5}",
        r"storage-provisioner-[a-z0-9]+-[a-z0-9]{5}",
    ] {
        matches(&system, &format!(r"kube-system +{pod} +1/1 +Running +\d.*"));
    }
    assert_eq!(system.matches("coredns-").count(), 2, "{system}");
}

/// Rows 1.4 to 1.6: a pod, a Deployment, and three copies of it.
fn run_and_scale(cluster: &Cluster, with: &Kubectl) {
    let k = |line: &str| cluster.kubectl(with, &line.split_whitespace().collect::<Vec<_>>());
    // 1.4 run a pod
    assert_eq!(k("run nginx-pod --image=nginx").ok(), "pod/nginx-pod created\n");
    let wide = eventually(PATIENCE, || k("get pods -o wide").ok(), |t| t.contains("Running"));
    matches(
        &wide,
        r"nginx-pod +1/1 +Running +0 +\S+ +10\.244\.\d+\.\d+ +ropewalk-worker2? +<none> +<none> *",
    );
    // 1.5 a deployment
    assert_eq!(k("create deployment dpy-nginx --image=nginx").ok(), "deployment.apps/dpy-nginx created\n");
    let wide = eventually(PATIENCE, || k("get deployment -o wide").ok(), |t| t.contains("1/1"));
    matches(&wide, r"dpy-nginx +1/1 +1 +1 +\S+ +nginx +nginx +app=dpy-nginx *");
    let described =
        eventually(PATIENCE, || k("describe deployment dpy-nginx").ok(), |t| t.contains("ScalingReplicaSet"));
    for line in [
        r"Name: +dpy-nginx",
        r"Namespace: +default",
        r"Labels: +app=dpy-nginx",
        r"Annotations: +deployment.kubernetes.io/revision: 1",
        r"Selector: +app=dpy-nginx",
        r"Replicas: +1 desired \| 1 updated \| 1 total \| 1 available \| 0 unavailable",
        r"StrategyType: +RollingUpdate",
        r"MinReadySeconds: +0",
        r"RollingUpdateStrategy: +25% max unavailable, 25% max surge",
        r" +Image: +nginx",
        r" +Available +True +MinimumReplicasAvailable",
        r" +Progressing +True +NewReplicaSetAvailable",
        r"OldReplicaSets: +<none>",
        r"NewReplicaSet: +dpy-nginx-[a-z0-9]+ \(1/1 replicas created\)",
        r" +Normal +ScalingReplicaSet +\S+ +deployment-controller +Scaled up replica set dpy-nginx-[a-z0-9]+ from 0 to 1",
    ] {
        matches(&described, line);
    }
    // 1.6 scale
    assert_eq!(k("scale deployment dpy-nginx --replicas=3").ok(), "deployment.apps/dpy-nginx scaled\n");
    let three = eventually(PATIENCE, || k("get deployment").ok(), |t| t.contains("3/3"));
    matches(&three, r"dpy-nginx +3/3 +3 +3 +\S+");
    let ips = k("get pods -o jsonpath={.items[*].status.podIP}").ok();
    let mut ips: Vec<&str> = ips.split_whitespace().collect();
    ips.sort_unstable();
    ips.dedup();
    assert_eq!(ips.len(), 4, "every pod has an address of its own: {ips:?}");
}

/// Rows 1.7 to 1.9: a Service, its page, and its end.
fn expose_and_visit(cluster: &Cluster, with: &Kubectl) {
    let k = |line: &str| cluster.kubectl(with, &line.split_whitespace().collect::<Vec<_>>());
    // 1.7 expose
    let exposed = k("expose pod nginx-pod --type=NodePort --name=pod-svc --port=80").ok();
    assert_eq!(exposed, "service/pod-svc exposed\n");
    let services = k("get svc").ok();
    matches(&services, r"kubernetes +ClusterIP +10\.96\.0\.1 +<none> +443/TCP +\S+");
    matches(
        &services,
        r"pod-svc +NodePort +10\.(9[6-9]|10\d|11[01])\.\d+\.\d+ +<none> +80:3[0-2]\d{3}/TCP +\S+",
    );
    let port: u16 = k("get svc pod-svc -o jsonpath={.spec.ports[0].nodePort}").ok().parse().expect("a port");
    // 1.8 the page, on the learner's own localhost, in both address families
    for host in ["127.0.0.1", "::1"] {
        let page = eventually(PATIENCE, || http_get(host, port), |r| r.is_ok()).expect("a page");
        assert!(page.contains("<title>Welcome to nginx!</title>"), "{page}");
    }
    // 1.9 delete the service: refused at once
    matches(&k("delete service pod-svc").ok(), r#"service "pod-svc" deleted.*"#);
    eventually(
        PATIENCE,
        || http_get("127.0.0.1", port).err().map(|e| e.kind()),
        |kind| *kind == Some(std::io::ErrorKind::ConnectionRefused),
    );
}

/// Rows 1.10 and 1.11: a pod is replaced; the Deployment takes its pods along.
fn delete_and_heal(cluster: &Cluster, with: &Kubectl) {
    let k = |line: &str| cluster.kubectl(with, &line.split_whitespace().collect::<Vec<_>>());
    // 1.10 delete a pod: another takes its place
    let pods = k("get pods -l app=dpy-nginx -o name").ok();
    let victim = pods.lines().next().expect("a pod").trim_start_matches("pod/").to_string();
    matches(&k(&format!("delete pod {victim}")).ok(), &format!(r#"pod "{victim}" deleted.*"#));
    let healed = eventually(PATIENCE, || k("get deployment dpy-nginx").ok(), |t| t.contains("3/3"));
    matches(&healed, r"dpy-nginx +3/3 .*");
    assert!(!k("get pods").ok().contains(&victim));
    // 1.11 delete the deployment: its pods go too
    matches(&k("delete deployment dpy-nginx").ok(), r#"deployment.apps "dpy-nginx" deleted.*"#);
    let gone = k("get deployments");
    assert_eq!((gone.out.as_str(), gone.err.as_str()), ("", "No resources found in default namespace.\n"));
    eventually(PATIENCE, || k("get pods -l app=dpy-nginx -o name").ok(), String::is_empty);
}

/// Row 1.12: manifests. At the end nothing is left.
fn apply_manifests(cluster: &Cluster, with: &Kubectl) {
    let k = |line: &str| cluster.kubectl(with, &line.split_whitespace().collect::<Vec<_>>());
    let file = cluster.home.path().join("web.yaml");
    let manifest = |replicas: u32| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: {replicas}\n  selector:\n    matchLabels:\n      app: web\n  \
             template:\n    metadata:\n      labels:\n        app: web\n    spec:\n      containers:\n      - name: nginx\n        image: nginx:1.27\n"
        )
    };
    let path = file.display().to_string();
    std::fs::write(&file, manifest(2)).expect("a file");
    assert_eq!(k(&format!("apply -f {path}")).ok(), "deployment.apps/web created\n");
    assert_eq!(k(&format!("apply -f {path}")).ok(), "deployment.apps/web unchanged\n");
    std::fs::write(&file, manifest(3)).expect("a file");
    let diff = k(&format!("diff -f {path}"));
    assert_eq!(diff.code, 1, "{diff:?}");
    matches(&diff.out, r"-  replicas: 2");
    matches(&diff.out, r"\+  replicas: 3");
    assert_eq!(k(&format!("apply -f {path}")).ok(), "deployment.apps/web configured\n");
    matches(&k("rollout status deployment web").ok(), r#"deployment "web" successfully rolled out"#);
    matches(&k("get deployment web -o yaml").ok(), r"  replicas: 3");
    matches(&k(&format!("delete -f {path}")).ok(), r#"deployment.apps "web" deleted.*"#);
    matches(&k("delete pod nginx-pod").ok(), r#"pod "nginx-pod" deleted.*"#);
    eventually(PATIENCE, || k("get pods -o name").ok(), String::is_empty);
}

#[test]
fn the_first_document_with_the_real_kubectl() {
    if !capable() {
        return;
    }
    let Some(real) = real_kubectl() else { return skip("there is no kubectl on PATH") };
    let (_turn, home) = (turn(), Home::new());
    let cluster = home.up(&[]);
    exercise(&cluster, &real);
    let trace = home.ropewalk(&["trace", "--name", "t", "default/pod/nginx-pod"]).ok();
    for hop in ["commit", "schedule", "bind", "sandbox", "start", "status"] {
        assert!(trace.contains(hop), "no {hop} in:\n{trace}");
    }
}

#[test]
fn the_first_document_with_the_built_in_kubectl() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let cluster = home.up(&[]);
    exercise(&cluster, &built_in());
}

#[test]
fn the_first_document_as_an_ordinary_user() {
    if !capable() {
        return;
    }
    let Some(home) = Home::of_user(65_500) else {
        return; // not root: the other tests were this one
    };
    let _turn = turn();
    let cluster = home.up(&[]);
    let kubectl = Kubectl { program: home.program().into(), ..built_in() };
    exercise(&cluster, &kubectl);
}

/// Stopped on purpose, the scheduler stays down: pods get no node until it is started again.
fn stays_down_until_it_is_started(home: &Home, k: &impl Fn(&str) -> Said, scheduler: &impl Fn() -> Value) {
    let fault = |args: &[&str]| home.ropewalk(&[&["fault"], args, &["--name", "t"]].concat());
    // One that has lost its Lease has ended, and is started again first.
    let is_not_stopped = |said: &Said| said.err.contains("was not stopped");
    eventually(PATIENCE, || fault(&["start", "kube-scheduler"]), is_not_stopped);
    fault(&["stop", "kube-scheduler"]).ok();
    let list = fault(&["list"]).ok();
    assert!(list.contains("kube-scheduler") && list.contains("ropewalk-control-plane"), "{list}");
    fault(&["stop", "kube-scheduler"]).fails("stopped already");
    fault(&["stop", "kube-scheduler/nowhere"]).fails("there is no node");
    fault(&["stop", "etcd/ropewalk-worker"]).fails("etcd does not run on ropewalk-worker;");
    // The back-off of the kill before may last a while: then the runtime refuses it.
    let refused =
        |status: &Value| status["state"]["waiting"]["reason"].as_str() == Some("CreateContainerError");
    let held = eventually(PATIENCE, scheduler, refused);
    assert!(held.to_string().contains("fault start kube-scheduler"), "{held}");
    k("run later --image=nginx").ok();
    assert_eq!(k("get pod later -o jsonpath={.spec.nodeName}").ok(), "");
    fault(&["start", "kube-scheduler"]).ok();
    eventually(PATIENCE, || k("get pod later -o jsonpath={.status.phase}").ok(), |p| p == "Running");
    assert!(!fault(&["list"]).ok().contains("kube-scheduler"));
}

#[test]
fn components_are_the_running_thing() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let cluster = home.up(&["--workers", "1"]);
    let any = super::support::any_kubectl();
    let k = |line: &str| cluster.kubectl(&any, &line.split_whitespace().collect::<Vec<_>>());
    let logs = k("logs -n kube-system kube-scheduler-ropewalk-control-plane").ok();
    assert!(logs.contains("successfully acquired lease"), "{logs}");
    // Killed for real, started again, counted; and it does its work again.
    let scheduler = || -> Value {
        let said = k("get pod -n kube-system kube-scheduler-ropewalk-control-plane -o json");
        let pod: Value = serde_json::from_str(&said.out).unwrap_or_default();
        pod["status"]["containerStatuses"][0].clone()
    };
    let before = scheduler()["restartCount"].as_i64().expect("a number");
    home.ropewalk(&["fault", "kill", "kube-scheduler", "--name", "t"]).ok();
    let killed = eventually(PATIENCE, scheduler, |status| status["restartCount"].as_i64() > Some(before));
    k("run after --image=nginx").ok();
    eventually(PATIENCE, || k("get pod after -o jsonpath={.status.phase}").ok(), |p| p == "Running");
    // A mirror pod is a picture: deleting it makes a new picture, and ends nothing.
    let uid = "get pod -n kube-system kube-scheduler-ropewalk-control-plane -o jsonpath={.metadata.uid}";
    let before = k(uid).ok();
    k("delete pod -n kube-system kube-scheduler-ropewalk-control-plane --wait=false").ok();
    eventually(PATIENCE, || k(uid), |said| said.code == 0 && said.out != before && !said.out.is_empty());
    let now = eventually(PATIENCE, scheduler, |status| status["restartCount"].is_number());
    // On a machine with more work than processors it may have lost its Lease, and says so.
    let message = now["lastState"]["terminated"]["message"].as_str().unwrap_or_default();
    assert!(
        now["restartCount"] == killed["restartCount"] || message.contains("leaderelection lost"),
        "the component itself ran on: {now}"
    );
    stays_down_until_it_is_started(&home, &k, &scheduler);
    // A name server is an ordinary pod.
    k("delete pod -n kube-system -l k8s-app=kube-dns").ok();
    eventually(PATIENCE, || k("get deploy -n kube-system coredns").ok(), |t| t.contains("2/2"));
    home.ropewalk(&["fault", "kill", "nonsense", "--name", "t"]).fails("there is no component nonsense;");
}
