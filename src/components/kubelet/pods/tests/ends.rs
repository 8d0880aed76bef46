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
