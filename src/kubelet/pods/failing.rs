//! Pods that the kubelet itself ends for good: they were active for too long, or use more of the disk than they may.

use super::{Kubelet, Memory, reference};
use crate::client::Key;
use crate::clock;
use crate::kubelet::status::{self, Failure};
use crate::kubelet::{Error, eviction};
use crate::tap::Cause;
use k8s_openapi::api::core::v1::Pod;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pure: how much is left of `activeDeadlineSeconds`, which counts from the pod's start on this node. Zero: it is over.
fn time_left(pod: &Pod, now: clock::Timestamp) -> Option<Duration> {
    let deadline = u64::try_from(pod.spec.as_ref()?.active_deadline_seconds?).ok()?;
    let started = pod.status.as_ref()?.start_time.as_ref()?.0;
    let active = Duration::from_secs_f64(status::seconds_between(started, now).max(0.0));
    Some(clock::scaled(Duration::from_secs(deadline)).saturating_sub(active))
}

/// Pure: a pod that was put on a node past the scheduler (`spec.nodeName`) is refused when the node has its number of pods, as upstream's admission does.
/// Those that started here come first, then the older ones.
fn out_of_pods(pod: &Pod, on_node: &[Arc<Pod>], most: u32) -> Option<Failure> {
    let started = |p: &Pod| p.status.as_ref().is_some_and(|s| s.start_time.is_some());
    let ended = |p: &Pod| {
        let phase = p.status.as_ref().and_then(|s| s.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    };
    let rank = |p: &Pod| {
        let created = p.metadata.creation_timestamp.as_ref().map(|t| t.0);
        (!started(p), created, p.metadata.uid.clone())
    };
    if started(pod) {
        return None;
    }
    let own = rank(pod);
    let used = on_node.iter().filter(|other| !ended(other) && rank(other) < own).count();
    (used >= most as usize).then(|| Failure {
        reason: "OutOfpods",
        message: format!(
            "Node didn't have enough resource: pods, requested: 1, used: {used}, capacity: {most}"
        ),
        disruption: false,
    })
}

impl Kubelet {
    /// Whether the pod has to fail now, and if not, when to look again.
    pub(super) async fn judge(
        &self,
        key: &Key,
        pod: &Pod,
        memory: &mut Memory,
    ) -> (Option<Failure>, Option<Duration>) {
        let mut again = None;
        match time_left(pod, clock::now()) {
            Some(left) if left.is_zero() => return (Some(Failure::deadline_exceeded()), None),
            left => again = again.or(left),
        }
        if self.statics.contains_key(key) {
            return (None, again);
        }
        let refused = || out_of_pods(pod, &self.pods.list(), self.config.capacity.pods);
        if let Some(failure) = self.sentence_of(key, pod, &memory.uid).or_else(refused) {
            return (Some(failure), None);
        }
        if !eviction::has_limits(pod) {
            return (None, again);
        }
        if memory.measured.is_none_or(|at| at.elapsed() >= clock::scaled(eviction::EVERY)) {
            let (pod_dir, log_dir) =
                (self.pod_dir(&memory.uid), self.log_dir(&key.namespace, &key.name, &memory.uid));
            let recent = Instant::now().checked_sub(clock::scaled(eviction::EVERY) / 2);
            let since = recent.unwrap_or_else(Instant::now);
            let used = self.measure(&memory.uid, &pod_dir, &log_dir, since).await;
            memory.measured = Some(clock::Instant::now());
            if let Some(why) = used.and_then(|used| eviction::exceeded(pod, &used)) {
                return (Some(Failure::evicted(why)), None);
            }
        }
        (None, Some(again.map_or(eviction::EVERY, |a: Duration| a.min(eviction::EVERY))))
    }

    /// Writes that the pod has failed, after which its containers are ended. One that is evicted is ended first, without a grace period, as upstream: it may
    /// go on to write meanwhile.
    pub(super) async fn fail(
        &self,
        key: &Key,
        pod: &Pod,
        memory: &mut Memory,
        cause: &Option<Cause>,
        failure: Failure,
    ) -> Result<(), Error> {
        if failure.disruption {
            self.kill(key, &memory.uid).await?;
            memory.volumes_gone = true;
        }
        let (sandboxes, containers) = self.seen(key, &memory.uid).await?;
        let mut status = self.status_of(key, pod, &sandboxes, &containers, memory);
        failure.mark(&mut status, clock::now(), pod.metadata.generation);
        let (reason, message) = (failure.reason, failure.message.clone());
        match failure.disruption {
            true => self.recorder.warning(&reference(pod, None), reason, message, cause.clone()),
            false => self.recorder.normal(&reference(pod, None), reason, message, cause.clone()),
        }
        self.report(key, pod, memory, cause, status).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_takes_as_many_pods_as_it_says() {
        let pod = |name: &str, second: u8, status: serde_json::Value| -> Arc<Pod> {
            let created = format!("2026-01-02T03:04:{second:02}Z");
            let meta = serde_json::json!({"name": name, "uid": name, "creationTimestamp": created});
            Arc::new(serde_json::from_value(serde_json::json!({"metadata": meta, "status": status})).unwrap())
        };
        let runs = serde_json::json!({"phase": "Running", "startTime": "2026-01-02T03:04:00Z"});
        let over = serde_json::json!({"phase": "Succeeded", "startTime": "2026-01-02T03:04:00Z"});
        let (new, none) = (serde_json::json!({"phase": "Pending"}), serde_json::json!({}));
        let all = [pod("a", 9, runs), pod("b", 1, over), pod("c", 2, new), pod("d", 3, none)];
        let refused = |at: usize, most: u32| out_of_pods(&all[at], &all, most).map(|f| f.message);
        assert_eq!([refused(0, 0), refused(2, 2), refused(3, 3)], [None, None, None]);
        assert!(refused(2, 1).unwrap().ends_with("used: 1, capacity: 1"));
        assert!(refused(3, 2).unwrap().ends_with("used: 2, capacity: 2"));
    }

    #[test]
    fn the_deadline_counts_from_the_start() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "spec": {"containers": [], "activeDeadlineSeconds": 10},
            "status": {"startTime": "2026-01-02T03:04:00Z"},
        }))
        .unwrap();
        let at = |text: &str| time_left(&pod, text.parse().unwrap());
        assert_eq!(at("2026-01-02T03:04:04Z"), Some(Duration::from_secs(6)));
        assert_eq!(at("2026-01-02T03:04:10Z"), Some(Duration::ZERO));
        assert_eq!(at("2026-01-02T03:03:00Z"), Some(Duration::from_secs(10)), "a clock that was put back");
        assert_eq!(time_left(&Pod::default(), clock::now()), None);
    }
}
