use super::*;
use client::discovery::Resource;
use std::sync::Arc;

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
    let result =
        server.kubectl(&["rollout", "undo", "deploy/web", "--to-revision=1", "--dry-run=client"]).await;
    assert!(result.out.contains("old") && !result.out.contains("why"), "{result:?}");
    assert!(result.out.ends_with("\n (dry run)\n"), "{result:?}");
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
        let result = server.kubectl(&["rollout", "undo", "deploy/web", flag]).await;
        let want = format!(
            "deployment.apps/web skipped rollback (current template already matches revision {number})\n"
        );
        assert_eq!((result.code, result.out), (0, want));
    }
    let result = server.kubectl(&["rollout", "undo", "deploy/web", "--dry-run=server"]).await;
    assert!(result.out.ends_with("already matches revision 0) (server dry run)\n"), "{result:?}");
    let result = server.kubectl(&["rollout", "undo", "deploy/web", "--to-revision=-1"]).await;
    assert_eq!(
        (result.code, result.err.as_str()),
        (1, "error: unable to find specified revision -1 in history\n")
    );
    assert!(server.requests().iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn each_of_several_failures_says_that_it_is_one() {
    let server = crate::testing::Server::start().await;
    for name in ["a", "b"] {
        let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": name, "namespace": "default"}});
        server.hold(&format!("/apis/apps/v1/namespaces/default/replicasets/{name}"), set);
    }
    let refused = |name: &str| format!("error: replicasets.apps \"{name}\" pausing is not supported\n");
    for (line, err) in [(&["rs/a"][..], refused("a")), (&["rs/a", "rs/b"], refused("a") + &refused("b"))] {
        let words: Vec<&str> = ["rollout", "pause"].into_iter().chain(line.iter().copied()).collect();
        let result = server.kubectl(&words).await;
        assert_eq!((result.code, result.err), (1, err));
    }
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
    let message = restarted(&info, "2026-01-02T03:04:05Z").unwrap_err().message();
    assert!(message.starts_with("failed to create patch for web: if restart has already"), "{message}");
    assert!(restarted(&info, "2026-01-02T03:04:06Z").is_ok());
}

#[tokio::test]
async fn a_format_prints_all_revisions_or_the_one_that_is_named() {
    let server = crate::testing::Server::start().await;
    let at = "/apis/apps/v1/namespaces/default";
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}});
    server.hold(&format!("{at}/deployments/web"), web);
    let history = ["rollout", "history", "deploy/web"];
    let result = server.kubectl(&[&history[..], &["--revision=7"]].concat()).await;
    let none = "deployment.apps/web with revision #7\nNo rollout history found.\n";
    assert_eq!((result.code, result.out.as_str()), (0, none), "{result:?}");
    let uid = server.object(&format!("{at}/deployments/web")).unwrap()["metadata"]["uid"].clone();
    for number in ["9", "10"] {
        let name = format!("web-{number}");
        let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": name, "namespace": "default", "annotations": {REVISION: number},
                "ownerReferences": [{"controller": true, "uid": uid}]}});
        server.hold(&format!("{at}/replicasets/{name}"), set);
    }
    for (flag, want) in [
        ("--revision=0", "replicaset.apps/web-9\nreplicaset.apps/web-10\n"),
        ("--revision=9", "replicaset.apps/web-9\n"),
    ] {
        let result = server.kubectl(&[&history[..], &["-oname", flag]].concat()).await;
        assert_eq!((result.code, result.out.as_str()), (0, want), "{result:?}");
    }
    let result = server.kubectl(&[&history[..], &["-oname", "--revision=7"]].concat()).await;
    let expected = "error: unable to find the specified revision\n";
    assert_eq!((result.code, result.out.as_str(), result.err.as_str()), (1, "", expected));
}

#[test]
fn a_revision_of_a_daemon_set_is_the_set_as_it_was() {
    let template = |image: &str| json!({"spec": {"containers": [{"name": "c", "image": image}]}});
    let mut data = json!({"spec": {"template": template("old")}});
    data["spec"]["template"]["$patch"] = "replace".into();
    let mut now = template("new");
    now["metadata"] = json!({"labels": {"new": "yes"}});
    let info = Info {
        resource: Arc::new(Resource { kind: "DaemonSet".into(), ..Resource::default() }),
        namespace: "default".into(),
        name: "d".into(),
        object: json!({"metadata": {"name": "d"}, "spec": {"minReadySeconds": 3, "template": now}}),
        source: String::new(),
    };
    let keeper = json!({"kind": "ControllerRevision", "revision": 1, "data": data});
    let revision = Revision { number: 1, cause: String::new(), template: Value::Null, keeper };
    let object = as_object(&info, &revision).unwrap();
    assert_eq!((&object["kind"], &object["metadata"]["name"]), (&json!("DaemonSet"), &json!("d")));
    assert_eq!(object["spec"], json!({"minReadySeconds": 3, "template": template("old")}));
}

#[tokio::test]
async fn a_selector_that_matches_nothing_has_no_status_and_no_failure() {
    let server = crate::testing::Server::start().await;
    let result = server.kubectl(&["rollout", "status", "deploy", "-l", "a=b"]).await;
    let want = "No resources found in default namespace.\n";
    assert_eq!((result.code, result.out.as_str(), result.err.as_str()), (0, "", want));
}

#[tokio::test]
async fn a_deployment_without_the_annotation_is_at_revision_zero() {
    let server = crate::testing::Server::start().await;
    let at = "/apis/apps/v1/namespaces/default/deployments/web";
    let line = ["rollout", "status", "deploy/web", "--watch=false", "--revision=3"];
    for (annotations, want) in [
        (json!({}), "desired revision (3) is different from the running revision (0)"),
        (
            json!({REVISION: "x"}),
            "cannot get the revision of deployment \"web\": strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
    ] {
        let metadata = json!({"name": "web", "namespace": "default", "annotations": annotations});
        server.hold(at, json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}));
        let result = server.kubectl(&line).await;
        assert_eq!((result.code, result.err), (1, format!("error: {want}\n")));
    }
}
