//! Policies through the whole server.

use super::*;
use crate::auth::user::User;
use crate::request::http::full;
use crate::testing::Api;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const ROOT: &str = "/apis/admissionregistration.k8s.io/v1";

fn rule(groups: &str, resources: Value, operations: Value) -> Value {
    json!({"apiGroups": [groups], "apiVersions": ["*"], "operations": operations, "resources": resources})
}

/// A policy `p` with these fields of its spec.
fn policy(rule: Value, spec: Value) -> Value {
    let mut object =
        json!({"metadata": {"name": "p"}, "spec": {"matchConstraints": {"resourceRules": [rule]}}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    object
}

fn binding(actions: Value) -> Value {
    json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": actions}})
}

impl Api {
    async fn bound(&self, policy: Value, binding: Value) {
        self.made(&format!("{ROOT}/{POLICIES}"), policy).await;
        self.made(&format!("{ROOT}/{BINDINGS}"), binding).await;
        assert!(self.state().fresh().await.is_ok());
    }
}

fn map(name: &str, data: Value) -> Value {
    json!({"metadata": {"name": name}, "data": data})
}

fn few() -> Value {
    let validation =
        json!({"expression": "!has(object.data) || size(object.data) < 2", "message": "too many"});
    policy(
        rule("", json!(["configmaps"]), json!(["CREATE", "UPDATE"])),
        json!({ "validations": [validation] }),
    )
}

#[tokio::test]
async fn what_a_policy_denies_is_refused_in_its_words() {
    let api = Api::bare().await;
    api.bound(few(), binding(json!(["Deny"]))).await;
    let why = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: too many";
    let (code, refused) = api.post(MAPS, map("a", json!({"x": "1", "y": "2"}))).await;
    assert_eq!((code, &refused["reason"]), (422, &json!("Invalid")), "{refused}");
    assert_eq!(refused["message"], format!("configmaps \"a\" is forbidden: {why}"));
    assert_eq!(refused["details"]["causes"], json!([{ "message": why }]));
    assert_eq!(api.post(MAPS, map("a", json!({"x": "1"}))).await.0, 201);
    let path = format!("{MAPS}/a");
    assert_eq!(api.patch(&path, json!({"data": {"y": "2"}})).await.0, 422);
    assert_eq!(api.patch(&path, json!({"data": {"x": "2"}})).await.0, 200);
    assert_eq!(api.post(&format!("{MAPS}?dryRun=All"), map("c", json!({"x": "1", "y": "2"}))).await.0, 422);
    assert_eq!(
        api.post("/api/v1/namespaces/default/secrets", json!({"metadata": {"name": "s"}})).await.0,
        201
    );
    assert_eq!(api.delete(&format!("{ROOT}/{BINDINGS}/b"), json!({})).await.0, 200);
    assert!(api.state().fresh().await.is_ok());
    assert_eq!(api.patch(&path, json!({"data": {"y": "2"}})).await.0, 200, "nothing binds it");
}

#[tokio::test]
async fn a_reason_decides_the_code() {
    let api = Api::bare().await;
    let mut policy = few();
    policy["spec"]["validations"][0]["reason"] = json!("Forbidden");
    api.bound(policy, binding(json!(["Deny"]))).await;
    let (code, refused) = api.post(MAPS, map("a", json!({"x": "1", "y": "2"}))).await;
    assert_eq!((code, &refused["reason"]), (403, &json!("Forbidden")), "{refused}");
}

#[tokio::test]
async fn a_warning_and_an_audit_let_the_request_in() {
    let api = Api::bare().await;
    let mut policy = few();
    let first = policy["spec"]["validations"][0].clone();
    policy["spec"]["validations"] = json!([first, {"expression": "false", "message": "later"}]);
    api.bound(policy, binding(json!(["Warn", "Audit"]))).await;
    let body = map("a", json!({"x": "1", "y": "2"})).to_string();
    let request = ::http::Request::post(MAPS).header("content-type", "application/json");
    let user = User::new("admin", &[crate::auth::user::MASTERS]);
    let answer = api.fixture.server.call(request.body(full(body)).unwrap(), user).await;
    assert_eq!(answer.status(), 201);
    let warning = answer.headers().get("warning").and_then(|w| w.to_str().ok()).unwrap_or_default();
    let want = "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': too many";
    assert!(warning.contains(want), "{warning}");
    let noted = api.fixture.tap.since(0).iter().any(|record| match &record.event {
        tap::Event::Admit(detail) => {
            detail["auditAnnotations"][FAILURE].as_str().is_some_and(|f| f.contains("too many"))
        }
        _ => false,
    });
    assert!(noted);
}

/// A policy that denies everything would otherwise stay for ever.
#[tokio::test]
async fn the_configuration_of_admission_is_never_judged() {
    let api = Api::bare().await;
    let all = json!({"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]});
    let no = json!({"validations": [{"expression": "false"}]});
    api.bound(policy(all, no), binding(json!(["Deny"]))).await;
    assert_eq!(api.post(MAPS, map("a", json!({}))).await.0, 422);
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(api.post(reviews, review).await.0, 201);
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(api.patch(&format!("{ROOT}/{POLICIES}/p"), label).await.0, 200);
    assert_eq!(api.delete(&format!("{ROOT}/{POLICIES}/p"), json!({})).await.0, 200);
    assert!(api.state().fresh().await.is_ok());
    assert_eq!(api.post(MAPS, map("a", json!({}))).await.0, 201);
}

#[tokio::test]
async fn a_deletion_is_asked_about_with_the_object_as_it_is() {
    let api = Api::bare().await;
    api.made(MAPS, map("kept", json!({"keep": "yes"}))).await;
    api.made(MAPS, map("loose", json!({"keep": "no"}))).await;
    let keeps = json!({"validations": [{"expression": "object == null && oldObject.data.keep != 'yes'"}]});
    api.bound(policy(rule("", json!(["configmaps"]), json!(["DELETE"])), keeps), binding(json!(["Deny"])))
        .await;
    assert_eq!(api.delete(&format!("{MAPS}/kept"), json!({})).await.0, 422);
    assert_eq!(api.delete(&format!("{MAPS}/loose"), json!({})).await.0, 200);
    let (code, refused) = api.delete(MAPS, json!({})).await;
    assert_eq!((code, &refused["details"]["name"]), (422, &json!("Unknown")), "{refused}");
}

/// As upstream: what a rule with `resourceNames` protects, a deletecollection may delete.
#[tokio::test]
async fn a_deletecollection_and_a_generated_name_give_no_name() {
    let api = Api::bare().await;
    api.made(MAPS, map("a", json!({}))).await;
    let mut named = rule("", json!(["configmaps"]), json!(["CREATE", "DELETE"]));
    named["resourceNames"] = json!(["a"]);
    api.bound(policy(named, json!({"validations": [{"expression": "false"}]})), binding(json!(["Deny"])))
        .await;
    assert_eq!(api.delete(&format!("{MAPS}/a"), json!({})).await.0, 422);
    assert_eq!(api.delete(MAPS, json!({})).await.0, 200);
    let unnamed = rule("", json!(["configmaps"]), json!(["CREATE"]));
    let change = json!({"spec": {"matchConstraints": {"resourceRules": [unnamed]},
        "validations": [{"expression": "has(request.name)"}]}});
    assert_eq!(api.patch(&format!("{ROOT}/{POLICIES}/p"), change).await.0, 200);
    assert!(api.state().fresh().await.is_ok());
    assert_eq!(api.post(MAPS, map("b", json!({}))).await.0, 201);
    assert_eq!(api.post(MAPS, json!({"metadata": {"generateName": "b-"}})).await.0, 422);
}

#[tokio::test]
async fn a_policy_sees_the_options_of_the_request() {
    let api = Api::bare().await;
    let sees = json!({"validations": [{"expression": "request.operation == 'UPDATE' ? request.options.kind == 'UpdateOptions' : !has(request.options.propagationPolicy) || request.options.propagationPolicy != 'Orphan'"}]});
    let operations = json!(["UPDATE", "DELETE"]);
    api.bound(policy(rule("", json!(["configmaps"]), operations), sees), binding(json!(["Deny"]))).await;
    api.made(MAPS, map("a", json!({"x": "1"}))).await;
    let path = format!("{MAPS}/a");
    assert_eq!(api.patch(&path, json!({"data": {"x": "2"}})).await.0, 200);
    assert_eq!(api.delete(&path, json!({"propagationPolicy": "Orphan"})).await.0, 422);
    assert_eq!(api.delete(&path, json!({"propagationPolicy": "Background"})).await.0, 200);
}

/// Parameters for a request about a Namespace are looked for in that namespace, which does not
/// exist when it is made.
#[tokio::test]
async fn parameters_of_a_namespace_are_looked_for_in_it() {
    let api = Api::bare().await;
    let no = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [{"expression": "false"}]});
    let mut by_name = binding(json!(["Deny"]));
    by_name["spec"]["paramRef"] = json!({"name": "limit", "parameterNotFoundAction": "Allow"});
    api.bound(policy(rule("", json!(["namespaces"]), json!(["CREATE"])), no), by_name).await;
    assert_eq!(api.post("/api/v1/namespaces", json!({"metadata": {"name": "new"}})).await.0, 201);
}

#[tokio::test]
async fn parameters_are_found_by_name_and_by_selector() {
    let api = Api::bare().await;
    let params = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "new", "expression": "!object.metadata.name.startsWith('limit')"}],
        "validations": [{"expression": "params == null || size(object.data) <= int(params.data.max)",
            "messageExpression": "'at most ' + params.data.max"}]});
    let mut by_name = binding(json!(["Deny"]));
    by_name["spec"]["paramRef"] = json!({"name": "limit", "parameterNotFoundAction": "Deny"});
    api.bound(policy(rule("", json!(["configmaps"]), json!(["CREATE"])), params), by_name).await;
    let two = || map("a", json!({"x": "1", "y": "2"}));
    let message = |answer: &Value| answer["message"].as_str().unwrap_or_default().to_string();
    let (code, refused) = api.post(MAPS, two()).await;
    let why =
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert!(code == 422 && message(&refused).ends_with(why), "{refused}");
    assert_eq!(api.post(MAPS, map("limit", json!({"max": "1"}))).await.0, 422, "parameters come first");
    let path = format!("{ROOT}/{BINDINGS}/b");
    let allow = json!({"spec": {"paramRef": {"parameterNotFoundAction": "Allow"}}});
    assert_eq!(api.patch(&path, allow).await.0, 200);
    assert!(api.state().fresh().await.is_ok());
    let mut limit = map("limit", json!({"max": "1"}));
    limit["metadata"]["labels"] = json!({"of": "maps"});
    api.made(MAPS, limit).await;
    assert!(api.state().fresh().await.is_ok());
    let (code, refused) = api.post(MAPS, two()).await;
    assert!(code == 422 && message(&refused).ends_with("denied request: at most 1"), "{refused}");
    for (of, code) in [("maps", 422), ("none", 201)] {
        let selector = json!({"matchLabels": {"of": of}});
        let change = json!({"spec": {"paramRef": {"name": null, "selector": selector}}});
        assert_eq!(api.patch(&path, change).await.0, 200);
        assert!(api.state().fresh().await.is_ok());
        assert_eq!(api.post(MAPS, two()).await.0, code, "{of}");
    }
}

#[tokio::test]
async fn selectors_and_bindings_narrow_where_a_policy_holds() {
    let api = Api::bare().await;
    let marked = json!({"metadata": {"name": "marked", "labels": {"team": "a"}}});
    api.made("/api/v1/namespaces", marked).await;
    let mut where_marked = binding(json!(["Deny"]));
    where_marked["spec"]["matchResources"] = json!({"namespaceSelector": {"matchLabels": {"team": "a"}}});
    api.bound(few(), where_marked).await;
    let two = || map("a", json!({"x": "1", "y": "2"}));
    assert_eq!(api.post("/api/v1/namespaces/marked/configmaps", two()).await.0, 422);
    assert_eq!(api.post(MAPS, two()).await.0, 201);
}

#[tokio::test]
async fn a_scale_and_a_status_are_subresources() {
    let api = Api::bare().await;
    let labels = json!({"app": "web"});
    let spec = json!({"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]}}});
    let all = "/apis/apps/v1/namespaces/default/deployments";
    api.made(all, json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let scale = json!({"validations": [{"expression": "object.kind == 'Scale' && object.spec.replicas < 3 && request.kind.kind == 'Scale'"}]});
    api.bound(
        policy(rule("apps", json!(["deployments/scale"]), json!(["UPDATE"])), scale),
        binding(json!(["Deny"])),
    )
    .await;
    let path = format!("{all}/web");
    let replicas = |count: u8| json!({"spec": {"replicas": count}});
    assert_eq!(api.patch(&format!("{path}/scale"), replicas(3)).await.0, 422);
    assert_eq!(api.patch(&format!("{path}/scale"), replicas(2)).await.0, 200);
    assert_eq!(api.patch(&path, replicas(5)).await.0, 200, "another rule would be about that");
}

#[tokio::test]
async fn another_version_is_shown_as_the_policy_matches_it() {
    let api = Api::bare().await;
    let v2 = json!({"validations": [{"expression": "request.kind.version == 'v2' && request.requestKind.version == 'v1' && object.spec.metrics.size() == 1"}]});
    let mut matched = rule("autoscaling", json!(["horizontalpodautoscalers"]), json!(["CREATE"]));
    matched["apiVersions"] = json!(["v2"]);
    let no = json!({"validations": [v2["validations"][0], {"expression": "false", "message": "seen"}]});
    api.bound(policy(matched, no), binding(json!(["Deny"]))).await;
    let scaler = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50,
        "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}}});
    let path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let (code, refused) = api.post(path, scaler).await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(code == 422 && message.ends_with("denied request: seen"), "{refused}");
}

#[tokio::test]
async fn evictions_and_tokens_are_creations() {
    let api = Api::new().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}});
    api.made("/api/v1/namespaces/default/pods", pod).await;
    let no = json!({"validations": [{"expression": "!(request.kind.kind in ['Eviction', 'TokenRequest', 'Binding'])"}]});
    let below = json!(["pods/eviction", "serviceaccounts/token", "pods/binding"]);
    api.bound(policy(rule("", below, json!(["CREATE"])), no), binding(json!(["Deny"]))).await;
    let pods = "/api/v1/namespaces/default/pods/p";
    for (path, body) in [
        (format!("{pods}/eviction"), json!({"metadata": {"name": "p"}})),
        (
            format!("{pods}/binding"),
            json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}),
        ),
        ("/api/v1/namespaces/default/serviceaccounts/default/token".to_string(), json!({"spec": {}})),
    ] {
        let (code, refused) = api.post(&path, body).await;
        let message = refused["message"].as_str().unwrap_or_default();
        assert!(code == 422 && message.contains("ValidatingAdmissionPolicy 'p'"), "{path}: {refused}");
    }
    assert_eq!(api.delete(pods, json!({})).await.0, 200, "a delete is none");
}

/// A user who may not read Secrets could otherwise learn from refusals what is in them.
#[tokio::test]
async fn parameters_have_to_be_readable_for_who_refers_to_them() {
    let api = Api::bare().await;
    let role = json!({"metadata": {"name": "author"}, "rules": [
        {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"], "verbs": ["*"]}]});
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    api.made(&format!("{rbac}/clusterroles"), role).await;
    let bound = json!({"metadata": {"name": "author"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole", "name": "author"}, "subjects": [{"kind": "User", "name": "ann"}]});
    api.made(&format!("{rbac}/clusterrolebindings"), bound).await;
    assert!(api.state().fresh().await.is_ok());
    let send = async |path: String, body: Value| {
        let request = ::http::Request::post(path).header("content-type", "application/json");
        api.send(User::new("ann", &[]), request.body(full(body.to_string())).unwrap()).await
    };
    let mut secrets = few();
    secrets["spec"]["paramKind"] = json!({"apiVersion": "v1", "kind": "Secret"});
    let (code, refused) = send(format!("{ROOT}/{POLICIES}"), secrets.clone()).await;
    let message = refused["message"].as_str().unwrap_or_default().to_string();
    assert!(
        code == 422
            && message.contains("must have \"get\" permission on all objects of the referenced paramKind"),
        "{refused}"
    );
    api.made(&format!("{ROOT}/{POLICIES}"), secrets).await;
    assert!(api.state().fresh().await.is_ok());
    let mut reads = binding(json!(["Deny"]));
    reads["spec"]["paramRef"] =
        json!({"name": "s", "namespace": "default", "parameterNotFoundAction": "Allow"});
    let (code, refused) = send(format!("{ROOT}/{BINDINGS}"), reads).await;
    let message = refused["message"].as_str().unwrap_or_default().to_string();
    assert!(
        code == 422
            && message.contains("does not have \"get\" permission on the object referenced by paramRef"),
        "{refused}"
    );
    assert_eq!(
        send(format!("{ROOT}/{BINDINGS}"), binding(json!(["Deny"]))).await.0,
        201,
        "it refers to none"
    );
}

#[tokio::test]
async fn an_expression_asks_for_rights_of_the_user() {
    let api = Api::bare().await;
    let asks = json!({"validations": [
        {"expression": "authorizer.group('').resource('secrets').namespace(request.namespace).check('get').allowed()",
            "message": "reads no secrets"},
        {"expression": "authorizer.requestResource.check('create').allowed()"},
        {"expression": "!authorizer.serviceAccount('default', 'robot').path('/version').check('get').allowed()"}]});
    api.bound(policy(rule("", json!(["configmaps"]), json!(["CREATE"])), asks), binding(json!(["Deny"])))
        .await;
    assert_eq!(api.post(MAPS, map("a", json!({}))).await.0, 201, "an administrator may do all");
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}]);
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"metadata": {"name": "maps"}, "rules": rules});
    api.made(&format!("{rbac}/roles"), role).await;
    let bound = json!({"metadata": {"name": "maps"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
        "kind": "Role", "name": "maps"}, "subjects": [{"kind": "User", "name": "ann"}]});
    api.made(&format!("{rbac}/rolebindings"), bound).await;
    assert!(api.state().fresh().await.is_ok());
    let send = async |name: &str| {
        let request = ::http::Request::post(MAPS).header("content-type", "application/json");
        let body = map(name, json!({})).to_string();
        api.send(User::new("ann", &[]), request.body(full(body)).unwrap()).await
    };
    let (code, refused) = send("b").await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(code == 422 && message.ends_with("denied request: reads no secrets"), "{refused}");
    let as_ann = ::http::Request::post(MAPS)
        .header("content-type", "application/json")
        .header("impersonate-user", "ann")
        .body(full(map("b", json!({})).to_string()));
    let admin = User::new("admin", &[crate::auth::user::MASTERS]);
    assert_eq!(api.send(admin, as_ann.unwrap()).await.0, 422, "the rights of the impersonated user");
    let more = json!({"rules": [rules[0], {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]});
    assert_eq!(api.patch(&format!("{rbac}/roles/maps"), more).await.0, 200);
    assert!(api.state().fresh().await.is_ok());
    assert_eq!(send("b").await.0, 201);
}

#[tokio::test]
async fn a_kind_of_parameters_that_is_not_served_is_a_failure() {
    let api = Api::bare().await;
    let mut policy = few();
    policy["spec"]["paramKind"] = json!({"apiVersion": "example.com/v1", "kind": "Limit"});
    api.bound(policy, binding(json!(["Audit"]))).await;
    let (code, refused) = api.post(MAPS, map("a", json!({}))).await;
    let why = "ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'example.com/v1, Kind=Limit'";
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(code == 422 && message.ends_with(why), "{refused}");
    let path = format!("{ROOT}/{POLICIES}/p");
    assert_eq!(api.patch(&path, json!({"spec": {"failurePolicy": "Ignore"}})).await.0, 200);
    assert!(api.state().fresh().await.is_ok());
    assert_eq!(api.post(MAPS, map("a", json!({}))).await.0, 201);
}

#[tokio::test]
async fn a_failure_with_parameters_is_ignored_if_the_policy_says_so() {
    let api = Api::bare().await;
    let mut policy = few();
    policy["spec"]["failurePolicy"] = json!("Ignore");
    policy["spec"]["paramKind"] = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    policy["spec"]["validations"] = json!([{"expression": "params.data.missing == 'x'"}]);
    let mut by_name = binding(json!(["Deny"]));
    by_name["spec"]["paramRef"] = json!({"name": "limit", "parameterNotFoundAction": "Deny"});
    api.bound(policy, by_name).await;
    assert_eq!(api.post(MAPS, map("a", json!({}))).await.0, 201, "there are no parameters");
    api.made(MAPS, map("limit", json!({"max": "1"}))).await;
    assert!(api.state().fresh().await.is_ok());
    assert_eq!(api.post(MAPS, map("b", json!({}))).await.0, 201, "they lack what is read");
    let fail = json!({"spec": {"failurePolicy": "Fail"}});
    assert_eq!(api.patch(&format!("{ROOT}/{POLICIES}/p"), fail).await.0, 200);
    assert!(api.state().fresh().await.is_ok());
    assert_eq!(api.post(MAPS, map("c", json!({}))).await.0, 422);
    assert_eq!(api.delete(&format!("{MAPS}/limit"), json!({})).await.0, 200);
    assert!(api.state().fresh().await.is_ok());
    assert_eq!(api.post(MAPS, map("c", json!({}))).await.0, 422);
}

#[tokio::test]
async fn a_binding_matches_other_versions_unless_it_is_exact() {
    let api = Api::bare().await;
    let no = json!({"validations": [{"expression": "false"}]});
    let matched = rule("autoscaling", json!(["horizontalpodautoscalers"]), json!(["CREATE"]));
    let mut newer = matched.clone();
    newer["apiVersions"] = json!(["v2"]);
    let mut narrowed = binding(json!(["Deny"]));
    narrowed["spec"]["matchResources"] = json!({"resourceRules": [newer]});
    api.bound(policy(matched, no), narrowed).await;
    let create = async || {
        let scaler = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}}});
        let path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
        api.post(path, scaler).await.0
    };
    assert_eq!(create().await, 422);
    let exact = json!({"spec": {"matchResources": {"matchPolicy": "Exact"}}});
    assert_eq!(api.patch(&format!("{ROOT}/{BINDINGS}/b"), exact).await.0, 200);
    assert!(api.state().fresh().await.is_ok());
    assert_eq!(create().await, 201);
}

#[tokio::test]
async fn a_connection_is_asked_about_with_its_options() {
    let api = Api::new().await;
    let pod = json!({"metadata": {"name": "p"},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "nginx"}]}});
    api.made("/api/v1/namespaces/default/pods", pod).await;
    let harmless = json!({"validations": [{"message": "no rm",
        "expression": "object.kind == 'PodExecOptions' && object.stdin && !('rm' in object.command)"}]});
    let matched = rule("", json!(["pods/exec"]), json!(["CONNECT"]));
    api.bound(policy(matched, harmless), binding(json!(["Deny"]))).await;
    let exec = async |pod: &str, command: &str| {
        let options = format!("stdin=true&command={command}&command=x");
        let path = format!("/api/v1/namespaces/default/pods/{pod}/exec?{options}");
        let request = ::http::Request::post(path).header("connection", "upgrade");
        let admin = User::new("admin", &[crate::auth::user::MASTERS]);
        api.send(admin, request.body(full("")).unwrap()).await
    };
    let (code, refused) = exec("p", "rm").await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(code == 422 && message.ends_with("denied request: no rm"), "{refused}");
    assert_eq!(exec("missing", "rm").await.0, 422, "it is judged before the pod is looked for");
    assert_eq!(exec("missing", "ls").await.0, 404);
    let (code, failed) = exec("p", "ls").await;
    let message = failed["message"].as_str().unwrap_or_default();
    assert!(code != 422 && !message.contains("denied request"), "it goes on to the node: {failed}");
}

/// Each request asks those that match; the others cost a comparison.
#[tokio::test]
async fn hundreds_of_policies_are_compiled_once() {
    let api = Api::bare().await;
    let state = api.state();
    for n in 0..300 {
        let mut policy = few();
        policy["metadata"]["name"] = json!(format!("p-{n}"));
        let mut bound = binding(json!(["Deny"]));
        bound["metadata"]["name"] = json!(format!("b-{n}"));
        bound["spec"]["policyName"] = json!(format!("p-{n}"));
        api.made(&format!("{ROOT}/{POLICIES}"), policy).await;
        api.made(&format!("{ROOT}/{BINDINGS}"), bound).await;
    }
    assert!(state.fresh().await.is_ok());
    assert_eq!(api.post(MAPS, map("a", json!({"x": "1", "y": "2"}))).await.0, 422);
    let policy = state.cache.get(POLICIES, "p-7").unwrap();
    let (one, two) = (state.policies.policy(state, &policy), state.policies.policy(state, &policy));
    assert!(Arc::ptr_eq(&one, &two));
    let begun = clock::Instant::now();
    for n in 0..20 {
        assert_eq!(api.post(MAPS, map(&format!("ok-{n}"), json!({"x": "1"}))).await.0, 201);
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
}
