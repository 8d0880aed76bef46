use super::*;
use crate::decide::tests::container;
use crate::pods::tests::{NODE, PODS, config};
use client::Backoff;
use client::testing::Scripted;
use cri::fake::FakeRuntime;
use rng::Rng;
use serde_json::{Value, json};

/// Probes that are asked an hour after the container's start.
fn pod(more: Value) -> Pod {
    let probe = json!({"exec": {"command": ["true"]}, "initialDelaySeconds": 3600});
    let probed = json!({"name": "a", "readinessProbe": probe, "livenessProbe": probe});
    let mut pod = json!({
        "metadata": {"name": "p", "namespace": "default", "uid": "u"},
        "spec": {"containers": [probed, {"name": "b"}]},
    });
    pod.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(pod).unwrap()
}

async fn prober(crew: &Crew) -> Prober {
    let api = Scripted::new(|_| None).await;
    let runtime = FakeRuntime::new(NODE, PODS, Rng::seeded(1));
    let config = Arc::new(config(&api.client, &runtime, "/nowhere".into()));
    let recorder = Recorder::new(crew, &config.client, "kubelet", "n1");
    let pause = Duration::from_secs(1);
    let queue = WorkQueue::retrying(crew, Backoff { first: pause, longest: pause });
    Prober::new(&config, crew, &recorder, &queue)
}

#[tokio::test(start_paused = true)]
async fn a_period_is_the_cluster_s_time_but_no_program_is_asked_without_a_pause() {
    let rested = async |seconds, took| {
        let start = clock::Instant::now();
        clock::pause(Duration::from_millis(took)).await;
        wait_for_period(start, Duration::from_secs(seconds)).await;
        start.elapsed().as_millis()
    };
    assert_eq!(rested(10, 0).await, 10_000);
    assert_eq!(rested(10, 4_000).await, 10_000, "the answer's time is part of the period");
    assert_eq!(rested(10, 11_000).await, 11_000, "a late answer is followed by a question");
    let _scale = clock::pin_scale(20);
    assert_eq!([rested(10, 0).await, rested(10, 100).await, rested(10, 700).await], [500, 500, 700]);
    assert_eq!(rested(1, 10).await, 200, "never more than five times a second");
    assert_eq!(rested(1, 60).await, 200, "also after an answer that took longer than the period");
}

#[tokio::test]
async fn probes_live_as_long_as_their_container_and_liveness_ends_with_the_deletion() {
    let crew = Crew::new("test");
    let prober = prober(&crew).await;
    let (key, mut pod) = (Key::new("default", "p"), pod(json!({})));
    let mut running = container("a", 0, ContainerState::Running, 0);
    (running.started_at, running.created_at) = (Some(clock::now()), clock::now());
    let bare = container("b", 0, ContainerState::Running, 0);
    let all = [running, bare];
    let results = prober.probe_running(&key, &pod, &all, None);
    assert_eq!(results.probed["a"], Probed { started: None, ready: Some(false) });
    assert_eq!(results.probed.len(), 1, "b has no probes");
    prober.note(&key, "a-0", |findings| findings.probed.ready = Some(true));
    assert_eq!(prober.probe_running(&key, &pod, &all, None).probed["a"].ready, Some(true));
    let tokens = || {
        let watched = prober.watched();
        let one = &watched["a-0"];
        (one.end.clone(), one.leaving.clone())
    };
    let (end, leaving) = tokens();
    pod.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(clock::now()));
    prober.probe_running(&key, &pod, &all, None);
    assert!(leaving.is_cancelled() && !end.is_cancelled(), "readiness is probed until the end");
    prober.probe_running(&key, &pod, &[container("a", 0, ContainerState::Exited, 0)], None);
    assert!(end.is_cancelled() && prober.watched().is_empty());
    // The next attempt has probes of its own, which go when the pod is gone.
    pod.metadata.deletion_timestamp = None;
    let next = container("a", 1, ContainerState::Running, 0);
    prober.probe_running(&key, &pod, &[next], None);
    let end = prober.watched()["a-1"].end.clone();
    prober.forget("another");
    prober.end_startup_and_liveness("another");
    let leaving = prober.watched()["a-1"].leaving.clone();
    assert!(!end.is_cancelled() && !leaving.is_cancelled());
    prober.end_startup_and_liveness("u"); // its time is over, say
    assert!(!end.is_cancelled() && leaving.is_cancelled());
    prober.forget("u");
    assert!(end.is_cancelled() && prober.watched().is_empty());
    // Another component wrote that the pod has failed.
    pod.status = serde_json::from_value(json!({"phase": "Failed"})).unwrap();
    for _ in 0..2 {
        prober.probe_running(&key, &pod, &[container("a", 2, ContainerState::Running, 0)], None);
    }
    assert!(prober.watched()["a-2"].leaving.is_cancelled());
    crew.kill();
}

/// The probes of container `a` of this pod.
fn container_probes(prober: &Prober, pod: &Pod) -> ContainerProbes {
    ContainerProbes {
        prober: prober.clone(),
        key: Key::of(pod),
        about: reference(pod, Some(("a", false))),
        spec: spec_of(pod, "a").unwrap().clone(),
        has_started: false,
        id: "a-0".into(),
        started_at: clock::now(),
        pod_ip: Some(IpAddr::from([10, 244, 1, 2])),
        leaving: CancellationToken::new(),
    }
}

#[tokio::test]
async fn a_probe_that_could_not_be_asked_says_nothing_of_its_container() {
    let crew = Crew::new("test");
    let prober = prober(&crew).await;
    let answer = async |probe: Value| {
        let mut pod = pod(json!({}));
        let probe: k8s_openapi::api::core::v1::Probe = serde_json::from_value(probe).unwrap();
        pod.spec.as_mut().unwrap().containers[0].liveness_probe = Some(probe.clone());
        let probes = container_probes(&prober, &pod);
        let action = Action::of_probe(&probe, &probes.spec).transpose().unwrap();
        probes.ask(Kind::Liveness, &action, Numbers::of(&probe)).await
    };
    assert_eq!(answer(json!({"httpGet": {"port": "no-such-name"}})).await, None);
    assert_eq!(answer(json!({"tcpSocket": {"port": 0}})).await, None);
    // A server that cannot be reached is an answer.
    assert_eq!(answer(json!({"tcpSocket": {"port": 80}})).await, Some(false));
    assert_eq!(answer(json!({"httpGet": {"port": 80, "host": "no.such.host"}})).await, Some(false));
    crew.kill();
}

/// Its program may have removed by now what the startup probe looks for.
#[tokio::test(start_paused = true)]
async fn a_container_that_started_before_the_kubelet_is_not_asked_again_whether_it_has() {
    let crew = Crew::new("test");
    let prober = prober(&crew).await;
    let asked = async |has_started: bool| {
        let mut pod = pod(json!({}));
        let refused = json!({"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 1});
        let a = &mut pod.spec.as_mut().unwrap().containers[0];
        a.startup_probe = serde_json::from_value(refused).unwrap();
        let probes = ContainerProbes { has_started, ..container_probes(&prober, &pod) };
        clock::timeout(Duration::from_secs(60), probes.run()).await
    };
    assert_eq!(asked(false).await, Some(()), "it has failed, so nothing else is asked");
    assert_eq!(asked(true).await, None, "the other probes go on");
    crew.kill();
}

#[test]
fn what_was_ready_before_a_restart_of_the_kubelet_stays_so_until_a_probe_answers() {
    let of = |id: &str| {
        let status = json!([{"name": "a", "image": "", "imageID": "", "restartCount": 0, "ready": true,
            "started": true, "containerID": format!("ropewalk://{id}")}]);
        let mut pod = pod(json!({"status": {"containerStatuses": status}}));
        let spec = &mut pod.spec.as_mut().unwrap().containers[0];
        spec.startup_probe = spec.readiness_probe.clone();
        let spec = spec.clone();
        let found = at_first(&pod, &spec, &container("a", 0, ContainerState::Running, 0));
        (found.started, found.ready)
    };
    assert_eq!(of("a-0"), (Some(true), Some(true)));
    assert_eq!(of("before"), (Some(false), Some(false)), "that was another container");
}
