//! What a kubelet's certificate opens and what not, through the whole server.

use crate::auth::user::{MASTERS, NODES, User};
use crate::request::http::full;
use crate::testing::{self, Fixture};
use ::http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};

pub(super) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(super) const MERGE: &str = "application/merge-patch+json";
pub(super) const JSON: &str = "application/json";

pub(super) async fn send(
    of: &Fixture,
    user: &User,
    method: &str,
    path: &str,
    media: &str,
    body: Value,
) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder().method(method).uri(path).header("content-type", media);
    let answer = of.server.call(request.body(full(body)).unwrap(), user.clone()).await;
    let code = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

pub(super) fn kubelet(name: &str) -> User {
    User::new(&format!("system:node:{name}"), &[NODES])
}

pub(super) fn admin() -> User {
    User::new("admin", &[MASTERS])
}

/// Two nodes, each with a pod that mounts a Secret of its own.
pub(super) async fn cluster(dir: &std::path::Path) -> Fixture {
    let fixture = testing::start(dir).await;
    let admin = admin();
    let make = |path: &'static str, body: Value| {
        let (fixture, admin) = (&fixture, &admin);
        async move {
            let (code, made) = send(fixture, admin, "POST", path, JSON, body).await;
            assert_eq!(code, 201, "{made}");
        }
    };
    make("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    for n in ["n1", "n2"] {
        make("/api/v1/namespaces/default/secrets", json!({"metadata": {"name": format!("of-{n}")}})).await;
        let (code, made) =
            send(&fixture, &kubelet(n), "POST", "/api/v1/nodes", JSON, node(n, json!({}))).await;
        assert_eq!(code, 201, "{made}");
        let spec = json!({"nodeName": n, "containers": [{"name": "c", "image": "x"}],
            "volumes": [{"name": "v", "secret": {"secretName": format!("of-{n}")}}]});
        make(PODS, json!({"metadata": {"name": format!("on-{n}"), "labels": {"a": "b"}}, "spec": spec}))
            .await;
    }
    fixture
}

fn node(name: &str, labels: Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}})
}

#[tokio::test]
async fn a_kubelet_reads_what_its_pods_need_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let n1 = kubelet("n1");
    let get = |path: &'static str| {
        let (fixture, n1) = (&fixture, &n1);
        async move { send(fixture, n1, "GET", path, JSON, Value::Null).await }
    };
    assert_eq!(get("/api/v1/namespaces/default/secrets/of-n1").await.0, 200);
    let (code, refused) = get("/api/v1/namespaces/default/secrets/of-n2").await;
    assert_eq!(
        (code, refused["message"].as_str().unwrap()),
        (
            403,
            "secrets \"of-n2\" is forbidden: User \"system:node:n1\" cannot get resource \"secrets\" in API group \"\" in the namespace \"default\": no relationship found between node 'n1' and this object"
        )
    );
    for (path, why) in [
        ("/api/v1/secrets", ": can only read namespaced object of this type"),
        ("/api/v1/configmaps?watch=1", ": can only read namespaced object of this type"),
        ("/api/v1/namespaces/default/secrets", ": No Object name found"),
        ("/api/v1/serviceaccounts", ": can only create tokens for individual service accounts"),
        ("/api/v1/persistentvolumes", ": can only get individual resources of this type"),
    ] {
        let (code, refused) = get(path).await;
        assert_eq!(code, 403, "{path}");
        assert!(refused["message"].as_str().unwrap().ends_with(why), "{refused}");
    }
    // Its own Node and pods, and the ServiceAccounts that these run as.
    for (path, code) in [
        ("/api/v1/nodes/n1", 200),
        ("/api/v1/nodes?fieldSelector=metadata.name%3Dn1", 200),
        ("/api/v1/nodes/n2", 403),
        ("/api/v1/nodes/n1/status", 403),
        ("/api/v1/nodes", 403),
        ("/api/v1/nodes?watch=1&fieldSelector=metadata.name%21%3Dn2", 403),
        ("/api/v1/namespaces/default/pods/on-n1", 200),
        ("/api/v1/namespaces/default/pods/on-n2", 403),
        ("/api/v1/namespaces/default/pods/none", 404),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", 200),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1,metadata.name%3Don-n1", 200),
        ("/api/v1/namespaces/default/pods?fieldSelector=metadata.name%3Don-n1", 200),
        ("/api/v1/namespaces/default/pods?fieldSelector=metadata.name%3Don-n2", 403),
        ("/api/v1/namespaces/default/pods?fieldSelector=metadata.name%3Dnone", 403),
        ("/api/v1/pods?fieldSelector=metadata.name%3Don-n1", 403),
        ("/api/v1/pods", 403),
        ("/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", 403),
        ("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%21%3Dn2", 403),
        ("/api/v1/namespaces/default/pods", 403),
        ("/api/v1/namespaces/default/serviceaccounts/default", 200),
        ("/api/v1/namespaces/kube-system/serviceaccounts/other", 403),
        ("/api/v1/namespaces", 403),
        ("/api/v1/persistentvolumes?fieldSelector=metadata.name%3Dx", 403),
        ("/apis/discovery.k8s.io/v1/endpointslices", 403),
        ("/api/v1/services", 200),
    ] {
        let (found, answer) = get(path).await;
        assert_eq!(found, code, "{path}: {}", answer["message"]);
    }
    let (_, refused) = get("/api/v1/namespaces/default/persistentvolumeclaims/c/status").await;
    assert!(refused["message"].as_str().unwrap().ends_with(": can only get/update/patch this type"));
    // A name in the group of nodes that names no node is none.
    let nobody = User::new("system:node:", &[NODES]);
    assert_eq!(send(&fixture, &nobody, "GET", PODS, JSON, Value::Null).await.0, 403);
}

/// As upstream, which names the subresource as the reason.
#[tokio::test]
async fn a_kubelet_that_is_refused_a_subresource_learns_why() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let default = "/api/v1/namespaces/default";
    for (method, path, why) in [
        ("GET", format!("{default}/secrets/of-n1/x"), ": cannot read subresource"),
        ("PUT", format!("{default}/secrets/of-n1/x"), ": can only read resources of this type"),
        ("GET", "/api/v1/persistentvolumes/v/status".to_string(), ": cannot get subresource"),
        (
            "POST",
            format!("{default}/serviceaccounts/default/x"),
            ": can only create token subresource of serviceaccount",
        ),
        (
            "GET",
            format!("{default}/serviceaccounts/default/token"),
            ": can only create tokens for individual service accounts",
        ),
    ] {
        let (code, answer) = send(&fixture, &kubelet("n1"), method, &path, JSON, Value::Null).await;
        let told = answer["message"].as_str().unwrap_or_default();
        assert!(code == 403 && told.ends_with(why), "{method} {path}: {code} {told}");
    }
}

/// As upstream, whose graph leads from the Secret by a volume and its claim to the pod.
#[tokio::test]
async fn a_kubelet_reads_the_secret_that_a_volume_of_its_pod_names() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
    let spec = json!({"nodeName": "n1", "containers": [{"name": "c", "image": "x"}], "volumes": volumes});
    let pod = json!({"metadata": {"name": "claims"}, "spec": spec});
    assert_eq!(send(&fixture, &admin(), "POST", PODS, JSON, pod).await.0, 201);
    let secret = "/api/v1/namespaces/default/secrets/of-n2";
    for (name, claim, field, code) in [
        ("a", "data", "controllerPublishSecretRef", 403),
        ("b", "other", "nodePublishSecretRef", 403),
        ("c", "data", "nodePublishSecretRef", 200),
    ] {
        let mut csi = json!({"driver": "example.com", "volumeHandle": name});
        csi[field] = json!({"name": "of-n2", "namespace": "default"});
        let claim = json!({"namespace": "default", "name": claim});
        let spec = json!({"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "csi": csi, "claimRef": claim});
        let volume = json!({"metadata": {"name": name}, "spec": spec});
        let (made, answer) =
            send(&fixture, &admin(), "POST", "/api/v1/persistentvolumes", JSON, volume).await;
        assert_eq!(made, 201, "{answer}");
        let (found, answer) = send(&fixture, &kubelet("n1"), "GET", secret, JSON, Value::Null).await;
        assert_eq!(found, code, "{name}: {answer}");
    }
}

#[tokio::test]
async fn a_kubelet_reaches_no_lease_of_another_node() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let n1 = kubelet("n1");
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let make = |name: &str| json!({"metadata": {"name": name}, "spec": {"holderIdentity": name}});
    assert_eq!(send(&fixture, &n1, "POST", lease, JSON, make("n1")).await.0, 201);
    assert_eq!(send(&fixture, &n1, "POST", lease, JSON, make("n2")).await.0, 403);
    assert_eq!(send(&fixture, &kubelet("n2"), "POST", lease, JSON, make("n2")).await.0, 201);
    let theirs = format!("{lease}/n2");
    for (method, body) in [("GET", Value::Null), ("DELETE", Value::Null), ("PATCH", json!({"spec": {}}))] {
        assert_eq!(send(&fixture, &n1, method, &theirs, MERGE, body).await.0, 403, "{method}");
    }
}

/// What a kubelet sends is refused with 403, and the message says why.
async fn refused(fixture: &Fixture, user: &User, (method, path): (&str, &str), body: Value, why: &str) {
    let media = if method == "PATCH" { MERGE } else { JSON };
    let (code, answer) = send(fixture, user, method, path, media, body).await;
    assert_eq!(code, 403, "{method} {path}: {answer}");
    assert!(answer["message"].as_str().unwrap().contains(why), "{answer}");
}

#[tokio::test]
async fn a_kubelet_changes_its_own_node_only() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let n1 = kubelet("n1");
    let refused = async |request: (&str, &str), body: Value, why: &str| {
        refused(&fixture, &n1, request, body, why).await;
    };
    let n3 = node("n3", json!({}));
    refused(("POST", "/api/v1/nodes"), n3, "node \"n1\" is not allowed to modify node \"n3\"").await;
    let trusted = node("n1", json!({"node-restriction.kubernetes.io/a": "b"}));
    let why = ": node \"n1\" is not allowed to set the following labels: node-restriction.kubernetes.io/a";
    refused(("POST", "/api/v1/nodes"), trusted, why).await;
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    refused(("PATCH", "/api/v1/nodes/n2"), label, "node \"n1\" is not allowed to modify node \"n2\"").await;
    let own = ("PATCH", "/api/v1/nodes/n1");
    let restricted = json!({"metadata": {"labels": {"node-restriction.kubernetes.io/a": "b"}}});
    refused(own, restricted, "is not allowed to modify labels: node-restriction").await;
    let taints = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}});
    refused(own, taints, "is not allowed to modify taints").await;
    let label = json!({"metadata": {"labels": {"disk": "ssd"}}});
    assert_eq!(send(&fixture, &n1, own.0, own.1, MERGE, label).await.0, 200);
}

#[tokio::test]
async fn a_kubelet_creates_mirror_pods_of_its_own_node_only() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let n1 = kubelet("n1");
    let refused = async |body: Value, why: &str| refused(&fixture, &n1, ("POST", PODS), body, why).await;
    let mirror = mirror_pod(&fixture, "p").await;
    let mut pod = mirror.clone();
    pod["metadata"]["annotations"] = Value::Null;
    refused(pod, "node \"n1\" can only create mirror pods").await;
    let mut unowned = mirror.clone();
    unowned["metadata"]["ownerReferences"] = Value::Null;
    refused(unowned, "can only create pods with an owner reference set to itself").await;
    let mut elsewhere = mirror.clone();
    elsewhere["spec"]["nodeName"] = "n2".into();
    refused(elsewhere, "can only create pods with spec.nodeName set to itself").await;
    let mut reading = mirror.clone();
    reading["spec"]["volumes"] = json!([{"name": "m", "configMap": {"name": "x"}}]);
    refused(reading, "can not create pods that reference configmaps").await;
    let mut stale = mirror.clone();
    stale["metadata"]["ownerReferences"][0]["uid"] = "gone".into();
    refused(stale, "node n1 UID mismatch: expected gone got ").await;
    let mut unknown = mirror.clone();
    unknown["spec"]["nodeName"] = "n3".into();
    unknown["metadata"]["ownerReferences"][0]["name"] = "n3".into();
    let (code, answer) = send(&fixture, &kubelet("n3"), "POST", PODS, JSON, unknown).await;
    assert_eq!((code, &answer["message"]), (404, &json!("node \"n3\" not found")), "{answer}");
    let mut named = mirror.clone();
    named["spec"]["serviceAccountName"] = "default".into();
    refused(named, "a mirror pod may not reference service accounts").await;
    let (code, made) = send(&fixture, &n1, "POST", PODS, JSON, mirror).await;
    assert_eq!(code, 201, "{made}");
}

/// A mirror pod of `n1`, as its kubelet makes it.
async fn mirror_pod(fixture: &Fixture, name: &str) -> Value {
    let (_, stored) = send(fixture, &kubelet("n1"), "GET", "/api/v1/nodes/n1", JSON, Value::Null).await;
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "controller": true,
        "uid": stored["metadata"]["uid"]});
    let meta = json!({"name": name, "annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [owner]});
    json!({"metadata": meta, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "x"}]}})
}

/// Not even an administrator sets, changes or removes the annotation, by whatever verb.
#[tokio::test]
async fn only_a_node_marks_a_pod_as_a_mirror() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let as_admin = async |method: &str, path: &str, media: &str, body: Value| {
        let (code, answer) = send(&fixture, &admin(), method, path, media, body).await;
        (code, answer["message"].as_str().unwrap_or_default().to_string())
    };
    let mirror = mirror_pod(&fixture, "p").await;
    let (code, why) = as_admin("POST", PODS, JSON, mirror.clone()).await;
    assert!(code == 403 && why.contains("only a node may create a mirror pod"), "{code} {why}");
    let annotations = |of: Value| json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": of}}});
    for path in ["on-n1", "on-n1/status"].map(|path| format!("{PODS}/{path}")) {
        let (code, why) = as_admin("PATCH", &path, MERGE, annotations("x".into())).await;
        assert!(code == 422 && why.contains("may not add mirror pod annotation"), "{code} {why}");
    }
    let free = json!({"metadata": {"name": "free"}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    assert_eq!(as_admin("POST", PODS, JSON, free).await.0, 201);
    let mut binding = annotations("x".into());
    binding["metadata"]["name"] = "free".into();
    binding["target"] = json!({"kind": "Node", "name": "n1"});
    let (code, why) = as_admin("POST", &format!("{PODS}/free/binding"), JSON, binding).await;
    assert!(code == 403 && why.contains("may not change"), "{code} {why}");
    let (code, made) = send(&fixture, &kubelet("n1"), "POST", PODS, JSON, mirror).await;
    assert_eq!(code, 201, "{made}");
    let (code, why) = as_admin("PATCH", &format!("{PODS}/p"), MERGE, annotations(Value::Null)).await;
    assert!(code == 422 && why.contains("may not remove or update mirror pod annotation"), "{code} {why}");
}

#[tokio::test]
async fn a_kubelet_changes_the_pods_bound_to_its_node_only() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let n1 = kubelet("n1");
    let refused = async |method: &str, path: &str, body: Value, why: &str| {
        let path = format!("{PODS}/{path}");
        refused(&fixture, &n1, (method, &path), body, why).await;
    };
    let status = json!({"status": {"phase": "Running"}});
    let why = "can only update pod status for pods with spec.nodeName set to itself";
    refused("PATCH", "on-n2/status", status.clone(), why).await;
    refused("PATCH", "on-n2/status", json!({}), why).await; // a patch that changes nothing shows the pod
    let ours = format!("{PODS}/on-n1/status");
    assert_eq!(send(&fixture, &n1, "PATCH", &ours, MERGE, status).await.0, 200);
    refused("DELETE", "on-n2", Value::Null, "can only delete pods with spec.nodeName set to itself").await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "on-n2"}});
    refused("POST", "on-n2/eviction", eviction, "can only evict pods with spec.nodeName set to itself").await;
}

#[tokio::test]
async fn a_kubelet_gets_tokens_for_its_own_pods_only() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let uid = |name: &'static str| {
        let fixture = &fixture;
        async move {
            let path = format!("{PODS}/{name}");
            send(fixture, &admin(), "GET", &path, JSON, Value::Null).await.1["metadata"]["uid"].clone()
        }
    };
    let request = |pod: &str, uid: Value| json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}}});
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let default = format!("{accounts}/default/token");
    let (first, second) = (uid("on-n1").await, uid("on-n2").await);
    let ask = |path: &str, body: Value| {
        let (fixture, path) = (&fixture, path.to_string());
        async move { send(fixture, &kubelet("n1"), "POST", &path, JSON, body).await }
    };
    assert_eq!(ask(&default, request("on-n1", first.clone())).await.0, 201);
    for (body, why) in [
        (json!({"spec": {}}), "node requested token not bound to a pod"),
        (request("on-n1", Value::Null), "node requested token with a pod binding without a uid"),
        (request("on-n2", second), "node requested token bound to a pod scheduled on a different node"),
        (request("on-n1", json!("old")), "The object might have been deleted and then recreated"),
    ] {
        let (code, answer) = ask(&default, body).await;
        assert_eq!(code, 403, "{answer}");
        assert!(answer["message"].as_str().unwrap().ends_with(why), "{answer}");
    }
    let other = json!({"metadata": {"name": "other"}});
    assert_eq!(send(&fixture, &admin(), "POST", accounts, JSON, other).await.0, 201);
    let (code, answer) = ask(&format!("{accounts}/other/token"), request("on-n1", first)).await;
    assert_eq!(code, 403);
    assert!(
        answer["message"].as_str().unwrap().contains("no relationship found between node 'n1'"),
        "{answer}"
    );
}

/// ServiceAccountNodeAudienceRestriction: a node gets tokens of its pods only for the audiences for
/// which the pods themselves want one.
#[tokio::test]
async fn a_kubelet_gets_tokens_for_the_audiences_of_its_pods_only() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let source = |audience: &str| json!({"serviceAccountToken": {"path": "t", "audience": audience}});
    let spec = json!({"nodeName": "n1", "containers": [{"name": "c", "image": "x"}], "automountServiceAccountToken": false,
        "volumes": [{"name": "v", "projected": {"sources": [source("vault"), {"downwardAPI": {"items": []}}]}}]});
    let pod = json!({"metadata": {"name": "asks"}, "spec": spec});
    let (code, made) = send(&fixture, &admin(), "POST", PODS, JSON, pod).await;
    assert_eq!(code, 201, "{made}");
    let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "asks", "uid": made["metadata"]["uid"]});
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let ask = |user: User, audiences: Value| {
        let (fixture, body) = (&fixture, json!({"spec": {"audiences": audiences, "boundObjectRef": bound}}));
        async move { send(fixture, &user, "POST", token, JSON, body).await }
    };
    let (code, made) = ask(kubelet("n1"), json!(["vault"])).await;
    assert_eq!((code, &made["spec"]["audiences"]), (201, &json!(["vault"])), "{made}");
    for (audiences, why) in [
        (json!(["bank"]), "volume, system:node:n1 is not authorized to request tokens for this audience"),
        (json!([]), "audience \"\" not found in pod spec volume"),
        (json!(["a\u{200b}"]), r#"audience "a\u200b" not found in pod spec volume"#),
        (json!([crate::auth::authn::ISSUER]), "not found in pod spec volume"),
        (json!(["vault", "bank"]), "node may only request 0 or 1 audiences"),
    ] {
        let (code, answer) = ask(kubelet("n1"), audiences.clone()).await;
        let told = answer["message"].as_str().unwrap_or_default();
        assert!(code == 403 && told.contains(why), "{audiences}: {code} {told}");
    }
    assert_eq!(ask(admin(), json!(["bank"])).await.0, 201, "the restriction is for nodes");
    // A role may allow more.
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rule = json!({"apiGroups": [""], "resources": ["bank"], "resourceNames": ["default"],
        "verbs": ["request-serviceaccounts-token-audience"]});
    let role = json!({"metadata": {"name": "bank"}, "rules": [rule]});
    assert_eq!(send(&fixture, &admin(), "POST", &format!("{rbac}/clusterroles"), JSON, role).await.0, 201);
    let binding = json!({"metadata": {"name": "bank"}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io",
        "name": "system:node:n1"}], "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bank"}});
    let bindings = format!("{rbac}/clusterrolebindings");
    assert_eq!(send(&fixture, &admin(), "POST", &bindings, JSON, binding).await.0, 201);
    assert_eq!(ask(kubelet("n1"), json!(["bank"])).await.0, 201);
}
