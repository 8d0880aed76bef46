//! Pods that are deleted, and what is left of them.

use super::*;
use crate::container::Place;

#[test]
fn a_deleted_pod_is_failed_before_it_goes() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "10")).await;
        let mut deleted = pod(json!({}), json!({}));
        deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let world = World::new(&crew, api, dir, deleted);
        world.look().await.unwrap();
        let asked = world.api.take();
        let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
        let name = "/api/v1/namespaces/default/pods/p";
        assert_eq!(lines, [format!("PATCH {name}/status"), format!("DELETE {name}")]);
        assert_eq!(asked[0].body["status"]["phase"], "Failed");
    });
}

/// The watch is behind; asking again and again before it tells would be a loop without a pause.
#[test]
fn a_failure_that_cannot_be_written_waits_for_the_watch() {
    with_mounts(|crew, dir| async move {
        let refused = Arc::new(AtomicBool::new(true));
        let changed = refused.clone();
        let api = Scripted::new(move |asked| {
            match changed.load(Ordering::Relaxed) && asked.line.starts_with("PATCH") {
                true => refusal(409, "Conflict"),
                false => stored(asked, "9"),
            }
        });
        let mut old = pod(json!({}), json!({"activeDeadlineSeconds": 1}));
        old["status"] = json!({"startTime": "2026-01-01T00:00:00Z"});
        let world = World::new(&crew, api.await, dir, old.clone());
        assert!(matches!(world.look().await.unwrap(), Outcome::Done));
        refused.store(false, Ordering::Relaxed);
        old["metadata"]["resourceVersion"] = "7".into();
        world.kubelet.pods.show(read(old));
        assert!(matches!(world.look().await.unwrap(), Outcome::After(pause) if pause.is_zero()));
        assert_eq!(world.written().unwrap()["reason"], "DeadlineExceeded");
    });
}

#[test]
fn a_deleted_pod_that_is_changed_meanwhile_is_failed_before_it_goes_too() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| match asked.body["metadata"]["resourceVersion"] == "5" {
            true => refusal(409, "Conflict"),
            false => stored(asked, "10"),
        });
        let mut deleted = pod(json!({}), json!({}));
        deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let world = World::new(&crew, api.await, dir, deleted.clone());
        world.look().await.unwrap();
        let goes = |asked: &[Asked]| asked.iter().any(|asked| asked.line.starts_with("DELETE"));
        assert!(!goes(&world.api.take()), "its last status would be lost");
        deleted["metadata"]["resourceVersion"] = "7".into();
        deleted["metadata"]["labels"] = json!({"new": "label"});
        world.kubelet.pods.show(read(deleted));
        world.look().await.unwrap();
        let asked = world.api.take();
        assert_eq!(asked[0].body["status"]["phase"], "Failed");
        assert!(goes(&asked));
    });
}

#[test]
fn a_deleted_pod_goes_although_its_last_status_is_too_large() {
    with_mounts(|crew, dir| async move {
        let too_large = |asked: &Asked| match asked.line.starts_with("PATCH") {
            true => refusal(413, "RequestEntityTooLarge"),
            false => None,
        };
        let mut deleted = pod(json!({}), json!({}));
        deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let world = World::new(&crew, Scripted::new(too_large).await, dir, deleted);
        world.look().await.unwrap();
        let asked = world.api.take();
        let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
        let name = "/api/v1/namespaces/default/pods/p";
        let write = format!("PATCH {name}/status");
        assert_eq!(lines, [write.clone(), write, format!("DELETE {name}")], "once more without messages");
        let messages =
            |asked: &Asked| asked.body["status"]["containerStatuses"].to_string().contains("message");
        assert!(messages(&asked[0]) && !messages(&asked[1]));
    });
}

#[test]
fn a_container_that_could_not_be_stopped_is_stopped_again() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let world = World::new(&crew, api, dir, pod(json!({}), json!({})));
        world.look().await.unwrap();
        let mut deleted = pod(json!({}), json!({}));
        deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let mut memory = world.kubelet.recall(&world.key, "u");
        let mut events = world.runtime.events();
        world.runtime.fail_stops(2);
        world.kubelet.terminate(&world.key, &read(deleted), &mut memory, &None).await.unwrap();
        let mut ended = 0;
        while ended < 2 {
            let next = tokio::time::timeout(Duration::from_secs(20), events.recv()).await;
            let next = next.expect("both containers end").unwrap();
            ended += usize::from(next.kind == cri::EventKind::Stopped);
        }
        let stops = world.runtime.calls().iter().filter(|call| call.starts_with("stop_container")).count();
        assert_eq!(stops, 4, "each failed once");
    });
}

/// The hook of a sidecar does not wait for the containers before, and all share one grace period.
#[test]
fn hooks_of_sidecars_run_at_once_and_sidecars_that_ignore_the_signal_end_soon_after_the_rest() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let hook = json!({"preStop": {"exec": {"command": ["bye"]}}});
        let sidecar = |name: &str, lifecycle: &Value| json!({"name": name, "image": name, "restartPolicy": "Always", "lifecycle": lifecycle});
        let more = json!({"initContainers": [sidecar("s", &hook), sidecar("t", &json!({}))]});
        let mut whole = pod(json!({}), more);
        let world = World::new(&crew, api, dir, whole.clone());
        for name in ["a", "s", "t"] {
            world.runtime.script(name, cri::fake::Script::IgnoreStop);
        }
        world.runtime.exec_takes(Duration::ZERO, Duration::ZERO);
        for _ in 0..3 {
            world.look().await.unwrap();
        }
        assert_eq!((world.starts("s"), world.starts("t"), world.starts("a")), (1, 1, 1));
        whole["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        whole["metadata"]["deletionGracePeriodSeconds"] = 30.into();
        let (mut memory, mut events) = (world.kubelet.recall(&world.key, "u"), world.runtime.events());
        world.kubelet.terminate(&world.key, &read(whole), &mut memory, &None).await.unwrap();
        tokio::time::pause();
        let start = clock::Instant::now();
        clock::sleep(Duration::from_secs(5)).await;
        let has = |call: &str| world.runtime.calls().iter().any(|c| c == call);
        assert!(has("exec bye") && has("stop_container a"), "{:?}", world.runtime.calls());
        assert!(!has("stop_container s") && !has("stop_container t"));
        let mut ended = 0;
        while ended < 4 {
            ended += usize::from(events.recv().await.unwrap().kind == cri::EventKind::Stopped);
        }
        assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
        let calls = world.runtime.calls();
        let at = |what: &str| calls.iter().position(|call| call == what);
        assert!(at("stop_container t") < at("stop_container s"), "{calls:?}");
    });
}

#[test]
fn a_sandbox_that_could_not_be_stopped_has_an_event_and_is_stopped_again() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let world = World::new(&crew, api, dir, pod(json!({}), json!({})));
        world.look().await.unwrap();
        let mut deleted = pod(json!({}), json!({}));
        deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let deleted = read(deleted);
        for container in world.runtime.list_containers().await.unwrap() {
            world.runtime.stop_container(&container.id, Duration::ZERO).await.unwrap();
        }
        let mut memory = world.kubelet.recall(&world.key, "u");
        world.runtime.fail_sandbox_stops(1);
        let failed = world.kubelet.terminate(&world.key, &deleted, &mut memory, &None).await;
        assert!(failed.is_err(), "the queue brings it back");
        let message = world.api.event("FailedKillPod").await;
        assert!(message.ends_with("cannot take the network down: device or resource busy"), "{message}");
        world.kubelet.terminate(&world.key, &deleted, &mut memory, &None).await.unwrap();
        assert!(world.api.take().iter().any(|asked| asked.line.starts_with("DELETE")));
    });
}

#[tokio::test]
async fn attempts_that_never_ran_go_and_sandboxes_with_their_last_container() {
    let dir = tempfile::tempdir().unwrap();
    let crew = Crew::new("test");
    let api = Scripted::new(|asked| stored(asked, "6")).await;
    let world = World::new(&crew, api, dir.path().into(), pod(json!({}), json!({})));
    let (runtime, kubelet) = (&world.runtime, &world.kubelet);
    let sandbox = |attempt| {
        let pod = cri::PodId { namespace: "default".into(), name: "p".into(), uid: "u".into() };
        runtime.run_pod_sandbox(cri::SandboxConfig { pod, attempt, ..cri::SandboxConfig::default() })
    };
    let make = async |sandbox: &Sandbox, attempt| {
        let config = cri::ContainerConfig {
            name: "a".into(),
            image: "nginx".into(),
            attempt,
            ..cri::ContainerConfig::default()
        };
        runtime.create_container(&sandbox.id, config).await.unwrap()
    };
    let left = async || {
        let (sandboxes, containers) = kubelet.in_runtime(&world.key, "u").await.unwrap();
        kubelet.forget_old("u", &sandboxes, &containers).await.unwrap();
        let (sandboxes, containers) = kubelet.in_runtime(&world.key, "u").await.unwrap();
        let mut attempts: Vec<u32> = containers.iter().map(|c| c.attempt).collect();
        attempts.sort_unstable();
        let mut of_sandboxes: Vec<u32> = sandboxes.iter().map(|s| s.attempt).collect();
        of_sandboxes.sort_unstable();
        (attempts, of_sandboxes)
    };
    let first = sandbox(0).await.unwrap();
    runtime.start_container(&make(&first, 0).await).await.unwrap();
    runtime.stop_pod_sandbox(&first.id).await.unwrap();
    let second = sandbox(1).await.unwrap();
    make(&second, 1).await;
    assert_eq!(left().await, (vec![0, 1], vec![0, 1]), "the newest may still be started");
    let third = make(&second, 2).await;
    runtime.start_container(&third).await.unwrap();
    assert_eq!(left().await, (vec![0, 2], vec![0, 1]));
    runtime.exit(&third, 1, "Error");
    runtime.start_container(&make(&second, 3).await).await.unwrap();
    assert_eq!(left().await, (vec![2, 3], vec![1]));
}

/// The trash cannot be opened at first; a pod of the same name has come meanwhile.
#[tokio::test]
async fn files_of_a_replaced_pod_go_also_when_their_removal_failed_or_it_had_no_sandbox() {
    let dir = tempfile::tempdir().unwrap();
    let crew = Crew::new("test");
    let api = Scripted::new(|asked| stored(asked, "6")).await;
    let world = World::new(&crew, api, dir.path().into(), pod(json!({}), json!({})));
    let (old, bare) = (world.kubelet.pod_dir("old"), world.kubelet.pod_dir("bare"));
    std::fs::create_dir_all(old.join("volumes")).unwrap();
    std::fs::create_dir_all(bare.join("volumes")).unwrap();
    let pod = cri::PodId { namespace: "default".into(), name: "p".into(), uid: "old".into() };
    world.runtime.run_pod_sandbox(cri::SandboxConfig { pod, ..cri::SandboxConfig::default() }).await.unwrap();
    world.kubelet.remember(&world.key, PodMemory { uid: "bare".into(), ..PodMemory::default() });
    let trash = dir.path().join("trash");
    std::fs::write(&trash, "").unwrap();
    assert!(world.kubelet.clear_strangers(&world.key, "u").await.is_err());
    assert!(old.exists());
    std::fs::remove_file(&trash).unwrap();
    assert!(world.kubelet.clear_strangers(&world.key, "u").await.unwrap());
    assert!(!old.exists() && !bare.exists());
    assert!(world.runtime.list_pod_sandboxes().await.unwrap().is_empty());
}

/// A merge patch keeps what it does not name.
#[test]
fn a_message_that_no_longer_holds_is_cleared_and_other_writers_fields_are_not_written() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let mut with_message = pod(json!({}), json!({}));
        let message = "container a: it has no limits";
        with_message["status"] = json!({"phase": "Pending", "message": message, "nominatedNodeName": "n1"});
        let world = World::new(&crew, api, dir, with_message);
        world.look().await.unwrap();
        let mut asked = world.api.take();
        asked.retain(|asked| asked.line.starts_with("PATCH") && asked.line.ends_with("/status"));
        let first = &asked.first().unwrap().body["status"];
        assert_eq!(first.get("message"), Some(&Value::Null), "{first}");
        assert_eq!(first.get("nominatedNodeName"), None, "the scheduler's: {first}");
    });
}

/// kubectl waits for the end of the mirror that it deleted, and would take the next one for it.
#[tokio::test(start_paused = true)]
async fn the_next_mirror_comes_a_moment_after_the_end_of_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let crew = Crew::new("test");
    let api = Scripted::new(|asked| stored(asked, "6")).await;
    let runtime = FakeRuntime::new(NODE, PODS, Rng::seeded(1));
    let own = read(pod(json!({}), json!({})));
    let with_static =
        Config { static_pods: vec![own.clone()], ..config(&api.client, &runtime, dir.path().into()) };
    let (pods, services) = (Informer::fixed([]), Informer::fixed([]));
    let pressures = watch::Sender::new(Pressures::default());
    let kubelet = Kubelet::new(&crew, &Arc::new(with_static), pods, services, pressures);
    let start = clock::Instant::now();
    kubelet.note_change(&Change::Deleted(Arc::new(own)));
    let next = clock::limit(Duration::from_secs(60), kubelet.queue.next()).await;
    assert_eq!(next.map(|(key, _)| key), Some(Key::new("default", "p")));
    assert!(start.elapsed() >= mirror::NEXT, "{:?}", start.elapsed());
}

/// As `kubectl delete --force` does: the API has the pod no more, and its containers still run.
#[test]
fn a_pod_that_was_deleted_by_force_has_its_claim_until_its_containers_have_ended() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let (first, mut second) = (read(pod(json!({}), json!({}))), read(pod(json!({}), json!({}))));
        (second.metadata.name, second.metadata.uid) = (Some("q".into()), Some("v".into()));
        let world = World::new(&crew, api, dir, pod(json!({}), json!({})));
        let kubelet = world.kubelet.clone();
        world.kubelet.pods.on(move |change| kubelet.note_change(change));
        assert!(world.kubelet.take_claim(&first, "c"));
        world.look().await.unwrap();
        world.kubelet.pods.show_deleted(first);
        assert!(!world.kubelet.take_claim(&second, "c"), "both would write to the volume");
        world.look().await.unwrap();
        assert!(world.kubelet.take_claim(&second, "c"));
    });
}

/// As before, and no kubelet ran when it was deleted: the next one has never seen the pod.
#[test]
fn a_pod_that_was_deleted_while_no_kubelet_ran_has_its_claim_until_its_containers_have_ended() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| match asked.line.as_str() {
            line if line.ends_with("/persistentvolumeclaims/c") => {
                let metadata = json!({"name": "c", "namespace": "default"});
                let (spec, status) = (json!({"volumeName": "v"}), json!({"phase": "Bound"}));
                Some((200, json!({"metadata": metadata, "spec": spec, "status": status})))
            }
            line if line.ends_with("/persistentvolumes/v") => {
                let reserved = json!({"name": "c", "namespace": "default"});
                let modes = ["ReadWriteOncePod"];
                let spec = json!({"hostPath": {"path": "/d"}, "claimRef": reserved, "accessModes": modes});
                Some((200, json!({"metadata": {}, "spec": spec})))
            }
            _ => stored(asked, "6"),
        });
        let volumes = json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]});
        let second = pod(json!({}), volumes);
        let world = World::new(&crew, api.await, dir, second.clone());
        let second = read(second);
        let id = cri::PodId { namespace: "default".into(), name: "first".into(), uid: "first".into() };
        let config = cri::SandboxConfig { pod: id, ..cri::SandboxConfig::default() };
        let sandbox = world.runtime.run_pod_sandbox(config).await.unwrap();
        let places = BTreeMap::from([("v".to_string(), Place::default())]);
        let spec = &second.spec.as_ref().unwrap().containers[0];
        let config = crate::container::config(&second, spec, 0, vec![], &places, None).unwrap();
        let container = world.runtime.create_container(&sandbox.id, config).await.unwrap();
        world.runtime.start_container(&container).await.unwrap();
        let failed = world.look().await.unwrap_err().to_string();
        assert!(failed.contains("is already in use by another pod"), "{failed}");
        world.runtime.stop_pod_sandbox(&sandbox.id).await.unwrap();
        assert!(world.kubelet.claims_of_strangers(&second).await.unwrap().is_empty());
    });
}
