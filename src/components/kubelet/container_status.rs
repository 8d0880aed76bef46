//! The status of one container in a pod's status, from what the runtime shows. Pure.

use super::specs::{go_duration, long_name};
use super::view::{LOST, View, has_ended, may_restart};
use clock::Timestamp;
use cri::{Container, ContainerState as State};
use k8s_openapi::api::core::v1::{
    Container as Spec, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, ContainerUser, LinuxContainerUser, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;

/// Reason and message for which a container waits, e.g. `ImagePullBackOff`, by container name.
pub(crate) type Waiting = BTreeMap<String, (String, String)>;

/// Returns the status of one container, as its newest attempt and what probes say make it.
///
/// What `kubectl get pod` and `kubectl describe` show of it:
///
/// ```text
/// not made yet, its image is pulled        waiting, ContainerCreating
/// not made yet, an init container runs     waiting, PodInitializing
/// runs, readiness probe not passed         running, ready false
/// an init container that runs              running, ready false: its work is not done
/// crashed, waits for its restart           waiting, CrashLoopBackOff; lastState terminated
/// crashed, policy Never                    terminated, with exit code and reason
/// a sidecar that ended with 0              the same, also while it waits for its restart
/// crashed, the pod is being deleted        the same: it does not run again
/// ```
///
/// `restartCount` is the number of the attempt. It survives a restart of the machine, because the
/// stored status is read where the runtime has forgotten. `resources` and `allocatedResources` are
/// what the container asks for, once it was made: nothing is resized in place. It has
/// `resources: {}` if it asks for nothing.
pub(crate) fn container(
    view: &View,
    spec: &Spec,
    init: bool,
    waiting: &Waiting,
    has_init: bool,
) -> ContainerStatus {
    let mut status = ContainerStatus {
        name: spec.name.clone(),
        image: spec.image.clone().unwrap_or_default(),
        started: Some(false),
        last_state: Some(ContainerState::default()),
        volume_mounts: mounts(spec),
        ..ContainerStatus::default()
    };
    let Some(c) = view.current(&spec.name) else { return not_made(view, spec, waiting, has_init, status) };
    (status.restart_count, status.container_id) = (c.attempt as i32, Some(format!("ropewalk://{}", c.id)));
    (status.image, status.image_id) = (c.image.clone(), image_id(c));
    let given = spec.resources.clone().unwrap_or_default();
    (status.allocated_resources, status.resources) = (given.requests.clone(), Some(given));
    status.user = c.user.as_ref().map(user);
    match view.previous(&spec.name) {
        Some(previous) => status.last_state = Some(ended(previous)),
        None if c.attempt > 0 => status.last_state = stored_last_end(view, c).or(status.last_state),
        None => {}
    }
    // Of a pod that is being deleted nothing runs again: it has ended as it did.
    let again = view.pod.metadata.deletion_timestamp.is_none() && view.restarts(spec, init, c);
    match c.state {
        State::Running => {
            let probe = view.probes.probed.get(&spec.name).copied().unwrap_or_default();
            let started = probe.started.unwrap_or(true);
            status.started = Some(started);
            status.ready = is_service(spec, init) && started && probe.ready.unwrap_or(true);
            status.state = Some(ContainerState {
                running: Some(ContainerStateRunning { started_at: c.started_at.map(Time) }),
                ..ContainerState::default()
            });
        }
        State::Created => status.state = Some(wait("ContainerCreating", None)),
        State::Exited => {
            // An init container is ready when its work is done; a sidecar's work is to run.
            status.ready = !is_service(spec, init) && c.exit_code == 0;
            status.state = Some(ended(c));
            let waits = again && (!init || c.exit_code != 0); // as upstream: no sidecar that ended with 0
            if waits && view.backoff_left(spec, c).is_some() {
                let pause = view.backoffs.get(&spec.name).copied().unwrap_or_default();
                let message = format!(
                    "back-off {} restarting failed container={} pod={}",
                    go_duration(pause),
                    spec.name,
                    long_name(view.pod)
                );
                status.last_state = Some(ended(c));
                status.state = Some(wait("CrashLoopBackOff", Some(message)));
            } else if let Some((reason, message)) = waiting.get(&spec.name)
                && waits
            {
                status.last_state = Some(ended(c));
                status.state = Some(wait(reason, Some(message.clone()).filter(|m| !m.is_empty())));
            } else if waits && !may_restart(view.policy(), spec, c.exit_code) {
                // The container runs again although its restart policy says no, because its image
                // was changed. A status that says that it has ended could not be changed back.
                status.last_state = Some(ended(c));
                status.state = Some(wait("ContainerCreating", None));
            }
        }
    }
    status
}

/// Returns the volumes of a container, and which of them are read-only with all that is mounted
/// below, as the container asks for it. Source: `convertToAPIContainerStatuses` in
/// `pkg/kubelet/kubelet_pods.go`.
///
/// ```text
/// readOnly: true                                     recursiveReadOnly: Disabled
/// readOnly: true, recursiveReadOnly: IfPossible      recursiveReadOnly: Enabled
/// writable                                           neither field
/// ```
fn mounts(spec: &Spec) -> Option<Vec<VolumeMountStatus>> {
    let all = spec.volume_mounts.iter().flatten().map(|mount| {
        let read_only = mount.read_only.filter(|read_only| *read_only);
        let is_recursive = matches!(mount.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible"));
        VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only,
            recursive_read_only: read_only.map(|_| if is_recursive { "Enabled" } else { "Disabled" }.into()),
        }
    });
    Some(all.collect::<Vec<_>>()).filter(|all| !all.is_empty())
}

/// Returns the image of a container with its digest, as upstream shows what was pulled
/// (`ImageRef`): the tag may name another image by now.
///
/// ```text
/// docker.io/library/nginx:1.29, sha256:9f..   ->  docker.io/library/nginx@sha256:9f..
/// ```
fn image_id(c: &Container) -> String {
    let name = c.image.split('@').next().unwrap_or_default();
    let last = name.rfind('/').map_or(0, |at| at + 1);
    let tag = name[last..].find(':').map_or(name.len(), |at| last + at);
    match &name[..tag] {
        "" => c.image_id.clone(),
        repository => format!("{repository}@{}", c.image_id),
    }
}

/// Returns the ids that a container runs with, as its status shows them.
fn user(user: &cri::User) -> ContainerUser {
    let groups = user.groups.iter().map(|group| i64::from(*group)).collect();
    let (uid, gid) = (user.uid.into(), user.gid.into());
    ContainerUser { linux: Some(LinuxContainerUser { uid, gid, supplemental_groups: Some(groups) }) }
}

/// Returns whether a container is there to run on, and not to do some work and end.
fn is_service(spec: &Spec, init: bool) -> bool {
    !init || View::is_sidecar(spec)
}

/// Returns the state of a container that waits.
fn wait(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.into()), message }),
        ..ContainerState::default()
    }
}

/// Returns the status of a container that the runtime does not have: it is not made yet, or the
/// machine was restarted and only the stored status tells of it. `status` is that of a container
/// without a past.
fn not_made(
    view: &View,
    spec: &Spec,
    waiting: &Waiting,
    has_init: bool,
    mut status: ContainerStatus,
) -> ContainerStatus {
    if let Some(before) = view.stored(&spec.name) {
        // After a restart of the machine nothing runs, and of a pod that has failed nothing starts.
        // One that will not run again stays as it ended.
        let ended = before.state.as_ref().and_then(|s| s.terminated.clone());
        let end = ended.or_else(|| end_of_lost(before));
        if end.is_some() && (has_ended(view.pod) || view.finished().is_some()) {
            let init = view.init_specs().iter().any(|other| other.name == spec.name);
            let is_done = end.as_ref().is_some_and(|end| end.exit_code == 0);
            return ContainerStatus {
                ready: !is_service(spec, init) && is_done,
                started: Some(false),
                state: Some(ContainerState { terminated: end, ..ContainerState::default() }),
                ..before.clone()
            };
        }
        // The others start again, and the count goes on.
        status.restart_count = i32::try_from(view.next_attempt(&spec.name)).unwrap_or(i32::MAX);
        status.last_state = match end {
            Some(end) => Some(ContainerState { terminated: Some(end), ..ContainerState::default() }),
            None => before.last_state.clone().or(status.last_state),
        };
    }
    let (reason, message) = match waiting.get(&spec.name) {
        Some((reason, message)) => (reason.as_str(), Some(message.clone()).filter(|m| !m.is_empty())),
        None if has_init => ("PodInitializing", None),
        None => ("ContainerCreating", None),
    };
    status.state = Some(wait(reason, message));
    status
}

/// Returns the end of a container that ran by its stored status, and that the runtime does not have
/// any more. `None`: it did not run.
pub(crate) fn end_of_lost(before: &ContainerStatus) -> Option<ContainerStateTerminated> {
    let running = before.state.as_ref()?.running.as_ref()?;
    Some(ContainerStateTerminated {
        container_id: before.container_id.clone(),
        started_at: running.started_at.clone(),
        ..unknown_end("The container could not be located: the machine or this program was restarted")
    })
}

/// Returns the end of the attempt before as the stored status has it: the runtime does not know
/// that attempt any more, since the machine or this program was restarted.
fn stored_last_end(view: &View, current: &Container) -> Option<ContainerState> {
    let before = view.stored(&current.name)?;
    let own = format!("ropewalk://{}", current.id);
    // A status of a container that waits, or that names none, was written while nothing ran, and
    // tells in `lastState` of the run before.
    let waits = before.state.as_ref().is_some_and(|state| state.waiting.is_some());
    if waits || before.container_id.is_none() || before.container_id.as_ref() == Some(&own) {
        return before.last_state.clone();
    }
    let started_at =
        before.state.as_ref().and_then(|s| s.running.as_ref()).and_then(|r| r.started_at.clone());
    let terminated = before.state.as_ref().and_then(|s| s.terminated.clone());
    let unknown = ContainerStateTerminated {
        container_id: before.container_id.clone(),
        exit_code: 255,
        reason: Some("Unknown".into()),
        started_at,
        finished_at: Some(Time(current.created_at)),
        ..ContainerStateTerminated::default()
    };
    Some(ContainerState { terminated: Some(terminated.unwrap_or(unknown)), ..ContainerState::default() })
}

fn ended(c: &Container) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(format!("ropewalk://{}", c.id)),
            exit_code: c.exit_code,
            reason: Some(c.reason.clone()).filter(|r| !r.is_empty()),
            message: Some(c.message.clone()).filter(|m| !m.is_empty()),
            // As upstream: one that never ran began when time did.
            started_at: Some(Time(c.started_at.unwrap_or(Timestamp::UNIX_EPOCH))),
            finished_at: c.finished_at.map(Time),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

/// Returns how a container has ended, if it has.
pub(crate) fn terminated(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    status.state.as_ref()?.terminated.as_ref()
}

/// Returns the end of a container of which the runtime knows nothing any more.
pub(crate) fn unknown_end(message: &str) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: LOST,
        reason: Some("ContainerStatusUnknown".into()),
        message: Some(message.into()),
        ..ContainerStateTerminated::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::decide::tests;
    use super::*;

    /// As upstream's kubelet shows what containerd says.
    #[test]
    fn an_image_has_its_digest_and_a_container_that_never_ran_no_time_of_its_start() {
        let made = |image: &str, started_at| {
            let made = tests::container("a", 0, State::Exited, 128);
            Container { image: image.into(), started_at, ..made }
        };
        for (image, want) in [
            ("docker.io/library/nginx:1.29", "docker.io/library/nginx@sha256:1"),
            ("localhost:5000/a", "localhost:5000/a@sha256:1"),
            ("localhost:5000/a:b", "localhost:5000/a@sha256:1"),
            ("r.io/a@sha256:2", "r.io/a@sha256:1"),
            ("", "sha256:1"),
        ] {
            assert_eq!(image_id(&made(image, None)), want);
        }
        let start = |at| ended(&made("a", at)).terminated.and_then(|end| end.started_at);
        let later = Timestamp::from_second(60).unwrap();
        assert_eq!(start(None), Some(Time(Timestamp::UNIX_EPOCH)));
        assert_eq!(start(Some(later)), Some(Time(later)));
    }

    /// kubectl shows its pod as Running then.
    #[test]
    fn a_sidecar_that_ended_well_does_not_look_like_one_that_crashed() {
        let mut pod = tests::pod("Always", &["s"], &["a"]);
        pod.spec.as_mut().unwrap().init_containers.as_mut().unwrap()[0].restart_policy =
            Some("Always".into());
        let shown = |code: i32| {
            let containers = [tests::container("s", 1, State::Exited, code)];
            let view = View {
                pod: &pod,
                sandbox: None,
                containers: &containers,
                backoffs: &[("s".to_string(), std::time::Duration::from_secs(40))].into(),
                replaced: &Default::default(),
                probes: &Default::default(),
                now: Timestamp::from_second(205).unwrap(),
            };
            let status = container(&view, &view.init_specs()[0], true, &Waiting::new(), true);
            let (state, previous) = (status.state.unwrap(), view.last_ended("s").map(|c| c.attempt));
            (state.waiting.and_then(|w| w.reason), state.terminated.map(|t| t.exit_code), previous)
        };
        assert_eq!(shown(1), (Some("CrashLoopBackOff".into()), None, Some(1)));
        assert_eq!(shown(0), (None, Some(0), None));
    }

    /// In CrashLoopBackOff the end of that run is in `lastState` already.
    #[test]
    fn the_last_end_is_the_stored_one_from_before_the_machine_was_restarted() {
        let mut pod = tests::pod("Always", &[], &["a"]);
        let stored = serde_json::json!({"name": "a", "image": "x", "imageID": "", "ready": false,
            "restartCount": 0, "containerID": "ropewalk://old",
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 7}}});
        pod.status = serde_json::from_value(serde_json::json!({"containerStatuses": [stored]})).unwrap();
        let containers = [tests::container("a", 1, State::Running, 0)];
        let view = View {
            pod: &pod,
            sandbox: None,
            containers: &containers,
            backoffs: &Default::default(),
            replaced: &Default::default(),
            probes: &Default::default(),
            now: Timestamp::UNIX_EPOCH,
        };
        let status = container(&view, &view.specs()[0], false, &Waiting::new(), false);
        let last = status.last_state.and_then(|state| state.terminated);
        assert_eq!(last.map(|end| (end.exit_code, end.reason)), Some((7, None)));
    }

    /// As upstream shows it: its work stays done.
    #[test]
    fn an_init_container_is_ready_after_a_restart_of_the_machine() {
        let mut pod = tests::pod("Never", &["i"], &["a"]);
        let end = serde_json::json!({"exitCode": 0});
        let stored = |name: &str, state: serde_json::Value| {
            serde_json::json!({"name": name, "image": "x", "imageID": "", "ready": true, "restartCount": 0,
                "containerID": format!("ropewalk://{name}"), "state": state})
        };
        let done = stored("i", serde_json::json!({"terminated": end}));
        let ran = stored("a", serde_json::json!({"running": {}}));
        let status = serde_json::json!({"initContainerStatuses": [done], "containerStatuses": [ran]});
        pod.status = serde_json::from_value(status).unwrap();
        let view = View {
            pod: &pod,
            sandbox: None,
            containers: &[],
            backoffs: &Default::default(),
            replaced: &Default::default(),
            probes: &Default::default(),
            now: Timestamp::UNIX_EPOCH,
        };
        let shown = |spec: &Spec, init| container(&view, spec, init, &Waiting::new(), true);
        assert!(shown(&view.init_specs()[0], true).ready);
        let lost = shown(&view.specs()[0], false);
        assert!(!lost.ready && terminated(&lost).is_some_and(|end| end.exit_code == LOST));
    }
}
