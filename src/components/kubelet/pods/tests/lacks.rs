//! Pods that a node has no place for, and pods that are evicted or preempted.

use super::*;

/// A pod with `nodeName` has passed the scheduler by.
#[test]
fn a_pod_that_asks_for_another_node_is_rejected() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| match asked.line.as_str() {
            "GET /api/v1/nodes/n1" => {
                Some((200, json!({"metadata": {"name": "n1", "labels": {"disk": "hdd"}}})))
            }
            _ => stored(asked, "6"),
        });
        let asks = pod(json!({}), json!({"nodeSelector": {"disk": "ssd"}}));
        let world = World::new(&crew, api.await, dir, asks);
        world.look().await.unwrap();
        let written = world.written().unwrap();
        assert_eq!((&written["phase"], &written["reason"]), (&json!("Failed"), &json!("NodeAffinity")));
        assert!(written["containerStatuses"].is_null(), "kubectl would show ContainerCreating: {written}");
        assert_eq!(world.starts("a"), 0);
    });
}

/// It never started, so nothing was disrupted.
#[test]
fn a_pod_that_comes_while_the_node_is_low_on_memory_is_rejected() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let world = World::new(&crew, api, dir, pod(json!({}), json!({})));
        world.kubelet.pressures.send_replace(Pressures { memory: true, ..Pressures::default() });
        world.look().await.unwrap();
        let written = world.written().unwrap();
        assert_eq!((&written["phase"], &written["reason"]), (&json!("Failed"), &json!("Evicted")));
        assert_eq!(written["message"], "Pod was rejected: The node had condition: [MemoryPressure]. ");
        assert!(!written["conditions"].to_string().contains("DisruptionTarget"), "{written}");
        assert_eq!(world.starts("a"), 0);
    });
}

#[test]
fn a_critical_pod_is_not_evicted_for_what_it_uses() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let volumes = json!([{"name": "v", "emptyDir": {"sizeLimit": "1Ki"}}]);
        let mounts = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
        let of = |namespace: &str, uid: &str| {
            let more = json!({"volumes": volumes, "priority": 2_000_000_000});
            let mut one = pod(mounts.clone(), more);
            (one["metadata"]["namespace"], one["metadata"]["uid"]) = (namespace.into(), uid.into());
            read(one)
        };
        let (critical, other) = (of("kube-system", "u"), of("default", "v"));
        let world = World::new(&crew, api, dir, serde_json::to_value(&critical).unwrap());
        let fails = async |pod: &Pod| {
            let (key, uid) = (Key::of(pod), pod.metadata.uid.clone().unwrap());
            let volume = world.kubelet.pod_dir(&uid).join("volumes/v");
            std::fs::create_dir_all(&volume).unwrap();
            std::fs::write(volume.join("f"), vec![1; 1 << 20]).unwrap();
            let (pod_dir, log_dir) = (world.kubelet.pod_dir(&uid), world.kubelet.log_dir("n", "p", &uid));
            let (now, mut time) = (clock::Instant::now(), crate::walk::Allowance::default());
            assert!(world.kubelet.measure(&uid, &pod_dir, &log_dir, now, &mut time).await.is_some());
            let mut memory = PodMemory { uid, ..PodMemory::default() };
            world.kubelet.judge(&key, pod, &mut memory).await.unwrap().0.is_some()
        };
        world.kubelet.pods.show(other.clone());
        assert!(fails(&other).await, "a priority counts in kube-system only");
        assert!(!fails(&critical).await);
    });
}

/// How long a pod that has to fail may take: programs that ignore the signal are killed then.
#[test]
fn an_evicted_pod_has_a_hook_and_a_signal_and_a_preempted_one_its_own_grace_period() {
    for (failure, least, most) in
        [(status::Failure::evicted("low".into()), 1, 5), (status::Failure::preempted(), 59, 65)]
    {
        with_mounts(move |crew, dir| async move {
            let api = Scripted::new(|asked| stored(asked, "6")).await;
            let hook = json!({"lifecycle": {"preStop": {"exec": {"command": ["bye"]}}}});
            let world = World::new(&crew, api, dir, pod(hook, json!({"terminationGracePeriodSeconds": 60})));
            world.runtime.script("a", cri::fake::Script::IgnoreStop);
            world.runtime.exec_takes(Duration::ZERO, Duration::ZERO);
            world.look().await.unwrap();
            let mut events = world.runtime.events();
            tokio::time::pause();
            let start = clock::Instant::now();
            world.kubelet.decide_failure(&world.key, "u", failure);
            world.kubelet.end_now(&world.key, "u");
            let mut ended = 0;
            while ended < 2 {
                ended += usize::from(events.recv().await.unwrap().kind == cri::EventKind::Stopped);
            }
            let took = start.elapsed().as_secs();
            assert!((least..most).contains(&took), "{took} s");
            let calls = world.runtime.calls();
            let at = |what: &str| calls.iter().position(|call| call == what);
            assert!(at("exec bye").is_some() && at("exec bye") < at("stop_container a"), "{calls:?}");
        });
    }
}

/// A pod that has failed is replaced and deleted by its controller: too early for one that works
/// on.
#[test]
fn an_evicted_or_preempted_pod_has_failed_when_its_containers_have_ended() {
    for failure in [status::Failure::evicted("low".into()), status::Failure::preempted()] {
        with_mounts(move |crew, dir| async move {
            let api = Scripted::new(|asked| stored(asked, "6")).await;
            let asks = pod(json!({}), json!({"terminationGracePeriodSeconds": 60}));
            let world = World::new(&crew, api, dir, asks);
            world.runtime.script("a", cri::fake::Script::IgnoreStop);
            world.look().await.unwrap();
            let mut events = world.runtime.events();
            let reason = failure.reason.clone();
            world.kubelet.decide_failure(&world.key, "u", failure);
            world.look().await.unwrap();
            let written = world.written().unwrap();
            assert_ne!(written["phase"], "Failed", "{reason}");
            assert!(!written["conditions"].to_string().contains("DisruptionTarget"), "{written}");
            assert!(world.kubelet.is_ending(&world.key, "u"));
            tokio::time::pause();
            let mut ended = 0;
            while ended < 2 {
                ended += usize::from(events.recv().await.unwrap().kind == cri::EventKind::Stopped);
            }
            world.look().await.unwrap();
            let written = world.written().unwrap();
            assert_eq!((&written["phase"], &written["reason"]), (&json!("Failed"), &json!(reason)));
        });
    }
}

/// Its image was being pulled while the other container was ended, for example.
#[test]
fn an_evicted_pod_has_not_failed_while_a_container_runs_that_started_late() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let world = World::new(&crew, api, dir, pod(json!({}), json!({})));
        world.look().await.unwrap();
        world.kubelet.decide_failure(&world.key, "u", status::Failure::evicted("low".into()));
        world.kubelet.end_now(&world.key, "u");
        world.ended().await;
        let sandbox = world.runtime.list_pod_sandboxes().await.unwrap().remove(0);
        let (name, image) = ("a".to_string(), "nginx".to_string());
        let late = cri::ContainerConfig { name, image, attempt: 1, ..cri::ContainerConfig::default() };
        let late = world.runtime.create_container(&sandbox.id, late).await.unwrap();
        world.runtime.start_container(&late).await.unwrap();
        world.look().await.unwrap();
        let phase = world.written().map(|written| written["phase"].clone());
        assert_ne!(phase, Some(json!("Failed")), "a controller would replace what still runs");
        world.ended().await;
        let all = world.runtime.list_containers().await.unwrap();
        assert!(all.iter().all(|c| c.state != ContainerState::Running), "{all:?}");
        world.look().await.unwrap();
        let written = world.written().unwrap();
        assert_eq!((&written["phase"], &written["reason"]), (&json!("Failed"), &json!("Evicted")));
    });
}

/// The kubelet before was killed while the runtime started the container, and the runtime goes on
/// with that: it would run in a pod that has failed.
#[test]
fn a_pod_that_fails_or_has_failed_loses_a_container_that_may_still_start() {
    let is_late = json!({"phase": "Pending", "startTime": "2020-01-01T00:00:00Z"});
    for status in [is_late, json!({"phase": "Failed"})] {
        with_mounts(move |crew, dir| async move {
            let api = Scripted::new(|asked| stored(asked, "6")).await;
            let mut asks = pod(json!({}), json!({"activeDeadlineSeconds": 1}));
            asks["status"] = status.clone();
            let world = World::new(&crew, api, dir, asks);
            world.make_container().await;
            world.look().await.unwrap();
            let left = world.runtime.list_containers().await.unwrap();
            assert!(left.is_empty(), "{status}: {left:?}");
            let phase = world.written().map(|written| written["phase"].clone());
            let is_news = status["phase"] == "Pending";
            assert_eq!(phase, is_news.then(|| json!("Failed")), "{status}");
        });
    }
}

#[test]
fn a_critical_pod_starts_after_those_that_go_for_it_have_ended() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let hook = json!({"preStop": {"exec": {"command": ["bye"]}}});
        let large = json!({"resources": {"requests": {"cpu": "1500m"}}, "lifecycle": hook});
        let world = World::new(&crew, api, dir, pod(large.clone(), json!({})));
        world.runtime.exec_takes(Duration::ZERO, Duration::ZERO);
        world.look().await.unwrap();
        assert_eq!(world.starts("a"), 1);
        let mut critical = pod(large, json!({"priority": 2_000_000_000}));
        critical["metadata"] =
            json!({"name": "c", "namespace": "kube-system", "uid": "v", "resourceVersion": "7"});
        let critical = read(critical);
        world.kubelet.pods.show(critical.clone());
        world.kubelet.sync(Key::of(&critical), None).await.unwrap();
        let calls = world.runtime.calls();
        let at = |what: &str| calls.iter().rposition(|call| call.starts_with(what));
        let (first, second) = (at("stop_container a"), at("stop_container b"));
        let sandbox = at("run_pod_sandbox");
        assert!(first.is_some() && first < sandbox && second.is_some() && second < sandbox, "{calls:?}");
        assert!(at("exec bye").is_some() && at("exec bye") < first, "{calls:?}");
        assert_eq!(world.starts("a"), 2, "{calls:?}");
    });
}

/// What ends the pod looks at the decision once more, and a pod that takes the name of another is
/// not meant.
#[tokio::test]
async fn a_decision_keeps_its_first_reason_until_the_end_is_over() {
    let (crew, dir) = (Crew::new("test"), tempfile::tempdir().unwrap());
    let api = Scripted::new(|asked| stored(asked, "6")).await;
    let world = World::new(&crew, api, dir.path().into(), pod(json!({}), json!({})));
    let (kubelet, key) = (&world.kubelet, &world.key);
    let reason = |uid: &str| kubelet.decided_failure(key, uid).map(|failure| failure.reason);
    kubelet.decide_failure(key, "u", status::Failure::preempted());
    kubelet.decide_failure(key, "u", status::Failure::evicted("low".into()));
    assert_eq!((reason("u").as_deref(), reason("v")), (Some(status::PREEMPTING), None));
    kubelet.end_now(key, "u");
    assert!(kubelet.is_ending(key, "u") && !kubelet.is_ending(key, "v"));
    kubelet.forget_decided_failure(key, "u");
    assert!(reason("u").is_some());
    world.ended().await;
    kubelet.forget_decided_failure(key, "v");
    assert!(reason("u").is_some());
    kubelet.forget_decided_failure(key, "u");
    assert_eq!(reason("u"), None);
    crew.kill();
}
