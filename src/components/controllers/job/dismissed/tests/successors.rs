//! Pods that the controller deletes itself have not failed.

use crate::job::TRACKING;
use crate::job::world::World;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

#[test]
fn pods_that_were_sent_away_do_not_delay_their_successors() {
    let mut w = World::new(json!({"completions": 3, "parallelism": 3}));
    w.grace = 30;
    w.settle();
    w.job.spec.as_mut().unwrap().suspend = Some(true);
    w.after(60).settle();
    w.job.spec.as_mut().unwrap().suspend = Some(false);
    let plan = w.after(1).settle();
    assert_eq!((w.pods.len(), w.made, w.counts().as_str(), plan.again), (6, 6, "3/0/0", None));
}

/// As above, with the API server between the looks.
#[tokio::test]
async fn the_controller_remembers_whom_it_sent_away() {
    use crate::shared::Shared;
    use crate::workload;
    use client::Key;
    use client::testing::Scripted;
    let job = |suspend: bool| {
        let version = if suspend { "1" } else { "2" };
        json!({"metadata": {"name": "j", "namespace": "d", "uid": "1", "resourceVersion": version},
            "spec": {"parallelism": 1, "completions": 1, "suspend": suspend, "selector": {"matchLabels": {"a": "b"}},
                "template": {"spec": {"containers": []}}}})
    };
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "1", "controller": true});
    let mut pod = json!({"metadata": {"name": "p", "namespace": "d", "uid": "p", "resourceVersion": "3",
        "labels": {"a": "b"}, "finalizers": [TRACKING], "ownerReferences": [owner]}, "status": {"phase": "Running"}});
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        line if line.contains("/jobs/j") => Some((200, job(false))),
        line if line.starts_with("POST") => Some((201, asked.body.clone())),
        line if line.ends_with("/pods/p") => Some((200, json!({"metadata": {"name": "p"}}))),
        _ => None,
    })
    .await;
    clock::pin("2026-01-01T00:00:00Z".parse().unwrap());
    let shared = Shared::fixed(&server.client);
    let (worker, key) = (workload::Driven::new(&shared), Key::new("d", "j"));
    shared.informer::<Job>().show(serde_json::from_value(job(true)).unwrap());
    shared.informer::<Pod>().show(serde_json::from_value(pod.clone()).unwrap());
    worker.look::<crate::job::Jobs>(&key).await.unwrap();
    assert!(server.lines().contains(&"DELETE /api/v1/namespaces/d/pods/p".to_string()));
    let meta = &mut pod["metadata"];
    meta["resourceVersion"] = json!("4");
    meta["finalizers"] = json!([]);
    meta["deletionTimestamp"] = json!("2026-01-01T00:00:30Z");
    meta["deletionGracePeriodSeconds"] = json!(30);
    shared.informer::<Pod>().show(serde_json::from_value(pod).unwrap());
    shared.informer::<Job>().show(serde_json::from_value(job(false)).unwrap());
    worker.look::<crate::job::Jobs>(&key).await.unwrap();
    assert!(server.lines().contains(&"POST /api/v1/namespaces/d/pods".to_string()));
}
