//! Volumes of a pod: which of them keep it from its start, and whom their files belong to.

use super::*;

/// The scheduler would not have put it here; a pod with `nodeName` has passed the scheduler by.
#[test]
fn a_pod_does_not_start_on_a_node_that_its_volume_is_not_on() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| match asked.line.as_str() {
            line if line.ends_with("/persistentvolumeclaims/d") => Some((
                200,
                json!({"metadata": {"name": "d", "namespace": "n"}, "spec": {"volumeName": "v"}, "status": {"phase": "Bound"}}),
            )),
            line if line.ends_with("/persistentvolumes/v") => {
                let on = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2"]});
                let spec = json!({
                    "local": {"path": "/srv/v"},
                    "claimRef": {"name": "d", "namespace": "n"},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on]}]}},
                });
                Some((200, json!({"metadata": {}, "spec": spec})))
            }
            line if line.ends_with("/nodes/n1") => {
                let labels = json!({"kubernetes.io/hostname": "n1"});
                Some((200, json!({"metadata": {"name": "n1", "labels": labels}})))
            }
            _ => stored(asked, "6"),
        });
        let first = json!({"volumeMounts": [{"name": "d", "mountPath": "/d"}]});
        let volumes = json!({"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "d"}}]});
        let world = World::new(&crew, api.await, dir.clone(), pod(first, volumes));
        let failed = world.look().await.unwrap_err().to_string();
        assert!(failed.contains("persistentvolume \"v\" is not on node \"n1\""), "{failed}");
        assert!(world.api.event("FailedMount").await.contains("is not on node"));
        assert!(!dir.join("host/srv/v").exists(), "data there would be lost later");
        assert_eq!((world.starts("a"), world.starts("b")), (0, 0));
    });
}

#[test]
fn an_event_tells_of_a_volume_that_cannot_be_updated_and_the_pod_runs_on() {
    with_mounts(|crew, dir| async move {
        let gone = Arc::new(AtomicBool::new(false));
        let deleted = gone.clone();
        let api = Scripted::new(move |asked| match asked.line.ends_with("/configmaps/c") {
            true if deleted.load(Ordering::Relaxed) => refusal(404, "NotFound"),
            true => Some((200, json!({"metadata": {"name": "c"}, "data": {"k": "v"}}))),
            false => stored(asked, "6"),
        });
        let with_map = |label: &str, revision: &str| {
            let mut pod = pod(json!({}), json!({"volumes": [{"name": "c", "configMap": {"name": "c"}}]}));
            pod["metadata"]["labels"] = json!({"app": label});
            pod["metadata"]["resourceVersion"] = revision.into();
            pod
        };
        let world = World::new(&crew, api.await, dir, with_map("a", "5"));
        world.look().await.unwrap();
        gone.store(true, Ordering::Relaxed);
        world.kubelet.pods.show(read(with_map("b", "7"))); // a volume may show labels: it is looked at at once
        assert!(world.look().await.is_ok());
        let message = world.api.event("FailedMount").await;
        assert!(message.contains("configmap \"c\" not found"), "{message}");
    });
}

#[test]
fn a_container_restarts_with_the_volume_it_had_when_its_config_map_is_gone() {
    with_mounts(|crew, dir| async move {
        let gone = Arc::new(AtomicBool::new(false));
        let deleted = gone.clone();
        let api = Scripted::new(move |asked| match asked.line.ends_with("/configmaps/c") {
            true if deleted.load(Ordering::Relaxed) => refusal(404, "NotFound"),
            true => Some((200, json!({"metadata": {"name": "c"}, "data": {"k": "v"}}))),
            false => stored(asked, "6"),
        });
        let volumes = json!({"volumes": [{"name": "c", "configMap": {"name": "c"}}]});
        let mounts = json!({"volumeMounts": [{"name": "c", "mountPath": "/c"}]});
        let world = World::new(&crew, api.await, dir, pod(mounts, volumes));
        world.look().await.unwrap();
        gone.store(true, Ordering::Relaxed);
        for container in world.runtime.list_containers().await.unwrap() {
            world.runtime.exit(&container.id, 1, "Error");
        }
        world.look().await.unwrap();
        assert_eq!((world.starts("a"), world.starts("b")), (2, 2));
        let message = world.api.event("FailedMount").await;
        assert!(message.contains("configmap \"c\" not found"), "{message}");
    });
}

#[test]
fn a_token_can_be_read_by_the_user_and_the_group_of_its_pod_alone() {
    use std::os::unix::fs::MetadataExt;
    let cases = [
        (json!({}), (0o644, 0, 0)),
        (json!({"fsGroup": 2000}), (0o640, 0, 2000)),
        (json!({"runAsUser": 1000}), (0o600, 1000, 0)),
        (json!({"runAsUser": 1000, "fsGroup": 2000}), (0o640, 1000, 2000)),
    ];
    for (security, want) in cases {
        with_mounts(move |crew, dir| async move {
            let api = Scripted::new(|asked| match asked.line.ends_with("/serviceaccounts/default/token") {
                true => {
                    let status = json!({"token": "t", "expirationTimestamp": "2030-01-01T00:00:00Z"});
                    Some((201, json!({"metadata": {}, "spec": {"audiences": []}, "status": status})))
                }
                false => stored(asked, "6"),
            });
            let sources = json!([{"serviceAccountToken": {"path": "./token"}}]);
            let volumes = json!([{"name": "v", "projected": {"sources": sources}}]);
            let more = json!({"volumes": volumes, "securityContext": security});
            let world = World::new(&crew, api.await, dir, pod(json!({}), more));
            world.look().await.unwrap();
            let token = std::fs::metadata(world.kubelet.pod_dir("u").join("volumes/v/token")).unwrap();
            assert_eq!((token.mode() & 0o777, token.uid(), token.gid()), want, "{security}");
        });
    }
}
