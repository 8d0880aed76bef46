//! How containers end: in which order, with how much time, and what the Event says.

use super::kubelet::Kubelet;
use super::memory::PodMemory;
use crate::container::kept_definition;
use crate::decide::{is_turn, sidecars};
use crate::error::Error;
use crate::probe::Kind;
use crate::specs::{reference, spec_of};
use crate::view::Why;
use client::Key;
use cri::{self, Container, ContainerState, Sandbox};
use k8s_openapi::api::core::v1::{Container as Spec, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Event};
use tokio_util::sync::CancellationToken;

/// The time that is left for the stop signal, also when a hook or the containers before took the
/// whole grace period: upstream's `minimumGracePeriodInSeconds`.
const MINIMUM_GRACE: Duration = Duration::from_secs(2);

/// The grace period of a pod that was deleted by force, or replaced while no kubelet looked: the
/// least that upstream gives (`calculateEffectiveGracePeriod`).
pub(super) const FORCED_GRACE: Duration = Duration::from_secs(1);

/// The grace period of an evicted pod: upstream's `immediateEvictionGracePeriodSeconds`. Its hooks
/// have to be done by then, and its programs get their stop signal and [`MINIMUM_GRACE`].
pub(super) const EVICTION_GRACE: Duration = Duration::from_secs(1);

/// The pause before a container that could not be stopped is stopped again; doubled each time up to
/// [`STOP_AGAIN_MAX`].
const STOP_AGAIN: Duration = Duration::from_millis(100);
const STOP_AGAIN_MAX: Duration = Duration::from_secs(10);

/// A sidecar looks again whether it is its turn to end, if no event of the runtime tells.
const TURN: Duration = Duration::from_secs(10);

/// Returns a grace period of the API; a negative one is zero.
pub(super) fn seconds(value: Option<i64>) -> Option<Duration> {
    value.map(|s| Duration::from_secs(u64::try_from(s).unwrap_or(0)))
}

/// Returns the grace period that the pod asks for.
pub(super) fn own_grace(pod: &Pod) -> Duration {
    let own = pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds);
    seconds(own).unwrap_or(Duration::from_secs(30))
}

/// A container that is ended.
pub(super) struct EndingContainer {
    /// For Events.
    pub(super) about: ObjectReference,
    /// Its definition, if it is known.
    pub(super) spec: Option<Spec>,
    pub(super) id: String,
    pub(super) name: String,
    sandbox_id: String,
    /// The address of its pod.
    pub(super) ip: Option<IpAddr>,
    /// The pod that ends with it, whose containers end in order. `None`: it ends alone.
    whole: Option<Arc<Pod>>,
}

impl EndingContainer {
    fn new(
        pod: &Pod,
        sandboxes: &[Sandbox],
        container: &Container,
        whole: Option<Arc<Pod>>,
    ) -> EndingContainer {
        let init = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten());
        let init = init.into_iter().any(|c| c.name == container.name);
        EndingContainer {
            about: reference(pod, Some((&container.name, init))),
            spec: spec_of(pod, &container.name).cloned().or_else(|| kept_definition(container)),
            id: container.id.clone(),
            name: container.name.clone(),
            sandbox_id: container.sandbox_id.clone(),
            ip: sandboxes.iter().find(|s| s.id == container.sandbox_id).and_then(|s| s.ip).map(IpAddr::from),
            whole,
        }
    }

    /// Returns a reference to its pod, for Events that name no container.
    pub(super) fn of_pod(&self) -> ObjectReference {
        ObjectReference { field_path: None, ..self.about.clone() }
    }
}

/// How a container is to end.
pub(super) struct Manner {
    /// When the container is killed at the latest, but for [`MINIMUM_GRACE`].
    pub deadline: clock::Instant,
    /// The message of the Event.
    pub message: String,
    /// The container ends together with its pod, in the order of its kind.
    pub in_order: bool,
    /// The cause of its end, for Events and records.
    pub cause: Option<Cause>,
}

/// Returns how long a container that is ended while its pod lives on may take, and what the Event
/// says. A container's own restart policy counts before that of its pod; its restart rules do not,
/// since they are about an exit code. Of sidecars the Event says no more than that. Source:
/// `computePodActions` and `computeInitContainerActions` upstream.
///
/// ```text
/// web, pod's policy Always   Container web failed liveness probe, will be restarted
/// web, its own is Never      Container web failed liveness probe
/// proxy, a sidecar           Init container proxy failed liveness probe
/// ```
pub(super) fn reason(pod: &Pod, name: &str, why: Why) -> (Duration, String) {
    let (mut grace, spec) = (own_grace(pod), spec_of(pod, name));
    let of_pod = pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref());
    let policy = spec.and_then(|s| s.restart_policy.as_deref()).or(of_pod);
    let mut init = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten());
    let (what, restarts) = match init.any(|c| c.name == name) {
        true => ("Init container", ""),
        false => ("Container", ", will be restarted"),
    };
    let message = match why {
        Why::Changed => format!("{what} {name} definition changed{restarts}"),
        Why::Failed(kind) => {
            let probe = spec.and_then(|spec| Kind::of(kind, spec));
            grace = seconds(probe.and_then(|p| p.termination_grace_period_seconds)).unwrap_or(grace);
            let restarts = if policy == Some("Never") { "" } else { restarts };
            format!("{what} {name} failed {} probe{restarts}", kind.word())
        }
        Why::Over => {
            // Also if another kubelet began to end it.
            let status = pod.status.as_ref().filter(|s| s.phase.as_deref() == Some("Failed"));
            if status.and_then(|s| s.reason.as_deref()) == Some("Evicted") {
                grace = EVICTION_GRACE;
            }
            format!("Stopping container {name}")
        }
        Why::Lost => format!("Stopping container {name}"),
        Why::Hook => "FailedPostStartHook".to_string(),
    };
    (grace, message)
}

impl Kubelet {
    /// Ends a container in the background: its preStop hook, the stop signal, SIGKILL at
    /// `deadline`. If it is ending anyway and no later than that, nothing is to be done.
    pub(super) fn stop(
        self: &Arc<Self>,
        key: &Key,
        pod: &Pod,
        sandboxes: &[Sandbox],
        container: &Container,
        manner: Manner,
        memory: &mut PodMemory,
    ) {
        let Manner { deadline, message, in_order, cause } = manner;
        let known = memory.stopping.get(&container.id).copied();
        if known.is_some_and(|known| known <= deadline) {
            return;
        }
        memory.stopping.insert(container.id.clone(), deadline);
        let whole = in_order.then(|| Arc::new(pod.clone()));
        let one = EndingContainer::new(pod, sandboxes, container, whole);
        let (kubelet, key) = (self.clone(), key.clone());
        self.crew.spawn(async move {
            kubelet.end(&key, &one, deadline, message, &cause).await;
            kubelet.queue.add(key, cause);
        });
    }

    /// Ends a container and waits for that: its preStop hook, its turn, the stop signal, SIGKILL at
    /// `deadline`. Whatever orders the end of a container once more, its hook runs once, and an
    /// earlier deadline leaves it the time until then.
    ///
    /// Of a grace period of 30 s the hook `sleep 5` leaves 25 s for the program between the stop
    /// signal and SIGKILL. A hook that takes all 30 s leaves [`MINIMUM_GRACE`]: the program is
    /// asked in any case before it is killed. Upstream: `killContainer`.
    async fn end(
        &self,
        key: &Key,
        one: &EndingContainer,
        deadline: clock::Instant,
        message: String,
        cause: &Option<Cause>,
    ) {
        let start = clock::Instant::now();
        let grace = deadline.saturating_duration_since(start);
        let (hook, is_first) = match self.ending().entry(one.id.clone()) {
            Entry::Occupied(known) => (known.get().clone(), false),
            Entry::Vacant(new) => (new.insert(CancellationToken::new()).clone(), true),
        };
        if is_first {
            let _over = hook.drop_guard();
            self.recorder.normal(&one.about, "Killing", message, cause.clone());
            self.run_pre_stop(key, one, grace, cause).await;
        } else {
            let _ = tokio::time::timeout(grace, hook.cancelled()).await; // it has no longer now
        }
        if let Some(pod) = &one.whole {
            self.wait_for_turn(pod, one, deadline).await;
        }
        let left = grace.saturating_sub(start.elapsed()).max(MINIMUM_GRACE);
        self.stop_until_done(&one.about, &one.id, &one.name, left, cause).await;
        self.ending().remove(&one.id);
        self.emit(Event::Stop { container: one.name.clone() }, key, start, cause);
    }

    /// Locks the containers whose end has begun, by id, each with what is cancelled when its hook
    /// is over.
    fn ending(&self) -> parking_lot::MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.ending.lock()
    }

    /// Waits until the containers that end before this one have ended, or its time is over.
    async fn wait_for_turn(&self, pod: &Pod, one: &EndingContainer, deadline: clock::Instant) {
        if !sidecars(pod).contains(&one.name.as_str()) {
            return;
        }
        let mut events = self.config.runtime.events(); // before the look: an end in between is not missed
        loop {
            if let Ok(mut all) = self.config.runtime.list_containers().await {
                all.retain(|c| c.sandbox_id == one.sandbox_id && c.state == ContainerState::Running);
                let running: Vec<&str> = all.iter().map(|c| c.name.as_str()).collect();
                if is_turn(pod, &one.name, &running) {
                    return;
                }
            }
            let left = deadline.saturating_duration_since(clock::Instant::now());
            let next = clock::limit(left.min(TURN), events.recv()).await;
            let is_closed = matches!(next, Some(Err(tokio::sync::broadcast::error::RecvError::Closed)));
            if left.is_zero() || is_closed {
                return;
            }
        }
    }

    /// Returns the pod with this uid as it was last seen, or its names alone.
    pub(super) fn last_known(&self, key: &Key, uid: &str) -> Arc<Pod> {
        let is_it = |pod: &Arc<Pod>| pod.metadata.uid.as_deref() == Some(uid);
        let gone = || self.gone().get(key).cloned().filter(is_it);
        self.pod(key).filter(is_it).or_else(gone).unwrap_or_else(|| {
            let metadata = ObjectMeta {
                namespace: Some(key.namespace.clone()),
                name: Some(key.name.clone()),
                uid: Some(uid.into()),
                ..ObjectMeta::default()
            };
            Arc::new(Pod { metadata, ..Pod::default() })
        })
    }

    /// Ends the containers of a sandbox whose pod is no more, with their preStop hooks if it is
    /// known which it had, and [`FORCED_GRACE`].
    ///
    /// # Errors
    /// The runtime does not say what runs.
    pub(super) async fn end_stranger(&self, key: &Key, sandbox: &Sandbox) -> Result<(), Error> {
        let pod = self.last_known(key, &sandbox.pod.uid);
        self.end_all(key, &pod, std::slice::from_ref(sandbox), FORCED_GRACE).await
    }

    /// Ends what runs in the sandboxes of a pod, all of it in this time but for [`MINIMUM_GRACE`]
    /// for each container, and waits for that.
    ///
    /// # Errors
    /// The runtime does not say what runs.
    pub(super) async fn end_all(
        &self,
        key: &Key,
        pod: &Arc<Pod>,
        sandboxes: &[Sandbox],
        grace: Duration,
    ) -> Result<(), Error> {
        let mut running = self.config.runtime.list_containers().await?;
        running
            .retain(|c| c.state == ContainerState::Running && sandboxes.iter().any(|s| s.id == c.sandbox_id));
        let deadline = clock::deadline(grace);
        let ended = running.iter().map(async |container| {
            let one = EndingContainer::new(pod, sandboxes, container, Some(pod.clone()));
            let message = format!("Stopping container {}", container.name);
            self.end(key, &one, deadline, message, &None).await;
        });
        futures::future::join_all(ended).await;
        Ok(())
    }

    /// Stops a container, again and again while the runtime fails: nothing else would order it once
    /// more, and its pod would stay Terminating.
    async fn stop_until_done(
        &self,
        about: &ObjectReference,
        id: &str,
        name: &str,
        grace: Duration,
        cause: &Option<Cause>,
    ) {
        let mut pause = STOP_AGAIN;
        let mut left = grace;
        loop {
            let start = clock::Instant::now();
            let error = match self.config.runtime.stop_container(id, left).await {
                Ok(()) | Err(cri::Error::NotFound(_)) => return,
                Err(error) => error,
            };
            let message = format!("error killing pod: failed to stop container {name:?}: {}", error.line());
            self.recorder.warning(about, "FailedKillPod", message, cause.clone());
            clock::pause(pause).await;
            pause = (pause * 2).min(STOP_AGAIN_MAX);
            left = left.saturating_sub(start.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evicted_pod_has_a_second_whichever_kubelet_ends_it() {
        let pod = |reason: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "spec": {"containers": [{"name": "c"}], "terminationGracePeriodSeconds": 300},
                "status": {"phase": "Failed", "reason": reason},
            }))
            .unwrap()
        };
        let grace = |reason: &str, why| super::reason(&pod(reason), "c", why).0;
        let _scale = clock::pin_scale(20); // a program does not end faster
        assert_eq!(grace("Evicted", Why::Over), Duration::from_secs(1));
        let whole = Duration::from_secs(300);
        for other in ["DeadlineExceeded", "Preempting"] {
            assert_eq!([grace(other, Why::Over), grace("Evicted", Why::Changed)], [whole; 2]);
        }
    }

    /// As upstream, of a postStart hook and of a preStop hook (`handlers.go`).
    #[test]
    fn the_event_of_a_hook_that_was_sent_in_plain_http_is_about_its_pod() {
        let (pod, state) = (Pod::default(), ContainerState::Running);
        let one = EndingContainer::new(&pod, &[], &crate::decide::tests::container("a", 0, state, 0), None);
        assert!(one.about.field_path.is_some() && one.of_pod() == reference(&pod, None));
    }

    /// Its pod was deleted by force while no kubelet ran.
    #[test]
    fn a_container_whose_pod_is_not_known_has_its_hook() {
        let hooked: Spec = serde_json::from_value(serde_json::json!({
            "name": "a", "image": "nginx", "ports": [{"name": "http", "containerPort": 80}],
            "lifecycle": {"preStop": {"httpGet": {"port": "http"}}, "postStart": {"sleep": {"seconds": 1}}},
        }))
        .unwrap();
        let known = |spec: &Spec| {
            let volumes = crate::container::Volumes::new();
            let made = crate::container::config(&Pod::default(), spec, 0, vec![], &volumes, None).unwrap();
            let running = crate::decide::tests::container("a", 0, ContainerState::Running, 0);
            let container = Container { annotations: made.annotations, ..running };
            EndingContainer::new(&Pod::default(), &[], &container, None).spec
        };
        let kept = known(&hooked).unwrap();
        let pre_stop = |spec: &Spec| spec.lifecycle.clone().and_then(|lifecycle| lifecycle.pre_stop);
        assert_eq!((pre_stop(&kept), &kept.ports), (pre_stop(&hooked), &hooked.ports));
        let mut long = hooked.clone();
        long.ports.as_mut().unwrap()[0].name = Some("x".repeat(32 << 10));
        assert!(known(&long).is_none() && known(&Spec { lifecycle: None, ..hooked }).is_none());
    }

    #[test]
    fn the_event_of_a_failed_probe_says_whether_the_container_is_restarted() {
        let pod: Pod = serde_json::from_value(serde_json::json!({"spec": {
            "restartPolicy": "Never",
            "initContainers": [{"name": "s", "restartPolicy": "Always"}],
            "containers": [{"name": "a", "restartPolicy": "OnFailure"}, {"name": "b"}],
        }}))
        .unwrap();
        let message = |name: &str, why| super::reason(&pod, name, why).1;
        let failed = Why::Failed(Kind::Liveness);
        assert_eq!(message("a", failed), "Container a failed liveness probe, will be restarted");
        assert_eq!(message("b", failed), "Container b failed liveness probe");
        assert_eq!(message("s", failed), "Init container s failed liveness probe");
        assert_eq!(message("b", Why::Changed), "Container b definition changed, will be restarted");
        assert_eq!(message("s", Why::Changed), "Init container s definition changed");
    }
}
