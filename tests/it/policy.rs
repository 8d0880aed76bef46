//! What a cluster refuses, and in which words: budgets, quotas, limit ranges, ingresses,
//! certificates. With the built-in kubectl and, if there is one, a real one.

use super::support::{Home, PATIENCE, TIMEOUT, World, both_kubectls, built_in, capable, eventually, turn};
use base64::Engine as _;
use serde_json::{Value, json};

#[test]
fn what_may_not_be_is_refused_in_kubernetes_words() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let world = World::up(&home, &["--workers", "2"]);
    world.say("create deployment web --image=nginx --replicas=2").ok(); // comes up while the others are looked at
    quotas(&world);
    limits(&world);
    networks(&world);
    certificates(&world);
    budgets(&world);
}

fn budgets(world: &World) {
    world.say("create pdb web --selector=app=web --min-available=2").ok();
    let status = |name: &str| world.object(&format!("pdb {name}"))["status"].clone();
    let counted = eventually(PATIENCE, || status("web"), |s| s["currentHealthy"] == 2);
    assert_eq!((&counted["expectedPods"], &counted["disruptionsAllowed"]), (&json!(2), &json!(0)));
    let condition = &counted["conditions"][0];
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("InsufficientPods")));

    // Nobody is let go, and the answer says why.
    let pods = world.object("pods -l app=web");
    let pod = pods["items"][0]["metadata"]["name"].as_str().expect("a name").to_string();
    let node = pods["items"][0]["spec"]["nodeName"].as_str().expect("a node").to_string();
    let eviction = world.file(
        "eviction.json",
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}),
    );
    let raw = format!("create --raw /api/v1/namespaces/default/pods/{pod}/eviction -f {eviction}");
    world.say(&raw).fails("Cannot evict pod as it would violate the pod's disruption budget.");
    for kubectl in both_kubectls() {
        // Less than the pause before the next try, and enough for the first on a busy machine.
        let drain = format!("drain {node} --ignore-daemonsets --delete-emptydir-data --force --timeout=4s");
        let said =
            world.with(&kubectl, &drain).fails("(will retry after 5s): Cannot evict pod as it would violate");
        assert!(said.err.contains("global timeout reached: 4s"), "{}", said.err);
        assert!(
            said.err.contains(&format!("There are pending nodes to be drained:\n {node}")),
            "{}",
            said.err
        );
        assert_eq!(said.out.matches(&format!("evicting pod default/{pod}\n")).count(), 2, "{}", said.out);
    }
    assert_eq!(world.object(&format!("pod {pod}"))["metadata"]["deletionTimestamp"], Value::Null);

    // Half of what the Deployment wants may go: both leave their node, one after the other.
    world.say("delete pdb web").ok();
    world.say("create pdb half --selector=app=web --max-unavailable=50%").ok();
    eventually(PATIENCE, || status("half"), |s| s["disruptionsAllowed"] == 1);
    let drain = format!("drain {node} --ignore-daemonsets --delete-emptydir-data --force {TIMEOUT}");
    let said = world.with(&built_in(), &drain);
    assert!(said.out.contains(&format!("pod/{pod} evicted")), "{said:?}");
    assert!(said.out.contains(&format!("node/{node} drained")), "{said:?}");
    let is_settled = |s: &Value| s["disruptionsAllowed"] == 1 && s["disruptedPods"].is_null();
    let settled = eventually(PATIENCE, || status("half"), is_settled);
    assert_eq!(settled["expectedPods"], 2);

    // A pod that nobody manages cannot be a part of anything.
    world.say("run alone --image=nginx --labels=app=alone").ok();
    world.say("create pdb alone --selector=app=alone --max-unavailable=50%").ok();
    let events =
        "get events --field-selector involvedObject.name=alone,involvedObject.kind=PodDisruptionBudget";
    eventually(PATIENCE, || world.say(events).ok(), |e| e.contains("were found to be unmanaged"));
}

fn quotas(world: &World) {
    world.create_namespace("tight");
    world.say("-n tight create quota small --hard=pods=2,requests.cpu=1,services.nodeports=1,count/deployments.apps=1").ok();
    let used = || world.object("-n tight quota small")["status"]["used"].clone();
    let none =
        json!({"pods": "0", "requests.cpu": "0", "services.nodeports": "0", "count/deployments.apps": "0"});
    eventually(PATIENCE, used, |u| *u == none);
    world
        .say("-n tight run silent --image=nginx")
        .fails("pods \"silent\" is forbidden: failed quota: small: must specify requests.cpu for: silent");
    let pod = |name: &str, cpu: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "tight"},
            "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "busybox",
                "command": ["sleep", "3600"], "resources": {"requests": {"cpu": cpu}}}]}})
    };
    world.apply(pod("one", "400m")).ok();
    assert_eq!(
        (&used()["pods"], &used()["requests.cpu"]),
        (&json!("1"), &json!("400m")),
        "charged with the pod"
    );
    world
        .apply(pod("greedy", "700m"))
        .fails("exceeded quota: small, requested: requests.cpu=700m, used: requests.cpu=400m, limited: requests.cpu=1");
    world.apply(pod("two", "100m")).ok();
    world
        .apply(pod("three", "100m"))
        .fails("exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2");
    world.say("-n tight create service nodeport a --tcp=80").ok();
    world
        .say("-n tight create service nodeport b --tcp=80")
        .fails("exceeded quota: small, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1");
    world.say("-n tight create deployment first --image=nginx").ok();
    world.say("-n tight create deployment second --image=nginx").fails("count/deployments.apps=1");
    let events = "-n tight get events --field-selector reason=FailedCreate";
    eventually(PATIENCE, || world.say(events).ok(), |e| e.contains("Error creating: pods \"first-"));

    // What goes is given back, and what was refused cost nothing.
    world.say("-n tight delete deployment first --wait=true").ok();
    world.say("-n tight delete pod one --now").ok();
    world.say("-n tight patch service a -p {\"spec\":{\"type\":\"ClusterIP\"}}").ok();
    let left = json!({"pods": "1", "requests.cpu": "100m", "services.nodeports": "0", "count/deployments.apps": "0"});
    eventually(PATIENCE, used, |u| *u == left);
    let said = world.say("-n tight create quota bad --hard=foo=1");
    said.fails("spec.hard[foo]: Invalid value: \"foo\": must be a standard resource");
}

fn limits(world: &World) {
    world.create_namespace("bounded");
    let bounds = json!({"type": "Container", "max": {"memory": "64Mi"}, "default": {"cpu": "200m"}, "min": {"cpu": "50m"}});
    let claim = json!({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}});
    let range = |name: &str, limits: Value| json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": name, "namespace": "bounded"}, "spec": {"limits": limits}});
    world.apply(range("bounds", json!([bounds, claim]))).ok();
    world.say("-n bounded run quiet --image=busybox -- sleep 3600").ok();
    let quiet = world.object("-n bounded pod quiet");
    let resources = &quiet["spec"]["containers"][0]["resources"];
    assert_eq!(resources["requests"], json!({"cpu": "200m", "memory": "64Mi"}));
    assert_eq!(resources["limits"], json!({"cpu": "200m", "memory": "64Mi"}));
    let told = quiet["metadata"]["annotations"]["kubernetes.io/limit-ranger"].as_str().unwrap_or_default();
    assert_eq!(
        told,
        "LimitRanger plugin set: cpu, memory request for container quiet; cpu, memory limit for container quiet"
    );
    let big = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "big", "namespace": "bounded"}, "spec": {"containers": [
        {"name": "c", "image": "busybox", "resources": {"limits": {"memory": "128Mi", "cpu": "10m"}}}]}});
    world.apply(&big).fails("pods \"big\" is forbidden: [minimum cpu usage per Container is 50m, but request is 10m, maximum memory usage per Container is 64Mi, but limit is 128Mi]");
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "bounded"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}});
    world.apply(&claim).fails("maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi");
    let crossed = json!([{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]);
    world.apply(range("crossed", crossed)).fails("min value 2 is greater than max value 1");
}

fn networks(world: &World) {
    let class = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "spec": {"controller": "example.com/own"},
        "metadata": {"name": "own", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}});
    world.apply(&class).ok();
    for (i, kubectl) in both_kubectls().iter().enumerate() {
        world.with(kubectl, &format!("create ingress site{i} --rule=a.example.com/*=web:80,tls=cert")).ok();
        let site = world.object(&format!("ingress site{i}"));
        assert_eq!(site["spec"]["ingressClassName"], "own", "the default class");
        assert_eq!(site["spec"]["rules"][0]["http"]["paths"][0]["pathType"], "Prefix");
        let shown = world.with(kubectl, "get ingress site0").ok();
        assert!(
            shown.contains("own") && shown.contains("a.example.com") && shown.contains("80, 443"),
            "{shown}"
        );
    }
    let policy = |from: Value| {
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p"},
        "spec": {"podSelector": {}, "ingress": [{"from": [from]}]}})
    };
    world.apply(policy(json!({"ipBlock": {"cidr": "10.0.0.0"}}))).fails("must be a valid CIDR value");
    world.apply(policy(json!({"podSelector": {"matchLabels": {"app": "web"}}}))).ok();
    assert_eq!(world.object("networkpolicy p")["spec"]["policyTypes"], json!(["Ingress"]));
}

/// A certificate request for a user with these groups, as PEM, and the key.
fn request(name: &str, groups: &[&str]) -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut wanted = rcgen::CertificateParams::default();
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted.distinguished_name.push(rcgen::DnType::CommonName, name);
    groups.iter().for_each(|g| wanted.distinguished_name.push(rcgen::DnType::OrganizationName, *g));
    let pem = wanted.serialize_request(&key).expect("a request").pem().expect("PEM");
    (pem, key.serialize_pem())
}

fn certificates(world: &World) {
    let encoded = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let csr = |name: &str, pem: &str, signer: &str| {
        json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": name}, "spec": {"request": encoded(pem), "signerName": signer, "usages": ["client auth"], "expirationSeconds": 86400}})
    };
    let client = "kubernetes.io/kube-apiserver-client";
    let (masters, _) = request("eve", &["system:masters"]);
    world
        .apply(csr("eve", &masters, client))
        .fails("use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed");
    let (plain, _) = request("eve", &[]);
    world
        .apply(csr("eve", &plain, "kubernetes.io/legacy-unknown"))
        .fails("the legacy signerName is not allowed via this API version");
    for (i, kubectl) in both_kubectls().iter().enumerate() {
        let (pem, key) = request("jane", &["dev"]);
        let name = format!("jane{i}");
        world.apply(csr(&name, &pem, client)).ok();
        let asked = world.object(&format!("csr {name}"));
        assert_eq!(asked["spec"]["username"], "learner");
        let said = world.with(kubectl, &format!("certificate approve {name}")).ok();
        assert_eq!(said, format!("certificatesigningrequest.certificates.k8s.io/{name} approved\n"));
        let issued = eventually(
            PATIENCE,
            || world.object(&format!("csr {name}")),
            |c| c["status"]["certificate"].is_string(),
        );
        world.with(kubectl, &format!("certificate deny {name}")).fails("is already Approved");

        // The certificate is a user: RBAC decides what she may.
        let config = std::fs::read_to_string(world.cluster.kubeconfig()).expect("a kubeconfig");
        let mut config: Value = serde_yaml::from_str(&config).expect("YAML");
        let user = json!({"client-certificate-data": issued["status"]["certificate"], "client-key-data": encoded(&key)});
        config["users"][0]["user"] = user;
        let file = world.file("jane.kubeconfig", &config);
        let as_jane = |line: &str| world.with(kubectl, &format!("--kubeconfig={file} {line}"));
        let who = as_jane("auth whoami -o json").ok();
        let who: Value = serde_json::from_str(&who).expect("JSON");
        assert_eq!(who["status"]["userInfo"]["username"], "jane");
        assert_eq!(who["status"]["userInfo"]["groups"], json!(["dev", "system:authenticated"]));
        if i == 0 {
            as_jane("get pods").fails("User \"jane\" cannot list resource \"pods\"");
            world.say("create rolebinding dev --clusterrole=view --group=dev").ok();
        }
        // The authorizer follows the store.
        eventually(PATIENCE, || as_jane("get pods"), |said| said.code == 0);
        as_jane("delete pod none").fails("User \"jane\" cannot delete resource \"pods\"");
        // Who may change a request's approval may not yet decide for its signer.
        let own = world.file("own.json", json!([{"op": "add", "path": "/status/conditions", "value": []}]));
        as_jane(&format!("patch csr {name} --subresource=approval --type=json --patch-file={own}"))
            .fails("forbidden");
    }
    let (pem, _) = request("bob", &[]);
    world.apply(csr("bob", &pem, client)).ok();
    world.say("certificate deny bob").ok();
    let shown = world.say("get csr bob").ok();
    assert!(shown.contains("Denied") && shown.contains("24h"), "{shown}");
    let (wrong, _) = request("carl", &[]);
    world.apply(csr("carl", &wrong, "kubernetes.io/kubelet-serving")).ok();
    world.say("certificate approve carl").ok();
    let failed = eventually(
        PATIENCE,
        || world.object("csr carl"),
        |c| c["status"]["conditions"][1]["type"] == "Failed",
    );
    assert_eq!(failed["status"]["conditions"][1]["message"], "subject organization is not system:nodes");
}
