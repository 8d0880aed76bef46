//! The edge, with a runtime that only remembers what it was asked and an API server that says what
//! the test wants.

mod admits;
mod ends;
mod goes;
mod lacks;
mod starts;
mod volumes;

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

    async fn terminate(&self, pod: &Pod, memory: &mut PodMemory) -> Result<Outcome, Error> {
        self.kubelet.terminate(PodWork { key: &self.key, pod, cause: &None }, memory).await
    }

    /// Makes a sandbox for the pod, and in it its first container, which is not started.
    async fn make_container(&self) {
        let pod = cri::PodId { namespace: "default".into(), name: "p".into(), uid: "u".into() };
        let config = cri::SandboxConfig { pod, ..cri::SandboxConfig::default() };
        let sandbox = self.runtime.run_pod_sandbox(config).await.unwrap();
        let (name, image) = ("a".to_string(), "nginx".to_string());
        let config = cri::ContainerConfig { name, image, ..cri::ContainerConfig::default() };
        self.runtime.create_container(&sandbox.id, config).await.unwrap();
    }

    /// Waits while the end of the pod is under way that was decided.
    async fn ended(&self) {
        loop {
            let ended = self.kubelet.failing_ended.notified(); // before the look: none is missed
            if !self.kubelet.is_ending(&self.key, "u") {
                return;
            }
            ended.await;
        }
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

/// A pod of two containers; `of_first` is more of the first one, `more` more of the pod's spec. The
/// first one mounts all volumes, unless it has mounts of its own.
fn pod(of_first: Value, more: Value) -> Value {
    let volumes = more["volumes"].as_array().into_iter().flatten();
    let mounts: Vec<Value> = volumes.map(|v| json!({"name": v["name"], "mountPath": "/v"})).collect();
    let mut first = json!({"name": "a", "image": "nginx", "volumeMounts": mounts});
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
        ("deleted by force", |kubelet, pod| kubelet.pods.show_deleted(pod)),
        ("replaced by another of its name", |kubelet, mut pod| {
            (pod.metadata.uid, pod.metadata.resource_version) = (Some("v".into()), Some("9".into()));
            kubelet.pods.show(pod);
        }),
        ("being deleted", |kubelet, mut pod| {
            pod.metadata.resource_version = Some("9".into());
            let now = clock::now();
            pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
            kubelet.pods.show(pod);
        }),
        ("preempted", |kubelet, pod| {
            kubelet.decide_failure(&Key::of(&pod), "u", status::Failure::preempted())
        }),
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
            assert_eq!(world.starts("b"), 0, "started in a pod that is {what}");
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
        world.kubelet.pods.on(move |change| kubelet.note_change(change));
        world.runtime.exec_takes(Duration::ZERO, Duration::ZERO);
        world.look().await.unwrap();
        let mut next = read(other);
        (next.metadata.uid, next.metadata.resource_version) = (Some("v".into()), Some("9".into()));
        world.kubelet.pods.show(next);
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
        let written = world.written().unwrap();
        let states: Vec<&Value> =
            written["containerStatuses"].as_array().unwrap().iter().map(|c| &c["state"]).collect();
        assert_eq!(states[0]["waiting"]["reason"], "CreateContainerConfigError");
        assert!(states[1]["running"].is_object(), "{written}");
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
        world.kubelet.pods.show(read(opened));
        world.look().await.unwrap();
        let status = world.written().expect("the gate changes the status");
        assert_eq!(ready(&status), "True");
        let conditions = status["conditions"].as_array().unwrap();
        assert!(conditions.iter().any(|c| c["type"] == "x/y" && c["status"] == "True"), "{status}");
    });
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
