//! Subresources, reviews and reads: what each of these doors takes and answers.

use super::testing::{self, Fixture, ask};
use super::user::{MASTERS, User};
use serde_json::{Value, json};
use tap::Write;

struct Api {
    fixture: Fixture,
    _dir: tempfile::TempDir,
}

impl Api {
    async fn new() -> Api {
        let dir = tempfile::tempdir().unwrap();
        let api = Api { fixture: testing::start(dir.path()).await, _dir: dir };
        let account = json!({"metadata": {"name": "default"}});
        api.made("/api/v1/namespaces/default/serviceaccounts", account).await;
        api
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        ask(&self.fixture.server, method, path, body).await
    }

    async fn made(&self, path: &str, body: Value) -> Value {
        let (code, made) = self.ask("POST", path, body).await;
        assert_eq!(code, 201, "{made}");
        made
    }
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}})
}

#[tokio::test]
async fn version_zero_of_a_scale_is_none() {
    let api = Api::new().await;
    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    api.made(DEPLOYMENTS, json!({"metadata": {"name": "d"}, "spec": spec})).await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    let scale = |version: &str, replicas: u64| {
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d", "resourceVersion": version},
            "spec": {"replicas": replicas}})
    };
    let (code, got) = api.ask("PUT", &path, scale("0", 3)).await;
    assert_eq!((code, &got["spec"]["replicas"]), (200, &json!(3)), "{got}");
    assert_eq!(api.ask("PUT", &path, scale("1", 4)).await.0, 409);
    let user = User::new("admin", &[MASTERS]);
    let apply = format!("{path}?fieldManager=m&force=true");
    let body = ("application/apply-patch+yaml", scale("0", 5).to_string());
    let (code, got) = testing::send(&api.fixture.server, user, ("PATCH", &apply), body, "").await;
    assert_eq!((code, &got["spec"]["replicas"]), (200, &json!(5)), "{got}");
}

#[tokio::test]
async fn a_token_review_needs_a_token() {
    let api = Api::new().await;
    const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (code, got) = api.ask("POST", REVIEWS, json!({"spec": {}})).await;
    assert_eq!((code, &got["message"]), (400, &json!("token is required for TokenReview in authentication")));
    assert_eq!(api.ask("POST", REVIEWS, json!({"spec": {"token": "x"}})).await.0, 201);
}
