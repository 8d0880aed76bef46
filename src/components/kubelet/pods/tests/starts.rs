//! How containers start: images, variables, hooks, and what keeps one from its start.

use super::*;
use crate::decide::tests::sandbox;
use crate::env::{self, Sources};
use crate::pods::starting::NewContainer;
use cri::SandboxState;

/// As upstream, which asks for a container's back-off before a restart, and has none before the
/// first one (`doBackOff`).
#[test]
fn a_container_that_could_not_be_started_waits_before_its_second_restart() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let world = World::new(&crew, api, dir, pod(json!({}), json!({})));
        world.runtime.script("a", cri::fake::Script::FailStart("no such program".into()));
        for (starts, reason) in [(1, "RunContainerError"), (2, "CrashLoopBackOff")] {
            assert!(matches!(world.look().await.unwrap(), Outcome::After(_)), "it waits");
            let calls = world.runtime.calls();
            assert_eq!((world.starts("a"), world.starts("b")), (starts, 1), "{calls:?}");
            let written = world.written().unwrap();
            let first = &written["containerStatuses"][0];
            assert_eq!(first["state"]["waiting"]["reason"], reason, "{first}");
            let why = first["state"]["waiting"]["message"].as_str().unwrap();
            assert!(why.contains(if starts == 1 { "no such program" } else { "back-off 10s" }), "{why}");
            assert_eq!(first["lastState"]["terminated"]["reason"], "StartError", "{first}");
        }
    });
}

/// As upstream: the message names the hook, the container and the pod.
#[tokio::test]
async fn a_hook_that_failed_is_named_with_its_container_and_its_pod() {
    let dir = tempfile::tempdir().unwrap();
    let crew = Crew::new("test");
    let api = Scripted::new(|asked| stored(asked, "6")).await;
    let world = World::new(&crew, api, dir.path().into(), pod(json!({}), json!({})));
    let pod = read(pod(json!({}), json!({})));
    let (ready, volumes) = (sandbox("s", 0, SandboxState::Ready), crate::container::Volumes::new());
    for (hook, want) in [
        (json!({"httpGet": {"path": "/up", "port": 8080}}), "HTTP lifecycle hook (/up) for"),
        (json!({"exec": {"command": ["a", "b"]}}), "Exec lifecycle hook ([a b]) for"),
        (json!({}), "Cannot run handler: invalid handler: "),
    ] {
        let hook = serde_json::from_value(hook).unwrap();
        let spec = &pod.spec.as_ref().unwrap().containers[0];
        let (sandbox, volumes) = (&ready, &volumes);
        let work = PodWork { key: &world.key, pod: &pod, cause: &None };
        let new = NewContainer { work, spec, is_init: false, attempt: 0, sandbox, previous: None, volumes };
        let ended = world.kubelet.run_post_start(&new, "c", &hook).await;
        let why = ended.unwrap_err();
        let of = "for Container \"a\" in Pod \"p_default(u)\" failed - error: ";
        assert!(why.starts_with(want) && (!want.ends_with("for") || why.contains(of)), "{why}");
    }
}

/// As upstream since 1.35: the Event is about the container, so its text does not name it.
#[test]
fn the_events_of_a_start_have_the_words_of_upstream() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let world = World::new(&crew, api, dir, pod(json!({}), json!({})));
        world.look().await.unwrap();
        assert_eq!(world.api.event("Created").await, "Container created");
        assert_eq!(world.api.event("Started").await, "Container started");
    });
}

/// An object may have 25 Events of a type, and then one in five minutes. What fails is tried again
/// within milliseconds.
#[test]
fn tries_that_fail_leave_room_for_the_events_of_the_one_that_succeeds() {
    let from = json!({"configMapKeyRef": {"name": "c", "key": "k"}});
    let env = json!({"imagePullPolicy": "Always", "env": [{"name": "K", "valueFrom": from}]});
    let volumes = json!({"volumes": [{"name": "c", "configMap": {"name": "c"}}]});
    for (first, more, code) in
        [(env.clone(), json!({}), 404), (env, json!({}), 500), (json!({}), volumes, 404)]
    {
        with_mounts(move |crew, dir| async move {
            let there = Arc::new(AtomicBool::new(false));
            let made = there.clone();
            let api = Scripted::new(move |asked| match asked.line.ends_with("/configmaps/c") {
                true if made.load(Ordering::Relaxed) => {
                    Some((200, json!({"metadata": {"name": "c"}, "data": {"k": "v"}})))
                }
                true => refusal(code, "NotFound"),
                false => stored(asked, "6"),
            });
            let mut asks = pod(first, more);
            asks["spec"]["containers"].as_array_mut().unwrap().truncate(1);
            let world = World::new(&crew, api.await, dir, asks);
            for _ in 0..30 {
                assert!(world.look().await.is_err(), "it is tried again");
            }
            there.store(true, Ordering::Relaxed);
            world.look().await.unwrap();
            assert_eq!(world.api.event("Started").await, "Container started");
            let events = world.api.events();
            assert!(events.len() < 12, "{events:?}");
        });
    }
}

#[test]
fn another_image_does_not_wait_for_the_back_off_of_the_one_before() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let image = |image: &str, revision: &str| {
            let mut pod = pod(json!({"image": image}), json!({}));
            pod["metadata"]["resourceVersion"] = revision.into();
            pod
        };
        let world = World::new(&crew, api, dir, image("misspelt", "5"));
        world.runtime.forget_image("misspelt");
        for _ in 0..2 {
            assert!(matches!(world.look().await.unwrap(), Outcome::After(_)), "it is pulled again later");
        }
        assert_eq!((world.starts("a"), world.starts("b")), (0, 1));
        world.kubelet.pods.show(read(image("nginx", "7")));
        world.look().await.unwrap();
        assert_eq!(world.starts("a"), 1);
        let reasons = || {
            let of_a = |event: &Asked| event.body["involvedObject"]["fieldPath"] == "spec.containers{a}";
            let events = world.api.events().into_iter().filter(of_a);
            events.map(|event| event.body["reason"].clone()).collect::<Vec<_>>()
        };
        world.api.until(|_| reasons().contains(&json!("Started")).then_some(())).await;
        assert!(reasons().contains(&json!("Pulled")), "that the image is there is news: {:?}", reasons());
    });
}

/// Another pod of the node has pulled it meanwhile.
#[test]
fn an_image_that_is_there_does_not_wait_for_the_back_off_of_its_pull() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let always = json!({"image": "fresh", "imagePullPolicy": "Always"});
        let world = World::new(&crew, api, dir, pod(always, json!({})));
        world.look().await.unwrap();
        assert_eq!((world.starts("a"), world.starts("b")), (1, 1));
        for container in world.runtime.list_containers().await.unwrap() {
            world.runtime.exit(&container.id, 1, "Error");
        }
        for image in ["fresh", "nginx"] {
            let failed = (Duration::from_secs(300), clock::Instant::now(), "no such host".to_string());
            world.kubelet.memories().get_mut(&world.key).unwrap().pulls.insert(image.into(), failed);
        }
        assert!(matches!(world.look().await.unwrap(), Outcome::After(_)), "one is pulled again later");
        assert_eq!((world.starts("a"), world.starts("b")), (1, 2));
    });
}

/// The look at whether it is there refuses it, before any pull.
#[test]
fn a_malformed_image_name_has_an_event_and_keeps_no_other_container_from_its_start() {
    for policy in ["IfNotPresent", "Always", "Never"] {
        with_mounts(move |crew, dir| async move {
            let api = Scripted::new(|asked| stored(asked, "6")).await;
            let malformed = json!({"image": "a b", "imagePullPolicy": policy});
            let world = World::new(&crew, api, dir, pod(malformed, json!({})));
            assert!(matches!(world.look().await.unwrap(), Outcome::After(_)), "it is looked at again");
            assert_eq!((world.starts("a"), world.starts("b")), (0, 1));
            let written = world.written().unwrap();
            let waiting = &written["containerStatuses"][0]["state"]["waiting"];
            let parse = r#"couldn't parse image name "a b": invalid reference format"#;
            let why = format!("Failed to apply default image tag \"a b\": {parse}");
            assert_eq!(*waiting, json!({"reason": "InvalidImageName", "message": why}), "{written}");
            assert_eq!(world.api.event("InspectFailed").await, why);
            assert_eq!(world.api.event("Failed").await, "Error: InvalidImageName");
        });
    }
}

/// The kubelet does not know as whom an image runs; the runtime does.
#[test]
fn a_pod_that_forbids_root_waits_with_the_reason_of_upstream() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let forbids = json!({"securityContext": {"runAsNonRoot": true}});
        let world = World::new(&crew, api, dir, pod(forbids, json!({})));
        world.look().await.unwrap_err();
        assert_eq!((world.starts("a"), world.starts("b")), (0, 1));
        let written = world.written().unwrap();
        let waiting = &written["containerStatuses"][0]["state"]["waiting"];
        assert_eq!(waiting["reason"], "CreateContainerConfigError", "{written}");
        let why = waiting["message"].as_str().unwrap();
        assert!(why.starts_with("container has runAsNonRoot and image will run as root (pod: "), "{why}");
        assert!(why.ends_with(", container: a)"), "{why}");
    });
}

/// A debugger, say, is not started a second time: its status would say for ever that its image
/// cannot be pulled.
#[test]
fn a_container_that_was_made_waits_for_its_image_no_more() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let debugger = json!({"ephemeralContainers": [{"name": "d", "image": "busybox"}]});
        let world = World::new(&crew, api, dir, pod(json!({}), debugger));
        world.runtime.script("d", cri::fake::Script::FailStart("no such program".into()));
        let mut memory = PodMemory { uid: "u".into(), ..PodMemory::default() };
        memory.waiting.insert("d".into(), ("ErrImagePull".into(), "no such host".into()));
        world.kubelet.remember(&world.key, memory);
        world.look().await.unwrap();
        let written = world.written().unwrap();
        let state = &written["ephemeralContainerStatuses"][0]["state"];
        assert_eq!(state["terminated"]["reason"], "StartError", "{written}");
    });
}

/// A program that sizes its heap by what it reads must not read the node's memory, of which its pod
/// may use a part only.
#[tokio::test]
async fn the_downward_api_gives_a_container_without_limits_those_of_its_pod() {
    let dir = tempfile::tempdir().unwrap();
    let crew = Crew::new("test");
    let api = Scripted::new(|asked| stored(asked, "6")).await;
    let field =
        |resource: &str| json!({"name": resource, "valueFrom": {"resourceFieldRef": {"resource": resource}}});
    let env = json!({"env": [field("limits.memory"), field("limits.cpu")]});
    let of = |limits: Value| read(pod(env.clone(), json!({"resources": {"limits": limits}})));
    let world = World::new(&crew, api, dir.path().into(), pod(json!({}), json!({})));
    let limits = |pod: Pod| -> Vec<String> {
        let spec = &pod.spec.as_ref().unwrap().containers[0];
        let all = env::of(spec, &world.kubelet.facts(&pod, &[]), &Sources::default(), vec![]);
        all.unwrap().into_iter().map(|(_, value)| value).collect()
    };
    let node = world.kubelet.config.capacity.allocatable();
    assert_eq!(limits(of(json!({"memory": "128Mi"}))), ["134217728", "2"]);
    assert_eq!(limits(of(json!({"memory": "0", "cpu": "1"}))), [node.memory.to_string(), "1".into()]);
}

/// As upstream: these are the words that people search for.
#[test]
fn a_volume_that_misses_a_key_says_of_which_kind_of_object() {
    let items = json!([{"key": "k", "path": "k"}]);
    let secret = json!({"name": "v", "secret": {"secretName": "o", "items": items}});
    let config_map = json!({"name": "v", "configMap": {"name": "o", "items": items}});
    for (volume, end) in [
        (secret, ": references non-existent secret key: k"),
        (config_map, ": configmap references non-existent config key: k"),
    ] {
        with_mounts(move |crew, dir| async move {
            let api = Scripted::new(|asked| match asked.line.ends_with("s/o") {
                true => Some((200, json!({"metadata": {"name": "o"}}))),
                false => stored(asked, "6"),
            });
            let world = World::new(&crew, api.await, dir, pod(json!({}), json!({"volumes": [volume]})));
            assert!(world.look().await.is_err());
            let message = world.api.event("FailedMount").await;
            assert!(message.ends_with(end), "{message}");
        });
    }
}

/// As upstream: until then it has no address.
#[test]
fn a_pod_has_its_sandbox_once_its_volumes_are_made() {
    with_mounts(|crew, dir| async move {
        let there = Arc::new(AtomicBool::new(false));
        let made = there.clone();
        let api = Scripted::new(move |asked| match asked.line.ends_with("/configmaps/c") {
            true if made.load(Ordering::Relaxed) => {
                Some((200, json!({"metadata": {"name": "c"}, "data": {"k": "v"}})))
            }
            true => refusal(404, "NotFound"),
            false => stored(asked, "6"),
        });
        let volumes = json!({"volumes": [{"name": "c", "configMap": {"name": "c"}}]});
        let world = World::new(&crew, api.await, dir, pod(json!({}), volumes));
        assert!(world.look().await.is_err(), "it is tried again");
        assert!(world.api.event("FailedMount").await.contains("configmap \"c\" not found"));
        assert!(world.runtime.list_pod_sandboxes().await.unwrap().is_empty());
        let written = world.written().unwrap();
        assert!(written["podIP"].is_null(), "{written}");
        there.store(true, Ordering::Relaxed);
        world.look().await.unwrap();
        assert_eq!((world.starts("a"), world.starts("b")), (1, 1));
        let asked = world.api.take();
        let reads = asked.iter().filter(|asked| asked.line.ends_with("/configmaps/c")).count();
        assert_eq!(reads, 1, "the sandbox and the containers have the same volumes: {asked:?}");
    });
}

#[test]
fn an_event_tells_of_the_next_sandbox_of_a_pod_that_lost_its_own() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let world = World::new(&crew, api, dir, pod(json!({}), json!({})));
        world.look().await.unwrap();
        for sandbox in world.runtime.list_pod_sandboxes().await.unwrap() {
            world.runtime.stop_pod_sandbox(&sandbox.id).await.unwrap();
        }
        world.look().await.unwrap();
        assert_eq!(world.starts("a"), 2);
        let message = world.api.event("SandboxChanged").await;
        assert_eq!(message, "Pod sandbox changed, it will be killed and re-created.");
        let all = world.api.events();
        let count = all.iter().filter(|event| event.body["reason"] == "SandboxChanged").count();
        assert_eq!(count, 1, "the first sandbox is no other one");
    });
}

/// As when a program of the machine ends the pause process: the containers run on.
#[test]
fn containers_of_a_lost_sandbox_have_their_hook_and_a_signal() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let hook = json!({"lifecycle": {"preStop": {"exec": {"command": ["bye"]}}}});
        let world = World::new(&crew, api, dir, pod(hook, json!({"restartPolicy": "OnFailure"})));
        world.runtime.exec_takes(Duration::ZERO, Duration::ZERO);
        world.look().await.unwrap();
        for sandbox in world.runtime.list_pod_sandboxes().await.unwrap() {
            world.runtime.end_pause_process(&sandbox.id);
        }
        let mut events = world.runtime.events();
        world.look().await.unwrap();
        let both = async {
            for _ in 0..2 {
                while events.recv().await.unwrap().kind != cri::EventKind::Stopped {}
            }
        };
        tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
        world.look().await.unwrap();
        let calls = world.runtime.calls();
        let at = |what: &str| calls.iter().position(|call| call.starts_with(what));
        let (hook, stop, gone) = (at("exec bye"), at("stop_container a"), at("stop_pod_sandbox"));
        assert!(hook.is_some() && hook < stop && stop < gone, "{calls:?}");
        assert_eq!((world.starts("a"), world.starts("b")), (2, 2), "although they ended with 0: {calls:?}");
    });
}

/// It runs in no other sandbox, so it does not wait for one.
#[test]
fn an_ephemeral_container_of_a_lost_sandbox_has_ended() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let debugger = json!([{"name": "d", "image": "busybox"}]);
        let more = json!({"restartPolicy": "OnFailure", "ephemeralContainers": debugger});
        let world = World::new(&crew, api, dir, pod(json!({}), more));
        world.look().await.unwrap();
        for sandbox in world.runtime.list_pod_sandboxes().await.unwrap() {
            world.runtime.end_pause_process(&sandbox.id);
        }
        let mut events = world.runtime.events();
        world.look().await.unwrap();
        let all = async {
            for _ in 0..3 {
                while events.recv().await.unwrap().kind != cri::EventKind::Stopped {}
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
        world.look().await.unwrap();
        assert_eq!((world.starts("a"), world.starts("d")), (2, 1));
        let written = world.written().unwrap();
        assert_eq!(
            written["ephemeralContainerStatuses"][0]["state"]["terminated"]["exitCode"], 0,
            "{written}"
        );
    });
}

#[test]
fn an_event_tells_of_a_hostname_that_is_too_long_for_the_kernel() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let names = json!({"subdomain": "s".repeat(40), "setHostnameAsFQDN": true});
        let world = World::new(&crew, api, dir, pod(json!({}), names));
        assert!(world.look().await.is_err(), "it is tried again");
        let message = world.api.event("FailedCreatePodSandBox").await;
        let fqdn = format!("p.{}.default.svc.cluster.local", "s".repeat(40));
        assert!(
            message.contains(&format!("FQDN {fqdn} is too long (64 characters is the max, 68")),
            "{message}"
        );
        assert_eq!(world.starts("a"), 0);
        let mut short = pod(json!({}), json!({"subdomain": "s", "setHostnameAsFQDN": true}));
        short["metadata"]["name"] = "q".into();
        let config = world.kubelet.sandbox_config(&read(short), 0, cri::Dns::default()).unwrap();
        assert_eq!(config.kernel_hostname(), "q.s.default.svc.cluster.local");
        assert_eq!(config.names(), ["q.s.default.svc.cluster.local", "q"]);
    });
}

/// The kubelet before was killed while the runtime started it, and the runtime goes on with that:
/// both attempts would run.
#[test]
fn an_attempt_that_may_still_start_goes_before_it_is_made_anew() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let world = World::new(&crew, api, dir, pod(json!({}), json!({})));
        world.make_container().await;
        world.look().await.unwrap();
        let calls = world.runtime.calls();
        let removed = calls.iter().position(|call| call == "remove_container a");
        let made = calls.iter().rposition(|call| call == "create_container a");
        assert!(removed.is_some() && removed < made, "{calls:?}");
        let mut all = world.runtime.list_containers().await.unwrap();
        all.retain(|c| c.name == "a");
        let seen: Vec<_> = all.iter().map(|c| (c.attempt, c.state)).collect();
        assert_eq!(seen, [(0, cri::ContainerState::Running)], "it is no restart");
    });
}

/// A client that follows its log would see it end.
#[tokio::test]
async fn a_container_that_is_not_started_yet_has_no_log() {
    let dir = tempfile::tempdir().unwrap();
    let crew = Crew::new("test");
    let api = Scripted::new(|asked| stored(asked, "6")).await;
    let world = World::new(&crew, api, dir.path().into(), pod(json!({}), json!({})));
    let pod = cri::PodId { namespace: "default".into(), name: "p".into(), uid: "u".into() };
    let config = cri::SandboxConfig { pod, ..cri::SandboxConfig::default() };
    let sandbox = world.runtime.run_pod_sandbox(config).await.unwrap();
    let make = async |attempt| {
        let (name, image) = ("a".to_string(), "nginx".to_string());
        let config = cri::ContainerConfig { name, image, attempt, ..cri::ContainerConfig::default() };
        world.runtime.create_container(&sandbox.id, config).await.unwrap()
    };
    let logged = async || {
        let found = world.kubelet.logged(&world.key, "a", false).await.unwrap();
        found.map(|container| container.attempt)
    };
    let first = make(0).await;
    assert_eq!(logged().await, None);
    world.runtime.start_container(&first).await.unwrap();
    assert_eq!(logged().await, Some(0));
    world.runtime.exit(&first, 1, "Error");
    make(1).await;
    assert_eq!(logged().await, Some(0), "the last words until the next run begins");
}
