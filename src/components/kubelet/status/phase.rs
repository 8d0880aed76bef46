//! A pod's phase, from the states of its containers. Pure.

use super::super::container_status::terminated;
use super::super::view::{View, may_restart};
use cri::ContainerState as State;
use k8s_openapi::api::core::v1::{Container as Spec, ContainerStatus};

/// Returns the phase of a pod that has not ended by its stored status. Source: `getPhase` in
/// `pkg/kubelet/kubelet_pods.go`.
///
/// ```text
/// an init container runs                                          Pending
/// it runs again, in the next sandbox of a pod that has run        Pending
/// a container was never started                                   Pending
/// all have been started, one of them waits for its restart        Running
/// the work is done, and a sidecar still runs                      Running
/// an init container has failed for good, and a sidecar still runs Pending
/// ```
pub(super) fn phase(
    view: &View,
    init: &[ContainerStatus],
    main: &[ContainerStatus],
    initialized: bool,
) -> &'static str {
    let runs = view.containers.iter().any(|c| c.state == State::Running);
    match view.finished() {
        // Its sidecars are still ending. One that was never initialized stays what it was until
        // then.
        Some(_) if runs => return if initialized { "Running" } else { "Pending" },
        Some(true) => return "Succeeded",
        Some(false) => return "Failed",
        None => {}
    }
    let mut all = view.init_specs().iter().zip(init);
    let initializes = all.any(|(spec, status)| has_work(view, spec, status));
    if initializes || !initialized || main.iter().any(never_ran) { "Pending" } else { "Running" }
}

/// Returns whether a container waits for its first start.
fn never_ran(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.waiting.is_some())
        && status.last_state.as_ref().is_none_or(|last| last.terminated.is_none())
}

/// Returns whether a regular init container runs, or has not run yet. One that has ended for good
/// by its stored status is shown as it ended (`keep_ends`), also while it runs again.
fn has_work(view: &View, spec: &Spec, status: &ContainerStatus) -> bool {
    let stays_ended = || {
        let end = view.stored(&spec.name).and_then(terminated);
        end.is_some_and(|end| !may_restart(view.policy(), spec, end.exit_code))
    };
    let runs = status.state.as_ref().is_some_and(|state| state.running.is_some());
    !View::is_sidecar(spec) && (runs || never_ran(status)) && !stays_ended()
}

#[cfg(test)]
mod tests {
    use super::super::{Timestamp, Waiting, of};
    use super::*;
    use crate::back_off::Backoffs;
    use crate::decide::tests::{container, pod, sandbox};
    use crate::probe::ProbeResults;
    use cri::SandboxState;

    /// As upstream, which asks containers alone: they work until they have ended.
    #[test]
    fn a_pod_that_has_lost_its_sandbox_is_ready_while_its_containers_run() {
        let (pod, lost) = (pod("Always", &[], &["a"]), sandbox("s", 0, SandboxState::NotReady));
        let shown = |state| {
            let view = View {
                pod: &pod,
                sandbox: Some(&lost),
                containers: &[container("a", 0, state, 0)],
                backoffs: &Backoffs::new(),
                replaced: &Default::default(),
                probes: &ProbeResults::default(),
                now: Timestamp::from_second(205).unwrap(),
            };
            let status = of(&view, &Waiting::new(), [172, 30, 0, 12].into());
            let is_true = |kind: &str| {
                let found = status.conditions.iter().flatten().find(|c| c.type_ == kind);
                found.is_some_and(|c| c.status == "True")
            };
            (status.phase.clone().unwrap(), is_true("PodReadyToStartContainers"), is_true("Ready"))
        };
        assert_eq!(shown(State::Running), ("Running".into(), false, true));
        assert_eq!(shown(State::Exited), ("Running".into(), false, false));
    }

    /// Upstream does not write a terminal phase while containers run, and keeps the one before
    /// (`mergePodStatus`).
    #[test]
    fn a_pod_whose_initialization_has_failed_is_pending_until_its_sidecars_have_ended() {
        let mut pod = pod("Never", &["s", "i"], &["a"]);
        let inits = pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap();
        inits[0].restart_policy = Some("Always".into());
        let ready = sandbox("s", 0, SandboxState::Ready);
        let phase = |sidecar: State| {
            let view = View {
                pod: &pod,
                sandbox: Some(&ready),
                containers: &[container("s", 0, sidecar, 0), container("i", 0, State::Exited, 1)],
                backoffs: &Backoffs::new(),
                replaced: &Default::default(),
                probes: &ProbeResults::default(),
                now: Timestamp::UNIX_EPOCH,
            };
            of(&view, &Waiting::new(), [172, 30, 0, 12].into()).phase.unwrap()
        };
        assert_eq!([phase(State::Running), phase(State::Exited)], ["Pending", "Failed"]);
    }

    /// As upstream (`TerminatePod`): a pod that has failed waits for nothing.
    #[test]
    fn a_pod_that_has_failed_has_no_container_that_waits() {
        let mut pod = pod("Never", &[], &["a", "b"]);
        let container_status = |name: &str, id: Option<&str>, state: serde_json::Value| {
            serde_json::json!({"name": name, "image": "x", "imageID": "", "ready": false, "restartCount": 0,
                "containerID": id, "state": state})
        };
        let ran = container_status("a", Some("ropewalk://a"), serde_json::json!({"running": {}}));
        let waited =
            container_status("b", None, serde_json::json!({"waiting": {"reason": "ImagePullBackOff"}}));
        let before = serde_json::json!({"phase": "Pending", "containerStatuses": [ran, waited]});
        pod.status = serde_json::from_value(before).unwrap();
        for _ in 0..2 {
            // The machine was restarted. The second time from what was written the first time.
            let view = View {
                pod: &pod,
                sandbox: None,
                containers: &[],
                backoffs: &Backoffs::new(),
                replaced: &Default::default(),
                probes: &ProbeResults::default(),
                now: Timestamp::UNIX_EPOCH,
            };
            let status = of(&view, &Waiting::new(), [172, 30, 0, 12].into());
            let code = |c: &ContainerStatus| terminated(c).map(|end| end.exit_code);
            let codes: Vec<_> = status.container_statuses.iter().flatten().map(code).collect();
            assert_eq!((status.phase.as_deref(), &codes[..]), (Some("Failed"), &[Some(137), Some(137)][..]));
            pod.status = Some(status);
        }
    }
}
