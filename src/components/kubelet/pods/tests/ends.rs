//! How pods end.

use super::*;

/// The finalizer, a Job's for example, keeps the object: it is deleted with a grace period of zero
/// and still there.
#[test]
fn a_pod_with_a_finalizer_that_is_deleted_by_force_has_its_hook() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let hook = json!({"lifecycle": {"preStop": {"exec": {"command": ["bye"]}}}});
        let mut whole = pod(hook, json!({}));
        let world = World::new(&crew, api, dir, whole.clone());
        world.runtime.exec_takes(Duration::ZERO, Duration::ZERO);
        world.look().await.unwrap();
        whole["metadata"]["finalizers"] = json!(["batch.kubernetes.io/job-tracking"]);
        whole["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        whole["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        let (mut memory, mut events) = (world.kubelet.recall(&world.key, "u"), world.runtime.events());
        tokio::time::pause(); // the grace period is a second, on a busy machine too
        world.kubelet.terminate(&world.key, &read(whole), &mut memory, &None).await.unwrap();
        let mut ended = 0;
        while ended < 2 {
            ended += usize::from(events.recv().await.unwrap().kind == cri::EventKind::Stopped);
        }
        let calls = world.runtime.calls();
        let at = |what: &str| calls.iter().position(|call| call == what);
        assert!(at("exec bye").is_some() && at("exec bye") < at("stop_container a"), "{calls:?}");
    });
}

/// A tmpfs would keep its memory, and nothing evicts a pod that has ended.
#[test]
fn a_deleted_pod_that_a_finalizer_keeps_gives_its_volumes_back() {
    with_mounts(|crew, dir| async move {
        let kept = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}});
        let api = Scripted::new(move |asked| match asked.line.starts_with("DELETE") {
            true => Some((200, kept.clone())),
            false => stored(asked, "6"),
        });
        let volume = json!({"name": "v", "emptyDir": {"medium": "Memory"}});
        let mut whole = pod(json!({}), json!({"volumes": [volume]}));
        let trash = dir.join("trash");
        let world = World::new(&crew, api.await, dir, whole.clone());
        world.look().await.unwrap();
        let made = world.kubelet.pod_dir("u").join("volumes/v");
        assert!(crate::volumes::is_mounted(&made).unwrap());
        for container in world.runtime.list_containers().await.unwrap() {
            world.runtime.exit(&container.id, 0, "Completed");
        }
        whole["metadata"]["finalizers"] = json!(["example.com/x"]);
        whole["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        whole["metadata"]["deletionGracePeriodSeconds"] = 30.into();
        let (whole, mut memory) = (read(whole), world.kubelet.recall(&world.key, "u"));
        std::fs::write(&trash, "").unwrap(); // it cannot be opened at first
        assert!(world.kubelet.terminate(&world.key, &whole, &mut memory, &None).await.is_err());
        let asked = world.api.take();
        let deleted = asked.iter().any(|asked| asked.line.starts_with("DELETE"));
        assert!(deleted, "files that stay keep no object: {asked:?}");
        std::fs::remove_file(&trash).unwrap();
        world.kubelet.terminate(&world.key, &whole, &mut memory, &None).await.unwrap();
        assert!(!made.exists());
    });
}

/// Its pause process has ended by itself, so it is not ready, but it has its address still.
#[test]
fn a_lost_sandbox_of_a_pod_that_is_over_is_stopped_once() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let mut whole = pod(json!({}), json!({"restartPolicy": "Never"}));
        let world = World::new(&crew, api, dir, whole.clone());
        world.look().await.unwrap();
        let sandbox = world.runtime.list_pod_sandboxes().await.unwrap().remove(0);
        world.runtime.end_pause_process(&sandbox.id);
        for container in world.runtime.list_containers().await.unwrap() {
            world.runtime.exit(&container.id, 0, "Completed");
        }
        let stop = format!("stop_pod_sandbox {}", sandbox.id);
        let stops = || world.runtime.calls().iter().filter(|call| **call == stop).count();
        for _ in 0..3 {
            world.look().await.unwrap();
        }
        assert_eq!(stops(), 1, "{:?}", world.runtime.calls());
        // A kubelet that was started since does not know that; a finalizer keeps the object.
        whole["metadata"]["finalizers"] = json!(["example.com/x"]);
        whole["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let (whole, mut memory) = (read(whole), PodMemory { uid: "u".into(), ..PodMemory::default() });
        for _ in 0..2 {
            world.kubelet.terminate(&world.key, &whole, &mut memory, &None).await.unwrap();
        }
        assert_eq!(stops(), 2, "{:?}", world.runtime.calls());
    });
}

/// As upstream: of a pod that has failed nothing runs any more.
#[test]
fn a_pod_whose_time_is_over_fails_when_its_containers_have_ended() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let mut whole = pod(json!({}), json!({"activeDeadlineSeconds": 60}));
        let world = World::new(&crew, api, dir, whole.clone());
        world.runtime.script("a", cri::fake::Script::IgnoreStop);
        world.runtime.script("b", cri::fake::Script::IgnoreStop);
        world.look().await.unwrap();
        whole["status"] = world.written().unwrap();
        whole["status"]["startTime"] = "2026-01-01T00:00:00Z".into();
        whole["metadata"]["resourceVersion"] = "9".into();
        world.kubelet.pods.show(read(whole));
        assert!(matches!(world.look().await.unwrap(), Outcome::Done), "the end brings it back");
        let asked = async {
            while !world.runtime.calls().iter().any(|call| call == "stop_container a") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asked).await.expect("it is asked to end");
        assert_ne!(world.written().map(|status| status["phase"].clone()), Some(json!("Failed")));
        for container in world.runtime.list_containers().await.unwrap() {
            world.runtime.exit(&container.id, 0, "Completed");
        }
        assert!(matches!(world.look().await.unwrap(), Outcome::After(pause) if pause.is_zero()));
        let status = world.written().unwrap();
        assert_eq!((&status["phase"], &status["reason"]), (&json!("Failed"), &json!("DeadlineExceeded")));
        assert_eq!((world.starts("a"), world.starts("b")), (1, 1));
    });
}

/// As upstream: nothing of it waits any more.
#[test]
fn a_container_that_never_started_has_ended_with_the_time_of_its_pod() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let mut whole = pod(json!({"image": "misspelt"}), json!({"activeDeadlineSeconds": 60}));
        let world = World::new(&crew, api, dir, whole.clone());
        world.runtime.forget_image("misspelt");
        world.look().await.unwrap();
        let mut written = world.written().unwrap();
        assert!(written["containerStatuses"][0]["state"]["waiting"].is_object(), "{written}");
        written["startTime"] = "2026-01-01T00:00:00Z".into();
        // As the watch tells the kubelet of its own writes.
        let next = |whole: &mut Value, status: Value, revision: &str| {
            whole["status"] = status;
            whole["metadata"]["resourceVersion"] = revision.into();
            world.kubelet.pods.show(read(whole.clone()));
        };
        next(&mut whole, written, "9");
        world.look().await.unwrap();
        for container in world.runtime.list_containers().await.unwrap() {
            world.runtime.exit(&container.id, 0, "Completed");
        }
        world.look().await.unwrap();
        for revision in ["10", "11"] {
            let written = world.written().unwrap();
            assert_eq!(
                (&written["phase"], &written["reason"]),
                (&json!("Failed"), &json!("DeadlineExceeded"))
            );
            let end = &written["containerStatuses"][0]["state"]["terminated"];
            assert_eq!((&end["reason"], &end["exitCode"]), (&json!("ContainerStatusUnknown"), &json!(137)));
            if revision == "10" {
                next(&mut whole, written, revision);
                world.look().await.unwrap(); // it is wound up
            }
        }
    });
}

#[test]
fn a_pause_that_takes_the_whole_grace_period_is_no_hook_that_failed() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let hook = json!({"lifecycle": {"preStop": {"sleep": {"seconds": 3600}}}});
        let mut whole = pod(hook, json!({}));
        let world = World::new(&crew, api, dir, whole.clone());
        world.look().await.unwrap();
        whole["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        whole["metadata"]["deletionGracePeriodSeconds"] = 1.into();
        let (mut memory, mut events) = (world.kubelet.recall(&world.key, "u"), world.runtime.events());
        world.kubelet.terminate(&world.key, &read(whole), &mut memory, &None).await.unwrap();
        let mut ended = 0;
        while ended < 2 {
            let next = tokio::time::timeout(Duration::from_secs(20), events.recv()).await;
            let next = next.expect("both containers end").unwrap();
            ended += usize::from(next.kind == cri::EventKind::Stopped);
        }
        // Events are written one after the other.
        world.kubelet.recorder.normal(&world.kubelet.about_node(), "Over", "both have ended", None);
        world.api.event("Over").await;
        let all = world.api.events();
        assert!(all.iter().all(|event| event.body["reason"] != "FailedPreStopHook"), "{all:?}");
    });
}

/// As `kubectl drain --grace-period` does of a pod that is being deleted.
#[test]
fn a_shorter_grace_period_leaves_a_hook_the_time_until_its_end() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let hook = json!({"lifecycle": {"preStop": {"exec": {"command": ["bye"]}}}});
        let mut whole = pod(hook, json!({}));
        let world = World::new(&crew, api, dir, whole.clone());
        world.look().await.unwrap();
        world.runtime.exec_takes(Duration::ZERO, Duration::from_secs(600));
        let mut memory = world.kubelet.recall(&world.key, "u");
        whole["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        for grace in [1200, 900, 300] {
            whole["metadata"]["deletionGracePeriodSeconds"] = grace.into();
            let ending = read(whole.clone());
            world.kubelet.terminate(&world.key, &ending, &mut memory, &None).await.unwrap();
        }
        tokio::time::pause();
        let stops = || world.runtime.calls().iter().filter(|call| *call == "stop_container a").count();
        clock::pause(Duration::from_secs(200)).await;
        assert_eq!(stops(), 0, "the hook goes on");
        clock::pause(Duration::from_secs(200)).await;
        assert_eq!(stops(), 1, "it took longer than it has now");
        let hooks = world.runtime.calls().iter().filter(|call| *call == "exec bye").count();
        assert_eq!(hooks, 1);
    });
}
