use super::*;
use base64::Engine as _;

#[test]
fn rounds_have_rate_median_and_tail() {
    let mut rounds = Rounds::default();
    let times = (1..=200).rev().map(Duration::from_millis).collect();
    rounds.add((times, Duration::from_secs(4)));
    assert_eq!((rounds.rate[0], rounds.p50[0], rounds.p99[0]), (50.0, 100.0, 198.0));
    rounds.add((vec![], Duration::from_secs(1)));
    assert!(rounds.p99[1].is_nan(), "a figure leaves out what was not measured");
}

#[test]
fn figures_stand_whatever_could_not_be_removed() {
    assert_eq!(with_removal(Ok(7), Err(anyhow!("left"))).unwrap(), 7);
    let error = |removed| with_removal::<()>(Err(anyhow!("why")), removed).unwrap_err().to_string();
    assert_eq!(error(Ok(())), "why");
    let both = error(Err(anyhow!("left")));
    assert!(both.contains("why") && both.contains("left"), "{both}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_not_there_or_never_answers_is_named_in_the_error() {
    let absent = Server::of(Path::new("/nowhere/kubeconfig"), 1).err().unwrap();
    let reason = format!("{absent:#}");
    assert!(reason.starts_with("/nowhere/kubeconfig: No such file"), "{reason}");
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::anybody("http", &silent.local_addr().unwrap().to_string());
    let admin = Upstream::over(target.clone(), &Env::default()).unwrap();
    let server = Server { admin, target: Arc::new(target), namespace: "n".into() };
    let removed = clock::limit(Duration::from_secs(180), server.remove("/api")).await.expect("an end");
    let reason = removed.unwrap_err().to_string();
    assert!(reason.ends_with("did not answer /api within 75 s"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preparation_that_fails_leaves_no_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let fixture = apiserver::testing::start(dir.path()).await;
    let admin = Upstream::of(&dir.path().join("kubeconfig")).unwrap();
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    // A user who may create and delete namespaces, and create nothing in them.
    let removes = ["list", "delete", "deletecollection"];
    let role = json!({"metadata": {"name": "jane"}, "rules": [
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["create", "delete"]},
        {"apiGroups": [""], "resources": ["namespaces/finalize"], "verbs": ["update"]},
        {"apiGroups": [""], "resources": ["configmaps", "serviceaccounts"], "verbs": removes},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"],
            "verbs": removes}]});
    let binding = json!({"metadata": {"name": "jane"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "jane"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}]});
    for (kind, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let path = format!("{rbac}/{kind}");
        let (code, answer) = admin.ask(Method::POST, &path, Some(&object)).await.unwrap();
        assert_eq!(code, 201, "{answer}");
    }
    let jane = fixture.ca.issue(&pki::Subject::client("jane", "")).unwrap();
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let mut config: Value = serde_yaml::from_str(&fixture.kubeconfig).unwrap();
    config["users"][0]["user"] =
        json!({"client-certificate-data": encode(&jane.cert_pem), "client-key-data": encode(&jane.key_pem)});
    let file = dir.path().join("jane");
    std::fs::write(&file, config.to_string()).unwrap();
    // Her rights are known a moment after they were given.
    let mut refused = String::new();
    for _ in 0..200 {
        refused = format!("{:#}", Server::of(&file, 9).unwrap().prepare().await.err().unwrap());
        if refused.contains("/serviceaccounts") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(refused.contains("/serviceaccounts: 403"), "{refused}");
    let path = "/api/v1/namespaces/ropewalk-bench-9";
    let (code, left) = admin.ask(Method::GET, path, None).await.unwrap();
    assert_eq!(code, 404, "{left}");
}

/// The namespace controller does the rest there.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_has_more_in_it_keeps_its_finalizer() {
    let dir = tempfile::tempdir().unwrap();
    let _fixture = apiserver::testing::start(dir.path()).await;
    let server = Server::of(&dir.path().join("kubeconfig"), 8).unwrap().prepare().await.unwrap();
    let account = server.core("serviceaccounts");
    server.create(&account, json!({"metadata": {"name": "default"}})).await.unwrap();
    server.clean_up().await.unwrap();
    let (_, going) =
        server.admin.ask(Method::GET, "/api/v1/namespaces/ropewalk-bench-8", None).await.unwrap();
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    let (_, left) = server.admin.ask(Method::GET, &account, None).await.unwrap();
    let names: Vec<_> =
        left["items"].as_array().unwrap().iter().map(|one| &one["metadata"]["name"]).collect();
    assert_eq!(names, ["default"], "what the bench has made is gone");
}

/// As that of a client that was interrupted.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_created_behind_the_removal_goes_with_the_namespace() {
    let dir = tempfile::tempdir().unwrap();
    let _fixture = apiserver::testing::start(dir.path()).await;
    let server = Server::of(&dir.path().join("kubeconfig"), 5).unwrap().prepare().await.unwrap();
    server.remove_objects().await.unwrap();
    server.create(&server.core("configmaps"), config_map("late")).await.unwrap();
    server.remove_namespace(Ok(())).await.unwrap();
    let path = "/api/v1/namespaces/ropewalk-bench-5";
    let (code, left) = server.admin.ask(Method::GET, path, None).await.unwrap();
    assert_eq!(code, 404, "{left}");
}

/// The namespace controller has written its conditions, say.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_changed_while_it_goes_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let _fixture = apiserver::testing::start(dir.path()).await;
    let server = Server::of(&dir.path().join("kubeconfig"), 6).unwrap().prepare().await.unwrap();
    server.remove_objects().await.unwrap();
    let path = "/api/v1/namespaces/ropewalk-bench-6";
    let going = server.remove(path).await.unwrap();
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    let mut changed = going.clone();
    changed["metadata"]["labels"]["changed"] = json!("yes");
    let (code, answer) = server.admin.ask(Method::PUT, path, Some(&changed)).await.unwrap();
    assert_eq!(code, 200, "{answer}");
    server.finalize(going).await.unwrap();
    let (_, stays) = server.admin.ask(Method::GET, path, None).await.unwrap();
    assert_eq!(stays["spec"]["finalizers"], json!(["kubernetes"]), "the controller does the rest");
}

/// Against two servers of ours: what is measured is right, although none is a peer.
#[tokio::test(flavor = "multi_thread")]
async fn gets_and_creates_are_measured_on_both_sides() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut servers = vec![];
    for dir in &dirs {
        let fixture = apiserver::testing::start(dir.path()).await;
        let server = Server::of(&dir.path().join("kubeconfig"), 7).unwrap().prepare().await.unwrap();
        servers.push((fixture, server));
    }
    // No token of the preparation is valid any more, as after an hour.
    let account = servers[0].1.core("serviceaccounts");
    servers[0].1.remove(&format!("{account}/{NAME}")).await.unwrap();
    servers[0].1.create(&account, json!({"metadata": {"name": NAME}})).await.unwrap();
    let part = Part::new(dirs[0].path(), Some(1), None, &super::super::Stop::default());
    let figures = figures(&part, &servers[0].1, Some(&servers[1].1)).await.unwrap();
    assert_eq!(figures.len(), 12);
    for figure in &figures {
        let document = figure.json();
        assert!(document["p50"].as_f64().unwrap() > 0.0 && document["ratio"].as_f64().unwrap() > 0.0);
        assert_eq!(document["peer"]["name"], "kube-apiserver");
        let version = document["peer"]["version"].as_str().unwrap_or_default();
        assert!(version.starts_with("1."), "{document}");
    }
    for (_, server) in &servers {
        let (_, left) = server.admin.ask(Method::GET, &server.core("configmaps"), None).await.unwrap();
        assert_eq!(left["items"], json!([]), "a round leaves nothing that fills the store");
    }
    for n in 0..PAGE {
        let path = servers[1].1.core("configmaps");
        servers[1].1.create(&path, json!({"metadata": {"name": format!("more-{n}")}})).await.unwrap();
    }
    let peer = &servers[1].1;
    peer.clean_up().await.unwrap();
    for list in
        [peer.core("configmaps"), peer.core("serviceaccounts"), peer.rbac("roles"), peer.rbac("rolebindings")]
    {
        let (_, left) = peer.admin.ask(Method::GET, &list, None).await.unwrap();
        assert_eq!(left["items"], json!([]), "{list}: all of it is gone, also more than one page");
    }
    let (code, left) =
        peer.admin.ask(Method::GET, "/api/v1/namespaces/ropewalk-bench-7", None).await.unwrap();
    assert_eq!(code, 404, "no controller manager runs here: {left}");
}
