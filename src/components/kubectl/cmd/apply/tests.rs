use super::*;
use crate::testing::{Server, at, config_map, refusal};

/// A file of one ConfigMap with this data.
fn file(dir: &tempfile::TempDir, data: Value) -> String {
    let mut object = config_map("a", json!({}));
    object["data"] = data;
    let path = dir.path().join("a.yaml");
    std::fs::write(&path, object.to_string()).unwrap();
    path.display().to_string()
}

fn immutable(request: &crate::testing::ReceivedRequest) -> Option<(u16, Value)> {
    (request.method == "PATCH").then(|| refusal(422, "Invalid", "field is immutable"))
}

#[tokio::test]
async fn force_creates_an_object_anew_that_cannot_be_patched() {
    let (server, dir) = (Server::start_with(immutable).await, tempfile::tempdir().unwrap());
    server.hold(&at("a"), config_map("a", json!({})));
    let path = file(&dir, json!({"k": "new"}));
    let result = server.kubectl(&["apply", "-f", &path]).await;
    assert!(result.code == 1 && result.err.contains("is invalid"), "{result:?}");
    let result = server.kubectl(&["apply", "--force", "-f", &path]).await;
    assert_eq!((result.code, result.out.as_str()), (0, "configmap/a configured\n"), "{result:?}");
    assert_eq!(server.object(&at("a")).unwrap()["data"]["k"], "new");
}

#[tokio::test]
async fn an_object_without_a_name_of_its_own_is_refused() {
    let server = Server::start().await;
    let text = "{apiVersion: v1, kind: ConfigMap, metadata: {generateName: a-}}";
    for line in [&["apply", "-f", "-"][..], &["apply", "-f", "-", "--server-side"]] {
        let result = server.kubectl_in(line, text, crate::Env::default()).await;
        let why = "error: from a-: cannot use generate name with apply\n";
        assert_eq!((result.code, result.err.as_str()), (1, why), "{line:?}");
    }
}

#[tokio::test]
async fn force_puts_the_old_object_back_when_the_new_one_is_refused() {
    let server = Server::start_with(|request| {
        let new = request.method == "POST" && request.body["data"]["k"] == "new";
        if new { Some(refusal(403, "Forbidden", "not this")) } else { immutable(request) }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let mut old = config_map("a", json!({}));
    old["data"] = json!({"k": "old"});
    server.hold(&at("a"), old);
    let result = server.kubectl(&["apply", "--force", "-f", &file(&dir, json!({"k": "new"}))]).await;
    assert!(result.code == 1 && result.err.contains("not this"), "{result:?}");
    assert_eq!(server.object(&at("a")).expect("it is back")["data"]["k"], "old");
}

#[tokio::test]
async fn without_overwrite_a_value_of_another_client_is_a_conflict() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let result = server.kubectl(&["apply", "-f", &file(&dir, json!({"k": "1"}))]).await;
    assert_eq!(result.code, 0, "{result:?}");
    let mut live = server.object(&at("a")).unwrap();
    live["data"]["k"] = "theirs".into();
    server.hold(&at("a"), live);
    let path = file(&dir, json!({"k": "2"}));
    let result = server.kubectl(&["apply", "--overwrite=false", "-f", &path]).await;
    assert!(
        result.code == 1 && result.err.contains("conflicts with changes made from original to current"),
        "{result:?}"
    );
    assert_eq!(server.object(&at("a")).unwrap()["data"]["k"], "theirs");
    let result = server.kubectl(&["apply", "-f", &path]).await;
    assert_eq!(
        (result.code, server.object(&at("a")).unwrap()["data"]["k"].as_str()),
        (0, Some("2")),
        "{result:?}"
    );
}

#[tokio::test]
async fn an_annotation_that_cannot_be_read_is_reported() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let mut live = config_map("a", json!({}));
    live["metadata"]["annotations"] = json!({LAST_APPLIED: "{broken"});
    server.hold(&at("a"), live);
    for verb in ["apply", "diff"] {
        let result = server.kubectl(&[verb, "-f", &file(&dir, json!({"k": "1"}))]).await;
        assert!(result.code > 0 && result.err.contains("cannot be read"), "{result:?}");
    }
    assert!(server.object(&at("a")).unwrap()["data"].is_null());
}

#[tokio::test]
async fn a_subresource_is_applied_on_the_server_only_and_where_it_is() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let status = format!("{}/status", at("a"));
    for path in [at("a"), status.clone()] {
        server.hold(&path, config_map("a", json!({})));
    }
    let path = file(&dir, json!({"k": "1"}));
    let result = server.kubectl(&["apply", "--subresource=status", "-f", &path]).await;
    assert!(result.code == 1 && result.err.contains("--server-side"), "{result:?}");
    let result = server.kubectl(&["apply", "--server-side", "--subresource=status", "-f", &path]).await;
    assert_eq!(result.code, 0, "{result:?}");
    assert!(server.object(&at("a")).unwrap()["data"].is_null());
    assert_eq!(server.object(&status).unwrap()["data"]["k"], "1");
    let result =
        server.kubectl(&["replace", "--subresource=status", "-f", &file(&dir, json!({"k": "2"}))]).await;
    assert_eq!(result.code, 0, "{result:?}");
    assert_eq!(server.object(&status).unwrap()["data"]["k"], "2");
    let result = server.kubectl(&["diff", "--server-side", "--field-manager=me", "-f", &path]).await;
    let requests = server.requests();
    assert!(requests.last().is_some_and(|a| a.query.contains("fieldManager=me")), "{result:?}");
}

/// The server refuses an empty name, so that an unset variable becomes no other manager.
#[tokio::test]
async fn a_server_side_apply_sends_the_manager_that_is_named() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    server.hold(&at("a"), config_map("a", json!({})));
    let path = file(&dir, json!({"k": "1"}));
    for (flag, query) in [
        (None, "fieldManager=kubectl&"),
        (Some("--field-manager="), "fieldManager=&"),
        (Some("--field-manager=kubectl-client-side-apply"), "fieldManager=kubectl-client-side-apply&"),
    ] {
        for verb in ["apply", "diff"] {
            let line: Vec<&str> = [verb, "--server-side", "-f", &path].into_iter().chain(flag).collect();
            let result = server.kubectl(&line).await;
            let sent = server.requests().into_iter().rfind(|a| a.method == "PATCH").unwrap();
            assert!(sent.query.contains(query), "{line:?}: {result:?} {sent:?}");
        }
    }
}

#[tokio::test]
async fn a_server_side_apply_takes_over_the_fields_of_client_side_apply() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let mut live = config_map("a", json!({}));
    live["metadata"]["managedFields"] = json!([{"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1",
        "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{LAST_APPLIED}"): {}}}, "f:data": {"f:old": {}}}}]);
    server.hold(&at("a"), live);
    let result = server.kubectl(&["apply", "--server-side", "-f", &file(&dir, json!({"k": "1"}))]).await;
    assert_eq!(result.code, 0, "{result:?}");
    let sent: Vec<_> = server.requests().into_iter().filter(|a| a.method == "PATCH").collect();
    assert_eq!(sent.len(), 3, "applied, moved, applied again: {sent:?}");
    let moved = &sent[1].body[0];
    assert_eq!(
        (moved["path"].as_str(), moved["value"][0]["operation"].as_str()),
        (Some("/metadata/managedFields"), Some("Apply"))
    );
    assert!(sent.iter().all(|a| a.query.contains("fieldManager=kubectl&fieldValidation=Strict")), "{sent:?}");
}

#[tokio::test]
async fn a_new_object_has_no_null_fields() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let path = file(&dir, json!({"k": "v", "none": null}));
    let result = server.kubectl(&["apply", "-f", &path]).await;
    assert_eq!((result.code, result.out.as_str()), (0, "configmap/a created\n"), "{result:?}");
    let made = server.object(&at("a")).unwrap();
    assert_eq!(made["data"], json!({"k": "v"}));
    let last = made["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap();
    assert!(last.contains(r#""none":null"#), "{last}");
}

#[tokio::test]
async fn an_apply_to_an_object_that_is_being_deleted_warns() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let mut live = config_map("a", json!({}));
    live["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z".into();
    server.hold(&at("a"), live);
    let path = file(&dir, json!({"k": "1"}));
    for way in ["--server-side", "--server-side=false"] {
        let result = server.kubectl(&["apply", way, "-f", &path]).await;
        let warning = "Warning: Detected changes to resource a which is currently being deleted.\n";
        assert!(result.code == 0 && result.err.contains(warning), "{way}: {result:?}");
    }
}

#[tokio::test]
async fn pruning_is_refused_where_it_cannot_know_what_to_keep() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let path = file(&dir, json!({"k": "1"}));
    for (way, why) in [
        ("--force", "error: --force cannot be used with --prune\n"),
        (
            "--server-side",
            "error: --prune is in alpha and doesn't currently work on objects created by server-side apply\n",
        ),
    ] {
        let result = server.kubectl(&["apply", "--prune", "--all", way, "-f", &path]).await;
        assert_eq!((result.code, result.err.as_str()), (1, why), "{result:?}");
    }
    assert!(server.requests().is_empty(), "nothing was applied");
}

#[tokio::test]
async fn a_namespace_that_the_user_names_is_pruned_even_if_no_file_has_an_object_in_it() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    let mut old = config_map("a", json!({}));
    old["metadata"]["annotations"] = json!({LAST_APPLIED: "{}"});
    server.hold(&at("a"), old);
    let path = dir.path().join("n.yaml");
    std::fs::write(&path, "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}").unwrap();
    let path = path.display().to_string();
    let result = server.kubectl(&["apply", "--prune", "--all", "-f", &path, "-n", "default"]).await;
    assert_eq!(result.out, "namespace/shop created\nconfigmap/a pruned\n", "{result:?}");
    assert!(server.object(&at("a")).is_none());
}

#[tokio::test]
async fn what_was_pruned_before_a_refusal_is_printed() {
    let server = Server::start_with(|request| {
        let refused = request.method == "DELETE" && request.path == at("y");
        refused.then(|| refusal(403, "Forbidden", "you may not"))
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    for name in ["x", "y"] {
        let mut old = config_map(name, json!({}));
        old["metadata"]["annotations"] = json!({LAST_APPLIED: "{}"});
        server.hold(&at(name), old);
    }
    let path = file(&dir, json!({"k": "1"}));
    let result = server.kubectl(&["apply", "--prune", "--all", "-f", &path]).await;
    assert_eq!(
        (result.code, result.out.as_str()),
        (1, "configmap/a created\nconfigmap/x pruned\n"),
        "{result:?}"
    );
    assert!(result.err.contains("you may not"), "{result:?}");
}

#[tokio::test]
async fn pruned_objects_are_printed_behind_the_applied_ones_each_on_its_own() {
    let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
    for name in ["x", "y"] {
        let mut old = config_map(name, json!({}));
        old["metadata"]["annotations"] = json!({LAST_APPLIED: "{}"});
        server.hold(&at(name), old);
    }
    let path = file(&dir, json!({"k": "1"}));
    let line = ["apply", "--prune", "--all", "-f", &path, "-o", "jsonpath={.metadata.name} "];
    let result = server.kubectl(&line).await;
    assert_eq!((result.code, result.out.as_str()), (0, "a x y "), "{result:?}");
}

#[tokio::test]
async fn no_object_is_printed_if_one_could_not_be_applied() {
    let server = Server::start_with(|request| {
        let refused = request.method == "POST" && request.body["metadata"]["name"] == "b";
        refused.then(|| refusal(403, "Forbidden", "you may not"))
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let first = file(&dir, json!({"k": "1"}));
    let second = dir.path().join("b.yaml");
    std::fs::write(&second, config_map("b", json!({})).to_string()).unwrap();
    let second = second.display().to_string();
    let result = server.kubectl(&["apply", "-f", &first, "-f", &second, "-o", "yaml"]).await;
    assert_eq!((result.code, result.out.as_str()), (1, ""), "{result:?}");
    assert!(server.object(&at("a")).is_some(), "it is applied all the same");
}
