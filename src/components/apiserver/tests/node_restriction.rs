//! What NodeRestriction refuses a kubelet beyond what the node authorizer does, through the whole
//! server.

use super::nodes::{JSON, MERGE, PODS, admin, cluster, kubelet, send};
use crate::auth::user::{MASTERS, NODES, User};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use etcd::api::{PutRequest, RequestOp, TxnRequest};
use serde_json::{Value, json};

/// An ECDSA key asks for the name `system:node:n1` in the group `system:nodes`.
const OF_N1: &str = "-----BEGIN CERTIFICATE REQUEST-----\n\
    MIHrMIGSAgEAMDAxFTATBgNVBAoMDHN5c3RlbTpub2RlczEXMBUGA1UEAwwOc3lz\n\
    dGVtOm5vZGU6bjEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATdVjcWYBZXDVt4\n\
    DS0qrXF6rQ8HCikJ1Drjsvp8FdMcbZM4IHBUZ90A8rNAxATMBWisxrHKwz8UZIpW\n\
    lGYbiZUaoAAwCgYIKoZIzj0EAwIDSAAwRQIhAMqCcnBGYsqx12+dgV1p9Zfd07Z3\n\
    quxyGNJ08kBsgUUcAiA9IUL3lWEl3ByEDww9SovCmbgRNT8vNWR3OzrU+GJ2oQ==\n\
    -----END CERTIFICATE REQUEST-----\n";

/// The answer to a change shows the object, with the environment of its containers: a kubelet sees
/// no other node's pod by a change that changes nothing.
#[tokio::test]
async fn an_empty_patch_shows_a_kubelet_no_pod_of_another_node() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let n1 = kubelet("n1");
    let other = format!("{PODS}/on-n2/status");
    let stored = send(&fixture, &admin(), "GET", &format!("{PODS}/on-n2"), JSON, Value::Null).await.1;
    let apply = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "on-n2"}});
    let applied = format!("{other}?fieldManager=me");
    for (method, path, media, body) in [
        ("PATCH", &other, MERGE, json!({})),
        ("PATCH", &format!("{other}?dryRun=All"), MERGE, json!({})),
        ("PATCH", &other, "application/strategic-merge-patch+json", json!({})),
        ("PATCH", &other, "application/json-patch+json", json!([])),
        ("PATCH", &applied, "application/apply-patch+yaml", apply),
        ("PUT", &other, JSON, stored),
    ] {
        let (code, answer) = send(&fixture, &n1, method, path, media, body).await;
        assert_eq!(code, 403, "{method} {path} {media}: {answer}");
        assert!(answer.get("spec").is_none(), "{answer}");
    }
    // Nor by one that cannot be read: others are shown what it makes of the object.
    let strict = format!("{other}?fieldValidation=Strict");
    for (path, body) in
        [(&other, json!({"status": {"conditions": 5}})), (&strict, json!({"status": {"no": 5}}))]
    {
        for (user, is_shown) in [(&admin(), true), (&n1, false)] {
            let (code, answer) = send(&fixture, user, "PATCH", path, MERGE, body.clone()).await;
            let shows = answer["message"].as_str().unwrap().contains("containers");
            assert_eq!((code, shows), (422, is_shown), "{path}: {answer}");
        }
    }
    let own = format!("{PODS}/on-n1/status");
    let (code, answer) = send(&fixture, &n1, "PATCH", &own, MERGE, json!({})).await;
    assert_eq!((code, &answer["metadata"]["name"]), (200, &json!("on-n1")), "{answer}");
}

/// The node authorizer lets a kubelet write every Node, so that admission says why it may not.
#[tokio::test]
async fn an_empty_patch_shows_a_kubelet_no_other_node() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    for (path, name) in [("n1", "n1"), ("n1/status", "n1"), ("n2", "n2"), ("n2/status", "n2")] {
        let path = format!("/api/v1/nodes/{path}");
        let (code, answer) = send(&fixture, &kubelet("n1"), "PATCH", &path, MERGE, json!({})).await;
        let wanted = if name == "n1" { (200, "Node") } else { (403, "Status") };
        assert_eq!((code, answer["kind"].as_str().unwrap()), wanted, "{path}: {answer}");
        if name == "n2" {
            let why = "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\"";
            assert_eq!(answer["message"], why, "{path}");
        }
    }
}

/// A role of an administrator lets all kubelets write nodes, leases and claims: they still write
/// their own only.
#[tokio::test]
async fn a_role_does_not_lift_the_restriction_of_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let (n1, rbac) = (kubelet("n1"), "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings");
    let subject = json!({"kind": "Group", "name": "system:nodes"});
    let binding = json!({"metadata": {"name": "nodes"}, "subjects": [subject],
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}});
    let leases = |namespace: &str| format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let lease = |name: &str| json!({"metadata": {"name": name}});
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    for (path, body) in [
        (rbac.to_string(), binding),
        (leases("kube-node-lease"), lease("n2")),
        (leases("default"), lease("n1")),
        (claims.to_string(), claim),
    ] {
        let (code, made) = send(&fixture, &admin(), "POST", &path, JSON, body).await;
        assert_eq!(code, 201, "{made}");
    }
    let own_name = "with the same name as the requesting node";
    for (method, path, body, why) in [
        ("DELETE", "/api/v1/nodes/n2", Value::Null, "node \"n1\" is not allowed to modify node \"n2\""),
        ("DELETE", &format!("{}/n2", leases("kube-node-lease")), Value::Null, own_name),
        ("DELETE", &format!("{}/n1", leases("default")), Value::Null, "\"kube-node-lease\" system namespace"),
        ("PATCH", &format!("{}/n1", leases("default")), json!({}), "\"kube-node-lease\" system namespace"),
        ("POST", &leases("kube-public"), lease("n1"), "\"kube-node-lease\" system namespace"),
        ("DELETE", &format!("{claims}/c"), Value::Null, "may only update PVC status"),
    ] {
        let media = if method == "PATCH" { MERGE } else { JSON };
        let (code, answer) = send(&fixture, &n1, method, path, media, body).await;
        assert_eq!(code, 403, "{method} {path}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(why), "{answer}");
    }
    let (code, gone) = send(&fixture, &n1, "DELETE", "/api/v1/nodes/n1", JSON, Value::Null).await;
    assert_eq!(code, 200, "{gone}");
}

/// Upstream refuses it before it looks at what is written: the rules of no node could judge it.
#[tokio::test]
async fn a_kubelet_without_the_name_of_a_node_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let nameless = User::new("system:node:", &[NODES, MASTERS]);
    let maps = "/api/v1/namespaces/default/configmaps";
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let access = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = json!({"spec": {"nonResourceAttributes": {"verb": "get", "path": "/x"}}});
    let tokens = "/apis/authentication.k8s.io/v1/tokenreviews";
    let label = json!({"metadata": {"labels": {"node-role.kubernetes.io/x": "y"}}});
    for (method, path, media, body) in [
        ("POST", maps, JSON, json!({"metadata": {"name": "m"}})),
        ("PATCH", "/api/v1/nodes/n1", MERGE, label),
        ("DELETE", "/api/v1/nodes/n1", JSON, Value::Null),
        ("POST", &format!("{PODS}/on-n1/eviction"), JSON, json!({"metadata": {"name": "on-n1"}})),
        ("POST", token, JSON, json!({})),
        ("POST", access, JSON, asked),
        ("POST", tokens, JSON, json!({"spec": {"token": "x"}})),
    ] {
        let (code, answer) = send(&fixture, &nameless, method, path, media, body).await;
        let why = answer["message"].as_str().unwrap_or_default();
        let is_told = why.ends_with("could not determine node from user \"system:node:\"");
        assert!(code == 403 && is_told, "{method} {path}: {code} {answer}");
    }
    let prefixed = json!({"metadata": {"generateName": "m-"}});
    let (_, answer) = send(&fixture, &nameless, "POST", maps, JSON, prefixed).await;
    let why = "configmaps \"m-\" is forbidden: could not determine node from user \"system:node:\"";
    assert_eq!(answer["message"], why);
    let read = send(&fixture, &nameless, "GET", "/api/v1/nodes/n1", JSON, Value::Null).await;
    assert_eq!(read.0, 200, "{}", read.1);
}

/// Such an object is removed by its name alone, without a look at what is stored.
#[tokio::test]
async fn a_kubelet_removes_no_other_node_that_cannot_be_decoded() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let put = PutRequest { key: "/registry/nodes/n3".into(), value: "{".into(), ..PutRequest::default() };
    let txn = TxnRequest { success: vec![RequestOp::Put(put)], ..TxnRequest::default() };
    fixture.server.state.kv.txn_unbounded(txn).await.unwrap();
    for (name, code) in [("system:node:", 403), ("system:node:n1", 403), ("system:node:n3", 200)] {
        let user = User::new(name, &[NODES, MASTERS]);
        let answer = send(&fixture, &user, "DELETE", "/api/v1/nodes/n3", JSON, Value::Null).await;
        assert_eq!(answer.0, code, "{name}: {}", answer.1);
    }
}

/// Whatever rights the roles of a cluster give to nodes.
#[tokio::test]
async fn a_kubelet_writes_its_own_lease_only() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let n1 = User::new("system:node:n1", &[NODES, MASTERS]);
    for (namespace, name, want) in [
        ("default", "n1", "can only access leases in the \"kube-node-lease\" system namespace"),
        ("kube-node-lease", "n2", "can only access node lease with the same name as the requesting node"),
        ("kube-node-lease", "n1", ""),
    ] {
        let leases = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
        let lease = json!({"metadata": {"name": name}, "spec": {}});
        let (code, answer) = send(&fixture, &n1, "POST", &leases, JSON, lease).await;
        let why = answer["message"].as_str().unwrap_or_default();
        assert!(code == if want.is_empty() { 201 } else { 403 } && why.ends_with(want), "{code} {answer}");
    }
}

/// A kubelet renews its certificate by itself, and gets none of another node.
#[tokio::test]
async fn a_kubelet_requests_certificates_of_its_own_name_only() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = cluster(dir.path()).await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let ask = async |node: &str, name: &str, signer: &str| {
        let spec =
            json!({"request": STANDARD.encode(OF_N1), "signerName": signer, "usages": ["client auth"]});
        let body = json!({"metadata": {"name": name}, "spec": spec});
        send(&fixture, &kubelet(node), "POST", path, JSON, body).await
    };
    for signer in ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"] {
        let (code, refused) = ask("n2", "r", signer).await;
        assert_eq!(code, 403, "{refused}");
        let why = "can only create a node CSR with CN=system:node:n2";
        assert!(refused["message"].as_str().unwrap().contains(why), "{refused}");
    }
    let (code, made) = ask("n1", "own", "kubernetes.io/kube-apiserver-client-kubelet").await;
    assert_eq!((code, &made["spec"]["username"]), (201, &json!("system:node:n1")), "{made}");
    assert_eq!(ask("n2", "other-signer", "example.com/own").await.0, 201);
    let read = send(&fixture, &kubelet("n1"), "GET", &format!("{path}/own"), JSON, Value::Null).await;
    assert_eq!(read.0, 200, "{}", read.1);
    let gone = send(&fixture, &kubelet("n1"), "DELETE", &format!("{path}/own"), JSON, Value::Null).await;
    assert_eq!(gone.0, 403, "{}", gone.1);
}
