//! Which reading of the Node object a pod is judged by, and when the node's pressure counts.

use super::*;
use std::sync::OnceLock;

fn made_at(name: &str, second: u32, more: Value) -> Pod {
    let mut made = pod(json!({}), more);
    let at = format!("2026-01-02T03:04:{second:02}Z");
    let metadata = json!({"name": name, "uid": name, "creationTimestamp": at});
    made["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    read(made)
}

/// The kubelet reads the Node object for the pod `late`. While the answer is on its way, still
/// without the label `disk`, the node gets that label, and the scheduler binds the older pod
/// `early` because of it. So `early` must not be judged by this answer.
#[tokio::test]
async fn a_pod_is_judged_by_a_node_that_was_read_after_the_pod_was_seen() {
    let early = made_at("early", 1, json!({"nodeSelector": {"disk": "ssd"}}));
    let late = made_at("late", 2, json!({}));
    let watching: Arc<OnceLock<Arc<Kubelet>>> = Arc::default();
    let (known, bound) = (watching.clone(), early.clone());
    let api = Scripted::new(move |asked| {
        if asked.line != "GET /api/v1/nodes/n1" {
            return stored(asked, "6");
        }
        let kubelet = known.get().unwrap();
        let has_label = kubelet.pods.get(&Key::of(&bound)).is_some();
        kubelet.pods.show(bound.clone());
        let labels = if has_label { json!({"disk": "ssd"}) } else { json!({}) };
        Some((200, json!({"metadata": {"name": "n1", "labels": labels}})))
    });
    let (crew, dir) = (Crew::new("test"), tempfile::tempdir().unwrap());
    let late_json = serde_json::to_value(&late).unwrap();
    let World { api, kubelet, .. } = World::new(&crew, api.await, dir.path().into(), late_json);
    assert!(watching.set(kubelet.clone()).is_ok());

    let judged = async |pod: &Pod| {
        let mut memory = PodMemory { uid: pod.metadata.uid.clone().unwrap(), ..PodMemory::default() };
        let (failure, _) = kubelet.judge(&Key::of(pod), pod, &mut memory).await.unwrap();
        failure.map(|failure| failure.reason)
    };
    assert_eq!(judged(&late).await, None);
    let known = kubelet.admissions.lock().known(&early);
    assert_eq!(known, None, "the node that was read for `late` says nothing about `early`");
    assert_eq!(judged(&early).await, None);
    let reads = api.take().iter().filter(|asked| asked.line == "GET /api/v1/nodes/n1").count();
    assert_eq!(reads, 2, "`early` has its own look at the node");
    crew.kill();
}

/// `undo` takes the label away while the pod is on its way to the node, and then the binding. The
/// next label binds the same pod to the same node again.
#[tokio::test]
async fn a_pod_that_is_bound_to_its_node_once_more_is_judged_once_more() {
    let bound = made_at("crate", 1, json!({"nodeSelector": {"disk": "ssd"}}));
    let label = Arc::new(OnceLock::new());
    let has = label.clone();
    let api = Scripted::new(move |asked| {
        if asked.line != "GET /api/v1/nodes/n1" {
            return stored(asked, "6");
        }
        let labels = if has.get().is_some() { json!({"disk": "ssd"}) } else { json!({}) };
        Some((200, json!({"metadata": {"name": "n1", "labels": labels}})))
    });
    let (crew, dir) = (Crew::new("test"), tempfile::tempdir().unwrap());
    let json = serde_json::to_value(&bound).unwrap();
    let World { kubelet, .. } = World::new(&crew, api.await, dir.path().into(), json);
    let noting = kubelet.clone();
    kubelet.pods.on(move |change| noting.note_change(change));

    let judged = async || {
        let mut memory = PodMemory { uid: "crate".into(), ..PodMemory::default() };
        let (failure, _) = kubelet.judge(&Key::of(&bound), &bound, &mut memory).await.unwrap();
        failure.map(|failure| failure.reason)
    };
    assert_eq!(judged().await.as_deref(), Some("NodeAffinity"));
    kubelet.pods.show_deleted(bound.clone());
    assert!(label.set(()).is_ok());
    kubelet.pods.show(bound.clone());
    assert_eq!(judged().await, None, "the label is there now");
    crew.kill();
}

/// Upstream asks once, when the pod comes. No API server has taken the report of its start, so the
/// informer's pod has not started.
#[tokio::test]
async fn an_admitted_pod_is_not_rejected_when_memory_gets_low_before_its_start_is_reported() {
    let (first, second) = (made_at("first", 1, json!({})), made_at("second", 2, json!({})));
    let api = Scripted::new(|asked| match asked.line == "GET /api/v1/nodes/n1" {
        true => Some((200, json!({"metadata": {"name": "n1"}}))),
        false => stored(asked, "6"),
    });
    let (crew, dir) = (Crew::new("test"), tempfile::tempdir().unwrap());
    let json = serde_json::to_value(&first).unwrap();
    let World { kubelet, .. } = World::new(&crew, api.await, dir.path().into(), json);
    let judged = async |pod: &Pod, memory: &mut PodMemory| {
        let (failure, _) = kubelet.judge(&Key::of(pod), pod, memory).await.unwrap();
        failure.map(|failure| failure.reason)
    };
    let [mut of_first, mut of_second] = [&first, &second]
        .map(|pod| PodMemory { uid: pod.metadata.uid.clone().unwrap(), ..PodMemory::default() });
    assert_eq!(judged(&first, &mut of_first).await, None);
    kubelet.pressures.send_modify(|now| now.memory = true);
    assert_eq!(judged(&first, &mut of_first).await, None, "it runs");
    assert_eq!(judged(&second, &mut of_second).await.as_deref(), Some("Evicted"));
    crew.kill();
}
