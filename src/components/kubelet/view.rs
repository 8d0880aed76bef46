//! Everything known about a pod on this node, and what follows from it for each of its containers.
//! [`super::decide`] and [`super::status`] are made from it. Pure.

use super::back_off::{Backoffs, RESET_AFTER, run_time};
use super::probe::{Kind, ProbeResults};
use clock::Timestamp;
use cri::{Container, ContainerState, Sandbox, SandboxState};
use k8s_openapi::api::core::v1::{Container as Spec, ContainerRestartRule, ContainerStatus, Pod};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// The annotation of a container that tells which definition it was made from.
pub(crate) const HASH: &str = "io.kubernetes.container.hash";

/// Returns the hash of what may change in a definition while its pod runs: the image. Another hash
/// means another container.
pub(crate) fn hash(spec: &Spec) -> String {
    let mut hasher = DefaultHasher::new();
    (&spec.name, &spec.image).hash(&mut hasher);
    format!("{:x}", hasher.finish())
}

/// The exit code of a container that ran and of which the runtime knows nothing any more, as
/// upstream.
pub(crate) const LOST: i32 = 137;

/// Everything known about a pod on this node.
pub(crate) struct View<'a> {
    pub pod: &'a Pod,
    /// The newest sandbox of this pod, if any.
    pub sandbox: Option<&'a Sandbox>,
    /// All containers of this pod, of all attempts and sandboxes.
    pub containers: &'a [Container],
    pub backoffs: &'a Backoffs,
    /// Ids of containers that were ended because their definition has another image now, or because
    /// their sandbox was lost, and that are started again.
    pub replaced: &'a HashSet<String>,
    /// What the probes say of the containers that run.
    pub probes: &'a ProbeResults,
    pub now: Timestamp,
}

/// The reason for which a running container is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The container's definition has another image now.
    Changed,
    /// A probe of the container failed for good.
    Failed(Kind),
    /// The container's pod is done.
    Over,
    /// The process of the container's sandbox has ended.
    Lost,
    /// The container's postStart hook failed.
    Hook,
}

/// One thing to do next. Nothing here has happened yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A new sandbox; the one before is gone or broken.
    CreateSandbox { attempt: u32 },
    /// Pull the image if need be, make the container, run it.
    Start { name: String, init: bool, attempt: u32 },
    /// End one container, gracefully.
    Stop { name: String, id: String, why: Why },
    /// End everything: the pod is done.
    StopSandbox { id: String },
    /// Time alone will change something.
    LookAgain(Duration),
}

impl<'a> View<'a> {
    /// Returns the newest attempt of a container.
    pub(crate) fn current(&self, name: &str) -> Option<&'a Container> {
        self.containers.iter().filter(|c| c.name == name).max_by_key(|c| c.attempt)
    }

    /// Returns the attempt before the newest.
    pub(crate) fn previous(&self, name: &str) -> Option<&'a Container> {
        let newest = self.current(name)?.attempt;
        self.containers.iter().filter(|c| c.name == name && c.attempt < newest).max_by_key(|c| c.attempt)
    }

    /// Returns the attempt that `kubectl logs --previous` shows, the one of `lastState`: of a
    /// container that has ended and waits for its restart the newest one, else the one before. A
    /// sidecar that ended with 0 is not shown as one that waits.
    pub(crate) fn last_ended(&self, name: &str) -> Option<&'a Container> {
        let newest = self.current(name)?;
        let of = |specs: &'a [Spec]| specs.iter().find(|s| s.name == name);
        let restarts = of(self.specs()).is_some_and(|spec| self.restarts(spec, false, newest))
            || newest.exit_code != 0
                && of(self.init_specs()).is_some_and(|spec| self.restarts(spec, true, newest));
        let waits = newest.state == ContainerState::Exited && restarts;
        if waits && self.pod.metadata.deletion_timestamp.is_none() {
            return Some(newest);
        }
        self.previous(name)
    }

    pub(crate) fn init_specs(&self) -> &'a [Spec] {
        self.pod.spec.as_ref().and_then(|s| s.init_containers.as_deref()).unwrap_or_default()
    }

    pub(crate) fn specs(&self) -> &'a [Spec] {
        self.pod.spec.as_ref().map(|s| s.containers.as_slice()).unwrap_or_default()
    }

    pub(crate) fn policy(&self) -> &'a str {
        self.pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref()).unwrap_or("Always")
    }

    /// Returns whether this init container keeps running beside the others: a native sidecar.
    pub(crate) fn is_sidecar(spec: &Spec) -> bool {
        spec.restart_policy.as_deref() == Some("Always")
    }

    /// Returns whether this container was made from another definition than the pod has now. That
    /// of an init container that is no sidecar does not count: its work is not done again.
    ///
    /// `kubectl set image` on a running pod is the only change of a container that the API allows
    /// without a new pod. The container then ends and starts from the new image; the pod keeps its
    /// address.
    pub(crate) fn changed(spec: &Spec, init: bool, container: &Container) -> bool {
        let concerned = !init || Self::is_sidecar(spec);
        concerned && container.annotations.get(HASH).is_some_and(|made_from| *made_from != hash(spec))
    }

    /// Returns why this running container has to end; `None` if it runs on.
    pub(crate) fn reason_to_stop(&self, spec: &Spec, init: bool, running: &Container) -> Option<Why> {
        if Self::changed(spec, init, running) {
            return Some(Why::Changed);
        }
        self.probes.failed.get(&spec.name).copied().map(Why::Failed)
    }

    /// Returns whether this running container has started, by its startup probe.
    pub(crate) fn started(&self, name: &str) -> bool {
        self.probes.probed.get(name).and_then(|p| p.started).unwrap_or(true)
    }

    /// Returns whether this ended container will be started again. One that was ended for its new
    /// image is, or one that lost its sandbox, with whatever code it ended; one that had ended
    /// before is not, and nothing of a pod that has failed or succeeded is, though its images may
    /// still be edited.
    pub(crate) fn restarts(&self, spec: &Spec, init: bool, ended: &Container) -> bool {
        !has_ended(self.pod)
            && (self.replaced.contains(&ended.id) || self.restarts_after(spec, init, ended.exit_code))
    }

    /// Returns whether a container is started again that ended with this code: by its own restart
    /// rules or policy, or by the pod's, which the table is about.
    ///
    /// ```text
    ///                     Always   OnFailure   Never
    /// container, exit 0   yes      no          no
    /// container, exit 1   yes      yes         no
    /// init, exit 0        no       no          no: the next one's turn
    /// init, exit 1        yes      yes         no: the pod fails
    /// sidecar             yes      yes         yes
    /// ```
    fn restarts_after(&self, spec: &Spec, init: bool, exit_code: i32) -> bool {
        let is_done = init && !Self::is_sidecar(spec) && exit_code == 0;
        !is_done && may_restart(self.policy(), spec, exit_code)
    }

    /// Returns the stored status of a container.
    pub(crate) fn stored(&self, name: &str) -> Option<&'a ContainerStatus> {
        let status = self.pod.status.as_ref()?;
        let mut all = status.container_statuses.iter().chain(status.init_container_statuses.iter()).flatten();
        all.find(|s| s.name == name)
    }

    /// Returns the exit code of a container that has ended, and whether it will be started again.
    /// The stored status tells of one that the runtime does not know any more, after a restart of
    /// the machine: it ended as is written there, and one that was running then is lost ([`LOST`]).
    /// `None`: it runs, or was never started.
    ///
    /// ```text
    /// Never, runtime knows nothing, stored: running       ->  137, not again
    /// OnFailure, runtime knows nothing, stored: exit 0    ->  0, not again
    /// OnFailure, runtime knows nothing, stored: running   ->  137, again
    /// ```
    pub(crate) fn ended(&self, spec: &Spec, init: bool) -> Option<(i32, bool)> {
        if let Some(c) = self.current(&spec.name) {
            let ended = c.state == ContainerState::Exited;
            return ended.then(|| (c.exit_code, self.restarts(spec, init, c)));
        }
        let state = self.stored(&spec.name)?.state.as_ref()?;
        let code = match (&state.terminated, &state.running) {
            (Some(terminated), _) => terminated.exit_code,
            (None, Some(_)) => LOST,
            (None, None) => return None,
        };
        Some((code, self.restarts_after(spec, init, code)))
    }

    /// Returns the newest sandbox if it is ready.
    pub(crate) fn ready_sandbox(&self) -> Option<&'a Sandbox> {
        self.sandbox.filter(|s| s.state == SandboxState::Ready)
    }

    /// Returns whether a regular container was made in the newest sandbox. Then the pod is
    /// initialized, whatever its sidecars do now (upstream's
    /// `HasAnyActiveRegularContainerStarted`).
    pub(crate) fn has_begun(&self) -> bool {
        self.sandbox.is_some_and(|sandbox| {
            let own = self.containers.iter().filter(|c| c.sandbox_id == sandbox.id);
            own.into_iter().any(|c| self.specs().iter().any(|spec| spec.name == c.name))
        })
    }

    /// Returns how many init containers have done their work: those before the newest one that was
    /// made in the newest sandbox, and all of them once the pod has begun. What a sidecar among
    /// them does now does not change that.
    ///
    /// ```text
    /// s (sidecar, crashed), i (ended with 0), j (not made)   1: i decides about j
    /// the same, and the regular container a runs            3
    /// ```
    pub(crate) fn past_inits(&self) -> usize {
        let specs = self.init_specs();
        if self.has_begun() {
            return specs.len();
        }
        let is_made = |spec: &Spec| {
            let made_in = self.current(&spec.name).map(|c| &c.sandbox_id);
            made_in.is_some_and(|id| self.sandbox.is_some_and(|sandbox| sandbox.id == *id))
        };
        specs.iter().rposition(is_made).unwrap_or(0)
    }

    /// Returns how much of the back-off is left, in the cluster's time. A new definition has none:
    /// it has not failed yet. Nor has a container that ran well for a long time before.
    pub(crate) fn backoff_left(&self, spec: &Spec, ended: &Container) -> Option<Duration> {
        if ended.annotations.get(HASH).is_some_and(|made_from| *made_from != hash(spec)) {
            return None;
        }
        if run_time(ended) >= RESET_AFTER {
            return None;
        }
        let pause = *self.backoffs.get(&spec.name)?;
        clock::left(ended.finished_at?, pause, self.now)
    }

    /// Returns the attempt number of the container's next start, which its status shows as
    /// `restartCount`: one more than the newest attempt that the runtime has. After a reboot of the
    /// node the runtime has no containers; then the number comes from the stored status of the pod.
    pub(crate) fn next_attempt(&self, name: &str) -> u32 {
        let known = self.current(name).map(|c| c.attempt + 1);
        let by_status = self.stored(name).map(|s| {
            // A status with a container id is that of an attempt that was made, so the next one is
            // one more. Without an id it was written after the reboot, while the next attempt was
            // being prepared: it counts that attempt already.
            s.restart_count.max(0) as u32 + u32::from(s.container_id.is_some())
        });
        known.or(by_status).unwrap_or(0)
    }

    /// Returns whether the pod has come to its end: `Some(true)` if it did well, `None` if it goes
    /// on. A pod that restarts its containers never has. One that does not, and has lost its
    /// sandbox after a container ended, gets no other sandbox: what was not started by then never
    /// will be.
    ///
    /// ```text
    /// Never, a ended with 0, b ended with 0     Some(true): phase Succeeded
    /// Never, a ended with 1, b ended with 0     Some(false): phase Failed
    /// Never, a ended with 1, b runs             None: b may finish its work
    /// Always, a ended with 0                    None: it is started again
    /// Never, init container i lost              Some(false): it does not do its work twice
    /// ```
    ///
    /// Sidecars are not asked: a Job is done when its work is, and its sidecars are ended then.
    pub(crate) fn finished(&self) -> Option<bool> {
        // That counts for one that was lost with the machine, too: it would do its work twice.
        let failed = |spec: &Spec| self.ended(spec, true).is_some_and(|(code, again)| code != 0 && !again);
        if self.init_specs().iter().any(|spec| !Self::is_sidecar(spec) && failed(spec)) {
            return Some(false);
        }
        let stranded = self.policy() == "Never"
            && self.ready_sandbox().is_none()
            && self.specs().iter().any(|spec| self.ended(spec, false).is_some());
        let mut well = true;
        for spec in self.specs() {
            match self.ended(spec, false) {
                Some((_, true)) => return None,
                Some((code, false)) => well &= code == 0,
                None if stranded && self.current(&spec.name).is_none() => well = false,
                None => return None,
            }
        }
        (!self.specs().is_empty()).then_some(well)
    }
}

/// Returns whether a container may run again that ended with this code: one of its own restart
/// rules says so, else its own restart policy, else `policy`, which is the pod's. KEP-5307;
/// `ContainerShouldRestart` upstream.
pub(crate) fn may_restart(policy: &str, spec: &Spec, exit_code: i32) -> bool {
    let fits = |rule: &ContainerRestartRule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let is_listed = codes.values.iter().flatten().any(|code| *code == exit_code);
            match codes.operator.as_str() {
                "In" => is_listed,
                "NotIn" => !is_listed,
                _ => false,
            }
        })
    };
    if spec.restart_policy_rules.iter().flatten().any(fits) {
        return true;
    }
    match spec.restart_policy.as_deref().unwrap_or(policy) {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        _ => true,
    }
}

/// Returns whether the pod has failed or succeeded by its stored status. It stays so, also if
/// another component wrote that.
pub(crate) fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}
