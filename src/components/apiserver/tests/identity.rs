//! The user of a request: impersonated names, tokens of accounts that are new, and tokens that this
//! cluster has not issued.

use crate::Server;
use crate::auth::authn::{Caller, Peer, authenticate};
use crate::auth::tokens;
use crate::auth::user::{MASTERS, User};
use crate::pipeline;
use crate::request::http::full;
use crate::request::router::Router;
use crate::testing::{self, Api, ask};
use crate::tests::blocking_store::BlockingStore;
use ::http::{HeaderMap, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use etcd::Kv;
use http_body_util::BodyExt;
use rng::Rng;
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;

/// Jane may impersonate the ServiceAccounts of one namespace, and no users.
#[tokio::test]
async fn a_name_that_no_service_account_can_have_is_the_name_of_a_user() {
    let api = Api::bare().await;
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rules = json!([{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["serviceaccounts"]}]);
    api.made(&format!("{RBAC}/roles"), json!({"metadata": {"name": "r"}, "rules": rules})).await;
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "jane"}]});
    api.made(&format!("{RBAC}/rolebindings"), binding).await;
    let review = async |name: &str| {
        let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .header("content-type", "application/json")
            .header("impersonate-user", name)
            .body(full("{}"));
        api.send(User::new("jane", &[]), request.unwrap()).await
    };
    let account = "system:serviceaccount:default:a.b";
    let (code, answer) = review(account).await;
    assert_eq!((code, &answer["status"]["userInfo"]["username"]), (201, &json!(account)), "{answer}");
    for name in ["default:a:b", "default:", "default:A_b", "default", ":a"] {
        let (code, refused) = review(&format!("system:serviceaccount:{name}")).await;
        let why = refused["message"].as_str().unwrap_or_default();
        assert!(code == 403 && why.contains(r#"cannot impersonate resource "users""#), "{name}: {refused}");
    }
}

/// The message of a refusal is the same whatever was sent.
#[tokio::test]
async fn the_record_of_a_refused_write_has_what_was_sent_for_an_impersonated_user() {
    let api = Api::bare().await;
    let tried = async |user: User, guest: Option<&str>, path: &str| {
        let mut request = Request::post(path).header("content-type", "application/json");
        if let Some(guest) = guest {
            request = request.header("impersonate-user", guest);
        }
        let (code, refused) =
            api.send(user, request.body(full(r#"{"metadata":{"name":"crate"}}"#)).unwrap()).await;
        assert_eq!(code, 403, "{refused}");
        let records = api.fixture.tap.since(0);
        let answer = records.iter().rev().find_map(|r| r.answer().map(|answer| answer.tried.clone()));
        answer.flatten().map(|object| object["metadata"]["name"].clone())
    };
    let admin = || User::new("admin", &[MASTERS]);
    let pods = "/api/v1/namespaces/default/pods";
    assert_eq!(tried(admin(), Some("guest"), pods).await, Some(json!("crate")));
    for path in ["/api/v1/namespaces/default/secrets", "/apis/authentication.k8s.io/v1/tokenreviews"] {
        assert_eq!(tried(admin(), Some("guest"), path).await, None, "{path} has passwords or tokens");
    }
    assert_eq!(tried(User::new("guest", &[]), None, pods).await, None, "no one impersonates");
}

/// Jane may impersonate users, and give them no attributes.
#[tokio::test]
async fn an_impersonation_is_refused_as_upstream_refuses_it() {
    let api = Api::bare().await;
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"]}]);
    api.made(&format!("{RBAC}/clusterroles"), json!({"metadata": {"name": "r"}, "rules": rules})).await;
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "r"},
        "subjects": [{"kind": "User", "name": "jane"}]});
    api.made(&format!("{RBAC}/clusterrolebindings"), binding).await;
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = Request::get("/version");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (code, answer) = api.send(User::new("jane", &[]), request.body(full("")).unwrap()).await;
        (code, answer["message"].as_str().unwrap_or_default().to_string())
    };
    let (user, group) = (("impersonate-user", "bob"), ("impersonate-group", "devs"));
    let (uid, extra) = (("impersonate-uid", "7"), ("impersonate-extra-team", "red"));
    let (code, why) = ask(&[user, uid, extra]).await;
    assert!(code == 403 && why.contains("cannot impersonate resource \"userextras/team\""), "{why}");
    let (code, why) = ask(&[user, uid]).await;
    assert!(code == 403 && why.contains("cannot impersonate resource \"uids\""), "{why}");
    let requested = "requested [{Group  devs    } {UserExtra  red  authentication.k8s.io/v1  team} {UID  7  authentication.k8s.io/v1  }] without impersonating a user";
    assert_eq!(ask(&[uid, group, extra]).await, (400, requested.to_string()));
}

/// Names of headers have no case, so a key with capitals comes encoded.
#[tokio::test]
async fn the_key_of_an_extra_attribute_is_decoded_as_it_was_encoded() {
    let api = Api::bare().await;
    for (name, key) in [
        ("Impersonate-Extra-Team", "team"),
        ("Impersonate-Extra-example.com%2F%54eam", "example.com/Team"),
        ("Impersonate-Extra-100%25", "100%"),
        ("Impersonate-Extra-a%2Fb%zz", "a%2fb%zz"),
        ("Impersonate-Extra-a%2", "a%2"),
    ] {
        let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .header("content-type", "application/json")
            .header("impersonate-user", "jane")
            .header(name, "x")
            .body(full("{}"));
        let (code, answer) = api.send(User::new("admin", &[MASTERS]), request.unwrap()).await;
        assert_eq!(
            (code, &answer["status"]["userInfo"]["extra"]),
            (201, &json!({key: ["x"]})),
            "{name}: {answer}"
        );
    }
}

/// Two API servers on one store. The second one is behind while the watches of `behind` are shut.
struct Two {
    first: Server,
    second: Server,
    behind: Arc<BlockingStore>,
    /// The files of both servers, which share the key that signs tokens.
    _dir: TempDir,
}

impl Two {
    async fn start() -> Two {
        let dir = tempfile::tempdir().unwrap();
        let kv = Kv::in_memory(Rng::seeded(1).fork("etcd"));
        let behind = BlockingStore::new(kv.clone());
        let first = testing::start_on(dir.path(), Arc::new(kv)).await.server;
        let second = testing::start_on(dir.path(), behind.clone()).await.server;
        Two { first, second, behind, _dir: dir }
    }
}

/// One API server has made the account and its token; another one has not heard of the account yet.
#[tokio::test]
async fn a_token_is_not_refused_because_a_server_is_behind() {
    const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
    let Two { _dir, first, second, behind } = Two::start().await;
    for attempt in 0..5 {
        let name = format!("x{attempt}");
        // A read of now, so that nothing older stands before the gate.
        assert_eq!(ask(&second, "GET", ACCOUNTS, Value::Null).await.0, 200);
        behind.watches.send_replace(false);
        let (code, made) = ask(&first, "POST", ACCOUNTS, json!({"metadata": {"name": name}})).await;
        assert_eq!(code, 201, "{made}");
        let asked = json!({"spec": {"expirationSeconds": 600}});
        let (code, made) = ask(&first, "POST", &format!("{ACCOUNTS}/{name}/token"), asked).await;
        assert_eq!(code, 201, "{made}");
        if second.state.cache.get("serviceaccounts", &format!("default/{name}")).is_some() {
            continue; // every ten seconds the server reads something for itself
        }
        let mut headers = HeaderMap::new();
        let token = made["status"]["token"].as_str().unwrap();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        let caller = Caller::Connection(&Peer::Nobody);
        let user = authenticate(&second.state, caller, &headers, None).await.unwrap();
        assert_eq!(user.name, format!("system:serviceaccount:default:{name}"));
        return;
    }
    panic!("the second server was never behind: the test shows nothing");
}

/// One API server has made the account; another one, which has not heard of it yet, is asked for a
/// pod of it. A controller on the same machine sees that when a cluster starts.
#[tokio::test]
async fn a_pod_is_not_refused_because_a_server_has_not_heard_of_its_account() {
    const DEFAULT: &str = "/api/v1/namespaces/default";
    let Two { _dir, first, second, behind } = Two::start().await;
    for attempt in 0..5 {
        let name = format!("x{attempt}");
        let accounts = format!("{DEFAULT}/serviceaccounts");
        // A read of now, so that nothing older stands before the gate.
        assert_eq!(ask(&second, "GET", &accounts, Value::Null).await.0, 200);
        behind.watches.send_replace(false);
        let (code, made) = ask(&first, "POST", &accounts, json!({"metadata": {"name": name}})).await;
        assert_eq!(code, 201, "{made}");
        if second.state.cache.get("serviceaccounts", &format!("default/{name}")).is_some() {
            continue; // every ten seconds the server reads something for itself
        }
        let spec = json!({"serviceAccountName": name, "containers": [{"name": "c", "image": "x"}]});
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        let (code, made) = ask(&second, "POST", &format!("{DEFAULT}/pods"), pod).await;
        assert_eq!(code, 201, "{made}");
        return;
    }
    panic!("the second server was never behind: the test shows nothing");
}

/// Makes the ServiceAccount `robot` and the Secret `old` with a token of it, which is returned.
async fn secret_token(api: &Api) -> String {
    const DEFAULT: &str = "/api/v1/namespaces/default";
    let robot = json!({"metadata": {"name": "robot"}});
    let account = api.made(&format!("{DEFAULT}/serviceaccounts"), robot).await;
    let claims = json!({
        "iss": pki::LEGACY_ISSUER, "sub": "system:serviceaccount:default:robot",
        "kubernetes.io/serviceaccount/namespace": "default",
        "kubernetes.io/serviceaccount/secret.name": "old",
        "kubernetes.io/serviceaccount/service-account.name": "robot",
        "kubernetes.io/serviceaccount/service-account.uid": account["metadata"]["uid"],
    });
    let token = api.state().tokens.sign(&claims).unwrap();
    let meta = json!({"name": "old", "annotations": {"kubernetes.io/service-account.name": "robot"}});
    let secret = json!({"metadata": meta, "type": "kubernetes.io/service-account-token",
        "data": {"token": STANDARD.encode(&token)}});
    api.made(&format!("{DEFAULT}/secrets"), secret).await;
    token
}

/// An administrator looks for tokens that nothing uses any more.
#[tokio::test]
async fn the_secret_of_a_token_has_the_day_of_its_last_use() {
    const LABELS: &str = "/metadata/labels/kubernetes.io~1legacy-token-last-used";
    let api = Api::bare().await;
    let token = secret_token(&api).await;
    let secret = async || api.get("/api/v1/namespaces/default/secrets/old").await.1;
    let day = || Value::from(clock::now().strftime("%Y-%m-%d").to_string());
    assert_eq!(secret().await.pointer(LABELS), None, "not used yet");
    let review = json!({"spec": {"token": token}});
    let mut version = Value::Null;
    for _ in 0..2 {
        let before = day();
        let answer = api.made("/apis/authentication.k8s.io/v1/tokenreviews", review.clone()).await;
        assert_eq!(answer["status"]["authenticated"], true, "{answer}");
        let used = secret().await;
        assert!(used.pointer(LABELS).is_some_and(|at| [before, day()].contains(at)), "{used}");
        let last = std::mem::replace(&mut version, used["metadata"]["resourceVersion"].clone());
        assert!(last.is_null() || last == version, "once a day");
        // As after the ten seconds for which the token is remembered.
        tokens::note_use(api.state(), &token).await;
    }
    assert_eq!(secret().await["metadata"]["resourceVersion"], version, "today stands there");
}

/// The label ends the token and not the Secret: without it the token counts again.
#[tokio::test]
async fn the_token_of_a_secret_that_is_marked_invalid_is_refused() {
    const DEFAULT: &str = "/api/v1/namespaces/default";
    let api = Api::bare().await;
    let token = secret_token(&api).await;
    let (marked, bare) = ((json!("2026-01-02"), false), (Value::Null, true));
    for (since, is_valid) in [marked.clone(), bare.clone(), marked, bare] {
        let label = json!({"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": since}}});
        assert_eq!(api.patch(&format!("{DEFAULT}/secrets/old"), label).await.0, 200);
        assert!(api.state().fresh().await.is_ok());
        let review = json!({"spec": {"token": token}});
        let answer = api.made("/apis/authentication.k8s.io/v1/tokenreviews", review).await;
        let status = &answer["status"];
        assert_eq!(status["authenticated"] == true, is_valid, "{status}");
        let why = status["error"].as_str().unwrap_or_default();
        assert_eq!(why.contains("has been marked invalid"), !is_valid, "{status}");
        let (_, secret) = api.get(&format!("{DEFAULT}/secrets/old")).await;
        let labels = &secret["metadata"]["labels"];
        assert!(labels.get("kubernetes.io/legacy-token-last-used").is_some(), "{is_valid}: {labels}");
    }
}

/// The API server finds no user for such a token, so the record of the refusal names none.
#[tokio::test]
async fn a_request_with_a_token_that_is_not_believed_is_recorded() {
    let api = Api::bare().await;
    let server = &api.fixture.server;
    let request = Request::get("/api/v1/namespaces/default/pods")
        .header("authorization", "Bearer made-up")
        .header("user-agent", "curl/8.5.0")
        .body(full(""))
        .unwrap();
    let caller = Caller::Connection(&Peer::Nobody);
    let answer = pipeline::serve(&Router, server, request, caller, server.crew.token()).await;
    assert_eq!(answer.status().as_u16(), 401);
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(text.starts_with(b"{\n  \"kind\": \"Status\""), "a person reads it: {text:?}");
    let records = api.fixture.tap.since(0);
    let refused: Vec<_> =
        records.iter().filter(|r| r.request.as_ref().is_some_and(|r| r.code == 401)).collect();
    assert_eq!(refused.len(), 1);
    let (request, object) = (refused[0].request.as_ref().unwrap(), refused[0].object.as_ref().unwrap());
    assert_eq!((request.user.as_str(), request.verb.as_str()), ("", "list"));
    assert_eq!(
        (object.resource.as_str(), object.namespace.as_str(), object.name.as_str()),
        ("pods", "default", "")
    );
}
