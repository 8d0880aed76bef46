//! Tokens, certificate requests and secrets of accounts.

use super::*;

#[tokio::test]
async fn a_token_is_bound_to_a_pod_of_its_own_account() {
    let api = Api::new().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    assert_eq!(api.post(accounts, json!({"metadata": {"name": "other"}})).await.0, 201);
    let pod = json!({"metadata": {"name": "p"}, "spec": {"serviceAccountName": "other", "nodeName": "gone",
        "containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(api.post("/api/v1/namespaces/default/pods", pod).await.0, 201);
    let ask = async |account: &str, metadata: Value, version: &str| {
        let bound = json!({"kind": "Pod", "apiVersion": version, "name": "p"});
        let request = json!({"metadata": metadata, "spec": {"boundObjectRef": bound}});
        api.post(&format!("{accounts}/{account}/token"), request).await
    };
    let (code, token) = ask("other", json!({}), "v1").await;
    assert_eq!(code, 201, "{token}");
    let (code, answer) = ask("default", json!({}), "v1").await;
    assert_eq!(code, 400, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("different serviceaccount name"), "{answer}");
    assert_eq!(ask("other", json!({}), "apps/v1").await.0, 400);
    assert_eq!(ask("other", json!({"name": "default"}), "v1").await.0, 422);
    assert_eq!(ask("other", json!({"uid": "of-an-earlier-one"}), "v1").await.0, 409);
}

/// The answer says which account the token is of; the refusals are upstream's.
#[tokio::test]
async fn a_token_request_is_answered_with_the_uid_of_its_account() {
    let api = Api::new().await;
    let within = "/api/v1/namespaces/default";
    let (_, account) = api.get(&format!("{within}/serviceaccounts/default")).await;
    assert_eq!(api.post(&format!("{within}/secrets"), json!({"metadata": {"name": "s"}})).await.0, 201);
    let path = format!("{within}/serviceaccounts/default/token");
    let (code, made) = api.post(&path, json!({"spec": {}})).await;
    assert_eq!((code, &made["metadata"]["uid"]), (201, &account["metadata"]["uid"]), "{made}");
    let bound = |kind: &str, version: &str| {
        let bound = json!({"kind": kind, "apiVersion": version, "name": "s", "uid": "x"});
        json!({"spec": {"boundObjectRef": bound}})
    };
    for (request, code, begins) in [
        (
            json!({"metadata": {"namespace": "other"}, "spec": {}}),
            400,
            "the namespace of the provided object",
        ),
        (
            json!({"spec": {"expirationSeconds": 5}}),
            422,
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds",
        ),
        (bound("ConfigMap", "v1"), 400, "cannot bind token to object of type /v1, Kind=ConfigMap"),
        (bound("Secret", "apps/v1"), 400, "cannot bind token to object of type apps/v1, Kind=Secret"),
        (bound("Secret", "v1"), 409, "Operation cannot be fulfilled on Secret \"s\": the UID in the bound"),
    ] {
        let (got, answer) = api.post(&path, request).await;
        assert!(got == code && answer["message"].as_str().unwrap().starts_with(begins), "{answer}");
    }
}

/// An ECDSA key asks for the name `r`.
const REQUEST: &str = "-----BEGIN CERTIFICATE REQUEST-----\n\
    MIHFMG4CAQAwDDEKMAgGA1UEAwwBcjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IA\n\
    BC/+FnrFFJrx80eqKBi6Hq3yngz19tK95u4BQnKxjmBYRWdMCbps8oSdxFjmH/CO\n\
    +8SFN7P+A7kN7Y53CBE1he2gADAKBggqhkjOPQQDAgNHADBEAiB2BJZbGU2WyeZb\n\
    qDbVUtVt8Ov0DiqLJXgltzRaOuCAZQIgVaFK6HL3xCyaTafjmrHHVMft97Np1/yP\n\
    zwZNucKCPNo=\n\
    -----END CERTIFICATE REQUEST-----\n";

/// An approver does not own the certificate that it sends, nor a signer the decision. The spec
/// never changes, so it has no owner.
#[tokio::test]
async fn each_door_of_a_certificate_request_owns_what_it_writes() {
    let api = Api::new().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let dir = tempfile::tempdir().unwrap();
    let certificate = base64(pki::Ca::load_or_create(dir.path(), "ca").unwrap().pem());
    let apply = async |door: &str, manager: &str, mut body: Value| {
        body["apiVersion"] = "certificates.k8s.io/v1".into();
        body["kind"] = "CertificateSigningRequest".into();
        body["metadata"] = json!({"name": "r"});
        let path = format!("{path}/r{door}?fieldManager={manager}");
        api.send(admin(), request("PATCH", &path, "application/apply-patch+yaml", body.to_string())).await
    };
    let spec = |usage: &str| json!({"spec": {"request": base64(REQUEST), "usages": [usage], "signerName": "example.com/own"}});
    let (code, made) = apply("", "maker", spec("client auth")).await;
    assert_eq!((code, &made["spec"]["usages"][0]), (201, &json!("client auth")), "{made}");
    let (code, same) = apply("", "other", spec("server auth")).await;
    assert_eq!((code, &same["spec"]["usages"][0]), (200, &json!("client auth")), "{same}");
    let condition = |kind: &str| json!([{"type": kind, "status": "True", "reason": "r"}]);
    let approval = json!({"status": {"certificate": "eHh4", "conditions": condition("Approved")}});
    let (code, approved) = apply("/approval", "approver", approval).await;
    assert_eq!((code, &approved["status"]["certificate"]), (200, &Value::Null), "{approved}");
    let denial = json!({"status": {"certificate": certificate, "conditions": condition("Denied")}});
    let (code, refused) = apply("/status", "signer", denial).await;
    let why = "updates may not add a condition of type \"Denied\"";
    assert!(code == 422 && refused["message"].as_str().unwrap().contains(why), "{refused}");
    let signing = json!({"status": {"certificate": certificate, "conditions": condition("Failed")}});
    let (code, signed) = apply("/status", "signer", signing).await;
    assert_eq!((code, &signed["status"]["certificate"]), (200, &json!(certificate)), "{signed}");
    let entries = signed["metadata"]["managedFields"].as_array().unwrap();
    let owned = |manager: &str| {
        let entry = entries.iter().find(|e| e["manager"] == manager);
        entry.map_or(Value::Null, |e| e["fieldsV1"].clone())
    };
    assert_eq!(owned("signer"), json!({"f:status": {"f:certificate": {}}}));
    assert_eq!(owned("approver")["f:status"]["f:certificate"], Value::Null);
    assert_eq!(owned("maker"), Value::Null);
}

/// The right to write the subresources is not enough: a role names the signers as well.
#[tokio::test]
async fn approvers_and_signers_need_a_right_to_the_signer() {
    let api = Api::new().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let spec =
        json!({"request": base64(REQUEST), "usages": ["client auth"], "signerName": "example.com/own"});
    api.made(path, json!({"metadata": {"name": "r"}, "spec": spec})).await;
    let group = "certificates.k8s.io";
    let parts = ["certificatesigningrequests/approval", "certificatesigningrequests/status"];
    let writes = json!({"apiGroups": [group], "resources": parts, "verbs": ["patch"]});
    let signer = |verb: &str, name: &str| json!({"apiGroups": [group], "resources": ["signers"], "resourceNames": [name], "verbs": [verb]});
    let all = json!([writes, signer("approve", "example.com/own"), signer("sign", "example.com/*")]);
    for (name, rules) in [("ann", json!([writes])), ("bob", all)] {
        let rbac = "/apis/rbac.authorization.k8s.io/v1";
        api.made(&format!("{rbac}/clusterroles"), json!({"metadata": {"name": name}, "rules": rules})).await;
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
        let binding = json!({"metadata": {"name": name}, "roleRef": role,
            "subjects": [{"kind": "User", "name": name}]});
        api.made(&format!("{rbac}/clusterrolebindings"), binding).await;
    }
    assert!(api.state().fresh().await.is_ok());
    let dir = tempfile::tempdir().unwrap();
    let certificate = base64(pki::Ca::load_or_create(dir.path(), "ca").unwrap().pem());
    let condition = json!([{"type": "Approved", "status": "True", "reason": "r"}]);
    for (part, status, act) in [
        ("approval", json!({ "conditions": condition }), "approve"),
        ("status", json!({ "certificate": certificate }), "sign"),
    ] {
        let send = async |user: &str| {
            let (path, body) = (format!("{path}/r/{part}"), json!({ "status": status }).to_string());
            let patch = request("PATCH", &path, "application/merge-patch+json", body);
            api.send(User::new(user, &[]), patch).await
        };
        let (code, refused) = send("ann").await;
        let why = format!("user not permitted to {act} requests with signerName \"example.com/own\"");
        assert!(code == 403 && refused["message"].as_str().unwrap().ends_with(&why), "{refused}");
        let (code, written) = send("bob").await;
        assert_eq!(code, 200, "{act}: {written}");
    }
}

#[tokio::test]
async fn a_token_ends_with_what_it_is_bound_to() {
    let api = Api::new().await;
    const PODS: &str = "/api/v1/namespaces/default/pods";
    const SECRETS: &str = "/api/v1/namespaces/default/secrets";
    const NODES: &str = "/api/v1/nodes";
    let pod = json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let valid = async |token: &Value| {
        let review = json!({"spec": {"token": token}});
        let told = api.post("/apis/authentication.k8s.io/v1/tokenreviews", review).await.1;
        told["status"]["authenticated"] == json!(true)
    };
    let account = "/api/v1/namespaces/default/serviceaccounts/default/token";
    for (kind, all, object) in [
        ("Pod", PODS, pod),
        ("Secret", SECRETS, json!({"metadata": {"name": "x"}})),
        ("Node", NODES, json!({"metadata": {"name": "x"}})),
    ] {
        assert_eq!(api.post(all, object.clone()).await.0, 201, "{kind}");
        let ask = json!({"spec": {"expirationSeconds": 600, "boundObjectRef": {"kind": kind, "apiVersion": "v1", "name": "x"}}});
        let (code, made) = api.post(account, ask).await;
        assert_eq!(code, 201, "{made}");
        let token = made["status"]["token"].clone();
        assert!(valid(&token).await, "{kind}");
        assert_eq!(api.delete(&format!("{all}/x"), json!({})).await.0, 200);
        assert!(!valid(&token).await, "{kind} is gone, and the signature is remembered");
        assert_eq!(api.post(all, object).await.0, 201);
        assert!(!valid(&token).await, "another {kind} of that name");
    }
    // the account itself, remade under its name
    let token =
        api.post(account, json!({"spec": {"expirationSeconds": 600}})).await.1["status"]["token"].clone();
    assert!(valid(&token).await);
    assert_eq!(api.delete(account.trim_end_matches("/token"), json!({})).await.0, 200);
    assert_eq!(
        api.post("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}}))
            .await
            .0,
        201
    );
    assert!(!valid(&token).await);
}

/// Nothing says any more which secrets the account let its pods read.
#[tokio::test]
async fn a_pod_whose_account_is_gone_gets_no_ephemeral_containers() {
    let api = Api::new().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    assert_eq!(api.post(accounts, json!({"metadata": {"name": "gone"}})).await.0, 201);
    let spec = json!({"serviceAccountName": "gone", "containers": [{"name": "c", "image": "i"}]});
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(api.post(pods, json!({"metadata": {"name": "p"}, "spec": spec})).await.0, 201);
    assert_eq!(api.delete(&format!("{accounts}/gone"), json!({})).await.0, 200);
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i"}]}});
    let (code, status) = api.patch(&format!("{pods}/p/ephemeralcontainers"), debug).await;
    let why = "error looking up service account default/gone: serviceaccount \"gone\" not found";
    assert!(code == 403 && status["message"].as_str().unwrap().ends_with(why), "{status}");
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(api.patch(&format!("{pods}/p"), label).await.0, 200, "other changes are free");
}

/// CVE-2023-2728: no container of a pod reads a secret that its account may not mount.
#[tokio::test]
async fn an_account_may_bound_the_secrets_of_its_pods() {
    let api = Api::new().await;
    let account = json!({"metadata": {"name": "tight", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}, "secrets": [{"name": "own"}]});
    assert_eq!(api.post("/api/v1/namespaces/default/serviceaccounts", account).await.0, 201);
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |name: &str, secret: &str, volume: &str| {
        let env = json!([{"name": "E", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]);
        json!({"metadata": {"name": name}, "spec": {"serviceAccountName": "tight",
            "volumes": [{"name": "v", "secret": {"secretName": volume}}], "containers": [{"name": "c", "image": "i", "env": env}]}})
    };
    let end = "is not allowed because service account tight does not reference that secret";
    for (object, why) in [
        (
            pod("a", "other", "own"),
            format!("container c with envVar E referencing secret.secretName=\"other\" {end}"),
        ),
        (pod("a", "own", "other"), format!("volume with secret.secretName=\"other\" {end}")),
    ] {
        let (code, status) = api.post(pods, object).await;
        assert!(code == 403 && status["message"].as_str().unwrap().ends_with(&why), "{status}");
    }
    assert_eq!(api.post(pods, pod("fine", "own", "own")).await.0, 201);
    let debug = |secret: &str| json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i", "envFrom": [{"secretRef": {"name": secret}}]}]}});
    let path = format!("{pods}/fine/ephemeralcontainers");
    let (code, status) = api.patch(&path, debug("other")).await;
    let why = format!("ephemeral container e with envFrom referencing secret.secretName=\"other\" {end}");
    assert!(code == 403 && status["message"].as_str().unwrap().ends_with(&why), "{status}");
    let (code, status) = api.patch(&path, debug("own")).await;
    assert_eq!(code, 200, "{status}");
    // A mirror pod gets no account by default, and may have none.
    let mut mirror = pod("m", "own", "own");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["spec"]["nodeName"] = json!("n");
    let (code, status) = api.post(pods, mirror.clone()).await;
    assert!(
        code == 403 && status["message"].as_str().unwrap().ends_with("may not reference service accounts"),
        "{status}"
    );
    mirror["spec"].as_object_mut().unwrap().remove("serviceAccountName");
    let (code, status) = api.post(pods, mirror).await;
    assert!(
        code == 403 && status["message"].as_str().unwrap().ends_with("may not reference secrets"),
        "{status}"
    );
}
