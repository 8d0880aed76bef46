//! Whom a request speaks for: impersonated names.

use crate::auth::user::User;
use crate::request::http::full;
use crate::testing::Api;
use ::http::Request;
use serde_json::json;

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
    let (code, told) = review(account).await;
    assert_eq!((code, &told["status"]["userInfo"]["username"]), (201, &json!(account)), "{told}");
    for name in ["default:a:b", "default:", "default:A_b", "default", ":a"] {
        let (code, refused) = review(&format!("system:serviceaccount:{name}")).await;
        let why = refused["message"].as_str().unwrap_or_default();
        assert!(code == 403 && why.contains(r#"cannot impersonate resource "users""#), "{name}: {refused}");
    }
}
