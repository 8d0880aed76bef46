use super::*;

#[tokio::test]
async fn a_pretended_undo_shows_the_template_and_that_it_is_none() {
    let server = crate::testing::Server::start().await;
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"template": {"spec": {"containers": []}}}});
    server.hold("/apis/apps/v1/namespaces/default/deployments/web", web);
    let uid =
        server.object("/apis/apps/v1/namespaces/default/deployments/web").unwrap()["metadata"]["uid"].clone();
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "web-1", "namespace": "default", "annotations": {REVISION: "1", CHANGE_CAUSE: "why"},
            "ownerReferences": [{"controller": true, "uid": uid}]},
        "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "old"}]}}}});
    server.hold("/apis/apps/v1/namespaces/default/replicasets/web-1", set);
    let said =
        server.kubectl(&["rollout", "undo", "deploy/web", "--to-revision=1", "--dry-run=client"]).await;
    assert!(said.out.contains("old") && !said.out.contains("why"), "{said:?}");
    assert!(said.out.ends_with("\n (dry run)\n"), "{said:?}");
}

#[tokio::test]
async fn an_undo_to_the_template_that_runs_is_skipped() {
    let server = crate::testing::Server::start().await;
    let template = json!({"spec": {"containers": [{"name": "c", "image": "i"}]}});
    let at = "/apis/apps/v1/namespaces/default";
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"template": template}});
    server.hold(&format!("{at}/deployments/web"), web);
    let uid = server.object(&format!("{at}/deployments/web")).unwrap()["metadata"]["uid"].clone();
    for number in ["1", "2"] {
        let name = format!("web-{number}");
        let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": name, "namespace": "default", "annotations": {REVISION: number},
                "ownerReferences": [{"controller": true, "uid": uid}]},
            "spec": {"template": template}});
        server.hold(&format!("{at}/replicasets/{name}"), set);
    }
    for (flag, number) in [("--to-revision=0", 0), ("--to-revision=1", 1)] {
        let said = server.kubectl(&["rollout", "undo", "deploy/web", flag]).await;
        let told = format!(
            "deployment.apps/web skipped rollback (current template already matches revision {number})\n"
        );
        assert_eq!((said.code, said.out), (0, told));
    }
    assert!(server.asked().iter().all(|asked| asked.method == "GET"));
}

#[test]
fn another_spelling_of_an_amount_is_the_same_revision_of_a_deployment() {
    let template = |memory: &str| {
        json!({"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"memory": memory}}}]}})
    };
    let same = |kind: &str, other: &str| same_template(kind, &template("1Gi"), &template(other));
    assert!(same("Deployment", "1073741824") && !same("Deployment", "1G"));
    assert!(!same("DaemonSet", "1073741824"), "its revisions are compared as they are written");
}

#[test]
fn a_second_restart_within_a_second_is_refused() {
    let mut info = Info {
        resource: Default::default(),
        namespace: "default".into(),
        name: "web".into(),
        object: json!({"spec": {"template": {}}}),
        source: String::new(),
    };
    let patch = restarted(&info, "2026-01-02T03:04:05Z").unwrap();
    api::patch::merge(&mut info.object, &patch);
    let told = restarted(&info, "2026-01-02T03:04:05Z").unwrap_err().message();
    assert!(told.starts_with("failed to create patch for web: if restart has already"), "{told}");
    assert!(restarted(&info, "2026-01-02T03:04:06Z").is_ok());
}
