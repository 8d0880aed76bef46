//! The edge, with a runtime that only remembers what it was asked and an API server that says what
//! the test wants.

use super::*;
use crate::config::Capacity;
use client::Client;
use client::testing::{Asked, Scripted, refusal};
use cni::fake::FakeFabric;
use cri::Runtime;
use cri::fake::FakeRuntime;
use rng::Rng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tap::Tap;

mod admits;
mod ends;
mod starts;

pub(crate) const NODE: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 11);
pub(crate) const PODS: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 0);

/// A kubelet that looks at a pod when the test says so.
struct World {
    api: Scripted,
    runtime: FakeRuntime,
    kubelet: Arc<Kubelet>,
    key: Key,
}

impl World {
    fn new(crew: &Crew, api: Scripted, dir: PathBuf, pod: Value) -> World {
        let (runtime, pod) = (FakeRuntime::new(NODE, PODS, Rng::seeded(1)), read(pod));
        let key = Key::of(&pod);
        let config = Arc::new(config(&api.client, &runtime, dir));
        let (pods, services) = (Informer::fixed([pod]), Informer::fixed([]));
        let pressures = watch::Sender::new(Pressures::default());
        let kubelet = Arc::new(Kubelet::new(crew, &config, pods, services, pressures));
        World { api, runtime, kubelet, key }
    }

    async fn look(&self) -> Result<Outcome, Error> {
        self.kubelet.sync(self.key.clone(), None).await
    }

    fn starts(&self, container: &str) -> usize {
        let call = format!("start_container {container}");
        self.runtime.calls().iter().filter(|c| **c == call).count()
    }

    /// The last status that was written since the last call.
    fn written(&self) -> Option<Value> {
        let mut all = self.api.take();
        all.retain(|asked| asked.line.starts_with("PATCH") && asked.line.ends_with("/status"));
        all.pop().map(|asked| asked.body["status"].clone())
    }
}

fn read(pod: Value) -> Pod {
    serde_json::from_value(pod).unwrap()
}

pub(crate) fn config(client: &Client, runtime: &FakeRuntime, dir: PathBuf) -> Config {
    Config {
        node_name: "n1".into(),
        node_ip: NODE,
        pod_cidr: "10.244.1.0/24".into(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        taints: vec![],
        capacity: Capacity { cpu_milli: 2000, memory_bytes: 1 << 30, pods_memory_bytes: 1 << 30, pods: 110 },
        client: client.clone(),
        runtime: Arc::new(runtime.clone()),
        network: FakeFabric::default().node(NODE, PODS),
        dir,
        machine: Arc::default(),
        logs: cri::LogLimits::default(),
        cluster_dns: Ipv4Addr::new(10, 96, 0, 10),
        cluster_domain: "cluster.local".into(),
        static_pods: vec![],
        tls: None,
        hosts_cluster: false,
        version: "v1.35.0".into(),
        tap: Tap::new(),
    }
}

/// A pod of two containers; `of_first` is more of the first one, `more` more of the pod's spec.
fn pod(of_first: Value, more: Value) -> Value {
    let mut first = json!({"name": "a", "image": "nginx"});
    first.as_object_mut().unwrap().extend(of_first.as_object().unwrap().clone());
    let mut spec = json!({"nodeName": "n1", "containers": [first, {"name": "b", "image": "nginx"}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"metadata": {"name": "p", "namespace": "default", "uid": "u", "resourceVersion": "5"}, "spec": spec})
}

/// Runs a test with a directory whose mounts go with the test. Only root may mount.
fn with_mounts<F: Future<Output = ()>>(test: impl FnOnce(Crew, PathBuf) -> F + Send + 'static) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    let run = move || {
        if linux::namespace::own_mounts().and_then(|()| linux::mount::make_all_private()).is_err() {
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let crew = Crew::new("test");
        runtime.block_on(test(crew.clone(), path));
        crew.kill();
    };
    std::thread::spawn(run).join().unwrap(); // a thread's own mount namespace goes with it
}

/// The pod has ended before its container was started, so no token was there that could have
/// interrupted the hook.
#[test]
fn a_hook_does_not_hold_up_a_pod_that_ended_before_it_began() {
    type End = fn(&Kubelet, Pod);
    let ends: [(&str, End); 4] = [
        ("deleted by force", |kubelet, pod| kubelet.pods.tell_gone(pod)),
        ("replaced by another of its name", |kubelet, mut pod| {
            (pod.metadata.uid, pod.metadata.resource_version) = (Some("v".into()), Some("9".into()));
            kubelet.pods.tell_of(pod);
        }),
        ("being deleted", |kubelet, mut pod| {
            pod.metadata.resource_version = Some("9".into());
            let now = clock::now();
            pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
            kubelet.pods.tell_of(pod);
        }),
        ("preempted", |kubelet, pod| kubelet.sentence(&Key::of(&pod), "u", status::Failure::preempted())),
    ];
    for (what, end) in ends {
        with_mounts(move |crew, dir| async move {
            let hook = json!({
                "lifecycle": {"postStart": {"sleep": {"seconds": 3600}}},
                "env": [{"name": "K", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}],
            });
            let hooked = pod(hook, json!({}));
            let kubelet: Arc<std::sync::OnceLock<Arc<Kubelet>>> = Arc::default();
            let (known, last) = (kubelet.clone(), read(hooked.clone()));
            let api = Scripted::new(move |asked| match asked.line.ends_with("/configmaps/c") {
                true => {
                    end(known.get().unwrap(), last.clone());
                    Some((200, json!({"metadata": {"name": "c"}, "data": {"k": "v"}})))
                }
                false => stored(asked, "6"),
            });
            let world = World::new(&crew, api.await, dir, hooked);
            assert!(kubelet.set(world.kubelet.clone()).is_ok());
            let looked = tokio::time::timeout(Duration::from_secs(20), world.look()).await;
            assert!(looked.is_ok(), "the hook holds up a pod that is {what}");
        });
    }
}

/// As `kubectl delete --force` does, or a StatefulSet whose pod was deleted so.
#[test]
fn containers_of_a_pod_that_was_deleted_by_force_have_their_hook_and_a_signal() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let hook = json!({"lifecycle": {"preStop": {"exec": {"command": ["bye"]}}}});
        let (hooked, other) = (pod(hook.clone(), json!({})), pod(hook, json!({})));
        let world = World::new(&crew, api, dir, hooked.clone());
        let kubelet = world.kubelet.clone();
        world.kubelet.pods.on(move |change| kubelet.hear(change));
        world.runtime.exec_takes(Duration::ZERO, Duration::ZERO);
        world.look().await.unwrap();
        let mut next = read(other);
        (next.metadata.uid, next.metadata.resource_version) = (Some("v".into()), Some("9".into()));
        world.kubelet.pods.tell_of(next);
        world.look().await.unwrap();
        let calls = world.runtime.calls();
        let at = |what: &str| calls.iter().position(|call| call.starts_with(what));
        let (hook, stop) = (at("exec bye"), at("stop_container a"));
        let gone = at("stop_pod_sandbox");
        assert!(hook.is_some() && hook < stop && stop < gone, "{calls:?}");
        assert!(at("stop_container b") < gone && at("stop_container b").is_some());
        assert!(world.kubelet.gone().is_empty());
        assert_eq!(world.starts("a"), 2, "the new pod runs");
    });
}

/// What the API server says of a status that is written: it has it, with this revision.
fn stored(asked: &Asked, revision: &str) -> Option<(u16, Value)> {
    let status = asked.line.starts_with("PATCH").then(|| asked.body["status"].clone())?;
    Some((200, json!({"metadata": {"name": "p", "resourceVersion": revision}, "status": status})))
}

#[test]
fn a_container_that_cannot_be_started_keeps_no_other_from_it() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| match asked.line.contains("/configmaps/missing") {
            true => refusal(404, "NotFound"),
            false => stored(asked, "6"),
        });
        let from = json!({"configMapKeyRef": {"name": "missing", "key": "k"}});
        let first = json!({"env": [{"name": "K", "valueFrom": from}]});
        let world = World::new(&crew, api.await, dir, pod(first, json!({})));
        let failed = world.look().await.unwrap_err().to_string();
        assert!(failed.contains("configmap \"missing\" not found"), "{failed}");
        assert_eq!((world.starts("a"), world.starts("b")), (0, 1));
        let told = world.written().unwrap();
        let states: Vec<&Value> =
            told["containerStatuses"].as_array().unwrap().iter().map(|c| &c["state"]).collect();
        assert_eq!(states[0]["waiting"]["reason"], "CreateContainerConfigError");
        assert!(states[1]["running"].is_object(), "{told}");
    });
}

#[test]
fn a_container_restarts_while_no_api_server_answers() {
    with_mounts(|crew, dir| async move {
        let away = Arc::new(AtomicBool::new(false));
        let gone = away.clone();
        let api = Scripted::new(move |asked| match asked.line.as_str() {
            _ if gone.load(Ordering::Relaxed) => refusal(503, "ServiceUnavailable"),
            line if line.ends_with("/configmaps/c") => {
                Some((200, json!({"metadata": {"name": "c"}, "data": {"k": "v"}})))
            }
            line if line.ends_with("/persistentvolumeclaims/d") => Some((
                200,
                json!({"metadata": {"name": "d", "namespace": "n"}, "spec": {"volumeName": "v"}, "status": {"phase": "Bound"}}),
            )),
            line if line.ends_with("/persistentvolumes/v") => {
                let spec =
                    json!({"hostPath": {"path": "/srv/v"}, "claimRef": {"name": "d", "namespace": "n"}});
                Some((200, json!({"metadata": {}, "spec": spec})))
            }
            _ => stored(asked, "6"),
        });
        let first = json!({
            "env": [{"name": "K", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}],
            "volumeMounts": [{"name": "c", "mountPath": "/c"}, {"name": "d", "mountPath": "/d"}],
        });
        let volumes = json!({"volumes": [
            {"name": "c", "configMap": {"name": "c"}}, {"name": "d", "persistentVolumeClaim": {"claimName": "d"}},
        ]});
        let world = World::new(&crew, api.await, dir, pod(first, volumes));
        world.look().await.unwrap();
        assert_eq!((world.starts("a"), world.starts("b")), (1, 1));
        away.store(true, Ordering::Relaxed);
        for container in world.runtime.list_containers().await.unwrap() {
            world.runtime.exit(&container.id, 1, "Error");
        }
        assert!(world.look().await.is_err(), "the status could not be written, which is tried again");
        assert_eq!((world.starts("a"), world.starts("b")), (2, 2));
    });
}

/// Each has a writable layer and a log.
#[test]
fn attempts_do_not_pile_up_while_no_api_server_answers() {
    with_mounts(|crew, dir| async move {
        let away = Arc::new(AtomicBool::new(false));
        let gone = away.clone();
        let api = Scripted::new(move |asked| match gone.load(Ordering::Relaxed) {
            true => refusal(503, "ServiceUnavailable"),
            false => stored(asked, "6"),
        });
        let world = World::new(&crew, api.await, dir, pod(json!({}), json!({})));
        world.look().await.unwrap();
        away.store(true, Ordering::Relaxed);
        for _ in 0..6 {
            let all = world.runtime.list_containers().await.unwrap();
            let running = all.iter().find(|c| c.name == "a" && c.state == ContainerState::Running);
            world.runtime.exit(&running.unwrap().id, 1, "Error");
            world.kubelet.memories().get_mut(&world.key).unwrap().backoffs.clear();
            assert!(world.look().await.is_err(), "the status could not be written");
        }
        assert_eq!(world.starts("a"), 7);
        let left = world.runtime.list_containers().await.unwrap();
        assert_eq!(left.iter().filter(|c| c.name == "a").count(), 2, "what runs, and the one before");
    });
}

/// The pause after the failed report may be longer than what is left of the back-off.
#[test]
fn a_report_that_fails_keeps_the_look_at_the_end_of_a_back_off() {
    with_mounts(|crew, dir| async move {
        let away = Arc::new(AtomicBool::new(false));
        let gone = away.clone();
        let api = Scripted::new(move |asked| match gone.load(Ordering::Relaxed) {
            true => refusal(503, "ServiceUnavailable"),
            false => stored(asked, "6"),
        });
        let world = World::new(&crew, api.await, dir, pod(json!({}), json!({})));
        world.look().await.unwrap();
        away.store(true, Ordering::Relaxed);
        // It restarts at once after its first end, and backs off after the second.
        for _ in 0..2 {
            let all = world.runtime.list_containers().await.unwrap();
            let running = all.iter().find(|c| c.name == "a" && c.state == ContainerState::Running);
            world.runtime.exit(&running.unwrap().id, 1, "Error");
            assert!(world.look().await.is_err(), "the status could not be written");
        }
        assert_eq!(world.starts("a"), 2);
        tokio::time::pause();
        let next = clock::timeout(Duration::from_secs(60), world.kubelet.queue.next()).await;
        assert_eq!(next.map(|(key, _)| key), Some(world.key.clone()), "the back-off is 10 seconds");
    });
}

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
fn a_gate_that_was_opened_after_the_last_write_makes_the_pod_ready() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "10")).await;
        let gated = pod(json!({}), json!({"readinessGates": [{"conditionType": "x/y"}]}));
        let world = World::new(&crew, api, dir, gated.clone());
        world.look().await.unwrap();
        let ready = |status: &Value| {
            let all = status["conditions"].as_array().unwrap();
            all.iter().find(|c| c["type"] == "Ready").unwrap()["status"].clone()
        };
        let mut status = world.written().unwrap();
        assert_eq!(ready(&status), "False");
        status["conditions"].as_array_mut().unwrap().push(json!({"type": "x/y", "status": "True"}));
        let mut opened = gated;
        opened["metadata"]["resourceVersion"] = "11".into();
        opened["status"] = status;
        world.kubelet.pods.tell_of(read(opened));
        world.look().await.unwrap();
        let status = world.written().expect("the gate changes the status");
        assert_eq!(ready(&status), "True");
        let conditions = status["conditions"].as_array().unwrap();
        assert!(conditions.iter().any(|c| c["type"] == "x/y" && c["status"] == "True"), "{status}");
    });
}

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
        world.kubelet.pods.tell_of(read(old));
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
        world.kubelet.pods.tell_of(read(deleted));
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
fn a_sandbox_that_could_not_be_stopped_is_told_with_its_cause_and_stopped_again() {
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
        let told = world.api.event("FailedKillPod").await;
        assert!(told.ends_with("cannot take the network down: device or resource busy"), "{told}");
        world.kubelet.terminate(&world.key, &deleted, &mut memory, &None).await.unwrap();
        assert!(world.api.take().iter().any(|asked| asked.line.starts_with("DELETE")));
    });
}

#[test]
fn a_volume_that_cannot_be_brought_up_to_date_is_told_and_the_pod_runs_on() {
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
        world.kubelet.pods.tell_of(read(with_map("b", "7"))); // a volume may show labels: it is looked at at once
        assert!(world.look().await.is_ok());
        let told = world.api.event("FailedMount").await;
        assert!(told.contains("configmap \"c\" not found"), "{told}");
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
        let told = world.api.event("FailedMount").await;
        assert!(told.contains("configmap \"c\" not found"), "{told}");
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

/// A pod that went while no kubelet looked is known from its sandbox alone.
#[tokio::test(start_paused = true)]
async fn a_runtime_that_fails_at_the_start_is_asked_again_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let crew = Crew::new("test");
    let api = Scripted::new(|asked| stored(asked, "6")).await;
    let world = World::new(&crew, api, dir.path().into(), pod(json!({}), json!({})));
    let left = cri::PodId { namespace: "default".into(), name: "left".into(), uid: "l".into() };
    let config = cri::SandboxConfig { pod: left, ..cri::SandboxConfig::default() };
    world.runtime.run_pod_sandbox(config).await.unwrap();
    world.runtime.fail_lists(3);
    world.kubelet.look_at_everything().await;
    for expected in [world.key.clone(), Key::new("default", "left")] {
        let next = clock::timeout(Duration::from_secs(1), world.kubelet.queue.next()).await;
        assert_eq!(next.map(|(key, _)| key), Some(expected));
    }
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
        let (sandboxes, containers) = kubelet.seen(&world.key, "u").await.unwrap();
        kubelet.forget_old("u", &sandboxes, &containers).await.unwrap();
        let (sandboxes, containers) = kubelet.seen(&world.key, "u").await.unwrap();
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
    world.kubelet.remember(&world.key, Memory { uid: "bare".into(), ..Memory::default() });
    let trash = dir.path().join("trash");
    std::fs::write(&trash, "").unwrap();
    assert!(world.kubelet.clear_strangers(&world.key, "u").await.is_err());
    assert!(old.exists());
    std::fs::remove_file(&trash).unwrap();
    assert!(world.kubelet.clear_strangers(&world.key, "u").await.unwrap());
    assert!(!old.exists() && !bare.exists());
    assert!(world.runtime.list_pod_sandboxes().await.unwrap().is_empty());
}

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
        let told = world.written().unwrap();
        assert_eq!((&told["phase"], &told["reason"]), (&json!("Failed"), &json!("NodeAffinity")));
        assert!(told["containerStatuses"].is_null(), "kubectl would show ContainerCreating: {told}");
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
        let told = world.written().unwrap();
        assert_eq!((&told["phase"], &told["reason"]), (&json!("Failed"), &json!("Evicted")));
        assert_eq!(told["message"], "Pod was rejected: The node had condition: [MemoryPressure]. ");
        assert!(!told["conditions"].to_string().contains("DisruptionTarget"), "{told}");
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
            let mut memory = Memory { uid, ..Memory::default() };
            world.kubelet.judge(&key, pod, &mut memory).await.unwrap().0.is_some()
        };
        world.kubelet.pods.tell_of(other.clone());
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
            world.kubelet.sentence(&world.key, "u", failure);
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
fn a_preempted_pod_has_failed_when_its_containers_have_ended() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let world = World::new(&crew, api, dir, pod(json!({}), json!({"terminationGracePeriodSeconds": 60})));
        world.runtime.script("a", cri::fake::Script::IgnoreStop);
        world.look().await.unwrap();
        world.kubelet.sentence(&world.key, "u", status::Failure::preempted());
        tokio::time::pause();
        world.look().await.unwrap();
        assert_ne!(world.written().unwrap()["phase"], "Failed");
        assert!(world.kubelet.is_ending(&world.key, "u"));
        world.kubelet.preempted_end().await;
        world.look().await.unwrap();
        let told = world.written().unwrap();
        assert_eq!((&told["phase"], &told["reason"]), (&json!("Failed"), &json!("Preempting")));
    });
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
        world.kubelet.pods.tell_of(critical.clone());
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
