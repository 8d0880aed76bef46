//! When the volumes of a pod are made: before its sandbox and its containers, and anew while it
//! runs. How they are made is in [`crate::volumes`].

use super::PodWork;
use super::failure_events::FailedStep;
use super::kubelet::Kubelet;
use super::memory::PodMemory;
use crate::container::{Volumes, kept_claims};
use crate::error::Error;
use crate::specs::reference;
use crate::volumes;
use cri::{ContainerState, Sandbox};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeSet;
use std::time::Duration;

/// The files of volumes that may change are written anew this often, as at upstream's sync period.
pub(super) const REFRESH: Duration = Duration::from_secs(60);

impl Kubelet {
    /// Makes the pod's volumes, unless that was done just now, in the pass before, for its new
    /// sandbox. An Event tells of a failure.
    ///
    /// # Errors
    /// As [`Kubelet::make_volumes`].
    pub(super) async fn mount(
        &self,
        work: PodWork<'_>,
        sandboxes: &[Sandbox],
        memory: &mut PodMemory,
    ) -> Result<Volumes, Error> {
        if std::mem::take(&mut memory.just_mounted) {
            return Ok(memory.volumes.clone());
        }
        let made = self.make_volumes(work, sandboxes, memory).await;
        if let Err(error @ Error::Volume { volume, .. }) = &made
            && memory.failure_events.note_if_due(FailedStep::Volume(volume.clone()))
        {
            let about = reference(work.pod, None);
            self.recorder.warning(&about, "FailedMount", error.line(), work.cause.clone());
        }
        made
    }

    /// Writes the files of the pod's volumes anew if they were written a while ago, or the pod's
    /// labels or annotations are others now. An Event tells of a failure.
    pub(super) async fn refresh_volumes(
        &self,
        work: PodWork<'_>,
        sandboxes: &[Sandbox],
        memory: &mut PodMemory,
    ) {
        let meta = &work.pod.metadata;
        let called = (meta.labels.clone(), meta.annotations.clone());
        let late = |at: &clock::Instant| clock::passed(*at, clock::Instant::now()) >= REFRESH;
        let before = memory.refreshed.as_ref();
        if before.is_some_and(|(at, before)| !late(at) && *before == called) {
            return;
        }
        // When the first container was started they were written.
        if memory.refreshed.is_some() {
            // After a failure what is on the disk stays, and the next refresh tries again.
            drop(self.mount(work, sandboxes, memory).await);
        }
        memory.refreshed = Some((clock::Instant::now(), called));
    }

    /// Makes the pod's volumes, and brings those up to date that change. A volume that was made
    /// before and cannot be made anew, e.g. because its ConfigMap is gone, stays: a container that
    /// crashes restarts with it. An Event tells of that, unless no API server answers.
    ///
    /// # Errors
    /// A volume that was never made cannot be made, or the runtime does not say what runs.
    async fn make_volumes(
        &self,
        work: PodWork<'_>,
        sandboxes: &[Sandbox],
        memory: &mut PodMemory,
    ) -> Result<Volumes, Error> {
        let PodWork { pod, cause, .. } = work;
        let facts = self.facts(pod, sandboxes);
        let of_strangers = self.claims_of_strangers(pod).await?;
        let context = volumes::Context {
            client: &self.config.client,
            facts: &facts,
            dir: self.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default()).join("volumes"),
            node_root: &self.config.node_root(),
            memory_bytes: u64::try_from(self.config.capacity.allocatable().memory).unwrap_or(u64::MAX),
            take_claim: &|claim: &str| !of_strangers.contains(claim) && self.take_claim(pod, claim),
        };
        let stale = volumes::prepare(&context, &mut memory.volumes).await;
        memory.is_cut_off = stale.iter().flatten().any(|(_, unmade)| unmade.slow);
        let failed = |(volume, unmade): (String, volumes::Unmade)| Error::Volume { volume, why: unmade.why };
        let stale = stale.map_err(failed)?;
        memory.failure_events.retain(|what| match what {
            FailedStep::Volume(volume) => stale.iter().any(|(name, _)| name == volume),
            FailedStep::Sandbox | FailedStep::Start(_) => true,
        });
        for (volume, unmade) in stale {
            if unmade.unanswered {
                tracing::debug!(volume, why = unmade.why, "a volume stays as it is");
                continue;
            }
            if memory.failure_events.note_if_due(FailedStep::Volume(volume.clone())) {
                let message = failed((volume, unmade)).line();
                self.recorder.warning(&reference(pod, None), "FailedMount", message, cause.clone());
            }
        }
        Ok(memory.volumes.clone())
    }

    /// Takes a claim that one pod alone may use. Returns false if another pod of this node has it,
    /// also one that was deleted by force and whose containers may still run.
    pub(super) fn take_claim(&self, pod: &Pod, claim: &str) -> bool {
        self.holders.take(pod, claim, || {
            let mut pods = self.pods.list();
            pods.extend(self.gone().values().cloned());
            pods
        })
    }

    /// Returns the claims in the namespace of this pod that are in use by containers of pods which
    /// this kubelet has never seen. For a pod without claims the runtime is not asked.
    ///
    /// The pod `first` was deleted by force while the node's kubelet was stopped. The kubelet is
    /// started, and ends the containers of `first`; meanwhile `second` must not begin to write to
    /// the volume, of which one pod alone may have the claim.
    ///
    /// # Errors
    /// Of the runtime.
    pub(super) async fn claims_of_strangers(&self, pod: &Pod) -> Result<BTreeSet<String>, cri::Error> {
        let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        if !volumes.any(|volume| volume.persistent_volume_claim.is_some()) {
            return Ok(BTreeSet::new());
        }
        let sandboxes = self.config.runtime.list_pod_sandboxes().await?;
        let containers = self.config.runtime.list_containers().await?;
        // Read after the sandboxes: one that was made just now belongs to a pod that is known.
        let pods = self.pods.list();
        let mut known: BTreeSet<String> =
            pods.iter().chain(self.statics.values()).filter_map(|one| one.metadata.uid.clone()).collect();
        known.extend(self.gone().values().filter_map(|one| one.metadata.uid.clone()));
        known.extend(pod.metadata.uid.clone());
        let is_near = |sandbox: &Sandbox| pod.metadata.namespace.as_ref() == Some(&sandbox.pod.namespace);
        let strange = sandboxes.iter().filter(|s| is_near(s) && !known.contains(&s.pod.uid));
        let strange: BTreeSet<&str> = strange.map(|sandbox| sandbox.id.as_str()).collect();
        let live = containers.iter().filter(|c| c.state != ContainerState::Exited);
        let theirs = live.filter(|container| strange.contains(container.sandbox_id.as_str()));
        Ok(theirs.flat_map(kept_claims).map(String::from).collect())
    }
}
