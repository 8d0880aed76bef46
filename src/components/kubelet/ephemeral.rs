//! Ephemeral containers: put into a running pod to look around. They start once, never again, and
//! nothing waits for them.

use super::container_status::{self, Waiting};
use super::specs;
use super::view::{Step, View};
use k8s_openapi::api::core::v1::{Container as Spec, ContainerState, ContainerStatus};

/// Starts those that never were started, as far as runtime and status know.
pub(crate) fn steps(view: &View) -> Vec<Step> {
    let has_begun_by_status = |name: &str| {
        let stored = view.pod.status.iter().flat_map(|s| s.ephemeral_container_statuses.iter().flatten());
        stored.into_iter().any(|s| s.name == name && has_begun(s))
    };
    let never = |spec: &Spec| view.current(&spec.name).is_none() && !has_begun_by_status(&spec.name);
    let start = |spec: Spec| Step::Start { name: spec.name, init: false, attempt: 0 };
    specs::ephemeral(view.pod).into_iter().filter(never).map(start).collect()
}

/// Returns whether a container was started by its stored status. One that was made and waits was
/// not: the runtime did not answer the order to start it, and the kubelet removes it.
fn has_begun(stored: &ContainerStatus) -> bool {
    let waits = stored.state.as_ref().is_some_and(|state| state.waiting.is_some());
    stored.container_id.is_some() && !waits
}

/// Returns what the pod's status says of ephemeral containers. They are never ready, since they
/// have no probes. `None`: the pod has none.
pub(crate) fn statuses(view: &View, waiting: &Waiting) -> Option<Vec<ContainerStatus>> {
    let all = specs::ephemeral(view.pod);
    let has_init = !view.init_specs().is_empty(); // then one that waits is PodInitializing, as upstream
    let stored = view.pod.status.iter().flat_map(|s| s.ephemeral_container_statuses.iter().flatten());
    let kept = |name: &str| stored.clone().find(|s| s.name == name && has_begun(s)).cloned();
    let of = |spec: &Spec| {
        // The runtime no longer knows this container: its status stays as it was, but that it runs.
        if view.current(&spec.name).is_none()
            && let Some(mut kept) = kept(&spec.name)
        {
            if let Some(end) = container_status::end_of_lost(&kept) {
                kept.state = Some(ContainerState { terminated: Some(end), ..ContainerState::default() });
            }
            return kept;
        }
        ContainerStatus {
            ready: false,
            started: None,
            ..container_status::container(view, spec, false, waiting, has_init)
        }
    };
    let mut statuses: Vec<ContainerStatus> = all.iter().map(of).collect();
    statuses.sort_by(|a, b| a.name.cmp(&b.name)); // as upstream
    (!statuses.is_empty()).then_some(statuses)
}

#[cfg(test)]
mod tests {
    use super::super::back_off::Backoffs;
    use super::super::decide::decide;
    use super::super::decide::tests::{container, pod, sandbox};
    use super::super::probe::ProbeResults;
    use super::*;
    use clock::Timestamp;
    use cri::{ContainerState, SandboxState};
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    /// A pod with these init containers, the container `a`, and one to look around in that.
    fn debugged(inits: &[&str]) -> Pod {
        let mut pod = pod("Always", inits, &["a"]);
        let extra = json!([{"name": "debugger", "image": "busybox", "targetContainerName": "a"}]);
        pod.spec.as_mut().unwrap().ephemeral_containers = serde_json::from_value(extra).unwrap();
        pod
    }

    /// Such a pod whose debug container has this state by its status.
    fn with_stored(state: Value) -> Pod {
        let stored = json!({"name": "debugger", "image": "busybox", "imageID": "", "ready": false,
            "restartCount": 0, "containerID": "ropewalk://old", "state": state});
        let status = json!({"ephemeralContainerStatuses": [stored]});
        Pod { status: serde_json::from_value(status).unwrap(), ..debugged(&[]) }
    }

    /// Asks about a pod of which the runtime knows nothing.
    fn unmade<T>(pod: &Pod, ask: impl FnOnce(&View) -> T) -> T {
        ask(&View {
            pod,
            sandbox: None,
            containers: &[],
            backoffs: &Backoffs::new(),
            replaced: &Default::default(),
            probes: &ProbeResults::default(),
            now: Timestamp::from_second(205).unwrap(),
        })
    }

    fn status(view: &View) -> ContainerStatus {
        statuses(view, &Waiting::new()).unwrap().remove(0)
    }

    #[test]
    fn a_debug_container_starts_once_beside_the_others() {
        let pod = debugged(&[]);
        let ready = sandbox("s", 0, SandboxState::Ready);
        let (backoffs, probes) = (Backoffs::new(), ProbeResults::default());
        let steps = |containers: &[cri::Container]| {
            let now = Timestamp::from_second(205).unwrap();
            decide(&View {
                pod: &pod,
                sandbox: Some(&ready),
                containers,
                backoffs: &backoffs,
                replaced: &Default::default(),
                probes: &probes,
                now,
            })
        };
        let a = container("a", 0, ContainerState::Running, 0);
        let start = Step::Start { name: "debugger".into(), init: false, attempt: 0 };
        assert_eq!(steps(std::slice::from_ref(&a)), [start]);
        for state in [ContainerState::Running, ContainerState::Exited] {
            assert_eq!(steps(&[a.clone(), container("debugger", 0, state, 1)]), []);
        }
        assert!(specs::is_ephemeral(&pod, "debugger") && !specs::is_ephemeral(&pod, "a"));
    }

    /// As any other container: `convertToAPIContainerStatuses` upstream.
    #[test]
    fn a_debug_container_that_waits_has_the_reason_of_its_pod() {
        let reason = |inits: &[&str]| {
            let state = unmade(&debugged(inits), status).state.unwrap();
            state.waiting.unwrap().reason.unwrap()
        };
        assert_eq!([reason(&[]), reason(&["i"])], ["ContainerCreating", "PodInitializing"]);
    }

    /// The runtime did not answer the order to start it, so the kubelet has removed it.
    #[test]
    fn a_debug_container_that_was_made_and_never_ran_starts() {
        let pod = with_stored(json!({"waiting": {"reason": "ContainerCreating"}}));
        let start = Step::Start { name: "debugger".into(), init: false, attempt: 0 };
        assert_eq!(unmade(&pod, steps), [start]);
        assert_eq!(unmade(&pod, status).container_id, None);
    }

    #[test]
    fn a_debug_container_that_was_lost_with_the_machine_does_not_run() {
        let ended = |state: Value| unmade(&with_stored(state), status).state.unwrap().terminated.unwrap();
        let end = ended(json!({"running": {"startedAt": "2026-01-02T03:04:00Z"}}));
        assert_eq!((end.exit_code, end.container_id.as_deref()), (137, Some("ropewalk://old")));
        assert!(end.started_at.is_some());
        let end = ended(json!({"terminated": {"exitCode": 3}}));
        assert_eq!(end.exit_code, 3, "it had ended before");
    }
}
