//! What users, impersonated users and reviewers may do.

use super::*;

/// An administrator who impersonates a user must lose the administrator's rights: a name that the
/// server cannot read is refused, not taken for absent.
#[tokio::test]
async fn whoever_is_named_in_any_script_is_the_one_who_asks() {
    let api = Api::new().await;
    let ask = |header: &str, value: &[u8]| {
        let named = ::http::HeaderValue::from_bytes(value).unwrap();
        Request::get("/api/v1/secrets").header(header, named).body(full("")).unwrap()
    };
    let (code, refused) = api.send(admin(), ask("impersonate-user", "김철수".as_bytes())).await;
    assert_eq!(code, 403, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("김철수"), "{refused}");
    for header in ["impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-a"] {
        let (code, refused) = api.send(admin(), ask(header, b"\xff\xfe")).await;
        assert_eq!((code, &refused["reason"]), (400, &json!("BadRequest")), "{header}: {refused}");
    }
}

#[tokio::test]
async fn only_those_who_may_do() {
    let api = Api::new().await;
    let bob = User::new("bob", &[]);
    let ask =
        |method: &str, path: &str, body: Value| request(method, path, "application/json", body.to_string());
    assert_eq!(api.send(bob.clone(), ask("GET", "/api/v1/pods", json!({}))).await.0, 403);
    assert_eq!(api.send(User::anonymous(), ask("GET", "/healthz", json!({}))).await, (200, "ok".into()));
    assert_eq!(api.send(User::anonymous(), ask("GET", "/apis", json!({}))).await.0, 403);
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "User", "name": "bob"}]});
    assert_eq!(
        api.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding).await.0,
        201
    );
    assert_eq!(api.send(bob.clone(), ask("GET", "/api/v1/namespaces/default/pods", json!({}))).await.0, 200);
    assert_eq!(
        api.send(bob.clone(), ask("GET", "/api/v1/namespaces/default/secrets", json!({}))).await.0,
        403
    );
    assert_eq!(api.send(bob.clone(), ask("POST", CM, cm("a", "1"))).await.0, 403);
    // The right to get pods/exec does not run a command with POST.
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    let look = json!({"metadata": {"name": "look"}, "rules": [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]}]});
    assert_eq!(api.post(roles, look).await.0, 201);
    let binding = json!({"metadata": {"name": "look"}, "roleRef": {"kind": "Role", "name": "look"}, "subjects": [{"kind": "User", "name": "bob"}]});
    assert_eq!(
        api.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding).await.0,
        201
    );
    let exec = ask("GET", "/api/v1/namespaces/default/pods/p/exec?command=sh", json!({}));
    let (code, status) = api.send(bob.clone(), exec).await;
    let message = status["message"].as_str().unwrap();
    assert!(code == 403 && message.contains("cannot create resource \"pods/exec\""), "{message}");
    // A user cannot grant rights that it does not have (escalation).
    let all = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    let admin_role = json!({"metadata": {"name": "adm"}, "roleRef": {"kind": "ClusterRole", "name": "admin"}, "subjects": [{"kind": "User", "name": "carol"}]});
    assert_eq!(api.post(all, admin_role).await.0, 201);
    let carol = User::new("carol", &[]);
    let bind = |name: &str, role: &str| {
        ask(
            "POST",
            all,
            json!({"metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": []}),
        )
    };
    assert_eq!(api.send(carol.clone(), bind("v", "view")).await.0, 201);
    let (code, status) = api.send(carol, bind("c", "cluster-admin")).await;
    assert_eq!(code, 403);
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"*\"]"),
        "{status}"
    );
    // a token of a service account is that account, until it is deleted
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let (_, made) = api.post(token, json!({"spec": {"expirationSeconds": 600}})).await;
    let review = json!({"spec": {"token": made["status"]["token"]}});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (code, answer) = api.post(reviews, review.clone()).await;
    assert_eq!(
        (code, answer["status"]["user"]["username"].as_str()),
        (201, Some("system:serviceaccount:default:default"))
    );
    api.delete("/api/v1/namespaces/default/serviceaccounts/default", json!({})).await;
    let gone = json!({"user": {}, "error": "serviceaccounts \"default\" not found"});
    assert_eq!(api.post(reviews, review).await.1["status"], gone);
    let (code, status) = api.post(token, json!({"spec": {"expirationSeconds": 60}})).await;
    assert_eq!(code, 404, "{status}");
}

#[tokio::test]
async fn a_review_of_a_token_for_others_names_both_audiences() {
    let api = Api::new().await;
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let (_, made) = api.post(token, json!({"spec": {"expirationSeconds": 600}})).await;
    let review = json!({"spec": {"token": made["status"]["token"], "audiences": ["a", "b"]}});
    let told = api.post("/apis/authentication.k8s.io/v1/tokenreviews", review).await.1;
    let why = r#"token audiences ["https://kubernetes.default.svc.cluster.local"] is invalid for the target audiences ["a" "b"]"#;
    assert_eq!(told["status"]["error"], why, "{told}");
}

#[tokio::test]
async fn a_review_names_what_allows_and_a_refusal_the_role_that_is_missing() {
    let api = Api::new().await;
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let bind = |name: &str, role: &str| {
        json!({"metadata": {"name": name}, "roleRef": {"kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": "bob"}]})
    };
    let attributes = json!({"verb": "list", "resource": "pods", "namespace": "default"});
    let review = json!({"spec": {"user": "bob", "resourceAttributes": attributes}});
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    api.made(&bindings, bind("lost", "none")).await;
    let get = request("GET", "/api/v1/namespaces/default/pods", "", "");
    let (code, refused) = api.send(User::new("bob", &[]), get).await;
    let why = "RBAC: clusterrole.rbac.authorization.k8s.io \"none\" not found";
    assert_eq!(code, 403, "{refused}");
    assert!(refused["message"].as_str().unwrap().ends_with(&format!("\"default\": {why}")), "{refused}");
    let status = api.post(reviews, review.clone()).await.1["status"].clone();
    assert_eq!(status, json!({"allowed": false, "reason": why}));
    api.made(&bindings, bind("b", "view")).await;
    let status = api.post(reviews, review).await.1["status"].clone();
    let why = "RBAC: allowed by RoleBinding \"b/default\" of ClusterRole \"view\" to User \"bob\"";
    assert_eq!(status, json!({"allowed": true, "reason": why}));
    let own = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review = json!({"spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}});
    assert_eq!(api.post(own, review).await.1["status"], json!({"allowed": true}), "as a master");
}

/// The user `dev`, who may write ClusterRoles and nothing else, and the role `own`, which says so.
async fn role_writer(api: &Api) -> (User, Value) {
    let dev = User::new("dev", &[]);
    let verbs = ["create", "get", "list", "update", "patch"];
    let rules = json!([rule("rbac.authorization.k8s.io", &["clusterroles"], &verbs)]);
    grant(api, "dev", "", rules.clone()).await;
    let own = json!({"metadata": {"name": "own"}, "rules": rules});
    let post = request("POST", &format!("{RBAC}/clusterroles"), "application/json", own.to_string());
    assert_eq!(api.send(dev.clone(), post).await.0, 201, "what he has he may give");
    (dev, own)
}

/// A role that is bound and does not exist may be why the rights are missing.
#[tokio::test]
async fn a_refused_grant_names_the_bound_roles_that_do_not_exist() {
    let api = Api::new().await;
    let (dev, mut more) = role_writer(&api).await;
    let lost = json!({"metadata": {"name": "lost"}, "roleRef": {"kind": "ClusterRole", "name": "none"},
        "subjects": [{"kind": "User", "name": "dev"}]});
    api.made(&format!("{RBAC}/clusterrolebindings"), lost).await;
    more["metadata"]["name"] = "more".into();
    more["rules"] = json!([rule("", &["secrets"], &["get"])]);
    let post = request("POST", &format!("{RBAC}/clusterroles"), "application/json", more.to_string());
    let (code, refused) = api.send(dev, post).await;
    let why = "; resolution errors: [clusterrole.rbac.authorization.k8s.io \"none\" not found]";
    assert_eq!(code, 403, "{refused}");
    assert!(refused["message"].as_str().is_some_and(|told| told.ends_with(why)), "{refused}");
}

#[tokio::test]
async fn an_aggregation_rule_needs_every_right_of_its_writer() {
    let api = Api::new().await;
    let (dev, plain) = role_writer(&api).await;
    let roles = format!("{RBAC}/clusterroles");
    let send = |method: &str, path: String, media: &str, body: Value| {
        api.send(dev.clone(), request(method, &path, media, body.to_string()))
    };
    const JSON: &str = "application/json";
    const MERGE: &str = "application/merge-patch+json";
    const APPLY: &str = "application/apply-patch+yaml";
    let everything =
        json!({"clusterRoleSelectors": [{"matchLabels": {"kubernetes.io/bootstrapping": "rbac-defaults"}}]});
    let refused = |(code, status): (u16, Value)| {
        let message = status["message"].as_str().unwrap_or_default().to_string();
        assert_eq!(code, 403, "{status}");
        assert!(
            message.ends_with("must have cluster-admin privileges to use the aggregationRule"),
            "{message}"
        );
    };
    let own = format!("{roles}/own");
    refused(send("PATCH", own.clone(), MERGE, json!({"aggregationRule": everything})).await);
    let mut with = plain;
    with["aggregationRule"] = everything.clone();
    refused(send("PUT", own.clone(), JSON, with.clone()).await);
    let mut applied = with.clone();
    applied["apiVersion"] = "rbac.authorization.k8s.io/v1".into();
    applied["kind"] = "ClusterRole".into();
    refused(send("PATCH", format!("{own}?fieldManager=m&force=true"), APPLY, applied.clone()).await);
    with["metadata"]["name"] = "new".into();
    refused(send("POST", roles.clone(), JSON, with.clone()).await);
    refused(send("PUT", format!("{roles}/new"), JSON, with).await);
    applied["metadata"]["name"] = "new".into();
    refused(send("PATCH", format!("{roles}/new?fieldManager=m"), APPLY, applied).await);
    // Nor does he change one that an administrator has set.
    let set = json!({"metadata": {"name": "set"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}});
    assert_eq!(api.post(&roles, set).await.0, 201);
    refused(send("PATCH", format!("{roles}/set"), MERGE, json!({"aggregationRule": null})).await);
    // A user who may escalate may, and one who has every right.
    grant(&api, "dev", "", json!([rule("rbac.authorization.k8s.io", &["clusterroles"], &["escalate"])]))
        .await;
    assert_eq!(send("PATCH", own, MERGE, json!({"aggregationRule": everything})).await.0, 200);
    let root = User::new("root", &[]);
    let all = json!([rule("*", &["*"], &["*"]), {"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    grant(&api, "root", "", all).await;
    let patch = json!({"aggregationRule": everything}).to_string();
    let (code, status) = api.send(root, request("PATCH", &format!("{roles}/set"), MERGE, patch)).await;
    assert_eq!(code, 200, "{status}");
}

/// One by its name, as upstream's `NodeRules` say.
#[tokio::test]
async fn a_kubelet_gets_endpoints_and_lists_none() {
    let api = Api::new().await;
    let endpoints = "/api/v1/namespaces/default/endpoints";
    for (path, wanted) in [(format!("{endpoints}/none"), 404), (endpoints.to_string(), 403)] {
        let kubelet = User::new("system:node:n1", &["system:nodes"]);
        let (code, answer) = api.send(kubelet, request("GET", &path, "", "")).await;
        assert_eq!(code, wanted, "{path}: {answer}");
    }
}

/// A label puts a role's rules into an aggregated role: setting it gives the rules away.
#[tokio::test]
async fn a_label_gives_no_more_than_its_writer_has() {
    let api = Api::new().await;
    let (dev, _) = role_writer(&api).await;
    let patch = |name: &str, body: Value| {
        let path = format!("{RBAC}/clusterroles/{name}");
        api.send(dev.clone(), request("PATCH", &path, "application/merge-patch+json", body.to_string()))
    };
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let (code, status) = patch("cluster-admin", label.clone()).await;
    assert_eq!(code, 403, "{status}");
    let why = status["message"].as_str().unwrap();
    assert!(why.contains("attempting to grant RBAC permissions not currently held"), "{why}");
    assert_eq!(patch("own", label).await.0, 200);
    // What the garbage collector changes is free.
    let (code, status) = patch("cluster-admin", json!({"metadata": {"finalizers": ["a.b/c"]}})).await;
    assert_eq!(code, 200, "{status}");
}

#[tokio::test]
async fn who_may_update_and_not_create_creates_nothing() {
    let api = Api::new().await;
    let eve = User::new("eve", &[]);
    let groups = json!([
        rule("", &["configmaps"], &["update", "patch"]),
        rule("coordination.k8s.io", &["leases"], &["update", "patch"])
    ]);
    grant(&api, "eve", "default", groups).await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {}});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "b"}});
    let put = |body: &Value| request("PUT", &format!("{leases}/l"), "application/json", body.to_string());
    let apply = |body: &Value| {
        request("PATCH", &format!("{CM}/m?fieldManager=e"), "application/apply-patch+yaml", body.to_string())
    };
    for (asked, what) in [(put(&lease), "leases"), (apply(&map), "configmaps")] {
        let (code, status) = api.send(eve.clone(), asked).await;
        let message = status["message"].as_str().unwrap_or_default();
        assert!(code == 403 && message.contains(&format!("cannot create resource \"{what}\"")), "{status}");
    }
    let groups = json!([
        rule("", &["configmaps"], &["create"]),
        rule("coordination.k8s.io", &["leases"], &["create"])
    ]);
    grant(&api, "eve", "default", groups).await;
    assert_eq!(api.send(eve.clone(), put(&lease)).await.0, 201);
    assert_eq!(api.send(eve.clone(), apply(&map)).await.0, 201);
}

/// CVE-2019-11247 and its kin: the namespace of a path is where rights are looked up, so nothing
/// outside of it may be reached by that path.
#[tokio::test]
async fn rights_in_a_namespace_reach_no_object_outside_of_it() {
    let api = Api::new().await;
    let owner = User::new("owner", &[]);
    grant(&api, "owner", "default", json!([rule("*", &["*"], &["*"])])).await;
    assert_eq!(api.post("/api/v1/namespaces", json!({"metadata": {"name": "other"}})).await.0, 201);
    let ask =
        |method: &str, path: &str| api.send(owner.clone(), request(method, path, "application/json", "{}"));
    assert_eq!(ask("GET", "/api/v1/namespaces/default").await.0, 200, "his own namespace");
    let within = "/api/v1/namespaces/default";
    for (method, path) in [
        ("GET", format!("{within}/namespaces/other")),
        ("GET", format!("{within}/namespaces")),
        ("GET", "/api/v1/watch/namespaces/default/namespaces".into()),
        ("DELETE", format!("{within}/namespaces/other")),
        ("PUT", format!("{within}/namespaces/other/finalize")),
        ("GET", format!("{within}/nodes")),
        ("GET", format!("{RBAC}/namespaces/default/clusterroles/cluster-admin")),
        ("GET", format!("{RBAC}/namespaces/default/clusterroles")),
    ] {
        let (code, body) = ask(method, &path).await;
        assert_eq!(code, 404, "{method} {path}: {body}");
    }
    assert_eq!(api.get("/api/v1/namespaces/other").await.0, 200);
    for path in
        ["/api/v1/namespaces/other", "/api/v1/namespaces", "/api/v1/namespaces/other/pods", "/api/v1/pods"]
    {
        assert_eq!(ask("GET", path).await.0, 403, "{path}");
    }
}

#[tokio::test]
async fn a_star_among_the_subjects_is_nobody() {
    let api = Api::new().await;
    for kind in ["User", "Group"] {
        let binding = json!({"metadata": {"name": kind.to_lowercase()}, "roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": kind, "name": "*"}]});
        assert_eq!(api.post(&format!("{RBAC}/clusterrolebindings"), binding).await.0, 201);
    }
    for user in [User::anonymous(), User::new("bob", &[])] {
        let (code, body) = api.send(user, request("GET", "/api/v1/pods", "", "")).await;
        assert_eq!(code, 403, "{body}");
    }
}

#[tokio::test]
async fn a_review_is_not_answered_as_a_table() {
    let api = Api::new().await;
    let ask = |accept: &'static str| {
        let body = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let mut asked = request("POST", path, "application/json", body.to_string());
        asked.headers_mut().insert("accept", ::http::HeaderValue::from_static(accept));
        api.send(admin(), asked)
    };
    let (code, status) = ask("application/json;as=Table;v=v1;g=meta.k8s.io").await;
    assert_eq!((code, &status["reason"]), (406, &json!("NotAcceptable")), "{status}");
    let (code, review) = ask("application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await;
    assert_eq!((code, &review["status"]["allowed"]), (201, &json!(true)), "{review}");
}

/// A kubelet may list the pods of its node, and a review says so.
#[tokio::test]
async fn a_review_looks_at_the_field_selector() {
    let api = Api::new().await;
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let ask = |selector: Value| {
        let resource = json!({"verb": "list", "resource": "pods", "fieldSelector": selector});
        let spec =
            json!({"user": "system:node:n1", "groups": ["system:nodes"], "resourceAttributes": resource});
        api.post(path, json!({"spec": spec}))
    };
    for (node, allowed) in [("n1", true), ("n2", false)] {
        let term = json!({"key": "spec.nodeName", "operator": "In", "values": [node]});
        let (code, review) = ask(json!({"requirements": [term]})).await;
        assert_eq!((code, &review["status"]["allowed"]), (201, &json!(allowed)), "{review}");
        let (_, review) = ask(json!({"rawSelector": format!("spec.nodeName={node}")})).await;
        assert_eq!(review["status"]["allowed"], allowed, "{review}");
    }
    let (code, status) = ask(json!({})).await;
    assert_eq!(
        (code, status["message"].as_str()),
        (
            422,
            Some(
                "SubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes.fieldSelector.requirements: Required value: when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required"
            )
        )
    );
    let (code, status) = api.post(path, json!({"metadata": {"name": "x"}, "spec": {}})).await;
    let message = status["message"].as_str().unwrap_or_default();
    for part in
        ["exactly one of", "at least one of user or group", "metadata: Invalid value", "must be empty"]
    {
        assert!(code == 422 && message.contains(part), "{part}: {status}");
    }
    let local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
    let spec = |namespace: &str| json!({"user": "u", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": namespace}});
    assert_eq!(api.post(local, json!({"spec": spec("other")})).await.0, 422);
    assert_eq!(
        api.post(local, json!({"metadata": {"namespace": "other"}, "spec": spec("default")})).await.0,
        400
    );
    assert_eq!(api.post(local, json!({"spec": spec("default")})).await.0, 201);
    let path = json!({"user": "u", "nonResourceAttributes": {"verb": "get", "path": "/"}});
    assert_eq!(api.post(local, json!({"spec": path})).await.0, 422);
}
