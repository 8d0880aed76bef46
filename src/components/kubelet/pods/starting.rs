//! From a step to a running container: image, environment, start, postStart hook.

use super::failure_events::FailedStep;
use super::kubelet::Kubelet;
use super::memory::PodMemory;
use crate::container::{self, Volumes};
use crate::error::Error;
use crate::specs::{go_duration, is_ephemeral, reference};
use crate::view::View;
use crate::{back_off, bounds, oom, termination_message};
use client::Key;
use cri::{Container, ContainerState, Sandbox};
use k8s_openapi::api::core::v1::{Container as Spec, Pod};
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Event};

/// Returns the reason of the Event about something that the pod asked for and its container does
/// not have. The runtime says it as a text.
fn not_honored(warning: &str) -> &'static str {
    let about = |word: &str| warning.to_lowercase().contains(word);
    match () {
        () if about("capabilit") => "CapabilityNotGranted",
        () if about("limit") => "LimitNotEnforced",
        () if about("user") || about("group") => "UserNotAvailable",
        () => "NotHonored",
    }
}

/// Sets the pause before the container's next restart, after one that ended. An attempt with a new
/// definition begins without one: it has not failed yet. Nor does the first attempt set one if it
/// was ended for a probe: upstream counts the ends that came before ([`PodMemory::pauses`]).
fn lengthen_backoff(
    key: &Key,
    spec: &Spec,
    is_init: bool,
    previous: Option<&Container>,
    memory: &mut PodMemory,
) {
    let Some(previous) = previous else { return };
    let counts = previous.attempt > 0 || !memory.given_up.contains(&previous.id);
    if View::changed(spec, is_init, previous) {
        memory.backoffs.remove(&spec.name);
    } else if previous.state == ContainerState::Exited && counts {
        let before = memory.backoffs.get(&spec.name).copied();
        let pause = back_off::next_pause(before, back_off::run_time(previous));
        tracing::debug!(pod = %key, container = spec.name, pause = %go_duration(pause), "restarting");
        memory.backoffs.insert(spec.name.clone(), pause);
    }
}

/// Notes why a container that was made cannot be run, and returns when to look again: at once, so
/// that this is reported first. The runtime shows the container as ended with `StartError`, the
/// status the kubelet's reason until the back-off begins. As upstream that is the one of a
/// container that crashed: the first restart does not wait. An ephemeral container is not started
/// again.
fn cannot_run(pod: &Pod, spec: &Spec, why: String, memory: &mut PodMemory) -> Option<Duration> {
    if is_ephemeral(pod, &spec.name) {
        return None;
    }
    memory.waiting.insert(spec.name.clone(), ("RunContainerError".into(), why));
    Some(Duration::ZERO)
}

/// A container that is to be made and started.
pub(super) struct NewContainer<'a> {
    pub pod: &'a Pod,
    /// The definition of the container in the pod.
    pub spec: &'a Spec,
    /// The pod lists it among its init containers: it is one, or a sidecar.
    pub is_init: bool,
    /// The number of this run; it is the container's `restartCount`.
    pub attempt: u32,
    /// Where it runs: the pod's newest sandbox.
    pub sandbox: &'a Sandbox,
    /// The attempt before this one, if the runtime still has it.
    pub previous: Option<&'a Container>,
    /// The pod's volumes, which are made.
    pub volumes: &'a Volumes,
}

impl Kubelet {
    /// Makes a container and runs it: pulls its image if need be, reads its environment, and waits
    /// for its postStart hook. Returns the time after which to look again; `None`: it was started.
    ///
    /// # Errors
    /// The container cannot be made: an Event and its waiting reason say why. Or the runtime or the
    /// API does not answer.
    pub(super) async fn start_container(
        self: &Arc<Self>,
        key: &Key,
        new: &NewContainer<'_>,
        memory: &mut PodMemory,
        cause: &Option<Cause>,
    ) -> Result<Option<Duration>, Error> {
        let &NewContainer { pod, spec, is_init, attempt, sandbox, previous, volumes } = new;
        if let Some(wait) = self.pull(key, new, memory, cause).await? {
            return Ok(Some(wait));
        }
        let about = reference(pod, Some((&spec.name, is_init)));
        let failed = |memory: &mut PodMemory, reason: &str, why: String| {
            if memory.note_waiting(&spec.name, reason, &why) {
                self.recorder.warning(&about, "Failed", format!("Error: {why}"), cause.clone());
            }
            Error::Container { container: spec.name.clone(), why }
        };
        if let Err(why) = bounds::check(pod, &spec.name) {
            return Err(failed(memory, "CreateContainerConfigError", why));
        }
        let variables = match self.variables(pod, spec, sandbox, memory).await? {
            Ok(variables) => variables,
            Err(why) => return Err(failed(memory, "CreateContainerConfigError", why)),
        };
        let pod_dir = self.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default());
        let message = termination_message::mount(&pod_dir)
            .and_then(|()| termination_message::prepare(&pod_dir, spec, attempt));
        let message = message.map_err(|error| failed(memory, "CreateContainerConfigError", error.line()))?;
        let mut config = match container::config(pod, spec, attempt, variables, volumes, message.as_ref()) {
            Ok(config) => config,
            Err(why) => return Err(failed(memory, "CreateContainerConfigError", why)),
        };
        config.resources.oom_score_adj = oom::oom_score_adj(pod, spec, self.config.capacity.memory_bytes);
        let start = clock::Instant::now();
        let made = self.config.runtime.create_container(&sandbox.id, config).await;
        let id = match made.map_err(|error| container::refusal(pod, spec, &error)) {
            Ok(id) => id,
            Err((reason, why)) => return Err(failed(memory, reason, why)),
        };
        self.recorder.normal(&about, "Created", "Container created", cause.clone());
        lengthen_backoff(key, spec, is_init, previous, memory);
        memory.waiting.remove(&spec.name);
        memory.failure_events.retain(|what| *what != FailedStep::Start(spec.name.clone()));
        if let Err(error) = self.config.runtime.start_container(&id).await {
            self.recorder.warning(&about, "Failed", format!("Error: {}", error.line()), cause.clone());
            return Ok(cannot_run(pod, spec, error.line(), memory));
        }
        for warning in self.config.runtime.container_status(&id).await.map(|c| c.warnings).unwrap_or_default()
        {
            self.recorder.warning(&about, not_honored(&warning), warning, cause.clone());
        }
        self.recorder.normal(&about, "Started", "Container started", cause.clone());
        self.emit(Event::Start { container: spec.name.clone(), attempt }, key, start, cause);
        let hook = spec.lifecycle.as_ref().and_then(|l| l.post_start.as_ref());
        if let Some(hook) = hook
            && let Err(why) = self.run_post_start(key, new, &id, hook).await
        {
            tracing::debug!(pod = %key, container = spec.name, why, "postStart hook failed");
            self.recorder.warning(&about, "FailedPostStartHook", "PostStartHook failed", cause.clone());
            memory.waiting.insert(spec.name.clone(), ("PostStartHookError".into(), why));
            self.stop_after_failed_post_start(key, pod, id, sandbox, memory, cause).await?;
        }
        Ok(None)
    }

    /// Returns whether the pod is being deleted, is gone, was replaced by another of its name, or
    /// has to fail. Nothing of that ends a static pod.
    pub(super) fn has_to_end(&self, key: &Key, uid: &str) -> bool {
        if self.statics.contains_key(key) {
            return false;
        }
        let lives =
            |pod: &Pod| pod.metadata.uid.as_deref() == Some(uid) && pod.metadata.deletion_timestamp.is_none();
        !self.pods.get(key).is_some_and(|pod| lives(&pod)) || self.failing_pods().contains(uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::tests;

    /// As upstream: no attempt had ended when the kubelet ended this one.
    #[test]
    fn the_first_end_for_a_probe_begins_no_back_off() {
        let pod = tests::pod("Always", &[], &["a"]);
        let spec = &pod.spec.as_ref().unwrap().containers[0];
        let pause = |attempt: u32, is_given_up: bool| {
            let ended = tests::container("a", attempt, ContainerState::Exited, 137);
            let mut memory = PodMemory::default();
            memory.given_up.extend(is_given_up.then(|| ended.id.clone()));
            lengthen_backoff(&Key::new("n", "p"), spec, false, Some(&ended), &mut memory);
            memory.backoffs.get("a").copied()
        };
        let first = Some(back_off::FIRST_PAUSE);
        assert_eq!([pause(0, true), pause(0, false), pause(1, true)], [None, first, first]);
    }

    #[test]
    fn what_is_not_honored_has_a_reason_that_scripts_can_look_for() {
        assert_eq!(
            not_honored("capability MKNOD is not granted: no control group here can refuse devices"),
            "CapabilityNotGranted"
        );
        assert_eq!(not_honored("the memory limit is not enforced: no cgroup"), "LimitNotEnforced");
        assert_eq!(not_honored("runAsUser 1000 cannot be had here"), "UserNotAvailable");
        assert_eq!(not_honored("something else"), "NotHonored");
    }
}
