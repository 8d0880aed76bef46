//! The end of a pod whose deletion was requested: its containers, its last status, its object.

use super::PodWork;
use super::ending::{FORCED_GRACE, Manner, seconds};
use super::failing;
use super::kubelet::Kubelet;
use super::memory::PodMemory;
use crate::error::Error;
use crate::specs::reference;
use crate::status;
use client::{Outcome, is_code, is_unanswered};
use cri::{Container, ContainerState};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use std::sync::Arc;
use std::time::Duration;

impl Kubelet {
    /// Ends a pod whose deletion was requested. Each step is taken by a look that finds the one
    /// before it done:
    ///
    /// ```text
    /// containers run           stop them, within deletionGracePeriodSeconds
    /// none runs                stop the sandbox
    /// sandbox stopped          write the last status: phase, exit codes
    /// status written           give the volumes back, delete the object with grace 0
    /// ```
    ///
    /// The API server only marked the pod. It goes when the kubelet says that nothing of it is
    /// left, so that a StatefulSet never has two pods of the same name. Upstream:
    /// `SyncTerminatingPod` and `SyncTerminatedPod`.
    ///
    /// # Errors
    /// Of the runtime, of the report, or of the delete. The pod worker tries again after a pause.
    pub(super) async fn terminate(
        self: &Arc<Self>,
        work: PodWork<'_>,
        memory: &mut PodMemory,
    ) -> Result<Outcome, Error> {
        let PodWork { key, pod, cause } = work;
        let grace = seconds(pod.metadata.deletion_grace_period_seconds);
        let grace = grace.unwrap_or(Duration::from_secs(30)).max(FORCED_GRACE);
        let (sandboxes, containers) = self.in_runtime(key, &memory.uid).await?;
        let running: Vec<&Container> =
            containers.iter().filter(|c| c.state == ContainerState::Running).collect();
        if !running.is_empty() {
            let deadline = clock::deadline(grace);
            let deadline = memory.ends_by.map_or(deadline, |before| before.min(deadline));
            memory.ends_by = Some(deadline);
            for container in running {
                let message = format!("Stopping container {}", container.name);
                let manner = Manner { deadline, message, in_order: true, cause: cause.clone() };
                self.stop(key, pod, &sandboxes, container, manner, memory);
            }
            let status = self.status_of(key, pod, &sandboxes, &containers, memory);
            self.report(work, memory, status).await?;
            return Ok(Outcome::Done); // the runtime's event brings the key back
        }
        for sandbox in memory.to_stop(&sandboxes) {
            if let Err(error) = self.stop_sandbox(&sandbox.id, memory).await {
                let id = &sandbox.id;
                let message = format!("error killing pod: failed to stop sandbox {id:?}: {}", error.line());
                self.recorder.warning(&reference(pod, None), "FailedKillPod", message, cause.clone());
                return Err(error.into());
            }
        }
        let (sandboxes, containers) = self.in_runtime(key, &memory.uid).await?;
        let mut status = self.status_of(key, pod, &sandboxes, &containers, memory);
        status::end(&mut status, clock::now());
        let failure = self.decided_failure(key, &memory.uid).or_else(|| failing::failed_before(pod, memory));
        if let Some(failure) = failure {
            // A delete in its grace period does not change why it has ended.
            failure.mark(&mut status, clock::now(), pod.metadata.generation);
        }
        match self.report(work, memory, status).await {
            // The API server refuses this status for good: a new try would keep the pod for ever.
            Err(Error::Api(error)) if !is_unanswered(&error) => {
                tracing::warn!(pod = %key, %error, "the last status of a deleted pod is not reported");
            }
            // The pod changed meanwhile, or is gone. Its last status would be lost if it went now.
            Ok(false) => return Ok(Outcome::Done), // the watch brings the key back
            written => _ = written?,
        }
        // Before the delete, as upstream: a finalizer may keep the object for long, and nothing
        // evicts a pod that has ended. A failure does not keep the object: `sync` removes the rest
        // once that is gone.
        let volumes_gone = self.give_volumes_back(work, memory).await;
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(memory.uid.clone()), resource_version: None }),
            ..DeleteParams::default()
        };
        let api = self.config.client.caused_by(cause.clone()).within::<Pod>(&key.namespace);
        match api.delete(&key.name, &now).await {
            Ok(_) => {}
            Err(error) if is_code(&error, 404) || is_code(&error, 409) => {}
            Err(error) => return Err(error.into()),
        }
        volumes_gone?;
        Ok(Outcome::Done) // gone from the API, the watch brings the key back and the rest is cleared away
    }
}
