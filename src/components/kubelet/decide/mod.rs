//! Decides the next steps for a pod. Pure: the same facts give the same steps.

use super::ephemeral;
use super::view::{Step, View, Why};
use cri::{Container, ContainerState};
use k8s_openapi::api::core::v1::{Container as Spec, Pod};
use std::time::Duration;

/// Lists the names of a pod's sidecars, in their order.
pub(crate) fn sidecars(pod: &Pod) -> Vec<&str> {
    let specs = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten());
    specs.filter(|s| View::is_sidecar(s)).map(|s| s.name.as_str()).collect()
}

/// Returns whether it is this container's turn to get its stop signal when the whole pod ends,
/// while these run: regular containers are first, all together; then the sidecars, the last one
/// first. Init containers and ephemeral ones get it at once, and no sidecar waits for their end:
/// the shell of a debugger ignores the signal. Source: `newTerminationOrdering` in
/// `pkg/kubelet/kuberuntime/kuberuntime_termination_order.go`.
///
/// ```text
/// init [s, t (sidecars)], main [a, b]; a, s and t run  ->  a's turn; then t's, then s's
/// ```
pub(crate) fn is_turn(pod: &Pod, name: &str, running: &[&str]) -> bool {
    let sidecars = sidecars(pod);
    let place = |name: &str| sidecars.iter().position(|sidecar| *sidecar == name);
    let Some(own) = place(name) else { return true };
    let is_regular = |name: &str| pod.spec.iter().any(|s| s.containers.iter().any(|c| c.name == name));
    !running.iter().copied().any(|other| is_regular(other) || place(other).is_some_and(|at| at > own))
}

/// Returns the next steps for a pod that is done: what still runs ends gracefully, then its sandbox
/// goes.
///
/// The program of a Job's pod has ended with 0, its sidecar still runs: stop the sidecar. In the
/// next look nothing runs: stop the sandbox, and with it the pod's network.
pub(crate) fn wind_up(view: &View) -> Vec<Step> {
    let stops = stop_all(view, Why::Over);
    match view.ready_sandbox() {
        Some(sandbox) if stops.is_empty() => vec![Step::StopSandbox { id: sandbox.id.clone() }],
        _ => stops,
    }
}

/// Stops what runs in the newest sandbox, also where its own process has ended.
fn stop_all(view: &View, why: Why) -> Vec<Step> {
    let Some(sandbox) = view.sandbox else { return vec![] };
    let runs = |c: &&Container| c.sandbox_id == sandbox.id && c.state == ContainerState::Running;
    let stop = |c: &Container| Step::Stop { name: c.name.clone(), id: c.id.clone(), why };
    view.containers.iter().filter(runs).map(stop).collect()
}

/// Returns the next steps for a pod that shall run.
///
/// Upstream: `computePodActions`. A pod with the init container `migrate` and the containers `web`
/// and `log`, restart policy Always:
///
/// ```text
/// nothing there                        CreateSandbox
/// sandbox ready                        Start migrate
/// sandbox lost, web and log run on     Stop web, Stop log, and in a later look CreateSandbox
/// migrate runs                         nothing: web and log wait for its end
/// migrate ended with 0                 Start web, Start log
/// web crashed for the first time       Start web, attempt 1
/// web crashed once more                LookAgain in 10 s; log is not touched
/// the pod's image of web was changed   Stop web, and in a later look Start web
/// ```
///
/// Left out: resizing a container in place (KEP-1287).
pub(crate) fn decide(view: &View) -> Vec<Step> {
    if view.finished().is_some() {
        return wind_up(view);
    }
    let Some(sandbox) = view.ready_sandbox() else {
        let stops = stop_all(view, Why::Lost);
        if !stops.is_empty() {
            return stops;
        }
        let attempt = view.sandbox.map_or(0, |s| s.attempt + 1);
        return vec![Step::CreateSandbox { attempt }];
    };
    let mut steps = ephemeral::steps(view);
    let mut look_again: Option<Duration> = None;
    // `true`: it runs, or has nothing more to do; `false`: it does not run (yet).
    let mut tend = |spec: &Spec, init: bool, steps: &mut Vec<Step>| -> bool {
        let current = view.current(&spec.name);
        match current {
            Some(c) if c.sandbox_id == sandbox.id && c.state == ContainerState::Running => {
                let Some(why) = view.reason_to_stop(spec, init, c) else { return true };
                steps.push(Step::Stop { name: c.name.clone(), id: c.id.clone(), why });
                return false;
            }
            Some(c) if c.state == ContainerState::Exited => {
                // An ended init container of an earlier sandbox runs again with the new one.
                let done = c.sandbox_id == sandbox.id && c.exit_code == 0;
                if init && !View::is_sidecar(spec) && done {
                    return true;
                }
                // A regular container that is done is not done again, also if the sandbox of that
                // time was lost.
                if (!init || c.sandbox_id == sandbox.id) && !view.restarts(spec, init, c) {
                    return true;
                }
                if let Some(left) = view.backoff_left(spec, c) {
                    look_again = Some(look_again.map_or(left, |l| l.min(left)));
                    return false;
                }
            }
            None if !init && view.ended(spec, false).is_some_and(|(_, again)| !again) => return true,
            _ => {}
        }
        steps.push(Step::Start { name: spec.name.clone(), init, attempt: view.next_attempt(&spec.name) });
        false
    };
    // Of the init containers that have done their work each sidecar is tended for itself: one that
    // crashes holds up neither the others nor what comes next.
    let (past, open) = view.init_specs().split_at(view.past_inits());
    for sidecar in past.iter().filter(|s| View::is_sidecar(s)) {
        tend(sidecar, true, &mut steps);
    }
    let mut initialized = true;
    for spec in open {
        let settled = tend(spec, true, &mut steps);
        let running = view.current(&spec.name).is_some_and(|c| c.state == ContainerState::Running);
        // The next one waits for the end of this one; of a sidecar, only for its start.
        let holds_up = running && (!View::is_sidecar(spec) || !view.started(&spec.name));
        if !settled || holds_up {
            initialized = false;
            break;
        }
    }
    if initialized {
        for spec in view.specs() {
            tend(spec, false, &mut steps);
        }
    }
    steps.extend(look_again.map(Step::LookAgain));
    steps
}

#[cfg(test)]
pub(super) mod tests;
