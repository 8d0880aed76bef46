//! One pass after the other over a pod, until what runs is what is wanted.

use super::ending;
use super::kubelet::Kubelet;
use super::memory::PodMemory;
use super::mounting::REFRESH;
use super::starting::NewContainer;
use crate::container::Volumes;
use crate::decide;
use crate::error::Error;
use crate::specs::{self, long_name, reference};
use crate::view::{self, Step, View, Why};
use crate::volumes;
use client::{Key, Outcome};
use cri::{Container, ContainerState, Sandbox, SandboxState};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use std::sync::Arc;
use std::time::Duration;
use tap::Cause;

/// Passes over one pod before others get a turn.
const PASSES: usize = 8;

/// The result of one pass over a pod.
#[derive(Default)]
struct Pass {
    /// The pass is repeated after so long, e.g. at the end of a back-off.
    look_again: Option<Duration>,
    /// The first step that failed.
    failure: Option<Error>,
    /// Another pass at once would change nothing.
    is_last: bool,
}

/// The pod's volumes, as far as a pass has come with them. They are made before the first step that
/// needs them, once.
enum Mounting {
    NotTried,
    Failed,
    Made(Volumes),
}

/// The pod that a pass is about, and what the runtime had of it when the pass began.
#[derive(Clone, Copy)]
struct PassInput<'a> {
    key: &'a Key,
    pod: &'a Pod,
    /// What brought the pod to its worker, for Events and records.
    cause: &'a Option<Cause>,
    /// The pod's sandboxes, of every attempt.
    sandboxes: &'a [Sandbox],
    /// The pod's containers, of every attempt. None of them was made and never started.
    containers: &'a [Container],
}

/// Returns whether a container that lost its sandbox runs again in the next one, with whatever code
/// it ended: not by the policy Never, its own or else its pod's. An ephemeral container never does.
fn goes_on(pod: &Pod, name: &str) -> bool {
    let Some(spec) = specs::spec_of(pod, name) else { return false };
    let of_pod = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    spec.restart_policy.as_deref().or(of_pod) != Some("Never")
}

impl Kubelet {
    /// Brings a pod from what runs to what is wanted, and reports its status. Upstream: `SyncPod`.
    ///
    /// A new pod with the containers `web` and `log`:
    ///
    /// ```text
    /// pass 1   nothing runs            report ContainerCreating; make the volumes and the sandbox
    /// pass 2   sandbox                 start web, start log
    /// pass 3   sandbox, web, log       nothing to do
    /// report Running
    /// ```
    ///
    /// # Errors
    /// Of the runtime, of a step, or of the report. The pod worker tries again after a pause.
    pub(super) async fn sync_pod(
        self: &Arc<Self>,
        key: &Key,
        pod: &Pod,
        memory: &mut PodMemory,
        cause: &Option<Cause>,
    ) -> Result<Outcome, Error> {
        let has_ended = view::has_ended(pod);
        let mut judged = None;
        if has_ended {
            self.forget_decided_failure(key, &memory.uid);
            memory.variables.clear(); // nothing starts any more
        } else {
            memory.volumes_gone = false; // a deletion may have been undone
            let (fails, later) = self.judge(key, pod, memory).await?;
            if let Some(fails) = fails {
                return Ok(match self.fail(key, pod, memory, cause, fails).await? {
                    true => Outcome::After(Duration::ZERO), // then it is wound up
                    false => Outcome::Done,
                });
            }
            judged = later;
        }
        let mut done = Pass::default();
        memory.just_mounted = false; // long ago
        for number in 0..PASSES {
            let Some(pass) = self.pass(key, pod, memory, cause, number == 0).await? else {
                return Ok(Outcome::Done);
            };
            done = pass;
            if done.is_last {
                break;
            }
        }
        let Pass { mut look_again, failure, .. } = done;
        if let Some(wait) = look_again {
            // Also if something fails from here on: the retry knows nothing of a container's
            // back-off.
            self.queue.add_after(key.clone(), cause.clone(), wait);
        }
        let sandboxes = self.report_passes(key, pod, memory, cause, failure).await?;
        if volumes::is_live(pod) && !has_ended {
            self.refresh_volumes(pod, &sandboxes, memory, cause).await;
            look_again = Some(look_again.map_or(REFRESH, |a| a.min(REFRESH)));
        }
        let next = [look_again, judged].into_iter().flatten().min();
        Ok(next.map_or(Outcome::Done, Outcome::After))
    }

    /// Looks at what the runtime has for the pod, and does what is to do next. `None`: the pod has
    /// ended, and nothing of it is left.
    async fn pass(
        self: &Arc<Self>,
        key: &Key,
        pod: &Pod,
        memory: &mut PodMemory,
        cause: &Option<Cause>,
        is_first: bool,
    ) -> Result<Option<Pass>, Error> {
        let has_ended = view::has_ended(pod);
        let (sandboxes, containers) = self.in_runtime(key, &memory.uid).await?;
        let containers = self.remove_created(&memory.uid, containers).await?;
        if has_ended && !containers.iter().any(|c| c.state == ContainerState::Running) {
            self.give_volumes_back(pod, memory, cause).await?;
            // The ready one of a pod that had containers is stopped as a step, below.
            let ready_too = containers.is_empty();
            for sandbox in memory.to_stop(&sandboxes) {
                if ready_too || sandbox.state == SandboxState::NotReady {
                    self.stop_sandbox(&sandbox.id, memory).await?;
                }
            }
        }
        if has_ended && containers.is_empty() {
            return Ok(None); // it ended before this kubelet's time, or before any container was made
        }
        let input = PassInput { key, pod, cause, sandboxes: &sandboxes, containers: &containers };
        let (steps, look_again) = self.next_steps(input, memory);
        if steps.is_empty() {
            return Ok(Some(Pass { look_again, failure: None, is_last: true }));
        }
        // A container that is ending takes its time; the runtime's event brings the key back.
        let only_ends = steps.iter().all(|s| matches!(s, Step::Stop { .. }));
        let makes_sandbox = is_first && matches!(steps[0], Step::CreateSandbox { .. });
        let status = makes_sandbox.then(|| self.status_of(key, pod, &sandboxes, &containers, memory));
        let uid = memory.uid.clone();
        let announce = async {
            match status {
                Some(status) => self.announce(input, &uid, status).await,
                None => None,
            }
        };
        let work = self.carry_out(input, steps, memory);
        let (written, (wait, failure)) = futures::join!(announce, work);
        memory.written = written.or(memory.written.take());
        let is_last = only_ends || wait.is_some() || failure.is_some();
        Ok(Some(Pass { look_again: [look_again, wait].into_iter().flatten().min(), failure, is_last }))
    }

    /// Reports that a pod is being made (`ContainerCreating`), while its sandbox is. Returns the
    /// status that was written, with its revision. No container waits for an API server that is
    /// away: the report after the last pass says more.
    async fn announce(&self, input: PassInput<'_>, uid: &str, status: PodStatus) -> Option<(u64, PodStatus)> {
        let PassInput { key, pod, cause, .. } = input;
        if self.statics.contains_key(key) {
            return None;
        }
        // The pod's own memory is lent to the steps that are carried out meanwhile.
        let mut scratch = PodMemory { uid: uid.into(), ..PodMemory::default() };
        if let Err(error) = self.report(key, pod, &mut scratch, cause, status).await {
            tracing::debug!(pod = %key, %error, "cannot tell that a pod is being made");
        }
        scratch.written
    }

    /// Decides the next steps of a pod, and after which time to look again. Events tell of the
    /// containers that back off.
    fn next_steps(&self, input: PassInput<'_>, memory: &mut PodMemory) -> (Vec<Step>, Option<Duration>) {
        let PassInput { key, pod, sandboxes, containers, .. } = input;
        let probes = &self.probe_running(key, pod, sandboxes, containers, memory);
        let sandbox = sandboxes.iter().max_by_key(|s| s.attempt);
        let (backoffs, replaced, now) = (&memory.pauses(containers), &memory.replaced, clock::now());
        let view = View { pod, sandbox, containers, backoffs, replaced, probes, now };
        let mut steps = match view::has_ended(pod) {
            true => decide::wind_up(&view),
            false => decide::decide(&view),
        };
        if view::has_ended(pod) && self.is_ending(key, &memory.uid) {
            steps.retain(|step| !matches!(step, Step::Stop { .. }));
        }
        let backing_off = backing_off(&view, &steps);
        let look_again = steps.iter().find_map(|s| if let Step::LookAgain(d) = s { Some(*d) } else { None });
        steps.retain(|s| !matches!(s, Step::LookAgain(_)));
        for (container, init) in backing_off {
            if memory.note_back_off_event_if_due(&container) {
                let message =
                    format!("Back-off restarting failed container {container} in pod {}", long_name(pod));
                let about = reference(pod, Some((&container, init)));
                self.recorder.warning(&about, "BackOff", message, None);
            }
        }
        (steps, look_again)
    }

    /// Reports the status after the passes, and forgets containers that are gone. Returns the pod's
    /// sandboxes.
    ///
    /// # Errors
    /// `failure`, the one of the passes, after the status is reported; else that of the report.
    async fn report_passes(
        &self,
        key: &Key,
        pod: &Pod,
        memory: &mut PodMemory,
        cause: &Option<Cause>,
        failure: Option<Error>,
    ) -> Result<Vec<Sandbox>, Error> {
        let (sandboxes, containers) = self.in_runtime(key, &memory.uid).await?;
        let newest = memory.with_newest_status(pod);
        let status = self.status_of(key, &newest, &sandboxes, &containers, memory);
        let reported = self.report(key, &newest, memory, cause, status).await;
        memory.stopping.retain(|id, _| containers.iter().any(|c| c.id == *id));
        memory.replaced.retain(|id| containers.iter().any(|c| c.id == *id));
        memory.given_up.retain(|id| containers.iter().any(|c| c.id == *id));
        memory.post_start_failed.retain(|id| containers.iter().any(|c| c.id == *id));
        memory.stopped.retain(|id| sandboxes.iter().any(|s| s.id == *id));
        // Also if no API server answers: containers restart without one, and their attempts would
        // pile up.
        self.forget_old(&memory.uid, &sandboxes, &containers).await?;
        if let Some(error) = failure {
            return Err(error);
        }
        reported?;
        Ok(sandboxes)
    }

    /// Does the steps in order. Returns the time after which to look again, and the first failure.
    /// A container that cannot be started keeps no other from being started or stopped. Of a pod
    /// that has to end meanwhile nothing more is started: what ends it may have looked already.
    async fn carry_out(
        self: &Arc<Self>,
        input: PassInput<'_>,
        steps: Vec<Step>,
        memory: &mut PodMemory,
    ) -> (Option<Duration>, Option<Error>) {
        let PassInput { key, pod, cause, sandboxes, .. } = input;
        let mut mounting = Mounting::NotTried;
        let (mut wait, mut failure): (Option<Duration>, Option<Error>) = (None, None);
        for step in steps {
            let needs_volumes = matches!(step, Step::CreateSandbox { .. } | Step::Start { .. });
            if needs_volumes && matches!(mounting, Mounting::NotTried) {
                mounting = match self.mount(pod, sandboxes, memory, cause).await {
                    Ok(volumes) => Mounting::Made(volumes),
                    Err(error) => {
                        _ = failure.get_or_insert(error);
                        Mounting::Failed
                    }
                };
            }
            let done = match step {
                Step::LookAgain(_) => Ok(None),
                Step::StopSandbox { id } => {
                    self.stop_sandbox(&id, memory).await.map(|()| None).map_err(Error::from)
                }
                Step::Stop { name, id, why } => {
                    self.stop_in_pass(input, &name, id, why, memory);
                    Ok(None)
                }
                Step::CreateSandbox { .. } if matches!(mounting, Mounting::Failed) => continue,
                Step::CreateSandbox { attempt } => {
                    memory.just_mounted = true;
                    self.create_sandbox(key, pod, attempt, sandboxes, memory, cause).await.map(|()| None)
                }
                Step::Start { .. } if self.has_to_end(key, &memory.uid) => Ok(Some(Duration::ZERO)),
                Step::Start { name, init, attempt } => {
                    let Mounting::Made(volumes) = &mounting else { continue };
                    self.start_in_pass(input, &name, init, attempt, volumes, memory).await
                }
            };
            match done {
                Ok(later) => wait = [wait, later].into_iter().flatten().min(),
                Err(error) => _ = failure.get_or_insert(error),
            }
        }
        (wait, failure)
    }

    /// Begins the end of a container. Notes what the next decisions have to know of it: a probe
    /// gave it up, or it starts again with whatever code it ends.
    fn stop_in_pass(
        self: &Arc<Self>,
        input: PassInput<'_>,
        name: &str,
        id: String,
        why: Why,
        memory: &mut PodMemory,
    ) {
        let PassInput { key, pod, cause, sandboxes, containers } = input;
        let Some(container) = containers.iter().find(|c| c.id == id) else { return };
        let (grace, message) = ending::reason(pod, name, why);
        let deadline = clock::deadline(grace);
        if matches!(why, Why::Failed(_)) {
            memory.given_up.insert(id.clone());
        }
        if why == Why::Changed || (why == Why::Lost && goes_on(pod, name)) {
            memory.replaced.insert(id);
        }
        let in_order = matches!(why, Why::Over | Why::Lost);
        let manner = ending::Manner { deadline, message, in_order, cause: cause.clone() };
        self.stop(key, pod, sandboxes, container, manner, memory);
    }

    /// Starts a container in the pod's newest sandbox. Returns the time after which to look again.
    ///
    /// # Errors
    /// As [`Kubelet::start_container`].
    async fn start_in_pass(
        self: &Arc<Self>,
        input: PassInput<'_>,
        name: &str,
        is_init: bool,
        attempt: u32,
        volumes: &Volumes,
        memory: &mut PodMemory,
    ) -> Result<Option<Duration>, Error> {
        let PassInput { key, pod, cause, sandboxes, containers } = input;
        let sandbox = sandboxes.iter().max_by_key(|s| s.attempt);
        let extra = specs::ephemeral(pod);
        let of_debugger = || extra.iter().find(|c| c.name == name);
        let spec = specs::spec_of(pod, name).or_else(of_debugger);
        let (Some(sandbox), Some(spec)) = (sandbox, spec) else { return Ok(None) };
        let previous = containers.iter().filter(|c| c.name == name).max_by_key(|c| c.attempt);
        let attempt = match previous {
            Some(_) => attempt,
            None => self.attempt_after_restart(key, &memory.uid, name, attempt),
        };
        let new = NewContainer { pod, spec, is_init, attempt, sandbox, previous, volumes };
        self.start_container(key, &new, memory, cause).await
    }
}

/// Lists the containers that wait for the end of their back-off, and whether each is an init
/// container.
fn backing_off(view: &View, steps: &[Step]) -> Vec<(String, bool)> {
    if !steps.iter().any(|s| matches!(s, Step::LookAgain(_))) {
        return vec![];
    }
    let all = view.specs().iter().map(|s| (s, false)).chain(view.init_specs().iter().map(|s| (s, true)));
    all.filter(|(spec, _)| {
        let ended = view.current(&spec.name).filter(|c| c.state == ContainerState::Exited);
        ended.is_some_and(|c| view.backoff_left(spec, c).is_some())
    })
    .map(|(spec, init)| (spec.name.clone(), init))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::back_off::Backoffs;
    use crate::decide::tests::{container, pod, sandbox};
    use crate::probe::ProbeResults;
    use serde_json::json;

    #[test]
    fn a_container_that_lost_its_sandbox_goes_on_unless_its_policy_is_never() {
        let of = |policy: &str, own: Option<&str>| {
            let ephemeral = json!([{"name": "debugger", "image": "nginx"}]);
            let containers = json!([{"name": "a", "image": "nginx", "restartPolicy": own}]);
            let spec =
                json!({"restartPolicy": policy, "containers": containers, "ephemeralContainers": ephemeral});
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).unwrap();
            assert!(!goes_on(&pod, "debugger") && !goes_on(&pod, "none"), "{policy}");
            goes_on(&pod, "a")
        };
        assert_eq!(["Always", "OnFailure", "Never"].map(|policy| of(policy, None)), [true, true, false]);
        assert_eq!([of("Never", Some("OnFailure")), of("Always", Some("Never"))], [true, false]);
    }

    #[test]
    fn containers_back_off_that_have_ended_and_wait_for_time_alone() {
        let pod = pod("Always", &["i"], &["a", "b", "c"]);
        let up = sandbox("s", 0, SandboxState::Ready);
        let ended = |name: &str| container(name, 1, ContainerState::Exited, 1);
        let containers = [ended("i"), ended("a"), ended("b"), container("c", 1, ContainerState::Running, 0)];
        let pause = Duration::from_secs(10); // they have ended five seconds ago
        let backoffs: Backoffs = ["i", "a", "c"].map(|name| (name.to_string(), pause)).into();
        let view = View {
            pod: &pod,
            sandbox: Some(&up),
            containers: &containers,
            backoffs: &backoffs,
            replaced: &Default::default(),
            probes: &ProbeResults::default(),
            now: clock::Timestamp::from_second(205).unwrap(),
        };
        let found = backing_off(&view, &[Step::LookAgain(pause)]);
        assert_eq!(found, [("a".to_string(), false), ("i".to_string(), true)]);
        assert!(backing_off(&view, &[]).is_empty(), "something else is to be done");
    }
}
