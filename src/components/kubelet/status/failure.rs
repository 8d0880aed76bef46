//! Reasons for which the kubelet ends a pod for good, and the pod's status then. Pure.

use super::{OWN, condition, has_containers};
use clock::Timestamp;
use k8s_openapi::api::core::v1::{PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Reason of a pod that is ended to make room for a critical one.
pub(crate) const PREEMPTING: &str = "Preempting";

/// The reason for which the kubelet ends a pod for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub reason: String,
    /// The message of the Event.
    pub message: String,
    pub kind: FailureKind,
}

/// The cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The pod itself.
    Own,
    /// The pod itself: it uses more of the disk than it may. It is evicted as if the node were
    /// short of disk, but that is no disruption, as upstream (`evictPod` without a condition).
    Excess,
    /// The node: the pod's condition `DisruptionTarget` says so.
    Disruption,
    /// The pod was not admitted, so it never started.
    Rejection,
}

impl Failure {
    pub(crate) fn deadline_exceeded() -> Failure {
        let message = "Pod was active on the node longer than the specified deadline".to_string();
        Failure { reason: "DeadlineExceeded".into(), message, kind: FailureKind::Own }
    }

    pub(crate) fn evicted(message: String) -> Failure {
        Failure { reason: "Evicted".into(), message, kind: FailureKind::Disruption }
    }

    /// Returns the failure of a pod that exceeds a limit of its own.
    pub(crate) fn excessive(message: String) -> Failure {
        Failure { reason: "Evicted".into(), message, kind: FailureKind::Excess }
    }

    pub(crate) fn preempted() -> Failure {
        let message = "Preempted in order to admit critical pod".to_string();
        Failure { reason: PREEMPTING.into(), message, kind: FailureKind::Disruption }
    }

    pub(crate) fn rejected(reason: impl Into<String>, message: String) -> Failure {
        Failure { reason: reason.into(), message, kind: FailureKind::Rejection }
    }

    /// Makes a status that of a failed pod, which nothing that its containers do later changes
    /// back. A condition that was False before keeps the time of its last transition
    /// (`updateLastTransitionTime` in `pkg/kubelet/status/status_manager.go`).
    pub(crate) fn mark(&self, status: &mut PodStatus, now: Timestamp, generation: Option<i64>) {
        status.phase = Some("Failed".into());
        let message = match self.kind {
            FailureKind::Rejection => format!("Pod was rejected: {}", self.message),
            FailureKind::Own | FailureKind::Excess | FailureKind::Disruption => self.message.clone(),
        };
        (status.reason, status.message) = (Some(self.reason.clone()), Some(message));
        if self.kind == FailureKind::Rejection && !has_containers(status) {
            return leave_containers_out(status);
        }
        let conditions = status.conditions.get_or_insert_default();
        let mut set = |mut new: PodCondition| {
            (new.last_transition_time, new.observed_generation) = (Some(Time(now)), generation);
            match conditions.iter_mut().find(|c| c.type_ == new.type_) {
                Some(old) => {
                    if old.status == new.status {
                        new.last_transition_time = old.last_transition_time.take();
                    }
                    *old = new; // in its place: the next status has the same order
                }
                None => conditions.push(new),
            }
        };
        for kind in ["Ready", "ContainersReady"] {
            set(condition(kind, false, Some("PodFailed".into()), None));
        }
        if self.kind == FailureKind::Disruption {
            let reason = Some("TerminationByKubelet".into());
            let message = match self.reason.as_str() {
                PREEMPTING => "Pod was preempted by Kubelet to accommodate a critical pod.".to_string(),
                _ => self.message.clone(),
            };
            set(condition("DisruptionTarget", true, reason, Some(message)));
        }
    }
}

/// Removes containers that will never be made from the status (upstream: `rejectPod`): kubectl then
/// shows the pod's reason, and not `ContainerCreating`.
pub(super) fn leave_containers_out(status: &mut PodStatus) {
    status.container_statuses = None;
    status.init_container_statuses = None;
    status.ephemeral_container_statuses = None;
    (status.host_ip, status.host_ips) = (None, None);
    (status.pod_ip, status.pod_ips) = (None, None);
    status.conditions.get_or_insert_default().retain(|c| !OWN.contains(&c.type_.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pod that never was ready was not made unready by its end.
    #[test]
    fn a_condition_that_does_not_change_keeps_its_time_and_its_place() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let of = |kind: &str, is_true| {
            let mut condition = condition(kind, is_true, None, None);
            condition.last_transition_time = Some(Time(at(1)));
            condition
        };
        let before =
            [("Initialized", true), ("Ready", false), ("ContainersReady", true), ("PodScheduled", true)];
        let all = before.map(|(kind, is_true)| of(kind, is_true));
        let mut status = PodStatus { conditions: Some(all.to_vec()), ..PodStatus::default() };
        Failure::evicted("too much".into()).mark(&mut status, at(5), Some(2));
        let all = status.conditions.unwrap();
        let time_of = |c: &PodCondition| (c.type_.clone(), c.last_transition_time.as_ref().map(|t| t.0));
        let wanted = [
            ("Initialized", 1),
            ("Ready", 1),
            ("ContainersReady", 5),
            ("PodScheduled", 1),
            ("DisruptionTarget", 5),
        ];
        let wanted = wanted.map(|(kind, second)| (kind.to_string(), Some(at(second))));
        assert_eq!(all.iter().map(time_of).collect::<Vec<_>>(), wanted);
        assert!(all[1].reason.as_deref() == Some("PodFailed") && all[1].observed_generation == Some(2));
    }
}
