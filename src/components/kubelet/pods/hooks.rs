//! Lifecycle hooks of containers, postStart and preStop: when they run, and what ends them. What a
//! hook does is in [`crate::action`].

use super::PodWork;
use super::ending::{self, EndingContainer};
use super::kubelet::Kubelet;
use super::memory::PodMemory;
use super::starting::NewContainer;
use crate::action::{Action, FALLBACK, Target};
use crate::error::Error;
use crate::specs::{long_name, reference};
use crate::view::Why;
use api::gostr::quote;
use client::Key;
use cri::Sandbox;
use k8s_openapi::api::core::v1::{Container as Spec, LifecycleHandler};
use parking_lot::MutexGuard;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tap::Cause;
use tokio_util::sync::CancellationToken;

/// A hook has no time limit of its own but that of the pod's end.
const HOOK_MAX: Duration = Duration::from_secs(24 * 3600);

impl Kubelet {
    /// Runs the postStart hook of a container that has just started. The hook runs beside the
    /// container's own program and holds up the pod until it is done, or until the pod has to end.
    ///
    /// # Errors
    /// The hook failed: the message of `PostStartHookError` in the container's status.
    pub(super) async fn run_post_start(
        &self,
        new: &NewContainer<'_>,
        id: &str,
        hook: &LifecycleHandler,
    ) -> Result<(), String> {
        let &NewContainer { work: PodWork { key, pod, .. }, spec, sandbox, .. } = new;
        let action = Action::of_hook(hook)?;
        let interrupt = CancellationToken::new();
        self.hooks().insert(key.clone(), interrupt.clone());
        if self.has_to_end(key, pod.metadata.uid.as_deref().unwrap_or_default()) {
            interrupt.cancel(); // that came before the token was there
        }
        let agent = self.config.agent("kube-lifecycle");
        let target = self.hook_target(spec, id, sandbox.ip.map(IpAddr::from), &agent);
        let answer = tokio::select! {
            biased;
            () = interrupt.cancelled() => Err("the pod is being ended".to_string()),
            answer = target.hook(&action, HOOK_MAX) => answer,
        };
        self.hooks().remove(key);
        let failed = |why: String| {
            let (container, pod) = (quote(&spec.name), quote(&long_name(pod)));
            format!("{} for Container {container} in Pod {pod} failed - error: {why}", action.hook_name())
        };
        if let Some(fallback) = answer.map_err(failed)? {
            self.recorder.warning(&reference(pod, None), FALLBACK, fallback, None);
        }
        Ok(())
    }

    /// Ends a container whose postStart hook failed, as upstream with its preStop hook and its
    /// grace period. Nothing else waits for that: the runtime's event brings the key back.
    pub(super) async fn stop_after_failed_post_start(
        self: &Arc<Self>,
        work: PodWork<'_>,
        id: String,
        sandbox: &Sandbox,
        memory: &mut PodMemory,
    ) -> Result<(), Error> {
        let PodWork { key, pod, cause } = work;
        let container = self.config.runtime.container_status(&id).await?;
        let (grace, message) = ending::reason(pod, &container.name, Why::Hook);
        let (sandboxes, deadline) = (std::slice::from_ref(sandbox), clock::deadline(grace));
        memory.post_start_failed.insert(id);
        let manner = ending::Manner { deadline, message, in_order: false, cause: cause.clone() };
        self.stop(key, pod, sandboxes, &container, manner, memory);
        Ok(())
    }

    /// Runs the preStop hook of a container, if it has one and there is time for it. An Event tells
    /// of a failure.
    pub(super) async fn run_pre_stop(
        &self,
        key: &Key,
        one: &EndingContainer,
        grace: Duration,
        cause: &Option<Cause>,
    ) {
        let Some(spec) = one.spec.as_ref().filter(|_| !grace.is_zero()) else { return };
        let Some(hook) = spec.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref()) else { return };
        let agent = self.config.agent("kube-lifecycle");
        let target = self.hook_target(spec, &one.id, one.ip, &agent);
        let run = async { target.hook(&Action::of_hook(hook)?, grace).await };
        let answer = match tokio::time::timeout(grace, run).await {
            Ok(answer) => answer,
            // As upstream: a command fails when its container is killed, a pause does not.
            Err(_) if hook.sleep.is_some() => Ok(None),
            Err(_) => Err("it took all of the grace period".into()),
        };
        match answer {
            Ok(None) => {}
            Ok(Some(fallback)) => self.recorder.warning(&one.of_pod(), FALLBACK, fallback, cause.clone()),
            Err(why) => {
                tracing::debug!(pod = %key, container = one.name, why, "preStop hook failed");
                let (reason, message) = ("FailedPreStopHook", "PreStopHook failed");
                self.recorder.warning(&one.about, reason, message, cause.clone());
            }
        }
    }

    /// Returns where a hook of this container happens.
    fn hook_target<'a>(
        &'a self,
        spec: &'a Spec,
        container_id: &'a str,
        pod_ip: Option<IpAddr>,
        agent: &'a str,
    ) -> Target<'a> {
        let (runtime, network) = (&*self.config.runtime, &*self.config.network);
        Target { spec, container_id, pod_ip, runtime, network, agent }
    }

    fn hooks(&self) -> MutexGuard<'_, HashMap<Key, CancellationToken>> {
        self.hooks.lock()
    }

    /// Gives up the postStart hook that holds up this pod, if there is one: the pod has to end.
    pub(super) fn interrupt_hook(&self, key: &Key) {
        if let Some(hook) = self.hooks().get(key) {
            hook.cancel();
        }
    }
}
